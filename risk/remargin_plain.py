"""Margin of many accounts at once, in plain numpy: what `_remargin.pyx` does, a block of accounts a time.

A portfolio here is what risk arrays make of it: amounts of rows. Row r is an instrument (USD value of one lot) or a
currency (of one unit), so a position and a deposit are the same thing. Rows belong to risk groups; amounts of one
account and one group form a segment, each segment takes its own worst scenario, and an account's worst equity is the
sum over its segments. With one group for all rows the scenarios are joint moves of the whole market.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.pricing import Floats

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]

# Rows gathered at once: 200 scenarios of them stay inside a processor's cache.
ROWS_A_BLOCK: Final = 4096


def remargin_segments(
    values: Floats,
    known: Flags,
    base: int,
    segment_offsets: Offsets,
    segment_accounts: Ints,
    rows: Ints,
    amounts: Floats,
    first: int,
    last: int,
    worst: Floats,
    equity: Floats,
    cost: Floats,
    binding: Offsets,
    scenario: Ints,
    off: Floats | None = None,
    off_of: Ints | None = None,
) -> None:
    """Add to `worst` and `equity` (A,) what segments `first` to `last` (exclusive) contribute.

    Where a segment costs more in its worst scenario than `cost` (A,) of its account says, that becomes its cost, and
    `binding` (A,) and `scenario` (A,) say which segment and which scenario: the first of those that are equally bad.

    values (R, S) in USD; known (R,) says which rows may be used: an account that holds any other gets NaN.
    Of segment m row off_of[m] of off (., S) is taken off, where it is given.
    segment_offsets (M + 1,) index rows and amounts (N,); segment_accounts (M,). No argument is checked here:
    `risk.remargin` does that once, when the portfolios are made.
    """
    start = first
    while start < last:
        begin = int(segment_offsets[start])
        stop = int(np.searchsorted(segment_offsets, begin + ROWS_A_BLOCK, side="right")) - 1
        stop = min(max(stop, start + 1), last)
        end = int(segment_offsets[stop])
        used = rows[begin:end]
        # An unknown row may hold anything: it is left out of the sum and spoils the account by name instead.
        is_known = known[used] != 0
        products = np.where(is_known[:, None], values[used], 0.0) * amounts[begin:end, None]
        sums = np.add.reduceat(products, segment_offsets[start:stop] - begin, axis=0)
        if off is not None and off_of is not None:
            sums = sums - off[off_of[start:stop]]
        accounts = segment_accounts[start:stop]
        least = sums.min(axis=1)
        np.add.at(worst, accounts, least)
        np.add.at(equity, accounts, sums[:, base])
        costs = sums[:, base] - least
        # Backwards, so that of equal ones the first is written last.
        for place in np.flatnonzero(costs > cost[accounts])[::-1].tolist():
            if costs[place] >= cost[accounts[place]]:
                cost[accounts[place]] = costs[place]
                binding[accounts[place]], scenario[accounts[place]] = start + place, sums[place].argmin()
        spoilt = np.logical_or.reduceat(~is_known, segment_offsets[start:stop] - begin)
        worst[accounts[spoilt]] = equity[accounts[spoilt]] = np.nan
        start = stop
