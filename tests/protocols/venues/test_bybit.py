"""What is Bybit's own, of the market: numbered books, tickers of changes, categories."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    FundingUpdated,
    IndexPriceUpdated,
    InstrumentListed,
    MarginTiersListed,
    MarkPriceUpdated,
    OptionVolsUpdated,
    ReconcileFailed,
    TopOfBookUpdated,
    TradePrinted,
    VenueErrorReported,
)
from tests.protocols.venues.fake_bybit import (
    INVERSE,
    LINEAR,
    OPTION,
    RISK,
    SPOT,
    FakeBybit,
    book,
    live,
    push,
    session,
)
from tests.protocols.venues.lane_peer import T0_MS, RefusalError, S, of, query_of

D = Decimal
SYMBOL = "BTCUSDT"
TICKER = {
    "symbol": SYMBOL, "markPrice": "50000.5", "indexPrice": "50001.5", "fundingRate": "-0.0002",
    "nextFundingTime": str(T0_MS + 5), "bid1Price": "50000", "bid1Size": "2", "ask1Price": "50000.1", "ask1Size": "3",
}  # fmt: skip
ALL = ("linear", "inverse", "option", "spot")


def ticker(kind: str = "snapshot", time_ms: int = T0_MS, **data: Any) -> dict[str, Any]:
    return {"topic": f"tickers.{SYMBOL}", "type": kind, "ts": time_ms, "data": {"symbol": SYMBOL} | data}


def refuses(code: int) -> Any:
    def answer_(_: Any) -> Any:
        raise RefusalError(code)

    return answer_


# -- market data


def test_a_book_by_its_count() -> None:
    venue = live()
    assert venue.receive("linear", book("snapshot", 7, b=[["50000", "1"]], a=[["50001", "2"]])) == [BookUpdated(SYMBOL)]
    venue.receive("linear", book("delta", 8, b=[["50000", "0"], ["49999", "3"]]))
    kept = venue.session.book(SYMBOL)
    assert (kept.best_bid, kept.sequence) == (D(49999), 8)
    for wrong in (8, 10, 7):
        venue.receive("linear", book("snapshot", 8, b=[["49999", "3"]]))
        events = venue.receive("linear", book("delta", wrong))
        assert len(of(events, BookGapped)) == 1, wrong
        assert not kept.is_usable
    # After a restart of the service the count begins anew, with a snapshot numbered 1.
    assert venue.receive("linear", book("snapshot", 1, b=[["5", "1"]])) == [BookUpdated(SYMBOL)]
    assert venue.receive("linear", book("delta", 2)) == [BookUpdated(SYMBOL)]
    # The same snapshot again, as the shallowest book has it when nothing changes.
    assert venue.receive("linear", book("snapshot", 2, b=[["5", "1"]])) == [BookUpdated(SYMBOL)]


def test_a_broken_book_is_left_and_joined() -> None:
    venue = live()
    venue.receive("linear", book("delta", 3))
    frames = [(frame["op"], frame["args"]) for lane, frame in venue.sent if lane == "linear"]
    assert frames == [("unsubscribe", ["orderbook.50.BTCUSDT"]), ("subscribe", ["orderbook.50.BTCUSDT"])]
    # One that is not subscribed again is asked for once more.
    venue.answers["subscribe"] = refuses(10404)
    venue.receive("linear", book("snapshot", 3))
    venue.receive("linear", book("delta", 9))
    venue.pass_time(2 * S)
    assert len(of(venue.seen, BookGapped)) >= 3
    venue.hang_up("linear")
    venue.session._ask_snapshot(SYMBOL, venue.now_ns)
    assert not venue.pump()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"b": [["x", "1"]]}, "b: not a number"),
        ({"a": [["1", 2]]}, "a"),
        ({"u": -1}, "u, type"),
        ({"u": "8"}, "u"),
        ({"s": "ETHUSDT"}, "s: 'ETHUSDT'"),
        ({"s": None}, "s"),
    ],
    ids=str,
)
def test_a_change_that_can_not_be_read_breaks_the_book(change: dict[str, Any], field: str) -> None:
    venue = live()
    venue.receive("linear", book("snapshot", 7))
    events = venue.receive("linear", book("delta", 8, **change))
    assert any(field in error.message for error in of(events, VenueErrorReported))
    assert of(events, BookGapped)
    venue.receive("linear", book("snapshot", 7))
    assert of(venue.receive("linear", book("delta", 8, T0_MS + 60_000)), BookGapped)
    odd = book("odd", 8)
    assert of(venue.receive("linear", odd), BookGapped)
    odd["topic"] = "orderbook.50.NOBODY"
    assert of(venue.receive("linear", odd), VenueErrorReported)


def test_a_ticker_is_put_together_from_what_has_changed() -> None:
    venue = live()
    events = venue.receive("linear", ticker(**TICKER))
    kinds = [TopOfBookUpdated, FundingUpdated, IndexPriceUpdated, MarkPriceUpdated]
    assert [type(event) for event in events] == kinds
    assert events[1] == FundingUpdated(SYMBOL, D("-0.0002"), (T0_MS + 5) * 10**6, T0_MS * 10**6)
    mark = events[3]
    assert (mark.mark_price, mark.index_price, mark.best_bid, mark.best_ask) == (50000.5, 50001.5, 50000.0, 50000.1)
    (top,) = venue.receive("linear", ticker("delta", T0_MS + 1, bid1Size="9"))
    assert (top.bid, top.bid_quantity, top.ask) == (D(50000), D(9), D("50000.1"))
    # An index that has not changed is still known, however long that has been.
    venue.now_ns += 300 * S
    (told,) = venue.receive("linear", ticker("delta", T0_MS + 300_000, markPrice="50002"))
    assert (told.mark_price, told.index_price) == (50002.0, 50001.5)
    (empty,) = venue.receive("linear", ticker("delta", T0_MS + 300_000, ask1Price="", ask1Size="0"))
    assert empty.ask is None
    assert venue.receive("linear", ticker("delta", T0_MS + 300_000, volume24h="1")) == []
    for wrong in ({"bid1Price": "50000.2", "ask1Price": "50000.1"}, {"markPrice": "0"}, {"indexPrice": "x"},
                  {"fundingRate": "x"}, {"symbol": "ETHUSDT"}, {"bid1Size": 5}):  # fmt: skip
        events = venue.receive("linear", ticker("delta", T0_MS, **wrong))
        assert of(events, VenueErrorReported), wrong
    assert of(venue.receive("linear", ticker("delta", T0_MS + 999_000)), VenueErrorReported)


def test_after_a_lost_connection_nothing_old_is_mixed_in() -> None:
    venue = live()
    venue.receive("linear", ticker(**TICKER))
    venue.hang_up("linear")
    venue.dial()
    (top,) = of(venue.receive("linear", ticker("delta", bid1Price="1", bid1Size="1")), TopOfBookUpdated)
    assert top.ask is None


def test_options() -> None:
    venue = live(categories=("option",), option_coins=("BTC",))
    symbol = OPTION["symbol"]
    data = {"symbol": symbol, "bidPrice": "0", "bidSize": "0", "bidIv": "0", "askPrice": "10", "askSize": "5.1",
            "askIv": "0.514", "markPrice": "7.86", "indexPrice": "16823.7", "markPriceIv": "0.4896",
            "underlyingPrice": "16815.1"}  # fmt: skip
    frame = {"id": "x", "topic": f"tickers.{symbol}", "type": "snapshot", "ts": T0_MS, "data": data}
    events = venue.receive("option", frame)
    (vols,) = of(events, OptionVolsUpdated)
    assert (vols.mark_iv, vols.bid_iv, vols.ask_iv, vols.forward_price) == (0.4896, None, 0.514, 16815.1)
    (mark,) = of(events, MarkPriceUpdated)
    assert (mark.mark_iv, mark.underlying_price, mark.best_bid, mark.best_ask) == (0.4896, 16815.1, None, 10.0)
    trades = [{"T": T0_MS, "s": one, "S": "Sell", "v": "0.5", "p": "8", "i": "t1"} for one in (symbol, "BTC-else")]
    told = venue.receive("option", {"topic": "publicTrade.BTC", "type": "snapshot", "ts": T0_MS, "data": trades})
    assert told == [TradePrinted(symbol, "t1", "sell", D("0.5"), D(8), T0_MS * 10**6)]


def test_the_option_lane_answers_in_order_and_without_ids() -> None:
    venue = FakeBybit(session(categories=("option",), option_coins=("BTC",)), {"subscribe": None, "unsubscribe": None})
    venue.answers["subscribe"] = lambda _: None
    venue.connect()
    assert venue.session.is_live
    venue.answers["subscribe"] = None
    venue.session._ask_snapshot(OPTION["symbol"], venue.now_ns)
    assert len(venue.pump()) == 2
    failed = {"success": True, "conn_id": "c", "type": "COMMAND_RESP", "data": {"failTopics": ["x"]}}
    events = venue.receive("option", failed)
    assert any("failTopics: x" in error.message for error in of(events, VenueErrorReported))
    assert not of(venue.receive("option", failed | {"data": {}}), VenueErrorReported)[1:]
    (error,) = venue.receive("option", failed)[:1]
    assert "nothing was asked" in error.message


def test_lanes_carry_their_own_and_nothing_else() -> None:
    venue = live()
    for lane, topic in [("private", "orderbook.50.BTCUSDT"), ("linear", "order"), ("trade", "tickers.BTCUSDT")]:
        events = venue.receive(lane, {"topic": topic, "type": "snapshot", "ts": T0_MS, "data": {}})
        assert f"on the {lane} lane" in of(events, VenueErrorReported)[0].message
    assert venue.receive("private", push("dcp.future")) == []
    assert venue.receive("private", {"op": "pong", "args": ["1"], "conn_id": "c"}) == []
    with pytest.raises(ValueError, match="categories"):
        session(categories=("margin",))
    with pytest.raises(ValueError, match="categories: none"):
        session(categories=())


@pytest.mark.parametrize(
    ("settings", "topics"),
    [
        ({"depth": 0, "has_tickers": False, "has_trades": False}, set()),
        ({"depth": 200, "has_trades": False}, {"orderbook.200.BTCUSDT", "tickers.BTCUSDT"}),
    ],
)
def test_what_is_subscribed(settings: dict[str, Any], topics: set[str]) -> None:
    venue = FakeBybit(session(**settings))
    venue.connect()
    assert {one for lane, frame in venue.sent if lane == "linear" for one in frame.get("args", [])} == topics


# -- terms


def test_terms_of_each_category() -> None:
    venue = FakeBybit(session(categories=ALL, option_coins=("BTC",)))
    listed = {event.symbol: event for event in of(venue.connect(), InstrumentListed)}
    linear, inverse, option, spot = (listed[one["symbol"]] for one in (LINEAR, INVERSE, OPTION, SPOT))
    assert (linear.kind, linear.tick_size, linear.min_trade_amount) == ("perpetual", D("0.1"), D("0.001"))
    assert (inverse.kind, inverse.is_inverse, inverse.settlement_currency, inverse.underlying) == (
        "future", True, "BTC", "BTCUSD",
    )  # fmt: skip
    assert (option.strike, option.option_type, option.is_inverse) == (D(100000), "call", False)
    assert (spot.settlement_currency, spot.min_trade_amount) == ("USDT", D("0.00001"))
    tiers = {event.name: event for event in of(venue.seen, MarginTiersListed)}
    assert set(tiers) == {"BTCUSDT", "BTCUSDH27"}
    first, second = tiers["BTCUSDT"].tiers
    assert (first.above, first.up_to, first.deduction) == (D(0), D(2_000_000), D(0))
    assert (second.above, second.deduction, second.max_leverage) == (D(2_000_000), D(1200), D(90))


@pytest.mark.parametrize(
    ("category", "change", "field"),
    [
        ("linear", {"contractType": "Mystery"}, "contractType"),
        ("linear", {"settleCoin": ""}, "settleCoin"),
        ("linear", {"lotSizeFilter": {}}, "qtyStep"),
        ("linear", {"priceFilter": None}, "priceFilter"),
        ("inverse", {"deliveryTime": ""}, "deliveryTime"),
        ("option", {"symbol": "BTC-X"}, "symbol, optionsType"),
        ("option", {"optionsType": ""}, "symbol, optionsType"),
        ("option", {"symbol": "BTC-26MAR27-x-C"}, "symbol: not a number"),
    ],
)
def test_terms_that_can_not_be(category: str, change: dict[str, Any], field: str) -> None:
    wire = {"linear": LINEAR, "inverse": INVERSE, "option": OPTION}[category] | change
    venue = FakeBybit(session(categories=(category,), option_coins=("BTC",)))
    venue.answers["GET /v5/market/instruments-info"] = lambda _: {"list": [wire]}
    events = venue.connect()
    assert field in of(events, VenueErrorReported)[0].message
    assert not of(events, InstrumentListed)


def test_a_symbol_of_two_categories_is_listed_once() -> None:
    venue = FakeBybit(session(categories=("linear", "spot")))
    both = {"linear": LINEAR, "spot": SPOT | {"symbol": SYMBOL}}
    venue.answers["GET /v5/market/instruments-info"] = lambda request: {"list": [both[query_of(request)["category"]]]}
    events = venue.connect()
    assert len(of(events, InstrumentListed)) == 1
    assert "is listed in linear: already" in of(events, VenueErrorReported)[0].message


def test_risk_limits_of_another_symbol_are_refused() -> None:
    venue = FakeBybit(session(), {"GET /v5/market/risk-limit": lambda _: {"list": [RISK[0] | {"symbol": "X"}]}})
    assert of(venue.connect(), ReconcileFailed)


def test_the_band_of_limit_prices_goes_with_the_mark() -> None:
    listed = LINEAR | {"riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"}}
    answers = {"GET /v5/market/instruments-info": lambda _: {"list": [listed]}}
    venue = FakeBybit(session(), answers)
    venue.connect()
    data = {"symbol": "BTCUSDT", "markPrice": "50000", "indexPrice": "50001"}
    frame = {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": T0_MS, "data": data}
    (told,) = of(venue.receive("linear", frame), MarkPriceUpdated)
    assert (told.min_price, told.max_price) == (pytest.approx(49_500.0), pytest.approx(50_500.0))


def test_a_change_without_the_mark_says_that_it_is_what_it_was() -> None:
    """Told again now and then: its age is what a check asks."""
    venue = live()
    data = {"symbol": "BTCUSDT", "markPrice": "50000", "indexPrice": "50001"}
    frame = {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": T0_MS, "data": data}
    venue.receive("linear", frame)
    change = {"topic": "tickers.BTCUSDT", "type": "delta", "data": {"symbol": "BTCUSDT", "openInterest": "1"}}
    assert of(venue.receive("linear", change | {"ts": T0_MS + 499}), MarkPriceUpdated) == []
    (told,) = of(venue.receive("linear", change | {"ts": T0_MS + 500}), MarkPriceUpdated)
    assert told.time_ns == (T0_MS + 500) * 1_000_000 and told.mark_price == 50_000.0
