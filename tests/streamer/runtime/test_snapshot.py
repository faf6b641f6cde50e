"""State as bytes and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamer.errors import UsageError
from streamer.runtime import snapshot
from streamer.runtime.snapshot import Snapshot, nested, unnested

DTYPES = st.sampled_from(["f8", "i8", "i4", "i2", "u8", "u1"])
ARRAYS = st.dictionaries(
    st.text(max_size=5), DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0))), max_size=4
)


@given(ARRAYS, st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()), max_size=3))
def test_what_goes_in_comes_out(arrays, meta):
    """Names, types, shapes and bits of any arrays, empty and single ones included."""
    loaded = Snapshot.from_bytes(Snapshot(meta, arrays).to_bytes())
    assert loaded.meta == meta
    assert list(loaded.arrays) == list(arrays)
    for name, array in arrays.items():
        assert (loaded.arrays[name].dtype, loaded.arrays[name].shape) == (array.dtype, array.shape)
        assert loaded.arrays[name].tobytes() == array.tobytes()


def test_an_array_need_not_lie_in_one_piece():
    """A view of every second column is kept as what it shows."""
    view = np.arange(12).reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(Snapshot.from_bytes(Snapshot({}, {"a": view}).to_bytes()).arrays["a"], view)


def test_a_part_is_taken_out_by_its_whole_name():
    """`bank.a` and `bank.ab` are two parts, whatever their names begin with."""
    arrays = nested("bank.a", {"x": np.zeros(1)}) | nested("bank.ab", {"x": np.ones(1), "y/z": np.ones(1)})
    assert {name: array.tolist() for name, array in unnested("bank.a", arrays).items()} == {"x": [0.0]}
    assert list(unnested("bank.ab", arrays)) == ["x", "y/z"]


def test_what_is_no_state_is_refused_with_a_sentence(monkeypatch):
    """Bytes of anything else, a stream of others, and a state of another format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([])):
        pass
    good = Snapshot({}, {}).to_bytes()
    for bad in (b"", b"{}", good[: len(good) // 2], sink.getvalue().to_pybytes()):
        with pytest.raises(UsageError, match="not a state that Driftline has written"):
            Snapshot.from_bytes(bad)
    monkeypatch.setattr(snapshot, "FORMAT", 2)
    with pytest.raises(UsageError, match="of format 1; this version reads format 2"):
        Snapshot.from_bytes(good)
