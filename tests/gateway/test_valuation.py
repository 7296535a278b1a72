"""Generations of risk arrays: built in slices from a snapshot, swapped in whole, with what is too old left out."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from gateway.valuation import Valuation
from protocols.venues import events
from risk.kernel import MarginKernel
from tests.gateway.rig import BTC, ETH, SECOND, accepted, filled, listed, opened
from tests.gateway.test_executions import ordered


def test_slices_give_what_one_go_gives_and_nothing_is_seen_before_the_last(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        valuation, market = rig.core.valuation, rig.core.market
        before, old_time = valuation.generation, market.generation_time_ns
        rig.now_ns += SECOND
        rig.mark(BTC, 61_000.0)
        valuation.begin(rig.now_ns)
        assert valuation.is_busy
        while not valuation.step(1):
            assert valuation.generation is before and market.generation_time_ns == old_time
        assert not valuation.is_busy and market.generation_time_ns == rig.now_ns
        sliced = valuation.generation
        valuation.run(rig.now_ns)
        whole = valuation.generation
        assert sliced is not None and whole is not None and whole.number == sliced.number + 1
        for one, other in zip(sliced.arrays(), whole.arrays(), strict=True):
            assert np.array_equal(one, other, equal_nan=one.dtype == np.float64)


def test_a_step_without_a_beginning_is_our_bug(tmp_path: Path) -> None:
    with opened(tmp_path) as rig, pytest.raises(AssertionError, match="begin comes first"):
        rig.core.valuation.step()


def test_marks_too_old_for_a_check_are_unknown_to_the_generation(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rig.now_ns += 3 * SECOND
        rig.mark(BTC, 60_000.0)
        rig.core.valuation.run(rig.now_ns)
        generation = rig.core.valuation.generation
        assert generation is not None
        btc, eth = (rig.ledger.by_symbol[symbol].index for symbol in (BTC, ETH))
        known = generation.values
        assert (known[btc] == known[btc]).all() and (known[eth] != known[eth]).all()


def test_an_unknown_mark_under_a_position_makes_margin_unknown_and_not_zero(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(filled(order, 50))
        rig.core.market.marks[order.instrument.index] = None
        rig.core.valuation.run(rig.now_ns)
        (row,) = [row for row in rig.core.account_rows() if row["account"] == "alpha"]
        assert row["equity"] is None and row["initial_margin"] is None and row["positions"] == 1
        desk.pump()
        (report,) = desk.order(symbol=ETH, price=2_000, quantity=100)
        assert report.get(20001) == b"702"  # MARGIN_UNKNOWN


def test_a_new_generation_holds_what_the_old_one_did(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(filled(order, 40))
        desk.order(symbol=ETH, price=1_990, quantity=50, side=2)
        desk.pump()
        index = rig.ledger.accounts["alpha"].index
        kernel = rig.core.market.kernel
        before = (kernel.worst(index), kernel.equity(index, rig.core.market.base_scenario))
        rig.core.valuation.run(rig.now_ns)
        following = rig.core.market.kernel
        rig.core.valuation.run(rig.now_ns)
        rig.core.valuation.run(rig.now_ns)
        assert rig.core.market.kernel is following is not kernel  # of one shape there are two, in turns
        kernel = following
        assert (kernel.worst(index), kernel.equity(index, rig.core.market.base_scenario)) == pytest.approx(before)


def test_a_new_listing_gets_a_kernel_of_its_shape(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        kernel = rig.core.market.kernel
        rig.hear(listed("SOL-PERPETUAL", base_currency="SOL", settlement_currency="SOL", tick_size=Decimal("0.5")))
        rig.mark("SOL-PERPETUAL", 150.0)
        desk = rig.desk().log_on()
        (report,) = desk.order(symbol="SOL-PERPETUAL", price=150, quantity=10)
        assert report.get(20001) == b"702"  # no risk array for it yet: margin unknown, and no order
        rig.core.valuation.run(rig.now_ns)
        assert rig.core.market.kernel is not kernel and isinstance(rig.core.market.kernel, MarginKernel)
        assert desk.order(symbol="SOL-PERPETUAL", price=150, quantity=10) == []
        rig.hear(accepted(list(rig.ledger.orders.values())[-1]))
        rig.check_holds()


def test_an_option_is_valued_to_its_expiry(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        symbol = "BTC-27MAR26-60000-C"
        for expiry_ns in (rig.now_ns + 30 * 86_400 * SECOND, rig.now_ns - 1):
            rig.hear(
                listed(
                    symbol, kind="option", option_type="call", strike=Decimal(60_000), quote_currency="BTC",
                    tick_size=Decimal("0.0001"), min_trade_amount=Decimal("0.1"), expiration_ns=expiry_ns,
                ),
                events.MarkPriceUpdated(symbol, 0.05, 60_000.0, rig.now_ns, mark_iv=0.5, underlying_price=60_100.0),
            )  # fmt: skip
            rig.core.valuation.run(rig.now_ns)
        index = rig.ledger.by_symbol[symbol].index
        generation = rig.core.valuation.generation
        assert generation is not None
        values = generation.values[index]
        assert (values == values).all()  # its other terms were not taken over: it still has its 30 days


def test_currencies_cover_what_accounts_hold_and_the_configuration_names(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        valuation = Valuation(rig.ledger, rig.core.market, rig.core.valuation._grid, ["EURR"])
        valuation.run(rig.now_ns)
        assert valuation.generation is not None
        assert {"USD", "USDC", "USDT", "EURR", "BTC", "ETH"} <= set(valuation.generation.currencies)


def test_thousands_of_orders_are_held_anew_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.valuation.WRITTEN_PER_SLICE", 2)
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for number in range(5):
            desk.order(symbol=ETH, price=1_990 + number, quantity=50)
        valuation, market = rig.core.valuation, rig.core.market
        kernel, generation = market.kernel, valuation.generation
        valuation.begin(rig.now_ns)
        steps = 0
        while not valuation.step():
            assert market.kernel is kernel and valuation.generation is generation
            steps += 1
            desk.order(symbol=ETH, price=1_980, quantity=50)
        index = rig.ledger.accounts["alpha"].index
        assert steps > 3 and market.kernel is not kernel
        assert market.kernel.worst(index) == pytest.approx(kernel.worst(index))
