"""Reading a case: named fields or a refusal, and what was left unread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risk.models.result import MarginError

Case = Mapping[str, Any]


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
