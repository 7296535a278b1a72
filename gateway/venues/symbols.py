"""One name for one instrument: where two venues call theirs the same, the house's symbol has a suffix more."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from protocols.venues.events import (
    BookGapped,
    BookingUnexplained,
    ContractDelivered,
    Event,
    FundingBooked,
    FundingUpdated,
    InstrumentListed,
    MarginCallReported,
    MarginTiersListed,
    MarkPriceUpdated,
    OpenOrdersReported,
    OptionVolsUpdated,
    OrderAccepted,
    OrderFilled,
    OrderStateReported,
    PositionsReported,
    TopOfBookUpdated,
)

# Events that name one instrument, and nothing else that is one.
_OF_ONE: Final = frozenset(
    {
        InstrumentListed,
        MarkPriceUpdated,
        TopOfBookUpdated,
        FundingUpdated,
        OptionVolsUpdated,
        BookGapped,
        OrderAccepted,
        OrderFilled,
        FundingBooked,
        ContractDelivered,
        BookingUnexplained,
    }
)


class VenueSymbols:
    """Names of a venue's instruments, ours and its own."""

    __slots__ = ("suffix",)

    def __init__(self, suffix: str = "") -> None:
        self.suffix = suffix

    def venue(self, symbol: str) -> str:
        """Return what the venue calls an instrument of ours."""
        return symbol.removesuffix(self.suffix) if self.suffix else symbol

    def house(self, symbol: str) -> str:
        """Return what we call an instrument of the venue's."""
        return symbol + self.suffix

    def venue_set(self, symbols: frozenset[str]) -> frozenset[str]:
        """Return what the venue calls these."""
        return frozenset(map(self.venue, symbols)) if self.suffix else symbols

    def house_event(self, event: Event) -> Event:
        """Return what the venue has told, in our names."""
        kind, suffix = type(event), self.suffix
        if kind in _OF_ONE:
            return replace(event, symbol=event.symbol + suffix)  # type: ignore[union-attr]
        if isinstance(event, OrderStateReported):
            return OrderStateReported(replace(event.order, symbol=event.order.symbol + suffix))
        if isinstance(event, OpenOrdersReported):
            return OpenOrdersReported(tuple(replace(order, symbol=order.symbol + suffix) for order in event.orders))
        if isinstance(event, PositionsReported):
            positions = tuple(replace(position, symbol=position.symbol + suffix) for position in event.positions)
            return replace(event, positions=positions)
        if isinstance(event, MarginCallReported):
            return replace(event, symbols=tuple(symbol + suffix for symbol in event.symbols))
        if isinstance(event, MarginTiersListed) and not event.is_family:
            return replace(event, name=event.name + suffix)
        return event
