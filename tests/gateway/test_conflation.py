"""What subscribers rebuild from W and X equals the venue's book, whatever comes between: changes, gaps, a venue that
goes, clients that do not read. Bytes over real sessions; a strict client that knows every level it is told of."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import book_stream
from gateway.book_stream import SNAPSHOT_LEVELS, BookStream, text_of
from protocols.venues.orderbook import OrderBook, Touched
from tests.gateway.readers import BookFeed, Client, ClientBook
from tests.gateway.rig import BTC, VENUE, Rig, opened

D = Decimal
DEPTHS = (0, 1, 10)
SESSIONS = ("ALPHA", "BETA")
BACKLOG = 1 << 20


class Market:
    """A rig with two clients, each with a subscription of every depth and update type to the same book."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.feed = BookFeed(rig)
        self.backlogs = dict.fromkeys(SESSIONS, 0)
        rig.core.inquiries.watch_backlogs(self.backlogs.__getitem__)
        self.clients = {name: Client(rig, comp_id=name) for name in SESSIONS}
        self.examples = 0
        self.books: dict[tuple[str, bytes], tuple[int, ClientBook]] = {}

    def begin(self) -> None:
        self.end()  # where an example has failed half-way
        self.examples += 1
        self.feed.books.clear()
        self.rig.core.market.live_venues.add(VENUE)
        self.backlogs.update(dict.fromkeys(SESSIONS, 0))
        for name, client in self.clients.items():
            for depth in DEPTHS:
                for update in (0, 1):
                    md_req_id = b"%d-%d-%d" % (self.examples, depth, update)
                    assert client.subscribe(md_req_id, BTC, depth=depth, update=update) == []
                    self.books[name, md_req_id] = depth, ClientBook()

    def end(self) -> None:
        for name, md_req_id in self.books:
            self.clients[name].unsubscribe(md_req_id, BTC)
        self.books.clear()
        assert self.rig.core.inquiries.market_data.subscriptions == 0
        assert not self.rig.core.inquiries.market_data._streams

    def act(self, action: str, value: Any) -> None:
        feed, live = self.feed, self.rig.core.market.live_venues
        if action == "change":
            feed.change(BTC, *value)
        elif action == "snapshot":
            feed.set(BTC, *value)
        elif action == "gap":
            feed.book(BTC).mark_unusable("gap: a message is missing")
        elif action == "venue":
            live.discard(VENUE) if value else live.add(VENUE)
        else:
            self.backlogs[SESSIONS[value[0]]] = BACKLOG if value[1] else 0

    def turn(self) -> None:
        self.rig.now_ns += 100_000_000
        self.rig.core.inquiries.run(self.rig.now_ns)
        self.rig.flush()
        for name, client in self.clients.items():
            told = [message for message in client.pump() if message.msg_type != "B"]
            assert not (told and self.backlogs[name]), "told although it does not read"
            for message in told:
                self.books[name, message.get(262) or b""][1].apply(message)

    def check(self) -> None:
        book = self.feed.book(BTC)
        is_usable = book.is_usable and VENUE in self.rig.core.market.live_venues
        for (name, md_req_id), (depth, known) in self.books.items():
            if self.backlogs[name]:
                continue
            if not is_usable:
                assert known.trouble
                continue
            for kind, side in ((b"0", book.bids), (b"1", book.asks)):
                count = len(side.levels) if depth == 0 else depth
                assert known.sides[kind] == dict(side.depth(count)), (name, md_req_id)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with opened(tmp_path_factory.mktemp("conflation"), segment_bytes=1 << 22) as rig:
        yield Market(rig)
        rig.check_replay()


amounts = st.integers(0, 3).map(D)
# Bids below 20, offers from 20 on: never crossed; a few levels more than the depth of 10.
bids = st.lists(st.tuples(st.integers(5, 19).map(D), amounts), max_size=6)
asks = st.lists(st.tuples(st.integers(20, 35).map(D), amounts), max_size=6)
sides = st.tuples(bids, asks)
many = st.tuples(st.lists(st.tuples(st.integers(5, 19).map(D), amounts), max_size=16),
                 st.lists(st.tuples(st.integers(20, 35).map(D), amounts), max_size=16))  # fmt: skip
actions = st.one_of(
    st.tuples(st.just("change"), sides),
    st.tuples(st.just("change"), many),
    st.tuples(st.just("snapshot"), many),
    st.tuples(st.just("gap"), st.none()),
    st.tuples(st.just("venue"), st.booleans()),
    st.tuples(st.just("slow"), st.tuples(st.integers(0, 1), st.booleans())),
    st.tuples(st.just("turn"), st.none()),
    st.tuples(st.just("turn"), st.none()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, max_size=25), many)
