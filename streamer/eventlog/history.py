"""The history of a unit in the log: its epochs, and the notes between them.

A history is read in the order of its records, from its beginning or from the epoch of a checkpoint. The notes are: the
first offsets of a topic (`Start`), the settings of the epochs that follow (`SettingsNote`), an attempt of a fresh
process at some records (`Attempt`), its survival (`AttemptSurvived`), and a loss of records that resets the state
(`Gap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import msgspec


@dataclass(frozen=True, slots=True)
class Epoch:
    """One committed step of one unit: it has folded all records up to `ends`, which gave `outputs` outputs.

    A unit folds each epoch in one order (see `streamer/runtime/order.py`). So a replay of its epochs over the same log
    gives the same bytes.
    """

    unit: str  # "detect-<partition>" or "decide"
    number: int  # 1, 2, ... within the unit
    ends: Mapping[str, int]  # topic -> end offset in the unit's partition of it, for every topic read so far
    outputs: int = 0
    digest: str = ""  # blake2b-128 over the outputs, in order
    settings: str = ""  # fingerprint of the fold's settings
    set_aside: Mapping[str, Sequence[int]] = field(default_factory=dict)  # topic -> offsets that are not folded
    references: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict
    )  # model -> version -> digest of the training reference that is loaded before the records
    at: int = field(default=-1, compare=False)  # offset in the history; known once it is in the log


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="note"):
    """The offsets at which a unit began to read some of its topics."""

    unit: str
    starts: dict[str, int]  # topic -> offset of the first record to read
    topic_ids: dict[str, str]  # "" where the log knows none
    group: str = ""


class SettingsNote(msgspec.Struct, frozen=True, tag="settings", tag_field="note"):
    """The settings of the epochs that follow."""

    unit: str
    fingerprint: str
    text: str  # canonical JSON
    reset: list[str] = []  # detectors that they reset, because their own settings changed


class Attempt(msgspec.Struct, frozen=True, tag="attempt", tag_field="note"):
    """A fresh process is about to fold the next epoch. If no epoch follows, the process may have died of it."""

    unit: str
    records: int  # of that epoch
    cautious: bool = False  # whether the epoch is small because earlier attempts failed
    ends: dict[str, int] = {}  # topic -> end offset


class AttemptSurvived(msgspec.Struct, frozen=True, tag="survived", tag_field="note"):
    """The process of the last attempt folded its records and ended for another reason."""

    unit: str
    records: int = 0  # of the epoch, if its outputs did not get into the log in time


class Gap(msgspec.Struct, frozen=True, tag="gap", tag_field="note"):
    """Records that the state needs are gone: it restarts empty after epoch `after`, reading from these offsets."""

    unit: str
    after: int
    starts: dict[str, int]
    topic_ids: dict[str, str]
    reason: str


Note = Start | SettingsNote | Attempt | AttemptSurvived | Gap


@dataclass(slots=True)
class History:
    """A unit's history, as far as it was read."""

    base: int = 0  # the epochs after this number are here
    epochs: list[Epoch] = field(default_factory=list)  # base + 1, base + 2, ... without gaps
    committed: int = 0  # the outputs of epochs up to this number are in the log; later ones are published again
    starts: dict[str, int] = field(default_factory=dict)  # topic -> offset of the first record
    topic_ids: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)  # fingerprint -> text
    attempts: list[Attempt] = field(default_factory=list)  # since the last epoch
    reached: dict[str, int] = field(default_factory=dict)  # where epoch `base` ends, if the history was read from there
    records_max: int | None = None  # of the next epoch, because the outputs of a larger one exceeded the deadline
    was_reset: bool = False  # whether a gap has reset the state: earlier checkpoints are void

    @property
    def last(self) -> int:
        """The number of the last epoch."""
        return self.base + len(self.epochs)

    def positions(self) -> dict[str, int]:
        """The reading position at its end, by topic."""
        return self.starts | dict(self.epochs[-1].ends if self.epochs else self.reached)

    def take(self, entry: Epoch | Note) -> bool:
        """Add the next entry of the history; false when epochs are missing before it.

        If a number occurs twice, the first epoch counts: a process that had been replaced wrote the second.
        """
        match entry:
            case Epoch():
                if entry.number > self.last + 1:
                    return False
                if entry.number == self.last + 1:
                    self.epochs.append(entry)
                    self.attempts.clear()
                    self.records_max = None
            case Start():
                self.starts = entry.starts | self.starts
                self.topic_ids = entry.topic_ids | self.topic_ids
            case SettingsNote():
                self.settings[entry.fingerprint] = entry.text
            case Attempt():
                self.attempts.append(entry)
            case AttemptSurvived():
                del self.attempts[-1:]
                if entry.records:
                    self.records_max = max(entry.records // 2, 1)
            case Gap():
                self.was_reset, self.base = True, entry.after
                self.epochs.clear()
                self.attempts.clear()
                self.starts, self.topic_ids, self.reached = dict(entry.starts), dict(entry.topic_ids), {}
        return True


def settings_fingerprint(text: str) -> str:
    """32 hex digits (blake2b-128) of the text of settings, under which histories and checkpoints name them."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def encode_entry(entry: Epoch | Note) -> bytes:
    """An entry as JSON; without the epoch's own offset."""
    if not isinstance(entry, Epoch):
        return msgspec.json.encode(entry)
    fields = msgspec.to_builtins(entry)
    del fields["at"]
    for name in ("set_aside", "references"):
        if not fields[name]:
            del fields[name]
    return msgspec.json.encode(fields)


def decode_entry(value: bytes, at: int = -1) -> Epoch | Note:
    """The inverse of `encode_entry`, for the record at offset `at` of the history.

    Raises `msgspec.DecodeError` for anything that `encode_entry` did not write.
    """
    try:
        if msgspec.json.decode(value, type=_Peek).note:
            note: Note = msgspec.json.decode(value, type=Note)
            return note
        return replace(msgspec.json.decode(value, type=Epoch), at=at)
    except (UnicodeDecodeError, RecursionError) as error:  # of the decoder, in what it passes over
        raise msgspec.DecodeError(f"{type(error).__name__}: {error}") from error


class _Peek(msgspec.Struct):
    note: str = ""
