"""What of a block of accounts the pass over haircuts needs, kept for as long as the block is what it was."""

from __future__ import annotations

import numpy as np

from gateway.slowside.book import Block, BookCopy, Rows
from risk.haircut_tables import HaircutTables, Holders, sets_of


def holders_of(book: BookCopy, block: Block, rows: Rows, tables: HaircutTables) -> Holders:
    """Return a block's holdings with what they cost, its accounts' sets of rules, and what lies at venues."""
    portfolios = block.portfolios(rows)
    kept = block.kept
    if isinstance(kept, tuple) and kept[0] == tables.venues and isinstance(kept[1], Holders):
        return kept[1]
    column = {name: place for place, name in enumerate(tables.names)}
    placed: list[tuple[int, int, int, float]] = []
    asked = range(block.count) if book.wallets and tables.location else ()
    for account in asked:
        for venue, cash in book.wallets.get(block.first + account, {}).items():
            placed += [(account, tables.number_of(venue), column[c], amount) for c, amount in cash if c in column]
    accounts = np.array([one[0] for one in placed], np.int64)
    found = Holders(
        first=block.first,
        portfolios=portfolios,
        moved=block.moved(rows),
        sets=sets_of(tables.haircuts.sets, block.first, block.count),
        placed_offsets=np.searchsorted(accounts, np.arange(block.count + 1)).astype(np.int64),
        placed_venues=np.array([one[1] for one in placed], np.int32),
        placed_columns=np.array([one[2] for one in placed], np.int32),
        placed_amounts=np.array([one[3] for one in placed], np.float64),
    )
    block.kept = tables.venues, found
    return found
