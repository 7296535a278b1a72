"""A venue of several lanes over real WebSockets and HTTP on loopback: its stand-in's answers on one port."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from aiohttp import WSMsgType, web

from gateway import config as configuration
from gateway.app import App
from gateway.clock import now_ns
from protocols.venues.codec import HttpRequest
from tests.gateway.lane_rig import FLAT, MS, Case, Frame, config_of, mark_frames
from tests.gateway.live import PATIENT
from tests.ports import free_port
from tests.protocols.venues.lane_peer import LanePeer, RefusalError

ENVIRONMENT = {"TEST_CLIENT_ID": "key-id", "TEST_CLIENT_SECRET": "s3cr3t-of-the-key", "TEST_PASSPHRASE": "pass-phrase"}


class SocketVenue:
    """What came is in `frames` and `asked`, in order; `dialled` are the lanes as they were dialled."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.peer: LanePeer[Any] = case.peer(cast(Any, None))
        self.peer.answers |= FLAT[case.name]
        self.sockets: dict[str, list[web.WebSocketResponse]] = defaultdict(list)
        self.frames: list[tuple[str, Frame]] = []
        self.asked: list[str] = []
        self.dialled: list[tuple[str, str]] = []
        self.closed_with: list[tuple[str, int | None]] = []
        self.takes_orders = True
        self.hangs_up_at_once = False
        self.is_silent = False
        self.price = 50_000.0
        self.orders = 0
        self.client_ids: dict[str, int] = {}
        self._specs = case.session().tables.lanes
        self._marking: asyncio.Task[None] | None = None
        self.url = ""

    # -- serving

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[SocketVenue]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.url = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
        self._marking = asyncio.create_task(self._mark())
        try:
            yield self
        finally:
            self._marking.cancel()
            await runner.cleanup()

    async def _mark(self) -> None:
        """Tell marks, ten times a second."""
        while True:
            await asyncio.sleep(0.1)
            if not self.is_silent:
                await self.mark()

    async def mark(self) -> None:
        for lane, frame in mark_frames(self.case, self.price, self.price, now_ns() // MS):
            await self.tell(lane, frame)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await self._rest(request)
        lane = self._lane(request.path_qs)
        self.dialled.append((lane, request.path_qs))
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        if self.hangs_up_at_once:
            await socket.close()
            return socket
        self.sockets[lane].append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(lane, socket, message.data.encode())
        finally:
            self.sockets[lane].remove(socket)
            self.closed_with.append((lane, socket.close_code))
        return socket

    def _lane(self, path: str) -> str:
        for spec in self._specs:
            if path.startswith(spec.path or "/private/ws"):
                return spec.name
        raise AssertionError(f"dialled {path}")

    async def _rest(self, request: web.Request) -> web.Response:
        name = f"{request.method} {request.path}"
        self.asked.append(name)
        self.peer.now_ns = now_ns()
        answer = self.peer.answers.get(name)
        if answer is None:
            await asyncio.sleep(60)
        made = HttpRequest(0, request.method, request.path_qs)
        try:
            result = answer(made) if answer is not None else None
        except RefusalError as refusal:
            refused = self.peer.http_refusal(refusal)
            return web.Response(status=refused.status, body=refused.body)
        return web.Response(body=self.peer.http_body(made, result))

    # -- frames

    async def _receive(self, lane: str, socket: web.WebSocketResponse, raw: bytes) -> None:
        frame = orjson.loads(raw) if raw[:1] == b"{" else {"text": raw.decode()}
        self.frames.append((lane, frame))
        self.peer.now_ns = now_ns()
        name = self.peer.name_of(lane, frame)
        if name == self.case.place and self.takes_orders:
            await self._take(lane, frame)
            return
        answer = self.peer.answers.get(name)
        if answer is None:
            return
        try:
            replies = self.peer.replies(lane, frame, answer(frame))
        except RefusalError as refusal:
            replies = self.peer.refusal(lane, frame, refusal)
        for reply in replies:
            await socket.send_str(reply.decode())

    async def _take(self, lane: str, frame: Frame) -> None:
        """Accept an order: an acknowledgement, and the stream's word that it rests."""
        client_id = self.client_id(frame)
        for reply in self.peer.replies(lane, frame, self.of(self.case.accepted(), client_id)):
            await self.tell(lane, reply)
        await self.tell(self.case.lanes[1], self.of(self.case.order(), client_id))

    @staticmethod
    def client_id(frame: Frame) -> str:
        params = frame["params"] if "params" in frame else frame["args"][0]
        return str(next(params[key] for key in ("newClientOrderId", "clOrdId", "orderLinkId") if key in params))

    def of(self, frame: Any, client_id: str) -> Any:
        """A stand-in's frame, about the order with this id; each has an order id of its own."""
        number = self.client_ids.setdefault(client_id, len(self.client_ids) + 1)
        told = orjson.dumps(frame).replace(b'"a1"', b'"%s"' % client_id.encode())
        order_id = self.case.order_id.encode()
        return orjson.loads(told.replace(order_id, order_id + b"%d" % number))

    async def tell(self, lane: str, frame: Any) -> None:
        """Send a frame to who is on the lane."""
        text = frame if isinstance(frame, bytes) else orjson.dumps(frame)
        for socket in list(self.sockets[lane]):
            with contextlib.suppress(ConnectionError):
                await socket.send_str(text.decode())

    async def hang_up(self, lane: str) -> None:
        """Cut a lane, without a word."""
        for socket in list(self.sockets[lane]):
            assert socket._req is not None and socket._req.transport is not None
            socket._req.transport.abort()

    def names(self, *lanes: str) -> list[str]:
        """What was sent on these lanes, by name."""
        return [self.peer.name_of(lane, frame) for lane, frame in self.frames if lane in lanes]


class Gateway:
    """A whole gateway in this loop on such venues."""

    def __init__(self, app: App, port: int) -> None:
        self.app, self.port = app, port

    @property
    def live(self) -> set[str]:
        return self.app.core.market.live_venues

    def link(self, name: str) -> Any:
        return next(venue.link for venue in self.app.venues if venue.link.venue == name)

    @property
    def is_ready(self) -> bool:
        """Whether an order for any instrument can pass."""
        core = self.app.core
        generation = core.valuation.generation
        return (
            len(self.live) == len(self.app.venues)
            and bool(core.market.marks)
            and all(mark is not None for mark in core.market.marks)
            and generation is not None
            and len(generation.values) >= len(core.ledger.instruments)
        )


def live_config(*venues: SocketVenue, port: int, extra: str = "") -> str:
    text = config_of(*(venue.case for venue in venues)).replace("listen_port = 9880", f"listen_port = {port}")
    text = text.replace('name = "test"', 'name = "test"\njournal_segment_mib = 1')
    text = text.replace('accounts = ["alpha"]', 'accounts = ["alpha"]\ncancel_on_disconnect = false')
    for venue in venues:
        head = f'name = "{venue.case.name}"\n'
        assert head in text
        text = text.replace(
            head, f'{head}url = "ws://{venue.url}"\nrest_url = "http://{venue.url}"\nreconnect_min_ms = 50\n{extra}'
        )
    return text + PATIENT


@contextlib.asynccontextmanager
async def gateway(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *venues: SocketVenue, extra: str = ""
) -> AsyncIterator[Gateway]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    path = directory / "gateway.toml"
    path.write_text(live_config(*venues, port=port, extra=extra))
    app = App(configuration.load(path))
    try:
        assert await app.start() == port
        yield Gateway(app, port)
    finally:
        await app.stop()
        asyncio.get_running_loop().set_exception_handler(None)
