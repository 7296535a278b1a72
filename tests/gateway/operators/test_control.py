"""The operator's channel over its real socket: commands, bounds, who may, and the commands of the command line."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from gateway import cli, records
from gateway.clock import now_ns
from gateway.fix_server import FixServer
from gateway.journal import Journal, read
from gateway.operators import channel as control
from gateway.operators.channel import (
    MAX_CONNECTIONS,
    MAX_LINE_BYTES,
    NAME,
    ControlError,
    ControlServer,
    Kill,
    LogOut,
    Reinstate,
    Status,
    ask,
    person,
)
from gateway.operators.commands import Operator
from gateway.recovery import replay
from protocols.fix.session import Limits
from tests.gateway.live import PATIENCE_S, TcpClient, live, run, until
from tests.gateway.rig import CONFIG, Rig, accepted, opened

runner = CliRunner()


@contextlib.asynccontextmanager
async def operated(directory: Path) -> AsyncIterator[tuple[Rig, ControlServer, FixServer]]:
    """A core with its operator's channel, and a FIX server that nobody has connected to."""
    with opened(directory, now_ns=now_ns()) as rig:
        fix = FixServer(
            rig.pipeline, max_connections=8, max_write_buffer_bytes=1 << 20, limits=Limits(),
            cancels_on_disconnect=lambda name: True,
        )  # fmt: skip
        server = ControlServer(directory, Operator(rig.core, fix, lambda: rig.now_ns).answer)
        await server.start()
        try:
            yield rig, server, fix
        finally:
            server.stop()
            await until(lambda: not server.connections)


async def asked(directory: Path, command: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, directory, command)


def test_a_kill_and_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with operated(tmp_path) as (rig, _, _):
            desk = rig.desk().log_on()
            desk.order()
            rig.hear(accepted(rig.only_order()))
            answer = await asked(tmp_path, Kill("session", "ALPHA", "fat finger", "ann"))
            assert answer == {"cancels": 1, "is_journalled": True}
            assert rig.link.cancelled == [rig.only_order().order_id] and rig.log[-1] == ("flush", None)
            (record,) = rig.of_type(records.Killed)
            assert record.reason == "fat finger" and record.who == person("ann")
            told = await asked(tmp_path, Status())
            (alpha,) = [row for row in told["sessions"] if row["session"] == "ALPHA"]
            assert alpha["killed"] == f"by {person('ann')}: fat finger" and alpha["working_orders"] == 1
            assert told["unconfirmed_cancels"] == 1
            with pytest.raises(ControlError, match="no session NOBODY; there are ALPHA, BETA"):
                await asked(tmp_path, Kill("session", "NOBODY", "x"))
            assert await asked(tmp_path, Reinstate("session", "ALPHA", "looked at it")) == {}
            with pytest.raises(ControlError, match="is not killed"):
                await asked(tmp_path, Reinstate("session", "ALPHA", "again"))
            with pytest.raises(ControlError, match="not logged on"):
                await asked(tmp_path, LogOut("ALPHA", "x"))

    run(scenario())


def test_only_its_owner_may_open_the_socket(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with operated(tmp_path) as (_, server, _):
            mode = server.path.stat().st_mode
            assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert not server.path.exists()

    run(scenario())


def test_a_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / NAME))

    async def scenario() -> None:
        async with operated(tmp_path):
            assert (await asked(tmp_path, Status()))["accounts"]

    run(scenario())


def test_a_directory_whose_path_is_too_long_for_a_socket_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)

    async def scenario() -> None:
        async with operated(deep):
            assert (await asked(deep, Status()))["sessions"]

    run(scenario())


async def talk(directory: Path, data: bytes) -> list[dict[str, Any]]:
    """Send bytes as they are; return every answer until the channel closes or as many came as lines went."""
    reader, writer = await asyncio.open_unix_connection(str(directory / NAME))
    writer.write(data)
    answers = []
    for _ in range(max(1, data.count(b"\n"))):
        line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
        if not line:
            break
        answers.append(orjson.loads(line))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answers


