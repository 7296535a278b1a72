"""The margin of all accounts, from a copy of what they hold and a generation: in slices, and as rows for whoever reads.

Maintenance margin is what the held portfolio loses in its worst scenario; initial margin, what it could lose with any
part of the working orders filled (risk/kernel_plain.py). Equity is the portfolio in the base scenario. All in USD.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from gateway.clock import now_ns
from gateway.slowside.book import BLOCK_ACCOUNTS, BookCopy, Rows, holdings_of, stacked
from gateway.slowside.double_buffer import Frame, FrameReader, Piece
from gateway.slowside.sections import MalformedFrameError, pack, unpack, value_of
from risk.kernel import MarginKernel
from risk.pricing import Floats
from risk.remargin import Margins, Portfolios, RiskArrays, make_risk_arrays, remargin_some
from risk.remargin_plain import Ints
from risk.scenarios import Generation

# Multiplications and additions of a slice: a quarter of a millisecond compiled.
PRODUCTS_A_SLICE: Final = 1_000_000
# Rows counted at once: some 0.2 ms.
ROWS_A_SLICE: Final = 8_192
# Accounts with working orders are gone through one by one: so many a slice.
WITH_ORDERS_A_SLICE: Final = 8
# Accounts named in a summary, those nearest to their maintenance margin first.
NEAREST: Final = 10


class MarginRows(msgspec.Struct, frozen=True, eq=False):
    """One pass over all accounts, row by account index, USD. Where something is unknown: NaN, and -1.

    `scenario` (A,) is the worst one of `group` (A,), which of all risk groups costs the account most.
    """

    number: int
    generation: int
    as_of_ns: int
    groups: tuple[str, ...]
    equity: Floats
    initial: Floats
    maintenance: Floats
    group: Ints
    scenario: Ints


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


class FullMargin:
    """Goes over all accounts of a book in slices; `rows` and `summary` are of the last pass that was finished."""

    def __init__(self, book: BookCopy) -> None:
        self._book = book
        self._number = 0
        self.rows: MarginRows | None = None
        self.summary: Summary | None = None

    def pass_in_slices(self, generation: Generation) -> Iterator[None]:
        """Do a pass; each turn is a slice. The book must not change meanwhile."""
        book, watch = self._book, _Watch()
        columns = stacked(generation)
        yield from watch.turn()
        arrays, rows_of = make_risk_arrays(*columns, generation.grid.base), book.rows_of(generation)
        yield from watch.turn()
        self._number += 1
        rows = _blank(self._number, generation, book.account_count)
        for block in book.blocks:
            portfolios = block.portfolios(rows_of)
            margins = Margins.of(block.count)
            yield from watch.turn()
            step = _accounts_a_slice(portfolios, arrays)
            for start in range(0, block.count, step):
                remargin_some(portfolios, arrays, margins, start, min(start + step, block.count))
                yield from watch.turn()
            _fill(rows, block.first, portfolios, margins, rows_of.groups)
        for _ in _add_orders(book, rows_of, generation, rows):
            yield from watch.turn()
        tally = _Tally(rows)
        for _ in tally.add_in_steps():
            yield from watch.turn()
        self.rows, self.summary = rows, tally.summary(watch)


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


def _blank(number: int, generation: Generation, accounts: int) -> MarginRows:
    group, scenario = (np.full(accounts, -1, dtype=np.int32) for _ in range(2))
    equity, initial, maintenance = (np.zeros(accounts) for _ in range(3))
    return MarginRows(
        number, generation.number, generation.as_of_ns, generation.groups, equity, initial, maintenance, group, scenario
    )


def _accounts_a_slice(portfolios: Portfolios, arrays: RiskArrays) -> int:
    """So many accounts that their products are PRODUCTS_A_SLICE, as the mean account goes."""
    products = len(portfolios.rows) * int(arrays.values.shape[1])
    return max(1, portfolios.accounts * PRODUCTS_A_SLICE // max(1, products))


def _fill(rows: MarginRows, first: int, portfolios: Portfolios, margins: Margins, groups: Ints) -> None:
    """Write a block's figures into their place."""
    part = slice(first, first + portfolios.accounts)
    rows.equity[part], rows.scenario[part] = margins.equity, margins.scenario
    rows.maintenance[part] = rows.initial[part] = margins.requirement
    has_any = np.flatnonzero(margins.binding >= 0)
    rows.group[first + has_any] = groups[portfolios.rows[portfolios.segment_offsets[margins.binding[has_any]]]]


