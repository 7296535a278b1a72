"""Sent messages by number, kept for resending: bounded, the oldest go first."""

from collections.abc import Iterator


class MessageStore:
    """The last `capacity` messages sent, numbered without holes.

    A number whose message is gone, or was administrative (None), is filled by a GapFill on resend.
    """

    __slots__ = ("_next", "_ring", "capacity")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self.capacity = capacity
        # Grows to `capacity` and then turns round: slot of a number is number % capacity.
        self._ring: list[bytes | None] = []
        self._next = 1

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def first_seq_num(self) -> int:
        """The oldest number that is still kept; the next one when none is."""
        return self._next - len(self._ring)

    def put(self, msg_seq_num: int, raw: bytes | None) -> None:
        """Keep the message sent under this number; None for an administrative one.

        A number other than the next one (a restart from numbers alone) forgets what came before.
        """
        if msg_seq_num != self._next:
            self.reset(msg_seq_num)
        ring = self._ring
        if len(ring) < self.capacity:
            ring.append(raw)
            if len(ring) == self.capacity:
                self._turn(msg_seq_num)
        else:
            ring[msg_seq_num % self.capacity] = raw
        self._next = msg_seq_num + 1

    def _turn(self, last: int) -> None:
        """Turn the list, full for the first time, so that number % capacity is its slot."""
        start = (last + 1) % self.capacity
        ring = self._ring
        self._ring = ring[len(ring) - start :] + ring[: len(ring) - start]

    def get(self, msg_seq_num: int) -> bytes | None:
        """Return the message, None when it is not kept or was administrative."""
        ring = self._ring
        first = self._next - len(ring)
        if not first <= msg_seq_num < self._next:
            return None
        if len(ring) < self.capacity:
            return ring[msg_seq_num - first]
        return ring[msg_seq_num % self.capacity]

    def get_range(self, begin: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield (number, message) from `begin` to `end`, both included."""
        for msg_seq_num in range(begin, end + 1):
            yield msg_seq_num, self.get(msg_seq_num)

    def reset(self, next_seq_num: int = 1) -> None:
        """Forget everything; the next number will be `next_seq_num`."""
        self._ring.clear()
        self._next = next_seq_num
