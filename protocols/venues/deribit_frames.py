"""The frame of a limit order, which is nearly every order, in one piece; `_frames.pyx` is the compiled twin.

`limit_frame` gives the bytes that deribit_encode.place_body gives behind an id, or None: then that has to be asked, and
says what is wrong.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.venues.deribit_encode import MAX_LABEL
from protocols.venues.deribit_encode import POST_ONLY as _POST_ONLY
from protocols.venues.deribit_tables import TIMES_IN_FORCE

MAX_SYMBOL: Final = 64
TIMES: Final = {text: text.encode() for text in TIMES_IN_FORCE}
HEAD: Final = b'{"jsonrpc":"2.0","id":'
BUY: Final = b',"method":"private/buy","params":{"instrument_name":"'
SELL: Final = b',"method":"private/sell","params":{"instrument_name":"'
AMOUNT: Final = b'","amount":'
TYPE: Final = b',"type":"limit","time_in_force":"'
LABEL: Final = b'","label":"'
PRICE: Final = b'","price":'
POST_ONLY: Final = _POST_ONLY.encode()

_QUOTABLE = re.compile(r"[ !#-\[\]-~]{1,64}")
_NUMBER = re.compile(rb"(?=[0-9.]*[1-9])(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?")
assert MAX_LABEL == MAX_SYMBOL == 64, "_QUOTABLE says so too"


def limit_frame(
    request_id: int,
    label: str,
    symbol: str,
    is_buy: bool,
    quantity: str | bytes,
    price: str | bytes | None,
    time_in_force: str,
    post_only: bool,
) -> bytes | None:
    """Return a limit order's frame; None where an argument may not stand in one as it is."""
    time = TIMES.get(time_in_force)
    if (
        time is None
        or type(quantity) is not bytes
        or type(price) is not bytes
        or not (_QUOTABLE.fullmatch(label) and _QUOTABLE.fullmatch(symbol))
        or not (_NUMBER.fullmatch(quantity) and _NUMBER.fullmatch(price))
    ):
        return None
    return b"".join(
        (
            HEAD, b"%d" % request_id, BUY if is_buy else SELL, symbol.encode(), AMOUNT, quantity, TYPE, time, LABEL,
            label.encode(), PRICE, price, POST_ONLY if post_only else b"", b"}}",
        )
    )  # fmt: skip
