"""Journal records of kills by FIX, guards of markets, and adjustments of positions. Tags 145 to 159.

Part of gateway.records, which has the rules for them.
"""

from __future__ import annotations

from gateway.record_base import Record


class PartyActionTaken(Record, frozen=True, tag=145):
    """A PartyActionRequest(DH) was acted on or refused; where it killed, Killed came before. Codes are the report's."""

    session: str
    seq_in: int
    request_id: str
    action: str
    scope: str
    name: str
    response: int
    reason: int
    text: str


GuardRecord = PartyActionTaken
