"""Secrets: where they may come from, and how they are kept out of everything that is written."""

import hashlib
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.config.collateral import Channel
from gateway.config.counterparties import Counterparty
from gateway.config.hook import HookClient
from gateway.config.schema import Session
from gateway.config.venues import Venue
from protocols.fix.authentication import public_key_of

# A client id and a secret are some hundred bytes; anything larger is another file.
MAX_FILE_BYTES = 8192
_KEYS = ("client_id", "client_secret")
_WITH_PASSPHRASE = ("okx",)
# A session's: authentication -> who, and what nobody else has.
_COUNTS = {2: "two", 3: "three"}
_SESSION_KEYS = {"password": ("username", "password_hash"), "hmac": ("key_id", "secret")}
_COUNTERPARTY_KEYS = {"password": ("username", "password"), "hmac": ("key_id", "secret")}


class CredentialsError(Exception):
    """Credentials cannot be had; the text says how to mend that, and contains none of them."""


class Credentials:
    """A client id and its secret, for some venues a passphrase; of a session, its username and password hash, or its
    key id and secret.

    No struct, so that no serialiser of ours takes it; its repr, and so every log line and traceback, hides the secret.
    """

    __slots__ = ("client_id", "client_secret", "passphrase")

    def __init__(self, client_id: str, client_secret: str, passphrase: str = "") -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.passphrase = passphrase

    def __repr__(self) -> str:
        return f"Credentials(client_id={self.client_id[:4]!r}..., client_secret=<hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not serialised")


def load_credentials(venue: Venue, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return the venue's credentials from its file or from the environment; raises CredentialsError."""
    keys = (*_KEYS, "passphrase") if venue.kind in _WITH_PASSPHRASE else _KEYS
    return _load(venue, f"venue {venue.name}", keys, environ)


def load_session_credentials(session: Session, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return what a session with a password or a MAC is compared with; raises CredentialsError."""
    return _load(
        session, f"session {session.name or session.target_comp_id}", _SESSION_KEYS[session.authentication], environ
    )


def load_counterparty_credentials(counterparty: Counterparty, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return what our Logon to a counterparty carries; raises CredentialsError."""
    keys = _COUNTERPARTY_KEYS[counterparty.authentication]
    return _load(counterparty, f"counterparty {counterparty.name}", keys, environ)


def load_channel_credentials(channel: Channel, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return the key that a channel of transfers signs with; raises CredentialsError."""
    keys = (*_KEYS, "passphrase") if channel.kind in _WITH_PASSPHRASE else _KEYS
    return _load(channel, f"channel {channel.name}", keys, environ)


def load_token_hash(client: HookClient, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the SHA-256 of a hook client's token; raises CredentialsError."""
    credentials = _load(client, f"hook client {client.name}", ("client", "token_sha256"), environ)
    try:
        digest = bytes.fromhex(credentials.client_secret)
    except ValueError:
        digest = b""
    if credentials.client_id != client.name or len(digest) != hashlib.sha256().digest_size:
        text = "client must be its name, and token_sha256 64 hex digits: margingate hook-token makes both"
        raise CredentialsError(f"hook client {client.name}: {text}")
    return digest


def load_public_key(session: Session) -> Ed25519PublicKey:
    """Return the public key of a session with signatures; raises CredentialsError."""
    if session.public_key is not None:
        return public_key_of(session.public_key.encode())
    path = session.public_key_file
    assert path is not None
    try:
        with path.open("rb") as file:
            key = load_pem_public_key(file.read(MAX_FILE_BYTES))
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        # Somebody may have put the private key there: what the parser says is dropped.
        raise CredentialsError(f"{path}: not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise CredentialsError(f"{path}: not an Ed25519 key")
    return key


def _load(
    owner: Venue | Session | HookClient | Counterparty | Channel,
    name: str,
    keys: tuple[str, ...],
    environ: Mapping[str, str],
) -> Credentials:
    if owner.credentials_file is not None:
        return _from_file(owner.credentials_file, keys)
    values = []
    for key in keys:
        variable = f"{owner.credentials_env}_{key.upper()}"
        value = environ.get(variable, "")
        if not value:
            raise CredentialsError(f"{name}: the environment variable {variable} is not set")
        values.append(value)
    return Credentials(*values)


def private_file_problem(path: Path) -> str | None:
    """Return what keeps a file of secrets from being used, and how to mend it; None if nothing does."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return _status_problem(path, status)


def _status_problem(path: Path, status: os.stat_result) -> str | None:
    """Return the same of a file that is open, by its status."""
    if not stat.S_ISREG(status.st_mode):
        return f"{path}: not a file"
    if status.st_uid != os.geteuid():
        return f"{path}: belongs to user {status.st_uid}, not to us; mend it with: chown {os.geteuid()} {path}"
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return f"{path}: has mode {mode:04o}, so that others can read it; mend it with: chmod 600 {path}"
    return None


def private_bytes(path: Path, longest: int = MAX_FILE_BYTES) -> bytes:
    """Return what a file holds that only we can read; raises CredentialsError, which quotes nothing of it."""
    try:
        with path.open("rb") as file:
            # Of the opened file, so that it cannot be exchanged between the question and the reading.
            problem = _status_problem(path, os.fstat(file.fileno()))
            data = b"" if problem else file.read(longest + 1)
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from None
    if problem:
        raise CredentialsError(problem)
    if len(data) > longest:
        raise CredentialsError(f"{path}: longer than {longest} bytes")
    return data


def _from_file(path: Path, keys: tuple[str, ...]) -> Credentials:
    values = _parsed(private_bytes(path))
    if not isinstance(values, dict) or set(values) != set(keys):
        lines = " and ".join(f'{key} = "..."' for key in keys)
        raise CredentialsError(f"{path}: must have the {_COUNTS[len(keys)]} lines {lines}")
    for key in keys:
        if not isinstance(values[key], str) or not values[key]:
            raise CredentialsError(f"{path}: {key} must be a string that is not empty")
    return Credentials(*(values[key] for key in keys))


def _parsed(data: bytes) -> Any:
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        # What the parser says may quote the file, so it is dropped.
        return None
