"""What all accounts hold, for the slow side: the gateway tells what has changed, the pricing process keeps a copy.

A holding is a row and an amount: lots of an instrument (its index), or units of a currency (below zero: -1 minus its
place in a list of names that only grows). Working orders are told whole each time, as MarginKernel.hold takes them.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from gateway.slowside.sections import Array, MalformedFrameError
from risk.account import Account
from risk.exposure import Held
from risk.instrument import UNITS_PER_WHOLE
from risk.mirror import held_bytes
from risk.pricing import Floats
from risk.remargin import Portfolios, make_portfolios
from risk.remargin_plain import Ints
from risk.scenarios import Generation

# Holdings and orders of one message: 4 MB. What does not fit comes with the next.
MOST_HOLDINGS: Final = 200_000
MOST_ORDERS: Final = 100_000
# Looked at or written in one slice of the loop: some 0.1 and 0.3 us each.
ACCOUNTS_A_SLICE: Final = 1_000
WRITTEN_A_SLICE: Final = 500
MAX_ACCOUNTS: Final = 1_000_000
# Of twenty holdings each they are sorted in half a millisecond, and margined in another.
BLOCK_ACCOUNTS: Final = 512
# account, instrument, lots, cash, lots and cash of what is to replace it
ORDER_COLUMNS: Final = 6
# account, venue (its place in a list of names), currency (as a holding), amount
WALLET_COLUMNS: Final = 4
# account, instrument, what the fills of its position have moved
MOVED_COLUMNS: Final = 3
# An order in no instrument stands for all that there is no room for: the account's initial margin is unknown.
_UNTOLD: Final = (-1, 0.0, 0.0, 0.0, 0.0)
NONE_MOVED: Final[Floats] = np.zeros((0, MOVED_COLUMNS))
NOTHING_BESIDE: Final[Ints] = np.zeros((0, 0), dtype=np.int32)
NO_WALLETS: Final[Floats] = np.zeros((0, WALLET_COLUMNS))


class BookChange(msgspec.Struct, frozen=True, eq=False):
    """Accounts (K,) that from now on hold counts (K,) of rows and amounts (N,) each; orders (M, 6) are those of all.

    wallets (W, 4) are what lies at venues of those of the accounts of which not all cash counts there, and of all where
    location costs; moved (P, 3) what their positions have cost, where haircuts ask for it.
    """

    accounts: Ints
    counts: Ints
    rows: Ints
    amounts: Floats
    orders: Floats
    currencies: tuple[str, ...]
    account_count: int
    wallets: Floats = NO_WALLETS
    venues: tuple[str, ...] = ()
    moved: Floats = NONE_MOVED

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in _ARRAYS}


_ARRAYS: Final = ("accounts", "counts", "rows", "amounts", "orders", "wallets", "moved")


def change_of(
    arrays: Mapping[str, Array], currencies: tuple[str, ...], account_count: int, venues: tuple[str, ...] = ()
) -> BookChange:
    """Return the change that came as these arrays. Raises MalformedFrameError."""
    kinds = dict(zip(_ARRAYS, ("<i4", "<i4", "<i4", "<f8", "<f8", "<f8", "<f8"), strict=True))
    for name, kind in kinds.items():
        if name not in arrays or arrays[name].dtype.str != kind:
            raise MalformedFrameError(f"book: {name} is missing or of another type")
    change = BookChange(
        **{name: arrays[name] for name in _ARRAYS}, currencies=currencies, account_count=account_count, venues=venues
    )
    _refuse_malformed(change)
    return change


class BookTeller:
    """Finds out what of the accounts has changed since the last change that was told. One for each listener."""

    def __init__(self, *, tells_moved: bool = False, tells_places: bool = False) -> None:
        self._told = array("q")
        self._tells_moved, self._tells_places = tells_moved, tells_places
        self._names: dict[str, int] = {}
        self._venues: dict[str, int] = {}
        self.change: BookChange | None = None

    def change_in_steps(self, accounts: Sequence[Account]) -> Iterator[None]:
        """Look at all accounts, some at each turn; `change` is there after the last."""
        told, names = self._told, self._names
        told.extend([-1] * (len(accounts) - len(told)))
        changed, counts, rows, amounts = array("i"), array("i"), array("i"), array("d")
        orders, wallets, moved = array("d"), array("d"), array("d")
        written = 0
        for number, account in enumerate(accounts, 1):
            if told[account.index] != account.changes and len(rows) < MOST_HOLDINGS:
                told[account.index] = account.changes
                before = len(rows)
                for index, position in account.positions.items():
                    if position.lots:
                        rows.append(index)
                        amounts.append(position.lots)
                        if self._tells_moved:
                            moved.extend((account.index, index, position.cash_units / UNITS_PER_WHOLE))
                for currency, units in account.cash_units.items():
                    if units:
                        rows.append(-1 - names.setdefault(currency, len(names)))
                        amounts.append(units / UNITS_PER_WHOLE)
                for venue, currency, units in account.placed_cash() if self._tells_places else account.pinned_cash():
                    place = self._venues.setdefault(venue, len(self._venues))
                    row = -1 - names.setdefault(currency, len(names))
                    wallets.extend((account.index, place, row, units / UNITS_PER_WHOLE))
                    written += 1
                changed.append(account.index)
                counts.append(len(rows) - before)
                written += len(rows) - before
            if account.exposure.orders:
                is_room = len(orders) < MOST_ORDERS * ORDER_COLUMNS
                told_of: Collection[Held] = account.exposure.held if is_room else ((account.index, *_UNTOLD),)
                orders.frombytes(held_bytes(told_of))  # told anew with each generation
                written += len(told_of)
            if written >= WRITTEN_A_SLICE or number % ACCOUNTS_A_SLICE == 0:
                written = 0
                yield
        self.change = BookChange(
            accounts=np.array(changed, dtype=np.int32),
            counts=np.array(counts, dtype=np.int32),
            rows=np.array(rows, dtype=np.int32),
            amounts=np.array(amounts, dtype=np.float64),
            orders=np.array(orders, dtype=np.float64).reshape(-1, ORDER_COLUMNS),
            currencies=tuple(names),
            account_count=len(accounts),
            wallets=np.array(wallets, dtype=np.float64).reshape(-1, WALLET_COLUMNS),
            venues=tuple(self._venues),
            moved=np.array(moved, dtype=np.float64).reshape(-1, MOVED_COLUMNS),
        )


class Rows(msgspec.Struct, frozen=True, eq=False):
    """The rows of one generation: instruments, then its currencies, then one that is never known.

    `of_currency` is by place in a book's list of names, and one more for what is not among them. `beside` (B, R) are
    rows of which an account has something, if only zero, where it has a row: haircuts are in their risk groups too.
    """

    instruments: int
    groups: Ints
    of_currency: Ints
    beside: Ints = NOTHING_BESIDE

    def of(self, rows: Ints) -> Ints:
        """Return a book's rows as rows of the generation."""
        found = np.where(rows < self.instruments, rows, np.int32(len(self.groups) - 1))
        is_cash = rows < 0
        found[is_cash] = self.of_currency[-1 - rows[is_cash]]
        return found

    def equals(self, other: Rows | None) -> bool:
        """Whether portfolios made for the other are right for this."""
        return (
            other is not None
            and self.instruments == other.instruments
            and np.array_equal(self.groups, other.groups)
            and np.array_equal(self.of_currency, other.of_currency)
            and np.array_equal(self.beside, other.beside)
        )


