"""What becomes of an account as its margin runs short, as a table: (state, signal) -> state. An absent row is an error.

A margin ratio is equity over maintenance margin, in basis points: 12 500 is a quarter more than is needed. A state is
entered at its own ratio and left at a higher one, so that an account at the edge does not flicker. Thresholds are
configuration; the ladder is the union of the venues' (docs/intraday.md).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import Final

import msgspec

from risk.account import AccountState
from risk.lifecycle import follow

BPS: Final = 10_000
# What needs no margin is never short; beyond this, more is all the same.
MAX_RATIO_BPS: Final = 1_000_000_000


class MarginState(StrEnum):
    """How an account stands with its margin."""

    HEALTHY = "healthy"
    WARNED = "warned"
    CALLED = "called"
    RESTRICTED = "restricted"
    ADJUSTING = "adjusting"
    TAKEN_OVER = "taken_over"
    CLOSED = "closed"


class Band(IntEnum):
    """Where a ratio lies, the worse the higher; each but the first is entered at a threshold."""

    NORMAL = 0
    WARNING = 1
    CALLING = 2
    RESTRICTING = 3
    ADJUSTING = 4
    TAKING_OVER = 5


class Signal(StrEnum):
    """What can happen to an account's margin."""

    NORMAL = "ratio normal"
    WARNING = "ratio at warning"
    CALLING = "ratio at call"
    RESTRICTING = "ratio at restriction"
    ADJUSTING = "ratio at adjustment"
    TAKING_OVER = "ratio at takeover"
    UNKNOWN = "ratio unknown"
    CALL_EXPIRED = "call expired"
    GRACE_ENDED = "grace ended"
    EXHAUSTED = "nothing left to adjust"
    HANDED_OVER = "handed over"
    REINSTATED = "reinstated"


SIGNAL_OF: Final = {band: Signal[band.name] for band in Band}

_M, _S = MarginState, Signal

TABLE: Final[dict[tuple[MarginState, Signal], MarginState]] = {
    (_M.HEALTHY, _S.NORMAL): _M.HEALTHY,
    (_M.HEALTHY, _S.WARNING): _M.WARNED,
    (_M.HEALTHY, _S.CALLING): _M.CALLED,
    (_M.HEALTHY, _S.RESTRICTING): _M.RESTRICTED,
    (_M.HEALTHY, _S.ADJUSTING): _M.ADJUSTING,
    (_M.HEALTHY, _S.TAKING_OVER): _M.TAKEN_OVER,
    (_M.HEALTHY, _S.UNKNOWN): _M.HEALTHY,
    (_M.WARNED, _S.NORMAL): _M.HEALTHY,
    (_M.WARNED, _S.WARNING): _M.WARNED,
    (_M.WARNED, _S.CALLING): _M.CALLED,
    (_M.WARNED, _S.RESTRICTING): _M.RESTRICTED,
    (_M.WARNED, _S.ADJUSTING): _M.ADJUSTING,
    (_M.WARNED, _S.TAKING_OVER): _M.TAKEN_OVER,
    (_M.WARNED, _S.UNKNOWN): _M.WARNED,
    (_M.CALLED, _S.NORMAL): _M.HEALTHY,
    (_M.CALLED, _S.WARNING): _M.WARNED,
    (_M.CALLED, _S.CALLING): _M.CALLED,
    (_M.CALLED, _S.RESTRICTING): _M.RESTRICTED,
    (_M.CALLED, _S.ADJUSTING): _M.ADJUSTING,
    (_M.CALLED, _S.TAKING_OVER): _M.TAKEN_OVER,
    (_M.CALLED, _S.UNKNOWN): _M.CALLED,
    (_M.CALLED, _S.CALL_EXPIRED): _M.RESTRICTED,
    (_M.RESTRICTED, _S.NORMAL): _M.HEALTHY,
    (_M.RESTRICTED, _S.WARNING): _M.WARNED,
    # Who was restricted is cured whole or not at all: back in CALLED, it would get one cure period after the other.
    (_M.RESTRICTED, _S.CALLING): _M.RESTRICTED,
    (_M.RESTRICTED, _S.RESTRICTING): _M.RESTRICTED,
    (_M.RESTRICTED, _S.ADJUSTING): _M.ADJUSTING,
    (_M.RESTRICTED, _S.TAKING_OVER): _M.TAKEN_OVER,
    (_M.RESTRICTED, _S.UNKNOWN): _M.RESTRICTED,
    (_M.RESTRICTED, _S.CALL_EXPIRED): _M.RESTRICTED,
    (_M.RESTRICTED, _S.GRACE_ENDED): _M.ADJUSTING,
    (_M.ADJUSTING, _S.NORMAL): _M.HEALTHY,
    (_M.ADJUSTING, _S.WARNING): _M.WARNED,
    (_M.ADJUSTING, _S.CALLING): _M.RESTRICTED,
    (_M.ADJUSTING, _S.RESTRICTING): _M.RESTRICTED,
    (_M.ADJUSTING, _S.ADJUSTING): _M.ADJUSTING,
    (_M.ADJUSTING, _S.TAKING_OVER): _M.TAKEN_OVER,
    (_M.ADJUSTING, _S.UNKNOWN): _M.ADJUSTING,
    (_M.ADJUSTING, _S.CALL_EXPIRED): _M.ADJUSTING,
    (_M.ADJUSTING, _S.EXHAUSTED): _M.TAKEN_OVER,
    # What was taken over is no longer the client's: no market gives it back, only a person does.
    (_M.TAKEN_OVER, _S.NORMAL): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.WARNING): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.CALLING): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.RESTRICTING): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.ADJUSTING): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.TAKING_OVER): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.UNKNOWN): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.CALL_EXPIRED): _M.TAKEN_OVER,
    (_M.TAKEN_OVER, _S.HANDED_OVER): _M.CLOSED,
    (_M.TAKEN_OVER, _S.REINSTATED): _M.RESTRICTED,
    (_M.CLOSED, _S.NORMAL): _M.CLOSED,
    (_M.CLOSED, _S.WARNING): _M.CLOSED,
    (_M.CLOSED, _S.CALLING): _M.CLOSED,
    (_M.CLOSED, _S.RESTRICTING): _M.CLOSED,
    (_M.CLOSED, _S.ADJUSTING): _M.CLOSED,
    (_M.CLOSED, _S.TAKING_OVER): _M.CLOSED,
    (_M.CLOSED, _S.UNKNOWN): _M.CLOSED,
    (_M.CLOSED, _S.CALL_EXPIRED): _M.CLOSED,
    (_M.CLOSED, _S.REINSTATED): _M.RESTRICTED,
}

