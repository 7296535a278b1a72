"""What guards see: the venues' indices, marks and books of each pair; and which mark margin may be reckoned with.

A robust index is the median of the venues' that are neither old nor far off the others (risk.composite), and moves by a
bounded step a bar. From it and from each contract's usual distance to it (its basis, learned while the market is calm)
follows what a mark should be. A mark that is further off than the guard allows is not sound: margin uses the nearest
price that is, and nobody's position is touched on it. While the guard is up the book's middle votes too.

All of this is beside the order path, which reads its results in each Mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, log, sqrt
from typing import Final, NamedTuple

import numpy as np

from risk.composite import QUORUM, Quote, composite, median
from risk.guards import PPM, Guard, GuardDecision, GuardRules, GuardState, Reading
from risk.instrument import Instrument, Kind
from risk.learning.regime import RegimeBank, RegimeRules

# Bars of a second: fast over some ten seconds, slow over three hours.
REGIME: Final = RegimeRules(fast_decay=0.9, slow_decay=0.9999, stress_ratio=3.0, crash_deviations=15.0)
# How long a basis takes to become usual.
BASIS_NS: Final = 600 * 1_000_000_000
# What a book's usual depth remembers: half an hour of bars.
DEPTH_KEPT: Final = 0.999
MAX_PAIRS: Final = 1_024
_NO_PRICE: Final = 0.0
_CALM, _HALTED = GuardState.CALM, GuardState.HALTED


class Admitted(NamedTuple):
    """What margin uses instead of what a venue told; `collar` is the width to both sides, None for the static one."""

    price: float
    index_price: float
    is_sound: bool
    collar: float | None


class _Basis(NamedTuple):
    value: float  # log of mark over index
    time_ns: int


class _Pair:
    """What is known of one pair."""

    def __init__(self, pair: str, rules: GuardRules, now_ns: int) -> None:
        self.guard = Guard(pair, rules, now_ns)
        self.quotes: dict[str, Quote] = {}
        self.anchor = _NO_PRICE  # the robust index at the last bar
        self.last = _NO_PRICE  # the index as it came at the last bar
        self.bank = RegimeBank(1, REGIME)
        self.fast_variance = 0.0
        self.bars = 0
        # Instrument -> how far its mark is off, when that was, and its venue.
        self.divergence: dict[int, tuple[float, int, str]] = {}
        self.mids: dict[int, float] = {}
        self.spread = self.depth = -1.0
        self.usual_depth = 0.0
        self.collar: float | None = None


class GuardBoard:
    """Guards of all pairs. `admit` takes each mark; `tick`, once a bar, says what is to be decided."""

    def __init__(self, rules: GuardRules, now_ns: int) -> None:
        self.rules = rules
        self._since_ns = now_ns
        self._pairs: dict[str, _Pair] = {}
        self._bases: dict[int, _Basis] = {}

    def states(self) -> dict[str, GuardState]:
        """Return the state of every pair that was ever heard of."""
        return {name: pair.guard.state for name, pair in self._pairs.items()}

    def restore(self, states: Mapping[str, tuple[GuardState, tuple[str, ...]]]) -> None:
        """Be as a journal says, after a start."""
        for name, (state, outliers) in states.items():
            self._pair(name).guard.take(state, outliers)

    def take(self, pair: str, state: GuardState, outliers: tuple[str, ...]) -> None:
        """Be as a decision says that was written."""
        self._pair(pair).guard.take(state, outliers)

    def _pair(self, name: str) -> _Pair:
        found = self._pairs.get(name)
        if found is None:
            if len(self._pairs) >= MAX_PAIRS:
                raise ValueError(f"more than {MAX_PAIRS} pairs")
            found = self._pairs[name] = _Pair(name, self.rules, self._since_ns)
        return found

    # -- what venues tell --------------------------------------------------------------------------------------------

    def hear(self, instrument: Instrument, index_price: float, time_ns: int) -> None:
        """Take a venue's index, whether anything is made of it or not: how else would one that is off be known."""
        if 0.0 < index_price < 1e15:
            self._pair(instrument.pair).quotes[instrument.venue] = Quote(instrument.venue, index_price, time_ns)

    def admit(self, instrument: Instrument, price: float, index_price: float, time_ns: int) -> Admitted:
        """Take what a venue tells of an instrument, good prices both; return what margin is to use."""
        pair, rules = self._pair(instrument.pair), self.rules
        self.hear(instrument, index_price, time_ns)
        common = self._common(pair, time_ns)
        index, is_sound = _near(common or pair.anchor or index_price, pair.anchor, rules.step_ppm)
        is_sound &= common is not None and abs(index_price - index) <= index * rules.outlier_ppm / PPM
        state = pair.guard.state
        if instrument.is_option:  # its price says nothing of the index; its own fences are the venue's
            return Admitted(price, index, is_sound and state is not _HALTED, None)
        basis = self._bases.get(instrument.index)
        if basis is None:
            away = log(price / index)
            if is_sound and abs(away) <= log(1.0 + rules.basis_ppm / PPM):
                basis = self._bases[instrument.index] = _Basis(away, time_ns)
        expected = index if basis is None else index * exp(basis.value)
        off = abs(price / expected - 1.0)
        if instrument.kind is not Kind.FUTURE:  # a dated future's own price is its own matter
            pair.divergence[instrument.index] = off, time_ns, instrument.venue
        is_sound &= basis is not None and off * PPM < rules.divergence.raises_ppm
        if is_sound and state is _CALM:
            if basis is not None:
                kept = exp(-max(0, time_ns - basis.time_ns) / BASIS_NS)
                learned = kept * basis.value + (1.0 - kept) * log(price / index)
                self._bases[instrument.index] = _Basis(learned, time_ns)
            return Admitted(price, index_price, True, pair.collar)
        robust, _ = _near(price, expected, rules.divergence.raises_ppm)
        mid = pair.mids.get(instrument.index)
        if mid is not None:
            robust = median([robust, expected, _near(mid, expected, rules.divergence.raises_ppm)[0]])
        return Admitted(robust, index, is_sound and state is not _HALTED, pair.collar)

    def observe_book(self, instrument: Instrument, bid: float, ask: float, depth: float) -> None:
        """Take the reference book of a pair: best prices, and how much there is near them on the thinner side."""
        pair = self._pair(instrument.pair)
        if 0.0 < bid < ask and depth >= 0.0:
            mid = 0.5 * (bid + ask)
            pair.mids[instrument.index] = mid
            pair.spread, pair.depth = (ask - bid) / mid, depth

    def forget_book(self, instrument: Instrument) -> None:
        """Nobody follows the book any more, or it can not be used: nothing is known of it then."""
        pair = self._pair(instrument.pair)
        pair.mids.pop(instrument.index, None)
        pair.spread = pair.depth = -1.0

    def _common(self, pair: _Pair, now_ns: int) -> float | None:
        quotes = pair.quotes
        if len(quotes) == 1:
            return next(iter(quotes.values())).price
        found = composite(quotes.values(), now_ns, self.rules.max_age_ns, self.rules.outlier_ppm / PPM)
        return found.price

    # -- bars --------------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> Iterator[GuardDecision]:
        """Close a bar of every pair that is heard of now; yield what is to be decided, for the caller to write."""
        for pair in self._pairs.values():
            reading = self._close_bar(pair, now_ns)
            if reading is not None:
                decision = pair.guard.decide(reading, now_ns)
                pair.collar = self._collar(pair, reading)
                if decision is not None:
                    yield decision

    def _close_bar(self, pair: _Pair, now_ns: int) -> Reading | None:
        rules = self.rules
        fresh = [quote for quote in pair.quotes.values() if now_ns - quote.time_ns <= rules.max_age_ns]
        if not fresh:  # nothing is told: marks grow stale, and that refuses new risk by itself
            return None
        found = composite(fresh, now_ns, rules.max_age_ns, rules.outlier_ppm / PPM)
        index, move = found.price, 0.0
        if index is not None:
            if pair.last:
                move = abs(index / pair.last - 1.0)
                step = log(index / pair.last)
                pair.bank.update(np.array([step]))
                kept = REGIME.fast_decay if pair.bars else 0.0
                pair.fast_variance = kept * pair.fast_variance + (1.0 - kept) * step * step
                pair.bars += 1
            pair.last = index
            pair.anchor, _ = _near(index, pair.anchor, rules.step_ppm)
        thinness = -1.0
        if pair.depth >= 0.0:
            thinness = max(0.0, 1.0 - pair.depth / pair.usual_depth) if pair.usual_depth else 0.0
            if pair.guard.state is _CALM:
                known = pair.usual_depth or pair.depth
                pair.usual_depth = DEPTH_KEPT * known + (1.0 - DEPTH_KEPT) * pair.depth
        off = sorted(
            off
            for off, time_ns, venue in pair.divergence.values()
            if now_ns - time_ns <= rules.max_age_ns and venue not in found.outliers
        )
        return Reading(
            price_e8=0 if index is None else round(index * 1e8),
            sources=len(found.used),
            outliers=tuple(sorted(found.outliers)),
            # A mark that is alone with what it says is no matter of its market: with three, it is outvoted.
            divergence_ppm=_ppm(0.0 if not off else median(off) if len(off) >= QUORUM else off[-1]),
            volatility_ppm=_ppm(float(pair.bank.factor[0])),
            move_ppm=_ppm(move),
            spread_ppm=_ppm(pair.spread),
            thinness_ppm=_ppm(thinness),
        )

    def _collar(self, pair: _Pair, reading: Reading) -> float | None:
        """As wide as volatility explains; at its narrowest where the price, or the book behind it, is doubted."""
        rules, floor = self.rules, self.rules.collar_floor_ppm / PPM
        bounds = ((rules.divergence, reading.divergence_ppm), (rules.spread, reading.spread_ppm))
        if reading.price_e8 == 0 or any(ppm >= bound.raises_ppm for bound, ppm in bounds):
            return floor
        if reading.thinness_ppm >= rules.thinness.raises_ppm:
            return floor
        if pair.bars < REGIME.warm_up:
            return None
        return max(floor, rules.collar_deviations * sqrt(pair.fast_variance * rules.collar_bars))


def _near(price: float, centre: float, within_ppm: int) -> tuple[float, bool]:
    """Return the price nearest to `price` that is within a part of a centre (0: anything is), and whether it is it."""
    if not centre:
        return price, True
    width = centre * within_ppm / PPM
    nearest = min(max(price, centre - width), centre + width)
    return nearest, nearest == price


def _ppm(value: float) -> int:
    return -1 if value < 0.0 else round(min(value, 1e6) * PPM)
