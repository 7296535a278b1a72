"""The gateway's end of the pricing process: hands marks over, takes generations over, in slices of the loop.

Nothing here decides on orders. Whatever goes wrong, the generation in force stays and ages; the checks refuse new risk
when it is too old (risk/pre_trade.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.monitor import Monitor
from gateway.slowside.book import BookTeller
from gateway.slowside.double_buffer import FrameReader, FrameWriter, TornFrameError, memory_bytes
from gateway.slowside.memory import SharedMemory
from gateway.slowside.messages import (
    InstrumentTerms,
    PassReport,
    UnusableGenerationError,
    audit,
    pack_snapshot,
    unpack_generation,
    unpack_report,
)
from gateway.slowside.one_by_one import MarginTerms
from gateway.slowside.process import ANSWER, ASK, HELLO, setting_bytes, setup_bytes
from gateway.slowside.sections import MalformedFrameError
from gateway.slowside.supervision import Act, Heard, State, Supervision
from gateway.valuation import Valuation
from risk.account import Account
from risk.marks import Market
from risk.repricing import MarketSnapshot

COMMAND: Final = (sys.executable, "-m", "gateway.slowside.process")
# What of our environment it needs; credentials are not among it.
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "MARGINGATE_PURE")
# One thread: the other processors are for others.
_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# A move of a mark is noticed so late at most.
LOOK_S: Final = 0.02
# After a generation the next begins so much later at the earliest, however much moves.
LEAST_PAUSE_NS: Final = 100_000_000
END_LIMIT_S: Final = 5.0

_TROUBLES: Final = {
    State.DOWN: "the pricing process is down",
    State.STARTING: "the pricing process is starting",
    State.READY: "",
    State.PRICING: "the pricing process is late",
}


class Child:
    """One pricing process with memory of its own: what an earlier one may still write goes nowhere."""

    def __init__(
        self, setup: bytes, slot_bytes: int, command: tuple[str, ...], teller: BookTeller | None = None
    ) -> None:
        with contextlib.ExitStack() as undo:
            memories = [
                SharedMemory.create(f"margingate-{name}", size)
                for name, size in (
                    ("setup", len(setup)),
                    ("snapshots", memory_bytes(slot_bytes)),
                    ("generations", memory_bytes(slot_bytes)),
                    ("rows", memory_bytes(slot_bytes)),
                )
            ]
            for memory in memories:
                undo.callback(memory.close)
            memories[0].view[:] = setup
            self.doorbell, theirs = socket.socketpair()
            undo.callback(self.doorbell.close)
            with theirs:
                descriptors = [theirs.fileno(), *(memory.descriptor for memory in memories)]
                self.process = subprocess.Popen(
                    [*command, *map(str, descriptors)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _THREADS,
                    start_new_session=True,  # Ctrl-C is for the gateway, which then says goodbye to this one
                )
            undo.pop_all()
        self._memories = memories
        self.doorbell.setblocking(False)
        self.writer = FrameWriter(memories[1].view)
        self.reader = FrameReader(memories[2].view)
        self.rows = memories[3]
        self.known = 0  # instruments whose terms it has
        self.version = -1  # of what it prices by: none that a generation is asked for with
        self.teller = BookTeller() if teller is None else teller

    def ring(self) -> None:
        """Tell it that there is a snapshot; one that does not listen is found out by its deadline."""
        with contextlib.suppress(OSError):
            self.doorbell.send(ASK)

    def heard(self) -> bytes:
        """Return what it said since; raises EOFError if it is gone."""
        try:
            said = self.doorbell.recv(64)
        except BlockingIOError:
            return b""
        except OSError:
            said = b""
        if not said:
            raise EOFError
        return said

    def end(self) -> None:
        """End it at once; `is_gone` tells when it is."""
        self.process.kill()
        self.doorbell.close()
        for memory in self._memories:
            memory.close()

    @property
    def is_gone(self) -> bool:
        """Whether it has ended and was reaped."""
        return self.process.poll() is not None


class PricingProcess:
    """Keeps a pricing process at work for as long as `run` does."""

    def __init__(
        self,
        valuation: Valuation,
        market: Market,
        monitor: Monitor,
        clock: Callable[[], int],
        *,
        interval_ns: int,
        slot_bytes: int,
        accounts: Mapping[str, Account],
        remargin_ns: int,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._valuation, self._market, self._monitor, self._clock = valuation, market, monitor, clock
        self._interval_ns, self._slot_bytes, self._command = interval_ns, slot_bytes, command
        self.supervision = Supervision(clock())
        self.child: Child | None = None
        self._ending: list[Child] = []
        self._terms = InstrumentTerms()
        self._asked: MarketSnapshot | None = None
        self._asked_ns = clock() - interval_ns
        self._accounts, self._remargin_ns = accounts, remargin_ns
        self._told_ns = 0
        self._watch = LoopWatch(clock)
        self._report: PassReport | None = None
        self._rung = asyncio.Event()
        self._last_exit: int | None = None  # of the one before: negative, the signal that ended it
        self.taken = 0

    async def run(self) -> None:
        """Ask for a generation at each interval and move, and take over what comes, until it is cancelled."""
        try:
            await self._work()
        finally:
            self.close()

    async def _work(self) -> None:
        while True:
            try:
                await self._turn()
            except (UnusableGenerationError, MalformedFrameError, TornFrameError, ValueError, OSError) as error:
                self._act(self.supervision.hear(Heard.UNUSABLE, self._clock(), str(error)))
            except Exception as error:  # a fault of ours: the same, and its kind is told
                text = f"{type(error).__name__}: {error}"
                self._act(self.supervision.hear(Heard.UNUSABLE, self._clock(), text))

    def close(self) -> None:
        """End the process and wait until it has ended."""
        self._end_child()
        for child in self._ending:
            child.process.wait(END_LIMIT_S)
        self._ending.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return its state as plain values."""
        supervision, child = self.supervision, self.child
        return {
            "state": supervision.state.value,
            "pid": None if child is None else child.process.pid,
            "starts": supervision.starts,
            "generations": self.taken,
            "trouble": supervision.trouble,
            "last_exit": self._last_exit,
            "loop_us": self._watch.last_total_ns / 1e3,
            "slowest_slice_us": self._watch.slowest_ns / 1e3,
        }

    def margins(self) -> dict[str, Any] | None:
        """Return the last pass over all accounts in a few numbers, and where its rows can be read; None before it."""
        report, child = self._report, self.child
        if report is None or child is None:
            return None
        names = {account.index: account.name for account in self._accounts.values()} if report.summary else {}
        summary = {} if report.summary is None else msgspec.to_builtins(report.summary)
        if report.summary is not None:
            summary["age_ms"] = (self._clock() - summary.pop("as_of_ns")) / 1e6
            columns = ("equity", "initial_margin", "maintenance_margin")
            summary["nearest"] = [
                {"account": names.get(account)} | dict(zip(columns, figures, strict=True))
                for account, *figures in report.summary.nearest
            ]
        return summary | {"trouble": report.trouble, "path": child.rows.path}

    async def _turn(self) -> None:
        supervision, now_ns = self.supervision, self._clock()
        self._reap()
        if supervision.deadline_ns is not None and now_ns >= supervision.deadline_ns:
            self._act(supervision.hear(Heard.DEADLINE, now_ns))
        if supervision.is_ready and self._is_due(now_ns):
            await self._ask()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), LOOK_S)
        self._rung.clear()
        await self._listen()

    def _reap(self) -> None:
        for child in [child for child in self._ending if child.is_gone]:
            self._ending.remove(child)
            self._last_exit = child.process.returncode

    def _is_due(self, now_ns: int) -> bool:
        since_ns, market = now_ns - self._asked_ns, self._market
        return is_due(since_ns, self._interval_ns, market.has_moved) and any(mark is not None for mark in market.marks)

    async def _ask(self) -> None:
        """Hand the marks of now over, in slices, and ring."""
        child, valuation = self.child, self._valuation
        assert child is not None
        self._asked_ns = self._clock()
        watch = self._watch
        watch.begin()
        await watch.all_of(valuation.snapshot_in_steps(self._asked_ns))
        snapshot = self._asked = valuation.snapshot
        assert snapshot is not None
        while not self._terms.add_some(list(snapshot.instruments)):
            await watch.turn()
        change = None
        if self._asked_ns - self._told_ns >= self._remargin_ns:
            self._told_ns = self._asked_ns
            await watch.all_of(child.teller.change_in_steps(list(self._accounts.values())))
            change = child.teller.change
        acting = valuation.asked
        setting = None if child.version == acting.version else setting_bytes(valuation.setting)
        pieces = pack_snapshot(snapshot, self._terms, child.known, change, setting)
        await watch.all_of(child.writer.write_in_steps(snapshot.number, snapshot.as_of_ns, pieces))
        child.known, child.version = self._terms.count, acting.version
        child.ring()
        watch.end()
        self._act(self.supervision.hear(Heard.ASKED, self._clock()))

    async def _listen(self) -> None:
        child = self.child
        if child is None:
            return
        try:
            said = child.heard()
        except EOFError:
            self._act(self.supervision.hear(Heard.ENDED, self._clock(), "it ended"))
            return
        for byte in said:
            what = _WORDS.get(byte)
            now_ns = self._clock()
            if what is None:
                self._act(self.supervision.hear(Heard.UNUSABLE, now_ns, f"it said {byte}"))
            elif self._act(self.supervision.hear(what, now_ns)) is Act.TAKE:
                await self._take(child)

    async def _take(self, child: Child) -> None:
        """Copy the generation out, look at it, and swap it in; half of one goes nowhere."""
        valuation, snapshot = self._valuation, self._asked
        assert snapshot is not None
        watch = self._watch
        watch.begin()
        await watch.all_of(child.reader.read_in_steps())
        frame = child.reader.frame
        if frame is None or frame.number != snapshot.number or frame.as_of_ns != snapshot.as_of_ns:
            raise UnusableGenerationError("it answered, and there is no such generation")
        generation = unpack_generation(frame, snapshot, valuation.setting)
        await watch.turn()
        audit(generation, snapshot, generation.grid)
        self._report = unpack_report(frame)
        await watch.turn()
        valuation.take(generation)
        while not valuation.step():
            await watch.turn()
        watch.end()
        watch.generation_taken()
        self.taken += 1
        self.supervision.generation_taken(self._clock())

    def _act(self, act: Act) -> Act:
        """Do what supervision says; TAKE is left to the caller."""
        supervision = self.supervision
        if act is Act.START:
            try:
                self._start()
            except OSError as error:
                act = supervision.hear(Heard.ENDED, self._clock(), f"it can not be started: {error.strerror}")
        if act is Act.KILL:
            self._monitor.alert(f"pricing process: {supervision.trouble}; generations grow stale until it works again")
            self._end_child()
        self._market.pricing_trouble = _TROUBLES[supervision.state]
        return act

    def _start(self) -> None:
        valuation, accounts = self._valuation, self._accounts.values()
        terms = MarginTerms(
            house=valuation.terms,
            venue_books=valuation.venue_books,
            sub_accounts={account.index: account.sub_accounts for account in accounts if account.sub_accounts},
        )
        setup = setup_bytes(valuation.setting, self._market.longest_mark_age_ns, terms)
        self._told_ns, self._report = 0, None
        haircuts = valuation.terms.haircuts
        teller = BookTeller(
            tells_moved=haircuts is not None, tells_places=haircuts is not None and haircuts.location > 0
        )
        child = self.child = Child(setup, self._slot_bytes, self._command, teller)
        child.version = self._valuation.asked.version
        asyncio.get_running_loop().add_reader(child.doorbell.fileno(), self._rung.set)

    def _end_child(self) -> None:
        child, self.child = self.child, None
        if child is not None:
            with contextlib.suppress(RuntimeError):  # no loop runs any more
                asyncio.get_running_loop().remove_reader(child.doorbell.fileno())
            child.end()
            self._ending.append(child)


