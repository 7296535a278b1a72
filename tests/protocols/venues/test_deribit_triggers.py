"""Stop orders on Deribit: their frames, the change of id when they trigger, and answers that were overtaken."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from protocols.errors import LocalProtocolError
from protocols.venues.deribit_encode import edit_body, place_body
from protocols.venues.events import (
    Event,
    OpenOrdersReported,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderReplaced,
    OrderStateReported,
    OrderTriggered,
)
from tests.protocols.venues.fake_deribit import T0_MS, changes, reply, wire_order, wire_trade
from tests.protocols.venues.order_desk import D, asked, of, placed, quiet

STOP = {"order_id": "SLMB-1", "order_state": "untriggered", "trigger_price": 51_000.0}
CHILD = {"order_id": "BTC-7", "trigger_order_id": "SLMB-1", "last_update_timestamp": T0_MS + 1}
TERMS = {"order_type": "stop_limit", "trigger": ("mark_price", "51000.0")}
LEFT = {"order_id": "SLMB-1", "order_state": "triggered", "last_update_timestamp": T0_MS + 1}


def stopped(venue: Any) -> None:
    """A stop at rest, and its acknowledgement taken."""
    (accepted,) = venue.receive(reply(placed(venue, **TERMS), {"order": wire_order(**STOP), "trades": []}))
    assert accepted == OrderAccepted("a1", "SLMB-1", "BTC-PERPETUAL", "buy", D(100), D(50000), T0_MS * 1_000_000)
    venue.sent.clear()


@pytest.mark.parametrize("order_type", ["stop_limit", "stop_market"])
@pytest.mark.parametrize("trigger", ["mark_price", "last_price", "index_price"])
def test_the_frame_of_a_stop(order_type: str, trigger: str) -> None:
    price = "50000.5" if order_type == "stop_limit" else None
    body = place_body(
        "a1", "BTC-PERPETUAL", True, "10", price, order_type, "good_til_cancelled", False, False, (trigger, b"51000")
    )
    params = orjson.loads("{" + body)["params"]
    assert (params["type"], params["trigger"], params["trigger_price"]) == (order_type, trigger, 51_000)
    assert params.get("price") == (50_000.5 if price else None)


@pytest.mark.parametrize(
    ("order_type", "price", "trigger"),
    [
        ("stop_limit", "5", None),
        ("stop_market", None, None),
        ("stop_limit", None, ("mark_price", "5")),
        ("stop_market", "5", ("mark_price", "5")),
        ("limit", "5", ("mark_price", "5")),
        ("market", None, ("mark_price", "5")),
        ("stop_limit", "5", ("best_bid", "5")),
        ("stop_limit", "5", ("mark_price", "0")),
        ("take_limit", "5", ("mark_price", "5")),
    ],
)
def test_what_is_no_stop_is_not_sent(order_type: str, price: str | None, trigger: tuple[str, str] | None) -> None:
    with pytest.raises(LocalProtocolError):
        place_body("a1", "X", True, "10", price, order_type, "good_til_cancelled", False, False, trigger)


def test_an_edit_may_move_the_trigger() -> None:
    assert orjson.loads("{" + edit_body("SLMB-1", "10", "5", trigger_price="6"))["params"]["trigger_price"] == 6
    assert "trigger_price" not in orjson.loads("{" + edit_body("SLMB-1", "10", "5"))["params"]


@pytest.mark.parametrize("orders", [[LEFT, CHILD], [CHILD, LEFT], [CHILD]])
def test_a_trigger_is_one_event_whatever_is_told_first(orders: list[dict[str, Any]]) -> None:
    venue = quiet()
    stopped(venue)
    told = venue.receive(changes([wire_order(**order) for order in orders]))
    assert told == [OrderTriggered("a1", "BTC-7", "SLMB-1")]
    assert venue.receive(changes([wire_order(**LEFT), wire_order(**CHILD)])) == []
    trade = wire_trade(order_id="BTC-7", amount=100.0)
    done = wire_order(**CHILD | {"order_state": "filled", "filled_amount": 100.0, "last_update_timestamp": T0_MS + 2})
    (fill,) = venue.receive(changes([done], [trade]))
    assert isinstance(fill, OrderFilled) and fill.label == "a1"


def test_a_trigger_told_before_the_stops_acknowledgement() -> None:
    venue = quiet()
    request = placed(venue, **TERMS)
    assert venue.receive(changes([wire_order(**LEFT), wire_order(**CHILD)])) == [
        OrderTriggered("a1", "BTC-7", "SLMB-1")
    ]
    assert venue.receive(reply(request, {"order": wire_order(**STOP), "trades": []})) == []


@pytest.mark.parametrize("state", ["cancelled", "rejected"])
def test_a_stop_that_ends_without_triggering(state: str) -> None:
    venue = quiet()
    stopped(venue)
    ended = wire_order(**STOP | {"order_state": state, "cancel_reason": "why", "last_update_timestamp": T0_MS + 1})
    assert venue.receive(changes([ended])) == [OrderCancelled("a1", "SLMB-1", "why", D(0))]


def test_a_reply_that_says_triggered_says_nothing_of_what_it_became() -> None:
    venue = quiet()
    *_, unknown = venue.receive(reply(placed(venue, **TERMS), {"order": wire_order(**LEFT), "trades": []}))
    assert unknown == OrderOutcomeUnknown("a1", "place", "the reply could not be read")


def test_a_moved_trigger_is_told_as_a_change() -> None:
    venue = quiet()
    stopped(venue)
    moved = STOP | {"trigger_price": 52_000.0, "last_update_timestamp": T0_MS + 1, "replaced": True}
    told = OrderReplaced("a1", "SLMB-1", D(100), D(50000), D(52000))
    assert venue.receive(changes([wire_order(**moved)])) == [told]
    venue.session.replace("a1", "SLMB-1", "100", "50000", venue.now_ns, trigger_price="53000")
    answer = wire_order(**moved | {"trigger_price": 53_000.0, "last_update_timestamp": T0_MS + 2})
    assert venue.receive(reply(asked(venue, "private/edit"), {"order": answer, "trades": []})) == [
        OrderReplaced("a1", "SLMB-1", D(100), D(50000), D(53000))
    ]


def answered(venue: Any, orders: list[dict[str, Any]]) -> list[Event]:
    venue.session.query_order("a1", "BTC-PERPETUAL", venue.now_ns)
    request = asked(venue, "private/get_order_state_by_label")
    told: list[Event] = venue.receive(reply(request, orders))
    return told


@pytest.mark.parametrize("is_reversed", [True, False])
def test_an_answer_by_label_is_of_what_the_stop_became(is_reversed: bool) -> None:
    venue = quiet()
    venue.answers["private/get_order_state_by_label"] = None
    orders = [wire_order(**LEFT), wire_order(**CHILD)]
    (state,) = answered(venue, orders[::-1] if is_reversed else orders)
    assert isinstance(state, OrderStateReported)
    assert (state.order.venue_order_id, state.order.state) == ("BTC-7", "open")
    (state,) = answered(venue, [wire_order(**LEFT)])
    assert isinstance(state, OrderStateReported) and state.order.state == "triggered"


def test_a_stop_at_rest_tells_what_it_waits_for() -> None:
    venue = quiet()
    venue.answers["private/get_order_state_by_label"] = None
    (state,) = answered(venue, [wire_order(**STOP)])
    assert isinstance(state, OrderStateReported) and state.order.trigger_price == D(51000)
    venue.session.disconnected(venue.now_ns)
    venue.events()
    venue.open_orders = [wire_order(**CHILD)]
    (report,) = of(venue.connect(), OpenOrdersReported)
    assert report.orders[0].venue_order_id == "BTC-7" and report.orders[0].trigger_price is None


def test_an_answer_that_the_end_has_overtaken_is_dropped() -> None:
    venue = quiet()
    venue.answers["private/get_order_state_by_label"] = None
    venue.receive(reply(placed(venue), {"order": wire_order(), "trades": []}))
    venue.session.query_order("a1", "BTC-PERPETUAL", venue.now_ns)
    request = asked(venue, "private/get_order_state_by_label")
    venue.receive(changes([wire_order(order_state="cancelled", last_update_timestamp=T0_MS + 1)]))
    assert venue.receive(reply(request, [wire_order()])) == []


def test_a_list_of_open_orders_that_an_end_has_overtaken_leaves_it_out() -> None:
    venue = quiet()
    venue.receive(reply(placed(venue), {"order": wire_order(), "trades": []}))
    venue.answers["private/get_open_orders"] = None
    venue.session.reconcile(venue.now_ns)
    requests = {request["method"]: request["id"] for request in venue.pump()}
    venue.receive(changes([wire_order(order_state="cancelled", last_update_timestamp=T0_MS + 1)]))
    other = wire_order(order_id="BTC-2", label="a2")
    (report,) = of(venue.receive(reply(requests["private/get_open_orders"], [wire_order(), other])), OpenOrdersReported)
    assert [order.venue_order_id for order in report.orders] == ["BTC-2"]
