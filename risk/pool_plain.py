"""The pool kernel in plain Python: what `_pool.pyx` does. pool_terms.py has its formula.

As in the margin kernel a working order is held and released, and an adversary chooses how much of each fills. What an
order adds to a row is linear in the fraction, so its worst is at an end, for each order alone. A pending replace (the
old first, then the rest of the new) is four corners, as in kernel_plain.
"""

from __future__ import annotations

from math import inf, nan
from typing import NamedTuple

import numpy as np

from risk.kernel_checks import MAX_CASH, MAX_LOTS, check_amounts, rest_share
from risk.pool_terms import SECONDS_A_DAY, PoolTerms, check_terms
from risk.pricing import Floats

# The sums of what working orders may add to a unit: a, b, d, g, n.
SUMS = 5


class Effect(NamedTuple):
    """What one more order does at its worst: to its unit's row and sums, and to its asset."""

    unit: int
    column: int
    row: Floats
    once: float
    low: float
    sums: tuple[float, ...]
    instrument: int
    lots: float


class Unit:
    """What is kept of one risk unit of an account."""

    __slots__ = ("base", "expiries", "fixed", "held", "once", "orders", "row", "sums")

    def __init__(self, start: Floats) -> None:
        self.base, self.row = np.array(start), np.array(start)
        self.held: dict[int, float] = {}
        self.fixed: tuple[float, float, float, float] | None = (0.0, 0.0, 0.0, 0.0)  # None: to be asked again
        self.sums = [0.0] * SUMS
        self.once = 0.0
        self.orders = 0
        self.expiries: dict[float, int] = {}  # of working orders

    def copy(self) -> Unit:
        """Return one with the same figures, to try something on."""
        other = Unit(self.base)
        other.row, other.held, other.fixed = np.array(self.row), dict(self.held), self.fixed
        other.sums, other.once, other.orders = list(self.sums), self.once, self.orders
        other.expiries = dict(self.expiries)
        return other


class Cell:
    """Lots of a contract that has tiers: held, and what working orders may add."""

    __slots__ = ("buys", "held", "own", "sells")

    def __init__(self) -> None:
        self.held = self.buys = self.sells = self.own = 0.0

    def copy(self) -> Cell:
        """Return one with the same figures."""
        other = Cell()
        other.held, other.buys, other.sells, other.own = self.held, self.buys, self.sells, self.own
        return other

    @property
    def largest(self) -> float:
        """|lots| at most over fills."""
        return max(abs(self.held + self.buys), abs(self.held - self.sells))


class Book:
    """What is kept of one account: its assets (C,), its units, and its contracts with tiers."""

    __slots__ = ("cells", "low", "orders", "own", "owned", "units", "unknown_orders", "unknown_positions", "x")

    def __init__(self, terms: PoolTerms) -> None:
        columns = len(terms.price)
        self.x, self.owned, self.low = [0.0] * columns, [0.0] * columns, [0.0] * columns
        self.orders = [0] * columns
        self.units = [Unit(start) for start in terms.start]
        self.cells: dict[int, Cell] = {}
        self.own = [0.0] * len(terms.nets)
        self.unknown_positions = self.unknown_orders = 0

    def copy(self) -> Book:
        """Return one with the same figures, to try something on."""
        other = Book.__new__(Book)
        other.x, other.owned, other.low, other.orders = list(self.x), list(self.owned), list(self.low), self.orders
        other.units, other.own = [unit.copy() for unit in self.units], list(self.own)
        other.cells = {index: cell.copy() for index, cell in self.cells.items()}
        other.unknown_positions, other.unknown_orders = self.unknown_positions, self.unknown_orders
        return other


