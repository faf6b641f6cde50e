"""The table of metrics: name, kind, help, labels and source of each.

A line names what the metric shows: a key of the folds' tally, one of their gauges, or nothing, where an observer sets
it by name. Labels are bounded by the config (topics, detectors), by the assignment (units, partitions) or by closed
sets (reasons, states, outcomes). No label holds a model, a column or an id, so the page stays small for any fleet;
`models_page.py` holds the metrics by model, which a setting switches on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from retrain.engine.census import BUDGETS, HOLDS, SCOPES, STATES, WAITS


class MetricKind(StrEnum):
    """The type of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: its name, its documentation and its source."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    shows: str = ""  # of the folds: a key of their tally, or one of their gauges; the labels follow in it


COUNTER, GAUGE, HISTOGRAM = MetricKind

PROCESS = (  # of each process
    Spec("driftline_ready", GAUGE, "1 once recovered and folding live, else 0."),
    Spec("driftline_build_info", GAUGE, "Always 1; the version stands in the label.", ("version",)),
)

TABLE = (
    Spec("driftline_records_total", COUNTER, "Records folded, unreadable ones included.", ("topic",), "records"),
    Spec(
        "driftline_records_without_event_total", COUNTER,
        "Records that gave neither an event nor a dead letter, such as skipped tombstones and deletions.",
        ("topic",), "eventless",
    ),
    Spec("driftline_values_total", COUNTER, "Values of columns found in those records.", ("topic",), "values"),
    Spec(
        "driftline_dropped_values_total", COUNTER,
        "Values not watched because a table of `limits` is full.",
        shows="dropped",
    ),
    Spec(
        "driftline_evicted_models_total", COUNTER,
        "Models forgotten for others: see `limits.forget_after`.",
        shows="forgotten",
    ),
    Spec(
        "driftline_segments_overflow_total", COUNTER,
        "Events of segments beyond `segments_max` of their model.",
        shows="segments_overflow",
    ),
    Spec(
        "driftline_dead_letters_total", COUNTER, "Records that could not be read.", ("topic", "reason"), "dead_letters"
    ),
    Spec(
        "driftline_retyped_columns_total", COUNTER,
        "Columns whose first values were taken for numbers, and are categories, or the reverse.",
        shows="retyped",
    ),
    Spec(
        "driftline_nested_columns_total", COUNTER,
        "Columns that hold objects or lists, which no detector watches: see `fields.depth` and `fields.lists`.",
        shows="nested",
    ),
    Spec(
        "driftline_repeated_total", COUNTER,
        "Events that repeat an earlier one and count once: see `limits.repeats_max`.",
        ("topic",),
        "repeated_events",
    ),
    Spec("driftline_labels_matched_total", COUNTER, "Errors of predictions that labels gave.", shows="labels/matched"),
    Spec(
        "driftline_labels_unmatched_total", COUNTER,
        "Labels without a prediction of their id, within `labels.timeout_s` and `labels.early_max`.",
        shows="labels/unmatched",
    ),
    Spec(
        "driftline_labels_total", COUNTER,
        "What became of labels: `matched`; `expired` or `evicted` without a prediction (`labels.timeout_s`, "
        "`labels.early_max`); `repeated`: another of an id that has one, or without a value. Others wait.",
        ("outcome",),
        "label_fates",
    ),
    Spec(
        "driftline_labels_unknown_model_total", COUNTER,
        "Labels that came before any prediction of their model on their partition: of another partition, or another "
        "model_id.",
        shows="labels_strange",
    ),
    Spec(
        "driftline_watched_values_total", COUNTER,
        "What became of the values of columns, errors and segments: `watched`, `missing`, or `faulty` (another kind "
        "than the column's, lists, objects).",
        ("outcome",),
        "value_fates",
    ),
    Spec(
        "driftline_pairs_total", COUNTER,
        "Inputs and outputs in records of their own: joined, or gone on alone.",
        ("pair",),
        "pairs",
    ),
    Spec(
        "driftline_ahead_total", COUNTER,
        "Events and alerts dated too far ahead to move time: a producer's clock is wrong.",
        ("topic",),
        "ahead",
    ),
    Spec(
        "driftline_rekeyed_records_total", COUNTER,
        "Records of topics with other keys that this process copied: see `labels.repartition`.",
    ),
    Spec("driftline_alarms_total", COUNTER, "Raw alarms of the detectors.", ("detector",), "alarms"),
    Spec("driftline_alerts_total", COUNTER, "Alerts published.", ("kind", "state"), "alerts"),
    Spec("driftline_outcomes_total", COUNTER, "What decide made of alerts, by named reason.", ("outcome",), "outcomes"),
    Spec("driftline_retrain_requests_total", COUNTER, "Retrain requests published.", shows="outcomes/request_made"),
    Spec(
        "driftline_diverged_epochs_total", COUNTER,
        "Epochs that, folded again at a start, gave other outputs than were published: a reason to run `verify`.",
        shows="diverged",
    ),
    Spec("driftline_commit_seconds", HISTOGRAM, "How long a commit took."),
    Spec("driftline_checkpoints_total", COUNTER, "Checkpoints that were kept or failed.", ("outcome",)),
    Spec("driftline_checkpoint_seconds", HISTOGRAM, "How long a checkpoint took, beside the folding."),
    Spec("driftline_checkpoint_pause_seconds", HISTOGRAM, "How long folding stood still for a checkpoint."),
    Spec(
        "driftline_stage_seconds_total", COUNTER,
        "Seconds spent in each stage: `fetch` (with waiting for records), `decode`, `detect`, `decide`, `commit`.",
        ("stage",),
    ),
    Spec("driftline_checkpoint_bytes", GAUGE, "Size of the unit's last checkpoint.", ("unit",)),
    Spec("driftline_checkpoint_epoch", GAUGE, "Number of the epoch of the unit's last checkpoint.", ("unit",)),
    Spec(
        "driftline_checkpoint_timestamp_seconds", GAUGE,
        "When this process last kept a checkpoint of the unit, since 1970.",
        ("unit",),
    ),
    Spec("driftline_epoch", GAUGE, "Number of the unit's last committed epoch.", ("unit",)),
    Spec("driftline_commit_timestamp_seconds", GAUGE, "When the unit last committed, since 1970.", ("unit",)),
    Spec(
        "driftline_event_timestamp_seconds", GAUGE,
        "The unit's clock: the newest event time that is believed.",
        ("unit",),
    ),
    Spec(
        "driftline_lag_records", GAUGE,
        "Records between our position and the log's end; of the unit `rekey`, those that wait to be copied.",
        ("topic", "partition", "unit"),
    ),
    Spec(
        "driftline_topic_event_timestamp_seconds", GAUGE,
        "The newest event time of the topic since this process began, of events that are not ahead.",
        ("topic", "partition"),
        "event_time",
    ),
    Spec(
        "driftline_lag_seconds", GAUGE,
        "While records wait: the time since the newest folded record was written, or since none waited; else 0.",
        ("topic", "partition", "unit"),
    ),
    Spec(
        "driftline_mapping_fault", GAUGE,
        "1 while a topic's newest records are not understood: `unreadable` or `unwatched`.",
        ("topic", "fault"),
    ),
    Spec("driftline_models", GAUGE, "Models this process holds state for.", shows="models"),
    Spec(
        "driftline_alerts_firing", GAUGE,
        "Alerts of this process that still fire, or whose recovery is watched.",
        shows="alerts_firing",
    ),
    Spec("driftline_labels_early", GAUGE, "Labels that wait for their prediction.", shows="labels_early"),
    Spec("driftline_series", GAUGE, "Series (columns of models) this process holds state for.", shows="series"),
    Spec(
        "driftline_series_by_phase", GAUGE,
        "Series that are watched, learn, have too few values (`starved`), or have no detector or value (`blind`).",
        ("phase",),
        "series_phase",
    ),
    Spec("driftline_table_rows", GAUGE, "Rows of each bounded table.", ("table", "unit"), "rows"),
    Spec("driftline_table_rows_max", GAUGE, "The bound of the table, see `limits`.", ("table", "unit"), "rows_max"),
    Spec(
        "driftline_state_bytes", GAUGE,
        "Memory of the arrays of each part of the state; names and alerts are not among them.",
        ("part", "unit"),
        "state_bytes",
    ),
    Spec("driftline_requests", GAUGE, "Last requests of models, by state.", ("state",), "requests"),
    Spec(
        "driftline_request_age_seconds", GAUGE,
        "How long, in event time, the oldest request of the state has been in it; 0 without one.",
        ("state",),
        "request_age",
    ),
    Spec(
        "driftline_requests_overdue", GAUGE,
        "Requests in the state for more than half of the event time until they expire.",
        ("state",),
        "requests_overdue",
    ),
    Spec(
        "driftline_incidents_open", GAUGE, "Open incidents: of models, sources, storms.", ("scope",), "incidents_open"
    ),
    Spec(
        "driftline_incident_age_seconds", GAUGE,
        "How long, in event time, the oldest of them has been open; 0 without one.",
        ("scope",),
        "incident_age",
    ),
    Spec("driftline_held", GAUGE, "Storms and sources that wait for a person to release them.", ("scope",), "held"),
    Spec(
        "driftline_held_age_seconds", GAUGE,
        "How long, in event time, the incident of the oldest of them has been open; 0 without one.",
        ("scope",),
        "held_age",
    ),
    Spec(
        "driftline_models_waiting", GAUGE,
        "Models whose retrain waits for room in the budget, or for the release of a storm.",
        ("reason",),
        "waiting",
    ),
    Spec(
        "driftline_budget_used", GAUGE,
        "Retrain requests that count against the limit; only of limits that are set.",
        ("limit",),
        "budget_used",
    ),
    Spec("driftline_budget_left", GAUGE, "Retrain requests that the limit still allows.", ("limit",), "budget_left"),
    Spec(
        "driftline_models_hidden", GAUGE, "Models that `metrics.models` names and that `metrics.models_max` leaves out."
    ),
    *PROCESS,
)  # fmt: skip

