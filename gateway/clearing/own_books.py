"""Our book in the shape in which others tell theirs: quantities, cash, requirements, trades."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from gateway.corrections import EXTERNAL
from gateway.ledger import Ledger
from gateway.margin.figures import Figures
from gateway.messages.amounts import usd
from gateway.messages.trade_capture import Trade, Trades
from risk.account import Account
from risk.instrument import decimal_from_units
from risk.reconciliation import Kind, TradeTerms

FiguresOf = Callable[[Account, int], Figures | str]


def positions_of(account: Account) -> dict[str, Decimal]:
    """Return an account's open positions by symbol, those that are held elsewhere too."""
    held = (position for position in account.positions.values() if position.held)
    return {position.instrument.symbol: position.quantity for position in held}


def house_positions(ledger: Ledger, venue: str) -> dict[str, Decimal]:
    """Return what all accounts hold at one venue, by symbol, without what is held elsewhere."""
    return {symbol: quantity for symbol, quantity in ledger.venue_quantities(venue).items() if quantity}


def cash_of(account: Account) -> dict[str, Decimal]:
    """Return an account's cash by currency: without what the fills of open positions have moved (margin_figures)."""
    cash_units = dict(account.cash_units)
    for position in account.positions.values():
        if position.held:
            cash_units[position.instrument.settlement_currency] -= position.cash_units
    return {currency: decimal_from_units(units) for currency, units in cash_units.items() if units}


def margin_of(figures: Figures) -> dict[Kind, Decimal]:
    """Return an account's requirements in USD."""
    amounts = {Kind.INITIAL_MARGIN: figures.initial, Kind.MAINTENANCE_MARGIN: figures.maintenance}
    return {kind: Decimal(text.decode()) for kind, amount in amounts.items() if (text := usd(amount)) is not None}


def terms_of(ledger: Ledger, trade: Trade) -> TradeTerms:
    """Return a trade under the id that its venue gave it."""
    instrument, trade_id = trade.instrument, trade.trade_id.removeprefix(f"{trade.instrument.symbol}:")
    if trade.source.startswith(f"{EXTERNAL}:"):
        fill = ledger.external_fills.find(trade.source.removeprefix(f"{EXTERNAL}:"), trade.trade_id)
        trade_id = fill.trade_id if fill is not None and fill.trade_id else trade_id
    return TradeTerms(
        instrument.venue, trade_id, trade.account, instrument.symbol, trade.side, trade.quantity, trade.price,
        trade.time_ns,
    )  # fmt: skip


def find_trade(ledger: Ledger, trades: Trades, told: TradeTerms) -> TradeTerms | None:
    """Return our terms of a trade that another tells of, wherever it was made; None where we do not have it."""
    trade = trades.find(told.venue, told.trade_id)
    if trade is None:
        place = ledger.external_fills.place_of(told.symbol, told.trade_id, ledger)
        trade = None if place is None else trades.find(f"{EXTERNAL}:{place[0]}", place[1])
    if trade is None or trade.is_busted:
        return None
    return terms_of(ledger, trade)