class PoolKernel:
    """What is available in each pool of an account over scenarios and over fills, and with one more order.

    The interface that the checks ask is MarginKernel's, with a pool for its group: an index out of range raises
    IndexError, lots or cash beyond MAX_LOTS and MAX_CASH raise ValueError where they would be kept, and what the terms
    do not know is NaN.
    """

    def __init__(self, accounts: int, terms: PoolTerms) -> None:
        check_terms(terms)
        self.accounts, self._terms = accounts, terms
        self.pools, self.scenarios = len(terms.nets), terms.start.shape[1]
        self._books: dict[int, Book] = {}
        columns = terms.column_pool.tolist()
        self._columns = [[c for c, at in enumerate(columns) if at == pool] for pool in range(self.pools)]
        units = terms.pool.tolist()
        self._units = [[u for u, at in enumerate(units) if at == pool] for pool in range(self.pools)]

    def is_known(self, account: int) -> bool:
        """Whether the terms know everything the account holds and has working."""
        book = self._book(account)
        return not (book.unknown_positions or book.unknown_orders)

    def clear(self, account: int) -> None:
        """Forget an account's positions, cash and orders."""
        self._book(account)
        del self._books[account]

    def add_cash(self, account: int, column: int, amount: float) -> None:
        """Add whole units of an asset; what counts nowhere is passed over."""
        book = self._book(account)
        if not 0 <= column < len(book.x):
            raise IndexError(f"column {column} is not in 0..{len(book.x) - 1}")
        check_amounts(0.0, amount)
        book.x[column] += amount
        book.owned[column] += amount

    def add_position(self, account: int, instrument: int, lots: float) -> None:
        """Add signed lots to what an account holds."""
        book = self._book(account)
        self._check_instrument(instrument)
        check_amounts(lots, 0.0)
        if lots and not self._terms.known[instrument]:
            book.unknown_positions += 1
        elif lots:
            self._add(book, instrument, lots)

    def hold(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Count a working order, as MarginKernel.hold does."""
        book = self._book(account)
        self._check_instrument(instrument)
        check_amounts(lots, cash)
        check_amounts(alt_lots, alt_cash)
        if not self._terms.known[instrument]:
            book.unknown_orders += 1
            return
        effect = self._effect(instrument, lots, cash, alt_lots, alt_cash)
        unit = book.units[effect.unit]
        unit.row += effect.row
        unit.once += effect.once
        unit.orders += 1
        for k, more in enumerate(effect.sums):
            unit.sums[k] += more
        expiry_s = float(self._terms.expiry_s[instrument])
        unit.expiries[expiry_s] = unit.expiries.get(expiry_s, 0) + 1
        book.low[effect.column] += effect.low
        book.orders[effect.column] += 1
        self._order_cell(book, instrument, effect.lots)

    def release(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Take a working order back; the arguments must be those of its hold. Rounding does not outlive the last."""
        book = self._book(account)
        self._check_instrument(instrument)
        check_amounts(lots, cash)
        check_amounts(alt_lots, alt_cash)
        is_known = self._terms.known[instrument]
        if not (book.units[int(self._terms.unit[instrument])].orders if is_known else book.unknown_orders):
            raise ValueError(f"account {account} holds no order to release")
        if not is_known:
            book.unknown_orders -= 1
            return
        effect = self._effect(instrument, lots, cash, alt_lots, alt_cash)
        unit = book.units[effect.unit]
        unit.orders -= 1
        expiry_s = float(self._terms.expiry_s[instrument])
        unit.expiries[expiry_s] -= 1
        if not unit.orders:
            unit.row[:], unit.sums, unit.once, unit.expiries = unit.base, [0.0] * SUMS, 0.0, {}
        else:
            unit.row -= effect.row
            unit.once -= effect.once
            for k, more in enumerate(effect.sums):
                unit.sums[k] -= more
        book.orders[effect.column] -= 1
        book.low[effect.column] = book.low[effect.column] - effect.low if book.orders[effect.column] else 0.0
        self._order_cell(book, instrument, -effect.lots, of_buy=effect.lots > 0)

    def worst_of_group(self, account: int, group: int) -> float:
        """Return what is available in a pool, working orders filled at their worst."""
        book = self._book(account)
        self._check_pool(group)
        return nan if book.unknown_positions or book.unknown_orders else self._left(book, group, None)

    def held_of_group(self, account: int, group: int) -> float:
        """Return what `worst_of_group` would be without working orders."""
        book = self._book(account)
        self._check_pool(group)
        if book.unknown_positions:
            return nan
        held = book.copy()
        held.low = [0.0] * len(held.low)
        for unit in held.units:
            unit.row, unit.sums, unit.once, unit.expiries = unit.base, [0.0] * SUMS, 0.0, {}
        for instrument, cell in held.cells.items():
            cell.buys = cell.sells = 0.0
            self._settle(held, instrument, cell)
        return self._left(held, group, None)

    def equity_of_group(self, account: int, group: int, base_scenario: int) -> float:
        """Return a pool's equity today, without working orders; the scenario is the terms' base."""
        book, terms = self._book(account), self._terms
        self._check_pool(group)
        if book.unknown_positions:
            return nan
        total = 0.0
        for c in self._columns[group]:
            x = float(terms.price[c]) * book.x[c]
            total += min(float(terms.rate[c]) * x, x)
        return total

    def what_if_of_group(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> float:
        """Return what `worst_of_group` of the instrument's pool would be with this order held; nothing changes."""
        book = self._book(account)
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return nan
        effect = self._effect(instrument, lots, cash, alt_lots, alt_cash)
        return self._left(book, int(self._terms.pool[effect.unit]), effect)

    def if_filled_of_group(self, account: int, instrument: int, lots: float, cash: float) -> float:
        """Return what `worst_of_group` of the instrument's pool would be if this were filled completely now."""
        book = self._book(account)
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, 0.0, 0.0):
            return nan
        tried, column = book.copy(), int(self._terms.column[instrument])
        tried.x[column] += cash
        tried.owned[column] += cash
        self._add(tried, instrument, lots)
        return self._left(tried, int(self._terms.column_pool[column]), None)

    def _add(self, book: Book, instrument: int, lots: float) -> None:
        terms = self._terms
        unit, column = book.units[int(terms.unit[instrument])], int(terms.column[instrument])
        gained = terms.move[instrument] * lots
        unit.base += gained
        unit.row += gained
        unit.held[instrument] = unit.held.get(instrument, 0.0) + lots
        if not unit.held[instrument]:
            del unit.held[instrument]
        unit.fixed = None
        worth = float(terms.worth[instrument]) * lots
        book.x[column] += worth
        if not terms.paid[instrument]:
            book.owned[column] += worth
        if terms.count[instrument]:
            cell = book.cells.setdefault(instrument, Cell())
            cell.held += lots
            self._settle(book, instrument, cell)

    def _order_cell(self, book: Book, instrument: int, lots: float, *, of_buy: bool | None = None) -> None:
        if not self._terms.count[instrument]:
            return
        cell = book.cells.setdefault(instrument, Cell())
        if lots > 0 if of_buy is None else of_buy:
            cell.buys = max(0.0, cell.buys + lots)
        else:
            cell.sells = max(0.0, cell.sells - lots)
        self._settle(book, instrument, cell)

    def _settle(self, book: Book, instrument: int, cell: Cell) -> None:
        own = self._tiered(instrument, cell.largest)
        book.own[int(self._terms.pool[self._terms.unit[instrument]])] += own - cell.own
        cell.own = own

    def _tiered(self, instrument: int, lots: float) -> float:
        """Return a contract's margin in the pool's currency at so many lots either way."""
        terms = self._terms
        v, first = lots * float(terms.notional[instrument]), int(terms.first[instrument])
        rate = taken = 0.0
        for row in range(first, first + int(terms.count[instrument])):
            if v > terms.tiers[row, 0] or row == first:
                rate, taken = float(terms.tiers[row, 1]), float(terms.tiers[row, 2])
        return float(terms.scale[instrument]) * max(0.0, v * rate - taken)

    def _effect(self, instrument: int, lots: float, cash: float, alt_lots: float, alt_cash: float) -> Effect:
        """Return what an order adds at its worst: min(0, D, D_alt, D + w D_alt) of each part."""
        terms = self._terms
        unit, column = int(terms.unit[instrument]), int(terms.column[instrument])
        share = rest_share(lots, alt_lots)
        worth, move = float(terms.worth[instrument]), terms.move[instrument]
        price, rate = float(terms.price[column]), float(terms.rate[column])
        one, other = (_at_once(c + n * worth, price, rate) for n, c in ((lots, cash), (alt_lots, alt_cash)))
        once = 0.0
        if terms.nets[terms.pool[unit]]:
            once = min(0.0, one, other, one + share * other)
            one, other = max(one, 0.0), max(other, 0.0)
        first, second = lots * move + one, alt_lots * move + other
        row = np.minimum(np.minimum(np.minimum(first, second), first + share * second), 0.0)
        kept = 0.0 if terms.paid[instrument] else worth
        paid, other_paid = cash + lots * kept, alt_cash + alt_lots * kept
        low = min(0.0, paid, other_paid, paid + share * other_paid)
        most = alt_lots if abs(alt_lots) > abs(lots) else lots
        a, g = (terms.a_buy, terms.g_buy) if most > 0 else (terms.a_sell, terms.g_sell)
        rows = (a, terms.b, terms.d, g, terms.n)
        sums = tuple(abs(most) * float(asked[instrument]) for asked in rows)
        return Effect(unit, column, row, once, low, sums, instrument, most)

    def _left(self, book: Book, pool: int, effect: Effect | None) -> float:
        terms, total = self._terms, 0.0
        for c in self._columns[pool]:
            price, x = float(terms.price[c]), float(terms.price[c]) * book.x[c]
            total += min(float(terms.rate[c]) * x, x)
            low = book.owned[c] + book.low[c] + (effect.low if effect is not None and effect.column == c else 0.0)
            total -= float(terms.borrow[c]) * price * max(0.0, -low)
        joint = np.zeros(self.scenarios)
        for u in self._units[pool]:
            unit = book.units[u]
            mine = effect if effect is not None and effect.unit == u else None
            row = unit.row if mine is None else unit.row + mine.row
            total += self._of_unit(u, unit, row, mine)
            if terms.nets[pool]:
                joint += np.where(row < 0, row, np.minimum(float(terms.offset[pool]) * row, terms.limit[pool]))
        if terms.nets[pool]:
            total += float(joint.min())
        own = book.own[pool]
        if effect is not None and terms.count[effect.instrument]:
            cell = book.cells.get(effect.instrument, Cell()).copy()
            own -= cell.own
            if effect.lots > 0:
                cell.buys += effect.lots
            else:
                cell.sells -= effect.lots
            own += self._tiered(effect.instrument, cell.largest)
        return total - max(0.0, own)

    def _of_unit(self, u: int, unit: Unit, row: Floats, mine: Effect | None) -> float:
        """Return what a unit adds to what is available; in a pool that nets, all but its row."""
        terms = self._terms
        if unit.fixed is None:
            unit.fixed = terms.fixed(u, unit.held)
        a, d, g, n = unit.fixed
        sums = unit.sums if mine is None else [was + more for was, more in zip(unit.sums, mine.sums)]
        a = a + sums[0] + self._days(unit, mine) * sums[1]
        d = d + sums[2]
        beyond = d - float(terms.shock[u, 0])
        if beyond > 0:
            a = a + d * min(float(terms.shock[u, 2]), float(terms.shock[u, 1]) * beyond)
        n = n + sums[4]
        once = unit.once + (mine.once if mine is not None else 0.0)
        if terms.nets[terms.pool[u]]:
            return once - a - n
        left = float(row.min()) - a
        if len(terms.steps):
            left = min(left, float(row[terms.base]) - self._floor(g + sums[3]))
        return left - n + once

    def _floor(self, g: float) -> float:
        factor = float(self._terms.steps[0, 1])
        for above, multiplier in self._terms.steps.tolist():
            if g > above:
                factor = multiplier
        return g * factor

    def _days(self, unit: Unit, mine: Effect | None) -> float:
        """Return the days between the first and the last expiry of what is held and worked, at most most_days."""
        terms = self._terms
        if not terms.most_days:
            return 0.0
        found = [float(terms.expiry_s[instrument]) for instrument in unit.held]
        found += [expiry_s for expiry_s, count in unit.expiries.items() if count]
        if mine is not None:
            found.append(float(terms.expiry_s[mine.instrument]))
        first, last = inf, -inf
        for expiry_s in found:
            if expiry_s >= 0:
                first, last = min(first, expiry_s), max(last, expiry_s)
        return min((last - first) / SECONDS_A_DAY, terms.most_days) if last > first else 0.0

    def _can_ask(self, book: Book, instrument: int, lots: float, cash: float, alt_lots: float, alt_cash: float) -> bool:
        is_usable = -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH
        is_usable &= -MAX_LOTS <= alt_lots <= MAX_LOTS and -MAX_CASH <= alt_cash <= MAX_CASH
        return is_usable and bool(self._terms.known[instrument]) and not (book.unknown_positions or book.unknown_orders)

    def _book(self, account: int) -> Book:
        if not 0 <= account < self.accounts:
            raise IndexError(f"account {account} is not in 0..{self.accounts - 1}")
        book = self._books.get(account)
        if book is None:
            book = self._books[account] = Book(self._terms)
        return book

    def _check_instrument(self, instrument: int) -> None:
        if not 0 <= instrument < len(self._terms.known):
            raise IndexError(f"instrument {instrument} is not in 0..{len(self._terms.known) - 1}")

    def _check_pool(self, pool: int) -> None:
        if not 0 <= pool < self.pools:
            raise IndexError(f"pool {pool} is not in 0..{self.pools - 1}")


def _at_once(amount: float, price: float, rate: float) -> float:
    """Return what an amount of an asset is worth in the pool: a gain after its rate, a loss whole."""
    return min(rate * amount, amount) * price
