"""Limits that a person changes: what may be, what stands after a restart and after the file was edited, what binds."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from gateway import records
from gateway.config import parse
from gateway.operators.limit_moves import LimitError, in_force, limit_value, limits_of
from risk.order import RejectReason
from tests.gateway.rig import BTC, CONFIG, Rig, opened

NOTIONAL = ("alpha", "", "max_order_notional_usd")
POSITION = ("alpha", "*", "max_position_quantity")


def move(rig: Rig, name: tuple[str, str, str], value: str, was: str, approved_by: str = "") -> dict[str, str]:
    return rig.core.limit_moves.move(name, value, was, "rita", approved_by, "why", rig.now_ns)


def refusals(rig: Rig) -> list[int]:
    return [record.reason for record in rig.of_type(records.OrderRefused)]


def test_a_change_binds_at_once_and_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(quantity=1000)
        assert refusals(rig) == []
        assert move(rig, NOTIONAL, "500", "200000") == {"value": "500", "was": "200000"}
        desk.order(quantity=1000)
        assert refusals(rig) == [RejectReason.NOTIONAL_ABOVE_LIMIT]
        assert move(rig, ("alpha", "*", "max_order_quantity"), "50", "100000.0")["value"] == "50"
        desk.order(quantity=100)
        assert refusals(rig)[-1] == RejectReason.QUANTITY_ABOVE_LIMIT
        live_hash = rig.core.state_hash()
    with opened(tmp_path) as rig:
        assert rig.core.ledger.accounts["alpha"].limits.max_order_notional == 500.0
        row = rig.core.ledger.accounts["alpha"].limits.by_instrument[rig.core.ledger.by_symbol[BTC].index]
        assert row.max_order_lots == 5 and live_hash != ""


def test_a_file_that_was_edited_since_holds(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        move(rig, NOTIONAL, "500", "200000", "ruth")
        moves = dict(rig.core.ledger.standing.limits)
    for written, expected in (("200000", 500), ("300000", 300_000), ("100", 100)):
        config = parse(
            CONFIG.replace("max_order_notional_usd = 200000", f"max_order_notional_usd = {written}"), Path("g")
        )
        assert in_force(config.account[0], moves).limits.max_order_notional_usd == expected
        assert in_force(config.account[1], moves) == config.account[1]


def test_what_is_listed_is_what_may_be_changed(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rows = rig.core.limit_moves.rows("alpha")
        names = [(row["account"], row["rule"], row["key"]) for row in rows]
        assert names == [name for name, _ in limits_of(rig.core.config.account[0])]
        move(rig, POSITION, "200000", "150000")
        move(rig, POSITION, "160000", "200000", "ruth")
        (row,) = [row for row in rig.core.limit_moves.rows("") if (row["account"], row["rule"], row["key"]) == POSITION]
        assert (row["value"], row["configured"], row["approved"], row["who"]) == ("160000", "150000", "160000", "rita")
        assert rig.core.monitor.alerts[-1].endswith("200000 -> 160000 by rita, approved by ruth: why")
        with pytest.raises(LimitError, match="no account nobody"):
            rig.core.limit_moves.rows("nobody")


@pytest.mark.parametrize(
    ("name", "value", "was", "told"),
    [
        (NOTIONAL, "1", "199999", "is 200000, not 199999"),
        (NOTIONAL, "0", "200000", "above 0"),
        (NOTIONAL, "-1", "200000", "decimal number"),
        (NOTIONAL, "1e5", "200000", "decimal number"),
        (NOTIONAL, "NaN", "200000", "decimal number"),
        (NOTIONAL, "1" * 41, "200000", "decimal number"),
        (NOTIONAL, "1.123456789", "200000", "decimals"),
        (("alpha", "", "max_working_orders"), "1.5", "12", "whole number"),
        (("alpha", "", "max_working_orders"), "100001", "12", "whole number"),
        (("alpha", "BTC*", "max_position_quantity"), "1", "1", "has no limit"),
        (("alpha", "", "nonsense"), "1", "1", "has no limit"),
        (("nobody", "", "order_burst"), "1", "1", "no account"),
    ],
)
def test_what_is_refused_changes_nothing(
    tmp_path: Path, name: tuple[str, str, str], value: str, was: str, told: str
) -> None:
    with opened(tmp_path) as rig:
        with pytest.raises(LimitError, match=told):
            move(rig, name, value, was)
        assert not rig.of_type(records.LimitMoved)
        assert rig.core.ledger.accounts["alpha"].limits.max_order_notional == 200_000.0


def test_a_rate_that_changes_forgets_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(quantity=10)
        arrival_ns = rig.core.ledger.accounts["alpha"].rate.arrival_ns
        assert arrival_ns > 0
        move(rig, ("alpha", "", "order_burst"), "1", "1000")
        rate = rig.core.ledger.accounts["alpha"].rate
        assert (rate.arrival_ns, rate.burst) == (arrival_ns, 1)


def test_numbers() -> None:
    assert limit_value("order_burst", "7") == 7 and limit_value("max_order_quantity", "0.00000001") == Decimal("1e-8")
