"""A venue's book that is compared while it is traded on: what is on its way is no break, and what differs is found."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.clearing.venue_looks import PAUSES_NS, PUT_OFF_AT_MOST, STILL_NS
from gateway.records.clearing import BreakOpened
from protocols.venues import events
from risk.account import AccountState
from tests.gateway.rig import BTC, CONFIG, MS, SECOND, Rig, accepted, filled, opened, positions

INTERVAL_S = 10
TEXT = CONFIG + f"[reconciliation]\nvenue_interval_s = {INTERVAL_S}\n"
STEP_NS = 10 * MS


class Flow(NamedTuple):
    """Fills of 100 each, at these times of a round, and how much later the positions after them are told."""

    round_ms: int
    fills_ms: tuple[int, ...]
    sides: str  # of fills, again and again: b, s
    lag_ms: int


LATE = Flow(500, (0,), "b", 300)
RESTS = {
    "late": LATE,
    "late_both_ways": Flow(500, (0,), "bs", 400),
    "in_step_with_looks": Flow(1000, (0,), "bs", 700),
    "one_way_in_step_with_looks": Flow(1000, (0,), "s", 800),
    "ahead": Flow(500, (0,), "bs", -40),
    "bursts": Flow(1000, (0, 30, 60, 90, 120), "bbsbs", 350),
}
NEVER_RESTS = {"always_on_its_way": Flow(200, (0,), "bs", 500), "one_way": Flow(200, (0,), "b", 300)}


class Venue:
    """The simulated venue's side of the rig: one order each way, filled bit by bit, and a stream of positions."""

    def __init__(self, rig: Rig, flow: Flow, begin_ms: int) -> None:
        self.rig, self.flow, self.begin_ns = rig, flow, rig.now_ns
        self.calls: list[tuple[int, int, Callable[[], None]]] = []
        self.count = self.trade_count = 0
        self.quantity = 0  # at the venue
        desk = rig.desk().log_on()
        desk.order(quantity=20_000, price=59_000)
        desk.order(quantity=20_000, price=61_000, side=2)
        self.buy, self.sell = rig.ledger.orders.values()
        rig.hear(accepted(self.buy), accepted(self.sell), positions("BTC", {}), events.ReconcileFinished())
        rig.now_ns += begin_ms * MS

    def call_at(self, at_ns: int, call: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.calls, (at_ns, self.count, call))

    def trade(self, for_s: float) -> None:
        """Fills for so long, with whatever is told of them."""
        flow, start = self.flow, 1 * SECOND + self.begin_ns
        rounds = int(for_s * 1000) // flow.round_ms
        for number, at_ms in enumerate(n * flow.round_ms + at_ms for n in range(rounds) for at_ms in flow.fills_ms):
            at_ns, is_buy = start + at_ms * MS, flow.sides[number % len(flow.sides)] == "b"
            self.call_at(at_ns, lambda is_buy=is_buy: self.fill(is_buy))  # type: ignore[misc]
            self.call_at(at_ns + flow.lag_ms * MS, lambda is_buy=is_buy: self.tell(100 if is_buy else -100))  # type: ignore[misc]

    def fill(self, is_buy: bool) -> None:
        self.trade_count += 1
        order = self.buy if is_buy else self.sell
        self.rig.hear(filled(order, 100, f"t{self.trade_count}", time_ns=self.rig.now_ns))

    def tell(self, moved: int) -> None:
        """The position as it is after a trade: ours, or one that nobody tells us of."""
        self.quantity += moved
        state = events.PositionState(BTC, Decimal(self.quantity), Decimal(60_000))
        self.rig.hear(events.PositionsReported("", (state,), False))

    def run(self, until_s: float) -> None:
        """Let both sides do what is due, up to a time after the beginning."""
        rig, end_ns = self.rig, self.begin_ns + int(until_s * SECOND)
        while rig.now_ns < end_ns:
            rig.now_ns += STEP_NS
            while self.calls and self.calls[0][0] <= rig.now_ns:
                heapq.heappop(self.calls)[2]()
            if rig.core.reconciler.deadline_ns <= rig.now_ns:
                rig.core.tick(rig.now_ns)

    @property
    def found(self) -> list[BreakOpened]:
        return self.rig.of_type(BreakOpened)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(tmp_path, config=TEXT) as one:
        yield one


