"""Unix sockets that only their owner may open: how they are made, and who is at the other end."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# sockaddr_un of Linux; a longer path is reached through the directory's descriptor.
MAX_PATH_BYTES: Final = 107


def private_listener(path: Path) -> socket.socket:
    """Bind a socket of mode 0600, in the place of one that a crash has left; raises OSError, as where one is in use."""
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    mask = os.umask(0o177)
    try:
        with address_of_path(path) as address:
            listener.bind(address)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on, and nothing else."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EEXIST, "there is something else, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, address_of_path(path) as address:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")


@contextmanager
def naming(address: str) -> Iterator[None]:
    """Put the address into the text of an OSError: of several listeners, which could not be had?"""
    try:
        yield
    except OSError as error:
        # asyncio's own text has the address already, as a tuple.
        reason = str(error.strerror).rpartition("): ")[2]
        raise OSError(error.errno, f"{address}: {reason}") from error


@contextmanager
def address_of_path(path: Path) -> Iterator[str]:
    """Give a path that fits a socket's address, however long the directory's is."""
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def user_of(end: socket.socket) -> str:
    """Return who is at the other end of a Unix socket, as the kernel says."""
    _, uid, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user_name(uid)


def own_user() -> str:
    """Return whom this process runs as."""
    return user_name(os.geteuid())


def user_name(uid: int) -> str:
    """Return a user's name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
