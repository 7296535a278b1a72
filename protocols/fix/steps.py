"""The switch of a session's two hot steps: a regular message in, and a message of the application out.

`next_event(session)` is Session.next_event, `send(session, layout, values, now_ns)` is Session.send with the session's
own header. Where the codec is the plain one, the steps are the methods themselves.
"""

from typing import TYPE_CHECKING

from protocols.fix import codec
from protocols.fix.session import Session

__all__ = ["COMPILED", "next_event", "send"]

COMPILED = False
if not TYPE_CHECKING and codec.COMPILED:
    try:
        from protocols.fix._session import next_event, send

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    next_event, send = Session.next_event, Session.send
