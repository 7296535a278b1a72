"""What must hold at the end of every simulated run, whatever happened in it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from fixtures.venues.core.contracts import decimal_of
from gateway import records
from gateway.corrections import status_after
from gateway.journal import read
from gateway.records.clearing import BreakOpened
from gateway.records.settlements import FundingBooked, PositionsDelivered
from gateway.recovery import replay
from risk.instrument import UNITS_PER_WHOLE, Instrument, Side, decimal_from_units
from risk.kernel import MarginKernel
from tests.simulated_booked import has_what_the_venue_booked, is_of_support
from tests.simulated_wires import LaneWire, decoded

if TYPE_CHECKING:
    from gateway.core import Core
    from tests.simulator import World

# Of a venue's smallest unit of cash, 1e-8.
ROUNDING = Decimal("0.00000002")


def bounds_of(core: Core, record: records.OrderApproved) -> dict[str, float]:
    """What each level above an order has left, in USD and orders; below zero only as far as it was so before."""
    kernel, market = core.market.kernel, core.market
    account, instrument = core.ledger.accounts[record.account], core.ledger.instruments[record.instrument]
    found = {account.name: kernel.worst(account.index)}
    for row in market.above(account.index):
        assert market.hierarchy is not None
        level = market.hierarchy.levels[row]
        gross, high, low, working, _ = kernel.sizes(row)
        found[f"{level} margin"] = kernel.worst(row)
        asked = kernel.equity(row, market.base_scenario) - kernel.worst(row)
        found[f"{level} margin limit"] = level.terms.max_margin - asked
        found[f"{level} gross"] = level.terms.max_gross_notional - gross
        found[f"{level} net"] = level.terms.max_net_notional - max(abs(high), abs(low))
        found[f"{level} orders"] = float(level.terms.max_working_orders - working)
    sub_account = account.sub_accounts.get(instrument.venue)
    held = account.position_lots(instrument.index)
    if sub_account is not None and held * (1 if record.side == Side.BUY else -1) >= 0:  # what reduces may cost its fee
        book = market.venue_books[sub_account.book]
        found[f"{book.model} at {instrument.venue}"] = book.kernel.worst_of_group(
            account.index, book.groups[instrument.index]
        )
    return found


def check(world: World) -> None:
    """Check all invariants; an AssertionError names the seed."""
    journal = [(entry, records.decode(entry.payload)) for entry in read(world.directory)]
    history = [record for _, record in journal]
    for name, invariant in (
        ("orders", no_order_unchecked),
        ("fills", fills_are_the_venues),
        ("venues", every_venue_has_what_we_have),
        ("false breaks", no_book_was_said_to_differ),
        ("booked", has_what_the_venue_booked),
        ("profit", profit_is_the_sum_of_fills),
        ("holds", holds_are_what_works),
        ("reports", clients_were_told_once),
        ("books", readers_have_the_books),
        ("copies", copies_are_of_every_report),
        ("house", the_house_has_what_we_have),
        ("replay", replay_gives_the_same_state),
    ):
        try:
            invariant(world, history)
        except AssertionError as error:
            raise AssertionError(f"seed {world.seed}, {name}: {error}") from error


def no_order_unchecked(world: World, history: list[records.AnyRecord]) -> None:
    """Every label that ever reached the venue was approved, by every check, in the journal before."""
    approved = {r.order_id: r for r in history if isinstance(r, records.OrderApproved)}
    for label in world.labels_at_venue.union(*(wire.labels for wire in world.wires)):
        assert label in approved, f"the venue has {label}, which was never approved"
        assert approved[label].checks_run == world.core.checks_configured


def fills_are_the_venues(world: World, history: list[records.AnyRecord]) -> None:
    """Each of the venue's trades is in the journal exactly once, and no other; positions agree."""
    ours = Counter(r.trade_id for r in history if isinstance(r, records.Filled) and r.venue == "deribit")
    theirs = [trade.trade_id for trade in world.venue.trades("margingate")]
    assert all(count == 1 for count in ours.values()), f"applied twice: {[t for t, n in ours.items() if n > 1]}"
    assert sorted(ours) == sorted(map(str, theirs)), f"ours {sorted(ours)}, the venue's {sorted(map(str, theirs))}"
    lots = world.core.ledger.venue_lots("deribit")
    for symbol, quantity in world.venue.positions("margingate").items():
        instrument = world.core.ledger.by_symbol[symbol]
        assert instrument.quantity(lots.pop(symbol, 0)) == quantity, f"{symbol}: the venue has {quantity}"
    assert not any(lots.values()), f"positions that the venue has not: {lots}"
    breaks = [r for r in history if isinstance(r, records.BreakRaised) and not is_of_support(r)]
    assert not breaks, f"breaks were raised: {breaks}"


