"""Transports of several lanes and REST over real sockets: what is dialled, what is sent first, what is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.clock import now_ns
from gateway.venues import http as venue_http
from gateway.venues.http import HttpExecutor
from protocols.venues.codec import HttpRequest
from risk.lifecycle import OrdStatus
from tests.gateway.lane_rig import BINANCE, CASES
from tests.gateway.live import TcpClient, run, until
from tests.gateway.rig import shown
from tests.gateway.socket_venue import SocketVenue, gateway
from tests.protocols.venues.cases import Case

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_an_order_goes_out_over_real_sockets_and_its_fill_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    async def scenario() -> None:
        async with SocketVenue(case).serve() as venue, gateway(tmp_path, monkeypatch, venue) as running:
            await until(lambda: running.is_ready, "it never took orders")
            client = await (await TcpClient().connect(running.port)).log_on()
            client.order(symbol=case.symbol, quantity="0.1", price="50000")
            await client.until(lambda: client.told)
            assert shown(client.told, 150, 39) == [("8", "0", "0")]
            (client_id,) = venue.client_ids
            for frame in case.fill(1, "0.100", "0.100"):
                await venue.tell(case.lanes[1], venue.of(frame, client_id))
            await client.until(lambda: len(client.told) == 2)
            assert shown(client.told[1:], 150, 39) == [("8", "F", "2")]
            snapshot = running.app.snapshot()
            assert snapshot["venues"] == {case.name: "live"} and snapshot["breaks"] == 0
            assert all(snapshot["feeds"][case.name]["lanes"].values())
        lanes = {lane for lane, _ in venue.dialled}
        assert sorted(lane for lane, _ in venue.dialled) == sorted(lanes)  # each once
        assert {code for _, code in venue.closed_with} == {1000}  # and left politely

    run(scenario())


@each
def test_nothing_private_is_sent_before_the_venue_knows_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    login = {"binance": "userDataStream.start", "okx": "login", "bybit": "auth"}[case.name]

    async def scenario() -> None:
        venue = SocketVenue(case)
        answer = venue.peer.answers[login]
        venue.peer.answers[login] = None
        async with venue.serve(), gateway(tmp_path, monkeypatch, venue) as running:
            await until(lambda: login in venue.names(*case.vital))
            client = await (await TcpClient().connect(running.port)).log_on()
            client.order(symbol=case.symbol, quantity="0.1", price="50000")
            await client.until(lambda: client.told)
            assert shown(client.told, 150) == [("8", "8")] and running.app.core.ledger.order_count == 0
            assert set(venue.names(*case.vital)) == {login}
            assert running.app.snapshot()["venues"] == {case.name: "authenticating"}
            venue.peer.answers[login] = answer
            for lane in list(venue.sockets):
                await venue.hang_up(lane)
            await until(lambda: running.is_ready, "it never took orders")

    run(scenario())


@each
@pytest.mark.parametrize("which", [0, 1])
def test_a_lost_lane_is_dialled_again_and_what_was_in_flight_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case, which: int
) -> None:
    lane = case.lanes[which]
    query = {"binance": "order.status", "okx": "GET /api/v5/trade/order", "bybit": "GET /v5/order/realtime"}[case.name]
    # However slow the machine is: the venue's word that it has no such order is never late enough to be the last.
    monkeypatch.setattr("protocols.venues.trading.SETTLE_NS", 3_600_000_000_000)

    async def scenario() -> None:
        venue = SocketVenue(case)
        async with venue.serve(), gateway(tmp_path, monkeypatch, venue) as running:
            await until(lambda: running.is_ready, "it never took orders")
            venue.takes_orders = False
            client = await (await TcpClient().connect(running.port)).log_on()
            client.order(symbol=case.symbol, quantity="0.1", price="50000")
            await until(lambda: case.place in venue.names(case.lanes[0]))
            (order,) = running.app.core.ledger.orders.values()
            count = len(venue.dialled)
            await venue.hang_up(lane)
            await until(lambda: lane in {name for name, _ in venue.dialled[count:]})
            await until(lambda: running.is_ready, "it never took orders again")
            if which == 0 or case.lanes[0] == case.lanes[1]:
                await until(lambda: query in venue.asked + venue.names(case.lanes[0]))
                assert order.status is OrdStatus.UNKNOWN and order.held is not None and order.is_working
            assert [told for told in shown(client.told) if told == ("8",)] == []

    run(scenario())


@each
def test_market_data_is_joined_again_and_orders_go_on_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    async def scenario() -> None:
        venue = SocketVenue(case)
        async with venue.serve(), gateway(tmp_path, monkeypatch, venue) as running:
            await until(lambda: running.is_ready, "it never took orders")
            lane = "market" if case is BINANCE else case.lanes[2]
            channels = set(running.link(case.name).session._lanes[lane].wanted)
            count = len(venue.frames)
            await venue.hang_up(lane)

            def joined() -> list[str]:
                return [str(f) for name, f in venue.frames[count:] if name == lane and "ping" not in str(f)]

            await until(joined)
            assert case.name in running.live and len(joined()) == 1
            assert all(channel.split(":")[-1] in joined()[0] for channel in channels)

    run(scenario())


@each
def test_a_venue_that_hangs_up_is_dialled_ever_more_slowly_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    async def scenario() -> None:
        venue = SocketVenue(case)
        venue.hangs_up_at_once = True
        async with venue.serve(), gateway(tmp_path, monkeypatch, venue) as running:
            await until(lambda: len(venue.dialled) >= 2)
            client = running.app.venues[0]
            window = client._dials
            assert window is not None
            # What the venue allows is used up: nobody dials before there is room.
            window.block(now_ns() + 3_600 * 10**9)
            await until(
                lambda: all(not lane.is_waiting for lane in client.lanes.values() if client.link.url(lane.name))
            )
            for _ in range(200):  # rounds of the loop: those that were on their way arrive
                await asyncio.sleep(0)
            count = len(venue.dialled)
            for lane in client.lanes.values():
                assert client.pause_s(lane.attempts) <= client.pause_s(16)
            await asyncio.sleep(0.2)  # longer than the shortest pause
            assert len(venue.dialled) == count
            assert not running.live

    run(scenario())


def test_the_listen_key_is_fetched_dialled_and_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        venue = SocketVenue(BINANCE)
        keys = iter(f"Key{number}" for number in range(1, 100))
        venue.peer.answers["userDataStream.start"] = lambda _: {"listenKey": next(keys)}
        async with venue.serve(), gateway(tmp_path, monkeypatch, venue) as running:
            await until(lambda: running.is_ready, "it never took orders")
            assert ("private", "/private/ws?listenKey=Key1") in venue.dialled
            await venue.tell("private", {"e": "listenKeyExpired", "E": now_ns() // 10**6, "listenKey": "Key1"})
            await until(lambda: ("private", "/private/ws?listenKey=Key2") in venue.dialled)
            await until(lambda: running.is_ready, "it never took orders again")
            assert not any("Key1" in alert or "Key2" in alert for alert in running.app.core.monitor.alerts)

    run(scenario())


def test_three_venues_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            venues = [await stack.enter_async_context(SocketVenue(case).serve()) for case in CASES]
            running = await stack.enter_async_context(gateway(tmp_path, monkeypatch, *venues))
            await until(lambda: running.is_ready, "they never took orders")
            client = await (await TcpClient().connect(running.port)).log_on()
            for symbol in running.app.core.ledger.by_symbol:
                client.order(symbol=symbol, quantity="0.1", price="50000")
            await client.until(lambda: len(client.told) == 3)
            assert shown(client.told, 150) == [("8", "0")] * 3
            assert [len(venue.client_ids) for venue in venues] == [1, 1, 1]

    run(scenario())


# -- REST ------------------------------------------------------------------------------------------------------------


class Asked:
    """Notes what became of requests."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []

    def http_answered(self, request_id: int, response: Any, now: int) -> None:
        self.answers.append((request_id, response))

    def http_failed(self, request_id: int, reason: str, now: int) -> None:
        self.answers.append((request_id, reason))


