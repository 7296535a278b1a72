"""Reading a case: named fields or a refusal, and what was left unread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from risk.models.result import MarginError

Case = Mapping[str, Any]
# What is said about a case rather than put into it.
ABOUT: Final = frozenset(
    {"id", "name", "note", "origin", "source", "expected", "tol", "unrounded", "closed_form", "input", "params"}
)


class Table(Mapping[str, Any]):
    """A table of a case that knows its path, and tells `seen` what of it is read: nothing is left out unsaid."""

    def __init__(self, given: Mapping[str, Any], path: str = "", seen: Seen | None = None) -> None:
        self._path, self.seen = path, Seen() if seen is None else seen
        self._values = {key: self._within(self._place(key), value) for key, value in given.items()}

    def _place(self, key: object) -> str:
        return f"{self._path}.{key}" if self._path else str(key)

    def _within(self, place: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return Table(value, place, self.seen)
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            return [self._within(f"{place}[{row}]", item) for row, item in enumerate(value)]
        self.seen.unread[place] = value
        return value

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            raise MarginError("missing_input", f"{self._place(key)} is missing")
        self.seen.read(self._place(key), self._values[key])
        return self._values[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self[key] if key in self._values else default

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class Seen:
    """What of a case was read, what was not, and what was read last."""

    def __init__(self) -> None:
        self.unread: dict[str, Any] = {}
        self.last: tuple[str, Any] = ("input", None)

    def read(self, place: str, value: Any) -> None:
        """Note that the value at a place was read."""
        self.unread.pop(place, None)
        self.last = place, value


def field(where: Mapping[str, Any], *names: str) -> Any:
    """Return the first of `names` that is given; refused where none is."""
    for name in names:
        if name in where:
            return where[name]
    raise MarginError("missing_input", f"{' or '.join(names)} is missing")


def number(where: Mapping[str, Any], *names: str, default: float | None = None) -> float:
    """Return a number by the first of `names` that is given."""
    for name in names:
        if where.get(name) is not None:
            value = where[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise MarginError("bad_input", f"{name} is {value!r}, not a number")
            return float(value)
    if default is None:
        raise MarginError("missing_input", f"{' or '.join(names)} is missing")
    return default


def integer(where: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    """Return a whole number by the first of `names` that is given, exactly: quanta need more than 53 bits."""
    for name in names:
        if where.get(name) is not None:
            value = where[name]
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            found = number(where, name)
            if found != int(found):
                raise MarginError("bad_input", f"{name} is {value!r}, not a whole number")
            return int(found)
    if default is None:
        raise MarginError("missing_input", f"{' or '.join(names)} is missing")
    return default


def flag(where: Mapping[str, Any], name: str) -> bool:
    """Return a flag, false where it is not given; what is neither true nor false is refused."""
    value = where.get(name, False)
    if not isinstance(value, bool):
        raise MarginError("bad_input", f"{name} is {value!r}, neither true nor false")
    return value


def is_call(where: Mapping[str, Any], *names: str) -> bool:
    """Return whether an option is a call; what is neither call nor put is refused, never taken for the other."""
    stated = field(where, *(names or ("type", "option_type")))
    found = {"call": True, "c": True, "put": False, "p": False}.get(str(stated).lower())
    if found is None:
        raise MarginError("bad_input", f"{stated!r} is neither call nor put")
    return found


def refuse_unread(where: Mapping[str, Any], *known: str) -> None:
    """Raise MarginError for an input that nobody reads: what it stands for would be left out of the answer."""
    unread = sorted(where.keys() - set(known))
    if unread:
        raise MarginError("unknown_input", f"{', '.join(unread)}: nothing reads it")


def side_sign(where: Mapping[str, Any]) -> float:
    """Return +1 for long or buy, -1 for short or sell; without a side, the sign of the quantity or +1."""
    side = str(where.get("side", "")).lower()
    if side in ("long", "buy"):
        return 1.0
    if side in ("short", "sell"):
        return -1.0
    if side:
        raise MarginError("bad_input", f"side {side!r}")
    return -1.0 if number(where, "qty", "position", default=1.0) < 0 else 1.0


def signed_qty(where: Mapping[str, Any], *names: str) -> float:
    """Return the quantity with the sign of its side; a negative quantity is short without one."""
    qty = number(where, *(names or ("qty", "position")))
    return side_sign(where) * abs(qty) if where.get("side") else qty
