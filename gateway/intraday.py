"""The intraday loop: margin watched, called for, collected; each decision journalled before it acts.

It is driven, and waits for nothing: by generations (`begin` and `step`, in slices, after each swap), by fills
(`Pipeline.touched_accounts`), by transfers (`begin_transfer`, `transfer_moved`), and by time (`tick`). Whoever acts on
what it decides (adjustments of positions, pages for people) is told by `listeners`, behind the journal.

Who looks at a ratio first looks at a bound of it: maintenance is at most MAINTENANCE_FACTOR times the margin with all
working orders, which the kernel has at hand. Only accounts that are not clear of the first threshold by that are worked
out, the worst of a slice first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from gateway import records
from gateway.config.margin_calls import RUNGS, MarginCalls, MarginProfile
from gateway.journal import JournalError
from gateway.margin.book import in_its_currency
from gateway.margin.figures import MAINTENANCE_FACTOR, WalletMargin, wallets_of
from gateway.pipeline import Pipeline
from gateway.records.margin import (
    MarginCalled,
    MarginCallMoved,
    MarginStateMoved,
    TransferBegun,
    TransferMoved,
)
from risk.account import Account
from risk.calls import CallHappening, CallTerms
from risk.collateral_ledger import Place, TransferError, TransferHappening, TransferTerms
from risk.instrument import UNITS_PER_WHOLE, units_against_client, units_from_decimal
from risk.margin_states import BPS, MarginState, Signal, Thresholds, ratio_bps
from risk.margin_watch import (
    CallIssued,
    CallMoved,
    Decision,
    Margin,
    MarginWatch,
    Profile,
    StateMoved,
    answer,
    elapse,
    revalue,
    signal,
    uphold,
)
from risk.scenarios import Generation

NS_PER_S: Final = 1_000_000_000
# Accounts looked at, and accounts decided on, in a slice: half a millisecond each.
SCREENED_PER_SLICE: Final = 500
DECIDED_PER_SLICE: Final = 16
# Deadlines that one turn of the loop acts on.
ELAPSED_AT_ONCE: Final = 256
# A loop that did not turn for so long gives what has come meanwhile its turn before anything expires.
STALL_NS: Final = 500_000_000
AFTER_STALL_NS: Final = 100_000_000
# Below a hundredth of a cent an amount is what float sums leave of nothing, and nobody owes it: in USD.
DUST_USD: Final = 1e-4
# After a journal that could not be written, and how often transfers are looked at.
RETRY_NS: Final = NS_PER_S

_RECORD_OF: Final[dict[type[Any], type[Any]]] = {
    StateMoved: MarginStateMoved,
    CallIssued: MarginCalled,
    CallMoved: MarginCallMoved,
}


class Intraday:
    """The watch over all accounts of one gateway; without a configuration it decides nothing."""

    def __init__(
        self, pipeline: Pipeline, config: MarginCalls | None, generation: Callable[[], Generation | None], now_ns: int
    ) -> None:
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._book = pipeline.ledger.margin
        self._config = config
        self._generation = generation
        self._profiles = () if config is None else tuple((one, profile_of(one)) for one in config.profile)
        self._profile_of: dict[str, Profile | None] = {}
        resume_ns = 0 if config is None else config.resume_period_s * NS_PER_S
        self._not_before_ns = now_ns + resume_ns
        self._dirty = pipeline.touched_accounts
        self._pass: Iterator[None] | None = None
        self._transfers_ns = now_ns
        self._short: dict[str, list[WalletMargin]] = {}
        self.listeners: list[Callable[[records.Record, int], None]] = []
        self.stalls = self.passes = self.decisions = self.unknown = 0
        pipeline.intraday = self

    @property
    def is_on(self) -> bool:
        """Whether there is anything to watch."""
        return self._config is not None

    def profile(self, account: str) -> Profile | None:
        """Return the profile of an account; None for one that nobody watches."""
        if account not in self._profile_of:
            fitting = (p for one, p in self._profiles if any(fnmatchcase(account, shape) for shape in one.accounts))
            self._profile_of[account] = next(fitting, None)
        return self._profile_of[account]

    # -- generations -------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a pass has begun and is not over."""
        return self._pass is not None

    def begin(self, now_ns: int) -> None:
        """Begin a pass over all accounts; one that was not over yet gives way, since its arrays are gone."""
        self._pass = self._accounts(now_ns) if self.is_on and self._generation() is not None else None

    def step(self) -> bool:
        """Look at some more accounts; True once the pass is over."""
        if self._pass is not None and next(self._pass, self) is self:
            self._pass = None
            self.passes += 1
        return self._pass is None

    def run(self, now_ns: int) -> None:
        """Make a whole pass at once."""
        self.begin(now_ns)
        while not self.step():
            pass

    def _accounts(self, now_ns: int) -> Iterator[None]:
        """Look at all accounts, some at a time, and decide on those of them that need it, the worst first."""
        self.unknown = 0
        accounts = list(self._ledger.accounts.values())
        try:
            for start in range(0, len(accounts), SCREENED_PER_SLICE):
                self._look_at_wallets(accounts[start : start + SCREENED_PER_SLICE], now_ns)
                near = self._near(accounts[start : start + SCREENED_PER_SLICE])
                for number, (_, name) in enumerate(sorted(near), 1):
                    self._decide(name, now_ns)
                    if number % DECIDED_PER_SLICE == 0:
                        yield
                yield
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))

    def _look_at_wallets(self, accounts: list[Account], now_ns: int) -> None:
        """Tell of wallets that venues' own models call short: collateral there cures it, and no margin call."""
        for account in accounts:
            if not account.sub_accounts:
                continue
            short = [one for one in wallets_of(account, self._pipeline.market) if not one.excess >= 0]
            self._short.pop(account.name, None)
            if short:
                self._short[account.name] = short
                what = ", ".join(f"{one.name} lacks {-one.excess:,.8g}" for one in short)
                key = ("wallet", account.name)
                self._pipeline.monitor.alert_now_and_then(key, f"account {account.name}: {what}", now_ns)

    def _near(self, accounts: list[Account]) -> list[tuple[float, str]]:
        """Return a bound of each account's ratio, and its name, where that does not show that all is well."""
        market, watches, profiles = self._pipeline.market, self._book.watches, self._profile_of
        kernel, base = market.kernel, market.base_scenario
        equity_of, worst_of = kernel.equity, kernel.worst
        near: list[tuple[float, str]] = []
        for account in accounts:
            name, index = account.name, account.index
            profile = profiles[name] if name in profiles else self.profile(name)
            if profile is None:
                continue
            equity = equity_of(index, base)
            most = MAINTENANCE_FACTOR * (equity - worst_of(index))
            if equity * BPS > profile.thresholds.leave_bps[0] * most and equity > 0:
                watch = watches.get(name)
                if watch is None or (watch.state is MarginState.HEALTHY and not watch.open_calls):
                    continue
            if most != most:
                self.unknown += 1
                continue
            near.append((equity / most if most > 0 else equity, name))
        return near

    def _margin(self, account: Account, now_ns: int) -> Margin | None:
        """Return what an account has and needs, rounded against it; None where that is unknown."""
        market = self._pipeline.market
        if now_ns - market.generation_time_ns > market.generation_max_age_ns:
            return None
        equity = market.kernel.equity(account.index, market.base_scenario)
        core = equity - market.kernel.held(account.index)  # working orders are not in maintenance
        if not (equity == equity and core == core):
            return None
        equity, core = (0.0 if abs(amount) < DUST_USD else amount for amount in (equity, core))
        return Margin(units_against_client(equity), -units_against_client(-MAINTENANCE_FACTOR * core))

    def _decide(self, name: str, now_ns: int) -> None:
        account, profile = self._ledger.accounts[name], self.profile(name)
        if profile is not None and self._book.watch(name).state not in (MarginState.TAKEN_OVER, MarginState.CLOSED):
            margin = self._margin(account, now_ns)
            if margin is not None and _owes_nothing(account):  # what counts for nothing, and bears moves, owes nothing
                margin = Margin(max(0, margin.equity_units), 0)
            self._commit(revalue(self._book.watch(name), profile, margin, now_ns), now_ns)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _commit(self, decisions: Iterator[Decision], now_ns: int) -> int:
        """Journal, apply and report each decision before the next is asked for; return how many there were.

        Raises JournalError where one can not be written: it was not made then, and will be again.
        """
        count = 0
        for decision in decisions:
            record = _RECORD_OF[type(decision)](*msgspec.structs.astuple(decision))
            if isinstance(record, MarginCalled):
                account = self._ledger.accounts[record.account]
                record = in_its_currency(record, account, self._pipeline.market, now_ns)
            self._pipeline.commit(record, now_ns)
            count += 1
            self._told(record, now_ns)
        self.decisions += count
        return count

    def _told(self, record: records.Record, now_ns: int) -> None:
        if isinstance(record, MarginStateMoved):
            monitor, what = self._pipeline.monitor, f"margin of {record.account} {record.state}: {record.reason}"
            if record.state in (MarginState.TAKEN_OVER, MarginState.CLOSED):
                monitor.alert(what)
            else:  # a market that falls moves thousands: `rows` has them all
                monitor.alert_now_and_then(("margin", record.state), what, now_ns)
        for listener in self.listeners:
            listener(record, now_ns)

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        if not self.is_on:
            return None
        times = [] if self._book.deadline_ns is None else [max(self._book.deadline_ns + 1, self._not_before_ns)]
        if self._dirty:
            times.append(0)
        if self._book.collateral.has_live:
            times.append(self._transfers_ns)
        return min(times, default=None)

    def may_expire(self, now_ns: int) -> bool:
        """Whether what is overdue by now may expire: not right after a start, or after the loop stood still."""
        return now_ns >= self._not_before_ns

    def stalled(self, now_ns: int) -> None:
        """The loop has not turned for a while: nothing expires before what has come meanwhile had its turn."""
        self.stalls += 1
        self._not_before_ns = max(self._not_before_ns, now_ns + AFTER_STALL_NS)

    def tick(self, now_ns: int) -> None:
        """Do what is due: accounts with fills, calls and graces that ran out, transfers of which nothing was heard."""
        if not self.is_on:
            return
        try:
            while self._dirty:
                self._decide(next(iter(self._dirty)), now_ns)
                del self._dirty[next(iter(self._dirty))]
            if now_ns >= self._not_before_ns:
                for _ in range(ELAPSED_AT_ONCE):
                    watch = self._book.overdue(now_ns)
                    if watch is None or not self._elapse(watch, now_ns):
                        break
            if now_ns >= self._transfers_ns:
                self._transfers_ns = now_ns + RETRY_NS
                for transfer in self._book.collateral.overdue(now_ns)[:ELAPSED_AT_ONCE]:
                    key = transfer.terms.key
                    record = TransferMoved(key, TransferHappening.TIMED_OUT, 0, "", 0, "nothing was heard in time")
                    self._pipeline.commit(record, now_ns)
                    self._pipeline.monitor.alert(f"transfer {key} UNKNOWN: nothing was heard in time")
        except JournalError as error:
            self._not_before_ns = now_ns + RETRY_NS
            self._pipeline.monitor.journal_failed(str(error))

    def _elapse(self, watch: MarginWatch, now_ns: int) -> int:
        profile = self.profile(watch.account)
        if profile is None:
            profile = profile_of(MarginProfile(name="none", accounts=("*",)))  # its call outlived its profile
        return self._commit(elapse(watch, profile, now_ns), now_ns)

    # -- transfers ---------------------------------------------------------------------------------------------------

    @property
    def settlement_timeout_ns(self) -> int:
        """How long a transfer may be on its way before it is UNKNOWN."""
        return 0 if self._config is None else self._config.settlement_timeout_s * NS_PER_S

    def begin_transfer(self, terms: TransferTerms, now_ns: int, call_id: str = "") -> bool:
        """Begin a transfer; False where its key is known: it is the same one. Raises TransferError, JournalError."""
        collateral = self._book.collateral
        if collateral.known(terms) is not None:
            return False
        if (refusal := collateral.why_not(terms)) is not None:
            raise TransferError(refusal)
        if terms.target.place is Place.CLIENT and (refusal := self._why_not_out(terms, now_ns)) is not None:
            raise TransferError(refusal)
        self._pipeline.commit(begun(terms, now_ns + self.settlement_timeout_ns, call_id), now_ns)
        self._dirty[terms.account] = None
        return True

    def _why_not_out(self, terms: TransferTerms, now_ns: int) -> str | None:
        """Return why collateral may not leave: margin without it must be known, covered, and out of every band."""
        account, market = self._ledger.accounts[terms.account], self._pipeline.market
        price = self._price(terms.asset, now_ns, max)
        margin, profile = self._margin(account, now_ns), self.profile(terms.account)
        if price is None or margin is None or profile is None:
            return "margin is unknown: nothing leaves"
        value = terms.units / UNITS_PER_WHOLE * price
        left = margin.equity_units + units_against_client(-value)
        left = left if abs(left) > DUST_USD * UNITS_PER_WHOLE else 0
        is_its_own = _owes_nothing(account) and account.cash_units.get(terms.asset, 0) >= terms.units
        is_needed = bool(account.exposure.orders) or not is_its_own
        rows = (account.index, *market.above(account.index))[0 if is_needed else 1 :]
        if not all(market.kernel.worst(row) >= value - DUST_USD for row in rows):
            return "insufficient collateral: it covers initial margin"
        for wallet in wallets_of(account, market):
            pinned = account.sub_accounts[wallet.venue].collateral_units is not None
            if wallet.unit == terms.asset and not pinned and not wallet.excess >= (terms.units - 0.5) / UNITS_PER_WHOLE:
                return f"insufficient collateral: it covers initial margin, {wallet.name}"
        if is_needed and ratio_bps(left, margin.maintenance_units) < profile.thresholds.leave_bps[0]:
            return "insufficient collateral: the margin ratio would be at warning"
        return None

    def transfer_moved(
        self, key: str, happening: TransferHappening, now_ns: int, *, units: int = 0, reference: str = "", why: str = ""
    ) -> bool:
        """Book what happened to a transfer; False where that was told of before.

        What is due of its account is decided first: who pays after a deadline pays after it, whether or not a timer
        has fired. Raises JournalError; TransferError for what can not be true, which is a break that people look at.
        """
        collateral = self._book.collateral
        try:
            transfer = collateral.check(key, happening, units, reference)
        except TransferError as error:
            if key in collateral.transfers:
                asset = collateral.transfers[key].terms.asset
                self._pipeline.commit(records.BreakRaised("collateral", asset, f"transfer {key}: {error}"), now_ns)
            raise
        if transfer is None:
            return False
        terms, value = transfer.terms, 0
        if now_ns >= self._not_before_ns:
            self._elapse(self._book.watch(terms.account), now_ns)
        if units and terms.source.place is Place.CLIENT:
            # At the last price, however old it is: what was called for is paid, whether or not a feed is down.
            price = self._price(terms.asset, None, min, terms.account)
            value = units_against_client(units / UNITS_PER_WHOLE * (price or 0.0))
        self._pipeline.commit(TransferMoved(key, happening, units, reference, value, why), now_ns)
        self._dirty[terms.account] = None
        return True

    def _price(self, asset: str, now_ns: int | None, over: Callable[[Any], Any], account: str = "") -> float | None:
        """Return an asset's worst or best price in USD over all scenarios; None where it has none, or none by now.

        For an account it is what a whole of it counts for there, None where its profiles or the house do not take it.
        """
        generation, market = self._generation(), self._pipeline.market
        if generation is None or asset not in generation.currencies:
            return None
        if now_ns is not None and now_ns - market.generation_time_ns > market.generation_max_age_ns:
            return None
        values = generation.currency_values[generation.currencies.index(asset)]
        price = float(over(values))
        if over is min:  # what is pledged counts for no more than its haircut leaves, whatever the grid says
            price = min(price, float(values[generation.grid.base]) * (1.0 - market.haircuts.get(asset, 0.0)))
            if account:
                share = self._ledger.accounts[account].counted_share(asset)
                price = min(price, float(values[generation.grid.base]) * share)
        return price if price == price and price > 0 else None

    def last_price(self, asset: str, account: str = "") -> float | None:
        """Return what a whole of an asset counts for by the last generation, however old that is."""
        return self._price(asset, None, min, account)

    def margin_of(self, account: str, now_ns: int) -> Margin | None:
        """Return what an account has and needs; None where that is unknown."""
        return self._margin(self._ledger.accounts[account], now_ns)

    def price(self, asset: str, now_ns: int, account: str = "") -> float | None:
        """Return what a whole of an asset counts for, in USD, of an account where one is named.

        None for one that is not eligible there, or has no price.
        """
        return self._price(asset, now_ns, min, account)

    # -- people and others -------------------------------------------------------------------------------------------

    def said(self, account: str, told: Signal, reason: str, now_ns: int) -> None:
        """Take what a person or an adjustment says: EXHAUSTED, HANDED_OVER, REINSTATED.

        Raises IllegalTransitionError where the account's state knows no such thing, and JournalError.
        """
        self._commit(signal(self._book.watch(account), told, reason), now_ns)

    def upheld(self, account: str, call_id: str, reason: str, now_ns: int) -> None:
        """A person has looked at a dispute: the call stands, with a new deadline. Raises as `uphold`."""
        profile = self.profile(account)
        cure_ns = 0 if profile is None else profile.terms.cure_ns
        self._commit(uphold(self._book.watch(account), call_id, now_ns + cure_ns, reason), now_ns)

    def answered(
        self, account: str, call_id: str, told: CallHappening, undisputed_units: int, now_ns: int
    ) -> CallMoved | None:
        """Return what a client's answer changes of a call, None where nothing; raises as risk.margin_watch.answer."""
        if now_ns >= self._not_before_ns:
            self._elapse(self._book.watch(account), now_ns)
        made = next(answer(self._book.watch(account), call_id, told, undisputed_units), None)
        assert made is None or isinstance(made, CallMoved)
        return made

    def rows(self) -> list[dict[str, Any]]:
        """Return each account that is not healthy, or is called, for operators; worst states first."""
        order = list(MarginState)
        shown = [watch for watch in self._book.watches.values() if not watch.is_untouched]
        shown = [watch for watch in shown if watch.state is not MarginState.HEALTHY or watch.open_calls]
        return [
            {
                "account": watch.account,
                "margin_state": watch.state.value,
                "calls": len(watch.open_calls),
                "called_usd": watch.outstanding_units / UNITS_PER_WHOLE,
                "deadline_ns": watch.deadline_ns,
            }
            for watch in sorted(shown, key=lambda watch: (-order.index(watch.state), watch.account))
        ]

    def counters(self) -> dict[str, Any]:
        """Return counters as plain values."""
        return {
            "is_on": self.is_on,
            "passes": self.passes,
            "decisions": self.decisions,
            "unknown": self.unknown,
            "stalls": self.stalls,
        }

    def snapshot(self) -> dict[str, Any]:
        """Return counters and rows as plain values."""
        collateral = self._book.collateral
        return self.counters() | {
            "accounts": self.rows(),
            "wallets": [
                {"account": name, "wallet": one.name, "equity": one.equity, "initial_margin": one.initial}
                for name, short in sorted(self._short.items())
                for one in short
            ],
            "transfers": [
                {
                    "transfer": one.terms.key,
                    "account": one.terms.account,
                    "asset": one.terms.asset,
                    "units": one.open_units,
                    "state": one.state.value,
                }
                for one in collateral.live()
            ],
        }


