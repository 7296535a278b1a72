"""What is Bybit's own: numbered books, tickers of changes, executions apart from orders, categories, its counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from protocols.venues.events import (
    BalancesReported,
    BookGapped,
    BookUpdated,
    FundingUpdated,
    IndexPriceUpdated,
    InstrumentListed,
    MarginTiersListed,
    MarkPriceUpdated,
    OpenOrdersReported,
    OptionVolsUpdated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PortfolioReported,
    PositionsReported,
    ReconcileFailed,
    TopOfBookUpdated,
    TradePrinted,
    TradesReported,
    VenueErrorReported,
)
from protocols.venues.signing import HmacSigner
from tests.protocols.venues.cases import BYBIT, answer, place, quiet, rest_order, tell
from tests.protocols.venues.fake_bybit import (
    INVERSE,
    LINEAR,
    OPTION,
    RISK,
    SPOT,
    WALLET,
    FakeBybit,
    book,
    execution,
    live,
    push,
    session,
    wire_order,
)
from tests.protocols.venues.lane_peer import SECRET, T0_MS, RefusalError, S, of, query_of

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


# -- who we are


def test_the_login() -> None:
    venue = FakeBybit(session())
    venue.connect()
    frames = [frame for _, frame in venue.sent if frame["op"] == "auth"]
    assert len(frames) == 2
    expires_ms = T0_MS + 10_000
    signature = HmacSigner(SECRET).sign(f"GET/realtime{expires_ms}".encode()).hex()
    assert all(frame["args"] == ["key-id", expires_ms, signature] for frame in frames)


@pytest.mark.parametrize("lane", ["private", "trade"])
def test_a_login_that_is_refused(lane: str) -> None:
    venue = FakeBybit(session())
    usual = venue.answers["auth"]

    def refuse_one(frame: Any) -> Any:
        if lane == current[0]:
            raise RefusalError(10004)
        return usual(frame) if usual else None

    current = [""]
    answer_ = venue.answer

    def noting(one: str, frame: Any) -> None:
        current[0] = one
        answer_(one, frame)

    venue.answer = noting  # type: ignore[method-assign]
    venue.answers["auth"] = refuse_one
    venue.connect()
    assert venue.session.state.value == "halted"
    assert any(error.code == 10004 for error in of(venue.seen, VenueErrorReported))


def test_a_login_that_says_neither_yes_nor_no() -> None:
    venue = FakeBybit(session(), {"auth": None})
    venue.connect()
    events = venue.receive("private", {"op": "auth", "conn_id": "c"})
    assert "neither of them" in of(events, VenueErrorReported)[0].message
    assert venue.receive("trade", {"op": "auth", "retCode": 0}) == []
    assert venue.receive("trade", {"op": "auth", "retCode": 0}) == []  # nobody waits for it


def test_rest_requests_are_signed() -> None:
    venue = FakeBybit(session())
    venue.connect()
    for request in venue.asked:
        headers = dict(request.headers)
        payload = request.target.partition("?")[2] or request.body.decode()
        text = f"{T0_MS}key-id5000{payload}"
        assert headers["X-BAPI-SIGN"] == HmacSigner(SECRET).sign(text.encode()).hex()
        assert ("Content-Type" in headers) is bool(request.body)


def test_an_account_that_is_not_unified_is_refused() -> None:
    info = {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 1}
    venue = FakeBybit(session(), {"GET /v5/account/info": lambda _: info})
    events = venue.connect()
    assert venue.session.state.value == "halted"
    assert any("unifiedMarginStatus" in event.message for event in of(events, VenueErrorReported))


# -- orders


def test_frames_of_orders() -> None:
    venue = quiet(BYBIT, self_trade="CancelMaker")
    frame = place(venue, BYBIT, reduce_only=True)
    assert frame == {
        "reqId": frame["reqId"],
        "header": {"X-BAPI-TIMESTAMP": str(T0_MS), "X-BAPI-RECV-WINDOW": "5000"},
        "op": "order.create",
        "args": [{
            "category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Limit", "qty": "0.100",
            "timeInForce": "GTC", "orderLinkId": "a1", "price": "50000.0", "reduceOnly": True, "smpType": "CancelMaker",
        }],
    }  # fmt: skip
    (arg,) = place(venue, BYBIT, "a2", is_buy=False, order_type="market", price=None)["args"]
    assert (arg["orderType"], arg["side"], "price" in arg) == ("Market", "Sell", False)
    assert place(venue, BYBIT, "a3", post_only=True)["args"][0]["timeInForce"] == "PostOnly"
    rest_order(venue, BYBIT)
    venue.session.replace("a1", BYBIT.order_id, "0.2", "50001", venue.now_ns)
    venue.session.cancel("a1", BYBIT.order_id, venue.now_ns)
    (_, amend), (_, cancel) = venue.pump()
    assert amend["args"] == [
        {"category": "linear", "symbol": SYMBOL, "orderId": BYBIT.order_id, "qty": "0.2", "price": "50001"}
    ]
    assert cancel["args"] == [{"category": "linear", "symbol": SYMBOL, "orderId": BYBIT.order_id}]


def test_an_execution_before_its_order() -> None:
    venue = quiet(BYBIT)
    place(venue, BYBIT)
    (filled,) = tell(venue, BYBIT, push("execution", execution()))
    assert isinstance(filled, OrderFilled)
    (accepted,) = tell(venue, BYBIT, push("order", wire_order(cumExecQty="0.040", orderStatus="PartiallyFilled")))
    assert isinstance(accepted, OrderAccepted)
    assert not venue.pass_time(5 * S)  # the fill is not missed


def test_money_that_moves_without_a_trade() -> None:
    venue = live()
    for kind in ("Funding", "Delivery", "Settle"):
        assert tell(venue, BYBIT, push("execution", execution(execType=kind))) == []
    for kind in ("AdlTrade", "BustTrade"):
        (filled,) = tell(venue, BYBIT, push("execution", execution(execType=kind, execId=kind)))
        assert isinstance(filled, OrderFilled)
    events = tell(venue, BYBIT, push("execution", execution(execType="Mystery")))
    assert "execType" in of(events, VenueErrorReported)[0].message


def test_the_currency_of_a_fee() -> None:
    venue = live()
    (filled,) = tell(venue, BYBIT, push("execution", execution(feeCurrency="", execFee="-0.1")))
    assert (filled.fee_currency, filled.fee) == ("USDT", D("-0.1"))
    events = tell(venue, BYBIT, push("execution", execution(feeCurrency="", symbol="ELSE", execId="x")))
    assert "feeCurrency" in of(events, VenueErrorReported)[0].message


def test_orders_that_the_venue_ends() -> None:
    for status, reason in [("Cancelled", "CancelBySmp"), ("Deactivated", "CancelBySmp")]:
        venue = quiet(BYBIT)
        place(venue, BYBIT)
        events = tell(venue, BYBIT, push("order", wire_order(orderStatus=status, cancelType=reason)))
        assert [type(event) for event in events] == [OrderAccepted, OrderCancelled]
        assert events[1].reason == reason
    venue = quiet(BYBIT)
    answer(venue, BYBIT, place(venue, BYBIT))
    (rejected,) = tell(
        venue, BYBIT, push("order", wire_order(orderStatus="Rejected", rejectReason="EC_PostOnlyWillTakeLiquidity"))
    )
    assert rejected == OrderRejected("a1", 0, "EC_PostOnlyWillTakeLiquidity", True)
    assert not venue.pass_time(5 * S)
    # Filled in part, and then rejected for the rest.
    venue = quiet(BYBIT)
    place(venue, BYBIT)
    partly = wire_order(orderStatus="Rejected", cumExecQty="0.040", rejectReason="EC_Others")
    events = tell(venue, BYBIT, push("execution", execution()), push("order", partly))
    assert [type(event) for event in events] == [OrderFilled, OrderAccepted, OrderCancelled]
    assert events[2].filled_quantity == D("0.04")


@pytest.mark.parametrize(
    "change",
    [{"orderStatus": "Thinking"}, {"qty": "0"}, {"cumExecQty": "-1"}, {"updatedTime": ""}, {"side": "buy"},
     {"orderId": None}, {"reduceOnly": "true"}, {"price": 5}],
    ids=str,
)  # fmt: skip
def test_orders_that_can_not_be(change: dict[str, Any]) -> None:
    events = tell(live(), BYBIT, push("order", wire_order(**change)))
    assert of(events, VenueErrorReported)


@pytest.mark.parametrize("change", [{"execQty": "0"}, {"execPrice": "x"}, {"execFee": ""}, {"execTime": ""}], ids=str)
def test_executions_that_can_not_be(change: dict[str, Any]) -> None:
    events = tell(live(), BYBIT, push("execution", execution(**change)))
    assert of(events, VenueErrorReported)
    assert not of(events, OrderFilled)


# -- the account


def test_positions_and_wallet() -> None:
    venue = live()
    position = {"symbol": SYMBOL, "side": "Buy", "size": "0.5", "positionIdx": 0, "entryPrice": "50000"}
    (told,) = tell(venue, BYBIT, push("position", position))
    assert isinstance(told, PositionsReported) and not told.is_complete
    assert told.positions[0].quantity == D("0.5")
    (flat,) = tell(venue, BYBIT, push("position", position | {"side": "", "size": "0"}))
    assert flat.positions[0].quantity == 0
    assert tell(venue, BYBIT, push("position")) == []
    for wrong in ({"positionIdx": 1}, {"side": ""}, {"side": "Long"}, {"size": "-1"}, {"size": "x"}):
        assert of(tell(venue, BYBIT, push("position", position | wrong)), VenueErrorReported), wrong
    portfolio, balances = tell(venue, BYBIT, push("wallet", WALLET))
    assert isinstance(portfolio, PortfolioReported)
    assert (portfolio.equity, portfolio.margin_model) == (D("10262.9"), "REGULAR_MARGIN")
    assert isinstance(balances, BalancesReported) and not balances.is_complete
    events = tell(venue, BYBIT, push("wallet", WALLET | {"totalInitialMargin": ""}))
    assert "totalInitialMargin" in of(events, VenueErrorReported)[0].message


def test_lists_in_pages() -> None:
    venue = FakeBybit(session(settle_coins=("USDT",), trades_since_ns=(T0_MS - 9 * 86_400_000) * 10**6))

    def pages(key: str, make: Any) -> Any:
        def one(request: Any) -> Any:
            cursor = query_of(request).get("cursor", "1")
            return {"list": [make(int(cursor))], "nextPageCursor": str(int(cursor) + 1) if cursor != "3" else ""}

        return one

    venue.answers |= {
        "GET /v5/order/realtime": pages("o", lambda n: wire_order(orderId=f"o{n}", orderLinkId=f"l{n}")),
        "GET /v5/position/list": pages("p", lambda n: {
            "symbol": f"S{n}", "side": "Buy", "size": "1", "positionIdx": 0, "avgPrice": "2"}),
        "GET /v5/execution/list": pages("e", lambda n: execution(execId=f"e{n}")),
    }  # fmt: skip
    events = venue.connect()
    assert venue.session.is_live
    (orders,) = of(events, OpenOrdersReported)
    assert [order.label for order in orders.orders] == ["l1", "l2", "l3"]
    (positions,) = of(events, PositionsReported)
    assert [position.symbol for position in positions.positions] == ["S1", "S2", "S3"]
    (trades,) = of(events, TradesReported)
    assert trades.trade_count == 6  # of two weeks, the same three each
    assert len(of(events, OrderFilled)) == 3


def test_pages_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from protocols.venues import bybit_accounts, trading

    endless = {"list": [wire_order()], "nextPageCursor": "more"}
    monkeypatch.setattr(trading, "MAX_PAGES", 3)
    venue = FakeBybit(session(), {"GET /v5/order/realtime": lambda _: endless})
    assert any("more than 3 pages" in error.message for error in of(venue.connect(), VenueErrorReported))
    monkeypatch.setattr(bybit_accounts, "MAX_COLLECTED", 1)
    venue = FakeBybit(session(), {"GET /v5/order/realtime": lambda _: endless})
    assert any("more than 1 entries" in error.message for error in of(venue.connect(), VenueErrorReported))
    trades = {"list": [execution()], "nextPageCursor": "more"}
    venue = FakeBybit(session(trades_since_ns=T0_MS * 10**6), {"GET /v5/execution/list": lambda _: trades})
    assert any("pages of trades" in error.message for error in of(venue.connect(), VenueErrorReported))


# -- the venue's counts


def test_counts_of_replies_are_heeded() -> None:
    venue = quiet(BYBIT)
    frame = place(venue, BYBIT)
    header = {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": str(T0_MS + 3_000)}
    reply = {"reqId": frame["reqId"], "retCode": 0, "op": "order.create", "data": BYBIT.accepted(), "header": header}
    venue.receive("trade", reply)
    assert not venue.session.can_send_order(venue.now_ns)
    assert not venue.session.can_send_order(venue.now_ns + 2 * S)
    assert venue.session.can_send_order(venue.now_ns + 3 * S)
    bad = reply | {"header": {"X-Bapi-Limit": "ten", "X-Bapi-Limit-Status": "0"}, "reqId": "x1"}
    events = venue.receive("trade", bad)
    assert "X-Bapi-Limit" in of(events, VenueErrorReported)[0].message
    (error,) = venue.receive("trade", {"op": "order.create", "retCode": 10403, "retMsg": "too many"})
    assert (error.code, error.message) == (10403, "too many")
    (error,) = venue.receive("trade", {"op": "order.create", "retCode": 0})
    assert "neither of them" in error.message


def test_a_clock_that_does_not_answer_is_asked_again() -> None:
    venue = live()
    venue.answers["GET /v5/market/time"] = None
    venue.session._ask_clock(0, venue.now_ns)
    venue.pump()
    venue.pass_time(6 * S)
    assert venue.session._timers["clock"] == venue.now_ns + 60 * S
    venue.answers["GET /v5/market/time"] = lambda _: {"timeNano": str(venue.now_ns)}
    for _ in range(4):
        venue.pass_time(19 * S)
    assert venue.session._timers["clock"] > venue.now_ns + 500 * S


def test_an_answer_of_rest_that_is_an_error() -> None:
    venue = live()
    body = orjson.dumps({"retCode": 10002, "retMsg": "time", "result": {}})
    venue.http_body = lambda *_: body  # type: ignore[method-assign]
    venue.session.query_order("a1", SYMBOL, venue.now_ns)
    venue.pump()
    assert [type(event).__name__ for event in venue.events()][:2] == ["VenueErrorReported", "OrderQueryFailed"]
