"""Instruments, tickers, indices, books: what is told, and what is refused by name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.venues import deribit_decode, deribit_market
from protocols.venues.deribit_decode import FieldError, decimal
from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    IndexPriceUpdated,
    InstrumentListed,
    MarkPriceUpdated,
    VenueErrorReported,
)
from tests.protocols.venues.fake_deribit import (
    OPTION,
    PERPETUAL,
    T0_MS,
    FakeDeribit,
    live,
    notification,
    refusal,
    session,
)

S = 1_000_000_000
D = Decimal
SYMBOL, CALL = "BTC-PERPETUAL", "BTC-31DEC27-100000-C"
MISSING = object()


def without(values: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {key: value for key, value in (values | changed).items() if value is not MISSING}


# -- numbers


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=4), st.booleans())
def test_a_number_is_what_the_venue_wrote(value: D, again: bool) -> None:
    text = str(value)
    if len(value.as_tuple().digits) <= 15:
        assert decimal(float(text)) == value


@pytest.mark.parametrize("value", [1e15, -1e15, 1e300, float("inf"), float("nan")])
def test_no_market_has_such_a_number(value: float) -> None:
    with pytest.raises(FieldError, match="out of range"):
        decimal(value)


def test_the_memory_of_numbers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit_decode, "MAX_CACHED_NUMBERS", 3)
    monkeypatch.setattr(deribit_decode, "_decimals", {})
    for i in range(20):
        assert decimal(i / 8) == D(i) / 8
        assert len(deribit_decode._decimals) <= 3


# -- instruments


def listed(*instruments: dict[str, Any]) -> tuple[list[InstrumentListed], list[VenueErrorReported]]:
    venue = FakeDeribit(session(), {"public/get_instruments": lambda _: list(instruments)})
    events = venue.connect()
    return (
        [event for event in events if isinstance(event, InstrumentListed)],
        [event for event in events if isinstance(event, VenueErrorReported)],
    )


def test_the_kinds_of_instruments() -> None:
    future = without(PERPETUAL, instrument_name="BTC-31DEC27", settlement_period="month")
    future["expiration_timestamp"] = 1830240000000
    linear = without(
        PERPETUAL,
        instrument_name="ETH_USDC-PERPETUAL",
        instrument_type="linear",
        settlement_currency="USDC",
        price_index="eth_usdc",
    )
    spot = without(
        PERPETUAL,
        instrument_name="BTC_USDC",
        kind="spot",
        instrument_type="linear",
        settlement_period=MISSING,
        expiration_timestamp=MISSING,
    )
    combo = without(PERPETUAL, instrument_name="BTC-FS-1", kind="future_combo", price_index=MISSING)
    found, errors = listed(PERPETUAL, OPTION, future, linear, spot, combo)
    assert errors == []
    shape = [(one.symbol, one.kind, one.is_inverse, one.underlying, one.expiration_ns) for one in found]
    assert shape == [
        (SYMBOL, "perpetual", True, "btc_usd", None),
        (CALL, "option", True, "btc_usd", 1830240000000 * 1_000_000),
        ("BTC-31DEC27", "future", True, "btc_usd", 1830240000000 * 1_000_000),
        ("ETH_USDC-PERPETUAL", "perpetual", False, "eth_usdc", None),
        ("BTC_USDC", "spot", False, "btc_usd", None),
    ]
    call = found[1]
    assert (call.strike, call.option_type) == (D(100000), "call")
    assert call.tick_steps == ((D("0.005"), D("0.0005")),)
    assert (call.tick_size, call.min_trade_amount, call.contract_size) == (D("0.0001"), D("0.1"), D(1))
    assert (call.maker_fee, call.taker_fee) == (D("0.0003"), D("0.0003"))


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        (PERPETUAL, {"tick_size": 0.0}),
        (PERPETUAL, {"tick_size": None}),
        (PERPETUAL, {"tick_size": "0.5"}),
        (PERPETUAL, {"tick_size_steps": [{"above_price": 1.0, "tick_size": 0.0}]}),
        (PERPETUAL, {"min_trade_amount": -1.0}),
        (PERPETUAL, {"contract_size": 0.0}),
        (PERPETUAL, {"contract_size": MISSING}),
        (PERPETUAL, {"price_index": MISSING}),
        (PERPETUAL, {"settlement_currency": None}),
        (PERPETUAL, {"instrument_type": "quanto"}),
        (PERPETUAL, {"is_active": 1}),
        (PERPETUAL, {"taker_commission": MISSING}),
        (PERPETUAL, {"instrument_name": 5}),
        (PERPETUAL, {"kind": MISSING}),
        (PERPETUAL, {"settlement_period": "week"}),
        (PERPETUAL, {"settlement_period": "week", "expiration_timestamp": MISSING}),
        (OPTION, {"expiration_timestamp": -5}),
        (OPTION, {"strike": MISSING}),
        (OPTION, {"strike": 0.0}),
        (OPTION, {"option_type": None}),
        (OPTION, {"option_type": "straddle"}),
    ],
)
def test_an_instrument_that_can_not_be_read_is_named_and_not_listed(
    base: dict[str, Any], changed: dict[str, Any]
) -> None:
    found, errors = listed(without(base, **changed))
    assert found == []
    (error,) = errors
    field = next(iter(changed))
    assert field in error.message or (field == "settlement_period" and "expiration_timestamp" in error.message)
    assert error.context.startswith("get_instruments BTC")


def test_new_changed_and_vanished_instruments() -> None:
    venue = live()
    other = without(OPTION, instrument_name="BTC-31DEC27-90000-C", strike=90000.0)
    dearer = without(PERPETUAL, taker_commission=0.0006)
    venue.answers["public/get_instruments"] = lambda _: [dearer, other]
    venue.session.list_instruments(venue.now_ns)
    venue.pump()
    events = venue.events()
    assert [(event.symbol, event.is_open) for event in events if isinstance(event, InstrumentListed)] == [
        (SYMBOL, True),
        ("BTC-31DEC27-90000-C", True),
        (CALL, False),
    ]
    (subscription,) = [request for request in venue.sent if request["method"] == "public/subscribe"]
    assert subscription["params"]["channels"] == [
        "deribit_price_index.btc_usd",
        "ticker.BTC-31DEC27-90000-C.100ms",
        "book.BTC-31DEC27-90000-C.raw",
    ]
    venue.session.place(
        "a", "BTC-31DEC27-90000-C", True, "1", "0.1", "limit", "good_til_day", False, False, venue.now_ns
    )
    # After a reconnection only what is still listed is subscribed.
    venue.session.disconnected(venue.now_ns)
    venue.sent.clear()
    venue.connect()
    (subscription,) = [request for request in venue.sent if request["method"] == "public/subscribe"]
    assert not any(CALL in channel for channel in subscription["params"]["channels"])


def test_instruments_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deribit_market, "MAX_INSTRUMENTS", 1)
    found, errors = listed(PERPETUAL, OPTION)
    assert [one.symbol for one in found] == [SYMBOL]
    assert errors == [VenueErrorReported(0, "more than 1 instruments: not listed", CALL)]


# -- tickers and indices


TICKER: dict[str, Any] = {
    "instrument_name": SYMBOL,
    "timestamp": T0_MS,
    "state": "open",
    "mark_price": 50000.25,
    "index_price": 50001.5,
    "best_bid_price": 50000.0,
    "best_ask_price": 50000.5,
    "min_price": 49000.0,
    "max_price": 51000.0,
    "current_funding": 0.0,
    "stats": {"volume": None},
}
OPTION_TICKER = TICKER | {
    "instrument_name": CALL,
    "mark_price": 0.05,
    "mark_iv": 60.5,
    "underlying_price": 50500.0,
    "interest_rate": 0.01,
    "best_bid_price": 0.0,
    "best_ask_price": 0.051,
    "min_price": 0.0001,
    "max_price": 0.2,
}


def ticker(data: dict[str, Any]) -> bytes:
    return notification(f"ticker.{data.get('instrument_name', SYMBOL)}.100ms", data)


def test_a_perpetuals_ticker() -> None:
    assert live().receive(ticker(TICKER)) == [
        MarkPriceUpdated(
            SYMBOL,
            50000.25,
            50001.5,
            T0_MS * 1_000_000,
            best_bid=50000.0,
            best_ask=50000.5,
            min_price=49000.0,
            max_price=51000.0,
        )
    ]


def test_an_options_ticker() -> None:
    (event,) = live().receive(ticker(OPTION_TICKER | {"state": "closed"}))
    assert isinstance(event, MarkPriceUpdated)
    assert event.mark_iv == 0.605
    assert (event.underlying_price, event.interest_rate) == (50500.0, 0.01)
    assert (event.best_bid, event.best_ask) == (None, 0.051)  # price 0 stands for no bid
    assert not event.is_open


@pytest.mark.parametrize(
    ("base", "field", "value"),
    [
        (TICKER, "mark_price", MISSING),
        (TICKER, "mark_price", None),
        (TICKER, "mark_price", 0.0),
        (TICKER, "mark_price", -1.0),
        (TICKER, "mark_price", "50000"),
        (TICKER, "index_price", None),
        (TICKER, "index_price", 0.0),
        (TICKER, "timestamp", None),
        (TICKER, "timestamp", T0_MS + 5001),
        (TICKER, "best_bid_price", "1"),
        (OPTION_TICKER, "mark_price", -0.1),
        (OPTION_TICKER, "mark_iv", MISSING),
        (OPTION_TICKER, "mark_iv", None),
        (OPTION_TICKER, "mark_iv", -1.0),
        (OPTION_TICKER, "underlying_price", None),
        (OPTION_TICKER, "underlying_price", 0.0),
    ],
)
def test_a_ticker_that_can_not_be_right_is_named_and_not_told(base: dict[str, Any], field: str, value: Any) -> None:
    """Faults 30 and 33: a mark is unknown then, never zero."""
    venue = live()
    (error,) = venue.receive(ticker(without(base, **{field: value})))
    assert isinstance(error, VenueErrorReported)
    assert field in error.message
    assert error.context == f"ticker.{base['instrument_name']}.100ms"


def test_a_ticker_on_anothers_channel() -> None:
    venue = live()
    (error,) = venue.receive(notification(f"ticker.{SYMBOL}.100ms", OPTION_TICKER))
    assert "instrument_name" in error.message  # type: ignore[union-attr]


def test_an_index() -> None:
    venue = live()
    index = {"index_name": "btc_usd", "price": 50001.5, "timestamp": T0_MS}
    channel = "deribit_price_index.btc_usd"
    assert venue.receive(notification(channel, index)) == [IndexPriceUpdated("btc_usd", 50001.5, T0_MS * 1_000_000)]
    for wrong in ({"price": 0.0}, {"price": None}, {"index_name": "eth_usd"}, {"timestamp": T0_MS + 60_000}):
        (error,) = venue.receive(notification(channel, index | wrong))
        assert next(iter(wrong)) in error.message  # type: ignore[union-attr]


# -- books


def book(kind: str, change_id: int, previous: int | None, bids: list[Any], asks: list[Any], /, **more: Any) -> bytes:
    data = {
        "type": kind,
        "timestamp": T0_MS,
        "instrument_name": SYMBOL,
        "change_id": change_id,
        "bids": bids,
        "asks": asks,
    } | more
    if previous is not None:
        data["prev_change_id"] = previous
    return notification(f"book.{SYMBOL}.raw", data)


SNAPSHOT = book("snapshot", 10, None, [["new", 99.0, 5.0]], [["new", 101.0, 6.0]])


def with_book() -> FakeDeribit:
    venue = live()
    assert venue.receive(SNAPSHOT) == [BookUpdated(SYMBOL)]
    return venue


def resyncs(venue: FakeDeribit) -> list[tuple[str, list[str]]]:
    return [(request["method"], request["params"]["channels"]) for request in venue.sent]


RESYNC = [("public/unsubscribe", [f"book.{SYMBOL}.raw"]), ("public/subscribe", [f"book.{SYMBOL}.raw"])]


def test_a_chain_of_changes() -> None:
    venue = with_book()
    change = book("change", 14, 10, [["change", 99.0, 7.0], ["new", 99.5, 1.0]], [["delete", 101.0, 0.0]])
    assert venue.receive(change) == [BookUpdated(SYMBOL)]
    kept = venue.session.book(SYMBOL)
    assert (kept.best_bid, kept.best_ask, kept.sequence) == (D("99.5"), None, 14)
    assert kept.bids.depth(5) == [(D("99.5"), D(1)), (D(99), D(7))]
    assert kept.time_ns == T0_MS * 1_000_000


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (book("change", 14, 11, [], []), "gap: follows 11, last was 10"),
        (book("change", 9, 8, [], []), "gap: follows 8, last was 10"),
        (book("change", 14, 10, [["new", 101.0, 1.0]], []), "crossed: bid 101.0, ask 101.0"),
        (book("change", 14, None, [], []), "prev_change_id: missing in a change"),
        (book("change", 14, 10, [["new", 1.0, 0.0]], []), "amount: 0.0 at 1.0 for new"),
        (book("change", 14, 10, [["new", 1.0, -1.0]], []), "amount: -1.0 at 1.0 for new"),
        (book("change", 14, 10, [], [], timestamp=T0_MS + 60_000), "timestamp: 60000 ms in the future"),
        (book("change", 14, 10, [], [], instrument_name="X"), "instrument_name: X on the channel of BTC-PERPETUAL"),
    ],
)
def test_a_broken_book_is_set_aside_and_asked_for_again(frame: bytes, reason: str) -> None:
    """Fault 30: gap, crossed, out of order, time in the future; this one book, no other, no reconnection."""
    venue = with_book()
    events = venue.receive(frame)
    assert events[0] == BookGapped(SYMBOL, reason)
    assert not venue.session.book(SYMBOL).is_usable
    assert resyncs(venue) == RESYNC
    assert venue.session._market.book_gaps == 1
    # Changes of the old subscription pass by; a snapshot makes the book good again.
    assert venue.receive(book("change", 15, 14, [["new", 98.0, 1.0]], [])) == []
    assert venue.receive(SNAPSHOT) == [BookUpdated(SYMBOL)]
    assert venue.session.book(SYMBOL).is_usable
    assert venue.session.book(SYMBOL).bids.levels == {D(99): D(5)}
    assert resyncs(venue) == RESYNC


@pytest.mark.parametrize(
    ("field", "value"),
    [("bids", None), ("change_id", "14"), ("timestamp", None), ("type", "delta"), ("asks", [["new", 1.0]])],
)
def test_a_book_message_that_can_not_be_read_breaks_the_book(field: str, value: Any) -> None:
    venue = with_book()
    gapped, error = venue.receive(book("change", 14, 10, [], [], **{field: value}))
    assert isinstance(gapped, BookGapped)
    assert isinstance(error, VenueErrorReported)
    assert f"$.{field}" in error.message
    assert resyncs(venue) == RESYNC


def test_a_book_that_keeps_breaking_is_asked_for_once_a_second() -> None:
    venue = with_book()
    for _ in range(5):
        venue.receive(book("change", 14, 11, [], []))
        venue.receive(book("snapshot", 10, None, [["new", 5.0, 1.0]], [["new", 5.0, 1.0]]))
    assert resyncs(venue) == RESYNC
    assert venue.session.deadline_ns == venue.now_ns + S
    venue.pass_time(S)
    assert resyncs(venue) == RESYNC * 2


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    venue = with_book()
    venue.receive(book("change", 14, 11, [], []))
    venue.pass_time(10 * S)
    change = book("change", 16, 14, [], [])
    assert venue.receive(change) == []
    venue.pass_time(1)
    assert venue.receive(change) == [BookGapped(SYMBOL, "gap: follows 11, last was 10")]
    assert resyncs(venue) == RESYNC * 2


def test_a_change_before_any_snapshot() -> None:
    venue = live()
    assert venue.receive(book("change", 16, 14, [], [])) == [BookGapped(SYMBOL, "no snapshot yet")]
    assert resyncs(venue) == RESYNC


def test_a_refused_resubscription_is_tried_again() -> None:
    venue = with_book()
    venue.answers |= {"public/subscribe": None, "public/unsubscribe": None}
    venue.receive(book("change", 14, 11, [], []))
    leave, join = (request["id"] for request in venue.sent)
    assert venue.receive(refusal(leave, 11052))[0].code == 11052  # type: ignore[union-attr]
    events = venue.receive(refusal(join, 11052))
    assert events[-1] == BookGapped(SYMBOL, "refused with 11052 subscribe_error_unsubscribed")
    venue.pass_time(S)
    assert resyncs(venue) == RESYNC * 2
    venue.answers["public/subscribe"] = lambda _: []
    venue.receive(SNAPSHOT)
    venue.pass_time(S)
    venue.receive(book("change", 14, 11, [], []))
    assert BookGapped(SYMBOL, "not subscribed") in venue.seen


changes_of_books = st.lists(st.tuples(st.booleans(), st.integers(1, 20), st.integers(0, 4)), min_size=1, max_size=15)


@settings(max_examples=60, deadline=None)
@given(st.lists(changes_of_books, min_size=1, max_size=8), st.integers(0, 8))
def test_a_book_equals_one_that_is_kept_slowly(messages: list[list[tuple[bool, int, int]]], lost: int) -> None:
    """Apply changes to two dicts; lose one message on the way: from there on the book is unusable, not wrong."""
    venue = live()
    venue.receive(book("snapshot", 0, None, [], []))
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for number, message in enumerate(messages):
        wire: dict[bool, list[Any]] = {True: [], False: []}
        for is_bid, price, amount in message:
            side, at = (bids, float(price)) if is_bid else (asks, float(price + 30))
            action = "delete" if not amount else "change" if at in side else "new"
            wire[is_bid].append([action, at, float(amount)])
            side.pop(at, None)
            if amount:
                side[at] = float(amount)
        if number != lost:
            venue.receive(book("change", number + 1, number, wire[True], wire[False]))
        kept = venue.session.book(SYMBOL)
        assert kept.is_usable is (number < lost or number == lost)
        if number < lost:
            assert {float(price): float(amount) for price, amount in kept.bids.levels.items()} == bids
            assert kept.best_bid == (max(bids) if bids else None)
            assert kept.best_ask == (min(asks) if asks else None)
