"""Outcomes: the names of all decisions of the engine, including the decision to do nothing.

The names appear in incidents, as metric labels and in logs. They answer the question "why was no request sent?".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Outcome(StrEnum):
    """The named result of a decision. The values are part of the interface: add, never rename."""

    # Changes of the model's incident.
    INCIDENT_OPENED = "incident_opened"
    ABSORBED = "absorbed"  # the alert joined the open incident
    RECURRED = "recurred"  # the drift between two states came back; the incident reopened, if it was closed
    QUIET = "quiet"  # closed: no alert for `incident_quiet_s`
    BACK_TO_NORMAL = "back_to_normal"  # closed: all that moved recovered; or the alert ended so
    NEW_VERSION = "new_version"  # closed: a newer version of the model raised an alert
    JOINED_STORM = "joined_storm"  # closed: its column moves in many models, whose storm is one incident
    STORM_OPENED = "storm_opened"  # the fleet's incident, as are the next three
    STORM_UPDATED = "storm_updated"  # it has twice as many models as when it was last published
    STORM_RELEASED = "storm_released"  # closed: a person approved the retrains that wait
    STORM_DISMISSED = "storm_dismissed"  # closed: a person rejected them
    SOURCE_RELEASED = "source_released"  # a person approved a retrain of the models that use the source
    SOURCE_DISMISSED = "source_dismissed"  # a person rejected it for as long as the incident lasts
    MODEL_EVICTED = "model_evicted"  # closed: `models_max` is reached, and this model alerted longest ago

    # Whether to retrain.
    REQUEST_MADE = "request_made"
    SOURCE_WITHOUT_MODEL = "source_without_model"  # no model is known to use the source
    NOT_DRIFT = "not_drift"  # the alert is about the data, their flow or a gap, which are nothing to retrain on
    INHIBITED_BY_DATA_FAULT = "inhibited_by_data_fault"  # the column drifted while its data are faulty
    EFFECT_TOO_SMALL = "effect_too_small"  # certain, but not worth a retrain
    NO_RULE_MET = "no_rule_met"  # the alert meets no entry of `rules_by_model`
    FEATURE_UNIMPORTANT = "feature_unimportant"  # the effect times the feature's importance is too small
    WAITING_FOR_OTHERS = "waiting_for_others"  # the rule needs another column to move as well
    WAITING_FOR_DATA = "waiting_for_data"  # drift is certain; not enough events of the new regime yet
    NO_TRAINING_WINDOW = "no_training_window"  # onset and end are not two places of one topic-partition, in order
    REQUEST_OPEN = "request_open"  # an earlier request has not expired yet
    COOLING_DOWN = "cooling_down"  # the last request was less than `cooldown_s` ago
    BACKING_OFF = "backing_off"  # the same, longer than `cooldown_s`, because the last promotions did not help
    RECURRING = "recurring"  # the incident comes back again and again, and has had its request
    HELD_BY_STORM = "held_by_storm"  # the same column moves in many models; a person decides
    HELD_FOR_SOURCE = "held_for_source"  # a source of many models has moved; a person decides
    BUDGET_EXHAUSTED = "budget_exhausted"  # the fleet's budget is spent; the request is made when it allows
    SILENCED = "silenced"  # a silence fits the alert; the engine judges it when no silence does
    SILENCED_DROPPED = "silenced_dropped"  # the table of suppressed alerts is full, and this one is the oldest

    # The alert ended.
    SUPERSEDED = "superseded"  # its series drifted to another regime, which has an alert of its own
    SETTLED = "settled"  # the new regime lasted so long that it is the baseline
    WITHDRAWN = "withdrawn"  # all is back to normal, so the model waits for no retrain any more
    NOT_FIRING = "not_firing"  # its incident ended before

    # The alert changed nothing.
    DUPLICATE = "duplicate"  # the alerts topic repeated a record
    OLDER_VERSION = "older_version"  # a newer version of the model raised an alert or was promoted before
    BEFORE_PROMOTION = "before_promotion"  # it fired before the promotion, so it is about the version before

    # Changes of a request.
    APPROVED = "approved"
    REJECTED = "rejected"
    TRAINING = "training"
    TRAINED = "trained"
    FAILED = "failed"
    PROMOTED = "promoted"  # closes the incident as well
    EXPIRED = "expired"  # no answer came in time
    WITHDRAWN_BY_STORM = "withdrawn_by_storm"  # its model was one of the first of a storm, and waits with the others
    WITHDRAWN_BY_DATA_FAULT = "withdrawn_by_data_fault"  # the data of the column proved to be faulty
    HELPED = "helped"  # no drift for `watch_s` after the promotion
    DRIFTED_AGAIN = "drifted_again"  # the promotion did not help

    # The request is as it was.
    COMPARED = "compared"  # a test of two versions on the same events found the better one

    # The control record changed nothing.
    UNKNOWN_REQUEST = "unknown_request"  # no request has this id, or its model has a later one
    NO_CHANGE = "no_change"  # a repeated command, or one that is not needed
    NOT_APPROVED = "not_approved"  # a person must approve first
    NOT_TRAINED = "not_trained"  # there is no challenger to promote yet
    TOO_LATE = "too_late"  # the request is beyond that state
    SAME_VERSION = "same_version"  # the trainer names the version that drifted, so there is no challenger
    SAME_ACTOR = "same_actor"  # the actor approved or reported the training, so another must review it
    ACTOR_NOT_PROVEN = "actor_not_proven"  # `actor_proofs` demands a proof of the actor that the command lacks

    # Changes of a silence.
    SILENCE_BEGAN = "silence_began"
    SILENCE_UPDATED = "silence_updated"  # it has suppressed twice as many alerts as at its last decision
    SILENCE_ENDED = "silence_ended"  # by a command
    SILENCE_EXPIRED = "silence_expired"  # its `until` has passed
    UNKNOWN_SILENCE = "unknown_silence"
    TOO_MANY_SILENCES = "too_many_silences"  # end one first


DESCRIPTIONS: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.REQUEST_MADE: "all rules agree",
        Outcome.SOURCE_WITHOUT_MODEL: "no model is known to use the source",
        Outcome.NOT_DRIFT: "a fault of the data, which no retrain cures",
        Outcome.INHIBITED_BY_DATA_FAULT: "the data of the column are faulty",
        Outcome.EFFECT_TOO_SMALL: "the effect is too small for a retrain",
        Outcome.NO_RULE_MET: "the model has no rule for this drift",
        Outcome.FEATURE_UNIMPORTANT: "the effect is too small for the importance of the feature",
        Outcome.WAITING_FOR_OTHERS: "a rule of the model needs further drift",
        Outcome.WAITING_FOR_DATA: "not enough events of the new regime yet",
        Outcome.NO_TRAINING_WINDOW: "onset and end are not in one partition, in order",
        Outcome.REQUEST_OPEN: "an earlier request is open",
        Outcome.COOLING_DOWN: "the last request is younger than the cooldown",
        Outcome.BACKING_OFF: "the last promotions did not help, so the cooldown is longer",
        Outcome.RECURRING: "the drift comes and goes, and its incident has had a request",
        Outcome.HELD_BY_STORM: "the column drifts in many models, and a person decides",
        Outcome.HELD_FOR_SOURCE: "many models use the source, and a person decides",
        Outcome.SOURCE_DISMISSED: "a person rejected a retrain for this drift of the source",
        Outcome.BUDGET_EXHAUSTED: "the budget of the fleet is spent",
        Outcome.SILENCED: "a silence matches it",
        Outcome.OLDER_VERSION: "a newer version of the model serves",
        Outcome.COMPARED: "it compares two versions, and no retrain follows from it",
        Outcome.BEFORE_PROMOTION: "it fired before the promotion, so it concerns the version before",
    }
)
