"""Breaks that are open: differences between two books that have counted, until they are gone or a person closes them.

A break is never mended here. One that a person has closed while it still stands is accepted as it is: the same
difference does not open it again, another one does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from risk.reconciliation import Key, Severity

MAX_OPEN: Final = 10_000
ACCEPTED_KEPT: Final = 10_000
ENDED_KEPT: Final = 1_000


class Break(msgspec.Struct):
    """One break. `number` names it to people; times in ns since the epoch."""

    number: int
    source: str
    kind: str
    account: str
    subject: str
    severity: Severity
    ours: str
    theirs: str
    delta: str
    evidence: str
    opened_ns: int
    changed_ns: int
    ended_ns: int | None = None
    ending: str = ""

    @property
    def key(self) -> Key:
        """What tells it apart from others that are open."""
        return self.source, self.kind, self.account, self.subject

    def words(self) -> str:
        """Return what a person reads."""
        where = " ".join(part for part in (self.source, self.account, self.subject) if part)
        evidence = f"; {self.evidence}" if self.evidence else ""
        return f"{where}: {self.kind}: ours {self.ours or 'none'}, theirs {self.theirs or 'none'}{evidence}"


class BreakBook:
    """Open breaks by key, what people have accepted, and the last that ended."""

    def __init__(self) -> None:
        self.open: dict[Key, Break] = {}
        self.ended: deque[Break] = deque(maxlen=ENDED_KEPT)
        self._accepted: dict[Key, tuple[str, Severity]] = {}
        self.count = 0

    def has_room(self) -> bool:
        """Whether one more can be opened."""
        return len(self.open) < MAX_OPEN

    def known(self) -> dict[Key, tuple[str, Severity]]:
        """Return what each open or accepted difference is, by (delta, severity)."""
        return {**self._accepted, **{key: (one.delta, one.severity) for key, one in self.open.items()}}

    def find(self, number: int) -> Break | None:
        """Return an open break by its number."""
        return next((one for one in self.open.values() if one.number == number), None)

    def worst_of(self, account: str) -> Severity | None:
        """Return the gravest open break of an account; None where there is none."""
        return max((one.severity for one in self.open.values() if one.account == account), default=None)

    def by_gravity(self) -> Iterator[Break]:
        """Yield open breaks, the gravest and then the oldest first."""
        yield from sorted(self.open.values(), key=lambda one: (-one.severity, one.opened_ns, one.number))

    def put(self, one: Break) -> Break:
        """Open a break, or change the open one of its key, which keeps its number and the time of its opening."""
        before = self.open.get(one.key)
        self._accepted.pop(one.key, None)
        if before is None:
            self.count += 1
            one.number = self.count
        else:
            one.number, one.opened_ns = before.number, before.opened_ns
        self.open[one.key] = one
        return one

    def end(self, key: Key, time_ns: int, ending: str, *, is_accepted: bool) -> None:
        """End a break: it is gone, or, `is_accepted`, a person has closed it. An accepted one may be gone too."""
        one = self.open.pop(key, None)
        self._accepted.pop(key, None)
        if one is None:
            return
        one.ended_ns, one.ending = time_ns, ending
        self.ended.append(one)
        if is_accepted:
            if len(self._accepted) >= ACCEPTED_KEPT:
                del self._accepted[next(iter(self._accepted))]
            self._accepted[key] = one.delta, one.severity

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        rows = [msgspec.structs.astuple(one) for _, one in sorted(self.open.items())]
        ended = [msgspec.structs.astuple(one) for one in self.ended]
        return [self.count, rows, ended, sorted(self._accepted.items())]
