"""The import switch between the compiled reader of levels and its plain twin, which `MARGINGATE_PURE=1` takes."""

import os
from typing import TYPE_CHECKING

__all__ = ["COMPILED", "read_levels", "set_levels"]

COMPILED = False
if not TYPE_CHECKING and os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from protocols.venues._levels import read_levels, set_levels

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    from protocols.venues.level_lists import read_levels, set_levels
