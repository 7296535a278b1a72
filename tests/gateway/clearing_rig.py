"""The rig with a counterparty at a session that we open: the link of the gateway, a store on disk, the simulated house.

Bytes go between the two by `Clearing.pump`, time by `Clearing.wait`; nothing of it needs a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fixtures.clearing_house import ClearingHouse
from fixtures.fix_acceptor import FixAcceptor
from gateway import records
from gateway.clearing.counterparties import key_of, open_store, rules_of
from gateway.clearing.link import CounterpartyLink
from protocols.fix.session import Limits
from protocols.venues import events
from risk.breaks import Break
from tests.gateway.rig import BTC, CONFIG, MARKS, MS, SECOND, Rig, accepted, filled, positions

HOUSE: Final = """
[[fix.counterparty]]
name = "HOUSE"
kind = "clearing_house"
host = "127.0.0.1"
port = 1
target_comp_id = "HOUSE"
accounts = ["alpha"]
asks = ["positions"]
ask_interval_s = 60
answer_timeout_s = 10
confirm_after_ms = 1000
statement_max_age_s = 300
trade_grace_s = 30
"""
OMS: Final = """
[[fix.counterparty]]
name = "OMS"
kind = "oms"
host = "127.0.0.1"
port = 1
target_comp_id = "OMS"
begin_string = "FIX.4.4"
accounts = ["alpha"]
asks = ["positions"]
"""


def config(extra: str = HOUSE, **changes: str) -> str:
    """The rig's configuration with a counterparty; `changes` replace its keys, or add them."""
    lines = []
    for line in extra.strip().splitlines():
        key = line.partition(" = ")[0]
        lines.append(f"{key} = {changes.pop(key)}" if key in changes else line)
    lines += [f"{key} = {value}" for key, value in changes.items()]
    return CONFIG.replace("[[account]]", "\n".join(lines) + "\n[[account]]", 1)


class Clearing:
    """A gateway without sockets, and the counterparty that it dials."""

    def __init__(self, rig: Rig, house: FixAcceptor) -> None:
        self.rig, self.house = rig, house
        (terms,) = rig.core.config.fix.counterparty
        self.store = open_store(rig.directory, rig.now_ns, segment_bytes=1 << 16)
        state = self.store.state(key_of(rig.core.config, terms), rules_of(terms), rig.now_ns)
        self.link = CounterpartyLink(
            terms, state, self.store, rig.pipeline, rig.core.reconciler, lambda now_ns: (), (), Limits(), rig.now_ns
        )

    def dial(self) -> Clearing:
        """Connect, log on, and go on until both are quiet."""
        self.house.connected()
        self.link.connected(self.rig.now_ns)
        self.pump()
        return self

    def pump(self) -> None:
        """Move bytes both ways until there are none."""
        now = self.rig.now_ns
        while True:
            data = self.link.data_to_send(now)
            if data:
                self.house.receive(data, now)
            back = self.house.data_to_send()
            if back:
                self.link.receive(back, now)
            if not data and not back:
                break
        if self.link.must_close:
            self.hang_up()

    def wait(self, seconds: float) -> None:
        """Let time pass, and both sides do what is due."""
        end = self.rig.now_ns + int(seconds * SECOND)
        while self.rig.now_ns < end:
            self.rig.now_ns = min(end, self.rig.now_ns + 500 * MS)
            self.rig.core.tick(self.rig.now_ns)
            self.link.tick(self.rig.now_ns)
            self.house.tick(self.rig.now_ns)
            self.pump()

    def hang_up(self) -> None:
        """The transport is gone."""
        self.link.disconnected(self.rig.now_ns)
        self.house.disconnected()

    def fill(self, quantity: int = 100, trade_id: str = "t1", symbol: str = BTC, **changes: Any) -> None:
        """One of alpha's orders, filled at the venue, whose book knows it too."""
        rig = self.rig
        desk = rig.desks[0] if rig.desks else rig.desk().log_on()
        for mark, price in MARKS.items():
            rig.mark(mark, price)
        rig.core.valuation.run(rig.now_ns)
        desk.order(quantity=quantity, symbol=symbol, **changes)
        order = list(rig.ledger.orders.values())[-1]
        rig.hear(accepted(order), filled(order, quantity, trade_id, time_ns=rig.now_ns))
        self.venue_agrees()

    def venue_agrees(self, **theirs: int) -> None:
        """The venue's book is whole, and says the same as ours; or what is said here, by currency of symbol."""
        lots = self.rig.ledger.venue_lots("deribit")
        by_symbol = self.rig.ledger.by_symbol
        told = {symbol: int(by_symbol[symbol].quantity(count)) for symbol, count in lots.items() if count}
        told |= {f"{currency}-PERPETUAL": quantity for currency, quantity in theirs.items()}
        for currency in ("BTC", "ETH"):
            mine = {symbol: quantity for symbol, quantity in told.items() if symbol.startswith(currency) and quantity}
            self.rig.hear(positions(currency, mine))
        self.rig.hear(events.ReconcileFinished())

    @property
    def breaks(self) -> list[Break]:
        return list(self.rig.ledger.open_breaks.by_gravity())

    def kinds(self) -> list[tuple[str, str]]:
        """What is open: (kind, severity)."""
        return [(one.kind, one.severity.name) for one in self.breaks]

    def state(self, account: str = "alpha") -> str:
        return self.rig.ledger.accounts[account].state.value

    def restart(self) -> Clearing:
        """A new process on the journal and the store that this one leaves: no goodbye."""
        self.store.close()
        self.house.disconnected()
        return Clearing(self.rig.restart(), self.house)

    def close(self) -> None:
        self.store.close()
        self.rig.journal.close()

    def invented(self) -> list[records.Record]:
        """What no venue has told of, and was booked all the same: nothing, always."""
        moved = [r for r in self.rig.of_type(records.CashMoved) if r.reason != "initial deposit"]
        return [*moved, *self.rig.of_type(records.ExternalFill, records.ExternalFillReversed)]


@contextmanager
def clearing(directory: Path, house: FixAcceptor | None = None, text: str = "", **changes: str) -> Iterator[Clearing]:
    """A gateway and its clearing house; the house's cash is that of the account, to begin with."""
    rig = Rig(directory, config=text or config(**changes))
    one = Clearing(rig, house or ClearingHouse())
    if isinstance(one.house, ClearingHouse):
        one.house.cash["alpha"] = {"BTC": Decimal(2), "USDC": Decimal(100_000)}
    current = [one]
    try:
        yield one
    finally:
        for each in current:
            each.rig.journal.close()
            each.store.close()