def every_venue_has_what_we_have(world: World, history: list[records.AnyRecord]) -> None:
    """At each venue of several lanes: the same trades of the same orders, positions, cash; nothing open or refused."""
    for wire in world.wires:
        of_venue = [r for r in history if getattr(r, "venue", "") == wire.kind]
        try:
            _is_the_same(world, wire, [r for r in of_venue if isinstance(r, records.Filled)])
            has_the_same_bookings(world, wire, of_venue)
        except AssertionError as error:
            raise AssertionError(f"{wire.kind}: {error}") from error


def _is_the_same(world: World, wire: LaneWire, fills: list[records.Filled]) -> None:
    ledger, theirs = world.core.ledger, wire.trades()
    counts = Counter(fill.trade_id for fill in fills)
    assert all(count == 1 for count in counts.values()), f"applied twice: {[t for t, n in counts.items() if n > 1]}"
    lost, invented = sorted(theirs.keys() - counts.keys()), sorted(counts.keys() - theirs.keys())
    assert not lost and not invented, f"lost {lost}, invented {invented}"
    cash, fees = booked_beside(world, wire.kind)
    for fill in fills:
        order, trade = ledger.orders[fill.order_id], theirs[fill.trade_id]
        instrument = order.instrument
        assert fill.order_id == decoded(wire.venue.name, trade.client_id), f"{fill.trade_id} is of {trade.client_id}"
        assert instrument.symbol == wire.link.symbols.house(trade.name)
        assert (order.side is Side.BUY) is (trade.side > 0)
        contract = wire.venue.exchange.listings[trade.name].contract
        assert instrument.price(fill.ticks) == contract.price(trade.ticks), fill.trade_id
        cash[instrument.settlement_currency] += instrument.cash_units(order.side, fill.lots, fill.ticks)
        fees[instrument.settlement_currency] += fill.fee_units
    ours = {symbol: lots for symbol, lots in ledger.venue_lots(wire.kind).items() if lots}
    quantities = {symbol: ledger.by_symbol[symbol].quantity(lots) for symbol, lots in ours.items()}
    assert quantities == wire.positions(), f"ours {quantities}, the venue's {wire.positions()}"
    _has_the_same_cash(wire, cash, fees, len(fills) + len(wire.account.income))
    assert not wire.account.open_orders, f"works at the venue: {wire.account.open_orders}"
    assert wire.limits_exceeded() == 0, f"{wire.limits_exceeded()} limits exceeded: {wire.errors}"


def _has_the_same_cash(wire: LaneWire, cash: Counter[str], fees: Counter[str], fills: int) -> None:
    """What the venue has booked is what our fills say: its balance grows by profit, and the entry value is in cost."""
    costs: Counter[str] = Counter()
    for position in wire.account.held():
        costs[position.listing.contract.settle] += position.cost
    for currency, units in wire.account.balances.items():
        moved = decimal_of(units) - wire.opening.get(currency, Decimal(0)) - decimal_of(costs[currency])
        expected = Decimal(cash[currency] - fees[currency]) / UNITS_PER_WHOLE
        # Both sides round a fraction of their smallest unit on each fill of an inverse contract, and on each fee.
        assert abs(moved - expected) <= (fills + 1) * ROUNDING, f"{currency}: the venue moved {moved}, we {expected}"


def booked_beside(world: World, venue: str) -> tuple[Counter[str], Counter[str]]:
    """Return what funding and deliveries have moved at a venue, by currency, and their fees, from the journal."""
    cash: Counter[str] = Counter()
    fees: Counter[str] = Counter()
    for entry in read(world.directory):
        record = records.decode(entry.payload)
        if isinstance(record, FundingBooked | PositionsDelivered) and record.venue == venue:
            currency = world.core.ledger.instruments[record.instrument].settlement_currency
            if isinstance(record, FundingBooked):
                cash[currency] += sum(units for _, units in record.shares)
            else:
                cash[currency] += sum(share[3] for share in record.shares)
                fees[currency] += sum(share[4] for share in record.shares)
    return cash, fees


