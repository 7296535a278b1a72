import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.config import ConfigError, Credentials, CredentialsError, Venue, load_credentials, parse
from tests.gateway.test_config import MINIMAL

SECRET = "s3cr3t-hunter2"


def venue(**fields: Any) -> Venue:
    return Venue(name="V", kind="deribit", url="wss://v/", currencies=("BTC",), instruments=("*",), **fields)


def config_text() -> str:
    text = MINIMAL.replace('credentials_env = "V"', "credentials_file = 'credentials.toml'")
    assert text != MINIMAL
    return text


def secret_file(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "credentials.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


GOOD = f'client_id = "identity"\nclient_secret = "{SECRET}"\n'


def test_credentials_from_the_environment() -> None:
    environ = {"V_CLIENT_ID": "identity", "V_CLIENT_SECRET": SECRET}
    credentials = load_credentials(venue(credentials_env="V"), environ)
    assert (credentials.client_id, credentials.client_secret) == ("identity", SECRET)
    for variable in environ:
        with pytest.raises(CredentialsError, match=f"{variable} is not set"):
            load_credentials(venue(credentials_env="V"), environ | {variable: ""})


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_credentials_from_a_file(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, GOOD, mode)
    credentials = load_credentials(venue(credentials_file=path))
    assert (credentials.client_id, credentials.client_secret) == ("identity", SECRET)
    assert parse(config_text(), tmp_path / "g.toml").venue[0].credentials_file == path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o001])
def test_a_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, GOOD, mode)
    with pytest.raises(CredentialsError, match=f"has mode {mode:04o}.*mend it with: chmod 600"):
        load_credentials(venue(credentials_file=path))
    with pytest.raises(ConfigError, match="chmod 600"):
        parse(config_text(), tmp_path / "g.toml")


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret_file(tmp_path, GOOD)
    us = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: us)
    with pytest.raises(CredentialsError, match=f"belongs to user {us - 1}, not to us; mend it with: chown {us}"):
        load_credentials(venue(credentials_file=path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"client_secret = {SECRET}",
        f'client_secret = "{SECRET}"',
        GOOD + "more = 1",
        f'client_id = 5\nclient_secret = "{SECRET}"',
        f'client_id = ""\nclient_secret = "{SECRET}"',
        f'client_id = "{SECRET * 1000}"\nclient_secret = "x"',
        "client_id = " + "[" * 5000,
    ],
)
def test_a_file_of_another_form_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        load_credentials(venue(credentials_file=secret_file(tmp_path, text)))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="No such file"):
        load_credentials(venue(credentials_file=tmp_path / "absent"))
    (tmp_path / "credentials.toml").mkdir()
    with pytest.raises(ConfigError, match=r"24: \[\[venue\]\] credentials_file: .*: not a file"):
        parse(config_text(), tmp_path / "g.toml")


def test_the_secret_is_in_nothing_that_is_written() -> None:
    credentials = Credentials("identity", SECRET)
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{[credentials]}"):
        assert SECRET not in text
        assert "iden" in text
    with pytest.raises(TypeError):
        pickle.dumps(credentials)
    with pytest.raises(TypeError):
        msgspec.json.encode(credentials)
