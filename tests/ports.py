"""TCP ports for what must know its port before it listens: nobody else can be given one of them meanwhile.

A port that is bound as 0, read and closed again belongs to nobody: the kernel may hand it to the next who asks, or to
any connection that goes out. These lie below the range that the kernel chooses from, and the tests of a machine agree
on who has which: a name in the abstract space of Unix sockets can be bound once, and ends with the process that has it.
"""

from __future__ import annotations

import os
import socket
from typing import Final

# Below Linux' ip_local_port_range (from 32768), above what services listen on.
PORTS: Final = range(20_000, 32_000)
# Workers that begin at places of their own hardly ever meet.
_next: int = os.getpid() * 97


def free_port() -> int:
    """Return a port that nothing listens on, and that no other test is given as long as this process lives.

    Raises
    ------
    OSError
        Where all of them are taken.
    """
    global _next
    for _ in PORTS:
        port = PORTS[_next % len(PORTS)]
        _next += 1
        if _is_ours(port) and _is_free(port):
            return port
    raise OSError("no port is free")


def _is_ours(port: int) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0margingate-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open, and so ours, until the process ends
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
