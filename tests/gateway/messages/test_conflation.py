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

from gateway.messages import book_stream, reader
from gateway.messages.book_stream import SNAPSHOT_LEVELS, TURN_ENTRIES, text_of
from protocols.fix.plain import MAX_ENCODED_BYTES
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, max_size=25), many)
def test_what_is_rebuilt_equals_the_book_after_each_turn(
    market: Market, script: list[tuple[str, Any]], first: Any
) -> None:
    """Whoever reads knows the whole book of now, or that there is none."""
    market.begin()
    market.feed.set(BTC, *first)
    for action, value in (*script, ("turn", None)):
        if action == "turn":
            market.turn()
            market.check()
        else:
            market.act(action, value)
    quiet = [known.messages for _, known in market.books.values()]
    market.turn()
    assert [known.messages for _, known in market.books.values()] == quiet, "told although nothing has changed"
    market.end()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, max_size=25), many)
def test_deep_books_go_out_in_pieces(market: Market, script: list[tuple[str, Any]], first: Any) -> None:
    """With limits of a few levels: a snapshot has so many a side, a turn so many entries; the rest follows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_stream, "SNAPSHOT_LEVELS", 3)
        patch.setattr(book_stream, "TURN_ENTRIES", 4)
        patch.setattr(reader, "INCREMENT_ENTRIES", 2)
        market.begin()
        market.feed.set(BTC, *first)
        for action, value in script:
            market.turn() if action == "turn" else market.act(action, value)
        market.act("venue", False)
        for at in range(len(SESSIONS)):
            market.act("slow", (at, False))
        if not market.feed.book(BTC).is_usable:
            market.act("snapshot", first)
        for _ in range(20):
            market.turn()
        book = market.feed.book(BTC)
        for (_, md_req_id), (depth, known) in market.books.items():
            most = (depth or 99) if md_req_id.endswith(b"1") else min(depth or 3, 3)
            assert known.sides == {b"0": dict(book.bids.depth(most)), b"1": dict(book.asks.depth(most))}, md_req_id
        market.end()


def test_one_turn_tells_a_reader_so_much_and_no_more(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        client, known = Client(rig), ClientBook()
        client.subscribe(b"one", BTC)
        levels = [(D(n), D(1)) for n in range(1, 3001)]
        feed.set(BTC, levels, [])
        turns = 0
        while known.sides[b"0"] != dict(levels):
            told = client.turn()
            assert sum(len(message.raw) for message in told) < MAX_ENCODED_BYTES
            for message in told:
                known.apply(message)
            turns += 1
        assert (3000 - SNAPSHOT_LEVELS) / TURN_ENTRIES < turns <= 1 + (3000 - SNAPSHOT_LEVELS) / (TURN_ENTRIES // 2)
        feed.set(BTC, [(D(n), D(2)) for n in range(1, 3001)], [])  # too much for increments: a snapshot again
        (again,) = client.turn()
        assert again.msg_type == "W"
        known.apply(again)
        while known.sides[b"0"] != dict(feed.book(BTC).bids.levels):
            for message in client.turn():
                known.apply(message)
        rig.check_replay()


@pytest.mark.parametrize(
    ("number", "text"),
    [("1E+3", b"1000"), ("10.50", b"10.5"), ("0.00000010", b"0.0000001"), ("1E-7", b"0.0000001"), ("100", b"100"),
     ("0.0", b"0")],
)  # fmt: skip
def test_numbers_have_no_exponent_and_no_needless_zeros(number: str, text: bytes) -> None:
    assert text_of(D(number)) == text
