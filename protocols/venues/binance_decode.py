"""Binance's frames as typed structs, and their conversion to venue-neutral ones.

Field names are the venue's own letters, said in its documentation of each event. Only those that are used are named.
A field that is missing, null, of another type or out of range is an error that names it; nothing is taken for zero.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.binance_streams import LimitWire, OrderBody, SideWire
from protocols.venues.binance_tables import CONTRACT_KINDS, MAKER_FEE, ORDER_STATES, TAKER_FEE, Product
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
from protocols.venues.fields import ONE, FieldError, decimal_of, positive, positive_real, since_epoch_ns, whole
from protocols.venues.order_tracker import OrderSeen, TradeSeen

SIDES: Final[dict[str, Side]] = {"BUY": "buy", "SELL": "sell"}
# What ends in a fill of ours; CALCULATED is a liquidation's.
EXECUTIONS: Final = frozenset({"TRADE", "CALCULATED"})


# -- replies, by REST and the WebSocket API


class OrderWire(msgspec.Struct, gc=False, rename="camel"):
    order_id: int
    symbol: str
    status: str
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    side: SideWire
    reduce_only: bool
    update_time: int


class TradeWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    id: int
    order_id: int
    side: SideWire
    price: str
    qty: str
    commission: str
    commission_asset: str
    time: int
    maker: bool


class PositionWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    position_amt: str
    entry_price: str
    position_side: str = "BOTH"


class AssetWire(msgspec.Struct, gc=False, rename="camel"):
    asset: str
    wallet_balance: str
    margin_balance: str
    initial_margin: str
    maint_margin: str
    available_balance: str


class AccountWire(msgspec.Struct, gc=False, rename="camel"):
    assets: list[AssetWire]
    total_initial_margin: str = ""
    total_maint_margin: str = ""
    total_margin_balance: str = ""
    available_balance: str = ""
    multi_assets_margin: bool = False


class BalanceWire(msgspec.Struct, gc=False, rename="camel"):
    asset: str
    balance: str
    cross_un_pnl: str


class SnapshotWire(msgspec.Struct, gc=False):
    lastUpdateId: int  # noqa: N815
    bids: msgspec.Raw
    asks: msgspec.Raw
    E: int = 0
    T: int = 0


class FilterWire(msgspec.Struct, gc=False, rename="camel"):
    filter_type: str
    tick_size: str = ""
    step_size: str = ""
    multiplier_up: str = ""
    multiplier_down: str = ""


class SymbolWire(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    pair: str
    contract_type: str
    base_asset: str
    quote_asset: str
    margin_asset: str
    filters: list[FilterWire]
    delivery_date: int
    status: str = ""
    contract_status: str = ""
    contract_size: int = 1


class SymbolHead(msgspec.Struct, gc=False):
    symbol: str


class ExchangeInfo(msgspec.Struct, gc=False, rename="camel"):
    symbols: list[msgspec.Raw]
    rate_limits: list[LimitWire] = []


class BracketWire(msgspec.Struct, gc=False, rename="camel"):
    initial_leverage: int
    # The one or the other: bounds in quote currency, or in the base for COIN-M. Bare numbers, decoded exactly.
    maint_margin_ratio: Decimal
    cum: Decimal
    notional_floor: Decimal | None = None
    notional_cap: Decimal | None = None
    qty_floor: Decimal | None = msgspec.field(name="qtyFloor", default=None)
    qty_cap: Decimal | None = msgspec.field(name="qtyCap", default=None)


class BracketsWire(msgspec.Struct, gc=False):
    symbol: str
    brackets: list[BracketWire]


class ServerTime(msgspec.Struct, gc=False):
    serverTime: int  # noqa: N815


class ListenKey(msgspec.Struct, gc=False):
    listenKey: str  # noqa: N815

    def __repr__(self) -> str:
        return "ListenKey()"


class PositionMode(msgspec.Struct, gc=False):
    dualSidePosition: bool  # noqa: N815


ORDER: Final = msgspec.json.Decoder(OrderWire)
ORDERS: Final = msgspec.json.Decoder(list[OrderWire])
TRADES: Final = msgspec.json.Decoder(list[TradeWire])
POSITIONS: Final = msgspec.json.Decoder(list[PositionWire])
ACCOUNT: Final = msgspec.json.Decoder(AccountWire)
BALANCES: Final = msgspec.json.Decoder(list[BalanceWire])
SNAPSHOT: Final = msgspec.json.Decoder(SnapshotWire)
EXCHANGE_INFO: Final = msgspec.json.Decoder(ExchangeInfo)
SYMBOL: Final = msgspec.json.Decoder(SymbolWire)
BRACKETS: Final = msgspec.json.Decoder(list[BracketsWire])
SERVER_TIME: Final = msgspec.json.Decoder(ServerTime)
LISTEN_KEY: Final = msgspec.json.Decoder(ListenKey)
POSITION_MODE: Final = msgspec.json.Decoder(PositionMode)
SYMBOL_HEAD: Final = msgspec.json.Decoder(SymbolHead)


# -- conversion


def state_of(status: str) -> VenueOrderState:
    state = ORDER_STATES.get(status)
    if state is None:
        raise FieldError(f"X, status: {status[:40]!r} is no order status that is known")
    return state


def trade_key(symbol: str, trade_id: int | str, side: Side) -> str:
    """Name a trade: the venue counts them for each symbol, and both sides of one may be ours."""
    return f"{symbol}-{trade_id}-{'B' if side == 'buy' else 'S'}"


def order_of(body: OrderBody, ids: ClientIds, unit: Decimal, time_ns: int) -> OrderSeen:
    """Read the order in an ORDER_TRADE_UPDATE."""
    filled, quantity = decimal_of(body.z, "z"), decimal_of(body.q, "q")
    state = state_of(body.X)
    if state == "open" and quantity and filled == quantity:
        state = "filled"  # as the venue's orders of a liquidation are told
    reason = body.er if body.er not in ("", "0") else body.x.lower()
    return OrderSeen(
        str(body.i), ids.decode(body.c), body.s, SIDES[body.S], state, quantity * unit, filled * unit,
        decimal_of(body.p, "p") or None, time_ns, body.R, reason,
    )  # fmt: skip


def trade_of(body: OrderBody, ids: ClientIds, unit: Decimal) -> TradeSeen | None:
    """Read the fill in an ORDER_TRADE_UPDATE, if there is one."""
    if body.x not in EXECUTIONS or not body.t:
        return None
    if body.n is None or body.N is None:
        raise FieldError("n, N: a fill without its commission")
    side = SIDES[body.S]
    return TradeSeen(
        trade_key(body.s, body.t, side), str(body.i), ids.decode(body.c), body.s, side,
        positive(body.l, "l") * unit, positive(body.L, "L"), decimal_of(body.n, "n"), body.N, body.m,
        since_epoch_ns(body.T, "T"),
    )  # fmt: skip


def order_seen(wire: OrderWire, ids: ClientIds, unit: Decimal) -> OrderSeen:
    return OrderSeen(
        str(wire.order_id), ids.decode(wire.client_order_id), wire.symbol, SIDES[wire.side], state_of(wire.status),
        positive(wire.orig_qty, "origQty") * unit, decimal_of(wire.executed_qty, "executedQty") * unit,
        decimal_of(wire.price, "price") or None, since_epoch_ns(wire.update_time, "updateTime"), wire.reduce_only,
        wire.status.lower(),
    )  # fmt: skip


def trade_seen(wire: TradeWire, label: str, unit: Decimal) -> TradeSeen:
    side = SIDES[wire.side]
    return TradeSeen(
        trade_key(wire.symbol, wire.id, side), str(wire.order_id), label, wire.symbol, side,
        positive(wire.qty, "qty") * unit, positive(wire.price, "price"), decimal_of(wire.commission, "commission"),
        wire.commission_asset, wire.maker, since_epoch_ns(wire.time, "time"),
    )  # fmt: skip


def position_state(symbol: str, amount: str, entry: str, side: str, unit: Decimal) -> PositionState:
    quantity = decimal_of(amount, "pa, positionAmt") * unit
    if side != "BOTH" and quantity:
        raise FieldError(f"ps, positionSide: {side} of {symbol}, and one-way positions (BOTH) are traded here")
    return PositionState(symbol, quantity, decimal_of(entry, "ep, entryPrice"))


def portfolios(account: AccountWire) -> list[PortfolioReported]:
    """Return what counts as margin: all assets together where they back each other, else each asset."""
    if account.multi_assets_margin:
        equity = decimal_of(account.total_margin_balance, "totalMarginBalance")
        return [
            PortfolioReported(
                "USD",
                equity,
                equity,
                decimal_of(account.total_initial_margin, "totalInitialMargin"),
                decimal_of(account.total_maint_margin, "totalMaintMargin"),
                decimal_of(account.available_balance, "availableBalance"),
                "multi_assets",
            )
        ]
    return [
        PortfolioReported(
            one.asset,
            decimal_of(one.margin_balance, "marginBalance"),
            decimal_of(one.margin_balance, "marginBalance"),
            decimal_of(one.initial_margin, "initialMargin"),
            decimal_of(one.maint_margin, "maintMargin"),
            decimal_of(one.available_balance, "availableBalance"),
            "single_asset",
        )
        for one in account.assets
    ]


def balance_states(account: AccountWire) -> tuple[BalanceState, ...]:
    return tuple(
        BalanceState(
            one.asset, decimal_of(one.wallet_balance, "walletBalance"), decimal_of(one.margin_balance, "marginBalance")
        )
        for one in account.assets
    )


def balance_state(wire: BalanceWire) -> BalanceState:
    balance = decimal_of(wire.balance, "balance")
    return BalanceState(wire.asset, balance, balance + decimal_of(wire.cross_un_pnl, "crossUnPnl"))


def instrument_listed(wire: SymbolWire, product: Product) -> tuple[InstrumentListed, Decimal]:
    """Return an instrument's terms, and what one unit of its amounts is as a quantity."""
    kind = CONTRACT_KINDS.get(wire.contract_type)
    if kind is None:
        raise FieldError(f"contractType: {wire.contract_type[:40]!r} is no contract that is known")
    filters = {one.filter_type: one for one in wire.filters}
    if "PRICE_FILTER" not in filters or "LOT_SIZE" not in filters:
        raise FieldError("filters: PRICE_FILTER and LOT_SIZE are needed")
    if product.is_inverse and wire.contract_size <= 0:
        raise FieldError(f"contractSize: {wire.contract_size}")
    unit = Decimal(wire.contract_size) if product.is_inverse else ONE
    instrument_kind: InstrumentKind = "perpetual" if kind == "perpetual" else "future"
    status = wire.status or wire.contract_status
    if not status:
        raise FieldError("status: missing")
    return InstrumentListed(
        symbol=wire.symbol,
        kind=instrument_kind,
        is_inverse=product.is_inverse,
        underlying=wire.pair,
        base_currency=wire.base_asset,
        quote_currency=wire.quote_asset,
        settlement_currency=wire.margin_asset,
        tick_size=positive(filters["PRICE_FILTER"].tick_size, "tickSize"),
        tick_steps=(),
        min_trade_amount=positive(filters["LOT_SIZE"].step_size, "stepSize") * unit,
        contract_size=unit,
        strike=None,
        option_type=None,
        expiration_ns=since_epoch_ns(wire.delivery_date, "deliveryDate") if kind == "future" else None,
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        is_open=status == "TRADING",
    ), unit


