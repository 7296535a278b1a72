"""A slow reading of FIX, apart from the code it is held against: cuts a message, and names its first fault.

It knows the tables of a dictionary (fixNN.toml) and the rules as they are written: go through the message field by
field, and the first field with a fault decides. A field's own faults come first (no such tag, no value, form, range),
then that it is there twice, then its place. A group is gone through behind its count: an entry's missing field is found
at the entry's end, a wrong count behind the entries. What the message lacks comes last.
"""

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

Field = tuple[bytes, bytes]
Member = tuple[int, bool]

INVALID, MISSING, ELSEWHERE, EMPTY, RANGE, FORMAT = 0, 1, 2, 4, 5, 6
MSG_TYPE, TWICE, SECTION, ORDER, COUNT = 11, 13, 14, 15, 16

PATTERNS = {
    rb"[\x20-\x7e]+": "STRING COUNTRY CURRENCY EXCHANGE",
    rb"[\x21-\x7e]": "CHAR",
    rb"[YN]": "BOOLEAN",
    rb"-?\d{1,18}": "INT DAYOFMONTH",
    rb"\d{1,18}": "LENGTH SEQNUM TAGNUM NUMINGROUP",
    rb"[\x21-\x7e]+( [\x21-\x7e]+)*": "MULTIPLEVALUESTRING MULTIPLECHARVALUE MULTIPLESTRINGVALUE",
    rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])": "LOCALMKTDATE UTCDATEONLY",
    rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]|w[1-5])?": "MONTHYEAR",
    rb"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{3}(\d{3}(\d{3})?)?)?": "UTCTIMEONLY",
    rb"\d{8}-\d\d:\d\d:\d\d(\.\d{3}(\d{3}(\d{3})?)?)?": "UTCTIMESTAMP",
    rb"-?(\d+\.?\d*|\.\d+)": "PRICE QTY AMT FLOAT PERCENTAGE PRICEOFFSET",
    rb"(?s).*": "DATA",
}
PATTERN_OF = {name: re.compile(pattern) for pattern, names in PATTERNS.items() for name in names.split()}
FLOATS = frozenset(["PRICE", "QTY", "AMT", "FLOAT", "PERCENTAGE", "PRICEOFFSET"])
WORDS = frozenset(["MULTIPLEVALUESTRING", "MULTIPLECHARVALUE", "MULTIPLESTRINGVALUE"])
NUMBER = re.compile(rb"[1-9]\d{0,8}").fullmatch
SESSION_TYPES = ["0", "1", "2", "3", "4", "5", "A"]


class Found(Exception):  # noqa: N818
    """The first fault: RefTagID(371), SessionRejectReason(373)."""


def cut(raw: bytes, data_of: Mapping[int, int]) -> list[Field]:
    """Tag texts and values; `data_of`: length fields and the data field of each."""
    names = {b"%d" % length: b"%d" % data for length, data in data_of.items()}
    fields: list[Field] = []
    length = None
    while raw:
        tag, _, rest = raw.partition(b"=")
        value, _, raw = rest.partition(b"\x01")
        if length is not None and tag == length[0] and rest[length[1] : length[1] + 1] == b"\x01":
            value, raw = rest[: length[1]], rest[length[1] + 1 :]
        is_length = tag in names and re.fullmatch(rb"\d{1,5}", value)
        length = (names[tag], int(value)) if is_length else None
        fields.append((tag, value))
    return fields


