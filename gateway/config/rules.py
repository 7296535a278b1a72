"""From a parsed TOML document to msgspec structs, with every problem told and not only the first.

A struct's annotations say everything: `Annotated[int, between(1, 65535), "The TCP port."]` is a kind, rules, and
the description that docs/configuration.md prints. Decimals and fractions come from the text as it is written; no
binary floating point stands between (the document must be parsed with `parse_float=Decimal`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct, structs

# 18 digits before and after the point: what fits an int64 of smallest units, and more than any venue quotes.
DECIMAL_LIMIT = Decimal(10) ** 18
DECIMAL_PLACES = 18
_DECIMAL = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,18})?", re.ASCII)
# Values of keys like these are never repeated in a message, wherever in the file they were written by mistake.
_SECRET = re.compile(r"secret|password|passwd|passphrase|token|signature|credential|api_?key|private_?key|client_id")
_NEVER_SHOWN = re.compile(_SECRET.pattern + "|url")
_SHOWN_CHARACTERS = 60

KeyPath = tuple[str | int, ...]
# Given the keys of one table that are good so far (defaults included): yields (path within it, what is wrong).
TableCheck = Callable[[Mapping[str, Any]], Iterator[tuple[KeyPath, str]]]


class Rule(Struct, frozen=True):
    """A condition on a value; `allowed` reads on from the kind: "a whole number" + "from 1 to 65535"."""

    allowed: str
    holds: Callable[[Any], bool]


class Problem(Struct, frozen=True):
    """One thing that is wrong, at a path of the document."""

    path: KeyPath
    text: str


def between(lowest: int, highest: int) -> Rule:
    """Return the rule that a number lies in a range, both ends included."""
    return Rule(f"from {lowest} to {highest}", lambda value: lowest <= value <= highest)


def matching(pattern: str, allowed: str) -> Rule:
    """Return the rule that a text matches a pattern as a whole; `allowed` says it in words."""
    compiled = re.compile(pattern, re.ASCII)
    return Rule(allowed, lambda value: compiled.fullmatch(value) is not None)


POSITIVE = Rule("above 0", lambda value: value > 0)
NOT_EMPTY = Rule("with at least one element", lambda value: len(value) > 0)
DISTINCT = Rule("without repetition", lambda value: len(set(value)) == len(value))


class _InvalidError(Exception):
    """This value is not of its kind."""


def _whole(value: Any) -> int:
    # bool is an int to Python; in a configuration it is a mistake.
    if type(value) is not int:
        raise _InvalidError
    return value


def _instance(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise _InvalidError
        return value

    return check


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = Decimal(value)
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value) > DECIMAL_LIMIT:
        raise _InvalidError
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMAL_PLACES:
        raise _InvalidError
    return value


def _fraction(value: Any) -> float:
    if isinstance(value, str):
        raise _InvalidError
    return float(_decimal(value))


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _InvalidError
    return Path(value)


KINDS: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    bool: ("true or false", _instance(bool)),
    int: ("a whole number", _whole),
    str: ("a string", _instance(str)),
    Decimal: ('a decimal number, as "0.05" or 0.05,', _decimal),
    float: ("a number", _fraction),
    Path: ("a path", _path),
}


class Hint(Struct, frozen=True):
    """An annotation, taken apart."""

    kind: Any
    rules: tuple[Rule, ...]
    description: str


def parts_of(annotation: Any) -> Hint:
    """Return kind, rules and description; `X | None` counts as X, as TOML has no null."""
    rules: list[Rule] = []
    description = ""
    kind = annotation
    while True:
        if get_origin(kind) is Annotated:
            kind, *extras = get_args(kind)
            rules = [extra for extra in extras if isinstance(extra, Rule)] + rules
            description = next((extra for extra in extras if isinstance(extra, str)), description)
        elif get_origin(kind) in (Union, UnionType):
            (kind,) = (member for member in get_args(kind) if member is not NoneType)
        else:
            return Hint(kind, tuple(rules), description)


def allowed(annotation: Any) -> str:
    """Return in words what a key takes."""
    hint = parts_of(annotation)
    return f"{_kind_in_words(hint.kind)} {', '.join(rule.allowed for rule in hint.rules)}".rstrip(", ")


def _kind_in_words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in arguments)
    if origin is tuple:
        if is_table(arguments[0]):
            return "an array of tables"
        return f"a list, each element {allowed(arguments[0])},"
    if origin is dict:
        return f"a table, each key {allowed(arguments[0])}, each value {allowed(arguments[1])},"
    if is_table(kind):
        return "a table"
    return KINDS[kind][0]


def is_table(annotation: Any) -> bool:
    """Whether an annotation is of a struct: a table of the document."""
    kind = parts_of(annotation).kind
    return isinstance(kind, type) and issubclass(kind, Struct)


class Reader:
    """Turns one document into structs; afterwards `problems` holds all that was wrong with it."""

    def __init__(self, checks: Mapping[type[Struct], TableCheck], base: Path) -> None:
        """`checks` look at several keys of one table; relative file names are taken from `base`."""
        self.problems: list[Problem] = []
        self._checks = checks
        self._base = base

    def table(self, kind: type[Struct], data: Any, path: KeyPath) -> Any:
        """Return a `kind` made from `data`, or raise _InvalidError after noting why."""
        if not isinstance(data, dict):
            self._refuse(path, f"must be {allowed(kind)}, not {_shown(path, data)}")
        hints = get_type_hints(kind, include_extras=True)
        values: dict[str, Any] = {}
        count = len(self.problems)
        for key in data.keys() - hints.keys():
            self.problems.append(Problem((*path, key), _unknown(key, list(hints))))
        for field in structs.fields(kind):
            name = field.name
            if name in data:
                try:
                    values[name] = self.value(hints[name], data[name], (*path, name))
                except _InvalidError:
                    continue
            elif not field.required:
                values[name] = field.default if field.default is not NODEFAULT else field.default_factory()
            else:
                text = f"is missing; it must be {allowed(hints[name])}"
                self.problems.append(Problem((*path, name), text))
        for place, text in self._checks.get(kind, _nothing)(values):
            self.problems.append(Problem((*path, *place), text))
        if len(self.problems) > count:
            raise _InvalidError
        return kind(**values)

    def value(self, annotation: Any, data: Any, path: KeyPath) -> Any:
        """Return `data` as what `annotation` asks for, or raise _InvalidError after noting why not."""
        hint = parts_of(annotation)
        origin, arguments = get_origin(hint.kind), get_args(hint.kind)
        refusal = f"must be {allowed(annotation)}, not {_shown(path, data)}"
        if is_table(hint.kind):
            return self.table(hint.kind, data, path)
        if origin is tuple and isinstance(data, list):
            value: Any = self._elements(arguments[0], data, path)
        elif origin is dict and isinstance(data, dict):
            value = self._entries(arguments, data, path)
        elif origin is Literal and isinstance(data, str) and data in arguments:
            value = data
        elif origin is None:
            value = self._leaf(hint.kind, data, path, refusal)
        else:
            self._refuse(path, refusal)
        if not all(rule.holds(value) for rule in hint.rules):
            self._refuse(path, refusal)
        return self._base / value if isinstance(value, Path) else value

    def _leaf(self, kind: Any, data: Any, path: KeyPath, refusal: str) -> Any:
        try:
            return KINDS[kind][1](data)
        except _InvalidError:
            self._refuse(path, refusal)

    def _elements(self, annotation: Any, data: list[Any], path: KeyPath) -> tuple[Any, ...]:
        values, count = [], len(self.problems)
        for index, element in enumerate(data):
            try:
                values.append(self.value(annotation, element, (*path, index)))
            except _InvalidError:
                continue
        if len(self.problems) > count:
            raise _InvalidError
        return tuple(values)

    def _entries(self, annotations: tuple[Any, ...], data: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        values, count = {}, len(self.problems)
        for key, entry in data.items():
            try:
                self.value(annotations[0], key, (*path, key))
                values[key] = self.value(annotations[1], entry, (*path, key))
            except _InvalidError:
                continue
        if len(self.problems) > count:
            raise _InvalidError
        return values

    def _refuse(self, path: KeyPath, text: str) -> Any:
        self.problems.append(Problem(path, text))
        raise _InvalidError


def read(
    kind: type[Struct], data: dict[str, Any], checks: Mapping[type[Struct], TableCheck], base: Path
) -> tuple[Any, list[Problem]]:
    """Return the struct, or None if there are problems, and the problems."""
    reader = Reader(checks, base)
    try:
        return reader.table(kind, data, ()), []
    except _InvalidError:
        return None, reader.problems


def _nothing(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    return iter(())


def _unknown(key: str, known: list[str]) -> str:
    if _SECRET.search(key.lower()):
        return (
            "credentials are never written in this file; name a credentials_file of mode 0600, or the prefix of "
            "environment variables in credentials_env"
        )
    close = get_close_matches(key, known, n=1)
    if close:
        return f"unknown key; did you mean {close[0]}?"
    return f"unknown key; known here: {', '.join(known)}"


def _shown(path: KeyPath, value: Any) -> str:
    """Return a value as a message may repeat it: short, on one line, and no secret."""
    if any(_NEVER_SHOWN.search(str(part).lower()) for part in path):
        return "what is there"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "[" + _cut(", ".join(_shown(path, element) for element in value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + _cut(value.encode("unicode_escape").decode("ascii")) + '"'
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
