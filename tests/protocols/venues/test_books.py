"""The integrity rules of books: a book equals the true one, or it says that it can not be used."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.venues import books as books_module
from protocols.venues.books import MAX_HELD, RESYNC_PAUSE_NS, SNAPSHOT_TIMEOUT_NS, BookRule, Books, Change, Link
from protocols.venues.events import BookGapped, BookUpdated, Event

D = Decimal
S = 1_000_000_000
PREVIOUS = BookRule(link=Link.PREVIOUS)
COUNT = BookRule(link=Link.COUNT)
NONE = BookRule(link=Link.NONE)
FUTURES = BookRule(link=Link.PREVIOUS, snapshot="request")
SPOT = BookRule(link=Link.COUNT, snapshot="request", overlap=1)
RULES = {"previous": PREVIOUS, "count": COUNT, "futures": FUTURES, "spot": SPOT}
Levels = dict[Decimal, Decimal]


def books_of(rule: BookRule) -> tuple[Books, list[Event]]:
    events: list[Event] = []
    return Books(events, lambda _: rule), events


def change(first: int, last: int, previous: int = -1, **sides: list[tuple[Decimal, Decimal]]) -> Change:
    return Change(first, last, previous, last, sides.get("bids", []), sides.get("asks", []))


class Venue:
    """The true book, and its messages: each sets some levels, spans some numbers, and names the one before."""

    def __init__(self) -> None:
        self.sequence = 100
        self.bids: Levels = {D(99): D(1)}
        self.asks: Levels = {D(101): D(1)}

    def step(self, span: int, price: int, amount: int) -> Change:
        previous, self.sequence = self.sequence, self.sequence + span
        bids, asks = [], []
        side, levels = (self.bids, bids) if price < 100 else (self.asks, asks)
        levels.append((D(price), D(amount)))
        if amount:
            side[D(price)] = D(amount)
        else:
            side.pop(D(price), None)
        return Change(previous + 1, self.sequence, previous, self.sequence, bids, asks)

    def snapshot(self) -> tuple[int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        return self.sequence, list(self.bids.items()), list(self.asks.items())


steps = st.tuples(
    st.integers(1, 4), st.sampled_from([*range(90, 100), *range(101, 110)]), st.sampled_from([0, 1, 2, 5])
)
faults = st.sampled_from(["", "", "", "", "drop", "twice", "late"])


@pytest.mark.parametrize("name", RULES)
@given(st.lists(st.tuples(steps, faults), max_size=60))
def test_dropped_repeated_and_late_messages(name: str, script: list[tuple[tuple[int, int, int], str]]) -> None:
    """Whatever happens to the messages, a usable book is the true one as of its number."""
    rule = RULES[name]
    books, _ = books_of(rule)
    venue = Venue()
    truth: dict[int, tuple[Levels, Levels]] = {}
    late: list[Change] = []
    asked = rule.snapshot == "channel"
    now_ns = 0
    for (span, price, amount), fault in script:
        now_ns += S
        if asked:
            asked = False
            sequence, bids, asks = venue.snapshot()
            truth[sequence] = (dict(venue.bids), dict(venue.asks))
            if rule.snapshot == "request":
                books.on_requested("X", sequence, 1, bids, asks, now_ns)
            else:
                books.on_snapshot("X", sequence, 1, bids, asks)
        message = venue.step(1 if rule is COUNT else span, price, amount)
        truth[venue.sequence] = (dict(venue.bids), dict(venue.asks))
        if fault == "late":
            late.append(message)
        elif fault != "drop":
            for _ in range(2 if fault == "twice" else 1):
                books.on_change("X", message, now_ns)
            while late:
                books.on_change("X", late.pop(), now_ns)
        asked = bool(books.due_resyncs(now_ns))
        book = books.book("X")
        if book.is_usable and not books.feed("X").is_joining:
            assert (book.bids.levels, book.asks.levels) == truth[book.sequence]


@pytest.mark.parametrize("name", RULES)
def test_an_undisturbed_stream_never_gaps(name: str) -> None:
    rule = RULES[name]
    books, events = books_of(rule)
    venue = Venue()
    early = [venue.step(1, 95, n) for n in range(1, 5)]
    if rule.snapshot == "request":
        for one in early:
            books.on_change("X", one, 0)
        assert books.due_resyncs(0) == ["X"]
        sequence, bids, asks = early[1].last, [(D(99), D(1)), (D(95), D(2))], [(D(101), D(1))]
        books.on_requested("X", sequence, 1, bids, asks, 0)
    else:
        books.on_snapshot("X", *_flat(venue.snapshot()))
    for n in range(50):
        books.on_change("X", venue.step(1 if rule is COUNT else 3, 90 + n % 20 + (n % 20 >= 10), n % 4), 0)
    assert books.gaps == 0
    assert not any(isinstance(event, BookGapped) for event in events)
    assert books.book("X").bids.levels == venue.bids
    assert books.book("X").asks.levels == venue.asks


def _flat(
    snapshot: tuple[int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]],
) -> tuple[int, int, list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    sequence, bids, asks = snapshot
    return sequence, 1, bids, asks


def test_where_a_requested_snapshot_is_joined() -> None:
    """Futures: the change that spans the snapshot's number; spot: the one that spans the number after it."""
    for rule, spans, is_joined in [
        (FUTURES, (95, 100), True),
        (FUTURES, (100, 105), True),
        (FUTURES, (90, 99), False),
        (SPOT, (95, 101), True),
        (SPOT, (101, 105), True),
        (SPOT, (95, 100), False),
        (SPOT, (102, 105), None),
        (FUTURES, (101, 105), None),
    ]:
        books, events = books_of(rule)
        books.on_requested("X", 100, 1, [], [], 0)
        assert not books.feed("X").book.reason
        applied = books.on_change("X", change(*spans, previous=spans[0] - 9), 0)
        assert applied is bool(is_joined), (rule, spans)
        assert any(isinstance(event, BookGapped) for event in events) is (is_joined is None), (rule, spans)
    books, _ = books_of(FUTURES)
    books.on_requested("X", 100, 1, [], [], 0)
    assert books.on_change("X", change(101, 105, previous=100), 0)  # it names the snapshot's own number


