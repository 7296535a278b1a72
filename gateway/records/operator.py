"""Journal records of what people decide while a gateway runs; part of gateway.records. Tags 140 to 144."""

from __future__ import annotations

from gateway.records.base import Record


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


OperatorRecord = LimitMoved
