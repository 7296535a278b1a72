"""Margin parameters in a running gateway: proposed, shown, approved, in force as a generation, and back again.

Each step is decided, journalled, and then acts. What is in force is the ledger's alone, so that a restart prices by
the same; the kernel that orders are checked by has it from the first generation that was made by it, as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from gateway.config import Config
from gateway.journal import JournalError
from gateway.levels import history_of, joint_scenarios
from gateway.parameters import decisions
from gateway.parameters.book import OF_CONFIGURATION
from gateway.parameters.effect import EffectPass
from gateway.parameters.file import decoded
from gateway.pipeline import Pipeline
from gateway.records.parameters import ParametersActivated, ParametersRescaled
from gateway.valuation import Acting, Valuation
from risk.fhs.online import OnlineVariance
from risk.parameter_life import BY_RULE, AccountEffect, ParameterError, Stage, Step
from risk.parameter_set import BPS, ParameterSet, RescaleRules, UnderlyingParameters, rescaled
from risk.scenarios import Grid

NS_PER_S: Final = 1_000_000_000
# Who steps by itself.
GATEWAY: Final = "gateway"
SHOWABLE: Final = (Stage.PROPOSED, Stage.SHOWN, Stage.REPLACED)
# A proposal that could not be shown is tried again so much later.
RETRY_NS: Final = 10 * NS_PER_S


class Parameters:
    """The steps of all proposals, and what follows for generations. The caller's loop turns `step` and `tick`."""

    def __init__(self, pipeline: Pipeline, valuation: Valuation, config: Config, grid: Grid, now_ns: int) -> None:
        self._pipeline, self._valuation, self._config, self._grid = pipeline, valuation, config, grid
        self._ledger = pipeline.ledger
        self.book = pipeline.ledger.parameters
        self.rules = decisions.rules_of(config)
        given = config.parameters
        self._rescale = RescaleRules(
            least=given.rescale_least, most=given.rescale_most, fall_a_day=given.rescale_fall_a_day
        )
        self._history = history_of(config)
        self._of_configuration = valuation.acting
        self._online: OnlineVariance | None = None
        self._next_rescale_ns = now_ns
        self._work: Iterator[None] | None = None
        self._retry_ns = now_ns
        self._again: dict[int, str] = {}  # to be shown anew, and who asked
        self._returning: tuple[int, str, str] | None = None  # to be rolled back to once that is shown: by whom, why
        self.effects: dict[int, list[AccountEffect]] = {}  # of each account, of proposals shown in this process
        self.is_drifting = False
        self._adopt()

    # -- what people do ----------------------------------------------------------------------------------------------

    def propose(self, content: bytes, expected_hash: str, version: str, by: str, reason: str, now_ns: int) -> int:
        """Take a proposal; return its number. Its effect is worked out next. Raises ParameterError, JournalError."""
        record = decisions.proposed(self._config, self._ledger, content, expected_hash, version, by, reason, now_ns)
        self._acting_by(decoded(content, expected_hash).parameters, {}, record.number)  # it can be made into scenarios
        self._pipeline.commit(record, now_ns)
        self._retry_ns = now_ns
        return record.number

    def approve(self, number: int, by: str, reason: str, now_ns: int) -> Stage:
        """Pass a proposal, or be the first of two to do so. Raises ParameterError, JournalError."""
        return self._step(number, Step.APPROVE, by, reason, now_ns)

    def reject(self, number: int, by: str, reason: str, now_ns: int) -> Stage:
        """End a proposal. Raises ParameterError, JournalError."""
        return self._step(number, Step.REJECT, by, reason, now_ns)

    def show_again(self, number: int, by: str) -> None:
        """Work the effect of a proposal out anew, by the marks of now. Raises ParameterError."""
        one = decisions.known(self.book, number)
        if one.stage not in SHOWABLE:
            raise ParameterError(f"parameters {number} are {one.stage.value}: no show")
        self._again[number] = by

    def activate(self, number: int, by: str, reason: str, now_ns: int) -> None:
        """Put approved parameters in force from the next generation on. Raises ParameterError, JournalError."""
        record = decisions.activated(self._config, self._ledger, self.rules, number, by, reason, now_ns)
        self._put_in_force(record, now_ns)

    def roll_back(self, number: int, by: str, reason: str, now_ns: int) -> bool:
        """Go back to earlier parameters, or with 0 to the configuration's own, once their effect is shown.

        False where it is done at once: without marks there is no margin to show. Raises ParameterError, JournalError.
        """
        record = decisions.rolled_back(self._config, self._ledger, self.rules, number, by, reason, now_ns)
        if self._valuation.generation is None:
            self._put_in_force(record, now_ns)
            return False
        if self._returning is not None:
            raise ParameterError(f"parameters {self._returning[0]} are about to come back")
        self._returning = (number, by, reason)
        return True

    def _step(self, number: int, taken: Step, by: str, reason: str, now_ns: int) -> Stage:
        record = decisions.stepped(self.book, self.rules, number, taken, by, reason, now_ns)
        self._pipeline.commit(record, now_ns)
        return Stage(record.stage)

    def _put_in_force(self, record: ParametersActivated, now_ns: int) -> None:
        self._pipeline.commit(record, now_ns)
        self._adopt()
        name = f"parameters {record.number}" if record.number else "the configuration's own parameters"
        self._pipeline.monitor.alert(f"{name} in force, by {record.by}: {record.reason}")

    # -- what the gateway does by itself -----------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """End proposals that have waited too long; let the scenarios in force follow the marks."""
        try:
            for one in self.book.waiting(Stage.PROPOSED, Stage.SHOWN, Stage.SECONDED, Stage.APPROVED):
                if now_ns - one.proposed_ns > self.rules.lasts_ns:
                    self._step(one.number, Step.EXPIRE, GATEWAY, "nobody acted on it in time", now_ns)
            self._act_by_rule(now_ns)
            self.observe(self._prices(now_ns), now_ns)
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))

    def step(self, now_ns: int) -> bool:
        """Work out the effect of what waits for that, a slice; True where nothing is under way or due."""
        if self._work is None:
            self._work = self._next_work(now_ns)
        if self._work is None:
            return True
        work, self._work = self._work, None
        try:
            next(work)
        except StopIteration:
            return False
        except JournalError as error:
            self._pipeline.monitor.journal_failed(str(error))
            self._retry_ns = now_ns + RETRY_NS
            return True
        except (ParameterError, ValueError) as error:
            self._retry_ns = now_ns + RETRY_NS
            self._returning = None
            self._pipeline.monitor.alert(f"what parameters do can not be shown: {error}")
            return True
        self._work = work
        return False

    def _next_work(self, now_ns: int) -> Iterator[None] | None:
        if self._valuation.generation is None or now_ns < self._retry_ns:
            return None
        if self._returning is not None:
            return self._bring_back(*self._returning, now_ns)
        while self._again:
            number, by = self._again.popitem()
            if number in self.book.proposals:
                return self._show(number, by, now_ns)
        waiting = self.book.waiting(Stage.PROPOSED)
        return self._show(waiting[0].number, GATEWAY, now_ns) if waiting else None

    def _show(self, number: int, by: str, now_ns: int) -> Iterator[None]:
        other, version = self.book.files[number].parameters, self._valuation.acting.version
        yield from self._compare(number, self._acting_by(other, {}, number))
        if number not in self.book.proposals or self.book.proposals[number].stage not in SHOWABLE:
            return  # it has ended meanwhile
        if self._valuation.acting.version != version:
            self._again.setdefault(number, by)  # compared with what is not in force any more
            return
        rows = self.effects[number]
        record = decisions.shown(self.book, self.rules, number, rows, by, now_ns)
        self._pipeline.commit(record, now_ns)
        self._act_by_rule(now_ns)

    def _act_by_rule(self, now_ns: int) -> None:
        """Put in force what a rule has passed, also where a crash came between; reject what may not act any more."""
        why = f"within {self.rules.automatic_within:.2%} for every account"
        for one in self.book.waiting(Stage.APPROVED):
            if one.approved_by == (BY_RULE,):
                try:
                    self.activate(one.number, BY_RULE, why, now_ns)
                except ParameterError as error:
                    self._step(one.number, Step.REJECT, GATEWAY, str(error), now_ns)

    def _bring_back(self, number: int, by: str, reason: str, now_ns: int) -> Iterator[None]:
        of_configuration = number == OF_CONFIGURATION
        there = (
            self._of_configuration
            if of_configuration
            else self._acting_by(self.book.files[number].parameters, {}, number)
        )
        yield from self._compare(number, there)
        self._returning = None
        record = decisions.rolled_back(self._config, self._ledger, self.rules, number, by, reason, now_ns)
        shown = decisions.shown(self.book, self.rules, number, self.effects[number], by, now_ns)
        self._pipeline.commit(shown, now_ns)
        self._put_in_force(record, now_ns)

    def _compare(self, number: int, other: Acting) -> Iterator[None]:
        compared = EffectPass(self._valuation, self._ledger.accounts, self._pipeline.market.longest_mark_age_ns)
        yield from compared.steps(other)
        self.effects[number] = compared.rows
        while len(self.effects) > decisions.MAX_OPEN:
            del self.effects[next(iter(self.effects))]

    # -- what follows for generations --------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Make generations by what the book says is in force, from the next one on."""
        given, version = self.book.in_force, self._valuation.acting.version + 1
        if given is None:
            acting = msgspec.structs.replace(self._of_configuration, version=version)
            self._online = None
        else:
            acting = self._acting_by(given, self.book.ratio_bps, self.book.active, version)
            self._online = self._online_of(given)
        if given is not None or self._valuation.acting.number:
            self._valuation.adopt(acting)

    def _acting_by(self, given: ParameterSet, ratio_bps: Mapping[str, int], number: int, version: int = 0) -> Acting:
        """Return what generations are made by with a set. Raises ParameterError where it makes no scenarios."""
        try:
            joint = joint_scenarios(self._config, self._grid, self._history, given, ratio_bps)
        except ValueError as error:
            raise ParameterError(str(error)) from error
        widest = self._config.parameters.collar_cap
        collars, haircuts = {}, {}
        for coin, one in given.underlyings.items():
            ratio = ratio_bps.get(coin, BPS) / BPS
            collars[coin] = (min(one.collar[0] * ratio, widest), min(one.collar[1] * ratio, widest))
            haircuts[coin] = min(1.0, one.haircut * ratio)
        terms = msgspec.structs.replace(self._of_configuration.terms, joint=joint)
        return Acting(terms, number, version, collars, haircuts)

    # -- between two fits --------------------------------------------------------------------------------------------

    def observe(self, prices: Mapping[str, float], now_ns: int) -> None:
        """Take index prices by coin into the filters, and rescale the set in force where that is due.

        Raises JournalError: nothing was rescaled then.
        """
        online, given = self._online, self.book.in_force
        interval_ns = self._config.parameters.rescale_interval_s * NS_PER_S
        if online is None or given is None or not interval_ns:
            return
        if not online.observe(prices, now_ns) or now_ns < self._next_rescale_ns:
            return
        self._next_rescale_ns = now_ns + interval_ns
        days = (now_ns - self.book.rescaled_ns) / decisions.DAY_NS
        found: dict[str, int] = {}
        drifted = []
        for coin, variance in zip(online.names, online.variance.tolist(), strict=True):
            before = self.book.ratio_bps.get(coin, BPS)
            found[coin], is_beyond = rescaled(given.underlyings[coin], variance, before, days, self._rescale)
            if is_beyond:
                drifted.append(coin)
        if drifted and not self.is_drifting:
            self._pipeline.monitor.alert(f"parameters: volatility has drifted of {', '.join(drifted[:5])}: fit again")
        self.is_drifting = bool(drifted)
        if any(ratio != self.book.ratio_bps.get(coin, BPS) for coin, ratio in found.items()):
            self._pipeline.commit(ParametersRescaled(self.book.active, tuple(sorted(found.items()))), now_ns)
            acting = self._acting_by(given, self.book.ratio_bps, self.book.active, self._valuation.acting.version + 1)
            self._valuation.adopt(acting)

    def _online_of(self, given: ParameterSet) -> OnlineVariance:
        names = tuple(given.underlyings)
        coins = list(given.underlyings.values())
        variance = [_variance_at(one, self.book.ratio_bps.get(name, BPS)) for name, one in zip(names, coins)]
        return OnlineVariance(names, np.array(variance), np.array([one.decay for one in coins]))

    def _prices(self, now_ns: int) -> dict[str, float]:
        """Return what coins are worth by all venues together; none of one on which they contradict each other."""
        if self._online is None or not self._online.is_due(now_ns):
            return {}
        board = self._pipeline.market.board
        found = {coin: board.composite(coin, now_ns).price for coin in board.coins()}
        return {coin: price for coin, price in found.items() if price is not None}

    # -- what is told ------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return what is in force, and how many wait, as plain values."""
        acting = self._valuation.in_force
        return {
            "active": self.book.active,
            "in_force": acting.number,
            "waiting": len(self.book.waiting(Stage.PROPOSED, Stage.SHOWN, Stage.SECONDED, Stage.APPROVED)),
            "ratios": {coin: ratio / BPS for coin, ratio in sorted(self.book.ratio_bps.items())},
            "is_drifting": self.is_drifting,
        }


def _variance_at(one: UnderlyingParameters, ratio_bps: int) -> float:
    """Return the variance at which a coin's scale is what its ratio says: where the filter goes on after a restart."""
    weight = one.long_run_weight
    if ratio_bps == BPS or weight >= 1.0:
        return one.sigma**2
    sigma: float = max(0.0, one.scale * ratio_bps / BPS - weight * one.long_run) / (1.0 - weight)
    return sigma**2
