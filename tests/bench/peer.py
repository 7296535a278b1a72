"""peer.c in Python, for machines without a C compiler: the same arguments, the same output; its own time counts too."""

from __future__ import annotations

import socket
import sys
import time
from datetime import UTC, datetime
from typing import Final

import orjson
from websockets.speedups import apply_mask

from tests.bench.rig import notification, server_frame, venue_answer
from tests.bench.venue import order_json

ECHO_BYTES: Final = 180
PATIENCE_NS: Final = 10_000_000_000
CLEAR_WINDOW: Final = 64
PAUSE_NS: Final = 100_000
_CHUNK: Final = 1 << 18
_KINDS: Final = {b"8": "rejected", b"0": "accepted", b"4": "cancelled"}


class Peer:
    """FIX client and venue in one spinning loop."""

    def __init__(self, numbers: list[int], words: list[str]) -> None:
        self.count, self.window, self.seq, self.first, fix, venue = numbers
        self.sender, self.target, self.account, self.symbol, self.quantity, self.price, self.label = words
        self.fix = socket.socket(fileno=fix)
        self.venue = None if venue < 0 else socket.socket(fileno=venue)
        self.counts = dict.fromkeys((*_KINDS.values(), "unexpected"), 0)
        self._echo = b"x" * (self.first or ECHO_BYTES)
        self.sent_ns: list[int] = []
        self.took_ns: list[int] = []
        self.last_label = ""
        self._fix_in = b""
        self._venue_in = b""
        self._later = b""
        self._moved_ns = time.perf_counter_ns()

    def run(self, mode: str) -> None:
        """Send and receive until `count` answers are there."""
        while len(self.took_ns) < self.count:
            if mode == "rested" and len(self.sent_ns) == len(self.took_ns):
                _spin(PAUSE_NS)
            room = min(self.count - len(self.sent_ns), self.window - len(self.sent_ns) + len(self.took_ns))
            if room > 0:
                self._send(mode, room)
            data = _read(self.fix)
            if data and mode in ("echo", "rested"):
                self._take_echoes(data)
            elif data:
                self._take_reports(data)
            if self._later and self.venue is not None and len(self.took_ns) == len(self.sent_ns):
                self.venue.sendall(self._later)
                self._later = b""
                _spin(PAUSE_NS)
            if self.venue is not None and mode in ("accept", "apart"):
                self._answer(_read(self.venue), is_apart=mode == "apart")
            if time.perf_counter_ns() - self._moved_ns > PATIENCE_NS:
                raise SystemExit(f"peer: no answer in time, {len(self.took_ns)} of {self.count}")

    def _send(self, mode: str, room: int) -> None:
        first = len(self.sent_ns)
        if mode == "clear":
            assert self.venue is not None
            orders = [order_json(f"{self.label}{self.first + first + i}", "cancelled") for i in range(room)]
            data, connection = b"".join(server_frame(notification(order)) for order in orders), self.venue
        elif mode in ("echo", "rested"):
            data, connection = self._echo * room, self.fix
        else:
            data, connection = b"".join(self._order(self.seq + first + i) for i in range(room)), self.fix
        now = self._moved_ns = time.perf_counter_ns()
        self.sent_ns += [now] * room
        connection.sendall(data)

    def _order(self, seq: int) -> bytes:
        now = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]
        body = (
            f"35=D\x0134={seq}\x0149={self.sender}\x0152={now}\x0156={self.target}\x011={self.account}\x01"
            f"11=ORD-{1_000_000_000_000 + seq}\x0138={self.quantity}\x0140=2\x0144={self.price}\x0154=1\x01"
            f"55={self.symbol}\x0159=1\x0160={now}\x01"
        ).encode()
        text = b"8=FIX.4.4\x019=%d\x01%b" % (len(body), body)
        return b"%b10=%03d\x01" % (text, sum(text) & 255)

    def _take_echoes(self, data: bytes) -> None:
        now, whole = time.perf_counter_ns(), len(self._fix_in) + len(data)
        while whole >= len(self._echo):
            whole -= len(self._echo)
            self.took_ns.append(now - self.sent_ns[len(self.took_ns)])
        self._fix_in = self._echo[:whole]

    def _take_reports(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        *whole, self._fix_in = (self._fix_in + data).split(b"\x018=FIX")
        last = self._fix_in
        # The sum ends a message: "10=nnn" and SOH.
        if last[-8:-4] == b"\x0110=":
            whole.append(last)
            self._fix_in = b""
        elif whole:
            self._fix_in = b"8=FIX" + last
        for report in whole:
            if b"\x0135=0\x01" in report:
                continue
            kind = report.partition(b"\x01150=")[2][:1]
            self.counts[_KINDS.get(kind, "unexpected")] += 1
            self.took_ns.append(now - self.sent_ns[len(self.took_ns)])

    def _answer(self, data: bytes, *, is_apart: bool) -> None:
        data = self._venue_in + data
        answers = []
        while len(data) >= 8:
            size, head = data[1] & 127, 2
            if size == 126:
                size, head = int.from_bytes(data[2:4], "big"), 4
            end = head + 4 + size
            if len(data) < end:
                break
            request = orjson.loads(apply_mask(data[head + 4 : end], data[head : head + 4]))
            if request["method"] != "private/buy":  # as to subscribe to a book: it gets the channels that it named
                named = request.get("params", {}).get("channels", [])
                answers.append(server_frame(orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": named})))
                data = data[end:]
                continue
            self.last_label = request["params"]["label"]
            reply, note = map(server_frame, venue_answer(request["id"], order_json(self.last_label, "open")))
            answers.append(reply)
            if is_apart:
                self._later += note
            else:
                answers.append(note)
            data = data[end:]
        self._venue_in = data
        if answers and self.venue is not None:
            self.venue.sendall(b"".join(answers))


def _spin(duration_ns: int) -> None:
    end = time.perf_counter_ns() + duration_ns
    while time.perf_counter_ns() < end:
        pass


def _read(connection: socket.socket) -> bytes:
    try:
        data = connection.recv(_CHUNK, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""
    if not data:
        raise SystemExit("peer: the gateway closed the connection")
    return data


def main(arguments: list[str]) -> None:
    mode = arguments[0]
    peer = Peer([int(text) for text in arguments[1:7]], arguments[7:])
    if mode == "clear":
        peer.window = CLEAR_WINDOW
    began = time.perf_counter_ns()
    peer.run(mode)
    elapsed_ns = time.perf_counter_ns() - began
    took = sorted(peer.took_ns)
    figures = {
        "count": peer.count,
        "elapsed_ns": elapsed_ns,
        "p50_ns": took[len(took) // 2],
        "p99_ns": took[len(took) * 99 // 100],
        "p999_ns": took[len(took) * 999 // 1000],
        **peer.counts,
        "last_label": peer.last_label,
    }
    sys.stdout.buffer.write(orjson.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
