"""Bybit's frames as typed structs, and their conversion to venue-neutral ones.

The venue writes numbers as texts, and an empty text for what is not there. Only the fields that are used are named.
A field that is missing, null, of another type or out of range is an error that names it.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from protocols.venues.bybit_tables import (
    CONTRACT_KINDS,
    MAKER_FEE,
    ORDER_STATES,
    OTHER_TYPES,
    TAKER_FEE,
    TRADE_TYPES,
)
from protocols.venues.client_ids import ClientIds
from protocols.venues.events import (
    BalanceState,
    InstrumentKind,
    InstrumentListed,
    MarginTier,
    MarginTiersListed,
    PortfolioReported,
    PositionState,
    Side,
    VenueOrderState,
)
from protocols.venues.fields import ONE, ZERO, FieldError, decimal_of, optional, positive, positive_real, time_of
from protocols.venues.order_tracker import OrderSeen, TradeSeen

# A level is price and amount; the levels of a book are read by levels.py.
LEVEL_TEXTS: Final = 2
SideWire: TypeAlias = Literal["Buy", "Sell"]
SIDES: Final[dict[str, Side]] = {"Buy": "buy", "Sell": "sell"}
MIN_OPTION_PARTS: Final = 4


# -- envelopes


class LimitHeader(msgspec.Struct, gc=False):
    limit: str = msgspec.field(name="X-Bapi-Limit", default="")
    left: str = msgspec.field(name="X-Bapi-Limit-Status", default="")
    reset: str = msgspec.field(name="X-Bapi-Limit-Reset-Timestamp", default="")


class Frame(msgspec.Struct, gc=False):
    """A topic's data, or the reply to an operation; the lanes spell the fields of replies differently."""

    topic: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()
    ts: int = 0
    cts: int = 0
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""
    retCode: int | None = None  # noqa: N815
    retMsg: str = ""  # noqa: N815
    reqId: str = ""  # noqa: N815
    header: LimitHeader | None = None


class CommandData(msgspec.Struct, gc=False, rename="camel"):
    fail_topics: list[str] = []


class IdOnly(msgspec.Struct, gc=False):
    reqId: str = ""  # noqa: N815
    req_id: str = ""


class Ack(msgspec.Struct, gc=False, rename="camel"):
    order_id: str
    order_link_id: str = ""


class Reply(msgspec.Struct, gc=False):
    """An answer of REST."""

    retCode: int  # noqa: N815
    retMsg: str = ""  # noqa: N815
    result: msgspec.Raw = msgspec.Raw(b"{}")


# -- public


class BookWire(msgspec.Struct, gc=False):
    s: str
    b: msgspec.Raw
    a: msgspec.Raw
    u: int
    seq: int = 0


class TradeWire(msgspec.Struct, gc=False):
    T: int
    s: str
    S: SideWire
    v: str
    p: str
    i: str


class TickerWire(msgspec.Struct, gc=False, rename="camel"):
    """All of it in a snapshot; in a delta, what has changed. An option's names for the same differ."""

    symbol: str
    mark_price: str = ""
    index_price: str = ""
    funding_rate: str = ""
    next_funding_time: str = ""
    bid1_price: str | None = msgspec.field(name="bid1Price", default=None)
    bid1_size: str | None = msgspec.field(name="bid1Size", default=None)
    ask1_price: str | None = msgspec.field(name="ask1Price", default=None)
    ask1_size: str | None = msgspec.field(name="ask1Size", default=None)
    bid_price: str | None = None
    bid_size: str | None = None
    ask_price: str | None = None
    ask_size: str | None = None
    mark_price_iv: str = ""
    bid_iv: str = ""
    ask_iv: str = ""
    underlying_price: str = ""


class PriceFilter(msgspec.Struct, gc=False, rename="camel"):
    tick_size: str


class LotSizeFilter(msgspec.Struct, gc=False, rename="camel"):
    qty_step: str = ""
    base_precision: str = ""


class RiskParameters(msgspec.Struct, gc=False, rename="camel"):
    price_limit_ratio_x: str = ""


class InstrumentWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    status: str
    base_coin: str
    quote_coin: str
    price_filter: PriceFilter
    lot_size_filter: LotSizeFilter
    contract_type: str = ""
    options_type: str = ""
    delivery_time: str = ""
    settle_coin: str = ""
    risk_parameters: RiskParameters | None = None


class InstrumentHead(msgspec.Struct, gc=False):
    symbol: str


class RiskWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    risk_limit_value: str
    maintenance_margin: str
    initial_margin: str
    max_leverage: str
    mm_deduction: str = ""


class ClockWire(msgspec.Struct, gc=False, rename="camel"):
    time_nano: str


# -- private


class OrderWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    order_id: str
    order_link_id: str
    side: SideWire
    price: str
    qty: str
    cum_exec_qty: str
    order_status: str
    reduce_only: bool
    updated_time: str
    cancel_type: str = ""
    reject_reason: str = ""


class ExecutionWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    order_id: str
    order_link_id: str
    side: SideWire
    exec_id: str
    exec_price: str
    exec_qty: str
    exec_fee: str
    exec_type: str
    exec_time: str
    is_maker: bool
    fee_currency: str = ""


class PositionWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    side: Literal["Buy", "Sell", "", "None"]
    size: str
    position_idx: int
    avg_price: str = ""
    entry_price: str = ""


class CoinWire(msgspec.Struct, gc=False, rename="camel"):
    coin: str
    wallet_balance: str
    equity: str


class WalletWire(msgspec.Struct, gc=False, rename="camel"):
    coin: list[CoinWire]
    total_equity: str
    total_margin_balance: str
    total_initial_margin: str
    total_maintenance_margin: str
    total_available_balance: str


class AccountWire(msgspec.Struct, gc=False, rename="camel"):
    margin_mode: str
    unified_margin_status: int


class Page(msgspec.Struct, gc=False, rename="camel"):
    """A page of any list; the cursor of the last is empty or missing."""

    entries: list[msgspec.Raw] = msgspec.field(name="list")
    next_page_cursor: str | None = None


FRAME: Final = msgspec.json.Decoder(Frame)
COMMAND: Final = msgspec.json.Decoder(CommandData)
ID_ONLY: Final = msgspec.json.Decoder(IdOnly)
ACK: Final = msgspec.json.Decoder(Ack)
REPLY: Final = msgspec.json.Decoder(Reply)
BOOK: Final = msgspec.json.Decoder(BookWire)
TRADES: Final = msgspec.json.Decoder(list[TradeWire])
TICKER: Final = msgspec.json.Decoder(TickerWire)
INSTRUMENT: Final = msgspec.json.Decoder(InstrumentWire)
INSTRUMENT_HEAD: Final = msgspec.json.Decoder(InstrumentHead)
RISK: Final = msgspec.json.Decoder(RiskWire)
CLOCK: Final = msgspec.json.Decoder(ClockWire)
ORDER: Final = msgspec.json.Decoder(OrderWire)
ORDERS: Final = msgspec.json.Decoder(list[OrderWire])
EXECUTION: Final = msgspec.json.Decoder(ExecutionWire)
EXECUTIONS: Final = msgspec.json.Decoder(list[ExecutionWire])
POSITION: Final = msgspec.json.Decoder(PositionWire)
POSITIONS: Final = msgspec.json.Decoder(list[PositionWire])
WALLET: Final = msgspec.json.Decoder(WalletWire)
WALLETS: Final = msgspec.json.Decoder(list[WalletWire])
ACCOUNT: Final = msgspec.json.Decoder(AccountWire)
PAGE: Final = msgspec.json.Decoder(Page)


# -- conversion


def state_of(status: str) -> VenueOrderState:
    state = ORDER_STATES.get(status)
    if state is None:
        raise FieldError(f"orderStatus: {status[:40]!r} is no order status that is known")
    return state


def order_seen(wire: OrderWire, ids: ClientIds) -> OrderSeen:
    state = state_of(wire.order_status)
    is_rejected = state == "rejected" and wire.reject_reason not in ("", "EC_NoError")
    reason = wire.reject_reason if is_rejected else wire.cancel_type or wire.order_status
    return OrderSeen(
        wire.order_id, ids.decode(wire.order_link_id), wire.symbol, SIDES[wire.side], state,
        positive(wire.qty, "qty"), optional(wire.cum_exec_qty, "cumExecQty") or ZERO,
        optional(wire.price, "price") or None, time_of(wire.updated_time, "updatedTime"), wire.reduce_only, reason,
    )  # fmt: skip


def trade_seen(wire: ExecutionWire, ids: ClientIds, settlement: str) -> TradeSeen | None:
    """Return a trade; None for what is in the list of executions and is none, like funding."""
    if wire.exec_type not in TRADE_TYPES:
        if wire.exec_type in OTHER_TYPES:
            return None
        raise FieldError(f"execType: {wire.exec_type[:40]!r} is none that is known")
    side = SIDES[wire.side]
    return TradeSeen(
        f"{wire.exec_id}-{'B' if side == 'buy' else 'S'}", wire.order_id, ids.decode(wire.order_link_id), wire.symbol,
        side, positive(wire.exec_qty, "execQty"), positive(wire.exec_price, "execPrice"),
        decimal_of(wire.exec_fee, "execFee"), wire.fee_currency or settlement, wire.is_maker,
        time_of(wire.exec_time, "execTime"),
    )  # fmt: skip


