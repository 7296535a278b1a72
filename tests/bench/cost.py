"""What an order costs the gateway's processor from the bytes of one socket to those of the other, kernel apart.

    python -m tests.bench.cost [--rounds N] [--window W] [--only reject|accept] [--json]

The real protocols of both sockets, on transports that only keep what is written: W orders come in one read; for an
accept, the venue's replies and notifications (as peer.c writes them) come back in one more. The best and the median of
N rounds, in us an order, and as ratios to decoding the venue's reply with orjson 10 times, measured between the rounds:
a figure that a slow hour of the machine moves as little as can be. For pairs of two trees, run them in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from statistics import median
from time import perf_counter_ns
from typing import Any, Final

import orjson
import uvloop
from websockets.server import ServerProtocol

from gateway.clock import now_ns
from gateway.compiled import COMPILED
from gateway.fix_server import FixServer
from gateway.venues.client import VenueClient
from gateway.venues.connection import VenueConnection
from protocols.fix.session import Limits
from protocols.venues.codec import MAIN
from tests.bench.client import message
from tests.bench.rig import Rig, server_frame, venue_answer
from tests.bench.venue import order_json

_YARDSTICKS: Final = 10


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written.append(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self.written)
        self.written.clear()
        return data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """The same."""

    def get_write_buffer_size(self) -> int:
        """All has left."""
        return 0


class Lines:
    """One client and one venue, each on its own Wire, around the core of a Rig."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.server = FixServer(
            rig.pipeline,
            max_connections=8,
            max_write_buffer_bytes=1 << 30,
            limits=Limits(max_buffered_bytes=1 << 24),
            cancels_on_disconnect=lambda session: False,
        )
        rig.client.disconnected(now_ns())  # the rig's own: we log on in its place
        self.client_wire, self.venue_wire = Wire(), Wire()
        self.client = self.server.protocol()
        self.client.connection_made(self.client_wire)
        self.client.data_received(message("A", rig.next_seq, [(98, "0"), (108, "3600")]))
        rig.next_seq += 1
        venue = VenueClient(
            lambda _: rig.venue,
            url_of=lambda lane, path: "ws://127.0.0.1/",
            reconnect_min_s=1.0,
            reconnect_max_s=1.0,
            flush_all=self.server.flush,
        )
        self.venue = VenueConnection(venue, MAIN, "ws://127.0.0.1/")
        rig.venue._flush_transport = venue.flush
        self.venue.is_up = True  # the session is set up already
        self.venue._turn_ns = 1 << 60  # all in one turn: no loop runs between
        self.venue.connection_made(self.venue_wire)
        peer = ServerProtocol()
        peer.receive_data(self.venue_wire.take())
        peer.send_response(peer.accept(peer.events_received()[0]))  # type: ignore[arg-type]
        self.venue.data_received(b"".join(peer.data_to_send()))
        self.client_wire.take()
        self._reply, self._note = venue_answer(12345678, order_json("LABEL", "open"))

    def answers(self, frames: bytes) -> tuple[bytes, list[str]]:
        """Return the venue's bytes for all requests in `frames`, and the labels."""
        parts, labels, at = [], [], 0
        while at < len(frames):
            size, head = frames[at + 1] & 127, 2
            if size == 126:
                size, head = int.from_bytes(frames[at + 2 : at + 4], "big"), 4
            key, at = frames[at + head : at + head + 4], at + head + 4
            mask = int.from_bytes(key * (size // 4 + 1), "big") >> 8 * (4 - size % 4)
            text = (int.from_bytes(frames[at : at + size], "big") ^ mask).to_bytes(size, "big")
            at += size
            request = orjson.loads(text)
            label = request["params"]["label"]
            reply = self._reply.replace(b"LABEL", label.encode()).replace(b"12345678", b"%d" % request["id"], 1)
            parts += [server_frame(reply), server_frame(self._note.replace(b"LABEL", label.encode()))]
            labels.append(label)
        return b"".join(parts), labels

    def reject(self, window: int) -> int:
        """Return the ns that `window` refusals took in all."""
        data = b"".join(self.rig.orders(window, is_covered=False))
        began = perf_counter_ns()
        self.client.data_received(data)
        took = perf_counter_ns() - began
        assert self.client_wire.take().count(b"\x01150=8\x01") == window
        return took

    def accept(self, window: int) -> tuple[int, int]:
        """Return the ns that `window` orders took there, and back."""
        data = b"".join(self.rig.orders(window, is_covered=True))
        began = perf_counter_ns()
        self.client.data_received(data)
        there = perf_counter_ns() - began
        back_data, labels = self.answers(self.venue_wire.take())
        assert len(labels) == window, (len(labels), self.client_wire.take()[:400])
        began = perf_counter_ns()
        self.venue.data_received(back_data)
        back = perf_counter_ns() - began
        assert self.client_wire.take().count(b"\x01150=0\x01") == window
        return there, back

    def clear(self) -> None:
        """Have the venue cancel all."""
        self.rig.clear()
        self.client_wire.take()


def yardstick_ns() -> int:
    """Return what reading the venue's reply several times by a library in C takes."""
    reply = venue_answer(1, order_json("bench-1", "open"))[0]
    began = perf_counter_ns()
    for _ in range(_YARDSTICKS):
        orjson.loads(reply)
    return perf_counter_ns() - began


async def measure(rounds: int, window: int, only: str) -> dict[str, Any]:
    """Return best and median of each figure, in us an order."""
    took: dict[str, list[float]] = {"yardstick": []}
    with Rig() as rig:
        lines = Lines(rig)
        gc.collect()
        gc.freeze()
        for number in range(rounds):
            took["yardstick"].append(yardstick_ns() / 1000)
            if only != "accept":
                took.setdefault("reject", []).append(lines.reject(window) / window / 1000)
            if only != "reject":
                there, back = lines.accept(window)
                took.setdefault("accept, there", []).append(there / window / 1000)
                took.setdefault("accept, back", []).append(back / window / 1000)
                took.setdefault("accept", []).append((there + back) / window / 1000)
                if number % 16 == 15:
                    lines.clear()
            if number % 64 == 63:
                rig.venue.receive(rig.mark(), now_ns())
    floor = min(took["yardstick"])
    return {
        name: {"best": min(each), "median": median(each), "ratio": min(each) / floor} for name, each in took.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--only", choices=("reject", "accept"), default="")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = uvloop.run(measure(arguments.rounds, arguments.window, arguments.only))
    if arguments.json:
        print(orjson.dumps({"compiled": COMPILED, "us": figures}).decode())
        return
    for name, each in figures.items():
        print(f"{name:14} best {each['best']:7.2f} us  median {each['median']:7.2f} us  ratio {each['ratio']:5.2f}")


if __name__ == "__main__":
    main()
