"""Every message x field x fault: plain codec == compiled codec == simplefix, and validation == reference.

Fields are those of the header, the body and every group, however deep. What many messages share, header and groups, is
gone through in the first of them only, and of the two large versions every fifth case is taken. MARGINGATE_FUZZ of a
million or more takes them all, in every message.
"""

import os
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
import simplefix

from protocols.errors import RemoteProtocolError
from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2, Dictionary, GroupRule, MessageRule
from protocols.fix.formats import Format
from protocols.fix.phases import ADMIN_TYPES
from protocols.fix.plain import DATA_OF_LENGTH
from tests.protocols.fix.conversation import VERSIONS
from tests.protocols.fix.reference import Reference, cut
from tests.protocols.fix.test_codec import NOW_NS, envelope
from tests.protocols.fix.test_every_message import NO_VALUES, entry, least, screen_of, value_of
from tests.protocols.fix.twins import PLAIN, TWINS

Text = tuple[bytes, bytes]

DICTIONARIES = dict(zip(VERSIONS, (FIX42, FIX44, FIX50SP2), strict=True))
GENERATED = max(4_000, int(os.environ.get("MARGINGATE_FUZZ", "0")) // 20)
IN_ALL = int(os.environ.get("MARGINGATE_FUZZ", "0")) >= 1_000_000
HEAD: list[Text] = [(b"34", b"5"), (b"49", b"CLIENT"), (b"52", b"20260101-00:00:00.123"), (b"56", b"GATE")]
# Tags as no number is written; the last ones are none, whatever is in them.
ODD_TAGS = (b"0", b"-1", b"+11", b" 11", b"1_1", b"011", b"11 ", b"1x", b"9999999999", b"\xd9\xa3", b"-", b"abc", b"")
TOO_LONG = {
    Format.INT: b"9" * 19,
    Format.COUNT: b"9" * 19,
    Format.GROUP: b"9" * 19,
    Format.FLOAT: b"9" * 40,
    Format.CHAR: b"xx",
    Format.BOOLEAN: b"YY",
    Format.DATE: b"202601011",
    Format.MONTH_YEAR: b"2026010112",
    Format.TIME: b"12:00:00.1234567890",
    Format.TIMESTAMP: b"20260101-00:00:00.1234567890",
}


def faulty(dictionary: Dictionary, tag: int, before: list[Text], after: list[Text]) -> Iterator[list[Text]]:
    """Bodies with a field of value right, then with each fault of it, between `before` and `after`."""
    field = dictionary.fields[tag]
    text, value = b"%d" % tag, value_of(dictionary, tag)
    one = (text, value)

    def with_value(new: bytes) -> list[Text]:
        return [*before, (text, new), *after]

    yield with_value(value)
    yield [*before, *after]  # missing
    yield with_value(b"")
    yield [*before, one, one, *after]
    yield [*before, one, *after, one]
    yield [*before[:-1], one, *before[-1:], *after]  # one place too early
    yield [*before, *after[:1], one, *after[1:]]  # and too late
    yield with_value(NO_VALUES.get(field.format, b"x"))
    yield with_value(b"\x80\x02")
    yield with_value(b"99" if field.format is Format.INT else b"~")  # out of range, where there is one
    yield with_value(TOO_LONG.get(field.format, b"x" * 4000))
    yield [*before, (b"0", value), *after]
    yield [*before, (b"-1", value), *after]
    yield [*before, (ODD_TAGS[tag % len(ODD_TAGS)], value), *after]


def with_lengths(tag: int, fields: list[Text]) -> list[Text]:
    """Put the length before a data field that stands alone."""
    length = {data: length for length, data in DATA_OF_LENGTH.items()}.get(tag)
    return fields if length is None else [*fields, (b"%d" % length, b"1")]


def texts(fields: Any) -> list[Text]:
    return [(b"%d" % tag, value) for tag, value in fields]


def of_group(dictionary: Dictionary, group: GroupRule, before: list[Text], after: list[Text]) -> Iterator[list[Text]]:
    """Faults of each member of an entry, and of those of the groups inside."""
    whole = texts(entry(dictionary, group))
    for tag in group.tags:
        place = group.tags.index(tag)
        earlier = [field for field in whole if at(group, field) < place]
        later = [field for field in whole if at(group, field) > place]
        opened = with_lengths(tag, [*before, *earlier])
        yield from faulty(dictionary, tag, opened, [*later, *after])
        if tag in group.groups:
            yield from of_group(dictionary, group.groups[tag], [*opened, (b"%d" % tag, b"1")], [*later, *after])


def at(group: GroupRule, field: Text) -> int:
    """The place of a field in an entry; one of a nested group has the place of its count."""
    tag = int(field[0])
    for place, member in enumerate(group.tags):
        if tag == member or (member in group.groups and is_in(group.groups[member], tag)):
            return place
    raise AssertionError(field)


def is_in(group: GroupRule, tag: int) -> bool:
    return tag in group.tags or any(is_in(inner, tag) for inner in group.groups.values())


def bodies(dictionary: Dictionary, rule: MessageRule, done: set[Any]) -> Iterator[list[Text]]:
    """Everything behind MsgType(35), for each fault of each field of one message."""
    body = texts(least(dictionary, rule.msg_type))
    kind = rule.msg_type in ADMIN_TYPES
    for tag in sorted(dictionary.header - {8, 9, 35}) if IN_ALL or kind not in done else ():
        earlier = with_lengths(tag, [field for field in HEAD if field[0] != b"%d" % tag])
        yield from faulty(dictionary, tag, earlier, body)
    done.add(kind)
    for tag in rule.members:
        # A required group goes with its entries.
        its = texts(entry(dictionary, rule.groups[tag])) if tag in rule.groups else []
        rest = [field for field in body if field[0] != b"%d" % tag and field not in its]
        yield from faulty(dictionary, tag, with_lengths(tag, [*HEAD, *rest]), its)
        group = rule.groups.get(tag)
        if group is not None and (IN_ALL or (tag, group.tags, group.required) not in done):
            done.add((tag, group.tags, group.required))
            yield from of_group(dictionary, group, [*HEAD, *rest, (b"%d" % tag, b"1")], [])
            yield [*HEAD, *rest, (b"%d" % tag, b"0")]
            yield [*HEAD, *rest, (b"%d" % tag, b"2"), *its]
            yield [*HEAD, *rest, (b"%d" % tag, b"1"), *its, *its]
    for stray in (7, 36, 55, 999, 4999, 5001, 20001, 99999, 123456789):
        yield [*HEAD, *body, (b"%d" % stray, b"1")]
        yield [*HEAD, (b"%d" % stray, b"1"), *body]
    for odd in ODD_TAGS:
        yield [*HEAD, *body, (odd, b"1")]


def raw_of(dictionary: Dictionary, msg_type: str, fields: list[Text]) -> bytes:
    inner = b"".join([b"%b=%b\x01" % field for field in fields])
    return envelope(b"35=%b\x01%b" % (msg_type.encode(), inner), dictionary.begin_string.encode())


def outcome(twin: Any, raw: bytes) -> Any:
    """Everything that a message says, as one value; None when it is garbled."""
    try:
        message = twin.decode(raw)
    except RemoteProtocolError:
        return None
    return message, (message.fields(), message.msg_type, message.msg_seq_num, message.raw)


LENGTHS = frozenset(b"%d" % tag for tag in DATA_OF_LENGTH)


def simplefix_is_right(raw: bytes) -> bool:
    """It takes tags by int(), with signs, spaces and underscores, of any length; and a data field's length on trust."""
    tags = [part.partition(b"=")[0] for part in raw.split(b"\x01")[:-1]]
    return LENGTHS.isdisjoint(tags) and all(re.fullmatch(rb"[1-9][0-9]{0,8}", tag) for tag in tags)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_field_and_fault(version: str) -> None:
    dictionary = DICTIONARIES[version]
    reference = Reference(dictionary.tables, DATA_OF_LENGTH)
    done: set[Any] = set()
    step = 1 if IN_ALL or version == "FIX.4.2" else 5
    counts: dict[int | None, int] = {}
    for msg_type, rule in dictionary.messages.items():
        screens = [screen_of(twin, dictionary, msg_type) for twin in TWINS]
        for number, fields in enumerate(bodies(dictionary, rule, done)):
            if number % step:
                continue
            raw = raw_of(dictionary, msg_type, fields)
            found = [outcome(twin, raw) for twin in TWINS]
            if found[0] is None:
                assert found == [None] * len(TWINS), raw
                counts[None] = counts.get(None, 0) + 1
                continue
            assert all(one[1] == found[0][1] for one in found), raw
            expected = reference.fault(raw)
            fault = dictionary.validate(found[number % len(found)][0])
            shown = None if fault is None else (fault.ref_tag, fault.reason)
            assert shown == expected, raw
            for screen, (message, _) in zip(screens, found, strict=True):
                assert not (screen.passes(message, 5, NOW_NS) and expected is not None), raw
            if number % 3 == 0 and simplefix_is_right(raw):
                compare_with_simplefix(raw, found[0][1][0])
            reason = -1 if expected is None else expected[1]
            counts[reason] = counts.get(reason, 0) + 1
    assert counts.keys() >= {None, -1, 0, 1, 2, 4, 5, 6, 13, 14, 15, 16}, counts
    assert sum(counts.values()) > 8_000


@pytest.mark.parametrize("version", VERSIONS)
def test_generated_messages_with_several_faults(version: str) -> None:
    """Which of several faults is told is a rule too. Each message has its own seed: a failure replays alone."""
    dictionary = DICTIONARIES[version]
    reference = Reference(dictionary.tables, DATA_OF_LENGTH)
    msg_types = sorted(dictionary.messages)
    faults = 0
    for seed in range(GENERATED):
        raw = generated(dictionary, msg_types, random.Random(seed))
        found = [outcome(twin, raw) for twin in TWINS]
        assert [one and one[1] for one in found] == [found[0] and found[0][1]] * len(found), (seed, raw)
        if found[0] is not None:
            expected = reference.fault(raw)
            for message, _ in found:
                fault = dictionary.validate(message)
                assert (None if fault is None else (fault.ref_tag, fault.reason)) == expected, (seed, raw)
            faults += expected is not None
    assert GENERATED // 2 < faults < GENERATED


def generated(dictionary: Dictionary, msg_types: list[str], choice: random.Random) -> bytes:
    """A message of some fields that it may have, then damaged at a few places."""
    rule = dictionary.messages[choice.choice(msg_types)]
    fields = [*HEAD, *texts(least(dictionary, rule.msg_type))]
    for tag in choice.sample(rule.members, min(len(rule.members), 4)):
        group = rule.groups.get(tag)
        count = choice.randrange(3)
        its = [(b"%d" % tag, b"%d" % count)] if group else [(b"%d" % tag, value_of(dictionary, tag))]
        for _ in range(count if group else 0):
            its += texts(entry(dictionary, group))
        fields += its if (b"%d" % tag, its[0][1]) not in fields else []
    for _ in range(choice.choice((0, 1, 1, 2, 3))):
        at, other = choice.randrange(len(fields)), choice.randrange(len(fields))
        damage = choice.randrange(5)
        if damage == 0:
            fields.insert(at, fields[other])
        elif damage == 1:
            fields[at], fields[other] = fields[other], fields[at]
        elif damage == 2 and len(fields) > 1:
            del fields[at]
        elif damage == 3:
            fields[at] = (fields[at][0], choice.choice((b"", b"0", b"~", b"9", b"-1", b"x y", fields[other][1])))
        else:
            fields[at] = (choice.choice((b"0", b"-5", b"1128", b"4999", fields[other][0])), fields[at][1])
    return raw_of(dictionary, rule.msg_type, fields)


def compare_with_simplefix(raw: bytes, fields: list[tuple[int, bytes]]) -> None:
    parser = simplefix.FixParser(allow_empty_values=True)
    parser.append_buffer(raw)
    theirs = parser.get_message()
    assert theirs is not None, raw
    assert [(int(tag), value) for tag, value in theirs.pairs] == fields, raw


def test_the_reference_cuts_as_the_codec_does() -> None:
    raw = envelope(b"35=D|34=5|95=3|96=a\x01b|354=9|355=x|95=1|58=y|96=z|")
    assert [(int(tag), value) for tag, value in cut(raw, DATA_OF_LENGTH)] == PLAIN.decode(raw).fields()
