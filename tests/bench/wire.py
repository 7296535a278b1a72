"""Figures on the wire: the real gateway in a process of its own on one core, the peer program on another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests.bench.client import SENDER, TARGET, Client
from tests.bench.hook import HookConnection
from tests.bench.setting import HOOK_SOCKET, LARGE, POOR, PRICE, RICH, SMALL, config_text
from tests.bench.venue import SYMBOL, Venue
from tests.bench.what_ifs import Asker

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
PEER: Final = HERE / "_peer"
RUN_TIMEOUT_S: Final = 120
STOP_TIMEOUT_S: Final = 15


def cores() -> tuple[int, int]:
    """Return the gateway's core and the peer's; the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep to one core, so that a process that is started meanwhile does."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def peer_command() -> tuple[list[str], str]:
    """Compile the peer, or fall back to the one in Python; return its command and what to say of it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is not None:
        command = [compiler, "-O2", "-o", str(PEER), str(HERE / "peer.c")]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return [str(PEER)], "C, spinning"
    return [
        sys.executable,
        "-m",
        "tests.bench.peer",
    ], "Python, spinning (no C compiler: its time counts too)"


class Echo:
    """The floor's server, on the gateway's core."""

    def __init__(self, core: int) -> None:
        with pinned(core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
            )
        assert self._process.stdout is not None
        self.connection = socket.create_connection(("127.0.0.1", int(self._process.stdout.readline())))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self._process.communicate(timeout=STOP_TIMEOUT_S)


class Gateway:
    """A gateway with one client and one venue, past every handshake."""

    def __init__(
        self,
        core: int,
        is_plain: bool,
        *,
        options: Sequence[str] = (),
        changes: Sequence[tuple[str, str]] = (),
        extra: Callable[[Path], str] | None = None,
    ) -> None:
        """`options` are listed by the venue besides; `changes` are made to the configuration: what, by what.

        `extra` may write files beside the configuration, and returns what this says besides.
        """
        self.is_plain = is_plain
        self._changes = changes
        self._extra = extra
        self._directory = tempfile.TemporaryDirectory(prefix="margingate-bench-")
        self._venue = Venue(options)
        self._core = core
        self._client: Client | None = None
        self._asker: Asker | None = None
        self._fix_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._status = Path(self._directory.name) / "status"

    def __enter__(self) -> Gateway:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        for client in (self._client, self._asker):
            if client is not None:
                client.connection.close()
        self._venue.close()
        self._directory.cleanup()

    @property
    def directory(self) -> Path:
        """Where its configuration, bench.toml, and its journal lie."""
        return Path(self._directory.name)

    def _start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            fix_port = self._fix_port = probe.getsockname()[1]
        config = Path(self._directory.name) / "bench.toml"
        text = config_text(fix_port, self._venue.port)
        for before, after in self._changes:
            text = text.replace(before, after)
        extra = "" if self._extra is None else self._extra(self.directory)
        config.write_text(text + extra)
        environment = os.environ | {
            "MARGINGATE_BENCH_CLIENT_ID": "bench",
            "MARGINGATE_BENCH_CLIENT_SECRET": "bench",
            "MARGINGATE_PURE": "1" if self.is_plain else "0",
        }
        with self._status.open("wb") as status, pinned(self._core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "run", str(config), "--status-json"],
                stdout=status,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
            )
        try:
            self._venue.accept()
            self._venue.send_mark()
            self._client = Client(fix_port)
            order = [(1, POOR), (38, LARGE), (40, "2"), (44, PRICE), (54, "1"), (55, SYMBOL), (59, "1")]
            self._client.wait_for_margin(order, b"701")
        except (OSError, RuntimeError) as error:
            raise RuntimeError(f"{error}; the gateway said: {self._status.read_text()[-2000:]}") from error

    def refresh(self) -> None:
        """Send every mark anew."""
        self._venue.send_mark()

    def run(
        self, peer: list[str], core: int, mode: str, count: int, window: int, *, refreshes: bool = True
    ) -> dict[str, Any]:
        """Let the peer send `count` orders of one kind; return its figures, after checking that all went as meant."""
        client, venue = self._client, self._venue.connection
        assert client is not None and venue is not None
        if refreshes:
            self._venue.send_mark()
        account, quantity = (POOR, LARGE) if mode == "reject" else (RICH, SMALL)
        sockets = (client.connection.fileno(), venue.fileno())
        words = (SENDER, TARGET, account, SYMBOL, quantity, PRICE)
        before_ns = self._on_cpu_ns()
        figures = run_peer(peer, core, sockets, [mode, count, window, client.next_seq, 0], [*words, "-"])
        figures["cpu_ns"] = self._on_cpu_ns() - before_ns
        client.next_seq += count
        expected = "rejected" if mode == "reject" else "accepted"
        if figures[expected] != count or figures["unexpected"]:
            raise RuntimeError(f"not all orders were {expected}: {figures}; {self._status.read_text()[-2000:]}")
        if mode != "reject":
            label, _, last = figures["last_label"].rpartition("-")
            arguments = ["clear", count, 1, 0, int(last) - count + 1]
            cleared = run_peer(peer, core, sockets, arguments, [*words, f"{label}-"])
            if cleared["cancelled"] != count:
                raise RuntimeError(f"not all orders were cancelled: {cleared}")
        return figures

    def _on_cpu_ns(self) -> int:
        """Return how long the gateway's loop has been on a core, kernel included: what others take is not in it."""
        assert self._process is not None
        try:
            return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0])
        except OSError:
            return 0

    def run_hook(self, core: int, op: str, count: int, window: int) -> dict[str, Any]:
        """Let a client of the hook, on its core, ask `count` times; return its figures."""
        self._venue.send_mark()
        hook = HookConnection(Path(self._directory.name) / HOOK_SOCKET)
        try:
            with pinned(core):
                return hook.checks(count, window) if op == "check" else hook.holds(count, window)
        finally:
            hook.close()

    def what_ifs(self, core: int, count: int, window: int) -> dict[str, Any]:
        """Ask what so many orders would do, `window` at a time; all would pass."""
        self._venue.send_mark()
        with pinned(core):
            if self._asker is None:
                self._asker = Asker(self._fix_port)
            return self._asker.run(count, window)

    def move_mark(self, mark: float) -> None:
        """Let the venue tell another mark of the perpetual: a generation is due."""
        self._venue.send_mark(mark, with_options=False)

    def stop(self) -> dict[str, Any]:
        """Stop it as an operator would; return its last snapshot."""
        assert self._client is not None and self._process is not None
        self._client.connection.close()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(STOP_TIMEOUT_S)
        snapshot: dict[str, Any] = json.loads(self._status.read_text().strip().splitlines()[-1])
        return snapshot


def run_peer(
    peer: list[str], core: int, sockets: tuple[int, int], numbers: list[Any], words: list[str]
) -> dict[str, Any]:
    """Run the peer program on its core over sockets that are set up; return what it prints."""
    arguments = [str(part) for part in [*numbers, *sockets, *words]]
    with pinned(core):
        done = subprocess.run(
            [*peer, *arguments],
            check=False,
            capture_output=True,
            pass_fds=[fd for fd in sockets if fd >= 0],
            cwd=ROOT,
            timeout=RUN_TIMEOUT_S,
        )
    if done.returncode:
        raise RuntimeError(f"peer: {done.stderr.decode(errors='replace')}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def run_echo(
    peer: list[str], core: int, echo: Echo, count: int, window: int, *, is_rested: bool = False, size: int = 0
) -> dict[str, Any]:
    """Measure the floor; `is_rested`: after a pause each time, as what comes after one is measured.

    `size` is of a message in bytes; 0: the peer's own.
    """
    sockets = (echo.connection.fileno(), -1)
    mode = "rested" if is_rested else "echo"
    return run_peer(peer, core, sockets, [mode, count, window, 1, size], ["-"] * 7)
