"""What the gateway shows of itself to whoever looks, made beside the order path, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from gateway.core import Core
from gateway.margin_figures import figures_of
from gateway.status_page import StatusPage
from risk.account import Account

# Accounts whose maintenance margin and scenario ladder are told: those nearest to their margin. Some 0.1 ms each.
NEAREST: Final = 24
# Marks looked at in a step: some 0.1 us each.
MARKS_A_STEP: Final = 2_000

Row = dict[str, Any]


class Showing:
    """Writes the status page: one pass at each `steps`, which is over when the iterator is."""

    def __init__(self, core: Core, page: StatusPage, counters: Callable[[], Row]) -> None:
        """`counters` are all that is told besides accounts, feeds and ladders."""
        self._core = core
        self._page = page
        self._counters = counters
        self._nearest: list[str] = []

    def steps(self, now_ns: int) -> Iterator[None]:
        """Make and write a snapshot of now. Raises StatusPageError where it does not fit."""
        maintenance: dict[str, float] = {}
        ladders: list[Row] = []
        for name in self._nearest:
            account = self._core.ledger.accounts[name]
            if (margin := self._maintenance(account, now_ns)) is not None:
                maintenance[name] = margin
            if (ladder := self._ladder(account)) is not None:
                ladders.append({"account": name, "changes": ladder})
            yield
        feeds: list[Row] = []
        for _ in self._feeds(feeds, now_ns):
            yield
        grid = self._core.config.margin
        shown = self._counters() | {
            "time_ns": now_ns,
            "feeds": feeds,
            "ladder": {"spot_moves": grid.spot_moves, "vol_moves": grid.vol_moves, "rows": ladders},
        }
        uses: list[tuple[float, str]] = []

        def rows(names: list[str]) -> list[Row]:
            made = self._core.account_rows([self._core.ledger.accounts[name] for name in names])
            for row in made:
                row["maintenance_margin"] = maintenance.get(row["account"])
                uses.append((-margin_use(row), row["account"]))
            return made

        yield from self._page.publish_in_steps(shown, rows, list(self._core.ledger.accounts), now_ns)
        self._nearest = [name for _, name in sorted(uses)[:NEAREST]]

    def _maintenance(self, account: Account, now_ns: int) -> float | None:
        figures = figures_of(account, self._core.market, self._core.valuation.generation, now_ns)
        return None if isinstance(figures, str) else figures.maintenance

    def _ladder(self, account: Account) -> list[float] | None:
        """Return what each scenario changes in the equity in USD, spot-major; None where it is unknown."""
        kernel, generation = self._core.market.kernel, self._core.valuation.generation
        if generation is None:
            return None
        base = kernel.equity(account.index, generation.grid.base)
        changes = [kernel.equity(account.index, scenario) - base for scenario in range(generation.grid.size)]
        return changes if all(change == change for change in changes) else None

    def _feeds(self, rows: list[Row], now_ns: int) -> Iterator[None]:
        """Add a row a venue: instruments, those whose mark is fresh, and the newest and oldest mark's age."""
        market, instruments = self._core.market, self._core.ledger.instruments
        found = {
            name: Row(venue=name, instruments=0, fresh=0, newest_ns=0, oldest_ns=0) for name in self._core.venue_names
        }
        for index in range(len(instruments)):
            instrument, mark = instruments[index], market.marks[index]
            row = found.get(instrument.venue)
            if row is not None and instrument.is_open:
                row["instruments"] += 1
                if mark is not None:
                    row["fresh"] += now_ns - mark.time_ns <= market.mark_max_age_ns
                    row["newest_ns"] = max(row["newest_ns"], mark.time_ns)
                    row["oldest_ns"] = min(row["oldest_ns"] or mark.time_ns, mark.time_ns)
            if index % MARKS_A_STEP == MARKS_A_STEP - 1:
                yield
        for row in found.values():
            newest_ns, oldest_ns = row.pop("newest_ns"), row.pop("oldest_ns")
            row["newest_age_ms"] = (now_ns - newest_ns) / 1e6 if newest_ns else None
            row["oldest_age_ms"] = (now_ns - oldest_ns) / 1e6 if oldest_ns else None
            rows.append(row)


def margin_use(row: Row) -> float:
    """Return initial margin as a share of equity; infinite where it is not known or there is no equity for it."""
    equity, margin = row["equity"], row["initial_margin"]
    if equity is None or margin is None:
        return float("inf")
    if equity > 0:
        return float(margin / equity)
    return float("inf") if margin > 0 or equity < 0 else 0.0
