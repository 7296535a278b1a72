"""The pricing process: `python -m gateway.slowside.process DOORBELL SETUP SNAPSHOTS GENERATIONS ROWS`, all descriptors.

It waits for a byte, prices the newest snapshot and sends a byte; between, it goes over all accounts. It has no socket
but that one, no file, no credentials; it ends with its parent, whose end of the doorbell then is closed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

from gateway.slowside.book import BookChange, BookCopy
from gateway.slowside.double_buffer import Frame, FrameReader, FrameWriter, Piece
from gateway.slowside.full_margin import NO_TERMS, FullMargin, pack_rows
from gateway.slowside.memory import SharedMemory
from gateway.slowside.messages import (
    PassReport,
    pack_failure,
    pack_generation,
    unpack_change,
    unpack_setting,
    unpack_snapshot,
)
from gateway.slowside.one_by_one import Given, MarginTerms
from risk.instrument import Instrument
from risk.pricing import InstrumentMark
from risk.repricing import MarketSnapshot, Repricing
from risk.scenarios import PRICED_AT_ONCE, Generation

ASK: Final = b"?"
HELLO: Final = b"h"
ANSWER: Final = b"g"
# Orders come first where both share a processor: a tenth of it is left for this.
NICENESS: Final = 10
# One that can not end a generation in this time ends itself, also when nobody is left to end it.
ALARM_S: Final = 20
_DOORBELL_BYTES: Final = 64


class PricingServer:
    """Makes a generation of each snapshot, and goes over all accounts meanwhile; without a process around it."""

    def __init__(
        self,
        setting: dict[str, Any],
        mark_max_age_ns: int,
        rows: FrameWriter | None = None,
        terms: MarginTerms = NO_TERMS,
    ) -> None:
        self._setting = setting
        self._mark_max_age_ns = mark_max_age_ns
        self._instruments: list[Instrument] = []
        self._rows = rows
        self._book = BookCopy()
        self._margin = FullMargin(self._book, terms)
        self._given: Given | None = None
        self._has_venues = bool(terms.venue_books)
        self._changes: list[BookChange] = []
        self._generation: Generation | None = None
        self._work: Iterator[None] | None = None
        self._trouble = ""

    def answer(self, frame: Frame) -> list[Piece]:
        """Return the pieces of the frame that answers this one: a generation, or why there is none."""
        try:
            setting = unpack_setting(frame)
            if setting is not None:
                self._setting = pickle.loads(setting)
                self._margin.follow(self._setting["joint"])
            snapshot = unpack_snapshot(frame, self._instruments)
            change = unpack_change(frame)
            if change is not None:
                self._changes.append(change)
            repricing = Repricing(snapshot, self._mark_max_age_ns, self._setting)
            while not repricing.price_some(PRICED_AT_ONCE):
                pass
            self._generation = repricing.generation()
            self._given = Given(self._generation, list(snapshot.instruments), self._marks(snapshot))
            report = PassReport(self._margin.summary, self._trouble)
            return pack_generation(self._generation, self._setting, report)
        except Exception as error:
            return pack_failure(f"{type(error).__name__}: {error}")

    def _marks(self, snapshot: MarketSnapshot) -> dict[int, InstrumentMark]:
        """Return the marks as they came, for venues' own models, where there are any."""
        if not self._has_venues:
            return {}
        return Repricing(snapshot, self._mark_max_age_ns, self._setting).take_marks()

    @property
    def has_work(self) -> bool:
        """Whether a pass over all accounts is due or under way."""
        return self._work is not None or (bool(self._changes) and self._generation is not None)

    def work(self) -> None:
        """Do a slice of it. What goes wrong is reported, and the next change of the book begins a pass anew."""
        if self._work is None:
            self._work = self._pass()
        try:
            next(self._work)
        except StopIteration:
            self._work, self._trouble = None, ""
        except Exception as error:
            self._work, self._trouble = None, f"{type(error).__name__}: {error}"[:200]

    def _pass(self) -> Iterator[None]:
        while self._changes:
            yield from self._book.take_in_steps(self._changes.pop(0))
        generation = self._generation
        assert generation is not None
        yield from self._margin.pass_in_slices(generation, self._given)
        rows = self._margin.rows
        if self._rows is not None and rows is not None:
            yield from self._rows.write_in_steps(rows.number, rows.as_of_ns, pack_rows(rows))


def serve(doorbell: socket.socket, snapshots: FrameReader, generations: FrameWriter, server: PricingServer) -> None:
    """Answer until the doorbell is closed on the other side, and go over the accounts while it is silent."""
    doorbell.sendall(HELLO)
    while True:
        signal.alarm(ALARM_S if server.has_work else 0)
        if server.has_work and not select.select([doorbell], [], [], 0)[0]:
            server.work()
            continue
        if not doorbell.recv(_DOORBELL_BYTES):
            return
        frame = snapshots.read()
        if frame is not None:
            signal.alarm(ALARM_S)
            try:
                generations.write(frame.number, frame.as_of_ns, server.answer(frame))
            except ValueError as error:  # it is larger than its slot
                generations.write(frame.number, frame.as_of_ns, pack_failure(str(error)))
            doorbell.sendall(ANSWER)


def setup_bytes(setting: dict[str, Any], mark_max_age_ns: int, terms: MarginTerms = NO_TERMS) -> bytes:
    """Return what SETUP holds. It goes from the gateway to its own child, through memory that nobody else can open."""
    return pickle.dumps((setting, mark_max_age_ns, terms))


def setting_bytes(setting: dict[str, Any]) -> bytes:
    """Return a setting for snapshots from now on; it travels where SETUP does."""
    return pickle.dumps(setting)


def step_back() -> None:
    """Give way to orders where both share a processor: less of it, and never ahead of who has just been woken."""
    os.nice(NICENESS)
    with contextlib.suppress(AttributeError, OSError):  # elsewhere than on Linux, or not allowed
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(arguments: list[str]) -> None:
    """Serve the process that started us."""
    step_back()
    bell, setup, snapshots, generations, rows = (int(text) for text in arguments)
    memory = SharedMemory.attach(setup)
    setting, mark_max_age_ns, terms = pickle.loads(memory.view)
    server = PricingServer(setting, mark_max_age_ns, FrameWriter(SharedMemory.attach(rows).view), terms)
    with socket.socket(fileno=bell) as doorbell:
        reader = FrameReader(SharedMemory.attach(snapshots).view)
        writer = FrameWriter(SharedMemory.attach(generations).view)
        try:
            serve(doorbell, reader, writer, server)
        except ConnectionError:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
