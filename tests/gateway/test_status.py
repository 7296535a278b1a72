"""The status writer drops what nobody reads, writes the last line, and tells when its reader is gone."""

from __future__ import annotations

import threading
from typing import Any

from gateway.status import StatusWriter


def test_a_reader_that_stalls_costs_snapshots_and_nothing_else() -> None:
    may_write, is_writing, lines = threading.Event(), threading.Event(), []

    def write(snapshot: dict[str, Any]) -> None:
        is_writing.set()
        assert may_write.wait(60)
        lines.append(snapshot["n"])

    status = StatusWriter(write, lambda: None)
    status.publish({"n": 0})
    assert is_writing.wait(60)
    for n in range(1, 100):
        status.publish({"n": n})  # returns at once, though nothing is read
    may_write.set()
    status.close()
    assert lines == [0, 99]


def test_a_reader_that_is_gone_is_told_of_once() -> None:
    broken = threading.Event()

    def write(snapshot: dict[str, Any]) -> None:
        raise BrokenPipeError

    status = StatusWriter(write, broken.set)
    status.publish({})
    assert broken.wait(60)
    status.publish({})
    status.close()


def test_with_nothing_to_write_it_just_ends() -> None:
    StatusWriter(lambda snapshot: None, lambda: None).close()
