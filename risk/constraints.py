"""What profiles forbid an account on the order path: products, leverage, and trading on below the close-out level."""

from __future__ import annotations

import msgspec

from risk.instrument import Kind


class Rule(msgspec.Struct, frozen=True, gc=False):
    """A number and the profile that asks for it."""

    value: float
    profile: str


class Part(msgspec.Struct, frozen=True, order=True):
    """The house's margin with wider spot moves, and what is lost in them counted so many times; profile_books.py.

    Nothing is held for less than `least_days`: those that the house's own period is below are in `scale`.
    """

    scale: float
    factor: float
    has_equity: bool
    least_days: float = 0.0


class Requirement(msgspec.Struct, frozen=True):
    """What a profile's rule asks of margin: the parts' worst cases together must not be below zero."""

    profile: str
    rule: str
    parts: tuple[Part, ...]


class Eligible(msgspec.Struct, frozen=True):
    """The assets that all profiles of an account take as collateral; `by` are the profiles that say so, and theirs."""

    assets: tuple[str, ...]
    by: tuple[tuple[str, tuple[str, ...]], ...]

    def refusing(self, asset: str) -> str:
        """Return the first profile that does not take an asset; empty where all do."""
        return next((name for name, taken in self.by if asset not in taken), "")


class Constraints(msgspec.Struct, frozen=True):
    """The strictest of each rule, but for `requirements`, which bind all.

    `forbidden` names the profile by product, `leverage` its cap.
    """

    forbidden: dict[Kind, str] = {}
    leverage: dict[Kind, Rule] = {}
    close_out: Rule | None = None
    requirements: tuple[Requirement, ...] = ()
    eligible: Eligible | None = None
