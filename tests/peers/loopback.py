"""Imported by a peer's program: it can reach nothing but this machine."""

import sys
from typing import Any

LOCAL = ("127.0.0.1", "localhost", "::1", None)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host not in LOCAL:
        raise PermissionError(f"{event}: {host} is not this machine")


sys.addaudithook(_refuse)
