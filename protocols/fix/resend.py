"""Outbound resends: stored messages with PossDupFlag(43), runs of others as one GapFill."""

from protocols.fix.codec import Header, encode, format_timestamp, possible_duplicate
from protocols.fix.messages import SEQUENCE_RESET
from protocols.fix.store import MessageStore

# How many numbers one chunk may look at, so that a store full of gaps stalls nobody either.
_MAX_STEPS = 4096


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
        gap_begin = 0
        steps = 0
        sending_time = format_timestamp(now_ns, header.timestamp_digits)
        # What the store has dropped is one gap, however wide.
        first_kept = min(sent.first_seq_num, self.end + 1)
        if self._next < first_kept:
            gap_begin, self._next = self._next, first_kept
        while self._next <= self.end and size < max_bytes and steps < _MAX_STEPS:
            raw = sent.get(self._next)
            if raw is None:
                gap_begin = gap_begin or self._next
            else:
                if gap_begin:
                    parts.append(_gap_fill(gap_begin, self._next, header, now_ns))
                    gap_begin = 0
                parts.append(possible_duplicate(raw, sending_time))
                size += len(parts[-1])
            self._next += 1
            steps += 1
        if gap_begin:
            parts.append(_gap_fill(gap_begin, self._next, header, now_ns))
        return b"".join(parts)


def _gap_fill(begin: int, new_seq_no: int, header: Header, now_ns: int) -> bytes:
    """Return a GapFill. It never was sent before, so OrigSendingTime is SendingTime."""
    return encode(SEQUENCE_RESET, header, begin, now_ns, (new_seq_no, b"Y"), True, now_ns)
