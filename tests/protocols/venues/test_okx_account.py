"""What is OKX's own, of the account: channels acknowledged one by one, contracts, amendments, pages."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import orjson
import pytest

from protocols.errors import LocalProtocolError
from protocols.venues import okx_accounts
from protocols.venues.events import (
    BalancesReported,
    InstrumentListed,
    MarginCallReported,
    MarginTiersListed,
    NoticeReported,
    OpenOrdersReported,
    OrderFilled,
    OrderRejected,
    PortfolioReported,
    PositionsReported,
    ReconcileFailed,
    ReplaceRejected,
    TradesReported,
    VenueErrorReported,
)
from protocols.venues.signing import HmacSigner, iso_text
from tests.protocols.venues.cases import OKX, answer, place, quiet, rest_order, tell
from tests.protocols.venues.fake_okx import (
    ACCOUNT,
    INVERSE,
    LISTING,
    OPTION,
    SPOT,
    SWAP,
    FakeOkx,
    book,
    fill,
    fill_wire,
    live,
    orders,
    push,
    session,
    wire_order,
)
from tests.protocols.venues.lane_peer import SECRET, T0_MS, RefusalError, S, of, query_of

D = Decimal
SYMBOL = "BTC-USDT-SWAP"
TS = str(T0_MS)


def level(price: str, amount: str) -> list[str]:
    return [price, amount, "0", "1"]


def refuses(code: int) -> Any:
    def answer_(_: Any) -> Any:
        raise RefusalError(code)

    return answer_


# -- lanes and channels


def test_the_login() -> None:
    venue = FakeOkx(session())
    venue.connect()
    frame = next(frame for lane, frame in venue.sent if lane == "private")
    (args,) = frame["args"]
    text = f"{T0_MS // 1000}GET/users/self/verify"
    sign = base64.b64encode(HmacSigner(SECRET).sign(text.encode())).decode()
    assert args == {"apiKey": "key-id", "passphrase": "pass-phrase", "timestamp": str(T0_MS // 1000), "sign": sign}


def test_a_login_that_is_refused() -> None:
    venue = FakeOkx(session(), {"login": refuses(60009)})
    events = venue.connect()
    assert venue.session.state.value == "halted"
    assert of(events, VenueErrorReported)[0].code == 60009
    assert venue.obey() == ["private"]
    # Its late answer is nobody's.
    venue.receive("public", {"event": "login", "code": "0", "msg": ""})
    assert not venue.session.is_live


def test_a_rest_request_is_signed_over_time_method_and_path() -> None:
    venue = FakeOkx(session())
    venue.connect()
    for request in venue.asked:
        headers = dict(request.headers)
        stamp = headers["OK-ACCESS-TIMESTAMP"]
        assert stamp == iso_text(T0_MS)
        text = f"{stamp}{request.method}{request.target}{request.body.decode()}"
        assert headers["OK-ACCESS-SIGN"] == base64.b64encode(HmacSigner(SECRET).sign(text.encode())).decode()
        assert headers["OK-ACCESS-PASSPHRASE"] == "pass-phrase"
    (held,) = [request for request in venue.asked if request.method == "POST"]
    assert orjson.loads(held.body) == {"timeOut": "60"}


def test_a_channel_that_is_not_acknowledged_leaves_the_session_halted() -> None:
    venue = FakeOkx(session(), {"subscribe": None})
    venue.connect()
    subscribe = next(frame for lane, frame in venue.sent if frame.get("op") == "subscribe" and lane == "private")
    for arg in subscribe["args"][:-1]:
        venue.receive("private", {"event": "subscribe", "arg": arg})
    assert not of(venue.pass_time(2 * S), ReconcileFailed)
    assert of(venue.pass_time(4 * S), ReconcileFailed)
    assert venue.session.state.value == "halted"
    # What comes for it late is ignored.
    assert venue.receive("private", {"event": "subscribe", "arg": subscribe["args"][-1]}) == []


def test_a_channel_that_is_refused() -> None:
    venue = FakeOkx(session(), {"subscribe": refuses(60018)})
    events = venue.connect()
    assert of(events, ReconcileFailed)
    errors = of(events, VenueErrorReported)
    assert {error.code for error in errors} == {60018}
    # An error without an id is reported, and its request runs into its time.
    fresh = live()
    (error,) = fresh.receive("public", {"event": "error", "code": "60014", "msg": "too frequent"})
    assert (error.code, error.message) == (60014, "too frequent")
    assert fresh.receive("public", {"event": "notice", "code": "64008", "msg": "upgrade"}) == [
        NoticeReported(64008, "upgrade")
    ]


def test_subscriptions_are_left_and_joined_within_an_hours_budget() -> None:
    venue = live(dead_man_s=0)
    for _ in range(700):
        venue.receive("public", book("update", 9, 10, bids=None))
        venue.pass_time(5 * S)
    joins = sum(frame.get("op") in ("subscribe", "unsubscribe") for _, frame in venue.sent)
    assert 300 < joins <= 480


# -- terms


def test_terms_are_in_quantities() -> None:
    venue = FakeOkx(session(option_families=("BTC-USD",), inst_types=("SPOT", "SWAP", "FUTURES")))
    listed = {event.symbol: event for event in of(venue.connect(), InstrumentListed)}
    swap, inverse, option, spot = (listed[one["instId"]] for one in (SWAP, INVERSE, OPTION, SPOT))
    assert (swap.min_trade_amount, swap.contract_size, swap.is_inverse) == (D("0.0001"), D("0.01"), False)
    assert (inverse.min_trade_amount, inverse.is_inverse, inverse.settlement_currency) == (D(100), True, "BTC")
    assert (option.min_trade_amount, option.strike, option.option_type) == (D("0.01"), D(100000), "call")
    assert (spot.kind, spot.base_currency, spot.settlement_currency, spot.underlying) == (
        "spot", "BTC", "USDT", "BTC-USDT",
    )  # fmt: skip
    tiers = {event.name: event for event in of(venue.seen, MarginTiersListed)}
    assert set(tiers) == {"SWAP:BTC-USDT", "SWAP:BTC-USD", "FUTURES:BTC-USD", "OPTION:BTC-USD"}
    first, second = tiers["SWAP:BTC-USDT"].tiers
    assert (first.up_to, first.maintenance_rate, second.above) == (D(500), D("0.004"), D("500.01"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"instType": "EVENTS"}, "instType"),
        ({"ctVal": ""}, "ctVal"),
        ({"ctType": "round"}, "ctType"),
        ({"uly": ""}, "uly"),
        ({"settleCcy": ""}, "settleCcy"),
        ({"tickSz": "0"}, "tickSz"),
        ({"lotSz": None}, "lotSz"),
        ({"instType": "OPTION", "optType": ""}, "optType"),
        ({"instType": "OPTION", "optType": "C", "stk": ""}, "stk"),
        ({"instType": "FUTURES", "expTime": ""}, "expTime"),
    ],
)
def test_terms_that_can_not_be(change: dict[str, Any], field: str) -> None:
    venue = FakeOkx(session(inst_types=("SWAP",)))
    venue.answers |= {
        "GET /api/v5/public/instruments": lambda _: [SWAP | change],
        "GET /api/v5/account/positions": lambda _: [],
    }
    events = venue.connect()
    assert field in of(events, VenueErrorReported)[0].message
    assert not of(events, InstrumentListed)


def test_an_instrument_without_its_number_can_not_be_traded() -> None:
    venue = FakeOkx(session(inst_types=("SWAP",)))
    wire = {key: value for key, value in SWAP.items() if key != "instIdCode"}
    venue.answers["GET /api/v5/public/instruments"] = lambda _: [wire]
    venue.connect()
    with pytest.raises(LocalProtocolError, match="can not be traded"):
        place(venue, OKX)


@pytest.mark.parametrize("change", [{"minSz": "9", "maxSz": "1"}, {"imr": "0"}, {"maxLever": ""}])
def test_tiers_that_can_not_be(change: dict[str, Any]) -> None:
    tier = {"instFamily": "x", "minSz": "0", "maxSz": "1", "imr": "0.1", "mmr": "0.1", "maxLever": "5"}
    venue = FakeOkx(session(), {"GET /api/v5/public/position-tiers": lambda _: [tier | change]})
    assert of(venue.connect(), ReconcileFailed)


# -- orders


def test_an_order_names_its_instrument_by_number() -> None:
    venue = quiet(OKX, self_trade="cancel_both")
    frame = place(venue, OKX, "20261122-7", reduce_only=True)
    assert frame == {
        "id": frame["id"],
        "op": "order",
        "args": [{
            "instIdCode": 10459, "tdMode": "cross", "clOrdId": "20261122Z2D7", "side": "buy", "ordType": "limit",
            "sz": "10", "px": "50000.0", "reduceOnly": True, "stpMode": "cancel_both",
        }],
        "expTime": str(T0_MS + 5_000),
    }  # fmt: skip
    (arg,) = place(venue, OKX, "a2", is_buy=False, order_type="market", price=None)["args"]
    assert (arg["ordType"], arg["side"], "px" in arg) == ("market", "sell", False)
    for settings, word in [
        ({"post_only": True}, "post_only"),
        ({"time_in_force": "immediate_or_cancel"}, "ioc"),
        ({"time_in_force": "fill_or_kill"}, "fok"),
    ]:
        assert place(venue, OKX, word.replace("_", ""), **settings)["args"][0]["ordType"] == word
    with pytest.raises(LocalProtocolError, match="no number of contracts"):
        place(venue, OKX, "a3", quantity="0.00001")


def test_spot_is_traded_for_cash() -> None:
    venue = FakeOkx(session(inst_types=("SPOT", "SWAP")), {"order": None})
    venue.connect()
    (arg,) = place(venue, OKX, symbol="BTC-USDT", quantity="0.5")["args"]
    assert (arg["tdMode"], arg["sz"], arg["instIdCode"]) == ("cash", "0.5", 3)


def test_options_of_a_family_share_a_limit() -> None:
    other = OPTION | {"instId": "BTC-USD-270326-90000-P", "instIdCode": 30002, "optType": "P"}
    venue = FakeOkx(session(option_families=("BTC-USD",)), {"order": None})
    venue.answers["GET /api/v5/public/instruments"] = lambda request: (
        [OPTION, other] if query_of(request)["instType"] == "OPTION" else LISTING[query_of(request)["instType"]]
    )
    venue.connect()
    for number in range(60):
        symbol = (OPTION, other)[number % 2]["instId"]
        place(venue, OKX, f"b{number}", symbol=symbol, quantity="0.01", price="0.05")
    for one in (OPTION, other):
        assert not venue.session.can_send_order(venue.now_ns, one["instId"])
    assert venue.session.can_send_order(venue.now_ns, SYMBOL)


def test_a_reply_in_parts() -> None:
    venue = quiet(OKX)
    frame = place(venue, OKX)
    outer = {"id": frame["id"], "op": "order", "code": "60011", "msg": "log in first", "data": []}
    (rejected,) = venue.receive("private", outer)
    assert rejected == OrderRejected("a1", 60011, "log in first", True)
    events = venue.receive("private", {"id": "x", "op": "order", "code": "0", "data": []})
    assert "no request waits" in events[0].message
    frame = place(venue, OKX, "a2")
    events = answer(venue, OKX, frame, [])
    assert any(type(event).__name__ == "OrderOutcomeUnknown" for event in events)


def test_an_amendment_that_fails_is_told_by_the_stream() -> None:
    venue = quiet(OKX)
    rest_order(venue, OKX)
    venue.session.replace("a1", "9001", "0.2", "50001", venue.now_ns)
    ((_, frame),) = venue.pump()
    assert frame["args"][0] == {
        "instIdCode": 10459, "ordId": "9001", "reqId": frame["id"], "newSz": "20", "newPx": "50001",
    }  # fmt: skip
    answer(venue, OKX, frame)
    failed = wire_order(amendResult="-1", code="51008", msg="margin", reqId=frame["id"])
    (rejected,) = tell(venue, OKX, orders(failed))
    assert rejected == ReplaceRejected("a1", 51008, "margin", True)
    assert tell(venue, OKX, orders(failed)) == []


def test_an_order_that_the_venue_cancels_says_why() -> None:
    venue = quiet(OKX)
    place(venue, OKX)
    events = tell(venue, OKX, orders(wire_order(state="canceled", cancelSource="32")))
    assert events[-1].reason == "cancelSource 32"


@pytest.mark.parametrize(
    "change",
    [
        {"state": "thinking"},
        {"sz": "0"},
        {"accFillSz": "x"},
        {"reduceOnly": "maybe"},
        {"uTime": ""},
        {"side": "long"},
        {"instId": "NOBODY"},
        {"px": 1},
        {"ordId": None},
    ],
    ids=str,
)
def test_orders_that_can_not_be(change: dict[str, Any]) -> None:
    venue = live()
    events = tell(venue, OKX, orders(wire_order(**change)))
    assert of(events, VenueErrorReported)
    assert not of(events, OrderFilled)


@pytest.mark.parametrize("change", [{"execType": ""}, {"fillPx": ""}, {"fillTime": ""}, {"fillFeeCcy": ""}], ids=str)
def test_fills_that_can_not_be(change: dict[str, Any]) -> None:
    venue = live()
    events = tell(venue, OKX, orders(fill() | change))
    assert of(events, VenueErrorReported)
    assert not of(events, OrderFilled)


def test_the_fee_of_an_orders_only_fill() -> None:
    """Older frames have no fee of the fill: an order's whole fee is it, where the fill is all there was."""
    venue = live()
    old = {key: value for key, value in fill().items() if key not in ("fillFee", "fillFeeCcy")}
    (told,) = of(tell(venue, OKX, orders(old | {"fee": "-1.5", "feeCcy": "USDT"})), OrderFilled)
    assert told.fee == D("1.5")
    events = tell(venue, OKX, orders(old | {"tradeId": "77", "accFillSz": "9", "fee": "-1.5"}))
    assert "without its fee" in of(events, VenueErrorReported)[0].message


