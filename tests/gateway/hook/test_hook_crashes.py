"""The hook against a model, with a crash and a replay wherever there may be one; and kill -9 around every append."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.hook.api import Hook
from gateway.hook.clients import HoldError
from gateway.hook.messages import Fill, Held, HoldOrder, Listed, Query, Refused, Release, Told
from risk.account import AccountState
from risk.hold import HOLDING
from tests.gateway.hook_rig import WITH_HOOK
from tests.gateway.rig import BTC, MS, START_NS, Rig
from tests.simulator import KillableJournal, Killed

KEYS: Final = ("a", "b", "c", "d")
EXECUTIONS: Final = ("e1", "e2", "e3")


class HookMachine(RuleBasedStateMachine):
    """One client. The model: what each key was answered, each hold's state, and the position."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="margingate-hook-"))
        self.rig = Rig(self.directory, config=WITH_HOOK)
        self.answers: dict[tuple[str, int, int], Held | Refused] = {}
        self.states: dict[str, str] = {}  # hold -> state
        self.filled: dict[str, int] = {}
        self.quantity: dict[str, int] = {}
        self.sides: dict[str, int] = {}
        self.deadlines: dict[str, int] = {}
        self.executions: dict[tuple[str, str], int] = {}
        self.owner: dict[str, str] = {}  # execution -> hold
        self.position = 0
        self.is_restricted = False  # something was filled that nothing was held for

    def teardown(self) -> None:
        self.rig.journal.close()
        shutil.rmtree(self.directory)

    @property
    def hook(self) -> Hook:
        return self.rig.core.hooks.by_name["algo"]

    @initialize()
    def begin(self) -> None:
        assert list(self.rig.ledger.holds.live()) == []

    @rule(key=st.sampled_from(KEYS), quantity=st.sampled_from([10, 50, 200_000]), side=st.sampled_from([1, -1]))
    def hold(self, key: str, quantity: int, side: int) -> None:
        price = "59000" if side == 1 else "61000"
        request = HoldOrder(
            key=key, symbol=BTC, side="buy" if side == 1 else "sell", quantity=str(quantity), price=price,
            timeout_ms=100,
        )  # fmt: skip
        answer = self.hook.hold(request, self.rig.now_ns)
        known = self.answers.get((key, quantity, side))
        if known is not None:
            assert answer == known  # whatever has happened since
            return
        assert isinstance(answer, Held | Refused)
        if isinstance(answer, Held):
            assert not any(k == key for k, _, _ in self.answers), "a key was held or refused before"
            assert quantity != 200_000
            self.states[answer.hold], self.filled[answer.hold] = "held", 0
            self.quantity[answer.hold], self.sides[answer.hold] = quantity, side
            self.deadlines[answer.hold] = self.rig.now_ns + 100 * MS
            assert answer.deadline_ns == self.deadlines[answer.hold]
        self.answers[key, quantity, side] = answer
        if isinstance(answer, Refused):
            # All that this key is asked with from now on is answered so, but for what it was held with.
            for other in ((q, s) for q in (10, 50, 200_000) for s in (1, -1)):
                self.answers.setdefault((key, *other), answer)

    @precondition(lambda self: self.states)
    @rule(data=st.data(), execution=st.sampled_from(EXECUTIONS), lots=st.integers(1, 6))
    def fill(self, data: st.DataObject, execution: str, lots: int) -> None:
        hold = data.draw(st.sampled_from(sorted(self.states)))
        request = Fill(hold=hold, execution=execution, quantity=str(10 * lots), price="60000")
        answer = self.hook.fill(request, self.rig.now_ns)
        before = self.executions.get((hold, execution))
        if self.owner.get(execution, hold) != hold or before not in (None, lots):
            assert isinstance(answer, Refused) and answer.code == 934
            return
        assert isinstance(answer, Told) and answer.is_new is (before is None)
        if before is not None:
            return
        self.executions[hold, execution], self.owner[execution] = lots, hold
        self.filled[hold] += 10 * lots
        self.position += lots * self.sides[hold]
        state = self.states[hold]
        self.is_restricted |= state in ("filled", "released") or self.filled[hold] > self.quantity[hold]
        if state in ("held", "partly_filled", "unknown"):
            is_last = self.filled[hold] >= self.quantity[hold]
            self.states[hold] = "filled" if is_last else "unknown" if state == "unknown" else "partly_filled"

    @precondition(lambda self: self.states)
    @rule(data=st.data(), is_person=st.booleans())
    def release(self, data: st.DataObject, is_person: bool) -> None:
        hold = data.draw(st.sampled_from(sorted(self.states)))
        state = self.states[hold]
        if is_person:
            try:
                self.rig.core.hooks.release(hold, "ann", "looked", self.rig.now_ns)
            except HoldError:
                assert state != "unknown"
                return
            assert state == "unknown"
        else:
            answer = self.hook.release(Release(hold=hold), self.rig.now_ns)
            if state == "filled":
                assert isinstance(answer, Refused) and answer.code == 932
                return
            assert isinstance(answer, Told) and answer.is_new is (state != "released")
        self.states[hold] = "released"

    @rule(passed_ms=st.sampled_from([1, 60, 100]))
    def wait(self, passed_ms: int) -> None:
        self.rig.now_ns += passed_ms * MS
        self.rig.core.tick(self.rig.now_ns)
        self.rig.mark(BTC, 60_000.0)
        for hold, deadline_ns in self.deadlines.items():
            if deadline_ns <= self.rig.now_ns and self.states[hold] in ("held", "partly_filled"):
                self.states[hold] = "unknown"

    @rule()
    def crash(self) -> None:
        before = self.rig.ledger.holds.parts()
        self.rig.check_replay()
        self.rig = self.rig.restart()
        assert self.rig.ledger.holds.parts() == before

    @invariant()
    def the_book_is_the_models(self) -> None:
        rig = self.rig
        holds = rig.ledger.holds
        assert {hold_id: hold.state.value for hold_id, hold in holds.by_id.items()} == self.states
        assert sorted(holds.unknown) == sorted(h for h, state in self.states.items() if state == "unknown")
        account = rig.ledger.accounts["alpha"]
        index = rig.ledger.by_symbol[BTC].index
        assert account.position_lots(index) == self.position
        assert rig.ledger.venue_lots("deribit").get(BTC, 0) == 0
        live = [hold_id for hold_id, hold in holds.by_id.items() if hold.state in HOLDING]
        leaves = sum(self.quantity[h] - self.filled[h] for h in live if self.sides[h] == 1)
        assert account.exposure.buy_lots.get(index, 0) * 10 == leaves
        rig.check_holds()
        assert account.state is (AccountState.REDUCING if self.is_restricted else AccountState.TRADING)
        listed = self.hook.query(Query(), rig.now_ns)
        assert isinstance(listed, Listed) and [standing.hold for standing in listed.holds] == live


