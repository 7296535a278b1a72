"""Configuration of authentication, addresses and certificates: what is refused, with its line, and what is loaded."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.clients.front_door import open_front_door
from gateway.clients.passwords import PasswordHash, hashed
from gateway.config import Config, ConfigError, CredentialsError, parse
from gateway.monitor import Monitor
from protocols.fix.authentication import Ed25519Key, HmacKey
from tests.gateway.certificates import Authority
from tests.gateway.test_config import MINIMAL

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = b64encode(KEY.public_key().public_bytes_raw()).decode()
SECRET = "canary-secret-of-thirty-two-bytes"
LINE = hashed("canary-pass-word")
SESSION = 'target_comp_id = "THEM"'
PEM, SPKI = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


def text_of(session: str = "", fix: str = "") -> str:
    """MINIMAL with keys added to its session (from line 9 on) and to [fix] (from line 6 on)."""
    return MINIMAL.replace("listen_port = 9878", f"listen_port = 9878{fix and chr(10)}{fix}").replace(
        SESSION, f"{SESSION}{session and chr(10)}{session}"
    )


def config_of(directory: Path, session: str = "", fix: str = "") -> Config:
    return parse(text_of(session, fix), directory / "g.toml")


def secret_file(directory: Path, text: str) -> None:
    path = directory / "s.toml"
    path.write_text(text)
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("session", "told"),
    [
        ('authentication = "pasword"', 'authentication: must be one of "none", "password", "hmac", "ed25519", not'),
        ('authentication = "password"', 'authentication = "password" takes either credentials_file'),
        ('authentication = "hmac"\ncredentials_env = "A"\ncredentials_file = "s.toml"', "one of the two"),
        ('authentication = "ed25519"', "public_key: authentication = \"ed25519\" takes either public_key or"),
        ('authentication = "ed25519"\npublic_key = "AAAA"', "public_key: must be a string that is an Ed25519 public"),
        ('authentication = "ed25519"\npublic_key_file = "absent.pem"', "public_key_file: there is no file"),
        ('authentication = "hmac"\ncredentials_file = "absent"', "credentials_file:"),
        (f'authentication = "none"\npublic_key = "{PUBLIC}"', 'public_key: has no use with authentication = "none"'),
        ('credentials_env = "A"', 'credentials_env: has no use with authentication = "none"'),
        ('password = "canary"', "password: credentials are never written in this file"),
        ('secret = "canary"', "secret: credentials are never written in this file"),
        ('password_hash = "canary"', "password_hash: credentials are never written in this file"),
        ('allowed_addresses = ["192.0.2.1/24"]', "an IP address or a network, as 192.0.2.0/24"),
        ('allowed_addresses = ["host"]', "an IP address or a network, as 192.0.2.0/24"),
        ('allowed_addresses = ["::1", "::1"]', "without repetition"),
        ('certificate_sha256 = "AB"', "of 64 small hex digits"),
        (f'certificate_sha256 = "{"ab" * 32}"', "certificate_sha256: takes tls_client_ca_file in [fix]"),
        ('certificate_subject = "CN=a"', "certificate_subject: takes tls_client_ca_file in [fix]"),
    ],
)  # fmt: skip
def test_sessions_that_are_refused(tmp_path: Path, session: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, session)
    text = str(caught.value)
    assert told in text and "canary" not in text and "[[fix.session]]" in text, text


@pytest.mark.parametrize(
    ("fix", "told"),
    [
        ('tls_client_ca_file = "absent"', "tls_client_ca_file: there is no file"),
        ('tls_client_ca_file = "ca.pem"', "tls_client_ca_file: client certificates take TLS"),
        ("tls_requires_client_certificate = true", "tls_requires_client_certificate: takes tls_client_ca_file"),
        ('allowed_addresses = ["x"]', "allowed_addresses"),
        ("logon_window_s = 0", "logon_window_s: must be a whole number from 1 to 60"),
        ('refused_logon = "shout"', 'refused_logon: must be one of "logout", "silence"'),
        ("max_pending_per_address = 0", "max_pending_per_address: must be a whole number from 1"),
    ],
)
def test_listeners_that_are_refused(tmp_path: Path, fix: str, told: str) -> None:
    (tmp_path / "ca.pem").touch()
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, fix=fix)
    assert told in str(caught.value)


def test_a_public_listener_takes_tls_and_a_proof_of_each_session(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("gateway")
    tls = f'listen_host = "0.0.0.0"\ntls_certificate_file = "{chain}"\ntls_key_file = "{key}"'
    proof = f'authentication = "ed25519"\npublic_key = "{PUBLIC}"'
    with pytest.raises(ConfigError, match=r"listen_host: 0\.0\.0\.0 can be reached.*takes TLS"):
        config_of(tmp_path, proof, 'listen_host = "0.0.0.0"')
    with pytest.raises(ConfigError, match=r"10: \[\[fix\.session\]\] authentication: .* anybody could log on"):
        config_of(tmp_path, "", tls)
    assert config_of(tmp_path, proof, tls).fix.session[0].authentication == "ed25519"
    authorised = f'{tls}\ntls_client_ca_file = "{authority.file}"'
    with pytest.raises(
        ConfigError, match="anybody could log on"
    ):  # any certificate of the authority is not whose it is
        config_of(tmp_path, "", f"{authorised}\ntls_requires_client_certificate = true")
    assert config_of(tmp_path, 'certificate_subject = "CN=a"', authorised).fix.session[0].authentication == "none"


def test_methods_are_loaded_from_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def method_of(session: str) -> object:
        door = open_front_door(config_of(tmp_path, session).fix, Monitor(), 0)
        assert door.authenticator is not None
        method = door.authenticator._rules["THEM"].method
        door.close()
        return method

    secret_file(tmp_path, f'username = "u"\npassword_hash = "{LINE}"\n')
    assert isinstance(method_of('authentication = "password"\ncredentials_file = "s.toml"'), PasswordHash)
    monkeypatch.setenv("A_KEY_ID", "k")
    monkeypatch.setenv("A_SECRET", SECRET)
    assert isinstance(method_of('authentication = "hmac"\ncredentials_env = "A"'), HmacKey)
    (tmp_path / "k.pem").write_bytes(KEY.public_key().public_bytes(PEM, SPKI))
    for text in (f'public_key = "{PUBLIC}"', 'public_key_file = "k.pem"'):
        method = method_of(f'authentication = "ed25519"\n{text}')
        assert isinstance(method, Ed25519Key) and method._public_key == KEY.public_key()
    assert open_front_door(config_of(tmp_path).fix, Monitor(), 0).authenticator is None
    assert method_of('allowed_addresses = ["::1"]') is None


@pytest.mark.parametrize(
    ("session", "written", "told"),
    [
        ("hmac", 'key_id = "k"\nsecret = "canary"', "session THEM: secret: shorter than 32"),
        ("hmac", f'username = "u"\npassword_hash = "{LINE}"', 'must have the two lines key_id = "..." and secret'),
        ("password", 'username = "u"\npassword_hash = "canary"', "session THEM: password_hash: not an argon2 hash"),
        ("password", 'username = "u"\npassword = "canary"', 'the two lines username = "..." and password_hash'),
        ("password", 'username = ""\npassword_hash = "x"', "username must be a string that is not empty"),
    ],
)  # fmt: skip
def test_credentials_that_are_refused(tmp_path: Path, session: str, written: str, told: str) -> None:
    secret_file(tmp_path, written)
    config = config_of(tmp_path, f'authentication = "{session}"\ncredentials_file = "s.toml"')
    with pytest.raises(CredentialsError) as caught:
        open_front_door(config.fix, Monitor(), 0)
    assert told in str(caught.value) and "canary" not in str(caught.value)


def test_credentials_missing_in_the_environment(tmp_path: Path) -> None:
    config = config_of(tmp_path, 'authentication = "hmac"\ncredentials_env = "ABSENT"')
    with pytest.raises(CredentialsError, match="session THEM: the environment variable ABSENT_KEY_ID is not set"):
        open_front_door(config.fix, Monitor(), 0)


def test_key_files_that_are_none(tmp_path: Path) -> None:
    private = KEY.private_bytes(PEM, PrivateFormat.PKCS8, NoEncryption())
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(PEM, SPKI)
    path = tmp_path / "k.pem"
    config = None
    for data, told in ((b"canary", "not a public key"), (private, "not a public key"), (other, "not an Ed25519 key")):
        path.write_bytes(data)
        config = config_of(tmp_path, 'authentication = "ed25519"\npublic_key_file = "k.pem"')
        with pytest.raises(CredentialsError, match=told) as caught:
            open_front_door(config.fix, Monitor(), 0)
        assert "canary" not in str(caught.value) and caught.value.__cause__ is None
    path.unlink()
    assert config is not None
    with pytest.raises(CredentialsError, match="No such file"):
        open_front_door(config.fix, Monitor(), 0)


def test_tls_files_that_do_not_fit(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (chain, key), (_, other_key) = authority.issue("gateway"), authority.issue("other")
    for files in ((chain, other_key), (authority.file, key), (key, key)):
        fix = f'tls_certificate_file = "{files[0]}"\ntls_key_file = "{files[1]}"'
        for path in files:
            path.chmod(0o600)
        with pytest.raises(CredentialsError, match=r"\[fix\] TLS"):
            open_front_door(config_of(tmp_path, fix=fix).fix, Monitor(), 0)


def test_bounds_and_windows_come_from_the_configuration(tmp_path: Path) -> None:
    fix = """max_pending_connections = 7
max_pending_per_address = 3
allowed_addresses = ["192.0.2.0/24"]
logon_window_s = 2
refused_logon = "silence\""""
    config = config_of(tmp_path, f'authentication = "ed25519"\npublic_key = "{PUBLIC}"', fix)
    door = open_front_door(config.fix, Monitor(), 10**18)
    assert (door.lobby.max_guests, door.lobby.max_of_origin, len(door.networks)) == (7, 3, 1)
    assert door.authenticator is not None and not door.authenticator._tells_refusals
    method = door.authenticator._rules["THEM"].method
    assert isinstance(method, Ed25519Key)
    assert (method._window._window_ns, method._window._not_before_ns) == (2 * 10**9, 10**18 + 2 * 10**9)
    door.close()
