"""The pricing process for real: a whole gateway takes its generations, and outlives whatever it does.

Every wait is for a condition. No process is left: each test looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway.slowside import pricing as pricing_module
from gateway.slowside.double_buffer import FrameReader, FrameWriter, memory_bytes
from gateway.slowside.pricing import PricingProcess
from gateway.slowside.process import PricingServer, serve
from gateway.slowside.supervision import State
from tests.gateway.live import Live, TcpClient, live, run, until

# Processes that misbehave: each says hello, and then does one thing wrong.
_HEAD = """
import os, socket, sys, time
from gateway.slowside.double_buffer import FrameReader, FrameWriter
from gateway.slowside.memory import SharedMemory
bell, setup, snapshots, generations, _ = (int(text) for text in sys.argv[1:])
bell = socket.socket(fileno=bell)
memory = SharedMemory.attach(generations).view
reader, writer = FrameReader(SharedMemory.attach(snapshots).view), FrameWriter(memory)
bell.sendall(b"h")
bell.recv(1)
frame = reader.read()
"""
_ANSWER = "bell.sendall(b'g')\nbell.recv(1)"
_HALF = "steps = writer.write_in_steps(frame.number, 0, [bytes(99)])\nnext(steps)\nnext(steps)\n"
MISBEHAVIOURS = {
    "answers without a generation": (_ANSWER, "there is no such generation"),
    "writes garbage": (
        f"writer.write(frame.number, frame.as_of_ns, [os.urandom(999)])\n{_ANSWER}", "table"),
    "answers the snapshot with itself": (
        f"writer.write(frame.number, frame.as_of_ns, [frame.payload])\n{_ANSWER}", "known: Expected"),
    "writes another's generation": (
        f"writer.write(frame.number + 1, frame.as_of_ns, [b''])\n{_ANSWER}", "no such generation"),
    "writes half and dies": (f"{_HALF}os._exit(3)", "it ended"),
    "writes half and answers": (f"{_HALF}{_ANSWER}", "no such generation"),
    "damages what it wrote": (
        f"writer.write(frame.number, frame.as_of_ns, [bytes(99)])\nmemory[len(memory) // 2 + 70] ^= 1\n{_ANSWER}",
        "its sum is not"),
    "says what no one knows": ("bell.sendall(b'!')\nbell.recv(1)", "it said 33"),
    "says hello twice": ("bell.sendall(b'h')\nbell.recv(1)", "hello while pricing"),
    "dies of a signal": ("os.kill(os.getpid(), 9)", "it ended"),
}  # fmt: skip


@contextlib.asynccontextmanager
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[tuple[Live, Any]]:
    """A gateway whose risk arrays come from a process; at the end that is gone."""
    async with live(tmp_path, monkeypatch, pricing="process", **options) as running:
        pricing = running.app.pricing
        assert isinstance(pricing, PricingProcess)
        children = []
        began = pricing._start

        def start() -> None:
            began()
            children.append(pricing.child)

        if pricing.child is not None:
            children.append(pricing.child)
        monkeypatch.setattr(pricing, "_start", start)
        yield running, pricing
    assert children and all(child.process.poll() is not None for child in children)


def test_generations_come_from_the_process_and_orders_are_checked_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, monkeypatch) as (running, pricing):
            taken = pricing.taken
            await until(lambda: pricing.taken > taken + 1)
            generation = running.app.core.valuation.generation
            assert not generation.values.flags.writeable and generation.known.all()
            client = await (await TcpClient().connect(running.port)).log_on()
            client.order(price=running.price(0.98))
            await client.until(lambda: client.told)
            assert text(client.told[0], 39) == "0"
            told = running.app.snapshot()["pricing"]
            assert told["mode"] == "process" and told["process"]["pid"] == pricing.child.process.pid
            assert told["generation"] >= 2 and told["age_ms"] >= 0.0 and told["unknown"] == 0
            # Nothing of our environment that it does not need.
            environment = Path(f"/proc/{pricing.child.process.pid}/environ").read_bytes()
            assert b"LIVE_CLIENT_SECRET" not in environment and os.environb.get(b"HOME", b"?") not in (b"", environment)

    run(scenario())


def test_killed_it_is_started_again_and_meanwhile_arrays_grow_old_and_orders_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, monkeypatch) as (running, pricing):
            core = running.app.core
            client = await (await TcpClient().connect(running.port)).log_on()
            # It ends, and what would be started instead does nothing.
            pricing._command = (sys.executable, "-c", "import sys, time; sys.stdin.close(); time.sleep(60)")
            generation = core.valuation.generation
            os.kill(pricing.child.process.pid, signal.SIGKILL)
            await until(lambda: pricing.supervision.starts == 2)
            assert pricing.supervision.state is State.STARTING
            await until(lambda: pricing.snapshot()["last_exit"] == -signal.SIGKILL)
            assert core.valuation.generation.number >= generation.number
            core.market.generation_time_ns -= core.market.generation_max_age_ns
            client.order(price=running.price(0.98))
            await client.until(lambda: client.told)
            assert text(client.told[0], 20001) == "503"
            assert "risk arrays are too old, in ms: the pricing process is starting" in text(client.told[0], 58)
            assert any("it ended; generations grow stale" in alert for alert in core.monitor.alerts)
            # One that never says hello is ended at its deadline; the next one works.
            pricing._command = pricing_module.COMMAND
            pricing.supervision.deadline_ns = 0
            taken = pricing.taken
            await until(lambda: pricing.taken > taken)
            assert core.market.pricing_trouble == "" and pricing.snapshot()["trouble"] == ""
            client.order(price=running.price(0.98))
            await client.until(lambda: len(client.told) > 1)
            assert text(client.told[1], 39) == "0"

    run(scenario())


@pytest.mark.parametrize("what", MISBEHAVIOURS)
def test_nothing_of_one_that_misbehaves_is_used(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, why = MISBEHAVIOURS[what]

    async def scenario() -> None:
        monkeypatch.setattr(pricing_module, "COMMAND", (sys.executable, "-c", _HEAD + body))
        monkeypatch.setattr(PricingProcess.__init__, "__kwdefaults__", {"command": pricing_module.COMMAND})
        async with gateway(tmp_path, monkeypatch, waits=False) as (running, pricing):
            await until(lambda: any(why in alert for alert in running.app.core.monitor.alerts))
            core = running.app.core
            assert core.valuation.generation is None and pricing.taken == 0 and core.market.pricing_trouble

    run(scenario())


def test_one_that_hangs_is_ended_at_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, monkeypatch) as (running, pricing):
            os.kill(pricing.child.process.pid, signal.SIGSTOP)
            await until(lambda: pricing.supervision.state is State.PRICING)
            assert running.app.core.market.pricing_trouble == "the pricing process is late"
            stopped, taken = pricing.child, pricing.taken
            pricing.supervision.deadline_ns = 0
            await until(lambda: pricing.taken > taken)
            assert pricing.child is not stopped and stopped.process.returncode == -signal.SIGKILL
            assert any("it hung" in alert for alert in running.app.core.monitor.alerts)

    run(scenario())


def test_a_generation_that_is_wrong_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums are right and the shapes too: the audit finds what is worth something else here."""

    async def scenario() -> None:
        async with gateway(tmp_path, monkeypatch) as (running, pricing):
            before = pricing.taken
            code = (
                "import sys\nfrom gateway.slowside import process\nfrom risk import scenarios\n"
                "plain = scenarios.GenerationBuilder._take\n"
                "scenarios.GenerationBuilder._take = lambda self, i, values: plain(self, i, values * 1.001)\n"
                "process.main(sys.argv[1:])\n"
            )
            pricing._command = (sys.executable, "-c", code)
            os.kill(pricing.child.process.pid, signal.SIGKILL)
            alerts = running.app.core.monitor.alerts
            await until(lambda: any("is worth something else here" in alert for alert in alerts))
            assert pricing.taken - before <= 1  # one may have been on its way

    run(scenario())


