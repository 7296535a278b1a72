"""What an ExecutionReport(8) says, field by field: values for the layout protocols.fix.messages.EXECUTION_REPORT.

Pure functions of a record, or of an order as the record left it: a replay makes the same bytes. `_reports.pyx` is the
compiled twin; gateway.compiled chooses.
"""

from __future__ import annotations

from typing import Final

from gateway import records
from protocols.fix.codec import format_decimal, format_hundredths, format_timestamp
from protocols.fix.messages import REFUSAL_TAGS
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from risk.order import RejectReason

Values = tuple[bytes | int | None, ...]

NO_REFUSAL: Final = (None,) * len(REFUSAL_TAGS)
# Above it a float times 100 may round to another hundredth than the float itself.
MAX_IN_CENTS: Final = 1e9
# Behind the point, of numbers so small that Python would write them with an exponent.
SMALLEST_DIGITS: Final = 12
SIDES: Final = {1: b"1", 2: b"2"}
ORD_TYPES: Final = {1: b"1", 2: b"2", 3: b"3", 4: b"4"}
TIMES_IN_FORCE: Final = {0: b"0", 1: b"1", 3: b"3", 4: b"4", 6: b"6"}
# Our UNKNOWN is for the client an order whose acknowledgement is still pending.
STATUSES: Final = {status: status.value.encode() for status in OrdStatus} | {OrdStatus.UNKNOWN: b"A"}

# RejectReason -> OrdRejReason(103): 0 broker option, 1 unknown symbol, 3 exceeds limit, 6 duplicate, 11 unsupported
# characteristic, 13 incorrect quantity, 15 unknown account, 99 other. 4 is too late to enter.
ORD_REJ_REASON: Final[dict[int, bytes]] = {
    RejectReason.UNKNOWN_ACCOUNT: b"15",
    RejectReason.ACCOUNT_HALTED: b"0",
    RejectReason.ACCOUNT_REDUCING: b"0",
    RejectReason.KILLED: b"0",
    RejectReason.UNKNOWN_INSTRUMENT: b"1",
    RejectReason.INSTRUMENT_CLOSED: b"2",
    RejectReason.VENUE_NOT_READY: b"0",
    RejectReason.VENUE_KILLED: b"0",
    RejectReason.INSTRUMENT_KILLED: b"0",
    RejectReason.MARKET_HALTED: b"0",
    RejectReason.INSTRUMENT_NOT_PERMITTED: b"0",
    RejectReason.UNKNOWN_CURRENCY: b"99",
    RejectReason.QUANTITY_NOT_IN_LOTS: b"13",
    RejectReason.PRICE_NOT_IN_TICKS: b"99",
    RejectReason.QUANTITY_ABOVE_LIMIT: b"3",
    RejectReason.NOTIONAL_ABOVE_LIMIT: b"3",
    RejectReason.DUPLICATE_CL_ORD_ID: b"6",
    RejectReason.CL_ORD_IDS_EXHAUSTED: b"0",
    RejectReason.RATE_ABOVE_LIMIT: b"3",
    RejectReason.WORKING_ORDERS_ABOVE_LIMIT: b"3",
    RejectReason.THROTTLED: b"3",
    RejectReason.PRICE_OUTSIDE_COLLAR: b"99",
    RejectReason.MARK_UNKNOWN: b"0",
    RejectReason.MARK_STALE: b"0",
    RejectReason.POSITION_ABOVE_LIMIT: b"3",
    RejectReason.ORDER_NOT_REDUCING: b"99",
    RejectReason.SELF_TRADE: b"99",
    RejectReason.MARGIN_SHORTFALL: b"3",
    RejectReason.MARGIN_UNKNOWN: b"0",
    RejectReason.UNSUPPORTED_CHARACTERISTIC: b"11",
    RejectReason.EXPIRY_PASSED: b"11",
    RejectReason.STOP_PRICE_PASSED: b"11",
    RejectReason.MULTILEG_NOT_SUPPORTED: b"11",
    RejectReason.LIST_INTERRUPTED: b"4",
    RejectReason.CHECK_ERROR: b"0",
    RejectReason.PRODUCT_NOT_PERMITTED: b"0",
    RejectReason.LEVERAGE_ABOVE_CAP: b"3",
    RejectReason.BELOW_CLOSE_OUT: b"3",
    RejectReason.PROFILE_UNKNOWN: b"0",
    RejectReason.PROFILE_MARGIN: b"3",
    RejectReason.PROFILE_COLLATERAL: b"3",
    RejectReason.LEVEL_ORDER_NOTIONAL: b"3",
    RejectReason.LEVEL_WORKING_ORDERS: b"3",
    RejectReason.LEVEL_POSITION: b"3",
    RejectReason.LEVEL_GROSS_NOTIONAL: b"3",
    RejectReason.LEVEL_NET_NOTIONAL: b"3",
    RejectReason.LEVEL_MARGIN: b"3",
    RejectReason.LEVEL_UNKNOWN: b"0",
    RejectReason.VENUE_MARGIN_SHORTFALL: b"3",
    RejectReason.VENUE_MARGIN_UNKNOWN: b"0",
    RejectReason.VENUE_REJECTED: b"99",
    # The hook's own, which no FIX client is told: broker option.
    **dict.fromkeys((reason for reason in RejectReason if 930 < reason < 940), b"0"),
}
# RejectReason -> RejectCode(20001), its name, OrdRejReason(103)
REASONS: Final[dict[int, tuple[int, str, bytes]]] = {
    reason: (int(reason), reason.name, ORD_REJ_REASON[reason]) for reason in RejectReason
}


