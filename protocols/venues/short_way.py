"""The switch of Deribit's short way: `receive` is ShortWay.receive, `place` is OrderFlow.place, compiled or plain.

Where the order frame is the plain one, they are the methods themselves.
"""

from typing import TYPE_CHECKING

from protocols.venues import frames
from protocols.venues.deribit_orders import OrderFlow
from protocols.venues.deribit_short import ShortWay

__all__ = ["COMPILED", "place", "receive"]

COMPILED = False
if not TYPE_CHECKING and frames.COMPILED:
    try:
        from protocols.venues._short import place, receive

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    place, receive = OrderFlow.place, ShortWay.receive
