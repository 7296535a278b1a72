"""What venues say of their instruments: terms become records, marks go to the checks, of their true age."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import translate
from gateway.ledger import instrument_of
from protocols.venues import events

if TYPE_CHECKING:
    from gateway.executions import Executions


def instrument_listed(executions: Executions, event: events.InstrumentListed, now_ns: int) -> None:
    """Journal new or changed terms; what a position depends on is not changed under it."""
    pipeline, venue = executions.pipeline, executions.venue
    ledger = pipeline.ledger
    known = ledger.by_symbol.get(event.symbol)
    if known is not None and known.venue != venue:
        _refuse_name(executions, event.symbol, known.venue)
        return
    index = len(ledger.instruments) if known is None else known.index
    record = translate.listed(event, venue, index)
    if known is not None:
        listing = ledger.listings[index]
        if listing == record:
            return
        if msgspec.structs.replace(listing, is_open=record.is_open, maker_fee=record.maker_fee,
                                   taker_fee=record.taker_fee) != record:  # fmt: skip
            # Positions and prices in the old scale would change their meaning: a person must look.
            executions.raise_break(event.symbol, "the venue lists it with other terms; orders stay on the old", now_ns)
            record = msgspec.structs.replace(listing, is_open=False)
            executions.paused.discard(event.symbol)  # no ticker opens it again
            if record == listing:
                return
    try:
        instrument_of(record)  # before it is journalled: what can not be applied could not be replayed
    except ValueError as error:
        pipeline.monitor.alert(f"{venue}: {event.symbol} not listed: {error}")
        return
    pipeline.commit(record, now_ns)
    pipeline.market.list_instrument(index)
    pipeline.market.limit_mark_age(ledger.instruments[index])


def _refuse_name(executions: Executions, symbol: str, other: str) -> None:
    """Two venues' instruments can not share a name: orders and positions of one would be taken for the other's."""
    if symbol not in executions.taken:
        executions.taken.add(symbol)
        text = f"{symbol} not listed: {other} lists that symbol too; give one of the two venues a symbol_suffix"
        executions.pipeline.monitor.alert(f"{executions.venue}: {text}")


def mark_updated(executions: Executions, event: events.MarkPriceUpdated, now_ns: int) -> None:
    """Take a mark as of when it was so, unless the other venues' prices contradict it."""
    pipeline, venue = executions.pipeline, executions.venue
    ledger, market, monitor = pipeline.ledger, pipeline.market, pipeline.monitor
    instrument = ledger.by_symbol.get(event.symbol)
    if instrument is None or instrument.venue != venue:
        return
    as_of_ns = executions.feed_clock.as_of(event.symbol, event.time_ns, now_ns, executions.clock_offset_ns)
    if as_of_ns is None:
        monitor.marks_refused += 1
        return
    coin, board = instrument.base_currency, market.board
    board.observe(coin, venue, event.index_price, as_of_ns)
    if market.guard is not None:
        market.guard.hear(instrument, event.index_price, as_of_ns)
    compared = None if instrument.is_option else event.mark_price
    doubt = board.doubts(instrument.index, coin, venue, compared, event.index_price, now_ns)
    if doubt:
        monitor.mark_doubted(event.symbol, doubt, now_ns)
    if doubt or not market.update_mark(
        instrument,
        price=event.mark_price,
        index_price=event.index_price,
        forward_price=event.underlying_price or event.index_price,
        implied_vol=event.mark_iv or 0.0,
        time_ns=as_of_ns,
        lowest_sell=event.min_price or 0.0,
        highest_buy=event.max_price or 0.0,
    ):
        monitor.marks_refused += 1
    # What its ticker closed, its ticker opens again; what was closed for other terms stays closed.
    if event.is_open is not instrument.is_open and (instrument.is_open or event.symbol in executions.paused):
        executions.paused ^= {event.symbol}
        listing = msgspec.structs.replace(ledger.listings[instrument.index], is_open=event.is_open)
        pipeline.commit(listing, now_ns)


HEARS: Final[dict[type, Callable[[Executions, Any, int], None]]] = {
    events.InstrumentListed: instrument_listed,
    events.MarkPriceUpdated: mark_updated,
}
