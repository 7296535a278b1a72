"""SessionRejectReason(373) with its texts, and the finding that carries one."""

import msgspec

INVALID_TAG_NUMBER = 0
REQUIRED_TAG_MISSING = 1
TAG_NOT_DEFINED_FOR_MESSAGE = 2
UNDEFINED_TAG = 3
TAG_WITHOUT_VALUE = 4
VALUE_OUT_OF_RANGE = 5
INCORRECT_FORMAT = 6
COMP_ID_PROBLEM = 9
SENDING_TIME_PROBLEM = 10
INVALID_MSG_TYPE = 11
TAG_TWICE = 13
TAG_OUT_OF_ORDER = 14
GROUP_OUT_OF_ORDER = 15
GROUP_COUNT = 16
INVALID_APPL_VER_ID = 18
OTHER = 99

TEXTS = {
    INVALID_TAG_NUMBER: "Invalid tag number",
    REQUIRED_TAG_MISSING: "Required tag missing",
    TAG_NOT_DEFINED_FOR_MESSAGE: "Tag not defined for this message type",
    UNDEFINED_TAG: "Undefined tag",
    TAG_WITHOUT_VALUE: "Tag specified without a value",
    VALUE_OUT_OF_RANGE: "Value is incorrect (out of range) for this tag",
    INCORRECT_FORMAT: "Incorrect data format for value",
    COMP_ID_PROBLEM: "CompID problem",
    SENDING_TIME_PROBLEM: "SendingTime accuracy problem",
    INVALID_MSG_TYPE: "Invalid MsgType",
    TAG_TWICE: "Tag appears more than once",
    TAG_OUT_OF_ORDER: "Tag specified out of required order",
    GROUP_OUT_OF_ORDER: "Repeating group fields out of order",
    GROUP_COUNT: "Incorrect NumInGroup count for repeating group",
    INVALID_APPL_VER_ID: "Invalid or unsupported application version",
    OTHER: "Other",
}


class SessionReject(msgspec.Struct, frozen=True, gc=False):
    """Why a message is refused at session level: RefTagID(371), SessionRejectReason(373), Text(58).

    `text` defaults to the reason's name.
    """

    ref_tag: int | None
    reason: int
    text: str = ""

    def __post_init__(self) -> None:
        if not self.text:
            msgspec.structs.force_setattr(self, "text", TEXTS[self.reason])
