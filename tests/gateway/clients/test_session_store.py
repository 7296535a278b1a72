"""Sessions that speak FIX for themselves: what was saved is there again, and the store stays bounded."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from gateway.clients.session_store import SessionStore
from gateway.journal import Journal, JournalError
from protocols.fix.codec import Layout, format_timestamp
from protocols.fix.schedule import Schedule
from protocols.fix.session import Session, SessionConfig, SessionKey, SessionState
from tests.protocols.fix.conversation import SECOND, START_NS, peer_message

KEY = SessionKey("FIX.4.4", "GATE", "CLIENT")
OTHER = SessionKey("FIX.4.4", "GATE", "OTHER", "DESK")
CONFIG = SessionConfig(sent_capacity=50)
REPORT = Layout("8", (11, 37))
MIB = 1 << 20


def opened(directory: Path, **options: int) -> SessionStore:
    return SessionStore(directory, segment_bytes=1 << 16, max_bytes=options.pop("max_bytes", MIB), **options)


def same(state: SessionState, again: SessionState) -> bool:
    numbers = range(state.sent.first_seq_num, state.next_out)
    return (
        (again.next_in, again.next_out, again.sent.first_seq_num)
        == (state.next_in, state.next_out, state.sent.first_seq_num)
        and [again.sent.get(n) for n in numbers] == [state.sent.get(n) for n in numbers]
    )  # fmt: skip


def log_on(state: SessionState, now_ns: int = START_NS, reset: bool = False) -> Session:
    session = Session({state.key: state}.get, now_ns)
    extra = "|141=Y" if reset else ""
    number = 1 if reset else state.next_in
    session.receive_data(peer_message(f"35=A|34={number}|98=0|108=30{extra}", now_ns), now_ns)
    assert session.next_event() is not None and session.is_logged_on
    return session


def test_every_save_survives_a_kill(tmp_path: Path) -> None:
    """The directory is copied as it is after each save, which is what a killed process leaves."""
    choice = random.Random(5)
    store = opened(tmp_path / "store")
    state = store.state(KEY, CONFIG, START_NS)
    assert store.state(KEY, CONFIG, START_NS) is state
    session = log_on(state)
    for step in range(60):
        what = choice.randrange(6)
        if what == 0:
            session.receive_data(peer_message(f"35=1|34={state.next_in}|112=x", START_NS), START_NS)
            session.next_event()
        elif what == 1 and state.next_out > 20:
            session.connection_lost(START_NS)
            session = log_on(state, reset=True)
        elif what == 2:
            session.sequence_reset(state.next_out + choice.randrange(1, 9), START_NS)
        else:
            for _ in range(choice.randrange(80)):
                session.send(REPORT, (b"%d" % choice.randrange(10**9), b"x" * choice.randrange(40)), START_NS)
        session.data_to_send()
        store.save(state, START_NS + step)
        copy = tmp_path / f"copy{step}"
        shutil.copytree(tmp_path / "store", copy)
        again = opened(copy)
        assert same(state, again.state(KEY, CONFIG, START_NS)), step
        again.close()
        shutil.rmtree(copy)
    store.close()


def test_a_restart_goes_on_where_it_was_and_a_client_gets_what_it_missed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    state = store.state(KEY, CONFIG, START_NS)
    session = log_on(state)
    for number in range(5):
        session.send(REPORT, (b"a%d" % number, b"o"), START_NS)
    store.save(state, START_NS)
    store.close()
    store = opened(tmp_path)
    state = store.state(KEY, CONFIG, START_NS)
    session = log_on(state)
    session.receive_data(peer_message("35=2|34=3|7=2|16=0", START_NS), START_NS)
    session.next_event()
    data = session.data_to_send()
    assert [data.count(b"\x0111=a%d\x01" % number) for number in range(5)] == [1] * 5
    assert data.count(b"\x0143=Y\x01") == 6  # the Logon of this connection is filled as a gap
    store.save(state, START_NS)
    store.save(state, START_NS)
    records = store._journal.next_sequence
    store.save(state, START_NS)
    assert store._journal.next_sequence == records, "nothing moved, nothing is written"
    store.close()


def test_a_store_is_bounded_and_forgets_no_session(tmp_path: Path) -> None:
    store = opened(tmp_path)
    other = store.state(OTHER, CONFIG, START_NS)
    other_session = Session({OTHER: other}.get, START_NS)
    assert other_session is not None
    other.next_in, other.next_out = 7, 1
    store.save(other, START_NS)
    store.close()
    store = opened(tmp_path)  # nobody asks for the other one in this run
    state = store.state(KEY, CONFIG, START_NS)
    session = log_on(state)
    largest = 0
    for _ in range(600):
        for _ in range(40):
            session.send(REPORT, (b"x" * 150, b"o"), START_NS)
        session.data_to_send()
        store.save(state, START_NS)
        sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
        largest = max(largest, sum(sizes))
    assert largest < 3 * MIB, largest
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    assert int(store._path.name) > 3
    store.close()
    again = opened(tmp_path)
    assert same(state, again.state(KEY, CONFIG, START_NS))
    assert again.state(OTHER, CONFIG, START_NS).next_in == 7
    again.close()


def test_a_batch_larger_than_a_record_goes_in_pieces(tmp_path: Path) -> None:
    store = opened(tmp_path)
    state = store.state(KEY, SessionConfig(sent_capacity=2000), START_NS)
    session = log_on(state)
    for _ in range(1000):
        session.send(REPORT, (b"x" * 300, b"o"), START_NS)
    store.save(state, START_NS)
    assert store._journal.next_sequence > 30
    store.close()
    again = opened(tmp_path)
    assert same(state, again.state(KEY, SessionConfig(sent_capacity=2000), START_NS))
    again.close()


def test_an_unfinished_generation_is_not_used(tmp_path: Path) -> None:
    store = opened(tmp_path)
    state = store.state(KEY, CONFIG, START_NS)
    log_on(state)
    store.save(state, START_NS)
    store.close()
    Journal.open(tmp_path / "00000002", segment_bytes=1 << 16).close()
    again = opened(tmp_path)
    found = again.state(KEY, CONFIG, START_NS)
    assert same(state, found) and not (tmp_path / "00000002").exists()
    with pytest.raises(JournalError, match="in use"):
        opened(tmp_path)
    again.close()
    found.next_in += 1
    with pytest.raises(JournalError, match="closed"):
        again.save(found, START_NS)


def test_unknown_records_are_no_sessions(tmp_path: Path) -> None:
    opened(tmp_path).close()
    journal = Journal.open(tmp_path / "00000001", segment_bytes=1 << 16)
    journal.append(99, b"", 0)
    journal.close()
    with pytest.raises(JournalError, match="unknown record type 99"):
        opened(tmp_path)


def test_a_schedule_knows_when_the_numbers_were_last_in_use(tmp_path: Path) -> None:
    """Restarted in the next day's session: both sides begin at 1."""
    config = SessionConfig(schedule=Schedule(0, 0))
    store = opened(tmp_path)
    state = store.state(KEY, config, START_NS)
    session = log_on(state)
    session.send(REPORT, (b"a", b"o"), START_NS)
    store.save(state, START_NS)
    store.close()
    tomorrow = START_NS + 86_400 * SECOND
    for now, next_out in ((START_NS + SECOND, 4), (tomorrow, 2)):
        again = opened(tmp_path)
        state = again.state(KEY, config, now)
        assert (state.next_in, state.next_out) == (2, 3)
        number = 2 if now < tomorrow else 1
        session = Session({KEY: state}.get, now)
        session.receive_data(peer_message(f"35=A|34={number}|98=0|108=30|52={_text(now)}", now), now)
        assert session.next_event() is not None and state.next_out == next_out
        again.close()


def _text(now_ns: int) -> str:
    return format_timestamp(now_ns).decode()
