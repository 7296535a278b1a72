"""Calls and transfers against a simulated venue and clearing house, in any order, crashed at any record, and replayed.

Held after each step: each asset sums to zero here, and to what it was there; nothing was submitted twice under one id,
nothing made twice. Held at each crash and in the end: the journal alone gives the same state and the same FIX bytes.
Held in the end, when everybody answers again: nothing is on its way, and the ledger has what the venue and the house
have, to the last unit.
"""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fixtures.venues.core.faults import Fault
from gateway.journal import JournalError
from risk.calls import TABLE as CALL_TABLE
from risk.calls import CallState
from risk.collateral_ledger import TransferError
from risk.transfer_orders import OrderState
from tests.gateway.transfer_rig import WHOLE, TransferFloor, transfer_floor

BEFORE = [Fault.TRANSFER_REFUSED, Fault.TRANSFER_NEVER_TAKEN]
AFTER = [Fault.TRANSFER_UNANSWERED, Fault.TRANSFER_SLOW, Fault.TRANSFER_FAILS]


class TransferMachine(RuleBasedStateMachine):
    """One account, one wallet, one house."""

    desk: TransferFloor

    @initialize(faults=st.dictionaries(st.sampled_from(BEFORE + AFTER), st.lists(st.integers(1, 4), max_size=2)))
    def begin(self, faults: dict[Fault, list[int]]) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.context = transfer_floor(Path(self.directory.name), faults)
        self.desk = self.context.__enter__()
        self.desk.dial()
        self.desk.buy()
        self.is_dead = self.is_dying = False
        self.called = 0

    # -- the process -------------------------------------------------------------------------------------------------

    def do(self, what: Any, *arguments: Any) -> None:
        """Do something; a journal that fails in it is the end of the process."""
        try:
            what(*arguments)
        except JournalError:
            self.is_dead = True
        if self.is_dead:
            self.restart()

    def restart(self) -> None:
        self.is_dead = self.is_dying = False
        self.desk.rig.check_replay()
        self.desk.crash(later_s=1)
        self.desk.dial()

    @rule(records=st.integers(0, 4))
    def dies_at_a_record(self, records: int) -> None:
        """After so many records nothing can be written: the process goes on for the rest of the step, and is gone."""
        self.is_dying = True
        journal = self.desk.rig.pipeline.journal
        append, written = journal.append, [0]

        def dying(*arguments: Any, **options: Any) -> int:
            written[0] += 1
            if written[0] > records:
                self.is_dead = True
                raise JournalError("gone")
            return append(*arguments, **options)

        journal.append = dying  # type: ignore[method-assign]

    @rule()
    def crash(self) -> None:
        self.restart()

    # -- the world ---------------------------------------------------------------------------------------------------

    @rule(price=st.sampled_from([60_000, 57_000, 54_500, 54_300]))
    def market(self, price: float) -> None:
        self.do(self.desk.move, price)

    @rule()
    def plan(self) -> None:
        self.do(self.desk.again)
        self.do(self.desk.plan)

    @rule()
    def step(self) -> None:
        self.do(self.desk.step)

    @rule()
    def pump(self) -> None:
        self.do(self.desk.pump)

    @rule(seconds=st.sampled_from([1, 3, 12]))
    def wait(self, seconds: float) -> None:
        self.do(lambda: self.desk.run(seconds, turn_ms=1_000))

    @rule(is_cut=st.booleans())
    def venue_goes_and_comes(self, is_cut: bool) -> None:
        self.desk.is_cut = is_cut

    @precondition(lambda self: self.called < 2)
    @rule(amount=st.sampled_from([40, 200, 5_000]))
    def house_calls(self, amount: int) -> None:
        self.called += 1
        self.desk.house.call("alpha", Decimal(amount), "20251009-09:30:00.000", self.desk.rig.now_ns)
        self.do(self.desk.pump)

    @rule(
        what=st.sampled_from(["loses_assignments", "loses_responses", "is_slow_with_collateral"]),
        count=st.integers(0, 2),
    )
    def house_misbehaves(self, what: str, count: int) -> None:
        setattr(self.desk.house.faults, what, count)

    @rule(answer=st.sampled_from([(1, ""), (3, "not eligible")]), part=st.sampled_from(["1", "0.5"]))
    def house_decides(self, answer: tuple[int, str], part: str) -> None:
        self.desk.house.assignment_answer = answer
        self.desk.house.faults.takes_part = Decimal(part)
        self.desk.house.settle(self.desk.rig.now_ns)

    # -- people ------------------------------------------------------------------------------------------------------

    @rule(route=st.sampled_from(["wallet", "to-house", "from-house"]), whole=st.sampled_from([5, 300, 1_200]))
    def person_wants(self, route: str, whole: int) -> None:
        def move() -> None:
            self.desk.again()
            try:
                self.desk.desk.move(route, "alpha", whole * WHOLE, "ann", self.desk.rig.now_ns)
            except TransferError:
                return

        self.do(move)

    @rule(who=st.sampled_from(["ann", "bob"]), is_for=st.booleans())
    def person_decides(self, who: str, is_for: bool) -> None:
        waiting = [o for o in self.desk.orders() if o.state is OrderState.AWAITING and who not in o.approved_by]
        decide = self.desk.desk.approve if is_for else self.desk.desk.decline
        for order in waiting[:1]:
            self.do(decide, order.terms.key, who, "x", self.desk.rig.now_ns)

    @rule(what=st.sampled_from([b"RECEIVED", b"AGREED", b"DISPUTED"]))
    def client_says(self, what: bytes) -> None:
        if self.is_dying:
            self.restart()  # a message that can not be journalled is answered all the same, and not replayed
        calls = list(self.desk.watch.calls)
        if calls:
            self.do(self.desk.say, what, b"1" if what == b"DISPUTED" else b"", calls[-1])

    # -- held --------------------------------------------------------------------------------------------------------

    @invariant()
    def conserved(self) -> None:
        if hasattr(self, "desk"):
            self.desk.check_conserved()

    @invariant()
    def calls_are_where_the_table_lets_them_be(self) -> None:
        if not hasattr(self, "desk"):
            return
        reachable = set(CALL_TABLE.values()) | {CallState.ISSUED}
        for call in self.desk.watch.calls.values():
            assert call.state in reachable and 0 <= call.paid_units <= call.amount_units
            assert (call.state is CallState.MET) <= (call.paid_units == call.amount_units)

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        try:
            desk = self.desk
            desk.crash()
            desk.is_cut = False
            desk.house.faults.loses_assignments = desk.house.faults.loses_responses = 0
            desk.house.faults.is_slow_with_collateral = False
            desk.house.assignment_answer, desk.house.faults.takes_part = (1, ""), Decimal(1)
            desk.dial()
            desk.house.settle(desk.rig.now_ns)
            desk.run(170, turn_ms=4_000)
            desk.run(10, plans=False)
            desk.check()
            desk.check_agreed()
        finally:
            self.context.__exit__(None, None, None)
            self.directory.cleanup()


TransferMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTransfers = TransferMachine.TestCase
