"""The margin kernel in plain Python: what `_kernel.pyx` does, one numpy call a line.

For every account and risk group the kernel keeps two rows over the scenarios, in USD:

    base[s]   what is held: lots * value[s] + cash * currency_value[s]
    row[s]    base[s] and, for every working order, min(0, D[s])

where D is what the order would add if it filled completely. An adversary chooses how much of each order fills; D is
linear in that fraction, so the least is taken at one of its ends, separately for each order, and the bound is exact.

While a replace is pending, the version that the venue works now (lots, cash) may fill in any part, and then the one
asked for (alt_lots, alt_cash) up to what its larger quantity leaves. Over x lots of the one and y of the other,
0 <= x <= lots and 0 <= y <= max(0, alt_lots - x), the least lies at a corner: nothing, all of the old, all of the new,
or all of the old and then the rest of the new. So the order adds min(0, D, D_alt, D + w D_alt) with
w = max(0, 1 - lots / alt_lots). Leaving the last corner out is no bound where a replace raises the quantity.

Each group takes its own worst scenario: worst = sum over groups of min over s of row[s].
"""

from math import nan
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.pricing import MAX_VALUE, Floats

Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.uint8]

# Bounds that keep every product and sum finite: NaN and infinity can not enter.
MAX_LOTS: Final = 1e15
MAX_CASH: Final = 1e18
# Scenarios this close (relative) are equally bad: a linear contract is worth the same at every volatility.
EQUAL_TO: Final = 1e-12
# What a kernel may be made for.
MAX_ACCOUNTS: Final = 1_000_000
MAX_GROUPS: Final = 1_024
MAX_INSTRUMENTS: Final = 100_000
MAX_CURRENCIES: Final = 1_024
MAX_SCENARIOS: Final = 1_024

_add, _minimum = np.add, np.minimum


def check_capacities(accounts: int, groups: int, instruments: int, currencies: int, scenarios: int) -> None:
    """Raise ValueError if a kernel of this size is not to be made."""
    for name, count, most in (
        ("accounts", accounts, MAX_ACCOUNTS),
        ("groups", groups, MAX_GROUPS),
        ("instruments", instruments, MAX_INSTRUMENTS),
        ("currencies", currencies, MAX_CURRENCIES),
        ("scenarios", scenarios, MAX_SCENARIOS),
    ):
        if not 1 <= count <= most:
            raise ValueError(f"{name}: {count} is not in 1..{most}")


def check_generation(
    capacities: tuple[int, int, int, int],
    values: Floats,
    currency_values: Floats,
    group_of_instrument: Ints,
    group_of_currency: Ints,
    currency_of_instrument: Ints,
    known: Flags,
) -> Flags:
    """Raise ValueError if a generation is inconsistent; return which currencies are known, uint8 (C,).

    `capacities` are (groups, instruments, currencies, scenarios). Rows of what is known must be finite. A known
    instrument must settle in a known currency of its own group, or in one of constant value: otherwise a fill would
    move two groups and the bound, taken group by group, would not hold.
    """
    groups, instruments, currencies, scenarios = capacities
    count, currency_count = values.shape[0], currency_values.shape[0]
    if values.shape != (count, scenarios) or currency_values.shape != (currency_count, scenarios):
        raise ValueError(f"risk arrays are {values.shape} and {currency_values.shape}, not of {scenarios} scenarios")
    if count > instruments or not 1 <= currency_count <= currencies:
        raise ValueError(f"{count} instruments and {currency_count} currencies are not what the kernel was made for")
    for name, row, length in (
        ("group_of_instrument", group_of_instrument, count),
        ("currency_of_instrument", currency_of_instrument, count),
        ("known", known, count),
        ("group_of_currency", group_of_currency, currency_count),
    ):
        if row.shape != (length,):
            raise ValueError(f"{name} has shape {row.shape}, not ({length},)")
    for name, column, most in (
        ("group_of_instrument", group_of_instrument, groups),
        ("group_of_currency", group_of_currency, groups),
        ("currency_of_instrument", currency_of_instrument[known != 0], currency_count),
    ):
        if ((column < 0) | (column >= most)).any():
            raise ValueError(f"{name} is out of range")
    currency_known: Flags = np.all(np.abs(currency_values) <= MAX_VALUE, axis=1).astype(np.uint8)
    rows = np.flatnonzero(known)
    usable = values if len(rows) == count else values[rows]
    # NaN is neither, so it is refused; no array is made to look at them.
    if not -MAX_VALUE <= usable.min(initial=0.0) <= usable.max(initial=0.0) <= MAX_VALUE:
        raise ValueError("the risk array of a known instrument is not finite or out of bounds")
    settlement = currency_of_instrument[rows]
    if not np.all(currency_known[settlement]):
        raise ValueError("a known instrument settles in an unknown currency")
    is_constant = np.all(currency_values == currency_values[:, :1], axis=1)
    if not (is_constant[settlement] | (group_of_currency[settlement] == group_of_instrument[rows])).all():
        raise ValueError("an instrument settles in a currency of another risk group")
    return currency_known


