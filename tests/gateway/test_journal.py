import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.journal import (
    Journal,
    JournalDamaged,
    JournalError,
    JournalVersionUnknown,
    RecordTooLong,
    read,
)
from gateway.journal.reader import Walk
from gateway.journal.segment import HEADER_BYTES

SEGMENT = 4096
T0 = 1_700_000_000_000_000_000
PAYLOAD = bytes(range(1, 151))
RECORD_BYTES = (28 + len(PAYLOAD) + 7) & -8


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Journal]:
    journal = Journal.open(directory, **{"segment_bytes": SEGMENT, "retry_interval_s": 3600.0} | options)
    try:
        yield journal
    finally:
        journal.close()


def write(directory: Path, count: int, **options: Any) -> None:
    with opened(directory, **options) as journal:
        for _ in range(count):
            sequence = journal.next_sequence
            assert journal.append(sequence % 7, PAYLOAD, T0 + sequence) == sequence


def sequences(directory: Path) -> list[int]:
    return [record.sequence for record in read(directory)]


def segment(directory: Path, index: int = 1) -> Path:
    return directory / f"{index:08d}.mgj"


def record_offset(number: int) -> int:
    """Where the record `number` (from 1) of a segment of PAYLOADs lies."""
    return HEADER_BYTES + (number - 1) * RECORD_BYTES


# --- round trip ---------------------------------------------------------------------------------------------------


def test_an_empty_directory_is_an_empty_journal(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "journal"
    with opened(directory) as journal:
        assert journal.next_sequence == 1
        assert journal.records_written == 0
        assert journal.recovery.records == 0
        assert journal.recovery.torn is None
    assert sequences(directory) == []
    assert directory.stat().st_mode & 0o777 == 0o700
    assert segment(directory).stat().st_mode & 0o777 == 0o600


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, payload_version=3) as journal:
        assert journal.append(65535, b"first", T0) == 1
        assert journal.append(0, b"", -1) == 2
        assert journal.records_written == 2
        assert journal.durable_sequence == journal.commit() == 2
        assert journal.wait_durable(2)
        first, second = read(tmp_path)
    assert (first.sequence, first.record_type, first.time_ns, first.payload, first.payload_version) == (
        1,
        65535,
        T0,
        b"first",
        3,
    )
    assert (second.sequence, second.record_type, second.time_ns, second.payload) == (2, 0, -1, b"")


@pytest.mark.parametrize("durability", ["mmap", "fdatasync"])
def test_the_bytes_are_those_of_the_format(tmp_path: Path, durability: str) -> None:
    with opened(tmp_path, durability=durability) as journal:
        journal.append(7, b"abc", T0)
    data = segment(tmp_path).read_bytes()
    magic, version, header_bytes, salt, index, first, size = struct.unpack_from("<8sHHIQQQ", data)
    assert (magic, version, header_bytes, index, first, size) == (b"MGJOURNL", 1, 64, 1, 1, SEGMENT)
    assert struct.unpack_from("<I", data, 60)[0] == crc32c(data[:60])
    body = struct.pack("<QqHH", 1, T0, 7, 1) + b"abc"
    assert data[64:].rstrip(b"\0") == struct.pack("<II", len(body), crc32c(body, salt ^ len(body))) + body


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2**16 - 1),
        st.binary(max_size=80) | st.integers(0, 3700).map(bytes),
        st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(runs=st.lists(RECORDS, min_size=1, max_size=3))
def test_any_records_over_any_restarts_and_segments_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, bytes, int]]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    for number, records in enumerate(runs):
        with opened(directory) as journal:
            assert journal.recovery.records == sum(map(len, runs[:number]))
            for record_type, payload, time_ns in records:
                journal.append(record_type, payload, time_ns)
            assert journal.records_written == len(records)
    expected = [record for records in runs for record in records]
    found = list(read(directory))
    assert [(record.record_type, record.payload, record.time_ns) for record in found] == expected
    assert [record.sequence for record in found] == list(range(1, len(expected) + 1))


def test_segments_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    write(tmp_path, 100)
    assert sequences(tmp_path) == list(range(1, 101))
    assert len(list(tmp_path.glob("*.mgj"))) == 5
    write(tmp_path, 100)
    assert sequences(tmp_path) == list(range(1, 201))


def test_a_segment_of_another_size_is_continued(tmp_path: Path) -> None:
    write(tmp_path, 5)
    with opened(tmp_path, segment_bytes=1 << 20) as journal:
        for _ in range(100):
            journal.append(1, PAYLOAD, T0)
    assert [path.stat().st_size for path in sorted(tmp_path.glob("*.mgj"))] == [SEGMENT, 1 << 20]
    # And back: the reserve of the small size does not matter to the large one.
    write(tmp_path, 5)
    assert sequences(tmp_path) == list(range(1, 111))


