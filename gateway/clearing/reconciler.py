"""Our book against those of venues, clearing houses and order management systems. A break restricts, and mends nothing.

Whoever has a statement of another book hands it over whole; what is not known is not compared. A difference counts
once two looks have seen the same (risk.reconciliation.Looks), and so does its end. A break that blocks lets the
accounts that it names only reduce, in the same record; that it has ended does not set them free: a person does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.clearing.own_books import (
    FiguresOf,
    cash_of,
    find_trade,
    house_positions,
    margin_of,
    positions_of,
    terms_of,
)
from gateway.clearing.venue_looks import Settled, VenueLooks
from gateway.journal import JournalError
from gateway.records.clearing import BreakChanged, BreakOpened, BreakResolved
from risk.account import Account, AccountState
from risk.breaks import Break
from risk.reconciliation import (
    KINDS_OF,
    Difference,
    Key,
    Kind,
    Looks,
    Severity,
    Tolerance,
    Topic,
    TradeTerms,
    compare_balances,
    compare_margin,
    compare_positions,
    compare_trades,
    strange_trade,
    word_of_third,
)

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.pipeline import Pipeline

NS_PER_S: Final = 1_000_000_000
# As for a venue's positions (executions): a difference that is another one each time counts in the end.
ASKED_AGAIN_AT_MOST: Final = 5
# What only time settles (a copy of a trade whose fill has not come) is looked at so often.
RECHECK_NS: Final = NS_PER_S
VENUES: Final = "venues"  # the source of breaks of all wallets together


class BreakError(Exception):
    """A break that is not open; the text says so."""


class Reconciler:
    """Compares, and commits what two looks agree on. `figures_of` gives an account's margin, or why it is unknown."""

    def __init__(self, pipeline: Pipeline, config: Config, figures_of: FiguresOf) -> None:
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._figures_of = figures_of
        rules = config.reconciliation
        self._margin = Tolerance(rules.margin_agree_bps, rules.margin_block_bps)
        self._balances = Tolerance(rules.balance_agree_bps, rules.balance_block_bps)
        self._venues = tuple(venue.name for venue in config.venue)
        self._compares_wallets = rules.venue_balances
        self._venue_interval_ns = rules.venue_interval_s * NS_PER_S
        self._graces_ns = {one.name: one.trade_grace_s * NS_PER_S for one in config.fix.counterparty}
        self._windows_ns = {one.name: one.trade_window_s * NS_PER_S for one in config.fix.counterparty}
        self._looks: dict[str, Looks] = {}
        self._venue_looks = VenueLooks(self._ledger, pipeline.reports.trades, pipeline.venue_books)
        # The last whole statement of each book: (source, account, topic) -> when.
        self.stated_ns: dict[tuple[str, str, Topic], int] = {}
        self._next_venues_ns = 0
        self._next_recheck_ns = 0

    # -- statements of counterparties ----------------------------------------------------------------------------------

    def positions_told(self, source: str, account: Account, theirs: Mapping[str, Decimal], now_ns: int) -> bool:
        """Compare all open positions of an account; return whether another look is wanted soon."""
        found = compare_positions(account.name, positions_of(account), theirs)
        return self._told(source, account.name, Topic.POSITIONS, found, now_ns)

    def balances_told(self, source: str, account: Account, theirs: Mapping[str, Decimal], now_ns: int) -> bool:
        """Compare an account's cash by currency."""
        theirs = {currency: amount for currency, amount in theirs.items() if amount}
        found = compare_balances(account.name, cash_of(account), theirs, self._balances)
        return self._told(source, account.name, Topic.BALANCES, found, now_ns)

    def margin_told(self, source: str, account: Account, theirs: Mapping[Kind, Decimal], now_ns: int) -> bool:
        """Compare an account's requirements in USD; nothing, while ours are unknown: they are refused for elsewhere."""
        figures = self._figures_of(account, now_ns)
        if isinstance(figures, str):
            return False
        found = compare_margin(account.name, margin_of(figures), theirs, self._margin)
        return self._told(source, account.name, Topic.MARGIN, found, now_ns)

    def trades_since_ns(self, source: str, now_ns: int) -> int:
        """Return from when on trades are compared: nobody answers for what was before the first start."""
        return max(now_ns - self._windows_ns.get(source, 0), self._ledger.counterparties.get(source, 0))

    def trades_told(
        self, source: str, account: Account, theirs: Iterable[TradeTerms], since_ns: int, now_ns: int
    ) -> bool:
        """Compare an account's trades since a time; at its edge clocks may differ by the grace."""
        grace_ns = self._graces_ns.get(source, 0)
        known = {(trade.venue, trade.trade_id): trade for trade in theirs if trade.time_ns >= since_ns}
        recent = self._pipeline.reports.trades.since(account.name, since_ns - grace_ns)
        ours = [
            terms
            for terms in (terms_of(self._ledger, trade) for trade in recent)
            if terms.time_ns >= since_ns + grace_ns or (terms.venue, terms.trade_id) in known
        ]
        found = compare_trades(account.name, ours, known.values(), now_ns - grace_ns)
        return self._told(source, account.name, Topic.TRADES, found, now_ns)

    def _told(
        self,
        source: str,
        account: str,
        topic: Topic,
        found: list[Difference],
        now_ns: int,
        but: frozenset[str] = frozenset(),
    ) -> bool:
        """Take one look at a whole book; nothing is said of the subjects in `but`."""
        self.stated_ns[source, account, topic] = now_ns
        kinds = KINDS_OF[topic]

        def is_covered(key: Key) -> bool:
            of_source, kind, of_account, subject = key
            if (of_source, of_account) != (source, account) or subject in but:
                return False
            return kind in kinds or (kind == Kind.STATEMENT and subject == topic)

        return self._look(source, found, is_covered, now_ns)

    def unanswered(self, source: str, account: str, topic: Topic, why: str, max_age_ns: int, now_ns: int) -> None:
        """Take note that a statement was not to be had: what it would say is unknown, and was not flat."""
        since_ns = self.stated_ns.setdefault((source, account, topic), now_ns)
        severity = Severity.WARN if now_ns - since_ns >= max_age_ns else Severity.INFO
        missing = Difference(Kind.STATEMENT, account, topic, severity, "", why, "none")
        self._look(source, [missing], lambda key: False, now_ns)

    # -- single trades -------------------------------------------------------------------------------------------------

    def trade_told(self, source: str, told: TradeTerms, now_ns: int) -> bool | None:
        """Compare one trade that nobody will tell again; return whether we have the same, None while we have none.

        One that we do not have is noted at once, since a crash would forget it, and blocks when its grace is over.
        """
        ours = find_trade(self._ledger, self._pipeline.reports.trades, told)
        if ours is not None:
            found = compare_trades(told.account, [ours], [told], now_ns)
            self._look(source, [_certain(one) for one in found], lambda key: False, now_ns)
            return not found
        grace_ns = self._graces_ns.get(source, 0)
        self._look(source, [strange_trade(told, now_ns - grace_ns, is_certain=True)], lambda key: False, now_ns)
        return None

    def trade_annulled(self, source: str, told: TradeTerms, now_ns: int) -> bool:
        """Compare a trade that another has annulled; return whether we do not have it either."""
        ours = find_trade(self._ledger, self._pipeline.reports.trades, told)
        if ours is not None:
            subject = f"{told.venue}:{told.trade_id}"
            values = (Severity.BLOCK, ours.words(), "annulled", "annulled", True)
            self._look(
                source, [Difference(Kind.TRADE_TERMS, told.account, subject, *values)], lambda key: False, now_ns
            )
        return ours is None

    def has_same(self, told: TradeTerms) -> bool | None:
        """Whether we have a trade with these terms; None where we have none of its id."""
        ours = find_trade(self._ledger, self._pipeline.reports.trades, told)
        return None if ours is None else (ours.words() == told.words())

    def at_venue(self, told: TradeTerms) -> TradeTerms:
        """Return a trade with the venue of its symbol; empty where that is not listed."""
        instrument = self._ledger.by_symbol.get(told.symbol)
        return msgspec.structs.replace(told, venue="" if instrument is None else instrument.venue)

    def report_answered(self, source: str, account: str, subject: str, text: str, kind: Kind, now_ns: int) -> None:
        """A report of ours was refused, or is never answered: certain, and a warning."""
        refused = Difference(kind, account, subject, Severity.WARN, "reported", text, text, is_certain=True)
        self._look(source, [refused], lambda key: False, now_ns)

    def _recheck(self, now_ns: int) -> None:
        """Trades that were told singly: they have come by now, or their grace is over."""
        for one in list(self._ledger.open_breaks.open.values()):
            if one.kind != Kind.STRANGE_TRADE:
                continue
            venue, _, trade_id = one.subject.partition(":")
            trade = self._pipeline.reports.trades.find(venue, trade_id)
            if trade is not None and terms_of(self._ledger, trade).words() == one.theirs:
                self._resolve(one.key, "the fill has come", now_ns)
            elif one.severity is Severity.INFO and now_ns - one.opened_ns >= self._graces_ns.get(one.source, 0):
                told = Difference(
                    Kind.STRANGE_TRADE, one.account, one.subject, Severity.BLOCK, one.ours, one.theirs, one.delta
                )
                self._raise(one.source, told, BreakChanged, now_ns)

    # -- venues --------------------------------------------------------------------------------------------------------

    def compare_venues(self, now_ns: int) -> bool:
        """Compare what venues have told of positions, and of wallets where that is wanted; those that are live."""
        pipeline, wants_look = self._pipeline, False
        live = pipeline.market.live_venues
        for venue in self._venues:
            if venue not in live:
                self._venue_looks.forget(venue)
                continue
            settled = self._venue_looks.positions(venue, self._known(venue, Kind.POSITION), now_ns)
            if settled is not None:
                wants_look = self._settled(venue, Topic.POSITIONS, settled, now_ns) or wants_look
        wallets = pipeline.venue_books.wallets(self._venues)
        if not self._compares_wallets or wallets is None or not live.issuperset(self._venues):
            self._venue_looks.forget(VENUES)
        else:
            cash: dict[str, Decimal] = {}
            for account in self._ledger.accounts.values():
                for currency, amount in cash_of(account).items():
                    cash[currency] = cash.get(currency, Decimal(0)) + amount
            theirs = {currency: amount for currency, amount in wallets.items() if amount}
            found = compare_balances("", cash, theirs, self._balances)
            settled = self._venue_looks.balances(VENUES, found, self._known(VENUES, Kind.BALANCE), now_ns)
            wants_look = self._settled(VENUES, Topic.BALANCES, settled, now_ns) or wants_look
        return wants_look

    def _known(self, source: str, kind: Kind) -> dict[str, tuple[str, Severity]]:
        known = self._ledger.open_breaks.known().items()
        return {key[3]: token for key, token in known if key[:3] == (source, kind.value, "")}

    def _settled(self, source: str, topic: Topic, settled: Settled, now_ns: int) -> bool:
        must_look_again = self._told(source, "", topic, settled.counted, now_ns, settled.open_subjects)
        return must_look_again or bool(settled.open_subjects)

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int:
        """When `tick` has something to do."""
        return min(self._next_venues_ns, self._next_recheck_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        if now_ns >= self._next_recheck_ns:
            self._next_recheck_ns = now_ns + RECHECK_NS
            self._recheck(now_ns)
        if now_ns >= self._next_venues_ns:
            wants_look = self.compare_venues(now_ns)
            pause_ns = self._venue_looks.pause_ns() if wants_look else self._venue_interval_ns
            self._next_venues_ns = now_ns + min(pause_ns, self._venue_interval_ns)

    # -- people --------------------------------------------------------------------------------------------------------

    def close(self, number: int, who: str, reason: str, now_ns: int) -> Break:
        """End a break that a person answers for: the same difference does not open it again.

        Raises BreakError where it is not open, JournalError if it can not be written.
        """
        one = self._ledger.open_breaks.find(number)
        if one is None:
            raise BreakError(f"break {number} is not open")
        self._pipeline.commit(BreakResolved(*one.key, reason, who), now_ns)
        self._pipeline.monitor.alert(f"break {number} closed by {who}: {reason}")
        return one

    def rows(self, now_ns: int, at_most: int | None = None) -> list[dict[str, Any]]:
        """Return open breaks as plain values, the gravest first; so many at the most."""
        return [row_of(one, now_ns) for one in islice(self._ledger.open_breaks.by_gravity(), at_most)]

    def counts(self) -> dict[str, int]:
        """Return how many breaks are open, by severity."""
        return dict(Counter(one.severity.name.lower() for one in self._ledger.open_breaks.open.values()))

    # -- what a look leads to ------------------------------------------------------------------------------------------

    def _look(self, source: str, found: list[Difference], is_covered: Callable[[Key], bool], now_ns: int) -> bool:
        looks = self._looks.setdefault(source, Looks(ASKED_AGAIN_AT_MOST))
        known = {key: token for key, token in self._ledger.open_breaks.known().items() if key[0] == source}
        verdict = looks.settle(source, found, known, is_covered)
        for difference in verdict.opened:
            self._raise(source, difference, BreakOpened, now_ns)
        for difference in verdict.changed:
            self._raise(source, difference, BreakChanged, now_ns)
        for key in verdict.resolved:
            self._resolve(key, "two looks have found no difference", now_ns)
        return verdict.must_look_again

    def _raise(self, source: str, difference: Difference, kind: type[BreakOpened], now_ns: int) -> None:
        pipeline, ledger = self._pipeline, self._ledger
        restricts = self._restricted_by(difference)
        told = (
            source, difference.kind.value, difference.account, difference.subject, int(difference.severity),
            difference.ours, difference.theirs, difference.delta, self._evidence(source, difference), restricts,
        )  # fmt: skip
        try:
            if kind is BreakOpened and not ledger.open_breaks.has_room():
                self._restrict_only(difference, restricts, now_ns)
                return
            pipeline.commit(kind(*told), now_ns)
        except JournalError as error:  # the next two looks find it again
            pipeline.monitor.journal_failed(str(error))
            return
        one = ledger.open_breaks.open[source, difference.kind.value, difference.account, difference.subject]
        pipeline.monitor.breaks += 1
        pipeline.monitor.alert(f"break {one.number} {one.severity.name}: {one.words()}")

    def _restrict_only(self, difference: Difference, restricts: tuple[str, ...], now_ns: int) -> None:
        """Too many breaks are open to keep one more: what it would stop is stopped all the same."""
        pipeline = self._pipeline
        pipeline.monitor.alert_now_and_then(("breaks", "full"), "too many breaks are open: no more are kept", now_ns)
        for name in restricts:
            if self._ledger.standing.state_of(self._ledger.accounts[name]) is AccountState.TRADING:
                text = f"{difference.kind}: one of too many breaks"
                pipeline.commit(records.AccountStateMoved(name, AccountState.REDUCING, text), now_ns)

    def _resolve(self, key: Key, text: str, now_ns: int) -> None:
        one = self._ledger.open_breaks.open.get(key)
        try:
            self._pipeline.commit(BreakResolved(*key, text), now_ns)
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))
            return
        if one is not None:
            self._pipeline.monitor.alert(f"break {one.number} is over, {text}: {one.words()}")

    def _restricted_by(self, difference: Difference) -> tuple[str, ...]:
        """Name the accounts that a difference stops: its own, or those that hold the instrument, or all."""
        if difference.severity is not Severity.BLOCK:
            return ()
        accounts = self._ledger.accounts
        if difference.account:
            return (difference.account,) if difference.account in accounts else tuple(sorted(accounts))
        holders = [
            name
            for name, account in accounts.items()
            if any(p.held and p.instrument.symbol == difference.subject for p in account.positions.values())
        ]
        return tuple(sorted(holders or accounts))

    def _evidence(self, source: str, difference: Difference) -> str:
        """Say what a third book has: of a position, that of its venue."""
        instrument = self._ledger.by_symbol.get(difference.subject)
        if difference.kind is not Kind.POSITION or instrument is None or instrument.venue == source:
            return ""
        symbol, venue = instrument.symbol, instrument.venue
        theirs = self._pipeline.venue_books.positions(venue)
        third = None
        if theirs is not None and venue in self._pipeline.market.live_venues:
            third = theirs.get(symbol, Decimal(0)) - house_positions(self._ledger, venue).get(symbol, Decimal(0))
        return word_of_third(Decimal(difference.delta), third, venue)


def row_of(one: Break, now_ns: int) -> dict[str, Any]:
    """Return a break as a page, a status line or a command shows it."""
    return {
        "break": one.number,
        "severity": one.severity.name.lower(),
        "source": one.source,
        "kind": one.kind,
        "account": one.account,
        "subject": one.subject,
        "ours": one.ours,
        "theirs": one.theirs,
        "evidence": one.evidence,
        "age_s": round(((one.ended_ns or now_ns) - one.opened_ns) / NS_PER_S, 3),
        "opened_ns": one.opened_ns,
        "ending": one.ending,
    }


def _certain(one: Difference) -> Difference:
    return Difference(one.kind, one.account, one.subject, one.severity, one.ours, one.theirs, one.delta, True)
