"""The FIX client's side of the set-up: logs on, and asks until the gateway has margin to decide with."""

from __future__ import annotations

import re
import socket
import time
from datetime import UTC, datetime
from typing import Final

SENDER: Final = "BENCH"
TARGET: Final = "MARGINGATE"
_SOH: Final = b"\x01"
_END: Final = re.compile(rb"\x0110=[0-9]{3}\x01")
_PATIENCE_S: Final = 60.0


def message(
    msg_type: str, seq: int, fields: list[tuple[int, str]], sender: str = SENDER, begin_string: str = "FIX.4.4"
) -> bytes:
    """Return one whole FIX message."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]
    header = [(35, msg_type), (34, str(seq)), (49, sender), (52, now), (56, TARGET)]
    body = b"".join(f"{tag}={value}".encode() + _SOH for tag, value in [*header, *fields])
    text = b"8=" + begin_string.encode() + _SOH + b"9=%d" % len(body) + _SOH + body
    return text + b"10=%03d" % (sum(text) % 256) + _SOH


class Client:
    """A logged-on session, whose socket the peer program is handed."""

    def __init__(self, port: int) -> None:
        self.connection = dial(port)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.settimeout(_PATIENCE_S)
        self.next_seq = 1
        self._ask("A", [(98, "0"), (108, "3600")], b"A")

    def wait_for_margin(self, order: list[tuple[int, str]], reject_code: bytes) -> None:
        """Send an order that margin refuses until that is the reason: marks and risk arrays are there then."""
        deadline = time.monotonic() + _PATIENCE_S
        answer = b""
        while time.monotonic() < deadline:
            now = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]
            answer = self._ask("D", [(11, f"PROBE-{self.next_seq}"), *order, (60, now)], b"8")
            if b"\x0120001=" + reject_code + _SOH in answer:
                return
            time.sleep(0.02)
        raise RuntimeError(f"margin is not ready: {answer!r}")

    def _ask(self, msg_type: str, fields: list[tuple[int, str]], wanted: bytes) -> bytes:
        """Send, and read until a message of the wanted type came; News of the venue may come before it."""
        self.connection.sendall(message(msg_type, self.next_seq, fields))
        self.next_seq += 1
        answer = b""
        while b"\x0110=" not in answer[-8:] or b"\x0135=" + wanted + _SOH not in answer:
            data = self.connection.recv(65_536)
            if not data:
                raise RuntimeError(f"the gateway closed the connection: {answer!r}")
            answer += data
        return answer


def dial(port: int) -> socket.socket:
    """Connect; the gateway begins to listen a moment after it dialled the venue."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
