"""What adjustments see of the market: books within collars, what keeps an instrument from being traded, and holders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from gateway.ledger import Ledger
from gateway.venues.feeds import Feeds
from protocols.venues import orderbook
from risk.account import Account
from risk.adjust import Level, Quote
from risk.deleverage import Candidate
from risk.instrument import UNITS_PER_WHOLE, Instrument
from risk.marks import GUARD, INSTRUMENT, VENUE, Mark, Market
from risk.scenarios import Generation

# Levels of a side that an order may reach into.
LEVELS: Final = 50
# An account without equity is as leveraged as can be.
MAX_LEVERAGE: Final = 1e6


def quotes_of(
    ledger: Ledger, market: Market, feeds: Feeds, account: Account, hedges: Iterable[int], now_ns: int
) -> dict[int, Quote]:
    """Return where what an account holds, and hedges, can be traded now; what can not be is left out."""
    held = [index for index, position in account.positions.items() if position.lots]
    found = {}
    for index in dict.fromkeys([*held, *hedges]):
        instrument, mark = ledger.instruments[index], market.marks[index]
        if trouble(market, instrument, now_ns) or mark is None:
            continue
        book, limits = feeds.book(instrument.symbol), account.limits.by_instrument.get(index)
        if book is None or not book.is_usable or limits is None or instrument.venue not in market.live_venues:
            continue
        worth = instrument.notional(1, mark.price, mark.index_price)
        most = min(limits.max_order_lots, int(account.limits.max_order_notional / worth)) if worth > 0 else 0
        bids = _levels(instrument, book.bids.depth(LEVELS), book.unit, mark)
        asks = _levels(instrument, book.asks.depth(LEVELS), book.unit, mark)
        found[index] = Quote(bids, asks, most)
    return found


def trouble(market: Market, instrument: Instrument, now_ns: int) -> str:
    """Return why an instrument's mark is not to be acted on, or it is not to be traded; empty where neither is so."""
    mark = market.marks[instrument.index]
    if mark is None:
        return f"{instrument.symbol} has no mark"
    limit_ns = market.mark_age_limit_ns(instrument.index)
    if not -limit_ns <= now_ns - mark.time_ns <= limit_ns:
        return f"the mark of {instrument.symbol} is too old"
    if not mark.is_sound:
        return f"the mark of {instrument.symbol} does not pass its guard"
    for halt in ((VENUE, instrument.venue), (INSTRUMENT, instrument.symbol), (GUARD, instrument.pair)):
        if halt in market.halts:
            return market.halts[halt]
    return ""


def blocked(
    ledger: Ledger, market: Market, feeds: Feeds, account: Account, now_ns: int, *, needs_book: bool = True
) -> str:
    """Return why nothing can be said yet of what an account holds; empty where all of it could be traded."""
    for _, position in sorted(account.positions.items()):
        instrument = position.instrument
        if not position.lots:
            continue
        why = trouble(market, ledger.instruments[instrument.index], now_ns)
        if why:
            return why
        book = feeds.book(instrument.symbol) if needs_book else None
        if needs_book and (book is None or not book.is_usable or instrument.venue not in market.live_venues):
            return f"no book of {instrument.symbol} can be used"
    return ""


def coins_doubted(ledger: Ledger, market: Market, account: Account, now_ns: int) -> str:
    """Return why the price of a coin that an account has cash in is not to be acted on; empty where none is doubted."""
    coins = {name for name, units in account.cash_units.items() if units}
    for instrument in ledger.instruments:
        mark, limit_ns = market.marks[instrument.index], market.mark_age_limit_ns(instrument.index)
        if instrument.base_currency in coins and mark is not None and now_ns - mark.time_ns <= limit_ns:
            if not mark.is_sound:
                return f"the mark of {instrument.symbol} does not pass its guard"
            if (GUARD, instrument.pair) in market.halts:
                return market.halts[GUARD, instrument.pair]
    return ""


def _levels(instrument: Instrument, levels: Sequence[orderbook.Level], unit: Decimal, mark: Mark) -> tuple[Level, ...]:
    found = []
    for price, amount in levels:
        ticks, lots = instrument.ticks_from_decimal(price), int(amount * unit / instrument.lot_size)
        if ticks is not None and lots > 0 and mark.collar_low_ticks <= ticks <= mark.collar_high_ticks:
            found.append((ticks, lots))
    return tuple(found)


def candidates(ledger: Ledger, generation: Generation, instrument: Instrument, house: str | None) -> list[Candidate]:
    """Return the holders of an instrument, the house apart, with what their rank follows from."""
    found = []
    for name, account in sorted(ledger.accounts.items()):
        lots = account.position_lots(instrument.index)
        if lots and name != house:
            found.append(_candidate(ledger, generation, instrument, account, lots))
    return found


def _candidate(
    ledger: Ledger, generation: Generation, instrument: Instrument, account: Account, lots: int
) -> Candidate:
    base, values, names = generation.grid.base, generation.values, generation.currencies
    rate = {name: float(generation.currency_values[column][base]) for column, name in enumerate(names)}
    position = account.positions[instrument.index]
    value = lots * float(values[instrument.index][base])
    profit = value + position.cash_units / UNITS_PER_WHOLE * rate.get(instrument.settlement_currency, 0.0)
    gross, equity, net = 0.0, 0.0, 0.0
    own = _delta(generation, instrument)
    for index, held in account.positions.items():
        if held.lots and index < len(values):
            delta = held.lots * _delta(generation, ledger.instruments[index])
            gross += abs(delta)
            equity += held.lots * float(values[index][base])
            net += delta if ledger.instruments[index].underlying == instrument.underlying else 0.0
    equity += sum(units / UNITS_PER_WHOLE * rate.get(name, 0.0) for name, units in account.cash_units.items())
    entry = abs(lots * own) - profit if lots * own > 0 else abs(lots * own) + profit
    gain = profit / entry if entry > 0 else profit / max(abs(lots * own), 1e-9)
    leverage = min(MAX_LEVERAGE, gross / equity) if equity > 0 else MAX_LEVERAGE
    return Candidate(account.name, lots, net / own if own else 0.0, gain, max(leverage, 1e-9))


def _delta(generation: Generation, instrument: Instrument) -> float:
    """What one lot gains for a move of its underlying by its whole price, from the two moves nearest to none.

    An inverse lot is a face value in coin that was credited: that moves, and the lot itself is worth the same.
    """
    if instrument.is_inverse:
        return instrument.lot_amount
    grid = generation.grid
    spots = len(grid.vol_moves)
    at = grid.spot_moves.index(0)
    up, down = min(at + 1, len(grid.spot_moves) - 1), max(at - 1, 0)
    row, shift = generation.values[instrument.index], grid.base - at * spots
    width = grid.spot_moves[up] - grid.spot_moves[down]
    return (float(row[up * spots + shift]) - float(row[down * spots + shift])) / width if width else 0.0
