"""Adjustments in the gateway: rounds, orders that pass every check, crashes, guards; faults 43, 44 and 46."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.margin.adjustments import INTERNAL, AdjustmentError
from gateway.records import CashMoved, ExternalFill, OrderApproved, OrderRefused
from gateway.records import guards as records
from protocols.venues import events
from risk.account import AccountState
from risk.adjust import Rung
from risk.order import TimeInForce
from tests.gateway.readers import BookFeed
from tests.gateway.rig import BTC, CONFIG, ETH, SECOND, Rig, accepted, cancelled, filled, opened

HOUSE = CONFIG + '\n[adjust]\nhouse_account = "gamma"\n'
D = Decimal


class Desk:
    """A rig whose books are read, and an account alpha that holds what it is given."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.feed = BookFeed(rig)
        self.adjustments = rig.core.adjustments
        self.told: list[tuple[str, str]] = []
        self.adjustments.listeners.append(lambda account, outcome: self.told.append((account, outcome)))
        self.trades = 0

    def hold(self, account: str, symbol: str, quantity: int, price: float) -> None:
        """Book a position, as a fill made elsewhere does, by a record of its own."""
        instrument = self.rig.ledger.by_symbol[symbol]
        lots, ticks = instrument.lots_from_decimal(D(abs(quantity))), instrument.ticks_from_decimal(D(str(price)))
        assert lots and ticks
        self.trades += 1
        place = ("BETA", 0, f"x{self.trades}", f"x{self.trades}", account, instrument.index)
        self.rig.pipeline.commit(ExternalFill(*place, 1 if quantity > 0 else 2, lots, ticks, 0, ""), self.rig.now_ns)

    def books(self, price: float = 60_000, size: int = 200_000, symbol: str = BTC, tick: float = 0.5) -> None:
        bids = [(D(str(price - tick * (1 + n))), D(size)) for n in range(5)]
        asks = [(D(str(price + tick * (1 + n))), D(size)) for n in range(5)]
        self.feed.set(symbol, bids, asks)

    def second(self, price: float = 60_000, *, rounds: bool = True) -> None:
        """A second goes by: marks, risk arrays, guards, a round."""
        rig = self.rig
        rig.now_ns += SECOND
        self.marks(price, price)
        rig.core.valuation.run(rig.now_ns)
        if rounds:
            rig.core.tick_markets(rig.now_ns)
        rig.flush()

    def marks(self, price: float, index: float) -> None:
        now_ns = self.rig.now_ns
        for symbol, mark, at in ((BTC, price, index), (ETH, 2_000.0, 2_000.0)):
            self.rig.hear(events.MarkPriceUpdated(symbol, mark, at, now_ns))

    def own(self) -> list[Any]:
        return [order for order in self.rig.ledger.orders.values() if order.session == INTERNAL]

    def answer(self, *, fills: bool = True) -> None:
        """The venue takes what was sent, fills it or lets it go, and confirms cancels."""
        for order in list(self.rig.ledger.working_orders()):
            if not order.venue_order_id:
                self.rig.hear(accepted(order))
            if order.is_cancel_pending or (order.session == INTERNAL and not fills):
                self.rig.hear(cancelled(order, int(order.instrument.quantity(order.cum_lots))))
            elif order.session == INTERNAL:
                self.trades += 1
                quantity = int(order.instrument.quantity(order.leaves_lots))
                self.rig.hear(filled(order, quantity, f"v{self.trades}"))

    def measure(self, account: str = "alpha") -> float:
        return self.adjustments.plan(account, self.rig.now_ns).before


def short_of_margin(rig: Rig, quantity: int = 140_000, loss: int = 99_000) -> Desk:
    """Alpha is long BTC perpetuals and has lost most of its collateral."""
    desk = Desk(rig)
    desk.books()
    desk.hold("alpha", BTC, quantity, 60_000)
    for currency, units in (("USDC", -loss * 10**8), ("BTC", -170_000_000)):
        rig.pipeline.commit(CashMoved("alpha", currency, units, "loss"), rig.now_ns)
    desk.second()
    assert desk.measure() < 0
    return desk


def steps(rig: Rig) -> list[records.AdjustmentStepped]:
    return rig.of_type(records.AdjustmentStepped)


def run(desk: Desk, seconds: int = 60, **answers: bool) -> None:
    for _ in range(seconds):
        if not desk.rig.ledger.adjustments:
            return
        desk.second()
        desk.answer(**answers)


