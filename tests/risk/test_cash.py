"""The compiled fill_cash is the instrument's own, to the bit, whatever it is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import cash
from risk.instrument import Instrument, Side
from tests.strategies import INSTRUMENTS, instruments, sides

pytestmark = pytest.mark.skipif(not cash.COMPILED, reason="no compiled fill_cash was built")


@given(instruments, sides, st.integers(1, 1 << 70), st.integers(1, 1 << 70))
def test_the_same_float(instrument: Instrument, side: Side, lots: int, ticks: int) -> None:
    assert cash.fill_cash(instrument, side, lots, ticks) == instrument.fill_cash(side, lots, ticks)


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.symbol)
def test_a_price_of_nothing_is_the_same_error_or_the_same_answer(instrument: Instrument) -> None:
    if instrument.is_inverse:
        with pytest.raises(ZeroDivisionError):
            cash.fill_cash(instrument, Side.BUY, 1, 0)
    else:
        assert cash.fill_cash(instrument, Side.BUY, 1, 0) == instrument.fill_cash(Side.BUY, 1, 0)
