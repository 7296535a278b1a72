"""The gateway's core with recorded edges: real journal, real FIX sessions (simplefix on the other side), a link that
writes down what was handed to it, and the venue's words as events. Time is a literal that the test moves.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import simplefix

from fixtures.fix_conversation import FixConversation, text
from gateway import config as configuration
from gateway import records
from gateway.clients.link import ClientLink
from gateway.clients.sessions import name_of
from gateway.core import Core
from gateway.executions import Executions
from gateway.journal import Files, Journal, JournalFull, Record, read
from gateway.recovery import replay
from gateway.venues.symbols import VenueSymbols
from protocols.fix.session import Limits
from protocols.venues import events
from risk.exposure import WorkingOrder
from risk.order import Approved

START_NS: Final = 1_760_000_000_000_000_000
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
VENUE: Final = "deribit"
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
MARKS: Final = {BTC: 60_000.0, ETH: 2_000.0}

CONFIG: Final = """
[gateway]
name = "test"
journal_directory = "journal"
[fix]
listen_port = 9880
sender_comp_id = "MARGINGATE"
[[fix.session]]
target_comp_id = "ALPHA"
accounts = ["alpha"]
[[fix.session]]
target_comp_id = "BETA"
accounts = ["beta", "gamma"]
cancel_on_disconnect = false
[[account]]
name = "alpha"
deposits = { BTC = "2", USDC = "100000" }
[account.limits]
max_order_notional_usd = 200000
max_orders_per_second = 1000
order_burst = 1000
max_working_orders = 12
instrument = [{ pattern = "*", max_order_quantity = 100000, max_position_quantity = 150000 }]
[[account]]
name = "beta"
deposits = { ETH = "30" }
[account.limits]
max_order_notional_usd = 400000
instrument = [{ pattern = "BTC*", max_order_quantity = 200000, max_position_quantity = 300000 }]
[[account]]
name = "gamma"
deposits = { USDC = "1000" }
[account.limits]
max_order_notional_usd = 100000
instrument = [{ pattern = "*", max_order_quantity = 50000, max_position_quantity = 50000 }]
[[venue]]
name = "deribit"
kind = "deribit"
url = "ws://127.0.0.1:1/ws/api/v2"
currencies = ["BTC", "ETH", "USDC"]
instruments = ["*-PERPETUAL"]
credentials_env = "TEST"
"""


class SmallDisk(Files):
    """A disk that is full, or whose syncs fail, whenever the test says so."""

    is_full = False
    sync_fails = False

    def allocate(self, descriptor: int, size: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(descriptor, size)

    def fdatasync(self, descriptor: int) -> None:
        if self.sync_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().fdatasync(descriptor)


class WatchedJournal:
    """The real journal; what is appended is noted, in order, in the rig's log."""

    def __init__(self, journal: Journal, log: list[tuple[str, Any]]) -> None:
        self._journal = journal
        self._log = log

    def append(self, record_type: int, payload: bytes, time_ns: int, essential: bool = False) -> int:
        sequence = self._journal.append(record_type, payload, time_ns, essential)
        self._log.append(("append", type(records.decode(payload)).__name__))
        return sequence


class FullJournal:
    """A journal of which not even the reserve is left."""

    def append(self, record_type: int, payload: bytes, time_ns: int, essential: bool = False) -> int:
        raise JournalFull("the disk is full")


