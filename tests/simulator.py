"""The whole gateway in one thread and no sockets: clients, venue, clock and faults from one seed.

Real parts only: FIX sessions on both sides, the pipeline, the journal on disk, the Deribit session, the simulated venue
with its matching engine, and for worlds of four venues Binance, OKX and Bybit (tests/simulated_wires.py). What is
simulated is the wire (latency, split, loss of a connection) and time. A failing seed replays:
`python -m tests.simulator --seeds SEED`, with `--venues all` for one of four venues.
"""

from __future__ import annotations

import heapq
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import orjson

from fixtures.market import Curves
from fixtures.market import Market as MarketData
from fixtures.venues.deribit import DeribitVenue
from fixtures.venues.deribit_faults import Faults
from fixtures.venues.deribit_limits import GENEROUS
from gateway import config as configuration
from gateway import records
from gateway.clients.link import ClientLink
from gateway.core import Core
from gateway.journal import Journal, read
from gateway.venues.link import SessionLink
from protocols.fix.session import Limits
from protocols.venues.deribit import Deribit
from protocols.venues.deribit_tables import RateLimits
from protocols.venues.events import Event, TradeBusted, TradeCorrected
from tests.simulated_booked import all_is_booked
from tests.simulated_client import Client
from tests.simulated_config import CONFIG
from tests.simulated_expiry import BEFORE_EXPIRY_NS, EXPIRY_NS, FUTURES, Funded, deribit_instruments
from tests.simulated_faults import fault_chances
from tests.simulated_house import STATEMENTS_S, HouseWire, has_house, with_house
from tests.simulated_stalls import Stalls
from tests.simulated_wires import LaneWire, calm, config_text
from tests.simulator_checks import bounds_of

START_NS = 1_760_000_000_000_000_000
MS = 1_000_000
MAX_STEPS = 100_000  # of a slice of time: more is a deadline that nobody meets
CREDENTIALS = {"margingate": "simulated"}
SYMBOLS = ("BTC-PERPETUAL", "ETH-PERPETUAL", "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL")


class Killed(BaseException):
    """kill -9 in the middle of a statement: nothing of the gateway's catches it."""


