"""A burst of a venue's messages is taken in turns of the loop, in order and whole, also when the venue hangs up."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gateway.venues import connection as venue_connection
from gateway.venues.client import VenueClient
from gateway.venues.link import SessionLink
from protocols.venues.deribit import Deribit
from tests.gateway.live import run, until
from tests.gateway.rig import Rig
from tests.gateway.venues.test_venue_client import live_rig

BURST = 300


class Heard(SessionLink):
    """Notes in which round of the loop each message came, and hands none on."""

    rounds = 0

    def receive(self, frame: bytes, now_ns: int, lane: str = "main") -> None:
        self.heard.append((int(frame), self.rounds))

    def begin(self) -> None:
        """Count the loop's rounds from now on."""
        self.heard: list[tuple[int, int]] = []
        self._count()

    def _count(self) -> None:
        self.rounds += 1
        self.counting = asyncio.get_running_loop().call_soon(self._count)


def session() -> Deribit:
    return Deribit(
        client_id="a", client_secret="b", currencies=("BTC",), symbols=lambda symbol: True, entropy=os.urandom
    )


async def hear(rig: Rig, heard: list[tuple[int, int]]) -> None:
    """Note what comes of a burst after which the venue hangs up at once."""

    async def burst(connection: ServerConnection) -> None:
        frames = b"".join(b"\x81" + bytes((len(text),)) + text for text in (b"%d" % n for n in range(BURST)))
        connection.transport.write(frames)
        await asyncio.sleep(0.05)
        connection.transport.close()

    async with serve(burst, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        def link_of(client: VenueClient) -> SessionLink:
            link = Heard("deribit", session, rig.pipeline, client.flush)
            link.begin()
            return link

        client = VenueClient(
            link_of,
            url_of=lambda lane, path: f"ws://127.0.0.1:{port}/",
            flush_all=rig.core.router.flush,
            reconnect_min_s=5.0,
            reconnect_max_s=5.0,
        )
        running = asyncio.create_task(client.run())
        link = client.link
        assert isinstance(link, Heard)
        await until(lambda: len(link.heard) >= BURST)
        client.stop()
        link.counting.cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        heard += link.heard


@pytest.mark.parametrize(("turn_ns", "least", "most"), [(0, BURST // 8, BURST * 20), (10**12, 1, 20)])
def test_a_burst_is_taken_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn_ns: int, least: int, most: int
) -> None:
    monkeypatch.setattr(venue_connection, "ORDERS_TURN_NS", turn_ns)
    came: list[tuple[int, int]] = []
    with live_rig(tmp_path) as rig:
        run(hear(rig, came))
    assert [number for number, _ in came] == list(range(BURST))
    assert least <= len({turn for _, turn in came}) <= most
