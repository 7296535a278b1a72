"""The gateway's core without sockets, past every handshake: what the figures in process and the profiles drive."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import orjson
from websockets.server import ServerProtocol

from gateway.clients.link import ClientLink
from gateway.clock import now_ns
from gateway.config import load
from gateway.core import Core
from gateway.journal import Journal
from gateway.venues.link import SessionLink
from gateway.venues.symbols import VenueSymbols
from protocols.fix.session import Limits
from protocols.venues.deribit import Deribit
from protocols.venues.deribit_tables import RateLimits
from protocols.websocket import WebSocketClient
from risk.exposure import WorkingOrder
from risk.order import Approved
from tests.bench.client import message
from tests.bench.setting import LARGE, MOST, POOR, PRICE, RICH, SMALL, config_text
from tests.bench.venue import SYMBOL, order_json, result_of, ticker

TEXT: Final = 0x81


class Rig:
    """Core, one client's link and one venue's link. `written` counts the bytes that would have left."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="margingate-bench-")
        directory = Path(self._directory.name)
        (directory / "bench.toml").write_text(config_text(fix_port=1, venue_port=1))
        config = load(directory / "bench.toml")
        self.journal = Journal.open(directory / "journal")
        self.core = Core(config, self.journal, [], now_ns(), "bench")
        self.pipeline = self.core.pipeline
        self.venue = SessionLink(config.venue[0].name, self._deribit, self.pipeline, self._flush_venue)
        self.requests: list[bytes] = []
        self._template = venue_answer(12345678, order_json("LABEL", "open"))
        self._set_up_venue()
        states = {state.key: state for state in self.core.reports.sessions.values()}
        self.client = ClientLink(states, self.pipeline, now_ns(), Limits(), lambda name: None)
        self.client.receive(message("A", 1, [(98, "0"), (108, "3600")]), now_ns())
        self.client.session.data_to_send()
        self.next_seq = 2
        self.core.valuation.run(now_ns())

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        self._directory.cleanup()

    @staticmethod
    def _deribit() -> Deribit:
        return Deribit(
            client_id="bench",
            client_secret="bench",
            currencies=("BTC", "ETH"),
            symbols=lambda symbol: True,
            entropy=os.urandom,
            limits=RateLimits(matching_per_s=MOST, matching_capacity=MOST),
            max_in_flight=65_536,
        )

    def _set_up_venue(self) -> None:
        self.venue.connected(now_ns())
        self._flush_venue()
        while self.requests:
            request = orjson.loads(self.requests.pop(0))
            result = result_of(request["method"], request["params"])
            self.venue.receive(orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), now_ns())
            self._flush_venue()
        self.venue.receive(ticker(), now_ns())

    def _flush_venue(self) -> None:
        self.requests += self.venue.session.frames_to_send()

    @staticmethod
    def mark() -> bytes:
        """Return a ticker with the mark of now."""
        return ticker()

    def orders(self, count: int, is_covered: bool) -> list[bytes]:
        """Return the next `count` orders as they come over the wire, numbered; all of them must be sent, in order."""
        account, quantity = (RICH, SMALL) if is_covered else (POOR, LARGE)
        made = []
        for seq in range(self.next_seq, self.next_seq + count):
            fields = [(1, account), (11, f"ORD-{1_000_000_000_000 + seq}"), (38, quantity), (40, "2"), (44, PRICE)]
            fields += [(54, "1"), (55, SYMBOL), (59, "1"), (60, "20260101-00:00:00.000")]
            made.append(message("D", seq, fields))
        self.next_seq += count
        return made

    def send(self, order: bytes) -> bytes:
        """Take one order and return what goes back to the client at once; requests to the venue pile up."""
        now = now_ns()
        self.client.receive(order, now)
        self.pipeline.router.flush()
        return self.client.session.data_to_send()

    def answer(self, frames: tuple[bytes, ...]) -> bytes:
        """Take a batch of the venue's messages and return what goes to the client."""
        now = now_ns()
        for frame in frames:
            self.venue.receive(frame, now)
        return self.client.session.data_to_send()

    def answer_next(self) -> bytes:
        """Answer the oldest request that waits: reply and notification by template, so that little of it is ours."""
        frame = self.requests.pop(0)
        label = frame[frame.index(b'"label":"') + 9 :].partition(b'"')[0]
        request_id = frame[frame.index(b'"id":') + 5 :].partition(b",")[0]
        reply, note = (text.replace(b"LABEL", label) for text in self._template)
        return self.answer((reply.replace(b"12345678", request_id, 1), note))

    def catch_up(self) -> None:
        """Forget what was sent and what waits, on both sides."""
        self.requests.clear()
        self.client.session.data_to_send()

    def requests_for(self, order: bytes) -> bytes:
        """Send one order and return its request to the venue, which goes on waiting."""
        self.send(order)
        return self.requests[-1]

    def take_answers(self) -> list[tuple[bytes, bytes]]:
        """Return, for each request that waits, the venue's reply and its notification."""
        answers = []
        for frame in self.requests:
            request = orjson.loads(frame)
            label = request["params"]["label"]
            answers.append(venue_answer(request["id"], order_json(label, "open")))
        self.requests.clear()
        return answers

    def clear(self) -> None:
        """Have the venue cancel everything that rests."""
        for order in list(self.core.ledger.working_orders()):
            self.venue.receive(notification(order_json(order.order_id, "cancelled")), now_ns())
        self.client.session.data_to_send()


def venue_answer(request_id: int, order: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the reply to an order and the notification that comes with it."""
    reply = {"jsonrpc": "2.0", "id": request_id, "result": {"trades": [], "order": order}}
    reply |= {"usIn": 1_764_000_000_000_001, "usOut": 1_764_000_000_000_002, "usDiff": 1, "testnet": False}
    return orjson.dumps(reply), notification(order)


def notification(order: dict[str, Any]) -> bytes:
    """Return an order's change as it comes over user.changes."""
    data = {"instrument_name": SYMBOL, "trades": [], "positions": [], "orders": [order]}
    params = {"channel": "user.changes.any.any.raw", "data": data}
    return orjson.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


class DroppingLink:
    """A venue's link that takes everything and sends nothing."""

    symbols = VenueSymbols("")

    def place(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        """Take an order."""
        return None

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        """Take a cancel."""

    def replace(self, order: WorkingOrder, now_ns: int) -> str | None:
        """Take a replace."""
        return None

    def flush(self) -> None:
        """Nothing waits."""


def open_websocket(client: WebSocketClient) -> WebSocketClient:
    """Bring a client past its opening handshake, in memory."""
    server = ServerProtocol()
    client.connect()
    server.receive_data(client.data_to_send())
    request = server.events_received()[0]
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    client.receive_data(b"".join(server.data_to_send()))
    assert client.is_open
    return client


def server_frame(payload: bytes) -> bytes:
    """Return an unmasked text frame, as a server sends it."""
    size = len(payload)
    header = bytes((TEXT, size)) if size < 126 else bytes((TEXT, 126, size >> 8, size & 255))
    return header + payload
