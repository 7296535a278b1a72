"""What a run of the demo must have shown, checked and printed."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.demo.scenario import Scenario
from gateway.demo.scenario_tally import ScenarioFigures, accounts_of, claims, table_of
from gateway.demo.venue_figures import VenueFigures, row
from gateway.demo.view import bar, ranked, reason_text, short_name
from risk.order import RejectReason

_KEYS: Final = ("orders_in", "accepted", "rejected", "rejects_by_code", "fills")

_COUNTS: Final = (
    ("in", "orders_in"),
    ("accepted", "accepted"),
    ("rejected", "rejected"),
    ("fills", "fills"),
    ("cancelled", "cancelled"),
    ("replaced", "replaced"),
    ("refused by the venue", "venue_rejects"),
    ("cancels refused", "cancels_refused"),
)


_VENUE_COUNTS: Final = {
    "accepted": "accepted",
    "fills": "fills",
    "cancelled": "cancelled",
    "replaced": "replaced",
    "refused": "venue_rejects",
}


class Total(msgspec.Struct):
    """What all clients together sent and were told."""

    clients: int = 0
    working: int = 0
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    rejects: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, counts: dict[str, Any], working: int) -> None:
        """Add one client's counts; its rejects are by RejectCode(20001)."""
        self.clients += 1
        self.working += working
        self.counts.update({name: number for name, number in counts.items() if name != "rejects"})
        self.rejects.update({RejectReason(int(code)).name: number for code, number in counts["rejects"].items()})


class Outcome(msgspec.Struct, frozen=True):
    """A finished run: the gateway's last snapshot, what its clients were told, and the replay of its journal.

    `venues` are counts from the journal, `feeds` how the venues stood when trading ended, `hedged` the accounts that
    were then long at one venue and short at another.
    """

    counters: dict[str, Any]
    told: Total
    replayed_records: int
    replay_hash: str
    is_compiled: bool
    duration_s: float
    ran_its_time: bool
    venues: dict[str, VenueFigures] = {}
    feeds: dict[str, dict[str, Any]] = {}
    hedged: list[str] = []
    scenario: tuple[Scenario, ScenarioFigures] | None = None
    # What the gateway's own orders did, of which no client is told.
    own: dict[str, int] = {}

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        counters = self.counters
        latency = counters["latency_us"]
        return {
            **{key: counters[key] for key in _KEYS},
            "cancels": counters["cancelled"],
            "unknown": counters["unknown"],
            "checks_run": counters["checks_run"],
            "checks_configured": counters["checks_configured"],
            "latency_us": {
                which: {"p50": latency[which]["p50"], "p99": latency[which]["p99"]} for which in ("reject", "accept")
            },
            "journal_records": counters["journal_records"],
            "state_hash": counters["state_hash"],
            "replay_hash": self.replay_hash,
            "compiled": self.is_compiled,
            "duration_s": self.duration_s,
            "venues": {name: row(figures, self.feeds.get(name, {})) for name, figures in self.venues.items()},
            "hedged_accounts": self.hedged,
            **({} if self.scenario is None else {"scenario": self._scenario_json()}),
        }

    def _scenario_json(self) -> dict[str, Any]:
        assert self.scenario is not None
        scenario, figures = self.scenario
        told: dict[str, Any] = {"title": scenario.title} | msgspec.to_builtins(figures)
        return told | {"claims": {text: holds for holds, text in claims(*self.scenario)}}

    def claims(self) -> list[tuple[bool, str]]:
        """Return (does it hold, text) of everything that must hold after a run."""
        counters = self.counters
        accepted, rejected, orders_in = counters["accepted"], counters["rejected"], counters["orders_in"]
        configured, run, records = counters["checks_configured"], counters["checks_run"], self.replayed_records
        is_equal = self.replay_hash == counters["state_hash"]
        ours = self.own.get("accepted", 0)  # nobody sent them in
        return [
            (
                is_equal and records == counters["journal_records"],
                f"replay: {records:,} records, state hash {'equal' if is_equal else 'DIFFERENT'} "
                f"({self.replay_hash[:12]})",
            ),
            (
                accepted - ours + rejected == orders_in,
                f"{accepted - ours:,} accepted + {rejected:,} rejected = {orders_in:,} in",
            ),
            (
                run == configured * accepted,
                f"every accepted order passed all {configured} checks: {run:,} checks run",
            ),
            (counters["fills"] > 0 or not self.ran_its_time, f"{counters['fills']:,} fills"),
            # A venue that falls silent leaves outcomes unknown for a while: that none is left is the scenario's claim.
            (counters["unknown"] == 0 or self.scenario is not None, f"{counters['unknown']} orders of unknown outcome"),
            *self._venue_claims(),
            *self._told_claims(),
            *(claims(*self.scenario) if self.scenario is not None and self.ran_its_time else ()),
        ]

    def _venue_claims(self) -> list[tuple[bool, str]]:
        """Hold the journal's counts by venue against the gateway's own."""
        if not self.venues:
            return []
        sums = {
            name: sum(getattr(figures, name) for figures in self.venues.values())
            for name in ("accepted", "fills", "cancelled", "replaced", "venue_rejects")
        }
        wrong = [f"{name} {count:,} of {self.counters[name]:,}" for name, count in sums.items()
                 if count != self.counters[name]]  # fmt: skip
        if wrong:
            return [(False, f"the venues' counts are not the gateway's: {', '.join(wrong)}")]
        return [(True, f"{len(self.venues)} venues: their counts in the journal add up to the gateway's")]

    def _told_claims(self) -> list[tuple[bool, str]]:
        """Hold what the clients counted against what the gateway counted."""
        counters, counts = self.counters, self.told.counts
        pairs = [
            ("orders", counts["orders"], counters["orders_in"]),
            ("accepted", counts["accepted"], counters["accepted"] - self.own.get("accepted", 0)),
            ("fills", counts["fills"], counters["fills"] - self.own.get("fills", 0)),
            ("cancels", counts["cancelled"], counters["cancelled"] - self.own.get("cancelled", 0)),
            ("replaces", counts["replaced"], counters["replaced"]),
            ("venue's rejects", counts["venue_rejects"], counters["venue_rejects"]),
        ]
        theirs, ours = self.told.rejects, counters["rejects_by_code"]
        pairs += [(name, theirs[name], ours.get(name, 0)) for name in sorted(theirs.keys() | ours.keys())]
        wrong = [f"{what}: {told:,} told, {counted:,} counted" for what, told, counted in pairs if told != counted]
        if wrong:
            return [(False, f"clients and gateway differ: {text}") for text in wrong]
        return [(True, f"{self.told.clients} clients were told what the gateway counted, in {len(pairs)} counts")]

    def faults(self) -> list[str]:
        """Return what should hold and does not."""
        return [text for holds, text in self.claims() if not holds]


