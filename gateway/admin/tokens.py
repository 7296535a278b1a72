"""Who may look and act: persons with roles, known by bearer tokens of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.config.credentials import CredentialsError, private_bytes

MAX_FILE_BYTES: Final = 1 << 20
MAX_TOKEN_BYTES: Final = 256
MAX_NAME: Final = 64


class Role(StrEnum):
    """What a person may do; each may do what the ones before may."""

    VIEWER = "viewer"
    RISK_MANAGER = "risk_manager"
    ADMINISTRATOR = "administrator"

    def may_act_as(self, needed: Role) -> bool:
        """Whether this role is at least the one that is needed."""
        return _RANK[self] >= _RANK[needed]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


class Person(msgspec.Struct, frozen=True):
    """Who asks. Two tokens of one person are one person: nobody approves what he proposed.

    `token` is what he came with, handed on to the gateway, which looks at it itself; it is not shown.
    """

    name: str
    role: Role
    token_hash: bytes
    token: str = ""

    def __repr__(self) -> str:
        return f"Person({self.name!r}, {self.role})"


class TokensError(Exception):
    """The file of tokens can not be used; the text contains none of them."""


class Tokens:
    """The file, read again when it has changed: a line that was taken out counts no more from then on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._persons: list[Person] = []
        self.load()

    def load(self) -> None:
        """Read the file where it has changed. Raises TokensError: then nobody is known."""
        try:
            status = self._path.stat()
        except OSError as error:
            self._persons, self._seen = [], None
            raise TokensError(f"{self._path}: {error.strerror}") from None
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            self._persons, self._seen = [], None
            self._persons, self._seen = _read(self._path), seen

    def person(self, token: str) -> Person | None:
        """Return whose token it is; None for nobody's. Raises TokensError."""
        self.load()
        digest = token_hash(token)
        found = None
        for person in self._persons:  # all of them: the time tells nothing
            if hmac.compare_digest(person.token_hash, digest):
                found = person
        return found


def token_hash(token: str) -> bytes:
    """Return what is kept of a token: it is random, so a plain hash tells nothing of it."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _read(path: Path) -> list[Person]:
    try:
        data = private_bytes(path, MAX_FILE_BYTES)
    except CredentialsError as error:
        raise TokensError(str(error)) from None
    try:
        document = tomllib.loads(data.decode())
        entries = document["token"]
        is_whole = set(document) == {"token"} and isinstance(entries, list)
    except (ValueError, LookupError, RecursionError):  # what the parser says may quote the file
        is_whole = False
    if not is_whole:
        raise TokensError(f"{path}: must have [[token]] tables with person, role and sha256, and nothing else")
    persons = [_person(entry, f"{path}: [[token]] {number}") for number, entry in enumerate(entries, 1)]
    if len({person.token_hash for person in persons}) != len(persons):
        raise TokensError(f"{path}: a token stands there twice")
    return persons


def _person(entry: Any, where: str) -> Person:
    if not isinstance(entry, dict) or set(entry) != {"person", "role", "sha256"}:
        raise TokensError(f"{where}: must have person, role and sha256, and nothing else")
    name = entry["person"]
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise TokensError(f"{where}: person must be a name of at most {MAX_NAME} characters")
    if entry["role"] not in list(Role):
        raise TokensError(f"{where}: role must be one of {', '.join(Role)}")
    try:
        digest = bytes.fromhex(entry["sha256"])
    except (ValueError, TypeError):
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise TokensError(f"{where}: sha256 must be 64 hex digits")
    return Person(name, Role(entry["role"]), digest)
