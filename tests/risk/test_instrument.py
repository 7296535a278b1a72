"""Exactness of every conversion into ticks, lots and money, and which way the one division rounds."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from risk.instrument import (
    OPTION_FEE_CAP,
    UNITS_PER_WHOLE,
    Instrument,
    Side,
    _mantissa,
    decimal_from_units,
    fee_units_from_decimal,
    units_against_client,
    units_from_decimal,
)
from tests.strategies import (
    COIN_OPTION,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    SPOT,
    USD_OPTION,
    instrument_of,
    instruments,
    inverse_instruments,
    linear_instruments,
    lot_counts,
    sides,
)

UNUSABLE = [
    "NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e30", "1e-400", "0.0001", "10.00000000001",
    "1" * 28 + "." + "1" * 12, "0." + "0" * 39 + "1",
]  # fmt: skip
ticks_counts = st.integers(1, 10_000_000)


def exact_value(instrument: Instrument, lots: int, ticks: int) -> Fraction:
    """Value of a trade in whole settlement currency, as the contract's terms say, in rational numbers."""
    amount = lots * Fraction(instrument.lot_size) * Fraction(instrument.contract_size)
    price = ticks * Fraction(instrument.tick_size)
    return amount / price if instrument.is_inverse else amount * price


class TestConversion:
    @pytest.mark.parametrize("text", UNUSABLE)
    def test_what_is_no_whole_number_of_steps_is_refused(self, text: str) -> None:
        for instrument in INSTRUMENTS:
            if instrument.index in (COIN_OPTION, SPOT) and text == "0.0001":
                continue  # is a tick there
            assert instrument.ticks_from_decimal(Decimal(text)) is None
            assert instrument.lots_from_decimal(Decimal(text)) is None

    @pytest.mark.parametrize("text", ["0", "-0", "0.000", "0e5"])
    def test_zero_is_no_ticks_whatever_its_sign(self, text: str) -> None:
        assert INSTRUMENTS[LINEAR].ticks_from_decimal(Decimal(text)) == 0
        assert INSTRUMENTS[LINEAR].lots_from_decimal(Decimal(text)) == 0

    def test_forty_digits_that_are_whole_are_taken(self) -> None:
        assert INSTRUMENTS[LINEAR].ticks_from_decimal(Decimal("100." + "0" * 37)) == 200

    def test_a_quotient_of_more_than_28_digits_is_not_rounded(self) -> None:
        # The default decimal context makes 1e28 / 0.03 "whole": 0.03 times the rounded quotient rounds back to 1e28.
        odd = instrument_of(LINEAR, tick_size=Decimal("0.03"))
        assert odd.ticks_from_decimal(Decimal("10000000000000000000000000001")) is None
        assert odd.ticks_from_decimal(Decimal("30000000000000000000000000003")) == 10**30 + 100

    @given(instruments, st.integers(-(10**12), 10**12))
    def test_a_price_and_a_quantity_come_back(self, instrument: Instrument, count: int) -> None:
        assert instrument.ticks_from_decimal(instrument.price(count)) == count
        assert instrument.lots_from_decimal(instrument.quantity(count)) == count

    @given(instruments, st.decimals(allow_nan=True, allow_infinity=True))
    @example(INSTRUMENTS[LINEAR], Decimal("-0"))
    def test_whole_means_that_the_steps_times_the_count_are_the_amount(
        self, instrument: Instrument, amount: Decimal
    ) -> None:
        ticks = instrument.ticks_from_decimal(amount)
        if ticks is not None:
            assert ticks * Fraction(instrument.tick_size) == Fraction(amount)
        elif amount.is_finite() and -30 < amount.adjusted() < 30:
            assert (Fraction(amount) / Fraction(instrument.tick_size)).denominator != 1


