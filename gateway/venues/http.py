"""A venue's REST host: the requests that its session wants made, each once, with limits on time, size and number."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import aiohttp
from yarl import URL

from gateway.clock import now_ns
from protocols.venues.codec import HttpRequest, HttpResponse

# The longest legitimate answer: all options of a coin, or the terms of a thousand contracts.
MAX_BODY_BYTES: Final = 32 << 20
MAX_HEADER_BYTES: Final = 16 << 10
CHUNK_BYTES: Final = 1 << 16
# A venue's address limit counts requests, not connections; a handful of them is what its own clients use.
MAX_CONNECTIONS: Final = 8
# Requests that wait for a connection; the session's own pace keeps far below.
MAX_REQUESTS: Final = 1_024
# No request is waited for longer than this, whatever its session asked for.
MAX_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5.0

# answered(how to hand the answer over: (now_ns), the session that asked)
Answered = Callable[[Callable[[int], None], object], None]


class Asks(Protocol):
    """Whoever wants requests made: a session with a venue, or a channel of transfers."""

    def http_answered(self, request_id: int, response: HttpResponse, now_ns: int) -> None: ...

    def http_failed(self, request_id: int, reason: str, now_ns: int) -> None: ...


class TooLongError(Exception):
    """The answer is longer than any that makes sense."""


class HttpExecutor:
    """Executes requests against one base address. Never follows a redirect: the headers carry the key.

    What goes wrong is told by kind only, as the text of an error may hold the address, and with it a signature.
    """

    def __init__(self, base: str, ssl_context: ssl.SSLContext | None = None) -> None:
        self._base = base.rstrip("/")
        self._tasks: set[asyncio.Task[None]] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=ssl_context if ssl_context is not None else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            headers={"User-Agent": "margingate"},
        )

    def __len__(self) -> int:
        return len(self._tasks)

    def submit(self, request: HttpRequest, asked: Asks, answered: Answered) -> None:
        """Make a request; its answer, or why there is none, goes to the session that asked, by way of `answered`."""
        if len(self._tasks) >= MAX_REQUESTS:
            text = f"more than {MAX_REQUESTS} requests at one time"
            answered(partial(asked.http_failed, request.request_id, text), asked)
            return
        task = asyncio.create_task(self._execute(request, asked, answered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way, and close all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _execute(self, request: HttpRequest, asked: Asks, answered: Answered) -> None:
        try:
            response = await self._ask(request)
        except TooLongError:
            reason = f"the answer is longer than {MAX_BODY_BYTES} bytes"
        except TimeoutError:
            reason = "no answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = type(error).__name__
        else:
            answered(lambda now: asked.http_answered(request.request_id, response, now), asked)
            return
        answered(lambda now: asked.http_failed(request.request_id, reason, now), asked)

    async def _ask(self, request: HttpRequest) -> HttpResponse:
        left_s = (request.deadline_ns - now_ns()) / 1e9 if request.deadline_ns else MAX_TIMEOUT_S
        timeout = aiohttp.ClientTimeout(total=min(MAX_TIMEOUT_S, max(left_s, 0.001)), sock_connect=CONNECT_TIMEOUT_S)
        # As it was signed: encoding it once more would break the signature.
        url = URL(self._base + request.target, encoded=True)
        async with self._session.request(
            request.method,
            url,
            headers=list(request.headers),
            data=request.body or None,
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    answer.close()
                    raise TooLongError
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return HttpResponse(answer.status, bytes(body), headers)
