"""Each line of a margin call's life, by FIX: how the call stands, and what the last CollateralReport(BA) says of it.

One test a line of issue 6, item 2; the tables behind them are in tests/risk/test_calls.py and test_margin_watch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from risk.account import AccountState
from risk.calls import CallState
from tests.gateway.margin_floor import FIX44, FIX50, WATCH, Floor, floor

WHOLE = 10**8
UNASSIGNED, PARTLY, PROPOSED, ASSIGNED, CHALLENGED = (str(number).encode() for number in range(5))


def acknowledged(desk: Floor) -> None:
    desk.say(b"RECEIVED")


def agreed(desk: Floor) -> None:
    desk.say(b"AGREED")


def disputed(desk: Floor) -> None:
    desk.say(b"DISPUTED", b"20")


def disputed_and_undisputed_part_paid(desk: Floor) -> None:
    desk.say(b"DISPUTED", b"20")
    desk.pledge("20", call="alpha-M1")
    desk.settle(20 * WHOLE, key=f"ALPHA:a{desk.assignments}")


def escalated(desk: Floor) -> None:
    disputed_and_undisputed_part_paid(desk)
    desk.wait(61)


def upheld(desk: Floor) -> None:
    escalated(desk)
    desk.rig.core.intraday.upheld("alpha", "alpha-M1", "ann: our marks are right", desk.rig.now_ns)
    desk.hear()


def escalated_and_nobody_decides(desk: Floor) -> None:
    escalated(desk)
    desk.wait(31)


def disputed_and_undisputed_part_not_paid(desk: Floor) -> None:
    disputed(desk)
    desk.wait(61)


def partly_met(desk: Floor) -> None:
    desk.pledge("30", call="alpha-M1")
    desk.settle(30 * WHOLE)


def met(desk: Floor) -> None:
    desk.pledge("500", call="alpha-M1")
    desk.settle(500 * WHOLE)


def expired(desk: Floor) -> None:
    desk.wait(61)


def superseded(desk: Floor) -> None:
    desk.move(60_000)


LINES: list[tuple[Callable[[Floor], None], CallState, bytes, int]] = [
    (acknowledged, CallState.RECEIVED, UNASSIGNED, 0),
    (agreed, CallState.AGREED, PROPOSED, 0),
    (disputed, CallState.DISPUTED, CHALLENGED, 0),
    (disputed_and_undisputed_part_paid, CallState.DISPUTED, CHALLENGED, 20),
    (escalated, CallState.ESCALATED, CHALLENGED, 20),
    (upheld, CallState.AGREED, PROPOSED, 20),
    (escalated_and_nobody_decides, CallState.EXPIRED, UNASSIGNED, 20),
    (disputed_and_undisputed_part_not_paid, CallState.EXPIRED, UNASSIGNED, 0),
    (partly_met, CallState.PARTLY_MET, PARTLY, 30),
    (expired, CallState.EXPIRED, UNASSIGNED, 0),
    (superseded, CallState.SUPERSEDED, UNASSIGNED, 0),
    (met, CallState.MET, ASSIGNED, 500),
]


@pytest.mark.parametrize("version", [FIX44, FIX50])
@pytest.mark.parametrize(
    ("story", "state", "status", "paid"), LINES, ids=lambda value: getattr(value, "__name__", None)
)
def test_each_line_of_a_call(
    tmp_path: Path, version: str, story: Callable[[Floor], None], state: CallState, status: bytes, paid: int
) -> None:
    with floor(tmp_path, version) as desk:
        desk.buy()
        desk.move(54_500)
        amount = desk.call().amount_units
        story(desk)
        call = desk.call()
        assert (call.state, call.paid_units) == (state, min(amount, paid * WHOLE))
        (*_, last) = [m for m in desk.told if m.msg_type == "BA" and m.get(909) == b"alpha-M1"]
        outstanding = (amount - call.paid_units) // WHOLE if call.is_open else 0
        assert last.get(910) == status and Decimal((last.get(899) or b"").decode()) == -outstanding
        restricted = desk.account().state is AccountState.REDUCING
        assert restricted == (state is CallState.EXPIRED), "an expired call restricts, nothing else here does"
        desk.check()


def test_a_call_is_told_with_its_requirement_unasked(tmp_path: Path) -> None:
    """MarginRequirementReport(CJ): UnsolicitedIndicator(325) Y, of the call and of the maintenance margin."""
    with floor(tmp_path, FIX50) as desk:
        desk.buy()
        told = desk.move(54_500)
        (report,) = [message for message in told if message.msg_type == "CJ"]
        amounts = {kind: Decimal((value or b"").decode()) for value, kind, _ in report.groups(1643, (1645, 1644, 1646))}
        assert report.get(325) == b"Y" and amounts[b"13"] == desk.call().amount_units // WHOLE
        assert amounts[b"12"] > amounts[b"13"], "the maintenance margin that it is called for"


@pytest.mark.parametrize(
    ("terms", "amount"),
    [
        ("minimum_transfer_usd = 10", 73), ("minimum_transfer_usd = 74", None),
        ("minimum_transfer_usd = 10\nrounding_usd = 50", 100), ("minimum_transfer_usd = 10\nthreshold_usd = 40", 33),
        ("minimum_transfer_usd = 10\nthreshold_usd = 40\nrounding_usd = 25", 50),
        ("minimum_transfer_usd = 10\nthreshold_usd = 80", None),
    ],
)  # fmt: skip
def test_minimum_rounding_and_threshold_of_a_call(tmp_path: Path, terms: str, amount: int | None) -> None:
    with floor(tmp_path, watch=WATCH.replace("minimum_transfer_usd = 10\n", terms + "\n")) as desk:
        desk.buy()
        desk.move(54_500)
        called = [call.amount_units / WHOLE for call in desk.watch.calls.values()]
        assert called == ([] if amount is None else [amount])
