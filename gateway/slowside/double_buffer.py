"""Frames from one writer to one reader through two slots of shared memory; a half of one is never taken.

The n-th frame goes into slot n % 2, so the writer never touches the newest complete one. A slot says twice which frame
it holds: `begun` before its first byte changes, `ended` after its last. The reader copies a slot and looks at both
again. Beyond that, sums over the slot's head and over the frame tell what no order of stores can: a writer that was
killed or has gone mad, and a processor that shows stores in another order.

Both ends work in steps, each at most CHUNK_BYTES: a loop does other things between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

import msgspec
from crc32c import crc32c

SLOTS: Final = 2
HEAD_BYTES: Final = 64
# Some 0.05 ms of copying and summing.
CHUNK_BYTES: Final = 1 << 18
# begun | sequence, number, as_of_ns, length, sum of the frame, sum of the five before | ended
_COUNTER: Final = Struct("<Q")
_HEAD: Final = Struct("<QQqQI")
_SUM: Final = Struct("<I")
_BEGUN_AT: Final = 0
_HEAD_AT: Final = 8
_SUM_AT: Final = _HEAD_AT + _HEAD.size
_ENDED_AT: Final = 56
MAX_NUMBER: Final = (1 << 63) - 1

Piece = bytes | bytearray | memoryview


class Frame(msgspec.Struct, frozen=True, eq=False):
    """What the writer left, copied out of shared memory and checked."""

    sequence: int
    number: int
    as_of_ns: int
    payload: bytearray


class TornFrameError(Exception):
    """What stands in a slot is not what a writer finished; the text says why. The frame before stays what it is."""


def memory_bytes(slot_bytes: int) -> int:
    """Return how much memory takes two frames of up to `slot_bytes`."""
    return SLOTS * (HEAD_BYTES + slot_bytes)


class _Slots:
    def __init__(self, memory: memoryview, chunk_bytes: int) -> None:
        if len(memory) < memory_bytes(1):
            raise ValueError(f"{len(memory)} bytes hold no two slots")
        self._memory = memory
        self._chunk_bytes = chunk_bytes
        self.slot_bytes = len(memory) // SLOTS - HEAD_BYTES

    def _offset(self, sequence: int) -> int:
        return sequence % SLOTS * (HEAD_BYTES + self.slot_bytes)

    def _counter(self, at: int) -> int:
        value: int = _COUNTER.unpack_from(self._memory, at)[0]
        return value


class FrameWriter(_Slots):
    """The writing end. One writer a memory: a process that is started anew gets memory of its own."""

    def __init__(self, memory: memoryview, chunk_bytes: int = CHUNK_BYTES) -> None:
        super().__init__(memory, chunk_bytes)
        self.sequence = 0

    def write(self, number: int, as_of_ns: int, pieces: Sequence[Piece]) -> None:
        """Write one frame in one go; raises ValueError as `write_in_steps`."""
        for _ in self.write_in_steps(number, as_of_ns, pieces):
            pass

    def write_in_steps(self, number: int, as_of_ns: int, pieces: Sequence[Piece]) -> Iterator[None]:
        """Write one frame, a step at each turn; the reader sees it after the last. One that is given up is never seen.

        Raises
        ------
        ValueError
            If it does not fit, or its number is none: nothing was written.
        """
        length = sum(len(piece) for piece in pieces)
        if length > self.slot_bytes:
            raise ValueError(f"a frame of {length} bytes is larger than its slot of {self.slot_bytes}")
        if not 0 <= number <= MAX_NUMBER:
            raise ValueError(f"{number} is not the number of a frame")
        self.sequence += 1
        return self._write(self.sequence, number, as_of_ns, length, pieces)

    def _write(self, sequence: int, number: int, as_of_ns: int, length: int, pieces: Sequence[Piece]) -> Iterator[None]:
        memory, offset = self._memory, self._offset(sequence)
        _COUNTER.pack_into(memory, offset + _BEGUN_AT, sequence)
        yield
        at, summed = offset + HEAD_BYTES, 0
        for piece in pieces:
            for start in range(0, len(piece), self._chunk_bytes):
                part = piece[start : start + self._chunk_bytes]
                memory[at : at + len(part)] = part
                summed = crc32c(part, summed)
                at += len(part)
                yield
        head = _HEAD.pack(sequence, number, as_of_ns, length, summed)
        memory[offset + _HEAD_AT : offset + _SUM_AT] = head
        yield
        _SUM.pack_into(memory, offset + _SUM_AT, crc32c(head))
        yield
        _COUNTER.pack_into(memory, offset + _ENDED_AT, sequence)


class FrameReader(_Slots):
    """The reading end: the newest complete frame, each at most once."""

    def __init__(self, memory: memoryview, chunk_bytes: int = CHUNK_BYTES) -> None:
        super().__init__(memory, chunk_bytes)
        self.sequence = 0
        self.frame: Frame | None = None

    def read(self) -> Frame | None:
        """Return the newest frame that was not read before, or None; raises TornFrameError."""
        for _ in self.read_in_steps():
            pass
        return self.frame

    def read_in_steps(self) -> Iterator[None]:
        """Copy the newest complete frame out, a step at each turn; `frame` has it after the last, or None.

        Raises
        ------
        TornFrameError
            If the slot changed meanwhile or is not what its sums say. It is not looked at again.
        """
        self.frame = None
        sequence = max((n for n in map(self._complete, range(SLOTS)) if n > self.sequence), default=0)
        yield
        if sequence == 0:
            return
        self.sequence = sequence
        memory, offset = self._memory, self._offset(sequence)
        head = bytes(memory[offset + _HEAD_AT : offset + _SUM_AT])
        (head_sum,) = _SUM.unpack_from(memory, offset + _SUM_AT)
        yield
        found, number, as_of_ns, length, frame_sum = _HEAD.unpack(head)
        if crc32c(head) != head_sum or found != sequence or length > self.slot_bytes:
            raise TornFrameError(f"frame {sequence}: its head is damaged")
        payload, summed, at = bytearray(length), 0, offset + HEAD_BYTES
        for start in range(0, length, self._chunk_bytes):
            stop = min(start + self._chunk_bytes, length)
            payload[start:stop] = memory[at + start : at + stop]
            # Of the copy: what is in shared memory may be another thing by now.
            summed = crc32c(memoryview(payload)[start:stop], summed)
            yield
        if self._counter(offset + _BEGUN_AT) != sequence or self._counter(offset + _ENDED_AT) != sequence:
            raise TornFrameError(f"frame {sequence}: it was overwritten while it was read")
        if summed != frame_sum:
            raise TornFrameError(f"frame {sequence}: its sum is not that of its bytes")
        self.frame = Frame(sequence, number, as_of_ns, payload)

    def _complete(self, slot: int) -> int:
        """Return which frame a slot holds completely, 0 where none."""
        offset = self._offset(slot)
        ended = self._counter(offset + _ENDED_AT)
        is_whole = ended == self._counter(offset + _BEGUN_AT) and ended % SLOTS == slot
        return ended if is_whole else 0
