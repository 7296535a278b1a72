"""How a refusal is told: OrdRejReason(103) of each reason, and the numbers behind it as text."""

from __future__ import annotations

from typing import Final

from protocols.fix.codec import format_hundredths
from risk.order import RejectReason

# Above it a float times 100 may round to another hundredth than the float itself.
MAX_IN_CENTS: Final = 1e9

# RejectReason -> OrdRejReason(103): 0 broker option, 1 unknown symbol, 3 exceeds limit, 6 duplicate, 11 unsupported
# characteristic, 13 incorrect quantity, 15 unknown account, 99 other. 4 is too late to enter.
ORD_REJ_REASON: Final[dict[int, bytes]] = {
    RejectReason.UNKNOWN_ACCOUNT: b"15",
    RejectReason.ACCOUNT_HALTED: b"0",
    RejectReason.ACCOUNT_REDUCING: b"0",
    RejectReason.UNKNOWN_INSTRUMENT: b"1",
    RejectReason.INSTRUMENT_CLOSED: b"2",
    RejectReason.VENUE_NOT_READY: b"0",
    RejectReason.INSTRUMENT_NOT_PERMITTED: b"0",
    RejectReason.QUANTITY_NOT_IN_LOTS: b"13",
    RejectReason.PRICE_NOT_IN_TICKS: b"99",
    RejectReason.QUANTITY_ABOVE_LIMIT: b"3",
    RejectReason.NOTIONAL_ABOVE_LIMIT: b"3",
    RejectReason.DUPLICATE_CL_ORD_ID: b"6",
    RejectReason.CL_ORD_IDS_EXHAUSTED: b"0",
    RejectReason.RATE_ABOVE_LIMIT: b"3",
    RejectReason.WORKING_ORDERS_ABOVE_LIMIT: b"3",
    RejectReason.PRICE_OUTSIDE_COLLAR: b"99",
    RejectReason.MARK_UNKNOWN: b"0",
    RejectReason.MARK_STALE: b"0",
    RejectReason.POSITION_ABOVE_LIMIT: b"3",
    RejectReason.ORDER_NOT_REDUCING: b"99",
    RejectReason.MARGIN_SHORTFALL: b"3",
    RejectReason.MARGIN_UNKNOWN: b"0",
    RejectReason.UNSUPPORTED_CHARACTERISTIC: b"11",
    RejectReason.EXPIRY_PASSED: b"11",
    RejectReason.STOP_PRICE_PASSED: b"11",
    RejectReason.MULTILEG_NOT_SUPPORTED: b"11",
    RejectReason.LIST_INTERRUPTED: b"4",
    RejectReason.CHECK_ERROR: b"0",
    RejectReason.VENUE_REJECTED: b"99",
}
# RejectReason -> RejectCode(20001), its name, OrdRejReason(103)
REASONS: Final[dict[int, tuple[int, str, bytes]]] = {
    reason: (int(reason), reason.name, ORD_REJ_REASON[reason]) for reason in RejectReason
}


def number_text(value: float) -> bytes:
    """Return a number of a refusal: two places, or eight digits where it is below one."""
    if 1.0 <= value < MAX_IN_CENTS or -MAX_IN_CENTS < value <= -1.0:
        return format_hundredths(value)  # a third of the time that the formatting of a float takes
    return b"%.8g" % value if abs(value) < 1.0 else b"%.2f" % value
