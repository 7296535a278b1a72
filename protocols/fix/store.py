"""Sent messages by number, kept for resending: bounded, the oldest go first."""

from bisect import bisect_left
from collections.abc import Iterator


class MessageStore:
    """The last `capacity` messages sent, numbered.

    A number whose message is gone, or was none to keep (None: administrative, or volatile), is filled by a GapFill on
    resend. Such numbers take no room: a day of market data pushes no report out.
    """

    __slots__ = ("_kept", "_limit", "_next", "_numbers", "capacity")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        # Messages and their numbers, ascending. Only the last `capacity` count: those before go in batches, which
        # costs a report a fraction of what dropping one each time would.
        self._kept: list[bytes] = []
        self._numbers: list[int] = []
        self._limit = capacity + capacity // 64
        self._next = 1

    def __len__(self) -> int:
        return len(self._kept) - self._begin

    @property
    def _begin(self) -> int:
        return max(len(self._kept) - self.capacity, 0)

    @property
    def first_seq_num(self) -> int:
        """The oldest number whose message is kept; the next one when none is."""
        return self._numbers[self._begin] if self._numbers else self._next

    def put(self, msg_seq_num: int, raw: bytes | None) -> None:
        """Keep the message sent under this number; None for one that is not to be sent again.

        A number other than the next one (a restart from numbers alone) forgets what came before.
        """
        if msg_seq_num != self._next:
            self.reset()
        self._next = msg_seq_num + 1
        if raw is not None:
            kept = self._kept
            kept.append(raw)
            self._numbers.append(msg_seq_num)
            if len(kept) > self._limit:
                begin = self._begin
                del kept[:begin], self._numbers[:begin]

    def get(self, msg_seq_num: int) -> bytes | None:
        """Return the message, None when it is not kept or was none to keep."""
        index = bisect_left(self._numbers, msg_seq_num, self._begin)
        return self._kept[index] if index < len(self._kept) and self._numbers[index] == msg_seq_num else None

    def next_kept(self, msg_seq_num: int) -> int:
        """Return the first number from this one on whose message is kept; the next to be sent when there is none."""
        index = bisect_left(self._numbers, msg_seq_num, self._begin)
        return self._numbers[index] if index < len(self._numbers) else max(self._next, msg_seq_num)

    def get_range(self, begin: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield (number, message) from `begin` to `end`, both included."""
        for msg_seq_num in range(begin, end + 1):
            yield msg_seq_num, self.get(msg_seq_num)

    def reset(self, next_seq_num: int = 1) -> None:
        """Forget everything; the next number will be `next_seq_num`."""
        self._kept.clear()
        self._numbers.clear()
        self._next = next_seq_num
