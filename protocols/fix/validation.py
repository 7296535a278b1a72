"""The walk over a message's fields that finds the first fault, repeating groups included."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from protocols.fix.codec import DATA_OF_LENGTH, Message
from protocols.fix.formats import Format
from protocols.fix.phases import ADMIN_TYPES
from protocols.fix.plain import cut_fields
from protocols.fix.reject import (
    GROUP_COUNT,
    GROUP_OUT_OF_ORDER,
    INCORRECT_FORMAT,
    INVALID_TAG_NUMBER,
    REQUIRED_TAG_MISSING,
    TAG_NOT_DEFINED_FOR_MESSAGE,
    TAG_OUT_OF_ORDER,
    TAG_TWICE,
    TAG_WITHOUT_VALUE,
    VALUE_OUT_OF_RANGE,
    SessionReject,
)

if TYPE_CHECKING:
    from protocols.fix.dictionary import Dictionary, FieldRule, GroupRule, MessageRule

_PLAIN_NUMBER = re.compile(rb"0|-[1-9][0-9]{0,8}")
LENGTH_OF_DATA = {data: length for length, data in DATA_OF_LENGTH.items()}
_HEADER, _BODY, _TRAILER = 0, 1, 2


def find_fault(dictionary: "Dictionary", rule: "MessageRule", message: Message) -> SessionReject | None:
    """Return the first fault of `message` against `rule` in wire order, then the first missing tag."""
    return _Walk(dictionary, rule, message).fault()


class _Walk:
    """One pass over the fields; `at` is the next one."""

    def __init__(self, dictionary: "Dictionary", rule: "MessageRule", message: Message) -> None:
        self.dictionary = dictionary
        self.rule = rule
        self.message = message
        self.fields = message.fields()
        self.at = 0

    def fault(self) -> SessionReject | None:
        dictionary, rule = self.dictionary, self.rule
        seen: set[int] = set()
        section = _HEADER
        while self.at < len(self.fields):
            tag, value = self.fields[self.at]
            if tag in rule.body:
                its_section = _BODY
            elif tag in dictionary.header:
                its_section = _HEADER
            elif tag in dictionary.trailer:
                its_section = _TRAILER
            elif dictionary.allows_unknown_tags and tag and tag not in rule.all_tags:
                if not value:
                    return SessionReject(tag, TAG_WITHOUT_VALUE)
                self.at += 1
                continue
            else:
                return self._stray(tag)
            fault = self._value_fault(tag, value)
            if fault is not None:
                return fault
            if tag in seen:
                return SessionReject(tag, TAG_TWICE)
            seen.add(tag)
            if its_section < section and not dictionary.allows_any_order:
                return SessionReject(tag, TAG_OUT_OF_ORDER)
            section = its_section
            self.at += 1
            group = rule.groups.get(tag)
            if group is not None:
                fault = self._group_fault(group, int(value))
                if fault is not None:
                    return fault
        for tag in rule.required:
            if tag not in seen:
                return SessionReject(tag, REQUIRED_TAG_MISSING)
        return None

    def _stray(self, tag: int) -> SessionReject:
        """Name the fault of a tag that has no place here."""
        if tag == 0:
            return SessionReject(tag_as_written(self.message, self.at), INVALID_TAG_NUMBER)
        dictionary = self.dictionary
        defined = dictionary.session_tags if self.rule.msg_type in ADMIN_TYPES else dictionary.defined_tags
        if tag not in defined:
            # Test case 14a: a tag that the specification does not define is an invalid tag number.
            return SessionReject(tag, INVALID_TAG_NUMBER)
        return SessionReject(tag, TAG_NOT_DEFINED_FOR_MESSAGE)

    def _value_fault(self, tag: int, value: bytes) -> SessionReject | None:
        field = self.dictionary.fields[tag]
        if not value:
            return SessionReject(tag, TAG_WITHOUT_VALUE)
        if not field.check(value):
            return SessionReject(tag, INCORRECT_FORMAT)
        if field.values and not is_in_range(field, value):
            return SessionReject(tag, VALUE_OUT_OF_RANGE)
        if field.format is Format.DATA and not self._length_fits(tag, value):
            return SessionReject(tag, INCORRECT_FORMAT)
        return None

    def _length_fits(self, tag: int, value: bytes) -> bool:
        """Tell whether the field before a data field measures it."""
        length_tag, length = self.fields[self.at - 1]
        return length_tag == LENGTH_OF_DATA.get(tag) and length == b"%d" % len(value)

    def _group_fault(self, group: "GroupRule", count: int) -> SessionReject | None:
        """Walk the entries of a group; `at` stands behind its count field."""
        entries = 0
        while self.at < len(self.fields):
            tag = self.fields[self.at][0]
            if tag not in group.tags:
                break
            if tag != group.tags[0]:
                return SessionReject(tag, GROUP_OUT_OF_ORDER)
            entries += 1
            if entries > count:
                break
            fault = self._entry_fault(group)
            if fault is not None:
                return fault
        if entries != count:
            return SessionReject(group.count_tag, GROUP_COUNT)
        return None

    def _entry_fault(self, group: "GroupRule") -> SessionReject | None:
        place = -1
        seen: set[int] = set()
        while self.at < len(self.fields):
            tag, value = self.fields[self.at]
            if tag not in group.tags or (tag == group.tags[0] and seen):
                break
            fault = self._value_fault(tag, value)
            if fault is not None:
                return fault
            if tag in seen:
                return SessionReject(tag, TAG_TWICE)
            if group.tags.index(tag) < place and not self.dictionary.allows_any_order:
                return SessionReject(tag, GROUP_OUT_OF_ORDER)
            place = group.tags.index(tag)
            seen.add(tag)
            self.at += 1
            nested: Mapping[int, GroupRule] = group.groups
            if tag in nested:
                fault = self._group_fault(nested[tag], int(value))
                if fault is not None:
                    return fault
        missing = [tag for tag in group.tags if tag in group.required and tag not in seen]
        return SessionReject(missing[0], REQUIRED_TAG_MISSING) if missing else None


def tag_as_written(message: Message, at: int) -> int | None:
    """Return the number of field `at` where it is one, such as 0 or -1; None for what only resembles one."""
    cut = cut_fields(message.raw)
    text = cut[0][at] if cut is not None else b""
    return int(text) if _PLAIN_NUMBER.fullmatch(text) else None


def is_in_range(field: "FieldRule", value: bytes) -> bool:
    """Tell whether an enumerated field's value, or each word of it, is one that the standard names."""
    if value in field.values:
        return True
    if field.format is Format.WORDS:
        return field.values.issuperset(value.split(b" "))
    # "01" is 1 to FIX, whose integers may have leading zeros.
    return field.format is Format.INT and b"%d" % int(value) in field.values
