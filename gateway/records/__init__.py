"""What the journal holds: a record for each decision and each execution, from which all state is rebuilt.

A record is a msgspec struct, written as a MessagePack array whose first element is its tag. Fields may be added at the
end with a default and nothing else may change, so that an older journal stays readable. Numbers are integers.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from gateway.records.base import Record
from gateway.records.clearing import ClearingRecord
from gateway.records.guards import GuardMoved, GuardRecord, PartyActionTaken
from gateway.records.holds import HoldApproved, HoldRecord, HoldRefused
from gateway.records.margin import CollateralRefused, MarginCallAnswered, MarginRecord
from gateway.records.operator import LimitMoved, OperatorRecord
from gateway.records.orders import (
    ExternalFill,
    ExternalFillReversed,
    ListCancelRequested,
    ListPlaced,
    ListReceived,
    ListRefused,
    ListStatusAsked,
    MassCancelRefused,
    MassCancelRequested,
    MassStatusAsked,
    OrderExpiring,
    OrderRestated,
    OrderTriggered,
    TradeBusted,
    TradeCorrected,
    TradesAsked,
)
from gateway.records.parameters import ParameterRecord, ParametersProposed
from gateway.records.settlements import SettlementRecord
from gateway.records.transfers import TransferRecord

__all__ = [
    "TAGS",
    "AccountOpened",
    "AccountStateMoved",
    "AnyRecord",
    "BreakRaised",
    "CancelRefused",
    "CancelRequested",
    "Cancelled",
    "CashMoved",
    "CollateralRefused",
    "ExternalFill",
    "ExternalFillReversed",
    "Filled",
    "GatewayStarted",
    "GuardMoved",
    "HoldApproved",
    "HoldRefused",
    "InstrumentListed",
    "LimitMoved",
    "ListCancelRequested",
    "ListOrderRefused",
    "ListPlaced",
    "ListReceived",
    "ListRefused",
    "ListStatusAsked",
    "MarginCallAnswered",
    "MassCancelRefused",
    "MassCancelRequested",
    "MassStatusAsked",
    "MessageRefused",
    "OrderApproved",
    "OrderApprovedWithTerms",
    "OrderExpiring",
    "OrderLost",
    "OrderRefused",
    "OrderRestated",
    "OrderTriggered",
    "ParametersProposed",
    "PartyActionTaken",
    "Record",
    "ReplaceRequested",
    "Replaced",
    "SessionMoved",
    "SessionOpened",
    "StatusAsked",
    "TradeBusted",
    "TradeCorrected",
    "TradesAsked",
    "VenueAccepted",
    "VenueRejected",
    "decode",
    "encode",
]


class GatewayStarted(Record, frozen=True, tag=1):
    """A process took over this journal. Its time is the prefix of its OrderIDs."""

    version: str
    run: str


class AccountOpened(Record, frozen=True, tag=2):
    """An account appeared in the configuration."""

    account: str
    currency: str


class CashMoved(Record, frozen=True, tag=3):
    """Money came in or went out, in units of 1e-8."""

    account: str
    currency: str
    units: int
    reason: str


class InstrumentListed(Record, frozen=True, tag=4):
    """An instrument was listed by its venue, or listed again with other terms. Decimals as text."""

    index: int
    symbol: str
    venue: str
    kind: int
    is_inverse: bool
    underlying: str
    base_currency: str
    quote_currency: str
    settlement_currency: str
    tick_size: str
    lot_size: str
    contract_size: str
    tick_steps: tuple[tuple[str, str], ...]
    maker_fee: str
    taker_fee: str
    strike: str | None
    is_call: bool | None
    expiry_ns: int | None
    is_open: bool


class SessionMoved(Record, frozen=True, tag=5):
    """A FIX session's next numbers after administrative traffic; orders and reports carry their own."""

    session: str
    next_in: int
    next_out: int


class AccountStateMoved(Record, frozen=True, tag=6):
    """An account was halted, restricted to reduction, or set trading again."""

    account: str
    state: str
    reason: str


class BreakRaised(Record, frozen=True, tag=7):
    """Our book and the venue's differ, or the venue told what can not be; nothing is ever corrected by itself."""

    venue: str
    symbol: str
    text: str