class RecordingLink:
    """A venue's order entry that notes what it is handed. With a `refusal`, nothing leaves and that is said."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self._log = log
        self.symbols = VenueSymbols("")
        self.refusal: str | None = None
        self.placed: list[tuple[str, Approved]] = []
        self.cancelled: list[str] = []
        self.replaced: list[str] = []

    def place(self, approved: Approved, order_id: str, now_ns: int) -> str | None:
        if self.refusal is None:
            self._log.append(("place", order_id))
            self.placed.append((order_id, approved))
        return self.refusal

    def cancel(self, order: WorkingOrder, now_ns: int) -> None:
        self._log.append(("cancel", order.order_id))
        self.cancelled.append(order.order_id)

    def replace(self, order: WorkingOrder, now_ns: int) -> str | None:
        if self.refusal is None:
            self._log.append(("replace", order.order_id))
            self.replaced.append(order.order_id)
        return self.refusal

    def flush(self) -> None:
        self._log.append(("flush", None))


class Desk:
    """One client: a FIX session written with simplefix against the gateway's end of it."""

    def __init__(self, rig: Rig, comp_id: str, conversation: FixConversation | None = None) -> None:
        self.rig = rig
        self.comp_id = comp_id
        self.fix = conversation or FixConversation(comp_id, "MARGINGATE", 30, rig.now_ns)
        rules = {name_of(s): s.cancel_on_disconnect for s in rig.core.config.fix.session}
        states = {rig.core.reports.sessions[name].key: rig.core.reports.sessions[name] for name in rules}
        self.link = ClientLink(
            states, rig.core.pipeline, rig.now_ns, Limits(), lambda name: None, lambda name: rules[name]
        )
        self.received = b""
        self.count = 0

    def log_on(self, *, resets: bool = True) -> Desk:
        body = [(98, "0"), (108, "30"), *([(141, "Y")] if resets else [])]
        self.fix.send("A", body, self.rig.now_ns)
        self.pump()
        assert self.fix.is_logged_on
        return self

    def send(self, msg_type: str, *fields: tuple[int, Any]) -> list[simplefix.FixMessage]:
        """Send one message; return what came back, in order."""
        self.fix.send(msg_type, [(tag, str(value)) for tag, value in fields], self.rig.now_ns)
        return self.pump()

    def pump(self) -> list[simplefix.FixMessage]:
        """Move bytes both ways until there are none; return the application messages."""
        while data := self.fix.data_to_send():
            self.link.receive(data, self.rig.now_ns)
            self.rig.flush()
            self.fetch()
        self.fetch()
        told, self.fix.inbox[:] = list(self.fix.inbox), []
        return told

    def fetch(self) -> None:
        while data := self.link.session.data_to_send():
            self.received += data
            self.fix.receive(data, self.rig.now_ns)

    def order(self, **changes: Any) -> list[simplefix.FixMessage]:
        """Send a NewOrderSingle(D): a buy of 100 at 59000 that every check passes, but for the changes."""
        return self.send("D", *order_fields(**{"cl_ord_id": self.next_id()} | changes))

    def cancel(self, orig: str, *, cl_ord_id: str = "") -> list[simplefix.FixMessage]:
        return self.send(
            "F", (11, cl_ord_id or self.next_id()), (41, orig), (38, 100), (54, 1), (55, BTC), (60, NOW_TEXT)
        )

    def replace(self, orig: str, **changes: Any) -> list[simplefix.FixMessage]:
        return self.send("G", (41, orig), *order_fields(**{"cl_ord_id": self.next_id()} | changes))

    def next_id(self) -> str:
        self.count += 1
        return f"{self.comp_id}-{self.count}"


NOW_TEXT: Final = "20251009-08:53:20.000"
_TAGS: Final = {
    "account": 1, "cl_ord_id": 11, "currency": 15, "exec_inst": 18, "quantity": 38, "ord_type": 40, "price": 44,
    "side": 54, "symbol": 55, "tif": 59, "time": 60,
}  # fmt: skip


def order_fields(cl_ord_id: str, **changes: Any) -> list[tuple[int, Any]]:
    """Fields of a good order; a change to None leaves the field out."""
    values = {"account": None, "cl_ord_id": cl_ord_id, "currency": None, "exec_inst": None, "quantity": 100,
              "ord_type": 2, "price": 59_000, "side": 1, "symbol": BTC, "tif": 1, "time": NOW_TEXT}  # fmt: skip
    values |= changes
    return [(_TAGS[name], value) for name, value in values.items() if value is not None]


