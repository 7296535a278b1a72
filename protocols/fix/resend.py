"""Outbound resends: stored messages with PossDupFlag(43), runs of others as one GapFill."""

from protocols.fix import tags
from protocols.fix.codec import Header, assemble, encode, format_timestamp
from protocols.fix.messages import SEQUENCE_RESET
from protocols.fix.plain import TRAILER_BYTES
from protocols.fix.store import MessageStore

# Header fields of a message of ours, in the order written: body begins at the first other one.
_HEADER_TAGS = frozenset(
    {
        8,
        9,
        35,
        34,
        43,
        49,
        50,
        52,
        56,
        57,
        97,
        115,
        116,
        122,
        128,
        129,
        142,
        143,
        144,
        145,
        212,
        213,
        347,
        1128,
        1129,
        1156,
    }
)
_REPLACED = frozenset({8, 9, 35, 34, 43, 49, 52, 56, 122})


def possible_duplicate(raw: bytes, header: Header, now_ns: int) -> bytes:
    """Return a sent message as it is sent again: 43=Y, 122 = its SendingTime, a new 52, the same body."""
    fields: dict[int, bytes] = {}
    at = 0
    while True:
        equals, end = raw.index(b"=", at), raw.index(b"\x01", at)
        tag = int(raw[at:equals])
        if tag not in _HEADER_TAGS:
            break
        fields[tag] = raw[equals + 1 : end]
        at = end + 1
    own = Header(
        header.begin_string,
        header.sender_comp_id,
        header.target_comp_id,
        [(tag, value) for tag, value in fields.items() if tag not in _REPLACED],
        header.timestamp_digits,
    )
    return assemble(
        b"35=%b\x0134=" % fields[tags.MSG_TYPE],
        own,
        int(fields[tags.MSG_SEQ_NUM]),
        format_timestamp(now_ns, header.timestamp_digits),
        raw[at:-TRAILER_BYTES],
        True,
        fields.get(tags.ORIG_SENDING_TIME) or fields[tags.SENDING_TIME],
    )


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
        while self._next <= self.end and size < max_bytes:
            # A run of numbers without a message is one gap, however wide.
            kept = min(sent.next_kept(self._next), self.end + 1)
            raw = sent.get(kept) if kept == self._next else None
            if raw is None:
                parts.append(_gap_fill(self._next, kept, header, now_ns))
                self._next = kept
            else:
                parts.append(possible_duplicate(raw, header, now_ns))
                size += len(parts[-1])
                self._next += 1
        return b"".join(parts)


def _gap_fill(begin: int, new_seq_no: int, header: Header, now_ns: int) -> bytes:
    """Return a GapFill. It never was sent before, so OrigSendingTime is SendingTime."""
    return encode(SEQUENCE_RESET, header, begin, now_ns, (new_seq_no, b"Y"), True, now_ns)