def summary(outcome: Outcome) -> RenderableType:
    """Return the tables at the end, and every claim with its mark."""
    counters, latency = outcome.counters, outcome.counters["latency_us"]
    orders = Table(box=SIMPLE_HEAD)
    orders.add_column("orders")
    orders.add_column("count", justify="right")
    for label, name in _COUNTS:
        orders.add_row(label, f"{counters[name]:,}")
        if name in outcome.own:
            orders.add_row("  of them our own", f"{outcome.own[name]:,}")
    reasons = Table(box=SIMPLE_HEAD)
    reasons.add_column("rejected because", no_wrap=True)
    reasons.add_column("count", justify="right")
    reasons.add_column("")
    ranking = ranked(counters["rejects_by_code"])
    for name, number in ranking:
        reasons.add_row(reason_text(name), f"{number:,}", bar(number / ranking[0][1], 12, "red"))
    tables = Table.grid()
    tables.add_row(orders, reasons)
    venues = Table(box=SIMPLE_HEAD)
    venues.add_column("venue")
    for header in ("feed ms", *_VENUE_COUNTS):
        venues.add_column(header, justify="right")
    for name, figures in outcome.venues.items():
        age = outcome.feeds.get(name, {}).get("feed_age_ms")
        counts = [f"{getattr(figures, count):,}" for count in _VENUE_COUNTS.values()]
        venues.add_row(short_name(name), "-" if age is None else f"{age:,.0f}", *counts)
    by_venue: list[RenderableType] = []
    if outcome.venues:
        by_venue = [venues, Text(f"Hedged over venues: {', '.join(outcome.hedged) or 'nobody'}")]
    marked = [
        Text.assemble(("✓ ", "green") if holds else ("✗ ", "bold red"), (text, "" if holds else "bold red"))
        for holds, text in outcome.claims()
    ]
    latencies = ", ".join(
        f"{which} {latency[which]['p50']:,.0f}/{latency[which]['p99']:,.0f}"
        for which in ("reject", "accept")
        if latency[which]["p99"]  # nought where there was none
    )
    told: list[RenderableType] = []
    if outcome.scenario is not None:
        scenario, tally = outcome.scenario
        told = [Text(scenario.title, "bold"), table_of(tally), accounts_of(tally)]
    kernels = "compiled kernels" if outcome.is_compiled else "kernels in plain Python"
    return Group(
        Text(f"\nMargingate demo, {outcome.duration_s:.1f} s, {kernels}", "bold"),
        tables,
        *by_venue,
        *told,
        Text(f"Latency, us, p50/p99: {latencies} (venue and back)."),
        Text("At a few desks' pace, all on one machine; make bench measures the path.\n"),
        *marked,
    )
