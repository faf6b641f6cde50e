"""Which records of topics a recording keeps, and what it hides of them: a share of the keys, and redacted fields.

A hash is HMAC-SHA256 (RFC 2104) under a secret salt, cut to 128 bits. Equal ids have equal hashes, also where one is
text and one a number, so that labels still find their predictions.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal

import numpy as np
from msgspec import UNSET

from detectors.arrays.types import Bools
from retrain.messages.patterns import matches
from streamer.codecs.event import Refused
from streamer.codecs.field_paths import Path, Root, Select, Step, parse_path
from streamer.codecs.json_lenient import parse
from streamer.contracts.dead_letters import PREFIX
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.headers import KEY_HEADER, Headers
from streamer.eventlog.time_merge import Taken

HASH_CHARACTERS: Final = 32
KEYS_MAX: Final = 100_000  # whose choice is cached
UNREADABLE: Final = b"redacted: no JSON"  # in place of a value or key in which a field can't be found
EACH: Final = "*"  # the step to all items of a list
DETAIL: Final = f"{PREFIX}message"  # of a dead letter; may quote a value
Change = Callable[[Any], Any]  # of a value; `UNSET` drops it


@dataclass(frozen=True, slots=True)
class Redaction:
    """A field that is hashed or dropped, as in `$.rider.email=drop`, `$.trips[*].rider=hash` or `$key=hash`."""

    path: Path
    how: Literal["hash", "drop"]

    @classmethod
    def parse(cls, text: str) -> Redaction:
        """Raises `UsageError`, naming the text."""
        name, _, how = text.rpartition("=")
        if not name or how not in ("hash", "drop"):
            raise UsageError(f"--redact {text!r}: write FIELD=hash or FIELD=drop, as in $.rider.email=drop")
        path = name if name.startswith("$") else f"$.{name}"
        try:
            root, *steps = parse_path(path.replace("[*]", f"['{EACH}']"), "--redact")
        except ValueError as error:
            raise UsageError(str(error).replace(f"['{EACH}']", "[*]")) from None
        if root is Root.ROW:
            raise UsageError(f"--redact {text!r}: name the list of rows, as in $.data[*].rider=hash")
        if root is Root.KEY and not steps and how == "drop":
            raise UsageError("--redact '$key=drop': events are grouped by key; write $key=hash")
        return cls((root, *steps), how)  # type: ignore[arg-type]


@dataclass(slots=True)
class RecordFilter:
    """Keeps records by their keys, and redacts them. Counts what has no key, and what no field can be found in."""

    keys: Sequence[str] = ()  # patterns of keys; (): all
    share: float | None = None  # of the keys, in (0, 1], chosen by hash: the same in each run and topic; None: all
    redactions: Sequence[Redaction] = ()
    salt: bytes = b""
    unreadable: int = field(default=0, init=False)  # values and keys that are no JSON
    keyless: int = field(default=0, init=False)  # records that are left out as they have no key
    _kept: dict[bytes, bool] = field(default_factory=dict, init=False)

    def of(self, taken: Taken, most: int | None = None) -> tuple[Taken, Taken]:
        """The records with at most `most` that are kept, and those that are kept, redacted."""
        keep = self.kept(taken)
        if most is not None and keep.sum() > most:
            taken = taken.first(int(np.flatnonzero(keep)[most]))
            keep = keep[: taken.n]
        left_out = taken.only(~keep)
        for number, part in enumerate(taken.parts):
            self.keyless += int(np.count_nonzero(part.key[left_out.at[left_out.part == number], 0] < 0))
        return taken, self.redacted(taken.only(keep))

    def kept(self, taken: Taken) -> Bools:
        """Whether each record is kept [n]. Without keys and share, all are; else those without a key are not."""
        if not self.keys and self.share is None:
            return np.ones(taken.n, np.bool_)
        of_parts = [np.array([self._keeps(one.key_of(i)) for i in range(len(one))], np.bool_) for one in taken.parts]
        first = np.cumsum([0, *map(len, of_parts)])
        flags: Bools = np.concatenate([*of_parts, np.zeros(0, np.bool_)])[first[taken.part] + taken.at]
        return flags

    def redacted(self, taken: Taken) -> Taken:
        """The same records with redacted fields."""
        if not self.redactions:
            return taken
        parts, at = list(taken.parts), taken.at.copy()
        for number, part in enumerate(taken.parts):
            mine = taken.part == number
            rows, at[mine] = np.unique(taken.at[mine], return_inverse=True)
            parts[number] = self._redacted(part, rows.tolist())
        return Taken(parts, taken.part, at)

    def _keeps(self, key: bytes | None) -> bool:
        if key is None:
            return False
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= KEYS_MAX:
                self._kept.clear()
            name = key.decode(errors="replace")
            known = not self.keys or any(matches(name, one) for one in self.keys)
            if known and self.share is not None:
                known = int.from_bytes(blake2b(key, digest_size=8).digest()) < self.share * 2.0**64
            self._kept[key] = known
        return known

    def _redacted(self, records: Records, rows: Sequence[int]) -> Records:
        """These rows of a stretch."""
        changed = [
            (
                int(records.offset[i]),
                int(records.timestamp_ms[i]),
                self._key(records.key_of(i)),
                self._document(records.value_of(i), Root.RECORD),
                self._headers(records.headers_of(i)),
            )
            for i in rows
        ]
        return Records.build(records.topic, records.partition, changed, records.next_offset)

    def _key(self, key: bytes | None) -> bytes | None:
        if key is not None and any(one.path == (Root.KEY,) for one in self.redactions):
            return self._hash(key.decode(errors="backslashreplace")).encode()
        return self._document(key, Root.KEY)

    def _headers(self, headers: Headers) -> Headers:
        """The headers; the copy of a key is redacted as the key is, and the detail of a dead letter is dropped."""
        how = {list(one.path)[1]: one.how for one in self.redactions if one.path[0] is Root.HEADERS}
        found = []
        for name, value in headers:
            if name == KEY_HEADER:
                found.append((name, self._key(value)))
            elif name not in how and name != DETAIL:
                found.append((name, value))
            elif how.get(name) == "hash" and value is not None:
                found.append((name, self._hash(value.decode(errors="backslashreplace")).encode()))
        return tuple(found)

    def _document(self, data: bytes | None, root: Root) -> bytes | None:
        """The value or the key with redacted fields; the same bytes if it has none of them."""
        mine = [one for one in self.redactions if one.path[0] is root]
        if data is None or not mine:
            return data
        try:
            document = parse(data)
        except Refused:
            self.unreadable += 1
            return UNREADABLE
        before = json.dumps(document)
        for one in mine:
            _change(document, one.path[1:], self._hashed if one.how == "hash" else _drop)
        after = json.dumps(document)
        return data if after == before else after.encode()

    def _hashed(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return self._hash(value if isinstance(value, str) else json.dumps(value, sort_keys=True))

    def _hash(self, text: str) -> str:
        data = text.encode(errors="surrogatepass")
        return hmac.digest(self.salt, data, "sha256").hex()[:HASH_CHARACTERS]


def _drop(_value: Any) -> Any:
    return UNSET


def _change(value: Any, steps: Sequence[Step], change: Change) -> None:
    """Change what the steps lead to, in place. Members that are dropped go; items of a list become null."""
    step, *rest = steps
    for holder, at in _places(value, step):
        if rest:
            _change(holder[at], rest, change)
        elif (changed := change(holder[at])) is not UNSET:
            holder[at] = changed
        elif isinstance(holder, dict):
            del holder[at]
        else:
            holder[at] = None


def _places(value: Any, step: Step) -> list[tuple[Any, Any]]:
    """Where a step leads: objects and their member, or lists and their index. A record may be a list of objects."""
    if isinstance(value, list):
        if isinstance(step, int):
            return [(value, step)] if step < len(value) else []
        if isinstance(step, Select):
            fits = [isinstance(one, dict) and one.get(step.name) == step.text for one in value]
            return [(value, i) for i, is_it in enumerate(fits) if is_it]
        if step == EACH:
            return [(value, i) for i in range(len(value))]
        return [place for one in value if isinstance(one, dict) for place in _places(one, step)]
    return [(value, step)] if isinstance(value, dict) and step in value else []
