"""The text of a dictionary: how tables are laid over each other, and what is said of one that is wrong."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

Tables = Mapping[str, Any]

# Keys of a dictionary file. Tables are merged by key, texts replaced, or added to by a leading "+".
_TEXTS = frozenset({"begin_string", "appl_ver_id", "msg_types", "header", "trailer", "defined_tags"})
_TABLES = frozenset({"fields", "groups", "components", "messages", "names", "writes", "notes"})


class DictionaryError(ValueError):
    """A dictionary's table contradicts itself or the shape of tables; `key` names the entry, `line` its line."""

    def __init__(self, key: str, text: str, line: int | None = None) -> None:
        where = key if line is None else f"line {line}: {key}"
        super().__init__(f"{where}: {text}" if where else text)
        self.key = key
        self.text = text
        self.line = line


def parse(text: str) -> Tables:
    """Return the tables of a TOML text. Raises DictionaryError, which names line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise DictionaryError("", str(error), int(line[1]) if line else None) from error


def line_of(text: str, key: str) -> int | None:
    """Return the line of a TOML text that `key`, such as ``messages.D``, is most likely written on."""
    *tables, last = key.split(".")
    patterns = [rf"\[{re.escape(key)}\]", rf"(?:{re.escape('.'.join([*tables[1:], last]))}|{re.escape(last)})\s*="]
    within = ""
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().replace('"', "")
        if line.startswith("["):
            within = line.strip("[]")
        if re.match(patterns[0], line) or (re.match(patterns[1], line) and key.startswith(within)):
            return number
        if found is None and last in line:
            found = number
    return found


def check_shape(tables: Tables) -> None:
    """Raise DictionaryError for a key that no dictionary has, or one that is not of its type."""
    for key, value in tables.items():
        if key in _TEXTS:
            if not isinstance(value, str):
                raise DictionaryError(key, "must be a text")
        elif key not in _TABLES:
            known = ", ".join(sorted(_TEXTS | _TABLES))
            raise DictionaryError(key, f"no such key; there are {known}")
        elif not isinstance(value, Mapping):
            raise DictionaryError(key, "must be a table")
    for table in ("fields", "groups", "components", "names"):
        for key, value in tables.get(table, {}).items():
            if not isinstance(value, str):
                raise DictionaryError(f"{table}.{key}", "must be a text")
    for msg_type, definition in tables.get("messages", {}).items():
        _check_message(f"messages.{msg_type}", definition)


def _check_message(key: str, definition: Any) -> None:
    if isinstance(definition, str):
        return
    if not isinstance(definition, Mapping) or not isinstance(definition.get("members"), str):
        raise DictionaryError(key, "must be a text of members, or a table with one under `members`")
    for name, value in definition.items():
        if name not in ("members", "groups"):
            raise DictionaryError(f"{key}.{name}", "no such key; there are members, groups")
        if name == "groups" and not (
            isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())
        ):
            raise DictionaryError(f"{key}.groups", "must be a table of texts")


def laid_over(base: Tables, tables: Tables) -> Tables:
    """Return `base` with `tables` over it: entries replace those of the same key, a leading ``+`` adds."""
    merged = dict(base)
    for key, value in tables.items():
        old = merged.get(key)
        if isinstance(value, Mapping):
            old = old or {}
            merged[key] = {**old, **{name: _added(old.get(name, ""), text) for name, text in value.items()}}
        elif key == "msg_types":
            merged[key] = f"{old or ''} {value}"
        else:
            merged[key] = _added(old or "", value)
    return merged


def _added(old: Any, new: Any) -> Any:
    if isinstance(new, str) and new.startswith("+"):
        if isinstance(old, Mapping):
            return {**old, "members": f"{old['members']} {new[1:]}"}
        return f"{old} {new[1:]}"
    return new


def tag_ranges(text: str) -> frozenset[int]:
    """``1-446 -101 -220:261`` -> all tags from 1 to 446 but for 101 and 220 to 261."""
    tags: set[int] = set()
    for word in text.split():
        if word.startswith("-"):
            first, _, last = word[1:].partition(":")
            tags -= set(range(int(first), int(last or first) + 1))
        else:
            first, _, last = word.partition("-")
            tags |= set(range(int(first), int(last or first) + 1))
    return frozenset(tags)


def over_transport(application: Tables, transport: Tables) -> Tables:
    """Return one dictionary of an application version carried by FIXT: its own header, trailer and session messages.

    ApplVerID(1128) of a message then may be this version's only.
    """
    merged = dict(laid_over(application, {key: value for key, value in transport.items() if key != "msg_types"}))
    admin = set(transport["msg_types"].split())
    merged["msg_types"] = f"{application['msg_types']} {transport['msg_types']}"
    merged["messages"] = {
        **{msg_type: rule for msg_type, rule in application["messages"].items() if msg_type not in admin},
        **transport["messages"],
    }
    fields = dict(merged["fields"])
    name_and_type = fields["1128"].split()[:2]
    fields["1128"] = " ".join([*name_and_type, application["appl_ver_id"]])
    merged["fields"] = fields
    merged["appl_ver_id"] = application["appl_ver_id"]
    return merged
