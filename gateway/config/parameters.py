"""The table of margin parameters that a fit proposes: who passes them, how far they may go, when a fit is due."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from gateway.config.rules import KeyPath, Rule, between
from gateway.config.values import TIME_OF_DAY, Table

# Nothing acts without a person who has looked at it, until somebody says how much may.
DEFAULT_AUTOMATIC_WITHIN = 0.0
DEFAULT_TWO_PEOPLE_ABOVE = 0.1
# What the kernel says of who is there can not be claimed by another; a name on a command line can.
# What was shown of an effect is old after a day, and data that ended a week ago is not of today.
DEFAULT_LASTS_S = 86_400
DEFAULT_MAX_AGE_DAYS = 7
# The calmest months of BTC had 1 % a day, and its calmest hours a tenth of that.
DEFAULT_VOLATILITY_FLOOR = 0.005
DEFAULT_MOVE_FLOOR = 0.03
DEFAULT_HAIRCUT_FLOOR = 0.02
DEFAULT_COLLAR_FLOOR = 0.005
DEFAULT_COLLAR_CAP = 0.25
DEFAULT_RESCALE_INTERVAL_S = 3_600
# Between two fits margin is raised by the marks, and never lowered below what was approved.
DEFAULT_RESCALE_LEAST = 1.0
DEFAULT_RESCALE_MOST = 1.5
DEFAULT_RESCALE_FALL_A_DAY = 0.1
DEFAULT_FIT_ON_DRIFT = False
DEFAULT_FIT_TIMEOUT_S = 1_800

SHARE = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
ABOVE_ZERO = Rule("above 0 and below 1", lambda value: 0 < value < 1)
AT_LEAST_ONE = Rule("from 1 to 10", lambda value: 1 <= value <= 10)
CHANGE = Rule("from 0 to 10", lambda value: 0 <= value <= 10)
AT_MOST_ONE = Rule("above 0 and at most 1", lambda value: 0 < value <= 1)


class Parameters(Table, frozen=True, kw_only=True):
    automatic_within: Annotated[
        float,
        SHARE,
        "A change of no account's margin by more, as a part of it, that leaves nobody short, acts by itself; 0: none.",
    ] = DEFAULT_AUTOMATIC_WITHIN
    two_people_above: Annotated[float, CHANGE, "A larger change of any account's margin takes two people."] = (
        DEFAULT_TWO_PEOPLE_ABOVE
    )
    lasts_s: Annotated[int, between(60, 864_000), "After so long a proposal that does not act has to be made anew."] = (
        DEFAULT_LASTS_S
    )
    max_age_days: Annotated[int, between(0, 365), "How long ago the data of a proposal may end."] = DEFAULT_MAX_AGE_DAYS
    volatility_floor: Annotated[float, ABOVE_ZERO, "The least volatility of a coin, a day; below it: refused."] = (
        DEFAULT_VOLATILITY_FLOOR
    )
    move_floor: Annotated[float, ABOVE_ZERO, "The least of each coin's largest fall and largest rise."] = (
        DEFAULT_MOVE_FLOOR
    )
    haircut_floor: Annotated[float, ABOVE_ZERO, "The least haircut of a coin as collateral."] = DEFAULT_HAIRCUT_FLOOR
    collar_floor: Annotated[float, ABOVE_ZERO, "The narrowest collar around a mark."] = DEFAULT_COLLAR_FLOOR
    collar_cap: Annotated[float, ABOVE_ZERO, "The widest."] = DEFAULT_COLLAR_CAP
    rescale_interval_s: Annotated[
        int, between(0, 86_400), "How often scenarios follow the volatility of the marks between fits; 0: never."
    ] = DEFAULT_RESCALE_INTERVAL_S
    rescale_least: Annotated[float, AT_MOST_ONE, "The least ratio to what was approved."] = DEFAULT_RESCALE_LEAST
    rescale_most: Annotated[float, AT_LEAST_ONE, "The largest; where the marks say more, they have drifted."] = (
        DEFAULT_RESCALE_MOST
    )
    rescale_fall_a_day: Annotated[float, SHARE, "How much of a ratio is given back in a day at the most."] = (
        DEFAULT_RESCALE_FALL_A_DAY
    )
    data_directory: Annotated[
        Path | None, "Price files of the fits that this process starts; none: it starts none."
    ] = None
    fit_at: Annotated[str | None, TIME_OF_DAY, "UTC: when a fit is made each day, and proposed."] = None
    fit_on_drift: Annotated[bool, "Make one where the marks have drifted, too."] = DEFAULT_FIT_ON_DRIFT
    fit_timeout_s: Annotated[int, between(10, 86_400), "A fit that takes longer is ended."] = DEFAULT_FIT_TIMEOUT_S


def check_parameters(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong between the keys."""
    low, high = values.get("collar_floor"), values.get("collar_cap")
    if low is not None and high is not None and low > high:
        yield ("collar_floor",), f"must be at most collar_cap, {high}"
    small, large = values.get("automatic_within"), values.get("two_people_above")
    if small is not None and large is not None and small > large:
        yield ("automatic_within",), f"must be at most two_people_above, {large}"
    if values.get("data_directory") is None:
        for key in ("fit_at", "fit_on_drift"):
            if values.get(key):
                yield (key,), "takes data_directory"
