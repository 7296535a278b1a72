"""A live venue and orders at rest in it, for the tests of orders, cancels and replaces."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from protocols.venues.events import Event
from tests.protocols.venues.fake_deribit import FakeDeribit, live, reply, wire_order

S = 1_000_000_000
D = Decimal
QUIET = dict.fromkeys(["private/buy", "private/sell", "private/edit", "private/cancel", "private/cancel_all"])


def quiet(**settings: Any) -> FakeDeribit:
    """Return a live venue that leaves orders unanswered."""
    venue = live(**settings)
    venue.answers |= QUIET
    return venue


def placed(venue: FakeDeribit, label: str = "a1", **changes: Any) -> int:
    """Place an order; return the request's id."""
    terms: dict[str, Any] = {
        "symbol": "BTC-PERPETUAL",
        "is_buy": True,
        "quantity": "100",
        "price": "50000.0",
        "order_type": "limit",
        "time_in_force": "good_til_cancelled",
        "post_only": False,
        "reduce_only": False,
    } | changes
    venue.session.place(label, now_ns=venue.now_ns, **terms)
    (request,) = venue.pump()
    request_id = request["id"]
    assert isinstance(request_id, int)
    return request_id


def resting(venue: FakeDeribit) -> None:
    """Place an order that rests, and take the events of that."""
    venue.receive(reply(placed(venue), {"order": wire_order(), "trades": []}))
    venue.sent.clear()


def asked(venue: FakeDeribit, method: str) -> int:
    (request,) = venue.pump()
    assert request["method"] == method
    return int(request["id"])


def of(events: list[Event], *kinds: type) -> list[Any]:
    return [event for event in events if isinstance(event, kinds)]
