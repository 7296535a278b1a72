"""AccountSummaryReport(CQ): one account in one message: margin, collateral by currency, worth of its positions."""

from __future__ import annotations

from gateway.margin.figures import Figures
from gateway.messages.amounts import has, units
from gateway.messages.margin_scope import day_of, parties_of
from protocols.fix.codec import format_timestamp
from protocols.fix.grouped import Values

CASH_COLLATERAL = b"CASH"  # CollateralType(1706)
CASH, MARKED = b"CASH", b"FMTM"  # PosAmtType(707)


def account_summary(report_id: bytes, figures: Figures, margin: list[Values], now_ns: int) -> Values:
    """Return the values of one report; amounts in the account's currency but for the collateral, in its own."""
    quote = figures.quote
    collateral: list[Values] = [
        {1704: units(one.units), 1705: one.currency.encode(), 1706: CASH_COLLATERAL} for one in figures.collateral
    ]
    positions: list[Values] = [
        {707: CASH, 708: has(quote, figures.cash)},
        {707: MARKED, 708: has(quote, figures.equity - figures.cash)},
    ]
    return {
        1699: report_id,
        715: day_of(now_ns),
        15: quote.currency.encode(),
        899: has(quote, figures.excess),
        900: has(quote, figures.equity),
        60: format_timestamp(now_ns),
        453: parties_of(figures.account),
        1643: margin,
        1703: collateral,
        753: positions,
    }
