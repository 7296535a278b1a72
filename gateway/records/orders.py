"""Journal records of what goes beyond one order and its fills: many orders at once, terms, corrections, trade reports.

Part of gateway.records, which has the rules for them; tags 31 to 49.
"""

from __future__ import annotations

from gateway.records.base import Record


class OrderTriggered(Record, frozen=True, tag=31):
    """A stop's price came: it works at the venue under another id from now on."""

    order_id: str
    venue_order_id: str


class OrderExpiring(Record, frozen=True, tag=32):
    """The time of a GTD order has come: its cancel is on its way, and ends it as expired."""

    order_id: str


class OrderRestated(Record, frozen=True, tag=33):
    """The venue has changed an order that nobody here asked to change; `stop_ticks` is 0 for none."""

    order_id: str
    lots: int
    ticks: int
    stop_ticks: int


class MassCancelRequested(Record, frozen=True, tag=34):
    """All working orders within the scope are to be cancelled; the ledger marks them when the record is applied.

    `accounts` are those of the session, or the one that was named; the other fields restrict where they are not empty.
    """

    session: str
    seq_in: int
    cl_ord_id: str
    request_type: str
    accounts: tuple[str, ...]
    symbol: str
    underlying: str
    security_type: str
    side: int


class MassCancelRefused(Record, frozen=True, tag=35):
    """An OrderMassCancelRequest(q) that could not be understood or is not supported."""

    session: str
    seq_in: int
    cl_ord_id: str
    request_type: str
    reason: str
    text: str


class MassStatusAsked(Record, frozen=True, tag=36):
    """A client asked for the status of many orders: the scope is that of MassCancelRequested.

    With a `text` nothing is told but that.
    """

    session: str
    seq_in: int
    request_id: str
    accounts: tuple[str, ...]
    symbol: str
    underlying: str
    security_type: str
    side: int
    text: str


class ListReceived(Record, frozen=True, tag=37):
    """A list of orders was taken up; a record of each of them follows, and ListPlaced after the last.

    `orders` are (ClOrdID, Account, Symbol, Side) as the client sent them.
    """

    session: str
    seq_in: int
    list_id: str
    orders: tuple[tuple[str, str, str, str], ...]


class ListPlaced(Record, frozen=True, tag=38):
    """Every order of a list was decided on: its first ListStatus(N) follows."""

    session: str
    list_id: str


class ListRefused(Record, frozen=True, tag=39):
    """A list of orders was refused as a whole; nothing of it was placed."""

    session: str
    seq_in: int
    list_id: str
    orders: int
    text: str


class ListCancelRequested(Record, frozen=True, tag=40):
    """All working orders of a list are to be cancelled; the ledger marks them when the record is applied."""

    session: str
    seq_in: int
    list_id: str


class ListStatusAsked(Record, frozen=True, tag=41):
    """A client asked how a list stands, or is told instead of what it asked for; `text` says why, where it is."""

    session: str
    seq_in: int
    list_id: str
    text: str = ""


class TradeBusted(Record, frozen=True, tag=42):
    """A trade was annulled: what Filled booked for it is taken back, exactly. `exec_ref` is ExecID(17) of the fill."""

    order_id: str
    venue: str
    trade_id: str
    lots: int
    ticks: int
    fee_units: int
    exec_ref: int
    reason: str


class TradeCorrected(Record, frozen=True, tag=43):
    """A trade was changed: what is booked for it is taken back, and the new values are booked."""

    order_id: str
    venue: str
    trade_id: str
    lots: int
    ticks: int
    fee_units: int
    new_lots: int
    new_ticks: int
    new_fee_units: int
    exec_ref: int
    reason: str


class ExternalFill(Record, frozen=True, tag=44):
    """A fill elsewhere that another system reported: booked once by (session, exec_id), and by trade id where given.

    One that `corrects` another, by its exec_id, takes its place.
    """

    session: str
    seq_in: int
    exec_id: str
    trade_id: str
    account: str
    instrument: int
    side: int
    lots: int
    ticks: int
    fee_units: int
    corrects: str = ""


class ExternalFillReversed(Record, frozen=True, tag=45):
    """An external fill was taken back by its reporter, who names it by ExecRefID(19)."""

    session: str
    seq_in: int
    exec_id: str
    exec_ref: str


class TradesAsked(Record, frozen=True, tag=46):
    """A client asked for trade reports, once or from now on (`subscription` as SubscriptionRequestType(263), or empty).

    Empty fields and 0 do not restrict. `result` is TradeRequestResult(749): where that is not 0, nothing else is told.
    """

    session: str
    seq_in: int
    request_id: str
    request_type: str
    subscription: str
    symbol: str
    side: int
    account: str
    order_id: str
    cl_ord_id: str
    trade_id: str
    exec_id: str
    from_ns: int
    to_ns: int
    result: int
    text: str