def test_a_command_that_can_not_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, monkeypatch) as (running, pricing):
            pricing._command = (str(tmp_path / "nowhere"),)
            os.kill(pricing.child.process.pid, signal.SIGKILL)
            alerts = running.app.core.monitor.alerts
            await until(lambda: any("it can not be started: No such file" in alert for alert in alerts))
            assert pricing.child is None and pricing.snapshot()["pid"] is None
            pricing._command = pricing_module.COMMAND
            taken = pricing.taken
            await until(lambda: pricing.taken > taken)

    run(scenario())


def test_memory_that_is_too_small_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with gateway(tmp_path, monkeypatch) as (running, pricing):
            alerts = running.app.core.monitor.alerts
            pricing._slot_bytes = 100
            os.kill(pricing.child.process.pid, signal.SIGKILL)
            await until(lambda: any("is larger than its slot of 100" in alert for alert in alerts))
            pricing._slot_bytes = 1 << 20
            taken = pricing.taken
            await until(lambda: pricing.taken > taken)

    run(scenario())


def test_a_generation_that_is_too_large_is_told_in_its_place() -> None:
    ours, theirs = socket.socketpair()
    given, made = (memoryview(bytearray(memory_bytes(400))) for _ in range(2))
    FrameWriter(given).write(5, 6, [b"?"])
    ours.sendall(b"?")
    ours.shutdown(socket.SHUT_WR)
    server = PricingServer({}, 1)
    server.answer = lambda frame: [bytes(401)]  # type: ignore[method-assign]
    serve(theirs, FrameReader(given), FrameWriter(made), server)
    frame = FrameReader(made).read()
    assert ours.recv(9) == b"hg" and frame is not None and (frame.number, frame.as_of_ns) == (5, 6)
    assert b"a frame of 401 bytes is larger than its slot of 400" in frame.payload
    ours.close()
    theirs.close()


def test_it_ends_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    """The parent starts one, tells its pid, and dies; the memory has no name that could be left."""
    code = (
        "import os, sys\nfrom gateway.slowside.pricing import COMMAND, Child\n"
        "from gateway.slowside.process import setup_bytes\n"
        "child = Child(setup_bytes({}, 1), 4096, COMMAND)\nchild.doorbell.setblocking(True)\n"
        "assert child.doorbell.recv(1) == b'h'\nprint(child.process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    orphan = int(parent.stdout)

    async def scenario() -> None:
        await until(lambda: not _runs(orphan))

    asyncio.run(scenario())


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
