"""I/O of transfers: the optimiser's process, and requests to venues. It decides nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from gateway.clock import now_ns
from gateway.config import Config
from gateway.journal import JournalError
from gateway.monitor import Monitor
from gateway.slowside.transfer_plans import Planner
from gateway.transfers.channels import VenueChannel, rest_of, venue_channel
from gateway.transfers.desk import TransferDesk
from gateway.transfers.needs import Problem
from gateway.transfers.sender import NS_PER_S
from gateway.venues.http import HttpExecutor
from risk.transfers import TransferPlanError

LOOK_S: Final = 0.05


class TransferRunner:
    """`run` until it is cancelled. Channels of venues are made here; raises CredentialsError, OSError for files."""

    def __init__(
        self,
        config: Config,
        desk: TransferDesk,
        monitor: Monitor,
        flush: Callable[[], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._desk = desk
        self._monitor = monitor
        self._flush = flush
        self._planner = Planner()
        self._planning: asyncio.Task[None] | None = None
        self._channels: list[tuple[VenueChannel, str, ssl.SSLContext | None]] = []
        self._executors: list[tuple[VenueChannel, HttpExecutor]] = []
        if config.collateral is None:
            return
        timeout_ns = config.collateral.answer_timeout_s * NS_PER_S
        for one in config.collateral.channel:
            channel = venue_channel(one, desk.told, timeout_ns, environ)
            context = None if one.ca_file is None else ssl.create_default_context(cafile=str(one.ca_file))
            self._channels.append((channel, rest_of(one), context))
            desk.connect(channel)

    async def run(self) -> None:
        """Execute what is wanted, for ever."""
        self._executors = [(channel, HttpExecutor(base, context)) for channel, base, context in self._channels]
        try:
            while True:
                self._look()
                await asyncio.sleep(LOOK_S)
        finally:
            self._planner.close()
            if self._planning is not None:
                self._planning.cancel()
            for _, executor in self._executors:
                await executor.close()

    def _look(self) -> None:
        for channel, executor in self._executors:
            for request in channel.http_requests():
                executor.submit(request, channel, self._answered)
        if self._planning is None or self._planning.done():
            problem = self._desk.wanted(now_ns())
            if problem is not None:
                self._planning = asyncio.create_task(self._plan(problem))

    async def _plan(self, problem: Problem) -> None:
        try:
            plan = await self._planner.solve(problem)
        except TransferPlanError as error:
            self._desk.not_planned(str(error), now_ns())
        except Exception as error:  # a fault of ours in it moves nothing, and the next is planned all the same
            self._desk.not_planned(f"{type(error).__name__}: {error}", now_ns())
        else:
            self._desk.planned(problem, plan, now_ns())
            self._flush()

    def _answered(self, answer: Callable[[int], None], asked: object) -> None:
        """Take an answer; one that the journal can not follow is asked for again."""
        try:
            answer(now_ns())
        except JournalError as error:
            self._monitor.journal_failed(str(error))
        self._flush()
