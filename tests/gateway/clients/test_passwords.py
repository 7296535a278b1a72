"""Passwords at rest."""

from __future__ import annotations

import pickle

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type, hash_secret

from gateway.clients.passwords import LANES, MEMORY_KIB, PASSES, PasswordHash, hashed
from protocols.fix.authentication import LogonFault
from protocols.fix.codec import Message, decode
from tests.protocols.fix.conversation import START_NS, peer_message

PASSWORD = "canary-pass-word"
LINE = hashed(PASSWORD)


def logon(credentials: str) -> Message:
    return decode(peer_message(f"35=A|34=1|98=0|108=30{credentials}", START_NS))


@pytest.mark.parametrize(
    ("credentials", "fault"),
    [
        (f"|553=desk|554={PASSWORD}", None),
        (f"|553=desk|554={PASSWORD}x", LogonFault.WRONG_PASSWORD),
        (f"|553=other|554={PASSWORD}", LogonFault.ANOTHER_USER),
        (f"|554={PASSWORD}", LogonFault.ANOTHER_USER),
        ("|553=desk", LogonFault.WRONG_PASSWORD),
        ("", LogonFault.ANOTHER_USER),
    ],
)
def test_who_is_let_in(credentials: str, fault: LogonFault | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that the password is hashed exactly once, whatever is wrong."""
    hashes = []
    real = PasswordHash._fits

    def counted(self: PasswordHash, password: bytes) -> bool:
        hashes.append(password)
        return real(self, password)

    monkeypatch.setattr(PasswordHash, "_fits", counted)
    assert PasswordHash(b"desk", LINE).fault(logon(credentials)) is fault
    assert len(hashes) == 1


def test_what_a_hash_costs_is_written_into_it() -> None:
    parameters = extract_parameters(LINE)
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        Type.ID, MEMORY_KIB, PASSES, LANES,
    )  # fmt: skip
    assert hashed(PASSWORD) != LINE  # the salt
    assert PASSWORD not in LINE


def test_nobodys_hash_costs_the_same_and_fits_nothing() -> None:
    nobody = PasswordHash.of_nobody()
    assert extract_parameters(nobody._line.decode()) == extract_parameters(LINE)
    assert nobody.fault(logon(f"|553=desk|554={PASSWORD}")) is LogonFault.ANOTHER_USER


def made(memory: int, passes: int, lanes: int = 1, kind: Type = Type.ID, size: int = 32) -> str:
    """A line with these parameters; none of them is ever verified, so it need not be a true hash."""
    line = hash_secret(b"x", b"salt-of-eight", 1, 8, 1, size, kind).decode()
    return line.replace("m=8,t=1,p=1", f"m={memory},t={passes},p={lanes}")


@pytest.mark.parametrize(
    "line",
    [
        "", "canary", "$2b$12$canarycanarycanary", "$argon2id$v=19$m=47104,t=1,p=1$canary",
        made(MEMORY_KIB, 1, kind=Type.I), made(MEMORY_KIB, 1, kind=Type.D),
        made(MEMORY_KIB, 1).replace("v=19", "v=16"),
        made(19_455, 8), made(19_456, 1), made(MEMORY_KIB, 1, size=15),
        made(262_145, 1), made(MEMORY_KIB, 9), made(MEMORY_KIB, 1, 5),
    ],
)  # fmt: skip
def test_a_hash_of_another_kind_a_weak_one_and_one_too_dear_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="margingate password") as caught:
        PasswordHash(b"desk", line)
    assert "canary" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(("memory", "passes"), [(19_456, 2), (MEMORY_KIB, 1), (65_536, 3)])
def test_hashes_that_are_strong_enough(memory: int, passes: int) -> None:
    PasswordHash(b"desk", made(memory, passes, 4))


@pytest.mark.parametrize("password", ["", "short", "x" * 129, "with\ttabulators", "with\x01separators", "pässwörtlich"])
def test_passwords_that_nobody_should_have(password: str) -> None:
    with pytest.raises(ValueError, match="a password has") as caught:
        hashed(password)
    assert not password or password not in str(caught.value)


def test_a_hash_hides_itself() -> None:
    password = PasswordHash(b"desk", LINE)
    assert repr(password) == "PasswordHash(<hidden>)"
    with pytest.raises(TypeError):
        pickle.dumps(password)
