"""All golden cases of the shared vectors, within their tolerance; and what tells a case that misses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from risk import models
from risk.models.cases import agrees

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "vectors"


def vectors() -> list[Any]:
    if not FOLDER.is_dir():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason="../shared/vectors is not here"))]
    found: list[Any] = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text())
        defaults = document["meta"].get("params")
        found += [pytest.param(defaults, case, id=f"{path.stem}-{case['id']}") for case in document["cases"]]
    return found


@pytest.mark.parametrize(("defaults", "case"), vectors())
def test_case_is_within_its_tolerance(defaults: Any, case: Any) -> None:
    result = models.evaluate_case(case, defaults=defaults)
    assert result.checks, "a case that expects nothing shows nothing"
    assert not [check for check in result.checks if not check.is_within]


@pytest.mark.parametrize(("defaults", "case"), vectors())
def test_an_id_decides_nothing(defaults: Any, case: Any) -> None:
    """Renamed, a case comes to the same figures: none is handled specially."""
    renamed = models.evaluate_case({**case, "id": "x", "name": "y", "note": ""}, defaults=defaults)
    assert renamed.values == models.evaluate_case(case, defaults=defaults).values


@pytest.mark.parametrize(
    ("expected", "ours", "tolerance", "is_within"),
    [
        (100.0, 100.00009, None, True),
        (100.0, 100.0002, None, False),
        (0.0, 5e-9, None, True),
        (5739.5, 5739.08, 0.5, True),
        (5739.5, 5738.9, 0.5, False),
        ([1.0, 2.0], [1.0, 2.0], None, True),
        ([1.0, 2.0], [1.0], None, False),
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}, None, True),
        ({"a": 1.0}, {}, None, False),
        (None, 1.0, None, False),
        (None, None, None, True),
        (1.0, None, None, False),
        ("healthy", "healthy", None, True),
    ],
)
def test_agreement(expected: Any, ours: Any, tolerance: float | None, is_within: bool) -> None:
    assert agrees(expected, ours, tolerance) is is_within


def test_a_figure_that_we_do_not_state_is_no_agreement() -> None:
    case = {"input": {"n": 250, "p": 0.01}, "expected": {"yellow_from": 5, "blue_from": 1}}
    checks = models.evaluate_case(case).checks
    assert [check.is_within for check in checks] == [True, False]
