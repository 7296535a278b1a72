"""Orders of one client never meet: the price structure and the check against a search over every order, both ways."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.exposure import Exposure, PendingReplace, WorkingOrder
from risk.instrument import Side
from risk.order import Order, Reject, RejectReason
from risk.pre_trade import own_orders_are_not_met
from risk.self_trade import ClientOrders, SelfTradePrevention
from tests.strategies import INVERSE, LINEAR, World, order_of, sides, working_order, world

TICKS = st.integers(1, 12)
MIDDLE = 20  # prices are mirrored around it


class Client:
    """Two accounts of one client, and what a search over all of their working orders says."""

    def __init__(self) -> None:
        self.book = ClientOrders()
        self.exposures = [Exposure(0), Exposure(1)]
        self.exposures[0].join(self.book)
        self.count = 0

    def orders(self) -> list[WorkingOrder]:
        return [order for exposure in self.exposures for order in exposure.orders.values()]

    def hold(self, account: int, side: Side, index: int, ticks: int) -> WorkingOrder:
        self.count += 1
        order = working_order(order_of(index, side, 5, ticks=ticks), f"w{self.count}")
        self.exposures[account].hold(order)
        return order

    def met(self, side: Side, index: int, ticks: int) -> list[tuple[int, str]]:
        """Every price that could be traded at, with its order."""
        met = []
        for order in self.orders():
            shapes = [held for held in (order.held, order.held_alternative) if held is not None]
            for _, price in shapes:
                crosses = price <= ticks if side is Side.BUY else price >= ticks
                if order.instrument.index == index and order.side is not side and crosses:
                    met.append((price, order.order_id))
        return met


# (what, account, side, instrument, ticks or which order, ticks of a replacement)
steps = st.lists(
    st.tuples(
        st.sampled_from(["hold", "release", "replace", "join"]),
        st.integers(0, 1), sides, st.sampled_from([LINEAR, INVERSE]), TICKS, TICKS,
    ),
    max_size=25,
)  # fmt: skip


def play(what: list[tuple[str, int, Side, int, int, int]], *, mirrored: bool = False) -> Client:
    client = Client()
    has_joined = False
    for kind, account, side, index, ticks, other_ticks in what:
        if mirrored:
            side, ticks, other_ticks = Side(3 - side), MIDDLE - ticks, MIDDLE - other_ticks
        orders = client.orders()
        if kind == "hold":
            client.hold(account, side, index, ticks)
        elif kind == "join" and not has_joined:
            has_joined = True
            client.exposures[1].join(client.book)
        elif orders and kind in ("release", "replace"):
            order = orders[(account + side) % len(orders) if not mirrored else (account + 3 - side) % len(orders)]
            exposure = next(e for e in client.exposures if order.order_id in e.orders)
            exposure.release(order)
            if kind == "replace":
                order.replace = PendingReplace("r", 9, other_ticks)
                exposure.hold(order)
    if not has_joined:
        client.exposures[1].join(client.book)
    return client


@given(steps, sides, st.sampled_from([LINEAR, INVERSE]), TICKS)
def test_what_would_be_met_is_what_a_search_finds(
    what: list[tuple[str, int, Side, int, int, int]], side: Side, index: int, ticks: int
) -> None:
    client = play(what)
    met = client.met(side, index, ticks)
    best = (min if side is Side.BUY else max)((price for price, _ in met), default=None)
    assert client.book.met_at(side, index, ticks) == best
    found = [order.order_id for order in client.book.met_by(side, index, ticks)]
    assert sorted(found) == sorted({order_id for _, order_id in met})


@given(steps, sides, st.sampled_from([LINEAR, INVERSE]), TICKS)
def test_buy_and_sell_are_mirror_images(
    what: list[tuple[str, int, Side, int, int, int]], side: Side, index: int, ticks: int
) -> None:
    client, mirror = play(what), play(what, mirrored=True)
    best = client.book.met_at(side, index, ticks)
    mirrored = mirror.book.met_at(Side(3 - side), index, MIDDLE - ticks)
    assert mirrored == (None if best is None else MIDDLE - best)
    there = {order.order_id for order in client.book.met_by(side, index, ticks)}
    assert {order.order_id for order in mirror.book.met_by(Side(3 - side), index, MIDDLE - ticks)} == there


def test_prices_that_nobody_has_any_more_take_no_room() -> None:
    client = Client()
    for ticks in range(1, 2_000):
        order = client.hold(0, Side.SELL, LINEAR, ticks)
        client.exposures[0].release(order)
        assert client.book.met_at(Side.BUY, LINEAR, 10_000) is None
    prices = client.book._sells[LINEAR]
    assert len(prices.heap) <= 1 and len(prices.counts) <= 1


def test_an_account_is_one_clients() -> None:
    client = Client()
    with pytest.raises(AssertionError, match="one client"):
        client.exposures[0].join(ClientOrders())


# -- the check -------------------------------------------------------------------------------------------------------


def joined(prevention: SelfTradePrevention) -> tuple[World, Exposure]:
    """A world whose account shares a client with another account's exposure."""
    w, book, other = world(), ClientOrders(), Exposure(2)
    w.account.exposure.join(book)
    other.join(book)
    w.account.self_trade_prevention = prevention
    return w, other


