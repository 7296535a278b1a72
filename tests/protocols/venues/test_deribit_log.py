"""Deribit's transaction log: what a row is worth, from where it is asked for, page by page, what is missing of it."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.venues import bookings, deribit_log
from protocols.venues.deribit_bookings import LOG, events_of, rows_of
from protocols.venues.deribit_tables import RateLimits
from protocols.venues.events import (
    BookingsRead,
    BookingUnexplained,
    ContractDelivered,
    FundingBooked,
    OrderFilled,
    ReconcileFailed,
    ReconcileFinished,
    VenueErrorReported,
)
from protocols.venues.trading import CLOCK_MARGIN_NS
from tests.protocols.venues.fake_deribit import T0_MS, T0_NS, FakeDeribit, changes, live, log_row, session, wire_trade

S = 1_000_000_000
D = Decimal
LOG_METHOD = "private/get_transaction_log"
FLAT = {"interest_pl": None, "total_interest_pl": None, "session_rpl": None, "session_upl": None}
CALL = "BTC-25DEC26-50000-C"
DELIVERY = {"type": "delivery", "instrument_name": "BTC-25DEC26", "side": "close sell", "commission": 0.0} | FLAT


def told(**values: Any) -> list[Any]:
    return events_of(LOG.decode(orjson.dumps(log_row(**values))))


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def chained(*rows: dict[str, Any], opening: float = 10.0) -> list[dict[str, Any]]:
    """Rows, given oldest first, with ids and balances that follow each other; the newest first, as they are listed."""
    found = []
    for number, row in enumerate(rows):
        opening = round(opening + row["change"], 8)
        found.append({"id": 100 + number, **row, "balance": opening})
    return found[::-1]


def trade(interest: float, change: float = -0.0001, **values: Any) -> dict[str, Any]:
    row = log_row(type="trade", interest_pl=interest, change=change, cashflow=0.0, **values)
    return {key: value for key, value in row.items() if key not in ("id", "total_interest_pl")}


def asked(venue: FakeDeribit) -> list[dict[str, Any]]:
    return [request["params"] for request in venue.sent if request["method"] == LOG_METHOD]


# -- rows


def test_a_settlement_tells_its_funding_and_not_its_profit() -> None:
    """The venue's own example: of what it moves, 0.00000993 is funding since the last trade; the fills are the rest."""
    (funding,) = told()
    total = D("0.00001243")
    assert funding == FundingBooked("BTC-PERPETUAL", "BTC-61311", D("0.00000993"), "BTC", T0_NS, total)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"type": "trade", "interest_pl": -0.0000025}, [("BTC-61311", D("-0.0000025"), None)]),
        ({"type": "liquidation", "interest_pl": 0.0000025}, [("BTC-61311", D("0.0000025"), None)]),
        ({"type": "trade", "interest_pl": 0}, []),
        ({"type": "trade", "interest_pl": None}, []),
        ({"interest_pl": 0.0}, [("BTC-61311", D(0), D("0.00001243"))]),  # flat at the settlement: the session ends
        ({"interest_pl": None, "instrument_name": "BTC-25DEC26", "total_interest_pl": 0.0}, []),
    ],
)
def test_funding_is_what_a_row_says_since_the_row_before(values: dict[str, Any], expected: list[Any]) -> None:
    assert [(one.settlement_id, one.amount, one.session_total) for one in told(**values)] == expected


