"""Who is short of collateral, and what could be moved there: the problem that the optimiser solves, out of the book.

A *need* is an account that was called (or, where the configuration says so, warned), or a clearing house's call. Called
accounts are cured by what comes in from a client: wherever it goes, it secures all of the account. A clearing house's
call is cured by what arrives there. What is on its way already, and what is planned, counts as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.config import Collateral
from gateway.transfers.routes import Way
from risk.collateral_ledger import Location, Place, Transfer, TransferState
from risk.instrument import UNITS_PER_WHOLE
from risk.margin_states import BPS, MarginState
from risk.transfer_orders import OrderState, TransferOrder
from risk.transfers import MAX_ROUTES, Need, Route, Supply, counted_units

if TYPE_CHECKING:
    from gateway.intraday import Intraday
    from gateway.ledger import Ledger

NS_PER_S: Final = 1_000_000_000
# Needs of one problem, the most urgent first: more than that is a crisis that people sort out.
MAX_NEEDS: Final = 64
_SHORT_STATES: Final = (MarginState.CALLED, MarginState.RESTRICTED, MarginState.ADJUSTING)


class Want(msgspec.Struct, frozen=True):
    """A need, and which call it is of: a margin call, or a clearing house's, or none."""

    need: Need
    call_id: str


class Problem(msgspec.Struct, frozen=True):
    """What the optimiser is given. `names` are the configured routes, in the order of `routes`."""

    supplies: tuple[Supply, ...]
    wants: tuple[Want, ...]
    routes: tuple[Route, ...]
    names: tuple[str, ...]

    @property
    def needs(self) -> tuple[Need, ...]:
        """The needs alone."""
        return tuple(want.need for want in self.wants)


