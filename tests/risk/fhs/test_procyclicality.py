"""Art. 28(1): each option alone, never below the measure, and what the paths measure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.fhs.procyclicality import ProcyclicalityRules, Temper, largest_rise, peak_to_trough
from risk.volatility.refusals import EstimateError

SHARES = st.floats(0, 1)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), SHARES, SHARES, SHARES)
def test_options_only_ever_ask_for_more(path, buffer, stress, floor) -> None:
    temper = Temper(ProcyclicalityRules(buffer, stress, floor))
    for current in path:
        found = temper.update(current, stressed=50.0, long_run=20.0)
        assert found.margin >= current
        assert found.margin >= floor * 20.0
        assert found.margin == getattr(
            found, {"current": "current", "buffer": "buffered", "stress": "stressed"}.get(found.binding, "floor")
        )


def test_the_buffer_is_whole_in_calm_and_used_up_in_a_rise() -> None:
    temper = Temper(ProcyclicalityRules(buffer=0.25, calm_decay=0.999))
    assert [temper.update(10.0).margin for _ in range(3)] == pytest.approx([12.5] * 3)
    risen = temper.update(12.0)
    assert 12.0 < risen.margin < 12.51 and risen.binding == "buffer"
    burst = temper.update(20.0)
    assert burst.margin == 20.0 and burst.binding == "current"


def test_stress_weight_and_floor() -> None:
    assert Temper(ProcyclicalityRules(stress_weight=0.25)).update(10.0, stressed=30.0).margin == pytest.approx(15.0)
    assert Temper(ProcyclicalityRules(stress_weight=0.25)).update(10.0, stressed=2.0).margin == 10.0
    found = Temper(ProcyclicalityRules(floor_share=1.0)).update(10.0, long_run=14.0)
    assert found.margin == 14.0 and found.binding == "floor"


@pytest.mark.parametrize(
    ("rules", "is_emir"),
    [((0.25, 0, 0), True), ((0, 0.25, 0), True), ((0, 0, 1), True), ((0.2, 0.2, 0.8), False), ((0, 0, 0), False)],
)
def test_what_the_regulation_calls_enough(rules, is_emir) -> None:
    assert ProcyclicalityRules(*rules).is_emir is is_emir


def test_rises_and_peaks() -> None:
    path = [10.0, 11.0, 9.0, 18.0, 20.0, 15.0]
    assert largest_rise(path, 1) == pytest.approx(1.0)
    assert largest_rise(path, 2) == pytest.approx(20 / 9 - 1)
    assert largest_rise(path, 9) == 0.0
    assert peak_to_trough(path) == pytest.approx(20 / 9)
    for call in (lambda: largest_rise(path, 0), lambda: largest_rise([0.0, 1.0], 1), lambda: peak_to_trough([])):
        with pytest.raises(EstimateError):
            call()


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_measure_that_is_no_number_is_refused(bad) -> None:
    with pytest.raises(EstimateError):
        Temper(ProcyclicalityRules()).update(bad)
    with pytest.raises(EstimateError):
        ProcyclicalityRules(buffer=bad if bad == bad else 2.0)
