"""The bounds of what is remembered of orders and of the market, and its corners."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocols.venues import market_data, order_tracker
from protocols.venues.books import BookRule, Link
from protocols.venues.codec import VenueCodec
from protocols.venues.events import (
    Event,
    InstrumentListed,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderReplaced,
    VenueErrorReported,
)
from protocols.venues.fields import FieldError
from protocols.venues.jsonrpc import Request
from protocols.venues.market_data import MarketData
from protocols.venues.order_tracker import OrderSeen, OrderTracker, TradeSeen
from protocols.venues.registry import CODECS, SETTINGS
from protocols.venues.requests import Kind
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.fake_deribit import session as deribit_session

D = Decimal


def seen(order_id: str = "1", **changes: Any) -> OrderSeen:
    terms: dict[str, Any] = {
        "order_id": order_id, "label": f"l{order_id}", "symbol": "X", "side": "buy", "state": "open",
        "quantity": D(10), "filled": D(0), "price": D(5), "updated_ns": 100,
    }  # fmt: skip
    return OrderSeen(**(terms | changes))


def trade(trade_id: str, order_id: str = "1", **changes: Any) -> TradeSeen:
    terms: dict[str, Any] = {
        "trade_id": trade_id, "order_id": order_id, "label": f"l{order_id}", "symbol": "X", "side": "buy",
        "quantity": D(1), "price": D(5), "fee": D(0), "fee_currency": "USD", "is_maker": True, "time_ns": 1,
    }  # fmt: skip
    return TradeSeen(**(terms | changes))


def tracker_of() -> tuple[OrderTracker, list[Event]]:
    events: list[Event] = []
    return OrderTracker(events), events


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_LIVE_ORDERS", "MAX_DONE_ORDERS", "MAX_TRADE_IDS", "MAX_PENDING"):
        monkeypatch.setattr(order_tracker, name, 3)
    tracker, _ = tracker_of()
    for n in range(9):
        tracker.sent_place(f"p{n}")
        tracker.sent_replace(f"l{n}", str(n), D(1), D(1))
        tracker.acknowledged(Request(Kind.CANCEL, label=f"l{n}", order_id=f"x{n}"), f"x{n}", 0)
        tracker.on_trade(trade(f"early{n}", f"unseen{n}"))
        tracker.on_order(seen(str(n)))
        tracker.on_trade(trade(f"t{n}", str(n)))
        held = tracker._places, tracker._changes, tracker._cancels, tracker._early, tracker._trade_ids
        assert all(len(one) <= 3 for one in held)
        assert len(tracker._orders) <= 3 and len(tracker._done) <= 3
    assert tracker.open_order_ids() == ["6", "7", "8"]


def test_an_older_snapshot_changes_nothing_back() -> None:
    tracker, events = tracker_of()
    tracker.on_order(seen())
    tracker.on_order(seen(quantity=D(8), updated_ns=200))
    tracker.on_order(seen(updated_ns=200))  # what it was before, told with the same time
    tracker.on_order(seen(updated_ns=150))
    tracker.on_order(seen(quantity=D(7), price=None, updated_ns=200))  # a second change at that time
    assert [event.quantity for event in events if isinstance(event, OrderReplaced)] == [8, 7]


def test_open_orders_after_a_disconnection() -> None:
    tracker, events = tracker_of()
    for n in "123":
        tracker.on_order(seen(n))
    tracker.on_disconnected()
    tracker.on_open_orders([seen("2"), seen("4", filled=D(3)), seen("4", filled=D(3))])
    assert tracker.open_order_ids() == ["2", "4"]
    tracker.on_open_orders([seen("1")])  # the list before was older than the order
    assert tracker.open_order_ids() == ["2", "4", "1"]
    tracker.on_queried(seen("1", state="filled"))
    tracker.on_queried(seen("2", state="cancelled"))
    tracker.on_queried(seen("5", filled=D(2)))
    tracker.on_queried(seen("6", state="filled", filled=D(10)))
    assert tracker.open_order_ids() == ["4", "5"]
    assert not [event for event in events if isinstance(event, OrderCancelled)]
    assert tracker.deadline_ns is None
    assert tracker.open_symbols() == {"X"}


@pytest.mark.parametrize("how", ["list", "query", "stream"])
def test_an_order_that_an_old_list_left_out_is_followed_to_its_end(how: str) -> None:
    """Found by seed 24 of four venues: the list was asked for, the order placed, the connection lost, and then the
    list's answer came. The order was given up, and its end told to nobody."""
    tracker, events = tracker_of()
    tracker.on_order(seen("1"))
    tracker.on_disconnected()
    tracker.on_open_orders([])
    assert tracker.open_order_ids() == []
    if how == "list":
        tracker.on_open_orders([seen("1")])
    elif how == "query":
        tracker.on_queried(seen("1"))
    over = seen("1", state="cancelled", updated_ns=200)
    tracker.on_order(over)
    tracker.close_done(over, 0)
    tracker.close_done(over, 0)
    assert [type(event) for event in events] == [OrderAccepted, OrderCancelled]
    tracker.on_order(seen("1"))  # what has ended is not followed again
    assert tracker.open_order_ids() == []


