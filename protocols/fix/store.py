"""Sent messages by number, kept for resending: bounded, the oldest go first."""

from collections import deque
from collections.abc import Iterator


class MessageStore:
    """The last `capacity` messages sent, numbered without holes.

    A number whose message is gone, or was administrative (None), is filled by a GapFill on resend.
    """

    __slots__ = ("_kept", "_next", "capacity")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        self._kept: deque[bytes | None] = deque(maxlen=capacity)
        self._next = 1

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def first_seq_num(self) -> int:
        """The oldest number that is still kept; the next one when none is."""
        return self._next - len(self._kept)

    def put(self, msg_seq_num: int, raw: bytes | None) -> None:
        """Keep the message sent under this number; None for an administrative one.

        A number other than the next one (a restart from numbers alone) forgets what came before.
        """
        if msg_seq_num != self._next:
            self._kept.clear()
        self._kept.append(raw)
        self._next = msg_seq_num + 1

    def get(self, msg_seq_num: int) -> bytes | None:
        """Return the message, None when it is not kept or was administrative."""
        index = msg_seq_num - self.first_seq_num
        return self._kept[index] if 0 <= index < len(self._kept) else None

    def get_range(self, begin: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield (number, message) from `begin` to `end`, both included."""
        for msg_seq_num in range(begin, end + 1):
            yield msg_seq_num, self.get(msg_seq_num)

    def reset(self, next_seq_num: int = 1) -> None:
        """Forget everything; the next number will be `next_seq_num`."""
        self._kept.clear()
        self._next = next_seq_num
