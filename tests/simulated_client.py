"""A client of the simulator: a FIX session of its own, orders good and bad, and a memory of what it was told."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from protocols.fix.codec import Layout, Message, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from protocols.fix.session import (
    INITIATOR,
    LoggedOn,
    MessageReceived,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
    send_or_store,
)
from tests.gateway.readers import ROOMY
from tests.simulated_expiry import TRADED
from tests.simulated_reader import MESSAGES, Reading

if TYPE_CHECKING:
    from tests.simulator import World

MS = 1_000_000
FAR_NS = 2**62
NEW_ORDER = Layout("D", (1, 11, 18, 38, 40, 44, 54, 55, 59, 60))
ORDER_WITH_TERMS = Layout("D", (*NEW_ORDER.tags, 99, 126))
MASS_CANCEL = Layout("q", (1, 11, 54, 60, 530))
CANCEL = Layout("F", (1, 11, 38, 41, 54, 55, 60))
REPLACE = Layout("G", (1, 11, 38, 40, 41, 44, 54, 55, 60))
STATUS = Layout("H", (1, 11, 54, 55))

# (symbol, tick in cents, lot, quantities): prices are sent as texts of whole ticks.
CONTRACTS = (
    ("BTC-PERPETUAL", 50, (b"10", b"1000", b"20000", b"50000", b"100000")),
    ("ETH-PERPETUAL", 5, (b"1", b"500", b"10000", b"60000")),
    ("BTC_USDC-PERPETUAL", 50, (b"0.001", b"0.05", b"0.5", b"1.5")),
    ("ETH_USDC-PERPETUAL", 5, (b"0.01", b"0.5", b"5", b"20")),
)
# Of the other venues, in worlds that have them: what is traded on Deribit too, so that accounts are hedged over venues.
ELSEWHERE = {
    "binance-usdm": (
        ("BTCUSDT", 10, (b"0.002", b"0.05", b"0.5", b"1.5")),
        ("ETHUSDT", 1, (b"0.02", b"0.5", b"5")),
    ),
    "okx": (
        ("BTC-USDT-SWAP", 10, (b"0.0001", b"0.05", b"0.5")),
        ("BTC-USD-SWAP", 10, (b"100", b"1000", b"20000")),
        ("ETH-USDT-SWAP", 1, (b"0.01", b"0.5", b"5")),
    ),
    "bybit": (
        ("BTCUSDT.BYBIT", 10, (b"0.002", b"0.05", b"0.5")),
        ("ETHUSDT.BYBIT", 1, (b"0.02", b"0.5", b"5")),
    ),
}


class Told:
    """What the client knows of one order."""

    def __init__(self, symbol: str, side: bytes, quantity: bytes) -> None:
        self.symbol, self.side, self.quantity = symbol, side, quantity
        self.status = b""
        self.cum = "0"


def _is_of_reading(message: Message) -> bool:
    return message.msg_type in MESSAGES or (message.msg_type == "j" and message.get(372) == b"V")


class Client:
    """Trades at random; keeps every report, once by MsgSeqNum."""

    def __init__(self, world: World, comp_id: str, accounts: list[str], *, is_trading: bool = True) -> None:
        self.world, self.comp_id, self.accounts = world, comp_id, accounts
        self.random = Random(f"client:{comp_id}:{world.seed}")
        key = SessionKey("FIX.4.4", comp_id, "MARGINGATE")
        self.state = SessionState(
            key,
            SessionConfig(application_messages=MESSAGES.union("89jNr"), heart_bt_int=5, resend_timeout_ns=500 * MS),
        )
        self.reading = Reading()
        self.session: Session | None = None
        self.connection = 0
        self.is_trading = is_trading
        self.is_copy = not is_trading  # it gets copies, and sends nothing
        self.count = 0
        self.orders: dict[str, Told] = {}
        self.reports: list[Message] = []
        self.rejects: Counter[bytes] = Counter()
        self.next_action_ns = world.now_ns
        elsewhere = [contract for wire in world.wires for contract in ELSEWHERE[wire.kind]]
        here = CONTRACTS
        if world.expires:
            elsewhere += [contract for wire in world.wires for contract in TRADED[wire.kind]]
            here = (*CONTRACTS, *TRADED["deribit"])
        self.contracts = (*here, *elsewhere)
        self.elsewhere = frozenset(symbol for symbol, _, _ in elsewhere)

    # -- connection --------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        if self.session is None:
            self.connection += 1
            self.session = Session(lambda key: None, self.world.now_ns, INITIATOR, limits=ROOMY)
            self.world.accept_client(self)
            self.session.logon(self.state, self.world.now_ns)
            self._pump()

    def lose_connection(self, tell_gateway: bool = True) -> None:
        """The TCP connection breaks; what was under way is lost."""
        if self.session is None:
            return
        self.session.connection_lost(self.world.now_ns)
        while self.session.next_event() is not None:
            pass
        self.session = None
        link = self.world.client_links.pop(self.comp_id, None)
        self.world.call_in(self.random.randrange(20, 200) * MS, self.connect)
        if tell_gateway and link is not None:  # the gateway may die of it
            link.disconnected(self.world.now_ns)
            self.world.flush()

    @property
    def is_up_to_date(self) -> bool:
        """Logged on, with nothing missing between it and the gateway."""
        if self.session is None or not self.session.is_logged_on:
            return False
        theirs = self.world.core.reports.sessions[self.comp_id]
        return self.state.next_in == theirs.next_out and self.state.next_out == theirs.next_in

    @property
    def deadline_ns(self) -> int:
        deadlines = [self.next_action_ns if self.is_trading else FAR_NS]
        link = self.world.client_links.get(self.comp_id)
        for session in (self.session, None if link is None else link.session):
            deadline = None if session is None else session.deadline_ns
            if deadline is not None:
                deadlines.append(deadline)
        return min(deadlines)

    def tick(self) -> None:
        now = self.world.now_ns
        if self.session is not None and (self.session.deadline_ns or FAR_NS) <= now:
            self.session.tick(now)
            self._pump()
        link = self.world.client_links.get(self.comp_id)
        if link is not None and (link.session.deadline_ns or FAR_NS) <= now:
            link.tick(now)
            self.world.flush()
        if self.is_trading and self.next_action_ns <= now:
            self.next_action_ns = now + self.random.randrange(5, 60) * MS
            if self.session is not None and self.session.is_logged_on:
                self._act()
                self._pump()

    def _pump(self) -> None:
        """Send what the session queued, cut anywhere, each piece a little later."""
        session = self.session
        if session is None:
            return
        while session.next_event() is not None:
            pass
        data, connection, delay = session.data_to_send(), self.connection, 0
        while data:
            cut = self.random.randrange(1, len(data) + 1) if self.random.random() < 0.3 else len(data)
            piece, data = data[:cut], data[cut:]
            delay += self.random.randrange(1, 4) * MS // 10
            self.world.call_in(delay, partial(self._deliver, connection, piece))

    def _deliver(self, connection: int, piece: bytes) -> None:
        link = self.world.client_links.get(self.comp_id)
        if connection == self.connection and link is not None and self.session is not None:
            link.receive(piece, self.world.now_ns)
            self.world.flush()

    def fetch(self) -> None:
        """Take what the gateway has for this client; it arrives a little later, in order."""
        link = self.world.client_links.get(self.comp_id)
        if link is None:
            return
        connection = self.connection
        while data := link.session.data_to_send():
            self.world.call_in(MS // 5, partial(self._arrive, connection, data))
        if link.session.is_closed:
            self.world.call_in(MS // 4, self.lose_connection)

    def _arrive(self, connection: int, data: bytes) -> None:
        if connection == self.connection:
            self.arrive(data)

    def arrive(self, data: bytes) -> None:
        """Take bytes of the gateway."""
        session = self.session
        if session is None:
            return
        session.receive_data(data, self.world.now_ns)
        while (event := session.next_event()) is not None:
            if isinstance(event, LoggedOn):
                self.reading.begin(session, self.world.now_ns)
            elif isinstance(event, MessageReceived) and _is_of_reading(event.message):
                if (refused := self.reading.read(event.message)) is not None:
                    self.world.call_in(100 * MS, partial(self._read_again, session, refused))
            elif isinstance(event, MessageReceived):
                self._read(event.message)
        self._pump()
        if session.is_closed:
            self.lose_connection()

    def _read_again(self, session: Session, name: str) -> None:
        if session is self.session and session.is_logged_on:
            self.reading.subscribe(name, session, self.world.now_ns)
            self._pump()

    # -- trading -----------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        choice = self.random.random()
        if self.world.has_faults and choice < 0.01:
            self.lose_connection()
        elif choice < 0.02:
            self._mass_cancel(self.random.choice((b"1", b"2", None)))
        elif choice < 0.05:
            self._new_list()
        elif choice < 0.70 or not self.orders:
            self._new_order()
        elif choice < 0.82:
            self._cancel(self._some_order())
        elif choice < 0.97:
            self._replace(self._some_order())
        else:
            told = self.random.choice(list(self.orders))
            self._send(STATUS, (b"", told.encode(), self.orders[told].side, self.orders[told].symbol.encode()))

    def _some_order(self) -> str:
        """An order that may still work, mostly; now and then any, to be refused."""
        live = [name for name, told in self.orders.items() if told.status in (b"0", b"1")]
        return self.random.choice(live if live and self.random.random() < 0.9 else list(self.orders))

    def cancel_everything(self) -> None:
        if not self.is_copy and self.random.random() < 0.5:
            self._mass_cancel(None)
        for cl_ord_id, told in list(self.orders.items()):
            if told.status in (b"0", b"1", b"A", b"5"):
                self._cancel(cl_ord_id)
        self._pump()

    def _next_id(self) -> str:
        self.count += 1
        return f"{self.comp_id}-{self.count}"

    def _price(self, symbol: str, tick_cents: int, spread: float) -> bytes:
        instrument = self.world.core.ledger.by_symbol.get(symbol)
        mark = None if instrument is None else self.world.core.market.marks[instrument.index]
        middle = 60_000.0 if mark is None else mark.price
        cents = int(middle * 100 * (1 + self.random.uniform(-spread, spread)))
        cents -= cents % tick_cents
        return b"%d.%02d" % divmod(cents, 100)

    def _new_order(self) -> None:
        symbol, tick_cents, quantities = self.random.choice(self.contracts)
        side = self.random.choice((b"1", b"2"))
        quantity = self.random.choice(quantities)
        price: bytes | None = self._price(symbol, tick_cents, self.random.choice((0.0005, 0.002, 0.02, 0.08)))
        cl_ord_id, ord_type, tif = self._next_id(), b"2", self.random.choice((b"0", b"1", b"1", b"3", b"4"))
        if symbol in self.elsewhere and tif == b"0" and self.random.random() < 0.9:
            tif = b"1"  # they know no end of the day
        account = self.random.choice(self.accounts).encode()
        defect = self.random.random()
        if defect < 0.02:
            quantity = self.random.choice((b"0.0000001", b"7", b"99999999"))
        elif defect < 0.04:
            price = b"12345.67891"
        elif defect < 0.05:
            symbol = "NO-SUCH-THING"
        elif defect < 0.06:
            account = b"nobody"
        elif defect < 0.07 and self.orders:
            cl_ord_id = self.random.choice(list(self.orders))
        elif defect < 0.12:
            ord_type, price = b"1", None
        elif defect < 0.22 and (symbol not in self.elsewhere or defect < 0.125):
            ord_type, tif = self.random.choice((b"3", b"4")), b"1"
        exec_inst = self.random.choice((None, None, None, b"6", b"E"))
        now = format_timestamp(self.world.now_ns)
        stop_px = expire_time = None
        if ord_type in (b"3", b"4"):
            exec_inst = None
            away = self.random.choice((0.00003, 0.0001, 0.001)) * (1 if side == b"1" else -1)
            stop_px = self._price_at(symbol, tick_cents, away)
            price = None if ord_type == b"3" else self._price_at(symbol, tick_cents, away * 2)
        if self.random.random() < 0.1:
            tif = b"6"
            expire_time = format_timestamp(self.world.now_ns + self.random.randrange(-50, 900) * MS)
        self.orders.setdefault(cl_ord_id, Told(symbol, side, quantity))
        self._send(
            ORDER_WITH_TERMS,
            (account, cl_ord_id.encode(), exec_inst, quantity, ord_type, price, side, symbol.encode(), tif, now,
             stop_px, expire_time),
        )  # fmt: skip

    def _price_at(self, symbol: str, tick_cents: int, away: float) -> bytes | None:
        instrument = self.world.core.ledger.by_symbol.get(symbol)
        mark = None if instrument is None else self.world.core.market.marks[instrument.index]
        cents = int((60_000.0 if mark is None else mark.price) * 100 * (1 + away))
        return b"%d.%02d" % divmod(cents - cents % tick_cents, 100)

    def _mass_cancel(self, side: bytes | None) -> None:
        now = format_timestamp(self.world.now_ns)
        self._send(MASS_CANCEL, (None, self._next_id().encode(), side, now, b"7"))

    def _new_list(self) -> None:
        """A basket of one to four orders, good and bad."""
        entries: list[Values] = []
        count = self.random.randrange(1, 5)
        account = self.random.choice(self.accounts).encode()
        for number in range(count):
            symbol, tick_cents, quantities = self.random.choice(self.contracts)
            side, quantity, name = self.random.choice((b"1", b"2")), self.random.choice(quantities), self._next_id()
            price = self._price(symbol, tick_cents, self.random.choice((0.002, 0.08)))
            self.orders[name] = Told(symbol, side, quantity)
            entries.append(
                {11: name.encode(), 67: number, 1: account, 55: symbol.encode(), 54: side, 38: quantity, 40: b"2",
                 44: price, 59: b"1"}
            )  # fmt: skip
        values: Values = {66: self._next_id().encode(), 68: count, 73: entries, 394: b"3"}
        send_grouped(self.state, "E", values, self.world.now_ns)

    def _cancel(self, orig: str) -> None:
        told, now = self.orders[orig], format_timestamp(self.world.now_ns)
        values = (None, self._next_id().encode(), told.quantity, orig.encode(), told.side, told.symbol.encode(), now)
        self._send(CANCEL, values)

    def _replace(self, orig: str) -> None:
        told = self.orders[orig]
        tick_cents, quantities = next(((t, q) for s, t, q in self.contracts if s == told.symbol), (50, (b"10",)))
        price = self._price(told.symbol, tick_cents, 0.002)
        new_id, quantity = self._next_id(), self.random.choice(quantities)
        self.orders[new_id] = Told(told.symbol, told.side, quantity)
        now = format_timestamp(self.world.now_ns)
        values = (None, new_id.encode(), quantity, b"2", orig.encode(), price, told.side, told.symbol.encode(), now)
        self._send(REPLACE, values)

    def _send(self, layout: Layout, values: tuple[bytes | int | None, ...]) -> None:
        send_or_store(self.state, layout, tuple(value or None for value in values), self.world.now_ns)

    def _read(self, message: Message) -> None:
        self.reports.append(message)
        cl_ord_id, status, cum, code = message.values((11, 39, 14, 20001))
        if code is not None:
            self.rejects[code] += 1
        exec_type, orig = message.get(150), message.get(41)
        if message.msg_type == "9" and orig is not None and orig.decode() in self.orders and message.get(37) != b"NONE":
            # What can not be replaced any more may have been filled: the reject says how the order stands.
            known = self.orders[orig.decode()]
            known.status = known.status if known.status == b"replaced" else status or known.status
        name = orig if exec_type == b"4" and orig is not None else cl_ord_id
        told = self.orders.get((name or b"").decode())
        if message.msg_type == "8" and told is not None and status is not None and exec_type != b"I":
            # A ClOrdID used again is refused under the name of the order that has it: that order is as it was.
            if message.get(37) != b"NONE" or not told.status:
                told.status, told.cum = status, (cum or b"0").decode()
            if orig is not None and exec_type == b"5" and orig.decode() in self.orders:
                self.orders[orig.decode()].status = b"replaced"
