"""A storm: the real core over a journal of its own, a recorded day in front of it, and every delay counted.

Market time goes as the day did. A turn tells marks, makes risk arrays, lets the watch pass over all accounts, and lets
its actions take place; turns are `CALM_S` apart, or `BUSY_S` where something is under way. What the gateway decides
follows from these times alone, so a seed gives the same day again. Delays are those of a day at `speed` times its pace:
what the processor needed between a mark and a decision counts as so many times that in market time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway import config as configuration
from gateway import records
from gateway.clock import now_ns as wall_ns
from gateway.core import Core
from gateway.executions import Executions
from gateway.journal import Journal, read
from gateway.margin.figures import MAINTENANCE_FACTOR
from gateway.records import guards as guard_records
from gateway.records.margin import MarginCalled, MarginCallMoved, MarginStateMoved
from gateway.recovery import replay, state_hash
from gateway.storm.book import HOUSE, Client, clients_of, configuration_of
from gateway.storm.prices import NS_PER_S, RecordedDay
from gateway.storm.venue import SYMBOLS, VENUE, StormVenue
from risk.account import Account
from risk.adjust import Rung
from risk.collateral_ledger import Location, Place, TransferHappening, TransferTerms
from risk.instrument import UNITS_PER_WHOLE, Side
from risk.margin_states import BPS, MarginState

SPEED: Final = 20
CALM_S: Final = 15
BUSY_S: Final = 3
# The loop of a gateway turns fifty times a second; so many of a day at this speed.
TURN_NS: Final = NS_PER_S // 50
# From a breach to the first action: so much market time, and a step.
MOST_DELAY_S: Final = 1.0
ON_THE_WAY: Final = frozenset({MarginState.HEALTHY, MarginState.WARNED})


class Figures(msgspec.Struct):
    """What a storm comes to; money in USD, delays in seconds of market time."""

    turns: int = 0
    breaches: int = 0
    calls: int = 0
    called_usd: float = 0.0
    paid_usd: float = 0.0
    calls_by_end: Counter[str] = msgspec.field(default_factory=Counter)
    states: Counter[str] = msgspec.field(default_factory=Counter)
    rungs: Counter[str] = msgspec.field(default_factory=Counter)
    adjusted: int = 0
    reduction_orders: int = 0
    reduced_usd: float = 0.0
    handed_over: int = 0
    residual_losses_usd: float = 0.0
    with_losses: int = 0
    halts: int = 0
    delay_s: float = 0.0
    reduction_delay_s: float = 0.0
    overlooked: int = 0


class Storm:
    """One day of one book. `run` to its end, then `summary`."""

    def __init__(self, day: RecordedDay, directory: Path, accounts: int, seed: int, speed: int = SPEED) -> None:
        self.day, self.directory, self.speed = day, directory, speed
        self.now_ns = day.begin_s * NS_PER_S
        prices = {coin: path.price(day.begin_s) for coin, path in day.paths.items()}
        self.clients = {client.name: client for client in clients_of(seed, accounts, prices)}
        text = configuration_of(list(self.clients.values()), BUSY_S * 1000)
        self.journal = Journal.open(directory, segment_bytes=64 << 20)
        config = configuration.parse(text, directory / "storm.toml")
        self.core = Core(config, self.journal, read(directory), self.now_ns, "storm")
        self.figures = Figures()
        self.venue = StormVenue()
        self._told_wall_ns = self._began_wall_ns = wall_ns()
        self._breaches: dict[str, tuple[int, int]] = {}  # account -> when its mark came: market time, wall time
        self._adjusting: dict[str, tuple[int, int]] = {}
        self._payments: list[tuple[int, str, str, float]] = []  # when, account, call, USD
        self._paid = dict.fromkeys(self.clients, 0.0)
        self._steps = 0
        self._open()

    def _open(self) -> None:
        core, venue = self.core, self.venue
        venue.executions = Executions(VENUE, core.pipeline, lambda order, now: None)
        core.router.connect(VENUE, venue)
        core.inquiries.feeds.connect(VENUE, venue)
        core.market.live_venues.add(VENUE)
        for listing in venue.listings():
            venue.executions.handle(listing, self.now_ns)
        for number, client in enumerate(self.clients.values()):
            self._hold(number, client)
        core.intraday.listeners.append(self._decided)
        core.adjustments.listeners.append(self._ended)

    def _hold(self, number: int, client: Client) -> None:
        """Book what a client brings with it, as fills made elsewhere."""
        for coin, lots in client.lots.items():
            if lots:
                instrument = self.core.ledger.by_symbol[SYMBOLS[coin]]
                ticks = max(1, round(self.day.paths[coin].price(self.day.begin_s) / instrument.tick))
                name, side = f"{coin}{number}", Side.BUY if lots > 0 else Side.SELL
                self.core.pipeline.commit(
                    records.ExternalFill(
                        "STORM", 0, name, name, client.name, instrument.index, int(side), abs(lots), ticks, 0
                    ),
                    self.now_ns,
                )

    # -- time --------------------------------------------------------------------------------------------------------

    def run(self, told: Callable[[float], None] | None = None) -> None:
        """Let the day go by; `told` hears how far it is, as a share."""
        end_ns = self.day.end_s * NS_PER_S
        while self.now_ns < end_ns:
            self.turn()
            if told is not None:
                told((self.now_ns - self.day.begin_s * NS_PER_S) / (end_ns - self.day.begin_s * NS_PER_S))
            is_busy = bool(self.core.ledger.adjustments) or self.core.margin_actions.deadline_ns is not None
            until_ns = min(end_ns, self.now_ns + (BUSY_S if is_busy else CALM_S) * NS_PER_S)
            self._act_until(until_ns)
            self.now_ns = until_ns

    def turn(self) -> None:
        """Tell the market as it is now, and let the watch look at all accounts."""
        core, now = self.core, self.now_ns
        self.figures.turns += 1
        self._told_wall_ns = wall_ns()
        for coin, path in self.day.paths.items():
            self.venue.tell(coin, path.price(now / NS_PER_S), path.bar(now / NS_PER_S), now)
        core.valuation.run(now)
        spent = wall_ns()
        self._look_for_breaches()
        self._told_wall_ns += wall_ns() - spent  # what is looked for here is no work of the gateway's
        core.intraday.run(now)
        self.figures.overlooked += len(self._breaches)
        self._breaches.clear()

    def _act_until(self, until_ns: int) -> None:
        """Let the loop turn, in which the gateway acts, clients pay and the venue answers."""
        core = self.core
        step_ns = TURN_NS * self.speed
        while self.now_ns < until_ns:
            core.tick(self.now_ns)
            core.run_markets(self.now_ns)
            core.router.flush()
            self._note_steps()
            self.venue.answer(self.now_ns)
            core.reports.touched.clear()
            self._pay()
            times = (core.deadline_ns, core.adjustments.deadline_ns, core.margin_actions.deadline_ns)
            due = [at_ns for at_ns in (*times, *(at for at, *_ in self._payments[:1])) if at_ns is not None]
            self.now_ns = max(self.now_ns + step_ns, min(due, default=until_ns))

    # -- what clients do ---------------------------------------------------------------------------------------------

    def _pay(self) -> None:
        while self._payments and self._payments[0][0] <= self.now_ns:
            _, account, call_id, usd = self._payments.pop(0)
            call = self.core.ledger.margin.watch(account).calls.get(call_id)
            if call is None or not call.is_open:
                continue
            units, intraday = int(usd * UNITS_PER_WHOLE), self.core.intraday
            house = Location(Place.HOUSE, "", account)
            terms = TransferTerms(f"pay:{call_id}", account, "USDC", units, Location(Place.CLIENT, "", account), house)
            if units > 0 and intraday.begin_transfer(terms, self.now_ns, call_id):
                intraday.transfer_moved(
                    terms.key, TransferHappening.SETTLED, self.now_ns, units=units, reference=terms.key
                )
                self.figures.paid_usd += usd

    def _called(self, record: MarginCalled) -> None:
        client, usd = self.clients[record.account], record.amount_units / UNITS_PER_WHOLE
        self.figures.calls += 1
        self.figures.called_usd += usd
        part = min(client.share * usd, client.reserve - self._paid[client.name])
        if part > 0:
            self._paid[client.name] += part
            due_ns = self.now_ns + client.delay_s * NS_PER_S
            self._payments.append((due_ns, client.name, record.call_id, part))
            self._payments.sort()

    # -- what is counted ---------------------------------------------------------------------------------------------

    def _ratio_bps(self, account: Account) -> float:
        kernel, base = self.core.market.kernel, self.core.market.base_scenario
        equity = kernel.equity(account.index, base)
        most = MAINTENANCE_FACTOR * (equity - kernel.held(account.index))
        return equity * BPS / most if most > 0 else float("inf")

    def _look_for_breaches(self) -> None:
        """Note who is at or below what calls are issued at, and has not been acted on: not by what the watch says."""
        ledger, intraday = self.core.ledger, self.core.intraday
        for name in self.clients:
            watch, profile = ledger.margin.watches.get(name), intraday.profile(name)
            if watch is not None and watch.state not in ON_THE_WAY:
                continue
            if profile is not None and self._ratio_bps(ledger.accounts[name]) < profile.thresholds.enter_bps[1]:
                self.figures.breaches += 1
                self._breaches[name] = (self.now_ns, self._told_wall_ns)

    def _delay_s(self, since: tuple[int, int]) -> float:
        market_ns, told_ns = since
        return (self.now_ns - market_ns + self.speed * (wall_ns() - told_ns)) / NS_PER_S

    def _decided(self, record: records.Record, now_ns: int) -> None:
        figures = self.figures
        if isinstance(record, MarginCalled):
            self._called(record)
        elif isinstance(record, MarginCallMoved):
            figures.calls_by_end[record.happening] += 1
        elif isinstance(record, MarginStateMoved):
            figures.states[record.state] += 1
            if record.state in ON_THE_WAY:
                return
            if (since := self._breaches.pop(record.account, None)) is not None:
                figures.delay_s = max(figures.delay_s, self._delay_s(since))
            if record.state == MarginState.ADJUSTING:
                figures.adjusted += 1
                self._adjusting[record.account] = (now_ns, self._told_wall_ns)
            elif record.state == MarginState.TAKEN_OVER:
                self._taken_over(record.account)

    def _ended(self, account: str, outcome: str) -> None:
        self._adjusting.pop(account, None)

    def _taken_over(self, name: str) -> None:
        account, market = self.core.ledger.accounts[name], self.core.market
        equity = market.kernel.equity(account.index, market.base_scenario)
        self.figures.handed_over += 1
        if equity < 0:
            self.figures.with_losses += 1
            self.figures.residual_losses_usd -= equity

    def _note_steps(self) -> None:
        """Count how long the first step of each adjustment took from the mark that asked for it."""
        for name, adjustment in self.core.ledger.adjustments.items():
            if adjustment.steps and (since := self._adjusting.pop(name, None)) is not None:
                self.figures.reduction_delay_s = max(self.figures.reduction_delay_s, self._delay_s(since))

    # -- the end -----------------------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """Return the figures, and what had to hold and whether it did."""
        figures, core = self.figures, self.core
        wall_s = (wall_ns() - self._began_wall_ns) / NS_PER_S
        history = list(self._history())
        steps = [record for record in history if isinstance(record, guard_records.AdjustmentStepped)]
        orders = [one for one in steps if one.lots]
        figures.rungs = Counter(Rung(one.rung).name.lower().replace("_", "-") for one in steps)
        figures.reduction_orders, figures.reduced_usd = len(orders), self.venue.traded_usd
        figures.halts = sum(
            isinstance(record, guard_records.GuardMoved) and record.state == "halted" for record in history
        )
        calls = [call for name in self.clients for call in core.ledger.margin.watch(name).calls.values()]
        ended, still_open = figures.calls_by_end, sum(call.is_open for call in calls)
        base, kernel = core.market.base_scenario, core.market.kernel
        equities = [kernel.equity(core.ledger.accounts[name].index, base) for name in self.clients]
        house = core.ledger.accounts[HOUSE]
        market_s = self.day.end_s - self.day.begin_s
        result = {
            "accounts": len(self.clients), "bars_of_s": self.day.bar_s, "market_hours": market_s / 3600,
            "turns": figures.turns, "breaches": figures.breaches,
            "calls": figures.calls, "called_usd": round(figures.called_usd), "paid_usd": round(figures.paid_usd),
            "calls_met": figures.calls - ended["superseded"] - ended["lapsed"] - still_open,
            "calls_superseded": ended["superseded"], "calls_expired": ended["lapsed"], "calls_open": still_open,
            "adjusted": figures.adjusted, "rungs": dict(sorted(figures.rungs.items())),
            "reduction_orders": figures.reduction_orders, "reduced_usd": round(figures.reduced_usd),
            "handed_over": figures.handed_over, "with_losses": figures.with_losses,
            "residual_losses_usd": round(figures.residual_losses_usd, 2),
            "least_equity_usd": round(min(equities), 2), "house_equity_usd": round(kernel.equity(house.index, base)),
            "guard_halts": figures.halts, "overlooked": figures.overlooked,
            "largest_delay_s": round(figures.delay_s, 3),
            "largest_delay_to_reduction_s": round(figures.reduction_delay_s, 3),
            "speed": self.speed, "wall_s": round(wall_s, 1), "pace": round(market_s / wall_s, 1),
        }  # fmt: skip
        result["claims"] = self._claims(result)
        return result

    def _claims(self, result: dict[str, Any]) -> dict[str, bool]:
        collateral, core = self.core.ledger.margin.collateral, self.core
        known = replay(read(self.directory), {})
        again = state_hash(known.ledger, known.reports)
        return {
            f"first action within {MOST_DELAY_S:g} s and a step of {CALM_S} s": (
                result["largest_delay_s"] <= MOST_DELAY_S + CALM_S
            ),
            "no breach overlooked": not result["overlooked"],
            "collateral sums to zero in every asset": all(
                collateral.total(asset) == 0 for asset in {asset for asset, _ in collateral.balances}
            ),
            "cash is what was given and what fills moved, to the unit": self._conserves_cash(),
            "every take-over has left the client nothing, and its positions with the house": all(
                not any(p.lots for p in core.ledger.accounts[name].positions.values())
                for name in self.clients
                if core.ledger.margin.watch(name).state is MarginState.CLOSED
            ),
            "a replay of the journal gives the same state": again == core.state_hash(),
        }

    def _conserves_cash(self) -> bool:
        accounts = self.core.ledger.accounts.values()
        cash = sum(account.cash_units.get("USDC", 0) for account in accounts)
        moved = sum(one.cash_units - one.fee_units for account in accounts for one in account.positions.values())
        balances = self.core.ledger.margin.collateral.balances
        given = -sum(units for (_, at), units in balances.items() if at.place is Place.CLIENT)
        return cash == given + moved

    def _history(self) -> Iterator[records.Record]:
        return (records.decode(entry.payload) for entry in read(self.directory))

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()
