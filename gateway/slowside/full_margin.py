"""The margin of all accounts, from a copy of what they hold and a generation: in slices, and as rows for whoever reads.

Initial margin is what the order path counts: what an account, a desk or a firm could lose at its worst, with any part
of the working orders filled, and what size asks for. Maintenance margin is its share of what is held alone, as the
intraday watch counts it (gateway/margin/figures.py). Equity is the portfolio in the base scenario. All in USD.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from gateway.clock import now_ns
from gateway.margin.figures import MAINTENANCE_FACTOR
from gateway.slowside.book import BookCopy, Rows
from gateway.slowside.double_buffer import Frame, FrameReader, Piece
from gateway.slowside.holders import holders_of
from gateway.slowside.level_margins import LevelHoldings
from gateway.slowside.one_by_one import A_SLICE, Given, HouseKernel, MarginTerms, VenueKernels, Wallet
from gateway.slowside.sections import MalformedFrameError, pack, unpack, value_of
from risk.haircut_tables import beside, tables_of
from risk.joint import JointScenarios
from risk.pricing import Floats
from risk.remargin_house import HouseMargins, make_house_arrays
from risk.remargin_plain import Ints
from risk.scenarios import Generation

# Multiplications and additions of a slice: a quarter of a millisecond compiled.
PRODUCTS_A_SLICE: Final = 1_000_000
# Rows counted at once: some 0.2 ms.
ROWS_A_SLICE: Final = 8_192
# Accounts named in a summary, those with the least room first.
NEAREST: Final = 10
NO_TERMS: Final = MarginTerms()
_WHOLE: Final = ("group", "scenario", "wallet")
_AMOUNTS: Final = ("equity", "initial", "maintenance", "venue_equity", "venue_initial", "venue_maintenance")


class MarginRows(msgspec.Struct, frozen=True, eq=False):
    """One pass, USD: A accounts by their index, and behind them the desks and firms. Where unknown: NaN, and -1.

    `scenario` is the worst one of `group`, which of all risk groups costs the account most; where all of them together
    cost more, group is -1 and scenario counts on behind the grid's. Of the wallet at a venue with the least room
    `wallet` is the place in `wallets`, -1 for none, and the venue's columns are what its own model says.
    """

    number: int
    generation: int
    as_of_ns: int
    accounts: int
    groups: tuple[str, ...]
    levels: tuple[str, ...]
    wallets: tuple[str, ...]
    equity: Floats
    initial: Floats
    maintenance: Floats
    group: Ints
    scenario: Ints
    wallet: Ints
    venue_equity: Floats
    venue_initial: Floats
    venue_maintenance: Floats


class LevelFigures(msgspec.Struct, frozen=True):
    """A desk or a firm in a pass, USD; NaN where unknown."""

    name: str
    equity: float
    initial: float
    maintenance: float


class Summary(msgspec.Struct, frozen=True):
    """A pass in a few numbers, for the status line."""

    number: int
    generation: int
    as_of_ns: int
    accounts: int
    unknown: int
    below_initial: int
    below_maintenance: int
    duration_ms: float
    slices: int
    slowest_slice_us: float
    nearest: tuple[tuple[int, float, float, float], ...]  # account, equity, initial, maintenance
    below_venue: int = 0
    levels: tuple[LevelFigures, ...] = ()


class FullMargin:
    """Goes over all accounts of a book in slices; `rows` and `summary` are of the last pass that was finished."""

    def __init__(self, book: BookCopy, terms: MarginTerms = NO_TERMS) -> None:
        self._book, self._terms = book, terms
        self._number = 0
        self.rows: MarginRows | None = None
        self.summary: Summary | None = None

    def follow(self, joint: JointScenarios | None) -> None:
        """Go by other joint scenarios from the next pass on: margin parameters have been activated."""
        self._terms = msgspec.structs.replace(
            self._terms, house=msgspec.structs.replace(self._terms.house, joint=joint)
        )

    def pass_in_slices(self, generation: Generation, given: Given | None = None) -> Iterator[None]:
        """Do a pass; each turn is a slice. The book must not change meanwhile.

        `given` is needed where the terms have more than scenarios: sizes, or venues.
        """
        given = Given(generation, [], {}) if given is None else given
        book, watch, hierarchy = self._book, _Watch(), self._terms.house.hierarchy
        yield from watch.turn()
        arrays = make_house_arrays(generation, self._terms.house, given.instruments)
        haircuts = self._terms.house.haircuts_of(generation, given.instruments)
        yield from watch.turn()
        tables, rows_of = None, book.rows_of(generation)
        if haircuts is not None:
            tables = tables_of(haircuts, book.venues())
            rows_of = book.rows_of(generation, beside(tables, len(rows_of.groups)))
            yield from watch.turn()
        self._number += 1
        names = () if hierarchy is None else tuple(str(level) for level in hierarchy.levels.values())
        rows = _blank(self._number, generation, book.account_count, names)
        caps = self._offset_caps()
        levels = None if hierarchy is None or not names else LevelHoldings(hierarchy, len(rows_of.groups))
        for block in book.blocks:
            portfolios = block.portfolios(rows_of)
            held = None if tables is None else holders_of(book, block, rows_of, tables)
            margins = HouseMargins(portfolios, arrays, tables, held)
            yield from watch.turn()
            step = _accounts_a_slice(margins)
            for start in range(0, block.count, step):
                margins.some(start, min(start + step, block.count))
                yield from watch.turn()
            _fill(rows, block.first, margins, caps, generation.grid.size)
            if levels is not None:
                levels.add(block.first, portfolios)
                if tables is not None:
                    levels.lack(block.first, margins)
        wallets: dict[str, int] = {}
        for _ in self._one_by_one(rows_of, given, rows, levels, wallets):
            yield from watch.turn()
        rows = msgspec.structs.replace(rows, wallets=tuple(wallets))
        tally = _Tally(rows)
        for _ in tally.add_in_steps():
            yield from watch.turn()
        self.rows, self.summary = rows, tally.summary(watch)

    def _offset_caps(self) -> Floats:
        hierarchy, count = self._terms.house.hierarchy, self._book.account_count
        caps = np.zeros(count)
        for row, terms in {} if hierarchy is None else hierarchy.own_terms.items():
            caps[row] = terms.offset_cap
        return caps

    def _one_by_one(
        self, rows_of: Rows, given: Given, rows: MarginRows, levels: LevelHoldings | None, wallets: dict[str, int]
    ) -> Iterator[None]:
        """Ask the kernels for what has working orders, stands above accounts, or lies at a venue."""
        book, subs = self._book, self._terms.sub_accounts
        held = book.orders[np.argsort(book.orders[:, 0], kind="stable")].tolist()
        orders: dict[int, list[list[float]]] = {}
        for order in held:
            orders.setdefault(int(order[0]), []).append(order)
        yield
        carrying = set(self._carrying(rows_of, given.generation))
        if orders or levels is not None or carrying:
            kernel = HouseKernel(book, rows_of, given, self._terms.house)
            yield
            asked = sorted({*orders, *carrying})
            for place, account in enumerate(asked, 1):
                if not np.isnan(rows.equity[account]):
                    equity, worst, left = kernel.account(account, orders.get(account, []))
                    rows.equity[account], rows.initial[account] = equity, equity - worst
                    rows.maintenance[account] = MAINTENANCE_FACTOR * (equity - left)
                    if account in carrying:
                        rows.group[account], rows.scenario[account] = kernel.dearest()
                if place % A_SLICE == 0:
                    yield
            if levels is not None:
                yield from levels.margins(kernel, orders, rows)
        if self._terms.venue_books:
            venues = VenueKernels(book, rows_of, given, self._terms)
            yield from venues.make()
            for place, account in enumerate(subs, 1):
                if account < book.account_count:
                    _fill_venue(rows, account, venues.nearest(account, orders.get(account, [])), wallets)
                if place % A_SLICE == 0:
                    yield

    def _carrying(self, rows_of: Rows, generation: Generation) -> Iterator[int]:
        """Yield accounts that hold what carries coins from one group into another: the sums know one group a row."""
        carries = np.append(np.nan_to_num(generation.carried) != 0, np.zeros(len(rows_of.groups), dtype=bool))
        for block in self._book.blocks if carries.any() else ():
            portfolios = block.portfolios(rows_of)
            holds = np.flatnonzero(carries[portfolios.rows])
            segments = np.searchsorted(portfolios.segment_offsets, holds, side="right") - 1
            yield from (block.first + portfolios.segment_accounts[segments]).tolist()


class _Watch:
    """How long the slices of a pass take."""

    def __init__(self) -> None:
        self._began_ns = self._slice_ns = now_ns()
        self.slices = 0
        self.slowest_ns = 0

    def turn(self) -> Iterator[None]:
        """End a slice, let others run, begin the next."""
        self.slices += 1
        self.slowest_ns = max(self.slowest_ns, now_ns() - self._slice_ns)
        yield
        self._slice_ns = now_ns()

    @property
    def elapsed_ns(self) -> int:
        """How long all of it has taken, with what others did between."""
        return now_ns() - self._began_ns


def _blank(number: int, generation: Generation, accounts: int, levels: tuple[str, ...]) -> MarginRows:
    count = accounts + len(levels)
    columns: dict[str, Any] = {name: np.full(count, -1, dtype=np.int32) for name in _WHOLE}
    columns |= {name: np.zeros(count) for name in _AMOUNTS}
    return MarginRows(
        number=number,
        generation=generation.number,
        as_of_ns=generation.as_of_ns,
        accounts=accounts,
        groups=generation.groups,
        levels=levels,
        wallets=(),
        **columns,
    )


def _accounts_a_slice(margins: HouseMargins) -> int:
    """So many accounts that their products are PRODUCTS_A_SLICE, as the mean account goes."""
    return max(1, margins.portfolios.accounts * PRODUCTS_A_SLICE // max(1, margins.products))


def _fill(rows: MarginRows, first: int, margins: HouseMargins, caps: Floats, scenarios: int) -> None:
    """Write a block's figures into their place; caps (A,) are those of all accounts."""
    portfolios, alone, joint = margins.portfolios, margins.alone, margins.joint
    part = slice(first, first + portfolios.accounts)
    requirement = alone.equity - margins.finish(caps[part])
    rows.equity[part], rows.scenario[part] = alone.equity, alone.scenario
    rows.initial[part], rows.maintenance[part] = requirement, MAINTENANCE_FACTOR * requirement
    group = np.full(portfolios.accounts, -1, dtype=np.int32)
    has_any = np.flatnonzero(alone.binding >= 0)
    group[has_any] = margins.groups_of(alone.binding[has_any])
    if joint is not None:
        worse = np.flatnonzero(joint.worst < alone.worst)
        group[worse], rows.scenario[first + worse] = -1, scenarios + joint.scenario[worse]
    rows.group[part] = group


