"""What is OKX's own, of the market: checksums and numbers of books, the parts of a mark."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    FundingUpdated,
    IndexPriceUpdated,
    MarkPriceUpdated,
    OptionVolsUpdated,
    TopOfBookUpdated,
    TradePrinted,
    VenueErrorReported,
)
from protocols.venues.okx_decode import book_checksum
from protocols.venues.orderbook import OrderBook
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.fake_okx import (
    OPTION,
    book,
    live,
    push,
    session,
)
from tests.protocols.venues.lane_peer import T0_MS, RefusalError, S, of

D = Decimal
SYMBOL = "BTC-USDT-SWAP"
TS = str(T0_MS)


def level(price: str, amount: str) -> list[str]:
    return [price, amount, "0", "1"]


def refuses(code: int) -> Any:
    def answer_(_: Any) -> Any:
        raise RefusalError(code)

    return answer_


# -- books


def test_a_book_by_the_numbers_of_its_messages() -> None:
    venue = live()
    snapshot = book("snapshot", -1, 10, bids=[level("49999.9", "3")], asks=[level("50000.1", "2")])
    assert venue.receive("public", snapshot) == [BookUpdated(SYMBOL)]
    venue.receive("public", book("update", 10, 15, bids=[level("49999.9", "0"), level("49999.8", "1")]))
    kept = venue.session.book(SYMBOL)
    assert (kept.best_bid, kept.sequence, kept.unit) == (D("49999.8"), 15, D("0.01"))
    # A message that names itself says that nothing has changed.
    assert venue.receive("public", book("update", 15, 15)) == [BookUpdated(SYMBOL)]
    # After maintenance the numbers begin anew, from a message that still names the last one.
    venue.receive("public", book("update", 15, 3))
    venue.receive("public", book("update", 3, 4, asks=[level("50000.0", "1")]))
    assert (kept.best_ask, kept.is_usable) == (D(50000), True)
    venue.sent.clear()
    events = venue.receive("public", book("update", 9, 10))
    assert of(events, BookGapped) == [BookGapped(SYMBOL, "gap: follows 9, last was 4")]
    venue.pass_time(S)
    assert [(frame["op"], frame["args"]) for _, frame in venue.sent if frame.get("op")] == [
        ("unsubscribe", [{"channel": "books", "instId": SYMBOL}]),
        ("subscribe", [{"channel": "books", "instId": SYMBOL}]),
    ]
    venue.receive("public", snapshot)
    assert kept.is_usable


def test_a_checksum_is_heeded_where_it_is_not_zero() -> None:
    """The venue writes 0 since June 2026, which says nothing; before, and in recordings, it proves the book."""
    venue = live()
    model = OrderBook("x")
    model.apply_snapshot(1, 1, [(D("49999.9"), D("3.0"))], [(D("50000.10"), D("2"))])
    right = book_checksum(model)
    sides = {"bids": [level("49999.9", "3.0")], "asks": [level("50000.10", "2")]}
    assert venue.receive("public", book("snapshot", -1, 10, checksum=right, **sides)) == [BookUpdated(SYMBOL)]
    venue.receive("public", book("update", 10, 11, checksum=right))
    assert venue.session.book(SYMBOL).is_usable
    events = venue.receive("public", book("update", 11, 12, checksum=right + 1))
    assert "checksum" in of(events, BookGapped)[0].reason
    assert not of(venue.receive("public", book("snapshot", -1, 20, checksum=0, **sides)), BookGapped)


def test_the_checksum_of_one_side() -> None:
    model = OrderBook("x")
    model.apply_snapshot(1, 1, [(D("3366.1"), D(7)), (D(3366), D(6))], [(D("3366.8"), D(9))])
    from zlib import crc32

    expected = crc32(b"3366.1:7:3366.8:9:3366:6")
    assert book_checksum(model) % 2**32 == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bids": [["x", "1", "0", "1"]]}, "bids: not a number"),
        ({"bids": [[1.5, "1", "0", "1"]]}, "bids"),
        ({"asks": None}, "asks"),
        ({"ts": T0_MS}, "ts"),
        ({"ts": ""}, "ts"),
        ({"ts": str(T0_MS + 60_000)}, "in the future"),
        ({"seqId": None}, "seqId, prevSeqId: missing"),
        ({"bids": [level("60000", "1")]}, "crossed"),
    ],
    ids=str,
)
def test_a_change_that_can_not_be_read_breaks_the_book(change: dict[str, Any], field: str) -> None:
    venue = live()
    venue.receive("public", book("snapshot", -1, 10, asks=[level("50000", "2")]))
    events = venue.receive("public", book("update", 10, 11, **change))
    texts = [event.reason for event in of(events, BookGapped)] + [e.message for e in of(events, VenueErrorReported)]
    assert any(field in text for text in texts), events
    assert not venue.session.book(SYMBOL).is_usable


def test_books_that_are_whole_each_time() -> None:
    venue = live(books="books5")
    for sequence in (10, 5):
        frame = book("", -1, sequence, bids=[level("1", "1")])
        frame["arg"]["channel"] = "books5"
        venue.receive("public", frame)
    assert venue.session.book(SYMBOL).sequence == 5
    odd = book("odd", 1, 2)
    assert "action" in of(venue.receive("public", odd), VenueErrorReported)[0].message
    with pytest.raises(ValueError, match="books is"):
        session(books="books9")
    with pytest.raises(ValueError, match="trade_mode is"):
        session(trade_mode="x")
    with pytest.raises(ValueError, match="passphrase"):
        session(keyring=Keyring("k", HmacSigner("s")))


# -- the rest of the market


def test_tickers_trades_and_marks() -> None:
    venue = live(option_families=("BTC-USD",))
    ticker = {"instId": SYMBOL, "askPx": "50000.1", "askSz": "7", "bidPx": "50000", "bidSz": "", "ts": TS}
    (top,) = venue.receive("public", push("tickers", [ticker], instId=SYMBOL))
    assert isinstance(top, TopOfBookUpdated)
    assert (top.bid, top.bid_quantity, top.ask, top.ask_quantity) == (D(50000), D(0), D("50000.1"), D("0.07"))
    trade = {"instId": SYMBOL, "tradeId": "9", "px": "50000", "sz": "3", "side": "sell", "ts": TS}
    (told,) = venue.receive("public", push("trades", [trade], instId=SYMBOL))
    assert told == TradePrinted(SYMBOL, "9", "sell", D("0.03"), D(50000), T0_MS * 10**6)
    limit = {"instId": SYMBOL, "buyLmt": "51000", "sellLmt": "49000", "ts": TS}
    assert venue.receive("public", push("price-limit", [limit], instId=SYMBOL)) == []
    mark = {"instId": SYMBOL, "instType": "SWAP", "markPx": "50000.5", "ts": TS}
    assert venue.receive("public", push("mark-price", [mark], instId=SYMBOL)) == []  # no index yet
    index = {"instId": "BTC-USDT", "idxPx": "50001.5", "ts": TS}
    (told,) = venue.receive("public", push("index-tickers", [index], instId="BTC-USDT"))
    assert told == IndexPriceUpdated("BTC-USDT", 50001.5, T0_MS * 10**6)
    (told,) = venue.receive("public", push("mark-price", [mark], instId=SYMBOL))
    assert told == MarkPriceUpdated(
        SYMBOL, 50000.5, 50001.5, T0_MS * 10**6, None, None, None, 50000.0, 50000.1, 49000.0, 51000.0, True
    )
    funding = {"instId": SYMBOL, "fundingRate": "0.0001", "fundingTime": str(T0_MS + 5), "ts": TS}
    (told,) = venue.receive("public", push("funding-rate", [funding], instId=SYMBOL))
    assert told == FundingUpdated(SYMBOL, D("0.0001"), (T0_MS + 5) * 10**6, T0_MS * 10**6)
    for channel, wrong in [
        ("tickers", ticker | {"bidPx": "50000.1"}),
        ("tickers", ticker | {"ts": str(T0_MS + 9_000)}),
        ("trades", trade | {"sz": "0"}),
        ("trades", trade | {"instId": "NOBODY"}),
        ("mark-price", mark | {"markPx": "0"}),
        ("index-tickers", index | {"idxPx": ""}),
        ("funding-rate", funding | {"fundingTime": ""}),
        ("price-limit", limit | {"buyLmt": "x"}),
    ]:
        (error,) = venue.receive("public", push(channel, [wrong], instId=SYMBOL))
        assert isinstance(error, VenueErrorReported), channel


def test_an_index_that_is_old_says_nothing() -> None:
    venue = live()
    index = {"instId": "BTC-USDT", "idxPx": "50001.5", "ts": TS}
    venue.receive("public", push("index-tickers", [index], instId="BTC-USDT"))
    venue.now_ns += 200 * S
    mark = {"instId": SYMBOL, "markPx": "50000.5", "ts": str(T0_MS + 200_000)}
    assert venue.receive("public", push("mark-price", [mark], instId=SYMBOL)) == []
    older = venue.receive("public", push("index-tickers", [index | {"ts": str(T0_MS - 5)}], instId="BTC-USDT"))
    assert older == []


def test_an_option_has_a_volatility() -> None:
    venue = live(option_families=("BTC-USD",))
    symbol = OPTION["instId"]
    vols = {"instId": symbol, "markVol": "0.455", "bidVol": "", "askVol": "0.46", "fwdPx": "97000", "ts": TS}
    index = {"instId": "BTC-USD", "idxPx": "96000", "ts": TS}
    mark = {"instId": symbol, "markPx": "0.02", "ts": TS}
    venue.receive("public", push("index-tickers", [index], instId="BTC-USD"))
    assert venue.receive("public", push("mark-price", [mark], instId=symbol)) == []  # no volatility yet
    (told,) = venue.receive("public", push("opt-summary", [vols, vols | {"instId": "else"}], instFamily="BTC-USD"))
    assert told == OptionVolsUpdated(symbol, 0.455, None, 0.46, 97000.0, T0_MS * 10**6)
    (told,) = venue.receive("public", push("mark-price", [mark], instId=symbol))
    assert (told.mark_iv, told.underlying_price, told.index_price) == (0.455, 97000.0, 96000.0)


def test_channels_that_nobody_asked_for() -> None:
    venue = live()
    for lane in ("public", "private"):
        events = venue.receive(lane, push("candle1m", [[]], instId=SYMBOL))
        assert f"on the {lane} lane" in of(events, VenueErrorReported)[0].message
    (error, *_) = venue.receive("public", {"event": "surprise"})
    assert "event: 'surprise'" in error.message
    assert venue.receive("public", {"event": "channel-conn-count", "channel": "orders", "connCount": "1"}) == []
    assert venue.receive("public", b"pong") == []
