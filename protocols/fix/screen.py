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
_strict_tag = re.compile(rb"[1-9][0-9]{0,8}").fullmatch
_short_decimal = re.compile(rb"-?[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch

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
        body, required, all_tags = table
        if not required <= message.first.keys():
            return False
        if self._identity and not self._identity.keys() <= message.first.keys():
            return False
        sent_ns = parse_timestamp(message.first[b"52"])
        if sent_ns is None or abs(now_ns - sent_ns) > self._max_latency_ns:
            return False
        checks = self._header
        for text, value in zip(message.texts, message.wire_values):
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
                    return False
            if not check(value):
                return False
        return True


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
