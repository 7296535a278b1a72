"""Answers to messages that are refused before anybody looked at what they ask: throttled, or of a killed session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.translate import OrderFields, refused
from protocols.fix.codec import Message
from risk.order import Reject

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# CxlRejReason(102) 2 is broker option, BusinessRejectReason(380) 0 is other.
_BROKER_OPTION: Final = 2
_OTHER: Final = 0


def refuse(
    pipeline: Pipeline, session: str, message: Message, reject: Reject, now_ns: int, *, is_counted: bool = True
) -> None:
    """Refuse a message in the words of its type: a rejected order, OrderCancelReject(9), else BusinessMessageReject(j).

    `is_counted` False: its number is of an earlier session. Raises JournalError if it can not be written.
    """
    seq_in = message.msg_seq_num if is_counted else 0
    monitor, fields = pipeline.monitor, OrderFields(message)
    if is_counted and pipeline.answers_resend(session, message, now_ns):
        return
    if message.msg_type == "D":
        monitor.orders_in += 1
        pipeline.commit(refused(session, seq_in, message, reject), now_ns)
        monitor.order_refused(reject, now_ns)
        return
    text = f"{reject.reason.name} {reject.text}"
    if message.msg_type not in ("F", "G"):
        record = records.MessageRefused(session, seq_in, message.msg_type, _OTHER, fields.cl_ord_id, text)
        pipeline.commit(record, now_ns)
        return
    is_replace = message.msg_type == "G"
    if is_replace:
        monitor.replaces_in += 1
        monitor.replaces_refused += 1
    else:
        monitor.cancels_in += 1
        monitor.cancels_refused += 1
    order = pipeline.find(session, fields)
    # Without a number it would read as the venue's refusal of what the order waits for.
    order_id = "" if order is None or not seq_in else order.order_id
    ids = (order_id, fields.cl_ord_id, fields.orig_cl_ord_id)
    pipeline.commit(records.CancelRefused(session, seq_in, *ids, is_replace, _BROKER_OPTION, text), now_ns)
