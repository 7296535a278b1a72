"""Plain Python twin of the FIX codec: reads like the specification.

Tag=value with SOH at the end of each field; `8`, `9`, `35` first, `10` last. Nothing here knows a
dictionary: fields are cut, lengths and sums verified, and that is all.
"""

import re
import zlib
from collections.abc import Iterable
from itertools import pairwise

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.fix.values import format_timestamp

SOH = b"\x01"
MAX_MESSAGE_BYTES = 8192
MAX_FIELDS = 512
MAX_BUFFERED_BYTES = 65_536
# The largest message that we write: far above any report, far below what would stall a reader.
MAX_ENCODED_BYTES = 65_536
TRAILER_BYTES = 7  # 10=nnn and its SOH

# Length field -> the data field that it measures, over all versions (FIX volume 1, type "data").
DATA_OF_LENGTH = {
    90: 91,
    93: 89,
    95: 96,
    212: 213,
    348: 349,
    350: 351,
    352: 353,
    354: 355,
    356: 357,
    358: 359,
    360: 361,
    362: 363,
    364: 365,
    445: 446,
    618: 619,
    621: 622,
    1184: 1185,
    1277: 1278,
    1280: 1281,
    1282: 1283,
    1397: 1398,
    1401: 1402,
    1403: 1404,
    1525: 1527,
    1620: 1621,
    1664: 1665,
}

_HEAD = re.compile(rb"8=FIX[^\x01]{1,11}\x019=([0-9]{1,9})\x01")
# What could still become a head when more bytes come.
_HEAD_BEGINNING = re.compile(rb"8=FIX(?:[^\x01]{0,11}|[^\x01]{1,11}\x01(?:9?|9=[0-9]{0,9}))")
_TRAILER = re.compile(rb"\x0110=([0-9]{3})\x01")
# A message is cut at once when its "=" and SOH alternate, which is what is left of it without all other bytes.
_OTHER_BYTES = bytes(byte for byte in range(256) if byte not in b"=\x01")
_ALTERNATING = b"=\x01" * 4096
_STRICT_TAG = re.compile(rb"[1-9][0-9]{0,8}")
# No field has an empty tag, so nothing is ever found under 0.
_TAG_TEXT = (b"", *[b"%d" % tag for tag in range(1, 2048)])
_KNOWN_TAG_TEXTS = frozenset(_TAG_TEXT[1:])
_LENGTH_TEXTS = frozenset(b"%d" % tag for tag in DATA_OF_LENGTH)


def _tag_text(tag: int) -> bytes:
    return _TAG_TEXT[tag] if 0 <= tag < 2048 else b"%d" % tag


def _tag_number(text: bytes) -> int:
    """Return the tag, or 0 when it is not strictly a number (FIX: no leading zeros)."""
    return int(text) if _STRICT_TAG.fullmatch(text) else 0


class Message:
    """One message as it came, cut into fields; read-only.

    A tag that is not strictly a number has tag 0. `msg_seq_num` is -1 when MsgSeqNum(34) is missing
    or no number. `has_duplicates` tells whether any tag came twice, in groups too.
    """

    __slots__ = ("first", "has_duplicates", "msg_seq_num", "msg_type", "raw", "texts", "wire_values")

    def __init__(self, raw: bytes, texts: list[bytes], wire_values: list[bytes], first: dict[bytes, bytes]) -> None:
        """`texts`: tags as they are written; `first`: the first value of each."""
        self.raw = raw
        self.texts = texts
        self.wire_values = wire_values
        self.first = first
        self.has_duplicates = len(first) != len(texts)
        self.msg_type = first[b"35"].decode("latin-1")
        seq_num = first.get(b"34", b"")
        self.msg_seq_num = int(seq_num) if seq_num.isdigit() and len(seq_num) < 19 else -1

    def get(self, tag: int) -> bytes | None:
        """Return the value of the first field with this tag, or None."""
        return self.first.get(_tag_text(tag))

    def values(self, tags: tuple[int, ...]) -> tuple[bytes | None, ...]:
        """Return the first value of each tag, None where absent."""
        first = self.first.get
        return tuple([first(_TAG_TEXT[tag] if 0 <= tag < 2048 else b"%d" % tag) for tag in tags])

    def fields(self) -> list[tuple[int, bytes]]:
        """Return (tag, value) in wire order, 8 to 10."""
        return [(_tag_number(text), value) for text, value in zip(self.texts, self.wire_values, strict=True)]

    def groups(self, count_tag: int, tags: tuple[int, ...]) -> list[tuple[bytes | None, ...]]:
        """Return one tuple of values (in order of `tags`) for each entry of a repeating group."""
        return group_values(self.fields(), count_tag, tags)

    def __repr__(self) -> str:
        # Not the fields: a Logon holds secrets, and reprs end up in logs.
        return f"Message({self.msg_type!r}, {self.msg_seq_num})"