class Block:
    """Some of the accounts, one after the other from `first` on: small enough to be sorted anew between two slices."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count
        self._accounts: Ints = np.zeros(0, dtype=np.int32)
        self._rows: Ints = np.zeros(0, dtype=np.int32)
        self._amounts: Floats = np.zeros(0)
        # What the fills of positions have moved: accounts, instruments, units.
        self._moved: Floats = np.zeros((0, MOVED_COLUMNS))
        self._aligned: Floats | None = None
        self._portfolios: Portfolios | None = None
        self._made_for: Rows | None = None
        self.kept: object = None  # what was worked out for these portfolios

    def grow(self, count: int) -> None:
        """Have room for more accounts."""
        if count > self.count:
            self.count, self._portfolios = count, None

    def replace(self, changed: Ints, accounts: Ints, rows: Ints, amounts: Floats, moved: Floats = NONE_MOVED) -> None:
        """Take these holdings, and what they cost, for those of `changed`; accounts count from `first`."""
        is_changed = np.zeros(self.count, dtype=bool)
        is_changed[changed] = True
        stays = ~is_changed[self._accounts]
        self._accounts = np.concatenate((self._accounts[stays], accounts))
        self._rows = np.concatenate((self._rows[stays], rows))
        self._amounts = np.concatenate((self._amounts[stays], amounts))
        if len(self._moved) or len(moved):
            keeps = ~is_changed[self._moved[:, 0].astype(np.int64)]
            self._moved = np.concatenate((self._moved[keeps], moved))
        self._portfolios = None

    def portfolios(self, rows: Rows) -> Portfolios:
        """Return the holdings sorted for margin."""
        if self._portfolios is None or not rows.equals(self._made_for):
            accounts, own, amounts = self._accounts, rows.of(self._rows), self._amounts
            for beside in rows.beside:
                has = np.flatnonzero(beside[own] >= 0) if len(own) else own
                found = _once(accounts[has], beside[own[has]], len(rows.groups))
                accounts, own = np.concatenate((accounts, found[0])), np.concatenate((own, found[1]))
                amounts = np.concatenate((amounts, np.zeros(len(found[0]))))
            self._portfolios = make_portfolios(self.count, accounts, own, amounts, rows.groups)
            self._made_for, self._aligned, self.kept = rows, None, None
        return self._portfolios

    def moved(self, rows: Rows) -> Floats:
        """Return what each holding of the portfolios has cost, (N,), as far as it is a position."""
        portfolios = self.portfolios(rows)
        if self._aligned is None:
            self._aligned = np.zeros(len(portfolios.rows))
            accounts, instruments = self._moved[:, 0].astype(np.int64), self._moved[:, 1].astype(np.int64)
            is_there = instruments < rows.instruments
            accounts, instruments, units = accounts[is_there], instruments[is_there], self._moved[is_there, 2]
            count, groups = len(rows.groups), int(rows.groups.max(initial=0)) + 1
            holder = np.repeat(portfolios.segment_accounts.astype(np.int64), np.diff(portfolios.segment_offsets))
            keys = (holder * groups + rows.groups[portfolios.rows]) * count + portfolios.rows
            at = np.searchsorted(keys, (accounts * groups + rows.groups[instruments]) * count + instruments)
            self._aligned[at] = units
        return self._aligned


def _once(accounts: Ints, rows: Ints, count: int) -> tuple[Ints, Ints]:
    """Return each pair of account and row once."""
    keys = np.unique(accounts.astype(np.int64) * count + rows)
    return (keys // count).astype(np.int32), (keys % count).astype(np.int32)


class BookCopy:
    """All holdings, in blocks of accounts; what was never told is nothing."""

    def __init__(self) -> None:
        self.account_count = 0
        self.orders: Floats = np.zeros((0, ORDER_COLUMNS))
        self.blocks: list[Block] = []
        # By account and venue: currencies and amounts that count there, where not all of the account's cash does.
        self.wallets: dict[int, dict[str, list[tuple[str, float]]]] = {}
        self.currencies: tuple[str, ...] = ()

    def take_in_steps(self, change: BookChange) -> Iterator[None]:
        """Take over what has changed, a block at each turn. Raises MalformedFrameError; nothing has changed then."""
        _refuse_malformed(change)
        self._grow(change.account_count)
        self.currencies, self.orders = change.currencies, change.orders
        self._take_wallets(change)
        order = np.argsort(change.accounts, kind="stable")
        changed = change.accounts[order]
        starts = np.cumsum(change.counts) - change.counts
        moved = change.moved[np.argsort(change.moved[:, 0], kind="stable")]
        bounds = np.searchsorted(changed, np.arange(0, self.account_count + BLOCK_ACCOUNTS, BLOCK_ACCOUNTS))
        for place in np.flatnonzero(np.diff(bounds)).tolist():
            block, part = self.blocks[place], order[bounds[place] : bounds[place + 1]]
            counts = change.counts[part]
            # Of each account the places of its holdings, one account after the other.
            within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
            picked = np.repeat(starts[part], counts) + within
            members = change.accounts[part] - block.first
            first, last = np.searchsorted(moved[:, 0], (block.first, block.first + BLOCK_ACCOUNTS))
            cost = moved[first:last] - np.array([block.first, 0.0, 0.0])
            block.replace(members, np.repeat(members, counts), change.rows[picked], change.amounts[picked], cost)
            yield

    def _take_wallets(self, change: BookChange) -> None:
        for account in change.accounts.tolist() if self.wallets else ():
            self.wallets.pop(account, None)
        for account, venue, row, amount in change.wallets.tolist():
            at = self.wallets.setdefault(int(account), {}).setdefault(change.venues[int(venue)], [])
            at.append((change.currencies[-1 - int(row)], amount))

    def rows_of(self, generation: Generation, beside: Ints = NOTHING_BESIDE) -> Rows:
        """Return where a book's rows are in a generation; what it lacks is unknown there."""
        instruments = len(generation.group_of_instrument)
        groups = (generation.group_of_instrument, generation.group_of_currency, np.zeros(1, dtype=np.int32))
        unknown = instruments + len(generation.currencies)
        columns = {name: instruments + column for column, name in enumerate(generation.currencies)}
        of_currency = [*(columns.get(name, unknown) for name in self.currencies), unknown]
        return Rows(instruments, np.concatenate(groups), np.array(of_currency, dtype=np.int32), beside)

    def venues(self) -> tuple[str, ...]:
        """Return the venues where cash of any account lies."""
        return tuple(dict.fromkeys(venue for at in self.wallets.values() for venue in at))

    def _grow(self, count: int) -> None:
        """Accounts are only ever added; the last block may have to be made anew for those that join it."""
        if count == self.account_count:
            return
        for place, first in enumerate(range(0, count, BLOCK_ACCOUNTS)):
            size = min(BLOCK_ACCOUNTS, count - first)
            if place < len(self.blocks):
                self.blocks[place].grow(size)
            else:
                self.blocks.append(Block(first, size))
        self.account_count = count


