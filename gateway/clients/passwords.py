"""Passwords at rest: argon2id. What a hash costs is chosen once, here, and is written into each."""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from typing import Final, NoReturn

from argon2 import Parameters, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, hash_secret, verify_secret

from protocols.fix import tags
from protocols.fix.authentication import LogonFault
from protocols.fix.codec import Message

# The first of the equivalent settings in OWASP's Password Storage Cheat Sheet (2025): 46 MiB, one pass; 50 ms here.
# RFC 9106 section 4 would have 64 MiB and three passes in four lanes; a lane is a thread, and the cores are for orders.
MEMORY_KIB: Final = 47_104
PASSES: Final = 1
LANES: Final = 1
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
# A hash that somebody made elsewhere: never weaker than OWASP's smallest (19 MiB, two passes), and no heavier than a
# thread can bear while clients wait for it.
MIN_MEMORY_KIB, MAX_MEMORY_KIB = 19_456, 262_144
MIN_KIB_PASSES: Final = 2 * 19_456
MIN_SALT_BYTES, MIN_HASH_BYTES = 8, 16
MAX_PASSES: Final = 8
MAX_LANES: Final = 4
_ARGON2_VERSION: Final = 0x13
# What a person can be asked to use (NIST SP 800-63B), and what fits a FIX field.
MIN_CHARACTERS, MAX_CHARACTERS = 12, 128


def hashed(password: str) -> str:
    """Return the line to store; raises ValueError for what no FIX client could send, or anybody could guess."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise ValueError(f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    if not password.isascii() or not password.isprintable():
        raise ValueError("a password has printable ASCII characters only: it must fit a FIX field")
    line = hash_secret(password.encode(), os.urandom(SALT_BYTES), PASSES, MEMORY_KIB, LANES, HASH_BYTES, Type.ID)
    return line.decode()


class PasswordHash:
    """Judges Logons by Username(553) and Password(554).

    `fault` takes some 50 ms, whoever asks and whatever is wrong: it belongs into a thread.
    """

    __slots__ = ("_line", "_username")

    def __init__(self, username: bytes, line: str) -> None:
        """`line` as `hashed` makes it; raises ValueError, without repeating it, for another or a weaker one."""
        try:
            parameters = extract_parameters(line)
        except (InvalidHashError, ValueError):
            raise ValueError("not an argon2 hash; make one with: margingate password") from None
        if (problem := _problem(parameters)) is not None:
            raise ValueError(f"{problem}; make another with: margingate password")
        self._username = username
        self._line = line.encode()

    @classmethod
    def of_nobody(cls) -> PasswordHash:
        """Return one that no password fits, and that costs what a real one does."""
        salt, digest = (b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (SALT_BYTES, HASH_BYTES))
        line = f"$argon2id$v={_ARGON2_VERSION}$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"
        return cls(os.urandom(16), line)

    def __repr__(self) -> str:
        return "PasswordHash(<hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not serialised")

    def fault(self, logon: Message) -> LogonFault | None:
        """Return why this is not the user; the password is hashed for unknown users too, and where none came."""
        username, password = (value or b"" for value in logon.values((tags.USERNAME, tags.PASSWORD)))
        fits = self._fits(password)
        is_user = hmac.compare_digest(username, self._username)
        if not is_user:
            return LogonFault.ANOTHER_USER
        return None if fits else LogonFault.WRONG_PASSWORD

    def _fits(self, password: bytes) -> bool:
        try:
            return verify_secret(self._line, password, Type.ID)
        except VerificationError:
            return False


def _problem(parameters: Parameters) -> str | None:
    if parameters.type is not Type.ID or parameters.version != _ARGON2_VERSION:
        return "not a hash of argon2id, version 19"
    memory, passes = parameters.memory_cost, parameters.time_cost
    if parameters.hash_len < MIN_HASH_BYTES or parameters.salt_len < MIN_SALT_BYTES:
        return f"shorter than {MIN_HASH_BYTES} bytes, or its salt than {MIN_SALT_BYTES}"
    if memory < MIN_MEMORY_KIB or memory * passes < MIN_KIB_PASSES:
        return "weaker than 19 MiB in two passes"
    if memory > MAX_MEMORY_KIB or passes > MAX_PASSES or parameters.parallelism > MAX_LANES:
        return f"dearer than {MAX_MEMORY_KIB >> 10} MiB in {MAX_PASSES} passes and {MAX_LANES} lanes"
    return None
