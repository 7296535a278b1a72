"""An independent engine as the peer, on both sides: logon, orders, a wire that breaks in mid-resend, sequence resets.

QuickFIX takes a quarter of an hour to build, so it is no dependency: `pip install -e .[peers]`, then these run.
"""

import asyncio
import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from protocols.fix.codec import Message
from protocols.fix.session import SessionConfig, SessionKey, SessionState
from tests.peers.ours import Connection, Desk, texts
from tests.ports import free_port

found = importlib.util.find_spec("quickfix")
if found is None:
    pytest.skip("quickfix is not installed: pip install quickfix", allow_module_level=True)

PATIENCE_S = 40.0
VERSIONS = ("FIX.4.2", "FIX.4.4", "FIXT.1.1")
PROGRAM = Path(__file__).parent / "quickfix_peer.py"
versions = pytest.mark.parametrize("version", VERSIONS)
roles = pytest.mark.parametrize("role", ["initiator", "acceptor"])
PLACES = [Path(found.origin or ".").parent, Path(sys.prefix)]


def settings_text(role: str, version: str, port: int, directory: Path, extra: str) -> str:
    """QuickFIX's settings, with its own dictionaries where it brought them."""
    specs = next((place for root in PLACES if (place := root / "share" / "quickfix").is_dir()), None)
    lines = ["[DEFAULT]", f"ConnectionType={role}", "ReconnectInterval=1", "HeartBtInt=30", "StartTime=00:00:00"]
    lines += ["EndTime=00:00:00", f"SocketConnectPort={port}", f"SocketAcceptPort={port}", "SocketReuseAddress=Y"]
    lines += ["SocketConnectHost=127.0.0.1", f"FileStorePath={directory / 'store'}", extra, "[SESSION]"]
    lines += [f"BeginString={version}", "SenderCompID=QUICKFIX", "TargetCompID=GATE"]
    if version == "FIXT.1.1":
        lines.append("DefaultApplVerID=FIX.5.0SP2")
    if specs is None:
        lines.append("UseDataDictionary=N")
    elif version == "FIXT.1.1":
        lines += [f"TransportDataDictionary={specs / 'FIXT11.xml'}", f"AppDataDictionary={specs / 'FIX50SP2.xml'}"]
    else:
        lines.append(f"DataDictionary={specs / version.replace('.', '')}.xml")
    return "\n".join(lines) + "\n"


class QuickFix:
    """The peer's process, and all that it told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))
                self._came.set()

    def do(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    def reports(self) -> list[str]:
        """ClOrdIDs of the application messages that it took."""
        return [event["fields"]["11"] for event in self.events if event["event"] == "app"]

    def told(self, kind: str, msg_type: str | None = None) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == kind and (msg_type is None or e["fields"]["35"] == msg_type)]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._came.clear()
                await self._came.wait()


@contextlib.asynccontextmanager
async def quickfix(directory: Path, role: str, version: str, port: int, extra: str = "") -> AsyncIterator[QuickFix]:
    """QuickFIX in a process of its own, ended in any case."""
    settings = directory / "quickfix.cfg"
    settings.write_text(settings_text(role, version, port, directory, extra))
    pipe = asyncio.subprocess.PIPE
    program = [sys.executable, str(PROGRAM), str(settings), role]
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, limit=1 << 20)
    peer = QuickFix(process)
    reading = asyncio.create_task(peer.read())
    try:
        await peer.until(lambda: peer.told("started"))
        yield peer
        assert peer.told("admin_out", "3") == [], "it refused what we sent"
        peer.do("quit")
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def connected(
    directory: Path, role: str, version: str, desk: Desk, extra: str = "", before: str = ""
) -> AsyncIterator[QuickFix]:
    """QuickFIX in its role and we in the other. `before`: a command for it while the wire is down."""
    port = free_port()
    loop = asyncio.get_running_loop()
    listener = None if before or role == "acceptor" else await loop.create_server(desk.acceptor, "127.0.0.1", port)
    keeper = None
    async with quickfix(directory, role, version, port, extra) as peer:
        if before:
            peer.do(before)
        if role == "acceptor":
            keeper = loop.create_task(_keep_connected(desk, port))
        elif listener is None:
            listener = await loop.create_server(desk.acceptor, "127.0.0.1", port)
        try:
            yield peer
        finally:
            if keeper is not None:
                keeper.cancel()
            if listener is not None:
                listener.close()
    if desk.connection is not None:
        desk.connection.cut()


async def _keep_connected(desk: Desk, port: int) -> None:
    """As an initiator's owner does: connect again whenever the wire is down."""
    while True:
        if desk.connection is None:
            with contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().create_connection(desk.initiator, "127.0.0.1", port)
        await asyncio.sleep(0.2)


def desk_of(version: str, on_message: Callable[[Connection, Message], None] | None = None, **numbers: int) -> Desk:
    config = SessionConfig(application_messages=frozenset({"D", "8"}))
    return Desk(SessionState(SessionKey(version, "GATE", "QUICKFIX"), config, **numbers), on_message)