def has_the_same_bookings(world: World, wire: LaneWire, of_venue: list[records.AnyRecord]) -> None:
    """Each funding of the venue is in the journal once, to the unit, shared whole; what has ended is held no more."""
    ledger = world.core.ledger
    fundings = [r for r in of_venue if isinstance(r, FundingBooked)]
    theirs = sorted(
        (wire.link.symbols.house(one.name), decimal_of(one.change))
        for one in wire.account.income
        if one.why == "funding"
    )
    ours = sorted((ledger.instruments[r.instrument].symbol, decimal_from_units(r.units)) for r in fundings)
    assert ours == theirs, f"funding: ours {ours}, the venue's {theirs}"
    assert all(sum(units for _, units in r.shares) == r.units for r in fundings), f"shared in part: {fundings}"
    assert len({r.settlement_id for r in fundings}) == len(fundings)
    ended = {wire.link.symbols.house(one.name) for one in wire.account.income if one.why == "settlement"}
    delivered = {ledger.instruments[r.instrument].symbol for r in of_venue if isinstance(r, PositionsDelivered)}
    assert delivered == ended, f"deliveries: ours {delivered}, the venue's {ended}"
    for listing, price, _ in wire.venue.exchange.deliveries:
        instrument = ledger.by_symbol.get(wire.link.symbols.house(listing.name))
        known = None if instrument is None else ledger.settlements.delivery_prices.get(instrument.index)
        assert known is None or Decimal(known) == price, f"{listing.name}: delivered at {price}, here at {known}"


def no_book_was_said_to_differ(world: World, history: list[records.AnyRecord]) -> None:
    """Compared each second, whatever was on its way or lost then: no book of a venue has differed.

    But for what a venue has annulled: of that its support tells, and its stream of positions does not.
    """
    venues = {venue.name for venue in world.config.venue}
    annulled: set[str] = set()
    for record in history:
        if isinstance(record, records.TradeBusted):
            annulled.add(world.core.ledger.orders[record.order_id].instrument.symbol)
        if isinstance(record, BreakOpened) and record.source in venues:
            assert record.subject in annulled, f"{record} of a book that does not differ"


def the_house_has_what_we_have(world: World, history: list[records.AnyRecord]) -> None:
    """The clearing house of worlds that have one: the same positions, trades and collateral, each thing done once."""
    if world.house is not None:
        world.house.check(history)


def readers_have_the_books(world: World, history: list[records.AnyRecord]) -> None:
    """Whatever was lost on the way, in the end every reader's books are the venue's."""
    world.core.inquiries.watch_backlogs(lambda session: 0)
    world.core.inquiries.run(world.now_ns)
    for client in world.clients:
        while data := world.client_links[client.comp_id].session.data_to_send():
            client.arrive(data)
        client.reading.check(world)


def profit_is_the_sum_of_fills(world: World, history: list[records.AnyRecord]) -> None:
    """Cash and lots of every position, added up again from the journal's fills alone."""
    ledger = world.core.ledger
    cash: Counter[tuple[str, str]] = Counter()
    lots: Counter[tuple[str, str]] = Counter()
    balances: Counter[tuple[str, str]] = Counter()
    for record in history:
        if isinstance(record, records.CashMoved):
            balances[record.account, record.currency] += record.units
        if isinstance(record, FundingBooked | PositionsDelivered):
            _add_booking(ledger.instruments[record.instrument], record, cash, lots, balances)
        booked: list[tuple[int, int, int, int]] = []  # sign, lots, ticks, fee
        if isinstance(record, records.Filled):
            booked = [(1, record.lots, record.ticks, record.fee_units)]
        elif isinstance(record, records.TradeBusted):
            booked = [(-1, record.lots, record.ticks, record.fee_units)]
        elif isinstance(record, records.TradeCorrected):
            booked = [(-1, record.lots, record.ticks, record.fee_units)]
            booked.append((1, record.new_lots, record.new_ticks, record.new_fee_units))
        for sign, count, ticks, fee_units in booked:
            assert isinstance(record, records.Filled | records.TradeBusted | records.TradeCorrected)
            order = ledger.orders[record.order_id]
            key = (order.account, order.instrument.symbol)
            moved = order.instrument.cash_units(order.side, count, ticks)
            cash[key] += sign * moved
            lots[key] += sign * (count if order.side is Side.BUY else -count)
            balances[order.account, order.instrument.settlement_currency] += sign * (moved - fee_units)
    for account in ledger.accounts.values():
        for position in account.positions.values():
            key = (account.name, position.instrument.symbol)
            assert (position.lots, position.cash_units) == (lots[key], cash[key]), f"{key}: {position}"
        for currency, units in account.cash_units.items():
            assert units == balances[account.name, currency], f"{account.name} {currency}: {units}"


