"""The commands on files of any other underlyings: other names, lengths and starts, holes, one alone, six at once."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.fit.artifacts import verified

HOUR_MS = 3_600_000
runner = CliRunner()


def write(
    path: Path, days: int, seed: int, first_day: int = 0, *, step_hours: int = 1, holes: float = 0.0, **more: Any
) -> None:
    """Bars of so many days; `holes` of them are not there, as many have no volume, and one week is missing whole."""
    random = np.random.default_rng(seed)
    per_day = 24 // step_hours
    close = more.get("price", 100.0) * np.exp(np.cumsum(0.006 * random.standard_t(5, days * per_day)))
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt", newline="") as file:
        out = csv.writer(file)
        out.writerow(["open_time_ms", "close", "volume"])
        for at, price in enumerate(close.tolist()):
            is_week = holes and days // 2 <= at // per_day < days // 2 + 7
            if is_week or random.random() < holes:
                continue
            volume = 0 if random.random() < holes else 1
            out.writerow([first_day * 24 * HOUR_MS + at * step_hours * HOUR_MS, repr(price), volume])


def six(directory: Path) -> None:
    for number in range(6):
        write(directory / f"{'ABCDEF'[number] * 3}USDT.csv", 98 + number // 2, number)


CASES = {
    "one alone": lambda d: write(d / "SOLUSDT_1h.csv.gz", 160, 1),
    "a name of digits, tiny prices": lambda d: write(d / "1000PEPE-USDC.csv", 160, 2, price=1e-6),
    "holes, and a week is missing": lambda d: (
        write(d / "XRPUSDT.csv", 200, 3, holes=0.05), write(d / "DOGEUSDT.csv", 200, 4, holes=0.02)),
    "one starts later, the other ends sooner": lambda d: (
        write(d / "AVAXUSD.csv", 220, 5), write(d / "NEARUSD.csv", 130, 6, first_day=60)),
    "bars of four hours beside hours": lambda d: (
        write(d / "LTCEUR.csv", 200, 7, step_hours=4), write(d / "ADAEUR.csv", 200, 8)),
    "six": six,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_same_commands_run_on_other_files(tmp_path: Path, name: str) -> None:
    data = tmp_path / "prices"
    data.mkdir()
    CASES[name](data)
    arguments = ["--data", str(data), "--out"]
    first, last = ("1970-04-03", "1970-04-06") if name == "six" else ("1970-04-10", "1970-04-25")
    limits = ["--from", first, "--to", last, "--workers", "1", "--no-forecasts"]
    is_drawn = name == "one alone"
    limits += [] if is_drawn else ["--no-pictures"]
    found = runner.invoke(app, ["backtest", *arguments, str(tmp_path / "report"), *limits])
    assert found.exit_code == 0, found.output
    assert ("data:image/png" in (tmp_path / "report" / "report.html").read_text()) is is_drawn
    report = json.loads((tmp_path / "report" / "report.json").read_bytes())
    coins = {row["underlying"] for row in report["sources"]}
    assert len(coins) == len(list(data.iterdir())) and not coins & {"BTC", "ETH"}
    judged = {row["shape"] for row in report["verdicts"] if row["model"] == report["measure"]}
    refused = {row["shape"] for row in report["unanswered"] if row["model"] == report["measure"]}
    assert all(f"{coin} long" in judged | refused for coin in coins) and judged
    assert all(row["why"] for row in report["unanswered"])


def test_what_a_fit_of_other_files_leaves_can_be_proposed(tmp_path: Path) -> None:
    data = tmp_path / "prices"
    data.mkdir()
    CASES["one starts later, the other ends sooner"](data)
    found = runner.invoke(app, ["fit", "--data", str(data), "--out", str(tmp_path / "fit"), "--no-contest"])
    assert found.exit_code == 0, found.output
    given = json.loads(verified(tmp_path / "fit", data))
    assert set(given["parameters"]["underlyings"]) == {"AVAX", "NEAR"} and given["parameters"]["as_of_day"] == 189


def test_too_short_a_history_is_a_named_refusal(tmp_path: Path) -> None:
    data = tmp_path / "prices"
    data.mkdir()
    write(data / "NEWUSDT.csv", 30, 1)
    found = runner.invoke(app, ["fit", "--data", str(data), "--out", str(tmp_path / "fit"), "--no-contest"])
    assert found.exit_code == 1 and "short history" in found.output
