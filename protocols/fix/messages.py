"""Layouts of what we send."""

from collections.abc import Mapping

from protocols.fix import tags
from protocols.fix.codec import Layout

LOGON = Layout(
    tags.LOGON,
    (
        tags.RAW_DATA_LENGTH,
        tags.RAW_DATA,
        tags.ENCRYPT_METHOD,
        tags.HEART_BT_INT,
        tags.RESET_SEQ_NUM_FLAG,
        tags.USERNAME,
        tags.PASSWORD,
        tags.NEXT_EXPECTED_MSG_SEQ_NUM,
    ),
)
HEARTBEAT = Layout(tags.HEARTBEAT, (tags.TEST_REQ_ID,))
TEST_REQUEST = Layout(tags.TEST_REQUEST, (tags.TEST_REQ_ID,))
RESEND_REQUEST = Layout(tags.RESEND_REQUEST, (tags.BEGIN_SEQ_NO, tags.END_SEQ_NO))
SEQUENCE_RESET = Layout(tags.SEQUENCE_RESET, (tags.NEW_SEQ_NO, tags.GAP_FILL_FLAG))
LOGOUT = Layout(tags.LOGOUT, (tags.TEXT,))
REJECT = Layout(
    tags.REJECT,
    (tags.REF_SEQ_NUM, tags.TEXT, tags.REF_TAG_ID, tags.REF_MSG_TYPE, tags.SESSION_REJECT_REASON),
)

BUSINESS_MESSAGE_REJECT = Layout(
    tags.BUSINESS_MESSAGE_REJECT,
    (
        tags.REF_SEQ_NUM,
        tags.TEXT,
        tags.REF_MSG_TYPE,
        tags.BUSINESS_REJECT_REF_ID,
        tags.BUSINESS_REJECT_REASON,
    ),
)

# Why an order was refused, beside OrdRejReason(103): user-defined tags, listed in the rules of engagement.
REFUSAL_TAGS = (
    tags.REJECT_CODE,
    tags.REJECT_CHECK,
    tags.REJECT_LIMIT,
    tags.REJECT_OBSERVED,
    tags.REJECT_REQUIRED,
    tags.REJECT_MARK_AGE_MS,
)

EXECUTION_REPORT = Layout(
    tags.EXECUTION_REPORT,
    (
        tags.ACCOUNT,
        tags.AVG_PX,
        tags.CL_ORD_ID,
        tags.CUM_QTY,
        tags.EXEC_ID,
        tags.LAST_PX,
        tags.LAST_QTY,
        tags.ORDER_ID,
        tags.ORDER_QTY,
        tags.ORD_STATUS,
        tags.ORD_TYPE,
        tags.ORIG_CL_ORD_ID,
        tags.PRICE,
        tags.SIDE,
        tags.SYMBOL,
        tags.TEXT,
        tags.TIME_IN_FORCE,
        tags.TRANSACT_TIME,
        tags.ORD_REJ_REASON,
        tags.EXEC_TYPE,
        tags.LEAVES_QTY,
        *REFUSAL_TAGS,
    ),
)

# What few reports need beside: stops, expiry, lists, busts, status of many, copies.
FULL_EXECUTION_REPORT = Layout(
    tags.EXECUTION_REPORT,
    tuple(
        sorted(
            {
                *EXECUTION_REPORT.tags,
                tags.EXEC_REF_ID,
                tags.LIST_ID,
                tags.STOP_PX,
                tags.EXPIRE_TIME,
                tags.EXEC_RESTATEMENT_REASON,
                tags.MASS_STATUS_REQ_ID,
                tags.COPY_MSG_INDICATOR,
                tags.TOT_NUM_REPORTS,
                tags.LAST_RPT_REQUESTED,
            }
        )
    ),
)
# FULL_EXECUTION_REPORT's fields by where their values are among EXECUTION_REPORT's; -1 for those that are not there.
_PLACES = tuple(
    EXECUTION_REPORT.tags.index(tag) if tag in EXECUTION_REPORT.tags else -1 for tag in FULL_EXECUTION_REPORT.tags
)


def full_values(
    values: tuple[bytes | int | None, ...], further: Mapping[int, bytes | int | None]
) -> tuple[bytes | int | None, ...]:
    """Return values of FULL_EXECUTION_REPORT: those of EXECUTION_REPORT; `further` ones, by tag, go before them."""
    return tuple(
        [
            further[tag] if tag in further else None if place < 0 else values[place]
            for tag, place in zip(FULL_EXECUTION_REPORT.tags, _PLACES, strict=True)
        ]
    )


ORDER_CANCEL_REJECT = Layout(
    tags.ORDER_CANCEL_REJECT,
    (
        tags.CL_ORD_ID,
        tags.ORDER_ID,
        tags.ORD_STATUS,
        tags.ORIG_CL_ORD_ID,
        tags.TEXT,
        tags.TRANSACT_TIME,
        tags.CXL_REJ_REASON,
        tags.CXL_REJ_RESPONSE_TO,
    ),
)
