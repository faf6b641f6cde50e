"""What a model waits for a retrain with, or was asked for because of."""

from __future__ import annotations

from retrain.messages.alert import Alert
from retrain.messages.value import record


@record
class Waiter:
    """An alert under the model's own name, and where it came from."""

    alert: Alert
    source: str = ""  # `source:<name>`; "" when the alert is the model's own
