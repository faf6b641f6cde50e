"""A fold's state as bytes: JSON for what is small, numeric arrays for what is large.

The bytes are an Arrow IPC stream of one record batch: each array is one binary value under its name, with dtype and
shape in the schema's metadata. No pickle, so nothing in it can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.errors import UsageError

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A state: JSON-able `meta`, and numeric arrays by name.

    A snapshot that a fold has dumped shows the fold's own memory and is valid until the fold's next step.
    """

    meta: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    is_private: bool = False  # whether the fold that loads it may keep and change the arrays

    def to_bytes(self) -> bytes:
        """An Arrow stream of one row, a column an array; equal snapshots give equal bytes."""
        sink = pa.BufferOutputStream()
        self.write(sink)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def write(self, sink: Any) -> None:
        """The same to an Arrow output stream, without a copy of the arrays in between."""
        shapes = {name: [a.dtype.str, list(a.shape)] for name, a in self.arrays.items()}
        head = msgspec.json.encode({"format": FORMAT, "meta": self.meta, "arrays": shapes})
        columns = [_one_binary(np.ascontiguousarray(a)) for a in self.arrays.values()]
        schema = pa.schema([(name, pa.large_binary()) for name in self.arrays], metadata={"driftline": head})
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))

    @classmethod
    def from_private(cls, data: NDArray[np.uint8]) -> Self:
        """As `from_bytes`, over bytes of which this is the only user: the arrays lie in them and may be changed."""
        snapshot = cls.from_bytes(data)
        start = data.ctypes.data
        arrays = {}
        for name, array in snapshot.arrays.items():
            at = array.ctypes.data - start
            arrays[name] = data[at : at + array.nbytes].view(array.dtype).reshape(array.shape) if array.size else array
        return cls(snapshot.meta, arrays, is_private=True)

    @classmethod
    def from_bytes(cls, data: Any) -> Self:
        """The inverse of `to_bytes`, over these bytes or this Arrow buffer, which it does not copy.

        Raises `UsageError` for bytes of another format.
        """
        try:
            with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
                head = msgspec.json.decode(reader.schema.metadata[b"driftline"])
                batch = reader.read_next_batch()
            if head["format"] != FORMAT:
                raise UsageError(f"this state is of format {head['format']}; this version reads format {FORMAT}")
            arrays = {name: _array(batch.column(name), *form) for name, form in head["arrays"].items()}
            return cls(head["meta"], arrays)
        except (pa.ArrowException, KeyError, TypeError, ValueError, StopIteration, msgspec.DecodeError) as problem:
            raise UsageError(f"this is not a state that Driftline has written: {problem}") from problem


def _one_binary(array: NDArray[Any]) -> Any:
    """An Arrow array of one binary value over the bytes of this array, without a copy."""
    ends = np.array([0, array.nbytes], np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(array.reshape(-1).view(np.uint8))]
    return pa.Array.from_buffers(pa.large_binary(), 1, buffers)


def _array(column: Any, dtype: str, shape: list[int]) -> NDArray[Any]:
    """The inverse, without a copy. Raises ValueError when there are too few bytes."""
    data = column.buffers()[2]
    count = int(np.prod(shape))
    return np.frombuffer(b"" if data is None else data, np.dtype(dtype), count if data is not None else 0).reshape(
        shape
    )


def nested(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a part under the prefix of that part."""
    return {f"{prefix}/{name}": a for name, a in arrays.items()}


def unnested(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inverse: the arrays of the part `prefix` under their own names."""
    return {name.removeprefix(prefix + "/"): a for name, a in arrays.items() if name.startswith(prefix + "/")}
