"""Cancels and replaces: answered once, whoever else is at the order."""

from __future__ import annotations

import itertools

import pytest

from protocols.errors import LocalProtocolError
from protocols.venues import deribit_orders
from protocols.venues.events import (
    CancelRejected,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderReplaced,
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
from tests.protocols.venues.order_desk import D, S, asked, of, quiet, resting

FILLED = OrderFilled(
    "a1", "BTC-1", "BTC-PERPETUAL", "t1", "buy", D(40), D(50000), D("-8E-8"), "BTC", True, (T0_MS + 1) * 1_000_000
)


# -- cancelling


def test_a_cancel_is_answered_once() -> None:
    for first, second in itertools.permutations(["reply", "changes"]):
        venue = quiet()
        resting(venue)
        venue.session.cancel("a1", "BTC-1", venue.now_ns)
        request_id = asked(venue, "private/cancel")
        order = wire_order(order_state="cancelled", cancel_reason="user_request", last_update_timestamp=T0_MS + 1)
        frames = {"reply": reply(request_id, order), "changes": changes([order])}
        events = venue.receive(frames[first]) + venue.receive(frames[second])
        assert events == [OrderCancelled("a1", "BTC-1", "user_request", D(0))]


def test_a_cancel_of_an_order_not_seen_before() -> None:
    venue = quiet()
    venue.session.cancel("a1", "BTC-1", venue.now_ns)
    order = wire_order(order_state="cancelled", filled_amount=40.0)
    assert venue.receive(reply(asked(venue, "private/cancel"), order)) == [
        OrderCancelled("a1", "BTC-1", "cancelled", D(40))
    ]
    assert venue.pass_time(S) == []


def test_a_cancel_that_loses_to_a_fill() -> None:
    """Fault 37."""
    venue = quiet()
    resting(venue)
    venue.session.cancel("a1", "BTC-1", venue.now_ns)
    request_id = asked(venue, "private/cancel")
    events = venue.receive(refusal(request_id, 11044, "not_open_order"))
    done = wire_order(order_state="filled", filled_amount=40.0, amount=40.0, last_update_timestamp=T0_MS + 1)
    events += venue.receive(changes([done], [wire_trade()]))
    assert [type(event) for event in events] == [CancelRejected, OrderReplaced, OrderFilled]


def test_a_cancel_about_another_order_is_unknown() -> None:
    venue = quiet()
    venue.session.cancel("a1", "BTC-1", venue.now_ns)
    order = wire_order(order_id="BTC-2", order_state="cancelled")
    _, unknown = venue.receive(reply(asked(venue, "private/cancel"), order))
    assert unknown == OrderOutcomeUnknown("a1", "cancel", "the reply could not be read")


def test_cancels_that_wait_are_told_of_when_the_connection_is_lost() -> None:
    venue = quiet()
    for i in range(22):
        venue.session.cancel(f"a{i}", f"BTC-{i}", venue.now_ns)
    venue.pump()
    venue.session.disconnected(venue.now_ns)
    assert of(venue.events(), CancelRejected) == [
        CancelRejected(f"a{i}", 0, "connection lost before the cancel was sent", True, f"BTC-{i}") for i in (20, 21)
    ]


def test_waiting_cancels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit_orders, "MAX_WAITING_CANCELS", 2)
    venue = quiet()
    for i in range(22):
        venue.session.cancel(f"a{i}", f"BTC-{i}", venue.now_ns)
    with pytest.raises(LocalProtocolError, match="2 cancels are waiting"):
        venue.session.cancel("over", "BTC-99", venue.now_ns)
    with pytest.raises(LocalProtocolError, match="not an order id"):
        venue.session.cancel("x", 'a"b', venue.now_ns)


def test_cancel_all_and_its_unknown_outcome() -> None:
    venue = quiet()
    resting(venue)
    assert venue.session.cancel_all(venue.now_ns)
    request_id = asked(venue, "private/cancel_all")
    assert venue.receive(reply(request_id, 1)) == []
    assert venue.session.cancel_all(venue.now_ns)
    venue.pump()
    assert venue.pass_time(5 * S) == [VenueErrorReported(0, "outcome unknown: no answer in time", "cancel_all")]