def test_an_account_is_reduced_in_rounds_until_its_margin_is_covered(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        run(desk)
        assert desk.told == [("alpha", "cured")] and desk.measure() >= 0
        orders = rig.of_type(OrderApproved)
        assert orders and len(orders) == len(steps(rig))
        for order in orders:
            assert (order.session, order.side, order.is_reduce_only, order.account) == (INTERNAL, 2, True, "alpha")
            assert order.time_in_force == TimeInForce.IOC and order.checks_run == rig.core.checks_configured
        lots = [order.lots for order in orders]
        position = 14_000
        for sold in lots:
            assert sold <= max(1, position // 5)
            position -= sold
        for step in steps(rig):
            assert step.after_units > step.before_units and step.mark_units == 60_000 * 10**8
        rig.check_replay()
        rig.check_holds()


def test_orders_that_add_margin_are_cancelled_first_and_that_may_be_all(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        client = rig.desk().log_on()
        desk = Desk(rig)
        desk.books()
        client.order(quantity=100_000, price=59_000, cl_ord_id="big")
        rig.hear(accepted(rig.only_order()))
        for currency, units in (("USDC", -99_999 * 10**8), ("BTC", -190_000_000)):
            rig.pipeline.commit(CashMoved("alpha", currency, units, "loss"), rig.now_ns)
        desk.second()
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        desk.second()
        assert [step.rung for step in steps(rig)] == [Rung.CANCEL]
        assert rig.only_order().is_cancel_pending
        desk.second()
        assert len(steps(rig)) == 1  # it waits for the venue
        desk.answer()
        desk.second()
        assert desk.told == [("alpha", "cured")] and desk.own() == []
        rig.check_replay()


def test_the_dry_run_is_what_is_done_first(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        before = rig.core.state_hash()
        planned = desk.adjustments.plan("alpha", rig.now_ns)
        assert rig.core.state_hash() == before and planned.is_cured and planned.cost > 0
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        rig.core.tick_markets(rig.now_ns)
        first, (done,) = planned.steps[0], steps(rig)
        assert (done.rung, done.lots, done.ticks) == (first.rung, first.lots, first.ticks)
        assert done.after_units == round(first.after * 1e8)


def test_fault_43_the_price_recovers_in_the_middle_and_nothing_more_is_done(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        desk.second()
        rig.hear(accepted(desk.own()[0]))
        desk.second(61_500)
        desk.second(64_000)
        count = len(desk.own())
        assert count == 1  # it works still: one order at a time
        desk.books(64_000)
        desk.second(64_000)
        order = desk.own()[0]
        if order.is_working:
            assert order.is_cancel_pending or rig.ledger.adjustments
        run(desk, 5, fills=False)
        rig.check_replay()
        rig.check_holds()


def test_fault_43_a_payment_ends_it_and_is_not_followed_by_a_trade(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        desk.second(rounds=False)
        rig.pipeline.commit(CashMoved("alpha", "USDC", 99_000 * 10**8, "paid, a millisecond late"), rig.now_ns)
        desk.second()
        assert desk.told == [("alpha", "cured")] and steps(rig) == [] and desk.own() == []
        desk.adjustments.request("alpha", 10_000, "again", rig.now_ns)
        desk.adjustments.stop("alpha", "person", rig.now_ns)
        assert desk.told[-1] == ("alpha", "stopped")
        rig.check_replay()


@pytest.mark.parametrize("when", ["begun", "sent", "accepted", "filled", "ended"])
def test_a_crash_at_any_step_is_gone_on_from_and_nothing_is_done_twice(tmp_path: Path, when: str) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        if when != "begun":
            desk.second()
        if when in ("accepted", "filled"):
            rig.hear(accepted(desk.own()[0]))
        if when == "filled":
            desk.answer()
        if when == "ended":
            run(desk)
        position = rig.ledger.accounts["alpha"].position_lots(0)
        again = rig.restart()
        assert again.core.state_hash() == again.core.state_hash()
        after = Desk(again)
        after.trades = 1_000
        after.books()
        assert set(again.ledger.adjustments) == (set() if when == "ended" else {"alpha"})
        if when in ("sent", "accepted"):
            after.second()
            after.second()
            assert len(after.own()) == 1  # the order of before is still out
            (order,) = after.own()
            if not order.venue_order_id:
                again.hear(accepted(order))
            again.hear(filled(order, int(order.instrument.quantity(order.leaves_lots)), "late"))
            assert again.ledger.accounts["alpha"].position_lots(0) == position - order.lots
        run(after)
        assert again.ledger.adjustments == {} and after.measure() >= 0
        again.check_replay()
        again.check_holds()
        again.journal.close()


def test_nothing_is_traded_on_a_mark_that_its_guard_does_not_believe(tmp_path: Path) -> None:
    with opened(tmp_path, config=HOUSE) as rig:
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        for _ in range(5):
            rig.now_ns += SECOND
            rig.hear(
                events.MarkPriceUpdated(BTC, 50_000, 60_000, rig.now_ns),
                events.MarkPriceUpdated(ETH, 2_000, 2_000, rig.now_ns),
            )
            rig.core.valuation.run(rig.now_ns)
            rig.core.tick_markets(rig.now_ns)
        assert steps(rig) == [] and desk.own() == [] and desk.told == []
        assert any("adjustment of alpha waits" in alert for alert in rig.monitor.alerts)
        with pytest.raises(AdjustmentError, match="guard"):
            desk.adjustments.hand_over("alpha", "x", rig.now_ns)
        with pytest.raises(AdjustmentError, match="mark"):
            desk.adjustments.deleverage(BTC, "x", rig.now_ns)
        for _ in range(15):
            desk.second()
        desk.answer()
        assert len(steps(rig)) >= 1  # once the guard believes it again
        rig.check_replay()


def test_a_killed_account_is_not_traded_for(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        desk.second()
        rig.core.controls.kill("account", "alpha", "ann", "stop", rig.now_ns)
        assert desk.own()[0].is_cancel_pending
        desk.answer(fills=False)
        for _ in range(3):
            desk.second()
        assert len(desk.own()) == 1
        assert any("the account is halted" in alert for alert in rig.monitor.alerts)


def test_own_orders_of_the_client_that_are_in_the_way_are_cancelled(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        client = rig.desk().log_on()
        client.order(quantity=10, price=60_000, cl_ord_id="bid")
        rig.hear(accepted(rig.only_order()))
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        run(desk, 10)
        bid = next(order for order in rig.ledger.orders.values() if order.cl_ord_id == "bid")
        assert not bid.is_working
        assert any(order.cum_lots for order in desk.own())
        rig.check_replay()


def test_fault_46_a_client_that_floods_does_not_use_up_the_rate_of_its_adjustment(tmp_path: Path) -> None:
    slow = CONFIG.replace(
        "max_orders_per_second = 1000\norder_burst = 1000", "max_orders_per_second = 1\norder_burst = 1"
    )
    with opened(tmp_path, config=slow) as rig:
        client = rig.desk().log_on()
        desk = short_of_margin(rig)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        for _ in range(3):
            client.order(quantity=10, price=59_000)
            client.order(quantity=10, price=59_000)
            desk.second()
            desk.answer()
        assert {refused.reason for refused in rig.of_type(OrderRefused)} >= {403}
        assert desk.own() and rig.of_type(records.AdjustmentRefused) == []


def test_money_a_second_is_bounded_over_all_accounts(tmp_path: Path) -> None:
    with opened(tmp_path, config=CONFIG + "\n[adjust]\nmax_notional_per_s_usd = 10000\n") as rig:
        desk = short_of_margin(rig)
        desk.hold("beta", BTC, 200_000, 60_000)
        rig.pipeline.commit(CashMoved("beta", "ETH", -29 * 10**8, "loss"), rig.now_ns)
        for name in ("alpha", "beta"):
            desk.adjustments.request(name, 10_000, "ratio", rig.now_ns)
        desk.second()
        assert len(desk.own()) == 1  # one alone may be larger: it would never go
        rig.check_replay()


def test_what_can_not_be_reduced_is_taken_over_and_sums_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path, config=HOUSE) as rig:
        desk = short_of_margin(rig, quantity=150_000, loss=100_000)
        rig.pipeline.commit(CashMoved("alpha", "USDC", -20_000 * 10**8, "worse"), rig.now_ns)
        accounts = rig.ledger.accounts
        cash = {name: sum(a.cash_units.get(name, 0) for a in accounts.values()) for name in ("BTC", "USDC", "ETH")}
        lots = sum(account.position_lots(0) for account in accounts.values())
        desk.second()
        desk.adjustments.hand_over("alpha", "bankrupt", rig.now_ns)
        assert accounts["alpha"].position_lots(0) == 0 and not any(accounts["alpha"].cash_units.values())
        assert sum(account.position_lots(0) for account in accounts.values()) == lots
        for name, units in cash.items():
            assert sum(a.cash_units.get(name, 0) for a in accounts.values()) == units
        assert desk.told == [("alpha", "handed_over")]
        rig.check_replay()


def test_the_end_of_the_ladder_is_told_and_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path, config=HOUSE) as rig:
        desk = short_of_margin(rig)
        rig.pipeline.commit(CashMoved("alpha", "USDC", -300_000 * 10**8, "gone"), rig.now_ns)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        run(desk, 120)
        assert desk.told[-1][1] in ("handed_over", "exhausted")
        assert rig.ledger.accounts["alpha"].position_lots(0) == 0
        rig.check_replay()


def test_without_a_house_it_is_exhausted(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = short_of_margin(rig)
        rig.pipeline.commit(CashMoved("alpha", "USDC", -300_000 * 10**8, "gone"), rig.now_ns)
        desk.adjustments.request("alpha", 10_000, "ratio", rig.now_ns)
        run(desk, 120)
        assert desk.told == [("alpha", "exhausted")]
        with pytest.raises(AdjustmentError, match="house_account"):
            desk.adjustments.hand_over("alpha", "x", rig.now_ns)


def test_fault_44_deleveraging_follows_the_published_ranking_and_keeps_sums(tmp_path: Path) -> None:
    with opened(tmp_path, config=HOUSE) as rig:
        desk = Desk(rig)
        desk.hold("gamma", BTC, 100_000, 60_000)
        desk.hold("alpha", BTC, -60_000, 66_000)  # has gained
        desk.hold("beta", BTC, -20_000, 58_000)  # has lost
        desk.second()
        ranked = desk.adjustments.ranking(BTC, rig.now_ns)
        assert [one.account for one in ranked["short"]] == ["alpha", "beta"]
        accounts = rig.ledger.accounts
        cash = sum(account.cash_units.get("BTC", 0) for account in accounts.values())
        assert desk.adjustments.deleverage(BTC, "the house can not carry it", rig.now_ns) == 2_000
        assert [accounts[name].position_lots(0) for name in ("alpha", "beta", "gamma")] == [0, 0, 2_000]
        assert sum(account.cash_units.get("BTC", 0) for account in accounts.values()) == cash
        assert [record.counterparty for record in rig.of_type(records.Deleveraged)] == ["alpha", "beta"]
        rig.check_replay()


def test_what_means_nothing_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = Desk(rig)
        for ask in (
            lambda: desk.adjustments.request("nobody", 10_000, "x", rig.now_ns),
            lambda: desk.adjustments.plan("nobody", rig.now_ns),
            lambda: desk.adjustments.ranking("NOTHING", rig.now_ns),
        ):
            with pytest.raises(AdjustmentError):
                ask()
        desk.adjustments.stop("alpha", "x", rig.now_ns)
        assert rig.ledger.accounts["alpha"].state is AccountState.TRADING


@pytest.mark.parametrize("volumes", [False, True])
def test_the_measure_is_the_kernels_own_with_all_that_the_account_is_charged(tmp_path: Path, volumes: bool) -> None:
    house = (
        "\n[house]\nvolume = ["
        '{ underlying = "BTC", adv_usd = 1000000, daily_vol = 0.03, half_spread = 0.0005 }, '
        '{ underlying = "ETH", adv_usd = 1000000, daily_vol = 0.04, half_spread = 0.0005 }]\n'
    )
    with opened(tmp_path, config=CONFIG + (house if volumes else "")) as rig:
        desk = Desk(rig)
        desk.hold("alpha", BTC, 100_000, 60_000)
        desk.hold("alpha", ETH, -500, 2_000)
        desk.second()
        market, account = rig.core.market, rig.ledger.accounts["alpha"]
        found = desk.adjustments.plan("alpha", rig.now_ns, 12_500)  # 1.25 x 0.8: the initial margin
        assert found.before == pytest.approx(market.kernel.worst(account.index), abs=1e-4)
        assert found.equity_before == pytest.approx(market.kernel.equity(account.index, market.base_scenario), abs=1e-4)
