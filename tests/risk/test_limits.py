"""The first rule that matches counts; what no rule names may not be traded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.limits import InstrumentLimits, LimitRule, Limits
from tests.strategies import COIN_OPTION, ETH_LINEAR, INSTRUMENTS, INVERSE, LINEAR, SPOT, USD_OPTION, instrument_of


def limits_of(*rules: LimitRule) -> Limits:
    limits = Limits(max_order_notional=1e6, max_working_orders=10, rules=rules)
    for instrument in INSTRUMENTS:
        limits.list_instrument(instrument)
    return limits


RULES = (
    LimitRule("BTC_USDC-PERPETUAL", 2.5, 10.0),
    LimitRule("BTC-*-[CP]", 5.0, 25.0),
    LimitRule("BTC-*", 10_000.0, 50_000.0),
    LimitRule("BTC_USDC-*", 1.0, 1.0),
    LimitRule("*", 0.0, 0.0),
)


@pytest.mark.parametrize(
    ("index", "lots"),
    [
        (LINEAR, (2_500, 10_000)),  # the exact name stands before the pattern that matches it too
        (COIN_OPTION, (50, 250)),
        (INVERSE, (1_000, 5_000)),
        (USD_OPTION, (100, 100)),
        (SPOT, (0, 0)),  # listed by the last rule with nothing: every order is above it
    ],
)
def test_the_first_match_wins_and_quantities_become_lots(index: int, lots: tuple[int, int]) -> None:
    assert limits_of(*RULES).by_instrument[index] == InstrumentLimits(*lots)


def test_the_order_of_rules_decides() -> None:
    limits = limits_of(*reversed(RULES))
    assert set(limits.by_instrument.values()) == {InstrumentLimits(0, 0)}


@pytest.mark.parametrize(
    "rules", [(), (LimitRule("btc_usdc-perpetual", 1.0, 1.0),), (LimitRule("BTC_USDC", 1.0, 1.0),)]
)
def test_no_match_is_not_permitted(rules: tuple[LimitRule, ...]) -> None:
    assert limits_of(*rules).by_instrument == {}


def test_an_instrument_listed_again_under_another_name_loses_its_limits() -> None:
    limits = limits_of(*RULES[:1])
    assert set(limits.by_instrument) == {LINEAR}
    limits.list_instrument(instrument_of(LINEAR, symbol="XRP_USDC-PERPETUAL"))
    assert limits.by_instrument == {}


@given(st.integers(0, 10**7))
def test_a_whole_number_of_lots_is_not_lost_to_binary_fractions(count: int) -> None:
    for index in (LINEAR, SPOT, ETH_LINEAR):
        quantity = float(INSTRUMENTS[index].quantity(count))
        limits = limits_of(LimitRule("*", quantity, quantity))
        assert limits.by_instrument[index] == InstrumentLimits(count, count)


@given(st.floats(0, 1e6))
def test_a_fraction_of_a_lot_is_not_permitted(quantity: float) -> None:
    lots = limits_of(LimitRule("*", quantity, quantity)).by_instrument[LINEAR].max_order_lots
    assert lots * Decimal("0.001") <= Decimal(quantity) + Decimal("1e-9")


@pytest.mark.parametrize("quantity", [float("nan"), float("inf")])
def test_a_limit_that_is_no_number_can_not_be_listed(quantity: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        limits_of(LimitRule("*", quantity, 1.0))
