"""Margin periods by product and venue in a gateway: from the configuration and a fit to what an order is asked for."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.commands.parameters import _print
from gateway.config import parse
from gateway.fit import artifacts
from gateway.parameters.decisions import floors_of
from gateway.parameters.desk import detail
from gateway.parameters.file import hash_of
from risk.fhs.points import TailPoint
from risk.parameter_life import ParameterError
from risk.parameter_set import ParameterSet, why_not
from risk.periods import PeriodRow
from tests.gateway.backtest.test_backtest import write_hours
from tests.gateway.parameter_rig import PARAMETERS_CONFIG, TODAY, VERSION, content_of, parameter_set, put_in_force
from tests.gateway.rig import BTC, CONFIG, Rig, opened

PERPETUALS = '[house]\n[[house.period]]\nproduct = "perpetual"\nvenue = "deribit"\ndays = 4\n'
POINTS = [
    TailPoint("long", {"BTC": -0.2, "ETH": -0.2}, {"4": {"BTC": -0.35, "ETH": -0.35}}),
    TailPoint("short", {"BTC": 0.25, "ETH": 0.25}, {"4": {"BTC": 0.45, "ETH": 0.45}}),
]
LONGER = {"points": POINTS, "by_product": (PeriodRow(4.0, "perpetual", "deribit"),)}


def margin(rig: Rig, account: str = "alpha") -> float:
    return next(float(row["initial_margin"]) for row in rig.core.account_rows() if row["account"] == account)


def held(directory: Path, config: str, given: ParameterSet | None = None) -> float:
    with opened(directory, config=config) as rig:
        rig.desk().log_on().order(symbol=BTC, price=60_000, quantity=100_000)
        if given is not None:
            put_in_force(rig, given)
        rig.core.valuation.run(rig.now_ns)
        rig.check_replay()
        return margin(rig)


def test_a_longer_period_asks_for_more_and_a_profile_is_a_floor(tmp_path: Path) -> None:
    plain = held(tmp_path / "a", CONFIG)
    longer = held(tmp_path / "b", CONFIG + PERPETUALS)
    options = held(tmp_path / "c", CONFIG + PERPETUALS.replace("perpetual", "option"))
    assert plain == options < longer
    sixteen = held(tmp_path / "d", CONFIG + PERPETUALS.replace("days = 4", "days = 16"))
    assert longer < sixteen


def test_a_set_moves_a_product_by_its_own_period(tmp_path: Path) -> None:
    """In force as a generation, the same after a restart, and shown before it acts."""
    plain = held(tmp_path / "a", PARAMETERS_CONFIG, parameter_set(-0.2, 0.25))
    longer = held(tmp_path / "b", PARAMETERS_CONFIG, parameter_set(**LONGER))
    elsewhere = held(
        tmp_path / "c", PARAMETERS_CONFIG, parameter_set(**LONGER | {"by_product": (PeriodRow(4.0, "option"),)})
    )
    assert plain == elsewhere < longer
    with opened(tmp_path / "d", config=PARAMETERS_CONFIG) as rig:
        rig.desk().log_on().order(symbol=BTC, price=60_000, quantity=100_000)
        before = margin(rig)
        number = put_in_force(rig, parameter_set(**LONGER))
        effect = {row.account: row for row in rig.core.parameters.effects[number]}["alpha"]
        assert effect.margin_before == pytest.approx(before) and effect.margin_after == pytest.approx(margin(rig))
        again = rig.restart()
        again.core.valuation.run(again.now_ns)
        assert margin(again) == margin(rig)
        again.journal.close()


def test_an_operator_is_shown_the_periods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path, config=PARAMETERS_CONFIG) as rig:
        number = put_in_force(rig, parameter_set(**LONGER))
        shown = detail(rig.core.parameters.book, number)
    assert shown["periods"] == [{"days": 4.0, "product": "perpetual", "venue": "deribit"}]
    assert shown["over_days"] == [1.0, 4.0] and shown["underlyings"]["BTC"]["over"] == {"4": (-0.35, 0.45)}
    _print(shown)
    told = " ".join(capsys.readouterr().out.split())
    assert "margin period 1 days; perpetual at deribit 4" in told
    assert "ETH over 4 days: largest fall -35.0%, largest rise 45.0%" in told


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "of 1 days for perpetual at deribit, and the margin period of risk is 4"),
        (LONGER | {"by_product": (PeriodRow(3.0, "perpetual"),)}, "no moves over 3 days"),
        ({"by_product": (PeriodRow(4.0, "perpetual"),)}, "no moves over 4 days"),
        (LONGER | {"by_product": (PeriodRow(4.0, "swap"),)}, "is no product"),
        (LONGER | {"points": [POINTS[0], TailPoint("x", POINTS[1].moves)]}, "not those of the others"),
        (LONGER | {"points": [TailPoint("x", POINTS[1].moves, {"4": {"BTC": 0.1}})]}, "do not move every"),
        (LONGER | {"points": [TailPoint("x", POINTS[1].moves, {"4.0": POINTS[1].moves})]}, "no moves over 4 days"),
        (
            LONGER | {"points": [TailPoint("x", POINTS[1].moves, {"4": POINTS[1].moves, "x": POINTS[1].moves})]},
            "'x' days do not move",
        ),
        (LONGER | {"points": [TailPoint("x", POINTS[1].moves, {"4": {"BTC": -1.0, "ETH": 0.1}})]}, "moves by -1"),
    ],
)
def test_a_set_below_the_houses_periods_or_without_their_moves_is_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with opened(tmp_path, config=PARAMETERS_CONFIG + PERPETUALS) as rig:
        content = content_of(parameter_set(**changes))
        with pytest.raises(ParameterError, match=says):
            rig.core.parameters.propose(content, hash_of(content), VERSION, "anna", "a fit", rig.now_ns)


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("prices")
    write_hours(found / "BTCUSDT.csv", 150, 1)
    write_hours(found / "ETHUSDT.csv", 150, 2)
    return found


def test_a_fit_has_the_periods_that_it_is_asked_for(prices: Path, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text(
        CONFIG.replace('name = "gamma"\ndeposits', 'name = "gamma"\nprofiles = ["emir_ccp_otc"]\ndeposits') + PERPETUALS
    )
    asked = ["fit", "--data", str(prices), "--no-contest", "--period", "option=2", "--period", "perpetual@deribit=1"]
    found = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "fit"), "--config", str(tmp_path / "g.toml")])
    assert found.exit_code == 0, found.output
    assert "margin period perpetual@deribit=4 days" in found.output and "over 5 days, times a day's" in found.output
    _, fitted = artifacts.read(tmp_path / "fit")
    given = ParameterSet(TODAY, 1.0, 0.975, parameter_set().underlyings, fitted.points.points, fitted.by_product)
    periods = given.periods
    assert (periods.of("option", "deribit"), periods.of("perpetual", "deribit"), periods.of("future", "okx")) == (
        2,
        4,
        1,
    )
    assert all(set(point.over) == {"2", "4", "5"} for point in given.points)  # five: what a profile asks for
    config = parse((tmp_path / "g.toml").read_text(), tmp_path / "g.toml")
    assert why_not(given, floors_of(config), TODAY, {"BTC", "ETH"}) == ""
    spans = {span.days: span for span in fitted.spans}
    assert list(spans) == [1.0, 2.0, 4.0, 5.0] and spans[4.0].long["BTC"] >= spans[2.0].long["BTC"] > 1.0
    assert "root of time" in (tmp_path / "fit" / artifacts.CARD).read_text()
    assert tomllib.loads((tmp_path / "fit" / artifacts.POINTS).read_text())
    file = json.loads((tmp_path / "fit" / "parameters.json").read_bytes())
    assert {"days": 2.0, "product": "option"} in file["parameters"]["by_product"]


@pytest.mark.parametrize(
    ("option", "says"),
    [(["--period", "swap=2"], "no product"), (["--period", "option"], "is no margin period"),
     (["--config", "absent.toml"], "absent.toml")],
)  # fmt: skip
def test_what_is_no_period_is_told(prices: Path, tmp_path: Path, option: list[str], says: str) -> None:
    found = CliRunner().invoke(app, ["fit", "--data", str(prices), "--out", str(tmp_path / "fit"), *option])
    assert found.exit_code == 1 and says in found.output
