"""Journal records of trades beside fills: busts, corrections, what was filled elsewhere, requests for reports.

Part of gateway.records, which has the rules for them; tags 42 to 46.
"""

from __future__ import annotations

from gateway.records.base import Record


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


TradeRecord = TradeBusted | TradeCorrected | ExternalFill | ExternalFillReversed | TradesAsked
