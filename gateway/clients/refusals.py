"""Answers to messages that are refused before anybody looked at what they ask: throttled, or of a killed session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway import records
from gateway.clearing import drop_copy
from gateway.messages import mass_requests, multileg, order_lists
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
    """Refuse a message in the words of its type, which are BusinessMessageReject(j) where it has no others.

    `is_counted` False: its number is of an earlier session. Raises JournalError if it can not be written.
    """
    answers_resend = order_lists.answers_resend if message.msg_type == "E" else _answers_resend
    if is_counted and answers_resend(pipeline, session, message, now_ns):
        return
    seq_in = message.msg_seq_num if is_counted else 0
    _REFUSALS.get(message.msg_type, _refuse_message)(pipeline, session, message, reject, seq_in, now_ns)


def _answers_resend(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> bool:
    return pipeline.answers_resend(session, message, now_ns)


def _refuse_order(pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int) -> None:
    pipeline.monitor.orders_in += 1
    pipeline.commit(refused(session, seq_in, message, reject), now_ns)
    pipeline.monitor.order_refused(reject, now_ns)


def _refuse_change(
    pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int
) -> None:
    """Refuse the cancel or the replace of an order."""
    monitor, fields = pipeline.monitor, OrderFields(message)
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
    ids, text = (order_id, fields.cl_ord_id, fields.orig_cl_ord_id), f"{reject.reason.name} {reject.text}"
    pipeline.commit(records.CancelRefused(session, seq_in, *ids, is_replace, _BROKER_OPTION, text), now_ns)


def _refuse_message(
    pipeline: Pipeline, session: str, message: Message, reject: Reject, seq_in: int, now_ns: int
) -> None:
    ref_id, text = OrderFields(message).cl_ord_id, f"{reject.reason.name} {reject.text}"
    pipeline.commit(records.MessageRefused(session, seq_in, message.msg_type, _OTHER, ref_id, text), now_ns)


_REFUSALS: Final[dict[str, Callable[[Pipeline, str, Message, Reject, int, int], None]]] = {
    "D": _refuse_order,
    "F": _refuse_change,
    "G": _refuse_change,
    "E": order_lists.refuse,
    "K": order_lists.refuse_cancel,
    "q": mass_requests.refuse,
    "AB": multileg.refuse,
    "8": drop_copy.refuse,
}