class Needs:
    """Builds problems; it changes nothing."""

    def __init__(self, ledger: Ledger, intraday: Intraday, config: Collateral, ways: list[Way]) -> None:
        self._ledger = ledger
        self._margin = ledger.margin
        self._intraday = intraday
        self._config = config
        self._ways = ways
        # What adjustments of positions want brought to an account, in units of 1e-8 USD, and until when.
        self.asked: dict[str, tuple[int, int]] = {}

    def problem(self, now_ns: int, resting: dict[str, int]) -> Problem | None:
        """Return what is to be solved; None where nobody is short. `resting` routes are left out: they have failed."""
        wants = sorted(self.wants(now_ns), key=lambda want: (want.need.within_ns, want.need.at))[:MAX_NEEDS]
        if not wants:
            return None
        at = {want.need.at for want in wants}
        supplies: dict[tuple[str, Location], Supply] = {}
        routes: dict[tuple[str, Location, Location], tuple[Route, str]] = {}
        for way in self._ways:
            target = cured_by(way)
            if target not in at or way.config.name in resting or len(routes) >= MAX_ROUTES:
                continue
            key = way.config.asset, way.source, target
            supply = self.supply(way, now_ns)
            if supply is None or key in routes:
                continue  # of two ways that cure the same, the first in the configuration is taken
            held = supplies.setdefault(key[:2], supply)
            reserve = max(held.reserve_units, supply.reserve_units)
            available = min(held.available_units, supply.available_units)
            supplies[key[:2]] = msgspec.structs.replace(held, reserve_units=reserve, available_units=available)
            routes[key] = (way.route(target), way.config.name)
        chosen = tuple(route for route, _ in routes.values())
        return Problem(tuple(supplies.values()), tuple(wants), chosen, tuple(name for _, name in routes.values()))

    # -- who is short ------------------------------------------------------------------------------------------------

    def wants(self, now_ns: int) -> Iterator[Want]:
        """Yield who is short, and of how much, beyond what is on its way."""
        if self._config.covers != "nothing":
            for watch in list(self._margin.watches.values()):
                if watch.is_untouched and watch.state is MarginState.HEALTHY:
                    continue
                if watch.account not in self.asked and (want := self._account_want(watch.account, now_ns)) is not None:
                    yield want
        for account, (units, until_ns) in self.asked.items():
            own = self._account_want(account, now_ns)
            short = max(units - self.expected_in(account), 0 if own is None else own.need.short_units)
            if short > 0:
                at = Location(Place.HOUSE, "", account)
                yield Want(Need(at, short, max(0, until_ns - now_ns)), "" if own is None else own.call_id)
        wanted = self._margin.house_calls.wanted()
        there = self.at_houses() if wanted else {}
        seen: set[Location] = set()
        for call in sorted(wanted, key=lambda call: call.deadline_ns):
            at = Location(Place.CLEARING_HOUSE, call.counterparty, call.account)
            short = call.amount_units - sum(there.get(call.request_id, (0, 0)))
            if short > 0 and at not in seen:  # an assignment names its call: the next one's turn is in the next plan
                seen.add(at)
                yield Want(Need(at, short, max(0, call.deadline_ns - now_ns)), call.request_id)

    def _account_want(self, account: str, now_ns: int) -> Want | None:
        watch = self._margin.watch(account)
        at, expected = Location(Place.HOUSE, "", account), self.expected_in(account)
        calls = watch.open_calls
        if calls:
            within = max(0, min(call.deadline_ns for call in calls) - now_ns)
            short = watch.outstanding_units - expected
            return Want(Need(at, short, within), calls[0].call_id) if short > 0 else None
        is_short = watch.state in _SHORT_STATES or (
            self._config.covers == "warned" and watch.state is MarginState.WARNED
        )
        short = self._below(account, watch.state, now_ns) if is_short else 0
        within = self._config.warned_within_s * NS_PER_S
        return Want(Need(at, short - expected, within), "") if short > expected else None

    def _below(self, account: str, state: MarginState, now_ns: int) -> int:
        """Return what brings an account's ratio to where its state ends; 0 where margin is unknown."""
        margin, profile = self._intraday.margin_of(account, now_ns), self._intraday.profile(account)
        if margin is None or profile is None:
            return 0
        is_warned = state is MarginState.WARNED
        target = profile.thresholds.leave_bps[0] if is_warned else profile.terms.target_bps
        return -(-margin.maintenance_units * target // BPS) - margin.equity_units

    # -- what is on its way ------------------------------------------------------------------------------------------

    def expected_in(self, account: str, *, waits_for_people: bool = True) -> int:
        """Return what will come in for an account, in units of 1e-8 USD: on its way, or planned.

        What awaits a person's approval counts only where somebody `waits_for_people`.
        What a client has pledged counts until it is overdue; a transfer of ours that is UNKNOWN counts as well: to ask
        for the same money twice is worse than to wait.
        """
        orders = self._margin.orders
        total = sum(
            order.counted_units
            for order in orders.live()
            if order.terms.account == account
            and order.brings_money_in
            and (waits_for_people or order.state is not OrderState.AWAITING)
        )
        for one in self._margin.collateral.live():
            terms = one.terms
            if terms.account == account and terms.source.place is Place.CLIENT:
                total += self._expected(one, orders.orders.get(terms.key))
        return total

    def _expected(self, one: Transfer, order: TransferOrder | None) -> int:
        if order is not None:
            return order.counted_units * one.open_units // one.terms.units
        if one.state is TransferState.UNKNOWN:
            return 0
        price = self._intraday.last_price(one.terms.asset, one.terms.account)
        return 0 if price is None else int(one.open_units / UNITS_PER_WHOLE * price * UNITS_PER_WHOLE)

    def at_houses(self) -> dict[str, tuple[int, int]]:
        """Return by CollReqID of a clearing house's call what has settled for it, and what besides is on its way or
        planned, in units of 1e-8 USD."""
        margin = self._margin
        found: dict[str, tuple[int, int]] = {}
        for key, order in margin.orders.orders.items():
            if not order.call_id or order.terms.target.place is not Place.CLEARING_HOUSE:
                continue
            there, coming = found.get(order.call_id, (0, 0))
            one = margin.collateral.transfers.get(key)
            if one is not None and one.state is not TransferState.REVERSED:
                there += order.counted_units * one.settled_units // one.terms.units
                coming += order.counted_units * one.open_units // one.terms.units
            elif one is None and order.is_live:
                coming += order.counted_units
            found[order.call_id] = there, coming
        return found

    # -- what could be moved -----------------------------------------------------------------------------------------

    def supply(self, way: Way, now_ns: int) -> Supply | None:
        """Return what is at a way's source, less what is planned from there; None where the asset has no price.

        What comes from a client secures its account: an asset that the account's profiles do not take is none.
        """
        secured = way.source.account if way.source.place is Place.CLIENT else ""
        price = self._intraday.price(way.config.asset, now_ns, secured)
        if price is None:
            return None
        asset, source = way.config.asset, way.source
        available = self._margin.collateral.balance(asset, source)
        if source.place is Place.CLIENT:
            available += way.mandate_units  # the balance is a minus: what we have taken
        for order in self._margin.orders.live():
            if (order.terms.asset, order.terms.source) == (asset, source):
                available -= order.terms.units + order.fee_units
        price_units = int(price * UNITS_PER_WHOLE)
        return Supply(asset, source, max(0, available), price_units, way.reserve_units) if price_units > 0 else None

    def movable_units(self, account: str, within_ns: int, resting: dict[str, int], now_ns: int) -> int:
        """Return what could come in for an account in a time, in units of 1e-8 USD, by one transfer of each source."""
        total, seen = 0, set()
        for way in self._ways:
            key = way.config.asset, way.source
            is_its = way.source.account == account and way.source.place is Place.CLIENT
            is_quick = way.config.settle_s * NS_PER_S <= within_ns and way.config.name not in resting
            supply = self.supply(way, now_ns) if is_its and is_quick and key not in seen else None
            if supply is None:
                continue
            seen.add(key)
            route = way.route(way.target)
            free = max(0, supply.available_units - supply.reserve_units - route.flat_fee_units)
            units = free * BPS // (BPS + route.fee_bps) // route.step_units * route.step_units
            if units >= max(1, route.minimum_units):
                total += counted_units(route, units, supply.price_units)
        return total


def cured_by(way: Way) -> Location:
    """Return the place that is short no more by what takes this way."""
    if way.source.place is Place.CLIENT:
        return Location(Place.HOUSE, "", way.source.account)
    return way.target


def counted(way: Way, units: int, price_units: int) -> int:
    """Return what units count for at a way's target, in units of 1e-8 USD."""
    return counted_units(way.route(way.target), units, price_units)


def ways_of(config: Collateral) -> list[Way]:
    """Return each configured route for each account that may take it."""
    return [Way.of(route, account) for route in config.route for account in route.accounts]
