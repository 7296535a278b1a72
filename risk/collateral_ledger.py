"""Where collateral is, in double entry: assets at locations, moved in two phases, so that nothing appears or vanishes.

Every posting takes from one location what it gives to another, so each asset sums to zero over all locations, the
clients' own included: what a client has given is a minus there. A transfer first takes from its source into transit,
then gives to its target as the world tells that it has settled; while nobody has told, it stays in transit, UNKNOWN,
and is at no location that could use it. Amounts are integers, units of 1e-8.

What a client has given secures its account: from settlement on where it comes in, no more from the first phase on where
it goes out, and all the way where it only moves between places of ours (`secured_units`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from risk.lifecycle import IllegalTransitionError, follow

# Ended transfers stay known, so that a key that comes again is answered as before, and one may be reversed.
ENDED_TRANSFERS_KEPT: Final = 100_000
MAX_LIVE_TRANSFERS: Final = 10_000
# Amounts that a machine integer and the margin's arithmetic hold.
MAX_UNITS: Final = 10**18


class Place(StrEnum):
    """What kind of location an asset is at. Custodians lock it, delegate it to a venue, and settle what is owed."""

    CLIENT = "client"
    HOUSE = "house"
    VENUE = "venue"
    CLEARING_HOUSE = "clearing_house"
    LOCKED = "locked"
    DELEGATED = "delegated"
    SETTLED = "settled"
    TRANSIT = "transit"
    FEES = "fees"


_P = Place

# From where to where collateral moves; a pair that is not here is refused.
ROUTES: Final = frozenset(
    {
        (_P.CLIENT, _P.HOUSE),
        (_P.HOUSE, _P.CLIENT),
        (_P.CLIENT, _P.LOCKED),
        # A client's own wallet at a venue, of which it has given us the use: a mandate.
        (_P.CLIENT, _P.VENUE),
        (_P.VENUE, _P.CLIENT),
        (_P.LOCKED, _P.CLIENT),
        (_P.HOUSE, _P.VENUE),
        (_P.VENUE, _P.HOUSE),
        (_P.VENUE, _P.VENUE),
        (_P.HOUSE, _P.CLEARING_HOUSE),
        (_P.CLEARING_HOUSE, _P.HOUSE),
        (_P.HOUSE, _P.LOCKED),
        (_P.LOCKED, _P.HOUSE),
        (_P.LOCKED, _P.DELEGATED),
        (_P.DELEGATED, _P.LOCKED),
        (_P.DELEGATED, _P.SETTLED),
        (_P.SETTLED, _P.HOUSE),
    }
)


class Location(msgspec.Struct, frozen=True, order=True, gc=False):
    """A place, which of its kind (a venue's or custodian's name), and whose account."""

    place: Place
    name: str
    account: str


class TransferState(StrEnum):
    """How a transfer stands."""

    PENDING = "pending"
    SENT = "sent"
    UNKNOWN = "unknown"
    PARTLY_SETTLED = "partly_settled"
    SETTLED = "settled"
    FAILED = "failed"
    REVERSED = "reversed"


class TransferHappening(StrEnum):
    """What can happen to a transfer."""

    SENT = "sent"
    TIMED_OUT = "timed out"
    PARTLY_SETTLED = "settled in part"
    SETTLED = "settled"
    FAILED = "failed"
    REVERSED = "reversed"


_T, _H = TransferState, TransferHappening

TABLE: Final[dict[tuple[TransferState, TransferHappening], TransferState]] = {
    (_T.PENDING, _H.SENT): _T.SENT,
    (_T.PENDING, _H.TIMED_OUT): _T.UNKNOWN,  # whether it left is what nobody knows after a crash
    (_T.PENDING, _H.PARTLY_SETTLED): _T.PARTLY_SETTLED,
    (_T.PENDING, _H.SETTLED): _T.SETTLED,
    (_T.PENDING, _H.FAILED): _T.FAILED,
    (_T.SENT, _H.TIMED_OUT): _T.UNKNOWN,
    (_T.SENT, _H.PARTLY_SETTLED): _T.PARTLY_SETTLED,
    (_T.SENT, _H.SETTLED): _T.SETTLED,
    (_T.SENT, _H.FAILED): _T.FAILED,
    (_T.UNKNOWN, _H.SENT): _T.UNKNOWN,
    (_T.UNKNOWN, _H.PARTLY_SETTLED): _T.PARTLY_SETTLED,
    (_T.UNKNOWN, _H.SETTLED): _T.SETTLED,
    (_T.UNKNOWN, _H.FAILED): _T.FAILED,
    (_T.PARTLY_SETTLED, _H.SENT): _T.PARTLY_SETTLED,
    (_T.PARTLY_SETTLED, _H.TIMED_OUT): _T.PARTLY_SETTLED,
    (_T.PARTLY_SETTLED, _H.PARTLY_SETTLED): _T.PARTLY_SETTLED,
    (_T.PARTLY_SETTLED, _H.SETTLED): _T.SETTLED,
    # The rest will not come: what has settled stays, what has not goes back.
    (_T.PARTLY_SETTLED, _H.FAILED): _T.SETTLED,
    (_T.PARTLY_SETTLED, _H.REVERSED): _T.REVERSED,
    (_T.SETTLED, _H.SENT): _T.SETTLED,
    (_T.SETTLED, _H.REVERSED): _T.REVERSED,
}

# States in which something is still in transit.
LIVE: Final = frozenset({_T.PENDING, _T.SENT, _T.UNKNOWN, _T.PARTLY_SETTLED})


def next_state(state: TransferState, happening: TransferHappening) -> TransferState:
    """Return the state after `happening`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row.
    """
    return follow(TABLE, state, happening, "a transfer")


class TransferError(Exception):
    """A transfer that can not be, or news of one that can not be true; the text says why, and nothing has changed."""


class TransferTerms(msgspec.Struct, frozen=True, gc=False):
    """What is to move. `key` is the idempotency key: the same key again is the same transfer."""

    key: str
    account: str
    asset: str
    units: int
    source: Location
    target: Location


class Transfer(msgspec.Struct):
    """One transfer; `references` are the settlements that were told of, each counted once."""

    terms: TransferTerms
    due_ns: int
    call_id: str = ""
    state: TransferState = TransferState.PENDING
    settled_units: int = 0
    references: dict[str, int] = msgspec.field(default_factory=dict)
    fee_units: int = 0

    @property
    def is_live(self) -> bool:
        """Whether something of it is still in transit."""
        return self.state in LIVE

    @property
    def open_units(self) -> int:
        """What is in transit."""
        return self.terms.units - self.settled_units if self.is_live else 0


def secured_units(transfer: Transfer) -> int:
    """Return by how much a transfer has changed what secures its account."""
    terms = transfer.terms
    is_reversed = transfer.state is TransferState.REVERSED
    if terms.source.place is Place.CLIENT:
        return 0 if is_reversed else transfer.settled_units
    if terms.target.place is Place.CLIENT:
        return 0 if is_reversed else -(terms.units if transfer.is_live else transfer.settled_units)
    return 0


def transit_of(terms: TransferTerms) -> Location:
    """Return the location where a transfer's assets are between source and target."""
    return Location(Place.TRANSIT, terms.key, terms.account)


