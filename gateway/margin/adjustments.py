"""Positions of accounts that are short of margin, adjusted down the ladder of risk.adjust, in rounds.

The interface for whoever watches margin (calls, states):

    request(account, required_bps, reason, now_ns)   begin, or go on with another target; the same again is the same
    stop(account, reason, now_ns)                    the market came back, or the client paid: no further step
    hand_over(account, reason, now_ns)               the house takes all of it, now
    listeners                                        called with (account, outcome): "cured", "stopped", "handed_over",
                                                     "exhausted": or it was still short at the deadline
    transfers                                        who moves collateral (Transfers); None: that rung is left out
    ratio_of                                         an account's margin ratio, bps: whoever is shortest goes first

A round looks at what the account holds at that moment, so whatever happened meanwhile (a payment, a fill, a crash of
this process) is in it, and nothing is done twice: while an order of a round before works, the next waits; whether the
account is cured is asked first. Each step is a record before it acts; its orders pass every check that clients' orders
pass (risk.pre_trade) and are journalled like them, under no session. The rate that counts for them is this module's.
No instrument is traded, and nothing taken over, on a mark that its guard does not believe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from gateway.config import Adjust
from gateway.journal import JournalError
from gateway.margin.adjustment_book import Adjustment
from gateway.margin.adjustment_markets import blocked, candidates, coins_doubted, quotes_of
from gateway.margin.adjustment_turns import Turns
from gateway.records import guards as records
from gateway.venues.feeds import Feeds
from risk.account import Account, AccountState
from risk.adjust import (
    MAX_STEPS,
    NOTHING,
    Plan,
    Rung,
    Step,
    Terms,
    Trial,
    TrialKernel,
    UnknownMarginError,
    plan,
)
from risk.deleverage import Candidate, deleverage, ranking
from risk.exposure import WorkingOrder
from risk.house_terms import HouseTerms
from risk.instrument import UNITS_PER_WHOLE, Side
from risk.order import Order, OrdType, Reject, RejectReason, TimeInForce
from risk.pre_trade import evaluate
from risk.rate import RateLimit
from risk.scenarios import Generation

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

# The session of the gateway's own orders: none, so no client is told of them, and drop copies are.
INTERNAL: Final = ""
BPS: Final = 10_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
# How long a round waits for its cancels before the next goes on without them; that they work is counted meanwhile.
CANCELS_WAIT_NS: Final = 2 * NS_PER_S
# Accounts that one turn of the loop looks at, some 0.2 ms each; while more are due, turns follow each other, and what
# has come on sockets goes between two of them.
ACCOUNTS_PER_TURN: Final = 1
# A round does the first of what it plans: it looks so many times as far ahead as it may send orders.
LOOKED_AHEAD: Final = 4
# How long an adjustment counts on collateral that it has asked for, or that is on its way.
COLLATERAL_WAIT_NS: Final = 60 * NS_PER_S
# The house's own orders a second for one account; rounds are slower anyhow.
OWN_RATE: Final = 100
ROWS_SHOWN: Final = 1_000
# Rounds in which nothing can be done before it is taken for the end of the ladder.
PATIENCE: Final = 5
_IN_THE_WAY: Final = frozenset({RejectReason.SELF_TRADE, RejectReason.ORDER_NOT_REDUCING})


class AdjustmentError(Exception):
    """What was asked for means nothing here, or can not be known now; the text says why."""


class Transfers(Protocol):
    """Who moves collateral to where it is short, on this ladder's word and before it reduces anything.

    What it brings holds reductions back, as far as it covers what is short, while it is on its way, for a minute.
    """

    def movable_usd(self, account: str) -> float:
        """What is on its way to an account, or else what could be brought now, haircuts taken off."""

    def is_coming(self, account: str) -> bool:
        """Whether something is on its way already."""

    def move(self, account: str, amount_usd: float, reason: str, now_ns: int) -> bool:
        """Begin to bring so much, once: asked again while it is on its way, say False. Its record is the mover's."""


