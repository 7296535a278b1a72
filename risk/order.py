"""What a client asks for, and the two answers that a check can give."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, final

import msgspec

from risk.instrument import Instrument, Side

if TYPE_CHECKING:
    from risk.account import Account
    from risk.exposure import WorkingOrder


class OrdType(IntEnum):
    """FIX OrdType(40), as far as it is traded here."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4


class TimeInForce(IntEnum):
    """FIX TimeInForce(59), as far as it is traded here."""

    DAY = 0
    GTC = 1
    IOC = 3
    FOK = 4
    GTD = 6


class RejectReason(IntEnum):
    """Why an order is refused. The number is the wire's RejectCode(20001): never reuse one."""

    UNKNOWN_ACCOUNT = 101
    ACCOUNT_HALTED = 102
    ACCOUNT_REDUCING = 103
    KILLED = 104
    UNKNOWN_INSTRUMENT = 201
    INSTRUMENT_CLOSED = 202
    VENUE_NOT_READY = 203
    INSTRUMENT_NOT_PERMITTED = 204
    UNKNOWN_CURRENCY = 205
    QUANTITY_NOT_IN_LOTS = 301
    PRICE_NOT_IN_TICKS = 302
    QUANTITY_ABOVE_LIMIT = 303
    NOTIONAL_ABOVE_LIMIT = 304
    DUPLICATE_CL_ORD_ID = 401
    CL_ORD_IDS_EXHAUSTED = 402
    RATE_ABOVE_LIMIT = 403
    WORKING_ORDERS_ABOVE_LIMIT = 404
    THROTTLED = 405
    PRICE_OUTSIDE_COLLAR = 501
    MARK_UNKNOWN = 502
    MARK_STALE = 503
    POSITION_ABOVE_LIMIT = 601
    ORDER_NOT_REDUCING = 602
    SELF_TRADE = 603
    MARGIN_SHORTFALL = 701
    MARGIN_UNKNOWN = 702
    UNSUPPORTED_CHARACTERISTIC = 801
    EXPIRY_PASSED = 803
    STOP_PRICE_PASSED = 804
    MULTILEG_NOT_SUPPORTED = 805
    LIST_INTERRUPTED = 806
    CHECK_ERROR = 901
    PRODUCT_NOT_PERMITTED = 902
    LEVERAGE_ABOVE_CAP = 903
    BELOW_CLOSE_OUT = 904
    PROFILE_UNKNOWN = 905
    LEVEL_ORDER_NOTIONAL = 906
    LEVEL_WORKING_ORDERS = 907
    LEVEL_POSITION = 908
    LEVEL_GROSS_NOTIONAL = 909
    LEVEL_NET_NOTIONAL = 910
    LEVEL_MARGIN = 911
    LEVEL_UNKNOWN = 912
    VENUE_MARGIN_SHORTFALL = 913
    VENUE_MARGIN_UNKNOWN = 914
    HOLD_NOT_KNOWN = 931
    HOLD_ENDED = 932
    FILL_NOT_WHOLE = 933
    EXECUTION_DIFFERS = 934
    REQUEST_NOT_UNDERSTOOD = 935
    JOURNAL_UNAVAILABLE = 936
    DEADLINE_NOT_ALLOWED = 937
    NOT_AUTHENTICATED = 938
    PROFILE_MARGIN = 945
    PROFILE_COLLATERAL = 946
    VENUE_REJECTED = 951
    VENUE_KILLED = 961
    INSTRUMENT_KILLED = 962
    MARKET_HALTED = 963


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What an order has beyond a price: when it begins to work, when it ends, and the list that it came in.

    `stop_ticks` is StopPx(99), 0 for none: until the venue's price named by `trigger` has reached it, the order rests
    untriggered. `expire_ns` is when we end the order (GTD; DAY where the venue has none), 0 for never. `list_id` is
    ListID(66).
    """

    stop_ticks: int = 0
    trigger: str = ""
    expire_ns: int = 0
    list_id: str = ""


class Order(msgspec.Struct, frozen=True, gc=False):
    """One request for an order, in integers; the request of a replace names the order that it `replaces`.

    `instrument` is None where the symbol is unknown. `lots` and `ticks` are 0 where the value that was sent is no
    positive whole number of them. A market order carries the collar's price in `ticks`: it is sent as a limit with that
    protection, so that its worst fill is known. A stop carries the far end of the collar around its stop price, for the
    same reason. Of a replace, `lots` is the open part of the new quantity, and `replaces` has been released from the
    exposure while the request is checked.
    """

    cl_ord_id: str
    account: str
    symbol: str
    instrument: Instrument | None
    side: Side
    lots: int
    ticks: int
    ord_type: OrdType
    time_in_force: TimeInForce
    is_post_only: bool
    is_reduce_only: bool
    received_ns: int
    replaces: WorkingOrder | None = None
    terms: Terms | None = None

    @property
    def will_rest(self) -> bool:
        """Whether this is a stop, which is in no book until its price has come."""
        is_stop = self.terms is not None and self.terms.stop_ticks > 0
        return is_stop and (self.replaces is None or not self.replaces.is_triggered)


@final
class Reject(msgspec.Struct, frozen=True, gc=False):
    """An order refused, with the numbers behind it, in the unit that `text` names. An expected answer, not an error."""

    reason: RejectReason
    check: str
    text: str
    limit: float | None = None
    observed: float | None = None
    required: float | None = None
    mark_age_ns: int | None = None


class Approved(msgspec.Struct, frozen=True, gc=False):
    """An order that passed every check. Only pre_trade.evaluate makes one, and a router takes nothing else."""

    order: Order
    instrument: Instrument
    account: Account
    checks_run: int
