"""The import switch of the WebSocket's short lane; `MARGINGATE_PURE=1` takes the plain one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

__all__ = ["COMPILED", "masked_frames", "take_texts"]

apply_mask: Callable[[bytes, bytes], bytes]
try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was installed without a compiler
    from websockets.utils import apply_mask


def plain_masked_frame(first_byte: int, payload: bytes, key: bytes) -> bytes:
    """Return one client frame; `first_byte` holds FIN, the reserved bits and the opcode."""
    size = len(payload)
    if size < 126:
        header = bytes((first_byte, 0x80 | size))
    elif size < 65536:
        header = bytes((first_byte, 0xFE, size >> 8, size & 255))
    else:
        header = bytes((first_byte, 0xFF)) + size.to_bytes(8, "big")
    return header + key + apply_mask(payload, key)


def plain_masked_frames(first_byte: int, payloads: list[bytes], keys: bytes) -> bytes:
    """Return the client frames of some messages, one behind the other; `keys` has four bytes for each."""
    if len(keys) != 4 * len(payloads):
        raise ValueError("a masking key has four bytes")
    parts = (plain_masked_frame(first_byte, one, keys[4 * at : 4 * at + 4]) for at, one in enumerate(payloads))
    return b"".join(parts)


def no_texts(data: bytes, most: int, messages: list[bytes]) -> int:
    """Take nothing: every frame is left to WebSocketClient."""
    return 0


COMPILED = False
if not TYPE_CHECKING and os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from protocols._websocket import masked_frames, take_texts

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    masked_frames, take_texts = plain_masked_frames, no_texts
