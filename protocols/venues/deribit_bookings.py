"""Deribit's transaction log as bookings: the funding of perpetuals, the end of contracts, and what nobody can explain.

A row of a trade or a settlement tells the funding since the row before it (`interest_pl`), on a position that was the
same all that time. The profit that a settlement moves from the session to the balance is in our fills already, and is
not booked (ADR 0095). What a row says is read row by row: one that can not be read hides no other.
"""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Final

import msgspec

from protocols.venues.deribit_decode import decimal
from protocols.venues.events import BookingUnexplained, ContractDelivered, Event, FundingBooked
from protocols.venues.fields import DECODE_ERRORS, MAX_SHOWN, ZERO, FieldError, since_epoch_ns

TRADE: Final = "trade"
SETTLEMENT: Final = "settlement"
DELIVERY: Final = "delivery"
LIQUIDATION: Final = "liquidation"
SUMMARY: Final = "options_settlement_summary"
HOLE: Final = "hole"
UNREAD: Final = "unread"
# Rows that funding is part of; what else a trade moves is told with the trade.
FUNDED_TYPES: Final = frozenset({TRADE, LIQUIDATION, SETTLEMENT})
# Collateral that somebody has moved, and what is paid on it: no position's, and seen where balances are compared.
COLLATERAL_TYPES: Final = frozenset({"deposit", "withdrawal", "transfer", "swap", "usdc_reward"})
PERPETUAL: Final = "-PERPETUAL"
# Balances are told to eight decimals, those in dollars and euros to six; a row's and its neighbour's are both rounded.
_COARSE: Final = frozenset({"USDC", "USDT", "USDE", "USYC", "BUIDL", "EURR", "USD", "EUR"})
_FINE_GRAIN, _COARSE_GRAIN = Decimal("0.00000003"), Decimal("0.000003")
# An option's price may differ so much from what it pays at the delivery price, in coin or as a part of that price.
_PAYOFF_GRAIN: Final = Decimal("0.0001")


class LogWire(msgspec.Struct, gc=False):
    id: int | str
    type: str
    currency: str
    timestamp: int
    change: float
    balance: float
    cashflow: float | None = None
    commission: float | None = None
    instrument_name: str | None = None
    interest_pl: float | None = None
    total_interest_pl: float | None = None
    session_rpl: float | None = None
    session_upl: float | None = None
    price: float | None = None
    price_currency: str | None = None
    index_price: float | None = None
    info: msgspec.Raw = msgspec.Raw()


class LogPage(msgspec.Struct, gc=False):
    logs: list[msgspec.Raw]
    continuation: int | str | None = None


class Reason(msgspec.Struct, gc=False):
    reason: str = ""


LOG_PAGE: Final = msgspec.json.Decoder(LogPage)
LOG: Final = msgspec.json.Decoder(LogWire)
REASON: Final = msgspec.json.Decoder(Reason)


def rows_of(scope: str, newest_first: list[msgspec.Raw], time_ns: int) -> tuple[list[Event], list[Event]]:
    """Return what rows say, oldest first, and the holes between them.

    Each balance is the one before it and the row's change. Where it is not, a row is missing: it may be late.
    """
    told: list[Event] = []
    holes: list[Event] = []
    seen: set[int | str] = set()
    before: LogWire | None = None
    for raw in reversed(newest_first):
        try:
            wire = LOG.decode(raw)
            since_epoch_ns(wire.timestamp, "timestamp")
        except DECODE_ERRORS as error:
            name = f"{scope}-{UNREAD}-{zlib.crc32(raw):08x}"
            told.append(BookingUnexplained("", name, UNREAD, ZERO, scope, str(error), time_ns))
            before = None
            continue
        if wire.id in seen:
            continue
        seen.add(wire.id)
        if before is not None and (hole := _hole_between(before, wire)) is not None:
            holes.append(hole)
        before = wire
        try:
            told += events_of(wire)
        except DECODE_ERRORS as error:
            told.append(unexplained(wire, str(error)))
    return told, holes


def events_of(wire: LogWire) -> list[Event]:
    """Return what a row means for the book. Raises ValueError for a known one that can not be right."""
    if wire.type in FUNDED_TYPES:
        return _funding_of(wire)
    if wire.type == DELIVERY:
        return _delivery_of(wire)
    if wire.type in COLLATERAL_TYPES or (wire.type == SUMMARY and not wire.change):
        return []
    return [unexplained(wire, _reason_of(wire))]


def booking_id(wire: LogWire) -> str:
    """Return what is the same whenever the venue lists the row."""
    return f"{wire.currency}-{wire.id}"


def unexplained(wire: LogWire, reason: str) -> BookingUnexplained:
    """Return a row that a person must look at."""
    time_ns = since_epoch_ns(wire.timestamp, "timestamp")
    symbol, amount = wire.instrument_name or "", decimal(wire.change)
    return BookingUnexplained(symbol, booking_id(wire), wire.type[:MAX_SHOWN], amount, wire.currency, reason, time_ns)


