"""Parameter sets of the venues, as data: each with its source and the day it held."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import msgspec

from risk.models.result import MarginError

T = TypeVar("T")


class Provenance(msgspec.Struct, frozen=True):
    """Where a parameter set comes from; certainty is V (read), R (re-computed), D (derived), M (not checked)."""

    source: str
    as_of: str
    certainty: str


@cache
def _file(name: str) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def names(file: str) -> list[str]:
    """Return the sets of a file, the default one first."""
    return list(_file(file))


def parameters(
    file: str, kind: type[T], chosen: str | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[T, Provenance]:
    """Return a parameter set as a struct, with overrides applied, and where it comes from.

    Raises
    ------
    MarginError
        If the set is not known, or an override does not exist or fit.
    """
    sets = _file(file)
    name = chosen or next(iter(sets))
    if name not in sets:
        raise MarginError("unknown_parameter_set", f"{name}: there are {', '.join(sets)}")
    values = dict(sets[name])
    where = Provenance(*(str(values.pop(key)) for key in ("source", "as_of", "certainty")))
    try:
        found = msgspec.convert(_overridden(values, overrides or {}), kind)
    except msgspec.ValidationError as error:
        raise MarginError("bad_parameter", f"{file}/{name}: {error}") from error
    return found, where


def _overridden(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with overrides, tables merged key by key."""
    found = dict(values)
    for key, value in overrides.items():
        known = found.get(key)
        found[key] = _overridden(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
    return found
