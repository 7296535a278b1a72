"""Journal records of the life of margin parameters. Part of gateway.records, which has the rules; tags 180 to 189.

A proposal's content is in its record: a replay needs no other file to have the same parameters in force.
"""

from __future__ import annotations

from gateway.records.base import Record


class ParametersProposed(Record, frozen=True, tag=180):
    """A set of parameters was proposed: `content` is the file's bytes, `parameters_hash` their SHA-256."""

    number: int
    parameters_hash: str
    content: bytes
    proposed_by: str
    reason: str


class ParametersStepped(Record, frozen=True, tag=181):
    """A person, a rule or the clock took a step of a proposal's life (risk.parameter_life), which is at `stage` now."""

    number: int
    step: str
    stage: str
    by: str
    reason: str


class ParametersShown(Record, frozen=True, tag=182):
    """What a proposal does to all accounts is known: sums in USD, changes relative to an account's margin.

    `worst` are the accounts that it changes most: name, equity, margin before and after. `made_short`, `unknown` and
    `worst` are cut; the numbers are of all.
    """

    number: int
    stage: str
    by: str
    accounts: int
    total_before: float
    total_after: float
    largest_rise: float
    largest_fall: float
    made_short_count: int
    unknown_count: int
    made_short: tuple[str, ...]
    unknown: tuple[str, ...]
    worst: tuple[tuple[str, float, float, float], ...]


class ParametersActivated(Record, frozen=True, tag=183):
    """A set acts from the next generation on, in place of `replaces`; 0 is what the configuration says.

    A rollback ends what it replaces for good; else that can come back.
    """

    number: int
    parameters_hash: str
    replaces: int
    is_rollback: bool
    by: str
    reason: str


class ParametersRescaled(Record, frozen=True, tag=184):
    """The volatility of the marks moved the scenarios of the set in force: ratios in 1/10000, by coin."""

    number: int
    ratios_bps: tuple[tuple[str, int], ...]


ParameterRecord = ParametersProposed | ParametersStepped | ParametersShown | ParametersActivated | ParametersRescaled
