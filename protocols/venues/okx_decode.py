"""OKX's frames as typed structs, and their conversion to venue-neutral ones.

The venue writes numbers and times as texts, and an empty text for what is not there. Only the fields that are used are
named. A field that is missing, null, of another type or out of range is an error that names it.
"""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Final, Literal

import msgspec

from protocols.venues.client_ids import ClientIds
from protocols.venues.events import (
    BalanceState,
    InstrumentListed,
    MarginTier,
    MarginTiersListed,
    PortfolioReported,
    PositionState,
    Side,
    VenueOrderState,
)
from protocols.venues.fields import (
    ONE,
    ZERO,
    FieldError,
    decimal_of,
    optional,
    plain_text,
    positive,
    time_of,
)
from protocols.venues.okx_tables import CHECKSUM_LEVELS, INSTRUMENT_KINDS, MAKER_FEE, ORDER_STATES, TAKER_FEE
from protocols.venues.order_tracker import OrderSeen, TradeSeen
from protocols.venues.orderbook import OrderBook

# A level is price, amount, a number of old and how many orders; the levels of a book are read by levels.py.
LEVEL_TEXTS: Final = 4


# -- envelopes


class Arg(msgspec.Struct, gc=False, rename="camel"):
    channel: str
    inst_id: str = ""
    inst_family: str = ""
    inst_type: str = ""

    @property
    def key(self) -> str:
        subject = self.inst_id or self.inst_family or self.inst_type
        return f"{self.channel}:{subject}" if subject else self.channel


class Frame(msgspec.Struct, gc=False):
    """Data of a channel (`arg`, `data`), an event, or the reply to an operation (`op`)."""

    arg: Arg | None = None
    action: str = ""
    data: msgspec.Raw = msgspec.Raw()
    event: str = ""
    code: str = ""
    msg: str = ""
    op: str = ""
    id: str = ""


class IdOnly(msgspec.Struct, gc=False):
    id: str


class Ack(msgspec.Struct, gc=False, rename="camel"):
    s_code: str
    s_msg: str = ""
    ord_id: str = ""
    cl_ord_id: str = ""


class Reply(msgspec.Struct, gc=False):
    """An answer of REST."""

    code: str
    data: msgspec.Raw = msgspec.Raw(b"[]")
    msg: str = ""


# -- public


class BookWire(msgspec.Struct, gc=False, rename="camel"):
    asks: msgspec.Raw
    bids: msgspec.Raw
    ts: str
    checksum: int = 0
    seq_id: int | None = None
    prev_seq_id: int | None = None


class TradeWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    trade_id: str
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: str


class TickerWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    ask_px: str
    ask_sz: str
    bid_px: str
    bid_sz: str
    ts: str


class MarkWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    mark_px: str
    ts: str


class IndexWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    idx_px: str
    ts: str


class FundingWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    funding_rate: str
    funding_time: str
    ts: str = ""


class OptionWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    mark_vol: str
    fwd_px: str
    ts: str
    bid_vol: str = ""
    ask_vol: str = ""


class LimitWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    buy_lmt: str
    sell_lmt: str
    ts: str


class InstrumentWire(msgspec.Struct, gc=False, rename="camel"):
    inst_type: str
    inst_id: str
    tick_sz: str
    lot_sz: str
    state: str
    base_ccy: str
    quote_ccy: str
    settle_ccy: str
    ct_val: str
    ct_mult: str
    ct_val_ccy: str
    ct_type: str
    exp_time: str
    stk: str
    opt_type: str
    uly: str
    inst_family: str = ""
    inst_id_code: int | None = None


