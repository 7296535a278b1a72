"""A recorded day told again: bars as they were, paths through them, and what must hold at the end of any storm."""

from __future__ import annotations

import csv
import gzip
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.storm.book import HOUSE, clients_of
from gateway.storm.command import run_day
from gateway.storm.prices import PATTERNS, Bar, StormError, load, path_of

DAY = "2020-03-12"
BEGIN_MS = int(datetime(2020, 3, 12, tzinfo=UTC).timestamp()) * 1000
# Open, high, low, close of hours: a slide, a fall by a quarter, and half of it back.
HOURS = ((1.0, 1.01, 0.97, 0.98), (0.98, 0.99, 0.72, 0.74), (0.74, 0.86, 0.73, 0.85))
RECORDED = Path(os.environ.get("MARGINGATE_RECORDED", "../shared/data")) / "prices"
TIMES = frozenset({"largest_delay_s", "largest_delay_to_reduction_s", "wall_s", "pace"})


def write(
    directory: Path, *, coins: tuple[str, ...] = ("BTC", "ETH"), hours: Any = HOURS, step_ms: int = 3_600_000
) -> Path:
    """Bars of our own making in files as they are recorded."""
    for coin, price in zip(("BTC", "ETH"), (8_000.0, 200.0), strict=True):
        if coin in coins:
            with gzip.open(directory / f"own_{coin}USDT_1h_x.csv.gz", "wt", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["open_time_ms", "open", "high", "low", "close", "volume"])
                for number, bar in enumerate(hours):
                    rows.writerow([BEGIN_MS + number * step_ms, *(price * part for part in bar), 50_000.0])
    return directory


def test_a_path_goes_through_all_that_a_bar_says() -> None:
    bars = [Bar(0, 60, 10.0, 12.0, 9.0, 11.0, 1.0), Bar(60, 60, 11.0, 11.5, 8.0, 8.5, 1.0)]
    path = path_of(bars, jumps=False)
    assert path.prices == (10.0, 9.0, 12.0, 11.0, 11.5, 8.0, 8.5)
    assert [path.price(at) for at in (0, 20, 40, 60, 120)] == pytest.approx([10.0, 9.0, 12.0, 11.0, 8.5])
    assert path.price(10) == pytest.approx((10.0 * 9.0) ** 0.5)
    assert path.bar(59.9) is bars[0] and path.bar(60) is bars[1] and path.bar(999) is bars[1]
    jumps = path_of(bars, jumps=True)
    assert [jumps.price(at) for at in (0, 19.9, 20, 120)] == [10.0, 10.0, 9.0, 8.5]


def test_the_finer_bars_are_taken_and_what_is_missing_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    assert load(tmp_path, DAY).bar_s == 3600 and len(load(tmp_path, DAY).paths["BTC"].bars) == 3
    for coin in ("BTC", "ETH"):
        name = PATTERNS[0][0].format(coin=coin).replace("*", "x")
        with gzip.open(tmp_path / name, "wt", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["open_time", "open", "high", "low", "close", "volume"])
            rows.writerows([BEGIN_MS + minute * 60_000, 1, 2, 1, 2, 3] for minute in range(90))
    assert load(tmp_path, DAY).bar_s == 60
    with pytest.raises(StormError, match="no bars of 2020-03-13"):
        load(tmp_path, "2020-03-13")
    with pytest.raises(StormError, match="a day is written as"):
        load(tmp_path, "12.3.2020")


@pytest.mark.parametrize(
    ("hours", "options", "why"),
    [
        (HOURS, {"coins": ("BTC",)}, "no bars"),
        (HOURS, {"step_ms": 7_200_000}, "no bars"),
        (((1.0, 0.9, 0.8, 1.0), *HOURS), {}, "can not be"),
        (((0.0, 1.0, 0.0, 1.0), *HOURS), {}, "can not be"),
        ((("a", 1.0, 0.9, 1.0),), {}, "can not be read"),
    ],
)
def test_bars_that_can_not_be_are_refused(tmp_path: Path, hours: Any, options: Any, why: str) -> None:
    if hours[0][0] == "a":
        write(tmp_path)
        (tmp_path / "own_BTCUSDT_1h_x.csv.gz").write_bytes(b"no gzip")
    else:
        write(tmp_path, hours=hours, **options)
    with pytest.raises(StormError, match=why):
        load(tmp_path, DAY)


def test_a_book_is_the_seeds(tmp_path: Path) -> None:
    prices = {"BTC": 8_000.0, "ETH": 200.0}
    clients = clients_of(3, 200, prices)
    assert clients == clients_of(3, 200, prices) != clients_of(4, 200, prices)
    assert clients[:50] == clients_of(3, 50, prices), "a larger book is the smaller one and more"
    assert {client.kind for client in clients} == {"long", "long BTC", "short", "pair", "long ETH"}
    assert {client.share == 0 for client in clients} == {True, False} and HOUSE not in {one.name for one in clients}


@pytest.mark.parametrize("jumps", [False, True])
def test_a_storm_of_our_own_making(tmp_path: Path, jumps: bool) -> None:
    write(tmp_path)
    result = run_day(tmp_path, DAY, 24, 1, 20, jumps=jumps)
    late = "first action within 1 s and a step of 15 s"
    assert {claim: held for claim, held in result["claims"].items() if claim != late} == dict.fromkeys(
        (claim for claim in result["claims"] if claim != late), True
    )
    assert result["calls"] and result["adjusted"] and result["reduction_orders"] and result["breaches"]
    ends = sum(result[name] for name in ("calls_met", "calls_superseded", "calls_expired", "calls_open"))
    assert ends == result["calls"]
    if jumps:
        assert result["handed_over"] and result["guard_halts"] and result["least_equity_usd"] <= 0.01
    else:
        assert result["least_equity_usd"] >= 0 and not result["residual_losses_usd"], "there was time for the ladder"
    again = run_day(tmp_path, DAY, 24, 1, 20, jumps=jumps)
    assert {k: v for k, v in again.items() if k not in TIMES | {"claims"}} == {
        k: v for k, v in result.items() if k not in TIMES | {"claims"}
    }


def test_the_command_prints_a_table_or_json_and_says_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, hours=HOURS[:2])
    runner = CliRunner()
    told = runner.invoke(app, ["storm", "--data", str(tmp_path), "--day", DAY, "--accounts", "5", "--json"])
    assert f'"{DAY}"' in told.stdout and '"claims"' in told.stdout
    told = runner.invoke(app, ["storm", "--data", str(tmp_path), "--day", DAY, "--accounts", "5"])
    assert "residual losses usd" in told.stdout and "holds" in told.stdout
    told = runner.invoke(app, ["storm", "--data", str(tmp_path), "--day", "2021-01-01", "--accounts", "5"])
    assert told.exit_code == 2


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded prices: MARGINGATE_RECORDED names none")
@pytest.mark.parametrize("day", ["2020-03-12", "2022-11-09", "2025-10-10"])
def test_fault_45_recorded_days(day: str) -> None:
    """Fault 45: no crash, every breach acted on, every decision in the journal, which gives the same state again."""
    result = run_day(RECORDED, day, 20, 1, 80)
    held = {claim: is_so for claim, is_so in result["claims"].items() if not claim.startswith("first action")}
    assert all(held.values()), held
    assert result["calls"] and result["breaches"]
