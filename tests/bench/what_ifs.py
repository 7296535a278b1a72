"""What-ifs over FIX: PartyRiskLimitCheckRequest(DF) to its Ack(DG), a window of them in flight."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, Final

from tests.bench import client, setting
from tests.bench.venue import SYMBOL

BEGIN_STRING: Final = "FIXT.1.1"
_APPROVED: Final = b"\x012325=0\x01"
_CHUNK: Final = 1 << 18


class Asker:
    """A FIX 5.0 SP2 session that only asks. Its own time counts too."""

    def __init__(self, port: int) -> None:
        self.connection = client.dial(port)
        self._seq = 0
        self.connection.sendall(self._next("A", [(98, "0"), (108, "3600"), (1137, "9")]))
        answer = self.connection.recv(_CHUNK)
        if b"\x0135=A\x01" not in answer:
            raise RuntimeError(f"no Logon: {answer!r}")

    def _next(self, msg_type: str, fields: list[tuple[int, str]]) -> bytes:
        self._seq += 1
        return client.message(msg_type, self._seq, fields, setting.ASKER, BEGIN_STRING)

    def request(self) -> bytes:
        """Return the next what-if."""
        return self._next(
            "DF",
            [(2318, f"W-{self._seq}"), (2320, "0"), (2321, "0"), (1, setting.RICH), (38, setting.SMALL),
             (44, setting.PRICE), (54, "1"), (55, SYMBOL)],
        )  # fmt: skip

    def run(self, count: int, window: int) -> dict[str, Any]:
        """Ask `count` times, as many as `window` at once; raise RuntimeError unless every answer approves."""
        requests = [self.request() for _ in range(count)]
        sent = took = approved = 0
        sent_ns: list[int] = []
        took_ns: list[int] = []
        rest = b""
        began = perf_counter_ns()
        while took < count:
            room = min(count - sent, window - (sent - took))
            if room:
                sent_ns += [perf_counter_ns()] * room
                self.connection.sendall(b"".join(requests[sent : sent + room]))
                sent += room
            data = self.connection.recv(_CHUNK)
            if not data:
                raise RuntimeError("the gateway closed the connection")
            data = rest + data
            whole = data.rfind(b"\x018=FIXT") + 1 if data[-8:-4] != b"\x0110=" else len(data)
            now, told = perf_counter_ns(), data[:whole]
            rest = data[whole:]
            approved += told.count(_APPROVED)
            answers = told.count(b"\x0135=DG\x01")
            took_ns += [now - at for at in sent_ns[took : took + answers]]
            took += answers
        elapsed = perf_counter_ns() - began
        if approved != count:
            raise RuntimeError(f"{approved} of {count} what-ifs would pass: {told[-1000:]!r}")
        took_ns.sort()
        return {
            "count": count,
            "elapsed_ns": elapsed,
            "p50_ns": took_ns[count // 2],
            "p99_ns": took_ns[count * 99 // 100],
            "p999_ns": took_ns[count * 999 // 1000],
        }
