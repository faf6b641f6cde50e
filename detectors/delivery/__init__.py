"""Detectors of data delivery.

`absence`: columns that events no longer carry. `flow`: events that stop or change their rate. `label_rate`: the share
of predictions that get their label in time.
"""

from detectors.delivery.absence import Absences, AbsenceSettings
from detectors.delivery.flow import Flows, FlowSettings
from detectors.delivery.label_rate import LabelShares

__all__ = ["AbsenceSettings", "Absences", "FlowSettings", "Flows", "LabelShares"]
