"""FIX over real TCP on uvloop: connections, bounds and timers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway import fix_server
from gateway.clients.front_door import FrontDoor
from gateway.clock import now_ns
from gateway.fix_server import FixServer
from protocols.fix.session import Limits
from tests.gateway.live import TcpClient, run, until
from tests.gateway.rig import BTC, Rig, accepted, filled, shown


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, now_ns=now_ns(), segment_bytes=4 << 20)
    rig.core.market.mark_max_age_ns = rig.core.market.generation_max_age_ns = 10**12
    yield rig
    rig.journal.close()


@contextlib.asynccontextmanager
async def serving(rig: Rig, **changes: Any) -> AsyncIterator[tuple[FixServer, int]]:
    options: dict[str, Any] = {"max_connections": 8, "max_write_buffer_bytes": 1 << 20, "limits": Limits()}
    server = FixServer(rig.pipeline, cancels_on_disconnect=lambda name: name != "BETA", **(options | changes))
    rig.flush = server.flush  # type: ignore[method-assign]
    listener = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.abort()
        listener.close()
        await until(lambda: not server.connections)


def test_orders_and_reports_over_tcp_and_a_goodbye(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig) as (server, port):
            client = await (await TcpClient().connect(port)).log_on()
            assert list(server.logged_on) == ["ALPHA"]
            client.order(cl_ord_id="good")
            client.order(symbol="DOGE")
            await client.until(lambda: len(client.told) == 1)
            order = rig.only_order()
            rig.hear(accepted(order))
            await client.until(lambda: len(client.told) == 2)
            assert shown(client.told, 150, 20001) == [("8", "8", "201"), ("8", "0", "")]
            assert rig.monitor.reject_latency.count == rig.monitor.accept_latency.count == 1
            client.fix.log_out(now_ns())
            client.write()
            await client.until(lambda: client.is_closed)
            assert client.fix.is_logged_out and rig.link.cancelled == [order.order_id]
            await until(lambda: not server.connections and not server.logged_on)

    run(scenario())


def test_a_second_logon_is_refused_and_the_first_untouched(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig) as (server, port):
            first = await (await TcpClient().connect(port)).log_on()
            first.order()
            second = await (await TcpClient().connect(port)).log_on(reads=False)
            second.read()
            await second.until(lambda: second.is_closed)
            assert not second.fix.is_logged_on and second.fix.next_in == 1
            rig.hear(accepted(rig.only_order()))
            await first.until(lambda: first.told)
            assert first.fix.is_logged_on and rig.link.cancelled == []
            await until(lambda: len(server.connections) == 1)

    run(scenario())


def test_connections_beyond_the_limit_are_closed_at_once(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig, max_connections=1) as (server, port):
            client = await (await TcpClient().connect(port)).log_on()
            for _ in range(5):
                refused = await TcpClient("BETA").connect(port)
                refused.read()
                await refused.until(lambda refused=refused: refused.is_closed)
            assert len(server.connections) == 1 and "max_connections" in rig.monitor.alerts[-1]
            assert rig.monitor.connections_refused == {"max_connections reached": 5} and len(rig.monitor.alerts) == 1
            client.abort()
            await until(lambda: not server.connections)
            await (await TcpClient("BETA").connect(port)).log_on()

    run(scenario())


def test_whoever_waits_longest_makes_room_and_no_client_that_is_in(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig, max_connections=2) as (server, port):
            client = await (await TcpClient().connect(port)).log_on()
            for _ in range(5):
                idle = await TcpClient("BETA").connect(port)
                idle.read()
                newer = await TcpClient("BETA").connect(port)
                await idle.until(lambda idle=idle: idle.is_closed)
                assert len(server.connections) == 2
            await newer.log_on()
            assert client.fix.is_logged_on and sorted(server.logged_on) == ["ALPHA", "BETA"]
            assert not server.door.lobby

    run(scenario())


def test_fault_6_five_hundred_slow_connections(rig: Rig) -> None:
    """They are held to the bound of one address, none of them is in when its time is over, and a client is at once."""

    async def scenario() -> None:
        door = FrontDoor(max_pending=32, max_pending_per_address=16)
        limits = Limits(logon_timeout_ns=600 * 10**9)  # no test takes so long: it passes by hand
        async with serving(rig, max_connections=64, door=door, limits=limits) as (server, port):
            strangers = [socket.socket() for _ in range(500)]
            try:
                for stranger in strangers:
                    stranger.setblocking(False)
                    await asyncio.get_running_loop().sock_connect(stranger, ("127.0.0.1", port))
                for _ in range(2):  # a byte "a second": enough to look alive
                    for stranger in strangers:
                        with contextlib.suppress(OSError):
                            stranger.send(b"8")
                    await asyncio.sleep(0)
                await until(lambda: rig.monitor.connections_refused.total() == 500 - 16)
                assert len(server.connections) == len(door.lobby) == 16
                client = await (await TcpClient().connect(port)).log_on()
                client.order()
                await until(lambda: rig.ledger.order_count == 1)
                assert len(server.connections) <= 17 and len(rig.monitor.alerts) == 1
                # Time passes for those that wait, a byte each second.
                waiting = [connection for connection in server.connections if connection in door.lobby]
                for connection in waiting:
                    due_ns = connection._session.deadline_ns
                    assert due_ns is not None
                    for second in range(9, -1, -1):
                        assert not connection._session.is_closed
                        connection._link.receive(b"8", due_ns - second * 10**9)
                        connection._link.tick(due_ns - second * 10**9)
                    assert connection._session.is_closed
                    connection.write()
                await until(lambda: len(server.connections) == 1)
                assert client.fix.is_logged_on and not door.lobby
            finally:
                for stranger in strangers:
                    stranger.close()

    run(scenario())


async def flood_until_cut(server: FixServer, port: int, *, between: Callable[[], None] = lambda: None) -> TcpClient:
    """A client of BETA's that sends and does not read, up to the moment at which it is logged out."""
    beta = TcpClient("BETA")
    await beta.connect(port, is_slow=True)
    await beta.log_on(reads=False)
    await until(lambda: "BETA" in server.logged_on)
    sent = 0
    while "BETA" in server.logged_on:
        sent += 1
        assert sent < 60_000, "never cut"
        beta.order(symbol="DOGE", account="beta")
        if sent % 50 == 0:
            between()
            await beta.writer.drain()
            await asyncio.sleep(0)
    return beta


