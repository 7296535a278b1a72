"""One account under watch: inputs (a new ratio, time, the client's words) in, decisions out; decisions in, state moved.

The functions decide and change nothing: each is a generator of decisions, and whoever runs it applies one (`apply`)
before asking for the next. So a decision that could not be written ends the run, and the next input goes on from what
was applied: a crash between two decisions loses nothing. Payments are no decision: they come with their transfer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from risk.account import AccountState
from risk.calls import Call, CallHappening, CallState, CallTerms, call_amount
from risk.calls import next_state as next_call_state
from risk.margin_states import (
    BAND_OF,
    BPS,
    MAY_DO,
    SIGNAL_OF,
    Band,
    MarginState,
    Signal,
    Thresholds,
    next_state,
    ratio_bps,
)

# Calls of one account that may be open at once: beyond, the ones that are there must be met first.
MAX_OPEN_CALLS: Final = 8
# Closed calls that stay known, for answers that come late; and transfers whose credits may be taken back.
CLOSED_CALLS_KEPT: Final = 64
CREDITS_KEPT: Final = 1_024


class Profile(msgspec.Struct, frozen=True):
    """What holds for the clients of one profile."""

    name: str
    thresholds: Thresholds
    terms: CallTerms


class Margin(msgspec.Struct, frozen=True, gc=False):
    """What an account has and needs, in units of 1e-8 USD."""

    equity_units: int
    maintenance_units: int

    @property
    def ratio_bps(self) -> int:
        """Equity over maintenance margin."""
        return ratio_bps(self.equity_units, self.maintenance_units)


NO_MARGIN: Final = Margin(0, 0)


class StateMoved(msgspec.Struct, frozen=True, gc=False):
    """An account moves to another state."""

    account: str
    state: str
    signal: str
    equity_units: int
    maintenance_units: int
    reason: str


class CallIssued(msgspec.Struct, frozen=True, gc=False):
    """A margin is called for: `requirement_units` is needed, `held_units` is there or called for already."""

    account: str
    call_id: str
    amount_units: int
    requirement_units: int
    held_units: int
    equity_units: int
    maintenance_units: int
    deadline_ns: int


class CallMoved(msgspec.Struct, frozen=True, gc=False):
    """Something happened to a call. `until_ns`: of an escalated one the new deadline, of a lapsed one the grace."""

    account: str
    call_id: str
    happening: str
    undisputed_units: int
    until_ns: int
    reason: str


Decision = StateMoved | CallIssued | CallMoved


class CallAnswerError(Exception):
    """What was said of a call means nothing here; the text says why."""


class MarginWatch:
    """What is known of one account's margin, changed by decisions and payments only."""

    __slots__ = ("account", "call_count", "calls", "credits", "grace_ns", "is_unmet", "state")

    def __init__(self, account: str) -> None:
        self.account = account
        self.state = MarginState.HEALTHY
        self.calls: dict[str, Call] = {}
        self.call_count = 0
        self.grace_ns = 0  # until when an account whose call expired may reduce by itself; 0: no call expired
        # A call expired, and its grace ended: what is adjusted is cured whole, as the call had asked for.
        self.is_unmet = False
        self.credits: dict[str, list[tuple[str, int]]] = {}  # transfer -> what it paid of which call

    @property
    def may_do(self) -> AccountState:
        """What the account may do by its margin."""
        return MAY_DO[self.state]

    @property
    def leaves_at(self) -> int:
        """Which of a profile's `leave_bps` an adjustment brings the account to."""
        return (Band.CALLING if self.is_unmet else Band.ADJUSTING) - 1

    @property
    def is_untouched(self) -> bool:
        """Whether it is as it was at first: nothing of it need be kept."""
        return self.state is MarginState.HEALTHY and not self.call_count

    @property
    def open_calls(self) -> list[Call]:
        """Calls that still ask for something, oldest first."""
        return [call for call in self.calls.values() if call.is_open]

    @property
    def outstanding_units(self) -> int:
        """What all open calls still ask for."""
        return sum(call.outstanding_units for call in self.calls.values())

    @property
    def deadline_ns(self) -> int | None:
        """The last moment at which nothing is overdue: `elapse` has something to do after it."""
        times = [call.deadline_ns for call in self.calls.values() if call.is_open]
        if self.grace_ns and self.state is MarginState.RESTRICTED:
            times.append(self.grace_ns)
        return min(times, default=None)

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        calls = [msgspec.to_builtins(call) for call in self.calls.values()]
        return [
            self.account,
            self.state,
            self.grace_ns,
            self.is_unmet,
            self.call_count,
            calls,
            sorted(self.credits.items()),
        ]

    # -- changes -----------------------------------------------------------------------------------------------------

    def apply(self, decision: Any) -> None:
        """Apply a decision, or a record with its fields."""
        if hasattr(decision, "happening"):
            self._call_moved(decision)
        elif hasattr(decision, "amount_units"):
            self.call_count += 1
            amount = decision.amount_units
            self.calls[decision.call_id] = Call(decision.call_id, amount, decision.deadline_ns, amount)
            self._forget()
        else:
            self._enter(MarginState(decision.state))
            self.is_unmet = self.state is MarginState.ADJUSTING and decision.signal == Signal.GRACE_ENDED

    def _enter(self, state: MarginState) -> None:
        self.state = state
        if state is not MarginState.RESTRICTED:
            self.grace_ns = 0

    def _call_moved(self, decision: Any) -> None:
        call, happening = self.calls[decision.call_id], CallHappening(decision.happening)
        call.happen(happening)
        if happening is CallHappening.LAPSED:
            self._enter(next_state(self.state, Signal.CALL_EXPIRED))
            if self.state is MarginState.RESTRICTED:
                self.grace_ns = self.grace_ns or decision.until_ns
            return
        if happening is CallHappening.DISPUTED:
            call.undisputed_units = decision.undisputed_units
        elif happening in (CallHappening.AGREED, CallHappening.UPHELD):
            call.undisputed_units = call.amount_units
        if decision.until_ns:
            call.deadline_ns = decision.until_ns

    def pay(self, transfer_id: str, value_units: int, call_id: str = "") -> None:
        """Credit collateral that has settled: to the call that it is for, then to the others, oldest first."""
        first = [call for call in self.calls.values() if call.call_id == call_id and call.is_open]
        left = value_units
        for call in [*first, *(call for call in self.open_calls if call not in first)]:
            part = min(left, call.outstanding_units)
            if part > 0:
                left -= part
                call.paid_units += part
                is_all = call.paid_units == call.amount_units
                call.happen(CallHappening.PAID_ALL if is_all else CallHappening.PAID_PART)
                self.credits.setdefault(transfer_id, []).append((call.call_id, part))
        self._forget()

    def take_back(self, transfer_id: str) -> None:
        """A transfer was reversed: what it paid is unpaid."""
        for call_id, part in self.credits.pop(transfer_id, ()):
            call = self.calls.get(call_id)
            if call is not None:
                call.paid_units -= part
                call.happen(CallHappening.REVERSED)

    def _forget(self) -> None:
        closed = [call.call_id for call in self.calls.values() if not call.is_open]
        for call_id in closed[: max(0, len(closed) - CLOSED_CALLS_KEPT)]:
            del self.calls[call_id]
        while len(self.credits) > CREDITS_KEPT:
            del self.credits[next(iter(self.credits))]