def _add_booking(
    instrument: Instrument,
    record: FundingBooked | PositionsDelivered,
    cash: Counter[tuple[str, str]],
    lots: Counter[tuple[str, str]],
    balances: Counter[tuple[str, str]],
) -> None:
    if isinstance(record, FundingBooked):
        for account, units in record.shares:
            balances[account, instrument.settlement_currency] += units
        return
    for account, closed, odd, units, fee_units in record.shares:
        assert Decimal(odd) == 0, f"{account} held {odd} of {instrument.symbol} beside lots"
        cash[account, instrument.symbol] += units
        lots[account, instrument.symbol] -= closed
        balances[account, instrument.settlement_currency] += units - fee_units


def holds_are_what_works(world: World, history: list[records.AnyRecord]) -> None:
    """Held lots equal the working orders' open lots, none is negative, and the kernel equals one built anew."""
    ledger, market = world.core.ledger, world.core.market
    generation = world.core.valuation.generation
    assert generation is not None
    values, terms = generation.values, world.core.valuation.terms
    rebuilt = MarginKernel(
        terms.rows(len(ledger.accounts)), len(generation.groups), len(values), len(generation.currencies),
        generation.grid.size, generation.joint,
    )  # fmt: skip
    rebuilt.load(*generation.arrays())
    terms.prepare(rebuilt, generation, ledger.instruments)
    live = market.kernel
    above = {row: live.worst(row) for row in range(len(ledger.accounts), rebuilt.accounts)}
    for account in ledger.accounts.values():
        for side, held in ((Side.BUY, account.exposure.buy_lots), (Side.SELL, account.exposure.sell_lots)):
            working: Counter[int] = Counter()
            for order in account.exposure.orders.values():
                if order.side is side:
                    working[order.instrument.index] += order.held_lots()
            assert all(lots >= 0 for lots in held.values()), f"{account.name}: negative hold {held}"
            assert {i: n for i, n in held.items() if n} == dict(working), f"{account.name}: {held} against {working}"
        before = live.worst(account.index)
        currency_index = {currency: column for column, currency in enumerate(generation.currencies)}
        account.mirror_into(rebuilt, currency_index)
        after = rebuilt.worst(account.index)
        assert before != before or abs(before - after) <= 1e-6 * max(1.0, abs(after)), f"{before} against {after}"
    for row, before in above.items():
        after = rebuilt.worst(row)
        assert before != before or abs(before - after) <= 1e-6 * max(1.0, abs(after)), f"level {row}: {before}, {after}"


def clients_were_told_once(world: World, history: list[records.AnyRecord]) -> None:
    """Each execution of the journal reached its client in exactly one report, and the last report is the truth."""
    ledger = world.core.ledger
    for client in world.clients:
        if client.is_copy:
            continue
        executions = Counter(
            message.get(17) for message in client.reports if message.msg_type == "8" and message.get(150) != b"I"
        )
        assert all(count == 1 for count in executions.values()), f"{client.comp_id}: told twice {executions}"
        fills = sum(1 for m in client.reports if m.get(150) == b"F")
        filled = [ledger.orders[r.order_id] for r in history if isinstance(r, records.Filled)]
        mine = sum(1 for order in filled if order.session == client.comp_id)
        assert fills == mine, f"{client.comp_id} was told of {fills} fills, there were {mine}"
        for order in ledger.orders.values():
            if order.session != client.comp_id:
                continue
            told = client.orders[order.cl_ord_id]
            cum = order.instrument.quantity(order.cum_lots + order.adjusted_lots)
            ended = told.status in (status_after(order).encode(), b"replaced")
            assert ended, f"{order.cl_ord_id}: told {told.status!r}, it is {order.status}"
            assert Decimal(told.cum) == cum, f"{order.cl_ord_id}: told {told.cum}, it is {cum}"


def copies_are_of_every_report(world: World, history: list[records.AnyRecord]) -> None:
    """The drop copy has each report that its accounts' own sessions got, once; answers and repetitions apart."""
    for risk in [client for client in world.clients if client.is_copy]:
        copies = Counter((m.get(17), m.get(150)) for m in risk.reports)
        assert all(m.get(797) == b"Y" and m.get(115) in (b"ALPHA", b"BETA") for m in risk.reports)
        assert all(count == 1 for count in copies.values()), f"copied twice: {copies}"
        originals = {
            (m.get(17), m.get(150))
            for client in world.clients
            for m in client.reports
            if not client.is_copy
            and m.msg_type == "8"
            and m.get(150) != b"I"
            and (m.get(1) or b"").decode() in risk.accounts
        }
        assert copies.keys() == originals, f"missing {originals - copies.keys()}, strange {copies.keys() - originals}"


def replay_gives_the_same_state(world: World, history: list[records.AnyRecord]) -> None:
    """The journal alone gives the state hash of the process that wrote it."""
    assert replay(read(world.directory)).state_hash() == world.core.state_hash()