def rest_share(lots: float, alt_lots: float) -> float:
    """Return w: which share of a replacing order is left once the order it replaces has filled."""
    if alt_lots == 0:
        return 0.0
    return min(max(1.0 - lots / alt_lots, 0.0), 1.0)


class _Book:
    """The rows of one account."""

    __slots__ = ("base", "minima", "orders", "row", "unknown_orders", "unknown_positions")

    def __init__(self, groups: int, scenarios: int) -> None:
        self.base: list[Floats] = list(np.zeros((groups, scenarios)))
        self.row: list[Floats] = list(np.zeros((groups, scenarios)))
        self.minima = [0.0] * groups
        self.orders = [0] * groups
        self.unknown_positions = 0
        self.unknown_orders = 0


class MarginKernel:
    """Worst equity of accounts over scenarios and over fills of working orders, and what one more order would do.

    Indices out of capacity raise IndexError. An instrument or currency that the loaded generation does not know makes
    the account's figures NaN, never zero: refuse what is NaN. Lots or cash that are NaN, infinite or beyond MAX_LOTS
    and MAX_CASH raise ValueError where they would be kept, and give NaN from what_if and if_filled.
    """

    def __init__(self, accounts: int, groups: int, instruments: int, currencies: int, scenarios: int) -> None:
        check_capacities(accounts, groups, instruments, currencies, scenarios)
        self.accounts, self.groups, self.instruments = accounts, groups, instruments
        self.currencies, self.scenarios = currencies, scenarios
        self._books: dict[int, _Book] = {}
        self._values: list[Floats] = []
        self._currency_values: list[Floats] = []
        # (2, S) an instrument: its own row and that of its settlement currency, so that D is one product.
        self._fills: list[Floats] = []
        self._group_of_instrument: list[int] = [0] * instruments
        self._group_of_currency: list[int] = [0] * currencies
        self._known: list[int] = [0] * instruments
        self._currency_known: list[int] = [0] * currencies
        # Buffers: ufuncs are several times cheaper when they need not make their result, or convert a scalar.
        self._zeros: Floats = np.zeros(scenarios)
        self._loss: Floats = np.zeros(scenarios)
        self._alternative: Floats = np.zeros(scenarios)
        self._fill: Floats = np.zeros(2)

    def load(
        self,
        values: Floats,
        currency_values: Floats,
        group_of_instrument: Ints,
        group_of_currency: Ints,
        currency_of_instrument: Ints,
        known: Flags,
    ) -> None:
        """Take a whole generation (copied), and clear every account: the caller adds everything again.

        values (I, S) and currency_values (C, S) in USD, I and C at most the capacities, S exactly. A currency whose
        row is not finite is unknown. Raises ValueError, and keeps the generation before, if they are inconsistent.
        """
        capacities = (self.groups, self.instruments, self.currencies, self.scenarios)
        currency_known = check_generation(
            capacities, values, currency_values, group_of_instrument, group_of_currency, currency_of_instrument, known
        )
        self._books.clear()
        self._values = list(np.array(values, dtype=np.float64))
        self._currency_values = list(np.array(currency_values, dtype=np.float64))
        settlement = np.where(known != 0, currency_of_instrument, 0)
        self._fills = list(np.stack((values, currency_values[settlement]), axis=1, dtype=np.float64))
        spare, currency_spare = self.instruments - len(values), self.currencies - len(currency_values)
        self._group_of_instrument = group_of_instrument.tolist() + [0] * spare
        self._known = known.tolist() + [0] * spare
        self._group_of_currency = group_of_currency.tolist() + [0] * currency_spare
        self._currency_known = currency_known.tolist() + [0] * currency_spare

    def clear(self, account: int) -> None:
        """Forget an account's positions, cash and orders."""
        self._book(account)
        del self._books[account]

    def add_position(self, account: int, instrument: int, lots: float) -> None:
        """Add signed lots to what an account holds."""
        book = self._book(account)
        self._check_instrument(instrument)
        _check_amounts(lots, 0.0)
        if lots == 0:
            return
        if not self._known[instrument]:
            book.unknown_positions += 1
            return
        group = self._group_of_instrument[instrument]
        np.multiply(self._values[instrument], lots, out=self._loss)
        book.base[group] += self._loss
        book.row[group] += self._loss
        book.minima[group] = _least(book.row[group])

    def add_cash(self, account: int, currency: int, amount: float) -> None:
        """Add whole units of a currency to what an account holds."""
        book = self._book(account)
        if not 0 <= currency < self.currencies:
            raise IndexError(f"currency {currency} is not in 0..{self.currencies - 1}")
        _check_amounts(0.0, amount)
        if amount == 0:
            return
        if not self._currency_known[currency]:
            book.unknown_positions += 1
            return
        group = self._group_of_currency[currency]
        np.multiply(self._currency_values[currency], amount, out=self._loss)
        book.base[group] += self._loss
        book.row[group] += self._loss
        book.minima[group] = _least(book.row[group])

    def hold(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Count a working order: `lots` (signed) not yet filled, and the settlement cash that filling them moves.

        While a replace is pending, `lots` and `cash` are the version that the venue works now, and `alt_lots` and
        `alt_cash` the one asked for, both counted from the same filled quantity; without one they are zero.
        """
        book = self._book(account)
        self._check_instrument(instrument)
        _check_amounts(lots, cash)
        _check_amounts(alt_lots, alt_cash)
        if not self._known[instrument]:
            book.unknown_orders += 1
            return
        group = self._group_of_instrument[instrument]
        self._weigh(instrument, lots, cash, alt_lots, alt_cash)
        book.row[group] += self._loss
        book.minima[group] = _least(book.row[group])
        book.orders[group] += 1

    def release(
        self, account: int, instrument: int, lots: float, cash: float, alt_lots: float = 0.0, alt_cash: float = 0.0
    ) -> None:
        """Take a working order back; the arguments must be those of its hold.

        Without a working order left, the group's row is its base again, exactly. Raises ValueError if none is held.
        """
        book = self._book(account)
        self._check_instrument(instrument)
        _check_amounts(lots, cash)
        _check_amounts(alt_lots, alt_cash)
        group = self._group_of_instrument[instrument]
        if not (book.orders[group] if self._known[instrument] else book.unknown_orders):
            raise ValueError(f"account {account} holds no order to release")
        if not self._known[instrument]:
            book.unknown_orders -= 1
            return
        book.orders[group] -= 1
        if book.orders[group]:
            self._weigh(instrument, lots, cash, alt_lots, alt_cash)
            book.row[group] -= self._loss
        else:
            # Rounding of earlier holds must not outlive them.
            book.row[group][:] = book.base[group]
        book.minima[group] = _least(book.row[group])

    def is_known(self, account: int) -> bool:
        """Whether the generation knows everything the account holds and has working."""
        book = self._book(account)
        return not (book.unknown_positions or book.unknown_orders)

    def worst(self, account: int) -> float:
        """Return the worst equity in USD: every group at its worst scenario, working orders filled at their worst."""
        book = self._book(account)
        if book.unknown_positions or book.unknown_orders:
            return nan
        return sum(book.minima)

    def equity(self, account: int, base_scenario: int) -> float:
        """Return the equity in USD in one scenario, without working orders."""
        book = self._book(account)
        if not 0 <= base_scenario < self.scenarios:
            raise IndexError(f"scenario {base_scenario} is not in 0..{self.scenarios - 1}")
        if book.unknown_positions:
            return nan
        return sum(float(base[base_scenario]) for base in book.base)

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
        if alt_lots or alt_cash:
            self._weigh(instrument, lots, cash, alt_lots, alt_cash)
        else:
            # _weigh without its calls: this is the hot path.
            fill[0], fill[1] = lots, cash
            fill.dot(self._fills[instrument], loss)
            _minimum(loss, self._zeros, out=loss)
        _add(loss, book.row[group], out=loss)
        return _sum_with(book.minima, group, loss.item(loss.argmin()))

    def if_filled(self, account: int, instrument: int, lots: float, cash: float) -> float:
        """Return what `worst` would be if this were filled completely now.

        The worst equity is concave in the fraction filled: where this is no less than `worst`, no partial fill is.
        """
        book = self._book(account)
        self._check_instrument(instrument)
        is_usable = -MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH
        if not is_usable or not self._known[instrument] or book.unknown_positions or book.unknown_orders:
            return nan
        group = self._group_of_instrument[instrument]
        loss, fill = self._loss, self._fill
        fill[0], fill[1] = lots, cash
        fill.dot(self._fills[instrument], loss)
        _add(loss, book.row[group], out=loss)
        return _sum_with(book.minima, group, _least(loss))

    def row(self, account: int, group: int) -> Floats:
        """Return a copy of a group's equity in each scenario, working orders at their worst; NaN where unknown."""
        book = self._book(account)
        self._check_group(group)
        if book.unknown_positions or book.unknown_orders:
            return np.full(self.scenarios, nan)
        return np.array(book.row[group])

    def binding(self, account: int, group: int) -> int:
        """Return the scenario that is the worst of a group, the first of several that differ by rounding alone."""
        book = self._book(account)
        self._check_group(group)
        least = book.minima[group]
        return int((book.row[group] <= least + abs(least) * EQUAL_TO).argmax())

    def _weigh(self, instrument: int, lots: float, cash: float, alt_lots: float, alt_cash: float) -> None:
        """Write what the order adds at its worst, min(0, D, D_alt, D + w D_alt), into the loss buffer."""
        loss, fill, fills = self._loss, self._fill, self._fills[instrument]
        fill[0], fill[1] = lots, cash
        fill.dot(fills, loss)
        if alt_lots or alt_cash:
            fill[0], fill[1] = alt_lots, alt_cash
            fill.dot(fills, self._alternative)
            share = rest_share(lots, alt_lots)
            if share:
                both = loss + share * self._alternative
                _minimum(loss, both, out=loss)
            _minimum(loss, self._alternative, out=loss)
        _minimum(loss, self._zeros, out=loss)

    def _book(self, account: int) -> _Book:
        if not 0 <= account < self.accounts:
            raise IndexError(f"account {account} is not in 0..{self.accounts - 1}")
        book = self._books.get(account)
        if book is None:
            book = self._books[account] = _Book(self.groups, self.scenarios)
        return book

    def _check_instrument(self, instrument: int) -> None:
        if not 0 <= instrument < self.instruments:
            raise IndexError(f"instrument {instrument} is not in 0..{self.instruments - 1}")

    def _check_group(self, group: int) -> None:
        if not 0 <= group < self.groups:
            raise IndexError(f"group {group} is not in 0..{self.groups - 1}")


def _check_amounts(lots: float, cash: float) -> None:
    if not (-MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH):
        raise ValueError(f"lots {lots} or cash {cash} is not finite or out of bounds")


def _least(row: Floats) -> float:
    return float(row.item(row.argmin()))


def _sum_with(minima: list[float], group: int, least: float) -> float:
    """Return the sum of all minima with one replaced, added in the order `worst` adds them: the same to the bit."""
    kept = minima[group]
    minima[group] = least
    total = sum(minima)
    minima[group] = kept
    return total