class InstrumentHead(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str


class TierWire(msgspec.Struct, gc=False, rename="camel"):
    imr: str
    mmr: str
    max_lever: str
    min_sz: str
    max_sz: str
    inst_id: str = ""
    inst_family: str = ""
    uly: str = ""


class ClockWire(msgspec.Struct, gc=False):
    ts: str


# -- private


class OrderWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    ord_id: str
    cl_ord_id: str
    side: Literal["buy", "sell"]
    sz: str
    px: str
    acc_fill_sz: str
    state: str
    u_time: str
    reduce_only: str
    fill_sz: str = ""
    fill_px: str = ""
    fill_time: str = ""
    trade_id: str = ""
    fee: str = ""
    fee_ccy: str = ""
    fill_fee: str = ""
    fill_fee_ccy: str = ""
    exec_type: str = ""
    cancel_source: str = ""
    category: str = ""
    amend_result: str = ""
    code: str = ""
    msg: str = ""


class FillWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    ord_id: str
    cl_ord_id: str
    trade_id: str
    bill_id: str
    side: Literal["buy", "sell"]
    fill_px: str
    fill_sz: str
    fee: str
    fee_ccy: str
    exec_type: str
    ts: str


class PositionWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    pos: str
    pos_side: str
    avg_px: str


class DetailWire(msgspec.Struct, gc=False, rename="camel"):
    ccy: str
    eq: str
    cash_bal: str
    avail_eq: str = ""
    imr: str = ""
    mmr: str = ""


class AccountWire(msgspec.Struct, gc=False, rename="camel"):
    details: list[DetailWire]
    total_eq: str
    adj_eq: str = ""
    imr: str = ""
    mmr: str = ""


class ConfigWire(msgspec.Struct, gc=False, rename="camel"):
    pos_mode: str


class WarningWire(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    u_time: str


FRAME: Final = msgspec.json.Decoder(Frame)
ID_ONLY: Final = msgspec.json.Decoder(IdOnly)
ACKS: Final = msgspec.json.Decoder(list[Ack])
REPLY: Final = msgspec.json.Decoder(Reply)
BOOKS: Final = msgspec.json.Decoder(list[BookWire])
TRADES: Final = msgspec.json.Decoder(list[TradeWire])
TICKERS: Final = msgspec.json.Decoder(list[TickerWire])
MARKS: Final = msgspec.json.Decoder(list[MarkWire])
INDICES: Final = msgspec.json.Decoder(list[IndexWire])
FUNDINGS: Final = msgspec.json.Decoder(list[FundingWire])
OPTIONS: Final = msgspec.json.Decoder(list[OptionWire])
PRICE_LIMITS: Final = msgspec.json.Decoder(list[LimitWire])
RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
INSTRUMENT: Final = msgspec.json.Decoder(InstrumentWire)
INSTRUMENT_HEAD: Final = msgspec.json.Decoder(InstrumentHead)
TIERS: Final = msgspec.json.Decoder(list[TierWire])
CLOCKS: Final = msgspec.json.Decoder(list[ClockWire])
ORDERS: Final = msgspec.json.Decoder(list[OrderWire])
FILLS: Final = msgspec.json.Decoder(list[FillWire])
POSITIONS: Final = msgspec.json.Decoder(list[PositionWire])
ACCOUNTS: Final = msgspec.json.Decoder(list[AccountWire])
CONFIGS: Final = msgspec.json.Decoder(list[ConfigWire])
WARNINGS: Final = msgspec.json.Decoder(list[WarningWire])


# -- conversion


def code_of(text: str) -> int:
    """Return an error code as a number, 0 for one that is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def book_checksum(book: OrderBook) -> int:
    """Return the CRC32, signed, of the best levels of both sides in turns, in the venue's own digits.

    A level keeps its digits: the book holds the very numbers that were written.
    """
    bids, asks = book.bids.depth(CHECKSUM_LEVELS), book.asks.depth(CHECKSUM_LEVELS)
    texts: list[str] = []
    for index in range(max(len(bids), len(asks))):
        for side in (bids, asks):
            if index < len(side):
                price, amount = side[index]
                texts += (plain_text(price), plain_text(amount))
    unsigned = zlib.crc32(":".join(texts).encode())
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


def state_of(state: str) -> VenueOrderState:
    known = ORDER_STATES.get(state)
    if known is None:
        raise FieldError(f"state: {state[:40]!r} is no order state that is known")
    return known


def flag_of(text: str, field: str) -> bool:
    if text not in ("true", "false"):
        raise FieldError(f"{field}: {text[:40]!r}")
    return text == "true"


def trade_key(inst_id: str, trade_id: str, side: Side) -> str:
    """Name a trade: the venue counts them for each instrument, and both sides of one may be ours."""
    return f"{inst_id}-{trade_id}-{'B' if side == 'buy' else 'S'}"


def order_seen(wire: OrderWire, ids: ClientIds, unit: Decimal) -> OrderSeen:
    reason = f"cancelSource {wire.cancel_source}" if wire.cancel_source else wire.state
    return OrderSeen(
        wire.ord_id, ids.decode(wire.cl_ord_id), wire.inst_id, wire.side, state_of(wire.state),
        positive(wire.sz, "sz") * unit, decimal_of(wire.acc_fill_sz or "0", "accFillSz") * unit,
        optional(wire.px, "px"), time_of(wire.u_time, "uTime"), flag_of(wire.reduce_only, "reduceOnly"), reason,
    )  # fmt: skip


def trade_of(wire: OrderWire, ids: ClientIds, unit: Decimal) -> TradeSeen | None:
    """Read the fill in an order's push, if there is one."""
    if wire.trade_id in ("", "0") or wire.fill_sz in ("", "0"):
        return None
    amount = positive(wire.fill_sz, "fillSz")
    fee, currency = wire.fill_fee, wire.fill_fee_ccy
    if not fee and amount == decimal_of(wire.acc_fill_sz, "accFillSz"):
        fee, currency = wire.fee, wire.fee_ccy  # the order's only fill, so its fee is the fill's
    if not fee or not currency:
        raise FieldError("fillFee, fillFeeCcy: a fill without its fee")
    return TradeSeen(
        trade_key(wire.inst_id, wire.trade_id, wire.side), wire.ord_id, ids.decode(wire.cl_ord_id), wire.inst_id,
        wire.side, amount * unit, positive(wire.fill_px, "fillPx"), -decimal_of(fee, "fillFee"), currency,
        is_maker(wire.exec_type), time_of(wire.fill_time, "fillTime"),
    )  # fmt: skip


def is_maker(exec_type: str) -> bool:
    if exec_type not in ("M", "T"):
        raise FieldError(f"execType: {exec_type[:40]!r}")
    return exec_type == "M"


def trade_seen(wire: FillWire, ids: ClientIds, unit: Decimal) -> TradeSeen:
    return TradeSeen(
        trade_key(wire.inst_id, wire.trade_id, wire.side), wire.ord_id, ids.decode(wire.cl_ord_id), wire.inst_id,
        wire.side, positive(wire.fill_sz, "fillSz") * unit, positive(wire.fill_px, "fillPx"),
        -decimal_of(wire.fee, "fee"), wire.fee_ccy, is_maker(wire.exec_type), time_of(wire.ts, "ts"),
    )  # fmt: skip


def position_state(wire: PositionWire, unit: Decimal) -> PositionState:
    quantity = (optional(wire.pos, "pos") or ZERO) * unit
    if wire.pos_side != "net" and quantity:
        raise FieldError(f"posSide: {wire.pos_side} of {wire.inst_id}, and net positions are traded here")
    return PositionState(wire.inst_id, quantity, optional(wire.avg_px, "avgPx") or ZERO)


def balance_states(account: AccountWire) -> tuple[BalanceState, ...]:
    return tuple(
        BalanceState(one.ccy, decimal_of(one.cash_bal, "cashBal"), decimal_of(one.eq, "eq")) for one in account.details
    )


def portfolios(account: AccountWire) -> list[PortfolioReported]:
    """Return what counts as margin: all currencies together where they back each other, else each currency."""
    if account.adj_eq:
        adjusted, initial = decimal_of(account.adj_eq, "adjEq"), decimal_of(account.imr, "imr")
        total, maintenance = decimal_of(account.total_eq, "totalEq"), decimal_of(account.mmr, "mmr")
        return [PortfolioReported("USD", total, adjusted, initial, maintenance, adjusted - initial, "multi_currency")]
    return [
        PortfolioReported(
            one.ccy, decimal_of(one.eq, "eq"), decimal_of(one.eq, "eq"), decimal_of(one.imr, "imr"),
            decimal_of(one.mmr, "mmr"), decimal_of(one.avail_eq, "availEq"), "single_currency",
        )
        for one in account.details
        if one.imr  # empty in the modes in which the currency has no margin of its own
    ]  # fmt: skip


def instrument_listed(wire: InstrumentWire) -> tuple[InstrumentListed, Decimal]:
    """Return an instrument's terms, and the value of one contract, in which the venue counts amounts."""
    kind = INSTRUMENT_KINDS.get(wire.inst_type)
    if kind is None:
        raise FieldError(f"instType: {wire.inst_type[:40]!r} is no kind that is known")
    if kind == "spot":
        base, quote, settlement, unit, family = wire.base_ccy, wire.quote_ccy, wire.quote_ccy, ONE, wire.inst_id
    else:
        family = wire.inst_family or wire.uly
        base, _, quote = wire.uly.partition("-")
        settlement = wire.settle_ccy
        unit = positive(wire.ct_val, "ctVal") * positive(wire.ct_mult, "ctMult")
    if not base or not quote or not settlement:
        raise FieldError(f"uly, baseCcy, quoteCcy, settleCcy: {wire.uly!r} {base!r} {quote!r} {settlement!r}")
    is_option = kind == "option"
    if is_option and wire.opt_type not in ("C", "P"):
        raise FieldError(f"optType: {wire.opt_type[:40]!r}")
    if kind in ("perpetual", "future") and wire.ct_type not in ("linear", "inverse"):
        raise FieldError(f"ctType: {wire.ct_type[:40]!r}")
    return InstrumentListed(
        symbol=wire.inst_id,
        kind=kind,
        is_inverse=wire.ct_type == "inverse" or (is_option and settlement == base),
        underlying=wire.uly or family,
        base_currency=base,
        quote_currency=quote,
        settlement_currency=settlement,
        tick_size=positive(wire.tick_sz, "tickSz"),
        tick_steps=(),
        min_trade_amount=positive(wire.lot_sz, "lotSz") * unit,
        contract_size=unit,
        strike=positive(wire.stk, "stk") if is_option else None,
        option_type=("call" if wire.opt_type == "C" else "put") if is_option else None,
        expiration_ns=time_of(wire.exp_time, "expTime") if kind in ("future", "option") else None,
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        is_open=wire.state == "live",
    ), unit


def margin_tiers(name: str, wires: list[TierWire], unit: Decimal) -> MarginTiersListed:
    """Return the tiers of a family; the venue bounds them by contracts."""
    tiers = []
    for one in wires:
        above, up_to = decimal_of(one.min_sz, "minSz"), decimal_of(one.max_sz, "maxSz")
        if not 0 <= above <= up_to:
            raise FieldError(f"minSz, maxSz: {above} to {up_to}")
        leverage = positive(one.max_lever, "maxLever")
        initial, maintenance = positive(one.imr, "imr"), positive(one.mmr, "mmr")
        # The venue takes the rate of the tier that a position is in for all of it, so nothing is deducted.
        tiers.append(MarginTier(above * unit, up_to * unit, initial, maintenance, ZERO, leverage))
    tiers.sort(key=lambda tier: tier.above)
    return MarginTiersListed(name, True, "quantity", tuple(tiers))
