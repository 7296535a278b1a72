"""The column with champions, and why cells fail: worked out forward, and from the walks alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway.backtest import champions, reasons
from gateway.backtest.jobs import find_with_champions, job_count, reign_or_why, run
from gateway.backtest.report import document, page, study_of
from gateway.backtest.study import Data, Finding, Plan, Refused, find
from gateway.price_files import read_directory
from risk.coverage.models import FilteredModel
from risk.coverage.verdict import judged
from risk.learning.champion import ChampionRules
from tests.gateway.backtest.test_backtest import write_hours

SMALL = ChampionRules(segment_days=60, first_past_days=100, proof_days=20, contest_days=90)
FIRST, LAST = 170, 200


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("prices")
    write_hours(found / "AAAUSDT.csv", 210, 1)
    return found


@pytest.fixture(scope="module")
def data(directory: Path) -> Data:
    return Data.read(directory)


def plan_of(directory: Path, last: int = LAST) -> Plan:
    return Plan(str(directory), FIRST, last)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champions, "RULES", SMALL)


def test_an_evening_is_told_by_what_was_known_on_it(directory: Path, data: Data, small: None) -> None:
    whole = champions.reign(data, plan_of(directory), 0)
    assert set(range(FIRST, LAST)) <= set(whole.ratio) and whole.evenings == sum(whole.by.values()) == LAST - FIRST
    assert 0.85 < whole.least_ratio <= whole.mean_ratio <= whole.largest_ratio < 1.25
    files = read_directory(directory)
    bars = files[0].underlying.bars
    end = (FIRST + 11) * 24
    cut = dataclasses.replace(
        files[0].underlying,
        bars=dataclasses.replace(
            bars, open_time_ns=bars.open_time_ns[:end], close=bars.close[:end], volume=bars.volume[:end],
            segment=bars.segment[:end],
        ),
        **{
            name: getattr(files[0].underlying, name)[:end] for name in ("mark_close", "funding_rate", "implied_vol")
        },
    )  # fmt: skip
    earlier = champions.reign(Data([msgspec.structs.replace(files[0], underlying=cut)]), plan_of(directory), 0)
    told = [day for day in earlier.ratio if day <= FIRST + 9]
    assert len(told) > 30
    np.testing.assert_allclose(
        [earlier.ratio[day] for day in told], [whole.ratio[day] for day in told], rtol=1e-9, atol=0
    )


def test_its_margin_is_the_tempered_one_times_the_ratio(directory: Path, data: Data) -> None:
    shape = next(at for at, one in enumerate(data.shapes) if one.name == "AAA long")
    ratio = dict.fromkeys(range(FIRST, LAST), 1.1)
    found = find_with_champions(data, plan_of(directory), shape, {"AAA": ratio}).walk
    model = champions.model_of(data, {"AAA": ratio})
    factors = data.shapes[shape].factors
    assert found is not None and found.model == champions.NAME
    tempered = data.models[1]
    assert isinstance(tempered, FilteredModel)
    plain, _ = tempered.moves(FIRST, factors)
    moved, _ = model.moves(FIRST, factors)
    np.testing.assert_allclose(moved, plain * 1.1, rtol=1e-12)
    np.testing.assert_array_equal(model.moves(FIRST - 1, factors)[0], tempered.moves(FIRST - 1, factors)[0])
    nothing = find_with_champions(data, plan_of(directory), shape, {})
    assert nothing.walk is None and "no contest" in nothing.why


def test_too_short_a_history_has_no_contest(directory: Path, data: Data) -> None:
    found = reign_or_why(data, plan_of(directory), 0, 0)  # by the rules of a fit, which want 300 days before
    assert isinstance(found, Refused) and found.why.startswith("champion: ")


def test_the_report_has_the_column_and_why_cells_fail(directory: Path, data: Data, small: None) -> None:
    plan, ticks = plan_of(directory, FIRST + 12), []
    few = Data(data.files)
    few.shapes = tuple(one for one in few.shapes if one.name in ("AAA long", "AAA calendar spread, short the future"))
    results = run(plan, few, 1, lambda: ticks.append(1))
    assert len(ticks) == job_count(plan, few) and len(results.reigns) == 1
    study = study_of(plan, few, results)
    column = [one for one in study.verdicts if one.model == champions.NAME]
    assert len(column) == 2 and all(one.days == 12 for one in column)
    assert all(one.champions is not None and one.champions_more is not None for one in study.costs)
    written = document(study)
    assert written["reigns"][0]["evenings"] == 12 and written["costs"][0]["champions_more"] is not None
    assert {"AAA"} == {one["underlying"] for one in written["contests"]} or written["refused"]
    shown = page(study, results.findings)
    assert champions.NAME in shown and "Whose forecast would have been used" in shown
    failing = {(one.shape, one.model) for one in study.failed_tests}
    assert failing == {(v.shape, v.model) for v in study.verdicts if reasons._failed(v)}
    if failing:
        assert "Where a test fails, and why" in shown


def test_a_failing_cell_says_which_days_and_what_moved(directory: Path, data: Data) -> None:
    """Margin of a third: exceptions are too many, mostly of the price, and about three times as much was needed."""
    plan = Plan(str(directory), 90, LAST, forecasts=False)
    shape = next(at for at, one in enumerate(data.shapes) if one.name == "AAA long")
    walk = find(data, plan, shape, 0).walk
    assert walk is not None
    low = dataclasses.replace(walk, margin=walk.margin / 3.0)
    verdict = judged(low)
    finding = Finding(low.shape, low.model, low)
    (found,) = reasons.failures(data, [finding], [verdict], int(low.day[0]))
    assert "Kupiec" in found.tests and found.exceptions == verdict.exceptions > found.expected
    assert found.by == {"AAA spot": found.exceptions} and found.needed > 1.5
    needed = dataclasses.replace(low, margin=low.margin * found.needed)
    assert abs(int(needed.exceptions.sum()) - found.expected) <= 1.0
    assert found.median_sigmas is not None and found.median_sigmas > 0.5 and found.most_from <= found.most_to
    runs = reasons.clusters(data, [finding], {(low.shape, low.model)}, int(low.day[0]))
    assert len(runs) == min(found.runs, reasons.LISTED) and all(len(one.hits) > 1 for one in runs)
    assert reasons.failures(data, [finding], [], 0) == [] and reasons.clusters(data, [finding], set(), 0) == []
