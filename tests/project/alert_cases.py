"""Series over which the rules are tested: for each rule some in which it fires, and some in which it is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALL_DAY = "x300"  # samples, one a minute
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """Series, and the alerts of one rule at a minute. A series is a metric and its samples, one a minute.

    `0+60x9` is 0, 60, 120, ...: a time that goes on as the clock does, since minute 0 is 1970.
    """

    rule: str
    about: str
    series: Mapping[str, str]
    minute: int
    fires: Sequence[Labels] = field(default=())


def of(metric: str, **labels: str) -> str:
    """A series of a scraped process."""
    labels = {"instance": "a", "job": "driftline", **labels}
    return metric + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def unit(name: str, *, commit: str = "", lag: str = "", partition: str = "0") -> dict[str, str]:
    """The last commits and the lag of a unit."""
    found = {of("driftline_commit_timestamp_seconds", unit=name): commit}
    found[of("driftline_lag_records", unit=name, topic="rides", partition=partition)] = lag
    return {series: samples for series, samples in found.items() if samples}


def checkpoints(stored_s: str, epoch: str, stored_epoch: str) -> dict[str, str]:
    return {
        of("driftline_checkpoint_timestamp_seconds", unit="detect-0"): stored_s,
        of("driftline_epoch", unit="detect-0"): epoch,
        of("driftline_checkpoint_epoch", unit="detect-0"): stored_epoch,
    }


def outcomes(name: str, samples: str) -> dict[str, str]:
    return {of("driftline_outcomes_total", outcome=name): samples}


def late(partition: str, seconds: str) -> dict[str, str]:
    """The lag of a partition in seconds."""
    return {of("driftline_lag_seconds", topic="rides", partition=partition, unit=f"detect-{partition}"): seconds}


def records(topic: str, samples: str) -> dict[str, str]:
    return {of("driftline_records_total", topic=topic): samples}


def newest(partition: str) -> str:
    return of("driftline_topic_event_timestamp_seconds", topic="rides", partition=partition)


def overdue(state: str) -> str:
    return of("driftline_requests_overdue", state=state)


def fleet(models: int) -> dict[str, str]:
    return {of("driftline_models"): f"{models}{ALL_DAY}", of("driftline_retrain_requests_total"): f"0{ALL_DAY}"}


READY = {of("driftline_ready"): f"1{ALL_DAY}"}
NOW, STANDS = f"0+60{ALL_DAY}", f"0{ALL_DAY}"  # a time that goes on, and one that stays
A, CRITICAL, WARNING = {"instance": "a"}, {"severity": "critical"}, {"severity": "warning"}
JOB, PARTITION = {"job": "driftline"}, {"topic": "rides", "partition": "0"}
BUILD = of("driftline_build_info", version="1")
NOT_READY = A | JOB | WARNING
RUNNING = {"state": "running"}
WEBHOOK = {"instance": "a", "receiver": "webhook"}
RECEIVER_UP = of("driftline_notification_receiver_up", receiver="webhook")
REFUSED = of("driftline_notifications_total", receiver="webhook", outcome="refused")
UNWATCHED = of("driftline_mapping_fault", topic="rides", fault="unwatched")

CASES = [
    Case("Down", "answers", {of("up"): "1x20", BUILD: "1x20"}, 15),
    Case("Down", "no answer", {of("up"): "1x10 0x40", BUILD: "1x10 stale"}, 15, [A | JOB | CRITICAL]),
    Case("Down", "no answer for long", {of("up"): "1x10 0x40", BUILD: "1x10 stale"}, 40, [A | JOB | CRITICAL]),
    Case("Down", "no target", {}, 5, [CRITICAL]),
    Case("Down", "another service does not answer", {of("up", job="other"): "0x20", BUILD: "1x20"}, 15),
    Case("NotReady", "recovers for ten minutes", {of("driftline_ready"): "0x10 1x20"}, 25),
    Case("NotReady", "recovers for longer", {of("driftline_ready"): "0x30"}, 25, [A | JOB | WARNING]),
    Case(
        "NotReady", "scrapes fail now and then", {of("driftline_ready"): "0x3 _ 0x3 _x2 0x30"}, 25, [A | JOB | WARNING]
    ),
    Case("Restarting", "started twice", {of("process_start_time_seconds"): "0x10 600x20 1800x10", BUILD: "1x40"}, 38),
    Case(
        "Restarting",
        "another service starts every five minutes",
        {of("process_start_time_seconds", job="other"): "0x4 300x4 600x4 900x4 1200x4 1500x4", BUILD: "1x40"},
        29,
    ),
    Case(
        "Restarting",
        "starts every five minutes",
        {of("process_start_time_seconds"): "0x4 300x4 600x4 900x4 1200x4 1500x4", BUILD: "1x40"},
        29,
        [A | JOB | WARNING],
    ),
    Case("Stalled", "nothing to do", READY | unit("detect-0", commit=STANDS, lag=STANDS), 60),
    Case("Stalled", "under way", READY | unit("detect-0", commit=NOW, lag=f"500{ALL_DAY}"), 60),
    Case(
        "Stalled",
        "recovers",
        {of("driftline_ready"): f"0{ALL_DAY}"} | unit("detect-0", lag=f"500{ALL_DAY}"),
        60,
    ),
    Case(
        "Stalled",
        "never committed",
        READY | unit("detect-0", lag=f"500{ALL_DAY}"),
        60,
        [A | {"unit": "detect-0"} | CRITICAL],
    ),
    Case(
        "Stalled",
        "one unit beside others",
        READY
        | unit("detect-0", commit=STANDS, lag=f"0+10{ALL_DAY}")
        | unit("detect-1", commit=NOW, lag=f"3{ALL_DAY}", partition="1"),
        60,
        [A | {"unit": "detect-0"} | CRITICAL],
    ),
    Case("FallingBehind", "catches up", unit("detect-0", lag="500000-1000x120"), 60),
    Case("FallingBehind", "grows", unit("detect-0", lag="0+5000x120"), 60, [{"topic": "rides"} | WARNING]),
    Case(
        "FallingBehind",
        "few records that never end",
        unit("detect-0", lag=f"90000{ALL_DAY}") | unit("detect-1", lag=STANDS, partition="1"),
        150,
        [{"topic": "rides"} | WARNING],
    ),
    Case("FallingBehind", "late by minutes", late("0", f"400{ALL_DAY}"), 60, [{"topic": "rides"} | WARNING]),
    Case("FallingBehind", "late and catching up", late("0", "3600-30x120"), 60),
    Case("FallingBehind", "some records at any time", unit("detect-0", lag=f"600{ALL_DAY}"), 200),
    Case(
        "NotFresh",
        "late for a quarter of an hour",
        late("0", "0x60 400x15 0x300"),
        74,
        [PARTITION | CRITICAL, PARTITION | WARNING],
    ),
    Case("NotFresh", "late for a quarter of an hour, and over", late("0", "0x300 400x15 0x300"), 390),
    Case(
        "NotFresh",
        "late one minute in ten beside a partition that is not",
        late("0", " ".join(["0x8 400x0"] * 45)) | late("1", "0x400"),
        400,
        [PARTITION | WARNING],
    ),
    Case("NotFresh", "never late", late("0", "20x400"), 390),
    Case("CheckpointsOld", "idle since the last one", checkpoints(STANDS, f"7{ALL_DAY}", f"7{ALL_DAY}"), 200),
    Case("CheckpointsOld", "stored", checkpoints(NOW, f"0+60{ALL_DAY}", f"0+59{ALL_DAY}"), 200),
    Case(
        "CheckpointsOld",
        "epochs and no checkpoint",
        checkpoints(STANDS, f"7+1{ALL_DAY}", f"7{ALL_DAY}"),
        200,
        [A | JOB | {"unit": "detect-0"} | WARNING],
    ),
    Case(
        "CheckpointsOld",
        "never stored",
        {
            of("driftline_checkpoints_total", outcome="failed"): f"0+1{ALL_DAY}",
            of("driftline_checkpoints_total", outcome="kept"): f"0{ALL_DAY}",
        },
        90,
        [A | WARNING],
    ),
    Case(
        "CheckpointsOld",
        "some failed",
        {
            of("driftline_checkpoints_total", outcome="failed"): f"0+1{ALL_DAY}",
            of("driftline_checkpoints_total", outcome="kept"): f"0+1{ALL_DAY}",
        },
        90,
    ),
    Case("Diverged", "none", {of("driftline_diverged_epochs_total"): "0x20"}, 10),
    Case(
        "Diverged", "before the first scrape", {of("driftline_diverged_epochs_total"): "3x20"}, 10, [A | JOB | CRITICAL]
    ),
    Case("EventsOld", "recent", {of("driftline_event_timestamp_seconds", unit="detect-0"): NOW}, 150),
    Case(
        "EventsOld",
        "one partition of a process is quiet",
        {
            of("driftline_event_timestamp_seconds", unit="detect-0"): NOW,
            of("driftline_event_timestamp_seconds", unit="detect-1"): STANDS,
        },
        150,
    ),
    Case(
        "EventsOld",
        "one process of two gets none",
        {
            of("driftline_event_timestamp_seconds", unit="detect-0"): STANDS,
            of("driftline_event_timestamp_seconds", unit="detect-0", instance="b"): NOW,
        },
        150,
        [A | WARNING],
    ),
    Case(
        "EventsOld",
        "one clock of two is ahead",
        {
            of("driftline_event_timestamp_seconds", unit="detect-0"): f"90000+60{ALL_DAY}",
            of("driftline_event_timestamp_seconds", unit="detect-0", instance="b"): NOW,
        },
        150,
        [A | JOB | {"unit": "detect-0"} | WARNING],
    ),
    Case("TopicSilent", "goes on", records("rides", "0+50x500"), 500),
    Case("TopicSilent", "stops", records("rides", "0+50x420 21000x100"), 470, [{"topic": "rides"} | WARNING]),
    Case("TopicSilent", "comes twice a day", records("labels", "0x100 500x340 1000x100"), 500),
    Case(
        "TopicSilent",
        "stops each night",
        records("rides", "0+50x420 21000x1019 21000+50x420 42000x100"),
        1440 + 470,
    ),
    Case(
        "TopicSilent",
        "stops beside a topic that goes on",
        records("rides", "0+50x420 21000x100") | records("labels", "0+50x520"),
        470,
        [{"topic": "rides"} | WARNING],
    ),
    Case(
        "TopicSilent",
        "one partition stops",
        {newest("0"): "0+60x600", newest("1"): "0+60x420 25200x180"},
        500,
        [PARTITION | {"partition": "1"} | WARNING],
    ),
    Case("TopicSilent", "one partition is seldom used", {newest("0"): "0+60x600", newest("1"): "0x600"}, 500),
    Case("TopicSilent", "all partitions go on", {newest("0"): "0+60x600", newest("1"): "0+60x600"}, 500),
    Case(
        "LabelsUnmatched",
        "most have no prediction",
        {of("driftline_labels_unmatched_total"): "0+30x200", of("driftline_labels_matched_total"): "0+10x200"},
        120,
        [A | WARNING],
    ),
    Case(
        "LabelsUnmatched",
        "some have none",
        {of("driftline_labels_unmatched_total"): "0+10x200", of("driftline_labels_matched_total"): "0+30x200"},
        120,
    ),
    Case(
        "LabelsUnmatched",
        "a few labels",
        {of("driftline_labels_unmatched_total"): "0+1x200", of("driftline_labels_matched_total"): "0x200"},
        120,
    ),
    Case("RequestsOverdue", "none", {overdue("requested"): "0x60"}, 50),
    Case("RequestsOverdue", "approval", {overdue("requested"): "0x10 2x60"}, 50, [{"state": "requested"} | WARNING]),
    Case("RequestsOverdue", "run", {overdue("training"): "0x10 2x60"}, 50, [{"state": "training"} | WARNING]),
    Case("RequestsOverdue", "answered in time", {overdue("requested"): "0x10 2x5 0x60"}, 50),
    Case("RunsOverdue", "none", {of("driftline_runs_overdue", state="running"): "0x60"}, 50),
    Case("RunsOverdue", "late", {of("driftline_runs_overdue", state="running"): "0x10 1x60"}, 50, [RUNNING | WARNING]),
    Case("RunsOverdue", "ended in time", {of("driftline_runs_overdue", state="running"): "0x10 1x5 0x60"}, 50),
    Case("NotificationsFailing", "answers", {RECEIVER_UP: "1x60", REFUSED: "3x60"}, 50),
    Case("NotificationsFailing", "away", {RECEIVER_UP: "1x10 0x60"}, 50, [WARNING | WEBHOOK]),
    Case("NotificationsFailing", "away for a moment", {RECEIVER_UP: "1x30 0x6 1x60"}, 50),
    Case("NotificationsFailing", "refuses", {RECEIVER_UP: "1x60", REFUSED: "0x20 2x60"}, 50, [WARNING | WEBHOOK]),
    Case("BudgetExhausted", "for hours", {of("driftline_models_waiting", reason="budget"): "3x200"}, 100, [WARNING]),
    Case("BudgetExhausted", "for a while", {of("driftline_models_waiting", reason="budget"): "0x50 3x30 0x90"}, 100),
    Case("BudgetExhausted", "of a storm", {of("driftline_models_waiting", reason="storm"): "3x200"}, 100),
    Case("DeadLetters", "nothing is watched", {UNWATCHED: "0x10 1x30"}, 30, [WARNING | {"topic": "rides"}]),
    Case("DeadLetters", "nothing was watched for a moment", {UNWATCHED: "0x10 1x3 0x30"}, 30),
    Case(
        "DeadLetters",
        "one in a thousand",
        {
            of("driftline_dead_letters_total", topic="rides", reason="not_json"): "0+1x60",
            of("driftline_records_total", topic="rides"): "0+1000x60",
        },
        50,
    ),
    Case(
        "DeadLetters",
        "one in ten",
        {
            of("driftline_dead_letters_total", topic="rides", reason="not_json"): "0+100x60",
            of("driftline_records_total", topic="rides"): "0+1000x60",
        },
        50,
        [{"topic": "rides"} | WARNING],
    ),
    Case(
        "Storm",
        "many alerts of one model",
        fleet(60)
        | {of("driftline_alerts_total", state="firing"): "0x10 13x60"}
        | outcomes("incident_opened", "0x10 1x60"),
        20,
    ),
    Case("Storm", "a fifth of the fleet", fleet(60) | outcomes("incident_opened", "0x10 13x60"), 20, [WARNING]),
    Case("Storm", "a fifth of a small fleet", fleet(15) | outcomes("incident_opened", "0x10 13x60"), 20),
    Case("Storm", "a storm of a column", fleet(2000) | outcomes("storm_opened", "0x10 1x60"), 20, [WARNING]),
    Case(
        "Storm",
        "many requests",
        fleet(60) | {of("driftline_retrain_requests_total"): "0x10 7x60"},
        20,
        [WARNING],
    ),
]
