"""The commands: what they print, and that what is wrong ends with 1 and says where."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.clients.passwords import PasswordHash
from protocols.fix.codec import decode
from tests.gateway.rig import CONFIG, filled, opened
from tests.gateway.test_executions import ordered
from tests.protocols.fix.conversation import START_NS, peer_message

ROOT = Path(__file__).parents[2]
runner = CliRunner()


def config(directory: Path, text: str = CONFIG) -> Path:
    path = directory / "gateway.toml"
    path.write_text(text)
    return path


def test_check_accepts_a_good_configuration(tmp_path: Path) -> None:
    result = runner.invoke(cli.app, ["check", str(config(tmp_path))])
    assert result.exit_code == 0 and "3 accounts, 2 sessions, 1 venue: ok" in result.stdout


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [("listen_port = 9880", "listen_port = 0", "listen_port"),
     ('name = "test"', 'nmae = "test"', "nmae"),
     ('accounts = ["alpha"]', 'accounts = ["nobody"]', "nobody"),
     ('[fix]', "[fix", ""),
     ('"ws://127.0.0.1:1/ws/api/v2"', '"ws://user:hunter2@127.0.0.1/"', "password")],
)  # fmt: skip
def test_a_bad_configuration_ends_with_1_and_says_where(
    tmp_path: Path, command: str, old: str, new: str, what: str
) -> None:
    line = CONFIG[: CONFIG.index(old)].count("\n") + 1
    result = runner.invoke(cli.app, [command, str(config(tmp_path, CONFIG.replace(old, new, 1)))])
    assert result.exit_code == 1 and what in result.stderr and "hunter2" not in result.stderr
    assert f"gateway.toml:{line}" in result.stderr, result.stderr
    assert not (tmp_path / "journal").exists()


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    result = runner.invoke(cli.app, ["check", str(tmp_path / "no.toml")])
    assert result.exit_code == 1 and "no.toml" in result.stderr


def test_run_without_credentials_or_on_a_journal_in_use_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_CLIENT_ID", raising=False)
    result = runner.invoke(cli.app, ["run", str(config(tmp_path))])
    assert result.exit_code == 1 and "TEST_CLIENT_ID is not set" in result.stderr
    with opened(tmp_path / "in-use"):
        text = CONFIG.replace('"journal"', '"in-use"')
        result = runner.invoke(cli.app, ["run", str(config(tmp_path, text))])
        assert result.exit_code == 1 and "in use by process" in result.stderr


def test_run_on_a_port_that_is_taken_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("TEST_CLIENT_ID", "a")
    monkeypatch.setenv("TEST_CLIENT_SECRET", "b")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = CONFIG.replace("9880", str(port)).replace('name = "test"', 'name = "test"\njournal_segment_mib = 1')
        result = runner.invoke(cli.app, ["run", str(config(tmp_path, text))])
    assert result.exit_code == 1 and f"can not listen on 127.0.0.1:{port}" in result.stderr


def test_replay_prints_the_state_and_its_hash(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 200))
        state_hash = rig.core.state_hash()
    result = runner.invoke(cli.app, ["replay", str(tmp_path), "--json"])
    told = orjson.loads(result.stdout)
    assert result.exit_code == 0 and told["state_hash"] == state_hash
    assert (told["accounts"], told["instruments"], told["orders"], told["working_orders"]) == (3, 2, 1, 0)
    assert len(told["breaks"]) == 1 and told["restricted"]["alpha"].startswith("reducing")
    plain = runner.invoke(cli.app, ["replay", str(tmp_path)])
    assert plain.exit_code == 0 and state_hash in plain.stdout and "beyond its quantity" in plain.stdout


def test_replay_of_nothing_or_of_damage_ends_with_1_and_says_where(tmp_path: Path) -> None:
    result = runner.invoke(cli.app, ["replay", str(tmp_path / "no-such")])
    assert result.exit_code == 1 and "no-such" in result.stderr
    with opened(tmp_path):
        pass
    (segment,) = tmp_path.glob("*.mgj")
    damaged = bytearray(segment.read_bytes())
    damaged[100] ^= 1
    segment.write_bytes(damaged)
    for command in (["replay", str(tmp_path)], ["set-state", str(tmp_path), "alpha", "halted", "--reason", "x"]):
        result = runner.invoke(cli.app, command)
        assert result.exit_code == 1 and "damaged at byte 64" in result.stderr


def test_set_state_is_journalled_and_a_typing_error_makes_no_journal(tmp_path: Path) -> None:
    with opened(tmp_path):
        locked = runner.invoke(cli.app, ["set-state", str(tmp_path), "alpha", "halted", "--reason", "x"])
        assert locked.exit_code == 1 and "in use" in locked.stderr
    done = runner.invoke(cli.app, ["set-state", str(tmp_path), "alpha", "halted", "--reason", "J. looked"])
    assert done.exit_code == 0 and "alpha: trading -> halted: J. looked" in done.stdout
    told = orjson.loads(runner.invoke(cli.app, ["replay", str(tmp_path), "--json"]).stdout)
    assert told["restricted"] == {"alpha": "halted: J. looked"}
    unknown = runner.invoke(cli.app, ["set-state", str(tmp_path), "nobody", "halted", "--reason", "x"])
    assert unknown.exit_code == 1 and "there are alpha, beta, gamma" in unknown.stderr
    missing = runner.invoke(cli.app, ["set-state", str(tmp_path / "typo"), "alpha", "halted", "--reason", "x"])
    assert missing.exit_code == 1 and not (tmp_path / "typo").exists()


def test_a_trade_is_corrected_and_annulled_and_the_client_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40, "t7"))
        lots = rig.ledger.accounts["alpha"].position_lots(0)
        told = rig.core.reports.sessions["ALPHA"].next_out
    start = ["correct-trade", str(tmp_path), "deribit", "t7", "--reason", "J. of the venue"]
    done = runner.invoke(cli.app, [*start, "--price", "58000", "--quantity", "30"])
    assert done.exit_code == 0 and "corrected: J. of the venue" in done.stdout
    for further, words in (
        (["--price", "x"], "decimal numbers"), (["--price", "0.3"], "whole ticks"), (["--quantity", "-10"], "whole"),
    ):  # fmt: skip
        refused = runner.invoke(cli.app, [*start, *further])
        assert refused.exit_code == 1 and words in refused.stderr
    done = runner.invoke(cli.app, start)
    assert done.exit_code == 0 and "annulled" in done.stdout
    for venue, trade in (("deribit", "t7"), ("deribit", "t8"), ("other", "t7")):
        refused = runner.invoke(cli.app, ["correct-trade", str(tmp_path), venue, trade, "--reason", "x"])
        assert refused.exit_code == 1 and "no trade" in refused.stderr
    missing = runner.invoke(cli.app, ["correct-trade", str(tmp_path / "typo"), "deribit", "t7", "--reason", "x"])
    assert missing.exit_code == 1 and not (tmp_path / "typo").exists()
    with opened(tmp_path) as again:
        assert again.ledger.accounts["alpha"].position_lots(0) == lots - 4
        assert again.core.reports.sessions["ALPHA"].next_out == told + 2  # a resend brings both


def test_kernels_says_which_are_in_use() -> None:
    result = runner.invoke(cli.app, ["kernels"])
    assert result.exit_code == 0 and result.stdout.count("compiled kernel") + result.stdout.count(": compiled") == 7


def test_the_command_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for command in ("run", "check", "replay", "demo", "kernels", "set-state", "correct-trade"):
        assert command in done.stdout


def test_a_password_is_hashed_for_the_credentials_file() -> None:
    result = runner.invoke(cli.app, ["password"], input="correct horse\n")
    assert result.exit_code == 0 and "correct horse" not in result.output
    line = tomllib.loads(result.stdout)["password_hash"]
    logon = decode(peer_message("35=A|34=1|98=0|108=30|553=desk|554=correct horse", START_NS))
    assert PasswordHash(b"desk", line).fault(logon) is None


@pytest.mark.parametrize("password", ["", "short", "x" * 129, "x" * 5000, "no\ttabulators here"])
def test_a_password_that_will_not_do_ends_with_1(password: str) -> None:
    result = runner.invoke(cli.app, ["password"], input=password)
    assert result.exit_code == 1 and "a password has" in result.stderr and "argon2" not in result.output
    assert runner.invoke(cli.app, ["password", "correct horse"]).exit_code == 2  # never as an argument
