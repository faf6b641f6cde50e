"""Events for the join of labels."""

import numpy as np
from hypothesis import strategies as st

from detectors.series.id_ring import LEAVE_MAX
from streamer.events import EventBatch, EventKind

# (kind, id, event time in s, prediction or label)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([EventKind.PREDICTION, EventKind.LABEL, EventKind.PREDICTION | EventKind.LABEL]),
        st.integers(0, 12),
        st.integers(0, 60),
        st.integers(-5, 5) | st.just(float("nan")),
    ),
    max_size=120,
)


def batch_of(events):
    n = len(events)
    kind, ids, time_s, value = (list(a) for a in zip(*events, strict=True)) if events else ([], [], [], [])
    zeros = np.zeros(n, np.int32)
    values = np.array(value, float)
    return EventBatch(
        "t", 0, np.array(kind, np.uint8), zeros, zeros, np.array(time_s, np.int64) * 1000, np.arange(n), zeros,
        np.array(ids, np.uint64), values, values / 2, np.zeros(n + 1, np.int64),
        np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32),
    )  # fmt: skip


def join(label_join, events, first=0, clock_s=None, labelled=None, has_segments=False):
    batch = batch_of(events)
    who = np.arange(first, first + len(batch))
    clock_ms = None if clock_s is None else np.full(len(batch), clock_s * 1000)
    segments = np.column_stack([who % 2, who]) if has_segments else None
    errors = label_join.join(batch, who % 3, who, ["m"], segments, clock_ms)
    if labelled is not None:
        event, subject, predicted_ms, _ = (column.tolist() for column in errors.labelled)
        labelled += zip((i + first for i in event), subject, predicted_ms, strict=True)
    return [
        (int(e) + first, int(s), int(n), float(x))
        for e, s, n, x in zip(errors.event, errors.subject, errors.sequence, errors.error, strict=True)
    ]


def left(waiting, now_s, timeout_s, most):
    """Let the oldest entries leave, which have their time in second place; yields each, and whether it expired."""
    for old in list(waiting)[:LEAVE_MAX]:
        expired = waiting[old][1] < now_s - 2 * timeout_s
        if not expired and len(waiting) < most:
            break
        yield waiting.pop(old), expired
