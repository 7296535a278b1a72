"""Frames that no venue should send: nothing is raised, and no fill is told that the frame does not hold."""

from __future__ import annotations

import contextlib
import copy
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.venues.events import OrderFilled, PositionsReported
from tests.protocols.venues.fake_deribit import (
    OPTION,
    PERPETUAL,
    PORTFOLIO,
    POSITION,
    T0_MS,
    T0_NS,
    FakeDeribit,
    live,
    log_row,
    session,
    wire_order,
    wire_trade,
)

TICKER = {
    "instrument_name": "BTC-PERPETUAL",
    "timestamp": T0_MS,
    "mark_price": 50000.25,
    "index_price": 50001.5,
    "best_bid_price": 50000.0,
    "best_ask_price": 50000.5,
}
BOOK = {
    "type": "snapshot",
    "timestamp": T0_MS,
    "instrument_name": "BTC-PERPETUAL",
    "change_id": 10,
    "bids": [["new", 99.0, 5.0]],
    "asks": [["new", 101.0, 6.0]],
}
CHANGE = BOOK | {"type": "change", "change_id": 11, "prev_change_id": 10, "asks": [["delete", 101.0, 0.0]]}
CHANGES = {
    "instrument_name": "BTC-PERPETUAL",
    "orders": [wire_order(filled_amount=40.0)],
    "trades": [wire_trade(), wire_trade(trade_id="t2", amount=1.0)],
    "positions": [POSITION],
}


def notice(channel: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}


RESULTS: dict[str, Any] = {
    "private/buy": {"order": wire_order(filled_amount=40.0), "trades": [wire_trade()]},
    "private/edit": {"order": wire_order(replaced=True), "trades": [wire_trade(trade_id="t3")]},
    "private/cancel": wire_order(order_state="cancelled"),
    "private/get_order_state_by_label": [wire_order(filled_amount=40.0)],
    "private/get_user_trades_by_order": [wire_trade(trade_id="t4")],
}
NOTICES: list[dict[str, Any]] = [
    notice("user.changes.any.any.raw", CHANGES),
    notice("user.portfolio.any", PORTFOLIO),
    notice("ticker.BTC-PERPETUAL.100ms", TICKER),
    notice("book.BTC-PERPETUAL.raw", BOOK),
    notice("book.BTC-PERPETUAL.raw", CHANGE),
    notice("deribit_price_index.btc_usd", {"index_name": "btc_usd", "price": 1.5, "timestamp": T0_MS}),
    {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}},
]

