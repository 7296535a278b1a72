"""What every journal record is; see gateway.records."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all records."""
