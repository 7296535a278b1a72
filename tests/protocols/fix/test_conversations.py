"""The golden conversations, with the bytes split at every kind of place."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocols.fix.conversation import Player, Split, as_initiator, conversations, whole


def one_by_one(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def at_separators(data: bytes) -> Iterator[bytes]:
    parts = data.split(b"\x01")
    for part in parts[:-1]:
        yield part + b"\x01"
    yield parts[-1]


def before_separators(data: bytes) -> Iterator[bytes]:
    parts = data.split(b"\x01")
    yield parts[0]
    for part in parts[1:]:
        yield b"\x01" + part


def at_equals(data: bytes) -> Iterator[bytes]:
    parts = data.split(b"=")
    for part in parts[:-1]:
        yield part + b"="
    yield parts[-1]


def at_random(data: bytes) -> Iterator[bytes]:
    choice = random.Random(len(data))
    at = 0
    while at < len(data):
        size = choice.randint(1, 60)
        yield data[at : at + size]
        at += size


SPLITS = (whole, one_by_one, at_separators, before_separators, at_equals, at_random)


# Framing does not depend on the version: one of them is split in every way.
CASES = [
    (path, version, split)
    for path, version in conversations()
    for split in (SPLITS if version == "FIX.4.4" else (whole, at_random))
]


@pytest.mark.parametrize(("path", "version", "split"), CASES, ids=[f"{p.stem}-{v}-{s.__name__}" for p, v, s in CASES])
def test_conversation(path: Path, version: str, split: Split) -> None:
    Player(path, split, version).play()


MIRRORED = [(path, version, lines) for path, version in conversations() if (lines := as_initiator(path)) is not None]


@pytest.mark.parametrize(("path", "version", "lines"), MIRRORED, ids=[f"{p.stem}-{v}" for p, v, _ in MIRRORED])
def test_conversation_as_initiator(path: Path, version: str, lines: list[str]) -> None:
    """Behind the Logons both sides follow the same rules."""
    Player(path, whole, version, lines=lines).play()
