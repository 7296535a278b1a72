"""Snapshots there and generations back: equal to what is made inline, and everything that an answer can get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.slowside import messages
from gateway.slowside.double_buffer import Frame, FrameReader, FrameWriter, memory_bytes
from gateway.slowside.messages import (
    InstrumentTerms,
    UnusableGenerationError,
    audit,
    pack_failure,
    pack_generation,
    pack_snapshot,
    unpack_generation,
    unpack_snapshot,
)
from gateway.slowside.process import PricingServer
from gateway.slowside.sections import MalformedFrameError
from gateway.valuation import Valuation
from risk.repricing import MarketSnapshot
from risk.scenarios import Generation
from tests.gateway.rig import BTC, SECOND, Rig, listed, opened
from tests.risk.test_repricing import BOOK, GRID, book_numbers, priced, snapshot

SETTING = {"grid": GRID}
MAX_AGE_NS = 10**9


def terms_of(given: MarketSnapshot) -> InstrumentTerms:
    terms = InstrumentTerms()
    while not terms.add_some(list(given.instruments)):
        pass
    return terms


def frame_of(pieces: list[Any], number: int = 3, as_of_ns: int = 0) -> Frame:
    memory = memoryview(bytearray(memory_bytes(1 << 20)))
    FrameWriter(memory).write(number, as_of_ns, pieces)
    frame = FrameReader(memory).read()
    assert frame is not None
    return frame


def asked(given: MarketSnapshot, known: int = 0) -> Frame:
    return frame_of(pack_snapshot(given, terms_of(given), known), given.number, given.as_of_ns)


def answered(generation: Generation, given: MarketSnapshot) -> Generation:
    frame = frame_of(pack_generation(generation, SETTING), generation.number, generation.as_of_ns)
    return unpack_generation(frame, given, SETTING)


GIVEN = snapshot(BOOK, book_numbers({3: 0.0}))
MADE = priced(GIVEN)


def same(one: Generation, other: Generation) -> bool:
    assert one.__struct_fields__ == other.__struct_fields__
    for name in one.__struct_fields__:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes(), (
                name
            )
        else:
            assert mine == theirs, name
    return True


def test_a_snapshot_there_and_a_generation_back_are_what_is_made_here() -> None:
    server = PricingServer(SETTING, MAX_AGE_NS)
    pieces = server.answer(asked(GIVEN))
    taken = unpack_generation(frame_of(pieces, GIVEN.number, GIVEN.as_of_ns), GIVEN, SETTING)
    assert same(taken, MADE) and taken.grid is GRID
    assert not any(array.flags.writeable for array in taken.arrays())
    audit(taken, GIVEN, GRID)


def test_the_gateway_s_own_snapshot_gives_the_generation_that_it_makes_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        valuation = rig.core.valuation
        for _ in range(2):
            generation = through_a_server(rig, PricingServer(valuation.setting, rig.core.market.mark_max_age_ns))
            valuation.take(generation)
            while not valuation.step():
                pass
            kernel, worst = rig.core.market.kernel, [a.index for a in rig.ledger.accounts.values()]
            figures = [kernel.worst(index) for index in worst]
            assert valuation.generation is generation and rig.core.market.generation_time_ns == rig.now_ns
            other = Valuation(rig.ledger, rig.core.market, valuation._grid, valuation._extra_currencies)
            other._number = generation.number - 1
            other.run(rig.now_ns)
            assert other.generation is not None and same(generation, other.generation)
            assert [rig.core.market.kernel.worst(index) for index in worst] == figures
            rig.now_ns += SECOND
            rig.hear(listed("SOL-PERPETUAL", base_currency="SOL", settlement_currency="SOL"))
            rig.mark("SOL-PERPETUAL", 150.0)
            rig.mark(BTC, 61_000.0)


def through_a_server(rig: Rig, server: PricingServer) -> Generation:
    valuation = rig.core.valuation
    for _ in valuation.snapshot_in_steps(rig.now_ns):
        pass
    given = valuation.snapshot
    assert given is not None
    pieces = server.answer(asked(given))
    return unpack_generation(frame_of(pieces, given.number, given.as_of_ns), given, valuation.setting)


def test_terms_travel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "ENCODED_AT_ONCE", 5)
    known: list[Any] = []
    first = snapshot(BOOK[:10], book_numbers({})[:10])
    terms = terms_of(first)
    given = unpack_snapshot(frame_of(pack_snapshot(first, terms, 0)), known)
    assert list(given.instruments) == BOOK[:10] == known
    assert (given.rows == first.rows).all() and (given.numbers == first.numbers).all()
    while not terms.add_some(BOOK):
        pass
    assert terms.count == len(BOOK) and len(terms.since(10)) == 3 and terms.since(len(BOOK)) == []
    again = unpack_snapshot(frame_of(pack_snapshot(GIVEN, terms, 10)), known)
    assert list(again.instruments) == BOOK == known
    unpack_snapshot(frame_of(pack_snapshot(GIVEN, terms, len(BOOK))), known)
    with pytest.raises(MalformedFrameError, match="0 are known here"):
        unpack_snapshot(frame_of(pack_snapshot(GIVEN, terms, 10)), [])
    with pytest.raises(MalformedFrameError, match="21 instruments are not what the snapshot is of"):
        unpack_snapshot(frame_of(pack_snapshot(first, terms, 0)), [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"number": 4}, "of generation 4"),
        ({"as_of_ns": 1}, "not of what was asked for"),
        ({"currencies": ("USD", "ETH")}, "not of what was asked for"),
        ({"values": MADE.values[:-1]}, "20 risk arrays, and 21 instruments"),
        ({"known": MADE.known[:-1]}, "21 risk arrays, and 21 instruments"),
        ({"currency_values": MADE.currency_values[:1]}, "1 rows of currencies"),
        ({"groups": tuple(map(str, range(30)))}, "30 groups"),
    ],
)
def test_a_generation_that_was_not_asked_for(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableGenerationError, match=why):
        answered(msgspec.structs.replace(MADE, **changes), GIVEN)


def test_what_has_no_mark_is_not_known() -> None:
    fewer = msgspec.structs.replace(GIVEN, rows=GIVEN.rows[1:], time_ns=GIVEN.time_ns[1:], numbers=GIVEN.numbers[1:])
    with pytest.raises(UnusableGenerationError, match="without a mark is known"):
        answered(MADE, fewer)


def test_fields_that_are_missing_or_of_another_type() -> None:
    pieces = pack_generation(MADE, SETTING | {"refusals": None})
    with pytest.raises(UnusableGenerationError, match="refusals"):
        unpack_generation(frame_of(pieces), GIVEN, SETTING)
    broken = msgspec.structs.replace(MADE, refusals={"x": 1})  # type: ignore[dict-item]
    with pytest.raises(MalformedFrameError, match="refusals"):
        unpack_generation(frame_of(pack_generation(broken, SETTING)), GIVEN, SETTING)


def test_a_failure_is_told_and_cut_short() -> None:
    with pytest.raises(UnusableGenerationError, match=r"^disk on fire x+$") as caught:
        unpack_generation(frame_of(pack_failure("disk on fire " + "x" * 1000)), GIVEN, SETTING)
    assert len(str(caught.value)) == 200
    # A snapshot that can not be read is answered by that.
    pieces = PricingServer(SETTING, MAX_AGE_NS).answer(frame_of([b"garbage!" * 4]))
    with pytest.raises(UnusableGenerationError, match="MalformedFrameError"):
        unpack_generation(frame_of(pieces), GIVEN, SETTING)


@pytest.mark.parametrize("row", range(len(BOOK)))
def test_each_instrument_is_audited_in_its_turn(row: int) -> None:
    values = MADE.values.copy()
    values[row, 0] *= 1.0 + 1e-6
    wrong = msgspec.structs.replace(MADE, values=values)
    found = 0
    for number in range(len(BOOK)):
        try:
            audit(wrong, msgspec.structs.replace(GIVEN, number=number), GRID)
        except UnusableGenerationError as error:
            assert BOOK[row].symbol in str(error)
            found += 1
    # Of what took its volatility from the surface only the surface knows better.
    assert found == (0 if row == 3 else messages.AUDITED)


def test_an_audit_of_nothing() -> None:
    nothing = snapshot([], [])
    audit(priced(nothing), nothing, GRID)