@pytest.mark.parametrize(
    ("values", "price", "fee"),
    [
        (DELIVERY | {"price": 60_000.5, "change": 0.1, "cashflow": 0.1}, "60000.5", 0),
        (DELIVERY | {"price": 60_000.5, "change": 0.0999, "cashflow": 0.1, "commission": 0.0001}, "60000.5", "0.0001"),
        (DELIVERY | {"price": 60_000.5, "change": 0.1, "cashflow": 0.1, "commission": 0.0001}, "60000.5", "0.0001"),
        (DELIVERY | {"instrument_name": CALL, "price": 0.16666667, "index_price": 60_000.0, "price_currency": "BTC",
                     "change": 0.3, "cashflow": 0.3}, "60000.0", 0),
        (DELIVERY | {"instrument_name": CALL[:-1] + "P", "price": 0.0, "index_price": 60_000.0, "change": 0.0,
                     "price_currency": "BTC", "cashflow": 0.0}, "60000.0", 0),
        (DELIVERY | {"instrument_name": "XRP_USDC-25DEC26-1d5-P", "price": 0.25, "index_price": 1.25,
                     "price_currency": "USD", "currency": "USDC", "change": 25.0, "cashflow": 25.0}, "1.25", 0),
    ],
)  # fmt: skip
def test_a_delivery_tells_the_price_of_the_underlying(values: dict[str, Any], price: str, fee: Any) -> None:
    (one,) = told(**values)
    assert isinstance(one, ContractDelivered)
    assert (one.symbol, one.delivery_price, one.fee) == (values["instrument_name"], D(price), D(fee))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (DELIVERY | {"price": None}, "price"),
        (DELIVERY | {"price": 0.0}, "price"),
        (DELIVERY | {"instrument_name": None, "price": 1.0}, "instrument_name"),
        (DELIVERY | {"instrument_name": CALL, "price": 0.2, "index_price": None}, "index_price"),
        (DELIVERY | {"instrument_name": CALL, "price": 0.2, "index_price": 60_000.0, "price_currency": "BTC"}, "price"),
        (DELIVERY | {"instrument_name": "BTC-x-C", "price": 0.2, "index_price": 60_000.0}, "instrument_name"),
        ({"type": "trade", "instrument_name": None}, "instrument_name"),
        ({"interest_pl": 1e300}, "number"),
        ({"timestamp": -1}, "timestamp"),
        ({"change": None}, "change"),
        ({"id": None}, "id"),
    ],
)
def test_a_row_that_can_not_be_right_is_told_and_hides_no_other(values: dict[str, Any], names: str) -> None:
    rows = [log_row(**values), log_row(id=7, type="transfer", change=0.0, **FLAT)]
    rows.append(log_row(id=5, type="trade"))
    events, _ = rows_of("BTC", [orjson_raw(row) for row in rows], T0_NS)
    (funding,) = of(events, FundingBooked)
    assert funding.settlement_id == "BTC-5"
    (unread,) = of(events, BookingUnexplained)
    assert names in unread.reason
    again, _ = rows_of("BTC", [orjson_raw(row) for row in rows], T0_NS + S)
    assert of(again, BookingUnexplained)[0].settlement_id == unread.settlement_id  # so that it is told once


def orjson_raw(row: dict[str, Any]) -> Any:
    return msgspec.Raw(orjson.dumps(row))


@pytest.mark.parametrize(
    ("values", "is_told"),
    [
        ({"type": "deposit"}, False),
        ({"type": "withdrawal"}, False),
        ({"type": "transfer"}, False),
        ({"type": "usdc_reward"}, False),
        ({"type": "options_settlement_summary", "change": 0.0}, False),
        ({"type": "options_settlement_summary"}, True),
        ({"type": "negative_balance_fee"}, True),
        ({"type": "something new", "change": 0.0}, True),
        ({"type": "correction", "instrument_name": None, "info": {"reason": "funding calculation"}}, True),
        ({"type": "assignment", "info": "text"}, True),
    ],
)
def test_what_is_not_known_is_a_persons_to_explain(values: dict[str, Any], is_told: bool) -> None:
    found = told(**(FLAT | values))
    assert bool(found) is is_told
    for one in found:
        assert (one.kind, one.amount) == (values["type"], D(str(values.get("change", 0.00215706))))
        assert one.reason == ("funding calculation" if values["type"] == "correction" else "nothing is known of it")


def test_what_a_settlement_or_a_delivery_moves_beside_its_profit_is_told() -> None:
    funding, beside = told(change=0.00115706, cashflow=0.00115706)
    assert isinstance(funding, FundingBooked) and beside.amount == D("-0.00099999")
    delivered, beside = told(**(DELIVERY | {"price": 60_000.0, "cashflow": 0.1, "change": 0.05}))
    assert isinstance(delivered, ContractDelivered) and beside.settlement_id == "BTC-61311-beside"


@given(st.lists(st.integers(-(10**8), 10**8), min_size=3, max_size=8), st.data())
def test_a_row_that_is_missing_shows_by_the_balances(moves: list[int], data: st.DataObject) -> None:
    rows = chained(*(trade(0.0, move / 10**8) for move in moves), opening=1_000.0)
    assert rows_of("BTC", [orjson_raw(row) for row in rows], T0_NS)[1] == []
    at = data.draw(st.integers(1, len(rows) - 2))
    missing = rows[at]
    _, holes = rows_of("BTC", [orjson_raw(row) for row in rows if row is not missing], T0_NS)
    if abs(missing["change"]) > 3e-8:
        (hole,) = holes
        assert isinstance(hole, BookingUnexplained)
        assert abs(hole.amount - D(str(missing["change"]))) <= D("0.00000001")


