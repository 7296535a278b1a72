"""What profiles forbid an account on the order path: products, leverage, and trading on below the close-out level."""

from __future__ import annotations

import msgspec

from risk.instrument import Kind


class Rule(msgspec.Struct, frozen=True, gc=False):
    """A number and the profile that asks for it."""

    value: float
    profile: str


class Constraints(msgspec.Struct, frozen=True):
    """The strictest of each rule. `forbidden` names the profile by product, `leverage` its cap."""

    forbidden: dict[Kind, str] = {}
    leverage: dict[Kind, Rule] = {}
    close_out: Rule | None = None
