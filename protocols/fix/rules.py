"""The rules of engagement as a document, generated from the dictionaries: one table a message, one a group."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from protocols.fix.dictionary import Dictionary
from protocols.fix.formats import Format
from protocols.fix.phases import ADMIN_TYPES

# Tags in order, with whether each is required.
_Rows = dict[int, bool]
_HEAD = """# FIX: rules of engagement

Generated from the dictionaries by `python -m gateway.fix_rules`; a test keeps the two equal.

Versions: {versions}. In the column of a version *yes* is required, *may* is optional; an empty cell is not of that
message in that version, and refused: with SessionRejectReason(373) 2 where the version has the tag elsewhere, else with
0. A session may agree to pass over such fields. Members of a group stand in the order of its table, the first of them
begins each entry. The formats and values of fields are in the last table.
"""


def rules_of_engagement(dictionaries: Mapping[str, Dictionary]) -> str:
    """Return the document, in Markdown. `dictionaries`: by what each version is called, from old to new."""
    writer = _Writer(dictionaries)
    parts = [_HEAD.format(versions=", ".join(dictionaries)), "## Header and trailer\n"]
    parts.append(writer.table("Header", lambda one: _rows(one, "header", one.tables["header"])))
    parts.append(writer.table("Trailer", lambda one: _rows(one, "trailer", one.tables["trailer"])))
    msg_types = sorted({one for version in writer.versions for one in version.messages}, key=_by_length)
    for title, is_admin in (("Session messages", True), ("Application messages", False)):
        parts.append(f"## {title}\n")
        for msg_type in msg_types:
            parts += [writer.message(msg_type)] * ((msg_type in ADMIN_TYPES) is is_admin)
    parts.append("## Groups\n")
    tags = sorted({int(tag) for version in writer.versions for tag in version.tables["groups"]})
    parts += [writer.table(writer.name(tag), partial(_group, tag=tag)) for tag in tags]
    parts += ["## Fields\n", writer.fields()]
    return "\n".join(part for part in parts if part).rstrip("\n") + "\n"


class _Writer:
    def __init__(self, dictionaries: Mapping[str, Dictionary]) -> None:
        self.names = list(dictionaries)
        self.versions = list(dictionaries.values())

    def name(self, tag: int) -> str:
        """Return ``Name(tag)``, the newest name."""
        return next((one.name(tag) for one in reversed(self.versions) if tag in one.fields), f"({tag})")

    def message(self, msg_type: str) -> str:
        """Return a message's table, and those of its groups that are not the common ones."""
        rules = [version.messages[msg_type] for version in self.versions if msg_type in version.messages]
        title = f"{rules[-1].name} ({msg_type})"
        parts = [self.table(title, lambda one: _message(one, msg_type), msg_type)]
        tags = {int(tag) for version in self.versions for tag in _own_groups(version, msg_type)}
        parts += [
            self.table(f"{self.name(tag)} of {title}", partial(_group, tag=tag, msg_type=msg_type))
            for tag in sorted(tags)
        ]
        return "\n".join(part for part in parts if part)

    def table(self, title: str, rows_of: Callable[[Dictionary], _Rows], msg_type: str = "") -> str:
        """Return a table of what the versions have; nothing when none has any."""
        columns = [rows_of(version) for version in self.versions]
        # In the order of the version that says most; what others have besides comes behind.
        tags = dict.fromkeys(tag for column in sorted(columns, key=len, reverse=True) for tag in column)
        if not tags:
            return ""
        lines = [f"### {title}", "", f"| tag | name | {' | '.join(self.names)} | note |"]
        lines.append("|---" * (len(self.names) + 3) + "|")
        for tag in tags:
            cells = " | ".join("" if tag not in column else "yes" if column[tag] else "may" for column in columns)
            mine = [one for one, column in zip(self.versions, columns, strict=True) if tag in column]
            notes = dict.fromkeys(text for one in mine if (text := one.note(msg_type, tag)))
            if mine[-1].fields[tag].format is Format.GROUP:
                notes = {"begins a group": None, **notes}
            lines.append(f"| {tag} | {mine[-1].fields[tag].name} | {cells} | {'; '.join(notes)} |")
        return "\n".join([*lines, ""])

    def fields(self) -> str:
        """Return the table of all fields that a message or group has."""
        used = {tag for one in self.versions for rule in one.messages.values() for tag in rule.all_tags}
        lines = ["| tag | name | type | values |", "|---|---|---|---|"]
        for tag in sorted(used):
            mine = [(name, one) for name, one in zip(self.names, self.versions, strict=True) if tag in one.fields]
            its_names = _by_version((name, one.fields[tag].name) for name, one in mine)
            types = _by_version((name, one.type_name(tag)) for name, one in mine)
            values = _by_version((name, _shown(one.fields[tag].values)) for name, one in mine)
            lines.append(f"| {tag} | {its_names} | {types} | {values} |")
        return "\n".join([*lines, ""])


def _by_version(pairs: Iterable[tuple[str, str]]) -> str:
    """``x`` where all versions say so, else ``x (4.2), y (4.4, 5.0 SP2)``."""
    versions_of: dict[str, list[str]] = {}
    for version, text in pairs:
        versions_of.setdefault(text, []).append(version)
    if len(versions_of) == 1:
        return next(iter(versions_of))
    return ", ".join(f"{text or 'any'} ({', '.join(versions)})" for text, versions in versions_of.items())


def _shown(values: frozenset[bytes]) -> str:
    return " ".join(sorted((value.decode() for value in values), key=_value_order))


def _value_order(value: str) -> tuple[bool, int, str]:
    return not value.isdigit(), int(value) if value.isdigit() else 0, value


def _by_length(msg_type: str) -> tuple[int, str]:
    return len(msg_type), msg_type


def _rows(one: Dictionary, key: str, text: str) -> _Rows:
    members, required = one.members(key, text)
    return {tag: tag in required for tag in members}


def _message(one: Dictionary, msg_type: str) -> _Rows:
    rule = one.messages.get(msg_type)
    return {} if rule is None else {tag: tag in rule.required for tag in rule.members}


def _own_groups(one: Dictionary, msg_type: str) -> Mapping[str, str]:
    definition: Any = one.tables["messages"].get(msg_type, "") if msg_type in one.messages else ""
    groups: Mapping[str, str] = {} if isinstance(definition, str) else definition.get("groups", {})
    return groups


def _group(one: Dictionary, tag: int, msg_type: str | None = None) -> _Rows:
    groups = one.tables["groups"] if msg_type is None else _own_groups(one, msg_type)
    text = groups.get(str(tag))
    # Shared files define groups of fields that a version has not.
    return {} if text is None or tag not in one.fields else _rows(one, f"groups.{tag}", text)
