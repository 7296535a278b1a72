"""Margin of many accounts at once, in slices: the slow side's full pass over the book.

The order path keeps each account's rows in the margin kernel; this is for what looks at all accounts together, from
nothing but positions and risk arrays: the intraday watch, a report over a million accounts, a proposed parameter set.
MARGINGATE_PURE=1 takes the plain twin.
"""

import os
from collections.abc import Iterator

import msgspec
import numpy as np

from risk.pricing import MAX_VALUE, Floats
from risk.remargin_plain import Flags, Ints, Offsets

__all__ = [
    "COMPILED",
    "Margins",
    "Portfolios",
    "RiskArrays",
    "make_portfolios",
    "make_risk_arrays",
    "remargin",
    "remargin_in_slices",
    "remargin_some",
]

if os.environ.get("MARGINGATE_PURE") == "1":
    from risk.remargin_plain import remargin_segments

    COMPILED = False
else:
    try:
        from risk._remargin import remargin_segments

        COMPILED = True
    except ImportError:
        from risk.remargin_plain import remargin_segments

        COMPILED = False


class Portfolios(msgspec.Struct, frozen=True, eq=False):
    """What all accounts hold, sorted by account and risk group; made by `make_portfolios` only.

    Segment m, of account segment_accounts[m], is rows and amounts from segment_offsets[m] to segment_offsets[m + 1];
    the segments of account a are account_segments[a] to account_segments[a + 1]. `row_count` is R of the risk arrays.
    """

    accounts: int
    row_count: int
    account_segments: Offsets
    segment_offsets: Offsets
    segment_accounts: Ints
    rows: Ints
    amounts: Floats


class RiskArrays(msgspec.Struct, frozen=True, eq=False):
    """Risk arrays that were looked at; made by `make_risk_arrays` only."""

    values: Floats
    known: Flags
    base: int


class Margins(msgspec.Struct, frozen=True, eq=False):
    """Each account's equity in the base scenario and in its worst, shape (A,), USD; NaN where a row is unknown.

    `binding` (A,) is the segment of the portfolios that costs most, `cost` (A,) how much, `scenario` (A,) in which
    scenario; -1 where an account holds nothing or something unknown.
    """

    equity: Floats
    worst: Floats
    cost: Floats
    binding: Offsets
    scenario: Ints

    @classmethod
    def of(cls, accounts: int) -> "Margins":
        """Return margins of so many accounts, to be filled."""
        margins = cls(
            np.empty(accounts), np.empty(accounts), np.empty(accounts), np.empty(accounts, dtype=np.int64),
            np.empty(accounts, dtype=np.int32),
        )  # fmt: skip
        margins.clear()
        return margins

    def clear(self) -> None:
        """Forget what was filled in."""
        self.equity[:] = self.worst[:] = 0.0
        self.cost[:] = self.binding[:] = self.scenario[:] = -1

    @property
    def requirement(self) -> Floats:
        """What the worst scenario costs, shape (A,), USD, never negative."""
        return self.equity - self.worst


def make_portfolios(accounts: int, account_of: Ints, row_of: Ints, amount_of: Floats, group_of_row: Ints) -> Portfolios:
    """Return portfolios of holdings in any order: account, row and amount of each, shape (N,).

    The same row may come several times; the amounts add up. group_of_row is (R,).

    Raises
    ------
    ValueError
        If lengths differ, an index is out of range, or an amount is not finite.
    """
    count = len(account_of)
    if not len(row_of) == len(amount_of) == count:
        raise ValueError(f"holdings differ in length: {count}, {len(row_of)}, {len(amount_of)}")
    for name, column, most in (("account", account_of, accounts), ("row", row_of, len(group_of_row))):
        if count and not (column.min() >= 0 and column.max() < most):
            raise ValueError(f"{name} of a holding is not in 0..{most - 1}")
    if not np.isfinite(amount_of).all():
        raise ValueError("the amount of a holding is not finite")
    groups = group_of_row[row_of]
    # One number a holding sorts in half the time that three take.
    group_count = int(groups.max(initial=0)) + 1
    if accounts * group_count * len(group_of_row) >= 1 << 63:
        raise ValueError(f"{accounts} accounts of {group_count} groups and {len(group_of_row)} rows are too many")
    order = np.argsort((account_of.astype(np.int64) * group_count + groups) * len(group_of_row) + row_of, kind="stable")
    account_of, groups, row_of, amount_of = account_of[order], groups[order], row_of[order], amount_of[order]
    is_again = (account_of[1:] == account_of[:-1]) & (row_of[1:] == row_of[:-1])
    if is_again.any():
        # What depends on size needs the whole of a row: what one adds to another is one.
        firsts = np.flatnonzero(np.append(True, ~is_again))
        amount_of = np.add.reduceat(amount_of, firsts)
        account_of, groups, row_of, count = account_of[firsts], groups[firsts], row_of[firsts], len(firsts)
    starts = np.ones(count, dtype=bool)
    starts[1:] = (account_of[1:] != account_of[:-1]) | (groups[1:] != groups[:-1])
    offsets = np.append(np.flatnonzero(starts), count).astype(np.int64)
    segment_accounts = account_of[offsets[:-1]].astype(np.int32)
    return Portfolios(
        accounts=accounts,
        row_count=len(group_of_row),
        account_segments=np.searchsorted(segment_accounts, np.arange(accounts + 1)).astype(np.int64),
        segment_offsets=offsets,
        segment_accounts=segment_accounts,
        rows=row_of.astype(np.int32),
        amounts=amount_of.astype(np.float64),
    )


