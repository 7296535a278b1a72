"""Clearing houses that call for collateral and are given it over FIX: slow, forgetful, refusing, of another mind."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.records.transfers import HouseCalled, HouseCallMoved, TransferDropped
from risk.collateral_ledger import TransferError
from risk.house_calls import HouseCallState
from risk.transfer_orders import OrderState
from tests.gateway.transfer_rig import OURS, THEIRS, WHOLE, TransferFloor, transfer_floor


def house_call(desk: TransferFloor, amount: int = 300, deadline: str = "20251009-09:30:00.000") -> str:
    request_id = desk.house.call("alpha", Decimal(amount), deadline, desk.rig.now_ns)
    desk.pump()
    return request_id


def the_call(desk: TransferFloor) -> HouseCallState:
    (call,) = desk.rig.ledger.margin.house_calls.calls.values()
    return call.state


def test_a_clearing_houses_call_is_met(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        request_id = house_call(desk)
        (told,) = desk.rig.of_type(HouseCalled)
        assert (told.counterparty, told.request_id, told.amount_units) == ("HOUSE", request_id, 300 * WHOLE)
        desk.run(3)
        assert desk.states() == ["settled"] and the_call(desk) is HouseCallState.MET
        assert desk.house.cash["alpha"] == {"USDC": Decimal(300)}
        assert desk.account().cash_units["USDC"] == 1_000 * WHOLE, "it is still the account's, at another place"
        assert desk.desk.snapshot()["house_calls"] == []
        desk.check()
        desk.check_agreed()


def test_a_house_that_is_slow_is_asked_and_waited_for(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        desk.house.faults.is_slow_with_collateral = True
        house_call(desk)
        desk.run(20)
        assert desk.states() == ["unknown"] and len(desk.orders()) == 1
        assert next(iter(desk.house.assignments.values())).seen > 1, "asked, by the same id"
        desk.house.settle(desk.rig.now_ns)
        desk.run(2)
        assert the_call(desk) is HouseCallState.MET and desk.house.cash["alpha"]["USDC"] == 300
        desk.check_agreed()


def test_a_house_that_takes_a_part_is_given_the_rest_once_more(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        desk.house.faults.takes_part = Decimal("0.5")
        house_call(desk)
        desk.run(3)
        assert desk.states() == ["settled"] and (desk.at(THEIRS), desk.at(OURS)) == (150, 850)
        assert the_call(desk) is HouseCallState.OPEN
        desk.house.faults.takes_part = Decimal(1)
        desk.run(35)
        assert desk.at(THEIRS) == 300 and the_call(desk) is HouseCallState.MET
        desk.check()
        desk.check_agreed()


def test_a_house_that_loses_what_we_send_or_its_answer_takes_it_once(tmp_path: Path) -> None:
    for number, lost in enumerate(("loses_assignments", "loses_responses")):
        with transfer_floor(tmp_path / str(number)) as desk:
            desk.dial()
            setattr(desk.house.faults, lost, 2)
            house_call(desk)
            desk.run(15)
            assert desk.states() == ["settled"] and desk.house.cash["alpha"]["USDC"] == 300
            assert the_call(desk) is HouseCallState.MET
            desk.check()
            desk.check_agreed()


def test_a_house_that_rejects_is_not_asked_again_at_once(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        desk.house.assignment_answer = (3, "not eligible")
        house_call(desk)
        desk.run(10)
        assert desk.states() == ["failed"] and desk.at(OURS) == 1_000 and desk.house.cash == {}
        desk.house.assignment_answer = (1, "")
        desk.run(31)
        assert desk.states() == ["failed", "settled"] and the_call(desk) is HouseCallState.MET
        desk.check()
        desk.check_agreed()


def test_a_house_that_gives_back_what_it_took_is_owed_again(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        house_call(desk)
        desk.run(3)
        key = desk.moved()[0].terms.key
        desk.house.give_back(key, "wrong account", desk.rig.now_ns)
        desk.run(0.5, plans=False)
        assert desk.states() == ["reversed"] and the_call(desk) is HouseCallState.OPEN and desk.at(OURS) == 1_000
        desk.run(5)
        assert desk.states() == ["reversed", "settled"] and the_call(desk) is HouseCallState.MET
        assert [r.happening for r in desk.rig.of_type(HouseCallMoved)] == ["met", "unpaid again", "met"]
        desk.check()
        desk.check_agreed()


def test_a_call_that_is_not_met_in_time_is_told_of_and_met_late(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        desk.house.faults.is_slow_with_collateral = True
        house_call(desk, deadline="20251009-08:53:30.000")
        desk.run(12)
        assert the_call(desk) is HouseCallState.EXPIRED
        desk.house.settle(desk.rig.now_ns)
        desk.run(2)
        assert the_call(desk) is HouseCallState.MET
        assert [r.happening for r in desk.rig.of_type(HouseCallMoved)] == ["lapsed", "met"]
        desk.check()


def test_a_house_gives_back_what_is_asked_of_it(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        house_call(desk)
        desk.run(3)
        desk.desk.move("from-house", "alpha", 120 * WHOLE, "ann", desk.rig.now_ns)
        desk.run(3, plans=False)
        assert (desk.at(THEIRS), desk.house.cash["alpha"]["USDC"]) == (180, 180)
        with pytest.raises(TransferError, match="more USDC"):
            desk.desk.move("from-house", "alpha", 200 * WHOLE, "ann", desk.rig.now_ns)
        desk.check()


def test_a_house_that_is_not_there_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        key = desk.desk.move("to-house", "alpha", 50 * WHOLE, "test", desk.rig.now_ns)
        desk.run(30)
        assert desk.moved() == [] and desk.rig.ledger.margin.orders.orders[key].state is OrderState.READY
        desk.run(12)
        assert [r.reason for r in desk.rig.of_type(TransferDropped)] == ["its channel was not there in time"]
        desk.check()


def test_a_call_that_can_not_be_read_is_told_of_and_nothing_more(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        desk.dial()
        for account, amount in (("beta", Decimal(1)), ("alpha", Decimal(-1)), ("alpha", Decimal(0))):
            desk.house.call(account, amount, "20251009-09:30:00.000", desk.rig.now_ns)
            desk.pump()
        desk.house.send("AZ", [(904, "x"), (902, "nobody"), (895, 3), (903, 0), (905, 1), (60, "20251009-09:30:00")],
                        desk.rig.now_ns)  # fmt: skip
        desk.pump()
        assert desk.rig.of_type(HouseCalled) == [] and "no assignment of ours" in desk.rig.monitor.alerts[-1]
        request_id = house_call(desk)
        desk.house.send("AX", [(894, request_id), (895, 3), (60, "20251009-09:30:00"), (1, "alpha"), (899, "-300")],
                        desk.rig.now_ns)  # fmt: skip
        desk.pump()
        assert len(desk.rig.of_type(HouseCalled)) == 1, "the same call again is the same call"
        desk.check()
