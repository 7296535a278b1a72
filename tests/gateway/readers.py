"""Who reads market data in tests: a client of any version over a real session, and the book that it makes of what it is
told, strictly; and a venue's feed whose books and tapes are real and whose words are the test's."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from gateway.clients.link import ClientLink
from protocols.fix.codec import Layout, Message, encode_fields
from protocols.fix.session import INITIATOR, Limits, MessageReceived, Session, SessionConfig, SessionKey, SessionState
from protocols.venues.orderbook import Level, OrderBook
from protocols.venues.trade_tape import PublicTrade, TradeTape
from tests.gateway.rig import CONFIG, VENUE, Rig

D = Decimal
VERSIONS: Final = ("FIX.4.2", "FIX.4.4", "FIXT.1.1")
MARGIN_ANSWERS: Final = frozenset({"AO", "AP", "AX", "AZ", "BG", "BA", "CI", "CJ", "CQ", "DG", "DI"})
ANSWERS: Final = frozenset({"8", "9", "j", "W", "X", "Y", "y", "d", "f", "h", "B", "BD", "BF"}) | MARGIN_ANSWERS
# A snapshot of a deep book is larger than any message that the gateway itself would take.
ROOMY: Final = Limits(max_message_bytes=1 << 17, max_fields=1 << 14, max_buffered_bytes=1 << 22)
_RESEND: Final = Layout("2", (7, 16))

Told = list[tuple[int, bytes]]


def config_of(version: str, extra_fix: str = "") -> str:
    session = f'target_comp_id = "ALPHA"\nbegin_string = "{version}"'
    return CONFIG.replace('target_comp_id = "ALPHA"', session).replace("[fix]", f"[fix]\n{extra_fix}")


class Client:
    """A client of one version, a sans-I/O session on its side too."""

    def __init__(self, rig: Rig, version: str = "FIX.4.4", comp_id: str = "ALPHA") -> None:
        self.rig = rig
        config = SessionConfig(application_messages=ANSWERS, reset_on_logon=False)
        self.state = SessionState(SessionKey(version, comp_id, "MARGINGATE"), config)
        self.connect()

    def connect(self) -> None:
        rig, states = self.rig, {state.key: state for state in self.rig.core.reports.sessions.values()}
        self.link = ClientLink(states, rig.core.pipeline, rig.now_ns, Limits(), lambda name: None, lambda name: False)
        self.session = Session(lambda key: None, rig.now_ns, role=INITIATOR, limits=ROOMY)
        self.session.logon(self.state, rig.now_ns)
        self.pump()
        assert self.session.is_logged_on

    def disconnect(self) -> None:
        self.link.disconnected(self.rig.now_ns)
        self.session.connection_lost(self.rig.now_ns)
        while self.session.next_event() is not None:
            pass

    def pump(self) -> list[Message]:
        """Move bytes both ways until there are none; return the application messages, validated by the dictionary."""
        told: list[Message] = []
        while True:
            out, back = self.session.data_to_send(), self.link.session.data_to_send()
            if not out and not back:
                return told
            if out:
                self.link.receive(out, self.rig.now_ns)
                self.rig.flush()
            if back:
                self.session.receive_data(back, self.rig.now_ns)
                while (event := self.session.next_event()) is not None:
                    if isinstance(event, MessageReceived):
                        assert self.state.dictionary.validate(event.message) is None, event.message.raw
                        told.append(event.message)

    def ask(self, msg_type: str, *fields: tuple[int, bytes | int]) -> list[Message]:
        """Send one message; return what came back at once."""
        state = self.state
        raw = encode_fields(msg_type, state.header, state.next_out, self.rig.now_ns, fields)
        self.session.send_encoded(raw, self.rig.now_ns)
        return self.pump()

    def turn(self) -> list[Message]:
        """Let the gateway take a turn of telling; return what came."""
        self.rig.core.inquiries.run(self.rig.now_ns)
        self.rig.flush()
        return self.pump()

    def subscribe(
        self, md_req_id: bytes, *symbols: str, kinds: bytes = b"01", depth: int = 0, update: int | None = 1,
        action: int = 1, extra: tuple[tuple[int, bytes | int], ...] = (),
    ) -> list[Message]:  # fmt: skip
        fields: list[tuple[int, bytes | int]] = [(262, md_req_id), (263, action), (264, depth)]
        if update is not None:
            fields.append((265, update))
        fields += [*extra, (267, len(kinds)), *((269, bytes([kind])) for kind in kinds)]
        fields += [(146, len(symbols)), *((55, symbol.encode()) for symbol in symbols)]
        return self.ask("V", *fields)

    def unsubscribe(self, md_req_id: bytes, *symbols: str) -> list[Message]:
        return self.subscribe(md_req_id, *symbols, action=2)

    def ask_again(self, begin: int) -> bytes:
        """Ask for a resend; return the bytes that come."""
        self.session.send(_RESEND, (b"%d" % begin, b"0"), self.rig.now_ns)
        self.link.receive(self.session.data_to_send(), self.rig.now_ns)
        self.rig.flush()
        data = b""
        while back := self.link.session.data_to_send():
            data += back
        return data


def shown(message: Message, *tags: int) -> tuple[bytes, ...]:
    """MsgType and these fields, empty where absent."""
    return (message.msg_type.encode(), *(value or b"" for value in message.values(tags)))


ENTRY_TAGS: Final = (279, 269, 278, 55, 270, 271, 272, 273, 276, 58)


def entries(message: Message) -> list[dict[int, bytes]]:
    """The entries of a W or X, each as its fields."""
    tags = ENTRY_TAGS if message.msg_type == "X" else tuple(tag for tag in ENTRY_TAGS if tag not in (279, 278, 55))
    return [
        {tag: value for tag, value in zip(tags, entry, strict=True) if value is not None}
        for entry in message.groups(268, tags)
    ]


class ClientBook:
    """What a strict client knows: a new level was not there, a changed or deleted one was."""

    def __init__(self) -> None:
        self.sides: dict[bytes, dict[Decimal, Decimal]] = {b"0": {}, b"1": {}}
        self.quotes: dict[bytes, Decimal] = {}
        self.trades: list[bytes] = []
        self.trouble = b"nothing told"
        self.messages = 0

    def apply(self, message: Message) -> None:
        self.messages += 1
        if message.msg_type == "W":
            self.sides, self.quotes, self.trouble = {b"0": {}, b"1": {}}, {}, b""
        for entry in entries(message):
            self._apply(entry, entry.get(279, b"0"))

    def _apply(self, entry: dict[int, bytes], action: bytes) -> None:
        kind = entry[269]
        if entry.get(276) == b"B":
            self.trouble = entry[58]
            return
        if kind == b"2":
            self.trades.append(entry.get(278, b""))
            return
        levels: dict[Decimal, Decimal] | None = self.sides.get(kind)
        if levels is None:
            assert (kind in self.quotes) is (action != b"0")
            self.quotes.pop(kind, None)
            if action != b"2":
                self.quotes[kind] = D(entry[270].decode())
            return
        price = D(entry[270].decode())
        assert (price in levels) is (action != b"0"), (action, entry, levels)
        if action == b"2":
            del levels[price]
        else:
            levels[price] = D(entry[271].decode())


class BookFeed:
    """A venue's market data: real books and tapes, and what was wanted of it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.books: dict[str, OrderBook] = {}
        self.tapes: dict[str, TradeTape] = {}
        self.wanted: list[tuple[set[str], set[str]]] = []
        self.count = 0
        rig.core.inquiries.feeds.connect(VENUE, self)

    @property
    def state_name(self) -> str:
        return "live" if VENUE in self.rig.core.market.live_venues else "connecting"

    def want(self, books: frozenset[str], trades: frozenset[str], now_ns: int) -> None:
        self.wanted.append((set(books), set(trades)))

    def book(self, symbol: str) -> OrderBook:
        return self.books.setdefault(symbol, OrderBook(symbol))

    def tape(self, symbol: str) -> TradeTape:
        return self.tapes.setdefault(symbol, TradeTape())

    # -- the venue's words

    def set(self, symbol: str, bids: list[Level], asks: list[Level]) -> None:
        self.count += 1
        self.book(symbol).apply_snapshot(self.count, self.rig.now_ns, bids, asks)

    def change(self, symbol: str, bids: list[Level], asks: list[Level]) -> None:
        book = self.book(symbol)
        self.count += 1
        book.apply_change(book.sequence, self.count, self.rig.now_ns, bids, asks)

    def trade(self, symbol: str, trade_id: str, price: str = "60000", amount: str = "10") -> None:
        self.tape(symbol).add(PublicTrade(trade_id, D(price), D(amount), True, self.rig.now_ns))
