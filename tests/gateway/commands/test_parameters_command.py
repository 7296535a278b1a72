"""`margingate parameters` from a fit to force: against a gateway that runs, and on a stopped one's journal."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.clock import now_ns
from gateway.operators.callers import TOKEN_VARIABLE
from gateway.parameters.file import hash_of
from gateway.parameters.scheduled_fits import LEAST_PAUSE_NS, FitTimes, ScheduledFits
from risk.parameter_life import ParameterError, Stage
from tests.gateway.admin.rig import TOKENS, write_tokens
from tests.gateway.live import TcpClient, live, run, until
from tests.gateway.parameter_rig import parameter_set, propose, settle
from tests.gateway.rig import CONFIG, SECOND, Rig, opened

HOUR_MS = 3_600_000
DAY_NS = 86_400 * SECOND
TOKENS_KNOWN = '\n[admin]\ntokens_file = "tokens.toml"\n'
runner = CliRunner()


def write_hours(path: Path, days: int, seed: int, last_day: int) -> None:
    """Hours of so many days up to the end of one."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.006 * rng.standard_t(5, days * 24)))
    first_ms = (last_day + 1 - days) * 24 * HOUR_MS
    lines = [f"{first_ms + at * HOUR_MS},{price!r},1" for at, price in enumerate(close.tolist())]
    path.write_text("\n".join(["open_time_ms,close,volume", *lines]) + "\n")


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two coins up to yesterday."""
    directory, yesterday = tmp_path_factory.mktemp("prices"), now_ns() // DAY_NS - 1
    write_hours(directory / "BTCUSDT.csv", 150, 1, yesterday)
    write_hours(directory / "ETHUSDT.csv", 140, 2, yesterday)
    return directory


@pytest.fixture(scope="module")
def fit(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "out"
    found = runner.invoke(cli.app, ["fit", "--data", str(prices), "--out", str(out)])
    assert found.exit_code == 0, found.output
    return out


def by(person: str) -> dict[str, str]:
    """The environment of somebody at the machine."""
    return {TOKEN_VARIABLE: TOKENS[person][1]}


async def said(person: str, *arguments: str) -> Any:
    return await asyncio.to_thread(runner.invoke, cli.app, ["parameters", *arguments], env=by(person))


def test_commands_take_a_fit_into_force_in_a_running_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: Path, prices: Path
) -> None:
    """Priced in a process of its own, which is told of the new scenarios; a client's order is refused by them."""

    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, pricing="process", extra=TOKENS_KNOWN) as running:
            core, place = running.app.core, str(tmp_path / "gateway.toml")
            write_tokens(tmp_path)
            client = await TcpClient().connect(running.port)
            await client.log_on()
            found = await said("rita", "propose", place, str(fit), "--reason", "nightly", "--data", str(prices))
            assert found.exit_code == 0 and "parameters 1: proposed" in found.output, found.output
            assert "margin after" in found.output and "alpha" in found.output
            found = await said("rita", "approve", place, "1", "--reason", "mine")
            assert found.exit_code == 1 and "proposed" in found.output
            found = await said("ruth", "approve", place, "1", "--reason", "mine", "--who", "rita")
            assert found.exit_code == 1 and "of another person" in found.output
            found = await asyncio.to_thread(
                runner.invoke, cli.app, ["parameters", "approve", place, "1", "--reason", "x", "--who", "bob"]
            )
            assert found.exit_code == 1 and "takes a token" in found.output.replace("\n", " ")
            for who in ("ruth", "adam"):
                if core.ledger.parameters.proposals[1].stage is not Stage.APPROVED:
                    found = await said(who, "approve", place, "1", "--reason", "looked at it")
                    assert found.exit_code == 0, found.output
            assert set(core.ledger.parameters.proposals[1].approved_by) <= {"ruth", "adam"}
            found = await said("ruth", "activate", place, "1", "--reason", "go")
            assert found.exit_code == 0 and "active" in found.output, found.output
            await until(lambda: core.valuation.in_force.number == 1)
            generation = core.valuation.generation
            assert generation is not None and generation.joint == core.valuation.terms.joint.size > 1
            assert core.market.haircuts.keys() == {"BTC", "ETH"} and core.market.collar.of_coin
            assert running.app.pricing is not None and running.app.pricing.supervision.starts == 1
            found = await said("vera", "list", place)
            assert found.exit_code == 0, found.output
            found = await said("rita", "show", place, "1", "--json")
            told = orjson.loads(found.output)
            assert told["is_complete"] and len(told["accounts"]) == 3 and told["stage"] == "active"
            assert [one["step"] for one in told["history"]][-1] == "activate"
            found = await said("adam", "rollback", place, "0", "--reason", "no")
            assert found.exit_code == 0, found.output
            await until(lambda: core.valuation.in_force.number == 0 and core.ledger.parameters.active == 0)
            found = await said("rita", "list", place)
            assert "what the configuration says" in found.output
            assert running.app.snapshot()["parameters"]["active"] == 0
            await client.close()

    run(scenario())


