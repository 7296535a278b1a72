"""The data dictionary: which fields a message may and must carry, and what their values look like.

Versions are data (`fix42.toml` and its like); a user extends one by `Dictionary.overlay` with the same shape of tables.
FIXT.1.1 keeps header, trailer and session messages in a dictionary of its own, laid over an application version's.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from protocols.fix.codec import Message
from protocols.fix.formats import CHECKS, FORMAT_OF_TYPE, Format
from protocols.fix.phases import ADMIN_TYPES
from protocols.fix.reject import SessionReject
from protocols.fix.tables import (
    DictionaryError,
    Tables,
    check_shape,
    laid_over,
    line_of,
    over_transport,
    parse,
    tag_ranges,
)
from protocols.fix.validation import find_fault

__all__ = [
    "FIX42",
    "FIX44",
    "FIX50SP2",
    "FIXT_FIX42",
    "FIXT_FIX44",
    "Dictionary",
    "DictionaryError",
    "FieldRule",
    "GroupRule",
    "MessageRule",
    "SessionReject",
]

_NO_TAGS: frozenset[int] = frozenset()


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
    """What one MsgType may carry: body tags with header and trailer apart; groups by their count tag.

    `all_tags`: those of header, trailer and every group too. `members`: the body in the order of its text.
    """

    msg_type: str
    name: str
    body: frozenset[int]
    required: tuple[int, ...]
    groups: Mapping[int, GroupRule]
    all_tags: frozenset[int] = frozenset()
    members: tuple[int, ...] = ()


class Dictionary:
    """One version of FIX. Raises DictionaryError, a ValueError, when its tables contradict themselves.

    `appl_ver_id` is empty but for a version that FIXT carries.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        allows_unknown_tags: bool = False,
        allows_any_order: bool = False,
        checks_values: bool = True,
    ) -> None:
        self.tables = tables
        self.allows_unknown_tags = allows_unknown_tags
        self.allows_any_order = allows_any_order
        self.checks_values = checks_values
        self.begin_string: str = tables["begin_string"]
        self.appl_ver_id: str = tables.get("appl_ver_id", "")
        self.msg_types = frozenset(tables["msg_types"].split())
        defined = tag_ranges(tables.get("defined_tags", ""))
        self.fields = {
            rule.tag: rule
            for tag, text in tables["fields"].items()
            # Files of fields are shared: a version has those that it defines, and the user-defined ones.
            if (rule := _field_rule(tag, text, checks_values)).tag in defined or rule.tag >= 5000 or not defined
        }
        self.defined_tags = defined | self.fields.keys()
        header, self.header_required = self.members("header", tables["header"])
        trailer, self.trailer_required = self.members("trailer", tables["trailer"])
        self.header, self.trailer = frozenset(header), frozenset(trailer)
        self._header_groups = self._group_rules("header", header, {})
        self.messages = {msg_type: self._message_rule(msg_type, text) for msg_type, text in tables["messages"].items()}
        # What a session message may be found to have in the wrong place: on FIXT only what the transport defines.
        is_fixt = self.begin_string.startswith("FIXT")
        session_tags = _NO_TAGS.union(*(self.messages[msg_type].all_tags for msg_type in ADMIN_TYPES))
        self.session_tags = session_tags if is_fixt else self.defined_tags
        self.writes: Mapping[str, Mapping[str, list[str]]] = tables.get("writes", {})

    def overlay(self, tables: Tables | str) -> "Dictionary":
        """Return a dictionary with `tables`, or a TOML text of them, laid over this one.

        Entries of tables (fields, groups, components, messages, names) replace those of the same key; in a
        text of members a leading ``+`` adds to the old ones instead. `msg_types` are added. Raises DictionaryError,
        which names the key that is wrong and, for a text, its line.
        """
        if isinstance(tables, str):
            text = tables
            try:
                return self.overlay(parse(text))
            except DictionaryError as error:
                if error.line is not None or not error.key:
                    raise
                raise DictionaryError(error.key, error.text, line_of(text, error.key)) from error
        check_shape(tables)
        merged = dict(laid_over(self.tables, tables))
        # What an overlay defines is defined, fields of other versions too; and a message is one of the version's.
        if merged.get("defined_tags"):
            added = [tag for tag in tables.get("fields", {}) if tag.isascii() and tag.isdigit()]
            merged["defined_tags"] = " ".join([merged["defined_tags"], *added])
        merged["msg_types"] = " ".join(self.msg_types.union(merged["msg_types"].split(), tables.get("messages", {})))
        return Dictionary(merged, **self._switches)

    def relaxed(
        self, *, allows_unknown_tags: bool = False, allows_any_order: bool = False, checks_values: bool = True
    ) -> "Dictionary":
        """Return this dictionary with other switches; the same object for the same ones.

        `allows_unknown_tags`: those that the message does not know are passed over, outside of groups.
        `allows_any_order`: header, body and trailer may mix, and members of a group follow in any order behind its
        first. `checks_values`: enumerated fields must have one of their values.
        """
        switches = (allows_unknown_tags, allows_any_order, checks_values)
        known = self._relaxed.get(switches)
        if known is None:
            known = self._relaxed[switches] = Dictionary(
                self.tables,
                allows_unknown_tags=allows_unknown_tags,
                allows_any_order=allows_any_order,
                checks_values=checks_values,
            )
        return known

    @cached_property
    def _relaxed(self) -> "dict[tuple[bool, bool, bool], Dictionary]":
        return {(self.allows_unknown_tags, self.allows_any_order, self.checks_values): self}

    @property
    def _switches(self) -> dict[str, bool]:
        return {
            "allows_unknown_tags": self.allows_unknown_tags,
            "allows_any_order": self.allows_any_order,
            "checks_values": self.checks_values,
        }

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

    def type_name(self, tag: int) -> str:
        """Return the standard's name of a field's type, such as ``PRICE``."""
        return str(self.tables["fields"][str(tag)].split()[1])

    def note(self, msg_type: str, tag: int) -> str:
        """Return the note on a field, of this message or in general, for the rules of engagement."""
        notes = self.tables.get("notes", {})
        of_message = notes.get(msg_type, {})
        return str(of_message.get(str(tag)) or notes.get(str(tag), ""))

    @cached_property
    def session_reject_reasons(self) -> frozenset[bytes]:
        """Values of SessionRejectReason(373) that the version knows; others are told by Text(58) only."""
        text = self.tables["fields"].get("373", "")
        return frozenset(value.encode() for value in text.split()[2:])

    def members(self, key: str, text: str, is_optional: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return (all tags, required tags) of a text of members, components resolved. `key`: where it stands."""
        tags: list[int] = []
        required: list[int] = []
        for word in text.split():
            if word.startswith("@"):
                name = word[1:].removesuffix("?")
                if name not in self.tables.get("components", {}):
                    raise DictionaryError(key, f"no component {name}")
                found = self.members(f"components.{name}", self.tables["components"][name], word.endswith("?"))
                tags += found[0]
                required += found[1]
                continue
            digits = word.removesuffix("!")
            if not (digits.isascii() and digits.isdigit()):
                raise DictionaryError(key, f"{word!r} is no tag, and no @Component")
            tag = int(digits)
            if tag not in self.fields:
                raise DictionaryError(key, f"tag {tag} is a member but no field")
            tags.append(tag)
            if word.endswith("!"):
                required.append(tag)
        return tuple(dict.fromkeys(tags)), () if is_optional else tuple(required)

    def _group_rules(
        self, key: str, tags: tuple[int, ...], overrides: Mapping[str, str], depth: int = 0
    ) -> dict[int, GroupRule]:
        rules = {}
        if depth > 8:
            raise DictionaryError(key, "groups within groups without end")
        for tag in tags:
            if self.fields[tag].format is not Format.GROUP:
                continue
            text = overrides.get(str(tag))
            its_key = f"groups.{tag}" if text is None else f"{key}.groups.{tag}"
            if text is None:
                text = self.tables["groups"].get(str(tag))
            if text is None:
                raise DictionaryError(key, f"no group for {self.name(tag)}")
            members, required = self.members(its_key, text)
            if not members:
                raise DictionaryError(its_key, "a group has at least one member")
            nested = self._group_rules(key, members, overrides, depth + 1)
            rules[tag] = GroupRule(tag, members, frozenset(required), nested)
        return rules

    def _message_rule(self, msg_type: str, definition: str | Mapping[str, Any]) -> MessageRule:
        """`definition`: a text of members, or {members, groups} where groups differ from the common ones."""
        if isinstance(definition, str):
            definition = {"members": definition}
        key = f"messages.{msg_type}"
        tags, required = self.members(key, definition["members"])
        twice = sorted((self.header | self.trailer).intersection(tags))
        if twice:
            raise DictionaryError(key, f"{self.name(twice[0])} is of the header or trailer already")
        groups = {**self._header_groups, **self._group_rules(key, tags, definition.get("groups", {}))}
        return MessageRule(
            msg_type=msg_type,
            name=self.tables["names"].get(msg_type, msg_type),
            body=frozenset(tags),
            required=(*self.header_required, *required, *self.trailer_required),
            groups=groups,
            all_tags=self.header | self.trailer | frozenset(tags) | _tags_of(groups),
            members=tags,
        )


def _tags_of(groups: Mapping[int, GroupRule]) -> frozenset[int]:
    return _NO_TAGS.union(*(_tags_of(group.groups).union(group.tags) for group in groups.values()))


def _field_rule(tag: str, text: str, checks_values: bool) -> FieldRule:
    key = f"fields.{tag}"
    if not (tag.isascii() and tag.isdigit() and 0 < int(tag) < 1_000_000_000):
        raise DictionaryError(key, "not a tag number")
    words = text.split()
    if len(words) < 2:
        raise DictionaryError(key, f"{text!r} must be a name and a type")
    name, type_name, *values = words
    its_format = FORMAT_OF_TYPE.get(type_name)
    if its_format is None:
        raise DictionaryError(key, f"no type {type_name}; there are {', '.join(FORMAT_OF_TYPE)}")
    if its_format is Format.GROUP or not checks_values:
        values = []
    return FieldRule(int(tag), name, its_format, CHECKS[its_format], frozenset(value.encode() for value in values))


def _load(name: str) -> Tables:
    """Return the tables of a file of the package, laid over those of the files that it includes."""
    tables = dict(parse((Path(__file__).parent / name).read_text()))
    base: Tables = {}
    for included in tables.pop("includes", ()):
        base = laid_over(base, _load(included))
    return laid_over(base, tables) if base else tables


_fixt11, _fix42, _fix44 = _load("fixt11.toml"), _load("fix42.toml"), _load("fix44.toml")
FIX42 = Dictionary(_fix42)
FIX44 = Dictionary(_fix44)
FIX50SP2 = Dictionary(over_transport(_load("fix50sp2.toml"), _fixt11))
# Other versions on FIXT, for a message that names one in its ApplVerID(1128).
FIXT_FIX42 = Dictionary(over_transport(_fix42, _fixt11))
FIXT_FIX44 = Dictionary(over_transport(_fix44, _fixt11))
