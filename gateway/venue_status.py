"""How each venue stands, for status lines: its state, and the age of what it tells of each instrument."""

from __future__ import annotations

from typing import Any, Final

from gateway.ledger import Ledger
from gateway.venue_link import SessionLink
from risk.marks import Market

NS_PER_MS: Final = 1_000_000
LISTED_AT_MOST: Final = 20


def state_of(link: SessionLink, market: Market, ledger: Ledger, now_ns: int) -> str:
    """Return connecting, authenticating, reconciling, live, stale or halted.

    "stale": orders could go out, and no instrument has a mark that they may be compared with. "reconciling" is also
    what a live session does whose positions differed, until they were compared again.
    """
    if link.state_name != "live":
        return link.state_name
    if link.venue not in market.live_venues:
        return "reconciling"
    ages = _ages_ns(link.venue, market, ledger, now_ns)
    return "live" if not ages or len(_late(ages, market, ledger)) < len(ages) else "stale"


def row_of(link: SessionLink, market: Market, ledger: Ledger, now_ns: int) -> dict[str, Any]:
    """Return what an operator sees of one venue; `stale` names instruments, the oldest first.

    `feed_age_ms` is the age of the youngest mark of all instruments, None where there is none.
    """
    ages = _ages_ns(link.venue, market, ledger, now_ns)
    late = _late(ages, market, ledger)
    youngest = min((age for age in ages.values() if age is not None), default=None)
    oldest = sorted(late, key=lambda symbol: (late[symbol] is not None, -(late[symbol] or 0), symbol))
    session = link.session
    return {
        "state": state_of(link, market, ledger, now_ns),
        "lanes": {lane: lane in link.lanes_up for lane in session.lanes},
        "instruments": len(ages),
        "feed_age_ms": _ms(youngest),
        "marks_fresh": len(ages) - len(late),
        "stale": {symbol: _ms(late[symbol]) for symbol in oldest[:LISTED_AT_MOST]},
        "clock_offset_ms": _ms(session.clock_offset_ns),
        "orders_waiting": link.orders_waiting,
        "margin_tiers": len(link.margin_tiers),
        "malformed_frames": session.malformed_frames,
        "unmatched_replies": session.unmatched_replies,
    }


def _ages_ns(venue: str, market: Market, ledger: Ledger, now_ns: int) -> dict[str, int | None]:
    ages: dict[str, int | None] = {}
    for instrument in ledger.instruments:
        if instrument.venue == venue and instrument.is_open:
            mark = market.marks[instrument.index]
            ages[instrument.symbol] = None if mark is None else now_ns - mark.time_ns
    return ages


def _late(ages: dict[str, int | None], market: Market, ledger: Ledger) -> dict[str, int | None]:
    """Return those of which there is no mark that orders may be compared with."""
    limit_ns, by_symbol = market.mark_age_limit_ns, ledger.by_symbol
    return {symbol: age for symbol, age in ages.items() if age is None or age > limit_ns(by_symbol[symbol].index)}


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / NS_PER_MS
