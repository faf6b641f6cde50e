"""The codec `csv`: a record is lines of CSV (RFC 4180), each line an event, and fields are columns by name.

Columns get their names from the setting `columns`, or from the first line of each record. A cell that is a number is
one, an empty cell is missing; `texts` names columns of codes that look like numbers, such as postcodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from detectors.arrays.types import I64
from streamer.codecs.base import Reason
from streamer.codecs.document_codec import DocumentCodec, RecordSettings
from streamer.codecs.event import Refused
from streamer.codecs.schemas.framing import likeness
from streamer.codecs.tables.csv_cells import cells_of, value_of
from streamer.eventlog.base import Records


@dataclass(frozen=True, slots=True)
class CsvSettings(RecordSettings):
    """The settings of CSV. Raises ValueError for a separator that is not one character.

    Args:
        columns: of csv: names of the columns, in order; without them, the first line of each record has the names.
        separator: of csv: character between cells.
        quoted: of csv: whether cells may stand in quotes; else quotes are text, as in most TSV.
        texts: of csv: columns whose cells are texts, also where they look like numbers.
    """

    columns: list[str] = field(default_factory=list)
    separator: str = ","
    quoted: bool = True
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        RecordSettings.__post_init__(self)
        if len(self.separator) != 1 or self.separator in '"\r\n':
            raise ValueError(f"separator is {self.separator!r}, but must be one character")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns: each name must be given once")


class CsvCodec(DocumentCodec):
    """Decodes CSV. Keeps no state besides its settings."""

    def __init__(self, settings: CsvSettings) -> None:
        super().__init__(settings)
        self._names, self._separator, self._quoted = settings.columns, settings.separator, settings.quoted
        self._texts = frozenset(settings.texts)
        self._mapped = {str(path[-1]): name for name, path in settings.fields.value_paths().items()}

    def parsed(self, records: Records, index: I64) -> Iterator[Any]:
        """See `DocumentCodec`."""
        return map(self.plain, [records] * len(index), index.tolist())

    def plain(self, records: Records, i: int) -> Any:
        """See `DocumentCodec`."""
        value = records.value_of(i) or b""
        try:
            text = value.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            what = likeness(value, records.headers_of(i))
            raise Refused(*((Reason.OTHER_FORMAT, what) if what else (Reason.NOT_UTF8, f"{error}"))) from None
        if text.lstrip()[:1] in ("{", "["):
            raise Refused(Reason.OTHER_FORMAT, "the value is JSON: use format json")
        lines = cells_of(text, self._separator, self._quoted)
        names = self._names or (lines.pop(0) if lines else [])
        if not lines:
            raise Refused(
                Reason.NOT_CSV, "the value has no line of cells" + ("" if self._names else " below the names")
            )
        rows = [self._row(names, line) for line in lines]
        if self.settings.preset is None:
            rows = [self._canonical(row) for row in rows]
        return rows[0] if len(rows) == 1 else rows

    def _row(self, names: Sequence[str], line: Sequence[str]) -> dict[str, Any]:
        if len(names) != len(line):
            raise Refused(Reason.NOT_CSV, f"there are {len(line)} cells and {len(names)} columns for them")
        texts = self._texts
        row = {
            name: (cell or None) if name in texts else value_of(cell) for name, cell in zip(names, line, strict=True)
        }
        if self._spellings is not None:  # 1.234 may be no fraction
            for name, cell in zip(names, line, strict=True):
                if row[name] is not None and self._spellings.of_column(self._mapped.get(name, name)):
                    row[name] = cell
        return row
