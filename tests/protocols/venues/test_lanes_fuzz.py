"""Frames that no venue should send: nothing is raised, nothing is told that a frame does not hold, books stay true."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.venues.codec import HttpResponse
from protocols.venues.events import OrderFilled, PositionsReported
from tests.protocols.venues import fake_binance, fake_bybit, fake_okx
from tests.protocols.venues.cases import BINANCE, BYBIT, CASES, OKX, Case, place, quiet
from tests.protocols.venues.lane_peer import T0_MS, LanePeer
from tests.protocols.venues.test_deribit_fuzz import warped

TS = str(T0_MS)


def binance_frames() -> list[tuple[str, dict[str, Any]]]:
    account = {"B": [{"a": "USDT", "wb": "1"}], "P": [{"s": "BTCUSDT", "pa": "-1", "ep": "5", "ps": "BOTH"}]}
    ticker = {"e": "bookTicker", "u": 7, "E": T0_MS, "T": T0_MS, "s": "BTCUSDT", "b": "5", "B": "1", "a": "6", "A": "2"}
    mark = {"e": "markPriceUpdate", "E": T0_MS, "s": "BTCUSDT", "p": "5", "i": "5", "r": "0.1", "T": T0_MS}
    trade = {"e": "aggTrade", "E": T0_MS, "T": T0_MS, "s": "BTCUSDT", "a": 5, "p": "1.5", "q": "2", "m": False}
    return [
        ("private", fake_binance.fill()),
        ("private", fake_binance.order_update()),
        ("private", {"e": "ACCOUNT_UPDATE", "E": T0_MS, "a": account}),
        ("public", fake_binance.depth(1, 2, 1, b=[["4", "1"]], a=[["7", "0"]])),
        ("public", {"stream": "x", "data": ticker}),
        ("market", {"stream": "x", "data": mark}),
        ("market", {"stream": "x", "data": trade}),
        ("public", {"result": None, "id": 3}),
        ("trade", {"id": 9, "status": 200, "result": fake_binance.wire_order(), "rateLimits": []}),
    ]


def okx_frames() -> list[tuple[str, dict[str, Any]]]:
    symbol = "BTC-USDT-SWAP"
    ticker = {"instId": symbol, "askPx": "6", "askSz": "7", "bidPx": "5", "bidSz": "1", "ts": TS}
    sides = {"bids": [["4", "1", "0", "1"]], "asks": [["7", "2", "0", "1"]]}
    return [
        ("private", fake_okx.orders(fake_okx.fill())),
        ("private", fake_okx.push("positions", [fake_okx.POSITION], instType="ANY")),
        ("private", fake_okx.push("account", [fake_okx.ACCOUNT])),
        ("private", {"id": "9", "op": "order", "code": "0", "msg": "", "data": OKX.accepted()}),
        ("public", fake_okx.book("snapshot", -1, 5, **sides)),
        ("public", fake_okx.book("update", 5, 6, **sides)),
        ("public", fake_okx.push("tickers", [ticker], instId=symbol)),
        ("public", {"event": "subscribe", "arg": {"channel": "books", "instId": symbol}}),
        ("public", {"event": "error", "code": "60012", "msg": "x", "id": "3"}),
    ]


def bybit_frames() -> list[tuple[str, dict[str, Any]]]:
    data = {"symbol": "BTCUSDT", "markPrice": "5", "indexPrice": "5", "bid1Price": "4", "bid1Size": "1"}
    return [
        ("private", fake_bybit.push("execution", fake_bybit.execution())),
        ("private", fake_bybit.push("order", fake_bybit.wire_order())),
        ("private", fake_bybit.push("position", fake_bybit.POSITION)),
        ("private", fake_bybit.push("wallet", fake_bybit.WALLET)),
        ("linear", fake_bybit.book("snapshot", 5, b=[["4", "1"]], a=[["7", "2"]])),
        ("linear", fake_bybit.book("delta", 6, b=[["4", "0"]])),
        ("linear", {"topic": "tickers.BTCUSDT", "type": "delta", "ts": T0_MS, "data": data}),
        ("linear", {"success": True, "ret_msg": "", "op": "subscribe", "req_id": "3"}),
        ("trade", {"reqId": "9", "retCode": 0, "op": "order.create", "data": BYBIT.accepted(), "header": {}}),
    ]


FRAMES = {BINANCE.name: binance_frames(), OKX.name: okx_frames(), BYBIT.name: bybit_frames()}
# In which field each venue tells a fill's amount, and what one unit of it is.
AMOUNTS = {BINANCE.name: ("l", Decimal(1)), OKX.name: ("fillSz", Decimal("0.01")), BYBIT.name: ("execQty", Decimal(1))}


def numbers_in(frame: bytes, field: str) -> set[Decimal]:
    """Return the numbers that stand under a name anywhere in a frame, which need not be JSON any more."""
    found = set()
    for text in re.findall(rb'"%b":"([^"]*)"' % field.encode(), frame):
        with contextlib.suppress(InvalidOperation):
            found.add(Decimal(text.decode("latin-1")))
    return found


def venue_of(case: Case) -> LanePeer[Any]:
    """Return a live venue at which an order waits for its answer."""
    venue = quiet(case)
    place(venue, case)
    return venue


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_warped_frames(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    venue = venue_of(case)
    for _ in range(data.draw(st.integers(1, 3))):
        lane, message = data.draw(st.sampled_from(FRAMES[case.name]))
        frame = data.draw(warped(message))
        field, unit = AMOUNTS[case.name]
        held = {amount * unit for amount in numbers_in(frame, field)}
        for event in venue.receive(lane, frame):
            if isinstance(event, OrderFilled) and not event.is_backfill:
                assert event.quantity in held
                assert event.quantity > 0 and event.price > 0
                assert event.fee.is_finite()
            elif isinstance(event, PositionsReported):
                assert all(position.quantity.is_finite() for position in event.positions)
        book = venue.session.book(case.symbol)
        if book.is_usable:
            bid, ask = book.best_bid, book.best_ask
            assert bid is None or ask is None or bid < ask
        assert venue.session.state.value in ("live", "halted", "reconciling")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_warped_answers_of_rest(case: Case, data: st.DataObject) -> None:
    """Whatever is answered while the session sets up, it ends in live or halted, and nothing is raised."""
    venue = case.peer(case.session())
    usual = venue.http_body
    which = data.draw(st.integers(0, 12))
    count = 0

    def body(request: Any, result: Any) -> bytes:
        nonlocal count
        count += 1
        true = usual(request, result)
        return data.draw(warped(orjson.loads(true))) if count == which else true

    venue.http_body = body  # type: ignore[method-assign]
    venue.connect()
    for _ in range(3):
        venue.pass_time(6_000_000_000)
    assert venue.session.state.value in ("live", "halted")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CASES), st.integers(100, 599), st.binary(max_size=30), st.dictionaries(
    st.sampled_from(["retry-after", "x-mbx-used-weight-1m", "x-mbx-order-count-10s"]),
    st.sampled_from(["", "5", "-1", "x", "9" * 40]), max_size=2,
))  # fmt: skip
def test_any_answer_of_http(case: Case, status: int, body: bytes, headers: dict[str, str]) -> None:
    venue = venue_of(case)
    venue.session._ask_clock(0, venue.now_ns)
    for request in venue.session.http_requests():
        venue.session.http_answered(request.request_id, HttpResponse(status, body, headers), venue.now_ns)
    venue.events()
    assert venue.session.state.value in ("live", "halted")