def test_the_largest_record_fits_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, reserve_bytes=256) as journal:
        largest = SEGMENT - 256 - HEADER_BYTES - 28 & -8
        with pytest.raises(RecordTooLong, match=r"the largest has 3776"):
            journal.append(1, bytes(largest + 8), T0)
        assert journal.next_sequence == 1
        for expected in (1, 2, 3):
            assert journal.append(1, bytes(largest), T0) == expected
    assert sequences(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("arguments", [(70000, b"", T0), (1, b"", 2**63), (1, "text", T0)])
def test_an_impossible_record_leaves_nothing_behind(tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    with opened(tmp_path) as journal:
        with pytest.raises((struct.error, TypeError, OverflowError)):
            journal.append(*arguments)
        assert journal.append(1, b"good", T0) == 1
    assert [record.payload for record in read(tmp_path)] == [b"good"]


def test_a_closed_journal_refuses_and_closes_again(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.close()
        with pytest.raises(JournalError, match="closed"):
            journal.append(1, b"", T0)


# --- a crash in the middle of a write -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut short", "zeroed"])
def test_a_tail_torn_at_any_byte_leaves_the_old_or_the_new_state(tmp_path: Path, how: str) -> None:
    write(tmp_path, 3)
    path = segment(tmp_path)
    whole = path.read_bytes()
    start, end = record_offset(3), record_offset(4)
    end_of_data = end - (-(28 + len(PAYLOAD)) % 8)
    for stop in range(start, end + 1):
        path.write_bytes(whole[:stop] if how == "cut short" else whole[:stop].ljust(SEGMENT, b"\0"))
        survivors = 3 if stop >= end_of_data else 2
        assert sequences(tmp_path) == list(range(1, survivors + 1)), stop
        with opened(tmp_path) as journal:
            assert journal.next_sequence == survivors + 1
            torn = journal.recovery.torn
            if start < stop < end_of_data:
                assert torn is not None
                assert (torn.path, torn.offset, torn.sequence) == (path, start, 3)
                assert torn.bytes_dropped == len(whole[start:stop].rstrip(b"\0"))
            else:
                assert torn is None
            journal.append(9, b"after", T0)
        assert path.stat().st_size == SEGMENT
        assert [record.payload for record in read(tmp_path)] == [PAYLOAD] * survivors + [b"after"]


def test_a_body_without_its_prefix_was_never_written(tmp_path: Path) -> None:
    # The order of the stores in append: at any moment before the last one the prefix is zero.
    write(tmp_path, 3)
    data = bytearray(segment(tmp_path).read_bytes())
    data[record_offset(3) : record_offset(3) + 8] = bytes(8)
    segment(tmp_path).write_bytes(data)
    with opened(tmp_path) as journal:
        assert journal.next_sequence == 3
        assert journal.recovery.torn is not None
    assert segment(tmp_path).read_bytes()[record_offset(3) :].strip(b"\0") == b""


@pytest.mark.parametrize("left", [b"", bytes(100), bytes(SEGMENT), b"MGJOURNL" + bytes(80), b"MGJ"])
def test_a_segment_whose_preparation_was_interrupted_is_replaced(tmp_path: Path, left: bytes) -> None:
    write(tmp_path, 3)
    segment(tmp_path, 2).write_bytes(left)
    assert sequences(tmp_path) == [1, 2, 3]
    with opened(tmp_path) as journal:
        assert not segment(tmp_path, 2).exists()
        assert journal.next_sequence == 4
    write(tmp_path, 100)
    assert sequences(tmp_path) == list(range(1, 104))


def test_an_interrupted_first_segment_is_replaced(tmp_path: Path) -> None:
    segment(tmp_path).write_bytes(bytes(100))
    write(tmp_path, 3)
    assert sequences(tmp_path) == [1, 2, 3]


CHILD = """
import sys
from pathlib import Path
from gateway.journal import Journal
journal = Journal.open(Path(sys.argv[1]), segment_bytes=65536, durability=sys.argv[2])
while True:
    sequence = journal.append(1, b"%d" % journal.next_sequence * 20, 0)
    sys.stdout.write(f"{sequence}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("durability", ["mmap", "fdatasync"])
def test_a_process_killed_at_any_moment_loses_nothing_it_reported(tmp_path: Path, durability: str) -> None:
    recovered = 0
    for lines in (1, 700, 2500):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), durability],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        for _ in range(lines):
            # An empty line is the end of a child that failed by itself, and no proof of anything.
            assert child.stdout.readline()
        child.kill()
        reported = [int(line) for line in child.stdout.read().split(b"\n")[:-1] if line]
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        with opened(tmp_path, segment_bytes=65536) as journal:
            assert journal.next_sequence > max(reported, default=recovered + lines)
            recovered = journal.recovery.records
    assert [record.payload for record in read(tmp_path)] == [b"%d" % n * 20 for n in range(1, recovered + 1)]
    assert recovered >= 3201


# --- damage -------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_in_the_middle_is_found_and_placed(tmp_path: Path) -> None:
    write(tmp_path, 5)
    path = segment(tmp_path)
    whole = path.read_bytes()
    start, end = record_offset(3), record_offset(4)
    for place in range(start, end):
        for bit in (0, 7):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            found: list[int] = []
            with pytest.raises(JournalDamaged) as caught:
                found.extend(record.sequence for record in read(tmp_path))
            assert caught.value.path == path
            assert start <= caught.value.offset < end
            assert caught.value.sequence == 3
    with pytest.raises(JournalDamaged, match=r"00000001\.mgj: damaged at byte \d+, where record 3 belongs"):
        Journal.open(tmp_path)
    # Refusing lets go of the lock, and changes nothing.
    assert path.read_bytes() == data
    path.write_bytes(whole)
    write(tmp_path, 1)


def test_a_flipped_bit_anywhere_in_a_segment_header_is_found(tmp_path: Path) -> None:
    write(tmp_path, 30)
    for index in (1, 2):
        whole = segment(tmp_path, index).read_bytes()
        for place in range(HEADER_BYTES):
            data = bytearray(whole)
            data[place] ^= 4
            segment(tmp_path, index).write_bytes(data)
            with pytest.raises(JournalDamaged, match="header"):
                sequences(tmp_path)
        segment(tmp_path, index).write_bytes(whole)
    assert len(sequences(tmp_path)) == 30


def wipe_last_record_of_first_segment(directory: Path) -> None:
    data = segment(directory).read_bytes()
    records = sum(1 for offset in range(64, SEGMENT - 8, RECORD_BYTES) if data[offset])
    segment(directory).write_bytes(data[: record_offset(records)].ljust(SEGMENT, b"\0"))


def swap_segments(directory: Path) -> None:
    second, third = segment(directory, 2), segment(directory, 3)
    spare = directory / "spare"
    second.rename(spare)
    third.rename(second)
    spare.rename(third)


def repeat_a_record(directory: Path) -> None:
    data = segment(directory).read_bytes()
    first, second, third = (record_offset(number) for number in (1, 2, 3))
    segment(directory).write_bytes(data[:second] + data[first:second] + data[third:])


def cut_the_first_segment(directory: Path) -> None:
    os.truncate(segment(directory), record_offset(4) + 11)


DAMAGE = {
    "end of a full segment wiped": (wipe_last_record_of_first_segment, "begins with record"),
    "full segment cut": (cut_the_first_segment, "begins with record"),
    "first segment missing": (lambda directory: segment(directory).unlink(), "begins with record"),
    "middle segment missing": (lambda directory: segment(directory, 2).unlink(), "begins with record"),
    "segments swapped": (swap_segments, "belongs to segment 3"),
    "middle segment emptied": (lambda directory: segment(directory, 2).write_bytes(bytes(SEGMENT)), "header"),
    "middle segment of no bytes": (lambda directory: segment(directory, 2).write_bytes(b""), "header"),
    "record twice": (repeat_a_record, "has sequence number 1"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_that_no_crash_explains_is_refused(tmp_path: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    write(tmp_path, 60)
    damage(tmp_path)
    with pytest.raises(JournalDamaged, match=reason):
        sequences(tmp_path)
    with pytest.raises(JournalDamaged, match=reason):
        Journal.open(tmp_path)


def test_an_unknown_format_version_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, 3)
    data = bytearray(segment(tmp_path).read_bytes())
    struct.pack_into("<H", data, 8, 2)
    struct.pack_into("<I", data, 60, crc32c(data[:60]))
    segment(tmp_path).write_bytes(data)
    with pytest.raises(JournalVersionUnknown, match="version 2, but this release reads only 1; start it with"):
        Journal.open(tmp_path)


def test_bytes_in_a_payload_do_not_pass_for_a_later_record(tmp_path: Path) -> None:
    # A client that could plant a record in a torn payload would keep the gateway from starting.
    write(tmp_path / "other", 5)
    planted = segment(tmp_path / "other").read_bytes()[record_offset(4) : record_offset(5)]
    with opened(tmp_path) as journal:
        journal.append(1, b"0123" + planted * 3, T0)
    data = bytearray(segment(tmp_path).read_bytes())
    data[HEADER_BYTES] ^= 1
    segment(tmp_path).write_bytes(data)
    with opened(tmp_path) as journal:
        assert journal.recovery.torn is not None


def test_a_record_completed_while_it_was_being_read_is_no_damage(tmp_path: Path) -> None:
    write(tmp_path, 3)
    walk = Walk(tmp_path)
    for record in walk:
        if record.sequence == 1:
            break
    assert walk._is_end(segment(tmp_path), segment(tmp_path).read_bytes(), is_last=True) is False


def test_a_stray_file_and_an_absent_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "copy of 1.mgj").touch()
    with pytest.raises(JournalError, match="not the name of a journal segment"):
        Journal.open(tmp_path)
    with pytest.raises(JournalError, match="cannot be read: No such file"):
        read(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal.open(tmp_path / "file")