RUN_STATES: Final = ("waiting", "running")
LAUNCH_OUTCOMES: Final = (
    "launched", "reported", "failed", "cancelled", "retried", "refused",
    "promoted", "reference", "challenger", "champion", "release", "callback", "callback_refused",
)  # fmt: skip
NOTIFICATION_OUTCOMES: Final = ("accepted", "failed", "refused", "dropped")

LAUNCH_TABLE = (
    Spec("driftline_runs", GAUGE, "Approved requests: `waiting` for a run, or `running`.", ("state",)),
    Spec(
        "driftline_run_age_seconds", GAUGE,
        "How long the oldest has been so: `running` since its start, `waiting` since this process saw it; else 0.",
        ("state",),
    ),
    Spec(
        "driftline_runs_overdue", GAUGE,
        "Runs beyond half of `timeout_s`, and requests that wait longer than 10 minutes for theirs.", ("state",),
    ),
    Spec(
        "driftline_launch_total", COUNTER,
        "What became of calls to targets: `retried` and `refused` are errors of a target, `failed` runs that failed.",
        ("outcome",),
    ),
    *PROCESS,
)  # fmt: skip

NOTIFY_TABLE = (
    Spec(
        "driftline_notifications_total", COUNTER,
        "Incidents and notices by receiver: `accepted`, `refused` for good, `dropped` for newer ones; and calls that "
        "`failed` and are made again.", ("receiver", "outcome"),
    ),
    Spec("driftline_notifications_waiting", GAUGE, "Incidents and notices that are still to be sent.", ("receiver",)),
    Spec(
        "driftline_notification_receiver_up", GAUGE, "0 if the last call of the receiver failed, else 1.",
        ("receiver",),
    ),
    Spec(
        "driftline_notification_incidents", GAUGE,
        "Open incidents that are sent `one_by_one`, and those `beyond` `notify.incidents_max`.", ("sent",),
    ),
    *PROCESS,
)  # fmt: skip