def _owes_nothing(account: Account) -> bool:
    """Whether all that an account has is its own: it holds no contract, and owes no asset."""
    has_debt = any(units < 0 for units in account.cash_units.values())
    return not has_debt and not any(position.held for position in account.positions.values())


def begun(terms: TransferTerms, due_ns: int, call_id: str) -> TransferBegun:
    """Return the record that begins a transfer."""
    source, target = terms.source, terms.target
    return TransferBegun(
        terms.key, terms.account, terms.asset, terms.units, source.place.value, source.name, target.place.value,
        target.name, due_ns, call_id,
    )  # fmt: skip


def profile_of(config: MarginProfile) -> Profile:
    """Return a profile of the configuration in integers."""
    enter, leave = (
        tuple(int(getattr(config, f"{rung}_{suffix}") * BPS) for rung in RUNGS) for suffix in ("at", "until")
    )
    return Profile(
        config.name,
        Thresholds(enter, leave),  # type: ignore[arg-type]  # five of each: RUNGS
        CallTerms(
            target_bps=leave[1],
            threshold_units=units_from_decimal(config.threshold_usd),
            minimum_units=units_from_decimal(config.minimum_transfer_usd),
            step_units=units_from_decimal(config.rounding_usd),
            cure_ns=config.cure_period_s * NS_PER_S,
            dispute_ns=config.dispute_period_s * NS_PER_S,
            grace_ns=config.grace_period_s * NS_PER_S,
        ),
    )
