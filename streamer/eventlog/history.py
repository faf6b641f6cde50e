"""What a unit has done before, as its history in the log tells it: epochs, and notes between them.

A history is read in the order in which it was written, from its beginning or from an epoch that a checkpoint stands on.
Notes say what epochs can't: where a topic's reading began (`Start`), under which settings the fold goes on
(`SettingsNote`), that a fresh process is about to fold so many records (`Attempt`) and that it did not die of them
(`AttemptSurvived`), and that records were lost, so that the state begins anew (`Gap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec


@dataclass(frozen=True, slots=True)
class Epoch:
    """One committed step of one fold unit: everything up to `ends` has been folded, and this many outputs came of it.

    A unit folds each epoch in one order (see `streamer/runtime/order.py`), so its epochs are the script by which
    anyone can fold the same log again and get the same bytes.
    """

    unit: str  # "detect-<partition>" or "decide"
    number: int  # 1, 2, ... within the unit
    ends: Mapping[str, int]  # topic -> end offset of the unit's partition of it, for every topic seen so far
    outputs: int = 0
    digest: str = ""  # blake2b-128 over the outputs, in order
    settings: str = ""  # fingerprint of the settings it was folded under
    set_aside: Mapping[str, Sequence[int]] = field(default_factory=dict)  # topic -> offsets that are not folded
    at: int = field(default=-1, compare=False)  # where it stands in the history; known once it is in the log


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="note"):
    """Where a unit began to read some of its topics."""

    unit: str
    starts: dict[str, int]  # topic -> offset of the first record to read
    topic_ids: dict[str, str]  # "" where the log knows none
    group: str = ""


class SettingsNote(msgspec.Struct, frozen=True, tag="settings", tag_field="note"):
    """Under which settings the epochs that follow are folded."""

    unit: str
    fingerprint: str
    text: str  # canonical JSON
    anew: list[str] = []  # detectors that begin anew with them, because their own settings changed


class Attempt(msgspec.Struct, frozen=True, tag="attempt", tag_field="note"):
    """A fresh process is about to fold the next epoch; if none follows, it may have died of it."""

    unit: str
    records: int  # of that epoch
    cautious: bool = False  # whether it is that small because earlier attempts came to nothing
    ends: dict[str, int] = {}  # topic -> offset up to which it goes


class AttemptSurvived(msgspec.Struct, frozen=True, tag="survived", tag_field="note"):
    """The process of the last attempt has folded its records and ended for another reason."""

    unit: str


class Gap(msgspec.Struct, frozen=True, tag="gap", tag_field="note"):
    """Records that the state needs are gone: it begins anew behind epoch `after`, reading from these offsets."""

    unit: str
    after: int
    starts: dict[str, int]
    topic_ids: dict[str, str]
    reason: str


Note = Start | SettingsNote | Attempt | AttemptSurvived | Gap


@dataclass(slots=True)
class History:
    """What has been read of a unit's history."""

    base: int = 0  # the epochs after this number are here; those up to it are not needed
    epochs: list[Epoch] = field(default_factory=list)  # base + 1, base + 2, ... without gaps
    committed: int = 0  # epochs up to this number have their outputs in the log; later ones must publish again
    starts: dict[str, int] = field(default_factory=dict)  # topic -> offset of the first record that was read
    topic_ids: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)  # fingerprint -> text
    attempts: list[Attempt] = field(default_factory=list)  # since the last epoch
    begins_anew: bool = False  # whether a gap came: no state of before it counts

    @property
    def last(self) -> int:
        """The number of the last epoch there is."""
        return self.base + len(self.epochs)

    def positions(self) -> dict[str, int]:
        """Where reading stands at its end, of each topic that it knows of."""
        return self.starts | dict(self.epochs[-1].ends if self.epochs else {})

    def take(self, entry: Epoch | Note) -> bool:
        """Take the next entry of the history; false when epochs are missing before it.

        Whatever number comes twice, the first counts: a second one was written by a process that had been replaced
        without knowing it.
        """
        match entry:
            case Epoch():
                if entry.number > self.last + 1:
                    return False
                if entry.number == self.last + 1:
                    self.epochs.append(entry)
                    self.attempts.clear()
            case Start():
                self.starts = entry.starts | self.starts
                self.topic_ids = entry.topic_ids | self.topic_ids
            case SettingsNote():
                self.settings[entry.fingerprint] = entry.text
            case Attempt():
                self.attempts.append(entry)
            case AttemptSurvived():
                del self.attempts[-1:]
            case Gap():
                self.begins_anew, self.base = True, entry.after
                self.epochs.clear()
                self.attempts.clear()
                self.starts, self.topic_ids = dict(entry.starts), dict(entry.topic_ids)
        return True


def encode_entry(entry: Epoch | Note) -> bytes:
    """JSON; an epoch's own place is not part of it."""
    if not isinstance(entry, Epoch):
        return msgspec.json.encode(entry)
    fields = msgspec.to_builtins(entry)
    del fields["at"]
    if not fields["set_aside"]:
        del fields["set_aside"]
    return msgspec.json.encode(fields)


def decode_entry(value: bytes, at: int = -1) -> Epoch | Note:
    """The inverse of `encode_entry`, for the record at this place of the history.

    Raises `msgspec.DecodeError` for anything that `encode_entry` did not write.
    """
    if msgspec.json.decode(value, type=_Peek).note:
        note: Note = msgspec.json.decode(value, type=Note)
        return note
    return replace(msgspec.json.decode(value, type=Epoch), at=at)


class _Peek(msgspec.Struct):
    note: str = ""