def remargin(portfolios: Portfolios, values: Floats, known: Flags, base: int) -> Margins:
    """Return the margins of all accounts; arguments as for `remargin_in_slices`."""
    margins = Margins.of(portfolios.accounts)
    for _ in remargin_in_slices(portfolios, values, known, base, margins, portfolios.accounts or 1):
        pass
    return margins


def remargin_in_slices(
    portfolios: Portfolios, values: Floats, known: Flags, base: int, margins: Margins, accounts_a_slice: int
) -> Iterator[int]:
    """Fill `margins` slice by slice, giving after each how many accounts are done, so that a caller may let others run.

    values (R, S): USD value of one unit of each row in each scenario; known (R,): 0 where a row has no value now.

    Raises
    ------
    ValueError
        If shapes do not fit the portfolios, `base` is no scenario, or the row of something known is out of bounds.
    """
    arrays = make_risk_arrays(values, known, base)
    if len(values) != portfolios.row_count:
        raise ValueError(f"risk arrays of {len(values)} rows are not of {portfolios.row_count} rows")
    if accounts_a_slice < 1:
        raise ValueError("a slice has at least one account")
    margins.clear()
    for start in range(0, portfolios.accounts, accounts_a_slice):
        stop = min(start + accounts_a_slice, portfolios.accounts)
        remargin_some(portfolios, arrays, margins, start, stop)
        yield stop


def make_risk_arrays(values: Floats, known: Flags, base: int) -> RiskArrays:
    """Return arrays for `remargin_some`: values (R, S), known (R,).

    Raises
    ------
    ValueError
        If shapes do not fit, `base` is no scenario, or the row of something known is out of bounds.
    """
    if values.ndim != 2 or known.shape != values.shape[:1]:
        raise ValueError(f"risk arrays {values.shape} and flags {known.shape} are not of the same rows")
    if not 0 <= base < values.shape[1]:
        raise ValueError(f"base scenario {base} is not in 0..{values.shape[1] - 1}")
    # Of each row, so that no second array as large is made; NaN is neither.
    lowest, highest = values.min(axis=1), values.max(axis=1)
    if not ((lowest >= -MAX_VALUE) & (highest <= MAX_VALUE) | (known == 0)).all():
        raise ValueError("the risk array of a known row is not finite or out of bounds")
    return RiskArrays(np.ascontiguousarray(values, dtype=np.float64), np.ascontiguousarray(known, dtype=np.uint8), base)


def remargin_some(
    portfolios: Portfolios, arrays: RiskArrays, margins: Margins, start: int, stop: int, off: Floats | None = None,
    off_of: Ints | None = None,
) -> None:  # fmt: skip
    """Fill in the margins of accounts `start` to `stop`, which are clear; the arrays must have the portfolios' rows.

    Of segment m row off_of[m] of off (., S) does not count, where that is given.
    """
    remargin_segments(
        arrays.values, arrays.known, arrays.base, portfolios.segment_offsets, portfolios.segment_accounts,
        portfolios.rows, portfolios.amounts, int(portfolios.account_segments[start]),
        int(portfolios.account_segments[stop]), margins.worst, margins.equity, margins.cost, margins.binding,
        margins.scenario, off, off_of,
    )  # fmt: skip
    unknown = start + np.flatnonzero(np.isnan(margins.worst[start:stop]))
    margins.cost[unknown] = margins.binding[unknown] = margins.scenario[unknown] = -1
