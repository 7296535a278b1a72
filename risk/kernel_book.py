"""What the plain margin kernel keeps: generations, the tree of rows, and each row's books; see kernel_plain."""

from __future__ import annotations

import numpy as np

from risk.charges import BY_RESERVATION, Cell, Charges, Row, check_charges
from risk.kernel_checks import (
    Flags,
    Ints,
    check_amounts,
    check_asides,
    check_bearers,
    check_capacities,
    check_generation,
    check_joint,
    check_tree,
    rest_share,
)
from risk.limits import RowTerms
from risk.pricing import Floats

_minimum = np.minimum


class Book:
    """What is kept of one row."""

    __slots__ = (
        "base", "bears", "joint_base", "joint_least", "joint_row", "minima", "orders", "row", "sizes", "unknown_orders",
        "unknown_positions",
    )  # fmt: skip

    def __init__(self, groups: int, start: Floats, joint: int) -> None:
        self.base: list[Floats] = list(np.array(start))
        self.row: list[Floats] = list(np.array(start))
        self.minima = [least(row) for row in start]
        self.joint_base: Floats = np.zeros(joint)
        self.joint_row: Floats = np.zeros(joint)
        self.joint_least = 0.0
        self.orders = [0] * groups
        self.sizes: Row | None = None
        self.unknown_positions = 0
        self.unknown_orders = 0
        self.bears = 0  # by which of the sets of rates it puts aside

    def copy(self) -> Book:
        """Return one with the same figures, to try something on."""
        other = Book.__new__(Book)
        other.base, other.joint_base = self.base, self.joint_base
        other.row, other.joint_row = [np.array(row) for row in self.row], np.array(self.joint_row)
        other.minima, other.joint_least = list(self.minima), self.joint_least
        other.orders = list(self.orders)
        other.sizes = None if self.sizes is None else self.sizes.copy()
        other.unknown_positions, other.unknown_orders = self.unknown_positions, self.unknown_orders
        other.bears = self.bears
        return other


