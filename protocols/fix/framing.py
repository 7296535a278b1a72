"""Bytes of a connection -> messages: linear in time whatever the split, bounded in memory."""

from protocols.fix.codec import Framer
from protocols.fix.plain import MAX_BUFFERED_BYTES

__all__ = ["MAX_BUFFERED_BYTES", "Framer"]
