"""Append-only event log: writer, reader, file format and the thread beside them."""

from gateway.journal.reader import Record, TornTail, read
from gateway.journal.segment import (
    Files,
    JournalDamaged,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalLocked,
    JournalVersionUnknown,
    RecordTooLong,
)
from gateway.journal.tail import Tail
from gateway.journal.writer import Durability, Journal, Recovery

__all__ = [
    "Durability",
    "Files",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalFailed",
    "JournalFull",
    "JournalLocked",
    "JournalVersionUnknown",
    "Record",
    "RecordTooLong",
    "Recovery",
    "Tail",
    "TornTail",
    "read",
]
