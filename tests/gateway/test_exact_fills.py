"""Fills of no whole lots or ticks: position, cash and reports are the venue's to the last digit; none is ever lost."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from gateway.records.settlements import FilledExactly
from protocols.venues import events
from risk.account import AccountState
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from tests.gateway.rig import BTC, Desk, Rig, accepted, cancelled, filled, opened, shown


def ordered(rig: Rig, side: str = "1") -> tuple[Desk, WorkingOrder]:
    desk = rig.desk().log_on()
    desk.order(side=side, price="59000" if side == "1" else "61000")
    order = rig.only_order()
    rig.hear(accepted(order))
    desk.pump()
    return desk, order


def told(order: WorkingOrder, quantity: str, price: str, trade_id: str = "t1") -> events.OrderFilled:
    known = filled(order, 0, trade_id, price=Decimal(price), fee=Decimal(0))
    return msgspec.structs.replace(known, quantity=Decimal(quantity))


@pytest.mark.parametrize(("side", "sign"), [("1", 1), ("2", -1)])
def test_a_price_between_ticks_is_booked_as_it_is(tmp_path: Path, side: str, sign: int) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, side)
        account = rig.ledger.accounts["alpha"]
        before = account.cash_units["BTC"]
        rig.hear(told(order, "100", "59000.123"), told(order, "100", "59000.123"))
        worth = Decimal(100) * 10**8 / Decimal("59000.123")
        assert account.cash_units["BTC"] - before == int((sign * worth).to_integral_value("ROUND_FLOOR"))
        assert account.position_lots(order.instrument.index) == sign * 10
        assert order.status is OrdStatus.FILLED and len(rig.of_type(FilledExactly)) == 1
        assert shown(desk.pump(), 150, 39, 31, 32, 6, 14, 151) == [
            ("8", "F", "2", "59000.123", "100", "59000.123", "100", "0")
        ]
        assert not rig.ledger.breaks and account.state is AccountState.TRADING
        rig.check_holds()
        rig.check_replay()


def test_less_than_a_lot_is_held_to_the_last_digit_and_a_person_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        account, index = rig.ledger.accounts["alpha"], order.instrument.index
        rig.hear(told(order, "14.5", "59000", "t1"))
        assert (account.position_lots(index), order.cum_lots, order.leaves_lots) == (1, 1, 9)
        assert shown(desk.pump(), 39, 31, 32, 6, 14, 151) == [("8", "1", "59000", "14.5", "59000", "14.5", "85.5")]
        assert account.positions[index].odd_quantity == Decimal("4.5") and "no whole lots" in rig.ledger.breaks[0].text
        assert rig.ledger.venue_quantities("deribit")[BTC] == Decimal("14.5")
        states = (events.PositionState(BTC, Decimal("14.5"), Decimal(59_000)),)
        rig.hear(events.PositionsReported("BTC", states, True), events.ReconcileFinished())
        assert not rig.executions.must_ask_again and len(rig.ledger.breaks) == 1
        worst = rig.core.market.kernel.worst(account.index)
        rig.core.valuation.run(rig.now_ns)  # the next generation is written from the book, and agrees
        assert rig.core.market.kernel.worst(account.index) == pytest.approx(worst, rel=1e-9)
        rig.hear(filled(order, 50, "t2", price=Decimal(58_000)), told(order, "35.5", "58000.25", "t3"))
        assert order.status is OrdStatus.FILLED and account.positions[index].quantity == 100
        assert account.position_lots(index) == 10 and order.cum_lots == 10
        last = shown(desk.pump(), 39, 32, 6, 14, 151)[-1]
        value = Decimal("14.5") * 59_000 + 50 * 58_000 + Decimal("35.5") * Decimal("58000.25")
        assert last[:3] == ("8", "2", "35.5") and last[4:] == ("100", "0")
        assert Decimal(last[3]) == (value / 100).quantize(Decimal("0.0000005"), "ROUND_FLOOR")
        rig.check_holds()
        rig.check_replay()


def test_what_is_left_of_a_cancelled_order_is_released(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(told(order, "14.5", "59000"), cancelled(order, 10))
        assert order.status is OrdStatus.CANCELED and order.held is None
        assert shown(desk.pump(), 39, 14, 151)[-1] == ("8", "4", "14.5", "0")
        rig.hear(told(order, "5.5", "59000", "t2"))  # after its end: booked, and a break
        assert rig.ledger.accounts["alpha"].positions[order.instrument.index].quantity == 20
        assert "after it had ended" in rig.ledger.breaks[-1].text
        rig.check_holds()
        rig.check_replay()


def test_beyond_its_quantity_by_less_than_a_lot(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(told(order, "100.5", "59000"))
        assert order.status is OrdStatus.FILLED and "beyond its quantity" in rig.ledger.breaks[-1].text
        assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
        rig.check_replay()


def test_such_a_trade_is_told_exactly_and_taken_back_by_a_person(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(told(order, "14.5", "59000.123"))
        desk.pump()
        asked = desk.send("AD", (568, "r1"), (569, "0"), (263, "0"))
        assert shown(asked, 31, 32)[-1] == ("AE", "59000.123", "14.5")
        rig.hear(events.TradeBusted("t1"), events.TradeCorrected("t1", Decimal(10), Decimal(59_000), Decimal(0)))
        assert [one.text.partition(" was ")[2][:9] for one in list(rig.ledger.breaks)[1:]] == ["busted: i", "corrected"]
        assert rig.ledger.accounts["alpha"].positions[order.instrument.index].quantity == Decimal("14.5")
        rig.check_replay()


def test_funding_and_delivery_of_what_is_less_than_a_lot(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(told(order, "14.5", "59000"))
        account, index = rig.ledger.accounts["alpha"], order.instrument.index
        rig.hear(events.FundingBooked(BTC, "f1", Decimal("-0.00000100"), "BTC", rig.now_ns + 1))
        before = account.cash_units["BTC"]
        rig.hear(events.ContractDelivered(BTC, "d1", Decimal(60_000), Decimal(0), "", rig.now_ns + 2))
        worth = Decimal("14.5") * 10**8 / 60_000
        assert account.cash_units["BTC"] - before == int((-worth).to_integral_value("ROUND_FLOOR"))
        assert account.positions[index].quantity == 0
        rig.check_replay()