odd_values = st.sampled_from(
    [
        None,
        "",
        "NaN",
        "1",
        -1,
        0,
        1e300,
        -1e300,
        2**63,
        1.5,
        True,
        [],
        {},
        [None],
        {"a": None},
        "market_price",
        "x" * 500,
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything inside a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


@st.composite
def warped(draw: st.DrawFn, message: dict[str, Any]) -> bytes:
    """Change some values, keys and bytes of a message."""
    message = copy.deepcopy(message)
    for _ in range(draw(st.integers(0, 2))):
        paths = places(message)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        holder: Any = message
        for step in way:
            holder = holder[step]
        action = draw(st.sampled_from(["set", "drop", "repeat"]))
        if action == "set":
            holder[last] = copy.deepcopy(draw(odd_values))  # they are shared, and may be changed next
        elif action == "drop":
            del holder[last]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
    frame = bytearray(orjson.dumps(message))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        at = draw(st.integers(0, len(frame)))
        action = draw(st.sampled_from(["insert", "delete", "cut", "flip"]))
        if action == "insert":
            frame[at:at] = draw(st.sampled_from([b"[", b"{", b'"', b"\\", b"\xff", b",", b"9", b"\x00", b"[" * 2000]))
        elif action == "delete":
            del frame[at : at + draw(st.integers(1, 9))]
        elif action == "cut":
            del frame[at:]
        elif at < len(frame):
            frame[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(frame)


def told_in(value: Any) -> set[tuple[str, Decimal, Decimal]]:
    """Return the trades (id, amount, price) that stand anywhere in a JSON value."""
    found = set()
    if isinstance(value, dict):
        with contextlib.suppress(KeyError, ArithmeticError, TypeError):
            found.add((value["trade_id"], Decimal(repr(value["amount"])), Decimal(repr(value["price"]))))
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            found |= told_in(inner)
    return found


def parsed(frame: bytes) -> Any:
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        # What orjson refuses our decoder may read: bytes that are no UTF-8 in a field that is passed over.
        try:
            return orjson.loads(frame.decode("latin-1").encode())
        except orjson.JSONDecodeError:
            return None


def asking() -> tuple[FakeDeribit, dict[str, int]]:
    """Return a live venue with one request of each kind in flight, and their ids by method."""
    venue = live()
    venue.answers |= dict.fromkeys(RESULTS)
    venue.session.place("a1", "BTC-PERPETUAL", True, "100", "5", "limit", "good_til_day", False, False, venue.now_ns)
    venue.session.replace("a1", "BTC-1", "100", "50000", venue.now_ns)
    venue.session.cancel("a1", "BTC-1", venue.now_ns)
    venue.session.query_order("a1", "BTC-PERPETUAL", venue.now_ns)
    venue.session._accounts.ask_order_trades("a1", "BTC-1", venue.now_ns)
    return venue, {request["method"]: request["id"] for request in venue.pump()}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_frame_raises_or_invents_a_fill(data: st.DataObject) -> None:
    venue, ids = asking()
    messages = [*NOTICES, *({"jsonrpc": "2.0", "id": ids[method], "result": RESULTS[method]} for method in ids)]
    messages.append(
        {"jsonrpc": "2.0", "id": ids["private/buy"], "error": {"code": 10009, "message": "no", "data": None}}
    )
    truth: set[tuple[str, Decimal, Decimal]] = set()
    ids_told: set[str] = set()
    for message in data.draw(st.lists(st.sampled_from(messages), min_size=1, max_size=4)):
        frame = data.draw(warped(message))
        truth |= told_in(parsed(frame))
        venue.session.receive(frame, venue.now_ns)
        for event in venue.events():
            if isinstance(event, OrderFilled):
                assert (event.trade_id.partition("/")[0], event.quantity, event.price) in truth
                assert event.trade_id not in ids_told
                assert event.quantity > 0
                ids_told.add(event.trade_id)
            elif isinstance(event, PositionsReported):
                assert all(position.quantity.is_finite() for position in event.positions)
    venue.pass_time(6_000_000_000)


SETUP: dict[str, Any] = {
    "public/auth": {"access_token": "a", "refresh_token": "r", "expires_in": 900},
    "private/subscribe": ["user.changes.any.any.raw", "user.portfolio.any"],
    "public/get_instruments": [PERPETUAL, OPTION],
    "private/get_user_trades_by_currency": {"trades": [wire_trade()], "has_more": True},
    "private/get_transaction_log": {"logs": [log_row()], "continuation": 7},
    "private/get_open_orders": [wire_order()],
    "private/get_positions": [POSITION],
    "private/get_account_summaries": {"summaries": [PORTFOLIO]},
}


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(sorted(SETUP)))
def test_no_answer_during_setup_raises_or_opens_the_session_early(data: st.DataObject, method: str) -> None:
    venue = FakeDeribit(session(trades_since_ns=T0_NS), {method: None})
    venue.connect()
    if not venue.sent or venue.sent[-1]["method"] != method:
        ids = [request["id"] for request in venue.sent if request["method"] == method]
    else:
        ids = [venue.sent[-1]["id"]]
    assert not venue.session.is_live
    frame = data.draw(warped({"jsonrpc": "2.0", "id": ids[-1], "result": SETUP[method]}))
    venue.receive(frame)
    private = [request for request in venue.sent if request["method"].startswith("private/")]
    if private:
        assert private[0]["id"] > venue.sent[0]["id"]
    if venue.session.state.value in ("connecting", "authenticating"):
        assert not private
    venue.pass_time(6_000_000_000)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_raise(frame: bytes) -> None:
    venue = live()
    venue.session.receive(frame, venue.now_ns)
    assert venue.session.is_live


def test_json_nested_without_end() -> None:
    """Fault 32: deep JSON is an error like any other."""
    venue = live()
    for deep in (b"[" * 1_000_000, b'{"id":1,"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"):
        venue.receive(deep)
    assert venue.session.malformed_frames == 2
    assert venue.session.is_live
