"""The switch of the steps of a record, compiled or plain: `gateway._path` over the classes' own slots, or the methods.

Each class gives itself to the function of its name and gets what replaces its own methods: nothing, where the rest of
the gateway is plain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway import compiled

__all__ = [
    "COMPILED",
    "commit_of",
    "ledger_handlers",
    "order_steps",
    "report_handlers",
    "take_regular",
    "venue_handlers",
]

Table = Mapping[Any, Callable[..., Any]]

COMPILED = False
if not TYPE_CHECKING and compiled.COMPILED:
    try:
        from gateway._path import commit_of, ledger_handlers, order_steps, report_handlers, take_regular, venue_handlers

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:

    def commit_of(pipeline: Any, kinds: Mapping[Any, Any], of_ledger: Table, of_reports: Table) -> Any:
        """Return the commit of Pipeline itself."""
        return pipeline.commit

    def ledger_handlers(ledger: Any) -> Table:
        """Return nothing: every record is applied by Ledger itself."""
        return {}

    def report_handlers(reports: Any, copies: Any) -> Table:
        """Return nothing: every record is reported by Reports itself."""
        return {}

    def order_steps(pipeline: Any, monitor: Any, evaluate: Any, sent_back: tuple[int, ...], timed: int) -> Any:
        """Return receive and place of Pipeline itself."""
        return pipeline.receive, pipeline.place

    def venue_handlers(executions: Any) -> Table:
        """Return nothing: every event is taken by Executions itself."""
        return {}

    def take_regular(session: Any, pipeline: Any, name: str, now_ns: int, most: int) -> int:
        """Take none: every message is an event of its session, and Pipeline.receive's."""
        return 0
