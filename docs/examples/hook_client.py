"""Asks before it trades: `python hook_client.py SOCKET CLIENT [TOKEN]`, with nothing but the standard library."""

import json
import socket
import sys
from typing import Any


class Hook:
    """One connection. An answer with "ok" false is returned, not raised: to be refused is an ordinary answer."""

    def __init__(self, path: str, client: str, token: str = "") -> None:
        self._end = socket.socket(socket.AF_UNIX)
        self._end.connect(path)
        self._lines = self._end.makefile("rwb")
        assert self.ask("hello", client=client, token=token)["ok"]

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        self._lines.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        self._lines.flush()
        while "event" in (answer := json.loads(self._lines.readline())):
            print("told:", answer)  # noqa: T201 - a hold is overdue, or somebody wants us to stop
        return dict(answer)


if __name__ == "__main__":
    hook = Hook(*sys.argv[1:])
    order = {"symbol": "BTC-PERPETUAL", "side": "buy", "quantity": "100", "price": "59000", "account": "alpha"}
    held = hook.ask("hold", key="order-1", timeout_ms=5000, **order)
    if held["ok"]:
        # Here the order goes to its venue, at no worse than held["price"]; 40 of it trade, and the rest is cancelled.
        hook.ask("fill", hold=held["hold"], execution="t-1", quantity="40", price="58999.5", fee="0.00000001")
        held = hook.ask("release", hold=held["hold"])
    print(json.dumps(held))  # noqa: T201
