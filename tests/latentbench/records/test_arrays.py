"""Named arrays come back bit for bit, what is repeated is stored once, and no file can make Python unpickle."""

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from latentbench.errors import LatentbenchError
from latentbench.records.arrays import pack, unpack


def test_arrays_come_back_with_dtype_order_and_bits() -> None:
    draw = np.random.default_rng(0)
    arrays: dict[str, npt.NDArray[Any]] = {
        "test/score": draw.normal(size=100).astype(np.float32), "b": np.arange(3), "a": np.array("text"),
        "empty": np.zeros((0, 4)), "odd": np.array([np.nan, -0.0, np.inf]),
    }  # fmt: skip
    found = unpack(pack(arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
    assert pack(found) == pack(arrays)


def test_scores_that_splits_share_are_stored_once() -> None:
    draw = np.random.default_rng(0)
    shared = draw.normal(size=2500).astype(np.float32)
    splits = {
        f"test-x{number}/score": np.concatenate([shared, draw.normal(size=10).astype(np.float32)])
        for number in range(8)
    }
    assert len(pack(splits)) < 1.3 * len(pack({"one": shared}))


def test_a_plain_npz_is_read_too() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(3))
    assert unpack(buffer.getvalue())["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [b"", b"PK", pack({"a": np.arange(9)})[:-9], pickle.dumps([1]), b"\xfd7zXZ\x00junk"],
    ids=["empty", "zip", "cut", "pickle", "xz"],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(LatentbenchError, match="is no file of named arrays"):
        unpack(content)


def test_an_array_of_objects_is_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{}], dtype=object))
    with pytest.raises(LatentbenchError, match="is no file of named arrays"):
        unpack(buffer.getvalue())
