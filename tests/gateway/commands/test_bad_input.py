"""What a stranger types: every command, every kind of wrong place. One line that says what to do, and never code 0."""

from __future__ import annotations

import codecs
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import pytest
import typer
from typer.testing import CliRunner

from gateway import cli
from gateway.commands.endings import Commands, stopping_signals
from gateway.commands.tables import show
from tests.gateway.rig import CONFIG, opened
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
PLACE = "PLACE"
WHY = ("--reason", "x")
COMMANDS = (
    ("margin", PLACE),
    ("recorded", PLACE),
    ("recorded", PLACE, "--venue", "bybit"),
    ("storm", "--data", PLACE, "--day", "2020-03-12"),
    ("backtest", "--data", PLACE, "--out", "out"),
    ("fit", "--data", PLACE, "--out", "out"),
    ("check", PLACE),
    ("run", PLACE),
    ("admin", PLACE),
    ("top", PLACE, "--once"),
    ("replay", PLACE),
    ("breaks", PLACE),
    ("close-break", PLACE, "1", *WHY),
    ("set-state", PLACE, "a", "halted", *WHY),
    ("correct-trade", PLACE, "v", "1", *WHY),
    ("kill", PLACE, "--firm", "A", *WHY),
    ("reinstate", PLACE, "--account", "A", *WHY),
    ("logout", PLACE, "--session", "s", *WHY),
    ("sessions", PLACE),
    ("holds", PLACE),
    ("release-hold", PLACE, "x", *WHY),
    ("plan", PLACE, "A"),
    ("ranking", PLACE, "X"),
    ("margin-calls", PLACE),
    ("move-transfer", PLACE, "x", "sent", *WHY),
    ("decide-margin", PLACE, "A", "reinstated", *WHY),
    ("transfers", PLACE),
    ("approve-transfer", PLACE, "x", *WHY),
    ("decline-transfer", PLACE, "x", *WHY),
    ("parameters", "list", PLACE),
    ("parameters", "show", PLACE, "1"),
    ("parameters", "propose", PLACE, "fit", *WHY),
    ("parameters", "approve", PLACE, "1", *WHY),
    ("parameters", "rollback", PLACE, "0", *WHY),
    ("audit", "verify", PLACE),
)


def _loop(path: Path) -> None:
    path.symlink_to(path)


PLACES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "a directory": Path.mkdir,
    "noise": lambda path: path.write_bytes(bytes(range(255, 0, -1)) * 9),
    "noughts": lambda path: path.write_bytes(bytes(999)),
    "nested": lambda path: path.write_bytes(b"[" * 99_999),
    "another's TOML": lambda path: path.write_text("a = 1\n"),
    "a link to itself": _loop,
}

# Built once: to build all commands takes longer than to have one of them refuse.
GROUP = typer.main.get_command(cli.app)
runner = CliRunner()