def _add_orders(book: BookCopy, rows_of: Rows, generation: Generation, rows: MarginRows) -> Iterator[None]:
    """Put what working orders could add into `initial`, by the order path's own kernel, an account after the other."""
    if not len(book.orders):
        return
    held = book.orders[np.argsort(book.orders[:, 0], kind="stable")]
    kernel = MarginKernel(
        1,
        len(generation.groups),
        max(1, len(generation.values)),
        len(generation.currencies),
        generation.grid.size,
        generation.joint,
    )
    kernel.load(*generation.arrays())
    yield
    accounts, starts = np.unique(held[:, 0].astype(np.int64), return_index=True)
    stops = [*starts.tolist()[1:], len(held)]
    for place, (account, start, stop) in enumerate(zip(accounts.tolist(), starts.tolist(), stops, strict=True), 1):
        if place % WITH_ORDERS_A_SLICE == 0:
            yield
        if np.isnan(rows.equity[account]):
            continue
        kernel.clear(0)
        block = book.blocks[account // BLOCK_ACCOUNTS]
        for row, amount in holdings_of(block.portfolios(rows_of), account - block.first):
            if row < rows_of.instruments:
                kernel.add_position(0, row, amount)
            else:
                kernel.add_cash(0, row - rows_of.instruments, amount)
        own = held[start:stop].tolist()
        if all(0 <= instrument < rows_of.instruments for _, instrument, *_ in own):
            for _, instrument, *amounts in own:
                kernel.hold(0, int(instrument), *amounts)
            rows.initial[account] = rows.equity[account] - kernel.worst(0)
        else:
            rows.initial[account] = np.nan


class _Tally:
    """A pass in a few numbers, added up part by part."""

    def __init__(self, rows: MarginRows) -> None:
        self._rows = rows
        self._unknown = self._below_initial = self._below_maintenance = 0
        self._nearest: Ints = np.zeros(0, dtype=np.int64)

    def add_in_steps(self) -> Iterator[None]:
        """Look at all rows, some at each turn."""
        for start in range(0, len(self._rows.equity), ROWS_A_SLICE):
            self._add(slice(start, start + ROWS_A_SLICE))
            yield

    def _add(self, part: slice) -> None:
        rows = self._rows
        equity, initial, maintenance = rows.equity[part], rows.initial[part], rows.maintenance[part]
        is_known = np.isfinite(equity) & np.isfinite(initial)
        self._unknown += len(equity) - int(is_known.sum())
        self._below_initial += int(((equity < initial) & is_known).sum())
        self._below_maintenance += int(((equity < maintenance) & is_known).sum())
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
            accounts=len(rows.equity),
            unknown=self._unknown,
            below_initial=self._below_initial,
            below_maintenance=self._below_maintenance,
            duration_ms=watch.elapsed_ns / 1e6,
            slices=watch.slices,
            slowest_slice_us=watch.slowest_ns / 1e3,
            nearest=tuple(
                (account, float(rows.equity[account]), float(rows.initial[account]), float(rows.maintenance[account]))
                for account in self._nearest.tolist()
            ),
        )


# -- in shared memory ------------------------------------------------------------------------------------------------

_ARRAYS: Final = ("equity", "initial", "maintenance", "group", "scenario")


def pack_rows(rows: MarginRows) -> list[Piece]:
    """Return the pieces of the frame that holds a pass; number and time are the frame's."""
    values = {"generation": rows.generation, "groups": rows.groups}
    return pack({name: getattr(rows, name) for name in _ARRAYS}, values)


def unpack_rows(frame: Frame) -> MarginRows:
    """Return the pass that a frame holds. Raises MalformedFrameError."""
    arrays, values = unpack(frame.payload)
    kinds = {name: "<i4" if name in ("group", "scenario") else "<f8" for name in _ARRAYS}
    if {name: array.dtype.str for name, array in arrays.items()} != kinds:
        raise MalformedFrameError("the columns of a pass are amiss")
    if len({array.shape for array in arrays.values()}) != 1:
        raise MalformedFrameError("the columns of a pass differ in length")
    return MarginRows(
        number=frame.number,
        as_of_ns=frame.as_of_ns,
        generation=value_of(values, "generation", int),
        groups=value_of(values, "groups", tuple[str, ...]),
        equity=arrays["equity"],
        initial=arrays["initial"],
        maintenance=arrays["maintenance"],
        group=arrays["group"],
        scenario=arrays["scenario"],
    )


def newest_rows(memory: memoryview) -> MarginRows | None:
    """Return the newest pass in memory that a pricing process shares (status: `margins.path`), None before the first.

    For other processes: open the path, SharedMemory.attach, and ask. Raises TornFrameError where it changed meanwhile:
    ask again; MalformedFrameError.
    """
    frame = FrameReader(memory).read()
    return None if frame is None else unpack_rows(frame)
