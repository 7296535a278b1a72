"""The gateway without its sockets: everything that decides, built in dependency order on one page.

`gateway.app` puts sockets around it; the deterministic simulator in tests drives it with bytes and a clock of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from gateway import order_terms, records
from gateway.clearing.reconciler import Reconciler
from gateway.clients.controls import Controls
from gateway.clients.sessions import clients_of, name_of, state_of
from gateway.config import Account as AccountConfig
from gateway.config import Config
from gateway.hook.clients import Hooks
from gateway.intraday import Intraday
from gateway.journal import Journal, JournalError, Record
from gateway.ledger import Ledger
from gateway.levels import house_terms, set_up_account, venue_books
from gateway.margin.actions import MarginActions
from gateway.margin.adjustments import Adjustments
from gateway.margin.figures import MAINTENANCE_FACTOR, account_rows, level_rows
from gateway.margin.guards import guards_of
from gateway.margin.lost_legs import LostLegs
from gateway.messages import order_lists
from gateway.messages.inquiries import Inquiries
from gateway.monitor import Monitor
from gateway.operators.kills import groups_of
from gateway.operators.limit_moves import LimitMoves, in_force
from gateway.parameters.running import Parameters
from gateway.pipeline import Pipeline
from gateway.records.clearing import CounterpartyOpened
from gateway.records.margin import AccountCurrencySet
from gateway.recovery import Recovered, replay, state_hash
from gateway.reports import Reports
from gateway.router import Router
from gateway.transfers.desk import TransferDesk
from gateway.transfers.seam import AccountTransfers
from gateway.valuation import Valuation
from risk.account import Account, AccountState
from risk.composite import IndexBoard
from risk.instrument import units_from_decimal
from risk.kernel import MarginKernel
from risk.limits import LimitRule, Limits
from risk.marks import Collar, MarkAgeRule, Market
from risk.pre_trade import CHECKS
from risk.rate import RateLimit
from risk.scenarios import Grid
from risk.self_trade import ClientOrders, SelfTradePrevention

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
_SEVERITY: Final = (AccountState.TRADING, AccountState.REDUCING, AccountState.HALTED)


class Core:
    """Ledger, market, checks and reports of one configuration, over one journal."""

    def __init__(self, config: Config, journal: Journal, past: Iterable[Record], now_ns: int, version: str) -> None:
        self.config = config
        self.journal = journal
        sessions = {name_of(session): state_of(config.fix, session) for session in config.fix.session}
        recovered: Recovered = replay(past, sessions)
        self.recovered_records = recovered.records
        self.last_record_ns = recovered.time_ns
        self.ledger: Ledger = recovered.ledger
        self.reports: Reports = recovered.reports
        self.monitor = Monitor()
        self.router = Router()
        self.market = _market(config, len(self.ledger.instruments))
        self.market.halts = self.ledger.standing.halts
        for instrument in self.ledger.instruments:
            self.market.limit_mark_age(instrument)
        self.accounts_of: dict[str, dict[str, Account]] = {}
        self._retry_ns = now_ns  # when to end an interrupted list, at the earliest
        self.pipeline = Pipeline(
            ledger=self.ledger,
            reports=self.reports,
            market=self.market,
            journal=journal,
            router=self.router,
            monitor=self.monitor,
            accounts_of=self.accounts_of,
        )
        self.inquiries = self.pipeline.inquiries = Inquiries(
            self.pipeline,
            max_subscriptions=config.fix.market_data_subscriptions,
            max_backlog_bytes=config.fix.market_data_backlog_bytes,
        )
        self.reconciler = Reconciler(self.pipeline, config, self.inquiries.figures_of)
        self._open(now_ns, version)
        self.hooks = Hooks(self.pipeline, config.hook, now_ns)
        self.limit_moves = LimitMoves(self, self._set_limits)
        self.controls = self.pipeline.controls = Controls(self.pipeline, config.fix, groups_of(config))
        self.controls.listeners.append(self.hooks.killed)
        grid = Grid(config.margin.spot_moves, config.margin.vol_moves)
        terms = house_terms(config, grid, self.ledger.accounts)
        self.valuation = Valuation(self.ledger, self.market, grid, _currencies(config), terms)
        self.valuation.venue_books = venue_books(config, self.ledger.accounts)
        self.inquiries.generation = lambda: self.valuation.generation
        self.adjustments = Adjustments(
            self.pipeline,
            self.inquiries.feeds,
            lambda: self.valuation.generation,
            config.adjust,
            MAINTENANCE_FACTOR,
            lambda: self.valuation.terms,  # parameters that are activated change them
            now_ns,
        )
        self.guards = guards_of(config.guard, self.pipeline, self.inquiries.feeds, now_ns)
        self.lost_legs = LostLegs(self.pipeline, config.market.leg_lost_after_ms * NS_PER_MS, now_ns)
        self.controls.listeners.append(self.lost_legs.killed)
        self.intraday = Intraday(self.pipeline, config.margin_calls, self.inquiries.generation, now_ns)
        self.margin_actions = MarginActions(self.pipeline, self.intraday, self.adjustments, now_ns)
        self.parameters = Parameters(self.pipeline, self.valuation, config, grid, now_ns)
        self.transfers = TransferDesk(self.pipeline, self.intraday, config.collateral, now_ns)
        if self.transfers.is_on:
            self.adjustments.transfers = AccountTransfers(self.transfers)

    def publish_news(self, headline: str, lines: tuple[str, ...], now_ns: int) -> int:
        """Send an operator's News(B) to every client that is logged on; return to how many.

        Raises ValueError for a text that FIX can not carry, JournalError if it can not be written: nothing was sent.
        """
        return self.inquiries.news.publish(headline, lines, now_ns)

    @property
    def checks_configured(self) -> int:
        """How many checks every order must pass."""
        return len(CHECKS)

    def account_rows(
        self, accounts: Iterable[Account] | None = None, now_ns: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the state, equity, initial margin and orders of accounts, or of all; None where margin is unknown."""
        return account_rows(self.ledger.accounts.values() if accounts is None else accounts, self.market, now_ns)

    def level_rows(self, now_ns: int | None = None) -> list[dict[str, Any]]:
        """Return each desk's and firm's equity and initial margin; None where margin is unknown."""
        return level_rows(self.market, now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do: for a session, an order or a hold, or a list that was interrupted."""
        times = (
            self.controls.deadline_ns,
            self.ledger.expiries.deadline_ns,
            self.hooks.deadline_ns,
            self.intraday.deadline_ns,
            self.transfers.deadline_ns,
        )
        due_ns = min((at for at in times if at is not None), default=None)
        if not self.ledger.open_lists:
            return due_ns
        return self._retry_ns if due_ns is None else min(due_ns, self._retry_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due. The caller flushes."""
        self.controls.tick(now_ns)
        order_terms.expire(self.pipeline, now_ns)
        self.hooks.tick(now_ns)
        self.transfers.tick(now_ns)  # first: what never left has failed, and is not unknown
        self.intraday.tick(now_ns)
        self.reconciler.tick(now_ns)
        if self.ledger.open_lists and now_ns >= self._retry_ns:
            self._retry_ns = now_ns + NS_PER_S
            try:
                order_lists.finish_interrupted(self.pipeline, now_ns)
            except JournalError as error:
                self.monitor.journal_failed(str(error))

    @property
    def markets_deadline_ns(self) -> int | None:
        """When `tick_markets` has something to do, at the latest."""
        guards_ns = None if self.guards is None else self.guards.deadline_ns
        times = (guards_ns, self.margin_actions.deadline_ns, self.adjustments.deadline_ns)
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def tick_markets(self, now_ns: int) -> bool:
        """Look at markets and adjustments where it is time to; return whether the caller has something to flush.

        A fault of either is told, and stops nobody from trading.
        """
        if self.guards is not None:
            self._guarded("guards", self.guards.tick, now_ns)
        has_acted = False
        self._guarded("lost legs", self.lost_legs.tick, now_ns)
        for name, one in (("margin actions", self.margin_actions), ("adjustments", self.adjustments)):
            due_ns = one.deadline_ns
            if due_ns is not None and due_ns <= now_ns:
                self._guarded(name, one.tick, now_ns)
                has_acted = True
        return has_acted

    def run_markets(self, now_ns: int) -> bool:
        """Take all turns of `tick_markets` that are due, for who has nothing else to do between them."""
        has_acted = self.tick_markets(now_ns)
        while (due_ns := self.markets_deadline_ns) is not None and due_ns <= now_ns:
            has_acted = self.tick_markets(now_ns) or has_acted
        return has_acted

    def _guarded(self, name: str, tick: Callable[[int], None], now_ns: int) -> None:
        try:
            tick(now_ns)
        except Exception as error:
            text = f"{name} failed: {type(error).__name__}: {error}"
            self.monitor.alert_now_and_then((name, type(error).__name__), text, now_ns)

    def state_hash(self) -> str:
        """Return the hash that a replay of the journal must give."""
        return state_hash(self.ledger, self.reports)

    def _open(self, now_ns: int, version: str) -> None:
        """Journal what the configuration adds to what the journal knows, and set limits, which are not journalled."""
        commit, ledger, config = self.pipeline.commit, self.ledger, self.config
        is_first_start = not ledger.was_opened  # also where a first start died half-way
        commit(records.GatewayStarted(version, f"{now_ns // NS_PER_MS:x}"), now_ns)
        for account_config in config.account:
            if account_config.name not in ledger.accounts:
                commit(records.AccountOpened(account_config.name, account_config.currency), now_ns)
            elif ledger.accounts[account_config.name].currency != account_config.currency:
                commit(AccountCurrencySet(account_config.name, account_config.currency), now_ns)
            if is_first_start:
                cash = ledger.accounts[account_config.name].cash_units
                for currency, amount in account_config.deposits.items():
                    if currency in cash:
                        continue
                    units = units_from_decimal(amount)
                    commit(records.CashMoved(account_config.name, currency, units, "initial deposit"), now_ns)
            self._set_up(in_force(account_config, ledger.standing.limits), now_ns)
        for session in config.fix.session:
            name, state = name_of(session), self.reports.sessions[name_of(session)]
            self.accounts_of[name] = {account: ledger.accounts[account] for account in session.accounts}
            key, digits = state.key, state.config.timestamp_digits
            names = (name, key.begin_string, key.sender_comp_id, key.target_comp_id)
            routing = (key.sender_sub_id, key.sender_location_id, key.target_sub_id, key.target_location_id)
            opened = (*names, session.accounts, routing if any(routing) else (), digits)
            commit(records.SessionOpened(*opened, session.kind, session.pending_reports), now_ns)
        for other in config.fix.counterparty:
            commit(CounterpartyOpened(other.name, other.kind, other.accounts, other.reports_trades), now_ns)
        clients: defaultdict[str, ClientOrders] = defaultdict(ClientOrders)
        for account_name, client in clients_of(config).items():
            ledger.accounts[account_name].exposure.join(clients[client])
        order_lists.finish_interrupted(self.pipeline, now_ns)

    def _set_up(self, config: AccountConfig, now_ns: int) -> None:
        self._set_limits(config)
        account = self.ledger.accounts[config.name]
        account.self_trade_prevention = SelfTradePrevention(config.self_trade_prevention)
        set_up_account(account, self.config)
        # A restart may tighten what an account may do, and never loosens it: that takes a person and a record.
        wanted = AccountState(config.state)
        if _SEVERITY.index(wanted) > _SEVERITY.index(self.ledger.standing.state_of(account)):
            self.pipeline.commit(records.AccountStateMoved(config.name, wanted, "set in the configuration"), now_ns)

    def _set_limits(self, config: AccountConfig) -> None:
        account, limits = self.ledger.accounts[config.name], config.limits
        rules = tuple(
            LimitRule(
                rule.symbol or rule.pattern or "", float(rule.max_order_quantity), float(rule.max_position_quantity)
            )
            for rule in limits.instrument
        )
        account.limits = Limits(float(limits.max_order_notional_usd), limits.max_working_orders, rules)
        # A venue with accounts of its own is the sub-account of those: nobody else trades there.
        account.limits.closed_venues = frozenset(
            venue.name for venue in self.config.venue if venue.accounts and config.name not in venue.accounts
        )
        for instrument in self.ledger.instruments:
            account.limits.list_instrument(instrument)
        rate = RateLimit(limits.max_orders_per_second, limits.order_burst)
        rate.arrival_ns = account.rate.arrival_ns  # what was sent counts, whatever the limit was
        account.rate = rate


def _market(config: Config, instruments: int) -> Market:
    market = config.market
    collar = Collar(float(market.collar_fraction), float(market.option_collar_fraction), market.option_collar_min_ticks)
    # One row of each: a kernel that was never loaded is never asked, since the generation's age refuses before it.
    return Market(
        kernel=MarginKernel(1, 1, 1, 1, 1),
        marks=[None] * instruments,
        mark_max_age_ns=market.mark_max_age_ms * NS_PER_MS,
        generation_max_age_ns=market.generation_max_age_ms * NS_PER_MS,
        collar=collar,
        due_after_move=float(market.generation_move_fraction),
        due_after_vol_move=float(market.generation_vol_move_fraction),
        mark_age_rules=tuple(
            MarkAgeRule(venue.name, pattern, venue.symbol_suffix, age_ms * NS_PER_MS)
            for venue in config.venue
            for pattern, age_ms in venue.mark_ages()
        ),
        day_ends_s={venue.name: venue.day_end_s for venue in config.venue if venue.kind != "deribit"},
        stop_triggers={venue.name: venue.stop_trigger for venue in config.venue if venue.kind == "deribit"},
        board=IndexBoard(
            market.mark_max_age_ms * NS_PER_MS, float(market.index_max_deviation), float(market.mark_max_basis)
        ),
    )


def _currencies(config: Config) -> list[str]:
    names = [currency for account in config.account for currency in account.deposits]
    return list(dict.fromkeys([*names, *(c for venue in config.venue for c in venue.currencies)]))
