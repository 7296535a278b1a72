"""Append-only event log: writer, reader, file format and the thread beside them."""

from gateway.journal.writer import (
    Durability,
    Files,
    Journal,
    JournalDamaged,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalLocked,
    JournalVersionUnknown,
    Record,
    RecordTooLong,
    Recovery,
    TornTail,
    read,
)

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
    "TornTail",
    "read",
]
