"""The short way of a frame that an order's life is made of: read in one go, instead of envelope first, then contents.

Replies to orders and edits, and notifications of what changed, are nearly all that comes while orders are sent, and are
always written alike. A frame that is written otherwise, or does not hold what it should, is not touched: the long way
(Deribit.receive) reads it, and knows what to say of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.venues.deribit_accounts import Accounts
from protocols.venues.deribit_decode import CHANGES_NOTICE, DECODE_ERRORS, ORDER_REPLY, ChangesNotice, OrderReply
from protocols.venues.deribit_orders import OrderFlow
from protocols.venues.deribit_tables import CHANGES_CHANNEL, Kind
from protocols.venues.jsonrpc import Request, RequestTable

CHANGES_START: Final = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"%b"' % CHANGES_CHANNEL.encode()
REPLY_START: Final = b'{"jsonrpc":"2.0","id":'
_ID_AT: Final = len(REPLY_START)
_ID_DIGITS: Final = 20
_PLACE, _REPLACE = Kind.PLACE, Kind.REPLACE


class ShortWay:
    """Reads what it knows. `on_changes_lost` and `on_reply_lost` are told of contents that can not be right."""

    __slots__ = ("_accounts", "_on_changes_lost", "_on_reply_lost", "_orders", "_requests")

    def __init__(
        self,
        requests: RequestTable,
        orders: OrderFlow,
        accounts: Accounts,
        on_changes_lost: Callable[[str, Exception, int], None],
        on_reply_lost: Callable[[Request, Exception], None],
    ) -> None:
        self._requests = requests
        self._orders = orders
        self._accounts = accounts
        self._on_changes_lost = on_changes_lost
        self._on_reply_lost = on_reply_lost

    def receive(self, frame: bytes, now_ns: int) -> bool:
        """Take a frame; False, and nothing done, where it is for the long way."""
        if frame.startswith(REPLY_START):
            return self._receive_reply(frame, now_ns)
        if not frame.startswith(CHANGES_START):
            return False
        try:
            notice = CHANGES_NOTICE.decode(frame)
        except DECODE_ERRORS:
            return False
        return self.take_notice(notice, now_ns)

    def take_notice(self, notice: ChangesNotice, now_ns: int) -> bool:
        """Take a notification that was read; False, and nothing done, where it is another's than it looks."""
        if notice.id is not None or notice.method != "subscription" or notice.params.channel != CHANGES_CHANNEL:
            return False
        try:
            self._accounts.take_changes(notice.params.data, now_ns)
        except DECODE_ERRORS as error:
            self._on_changes_lost(CHANGES_CHANNEL, error, now_ns)
        return True

    def _receive_reply(self, frame: bytes, now_ns: int) -> bool:
        requests = self._requests
        id_text = frame[_ID_AT : frame.find(b",", _ID_AT, _ID_AT + _ID_DIGITS)]
        request = requests.waiting(int(id_text)) if id_text.isdigit() else None
        if request is None or (request.kind is not _PLACE and request.kind is not _REPLACE):
            return False
        try:
            reply = ORDER_REPLY.decode(frame)
        except DECODE_ERRORS:
            return False
        return self.take_order_reply(request, reply, now_ns)

    def take_order_reply(self, request: Request, reply: OrderReply, now_ns: int) -> bool:
        """Take the reply to an order or an edit that was read; False, and nothing done, where it is another's."""
        requests = self._requests
        if reply.error or requests.waiting(reply.id) is not request:
            return False
        requests.settle(reply.id)
        try:
            self._orders.take_reply(request, reply.result.order, reply.result.trades, now_ns)
        except DECODE_ERRORS as error:
            self._on_reply_lost(request, error)
        return True