def _fill_venue(rows: MarginRows, account: int, wallet: Wallet | None, names: dict[str, int]) -> None:
    if wallet is not None:
        rows.wallet[account] = names.setdefault(wallet.name, len(names))
        rows.venue_equity[account], rows.venue_initial[account] = wallet.equity, wallet.initial
        rows.venue_maintenance[account] = MAINTENANCE_FACTOR * wallet.maintenance


class _Tally:
    """A pass in a few numbers, added up part by part."""

    def __init__(self, rows: MarginRows) -> None:
        self._rows = rows
        self._unknown = self._below_initial = self._below_maintenance = self._below_venue = 0
        self._nearest: Ints = np.zeros(0, dtype=np.int64)

    def add_in_steps(self) -> Iterator[None]:
        """Look at all accounts, some at each turn."""
        for start in range(0, self._rows.accounts, ROWS_A_SLICE):
            self._add(slice(start, min(start + ROWS_A_SLICE, self._rows.accounts)))
            yield

    def _add(self, part: slice) -> None:
        rows = self._rows
        equity, initial, maintenance = rows.equity[part], rows.initial[part], rows.maintenance[part]
        is_known = np.isfinite(equity) & np.isfinite(initial)
        self._unknown += len(equity) - int(is_known.sum())
        self._below_initial += int(((equity < initial) & is_known).sum())
        self._below_maintenance += int(((equity < maintenance) & is_known).sum())
        self._below_venue += int((~(rows.venue_equity[part] >= rows.venue_initial[part])).sum())
        candidates = np.concatenate((self._nearest, part.start + np.flatnonzero(is_known)))
        room = rows.equity[candidates] - rows.maintenance[candidates]
        if len(candidates) > NEAREST:
            few = np.argpartition(room, NEAREST - 1)[:NEAREST]
            candidates, room = candidates[few], room[few]
        self._nearest = candidates[np.argsort(room, kind="stable")]

    def summary(self, watch: _Watch) -> Summary:
        """Return it."""
        rows = self._rows
        return Summary(
            number=rows.number,
            generation=rows.generation,
            as_of_ns=rows.as_of_ns,
            accounts=rows.accounts,
            unknown=self._unknown,
            below_initial=self._below_initial,
            below_maintenance=self._below_maintenance,
            duration_ms=watch.elapsed_ns / 1e6,
            slices=watch.slices,
            slowest_slice_us=watch.slowest_ns / 1e3,
            nearest=tuple((account, *_figures(rows, account)) for account in self._nearest.tolist()),
            below_venue=self._below_venue,
            levels=tuple(
                LevelFigures(name, *_figures(rows, rows.accounts + place)) for place, name in enumerate(rows.levels)
            ),
        )