# -- replacing


REPLACED = OrderReplaced("a1", "BTC-1", D(200), D(50001))


@pytest.mark.parametrize("order", list(itertools.permutations(["reply", "changes"])))
def test_a_replace_is_told_once_by_its_reply(order: tuple[str, str]) -> None:
    venue = quiet()
    resting(venue)
    venue.session.replace("a1", "BTC-1", "200", "50001", venue.now_ns)
    request_id = asked(venue, "private/edit")
    assert venue.sent[-1]["params"] == {"order_id": "BTC-1", "amount": 200, "price": 50001}
    edited = wire_order(amount=200.0, price=50001.0, replaced=True, last_update_timestamp=T0_MS + 1)
    frames = {"reply": reply(request_id, {"order": edited, "trades": []}), "changes": changes([edited])}
    events = [event for name in order for event in venue.receive(frames[name])]
    assert events == [REPLACED]
    # A notification from before the edit changes nothing back.
    assert venue.receive(changes([wire_order(last_update_timestamp=T0_MS + 1)])) == []


def test_a_replace_that_changes_nothing_or_crosses() -> None:
    venue = quiet()
    resting(venue)
    venue.session.replace("a1", "BTC-1", "100", "50000", venue.now_ns)
    same = wire_order(replaced=True, filled_amount=40.0)
    events = venue.receive(reply(asked(venue, "private/edit"), {"order": same, "trades": [wire_trade()]}))
    assert events == [OrderReplaced("a1", "BTC-1", D(100), D(50000)), FILLED]


def test_a_replace_of_an_order_not_seen_before() -> None:
    venue = quiet()
    venue.session.replace("a1", "BTC-1", "200", "50001", venue.now_ns)
    edited = wire_order(amount=200.0, price=50001.0, replaced=True, filled_amount=40.0)
    assert venue.receive(reply(asked(venue, "private/edit"), {"order": edited, "trades": []})) == [REPLACED]
    assert venue.pass_time(S) == []


def test_a_change_by_someone_else_is_told_at_once() -> None:
    venue = quiet()
    resting(venue)
    edited = wire_order(amount=200.0, price=50001.0, replaced=True, last_update_timestamp=T0_MS + 1)
    assert venue.receive(changes([edited])) == [REPLACED]


def test_after_a_refused_or_lost_replace_changes_are_told_again() -> None:
    venue = quiet()
    resting(venue)
    venue.session.replace("a1", "BTC-1", "150", "50002", venue.now_ns)
    venue.receive(refusal(asked(venue, "private/edit"), 10043))
    venue.session.replace("a1", "BTC-1", "160", "50002", venue.now_ns)
    venue.pump()
    assert of(venue.pass_time(5 * S), OrderOutcomeUnknown) == [
        OrderOutcomeUnknown("a1", "replace", "no answer in time")
    ]
    edited = wire_order(amount=200.0, price=50001.0, replaced=True, last_update_timestamp=T0_MS + 1)
    assert venue.receive(changes([edited])) == [REPLACED]


def test_a_replace_states_the_flags_again() -> None:
    venue = quiet()
    resting(venue)
    venue.session.replace("a1", "BTC-1", "200", "50001", venue.now_ns, post_only=True, reduce_only=True)
    asked(venue, "private/edit")
    assert venue.sent[-1]["params"] == {
        "order_id": "BTC-1",
        "amount": 200,
        "price": 50001,
        "post_only": True,
        "reject_post_only": True,
        "reduce_only": True,
    }


def test_malformed_replaces_cost_nothing() -> None:
    venue = quiet()
    for order_id, quantity, price in [('"', "1", "1"), ("1", "0", "1"), ("1", "1", "nan")]:
        with pytest.raises(LocalProtocolError):
            venue.session.replace("a1", order_id, quantity, price, venue.now_ns)
    assert venue.session.frames_to_send() == []
