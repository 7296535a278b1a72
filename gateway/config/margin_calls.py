"""The tables of the intraday margin watch, and what is wrong between their keys."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any

from msgspec import Struct

from gateway.config.rules import DISTINCT, NOT_EMPTY, KeyPath, Rule, between
from gateway.config.values import PATTERN, Name

# Ratios of equity to maintenance margin; published ladders of portfolio-margin venues lie there (docs/intraday.md).
# What a call asks for brings the ratio to where a call ends.
DEFAULT_WARN_AT, DEFAULT_WARN_UNTIL = Decimal("1.5"), Decimal("1.6")
DEFAULT_CALL_AT, DEFAULT_CALL_UNTIL = Decimal("1.25"), Decimal("1.35")
DEFAULT_RESTRICT_AT, DEFAULT_RESTRICT_UNTIL = Decimal("1.2"), Decimal("1.3")
DEFAULT_ADJUST_AT, DEFAULT_ADJUST_UNTIL = Decimal("1.05"), Decimal("1.2")
# Two thirds of the maintenance margin.
DEFAULT_TAKE_OVER_AT, DEFAULT_TAKE_OVER_UNTIL = Decimal("0.6667"), Decimal("1")
# An intraday call of a clearing house is due in about an hour.
DEFAULT_CURE_PERIOD_S = 3600
DEFAULT_DISPUTE_PERIOD_S = 1800
DEFAULT_GRACE_PERIOD_S = 300
DEFAULT_THRESHOLD_USD = Decimal(0)
# Below it a transfer costs more than it secures.
DEFAULT_MINIMUM_TRANSFER_USD = Decimal(100)
DEFAULT_ROUNDING_USD = Decimal(1)
# A chain's confirmations, or a custodian's desk.
DEFAULT_SETTLEMENT_TIMEOUT_S = 1800
# After a start, so that clients are back, and people have seen whether the clock is right, before anything expires.
DEFAULT_RESUME_PERIOD_S = 60

RATIO = Rule("from 0 to 1000, with at most four decimals", lambda v: 0 <= v <= 1000 and v * 10_000 == int(v * 10_000))
USD = Rule("from 0 to 1e9, with at most eight decimals", lambda v: 0 <= v <= 10**9 and v * 10**8 == int(v * 10**8))
USD_STEP = Rule("above 0", lambda v: v > 0)

Found = Iterator[tuple[KeyPath, str]]
# From the mildest to the gravest.
RUNGS = ("warn", "call", "restrict", "adjust", "take_over")


class MarginProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the accounts of one kind of client are watched."""

    name: Annotated[Name, "Names the profile to operators."]
    accounts: Annotated[
        tuple[Annotated[str, PATTERN], ...], NOT_EMPTY, DISTINCT, "Accounts or patterns; the first profile that fits."
    ]
    warn_at: Annotated[Decimal, RATIO, "At this ratio of equity to maintenance margin an account is warned."] = (
        DEFAULT_WARN_AT
    )
    warn_until: Annotated[Decimal, RATIO, "From this ratio on it is healthy again."] = DEFAULT_WARN_UNTIL
    call_at: Annotated[Decimal, RATIO, "At this ratio margin is called for."] = DEFAULT_CALL_AT
    call_until: Annotated[Decimal, RATIO, "What a call brings the ratio to; from there on calls are superseded."] = (
        DEFAULT_CALL_UNTIL
    )
    restrict_at: Annotated[Decimal, RATIO, "At this ratio an account may only reduce."] = DEFAULT_RESTRICT_AT
    restrict_until: Annotated[
        Decimal, RATIO, "Where RESTRICTING ends as a band; the account is cured at call_until."
    ] = DEFAULT_RESTRICT_UNTIL
    adjust_at: Annotated[Decimal, RATIO, "At this ratio we reduce it ourselves."] = DEFAULT_ADJUST_AT
    adjust_until: Annotated[Decimal, RATIO, "At this ratio we stop."] = DEFAULT_ADJUST_UNTIL
    take_over_at: Annotated[Decimal, RATIO, "At this ratio the account is taken over."] = DEFAULT_TAKE_OVER_AT
    take_over_until: Annotated[Decimal, RATIO, "Above take_over_at; only a person gives an account back."] = (
        DEFAULT_TAKE_OVER_UNTIL
    )
    threshold_usd: Annotated[Decimal, USD, "What may stay unsecured: it is never called for."] = DEFAULT_THRESHOLD_USD
    minimum_transfer_usd: Annotated[Decimal, USD, "Less than this is not called for."] = DEFAULT_MINIMUM_TRANSFER_USD
    rounding_usd: Annotated[Decimal, USD, USD_STEP, "Calls are rounded up to whole multiples of this."] = (
        DEFAULT_ROUNDING_USD
    )
    cure_period_s: Annotated[int, between(1, 864_000), "How long a client has to meet a call."] = DEFAULT_CURE_PERIOD_S
    dispute_period_s: Annotated[
        int, between(0, 864_000), "How long a person has for a dispute whose undisputed part was paid; 0: it expires."
    ] = DEFAULT_DISPUTE_PERIOD_S
    grace_period_s: Annotated[
        int, between(0, 864_000), "How long an account whose call expired may reduce by itself before we do."
    ] = DEFAULT_GRACE_PERIOD_S


class MarginCalls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The intraday watch."""

    profile: Annotated[
        tuple[MarginProfile, ...], NOT_EMPTY, "One table a kind of client; an account that none fits is not watched."
    ]
    settlement_timeout_s: Annotated[int, between(1, 864_000), "A transfer of which nothing is heard is UNKNOWN."] = (
        DEFAULT_SETTLEMENT_TIMEOUT_S
    )
    resume_period_s: Annotated[int, between(0, 3600), "After a start no call expires for so long."] = (
        DEFAULT_RESUME_PERIOD_S
    )


def check_profile(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the ratios of one profile."""
    for suffix in ("at", "until"):
        for milder, graver in pairwise(RUNGS):
            high, low = values.get(f"{milder}_{suffix}"), values.get(f"{graver}_{suffix}")
            if high is not None and low is not None and (high < low or (suffix == "at" and high == low)):
                yield (f"{graver}_{suffix}",), f"must be below {milder}_{suffix}, {high}, not {low}"
    for rung in RUNGS:
        at, until = values.get(f"{rung}_at"), values.get(f"{rung}_until")
        if at is not None and until is not None and until <= at:
            yield (f"{rung}_until",), f"must be above {rung}_at, {at}, not {until}: else an account at it flickers"
