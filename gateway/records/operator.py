"""Journal records of what people decide while a gateway runs. Part of gateway.records; tags 60, 61 and 140 to 144."""

from __future__ import annotations

from gateway.records.base import Record


class Killed(Record, frozen=True, tag=60):
    """A person stopped something: no new orders, and all that works is marked as cancelled. Only a person lifts it.

    `accounts` are those of a firm or a desk at that time.
    """

    scope: str
    name: str
    who: str
    reason: str
    accounts: tuple[str, ...] = ()


class Reinstated(Record, frozen=True, tag=61):
    """A person lifted a kill."""

    scope: str
    name: str
    who: str
    reason: str


class LimitMoved(Record, frozen=True, tag=140):
    """A person changed a limit of an account; the configuration's own value was `configured` then. Decimals as text.

    `rule` is the pattern or symbol of an instrument's limit, empty for a limit of the account. `approved_by` is the
    second person, where there was one.
    """

    account: str
    rule: str
    key: str
    value: str
    configured: str
    who: str
    approved_by: str
    reason: str


OperatorRecord = Killed | Reinstated | LimitMoved