class TestTickScheme:
    """USD_OPTION: ticks of 5; above 100 (20 ticks) steps of 10 (2 ticks); above 1000 (200 ticks) steps of 50 (10)."""

    @pytest.mark.parametrize(
        ("ticks", "down", "up"),
        [(1, 1, 1), (19, 19, 19), (20, 20, 20), (21, 20, 22), (22, 22, 22), (199, 198, 200), (200, 200, 200),
         (201, 200, 210), (209, 200, 210), (210, 210, 210), (1_009, 1_000, 1_010)],
    )  # fmt: skip
    def test_prices_between_steps(self, ticks: int, down: int, up: int) -> None:
        instrument = INSTRUMENTS[USD_OPTION]
        assert (instrument.step_down(ticks), instrument.step_up(ticks)) == (down, up)
        assert instrument.ticks_are_on_step(ticks) is (down == ticks == up)

    def test_stepping_finds_the_nearest_allowed_price_on_each_side(self) -> None:
        for instrument in INSTRUMENTS:
            allowed = [ticks for ticks in range(1, 400) if instrument.ticks_are_on_step(ticks)]
            for ticks in range(1, 350):
                assert instrument.step_down(ticks) == max(t for t in allowed if t <= ticks)
                assert instrument.step_up(ticks) == min(t for t in allowed if t >= ticks)

    @pytest.mark.parametrize(
        "steps",
        [
            (("100", "0.3"),),  # no multiple of the tick
            (("100.3", "1"),),  # its boundary is no price
            (("100", "-1"),),
            (("100", "0"),),
            (("100", "NaN"),),
            (("100", "1"), ("100", "2")),  # does not ascend
            (("200", "1"), ("100", "2")),
            (("101", "2"),),  # the boundary is off the step above it
            (("100", "50"), ("120", "1")),  # and off the step below it
        ],
    )
    def test_a_scheme_with_holes_is_refused(self, steps: tuple[tuple[str, str], ...]) -> None:
        with pytest.raises(ValueError, match="tick step"):
            instrument_of(LINEAR, tick_steps=tuple((Decimal(a), Decimal(s)) for a, s in steps))


class TestMakeInstrument:
    @pytest.mark.parametrize(
        ("index", "changes", "message"),
        [
            (LINEAR, {"tick_size": Decimal(0)}, "tick_size 0"),
            (LINEAR, {"tick_size": Decimal("-0.5")}, "tick_size -0.5"),
            (LINEAR, {"lot_size": Decimal("NaN")}, "lot_size NaN"),
            (LINEAR, {"lot_size": Decimal("Infinity")}, "lot_size Infinity"),
            (LINEAR, {"contract_size": Decimal("1e30")}, r"contract_size 1E\+30"),
            (LINEAR, {"tick_size": Decimal("1e-31")}, "tick_size 1E-31"),
            (LINEAR, {"taker_fee": Decimal("NaN")}, "fee"),
            (LINEAR, {"maker_fee": Decimal("Infinity")}, "fee"),
            (COIN_OPTION, {"strike": None}, "strike"),
            (COIN_OPTION, {"strike": Decimal(0)}, "strike"),
            (COIN_OPTION, {"strike": Decimal("NaN")}, "strike"),
            (COIN_OPTION, {"strike": Decimal("Infinity")}, "strike"),
            (COIN_OPTION, {"is_call": None}, "strike"),
            (COIN_OPTION, {"expiry_ns": None}, "expiry"),
            (2, {"expiry_ns": None}, "expiry"),
            (COIN_OPTION, {"is_inverse": True}, "never inverse"),
            (LINEAR, {"tick_size": Decimal("0.000001"), "lot_size": Decimal("0.001")}, "profit not exact"),
        ],
    )
    def test_terms_that_make_no_contract(self, index: int, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            instrument_of(index, **changes)

    def test_a_step_of_no_positive_number_has_no_mantissa(self) -> None:
        for text in ("-0.5", "NaN", "Infinity"):
            with pytest.raises(ValueError, match="not a positive number"):
                _mantissa(Decimal(text))

    @given(instruments, lot_counts, ticks_counts)
    def test_the_integer_scale_is_the_contract(self, instrument: Instrument, lots: int, ticks: int) -> None:
        scale = Fraction(instrument.value_numerator, instrument.value_denominator)
        units = lots * scale / ticks if instrument.is_inverse else lots * ticks * scale
        assert units == exact_value(instrument, lots, ticks) * UNITS_PER_WHOLE

    def test_side_signs(self) -> None:
        assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)


