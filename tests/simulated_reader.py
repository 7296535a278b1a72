"""What a client of the simulator reads besides its orders: two books, rebuilt strictly from what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.fix.codec import Message, encode_fields
from protocols.fix.session import Session
from protocols.venues.orderbook import NO_SNAPSHOT
from tests.gateway.readers import ClientBook

if TYPE_CHECKING:
    from tests.simulator import World

MESSAGES: Final = frozenset("WXYB")
# MDReqID(262) without its number -> instrument, depth, and how it is updated.
SUBSCRIPTIONS: Final = {"deep": ("BTC-PERPETUAL", 0, 1), "short": ("ETH-PERPETUAL", 10, 0)}


class Reading:
    """The books of one client. Each connection subscribes anew; what was subscribed before is over."""

    def __init__(self) -> None:
        self.requests = 0
        self.books: dict[bytes, ClientBook] = {}
        self.asked: dict[bytes, bytes] = {}  # MsgSeqNum(34) -> MDReqID(262)
        self.told = 0

    def begin(self, session: Session, now_ns: int) -> None:
        """Subscribe, right after the Logon."""
        self.books.clear()
        self.asked.clear()
        for name in SUBSCRIPTIONS:
            self.subscribe(name, session, now_ns)

    def subscribe(self, name: str, session: Session, now_ns: int) -> None:
        """Ask for one book."""
        self.requests += 1
        symbol, depth, update = SUBSCRIPTIONS[name]
        md_req_id, state = f"{name}-{self.requests}".encode(), session.state
        assert state is not None
        self.books[md_req_id] = ClientBook()
        self.asked[b"%d" % state.next_out] = md_req_id
        fields = [(262, md_req_id), (263, 1), (264, depth), (265, update), (267, 2), (269, b"0"), (269, b"1"),
                  (146, 1), (55, symbol.encode())]  # fmt: skip
        session.send_encoded(encode_fields("V", state.header, state.next_out, now_ns, fields), now_ns)

    def read(self, message: Message) -> str | None:
        """Take one message; return which book to ask for again: it was not listed yet, or too much."""
        is_refused = message.msg_type == "j"  # by its throttle
        md_req_id = self.asked.get(message.get(45) or b"", b"") if is_refused else message.get(262) or b""
        if md_req_id not in self.books:
            return None  # news; or a request of an earlier connection, which the gateway had missed and was resent
        if is_refused or message.msg_type == "Y":
            assert is_refused or message.get(281) == b"0", message.raw
            del self.books[md_req_id]
            return md_req_id.decode().partition("-")[0]
        self.told += 1
        self.books[md_req_id].apply(message)
        return None

    def check(self, world: World) -> None:
        """At rest, after a last turn, the client has the books that we have, or knows that there is none."""
        for md_req_id, known in self.books.items():
            symbol, depth, _ = SUBSCRIPTIONS[md_req_id.decode().partition("-")[0]]
            book = world.link.book(symbol)
            if not book.is_usable:  # a venue that is silent sends no snapshot either
                assert known.trouble or book.reason == NO_SNAPSHOT, f"{md_req_id!r}: {book.reason}, and nobody says so"
                continue
            for kind, side in ((b"0", book.bids), (b"1", book.asks)):
                count = depth or len(side.levels)
                assert known.sides[kind] == dict(side.depth(count)), f"{md_req_id!r}: the books differ"