# -- what is asked for


def test_a_first_connection_asks_for_no_log_and_each_later_one_does() -> None:
    venue = live()
    assert asked(venue) == []
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    (first,) = asked(venue)
    assert first["start_timestamp"] == T0_MS - CLOCK_MARGIN_NS // 1_000_000
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    assert len(asked(venue)) == 1  # right after an answer: nothing new can be there
    venue.pass_time(2 * S)
    assert len(asked(venue)) == 2  # but a moment later it may


def test_a_restart_asks_from_where_the_log_was_known() -> None:
    known_ns = T0_NS - 3 * 3_600 * S
    venue = FakeDeribit(session(trades_since_ns=T0_NS, bookings_known_ns={"BTC": known_ns}))
    events = venue.connect()
    (only,) = asked(venue)
    assert only["start_timestamp"] == (known_ns - bookings.OVERLAP_NS) // 1_000_000
    assert of(events, BookingsRead) == [BookingsRead("BTC", T0_NS)]
    assert events.index(of(events, BookingsRead)[0]) < events.index(of(events, ReconcileFinished)[0])


def test_pages_are_told_together_oldest_first() -> None:
    rows = chained(*(trade(0.000001 * (number + 1)) for number in range(5)))
    pages = {None: (rows[:2], 102), 102: (rows[2:4], 100), 100: (rows[4:], None)}

    def page(params: dict[str, Any]) -> dict[str, Any]:
        logs, continuation = pages[params.get("continuation")]
        return {"logs": logs, "continuation": continuation}

    venue = FakeDeribit(session(trades_since_ns=T0_NS), {LOG_METHOD: page})
    events = venue.connect()
    assert [one.settlement_id for one in of(events, FundingBooked)] == [f"BTC-{100 + number}" for number in range(5)]
    assert [params.get("continuation") for params in asked(venue)] == [None, 102, 100]
    assert len({params["end_timestamp"] for params in asked(venue)}) == 1


def test_a_long_absence_is_asked_for_in_windows() -> None:
    venue = FakeDeribit(session(trades_since_ns=T0_NS, bookings_known_ns={"BTC": T0_NS - 70 * 86_400 * S}))
    events = venue.connect()
    windows = [(params["start_timestamp"], params["end_timestamp"]) for params in asked(venue)]
    assert len(windows) == 3 and windows[-1][1] == T0_MS
    assert all(later[0] <= earlier[1] for earlier, later in pairwise(windows))
    assert [one.until_ns for one in of(events, BookingsRead)] == [end * 1_000_000 for _, end in windows]


def test_no_more_pages_than_a_list_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit_log, "MAX_PAGES", 2)
    venue = live()
    venue.answers[LOG_METHOD] = lambda _: {"logs": [log_row()], "continuation": 7}
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    events = venue.events()
    assert of(events, ReconcileFailed) and not of(events, FundingBooked)
    assert any("continuation" in one.message for one in of(events, VenueErrorReported))
    assert len(asked(venue)) == 3


def test_the_log_has_a_limit_of_its_own_and_holds_up_nothing_else() -> None:
    limits = RateLimits(log_capacity=1)
    currencies = ("BTC", "ETH", "USDC")
    venue = FakeDeribit(session(trades_since_ns=T0_NS, currencies=currencies, limits=limits))
    venue.connect()
    assert [params["currency"] for params in asked(venue)] == ["BTC"] and not venue.session.is_live
    venue.session.cancel_all(venue.now_ns)
    assert [request["method"] for request in venue.pump()] == ["private/cancel_all"]
    assert venue.session.deadline_ns == venue.now_ns + S
    venue.pass_time(S)
    assert not venue.session.is_live
    venue.pass_time(S)
    assert [params["currency"] for params in asked(venue)] == list(currencies) and venue.session.is_live


@pytest.mark.parametrize(
    ("at_ns", "due_ns"),
    [
        (16 * 3_600 * S, 17 * 3_600 * S + 5 * S),  # each full hour, for what trades tell
        (8 * 3_600 * S - S, 8 * 3_600 * S + S),  # a settlement, and until it is told
        (8 * 3_600 * S + 2 * S, 8 * 3_600 * S + 7 * S),
        (8 * 3_600 * S + 120 * S, 8 * 3_600 * S + 180 * S),
    ],
)
def test_it_is_asked_for_after_each_settlement(at_ns: int, due_ns: int) -> None:
    day_ns = T0_NS // (86_400 * S) * 86_400 * S
    venue = FakeDeribit(session(trades_since_ns=T0_NS))
    venue.now_ns = day_ns + at_ns
    venue.connect()
    assert venue.session._log.due_ns == day_ns + due_ns
    count = len(asked(venue))
    pass_time(venue, day_ns + due_ns - 1)
    assert len(asked(venue)) == count
    pass_time(venue, day_ns + due_ns)
    assert len(asked(venue)) == count + 1