def position_state(wire: PositionWire) -> PositionState:
    size = optional(wire.size, "size") or ZERO
    if size < 0 or (size and wire.side not in SIDES):
        raise FieldError(f"size, side: {size} {wire.side!r}")
    if wire.position_idx and size:
        raise FieldError(f"positionIdx: {wire.position_idx} of {wire.symbol}, and one-way (0) is traded here")
    average = optional(wire.avg_price or wire.entry_price, "avgPrice, entryPrice") or ZERO
    return PositionState(wire.symbol, -size if wire.side == "Sell" else size, average)


def balance_states(wallet: WalletWire) -> tuple[BalanceState, ...]:
    return tuple(
        BalanceState(one.coin, optional(one.wallet_balance, "walletBalance") or ZERO, decimal_of(one.equity, "equity"))
        for one in wallet.coin
    )


def portfolio_reported(wallet: WalletWire, margin_mode: str) -> PortfolioReported:
    return PortfolioReported(
        "USD",
        decimal_of(wallet.total_equity, "totalEquity"),
        decimal_of(wallet.total_margin_balance, "totalMarginBalance"),
        decimal_of(wallet.total_initial_margin, "totalInitialMargin"),
        decimal_of(wallet.total_maintenance_margin, "totalMaintenanceMargin"),
        decimal_of(wallet.total_available_balance, "totalAvailableBalance"),
        margin_mode,
    )


def price_band(wire: InstrumentWire) -> tuple[float, float] | None:
    """Return (lowest, highest) limit price that is surely taken, as parts of the mark price; None where none is told.

    Up to ratio X around the mark all is taken; between X and Y it depends on the index.
    """
    if wire.risk_parameters is None or not wire.risk_parameters.price_limit_ratio_x:
        return None
    ratio = positive_real(wire.risk_parameters.price_limit_ratio_x, "priceLimitRatioX")
    return max(0.0, 1.0 - ratio), 1.0 + ratio


def instrument_listed(wire: InstrumentWire, category: str) -> InstrumentListed:
    strike, option_type = None, None
    if category == "option":
        kind: InstrumentKind = "option"
        parts = wire.symbol.split("-")
        if len(parts) < MIN_OPTION_PARTS or wire.options_type not in ("Call", "Put"):
            raise FieldError(f"symbol, optionsType: {wire.symbol[:40]!r} {wire.options_type[:40]!r}")
        strike = positive(parts[2], "symbol")
        option_type = wire.options_type
    elif category == "spot":
        kind = "spot"
    else:
        known = CONTRACT_KINDS.get(wire.contract_type)
        if known is None:
            raise FieldError(f"contractType: {wire.contract_type[:40]!r} is none that is known")
        kind = known
    step = wire.lot_size_filter.base_precision if kind == "spot" else wire.lot_size_filter.qty_step
    settlement = wire.quote_coin if kind == "spot" else wire.settle_coin
    if not settlement:
        raise FieldError("settleCoin: missing")
    return InstrumentListed(
        symbol=wire.symbol,
        kind=kind,
        is_inverse=category == "inverse",
        underlying=f"{wire.base_coin}{wire.quote_coin}",
        base_currency=wire.base_coin,
        quote_currency=wire.quote_coin,
        settlement_currency=settlement,
        tick_size=positive(wire.price_filter.tick_size, "tickSize"),
        tick_steps=(),
        min_trade_amount=positive(step, "qtyStep, basePrecision"),
        contract_size=ONE,
        strike=strike,
        option_type=None if option_type is None else "call" if option_type == "Call" else "put",
        expiration_ns=time_of(wire.delivery_time, "deliveryTime") if kind in ("future", "option") else None,
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        is_open=wire.status == "Trading",
    )


def margin_tiers(symbol: str, wires: list[RiskWire]) -> MarginTiersListed:
    tiers, above = [], ZERO
    for one in sorted(wires, key=lambda wire: decimal_of(wire.risk_limit_value, "riskLimitValue")):
        if one.symbol != symbol:
            raise FieldError(f"symbol: {one.symbol} in the risk limits of {symbol}")
        up_to = positive(one.risk_limit_value, "riskLimitValue")
        initial, maintenance = (
            positive(one.initial_margin, "initialMargin"),
            decimal_of(one.maintenance_margin, "maintenanceMargin"),
        )
        deduction = optional(one.mm_deduction, "mmDeduction") or ZERO
        leverage = positive(one.max_leverage, "maxLeverage")
        tiers.append(MarginTier(above, up_to, initial, maintenance, deduction, leverage))
        above = up_to
    # A position's value: in quote currency where that settles, in the coin for inverse contracts.
    return MarginTiersListed(symbol, False, "notional", tuple(tiers))
