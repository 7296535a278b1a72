"""What the tables of a configuration have in common."""

from msgspec import Struct


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table: its keys are its fields."""