def price_band(wire: SymbolWire) -> tuple[float, float] | None:
    """Return (lowest, highest) limit price as parts of the mark price, None where the venue states none."""
    for one in wire.filters:
        if one.filter_type == "PERCENT_PRICE" and one.multiplier_down and one.multiplier_up:
            down, up = (
                positive_real(one.multiplier_down, "multiplierDown"),
                positive_real(one.multiplier_up, "multiplierUp"),
            )
            if not down < 1.0 < up:
                raise FieldError(f"multiplierDown, multiplierUp: {down} to {up}")
            return down, up
    return None


def margin_tiers(wire: BracketsWire, product: Product) -> MarginTiersListed:
    tiers = []
    for one in wire.brackets:
        above, up_to = (one.qty_floor, one.qty_cap) if product.is_inverse else (one.notional_floor, one.notional_cap)
        if above is None or up_to is None or not 0 <= above < up_to:
            raise FieldError(f"notionalFloor, notionalCap: {above} to {up_to}")
        if one.initial_leverage <= 0 or not 0 <= one.maint_margin_ratio < 1:
            raise FieldError(f"initialLeverage, maintMarginRatio: {one.initial_leverage}, {one.maint_margin_ratio}")
        leverage = Decimal(one.initial_leverage)
        tiers.append(MarginTier(above, up_to, 1 / leverage, one.maint_margin_ratio, one.cum, leverage))
    tiers.sort(key=lambda tier: tier.above)
    return MarginTiersListed(wire.symbol, False, "quantity" if product.is_inverse else "notional", tuple(tiers))


def header_count(text: str) -> int:
    return whole(text, "header")
