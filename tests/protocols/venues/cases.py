"""The venues of several lanes as one table, so that what they must have in common is tested on each of them.

Every order is of 0.1 BTC at 50 000; amounts here are quantities, whatever the venue counts.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from tests.protocols.venues import fake_binance, fake_bybit, fake_okx
from tests.protocols.venues.lane_peer import T0_MS, Frame, LanePeer

D = Decimal


class Case(NamedTuple):
    """One venue: its stand-in, the names of its requests, and its frames for what may become of an order."""

    name: str
    live: Callable[..., LanePeer[Any]]
    peer: Callable[..., LanePeer[Any]]
    session: Callable[..., Any]
    symbol: str
    order_id: str
    lanes: tuple[str, str, str]  # orders, the account's stream, the market
    place: str
    replace: str
    cancel: str
    vital: frozenset[str]
    accepted: Callable[[], Any]  # the result of a place, replace or cancel that the venue takes
    order: Callable[..., Frame]  # a frame of the stream: state, quantity, filled, price, time_ms
    fill: Callable[..., list[Frame]]  # frames of the stream: trade id, quantity, filled in all, time_ms
    open_order: Callable[[str], Frame]  # in the list of open orders: filled
    position: Callable[[str], str]
    codes: dict[str, int]  # what a refusal means -> a code of it
    routes: dict[str, str]  # what is asked by REST -> its name


# -- Binance

_BINANCE_STATES = {"open": "NEW", "filled": "FILLED", "cancelled": "CANCELED", "rejected": "REJECTED"}


def _binance_order(
    state: str = "open", quantity: str = "0.100", filled: str = "0", price: str = "50000.0", time_ms: int = T0_MS
) -> Frame:
    status = "PARTIALLY_FILLED" if state == "open" and D(filled) else _BINANCE_STATES[state]
    kind = {"cancelled": "CANCELED", "rejected": "REJECTED"}.get(state, "NEW")
    return fake_binance.order_update(time_ms, X=status, x=kind, q=quantity, z=filled, p=price)


def _binance_fill(trade_id: int, amount: str, total: str, time_ms: int = T0_MS + 1, **more: Any) -> list[Frame]:
    return [fake_binance.fill(trade_id, amount, total, time_ms, **more)]


BINANCE = Case(
    name="binance",
    live=fake_binance.live,
    peer=fake_binance.FakeBinance,
    session=fake_binance.session,
    symbol="BTCUSDT",
    order_id="7001",
    lanes=("trade", "private", "public"),
    place="order.place",
    replace="order.modify",
    cancel="order.cancel",
    vital=frozenset({"trade", "private"}),
    accepted=fake_binance.wire_order,
    order=_binance_order,
    fill=_binance_fill,
    open_order=lambda filled: fake_binance.wire_order(executedQty=filled),
    position=lambda text: text,
    codes={"definite": -2019, "unknown": -1007, "rate": -1015, "clock": -1021, "fatal": -2015, "unlisted": -9999},
    routes={
        "clock": "GET /fapi/v1/time",
        "listing": "GET /fapi/v1/exchangeInfo",
        "open orders": "GET /fapi/v1/openOrders",
        "settings": "GET /fapi/v1/positionSide/dual",
    },
)

# -- OKX: amounts are contracts of 0.01

_OKX_STATES = {"open": "live", "filled": "filled", "cancelled": "canceled"}


def _contracts(quantity: str) -> str:
    return format((D(quantity) * 100).normalize(), "f")


def _okx_order(
    state: str = "open", quantity: str = "0.100", filled: str = "0", price: str = "50000.0", time_ms: int = T0_MS
) -> Frame:
    word = "partially_filled" if state == "open" and D(filled) else _OKX_STATES[state]
    return fake_okx.orders(
        fake_okx.wire_order(
            state=word, sz=_contracts(quantity), accFillSz=_contracts(filled), px=price, uTime=str(time_ms)
        )
    )


def _okx_fill(trade_id: int, amount: str, total: str, time_ms: int = T0_MS + 1, **more: Any) -> list[Frame]:
    wire = fake_okx.fill(str(trade_id), _contracts(amount), _contracts(total), time_ms, **more)
    return [fake_okx.orders(wire)]


OKX = Case(
    name="okx",
    live=fake_okx.live,
    peer=fake_okx.FakeOkx,
    session=fake_okx.session,
    symbol="BTC-USDT-SWAP",
    order_id="9001",
    lanes=("private", "private", "public"),
    place="order",
    replace="amend-order",
    cancel="cancel-order",
    vital=frozenset({"private"}),
    accepted=lambda: [{"ordId": "9001", "clOrdId": "a1", "sCode": "0", "sMsg": "", "ts": str(T0_MS)}],
    order=_okx_order,
    fill=_okx_fill,
    open_order=lambda filled: fake_okx.wire_order(accFillSz=_contracts(filled)),
    position=_contracts,
    codes={"definite": 51008, "unknown": 50004, "rate": 50061, "clock": 50102, "fatal": 50113, "unlisted": 59999},
    routes={
        "clock": "GET /api/v5/public/time",
        "listing": "GET /api/v5/public/instruments",
        "open orders": "GET /api/v5/trade/orders-pending",
        "settings": "GET /api/v5/account/config",
    },
)

# -- Bybit: fills are a topic of their own

_BYBIT_STATES = {"open": "New", "filled": "Filled", "cancelled": "Cancelled", "rejected": "Rejected"}


def _bybit_order(
    state: str = "open", quantity: str = "0.100", filled: str = "0", price: str = "50000.0", time_ms: int = T0_MS
) -> Frame:
    word = "PartiallyFilled" if state == "open" and D(filled) else _BYBIT_STATES[state]
    return fake_bybit.push(
        "order",
        fake_bybit.wire_order(orderStatus=word, qty=quantity, cumExecQty=filled, price=price, updatedTime=str(time_ms)),
    )


def _bybit_fill(trade_id: int, amount: str, total: str, time_ms: int = T0_MS + 1, **more: Any) -> list[Frame]:
    execution = fake_bybit.execution(execId=f"e-{trade_id}", execQty=amount, execTime=str(time_ms), **more)
    state = "filled" if total == "0.100" else "open"
    return [fake_bybit.push("execution", execution), _bybit_order(state, filled=total, time_ms=time_ms)]


BYBIT = Case(
    name="bybit",
    live=fake_bybit.live,
    peer=fake_bybit.FakeBybit,
    session=fake_bybit.session,
    symbol="BTCUSDT",
    order_id="5cf98598-1",
    lanes=("trade", "private", "linear"),
    place="order.create",
    replace="order.amend",
    cancel="order.cancel",
    vital=frozenset({"trade", "private"}),
    accepted=lambda: {"orderId": "5cf98598-1", "orderLinkId": "a1"},
    order=_bybit_order,
    fill=_bybit_fill,
    open_order=lambda filled: fake_bybit.wire_order(cumExecQty=filled),
    position=lambda text: text,
    codes={"definite": 110007, "unknown": 10016, "rate": 10006, "clock": 10002, "fatal": 10004, "unlisted": 199999},
    routes={
        "clock": "GET /v5/market/time",
        "listing": "GET /v5/market/instruments-info",
        "open orders": "GET /v5/order/realtime",
        "settings": "GET /v5/account/info",
    },
)

CASES = (BINANCE, OKX, BYBIT)


def quiet(case: Case, **settings: Any) -> LanePeer[Any]:
    """Return a live venue that leaves orders unanswered."""
    venue = case.live(**settings)
    venue.answers |= dict.fromkeys((case.place, case.replace, case.cancel))
    return venue


def place(venue: LanePeer[Any], case: Case, label: str = "a1", **changes: Any) -> Frame:
    """Place an order; return its frame."""
    terms: dict[str, Any] = {
        "symbol": case.symbol,
        "is_buy": True,
        "quantity": "0.100",
        "price": "50000.0",
        "order_type": "limit",
        "time_in_force": "good_til_cancelled",
        "post_only": False,
        "reduce_only": False,
    } | changes
    venue.session.place(label, now_ns=venue.now_ns, **terms)
    ((lane, frame),) = venue.pump()
    assert lane == case.lanes[0]
    return frame


def answer(venue: LanePeer[Any], case: Case, frame: Frame, result: Any = None) -> list[Any]:
    """Have the venue take a request; return the events."""
    lane = case.lanes[0]
    for reply in venue.replies(lane, frame, case.accepted() if result is None else result):
        venue.session.receive(reply, venue.now_ns, lane)
    venue.pump()
    return venue.events()


def tell(venue: LanePeer[Any], case: Case, *frames: Frame) -> list[Any]:
    """Have the account's stream say these; return the events."""
    events = []
    for frame in frames:
        events += venue.receive(case.lanes[1], frame)
    return events


def rest_order(venue: LanePeer[Any], case: Case) -> None:
    """Place an order that rests, and take the events of that."""
    answer(venue, case, place(venue, case))
    tell(venue, case, case.order())
    venue.clear()
