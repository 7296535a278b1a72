"""A clearing house in a simulated world: its session over FIX, what it calls for, and what must hold of both books.

The house lives on while the gateway's processes die; the session's numbers are in a store of their own. On the wire:
latency, lost connections. Of the house: assignments and answers that are lost, collateral that settles late, and in
some worlds a position that is not so. Which worlds have one: `has_house`.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from fixtures.clearing_house import ClearingHouse
from fixtures.fix_conversation import timestamp
from gateway import records
from gateway.clearing.counterparties import key_of, open_store, rules_of
from gateway.clearing.link import CounterpartyLink
from gateway.clearing.own_books import positions_of
from gateway.records.clearing import BreakOpened, BreakResolved
from gateway.records.margin import TransferMoved
from gateway.records.transfers import HouseCalled
from gateway.slowside.transfer_plans import solve
from gateway.transfers.house_collateral import HouseChannel
from protocols.fix.session import Limits
from risk.collateral_ledger import Location, Place
from risk.instrument import UNITS_PER_WHOLE
from risk.reconciliation import Kind
from risk.transfer_orders import OrderState

if TYPE_CHECKING:
    from tests.simulator import World

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
ACCOUNT: Final = "alpha"
TURN_NS: Final = 100 * MS
# A wrong position is told of, asked about again, and blocks; then it is right again, twice.
STATEMENTS_S: Final = 4
OURS, THEIRS = Location(Place.HOUSE, "", ACCOUNT), Location(Place.CLEARING_HOUSE, "HOUSE", ACCOUNT)
HOUSE_CONFIG: Final = """
[[fix.counterparty]]
name = "HOUSE"
kind = "clearing_house"
host = "127.0.0.1"
port = 1
target_comp_id = "HOUSE"
accounts = ["alpha"]
asks = ["positions", "trades"]
ask_interval_s = 2
answer_timeout_s = 2
confirm_after_ms = 500
trade_grace_s = 5
heart_bt_int_s = 5
reports_trades = true
"""
COLLATERAL_CONFIG: Final = """
[margin_calls]
settlement_timeout_s = 2
resume_period_s = 0
[[margin_calls.profile]]
name = "simulated"
accounts = ["alpha"]
[collateral]
automatic_usd = 100000
automatic_hour_usd = 1000000
two_person_usd = 1000000
answer_timeout_s = 1
lost_after_s = 61
retry_s = 1
plan_interval_ms = 200
[[collateral.route]]
name = "to-house"
channel = "HOUSE"
asset = "USDC"
source = "house"
target = "clearing_house:HOUSE"
accounts = ["alpha"]
step = "1"
settle_s = 1
"""


def has_house(seed: int) -> bool:
    """Whether the world of a seed has one."""
    return seed % 20 in (2, 7)


def with_house(text: str) -> str:
    """Return a world's configuration with it."""
    return text.replace("[[account]]", HOUSE_CONFIG + "[[account]]", 1) + COLLATERAL_CONFIG