def test_a_fit_that_is_not_what_it_says_is_refused(tmp_path: Path, fit: Path, prices: Path) -> None:
    """Each file by its hash, the manifest by its identity, the data by the files it names."""
    (tmp_path / "run").mkdir()
    place = str(tmp_path / "run")

    def refused(directory: Path, says: str, *more: str) -> None:
        found = runner.invoke(cli.app, ["parameters", "propose", place, str(directory), "--reason", "x", *more])
        assert found.exit_code == 1 and says in found.output.replace("\n", ""), found.output

    for name in ("parameters.json", "fitted.json", "card.html"):
        changed = tmp_path / name
        shutil.copytree(fit, changed)
        (changed / name).write_bytes((changed / name).read_bytes() + b" ")
        refused(changed, "is not what was written")
    changed = tmp_path / "identity"
    shutil.copytree(fit, changed)
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["code_version"] = "9.9.9"
    (changed / "manifest.json").write_text(json.dumps(manifest))
    refused(changed, "identity is not of its data, code and settings")
    changed = tmp_path / "of another fit"
    shutil.copytree(fit, changed)
    content = (changed / "parameters.json").read_bytes().replace(b'"haircut":0.', b'"haircut":0.0')
    (changed / "parameters.json").write_bytes(content)
    manifest = json.loads((fit / "manifest.json").read_text())
    manifest["files"]["parameters.json"] = hash_of(content)
    (changed / "manifest.json").write_text(json.dumps(manifest))
    refused(changed, "is not of this fit")
    other = tmp_path / "prices"
    shutil.copytree(prices, other)
    (other / "BTCUSDT.csv").write_text((other / "BTCUSDT.csv").read_text() + "\n")
    refused(fit, "is not what BTC was learnt from", "--data", str(other))
    refused(tmp_path / "nowhere", "manifest.json")


def config_of(rig: Rig, tmp_path: Path, more: str = TOKENS_KNOWN) -> str:
    path = tmp_path / "gateway.toml"
    path.write_text((CONFIG + more).replace('"journal"', f'"{rig.directory}"'))
    return str(path)


