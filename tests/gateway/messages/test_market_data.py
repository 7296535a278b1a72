"""MarketDataRequest(V) and what follows it, in every version, as bytes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.messages.market_data import FIRST_WAIT_NS
from gateway.venues.feeds import LINGER_NS
from protocols.fix.codec import Message
from protocols.venues.trade_tape import TRADES_KEPT
from tests.gateway.readers import VERSIONS, BookFeed, Client, ClientBook, config_of, entries, shown
from tests.gateway.rig import BTC, ETH, MS, SECOND, VENUE, Rig, opened

D = Decimal
SYMBOL = BTC.encode()


def with_book(rig: Rig) -> BookFeed:
    feed = BookFeed(rig)
    feed.set(BTC, [(D("59999.5"), D(100)), (D(59999), D(50))], [(D(60001), D(30)), (D("60001.5"), D(10))])
    return feed


def body(message: Message) -> bytes:
    """The message's bytes from the first field of its body on, readable."""
    raw = message.raw
    begin = min(at for tag in (b"\x0155=", b"\x01262=") if (at := raw.find(tag)) > 0)
    return raw[begin + 1 : -8].replace(b"\x01", b"|")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscription_in_every_version(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        feed = with_book(rig)
        client = Client(rig, version)
        assert client.subscribe(b"one", BTC, kinds=b"01236") == []
        (snapshot,) = client.turn()
        last = b"" if version != "FIXT.1.1" else b"|779=20251009-08:53:20.000"
        assert body(snapshot) == (
            b"55=BTC-PERPETUAL|262=one|268=6|269=0|270=59999.5|271=100|269=0|270=59999|271=50|269=1|270=60001|271=30"
            b"|269=1|270=60001.5|271=10|269=6|270=60000|272=20251009|273=08:53:20.000"
            b"|269=3|270=60000|272=20251009|273=08:53:20.000" + last
        )
        assert client.turn() == []
        feed.change(BTC, [(D(59999), D(0)), (D("59999.5"), D(70)), (D(59998), D(5))], [])
        feed.trade(BTC, "t1", "60001", "20")
        rig.mark(BTC, 60_010.25)
        (increment,) = client.turn()
        assert increment.msg_type == "X"
        assert body(increment) == (
            b"262=one|268=6|279=2|269=0|55=BTC-PERPETUAL|270=59999|279=0|269=0|55=BTC-PERPETUAL|270=59998|271=5"
            b"|279=1|269=0|55=BTC-PERPETUAL|270=59999.5|271=70"
            b"|279=0|269=2|278=t1|55=BTC-PERPETUAL|270=60001|271=20|272=20251009|273=08:53:20.000"
            b"|279=1|269=6|55=BTC-PERPETUAL|270=60010.25|272=20251009|273=08:53:20.000"
            b"|279=1|269=3|55=BTC-PERPETUAL|270=60010.25|272=20251009|273=08:53:20.000"
        )
        assert client.unsubscribe(b"one", BTC) == []
        feed.change(BTC, [(D(59998), D(6))], [])
        assert client.turn() == []
        rig.check_replay()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_snapshot_is_told_once(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        feed = with_book(rig)
        client = Client(rig, version)
        assert client.subscribe(b"s", BTC, depth=1, action=0, update=None) == []
        (snapshot,) = client.turn()
        assert [(e[269], e[270]) for e in entries(snapshot)] == [(b"0", b"59999.5"), (b"1", b"60001")]
        feed.change(BTC, [(D("59999.5"), D(1))], [])
        assert client.turn() == []
        assert rig.core.inquiries.market_data.subscriptions == 0
        assert client.subscribe(b"s", BTC, action=0) == [], "the id is free again"


@pytest.mark.parametrize("version", VERSIONS)
def test_full_refreshes_say_the_whole_each_time(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        feed = with_book(rig)
        client = Client(rig, version)
        client.subscribe(b"full", BTC, kinds=b"02", depth=1, update=0)
        client.turn()
        feed.change(BTC, [(D(60000), D(2))], [])
        (again,) = client.turn()
        assert shown(again, 262) == (b"W", b"full")
        assert [(e[269], e[270]) for e in entries(again)] == [(b"0", b"60000")]
        feed.trade(BTC, "t1", "60000")
        feed.trade(BTC, "t2", "60001")
        (last,) = client.turn()
        assert [(e[269], e[270]) for e in entries(last)] == [(b"0", b"60000"), (b"2", b"60001")]
        feed.change(BTC, [(D(59000), D(2))], [])
        assert client.turn() == [], "below the depth nothing has changed"


def refused(version: str) -> list[tuple[dict[str, Any], bytes, bytes]]:
    """Arguments of a request -> MDReqRejReason(281) and a part of Text(58)."""
    rows: list[tuple[dict[str, Any], bytes, bytes]] = [
        ({"symbols": ("DOGE",)}, b"0", b"DOGE is not listed"),
        ({"symbols": (BTC, "X")}, b"0", b"X is not listed"),
        ({"symbols": ()}, b"0", b"no Symbol(55)"),
        ({"depth": 5}, b"5", b"0 full, 1 or 10"),
        ({"depth": -1}, b"5", b"0 full, 1 or 10"),
        ({"update": None}, b"6", b"MDUpdateType(265)"),
        ({"extra": ((266, b"N"),)}, b"7", b"AggregatedBook(266)"),
        ({"kinds": b"04"}, b"8", b"MDEntryType(269)"),
        ({"kinds": b""}, b"8", b"MDEntryType(269)"),
        ({"md_req_id": b"x" * 65}, b"", b"longer than 64"),
        ({"md_req_id": b"taken"}, b"1", b"has this MDReqID"),
        ({"md_req_id": b"taken", "action": 0}, b"1", b"has this MDReqID"),
        ({"md_req_id": b"unknown", "action": 2}, b"", b"no subscription"),
        ({"symbols": (BTC, ETH, BTC, ETH, *[BTC] * 5)}, b"", b""),
    ]
    if version != "FIX.4.2":
        rows += [
            ({"extra": ((546, b"1"),)}, b"A", b"Scope(546)"),
            ({"extra": ((547, b"Y"),)}, b"C", b"deleted explicitly"),
        ]
    return rows


@pytest.mark.parametrize("version", VERSIONS)
def test_requests_that_are_refused(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version, "market_data_subscriptions = 3")) as rig:
        with_book(rig)
        client = Client(rig, version)
        assert client.subscribe(b"taken", BTC) == []
        for changes, reason, text in refused(version):
            arguments = {"md_req_id": b"id", "symbols": (BTC,)} | changes
            told = client.subscribe(arguments.pop("md_req_id"), *arguments.pop("symbols"), **arguments)
            if not reason and not text:
                assert told == []  # the same symbol twice is one subscription
                assert client.unsubscribe(b"id") == []
                continue
            (refusal,) = told
            assert shown(refusal, 281) == (b"Y", reason), changes
            assert text in (refusal.get(58) or b"")
        assert rig.core.inquiries.market_data.subscriptions == 1
        assert client.subscribe(b"two", BTC, ETH) == []
        (refusal,) = client.subscribe(b"three", BTC)
        assert shown(refusal, 281, 58) == (b"Y", b"2", b"more than 3 subscriptions")
        rig.check_replay()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_of_the_dictionary_is_a_reject(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)
        client.ask("V", (262, b"x"), (263, 1), (264, 0), (265, 1), (267, 2), (269, b"0"), (146, 1), (55, SYMBOL))
        assert rig.core.inquiries.market_data.subscriptions == 0
        assert client.session.is_logged_on


@pytest.mark.parametrize("version", VERSIONS)
def test_a_book_that_is_gone_is_told_as_empty_and_comes_back_whole(tmp_path: Path, version: str) -> None:
    """Never a silently stale book: a gap, or a venue that is down, is told with its reason."""
    with opened(tmp_path, config=config_of(version)) as rig:
        feed = with_book(rig)
        client = Client(rig, version)
        client.subscribe(b"one", BTC)
        client.turn()
        feed.book(BTC).mark_unusable("gap: follows 7, last was 5")
        (empty,) = client.turn()
        kinds = [b"J"] if version == "FIXT.1.1" else [b"0", b"1"]
        assert shown(empty, 262) == (b"W", b"one")
        assert [(e[269], e[276], e[58]) for e in entries(empty)] == [
            (kind, b"B", b"gap: follows 7, last was 5") for kind in kinds
        ]
        assert client.turn() == []
        feed.set(BTC, [(D(59990), D(1))], [])
        (whole,) = client.turn()
        assert [(e[269], e[270]) for e in entries(whole)] == [(b"0", b"59990")]
        rig.core.market.live_venues.discard(VENUE)
        news, empty = sorted(client.turn(), key=lambda message: message.msg_type)
        assert shown(news, 148) == (b"B", b"Venue deribit is down")
        assert b"venue deribit is connecting, not live" in (empty.get(58) or b"")
        assert client.turn() == []


def test_both_sides_empty_is_a_usable_book(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        feed.set(BTC, [], [])
        client = Client(rig)
        client.subscribe(b"one", BTC)
        (snapshot,) = client.turn()
        assert [(e[269], e[276], e[58]) for e in entries(snapshot)] == [
            (b"0", b"B", b"nothing yet"), (b"1", b"B", b"nothing yet")
        ]  # fmt: skip
        feed.change(BTC, [(D(1), D(1))], [])
        (increment,) = client.turn()
        assert [(e[279], e[270]) for e in entries(increment)] == [(b"0", b"1")]


def test_a_mark_that_is_stale_is_taken_back(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        BookFeed(rig)
        client = Client(rig)
        client.subscribe(b"one", BTC, kinds=b"36")
        (snapshot,) = client.turn()
        known = ClientBook()
        known.apply(snapshot)
        assert known.quotes == {b"6": D(60000), b"3": D(60000)}
        rig.now_ns += 2001 * MS
        (gone,) = client.turn()
        assert [(e[279], e[269], e[58]) for e in entries(gone)] == [
            (b"2", b"6", b"the mark is stale"), (b"2", b"3", b"the mark is stale")
        ]  # fmt: skip
        known.apply(gone)
        rig.mark(BTC, 60_001.0)
        (back,) = client.turn()
        known.apply(back)
        assert known.quotes == {b"6": D(60001), b"3": D(60001)}
        assert client.turn() == []


def test_an_instrument_without_a_mark(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        BookFeed(rig)
        rig.core.market.marks[0] = None
        client = Client(rig)
        client.subscribe(b"one", BTC, kinds=b"6")
        (snapshot,) = client.turn()
        assert [(e[269], e[58]) for e in entries(snapshot)] == [(b"6", b"nothing yet")]


def test_trades_come_once_each_and_the_last_ones_to_who_is_far_behind(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        feed.trade(BTC, "before")
        client = Client(rig)
        client.subscribe(b"one", BTC, kinds=b"2")
        (snapshot,) = client.turn()
        assert [e[269] for e in entries(snapshot)] == [b"2"]
        feed.trade(BTC, "t1")
        feed.trade(BTC, "t2")
        known = ClientBook()
        (increment,) = client.turn()
        known.apply(increment)
        assert known.trades == [b"t1", b"t2"]
        for number in range(TRADES_KEPT + 20):
            feed.trade(BTC, f"u{number}")
        (increment,) = client.turn()
        known.apply(increment)
        assert known.trades[2:] == [b"u%d" % number for number in range(20, TRADES_KEPT + 20)]
        feed.tapes.clear()  # the venue's session was begun anew
        feed.trade(BTC, "v0")
        (increment,) = client.turn()
        known.apply(increment)
        assert known.trades[-1] == b"v0"


def test_books_are_followed_for_as_long_as_somebody_reads_them(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = with_book(rig)
        one, two = Client(rig), Client(rig, comp_id="BETA")
        one.subscribe(b"a", BTC)
        two.subscribe(b"a", BTC, kinds=b"012")
        two.subscribe(b"b", ETH, kinds=b"6")
        assert feed.wanted == [({BTC}, set()), ({BTC}, {BTC})], "a mark needs no book"
        one.turn()
        one.unsubscribe(b"a")
        two.disconnect()
        rig.core.inquiries.run(rig.now_ns)
        assert rig.core.inquiries.market_data.subscriptions == 0
        assert len(feed.wanted) == 2, "who comes back in a moment finds them"
        rig.now_ns += LINGER_NS + 1
        rig.core.inquiries.run(rig.now_ns)
        assert feed.wanted[2:] == [(set(), set())]


def test_the_first_snapshot_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        client = Client(rig)
        client.subscribe(b"quick", BTC, action=0)
        client.subscribe(b"never", ETH, action=0)
        assert client.turn() == []
        assert rig.core.inquiries.is_urgent
        feed.set(BTC, [(D(1), D(1))], [])
        (snapshot,) = client.turn()
        assert shown(snapshot, 262, 270) == (b"W", b"quick", b"1")
        rig.now_ns += FIRST_WAIT_NS
        (empty,) = client.turn()
        assert shown(empty, 262, 58) == (b"W", b"never", b"no snapshot yet")
        assert not rig.core.inquiries.is_urgent


def test_subscriptions_end_with_their_connection(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = with_book(rig)
        client = Client(rig)
        client.subscribe(b"one", BTC)
        client.turn()
        client.disconnect()
        client.connect()
        feed.change(BTC, [(D(1), D(1))], [])
        assert client.turn() == []
        assert client.subscribe(b"one", BTC) == [], "the id is free"
        assert [m.msg_type for m in client.turn()] == ["W"]


def test_sub_books_of_one_instrument_are_worked_out_once(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        with_book(rig)
        client, other = Client(rig), Client(rig, comp_id="BETA")
        for number in range(10):
            client.subscribe(b"%d" % number, BTC)
            other.subscribe(b"%d" % number, BTC, depth=10)
        streams = rig.core.inquiries.market_data._streams
        assert {symbol: sorted(by_depth) for symbol, by_depth in streams.items()} == {BTC: [0, 10]}


def test_a_venue_that_the_configuration_has_dropped(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        client = Client(rig)  # its instruments are in the journal; no feed is connected
        client.subscribe(b"one", BTC)
        (empty,) = client.turn()
        assert b"not configured" in (empty.get(58) or b"")


def test_a_fault_of_ours_is_an_alert_and_stops_no_trading(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        client = Client(rig)

        class BrokenFeed(BookFeed):
            def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
                raise ValueError("broken")

        BrokenFeed(rig)
        (refusal,) = client.subscribe(b"one", BTC)
        assert shown(refusal, 372, 380, 58) == (b"j", b"V", b"4", b"not available")
        assert any("ValueError: broken" in alert for alert in rig.monitor.alerts)
        rig.check_replay()


def test_depth_is_that_of_the_book(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        feed.set(BTC, [(D(n), D(1)) for n in range(1, 30)], [(D(n), D(1)) for n in range(40, 70)])
        client = Client(rig)
        for depth in (0, 1, 10):
            client.subscribe(b"%d" % depth, BTC, depth=depth)
        books = {}
        for message in client.turn():
            books[message.get(262)] = known = ClientBook()
            known.apply(message)
        assert {key: len(known.sides[b"0"]) for key, known in books.items()} == {b"0": 29, b"1": 1, b"10": 10}
        feed.change(BTC, [(D(29), D(0))], [])
        for message in client.turn():
            books[message.get(262)].apply(message)
        assert books[b"10"].sides[b"0"] == dict(feed.book(BTC).bids.depth(10))
        assert books[b"1"].sides[b"0"] == {D(28): D(1)}


def test_seconds_without_news_cost_no_record(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        with_book(rig)
        client = Client(rig)
        client.subscribe(b"one", BTC)
        client.turn()
        count = len(rig.entries())
        for _ in range(20):
            rig.now_ns += SECOND // 10
            client.turn()
        assert len(rig.entries()) == count