class SessionOpened(Record, frozen=True, tag=8):
    """A FIX session of the configuration, at each start; CompIDs as we see them, and the accounts it may use.

    `routing`: our SubID and LocationID, then the client's; empty where none is set.
    """

    session: str
    begin_string: str
    sender_comp_id: str
    target_comp_id: str
    accounts: tuple[str, ...] = ()
    routing: tuple[str, ...] = ()
    timestamp_digits: int = 3
    kind: str = "orders"
    reports_pending: bool = False


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


class ListOrderRefused(OrderRefused, frozen=True, tag=47):
    """The same of an order of a list."""

    list_id: str


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


class MessageRefused(Record, frozen=True, tag=16):
    """An application message that could not be taken at all: BusinessMessageReject(j) follows."""

    session: str
    seq_in: int
    ref_msg_type: str
    reason: int
    ref_id: str
    text: str


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


class VolatileSent(Record, frozen=True, tag=50):
    """A FIX session's next numbers after a batch of messages that are neither kept nor made again: gateway.volatile."""

    session: str
    next_in: int
    next_out: int


class NewsPublished(Record, frozen=True, tag=51):
    """News(B) for the sessions that were logged on; `urgency` is FIX's: 0 normal, 1 flash, 2 background."""

    sessions: tuple[str, ...]
    headline: str
    lines: tuple[str, ...]
    urgency: int


class SessionRenewed(Record, frozen=True, tag=55):
    """Sequence numbers are of a new session from here on: by schedule, ResetSeqNumFlag(141) or reset_on_logon.

    `is_reset`: they begin at 1; else a schedule was introduced, and they are taken to be of the session that is on.
    `as_of_ns` is 0 without a schedule.
    """

    session: str
    is_reset: bool
    as_of_ns: int


class MessageDelayed(Record, frozen=True, tag=56):
    """A client's message came faster than its throttle allows; it counts as received and waits for its turn."""

    session: str
    seq_in: int
    raw: bytes


class MessageReleased(Record, frozen=True, tag=57):
    """A delayed message was acted on, and what was decided has no record of its own."""

    session: str
    seq_in: int


class SessionEnded(Record, frozen=True, tag=58):
    """A client is gone with orders working; they are cancelled at `cancel_at_ns`, unless it is back by then."""

    session: str
    cancel_at_ns: int


class GraceEnded(Record, frozen=True, tag=59):
    """The client is back, and keeps its orders; or it is not, and they have been cancelled."""

    session: str
    is_resumed: bool
    cancels: int


class Killed(Record, frozen=True, tag=60):
    """A person stopped something: no new orders, and all that works is marked as cancelled. Only a person lifts it.

    `accounts` are those of a firm or a desk at that time.
    """

    scope: str
    name: str
    who: str
    reason: str
    accounts: tuple[str, ...] = ()


class Reinstated(Record, frozen=True, tag=61):
    """A person lifted a kill."""

    scope: str
    name: str
    who: str
    reason: str


AnyRecord = (
    GatewayStarted
    | AccountOpened
    | CashMoved
    | InstrumentListed
    | SessionMoved
    | AccountStateMoved
    | BreakRaised
    | SessionOpened
    | OrderApproved
    | OrderRefused
    | CancelRequested
    | ReplaceRequested
    | CancelRefused
    | StatusAsked
    | MessageRefused
    | VenueAccepted
    | VenueRejected
    | OrderLost
    | Filled
    | Cancelled
    | Replaced
    | OrderApprovedWithTerms
    | OrderTriggered
    | OrderExpiring
    | OrderRestated
    | MassCancelRequested
    | MassCancelRefused
    | MassStatusAsked
    | ListReceived
    | ListPlaced
    | ListOrderRefused
    | ListRefused
    | ListCancelRequested
    | ListStatusAsked
    | TradeBusted
    | TradeCorrected
    | ExternalFill
    | ExternalFillReversed
    | TradesAsked
    | VolatileSent
    | NewsPublished
    | SessionRenewed
    | MessageDelayed
    | MessageReleased
    | SessionEnded
    | GraceEnded
    | Killed
    | Reinstated
    | HoldRecord
    | GuardRecord
    | MarginRecord
    | ClearingRecord
    | ParameterRecord
    | OperatorRecord
    | TransferRecord
    | SettlementRecord
)

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(AnyRecord).decode


def _tag(record_type: type[Record]) -> int:
    tag = record_type.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


# The record's type number in the journal.
TAGS: Final[dict[type[Record], int]] = {record_type: _tag(record_type) for record_type in get_args(AnyRecord)}