# -- the account


def test_margins() -> None:
    (told,) = of(FakeOkx(session()).connect(), PortfolioReported)
    assert (told.currency, told.equity, told.margin_balance, told.available_funds, told.margin_model) == (
        "USD", D("10000.5"), D(9990), D(9870), "multi_currency",
    )  # fmt: skip
    detail = ACCOUNT["details"][0] | {"imr": "5", "mmr": "2"}
    single = ACCOUNT | {"adjEq": "", "imr": "", "mmr": "", "details": [detail]}
    venue = live()
    portfolio, balances = tell(venue, OKX, push("account", [single]))
    assert (portfolio.currency, portfolio.initial_margin) == ("USDT", D(5))
    assert isinstance(balances, BalancesReported) and not balances.is_complete
    for wrong in ({"imr": ""}, {"adjEq": "x"}):
        events = tell(venue, OKX, push("account", [ACCOUNT | wrong]))
        assert of(events, VenueErrorReported)


def test_positions() -> None:
    venue = live()
    position = {"instId": "BTC-USD-SWAP", "pos": "-3", "posSide": "net", "avgPx": "50000"}
    (told,) = tell(venue, OKX, push("positions", [position], instType="ANY"))
    assert told == PositionsReported("", told.positions, False)
    assert told.positions[0].quantity == D(-300)
    (flat,) = tell(venue, OKX, push("positions", [position | {"pos": "", "avgPx": ""}], instType="ANY"))
    assert flat.positions[0].quantity == 0
    assert tell(venue, OKX, push("positions", [], instType="ANY")) == []
    for wrong in ({"posSide": "long"}, {"instId": "NOBODY"}, {"pos": "x"}):
        events = tell(venue, OKX, push("positions", [position | wrong], instType="ANY"))
        assert of(events, VenueErrorReported)
    warning = {"instId": SYMBOL, "uTime": TS}
    (call,) = tell(venue, OKX, push("liquidation-warning", [warning], instType="ANY"))
    assert call == MarginCallReported((SYMBOL,), T0_MS * 10**6)


