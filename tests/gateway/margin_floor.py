"""An account close to its margin, a market that the test moves, and its client: for tests of the intraday watch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from gateway.records.margin import MarginCalled, MarginCallMoved, MarginStateMoved
from protocols.fix.codec import Message
from risk.calls import Call
from risk.collateral_ledger import Place, TransferHappening
from risk.margin_watch import MarginWatch
from tests.gateway.readers import Client, config_of
from tests.gateway.rig import BTC, SECOND, Rig, accepted, filled

WATCH: Final = """
[margin_calls]
settlement_timeout_s = 10
resume_period_s = 0
[[margin_calls.profile]]
name = "test"
accounts = ["*"]
cure_period_s = 60
dispute_period_s = 30
grace_period_s = 20
minimum_transfer_usd = 10
"""
FIX44, FIX50 = "FIX.4.4", "FIXT.1.1"


def watched(version: str = FIX44, watch: str = WATCH) -> str:
    """A configuration whose account alpha has 1000 USDC and nothing else."""
    text = config_of(version).replace('deposits = { BTC = "2", USDC = "100000" }', 'deposits = { USDC = "1000" }')
    return text + watch


class Floor:
    """One rig and one client. `buy` brings the account close to its margin; `move` moves the market."""

    def __init__(self, rig: Rig, version: str = FIX44) -> None:
        self.rig = rig
        self.client = Client(rig, version)
        self.told: list[Message] = []
        self.assignments = 0

    def restart(self, *, later_s: float = 0.0, config: str = "") -> Floor:
        """A new process on the journal that this one leaves, and the same client, that logs on again."""
        self.rig.now_ns += int(later_s * SECOND)
        self.rig = self.rig.restart(now_ns=self.rig.now_ns, config=config or self.rig.config_text)
        self.client.rig = self.rig
        self.client.session.connection_lost(self.rig.now_ns)
        while self.client.session.next_event() is not None:
            pass
        self.client.connect()
        return self

    def buy(self, quantity: int = 4_000) -> None:
        self.client.ask(
            "D", (1, b"alpha"), (11, b"o%d" % quantity), (21, b"1"), (38, b"%d" % quantity), (40, b"2"), (44, b"60000"),
            (54, b"1"), (55, BTC.encode()), (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        order = list(self.rig.ledger.orders.values())[-1]
        self.rig.hear(accepted(order), filled(order, quantity, f"t{quantity}"))
        self.client.pump()

    def move(self, price: float, *, later_s: float = 0.0) -> list[Message]:
        """Move the market; return what the client is told."""
        self.rig.now_ns += int(later_s * SECOND)
        self.rig.mark(BTC, price)
        self.rig.core.valuation.run(self.rig.now_ns)
        self.rig.core.intraday.run(self.rig.now_ns)
        return self.hear()

    def wait(self, seconds: float) -> list[Message]:
        """Let time pass, to the timer's next turn; return what the client is told."""
        self.rig.now_ns += int(seconds * SECOND)
        self.rig.core.tick(self.rig.now_ns)
        return self.hear()

    def hear(self) -> list[Message]:
        self.rig.flush()
        told = self.client.pump()
        self.told += told
        return told

    def assign(self, *fields: tuple[int, bytes], assignment_id: str = "", kind: bytes = b"0") -> list[Message]:
        """Send a CollateralAssignment(AY); return what the client is told."""
        self.assignments += 1
        name = assignment_id or f"a{self.assignments}"
        common = ((902, name.encode()), (895, b"3"), (903, kind), (60, b"20251009-08:53:20.000"))
        told = self.client.ask("AY", *common, *fields)
        self.told += told
        return told

    def pledge(self, amount: str, asset: bytes = b"USDC", call: str = "", **options: Any) -> list[Message]:
        of_call = ((894, call.encode()),) if call else ()
        return self.assign(*of_call, (1, b"alpha"), (15, asset), (901, amount.encode()), **options)

    def say(self, what: bytes, value: bytes = b"", call: str = "alpha-M1") -> list[Message]:
        stipulation = ((232, b"1"), (233, what), *(((234, value),) if value else ()))
        return self.assign((894, call.encode()), (1, b"alpha"), *stipulation)

    def settle(self, units: int, reference: str = "r1", key: str = "ALPHA:a1") -> bool:
        done = self.rig.core.intraday.transfer_moved(
            key, TransferHappening.SETTLED, self.rig.now_ns, units=units, reference=reference
        )
        self.rig.core.tick(self.rig.now_ns)
        self.hear()
        return done

    @property
    def watch(self) -> MarginWatch:
        return self.rig.ledger.margin.watch("alpha")

    def call(self, number: int = 1) -> Call:
        return self.watch.calls[f"alpha-M{number}"]

    def account(self) -> Any:
        return self.rig.ledger.accounts["alpha"]

    def check(self) -> None:
        """Replay gives the same, bytes of reports too; and collateral is conserved to the last unit."""
        self.rig.check_replay()
        collateral = self.rig.ledger.margin.collateral
        for asset in {asset for asset, _ in collateral.balances}:
            assert collateral.total(asset) == 0
        secured = {name: dict(account.cash_units) for name, account in self.rig.ledger.accounts.items()}
        for name, cash in secured.items():
            for asset in cash:
                given = -sum(n for (a, at), n in collateral.balances.items() if (a, at.account) == (asset, name)
                             and at.place is Place.CLIENT)  # fmt: skip
                incoming = sum(t.open_units for t in collateral.live() if t.terms.account == name
                               and t.terms.asset == asset and t.terms.source.place is Place.CLIENT)  # fmt: skip
                outgoing = sum(t.open_units for t in collateral.live() if t.terms.account == name
                               and t.terms.asset == asset and t.terms.target.place is Place.CLIENT)  # fmt: skip
                traded = sum(
                    p.cash_units - p.fee_units for p in self.rig.ledger.accounts[name].positions.values()
                    if p.instrument.settlement_currency == asset
                )  # fmt: skip
                assert cash[asset] == given - incoming - outgoing + traded, (name, asset)


@contextmanager
def floor(directory: Path, version: str = FIX44, *, watch: str = WATCH, **options: Any) -> Iterator[Floor]:
    rig = Rig(directory, config=watched(version, watch), **options)
    desk = Floor(rig, version)
    try:
        yield desk
    finally:
        desk.rig.journal.close()


def decisions(rig: Rig) -> list[tuple[str, ...]]:
    """What was decided, in order: kind and state or happening."""
    shown: list[tuple[str, ...]] = []
    for record in rig.history():
        if isinstance(record, MarginStateMoved):
            shown.append(("state", record.state))
        elif isinstance(record, MarginCalled):
            shown.append(("called", record.call_id))
        elif isinstance(record, MarginCallMoved):
            shown.append(("call", record.call_id, record.happening))
    return shown
