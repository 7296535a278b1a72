"""Margin calls by FIX: AX out, AY in, AZ back, BA and CJ unsolicited; all valid by their dictionary, and replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.records.margin import CollateralRefused
from protocols.fix.codec import Message
from risk.calls import CallState
from risk.collateral_ledger import TransferHappening
from tests.gateway.margin_floor import FIX44, FIX50, Floor, decisions, floor
from tests.gateway.readers import shown as shown_exactly

WHOLE = 10**8
VERSIONS = pytest.mark.parametrize("version", [FIX44, FIX50])


def shown(message: Message, *tags: int) -> tuple[bytes, ...]:
    """The fields, amounts without their eight digits where they are whole."""
    values = shown_exactly(message, *tags)
    return tuple(v.rstrip(b"0").rstrip(b".") if v.count(b".") == 1 and b":" not in v else v for v in values)


def kinds(told: list[Message]) -> list[str]:
    return [message.msg_type for message in told]


def called(desk: Floor) -> list[Message]:
    desk.buy()
    return desk.move(54_500)


@VERSIONS
def test_a_call_is_asked_for_and_reported(tmp_path: Path, version: str) -> None:
    with floor(tmp_path, version) as desk:
        told = called(desk)
        assert kinds(told) == (["AX", "BA"] if version == FIX44 else ["AX", "BA", "CJ"])
        request, report, *more = told
        assert shown(request, 894, 895, 1, 15, 899, 126) == (
            b"AX", b"alpha-M1", b"3", b"alpha", b"USD", b"-73", b"20251009-08:54:20.000",
        )  # fmt: skip
        assert request.groups(453, (448, 447, 452)) == [(b"alpha", b"D", b"24")]
        assert shown(report, 909, 910, 912, 899, 15) == (b"BA", b"alpha-M1", b"0", b"Y", b"-73", b"USD")
        for required in more:
            assert shown(required, 1638, 912, 325) == (b"CJ", b"2", b"Y", b"Y")
            assert required.groups(1643, (1645, 1644))[0] == (b"73.00000000", b"13")
        assert desk.call().amount_units == 73 * WHOLE
        desk.check()


def test_a_version_without_the_messages_is_called_all_the_same(tmp_path: Path) -> None:
    with floor(tmp_path, "FIX.4.2") as desk:
        assert called(desk) == []
        assert desk.call().state is CallState.ISSUED
        desk.check()


@VERSIONS
def test_pledged_settled_met(tmp_path: Path, version: str) -> None:
    with floor(tmp_path, version) as desk:
        called(desk)
        (received,) = desk.pledge("73", call="alpha-M1")
        assert shown(received, 902, 894, 895, 903, 905, 15, 901, 1) == (
            b"AZ", b"a1", b"alpha-M1", b"3", b"0", b"0", b"USDC", b"0", b"alpha",
        )  # fmt: skip
        assert desk.call().state is CallState.ISSUED
        desk.told.clear()
        desk.settle(30 * WHOLE, "r1")
        desk.settle(43 * WHOLE, "r2")
        part, after_part, accepted, after_all = desk.told[:4]
        assert shown(part, 905, 901) == (b"AZ", b"0", b"30")
        assert shown(after_part, 910, 899) == (b"BA", b"1", b"-43")
        assert shown(accepted, 905, 901) == (b"AZ", b"1", b"73")
        assert shown(after_all, 910, 899) == (b"BA", b"3", b"0")
        assert desk.call().state is CallState.MET and desk.account().cash_units["USDC"] == 1_073 * WHOLE
        desk.check()


def test_the_same_assignment_again_has_the_same_answer_and_one_effect(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        desk.pledge("73", call="alpha-M1")
        desk.settle(73 * WHOLE)
        (again,) = desk.pledge("73", call="alpha-M1", assignment_id="a1")
        assert shown(again, 905, 901) == (b"AZ", b"1", b"73")
        assert desk.account().cash_units["USDC"] == 1_073 * WHOLE and desk.call().paid_units == 73 * WHOLE
        (other,) = desk.pledge("74", call="alpha-M1", assignment_id="a1")
        assert shown(other, 905, 906) == (b"AZ", b"3", b"99")
        desk.check()


def test_received_disputed_agreed(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        told = desk.say(b"RECEIVED")
        assert kinds(told) == ["AZ", "BA"] and desk.call().state is CallState.RECEIVED
        assert kinds(desk.say(b"RECEIVED")) == ["AZ"], "said before: answered, and nothing is told"
        told = desk.say(b"DISPUTED", b"20.5")
        assert shown(told[1], 910) == (b"BA", b"4")
        assert desk.call().due_units == 2_050_000_000
        desk.say(b"AGREED")
        (refused,) = desk.say(b"DISPUTED", b"1")
        assert shown(refused, 905, 906) == (b"AZ", b"3", b"99") and b"agreed can not be disputed" in (
            refused.get(58) or b""
        )
        desk.check()


def test_the_undisputed_part_is_paid_and_a_person_decides(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        desk.say(b"DISPUTED", b"20")
        desk.pledge("20", call="alpha-M1")
        desk.settle(20 * WHOLE, key="ALPHA:a2")
        told = desk.wait(61)
        assert shown(told[-1], 910, 899) == (b"BA", b"4", b"-53")
        assert desk.call().state is CallState.ESCALATED
        desk.check()


def test_a_pledge_is_taken_back_before_it_moved(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        desk.pledge("73", call="alpha-M1")
        told = desk.assign((1, b"alpha"), (907, b"a1"), kind=b"2")
        assert [shown(one, 902, 903, 905) for one in told] == [
            (b"AZ", b"a2", b"2", b"1"), (b"AZ", b"a1", b"0", b"3"),
        ]  # fmt: skip
        (refused,) = desk.assign((1, b"alpha"), (907, b"a1"), kind=b"2")
        assert shown(refused, 905) == (b"AZ", b"3")
        desk.check()


def test_a_transfer_that_failed_is_rejected(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        desk.pledge("73", call="alpha-M1")
        intraday = desk.rig.core.intraday
        intraday.transfer_moved("ALPHA:a1", TransferHappening.FAILED, desk.rig.now_ns, why="bank says no")
        (rejected,) = desk.hear()
        assert shown(rejected, 902, 905, 906) == (b"AZ", b"a1", b"3", b"99")
        assert b"bank says no" in (rejected.get(58) or b"")
        desk.check()


def test_a_reversal_opens_the_call_again(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        desk.pledge("73", call="alpha-M1")
        desk.settle(73 * WHOLE)
        desk.told.clear()
        desk.rig.core.intraday.transfer_moved("ALPHA:a1", TransferHappening.REVERSED, desk.rig.now_ns)
        response, report = desk.hear()
        assert shown(response, 905) == (b"AZ", b"3") and shown(report, 910, 899) == (b"BA", b"1", b"-73")
        desk.check()


def test_a_part_that_is_taken_back_after_the_dispute_was_given_up(tmp_path: Path) -> None:
    """Paid in part, disputed, agreed, and then the bank calls the payment back: the book follows, and replays."""
    with floor(tmp_path) as desk:
        called(desk)
        desk.say(b"DISPUTED", b"20")
        desk.pledge("20", call="alpha-M1")
        desk.settle(20 * WHOLE, key="ALPHA:a2")
        desk.say(b"AGREED")
        assert desk.call().state is CallState.AGREED and desk.call().paid_units == 20 * WHOLE
        desk.rig.core.intraday.transfer_moved("ALPHA:a2", TransferHappening.REVERSED, desk.rig.now_ns)
        response, report = desk.hear()
        assert shown(response, 905) == (b"AZ", b"3") and shown(report, 899) == (b"BA", b"-73")
        assert (desk.call().state, desk.call().outstanding_units) == (CallState.AGREED, 73 * WHOLE)
        desk.wait(61)
        assert desk.call().state is CallState.EXPIRED
        desk.check()


def test_a_market_that_recovers_is_told(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        (report,) = desk.move(60_000)
        assert shown(report, 909, 899) == (b"BA", b"alpha-M1", b"0") and b"superseded" in (report.get(58) or b"")
        desk.check()


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        (((1, b"beta"), (15, b"USDC"), (901, b"5")), b"0", b"2"),
        (((1, b"nobody"), (15, b"USDC"), (901, b"5")), b"0", b"2"),
        (((894, b"alpha-M9"), (1, b"alpha"), (15, b"USDC"), (901, b"5")), b"0", b"0"),
        (((1, b"alpha"), (15, b"DOGE"), (901, b"5")), b"0", b"4"),
        (((1, b"alpha"), (15, b"USDC"), (901, b"0")), b"0", b"99"),
        (((1, b"alpha"), (15, b"USDC"), (901, b"-5")), b"0", b"99"),
        (((1, b"alpha"), (15, b"USDC"), (901, b"0.000000001")), b"0", b"99"),
        (((1, b"alpha"), (15, b"USDC"), (901, b"99999999999")), b"0", b"3"),
        (((1, b"alpha"),), b"0", b"99"),
        (((894, b"alpha-M1"), (1, b"alpha"), (232, b"1"), (233, b"AGREED"), (234, b"x")), b"3", b"99"),
        (((894, b"alpha-M1"), (1, b"alpha"), (232, b"1"), (233, b"MAYBE")), b"0", b"99"),
        (((894, b"alpha-M1"), (1, b"alpha"), (232, b"1"), (233, b"DISPUTED"), (234, b"73")), b"0", b"99"),
        (((894, b"alpha-M1"), (1, b"alpha"), (232, b"1"), (233, b"DISPUTED"), (234, b"-1")), b"0", b"99"),
        (((894, b"x" * 65), (1, b"alpha"), (15, b"USDC"), (901, b"5")), b"0", b"99"),
        (((1, b"alpha"), (907, b"nothing")), b"2", b"0"),
    ],
)
def test_assignments_that_are_refused(
    tmp_path: Path, fields: tuple[tuple[int, bytes], ...], kind: bytes, reason: bytes
) -> None:
    with floor(tmp_path) as desk:
        called(desk)
        before = desk.watch.parts(), desk.rig.ledger.margin.collateral.parts()
        (refused,) = desk.assign(*fields, kind=kind)
        assert shown(refused, 905, 906, 903) == (b"AZ", b"3", reason, kind) and refused.get(58)
        assert (desk.watch.parts(), desk.rig.ledger.margin.collateral.parts()) == before
        assert len(desk.rig.of_type(CollateralRefused)) == 1
        desk.check()


def test_nothing_is_pledged_where_nobody_calls(tmp_path: Path) -> None:
    with floor(tmp_path, watch="") as desk:
        (refused,) = desk.pledge("5")
        assert shown(refused, 905, 906) == (b"AZ", b"3", b"99") and decisions(desk.rig) == []


def test_a_client_that_was_away_hears_of_its_call(tmp_path: Path) -> None:
    """A call is no volatile message: it is kept, and resent to a client that was away, after a crash of ours too."""
    with floor(tmp_path) as desk:
        desk.buy()
        desk.client.session.connection_lost(desk.rig.now_ns)
        while desk.client.session.next_event() is not None:
            pass
        desk.client.link.disconnected(desk.rig.now_ns)
        desk.rig.mark("BTC-PERPETUAL", 54_500)
        desk.rig.core.valuation.run(desk.rig.now_ns)
        desk.rig.core.intraday.run(desk.rig.now_ns)
        desk.restart()
        told = desk.client.ask_again(1)
        assert b"35=AX\x01" in told and b"894=alpha-M1" in told
        desk.check()
