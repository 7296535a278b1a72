"""Plain twin of the fast check: is this message exactly the regular next one?

A screen may say no to a message that is clean (then the slow path finds nothing wrong with it);
it never says yes to one that is not.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from protocols.fix.formats import Format
from protocols.fix.plain import Message, Shape
from protocols.fix.values import parse_timestamp

if TYPE_CHECKING:
    from protocols.fix.dictionary import Dictionary, FieldRule

Check = Callable[[bytes], object]

_UNPRINTABLE_KEPT = bytes([1, *range(32, 127)])
_strict_tag = re.compile(rb"[1-9][0-9]{0,8}").fullmatch
_short_decimal = re.compile(rb"-?[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch

# Where SendingTime(52) is, and the checks of a shape's values by their place: those that are not for any text.
Known = tuple[int, tuple[tuple[int, Check], ...]]
_MAX_SHAPES = 64

# Body checks by tag text, required tag texts, all tag texts of the message.
Table = tuple[dict[bytes, Check], frozenset[bytes], frozenset[bytes]]
# Dictionary -> MsgType -> Table; shared by all sessions.
_tables: "WeakKeyDictionary[Dictionary, dict[str, Table]]"
_tables = WeakKeyDictionary()


class Screen:
    """One session's fast check of application messages."""

    def __init__(
        self,
        dictionary: "Dictionary",
        msg_types: frozenset[str],
        begin_string: str,
        sender_comp_id: str,
        target_comp_id: str,
        max_latency_ns: int,
        identity: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        """CompIDs as the peer writes them: it is the sender. `identity`: further header fields that it must send."""
        self._max_latency_ns = max_latency_ns
        tables = _tables.setdefault(dictionary, {})
        for msg_type in dictionary.messages.keys() & msg_types - tables.keys():
            tables[msg_type] = _table(dictionary, msg_type)
        self._tables: Mapping[str, Table] = {
            msg_type: table for msg_type, table in tables.items() if msg_type in msg_types
        }
        self._allows_unknown_tags = dictionary.allows_unknown_tags
        self._allows_any_order = dictionary.allows_any_order
        self._header: dict[bytes, Check] = _checks(dictionary, dictionary.header)
        self._identity = {b"%d" % tag: value for tag, value in identity}
        for text, value in self._identity.items():
            self._header[text] = {value}.__contains__
        self._header[b"8"] = {begin_string.encode()}.__contains__
        self._header[b"49"] = {sender_comp_id.encode()}.__contains__
        self._header[b"56"] = {target_comp_id.encode()}.__contains__
        self._header[b"43"] = {b"N"}.__contains__
        # Known to be right by framing, by `msg_seq_num`, by the latency check.
        self._header[b"9"] = self._header[b"34"] = self._header[b"52"] = len
        self._shapes: dict[str, dict[Shape, Known]] = {msg_type: {} for msg_type in self._tables}

    def passes(self, message: Message, msg_seq_num: int, now_ns: int) -> bool:
        """Tell whether `message` is an application message, wholly valid, numbered so and sent just now."""
        if message.msg_seq_num != msg_seq_num:
            return False
        shapes = self._shapes.get(message.msg_type)
        if shapes is None:
            return False
        shape = message.shape
        known = shapes.get(shape)
        if known is None:
            known = self._learn(message.msg_type, shape)
        time_at, checks = known
        if not checks:
            return False
        raw = message.raw
        # Empty values, and bytes that no text has, are looked for in all fields at once.
        if b"=\x01" in raw or raw.translate(None, _UNPRINTABLE_KEPT):
            return False
        values = message.wire_values
        sent_ns = parse_timestamp(values[time_at])
        if sent_ns is None or abs(now_ns - sent_ns) > self._max_latency_ns:
            return False
        for at, check in checks:
            if not check(values[at]):
                break
        else:
            return True
        return False

    def _learn(self, msg_type: str, shape: Shape) -> Known:
        """Return what is left to check of messages of this shape; nothing, where one of them can not pass."""
        shapes = self._shapes[msg_type]
        known = (0, self._value_checks(msg_type, shape))
        if known[1]:
            known = (shape.places[b"52"], known[1])
        if len(shapes) >= _MAX_SHAPES:
            shapes.clear()
        shapes[shape] = known
        return known

    def _value_checks(self, msg_type: str, shape: Shape) -> tuple[tuple[int, Check], ...]:
        """Return (place, check) of each value of a shape; none for one that has a fault by itself."""
        body, required, all_tags = self._tables[msg_type]
        present = shape.places.keys()
        if shape.has_duplicates or not required | self._identity.keys() <= present:
            return ()
        found = []
        checks = self._header
        for at, text in enumerate(shape.texts):
            check = checks.get(text)
            if check is None:
                # The header is over once a body field came; `body` knows no header field.
                check = body.get(text) if checks is not body else None
                if check is not None:
                    checks = body
                elif self._allows_any_order and text in self._header:
                    check = self._header[text]
                elif self._allows_unknown_tags and text not in all_tags and _strict_tag(text):
                    check = len
                else:
                    return ()
            if check is not len:
                found.append((at, check))
        return tuple(found)


def _table(dictionary: "Dictionary", msg_type: str) -> Table:
    rule = dictionary.messages[msg_type]
    # 10 stands last whatever else: framing saw to it, and a second one would be a duplicate.
    tags = rule.body | {10}
    checks = _checks(dictionary, tags)
    checks[b"10"] = len
    return checks, frozenset(b"%d" % tag for tag in rule.required), frozenset(b"%d" % tag for tag in rule.all_tags)


def _checks(dictionary: "Dictionary", tags: frozenset[int]) -> dict[bytes, Check]:
    return {b"%d" % tag: _check(dictionary.fields[tag]) for tag in tags}


def _check(field: "FieldRule") -> Check:
    if field.format is Format.WORDS and field.values:
        return lambda value: field.values.issuperset(value.split(b" "))
    if field.values:
        return field.values.__contains__
    if field.format is Format.TEXT:
        return len  # the whole message is known to be printable
    if field.format is Format.FLOAT:
        return _short_decimal
    if field.format in (Format.GROUP, Format.DATA):
        return _never
    return field.check


def _never(value: bytes) -> bool:
    return False
