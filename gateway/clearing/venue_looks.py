"""Looks at the book of a venue that is being traded on: what differs, and what is only on its way.

A stream of positions comes after the fills, so that at most moments of constant trading two books that agree differ.
Who looks at any one moment looks at chance. Of the last seconds, the books are compared where ours had rested
longest: late in the longest pause between two of our fills, when what the venue says of the first has come and
what it says of the second can not have. What differs there too is looked at again soon, see `Watches`. Looks decide
nothing that survives a restart: what they have found is a record of the reconciler's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Final

import msgspec

from gateway.clearing.own_books import house_positions
from gateway.ledger import Ledger
from gateway.messages.trade_capture import Trades
from gateway.settlements import awaited
from gateway.venues.books import VenueBooks
from risk.instrument import Side
from risk.reconciliation import Difference, Severity, compare_positions

NS_PER_MS: Final = 1_000_000
# Uneven: who trades once a second is not met at the same point of its round each time.
PAUSES_NS: Final = tuple(pause_ms * NS_PER_MS for pause_ms in (1_000, 1_100, 1_300, 900, 1_200))
# As of statements of counterparties: what never rests is compared all the same.
PUT_OFF_AT_MOST: Final = 5
# What differs and has not moved for so long is no fill on its way, nor a stream that is late as in a storm.
STILL_NS: Final = 10_000 * NS_PER_MS
# Fills of so long, at least, are asked for a pause between them: one that a look cuts in two is still whole.
LOOKED_BACK_NS: Final = 5_000 * NS_PER_MS
_NOTHING: Final = Decimal(0)

Moves = list[tuple[int, Decimal]]  # when, and by how much: the oldest first
State = tuple[object, ...]


class _Watch(msgspec.Struct):
    """A difference that does not count yet. `put_off`: so many looks after the first have not counted."""

    state: State
    still_since_ns: int
    put_off: int = 0


class Settled(msgspec.Struct, frozen=True):
    """What one look says. `counted`: differences that are a look of Looks; `open_subjects`: nothing is said of them."""

    counted: list[Difference]
    open_subjects: frozenset[str]


class Watches:
    """Differences between two books that move, of one source, from the first look that has seen them."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watch] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def settle(
        self,
        found: Iterable[Difference],
        state_of: Callable[[str], State],
        moved: Iterable[str],
        known: Mapping[str, tuple[str, Severity]],
        now_ns: int,
    ) -> Settled:
        """Take one look: what was not found again is clean.

        Parameters
        ----------
        found : the differences of this look
        state_of : what of both books is another whenever one of them has moved, by subject
        moved : subjects that have moved since the look before, whatever they came back to
        known : open or accepted breaks by subject: nothing is asked about them a second time
        """
        before, self._watched = self._watched, {}
        has_moved = frozenset(moved)
        counted: list[Difference] = []
        for one in found:
            if known.get(one.subject) == (one.delta, one.severity):
                counted.append(one)
                continue
            state = one.delta, one.severity, *state_of(one.subject)
            watch = before.get(one.subject)
            if watch is None:
                self._watched[one.subject] = _Watch(state, now_ns)
                continue
            is_still = watch.state == state and one.subject not in has_moved
            since_ns = watch.still_since_ns if is_still else now_ns
            if now_ns - since_ns >= STILL_NS:
                counted.append(msgspec.structs.replace(one, is_certain=True))
                continue
            is_over = watch.put_off >= PUT_OFF_AT_MOST
            if is_over:
                counted.append(one)
            self._watched[one.subject] = _Watch(state, since_ns, 0 if is_over else watch.put_off + 1)
        return Settled(counted, frozenset(self._watched) - {one.subject for one in counted})


class VenueLooks:
    """Compares what all accounts hold at a venue with what it tells, and remembers what it must look at again."""

    def __init__(self, ledger: Ledger, trades: Trades, books: VenueBooks) -> None:
        self._ledger = ledger
        self._trades = trades
        self._books = books
        self._watches: dict[str, Watches] = {}
        self._looked_ns: dict[str, int] = {}
        self._count = 0

    def pause_ns(self) -> int:
        """Return how long to wait before another look at what differs."""
        self._count += 1
        return PAUSES_NS[self._count % len(PAUSES_NS)]

    def forget(self, source: str) -> None:
        """The book is unknown: what was seen of it begins anew."""
        self._watches.pop(source, None)
        self._looked_ns.pop(source, None)

    def positions(self, venue: str, known: Mapping[str, tuple[str, Severity]], now_ns: int) -> Settled | None:
        """Look at a venue's positions; None while they are unknown. `known`: its breaks of positions by symbol."""
        told = self._books.positions(venue)
        if told is None:
            self.forget(venue)
            return None
        ledger, books = self._ledger, self._books
        watches = self._watches.setdefault(venue, Watches())
        looked_ns = self._looked_ns.get(venue, now_ns) if watches else now_ns
        since_ns = min(looked_ns, now_ns - LOOKED_BACK_NS)
        self._looked_ns[venue] = now_ns
        held, fills = house_positions(ledger, venue), self._fills(venue, since_ns)
        ours: dict[str, Decimal] = {}
        theirs: dict[str, Decimal] = {}
        for symbol in held.keys() | told.keys() | fills.keys():
            if not awaited(ledger, symbol, now_ns):
                both = held.get(symbol, _NOTHING), told.get(symbol, _NOTHING)
                ours[symbol], theirs[symbol] = self._rested(venue, symbol, both, fills.get(symbol), since_ns, now_ns)
        return watches.settle(
            compare_positions("", ours, theirs),
            lambda symbol: (held.get(symbol), books.moves_of(venue, symbol)),
            [symbol for symbol, moves in fills.items() if moves[-1][0] > looked_ns],
            known,
            now_ns,
        )

    def balances(
        self,
        source: str,
        found: list[Difference],
        known: Mapping[str, tuple[str, Severity]],
        now_ns: int,
    ) -> Settled:
        """Look at what differs of wallets; cash has no pauses that are known, and is compared as it is now."""
        values = {one.subject: (one.ours, one.theirs) for one in found}
        watches = self._watches.setdefault(source, Watches())
        return watches.settle(found, lambda currency: values[currency], (), known, now_ns)

    def _fills(self, venue: str, since_ns: int) -> dict[str, Moves]:
        """Return what our fills at a venue have moved since a time, by symbol."""
        moves: dict[str, Moves] = {}
        for trade in self._trades.latest(since_ns):
            if trade.source == venue:
                signed = trade.quantity if trade.side == Side.BUY else -trade.quantity
                moves.setdefault(trade.instrument.symbol, []).append((trade.time_ns, signed))
        for each in moves.values():
            each.reverse()
        return moves

    def _rested(
        self, venue: str, symbol: str, both: tuple[Decimal, Decimal], fills: Moves | None, since_ns: int, now_ns: int
    ) -> tuple[Decimal, Decimal]:
        """Return both quantities nine tenths through the longest pause of our fills; as they are now where none was.

        A stream may be late by nine tenths of the pause, and ahead of the fills by one.
        """
        if not fills:
            return both
        times = [since_ns, *(time_ns for time_ns, _ in fills), now_ns]
        for length_ns, begin_ns in sorted(((end - begin, begin) for begin, end in pairwise(times)), reverse=True):
            at_ns = begin_ns + length_ns * 9 // 10
            theirs = self._books.position_at(venue, symbol, at_ns)
            if theirs is not None:
                return both[0] - sum((moved for time_ns, moved in fills if time_ns > at_ns), _NOTHING), theirs
        return both
