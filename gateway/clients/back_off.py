"""Pauses after failed logons. Pure: the time is an argument.

Who failed is a pair of origin and session: a desk whose one session is set up wrongly keeps its others, and nobody can
lock out a session from elsewhere. Guesses that come from many origins slow down the answers of that session instead,
by a delay that no client misses its logon for, and that origins do not suffer that have logged on to it before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

NS_PER_S: Final = 1_000_000_000
# Mistakes of a person, or of a restart with the wrong file, cost nothing.
FREE_FAILURES: Final = 3
# Then twice as long each time: a guesser has 300 tries a day, and whoever mends a password waits five minutes at most.
FIRST_PAUSE_NS: Final = NS_PER_S
LONGEST_PAUSE_NS: Final = 300 * NS_PER_S
FORGOTTEN_AFTER_NS: Final = 900 * NS_PER_S
FIRST_DELAY_NS: Final = NS_PER_S // 10
LONGEST_DELAY_NS: Final = 2 * NS_PER_S
MAX_PAIRS: Final = 4096
MAX_KNOWN_ORIGINS: Final = 16


class _Failures(msgspec.Struct):
    """How often in a row, and when last."""

    count: int = 0
    last_ns: int = 0

    def add(self, now_ns: int) -> None:
        self.count = 1 if self.is_forgotten(now_ns) else self.count + 1
        self.last_ns = now_ns

    def is_forgotten(self, now_ns: int) -> bool:
        return now_ns >= self.last_ns + FORGOTTEN_AFTER_NS

    def pause_ns(self, first_ns: int, longest_ns: int) -> int:
        beyond = self.count - FREE_FAILURES
        return min(longest_ns, first_ns << min(beyond, 32)) if beyond >= 0 else 0


class BackOff:
    """Failures by (origin, session) and by session. `session` is "" for all that nobody knows.

    Of pairs the one whose last failure is oldest makes room for a new one: whoever fills the table frees somebody from
    a pause, and puts nobody into one. Sessions are those of the configuration.
    """

    def __init__(self, max_pairs: int = MAX_PAIRS) -> None:
        self._max_pairs = max_pairs
        self._pairs: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._sessions: dict[str, _Failures] = {}
        self._known: dict[str, OrderedDict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def is_paused(self, origin: str, session: str, now_ns: int) -> bool:
        """Say whether a Logon is refused unread. Coming too early does not make the pause longer."""
        failures = self._pairs.get((origin, session))
        return failures is not None and now_ns < failures.last_ns + failures.pause_ns(FIRST_PAUSE_NS, LONGEST_PAUSE_NS)

    def delay_ns(self, origin: str, session: str, now_ns: int) -> int:
        """Return how long the answer to a Logon waits for what others have done to its session."""
        failures = self._sessions.get(session)
        if failures is None or failures.is_forgotten(now_ns) or origin in self._known.get(session, ()):
            return 0
        return failures.pause_ns(FIRST_DELAY_NS, LONGEST_DELAY_NS)

    def is_calm(self, session: str, now_ns: int) -> bool:
        """Say whether a session had no more failures than people make."""
        failures = self._sessions.get(session)
        return failures is None or failures.is_forgotten(now_ns) or failures.count <= FREE_FAILURES

    def failed(self, origin: str, session: str, now_ns: int) -> None:
        """Note that a Logon was not its session's."""
        pair = self._pairs.setdefault((origin, session), _Failures())
        self._pairs.move_to_end((origin, session))
        pair.add(now_ns)
        if len(self._pairs) > self._max_pairs:
            self._pairs.popitem(last=False)
        self._sessions.setdefault(session, _Failures()).add(now_ns)

    def succeeded(self, origin: str, session: str) -> None:
        """Note that a Logon was good: what went before is forgiven, and the origin known from now on."""
        self._pairs.pop((origin, session), None)
        self._sessions.pop(session, None)
        known = self._known.setdefault(session, OrderedDict())
        known[origin] = None
        known.move_to_end(origin)
        if len(known) > MAX_KNOWN_ORIGINS:
            known.popitem(last=False)
