"""Every reason for which an order is refused: told by its code, journalled, and nothing sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway import records
from risk.order import RejectReason
from tests.gateway.rig import BTC, SECOND, Desk, Rig, accepted, filled, listed, opened, shown
from tests.gateway.test_reports import REFUSAL_TAGS

# -- what is refused -------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[RejectReason, dict[str, Any]]] = [
    (RejectReason.UNKNOWN_ACCOUNT, {"account": "beta"}),
    (RejectReason.UNKNOWN_INSTRUMENT, {"symbol": "DOGE"}),
    (RejectReason.QUANTITY_NOT_IN_LOTS, {"quantity": 105}),
    (RejectReason.QUANTITY_NOT_IN_LOTS, {"quantity": "-10"}),
    (RejectReason.QUANTITY_NOT_IN_LOTS, {"quantity": 0}),
    (RejectReason.PRICE_NOT_IN_TICKS, {"price": "59000.3"}),
    (RejectReason.PRICE_NOT_IN_TICKS, {"price": "-0"}),
    (RejectReason.QUANTITY_ABOVE_LIMIT, {"quantity": 100_010}),
    (RejectReason.NOTIONAL_ABOVE_LIMIT, {"symbol": "ETH-PERPETUAL", "price": 2_000, "quantity": 99_999}),
    (RejectReason.PRICE_OUTSIDE_COLLAR, {"price": 70_000}),
    (RejectReason.PRICE_OUTSIDE_COLLAR, {"price": 50_000}),
    (RejectReason.ORDER_NOT_REDUCING, {"exec_inst": "E"}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"ord_type": "P", "price": None}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"tif": 6}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"exec_inst": "G"}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"side": 5}),
    (RejectReason.UNSUPPORTED_CHARACTERISTIC, {"cl_ord_id": "x" * 65}),
]


@pytest.mark.parametrize(("reason", "changes"), REFUSALS)
def test_a_refusal_names_its_reason_and_nothing_is_sent(
    tmp_path: Path, reason: RejectReason, changes: dict[str, Any]
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        if reason is RejectReason.NOTIONAL_ABOVE_LIMIT:
            rig.ledger.accounts["alpha"].limits.max_order_notional = 50_000.0
        rig.log.clear()
        (report,) = desk.order(**changes)
        assert shown([report], 39, 150, 20001) == [("8", "8", "8", str(int(reason)))]
        assert text(report, 58).startswith(reason.name) and text(report, 103) and text(report, 20002)
        assert rig.log == [("append", "OrderRefused")]
        assert rig.monitor.rejects_by_code == {reason.name: 1}
        rig.check_holds()
        rig.check_replay()


def _halted(rig: Rig, desk: Desk) -> None:
    rig.pipeline.commit(records.AccountStateMoved("alpha", "halted", "a person"), rig.now_ns)


def _reducing(rig: Rig, desk: Desk) -> None:
    rig.pipeline.commit(records.AccountStateMoved("alpha", "reducing", "a person"), rig.now_ns)


def _closed(rig: Rig, desk: Desk) -> None:
    rig.hear(listed(BTC, is_open=False))


def _venue_gone(rig: Rig, desk: Desk) -> None:
    rig.core.market.live_venues.clear()


def _stale(rig: Rig, desk: Desk) -> None:
    rig.now_ns += 3 * SECOND


def _arrays_stale(rig: Rig, desk: Desk) -> None:
    rig.now_ns += 3 * SECOND
    rig.mark(BTC, 60_000.0)


def _no_mark(rig: Rig, desk: Desk) -> None:
    rig.core.market.marks[rig.ledger.by_symbol[BTC].index] = None


def _no_room(rig: Rig, desk: Desk) -> None:
    rig.ledger.accounts["alpha"].cl_ord_ids.capacity = 0


def _burst(rig: Rig, desk: Desk) -> None:
    account = rig.ledger.accounts["alpha"]
    while account.rate.admit(rig.now_ns):
        pass


def _many_working(rig: Rig, desk: Desk) -> None:
    for _ in range(12):
        desk.order()


def _large_position(rig: Rig, desk: Desk) -> None:
    for _ in range(2):
        desk.order(quantity=75_000)


def _not_permitted(rig: Rig, desk: Desk) -> None:
    rig.ledger.accounts["alpha"].limits.by_instrument.clear()


def _used(rig: Rig, desk: Desk) -> None:
    desk.order(cl_ord_id="again")


def _broken(rig: Rig, desk: Desk) -> None:
    rig.core.market.marks.clear()


def _poor(rig: Rig, desk: Desk) -> None:
    for currency, units in (("BTC", 2 * 10**8), ("USDC", 100_000 * 10**8)):
        rig.pipeline.commit(records.CashMoved("alpha", currency, -units, "withdrawn"), rig.now_ns)


@pytest.mark.parametrize(
    ("reason", "prepare", "changes"),
    [
        (RejectReason.ACCOUNT_HALTED, _halted, {}),
        (RejectReason.ACCOUNT_REDUCING, _reducing, {}),
        (RejectReason.INSTRUMENT_CLOSED, _closed, {}),
        (RejectReason.VENUE_NOT_READY, _venue_gone, {}),
        (RejectReason.INSTRUMENT_NOT_PERMITTED, _not_permitted, {}),
        (RejectReason.MARK_STALE, _stale, {}),
        (RejectReason.MARK_STALE, _arrays_stale, {}),
        (RejectReason.MARK_UNKNOWN, _no_mark, {}),
        (RejectReason.CL_ORD_IDS_EXHAUSTED, _no_room, {}),
        (RejectReason.DUPLICATE_CL_ORD_ID, _used, {"cl_ord_id": "again"}),
        (RejectReason.RATE_ABOVE_LIMIT, _burst, {}),
        (RejectReason.WORKING_ORDERS_ABOVE_LIMIT, _many_working, {}),
        (RejectReason.POSITION_ABOVE_LIMIT, _large_position, {}),
        (RejectReason.CHECK_ERROR, _broken, {}),
        (RejectReason.MARGIN_SHORTFALL, _poor, {}),
    ],
)
def test_states_that_refuse(tmp_path: Path, reason: RejectReason, prepare: Any, changes: dict[str, Any]) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        prepare(rig, desk)
        placed = len(rig.link.placed)
        (report,) = desk.order(**changes)
        assert text(report, 20001) == str(int(reason)), text(report, 58)
        assert len(rig.link.placed) == placed
        assert desk.fix.is_logged_on  # whatever went wrong inside a check, the session lives
        if reason is RejectReason.CHECK_ERROR:
            assert rig.monitor.alerts


def test_the_first_reason_in_order_of_precedence_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        _stale(rig, desk)
        (report,) = desk.order(symbol="DOGE", quantity="7", price="1")
        assert text(report, 20001) == str(int(RejectReason.UNKNOWN_INSTRUMENT))


def test_a_rejection_carries_its_numbers(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        _poor(rig, desk)
        (report,) = desk.order(quantity=60_000)
        code, check, limit, observed, required, age = (text(report, tag) for tag in REFUSAL_TAGS)
        assert (code, check) == ("701", "margin_is_covered") and age == ""
        assert float(required) == pytest.approx(float(limit) - float(observed), abs=0.02)
        (report,) = desk.order(price=70_000)
        assert text(report, 20007) == "0"  # the mark's age in ms
        assert float(text(report, 20004)) == 70_000.0


def test_cancels_and_reductions_pass_a_shortfall_and_a_halt(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="long", quantity=60_000)
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 60_000))
        desk.order(cl_ord_id="rest")
        rest = list(rig.ledger.orders.values())[1]
        rig.hear(accepted(rest))
        _poor(rig, desk)
        desk.pump()
        assert desk.order(side=2, quantity=10_000, price=60_000) == []  # it only reduces
        _halted(rig, desk)
        assert desk.cancel("rest") == [] and rig.link.cancelled == [rest.order_id]