def _funding_of(wire: LogWire) -> list[Event]:
    amount, symbol = decimal(wire.interest_pl or 0.0), wire.instrument_name or ""
    if wire.type != SETTLEMENT:
        total, odd = None, []
    else:
        total = None if wire.total_interest_pl is None else decimal(wire.total_interest_pl)
        odd = _moved_beside(wire)
    if not amount and not (total is not None and symbol.endswith(PERPETUAL)):
        return odd
    if not symbol:
        raise FieldError("instrument_name: missing, and interest_pl is not")
    time_ns = since_epoch_ns(wire.timestamp, "timestamp")
    return [FundingBooked(symbol, booking_id(wire), amount, wire.currency, time_ns, total), *odd]


def _moved_beside(wire: LogWire) -> list[Event]:
    """Return what a settlement has moved that is no profit of the session, which our fills do not have."""
    if wire.session_rpl is None or wire.session_upl is None:
        return []
    profit = decimal(wire.session_rpl) + decimal(wire.session_upl)
    beside = decimal(wire.change) - profit
    if abs(beside) <= grain(wire.currency):
        return []
    told = unexplained(wire, f"{beside} of it is no profit of the session, which is {profit}")
    return [msgspec.structs.replace(told, settlement_id=f"{told.settlement_id}-beside", amount=beside)]


def _delivery_of(wire: LogWire) -> list[Event]:
    name = wire.instrument_name or ""
    if not name:
        raise FieldError("instrument_name: missing")
    if wire.price is None:
        raise FieldError("price: missing")
    price, time_ns = decimal(wire.price), since_epoch_ns(wire.timestamp, "timestamp")
    delivery_price = _underlying_of(wire, name, price) if name.endswith(("-C", "-P")) else price
    if delivery_price <= 0:
        raise FieldError(f"price: delivered at {delivery_price}")
    fee = decimal(wire.commission or 0.0)
    found: list[Event] = [
        ContractDelivered(name, booking_id(wire), delivery_price, fee, wire.currency if fee else "", time_ns)
    ]
    if wire.cashflow is not None:
        # The fee may come out of a balance of its own, and the profit of a future with the day's settlement.
        flow, change = decimal(wire.cashflow), decimal(wire.change)
        if all(abs(change - told) > grain(wire.currency) for told in (flow - fee, flow, -fee)):
            told = unexplained(wire, f"neither cashflow {flow} less commission {fee} nor one of them")
            found.append(msgspec.structs.replace(told, settlement_id=f"{told.settlement_id}-beside"))
    return found


def _underlying_of(wire: LogWire, name: str, price: Decimal) -> Decimal:
    """Return the underlying's delivery price of an option, which must agree with what it has paid."""
    if wire.index_price is None:
        raise FieldError(f"index_price: missing, and {name} is an option")
    index = decimal(wire.index_price)
    parts = name.split("-")
    strike_text = parts[2].replace("d", ".") if len(parts) == 4 else ""
    if index <= 0 or not strike_text.replace(".", "", 1).isdigit():
        raise FieldError(f"index_price, instrument_name: {index}, {name[:MAX_SHOWN]!r}")
    strike = Decimal(strike_text)
    pays = max(ZERO, index - strike if parts[3] == "C" else strike - index)
    in_coin = wire.price_currency == wire.currency and wire.currency not in _COARSE
    if in_coin:
        pays, grain_here = pays / index, _PAYOFF_GRAIN
    else:
        grain_here = _PAYOFF_GRAIN * index
    if abs(pays - price) > grain_here:
        raise FieldError(f"price: {price}, and {name} pays {pays:.8f} at {index}")
    return index


def _reason_of(wire: LogWire) -> str:
    try:
        reason = REASON.decode(wire.info).reason if wire.info else ""
    except DECODE_ERRORS:
        reason = ""
    return reason[:200] or "nothing is known of it"


def _hole_between(before: LogWire, wire: LogWire) -> BookingUnexplained | None:
    missing = decimal(wire.balance) - decimal(wire.change) - decimal(before.balance)
    if abs(missing) <= grain(wire.currency):
        return None
    name = f"{wire.currency}-{HOLE}-{before.id}-{wire.id}"
    reason = f"rows are missing between {before.id} and {wire.id}"
    time_ns = since_epoch_ns(wire.timestamp, "timestamp")
    return BookingUnexplained("", name, HOLE, missing, wire.currency, reason, time_ns)


def grain(currency: str) -> Decimal:
    """Return by how much sums of the venue's rounded amounts may differ."""
    return _COARSE_GRAIN if currency in _COARSE else _FINE_GRAIN
