"""What profiles ask of margin on the path: each part is the house's margin at wider moves; refusals name the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import profiles
from risk.constraints import Constraints, Part, Requirement
from risk.house_terms import HouseTerms, Volume
from risk.models.house_book import HouseParameters
from risk.models.parameters import parameters
from risk.order import Order, RejectReason
from risk.profile_books import Fan, kernel_of, parts_of, widened
from risk.scenarios import Grid
from tests.risk.test_level_checks import decided
from tests.strategies import GRID, INSTRUMENTS, INVERSE, LINEAR, World, generation, order_of, orders, world, worlds

HOUSE, _ = parameters("house", HouseParameters)
NAMES = ("emir_ccp_otc", "emir_ccp_other", "emir_gross_omnibus", "cftc_futures", "cftc_swaps")


def test_moves_are_widened_and_stay_a_grid() -> None:
    grid = widened(Grid((-0.5, -0.4, 0.0, 0.2), (0.0, 0.5)), 3.0)
    assert grid.spot_moves[0] == -0.95 and grid.spot_moves[0] < grid.spot_moves[1] < -0.94
    assert grid.spot_moves[2:] == (0.0, pytest.approx(0.6)) and grid.vol_moves == (0.0, 0.5)
    assert grid.base == Grid((-0.5, -0.4, 0.0, 0.2), (0.0, 0.5)).base
    assert widened(GRID, 1.0).spot_moves == GRID.spot_moves


@pytest.mark.parametrize("part", [Part(1.0, 1.25, True), Part(1.7, 0.75, True), Part(2.0, 0.25, False)])
@pytest.mark.parametrize("volumes", [{}, {"BTC": Volume(1e9, 0.03, 1e-3), "ETH": Volume(1e9, 0.04, 2e-3)}])
def test_a_part_counts_the_margin_so_many_times(part: Part, volumes: dict[str, Volume]) -> None:
    """Equity less factor times (equity less the worst) of a kernel on the wide grid itself; the same without equity."""
    priced, terms = generation(grid=widened(GRID, part.scale)), HouseTerms(volumes=volumes)
    plain = kernel_of(Part(part.scale, 1.0, True), priced, terms, INSTRUMENTS, 2)
    kernel = kernel_of(part, priced, terms, INSTRUMENTS, 2)
    both = Fan([plain, kernel], [plain])
    for index, lots in ((LINEAR, 300.0), (INVERSE, -5_000.0), (3, -4.0)):
        both.add_position(0, index, lots)
    both.add_cash(0, 0, 1_000_000.0)
    base = priced.grid.base
    equity = plain.equity(0, base)
    margin = part.factor * (equity - plain.worst(0))
    assert kernel.worst(0) == pytest.approx((equity if part.has_equity else 0.0) - margin, rel=1e-12)
    assert margin > 0
    both.hold(0, LINEAR, 10.0, -600_000.0)
    both.release(0, LINEAR, 10.0, -600_000.0)
    assert kernel.worst(0) == pytest.approx((equity if part.has_equity else 0.0) - margin, rel=1e-12)


def test_profiles_ask_by_period_confidence_and_mode() -> None:
    tail = HOUSE.tail(0.995) / HOUSE.tail(0.99)
    found = profiles.constraints(["emir_ccp_otc"], 1.0)
    assert found is not None
    confidence, period, smoothed = found.requirements
    assert [one.rule for one in found.requirements] == [
        "least_confidence", "least_mpor_days", "anti_procyclicality, stress_weight"
    ]  # fmt: skip
    assert confidence.parts == (Part(tail, 1.0, True),)
    assert period.parts[0].scale == pytest.approx(tail * np.sqrt(5.0))
    assert [(part.factor, part.has_equity) for part in smoothed.parts] == [(0.75, True), (0.25, False)]
    assert smoothed.parts[1].scale == pytest.approx(HOUSE.stressed_scale * smoothed.parts[0].scale)
    other = profiles.constraints(["emir_ccp_other"], 10.0)  # a house of ten days is stricter than two
    assert other is not None and [one.rule for one in other.requirements] == ["anti_procyclicality, buffer"]
    assert other.requirements[0].parts == (Part(1.0, 1.25, True),)
    assert len(parts_of([*found.requirements, *found.requirements])) == 4
    easy = profiles.constraints(["cftc_futures"], 1.0)
    assert easy is not None and easy.requirements == ()


@settings(max_examples=60, deadline=None)
@given(drawn=worlds(), order=orders(), name=st.sampled_from(NAMES))
def test_a_profiles_margin_only_ever_tightens(drawn: World, order: Order, name: str) -> None:
    drawn.give_levels()
    free = decided(order, drawn)
    found = profiles.constraints([name])
    assert found is not None
    drawn.give_requirements(*found.requirements)
    bound = decided(order, drawn)
    assert free is None or bound is not None
    if bound is not None and free is None:
        assert bound[1].startswith(f"profile {name}, rule ")


def test_without_its_kernel_a_profile_is_unknown() -> None:
    w = world()
    w.account.constraints = Constraints(requirements=(Requirement("p", "buffer", (Part(1.0, 1.25, True),)),))
    found = decided(order_of(LINEAR), w)
    assert found is not None and found[0] is RejectReason.PROFILE_UNKNOWN and "rule buffer" in found[1]
