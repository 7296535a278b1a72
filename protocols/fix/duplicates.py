"""Plain twin: a message of ours as it is sent again."""

import re

from protocols.errors import LocalProtocolError
from protocols.fix.plain import TRAILER_BYTES, check_sum

# A message of ours up to its body: BeginString, number, what stands before SendingTime(52), that, what stands before
# OrigSendingTime(122), and that. Header fields ascend from MsgSeqNum(34) on.
_HEADER = re.compile(
    rb"(8=[^\x01]*\x019=)[^\x01]*\x01(35=[^\x01]*\x0134=[^\x01]*\x01)(?:43=[^\x01]*\x01)?((?:[^\x01]*\x01)*?52=)([^\x01]*)"
    rb"(\x01(?:(?:56|57|97|115|116)=[^\x01]*\x01)*)(?:122=([^\x01]*)\x01)?"
).match


def possible_duplicate(raw: bytes, sending_time: bytes) -> bytes:
    """Return a sent message with 43=Y, 122 = its SendingTime(52), a new 52, and the same body.

    Raises LocalProtocolError for what no encoder of ours has made.
    """
    header = _HEADER(raw)
    if header is None:
        raise LocalProtocolError("a stored message is cut short")
    begin, number, before_time, sent_at, behind_time, first_sent_at = header.groups()
    inner = b"%b43=Y\x01%b%b%b122=%b\x01%b" % (
        number,
        before_time,
        sending_time,
        behind_time,
        first_sent_at or sent_at,
        raw[header.end() : -TRAILER_BYTES],
    )
    message = b"%b%d\x01%b" % (begin, len(inner), inner)
    return b"%b10=%03d\x01" % (message, check_sum(message))