def run(scenario: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await scenario

    uvloop.run(limited())


def answer(connection: Connection, order: Message) -> None:
    connection.desk.report(order.get(11) or b"")


IDS = [f"order-{number}" for number in range(1, 5001)]


@versions
@roles
def test_orders_and_a_goodbye(tmp_path: Path, role: str, version: str) -> None:
    async def scenario() -> None:
        desk = desk_of(version, answer if role == "initiator" else None)
        async with connected(tmp_path, role, version, desk) as peer:
            await peer.until(lambda: peer.told("logon"))
            if role == "initiator":
                peer.do("orders 50")
                await peer.until(lambda: len(peer.reports()) == 50)
                assert peer.reports() == texts(desk.messages, 11) == IDS[:50]
            else:
                for cl_ord_id in IDS[:50]:
                    desk.order(cl_ord_id.encode())
                await until(lambda: len(desk.messages) == 50)
                assert peer.reports() == texts(desk.messages, 11) == IDS[:50]
            assert [m.msg_type for m in desk.messages] == ["D" if role == "initiator" else "8"] * 50
            peer.do("logout")
            await peer.until(lambda: peer.told("admin", "5"))
            await until(lambda: desk.connection is None or role == "acceptor")
        assert desk.rejects == [] and desk.logons == 1

    run(scenario())


@versions
@roles
def test_a_wire_that_breaks_in_our_resend(tmp_path: Path, role: str, version: str) -> None:
    """It asks again, from where it stopped, as often as the wire breaks; in the end it has all, in order, each once."""

    async def scenario() -> None:
        desk = desk_of(version)
        for cl_ord_id in IDS[:3000]:
            desk.report(cl_ord_id.encode())
        desk.cuts = [100_000, 200_000]
        async with connected(tmp_path, role, version, desk) as peer:
            await peer.until(lambda: len(peer.reports()) >= 3000)
            desk.report(b"live")
            await peer.until(lambda: "live" in peer.reports())
            assert peer.reports() == [*IDS[:3000], "live"]
            assert desk.logons == 3
        assert desk.rejects == []

    run(scenario())


@versions
@roles
def test_a_wire_that_breaks_in_its_resend(tmp_path: Path, role: str, version: str) -> None:
    """Orders that it stored without a session: we ask again, from where we stopped."""

    async def scenario() -> None:
        breaks = [200, 900]

        def cut_sometimes(connection: Connection, message: Message) -> None:
            if breaks and len(connection.desk.messages) >= breaks[0]:
                del breaks[0]
                connection.cut()

        desk = desk_of(version, cut_sometimes)
        async with connected(tmp_path, role, version, desk, before="orders 2000") as peer:
            await until(lambda: len(desk.messages) >= 2000)
            assert texts(desk.messages, 11) == IDS[:2000]
            assert desk.logons == 3
            peer.do("orders 1")
            await until(lambda: len(desk.messages) >= 2001)
            assert texts(desk.messages, 11) == IDS[:2001] and desk.rejects == []

    run(scenario())


@versions
@roles
def test_sequence_resets_of_both(tmp_path: Path, role: str, version: str) -> None:
    async def scenario() -> None:
        desk = desk_of(version)
        async with connected(tmp_path, role, version, desk) as peer:
            await peer.until(lambda: peer.told("logon"))
            # Ours, by SequenceReset(4) with 123=N.
            assert desk.connection is not None
            desk.connection.session.sequence_reset(500, time.time_ns())
            desk.report(b"behind the reset")
            await peer.until(lambda: peer.reports() == ["behind the reset"])
            while not peer.told("numbers") or peer.told("numbers")[-1]["target"] < 501:
                count = len(peer.told("numbers"))
                peer.do("expected")
                await peer.until(lambda count=count: len(peer.told("numbers")) > count)
            assert peer.told("numbers")[-1]["target"] == 501 == desk.state.next_out
            # Its own numbers leap: what is missing is asked for, and filled as a gap.
            peer.do("next_sender 100")
            peer.do("orders 1")
            await until(lambda: desk.messages)
            assert texts(desk.messages, 34) == ["100"] and desk.state.next_in == 101
            assert [e["fields"]["7"] for e in peer.told("admin", "2")] == ["2"]
        assert desk.rejects == [] and desk.logons == 1

    run(scenario())


@versions
def test_it_resets_both_sides_with_its_logon(tmp_path: Path, version: str) -> None:
    async def scenario() -> None:
        desk = desk_of(version, answer, next_in=57, next_out=80)
        async with connected(tmp_path, "initiator", version, desk, extra="ResetOnLogon=Y") as peer:
            await peer.until(lambda: peer.told("logon"))
            peer.do("orders 5")
            await peer.until(lambda: len(peer.reports()) == 5)
            assert texts(desk.messages, 34) == ["2", "3", "4", "5", "6"] and desk.state.next_out == 7
            assert peer.told("admin", "A")[0]["fields"]["141"] == "Y"

    run(scenario())


@versions
def test_we_reset_both_sides_within_the_session(tmp_path: Path, version: str) -> None:
    async def scenario() -> None:
        desk = desk_of(version)
        async with connected(tmp_path, "acceptor", version, desk) as peer:
            await peer.until(lambda: peer.told("logon"))
            for cl_ord_id in IDS[:5]:
                desk.order(cl_ord_id.encode())
            await until(lambda: len(desk.messages) == 5)
            assert desk.connection is not None
            desk.connection.session.reset(time.time_ns())
            desk.flush()
            await until(lambda: desk.connection is not None and desk.connection.session.phase.name == "ACTIVE")
            desk.order(b"first of the new count")
            await until(lambda: len(desk.messages) == 6)
            assert texts(desk.messages, 34)[-1] == "2" and peer.told("app")[-1]["fields"]["34"] == "2"

    run(scenario())
