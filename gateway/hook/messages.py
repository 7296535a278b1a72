"""The hook's protocol: what is asked and answered, as typed structs and as JSON.

Quantities, prices and fees are decimal text, so that nothing is a binary fraction on its way; times are integers. A
request is refused as a whole where a field is unknown, missing, of another type or too long. docs/hook.md is for
whoever writes a client.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from gateway.redaction import redacted
from risk.order import Reject, RejectReason

MAX_TEXT: Final = 64
# What is told of a request that is not understood: enough to find the mistake, too little to send anything back with.
MAX_REASON: Final = 200
MAX_TIMEOUT_MS: Final = 86_400_000
MAX_BASKET: Final = 200

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Correlation = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)] | Text | None


class Request(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """Base of what a client may ask; `id` comes back in the answer."""

    id: Correlation = None


class Hello(Request, frozen=True, gc=False, kw_only=True, tag="hello"):
    """Who a connection belongs to; the first request on each."""

    client: Text
    token: Annotated[str, msgspec.Meta(max_length=256)] = ""

    def __repr__(self) -> str:
        return f"Hello(client={self.client!r}, token=<hidden>)"


class Check(Request, frozen=True, gc=False, kw_only=True, tag="check"):
    """Would this order pass now? Nothing is held, counted or written. `price` is for limit orders."""

    symbol: Text
    side: Literal["buy", "sell"]
    quantity: Text
    price: Text = ""
    type: Literal["limit", "market"] = "limit"
    account: Text = ""
    key: Text = ""
    reduce_only: bool = False


class BasketOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """One order of a basket: as in a Check, of the basket's account."""

    symbol: Text
    side: Literal["buy", "sell"]
    quantity: Text
    price: Text = ""
    type: Literal["limit", "market"] = "limit"
    key: Text = ""
    reduce_only: bool = False


class CheckBasket(Request, frozen=True, gc=False, kw_only=True, tag="check_basket"):
    """Would all these orders pass now, each with those before it working? All or none; nothing is held or written."""

    orders: Annotated[tuple[BasketOrder, ...], msgspec.Meta(min_length=1, max_length=MAX_BASKET)]
    account: Text = ""


class HoldOrder(Request, frozen=True, gc=False, kw_only=True, tag="hold"):
    """Check an order and hold its margin. `key` is its ClOrdID: the same key again is answered as before."""

    key: Text
    symbol: Text
    side: Literal["buy", "sell"]
    quantity: Text
    price: Text = ""
    type: Literal["limit", "market"] = "limit"
    account: Text = ""
    reduce_only: bool = False
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)] | None = None


class Fill(Request, frozen=True, gc=False, kw_only=True, tag="fill"):
    """The order of a hold, named by `hold` or by `key`, was executed. `execution` is the venue's id of the trade."""

    execution: Text
    quantity: Text
    price: Text
    fee: Text = "0"
    hold: Text = ""
    key: Text = ""
    account: Text = ""


class Release(Request, frozen=True, gc=False, kw_only=True, tag="release"):
    """The order of a hold has ended: what is left of it will not be filled any more."""

    hold: Text = ""
    key: Text = ""
    account: Text = ""


class Query(Request, frozen=True, gc=False, kw_only=True, tag="query"):
    """How does a hold stand? With neither `hold` nor `key`: all for which margin is held, oldest first."""

    hold: Text = ""
    key: Text = ""
    account: Text = ""


Order = Check | HoldOrder
AnyRequest = Hello | Check | CheckBasket | HoldOrder | Fill | Release | Query


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Base of answers; `op` says what to."""

    id: int | str | None
    ok: bool
    op: str


class Refused(Answer, frozen=True, gc=False):
    """Nothing was done. `code` and `reason` are those of risk.order.RejectReason."""

    code: int
    reason: str
    check: str
    text: str
    limit: float | None = None
    observed: float | None = None
    required: float | None = None
    mark_age_ns: int | None = None


class Welcome(Answer, frozen=True, gc=False):
    """The connection is its client's from here on."""

    client: str
    accounts: tuple[str, ...]
    max_message_bytes: int


class Passed(Answer, frozen=True, gc=False):
    """The order would pass. Equity, and initial margin with it working, in `currency`; `terms` say at what price."""

    equity: float
    initial_margin: float
    currency: str = "USD"
    terms: str = ""


class Held(Answer, frozen=True, gc=False):
    """The order is held, and may be sent, at no worse than `price`, until `deadline_ns` (ns since the epoch)."""

    hold: str
    key: str
    account: str
    symbol: str
    side: str
    quantity: str
    price: str
    deadline_ns: int


class Standing(msgspec.Struct, frozen=True, gc=False):
    """How a hold stands."""

    hold: str
    key: str
    account: str
    symbol: str
    side: str
    quantity: str
    price: str
    state: str
    filled: str
    leaves: str
    deadline_ns: int


class Told(Answer, frozen=True, gc=False):
    """What a hold is after a fill, a release or a query. `is_new` False: that was so already, nothing changed."""

    is_new: bool
    hold: Standing


class Listed(Answer, frozen=True, gc=False):
    """Holds for which margin is held; `is_complete` False where there are more."""

    is_complete: bool
    holds: list[Standing]


class Unknown(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="unknown"):
    """A hold's deadline has passed: say how its order ended."""

    hold: Standing


class Stop(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="stop"):
    """A person has killed this client or an account: cancel the orders of these holds, and tell how they ended."""

    scope: str
    name: str
    reason: str
    holds: list[str]


AnyAnswer = Refused | Welcome | Passed | Held | Told | Listed
Event = Unknown | Stop

_decoder: Final[msgspec.json.Decoder[AnyRequest]] = msgspec.json.Decoder(AnyRequest)
_correlations: Final = msgspec.json.Decoder(type=dict[str, msgspec.Raw])
_correlation: Final = msgspec.json.Decoder(type=Correlation)
encode: Final = msgspec.json.Encoder().encode
_NOT_UNDERSTOOD: Final = RejectReason.REQUEST_NOT_UNDERSTOOD


def decode(frame: bytes) -> AnyRequest | Refused:
    """Return the request, or the answer to what is none."""
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        text = redacted(str(error).encode("ascii", "replace").decode()[:MAX_REASON])
        return Refused(_correlation_of(frame), False, "", int(_NOT_UNDERSTOOD), _NOT_UNDERSTOOD.name, "request", text)


def _correlation_of(frame: bytes) -> int | str | None:
    """Return the `id` of something that is no request, where it has one: its sender waits for that."""
    try:
        found = _correlations.decode(frame).get("id")
        return None if found is None else _correlation.decode(found)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def refused(request: Request, op: str, reject: Reject) -> Refused:
    """Return a refusal as the answer to a request."""
    reason = reject.reason
    numbers = (reject.limit, reject.observed, reject.required, reject.mark_age_ns)
    return Refused(request.id, False, op, reason._value_, reason._name_, reject.check, reject.text, *numbers)
