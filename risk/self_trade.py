"""Working orders of one client by instrument, side and price, over all of its accounts: what a new order could meet."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from risk.instrument import Side

if TYPE_CHECKING:
    from risk.exposure import Exposure, WorkingOrder

_BUY: Final = Side.BUY


class SelfTradePrevention(StrEnum):
    """What an account does where its order would meet one of the same client."""

    REJECT = "reject"
    CANCEL_RESTING = "cancel_resting"
    OFF = "off"


class _Prices:
    """Limit prices of one side of one instrument, each with a count; the best is the least key.

    A price whose count has gone to zero is dropped when it comes to the top, so every step costs a heap's at most.
    """

    __slots__ = ("counts", "heap")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.heap: list[int] = []

    def best(self) -> int | None:
        heap, counts = self.heap, self.counts
        while heap:
            best = heap[0]
            if counts[best]:
                return best
            del counts[heappop(heap)]
        return None


class ClientOrders:
    """The working orders of all accounts of one client. Exposures that are joined keep it up to date."""

    __slots__ = ("_buys", "_sells", "exposures")

    def __init__(self) -> None:
        self.exposures: list[Exposure] = []
        self._buys: dict[int, _Prices] = {}  # by instrument index; keys are negative ticks: the highest is the best
        self._sells: dict[int, _Prices] = {}

    def add(self, side: Side, instrument_index: int, ticks: int) -> None:
        """Count one order at a limit price."""
        by_instrument, key = (self._buys, -ticks) if side is _BUY else (self._sells, ticks)
        prices = by_instrument.get(instrument_index)
        if prices is None:
            prices = by_instrument[instrument_index] = _Prices()
        counts = prices.counts
        if key in counts:
            counts[key] += 1
        else:
            counts[key] = 1
            heappush(prices.heap, key)

    def remove(self, side: Side, instrument_index: int, ticks: int) -> None:
        """Take back what `add` counted."""
        by_instrument, key = (self._buys, -ticks) if side is _BUY else (self._sells, ticks)
        by_instrument[instrument_index].counts[key] -= 1

    def met_at(self, side: Side, instrument_index: int, ticks: int) -> int | None:
        """Return the best price, in ticks, of the client's orders that one of `side` at `ticks` could trade with."""
        prices = (self._sells if side is _BUY else self._buys).get(instrument_index)
        best = None if prices is None else prices.best()
        if best is None:
            return None
        if side is _BUY:
            return best if best <= ticks else None
        return -best if -best >= ticks else None

    def met_by(self, side: Side, instrument_index: int, ticks: int) -> Iterator[WorkingOrder]:
        """Yield the orders behind `met_at`; looks at every working order of the client."""
        for exposure in self.exposures:
            for order in exposure.orders.values():
                if order.side is not side and order.instrument.index == instrument_index and not order.is_at_rest:
                    prices = [held[1] for held in (order.held, order.held_alternative) if held is not None]
                    if any(price <= ticks if side is _BUY else price >= ticks for price in prices):
                        yield order