def test_a_snapshot_that_is_too_old_is_asked_for_again() -> None:
    books, _ = books_of(FUTURES)
    books.on_change("X", change(200, 210, 199), 0)
    assert books.due_resyncs(0) == ["X"]
    books.on_requested("X", 150, 1, [], [], 0)
    assert not books.book("X").is_usable
    assert books.deadline_ns == RESYNC_PAUSE_NS
    assert books.due_resyncs(RESYNC_PAUSE_NS) == ["X"]
    assert books.on_requested("X", 205, 1, [], [], RESYNC_PAUSE_NS)  # what was held joins it
    assert books.book("X").sequence == 210


def test_what_is_crossed_is_not_used() -> None:
    for rule in RULES.values():
        books, events = books_of(rule)
        if rule.snapshot == "request":
            books.on_requested("X", 1, 1, [(D(1), D(1))], [(D(2), D(1))], 0)
            books.on_change("X", change(1, 2, 1), 0)
        else:
            books.on_snapshot("X", 1, 1, [(D(1), D(1))], [(D(2), D(1))])
        books.on_change("X", change(books.book("X").sequence + 1, 9, books.book("X").sequence, bids=[(D(3), D(1))]), 0)
        assert "crossed" in books.book("X").reason
        assert isinstance(events[-1], BookGapped)
        assert books.deadline_ns is not None
    books, _ = books_of(FUTURES)
    assert not books.on_requested("X", 1, 1, [(D(3), D(1))], [(D(2), D(1))], 0)
    books, _ = books_of(NONE)
    assert not books.on_snapshot("X", 1, 1, [(D(3), D(1))], [(D(2), D(1))])


def test_a_crossed_change_while_joining() -> None:
    books, _ = books_of(FUTURES)
    books.on_change("X", change(1, 2, 0, bids=[(D(9), D(1))]), 0)
    books.on_requested("X", 1, 1, [], [(D(2), D(1))], 0)
    assert "crossed" in books.book("X").reason


def test_a_snapshot_that_never_comes_is_asked_for_again() -> None:
    for rule in (COUNT, FUTURES):
        books, _ = books_of(rule)
        books.on_change("X", change(5, 5, 4), 0)
        assert books.due_resyncs(0) == ["X"]
        books.on_change("X", change(6, 6, 5), SNAPSHOT_TIMEOUT_NS)
        assert books.deadline_ns is None
        books.on_change("X", change(7, 7, 6), SNAPSHOT_TIMEOUT_NS + 1)
        assert books.due_resyncs(SNAPSHOT_TIMEOUT_NS + 1) == ["X"]


def test_a_gap_of_one_book_is_no_other_books() -> None:
    books, events = books_of(COUNT)
    for symbol in ("X", "Y"):
        books.on_snapshot(symbol, 1, 1, [], [])
    books.on_change("X", change(3, 3), 0)
    assert books.on_change("Y", change(2, 2), 0)
    assert events[-2:] == [BookGapped("X", "gap: begins at 3, last was 1"), BookUpdated("Y")]
    assert books.due_resyncs(0) == ["X"]
    books.break_book("X", "again", 1)
    books.break_book("Y", "too", 0)
    assert books.due_resyncs(0) == ["Y"]
    assert books.deadline_ns == RESYNC_PAUSE_NS
    books.on_snapshot("X", 9, 1, [], [])
    assert books.due_resyncs(2 * RESYNC_PAUSE_NS) == []


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    books, _ = books_of(FUTURES)
    for n in range(MAX_HELD + 10):
        books.on_change("X", change(n, n, n - 1), 0)
    assert len(books.feed("X").held) == MAX_HELD
    books.on_disconnected(["X", "unknown"])
    assert not books.feed("X").held
    monkeypatch.setattr(books_module, "MAX_BOOKS", 1)
    with pytest.raises(ValueError, match="more than 1 books"):
        books.feed("Y")


def test_units() -> None:
    books, _ = books_of(NONE)
    books.set_unit("X", D("0.01"))
    assert books.book("X").unit == D("0.01")
    books.set_unit("X", D(10))
    assert books.book("X").unit == D(10)
