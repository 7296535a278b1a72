"""The one import switch between the compiled codec and its plain twin; everybody imports from here."""

import os
from typing import TYPE_CHECKING

from protocols.fix.plain import (
    DATA_OF_LENGTH,
    MAX_BUFFERED_BYTES,
    MAX_FIELDS,
    MAX_MESSAGE_BYTES,
    assemble,
    check_sum,
    encode_fields,
    group_values,
)

__all__ = [
    "COMPILED",
    "DATA_OF_LENGTH",
    "MAX_BUFFERED_BYTES",
    "MAX_FIELDS",
    "MAX_MESSAGE_BYTES",
    "Framer",
    "Header",
    "Layout",
    "Message",
    "Screen",
    "assemble",
    "check_sum",
    "count_steps",
    "decode",
    "encode",
    "encode_fields",
    "format_decimal",
    "format_hundredths",
    "format_timestamp",
    "frame",
    "group_values",
    "parse_decimal",
    "parse_timestamp",
    "possible_duplicate",
]

COMPILED = False
if not TYPE_CHECKING and os.environ.get("MARGINGATE_PURE") != "1":
    try:
        from protocols.fix._codec import (
            Framer,
            Header,
            Layout,
            Message,
            Screen,
            count_steps,
            decode,
            encode,
            format_decimal,
            format_hundredths,
            format_timestamp,
            frame,
            parse_decimal,
            parse_timestamp,
            possible_duplicate,
        )

        COMPILED = True
    except ImportError:
        pass

if TYPE_CHECKING or not COMPILED:
    from protocols.fix.duplicates import possible_duplicate
    from protocols.fix.plain import Header, Layout, Message, decode, encode, frame
    from protocols.fix.plain_framer import Framer
    from protocols.fix.screen import Screen
    from protocols.fix.values import (
        count_steps,
        format_decimal,
        format_hundredths,
        format_timestamp,
        parse_decimal,
        parse_timestamp,
    )
