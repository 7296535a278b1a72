"""What a venue is, as data: its lanes, limits, integrity rules, error codes and words. docs/venues.md prints these."""

from __future__ import annotations

import msgspec

from protocols.venues.books import BookRule
from protocols.venues.client_ids import ClientIds
from protocols.venues.lanes import LaneSpec
from protocols.venues.rate_limit import Budget, Costs
from protocols.venues.requests import Kind
from protocols.venues.states import UNLISTED, Verdict


class VenueTables(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`rate_codes`: the venue's limit is reached, and nothing was done. `clock_codes`: a timestamp was refused.

    `gone_codes`: there is no such order. `fatal_codes`: the venue does not know us, or not for this. `words`: facts
    that are not used as data, told in the documentation only.
    """

    name: str
    lanes: tuple[LaneSpec, ...]
    order_lane: str
    budgets: tuple[Budget, ...]
    costs: dict[Kind, Costs]
    verdicts: dict[int, Verdict]
    rate_codes: frozenset[int]
    clock_codes: frozenset[int]
    gone_codes: frozenset[int]
    fatal_codes: frozenset[int]
    client_ids: ClientIds
    times_in_force: dict[str, str]
    post_only: str
    self_trade_modes: frozenset[str]
    book_rules: dict[str, BookRule]
    channels_a_request: int
    dead_man_s: tuple[int, int]  # shortest and longest that the venue takes
    rate_pause_ms: int
    authentication: str
    words: dict[str, str]

    def verdict(self, code: int) -> Verdict:
        """Classify one of the venue's error codes."""
        return self.verdicts.get(code, UNLISTED)


def verdicts(definite: dict[int, str], unknown: dict[int, str]) -> dict[int, Verdict]:
    """Return one table of codes that prove that nothing happened and of codes that prove nothing."""
    assert definite.keys().isdisjoint(unknown)
    return {
        **{code: Verdict(name, True) for code, name in definite.items()},
        **{code: Verdict(name, False) for code, name in unknown.items()},
    }
