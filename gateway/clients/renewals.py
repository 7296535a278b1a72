"""When a session's numbers begin at 1 again, by its schedule or by a Logon: the journal says so first.

A Logon asks `begin_again`, from within protocols.fix. By the schedule a session is begun for who is away, too, so that
the reports that wait for it have the numbers of the new session; when that was is told by the record, and by nothing
else in a replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.journal import JournalError

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline
    from protocols.fix.session import SessionState

# A new session is begun so long after its time at the most; a Logon needs not wait for it.
LOOK_INTERVAL_NS: Final = 1_000_000_000


UNWRITTEN: Final = "sequence numbers can not be reset now: journal unavailable"


def begin_again(pipeline: Pipeline, state: SessionState, as_of_ns: int | None, now_ns: int) -> str:
    """Write that a session's numbers begin again at 1, before they do; or return why they may not.

    A peer that was let in on numbers that the journal does not know would be met by the old ones after the next start.
    """
    name = state.name
    waiting = list(pipeline.reports.delayed.get(name, {}).values())
    try:
        pipeline.commit(records.SessionRenewed(name, True, as_of_ns or 0), now_ns)
    except JournalError as error:
        pipeline.monitor.journal_failed(str(error))
        return UNWRITTEN
    pipeline.of_old_numbers.setdefault(name, []).extend(waiting)
    return ""


class Renewals:
    """All sessions that have a schedule."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._names = [name for name, state in pipeline.reports.sessions.items() if state.config.schedule is not None]
        # When the record was written that vouches for a session's numbers.
        self._written_ns = {name: pipeline.reports.sessions[name].as_of_ns for name in self._names}
        self.deadline_ns: int | None = 0 if self._names else None

    def tick(self, now_ns: int) -> None:
        """Begin what the schedule has begun."""
        if self.deadline_ns is None or now_ns < self.deadline_ns:
            return
        self.deadline_ns = now_ns + LOOK_INTERVAL_NS
        for name in self._names:
            try:
                self._renew(name, now_ns)
            except JournalError as error:  # the next look, or the client's Logon, does it
                self._pipeline.monitor.journal_failed(str(error))

    def _renew(self, name: str, now_ns: int) -> None:
        pipeline = self._pipeline
        state = pipeline.reports.sessions[name]
        assert state.config.schedule is not None
        window = state.config.schedule.window(now_ns)
        written_ns = self._written_ns[name]
        if window is None or (written_ns is not None and written_ns >= window[0]):
            return
        if state.connection is not None:
            if state.as_of_ns is None or state.as_of_ns < window[0]:
                return  # it is being logged out: the new session begins when it is gone
            pipeline.commit(records.SessionRenewed(name, False, now_ns), now_ns)
        elif state.as_of_ns is not None and state.as_of_ns < window[0]:
            pipeline.commit(records.SessionRenewed(name, True, now_ns), now_ns)
            state.reset()
            state.as_of_ns = now_ns
        else:
            # Introduced on numbers that nobody has dated, or a Logon has begun it: it is known from here on.
            pipeline.commit(records.SessionRenewed(name, False, now_ns), now_ns)
            state.as_of_ns = now_ns
        self._written_ns[name] = now_ns
