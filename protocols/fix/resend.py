"""Outbound resends: stored messages with PossDupFlag(43), runs of others as one GapFill."""

from protocols.fix.codec import Header, encode, format_timestamp, possible_duplicate
from protocols.fix.messages import SEQUENCE_RESET
from protocols.fix.store import MessageStore


class Resend:
    """A resend on its way, made piece by piece from the store."""

    __slots__ = ("_next", "end", "live_from")

    def __init__(self, begin: int, end: int, live_from: int) -> None:
        """Numbers `begin` to `end`, both included; from `live_from` on messages wait to be sent for the first time."""
        self._next = begin
        self.end = end
        self.live_from = live_from

    @property
    def is_done(self) -> bool:
        """Nothing is left to send again."""
        return self._next > self.end

    def chunk(self, sent: MessageStore, header: Header, now_ns: int, max_bytes: int) -> bytes:
        """Return the next part, of about `max_bytes` at the most."""
        parts: list[bytes] = []
        size = 0
        sending_time = format_timestamp(now_ns, header.timestamp_digits)
        while self._next <= self.end and size < max_bytes:
            # A run of numbers without a message is one gap, however wide.
            kept = min(sent.next_kept(self._next), self.end + 1)
            raw = sent.get(kept) if kept == self._next else None
            if raw is None:
                parts.append(_gap_fill(self._next, kept, header, now_ns))
                self._next = kept
            else:
                parts.append(possible_duplicate(raw, sending_time))
                size += len(parts[-1])
                self._next += 1
        return b"".join(parts)


def _gap_fill(begin: int, new_seq_no: int, header: Header, now_ns: int) -> bytes:
    """Return a GapFill. It never was sent before, so OrigSendingTime is SendingTime."""
    return encode(SEQUENCE_RESET, header, begin, now_ns, (new_seq_no, b"Y"), True, now_ns)