class TestCash:
    @given(linear_instruments, lot_counts, ticks_counts)
    def test_linear_cash_is_exact_and_mirrored(self, instrument: Instrument, lots: int, ticks: int) -> None:
        units = exact_value(instrument, lots, ticks) * UNITS_PER_WHOLE
        assert instrument.cash_units(Side.BUY, lots, ticks) == -units
        assert instrument.cash_units(Side.SELL, lots, ticks) == units

    @given(inverse_instruments, lot_counts, ticks_counts)
    def test_inverse_cash_is_rounded_against_the_client_both_ways(
        self, instrument: Instrument, lots: int, ticks: int
    ) -> None:
        units = exact_value(instrument, lots, ticks) * UNITS_PER_WHOLE
        bought = instrument.cash_units(Side.BUY, lots, ticks)
        sold = instrument.cash_units(Side.SELL, lots, ticks)
        assert 0 <= units - bought < 1
        assert 0 <= -units - sold < 1
        # The mirror: there and back at one price costs nothing where it divides, else exactly one unit.
        assert bought + sold == (0 if units.denominator == 1 else -1)

    @given(instruments, sides, lot_counts, ticks_counts, st.booleans())
    def test_fill_cash_is_never_above_the_cash_of_the_fill_and_its_fee(
        self, instrument: Instrument, side: Side, lots: int, ticks: int, is_maker: bool
    ) -> None:
        value = exact_value(instrument, lots, ticks)
        fee_rate = Fraction(instrument.maker_fee if is_maker else instrument.taker_fee)
        if instrument.is_option:
            # Flat per underlying amount (of an index of 100 000 where the premium is in dollars), capped.
            amount = lots * Fraction(instrument.lot_size)
            index = 1 if instrument.settlement_currency == "BTC" else 100_000
            fee = min(fee_rate * amount * index, Fraction(OPTION_FEE_CAP) * value)
        else:
            fee = fee_rate * value
        real = Fraction(instrument.cash_units(side, lots, ticks), UNITS_PER_WHOLE) - fee
        bound = Fraction(instrument.fill_cash(side, lots, ticks))
        assert bound <= real + value * Fraction(1, 10**15)

    @given(instruments, sides, lot_counts, ticks_counts)
    def test_fill_cash_is_tight(self, instrument: Instrument, side: Side, lots: int, ticks: int) -> None:
        value = float(exact_value(instrument, lots, ticks))
        cash = float(decimal_from_units(instrument.cash_units(side, lots, ticks)))
        worst_fee = value * (0.125 if instrument.is_option else 0.0005)
        assert cash - instrument.fill_cash(side, lots, ticks) <= worst_fee + 2.1e-8 + value * 1e-14

    def test_the_fee_of_a_coin_option_is_flat_until_the_cap_is_less(self) -> None:
        instrument = INSTRUMENTS[COIN_OPTION]  # one lot of 0.1, 0.0003 a coin
        assert instrument.fill_cash(Side.BUY, 10, 500) == pytest.approx(-0.05 - 0.0003, abs=1e-12)
        assert instrument.fill_cash(Side.BUY, 10, 10) == pytest.approx(-0.001 * 1.125, abs=1e-12)
        assert instrument.fill_cash(Side.SELL, 10, 500) == pytest.approx(0.05 - 0.0003, abs=1e-12)


class TestNotional:
    @pytest.mark.parametrize(
        ("index", "lots", "price", "notional"),
        [
            (LINEAR, 1_500, 100_000.0, 150_000.0),
            (INVERSE, 7, 12.0, 70.0),  # face value, whatever the price
            (COIN_OPTION, 20, 0.05, 180_000.0),  # two coins of the index
            (USD_OPTION, 100, 1_800.0, 90_000.0),
            (SPOT, 2_000, 4_000.0, 8_000.0),
        ],
    )
    def test_by_kind(self, index: int, lots: int, price: float, notional: float) -> None:
        assert INSTRUMENTS[index].notional(lots, price, 90_000.0) == pytest.approx(notional)


class TestMoney:
    @given(st.integers(-(10**35), 10**35))
    def test_units_come_back(self, units: int) -> None:
        assert units_from_decimal(decimal_from_units(units)) == units

    @pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1e400", "1e999999", "-1e30"])
    def test_money_that_is_no_amount_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not finite or out of bounds"):
            units_from_decimal(Decimal(text))
        with pytest.raises(ValueError, match="not finite or out of bounds"):
            fee_units_from_decimal(Decimal(text))

    @pytest.mark.parametrize("text", ["0.000000001", "-1.123456789", "1e-400", "1" * 23 + "." + "0" * 13 + "1"])
    def test_money_finer_than_a_unit_is_refused_not_rounded(self, text: str) -> None:
        with pytest.raises(ValueError, match="finer than"):
            units_from_decimal(Decimal(text))

    @pytest.mark.parametrize(("text", "units"), [("-0", 0), ("0.00000001", 1), ("-2.5", -250_000_000)])
    def test_money(self, text: str, units: int) -> None:
        assert units_from_decimal(Decimal(text)) == units

    @given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
    @example(Decimal("0.000000001"))
    @example(Decimal("-0.000000001"))
    @example(Decimal("0.00000001"))
    def test_a_fee_is_rounded_up_and_a_rebate_down(self, fee: Decimal) -> None:
        units = fee_units_from_decimal(fee)
        assert 0 <= units - Fraction(fee) * UNITS_PER_WHOLE < 1

    @given(st.floats(-1e18, 1e18))
    def test_floats_come_back_rounded_down(self, amount: float) -> None:
        units, exact = units_against_client(amount), Fraction(amount) * UNITS_PER_WHOLE
        # The float product may be off by half a last place before the floor.
        assert -abs(exact) / 2**53 <= exact - units < 1 + abs(exact) / 2**53

    @pytest.mark.parametrize("amount", [nan, inf, -inf, 1e305, -1e305])
    def test_a_float_that_is_no_amount_is_refused(self, amount: float) -> None:
        with pytest.raises(ValueError, match=r"not finite|NaN|integer"):
            units_against_client(amount)
