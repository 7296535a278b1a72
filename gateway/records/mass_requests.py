"""Journal records of requests about many orders at once. Part of gateway.records; tags 34 to 36."""

from __future__ import annotations

from gateway.records.base import Record


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


MassRequestRecord = MassCancelRequested | MassCancelRefused | MassStatusAsked
