"""The demo's scenarios, each to its end in the simulator's world: what is expected comes to pass, the same twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fixtures.scenario import Scenario as Prices
from fixtures.scenario import ScenarioMarket, Shape, factor_at, read_scenario
from gateway.demo import scenario as demo
from gateway.demo.scenario_tally import ScenarioFigures, ScenarioTally, accounts_of, claims, table_of
from tests.scenario_world import ScenarioWorld

LENGTH_S = 8.0


def played(name: str, directory: Path, **options: Any) -> ScenarioWorld:
    return ScenarioWorld(name, directory, length_s=LENGTH_S, **options).play()


@pytest.mark.parametrize("name", demo.NAMES)
def test_a_scenario_ends_as_expected(name: str, tmp_path: Path) -> None:
    world = played(name, tmp_path)
    told = claims(world.terms, world.figures)
    assert [text for holds, text in told if not holds] == []
    assert len(told) >= len(world.terms.account) + 3
    assert table_of(world.figures).row_count > 10
    figures = world.figures
    by_client = accounts_of(figures)
    assert [column.header for column in by_client.columns] == ["client", *(one.account for one in figures.accounts)]
    assert len(figures.accounts) == len(world.terms.account)
    assert Console(width=200).measure(by_client).maximum <= 80, "it is cut in a terminal of the usual width"
    assert sum(one.calls for one in figures.accounts) == figures.calls_issued
    assert sum(one.met for one in figures.accounts) == figures.calls_met
    assert sum(one.called_usd for one in figures.accounts) == pytest.approx(figures.called_usd)
    assert sum(one.reductions for one in figures.accounts) == figures.reductions
    for one in figures.accounts:
        assert one.ends == figures.ends[one.account] and (one.reduced_usd > 0) is (one.reductions > 0)


def test_a_seed_gives_the_same_twice_and_another_ends_as_well(tmp_path: Path) -> None:
    first, again, other = (
        played("selloff", tmp_path / str(number), seed=seed) for number, seed in enumerate((1, 1, 2))
    )
    assert first.hash == again.hash and first.figures == again.figures
    assert other.hash != first.hash
    assert all(holds for holds, _ in claims(other.terms, other.figures))


# What a claim is worth: each of these would be noticed.
WRONGS: dict[str, dict[str, Any]] = {
    "called too often": {"calls_issued": 1_000},
    "never paid": {"calls_met": 0},
    "sold on a bad mark": {"reduced_on_bad_marks": 1},
    "an order is unknown": {"left_unknown": 1},
    "below zero": {"least_equity_usd": -0.01},
    "nobody looked": {"least_equity_usd": None},
    "money was made": {"collateral_adds_up": False},
    "the wrong one was called": {"called": ["PAYER", "SILENT", "HEDGED"]},
    "the payer was reduced": {"reduced": ["PAYER", "SILENT"]},
    "the payer was not cured": {"ends": {"PAYER": "restricted", "SILENT": "adjusting", "HEDGED": "healthy"}},
}


@pytest.fixture(scope="module")
def selloff(tmp_path_factory: pytest.TempPathFactory) -> ScenarioWorld:
    return played("selloff", tmp_path_factory.mktemp("selloff"))


@pytest.mark.parametrize("wrong", WRONGS)
def test_claims_can_fail(wrong: str, selloff: ScenarioWorld) -> None:
    changed: ScenarioFigures = msgspec.structs.replace(selloff.figures, **WRONGS[wrong])
    assert not all(holds for holds, _ in claims(selloff.terms, changed))


def test_a_venue_that_was_never_stale_is_missed(tmp_path: Path) -> None:
    terms = demo.read_scenario("venue-outage")
    tally = ScenarioTally(terms, 0, 1)
    assert not all(holds for holds, text in claims(terms, tally.figures) if "stale" in text)
    tally.stood({"okx": "stale", "bybit": "live"})
    assert all(holds for holds, text in claims(terms, tally.figures) if "stale" in text)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", demo.NAMES)
def test_both_readers_read_the_same_file(name: str) -> None:
    prices, terms = read_scenario(demo.path_of(name)), demo.read_scenario(name)
    assert [one.name for one in prices.account] == [one.name for one in terms.account]
    assert 5 <= terms.seconds <= 15
    for share in (0.0, 0.1, 0.333, 0.5, 0.99, 1.0, 7.0):
        assert terms.shape.factor("BTC", share) == pytest.approx(factor_at(prices.shape.btc, share))
        coins_in_stable = factor_at(prices.shape.btc, share) / factor_at(prices.shape.peg, share)
        assert terms.shape.factor("BTC", share, in_stablecoins=True) == pytest.approx(coins_in_stable)
        assert terms.shape.factor("ETH", share) == pytest.approx(factor_at(prices.shape.eth, share))


def test_all_files_are_offered() -> None:
    assert sorted(path.stem for path in demo.DIRECTORY.glob("*.toml")) == sorted(demo.NAMES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "shape"),
        ("[shape]\nbtc = [[0.5, 1.0], [0.2, 1.0]]", "ascend"),
        ("[shape]\nbtc = [[0.0, 0.0]]", "above zero"),
        (
            "[shape]\nbtc = [[0.0, 1.0]]\n[[failure]]\nvenue='okx'\nwindow='silence'\nbegins=0.5\nends=0.5",
            "ends before",
        ),
        ("[shape]\nbtc = [[0.0, 1.0]]\n[[failure]]\nvenue='okx'\nwindow='sleep'\nbegins=0.1\nends=0.5", "window"),
        ("[shape]\ndoge = [[0.0, 1.0]]", "doge"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        read_scenario(path)


# -- prices ------------------------------------------------------------------------------------------------------------

MOVES = Prices(shape=Shape(btc=[(0.0, 1.0), (0.5, 0.5), (1.0, 0.75)], peg=[(0.0, 1.0), (1.0, 0.9)]))
SECOND = 10**9


@given(st.lists(st.integers(1, 3_000_000_000), min_size=1, max_size=12), st.integers(0, 5))
def test_prices_are_the_times_whoever_asks_when(gaps: list[int], seed: int) -> None:
    often, once = (ScenarioMarket(MOVES, "okx", seed, 0, 10 * SECOND, begins_ns=SECOND) for _ in range(2))
    now_ns = 0
    for gap in gaps:
        now_ns += gap
        often.step(now_ns)
    once.step(now_ns)
    assert (often.spot, often.peg, often.now_ns) == (once.spot, once.peg, once.now_ns)


def test_nothing_moves_before_the_beginning() -> None:
    market = ScenarioMarket(msgspec.structs.replace(MOVES, noise_bps=0.0), "okx", 1, 0, 10 * SECOND)
    price = market.spot["btc"]
    market.step(60 * SECOND)
    assert market.share == 0.0 and market.spot["btc"] == price
    market.begins_ns = 60 * SECOND
    market.step(65 * SECOND)
    assert market.spot["btc"] == pytest.approx(price / 2) and market.peg == pytest.approx(0.95)
    market.step(600 * SECOND)
    assert market.spot["btc"] == pytest.approx(price * 0.75) and market.peg == pytest.approx(0.9)


def test_one_venue_has_factors_of_its_own() -> None:
    moves = msgspec.structs.replace(MOVES, own={"binance": Shape(btc=[(0.0, 0.5)])}, noise_bps=0.0)
    one, other = (ScenarioMarket(moves, name, 1, 0, SECOND, begins_ns=0) for name in ("binance", "okx"))
    for market in (one, other):
        market.step(SECOND // 2)
    assert one.spot["btc"] == pytest.approx(other.spot["btc"] / 2) and one.spot["eth"] == other.spot["eth"]
