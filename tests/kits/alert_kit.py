"""Alerts in the outputs of a detect fold."""

import json


def alerts_of(outputs):
    """The alerts among outputs, as the topic holds them."""
    return [json.loads(output.value) for output in outputs if output.topic == "driftline.alerts"]