def resting(exposure: Exposure, side: Side, ticks: int, venue_order_id: str = "V") -> WorkingOrder:
    order = msgspec.structs.replace(
        working_order(order_of(LINEAR, side, 5, ticks=ticks)), venue_order_id=venue_order_id
    )
    exposure.hold(order)
    return order


def answer(w: World, order: Order) -> RejectReason | None:
    reject = own_orders_are_not_met(order, w.account, w.market)
    assert reject is None or (reject.check == "own_orders_are_not_met" and reject.text)
    return None if reject is None else reject.reason


@pytest.mark.parametrize(("side", "is_own", "apart"), list(product(Side, (True, False), (-1, 0, 1))))
def test_only_what_would_trade_is_refused(side: Side, is_own: bool, apart: int) -> None:
    w, other = joined(SelfTradePrevention.REJECT)
    order = order_of(LINEAR, side)
    sign = 1 if side is Side.BUY else -1
    resting(w.account.exposure if is_own else other, Side(3 - side), order.ticks + sign * apart)
    assert answer(w, order) == (None if apart > 0 else RejectReason.SELF_TRADE)
    assert answer(w, order_of(LINEAR, Side(3 - side))) is None  # the same side meets nothing
    assert answer(w, order_of(INVERSE, side)) is None


def test_the_refusal_names_both_prices() -> None:
    w, other = joined(SelfTradePrevention.REJECT)
    order = order_of(LINEAR, Side.BUY)
    resting(other, Side.SELL, order.ticks - 4)
    resting(w.account.exposure, Side.SELL, order.ticks - 2)
    reject = own_orders_are_not_met(order, w.account, w.market)
    assert isinstance(reject, Reject) and order.instrument is not None
    tick = order.instrument.tick
    assert (reject.limit, reject.observed) == ((order.ticks - 4) * tick, order.ticks * tick)


@pytest.mark.parametrize(
    ("prevention", "named", "reason"),
    [
        (SelfTradePrevention.OFF, True, None),
        (SelfTradePrevention.OFF, False, None),
        (SelfTradePrevention.CANCEL_RESTING, True, None),
        (SelfTradePrevention.CANCEL_RESTING, False, RejectReason.SELF_TRADE),
        (SelfTradePrevention.REJECT, True, RejectReason.SELF_TRADE),
    ],
)
@pytest.mark.parametrize("side", list(Side))
def test_what_an_account_wants_decides(
    side: Side, prevention: SelfTradePrevention, named: bool, reason: RejectReason | None
) -> None:
    w, other = joined(prevention)
    order = order_of(LINEAR, side)
    resting(other, Side(3 - side), order.ticks, "V" if named else "")
    assert answer(w, order) == reason


def test_an_account_of_nobody_meets_nobody() -> None:
    w = world()
    w.account.self_trade_prevention = SelfTradePrevention.REJECT
    w.working(order_of(LINEAR, Side.SELL))
    assert answer(w, order_of(LINEAR, Side.BUY)) is None


@pytest.mark.parametrize("side", list(Side))
def test_either_shape_of_a_pending_replace_is_met(side: Side) -> None:
    w, other = joined(SelfTradePrevention.REJECT)
    order = order_of(LINEAR, side)
    sign = 1 if side is Side.BUY else -1
    there = resting(other, Side(3 - side), order.ticks + sign * 10)
    assert answer(w, order) is None
    other.release(there)
    there.replace = PendingReplace("r", 5, order.ticks)
    other.hold(there)
    assert answer(w, order) is RejectReason.SELF_TRADE
    other.release(there)
    there.ticks, there.replace = order.ticks + sign * 20, None
    other.hold(there)
    assert answer(w, order) is None
