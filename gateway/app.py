"""The composition root: sockets, timers and processes around the core, in dependency order on one page."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from gateway import records
from gateway.clearing.counterparties import Counterparties
from gateway.clients.front_door import open_front_door
from gateway.clients.sessions import name_of
from gateway.clock import now_ns
from gateway.config import Config
from gateway.core import Core
from gateway.fix_server import FixServer
from gateway.hook.server import HookServer
from gateway.intraday import STALL_NS
from gateway.journal import Journal, JournalError, read
from gateway.operators.channel import ControlServer
from gateway.operators.commands import Operator
from gateway.operators.showing import Showing
from gateway.operators.status_page import StatusPage
from gateway.operators.unix_sockets import naming
from gateway.parameters.scheduled_fits import ScheduledFits
from gateway.slowside.pricing import LOOK_S, PricingProcess, is_due
from gateway.transfers.runner import TransferRunner
from gateway.venues.status import Ages, row_of, state_of
from gateway.venues.transports import venue_client
from protocols.fix.session import Limits
from risk.account import AccountState

# What is due of session controls (a grace, a delayed message) or of an order's end is done so late at the most.
TICK_S: Final = 0.02
# Breaks on the status page.
BREAKS_TOLD: Final = 200
# Cancels of a stop are given so long to leave and be answered.
STOP_GRACE_S: Final = 2.0
# Connections that the kernel accepts while the loop is busy: a SYN that finds no place is sent again a second later.
LISTEN_BACKLOG: Final = 1024
# Who has asked for a snapshot or a list waits no longer than this, however long the interval of market data is.
URGENT_S: Final = 0.025
# Proposals, and the volatility of the marks, are looked at so often.
PARAMETERS_S: Final = 0.25
# A fault in telling market data is alerted once in this time.
FAILED_PAUSE_S: Final = 1.0


class App:
    """A running gateway. `start`, then `stop`; or `run`, until its event is set."""

    def __init__(self, config: Config) -> None:
        self.config = config
        directory = config.gateway.journal_directory
        self.journal = Journal.open(
            directory,
            segment_bytes=config.gateway.journal_segment_mib << 20,
            durability=config.gateway.journal_durability,
        )
        self.core = Core(config, self.journal, read(directory), now_ns(), version("margingate"))
        disconnect_rules = {name_of(s): s.cancel_on_disconnect for s in config.fix.session}
        self.server = FixServer(
            self.core.pipeline,
            max_connections=config.fix.max_connections,
            max_write_buffer_bytes=config.fix.max_write_buffer_bytes,
            limits=Limits(
                max_message_bytes=config.fix.max_message_bytes,
                logon_timeout_ns=config.fix.logon_timeout_s * 1_000_000_000,
                max_queued_bytes=config.fix.max_write_buffer_bytes,
            ),
            cancels_on_disconnect=lambda session: disconnect_rules.get(session, True),
            door=open_front_door(config.fix, self.core.monitor, self.core.last_record_ns),
        )
        self.venues = [venue_client(venue, self.core, self.server.flush) for venue in config.venue]
        self.counterparties = Counterparties(config, self.core, self.server.flush, now_ns())
        self.transfers = TransferRunner(config, self.core.transfers, self.core.monitor, self.server.flush)
        self.control = ControlServer(directory, Operator(self.core, self.server, now_ns).answer)
        self.hook = None if config.hook is None else HookServer(self.core, config.hook, self.server.flush)
        self.page = StatusPage(directory)
        self.pricing = self._pricing_process() if config.margin.pricing == "process" else None
        self.fits = None if config.parameters.data_directory is None else ScheduledFits(self.core, now_ns)
        self._ticking: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None  # markets and adjustments have more to do
        for venue in self.venues:
            self.core.inquiries.feeds.connect(venue.link.venue, venue.link)
        self.core.inquiries.watch_backlogs(self.server.backlog_bytes)
        self._listener: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._began_ns = self._ticked_ns = now_ns()
        self._journal_trouble: str | None = None
        if self.journal.recovery.torn is not None:
            self.core.monitor.alert(f"journal: a torn record at the end was removed: {self.journal.recovery.torn}")

    async def start(self) -> int:
        """Dial the venues, listen for clients; return the port that is listened on."""
        fix = self.config.fix
        for venue in self.venues:
            venue.link.recover(now_ns())
            self._tasks.append(asyncio.create_task(venue.run()))
        self._tasks.append(asyncio.create_task(self._revalue() if self.pricing is None else self.pricing.run()))
        self._tasks.append(asyncio.create_task(self._watch()))
        self._tasks.append(asyncio.create_task(self._tell()))
        self._tasks.append(asyncio.create_task(self._tend_parameters()))
        if self.fits is not None:
            self._tasks.append(asyncio.create_task(self.fits.run()))
        self._tasks.append(asyncio.create_task(self._show()))
        self._tasks += self.counterparties.start()
        if self.core.transfers.is_on:
            self._tasks.append(asyncio.create_task(self.transfers.run()))
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_bug)
        self.core.controls.start(now_ns())
        # TLS begins behind the front door, which looks at the address first.
        with naming(f"{fix.listen_host}:{fix.listen_port} for [fix]"):
            self._listener = await loop.create_server(
                self.server.protocol, fix.listen_host, fix.listen_port, backlog=LISTEN_BACKLOG
            )
        await self.control.start()
        if self.hook is not None:
            await self.hook.start()
        self._ticked_ns = now_ns()
        self._tick()
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def run(self, stop: asyncio.Event, publish: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Run until `stop` is set, publishing a snapshot at the monitor's interval."""
        # What was made by now lives as long as the process: a full collection that walked it would take 25 ms.
        gc.collect()
        gc.freeze()
        interval_s = self.config.monitor.report_interval_ms / 1000
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), interval_s)
            except TimeoutError:
                self._watch_journal()
                if publish is not None:
                    publish(self.snapshot())

    async def stop(self) -> None:
        """Cancel what the clients want cancelled, say goodbye, close the journal."""
        if self._listener is not None:
            self._listener.close()
        self.server.close()
        self.counterparties.stop()
        if self.hook is not None:
            await self.hook.stop()
        await self._drained()
        self.control.stop()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._turn is not None:
            self._turn.cancel()
        self.server.abort()
        self.server.door.close()
        self.counterparties.close(now_ns())
        for venue in self.venues:
            venue.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.page.close()
        self.journal.close()

    def snapshot(self) -> dict[str, Any]:
        """Return counters, accounts and venue states as plain values."""
        return self.counters() | {"accounts": self.core.account_rows(now_ns=now_ns())}

    def counters(self, ages: Ages | None = None) -> dict[str, Any]:
        """Return the snapshot without its accounts, which may be many.

        With `ages` of marks it is for the status page, which makes rows of its own of what may be many, in slices.
        """
        core = self.core
        counters = core.monitor.snapshot()
        counters["checks_configured"] = core.checks_configured
        counters["journal_records"] = self.journal.next_sequence - 1
        counters["recovered_records"] = core.recovered_records
        counters["duration_s"] = (now_ns() - self._began_ns) / 1e9
        market, ledger, now = core.market, core.ledger, now_ns()
        links = [venue.link for venue in self.venues]
        counters["venues"] = {link.venue: state_of(link, market, ledger, now, ages) for link in links}
        counters["feeds"] = {link.venue: row_of(link, market, ledger, now, ages) for link in links}
        counters["sessions"] = sorted(self.server.logged_on)
        counters["levels"] = core.level_rows(now)
        counters["controls"] = core.controls.snapshot()
        counters["counterparties"] = self.counterparties.rows(now)
        counters["open_breaks"] = core.reconciler.rows(now, None if ages is None else BREAKS_TOLD)
        counters["breaks_open"] = core.reconciler.counts()
        counters["hooks"] = core.hooks.rows()
        counters["margin_watch"] = core.intraday.snapshot() if ages is None else core.intraday.counters()
        counters["parameters"] = core.parameters.snapshot()
        counters["transfers"] = core.transfers.snapshot()
        counters["adjustments"] = core.adjustments.rows()
        counters["guards"] = [] if core.guards is None else core.guards.rows()
        counters["lost_venues"] = dict(ledger.lost_venues)
        counters["market_data"] = core.inquiries.snapshot()
        counters["pricing"] = self._pricing_snapshot()
        counters["margins"] = None if self.pricing is None else self.pricing.margins()
        return counters

    def _tick(self) -> None:
        """Do what is due of sessions and orders, for ever; an exception in it is one that nobody caught."""
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        core, now = self.core, now_ns()
        self._tick_markets()
        if now - self._ticked_ns > STALL_NS:
            core.intraday.stalled(now)
        self._ticked_ns = now
        deadline_ns = core.deadline_ns
        is_due = core.reconciler.deadline_ns <= now or (deadline_ns is not None and deadline_ns <= now)
        if core.controls.watch.unconfirmed or is_due:
            core.tick(now)
            self.server.flush()

    def _tick_markets(self) -> None:
        """Do what is due of markets and adjustments, in turns: what has come meanwhile goes between two of them."""
        core, now = self.core, now_ns()
        if core.tick_markets(now):
            self.server.flush()
        due_ns = core.markets_deadline_ns
        if due_ns is not None and due_ns <= now and self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self._tick_markets()

    def _watch_journal(self) -> None:
        """Tell of a disk that fills while half a segment is left, and of a sync that failed."""
        trouble = self.journal.failed or self.journal.shortage
        if trouble is not None and trouble != self._journal_trouble:
            self.core.monitor.journal_failed(trouble)
        self._journal_trouble = trouble

    def _on_bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught: state may be wrong, so no more orders; a restart replays the journal."""
        error = context.get("exception")
        if isinstance(error, OSError):
            # The world's fault, not ours: no descriptors left for one more connection, say. Strangers can cause that.
            self.core.monitor.alert(f"{context['message']}: {error}")
            return
        what = type(error).__name__ if error is not None else context["message"]
        self.core.monitor.alert(f"internal error, gateway halted: {what}")
        for account in self.core.ledger.accounts.values():
            if self.core.ledger.standing.state_of(account) is not AccountState.HALTED:
                record = records.AccountStateMoved(account.name, AccountState.HALTED, "internal error of the gateway")
                with contextlib.suppress(JournalError):  # what can not be written takes no new risk either
                    self.core.pipeline.commit(record, now_ns())
        for session in self.core.reports.sessions:
            self.core.pipeline.cancel_all(session, now_ns())
        self.server.flush()
        loop.default_exception_handler(context)

    async def _drained(self) -> None:
        """Wait, within a limit, until the cancels of a stop have been answered."""
        deadline = now_ns() + int(STOP_GRACE_S * 1e9)
        while now_ns() < deadline and self._is_waited_for():
            await asyncio.sleep(0.01)

    def _is_waited_for(self) -> bool:
        cancels = any(order.is_cancel_pending for order in self.core.ledger.working_orders())
        return cancels or not self.counterparties.are_gone

    async def _revalue(self) -> None:
        """Price risk arrays in slices, for ever; a slice is over before a client could notice."""
        valuation, market = self.core.valuation, self.core.market
        interval_ns = self.config.market.generation_interval_ms * 1_000_000
        while True:
            began_ns = now_ns()
            try:
                if any(mark is not None for mark in market.marks):
                    valuation.begin(began_ns)
                    while not valuation.step():
                        await asyncio.sleep(0)
            except Exception as error:  # the generation before ages, and refuses new risk when it is too old
                self.core.monitor.alert(f"valuation failed: {type(error).__name__}: {error}")
            await asyncio.sleep(LOOK_S)
            while not is_due(now_ns() - began_ns, interval_ns, market.has_moved):
                await asyncio.sleep(LOOK_S)

    async def _watch(self) -> None:
        """Look at the margin of all accounts after each generation that is swapped in, wherever it was made."""
        seen = self.core.valuation.generation
        while True:
            await asyncio.sleep(LOOK_S)
            if self.core.valuation.generation is seen:
                continue
            seen = self.core.valuation.generation
            try:
                await self._watch_margin()
            except Exception as error:  # what was decided before stands; the next generation is looked at again
                self.core.monitor.alert(f"margin watch failed: {type(error).__name__}: {error}")

    async def _watch_margin(self) -> None:
        """Look at the margin of all accounts by the generation that was just swapped in, in slices."""
        intraday, decided = self.core.intraday, self.core.intraday.decisions
        intraday.begin(now_ns())
        while not intraday.step():
            if intraday.decisions != decided:
                decided = intraday.decisions
                self.server.flush()
            await asyncio.sleep(0)
        self.server.flush()

    async def _tend_parameters(self) -> None:
        """Work out what proposed margin parameters do, in slices; let those in force follow the marks, for ever."""
        parameters = self.core.parameters
        while True:
            await asyncio.sleep(PARAMETERS_S)
            try:
                parameters.tick(now_ns())
                while not parameters.step(now_ns()):
                    await asyncio.sleep(0)
            except Exception as error:  # what is in force stays so
                self.core.monitor.alert(f"margin parameters failed: {type(error).__name__}: {error}")
                await asyncio.sleep(FAILED_PAUSE_S)

    async def _tell(self) -> None:
        """Tell subscribers what is new, in slices, for ever; whoever waits for his first answer has it sooner."""
        inquiries, interval_s = self.core.inquiries, self.config.fix.market_data_interval_ms / 1000
        while True:
            await asyncio.sleep(min(interval_s, URGENT_S) if inquiries.is_urgent else interval_s)
            try:
                inquiries.begin(now_ns())
                self.server.flush()
                while not inquiries.step(now_ns()):
                    self.server.flush()
                    await asyncio.sleep(0)
                self.server.flush()
            except Exception as error:  # market data is worth an alert, and no halt
                self.core.monitor.alert(f"market data failed: {type(error).__name__}: {error}")
                await asyncio.sleep(FAILED_PAUSE_S)

    async def _show(self) -> None:
        """Write the status page, in slices, for ever: who looks reads memory, and asks nothing of this loop."""
        showing = Showing(self.core, self.page, self.counters)
        while True:
            try:
                for _ in showing.steps(now_ns()):
                    await asyncio.sleep(0)
            except Exception as error:  # nobody can look now, and orders go on
                self.core.monitor.alert_now_and_then(("status page", ""), f"status page: {error}", now_ns())
            await asyncio.sleep(self.config.monitor.report_interval_ms / 1000)

    def _pricing_process(self) -> PricingProcess:
        config = self.config
        return PricingProcess(
            self.core.valuation,
            self.core.market,
            self.core.monitor,
            now_ns,
            interval_ns=config.market.generation_interval_ms * 1_000_000,
            slot_bytes=config.margin.pricing_memory_mib << 20,
            accounts=self.core.ledger.accounts,
            remargin_ns=config.margin.remargin_interval_ms * 1_000_000,
        )

    def _pricing_snapshot(self) -> dict[str, Any]:
        """Tell how old the risk arrays are, of how many instruments, and how their process is."""
        generation = self.core.valuation.generation
        return {
            "mode": self.config.margin.pricing,
            "generation": 0 if generation is None else generation.number,
            "age_ms": None if generation is None else (now_ns() - generation.as_of_ns) / 1e6,
            "instruments": 0 if generation is None else len(generation.values),
            "unknown": 0 if generation is None else len(generation.refusals),
            "process": None if self.pricing is None else self.pricing.snapshot(),
        }
