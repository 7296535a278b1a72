"""The hook over its real sockets: both ways in, pipelines, limits, and the client of docs/examples."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from fixtures.venues.server import serve
from gateway import cli
from gateway.hook.messages import Stop
from gateway.hook.server import REQUESTS_A_TURN, UNREAD_EVENTS, LineConnection
from gateway.hook.session import token_hash
from gateway.journal import read
from gateway.recovery import replay
from tests.gateway.live import PATIENCE_S, Live, config_text, live, make_venue, run, until
from tests.gateway.rig import BTC
from tests.gateway.test_app import Process, is_ready
from tests.ports import free_port

ROOT: Final = Path(__file__).parents[3]
TOKEN: Final = "canary-0123456789-0123456789-0123456789"
HOOK: Final = """
[hook]
socket_path = "hook.sock"
listen_port = {port}
hello_timeout_s = 30
max_connections = 4
max_message_bytes = 1024
max_unread_bytes = 65536
max_faults = 5
[[hook.client]]
name = "algo"
accounts = ["alpha"]
credentials_env = "ALGO"
[[hook.client]]
name = "peer"
accounts = ["alpha", "beta"]
authentication = "peer"
"""


class Line:
    """One connection to the Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, **request: Any) -> None:
        self.writer.write(orjson.dumps(request) + b"\n")

    async def hear(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE_S)
        assert line, "hung up"
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        self.say(op=op, **fields)
        return await self.hear()

    async def is_hung_up(self) -> bool:
        while await asyncio.wait_for(self.reader.readline(), PATIENCE_S):
            pass  # what was said before
        return True


class Hooked:
    """A gateway with a hook."""

    def __init__(self, running: Live, directory: Path, port: int) -> None:
        self.running, self.path, self.port = running, directory / "hook.sock", port
        self.lines: list[Line] = []

    async def line(self, client: str | None = "algo", token: str = TOKEN) -> Line:
        line = Line(*await asyncio.open_unix_connection(str(self.path)))
        self.lines.append(line)
        if client is not None:
            assert (await line.ask("hello", client=client, token=token))["ok"]
        return line

    async def socket(self, *, greets: bool = True) -> ClientConnection:
        connection = await connect(f"ws://127.0.0.1:{self.port}", compression=None)
        if greets:
            assert (await talk(connection, "hello", client="algo", token=TOKEN))["ok"]
        return connection

    def order(self, **changes: Any) -> dict[str, Any]:
        price = str(self.running.price(0.99))
        return {"symbol": BTC, "side": "buy", "quantity": "100", "price": price} | changes


async def talk(connection: ClientConnection, op: str, **fields: Any) -> dict[str, Any]:
    await connection.send(orjson.dumps({"op": op} | fields).decode())
    return await heard(connection)