class Reference:
    """One version's tables, read from scratch."""

    def __init__(self, tables: Mapping[str, Any], data_of: Mapping[int, int]) -> None:
        self.tables = tables
        self.data_of = data_of
        self.words = {int(tag): text.split() for tag, text in tables["fields"].items()}
        self.plans: dict[str, Plan] = {}
        self.known_groups: dict[str, list[Member]] = {}
        self.lengths = {data: b"%d" % length for length, data in data_of.items()}
        self.header = [tag for tag, _ in self.members(tables["header"])]
        self.trailer = [tag for tag, _ in self.members(tables["trailer"])]
        of_sessions = [self.everything(msg_type) for msg_type in SESSION_TYPES]
        self.of_sessions = {tag for tags in of_sessions for tag in tags}

    def members(self, text: str, is_optional: bool = False) -> Iterator[Member]:
        """Tags, each with whether it is required."""
        for word in text.split():
            if word[0] == "@":
                name = word[1:].rstrip("?")
                yield from self.members(self.tables["components"][name], is_optional or word.endswith("?"))
            else:
                yield int(word.rstrip("!")), word.endswith("!") and not is_optional

    def body(self, msg_type: str) -> tuple[list[Member], Mapping[str, str]]:
        """Members of a message's body, and the groups that it has in a form of its own."""
        found = self.tables["messages"][msg_type]
        text, own = (found, {}) if isinstance(found, str) else (found["members"], found.get("groups", {}))
        return list(self.members(text)), own

    def group(self, own: Mapping[str, str], count_tag: int) -> list[Member]:
        """Members of a group; the first begins each entry."""
        text = own.get(str(count_tag)) or self.tables["groups"][str(count_tag)]
        if text not in self.known_groups:
            self.known_groups[text] = list(self.members(text))
        return self.known_groups[text]

    def everything(self, msg_type: str) -> set[int]:
        """Every tag that a message may carry, however deep."""
        body, own = self.body(msg_type)
        found = {*self.header, *self.trailer}
        waiting = [*self.header, *(tag for tag, _ in body)]
        while waiting:
            tag = waiting.pop()
            found.add(tag)
            if self.words[tag][1] == "NUMINGROUP":
                waiting += [member for member, _ in self.group(own, tag)]
        return found

    def is_defined(self, tag: int) -> bool:
        """Whether the version has such a tag: the last range that names it decides."""
        answer = tag in self.words and tag >= 5000
        for word in self.tables["defined_tags"].split():
            first, *last = (int(digits) for digits in re.findall(r"\d+", word))
            if first <= tag <= (last or [first])[0]:
                answer = not word.startswith("-")
        return answer

    def fault(self, raw: bytes) -> tuple[int | None, int] | None:
        """RefTagID(371) and SessionRejectReason(373) of the first fault."""
        fields = cut(raw, self.data_of)
        msg_type = dict(reversed(fields))[b"35"].decode("latin-1")
        if msg_type not in self.tables["messages"]:
            return None, MSG_TYPE
        try:
            _Walk(self, msg_type, fields).message()
        except Found as found:
            return found.args[0], found.args[1]
        return None

    def check_value(self, tag: int, value: bytes, before: Field) -> None:
        """Raise Found for a value that is not there, not of its form, or not of its range."""
        kind, *allowed = self.words[tag][1:]
        if value == b"":
            raise Found(tag, EMPTY)
        if not has_form(kind, value):
            raise Found(tag, FORMAT)
        if allowed and kind != "NUMINGROUP" and not is_allowed(kind, value, [text.encode() for text in allowed]):
            raise Found(tag, RANGE)
        if kind == "DATA" and before != (self.lengths.get(tag), b"%d" % len(value)):
            raise Found(tag, FORMAT)


class Plan:
    """One message's sections by tag, required tags in their order, and own groups."""

    def __init__(self, reference: Reference, msg_type: str) -> None:
        body, self.own = reference.body(msg_type)
        header, trailer = reference.tables["header"], reference.tables["trailer"]
        parts = (list(reference.members(header)), body, list(reference.members(trailer)))
        self.section_of = {tag: section for section, part in enumerate(parts) for tag, _ in part}
        self.required = [tag for part in parts for tag, is_required in part if is_required]


