"""Guards of markets, joined to the pipeline: books in, decisions out as records. Beside the order path.

Once a bar each market's reading is taken; what follows from it is written before it holds. Where it can not be written
a guard is raised all the same, and lowered only once it can.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.config import Guard as GuardTable
from gateway.journal import JournalError
from gateway.venues.feeds import Feeds
from protocols.venues.orderbook import OrderBook
from risk.guard_board import GuardBoard
from risk.guards import NS_PER_S, PPM, Bound, GuardDecision, GuardRules, GuardState
from risk.instrument import Instrument, Kind

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# Levels of a side that count as its depth.
DEPTH_LEVELS: Final = 20
# Reference books that are followed at the most: one a pair and venue.
MAX_BOOKS: Final = 64
NS_PER_MS: Final = 1_000_000
_SEVERITY: Final = {GuardState.CALM: 0, GuardState.GUARDED: 1, GuardState.HALTED: 2}


class Guards:
    """All guards of one gateway. `tick` is called once a bar; `follows_books`: whether books are read for them."""

    def __init__(
        self, pipeline: Pipeline, feeds: Feeds, rules: GuardRules, interval_ns: int, follows_books: bool, now_ns: int
    ) -> None:
        self._pipeline = pipeline
        self._feeds = feeds
        self._interval_ns = interval_ns
        self._follows_books = follows_books
        self.deadline_ns = now_ns + interval_ns
        self.board = GuardBoard(rules, now_ns)
        known = pipeline.ledger.guards
        self.board.restore({pair: (GuardState(told.state), told.outliers) for pair, told in known.items()})
        pipeline.market.guard = self.board

    def tick(self, now_ns: int) -> None:
        """Close a bar where one is over."""
        if now_ns < self.deadline_ns:
            return
        self.deadline_ns = now_ns + self._interval_ns
        if self._follows_books:
            self._read_books(now_ns)
        for decision in self.board.tick(now_ns):
            self._take(decision, now_ns)

    def rows(self) -> list[dict[str, object]]:
        """Return each guarded market, for operators."""
        return [
            {"pair": pair, "state": told.state, "alarms": list(told.alarms), "outliers": list(told.outliers)}
            for pair, told in sorted(self._pipeline.ledger.guards.items())
        ]

    def _take(self, decision: GuardDecision, now_ns: int) -> None:
        pipeline, reading = self._pipeline, decision.reading
        before = GuardState(self.board.states()[decision.pair])
        after = GuardState(decision.state)
        record = records.GuardMoved(
            decision.pair, decision.state, decision.signal, decision.alarms,
            reading.price_e8, reading.sources, reading.outliers, reading.divergence_ppm, reading.volatility_ppm,
            reading.move_ppm, reading.spread_ppm, reading.thinness_ppm,
        )  # fmt: skip
        try:
            pipeline.commit(record, now_ns)
        except JournalError as error:
            pipeline.monitor.journal_failed(str(error))
            if _SEVERITY[after] <= _SEVERITY[before]:
                return  # nothing loosens that is not written; the next bar decides it again
            pipeline.ledger.apply(record, now_ns)
        self.board.take(decision.pair, after, reading.outliers)
        if after is not before:
            why = f": {', '.join(decision.alarms)}" if decision.alarms else ""
            pipeline.monitor.alert(f"guard of {decision.pair}: {before.value} -> {after.value}{why}")
        else:
            told = f"{', '.join(reading.outliers)} left out" if reading.outliers else "no venue is left out"
            pipeline.monitor.alert(f"guard of {decision.pair}: {told} of its index")

    def _read_books(self, now_ns: int) -> None:
        references = self._references()
        self._feeds.follow([instrument.symbol for instrument in references], (), now_ns)
        for instrument in references:
            book = self._feeds.book(instrument.symbol)
            if book is None or not book.is_usable:
                self.board.forget_book(instrument)
            else:
                self.board.observe_book(instrument, *_near_touch(book))

    def _references(self) -> list[Instrument]:
        """Return the perpetual of each pair and venue, the first that is listed."""
        found: dict[tuple[str, str], Instrument] = {}
        for instrument in self._pipeline.ledger.instruments:
            if instrument.kind is Kind.PERPETUAL and instrument.is_open and instrument.venue in self._feeds.venues:
                found.setdefault((instrument.venue, instrument.pair), instrument)
                if len(found) >= MAX_BOOKS:
                    break
        return list(found.values())


def guards_of(config: GuardTable, pipeline: Pipeline, feeds: Feeds, now_ns: int) -> Guards | None:
    """Return the guards of a configuration, and have the market use them; None where it wants none."""
    if not config.enabled:
        return None
    rules = GuardRules(
        divergence=_bound(config.divergence, config.divergence_halt),
        move=_bound(config.move, config.move_halt),
        spread=_bound(config.spread),
        thinness=_bound(config.thinness),
        outlier_ppm=ppm(config.outlier),
        quiet_ns=config.quiet_s * NS_PER_S,
        halt_ns=config.halt_s * NS_PER_S,
        collar_floor_ppm=ppm(config.collar_floor),
    )
    return Guards(pipeline, feeds, rules, config.interval_ms * NS_PER_MS, config.books, now_ns)


def _bound(raises: Decimal, breaks: Decimal | None = None) -> Bound:
    """Half of what raises a guard lets it rest again."""
    return Bound(max(1, ppm(raises) // 2), max(1, ppm(raises)), 0 if breaks is None else ppm(breaks))


def ppm(part: Decimal) -> int:
    """Return a part of one in parts per million."""
    return int(part * PPM)


def _near_touch(book: OrderBook) -> tuple[float, float, float]:
    """Return best bid, best ask, and the amount in the first levels of the thinner side; zeros for no book."""
    bids, asks = book.bids.depth(DEPTH_LEVELS), book.asks.depth(DEPTH_LEVELS)
    if not bids or not asks:
        return 0.0, 0.0, 0.0
    depth = min(sum(float(amount) for _, amount in side) for side in (bids, asks))
    return float(bids[0][0]), float(asks[0][0]), depth * float(book.unit)
