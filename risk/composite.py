"""One price out of several venues': the median of those that are neither old nor far off the others.

A venue that is wrong, hacked or thin must not move the value of everybody's collateral. With three sources or more the
one that is off is outvoted. Two that contradict each other leave nobody to believe: there is no price then. A lone
source is believed, as there is nothing to compare it with.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

# So many sources can outvote one of them.
QUORUM = 3


class Quote(msgspec.Struct, frozen=True, gc=False):
    """What one source says; `time_ns` is when that was so."""

    source: str
    price: float
    time_ns: int


class Composite(msgspec.Struct, frozen=True, gc=False):
    """`price` is None where nothing can be believed; each source is in one of the three lists."""

    price: float | None
    used: tuple[str, ...]
    outliers: tuple[str, ...]
    stale: tuple[str, ...]


def median(prices: list[float]) -> float:
    """Return the middle of one price or more, the mean of the middle two where they are even."""
    ordered = sorted(prices)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])


def composite(quotes: Iterable[Quote], now_ns: int, max_age_ns: int, max_deviation: float) -> Composite:
    """Return the median after outlier and age filters.

    Parameters
    ----------
    quotes : at most one of each source
    max_age_ns : an older quote is not used
    max_deviation : how far from the median of all fresh ones a source may be, as a part of it
    """
    fresh: list[Quote] = []
    stale: list[Quote] = []
    for quote in quotes:
        is_usable = 0.0 < quote.price < float("inf") and now_ns - quote.time_ns <= max_age_ns
        (fresh if is_usable else stale).append(quote)
    old = tuple(quote.source for quote in stale)
    if not fresh:
        return Composite(None, (), (), old)
    centre = median([quote.price for quote in fresh])
    near = [quote for quote in fresh if abs(quote.price - centre) <= max_deviation * centre]
    far = tuple(quote.source for quote in fresh if quote not in near)
    # More than half must agree: of two that are far apart both are within the same distance of their mean, or neither.
    if 2 * len(near) <= len(fresh) or (len(fresh) == 2 and _apart(fresh) > max_deviation):
        return Composite(None, (), tuple(quote.source for quote in fresh), old)
    return Composite(median([quote.price for quote in near]), tuple(quote.source for quote in near), far, old)


def _apart(pair: list[Quote]) -> float:
    low, high = sorted(quote.price for quote in pair)
    return (high - low) / low


class IndexBoard:
    """What the venues say the coins are worth, each the latest; and instruments whose venue is not believed now.

    `max_deviation` is of indices among each other, `max_basis` of a contract's mark from its coin's composite index:
    dated futures and perpetuals may be away from the index, though never that far.
    """

    def __init__(self, max_age_ns: int, max_deviation: float, max_basis: float) -> None:
        self._max_age_ns = max_age_ns
        self._max_deviation = max_deviation
        self._max_basis = max_basis
        self._quotes: dict[str, dict[str, Quote]] = {}
        self._doubted_ns: dict[int, int] = {}

    def coins(self) -> list[str]:
        """Return the coins of which any venue has ever said what they are worth."""
        return list(self._quotes)

    def composite(self, coin: str, now_ns: int) -> Composite:
        """Return what a coin is worth, and who says so."""
        return composite(self._quotes.get(coin, {}).values(), now_ns, self._max_age_ns, self._max_deviation)

    def observe(self, coin: str, source: str, price: float, time_ns: int) -> None:
        """Take what a source says now, whether it is believed or not: how else could the others come to agree."""
        self._quotes.setdefault(coin, {})[source] = Quote(source, price, time_ns)

    def doubts(self, index: int, coin: str, source: str, mark: float | None, index_price: float, now_ns: int) -> str:
        """Return why a mark is not to be used, empty if it is; `mark` is None of an option, whose price says nothing.

        With fewer than three sources nobody is outvoted.
        """
        quotes = self._quotes.get(coin)
        if quotes is None or len(quotes) < QUORUM:
            return ""
        found = self.composite(coin, now_ns)
        price = found.price
        if price is None or len(found.used) + len(found.outliers) < QUORUM:
            return ""
        doubt = ""
        if source in found.outliers or abs(index_price - price) > self._max_deviation * price:
            doubt = f"{source} has {coin} at {index_price:g}, and the median of the others is {price:g}"
        elif mark is not None and abs(mark - price) > self._max_basis * price:
            doubt = f"the mark is {mark:g}, and the index of {coin} is {price:g}"
        if doubt:
            self._doubted_ns[index] = now_ns
        else:
            self._doubted_ns.pop(index, None)
        return doubt

    def is_doubted(self, index: int, now_ns: int) -> bool:
        """Whether an instrument's venue tells marks that are not used, and told one a moment ago."""
        doubted_ns = self._doubted_ns.get(index)
        return doubted_ns is not None and now_ns - doubted_ns <= self._max_age_ns

    def doubted(self, now_ns: int) -> list[int]:
        """Return the instruments of which `is_doubted` says so."""
        return [index for index, then_ns in self._doubted_ns.items() if now_ns - then_ns <= self._max_age_ns]