class _Walk:
    """One pass over a message. `tags`: 0 for what is no number without zeros in front, -1 at the end."""

    def __init__(self, reference: Reference, msg_type: str, fields: list[Field]) -> None:
        self.reference = reference
        self.msg_type = msg_type
        self.fields = fields
        self.at = 0
        self.tags = [int(text) if NUMBER(text) else 0 for text, _ in fields] + [-1]
        if msg_type not in reference.plans:
            reference.plans[msg_type] = Plan(reference, msg_type)
        self.plan = reference.plans[msg_type]

    @property
    def tag(self) -> int:
        return self.tags[self.at]

    def take(self) -> int:
        """Check the next field by itself and go past it."""
        tag = self.tag
        self.reference.check_value(tag, self.fields[self.at][1], self.fields[self.at - 1])
        self.at += 1
        return tag

    def message(self) -> None:
        """Raise Found, or find nothing."""
        seen: list[int] = []
        section = 0
        while self.tag != -1:
            tag = self.tag
            place = self.plan.section_of.get(tag)
            if place is None:
                self.stray()
            self.take()
            if tag in seen:
                raise Found(tag, TWICE)
            seen.append(tag)
            if place < section:
                raise Found(tag, SECTION)
            section = place
            self.group_behind(tag)
        for tag in self.plan.required:
            if tag not in seen:
                raise Found(tag, MISSING)

    def stray(self) -> NoReturn:
        """Raise Found for a tag that has no place in the message."""
        text = self.fields[self.at][0]
        if self.tag == 0:
            raise Found(int(text) if re.fullmatch(rb"0|-[1-9]\d{0,8}", text) else None, INVALID)
        is_session = self.msg_type in SESSION_TYPES
        is_fixt = self.reference.tables["begin_string"] == "FIXT.1.1"
        reference = self.reference
        is_known = self.tag in reference.of_sessions if is_session and is_fixt else reference.is_defined(self.tag)
        raise Found(self.tag, ELSEWHERE if is_known else INVALID)

    def group_behind(self, count_tag: int) -> None:
        """Go through a group whose count was just read."""
        if self.reference.words[count_tag][1] != "NUMINGROUP":
            return
        members = self.reference.group(self.plan.own, count_tag)
        tags = [tag for tag, _ in members]
        count = int(self.fields[self.at - 1][1])
        entries = 0
        while self.tag in tags and entries <= count:
            if self.tag != tags[0]:
                raise Found(self.tag, ORDER)
            entries += 1
            if entries <= count:
                self.entry(members)
        if entries != count:
            raise Found(count_tag, COUNT)

    def entry(self, members: list[Member]) -> None:
        tags = [tag for tag, _ in members]
        seen: list[int] = []
        while self.tag in tags and not (self.tag == tags[0] and seen):
            tag = self.take()
            if tag in seen:
                raise Found(tag, TWICE)
            if seen and tags.index(tag) < tags.index(seen[-1]):
                raise Found(tag, ORDER)
            seen.append(tag)
            self.group_behind(tag)
        for tag, is_required in members:
            if is_required and tag not in seen:
                raise Found(tag, MISSING)


def has_form(kind: str, value: bytes) -> bool:
    """Whether a value is written as its type demands."""
    if not PATTERN_OF[kind].fullmatch(value):
        return False
    if kind in FLOATS:
        digits = value.lstrip(b"-").replace(b".", b"").lstrip(b"0")
        return len(value) <= 32 and len(digits) <= 18
    if kind == "UTCTIMESTAMP":
        return is_time(value[:17])
    return True


@functools.cache
def is_time(text: bytes) -> bool:
    """Whether there is such a second; a leap second, :60, may be anywhere."""
    second = b"59" if text[15:] == b"60" else text[15:]
    with contextlib.suppress(ValueError):
        return 1970 <= datetime.strptime((text[:15] + second).decode(), "%Y%m%d-%H:%M:%S").year <= 2200
    return False


def is_allowed(kind: str, value: bytes, allowed: list[bytes]) -> bool:
    """Whether an enumerated value, or each word of it, is one that is named."""
    if kind in WORDS:
        return all(word in allowed for word in value.split(b" "))
    if kind in ("INT", "DAYOFMONTH"):
        return int(value) in [int(text) for text in allowed]
    return value in allowed
