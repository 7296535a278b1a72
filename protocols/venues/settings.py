"""What a session with any venue of several lanes is configured with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from protocols.venues.fields import NS_PER_S
from protocols.venues.rate_limit import Budget
from protocols.venues.signing import Keyring

REQUEST_TIMEOUT_NS: Final = 5 * NS_PER_S
MAX_IN_FLIGHT: Final = 8_192
# Clocks may differ by this beyond what was measured; a mark that claims to be later is not used.
MAX_AHEAD_NS: Final = 5 * NS_PER_S


class Settings(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all venues are configured with.

    symbols : tells which instruments to list and subscribe
    request_timeout_ns : after it an order's outcome is unknown
    recv_window_ms : a request that reaches the venue later than this is refused by it
    trades_since_ns : ask for own trades from this time at the first connection; None: earlier ones are not asked for
    max_ahead_ns : how far a timestamp may be ahead of the venue's clock
    dead_man_s : after so long without us, the venue cancels our orders; 0: it does not
    self_trade : the venue's word for what ends when our orders would meet
    budgets : the venue's limits for this account, where they differ from the table
    books_on_demand : follow the books and public trades that `feeds.want` names, instead of all
    """

    keyring: Keyring
    symbols: Callable[[str], bool]
    request_timeout_ns: int = REQUEST_TIMEOUT_NS
    recv_window_ms: int = 5_000
    trades_since_ns: int | None = None
    max_ahead_ns: int = MAX_AHEAD_NS
    max_in_flight: int = MAX_IN_FLIGHT
    dead_man_s: int = 60
    self_trade: str = ""
    budgets: tuple[Budget, ...] | None = None
    books_on_demand: bool = False
