"""A scenario of the demo in the simulator's world: one thread, no sockets, its own time, so that it is the same twice.

The venues, the gateway's core and its journal are the real ones, as in tests/simulator.py; the clients are the demo's
(fixtures/scenario_desk.py); a custodian settles what they pledge. The configuration and the table at the end are those
of `margingate demo --scenario`.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fixtures.desk import plans
from fixtures.fix_conversation import FixConversation
from fixtures.market import Curves
from fixtures.price_feed import Contract, Quote
from fixtures.scenario import ScenarioMarket, Trader, plan_of, read_scenario
from fixtures.scenario_desk import ScenarioDesk
from fixtures.venues.core.faults import Faults
from fixtures.venues.deribit import DeribitVenue
from fixtures.venues.deribit_faults import Faults as DeribitFaults
from fixtures.venues.deribit_limits import GENEROUS
from fixtures.venues.run import deribit_faults
from gateway import config as configuration
from gateway.clients.link import ClientLink
from gateway.demo import scenario as demo
from gateway.demo.scenario_tally import ScenarioTally
from gateway.journal import read
from gateway.recovery import replay
from gateway.venues.status import state_of
from protocols.fix.session import Limits
from risk.collateral_ledger import TransferHappening
from tests.simulated_stalls import Stalls
from tests.simulated_wires import SYMBOLS as ELSEWHERE
from tests.simulated_wires import LaneWire, config_text
from tests.simulator import CREDENTIALS, MS, START_NS, SYMBOLS, World

HEAD = """
[gateway]
name = "scenario"
journal_directory = "{directory}"
journal_segment_mib = 1
[fix]
listen_port = 9880
sender_comp_id = "MARGINGATE"
[market]
collar_fraction = "0.02"
generation_interval_ms = 250
[[venue]]
name = "deribit"
kind = "deribit"
url = "ws://127.0.0.1:1/ws/api/v2"
currencies = ["BTC", "ETH", "USDC"]
instruments = ["*-PERPETUAL"]
credentials_env = "SIMULATED"
"""
OTHERS = ("binance-usdm", "okx", "bybit")
# What the scenario's file calls a venue that has another name here.
NAMES = {"binance-usdm": "binance"}
OPENING_NS = 40_000 * MS
ACT_NS = 60 * MS
SETTLES_NS = 300 * MS
TURN_NS = 50 * MS
HALF_SPREAD = Decimal("0.002")


class ScenarioClient:
    """One trader over a FIX session of its own."""

    def __init__(self, world: ScenarioWorld, trader: Trader) -> None:
        self.world, self.comp_id = world, trader.name
        self.conversation = FixConversation(trader.name, "MARGINGATE", 10, world.now_ns)
        self.desk: ScenarioDesk | None = None
        self.trader = trader
        self.is_trading = True
        self._plans = plans(world.seed, trader.name)
        self._next_ns = world.now_ns

    @property
    def deadline_ns(self) -> int:
        return self._next_ns

    @property
    def is_open(self) -> bool:
        return self.desk is not None and self.desk.is_open

    def connect(self) -> None:
        self.world.accept_client(self)  # type: ignore[arg-type]
        self.conversation.log_on(self.world.now_ns)
        self._send()

    def tick(self) -> None:
        now = self.world.now_ns
        if self._next_ns > now:
            return
        self._next_ns = now + ACT_NS
        link = self.world.client_links.get(self.comp_id)
        if link is not None and (link.session.deadline_ns or now + 1) <= now:
            link.tick(now)
        self.conversation.tick(now)
        quotes = self.world.quotes()
        if self.desk is None and self.world.is_ready():
            self.desk = ScenarioDesk(self.trader, self.world.contracts())
        if self.desk is not None and self.is_trading and self.conversation.is_logged_on:
            for msg_type, body in self.desk.act(next(self._plans), quotes, now):
                self.conversation.send(msg_type, body, now)
        self._send()
        self.fetch()

    def leave(self) -> None:
        """Trade no more, and cancel what works."""
        self.is_trading = False
        assert self.desk is not None
        for msg_type, body in self.desk.cancel_all(self.world.now_ns):
            self.conversation.send(msg_type, body, self.world.now_ns)
        self._send()

    def _send(self) -> None:
        data = self.conversation.data_to_send()
        if data:
            self.world.call_in(MS // 2, partial(self._deliver, data))

    def _deliver(self, data: bytes) -> None:
        link = self.world.client_links[self.comp_id]
        link.receive(data, self.world.now_ns)
        self.world.flush()

    def fetch(self) -> None:
        link = self.world.client_links.get(self.comp_id)
        while link is not None and (data := link.session.data_to_send()):
            self.conversation.receive(data, self.world.now_ns)
        for message in self.conversation.inbox:
            if self.desk is not None:
                self.desk.hear(message)
        self.conversation.inbox.clear()
        self._send()


class ScenarioWorld(World):
    """One scenario, `length_s` long. `play` it, then look at `figures`."""

    expires = False
    house = None

    def __init__(self, name: str, directory: Path, *, length_s: float, seed: int = 1) -> None:
        self.scenario = read_scenario(demo.path_of(name))
        self.terms = demo.read_scenario(name)
        self.seed, self.directory, self.length_s = seed, directory, length_s
        self.length_ns = round(length_s * 1e9)
        self.random = self.chance = Random(f"scenario:{seed}")
        self.operator = Random(0)
        self.now_ns = START_NS
        self.wire_delay_ns = MS
        self.calls, self.call_count = [], 0
        text = HEAD.format(directory=directory) + config_text(OTHERS) + demo.parties_text(self.terms, length_s)
        self.config = configuration.parse(text, Path("scenario.toml"))
        self.has_faults = False
        self.faults = DeribitFaults()
        self.markets: dict[str, ScenarioMarket] = {}
        self.venue = DeribitVenue(
            self.market_of("deribit"), seed=seed, start_ns=START_NS, credentials=CREDENTIALS, faults=self.faults,
            limits=GENEROUS,
        )  # fmt: skip
        self.approved, self.labels_at_venue = {}, set()
        self.crashes = 0
        self.venue_conn, self.is_welcome = None, False
        self.stalls, self.lingering = Stalls("deribit", seed, is_on=False), set()
        self.wires = [LaneWire(self, kind) for kind in OTHERS]
        self.traders = [ScenarioClient(self, trader) for trader in self.scenario.account]
        self.clients = self.traders  # type: ignore[assignment]
        self.start_gateway()
        self.tally = ScenarioTally(self.terms, 0, self.length_ns)
        self._settling: set[str] = set()

    def market_of(self, venue: str) -> Curves:
        name = NAMES.get(venue, venue)
        self.markets[name] = ScenarioMarket(self.scenario, name, self.seed, START_NS, self.length_ns)
        return self.markets[name]

    # -- what clients see

    def is_ready(self) -> bool:
        """Whether all venues are live, with a mark of everything, and margin is known."""
        core = self.core
        return len(core.market.live_venues) == 1 + len(OTHERS) and all(
            core.market.marks[i.index] is not None for i in core.ledger.instruments if i.is_open
        ) and core.valuation.generation is not None  # fmt: skip

    def contracts(self) -> list[Contract]:
        return [
            Contract(
                i.symbol, i.base_currency, "perpetual", i.is_inverse, i.price(1), i.quantity(1), venue=i.venue,
                takes_day=i.venue == "deribit",
            )
            for i in self.core.ledger.instruments
        ]  # fmt: skip

    def quotes(self) -> dict[str, Quote]:
        """What each venue's own market says, as its public feeds do."""
        found = {}
        for venue, symbols in (("deribit", SYMBOLS), *ELSEWHERE.items()):
            market = self.markets[NAMES.get(venue, venue)]
            for symbol in symbols:
                coin = symbol[:3].lower()
                quoted = "usd" if "-USD-" in symbol or symbol.endswith(f"{coin.upper()}-PERPETUAL") else "usdc"
                mark = Decimal(round(market.perpetual_mark(f"{coin}_{quoted}"), 2))
                name = symbol + (".BYBIT" if venue == "bybit" else "")
                found[name] = Quote(mark * (1 - HALF_SPREAD), mark * (1 + HALF_SPREAD), mark, mark)
        return found

    # -- playing

    def play(self) -> ScenarioWorld:
        """Open, let the scenario happen, come to rest, replay."""
        self.call_in(0, self.connect_venue)
        self.call_in(0, self._watch_markets)
        for client in self.traders:
            self.call_in(100 * MS, client.connect)
        self._play_until(lambda: all(client.is_open for client in self.traders), self.now_ns + OPENING_NS)
        assert all(client.is_open for client in self.traders), [c.comp_id for c in self.traders if not c.is_open]
        self._begin()
        self._play_until(lambda: False, self.now_ns + self.length_ns)
        for client in self.traders:
            client.leave()
        self._play_until(lambda: not any(self.core.ledger.working_orders()), self.now_ns + 5_000 * MS)
        self.hash = self.core.state_hash()
        counters = {"marks_doubted": self.core.monitor.marks_doubted}
        recovered = replay(self.tally.watched(read(self.directory)))
        assert recovered.state_hash() == self.hash
        self.figures = self.tally.of(recovered.ledger, counters)
        self.journal.close()
        return self

    def _play_until(self, condition: Any, end_ns: int) -> None:
        while self.now_ns < end_ns and not condition():
            self._run_until(min(end_ns, self.now_ns + 250 * MS))
            self._look()

    def _begin(self) -> None:
        """From now on prices move, and venues fail when they are to."""
        self.tally.begins_ns = self.now_ns
        delay_s = (self.now_ns - START_NS) / 1e9
        for name, market in self.markets.items():
            market.begins_ns = self.now_ns
            plan = plan_of(self.scenario, name, self.length_s, delay_s)
            if name == "deribit":
                self.faults.windows = deribit_faults(plan, START_NS)[0].windows
        for wire in self.wires:
            plan = plan_of(self.scenario, NAMES.get(wire.kind, wire.kind), self.length_s, delay_s)
            wire.faults.windows += Faults.of_plan(plan, START_NS).windows

    def _look(self) -> None:
        """What the demo sees in each snapshot; and its custodian, who settles what was pledged a moment ago."""
        core = self.core
        self.tally.told(core.account_rows())
        links = [("deribit", self.link), *((NAMES.get(wire.kind, wire.kind), wire.link) for wire in self.wires)]
        self.tally.stood({name: state_of(link, core.market, core.ledger, self.now_ns) for name, link in links})
        for one in core.ledger.margin.collateral.live():
            if one.terms.key not in self._settling:
                self._settling.add(one.terms.key)
                self.call_in(SETTLES_NS, partial(self._settle, one.terms.key, one.terms.units))

    def _settle(self, key: str, units: int) -> None:
        self.core.intraday.transfer_moved(
            key, TransferHappening.SETTLED, self.now_ns, units=units, reference=f"custodian {key}", why="custodian"
        )
        self.flush()

    def _watch_markets(self) -> None:
        """Guards, and adjustments of positions: a turn of the loop's timer."""
        if self.core.run_markets(self.now_ns):
            self.flush()
        self.call_in(TURN_NS, self._watch_markets)

    def _revalue(self, generation: int) -> None:
        super()._revalue(generation)
        if self.core.valuation.generation is not None:
            self.core.intraday.run(self.now_ns)
            self.flush()

    def accept_client(self, client: Any) -> None:
        link = ClientLink(self.states, self.core.pipeline, self.now_ns, Limits(), lambda name: None, lambda name: False)
        self.client_links[client.comp_id] = link
