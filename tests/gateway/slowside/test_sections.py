"""Arrays and values as bytes, there and back; and everything that bytes can get wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from gateway.slowside.sections import ALIGNMENT, DTYPES, MalformedFrameError, pack, unpack, value_of

kinds = st.sampled_from(sorted(DTYPES)).map(np.dtype)
any_array = kinds.flatmap(
    lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)


def joined(arrays: dict[str, Any], values: dict[str, Any]) -> bytearray:
    return bytearray(b"".join(bytes(piece) for piece in pack(arrays, values)))


@given(
    st.dictionaries(st.text(max_size=9), any_array, max_size=5), st.dictionaries(st.text(max_size=9), st.integers(0, 9))
)
def test_there_and_back(given_arrays: dict[str, Any], given_values: dict[str, int]) -> None:
    arrays, values = unpack(joined(given_arrays, given_values))
    assert list(arrays) == list(given_arrays)
    for name, array in arrays.items():
        wanted = np.asarray(given_arrays[name])
        assert array.dtype == wanted.dtype and array.shape == wanted.shape
        assert array.tobytes() == wanted.tobytes()  # NaN too
    assert {name: value_of(values, name, int) for name in values} == given_values


def test_views_and_columns_travel_as_their_values() -> None:
    matrix = np.arange(12.0).reshape(3, 4)
    arrays, _ = unpack(joined({"column": matrix[:, 1], "turned": matrix.T, "one": np.float64(3.0)}, {}))
    assert arrays["column"].tolist() == [1.0, 5.0, 9.0]
    assert (arrays["turned"] == matrix.T).all()


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["a"]), np.array([1j]), np.array([True])])
def test_what_can_not_travel(array: Any) -> None:
    with pytest.raises(ValueError, match="can not be handed over"):
        pack({"x": array}, {})


def test_too_many_arrays() -> None:
    with pytest.raises(ValueError, match="300 arrays are more than 256"):
        pack({str(number): np.zeros(1) for number in range(300)}, {})


def table(*sections: Any, rest: int = 0, values: Any = None) -> bytes:
    text = msgspec.msgpack.encode([list(sections), values or {}])
    head = len(text).to_bytes(8, "little") + text
    return head + bytes(-len(head) % ALIGNMENT) + bytes(rest)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"1234567", "without a table"),
        (b"\xff" * 16, "longer than its frame"),
        ((3).to_bytes(8, "little") + b"\xc1\xc1\xc1", "can not be read"),
        (table(["x", "<f8", [3]], rest=23), "beyond its frame"),
        (table(["x", "<f8", [2**62, 2**62]], rest=24), "beyond its frame"),
        (table(["x", "<f8", [1]], ["x", "<f8", [1]], rest=128), "listed twice"),
        (table(["x", "<f8", [-1]], rest=8), "is none"),
        (table(["x", "|O8", [1]], rest=8), "is none"),
        (table(["x", "<f8", [1] * 9], rest=8), "is none"),
        (table(["x", "<f8", [1]], rest=16), "8 bytes belong to no array"),
        (table(*[[str(n), "|u1", [0]] for n in range(257)]), "257 arrays"),
    ],
)
def test_malformed(payload: bytes, why: str) -> None:
    with pytest.raises(MalformedFrameError, match=why):
        unpack(payload)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_garbage_is_refused_or_read_and_never_more(garbage: bytes, length: int) -> None:
    for payload in (garbage, length.to_bytes(8, "little") + garbage):
        try:
            arrays, values = unpack(payload)
        except MalformedFrameError:
            continue
        assert sum(array.nbytes for array in arrays.values()) <= len(payload) and isinstance(values, dict)


def test_values_of_another_type() -> None:
    _, values = unpack(joined({}, {"a": 1}))
    with pytest.raises(MalformedFrameError, match="b is missing"):
        value_of(values, "b", int)
    with pytest.raises(MalformedFrameError, match="a: Expected `str`"):
        value_of(values, "a", str)