class Rig:
    """Core and edges. `log` tells what was journalled and what was handed to the venue's link, in order."""

    def __init__(
        self,
        directory: Path,
        *,
        config: str = CONFIG,
        now_ns: int = START_NS,
        files: Files | None = None,
        segment_bytes: int = 1 << 16,
        durability: Any = "mmap",
        marks: Mapping[str, float] = MARKS,
    ) -> None:
        self.directory = directory
        self.config_text = config
        self.now_ns = now_ns
        self.journal = Journal.open(
            directory, segment_bytes=segment_bytes, files=files, retry_interval_s=3600.0, durability=durability
        )
        self.core = Core(
            configuration.parse(config, directory / "test.toml"), self.journal, read(directory), now_ns, "t"
        )
        self.log: list[tuple[str, Any]] = []
        self.pipeline, self.ledger, self.monitor = self.core.pipeline, self.core.ledger, self.core.monitor
        self.pipeline.journal = WatchedJournal(self.journal, self.log)  # type: ignore[assignment]
        self.link = RecordingLink(self.log)
        self.core.router.connect(VENUE, self.link)
        self.queries: list[str] = []
        self.executions = Executions(VENUE, self.pipeline, lambda order, now: self.queries.append(order.order_id))
        self.core.market.live_venues.add(VENUE)
        self.desks: list[Desk] = []
        for symbol, mark in marks.items():
            self.hear(listed(symbol))
            self.mark(symbol, mark)
        if marks:
            self.core.valuation.run(self.now_ns)
        self.log.clear()

    def desk(self, comp_id: str = "ALPHA", **options: Any) -> Desk:
        desk = Desk(self, comp_id, **options)
        self.desks.append(desk)
        return desk

    def hear(self, *told: events.Event) -> None:
        """Let the venue say something."""
        for event in told:
            self.executions.handle(event, self.now_ns)
        self.flush()

    def mark(self, symbol: str, price: float) -> None:
        self.hear(events.MarkPriceUpdated(symbol, price, price, self.now_ns))

    def flush(self) -> None:
        self.core.router.flush()
        self.core.pipeline.volatile.flush(self.now_ns)
        self.core.reports.touched.clear()
        for desk in self.desks:
            desk.fetch()

    def restart(self, *, now_ns: int = 0, **options: Any) -> Rig:
        """A new process on the journal that this one leaves: no goodbye."""
        self.journal.close()
        return Rig(
            self.directory, config=options.pop("config", self.config_text), now_ns=now_ns or self.now_ns, **options
        )

    def only_order(self) -> WorkingOrder:
        (order,) = self.ledger.orders.values()
        return order

    def history(self) -> list[records.AnyRecord]:
        return [records.decode(entry.payload) for entry in self.entries()]

    def entries(self) -> list[Record]:
        return list(read(self.directory))

    def of_type(self, *kinds: type[records.Record]) -> list[Any]:
        return [record for record in self.history() if isinstance(record, kinds)]

    def check_replay(self) -> None:
        """The journal alone gives the same state, and the same reports, byte for byte."""
        replayed = replay(read(self.directory))
        assert replayed.state_hash() == self.core.state_hash()
        for name, state in self.core.reports.sessions.items():
            again = replayed.reports.sessions[name]
            assert (again.next_in, again.next_out) == (state.next_in, state.next_out)
            for number in range(1, state.next_out):
                sent = state.sent.get(number)
                # What was refused because nothing could be written is filled as a gap.
                wanted = None if sent is not None and b"journal unavailable" in sent else sent
                assert again.sent.get(number) == wanted, f"{name} {number}"

    def check_holds(self) -> None:
        """What is held is what works: no hold of an ended order is left, and none was released twice."""
        for account in self.ledger.accounts.values():
            working = {o.order_id for o in self.ledger.orders.values() if o.account == account.name and o.is_working}
            working |= {h.hold_id for h in self.ledger.holds.live() if h.order.account == account.name}
            assert set(account.exposure.orders) == working
            for side, held in ((1, account.exposure.buy_lots), (2, account.exposure.sell_lots)):
                lots: dict[int, int] = {}
                for order in account.exposure.orders.values():
                    if order.side == side:
                        index = order.instrument.index
                        lots[index] = lots.get(index, 0) + order.held_lots()
                assert {index: count for index, count in held.items() if count} == lots


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Rig]:
    rig = Rig(directory, **options)
    try:
        yield rig
    finally:
        rig.journal.close()


