"""Status lines for whoever started us: written by a thread, so that a reader who does not read stops nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

# The last line is waited for so long at the end; a reader that is gone by then is gone.
LAST_LINE_TIMEOUT_S: Final = 2.0


class StatusWriter:
    """Hands the newest snapshot to `write`; one that was not taken before the next came is dropped."""

    def __init__(self, write: Callable[[dict[str, Any]], None], on_broken: Callable[[], object]) -> None:
        self._write = write
        self._on_broken = on_broken
        self._newest: dict[str, Any] | None = None
        self._is_over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def publish(self, snapshot: dict[str, Any]) -> None:
        """Offer a snapshot; never waits."""
        with self._changed:
            self._newest = snapshot
            self._changed.notify()

    def close(self) -> None:
        """Write what is still to be written, within a limit, and end."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join(LAST_LINE_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._is_over)
                snapshot, self._newest = self._newest, None
            if snapshot is None:
                return
            try:
                self._write(snapshot)
            except OSError:  # the reader is gone
                self._on_broken()
                return
