"""Two books of the same thing, compared: what differs, and how grave that is. Nothing here is ever mended.

A difference names its kind, account and subject (a symbol, a currency, a trade), both values, and a `delta` that says
when two looks have seen the same difference: of a position what the other book has more than ours, so that a fill on
its way looks different each time; of margin nothing but the severity, since margin never stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

# Of one comparison; beyond them one more says how many there are.
MAX_DIFFERENCES: Final = 1_000
BPS: Final = Decimal(10_000)
_ZERO: Final = Decimal(0)


class Severity(IntEnum):
    """INFO: may be timing. WARN: a person should look. BLOCK: no new risk until a person has looked."""

    INFO = 1
    WARN = 2
    BLOCK = 3


class Topic(StrEnum):
    """What one comparison is about: each has a statement of its own."""

    POSITIONS = "positions"
    TRADES = "trades"
    BALANCES = "balances"
    MARGIN = "margin"


class Kind(StrEnum):
    """What can differ."""

    POSITION = "position"
    STRANGE_TRADE = "strange_trade"
    MISSING_TRADE = "missing_trade"
    TRADE_TERMS = "trade_terms"
    TRADE_PRICE = "trade_price"
    TRADE_REFUSED = "trade_refused"
    TRADE_UNANSWERED = "trade_unanswered"
    BALANCE = "balance"
    INITIAL_MARGIN = "initial_margin"
    MAINTENANCE_MARGIN = "maintenance_margin"
    STATEMENT = "statement"


# What a comparison of a topic vouches for: a break of these kinds that it does not find again is over.
KINDS_OF: Final[Mapping[Topic, frozenset[Kind]]] = {
    Topic.POSITIONS: frozenset({Kind.POSITION}),
    Topic.TRADES: frozenset({Kind.STRANGE_TRADE, Kind.MISSING_TRADE, Kind.TRADE_TERMS, Kind.TRADE_PRICE}),
    Topic.BALANCES: frozenset({Kind.BALANCE}),
    Topic.MARGIN: frozenset({Kind.INITIAL_MARGIN, Kind.MAINTENANCE_MARGIN}),
}


class Difference(msgspec.Struct, frozen=True, gc=False):
    """One difference. `is_certain`: it counts at once, since nobody will tell of it a second time."""

    kind: Kind
    account: str
    subject: str
    severity: Severity
    ours: str
    theirs: str
    delta: str
    is_certain: bool = False


class TradeTerms(msgspec.Struct, frozen=True, gc=False):
    """A trade by (venue, trade id), as one book has it; `side` as FIX Side(54)."""

    venue: str
    trade_id: str
    account: str
    symbol: str
    side: int
    quantity: Decimal
    price: Decimal
    time_ns: int

    def words(self) -> str:
        """Return what a person reads."""
        side = "buy" if self.side == 1 else "sell"
        return f"{self.account} {side} {_text(self.quantity)} {self.symbol} at {_text(self.price)}"


class Tolerance(msgspec.Struct, frozen=True, gc=False):
    """Parts of the larger value, in basis points: up to `agree_bps` two values agree; beyond `block_bps` (None: never)
    a difference against the client blocks, and any other is a warning.
    """

    agree_bps: int
    block_bps: int | None = None

    def severity(self, ours: Decimal, theirs: Decimal, is_against_client: bool) -> Severity | None:
        """Return how grave the difference of two values is, None where they agree."""
        apart, base = abs(theirs - ours) * BPS, max(abs(ours), abs(theirs))
        if apart <= self.agree_bps * base:
            return None
        is_grave = self.block_bps is not None and is_against_client and apart > self.block_bps * base
        return Severity.BLOCK if is_grave else Severity.WARN


# -- comparisons -----------------------------------------------------------------------------------------------------


def compare_positions(account: str, ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> list[Difference]:
    """Compare signed quantities by symbol; a symbol that a book does not name is flat there. Any difference blocks."""
    found = []
    for symbol in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(symbol, _ZERO), theirs.get(symbol, _ZERO)
        if mine != other:
            delta = _text(other - mine)
            found.append(Difference(Kind.POSITION, account, symbol, Severity.BLOCK, _text(mine), _text(other), delta))
    return bounded(found)


def compare_balances(
    account: str, ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal], tolerance: Tolerance
) -> list[Difference]:
    """Compare cash by currency. Less than we think is there is against the client, more is not."""
    found = []
    for currency in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(currency, _ZERO), theirs.get(currency, _ZERO)
        severity = tolerance.severity(mine, other, is_against_client=other < mine)
        if severity is not None:
            delta = _text(other - mine)
            found.append(Difference(Kind.BALANCE, account, currency, severity, _text(mine), _text(other), delta))
    return bounded(found)


def compare_margin(
    account: str, ours: Mapping[Kind, Decimal], theirs: Mapping[Kind, Decimal], tolerance: Tolerance
) -> list[Difference]:
    """Compare requirements in USD, those that both books tell of; where theirs is larger, it is against the client."""
    found = []
    for kind in sorted(ours.keys() & theirs.keys()):
        mine, other = ours[kind], theirs[kind]
        severity = tolerance.severity(mine, other, is_against_client=other > mine)
        if severity is not None:
            found.append(Difference(kind, account, "USD", severity, _text(mine), _text(other), ""))
    return found


def compare_trades(
    account: str, ours: Iterable[TradeTerms], theirs: Iterable[TradeTerms], settled_before_ns: int
) -> list[Difference]:
    """Compare trades by (venue, trade id). What is younger than `settled_before_ns` may be on its way: INFO.

    A trade that they have and we have not blocks, as do other terms than ours; one that they lack is a warning. The
    same trade told twice is one; told twice with other terms, it is the one that differs.
    """
    mine = {(trade.venue, trade.trade_id): trade for trade in ours}
    others: dict[tuple[str, str], TradeTerms] = {}
    for trade in theirs:
        key = trade.venue, trade.trade_id
        if key not in others or (key in mine and terms_agree(mine[key], others[key])):
            others[key] = trade
    found = []
    for key in sorted(mine.keys() | others.keys()):
        difference = _compare_trade(account, mine.get(key), others.get(key), settled_before_ns)
        if difference is not None:
            found.append(difference)
    return bounded(found)


def _compare_trade(
    account: str, mine: TradeTerms | None, other: TradeTerms | None, settled_before_ns: int
) -> Difference | None:
    if mine is None:
        assert other is not None
        return strange_trade(other, settled_before_ns)
    subject = f"{mine.venue}:{mine.trade_id}"
    if other is None:
        is_young = mine.time_ns >= settled_before_ns
        severity = Severity.INFO if is_young else Severity.WARN
        return Difference(Kind.MISSING_TRADE, account, subject, severity, mine.words(), "", "missing")
    if not terms_agree(mine, other):
        words = other.words()
        return Difference(Kind.TRADE_TERMS, account, subject, Severity.BLOCK, mine.words(), words, words)
    if mine.price != other.price:
        words = other.words()
        return Difference(Kind.TRADE_PRICE, account, subject, Severity.WARN, mine.words(), words, words)
    return None


def strange_trade(trade: TradeTerms, settled_before_ns: int, *, is_certain: bool = False) -> Difference:
    """Return the difference of a trade that we do not have: a fill that we have missed, or that is not ours."""
    severity = Severity.INFO if trade.time_ns >= settled_before_ns else Severity.BLOCK
    subject, words = f"{trade.venue}:{trade.trade_id}", trade.words()
    return Difference(Kind.STRANGE_TRADE, trade.account, subject, severity, "", words, words, is_certain)


def terms_agree(mine: TradeTerms, other: TradeTerms) -> bool:
    """Whether two books have the same of a trade, its price apart: what moves a position."""
    return _position_of(mine) == _position_of(other)


def _position_of(trade: TradeTerms) -> tuple[str, str, int, Decimal]:
    return trade.account, trade.symbol, trade.side, trade.quantity


def bounded(found: list[Difference]) -> list[Difference]:
    """Return at most MAX_DIFFERENCES; what is beyond them is one more, that blocks."""
    if len(found) <= MAX_DIFFERENCES:
        return found
    first, more = found[0], len(found) - MAX_DIFFERENCES
    rest = Difference(first.kind, first.account, "...", Severity.BLOCK, "", f"{more} more differences", str(more))
    return [*found[:MAX_DIFFERENCES], rest]


def word_of_third(delta: Decimal, third_delta: Decimal | None, third: str) -> str:
    """Say with whom a third book agrees. Both deltas are what a book has more than ours; None: it is not known."""
    if third_delta is None:
        return f"{third} is unknown"
    if third_delta == 0:
        return f"{third} agrees with us"
    return f"{third} agrees with it: ours stands alone" if third_delta == delta else f"{third} differs from both"


def sums(rows: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sum of quantities by name, without those that are zero."""
    total: dict[str, Decimal] = {}
    for name, quantity in rows:
        total[name] = total.get(name, _ZERO) + quantity
    return {name: quantity for name, quantity in total.items() if quantity}