PAGE_TABLE = (
    Spec("driftline_ui_records_total", COUNTER, "Records read into the page, profiles by rows."),
    Spec(
        "driftline_ui_left_out_total", COUNTER, "Records that the page leaves out: beyond a bound, or unreadable.",
        ("reason",),
    ),
    Spec("driftline_ui_record_timestamp_seconds", GAUGE, "When the newest was written, since 1970; of files, 0."),
    Spec(
        "driftline_ui_lag_seconds", GAUGE,
        "From the writing of the oldest record that the last change of the pages shows until they show it.",
    ),
    Spec("driftline_ui_following", GAUGE, "0 while records can't be read, such as without a broker; else 1."),
    Spec("driftline_ui_requests_total", COUNTER, "Answers, by view and HTTP status.", ("view", "code")),
    Spec("driftline_ui_request_seconds", HISTOGRAM, "How long an answer took."),
    Spec("driftline_ui_table_rows", GAUGE, "Rows of each bounded table of the page.", ("table",)),
    Spec("driftline_ui_table_rows_max", GAUGE, "The bound of the table; beyond it the oldest go.", ("table",)),
    *PROCESS,
)  # fmt: skip

EVERY: Final = tuple(dict.fromkeys((*TABLE, *LAUNCH_TABLE, *NOTIFY_TABLE, *PAGE_TABLE)))  # of all processes
STAGES: Final = ("fetch", "decode", "detect", "decide", "commit")
OF_UNIT: Final = ("unit", "partition")  # labels that come last, and that the unit of a fold gives
GREATEST: Final = frozenset({"request_age", "incident_age", "held_age"})  # gauges of which the greatest counts

# What a label may hold, for the page of metrics.
CLOSED: Final = {
    "driftline_requests": STATES,
    "driftline_incidents_open": SCOPES,
    "driftline_held": HOLDS,
    "driftline_models_waiting": WAITS,
    "driftline_budget_used": BUDGETS,
    "driftline_stage_seconds_total": STAGES,
    "driftline_runs": RUN_STATES,
    "driftline_launch_total": LAUNCH_OUTCOMES,
    "driftline_notifications_total": NOTIFICATION_OUTCOMES,
}
