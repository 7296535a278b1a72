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


class GuardMoved(Record, frozen=True, tag=146):
    """A market's guard moved, or one of its sources was dropped or taken back; see risk.guards.Reading for the rest.

    `alarms` are the readings that raise it. With the rules of the configuration the decision follows from these fields.
    """

    pair: str
    state: str
    signal: str
    alarms: tuple[str, ...]
    price_e8: int
    sources: int
    outliers: tuple[str, ...]
    divergence_ppm: int
    volatility_ppm: int
    move_ppm: int
    spread_ppm: int
    thinness_ppm: int


GuardRecord = PartyActionTaken | GuardMoved