# -- decisions ---------------------------------------------------------------------------------------------------------


def revalue(watch: MarginWatch, profile: Profile, margin: Margin | None, now_ns: int) -> Iterator[Decision]:
    """Decide on an account at a new ratio; None where it is unknown: that neither loosens nor tightens anything."""
    if margin is None:
        return
    ratio = margin.ratio_bps
    band = profile.thresholds.band(ratio, BAND_OF[watch.state])
    if watch.is_unmet and Band.CALLING <= band < Band.ADJUSTING:
        band = Band.ADJUSTING
    if band < Band.CALLING:
        for call in watch.open_calls:
            yield CallMoved(watch.account, call.call_id, CallHappening.RECOVERED, 0, 0, f"ratio {percent(ratio)}")
    state = next_state(watch.state, SIGNAL_OF[band])
    if state is not watch.state:
        yield _moved(watch, state, SIGNAL_OF[band], margin, f"ratio {percent(ratio)}")
    if _is_callable(watch) and len(watch.open_calls) < MAX_OPEN_CALLS:
        terms = profile.terms
        requirement = -(-margin.maintenance_units * terms.target_bps // BPS)
        held = margin.equity_units + watch.outstanding_units
        amount = call_amount(requirement, held, terms)
        if amount:
            yield CallIssued(
                watch.account, f"{watch.account}-M{watch.call_count + 1}", amount, requirement, held,
                margin.equity_units, margin.maintenance_units, now_ns + terms.cure_ns,
            )  # fmt: skip


def _is_callable(watch: MarginWatch) -> bool:
    """Whether calls may be issued: not to who let one expire, and not where we act ourselves already."""
    return watch.state is MarginState.CALLED or (watch.state is MarginState.RESTRICTED and not watch.grace_ns)


def elapse(watch: MarginWatch, profile: Profile, now_ns: int) -> Iterator[Decision]:
    """Decide on what is overdue: a deadline is met by what comes at it, and missed by what comes after."""
    for call in watch.open_calls:
        if now_ns <= call.deadline_ns:
            continue
        if BAND_OF[watch.state] < Band.CALLING:
            # Opened again by a reversal while the ratio asks for nothing.
            yield CallMoved(watch.account, call.call_id, CallHappening.RECOVERED, 0, 0, "not needed any more")
        elif call.state is CallState.DISPUTED and not call.due_units and profile.terms.dispute_ns:
            until_ns = now_ns + profile.terms.dispute_ns
            yield CallMoved(
                watch.account, call.call_id, CallHappening.ESCALATED, 0, until_ns, "undisputed part paid, rest disputed"
            )
        else:
            until_ns = now_ns + profile.terms.grace_ns
            yield CallMoved(watch.account, call.call_id, CallHappening.LAPSED, 0, until_ns, "not met by its deadline")
    if watch.state is MarginState.RESTRICTED and watch.grace_ns and now_ns > watch.grace_ns:
        yield _moved(watch, MarginState.ADJUSTING, Signal.GRACE_ENDED, NO_MARGIN, "call expired and grace ended")


def signal(watch: MarginWatch, told: Signal, reason: str) -> Iterator[Decision]:
    """Decide on what a person or an adjustment says: EXHAUSTED, HANDED_OVER, REINSTATED.

    Raises
    ------
    IllegalTransitionError
        Where the account's state knows no such thing.
    """
    yield _moved(watch, next_state(watch.state, told), told, NO_MARGIN, reason)


def answer(watch: MarginWatch, call_id: str, told: CallHappening, undisputed_units: int = 0) -> Iterator[Decision]:
    """Decide on what a client says of a call: RECEIVED, AGREED, DISPUTED with what is not disputed.

    Raises
    ------
    CallAnswerError
        For a call that there is not, or an undisputed part that is none of it.
    IllegalTransitionError
        Where the call is past it.
    """
    call = _known(watch, call_id)
    if told is CallHappening.DISPUTED and not 0 <= undisputed_units < call.amount_units:
        raise CallAnswerError("the undisputed part is at least 0 and less than the call")
    is_news = told is CallHappening.DISPUTED and undisputed_units != call.undisputed_units
    if next_call_state(call.state, told) is not call.state or is_news:
        yield CallMoved(watch.account, call_id, told, undisputed_units, 0, "said by the client")


def uphold(watch: MarginWatch, call_id: str, until_ns: int, reason: str) -> Iterator[Decision]:
    """Decide that a disputed call stands, with a new deadline; a person has looked at it. Raises as `answer`."""
    next_call_state(_known(watch, call_id).state, CallHappening.UPHELD)
    yield CallMoved(watch.account, call_id, CallHappening.UPHELD, 0, until_ns, reason)


def _known(watch: MarginWatch, call_id: str) -> Call:
    call = watch.calls.get(call_id)
    if call is None:
        raise CallAnswerError(f"account {watch.account} has no such call")
    return call


def _moved(watch: MarginWatch, state: MarginState, why: Signal, margin: Margin, reason: str) -> StateMoved:
    return StateMoved(watch.account, state, why, margin.equity_units, margin.maintenance_units, reason)


def percent(ratio: int) -> str:
    """Return a ratio as people read it."""
    return f"{ratio // 100}.{ratio % 100:02d} %"
