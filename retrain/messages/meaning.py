"""Why no retrain was asked for, in words: the outcomes that end the question, and what each says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from retrain.messages.outcome import Outcome

MEANING: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.REQUEST_MADE: "all rules agree",
        Outcome.SOURCE_WITHOUT_MODEL: "no model is known to use the source",
        Outcome.NOT_DRIFT: "it tells of the data, which are nothing to retrain on",
        Outcome.INHIBITED_BY_DATA_FAULT: "the data of the column are faulty",
        Outcome.EFFECT_TOO_SMALL: "it moved too little for a retrain",
        Outcome.NO_RULE_MET: "the model is not retrained for this",
        Outcome.FEATURE_UNIMPORTANT: "it moved too little for how important the feature is",
        Outcome.WAITING_FOR_OTHERS: "the model is retrained if something else moves as well",
        Outcome.WAITING_FOR_DATA: "not enough events of the new regime yet",
        Outcome.NO_TRAINING_WINDOW: "onset and end are not two places of one partition, in order",
        Outcome.REQUEST_OPEN: "an earlier request is open",
        Outcome.COOLING_DOWN: "the last request is younger than the cooldown",
        Outcome.BACKING_OFF: "the last promotions did not help, so the cooldown is longer",
        Outcome.HELD_BY_STORM: "the column moves in many models, and a person decides",
        Outcome.HELD_FOR_SOURCE: "many models use the source, and a person decides",
        Outcome.SOURCE_DISMISSED: "a person wants no retrain because of this drift of the source",
        Outcome.WAITING_FOR_ROOM: "the budget of the fleet is spent",
        Outcome.SILENCED: "a silence fits it",
        Outcome.OLDER_VERSION: "a newer version of the model serves",
        Outcome.BEFORE_PROMOTION: "it fired before the promotion, so it is of the version before",
    }
)
