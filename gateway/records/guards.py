"""Journal records of kills by FIX, guards of markets, and adjustments of positions. Tags 145 to 159.

Part of gateway.records, which has the rules for them.
"""

from __future__ import annotations

from gateway.records.base import Record


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


class AdjustmentBegun(Record, frozen=True, tag=147):
    """An account is adjusted until equity covers its maintenance margin times `required_bps` / 10 000."""

    account: str
    required_bps: int
    reason: str


class AdjustmentStepped(Record, frozen=True, tag=148):
    """One step of the ladder (risk.adjust.Step), before it is taken. Amounts and measures in units of 1e-8 USD.

    `mark_units` and `mark_time_ns` are the mark that it was decided on, 0 where it is of no instrument.
    """

    account: str
    number: int
    rung: int
    symbol: str
    side: int
    lots: int
    ticks: int
    order_ids: tuple[str, ...]
    sold: str
    bought: str
    amount_units: int
    before_units: int
    after_units: int
    cost_units: int
    mark_units: int
    mark_time_ns: int


class AdjustmentRefused(Record, frozen=True, tag=149):
    """A check refused an order of an adjustment; `reason` is risk.order.RejectReason."""

    account: str
    symbol: str
    reason: int
    text: str


class AdjustmentEnded(Record, frozen=True, tag=150):
    """No further step: cured, stopped, exhausted or handed_over."""

    account: str
    outcome: str
    reason: str


class CashConverted(Record, frozen=True, tag=151):
    """An account sold one currency to the house for another; both sides of it, in units of 1e-8."""

    account: str
    house: str
    sold: str
    sold_units: int
    bought: str
    bought_units: int


class AccountHandedOver(Record, frozen=True, tag=152):
    """The house took over all positions of an account, (instrument, lots, ticks) each, and then all of its cash."""

    account: str
    house: str
    positions: tuple[tuple[int, int, int], ...]
    reason: str


class Deleveraged(Record, frozen=True, tag=153):
    """A counterparty closed signed lots of `account` at a price, by its rank, times 1e6."""

    account: str
    counterparty: str
    instrument: int
    lots: int
    ticks: int
    rank_ppm: int
    reason: str


class LegsMoved(Record, frozen=True, tag=154):
    """What is held at a venue was set apart, or is counted with the rest again: it is halted, or has been away."""

    venue: str
    is_lost: bool
    reason: str


GuardRecord = (
    PartyActionTaken
    | GuardMoved
    | AdjustmentBegun
    | AdjustmentStepped
    | AdjustmentRefused
    | AdjustmentEnded
    | CashConverted
    | AccountHandedOver
    | Deleveraged
    | LegsMoved
)
