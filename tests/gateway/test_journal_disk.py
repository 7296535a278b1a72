"""The journal against the system: a second opener, a full disk, a sync that fails or does not return."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.journal import Files, Journal, JournalError, JournalFailed, JournalFull, JournalLocked
from gateway.journal.segment import HEADER_BYTES
from tests.gateway.test_journal import PAYLOAD, RECORD_BYTES, SEGMENT, T0, opened, segment, sequences, write

# How long a test waits for a thread that is about to answer: only ever used up when something is broken.
PATIENCE_S = 60.0

# --- two openers --------------------------------------------------------------------------------------------------


def test_a_second_journal_is_kept_out(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        with pytest.raises(JournalLocked, match=f"in use by process {os.getpid()}"):
            Journal.open(tmp_path)
        code = "import sys; from gateway.journal import *; from pathlib import Path; Journal.open(Path(sys.argv[1]))"
        child = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 1
        assert f"JournalLocked: {tmp_path}: the journal is in use by process {os.getpid()}" in child.stderr
        journal.append(1, b"", T0)
    write(tmp_path, 1)


# --- a full disk --------------------------------------------------------------------------------------------------


class SmallDisk(Files):
    """A disk that is full whenever the test says so."""

    def __init__(self) -> None:
        self.is_full = False
        self.refusals = 0
        self.was_prepared = threading.Event()

    def allocate(self, descriptor: int, size: int) -> None:
        if self.is_full:
            self.refusals += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(descriptor, size)
        self.was_prepared.set()


def append_until_full(journal: Journal, *, essential: bool = False) -> int:
    count = 0
    with pytest.raises(JournalFull, match="segment 2 cannot be prepared: No space left on device"):
        while True:
            journal.append(1, PAYLOAD, T0, essential)
            count += 1
    return count


def test_a_full_disk_refuses_new_risk_lets_cancels_pass_and_resumes(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk, reserve_bytes=1024, retry_interval_s=3600.0) as journal:
        disk.is_full = True
        ordinary = append_until_full(journal)
        assert ordinary == (SEGMENT - HEADER_BYTES - 1024) // RECORD_BYTES
        assert not journal.has_room
        assert journal.shortage is not None
        attempts = disk.refusals
        # A refusal costs nothing: the disk is not asked again on the append path.
        append_until_full(journal)
        assert disk.refusals <= attempts + 1
        cancels = append_until_full(journal, essential=True)
        assert cancels >= 1024 // RECORD_BYTES
        assert not journal.make_room()
        assert not segment(tmp_path, 2).exists()
        disk.is_full = False
        assert journal.make_room()
        assert journal.has_room
        assert journal.shortage is None
        assert journal.append(1, PAYLOAD, T0) == ordinary + cancels + 1
    assert sequences(tmp_path) == list(range(1, ordinary + cancels + 2))


def test_a_full_disk_resumes_by_itself(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk, retry_interval_s=0.001) as journal:
        disk.was_prepared.clear()
        disk.is_full = True
        written = append_until_full(journal)
        disk.is_full = False
        assert disk.was_prepared.wait(PATIENCE_S)
        # Waits for the thread that is preparing it, if it is still at it.
        assert journal.make_room()
        assert journal.append(1, PAYLOAD, T0) == written + 1


def test_there_is_no_need_for_room_while_a_segment_is_fresh(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as journal:
        disk.is_full = True
        assert journal.make_room()
        assert disk.refusals == 0


def test_a_journal_that_cannot_begin_says_so_and_lets_go(tmp_path: Path) -> None:
    disk = SmallDisk()
    disk.is_full = True
    with pytest.raises(JournalError, match="cannot be opened: No space left on device"):
        Journal.open(tmp_path, files=disk)
    write(tmp_path, 1)


def test_a_real_limit_of_the_system_is_an_error_and_no_crash(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from gateway.journal import *
journal = Journal.open(Path(sys.argv[1]), segment_bytes=4096)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
try:
    while True:
        journal.append(1, bytes(100), 0)
except JournalFull as error:
    print(error)
print(journal.append(1, bytes(100), 0, essential=True) == journal.next_sequence - 1)
journal.close()
"""
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "segment 2 cannot be prepared: File too large\nTrue\n"
    assert child.stderr == ""


class GatedLock:
    """A lock at which the journal's thread waits for `gate` before it goes in."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.left = threading.Event()

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.arrived.set()
            assert self.gate.wait(PATIENCE_S)
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()
        if threading.current_thread() is not threading.main_thread():
            self.left.set()


def test_a_segment_that_an_append_prepared_meanwhile_is_not_prepared_again(tmp_path: Path) -> None:
    # The thread is asked for segment 2 and is slow; the append makes it itself and goes on in it; then the thread
    # gets its turn. It must not take the file that is in use for a disk without room.
    lock = GatedLock()
    with opened(tmp_path) as journal:
        journal._keeper._preparing = lock  # type: ignore[assignment]
        while journal.next_sequence * RECORD_BYTES < SEGMENT * 3 // 4:
            journal.append(1, PAYLOAD, T0)
        assert lock.arrived.wait(PATIENCE_S)
        while not segment(tmp_path, 2).exists():
            journal.append(1, PAYLOAD, T0)
        assert journal.inline_preparations == 1
        lock.gate.set()
        assert lock.left.wait(PATIENCE_S)
        assert journal.shortage is None
        for _ in range(100):
            journal.append(1, PAYLOAD, T0)
        assert journal.shortage is None
    assert sequences(tmp_path) == list(range(1, journal.next_sequence))


# --- syncing ------------------------------------------------------------------------------------------------------


class SlowDisk(Files):
    """A disk whose syncs fail while `error` is set, and wait for `gate` in the journal's thread only."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: int | None = None

    def stall(self) -> None:
        self.gate.clear()

    def fdatasync(self, descriptor: int) -> None:
        # Preparing a segment syncs it as well; a test that prepares in its own thread must not wait for itself.
        if threading.current_thread() is not threading.main_thread():
            assert self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        super().fdatasync(descriptor)