class KillableJournal:
    """The real journal, and a process that dies right before or right after one of its appends."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.appends_left: int | None = None
        self.is_after = False

    def append(self, record_type: int, payload: bytes, time_ns: int, essential: bool = False) -> int:
        dies = False
        if self.appends_left is not None:
            self.appends_left -= 1
            dies = self.appends_left == 0
        if dies and not self.is_after:
            raise Killed
        sequence = self._journal.append(record_type, payload, time_ns, essential)
        if dies:
            raise Killed
        return sequence


class World:
    """One run. `run` to the end, then `check`."""

    house: HouseWire | None = None  # the clearing house of worlds that have one

    def __init__(
        self,
        seed: int,
        directory: Path,
        *,
        faults: bool = True,
        duration_ms: int = 0,
        others: tuple[str, ...] = (),
        expires: bool = False,
    ) -> None:
        self.seed, self.directory, self.expires = seed, directory, expires
        begin_ns = EXPIRY_NS - BEFORE_EXPIRY_NS if expires else START_NS
        self.random = Random(f"world:{seed}")
        self.chance = Random(f"backlogs:{seed}")
        self.now_ns = begin_ns
        self.wire_delay_ns = self.random.randrange(1, 20) * MS // 10  # constant, since TCP keeps order
        self.end_ns = begin_ns + (duration_ms or (4_500 if others else 3_000)) * MS
        self.calls: list[tuple[int, int, Callable[[], None]]] = []
        self.call_count = 0
        self.operator = Random(f"controls:{seed}")
        choice = self.operator.choice
        text = CONFIG.format(
            directory=directory,
            cancel_on_disconnect=self.random.choice(("true", "false")),
            grace_ms=choice((0, 0, 50, 1_000)),
            throttle_messages=choice((3, 20, 1_000)),
            throttle_answer=choice(("reject", "delay")),
            stop_trigger=("mark_price", "last_price", "index_price")[seed % 3],
            model={1: "deribit_portfolio", 5: "deribit_portfolio", 6: "okx_portfolio", 7: "bybit_portfolio"}.get(
                seed % 8, "deribit_standard"
            ),
            desk_orders=(18, 6)[seed % 7 == 6],
            gross=(900_000, 150_000)[seed % 5 == 3],
            margin=(250_000, 90_000)[seed % 5 == 4],
            offset_cap=(0.0, 0.8)[seed % 4 == 1],
        )
        if expires:
            text = text.replace('instruments = ["*-PERPETUAL"]', 'instruments = ["*-PERPETUAL", "BTC-26DEC25"]')
        text += config_text(others, expires)
        has_one = has_house(seed) and not others and not expires  # the simulated house ends no contracts
        self.config = configuration.parse(with_house(text) if has_one else text, Path("simulated.toml"))
        chances = fault_chances(self.random) if faults else {}
        self.faults = Faults(seed=seed, probability=chances, silence_ns=3_000 * MS)
        self.has_faults = faults
        self.venue = DeribitVenue(
            self.market_of("deribit"),
            seed=seed,
            start_ns=begin_ns,
            credentials=CREDENTIALS,
            faults=self.faults,
            limits=GENEROUS,
            instruments=deribit_instruments(seed) if expires else None,
        )
        self.opening = {name: self.venue.balance("margingate", name) for name in ("BTC", "ETH", "USDC")}
        self.approved: dict[str, records.OrderApproved] = {}
        self.labels_at_venue: set[str] = set()
        self.crashes = 0
        self.venue_conn: int | None = None
        self.is_welcome = False
        self.stalls = Stalls("deribit", seed, is_on=faults and not expires)
        self.lingering: set[int] = set()  # connections that we have lost and the venue has not
        self.wires = [LaneWire(self, kind) for kind in others]
        if has_one:
            self.house = HouseWire(self)
        self.clients = [Client(self, "ALPHA", ["alpha"]), Client(self, "BETA", ["beta", "gamma"])]
        self.clients.append(Client(self, "RISK", ["alpha", "gamma"], is_trading=False))
        self.start_gateway()

    def market_of(self, venue: str) -> Curves:
        """The prices of a venue: those of all, each with a clock of its own."""
        return (Funded if self.expires else MarketData)(self.seed, self.now_ns)

    # -- time --------------------------------------------------------------------------------------------------------

    def call_in(self, delay_ns: int, call: Callable[[], None]) -> None:
        self.call_count += 1
        heapq.heappush(self.calls, (self.now_ns + delay_ns, self.call_count, call))

    def run(self) -> None:
        """Run the busy part, then switch faults off and let everything come to rest."""
        for client in self.clients:
            self.call_in(self.random.randrange(50) * MS, client.connect)
        self.call_in(0, self.connect_venue)
        if self.has_faults:
            self.call_in(self.operator.randrange(500, 2_000) * MS, self.kill)
            for _ in range(2):
                self.call_in(self.random.randrange(500, 2_500) * MS, self.doom)
        self._run_until(self.end_ns)
        self.faults.probability = {}
        self.faults.schedule = {}
        self.stalls.calm()
        for wire in self.wires:
            calm(wire.faults)
            wire.stalls.calm()
        if self.house is not None:
            self.house.calm()
        for client in self.clients:
            client.is_trading = False
        for _ in range(80):  # what a client sends again after an interval of heartbeats may be orders
            self._run_until(self.now_ns + 500 * MS)
            if self.is_at_rest():
                break
        for client in self.clients:
            client.cancel_everything()
        for _ in range(40):
            self._run_until(self.now_ns + 500 * MS)
            if self.is_at_rest() and not any(self.core.ledger.working_orders()):
                break
        else:
            orders = list(self.core.ledger.working_orders())
            raise AssertionError(f"seed {self.seed}: the world does not come to rest: {orders}")
        self.correct_some_trades()
        for _ in range(40):
            self._run_until(self.now_ns + 500 * MS)
            if self.is_at_rest():
                break
        else:
            raise AssertionError(f"seed {self.seed}: the world does not come to rest after corrections")
        self.let_the_house_err()

    def let_the_house_err(self) -> None:
        """In some worlds the house tells of a position that is not so, and then of what is."""
        if self.house is None:
            return
        if self.has_faults and self.seed % 10 == 7 and self.house.err():
            self._run_until(self.now_ns + STATEMENTS_S * 1000 * MS)
            self.house.house.faults.wrong_quantity.clear()
        self._run_until(self.now_ns + STATEMENTS_S * 1000 * MS)

    def correct_some_trades(self) -> None:
        """The venue annuls and changes some trades, of ended orders, and tells of it by its support."""
        trades = self.venue.trades("margingate")
        for trade in self.random.sample(trades, min(len(trades), 4)):
            if self.random.random() < 0.5:
                self.venue.bust_trade("margingate", trade.trade_id, self.now_ns)
                event: Event = TradeBusted(trade.trade_id, "erroneous")
            else:
                listing = self.venue.listing(trade.instrument)
                price = trade.price + 2 * listing.instrument.tick
                self.venue.correct_trade("margingate", trade.trade_id, price, self.now_ns)
                event = TradeCorrected(trade.trade_id, trade.amount, price, trade.fee, "price")
            for _ in range(self.random.choice((1, 2))):
                self.link.hear(event, self.now_ns)
            self.flush()

    def is_at_rest(self) -> bool:
        orders = list(self.core.ledger.working_orders())
        asked = any(o.is_cancel_pending or o.replace or o.status in ("A", "U") for o in orders)
        are_live = self.link.session.is_live and all(wire.is_at_rest() for wire in self.wires)
        is_cleared = self.house is None or self.house.is_at_rest()
        is_settled = is_cleared and (not self.expires or all_is_booked(self))
        return not asked and are_live and is_settled and all(client.is_up_to_date for client in self.clients)

    def _run_until(self, end_ns: int) -> None:
        for _ in range(MAX_STEPS):
            due_ns = self.calls[0][0] if self.calls else end_ns
            core = self.core
            for deadline in (
                self.venue.deadline_ns, self.link.deadline_ns, core.deadline_ns, core.markets_deadline_ns
            ):  # fmt: skip
                if deadline is not None:
                    due_ns = min(due_ns, deadline)
            for client in self.clients:
                due_ns = min(due_ns, client.deadline_ns)
            for wire in self.wires:
                due_ns = min(due_ns, wire.deadline_ns)
            if due_ns > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, due_ns)
            try:
                self._step()
            except Killed:
                self.crash()
        raise AssertionError(f"seed {self.seed}: {MAX_STEPS} steps and time stands still at {self.now_ns}")

    def _step(self) -> None:
        now = self.now_ns
        if self.calls and self.calls[0][0] <= now:
            heapq.heappop(self.calls)[2]()
        deadline = self.link.deadline_ns
        if deadline is not None and deadline <= now:
            self.link.tick(now)
            self.flush()
            self._close_venue_if_asked()
        deadline = self.core.deadline_ns
        if self.core.controls.watch.unconfirmed or (deadline is not None and deadline <= now):
            self.core.tick(now)
            self.flush()
        deadline = self.core.markets_deadline_ns
        if deadline is not None and deadline <= now:
            self.core.tick_markets(now)
            self.flush()
        for client in self.clients:
            client.tick()
        if self.venue.deadline_ns <= now:
            self.venue.tick(now)
        self._carry_from_venue()
        for wire in self.wires:
            wire.step()

    # -- the gateway's process ---------------------------------------------------------------------------------------

    def start_gateway(self) -> None:
        """Start a gateway process on the journal that there is."""
        self.journal = Journal.open(self.directory, segment_bytes=1 << 20)
        self.core = Core(self.config, self.journal, read(self.directory), self.now_ns, "simulated")
        pipeline = self.core.pipeline
        self.killable = KillableJournal(self.journal)
        pipeline.journal = self.killable  # type: ignore[assignment]
        self.commit = pipeline.commit
        pipeline.commit = self.watched_commit  # type: ignore[method-assign]
        self.states = {state.key: state for state in self.core.reports.sessions.values()}
        self.link = SessionLink("deribit", self._venue_session, pipeline, self._flush_to_venue)
        self.core.inquiries.feeds.connect("deribit", self.link)
        self.link.recover(self.now_ns)
        for wire in self.wires:
            wire.start()
        if self.house is not None:
            self.house.start()
        self.core.controls.start(self.now_ns)
        self.client_links: dict[str, ClientLink] = {}
        generation = self.crashes
        self.call_in(250 * MS, lambda: self._revalue(generation))
        self.call_in(130 * MS, lambda: self._tell(generation))

    def kill(self) -> None:
        """An operator kills a session or an account, and thinks better of it later, whatever happened meanwhile."""
        name = self.operator.choice(("ALPHA", "BETA", "alpha", "gamma"))
        scope = "session" if name.isupper() else "account"
        self.call_in(self.operator.randrange(50, 500) * MS, partial(self.reinstate, scope, name))
        self.core.controls.kill(scope, name, "simulator", "a try", self.now_ns)
        self.flush()

    def reinstate(self, scope: str, name: str) -> None:
        if (scope, name) in self.core.ledger.standing.kills:  # a process that died of the kill knows of none
            self.core.controls.reinstate(scope, name, "simulator", "all well", self.now_ns)

    def doom(self) -> None:
        """Let the process die: now, between two events, or inside one of the next appends."""
        if self.random.random() < 0.3:
            self.crash()
        else:
            self.killable.is_after = self.random.random() < 0.5
            self.killable.appends_left = self.random.randrange(1, 12)

    def crash(self) -> None:
        """kill -9: no goodbye, no flush; the next process has the journal and nothing else."""
        self.crashes += 1
        self.journal.close()
        if self.venue_conn is not None:
            self._leave(self.venue_conn, self.stalls.of_crash())
            self.venue_conn = None
        for wire in self.wires:
            wire.died()
        if self.house is not None:
            self.house.died()
        for client in self.clients:
            client.lose_connection(tell_gateway=False)
        self.start_gateway()
        self.call_in(20 * MS, self.connect_venue)

    def watched_commit(self, record: records.Record, now_ns: int) -> None:
        """Commit, and check what must hold at once: an accepted order leaves the margin bound of no level short."""
        if not isinstance(record, records.OrderApproved):
            self.commit(record, now_ns)
            return
        before = bounds_of(self.core, record)
        self.commit(record, now_ns)
        for level, after in bounds_of(self.core, record).items():
            held = after >= -1e-6 or after >= before[level] - 1e-6
            assert held, f"seed {self.seed}: order {record.order_id} left {level} short: {before[level]}, then {after}"
        assert record.checks_run == self.core.checks_configured
        self.approved[record.order_id] = record

    def accept_client(self, client: Client) -> None:
        limits = Limits()
        rules = {s.target_comp_id: s.cancel_on_disconnect for s in self.config.fix.session}
        pipeline = self.core.pipeline
        link = ClientLink(self.states, pipeline, self.now_ns, limits, lambda name: None, rules.__getitem__)
        self.client_links[client.comp_id] = link

    def flush(self) -> None:
        """What the server does at the end of each batch."""
        self.core.pipeline.volatile.flush(self.now_ns)
        self.core.router.flush()
        self._flush_to_venue()
        for wire in self.wires:
            wire.flush()
        self.core.reports.touched.clear()
        for client in self.clients:
            client.fetch()

    def _revalue(self, generation: int) -> None:
        if generation != self.crashes:
            return
        if any(mark is not None for mark in self.core.market.marks):
            self.core.valuation.run(self.now_ns)
        self.call_in(250 * MS, lambda: self._revalue(generation))

    def _tell(self, generation: int) -> None:
        """A turn of market data; how far behind a client is, is chance."""
        if generation != self.crashes:
            return
        backlogs = {client.comp_id: self.chance.choice((0, 0, 0, 1 << 20)) for client in self.clients}
        self.core.inquiries.watch_backlogs(backlogs.__getitem__ if self.has_faults else lambda session: 0)
        self.core.inquiries.run(self.now_ns)
        self.flush()
        self.call_in(100 * MS, lambda: self._tell(generation))

    # -- the wire to the venue ---------------------------------------------------------------------------------------

    def _venue_session(self) -> Deribit:
        random = Random(f"entropy:{self.seed}:{self.call_count}")
        since_ns = self.core.ledger.time_ns
        return Deribit(
            client_id="margingate",
            client_secret="simulated",
            currencies=("BTC", "ETH", "USDC"),
            symbols=frozenset(SYMBOLS + (FUTURES["deribit"] if self.expires else ())).__contains__,
            entropy=random.randbytes,
            limits=RateLimits(matching_per_s=10_000, matching_capacity=10_000, log_per_s=100, log_capacity=100),
            request_timeout_ns=500 * MS,
            cancel_on_disconnect=self.seed % 2 == 0,
            trades_since_ns=since_ns - 60_000 * MS,
            bookings_known_ns=self.core.ledger.settlements.known_until("deribit"),
            books_on_demand=True,
        )

    def connect_venue(self) -> None:
        if self.venue_conn is None:
            self.venue_conn, self.is_welcome = self.venue.connect(self.now_ns), False
            self.link.connected(self.now_ns)
            self.flush()

    def lose_venue(self) -> None:
        self.venue_conn = None
        self.link.disconnected(self.now_ns)
        self.flush()
        self.call_in(100 * MS, self.connect_venue)

    def _flush_to_venue(self) -> None:
        conn = self.venue_conn
        for frame in self.link.session.frames_to_send():
            message = orjson.loads(frame)
            assert self.is_welcome or not message["method"].startswith("private/"), (
                f"{message['method']} before a login"
            )
            if message["method"] in ("private/buy", "private/sell"):
                label = message["params"]["label"]
                assert label in self.approved or label in self.core.ledger.orders, f"{label} was never approved"
                assert label not in self.labels_at_venue, f"{label} was sent twice"
                self.labels_at_venue.add(label)
            if conn is not None:
                is_order = message["method"] in ("private/buy", "private/sell", "private/edit", "private/cancel")
                stall_ns = self.stalls.of_order() if is_order else 0
                self.call_in(self.wire_delay_ns + stall_ns, partial(self._arrive, conn, frame))
                if stall_ns:
                    self.call_in(self.wire_delay_ns, partial(self._break, conn, stall_ns + MS))

    def _arrive(self, conn: int, frame: bytes) -> None:
        if conn == self.venue_conn or conn in self.lingering:
            self.venue.receive(conn, frame, self.now_ns)

    def _break(self, conn: int, after_ns: int) -> None:
        """The connection is gone for us, and for the venue a while later."""
        if conn == self.venue_conn:
            self._leave(conn, after_ns)
            self.lose_venue()

    def _leave(self, conn: int, after_ns: int) -> None:
        if not after_ns:
            self.venue.disconnect(conn, self.now_ns)
            return
        self.lingering.add(conn)
        self.call_in(after_ns, partial(self._forget, conn))

    def _forget(self, conn: int) -> None:
        self.lingering.discard(conn)
        self.venue.disconnect(conn, self.now_ns)

    def _carry_from_venue(self) -> None:
        for conn, frame in self.venue.outgoing():
            if conn == self.venue_conn:
                self.is_welcome = self.is_welcome or b'"access_token"' in frame
                self.link.receive(frame, self.now_ns)
        self.flush()
        self._close_venue_if_asked()
        if self.venue_conn is not None and self.venue_conn in self.venue.closed():
            self.lose_venue()

    def _close_venue_if_asked(self) -> None:
        if self.link.must_close and self.venue_conn is not None:
            self.link.must_close = False
            self.venue.disconnect(self.venue_conn, self.now_ns)
            self.lose_venue()


def run_seed(seed: int, *, faults: bool = True, others: tuple[str, ...] = (), expires: bool = False) -> World:
    """Run one seed and check it; return the world for a closer look (its journal is gone)."""
    from tests.simulator_checks import check

    directory = Path(tempfile.mkdtemp(prefix="margingate-simulator-"))
    try:
        world = World(seed, directory, faults=faults, others=others, expires=expires)
        world.run()
        check(world)
        world.journal.close()
        return world
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    from tests.simulator_command import main

    sys.exit(main())
