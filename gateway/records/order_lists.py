"""Journal records of lists of orders. Part of gateway.records; tags 37 to 41 and 47."""

from __future__ import annotations

from gateway.records.base import Record
from gateway.records.orders import OrderRefused


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


class ListOrderRefused(OrderRefused, frozen=True, tag=47):
    """The same of an order of a list."""

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


OrderListRecord = ListReceived | ListPlaced | ListOrderRefused | ListRefused | ListCancelRequested | ListStatusAsked