class HouseWire:
    """The house, the link of the gateway's present process, and what is between them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = Random(f"house:{world.seed}")
        self.house = ClearingHouse()
        self.delay_ns = self.random.randrange(1, 30) * MS // 10
        self.connection = 0  # what is on its way of an earlier one arrives nowhere
        self.is_up = False
        self.called: list[str] = []
        self.is_wrong = ""  # the symbol of which it tells a wrong position
        if world.has_faults:
            faults = self.house.faults
            faults.loses_assignments = self.random.choice((0, 0, 1))
            faults.loses_responses = self.random.choice((0, 0, 1))
            faults.is_slow_with_collateral = self.random.random() < 0.3
        for _ in range(3):
            world.call_in(self.random.randrange(300, 2_500) * MS, self.call_for_collateral)
        for _ in range(2 if world.has_faults else 0):
            world.call_in(self.random.randrange(400, 2_800) * MS, self.lose)

    # -- the gateway's process

    def start(self) -> None:
        """A process has begun: its link, on the store of the session."""
        world, core = self.world, self.world.core
        (terms,) = core.config.fix.counterparty
        self.store = open_store(world.directory, world.now_ns, segment_bytes=1 << 16)
        state = self.store.state(key_of(core.config, terms), rules_of(terms), world.now_ns)
        self.link = CounterpartyLink(
            terms, state, self.store, core.pipeline, core.reconciler, lambda now_ns: (), (), Limits(), world.now_ns
        )
        HouseChannel(self.link, core.pipeline, core.transfers)
        self.process = world.crashes
        world.call_in(20 * MS, partial(self.dial, self.process))
        world.call_in(TURN_NS, partial(self.turn, self.process))

    def died(self) -> None:
        """The process is gone, without a word."""
        self.store.close()
        self._hang_up()

    def dial(self, process: int) -> None:
        if process == self.world.crashes and not self.is_up:
            self.connection += 1
            self.is_up = True
            self.house.connected()
            self.link.connected(self.world.now_ns)
            self.flush()

    def lose(self) -> None:
        """The transport is gone."""
        if self.is_up:
            self._hang_up()
            self.link.disconnected(self.world.now_ns)
            self.world.call_in(100 * MS, partial(self.dial, self.world.crashes))

    def _hang_up(self) -> None:
        self.is_up = False
        self.connection += 1
        self.house.disconnected()

    def turn(self, process: int) -> None:
        """What a loop does ten times a second: time for both sides, a plan of transfers, bytes."""
        world = self.world
        if process != world.crashes:
            return
        now, desk = world.now_ns, world.core.transfers
        if self.is_up:
            self.link.tick(now)
            self.house.tick(now)
        problem = desk.wanted(now)
        if problem is not None:
            desk.planned(problem, solve(problem), now)
        for order in list(world.core.ledger.margin.orders.live()):
            if order.state is OrderState.AWAITING:  # the account is killed: it takes a person
                desk.approve(order.terms.key, "ann", "agreed", now)
        if self.random.random() < 0.2 or not world.has_faults:
            self.house.settle(now)
        world.flush()
        self.flush()
        world.call_in(TURN_NS, partial(self.turn, process))

    def flush(self) -> None:
        """What both have to say leaves."""
        if not self.is_up:
            return
        world = self.world
        data = self.link.data_to_send(world.now_ns)
        if data:
            world.call_in(self.delay_ns, partial(self._to_house, self.connection, data))
        if back := self.house.data_to_send():
            world.call_in(self.delay_ns, partial(self._to_gateway, self.connection, back))
        if self.link.must_close:
            self.lose()

    def _to_house(self, connection: int, data: bytes) -> None:
        if connection == self.connection:
            self.house.receive(data, self.world.now_ns)
            self.flush()

    def _to_gateway(self, connection: int, data: bytes) -> None:
        if connection == self.connection:
            self.link.receive(data, self.world.now_ns)
            self.world.flush()
            self.flush()

    # -- what the house does

    def call_for_collateral(self) -> None:
        """AX: it is kept and told again, if nobody is there."""
        now = self.world.now_ns
        if not self.house.logons:  # nobody has ever been there
            self.world.call_in(200 * MS, self.call_for_collateral)
            return
        amount = Decimal(self.random.randrange(100, 3_000))
        self.called.append(self.house.call(ACCOUNT, amount, timestamp(now + 60 * SECOND), now))
        self.flush()

    def calm(self) -> None:
        """No more faults."""
        faults = self.house.faults
        faults.loses_assignments = faults.loses_responses = 0
        faults.is_slow_with_collateral = False
        self.house.settle(self.world.now_ns)

    def is_at_rest(self) -> bool:
        """Whether all that was called for is there, and all trades are reported and answered."""
        margin = self.world.core.ledger.margin
        is_done = not margin.house_calls.wanted() and not any(
            one.terms.target == THEIRS for one in margin.collateral.live()
        )
        return self.link.is_up and is_done and self.house.positions(ACCOUNT) == self.positions()

    def positions(self) -> dict[str, Decimal]:
        """What we have of the account."""
        return {
            symbol: amount
            for symbol, amount in positions_of(self.world.core.ledger.accounts[ACCOUNT]).items()
            if amount
        }

    def err(self) -> bool:
        """Begin to tell a wrong position, of something that is held; False where nothing is."""
        held = self.positions()
        if not held:
            return False
        self.is_wrong = self.random.choice(sorted(held))
        self.house.faults.wrong_quantity[ACCOUNT, self.is_wrong] = held[self.is_wrong] * 2
        return True

    # -- what must hold

    def check(self, history: list[records.AnyRecord]) -> None:
        """Both books are the same, everything was done once, and breaks are where something was wrong."""
        ledger, house = self.world.core.ledger, self.house
        collateral = ledger.margin.collateral
        assert all(collateral.total(asset) == 0 for asset, _ in collateral.balances), "collateral is not conserved"
        held = house.cash.get(ACCOUNT, {}).get("USDC", Decimal(0))
        assert collateral.balance("USDC", THEIRS) == int(held * UNITS_PER_WHOLE), f"the house has {held}"
        assert held == sum(one.taken for one in house.assignments.values()), "an assignment was taken twice"
        calls = Counter(r.request_id for r in history if isinstance(r, HouseCalled))
        assert calls == Counter(self.called), f"called {self.called}, heard {dict(calls)}"
        for request_id in self.called:
            asked = house.collateral[request_id]
            given = sum((amount for _, _, amount in asked.pledged), Decimal(0))
            assert asked.amount <= given < asked.amount + 2, f"{request_id}: {asked.amount} called, {given} given"
        settled = Counter(
            (r.key, r.reference) for r in history if isinstance(r, TransferMoved) and r.happening == "settled"
        )
        assert all(count == 1 for count in settled.values()), f"settled twice: {settled}"
        traded = Counter(
            r.trade_id
            for r in history
            if isinstance(r, records.Filled) and ledger.orders[r.order_id].account == ACCOUNT
        )
        cleared = Counter(trade.trade_id for trade in house.trades.values())
        assert traded == cleared, f"ours {sorted(traded)}, cleared {sorted(cleared)}"
        assert self.positions() == house.positions(ACCOUNT)
        self._check_breaks(history)

    def _check_breaks(self, history: list[records.AnyRecord]) -> None:
        opened = [(r.kind, r.account, r.subject) for r in history if isinstance(r, BreakOpened) and r.source == "HOUSE"]
        ended = [
            (r.kind, r.account, r.subject) for r in history if isinstance(r, BreakResolved) and r.source == "HOUSE"
        ]
        wanted = [(Kind.POSITION.value, ACCOUNT, self.is_wrong)] if self.is_wrong else []
        assert opened == wanted, f"breaks {opened}, and {wanted} was wrong"
        assert ended == wanted, "what is right again is no break any more"
