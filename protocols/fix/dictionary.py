"""The data dictionary: which fields a message may and must carry, and what their values look like.

Versions are data (`fix44.toml`); a user extends one by `Dictionary.overlay` with the same shape of tables.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from protocols.fix.codec import Message
from protocols.fix.formats import CHECKS, FORMAT_OF_TYPE, Format
from protocols.fix.reject import SessionReject
from protocols.fix.validation import find_fault

__all__ = ["FIX44", "Dictionary", "FieldRule", "GroupRule", "MessageRule", "SessionReject"]


class FieldRule(msgspec.Struct, frozen=True):
    """One tag of the standard. `values` is empty when any value of the format will do.

    `check` tells by a truthy answer whether a value has the format.
    """

    tag: int
    name: str
    format: Format
    check: Callable[[bytes], object]
    values: frozenset[bytes] = frozenset()


class GroupRule(msgspec.Struct, frozen=True):
    """A repeating group: `tags` in order, the first of which begins each entry."""

    count_tag: int
    tags: tuple[int, ...]
    required: frozenset[int]
    groups: "Mapping[int, GroupRule]"


class MessageRule(msgspec.Struct, frozen=True):
    """What one MsgType may carry: body tags with header and trailer apart; groups by their count tag."""

    msg_type: str
    name: str
    body: frozenset[int]
    required: tuple[int, ...]
    groups: Mapping[int, GroupRule]


class Dictionary:
    """One version of FIX. Raises ValueError when its tables contradict themselves."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._tables = tables
        self.begin_string: str = tables["begin_string"]
        self.msg_types = frozenset(tables["msg_types"].split())
        self.fields = {int(tag): _field_rule(int(tag), text) for tag, text in tables["fields"].items()}
        header, self.header_required = self._members(tables["header"])
        trailer, self.trailer_required = self._members(tables["trailer"])
        self.header, self.trailer = frozenset(header), frozenset(trailer)
        self._header_groups = self._group_rules(header, {})
        self.messages = {msg_type: self._message_rule(msg_type, text) for msg_type, text in tables["messages"].items()}

    def overlay(self, tables: Mapping[str, Any]) -> "Dictionary":
        """Return a dictionary with `tables` laid over this one.

        Entries of tables (fields, groups, components, messages, names) replace those of the same key; in a
        text of members a leading ``+`` adds to the old ones instead. `msg_types` are added.
        """
        merged = dict(self._tables)
        for key, value in tables.items():
            if key == "msg_types":
                merged[key] = f"{merged[key]} {value}"
            elif isinstance(value, Mapping):
                merged[key] = {**merged[key], **{k: _added(merged[key].get(k, ""), v) for k, v in value.items()}}
            else:
                merged[key] = _added(merged[key], value)
        return Dictionary(merged)

    def validate(self, message: Message) -> SessionReject | None:
        """Return the first fault in wire order, then what is missing; None when the message is clean.

        A MsgType without a definition here is Invalid MsgType (11).
        """
        rule = self.messages.get(message.msg_type)
        if rule is None:
            return SessionReject(None, 11)
        return find_fault(self, rule, message)

    def name(self, tag: int) -> str:
        """Return ``Name(tag)`` for texts."""
        field = self.fields.get(tag)
        return f"{field.name}({tag})" if field else f"({tag})"

    @cached_property
    def header_groups(self) -> Mapping[int, GroupRule]:
        """Groups of the header, by their count tag."""
        return self._header_groups

    def _members(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return (all tags, required tags) of a text of members, components resolved."""
        tags: list[int] = []
        required: list[int] = []
        for word in text.split():
            if word.startswith("@"):
                component_tags, component_required = self._members(self._tables["components"][word[1:]])
                tags += component_tags
                required += component_required
                continue
            tag = int(word.removesuffix("!"))
            if tag not in self.fields:
                raise ValueError(f"tag {tag} is a member but no field")
            tags.append(tag)
            if word.endswith("!"):
                required.append(tag)
        return tuple(dict.fromkeys(tags)), tuple(required)

    def _group_rules(self, tags: tuple[int, ...], overrides: Mapping[str, str]) -> dict[int, GroupRule]:
        rules = {}
        for tag in tags:
            if self.fields[tag].format is Format.GROUP:
                text = overrides.get(str(tag)) or self._tables["groups"].get(str(tag))
                if text is None:
                    raise ValueError(f"no group for {self.name(tag)}")
                members, required = self._members(text)
                nested = self._group_rules(members, overrides)
                rules[tag] = GroupRule(tag, members, frozenset(required), nested)
        return rules

    def _message_rule(self, msg_type: str, definition: str | Mapping[str, Any]) -> MessageRule:
        """`definition`: a text of members, or {members, groups} where groups differ from the common ones."""
        if isinstance(definition, str):
            definition = {"members": definition}
        tags, required = self._members(definition["members"])
        groups = self._group_rules(tags, definition.get("groups", {}))
        return MessageRule(
            msg_type=msg_type,
            name=self._tables["names"].get(msg_type, msg_type),
            body=frozenset(tags),
            required=(*self.header_required, *required, *self.trailer_required),
            groups={**self._header_groups, **groups},
        )


def _field_rule(tag: int, text: str) -> FieldRule:
    name, type_name, *values = text.split()
    its_format = FORMAT_OF_TYPE[type_name]
    return FieldRule(tag, name, its_format, CHECKS[its_format], frozenset(value.encode() for value in values))


def _added(old: Any, new: Any) -> Any:
    if isinstance(old, str) and isinstance(new, str) and new.startswith("+"):
        return f"{old} {new[1:]}"
    return new


def _load(name: str) -> Dictionary:
    with (Path(__file__).parent / name).open("rb") as file:
        return Dictionary(tomllib.load(file))


FIX44 = _load("fix44.toml")
