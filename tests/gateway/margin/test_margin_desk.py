"""What an operator decides of calls and transfers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.margin import desk as margin_desk
from gateway.operators.channel import ControlError, DecideMargin, MoveTransfer, ShowMargin
from risk.calls import CallState
from tests.gateway.margin_floor import floor


def test_a_pledge_settles_as_the_bank_says(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        core = desk.rig.core
        desk.buy()
        desk.move(54_500)
        desk.pledge("73", call="alpha-M1")
        assert len(margin_desk.answer(core, ShowMargin(), "", desk.rig.now_ns)["transfers"]) == 1
        command = MoveTransfer("ALPHA:a1", "settled", "statement 7", "73", "s7")
        for is_news in (True, False):
            told = margin_desk.answer(core, command, "ann", desk.rig.now_ns)
            assert told == {"state": "settled", "is_news": is_news}
        assert desk.call().state is CallState.MET
        desk.hear()
        desk.check()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (MoveTransfer("ALPHA:a1", "vanished", "x"), "is one of sent"),
        (MoveTransfer("ALPHA:a1", "settled", "x", "much", "r"), "with at most eight decimals"),
        (MoveTransfer("ALPHA:a1", "settled", "x", "0.000000001", "r"), "with at most eight decimals"),
        (MoveTransfer("ALPHA:a1", "settled", "x", "74", "r"), "a settlement of"),
        (MoveTransfer("ALPHA:a1", "settled", "x", "1"), "a settlement of"),
        (MoveTransfer("nothing", "failed", "x"), "no such transfer"),
        (DecideMargin("nobody", "reinstated", "x"), "no account nobody"),
        (DecideMargin("alpha", "forgiven", "x"), "is one of reinstated"),
        (DecideMargin("alpha", "reinstated", "x"), "called can not have reinstated"),
        (DecideMargin("alpha", "upheld", "x", "alpha-M1"), "issued can not be upheld"),
        (DecideMargin("alpha", "upheld", "x", "alpha-M9"), "no such call"),
    ],
)
def test_commands_that_are_refused(tmp_path: Path, command: MoveTransfer | DecideMargin, why: str) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.pledge("73", call="alpha-M1")
        with pytest.raises(ControlError, match=why):
            margin_desk.answer(desk.rig.core, command, "ann", desk.rig.now_ns)


def test_a_person_gives_an_account_back(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(45_000)
        for decision, state in (("handed-over", "closed"), ("reinstated", "restricted")):
            command = DecideMargin("alpha", decision, "agreed\nwith risk")
            assert margin_desk.answer(desk.rig.core, command, "ann", desk.rig.now_ns) == {"state": state}
        assert any("by ann: agreed?with risk" in text for text in desk.rig.monitor.alerts)
        desk.move(45_000)
        desk.say(b"RECEIVED", call="alpha-M9")
        desk.check()