TestHook = HookMachine.TestCase
TestHook.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def requests_of(hook: Hook, now_ns: int) -> list[Any]:
    """A life: two holds, fills, a release, a refusal; what each was answered."""
    first = HoldOrder(key="a", symbol=BTC, side="buy", quantity="50", price="59000")
    answers: list[Any] = [hook.hold(first, now_ns)]
    answers.append(hook.hold(HoldOrder(key="b", symbol=BTC, side="sell", quantity="200000", price="61000"), now_ns))
    answers.append(hook.fill(Fill(key="a", execution="e1", quantity="20", price="59000"), now_ns))
    answers.append(hook.release(Release(key="a"), now_ns))
    answers.append(hook.hold(HoldOrder(key="c", symbol=BTC, side="sell", quantity="10", price="61000"), now_ns))
    answers.append(hook.fill(Fill(key="c", execution="e2", quantity="10", price="61000"), now_ns))
    return answers


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("appends", range(1, 8))
def test_a_client_that_asks_all_again_after_kill_9_ends_where_it_would_have(
    tmp_path: Path, appends: int, is_after: bool
) -> None:
    rig = Rig(tmp_path, config=WITH_HOOK)
    killable = KillableJournal(rig.journal)
    killable.appends_left, killable.is_after = appends, is_after
    rig.pipeline.journal = killable  # type: ignore[assignment]
    try:
        requests_of(rig.core.hooks.by_name["algo"], rig.now_ns)
        assert appends > 6
    except Killed:
        pass
    again = rig.restart(now_ns=START_NS + MS)
    answers = requests_of(again.core.hooks.by_name["algo"], again.now_ns)
    assert [type(answer) for answer in answers] == [Held, Refused, Told, Told, Held, Told]
    account = again.ledger.accounts["alpha"]
    assert account.position_lots(again.ledger.by_symbol[BTC].index) == 1  # 20 bought, 10 sold, in lots of 10
    assert account.exposure.orders == {} and account.state is AccountState.TRADING
    assert len(again.ledger.holds.by_id) == 2
    again.check_holds()
    again.check_replay()
    again.journal.close()
