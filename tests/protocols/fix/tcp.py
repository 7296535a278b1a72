"""The golden conversations over TCP: a real uvloop server on loopback, and time that the conversation alone moves.

What one end has written is waited for at the other before anything is looked at: no step depends on how fast it was.
"""

import asyncio
import time
from pathlib import Path
from typing import cast

from protocols.fix.session import Session
from tests.protocols.fix.conversation import Player, Split, whole

PATIENCE_S = 60.0


class PeerEnd(asyncio.Protocol):
    """The peer's socket: `received` is what came, `is_over` that nothing more will."""

    def __init__(self) -> None:
        self.received = b""
        self.sent_bytes = 0
        self.is_over = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> None:
        self.is_over = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        if not self.is_over:
            self.sent_bytes += len(data)
            self.transport.write(data)


class OurEnd(asyncio.Protocol):
    """Our socket, glued to a session as any server would."""

    def __init__(self, player: "TcpPlayer") -> None:
        self.player = player
        self.session: Session | None = None
        self.received_bytes = self.sent_bytes = 0
        self.is_over = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self.session is not None
        self.received_bytes += len(data)
        self.session.receive_data(data, self.player.now_ns)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        if self.session is not None:
            self.session.connection_lost(self.player.now_ns)
            self.flush()

    def flush(self) -> None:
        session, transport = self.session, self.transport
        assert session is not None and transport is not None
        while (event := session.next_event()) is not None:
            self.player.take(session, event)
        while data := session.data_to_send():
            self.sent_bytes += len(data)
            transport.write(data)
        if session.is_closed:
            transport.close()


class TcpPlayer(Player):
    """A player whose session and peer are at the two ends of a connection. `close` it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        split: Split = whole,
        version: str = "FIX.4.4",
        *,
        lines: list[str] | None = None,
    ) -> None:
        super().__init__(path, split, version, lines=lines)
        self.loop = loop
        self.ours: OurEnd | None = None
        self.peer: PeerEnd | None = None
        self.peers: list[PeerEnd] = []
        self.listeners: list[asyncio.AbstractServer] = []

    def connect(self, text: str) -> None:
        super().connect(text)
        self.loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        """Connect from the initiator to the acceptor."""
        ours, peer = OurEnd(self), PeerEnd()
        ours.session = self.session
        server, client = (peer, ours) if self.role == "initiator" else (ours, peer)
        listener = await self.loop.create_server(lambda: server, "127.0.0.1", 0)
        self.listeners.append(listener)
        await self.loop.create_connection(lambda: client, *listener.sockets[0].getsockname())
        self.ours, self.peer = ours, peer
        self.peers.append(peer)
        await self._until(lambda: ours.transport is not None and peer.transport is not None)

    async def _until(self, condition: object) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{self.path.name}:{self.line}: it never came"
            await asyncio.sleep(0)

    def deliver(self) -> None:
        data, self.pending = self.pending, b""
        self.connected()
        ours, peer = self.ends()
        for chunk in self.split(data):
            peer.write(chunk)
            self.run_until(lambda: ours.received_bytes == peer.sent_bytes or ours.is_over)
        self.collect()

    def collect(self) -> None:
        """Bring to the peer what the session has sent, its end included."""
        ours, peer = self.ends()
        if not ours.is_over:
            ours.flush()
        self.run_until(lambda: len(peer.received) == ours.sent_bytes)
        if ours.session is not None and ours.session.is_closed:
            self.run_until(lambda: peer.is_over)
        data, peer.received = peer.received, b""
        ours.sent_bytes = 0
        self.note_sent(data)

    def lose(self) -> None:
        ours, peer = self.ends()
        assert peer.transport is not None
        peer.transport.close()
        self.run_until(lambda: ours.is_over)

    def ends(self) -> tuple[OurEnd, PeerEnd]:
        assert self.ours is not None and self.peer is not None
        return self.ours, self.peer

    def run_until(self, condition: object) -> None:
        self.loop.run_until_complete(self._until(condition))

    def close(self) -> None:
        """Leave no socket behind."""
        for peer in self.peers:
            if peer.transport is not None:
                peer.transport.abort()
        for listener in self.listeners:
            listener.close()
        self.run_until(lambda: all(peer.is_over for peer in self.peers))
