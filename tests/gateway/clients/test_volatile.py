"""Messages that are neither journalled nor kept: their numbers are durable before they leave, and a replay agrees."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from gateway import records
from gateway.journal import read
from gateway.recovery import replay
from tests.gateway.readers import VERSIONS, BookFeed, Client, config_of, shown
from tests.gateway.rig import BTC, Rig, SmallDisk, accepted, full_journal, opened

D = Decimal


def numbers(rig: Rig, kind: type[records.Record] = records.VolatileSent) -> list[tuple[int, int]]:
    return [(record.next_in, record.next_out) for record in rig.of_type(kind)]


def reading(rig: Rig, version: str = "FIX.4.4") -> tuple[BookFeed, Client]:
    """A client that reads a book of one level."""
    feed = BookFeed(rig)
    feed.set(BTC, [(D(1), D(1))], [])
    client = Client(rig, version)
    client.subscribe(b"one", BTC)
    client.turn()
    return feed, client


def test_the_numbers_are_written_before_the_bytes_leave_and_once_for_a_batch(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        client = Client(rig)
        state = rig.core.reports.sessions["ALPHA"]
        for number in range(5):
            client.subscribe(b"%d" % number, BTC)
        feed.set(BTC, [(D(1), D(1))], [])
        rig.log.clear()
        rig.core.inquiries.run(rig.now_ns)
        assert rig.log == [("append", "VolatileSent")]
        assert client.link.session.has_data_to_send, "and only then is there something to write"
        assert numbers(rig)[-1] == (state.next_in, state.next_out) == (client.state.next_out, 7)
        assert len(client.pump()) == 5
        rig.check_replay()


def test_a_request_is_counted_by_the_record_of_its_batch_answered_or_not(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        client = Client(rig)
        client.subscribe(b"one", BTC)
        assert numbers(rig) == [(3, 2)]
        client.unsubscribe(b"one")
        client.unsubscribe(b"one")
        assert numbers(rig) == [(3, 2), (4, 2), (5, 3)]
        rig.check_replay()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resend_fills_them_and_brings_the_reports_between(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        feed, client = reading(rig, version)
        handling = ((21, b"1"),) if version == "FIX.4.2" else ()
        client.ask("D", (1, b"alpha"), (11, b"o1"), *handling, (38, 100), (40, b"2"), (44, 59_000), (54, b"1"),
                   (55, BTC.encode()), (59, b"1"), (60, b"20251009-08:53:20.000"))  # fmt: skip
        for amount in range(2, 30):
            feed.change(BTC, [(D(1), D(amount))], [])
            client.turn()
            if amount == 15:
                rig.hear(accepted(rig.only_order()))
        data = client.ask_again(1)
        messages = data.split(b"8=FIX")[1:]
        kinds = [part.partition(b"\x0135=")[2].partition(b"\x01")[0] for part in messages]
        assert kinds == [b"4", b"8", b"4"], "one gap, the report, one gap"
        assert b"\x01123=Y\x01" in messages[0]
        assert b"\x0111=o1\x01" in messages[1]
        rig.check_replay()


def test_a_restart_goes_on_with_the_numbers(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, client = reading(rig)
        used = rig.core.reports.sessions["ALPHA"].next_out
        again = rig.restart()
        state = again.core.reports.sessions["ALPHA"]
        assert (state.next_in, state.next_out) == (client.state.next_out, used)
        again.journal.close()


def test_what_was_asked_in_a_batch_is_answered_before_what_is_told_later(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed, client = reading(rig)
        volatile = rig.pipeline.volatile
        volatile.answer("ALPHA", "Y", {262: b"first", 281: b"0"})
        feed.change(BTC, [(D(1), D(2))], [])
        told = client.turn()
        assert [m.msg_type for m in told] == ["Y", "X"]


def test_nobody_is_there(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, client = reading(rig)
        client.disconnect()
        before = rig.core.reports.sessions["ALPHA"].next_out
        assert not rig.pipeline.volatile.publish("ALPHA", [("Y", b"262=x\x01")], rig.now_ns)
        rig.pipeline.volatile.answer("ALPHA", "Y", {262: b"x"})
        rig.flush()
        assert rig.core.reports.sessions["ALPHA"].next_out == before
        assert rig.pipeline.volatile.dropped == 1
        rig.check_replay()


def test_a_journal_that_can_not_be_written_sends_nothing_volatile(tmp_path: Path) -> None:
    """Requests are refused, subscribers wait; both without the reserve that is for cancels and fills."""
    disk = SmallDisk()
    with opened(tmp_path, files=disk, segment_bytes=1 << 13) as rig:
        feed, client = reading(rig)
        disk.is_full = True
        sent = rig.pipeline.volatile.sent
        amount = 1
        while not any("journal" in alert for alert in rig.monitor.alerts):
            amount += 1
            feed.change(BTC, [(D(1), D(amount))], [])
            client.turn()
            assert amount < 1000
        assert rig.pipeline.volatile.sent == sent + amount - 2
        assert client.turn() == []
        (refusal,) = client.ask("e", (55, BTC.encode()), (263, 0), (324, b"r1"))
        assert shown(refusal, 372, 380, 58) == (b"j", b"e", b"4", b"journal unavailable: no new risk")
        assert len(client.ask("F", (11, b"c"), (41, b"o"), (54, b"1"), (55, BTC.encode()),
                              (60, b"20251009-08:53:20.000"))) == 1, "cancels have the reserve"  # fmt: skip
        disk.is_full = False
        rig.journal.close()
        again = Rig(rig.directory)
        state, live = again.core.reports.sessions["ALPHA"], rig.core.reports.sessions["ALPHA"]
        assert state.next_out <= live.next_out
        again.journal.close()


def test_a_subscriber_who_was_not_told_begins_again(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as rig:
        feed, client = reading(rig)
        with full_journal(rig):
            feed.change(BTC, [(D(2), D(2))], [])
            assert client.turn() == []
        (whole,) = client.turn()
        assert shown(whole, 268) == (b"W", b"2")
        rig.check_replay()


def test_a_replay_knows_no_volatile_message(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed, client = reading(rig)
        for amount in range(2, 10):
            feed.change(BTC, [(D(1), D(amount))], [])
            client.turn()
        state = replay(read(rig.directory)).reports.sessions["ALPHA"]
        assert state.next_out == rig.core.reports.sessions["ALPHA"].next_out
        assert len(state.sent) == 0
