"""Following a journal that another process writes: new records as they come, without its lock and without its time."""

import mmap
from pathlib import Path

from gateway.journal.reader import Record, complete_record, segments
from gateway.journal.segment import FIXED, HEADER_BYTES, PREFIX, Header, JournalDamaged, decode_header, segment_path


class Tail:
    """Reads on from where it was. A record that is not complete yet is left for the next time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.next_sequence = 0  # 0: nothing has been read
        self._header: Header | None = None
        self._memory: mmap.mmap | None = None
        self._offset = HEADER_BYTES

    def poll(self, limit: int) -> list[Record]:
        """Return what was appended since, at most `limit` records, oldest first.

        Raises JournalDamaged where numbers do not follow each other, JournalError where nothing can be read.
        """
        found: list[Record] = []
        while len(found) < limit:
            if self._memory is None and not self._opened_first():
                break
            record = self._next()
            if record is not None:
                found.append(record)
            elif not self._opened_next():
                break
        return found

    def close(self) -> None:
        """Let go of the segment."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _next(self) -> Record | None:
        assert self._memory is not None and self._header is not None
        body = complete_record(self._memory, self._offset, self._header.salt)
        if body is None:
            return None
        sequence, time_ns, record_type, payload_version = FIXED.unpack_from(body)
        if sequence != self.next_sequence:
            path, reason = segment_path(self.directory, self._header.index), f"the record there is number {sequence}"
            raise JournalDamaged(path, self._offset, self.next_sequence, reason)
        self._offset = (self._offset + PREFIX.size + len(body) + 7) & -8
        self.next_sequence = sequence + 1
        return Record(sequence, record_type, time_ns, body[FIXED.size :], payload_version)

    def _opened_first(self) -> bool:
        paths = segments(self.directory)
        return bool(paths) and self._open(paths[0])

    def _opened_next(self) -> bool:
        """Go on with the next segment, where one was begun: then nothing more comes into this one."""
        assert self._header is not None
        path = segment_path(self.directory, self._header.index + 1)
        before = self._memory
        if not path.exists() or not self._open(path):
            return False
        if before is not None:
            before.close()
        return True

    def _open(self, path: Path) -> bool:
        """Map a segment; False where it is prepared and not begun. It is the writer's to grow and to delete."""
        try:
            with path.open("rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (FileNotFoundError, ValueError):  # gone, or still empty
            return False
        header = decode_header(memory[:HEADER_BYTES], path)
        if header is None or len(memory) < header.segment_bytes:
            memory.close()
            return False
        if self.next_sequence and header.first_sequence != self.next_sequence:
            memory.close()
            reason = f"segment {path.name} begins with record {header.first_sequence}"
            raise JournalDamaged(path, 0, self.next_sequence, reason)
        self._memory, self._header, self._offset = memory, header, HEADER_BYTES
        self.next_sequence = header.first_sequence
        return True
