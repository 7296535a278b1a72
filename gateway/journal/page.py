"""A record into mapped memory: the compiled twin where it was built, otherwise the one here."""

from __future__ import annotations

import os
from mmap import mmap
from typing import TYPE_CHECKING

from crc32c import crc32c

from gateway.journal.segment import FIXED, PREFIX

__all__ = ["COMPILED", "Page", "PlainPage"]

_pack_fixed = FIXED.pack
_pack_prefix_into = PREFIX.pack_into
_FIXED_BYTES = FIXED.size
_PREFIX_BYTES = PREFIX.size


class PlainPage:
    """The mapped memory of one segment, written at offsets that the journal keeps: multiples of 8 with room behind."""

    __slots__ = ("_memory",)

    def __init__(self, memory: mmap) -> None:
        self._memory = memory

    def close(self) -> None:
        """Let go of the memory, so that it can be unmapped."""

    def put(
        self,
        offset: int,
        sequence: int,
        time_ns: int,
        record_type: int,
        payload_version: int,
        payload: bytes,
        salt: int,
    ) -> None:
        """Write a record at an offset, its length and CRC last."""
        body = _pack_fixed(sequence, time_ns, record_type, payload_version) + payload
        length = len(payload) + _FIXED_BYTES
        start = offset + _PREFIX_BYTES
        memory = self._memory
        # The prefix comes last: until it is there, recovery sees a place where nothing was written.
        memory[start : start + length] = body
        _pack_prefix_into(memory, offset, length, crc32c(body, salt ^ length))


COMPILED = False
if not TYPE_CHECKING and os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from gateway.journal._page import Page

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    Page = PlainPage