NOT_COMMANDS = [
    b"hello\n", b"{}\n", b"[]\n", b'{"do":"explode"}\n', b'{"do":"kill"}\n', b"\xff\xfe\n", b"\n",
    b'{"do":"kill","scope":"session","name":"ALPHA","reason":"x","now":1}\n',
    b'{"do":"kill","scope":1,"name":"ALPHA","reason":"x"}\n',
]  # fmt: skip


def test_what_is_no_command_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with operated(tmp_path) as (rig, _, _):
            before = rig.core.state_hash()
            for data in NOT_COMMANDS:
                (answer,) = await talk(tmp_path, data)
                assert answer["ok"] is False and answer["error"].startswith("not a command: "), data
            both = await talk(tmp_path, b'nonsense\n{"do":"status"}\n')
            assert [answer["ok"] for answer in both] == [False, True]
            assert rig.core.state_hash() == before

    run(scenario())


def test_lines_commands_and_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with operated(tmp_path) as (_, server, _):
            (answer,) = await talk(tmp_path, b"x" * (MAX_LINE_BYTES + 1))
            assert answer["error"] == f"a line is at most {MAX_LINE_BYTES} bytes"
            monkeypatch.setattr(control, "MAX_COMMANDS", 3)
            assert len(await talk(tmp_path, b'{"do":"status"}\n' * 5)) == 3
            ends = [await asyncio.open_unix_connection(str(tmp_path / NAME)) for _ in range(MAX_CONNECTIONS)]
            await until(lambda: len(server.connections) == MAX_CONNECTIONS)
            try:
                answers = await talk(tmp_path, b'{"do":"status"}\n')
            except ConnectionError:
                answers = []
            assert answers == []
            for _, writer in ends:
                writer.close()
            await until(lambda: not server.connections)
            monkeypatch.setattr(control, "IDLE_TIMEOUT_S", 0.02)
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / NAME))
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""  # idle: hung up
            writer.close()

    run(scenario())


def test_a_fault_of_ours_is_answered_and_raised(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with operated(tmp_path) as (_, server, _):
            caught: list[str] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: caught.append(type(context["exception"]).__name__))
            server.answer = lambda command, user: {}[command]  # type: ignore[index]
            with pytest.raises(ControlError, match="internal error: KeyError"):
                await asked(tmp_path, Status())
            await until(lambda: caught)
            assert caught == ["KeyError"]

    run(scenario())


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(tmp_path, Status())
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / NAME))
    with pytest.raises(ConnectionRefusedError):
        ask(tmp_path, Status())


@pytest.mark.parametrize("answer", [b"", b"{"])
def test_a_gateway_that_dies_while_it_is_asked(tmp_path: Path, answer: bytes) -> None:
    async def scenario() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answer)
            writer.close()

        server = await asyncio.start_unix_server(hang_up, str(tmp_path / NAME))
        with pytest.raises(ControlError, match="hung up"):
            await asked(tmp_path, Status())
        server.close()

    run(scenario())


def test_who_asks_is_what_they_say_and_who_the_kernel_says_they_are() -> None:
    assert person("", "ann") == "ann" and person("ann", "ann") == "ann"
    assert person("bob", "ann") == "bob (ann)" and person("b" * 99, "ann") == "b" * 64 + " (ann)"
    assert person("")


# -- the command line ------------------------------------------------------------------------------------------------


