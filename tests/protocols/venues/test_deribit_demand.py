"""Books and public trades on demand: what is wanted is subscribed, what is not is left, over reconnections too."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocols.venues.events import BookGapped, BookUpdated, VenueErrorReported
from protocols.venues.trade_tape import TRADES_KEPT, PublicTrade, TradeTape
from tests.protocols.venues.fake_deribit import T0_MS, FakeDeribit, live, notification, session
from tests.protocols.venues.test_deribit_market import SNAPSHOT, book

SYMBOL = "BTC-PERPETUAL"
OTHER = "BTC-31DEC27-100000-C"
S = 1_000_000_000
D = Decimal
BOOK, TRADES = f"book.{SYMBOL}.raw", f"trades.{SYMBOL}.raw"
NOTHING: frozenset[str] = frozenset()
IT = frozenset({SYMBOL})


def asked(venue: FakeDeribit) -> list[tuple[str, list[str]]]:
    """What was asked of public channels since the last time; everything is answered."""
    venue.pump()
    venue.events()
    public = [request for request in venue.sent if request["method"] in ("public/subscribe", "public/unsubscribe")]
    venue.sent.clear()
    return [(request["method"].removeprefix("public/"), request["params"]["channels"]) for request in public]


def want(venue: FakeDeribit, books: frozenset[str], trades: frozenset[str] = NOTHING) -> list[tuple[str, list[str]]]:
    venue.session.feeds.want(books, trades, venue.now_ns)
    return asked(venue)


def on_demand() -> FakeDeribit:
    return live(books_on_demand=True)


def trade(number: int, **changes: Any) -> dict[str, Any]:
    return {"trade_id": f"t{number}", "instrument_name": SYMBOL, "direction": "sell", "price": 99.5, "amount": 10.0,
            "timestamp": T0_MS} | changes  # fmt: skip


def test_nothing_is_followed_until_somebody_wants_it() -> None:
    venue = FakeDeribit(session(books_on_demand=True))
    venue.connect()
    channels = [name for method, names in asked(venue) if method == "subscribe" for name in names]
    assert any(name.startswith("ticker.") for name in channels)
    assert not any(name.startswith(("book.", "trades.")) for name in channels)


def test_what_is_wanted_is_joined_and_what_is_not_is_left() -> None:
    venue = on_demand()
    assert want(venue, IT, IT) == [("subscribe", [BOOK, TRADES])]
    assert want(venue, IT, IT) == []
    assert want(venue, IT) == [("unsubscribe", [TRADES])]
    assert want(venue, frozenset({SYMBOL, OTHER})) == [("subscribe", [f"book.{OTHER}.raw"])]
    assert want(venue, NOTHING) == [("unsubscribe", [f"book.{OTHER}.raw", BOOK])]


def test_a_book_that_is_left_is_forgotten_and_begins_anew() -> None:
    venue = on_demand()
    want(venue, IT)
    assert venue.receive(SNAPSHOT) == [BookUpdated(SYMBOL)]
    want(venue, NOTHING)
    kept = venue.session.book(SYMBOL)
    assert (kept.reason, kept.bids.levels, kept.asks.levels) == ("no snapshot yet", {}, {})
    late = book("change", 14, 10, [["new", 98.0, 1.0]], [])
    assert venue.receive(late) == []  # on its way when we left: neither an error nor a gap
    want(venue, IT)
    assert venue.receive(late) == []  # of the subscription before
    assert not kept.is_usable
    assert venue.receive(SNAPSHOT) == [BookUpdated(SYMBOL)]
    assert kept.is_usable
    assert asked(venue) == []


def test_what_is_wanted_is_joined_again_after_a_reconnection() -> None:
    venue = on_demand()
    want(venue, IT, IT)
    venue.session.disconnected(venue.now_ns)
    want(venue, frozenset({SYMBOL, OTHER}))  # meanwhile
    venue.sent.clear()
    venue.session.connected(venue.now_ns)
    joined = [name for method, names in asked(venue) if method == "subscribe" for name in names]
    assert {name for name in joined if name.startswith(("book.", "trades."))} == {BOOK, f"book.{OTHER}.raw"}
    assert venue.session.is_live


def test_a_refused_subscription_is_tried_again_until_nobody_wants_it() -> None:
    venue = on_demand()
    agrees = venue.answers["public/subscribe"]
    venue.answers["public/subscribe"] = lambda params: [TRADES]
    assert want(venue, IT, IT) == [("subscribe", [BOOK, TRADES])]
    assert BookGapped(SYMBOL, "not subscribed") in venue.seen
    again = [("unsubscribe", [BOOK, TRADES]), ("subscribe", [BOOK, TRADES])]
    venue.pass_time(S)
    assert asked(venue) == again
    venue.answers["public/subscribe"] = agrees
    venue.pass_time(S)
    assert asked(venue) == again
    assert venue.receive(SNAPSHOT) == [BookUpdated(SYMBOL)]
    venue.receive(book("change", 14, 11, [], []))  # a gap ...
    asked(venue)
    want(venue, NOTHING)  # ... that nobody cares for any more
    venue.pass_time(10 * S)
    assert asked(venue) == []


def test_public_trades_are_kept_in_order_and_counted() -> None:
    venue = on_demand()
    want(venue, NOTHING, IT)
    tape = venue.session.feeds.tape(SYMBOL)
    assert (tape.count, tape.last, tape.since(0)) == (0, None, [])
    venue.receive(notification(TRADES, [trade(1), trade(2, direction="buy", price=100.0)]))
    first, second = tape.since(0)
    assert first == PublicTrade("t1", D("99.5"), D("10.0"), False, T0_MS * 1_000_000)
    assert (second.trade_id, second.is_buy, tape.last, tape.since(1), tape.since(2)) == (
        "t2",
        True,
        second,
        [second],
        [],
    )
    want(venue, NOTHING)
    assert venue.session.feeds.tape(SYMBOL).count == 0


@pytest.mark.parametrize(
    "changes",
    [{"price": "99"}, {"amount": 0.0}, {"amount": None}, {"instrument_name": "X"}, {"timestamp": T0_MS + 60_000}],
)
def test_a_trade_that_can_not_be_read_is_reported(changes: dict[str, Any]) -> None:
    venue = on_demand()
    want(venue, NOTHING, IT)
    (error,) = venue.receive(notification(TRADES, [trade(1, **changes)]))
    assert isinstance(error, VenueErrorReported)
    assert error.context == TRADES
    assert venue.session.feeds.tape(SYMBOL).count == 0


def test_the_tape_keeps_the_last_ones() -> None:
    tape = TradeTape()
    for number in range(TRADES_KEPT + 50):
        tape.add(PublicTrade(str(number), D(1), D(1), True, number))
    assert [t.trade_id for t in tape.since(0)] == [str(n) for n in range(50, TRADES_KEPT + 50)]
    assert [t.trade_id for t in tape.since(TRADES_KEPT + 48)] == [
        str(n) for n in range(TRADES_KEPT + 48, TRADES_KEPT + 50)
    ]
    assert tape.since(tape.count + 5) == []


def test_without_books_nothing_is_wanted() -> None:
    venue = live(book_interval=None, books_on_demand=True)
    assert want(venue, IT, IT) == []
    assert asked(venue) == []
