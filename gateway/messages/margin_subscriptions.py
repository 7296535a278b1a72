"""Who is told again of positions, collateral or margin when they change: a few subscriptions a session, each in turns.

A subscription ends with the connection that asked for it. One whose client has a backlog is told nothing until that has
drained, and then what is so by then: no queue grows. Nobody is told of margin more often than once a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.clients.volatile import Volatile
from gateway.margin.figures import Figures
from protocols.fix.grouped import Values, grouped_body
from protocols.fix.session import SessionState

SUBSCRIPTIONS_EACH: Final = 16
NS_PER_S: Final = 1_000_000_000

# MsgType and values of each message that is due now, taken as told; and how to take that back where it could not leave.
News = Callable[[int], list[tuple[str, Values]]]
Forget = Callable[[], None]


class Subscription:
    """What one request asked to be told of again, at most once in `interval_ns`."""

    def __init__(self, state: SessionState, news: News, forget: Forget, interval_ns: int, now_ns: int) -> None:
        self.state = state
        self.news = news
        self.forget = forget
        self.interval_ns = interval_ns
        self.next_ns = now_ns + interval_ns
        self._connection = state.connection

    @property
    def is_there(self) -> bool:
        """Whether the connection that asked is still the session's."""
        return self._connection is not None and self.state.connection is self._connection


class FiguresTold:
    """What one inquiry about an account's margin was told last; `shape` is what of the figures a reader can see."""

    def __init__(
        self,
        figures: Callable[[int], Figures | str],
        shape: Callable[[Figures], object],
        messages: Callable[[Figures, int], list[tuple[str, Values]]],
    ) -> None:
        self._figures, self._shape, self._messages = figures, shape, messages
        self._told: object = None

    def first(self, figures: Figures, now_ns: int) -> list[tuple[str, Values]]:
        """Return the reports that answer the inquiry, taken as told."""
        self._told = self._shape(figures)
        return self._messages(figures, now_ns)

    def news(self, now_ns: int) -> list[tuple[str, Values]]:
        """Return the reports anew where something in them has changed; while margin is unknown nothing is told."""
        figures = self._figures(now_ns)
        if isinstance(figures, str) or self._shape(figures) == self._told:
            return []
        return self.first(figures, now_ns)

    def forget(self) -> None:
        """What was told last did not leave."""
        self._told = None


class Subscriptions:
    """All of them, by session, and by MsgType and id of the request. `backlog`: bytes that a client has not taken."""

    def __init__(self, volatile: Volatile, max_backlog_bytes: int) -> None:
        self._volatile = volatile
        self._max_backlog_bytes = max_backlog_bytes
        self.backlog: Callable[[str], int] = lambda session: 0
        self._of_session: dict[str, dict[tuple[str, bytes], Subscription]] = {}
        self._turns: deque[tuple[str, tuple[str, bytes]]] = deque()

    def __len__(self) -> int:
        return sum(len(subscriptions) for subscriptions in self._of_session.values())

    def fault(self, session: str, msg_type: str, request_id: bytes) -> str:
        """Return why a session may not subscribe under this id, empty where it may."""
        self._drop_departed()
        mine = self._of_session.get(session, {})
        if (msg_type, request_id) in mine:
            return "a subscription has this id"
        if len(mine) >= SUBSCRIPTIONS_EACH:
            return f"a session has {SUBSCRIPTIONS_EACH} subscriptions to positions and margin at the most"
        return ""

    def add(self, session: str, msg_type: str, request_id: bytes, subscription: Subscription) -> None:
        """Take a subscription that `fault` has nothing against."""
        self._of_session.setdefault(session, {})[msg_type, request_id] = subscription

    def remove(self, session: str, msg_type: str, request_id: bytes) -> bool:
        """End a subscription; False where there is none."""
        return self._of_session.get(session, {}).pop((msg_type, request_id), None) is not None

    def begin(self) -> None:
        """Begin a turn: every subscription is looked at once."""
        self._drop_departed()
        self._turns = deque((session, key) for session, mine in self._of_session.items() for key in mine)

    def step(self, now_ns: int) -> bool:
        """Look at one subscription, and tell what is due; return whether the turn is over."""
        if self._turns:
            session, key = self._turns.popleft()
            subscription = self._of_session.get(session, {}).get(key)
            if subscription is not None and now_ns >= subscription.next_ns:
                self._tell(session, subscription, now_ns)
        return not self._turns

    def _tell(self, session: str, subscription: Subscription, now_ns: int) -> None:
        if self.backlog(session) > self._max_backlog_bytes:
            return
        messages = subscription.news(now_ns)
        if not messages:
            return
        subscription.next_ns = now_ns + subscription.interval_ns
        dictionary = subscription.state.dictionary
        bodies = [(msg_type, grouped_body(dictionary, msg_type, values)) for msg_type, values in messages]
        if not self._volatile.publish(session, bodies, now_ns):
            subscription.forget()

    def _drop_departed(self) -> None:
        for session, mine in list(self._of_session.items()):
            for key in [key for key, subscription in mine.items() if not subscription.is_there]:
                del mine[key]
            if not mine:
                del self._of_session[session]
