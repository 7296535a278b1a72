"""Connections of the hook's clients: a Unix socket with a request a line, and a WebSocket with a request a message.

No decisions are made here. What came in one read is answered in one write, and a long read in turns, so that no
client's requests keep those of others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.clients.addresses import address_of, origin_of
from gateway.clients.tls import server_context
from gateway.clock import now_ns
from gateway.config.credentials import CredentialsError, load_token_hash
from gateway.config.hook import Hook as HookTable
from gateway.config.hook import HookClient
from gateway.core import Core
from gateway.hook.messages import Event, encode
from gateway.hook.session import Doorkeeper, HookSession, Origin, Pass
from gateway.operators.unix_sockets import naming, own_user, private_listener, user_of

NS_PER_S: Final = 1_000_000_000
# Requests that are answered in one turn of the loop, whoever asks: some half of a millisecond.
REQUESTS_A_TURN: Final = 128
CLOSE_TIMEOUT_S: Final = 2.0
# Messages of one WebSocket that wait to be looked at; more stay in the kernel, and with the client.
MAX_QUEUED: Final = 16
# Events come unasked: beyond so many times `max_unread_bytes` that wait, a client does not read at all.
UNREAD_EVENTS: Final = 2
TRY_AGAIN_LATER: Final = 1013
POLICY_VIOLATION: Final = 1008

# The library tells what peers sent; nobody reads that, and it may hold a token.
_SILENT: Final = logging.Logger("margingate.hook")
_SILENT.disabled = True


class HookServer:
    """Both listeners of one gateway. `flush` writes what the requests of a batch caused elsewhere."""

    def __init__(self, core: Core, config: HookTable, flush: Callable[[], None]) -> None:
        """Raises CredentialsError."""
        self.config = config
        self.connections: set[LineConnection | ServerConnection] = set()
        self._core = core
        self._flush = flush
        self._door = Doorkeeper({client.name: _pass_of(client) for client in config.client}, core.monitor)
        self._tls = _tls_of(config)
        self._waiting: dict[LineConnection, None] = {}  # for their turn
        self._is_turn_taken = False
        self._lines: asyncio.Server | None = None
        self._sockets: Server | None = None

    async def start(self) -> None:
        """Listen; raises OSError."""
        loop, config = asyncio.get_running_loop(), self.config
        if config.socket_path is not None:
            with naming(str(config.socket_path)):
                listener = private_listener(config.socket_path)
            self._lines = await loop.create_unix_server(lambda: LineConnection(self), sock=listener)
        if config.listen_port is not None:
            with naming(f"{config.listen_host}:{config.listen_port} for [hook]"):
                self._sockets = await serve(
                    self._serve,
                    config.listen_host,
                    config.listen_port,
                    ssl=self._tls,
                    origins=[None],  # no browser's page may ask
                    compression=None,
                    max_size=config.max_message_bytes,
                    max_queue=MAX_QUEUED,
                    write_limit=config.max_unread_bytes,
                    open_timeout=config.hello_timeout_s,
                    close_timeout=CLOSE_TIMEOUT_S,
                    logger=_SILENT,
                )

    async def stop(self) -> None:
        """Listen no more, and hang up: holds stay, and go on towards their deadlines."""
        if self._lines is not None:
            self._lines.close()
            assert self.config.socket_path is not None
            self.config.socket_path.unlink(missing_ok=True)
        if self._sockets is not None:
            self._sockets.close()
        for connection in list(self.connections):
            if isinstance(connection, LineConnection):
                connection.close()
        if self._sockets is not None:
            await self._sockets.wait_closed()

    @property
    def has_room(self) -> bool:
        """Whether one more connection is taken."""
        return len(self.connections) < self.config.max_connections

    def open(self, origin: Origin) -> HookSession:
        """Return the session of a connection that was just accepted."""
        config = self.config
        return HookSession(
            self._core.hooks.by_name,
            self._door,
            origin,
            now_ns(),
            hello_timeout_ns=config.hello_timeout_s * NS_PER_S,
            max_message_bytes=config.max_message_bytes,
            max_faults=config.max_faults,
        )

    def refuse_more(self) -> None:
        """Tell of a connection that finds no place."""
        self._core.monitor.alert_now_and_then(("hook", "full"), "hook: max_connections reached", now_ns())

    def hang_up_unless_read(self, transport: asyncio.Transport) -> None:
        """End a connection whose client leaves events unread, beyond what its answers may be: it may ask anew."""
        if transport.get_write_buffer_size() > UNREAD_EVENTS * self.config.max_unread_bytes:
            self._core.monitor.alert_now_and_then(("hook", "unread"), "hook: a client does not read", now_ns())
            transport.abort()

    def give_turn(self, connection: LineConnection) -> None:
        """Let a connection answer some of its requests, now or when those before it have had their turns."""
        if self._is_turn_taken:
            self._waiting[connection] = None
            return
        self._is_turn_taken = True
        asyncio.get_running_loop().call_soon(self._next_turn)
        connection.work()

    def _next_turn(self) -> None:
        self._is_turn_taken = False
        if self._waiting:
            connection = next(iter(self._waiting))
            del self._waiting[connection]
            self.give_turn(connection)

    def flush(self) -> None:
        """Write reports that other clients get of what was just done."""
        if self._core.reports.touched:
            self._flush()

    async def _serve(self, connection: ServerConnection) -> None:
        """One WebSocket, from its handshake to its end."""
        if not self.has_room:
            self.refuse_more()
            await connection.close(TRY_AGAIN_LATER)
            return
        self.connections.add(connection)
        try:
            session = self.open(Origin(origin_of(address_of(connection.remote_address[0]))))
            await self._answer(connection, session)
        except (ConnectionClosed, TimeoutError):
            pass
        except Exception as error:  # the library would swallow it: state may be wrong, so the gateway must halt
            context = {"message": "hook: exception in a WebSocket", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        finally:
            self.connections.discard(connection)

    async def _answer(self, connection: ServerConnection, session: HookSession) -> None:
        def tell(event: Event) -> None:
            broadcast([connection], encode(event).decode())
            self.hang_up_unless_read(connection.transport)

        try:
            async with asyncio.timeout(self.config.hello_timeout_s):
                await self._answer_next(connection, session)
            if session.hook is not None:
                session.hook.listeners.add(tell)
            while not session.is_over:
                await self._answer_next(connection, session)
            await connection.close(POLICY_VIOLATION)
        finally:
            if session.hook is not None:
                session.hook.listeners.discard(tell)

    async def _answer_next(self, connection: ServerConnection, session: HookSession) -> None:
        frame = await connection.recv(decode=False)
        answer = session.handle(frame, now_ns())
        self.flush()
        await connection.send(answer, text=True)


class LineConnection(asyncio.Protocol):
    """One client of the Unix socket."""

    def __init__(self, server: HookServer) -> None:
        self._server = server
        self._session: HookSession | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._is_full = False  # the client does not read
        self._is_reading = True
        self._is_eof = False
        self._is_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.has_room:
            self._server.refuse_more()
            self._transport.abort()
            return
        self._server.connections.add(self)
        user = user_of(transport.get_extra_info("socket"))
        self._session = self._server.open(Origin(f"user {user}", user))
        self._transport.set_write_buffer_limits(high=self._server.config.max_unread_bytes)
        timeout_s = self._server.config.hello_timeout_s
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._tick)

    def data_received(self, data: bytes) -> None:
        if self._is_ended:
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines += lines
        self._server.give_turn(self)

    def eof_received(self) -> bool:
        """Answer what has come; what has no line's end is no request."""
        self._is_eof = True
        return bool(self._lines)

    def pause_writing(self) -> None:
        self._is_full = True
        self._read()

    def resume_writing(self) -> None:
        self._is_full = False
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        server, session = self._server, self._session
        server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if session is None:
            return
        if session.hook is not None:
            session.hook.listeners.discard(self._tell)
        # It asked, and is gone: what came whole is acted on, for a fill that was told has happened.
        while self._lines and len(self._lines[0]) <= session.max_message_bytes and not session.is_over:
            session.handle(self._lines.popleft(), now_ns())
        self._is_ended = True
        server.flush()

    def work(self) -> None:
        """Answer so many requests, and leave the rest to the next turn; one whose client does not read has none."""
        transport, session = self._transport, self._session
        if transport is None or session is None or self._is_ended or self._is_full:
            return
        now, lines, longest = now_ns(), self._lines, session.max_message_bytes
        answers: list[bytes] = []
        for _ in range(min(len(lines), REQUESTS_A_TURN)):
            line = lines.popleft()
            answers.append(session.handle(line, now) if len(line) <= longest else session.too_long())
            if session.is_over:
                break
        else:
            if not lines and len(self._buffer) > longest:
                answers.append(session.too_long())
        if answers:
            answers.append(b"")
            transport.write(b"\n".join(answers))
            self._server.flush()
        if self._timer is not None and session.hook is not None:
            self._timer.cancel()
            self._timer = None
            session.hook.listeners.add(self._tell)
        if session.is_over or (self._is_eof and not lines):
            self.close()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Work on what has come, if the client reads; read on once nothing waits."""
        if self._lines and not self._is_full:
            self._server.give_turn(self)
        self._read()

    def _read(self) -> None:
        """Read, or leave it to the kernel and so to the client."""
        wanted = not self._lines and not self._is_full
        if self._transport is None or wanted is self._is_reading or self._transport.is_closing():
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _tell(self, event: Event) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(event) + b"\n")
            self._server.hang_up_unless_read(self._transport)

    def _tick(self) -> None:
        self._timer = None
        if self._session is not None and self._session.hook is None:
            self.close()

    def close(self) -> None:
        """Hang up once what was said has left."""
        self._is_ended = True
        self._lines.clear()
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)


def _pass_of(client: HookClient) -> Pass:
    """Return what a client must have; raises CredentialsError."""
    digest = None if client.authentication == "peer" else load_token_hash(client)
    return Pass(frozenset({own_user(), *client.users}), digest)


def _tls_of(config: HookTable) -> ssl.SSLContext | None:
    if config.tls_certificate_file is None or config.tls_key_file is None:
        return None
    try:
        return server_context(config.tls_certificate_file, config.tls_key_file, None, False)
    except OSError as error:
        raise CredentialsError(f"[hook] TLS: {error.strerror or type(error).__name__}") from None
