"""Figures of the session engine: on the wire beside an echo, in process, and what one client's resend costs another."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from gateway.clients.session_store import SessionStore
from tests.bench.client import SENDER, TARGET, Client, message
from tests.bench.engine import OTHER, Engine, states_of
from tests.bench.setting import PRICE, RICH, SMALL
from tests.bench.venue import SYMBOL
from tests.bench.wire import ROOT, STOP_TIMEOUT_S, Echo, pinned, run_echo, run_peer

WINDOWS: Final = (1, 64, 256)
STORED: Final = 100_000
_WARM_UP: Final = 2_000


class EngineProcess:
    """The engine as a process of its own, with a client that is logged on."""

    def __init__(self, core: int, is_plain: bool, stored: int = 0) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="margingate-bench-")
        environment = os.environ | {"MARGINGATE_PURE": "1" if is_plain else "0"}
        command = [sys.executable, "-m", "tests.bench.engine", self._directory.name, str(stored)]
        with pinned(core):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
            )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.client = Client(self.port)

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.connection.close()
        self._process.communicate(timeout=STOP_TIMEOUT_S)
        self._directory.cleanup()

    def run(self, peer: list[str], core: int, count: int, window: int) -> dict[str, Any]:
        """Let the peer send `count` orders; return its figures, after checking that each was answered."""
        words = [SENDER, TARGET, RICH, SYMBOL, SMALL, PRICE, "-"]
        sockets = (self.client.connection.fileno(), -1)
        figures = run_peer(peer, core, sockets, ["reject", count, window, self.client.next_seq, 0], words)
        self.client.next_seq += count
        if figures["accepted"] != count or figures["unexpected"]:
            raise RuntimeError(f"not all orders were answered: {figures}")
        return figures


def measure_engine(
    peer: list[str], cores: tuple[int, int], is_plain: bool, rounds: int, single: int, flight: int
) -> dict[str, Any]:
    """Rounds of the engine and of an echo in turns, so that a busy machine slows both."""
    engine_core, peer_core = cores
    runs: dict[str, list[dict[str, Any]]] = {"echo": [], **{f"engine_{window}": [] for window in WINDOWS}}
    with Echo(engine_core) as echo, EngineProcess(engine_core, is_plain) as engine:
        engine.run(peer, peer_core, _WARM_UP, 8)
        for _ in range(rounds):
            runs["echo"].append(run_echo(peer, peer_core, echo, single, 1))
            for window in WINDOWS:
                figures = engine.run(peer, peer_core, single if window == 1 else flight, window)
                runs[f"engine_{window}"].append(figures)
    pairs = zip(runs["engine_1"], runs["echo"], strict=True)
    result: dict[str, Any] = {name: _summary(several) for name, several in runs.items()}
    result["engine_1"]["ratio"] = median(run["p50_ns"] / floor["p50_ns"] for run, floor in pairs)
    with EngineProcess(engine_core, is_plain, STORED) as engine, pinned(peer_core):
        result["resend"] = measure_resend(engine, single)
    return result


def _summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    rates = [run["count"] / run["elapsed_ns"] * 1e9 for run in runs]
    latencies = {f"{name}_us": median(run[f"{name}_ns"] for run in runs) / 1000 for name in ("p50", "p99", "p999")}
    return latencies | {"per_s": median(rates), "best": max(rates)}


# --- a resend beside orders ------------------------------------------------------------------------------------------


def measure_resend(engine: EngineProcess, count: int, stored: int = STORED) -> dict[str, float]:
    """Orders one at a time while nothing else happens, then while another session is sent all its messages again.

    One spinning loop reads for both: what it spends on the other's bytes is counted in.
    """
    other = socket.create_connection(("127.0.0.1", engine.port))
    engine.client.connection.setblocking(False)
    try:
        other.sendall(_of_other("A", 1, [(98, "0"), (108, "3600")]))
        _read_until(other, b"\x0135=A\x01")
        alone = _latencies(engine.client, None, count)
        other.sendall(_of_other("2", 2, [(7, "1"), (16, "0")]))
        began = time.perf_counter_ns()
        other.setblocking(False)
        reader = _Reader(other, stored)
        beside: list[int] = []
        while not reader.is_done:
            beside += _latencies(engine.client, reader, 50)
        elapsed_s = (time.perf_counter_ns() - began) / 1e9
    finally:
        other.close()
    p99_alone, p99_beside = _p99(alone), _p99(beside)
    return {
        "p99_alone_us": p99_alone / 1000,
        "p99_beside_us": p99_beside / 1000,
        "ratio": p99_beside / p99_alone,
        "orders_beside": len(beside),
        "resent_per_s": stored / elapsed_s,
    }


class _Reader:
    """Counts what is resent, a little at a time."""

    def __init__(self, connection: socket.socket, stored: int) -> None:
        self._connection = connection
        self._stored = stored
        self._tail = b""
        self.resent = 0

    @property
    def is_done(self) -> bool:
        """All of it came."""
        return self.resent >= self._stored

    def read(self) -> None:
        """Take what is there."""
        try:
            data = self._connection.recv(1 << 15)
        except BlockingIOError:
            return
        if not data:
            raise RuntimeError("the engine closed the connection")
        # A mark may be cut in two: five bytes hold no whole one.
        data = self._tail + data
        self.resent += data.count(b"\x0135=8\x01")
        self._tail = data[-5:]


def _latencies(client: Client, reader: _Reader | None, count: int) -> list[int]:
    connection = client.connection
    took = []
    for _ in range(count):
        order = _order(client.next_seq)
        client.next_seq += 1
        began = time.perf_counter_ns()
        connection.sendall(order)
        answer = b""
        while not answer.endswith(b"\x01") or b"\x0110=" not in answer[-8:]:
            try:
                answer += connection.recv(1 << 16)
            except BlockingIOError:
                if reader is not None:
                    reader.read()
        took.append(time.perf_counter_ns() - began)
    return took


def _p99(took: list[int]) -> int:
    return sorted(took)[len(took) * 99 // 100]


def _of_other(msg_type: str, seq: int, fields: list[tuple[int, str]]) -> bytes:
    return message(msg_type, seq, fields, sender=OTHER)


def _read_until(connection: socket.socket, wanted: bytes) -> None:
    data = b""
    while wanted not in data:
        part = connection.recv(1 << 16)
        if not part:
            raise RuntimeError(f"no answer: {data!r}")
        data += part


# --- in process ------------------------------------------------------------------------------------------------------


def order_ns(batches: int, window: int = 256) -> float:
    """Return what one order costs from its bytes to its report's, saved: `window` a read, the best of many reads."""
    with tempfile.TemporaryDirectory(prefix="margingate-bench-") as directory:
        store = SessionStore(Path(directory))
        try:
            engine = Engine(states_of(store), store)
            engine.receive(message("A", 1, [(98, "0"), (108, "3600")]))
            least = float("inf")
            for first in range(2, 2 + batches * window, window):
                data = b"".join([_order(seq) for seq in range(first, first + window)])
                began = time.perf_counter_ns()
                out = engine.receive(data)
                least = min(least, (time.perf_counter_ns() - began) / window)
                assert out.count(b"\x0135=8\x01") == window
        finally:
            store.close()
    return least


def _order(seq: int) -> bytes:
    fields = [(1, RICH), (11, f"ORD-{10**12 + seq}"), (38, SMALL), (40, "2"), (44, PRICE), (54, "1"), (55, SYMBOL)]
    return message("D", seq, [*fields, (59, "1"), (60, "20260101-00:00:00.000")])