def _text(value: Decimal) -> str:
    """Write a number plainly: no exponent, no trailing zeros."""
    return f"{value.normalize() + 0:f}"


# -- what two looks say ----------------------------------------------------------------------------------------------

Key = tuple[str, str, str, str]  # source, kind, account, subject


class Verdict(msgspec.Struct, frozen=True):
    """What one look has settled. `must_look_again`: some of it is not sure yet."""

    opened: list[Difference]
    changed: list[Difference]
    resolved: list[Key]
    must_look_again: bool


class Looks:
    """Differences that were seen once, and breaks that were not found once: either counts when it is so again.

    One that is another each time counts in the end: it is no more to be trusted than one that stays. Not journalled:
    after a restart two new looks decide.
    """

    def __init__(self, at_most: int) -> None:
        """`at_most`: so many looks may see another difference each before the last of them counts."""
        self._at_most = at_most
        self._seen: dict[Key, tuple[tuple[str, Severity], int]] = {}
        self._gone: set[Key] = set()

    def __len__(self) -> int:
        return len(self._seen) + len(self._gone)

    def settle(
        self,
        source: str,
        found: Iterable[Difference],
        known: Mapping[Key, tuple[str, Severity]],
        is_covered: Callable[[Key], bool],
    ) -> Verdict:
        """Take one look.

        Parameters
        ----------
        found : the differences of this look
        known : open breaks, and those that a person has accepted: what they are, by (delta, severity)
        is_covered : whether this look would have found a break of this key again
        """
        opened: list[Difference] = []
        changed: list[Difference] = []
        resolved: list[Key] = []
        now = {(source, d.kind.value, d.account, d.subject): d for d in found}
        for key, difference in now.items():
            self._gone.discard(key)
            token = difference.delta, difference.severity
            if known.get(key) == token:
                self._seen.pop(key, None)
            elif difference.is_certain or self._is_sure(key, token):
                self._seen.pop(key, None)
                (changed if key in known else opened).append(difference)
        for key in self._covered(self._seen, is_covered, now):
            del self._seen[key]
        for key in self._covered(known, is_covered, now):
            if key in self._gone:
                self._gone.discard(key)
                resolved.append(key)
            else:
                self._gone.add(key)
        self._gone.intersection_update(known)
        waits = any(key in self._seen for key in now) or any(map(is_covered, self._gone))
        return Verdict(opened, changed, resolved, waits)

    def _is_sure(self, key: Key, token: tuple[str, Severity]) -> bool:
        before, count = self._seen.get(key, (None, 0))
        if before == token or count >= self._at_most:
            return True
        self._seen[key] = token, count + 1
        return False

    @staticmethod
    def _covered(
        keys: Iterable[Key], is_covered: Callable[[Key], bool], now: Mapping[Key, Difference]
    ) -> Iterator[Key]:
        return iter([key for key in keys if key not in now and is_covered(key)])