def test_a_stopped_gateways_journal_takes_decisions_too(tmp_path: Path, fit: Path) -> None:
    rig = Rig(tmp_path / "run", config=CONFIG + TOKENS_KNOWN, now_ns=now_ns())
    place = config_of(rig, tmp_path)
    number = propose_today(rig)
    settle(rig)
    rig.journal.close()

    write_tokens(tmp_path)

    def done(*arguments: str, person: str = "rita") -> Any:
        return runner.invoke(cli.app, ["parameters", *arguments], env=by(person))

    found = done("show", str(rig.directory), str(number))
    assert found.exit_code == 0 and "shown" in found.output and "alpha" in found.output
    assert "give its configuration" in done("approve", str(rig.directory), "1", "--reason", "x").output
    assert "takes the role" in done("approve", place, "1", "--reason", "looked", person="vera").output
    for who in ("rita", "ruth"):
        found = done("approve", place, "1", "--reason", "looked", person=who)
    assert done("activate", place, "1", "--reason", "go").exit_code == 0
    assert "parameters 1" in done("list", str(rig.directory)).output
    assert "are in force" in done("rollback", place, "1", "--reason", "x").output
    again = Rig(rig.directory, config=CONFIG + TOKENS_KNOWN, now_ns=now_ns(), marks={})
    assert again.core.valuation.acting.number == 1
    again.journal.close()
    assert done("rollback", place, "0", "--reason", "back").exit_code == 0
    found = done("propose", place, str(fit), "--reason", "x", "--who", "rita")
    assert found.exit_code == 0 and "parameters 2: proposed" in found.output, found.output
    assert done("list", str(tmp_path / "none")).exit_code == 1
    again = Rig(rig.directory, config=CONFIG + TOKENS_KNOWN, now_ns=now_ns(), marks={})
    stages = [one.stage for one in again.ledger.parameters.proposals.values()]
    assert stages == [Stage.ROLLED_BACK, Stage.PROPOSED]
    settle(again)  # before marks have come nothing is known
    assert again.ledger.parameters.proposals[2].stage is Stage.PROPOSED
    again.journal.close()


def propose_today(rig: Rig) -> int:
    return propose(rig, parameter_set(as_of_day=rig.now_ns // DAY_NS - 1))


def test_times_of_fits() -> None:
    night = FitTimes("02:00", on_drift=True, now_ns=0)
    assert night.is_due(HOUR_MS * 10**6, False) == ""
    assert night.is_due(2 * 3_600 * SECOND, False) == "nightly" and night.is_due(2 * 3_600 * SECOND + 1, False) == ""
    assert night.is_due(26 * 3_600 * SECOND - 1, False) == "" and night.is_due(27 * 3_600 * SECOND, False) == "nightly"
    assert night.is_due(28 * 3_600 * SECOND, True) == "drift" and night.is_due(29 * 3_600 * SECOND, True) == ""
    assert night.is_due(28 * 3_600 * SECOND + LEAST_PAUSE_NS, True) == "drift"
    assert FitTimes(None, on_drift=False, now_ns=0).is_due(10**18, True) == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("-c", "import sys; sys.exit('no data')"), "ended with 1: no data"),
        (("-c", "print('nonsense')"), "no parameter set"),
        (("-c", "import time; time.sleep(60)"), "more than"),
    ],
)
def test_a_fit_that_fails_proposes_nothing(tmp_path: Path, command: tuple[str, ...], says: str) -> None:
    more = f'\n[parameters]\ndata_directory = "{tmp_path}"\nfit_at = "02:00"\nfit_timeout_s = 10\n'

    async def scenario() -> None:
        with opened(tmp_path / "run", config=CONFIG + more) as rig:
            fits = ScheduledFits(rig.core, lambda: rig.now_ns, (sys.executable, *command))
            fits._timeout_s = 5 if "time" not in command[1] else 0.2
            with pytest.raises(ParameterError, match=says):
                await fits.fit_once("nightly")
            assert not rig.ledger.parameters.proposals and fits.started == 1

    run(scenario())


def test_a_scheduled_fit_is_proposed(tmp_path: Path, prices: Path, fit: Path) -> None:
    """The process that it starts leaves the same as the command does, and the gateway proposes it."""
    more = f'\n[parameters]\ndata_directory = "{prices}"\nfit_at = "02:00"\n'

    async def scenario() -> None:
        with opened(tmp_path / "run", config=CONFIG + more, now_ns=now_ns()) as rig:
            fits = ScheduledFits(rig.core, lambda: rig.now_ns)
            number = await fits.fit_once("nightly")
            settle(rig)
            one = rig.ledger.parameters.proposals[number]
            assert (one.proposed_by, one.stage) == ("gateway", Stage.SHOWN)
            told = orjson.loads((fit / "parameters.json").read_bytes())
            assert rig.ledger.parameters.files[number].identity == told["identity"]

    run(scenario())