def test_what_is_rebuilt_equals_the_book(market: Market, script: list[tuple[str, Any]], first: Any) -> None:
    market.begin()
    market.feed.set(BTC, *first)
    for action, value in script:
        if action == "turn":
            market.turn()
            market.check()
        else:
            market.act(action, value)
    # In the end everybody reads, the venue is live and its book is good.
    market.act("venue", False)
    for at in range(len(SESSIONS)):
        market.act("slow", (at, False))
    if not market.feed.book(BTC).is_usable:
        market.act("snapshot", first)
    market.turn()
    market.check()
    assert all(not known.trouble or known.trouble == b"nothing yet" for _, known in market.books.values())
    quiet = [known.messages for _, known in market.books.values()]
    market.turn()
    assert [known.messages for _, known in market.books.values()] == quiet, "told although nothing has changed"
    market.end()


def test_who_falls_behind_gets_one_message_for_all_that_he_missed(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        market = Market(rig)
        market.begin()
        market.feed.set(BTC, [(D(19), D(1))], [(D(20), D(1))])
        market.turn()
        market.act("slow", (1, True))
        for amount in range(2, 50):
            market.act("change", ([(D(19), D(amount)), (D(5 + amount % 10), D(amount % 3))], []))
            market.turn()
        reader = next(
            r for r in rig.core.inquiries.market_data._readers[BTC] if r.session == "BETA" and r.is_incremental
        )
        assert reader.known is not None
        assert reader.known.bids == {D(19): D(1)}
        before = {key: known.messages for key, (_, known) in market.books.items()}
        market.act("slow", (1, False))
        market.turn()
        market.check()
        grown = {key: known.messages - before[key] for key, (_, known) in market.books.items() if key[0] == "BETA"}
        assert set(grown.values()) == {1}
        assert rig.core.inquiries.market_data.conflated > 0
        rig.check_replay()


def test_who_is_behind_costs_one_copy_however_many_they_are(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        market = Market(rig)
        client = market.clients["BETA"]
        for number in range(20):
            client.subscribe(b"%d" % number, BTC)
        market.feed.set(BTC, [(D(n), D(1)) for n in range(1, 19)], [])
        rig.core.inquiries.run(rig.now_ns)
        market.backlogs["BETA"] = BACKLOG
        market.feed.change(BTC, [(D(1), D(2))], [])
        rig.core.inquiries.run(rig.now_ns)
        readers = rig.core.inquiries.market_data._readers[BTC]
        assert len({id(reader.known) for reader in readers}) == 1
        assert readers[0].known is not None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1300), st.integers(0, 1300), st.integers(0, 2**32))
def test_a_deep_book_goes_out_in_pieces(held: int, further: int, seed: int) -> None:
    """A snapshot has so many levels a side; who reads increments gets the others right behind it."""
    book = OrderBook("X")
    book.apply_snapshot(1, 1, [(D(n), D(1)) for n in range(1, held + 1)], [])
    stream = BookStream("X", 0)
    stream.look(book, "", Touched())
    known = stream.snapshot(b"0")
    assert len(known) == min(held, SNAPSHOT_LEVELS)
    assert len(stream.beyond_snapshot(b"0")) == held - len(known)
    book.take_touched()
    book.apply_change(1, 2, 1, [(D(n + seed % 7), D(2)) for n in range(1, further + 1)], [])
    changes = stream.look(book, "", book.take_touched())
    assert len(changes.bids) == further
    assert stream.told.bids == book.bids.levels


def test_a_side_of_a_full_snapshot_is_the_best_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_stream, "SNAPSHOT_LEVELS", 3)
    with opened(tmp_path) as rig:
        market = Market(rig)
        market.begin()
        levels = [(D(n), D(n)) for n in range(1, 11)]
        market.feed.set(BTC, levels, [])
        market.turn()
        kept = {
            depth: known.sides[b"0"]
            for (_, md_req_id), (depth, known) in market.books.items()
            if md_req_id[-1:] == b"1"
        }
        assert kept[0] == dict(levels), "increments follow the snapshot"
        full = market.books["ALPHA", b"1-0-0"][1]
        assert full.sides[b"0"] == dict(levels[-3:])


@pytest.mark.parametrize(
    ("number", "text"),
    [("1E+3", b"1000"), ("10.50", b"10.5"), ("0.00000010", b"0.0000001"), ("1E-7", b"0.0000001"), ("100", b"100"),
     ("0.0", b"0")],
)  # fmt: skip
def test_numbers_have_no_exponent_and_no_needless_zeros(number: str, text: bytes) -> None:
    assert text_of(D(number)) == text