def refusal_values(record: records.OrderRefused, exec_id: int, time_ns: int) -> Values:
    """Return the values of the report of a refused order; what the client sent goes back as it came."""
    code, name, ord_rej_reason = REASONS[record.reason]
    text = f"{name} {record.check}: {record.text}".encode()
    limit = observed = required = None
    if record.limit is not None:
        limit = number(record.limit)
        text += b", limit " + limit
    if record.observed is not None:
        observed = number(record.observed)
        text += b", observed " + observed
    if record.required is not None:
        required = number(record.required)
        text += b", required " + required
    return (
        record.account, b"0", record.cl_ord_id, b"0", exec_id, None, None,
        b"NONE", record.quantity, b"8", record.ord_type, None,
        record.price, record.side, record.symbol,
        text, None, format_timestamp(time_ns), ord_rej_reason, b"8", b"0", code, record.check.encode(),
        limit, observed, required,
        None if record.mark_age_ns is None else record.mark_age_ns // 1_000_000,
    )  # fmt: skip


def order_values(
    order: WorkingOrder,
    exec_id: int,
    time_ns: int,
    exec_type: bytes,
    text: bytes | None = None,
    cl_ord_id: str | None = None,
    orig_cl_ord_id: str | None = None,
    last: tuple[int, int] | None = None,
    ord_rej_reason: bytes | None = None,
    refusal: Values = NO_REFUSAL,
) -> Values:
    """Return the values of a report on an order as it is now; `last` is (lots, ticks) of the fill that it tells."""
    instrument = order.instrument
    tick, tick_exponent = instrument.tick_mantissa, instrument.tick_exponent
    lot, lot_exponent = instrument.lot_mantissa, instrument.lot_exponent
    last_price = last_quantity = None
    if last is not None:
        last_quantity = format_decimal(last[0] * lot, lot_exponent)
        last_price = format_decimal(last[1] * tick, tick_exponent)
    lots, cum_lots, leaves_lots = order.lots, order.cum_lots, order.leaves_lots
    quantity = format_decimal(lots * lot, lot_exponent)
    return (
        order.account.encode(),
        average_price(order) if cum_lots else b"0",
        (cl_ord_id or order.cl_ord_id).encode(),
        format_decimal(cum_lots * lot, lot_exponent),
        exec_id,
        last_price,
        last_quantity,
        order.order_id.encode(),
        quantity,
        STATUSES[order.status],
        ORD_TYPES[order.ord_type],
        None if orig_cl_ord_id is None else orig_cl_ord_id.encode(),
        format_decimal(order.ticks * tick, tick_exponent),
        SIDES[order.side],
        instrument.symbol.encode(),
        text,
        TIMES_IN_FORCE[order.time_in_force],
        format_timestamp(time_ns),
        ord_rej_reason,
        exec_type,
        quantity if leaves_lots == lots else format_decimal(leaves_lots * lot, lot_exponent),
        *refusal,
    )


def average_price(order: WorkingOrder) -> bytes:
    """Return AvgPx(6) of an order with fills, to a millionth of a tick where it is no whole tick."""
    instrument = order.instrument
    ticks, rest = divmod(order.cum_lot_ticks, order.cum_lots)
    if rest == 0:
        return format_decimal(ticks * instrument.tick_mantissa, instrument.tick_exponent)
    millionths = order.cum_lot_ticks * 1_000_000 // order.cum_lots
    return format_decimal(millionths * instrument.tick_mantissa, instrument.tick_exponent - 6)


def number(value: float) -> bytes:
    """Return a float as a client reads it: hundredths, or eight digits where it is below one; never an exponent."""
    if 1.0 <= value < MAX_IN_CENTS or -MAX_IN_CENTS < value <= -1.0:
        return format_hundredths(value)  # a third of the time that the formatting of a float takes
    if abs(value) >= 1.0 or value != value:
        return b"%.2f" % value
    made = b"%.8g" % value
    return made if b"e" not in made else format_decimal(round(value * 10**SMALLEST_DIGITS), -SMALLEST_DIGITS)
