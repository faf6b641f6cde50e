"""The log in memory: reading, committing, and coming back after a crash."""

from __future__ import annotations

import pytest
from crash_kit import AfterFailure, CrashingLog

from streamer.errors import InDoubtError, UsageError
from streamer.eventlog.base import Epoch, History, Log, Output, Records
from streamer.eventlog.memory import MemoryStore


def values(stretches: list[Records]) -> dict[tuple[str, int], list[bytes | None]]:
    return {(r.topic, r.partition): [r.value_of(i) for i in range(len(r))] for r in stretches}


def test_a_poll_returns_what_is_new_of_the_subscribed_topics() -> None:
    """Each record of a subscribed topic comes once, partition by partition; other topics don't come."""
    log: Log = (memory := CrashingLog(subscribe=["b", "a"]))
    memory.store.append("a", b"k", b"1")
    memory.store.append("b", None, b"2", partition=1)
    memory.store.append("b", None, None, partition=0)
    memory.store.append("c", None, b"4")
    assert list(values(log.poll(0)).items()) == [(("b", 0), [None]), (("b", 1), [b"2"]), (("a", 0), [b"1"])]
    assert log.poll(0) == []
    assert memory.store.append("a", None, b"5") == 1
    assert values(log.poll(0)) == {("a", 0): [b"5"]}


def test_a_record_reads_back_whole() -> None:
    """Key, value, headers, time and offset are those appended."""
    log = CrashingLog(["t"])
    log.store.append("t", b"k", b"v", (("h", None),), timestamp_ms=7, partition=2)
    (records,) = log.poll()
    assert (records.key_of(0), records.value_of(0), records.headers_of(0)) == (b"k", b"v", (("h", None),))
    assert (records.offset[0], records.timestamp_ms[0], records.next_offset) == (0, 7, 1)


def test_a_poll_is_bounded_in_each_partition() -> None:
    """No more than `poll_records_max` of a partition come at once; the rest comes next."""
    log = CrashingLog(["t"], poll_records_max=2)
    for value in (b"1", b"2", b"3"):
        log.store.append("t", None, value)
    assert [values(log.poll()) for _ in range(3)] == [{("t", 0): [b"1", b"2"]}, {("t", 0): [b"3"]}, {}]


def test_a_held_partition_waits_and_loses_nothing() -> None:
    """While held nothing of it comes and the log is not exhausted; released, all of it comes."""
    log = CrashingLog(["t"])
    log.store.append("t", None, b"held")
    log.store.append("t", None, b"free", partition=1)
    log.end_input()
    log.hold("t", 0, True)
    assert values(log.poll()) == {("t", 1): [b"free"]}
    assert not log.exhausted()
    log.hold("t", 0, False)
    assert values(log.poll()) == {("t", 0): [b"held"]}
    assert log.exhausted()


def test_the_log_is_exhausted_once_input_ended_and_all_was_polled() -> None:
    """Outputs that come back as input count too."""
    log = CrashingLog(["alerts"])
    assert not log.exhausted()
    log.end_input()
    assert log.exhausted()
    log.commit([Output("alerts", None, b"1"), Output("requests", None, b"2")], [])
    assert not log.exhausted()
    assert values(log.poll()) == {("alerts", 0): [b"1"]}
    assert log.exhausted()


def test_outputs_carry_no_time_of_their_own() -> None:
    """Committed records go to partition 0 with timestamp -1, so that their bytes depend on nothing else."""
    log = CrashingLog()
    log.commit([Output("o", b"k", b"v", (("h", b"x"),))], [])
    records = log.store.read("o")
    assert (records.partition, records.timestamp_ms.tolist()) == (0, [-1])
    assert (records.key_of(0), records.headers_of(0)) == (b"k", (("h", b"x"),))


def test_a_second_session_finds_what_was_committed() -> None:
    """After a restart the epochs are there, and reading begins again at the first record."""
    log = CrashingLog(["t"])
    log.store.append("t", None, b"1")
    log.poll()
    epochs = [Epoch("detect-0", 1, {"t": 1}, 1, "d"), Epoch("decide", 1, {})]
    log.commit([Output("o", None, b"x")], epochs)
    again = log.reopen()
    assert again.poll() == []
    assert again.assignment() == ["decide", "detect-0"]
    assert (again.past("decide"), again.past("detect-0")) == (History(0, [epochs[1]], 1), History(0, [epochs[0]], 1))
    for unit in ("decide", "detect-0"):
        again.resume(unit, {}, {})
    assert values(again.poll()) == {("t", 0): [b"1"]}


@pytest.mark.parametrize(
    ("kept", "epochs", "committed", "outputs"),
    [
        (AfterFailure.NOTHING, 0, 0, 0),
        (AfterFailure.EPOCHS, 1, 0, 0),
        (AfterFailure.OUTPUTS, 0, 0, 1),
        (AfterFailure.EVERYTHING, 1, 1, 1),
    ],
)
def test_a_doubtful_commit_keeps_what_was_asked(kept: AfterFailure, epochs: int, committed: int, outputs: int) -> None:
    """Each end that a commit may come to can be had; committing again then makes it whole."""
    log = CrashingLog()
    log.doubt_next_commit(kept)
    epoch = Epoch("u", 1, {"t": 1}, 1)
    with pytest.raises(InDoubtError):
        log.commit([Output("o", None, b"x")], [epoch])
    again = log.reopen()
    past = again.past("u")
    assert (len(past.epochs), past.committed, len(log.store.read("o"))) == (epochs, committed, outputs)
    if not committed:
        again.commit([Output("o", None, b"x")], [epoch])
        assert again.past("u") == History(0, [epoch], 1)
        assert len(log.store.read("o")) == outputs + 1


@pytest.mark.parametrize("number", [1, 3])
def test_epochs_come_in_order(number: int) -> None:
    """An epoch that is skipped, or comes again after its outputs, is a broken promise of the caller."""
    log = CrashingLog()
    log.commit([], [Epoch("u", 1, {})])
    with pytest.raises(ValueError, match=f"u commits epoch {number} after 1"):
        log.commit([], [Epoch("u", number, {})])


def test_what_was_read_can_be_forgotten() -> None:
    """Offsets go on after forgetting, reading begins at what is left, and more can't be forgotten than there is."""
    store = MemoryStore(records_max=2)
    log = CrashingLog(["t"], store)
    log.store.append("t", None, b"0")
    log.store.append("t", None, b"1")
    with pytest.raises(UsageError, match=r"t\[0\] holds 2 records in memory"):
        log.store.append("t", None, b"2")
    store.forget("t", 0, 1)
    assert log.store.append("t", None, b"2") == 2
    (records,) = log.poll()
    assert (records.offset.tolist(), records.value_of(0)) == ([1, 2], b"1")
    with pytest.raises(ValueError, match="ends at 3"):
        store.forget("t", 0, 4)
