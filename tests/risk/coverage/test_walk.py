"""Walks: a correct model is found correct, a wrong one wrong; refusals are counted."""

import numpy as np
import pytest

from risk.coverage.models import FixedGrid, NormalEwma, PlainHistory, TierRate, champion, tempered
from risk.coverage.shapes import shapes_of
from risk.coverage.verdict import judged
from risk.coverage.walk import needs, scored, walk
from risk.fhs.factors import FactorHistory
from risk.fhs.measures import value_at_risk
from risk.volatility.refusals import EstimateError
from tests.risk.fhs.histories import history

SHAPES = {shape.name: shape for shape in shapes_of(("AAA", "BBB"))}
LONG = SHAPES["AAA long"]


def ivs(given: FactorHistory) -> dict[str, np.ndarray]:
    return {"AAA": np.full(len(given.day), 0.6), "BBB": np.full(len(given.day), 0.8)}


def walked(shape, model_of, given=None, **options):
    given = history(1_500, seed=11) if given is None else given
    span = {"first_day": int(given.day[0]), "last_day": int(given.day[-1])} | options
    return walk(shape, model_of(given), given, ivs(given), **span)


def test_margins_and_results_are_of_evenings_and_days_after() -> None:
    given = history(400)
    found = walked(LONG, champion, given, first_day=18_300)
    model = champion(given)
    for at in (0, 50, 98):
        moves, weight = model.moves(int(found.day[at]), LONG.factors)
        assert found.margin[at] == value_at_risk(np.expm1(moves[:, 0]), weight, 0.99)
        assert found.profit[at] == pytest.approx(np.expm1(given.move[300 + at + 1, 0]))
    assert found.day.tolist() == list(range(18_300, 18_399)) and found.refused == 0


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_measure_covers_what_it_should(name) -> None:
    verdict = judged(walked(SHAPES[name], champion, score_from=18_300, first_day=18_300))
    assert verdict.kupiec_p > 0.01
    assert verdict.shortfall_p is not None and verdict.shortfall_p > 0.01


def test_normal_tails_are_caught() -> None:
    verdict = judged(walked(LONG, NormalEwma, first_day=18_300))
    assert verdict.kupiec_p < 0.01 and verdict.exceptions > verdict.expected and not verdict.is_safe


def test_a_model_that_knows_the_next_day_is_caught() -> None:
    """Shifting the history by one day into the future must show, or the walk could not prove anything."""
    given = history(1_000, seed=5)
    ahead = FactorHistory(given.factors, given.day - 1, given.move, given.size)
    peeking = champion(ahead)
    honest = judged(walk(LONG, champion(given), given, ivs(given), first_day=18_300, last_day=18_999))
    found = judged(walk(LONG, peeking, given, ivs(given), first_day=18_300, last_day=18_998))
    assert found.exceptions < honest.exceptions


def test_clusters_are_caught() -> None:
    given = history(1_500, seed=11)
    found = walked(LONG, PlainHistory, given, first_day=18_300)
    assert judged(found).independence_p < 0.05


def test_grids_and_tiers() -> None:
    found = walked(LONG, lambda given: FixedGrid())
    assert found.margin == pytest.approx(np.full(len(found.day), 0.16))
    assert judged(found).shortfall_z is None
    tier = TierRate(0.05, "tier")
    assert walked(LONG, lambda given: tier).margin[0] == 0.05
    assert walked(SHAPES["hedge, long AAA short BBB"], lambda given: tier).margin[0] == 0.1
    assert walked(SHAPES["AAA short strangle"], lambda given: tier) is None


def test_what_a_model_refuses_is_counted_and_told() -> None:
    given = history(200)
    found = walked(LONG, champion, given)
    assert found.refused > 50 and "needed" in found.why and len(found.day) + found.refused == 199
    short = walked(LONG, champion, history(30))
    with pytest.raises(EstimateError, match="needed"):
        judged(short)


def test_days_that_are_missing_are_passed_over() -> None:
    given = history(400)
    keep = np.arange(400) != 350
    gap = FactorHistory(given.factors, given.day[keep], given.move[keep], given.size[keep])
    found = walked(LONG, champion, gap, first_day=18_340)
    assert 18_349 not in found.day and 18_350 not in found.day and 18_351 in found.day
    given.move[360, 0] = np.nan
    assert 18_359 not in walked(LONG, champion, given, first_day=18_340).day


def test_scored_is_the_rest_of_a_walk() -> None:
    whole = walked(LONG, champion, first_day=18_300, score_from=18_900)
    part = walked(LONG, champion, first_day=18_900)
    found = scored(whole, 18_900)
    assert found.day.tolist() == part.day.tolist()
    np.testing.assert_array_equal(found.margin, part.margin)


def test_a_history_says_what_it_lacks() -> None:
    given = history(100, ("AAA",))
    assert needs(LONG, given) is None
    assert needs(SHAPES["hedge, long AAA short BBB"], given) == "no history of BBB spot"


def test_tempering_lowers_rises() -> None:
    given = history(1_500, seed=11)
    measure = judged(walked(LONG, champion, given, first_day=18_300))
    calm = judged(walked(LONG, tempered, given, first_day=18_300))
    assert calm.largest_rise["5"] < 0.7 * measure.largest_rise["5"]
    assert calm.is_safe
