"""The switch of Deribit's short way: `receive` is ShortWay.receive, `place` is OrderFlow.place, compiled or plain.

Where the order frame is the plain one, they are the methods themselves. `session_steps` gives Deribit what replaces its
own `receive`, `place` and `events`.
"""

from typing import TYPE_CHECKING, Any

from protocols.venues import frames
from protocols.venues.deribit_orders import OrderFlow
from protocols.venues.deribit_short import ShortWay

__all__ = ["COMPILED", "place", "receive", "session_steps"]

COMPILED = False
if not TYPE_CHECKING and frames.COMPILED:
    try:
        from protocols.venues._short import place, receive, session_steps

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    place, receive = OrderFlow.place, ShortWay.receive

    def session_steps(session: Any, connecting: object) -> Any:
        """Return receive, place and events of Deribit itself."""
        return session.receive, session.place, session.events
