"""An account under watch: what is decided at ratios, deadlines, answers, payments; replay, crashes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from risk.account import AccountState
from risk.calls import CallHappening, CallState, CallTerms
from risk.lifecycle import IllegalTransitionError
from risk.margin_states import BAND_OF, Band, MarginState, Signal, Thresholds
from risk.margin_watch import (
    CLOSED_CALLS_KEPT,
    CREDITS_KEPT,
    MAX_OPEN_CALLS,
    CallAnswerError,
    CallIssued,
    CallMoved,
    Decision,
    Margin,
    MarginWatch,
    Profile,
    StateMoved,
    answer,
    elapse,
    revalue,
    signal,
    uphold,
)

LADDER = Thresholds((15_000, 12_500, 12_000, 10_500, 6_667), (16_000, 13_500, 13_000, 12_000, 10_000))
PROFILE = Profile("p", LADDER, CallTerms(13_500, 0, 10, 5, 1_000, 500, 300))
NEED = 1_000  # maintenance margin


class Desk:
    """A watch whose decisions are applied and kept."""

    def __init__(self, profile: Profile = PROFILE) -> None:
        self.watch, self.profile, self.log = MarginWatch("alpha"), profile, []  # type: tuple[MarginWatch, Profile, list[Any]]

    def run(self, decisions: Iterator[Decision]) -> list[Decision]:
        made = []
        for decision in decisions:
            self.watch.apply(decision)
            made.append(decision)
        self.log += made
        return made

    def at(self, ratio: int, now_ns: int = 0) -> list[Decision]:
        return self.run(revalue(self.watch, self.profile, Margin(NEED * ratio // 10_000, NEED), now_ns))

    def time(self, now_ns: int) -> list[Decision]:
        return self.run(elapse(self.watch, self.profile, now_ns))

    def say(self, told: CallHappening, undisputed: int = 0, call_id: str = "alpha-M1") -> list[Decision]:
        return self.run(answer(self.watch, call_id, told, undisputed))

    def call(self, number: int = 1) -> Any:
        return self.watch.calls[f"alpha-M{number}"]


def test_down_the_ladder_and_up_again() -> None:
    desk = Desk()
    seen = []
    for ratio in (20_000, 14_000, 12_500, 12_000, 10_500, 11_999, 12_000, 13_400, 13_500, 16_000):
        desk.at(ratio)
        seen.append((desk.watch.state.value, desk.watch.may_do.value))
    assert seen == [
        ("healthy", "trading"), ("warned", "trading"), ("called", "trading"), ("restricted", "reducing"),
        ("adjusting", "reducing"), ("adjusting", "reducing"), ("restricted", "reducing"), ("restricted", "reducing"),
        ("warned", "trading"), ("healthy", "trading"),
    ]  # fmt: skip
    assert all(not call.is_open for call in desk.watch.calls.values())


def test_a_call_brings_the_account_beyond_the_way_out() -> None:
    desk = Desk()
    moved, issued = desk.at(12_400, 50)
    assert isinstance(moved, StateMoved) and moved.state == "called" and moved.reason == "ratio 124.00 %"
    assert isinstance(issued, CallIssued)
    assert (issued.amount_units, issued.requirement_units, issued.held_units) == (110, 1_350, 1_240)
    assert issued.deadline_ns == 50 + 1_000
    assert desk.at(12_400, 60) == [], "what was called for is not called for again"
    desk.watch.pay("t1", 110)
    assert desk.call().state is CallState.MET
    (recovered,) = desk.at(13_500, 70)
    assert isinstance(recovered, StateMoved) and recovered.state == "warned"


def test_a_further_fall_calls_for_the_difference() -> None:
    desk = Desk()
    desk.at(12_500)
    (issued,) = desk.at(12_300, 10)
    assert isinstance(issued, CallIssued) and issued.amount_units == 20 and issued.deadline_ns == 1_010
    assert desk.watch.outstanding_units == 120
    assert desk.at(12_295, 20) == [], "less than the minimum is left until there is more"


def test_open_calls_are_bounded() -> None:
    desk = Desk(Profile("p", LADDER, CallTerms(13_500, 0, 0, 1, 1_000, 500, 300)))
    for ratio in range(12_500, 12_100, -10):
        desk.at(ratio)
    assert len(desk.watch.open_calls) == MAX_OPEN_CALLS


def test_the_market_recovers_and_supersedes() -> None:
    desk = Desk()
    desk.at(12_400)
    superseded, moved = desk.at(13_600)
    assert isinstance(superseded, CallMoved) and superseded.happening == CallHappening.RECOVERED
    assert isinstance(moved, StateMoved) and moved.state == "warned"
    assert desk.call().state is CallState.SUPERSEDED and desk.watch.deadline_ns is None
    assert desk.time(10**9) == []


def test_an_unknown_ratio_decides_nothing() -> None:
    desk = Desk()
    desk.at(12_400)
    assert desk.run(revalue(desk.watch, PROFILE, None, 5)) == []


def test_the_deadline_is_the_last_moment() -> None:
    """Fault 43: at the deadline is in time, 1 ns later is not; what comes late is collateral, and opens nothing."""
    desk = Desk()
    desk.at(12_400)
    assert desk.watch.deadline_ns == 1_000
    assert desk.time(1_000) == []
    (lapsed,) = desk.time(1_001)
    assert isinstance(lapsed, CallMoved) and lapsed.happening == CallHappening.LAPSED
    assert desk.watch.state is MarginState.RESTRICTED and desk.watch.may_do is AccountState.REDUCING
    desk.watch.pay("late", 110)
    assert desk.call().state is CallState.EXPIRED and not desk.watch.credits
    assert desk.time(1_001) == [], "nothing is done twice"
    assert [type(d) for d in desk.at(13_500, 1_002)] == [StateMoved]
    assert desk.watch.state is MarginState.WARNED and desk.watch.grace_ns == 0


def test_an_expired_call_gets_no_second_period() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.time(1_001)
    assert desk.watch.grace_ns == 1_301
    assert desk.at(13_100, 1_100) == [], "neither back to CALLED, nor a new call"
    assert desk.time(1_301) == []
    (moved,) = desk.time(1_302)
    assert isinstance(moved, StateMoved) and (moved.state, moved.signal) == ("adjusting", Signal.GRACE_ENDED)
    assert desk.watch.grace_ns == 0


def test_two_calls_that_lapse_together_have_one_grace() -> None:
    desk = Desk()
    desk.at(12_500)
    desk.at(12_300, 100)
    desk.time(1_050)
    desk.time(1_200)
    assert desk.watch.grace_ns == 1_350 and desk.watch.state is MarginState.RESTRICTED


def test_a_dispute_pays_its_undisputed_part_and_goes_to_a_person() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.say(CallHappening.RECEIVED)
    assert desk.say(CallHappening.RECEIVED) == [], "told again, nothing happens"
    desk.say(CallHappening.DISPUTED, 60)
    assert desk.call().due_units == 60
    assert desk.say(CallHappening.DISPUTED, 60) == []
    desk.say(CallHappening.DISPUTED, 70)
    desk.watch.pay("t", 70, "alpha-M1")
    (escalated,) = desk.time(1_001)
    assert isinstance(escalated, CallMoved) and escalated.until_ns == 1_501
    assert desk.call().state is CallState.ESCALATED and desk.watch.state is MarginState.CALLED
    desk.run(uphold(desk.watch, "alpha-M1", 2_000, "figures agree"))
    assert (desk.call().state, desk.call().deadline_ns, desk.call().due_units) == (CallState.AGREED, 2_000, 40)
    desk.time(2_001)
    assert desk.call().state is CallState.EXPIRED


def test_an_escalated_dispute_that_nobody_decides_expires() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.say(CallHappening.DISPUTED, 0)
    desk.time(1_001)
    desk.time(1_502)
    assert desk.call().state is CallState.EXPIRED and desk.watch.state is MarginState.RESTRICTED


def test_a_dispute_whose_undisputed_part_is_not_there_expires() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.say(CallHappening.DISPUTED, 60)
    desk.watch.pay("t", 59)
    desk.time(1_001)
    assert desk.call().state is CallState.EXPIRED


@pytest.mark.parametrize(("call_id", "undisputed"), [("alpha-M2", 0), ("alpha-M1", 110), ("alpha-M1", -1)])
def test_answers_that_mean_nothing(call_id: str, undisputed: int) -> None:
    desk = Desk()
    desk.at(12_400)
    with pytest.raises(CallAnswerError):
        desk.say(CallHappening.DISPUTED, undisputed, call_id)


def test_what_was_agreed_is_not_disputed() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.say(CallHappening.AGREED)
    with pytest.raises(IllegalTransitionError):
        desk.say(CallHappening.DISPUTED, 0)
    with pytest.raises(IllegalTransitionError):
        desk.run(uphold(desk.watch, "alpha-M1", 1, ""))


def test_a_reversed_payment_opens_the_call_again() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.watch.pay("t1", 50)
    desk.watch.pay("t2", 70)
    assert desk.call().state is CallState.MET and desk.call().paid_units == 110
    desk.watch.take_back("t2")
    desk.watch.take_back("t2")
    assert (desk.call().state, desk.call().outstanding_units) == (CallState.PARTLY_MET, 60)
    desk.time(1_001)
    assert desk.call().state is CallState.EXPIRED


def test_a_call_opened_again_in_good_times_lapses_without_harm() -> None:
    desk = Desk()
    desk.at(12_400)
    desk.watch.pay("t1", 110)
    desk.at(16_000)
    desk.watch.take_back("t1")
    (moved,) = desk.time(1_001)
    assert isinstance(moved, CallMoved) and moved.happening == CallHappening.RECOVERED
    assert desk.watch.state is MarginState.HEALTHY


def test_a_payment_goes_to_its_call_first_then_to_the_oldest() -> None:
    desk = Desk()
    desk.at(12_500)  # 100
    desk.at(12_300)  # 20
    desk.watch.pay("t", 50, "alpha-M2")
    assert (desk.call(1).paid_units, desk.call(2).paid_units) == (30, 20)


def test_people_and_adjustments() -> None:
    desk = Desk()
    desk.at(10_500)
    with pytest.raises(IllegalTransitionError):
        desk.run(signal(desk.watch, Signal.HANDED_OVER, "x"))
    desk.run(signal(desk.watch, Signal.EXHAUSTED, "nothing left"))
    assert desk.watch.state is MarginState.TAKEN_OVER and desk.at(99_000) == []
    desk.run(signal(desk.watch, Signal.HANDED_OVER, "to the fund"))
    assert desk.watch.may_do is AccountState.HALTED
    desk.run(signal(desk.watch, Signal.REINSTATED, "by ops"))
    assert desk.watch.state is MarginState.RESTRICTED
    desk.at(16_000)
    assert desk.watch.state is MarginState.HEALTHY


def test_memory_is_bounded() -> None:
    desk = Desk()
    for number in range(CLOSED_CALLS_KEPT + CREDITS_KEPT + 5):
        desk.at(12_400)
        desk.watch.pay(f"t{number}", 110)
        desk.at(16_000)
    assert len(desk.watch.calls) == CLOSED_CALLS_KEPT and len(desk.watch.credits) == CREDITS_KEPT
    desk.watch.take_back(next(iter(desk.watch.credits)))  # of a call that is forgotten


# What the world, time and people do to a call: nobody asks the watch whether it may happen.
_UNASKED = ("paid in part", "paid", "taken back", "lapsed", "escalated", "recovered")
_ASKED = ("received", "agreed", "disputed", "upheld")


def _befall(desk: Desk, what: str, number: int) -> None:
    watch, call, happening = desk.watch, desk.call(), None
    if what in ("paid in part", "paid"):
        watch.pay(f"t{number}", 1 if what == "paid in part" else 1_000)
    elif what == "taken back":
        for key in list(watch.credits):
            watch.take_back(key)
    elif what == "upheld":
        desk.run(uphold(watch, "alpha-M1", 10**9, ""))
    elif what in ("received", "agreed", "disputed"):
        desk.say(CallHappening[what.upper()], 1)
    elif what == "escalated":
        happening = CallHappening.ESCALATED if call.state is CallState.DISPUTED and not call.due_units else None
    elif call.is_open:
        happening = CallHappening.LAPSED if what == "lapsed" else CallHappening.RECOVERED
    if happening is not None:
        watch.apply(CallMoved("alpha", "alpha-M1", happening, 0, 0, ""))


def _story(acts: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return where a story leads, None where its last act is refused to who asked."""
    desk = Desk()
    desk.at(12_490)
    for number, what in enumerate(acts):
        try:
            _befall(desk, what, number)
        except IllegalTransitionError:
            assert what in _ASKED, f"{acts}: what has happened is booked, whatever was said before"
            return None
    return *msgspec.structs.astuple(desk.call()), len(desk.watch.credits), desk.watch.state


