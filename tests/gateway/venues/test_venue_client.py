"""The venue's transport over real WebSockets: dial, lose, wait longer each time, verify who answers."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from fixtures.venues.deribit import DeribitVenue
from fixtures.venues.server import serve
from gateway.clock import now_ns
from gateway.venues import connection as venue_connection
from gateway.venues.client import VenueClient
from gateway.venues.link import SessionLink
from protocols.venues.deribit import Deribit
from protocols.venues.deribit_tables import RateLimits
from risk.lifecycle import OrdStatus
from tests.gateway.certificates import Authority
from tests.gateway.live import SECRET, make_venue, run, until
from tests.gateway.rig import BTC, Rig, opened
from tests.ports import free_port


def client_of(rig: Rig, url: str, **options: Any) -> VenueClient:
    def session() -> Deribit:
        return Deribit(
            client_id="margingate",
            client_secret=SECRET,
            currencies=("BTC",),
            symbols=lambda symbol: symbol == BTC,
            entropy=os.urandom,
            limits=RateLimits(matching_per_s=10_000, matching_capacity=10_000),
            cancel_on_disconnect=False,
        )

    rig.core.market.live_venues.clear()
    return VenueClient(
        lambda client: SessionLink("deribit", session, rig.pipeline, client.flush),
        url_of=lambda lane, path: url,
        flush_all=rig.core.router.flush,
        **({"reconnect_min_s": 0.01, "reconnect_max_s": 0.02} | options),
    )


def live_rig(directory: Path) -> Any:
    return opened(directory, now_ns=now_ns(), segment_bytes=1 << 20, marks={})


def test_a_lost_connection_is_dialled_again_and_reconciled(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue: DeribitVenue = make_venue()
        with live_rig(tmp_path) as rig:
            async with serve(venue) as url:
                client = client_of(rig, url)
                running = asyncio.create_task(client.run())
                await until(lambda: client.link.session.is_live)
                assert rig.core.market.live_venues == {"deribit"} and client.link.state_name == "live"
                await until(lambda: rig.core.market.marks and rig.core.market.marks[0] is not None)
                first = client.connection("main")
                assert first is not None and first._transport is not None
                first._transport.abort()
                await until(lambda: client.connection("main") is not first and client.link.session.is_live)
                assert client.lanes["main"].attempts == 1  # it had not lived for long: the next pause would be longer
                client.stop()
                await running
                assert client.connection("main") is None and not rig.core.market.live_venues

    run(scenario())


def test_an_order_that_is_in_flight_when_the_connection_is_lost_is_asked_about(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue = make_venue()
        with live_rig(tmp_path) as rig:
            async with serve(venue) as url:
                client = client_of(rig, url, reconnect_min_s=0.3, reconnect_max_s=0.3)
                running = asyncio.create_task(client.run())
                await until(lambda: client.link.session.is_live)
                await until(lambda: rig.core.market.marks and rig.core.market.marks[0] is not None)
                rig.core.valuation.run(now_ns())
                desk = rig.desk()
                rig.now_ns = now_ns()
                desk.log_on()
                mark = rig.core.market.marks[0]
                assert mark is not None
                assert [m.get(58) for m in desk.order(price=int(mark.price * 0.99))] == []
                order = rig.only_order()
                connection = client.connection("main")
                assert connection is not None and connection._transport is not None
                connection._transport.abort()
                await until(lambda: order.status is OrdStatus.UNKNOWN)
                assert order.held is not None
                await until(lambda: order.status is OrdStatus.NEW or not order.is_working)
                rig.check_holds()
                client.stop()
                await running

    run(scenario())


def test_a_venue_that_is_not_there_is_dialled_ever_more_slowly_and_told_of(tmp_path: Path) -> None:
    async def scenario() -> None:
        with live_rig(tmp_path) as rig:
            client = client_of(rig, f"ws://127.0.0.1:{free_port()}/ws/api/v2")
            running = asyncio.create_task(client.run())
            await until(lambda: client.lanes["main"].attempts >= 3)
            assert "can not connect" in rig.monitor.alerts[-1]
            client.stop()
            await running

    run(scenario())


def test_pauses_grow_jittered_to_their_longest(tmp_path: Path) -> None:
    with live_rig(tmp_path) as rig:
        for jitter, wanted in (
            (0.0, [0.25] * 5),
            (1.0, [0.25, 0.5, 1.0, 2.0, 30.0]),
            (0.5, [0.25, 0.375, 0.625, 1.125]),
        ):
            client = client_of(
                rig,
                "ws://127.0.0.1:1/",
                reconnect_min_s=0.25,
                reconnect_max_s=30.0,
                jitter=lambda jitter=jitter: jitter,
            )
            for attempts, pause in zip((0, 1, 2, 3, 10_000), wanted, strict=False):
                assert client.pause_s(attempts) == pause


def test_a_peer_that_does_not_shake_hands_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_connection, "HANDSHAKE_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        with live_rig(tmp_path) as rig:
            server = await asyncio.start_server(nothing, "127.0.0.1", 0)
            client = client_of(rig, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            running = asyncio.create_task(client.run())
            await until(lambda: any("no WebSocket handshake" in alert for alert in rig.monitor.alerts))
            client.stop()
            await running
            server.close()

    run(scenario())


def test_the_time_to_shake_hands_ends_with_the_handshake_and_the_sessions_own_goes_on(tmp_path: Path) -> None:

    async def scenario() -> None:
        venue = make_venue()
        with live_rig(tmp_path) as rig:
            async with serve(venue) as url:
                client = client_of(rig, url)
                running = asyncio.create_task(client.run())
                await until(lambda: client.link.session.is_live)
                connection = client.connection("main")
                assert connection is not None
                assert connection._timer is None and client._timer is not None
                client.stop()
                await running

    run(scenario())


def test_a_session_that_must_end_closes_and_a_dead_transport_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue_connection, "CLOSE_TIMEOUT_S", 0.01)

    async def scenario() -> None:
        venue = make_venue()
        with live_rig(tmp_path) as rig:
            async with serve(venue) as url:
                client = client_of(rig, url)
                running = asyncio.create_task(client.run())
                await until(lambda: client.link.session.is_live)
                first = client.connection("main")
                client.link.must_close = True  # the venue's next word, its market data, finds that out
                await until(lambda: client.connection("main") is not first and client.link.session.is_live)
                client.stop()
                await running

    run(scenario())


@pytest.mark.parametrize("is_trusted", [True, False])
def test_who_answers_must_prove_who_it_is(tmp_path: Path, is_trusted: bool) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("localhost")

    async def scenario() -> None:
        asked: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readline())
            writer.transport.abort()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        with live_rig(tmp_path / "journal") as rig:
            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
            url = f"wss://localhost:{server.sockets[0].getsockname()[1]}/ws/api/v2"
            trusted = authority.trusted() if is_trusted else None
            client = client_of(rig, url, ssl_context=trusted)
            running = asyncio.create_task(client.run())
            if is_trusted:
                await until(lambda: asked)
                assert asked[0].startswith(b"GET /ws/api/v2 ")
            else:
                await until(lambda: any("certificate verify failed" in alert for alert in rig.monitor.alerts))
                assert not asked
            client.stop()
            await running
            server.close()

    run(scenario())
