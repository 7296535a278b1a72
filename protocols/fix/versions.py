"""How a version writes what the application says in the words of FIX 4.4: one application serves all versions.

The rows are data, ``[writes.MSGTYPE]`` of a dictionary: TAG = ["CONDITION ... VALUE", ...]. The first row whose
conditions hold gives the value; conditions are TAG=value of the 4.4 message, or ``*``; ``@TAG`` is another's value.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from protocols.errors import LocalProtocolError
from protocols.fix.codec import Layout

if TYPE_CHECKING:
    from protocols.fix.dictionary import Dictionary

Values = tuple[bytes | int | None, ...]
# Conditions as (position, value), then what to write: a value, or the position of one.
_Row = tuple[tuple[tuple[int, bytes], ...], bytes | int]


class View:
    """How one layout of a 4.4 message is written in another version: `layout`, and `values` for it."""

    __slots__ = ("_columns", "layout")

    def __init__(self, dictionary: "Dictionary", layout: Layout) -> None:
        """Raises LocalProtocolError for a message that the version has not."""
        rule = dictionary.messages.get(layout.msg_type)
        if rule is None:
            raise LocalProtocolError(f"{dictionary.begin_string} has no message {layout.msg_type}")
        writes = {int(tag): rows for tag, rows in dictionary.writes.get(layout.msg_type, {}).items()}
        position_of = {tag: position for position, tag in enumerate(layout.tags)}
        tags = sorted({tag for tag in layout.tags if tag in rule.body} | writes.keys())
        self.layout = Layout(layout.msg_type, tuple(tags))
        # Per tag: position of its 4.4 value or -1, its rows, the values that the version knows of it.
        self._columns = [
            (
                position_of.get(tag, -1),
                tuple(row for text in writes.get(tag, ()) if (row := _row(text, position_of)) is not None),
                dictionary.fields[tag].values,
            )
            for tag in tags
        ]

    def values(self, values: Values) -> Values:
        """Return the values of `layout`; one that the version does not know is left out."""
        return tuple([_written(values, *column) for column in self._columns])


def written_otherwise(
    dictionary: "Dictionary", msg_type: str, given: Mapping[int, bytes | int]
) -> dict[int, bytes | int | None]:
    """Return by tag what a version's rows make of fields of a 4.4 message; the other fields are written as given."""
    position_of = {tag: position for position, tag in enumerate(given)}
    values = tuple(given.values())
    written: dict[int, bytes | int | None] = {}
    for text_tag, texts in dictionary.writes.get(msg_type, {}).items():
        tag = int(text_tag)
        rows = tuple(row for text in texts if (row := _row(text, position_of)) is not None)
        written[tag] = _written(values, position_of.get(tag, -1), rows, dictionary.fields[tag].values)
    return written


def needs_view(dictionary: "Dictionary", layout: Layout) -> bool:
    """Tell whether a layout is written otherwise in this version than in 4.4."""
    rule = dictionary.messages.get(layout.msg_type)
    return rule is None or layout.msg_type in dictionary.writes or not rule.body.issuperset(layout.tags)


def _written(values: Values, position: int, rows: tuple[_Row, ...], known: frozenset[bytes]) -> bytes | int | None:
    for conditions, result in rows:
        if all(_text(values[at]) == value for at, value in conditions):
            return values[result] if isinstance(result, int) else result
    value = values[position] if position >= 0 else None
    if known and value is not None and not known.issuperset(_text(value).split(b" ")):
        return None
    return value


def _text(value: bytes | int | None) -> bytes:
    if value is None:
        return b""
    return b"%d" % value if isinstance(value, int) else value


def _row(text: str, position_of: dict[int, int]) -> _Row | None:
    """Return a row; None for one that speaks of a tag which the layout has not."""
    *words, result = text.split()
    conditions = [word.split("=") for word in words if word != "*"]
    tags = [int(tag) for tag, _ in conditions]
    if result.startswith("@"):
        tags.append(int(result[1:]))
    if any(tag not in position_of for tag in tags):
        return None
    pairs = tuple((position_of[int(tag)], value.encode()) for tag, value in conditions)
    return pairs, position_of[int(result[1:])] if result.startswith("@") else result.encode()
