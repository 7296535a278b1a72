"""What every request passes: a bound on its size; and every answer: headers that keep browsers from mischief."""

from __future__ import annotations

import logging
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1 << 16
MAX_PATH_LOGGED: Final = 200
HEADERS: Final = [
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
     b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]  # fmt: skip
_TOO_LONG: Final = b'{"detail":"a request is at most 65536 bytes long"}'

log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it for its size."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            start = [(b"content-type", b"application/json"), *HEADERS]
            await send({"type": "http.response.start", "status": 413, "headers": start})
            await send({"type": "http.response.body", "body": _TOO_LONG})
            return
        is_read = False

        async def read() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
                _note(scope, message["status"])
            await send(message)

        await self._app(scope, read, answer)


async def _body(receive: Receive) -> bytes | None:
    """Return a whole request's body; None where it is too long."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _note(scope: Scope, status: int) -> None:
    """Log what was refused, and every act; a page that looks once a second is no news. No header, no query, no body."""
    if status < 400 and scope["method"] == "GET":
        return
    client: Any = scope.get("client") or ("",)
    said = {"method": scope["method"], "path": scope["path"][:MAX_PATH_LOGGED], "status": status, "from": client[0]}
    log.log(logging.INFO if status < 400 else logging.WARNING, "request", extra=said)
