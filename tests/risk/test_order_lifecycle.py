"""Every legal row and every illegal pair of the order table, and a fill's way through order, account and kernel."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.exposure import PendingReplace
from risk.instrument import Side
from risk.lifecycle import TABLE, WORKING, Happening, IllegalTransitionError, OrdStatus, next_status
from tests.strategies import LINEAR, NOW_NS, fresh_kernel_row, order_of, working_order, world

# status: what each happening (in the order of COLUMNS) leads to; "-" can not happen.
COLUMNS = ("ACCEPTED", "PARTLY_FILLED", "FILLED", "CANCELLED", "EXPIRED", "REJECTED", "LOST")
ROWS = {
    "PENDING_NEW": "NEW PARTIALLY_FILLED FILLED CANCELED EXPIRED REJECTED UNKNOWN",
    "UNKNOWN": "NEW PARTIALLY_FILLED FILLED CANCELED EXPIRED REJECTED UNKNOWN",
    "NEW": "NEW PARTIALLY_FILLED FILLED CANCELED EXPIRED - -",
    "PARTIALLY_FILLED": "PARTIALLY_FILLED PARTIALLY_FILLED FILLED CANCELED EXPIRED - -",
    "FILLED": "FILLED - - - - - -",
    "CANCELED": "CANCELED CANCELED FILLED CANCELED - - -",
    "EXPIRED": "EXPIRED EXPIRED FILLED - EXPIRED - -",
    "REJECTED": "- - - - - - -",
}
PAIRS = {
    (OrdStatus[status], Happening[happening]): None if to == "-" else OrdStatus[to]
    for status, row in ROWS.items()
    for happening, to in zip(COLUMNS, row.split(), strict=True)
}


def test_the_expectation_covers_every_pair() -> None:
    assert set(PAIRS) == set(product(OrdStatus, Happening))
    assert {pair: to for pair, to in PAIRS.items() if to is not None} == TABLE


@pytest.mark.parametrize(("pair", "to"), PAIRS.items(), ids=lambda p: "-".join(map(str, p)) if type(p) is tuple else p)
def test_every_pair(pair: tuple[OrdStatus, Happening], to: OrdStatus | None) -> None:
    order = working_order(order_of())
    order.status = pair[0]
    if to is not None:
        assert next_status(*pair) is to
        order.happen(pair[1])
        assert order.status is to
        assert order.is_working is (to in WORKING)
        return
    with pytest.raises(IllegalTransitionError, match=f"{pair[0].name} can not be {pair[1].value}"):
        order.happen(pair[1])
    assert order.status is pair[0]


@given(st.lists(st.sampled_from(list(Happening)), max_size=8))
def test_no_sequence_brings_an_ended_order_back(happenings: list[Happening]) -> None:
    status, has_ended = OrdStatus.PENDING_NEW, False
    for happening in happenings:
        to = TABLE.get((status, happening))
        if to is None:
            continue
        assert not (has_ended and to in WORKING)
        status, has_ended = to, to not in WORKING


class TestFills:
    """What a fill does in each status, told by the account (10 lots to buy at the mark of 200 000 ticks)."""

    def test_before_the_acknowledgement(self) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        w.account.apply_fill(order, 4, 200_000, 7)
        assert (order.status, order.cum_lots, order.leaves_lots) == (OrdStatus.PARTIALLY_FILLED, 4, 6)
        order.happen(Happening.ACCEPTED)
        assert order.status is OrdStatus.PARTIALLY_FILLED
        assert w.account.exposure.buy_lots[LINEAR] == 6
        w.account.apply_fill(order, 6, 199_999, 7)
        assert (order.status, order.leaves_lots, order.held) == (OrdStatus.FILLED, 0, None)
        assert order.cum_lot_ticks == 4 * 200_000 + 6 * 199_999
        assert w.account.exposure.orders == {}
        assert w.account.position_lots(LINEAR) == 10

    def test_while_the_answer_is_unknown(self) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        order.happen(Happening.LOST)
        assert order.held == (10, 200_000)
        assert order.leaves_lots == 10
        w.account.apply_fill(order, 10, 200_000, 0)
        assert order.status is OrdStatus.FILLED

    @pytest.mark.parametrize(("lots", "status"), [(4, OrdStatus.CANCELED), (10, OrdStatus.FILLED)])
    def test_after_the_cancel(self, lots: int, status: OrdStatus) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        order.happen(Happening.CANCELLED)
        w.account.exposure.release(order)
        w.account.apply_fill(order, lots, 200_000, 0)
        assert (order.status, order.held, order.leaves_lots) == (status, None, 0)
        assert w.account.position_lots(LINEAR) == lots
        assert w.account.exposure.orders == {}
        assert fresh_kernel_row(w.account)[1] == pytest.approx(w.kernel.row(1, 1).tolist())

    def test_beyond_its_quantity_in_one_fill(self) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        w.account.apply_fill(order, 13, 200_000, 0)
        assert (order.status, order.cum_lots, order.leaves_lots) == (OrdStatus.FILLED, 13, 0)
        assert w.account.position_lots(LINEAR) == 13
        assert w.account.exposure.buy_lots[LINEAR] == 0

    @pytest.mark.parametrize("status", [OrdStatus.FILLED, OrdStatus.REJECTED])
    def test_that_can_not_be_changes_nothing_and_can_be_booked_alone(self, status: OrdStatus) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        w.account.exposure.release(order)
        order.status = status
        cash = dict(w.account.cash_units)
        with pytest.raises(IllegalTransitionError):
            w.account.apply_fill(order, 1, 200_000, 0)
        assert (order.cum_lots, w.account.positions, w.account.cash_units) == (0, {}, cash)
        w.account.book_fill(order.instrument, order.side, 1, 200_000, 0)
        assert w.account.position_lots(LINEAR) == 1
        assert fresh_kernel_row(w.account)[1] == pytest.approx(w.kernel.row(1, 1).tolist())

    @pytest.mark.parametrize(("lots", "ticks"), [(0, 1), (-1, 1), (1, 0), (1, -5)])
    def test_of_no_positive_lots_or_price_is_refused_whole(self, lots: int, ticks: int) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        row = w.kernel.row(1, 1).tolist()
        with pytest.raises(ValueError, match="can not be"):
            w.account.apply_fill(order, lots, ticks, 0)
        assert (order.status, order.held) == (OrdStatus.PENDING_NEW, (10, 200_000))
        assert w.kernel.row(1, 1).tolist() == row

    def test_of_the_old_size_keeps_the_rest_of_a_pending_replace_held(self) -> None:
        # The venue took the replace from 10 to 25 and filled 10 before it told: 15 are still working there.
        w = world()
        order = w.working(order_of(lots=10))
        order.happen(Happening.ACCEPTED)
        w.account.exposure.release(order)
        order.replace = PendingReplace("c2", 25, 199_000)
        w.account.exposure.hold(order)
        w.account.apply_fill(order, 10, 199_000, 0)
        assert (order.status, order.leaves_lots) == (OrdStatus.PARTIALLY_FILLED, 0)
        assert (order.held, order.held_alternative) == ((0, 200_000), (15, 199_000))
        assert w.account.exposure.buy_lots[LINEAR] == 15
        assert fresh_kernel_row(w.account)[1] == pytest.approx(w.kernel.row(1, 1).tolist())
        w.account.apply_fill(order, 15, 199_000, 0)
        assert (order.status, order.held) == (OrdStatus.FILLED, None)
        assert w.account.exposure.orders == {}

    def test_a_pending_replace_to_less_does_not_end_the_order_early(self) -> None:
        w = world()
        order = w.working(order_of(lots=10))
        order.replace = PendingReplace("c2", 3, 199_000)
        w.account.apply_fill(order, 3, 199_000, 0)
        assert (order.leaves_lots, order.alternative_lots) == (7, 0)
        assert (order.held, order.held_alternative) == ((7, 200_000), None)

    def test_fills_of_both_sides_mirror(self) -> None:
        buyer, seller = world(), world()
        for w, side in ((buyer, Side.BUY), (seller, Side.SELL)):
            order = w.working(order_of(LINEAR, side, 10, received_ns=NOW_NS))
            w.account.apply_fill(order, 4, 200_000, 0)
        assert buyer.account.position_lots(LINEAR) == -seller.account.position_lots(LINEAR) == 4
        assert buyer.account.exposure.buy_lots == seller.account.exposure.sell_lots == {LINEAR: 6}
        opening = 1_000_000 * 10**8
        assert opening - buyer.account.cash_units["USDC"] == seller.account.cash_units["USDC"] - opening > 0