def test_an_account_that_keeps_longs_and_shorts_apart_is_refused() -> None:
    venue = FakeOkx(session(), {"GET /api/v5/account/config": lambda _: [{"posMode": "long_short_mode"}]})
    events = venue.connect()
    assert venue.session.state.value == "halted"
    assert any("posMode" in event.message for event in of(events, VenueErrorReported))


def test_pages_of_orders_and_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(okx_accounts, "PAGE", 2)
    venue = FakeOkx(session(trades_since_ns=(T0_MS - 5_000) * 10**6))
    asked: list[dict[str, str]] = []

    def pending(request: Any) -> Any:
        after = int(query_of(request).get("after", 9))
        return [wire_order(ordId=str(n), clOrdId=f"l{n}") for n in range(after - 1, max(after - 3, 5), -1)]

    def fills(request: Any) -> Any:
        asked.append(query_of(request))
        after = int(asked[-1].get("after", 9))
        return [fill_wire(billId=str(n), tradeId=str(n)) for n in range(after - 1, max(after - 3, 5), -1)]

    venue.answers |= {"GET /api/v5/trade/orders-pending": pending, "GET /api/v5/trade/fills": fills}
    events = venue.connect()
    (told,) = of(events, OpenOrdersReported)
    assert [order.label for order in told.orders] == ["l8", "l7", "l6"]
    assert [query.get("after") for query in asked] == [None, "7"]
    (trades,) = of(events, TradesReported)
    assert trades.trade_count == 3


