"""Collateral that the gateway moves by itself: planned, approved, sent once, asked about; calls met by it; replay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.venues.core.faults import Fault
from gateway import records
from gateway.config import ConfigError, parse
from gateway.journal import JournalError
from gateway.records.transfers import TransferDropped, TransfersPlanned
from gateway.slowside.transfer_plans import solve
from gateway.transfers.seam import AccountTransfers
from protocols.venues.transfers import Ending, Outcome
from risk.calls import CallState
from risk.collateral_ledger import TransferError, TransferState
from risk.transfer_orders import ApprovalError, OrderState
from tests.gateway.rig import SECOND
from tests.gateway.transfer_rig import (
    CLIENT,
    COLLATERAL,
    OURS,
    THEIRS,
    VENUE,
    WHOLE,
    TransferFloor,
    transfer_config,
    transfer_floor,
)


def called(desk: TransferFloor, price: float = 54_500) -> None:
    """alpha has bought, and the market has fallen: a margin call."""
    desk.buy()
    desk.move(price)


# -- planned, sent, met --------------------------------------------------------------------------------------------


def test_a_call_is_met_by_what_the_client_has_elsewhere(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        called(desk)
        amount = desk.call().amount_units // WHOLE
        assert desk.plan()
        (order,) = desk.orders()
        assert (order.state, order.terms.units, order.call_id) == (OrderState.READY, amount * WHOLE, "alpha-M1")
        desk.step()
        assert desk.states() == ["sent"] and desk.submissions == 0, "in the journal before it leaves"
        desk.run(3)
        assert desk.states() == ["settled"] and desk.call().state is CallState.MET
        assert desk.account().cash_units["USDC"] == (1_000 + amount) * WHOLE
        assert (desk.at(VENUE), desk.at(CLIENT), desk.at_venue()) == (amount, -amount, 10_000 - amount)
        assert desk.watch.state.value == "warned"
        desk.run(3)
        assert len(desk.orders()) == 1 and desk.submissions == 1
        desk.check()
        desk.check_agreed()


def test_nothing_moves_by_itself_before_somebody_has_said_how_much_may(tmp_path: Path) -> None:
    limits = COLLATERAL.replace("automatic_usd = 1000\nautomatic_hour_usd = 3000\n", "")
    with transfer_floor(tmp_path, collateral=limits) as desk:
        called(desk)
        desk.run(5)
        (order,) = desk.orders()
        assert (order.state, order.approvals) == (OrderState.AWAITING, 1) and desk.submissions == 0
        desk.desk.approve(order.terms.key, "ann", "agreed by phone", desk.rig.now_ns)
        desk.run(3)
        assert desk.call().state is CallState.MET and order.approved_by == ["ann"]
        desk.check()


@pytest.mark.parametrize("key", ["automatic_usd", "automatic_hour_usd", "two_person_usd"])
def test_limits_finer_than_any_amount_are_refused_where_they_are_read(tmp_path: Path, key: str) -> None:
    """What `check` takes, `run` can count in."""
    text = re.sub(rf"{key} = \d+", f'{key} = "2000.000000001"', transfer_config())
    with pytest.raises(ConfigError, match=rf"\[collateral\] {key}: .*eight decimals"):
        parse(text, tmp_path / "c.toml")


def test_an_hour_has_its_limit_too(tmp_path: Path) -> None:
    limits = COLLATERAL.replace("automatic_hour_usd = 3000", "automatic_hour_usd = 250")
    with transfer_floor(tmp_path, collateral=limits) as desk:
        key = desk.desk.move("wallet", "alpha", 200 * WHOLE, "test", desk.rig.now_ns)
        assert desk.rig.ledger.margin.orders.orders[key].state is OrderState.READY
        second = desk.desk.move("wallet", "alpha", 60 * WHOLE, "test", desk.rig.now_ns)
        assert desk.rig.ledger.margin.orders.orders[second].approvals == 1
        third = desk.desk.move("wallet", "alpha", 50 * WHOLE, "test", desk.rig.now_ns)
        assert desk.rig.ledger.margin.orders.orders[third].approvals == 0
        desk.rig.now_ns += 3_601 * SECOND
        desk.again()
        fourth = desk.desk.move("wallet", "alpha", 200 * WHOLE, "test", desk.rig.now_ns)
        assert desk.rig.ledger.margin.orders.orders[fourth].approvals == 0
        desk.check()


def test_above_a_size_two_people_approve_and_one_is_not_two(tmp_path: Path) -> None:
    limits = COLLATERAL.replace("two_person_usd = 5000", "two_person_usd = 1500")
    with transfer_floor(tmp_path, collateral=limits) as desk:
        now = desk.rig.now_ns
        key = desk.desk.move("wallet", "alpha", 2_000 * WHOLE, "test", now)
        desk.desk.approve(key, "ann", "x", now)
        with pytest.raises(ApprovalError, match="another one"):
            desk.desk.approve(key, "ann", "x", now)
        with pytest.raises(ApprovalError, match="has a name"):
            desk.desk.approve(key, "", "x", now)
        desk.run(2)
        assert desk.moved() == []
        desk.desk.approve(key, "bob", "x", desk.rig.now_ns)
        with pytest.raises(ApprovalError, match="is ready"):
            desk.desk.approve(key, "cid", "x", desk.rig.now_ns)
        desk.run(3)
        assert desk.states() == ["settled"]
        with pytest.raises(ApprovalError, match="no such"):
            desk.desk.approve("x", "ann", "x", desk.rig.now_ns)
        desk.check()


def test_what_nobody_approves_or_somebody_declines_does_not_move(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        first = desk.desk.move("wallet", "alpha", 2_000 * WHOLE, "test", desk.rig.now_ns)
        second = desk.desk.move("wallet", "alpha", 1_500 * WHOLE, "test", desk.rig.now_ns)
        desk.desk.decline(second, "ann", "not needed", desk.rig.now_ns)
        with pytest.raises(ApprovalError):
            desk.desk.decline(second, "ann", "not needed", desk.rig.now_ns)
        desk.run(41)
        dropped = {r.key: (r.who, r.reason) for r in desk.rig.of_type(TransferDropped)}
        assert dropped == {first: ("", "not approved in time"), second: ("ann", "not needed")}
        assert desk.moved() == []
        desk.check()


def test_a_killed_account_takes_a_person(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.rig.core.controls.kill("account", "alpha", "ann", "x", desk.rig.now_ns)
        key = desk.desk.move("wallet", "alpha", 10 * WHOLE, "test", desk.rig.now_ns)
        assert desk.rig.ledger.margin.orders.orders[key].approvals == 1


def test_a_market_that_recovers_needs_no_transfer(tmp_path: Path) -> None:
    """Planned and not begun: dropped. Begun: it is made, and is collateral like any other."""
    limits = COLLATERAL.replace("automatic_usd = 1000", "automatic_usd = 0")
    with transfer_floor(tmp_path, collateral=limits) as desk:
        called(desk)
        assert desk.plan()
        desk.move(60_000)
        desk.run(1)
        assert [r.reason for r in desk.rig.of_type(TransferDropped)] == ["nothing is called for any more"]
    with transfer_floor(tmp_path / "two") as desk:
        called(desk)
        assert desk.plan()
        desk.step()
        desk.move(60_000)
        desk.run(3)
        assert desk.states() == ["settled"] and desk.call().state is CallState.SUPERSEDED
        desk.check()


def test_a_plan_for_what_is_not_so_any_more_is_thrown_away(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        called(desk)
        problem = desk.desk.wanted(desk.rig.now_ns)
        assert problem is not None and desk.desk.wanted(desk.rig.now_ns + 10 * SECOND) is None, "one at a time"
        plan = solve(problem)
        desk.pledge("50", call="alpha-M1")
        desk.settle(50 * WHOLE)
        assert not desk.desk.planned(problem, plan, desk.rig.now_ns) and desk.desk.stale == 1
        assert desk.rig.of_type(TransfersPlanned) == []
        desk.run(3)
        assert desk.call().state is CallState.MET
        desk.check()


def test_what_stays_short_is_told_once_with_its_reason(tmp_path: Path) -> None:
    text = COLLATERAL.replace('mandate = "4000"', 'mandate = "20"')
    with transfer_floor(tmp_path, collateral=text) as desk:
        called(desk)
        desk.run(10)
        planned = desk.rig.of_type(TransfersPlanned)
        assert len(planned[0].moves) == 1 and len(planned[0].unmet) == 1
        assert planned[0].unmet[0].reason.startswith("not enough") and len(planned) <= 3
        assert any("stays short" in text for text in desk.rig.monitor.alerts)
        assert desk.at(CLIENT) == -20 and desk.call().state is CallState.PARTLY_MET
        desk.check()


def test_a_solver_without_a_plan_moves_nothing(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        called(desk)
        assert desk.desk.wanted(desk.rig.now_ns) is not None
        desk.desk.not_planned("no answer", desk.rig.now_ns)
        assert desk.desk.failures == 1 and desk.orders() == []
        desk.rig.now_ns += SECOND
        desk.again()
        assert desk.plan()


def test_a_warned_account_is_topped_up_where_the_configuration_says_so(tmp_path: Path) -> None:
    with transfer_floor(
        tmp_path, collateral=COLLATERAL.replace("[collateral]", '[collateral]\ncovers = "warned"')
    ) as desk:
        desk.buy()
        desk.move(57_000)
        assert desk.watch.state.value == "warned" and not desk.watch.calls
        desk.run(3)
        assert desk.states() == ["settled"] and desk.watch.state.value == "healthy"
        desk.check()
    with transfer_floor(
        tmp_path / "no", collateral=COLLATERAL.replace("[collateral]", '[collateral]\ncovers = "nothing"')
    ) as desk:
        called(desk)
        desk.run(3)
        assert desk.orders() == []


def test_what_can_not_be_is_refused(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        now = desk.rig.now_ns
        for route, account, units, why in (
            ("nowhere", "alpha", WHOLE, "no such route"), ("wallet", "beta", WHOLE, "no such route"),
            ("wallet", "alpha", 5_000 * WHOLE, "more USDC than"), ("wallet", "alpha", 0, "below the minimum"),
            ("wallet", "alpha", WHOLE // 2, "whole steps"), ("to-house", "alpha", 1_001 * WHOLE, "more USDC than"),
        ):  # fmt: skip
            with pytest.raises(TransferError, match=why):
                desk.desk.move(route, account, units, "test", now)
        desk.rig.now_ns += 3_600 * SECOND
        with pytest.raises(TransferError, match="no price"):
            desk.desk.move("wallet", "alpha", WHOLE, "test", desk.rig.now_ns)


def test_an_adjustment_is_brought_what_may_come_by_itself_once(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.buy()
        desk.run(1)
        seam, now = AccountTransfers(desk.desk), desk.rig.now_ns
        assert seam.movable_usd("alpha") == 1_000, "the limit of one transfer, of 4000 that the client allows"
        assert seam.movable_usd("beta") == 0
        assert seam.move("alpha", 250.0, "adjustment", now) and not seam.move("alpha", 250.0, "adjustment", now)
        assert seam.movable_usd("alpha") == 250, "it waits for what is on its way"
        desk.run(3)
        assert [one.terms.units for one in desk.moved()] == [250 * WHOLE] and desk.states() == ["settled"]
        assert not seam.move("alpha", 1.0, "adjustment", desk.rig.now_ns)
        desk.run(61)
        assert seam.movable_usd("alpha") == 1_000 and seam.move("alpha", 100.0, "x", desk.rig.now_ns)
        desk.run(3)
        assert len(desk.moved()) == 2
        assert not seam.move("alpha", 0.0, "x", desk.rig.now_ns)
        desk.check()
        desk.check_agreed()


# -- a venue that does not answer ----------------------------------------------------------------------------------


def test_fault_42_an_answer_that_is_lost_is_asked_for_until_it_comes(tmp_path: Path) -> None:
    """Fault 42: UNKNOWN, asked about, settled once; the money was at no place that could use it meanwhile."""
    with transfer_floor(tmp_path, {Fault.TRANSFER_UNANSWERED: [1]}) as desk:
        called(desk)
        desk.plan()
        desk.step()
        desk.pump()
        assert desk.states() == ["unknown"] and desk.call().paid_units == 0
        desk.is_cut = True
        desk.run(20)
        assert desk.states() == ["unknown"] and len(desk.orders()) == 1, "not planned twice"
        desk.is_cut = False
        desk.run(30)
        assert desk.states() == ["settled"] and desk.submissions == 1
        assert desk.call().state is CallState.MET
        desk.check()
        desk.check_agreed()


def test_fault_42_a_request_that_never_arrived_has_failed_in_the_end_and_another_is_made(tmp_path: Path) -> None:
    watch_s = 120
    with transfer_floor(tmp_path, {Fault.TRANSFER_NEVER_TAKEN: [1]}) as desk:
        desk.desk.move("wallet", "alpha", 100 * WHOLE, "test", desk.rig.now_ns)
        desk.run(50)
        assert desk.states() == ["unknown"], "it might still come to life"
        desk.run(watch_s)
        assert desk.states() == ["failed"] and desk.at(CLIENT) == 0 and desk.submissions == 1
        desk.desk.move("wallet", "alpha", 100 * WHOLE, "test", desk.rig.now_ns)
        desk.run(3)
        assert desk.states() == ["failed", "settled"]
        desk.check()
        desk.check_agreed()


def test_fault_42_one_that_is_refused_or_fails_late_goes_back_and_its_route_rests(tmp_path: Path) -> None:
    for number, fault in enumerate((Fault.TRANSFER_REFUSED, Fault.TRANSFER_FAILS)):
        with transfer_floor(tmp_path / str(number), {fault: [1]}) as desk:
            called(desk)
            desk.run(5)
            assert desk.states() == ["failed"] and desk.at(CLIENT) == 0
            assert desk.account().cash_units["USDC"] == 1_000 * WHOLE
            desk.run(35)
            assert desk.states()[0] == "failed" and desk.states()[1] == "settled"
            assert desk.call().state is CallState.MET
            desk.check()
            desk.check_agreed()


def test_fault_42_one_that_is_slow_settles_late(tmp_path: Path) -> None:
    with transfer_floor(tmp_path, {Fault.TRANSFER_SLOW: [1]}) as desk:
        called(desk)
        desk.run(2.5)
        assert desk.states() == ["sent"] and not desk.call().paid_units
        desk.run(10)
        assert desk.states() == ["settled"] and desk.submissions == 1
        desk.check_agreed()


def test_fault_42_a_settlement_of_what_had_failed_is_a_break(tmp_path: Path) -> None:
    with transfer_floor(tmp_path, {Fault.TRANSFER_REFUSED: [1]}) as desk:
        key = desk.desk.move("wallet", "alpha", 100 * WHOLE, "test", desk.rig.now_ns)
        desk.run(3)
        assert desk.states() == ["failed"]
        desk.desk.told(key, Outcome(Ending.SETTLED, "", 100 * WHOLE, "v1"), desk.rig.now_ns)
        assert desk.states() == ["failed"] and desk.at(VENUE) == 0
        assert len(desk.rig.of_type(records.BreakRaised)) == 1
        desk.desk.told("strange", Outcome(Ending.SETTLED), desk.rig.now_ns)
        assert "none of ours" in desk.rig.monitor.alerts[-1]
        desk.check()


def test_a_fee_that_is_told_is_taken_from_the_source_once(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        key = desk.desk.move("to-house", "alpha", 100 * WHOLE, "test", desk.rig.now_ns)
        desk.dial()
        desk.house.faults.loses_responses = 99
        desk.run(1, plans=False)
        for _ in range(2):
            desk.desk.told(key, Outcome(Ending.SETTLED, "", 100 * WHOLE, "v1", fee_units=3 * WHOLE), desk.rig.now_ns)
        assert (desk.at(OURS), desk.at(THEIRS)) == (897, 100)
        assert desk.account().cash_units["USDC"] == 997 * WHOLE
        assert desk.rig.ledger.margin.collateral.total("USDC") == 0
        desk.rig.check_replay()


# -- crashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash_at", range(9))
@pytest.mark.parametrize("fault", [None, Fault.TRANSFER_UNANSWERED, Fault.TRANSFER_NEVER_TAKEN, Fault.TRANSFER_SLOW])
def test_a_process_that_dies_at_any_record_makes_each_transfer_once(
    tmp_path: Path, fault: Fault | None, crash_at: int
) -> None:
    """It dies before the record of that number, counted from the call on, is written: and goes on from what was."""
    with transfer_floor(tmp_path, {} if fault is None else {fault: [1]}) as desk:
        called(desk)
        written = [0]
        append = desk.rig.pipeline.journal.append

        def dies(*arguments: object, **options: object) -> int:
            written[0] += 1
            if written[0] > crash_at:
                raise JournalError("gone")
            return append(*arguments, **options)  # type: ignore[arg-type]

        desk.rig.pipeline.journal.append = dies  # type: ignore[method-assign]
        desk.plan()
        for _ in range(4):
            desk.rig.core.tick(desk.rig.now_ns)
            try:
                desk.pump()
            except JournalError:
                break  # the process is gone with it
            desk.rig.now_ns += SECOND
        desk.crash(later_s=1)
        desk.run(150)
        assert desk.watch.outstanding_units == 0 or desk.call().state is CallState.EXPIRED
        assert len([one for one in desk.moved() if one.state is TransferState.SETTLED]) == 1
        desk.check()
        desk.check_agreed()