def test_a_client_that_does_not_read_is_logged_out_and_others_trade_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 20. It reads too late: what was in the buffers, and then why it was logged out."""
    monkeypatch.setattr(fix_server, "CLOSE_TIMEOUT_S", 60.0)

    async def scenario() -> None:
        async with serving(rig, max_write_buffer_bytes=1 << 16) as (server, port):
            alpha = await (await TcpClient().connect(port)).log_on()
            beta = await flood_until_cut(server, port, between=lambda: alpha.order(symbol="DOGE") and None)
            assert rig.core.reports.sessions["BETA"].connection is None  # it may be back at once
            assert alpha.fix.is_logged_on and list(server.logged_on) == ["ALPHA"]
            await alpha.until(lambda: len(alpha.told) == alpha.count)
            beta.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            beta.read()
            await beta.until(lambda: beta.fix.is_logged_out)
            assert beta.fix.logout_text == "too much is unread"
            assert rig.monitor.last_session_closed == "BETA: too much is unread"
            beta.abort()
            await until(lambda: len(server.connections) == 1)

    run(scenario())


def test_a_client_that_never_reads_is_cut_and_gets_its_reports_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket's buffers and 64 KiB of ours fill up; then it is cut, and what it missed waits for its resend."""
    monkeypatch.setattr(fix_server, "CLOSE_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async with serving(rig, max_write_buffer_bytes=1 << 16) as (server, port):
            await flood_until_cut(server, port)
            assert "BETA does not read" in " ".join(rig.monitor.alerts)
            queued = rig.core.reports.sessions["BETA"].sent
            await until(lambda: not server.connections)
            state = rig.core.reports.sessions["BETA"]
            reports = state.next_out - 3  # but for Logon and Logout
            again = TcpClient("BETA")
            again.fix.next_out = state.next_in
            again.fix.next_in = 1
            await again.connect(port)
            await again.log_on(resets=False, reads=False)
            again.read()
            await again.until(lambda: len(again.told) >= reports)
            assert len(again.told) == reports and all(text(m, 20001) == "201" for m in again.told)
            assert len({text(m, 17) for m in again.told}) == reports and len(queued) >= reports

    run(scenario())


def test_garbage_before_a_logon_harms_nobody(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig) as (server, port):
            client = await (await TcpClient().connect(port)).log_on()
            strangers = [await TcpClient().connect(port) for _ in range(4)]
            chunks = [
                b"\x00" * 20_000,
                b"8=FIX.4.4\x019=99999\x01" * 1_000,
                b"35=D\x01" * 4_000,
                b"8=FIX.4.4\x019=-5\x01",
            ]
            for stranger, chunk in zip(strangers, chunks, strict=True):
                stranger.read()
                stranger.writer.write(chunk)
            client.order()
            await until(lambda: rig.ledger.order_count == 1)
            for connection in server.connections - {server.logged_on["ALPHA"]}:  # its time to Logon, at the latest
                connection._link.tick(now_ns() + 11 * 10**9)
                connection.write()
            for stranger in strangers:
                await stranger.until(lambda stranger=stranger: stranger.is_closed)
            await until(lambda: len(server.connections) == 1)
            assert client.fix.is_logged_on and rig.link.cancelled == []

    run(scenario())


def test_a_flood_without_a_separator_is_cut_at_its_bound(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig) as (server, port):
            stranger = await TcpClient().connect(port)
            stranger.read()
            with contextlib.suppress(ConnectionError):
                for _ in range(10):
                    stranger.writer.write(b"8=FIX.4.4\x019=" + b"1" * 65_536)
                    await stranger.writer.drain()
            await stranger.until(lambda: stranger.is_closed)
            await until(lambda: not server.connections)

    run(scenario())


def test_heartbeats_come_at_the_interval_that_was_agreed(rig: Rig) -> None:
    """HeartBtInt(108) is one second, the time to Logon that the timer was first set for is years."""

    async def scenario() -> None:
        async with serving(rig, limits=Limits(logon_timeout_ns=10**18)) as (_, port):
            client = await (await TcpClient().connect(port)).log_on(heart_bt_int=1)
            await client.until(lambda: client.fix.next_in >= 3)

    run(scenario())


def test_a_client_that_vanishes_is_found_out_and_cancelled_for(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig) as (server, port):
            client = await (await TcpClient().connect(port)).log_on()
            client.order()
            await until(lambda: rig.ledger.order_count == 1)
            order = rig.only_order()
            rig.hear(accepted(order))
            connection = server.logged_on["ALPHA"]
            client._reading.cancel()  # type: ignore[union-attr]
            # Time passes for the session alone: it has heard nothing for three intervals, and the socket is still open.
            for later in (40, 80, 120):
                connection._link.tick(now_ns() + later * 10**9)
            server.flush()
            connection.write()
            assert rig.link.cancelled == [order.order_id]
            await until(lambda: not server.connections)
            assert rig.link.cancelled == [order.order_id]

    run(scenario())


def test_a_connection_that_does_not_end_is_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is over, its last bytes can not leave, and nobody waits for a peer that is gone."""
    monkeypatch.setattr(fix_server, "CLOSE_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async with serving(rig, max_write_buffer_bytes=64 << 20) as (server, port):
            beta = await TcpClient("BETA").connect(port, is_slow=True)
            await beta.log_on(reads=False)
            await until(lambda: server.logged_on)
            connection = server.logged_on["BETA"]
            while not connection._is_paused:
                for _ in range(50):
                    beta.order(symbol="DOGE", account="beta")
                await beta.writer.drain()
                await asyncio.sleep(0)
            beta.send("5")  # it says goodbye, and still does not read
            await until(lambda: not server.connections)
            beta.abort()

    run(scenario())


def test_a_report_for_a_client_that_is_away_waits(rig: Rig) -> None:
    async def scenario() -> None:
        async with serving(rig) as (server, port):
            beta = await (await TcpClient("BETA").connect(port)).log_on()
            beta.order(account="beta", cl_ord_id="o")
            await until(lambda: rig.ledger.order_count == 1)
            beta.abort()
            await until(lambda: not server.connections)
            order = rig.only_order()
            rig.hear(accepted(order), filled(order, 100))
            again = TcpClient("BETA", beta.fix)
            await (await again.connect(port)).log_on(resets=False)
            await again.until(lambda: len(again.told) == 2)
            assert shown(again.told, 39, 43, 55) == [("8", "0", "Y", BTC), ("8", "2", "Y", BTC)]

    run(scenario())
