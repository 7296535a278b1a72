"""Binance's streams as typed structs: what the market and the account say by themselves.

Field names are the venue's own letters, said in its documentation of each event. Only those that are used are named.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

SideWire: TypeAlias = Literal["BUY", "SELL"]
# A level is price and amount; the levels of a book are read by levels.py.
LEVEL_TEXTS: Final = 2


# -- market streams


class Depth(msgspec.Struct, gc=False, tag_field="e", tag="depthUpdate"):
    s: str
    E: int
    U: int
    u: int
    b: msgspec.Raw
    a: msgspec.Raw
    T: int = 0
    pu: int = -1


class BookTicker(msgspec.Struct, gc=False, tag_field="e", tag="bookTicker"):
    s: str
    u: int
    b: str
    B: str
    a: str
    A: str
    E: int
    T: int = 0


class AggTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    s: str
    a: int
    p: str
    q: str
    T: int
    m: bool


class Trade(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool
    X: str = "MARKET"


class Mark(msgspec.Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    s: str
    E: int
    p: str
    r: str
    T: int
    i: str = ""


class IndexUpdate(msgspec.Struct, gc=False, tag_field="e", tag="indexPriceUpdate"):
    i: str
    E: int
    p: str


class ForceOrderBody(msgspec.Struct, gc=False):
    s: str
    S: SideWire
    l: str  # noqa: E741
    ap: str
    T: int


class ForceOrder(msgspec.Struct, gc=False, tag_field="e", tag="forceOrder"):
    E: int
    o: ForceOrderBody


# -- the user data stream


class OrderBody(msgspec.Struct, gc=False):
    s: str
    c: str
    S: SideWire
    q: str
    p: str
    x: str
    X: str
    i: int
    l: str  # noqa: E741
    z: str
    L: str
    T: int
    t: int
    m: bool
    R: bool
    N: str | None = None
    n: str | None = None
    er: str = ""


class OrderUpdate(msgspec.Struct, gc=False, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    E: int
    T: int
    o: OrderBody


class BalanceBody(msgspec.Struct, gc=False):
    a: str
    wb: str


class PositionBody(msgspec.Struct, gc=False):
    s: str
    pa: str
    ep: str
    ps: str = "BOTH"


class AccountBody(msgspec.Struct, gc=False):
    B: list[BalanceBody]
    P: list[PositionBody]
    m: str = ""


class AccountUpdate(msgspec.Struct, gc=False, tag_field="e", tag="ACCOUNT_UPDATE"):
    E: int
    a: AccountBody


class MarginCallBody(msgspec.Struct, gc=False):
    s: str


class MarginCall(msgspec.Struct, gc=False, tag_field="e", tag="MARGIN_CALL"):
    E: int
    p: list[MarginCallBody]


class KeyExpired(msgspec.Struct, gc=False, tag_field="e", tag="listenKeyExpired"):
    E: int


class TradeLite(msgspec.Struct, gc=False, tag_field="e", tag="TRADE_LITE"):
    """A fill without its fee; the ORDER_TRADE_UPDATE that follows it has all."""

    s: str
    i: int
    t: int


class ConfigUpdate(msgspec.Struct, gc=False, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    E: int


class AlgoUpdate(msgspec.Struct, gc=False, tag_field="e", tag="ALGO_UPDATE"):
    """A conditional order, which are not placed here; when it triggers, its order is told of as any."""

    E: int


class StrategyUpdate(msgspec.Struct, gc=False, tag_field="e", tag="STRATEGY_UPDATE"):
    E: int


class GridUpdate(msgspec.Struct, gc=False, tag_field="e", tag="GRID_UPDATE"):
    E: int


class TriggerReject(msgspec.Struct, gc=False, tag_field="e", tag="CONDITIONAL_ORDER_TRIGGER_REJECT"):
    E: int


class Shutdown(msgspec.Struct, gc=False, tag_field="e", tag="serverShutdown"):
    E: int


StreamEvent: TypeAlias = (
    Depth
    | BookTicker
    | AggTrade
    | Trade
    | Mark
    | IndexUpdate
    | ForceOrder
    | OrderUpdate
    | AccountUpdate
    | MarginCall
    | KeyExpired
    | TradeLite
    | ConfigUpdate
    | AlgoUpdate
    | StrategyUpdate
    | GridUpdate
    | TriggerReject
    | Shutdown
)


# An all-symbols stream (!markPrice@arr) sends many at once.
StreamEvents: TypeAlias = StreamEvent | list[StreamEvent]


class ErrorBody(msgspec.Struct, gc=False):
    code: int
    msg: str = ""


class StreamFrame(msgspec.Struct, gc=False):
    """A frame of a stream: an event in a combined stream's wrapping, or the reply to a control request."""

    data: StreamEvents | msgspec.UnsetType = msgspec.UNSET
    stream: str = ""
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None


class SpotTicker(msgspec.Struct, gc=False):
    """The spot market's bookTicker, which does not say what it is, nor when it was written."""

    s: str
    u: int
    b: str
    B: str
    a: str
    A: str


class SpotTickerFrame(msgspec.Struct, gc=False):
    data: SpotTicker
    stream: str


class LimitWire(msgspec.Struct, gc=False):
    rateLimitType: str  # noqa: N815
    interval: str
    intervalNum: int  # noqa: N815
    limit: int
    count: int = 0


class ApiReply(msgspec.Struct, gc=False):
    """A reply of the WebSocket API."""

    id: int | None
    status: int
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None
    rateLimits: list[LimitWire] = []  # noqa: N815


class IdOnly(msgspec.Struct, gc=False):
    id: int


STREAM: Final = msgspec.json.Decoder(StreamFrame)
EVENT: Final[msgspec.json.Decoder[StreamEvents]] = msgspec.json.Decoder(StreamEvents)
SPOT_TICKER: Final = msgspec.json.Decoder(SpotTickerFrame)
API_REPLY: Final = msgspec.json.Decoder(ApiReply)
ID_ONLY: Final = msgspec.json.Decoder(IdOnly)
ERROR: Final = msgspec.json.Decoder(ErrorBody)
