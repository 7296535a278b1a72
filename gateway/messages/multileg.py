"""NewOrderMultileg(AB): refused, with the reason.

No venue here takes several legs as one order that is filled whole or not at all. To send them one by one would leave a
client with some of them, which is not what it asked for; it can send a NewOrderList(E), which says that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.translate import refused
from protocols.fix.codec import Message
from risk.order import Reject, RejectReason

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline


def _receive(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    text = "no venue here fills several legs as one order; send the legs as a NewOrderList(E)"
    reject = Reject(RejectReason.MULTILEG_NOT_SUPPORTED, "translate", text)
    refuse(pipeline, session, message, reject, message.msg_seq_num, now_ns)


def refuse(pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int) -> None:
    """Refuse it as an order; its Symbol(55) may be absent, and not in the report."""
    pipeline.monitor.orders_in += 1
    record = refused(session, seq_in, message, reject)
    if record.symbol is None:
        record = msgspec.structs.replace(record, symbol=b"[N/A]")
    pipeline.commit(record, now_ns)
    pipeline.monitor.order_refused(reject, now_ns)


HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {"AB": _receive}
