"""How each venue stands, for status lines: its state, and the age of what it tells of each instrument."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from typing import Any, Final

from gateway.ledger import Ledger
from gateway.venues.link import SessionLink
from risk.marks import Market

NS_PER_MS: Final = 1_000_000
LISTED_AT_MOST: Final = 20
# Marks looked at in a step: some 0.2 us each.
MARKS_A_STEP: Final = 1_000

# By venue, then by symbol, open instruments only: how old the mark is, None where there is none.
Ages = dict[str, dict[str, int | None]]


def ages_in_steps(ages: Ages, market: Market, ledger: Ledger, now_ns: int) -> Iterator[None]:
    """Fill in the ages of all marks, some at a time: there may be thousands."""
    instruments = ledger.instruments
    for index in range(len(instruments)):
        instrument, mark = instruments[index], market.marks[index]
        if instrument.is_open:
            found = ages.setdefault(instrument.venue, {})
            found[instrument.symbol] = None if mark is None else now_ns - mark.time_ns
        if index % MARKS_A_STEP == MARKS_A_STEP - 1:
            yield


def state_of(link: SessionLink, market: Market, ledger: Ledger, now_ns: int, ages: Ages | None = None) -> str:
    """Return connecting, authenticating, reconciling, live, stale or halted. `ages`, where they are known already.

    "stale": orders could go out, and no instrument has a mark that they may be compared with. "reconciling" is also
    what a live session does whose positions differed, until they were compared again.
    """
    if link.state_name != "live":
        return link.state_name
    if link.venue not in market.live_venues:
        return "reconciling"
    own = _ages_ns(link.venue, market, ledger, now_ns, ages)
    return "live" if not own or len(_late(own, market, ledger)) < len(own) else "stale"


def row_of(link: SessionLink, market: Market, ledger: Ledger, now_ns: int, ages: Ages | None = None) -> dict[str, Any]:
    """Return what an operator sees of one venue; `stale` names instruments, the oldest first.

    `feed_age_ms` is the age of the youngest mark of all instruments, `oldest_mark_ms` of the oldest that there is; None
    where there is none.
    """
    own = _ages_ns(link.venue, market, ledger, now_ns, ages)
    late = _late(own, market, ledger)
    known = [age for age in own.values() if age is not None]
    oldest = nsmallest(
        LISTED_AT_MOST, late, key=lambda symbol: (late[symbol] is not None, -(late[symbol] or 0), symbol)
    )
    session = link.session
    return {
        "state": state_of(link, market, ledger, now_ns, ages),
        "lanes": {lane: lane in link.lanes_up for lane in session.lanes},
        "instruments": len(own),
        "feed_age_ms": _ms(min(known, default=None)),
        "oldest_mark_ms": _ms(max(known, default=None)),
        "marks_fresh": len(own) - len(late),
        "stale": {symbol: _ms(late[symbol]) for symbol in oldest},
        "clock_offset_ms": _ms(session.clock_offset_ns),
        "orders_waiting": link.orders_waiting,
        "margin_tiers": len(link.margin_tiers),
        "malformed_frames": session.malformed_frames,
        "unmatched_replies": session.unmatched_replies,
    }


def _ages_ns(venue: str, market: Market, ledger: Ledger, now_ns: int, known: Ages | None) -> dict[str, int | None]:
    if known is None:
        known = {}
        for _ in ages_in_steps(known, market, ledger, now_ns):
            pass
    return known.get(venue, {})


def _late(ages: dict[str, int | None], market: Market, ledger: Ledger) -> dict[str, int | None]:
    """Return those of which there is no mark that orders may be compared with."""
    limit_ns, by_symbol = market.mark_age_limit_ns, ledger.by_symbol
    return {symbol: age for symbol, age in ages.items() if age is None or age > limit_ns(by_symbol[symbol].index)}


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / NS_PER_MS
