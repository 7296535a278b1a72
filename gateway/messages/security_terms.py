"""An instrument's terms as FIX fields, in the words of FIX 4.4 and 5.0 SP2; versions leave out what they lack."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from gateway.messages.book_stream import text_of
from protocols.fix.grouped import Values
from risk.instrument import Instrument, Kind

# SecurityType(167): a foreign exchange contract for spot, in all versions.
SECURITY_TYPES: Final = {Kind.SPOT: b"FOR", Kind.PERPETUAL: b"FUT", Kind.FUTURE: b"FUT", Kind.OPTION: b"OPT"}
# Product(460): currency. SecurityIDSource(22): the exchange's symbol.
CURRENCY_PRODUCT, EXCHANGE_SYMBOL = b"4", b"8"
_TEXT_ATTRIBUTE: Final = 99
_NS_PER_S: Final = 1_000_000_000


def cfi_code(instrument: Instrument) -> bytes:
    """Return CFICode(461), ISO 10962: spot, a financial future or a European option on a currency, settled in cash."""
    if instrument.kind is Kind.SPOT:
        return b"IFXXXP"
    if instrument.kind is Kind.OPTION:
        return b"OCECCS" if instrument.is_call else b"OPECCS"
    return b"FFCCSX"


def quantity_unit(instrument: Instrument) -> str:
    """Return what OrderQty(38) counts: the quote currency for inverse contracts, the base currency for others."""
    return instrument.quote_currency if instrument.is_inverse else instrument.base_currency


def attributes(instrument: Instrument) -> list[bytes]:
    """Return as NAME=VALUE what versions before 5.0 have no field for."""
    steps = [
        f"MinPriceIncrement={_plain(instrument.tick_size * multiple)} above {_plain(instrument.price(above))}"
        for above, multiple in instrument.tick_steps
    ]
    told = [
        f"SettlCurrency={instrument.settlement_currency}",
        f"QtyUnit={quantity_unit(instrument)}",
        f"MinTradeVol={_plain(instrument.lot_size)}",
        f"MinPriceIncrement={_plain(instrument.tick_size)}",
        *steps,
    ]
    return [text.encode() for text in told]


def terms(instrument: Instrument) -> dict[int, bytes | int | list[Values] | None]:
    """Return the fields of one instrument, for a SecurityDefinition(d) or an entry of a SecurityList(y)."""
    lot = text_of(instrument.lot_size)
    underlying: list[Values] = [] if instrument.kind is Kind.SPOT else [{311: instrument.underlying.encode()}]
    values: dict[int, bytes | int | list[Values] | None] = {
        55: instrument.symbol.encode(),
        48: instrument.symbol.encode(),
        22: EXCHANGE_SYMBOL,
        460: CURRENCY_PRODUCT,
        461: cfi_code(instrument),
        167: SECURITY_TYPES[instrument.kind],
        231: text_of(instrument.contract_size),
        969: text_of(instrument.tick_size),
        207: instrument.venue.encode(),
        15: instrument.quote_currency.encode(),
        561: lot,
        562: lot,
        711: underlying,
        870: [{871: _TEXT_ATTRIBUTE, 872: text} for text in attributes(instrument)],
        1205: _tick_rules(instrument),
        1234: [{1093: b"2", 1231: lot}],
    }
    if instrument.expiry_ns is not None:
        day = datetime.fromtimestamp(instrument.expiry_ns // _NS_PER_S, UTC)
        values |= {200: f"{day:%Y%m}".encode(), 205: day.day, 541: f"{day:%Y%m%d}".encode()}
    if instrument.strike is not None:
        values |= {
            201: 1 if instrument.is_call else 0,
            202: text_of(instrument.strike),
            947: b"USD",  # an option is struck in the index's currency, whatever its premium is paid in
        }
    return values


def _tick_rules(instrument: Instrument) -> list[Values]:
    """NoTickRules(1205): from each price on, up to the next, prices are multiples of the increment."""
    begins = [Decimal(0), *(instrument.price(above) for above, _ in instrument.tick_steps)]
    ticks = [instrument.tick_size, *(instrument.tick_size * multiple for _, multiple in instrument.tick_steps)]
    ends: list[Decimal | None] = [*begins[1:], None]
    return [
        {1206: text_of(begin), 1207: None if end is None else text_of(end), 1208: text_of(tick), 1209: 0}
        for begin, end, tick in zip(begins, ends, ticks, strict=True)
    ]


def _plain(number: Decimal) -> str:
    return text_of(number).decode()
