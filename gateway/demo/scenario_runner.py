"""`margingate demo --scenario NAME`: prices fall, venues fail, clients are called, and the end is as expected."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.clock import now_ns
from gateway.demo.children import ChildDiedError
from gateway.demo.config import VENUES, Desk, write_scenario_config
from gateway.demo.runner import Demo, Options
from gateway.demo.scenario import parties_text, path_of, read_scenario
from gateway.demo.scenario_tally import ScenarioTally
from gateway.demo.summary import Outcome
from gateway.journal import JournalError, read
from gateway.operators.channel import ControlError, MoveTransfer, ask
from gateway.recovery import UnreadableRecordError, replay

# Opening positions takes a second or two; so long a custodian needs from a pledge to its settlement.
OPENING_TIMEOUT_S: Final = 25.0
SETTLES_S: Final = 0.5
# Requests a second of each client: enough to see them go on.
RATE: Final = 8.0


class ScenarioDemo(Demo):
    """One run of a scenario, live: the same processes as the demo's, and a custodian."""

    def __init__(self, options: Options) -> None:
        self.scenario = read_scenario(options.scenario)
        seconds = options.seconds or self.scenario.seconds
        super().__init__(msgspec.structs.replace(options, seconds=seconds, rate=RATE))
        self.tally = ScenarioTally(self.scenario, 0, round(seconds * 1e9))
        self._names = {venue.name: venue.simulator for venue in VENUES}
        self._pledged: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._known: set[str] = set()

    def _clients(self) -> list[Desk]:
        return [Desk(party.name, party.name, "", party.name) for party in self.scenario.account]

    def _venue_arguments(self) -> list[str]:
        return ["--scenario", str(path_of(self.options.scenario)), "--length", f"{self.options.seconds:g}"]

    def _client_arguments(self, clients: list[Desk]) -> list[str]:
        return ["--scenario", str(path_of(self.options.scenario))]

    def _write_config(self, directory: Path, port: int, clients: list[Desk]) -> Path:
        text = parties_text(self.scenario, self.options.seconds)
        return write_scenario_config(directory, port=port, addresses=self.addresses, parties=text)

    async def _trade(self, directory: Path) -> None:
        """Wait until everybody holds what it is to hold, let the venues begin, and settle what is pledged."""
        names = {party.name for party in self.scenario.account}
        self._phase("opening positions")
        if not await self._until(lambda: self.opened == names, OPENING_TIMEOUT_S) and not self.stop.is_set():
            raise ChildDiedError(f"positions were not opened: {', '.join(sorted(names - self.opened))}")
        self._began_ns = self.tally.begins_ns = now_ns()
        self.children[0].say("begin")
        self._phase("trading")
        custodian = asyncio.create_task(self._settle(directory / "journal"))
        try:
            await self._until(lambda: False, self.options.seconds)
        finally:
            custodian.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await custodian

    async def _settle(self, journal: Path) -> None:
        """The custodian: a while after a pledge the money is there, and it says so."""
        while True:
            key, units = await self._pledged.get()
            await asyncio.sleep(SETTLES_S)
            amount = f"{units // 10**8}.{units % 10**8:08d}"
            command = MoveTransfer(key, "settled", "settled", amount, f"custodian {key}", "custodian")
            with contextlib.suppress(ControlError, OSError):  # the gateway is being stopped, or knows already
                await asyncio.to_thread(ask, journal, command)

    def _take_snapshot(self, snapshot: dict[str, Any]) -> None:
        self.tally.told(snapshot["accounts"])
        self.tally.stood({self._names[venue]: state for venue, state in snapshot["venues"].items()})
        for row in snapshot["margin_watch"]["transfers"]:
            if row["transfer"] not in self._known:
                self._known.add(row["transfer"])
                self._pledged.put_nowait((row["transfer"], row["units"]))
        super()._take_snapshot(snapshot)

    def _outcome(self, journal: Path, duration_s: float) -> Outcome:
        outcome = super()._outcome(journal, duration_s)
        try:
            recovered = replay(self.tally.watched(read(journal)))
        except (JournalError, UnreadableRecordError) as error:
            raise ChildDiedError(f"the journal can not be replayed: {error}") from None
        figures = self.tally.of(recovered.ledger, self.scene.snapshot)
        return msgspec.structs.replace(outcome, scenario=(self.scenario, figures), own=dict(self.tally.own))