class CollateralLedger:
    """Balances and transfers."""

    def __init__(self) -> None:
        self.balances: dict[tuple[str, Location], int] = {}
        self.transfers: dict[str, Transfer] = {}
        self._live: dict[str, Transfer] = {}
        self._ended: dict[str, None] = {}

    def balance(self, asset: str, at: Location) -> int:
        """Return what is at a location; that of a client is a minus where it has given."""
        return self.balances.get((asset, at), 0)

    def total(self, asset: str) -> int:
        """Return the sum over all locations, which is zero."""
        return sum(units for (name, _), units in self.balances.items() if name == asset)

    def held(self, account: str) -> dict[str, int]:
        """Return what an account has given us by asset, wherever it is by now, without what is on its way."""
        held: dict[str, int] = {}
        for (asset, at), units in self.balances.items():
            if at.account == account and at.place not in (Place.CLIENT, Place.TRANSIT, Place.FEES):
                held[asset] = held.get(asset, 0) + units
        return held

    @property
    def has_live(self) -> bool:
        """Whether something is on its way."""
        return bool(self._live)

    def overdue(self, now_ns: int) -> list[Transfer]:
        """Return the transfers of which nothing was heard in time."""
        waited = (TransferState.PENDING, TransferState.SENT)
        return [one for one in self._live.values() if one.state in waited and now_ns > one.due_ns]

    def live(self) -> list[Transfer]:
        """Return the transfers that are on their way, oldest first."""
        return list(self._live.values())

    def parts(self) -> list[Any]:
        """Return all of it in a fixed order, for the state's hash."""
        balances = sorted((asset, at.place, at.name, at.account, n) for (asset, at), n in self.balances.items() if n)
        return [balances, [msgspec.to_builtins(transfer) for transfer in self.transfers.values()], list(self._ended)]

    # -- changes -----------------------------------------------------------------------------------------------------

    def post(self, asset: str, units: int, source: Location, target: Location) -> None:
        """Take from one location and give to another: the only thing that changes a balance."""
        for at, change in ((source, -units), (target, units)):
            key = asset, at
            balance = self.balances.get(key, 0) + change
            if balance:
                self.balances[key] = balance
            else:
                self.balances.pop(key, None)

    def why_not(self, terms: TransferTerms) -> str | None:
        """Return why a new transfer can not be; None where it can."""
        source, target = terms.source, terms.target
        if not 0 < terms.units <= MAX_UNITS:
            return "an amount is positive and not beyond all bounds"
        if (source.place, target.place) not in ROUTES or source == target:
            return f"nothing moves from {source.place.value} to {target.place.value}"
        if source.account != terms.account or target.account != terms.account:
            return "collateral of one account does not become another's"
        # A client's own assets are not ours to count.
        if source.place is not Place.CLIENT and self.balance(terms.asset, source) < terms.units:
            return f"insufficient collateral: {source.place.value} has {self.balance(terms.asset, source)} units"
        if len(self._live) >= MAX_LIVE_TRANSFERS:
            return "too many transfers on their way"
        return None

    def known(self, terms: TransferTerms) -> Transfer | None:
        """Return the transfer that has this key already, None where there is none.

        Raises
        ------
        TransferError
            Where the key was used for something else.
        """
        found = self.transfers.get(terms.key)
        if found is not None and found.terms != terms:
            raise TransferError("the key was used for another transfer")
        return found

    def begin(self, terms: TransferTerms, due_ns: int, call_id: str = "") -> Transfer:
        """First phase: take from the source into transit. The same key again changes nothing.

        Raises
        ------
        TransferError
            Where it can not be; nothing has changed then.
        """
        found = self.known(terms)
        if found is not None:
            return found
        refusal = self.why_not(terms)
        if refusal is not None:
            raise TransferError(refusal)
        transfer = self.transfers[terms.key] = self._live[terms.key] = Transfer(terms, due_ns, call_id)
        self.post(terms.asset, terms.units, terms.source, transit_of(terms))
        return transfer

    def check(self, key: str, happening: TransferHappening, units: int = 0, reference: str = "") -> Transfer | None:
        """Return the transfer that something happened to; None where that was told of before: nothing is to be done.

        Raises
        ------
        TransferError
            Where it can not be true: an unknown transfer, a contradiction, more than is on its way.
        """
        transfer = self.transfers.get(key)
        if transfer is None:
            raise TransferError("no such transfer")
        if happening in (TransferHappening.SETTLED, TransferHappening.PARTLY_SETTLED):
            if reference in transfer.references:
                if transfer.references[reference] != units:
                    raise TransferError("the same settlement was told of with another amount")
                return None
            if not reference or not 0 < units <= transfer.open_units:
                raise TransferError(f"a settlement of {units} units where {transfer.open_units} are on their way")
        try:
            next_state(transfer.state, happening)
        except IllegalTransitionError as error:
            if transfer.state.value == happening.value:
                return None  # told twice: failed and failed, reversed and reversed
            raise TransferError(str(error)) from None
        return transfer

    def happen(self, key: str, happening: TransferHappening, units: int = 0, reference: str = "") -> int:
        """Second phase: book what happened; return by how much the target has changed. Told again, nothing happens.

        Raises
        ------
        TransferError
            As `check`; nothing has changed then.
        """
        transfer = self.check(key, happening, units, reference)
        if transfer is None:
            return 0
        terms, change = transfer.terms, 0
        if happening in (TransferHappening.SETTLED, TransferHappening.PARTLY_SETTLED):
            is_all = units == transfer.open_units
            happening = TransferHappening.SETTLED if is_all else TransferHappening.PARTLY_SETTLED
            self.post(terms.asset, units, transit_of(terms), terms.target)
            transfer.references[reference] = change = units
            transfer.settled_units += units
        elif happening is TransferHappening.FAILED:
            self.post(terms.asset, transfer.open_units, transit_of(terms), terms.source)
        elif happening is TransferHappening.REVERSED:
            # It happened out there, whether the target still has it or not: that may go below zero, and is owed then.
            self.post(terms.asset, transfer.open_units, transit_of(terms), terms.source)
            self.post(terms.asset, transfer.settled_units, terms.target, terms.source)
            change = -transfer.settled_units
        transfer.state = next_state(transfer.state, happening)
        if not transfer.is_live:
            self._end(key)
        return change

    def charge(self, key: str, units: int) -> int:
        """Take a transfer's fee from its source; return by how much it secures less. A second time changes nothing.

        Raises
        ------
        TransferError
            For a transfer that is not known, or an amount that is none; nothing has changed then.
        """
        transfer = self.transfers.get(key)
        if transfer is None or not 0 < units <= MAX_UNITS:
            raise TransferError("no such transfer, or no fee")
        if transfer.fee_units:
            return 0
        terms = transfer.terms
        transfer.fee_units = units
        self.post(terms.asset, units, terms.source, Location(Place.FEES, "", terms.account))
        return 0 if terms.source.place is Place.CLIENT else units

    def _end(self, key: str) -> None:
        self._live.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > ENDED_TRANSFERS_KEPT:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            del self.transfers[oldest]
