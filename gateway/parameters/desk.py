"""What an operator asks and decides of margin parameters, in a running gateway and of a stopped one's journal."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.core import Core
from gateway.journal import JournalError
from gateway.operators.callers import Caller, Callers
from gateway.operators.channel import (
    Answer,
    ControlError,
    DecideParameters,
    ListParameters,
    ProposeParameters,
    ShowParameters,
)
from gateway.operators.kills import MAX_REASON, printable
from gateway.parameters.book import OF_CONFIGURATION, ParameterBook
from gateway.parameters.file import ParameterFileError, place_of, read_content
from risk.parameter_life import AccountEffect, ParameterError, Proposal
from risk.parameter_set import BPS

APPROVE, REJECT, ACTIVATE, ROLLBACK = "approve", "reject", "activate", "rollback"
DECISIONS: Final = (APPROVE, REJECT, ACTIVATE, ROLLBACK)
# Accounts of one answer: those that change most first.
ACCOUNTS_SHOWN: Final = 1_000

Command = ListParameters | ShowParameters | ProposeParameters | DecideParameters


def answer(core: Core, command: Command, callers: Callers, caller: Caller, now_ns: int) -> Answer:
    """Act on somebody's command; raises ControlError where it is refused."""
    parameters = core.parameters
    if isinstance(command, ListParameters):
        return {"parameters": rows(parameters.book), **parameters.snapshot()}
    try:
        if isinstance(command, ShowParameters):
            if command.is_anew:
                parameters.show_again(command.number, caller.said(command.who))
            return detail(parameters.book, command.number, parameters.effects.get(command.number))
        who, reason = counted(command, callers, caller), said(caller, command.who, command.reason)
        if isinstance(command, ProposeParameters):
            directory = core.config.gateway.journal_directory
            return {"number": propose(core, directory, command.parameters_hash, who, reason, now_ns)}
        return _decide(core, command, who, reason, now_ns)
    except (ParameterError, ParameterFileError) as error:
        raise ControlError(str(error)) from None
    except JournalError as error:
        raise ControlError(f"the journal can not be written: {error}") from None


def counted(command: ProposeParameters | DecideParameters, callers: Callers, caller: Caller) -> str:
    """Return whom a step counts for: nobody approves what he proposed, so both are proven. Raises ControlError."""
    if isinstance(command, ProposeParameters) or command.decision == APPROVE:
        return callers.shared(caller)
    return caller.name or caller.user


def said(caller: Caller, who: str, reason: str) -> str:
    """Return why, and who said so."""
    return f"{caller.said(who)}: {printable(reason, MAX_REASON)}"


def propose(core: Core, directory: Path, parameters_hash: str, who: str, reason: str, now_ns: int) -> int:
    """Propose the set of a hash that lies in the journal's directory; return its number."""
    content = read_content(place_of(directory, parameters_hash))
    return core.parameters.propose(content, parameters_hash, version("margingate"), who, reason, now_ns)


def _decide(core: Core, command: DecideParameters, who: str, reason: str, now_ns: int) -> Answer:
    parameters, number = core.parameters, command.number
    if command.decision == APPROVE:
        stage = parameters.approve(number, who, reason, now_ns).value
    elif command.decision == REJECT:
        stage = parameters.reject(number, who, reason, now_ns).value
    elif command.decision == ACTIVATE:
        parameters.activate(number, who, reason, now_ns)
        stage = parameters.book.proposals[number].stage.value
    elif command.decision == ROLLBACK:
        is_waiting = parameters.roll_back(number, who, reason, now_ns)
        stage = "coming back once its effect is shown" if is_waiting else "active"
    else:
        raise ControlError(f"a decision is one of {', '.join(DECISIONS)}")
    core.monitor.alert(f"parameters {number} {stage}: {command.decision} by {reason}")
    return {"number": number, "stage": stage, "active": parameters.book.active}


def rows(book: ParameterBook) -> list[dict[str, Any]]:
    """Return each proposal in a line, the newest first."""
    return [_row(book, one) for _, one in sorted(book.proposals.items(), reverse=True)]


def _row(book: ParameterBook, one: Proposal) -> dict[str, Any]:
    effect = one.effect
    return {
        "number": one.number,
        "stage": one.stage.value,
        "hash": one.identity[:16],
        "as_of_day": book.files[one.number].parameters.as_of_day,
        "proposed_by": one.proposed_by,
        "approved_by": ", ".join(one.approved_by),
        "largest_rise": None if effect is None else effect.largest_rise,
        "largest_fall": None if effect is None else effect.largest_fall,
        "made_short": None if effect is None else len(effect.made_short),
        "unknown": None if effect is None else len(effect.unknown),
        "reason": book.reasons[one.number],
    }


def detail(book: ParameterBook, number: int, effects: list[AccountEffect] | None = None) -> Answer:
    """Return all of one set. `effects` are of every account, where they are known; else those that were recorded."""
    if number == OF_CONFIGURATION:
        raise ParameterError("0 is what the configuration says")
    if number not in book.proposals:
        raise ParameterError(f"there are no parameters {number}")
    one, file = book.proposals[number], book.files[number]
    accounts = [AccountEffect(*row) for row in book.worst.get(number, ())] if effects is None else effects
    ranked = sorted(accounts, key=lambda row: -abs(row.margin_after - row.margin_before))
    given = file.parameters
    return {
        **_row(book, one),
        "hash": one.identity,
        "fit": file.identity,
        "code_version": file.code_version,
        "data_hash": file.data_hash,
        "horizon_days": given.horizon_days,
        "periods": [msgspec.to_builtins(row) for row in given.by_product],
        "over_days": [given.horizon_days, *sorted(float(days) for days in given.points[0].over)],
        "confidence": given.confidence,
        "points": len(given.points),
        "underlyings": {
            coin: {"scale": each.scale, "haircut": each.haircut, "collar": list(each.collar), "sigma": each.sigma}
            | {"used": None if each.used is None else msgspec.to_builtins(each.used)}
            | _tails(book, number, coin)
            for coin, each in given.underlyings.items()
        },
        "effect": None if one.effect is None else msgspec.to_builtins(one.effect),
        "accounts": [
            {
                "account": row.account,
                "equity": row.equity,
                "margin_before": row.margin_before,
                "margin_after": row.margin_after,
                "is_made_short": row.is_made_short,
            }
            for row in ranked[:ACCOUNTS_SHOWN]
        ],
        "is_complete": effects is not None and len(ranked) <= ACCOUNTS_SHOWN,
        "history": [{"time_ns": at_ns, "step": step, "by": by} for at_ns, step, by in one.history],
    }


def _tails(book: ParameterBook, number: int, coin: str) -> dict[str, Any]:
    moves = [point.moves[coin] for point in book.files[number].parameters.points]
    ratio = book.ratio_bps.get(coin, BPS) / BPS if number == book.active else 1.0
    over: dict[str, tuple[float, float]] = {}
    for days in book.files[number].parameters.points[0].over:
        longer = [point.over[days][coin] for point in book.files[number].parameters.points]
        over[days] = min(longer), max(longer)
    return {"largest_fall": min(moves), "largest_rise": max(moves), "ratio": ratio, "over": over}
