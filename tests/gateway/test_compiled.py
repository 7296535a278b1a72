"""What of the gateway is compiled gives what its plain twin gives, to the byte; what is not ordinary it leaves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import simplefix
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import compiled, records, report_values, translate
from gateway.translate import OrderFields, new_order
from protocols.fix.codec import Header, Message, decode, encode
from protocols.fix.messages import EXECUTION_REPORT
from risk.exposure import WorkingOrder
from risk.instrument import Instrument
from risk.lifecycle import OrdStatus
from risk.order import Order, OrdType, RejectReason, Terms, TimeInForce
from tests.strategies import INSTRUMENTS, INVERSE, NOW_NS, instruments, order_of, sides, working_order, world

pytestmark = pytest.mark.skipif(not compiled.COMPILED, reason="nothing of the gateway was compiled")

MARKET = world().market
BY_SYMBOL: dict[str, Instrument] = {instrument.symbol: instrument for instrument in INSTRUMENTS}
BTC = INSTRUMENTS[INVERSE].symbol
GOOD = {11: "o", 38: "100", 40: "2", 44: "59000", 54: "1", 55: BTC, 59: "1", 60: "20260101-00:00:00.000"}


def message_of(fields: dict[int, str]) -> Message:
    message = simplefix.FixMessage()
    head = [(8, "FIX.4.4"), (35, "D"), (34, 2), (49, "A"), (52, "20260101-00:00:00.000"), (56, "B")]
    for tag, value in [*head, *fields.items()]:
        message.append_pair(tag, value)
    return decode(message.encode())


def plainly(message: Message) -> Any:
    fields = OrderFields(message)
    return new_order(fields, BY_SYMBOL.get(fields.symbol), MARKET, NOW_NS)


def ordinary(fields: dict[int, str]) -> Order | None:
    message = message_of(fields)
    made = compiled.ordinary_order(message, BY_SYMBOL, MARKET.day_ends_s, NOW_NS)
    assert made is None or made == plainly(message)
    return made


def test_an_ordinary_order_is_read() -> None:
    for side, time_in_force in (("1", "0"), ("2", "1"), ("1", "3"), ("2", "4")):
        assert ordinary(GOOD | {54: side, 59: time_in_force, 1: "alpha", 21: "1"}) is not None
    assert ordinary({tag: value for tag, value in GOOD.items() if tag != 59}) is not None
    # A quantity off the lot and a price off the tick are read too: the checks refuse the 0 that they become.
    assert ordinary(GOOD | {38: "105"}) is not None and ordinary(GOOD | {44: "-1"}) is not None


@pytest.mark.parametrize(
    "changes",
    [{40: "1"}, {40: "3"}, {54: "5"}, {54: "11"}, {59: "6"}, {59: "2"}, {59: "10"}, {18: "6"}, {55: "DOGE"}, {99: "1"},
     {126: "20260101-00:00:00"}, {111: "5"}, {58: "x"}, {11: "x" * 65}, {55: "x" * 65}],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_left(changes: dict[int, str]) -> None:
    assert ordinary(GOOD | changes) is None


def test_a_day_that_ends_here_is_left() -> None:
    market = {"other": 0}
    assert compiled.ordinary_order(message_of(GOOD | {59: "0"}), BY_SYMBOL, market, NOW_NS) is not None
    market["deribit"] = 0
    for fields in (GOOD | {59: "0"}, {tag: value for tag, value in GOOD.items() if tag != 59}):
        assert compiled.ordinary_order(message_of(fields), BY_SYMBOL, market, NOW_NS) is None
    assert compiled.ordinary_order(message_of(GOOD), BY_SYMBOL, market, NOW_NS) is not None


@pytest.mark.parametrize("tag", [11, 38, 40, 44, 54, 55])
def test_what_is_missing_is_left(tag: int) -> None:
    assert ordinary({key: value for key, value in GOOD.items() if key != tag}) is None


numbers = st.one_of(
    st.decimals(0, 10**9, places=2).map(str),
    st.sampled_from(["", "0", "-5", "1e5", "NaN", "0.5", "59000.5", "100000000000000000", "9" * 40, ".5", "5."]),
)
fields_drawn = st.fixed_dictionaries(
    {},
    optional={
        1: st.text("abc1", max_size=4), 11: st.text("abc1", max_size=4), 18: st.sampled_from(["6", "E", "6 E", "G"]),
        21: st.just("1"), 38: numbers, 40: st.sampled_from(["1", "2", "3", ""]), 44: numbers,
        54: st.sampled_from(["1", "2", "5", ""]), 55: st.sampled_from([*BY_SYMBOL, "DOGE", ""]),
        59: st.sampled_from(["0", "1", "3", "4", "6", "x", ""]), 99: numbers,
    },
)  # fmt: skip


@settings(max_examples=300)
@given(fields_drawn)
def test_whatever_is_read_is_what_the_plain_reader_reads(drawn: dict[int, str]) -> None:
    ordinary(drawn)
    ordinary(GOOD | drawn)


@given(instruments, st.integers(0, 1 << 70), st.integers(-5, 1 << 70))
def test_texts_of_quantities_and_prices(instrument: Instrument, lots: int, ticks: int) -> None:
    assert compiled.quantity_text(instrument, lots) == translate.quantity_text(instrument, lots)
    assert compiled.price_text(instrument, ticks) == translate.price_text(instrument, ticks)


# -- reports ---------------------------------------------------------------------------------------------------------

maybe_bytes = st.none() | st.binary(min_size=1, max_size=8)
amounts = st.none() | st.floats() | st.floats(-1e6, 1e6) | st.integers(-5, 5).map(float)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=300)
@given(
    st.tuples(maybe_bytes, maybe_bytes, maybe_bytes, maybe_bytes, maybe_bytes, maybe_bytes, maybe_bytes),
    st.sampled_from(RejectReason), texts, st.one_of(texts, st.just("x" * 3000)), amounts, amounts, amounts,
    st.none() | st.integers(-(10**12), 10**12), st.integers(1, 1 << 40),
)  # fmt: skip
def test_a_refusal_is_told_in_the_same_words(
    sent: tuple[Any, ...], reason: RejectReason, check: str, text: str, limit: Any, observed: Any, required: Any,
    age_ns: Any, exec_id: int,
) -> None:  # fmt: skip
    record = records.OrderRefused("A", 1, *sent, int(reason), check, text, limit, observed, required, age_ns)
    wanted = report_values.refusal_values(record, exec_id, NOW_NS)
    assert compiled.refusal_values(record, exec_id, NOW_NS) == wanted
    assert compiled.refusal_values(records.decode(records.encode(record)), exec_id, NOW_NS) == wanted


@settings(max_examples=300)
@given(
    instruments, sides, st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**12),
    st.sampled_from(OrdStatus), st.none() | st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)),
    st.none() | st.just("c2"), st.none() | st.just("c0"), maybe_bytes,
)  # fmt: skip
def test_an_order_is_told_in_the_same_words(
    instrument: Instrument, side: Any, lots: int, ticks: int, cum_lots: int, cum_lot_ticks: int, status: OrdStatus,
    last: Any, cl_ord_id: Any, orig: Any, text: Any,
) -> None:  # fmt: skip
    order = working_order(order_of(instrument.index, side, lots, ticks=ticks))
    order.cum_lots, order.cum_lot_ticks, order.status = cum_lots, cum_lot_ticks, status
    order.ord_type = OrdType.MARKET if lots % 2 else OrdType.LIMIT
    arguments = (order, 5, NOW_NS, b"F", text, cl_ord_id, orig, last, None)
    assert compiled.order_values(*arguments) == report_values.order_values(*arguments)
    refusal = (951, b"venue", None, None, None, None)
    refused = (order, 5, NOW_NS, b"8", b"no", None, None, None, b"99", refusal)
    assert compiled.order_values(*refused) == report_values.order_values(*refused)


class Later(WorkingOrder):
    """An order of a class that is not known to the compiled twin."""


def test_an_order_of_another_kind_is_left_to_the_plain_twin() -> None:
    order = working_order(order_of())
    later = Later(*[getattr(order, name) for name in WorkingOrder.__struct_fields__])
    assert compiled.order_values(later, 1, NOW_NS, b"0") == report_values.order_values(order, 1, NOW_NS, b"0")
    order.lots = 1 << 62  # in lots of 0.001 that is beyond 64 bits of anything
    assert compiled.order_values(order, 1, NOW_NS, b"0") == report_values.order_values(order, 1, NOW_NS, b"0")


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": Terms(stop_ticks=5), "ord_type": OrdType.STOP, "is_triggered": True},
        {"terms": Terms(expire_ns=NOW_NS), "time_in_force": TimeInForce.GTD, "is_expiring": True},
        {"terms": Terms(), "cum_lots": 3, "cum_lot_ticks": 10, "adjusted_lots": -1, "adjusted_lot_ticks": -5},
        {"ord_type": OrdType.STOP_LIMIT},
    ],
)
def test_an_order_with_terms_is_told_in_the_same_words(changes: dict[str, Any]) -> None:
    order = msgspec.structs.replace(working_order(order_of()), **changes)
    assert compiled.order_values(order, 1, NOW_NS, b"0") == report_values.order_values(order, 1, NOW_NS, b"0")


def test_the_values_fit_the_layout() -> None:
    order = working_order(order_of())
    values = compiled.order_values(order, 1, NOW_NS, b"0")
    assert len(values) == len(EXECUTION_REPORT.tags)
    state = msgspec.structs.replace(order, status=OrdStatus.NEW)
    raw = encode(
        EXECUTION_REPORT, Header("FIX.4.4", "A", "B"), 1, NOW_NS, compiled.order_values(state, 1, NOW_NS, b"0")
    )
    assert decode(raw).values((39, 150, 37)) == (b"0", b"0", b"w1")
