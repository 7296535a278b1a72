"""The double buffer: whatever the two ends do in whatever order, and wherever one is killed, no half is taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.slowside.double_buffer import (
    CHUNK_BYTES,
    HEAD_BYTES,
    MAX_NUMBER,
    FrameReader,
    FrameWriter,
    TornFrameError,
    memory_bytes,
)

SLOT, CHUNK = 40, 8


def ends(memory: bytearray | None = None) -> tuple[FrameWriter, FrameReader, memoryview]:
    view = memoryview(bytearray(memory_bytes(SLOT)) if memory is None else memory)
    return FrameWriter(view, CHUNK), FrameReader(view, CHUNK), view


def contents(number: int) -> list[bytes]:
    """Frames of different lengths that have no byte in common."""
    return [bytes([number % 251 + 1]) * (number * 7 % 33), bytes([number % 251 + 1]) * 3]


def test_a_frame_comes_as_it_was_written_and_once() -> None:
    writer, reader, _ = ends()
    assert reader.read() is None
    writer.write(7, -5, [b"ab", b"", memoryview(b"cde")])
    frame = reader.read()
    assert frame is not None
    assert (frame.sequence, frame.number, frame.as_of_ns, bytes(frame.payload)) == (1, 7, -5, b"abcde")
    assert reader.read() is None and reader.frame is None


def test_the_newest_is_read_and_those_between_are_not() -> None:
    writer, reader, _ = ends()
    for number in range(5):
        writer.write(number, number, contents(number))
    frame = reader.read()
    assert frame is not None and frame.number == 4


def test_many_chunks() -> None:
    memory = bytearray(memory_bytes(3 * CHUNK_BYTES))
    payload = bytes(range(256)) * (CHUNK_BYTES // 100)
    FrameWriter(memoryview(memory)).write(1, 1, [payload])
    frame = FrameReader(memoryview(memory)).read()
    assert frame is not None and frame.payload == payload


# Who has how many turns: a frame takes the writer up to 11, the reader up to 9.
TURNS = st.lists(
    st.tuples(st.sampled_from("wwrr"), st.integers(1, 12)) | st.just(("k", 1)), max_size=24
).map(lambda runs: "".join(who * count for who, count in runs))  # fmt: skip


@settings(max_examples=400)
@given(TURNS)
def test_any_interleaving_with_kills_gives_whole_frames_in_order(turns: str) -> None:
    """w: one step of the writer, r: one of the reader, k: the write under way is given up, as by a kill or an error."""
    writer, reader, _ = ends()
    written: dict[int, bytes] = {}
    whole: set[int] = set()
    number, seen = 0, 0
    writing: Iterator[None] | None = None
    reading: Iterator[None] | None = None
    for turn in turns:
        if turn == "w":
            if writing is None:
                number += 1
                written[number] = b"".join(contents(number))
                writing = writer.write_in_steps(number, number, contents(number))
            elif next(writing, "over") == "over":
                whole.add(number)
                writing = None
        elif turn == "k":
            writing = None
        else:
            reading = reader.read_in_steps() if reading is None else reading
            try:
                if next(reading, "over") != "over":
                    continue
            except TornFrameError:
                reading = None
                continue
            reading = None
            frame = reader.frame
            if frame is not None:
                assert frame.number in whole and frame.number > seen
                assert bytes(frame.payload) == written[frame.number] and frame.as_of_ns == frame.number
                seen = frame.number
    # When both are left alone, the newest that was finished since is found.
    writer.write(number + 1, 0, [b"last"])
    frame = reader.read()
    assert frame is not None and (frame.number, bytes(frame.payload)) == (number + 1, b"last")


@pytest.mark.parametrize("steps", range(20))
def test_a_writer_that_is_killed_at_any_step_leaves_the_frame_before(steps: int) -> None:
    writer, reader, _ = ends()
    writer.write(1, 10, [b"one"])
    pieces, taken = [b"two" * 8], 0
    writing = writer.write_in_steps(2, 20, pieces)
    for _ in range(steps):
        if next(writing, "over") == "over":
            break
        taken += 1
    del writing
    frame = reader.read()
    assert frame is not None
    is_whole = taken < steps
    assert (frame.number, bytes(frame.payload)) == ((2, b"two" * 8) if is_whole else (1, b"one"))


@given(st.integers(0, HEAD_BYTES + 11), st.integers(1, 255))
def test_no_damaged_byte_is_taken(at: int, change: int) -> None:
    """Of head or frame, wherever: it is refused, or the byte is one that nobody reads."""
    writer, reader, view = ends()
    writer.write(3, 4, [b"hello world!"])
    slot = HEAD_BYTES + SLOT
    view[slot + at] ^= change
    try:
        frame = reader.read()
    except TornFrameError:
        return
    if frame is not None:
        assert (frame.number, frame.as_of_ns, bytes(frame.payload)) == (3, 4, b"hello world!")
        assert 48 <= at < 56  # between the sum and the last counter


@given(st.binary(min_size=memory_bytes(SLOT), max_size=memory_bytes(SLOT)))
def test_garbage_gives_nothing(garbage: bytes) -> None:
    _, reader, _ = ends(bytearray(garbage))
    try:
        assert reader.read() is None
    except TornFrameError as error:
        assert "head is damaged" in str(error)
    for counter in range(2):
        # Whatever the counters say, the sums are not those of garbage.
        memory = bytearray(garbage)
        offset = counter * (HEAD_BYTES + SLOT)
        memory[offset : offset + 8] = memory[offset + 56 : offset + 64] = (2 + counter).to_bytes(8, "little")
        with pytest.raises(TornFrameError):
            ends(memory)[1].read()


def test_one_that_was_torn_is_not_looked_at_again_and_the_next_is_read() -> None:
    writer, reader, view = ends()
    writer.write(1, 1, [b"one"])
    view[2 * HEAD_BYTES + SLOT] ^= 1
    with pytest.raises(TornFrameError, match="its sum is not that of its bytes"):
        reader.read()
    assert reader.read() is None
    writer.write(2, 2, [b"two"])
    frame = reader.read()
    assert frame is not None and frame.number == 2


def test_overwritten_while_it_is_read() -> None:
    writer, reader, _ = ends()
    writer.write(1, 1, [b"one" * 9])
    reading = reader.read_in_steps()
    for _ in range(3):
        next(reading)
    writer.write(2, 2, [b"two"])
    writer.write(3, 3, [b"three"])
    with pytest.raises(TornFrameError, match="overwritten"):
        for _ in reading:
            pass


@pytest.mark.parametrize(
    ("number", "length", "why"),
    [(1, SLOT + 1, "larger than its slot of 40"), (-1, 1, "not the number"), (MAX_NUMBER + 1, 1, "not the number")],
)
def test_what_is_refused_is_not_begun(number: int, length: int, why: str) -> None:
    writer, _, view = ends()
    writer.write(1, 1, [b"one"])
    before = bytes(view)
    with pytest.raises(ValueError, match=why):
        writer.write(number, 1, [bytes(length)])
    assert bytes(view) == before and writer.sequence == 1


def test_memory_without_two_slots() -> None:
    with pytest.raises(ValueError, match="no two slots"):
        FrameReader(memoryview(bytearray(2 * HEAD_BYTES)))
