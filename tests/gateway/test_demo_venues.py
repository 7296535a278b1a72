"""What the demo tells of each venue."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gateway.demo.summary import summary
from gateway.demo.venue_figures import Tally, VenueFigures, hedged
from gateway.recovery import replay
from tests.gateway.rig import accepted, cancelled, filled, opened
from tests.gateway.test_demo import SNAPSHOT, outcome, rendered

VENUE_FIGURES = {
    "sim-deribit": VenueFigures(accepted=900, fills=280, cancelled=400, replaced=50, venue_rejects=7),
    "sim-okx": VenueFigures(accepted=100, fills=20, cancelled=80, replaced=4),
}


def test_the_summary_counts_each_venue() -> None:
    feeds = {"sim-deribit": {"state": "live", "feed_age_ms": 41.7, "instruments": 48, "marks_fresh": 48}}
    whole = msgspec.structs.replace(outcome(), venues=VENUE_FIGURES, feeds=feeds, hedged=["FUND-1"])
    assert whole.faults() == []
    text = re.sub(" +", " ", rendered(summary(whole), 80, 60))
    assert "deribit 42 900 280 400 50 7" in text and "okx - 100 20 80 4 0" in text
    assert "Hedged over venues: FUND-1" in text
    told = whole.as_json()
    assert told["venues"]["sim-deribit"]["feed_age_ms"] == 41.7 and told["venues"]["sim-okx"]["state"] is None
    assert told["hedged_accounts"] == ["FUND-1"]


@pytest.mark.parametrize("name", ["accepted", "fills", "cancelled", "replaced", "venue_rejects"])
def test_counts_of_venues_that_do_not_add_up_are_shown(name: str) -> None:
    figures = VENUE_FIGURES | {"sim-bybit": VenueFigures(**{name: 1})}
    broken = msgspec.structs.replace(outcome(), venues=figures)
    (fault,) = broken.faults()
    assert f"{name} {SNAPSHOT['cancelled' if name == 'cancelled' else name] + 1:,} of" in fault


def test_figures_of_a_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rig.desk().log_on().order()
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 10, "t1"), cancelled(order, 10))
        tally = Tally()
        ledger = replay(tally.watched(rig.entries())).ledger
    figures = VenueFigures(accepted=1, fills=1, cancelled=1)
    assert tally.of(ledger, ["deribit", "okx"]) == {"deribit": figures, "okx": VenueFigures()}
    assert hedged(ledger) == []  # nobody is short elsewhere
