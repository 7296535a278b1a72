"""The session engine alone: an ExecutionReport for each NewOrderSingle, by the whole session layer and a durable store.

    python -m tests.bench.engine DIRECTORY [STORED]

Frames, sums, sequence, dictionary, SendingTime, heartbeats, resends and the store are on; the checks and the venue are
not there. STORED: how many reports a second session, OTHER, has sent before anybody connects, for it to ask for again.
Prints its port, stops with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final, cast

import uvloop

from gateway.clients.session_store import SessionStore
from gateway.clock import now_ns
from protocols.fix.codec import Layout, Message
from protocols.fix.session import MessageReceived, Session, SessionConfig, SessionKey, SessionState, send_or_store
from tests.bench.client import SENDER, TARGET

OTHER: Final = "OTHER"
KEYS: Final = tuple(SessionKey("FIX.4.4", TARGET, name) for name in (SENDER, OTHER))
# Account, ClOrdID, OrderQty, OrdType, Price, Side, Symbol, TimeInForce, TransactTime
ORDER_TAGS: Final = (1, 11, 38, 40, 44, 54, 55, 59, 60)
REPORT: Final = Layout("8", (1, 6, 11, 14, 17, 37, 38, 39, 40, 44, 54, 55, 59, 60, 150, 151))
_CONFIG: Final = SessionConfig(max_heart_bt_int=3600, sent_capacity=200_000)


class Engine:
    """One connection's session, without a socket: bytes in, bytes out, saved before they are handed out."""

    def __init__(self, states: dict[SessionKey, SessionState], store: SessionStore) -> None:
        self.session = Session(states.get, now_ns())
        self.store = store

    def receive(self, data: bytes) -> bytes:
        """Take bytes and return what goes back; a resend comes in pieces, the rest by `more`."""
        now = now_ns()
        session = self.session
        session.receive_data(data, now)
        while (event := session.next_event()) is not None:
            if type(event) is MessageReceived:
                self._report(event.message, now)
        out = session.data_to_send()
        if session.state is not None:
            self.store.save(session.state, now)
        return out

    def _report(self, order: Message, now: int) -> None:
        account, cl_ord_id, quantity, ord_type, price, side, symbol, tif, time = order.values(ORDER_TAGS)
        session = self.session
        state = session.state
        assert state is not None
        number = state.next_out
        values = (
            account, 0, cl_ord_id, 0, number, number, quantity, b"0", ord_type, price, side, symbol, tif, time, b"0",
            quantity,
        )  # fmt: skip
        session.send(REPORT, values, now)


class Connection(asyncio.Protocol):
    """One socket; one write a read, and one piece of a resend a turn."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_waiting = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer at once."""
        out = self._engine.receive(data)
        if out:
            self._transport.write(out)
        if self._engine.session.is_resending and not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().call_soon(self._more)

    def _more(self) -> None:
        self._is_waiting = False
        if self._is_paused:
            return
        self._transport.write(self._engine.session.data_to_send())
        if self._engine.session.has_data_to_send:
            self._is_waiting = True
            asyncio.get_running_loop().call_soon(self._more)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_paused = False
        self._more()

    def connection_lost(self, exc: Exception | None) -> None:
        """The session may be taken up again."""
        self._engine.session.connection_lost(now_ns())


def states_of(store: SessionStore, stored: int = 0) -> dict[SessionKey, SessionState]:
    """Return the sessions, the second with `stored` reports sent."""
    states = {key: store.state(key, _CONFIG, now_ns()) for key in KEYS}
    other = states[KEYS[1]]
    for number in range(stored):
        name = b"%d" % number
        values = (
            b"RICH", 0, b"ORD-%d" % (10**12 + number), 0, name, name, b"10", b"0", b"2", b"59990.5", b"1",
            b"BTC-PERPETUAL", b"1", b"20260101-00:00:00.000", b"0", b"10",
        )  # fmt: skip
        send_or_store(other, REPORT, values, now_ns())
    store.save(other, now_ns())
    return states


async def serve(directory: Path, stored: int) -> None:
    """Serve until the parent closes our standard input."""
    loop = asyncio.get_running_loop()
    store = SessionStore(directory)
    states = states_of(store, stored)
    stopped = asyncio.Event()
    loop.add_reader(sys.stdin, stopped.set)
    server = await loop.create_server(lambda: Connection(Engine(states, store)), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()
    store.close()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