def test_a_rejected_order_that_was_first_accepted_is_cancelled() -> None:
    tracker, events = tracker_of()
    tracker.on_order(seen())
    late = seen(state="rejected", reason="no margin", updated_ns=200)
    tracker.on_order(late)
    tracker.close_done(late, 0)
    tracker.close_done(late, 0)
    assert [type(event) for event in events] == [OrderAccepted, OrderCancelled]


def test_acknowledgements_after_the_end() -> None:
    tracker, events = tracker_of()
    done = seen(state="filled", filled=D(10))
    tracker.on_order(done)
    tracker.on_trade(trade("t", quantity=D(10)))
    tracker.close_done(done, 0)
    tracker.acknowledged(Request(Kind.CANCEL, label="l1", order_id="1"), "1", 0)
    tracker.acknowledged(Request(Kind.REPLACE, label="l1", order_id="1"), "1", 0)
    tracker.acknowledged(Request(Kind.PLACE, label="l1"), "1", 0)
    tracker.replace_failed("1", 5, "x")
    tracker.expire(10**12)
    for kind in (Kind.PLACE, Kind.REPLACE):
        tracker.lost(Request(kind, label="l1", order_id="1"), "late")
    assert not [event for event in events if isinstance(event, OrderOutcomeUnknown)]
    assert tracker.due_shortfalls(10**12) == []


def test_trades_that_do_not_fit() -> None:
    tracker, events = tracker_of()
    tracker.on_order(seen())
    tracker.on_trade(trade("t1", symbol="Y"))
    assert isinstance(events[-1], VenueErrorReported)
    for wrong in ({"quantity": D(0)}, {"price": D(0)}, {"quantity": D(-1)}):
        with pytest.raises(FieldError):
            tracker.on_trade(trade("t2", **wrong))
    assert len([event for event in events if isinstance(event, OrderFilled)]) == 1


def terms(symbol: str, **changes: Any) -> InstrumentListed:
    values: dict[str, Any] = {
        "symbol": symbol, "kind": "perpetual", "is_inverse": False, "underlying": symbol, "base_currency": "B",
        "quote_currency": "Q", "settlement_currency": "Q", "tick_size": D(1), "tick_steps": (),
        "min_trade_amount": D(1), "contract_size": D(1), "strike": None, "option_type": None, "expiration_ns": None,
        "maker_fee": D(0), "taker_fee": D(0), "is_open": True,
    }  # fmt: skip
    return InstrumentListed(**(values | changes))


def test_the_market_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    reports: list[str] = []
    market = MarketData(
        events,
        lambda message, _: reports.append(message),
        is_wanted=lambda symbol: symbol != "unwanted",
        max_ahead_ns=0,
        rule_of=lambda _: BookRule(link=Link.COUNT),
    )
    monkeypatch.setattr(market_data, "MAX_INSTRUMENTS", 2)
    monkeypatch.setattr(market_data, "MAX_LISTED", 4)
    entries = [(terms(name), D(1)) for name in ("A", "B", "C", "unwanted", "D")]
    assert market.on_listing("all", entries) == ["A", "B"]
    assert len(reports) == 2
    assert market.unit("unwanted") == 1
    with pytest.raises(FieldError, match="not listed"):
        market.unit("D")
    assert market.on_listing("all", entries[:1], is_complete=False) == []
    assert market.open_symbols() == ["A", "B"]
    assert market.on_listing("all", [(terms("A", tick_size=D(2)), D(1))]) == []
    assert market.open_symbols() == ["A"]
    for name in ("A", "B"):
        market.on_index(name, 1.0, 1)
    with pytest.raises(FieldError, match="price indices"):
        market.on_index("C", 1.0, 1)
    with pytest.raises(FieldError, match="not listed"):
        market.parts("nobody")
    market.confirm_index("nobody", 5)


def test_all_venues_have_one_shape() -> None:
    keyring = Keyring("key", HmacSigner("secret"), "phrase")
    names = [name for name in dir(VenueCodec) if not name.startswith("_")]
    for name, make in CODECS.items():
        settings = SETTINGS.get(name)
        codec = deribit_session() if settings is None else make(settings(keyring=keyring, symbols=bool))
        assert all(hasattr(codec, attribute) for attribute in names), name
        assert codec.deadline_ns is None
        assert codec.state.value == "connecting"
        assert all(codec.frames_to_send(lane) == [] for lane in codec.lanes)