def test_fills_of_long_ago_are_in_the_archive() -> None:
    venue = FakeOkx(session(trades_since_ns=(T0_MS - 10 * 86_400_000) * 10**6))
    archive: list[dict[str, str]] = []
    venue.answers["GET /api/v5/trade/fills-history"] = lambda request: archive.append(query_of(request)) or []
    venue.connect()
    assert venue.session.is_live
    assert sorted(query["instType"] for query in archive) == ["FUTURES", "SWAP"]
    recent = [query_of(one) for one in venue.asked if one.target.startswith("/api/v5/trade/fills?")]
    assert sorted(query["instType"] for query in recent) == ["FUTURES", "SWAP"]


def test_cancel_all_with_market_maker_protection() -> None:
    venue = live(option_families=("BTC-USD",), has_market_maker_protection=True)
    venue.answers["mass-cancel"] = lambda _: [{"result": True, "sCode": "0"}]
    assert venue.session.cancel_all(venue.now_ns)
    ((_, frame),) = venue.pump()
    assert frame["args"] == [{"instType": "OPTION", "instFamily": "BTC-USD"}]


def test_a_clock_that_does_not_answer_is_asked_again() -> None:
    venue = live()
    venue.answers["GET /api/v5/public/time"] = None
    venue.session._ask_clock(0, venue.now_ns)
    venue.pump()
    venue.pass_time(6 * S)
    assert venue.session._timers["clock"] == venue.now_ns + 60 * S
    venue.answers["GET /api/v5/public/time"] = lambda _: [{"ts": str(venue.now_ns // 10**6)}]
    for _ in range(5):
        venue.pass_time(14 * S)
    assert venue.session._timers["clock"] > venue.now_ns + 500 * S
