"""The compiled reader of levels beside its plain twin: the same levels, digits and all, and the same refusals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.venues import level_lists as plain
from protocols.venues import levels
from protocols.venues.fields import FieldError

numbers = st.one_of(
    st.integers(0, 10**9).map(str),
    st.builds("{}.{}".format, st.integers(0, 10**9), st.integers(0, 10**9)),
)
odd = st.sampled_from(
    ["", "-1", "1e3", "1.", ".5", "0", "0.000", "007.10", "1" * 17, "1" * 18, "1" * 25, "9" * 16 + ".9", "NaN", "1_0",
     "1.2.3", " 1", "1\u0661", "1\\n", 1, 1.5, None, [], {}]
)  # fmt: skip
texts = st.one_of(numbers, numbers, numbers, odd)


def outcome(reader: Any, raw: bytes, width: int) -> list[tuple[Decimal, ...]] | str:
    try:
        return [tuple(level) for level in reader.read_levels(msgspec.Raw(raw), width, "b")]
    except FieldError as error:
        return str(error)


def same(raw: bytes, width: int) -> list[tuple[Decimal, ...]] | str:
    """Both twins' outcome, with the digits that the venue wrote."""
    expected, found = outcome(plain, raw, width), outcome(levels, raw, width)
    assert found == expected
    assert repr(found) == repr(expected)
    return found


@pytest.mark.parametrize("width", [2, 4])
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_both_read_the_same(width: int, data: st.DataObject) -> None:
    sizes = st.sampled_from([width] * 8 + [width - 1, width + 1, 0])
    levels_of = sizes.flatmap(lambda size: st.lists(texts, min_size=size, max_size=size))
    raw = orjson.dumps(data.draw(st.lists(levels_of, max_size=5)))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(st.binary(max_size=2)) + raw[at + data.draw(st.integers(0, 2)) :]
    same(raw, width)


@pytest.mark.parametrize("raw", [b"[]", b"[[]]", b"null", b"", b"[", b"[[", b'[["1"', b'[["1","2"]', b'[["1","2"],]',
                                 b' [ [ "1" , "2" ] ] ', b'[["1","2"]]x', b'[["1","2"],["3","4"]]'])  # fmt: skip
def test_shapes(raw: bytes) -> None:
    same(raw, 2)


def test_texts_behind_price_and_amount_are_not_kept() -> None:
    assert same(b'[["8476.98","415","0","13"]]', 4) == [(Decimal("8476.98"), Decimal(415))]
    assert "b: " in same(b'[["8476.98","415","0"]]', 4)


def test_more_numbers_than_are_kept() -> None:
    for first in range(0, 200_000, 50_000):
        rows = [[f"{n}.{n % 7}", f"{n}"] for n in range(first, first + 50_000)]
        found = levels.read_levels(msgspec.Raw(orjson.dumps(rows)), 2, "b")
        assert found == [(Decimal(price), Decimal(amount)) for price, amount in rows]


prices = st.integers(1, 9).map(lambda n: Decimal(n) / 2)
edits = st.lists(st.tuples(prices, st.integers(0, 3).map(Decimal)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.booleans(), edits)
def test_both_set_levels_alike(is_bid: bool, changes: list[tuple[Decimal, Decimal]]) -> None:
    sides: list[tuple[dict[Decimal, Decimal], list[Decimal]]] = [({}, []), ({}, [])]
    for twin, (side, heap) in zip((plain, levels), sides, strict=True):
        twin.set_levels(side, heap, is_bid, changes)
    assert sides[0] == sides[1]
    assert list(sides[0][0]) == list(sides[1][0])