# What an account may do in each state.
MAY_DO: Final = {
    _M.HEALTHY: AccountState.TRADING,
    _M.WARNED: AccountState.TRADING,
    _M.CALLED: AccountState.TRADING,
    _M.RESTRICTED: AccountState.REDUCING,
    _M.ADJUSTING: AccountState.REDUCING,
    _M.TAKEN_OVER: AccountState.HALTED,
    _M.CLOSED: AccountState.HALTED,
}

# The band that a state belongs to, for its way out.
BAND_OF: Final = {
    _M.HEALTHY: Band.NORMAL,
    _M.WARNED: Band.WARNING,
    _M.CALLED: Band.CALLING,
    _M.RESTRICTED: Band.RESTRICTING,
    _M.ADJUSTING: Band.ADJUSTING,
    _M.TAKEN_OVER: Band.TAKING_OVER,
    _M.CLOSED: Band.TAKING_OVER,
}


class Thresholds(msgspec.Struct, frozen=True):
    """Ratios in basis points, from Band.WARNING to Band.TAKING_OVER: where each is entered, and left again.

    Raises
    ------
    ValueError
        Unless both fall from one to the next, and each is left above where it is entered.
    """

    enter_bps: tuple[int, int, int, int, int]
    leave_bps: tuple[int, int, int, int, int]

    def __post_init__(self) -> None:
        well_formed = all(high > low for high, low in pairwise(self.enter_bps))
        well_formed &= all(high >= low for high, low in pairwise(self.leave_bps))
        well_formed &= all(leave > enter for enter, leave in zip(self.enter_bps, self.leave_bps, strict=True))
        if not well_formed or self.enter_bps[-1] < 0 or self.leave_bps[0] > MAX_RATIO_BPS:
            raise ValueError("ratios fall from warning to takeover, and each is left above where it is entered")

    def band(self, ratio_bps: int, now_in: Band) -> Band:
        """Return the band of a ratio for an account that is in one: down at once, up only beyond where it is left."""
        entered = Band.NORMAL
        for band, enter in enumerate(self.enter_bps, 1):
            if ratio_bps <= enter:
                entered = Band(band)
        for band in range(now_in, entered, -1):
            if ratio_bps < self.leave_bps[band - 1]:
                return Band(band)
        return entered


def ratio_bps(equity_units: int, maintenance_units: int) -> int:
    """Return equity over maintenance margin in basis points, rounded down; an account that needs none is well off.

    Without a requirement the sign of equity decides: a debt alone is as short as can be.
    """
    if maintenance_units <= 0:
        return MAX_RATIO_BPS if equity_units >= 0 else 0
    return max(0, min(MAX_RATIO_BPS, equity_units * BPS // maintenance_units))


def next_state(state: MarginState, signal: Signal) -> MarginState:
    """Return the state after `signal`.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such row.
    """
    return follow(TABLE, state, signal, "an account", "have")
