"""Deribit's frames as typed structs, and their conversion to venue-neutral events.

Only the fields that are used are named, so the decoder skips the rest. A field that is missing, null, of another
type (a number as a string) or out of range is an error that names it; nothing is ever taken for zero.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from protocols.venues.events import (
    InstrumentKind,
    InstrumentListed,
    OrderFilled,
    OrderState,
    PortfolioReported,
    PositionState,
    Side,
    VenueOrderState,
)
from protocols.venues.fields import DECODE_ERRORS as DECODE_ERRORS
from protocols.venues.fields import MAX_TIMESTAMP_MS as MAX_TIMESTAMP_MS
from protocols.venues.fields import NS_PER_MS as NS_PER_MS
from protocols.venues.fields import FieldError as FieldError
from protocols.venues.fields import since_epoch_ns as since_epoch_ns
from protocols.venues.trade_tape import PublicTrade

# A double holds 15 significant digits exactly; larger numbers are no price or amount of any market.
MAX_NUMBER: Final = 1e15
MAX_CACHED_NUMBERS: Final = 65_536

_decimals: dict[float, Decimal] = {}


def decimal(number: float) -> Decimal:
    """Return the number as the venue wrote it: repr() gives back any text of up to 15 digits.

    Prices and amounts recur, and a look-up costs an eighth of a conversion.
    """
    try:
        return _decimals[number]
    except KeyError:
        if not -MAX_NUMBER < number < MAX_NUMBER:
            raise FieldError(f"number out of range: {number}") from None
        if len(_decimals) >= MAX_CACHED_NUMBERS:
            _decimals.clear()
        value = _decimals[number] = Decimal(repr(number))
        return value


# -- envelope


class ErrorDetail(msgspec.Struct, gc=False):
    reason: str = ""
    param: str = ""


class ErrorBody(msgspec.Struct, gc=False):
    code: int
    message: str
    data: msgspec.Raw = msgspec.Raw()


class Params(msgspec.Struct, gc=False):
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw()
    type: str = ""  # of a heartbeat


class Envelope(msgspec.Struct, gc=False):
    id: int | None = None
    method: str = ""
    params: Params | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None


class IdOnly(msgspec.Struct, gc=False):
    id: int


class AuthResult(msgspec.Struct, gc=False):
    access_token: str
    refresh_token: str
    expires_in: int

    def __repr__(self) -> str:
        return f"AuthResult(expires_in={self.expires_in})"


# -- private

# "market_price" stands for the price of a triggered market order.
WirePrice: TypeAlias = float | str


class OrderWire(msgspec.Struct, gc=False):
    order_id: str
    order_state: VenueOrderState
    instrument_name: str
    direction: Side
    amount: float
    filled_amount: float
    price: WirePrice
    last_update_timestamp: int
    label: str = ""
    replaced: bool = False
    reduce_only: bool = False
    cancel_reason: str = ""
    trigger_price: float | None = None
    trigger_order_id: str = ""  # of an order that a trigger order has become


class TradeWire(msgspec.Struct, gc=False):
    trade_id: str
    order_id: str
    instrument_name: str
    direction: Side
    amount: float
    price: float
    fee: float
    fee_currency: str
    liquidity: Literal["M", "T"]
    timestamp: int
    label: str = ""
    self_trade: bool = False
    order_type: str = ""  # "liquidation": the order is the venue's own
    liquidation: str = ""  # whose side was liquidated: M, T, MT


class PositionWire(msgspec.Struct, gc=False):
    instrument_name: str
    size: float
    direction: Literal["buy", "sell", "zero"]
    average_price: float


class PortfolioWire(msgspec.Struct, gc=False):
    currency: str
    equity: float
    margin_balance: float
    initial_margin: float
    maintenance_margin: float
    available_funds: float
    margin_model: str = ""


class OrderAndTrades(msgspec.Struct, gc=False):
    order: OrderWire
    trades: list[TradeWire]


class Changes(msgspec.Struct, gc=False):
    orders: list[OrderWire]
    trades: list[TradeWire]
    positions: list[PositionWire] = []


class OrderReply(msgspec.Struct, gc=False):
    """A whole frame, read in one go: the reply to an order or an edit. An `error` beside a result is not read here."""

    id: int
    result: OrderAndTrades
    error: msgspec.Raw = msgspec.Raw()


class ChangesParams(msgspec.Struct, gc=False):
    channel: str
    data: Changes


class ChangesNotice(msgspec.Struct, gc=False):
    """A whole frame, read in one go: a notification of CHANGES_CHANNEL."""

    method: str
    params: ChangesParams
    id: int | None = None


class TradePage(msgspec.Struct, gc=False):
    trades: list[TradeWire]
    has_more: bool


class AccountSummaries(msgspec.Struct, gc=False):
    summaries: list[PortfolioWire]


# -- public


class TickStepWire(msgspec.Struct, gc=False):
    above_price: float
    tick_size: float


class InstrumentWire(msgspec.Struct, gc=False):
    instrument_name: str
    kind: Literal["future", "option", "spot"]
    instrument_type: Literal["reversed", "linear"]
    price_index: str
    base_currency: str
    quote_currency: str
    settlement_currency: str
    tick_size: float
    min_trade_amount: float
    contract_size: float
    maker_commission: float
    taker_commission: float
    is_active: bool
    expiration_timestamp: int | None = None
    settlement_period: str = ""
    tick_size_steps: list[TickStepWire] = []
    strike: float | None = None
    option_type: Literal["call", "put"] | None = None


class InstrumentKindWire(msgspec.Struct, gc=False):
    instrument_name: str
    kind: str


class TickerWire(msgspec.Struct, gc=False):
    instrument_name: str
    mark_price: float
    index_price: float
    timestamp: int
    state: str = "open"
    mark_iv: float | None = None
    underlying_price: float | None = None
    interest_rate: float | None = None
    best_bid_price: float | None = None
    best_ask_price: float | None = None
    min_price: float | None = None
    max_price: float | None = None


LevelWire: TypeAlias = tuple[Literal["new", "change", "delete"], float, float]


class BookWire(msgspec.Struct, gc=False):
    type: Literal["snapshot", "change"]
    timestamp: int
    instrument_name: str
    change_id: int
    bids: list[LevelWire]
    asks: list[LevelWire]
    prev_change_id: int | None = None


class PublicTradeWire(msgspec.Struct, gc=False):
    trade_id: str
    instrument_name: str
    direction: Side
    price: float
    amount: float
    timestamp: int


class IndexWire(msgspec.Struct, gc=False):
    index_name: str
    price: float
    timestamp: int


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
ID_ONLY: Final = msgspec.json.Decoder(IdOnly)
ERROR_DETAIL: Final = msgspec.json.Decoder(ErrorDetail)
AUTH: Final = msgspec.json.Decoder(AuthResult)
CHANNELS: Final = msgspec.json.Decoder(list[str])
ORDER: Final = msgspec.json.Decoder(OrderWire)
ORDERS: Final = msgspec.json.Decoder(list[OrderWire])
ORDER_AND_TRADES: Final = msgspec.json.Decoder(OrderAndTrades)
CHANGES: Final = msgspec.json.Decoder(Changes)
ORDER_REPLY: Final = msgspec.json.Decoder(OrderReply)
CHANGES_NOTICE: Final = msgspec.json.Decoder(ChangesNotice)
TRADE_PAGE: Final = msgspec.json.Decoder(TradePage)
# The trades of one order come as a bare list, or as a page where the venue has changed that.
ORDER_TRADES: Final = msgspec.json.Decoder(list[TradeWire] | TradePage)
POSITIONS: Final = msgspec.json.Decoder(list[PositionWire])
PORTFOLIO: Final = msgspec.json.Decoder(PortfolioWire)
SUMMARIES: Final = msgspec.json.Decoder(AccountSummaries)
RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
INSTRUMENT: Final = msgspec.json.Decoder(InstrumentWire)
INSTRUMENT_KIND: Final = msgspec.json.Decoder(InstrumentKindWire)
TICKER: Final = msgspec.json.Decoder(TickerWire)
BOOK: Final = msgspec.json.Decoder(BookWire)
PUBLIC_TRADES: Final = msgspec.json.Decoder(list[PublicTradeWire])
INDEX: Final = msgspec.json.Decoder(IndexWire)


# -- conversion


def error_text(error: ErrorBody) -> str:
    """Return what the venue says of an error, with its reason and the parameter where it names them."""
    try:
        detail = ERROR_DETAIL.decode(error.data) if error.data else ErrorDetail()
    except DECODE_ERRORS:
        detail = ErrorDetail()
    return ": ".join(part for part in (error.message, detail.reason, detail.param) if part)


def order_price(price: WirePrice) -> Decimal | None:
    """Return the limit price, None for an order that has none."""
    if type(price) is float:
        return decimal(price)
    if price == "market_price":
        return None
    raise FieldError(f"price: {str(price)[:40]!r} is not a number")


def order_state(order: OrderWire) -> OrderState:
    quantity, filled = decimal(order.amount), decimal(order.filled_amount)
    if quantity <= 0 or filled < 0:
        raise FieldError(f"amount {quantity}, filled_amount {filled}")
    return OrderState(
        order.label,
        order.order_id,
        order.instrument_name,
        order.direction,
        order.order_state,
        quantity,
        filled,
        order_price(order.price),
        order.reduce_only,
        since_epoch_ns(order.last_update_timestamp),
        trigger_price(order),
    )


def trigger_price(order: OrderWire) -> Decimal | None:
    """Return the price that a stop at rest waits for, None for any other order."""
    if order.trigger_price is None or order.order_state != "untriggered":
        return None
    return decimal(order.trigger_price)


def order_filled(trade: TradeWire, label: str, is_backfill: bool) -> OrderFilled:
    quantity = decimal(trade.amount)
    if quantity <= 0:
        raise FieldError(f"amount: {quantity} traded")
    return OrderFilled(
        label,
        trade.order_id,
        trade.instrument_name,
        fill_id(trade),
        trade.direction,
        quantity,
        decimal(trade.price),
        decimal(trade.fee),
        trade.fee_currency,
        trade.liquidity == "M",
        since_epoch_ns(trade.timestamp),
        is_backfill,
        trade.order_type == "liquidation" or trade.liquidity in trade.liquidation,
    )


def fill_id(trade: TradeWire) -> str:
    """Name the trade; when both sides are ours it fills two orders under one id, so each side gets its own."""
    return f"{trade.trade_id}/{trade.liquidity}" if trade.self_trade else trade.trade_id


def position_state(position: PositionWire) -> PositionState:
    """Return the position with its sign, which the venue gives twice: both must agree where both are given."""
    size = decimal(position.size)
    if position.direction == "zero":
        if size:
            raise FieldError(f"size: {size} in direction zero")
    elif position.direction == "sell":
        size = -abs(size)
    elif size < 0:
        raise FieldError(f"size: {size} in direction buy")
    return PositionState(position.instrument_name, size, decimal(position.average_price))


def portfolio_reported(portfolio: PortfolioWire) -> PortfolioReported:
    return PortfolioReported(
        portfolio.currency,
        decimal(portfolio.equity),
        decimal(portfolio.margin_balance),
        decimal(portfolio.initial_margin),
        decimal(portfolio.maintenance_margin),
        decimal(portfolio.available_funds),
        portfolio.margin_model,
    )


def instrument_listed(wire: InstrumentWire) -> InstrumentListed:
    tick, lot, size = decimal(wire.tick_size), decimal(wire.min_trade_amount), decimal(wire.contract_size)
    steps = tuple((decimal(step.above_price), decimal(step.tick_size)) for step in wire.tick_size_steps)
    for field, value in (("tick_size", tick), ("min_trade_amount", lot), ("contract_size", size)):
        if value <= 0:
            raise FieldError(f"{field}: {value}")
    if any(step <= 0 for _, step in steps):
        raise FieldError(f"tick_size_steps: {steps}")
    is_option = wire.kind == "option"
    if is_option and (wire.strike is None or wire.strike <= 0 or wire.option_type is None):
        raise FieldError("strike, option_type: an option needs both")
    expiration_ms = wire.expiration_timestamp
    has_end = wire.kind != "spot" and wire.settlement_period != "perpetual"
    if has_end and (expiration_ms is None or not 0 < expiration_ms < MAX_TIMESTAMP_MS):
        raise FieldError(f"expiration_timestamp: {expiration_ms}")
    kind: InstrumentKind = "perpetual" if wire.kind == "future" and not has_end else wire.kind
    return InstrumentListed(
        symbol=wire.instrument_name,
        kind=kind,
        is_inverse=wire.instrument_type == "reversed",
        underlying=wire.price_index,
        base_currency=wire.base_currency,
        quote_currency=wire.quote_currency,
        settlement_currency=wire.settlement_currency,
        tick_size=tick,
        tick_steps=tuple(sorted(steps)),
        min_trade_amount=lot,
        contract_size=size,
        strike=decimal(wire.strike) if is_option and wire.strike is not None else None,
        option_type=wire.option_type if is_option else None,
        expiration_ns=expiration_ms * NS_PER_MS if has_end and expiration_ms is not None else None,
        maker_fee=decimal(wire.maker_commission),
        taker_fee=decimal(wire.taker_commission),
        is_open=wire.is_active,
    )


def public_trade(wire: PublicTradeWire) -> PublicTrade:
    """Return a trade between others; `direction` is the taker's."""
    if wire.amount <= 0.0:
        raise FieldError(f"amount: {wire.amount} traded")
    is_buy, time_ns = wire.direction == "buy", since_epoch_ns(wire.timestamp)
    return PublicTrade(wire.trade_id, decimal(wire.price), decimal(wire.amount), is_buy, time_ns)


def levels(wire: list[LevelWire]) -> list[tuple[Decimal, Decimal]]:
    """Return (price, amount) pairs, amount 0 for a deleted level."""
    pairs = []
    for action, price, amount in wire:
        if action == "delete":
            pairs.append((decimal(price), _ZERO))
        elif amount > 0.0:
            pairs.append((decimal(price), decimal(amount)))
        else:
            raise FieldError(f"amount: {amount} at {price} for {action}")
    return pairs


_ZERO: Final = Decimal(0)
