"""A private notice that never came, of a fill that no backfill reaches: the orders that are believed open are asked.

OKX seed 116 of the storm in tests/fixtures/test_unified_codecs.py: trades are asked for from five seconds before the
last one that was seen, and the lost one is older.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.venues.core.faults import Fault
from gateway.venues.order_watch import PACE_NS, OrderWatch
from protocols.fix.codec import format_timestamp
from risk.exposure import WorkingOrder
from risk.lifecycle import OrdStatus
from tests.simulated_client import NEW_ORDER
from tests.simulated_wires import KINDS_SIMULATED, SYMBOLS, LaneWire
from tests.simulator import MS, World

S = 1_000 * MS
# Of BTCUSDT and its like: the first symbol of each venue, and lots of it that are worth more than the venue's least.
QUANTITY = b"0.02"


class Calm:
    """A world with one venue besides Deribit, without faults, whose clients do what the test says."""

    def __init__(self, directory: Path, kind: str, check_ns: int) -> None:
        self.world = World(1, directory, faults=False, others=(kind,))
        self.wire: LaneWire = self.world.wires[0]
        self.wire.link._watch = OrderWatch(check_ns)
        self.symbol = self.wire.link.symbols.house(SYMBOLS[kind][0])
        for client in self.world.clients:
            client.is_trading = False
            client.connect()
        self.until(lambda: self.wire.is_at_rest() and self.world.core.valuation.generation is not None)
        self.until(lambda: len(self.world.core.valuation.generation.values) > 1)  # type: ignore[union-attr]

    def until(self, condition: Callable[[], object], limit_s: int = 40) -> None:
        end_ns = self.world.now_ns + limit_s * S
        while not condition():
            assert self.world.now_ns < end_ns, "it never came true"
            self.world._run_until(self.world.now_ns + 10 * MS)

    def order(self, factor: float, tif: bytes, side: bytes) -> WorkingOrder:
        """ALPHA orders at a price that is so far from the mark; it is acknowledged, or has ended."""
        client, ledger = self.world.clients[0], self.world.core.ledger
        instrument = ledger.by_symbol[self.symbol]
        mark = self.world.core.market.marks[instrument.index]
        assert mark is not None
        price = instrument.price(instrument.step_down(int(mark.price * factor / instrument.tick)))
        now = format_timestamp(self.world.now_ns)
        count = ledger.order_count
        values = (b"alpha", client._next_id().encode(), None, QUANTITY, b"2", f"{price}".encode(), side,
                  self.symbol.encode(), tif, now)  # fmt: skip
        client._send(NEW_ORDER, values)
        client._pump()
        self.until(lambda: ledger.order_count == count + 1)
        order = list(ledger.orders.values())[-1]
        self.until(lambda: order.venue_order_id or not order.is_working)
        return order

    def fill_unheard(self, share: float) -> None:
        """Somebody trades with our one working order, and no notice of it arrives."""
        venue, faults, now = self.wire.venue, self.wire.faults, self.world.now_ns
        (theirs,) = self.wire.account.open_orders.values()
        listing, reach = theirs.listing, 0
        for ticks, lots in listing.book.depth(theirs.side):
            reach += lots
            if ticks == theirs.price_ticks:
                break
        faults.probability[Fault.NOTIFICATION_LOST] = 1.0
        faults.occasions[Fault.NOTIFICATION_LOST] = faults.committed[Fault.NOTIFICATION_LOST] = 0
        before = len(self.wire.account.trades)
        venue.makers.hit(listing, -theirs.side, reach - int(theirs.amount_lots * (1 - share)), now, theirs.price_ticks)
        venue._flush(now)
        faults.probability.clear()
        assert len(self.wire.account.trades) == before + 1 and faults.committed[Fault.NOTIFICATION_LOST]

    def lose_lane(self) -> None:
        """The network takes the private connection away."""
        conn = self.wire.conns["private"]
        self.wire.venue.disconnect(conn, self.world.now_ns)
        self.wire._lost(conn)

    def has_all(self) -> bool:
        """Whether every trade of the venue, and so the position, is booked."""
        ledger, kind = self.world.core.ledger, self.wire.kind
        lots = {symbol: n for symbol, n in ledger.venue_lots(kind).items() if n}
        ours = {symbol: ledger.by_symbol[symbol].quantity(n) for symbol, n in lots.items()}
        return all(ledger.knows_trade(kind, trade) for trade in self.wire.trades()) and ours == self.wire.positions()


@pytest.mark.parametrize("kind", KINDS_SIMULATED)
@pytest.mark.parametrize(
    ("share", "how", "side"),
    [(0.5, "asked", b"1"), (1.0, "asked", b"2"), (0.5, "reconnected", b"2"), (1.0, "reconnected", b"1")],
    ids=["part of a buy, asked", "a sell, asked", "part of a sell, reconnected", "a buy, reconnected"],
)
def test_a_lost_fill_older_than_the_backfill_is_recovered(
    tmp_path: Path, kind: str, share: float, how: str, side: bytes
) -> None:
    calm = Calm(tmp_path, kind, 12 * S if how == "asked" else 0)
    factor, crossing = (0.9995, 1.002) if side == b"1" else (1.0005, 0.998)
    resting = calm.order(factor, b"1", side)
    calm.fill_unheard(share)
    calm.until(lambda: calm.world.now_ns >= calm.wire.venue.start_ns + 9 * S)
    assert not calm.has_all() and not resting.cum_lots
    taken = calm.order(crossing, b"3", side)  # a trade that is seen: what is asked for begins shortly before it
    calm.until(lambda: taken.cum_lots)
    assert not calm.has_all() and not resting.cum_lots
    if how == "reconnected":
        calm.lose_lane()
    calm.until(calm.has_all)
    # The market may have come to the rest of it meanwhile.
    assert resting.cum_lots >= int(resting.lots * share) and (share < 1.0 or resting.status is OrdStatus.FILLED)
    assert not calm.world.core.ledger.breaks
    calm.world.journal.close()


def test_orders_are_asked_about_in_rounds_one_at_a_time() -> None:
    watch, orders = OrderWatch(60 * S), ["a", "b", "c"]
    assert watch.deadline_ns is None and watch.due(0, lambda: orders) is None
    watch.begin(0)
    assert watch.due(60 * S - 1, lambda: orders) is None
    asked, now = [], 60 * S
    for _ in range(6):
        asked.append((now, watch.due(now, lambda: orders)))
        assert watch.deadline_ns is not None
        now = watch.deadline_ns
    first, later = 60 * S, 120 * S + 2 * PACE_NS
    assert asked == [
        (at + n * PACE_NS, name) for at in (first, later) for n, name in enumerate(orders)
    ]  # fmt: skip
    watch.end()
    assert watch.deadline_ns is None
    watch.begin(0)
    assert watch.due(60 * S, list) is None and watch.deadline_ns == 120 * S


def test_no_orders_are_asked_about_where_that_is_switched_off() -> None:
    watch = OrderWatch(0)
    watch.begin(5)
    assert watch.deadline_ns is None and watch.due(10**18, lambda: ["a"]) is None
