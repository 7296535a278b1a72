"""Plain twin of the fast check: is this message exactly the regular next one?

A screen may say no to a message that is clean (then the slow path finds nothing wrong with it);
it never says yes to one that is not.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from protocols.fix.formats import Format
from protocols.fix.plain import Message
from protocols.fix.values import parse_timestamp

if TYPE_CHECKING:
    from protocols.fix.dictionary import Dictionary, FieldRule

Check = Callable[[bytes], object]

_UNPRINTABLE_KEPT = bytes([1, *range(32, 127)])
_short_decimal = re.compile(rb"-?[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch

# Dictionary -> MsgType -> (body checks by tag text, required tag texts); shared by all sessions.
_tables: "WeakKeyDictionary[Dictionary, dict[str, tuple[dict[bytes, Check], frozenset[bytes]]]]"
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
    ) -> None:
        """CompIDs as the peer writes them: it is the sender."""
        self._max_latency_ns = max_latency_ns
        tables = _tables.get(dictionary)
        if tables is None:
            tables = _tables[dictionary] = {msg_type: _table(dictionary, msg_type) for msg_type in dictionary.messages}
        self._tables: Mapping[str, tuple[dict[bytes, Check], frozenset[bytes]]] = {
            msg_type: table for msg_type, table in tables.items() if msg_type in msg_types
        }
        self._header: dict[bytes, Check] = _checks(dictionary, dictionary.header)
        self._header[b"8"] = {begin_string.encode()}.__contains__
        self._header[b"49"] = {sender_comp_id.encode()}.__contains__
        self._header[b"56"] = {target_comp_id.encode()}.__contains__
        self._header[b"43"] = {b"N"}.__contains__
        # Known to be right by framing, by `msg_seq_num`, by the latency check.
        self._header[b"9"] = self._header[b"34"] = self._header[b"52"] = len

    def passes(self, message: Message, msg_seq_num: int, now_ns: int) -> bool:
        """Tell whether `message` is an application message, wholly valid, numbered so and sent just now."""
        table = self._tables.get(message.msg_type)
        if (
            table is None
            or message.msg_seq_num != msg_seq_num
            or message.has_duplicates
            or message.raw.translate(None, _UNPRINTABLE_KEPT)
        ):
            return False
        body, required = table
        if not required <= message.first.keys():
            return False
        sent_ns = parse_timestamp(message.first[b"52"])
        if sent_ns is None or abs(now_ns - sent_ns) > self._max_latency_ns:
            return False
        checks = self._header
        for text, value in zip(message.texts, message.wire_values):
            check = checks.get(text)
            if check is None:
                # The header is over once a body field came; `body` knows no header field.
                if checks is body:
                    return False
                checks = body
                check = checks.get(text)
                if check is None:
                    return False
            if not check(value):
                return False
        return True


def _table(dictionary: "Dictionary", msg_type: str) -> tuple[dict[bytes, Check], frozenset[bytes]]:
    rule = dictionary.messages[msg_type]
    # 10 stands last whatever else: framing saw to it, and a second one would be a duplicate.
    tags = rule.body | {10}
    checks = _checks(dictionary, tags)
    checks[b"10"] = len
    return checks, frozenset(b"%d" % tag for tag in rule.required)


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
