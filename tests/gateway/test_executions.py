"""What venues say, in any order and more than once: fills count once, holds are released once, what can not be is a
break and never a correction.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fixtures.fix_conversation import text
from gateway import records
from gateway.executions import STRANGE_TRADES_KEPT
from protocols.venues import events
from risk.account import AccountState
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from tests.gateway.rig import (
    BTC,
    ETH,
    Desk,
    Rig,
    accepted,
    cancelled,
    filled,
    opened,
    shown,
    state_of,
)  # fmt: skip


def ordered(rig: Rig, *, is_accepted: bool = True, **changes: Any) -> tuple[Desk, WorkingOrder]:
    """A desk with one order of 100 named "o"; what it was told so far is forgotten."""
    desk = rig.desk().log_on()
    desk.order(**{"cl_ord_id": "o"} | changes)
    order = rig.only_order()
    if is_accepted:
        rig.hear(accepted(order))
    desk.pump()
    return desk, order


def lots(rig: Rig, symbol: str = BTC, account: str = "alpha") -> int:
    return rig.ledger.accounts[account].position_lots(rig.ledger.by_symbol[symbol].index)


def is_sound(rig: Rig) -> None:
    rig.check_holds()
    rig.check_replay()


# -- the hold, released exactly once ---------------------------------------------------------------------------------


def rejected(order: WorkingOrder, is_definite: bool = True) -> events.OrderRejected:
    return events.OrderRejected(order.order_id, 10009, "not_enough_funds", is_definite)


ENDS: dict[str, Any] = {
    "rejected": rejected,
    "cancelled": cancelled,
    "filled": lambda order: filled(order, 100),
    "not found": lambda order: events.OrderNotFound(order.order_id),
    "found rejected": lambda order: events.OrderStateReported(state_of(order, "rejected")),
    "found cancelled": lambda order: events.OrderStateReported(state_of(order, "cancelled")),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("again", ENDS)
def test_a_hold_is_released_once_whatever_ends_the_order_and_whatever_is_said_after(
    tmp_path: Path, end: str, again: str
) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=False)
        rig.hear(ENDS[end](order))
        assert order.held is None and not order.is_working
        rig.hear(ENDS[again](order))
        assert order.held is None
        ends = [m for m in desk.pump() if text(m, 39) in "248" and text(m, 150) in "48F"]
        # Only a fill after the end is more than talk; it was real, and a person must look.
        late_fill = again == "filled" != end
        assert len(ends) == 1 + late_fill
        assert lots(rig) == (10 if "filled" in (end, again) else 0)
        assert bool(rig.ledger.breaks) is late_fill
        is_sound(rig)


@pytest.mark.parametrize("answer", ["accepted", "filled", "rejected", "not found", "open", "cancelled"])
def test_lost_then_found(tmp_path: Path, answer: str) -> None:
    """UNKNOWN keeps its margin until the venue has answered by label; then the hold is what is left, released once."""
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=False)
        rig.hear(events.OrderOutcomeUnknown(order.order_id, "place", "connection lost"))
        assert order.status is OrdStatus.UNKNOWN and order.held == (10, 118_000)
        assert rig.queries == [order.order_id] and rig.monitor.unknown == 1
        told: dict[str, events.Event] = {
            "accepted": accepted(order),
            "filled": filled(order, 100),
            "rejected": rejected(order),
            "not found": events.OrderNotFound(order.order_id),
            "open": events.OrderStateReported(state_of(order, "open")),
            "cancelled": events.OrderStateReported(state_of(order, "cancelled")),
        }
        rig.hear(told[answer])
        assert order.is_working is (answer in ("accepted", "open"))
        assert (order.held is not None) is order.is_working
        (report,) = desk.pump()
        wanted = {"accepted": "0", "open": "0", "filled": "2", "cancelled": "4"}
        assert text(report, 39) == wanted.get(answer, "8")
        is_sound(rig)


def test_a_rejection_that_proves_nothing_is_asked_about(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=False)
        rig.hear(rejected(order, is_definite=False))
        assert order.status is OrdStatus.UNKNOWN and rig.queries == [order.order_id] and desk.pump() == []
        rig.hear(rejected(order, is_definite=False))
        assert rig.monitor.unknown == 1
        is_sound(rig)


# -- fills -----------------------------------------------------------------------------------------------------------


def test_a_fill_counts_once_by_reply_stream_query_and_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        for _ in ("reply", "stream", "query"):
            rig.hear(filled(order, 40, "t1"))
        assert lots(rig) == 4 and len(desk.pump()) == 1
        again = rig.restart()
        try:
            order = again.only_order()
            again.hear(filled(order, 40, "t1", is_backfill=True))
            assert lots(again) == 4 and order.cum_lots == 4 and order.held == (6, 118_000)
            again.hear(filled(order, 40, "t2", is_backfill=True))
            assert lots(again) == 8
            assert len(again.of_type(records.Filled)) == 2
            is_sound(again)
        finally:
            again.journal.close()


def test_a_fill_before_the_acknowledgement(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=False)
        rig.hear(filled(order, 40), accepted(order, "V1"), accepted(order, "V2"))
        assert order.venue_order_id == "V1" and order.held == (6, 118_000) and lots(rig) == 4
        # Its report has told all that the acknowledgement would.
        assert shown(desk.pump(), 150, 39, 14, 151, 32, 31, 6) == [
            ("8", "F", "1", "40", "60", "40", "59000.0", "59000.0")
        ]
        rig.monitor.batch_written(rig.now_ns)
        assert rig.monitor.accept_latency.count == 1
        is_sound(rig)


def test_a_fill_before_the_cancel_it_is_counted_in(tmp_path: Path) -> None:
    """The venue says cancelled with 40 filled before we saw the fill: what the fill needs stays held until then."""
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(cancelled(order, 40))
        assert order.is_working and order.held == (10, 118_000) and rig.queries == [order.order_id]
        rig.hear(filled(order, 40), cancelled(order, 40))
        assert shown(desk.pump(), 39, 14) == [("8", "1", "40"), ("8", "4", "40")]
        assert order.held is None and not rig.ledger.breaks
        is_sound(rig)


@pytest.mark.parametrize("quantity", [40, 100])
def test_a_fill_after_the_cancel_is_booked_and_a_break(tmp_path: Path, quantity: int) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(cancelled(order), filled(order, quantity))
        assert lots(rig) == quantity // 10 and order.cum_lots == quantity // 10 and order.held is None
        (found,) = rig.ledger.breaks
        assert "after it had ended" in found.text and rig.monitor.breaks == 1
        assert [text(m, 150) for m in desk.pump()] == ["4", "F"]
        is_sound(rig)


def test_an_overfill_is_booked_restricts_the_account_and_is_a_break(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 70, "t1"), filled(order, 70, "t2"))
        account = rig.ledger.accounts["alpha"]
        assert lots(rig) == 14 and order.leaves_lots == 0 and order.held is None
        assert account.state is AccountState.REDUCING
        (found,) = rig.ledger.breaks
        assert "beyond its quantity" in found.text
        rig.hear(filled(order, 10, "t3"))
        assert lots(rig) == 15 and len(rig.ledger.breaks) == 2
        is_sound(rig)


def test_a_halted_account_stays_halted_after_an_overfill(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.pipeline.commit(records.AccountStateMoved("alpha", "halted", "a person"), rig.now_ns)
        rig.hear(filled(order, 200))
        assert rig.ledger.accounts["alpha"].state is AccountState.HALTED and len(rig.ledger.breaks) == 1


STRANGE: dict[str, dict[str, Any]] = {
    "label": {"label": "another's"},
    "no label": {"label": ""},
    "symbol": {"symbol": ETH},
    "side": {"side": "sell"},
    "price": {"price": Decimal(0)},
    "nothing": {"quantity": Decimal(0)},
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_trade_that_is_not_ours_is_a_break_and_no_position(tmp_path: Path, what: str) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(*[msgspec.structs.replace(filled(order, 50), **STRANGE[what])] * 2)
        assert lots(rig) == 0 == lots(rig, ETH) and order.cum_lots == 0 and desk.pump() == []
        assert len(rig.ledger.breaks) == 1  # told once, however often it comes
        is_sound(rig)


def test_what_is_remembered_of_strange_trades_is_bounded(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=4 << 20) as rig:
        _, order = ordered(rig)
        for number in range(STRANGE_TRADES_KEPT + 5):
            rig.hear(filled(order, 50, f"x{number}", label="another's"))
        assert len(rig.executions._strange_trades) <= STRANGE_TRADES_KEPT
        assert len(rig.ledger.breaks) == 1_000 and len(rig.monitor.alerts) == 100


def test_a_fee_in_a_strange_currency_is_a_break(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 50, fee_currency="USDC"))
        assert lots(rig) == 5 and "fee in USDC" in rig.ledger.breaks[0].text


# -- a request racing the end of its order ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["filled", "rejected"])
def test_a_cancel_that_comes_too_late_is_answered(tmp_path: Path, end: str) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=end == "filled")
        desk.cancel("o", cl_ord_id="c")
        rig.hear(filled(order, 100) if end == "filled" else rejected(order))
        report, reject = desk.pump()
        assert text(report, 39) == ("2" if end == "filled" else "8")
        assert shown([reject], 11, 41, 102, 434, 39) == [("9", "c", "o", "0", "1", text(report, 39))]
        rig.hear(events.CancelRejected(order.order_id, 11044, "not_open_order", True))
        assert desk.pump() == []  # and answered once
        is_sound(rig)


def test_a_replace_that_comes_too_late_is_answered(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", cl_ord_id="r", price=58_000)
        rig.hear(filled(order, 100))
        assert shown(desk.pump(), 11, 39, 102, 434) == [("8", "o", "2", "", ""), ("9", "r", "2", "0", "2")]
        rig.hear(events.ReplaceRejected(order.order_id, 10010, "already_closed", True))
        assert desk.pump() == [] and order.replace is None
        is_sound(rig)


@pytest.mark.parametrize("quantity", [50, 200])
def test_fills_while_a_replace_is_on_its_way_hold_the_worse_of_both(tmp_path: Path, quantity: int) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", cl_ord_id="r", quantity=quantity, price=58_000)
        rig.hear(filled(order, 40, "t1"))
        assert (order.held, order.held_alternative) == ((6, 118_000), ((quantity - 40) // 10, 116_000))
        replaced = events.OrderReplaced(order.order_id, "V", Decimal(quantity), Decimal(58_000))
        rig.hear(replaced)
        assert (order.held, order.held_alternative) == (((quantity - 40) // 10, 116_000), None)
        assert order.cl_ord_id == "r" and rig.monitor.replaced == 1
        told = desk.pump()
        assert shown(told, 150, 11, 41, 38, 151) == [
            ("8", "F", "o", "", "100", "60"),
            ("8", "5", "r", "o", str(quantity), str(quantity - 40)),
        ]
        rig.hear(replaced)
        assert desk.pump() == []
        is_sound(rig)


def test_a_fill_of_a_larger_replace_that_was_not_told_yet(tmp_path: Path) -> None:
    """The venue took the replace to 200 and filled 150 before it told: no overfill, and 50 stay held."""
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.desks[0].replace("o", cl_ord_id="r", quantity=200)
        rig.hear(filled(order, 150))
        assert order.is_working and order.held_lots() == 5 and not rig.ledger.breaks
        rig.hear(events.OrderReplaced(order.order_id, "V", Decimal(200), Decimal(59_000)))
        assert order.held == (5, 118_000)
        is_sound(rig)


def test_a_replace_refused_after_its_order_was_filled_to_the_old_quantity(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", cl_ord_id="r", quantity=200)
        desk.cancel("o", cl_ord_id="c")
        rig.hear(filled(order, 100))
        assert order.is_working  # the venue may have taken the 200
        rig.hear(events.ReplaceRejected(order.order_id, 11008, "already_filled", True))
        assert order.status is OrdStatus.FILLED and order.held is None
        assert shown(desk.pump(), 11, 39) == [("8", "o", "1"), ("9", "r", "2"), ("9", "c", "2")]
        is_sound(rig)


def test_a_cancel_that_ends_an_order_filled_to_its_old_quantity(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", cl_ord_id="r", quantity=200)
        rig.hear(filled(order, 100), cancelled(order, 100))
        assert order.status is OrdStatus.FILLED and order.held is None
        assert shown(desk.pump(), 11, 39) == [("8", "o", "1"), ("9", "r", "2")]
        is_sound(rig)


def test_a_replace_with_another_shape_than_asked_for_is_asked_about(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", quantity=200)
        rig.hear(events.OrderReplaced(order.order_id, "V", Decimal(300), Decimal(59_000)))
        assert order.replace is not None and rig.queries == [order.order_id]
        rig.hear(events.OrderReplaced("another's", "V", Decimal(300), Decimal(59_000)))
        is_sound(rig)


def test_a_refusal_that_proves_nothing_leaves_the_request_open(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", cl_ord_id="r", price=58_000)
        rig.hear(events.ReplaceRejected(order.order_id, 13888, "timed_out", False))
        assert order.replace is not None and rig.queries == [order.order_id]
        rig.hear(events.OrderStateReported(state_of(order, "open")))  # it has the old shape
        assert shown(desk.pump(), 11, 434) == [("9", "r", "2")] and order.replace is None
        desk.replace("o", cl_ord_id="s", price=58_000)
        rig.hear(events.OrderOutcomeUnknown(order.order_id, "replace", "lost"))
        rig.hear(events.OrderStateReported(state_of(order, "open", price=Decimal(58_000))))
        assert shown(desk.pump(), 11, 150) == [("8", "s", "5")]
        is_sound(rig)


def test_a_refused_cancel_is_told_and_the_order_works_on(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.cancel("o", cl_ord_id="c")
        rig.hear(events.CancelRejected(order.order_id, 13888, "timed_out", False))
        assert order.is_cancel_pending and desk.pump() == []
        rig.hear(events.CancelRejected(order.order_id, 10041, "settlement_in_progress", True))
        assert shown(desk.pump(), 11, 102, 39) == [("9", "c", "0", "0")]
        assert not order.is_cancel_pending and order.held is not None
        assert desk.cancel("o", cl_ord_id="d") == []  # and may be cancelled again
        rig.hear(events.CancelRejected("another's", 10041, "", True), events.ReplaceRejected("another's", 1, "", True))
        is_sound(rig)


def test_a_refused_cancel_of_our_own_is_not_given_up(tmp_path: Path) -> None:
    """Nobody watches the order any more: an alert, and another attempt as long as the venue shows it."""
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.link.disconnected(rig.now_ns)
        rig.desks.clear()
        rig.link.cancelled.clear()
        rig.hear(events.CancelRejected(order.order_id, 10041, "settlement_in_progress", True))
        assert order.is_cancel_pending and rig.queries == [order.order_id]
        assert any("not cancelled" in alert for alert in rig.monitor.alerts)
        rig.hear(events.OrderStateReported(state_of(order, "open")))
        assert rig.link.cancelled == [order.order_id]
        is_sound(rig)


def test_a_cancel_that_waited_for_an_unknown_order_goes_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=False)
        rig.hear(events.OrderOutcomeUnknown(order.order_id, "place", "lost"))
        desk.cancel("o")
        rig.link.cancelled.clear()
        rig.hear(events.OrderStateReported(state_of(order, "open")))
        assert rig.link.cancelled == [order.order_id]
        rig.hear(events.OrderStateReported(state_of(order, "open")))  # still open: once more
        assert rig.link.cancelled == [order.order_id] * 2