def test_whatever_a_client_said_its_payments_can_be_booked_and_taken_back() -> None:
    """All stories, as far as they lead anywhere new: a record that is in the journal can always be applied."""
    seen, stories = {_story(())}, [()]  # type: set[Any], list[tuple[str, ...]]
    for _ in range(6):
        longer = [(*story, what) for story in stories for what in (*_UNASKED, *_ASKED)]
        stories = []
        for story in longer:
            if (state := _story(story)) is not None and state not in seen:
                seen.add(state)
                stories.append(story)
    assert len(seen) > 50 and len({state[5] for state in seen}) == len(CallState)


# Where calls are made, met and missed is a narrow part of all ratios; a fall beyond it is the end of most stories.
RATIOS = st.integers(10_400, 16_500) | st.integers(11_500, 13_600) | st.integers(0, 20_000)
# What a client says of a call, and a person of a disputed one.
TOLD = (CallHappening.RECEIVED, CallHappening.AGREED, CallHappening.DISPUTED, CallHappening.UPHELD)


class WatchMachine(RuleBasedStateMachine):
    """Any inputs in any order, each run crashed after any number of its decisions; a replay gives the same."""

    def __init__(self) -> None:
        super().__init__()
        self.watch, self.log, self.now_ns, self.transfers = MarginWatch("alpha"), [], 0, 0
        self.ratio = 20_000

    def _run(self, decisions: Iterator[Decision], steps: int) -> None:
        for _, decision in zip(range(steps), decisions):
            self.watch.apply(decision)
            self.log.append(decision)

    @rule(ratio=RATIOS, steps=st.integers(0, 12))
    def market(self, ratio: int, steps: int) -> None:
        self.ratio = ratio
        self._run(revalue(self.watch, PROFILE, Margin(NEED * ratio // 10_000, NEED), self.now_ns), steps)

    @rule(by=st.sampled_from([1, 299, 301, 1_000, 1_001]), steps=st.integers(0, 12))
    def time(self, by: int, steps: int) -> None:
        self.now_ns += by
        self._run(elapse(self.watch, PROFILE, self.now_ns), steps)

    @precondition(lambda self: self.watch.calls)
    @rule(data=st.data(), told=st.sampled_from(TOLD), part=st.integers(-1, 200))
    def client(self, data: st.DataObject, told: CallHappening, part: int) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.watch.calls)))
        before = self.watch.parts()
        try:
            if told is CallHappening.UPHELD:
                self._run(uphold(self.watch, call_id, self.now_ns + 100, ""), 1)
            else:
                self._run(answer(self.watch, call_id, told, part), 1)
        except (CallAnswerError, IllegalTransitionError):
            assert self.watch.parts() == before, "what is refused changes nothing"

    @rule(value=st.integers(1, 150))
    def pay(self, value: int) -> None:
        self.transfers += 1
        before = self.watch.outstanding_units
        self.watch.pay(f"t{self.transfers}", value)
        self.log.append(("pay", f"t{self.transfers}", value))
        assert self.watch.outstanding_units == max(0, before - value), "each unit pays once"

    @rule(back=st.integers(0, 5))
    def reverse(self, back: int) -> None:
        self.watch.take_back(f"t{self.transfers - back}")
        self.log.append(("back", f"t{self.transfers - back}"))

    @rule(told=st.sampled_from([Signal.EXHAUSTED, Signal.HANDED_OVER, Signal.REINSTATED]))
    def person(self, told: Signal) -> None:
        with contextlib.suppress(IllegalTransitionError):
            self._run(signal(self.watch, told, ""), 1)

    @invariant()
    def sound(self) -> None:
        for call in self.watch.calls.values():
            assert 0 <= call.paid_units <= call.amount_units and 0 <= call.undisputed_units <= call.amount_units
            assert (call.state is CallState.MET) <= (call.paid_units == call.amount_units)
        assert len(self.watch.open_calls) <= MAX_OPEN_CALLS + self.transfers
        assert not self.watch.grace_ns or self.watch.state is MarginState.RESTRICTED
        paid: dict[str, int] = {}
        for parts in self.watch.credits.values():
            for call_id, part in parts:
                paid[call_id] = paid.get(call_id, 0) + part
        assert all(call.paid_units == paid.get(call.call_id, 0) for call in self.watch.calls.values())

    @invariant()
    def settles(self) -> None:
        """Run to its end, a revaluation leaves nothing to be decided, and the account where its ratio puts it."""
        copy = replayed(self.log)
        margin = Margin(NEED * self.ratio // 10_000, NEED)
        for _ in range(MAX_OPEN_CALLS + 1):
            for decision in revalue(copy, PROFILE, margin, self.now_ns):
                copy.apply(decision)
        assert list(revalue(copy, PROFILE, margin, self.now_ns)) == []
        band = LADDER.band(self.ratio, BAND_OF[copy.state])
        assert BAND_OF[copy.state] >= min(band, Band.TAKING_OVER)

    @invariant()
    def replays(self) -> None:
        assert replayed(self.log).parts() == self.watch.parts()


def replayed(log: list[Any]) -> MarginWatch:
    watch = MarginWatch("alpha")
    for entry in log:
        if isinstance(entry, tuple):
            watch.pay(entry[1], entry[2]) if entry[0] == "pay" else watch.take_back(entry[1])
        else:
            watch.apply(entry)
    return watch


WatchMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestWatchMachine = WatchMachine.TestCase
