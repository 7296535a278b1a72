"""`margingate margin`, by its command line: portfolios, what-ifs, golden cases, pictures, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.commands.margin_plot import table
from risk import models

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "margin"
PORTFOLIOS = sorted(path.stem for path in FIXTURES.glob("*.json") if path.stem not in ("orders", "cases"))
PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["margin", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_every_model_has_an_example() -> None:
    used = {json.loads((FIXTURES / f"{name}.json").read_text())["model"] for name in PORTFOLIOS}
    assert used == set(models.MODELS)


@pytest.mark.parametrize("name", PORTFOLIOS)
def test_example(name: str) -> None:
    path = FIXTURES / f"{name}.json"
    document = json.loads(run(path, "--json"))
    assert document["initial"] >= document["maintenance"] > 0
    parts = document["components"].values()
    assert sum(part["initial"] for part in parts) == pytest.approx(document["initial"])
    assert document["available"] == pytest.approx(document["equity"] - document["initial"])
    assert document["source"] and document["as_of"]
    for found in document["liquidation"]:
        assert found["is_jump"] or abs(found["gap"]) < 1e-9 * found["notional"]
    # The API says the same.
    result = models.evaluate(json.loads(path.read_text()))
    assert (result.initial, result.maintenance) == (document["initial"], document["maintenance"])
    assert "requirement" in run(path)


def test_own_golden_cases() -> None:
    document = json.loads(run(FIXTURES / "cases.json", "--json"))
    assert document["within"] == document["count"] == len(document["cases"])


def test_one_case_and_a_list_of_them(tmp_path: Path) -> None:
    case = {"id": "zones", "input": {"n": 250, "p": 0.01}}
    alone = json.loads(run(written(tmp_path / "one.json", case), "--json"))
    assert alone["cases"][0]["values"] == {"yellow_from": 5, "red_from": 10}
    assert "yellow_from" in run(written(tmp_path / "two.json", [case, case]))


def test_a_case_that_misses_ends_in_one(tmp_path: Path) -> None:
    cases = [
        {"id": "wrong", "input": {"n": 250, "p": 0.01}, "expected": {"yellow_from": 6}},
        {"id": "strange", "input": {"x": 1}},
        "no case at all",
    ]
    path = written(tmp_path / "cases.json", {"meta": {}, "cases": cases})
    text = run(path, exit_code=1)
    assert "yellow_from is 5, expected 6" in text and "strange: refused: unknown_model" in text
    document = json.loads(run(path, "--json", exit_code=1))
    assert [row["is_within"] for row in document["cases"]] == [False, False, False]


def test_a_case_with_a_portfolio_result_has_its_ladder(tmp_path: Path) -> None:
    given = {"spot": 100.0, "cash": 5.0, "options": [], "expiry_feeds": [], "collaterals": []}
    perp = {"qty": 1.0, "price": 100.0, "conf": 1.0, "unrealised_pnl": 0.0, "unrealised_funding": 0.0}
    path = written(tmp_path / "case.json", {"id": "p", "input": given | {"perp": perp}})
    row = json.loads(run(path, "--json"))["cases"][0]
    assert row["result"]["binding"].startswith("-18%") and len(row["result"]["ladder"]) == 31


def test_model_by_option(tmp_path: Path) -> None:
    document = json.loads(run(FIXTURES / "bybit_portfolio.json", "--model", "okx_portfolio", "--json"))
    assert document["model"] == "okx_portfolio"
    refused = json.loads(run(FIXTURES / "span.json", "--model", "none", "--json", exit_code=1))
    assert refused["refused"]["reason"] == "unknown_model"


def test_what_if() -> None:
    arguments = (FIXTURES / "derive_portfolio.json", "--whatif", FIXTURES / "orders.json")
    document = json.loads(run(*arguments, "--json"))["whatif"]
    assert document["change"]["initial"] == pytest.approx(document["after"]["initial"] - document["before"]["initial"])
    assert document["initial_is_covered"] is True
    assert document["worst_available"] <= min(document["before"]["available"], document["after"]["available"])
    assert "covered" in run(*arguments)


@pytest.mark.parametrize("name", ["derive_portfolio", "tiered_inverse"])
def test_picture(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ladder.png"
    run(FIXTURES / f"{name}.json", "--plot", path)
    assert path.read_bytes().startswith(PNG)


def test_a_picture_that_can_not_be_drawn(tmp_path: Path) -> None:
    run(FIXTURES / "span.json", "--plot", tmp_path / "no" / "where.png", exit_code=1)
    empty = written(tmp_path / "empty.json", {"model": "tiered", "cash": 1.0})
    run(empty, "--plot", tmp_path / "empty.png", exit_code=1)


def test_the_ladder_as_a_table() -> None:
    rungs = [("down", -0.1, -5.0), ("up", -0.1, -7.0), ("up", 0.1, 3.0), ("up", 0.1, 4.0), ("tilt", 0.0, 1.0)]
    spots, vols, profits = table(tuple(models.Scenario("", spot, vol, pnl) for vol, spot, pnl in rungs))
    assert (spots, vols) == ([-0.1, 0.0, 0.1], ["down", "up", "tilt"])
    assert profits[1].tolist()[::2] == [-7.0, 7.0] and profits[2, 1] == 1.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "bad_json"),
        ("3", "bad_json"),
        ('{"model": "span", "cash": "much"}', "bad_portfolio"),
        ('{"model": "none"}', "unknown_model"),
        ("{}", "bad_portfolio"),
    ],
)
def test_a_file_that_has_no_margin(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    assert reason in run(path, exit_code=1)


def test_files_that_are_not_there_or_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unreadable" in run(tmp_path / "none.json", exit_code=1)
    case = {"input": {"n": 250, "p": 0.01}}
    path = written(tmp_path / "cases.json", [case] * 3)
    monkeypatch.setattr("gateway.commands.margin.MAX_CASES", 2)
    assert "too_many_cases" in run(path, exit_code=1)
    monkeypatch.setattr("gateway.commands.margin.MAX_BYTES", 10)
    assert "too_large" in run(path, exit_code=1)


def test_cases_take_no_orders() -> None:
    assert "for a portfolio" in run(FIXTURES / "cases.json", "--whatif", FIXTURES / "orders.json", exit_code=1)


@pytest.mark.parametrize(
    "document",
    [
        {"cases": 5},
        {"cases": [], "meta": 7},
        {"cases": [], "meta": {"params": [1]}},
        {"cases": [{"input": {"n": 250, "p": 0.01}, "expected": 7}]},
        [[]],
        [7],
    ],
)
def test_a_file_of_another_shape_is_one_line(tmp_path: Path, document: Any) -> None:
    text = run(written(tmp_path / "shape.json", document), exit_code=1)
    assert "refused: bad_input" in text and text.count("\n") == 1


def test_quanta_beyond_64_bits_are_printed(tmp_path: Path) -> None:
    given = {"base_im_ppm": 100_000, "oi": 0, "notional_quantums": 10**24}
    path = written(tmp_path / "quanta.json", {"input": given})
    assert json.loads(run(path, "--json"))["cases"][0]["values"]["im_quantums"] == 10**23
    assert "100000000000000000000000" in run(path)


def test_inputs_that_no_figure_needed_are_named(tmp_path: Path) -> None:
    given = {"side": "long", "qty": 7, "entry": 100, "mark": 120, "bankruptcy": 80, "surprise": 1}
    path = written(tmp_path / "rank.json", {"input": given})
    assert "; not read: input.qty, input.surprise" in run(path)
    assert json.loads(run(path, "--json"))["cases"][0]["unread"] == ["input.qty", "input.surprise"]


def test_an_overflow_is_refused_and_nothing_else_is_printed(tmp_path: Path) -> None:
    document = json.loads((FIXTURES / "bybit_portfolio.json").read_text())
    document["positions"][0].update(mark=1e-300, entry=1e-300, style="inverse", settlement="BTC")
    text = run(written(tmp_path / "tiny.json", document), exit_code=1)
    assert text.startswith("refused: ") and text.count("\n") == 1


def test_a_key_stated_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text('{"model": "grid", "cash": 1, "cash": 2}')
    assert "bad_json: cash: stated twice" in run(path, exit_code=1)
