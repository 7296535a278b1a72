"""Memory that two processes share and that has no name: the kernel frees it when the last of them is gone."""

from __future__ import annotations

import fcntl
import os
from mmap import mmap
from typing import Final

# Nobody may cut it shorter: the other process would die of the first byte that is missing.
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedMemory:
    """A piece of memory behind a file descriptor, which a child inherits. Pages that nobody wrote cost nothing."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self._map = mmap(descriptor, size)
        self.view = memoryview(self._map)

    @classmethod
    def create(cls, name: str, size: int) -> SharedMemory:
        """Return new memory of `size` bytes, all zero; `name` is for who looks into /proc. Raises OSError."""
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            return cls(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, descriptor: int) -> SharedMemory:
        """Return the memory behind a descriptor that was inherited, or opened at `path`. Raises OSError, ValueError."""
        return cls(descriptor, os.fstat(descriptor).st_size)

    @property
    def path(self) -> str:
        """Where another process of the same user can open it, for as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def close(self) -> None:
        """Let go of it; nothing made of `view` may be in use any more."""
        self.view.release()
        self._map.close()
        os.close(self.descriptor)