def _figures(rows: MarginRows, at: int) -> tuple[float, float, float]:
    return float(rows.equity[at]), float(rows.initial[at]), float(rows.maintenance[at])


# -- in shared memory ------------------------------------------------------------------------------------------------

_ARRAYS: Final = (*_AMOUNTS, *_WHOLE)


def pack_rows(rows: MarginRows) -> list[Piece]:
    """Return the pieces of the frame that holds a pass; number and time are the frame's."""
    values = {name: getattr(rows, name) for name in ("generation", "accounts", "groups", "levels", "wallets")}
    return pack({name: getattr(rows, name) for name in _ARRAYS}, values)


def unpack_rows(frame: Frame) -> MarginRows:
    """Return the pass that a frame holds. Raises MalformedFrameError."""
    arrays, values = unpack(frame.payload)
    kinds = {name: "<i4" if name in _WHOLE else "<f8" for name in _ARRAYS}
    if {name: array.dtype.str for name, array in arrays.items()} != kinds:
        raise MalformedFrameError("the columns of a pass are amiss")
    if len({array.shape for array in arrays.values()}) != 1:
        raise MalformedFrameError("the columns of a pass differ in length")
    named = {name: value_of(values, name, tuple[str, ...]) for name in ("groups", "levels", "wallets")}
    accounts = value_of(values, "accounts", int)
    if len(arrays["equity"]) != accounts + len(named["levels"]):
        raise MalformedFrameError("the columns of a pass are not of its accounts and levels")
    fields: dict[str, Any] = {**named, **arrays, "accounts": accounts}
    generation = value_of(values, "generation", int)
    return MarginRows(number=frame.number, as_of_ns=frame.as_of_ns, generation=generation, **fields)


def newest_rows(memory: memoryview) -> MarginRows | None:
    """Return the newest pass in memory that a pricing process shares (status: `margins.path`), None before the first.

    For other processes: open the path, SharedMemory.attach, and ask. Raises TornFrameError where it changed meanwhile:
    ask again; MalformedFrameError.
    """
    frame = FrameReader(memory).read()
    return None if frame is None else unpack_rows(frame)
