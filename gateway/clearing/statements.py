"""What a counterparty is asked, and its answers gathered until they are whole: positions, trades, balances, margin.

A statement is compared when all of it is there: the number of reports that its acknowledgement, or a report itself,
says. One that is refused, unreadable or not whole in its time is unknown; it is never taken for an empty one. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.clearing.statement_rows import ROWS, StatementError, question
from protocols.fix.codec import Message
from protocols.fix.dictionary import Dictionary
from protocols.fix.grouped import Values
from risk.account import Account
from risk.reconciliation import Topic

if TYPE_CHECKING:
    from gateway.clearing.reconciler import Reconciler
    from gateway.config import Counterparty

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
# Open questions at one time; the others wait for their turn.
MAX_OPEN: Final = 32
# Reports of one statement: what is longer is none.
MAX_ROWS: Final = 20_000


class Phase(Enum):
    """How far an answer has come. WHOLE and FAILED are its ends."""

    ASKED = "asked"
    COLLECTING = "collecting"
    WHOLE = "whole"
    FAILED = "failed"


class Step(Enum):
    """What can come of a question."""

    COUNTED = "counted"  # acknowledged: so many reports follow
    REPORTED = "reported"
    COMPLETED = "completed"  # as many reports as were counted
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    LOST = "the session was lost"


TABLE: Final = {
    (Phase.ASKED, Step.COUNTED): Phase.COLLECTING,
    (Phase.ASKED, Step.REPORTED): Phase.ASKED,
    (Phase.COLLECTING, Step.COUNTED): Phase.COLLECTING,
    (Phase.COLLECTING, Step.REPORTED): Phase.COLLECTING,
    (Phase.COLLECTING, Step.COMPLETED): Phase.WHOLE,
    **{(phase, step): Phase.FAILED for phase in (Phase.ASKED, Phase.COLLECTING)
       for step in (Step.REFUSED, Step.TIMED_OUT, Step.LOST)},
}  # fmt: skip

# What a counterparty may send, beside ExecutionReport(8) and answers to our trade reports.
ACKNOWLEDGEMENTS: Final = {"AO": 710, "AQ": 568, "BG": 909, "CI": 1635}
REPORTS: Final = {"AP": 710, "AE": 568, "BA": 909, "CJ": 1635}
# What is another the moment after: two fills of the same size would look like one difference that stays. A statement
# during which our book has moved is asked for again, at most so often in a row.
_OF_A_MOMENT: Final = frozenset({Topic.POSITIONS, Topic.BALANCES})
PUT_OFF_AT_MOST: Final = 5
# Number of reports that follow.
_COUNTS: Final = {"AO": 727, "AQ": 748, "BG": 911, "CI": 911, "AP": 727, "AE": 748, "BA": 911, "CJ": 911}
# Field that says whether a question is refused, and the values that say so.
_REFUSED: Final = {
    "AO": (729, frozenset({b"2"})), "AQ": (750, frozenset({b"2"})), "BG": (945, frozenset({b"2"})),
    "CI": (1640, frozenset({b"4"})),
}  # fmt: skip


class _Question(msgspec.Struct):
    """One question and what has come of it."""

    request_id: str
    topic: Topic
    account: Account
    since_ns: int
    due_ns: int
    phase: Phase = Phase.ASKED
    count: int | None = None
    changes: int = 0  # of the account's book when it was asked; -1: it is on its way to the counterparty still
    rows: list[Any] = msgspec.field(default_factory=list)

    def step(self, step: Step) -> None:
        """Go on, as the table says; KeyError for what can not be."""
        self.phase = TABLE[self.phase, step]


class Statements:
    """One counterparty's. `send` numbers and queues a message of ours; it is called while the session is up."""

    def __init__(
        self,
        terms: Counterparty,
        accounts: list[Account],
        dictionary: Dictionary,
        reconciler: Reconciler,
        send: Callable[[str, Values, int], None],
        run: str,
    ) -> None:
        """`run` sets our request ids apart from those of the start before, whose answers may still come."""
        self._terms = terms
        self._accounts = {account.name: account for account in accounts}
        self._dictionary = dictionary
        self._reconciler = reconciler
        self._send = send
        self._run = run
        self._count = 0
        self._open: dict[str, _Question] = {}
        self._waiting: deque[tuple[Topic, Account]] = deque()
        # When each statement is asked for again.
        self._next_ns = {(Topic(topic), account.name): 0 for account in accounts for topic in terms.asks}
        self._interval_ns = terms.ask_interval_s * NS_PER_S
        self._confirm_ns = terms.confirm_after_ms * NS_PER_MS
        self._timeout_ns = terms.answer_timeout_s * NS_PER_S
        self._max_age_ns = terms.statement_max_age_s * NS_PER_S
        # Whether all that we report has been sent: what was not is not in their book.
        self.has_reported: Callable[[], bool] = lambda: True
        self._put_off: dict[tuple[Topic, str], int] = {}
        self.is_up = False
        self.is_due = True  # it is expected to be up
        self.taken = 0
        self.failed = 0

    # -- the session -------------------------------------------------------------------------------------------------

    def logged_on(self, now_ns: int) -> None:
        """Ask everything: what was true before is old."""
        self.is_up = True
        for place in self._next_ns:
            self._next_ns[place] = now_ns
        self.tick(now_ns)

    def lost(self, now_ns: int) -> None:
        """The session is over: what was not answered is not known."""
        self.is_up = False
        self._waiting.clear()
        for request_id in list(self._open):
            self._fail(request_id, Step.LOST, "the session was lost", now_ns)

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        times = [one.due_ns for one in self._open.values()]
        if not self._waiting:
            times += self._next_ns.values()
        return min(times, default=None)

    def tick(self, now_ns: int) -> None:
        """Give up what is overdue, and ask what is due."""
        for request_id, one in list(self._open.items()):
            if one.due_ns <= now_ns:
                self._fail(request_id, Step.TIMED_OUT, f"no whole answer in {self._terms.answer_timeout_s} s", now_ns)
        for (topic, name), due_ns in self._next_ns.items():
            if due_ns > now_ns:
                continue
            self._next_ns[topic, name] = now_ns + self._interval_ns
            if self.is_up:
                self._waiting.append((topic, self._accounts[name]))
            elif self.is_due:
                self._reconciler.unanswered(self._terms.name, name, topic, "not logged on", self._max_age_ns, now_ns)
        self._ask_waiting(now_ns)

    def _ask_waiting(self, now_ns: int) -> None:
        while self.is_up and self._waiting and len(self._open) < MAX_OPEN:
            self._ask(*self._waiting.popleft(), now_ns)

    def hurry(self, topic: Topic, account: str, now_ns: int) -> None:
        """Something has changed there: ask soon, rather than at the next interval."""
        place = topic, account
        if place in self._next_ns:
            self._next_ns[place] = min(self._next_ns[place], now_ns + self._confirm_ns)

    def _ask(self, topic: Topic, account: Account, now_ns: int) -> None:
        self._count += 1
        request_id = f"{self._run}-{self._count}"
        since_ns = self._reconciler.trades_since_ns(self._terms.name, now_ns)
        changes = account.changes if self.has_reported() else -1
        one = _Question(request_id, topic, account, since_ns, now_ns + self._timeout_ns, changes=changes)
        self._open[request_id] = one
        self._send(*question(topic, request_id, account.name, since_ns, now_ns), now_ns)

    # -- answers -----------------------------------------------------------------------------------------------------

    def receive(self, message: Message, now_ns: int) -> bool:
        """Take an acknowledgement or a report; False for one that answers no question of ours."""
        msg_type = message.msg_type
        id_tag = ACKNOWLEDGEMENTS.get(msg_type) or REPORTS.get(msg_type)
        one = None if id_tag is None else self._open.get((message.get(id_tag) or b"").decode("latin-1"))
        if one is None:
            return msg_type in ACKNOWLEDGEMENTS  # of a question that was given up: nobody waits for it
        if msg_type in ACKNOWLEDGEMENTS:
            self._acknowledged(one, message, now_ns)
        else:
            self._reported(one, message, now_ns)
        self._ask_waiting(now_ns)
        return True

    def refused(self, request_id: str, text: str, now_ns: int) -> None:
        """A question was refused by a message of another type: BusinessMessageReject(j)."""
        if request_id in self._open:
            self._fail(request_id, Step.REFUSED, text, now_ns)

    def _acknowledged(self, one: _Question, message: Message, now_ns: int) -> None:
        tag, values = _REFUSED[message.msg_type]
        if message.get(tag) in values:
            text = (message.get(58) or b"").decode("latin-1")[:200]
            self._fail(one.request_id, Step.REFUSED, f"refused: {text or 'no reason given'}", now_ns)
            return
        self._counted(one, message)
        if one.phase is Phase.ASKED:  # it says nothing of how many: those that have come, then
            one.count = len(one.rows)
            one.step(Step.COUNTED)
        self._settle(one, now_ns)

    def _counted(self, one: _Question, message: Message) -> None:
        told = message.get(_COUNTS[message.msg_type])
        if told is not None and told.isdigit() and len(told) <= 9:
            one.count = int(told)
            one.step(Step.COUNTED)

    def _reported(self, one: _Question, message: Message, now_ns: int) -> None:
        if len(one.rows) >= MAX_ROWS:
            self._fail(one.request_id, Step.REFUSED, f"more than {MAX_ROWS} reports", now_ns)
            return
        try:
            one.rows.append(ROWS[one.topic].row_of(self._dictionary, message))
        except StatementError as error:
            self._fail(one.request_id, Step.REFUSED, f"unreadable: {error}", now_ns)
            return
        one.step(Step.REPORTED)
        self._counted(one, message)
        if message.get(912) == b"Y" and one.count is None:
            one.count = len(one.rows)
            one.step(Step.COUNTED)
        self._settle(one, now_ns)

    def _settle(self, one: _Question, now_ns: int) -> None:
        """Compare, where the statement is whole; ask once more where that has left something open."""
        if one.count is None or len(one.rows) < one.count:
            return
        one.step(Step.COMPLETED)
        del self._open[one.request_id]
        try:
            told = ROWS[one.topic].gathered(self._reconciler, one.account.name, one.rows)
        except StatementError as error:
            self.failed += 1
            self._unanswered(one, f"unreadable: {error}", now_ns)
            return
        self.taken += 1
        if one.topic in _OF_A_MOMENT and self._has_moved(one):
            self.hurry(one.topic, one.account.name, now_ns)
            return
        wants_look = ROWS[one.topic].compare(
            self._reconciler, self._terms.name, one.account, told, one.since_ns, now_ns
        )
        if wants_look:
            self.hurry(one.topic, one.account.name, now_ns)

    def _has_moved(self, one: _Question) -> bool:
        """Whether a statement is of another moment than our book; one that never rests is compared all the same."""
        place = one.topic, one.account.name
        times = self._put_off.get(place, 0)
        if one.changes == one.account.changes or times >= PUT_OFF_AT_MOST:
            self._put_off.pop(place, None)
            return False
        self._put_off[place] = times + 1
        return True

    def _fail(self, request_id: str, step: Step, why: str, now_ns: int) -> None:
        one = self._open.pop(request_id)
        one.step(step)
        self.failed += 1
        self._unanswered(one, why, now_ns)

    def _unanswered(self, one: _Question, why: str, now_ns: int) -> None:
        self._reconciler.unanswered(self._terms.name, one.account.name, one.topic, why, self._max_age_ns, now_ns)
