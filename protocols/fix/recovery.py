"""Inbound gaps: what is held above one, and what was asked for."""

from protocols.fix.codec import Message


class Recovery:
    """The inbound side of a resend: at most one request out, high messages held in bounds."""

    __slots__ = (
        "_begin",
        "_held",
        "_held_bytes",
        "_max_bytes",
        "_max_messages",
        "_until",
        "attempts",
        "is_open",
        "moved_ns",
    )

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        # MsgSeqNum -> message; None: it was acted on already and only has to be counted.
        self._held: dict[int, Message | None] = {}
        self._held_bytes = 0
        self._begin = 0
        self._until = 0
        self.is_open = False
        self.moved_ns = 0  # when the gap last shrank, or was asked for
        self.attempts = 0

    @property
    def is_idle(self) -> bool:
        """No gap, nothing held."""
        return not self.is_open and not self._held

    def was_asked_for(self, msg_seq_num: int) -> bool:
        """Tell whether the last request on this connection reached to this number (16=0: it reaches to the end)."""
        return 0 < self._begin <= msg_seq_num

    def hold(self, msg_seq_num: int, message: Message | None) -> None:
        """Keep a message above the gap; one over the bounds is dropped, and will be found missing."""
        if msg_seq_num in self._held:
            return
        size = len(message.raw) if message is not None else 0
        if len(self._held) < self._max_messages and self._held_bytes + size <= self._max_bytes:
            self._held[msg_seq_num] = message
            self._held_bytes += size

    def has(self, msg_seq_num: int) -> bool:
        """Tell whether this number is held."""
        return msg_seq_num in self._held

    def take(self, msg_seq_num: int) -> Message | None:
        """Hand a held message over; None when it was acted on already."""
        message = self._held.pop(msg_seq_num)
        if message is not None:
            self._held_bytes -= len(message.raw)
        return message

    def ask(self, next_in: int, msg_seq_num: int, is_resent: bool, now_ns: int) -> bool:
        """Tell whether a ResendRequest from `next_in` is due, now that `msg_seq_num` is too high.

        While one is out there is no second, but for a hole in the very resend that answers it.
        """
        if self.is_open and not (is_resent and self._begin < next_in):
            return False
        self.is_open = True
        self._begin = next_in
        self._until = max(self._until, msg_seq_num - 1)
        self.moved_ns = now_ns
        self.attempts = 1
        return True

    def ask_again(self, next_in: int, now_ns: int) -> None:
        """Note a request repeated because the gap did not shrink."""
        self._begin = next_in
        self.moved_ns = now_ns
        self.attempts += 1

    def moved_to(self, next_in: int, now_ns: int, jumped: bool = False) -> None:
        """Note that everything below `next_in` is in; `jumped`: over more than one number."""
        self.moved_ns = now_ns
        self.attempts = 1
        if next_in > self._until:
            self.is_open = False
        if jumped:
            for number in [number for number in self._held if number < next_in]:
                self.take(number)

    def reset(self) -> None:
        """Forget the gap and what is above it."""
        self._held.clear()
        self._held_bytes = 0
        self._begin = 0
        self._until = 0
        self.is_open = False
