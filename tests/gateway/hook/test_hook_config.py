"""The tables of the hook: what is accepted, what is refused with which words, and the credentials of its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.clients.sessions import clients_of
from gateway.config import Config, ConfigError, CredentialsError, HookClient, parse
from gateway.config.credentials import load_token_hash
from gateway.hook.session import token_hash
from gateway.journal import Journal, read
from gateway.operators.unix_sockets import private_listener
from gateway.recovery import replay
from tests.gateway.hook_rig import WITH_HOOK
from tests.gateway.rig import opened
from tests.gateway.test_config import MINIMAL

HOOK = """
[hook]
socket_path = "h.sock"
[[hook.client]]
name = "algo"
accounts = ["A"]
credentials_env = "ALGO"
"""


def parsed(text: str) -> Config:
    return parse(MINIMAL + text, Path("conf/g.toml"))


def test_what_is_not_said_is_safe() -> None:
    hook = parsed(HOOK).hook
    assert hook is not None and hook.socket_path == Path("conf/h.sock") and hook.listen_port is None
    (client,) = hook.client
    assert (client.authentication, client.venue_account, client.users) == ("token", "own", ())
    assert client.hold_timeout_ms == 60_000 and client.throttle_requests is None
    assert parse(MINIMAL, Path("g.toml")).hook is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('socket_path = "h.sock"', "", "[hook] socket_path: give socket_path, listen_port or both"),
        ('socket_path = "h.sock"', "listen_port = 1\nlisten_host = '0.0.0.0'", "listen_host: 0.0.0.0 can be reached"),
        ('socket_path = "h.sock"', "listen_port = 1\ntls_key_file = 'k'", "tls_certificate_file: is missing"),
        ('socket_path = "h.sock"', "listen_port = 0", "[hook] listen_port: must be a whole number from 1"),
        ('"A"', '"B"', 'accounts[0]: there is no [[account]] with the name "B"'),
        ('credentials_env = "ALGO"', "", 'authentication = "token" takes either credentials_file or credentials_env'),
        ('credentials_env = "ALGO"', 'credentials_file = "nowhere"', "credentials_file: conf/nowhere: No such file"),
        ('credentials_env = "ALGO"', 'token = "x"', "credentials are never written in this file"),
        (
            'credentials_env = "ALGO"',
            'credentials_env = "ALGO"\nauthentication = "peer"',
            'has no use with authentication = "peer"',
        ),
        (
            'credentials_env = "ALGO"',
            'credentials_env = "ALGO"\nmax_hold_timeout_ms = 10',
            "max_hold_timeout_ms: must not be less than hold_timeout_ms, 60000, not 10",
        ),
        ("[[hook.client]]", '[[hook.client]]\nname="algo"\naccounts=["A"]\ncredentials_env="X"\n[[hook.client]]',
         'there is another client of the hook "algo" before this one'),
    ],
)  # fmt: skip
def test_what_is_refused(old: str, new: str, told: str) -> None:
    assert HOOK.count(old) == 1
    with pytest.raises(ConfigError) as caught:
        parsed(HOOK.replace(old, new))
    assert told in str(caught.value)


def test_over_a_websocket_alone_nobody_is_known_by_the_kernel() -> None:
    text = HOOK.replace('socket_path = "h.sock"', "listen_port = 9").replace('credentials_env = "ALGO"', "")
    with pytest.raises(ConfigError, match="peer takes socket_path"):
        parsed(text + 'authentication = "peer"\n')


def test_accounts_of_one_client_of_the_hook_are_one_clients() -> None:
    account = MINIMAL[MINIMAL.index("[[account]]") : MINIMAL.index("[[venue]]")].replace('"A"', '"B"')
    text = MINIMAL.replace("[[venue]]", account + "[[venue]]") + HOOK
    apart, joined = (
        clients_of(parse(text.replace(marker, with_both), Path("g.toml")))
        for marker, with_both in (
            ("x", "x"),
            ('name = "algo"\naccounts = ["A"]', 'name = "algo"\naccounts = ["A", "B"]'),
        )
    )
    assert apart["A"] != apart["B"] and joined["A"] == joined["B"]


def _client(**changes: Any) -> HookClient:
    return HookClient(name="algo", accounts=("A",), **({"credentials_env": "ALGO"} | changes))


def test_the_hash_of_a_token_comes_from_a_private_file_or_the_environment(tmp_path: Path) -> None:
    made = CliRunner().invoke(cli.app, ["hook-token", "algo"])
    token = made.stderr.removeprefix("the client says: ").strip()
    assert len(token) >= 43 and token not in made.stdout
    path = tmp_path / "algo.toml"
    path.write_text(made.stdout)
    path.chmod(0o600)
    assert load_token_hash(_client(credentials_env=None, credentials_file=path)) == token_hash(token)
    environ = {"ALGO_CLIENT": "algo", "ALGO_TOKEN_SHA256": token_hash(token).hex()}
    assert load_token_hash(_client(), environ) == token_hash(token)


@pytest.mark.parametrize(
    "environ",
    [{}, {"ALGO_CLIENT": "algo"}, {"ALGO_CLIENT": "algo", "ALGO_TOKEN_SHA256": "canary"},
     {"ALGO_CLIENT": "other", "ALGO_TOKEN_SHA256": "ab" * 32}, {"ALGO_CLIENT": "algo", "ALGO_TOKEN_SHA256": "ab" * 31}],
)  # fmt: skip
def test_other_credentials_are_refused_and_not_repeated(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsError) as caught:
        load_token_hash(_client(), environ)
    assert "canary" not in str(caught.value) and "abab" not in str(caught.value)


def test_a_socket_in_use_and_what_is_no_socket_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hook.sock"
    first = private_listener(path)
    first.listen()
    with pytest.raises(OSError, match="another process listens there"):
        private_listener(path)
    first.close()
    private_listener(path).close()  # nobody listens any more
    path.unlink()
    path.write_text("a file of somebody's")
    with pytest.raises(OSError, match="no socket"):
        private_listener(path)
    assert path.read_text() == "a file of somebody's"


def test_a_client_is_killed_while_no_gateway_runs(tmp_path: Path) -> None:
    with opened(tmp_path, config=WITH_HOOK):
        pass
    killed = CliRunner().invoke(cli.app, ["kill", str(tmp_path), "--hook", "algo", "--reason", "x"])
    assert killed.exit_code == 0, killed.output
    Journal.open(tmp_path).close()
    assert ("hook", "algo") in replay(read(tmp_path)).ledger.standing.kills
