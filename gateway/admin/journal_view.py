"""What the journal tells of orders, refusals and breaks: the last of them, with the numbers behind each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway import records
from gateway.journal import Record
from gateway.ledger import instrument_of
from gateway.records.clearing import BreakOpened, BreakResolved
from gateway.records.margin import (
    AssignmentCancelled,
    CollateralAssigned,
    MarginCallAnswered,
    MarginCalled,
    MarginCallMoved,
    MarginStateMoved,
    TransferBegun,
    TransferMoved,
)
from gateway.redaction import redacted
from risk.instrument import UNITS_PER_WHOLE, Instrument
from risk.order import RejectReason

EVENTS_KEPT: Final = 2_000
BREAKS_KEPT: Final = 200
# Orders whose account and instrument are known when they are filled; the oldest is forgotten.
ORDERS_KEPT: Final = 50_000
# Transfers whose account is known when they move.
TRANSFERS_KEPT: Final = 10_000
_SIDES: Final = {1: "buy", 2: "sell"}
_REASONS: Final = {int(reason): reason.name for reason in RejectReason}

Event = dict[str, Any]


class JournalView:
    """Fed every record, in order; remembers a bounded part of what they say."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.breaks: deque[Event] = deque(maxlen=BREAKS_KEPT)
        self.last_sequence = 0
        self.last_time_ns = 0
        self.unread = 0  # records of a newer version, or that make no sense to this one
        self._instruments: dict[int, Instrument] = {}
        self._orders: dict[str, Event] = {}
        self._transfers: dict[str, str] = {}

    def take(self, entry: Record) -> None:
        """Take up one record; most are of no interest here and are not even decoded."""
        self.last_sequence, self.last_time_ns = entry.sequence, entry.time_ns
        handler = _HANDLERS.get(entry.record_type)
        if handler is None:
            return
        try:
            told = handler(self, records.decode(entry.payload))
        except (msgspec.DecodeError, LookupError, ValueError):
            self.unread += 1
            return
        if told is not None:
            self.events.append({"sequence": entry.sequence, "time_ns": entry.time_ns} | told)

    def recent(self, after: int, limit: int, kind: str = "", account: str = "") -> list[Event]:
        """Return the newest events after a sequence number, the newest first."""
        found: list[Event] = []
        for event in reversed(self.events):
            if event["sequence"] <= after or len(found) >= limit:
                break
            if kind in ("", event["event"]) and account in ("", event.get("account")):
                found.append(event)
        return found

    def _listed(self, record: records.InstrumentListed) -> None:
        self._instruments[record.index] = instrument_of(record)

    def _approved(self, record: records.OrderApproved) -> Event:
        instrument = self._instruments[record.instrument]
        known: Event = {
            "order_id": record.order_id,
            "session": record.session,
            "account": record.account,
            "symbol": instrument.symbol,
            "side": _SIDES.get(record.side, ""),
            "instrument": record.instrument,
        }
        self._orders[record.order_id] = known
        if len(self._orders) > ORDERS_KEPT:
            del self._orders[next(iter(self._orders))]
        return self._of("accepted", record.order_id, record.lots, record.ticks)

    def _refused(self, record: records.OrderRefused) -> Event:
        sent = {name: _text(getattr(record, name)) for name in ("account", "symbol", "quantity", "price", "cl_ord_id")}
        return {
            "event": "rejected",
            "session": record.session,
            **sent,
            "side": {"1": "buy", "2": "sell"}.get(_text(record.side), ""),
            "reason": _REASONS.get(record.reason, str(record.reason)),
            "code": record.reason,
            "check": record.check,
            "text": redacted(record.text),
            "limit": record.limit,
            "observed": record.observed,
            "required": record.required,
            "mark_age_ms": None if record.mark_age_ns is None else record.mark_age_ns / 1e6,
        }

    def _filled(self, record: records.Filled) -> Event:
        return self._of("filled", record.order_id, record.lots, record.ticks)

    def _cancelled(self, record: records.Cancelled) -> Event:
        return self._of("cancelled", record.order_id) | {"text": redacted(record.reason)}

    def _venue_rejected(self, record: records.VenueRejected) -> Event:
        text = redacted(f"{record.code} {record.text}")
        return self._of("venue rejected", record.order_id) | {"text": text}

    def _lost(self, record: records.OrderLost) -> Event:
        return self._of("unknown", record.order_id)

    def _broke(self, record: records.BreakRaised) -> Event:
        told = {"event": "break", "venue": record.venue, "symbol": record.symbol, "text": redacted(record.text)}
        self.breaks.append({"sequence": self.last_sequence, "time_ns": self.last_time_ns} | told)
        return told

    def _killed(self, record: records.Killed) -> Event:
        return self._decided("killed", record)

    def _reinstated(self, record: records.Reinstated) -> Event:
        return self._decided("reinstated", record)

    def _decided(self, what: str, record: records.Killed | records.Reinstated) -> Event:
        account = record.name if record.scope == "account" else ""
        text = redacted(f"{record.scope} {record.name} by {record.who}: {record.reason}")
        return {"event": what, "account": account, "text": text}

    def _limit_moved(self, record: records.LimitMoved) -> Event:
        by = f"{record.who}, approved by {record.approved_by}" if record.approved_by else record.who
        text = redacted(f"{record.key} {record.rule} {record.value} by {by}: {record.reason}")
        return {"event": "limit", "account": record.account, "text": text}

    def _state_moved(self, record: records.AccountStateMoved) -> Event:
        return {"event": record.state, "account": record.account, "text": redacted(record.reason)}

    def _margin_moved(self, record: MarginStateMoved) -> Event:
        text = f"equity {_usd(record.equity_units)}, maintenance {_usd(record.maintenance_units)}"
        reason = redacted(record.reason)
        return {"event": "margin", "account": record.account, "text": f"{record.state}: {reason}; {text}"}

    def _called(self, record: MarginCalled) -> Event:
        equity, wanted = _usd(record.equity_units), _usd(record.requirement_units)
        text = f"{record.call_id}: {_usd(record.amount_units)} called, equity {equity} of {wanted}"
        return {"event": "call", "account": record.account, "text": text}

    def _call_moved(self, record: MarginCallMoved) -> Event:
        text = f"{record.call_id} {record.happening}: {redacted(record.reason)}"
        return {"event": "call", "account": record.account, "text": text}

    def _transfer_begun(self, record: TransferBegun) -> Event:
        source = f"{record.source_place} {record.source_name}".rstrip()
        target = f"{record.target_place} {record.target_name}".rstrip()
        text = f"{_amount(record.units)} {record.asset} from {source} to {target} ({redacted(record.key)})"
        self._transfers[record.key] = record.account
        if len(self._transfers) > TRANSFERS_KEPT:
            del self._transfers[next(iter(self._transfers))]
        return {"event": "transfer", "account": record.account, "text": text}

    def _transfer_moved(self, record: TransferMoved) -> Event:
        amount = f" {_amount(record.units)}" if record.units else ""
        text = redacted(f"{record.key} {record.happening}{amount}: {record.reason}")
        return {"event": "transfer", "account": self._transfers.get(record.key, ""), "text": text}

    def _opened_break(self, record: BreakOpened) -> Event:
        text = f"{record.kind}: ours {record.ours or 'none'}, theirs {record.theirs or 'none'}"
        told = {"event": "break", "account": record.account, "venue": record.source, "symbol": record.subject}
        return told | {"text": redacted(text)}

    def _resolved_break(self, record: BreakResolved) -> Event:
        told = {"event": "break over", "account": record.account, "venue": record.source, "symbol": record.subject}
        return told | {"text": redacted(f"{record.text} {record.who}".rstrip())}

    def _of(self, what: str, order_id: str, lots: int | None = None, ticks: int | None = None) -> Event:
        order = self._orders.get(order_id, {"order_id": order_id})
        told: Event = {"event": what} | {key: value for key, value in order.items() if key != "instrument"}
        if lots is not None and ticks is not None and "instrument" in order:
            instrument = self._instruments[order["instrument"]]
            told |= {"quantity": f"{instrument.quantity(lots):f}", "price": f"{instrument.price(ticks):f}"}
        return told


