"""The thread beside the journal: it prepares the next segment, puts old ones away, and syncs.

Nothing here lies on the append path. One Keeper serves one Journal.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.clock import now_ns
from gateway.journal.segment import Files, JournalFailed, JournalFull, Segment

# Without syncs, full segments wait only to be closed; if this many wait, the appending thread closes them itself.
MAX_WAITING_TO_CLOSE = 2


class Keeper:
    """Prepares segments, syncs and closes them, in a thread of its own.

    `prepared` is the next segment when it is ready; `shortage` says why the last attempt to prepare one failed;
    `failure` says which sync failed, and never goes away; `durable` is the last sequence number that is synced.
    """

    def __init__(
        self,
        directory: Path,
        segment_bytes: int,
        files: Files,
        *,
        sync_interval_s: float | None,
        retry_interval_s: float,
        max_retired: int,
        last_sequence: Callable[[], int],
        on_durable: Callable[[int], None] | None,
        on_failure: Callable[[], None],
    ) -> None:
        self.prepared: Segment | None = None
        self.shortage: str | None = None
        self.failure: str | None = None
        self.durable = 0
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._files = files
        self._sync_interval_s = sync_interval_s
        self._retry_interval_s = retry_interval_s
        self._retry_at_ns = 0
        self._max_retired = max_retired
        self._last_sequence = last_sequence
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._active: Segment | None = None
        self._retired: deque[Segment] = deque()
        self._is_wanted = False
        self._commit_is_asked = False
        self._is_stopping = False
        self._wake = threading.Condition()
        self._progress = threading.Condition()
        self._preparing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)

    def start(self, active: Segment, durable: int) -> None:
        self._active = active
        self.durable = durable
        self._thread.start()

    def request(self) -> None:
        """Ask for the next segment to be prepared in the thread, again and again until there is room for it."""
        with self._wake:
            self._is_wanted = True
            self._wake.notify()

    def prepare(self) -> Segment:
        """Prepare the next segment in the caller's thread, or wait for it; raises JournalFull."""
        with self._preparing:
            return self._prepare_next()

    def _prepare_next(self) -> Segment:
        # Which one is next is decided with the lock held: the other thread may have made it, and gone on in it,
        # while this one waited.
        assert self._active is not None
        index = self._active.index + 1
        if self.prepared is None:
            synced = self._sync_interval_s is not None
            try:
                self.prepared = Segment.prepare(self._directory, index, self._segment_bytes, self._files, synced=synced)
            except OSError as error:
                self._retry_at_ns = now_ns() + int(self._retry_interval_s * 1e9)
                self.shortage = f"segment {index} cannot be prepared: {error.strerror}"
                raise JournalFull(self.shortage) from error
        self.shortage = None
        self._is_wanted = False
        return self.prepared

    def activate(self, full: Segment, following: Segment) -> None:
        """Hand over a full segment, to be synced and closed; `following` is the one now written to."""
        # Does not wait: while there is a prepared segment, nobody holds this lock to prepare another.
        with self._preparing:
            # _put_away reads these two in the opposite order, so that it never misses the full segment.
            self._retired.append(full)
            self._active = following
            self.prepared = None
            self._is_wanted = False
        if self._sync_interval_s is None and len(self._retired) > MAX_WAITING_TO_CLOSE:
            self._close_retired(len(self._retired))
        with self._wake:
            self._wake.notify()

    @property
    def keeps_up(self) -> bool:
        """Say whether the full segments that wait for the disk are few enough for one more."""
        return self._sync_interval_s is None or len(self._retired) < self._max_retired

    def ask_for_commit(self) -> None:
        with self._wake:
            self._commit_is_asked = True
            self._wake.notify()

    def wait_durable(self, sequence: int, timeout_s: float | None) -> bool:
        """Wait until `sequence` is durable; False after `timeout_s`; raises JournalFailed."""
        with self._progress:
            self._progress.wait_for(lambda: self.durable >= sequence or self.failure is not None, timeout_s)
        if self.durable >= sequence:
            return True
        if self.failure is not None:
            raise JournalFailed(self.failure)
        return False

    def stop(self) -> None:
        """Sync what is left, end the thread, and close every segment."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join()
        for segment in (*self._retired, self._active):
            if segment is not None:
                segment.close()
        if self.prepared is not None:
            self.prepared.discard()

    def _run(self) -> None:
        try:
            while self._work_once():
                pass
        except Exception as error:
            # Without this thread nothing would be synced any more: to be told, not to be found out.
            self._fail(f"the journal's thread died: {error!r}")

    def _work_once(self) -> bool:
        with self._wake:
            if not (self._is_stopping or self._commit_is_asked or self._has_new_work()):
                self._wake.wait(self._idle_s())
            self._commit_is_asked = False
            is_stopping = self._is_stopping
        # Syncing comes first: a record waits for it, and nothing waits for the next segment yet.
        self._put_away()
        if not is_stopping:
            self._prepare_wanted()
        return not is_stopping

    def _has_new_work(self) -> bool:
        # After a failed preparation there is work too, but not before the interval has passed.
        return (self._is_wanted and self.shortage is None) or bool(self._retired and not self.failure)

    def _idle_s(self) -> float | None:
        intervals = [self._retry_interval_s] if self._is_wanted else []
        if self._sync_interval_s is not None and self.failure is None:
            intervals.append(self._sync_interval_s)
        return min(intervals, default=None)

    def _prepare_wanted(self) -> None:
        if not self._is_wanted or (self.shortage is not None and now_ns() < self._retry_at_ns):
            return
        # A failure is kept in `shortage`.
        with self._preparing, suppress(JournalFull):
            # Asked again, as the wish may have been granted while this thread waited for the lock.
            if self._is_wanted:
                self._prepare_next()

    def _put_away(self) -> None:
        """Sync, then close the segments that are full; after a failure nothing is reported or closed any more."""
        if self.failure is not None:
            return
        target = self._last_sequence()
        active = self._active
        retired = list(self._retired)
        if self._sync_interval_s is not None and (target > self.durable or retired):
            assert active is not None
            if not self._sync((*retired, active)):
                return
            self._report_durable(target)
        self._close_retired(len(retired))

    def _close_retired(self, count: int) -> None:
        # Two threads may be here at once: each segment is closed by the one that took it.
        with suppress(IndexError):
            for _ in range(count):
                self._retired.popleft().close()

    def _sync(self, segments: tuple[Segment, ...]) -> bool:
        try:
            for segment in segments:
                self._files.fdatasync(segment.descriptor)
        except OSError as error:
            # Never tried again: the kernel may have dropped the pages, and a second attempt would then succeed.
            self._fail(f"sync failed, the records after {self.durable} may be lost: {error.strerror}")
            return False
        return True

    def _report_durable(self, target: int) -> None:
        with self._progress:
            self.durable = target
            self._progress.notify_all()
        if self._on_durable is not None:
            self._on_durable(target)

    def _fail(self, reason: str) -> None:
        with self._progress:
            self.failure = reason
            self._progress.notify_all()
        self._on_failure()
