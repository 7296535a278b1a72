"""Journal files on disk: their format, their errors, and one segment that is mapped for writing.

A segment is a file `00000001.mgj` of fixed size, little-endian throughout:

    segment header, 64 bytes
         0  magic "MGJOURNL"           8  format version u16     10  header size u16   12  salt u32
        16  segment index u64         24  first sequence u64     32  segment size u64
        40  zeros                     60  CRC-32C u32 of bytes 0 to 59; the magic, the version and this field
                                          keep their places in every format version
    records, each beginning on a multiple of 8
         0  length u32 of what follows the CRC, padding not counted; 0 means that nothing was written here
         4  CRC-32C u32 of what follows, its register started from salt XOR length
         8  sequence u64              16  time i64, ns since the epoch
        24  record type u16           26  payload version u16    28  payload, then zeros to a multiple of 8
    zeros

The salt is random and drawn for each segment: bytes that a client gets into a payload cannot pass for a record
when recovery looks for one, and neither can what an earlier file left on the disk.
"""

import ctypes
import mmap
import os
import struct
from pathlib import Path

from crc32c import crc32c
from msgspec import Struct

MAGIC = b"MGJOURNL"
FORMAT_VERSION = 1
READABLE_VERSIONS = frozenset({1})
HEADER_BYTES = 64
SUFFIX = ".mgj"

PREFIX = struct.Struct("<II")  # length, CRC
FIXED = struct.Struct("<QqHH")  # sequence, time, record type, payload version
MIN_RECORD_BYTES = (PREFIX.size + FIXED.size + 7) & -8

_HEADER = struct.Struct("<8sHHIQQQ")
_HEADER_CRC = struct.Struct("<I")
_HEADER_CRC_AT = HEADER_BYTES - _HEADER_CRC.size

# Zeros are written from one buffer, many times over in one call: the fewer calls, the fewer times must the
# preparing thread win the interpreter lock back from a busy event loop, which can take 5 ms each time.
ZEROS_BYTES = 1 << 20
_ZEROS = bytes(ZEROS_BYTES)
_BUFFERS_PER_CALL = 64

# linux/mman.h: drop the pages of a mapping; since 5.14, make them present and writable.
_MADV_DONTNEED = 4
_MADV_POPULATE_WRITE = 23
# mmap.madvise would hold the interpreter lock for the milliseconds that 64 MiB take; a ctypes call does not.
_madvise = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class JournalError(Exception):
    """The journal cannot do what was asked; nothing was written."""


class JournalLocked(JournalError):  # noqa: N818
    """Another process (or another Journal of this one) has the directory."""


class JournalFull(JournalError):  # noqa: N818
    """No room, and no next segment: new risk must be refused until `append` succeeds again."""


class JournalFailed(JournalError):  # noqa: N818
    """A sync failed, so what the disk holds is unknown; latched until the process is restarted."""


class RecordTooLong(JournalError):  # noqa: N818
    """The record is larger than a segment can hold."""


class JournalVersionUnknown(JournalError):  # noqa: N818
    """The segment was written in a format that this release does not read."""


class JournalDamaged(JournalError):  # noqa: N818
    """The journal is not what was written to it, at a place where a crash cannot explain it.

    Attributes: `path` of the segment, byte `offset` in it, the `sequence` number that was expected there, `reason`.
    """

    def __init__(self, path: Path, offset: int, sequence: int, reason: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}, where record {sequence} belongs: {reason}")
        self.path = path
        self.offset = offset
        self.sequence = sequence
        self.reason = reason


class Header(Struct, frozen=True, gc=False):
    """What a segment says of itself."""

    version: int
    salt: int
    index: int
    first_sequence: int
    segment_bytes: int


def encode_header(header: Header) -> bytes:
    """Return the 64 bytes that begin a segment."""
    fields = _HEADER.pack(
        MAGIC,
        header.version,
        HEADER_BYTES,
        header.salt,
        header.index,
        header.first_sequence,
        header.segment_bytes,
    )
    covered = fields.ljust(_HEADER_CRC_AT, b"\0")
    return covered + _HEADER_CRC.pack(crc32c(covered))


