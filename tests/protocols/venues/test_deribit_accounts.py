"""Positions, portfolios, backfill and queries: value, flat or unknown."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocols.venues import deribit_accounts
from protocols.venues.deribit_tables import State
from protocols.venues.events import (
    OpenOrdersReported,
    OrderFilled,
    OrderNotFound,
    OrderQueryFailed,
    OrderState,
    OrderStateReported,
    PortfolioReported,
    PositionsReported,
    PositionState,
    ReconcileFailed,
    ReconcileFinished,
    TradesReported,
    VenueErrorReported,
)
from tests.protocols.venues.fake_deribit import (
    PORTFOLIO,
    POSITION,
    T0_MS,
    T0_NS,
    FakeDeribit,
    changes,
    live,
    notification,
    refusal,
    reply,
    session,
    wire_order,
    wire_trade,
)

S = 1_000_000_000
D = Decimal
TRADES = "private/get_user_trades_by_currency"
HOUR_MS = 3_600_000


# -- positions and portfolios


@pytest.mark.parametrize(
    ("size", "direction", "quantity"),
    [(30.0, "buy", 30), (-30.0, "sell", -30), (30.0, "sell", -30), (0.0, "zero", 0), (0.0, "buy", 0)],
)
def test_a_position_has_a_sign(size: float, direction: str, quantity: int) -> None:
    venue = live()
    (event,) = venue.receive(changes([], [], [POSITION | {"size": size, "direction": direction}]))
    state = PositionState("BTC-PERPETUAL", D(quantity), D("50000.5"))
    assert event == PositionsReported("", (state,), False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": -30.0, "direction": "buy"},
        {"size": 1.0, "direction": "zero"},
        {"size": None},
        {"size": "30"},
        {"direction": None},
        {"average_price": None},
    ],
)
def test_a_position_that_can_not_be_right_is_unknown_not_flat(wrong: dict[str, Any]) -> None:
    venue = FakeDeribit(session(), {"private/get_positions": lambda _: [POSITION | wrong]})
    events = venue.connect()
    assert venue.session.state is State.HALTED
    assert not any(isinstance(event, PositionsReported) for event in events)
    assert any(isinstance(event, VenueErrorReported) for event in events)


def test_a_position_query_without_answer_is_unknown_not_flat() -> None:
    """Fault 39."""
    venue = live()
    venue.answers["private/get_positions"] = None
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    events = venue.events() + venue.pass_time(5 * S)
    assert not any(isinstance(event, (PositionsReported, ReconcileFinished)) for event in events)
    assert events[-1] == ReconcileFailed("positions: no answer in time")
    assert venue.session.is_live


def test_a_portfolio() -> None:
    venue = live()
    expected = PortfolioReported("BTC", D("10.5"), D("10.25"), D("1.5"), D(1), D("8.75"), "segregated_sm")
    assert venue.receive(notification("user.portfolio.any", PORTFOLIO)) == [expected]


@pytest.mark.parametrize("field", [field for field in PORTFOLIO if field != "margin_model"])
@pytest.mark.parametrize("value", [None, "7", ...])
def test_a_portfolio_with_a_field_missing_is_unknown_not_zero(field: str, value: Any) -> None:
    if field == "currency" and value == "7":
        value = 7
    venue = live()
    portfolio = PORTFOLIO | {field: value}
    if value is ...:
        del portfolio[field]
    (error,) = venue.receive(notification("user.portfolio.any", portfolio))
    assert isinstance(error, VenueErrorReported)
    assert field in error.message
    assert error.context == "user.portfolio.any"


def test_new_fields_are_passed_over() -> None:
    venue = live()
    (event,) = venue.receive(notification("user.portfolio.any", PORTFOLIO | {"new_in_2027": {"deep": [1, None]}}))
    assert isinstance(event, PortfolioReported)


# -- reconciliation


def test_open_orders_are_reported_as_they_are() -> None:
    venue = FakeDeribit(session())
    venue.open_orders = [
        wire_order(filled_amount=40.0),
        wire_order(order_id="BTC-2", label="", order_state="untriggered", price="market_price", reduce_only=True),
    ]
    (report,) = [event for event in venue.connect() if isinstance(event, OpenOrdersReported)]
    time_ns = T0_MS * 1_000_000
    symbol = "BTC-PERPETUAL"
    assert report.orders == (
        OrderState("a1", "BTC-1", symbol, "buy", "open", D(100), D(40), D(50000), False, time_ns),
        OrderState("", "BTC-2", symbol, "buy", "untriggered", D(100), D(0), None, True, time_ns),
    )
    # They are known now: no acceptance is told, and fills from before are not missed.
    later = wire_order(filled_amount=60.0, last_update_timestamp=T0_MS + 1)
    (fill,) = venue.receive(changes([later], [wire_trade(amount=20.0)]))
    assert isinstance(fill, OrderFilled)
    venue.pass_time(S)
    assert "private/get_user_trades_by_order" not in [request["method"] for request in venue.sent]


def test_orders_that_ended_while_away_are_not_followed() -> None:
    venue = live()
    venue.receive(changes([wire_order(), wire_order(order_id="BTC-2", label="a2")]))
    venue.session.disconnected(venue.now_ns)
    venue.open_orders = [wire_order(order_id="BTC-2", label="a2")]
    venue.connect()
    assert list(venue.session._orders._orders) == ["BTC-2"]
    # What was confirmed by the stream before the list came stays.
    venue.session.reconcile(venue.now_ns)
    venue.open_orders = []
    venue.pump()
    assert list(venue.session._orders._orders) == ["BTC-2"]


def test_fills_missed_while_away_are_found_once() -> None:
    """hummingbot 8457: accepted orders forgotten during an outage leave a position that nobody knows."""
    venue = live()
    seen, missed = wire_trade(), wire_trade(trade_id="t2", timestamp=T0_MS + 60_000)
    venue.receive(changes([wire_order()], [seen]))
    venue.pass_time(S)
    venue.session.disconnected(venue.now_ns)
    venue.answers[TRADES] = lambda _: {"trades": [seen, missed], "has_more": False}
    events = venue.connect()
    fills = [event for event in events if isinstance(event, OrderFilled)]
    assert [(fill.trade_id, fill.is_backfill, fill.label) for fill in fills] == [("t2", True, "a1")]
    (request,) = [request for request in venue.sent if request["method"] == TRADES]
    assert request["params"]["start_timestamp"] == T0_MS + 1 - 5_000
    assert TradesReported("BTC", (T0_MS + 1 - 5_000) * 1_000_000, 2) in events
    # Told before the orders' states.
    kinds = [type(event) for event in events]
    assert kinds.index(OrderFilled) < kinds.index(OpenOrdersReported)


def test_the_backfill_begins_at_the_last_time_when_all_was_seen() -> None:
    """A session that did not become live has seen later trades, but not all before them."""
    venue = live()
    venue.session.disconnected(venue.now_ns)
    since_ms = T0_MS - 60_000
    venue.answers |= {"private/get_positions": None, TRADES: None}
    venue.connect()
    venue.receive(changes(trades=[wire_trade(timestamp=T0_MS + HOUR_MS)]))
    venue.session.disconnected(venue.now_ns)
    venue.sent.clear()
    venue.connect()
    (request,) = [request for request in venue.sent if request["method"] == TRADES]
    assert request["params"]["start_timestamp"] == since_ms


def test_a_trade_of_the_future_does_not_move_the_backfill_there() -> None:
    venue = live()
    venue.receive(changes(trades=[wire_trade(timestamp=T0_MS + HOUR_MS)]))
    venue.session.disconnected(venue.now_ns)
    venue.connect()
    (request,) = [request for request in venue.sent if request["method"] == TRADES]
    assert request["params"]["start_timestamp"] == T0_MS - 5_000


def test_no_trades_are_asked_for_at_a_first_connection_without_a_time_to_start_from() -> None:
    venue = FakeDeribit(session())
    venue.connect()
    assert TRADES not in [request["method"] for request in venue.sent]


def test_pages_of_trades() -> None:
    pages = [
        {"trades": [wire_trade(trade_id="t1", timestamp=T0_MS - 900)], "has_more": True},
        {"trades": [wire_trade(trade_id=f"t{i}", timestamp=T0_MS - 800) for i in (1, 2)], "has_more": True},
        {"trades": [], "has_more": True},
    ]
    venue = FakeDeribit(session(trades_since_ns=T0_NS - S), {TRADES: lambda _: pages.pop(0)})
    events = venue.connect()
    assert [event.trade_id for event in events if isinstance(event, OrderFilled)] == ["t1", "t2"]
    asked = [request["params"] for request in venue.sent if request["method"] == TRADES]
    assert [params["start_timestamp"] for params in asked] == [T0_MS - 1000, T0_MS - 900, T0_MS - 800]
    assert TradesReported("BTC", T0_NS - S, 3) in events
    assert venue.session.is_live


def test_old_trades_come_from_the_history_and_then_from_the_recent_ones() -> None:
    venue = FakeDeribit(session(trades_since_ns=T0_NS - 48 * HOUR_MS * 1_000_000))
    venue.connect()
    asked = [request["params"] for request in venue.sent if request["method"] == TRADES]
    assert [(params["start_timestamp"], params["historical"]) for params in asked] == [
        (T0_MS - 48 * HOUR_MS, True),
        (T0_MS - 23 * HOUR_MS, False),
    ]
    assert TradesReported("BTC", T0_NS - 48 * HOUR_MS * 1_000_000, 0) in venue.seen


@pytest.mark.parametrize("step_ms", [0, 1])
def test_pages_that_never_end_do(monkeypatch: pytest.MonkeyPatch, step_ms: int) -> None:
    monkeypatch.setattr(deribit_accounts, "MAX_PAGES", 5)
    count = 0

    def endless(params: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        trade = wire_trade(trade_id=f"t{count}", timestamp=params["start_timestamp"] + step_ms)
        return {"trades": [trade], "has_more": True}

    venue = FakeDeribit(session(trades_since_ns=T0_NS - S), {TRADES: endless})
    venue.connect()
    assert venue.session.state is State.HALTED
    assert count == (6 if step_ms else 1)


def test_reconciling_while_live_and_twice_at_once() -> None:
    venue = live()
    venue.session.reconcile(venue.now_ns)
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    events = venue.events()
    assert sum(isinstance(event, ReconcileFinished) for event in events) == 2
    assert venue.session.is_live
    assert [request["method"] for request in venue.sent].count("private/get_open_orders") == 2


def test_an_answer_of_a_failed_run_does_not_count_in_the_next() -> None:
    venue = live()
    venue.answers |= {"private/get_positions": None, "private/get_open_orders": None}
    venue.session.reconcile(venue.now_ns)
    ids = {request["method"]: request["id"] for request in venue.pump()}
    venue.receive(refusal(ids["private/get_positions"], 11051))
    assert venue.seen[-1] == ReconcileFailed("positions: refused with 11051 system_maintenance")
    venue.session.reconcile(venue.now_ns)
    again = {request["method"]: request["id"] for request in venue.pump()}
    venue.receive(reply(ids["private/get_open_orders"], []))
    venue.receive(reply(again["private/get_positions"], []))
    assert not any(isinstance(event, ReconcileFinished) for event in venue.seen)
    venue.receive(reply(again["private/get_open_orders"], []))
    assert isinstance(venue.seen[-1], ReconcileFinished)


def test_a_change_that_could_not_be_read_while_reconciling_leads_to_another_round() -> None:
    venue = FakeDeribit(session(), {"private/get_positions": None})
    venue.connect()
    venue.receive(changes([wire_order(amount=None)]))
    request_id = next(request["id"] for request in venue.sent if request["method"] == "private/get_positions")
    venue.answers["private/get_positions"] = lambda _: []
    events = venue.receive(reply(request_id, []))
    assert sum(isinstance(event, ReconcileFinished) for event in events) == 2
    assert venue.session.is_live


def test_a_broken_frame_about_our_orders_leads_to_reconciliation() -> None:
    venue = live()
    events = venue.receive(changes([wire_order()])[:-1])
    assert isinstance(events[0], VenueErrorReported)
    assert isinstance(events[-1], ReconcileFinished)


# -- queries


BY_LABEL, BY_ORDER = "private/get_order_state_by_label", "private/get_user_trades_by_order"


def query(answers: dict[str, Any]) -> tuple[FakeDeribit, list[Any]]:
    venue = live()
    venue.answers |= answers
    venue.session.query_order("a1", "BTC-PERPETUAL", venue.now_ns)
    venue.pump()
    return venue, venue.events()


def test_an_order_that_is_not_found() -> None:
    venue, events = query({BY_LABEL: lambda _: []})
    assert events == [OrderNotFound("a1")]
    assert venue.sent[0]["params"] == {"currency": "BTC", "label": "a1"}


def test_an_order_that_rests_unfilled() -> None:
    venue, events = query({BY_LABEL: lambda _: [wire_order()]})
    (event,) = events
    assert isinstance(event, OrderStateReported)
    assert event.order.state == "open"
    # The late answer to its placing brings nothing new, its first fill does.
    filled = wire_order(filled_amount=40.0, last_update_timestamp=T0_MS + 1)
    assert [type(event) for event in venue.receive(changes([filled], [wire_trade()]))] == [OrderFilled]


def test_the_fills_of_an_order_come_before_its_state() -> None:
    done = wire_order(order_state="cancelled", filled_amount=40.0)
    venue, events = query({BY_LABEL: lambda _: [done], BY_ORDER: lambda _: [wire_trade()]})
    assert [type(event) for event in events] == [OrderFilled, OrderStateReported]
    assert events[0].is_backfill
    assert venue.receive(changes([done], [wire_trade()])) == []


def test_an_order_known_as_live_that_a_query_finds_done() -> None:
    venue = live()
    venue.receive(changes([wire_order()]))
    venue.answers |= {BY_LABEL: lambda _: [wire_order(order_state="cancelled", last_update_timestamp=T0_MS + 1)]}
    venue.session.query_order("a1", "BTC-PERPETUAL", venue.now_ns)
    venue.pump()
    assert [type(event) for event in venue.events()] == [OrderStateReported]
    assert venue.session._orders._orders == {}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({BY_LABEL: lambda _: [wire_order(label="other")]}, "the reply could not be read"),
        ({BY_LABEL: lambda _: None}, "the reply could not be read"),
        ({BY_LABEL: None}, "no answer in time"),
        ({BY_LABEL: lambda _: [wire_order(filled_amount=1.0)], BY_ORDER: None}, "no answer in time"),
        (
            {
                BY_LABEL: lambda _: [wire_order(filled_amount=1.0)],
                BY_ORDER: lambda _: [wire_trade(order_id="BTC-2")],
            },
            "the reply could not be read",
        ),
    ],
)
def test_a_query_without_usable_answer_leaves_the_order_unknown(answers: dict[str, Any], reason: str) -> None:
    venue, events = query(answers)
    events += venue.pass_time(5 * S)
    assert [event for event in events if not isinstance(event, VenueErrorReported)] == [OrderQueryFailed("a1", reason)]
    assert venue.session._accounts._queried == {}


def test_a_query_about_an_unknown_symbol() -> None:
    venue = live()
    venue.session.query_order("a1", "DOGE-PERPETUAL", venue.now_ns)
    assert venue.events() == [OrderQueryFailed("a1", "unknown symbol DOGE-PERPETUAL")]
