"""Where FIX, the venues' words and the house's integers meet; no decisions but to refuse what has no meaning here."""

from __future__ import annotations

from typing import Final

from gateway import records
from gateway.order_terms import order_with_terms, protection_ticks, with_terms
from protocols.fix.codec import Message, count_steps, format_decimal
from protocols.venues import events
from risk.exposure import WorkingOrder
from risk.instrument import Instrument, Kind, Side
from risk.marks import Market
from risk.order import Approved, Order, OrdType, Reject, RejectReason, TimeInForce

# Account, ClOrdID, ExecInst, OrderQty, OrdType, Price, Side, Symbol, TimeInForce, OrigClOrdID, OrderID
ORDER_TAGS: Final = (1, 11, 18, 38, 40, 44, 54, 55, 59, 41, 37)
# ClOrdID, Account, Symbol, Side, OrdType, OrderQty, Price: what a refusal sends back
REFUSED_TAGS: Final = (11, 1, 55, 54, 40, 38, 44)

CURRENCY: Final = 15

# Longer ids than any order management system makes; they are kept for a day, so they are bounded.
MAX_ID_BYTES: Final = 64
MAX_SYMBOL_BYTES: Final = 64

_SIDES: Final[dict[bytes | None, Side]] = {b"1": Side.BUY, b"2": Side.SELL}
_ORD_TYPES: Final[dict[bytes | None, OrdType]] = {b"1": OrdType.MARKET, b"2": OrdType.LIMIT}
_TIMES_IN_FORCE: Final = {
    None: TimeInForce.DAY,  # FIX 4.4: absent means day
    b"0": TimeInForce.DAY,
    b"1": TimeInForce.GTC,
    b"3": TimeInForce.IOC,
    b"4": TimeInForce.FOK,
}
_LIMIT, _IOC, _FOK, _DAY = OrdType.LIMIT, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY
POST_ONLY, REDUCE_ONLY = b"6", b"E"
_EXEC_INSTS: Final = {
    None: (False, False),
    POST_ONLY: (True, False),
    REDUCE_ONLY: (False, True),
    b"6 E": (True, True),
    b"E 6": (True, True),
}

VENUE_TIMES_IN_FORCE: Final = {
    TimeInForce.DAY: "good_til_day",
    TimeInForce.GTC: "good_til_cancelled",
    TimeInForce.IOC: "immediate_or_cancel",
    TimeInForce.FOK: "fill_or_kill",
    TimeInForce.GTD: "good_til_cancelled",  # no venue here has it: the gateway cancels when the time has come
}
_KINDS: Final = {"spot": Kind.SPOT, "perpetual": Kind.PERPETUAL, "future": Kind.FUTURE, "option": Kind.OPTION}


class OrderFields:
    """The fields of an order message: the names as text, the rest as it came, for a refusal to send back untouched."""

    __slots__ = ("account", "cl_ord_id", "message", "symbol", "values")

    def __init__(self, message: Message) -> None:
        self.message = message
        values = self.values = message.values(ORDER_TAGS)
        # The session lets no byte through that is not ASCII.
        account, cl_ord_id, symbol = values[0], values[1], values[7]
        self.account = "" if account is None else account.decode()
        self.cl_ord_id = "" if cl_ord_id is None else cl_ord_id.decode()
        self.symbol = "" if symbol is None else symbol.decode()

    @property
    def side(self) -> str:
        """Side(54) as text."""
        return _text(self.values[6])

    @property
    def orig_cl_ord_id(self) -> str:
        """OrigClOrdID(41) as text."""
        return _text(self.values[9])


