"""`margingate parameters`: from proposal to force and back, by a running gateway or on its journal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Final

import msgspec
import orjson
import typer
from rich.console import Console

from gateway.clock import now_ns
from gateway.commands.control import Reason, Who, asked
from gateway.commands.endings import fail
from gateway.commands.places import Place, journal_directory, recovered, stopped_journal, write
from gateway.commands.tables import output, table_of
from gateway.config import Config, ConfigError, load
from gateway.ledger import Ledger
from gateway.operators.callers import Caller, Callers, own_token
from gateway.operators.channel import (
    Answer,
    AnyCommand,
    ControlError,
    DecideParameters,
    ListParameters,
    ProposeParameters,
    ShowParameters,
)
from gateway.operators.unix_sockets import own_user
from gateway.parameters import decisions
from gateway.parameters.desk import ACTIVATE, APPROVE, REJECT, ROLLBACK, counted, detail, rows, said
from gateway.parameters.file import ParameterFileError, hash_of, place_of
from risk.parameter_life import ParameterError, Step

EPOCH: Final = date(1970, 1, 1)
# How long a command waits for the gateway to work out what parameters do to all accounts.
SHOW_WAIT_S: Final = 10.0
LOOK_S: Final = 0.2
_SHARES: Final = ("largest_rise", "largest_fall")

app = typer.Typer(no_args_is_help=True, help="Margin parameters: proposed, shown, approved, in force, rolled back.")

Number = Annotated[int, typer.Argument(help="The parameters' number, as `parameters list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_(place: Place, as_json: AsJson = False) -> None:
    """Show all proposals, and what is in force."""
    directory = journal_directory(place)
    answer = asked(directory, ListParameters())
    if answer is None:
        book = recovered(directory).ledger.parameters
        answer = {"parameters": rows(book), "active": book.active, "in_force": None}
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    given = answer["parameters"]
    if given:
        table = table_of(*(name.replace("_", " ") for name in given[0]))
        for row in given:
            table.add_row(*(_cell(name, value) for name, value in row.items()))
        output().print(table, markup=False)
    else:
        typer.echo("nothing is proposed")
    active = answer["active"]
    typer.echo(f"in force: {f'parameters {active}' if active else 'what the configuration says'}")
    if active and answer["in_force"] not in (None, active):
        typer.echo("the generation in force was made before: the next one has them")


@app.command()
def propose(
    place: Place,
    fit: Annotated[Path, typer.Argument(help="The directory that `margingate fit` wrote.")],
    reason: Reason,
    data: Annotated[Path | None, typer.Option(help="Price files: those of the fit must be these, to the byte.")] = None,
    who: Who = "",
) -> None:
    """Propose a fit's parameters: its files are checked, and its effect on every account worked out."""
    from gateway.fit.artifacts import ArtifactError, verified  # late: the other commands need no learning library

    directory = journal_directory(place)
    try:
        content = verified(fit, data)
        parameters_hash = hash_of(content)
        target = place_of(directory, parameters_hash)
        if not directory.is_dir():
            fail(f"{directory}: there is no such directory")
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.write_bytes(content)
    except (ArtifactError, ParameterFileError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{directory}: {error.strerror}")
    command = ProposeParameters(parameters_hash, reason, who)
    answer = asked(directory, command)
    if answer is None:
        config = _config(place)
        by, why = _by(config, command)
        number = _written(
            config,
            lambda ledger, now: decisions.proposed(
                config, ledger, content, parameters_hash, version("margingate"), by, why, now
            ),
        ).number
        typer.echo(f"parameters {number}: proposed; no gateway runs, their effect is shown once one does")
        return
    typer.echo(f"parameters {answer['number']}: proposed")
    shown = _when_shown(directory, answer["number"])
    if shown is None:
        typer.echo("their effect is being worked out: `margingate parameters show`")
    else:
        _print(shown)


@app.command()
def show(
    place: Place,
    number: Number,
    anew: Annotated[bool, typer.Option("--anew", help="Work the effect out by the marks of now.")] = False,
    as_json: AsJson = False,
    who: Who = "",
) -> None:
    """Show a set, its history, and what it does to every account: margin before and after, and who would be short."""
    directory = journal_directory(place)
    answer = asked(directory, ShowParameters(number, anew, who))
    if answer is None:
        if anew:
            fail("no gateway runs there: what parameters do is known by its marks alone")
        try:
            answer = detail(recovered(directory).ledger.parameters, number)
        except ParameterError as error:
            fail(str(error))
    elif anew:
        answer = _when_shown(directory, number, len(answer["history"])) or answer
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    _print(answer)


@app.command()
def approve(place: Place, number: Number, reason: Reason, who: Who = "") -> None:
    """Approve a proposal whose effect is known; a large one takes two people, neither of whom proposed it."""
    _decide(place, number, APPROVE, reason, who)


@app.command()
def reject(place: Place, number: Number, reason: Reason, who: Who = "") -> None:
    """End a proposal."""
    _decide(place, number, REJECT, reason, who)


@app.command()
def activate(place: Place, number: Number, reason: Reason, who: Who = "") -> None:
    """Put an approved set in force from the next generation on."""
    _decide(place, number, ACTIVATE, reason, who)


@app.command()
def rollback(
    place: Place,
    number: Annotated[int, typer.Argument(help="Which to go back to; 0: what the configuration says.")],
    reason: Reason,
    who: Who = "",
) -> None:
    """Go back to parameters that were in force before; those in force now are done with."""
    _decide(place, number, ROLLBACK, reason, who)


def _decide(place: Path, number: int, decision: str, reason: str, who: str) -> None:
    directory = journal_directory(place)
    command = DecideParameters(number, decision, reason, who)
    answer = asked(directory, command)
    if answer is not None:
        typer.echo(f"parameters {number}: {answer['stage']}")
        return
    config = _config(place)
    (by, why), rules = _by(config, command), decisions.rules_of(config)

    def decided(ledger: Ledger, now: int) -> Any:
        if decision in (APPROVE, REJECT):
            step = Step.APPROVE if decision == APPROVE else Step.REJECT
            return decisions.stepped(ledger.parameters, rules, number, step, by, why, now)
        put = decisions.activated if decision == ACTIVATE else decisions.rolled_back
        return put(config, ledger, rules, number, by, why, now)

    record = _written(config, decided)
    stage = getattr(record, "stage", "active")
    typer.echo(f"parameters {number}: {stage}; no gateway runs, its next start has it so")


def _by(config: Config, command: ProposeParameters | DecideParameters) -> tuple[str, str]:
    """Return whom a step counts for, and why it is taken, as a running gateway would say."""
    callers = Callers(None if config.admin is None else config.admin.tokens_file)
    try:
        caller: Caller = callers.caller(msgspec.structs.replace(command, token=own_token()), own_user())
        return counted(command, callers, caller), said(caller, command.who, command.reason)
    except ControlError as error:
        fail(str(error))


def _written(config: Config, decide: Callable[[Ledger, int], Any]) -> Any:
    """Decide by the journal of a gateway that is stopped, and write what was decided."""
    now = now_ns()
    try:
        with stopped_journal(config.gateway.journal_directory) as (log, found):
            record = decide(found.ledger, now)
            write(log, record, now)
    except ParameterError as error:
        fail(str(error))
    return record


def _config(place: Path) -> Config:
    if place.is_dir():
        fail(f"{place}: no gateway runs there: give its configuration, which says who may approve what")
    try:
        return load(place)
    except ConfigError as error:
        fail(str(error))


def _when_shown(directory: Path, number: int, known: int = 1) -> Answer | None:
    """Wait, within a limit, until the gateway has worked an effect out; None where it has not."""
    deadline = now_ns() + int(SHOW_WAIT_S * 1e9)
    command: AnyCommand = ShowParameters(number)
    pause = Event()
    while now_ns() < deadline:
        answer = asked(directory, command)
        if answer is None or len(answer["history"]) > known:
            return answer
        pause.wait(LOOK_S)
    return None


def _print(answer: Answer) -> None:
    console = output()
    day = EPOCH + timedelta(days=answer["as_of_day"])
    console.print(f"parameters {answer['number']}: {answer['stage']}, as of {day}, hash {answer['hash'][:16]}")
    coins = table_of("coin", "scale a day", "largest fall", "largest rise", "haircut", "collar", "by the marks")
    for coin, one in answer["underlyings"].items():
        low, high = one["collar"]
        coins.add_row(
            coin, f"{one['scale']:.2%}", f"{one['largest_fall']:.1%}", f"{one['largest_rise']:.1%}",
            f"{one['haircut']:.1%}", f"-{low:.1%} +{high:.1%}", f"x {one['ratio']:.2f}",
        )  # fmt: skip
    console.print(coins)
    _print_periods(console, answer)
    _print_forecasters(console, answer["underlyings"])
    effect = answer["effect"]
    if effect is None:
        console.print("what it does to accounts is not known yet")
    else:
        console.print(
            f"{effect['accounts']} accounts: {effect['total_before']:,.0f} -> {effect['total_after']:,.0f} USD; "
            f"largest rise {effect['largest_rise']:.1%}, largest fall {effect['largest_fall']:.1%}; "
            f"{answer['made_short']} made short, {answer['unknown']} unknown"
        )
        accounts = table_of("account", "equity", "margin before", "margin after", "")
        for row in answer["accounts"]:
            figures = (_usd(row[name]) for name in ("equity", "margin_before", "margin_after"))
            accounts.add_row(row["account"], *figures, "short" if row["is_made_short"] else "")
        console.print(accounts)
        if not answer["is_complete"]:
            console.print("those that change most; `show --anew` works all of them out")
    for one in answer["history"]:
        at = datetime.fromtimestamp(one["time_ns"] // 1_000_000_000, UTC)
        console.print(f"{at:%Y-%m-%d %H:%M:%S} {one['step']} by {one['by']}")


def _print_periods(console: Console, answer: Answer) -> None:
    """Say how long what is held, and how far coins move in the other periods."""
    rows = [
        f"{row.get('product', 'all')} at {row.get('venue', 'any venue')} {row['days']:g}" for row in answer["periods"]
    ]
    console.print(f"margin period {answer['horizon_days']:g} days" + "".join(f"; {row}" for row in rows))
    for coin, one in answer["underlyings"].items():
        for days, (fall, rise) in one["over"].items():
            console.print(f"{coin} over {days} days: largest fall {fall:.1%}, largest rise {rise:.1%}")


def _print_forecasters(console: Console, underlyings: Answer) -> None:
    """Say whose volatility is used, beside the filter's, and how the best challenger did against it."""
    for coin, one in underlyings.items():
        used = one.get("used")
        if used is None:
            continue
        console.print(
            f"{coin}: volatility by {used['forecaster']}, {one['sigma']:.2%} a day; the filter's "
            f"{used['filter_sigma']:.2%} ({used['why']})"
        )
        if used["rival"]:
            console.print(
                f"  over {used['rows']} days {used['rival']} lost {used['loss']:.4g}, the filter "
                f"{used['base_loss']:.4g}, p {used['p_value']:.2g}; forecast of a day "
                f"{_share(used['forecast'])}, the fast filter's {_share(used['base'])}"
            )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.2%}"


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "as_of_day":
        return str(EPOCH + timedelta(days=value))
    return f"{value:.1%}" if name in _SHARES else str(value)