def test_the_commands_on_a_gateway_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, waits=False) as running:
            place = str(tmp_path / "gateway.toml")

            async def command(*arguments: str) -> Any:
                return await asyncio.to_thread(runner.invoke, cli.app, [arguments[0], place, *arguments[1:]])

            client = await (await TcpClient("BETA").connect(running.port)).log_on()
            killed = await command("kill", "--session", "BETA", "--reason", "fat finger", "--who", "ann")
            assert killed.exit_code == 0 and "session BETA: killed, 0 orders being cancelled" in killed.stdout
            client.order(account="beta")
            await client.until(lambda: client.told)
            assert client.told[0].get(20001) == b"104"
            shown = await command("sessions", "--json")
            rows = {row["session"]: row for row in orjson.loads(shown.stdout)["sessions"]}
            assert rows["BETA"]["is_logged_on"] and rows["BETA"]["killed"].endswith("fat finger")
            assert "BETA" in (await command("sessions")).stdout
            assert running.app.snapshot()["controls"]["killed"] == ["session BETA"]
            refused = await command("kill", "--session", "NOBODY", "--reason", "x")
            assert refused.exit_code == 1 and "there are ALPHA, BETA" in refused.stderr
            lifted = await command("reinstate", "--session", "BETA", "--reason", "fine")
            assert lifted.exit_code == 0 and "session BETA: reinstated" in lifted.stdout
            gone = await command("logout", "--session", "BETA", "--reason", "maintenance")
            assert gone.exit_code == 0
            await client.until(lambda: client.fix.is_logged_out)
            assert client.fix.logout_text == "maintenance"

    run(scenario())


def test_the_commands_on_a_gateway_that_is_stopped(tmp_path: Path) -> None:
    with opened(tmp_path / "journal"):
        pass
    place = tmp_path / "gateway.toml"
    # A mistake in another table keeps nobody from a kill.
    place.write_text(CONFIG.replace("listen_port = 9880", "listen_port = 0"))
    killed = runner.invoke(cli.app, ["kill", str(place), "--account", "alpha", "--reason", "x", "--who", "ann"])
    assert killed.exit_code == 0 and "no gateway runs; killed from its next start on" in killed.stdout
    told = runner.invoke(cli.app, ["replay", str(tmp_path / "journal")])
    assert f"account alpha: by {person('ann')}: x" in told.stdout
    moved = ["set-state", str(tmp_path / "journal"), "alpha", "reducing", "--reason", "z"]
    result = runner.invoke(cli.app, moved)
    assert "alpha: trading -> reducing: z" in result.stdout and "is killed, and stays so" in result.stdout
    again = runner.invoke(cli.app, ["reinstate", str(tmp_path / "journal"), "--account", "alpha", "--reason", "y"])
    assert again.exit_code == 0 and replay(read(tmp_path / "journal")).ledger.standing.kills == {}


ONE_OF = "give one of --session, --account, --desk, --firm, --venue, --instrument, --hook"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["kill", "--reason", "x"], ONE_OF),
        (
            ["kill", "--reason", "x", "--session", "A", "--account", "a"],
            ONE_OF,
        ),
        (["kill", "--reason", "x", "--session", "NOBODY"], "no session NOBODY; there are ALPHA, BETA"),
        (["reinstate", "--reason", "x", "--session", "ALPHA"], "session ALPHA is not killed"),
        (["logout", "--reason", "x", "--session", "ALPHA"], "no gateway runs there"),
        (["sessions"], "no gateway runs there"),
    ],
)
def test_commands_that_mean_nothing_end_with_1(tmp_path: Path, arguments: list[str], what: str) -> None:
    with opened(tmp_path):
        pass
    result = runner.invoke(cli.app, [arguments[0], str(tmp_path), *arguments[1:]])
    assert result.exit_code == 1 and what in result.stderr


def test_places_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("[gateway]\n")
    nowhere = tmp_path / "nowhere.toml"
    nowhere.write_text('[gateway]\njournal_directory = "none"\n')
    for place, what in (
        (empty, "no journal_directory"),
        (tmp_path / "x.toml", "x.toml"),
        (nowhere, "no such directory"),
    ):
        result = runner.invoke(cli.app, ["kill", str(place), "--account", "alpha", "--reason", "x"])
        assert result.exit_code == 1 and what in result.stderr
    assert not (tmp_path / "none").exists()


def test_a_journal_in_use_without_a_channel_is_told(tmp_path: Path) -> None:
    log = Journal.open(tmp_path)
    try:
        result = runner.invoke(cli.app, ["kill", str(tmp_path), "--account", "alpha", "--reason", "x"])
        assert result.exit_code == 1 and "in use by process" in result.stderr
    finally:
        log.close()
