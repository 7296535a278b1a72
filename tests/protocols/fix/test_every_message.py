"""Every message of every version: its least valid form passes. Each fault of each field: test_differential.py."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2, Dictionary, GroupRule
from protocols.fix.formats import Format
from tests.protocols.fix.conversation import VERSIONS
from tests.protocols.fix.test_codec import NOW_NS, envelope
from tests.protocols.fix.twins import IDS, TWINS

Field = tuple[int, bytes]
DICTIONARIES = dict(zip(VERSIONS, (FIX42, FIX44, FIX50SP2), strict=True))
VALUES = {
    Format.TEXT: b"x",
    Format.CHAR: b"x",
    Format.BOOLEAN: b"Y",
    Format.INT: b"1",
    Format.COUNT: b"1",
    Format.FLOAT: b"1.5",
    Format.TIMESTAMP: b"20260101-00:00:00.123",
    Format.DATE: b"20260101",
    Format.TIME: b"12:00:00",
    Format.MONTH_YEAR: b"202603",
    Format.WORDS: b"x",
    Format.DATA: b"x",
    Format.GROUP: b"1",
}
# What no value of a format looks like; a text is anything printable.
NO_VALUES = {
    Format.TEXT: b"\x02",
    Format.CHAR: b"xy",
    Format.BOOLEAN: b"y",
    Format.INT: b"1.0",
    Format.COUNT: b"-1",
    Format.FLOAT: b"1e5",
    Format.TIMESTAMP: b"20260101",
    Format.DATE: b"20261301",
    Format.TIME: b"24:00:00",
    Format.MONTH_YEAR: b"2026",
    Format.WORDS: b" x",
    Format.GROUP: b"x",
}
HEADER = {35, 34, 49, 52, 56, 8, 9, 10}


def value_of(dictionary: Dictionary, tag: int) -> bytes:
    field = dictionary.fields[tag]
    return min(field.values) if field.values else VALUES[field.format]


def entry(dictionary: Dictionary, group: GroupRule) -> Iterator[Field]:
    """The least entry of a group: its first field, and what else is required."""
    for tag in group.tags:
        if tag == group.tags[0] or tag in group.required:
            yield from with_group(dictionary, group.groups, tag)


def with_group(dictionary: Dictionary, groups: Any, tag: int) -> Iterator[Field]:
    yield tag, value_of(dictionary, tag)
    if tag in groups:
        yield from entry(dictionary, groups[tag])


def least(dictionary: Dictionary, msg_type: str) -> list[Field]:
    rule = dictionary.messages[msg_type]
    return [field for tag in rule.members if tag in rule.required for field in with_group(dictionary, rule.groups, tag)]


def raw_of(dictionary: Dictionary, msg_type: str, body: list[Field]) -> bytes:
    head = f"35={msg_type}|34=5|49=CLIENT|52=20260101-00:00:00.123|56=GATE|".encode()
    inner = head + b"".join([b"%d=%b|" % field for field in body])
    return envelope(inner, dictionary.begin_string.encode())


MESSAGES = [(version, msg_type) for version, one in DICTIONARIES.items() for msg_type in one.messages]


def screen_of(twin: SimpleNamespace, dictionary: Dictionary, msg_type: str) -> Any:
    return twin.Screen(dictionary, frozenset({msg_type}), dictionary.begin_string, "CLIENT", "GATE", 120 * 10**9)


@pytest.mark.parametrize("twin", TWINS, ids=IDS)
def test_the_least_message(twin: SimpleNamespace) -> None:
    for version, msg_type in MESSAGES:
        dictionary = DICTIONARIES[version]
        body = least(dictionary, msg_type)
        message = twin.decode(raw_of(dictionary, msg_type, body))
        assert dictionary.validate(message) is None, (version, msg_type)
        has_groups = any(dictionary.fields[tag].format is Format.GROUP for tag, _ in body)
        # Groups are left to validation by the plain screen, and large ones by the compiled one.
        if not has_groups:
            assert screen_of(twin, dictionary, msg_type).passes(message, 5, NOW_NS), (version, msg_type)
