"""Secrets: where they may come from, and how they are kept out of everything that is written."""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from gateway.config.schema import Venue

# A client id and a secret are some hundred bytes; anything larger is another file.
MAX_FILE_BYTES = 8192
_KEYS = ("client_id", "client_secret")


class CredentialsError(Exception):
    """Credentials cannot be had; the text says how to mend that, and contains none of them."""


class Credentials:
    """A client id and its secret.

    No struct, so that no serialiser of ours takes it; its repr, and so every log line and traceback, hides the secret.
    """

    __slots__ = ("client_id", "client_secret")

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id = client_id
        self.client_secret = client_secret

    def __repr__(self) -> str:
        return f"Credentials(client_id={self.client_id[:4]!r}..., client_secret=<hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not serialised")


def load_credentials(venue: Venue, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return the venue's credentials from its file or from the environment; raises CredentialsError."""
    if venue.credentials_file is not None:
        return _from_file(venue.credentials_file)
    values = []
    for key in _KEYS:
        variable = f"{venue.credentials_env}_{key.upper()}"
        value = environ.get(variable, "")
        if not value:
            raise CredentialsError(f"venue {venue.name}: the environment variable {variable} is not set")
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
    if not stat.S_ISREG(status.st_mode):
        return f"{path}: not a file"
    if status.st_uid != os.geteuid():
        return f"{path}: belongs to user {status.st_uid}, not to us; mend it with: chown {os.geteuid()} {path}"
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return f"{path}: has mode {mode:04o}, so that others can read it; mend it with: chmod 600 {path}"
    return None


def _from_file(path: Path) -> Credentials:
    try:
        with path.open("rb") as file:
            # Of the opened file, so that it cannot be exchanged between the question and the reading.
            problem = _status_problem(path, os.fstat(file.fileno()))
            data = b"" if problem else file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from None
    if problem:
        raise CredentialsError(problem)
    if len(data) > MAX_FILE_BYTES:
        raise CredentialsError(f"{path}: longer than {MAX_FILE_BYTES} bytes")
    values = _parsed(data)
    if not isinstance(values, dict) or set(values) != set(_KEYS):
        raise CredentialsError(f'{path}: must have the two lines client_id = "..." and client_secret = "..."')
    for key in _KEYS:
        if not isinstance(values[key], str) or not values[key]:
            raise CredentialsError(f"{path}: {key} must be a string that is not empty")
    return Credentials(values["client_id"], values["client_secret"])


def _parsed(data: bytes) -> Any:
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        # What the parser says may quote the file, so it is dropped.
        return None