def group_values(
    fields: list[tuple[int, bytes]], count_tag: int, tags: tuple[int, ...]
) -> list[tuple[bytes | None, ...]]:
    """Cut the group after `count_tag` into entries; tags[0] is its first field, and begins each entry.

    The group ends at the first field that `tags` does not name, so name nested ones too.
    """
    position_of = {tag: position for position, tag in enumerate(tags)}
    entries: list[list[bytes | None]] = []
    within = False
    for tag, value in fields:
        if not within:
            within = tag == count_tag
        elif tag == tags[0]:
            entries.append([None] * len(tags))
            entries[-1][0] = value
        elif tag in position_of and entries:
            position = position_of[tag]
            if entries[-1][position] is None:
                entries[-1][position] = value
        else:
            break
    return [tuple(entry) for entry in entries]


def check_sum(data: bytes) -> int:
    """Return the sum of all bytes modulo 256."""
    # adler32's low half is the plain sum while that stays below 65521: 515 ASCII bytes, or 256 of any.
    if len(data) <= 515 and data.isascii():
        return zlib.adler32(data, 0) & 255
    return sum([zlib.adler32(data[at : at + 256], 0) for at in range(0, len(data), 256)]) & 255


def frame(
    buffer: bytes, start: int, max_message_bytes: int = MAX_MESSAGE_BYTES, max_fields: int = MAX_FIELDS
) -> Message | int:
    """Cut one message out of `buffer`, which has ``8=FIX`` (or its beginning) at `start`.

    Returns the message; or n > 0: needs n bytes from `start` before it is worth asking again; or n < 0: garbled,
    and the reader must go on -n bytes after `start`. Raises RemoteProtocolError for a message over a limit.
    """
    head = _HEAD.match(buffer, start)
    if head is None:
        rest = buffer[start : start + 32]
        may_begin = b"8=FIX".startswith(rest) or _HEAD_BEGINNING.fullmatch(rest)
        return len(rest) + 1 if may_begin else -1
    body_start = head.end()
    total = body_start - start + int(head[1]) + TRAILER_BYTES
    if total > max_message_bytes:
        raise RemoteProtocolError(f"message of {total} bytes is over the limit of {max_message_bytes}")
    body_end = start + total - TRAILER_BYTES
    if len(buffer) < body_start + 3:
        return body_start + 3 - start
    if not buffer.startswith(b"35=", body_start):
        return -1
    if len(buffer) - start < total:
        return total
    trailer = _TRAILER.match(buffer, body_end - 1)
    # A fault costs the body that BodyLength(9) claims, be it too long: a head within may be text, not a message.
    # So no byte is looked at twice.
    if trailer is None or body_end - body_start < 5:
        return start - body_end
    raw = buffer[start : start + total]
    if check_sum(raw[:-TRAILER_BYTES]) != int(trailer[1]):
        return -total
    fields = _split_fields(raw)
    if fields is None:
        fields = cut_fields(raw)
        if fields is None:
            return -total
    texts, values = fields
    if len(texts) > max_fields:
        raise RemoteProtocolError(f"{len(texts)} fields are over the limit of {max_fields}")
    first = dict(zip(texts, values))
    if len(first) != len(texts):
        first = dict(zip(reversed(texts), reversed(values)))
    if not first.keys() <= _KNOWN_TAG_TEXTS and any(_is_no_number(text) for text in first):
        return -total
    return Message(raw, texts, values, first)


