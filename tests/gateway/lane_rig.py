"""A gateway's link to a venue of several lanes, against the stand-in of that venue, with a clock of the test's own.

What the stand-in drives is the link, not the session alone: so every event goes on to the book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import orjson

from gateway.venues.link import SessionLink
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.events import Event
from risk.exposure import WorkingOrder
from tests.gateway.rig import CONFIG, Desk, Rig
from tests.protocols.venues import fake_bybit, fake_okx
from tests.protocols.venues.cases import BINANCE, BYBIT, CASES, OKX, Case
from tests.protocols.venues.lane_peer import T0_MS, T0_NS, Frame, LanePeer, S

MS: Final = 1_000_000
KINDS: Final = {"binance": "binance-usdm", "okx": "okx", "bybit": "bybit"}
# What the stand-ins answer besides: they have a position of their own otherwise.
FLAT: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    "binance": {"v2/account.position": lambda _: []},
    "okx": {"GET /api/v5/account/positions": lambda _: []},
    "bybit": {"GET /v5/position/list": lambda _: {"list": [], "nextPageCursor": ""}},
}


def config_of(*cases: Case, extra: str = "", deposits: str = '{ BTC = "2", USDC = "100000" }') -> str:
    """The rig's accounts, and these venues instead of its own. The second and later ones have suffixes."""
    head = CONFIG[: CONFIG.index("[[venue]]")].replace('{ BTC = "2", USDC = "100000" }', deposits)
    for number, case in enumerate(cases):
        head += f"""[[venue]]
name = "{case.name}"
kind = "{KINDS[case.name]}"
currencies = ["BTC", "USDT"]
instruments = ["{case.symbol}"]
credentials_env = "TEST"
symbol_suffix = "{f".{number}" if number else ""}"
{extra}
"""
    return head


class Through:
    """Looks like a session to its stand-in, and is the link: what the venue says reaches the book."""

    def __init__(self, link: SessionLink) -> None:
        self.link = link

    @property
    def lanes(self) -> tuple[str, ...]:
        return self.link.session.lanes

    def url(self, lane: str) -> str:
        return self.link.url(lane)

    def lanes_to_close(self) -> list[tuple[str, str]]:
        return [(lane, "") for lane in self.link.lanes_to_close() if lane in self.link.lanes_up]

    def events(self) -> list[Event]:
        return []

    def frames_to_send(self, lane: str) -> list[bytes]:
        return self.link.session.frames_to_send(lane)

    def http_requests(self) -> list[HttpRequest]:
        return self.link.session.http_requests()

    def http_answered(self, request_id: int, response: HttpResponse, now_ns: int) -> None:
        self.link.session.http_answered(request_id, response, now_ns)
        self.link.handle_events(now_ns)

    def connected(self, now_ns: int, lane: str) -> None:
        self.link.connected(now_ns, lane)

    def disconnected(self, now_ns: int, lane: str) -> None:
        self.link.disconnected(now_ns, lane)

    def receive(self, frame: bytes, now_ns: int, lane: str) -> None:
        self.link.receive(frame, now_ns, lane)

    def tick(self, now_ns: int) -> None:
        self.link.tick(now_ns)


class Venue:
    """One venue: its stand-in (`peer`), and the gateway's `link` to it."""

    def __init__(self, rig: Rig, case: Case, suffix: str = "", settings: Any = None, **options: Any) -> None:
        self.rig, self.case = rig, case
        self.symbol = case.symbol + suffix

        def session() -> Any:
            wanted = {"symbols": lambda symbol: symbol == case.symbol, "trades_since_ns": T0_NS - 60 * S}
            return case.session(**(wanted | (settings or {})))

        self.link = SessionLink(case.name, session, rig.pipeline, lambda: None, symbol_suffix=suffix, **options)
        self.peer: LanePeer[Any] = case.peer(cast(Any, Through(self.link)))
        self.peer.answers |= FLAT[case.name]
        self.order_lane, self.stream, self.market = case.lanes

    @property
    def is_live(self) -> bool:
        return self.case.name in self.rig.core.market.live_venues

    def connect(self) -> Venue:
        self.peer.now_ns = self.rig.now_ns
        self.peer.dial()
        self.rig.flush()
        return self

    def hang_up(self, lane: str) -> None:
        self.peer.hang_up(lane)
        self.rig.flush()

    def obey(self) -> list[str]:
        """Close what the gateway wants closed."""
        lanes = self.peer.obey()
        self.peer.pump()
        self.rig.flush()
        return lanes

    def mark(self, price: float = 50_000.0, index: float | None = None, *, late_ms: int = 0) -> None:
        """Tell a mark, and its index, written `late_ms` ago."""
        ms = self.rig.now_ns // MS - late_ms
        for lane, frame in mark_frames(self.case, price, price if index is None else index, ms):
            self.receive(lane, frame)

    def receive(self, lane: str, frame: Any) -> None:
        self.peer.now_ns = self.rig.now_ns
        self.peer.receive(lane, frame)
        self.rig.flush()

    def tell(self, *frames: Frame, order: WorkingOrder | None = None) -> None:
        """Have the account's stream say these of an order, the only one where none is named."""
        for frame in frames:
            self.receive(self.stream, self.of(frame, order))

    def tell_raw(self, frame: Frame) -> None:
        """Have the account's stream say this, of no order."""
        self.receive(self.stream, frame)

    def of(self, frame: Any, order: WorkingOrder | None = None) -> Any:
        """A stand-in's frame, about the gateway's order."""
        label = (order or self.rig.only_order()).order_id
        client_id = self.link.session.tables.client_ids.encode(label)
        return orjson.loads(orjson.dumps(frame).replace(b'"a1"', b'"%s"' % client_id.encode()))

    def answer(self, frame: Frame, result: Any = None, order: WorkingOrder | None = None) -> None:
        """Have the venue take a request."""
        taken = self.of(self.case.accepted() if result is None else result, order)
        for reply in self.peer.replies(self.order_lane, frame, taken):
            self.receive(self.order_lane, reply)

    def refuse(self, frame: Frame, refusal: Exception) -> None:
        for reply in self.peer.refusal(self.order_lane, frame, cast(Any, refusal)):
            self.receive(self.order_lane, reply)

    def pump(self) -> list[Frame]:
        """What the gateway sends for orders now."""
        self.peer.now_ns = self.rig.now_ns
        words = (self.case.place, self.case.replace, self.case.cancel)
        return [f for lane, f in self.peer.pump() if self.peer.name_of(lane, f) in words]

    def order(self, desk: Desk, **changes: Any) -> Frame:
        """Place an order that passes; return the frame that it goes out as."""
        told = desk.order(**({"symbol": self.symbol, "quantity": "0.1", "price": "50000"} | changes))
        assert not told, [message.get(58) for message in told]
        (frame,) = self.pump()
        return frame

    def rest(self, desk: Desk) -> WorkingOrder:
        """Have an order rest on the book."""
        self.answer(self.order(desk))
        self.tell(self.case.order())
        desk.pump()
        return self.rig.only_order()

    def pass_time(self, ns: int) -> None:
        self.rig.now_ns += ns
        self.peer.now_ns = self.rig.now_ns - ns
        self.peer.pass_time(ns)
        self.rig.flush()

    def value(self) -> None:
        self.rig.core.valuation.run(self.rig.now_ns)