def _amount(units: int) -> str:
    return f"{units / UNITS_PER_WHOLE:,.8f}".rstrip("0").rstrip(".")


def _usd(units: int) -> str:
    return f"{units / UNITS_PER_WHOLE:,.0f} USD"


def _text(value: bytes | None) -> str:
    return "" if value is None else redacted(value[:64].decode("ascii", "replace"))


_HANDLERS: Final[dict[int, Callable[[JournalView, Any], Event | None]]] = {
    records.TAGS[record_type]: handler
    for record_type, handler in (
        (records.InstrumentListed, JournalView._listed),
        (records.OrderApproved, JournalView._approved),
        (records.OrderApprovedWithTerms, JournalView._approved),
        (records.OrderRefused, JournalView._refused),
        (records.ListOrderRefused, JournalView._refused),
        (records.Filled, JournalView._filled),
        (records.Cancelled, JournalView._cancelled),
        (records.VenueRejected, JournalView._venue_rejected),
        (records.OrderLost, JournalView._lost),
        (records.BreakRaised, JournalView._broke),
        (records.Killed, JournalView._killed),
        (records.Reinstated, JournalView._reinstated),
        (records.AccountStateMoved, JournalView._state_moved),
        (records.LimitMoved, JournalView._limit_moved),
        (MarginStateMoved, JournalView._margin_moved),
        (MarginCalled, JournalView._called),
        (MarginCallMoved, JournalView._call_moved),
        (MarginCallAnswered, JournalView._call_moved),
        (TransferBegun, JournalView._transfer_begun),
        (CollateralAssigned, JournalView._transfer_begun),
        (TransferMoved, JournalView._transfer_moved),
        (AssignmentCancelled, JournalView._transfer_moved),
        (BreakOpened, JournalView._opened_break),
        (BreakResolved, JournalView._resolved_break),
    )
}