def test_a_row_that_is_late_is_waited_for_and_one_that_never_comes_is_told() -> None:
    rows = chained(trade(0.000001), trade(0.000002), log_row(change=0.00215706))
    listed = [rows[0], rows[2]]
    venue = FakeDeribit(session(trades_since_ns=T0_NS), {LOG_METHOD: lambda _: {"logs": listed, "continuation": None}})
    events = venue.connect()
    assert venue.session.is_live and not of(events, BookingsRead)
    assert [one.settlement_id for one in of(events, FundingBooked)] == ["BTC-100", "BTC-61311"]
    listed.insert(1, rows[1])
    events = venue.pass_time(5 * S)
    assert "BTC-101" in [one.settlement_id for one in of(events, FundingBooked)]
    assert of(events, BookingsRead) and not of(venue.seen, BookingUnexplained)
    del listed[1]
    read_ns = of(events, BookingsRead)[-1].until_ns
    pass_time(venue, venue.now_ns + 2 * S)
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    pass_time(venue, venue.now_ns + 880 * S)
    assert not of(venue.seen, BookingUnexplained) and of(venue.seen, BookingsRead)[-1].until_ns == read_ns
    pass_time(venue, venue.now_ns + 80 * S)
    (hole, *_) = of(venue.seen, BookingUnexplained)
    assert hole.kind == "hole" and hole.amount == D("-0.0001")
    assert of(venue.seen, BookingsRead)[-1].until_ns > read_ns + 900 * S


def pass_time(venue: FakeDeribit, until_ns: int) -> list[Any]:
    """Let time pass on a connection on which the venue's heartbeats come, and all is done when it is due."""
    beat = orjson.dumps({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}})
    events = []
    while venue.now_ns < until_ns:
        due_ns = venue.session.deadline_ns or until_ns
        venue.now_ns = min(until_ns, max(due_ns, venue.now_ns + 1), venue.now_ns + 20 * S)
        venue.session.receive(beat, venue.now_ns)
        events += venue.pass_time(0)
    return events


def test_a_log_that_is_refused_is_reported_and_asked_for_again() -> None:
    venue = live()
    venue.answers[LOG_METHOD] = refuse
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    events = venue.events()
    assert of(events, ReconcileFailed) and venue.session.is_live
    assert any("transaction log" in one.context for one in of(events, VenueErrorReported))
    venue.answers[LOG_METHOD] = lambda _: {"logs": [log_row()], "continuation": None}
    assert of(pass_time(venue, venue.now_ns + bookings.LATER_NS), FundingBooked)


def refuse(params: dict[str, Any]) -> Any:
    raise KeyError(13021)


def test_an_answer_to_a_question_that_was_asked_anew_is_not_taken() -> None:
    venue = live()
    venue.answers[LOG_METHOD] = None
    venue.session.reconcile(venue.now_ns)
    (first,) = venue.pump()[-1:]
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    venue.session.disconnected(venue.now_ns)
    venue.events()
    venue.session.connected(venue.now_ns)
    venue.answers[LOG_METHOD] = lambda _: {"logs": [log_row()], "continuation": None}
    venue.pump()
    events = venue.events()
    assert len(of(events, FundingBooked)) == 1 and first["method"] == LOG_METHOD


# -- liquidations


@pytest.mark.parametrize(
    ("values", "is_liquidation"),
    [
        ({"order_type": "liquidation", "liquidation": "T", "liquidity": "T"}, True),
        ({"order_type": "liquidation"}, True),
        ({"liquidation": "M", "liquidity": "M"}, True),
        ({"liquidation": "MT", "liquidity": "M"}, True),
        ({"liquidation": "T", "liquidity": "M"}, False),  # another's, against an order of ours
        ({"order_type": "limit"}, False),
    ],
)
def test_a_trade_says_whether_the_venue_has_liquidated_us(values: dict[str, Any], is_liquidation: bool) -> None:
    venue = live()
    events = venue.receive(changes([], [wire_trade(label="", **values)]))
    (fill,) = of(events, OrderFilled)
    assert fill.is_liquidation is is_liquidation
