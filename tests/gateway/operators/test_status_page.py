"""The status page and the journal's tail: read by another process while they are written."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admin.rules import conditions
from gateway.config import Admin
from gateway.journal import Journal, JournalDamaged, Tail, read
from gateway.operators.showing import Showing
from gateway.operators.status_page import NAME, ROWS_A_STEP, StatusPage, StatusPageError, read_status
from tests.gateway.rig import CONFIG, opened

RULES = Admin(tokens_file=Path("t"))


def test_what_is_published_is_read(tmp_path: Path) -> None:
    page = StatusPage(tmp_path, 1 << 16)
    with pytest.raises(StatusPageError, match="nothing has been published"):
        read_status(tmp_path)
    for number in range(1, 6):
        page.publish(orjson.dumps({"n": number}), 1_000 + number)
        status = read_status(tmp_path)
        assert (status.number, status.time_ns, status.snapshot) == (number, 1_000 + number, {"n": number})
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    with pytest.raises(StatusPageError, match="longer than"):
        page.publish(b"x" * (1 << 16), 1)
    assert read_status(tmp_path).number == 5
    page.close()
    with pytest.raises(StatusPageError, match="no gateway runs"):
        read_status(tmp_path)


@pytest.mark.parametrize("count", [0, 1, ROWS_A_STEP - 1, ROWS_A_STEP, ROWS_A_STEP + 1, 3 * ROWS_A_STEP])
def test_accounts_are_made_a_few_at_a_step(tmp_path: Path, count: int) -> None:
    page = StatusPage(tmp_path)
    names = [f"a{number}" for number in range(count)]
    steps = page.publish_in_steps({"x": 1}, lambda some: [{"account": name} for name in some], names, 7)
    assert sum(1 for _ in steps) == -(-count // ROWS_A_STEP)
    assert read_status(tmp_path).snapshot == {"x": 1, "accounts": [{"account": name} for name in names]}
    page.close()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 200, b"MGSTATUS" + bytes(200)])
def test_another_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(StatusPageError):
        read_status(tmp_path)


def test_figures_that_no_check_would_use_are_told_as_unknown(tmp_path: Path) -> None:
    """A page that is new each second does not make new what was priced a minute ago: account, wallet, desk, ladder."""
    text = CONFIG.replace('name = "alpha"', 'name = "alpha"\ndesk = "d"', 1) + '[[desk]]\nname = "d"\n'
    with opened(tmp_path, config=text) as rig:
        core, page = rig.core, StatusPage(tmp_path)
        showing = Showing(core, page, lambda ages: {"levels": core.level_rows(rig.now_ns)})

        def shown() -> dict[str, Any]:
            for _ in range(2):  # the accounts nearest to their margin are known to the second
                for _ in showing.steps(rig.now_ns):
                    pass
            return read_status(tmp_path).snapshot

        def figures(snapshot: dict[str, Any]) -> set[float | None]:
            rows = [*snapshot["accounts"], *snapshot["levels"]]
            return {
                row[name] for row in rows for name in ("equity", "initial_margin", "maintenance_margin") if name in row
            }

        limit_ns = core.market.generation_max_age_ns
        rig.now_ns = core.market.generation_time_ns + limit_ns
        known = shown()
        assert None not in figures(known) and len(known["ladder"]["rows"]) == 3 and len(known["levels"]) == 1
        assert list(conditions(known, RULES)) == []
        rig.now_ns += 1
        stale = shown()
        assert figures(stale) == {None} and stale["ladder"]["rows"] == []
        assert {one.text for one in conditions(stale, RULES)} == {
            f"account {name}: margin unknown" for name in ("alpha", "beta", "gamma")
        }
        page.close()


def test_readers_see_whole_snapshots(tmp_path: Path) -> None:
    page = StatusPage(tmp_path, 1 << 16)
    page.publish(orjson.dumps({"n": 0, "text": ""}), 0)
    is_over = threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            page.publish(orjson.dumps({"n": number, "text": str(number % 10) * (number % 5000)}), number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        last = 0
        for _ in range(300):
            status = read_status(tmp_path)
            number = status.snapshot["n"]
            assert status.snapshot["text"] == str(number % 10) * (number % 5000) and number >= last
            last = number
    finally:
        is_over.set()
        writer.join()
        page.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 30))), st.integers(1, 20))
def test_a_tail_reads_what_a_reader_reads(
    tmp_path_factory: pytest.TempPathFactory, appends: list[tuple[int, int]], limit: int
) -> None:
    directory = tmp_path_factory.mktemp("tail")
    journal = Journal.open(directory, segment_bytes=1 << 16)
    tail = Tail(directory)
    found, time_ns = [], 0
    for size, count in appends:
        for _ in range(count):
            time_ns += 1
            journal.append(7, b"x" * size, time_ns, True)
        new = tail.poll(limit)
        assert len(new) <= limit
        found += new
    while new := tail.poll(limit):
        found += new
    journal.close()
    assert found == list(read(directory)) and len(found) == time_ns
    tail.close()


def test_a_tail_goes_on_after_a_crash(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=1 << 16)
    tail = Tail(tmp_path)
    assert tail.poll(10) == []
    journal.append(1, b"one", 1, True)
    assert [entry.payload for entry in tail.poll(10)] == [b"one"]
    journal.close()
    journal = Journal.open(tmp_path, segment_bytes=1 << 16)
    journal.append(1, b"two", 2, True)
    journal.close()
    assert [entry.payload for entry in tail.poll(10)] == [b"two"]
    tail.close()


def test_a_journal_that_was_exchanged_is_damage(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=1 << 16)
    for number in range(700):
        journal.append(1, b"x" * 100, number, True)
    journal.close()
    tail = Tail(tmp_path)
    tail.poll(10_000)
    tail.next_sequence += 1
    journal = Journal.open(tmp_path, segment_bytes=1 << 16)
    journal.append(1, b"y", 1, True)
    journal.close()
    with pytest.raises(JournalDamaged):
        tail.poll(10)
    tail.close()