@pytest.mark.parametrize("begin_ms", [100, 700])
@pytest.mark.parametrize("flow", RESTS.values(), ids=RESTS)
def test_constant_trading_is_no_break(rig: Rig, flow: Flow, begin_ms: int) -> None:
    """Whatever moment of a round the looks are at: the books agree, and the stream is late or ahead."""
    venue = Venue(rig, flow, begin_ms)
    venue.trade(for_s=35)
    venue.run(until_s=50)
    assert venue.trade_count >= 35 and venue.quantity == rig.ledger.venue_quantities("deribit")[BTC]
    assert venue.found == [] and rig.ledger.accounts["alpha"].state is AccountState.TRADING
    rig.check_replay()


# A look at the interval's end, then six for each of two that count; PAUSES_NS are 1.1 s on an average.
TWO_LOOKS_S = INTERVAL_S + 2 * (PUT_OFF_AT_MOST + 1) * max(PAUSES_NS) / SECOND
# As above with another difference each time: it counts at the sixth.
SIX_LOOKS_S = INTERVAL_S + 6 * (PUT_OFF_AT_MOST + 1) * max(PAUSES_NS) / SECOND


@pytest.mark.parametrize("missed", [100, -100])
@pytest.mark.parametrize("flow", RESTS.values(), ids=RESTS)
def test_a_difference_does_not_hide_behind_constant_trading(rig: Rig, flow: Flow, missed: int) -> None:
    """A trade that is never told to us, of the size of all the others too, while they go on."""
    venue = Venue(rig, flow, 100)
    venue.trade(for_s=40)
    venue.call_at(venue.begin_ns + 5 * SECOND, lambda: venue.tell(missed))
    venue.run(until_s=5 + TWO_LOOKS_S)
    (found,) = venue.found
    assert (found.source, found.subject, found.delta) == ("deribit", BTC, str(missed))
    assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
    rig.check_replay()


@pytest.mark.parametrize("flow", NEVER_RESTS.values(), ids=NEVER_RESTS)
def test_where_a_fill_is_always_on_its_way_a_difference_is_found_too(rig: Rig, flow: Flow) -> None:
    """No pause is as long as the stream is late: what is another each time is no more to be trusted."""
    venue = Venue(rig, flow, 100)
    venue.trade(for_s=40)
    venue.call_at(venue.begin_ns + 5 * SECOND, lambda: venue.tell(30))
    venue.run(until_s=min(5 + SIX_LOOKS_S, 40))
    (found,) = venue.found
    assert found.subject == BTC and rig.ledger.accounts["alpha"].state is AccountState.REDUCING
    rig.check_replay()


def test_a_difference_that_rests_counts_in_seconds_and_a_late_stream_does_not(rig: Rig) -> None:
    """One fill, told late by less than what counts as rest; and one position that nobody has traded here."""
    venue = Venue(rig, LATE, 100)
    venue.run(9.5)
    venue.fill(True)
    venue.run(9.5 + (STILL_NS - SECOND) / SECOND)
    venue.tell(100)
    rests_s = 10.5 + STILL_NS / SECOND
    venue.run(rests_s - 1)
    assert venue.found == []
    venue.tell(100)
    venue.run(rests_s + STILL_NS / SECOND + 2.5)
    assert [one.delta for one in venue.found] == ["100"]
    venue.tell(-100)
    venue.run(rests_s + STILL_NS / SECOND + 22)
    assert not rig.ledger.open_breaks.open, "gone again: two looks have said so"
    assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
    rig.check_replay()


def test_what_was_seen_before_the_venue_was_lost_is_not_held_against_it(rig: Rig) -> None:
    venue = Venue(rig, LATE, 100)
    venue.run(9)
    venue.tell(100)
    venue.run(11.5)
    rig.core.market.live_venues.discard("deribit")
    venue.run(12.5)
    venue.tell(-100)
    rig.core.market.live_venues.add("deribit")
    venue.run(35)
    assert venue.found == []
