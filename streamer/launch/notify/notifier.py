"""The notifier: takes changes in, makes the calls of all receivers, and knows how far the log is sent.

Its progress is a consumer group's offsets: those up to which each notice is accepted, refused for good, or dropped. A
new process reads both topics from their beginning. It gives what is open to Alertmanagers, and a webhook what is later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streamer.eventlog.base import Records
from streamer.launch.base import TargetDown, TargetRefused
from streamer.launch.calls import retry_in_s
from streamer.launch.notify.board import Board, Spot
from streamer.launch.notify.receivers import Receiver
from streamer.logs import log_of, one_line
from streamer.telemetry.table import NOTIFICATION_OUTCOMES

if TYPE_CHECKING:
    from streamer.telemetry.metrics import Metrics

BUSY_S: Final = 0.01  # of one wait for records, while calls are made
IDLE_S: Final = 0.2
COMMIT_S: Final = 1.0  # between two commits of progress
RENEW_S: Final = 3600.0  # brokers forget the offsets of a group that commits nothing for days

log = log_of("notify")


@dataclass(slots=True)
class _Delivery:
    """A receiver, and what is under way to it."""

    receiver: Receiver
    future: Future[Any] | None = None
    about: int = 0  # incidents of the call that is under way
    tries: int = 0
    next_s: float = 0.0  # monotonic
    dropped: int = 0  # that are counted


class Notifier:
    """Works through what receivers have to send. `turn` is called again and again; between, `add` takes records in."""

    def __init__(
        self,
        board: Board,
        receivers: list[Receiver],
        committed: Mapping[Spot, int],
        ends: Mapping[Spot, int],
        metrics: Metrics,
        commit: Callable[[Mapping[Spot, int]], None],
    ) -> None:
        """`committed`: the group's offsets; `ends`: those of the topics at the start; `commit` keeps offsets."""
        self.board, self._metrics, self._commit, self._clock = board, metrics, commit, metrics.clock
        self._is_first, self._has_begun = not committed, False
        self._news_from = begin_of(committed, ends)
        self._deliveries = [_Delivery(one) for one in receivers]
        self._pool = ThreadPoolExecutor(max(len(receivers), 1), thread_name_prefix="notify")
        self._read: dict[Spot, int] = dict(self._news_from)
        self._committed: tuple[Mapping[Spot, int], float] | None = None
        self.counts: Counter[str] = Counter()
        for delivery in self._deliveries:
            self._metrics.set("driftline_notification_receiver_up", 1, delivery.receiver.name)
            for outcome in NOTIFICATION_OUTCOMES:
                self._count(delivery, outcome, 0)

    def add(self, records: Records) -> None:
        """Take a stretch of records in."""
        spot = records.topic, records.partition
        for notice in self.board.add(records):
            if notice.offset >= self._news_from.get(spot, 0):
                for delivery in self._deliveries:
                    delivery.receiver.add(notice)
        self._read[spot] = max(records.next_offset, self._read.get(spot, 0))

    def begin(self) -> None:
        """Begin to send, once the topics are read. At a first start, what is open counts as just opened."""
        for notice in self.board.opened() if self._is_first else ():
            for delivery in self._deliveries:
                delivery.receiver.add(notice)
        self._has_begun = True
        names = ", ".join(delivery.receiver.name for delivery in self._deliveries)
        log.info("notifying %s; %d incidents are open", names, len(self.board))

    def turn(self) -> None:
        """Take in what the calls have given, make the next ones, and commit progress."""
        for delivery in self._deliveries:
            if delivery.future is None or delivery.future.done():
                self._collect(delivery)
                self._next(delivery)
        self._show()
        self._keep()

    def pause_s(self) -> float:
        """How long to wait for records before the next turn: little while there is something to send."""
        now_s = self._clock.monotonic_s()
        is_busy = any(one.future or (one.receiver.waiting and now_s >= one.next_s) for one in self._deliveries)
        return BUSY_S if is_busy else IDLE_S

    def close(self) -> None:
        """Wait for the calls that are under way, and commit progress."""
        self._pool.shutdown(wait=True)
        for delivery in self._deliveries:
            self._collect(delivery)
        self._keep(now=True)

    def is_done(self) -> bool:
        """Whether nothing is under way and nothing waits."""
        return self._has_begun and all(
            delivery.future is None and not delivery.receiver.waiting for delivery in self._deliveries
        )

    def progress(self) -> dict[Spot, int]:
        """The offsets up to which all is sent; {} while something of before the first start waits."""
        found = dict(self._read)
        for delivery in self._deliveries:
            unsent = delivery.receiver.unsent()
            if None in unsent:
                return {}
            for spot, offset in unsent.items():
                if spot is not None:
                    found[spot] = min(offset, found.get(spot, offset))
        return found

    def _next(self, delivery: _Delivery) -> None:
        if self._clock.monotonic_s() < delivery.next_s:
            return
        if (call := delivery.receiver.next_call()) is not None:
            delivery.future, delivery.about = self._pool.submit(call[0]), call[1]

    def _collect(self, delivery: _Delivery) -> None:
        """Take in the result of a call that has ended."""
        future, delivery.future = delivery.future, None
        if future is None:
            return
        try:
            future.result()
        except TargetDown as down:
            self._retry(delivery, down)
        except TargetRefused as refused:
            self._count(delivery, "refused", delivery.about)
            log.error("%s refuses what it gets: %s", delivery.receiver.name, one_line(str(refused)))
            delivery.receiver.done()
        else:
            self._count(delivery, "accepted", delivery.about)
            if delivery.tries:
                log.info("%s accepts again, after %d failures", delivery.receiver.name, delivery.tries)
            delivery.tries, delivery.next_s = 0, 0.0
            self._metrics.set("driftline_notification_receiver_up", 1, delivery.receiver.name)
            delivery.receiver.done()

    def _retry(self, delivery: _Delivery, down: TargetDown) -> None:
        """A later try. The first failure of several is one line of the log."""
        wait_s = retry_in_s(delivery.tries, down.after_s)
        delivery.next_s = self._clock.monotonic_s() + wait_s
        self._count(delivery, "failed", 1)
        if not delivery.tries:
            log.warning("%s can't be notified, and is tried again: %s", delivery.receiver.name, one_line(str(down)))
        delivery.tries += 1
        self._metrics.set("driftline_notification_receiver_up", 0, delivery.receiver.name)

    def _show(self) -> None:
        for delivery in self._deliveries:
            self._metrics.set("driftline_notifications_waiting", delivery.receiver.waiting, delivery.receiver.name)
            if delivery.receiver.dropped > delivery.dropped:
                self._count(delivery, "dropped", delivery.receiver.dropped - delivery.dropped)
                delivery.dropped = delivery.receiver.dropped
        self._metrics.set("driftline_notification_incidents", len(self.board) - self.board.beyond, "one_by_one")
        self._metrics.set("driftline_notification_incidents", self.board.beyond, "beyond")

    def _count(self, delivery: _Delivery, outcome: str, n: int) -> None:
        self.counts[outcome] += n
        self._metrics.add("driftline_notifications_total", n, delivery.receiver.name, outcome)

    def _keep(self, now: bool = False) -> None:
        offsets, at_s = self.progress(), self._clock.monotonic_s()
        if not offsets:
            return
        if self._committed is not None:
            before, then_s = self._committed
            if at_s - then_s < (RENEW_S if offsets == before else 0.0 if now else COMMIT_S):
                return
        self._commit(offsets)
        self._committed = offsets, at_s


def begin_of(committed: Mapping[Spot, int], ends: Mapping[Spot, int]) -> dict[Spot, int]:
    """The offsets from which on changes are news: those committed; without any, the ends; a new partition's is 0."""
    if not committed:
        return dict(ends)
    return {spot: min(committed.get(spot, 0), end) for spot, end in ends.items()}
