"""What clients ask besides orders, and what they have subscribed to: one table of handlers, one turn of telling.

Nothing here decides on risk or changes the book, so a fault of it must not stop trading: it is alerted, and the request
refused. The caller takes turns: `begin`, then `step` until it says True, giving the loop back in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway import records
from gateway.margin.figures import Figures, figures_of
from gateway.messages.collateral_reports import CollateralReports
from gateway.messages.limit_checks import LimitChecks
from gateway.messages.margin_reports import MarginReports
from gateway.messages.margin_subscriptions import Subscriptions
from gateway.messages.market_data import MarketDataDesk
from gateway.messages.news import Newsroom
from gateway.messages.position_reports import PositionReports
from gateway.messages.reference_data import PacedAnswers, ReferenceData
from gateway.messages.statuses import Statuses
from gateway.messages.users import Users
from gateway.pipeline import APPLICATION_NOT_AVAILABLE, Pipeline
from gateway.venues.feeds import Feeds
from protocols.fix.codec import Message
from risk.account import Account
from risk.scenarios import Generation

# BusinessRejectReason(380)
OTHER_REASON: Final = 0


class Inquiries:
    """Market data, reference data, statuses, users, news, margin, over one pipeline. Venues join `feeds`."""

    def __init__(self, pipeline: Pipeline, *, max_subscriptions: int, max_backlog_bytes: int) -> None:
        self._pipeline = pipeline
        ledger, market, volatile = pipeline.ledger, pipeline.market, pipeline.volatile
        sessions = pipeline.reports.sessions
        self.feeds = Feeds(ledger, market)
        self.market_data = MarketDataDesk(
            ledger=ledger,
            market=market,
            feeds=self.feeds,
            volatile=volatile,
            sessions=sessions,
            max_subscriptions=max_subscriptions,
            max_backlog_bytes=max_backlog_bytes,
        )
        self._paced = PacedAnswers(volatile, sessions, max_backlog_bytes)
        self._reference = ReferenceData(ledger, volatile, self._paced, sessions)
        self.statuses = Statuses(ledger, self.feeds, volatile, sessions)
        self.users = Users(volatile, sessions)
        self.news = Newsroom(pipeline, self.feeds)
        self.generation: Callable[[], Generation | None] = lambda: None  # the last risk arrays, once they are made
        self.margin = Subscriptions(volatile, max_backlog_bytes)
        positions = PositionReports(pipeline, self._paced, self.margin)
        collateral = CollateralReports(pipeline, self.margin, self.figures_of)
        margin = MarginReports(pipeline, self.margin, self.figures_of)
        self._handlers: dict[str, Callable[[str, Message, int], str | None]] = {
            "V": self.market_data.receive,
            "x": self._reference.list_securities,
            "c": self._reference.define_security,
            "e": self.statuses.ask_security,
            "g": self.statuses.ask_session,
            "BC": self.statuses.ask_counterparties,
            "BE": self.users.receive,
            "AN": positions.receive,
            "BB": collateral.receive,
            "CH": margin.receive,
            "DF": LimitChecks(pipeline).receive,
        }

    def watch_backlogs(self, backlog: Callable[[str], int]) -> None:
        """Take over who tells how many bytes a session's client has not taken yet."""
        self.market_data.backlog = self._paced.backlog = self.margin.backlog = backlog

    def receive(self, session: str, message: Message, now_ns: int) -> None:
        """Act on one request; its answers, if any, leave with the batch."""
        try:
            refusal = self._handlers[message.msg_type](session, message, now_ns)
            reason = OTHER_REASON
        except Exception as error:
            self._pipeline.monitor.alert(f"{message.msg_type} of {session}: {type(error).__name__}: {error}")
            refusal, reason = "not available", APPLICATION_NOT_AVAILABLE
        if refusal is None:
            self._pipeline.volatile.received(session, message)
            return
        record = records.MessageRefused(session, message.msg_seq_num, message.msg_type, reason, "", refusal)
        self._pipeline.commit(record, now_ns)

    def figures_of(self, account: Account, now_ns: int) -> Figures | str:
        """Return an account's margin by the last risk arrays, or why it is not known."""
        return figures_of(account, self._pipeline.market, self.generation(), now_ns)

    # -- turns -------------------------------------------------------------------------------------------------------

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for his first answer: the next turn should come soon."""
        return self._paced.is_waiting or self.market_data.has_waiting

    def begin(self, now_ns: int) -> None:
        """Begin a turn: venues that went or came, statuses that changed; then what `step` does piece by piece."""
        self.news.look(now_ns)
        self.statuses.tell(now_ns)
        self.market_data.begin(now_ns)
        self._paced.begin()
        self.margin.begin()

    def step(self, now_ns: int) -> bool:
        """Do one slice of the turn; return whether it is over."""
        return self.market_data.step(now_ns) and self._paced.step(now_ns) and self.margin.step(now_ns)

    def run(self, now_ns: int) -> None:
        """Take a whole turn at once."""
        self.begin(now_ns)
        while not self.step(now_ns):
            pass

    def snapshot(self) -> dict[str, Any]:
        """Return the counters as plain values."""
        volatile = self._pipeline.volatile
        return {
            "subscriptions": self.market_data.subscriptions,
            "status_subscriptions": self.statuses.subscriptions,
            "margin_subscriptions": len(self.margin),
            "followed": self.feeds.followed,
            "sent": volatile.sent,
            "dropped": volatile.dropped,
            "conflated": self.market_data.conflated,
            "news": self.news.published,
        }
