"""Answers that are encoded in one go: a page's data is some 50 KiB, once a second for each who looks."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi.responses import JSONResponse


class Json(JSONResponse):
    """JSON; numbers that are none become null."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return orjson.dumps(content)
