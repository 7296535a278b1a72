"""What is Binance's own, of the account: signatures, the listenKey, trades without labels, its counts and bans."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import orjson
import pytest

from protocols.errors import LocalProtocolError
from protocols.venues import binance_accounts
from protocols.venues.binance import Binance, BinanceSettings
from protocols.venues.codec import HttpResponse
from protocols.venues.events import (
    BalancesReported,
    MarginCallReported,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PortfolioReported,
    PositionsReported,
    ReconcileFailed,
    TradesReported,
    VenueErrorReported,
)
from protocols.venues.signing import HmacSigner, Keyring
from tests.protocols.venues.cases import BINANCE, place, quiet, tell
from tests.protocols.venues.fake_binance import (
    ACCOUNT,
    KEY,
    FakeBinance,
    fill,
    live,
    order_update,
    session,
    user_trade,
    wire_order,
)
from tests.protocols.venues.lane_peer import SECRET, T0_MS, RefusalError, S, of, query_of

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


# -- who we are


def test_each_request_is_signed_over_its_sorted_parameters() -> None:
    venue = quiet(BINANCE, self_trade="EXPIRE_MAKER")
    params = place(venue, BINANCE, reduce_only=True, time_in_force="immediate_or_cancel")["params"]
    signature = params.pop("signature")
    payload = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
    assert signature == HmacSigner(SECRET).sign(payload.encode()).hex()
    assert params == {
        "apiKey": "key-id", "newClientOrderId": "a1", "newOrderRespType": "RESULT", "price": "50000.0",
        "quantity": "0.100", "recvWindow": 5000, "reduceOnly": "true", "selfTradePreventionMode": "EXPIRE_MAKER",
        "side": "BUY", "symbol": "BTCUSDT", "timeInForce": "IOC", "timestamp": T0_MS, "type": "LIMIT",
    }  # fmt: skip
    market = place(venue, BINANCE, "a2", order_type="market", price=None, is_buy=False)["params"]
    assert market["type"] == "MARKET"
    assert not {"price", "timeInForce"} & market.keys()
    assert place(venue, BINANCE, "a3", post_only=True)["params"]["timeInForce"] == "GTX"


def test_a_rest_request_is_signed_over_its_query() -> None:
    venue = FakeBinance(session())
    venue.connect()
    (request,) = [one for one in venue.asked if one.target.startswith("/fapi/v1/openOrders")]
    query, _, signature = request.target.partition("?")[2].partition("&signature=")
    assert signature == HmacSigner(SECRET).sign(query.encode()).hex()
    assert dict(request.headers) == {"X-MBX-APIKEY": "key-id"}
    (public,) = [one for one in venue.asked if one.target.startswith("/fapi/v1/exchangeInfo")]
    assert public.headers == ()


def test_a_session_that_logs_on_signs_nothing_more() -> None:
    venue = FakeBinance(session(keyring=Keyring("key-id", Constant())))
    venue.connect()
    assert venue.session.is_live
    first = next(frame for lane, frame in venue.sent if lane == "trade")
    assert first["method"] == "session.logon"
    assert first["params"]["signature"] == "+//+YXBp"
    (request,) = [one for one in venue.asked if one.target.startswith("/fapi/v1/openOrders")]
    assert request.target.endswith("&signature=%2B%2F%2F%2Bc3lt") or "%2B%2F%2F%2B" in request.target
    venue.answers["order.place"] = None
    params = place(venue, BINANCE)["params"]
    assert not {"signature", "apiKey"} & params.keys()
    # A new connection has to be known anew.
    venue.hang_up("trade")
    venue.dial()
    assert venue.session.is_live


def test_a_logon_that_is_refused() -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError(-2015)

    venue = FakeBinance(session(keyring=Keyring("key-id", Constant())), {"session.logon": refuse})
    venue.connect()
    assert venue.session.state.value == "halted"
    assert venue.obey() == ["trade"]


# -- the listenKey


def test_the_key_is_asked_for_before_the_private_lane() -> None:
    venue = FakeBinance(session())
    assert venue.session.url("private") == ""
    venue.connect()
    assert venue.session.url("private") == f"/private/ws?listenKey={KEY}"
    venue.clear()
    for _ in range(100):
        venue.pass_time(19 * S)
    assert sum(frame["method"] == "userDataStream.ping" for _, frame in venue.sent) == 1
    assert venue.session.is_live


@pytest.mark.parametrize("trouble", ["event", "gone", "lost"])
def test_a_key_that_has_expired_is_asked_for_again(trouble: str) -> None:
    venue = live()
    if trouble == "event":
        venue.receive("private", {"e": "listenKeyExpired", "E": T0_MS, "listenKey": KEY})
    else:

        def gone(_: Any) -> Any:
            raise RefusalError(-1125)

        venue.answers["userDataStream.ping"] = gone if trouble == "gone" else None
        for _ in range(99):
            venue.pass_time(19 * S)
    if trouble == "lost":
        assert venue.session.is_live  # it is valid for half an hour more, and asked for again
        assert sum(frame["method"] == "userDataStream.ping" for _, frame in venue.sent) >= 1
        return
    assert venue.session.state.value == "halted"
    assert venue.session.url("private") == ""
    assert "private" in venue.obey()
    venue.pump()
    venue.dial()
    assert venue.session.is_live


def test_a_key_that_is_refused_has_the_lane_dialled_again() -> None:
    for answer in (lambda _: {"listenKey": "not a key!"}, lambda _: {}):
        venue = FakeBinance(session(), {"userDataStream.start": answer})
        venue.connect()
        assert venue.obey() == ["trade"]
    venue = live()
    venue.answers["userDataStream.start"] = None
    venue.hang_up("private")
    venue.pass_time(6 * S)
    assert venue.obey() == ["trade"]
    venue.answers["userDataStream.start"] = lambda _: {"listenKey": KEY}
    venue.dial()
    assert venue.session.is_live


def test_lanes_are_renewed_before_the_venue_cuts_them() -> None:
    venue = live(dead_man_s=0)
    closed: list[tuple[int, str]] = []
    began_ns = venue.now_ns
    for _ in range(24 * 3600 // 18):
        venue.pass_time(18 * S)
        for lane, reason in venue.session.lanes_to_close():
            assert "before the venue cuts it" in reason
            closed.append((venue.now_ns - began_ns, lane))
        venue.obey()
        venue.pump()
        venue.dial()
    assert {lane for _, lane in closed} == {"trade", "private", "public", "market"}
    times = sorted(at for at, _ in closed)
    assert all(at < 24 * 3600 * S - 500 * S for at in times)
    assert all(later - earlier > 60 * S for earlier, later in pairwise(times))
    assert venue.session.is_live


def test_a_lane_with_requests_in_flight_is_renewed_a_little_later() -> None:
    venue = live(dead_man_s=0)
    lane = venue.session._lanes["trade"]
    lane.connected_ns -= 24 * 3600 * S - 600 * S
    venue.answers["order.status"] = None
    venue.session.query_order("a1", "BTCUSDT", venue.now_ns)
    venue.pass_time(S)
    assert not venue.session.lanes_to_close()
    venue.pass_time(5 * S)
    venue.pass_time(S)
    assert [name for name, _ in venue.session.lanes_to_close()] == ["trade"]
    assert not venue.session.can_send_order(venue.now_ns)
    with pytest.raises(LocalProtocolError, match="being closed"):
        place(venue, BINANCE)


# -- accounts and orders


def test_an_account_that_keeps_longs_and_shorts_apart_is_refused() -> None:
    venue = FakeBinance(session(), {"GET /fapi/v1/positionSide/dual": lambda _: {"dualSidePosition": True}})
    events = venue.connect()
    assert venue.session.state.value == "halted"
    assert any("dualSidePosition" in event.message for event in of(events, VenueErrorReported))


def test_margins() -> None:
    events = FakeBinance(session()).connect()
    (one,) = of(events, PortfolioReported)
    assert (one.currency, one.equity, one.initial_margin, one.maintenance_margin, one.margin_model) == (
        "USDT", D("1010.5"), D("12.5"), D(5), "single_asset",
    )  # fmt: skip
    venue = FakeBinance(session(), {"v2/account.status": lambda _: ACCOUNT | {"multiAssetsMargin": True}})
    (all_assets,) = of(venue.connect(), PortfolioReported)
    assert (all_assets.currency, all_assets.margin_model) == ("USD", "multi_assets")
    missing = {key: value for key, value in ACCOUNT.items() if key != "totalMaintMargin"}
    venue = FakeBinance(session(), {"v2/account.status": lambda _: missing | {"multiAssetsMargin": True}})
    assert of(venue.connect(), ReconcileFailed)  # unknown, never zero


def test_account_updates() -> None:
    venue = live()
    body = {"m": "ORDER", "B": [{"a": "USDT", "wb": "122.5", "cw": "1", "bc": "0"}],
            "P": [{"s": "BTCUSDT", "pa": "-0.5", "ep": "50000", "ps": "BOTH"}]}  # fmt: skip
    balances, positions = venue.receive("private", {"e": "ACCOUNT_UPDATE", "E": T0_MS, "T": T0_MS, "a": body})
    assert isinstance(balances, BalancesReported) and not balances.is_complete
    assert balances.balances[0].wallet_balance == D("122.5")
    assert isinstance(positions, PositionsReported) and not positions.is_complete
    assert positions.positions[0].quantity == D("-0.5")
    body["P"][0]["ps"] = "SHORT"  # type: ignore[index]
    events = venue.receive("private", {"e": "ACCOUNT_UPDATE", "E": T0_MS, "T": T0_MS, "a": body})
    assert "SHORT of BTCUSDT" in of(events, VenueErrorReported)[0].message
    call = {"e": "MARGIN_CALL", "E": T0_MS, "p": [{"s": "BTCUSDT", "ps": "BOTH", "pa": "1"}]}
    assert venue.receive("private", call) == [MarginCallReported(("BTCUSDT",), T0_MS * 10**6)]
    assert venue.receive("private", {"e": "ACCOUNT_UPDATE", "E": T0_MS, "a": {"B": [], "P": []}}) == []


@pytest.mark.parametrize(
    "kind", ["TRADE_LITE", "ACCOUNT_CONFIG_UPDATE", "ALGO_UPDATE", "STRATEGY_UPDATE", "GRID_UPDATE"]
)
def test_events_that_say_nothing_of_their_own(kind: str) -> None:
    venue = live()
    assert venue.receive("private", {"e": kind, "E": T0_MS, "s": "BTCUSDT", "i": 1, "t": 2}) == []


def test_orders_that_the_venue_ends() -> None:
    for status, kind, label in [("EXPIRED", "EXPIRED", "expired"), ("EXPIRED_IN_MATCH", "EXPIRED", "expired")]:
        venue = quiet(BINANCE)
        place(venue, BINANCE)
        events = tell(venue, BINANCE, order_update(x=kind, X=status))
        assert [type(event) for event in events] == [OrderAccepted, OrderCancelled]
        assert events[1].reason == label
    venue = quiet(BINANCE)
    place(venue, BINANCE)
    (rejected,) = tell(venue, BINANCE, order_update(x="REJECTED", X="REJECTED", er="7"))
    assert rejected == OrderRejected("a1", 0, "7", True)
    for wrong in ({"X": "MYSTERY"}, {"q": "0"}, {"z": "-1"}, {"S": "LONG"}, {"i": "7"}):
        events = tell(venue, BINANCE, order_update(**wrong))
        assert of(events, VenueErrorReported), wrong


def test_a_liquidation_of_the_venues() -> None:
    venue = live()
    events = tell(
        venue, BINANCE,
        order_update(c="autoclose-1", x="CALCULATED", X="NEW_INSURANCE", q="0.02", z="0.02", l="0.02", L="45000", t=5,
                     N="USDT", n="0.4"),
    )  # fmt: skip
    (filled,) = of(events, OrderFilled)
    assert (filled.label, filled.quantity) == ("autoclose-1", D("0.02"))
    assert not venue.session._orders.open_order_ids()


def test_a_fill_without_its_fee_is_refused() -> None:
    venue = live()
    for wrong in ({"n": None}, {"N": None}):
        frame = fill()
        frame["o"] |= wrong
        events = tell(venue, BINANCE, frame)
        assert "without its commission" in of(events, VenueErrorReported)[0].message
        assert not of(events, OrderFilled)


def test_trades_of_orders_that_are_not_known_wait_for_their_labels() -> None:
    venue = FakeBinance(session(trades_since_ns=1, symbols="BTCUSDT".__eq__))
    asked: list[Any] = []

    def status(frame: Any) -> Any:
        asked.append(frame["params"]["orderId"])
        return wire_order(orderId=frame["params"]["orderId"], clientOrderId=f"l{frame['params']['orderId']}")

    trades = [user_trade(id=n, orderId=n // 2) for n in range(2, 8)]
    venue.answers |= {"order.status": status, "GET /fapi/v1/userTrades": lambda _: trades}
    venue.now_ns = 5 * 86_400 * S
    venue.connect()
    fills = of(venue.seen, OrderFilled)
    assert sorted(fill.label for fill in fills) == ["l1", "l1", "l2", "l2", "l3", "l3"]
    assert asked == [1, 2, 3]
    assert venue.session.is_live


def test_a_label_that_is_not_found_is_reported() -> None:
    venue = FakeBinance(session(trades_since_ns=1, symbols="BTCUSDT".__eq__))
    venue.answers |= {"order.status": None, "GET /fapi/v1/userTrades": lambda _: [user_trade()]}
    venue.now_ns = 5 * 86_400 * S
    venue.connect()
    events = venue.pass_time(6 * S)
    assert any("7001 are not told" in event.message for event in of(events, VenueErrorReported))
    assert of(events, ReconcileFailed)


def test_pages_of_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_accounts, "PAGE", 2)
    venue = quiet(BINANCE, symbols="BTCUSDT".__eq__)
    tell(venue, BINANCE, order_update())
    queries: list[dict[str, str]] = []

    def trades(request: Any) -> Any:
        queries.append(query_of(request))
        first = int(queries[-1].get("fromId", 1))
        return [user_trade(id=n, qty="0.001") for n in range(first, min(first + 2, 6))]

    venue.answers["GET /fapi/v1/userTrades"] = trades
    venue.session._since_ns = venue.now_ns - 20 * 86_400 * S
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    assert [query.get("fromId") for query in queries] == [None, "3", "5"]
    (told,) = of(venue.events(), TradesReported)
    assert told.trade_count == 5
    # With nothing in a week, the next is asked for.
    queries.clear()
    venue.answers["GET /fapi/v1/userTrades"] = lambda request: queries.append(query_of(request)) or []
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    starts = [int(query["startTime"]) for query in queries]
    assert len(starts) == 3
    assert starts[1] - starts[0] == 7 * 86_400_000


# -- the venue's counts and bans


def test_counts_of_replies_and_headers_are_heeded() -> None:
    venue = quiet(BINANCE)
    limit = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 300}
    frame = place(venue, BINANCE)
    reply = {"id": frame["id"], "status": 200, "result": wire_order(), "rateLimits": [limit]}
    venue.receive("trade", reply)
    assert not venue.session.can_send_order(venue.now_ns)
    venue.pass_time(12 * S)
    assert venue.session.can_send_order(venue.now_ns)
    venue.session._ask_clock(0, venue.now_ns)
    (request,) = venue.session.http_requests()
    headers = {"x-mbx-order-count-10s": "300", "x-mbx-used-weight-1m": "12", "retry-after": "x"}
    venue.session.http_answered(request.request_id, HttpResponse(200, b'{"serverTime":1}', headers), venue.now_ns)
    assert not venue.session.can_send_order(venue.now_ns)


@pytest.mark.parametrize(("status", "headers", "pause_s"), [(429, {}, 120), (418, {"retry-after": "600"}, 600)])
def test_a_ban_is_waited_for(status: int, headers: dict[str, str], pause_s: int) -> None:
    venue = live(dead_man_s=0)
    venue.session._ask_clock(0, venue.now_ns)
    (request,) = venue.session.http_requests()
    body = orjson.dumps({"code": -1003, "msg": "banned"})
    venue.session.http_answered(request.request_id, HttpResponse(status, body, headers), venue.now_ns)
    window = venue.session._budgets.window("weight")
    assert not window.has(1, venue.now_ns + (pause_s - 1) * S)
    assert window.has(1, venue.now_ns + pause_s * S)
    venue.session._ask_clock(0, venue.now_ns)
    (request,) = venue.session.http_requests() or (None,)
    assert request is None
    broken = {"retry-after": "soon"}
    venue.session._observe(venue.session._requests.settle(1) or _any_request(), HttpResponse(429, b"", broken), 0)
    assert any("header" in event.message for event in of(venue.events(), VenueErrorReported))


def _any_request() -> Any:
    from protocols.venues.jsonrpc import Request
    from protocols.venues.requests import Kind

    return Request(Kind.TIME)


def test_replies_that_say_nothing() -> None:
    venue = quiet(BINANCE)
    frame = place(venue, BINANCE)
    (error,) = venue.receive("trade", {"id": None, "status": 400, "error": {"code": -1100, "msg": "illegal"}})[:1]
    assert (error.code, error.message) == (-1100, "illegal")
    assert "id: null" in venue.receive("trade", {"id": None, "status": 200})[0].message
    events = venue.receive("trade", {"id": frame["id"], "status": 200})
    assert "without a result" in events[0].message
    assert events[1].label == "a1"


def test_settings_are_plain() -> None:
    assert isinstance(BinanceSettings(keyring=Keyring("k", HmacSigner("s")), symbols=lambda _: True), BinanceSettings)
    assert "connecting" in repr(session())
    assert isinstance(session(), Binance)