def said(words: Iterable[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Return the exit code of a command, and all that it printed."""
    with pytest.raises(SystemExit) as ended:
        GROUP.main(list(words), prog_name="margingate")
    return ended.value.code, "".join(capsys.readouterr())


@pytest.mark.parametrize("kind", [*PLACES, "a name that is too long"])
def test_no_command_takes_a_wrong_place(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, command in enumerate(COMMANDS):
        place = tmp_path / (str(number) if kind in PLACES else "x" * 300)
        if kind in PLACES:
            PLACES[kind](place)
        code, text = said((str(place) if word == PLACE else word for word in command), capsys)
        assert code in (1, 2) and text.strip(), (command, text)
        assert "Errno" not in text and "Traceback" not in text, (command, text)
        if kind == "a directory":
            left = [one.name for one in place.iterdir() if one.name != "parameters"]
            assert left == [], f"{command} made {left} in a directory that is no journal's"


def test_a_directory_without_a_journal_is_not_one_in_which_all_is_well(tmp_path: Path) -> None:
    for command in (["replay"], ["breaks"], ["parameters", "list"]):
        result = runner.invoke(cli.app, [*command, str(tmp_path)])
        assert result.exit_code == 1 and "no journal is in it" in result.stderr, command


def test_journals_are_found_by_the_configuration_too(tmp_path: Path) -> None:
    for encoded in (CONFIG.encode(), codecs.BOM_UTF8 + CONFIG.replace("\n", "\r\n").encode()):
        (tmp_path / "gateway.toml").write_bytes(encoded)  # a kill must not fail for an editor's habits
        with opened(tmp_path / "journal"):
            pass
        place = str(tmp_path / "gateway.toml")
        for command in (["replay", place], ["set-state", place, "alpha", "halted", *WHY], ["breaks", place]):
            result = runner.invoke(cli.app, command)
            assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF8, "UTF-8"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16")]
)
def test_a_byte_order_mark_is_named(mark: bytes, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(mark + CONFIG.encode())
    result = runner.invoke(cli.app, ["check", str(path)])
    assert result.exit_code == 1 and f"byte order mark of {encoding}: save it as UTF-8" in result.stderr


@pytest.mark.parametrize("table", ["fix", "hook"])
def test_of_two_listeners_the_one_that_could_not_be_had_is_named(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_CLIENT_ID", "a")
    monkeypatch.setenv("TEST_CLIENT_SECRET", "b")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"fix": free_port(), "hook": free_port()} | {table: port}
        text = CONFIG.replace("9880", str(ports["fix"])).replace('"test"', '"test"\njournal_segment_mib = 1')
        hook = f'[hook]\nsocket_path = "h.sock"\nlisten_port = {ports["hook"]}\n'
        client = '[[hook.client]]\nname = "H"\naccounts = ["alpha"]\nauthentication = "peer"\nusers = ["root"]\n'
        (tmp_path / "gateway.toml").write_text(text + hook + client)
        result = runner.invoke(cli.app, ["run", str(tmp_path / "gateway.toml")])
    assert result.exit_code == 1
    assert f"can not listen on 127.0.0.1:{port} for [{table}]: address already in use" in result.stderr.lower()


def test_a_machine_that_fails_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer(cls=Commands)

    @app.command()
    def fails(number: int) -> None:
        raise OSError(number, os.strerror(number), "fit.toml")

    @app.callback()
    def group() -> None:
        """Have a group, and not the command alone."""

    with pytest.raises(SystemExit, match="1"):
        app(["fails", str(errno.ENOSPC)])
    assert capsys.readouterr().err == "margingate: fit.toml: No space left on device\n"


def ran(words: list[str], output: IO[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(command, check=False, stdout=output, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_output_that_can_not_be_written_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = ran(["--version"], full)
    assert (done.returncode, done.stderr) == (1, "margingate: No space left on device\n")


def test_a_reader_that_is_gone_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = ran(["margin", "fixtures/margin/house.json"], nobody)
    assert (done.returncode, done.stderr) == (1, "")


def test_who_is_told_to_ignore_a_hangup_does() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        assert stopping_signals() == [signal.SIGINT, signal.SIGTERM]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert stopping_signals() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_tables_lose_nothing_in_a_pipe_or_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "subject": "x" * 120,
        "evidence": "[bold]as told[/bold]",
        "due_at_ns": 1_760_000_000_000_000_000,
        "is_on": True,
    }
    monkeypatch.delenv("COLUMNS", raising=False)
    show([row], "break")
    wide = capsys.readouterr().out
    assert "x" * 120 in wide and "[bold]as told[/bold]" in wide and "2025-10-09 08:53:20Z" in wide and "yes" in wide
    monkeypatch.setenv("COLUMNS", "40")
    show([row], "break")
    narrow = capsys.readouterr().out
    assert narrow.count("x") == 120 and max(len(line) for line in narrow.splitlines()) <= 40
    show([], "break")
    assert capsys.readouterr().out == "break: none\n"


def test_help_has_every_command_in_a_panel() -> None:
    result = runner.invoke(cli.app, ["--help"], env={"COLUMNS": "120", "TERM": "dumb"})
    for panel, commands in cli.COMMANDS.items():
        assert panel in result.stdout
        for name in commands:
            assert f" {name} " in result.stdout