def test_commit_makes_records_durable(tmp_path: Path) -> None:
    reported: list[int] = []
    with opened(tmp_path, durability="fdatasync", sync_interval_s=3600.0, on_durable=reported.append) as journal:
        assert journal.durable_sequence == 0
        for _ in range(3):
            journal.append(1, PAYLOAD, T0)
        sequence = journal.commit()
        assert sequence == 3
        assert journal.wait_durable(sequence, PATIENCE_S)
        assert journal.durable_sequence == 3
        assert not journal.wait_durable(4, 0.0)
        journal.append(1, PAYLOAD, T0)
    assert reported == [3, 4]
    with opened(tmp_path, durability="fdatasync") as journal:
        assert journal.durable_sequence == 4


def test_records_become_durable_by_themselves_and_over_segments(tmp_path: Path) -> None:
    with opened(tmp_path, durability="fdatasync", sync_interval_s=0.001) as journal:
        for _ in range(100):
            last = journal.append(1, PAYLOAD, T0)
            if last % 10 == 0:
                assert journal.wait_durable(last, PATIENCE_S)
        assert journal.durable_sequence == 100
    assert sequences(tmp_path) == list(range(1, 101))


def test_a_failed_sync_is_never_success_and_stops_the_journal(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = Journal.open(tmp_path, segment_bytes=SEGMENT, durability="fdatasync", sync_interval_s=3600.0, files=disk)
    journal.append(1, PAYLOAD, T0)
    assert journal.wait_durable(journal.commit(), PATIENCE_S)
    disk.error = errno.EIO
    journal.append(1, PAYLOAD, T0)
    with pytest.raises(JournalFailed, match="the records after 1 may be lost: Input/output error"):
        journal.wait_durable(journal.commit(), PATIENCE_S)
    # The disk says that it is well again; the pages that it dropped are still lost.
    disk.error = None
    for essential in (False, True):
        with pytest.raises(JournalFailed, match="Input/output error"):
            journal.append(1, PAYLOAD, T0, essential)
    journal.commit()
    with pytest.raises(JournalFailed):
        journal.wait_durable(2, PATIENCE_S)
    assert journal.durable_sequence == 1
    assert journal.failed is not None
    with pytest.raises(JournalFailed):
        journal.close()
    with opened(tmp_path) as again:
        assert again.next_sequence == 3


def test_a_sync_that_fails_while_opening_is_told(tmp_path: Path) -> None:
    write(tmp_path, 3)
    disk = SlowDisk()
    disk.error = errno.EIO
    with pytest.raises(JournalError, match="Input/output error"):
        Journal.open(tmp_path, durability="fdatasync", files=disk)
    write(tmp_path, 3)


def test_a_stalled_disk_is_pressed_back_on_and_catches_up(tmp_path: Path) -> None:
    disk = SlowDisk()
    options = {"durability": "fdatasync", "sync_interval_s": 3600.0, "max_unsynced_bytes": 2 * SEGMENT}
    with opened(tmp_path, files=disk, **options) as journal:
        journal.append(1, PAYLOAD, T0)
        disk.stall()
        journal.commit()
        with pytest.raises(JournalFull, match="the disk is behind"):
            while True:
                journal.append(1, PAYLOAD, T0)
        assert journal.durable_sequence == 0
        assert not journal.has_room
        assert not journal.wait_durable(1, 0.0)
        last = journal.next_sequence - 1
        assert last > 2 * SEGMENT // RECORD_BYTES
        disk.gate.set()
        assert journal.wait_durable(journal.commit(), PATIENCE_S)
        assert journal.durable_sequence == last
        assert journal.make_room()
        assert journal.append(1, PAYLOAD, T0) == last + 1
    assert sequences(tmp_path) == list(range(1, last + 2))


def test_a_dead_thread_stops_the_journal(tmp_path: Path) -> None:
    def explode(sequence: int) -> None:
        raise RuntimeError(f"loop closed at {sequence}")

    journal = Journal.open(tmp_path, segment_bytes=SEGMENT, durability="fdatasync", on_durable=explode)
    journal.append(1, PAYLOAD, T0)
    with pytest.raises(JournalFailed, match="loop closed at"):
        journal.wait_durable(99, PATIENCE_S)
    with pytest.raises(JournalFailed, match="thread died"):
        journal.append(1, PAYLOAD, T0)
    with pytest.raises(JournalFailed):
        journal.close()