class Books:
    """The part of MarginKernel that changes; what it answers is in kernel_plain."""

    def __init__(
        self, accounts: int, groups: int, instruments: int, currencies: int, scenarios: int, joint: int = 0
    ) -> None:
        check_capacities(accounts, groups, instruments, currencies, scenarios, joint)
        self.accounts, self.groups, self.instruments = accounts, groups, instruments
        self.currencies, self.scenarios, self.joint = currencies, scenarios, joint
        self._books: dict[int, Book] = {}
        self._values: list[Floats] = []
        self._currency_values: list[Floats] = []
        self._joint_values: list[Floats] = []
        self._joint_currency_values: list[Floats] = []
        # (2, S) an instrument: its own row and that of its settlement currency, so that D is one product.
        self._fills: list[Floats] = []
        self._joint_fills: list[Floats] = []
        self._group_of_instrument: list[int] = [0] * instruments
        self._group_of_currency: list[int] = [0] * currencies
        self._known: list[int] = [0] * instruments
        # Of instruments that are apart from their coin: coins that go with each lot, and which.
        self._carried: dict[int, tuple[float, int]] = {}
        self._currency_known: list[int] = [0] * currencies
        self._chains: dict[int, tuple[int, ...]] = {}  # of rows that have parents: the row and all above it
        self._terms: dict[int, RowTerms] = {}
        self._charges: Charges | None = None
        self.puts_aside = False
        self._asides: list[list[list[float]]] = []  # by set and instrument
        self._bearers: Ints = np.zeros(accounts, np.int32)
        # What an order takes is counted `weight` times: where it lies may cost as well.
        self._base, self._netting, self._located, self._weight = 0, 0.0, 0.0, 1.0
        # Buffers: ufuncs are several times cheaper when they need not make their result, or convert a scalar.
        self._zeros: Floats = np.zeros(max(scenarios, joint))
        self._start: Floats = np.zeros((groups, scenarios))
        self._loss: Floats = np.zeros(scenarios)
        self._joint_loss: Floats = np.zeros(joint)
        self._fill: Floats = np.zeros(2)

    def load(
        self,
        values: Floats,
        currency_values: Floats,
        group_of_instrument: Ints,
        group_of_currency: Ints,
        currency_of_instrument: Ints,
        known: Flags,
        joint_values: Floats | None = None,
        joint_currency_values: Floats | None = None,
        carried: Floats | None = None,
    ) -> None:
        """Take a whole generation (copied), and clear every account: the caller adds everything again.

        values (I, S) and currency_values (C, S) in USD, I and C at most the capacities, S exactly; joint_values (I, J)
        and joint_currency_values (C, J) where the kernel was made for them; carried (I,) as Generation has it. A
        currency whose row is not finite is unknown. What `charge` set is forgotten. Raises ValueError, and keeps the
        generation before, if inconsistent.
        """
        capacities = (self.groups, self.instruments, self.currencies, self.scenarios)
        currency_known = check_generation(
            capacities, values, currency_values, group_of_instrument, group_of_currency, currency_of_instrument, known,
            carried,
        )  # fmt: skip
        together = check_joint(
            self.joint, values, currency_values, known, currency_known, joint_values, joint_currency_values
        )
        self._books.clear()
        self._charges = None
        self.puts_aside, self._located, self._weight = False, 0.0, 1.0
        self._bearers[:] = 0
        self._start = np.zeros((self.groups, self.scenarios))
        settlement = np.where(known != 0, currency_of_instrument, 0)
        self._values, self._currency_values, self._fills = _copied(values, currency_values, settlement)
        self._joint_values, self._joint_currency_values, self._joint_fills = _copied(*together, settlement)
        spare, currency_spare = self.instruments - len(values), self.currencies - len(currency_values)
        self._group_of_instrument = group_of_instrument.tolist() + [0] * spare
        self._known = known.tolist() + [0] * spare
        moved = np.zeros(len(values)) if carried is None else np.nan_to_num(carried)
        rows = np.flatnonzero((moved != 0) & (known != 0)).tolist()
        self._carried = {row: (float(moved[row]), int(currency_of_instrument[row])) for row in rows}
        self._group_of_currency = group_of_currency.tolist() + [0] * currency_spare
        self._currency_known = currency_known.tolist() + [0] * currency_spare

    def charge(self, charges: Charges) -> None:
        """Take what the loaded generation asks for by size, and clear every account. Raises ValueError for bad ones."""
        check_charges(charges, len(self._values), self.groups, self.scenarios)
        self._books.clear()
        self._charges = charges
        self._start = np.array(charges.start, dtype=np.float64)

    def put_aside(
        self, base_scenario: int, rates: Floats, netting: float, located: float = 0.0, bearers: Ints | None = None
    ) -> None:
        """Take what of each fill and order is put aside, rates (I, ASIDE_COLUMNS), and clear every account.

        The rates are of a gain and of a loss at once, of each lot that is bought, of each unit of cash that comes in;
        of a fill that is booked the share `netting` of what it gains later, too. What either loses is lost
        1 + `located` times. Rates (K, I, ASIDE_COLUMNS) are K sets, and `bearers` (rows,) says whose each row bears.
        Raises ValueError for bad ones.
        """
        sets = check_asides(rates, len(self._values), base_scenario, self.scenarios, (netting, located))
        self._bearers = check_bearers(bearers, self.accounts, len(sets))
        self._books.clear()
        self._asides, self._base, self.puts_aside = sets.tolist(), base_scenario, True
        self._netting, self._located, self._weight = netting, located, 1.0 + located

    def bear(self, account: int, which: int) -> None:
        """Have a row put aside by one of the sets of rates from now on."""
        if not 0 <= which < len(self._asides):
            raise IndexError(f"set {which} is not in 0..{len(self._asides) - 1}")
        self._book(account).bears = int(which)
        self._bearers[account] = which

    def take_off(self, account: int, group: int, values: Floats, joint_values: Floats) -> None:
        """Take USD (S,) and (J,) off what an account holds in a group, and jointly; and off all above it."""
        books = self._chain(account)
        self._check_group(group)
        if values.shape != (self.scenarios,) or joint_values.shape != (self.joint,):
            raise ValueError("what is taken off is not of the scenarios")
        for _, book in books:
            self._add(book, group, values, joint_values, -1.0)

    def take_off_fill(self, account: int, instrument: int, lots: float, cash: float) -> None:
        """Take off what of a fill is put aside, until the account's haircuts are worked out anew."""
        books = self._chain(account)
        self._check_instrument(instrument)
        if self.puts_aside and self._known[instrument]:
            group, filled = self._group_of_instrument[instrument], (lots, cash)
            both = np.dot(filled, self._fills[instrument]), np.dot(filled, self._joint_fills[instrument])
            today = float(both[0][self._base])
            for _, book in books:
                less = self._aside(book, instrument, lots, cash)
                off, joint_off = (self._off_fill(each, less, today) for each in both)
                self._add(book, group, off, joint_off, -1.0)

    def _off_fill(self, added: Floats, less: float, today: float) -> Floats:
        off: Floats = less + self._netting * np.maximum(0.0, added - today)
        return off + self._located * np.maximum(0.0, off - added) if self._located else off

    def _aside(self, book: Book, instrument: int, lots: float, cash: float) -> float:
        """Return what of a fill a row puts aside, USD."""
        if not self.puts_aside:
            return 0.0
        of_gain, of_loss, of_lot, of_cash = self._asides[book.bears][instrument]
        fills = self._fills[instrument]
        at_once = lots * float(fills[0, self._base]) + cash * float(fills[1, self._base])
        return (
            of_gain * max(0.0, at_once)
            + of_loss * max(0.0, -at_once)
            + of_lot * max(0.0, lots)
            + of_cash * max(0.0, cash)
        )

    def set_tree(self, parents: Ints) -> None:
        """Say which row (-1: none) counts all that a row counts, for as many rows; clear every account."""
        check_tree(parents, self.accounts)
        self._books.clear()
        above, self._chains = parents.tolist(), {}
        for row in np.flatnonzero(parents >= 0).tolist():
            chain = [row]
            while above[chain[-1]] >= 0:
                chain.append(above[chain[-1]])
            self._chains[row] = tuple(chain)

    def set_terms(self, account: int, terms: RowTerms) -> None:
        """Say what a row may have, and its offset cap; it counts from the next fill or order on."""
        self._book(account)
        self._terms[account] = terms

    def clear(self, account: int) -> None:
        """Forget an account's positions, cash and orders; not those of what is above it."""
        self._book(account)
        del self._books[account]

    def add_position(self, account: int, instrument: int, lots: float) -> None:
        """Add signed lots to what an account holds, and all above it."""
        books = self._chain(account)
        self._check_instrument(instrument)
        check_amounts(lots, 0.0)
        if lots == 0:
            return
        group = self._group_of_instrument[instrument]
        for row, book in books:
            if not self._known[instrument]:
                book.unknown_positions += 1
                continue
            self._add(book, group, self._values[instrument], self._joint_values[instrument], lots)
            if instrument in self._carried:
                self._carry(book, instrument, lots)
            if self._charges is not None:
                self._cell(book, instrument).held += lots
                self._settle(row, book, instrument)

    def _carry(self, book: Book, instrument: int, lots: float) -> None:
        """Have a lot's coins go with it; of the joint scenarios nothing changes."""
        coins, currency = self._carried[instrument]
        values = self._currency_values[currency]
        for group, amount in (
            (self._group_of_instrument[instrument], lots * coins),
            (self._group_of_currency[currency], -lots * coins),
        ):
            self._add_alone(book, group, values, amount)

    def add_cash(self, account: int, currency: int, amount: float) -> None:
        """Add whole units of a currency to what an account holds, and all above it."""
        books = self._chain(account)
        if not 0 <= currency < self.currencies:
            raise IndexError(f"currency {currency} is not in 0..{self.currencies - 1}")
        check_amounts(0.0, amount)
        if amount == 0:
            return
        group = self._group_of_currency[currency]
        for _, book in books:
            if not self._currency_known[currency]:
                book.unknown_positions += 1
                continue
            self._add(book, group, self._currency_values[currency], self._joint_currency_values[currency], amount)

    def hold(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Count a working order: `lots` (signed) not yet filled, and the settlement cash that filling them moves.

        While a replace is pending, `lots` and `cash` are the version that the venue works now, and `alt_lots` and
        `alt_cash` the one asked for, both counted from the same filled quantity; without one they are zero.
        """
        books = self._chain(account)
        self._check_instrument(instrument)
        check_amounts(lots, cash)
        check_amounts(alt_lots, alt_cash)
        weighed = -1
        for row, book in books:
            if book.bears != weighed:
                weighed = book.bears
                self._weigh(book, instrument, lots, cash, alt_lots, alt_cash)
            self._hold(row, book, instrument, lots, cash, alt_lots, alt_cash)

    def _hold(
        self, row: int, book: Book, instrument: int, lots: float, cash: float, alt_lots: float, alt_cash: float
    ) -> None:
        """Hold in one book what `_weigh` has written into the buffers."""
        if not self._known[instrument]:
            book.unknown_orders += 1
            return
        group = self._group_of_instrument[instrument]
        if not self._is_reserved(instrument):
            book.row[group] += self._loss
            book.minima[group] = least(book.row[group])
            if self.joint:
                book.joint_row += self._joint_loss
                book.joint_least = least(book.joint_row)
        book.orders[group] += 1
        if self._charges is not None:
            self._cell(book, instrument).order(*dearest(lots, cash, alt_lots, alt_cash))
            self._settle(row, book, instrument)
            assert book.sizes is not None
            book.sizes.working += 1

    def release(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Take a working order back; the arguments must be those of its hold.

        Without a working order left, the group's row is its base again, exactly. Raises ValueError if none is held.
        """
        books = self._chain(account)
        self._check_instrument(instrument)
        check_amounts(lots, cash)
        check_amounts(alt_lots, alt_cash)
        group = self._group_of_instrument[instrument]
        for _, book in books:
            if not (book.orders[group] if self._known[instrument] else book.unknown_orders):
                raise ValueError(f"account {account} holds no order to release")
        weighed = -1
        for row, book in books:
            if not self._known[instrument]:
                book.unknown_orders -= 1
                continue
            if book.bears != weighed:
                weighed = book.bears
                self._weigh(book, instrument, lots, cash, alt_lots, alt_cash)
            self._release(book, group, instrument)
            if self._charges is not None:
                self._cell(book, instrument).unorder(dearest(lots, cash, alt_lots, alt_cash)[0])
                self._settle(row, book, instrument)
                assert book.sizes is not None
                book.sizes.working -= 1

    def _release(self, book: Book, group: int, instrument: int) -> None:
        book.orders[group] -= 1
        # Rounding of earlier holds must not outlive them.
        if not book.orders[group]:
            book.row[group][:] = book.base[group]
        elif not self._is_reserved(instrument):
            book.row[group] -= self._loss
        book.minima[group] = least(book.row[group])
        if self.joint:
            if any(book.orders):
                if not self._is_reserved(instrument):
                    book.joint_row -= self._joint_loss
            else:
                book.joint_row[:] = book.joint_base
            book.joint_least = least(book.joint_row)

    def _weigh(self, book: Book, instrument: int, lots: float, cash: float, alt_lots: float, alt_cash: float) -> None:
        """Write what the order adds to a row at its worst, min(0, D, D_alt, D + w D_alt), into the loss buffers."""
        if not self._known[instrument]:
            return
        less, alt_less, by = self._aside(book, instrument, lots, cash), 0.0, self._weight
        if alt_lots or alt_cash:
            alt_less = self._aside(book, instrument, alt_lots, alt_cash)
        asked = by * lots, by * cash, by * alt_lots, by * alt_cash, by * less, by * alt_less
        _write_loss(self._loss, self._fills[instrument], self._fill, self._zeros[: self.scenarios], *asked)
        if self.joint:
            zeros = self._zeros[: self.joint]
            _write_loss(self._joint_loss, self._joint_fills[instrument], self._fill, zeros, *asked)

    def _is_reserved(self, instrument: int) -> bool:
        """Whether an order takes its reservation alone, which counts the premium already."""
        return self._charges is not None and self._charges.kind[instrument] == BY_RESERVATION

    def _cell(self, book: Book, instrument: int) -> Cell:
        if book.sizes is None:
            book.sizes = Row(self.groups)
        cell = book.sizes.cells.get(instrument)
        if cell is None:
            cell = book.sizes.cells[instrument] = Cell()
        return cell

    def _settle(self, row: int, book: Book, instrument: int) -> None:
        assert self._charges is not None and book.sizes is not None
        book.sizes.settle(self._charges, instrument, self._group_of_instrument[instrument], self._rate(row))

    def _rate(self, row: int) -> float:
        terms = self._terms.get(row)
        return 0.0 if terms is None else terms.rate

    def _add(self, book: Book, group: int, values: Floats, joint_values: Floats, amount: float) -> None:
        """Add what is held for certain: to the base and to the row."""
        self._add_alone(book, group, values, amount)
        if self.joint:
            np.multiply(joint_values, amount, out=self._joint_loss)
            book.joint_base += self._joint_loss
            book.joint_row += self._joint_loss
            book.joint_least = least(book.joint_row)

    def _add_alone(self, book: Book, group: int, values: Floats, amount: float) -> None:
        np.multiply(values, amount, out=self._loss)
        book.base[group] += self._loss
        book.row[group] += self._loss
        book.minima[group] = least(book.row[group])

    def _chain(self, account: int) -> list[tuple[int, Book]]:
        return [(row, self._book(row)) for row in self._chains.get(account, (account,))]

    def _book(self, account: int) -> Book:
        if not 0 <= account < self.accounts:
            raise IndexError(f"account {account} is not in 0..{self.accounts - 1}")
        book = self._books.get(account)
        if book is None:
            book = self._books[account] = Book(self.groups, self._start, self.joint)
            book.bears = int(self._bearers[account])
        return book

    def _check_instrument(self, instrument: int) -> None:
        if not 0 <= instrument < self.instruments:
            raise IndexError(f"instrument {instrument} is not in 0..{self.instruments - 1}")

    def _check_group(self, group: int) -> None:
        if not 0 <= group < self.groups:
            raise IndexError(f"group {group} is not in 0..{self.groups - 1}")


def _copied(
    values: Floats, currency_values: Floats, settlement: Ints
) -> tuple[list[Floats], list[Floats], list[Floats]]:
    fills = np.stack((values, currency_values[settlement]), axis=1, dtype=np.float64)
    return list(np.array(values, np.float64)), list(np.array(currency_values, np.float64)), list(fills)


def dearest(lots: float, cash: float, alt_lots: float, alt_cash: float) -> tuple[float, float]:
    """Return the most lots that an order may fill, signed, and what one of them pays at most, or brings at least."""
    most = alt_lots if abs(alt_lots) > abs(lots) else lots
    prices = [abs(moved / count) for count, moved in ((lots, cash), (alt_lots, alt_cash)) if count]
    if not prices:
        return 0.0, 0.0
    return most, max(prices) if most > 0 else min(prices)


def _write_loss(
    loss: Floats, fills: Floats, fill: Floats, zeros: Floats, lots: float, cash: float, alt_lots: float,
    alt_cash: float, less: float, alt_less: float,
) -> None:  # fmt: skip
    fill[0], fill[1] = lots, cash
    fill.dot(fills, loss)
    if less:
        loss -= less
    if alt_lots or alt_cash:
        fill[0], fill[1] = alt_lots, alt_cash
        alternative = fill.dot(fills) - alt_less
        share = rest_share(lots, alt_lots)
        if share:
            _minimum(loss, loss + share * alternative, out=loss)
        _minimum(loss, alternative, out=loss)
    _minimum(loss, zeros, out=loss)


def least(row: Floats) -> float:
    """Return the least of a row."""
    return float(row.item(row.argmin()))
