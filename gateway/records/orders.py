"""Journal records of one order, from its check to its end.

Part of gateway.records, which has the rules for them; tags 10 to 15, 20 to 25 and 30 to 33.
"""

from __future__ import annotations

from gateway.records.base import Record


class OrderApproved(Record, frozen=True, tag=10):
    """An order passed every check and is about to be held and sent."""

    session: str
    seq_in: int
    order_id: str
    cl_ord_id: str
    account: str
    instrument: int
    side: int
    lots: int
    ticks: int
    ord_type: int
    time_in_force: int
    is_post_only: bool
    is_reduce_only: bool
    checks_run: int


class OrderApprovedWithTerms(OrderApproved, frozen=True, tag=30):
    """The same of an order that is more than a price: a stop, one with an end, one of a list (risk.order.Terms)."""

    stop_ticks: int
    trigger: str
    expire_ns: int
    list_id: str


class OrderRefused(Record, frozen=True, tag=11):
    """An order was refused by a check; the fields are what the client sent."""

    session: str
    seq_in: int
    cl_ord_id: bytes | None
    account: bytes | None
    symbol: bytes | None
    side: bytes | None
    ord_type: bytes | None
    quantity: bytes | None
    price: bytes | None
    reason: int
    check: str
    text: str
    limit: float | None
    observed: float | None
    required: float | None
    mark_age_ns: int | None


class CancelRequested(Record, frozen=True, tag=12):
    """A client (or, with no session, the gateway itself) wants an order cancelled."""

    session: str
    seq_in: int
    order_id: str
    cl_ord_id: str


class ReplaceRequested(Record, frozen=True, tag=13):
    """A replace passed every check; from here on the worst of both shapes is held (see risk.exposure)."""

    session: str
    seq_in: int
    order_id: str
    cl_ord_id: str
    lots: int
    ticks: int
    checks_run: int
    # Of an order with terms, 0 for none: what they will be.
    stop_ticks: int = 0
    expire_ns: int = 0


class CancelRefused(Record, frozen=True, tag=14):
    """A cancel or replace was refused, by us or by the venue (seq_in 0): OrderCancelReject(9) follows."""

    session: str
    seq_in: int
    order_id: str
    cl_ord_id: str
    orig_cl_ord_id: str
    is_replace: bool
    cxl_rej_reason: int
    text: str


class StatusAsked(Record, frozen=True, tag=15):
    """A client asked for an order's status; `order_id` is empty where there is no such order."""

    session: str
    seq_in: int
    order_id: str
    cl_ord_id: str
    symbol: str
    side: str


class VenueAccepted(Record, frozen=True, tag=20):
    """The venue acknowledged an order."""

    order_id: str
    venue_order_id: str


class VenueRejected(Record, frozen=True, tag=21):
    """The venue refused an order, or never knew it: its hold is released."""

    order_id: str
    code: int
    text: str


class OrderLost(Record, frozen=True, tag=22):
    """The answer to an order was lost: UNKNOWN, margin held, until the venue has answered by client id."""

    order_id: str


class OrderTriggered(Record, frozen=True, tag=31):
    """A stop's price came: it works at the venue under another id from now on."""

    order_id: str
    venue_order_id: str


class OrderRestated(Record, frozen=True, tag=33):
    """The venue has changed an order that nobody here asked to change; `stop_ticks` is 0 for none."""

    order_id: str
    lots: int
    ticks: int
    stop_ticks: int


class OrderExpiring(Record, frozen=True, tag=32):
    """The time of a GTD order has come: its cancel is on its way, and ends it as expired."""

    order_id: str


class Filled(Record, frozen=True, tag=23):
    """An execution; (venue, trade_id) is applied once. `traded_ns` is the venue's time of it, 0 if unknown."""

    order_id: str
    venue: str
    trade_id: str
    lots: int
    ticks: int
    fee_units: int
    is_maker: bool
    traded_ns: int = 0


class Cancelled(Record, frozen=True, tag=24):
    """The venue ended an order."""

    order_id: str
    reason: str


class Replaced(Record, frozen=True, tag=25):
    """The venue took a replace."""

    order_id: str
    orig_cl_ord_id: str
    session: str = ""


OrderRecord = (
    OrderApproved
    | OrderApprovedWithTerms
    | OrderRefused
    | CancelRequested
    | ReplaceRequested
    | CancelRefused
    | StatusAsked
    | VenueAccepted
    | VenueRejected
    | OrderLost
    | OrderTriggered
    | OrderRestated
    | OrderExpiring
    | Filled
    | Cancelled
    | Replaced
)