def _split_fields(raw: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Return tags and values, None when a value holds "=" or may be data, which must be cut one by one."""
    marks = raw.translate(None, _OTHER_BYTES)
    if marks != _ALTERNATING[: len(marks)]:
        return None
    parts = raw.replace(b"=", SOH).split(SOH)
    texts = parts[:-1:2]
    return None if not _LENGTH_TEXTS.isdisjoint(texts) else (texts, parts[1::2])


def _is_no_number(text: bytes) -> bool:
    """Tell a tag that is no number at all (garbled) from a number badly written (a finding of validation)."""
    return text.isascii() and not any(48 <= byte <= 57 for byte in text)


def cut_fields(raw: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Cut with data fields taken by their length; None when some field has no '='."""
    texts: list[bytes] = []
    values: list[bytes] = []
    at = 0
    data_tag, data_length = 0, 0
    while at < len(raw):
        equals = raw.find(b"=", at)
        end = raw.find(SOH, at)
        if not at < equals < end:
            return None
        text = raw[at:equals]
        tag = _tag_number(text)
        value_end = equals + 1 + data_length
        if data_tag and tag == data_tag and raw[value_end : value_end + 1] == SOH:
            end = value_end
        value = raw[equals + 1 : end]
        texts.append(text)
        values.append(value)
        data_tag = DATA_OF_LENGTH.get(tag, 0)
        if data_tag:
            data_length = int(value) if value.isdigit() and len(value) < 6 else len(raw)
        at = end + 1
    return texts, values


def decode(raw: bytes) -> Message:
    """Decode exactly one message; RemoteProtocolError when it is garbled, cut short or over a limit."""
    found = frame(raw, 0)
    if isinstance(found, int) or len(found.raw) != len(raw):
        raise RemoteProtocolError("garbled message")
    return found


class Header:
    """The standard header of one session's outgoing messages, prebuilt but for number and time.

    `timestamp_digits` of a second in SendingTime(52): 0, 3, 6 or 9.
    """

    __slots__ = (
        "after_orig_time",
        "after_time",
        "before_time",
        "begin",
        "begin_string",
        "sender_comp_id",
        "target_comp_id",
        "timestamp_digits",
    )

    def __init__(
        self,
        begin_string: str,
        sender_comp_id: str,
        target_comp_id: str,
        routing: Iterable[tuple[int, bytes]] = (),
        timestamp_digits: int = 3,
    ) -> None:
        """`routing`: further header fields, such as SenderSubID(50) or DeliverToCompID(128)."""
        if timestamp_digits not in (0, 3, 6, 9):
            raise ValueError(f"timestamp_digits must be 0, 3, 6 or 9, not {timestamp_digits}")
        self.begin_string = begin_string
        self.sender_comp_id = sender_comp_id
        self.target_comp_id = target_comp_id
        self.timestamp_digits = timestamp_digits
        fields = [(49, sender_comp_id.encode("ascii")), (56, target_comp_id.encode("ascii")), *routing]
        for tag, value in fields:
            if not value or SOH in value:
                raise ValueError(f"header field {tag} must have a value without SOH")
        fields.sort(key=lambda field: field[0])
        self.begin = b"8=%b\x019=" % begin_string.encode("ascii")
        self.before_time = _join(field for field in fields if field[0] < 52)
        self.after_time = _join(field for field in fields if 52 < field[0] < 122)
        self.after_orig_time = _join(field for field in fields if field[0] > 122)


def _join(fields: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join([b"%d=%b\x01" % field for field in fields])


class Layout:
    """The body fields that a kind of message may carry, ascending by tag; each may be left out."""

    __slots__ = ("_templates", "data_values", "msg_type", "msg_type_field", "prefixes", "tags")

    def __init__(self, msg_type: str, tags: tuple[int, ...]) -> None:
        if any(after <= before for before, after in pairwise(tags)):
            raise ValueError("tags of a layout must ascend")
        self.msg_type = msg_type
        self.tags = tags
        self.msg_type_field = b"35=%b\x0134=" % msg_type.encode("ascii")
        self.prefixes = tuple(b"%d=" % tag for tag in tags)
        self.data_values = any(tag in DATA_OF_LENGTH.values() for tag in tags)
        # types of the values -> %-template: a session sees a handful of shapes; bounded all the same.
        self._templates: dict[tuple[type, ...], tuple[bytes, int]] = {}

    def __repr__(self) -> str:
        return f"Layout({self.msg_type!r}, {self.tags!r})"

    def body(self, values: tuple[bytes | int | None, ...]) -> bytes:
        """Return the body fields; None and empty values are left out."""
        kinds = tuple(map(type, values))
        known = self._templates.get(kinds)
        if known is None:
            known = self._new_template(kinds)
        template, count = known
        body = template % values
        if b"=\x01" in body:  # an empty value, or one that ends in "="
            pairs = [(prefix, value) for prefix, value in zip(self.prefixes, values, strict=True) if value != b""]
            body = b"".join([_FIELD_FORMAT[type(value)] % (prefix, value) for prefix, value in pairs])
            count = sum(value is not None for _, value in pairs)
        if body.count(SOH) != count and not self.data_values:
            raise LocalProtocolError(f"a value of {self} holds SOH")
        return body

    def _new_template(self, kinds: tuple[type, ...]) -> tuple[bytes, int]:
        if len(kinds) != len(self.tags):
            raise LocalProtocolError(f"{self} takes {len(self.tags)} values, not {len(kinds)}")
        if not set(kinds) <= _FIELD_FORMAT.keys():
            raise LocalProtocolError(f"{self} takes bytes, int and None, not {kinds}")
        if len(self._templates) >= 256:
            self._templates.clear()
        text = b"".join([_TEMPLATE_FORMAT[kind] % prefix for prefix, kind in zip(self.prefixes, kinds, strict=True)])
        known = (text, sum(kind is not type(None) for kind in kinds))
        self._templates[kinds] = known
        return known


# "%.0a" writes nothing, whatever the value: the way to pass None through a template.
_TEMPLATE_FORMAT = {bytes: b"%b%%b\x01", int: b"%b%%d\x01", type(None): b"%.0b%%.0a"}
_FIELD_FORMAT = {bytes: b"%b%b\x01", int: b"%b%d\x01", type(None): b"%.0b%.0a"}


def encode(
    layout: Layout,
    header: Header,
    msg_seq_num: int,
    sending_time_ns: int,
    values: tuple[bytes | int | None, ...],
    poss_dup: bool = False,
    orig_sending_time_ns: int | None = None,
) -> bytes:
    """Return a whole message: header, body fields of `layout` that have a value, length and sum.

    Raises LocalProtocolError when a value holds SOH, is of another type, or the message grows too long.
    """
    orig_sending_time = None
    if orig_sending_time_ns is not None:
        orig_sending_time = format_timestamp(orig_sending_time_ns, header.timestamp_digits)
    return assemble(
        layout.msg_type_field,
        header,
        msg_seq_num,
        format_timestamp(sending_time_ns, header.timestamp_digits),
        layout.body(values),
        poss_dup,
        orig_sending_time,
    )


def assemble(
    msg_type_field: bytes,
    header: Header,
    msg_seq_num: int,
    sending_time: bytes,
    body: bytes,
    poss_dup: bool = False,
    orig_sending_time: bytes | None = None,
) -> bytes:
    """Return a whole message around a ready body; `msg_type_field` ends in ``34=``."""
    inner = b"%b%d\x01%b%b52=%b\x01%b%b%b%b" % (
        msg_type_field,
        msg_seq_num,
        b"43=Y\x01" if poss_dup else b"",
        header.before_time,
        sending_time,
        header.after_time,
        b"122=%b\x01" % orig_sending_time if orig_sending_time is not None else b"",
        header.after_orig_time,
        body,
    )
    message = b"%b%d\x01%b" % (header.begin, len(inner), inner)
    if len(message) > MAX_ENCODED_BYTES:
        raise LocalProtocolError(f"message of {len(message)} bytes is too long to send")
    return b"%b10=%03d\x01" % (message, check_sum(message))


def encode_fields(
    msg_type: str,
    header: Header,
    msg_seq_num: int,
    sending_time_ns: int,
    fields: Iterable[tuple[int, bytes | int]],
    poss_dup: bool = False,
    orig_sending_time_ns: int | None = None,
) -> bytes:
    """As `encode`, for any list of body fields in any order, groups and data fields among them."""
    parts = []
    for tag, value in fields:
        text = b"%d" % value if isinstance(value, int) else value
        if SOH in text and tag not in DATA_OF_LENGTH.values():
            raise LocalProtocolError(f"the value of tag {tag} holds SOH")
        parts.append(b"%d=%b\x01" % (tag, text))
    digits = header.timestamp_digits
    return assemble(
        b"35=%b\x0134=" % msg_type.encode("ascii"),
        header,
        msg_seq_num,
        format_timestamp(sending_time_ns, digits),
        b"".join(parts),
        poss_dup,
        None if orig_sending_time_ns is None else format_timestamp(orig_sending_time_ns, digits),
    )
