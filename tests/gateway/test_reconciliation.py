"""Our book against a clearing house's: what differs restricts, is told with its age, and is never mended."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.gateway.clearing_rig import clearing
from tests.gateway.rig import BTC


def test_books_that_agree_leave_no_trace(tmp_path: Path) -> None:
    with clearing(tmp_path, asks='["positions", "trades", "balances"]', reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(125)
        assert one.house.positions("alpha") == {BTC: Decimal(100)}
        assert one.breaks == [] and one.state() == "trading"
        assert one.link.statements.failed == 0 and one.link.statements.taken >= 9
        one.rig.check_replay()


def test_a_wrong_quantity_is_a_break_that_blocks_when_it_was_the_same_twice(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(5)
        one.house.faults.wrong_quantity["alpha", BTC] = Decimal(90)
        one.wait(55.5)
        assert one.breaks == [] and one.state() == "trading"
        one.wait(2)
        (found,) = one.breaks
        assert (found.kind, found.severity.name, found.ours, found.theirs) == ("position", "BLOCK", "100", "90")
        assert found.evidence == "deribit agrees with us"
        assert one.state() == "reducing"
        assert one.rig.core.reconciler.rows(one.rig.now_ns)[0]["severity"] == "block"
        assert one.invented() == []
        one.rig.check_replay()
        del one.house.faults.wrong_quantity["alpha", BTC]
        one.wait(70)
        assert one.breaks == []
        assert one.state() == "reducing"  # a person sets it free
        one.rig.check_replay()
