"""FIX fields to integers and back: what has a meaning here, exactly; everything else refused by name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import simplefix
from hypothesis import given
from hypothesis import strategies as st

from gateway import translate
from gateway.ledger import instrument_of
from gateway.translate import OrderFields, new_order
from protocols.fix.codec import Message, decode
from protocols.venues import events
from risk.instrument import Kind, Side
from risk.order import Order, OrdType, Reject, RejectReason, TimeInForce
from tests.gateway.rig import BTC, listed, order_fields
from tests.strategies import (
    COIN_OPTION,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    NOW_NS,
    mark_ticks,
    order_of,
    working_order,
    world,
)

MARKET = world().market
INSTRUMENT = INSTRUMENTS[INVERSE]


def message_of(**changes: Any) -> Message:
    message = simplefix.FixMessage()
    head: list[tuple[int, Any]] = [(8, "FIX.4.4"), (35, "D"), (34, 2), (49, "A"), (52, "20260101-00:00:00.000")]
    for tag, value in [*head, (56, "B"), *order_fields(**({"cl_ord_id": "o"} | changes))]:
        message.append_pair(tag, value)
    return decode(message.encode())


def fields_of(**changes: Any) -> OrderFields:
    return OrderFields(message_of(**changes))


def asked(replaces: Any = None, instrument: Any = INSTRUMENT, **changes: Any) -> Order | Reject:
    return new_order(fields_of(**changes), instrument, MARKET, NOW_NS, replaces)


def order(**changes: Any) -> Order:
    made = asked(**changes)
    assert isinstance(made, Order)
    return made


def test_a_limit_order() -> None:
    made = order(account="alpha", exec_inst="6 E", tif=4)
    assert (made.cl_ord_id, made.account, made.symbol, made.side) == ("o", "alpha", BTC, Side.BUY)
    assert (made.lots, made.ticks, made.ord_type, made.time_in_force) == (10, 118_000, OrdType.LIMIT, TimeInForce.FOK)
    assert made.is_post_only and made.is_reduce_only and made.received_ns == NOW_NS


@pytest.mark.parametrize(
    ("tif", "ord_type", "wanted"),
    [(None, 2, TimeInForce.DAY), (0, 2, TimeInForce.DAY), (1, 2, TimeInForce.GTC), (3, 2, TimeInForce.IOC),
     (4, 2, TimeInForce.FOK), (None, 1, TimeInForce.IOC), (1, 1, TimeInForce.IOC), (4, 1, TimeInForce.FOK)],
)  # fmt: skip
def test_time_in_force_and_a_market_order_never_rests(tif: int | None, ord_type: int, wanted: TimeInForce) -> None:
    assert order(tif=tif, ord_type=ord_type).time_in_force is wanted


@pytest.mark.parametrize("side", list(Side))
def test_a_market_order_is_protected_at_the_far_end_of_the_collar(side: Side) -> None:
    made = order(ord_type=1, price=None, side=int(side))
    mark = MARKET.marks[INVERSE]
    assert mark is not None and made.ord_type is OrdType.MARKET
    assert made.ticks == (mark.collar_high_ticks if side is Side.BUY else mark.collar_low_ticks)


def test_a_market_order_without_a_mark_is_left_to_the_checks() -> None:
    market = msgspec.structs.replace(MARKET, marks=[None] * len(INSTRUMENTS))
    made = new_order(fields_of(ord_type=1, price=None), INSTRUMENT, market, NOW_NS)
    assert isinstance(made, Order) and made.ticks == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"side": 5}, "Side(54) 5"), ({"ord_type": "P"}, "OrdType(40) P"), ({"tif": 5}, "TimeInForce(59)"),
     ({"tif": 6}, "ExpireTime(126)"),
     ({"exec_inst": "G"}, "ExecInst(18)"), ({"cl_ord_id": "x" * 65}, "longer than 64"),
     ({"symbol": "x" * 65}, "longer than 64"), ({"side": None}, "Side(54)")],
)  # fmt: skip
def test_what_has_no_meaning_here(changes: dict[str, Any], text: str) -> None:
    made = asked(**changes)
    assert isinstance(made, Reject) and made.reason is RejectReason.UNSUPPORTED_CHARACTERISTIC and text in made.text


@pytest.mark.parametrize("text", ["", "-10", "105", "1e400", "NaN", "-0", "0", "10.000001", "9" * 40 + "1", None])
def test_a_quantity_that_is_no_positive_whole_number_of_lots_is_zero(text: str | None) -> None:
    assert order(quantity=text).lots == 0


@pytest.mark.parametrize("text", ["-59000", "59000.3", "1e5", "inf", "-0", "0", "0.1", None])
def test_a_price_off_the_tick_is_zero(text: str | None) -> None:
    assert order(price=text).ticks == 0


def test_an_unknown_instrument_has_no_integers() -> None:
    made = order(symbol="DOGE", instrument=None)
    assert (made.instrument, made.lots, made.ticks) == (None, 0, 0)


@given(st.sampled_from([LINEAR, INVERSE, COIN_OPTION]), st.integers(1, 10**9), st.integers(1, 10**9))
def test_texts_and_integers_are_the_same_numbers(index: int, lots: int, ticks: int) -> None:
    instrument = INSTRUMENTS[index]
    quantity, price = translate.quantity_text(instrument, lots), translate.price_text(instrument, ticks)
    assert Decimal(quantity.decode()) == lots * instrument.lot_size
    assert Decimal(price.decode()) == ticks * instrument.tick_size
    assert b"E" not in quantity + price
    made = order(instrument=instrument, quantity=quantity.decode(), price=price.decode())
    assert (made.lots, made.ticks) == (lots, ticks)


def working(**changes: Any) -> Any:
    old = working_order(order_of(INVERSE, lots=10, ticks=mark_ticks(INVERSE)))
    for name, value in changes.items():
        setattr(old, name, value)
    return old


def test_a_replace_asks_for_the_open_part_and_keeps_the_rest() -> None:
    old = working(cum_lots=4, is_post_only=True)
    made = order(replaces=old, quantity=150, tif=None)
    assert (made.lots, made.is_post_only, made.time_in_force) == (11, True, TimeInForce.GTC)
    assert made.replaces is old
    assert order(replaces=old, quantity=30, tif=None).lots == -1  # filled beyond that already: refused by the checks


@pytest.mark.parametrize("changes", [{"ord_type": 1}, {"tif": 3}, {"exec_inst": "E"}])
def test_what_a_replace_may_not_change(changes: dict[str, Any]) -> None:
    made = asked(replaces=working(), **changes)
    assert isinstance(made, Reject) and "only OrderQty(38) and Price(44)" in made.text


def test_a_refusal_keeps_what_was_sent_and_the_numbers_behind_it() -> None:
    reject = Reject(RejectReason.MARK_STALE, "mark_is_fresh", "old", 1.0, 2.0, 3.0, 4)
    record = translate.refused("A", 7, message_of(account="a", price="x"), reject)
    assert (record.session, record.seq_in, record.account, record.price) == ("A", 7, b"a", b"x")
    assert (record.reason, record.limit, record.observed, record.required, record.mark_age_ns) == (
        503,
        1.0,
        2.0,
        3.0,
        4,
    )


# Decimals come from the wire in any spelling; the record's text must mean the same number.
@pytest.mark.parametrize("tick", ["0.5", "5E-1", "0.50"])
def test_a_listing_becomes_the_instrument_it_describes(tick: str) -> None:
    instrument = instrument_of(translate.listed(listed(BTC, tick_size=Decimal(tick)), "deribit", 3))
    assert (instrument.index, instrument.symbol, instrument.venue, instrument.kind) == (
        3,
        BTC,
        "deribit",
        Kind.PERPETUAL,
    )
    assert instrument.is_inverse and instrument.tick_size == Decimal("0.5") and instrument.lot_size == 10


@pytest.mark.parametrize("option_type", ["call", "put"])
def test_an_option_in_coin_is_not_inverse_whatever_the_venue_calls_it(option_type: Any) -> None:
    event: events.InstrumentListed = listed(
        "BTC-27MAR26-70000-C", kind="option", option_type=option_type, strike=Decimal(70_000), quote_currency="BTC",
        tick_size=Decimal("0.0001"), tick_steps=((Decimal("0.005"), Decimal("0.0005")),),
        min_trade_amount=Decimal("0.1"), expiration_ns=NOW_NS,
    )  # fmt: skip
    instrument = instrument_of(translate.listed(event, "deribit", 0))
    assert (
        not instrument.is_inverse and instrument.is_call is (option_type == "call") and instrument.expiry_ns == NOW_NS
    )
    assert instrument.tick_steps