Handler = Callable[[web.Request], Any]


@contextlib.asynccontextmanager
async def executor(handler: Handler) -> AsyncIterator[tuple[HttpExecutor, Asked, Callable[..., None]]]:
    """An executor on a server of one handler, and a way to ask."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    asked = Asked()
    assert site._server is not None
    http = HttpExecutor(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/")  # type: ignore[attr-defined]

    def ask(target: str = "/x?signature=s3cr3t", timeout_s: float = 10.0, **values: Any) -> None:
        deadline_ns = now_ns() + int(timeout_s * 1e9)
        request = HttpRequest(len(asked.answers) + 1, "GET", target, deadline_ns=deadline_ns, **values)
        http.submit(request, asked, lambda answer, of: answer(now_ns()))  # type: ignore[arg-type]

    try:
        yield http, asked, ask
    finally:
        await http.close()
        await runner.cleanup()


def test_a_request_goes_out_as_it_was_signed_and_its_answer_comes_whole() -> None:
    async def scenario() -> None:
        seen: list[tuple[str, str | None, bytes]] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append((request.raw_path, request.headers.get("X-KEY"), await request.read()))
            return web.Response(status=429, body=b"{}", headers={"Retry-After": "7", "X-MBX-USED-WEIGHT-1M": "12"})

        async with executor(handler) as (http, asked, ask):
            ask("/a%2Cb?x=1%2C2&signature=ab%2B", headers=(("X-KEY", "k"),), body=b'{"a":1}')
            await until(lambda: asked.answers)
            assert seen == [("/a%2Cb?x=1%2C2&signature=ab%2B", "k", b'{"a":1}')]
            ((_, response),) = asked.answers
            assert (response.status, response.body) == (429, b"{}")
            assert response.headers["retry-after"] == "7" and response.headers["x-mbx-used-weight-1m"] == "12"
            # The answer is handed over by the request's own task, which ends after it.
            await until(lambda: not len(http))

    run(scenario())


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def scenario() -> None:
        asked_for: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            asked_for.append(request.path)
            return web.Response(status=302, headers={"Location": "/elsewhere", "Set-Cookie": "a=b"})

        async with executor(handler) as (_, asked, ask):
            ask()
            await until(lambda: asked.answers)
            assert asked.answers[0][1].status == 302 and asked_for == ["/x"]

    run(scenario())


@pytest.mark.parametrize("is_compressed", [False, True])
def test_an_answer_without_end_is_cut_and_told_of(monkeypatch: pytest.MonkeyPatch, is_compressed: bool) -> None:
    monkeypatch.setattr(venue_http, "MAX_BODY_BYTES", 100_000)

    async def scenario() -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            if is_compressed:
                response.enable_compression(web.ContentCoding.gzip)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(b"0" * 10_000)
            return response

        async with executor(handler) as (_, asked, ask):
            ask()
            await until(lambda: asked.answers)
            assert asked.answers == [(1, "the answer is longer than 100000 bytes")]

    run(scenario())


def test_a_late_answer_and_a_lost_connection_are_told_without_the_address() -> None:
    async def scenario() -> None:
        async def handler(request: web.Request) -> web.Response:
            if request.path == "/late":
                await asyncio.sleep(60)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        async with executor(handler) as (_, asked, ask):
            ask("/late?signature=s3cr3t", timeout_s=0.05)
            await until(lambda: asked.answers)
            ask("/cut?signature=s3cr3t")
            await until(lambda: len(asked.answers) == 2)
            assert asked.answers[0] == (1, "no answer in time")
            assert "s3cr3t" not in str(asked.answers) and isinstance(asked.answers[1][1], str)

    run(scenario())


def test_requests_are_bounded_and_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_http, "MAX_REQUESTS", 2)

    async def scenario() -> None:
        async def handler(request: web.Request) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        async with executor(handler) as (http, asked, ask):
            for _ in range(3):
                ask()
            assert asked.answers == [(1, "more than 2 requests at one time")] and len(http) == 2
            await http.close()
            assert len(http) == 0

    run(scenario())
