"""What the gateway shows of itself to whoever looks, made beside the order path, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from gateway.core import Core
from gateway.margin.figures import arrays_are_fresh, figures_of, text_of
from gateway.operators.showing_margin import margin_in_steps
from gateway.operators.status_page import StatusPage
from gateway.venues.status import Ages, ages_in_steps
from risk.account import Account
from risk.telling import quote_of

# Accounts whose maintenance margin and scenario ladder are told: those nearest to their margin. Some 0.1 ms each.
NEAREST: Final = 24

Row = dict[str, Any]


class Showing:
    """Writes the status page: one pass at each `steps`, which is over when the iterator is."""

    def __init__(self, core: Core, page: StatusPage, counters: Callable[[Ages], Row]) -> None:
        """`counters` are all that is told besides accounts and ladders, by the ages of marks."""
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
            if (ladder := self._ladder(account, now_ns)) is not None:
                ladders.append({"account": name, "changes": ladder})
            yield
        ages: Ages = {}
        yield from ages_in_steps(ages, self._core.market, self._core.ledger, now_ns)
        grid = self._core.config.margin
        shown = self._counters(ages) | {
            "time_ns": now_ns,
            "ladder": {"spot_moves": grid.spot_moves, "vol_moves": grid.vol_moves, "rows": ladders},
        }
        shown["transfer_desk"] = shown.pop("transfers", {})
        yield from margin_in_steps(self._core.ledger.margin, shown)
        watches, is_watched = self._core.ledger.margin.watches, self._core.intraday.is_on
        uses: list[tuple[float, str]] = []

        def rows(names: list[str]) -> list[Row]:
            made = self._core.account_rows([self._core.ledger.accounts[name] for name in names], now_ns)
            for row in made:
                watch = watches.get(row["account"])
                needed = row["maintenance_margin"] = maintenance.get(row["account"])
                row["told"]["maintenance_margin"] = self._told(row["account"], needed, now_ns)
                row["margin_state"] = (watch.state.value if watch else "healthy") if is_watched else None
                uses.append((-margin_use(row), row["account"]))
            return made

        yield from self._page.publish_in_steps(shown, rows, list(self._core.ledger.accounts), now_ns)
        self._nearest = [name for _, name in sorted(uses)[:NEAREST]]

    def _maintenance(self, account: Account, now_ns: int) -> float | None:
        figures = figures_of(account, self._core.market, self._core.valuation.generation, now_ns)
        return None if isinstance(figures, str) else figures.maintenance

    def _told(self, account: str, needed: float | None, now_ns: int) -> str | None:
        """Return what an account is told that it needs."""
        if needed is None:
            return None
        quote = quote_of(self._core.ledger.accounts[account].currency, self._core.market, now_ns)
        return text_of(quote, quote.needs(needed))

    def _ladder(self, account: Account, now_ns: int) -> list[float] | None:
        """Return what each scenario changes in the equity in USD, spot-major; None where it is unknown."""
        kernel, generation = self._core.market.kernel, self._core.valuation.generation
        if generation is None or not arrays_are_fresh(self._core.market, now_ns):
            return None
        base = kernel.equity(account.index, generation.grid.base)
        changes = [kernel.equity(account.index, scenario) - base for scenario in range(generation.grid.size)]
        return changes if all(change == change for change in changes) else None


def margin_use(row: Row) -> float:
    """Return initial margin as a share of equity; infinite where it is not known or there is no equity for it."""
    equity, margin = row["equity"], row["initial_margin"]
    if equity is None or margin is None:
        return float("inf")
    if equity > 0:
        return float(margin / equity)
    return float("inf") if margin > 0 or equity < 0 else 0.0