def decode_header(data: bytes, path: Path) -> Header | None:
    """Return the header, or None if these bytes are none; raises JournalVersionUnknown for a later format."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        return None
    if crc32c(data[:_HEADER_CRC_AT]) != _HEADER_CRC.unpack_from(data, _HEADER_CRC_AT)[0]:
        return None
    _, version, _, salt, index, first_sequence, segment_bytes = _HEADER.unpack_from(data)
    if version not in READABLE_VERSIONS:
        readable = ", ".join(map(str, sorted(READABLE_VERSIONS)))
        raise JournalVersionUnknown(
            f"{path}: journal format version {version}, but this release reads only {readable}; start it with the "
            "release that wrote it, or begin an empty journal in another directory"
        )
    return Header(version, salt, index, first_sequence, segment_bytes)


def segment_path(directory: Path, index: int) -> Path:
    """Return where segment `index` (from 1) lies."""
    return directory / f"{index:08d}{SUFFIX}"


class Files:
    """The calls to the operating system that can fail; a test gives one that does."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def allocate(self, descriptor: int, size: int) -> None:
        # Blocks are reserved here: a store into a mapping has no way to report a full disk but SIGBUS.
        os.posix_fallocate(descriptor, 0, size)

    def write_zeros(self, descriptor: int, size: int) -> None:
        offset = 0
        while offset < size:
            whole, rest = divmod(min(size - offset, _BUFFERS_PER_CALL * ZEROS_BYTES), ZEROS_BYTES)
            # Not an endless loop on a short count: a full disk raises, and so does a count of 0 on a regular file.
            offset += os.pwritev(descriptor, [_ZEROS] * whole + [bytes(rest)], offset)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def salt(self) -> int:
        return int.from_bytes(os.urandom(4), "little")


class Segment:
    """One file, mapped for writing."""

    __slots__ = ("descriptor", "index", "memory", "path", "salt", "size")

    def __init__(self, path: Path, index: int, size: int, descriptor: int, salt: int) -> None:
        self.path = path
        self.index = index
        self.size = size
        self.salt = salt
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, size)

    @classmethod
    def prepare(cls, directory: Path, index: int, size: int, files: Files, *, synced: bool) -> "Segment":
        """Create a segment of zeros with its blocks reserved and its pages present; raises OSError.

        Takes tens of milliseconds for 64 MiB, hardly any of them with the interpreter lock. `synced` makes the
        file itself survive a power failure.
        """
        path = segment_path(directory, index)
        descriptor = files.create(path)
        try:
            files.allocate(descriptor, size)
            # Zeros are written, not only reserved: else each later sync would also convert unwritten extents.
            files.write_zeros(descriptor, size)
            segment = cls(path, index, size, descriptor, files.salt())
            segment._advise(_MADV_POPULATE_WRITE, 0)
            if synced:
                files.fdatasync(descriptor)
                files.sync_directory(directory)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        return segment

    @classmethod
    def reopen(cls, path: Path, header: Header, files: Files) -> "Segment":
        """Map a segment that was written before; one that was cut short gets its full size back."""
        descriptor = files.open(path)
        try:
            if os.fstat(descriptor).st_size < header.segment_bytes:
                files.allocate(descriptor, header.segment_bytes)
            return cls(path, header.index, header.segment_bytes, descriptor, header.salt)
        except OSError:
            os.close(descriptor)
            raise

    def begin(self, first_sequence: int) -> None:
        """Write the header: from here on this is the segment that recovery continues in."""
        header = Header(FORMAT_VERSION, self.salt, self.index, first_sequence, self.size)
        self.memory[:HEADER_BYTES] = encode_header(header)

    def clear_from(self, offset: int) -> None:
        """Wipe everything from `offset` on, and make its pages present."""
        # An older kernel refuses; then the first store into each page costs a fault, and nothing else changes.
        self._advise(_MADV_POPULATE_WRITE, offset - offset % mmap.PAGESIZE)
        for start in range(offset, self.size, ZEROS_BYTES):
            end = min(start + ZEROS_BYTES, self.size)
            if self.memory[start:end] != _ZEROS[: end - start]:
                self.memory[start:end] = bytes(end - start)

    def close(self) -> None:
        """Unmap and close; what was written stays in the page cache, so it outlives the process."""
        # So that the unmapping, which holds the interpreter lock, has nothing left to do.
        self._advise(_MADV_DONTNEED, 0)
        self.memory.close()
        os.close(self.descriptor)

    def discard(self) -> None:
        """Close and delete a segment that was prepared and is not needed."""
        self.close()
        self.path.unlink()

    def _advise(self, advice: int, offset: int) -> None:
        first = ctypes.c_char.from_buffer(self.memory)
        _madvise(ctypes.addressof(first) + offset, self.size - offset, advice)
