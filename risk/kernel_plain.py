"""The margin kernel in plain Python: what `_kernel.pyx` does, one numpy call a line.

For every row (an account, and each desk and firm above it) and risk group the kernel keeps two rows over the scenarios,
in USD:

    base[s]   what is held: lots * value[s] + cash * currency_value[s]
    row[s]    base[s] and, for every working order, min(0, D[s])

where D is what the order would add if it filled completely. An adversary chooses how much of each order fills; D is
linear in that fraction, so the least is taken at one of its ends, separately for each order, and the bound is exact.

While a replace is pending, the version that the venue works now (lots, cash) may fill in any part, and then the one
asked for (alt_lots, alt_cash) up to what its larger quantity leaves. Over x lots of the one and y of the other,
0 <= x <= lots and 0 <= y <= max(0, alt_lots - x), the least lies at a corner: nothing, all of the old, all of the new,
or all of the old and then the rest of the new. So the order adds min(0, D, D_alt, D + w D_alt) with
w = max(0, 1 - lots / alt_lots). Leaving the last corner out is no bound where a replace raises the quantity.

Two blocks of scenarios, and the worse of both counts:

    A   the grid: each group takes its own worst, sum over groups of min over s of row[s]
    B   the joint scenarios, in which all groups move together: min over j of row[j]

What of a fill is put aside for haircuts (risk/haircuts.py) is taken off its D: a bound, since it is as much as a fill
may cost in haircuts beside its D. What is left of D below zero counts 1 + `located` times (risk/location.py).

Each is exact over fills by the same argument, and the least over fills of the lesser of two is the lesser of their
leasts. With an offset cap c it is c B + (1 - c) min(A, B): then A's and B's worst fills may be different ones, and the
figure is a bound whose gap is at most c times what B is better at A's fills than at its own; none where c = 0.
What margin asks for by size (risk/charges.py) is taken off.

A row's parent holds all that the row holds: a desk is the sum of its accounts, position by position and order by order.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, nan

import numpy as np

from risk.charges import Cell, Row, cell_charge, group_charge
from risk.kernel_book import Book, Books, dearest, least
from risk.kernel_checks import EQUAL_TO, MAX_CASH, MAX_LOTS, check_capacities, check_generation, rest_share
from risk.limits import RowTerms
from risk.pricing import Floats

__all__ = ["EQUAL_TO", "MAX_CASH", "MAX_LOTS", "MarginKernel", "check_capacities", "check_generation", "rest_share"]

# instrument, lots, cash, alt_lots, alt_cash: as for hold
Asked = tuple[int, float, float, float, float]

_add, _minimum = np.add, np.minimum


class MarginKernel(Books):
    """Worst equity of accounts over scenarios and over fills of working orders, and what one more order would do.

    `accounts` counts rows: accounts, and what `set_tree` puts above them. Indices out of capacity raise IndexError. An
    instrument or currency that the loaded generation does not know makes the row's figures NaN, never zero: refuse what
    is NaN. Lots or cash that are NaN, infinite or beyond MAX_LOTS and MAX_CASH raise ValueError where they would be
    kept, and give NaN from what_if and if_filled.
    """

    def is_known(self, account: int) -> bool:
        """Whether the generation knows everything the account holds and has working."""
        book = self._book(account)
        return not (book.unknown_positions or book.unknown_orders)

    def worst(self, account: int) -> float:
        """Return the worst equity in USD over both blocks, working orders filled at their worst, charges taken off."""
        book = self._book(account)
        if book.unknown_positions or book.unknown_orders:
            return nan
        return self._worst(account, book)

    def worst_of_group(self, account: int, group: int) -> float:
        """Return the worst of the grid in one group, its charges taken off."""
        book = self._book(account)
        self._check_group(group)
        if book.unknown_positions or book.unknown_orders:
            return nan
        charges, sizes = self._charges, book.sizes
        return book.minima[group] - (sizes.charge(charges, group) if charges is not None and sizes is not None else 0.0)

    def held(self, account: int) -> float:
        """Return what `worst` would be without working orders."""
        book = self._book(account)
        if book.unknown_positions:
            return nan
        alone = sum(least(base) for base in book.base)
        worst = self._blend(account, alone, least(book.joint_base) if self.joint else 0.0)
        return worst - sum(self._charge_held(account, book, group) for group in range(self.groups))

    def held_of_group(self, account: int, group: int) -> float:
        """Return what `worst_of_group` would be without working orders."""
        book = self._book(account)
        self._check_group(group)
        return nan if book.unknown_positions else least(book.base[group]) - self._charge_held(account, book, group)

    def equity(self, account: int, base_scenario: int) -> float:
        """Return the equity in USD in one scenario, without working orders."""
        book = self._book(account)
        if not 0 <= base_scenario < self.scenarios:
            raise IndexError(f"scenario {base_scenario} is not in 0..{self.scenarios - 1}")
        if book.unknown_positions:
            return nan
        return sum(float(base[base_scenario]) for base in book.base)

    def equity_of_group(self, account: int, group: int, base_scenario: int) -> float:
        """Return the equity of one group in one scenario, without working orders."""
        book = self._book(account)
        self._check_group(group)
        return nan if book.unknown_positions else float(book.base[group][base_scenario])

    def what_if(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> float:
        """Return what `worst` would be with this order held; nothing changes."""
        book = self._books.get(account) or self._book(account)
        # Negative indices end here too, so that a Python list can not take them from its end.
        if instrument < 0 or instrument >= self.instruments:
            self._check_instrument(instrument)
        if (
            not (
                -MAX_LOTS <= lots <= MAX_LOTS
                and -MAX_CASH <= cash <= MAX_CASH
                and -MAX_LOTS <= alt_lots <= MAX_LOTS
                and -MAX_CASH <= alt_cash <= MAX_CASH
            )
            or not self._known[instrument]
            or book.unknown_positions
            or book.unknown_orders
        ):
            return nan
        group, loss, fill = self._group_of_instrument[instrument], self._loss, self._fill
        if alt_lots or alt_cash or self.joint or self._charges is not None or self.puts_aside:
            return self._what_if(account, book, (instrument, lots, cash, alt_lots, alt_cash))
        # The same without its calls: this is the hot path.
        fill[0], fill[1] = lots, cash
        fill.dot(self._fills[instrument], loss)
        _minimum(loss, self._zeros, out=loss)
        _add(loss, book.row[group], out=loss)
        return _sum_with(book.minima, group, loss.item(loss.argmin()))

    def what_if_of_group(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> float:
        """Return what `worst_of_group` of the instrument's group would be with this order held; nothing changes."""
        book = self._book(account)
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return nan
        group = self._group_of_instrument[instrument]
        least, _ = self._leasts(book, (instrument, lots, cash, alt_lots, alt_cash))
        return least - self._charge_with(account, book, (instrument, lots, cash, alt_lots, alt_cash), group)

    def what_if_basket(self, account: int, orders: Iterable[Asked]) -> float:
        """Return what `worst` would be with all these orders held; nothing changes."""
        book = self._book(account).copy()
        for asked in orders:
            self._check_instrument(asked[0])
            if not self._can_ask(book, *asked):
                return nan
            self._weigh(book, *asked)
            self._hold(account, book, *asked)
        return nan if book.unknown_positions or book.unknown_orders else self._worst(account, book)

    def if_filled(self, account: int, instrument: int, lots: float, cash: float) -> float:
        """Return what `worst` would be if this were filled completely now.

        The worst equity without charges is concave in the fraction filled: where this is no less than `worst`, no
        partial fill is. Charges are convex in it, and keep that.
        """
        return self._if_filled(account, instrument, lots, cash, is_whole=True)

    def if_filled_of_group(self, account: int, instrument: int, lots: float, cash: float) -> float:
        """Return what `worst_of_group` of the instrument's group would be if this were filled completely now."""
        return self._if_filled(account, instrument, lots, cash, is_whole=False)

    def _if_filled(self, account: int, instrument: int, lots: float, cash: float, *, is_whole: bool) -> float:
        book = self._book(account)
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, 0.0, 0.0):
            return nan
        group, tried = self._group_of_instrument[instrument], book.copy()
        self._fill[0], self._fill[1] = lots, cash
        less = self._aside(book, instrument, lots, cash)
        tried.row[group] += self._whole(self._fill.dot(self._fills[instrument]) - less)
        tried.minima[group] = least(tried.row[group])
        if self.joint:
            tried.joint_row += self._whole(self._fill.dot(self._joint_fills[instrument]) - less)
            tried.joint_least = least(tried.joint_row)
        if self._charges is not None:
            self._cell(tried, instrument).held += lots
            self._settle(account, tried, instrument)
        if is_whole:
            return self._worst(account, tried)
        charge = 0.0 if self._charges is None or tried.sizes is None else tried.sizes.charge(self._charges, group)
        return tried.minima[group] - charge

    def _whole(self, added: Floats) -> Floats:
        """Return what a whole fill adds: what it loses costs as well where it lies."""
        return added + self._located * _minimum(added, 0.0) if self._located else added

    def what_if_given(
        self, account: int, given: Floats, joint_given: Floats, instrument: int, lots: float, cash: float,
        alt_lots: float = 0.0, alt_cash: float = 0.0,
    ) -> float:  # fmt: skip
        """Return what `what_if` would be had the account so much more, USD (G, S) and (J,); nothing changes."""
        book = self._book(account).copy()
        self._check_instrument(instrument)
        if given.shape != (self.groups, self.scenarios) or joint_given.shape != (self.joint,):
            raise ValueError("what is given is not of the scenarios")
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return nan
        for group, more in enumerate(given):
            book.row[group] += more
            book.minima[group] = least(book.row[group])
        if self.joint:
            book.joint_row += joint_given
            book.joint_least = least(book.joint_row)
        return self._what_if(account, book, (instrument, lots, cash, alt_lots, alt_cash))

    def row(self, account: int, group: int) -> Floats:
        """Return a copy of a group's equity in each scenario, working orders at their worst; NaN where unknown."""
        book = self._book(account)
        self._check_group(group)
        if book.unknown_positions or book.unknown_orders:
            return np.full(self.scenarios, nan)
        return np.array(book.row[group])

    def joint_row(self, account: int) -> Floats:
        """Return a copy of the equity in each joint scenario, working orders at their worst; NaN where unknown."""
        book = self._book(account)
        if book.unknown_positions or book.unknown_orders:
            return np.full(self.joint, nan)
        return np.array(book.joint_row)

    def binding(self, account: int, group: int) -> int:
        """Return the scenario that is the worst of a group, the first of several that differ by rounding alone."""
        book = self._book(account)
        self._check_group(group)
        least = book.minima[group]
        return int((book.row[group] <= least + abs(least) * EQUAL_TO).argmax())

    def sizes(self, account: int) -> tuple[float, float, float, int, tuple[float, ...]]:
        """Return gross notional, highest and lowest net notional (USD), working orders, and closing USD by product."""
        sizes = self._book(account).sizes or Row(0)
        return sizes.gross, sizes.high, sizes.low, sizes.working, tuple(sizes.products)

    def position(self, account: int, instrument: int) -> tuple[float, float, float]:
        """Return lots held, and lots that working buys and sells may add; nothing without charges."""
        self._check_instrument(instrument)
        sizes = self._book(account).sizes
        cell = None if sizes is None else sizes.cells.get(instrument)
        return (0.0, 0.0, 0.0) if cell is None else (cell.held, cell.buys, cell.sells)

    def charge_of(self, account: int) -> float:
        """Return what is taken off `worst` by size."""
        book = self._book(account)
        return 0.0 if self._charges is None else self._charge_with(account, book, None, -1)

    def first_short(
        self, account: int, base_scenario: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0,
        alt_cash: float = 0.0,
    ) -> int:  # fmt: skip
        """Return the first of a row and those above it that this order would leave short, or -1.

        Short is where `what_if` is below zero, unknown, or more than `max_margin` below the equity.
        """
        for row in self._chains.get(account, (account,)):
            worst = self.what_if(row, instrument, lots, cash, alt_lots, alt_cash)
            if not worst >= 0.0:
                return row
            terms = self._terms.get(row)
            if terms is not None and not self.equity(row, base_scenario) - worst <= terms.max_margin:
                return row
        return -1

    def first_beyond(self, account: int, instrument: int, lots: float) -> int:
        """Return the first row above an account whose limits one more order of so many lots would break, or -1."""
        self._check_instrument(instrument)
        for row in self._chains.get(account, (account,))[1:]:
            terms = self._terms.get(row)
            if terms is not None and not self._is_within(row, terms, instrument, lots):
                return row
        return -1

    def after(self, account: int, instrument: int, lots: float) -> tuple[float, int, float, float, float, float]:
        """Return what a row would come to with one more working order of so many lots, either way, USD.

        Notional of the order, working orders before it, gross and net notional, the largest position in lots, and by
        how much the closing notional of the contract's product grows. NaN where unknown or not counted.
        """
        self._check_instrument(instrument)
        book, charges = self._book(account), self._charges
        if charges is None or not self._known[instrument] or book.unknown_orders or book.unknown_positions:
            return nan, 0, nan, nan, nan, nan
        notional, cell = float(charges.notional[instrument]), self._cell(book, instrument)
        tried, sizes = cell.copy(), book.sizes
        tried.order(lots, 0.0)
        assert sizes is not None
        high, low = (tried.held + tried.buys) * notional, (tried.held - tried.sells) * notional
        gross = sizes.gross + (max(abs(high), abs(low)) - max(abs(cell.high), abs(cell.low)))
        net_high, net_low = sizes.high + (high - cell.high), sizes.low + (low - cell.low)
        grown = tried.largest * float(charges.closing[instrument]) - cell.closing
        return (
            abs(lots) * notional, sizes.working, gross, max(abs(net_high), abs(net_low)), tried.largest, grown
        )  # fmt: skip

    def at_base(
        self, account: int, base_scenario: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0,
        alt_cash: float = 0.0,
    ) -> float:  # fmt: skip
        """Return the equity in one scenario after the worst fills of all working orders and of this one."""
        book = self._book(account)
        self._check_instrument(instrument)
        if not self._can_ask(book, instrument, lots, cash, alt_lots, alt_cash):
            return nan
        self._weigh(book, instrument, lots, cash, alt_lots, alt_cash)
        return sum(float(row[base_scenario]) for row in book.row) + float(self._loss[base_scenario])

    def _is_within(self, row: int, terms: RowTerms, instrument: int, lots: float) -> bool:
        notional, working, gross, net, largest, _ = self.after(row, instrument, lots)
        limit = inf if terms.position_lots is None else terms.position_lots.get(instrument, -1)
        return (
            notional <= terms.max_order_notional
            and working < terms.max_working_orders
            and gross <= terms.max_gross_notional
            and net <= terms.max_net_notional
            and largest <= limit
        )

    def _leasts(self, book: Book, asked: Asked) -> tuple[float, float]:
        """Return the least of the order's group, and of the joint scenarios, with it held."""
        instrument = asked[0]
        group = self._group_of_instrument[instrument]
        if self._is_reserved(instrument):
            return book.minima[group], book.joint_least
        self._weigh(book, *asked)
        _add(self._loss, book.row[group], out=self._loss)
        if not self.joint:
            return least(self._loss), 0.0
        _add(self._joint_loss, book.joint_row, out=self._joint_loss)
        return least(self._loss), least(self._joint_loss)

    def _what_if(self, row: int, book: Book, asked: Asked) -> float:
        group = self._group_of_instrument[asked[0]]
        least, joint = self._leasts(book, asked)
        total = self._blend(row, _sum_with(book.minima, group, least), joint)
        return total - self._charge_with(row, book, asked, -1)

    def _worst(self, row: int, book: Book) -> float:
        worst = self._blend(row, sum(book.minima), book.joint_least)
        return worst - self._charge_with(row, book, None, -1)

    def _blend(self, row: int, alone: float, joint: float) -> float:
        if not self.joint:
            return alone
        terms = self._terms.get(row)
        cap = 0.0 if terms is None else terms.offset_cap
        return cap * joint + (1.0 - cap) * min(alone, joint)

    def _charge_with(self, row: int, book: Book, asked: Asked | None, only: int) -> float:
        """Return what is asked for by size, with one more order, of all groups or of one."""
        charges = self._charges
        if charges is None:
            return 0.0
        sizes = book.sizes or Row(self.groups)
        mine = -1 if asked is None else self._group_of_instrument[asked[0]]
        total = 0.0
        for group in range(self.groups) if only < 0 else (only,):
            if asked is not None and group == mine:
                order = dearest(*asked[1:])
                total += sizes.charge_with(charges, asked[0], group, self._rate(row), *order)
            else:
                total += sizes.charge(charges, group)
        return total

    def _charge_held(self, row: int, book: Book, group: int) -> float:
        """Return what a group asks for by the size of what is held alone."""
        charges, sizes = self._charges, book.sizes
        if charges is None or sizes is None:
            return 0.0
        closing = own = 0.0
        for index, cell in sizes.cells.items():
            if self._group_of_instrument[index] == group:
                alone = Cell()
                alone.held = cell.held
                closing += alone.largest * float(charges.closing[index])
                own += cell_charge(charges, index, alone, self._rate(row))
        return group_charge(charges.group[group].tolist(), closing) + max(0.0, own)

    def _can_ask(self, book: Book, instrument: int, lots: float, cash: float, alt_lots: float, alt_cash: float) -> bool:
        is_usable = -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH
        is_usable &= -MAX_LOTS <= alt_lots <= MAX_LOTS and -MAX_CASH <= alt_cash <= MAX_CASH
        return is_usable and bool(self._known[instrument]) and not (book.unknown_positions or book.unknown_orders)


def _sum_with(minima: list[float], group: int, least: float) -> float:
    """Return the sum of all minima with one replaced, added in the order `worst` adds them: the same to the bit."""
    kept = minima[group]
    minima[group] = least
    total = sum(minima)
    minima[group] = kept
    return total
