"""What may be decided of margin parameters, as the record that says so: the same for a running gateway and a journal.

Nothing here changes anything; every refusal is a ParameterError with its reason.
"""

from __future__ import annotations

from typing import Final

from gateway.config import Config
from gateway.ledger import Ledger
from gateway.levels import periods_of, profile_days
from gateway.parameters.book import OF_CONFIGURATION, ParameterBook
from gateway.parameters.file import ParameterFileError, decoded
from gateway.records.parameters import (
    ParametersActivated,
    ParametersProposed,
    ParametersShown,
    ParametersStepped,
)
from risk.parameter_life import (
    AccountEffect,
    ApprovalRules,
    ParameterError,
    Proposal,
    Stage,
    Step,
    effect_of,
    step,
)
from risk.parameter_set import Floors, ParameterSet, why_not
from risk.pricing import USD_LIKE

DAY_NS: Final = 86_400_000_000_000
# Names and rows that one record lists.
LISTED: Final = 50
# Proposals that wait for something, at the most.
MAX_OPEN: Final = 20
_OPEN: Final = (Stage.PROPOSED, Stage.SHOWN, Stage.SECONDED, Stage.APPROVED)


def rules_of(config: Config) -> ApprovalRules:
    """Return how a configuration wants parameters approved."""
    given = config.parameters
    return ApprovalRules(given.automatic_within, given.two_people_above, given.lasts_s * 1_000_000_000)


def floors_of(config: Config) -> Floors:
    """Return what no parameters may be beyond."""
    given = config.parameters
    return Floors(
        volatility=given.volatility_floor,
        move=given.move_floor,
        haircut=given.haircut_floor,
        collar=given.collar_floor,
        widest_collar=given.collar_cap,
        horizon_days=config.house.mpor_days,
        by_product=periods_of(config).rows,
        also_days=profile_days(config),
        max_age_days=given.max_age_days,
    )


def coins_of(ledger: Ledger) -> tuple[set[str], set[str]]:
    """Return the coins that are traded or held, and all that were ever listed."""
    listed = {instrument.underlying for instrument in ledger.instruments}
    listed |= {instrument.base_currency for instrument in ledger.instruments}
    traded = {instrument.underlying for instrument in ledger.instruments if instrument.is_open}
    for account in ledger.accounts.values():
        traded |= {coin for coin, units in account.cash_units.items() if units}
        traded |= {position.instrument.underlying for position in account.positions.values() if position.lots}
    return traded - USD_LIKE, listed - USD_LIKE


def refuse_unfit(config: Config, ledger: Ledger, given: ParameterSet, now_ns: int) -> None:
    """Raise ParameterError where a set may not act here and today."""
    traded, listed = coins_of(ledger)
    if reason := why_not(given, floors_of(config), now_ns // DAY_NS, traded, listed):
        raise ParameterError(reason)


def proposed(
    config: Config, ledger: Ledger, content: bytes, expected_hash: str, version: str, by: str, reason: str, now_ns: int
) -> ParametersProposed:
    """Return the record of a proposal."""
    book = ledger.parameters
    try:
        file = decoded(content, expected_hash)
    except ParameterFileError as error:
        raise ParameterError(str(error)) from error
    if file.code_version != version:
        raise ParameterError(f"made by version {file.code_version[:32]}, and this is {version}: fit again")
    refuse_unfit(config, ledger, file.parameters, now_ns)
    for one in book.proposals.values():
        if one.identity == expected_hash and one.stage in (*_OPEN, Stage.ACTIVE):
            raise ParameterError(f"the same are parameters {one.number} already, {one.stage.value}")
    if len(book.waiting(*_OPEN)) >= MAX_OPEN:
        raise ParameterError(f"{MAX_OPEN} proposals wait already: reject some")
    return ParametersProposed(book.count + 1, expected_hash, content, by, reason)


def known(book: ParameterBook, number: int) -> Proposal:
    """Return a proposal by its number."""
    if number not in book.proposals:
        raise ParameterError(f"there are no parameters {number}")
    return book.proposals[number]


def stepped(
    book: ParameterBook, rules: ApprovalRules, number: int, taken: Step, by: str, reason: str, now_ns: int
) -> ParametersStepped:
    """Return the record of an approval, a rejection or an expiry."""
    after = step(known(book, number), taken, by, now_ns, rules)
    return ParametersStepped(number, taken.value, after.stage.value, by, reason)


def shown(
    book: ParameterBook, rules: ApprovalRules, number: int, rows: list[AccountEffect], by: str, now_ns: int
) -> ParametersShown:
    """Return the record of what a proposal, or what comes back, does to all accounts."""
    effect = effect_of(rows)
    stage = Stage.ACTIVE if number == OF_CONFIGURATION else known(book, number).stage
    if number != OF_CONFIGURATION:
        stage = step(known(book, number), Step.SHOW, by, now_ns, rules, effect).stage
    worst = sorted(rows, key=lambda row: -abs(row.margin_after - row.margin_before) / max(row.margin_before, 1.0))
    return ParametersShown(
        number, stage.value, by, effect.accounts, effect.total_before, effect.total_after, effect.largest_rise,
        effect.largest_fall, len(effect.made_short), len(effect.unknown), effect.made_short[:LISTED],
        effect.unknown[:LISTED],
        tuple((row.account, row.equity, row.margin_before, row.margin_after) for row in worst[:LISTED]),
    )  # fmt: skip


def activated(
    config: Config, ledger: Ledger, rules: ApprovalRules, number: int, by: str, reason: str, now_ns: int
) -> ParametersActivated:
    """Return the record that puts approved parameters in force."""
    book = ledger.parameters
    one = known(book, number)
    if one.stage is Stage.REPLACED:
        raise ParameterError(f"parameters {number} were replaced: roll back to them")
    step(one, Step.ACTIVATE, by, now_ns, rules)
    refuse_unfit(config, ledger, book.files[number].parameters, now_ns)
    shown_ns = max((at_ns for at_ns, taken, _ in one.history if taken == Step.SHOW.value), default=0)
    if shown_ns < book.active_since_ns:
        raise ParameterError(f"what parameters {number} do was shown before others came into force: propose them again")
    return ParametersActivated(number, one.identity, book.active, False, by, reason)


def rolled_back(
    config: Config, ledger: Ledger, rules: ApprovalRules, number: int, by: str, reason: str, now_ns: int
) -> ParametersActivated:
    """Return the record that puts earlier parameters back in force, or with 0 the configuration's own.

    One person may: they were approved before. What is below today's floors or lacks a coin of today is refused; their
    age is not looked at.
    """
    book = ledger.parameters
    if number == book.active:
        raise ParameterError(f"parameters {number} are in force")
    if book.active != OF_CONFIGURATION:
        step(known(book, book.active), Step.ROLL_BACK, by, now_ns, rules)
    if number == OF_CONFIGURATION:
        return ParametersActivated(number, "", book.active, True, by, reason)
    one = known(book, number)
    if one.stage is not Stage.REPLACED:
        raise ParameterError(f"parameters {number} are {one.stage.value}: only what was in force comes back")
    step(one, Step.ACTIVATE, by, now_ns, rules)
    given = book.files[number].parameters
    refuse_unfit(config, ledger, given, given.as_of_day * DAY_NS)
    return ParametersActivated(number, one.identity, book.active, True, by, reason)
