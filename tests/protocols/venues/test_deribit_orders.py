"""Orders: every outcome, in every order of reply and notification, once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.venues import deribit_orders
from protocols.venues.deribit_tables import VERDICTS, verdict
from protocols.venues.events import (
    CancelRejected,
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
    VenueErrorReported,
)
from tests.protocols.venues.fake_deribit import (
    T0_MS,
    changes,
    refusal,
    reply,
    wire_order,
    wire_trade,
)
from tests.protocols.venues.order_desk import D, S, asked, of, placed, quiet, resting

ACCEPTED = OrderAccepted("a1", "BTC-1", "BTC-PERPETUAL", "buy", D(100), D(50000), T0_MS * 1_000_000)
FILLED = OrderFilled(
    "a1", "BTC-1", "BTC-PERPETUAL", "t1", "buy", D(40), D(50000), D("-8E-8"), "BTC", True, (T0_MS + 1) * 1_000_000
)


# -- placing


def test_the_frame_of_an_order() -> None:
    venue = quiet()
    placed(venue, is_buy=False, price=None, order_type="market", time_in_force="immediate_or_cancel", reduce_only=True)
    assert venue.sent[-1] == {
        "jsonrpc": "2.0",
        "id": venue.sent[-1]["id"],
        "method": "private/sell",
        "params": {
            "instrument_name": "BTC-PERPETUAL",
            "amount": 100,
            "type": "market",
            "time_in_force": "immediate_or_cancel",
            "label": "a1",
            "reduce_only": True,
        },
    }
    placed(venue, post_only=True)
    assert venue.sent[-1]["params"] == {
        "instrument_name": "BTC-PERPETUAL",
        "amount": 100,
        "type": "limit",
        "time_in_force": "good_til_cancelled",
        "label": "a1",
        "price": 50000.0,
        "post_only": True,
        "reject_post_only": True,
    }


def test_what_can_not_be_sent_costs_nothing() -> None:
    venue = quiet()
    for wrong in ({"symbol": "DOGE-PERPETUAL"}, {"quantity": "1e5"}, {"order_type": "stop"}, {"price": "-1"}):
        for _ in range(30):
            with pytest.raises(LocalProtocolError):
                placed(venue, **wrong)
    assert venue.session.can_send_order(venue.now_ns)
    assert venue.session.frames_to_send() == []
    placed(venue)


def test_a_resting_order_is_accepted_once() -> None:
    venue = quiet()
    request_id = placed(venue)
    assert venue.receive(reply(request_id, {"order": wire_order(), "trades": []})) == [ACCEPTED]
    assert venue.receive(changes([wire_order()])) == []


@pytest.mark.parametrize("code", [*sorted(VERDICTS), 424242])
def test_every_refusal_of_each_request_is_definite_or_unknown_by_the_table(code: int) -> None:
    venue = quiet()
    is_definite = verdict(code).is_definite
    events = venue.receive(refusal(placed(venue), code, "why", {"reason": "because", "param": "amount"}))
    assert events[0] == OrderRejected("a1", code, "why: because: amount", is_definite)
    venue = quiet()
    venue.session.replace("a1", "BTC-1", "10", "5", venue.now_ns)
    events = venue.receive(refusal(asked(venue, "private/edit"), code, "why"))
    assert events[0] == ReplaceRejected("a1", code, "why", is_definite)
    venue = quiet()
    venue.session.cancel("a1", "BTC-1", venue.now_ns)
    events = venue.receive(refusal(asked(venue, "private/cancel"), code, "why"))
    assert events[0] == CancelRejected("a1", code, "why", is_definite, "BTC-1")


def test_an_order_rejected_in_its_reply() -> None:
    venue = quiet()
    order = wire_order(order_state="rejected", cancel_reason="post_only")
    assert venue.receive(reply(placed(venue), {"order": order, "trades": []})) == [
        OrderRejected("a1", 0, "post_only", True)
    ]


def test_fills_in_the_reply_and_the_cancelled_rest() -> None:
    venue = quiet()
    order = wire_order(order_state="cancelled", filled_amount=40.0)
    assert venue.receive(reply(placed(venue), {"order": order, "trades": [wire_trade()]})) == [
        ACCEPTED,
        FILLED,
        OrderCancelled("a1", "BTC-1", "cancelled", D(40)),
    ]


@pytest.mark.parametrize(
    "result",
    [
        {"order": wire_order(label="other"), "trades": []},
        {"order": wire_order(instrument_name="ETH-PERPETUAL"), "trades": []},
        {"order": wire_order(), "trades": [wire_trade(order_id="BTC-2")]},
        {"order": wire_order(amount=0.0), "trades": []},
        {"order": wire_order(filled_amount=-1.0), "trades": []},
        {"order": wire_order(amount="100"), "trades": []},
        {"order": wire_order(price=None), "trades": []},
        {"order": wire_order(price="none"), "trades": []},
        {"order": wire_order(order_state="asleep"), "trades": []},
        {"order": wire_order(amount=1e300), "trades": []},
        {"order": {k: v for k, v in wire_order().items() if k != "filled_amount"}, "trades": []},
        {"order": wire_order()},
        {"order": None, "trades": []},
        [],
        None,
    ],
)
def test_a_reply_that_can_not_be_right_leaves_the_outcome_unknown(result: Any) -> None:
    """Fault 33: counted, named, and never an order or a fill made of it."""
    venue = quiet()
    errors, unknown = venue.receive(reply(placed(venue), result))
    assert isinstance(errors, VenueErrorReported)
    assert unknown == OrderOutcomeUnknown("a1", "place", "the reply could not be read")
    assert venue.session.malformed_frames == 1


def test_a_reply_with_neither_result_nor_error() -> None:
    venue = quiet()
    request_id = placed(venue)
    assert venue.receive(b'{"jsonrpc":"2.0","id":%d}' % request_id) == [
        VenueErrorReported(0, "result: missing", "reply to place"),
        OrderOutcomeUnknown("a1", "place", "the reply could not be read"),
    ]


def test_a_reply_whose_envelope_is_broken_is_matched_by_its_id() -> None:
    venue = quiet()
    request_id = placed(venue)
    frame = b'{"jsonrpc":"2.0","id":%d,"error":{"code":"10009"}}' % request_id
    error, unknown = venue.receive(frame)
    assert "$.error.code" in error.message  # type: ignore[union-attr]
    assert unknown == OrderOutcomeUnknown("a1", "place", "the reply could not be read")


# -- reply and notification in either order, repeated


def story() -> tuple[list[tuple[str, Any]], list[Event]]:
    """An order that fills at once in part, then in full, as reply and notifications; and what is to be told."""
    first = wire_order(filled_amount=40.0, last_update_timestamp=T0_MS + 1)
    last = wire_order(filled_amount=100.0, order_state="filled", last_update_timestamp=T0_MS + 2)
    one = wire_trade(timestamp=T0_MS + 1)
    two = wire_trade(trade_id="t2", amount=60.0, timestamp=T0_MS + 2)
    messages = [
        ("reply", {"order": first, "trades": [one]}),
        ("changes", ([first], [one])),
        ("changes", ([last], [two])),
    ]
    return messages, []


@pytest.mark.parametrize("order", [p for p in itertools.permutations(range(3)) if p.index(1) < p.index(2)])
@pytest.mark.parametrize("repeats", [1, 2])
def test_fills_are_told_once_in_every_order_of_reply_and_notification(order: tuple[int, ...], repeats: int) -> None:
    venue = quiet()
    request_id = placed(venue)
    messages, _ = story()
    events: list[Event] = []
    for index in order:
        kind, content = messages[index]
        for _ in range(repeats):
            frame = reply(request_id, content) if kind == "reply" else changes(*content)
            events += venue.receive(frame)
    told = of(events, OrderAccepted, OrderFilled, OrderCancelled, OrderRejected, OrderReplaced, OrderOutcomeUnknown)
    assert [type(event) for event in told] == [OrderAccepted, OrderFilled, OrderFilled]
    assert [event.trade_id for event in told[1:]] == ["t1", "t2"]
    assert sum(event.quantity for event in told[1:]) == 100
    venue.pass_time(5 * S)
    assert venue.sent[-1]["method"] == "private/buy"  # nothing is missing, so nothing is asked


@settings(max_examples=80, deadline=None)
@given(st.permutations([0, 0, 1, 1, 2, 2, 3, 3]), st.integers(0, 8))
def test_each_trade_is_told_once_whatever_the_order_and_repetition(order: list[int], reply_at: int) -> None:
    """Fault 34, 35: also when notifications overtake each other, and fills come after the cancel."""
    venue = quiet()
    request_id = placed(venue)
    trades = [wire_trade(trade_id=f"t{i}", amount=10.0, timestamp=T0_MS + i) for i in range(3)]
    orders = [wire_order(filled_amount=10.0 * (i + 1), last_update_timestamp=T0_MS + i) for i in range(3)]
    frames = [changes([orders[i]], [trades[i]]) for i in range(3)]
    frames.append(changes([wire_order(filled_amount=30.0, order_state="cancelled", last_update_timestamp=T0_MS + 3)]))
    events: list[Event] = []
    for i, index in enumerate(order):
        if i == reply_at:
            events += venue.receive(reply(request_id, {"order": wire_order(), "trades": []}))
        events += venue.receive(frames[index])
    told = of(events, OrderAccepted, OrderFilled, OrderCancelled, OrderReplaced)
    assert [type(event) for event in told].count(OrderAccepted) == 1
    assert isinstance(told[0], OrderAccepted)
    assert sorted(event.trade_id for event in of(told, OrderFilled)) == ["t0", "t1", "t2"]
    assert of(told, OrderCancelled) == [OrderCancelled("a1", "BTC-1", "cancelled", D(30))]
    assert len(told) == 5


def test_the_memory_of_trades_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit_orders, "MAX_TRADE_IDS", 3)
    venue = quiet()
    for i in range(10):
        venue.receive(changes(trades=[wire_trade(trade_id=f"t{i}")]))
    assert len(venue.session._orders._trade_ids) == 3
    assert venue.receive(changes(trades=[wire_trade(trade_id="t9")])) == []
    assert venue.session._orders.duplicate_fills == 1


def test_both_sides_of_a_trade_with_oneself_are_told() -> None:
    venue = quiet()
    maker = wire_trade(self_trade=True)
    taker = wire_trade(self_trade=True, liquidity="T", order_id="BTC-2", direction="sell")
    told = of(venue.receive(changes(trades=[maker, taker, maker])), OrderFilled)
    assert [(event.trade_id, event.side) for event in told] == [("t1/M", "buy"), ("t1/T", "sell")]


def test_orders_that_are_not_ours_are_told_without_label() -> None:
    venue = quiet()
    order = {key: value for key, value in wire_order(order_id="BTC-9").items() if key != "label"}
    (event,) = venue.receive(changes([order]))
    assert (event.label, event.venue_order_id) == ("", "BTC-9")  # type: ignore[union-attr]


def test_a_market_order_that_waits_has_no_price() -> None:
    venue = quiet()
    (event,) = venue.receive(changes([wire_order(price="market_price", order_state="untriggered")]))
    assert event.price is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "trade",
    [
        wire_trade(amount=0.0),
        wire_trade(amount=-1.0),
        wire_trade(amount="40"),
        wire_trade(price=None),
        wire_trade(trade_id=None),
        wire_trade(trade_id=17),
        wire_trade(liquidity="X"),
        wire_trade(direction="long"),
        wire_trade(fee=None),
        wire_trade(price=1e300),
        {k: v for k, v in wire_trade().items() if k != "fee_currency"},
    ],
)
def test_a_trade_that_can_not_be_right_is_reported_and_asked_for(trade: dict[str, Any]) -> None:
    venue = quiet()
    resting(venue)
    events = venue.receive(changes([], [trade]))
    assert of(events, OrderFilled) == []
    assert isinstance(events[0], VenueErrorReported)
    assert events[0].context == "user.changes.any.any.raw"
    assert [request["method"] for request in venue.sent] == [
        "private/get_user_trades_by_currency",
        "private/get_transaction_log",
        "private/get_open_orders",
        "private/get_positions",
        "private/get_account_summaries",
    ]
    assert venue.session.is_live


def test_a_trade_that_does_not_fit_its_order_is_told_and_reported() -> None:
    """Fault 35, overfill: the position follows the venue, and a person hears of it."""
    venue = quiet()
    resting(venue)
    events = venue.receive(changes([], [wire_trade(amount=140.0)]))
    assert [type(event) for event in events] == [OrderFilled, VenueErrorReported]
    assert "140.0 of 100.0 filled" in events[1].message  # type: ignore[union-attr]


# -- fills that the order counts and nobody has seen


def test_a_missing_fill_is_asked_for_after_a_grace() -> None:
    venue = quiet()
    resting(venue)
    venue.answers["private/get_user_trades_by_order"] = lambda _: [wire_trade()]
    assert venue.receive(changes([wire_order(filled_amount=40.0, last_update_timestamp=T0_MS + 1)])) == []
    assert venue.session.deadline_ns == venue.now_ns + S
    (event,) = venue.pass_time(S)
    assert venue.sent[-1]["params"] == {"order_id": "BTC-1", "sorting": "asc"}
    assert event.trade_id == "t1"  # type: ignore[union-attr]
    assert event.is_backfill  # type: ignore[union-attr]


def test_a_fill_that_is_only_late_is_not_asked_for() -> None:
    venue = quiet()
    resting(venue)
    venue.receive(changes([wire_order(filled_amount=40.0, last_update_timestamp=T0_MS + 1)]))
    venue.receive(changes([], [wire_trade()]))
    assert venue.pass_time(S) == []
    assert venue.sent == []


@pytest.mark.parametrize("answer", [[], {"trades": [], "has_more": False}])
def test_a_fill_that_stays_missing_is_reported(answer: Any) -> None:
    venue = quiet()
    resting(venue)
    venue.answers["private/get_user_trades_by_order"] = lambda _: answer
    done = wire_order(filled_amount=100.0, order_state="filled", last_update_timestamp=T0_MS + 1)
    venue.receive(changes([done]))
    assert venue.pass_time(S) == [VenueErrorReported(0, "trades: fewer than the order's filled_amount", "BTC-1")]


# -- bounds


def test_live_and_done_orders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit_orders, "MAX_LIVE_ORDERS", 3)
    monkeypatch.setattr(deribit_orders, "MAX_DONE_ORDERS", 2)
    venue = quiet()
    for i in range(9):
        venue.receive(changes([wire_order(order_id=f"BTC-{i}")]))
    assert list(venue.session._orders._orders) == ["BTC-6", "BTC-7", "BTC-8"]
    assert list(venue.session._orders._done) == ["BTC-4", "BTC-5"]
