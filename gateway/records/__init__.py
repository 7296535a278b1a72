"""What the journal holds: a record for each decision and each execution, from which all state is rebuilt.

A record is a msgspec struct, written as a MessagePack array whose first element is its tag. Fields may be added at the
end with a default and nothing else may change, so that an older journal stays readable. Numbers are integers.

The modules hold them by what they tell of; those that several packages speak of are named here too.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from gateway.records.base import Record
from gateway.records.book import (
    AccountOpened,
    AccountStateMoved,
    BookRecord,
    BreakRaised,
    CashMoved,
    GatewayStarted,
    InstrumentListed,
)
from gateway.records.clearing import ClearingRecord
from gateway.records.guards import GuardMoved, GuardRecord, PartyActionTaken
from gateway.records.holds import HoldApproved, HoldRecord, HoldRefused
from gateway.records.margin import CollateralRefused, MarginCallAnswered, MarginRecord
from gateway.records.mass_requests import MassCancelRefused, MassCancelRequested, MassRequestRecord, MassStatusAsked
from gateway.records.operator import Killed, LimitMoved, OperatorRecord, Reinstated
from gateway.records.order_lists import (
    ListCancelRequested,
    ListOrderRefused,
    ListPlaced,
    ListReceived,
    ListRefused,
    ListStatusAsked,
    OrderListRecord,
)
from gateway.records.orders import (
    Cancelled,
    CancelRefused,
    CancelRequested,
    Filled,
    OrderApproved,
    OrderApprovedWithTerms,
    OrderExpiring,
    OrderLost,
    OrderRecord,
    OrderRefused,
    OrderRestated,
    OrderTriggered,
    Replaced,
    ReplaceRequested,
    StatusAsked,
    VenueAccepted,
    VenueRejected,
)
from gateway.records.parameters import ParameterRecord, ParametersProposed
from gateway.records.sessions import (
    GraceEnded,
    MessageDelayed,
    MessageRefused,
    MessageReleased,
    NewsPublished,
    SessionEnded,
    SessionMoved,
    SessionOpened,
    SessionRecord,
    SessionRenewed,
    VolatileSent,
)
from gateway.records.settlements import SettlementRecord
from gateway.records.trades import (
    ExternalFill,
    ExternalFillReversed,
    TradeBusted,
    TradeCorrected,
    TradeRecord,
    TradesAsked,
)
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
    "GraceEnded",
    "GuardMoved",
    "HoldApproved",
    "HoldRefused",
    "InstrumentListed",
    "Killed",
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
    "MessageDelayed",
    "MessageRefused",
    "MessageReleased",
    "NewsPublished",
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
    "Reinstated",
    "ReplaceRequested",
    "Replaced",
    "SessionEnded",
    "SessionMoved",
    "SessionOpened",
    "SessionRenewed",
    "StatusAsked",
    "TradeBusted",
    "TradeCorrected",
    "TradesAsked",
    "VenueAccepted",
    "VenueRejected",
    "VolatileSent",
    "decode",
    "encode",
]

AnyRecord = (
    BookRecord
    | SessionRecord
    | OrderRecord
    | MassRequestRecord
    | OrderListRecord
    | TradeRecord
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
