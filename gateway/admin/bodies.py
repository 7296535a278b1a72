"""What requests of the API hold, and what answers say: the OpenAPI document is made of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.operators.kills import MAX_REASON
from gateway.redaction import redacted

_PRINTABLE = r"^[ -~]+$"
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=MAX_REASON, pattern=_PRINTABLE, description="Kept for ever, without secrets."),
    AfterValidator(redacted),
]
Key = Annotated[str, Field(min_length=1, max_length=64, pattern=_PRINTABLE)]
Confirm = Annotated[str, Field(max_length=64, description="The name, typed again.")]
Number = Annotated[str, Field(pattern=r"^[0-9]{1,19}(\.[0-9]{1,8})?$", description="A decimal number.")]
Rule = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._*?\[\]-]*$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class KillBody(_Body):
    """What stops: no new orders of it, and cancels of all that work. The gateway's own name is the firm of all."""

    scope: Literal["session", "account", "desk", "firm", "venue", "instrument", "hook"]
    name: Name
    reason: Reason
    confirm: Confirm


class StateBody(_Body):
    """What an account may do from now on."""

    account: Name
    state: Literal["trading", "reducing", "halted"]
    reason: Reason
    confirm: Confirm


class LogoutBody(_Body):
    """A session to say goodbye to."""

    session: Name
    reason: Reason
    confirm: Confirm


class LimitBody(_Body):
    """A limit's new value; `was` is the value that the decision was made on."""

    account: Name
    key: Annotated[str, Field(max_length=64, pattern=r"^[a-z_]+$")]
    rule: Rule = ""
    value: Number
    was: Number
    reason: Reason
    confirm: Confirm


class ReleaseBody(_Body):
    """An unknown hold of the hook, whose order has ended."""

    hold: Key
    reason: Reason
    confirm: Confirm


class TransferBody(_Body):
    """What happened to a transfer of collateral; an amount, in wholes of the asset, where it settled."""

    transfer: Key
    happening: Literal["sent", "settled", "failed", "reversed"]
    amount: Number | Literal[""] = ""
    reference: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] = ""
    reason: Reason
    confirm: Confirm


class ApproveBody(_Body):
    """A transfer of collateral that awaits approval."""

    transfer: Key
    reason: Reason
    confirm: Confirm


class MarginBody(_Body):
    """A decision on an account's margin; `upheld` is of the disputed call that it names."""

    account: Name
    decision: Literal["reinstated", "handed-over", "exhausted", "upheld"]
    call: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] = ""
    reason: Reason
    confirm: Confirm


class BreakBody(_Body):
    """An open break that a person answers for; its number is typed again."""

    number: Annotated[int, Field(ge=1, le=2**31)]
    reason: Reason
    confirm: Confirm


class DecideBody(_Body):
    """The name that the proposal is about, typed again."""

    confirm: Confirm


class AlertmanagerAlert(BaseModel):
    """One alert of Alertmanager's webhook; what else it says is passed over."""

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[str, str], Field(max_length=64)] = {}
    annotations: Annotated[dict[str, str], Field(max_length=64)] = {}
    fingerprint: Annotated[str, Field(max_length=64)] = ""


class AlertmanagerBody(BaseModel):
    """Alertmanager's webhook, version 4."""

    version: Literal["4"]
    alerts: Annotated[list[AlertmanagerAlert], Field(max_length=200)]


class Problem(BaseModel):
    """Why something was not done."""

    detail: str


class Invalid(BaseModel):
    """What is wrong with a request, by place; its values are not repeated."""

    detail: list[dict[str, Any]]


class Done(BaseModel):
    """What came of an act."""

    model_config = ConfigDict(extra="allow")

    is_audited: bool = True


class SharedDone(Done):
    """done: in force; pending: waits for a second person as the proposal of that number."""

    outcome: Literal["done", "pending"]
    proposal: int | None


class Health(BaseModel):
    """Whether it is well."""

    ok: bool
    because: str = ""


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token, or nobody's."},
    403: {"model": Problem, "description": "The role does not suffice."},
    413: {"model": Problem, "description": "A longer request than any of these."},
    422: {"model": Invalid, "description": "Not a request as described here."},
    429: {"model": Problem, "description": "Too many requests."},
    503: {"model": Problem, "description": "No gateway runs, or the audit log can not be written."},
}
ACT_PROBLEMS: dict[int | str, dict[str, Any]] = PROBLEMS | {
    400: {"model": Problem, "description": "A body that is not even text."},
    404: {"model": Problem, "description": "There is no such thing."},
    409: {"model": Problem, "description": "Not confirmed, or the gateway refuses it; the text says why."},
}
