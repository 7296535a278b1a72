"""Sent messages by number, kept for resending: bounded in number and in bytes, the oldest go first."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

MAX_SENT_BYTES = 64 << 20
# Places of dropped messages are given back in batches: one by one would move all others each time.
_DROPPED_AT_ONCE: Final = 1024


class MessageStore:
    """The last `capacity` messages sent, `max_bytes` of them at the most, numbered.

    A number whose message is gone, or was none to keep (None: administrative, or volatile), is filled by a GapFill on
    resend. Such numbers take no room: a day of market data pushes no report out. `epoch` counts how often numbers
    began anew, for who copies a store.
    """

    __slots__ = ("_begin", "_bytes", "_floor", "_kept", "_next", "_numbers", "capacity", "epoch", "max_bytes")

    def __init__(self, capacity: int, max_bytes: int = MAX_SENT_BYTES) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.epoch = 0
        # Messages and their numbers, ascending; those before `_begin` are dropped.
        self._kept: list[bytes] = []
        self._numbers: list[int] = []
        self._begin = 0
        self._bytes = 0
        self._next = self._floor = 1  # no message below the floor is kept

    def __len__(self) -> int:
        return len(self._kept) - self._begin

    @property
    def bytes_kept(self) -> int:
        """The size of all messages that are kept."""
        return self._bytes

    @property
    def first_seq_num(self) -> int:
        """The oldest number whose message is kept; the next one when none is."""
        return self._numbers[self._begin] if self._begin < len(self._numbers) else self._next

    def put(self, msg_seq_num: int, raw: bytes | None) -> None:
        """Keep the message sent under this number; None for one that is not to be sent again.

        A number other than the next one (a restart from numbers alone) forgets what came before.
        """
        if msg_seq_num != self._next:
            self.reset(msg_seq_num)
        self._next = msg_seq_num + 1
        if raw is None:
            return
        kept = self._kept
        kept.append(raw)
        self._numbers.append(msg_seq_num)
        self._bytes += len(raw)
        if len(kept) - self._begin > self.capacity or self._bytes > self.max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        kept, begin, newest = self._kept, self._begin, len(self._kept) - 1
        while begin < newest and (newest - begin >= self.capacity or self._bytes > self.max_bytes):
            self._bytes -= len(kept[begin])
            kept[begin] = b""
            begin += 1
        self._floor = self._numbers[begin - 1] + 1 if begin else self._floor
        if begin >= _DROPPED_AT_ONCE:
            del kept[:begin], self._numbers[:begin]
            begin = 0
        self._begin = begin

    def get(self, msg_seq_num: int) -> bytes | None:
        """Return the message, None when it is not kept or was none to keep."""
        index = bisect_left(self._numbers, msg_seq_num, self._begin)
        return self._kept[index] if index < len(self._kept) and self._numbers[index] == msg_seq_num else None

    def next_kept(self, msg_seq_num: int) -> int:
        """Return the first number from this one on whose message is kept; the next to be sent when there is none."""
        index = bisect_left(self._numbers, msg_seq_num, self._begin)
        return self._numbers[index] if index < len(self._numbers) else max(self._next, msg_seq_num)

    def last(self, count: int) -> list[bytes | None]:
        """Return what was sent under the last `count` numbers, the oldest first; fewer where the oldest are dropped."""
        first = max(self._next - count, self._floor)
        found: list[bytes | None] = [None] * max(self._next - first, 0)
        for index in range(bisect_left(self._numbers, first, self._begin), len(self._numbers)):
            found[self._numbers[index] - first] = self._kept[index]
        return found

    def get_range(self, begin: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield (number, message) from `begin` to `end`, both included."""
        for msg_seq_num in range(begin, end + 1):
            yield msg_seq_num, self.get(msg_seq_num)

    def reset(self, next_seq_num: int = 1) -> None:
        """Forget everything; the next number will be `next_seq_num`."""
        self._kept.clear()
        self._numbers.clear()
        self._begin = self._bytes = 0
        self._next = self._floor = next_seq_num
        self.epoch += 1