def mark_frames(case: Case, price: float, index: float, ms: int) -> list[tuple[str, Frame]]:
    """Frames that tell a mark and an index as of `ms`."""
    if case is BINANCE:
        mark = {"e": "markPriceUpdate", "E": ms, "s": case.symbol, "p": f"{price}", "i": f"{index}",
                "r": "0.0001", "T": ms + 1000}  # fmt: skip
        return [("market", {"stream": "btcusdt@markPrice@1s", "data": mark})]
    if case is OKX:
        told = {"instId": "BTC-USDT", "idxPx": f"{index}", "ts": f"{ms}"}
        mark = {"instType": "SWAP", "instId": case.symbol, "markPx": f"{price}", "ts": f"{ms}"}
        return [
            ("public", fake_okx.push("index-tickers", [told], instId="BTC-USDT")),
            ("public", fake_okx.push("mark-price", [mark], instId=case.symbol)),
        ]
    data = {"symbol": case.symbol, "markPrice": f"{price}", "indexPrice": f"{index}"}
    return [("linear", {"topic": f"tickers.{case.symbol}", "type": "snapshot", "ts": ms, "data": data})]


def book_frames(case: Case, number: int, bid: str, ask: str, *, is_snapshot: bool = True) -> list[tuple[str, Frame]]:
    """Frames of a book: a snapshot, or the change that follows the message before `number`."""
    from tests.protocols.venues import fake_binance

    if case is BINANCE:
        return [("public", fake_binance.depth(number, number, number - 1, b=[[bid, "1"]], a=[[ask, "1"]]))]
    if case is OKX:
        levels = {"bids": [[bid, "1", "0", "1"]], "asks": [[ask, "1", "0", "1"]]}
        action, previous = ("snapshot", -1) if is_snapshot else ("update", number - 1)
        return [("public", fake_okx.book(action, previous, number, **levels))]
    kind = "snapshot" if is_snapshot else "delta"
    return [("linear", fake_bybit.book(kind, number, b=[[bid, "1"]], a=[[ask, "1"]]))]


@contextmanager
def venue(directory: Path, case: Case, *, connects: bool = True, extra: str = "", **options: Any) -> Iterator[Venue]:
    """One venue, live and with a mark that orders are compared with."""
    rig = Rig(directory, config=config_of(case, extra=extra), now_ns=T0_NS, marks={}, segment_bytes=1 << 18)
    try:
        one = Venue(rig, case, **options)
        if connects:
            one.connect()
            one.mark()
            one.value()
        yield one
    finally:
        rig.journal.close()


@contextmanager
def venues(directory: Path, *, deposits: str = '{ BTC = "2", USDC = "100000" }') -> Iterator[list[Venue]]:
    """All of them on one gateway, live."""
    rig = Rig(directory, config=config_of(*CASES, deposits=deposits), now_ns=T0_NS, marks={}, segment_bytes=1 << 18)
    try:
        yield [Venue(rig, case, f".{number}" if number else "").connect() for number, case in enumerate(CASES)]
    finally:
        rig.journal.close()


__all__ = ["BINANCE", "BYBIT", "CASES", "MS", "OKX", "T0_MS", "T0_NS", "Case", "Frame", "S", "Venue"]