async def heard(connection: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(await asyncio.wait_for(connection.recv(), PATIENCE_S))
    return answer


@asynccontextmanager
async def hooked(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, hello_timeout_s: int = 30
) -> AsyncIterator[Hooked]:
    monkeypatch.setenv("ALGO_CLIENT", "algo")
    monkeypatch.setenv("ALGO_TOKEN_SHA256", token_hash(TOKEN).hex())
    port = free_port()
    tables = HOOK.format(port=port).replace("hello_timeout_s = 30", f"hello_timeout_s = {hello_timeout_s}")
    async with live(directory, monkeypatch, extra=tables) as running:
        hook = Hooked(running, directory, port)
        try:
            yield hook
        finally:
            for line in hook.lines:
                line.writer.close()
            assert running.app.hook is not None
            await until(lambda: not running.app.hook.connections, "connections are left")


def test_events_that_nobody_reads_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing, over either way in: it is hung up, and the others are not."""

    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            core, server = hook.running.app.core, hook.running.app.hook
            assert server is not None
            reading, idle, web = await hook.line(), await hook.line(), await hook.socket()
            for one in (idle.writer.transport, web.transport):
                one.pause_reading()
            await until(lambda: len(core.hooks.by_name["algo"].listeners) == 3)
            event, most = Stop("account", "alpha", "x" * 200, ["h" * 30] * 1_000), 0
            for _ in range(1_000):
                core.hooks.by_name["algo"].tell(event)
                assert (await reading.hear())["event"] == "stop"
                left = [one for one in server.connections if isinstance(one, LineConnection)]
                most = max(most, *(one._transport.get_write_buffer_size() for one in left if one._transport))
                if len(server.connections) == 1:
                    break
            await until(lambda: len(server.connections) == 1, "who reads nothing is still there")
            assert most <= UNREAD_EVENTS * server.config.max_unread_bytes + 40_000
            assert "hook: a client does not read" in core.monitor.alerts
            assert (await reading.ask("check", id=1, **hook.order()))["ok"]
            idle.writer.transport.resume_reading()  # it sees the end
            web.transport.abort()
            await web.wait_closed()

    run(scenario())


def test_a_hold_over_each_way_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            assert stat.S_IMODE(hook.path.stat().st_mode) == 0o600
            line, web = await hook.line(), await hook.socket()
            peer = await hook.line("peer", "")
            assert (await line.ask("check", id=1, **hook.order()))["initial_margin"] > 0
            held = await line.ask("hold", key="one", **hook.order())
            # The same client on another way in: the same key, the same answer.
            terms = hook.order(price=held["price"])
            assert await talk(web, "hold", key="one", **terms) == held
            assert not (await peer.ask("query", hold=held["hold"]))["ok"]
            told = await talk(web, "fill", hold=held["hold"], execution="t", quantity="40", price=held["price"])
            assert (told["is_new"], told["hold"]["filled"]) == (True, "40")
            assert (await line.ask("release", key="one"))["hold"]["state"] == "released"
            assert (await line.ask("query"))["holds"] == []
            rows = {row["hook"]: row for row in hook.running.app.snapshot()["hooks"]}
            assert (rows["algo"]["connections"], rows["algo"]["fills"]) == (2, 1)
            await web.close()
            assert TOKEN not in str(hook.running.app.snapshot())

    run(scenario())


def test_a_long_pipeline_is_answered_in_order_and_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            line, count = await hook.line(), 5 * REQUESTS_A_TURN
            order = hook.order(quantity="10")
            for number in range(count):
                if number % 50:
                    line.say(op="check", id=number, **order)
                else:
                    line.say(op="hold", id=number, key=f"k{number % 100}", **order)
            answers = [await line.hear() for _ in range(count)]
            assert [answer["id"] for answer in answers] == list(range(count))
            assert all(answer["ok"] for answer in answers)
            holds = {answer["hold"] for answer in answers if answer["op"] == "hold"}
            assert len(holds) == 2

            web = await hook.socket()
            for number in range(200):
                await web.send(orjson.dumps({"op": "check", "id": number} | order).decode())
            assert [(await heard(web))["id"] for _ in range(200)] == list(range(200))
            await web.close()

    run(scenario())


def test_however_many_ask_a_turn_of_the_loop_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            lines = [await hook.line() for _ in range(4)]
            client, loop, most, seen = hook.running.app.core.hooks.by_name["algo"], asyncio.get_running_loop(), 0, 0

            def look() -> None:
                nonlocal most, seen
                most, seen = max(most, client.checks - seen), client.checks
                if seen < 4 * 8 * REQUESTS_A_TURN:
                    loop.call_soon(look)

            for line in lines:
                for _ in range(8 * REQUESTS_A_TURN):
                    line.say(op="check", **hook.order(quantity="10"))
            look()
            for line in lines:
                for _ in range(8 * REQUESTS_A_TURN):
                    assert (await line.hear())["ok"]
            assert 0 < most <= REQUESTS_A_TURN

    run(scenario())


def test_frames_may_be_cut_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            line = await hook.line()
            for byte in orjson.dumps({"op": "query", "id": 1}) + b"\r\n":
                line.writer.write(bytes([byte]))
                await line.writer.drain()
            assert (await line.hear())["id"] == 1
            # Half a request, and the end of what is sent: what came whole is answered, the rest is none.
            line.writer.write(b'{"op":"query","id":2}\n{"op":"hold","key":"x"')
            line.writer.write_eof()
            assert (await line.hear())["id"] == 2
            assert await line.is_hung_up()

    run(scenario())


def test_a_client_that_does_not_read_is_not_read_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            line = await hook.line()
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
            count, request = 20_000, orjson.dumps({"op": "query", "hold": "none", "id": "x" * 60}) + b"\n"
            line.writer.write(request * count)
            app = hook.running.app
            (connection,) = app.hook.connections  # type: ignore[union-attr]
            await until(lambda: not connection._is_reading and connection._is_full)  # type: ignore[union-attr]
            other = await hook.line("peer", "")
            assert (await other.ask("query"))["ok"]  # nobody else waits for that
            line.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(count):
                assert (await line.hear())["code"] == 931

    run(scenario())


def test_what_goes_too_far_ends_a_connection_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            steady = await hook.line()
            for frame in (b"x" * 1025, b'{"op":"query","hold":"' + b"y" * 2000 + b'"}\n'):
                line = await hook.line()
                line.writer.write(frame)
                assert "at most 1024 bytes" in (await line.hear())["text"]
                assert await line.is_hung_up()
            line = await hook.line()
            line.writer.write(b"{\n" * 9)
            assert [(await line.hear())["code"] for _ in range(5)] == [935] * 5
            assert await line.is_hung_up()
            web = await hook.socket()
            await web.send("z" * 1025)
            with pytest.raises(ConnectionClosed) as closed:
                await heard(web)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
            await until(lambda: len(hook.running.app.hook.connections) == 1)  # type: ignore[union-attr]
            for _ in range(3):
                await hook.line()
            refused = await hook.line(None)
            assert await refused.is_hung_up()
            assert any("max_connections" in alert for alert in hook.running.app.core.monitor.alerts)
            web = await connect(f"ws://127.0.0.1:{hook.port}")
            with pytest.raises(ConnectionClosed):
                await heard(web)
            assert (await steady.ask("query"))["ok"]

    run(scenario())


def test_who_does_not_say_hello_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch, hello_timeout_s=1) as hook:
            silent = await hook.line(None)
            assert await silent.is_hung_up()
            with pytest.raises((ConnectionClosed, InvalidHandshake)):  # the second where the machine is very slow
                await heard(await hook.socket(greets=False))

    run(scenario())


def test_wrong_tokens_and_pages_of_a_browser_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            web = await hook.socket(greets=False)
            assert (await talk(web, "hello", client="algo", token="no"))["code"] == 938
            with pytest.raises(ConnectionClosed):
                await heard(web)
            web = await hook.socket(greets=False)
            assert (await talk(web, "hello", client="peer"))["code"] == 938  # the kernel does not say who is there
            await web.close()
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{hook.port}", origin="https://site.example")  # type: ignore[arg-type]

    run(scenario())


def test_clients_are_told_of_deadlines_and_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            line, web = await hook.line(), await hook.socket()
            held = await line.ask("hold", key="one", timeout_ms=1, **hook.order())
            for event in (await line.hear(), await heard(web)):
                assert (event["event"], event["hold"]["hold"], event["hold"]["state"]) == (
                    "unknown", held["hold"], "unknown",
                )  # fmt: skip
            directory = hook.running.app.control.path.parent
            for arguments, said in (
                (["holds", "--unknown", "--json"], held["hold"]),
                (["kill", "--hook", "algo", "--reason", "stop"], "killed"),
                (["sessions"], "algo"),
                (["release-hold", held["hold"], "--reason", "looked"], "released"),
                (["reinstate", "--hook", "algo", "--reason", "fine"], "reinstated"),
            ):
                command = [arguments[0], str(directory), *arguments[1:]]
                result = await asyncio.to_thread(CliRunner().invoke, cli.app, command)
                assert result.exit_code == 0 and said in result.stdout, (arguments, result.output)
            for event in (await line.hear(), await heard(web)):
                assert event == {
                    "event": "stop", "scope": "hook", "name": "algo", "reason": "stop", "holds": [held["hold"]],
                }  # fmt: skip
            assert (await line.ask("query", key="one"))["hold"]["state"] == "released"
            await web.close()

    run(scenario())


def test_the_client_of_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with hooked(tmp_path, monkeypatch) as hook:
            source = (ROOT / "docs" / "examples" / "hook_client.py").read_text()
            path = tmp_path / "hook_client.py"
            path.write_text(source.replace('"59000"', f'"{hook.running.price(0.99)}"').replace("58999.5", "58000.5"))
            command = [sys.executable, str(path), str(hook.path), "algo", TOKEN]
            client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            out, _ = await asyncio.wait_for(client.communicate(), PATIENCE_S)
            told = orjson.loads(out)
            assert client.returncode == 0 and told["hold"]["state"] == "released" and told["hold"]["filled"] == "40"
            assert len(source.splitlines()) <= 45

    run(scenario())


def test_a_long_path_and_a_socket_that_a_crash_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    left = socket.socket(socket.AF_UNIX)
    descriptor = os.open(directory, os.O_PATH)
    left.bind(f"/proc/self/fd/{descriptor}/hook.sock")
    os.close(descriptor)
    left.close()

    async def scenario() -> None:
        async with hooked(directory, monkeypatch) as hook:
            descriptor = os.open(directory, os.O_PATH)
            hook.path = Path(f"/proc/self/fd/{descriptor}/hook.sock")
            assert (await (await hook.line()).ask("query"))["ok"]
            os.close(descriptor)

    run(scenario())
    assert not (directory / "hook.sock").exists()


def test_kill_9_and_start_again(tmp_path: Path) -> None:
    """Holds come back, the same keys get the same answers, fills are booked once."""

    async def scenario() -> None:
        venue = make_venue()
        async with serve(venue, compression=None) as url, AsyncExitStack() as processes:
            path = tmp_path / "gateway.toml"
            tables = HOOK.format(port=free_port()).replace('credentials_env = "ALGO"', 'authentication = "peer"')
            monitor = "[monitor]\nreport_interval_ms = 100\n"
            path.write_text(config_text(url, free_port()) + tables + monitor)
            first = await processes.enter_async_context(Process(path))
            await first.status(is_ready)
            line = Line(*await asyncio.open_unix_connection(str(tmp_path / "hook.sock")))
            assert (await line.ask("hello", client="algo"))["ok"]
            price = str(int(venue.listing(BTC).mark() * 0.99))
            order = {"symbol": BTC, "side": "buy", "quantity": "100", "price": price}
            asked: list[dict[str, Any]] = [
                {"op": "hold", "key": "a"} | order,
                {"op": "hold", "key": "b"} | order | {"quantity": "500000"},
                {"op": "fill", "key": "a", "execution": "t1", "quantity": "40", "price": price},
            ]
            answers = [await line.ask(**request) for request in asked]
            assert [answer["ok"] for answer in answers] == [True, False, True]
            assert await first.end(signal.SIGKILL) == -9
            line.writer.close()
            second = await processes.enter_async_context(Process(path))
            await second.status(is_ready)
            line = Line(*await asyncio.open_unix_connection(str(tmp_path / "hook.sock")))
            assert (await line.ask("hello", client="algo"))["ok"]
            again = [await line.ask(**request) for request in asked]
            assert again == [answers[0], answers[1], answers[2] | {"is_new": False}]
            assert (await line.ask("query"))["holds"] == [answers[2]["hold"]]
            line.writer.close()
            assert await second.end(signal.SIGTERM) == 0
            ledger = replay(read(tmp_path / "journal")).ledger
            account = ledger.accounts["alpha"]
            assert account.position_lots(ledger.by_symbol[BTC].index) == 4 and len(account.exposure.orders) == 1

    run(scenario())
