"""`margingate demo`: four simulated venues, the gateway and trading clients on this machine, and the proof at the end.

All three are processes of their own (the venues share one) that speak real protocols over loopback. After the run the
journal is replayed, and what the clients were told is held against what the gateway counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import orjson
from rich.console import Console
from rich.live import Live

from gateway.clock import now_ns
from gateway.demo.children import Child, ChildDiedError
from gateway.demo.config import DERIBIT, VENUES, Desk, credentials, desks, write_config, write_token
from gateway.demo.summary import Outcome, Total, summary
from gateway.demo.venue_figures import Tally, hedged
from gateway.demo.view import Scene, picture, progress_line
from gateway.journal import JournalError, read
from gateway.recovery import UnreadableRecordError, replay
from protocols.fix import codec
from risk import kernel

# A cold machine compiles the modules first; a warm one needs half a second for each.
START_TIMEOUT_S: Final = 30.0
# The clients give their cancels 4 s and their logout 2 s, the gateway its venues 2 s.
STOP_TIMEOUT_S: Final = 12.0
# Should the demo be gone and its pipes too, the children end by their own clocks.
OVERTIME_S: Final = 60.0
# When one child's end takes others along, the first in this order is to blame; so long for all of them to be noticed.
BLAME_GRACE_S: Final = 0.5
PLAIN_INTERVAL_S: Final = 1.0
# Below those that the kernel gives to whoever asks for any.
PORTS: Final = range(20_000, 32_000)
EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


class Options(msgspec.Struct, frozen=True):
    """What the command line asks for. `rate` is in requests a second of each client."""

    seconds: float
    seed: int
    clients: int
    rate: float
    as_json: bool
    has_page: bool = False
    scenario: str = ""


def run_demo(options: Options) -> int:
    """Run the demo, or a scenario of it, and show it; return the exit code."""
    if options.scenario:
        from gateway.demo.scenario_runner import ScenarioDemo  # late: it is a demo itself

        return asyncio.run(ScenarioDemo(options).run())
    return asyncio.run(Demo(options).run())


class Demo:
    """One run: its children, and the scene that they move."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.console = Console(highlight=False)
        self.errors = Console(stderr=True, highlight=False)
        self.scene = Scene(options.seconds)
        self.children: list[Child] = []
        self.stop = asyncio.Event()
        self.moved = asyncio.Event()
        self.addresses: dict[str, str] = {}  # by the venue's name
        self.feeds: dict[str, dict[str, Any]] = {}  # as they were when trading ended
        self.logged_on: set[str] = set()
        self.opened: set[str] = set()
        self.total = Total()
        self._show: Callable[[], None] = lambda: None
        self._began_ns = 0

    async def run(self) -> int:
        """Run everything; whatever happens, no child is left behind."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop.set)
        with TemporaryDirectory(prefix="margingate-demo-") as name:
            try:
                outcome = await self._watched(Path(name))
            except ChildDiedError as error:
                self.errors.print(str(error), markup=False, soft_wrap=True)
                return EXIT_FAILED
            finally:
                await asyncio.gather(*(child.end() for child in self.children))
        if outcome is None:
            self.errors.print("interrupted before anything was traded")
            return EXIT_INTERRUPTED
        self.show_outcome(outcome)
        if outcome.faults():
            return EXIT_FAILED
        return EXIT_INTERRUPTED if self.stop.is_set() else EXIT_OK

    # -- showing -----------------------------------------------------------------------------------------------------

    async def _watched(self, directory: Path) -> Outcome | None:
        """Run with whatever picture this output can show."""
        console = self.console
        if self.options.as_json:
            return await self._orchestrated(directory)
        if not console.is_terminal or console.is_dumb_terminal:
            self._show = _PlainLines(self.scene)
            return await self._orchestrated(directory)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            self._show = lambda: live.update(picture(self.scene, *console.size), refresh=True)
            return await self._orchestrated(directory)

    def show_outcome(self, outcome: Outcome) -> None:
        """Print the summary, or one JSON object; faults go to stderr then."""
        if self.options.as_json:
            sys.stdout.write(orjson.dumps(outcome.as_json()).decode() + "\n")
            for fault in outcome.faults():
                self.errors.print(fault, markup=False, soft_wrap=True)
        else:
            self.console.print(summary(outcome))

    def _phase(self, text: str) -> None:
        self.scene.phase = text
        self._show()

    # -- running -----------------------------------------------------------------------------------------------------

    async def _orchestrated(self, directory: Path) -> Outcome | None:
        """Start, trade, stop, replay; None where it was interrupted before there was anything to tell."""
        options, clients = self.options, self._clients()
        self._phase("starting the venues")
        await self._start_venues()
        if self.stop.is_set():
            return None
        self._phase("starting the gateway")
        port = await self._start_gateway(directory, clients)
        self._phase("starting the clients")
        await self._start_clients(port, clients)
        if options.has_page:
            self._phase("starting the operator's page")
            await self._start_page(directory)
        if self.stop.is_set():
            return None
        self._began_ns = now_ns()
        self._phase("trading")
        await self._trade(directory)
        duration_s = (now_ns() - self._began_ns) / 1e9
        self.feeds = self.scene.snapshot.get("feeds", {})
        self._phase("stopping")
        venues, gateway, traders, *page = self.children
        await traders.stop(STOP_TIMEOUT_S)
        await gateway.stop(STOP_TIMEOUT_S)
        await venues.stop(STOP_TIMEOUT_S)
        for child in page:
            await child.stop(STOP_TIMEOUT_S)
        if not self.scene.snapshot.get("is_final"):
            raise ChildDiedError("the gateway ended without its last snapshot")
        self._phase("replaying the journal")
        return self._outcome(directory / "journal", duration_s)

    def _clients(self) -> list[Desk]:
        return desks(self.options.clients)

    async def _trade(self, directory: Path) -> None:
        await self._until(lambda: False, self.options.seconds)

    def _outcome(self, journal: Path, duration_s: float) -> Outcome:
        tally = Tally()
        try:
            recovered = replay(tally.watched(read(journal)))
        except (JournalError, UnreadableRecordError) as error:
            raise ChildDiedError(f"the journal can not be replayed: {error}") from None
        return Outcome(
            counters=self.scene.snapshot,
            told=self.total,
            replayed_records=recovered.records,
            replay_hash=recovered.state_hash(),
            is_compiled=codec.COMPILED and kernel.COMPILED,
            duration_s=round(duration_s, 3),
            ran_its_time=not self.stop.is_set(),
            venues=tally.of(recovered.ledger, [venue.name for venue in VENUES]),
            feeds=self.feeds,
            hedged=hedged(recovered.ledger),
        )

    async def _start_venues(self) -> None:
        options = self.options
        arguments = ["fixtures.venues.run", "--json", "--generous-limits", "--ends-with-input"]
        for venue in VENUES:
            arguments += ["--venue", venue.simulator]
        life_s = options.seconds + START_TIMEOUT_S + OVERTIME_S
        arguments += ["--seed", str(options.seed), "--seconds", f"{life_s:g}", *self._venue_arguments()]
        await self._start("the simulated venues", arguments, self._take_venue)
        await self.ready(lambda: len(self.addresses) == len(VENUES))

    def _venue_arguments(self) -> list[str]:
        return []

    def _write_config(self, directory: Path, port: int, clients: list[Desk]) -> Path:
        return write_config(directory, port=port, addresses=self.addresses, clients=clients, rate=self.options.rate)

    async def _start_gateway(self, directory: Path, clients: list[Desk]) -> int:
        port = _free_port()
        path = self._write_config(directory, port, clients)
        await self._start(
            "the gateway", ["gateway.cli", "run", str(path), "--status-json"], self._take_snapshot, credentials()
        )
        await self.ready(self._is_gateway_ready)
        return port

    def _is_gateway_ready(self) -> bool:
        """Connected, and every account's margin known: from then on an order is judged by what it is."""
        venues, accounts = self.scene.snapshot.get("venues"), self.scene.snapshot.get("accounts", [])
        is_live = venues is not None and all(state == "live" for state in venues.values())
        return is_live and all(row["initial_margin"] is not None for row in accounts)

    async def _start_page(self, directory: Path) -> None:
        token = write_token(directory)
        arguments = ["gateway.cli", "admin", str(directory / "demo.toml"), "--port", "0", "--status-json"]

        def take(line: dict[str, Any]) -> None:
            self.scene.page = f"{line['url']}#token={token}"
            self.moved.set()

        await self._start("the operator's page", arguments, take)
        await self.ready(lambda: bool(self.scene.page))

    async def _start_clients(self, port: int, clients: list[Desk]) -> None:
        options = self.options
        arguments = ["fixtures.fix_client", "--port", str(port)]
        for venue in VENUES:
            address = self.addresses[venue.name]
            if venue.kind == DERIBIT:
                arguments += ["--venue", address]
            else:
                arguments += ["--also", f"{venue.kind}=http://{address},{venue.suffix}"]
        arguments += ["--rate", f"{options.rate:g}", "--seed", str(options.seed)]
        arguments += ["--seconds", f"{options.seconds + OVERTIME_S:g}"]
        arguments += self._client_arguments(clients)
        await self._start("the clients", arguments, self._take_event)
        await self.ready(lambda: len(self.logged_on) == len(clients))

    def _client_arguments(self, clients: list[Desk]) -> list[str]:
        names = [f"{desk.comp_id}={desk.account},{desk.small_account}" for desk in clients]
        return [argument for name in names for argument in ("--desk", name)]

    async def _start(
        self,
        name: str,
        arguments: list[str],
        take: Callable[[dict[str, Any]], None],
        environment: dict[str, str] | None = None,
    ) -> None:
        if not self.stop.is_set():
            self.children.append(await Child.start(name, arguments, take, environment))

    async def ready(self, condition: Callable[[], bool]) -> None:
        """Wait until the child started last has made a condition true; ChildDiedError where it does not."""
        if not self.stop.is_set() and not await self._until(condition, START_TIMEOUT_S) and not self.stop.is_set():
            raise ChildDiedError(self.children[-1].last_words())

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for the children to make a condition true; an early end is an interruption, or a child's death."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        stopping = asyncio.create_task(self.stop.wait())
        try:
            while not condition() and not self.stop.is_set() and loop.time() < deadline:
                moving = asyncio.create_task(self.moved.wait())
                waited = [stopping, moving, *(child.ended for child in self.children)]
                await asyncio.wait(waited, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
                moving.cancel()
                self.moved.clear()
                await self._blame_the_dead()
        finally:
            stopping.cancel()
        return condition()

    async def _blame_the_dead(self) -> None:
        if all(child.is_running for child in self.children):
            return
        await asyncio.wait([child.ended for child in self.children], timeout=BLAME_GRACE_S)
        raise ChildDiedError(next(child for child in self.children if not child.is_running).last_words())

    # -- what children say -------------------------------------------------------------------------------------------

    def _take_venue(self, line: dict[str, Any]) -> None:
        """A venue listens: its line has Deribit's WebSocket, or the REST address of another."""
        venue = next(one for one in VENUES if one.simulator == line["venue"])
        address = line["addresses"]["WebSocket" if venue.kind == DERIBIT else "REST"]
        self.addresses[venue.name] = address.removeprefix("http://")
        self.moved.set()

    def _take_snapshot(self, snapshot: dict[str, Any]) -> None:
        scene, before = self.scene, self.scene.snapshot
        if self._began_ns and scene.phase == "trading":
            scene.elapsed_s = (now_ns() - self._began_ns) / 1e9
        passed_s = snapshot["duration_s"] - before.get("duration_s", 0.0)
        if before and passed_s > 0:
            new = (snapshot["orders_in"] - before["orders_in"]) / passed_s
            scene.orders_per_s = new if not scene.orders_per_s else 0.8 * scene.orders_per_s + 0.2 * new
        scene.snapshot = snapshot
        self.moved.set()
        self._show()

    def _take_event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "logged_on":
            self.logged_on.add(event["client"])
            self.moved.set()
        elif kind == "finished":
            self.total.add(event["counts"], event["working"])
        elif kind == "opened":
            self.opened.add(event["client"])
            self.moved.set()
        elif kind in ("filled", "rejected"):
            self.scene.events.append(event)


class _PlainLines:
    """Progress for where there is no screen: a line for each phase, and one a second while it trades."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._phase = ""
        self._has_told_page = False
        self._next_s = PLAIN_INTERVAL_S

    def __call__(self) -> None:
        scene = self._scene
        if scene.phase != self._phase:
            self._phase = scene.phase
            sys.stdout.write(f"{scene.phase}\n")
            if scene.phase == "trading" and scene.page and not self._has_told_page:
                self._has_told_page = True
                sys.stdout.write(f"the operator's page: {scene.page}\n")
        elif scene.phase == "trading" and scene.elapsed_s >= self._next_s:
            self._next_s = scene.elapsed_s // PLAIN_INTERVAL_S * PLAIN_INTERVAL_S + PLAIN_INTERVAL_S
            sys.stdout.write(f"{progress_line(scene)}\n")
        sys.stdout.flush()


def _free_port() -> int:
    """Return a port that nothing listens on, and that the kernel gives nobody until the gateway is up."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
