"""An account that is being adjusted is brought collateral before anything of it is sold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from gateway.margin.adjustments import COLLATERAL_WAIT_NS, INTERNAL
from gateway.records import guards as records
from risk.adjust import Rung
from risk.margin_states import MarginState
from tests.gateway.readers import BookFeed
from tests.gateway.rig import BTC, MS, SECOND, accepted, cancelled
from tests.gateway.transfer_rig import COLLATERAL, WHOLE, TransferFloor, transfer_floor

FALLEN = 52_000.0


class Adjusted:
    """Alpha is long; its market falls to where it must be adjusted, and its books are full."""

    def __init__(self, desk: TransferFloor) -> None:
        self.desk, self.feed = desk, BookFeed(desk.rig)
        desk.buy()
        desk.run(1)
        self.lots = self.held()
        self.price = 60_000.0

    def held(self) -> int:
        return int(self.desk.rig.ledger.accounts["alpha"].position_lots(0))

    def fall(self, price: float = FALLEN) -> None:
        self.price = price
        self.books()
        self.desk.move(price)

    def books(self) -> None:
        size = Decimal(1_000_000)
        bids = [(Decimal(str(self.price - 0.5 * (1 + n))), size) for n in range(5)]
        asks = [(Decimal(str(self.price + 0.5 * (1 + n))), size) for n in range(5)]
        self.feed.set(BTC, bids, asks)

    def seconds(self, count: float) -> None:
        """Time goes by; the watch, transfers and adjustments have their turns; what is sold is not bought."""
        for _ in range(int(count * 4)):
            desk = self.desk
            desk.run(0.25, turn_ms=250)
            self.books()
            desk.rig.core.run_markets(desk.rig.now_ns)
            for order in list(desk.rig.ledger.working_orders()):
                if order.session == INTERNAL:
                    desk.rig.hear(accepted(order), cancelled(order, 0))

    def rungs(self) -> list[int]:
        return [record.rung for record in self.desk.rig.of_type(records.AdjustmentStepped)]

    def tried(self) -> int:
        """Orders of the gateway's own that were sent."""
        return sum(1 for order in self.desk.rig.ledger.orders.values() if order.session == INTERNAL)

    @property
    def state(self) -> MarginState:
        return self.desk.watch.state


@contextmanager
def adjusted(directory: Path, collateral: str = COLLATERAL, **options: object) -> Iterator[Adjusted]:
    with transfer_floor(directory, collateral=collateral, **options) as desk:  # type: ignore[arg-type]
        yield Adjusted(desk)


def test_an_adjusting_account_is_cured_by_collateral_and_nothing_is_sold(tmp_path: Path) -> None:
    with adjusted(tmp_path) as one:
        one.fall()
        assert one.state is MarginState.ADJUSTING
        one.seconds(6)
        assert one.state is not MarginState.ADJUSTING and one.desk.rig.ledger.adjustments == {}
        assert one.held() == one.lots and one.tried() == 0
        assert one.rungs() == [int(Rung.COLLATERAL)], "asked for once"
        assert one.desk.states() == ["settled"]
        ended = one.desk.rig.of_type(records.AdjustmentEnded)
        assert [record.outcome for record in ended] in (["cured"], ["stopped"])
        one.desk.check()
        one.desk.check_agreed()


def test_without_routes_the_same_account_is_sold(tmp_path: Path) -> None:
    with adjusted(tmp_path) as one:
        one.desk.rig.core.adjustments.transfers = None
        one.desk.is_cut = True
        one.fall()
        one.seconds(3)
        assert int(Rung.REDUCE) in one.rungs() and one.tried() > 0


def test_what_collateral_does_not_cover_does_not_wait(tmp_path: Path) -> None:
    """Less may come than is short: the rest is reduced while it is on its way."""
    little = COLLATERAL.replace("automatic_usd = 1000", "automatic_usd = 40")
    with adjusted(tmp_path, little) as one:
        one.desk.is_cut = True
        one.fall()
        one.seconds(4)
        assert one.rungs()[0] == int(Rung.COLLATERAL) and int(Rung.REDUCE) in one.rungs()
        assert one.rungs().count(int(Rung.COLLATERAL)) == 1


def test_what_does_not_come_is_counted_on_for_a_minute_and_no_longer(tmp_path: Path) -> None:
    with adjusted(tmp_path) as one:
        desk = one.desk
        desk.is_cut = True
        one.fall()
        one.seconds(COLLATERAL_WAIT_NS / SECOND - 1)
        assert one.tried() == 0 and desk.states() == ["unknown"]
        one.seconds(5)
        assert one.tried() > 0, "then it goes on without"
        assert len(desk.orders()) == 1


def test_a_crash_between_asks_for_nothing_twice(tmp_path: Path) -> None:
    with adjusted(tmp_path) as one:
        desk = one.desk
        one.fall()
        one.seconds(1)
        assert one.rungs() == [int(Rung.COLLATERAL)] and len(desk.orders()) == 1
        desk.crash(later_s=1)
        one.feed = BookFeed(desk.rig)
        one.books()
        desk.move(FALLEN)
        one.seconds(8)
        assert len(desk.orders()) == 1 and desk.states() == ["settled"] and one.held() == one.lots
        assert desk.rig.now_ns % MS == 0
        desk.check()
        assert desk.orders()[0].terms.units % WHOLE == 0
