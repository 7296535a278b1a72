"""`margingate backtest` from files to report, on histories of our own making and on the recorded ones."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.backtest.jobs import run
from gateway.backtest.study import Data, Plan, find
from gateway.cli import app
from tests.risk.volatility.samples import PRICES, needs_recorded


def write_hours(path: Path, days: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_vol = np.repeat(np.cumsum(rng.normal(0, 0.05, days)), 24)
    close = 100 * np.exp(np.cumsum(0.005 * np.exp(log_vol) * rng.standard_t(5, days * 24)))
    mark = close * np.exp(rng.normal(0, 0.0003, days * 24))
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["open_time_ms", "close", "volume", "mark_close", "funding_rate"])
        for at in range(days * 24):
            funding = f"{rng.normal(0.0001, 0.0001):.8f}" if at % 8 == 0 else ""
            out.writerow([at * 3_600_000, repr(float(close[at])), 1, repr(float(mark[at])), funding])


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("prices")
    write_hours(found / "AAAUSDT.csv", 420, 1)
    write_hours(found / "BBBUSDT.csv", 400, 2)
    return found


def test_the_command_writes_a_page_and_json(directory, tmp_path) -> None:
    arguments = ["backtest", "--data", str(directory), "--out", str(tmp_path / "out"), "--from", "1970-10-15"]
    found = CliRunner().invoke(app, [*arguments, "--workers", "1", "--no-forecasts"])
    assert found.exit_code == 0, found.output
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert {row["underlying"] for row in report["sources"]} == {"AAA", "BBB"}
    measured = [row for row in report["verdicts"] if row["model"] == report["measure"]]
    assert len(measured) == 18 and all(row["days"] > 100 for row in measured)
    assert report["unanswered"] and all("options" in row["why"] for row in report["unanswered"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 18
    assert "http://" not in page and "https://" not in page and str(directory) not in page
    assert "AAA long" in found.output


def test_processes_find_what_one_finds(directory) -> None:
    plan = Plan(str(directory), 300, 330, forecasts=False)
    data = Data.read(directory)
    data.shapes = data.shapes[:3]
    alone = [find(data, plan, shape, model) for shape in range(3) for model in range(2)]
    data.models = data.models[:2]
    ticks = []
    for one, other in zip(alone, run(plan, data, 2, lambda: ticks.append(1)).findings, strict=True):
        assert (one.shape, one.model) == (other.shape, other.model)
        assert one.walk is not None and other.walk is not None
        np.testing.assert_array_equal(one.walk.margin, other.walk.margin)
        np.testing.assert_array_equal(one.walk.simulated, other.walk.simulated)
    assert len(ticks) == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--data", "nowhere"], "there is no such directory"), (["--data", "{}", "--from", "2030-01-01"], "no evening")],
)
def test_what_can_not_be_walked_is_said(directory, tmp_path, arguments, says) -> None:
    arguments = [argument.format(directory) for argument in arguments]
    found = CliRunner().invoke(app, ["backtest", *arguments, "--out", str(tmp_path)])
    assert found.exit_code == 1 and says in found.output


@needs_recorded
def test_recorded_history_is_covered() -> None:
    """The whole backtest is `margingate backtest`; here the two directional portfolios, and March 2020."""
    data = Data.read(PRICES)
    plan = Plan(str(PRICES), 18_444, int(data.history.day[-1]))
    from risk.coverage.verdict import judged
    from risk.coverage.walk import scored

    for shape in [at for at, shape in enumerate(data.shapes) if len(shape.factors) == 1]:
        measure = find(data, plan, shape, 0).walk
        assert measure is not None
        verdict = judged(scored(measure, plan.first_day))
        assert verdict.days >= 2_000 and verdict.is_covered, verdict