def is_due(since_ns: int, interval_ns: int, has_moved: bool) -> bool:
    """Whether a generation is due, so long after the one before was begun: by the timer, or for a move."""
    return since_ns >= interval_ns or (has_moved and since_ns >= LEAST_PAUSE_NS)


class LoopWatch:
    """How long the loop was kept by a generation's slices, and by the longest of them."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.total_ns = self.slowest_ns = 0
        self.last_total_ns = 0
        self._began_ns = clock()

    def begin(self) -> None:
        """A slice begins."""
        self._began_ns = self._clock()

    def end(self) -> None:
        """It has ended."""
        took_ns = self._clock() - self._began_ns
        self.total_ns += took_ns
        self.slowest_ns = max(self.slowest_ns, took_ns)

    def generation_taken(self) -> None:
        """All slices of a generation are done."""
        self.last_total_ns, self.total_ns = self.total_ns, 0

    async def turn(self) -> None:
        """End a slice, let others have the loop, begin the next."""
        self.end()
        await asyncio.sleep(0)
        self.begin()

    async def all_of(self, steps: Iterator[None]) -> None:
        """Do steps, each as a slice."""
        for _ in steps:
            await self.turn()


_WORDS: Final = {HELLO[0]: Heard.HELLO, ANSWER[0]: Heard.ANSWER}
