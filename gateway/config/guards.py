"""The tables of market guards and of position adjustments, and what is wrong between their keys."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

from gateway.config.rules import DISTINCT, KeyPath, between
from gateway.config.values import FRACTION, SYMBOL, Name, Table

# Nobody should have to ask for it.
DEFAULT_GUARD_ENABLED = True
# A bar: long enough for every venue to have told its index, short beside the second that a liquidation round takes.
DEFAULT_GUARD_INTERVAL_MS = 1000
# Reference books cost their venue's connection some hundred messages a second each.
DEFAULT_GUARD_BOOKS = True
# Perpetuals are within a tenth of that of their index on an ordinary day.
DEFAULT_DIVERGENCE = Decimal("0.02")
DEFAULT_DIVERGENCE_HALT = Decimal("0.1")
# What the venues' own bands call exceptional, in a second.
DEFAULT_MOVE = Decimal("0.05")
DEFAULT_MOVE_HALT = Decimal("0.15")
# A perpetual's spread is a tick; a hundred times the usual of the thinnest.
DEFAULT_SPREAD = Decimal("0.02")
# A tenth of the usual depth is what is left where market makers have gone.
DEFAULT_THINNESS = Decimal("0.9")
# Indices of a coin agree to a thousandth; what is this far off is broken, or alone.
DEFAULT_OUTLIER = Decimal("0.02")
# Long enough that a market which pauses does not loosen what it will need again.
DEFAULT_QUIET_S = 60
DEFAULT_HALT_S = 10
# No tighter in the calmest hour: an ordinary limit order is this far away.
DEFAULT_COLLAR_FLOOR = Decimal("0.02")
# Venues liquidate in rounds of a second, and a fifth at a time (margin.md of each venue).
DEFAULT_ROUND_MS = 1000
DEFAULT_STEP_FRACTION = Decimal("0.2")
# What a book shows is gone when everybody sells: a quarter of it is what one may hope for.
DEFAULT_PARTICIPATION = Decimal("0.25")
# All accounts together; a market sees more of the house than one account.
DEFAULT_MAX_NOTIONAL_PER_S = 5_000_000
DEFAULT_DEADLINE_S = 900
DEFAULT_ORDERS_A_ROUND = 4
# What crossing a spot market's spread and its fee come to.
DEFAULT_CONVERT_FEE = Decimal("0.002")

Found = Iterator[tuple[KeyPath, str]]


class Guard(Table, frozen=True, kw_only=True):
    enabled: Annotated[bool, "Watch for flash crashes at all."] = DEFAULT_GUARD_ENABLED
    interval_ms: Annotated[int, between(100, 60_000), "How often each market is looked at: its bar."] = (
        DEFAULT_GUARD_INTERVAL_MS
    )
    books: Annotated[bool, "Follow the perpetuals' books, for their spread and depth."] = DEFAULT_GUARD_BOOKS
    divergence: Annotated[
        Decimal, FRACTION, "A mark this far from what the indices say is not sound, and raises the guard."
    ] = DEFAULT_DIVERGENCE
    divergence_halt: Annotated[Decimal, FRACTION, "This far, the market is halted."] = DEFAULT_DIVERGENCE_HALT
    move: Annotated[Decimal, FRACTION, "A move of the index within a bar that raises the guard."] = DEFAULT_MOVE
    move_halt: Annotated[Decimal, FRACTION, "One that halts the market."] = DEFAULT_MOVE_HALT
    spread: Annotated[Decimal, FRACTION, "A spread of the book that raises the guard, as a part of the price."] = (
        DEFAULT_SPREAD
    )
    thinness: Annotated[Decimal, FRACTION, "The part of the usual depth whose absence raises the guard."] = (
        DEFAULT_THINNESS
    )
    outlier: Annotated[Decimal, FRACTION, "How far from the median a venue's index may be before it is left out."] = (
        DEFAULT_OUTLIER
    )
    quiet_s: Annotated[int, between(1, 86_400), "All must rest so long before a guard comes down."] = DEFAULT_QUIET_S
    halt_s: Annotated[int, between(1, 86_400), "Nothing may be broken so long before a halt ends."] = DEFAULT_HALT_S
    collar_floor: Annotated[
        Decimal, FRACTION, "The narrowest collar; the widest is `collar_fraction` of `[market]`."
    ] = DEFAULT_COLLAR_FLOOR


class Adjust(Table, frozen=True, kw_only=True):
    round_ms: Annotated[int, between(100, 600_000), "An account's positions are adjusted at most so often."] = (
        DEFAULT_ROUND_MS
    )
    step_fraction: Annotated[Decimal, FRACTION, "The most of a position that one order reduces."] = (
        DEFAULT_STEP_FRACTION
    )
    participation: Annotated[Decimal, FRACTION, "The most of what a book shows that one order takes."] = (
        DEFAULT_PARTICIPATION
    )
    deadline_s: Annotated[
        int, between(1, 86_400), "Who is still short after so long is handed over to `house_account`."
    ] = DEFAULT_DEADLINE_S
    max_notional_per_s_usd: Annotated[
        int, between(1, 1_000_000_000_000), "What all adjustments together trade in a second."
    ] = DEFAULT_MAX_NOTIONAL_PER_S
    orders_a_round: Annotated[int, between(1, 100), "Orders of one account in a round."] = DEFAULT_ORDERS_A_ROUND
    house_account: Annotated[
        Name | None, "Takes over what can not be reduced, and converts clients' currencies; none: neither is done."
    ] = None
    convert_fee: Annotated[Decimal, FRACTION, "What a conversion costs, as a part of it."] = DEFAULT_CONVERT_FEE
    hedges: Annotated[tuple[Annotated[str, SYMBOL], ...], DISTINCT, "Instruments that deltas may be hedged with."] = ()


def check_guard(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of the guard."""
    for low, high in (("divergence", "divergence_halt"), ("move", "move_halt")):
        if low in values and high in values and values[high] < values[low]:
            yield (high,), f"must not be less than {low}, {values[low]}, not {values[high]}"