def new_order(
    fields: OrderFields,
    instrument: Instrument | None,
    market: Market,
    now_ns: int,
    replaces: WorkingOrder | None = None,
) -> Order | Reject:
    """Return the order that a NewOrderSingle(D) or OrderCancelReplaceRequest(G) asks for, or why there is none.

    A replace's OrderQty(38) is the whole quantity; its open part is what is checked.
    """
    _, _, exec_inst, quantity, ord_type_text, price, side_text, _, tif_text, _, _ = fields.values
    if len(fields.cl_ord_id) > MAX_ID_BYTES or len(fields.symbol) > MAX_SYMBOL_BYTES:
        text = f"ClOrdID(11) or Symbol(55) longer than {MAX_ID_BYTES} bytes"
        return Reject(RejectReason.UNSUPPORTED_CHARACTERISTIC, "translate", text)
    currency = fields.message.get(CURRENCY)
    if currency is not None and instrument is not None and currency != instrument.quote_currency.encode():
        text = f"Currency(15) {_text(currency)[:MAX_ID_BYTES]} is not what {instrument.symbol} is quoted in"
        return Reject(RejectReason.UNKNOWN_CURRENCY, "translate", text)
    side, ord_type = _SIDES.get(side_text), _ORD_TYPES.get(ord_type_text)
    time_in_force, flags = _TIMES_IN_FORCE.get(tif_text), _EXEC_INSTS.get(exec_inst)
    if side is None or ord_type is None or time_in_force is None or flags is None:
        return order_with_terms(fields, side, flags, instrument, market, now_ns, replaces)
    if replaces is not None:
        own = (replaces.is_post_only, replaces.is_reduce_only)
        keeps = replaces.ord_type is _LIMIT and (tif_text is None or time_in_force is replaces.time_in_force)
        if ord_type is not _LIMIT or not keeps or (exec_inst is not None and flags != own):
            text = "only OrderQty(38) and Price(44) of a limit order can be replaced"
            return Reject(RejectReason.UNSUPPORTED_CHARACTERISTIC, "translate", text)
        time_in_force, flags = replaces.time_in_force, own
    elif (
        instrument is not None
        and ord_type is _LIMIT
        and time_in_force is _DAY
        and instrument.venue in market.day_ends_s
    ):
        return order_with_terms(fields, side, flags, instrument, market, now_ns, None)
    lots = ticks = 0
    if instrument is not None:
        if quantity is not None:
            lots = count_steps(quantity, instrument.lot_mantissa, instrument.lot_exponent)
        if replaces is not None and lots:
            lots -= replaces.cum_lots
        if ord_type is _LIMIT:
            ticks = 0 if price is None else count_steps(price, instrument.tick_mantissa, instrument.tick_exponent)
        else:
            ticks = protection_ticks(instrument, side, market)
            if time_in_force is not _FOK:
                time_in_force = _IOC  # a market order never rests
    return Order(
        fields.cl_ord_id,
        fields.account,
        fields.symbol,
        instrument,
        side,
        lots,
        ticks,
        ord_type,
        time_in_force,
        flags[0],
        flags[1],
        now_ns,
        replaces,
    )


def approved(session: str, seq_in: int, order_id: str, approval: Approved) -> records.OrderApproved:
    """Return the record of an order that passed every check."""
    order = approval.order
    record = records.OrderApproved(
        session,
        seq_in,
        order_id,
        order.cl_ord_id,
        approval.account.name,
        approval.instrument.index,
        order.side,
        order.lots,
        order.ticks,
        order.ord_type,
        order.time_in_force,
        order.is_post_only,
        order.is_reduce_only,
        approval.checks_run,
    )
    return record if order.terms is None else with_terms(record, order.terms)


def refused(session: str, seq_in: int, message: Message, reject: Reject) -> records.OrderRefused:
    """Return the record of a refused order; the fields are what the client sent, untouched."""
    cl_ord_id, account, symbol, side, ord_type, quantity, price = message.values(REFUSED_TAGS)
    return records.OrderRefused(
        session,
        seq_in,
        cl_ord_id,
        account,
        symbol,
        side,
        ord_type,
        quantity,
        price,
        reject.reason._value_,
        reject.check,
        reject.text,
        reject.limit,
        reject.observed,
        reject.required,
        reject.mark_age_ns,
    )


def listed(event: events.InstrumentListed, venue: str, index: int) -> records.InstrumentListed:
    """Return the record of an instrument that a venue lists."""
    return records.InstrumentListed(
        index=index,
        symbol=event.symbol,
        venue=venue,
        kind=_KINDS[event.kind],
        # Deribit calls its coin-settled options reversed too; they are priced in coin, so their value is linear in it.
        is_inverse=event.is_inverse and event.kind != "option",
        underlying=event.base_currency,  # the risk group: all contracts on one coin move together
        base_currency=event.base_currency,
        quote_currency=event.quote_currency,
        settlement_currency=event.settlement_currency,
        tick_size=str(event.tick_size),
        lot_size=str(event.min_trade_amount),
        contract_size="1",  # a venue event's quantity is already in its unit of value
        tick_steps=tuple((str(above), str(step)) for above, step in event.tick_steps),
        maker_fee=str(event.maker_fee),
        taker_fee=str(event.taker_fee),
        strike=None if event.strike is None else str(event.strike),
        is_call=None if event.option_type is None else event.option_type == "call",
        expiry_ns=event.expiration_ns,
        is_open=event.is_open,
    )


def quantity_text(instrument: Instrument, lots: int) -> bytes:
    """Return a quantity in lots as plain decimal text, as clients and venues take it."""
    return format_decimal(lots * instrument.lot_mantissa, instrument.lot_exponent)


def price_text(instrument: Instrument, ticks: int) -> bytes:
    """Return a price in ticks as plain decimal text."""
    return format_decimal(ticks * instrument.tick_mantissa, instrument.tick_exponent)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")
