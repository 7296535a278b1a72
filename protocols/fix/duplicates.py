"""Plain twin: a message of ours as it is sent again."""

from protocols.fix.plain import SOH, TRAILER_BYTES, check_sum

# Header fields that an encoder of ours may write between SendingTime(52) and OrigSendingTime(122).
BEHIND_TIME = frozenset({b"56", b"57", b"97", b"115", b"116"})


def possible_duplicate(raw: bytes, sending_time: bytes) -> bytes:
    """Return a sent message with 43=Y, 122 = its SendingTime(52), a new 52, and the same body.

    `raw` was made by an encoder of ours: its header ascends from MsgSeqNum(34) on.
    """
    begin = raw.index(b"\x0135=") + 1
    number_end = raw.index(SOH, raw.index(b"\x0134=", begin) + 1) + 1
    names = raw.index(SOH, number_end) + 1 if raw.startswith(b"43=", number_end) else number_end
    time_at = raw.index(b"\x0152=", names - 1) + 4
    at = time_end = raw.index(SOH, time_at)
    original = raw[time_at:time_end]
    while True:
        at += 1
        equals = raw.index(b"=", at)
        tag = raw[at:equals]
        if tag not in BEHIND_TIME:
            break
        at = raw.index(SOH, equals)
    rest = at
    if tag == b"122":  # sent again before it was stored
        rest = raw.index(SOH, equals) + 1
        original = raw[equals + 1 : rest - 1]
    inner = b"%b43=Y\x01%b%b%b122=%b\x01%b" % (
        raw[begin:number_end],
        raw[names:time_at],
        sending_time,
        raw[time_end:at],
        original,
        raw[rest:-TRAILER_BYTES],
    )
    message = b"%b%d\x01%b" % (raw[: raw.index(b"\x019=") + 3], len(inner), inner)
    return b"%b10=%03d\x01" % (message, check_sum(message))