def holdings_of(portfolios: Portfolios, account: int) -> Iterator[tuple[int, float]]:
    """Return the rows and amounts of one account."""
    part = part_of(portfolios, account)
    return zip(portfolios.rows[part].tolist(), portfolios.amounts[part].tolist(), strict=True)


def part_of(portfolios: Portfolios, account: int) -> slice:
    """Return where the holdings of one account are."""
    first, last = portfolios.account_segments[account], portfolios.account_segments[account + 1]
    return slice(int(portfolios.segment_offsets[first]), int(portfolios.segment_offsets[last]))


def _refuse_malformed(change: BookChange) -> None:
    if change.accounts.ndim != 1 or change.rows.ndim != 1:
        raise MalformedFrameError("book: accounts or rows are no column")
    holdings, accounts = len(change.rows), len(change.accounts)
    most = np.int64(change.account_count)
    problems: Iterable[tuple[bool, str]] = (
        (not 0 <= change.account_count <= MAX_ACCOUNTS, "too many accounts"),
        (change.counts.shape != (accounts,) or change.amounts.shape != (holdings,), "columns differ in length"),
        (change.orders.ndim != 2 or change.orders.shape[1:] != (ORDER_COLUMNS,), "orders have other columns"),
    )
    for is_wrong, text in problems:
        if is_wrong:
            raise MalformedFrameError(f"book: {text}")
    named = np.concatenate((change.accounts.astype(np.float64), change.orders[:, 0]))
    if (change.counts < 0).any() or int(change.counts.sum()) != holdings:
        raise MalformedFrameError("book: counts are not those of the holdings")
    if not ((named >= 0) & (named < most)).all() or len(np.unique(change.accounts)) != accounts:
        raise MalformedFrameError("book: an account is none, or named twice")
    wallets = change.wallets
    if wallets.ndim != 2 or wallets.shape[1:] != (WALLET_COLUMNS,) or not np.isfinite(wallets).all():
        raise MalformedFrameError("book: wallets have other columns")
    accounts_of, venues, currencies, _ = wallets.T
    if not (np.isin(accounts_of, change.accounts) & (venues >= 0) & (venues < len(change.venues))).all():
        raise MalformedFrameError("book: a wallet is of no account, or at no venue")
    if not ((currencies < 0) & (currencies >= -len(change.currencies))).all():
        raise MalformedFrameError("book: a wallet is of no currency")
    if change.moved.ndim != 2 or change.moved.shape[1:] != (MOVED_COLUMNS,) or not np.isfinite(change.moved).all():
        raise MalformedFrameError("book: what positions cost has other columns")
    if (change.rows < -len(change.currencies)).any() or not np.isfinite(change.amounts).all():
        raise MalformedFrameError("book: a currency without a name, or an amount that is none")
