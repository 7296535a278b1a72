"""What a contest does to a fit: whose volatility is used, never below a floor, and the same bytes each time."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.backtest.study import Data
from gateway.commands.parameters import _print
from gateway.fit import artifacts, study
from gateway.fit.champions import AT_FLOOR, EVENINGS, scaled
from gateway.parameters.desk import detail
from gateway.parameters.file import decoded, hash_of
from risk.fhs.factors import Factor, FactorKind
from risk.fhs.filtered import Filtered
from risk.learning.champion import FILTER, ChampionRules, Choice
from risk.learning.contest import CHALLENGER
from risk.parameter_set import Floors, why_not
from tests.gateway.backtest.test_backtest import write_hours
from tests.gateway.parameter_rig import PARAMETERS_CONFIG, coin, parameter_set, propose, settle
from tests.gateway.rig import opened
from tests.risk.test_parameter_set import by_champion

DAYS = 420
RULES = ChampionRules(segment_days=100, first_past_days=120, proof_days=60, least=0.75, most=2.0)


def write_signal(path: Path, seed: int) -> None:
    """A market whose basis of a day says how wild the next one is: learning beats the filter."""
    rng = np.random.default_rng(seed)
    basis = np.repeat(rng.choice([0.0, 0.002], DAYS + 1), 24)
    scale = np.where(basis[: DAYS * 24] > 0.001, 1.6, 0.8)
    close = 100 * np.exp(np.cumsum(0.006 * scale * rng.standard_t(6, DAYS * 24)))
    mark = close * np.exp(-basis[24:])
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["open_time_ms", "close", "volume", "mark_close", "funding_rate"])
        for at in range(DAYS * 24):
            out.writerow([at * 3_600_000, repr(float(close[at])), 1, repr(float(mark[at])), ""])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    directory = tmp_path_factory.mktemp("prices")
    write_signal(directory / "AAAUSDT.csv", 6)
    write_hours(directory / "BBBUSDT.csv", DAYS, 2)
    return Data.read(directory)


@pytest.fixture(scope="module")
def plain(data) -> study.Fitted:
    return study.fit(data, contests=False)


@pytest.fixture(scope="module")
def fitted(data) -> study.Fitted:
    return study.fit(data, contests=False, champions=RULES)


def test_the_winner_is_used_and_the_loser_is_not(plain, fitted) -> None:
    won, lost = fitted.used["AAA"], fitted.used["BBB"]
    assert won.forecaster == CHALLENGER and won.ratio != 1.0 and won.why.startswith("won")
    assert won.p_value < 0.01 and won.loss < won.base_loss and won.rows >= 60
    assert (lost.forecaster, lost.ratio) == (FILTER, 1.0)
    sigma, filters = fitted.volatilities["AAA"]["sigma"], plain.volatilities["AAA"]["sigma"]
    assert sigma == won.ratio * filters and won.filter_sigma == filters
    assert fitted.volatilities["BBB"] == plain.volatilities["BBB"]
    # What follows from it goes the same way; the other coin's is untouched.
    is_more = won.ratio > 1.0
    assert (fitted.haircuts["AAA"] > plain.haircuts["AAA"]) is is_more
    assert fitted.haircuts["BBB"] == plain.haircuts["BBB"] and fitted.collars["BBB"] == plain.collars["BBB"]
    mine, before = (min(p.moves["AAA"] for p in each.points.points) for each in (fitted, plain))
    assert (mine < before) is is_more
    assert [one.as_of_day for one in fitted.choices["AAA"]] == list(range(DAYS - EVENINGS, DAYS))


def test_the_set_says_so_and_is_the_same_each_time(data, fitted, plain, tmp_path) -> None:
    artifacts.write(tmp_path / "one", fitted, data)
    artifacts.write(tmp_path / "two", study.fit(data, contests=False, champions=RULES), data)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    content = artifacts.verified(tmp_path / "one")
    given = decoded(content, hash_of(content)).parameters
    assert given.underlyings["AAA"].used == fitted.used["AAA"]
    assert why_not(given, Floors(), given.as_of_day, {"AAA", "BBB"}) == ""
    card = (tmp_path / "one" / artifacts.CARD).read_text()
    assert "Whose volatility is used" in card and fitted.used["AAA"].why in card
    artifacts.write(tmp_path / "plain", plain, data)
    assert b"forecaster" not in (tmp_path / "plain" / "parameters.json").read_bytes()
    assert artifacts.read(tmp_path / "plain")[0].identity != artifacts.read(tmp_path / "one")[0].identity


def choice(ratio: float) -> Choice:
    return Choice(DAYS - 1, "learned", ratio, "won", 0.02, 0.02 * ratio, 1.0, None, [])


@pytest.mark.parametrize("ratio", [1e-9, 0.05, 0.75])
@pytest.mark.parametrize("floors", [Floors(), Floors(volatility=0.015), Floors(move=0.05), Floors(move=0.5)])
def test_no_forecast_takes_a_scenario_below_the_floors(data, plain, ratio, floors) -> None:
    """At or above the floor, or where the filter itself has it."""
    tempered = Filtered(data.history, study.TEMPERED)
    scenarios = tempered.scenarios(DAYS - 1, 1.0, [Factor(name, FactorKind.SPOT) for name in ("AAA", "BBB")])
    before = plain.points
    points, used = scaled([scenarios], plain.volatilities, {"AAA": choice(ratio)}, study.POINT_CONFIDENCE, floors)
    one, volatility = used["AAA"], plain.volatilities["AAA"]
    if AT_FLOOR in one.why:
        assert (one.forecaster, one.ratio) == (FILTER, 1.0) and points == before
    else:
        moves = [point.moves["AAA"] for point in points.points]
        weight = volatility["long_run_weight"]
        scale = (1 - weight) * one.ratio * volatility["sigma"] + weight * volatility["long_run"]
        assert min(-min(moves), max(moves)) >= floors.move and scale >= floors.volatility
        # The part through the cycle is never touched.
        assert scale >= weight * volatility["long_run"]
        assert -min(moves) < -min(point.moves["AAA"] for point in before.points)


def test_floors_hold_in_a_whole_fit(data, plain) -> None:
    high = Floors(volatility=0.5, move=0.9, haircut=0.3, collar=0.2)
    found = study.fit(data, contests=False, champions=replace(RULES, segment_days=300), floors=high)
    for name, each in found.used.items():
        assert each.ratio >= 1.0 and found.haircuts[name] >= plain.haircuts[name]
        assert found.collars[name][0] >= plain.collars[name][0]


def test_an_operator_is_shown_whose_figure_it_is(tmp_path, capsys) -> None:
    given = parameter_set(underlyings={"BTC": by_champion(), "ETH": coin()})
    with opened(tmp_path, config=PARAMETERS_CONFIG) as rig:
        number = propose(rig, given)
        settle(rig)
        shown = detail(rig.core.parameters.book, number)
    assert shown["underlyings"]["BTC"]["used"]["p_value"] == 0.001 and shown["underlyings"]["ETH"]["used"] is None
    _print(shown)
    told = capsys.readouterr().out
    assert "BTC: volatility by learned, 2.70% a day; the filter's 3.00% (won)" in told
    assert "learned lost 0.3, the filter 0.4, p 0.001" in " ".join(told.split())
