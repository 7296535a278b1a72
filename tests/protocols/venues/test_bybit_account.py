"""What is Bybit's own, of the account: logins, executions apart from orders, pages, its counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from protocols.venues.events import (
    BalancesReported,
    OpenOrdersReported,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PortfolioReported,
    PositionsReported,
    TradesReported,
    VenueErrorReported,
)
from protocols.venues.signing import HmacSigner
from tests.protocols.venues.cases import BYBIT, answer, place, quiet, rest_order, tell
from tests.protocols.venues.fake_bybit import (
    WALLET,
    FakeBybit,
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
    for kind in ("Delivery", "Settle"):
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


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_account_that_keeps_longs_and_shorts_apart_is_refused_at_the_start(index: int) -> None:
    """Also where all positions are empty, which only an answer about one symbol tells of."""
    empty = {"symbol": "BTCUSDT", "side": "", "size": "0", "positionIdx": index, "avgPrice": "0"}

    def positions(request: Any) -> Any:
        return {"list": [empty] if query_of(request).get("symbol") == "BTCUSDT" else [], "nextPageCursor": ""}

    venue = FakeBybit(session(settle_coins=("USDT",)), {"GET /v5/position/list": positions})
    events = venue.connect()
    assert venue.session.is_live is (index == 0)
    told = [event.message for event in of(events, VenueErrorReported)]
    assert any("hedge mode" in text and "positionIdx" in text for text in told) is (index != 0), told
