"""Why something happened, or did not: every decision of the engine by name.

The names appear in incidents, as metric labels and in logs, so that an operator can ask "why was no request sent?" and
read the answer. "Do nothing" is a decision like any other and has its name too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Outcome(StrEnum):
    """A decision. The values are part of the interface: add, never rename."""

    # What became of the model's incident.
    INCIDENT_OPENED = "incident_opened"
    ABSORBED = "absorbed"  # the alert joined the open incident
    QUIET = "quiet"  # closed: no alert for `incident_quiet_s`
    BACK_TO_NORMAL = "back_to_normal"  # closed: all that moved is back to what it was; or the alert is
    NEW_VERSION = "new_version"  # closed: a newer version of the model has alerted
    JOINED_STORM = "joined_storm"  # closed: its column moves in many models, and their storm is one incident
    STORM_OPENED = "storm_opened"  # the fleet's incident, as are the next three
    STORM_UPDATED = "storm_updated"  # it has twice as many models as when it was last published
    STORM_RELEASED = "storm_released"  # closed: a person wants what waits to be asked for
    STORM_DISMISSED = "storm_dismissed"  # closed: a person wants nothing of it
    SOURCE_RELEASED = "source_released"  # a person wants a retrain of the models that use the source
    SOURCE_DISMISSED = "source_dismissed"  # a person wants none while the incident lasts
    MODEL_EVICTED = "model_evicted"  # closed: more than `models_max` models, and this one alerted longest ago

    # What became of the question whether to retrain.
    REQUEST_MADE = "request_made"
    SOURCE_WITHOUT_MODEL = "source_without_model"  # it is about a source that no model is known to use
    NOT_DRIFT = "not_drift"  # the alert tells of the data or their flow, or of a gap, which are nothing to retrain on
    INHIBITED_BY_DATA_FAULT = "inhibited_by_data_fault"  # the column drifts while its data are faulty
    EFFECT_TOO_SMALL = "effect_too_small"  # certain, but not worth a retrain
    NO_RULE_MET = "no_rule_met"  # the model is not retrained for this, by `rules_by_model`
    FEATURE_UNIMPORTANT = "feature_unimportant"  # the effect times the feature's importance is too little
    WAITING_FOR_OTHERS = "waiting_for_others"  # it takes something else to move as well
    WAITING_FOR_DATA = "waiting_for_data"  # drift is certain; not enough events of the new regime yet
    NO_TRAINING_WINDOW = "no_training_window"  # onset and end are not two places of one topic-partition, in order
    REQUEST_OPEN = "request_open"  # an earlier request has not expired yet
    COOLING_DOWN = "cooling_down"  # the last request was less than `cooldown_s` ago
    BACKING_OFF = "backing_off"  # the same, longer than `cooldown_s`, because the last promotions did not help
    HELD_BY_STORM = "held_by_storm"  # the same column moves in many models; a person decides
    HELD_FOR_SOURCE = "held_for_source"  # a source of many models has moved; a person decides
    BUDGET_EXHAUSTED = "budget_exhausted"  # the fleet's budget is spent; the request is made when there is room
    SILENCED = "silenced"  # a person's silence fits the alert; it is judged when no silence fits it any more
    SILENCED_DROPPED = "silenced_dropped"  # more alerts are silenced than are kept, and this one was longest ago

    # The alert is over.
    SUPERSEDED = "superseded"  # its series has drifted on, which is another alert
    SETTLED = "settled"  # the new regime has lasted so long that it is the usual
    WITHDRAWN = "withdrawn"  # all is back to normal, so the retrain that it waited for is not asked for
    NOT_FIRING = "not_firing"  # its incident was over before

    # The alert changed nothing.
    DUPLICATE = "duplicate"  # the alerts topic repeated a record
    OLDER_VERSION = "older_version"  # a newer version of the model has alerted before, or was promoted
    BEFORE_PROMOTION = "before_promotion"  # it fired before the model was promoted, so it is of the one before

    # What became of a request.
    APPROVED = "approved"
    REJECTED = "rejected"
    TRAINING = "training"
    TRAINED = "trained"
    FAILED = "failed"
    PROMOTED = "promoted"  # closes the incident too: the model is watched anew
    EXPIRED = "expired"  # nobody answered in time
    WITHDRAWN_BY_STORM = "withdrawn_by_storm"  # it was one of the first of a storm, and waits with the others
    WITHDRAWN_BY_DATA_FAULT = "withdrawn_by_data_fault"  # the column has turned out to be faulty
    HELPED = "helped"  # no drift for `watch_s` after the promotion
    DRIFTED_AGAIN = "drifted_again"  # the promotion did not help

    # The control record changed nothing.
    UNKNOWN_REQUEST = "unknown_request"  # none of this id, or its model has a later one
    NO_CHANGE = "no_change"  # it was said before, or need not be said
    NOT_APPROVED = "not_approved"  # somebody has to approve first
    NOT_TRAINED = "not_trained"  # there is nothing to promote yet
    TOO_LATE = "too_late"  # the request has gone beyond that
    SAME_ACTOR = "same_actor"  # who approved of the training or reported it does not review it

    # What became of a silence.
    SILENCE_BEGAN = "silence_began"
    SILENCE_UPDATED = "silence_updated"  # it has silenced twice as many alerts as when this was last told
    SILENCE_ENDED = "silence_ended"  # by a person's word
    SILENCE_EXPIRED = "silence_expired"  # its time has come
    UNKNOWN_SILENCE = "unknown_silence"
    TOO_MANY_SILENCES = "too_many_silences"  # end one first


DESCRIPTIONS: Mapping[Outcome, str] = MappingProxyType(
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
        Outcome.BUDGET_EXHAUSTED: "the budget of the fleet is spent",
        Outcome.SILENCED: "a silence fits it",
        Outcome.OLDER_VERSION: "a newer version of the model serves",
        Outcome.BEFORE_PROMOTION: "it fired before the promotion, so it is of the version before",
    }
)
