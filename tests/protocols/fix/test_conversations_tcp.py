"""The golden conversations over TCP on uvloop: we are the acceptor and, where the case applies, the initiator."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.protocols.fix.conversation import as_initiator, conversations
from tests.protocols.fix.tcp import TcpPlayer

CASES = conversations()
MIRRORED = [(path, version, lines) for path, version in CASES if (lines := as_initiator(path)) is not None]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(("path", "version"), CASES, ids=[f"{path.stem}-{version}" for path, version in CASES])
def test_conversation(loop: asyncio.AbstractEventLoop, path: Path, version: str) -> None:
    play(TcpPlayer(loop, path, version=version))


@pytest.mark.parametrize(
    ("path", "version", "lines"), MIRRORED, ids=[f"{path.stem}-{version}" for path, version, _ in MIRRORED]
)
def test_conversation_as_initiator(loop: asyncio.AbstractEventLoop, path: Path, version: str, lines: list[str]) -> None:
    play(TcpPlayer(loop, path, version=version, lines=lines))


def test_cases_of_every_kind_are_played() -> None:
    """The numbers of the session test cases, 1a to 20, each in every version; most of them on both sides."""
    numbers = {f"{number}" for number in range(1, 21)} - {"17"}  # encryption: 1d_logon_encrypted
    for version in ("FIX.4.2", "FIX.4.4", "FIXT.1.1"):
        played = {path.stem.split("_")[0].rstrip("abcdefghijklmnopqrs") for path, of in CASES if of == version}
        assert numbers <= played, numbers - played
    assert len(MIRRORED) > len(CASES) // 2


def play(player: TcpPlayer) -> None:
    try:
        player.play()
    finally:
        player.close()
