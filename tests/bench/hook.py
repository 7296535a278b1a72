"""The hook over its Unix socket: requests of one client, pipelined, answered by the gateway on the other core.

The client sends a window of requests in one write and reads until as many lines have come, again and again; making and
reading its bytes is little beside what the gateway does, and is in the figure.
"""

from __future__ import annotations

import socket
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import orjson

from tests.bench.setting import HOOK_CLIENT, PRICE, RICH, SMALL
from tests.bench.venue import SYMBOL

READ_BYTES: Final = 1 << 18


class HookConnection:
    """One client of the hook."""

    def __init__(self, path: Path) -> None:
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._end.settimeout(60)
        self._end.connect(str(path))
        # A key that was used before would be answered from memory.
        self._prefix, self._keys = f"{perf_counter_ns():x}", 0
        (answer,) = self._exchange([{"op": "hello", "client": HOOK_CLIENT}])
        assert answer["ok"], answer

    def close(self) -> None:
        self._end.close()

    def checks(self, count: int, window: int) -> dict[str, Any]:
        """Ask what-ifs that pass; return the figures."""
        request = {"op": "check", "account": RICH, "symbol": SYMBOL, "side": "buy", "quantity": SMALL, "price": PRICE}
        self._expect(self._exchange([request] * window))
        batch, times_ns = b"".join(_line(request | {"id": n}) for n in range(window)), []
        for _ in range(max(1, count // window)):
            began = perf_counter_ns()
            self._end.sendall(batch)
            last = self._read(window)
            times_ns.append(perf_counter_ns() - began)
        assert b'"ok":true' in last, last
        return _figures(times_ns, window)

    def holds(self, count: int, window: int) -> dict[str, Any]:
        """Hold and release orders, each with a key of its own; a request is one of the two."""
        order = {"account": RICH, "symbol": SYMBOL, "side": "buy", "quantity": SMALL, "price": PRICE}
        times_ns = []
        for _ in range(max(1, count // window)):
            keys = [f"{self._prefix}-{self._keys + n}" for n in range(window // 2)]
            self._keys += len(keys)
            lines = [_line({"op": "hold", "key": key} | order) for key in keys]
            lines += [_line({"op": "release", "key": key, "account": RICH}) for key in keys]
            batch = b"".join(lines)
            began = perf_counter_ns()
            self._end.sendall(batch)
            last = self._read(len(lines))
            times_ns.append(perf_counter_ns() - began)
            assert b'"is_new":true' in last and b'"state":"released"' in last, last
        return _figures(times_ns, window)

    def _exchange(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._end.sendall(b"".join(map(_line, requests)))
        data = b""
        while data.count(b"\n") < len(requests):
            data += self._end.recv(READ_BYTES)
        return [orjson.loads(line) for line in data.splitlines()]

    def _expect(self, answers: list[dict[str, Any]]) -> None:
        assert all(answer["ok"] for answer in answers), answers[0]

    def _read(self, lines: int) -> bytes:
        """Read so many lines; return the end of the last read."""
        while True:
            data = self._end.recv(READ_BYTES)
            if not data:
                raise RuntimeError("the gateway hung up")
            lines -= data.count(b"\n")
            if lines <= 0:
                return data


def _line(request: dict[str, Any]) -> bytes:
    return orjson.dumps(request) + b"\n"


def _figures(times_ns: list[int], window: int) -> dict[str, Any]:
    """Latencies are those of a whole window."""
    ordered = sorted(times_ns)
    ranks = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in _SHARES.items()}
    return {"count": len(times_ns) * window, "elapsed_ns": sum(times_ns), **ranks}


_SHARES: Final = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