class Adjustments:
    """All adjustments of one gateway; `tick` does what is due, no later than `deadline_ns`."""

    def __init__(
        self,
        pipeline: Pipeline,
        feeds: Feeds,
        generation: Callable[[], Generation | None],
        config: Adjust,
        maintenance: float,
        house: Callable[[], HouseTerms],
        now_ns: int,
    ) -> None:
        self._pipeline, self._ledger, self._feeds = pipeline, pipeline.ledger, feeds
        self._generation = generation
        self._config = config
        self._maintenance = maintenance
        self._house = house
        self._round_ns = config.round_ms * NS_PER_MS
        # After a start each waits a round: the venue's answers come first.
        self.turns = Turns(pipeline.ledger.adjustments, now_ns + self._round_ns, self._round_ns)
        self._loaded: tuple[HouseTerms, TrialKernel] | None = None
        self._counts_on_until_ns: dict[str, int] = {}
        self._cancels_until_ns: dict[str, int] = {}
        self._rates: dict[str, RateLimit] = {}
        self._second, self._spent_usd = 0, 0.0
        self.listeners: list[Callable[[str, str], None]] = []
        self.transfers: Transfers | None = None
        # Whether somebody else decides who is handed over (gateway.margin.actions): then that is not done here.
        self.is_watched: Callable[[str], bool] = lambda account: False
        self._stuck: dict[str, int] = {}

    # -- what others ask ---------------------------------------------------------------------------------------------

    def request(self, account: str, required_bps: int, reason: str, now_ns: int) -> None:
        """Adjust an account until equity covers its maintenance margin times required_bps / 10 000.

        Raises JournalError where it can not be written, AdjustmentError for an account that is not known.
        """
        self._account(account)
        known = self._ledger.adjustments.get(account)
        if known is not None and known.required_bps == required_bps:
            return
        self._pipeline.commit(records.AdjustmentBegun(account, required_bps, reason), now_ns)
        text = f"account {account} is being adjusted: {reason}"
        self._pipeline.monitor.alert_now_and_then(("adjust", "begun"), text, now_ns)
        self.turns.join(account, now_ns)

    def stop(self, account: str, reason: str, now_ns: int) -> None:
        """End an adjustment where there is one. Raises JournalError where it can not be written."""
        if account in self._ledger.adjustments:
            self._end(account, "stopped", reason, now_ns)

    def plan(self, account: str, now_ns: int, required_bps: int = BPS) -> Plan:
        """Return what would be done now, were the account to be adjusted: nothing is. Raises AdjustmentError."""
        holder = self._account(account)
        known = self._ledger.adjustments.get(account)
        found = self._plan(holder, required_bps if known is None else known.required_bps, now_ns)
        if isinstance(found, str):
            raise AdjustmentError(found)
        return found

    def ranking(self, symbol: str, now_ns: int) -> dict[str, list[Candidate]]:
        """Return who would be deleveraged first, of longs and of shorts. Raises AdjustmentError."""
        generation = self._generation()
        instrument = self._ledger.by_symbol.get(symbol)
        if instrument is None or generation is None or instrument.index >= len(generation.values):
            raise AdjustmentError(f"{symbol[:64]} is not listed, or has no risk array yet")
        found = candidates(self._ledger, generation, instrument, self._config.house_account)
        return {"long": ranking(found, is_long=True), "short": ranking(found, is_long=False)}

    def rows(self) -> list[dict[str, object]]:
        """Return accounts that are being adjusted, the longest first, for operators."""
        found = sorted(self._ledger.adjustments.values(), key=lambda one: (one.begun_ns, one.account))
        return [
            {"account": one.account, "required_bps": one.required_bps, "steps": one.steps, "begun_ns": one.begun_ns}
            for one in found[:ROWS_SHOWN]
        ]

    # -- rounds ------------------------------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        return self.turns.deadline_ns

    def tick(self, now_ns: int) -> None:
        """Take a round of the next account whose turn it is."""
        for name in self.turns.take(ACCOUNTS_PER_TURN, now_ns):
            if name not in self._ledger.adjustments:
                self.turns.leave(name)
                continue
            try:
                self._round(self._ledger.accounts[name], now_ns)
            except JournalError as error:  # nothing acts that is not written; the next round tries again
                self._pipeline.monitor.journal_failed(str(error))

    def _round(self, account: Account, now_ns: int) -> None:
        adjustment = self._ledger.adjustments[account.name]
        own = [order for order in self._ledger.orders_of(account.name) if order.session == INTERNAL]
        found = self._plan(account, adjustment.required_bps, now_ns, LOOKED_AHEAD * self._config.orders_a_round)
        if isinstance(found, str):
            self._hold(account, found, now_ns)
            return
        if found.before >= -NOTHING:
            self._cancel(own, "adjustment", now_ns)
            self._end(account.name, "cured", "margin is covered again", now_ns)
            return
        if account.state is AccountState.HALTED:
            self._hold(account, f"the account is halted: {account.state_reason}", now_ns)
            return
        if self._is_overdue(adjustment, account, now_ns):
            self._cancel(own, "adjustment", now_ns)
            self._end(account.name, "exhausted", f"not covered within {self._config.deadline_s} s", now_ns)
            return
        waits = now_ns < self._cancels_until_ns.get(account.name, 0)
        if own or (waits and any(order.is_cancel_pending for order in self._ledger.orders_of(account.name))):
            return
        if found.steps and found.steps[0].rung is not Rung.HAND_OVER:
            self._stuck.pop(account.name, None)
            self._act(account, found.steps, now_ns)
            return
        why = blocked(self._ledger, self._pipeline.market, self._feeds, account, now_ns)
        if why:
            self._hold(account, why, now_ns)
            return
        # A book that is empty for a moment takes nobody's account away.
        self._stuck[account.name] = self._stuck.get(account.name, 0) + 1
        if self._stuck[account.name] < PATIENCE:
            return
        if found.steps and not self.is_watched(account.name):
            self._act(account, found.steps, now_ns)
            return
        self._end(account.name, "exhausted", "nothing is left that would free margin", now_ns)

    def _is_overdue(self, adjustment: Adjustment, account: Account, now_ns: int) -> bool:
        """Whether the time to reduce is over: there is somebody to hand over to, and the marks may be acted on."""
        config, market = self._config, self._pipeline.market
        if now_ns - adjustment.begun_ns <= config.deadline_s * NS_PER_S or config.house_account in (None, account.name):
            return False
        return not blocked(self._ledger, market, self._feeds, account, now_ns, needs_book=False)

    def _plan(self, account: Account, required_bps: int, now_ns: int, most_steps: int = MAX_STEPS) -> Plan | str:
        market, generation, config = self._pipeline.market, self._generation(), self._config
        if generation is None or now_ns - market.generation_time_ns > market.generation_max_age_ns:
            return "risk arrays are too old"
        symbols = [*(position.instrument.symbol for position in account.positions.values()), *config.hedges]
        known = [symbol for symbol in symbols if symbol in self._ledger.by_symbol]
        self._feeds.follow(known, (), now_ns)
        hedges = tuple(self._ledger.by_symbol[symbol].index for symbol in config.hedges if symbol in known)
        can_take = config.house_account not in (None, account.name)
        unpriced = blocked(self._ledger, market, self._feeds, account, now_ns, needs_book=False)
        terms = Terms(
            required=required_bps / BPS * self._maintenance,
            step_fraction=float(config.step_fraction),
            participation=float(config.participation),
            convert_fee=float(config.convert_fee),
            may_convert=can_take and not coins_doubted(self._ledger, market, account, now_ns),
            may_hand_over=can_take and not unpriced,
            movable_usd=self._movable_usd(account.name, now_ns),
            hedges=hedges,
        )
        quotes = quotes_of(self._ledger, market, self._feeds, account, hedges, now_ns)
        house = self._house()
        try:
            trial = Trial(self._kernel(generation, house), account, terms.required, house.terms_of(account.index))
            return plan(trial, terms, self._ledger.instruments, quotes, most_steps)
        except UnknownMarginError as error:
            return str(error)

    def _kernel(self, generation: Generation, house: HouseTerms) -> TrialKernel:
        """Return the kernel of a generation: loaded once, however many accounts are tried on it."""
        if self._loaded is None or self._loaded[0] is not house or self._loaded[1].generation is not generation:
            instruments = self._ledger.instruments
            made = TrialKernel(generation, lambda kernel: house.prepare_alone(kernel, generation, instruments))
            self._loaded = house, made
        return self._loaded[1]

    def _movable_usd(self, account: str, now_ns: int) -> float:
        if self.transfers is None or now_ns >= self._counts_on_until_ns.get(account, now_ns + 1):
            return 0.0
        return self.transfers.movable_usd(account)

    # -- acting ------------------------------------------------------------------------------------------------------

    def _act(self, account: Account, steps: tuple[Step, ...], now_ns: int) -> None:
        """Do the first rung of a plan, as far as one round may: one order an instrument."""
        if steps[0].rung is Rung.COLLATERAL and self._is_brought(account.name, steps[0], now_ns):
            steps = steps[1:]  # what it does not cover does not wait
            if not steps or steps[0].rung is Rung.HAND_OVER:
                return
        rung, traded = steps[0].rung, set[int]()
        for step in steps:
            if step.rung is not rung or len(traded) >= self._config.orders_a_round:
                return
            if rung in (Rung.HEDGE, Rung.REDUCE):
                if step.instrument in traded or not self._may_trade(step, now_ns):
                    continue
                traded.add(step.instrument)
            self._note(account.name, step, now_ns)
            if rung is Rung.CANCEL:
                order = self._ledger.orders.get(step.order_ids[0])
                self._cancel([] if order is None else [order], f"adjustment of {account.name}", now_ns)
                self._cancels_until_ns[account.name] = now_ns + CANCELS_WAIT_NS
            elif rung is Rung.CONVERT:
                self._convert(account, step, now_ns)
            elif rung is Rung.COLLATERAL:
                if self.transfers is not None:
                    self.transfers.move(account.name, step.amount, "adjustment", now_ns)
                return
            elif rung is Rung.HAND_OVER:
                self.hand_over(account.name, "nothing else is left", now_ns)
                return
            else:
                self._place(account, step, now_ns)

    def _is_brought(self, account: str, step: Step, now_ns: int) -> bool:
        """Whether collateral is on its way already; from the first time on, it is counted on for so long."""
        self._counts_on_until_ns.setdefault(account, now_ns + COLLATERAL_WAIT_NS)
        return self.transfers is not None and self.transfers.is_coming(account)

    def _note(self, account: str, step: Step, now_ns: int) -> None:
        number = self._ledger.adjustments[account].steps + 1
        mark = self._pipeline.market.marks[step.instrument] if step.instrument >= 0 else None
        record = records.AdjustmentStepped(
            account, number, int(step.rung), step.symbol, step.side, step.lots, step.ticks, step.order_ids,
            step.sold, step.bought, _units(step.amount), _units(step.before), _units(step.after), _units(step.cost),
            0 if mark is None else _units(mark.price), 0 if mark is None else mark.time_ns,
        )  # fmt: skip
        self._pipeline.commit(record, now_ns)

    def _may_trade(self, step: Step, now_ns: int) -> bool:
        """Count an order's notional against what may be traded in a second."""
        second, mark = now_ns // NS_PER_S, self._pipeline.market.marks[step.instrument]
        assert mark is not None
        if second != self._second:
            self._second, self._spent_usd = second, 0.0
        instrument = self._ledger.instruments[step.instrument]
        notional = instrument.notional(step.lots, mark.price, mark.index_price)
        # One order that alone is more than a second's worth goes, where nothing else has: it would never go.
        if self._spent_usd and self._spent_usd + notional > self._config.max_notional_per_s_usd:
            return False
        self._spent_usd += notional
        return True

    def _place(self, account: Account, step: Step, now_ns: int) -> None:
        pipeline, ledger = self._pipeline, self._ledger
        instrument, side = ledger.instruments[step.instrument], Side(step.side)
        order = Order(
            f"adj:{ledger.next_order_id()}", account.name, instrument.symbol, instrument, side, step.lots, step.ticks,
            OrdType.LIMIT, TimeInForce.IOC, False, step.rung is Rung.REDUCE, now_ns,
        )  # fmt: skip
        clients_rate, account.rate = account.rate, self._rates.setdefault(account.name, RateLimit(OWN_RATE, OWN_RATE))
        try:
            decision = evaluate(order, account, pipeline.market)
        finally:
            account.rate = clients_rate
        if not isinstance(decision, Reject):
            pipeline.place(INTERNAL, 0, decision, now_ns)
            return
        code, text = int(decision.reason), f"{decision.check}: {decision.text}"
        pipeline.commit(records.AdjustmentRefused(account.name, instrument.symbol, code, text), now_ns)
        pipeline.monitor.alert_now_and_then(
            ("adjust", account.name), f"adjustment of {account.name}: {decision.reason.name} {text}", now_ns
        )
        if decision.reason in _IN_THE_WAY:
            met = [one for one in ledger.orders_of(account.name) if one.instrument is instrument]
            if account.exposure.client_orders is not None:
                met += account.exposure.client_orders.met_by(side, instrument.index, step.ticks)
            self._cancel(met, f"adjustment of {account.name}", now_ns)

    def _cancel(self, orders: list[WorkingOrder], why: str, now_ns: int) -> None:
        working = [one for one in orders if one.order_id in self._ledger.orders and not one.is_cancel_pending]
        asked = {order.order_id: order for order in working}
        for order in asked.values():
            self._pipeline.cancel_unasked(order, "", now_ns)
        self._pipeline.controls.watch.watch(asked, why, now_ns)

    def _convert(self, account: Account, step: Step, now_ns: int) -> None:
        generation, house = self._generation(), self._config.house_account
        assert generation is not None and house is not None
        base, names = generation.grid.base, generation.currencies
        price, other = (float(generation.currency_values[names.index(name)][base]) for name in (step.sold, step.bought))
        sold = _units(step.amount)
        bought = int(sold * price / other * (1.0 - float(self._config.convert_fee)))
        if sold > 0 and bought > 0:
            self._pipeline.commit(
                records.CashConverted(account.name, house, step.sold, sold, step.bought, bought), now_ns
            )

    def hand_over(self, account: str, reason: str, now_ns: int) -> None:
        """Have the house take all of an account's positions at their marks, and its cash with them, in one record.

        Raises AdjustmentError where there is no house account, or a mark can not be believed; JournalError.
        """
        holder, house, market = self._account(account), self._config.house_account, self._pipeline.market
        if house is None or house not in self._ledger.accounts or house == account:
            raise AdjustmentError("no account takes over: house_account of [adjust]")
        why = blocked(self._ledger, market, self._feeds, holder, now_ns, needs_book=False)
        if why:
            raise AdjustmentError(why)
        self._cancel(list(self._ledger.orders_of(account)), f"take-over of {account}", now_ns)
        positions = []
        for index, position in sorted(holder.positions.items()):
            mark = market.marks[index]
            if position.lots and mark is not None:
                positions.append((index, position.lots, max(1, round(mark.price / position.instrument.tick))))
        self._pipeline.commit(records.AccountHandedOver(account, house, tuple(positions), reason), now_ns)
        if account in self._ledger.adjustments:
            self._end(account, "handed_over", reason, now_ns)
        else:
            self._tell(account, "handed_over")

    def deleverage(self, symbol: str, reason: str, now_ns: int) -> int:
        """Have counterparties, in their published rank, take over the house's position in an instrument at its mark.

        Returns the lots that nobody could take. Raises AdjustmentError, JournalError.
        """
        self.ranking(symbol, now_ns)
        generation, house = self._generation(), self._config.house_account
        instrument = self._ledger.by_symbol[symbol]
        mark = self._pipeline.market.marks[instrument.index]
        if generation is None or house is None or house not in self._ledger.accounts:
            raise AdjustmentError("no account takes over: house_account of [adjust]")
        limit_ns = self._pipeline.market.mark_age_limit_ns(instrument.index)
        if mark is None or not mark.is_sound or now_ns - mark.time_ns > limit_ns:
            raise AdjustmentError(f"{symbol}: its mark is not to be used now")
        lots = self._ledger.accounts[house].position_lots(instrument.index)
        taken, left = deleverage(lots, candidates(self._ledger, generation, instrument, house))
        ticks = max(1, round(mark.price / instrument.tick))
        for one in taken:
            part = one.lots if lots > 0 else -one.lots
            record = records.Deleveraged(
                house, one.account, instrument.index, part, ticks, round(one.rank * 1_000_000), reason
            )
            self._pipeline.commit(record, now_ns)
            self._pipeline.monitor.alert(f"{one.account} deleveraged by {one.lots} lots of {symbol}: {reason}")
        return left

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _account(self, name: str) -> Account:
        found = self._ledger.accounts.get(name)
        if found is None:
            raise AdjustmentError(f"no account {name[:64]}")
        return found

    def _hold(self, account: Account, why: str, now_ns: int) -> None:
        text = f"adjustment of {account.name} waits: {why}"
        self._pipeline.monitor.alert_now_and_then(("adjust", account.name), text, now_ns)

    def _end(self, account: str, outcome: str, reason: str, now_ns: int) -> None:
        self._pipeline.commit(records.AdjustmentEnded(account, outcome, reason), now_ns)
        self.turns.leave(account)
        self._counts_on_until_ns.pop(account, None)
        self._cancels_until_ns.pop(account, None)
        self._stuck.pop(account, None)
        text = f"adjustment of {account} ended, {outcome}: {reason}"
        if outcome in ("cured", "stopped"):  # a market that comes back ends thousands
            self._pipeline.monitor.alert_now_and_then(("adjust", outcome), text, now_ns)
        else:
            self._pipeline.monitor.alert(text)
        self._tell(account, outcome)

    def _tell(self, account: str, outcome: str) -> None:
        for listener in self.listeners:
            listener(account, outcome)


def _units(amount: float) -> int:
    return round(amount * UNITS_PER_WHOLE)
