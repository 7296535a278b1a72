"""What is Binance's own, of the market: books, best prices, marks, terms."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocols.errors import LocalProtocolError
from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    FundingUpdated,
    IndexPriceUpdated,
    InstrumentListed,
    MarginTier,
    MarginTiersListed,
    MarkPriceUpdated,
    PositionsReported,
    ReconcileFailed,
    TopOfBookUpdated,
    TradePrinted,
    VenueErrorReported,
)
from tests.protocols.venues.cases import BINANCE, place
from tests.protocols.venues.fake_binance import (
    ACCOUNT,
    BRACKETS,
    KEY,
    SYMBOL,
    FakeBinance,
    depth,
    live,
    order_update,
    session,
)
from tests.protocols.venues.lane_peer import SECRET, T0_MS, S, of, query_of

D = Decimal
MARK = {"e": "markPriceUpdate", "E": T0_MS, "s": "BTCUSDT", "p": "50000.5", "i": "50001.5", "P": "", "r": "0.0001",
        "T": T0_MS + 1000}  # fmt: skip
TICKER = {"e": "bookTicker", "u": 7, "E": T0_MS, "T": T0_MS, "s": "BTCUSDT", "b": "50000.0", "B": "1.5", "a": "50000.1",
          "A": "2"}  # fmt: skip


def stream(data: dict[str, Any], name: str = "x") -> dict[str, Any]:
    return {"stream": name, "data": data}


class Constant:
    """A key that signs everything alike, and as one that session.logon takes."""

    is_asymmetric = True
    secrets = (SECRET,)

    def sign(self, payload: bytes) -> bytes:
        return b"\xfb\xff\xfe" + payload[:3]


# -- market data


def test_a_book_from_buffered_changes_and_a_snapshot() -> None:
    venue = live()
    venue.answers["GET /fapi/v1/depth"] = lambda _: {
        "lastUpdateId": 105, "E": T0_MS, "T": T0_MS, "bids": [["50000.0", "1"]], "asks": [["50001.0", "2"]],
    }  # fmt: skip
    events = venue.receive("public", depth(100, 106, 99, b=[["49999.0", "3"]]))
    assert [type(event) for event in events] == [BookUpdated]
    book = venue.session.book("BTCUSDT")
    assert (book.best_bid, book.best_ask, book.sequence) == (D(50000), D(50001), 106)
    venue.receive("public", depth(107, 110, 106, b=[["50000.0", "0"]], a=[["50000.5", "1"]]))
    assert (book.best_bid, book.best_ask) == (D(49999), D("50000.5"))
    venue.receive("public", depth(112, 113, 111))
    assert of(venue.seen, BookGapped)[-1].reason == "gap: follows 111, last was 110"
    venue.pass_time(S)
    assert query_of(venue.asked[-1]) == {"symbol": "BTCUSDT", "limit": "1000"}


def test_a_spot_book_is_numbered_on() -> None:
    venue = live()
    venue.answers["GET /fapi/v1/depth"] = lambda _: {"lastUpdateId": 105, "bids": [["5", "1"]], "asks": [["6", "1"]]}
    venue.receive("public", depth(106, 107, None))
    assert venue.session.book("BTCUSDT").sequence == 107
    venue.receive("public", depth(108, 109, None))
    assert venue.session.book("BTCUSDT").is_usable
    venue.receive("public", depth(111, 112, None))
    assert not venue.session.book("BTCUSDT").is_usable
    top = {"u": 9, "s": "BTCUSDT", "b": "5", "B": "1", "a": "6", "A": "1"}
    (told,) = of(venue.receive("public", stream(top, "btcusdt@bookTicker")), TopOfBookUpdated)
    assert (told.bid, told.ask, told.sequence) == (D(5), D(6), 9)


def test_partial_books_are_whole_each_time() -> None:
    venue = live()
    for last in (10, 500, 20):
        frame = depth(last - 5, last, 1, b=[["1", "1"]], a=[["2", "1"]]) | {"stream": "btcusdt@depth20@100ms"}
        venue.receive("public", frame)
        assert venue.session.book("BTCUSDT").sequence == last
    assert venue.session.book("BTCUSDT").is_usable


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"b": [["x", "1"]]}, "b: not a number"),
        ({"b": [["1", None]]}, "b: "),
        ({"b": [[1.5, "1"]]}, "b: "),
        ({"u": "113"}, "data.u"),
        ({"u": None}, "data.u"),
        ({"U": 900}, "U, u"),
        ({"T": T0_MS + 60_000, "E": 1}, "in the future"),
        ({"T": 0, "E": 0}, "T: 0 ms"),
    ],
    ids=str,
)
def test_a_change_that_can_not_be_read_breaks_the_book(change: dict[str, Any], field: str) -> None:
    venue = live()
    venue.answers["GET /fapi/v1/depth"] = lambda _: {"lastUpdateId": 105, "bids": [], "asks": []}
    venue.receive("public", depth(100, 106, 99))
    frame = depth(107, 113, 106)
    frame["data"] |= change
    events = venue.receive("public", frame)
    assert any(field in error.message for error in of(events, VenueErrorReported)), events
    # What could not even be decoded is missed at the next link.
    venue.receive("public", depth(114, 115, 113))
    assert not venue.session.book("BTCUSDT").is_usable


def test_best_prices() -> None:
    venue = live()
    (top,) = venue.receive("public", stream(TICKER))
    assert (top.bid, top.bid_quantity, top.ask, top.ask_quantity) == (D(50000), D("1.5"), D("50000.1"), D(2))
    (empty,) = venue.receive("public", stream(TICKER | {"b": "0", "B": "0"}))
    assert empty.bid is None
    for wrong in ({"b": "50000.2"}, {"A": "NaN"}, {"s": "NOBODY"}, {"B": 1.5}, {"T": T0_MS + 10_000}, {"T": -1}):
        (error,) = venue.receive("public", stream(TICKER | wrong))
        assert isinstance(error, VenueErrorReported)
        assert error.message


def test_trades() -> None:
    venue = live()
    trade = {"e": "trade", "E": T0_MS, "T": T0_MS, "s": "BTCUSDT", "t": 9, "p": "50000.1", "q": "0.5", "m": True}
    (told,) = venue.receive("public", stream(trade))
    assert told == TradePrinted("BTCUSDT", "9", "sell", D("0.5"), D("50000.1"), T0_MS * 10**6)
    assert venue.receive("public", stream(trade | {"X": "NA", "p": "0", "q": "0"})) == []
    aggregate = {"e": "aggTrade", "E": T0_MS, "T": T0_MS, "s": "BTCUSDT", "a": 5, "p": "1.5", "q": "2", "m": False}
    (told,) = venue.receive("market", stream(aggregate))
    assert (told.trade_id, told.side) == ("5", "buy")
    order = {"s": "BTCUSDT", "S": "SELL", "l": "0.014", "ap": "9910.1", "T": T0_MS}
    (told,) = venue.receive("market", stream({"e": "forceOrder", "E": T0_MS, "o": order}))
    assert told.is_liquidation
    for wrong in ({"q": "0"}, {"p": "-1"}, {"s": "NOBODY"}, {"T": T0_MS + 9_000}):
        (error,) = venue.receive("market", stream(aggregate | wrong))
        assert isinstance(error, VenueErrorReported)


def test_marks_funding_and_index() -> None:
    venue = live()
    venue.receive("public", stream(TICKER))
    events = venue.receive("market", stream(MARK))
    assert [type(event) for event in events] == [IndexPriceUpdated, FundingUpdated, MarkPriceUpdated]
    index, funding, mark = events
    assert (index.name, index.price) == ("BTCUSDT", 50001.5)
    assert (funding.rate, funding.next_ns) == (D("0.0001"), (T0_MS + 1000) * 10**6)
    assert (mark.mark_price, mark.index_price, mark.best_bid, mark.best_ask) == (50000.5, 50001.5, 50000.0, 50000.1)
    # One that is older than the last is not told.
    assert not of(venue.receive("market", stream(MARK | {"E": T0_MS - 5})), MarkPriceUpdated)
    for wrong in ({"p": "0"}, {"p": "x"}, {"i": "-1"}, {"E": T0_MS + 10_000}, {"s": "NOBODY"}, {"T": -1}):
        events = venue.receive("market", stream(MARK | wrong))
        assert of(events, VenueErrorReported)
        assert not of(events, MarkPriceUpdated)
    # COIN-M tells the index apart.
    (index,) = venue.receive("market", stream({"e": "indexPriceUpdate", "i": "BTCUSD", "E": T0_MS, "p": "50000.25"}))
    assert index == IndexPriceUpdated("BTCUSD", 50000.25, T0_MS * 10**6)


def test_lanes_carry_their_own_and_nothing_else() -> None:
    venue = live()
    for lane, frame in [
        ("public", order_update()),
        ("market", {"e": "ACCOUNT_UPDATE", "E": 1, "a": {"B": [], "P": []}}),
    ]:
        (error,) = venue.receive(lane, stream(frame))
        assert f"on the {lane} lane" in error.message
    events = venue.receive("private", stream(TICKER))
    assert "on the private lane" in of(events, VenueErrorReported)[0].message
    fast = next(frame for lane, frame in FakeBinance_connected().sent if lane == "public")
    assert fast["params"][:2] == ["btcusdt@depth@100ms", "btcusdt@bookTicker"]


def FakeBinance_connected() -> FakeBinance:  # noqa: N802
    venue = FakeBinance(session())
    venue.connect()
    return venue


@pytest.mark.parametrize(
    ("settings", "streams"),
    [
        ({"depth": "", "has_tickers": False, "trades": "", "mark": ""}, set()),
        ({"trades": "trade"}, {"btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@trade", "btcusdt@markPrice@1s"}),
    ],
)
def test_what_is_subscribed(settings: dict[str, Any], streams: set[str]) -> None:
    venue = FakeBinance(session(symbols="BTCUSDT".__eq__, **settings))
    venue.connect()
    assert {one for _, frame in venue.sent if frame["method"] == "SUBSCRIBE" for one in frame["params"]} == streams


# -- terms


def test_terms_and_tiers() -> None:
    venue = FakeBinance(session())
    events = venue.connect()
    perpetual, future = of(events, InstrumentListed)
    assert (perpetual.kind, perpetual.tick_size, perpetual.min_trade_amount, perpetual.expiration_ns) == (
        "perpetual", D("0.1"), D("0.001"), None,
    )  # fmt: skip
    assert (future.kind, future.expiration_ns) == ("future", 1806048000000 * 10**6)
    (tiers,) = of(events, MarginTiersListed)
    assert tiers.tiers[0] == MarginTier(D(0), D(50000), D(1) / 125, D("0.004"), D(0), D(125))
    assert [tier.above for tier in tiers.tiers] == [0, 50000]  # in order, as they were not
    assert tiers.tiers[1].maintenance_rate == D("0.005")  # a bare number of JSON, exactly


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"contractType": "MYSTERY"}, "contractType"),
        ({"filters": []}, "filters"),
        ({"filters": [{"filterType": "PRICE_FILTER", "tickSize": "0"}, {"filterType": "LOT_SIZE", "stepSize": "1"}]},
         "tickSize"),
        ({"status": ""}, "status"),
        ({"pair": None}, "pair"),
        ({"contractType": "CURRENT_QUARTER", "deliveryDate": 0}, "deliveryDate"),
    ],
)  # fmt: skip
def test_terms_that_can_not_be(change: dict[str, Any], field: str) -> None:
    venue = FakeBinance(session(), {"GET /fapi/v1/exchangeInfo": lambda _: {"symbols": [SYMBOL | change]}})
    events = venue.connect()
    assert field in of(events, VenueErrorReported)[0].message
    assert not of(events, InstrumentListed)


@pytest.mark.parametrize(
    "change", [{"notionalCap": 0}, {"notionalFloor": None}, {"initialLeverage": 0}, {"maintMarginRatio": 1.5}]
)
def test_tiers_that_can_not_be(change: dict[str, Any]) -> None:
    brackets = [{"symbol": "BTCUSDT", "brackets": [BRACKETS[0]["brackets"][0] | change]}]  # type: ignore[index]
    venue = FakeBinance(session(), {"GET /fapi/v1/leverageBracket": lambda _: brackets})
    assert of(venue.connect(), ReconcileFailed)


def test_limits_that_the_venue_states_lower_are_heeded() -> None:
    limit = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 5}
    odd = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 1}
    listing = {"rateLimits": [limit, odd], "symbols": [SYMBOL]}
    venue = FakeBinance(session(), {"GET /fapi/v1/exchangeInfo": lambda _: listing, "order.place": None})
    venue.connect()
    for number in range(5):
        place(venue, BINANCE, f"a{number}")
    assert not venue.session.can_send_order(venue.now_ns)


def test_coin_margined() -> None:
    listing = {
        "symbols": [
            SYMBOL | {"symbol": "BTCUSD_PERP", "pair": "BTCUSD", "quoteAsset": "USD", "marginAsset": "BTC",
                      "contractSize": 100, "status": "", "contractStatus": "TRADING",
                      "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.1"},
                                  {"filterType": "LOT_SIZE", "stepSize": "1"}]}
        ]
    }  # fmt: skip
    brackets = [{"symbol": "BTCUSD_PERP", "brackets": [
        {"initialLeverage": 125, "qtyFloor": 0, "qtyCap": 5, "maintMarginRatio": 0.004, "cum": 0}]}]  # fmt: skip
    coin = {"asset": "BTC", "walletBalance": "1", "marginBalance": "1", "initialMargin": "0", "maintMargin": "0",
            "availableBalance": "1"}  # fmt: skip
    venue = FakeBinance(
        session(product="coin_m"),
        {
            "GET /dapi/v1/time": lambda _: {"serverTime": T0_MS},
            "GET /dapi/v1/positionSide/dual": lambda _: {"dualSidePosition": False},
            "GET /dapi/v1/exchangeInfo": lambda _: listing,
            "GET /dapi/v1/leverageBracket": lambda _: brackets,
            "GET /dapi/v1/openOrders": lambda _: [],
            "account.position": lambda _: [
                {"symbol": "BTCUSD_PERP", "positionAmt": "-3", "entryPrice": "50000", "positionSide": "BOTH"}
            ],
            "account.status": lambda _: {"assets": [coin]},
        },
    )
    events = venue.connect()
    assert venue.session.is_live
    assert venue.session.url("private") == f"/ws/{KEY}"
    (listed,) = of(events, InstrumentListed)
    assert (listed.is_inverse, listed.min_trade_amount, listed.contract_size) == (True, D(100), D(100))
    assert of(events, PositionsReported)[0].positions[0].quantity == D(-300)
    assert of(events, MarginTiersListed)[0].unit == "quantity"
    (told,) = venue.receive("public", stream(TICKER | {"s": "BTCUSD_PERP"}))
    assert told.bid_quantity == D(150)  # contracts of 100
    venue.session.place(
        "a1", "BTCUSD_PERP", True, "300", "50000", "limit", "good_til_cancelled", False, False, venue.now_ns
    )
    ((_, frame),) = venue.pump()
    assert frame["params"]["quantity"] == "3"
    with pytest.raises(LocalProtocolError, match="no number of contracts"):
        venue.session.place(
            "a2", "BTCUSD_PERP", True, "0.00000000000000007", "5", "limit", "good_til_cancelled", False, False, 0
        )
    with pytest.raises(ValueError, match="product"):
        session(product="options")


def test_the_band_of_limit_prices_goes_with_the_mark() -> None:
    band = {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95", "multiplierDecimal": "4"}
    answers = {
        "GET /fapi/v1/exchangeInfo": lambda _: {
            "rateLimits": [],
            "symbols": [SYMBOL | {"filters": [*SYMBOL["filters"], band]}],
        }
    }
    venue = FakeBinance(session(), answers)
    venue.connect()
    (told,) = of(venue.receive("market", {"stream": "btcusdt@markPrice@1s", "data": MARK}), MarkPriceUpdated)
    assert (told.min_price, told.max_price) == (pytest.approx(47_500.475), pytest.approx(52_500.525))
    band["multiplierUp"] = "0.9"
    venue.session.list_instruments(venue.now_ns)
    venue.pump()
    assert any("multiplierUp" in event.message for event in of(venue.events(), VenueErrorReported))


@pytest.mark.parametrize("is_inverse", [False, True])
def test_a_position_in_a_contract_that_is_not_wanted_is_understood(is_inverse: bool) -> None:
    """COIN-M lists all contracts among the positions; what one counts is known of each, wanted or not."""
    product = "coin_m" if is_inverse else "usd_m"
    prefix, words = ("/dapi/v1", "") if is_inverse else ("/fapi/v1", "v2/")
    symbol = SYMBOL | {"contractSize": 100, "contractStatus": "TRADING"}
    position = {"symbol": "OTHER", "positionSide": "BOTH", "positionAmt": "-3", "entryPrice": "50000"}
    listed = {"rateLimits": [], "symbols": [symbol, symbol | {"symbol": "OTHER"}]}
    answers = {
        f"GET {prefix}/exchangeInfo": lambda _: listed,
        f"GET {prefix}/leverageBracket": lambda _: [],
        f"GET {prefix}/time": lambda _: {"serverTime": venue.now_ns // 1_000_000},
        f"{words}account.position": lambda _: [position],
        f"{words}account.status": lambda _: ACCOUNT,
    }
    for name, answer in list(FakeBinance(session()).answers.items()):
        answers.setdefault(name.replace("/fapi/v1", prefix), answer)
    venue = FakeBinance(session(product=product, symbols=lambda name: name == "BTCUSDT"), answers)
    (told,) = of(venue.connect(), PositionsReported)
    assert [(one.symbol, one.quantity) for one in told.positions] == [("OTHER", -300 if is_inverse else -3)]
