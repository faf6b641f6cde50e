"""Bugs as they would be written by mistake, planted by patches: what the simulation must see."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from unittest.mock import patch

import numpy as np
from sim_folds import ProbedFolds

from streamer import decide
from streamer.contracts.event_clock import EventClock
from streamer.eventlog.kafka import unit_history as kafka_history
from streamer.eventlog.kafka.commit import AtLeastOnce, ExactlyOnce
from streamer.eventlog.kafka.membership import Membership
from streamer.eventlog.kafka.unit_history import HistoryReader
from streamer.runtime.checkpoints.scheduler import CheckpointScheduler
from streamer.runtime.loop import Service
from streamer.runtime.unit import Unit

Planted = Callable[[], AbstractContextManager[object]]


def offsets_first_at_least_once():
    """At least once: offsets are committed before the outputs they stand for are out."""

    def commit(self, entries, outputs, offsets):
        self._group.fence()
        places = [
            place for entry in entries for place in self._sender.step("epochs", partial(self._publish_entry, entry))
        ]
        self._sender.step("offsets", partial(self._group.commit_offsets, offsets))
        self._sender.step("outputs", partial(self._sender.publish, outputs))
        return places

    return patch.object(AtLeastOnce, "commit", commit)


def offsets_first_exactly_once():
    """Exactly once, in two transactions: one for the offsets and then one for the outputs."""
    commit = ExactlyOnce.commit

    def twice(self, entries, outputs, offsets):
        places = commit(self, entries, [], offsets)
        commit(self, [], outputs, offsets)
        return places

    return patch.object(ExactlyOnce, "commit", twice)


def cut_forgotten():
    """A past is folded again as one epoch, though it was cut into several."""
    replay = Unit.replay

    def replay_roughly(self, past):
        replay(self, past)
        self.replay_plan = deque(list(self.replay_plan)[-1:])

    return patch.object(Unit, "replay", replay_roughly)


@contextmanager
def knowledge_outlives_its_commit() -> Iterator[None]:
    """What the decide fold knows is kept outside of it, so a fresh process begins with what was never committed."""
    fresh, kept = ProbedFolds.fresh, []

    def fresh_but_known(self, unit, settings):
        fold = fresh(self, unit, settings)
        if unit == "decide" and self.is_deadly:
            kept.append(fold._engine)
            fold._engine = kept[0]
        return fold

    with patch.object(ProbedFolds, "fresh", fresh_but_known):
        yield


def no_group_metadata():
    """The group's name alone is sent with the offsets."""
    return patch.object(Membership, "fence", lambda _self: "group")


@contextmanager
def kept_before_commit() -> Iterator[None]:
    """A unit is kept while an epoch is folded that is not in the log yet."""
    commit = Service._commit

    def keep_and_commit(self):
        self._checkpoint_hook.on_turn(self.units)
        commit(self)

    with (
        patch.object(CheckpointScheduler, "_is_new", lambda _self, unit: unit.last is not None),
        patch.object(Service, "_commit", keep_and_commit),
    ):
        yield


def buffer_polled_again():
    """A unit that stays through a rebalance is read from its last epoch on, and keeps what it had buffered."""
    return patch.object(Unit, "positions", lambda self: self.starts | self.ends)


def markers_not_awaited():
    """The history is read up to the markers that have arrived, whatever offsets are committed."""
    return patch.object(kafka_history, "_lags", lambda _past, _committed: False)


def state_of_before():
    """A unit that comes back is taken to be as we left it."""
    return patch.object(Service, "_moved_on", lambda _self, _unit: False)


def checkpoint_not_compared():
    """A checkpoint is taken for true if there is something where its epoch is said to be."""
    return patch.object(HistoryReader, "_stands", lambda _self, _since, _tp: True)


@contextmanager
def twin_unnoticed() -> Iterator[None]:
    """At least once: that another process has written to the history meanwhile is not looked at."""
    publish = AtLeastOnce._publish_entry

    def publish_anyway(self, entry):
        self._ends[entry.partition] = self._sender.producer._host.cluster.partitions[
            self._sender.epochs_topic, entry.partition
        ].end
        return publish(self, entry)

    with patch.object(AtLeastOnce, "_publish_entry", publish_anyway):
        yield


def clock_believes_all():
    """The time of a unit is the newest of any event."""

    def advance(self, _model, event_time_ms):
        shown = np.maximum.accumulate(np.concatenate([[self.now_ms], event_time_ms]))
        self._head[0] = shown[-1]
        return shown[1:]

    return patch.object(EventClock, "advance", advance)


def alerts_move_time():
    """The fleet's time is the newest of any alert."""
    return patch.object(decide, "held_back", lambda alert, *_: alert)


def witnesses_forgotten():
    """A restart keeps what a unit's clock shows, and not who has said so."""
    load = EventClock.load
    return patch.object(EventClock, "load", lambda self, arrays: load(self, {**arrays, "jurors": arrays["jurors"][:0]}))


# The kinds of worlds in which to look for each; without any, all are searched.
PLANTED: dict[Planted, frozenset[str]] = {
    offsets_first_at_least_once: frozenset(),
    offsets_first_exactly_once: frozenset(),
    cut_forgotten: frozenset(),
    knowledge_outlives_its_commit: frozenset(),
    no_group_metadata: frozenset({"group"}),
    kept_before_commit: frozenset(),
    buffer_polled_again: frozenset({"group"}),
    markers_not_awaited: frozenset(),
    state_of_before: frozenset({"group"}),
    checkpoint_not_compared: frozenset(),
    twin_unnoticed: frozenset({"group"}),
    clock_believes_all: frozenset(),
    alerts_move_time: frozenset(),
    witnesses_forgotten: frozenset(),
}
