"""Sent messages by number, kept for resending: bounded in number and in bytes, the oldest go first."""

from collections.abc import Iterator

MAX_SENT_BYTES = 64 << 20


class MessageStore:
    """The last `capacity` messages sent, `max_bytes` of them at the most, numbered without holes.

    A number whose message is gone, or was administrative (None), is filled by a GapFill on resend. `epoch` counts how
    often numbers began anew, for who copies a store.
    """

    __slots__ = ("_begin", "_bytes", "_dropped", "_next", "_slots", "capacity", "epoch", "max_bytes")

    def __init__(self, capacity: int, max_bytes: int = MAX_SENT_BYTES) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.epoch = 0
        # A ring: number n has slot (n - begin) % capacity.
        self._slots: list[bytes | None] = []
        self._begin = self._next = 1
        self._bytes = 0
        self._dropped = 1  # numbers below were dropped for want of bytes

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def bytes_kept(self) -> int:
        """The size of all messages that are kept."""
        return self._bytes

    @property
    def first_seq_num(self) -> int:
        """The oldest number that is still kept; the next one when none is."""
        return self._next - len(self._slots)

    def put(self, msg_seq_num: int, raw: bytes | None) -> None:
        """Keep the message sent under this number; None for an administrative one.

        A number other than the next one (a restart from numbers alone) forgets what came before.
        """
        if msg_seq_num != self._next:
            self.reset(msg_seq_num)
        self._next = msg_seq_num + 1
        slots = self._slots
        if len(slots) < self.capacity:
            slots.append(raw)
        else:
            slot = (msg_seq_num - self._begin) % self.capacity
            old = slots[slot]
            if old is not None:
                self._bytes -= len(old)
            slots[slot] = raw
        if raw is not None:
            self._bytes += len(raw)
            if self._bytes > self.max_bytes:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        number = max(self._dropped, self.first_seq_num)
        while self._bytes > self.max_bytes and number < self._next - 1:
            slot = (number - self._begin) % self.capacity
            old = self._slots[slot]
            if old is not None:
                self._bytes -= len(old)
                self._slots[slot] = None
            number += 1
        self._dropped = number

    def get(self, msg_seq_num: int) -> bytes | None:
        """Return the message, None when it is not kept or was administrative."""
        if self._next - len(self._slots) <= msg_seq_num < self._next:
            return self._slots[(msg_seq_num - self._begin) % self.capacity]
        return None

    def last(self, count: int) -> list[bytes | None]:
        """Return the newest `count`, or all that are kept where they are fewer, the oldest first."""
        slots = self._slots
        if count >= len(slots):
            count = len(slots)
        if not count:
            return []
        first = (self._next - count - self._begin) % self.capacity
        found = slots[first : first + count]
        return found if len(found) == count else found + slots[: count - len(found)]

    def get_range(self, begin: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield (number, message) from `begin` to `end`, both included."""
        for msg_seq_num in range(begin, end + 1):
            yield msg_seq_num, self.get(msg_seq_num)

    def reset(self, next_seq_num: int = 1) -> None:
        """Forget everything; the next number will be `next_seq_num`."""
        self._slots = []
        self._begin = self._next = self._dropped = next_seq_num
        self._bytes = 0
        self.epoch += 1