@contextmanager
def full_journal(rig: Rig) -> Iterator[None]:
    """For as long as this lasts nothing can be written."""
    journal, rig.pipeline.journal = rig.pipeline.journal, FullJournal()  # type: ignore[assignment]
    try:
        yield
    finally:
        rig.pipeline.journal = journal


def listed(symbol: str, **changes: Any) -> events.InstrumentListed:
    """An inverse perpetual as the venue lists it."""
    coin = symbol[:3]
    terms: dict[str, Any] = {
        "symbol": symbol,
        "kind": "perpetual",
        "is_inverse": True,
        "underlying": f"{coin.lower()}_usd",
        "base_currency": coin,
        "quote_currency": "USD",
        "settlement_currency": coin,
        "tick_size": Decimal("0.5") if coin == "BTC" else Decimal("0.05"),
        "tick_steps": (),
        "min_trade_amount": Decimal(10) if coin == "BTC" else Decimal(1),
        "contract_size": Decimal(10) if coin == "BTC" else Decimal(1),
        "strike": None,
        "option_type": None,
        "expiration_ns": None,
        "maker_fee": Decimal(0),
        "taker_fee": Decimal("0.0005"),
        "is_open": True,
    }
    return events.InstrumentListed(**(terms | changes))


def accepted(order: WorkingOrder, venue_order_id: str = "") -> events.OrderAccepted:
    instrument = order.instrument
    return events.OrderAccepted(
        order.order_id,
        venue_order_id or f"V-{order.order_id}",
        instrument.symbol,
        "buy" if order.side == 1 else "sell",
        instrument.quantity(order.lots),
        instrument.price(order.ticks),
        START_NS,
    )


def filled(order: WorkingOrder, quantity: int, trade_id: str = "t1", **changes: Any) -> events.OrderFilled:
    values: dict[str, Any] = {
        "label": order.order_id,
        "venue_order_id": f"V-{order.order_id}",
        "symbol": order.instrument.symbol,
        "trade_id": trade_id,
        "side": "buy" if order.side == 1 else "sell",
        "quantity": Decimal(quantity),
        "price": order.instrument.price(order.ticks),
        "fee": Decimal("0.00000001"),
        "fee_currency": order.instrument.settlement_currency,
        "is_maker": True,
        "time_ns": START_NS,
    }
    return events.OrderFilled(**(values | changes))


def cancelled(order: WorkingOrder, filled_quantity: int = 0, reason: str = "user_request") -> events.OrderCancelled:
    return events.OrderCancelled(order.order_id, f"V-{order.order_id}", reason, Decimal(filled_quantity))


def state_of(order: WorkingOrder, state: Any, **changes: Any) -> events.OrderState:
    instrument = order.instrument
    values: dict[str, Any] = {
        "label": order.order_id,
        "venue_order_id": f"V-{order.order_id}",
        "symbol": instrument.symbol,
        "side": "buy" if order.side == 1 else "sell",
        "state": state,
        "quantity": instrument.quantity(order.lots),
        "filled_quantity": instrument.quantity(order.cum_lots),
        "price": instrument.price(order.ticks),
        "is_reduce_only": False,
        "time_ns": START_NS,
    }
    return events.OrderState(**(values | changes))


def positions(currency: str, quantities: dict[str, int], *, is_complete: bool = True) -> events.PositionsReported:
    states = tuple(events.PositionState(symbol, Decimal(q), Decimal(60_000)) for symbol, q in quantities.items())
    return events.PositionsReported(currency, states, is_complete)


def shown(messages: Iterable[simplefix.FixMessage], *tags: int) -> list[tuple[str, ...]]:
    """MsgType and the asked-for fields of each message, empty where absent."""
    return [tuple(text(message, tag) for tag in (35, *tags)) for message in messages]
