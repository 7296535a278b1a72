"""The import switch between the compiled order frame and its plain twin; `MARGINGATE_PURE=1` takes the plain one."""

import os
from typing import TYPE_CHECKING

__all__ = ["COMPILED", "limit_frame"]

COMPILED = False
if not TYPE_CHECKING and os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from protocols.venues._frames import limit_frame

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    from protocols.venues.deribit_frames import limit_frame
