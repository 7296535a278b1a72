"""The pricing process: `python -m gateway.slowside.process DOORBELL SETUP SNAPSHOTS GENERATIONS`, all file descriptors.

It waits for a byte, prices the newest snapshot and sends a byte. It has no socket but that one, no file, no
credentials; it ends with its parent, whose end of the doorbell then is closed.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from gateway.slowside.double_buffer import Frame, FrameReader, FrameWriter, Piece
from gateway.slowside.memory import SharedMemory
from gateway.slowside.messages import pack_failure, pack_generation, unpack_snapshot
from risk.instrument import Instrument
from risk.repricing import Repricing
from risk.scenarios import PRICED_AT_ONCE

ASK: Final = b"?"
HELLO: Final = b"h"
ANSWER: Final = b"g"
# Orders come first where both share a processor: a tenth of it is left for this.
NICENESS: Final = 10
# One that can not end a generation in this time ends itself, also when nobody is left to end it.
ALARM_S: Final = 20
_DOORBELL_BYTES: Final = 64


class PricingServer:
    """Makes a generation of each snapshot; without a process around it."""

    def __init__(self, setting: dict[str, Any], mark_max_age_ns: int) -> None:
        self._setting = setting
        self._mark_max_age_ns = mark_max_age_ns
        self._instruments: list[Instrument] = []

    def answer(self, frame: Frame) -> list[Piece]:
        """Return the pieces of the frame that answers this one: a generation, or why there is none."""
        try:
            snapshot = unpack_snapshot(frame, self._instruments)
            repricing = Repricing(snapshot, self._mark_max_age_ns, self._setting)
            while not repricing.price_some(PRICED_AT_ONCE):
                pass
            return pack_generation(repricing.generation(), self._setting)
        except Exception as error:
            return pack_failure(f"{type(error).__name__}: {error}")


def serve(
    doorbell: socket.socket, snapshots: FrameReader, generations: FrameWriter, answer: Callable[[Frame], list[Piece]]
) -> None:
    """Answer until the doorbell is closed on the other side."""
    doorbell.sendall(HELLO)
    while doorbell.recv(_DOORBELL_BYTES):
        frame = snapshots.read()
        if frame is not None:
            signal.alarm(ALARM_S)
            try:
                generations.write(frame.number, frame.as_of_ns, answer(frame))
            except ValueError as error:  # it is larger than its slot
                generations.write(frame.number, frame.as_of_ns, pack_failure(str(error)))
            signal.alarm(0)
            doorbell.sendall(ANSWER)


def setup_bytes(setting: dict[str, Any], mark_max_age_ns: int) -> bytes:
    """Return what SETUP holds. It goes from the gateway to its own child, through memory that nobody else can open."""
    return pickle.dumps((setting, mark_max_age_ns))


def main(arguments: list[str]) -> None:
    """Serve the process that started us."""
    os.nice(NICENESS)
    bell, setup, snapshots, generations = (int(text) for text in arguments)
    memory = SharedMemory.attach(setup)
    server = PricingServer(*pickle.loads(memory.view))
    with socket.socket(fileno=bell) as doorbell:
        reader = FrameReader(SharedMemory.attach(snapshots).view)
        writer = FrameWriter(SharedMemory.attach(generations).view)
        try:
            serve(doorbell, reader, writer, server.answer)
        except (ConnectionError, BrokenPipeError):
            return


if __name__ == "__main__":
    main(sys.argv[1:])
