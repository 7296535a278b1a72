"""What the intraday watch decides of an account, acted on: adjustments begun and stopped, accounts handed over.

The watch decides (gateway.intraday), adjustments act (gateway.margin.adjustments), and neither knows the other. This
module looks, in turns of the loop, at accounts whose state has moved, whose adjustment has ended, or of which something
could not be done when it was looked at last, and brings the two together:

    adjusting     an adjustment goes on, up to where the state ends; what is left when nothing frees margin any more,
                  or the deadline has passed, is said to the watch: nothing left to adjust
    taken over    the house takes all of it, as soon as the marks may be acted on; then it is closed, and what fills
                  after that, of orders whose cancel was too late, goes the same way
    any other     an adjustment that goes on is stopped: the market came back, or the client paid

Nothing is kept here that the journal does not know: after a crash each account in one of the first two states, and
each that is being adjusted, is looked at again, and what was done is not done twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.intraday import Intraday
from gateway.journal import JournalError
from gateway.margin.adjustments import AdjustmentError, Adjustments
from gateway.records.margin import MarginCallMoved, MarginStateMoved
from risk.lifecycle import IllegalTransitionError
from risk.margin_states import BPS, MarginState, Signal, ratio_bps

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

NS_PER_S: Final = 1_000_000_000
# What could not be done is tried again after this, and so is what the watch has not let go of yet.
AGAIN_NS: Final = NS_PER_S
SOON_NS: Final = 20_000_000
# Accounts that one turn of the loop looks at, some 20 us each.
ACCOUNTS_PER_TURN: Final = 4
# A hair more than the state asks for, so that rounding does not leave the account a unit short of its way out.
HAIR_BPS: Final = 10
GONE: Final = frozenset({MarginState.TAKEN_OVER, MarginState.CLOSED})
ACTED_ON: Final = GONE | {MarginState.ADJUSTING}


class MarginActions:
    """The watch and the adjustments of one gateway; `tick` does what is due."""

    def __init__(self, pipeline: Pipeline, intraday: Intraday, adjustments: Adjustments, now_ns: int) -> None:
        self._pipeline, self._ledger = pipeline, pipeline.ledger
        self._intraday, self._adjustments = intraday, adjustments
        self._due_ns: dict[str, int] = {}
        self._exhausted: set[str] = set()
        intraday.listeners.append(self._decided)
        adjustments.listeners.append(self._ended)
        adjustments.is_watched = self._is_watched
        adjustments.turns.ratio_of = lambda account: self._ratio_bps.get(account, 0)
        self._ratio_bps: dict[str, int] = {}  # when the account's state moved last
        if intraday.is_on:
            watches = self._ledger.margin.watches.values()
            unfinished = [watch.account for watch in watches if watch.state in ACTED_ON]
            self._due_ns = dict.fromkeys([*unfinished, *self._ledger.adjustments], now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        return min(self._due_ns.values(), default=None)

    def tick(self, now_ns: int) -> None:
        """Look at accounts whose turn it is."""
        if not self._due_ns:
            return
        due = [name for name, at_ns in self._due_ns.items() if at_ns <= now_ns]
        for name in due[:ACCOUNTS_PER_TURN]:
            del self._due_ns[name]
            try:
                self._look(name, now_ns)
            except AdjustmentError as error:
                self._due_ns[name] = now_ns + AGAIN_NS
                text = f"{name} is {self._state(name).value.replace('_', ' ')}, and it waits: {error}"
                self._pipeline.monitor.alert_now_and_then(("margin", "waits"), text, now_ns)
            except JournalError as error:
                self._due_ns[name] = now_ns + AGAIN_NS
                self._pipeline.monitor.journal_failed(str(error))
            except IllegalTransitionError:  # a person was quicker
                self._due_ns[name] = now_ns + SOON_NS

    def _look(self, name: str, now_ns: int) -> None:
        state = self._state(name)
        if state is MarginState.ADJUSTING:
            if name in self._exhausted:
                self._intraday.said(name, Signal.EXHAUSTED, "nothing is left that would free margin in time", now_ns)
                self._exhausted.discard(name)
                return
            self._adjustments.request(name, self.required_bps(name), "margin adjusting", now_ns)
            return
        self._exhausted.discard(name)
        if state in GONE:
            if self._holds_lots(name) or (state is MarginState.TAKEN_OVER and self._has_cash(name)):
                self._adjustments.hand_over(name, "margin taken over", now_ns)
            if state is MarginState.TAKEN_OVER:
                self._intraday.said(name, Signal.HANDED_OVER, "the house has all of it", now_ns)
            if any(self._ledger.orders_of(name)):  # the venue may still tell of a fill that was before its cancel
                self._due_ns[name] = now_ns + AGAIN_NS
            return
        self._adjustments.stop(name, f"margin {state.value.replace('_', ' ')}", now_ns)

    def required_bps(self, name: str) -> int:
        """Return the ratio at which an account's adjustment ends: where its state does."""
        profile = self._intraday.profile(name)
        watch = self._ledger.margin.watch(name)
        return (BPS if profile is None else profile.thresholds.leave_bps[watch.leaves_at]) + HAIR_BPS

    def _is_watched(self, name: str) -> bool:
        return self._state(name) is MarginState.ADJUSTING

    def _state(self, name: str) -> MarginState:
        return self._ledger.margin.watch(name).state

    def _holds_lots(self, name: str) -> bool:
        return any(position.lots for position in self._ledger.accounts[name].positions.values())

    def _has_cash(self, name: str) -> bool:
        return any(self._ledger.accounts[name].cash_units.values())

    def _decided(self, record: records.Record, now_ns: int) -> None:
        if isinstance(record, MarginStateMoved | MarginCallMoved):
            state = self._state(record.account)
            if isinstance(record, MarginStateMoved):
                self._note_ratio(record, state)
            if state in ACTED_ON or record.account in self._ledger.adjustments:
                self._due_ns[record.account] = now_ns

    def _note_ratio(self, record: MarginStateMoved, state: MarginState) -> None:
        if state is MarginState.ADJUSTING:
            self._ratio_bps[record.account] = ratio_bps(record.equity_units, record.maintenance_units)
        else:
            self._ratio_bps.pop(record.account, None)

    def _ended(self, account: str, outcome: str) -> None:
        """An adjustment is over. One that covered its target is looked at again behind the watch's next pass."""
        if not self._intraday.is_on or self._state(account) is not MarginState.ADJUSTING:
            return
        if outcome == "exhausted":
            self._exhausted.add(account)
        self._due_ns[account] = self._ledger.time_ns + (0 if outcome == "exhausted" else AGAIN_NS)
