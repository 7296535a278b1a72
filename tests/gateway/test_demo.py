"""The demo: one run over real TCP and WebSocket end to end, its pictures from canned snapshots, and its accidents."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from gateway.config import load, load_credentials
from gateway.demo import children as demo_children
from gateway.demo import runner as demo_module
from gateway.demo.children import ROOT, Child, ChildDiedError
from gateway.demo.config import VENUES, credentials, desks, write_config
from gateway.demo.runner import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, Demo, Options, run_demo
from gateway.demo.summary import Outcome, Total, summary
from gateway.demo.view import Scene, bar, event_line, margin_use, picture, progress_line
from gateway.venues.kinds import make_session
from risk.pre_trade import CHECKS

COMMAND = [sys.executable, "-m", "gateway.cli", "demo"]
# Far more than anything here takes: reached only where something hangs.
PATIENCE_S = 60


def account(name: str, equity: float | None = 1000.0, margin: float | None = 100.0, **more: Any) -> dict[str, Any]:
    row = {"account": name, "state": "trading", "equity": equity, "initial_margin": margin, "working_orders": 2}
    return row | {"positions": 1} | more


SNAPSHOT: dict[str, Any] = {
    "orders_in": 1234, "accepted": 1000, "rejected": 234, "venue_rejects": 7, "fills": 300, "cancels_in": 500,
    "cancels_refused": 4, "cancelled": 480, "replaces_in": 60, "replaces_accepted": 55, "replaced": 54, "unknown": 0,
    "checks_run": 12_000, "checks_configured": 12, "journal_records": 4321, "duration_s": 9.5, "alerts": [],
    "rejects_by_code": {"MARGIN_SHORTFALL": 120, "DUPLICATE_CL_ORD_ID": 14, "RATE_ABOVE_LIMIT": 100},
    "latency_us": {
        "reject": {"p50": 31.2, "p99": 80.0, "count": 234}, "accept": {"p50": 900.0, "p99": 2100.0, "count": 9},
    },
    "venues": {"sim-deribit": "live", "sim-okx": "reconciling"}, "feeds": {"sim-deribit": {"feed_age_ms": 41.7}},
    "sessions": ["DESK-1", "DESK-2"],
    "accounts": [account("FUND-1", 1000.0, 950.0), account("SMALL-1"), account("LOST-1", None, None, state="halted")],
    "state_hash": "ab" * 32, "is_final": True,
}  # fmt: skip


def rendered(what: RenderableType, width: int = 80, height: int = 24) -> str:
    console = Console(record=True, width=width, height=height, file=StringIO(), force_terminal=True, _environ={})
    console.print(what)
    return console.export_text()


def scene(**changes: Any) -> Scene:
    return Scene(seconds=20, phase="trading", elapsed_s=9.6, orders_per_s=120.4, snapshot=SNAPSHOT | changes)


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60), (60, 20), (40, 10)])
@pytest.mark.parametrize("accounts", [0, 1, 6, 32])
def test_a_picture_fits_its_screen(width: int, height: int, accounts: int) -> None:
    rows = [account(f"FUND-{number}", 1000.0, 31.0 * number) for number in range(accounts)]
    text = rendered(picture(scene(accounts=rows), width, height), width, height)
    lines = text.splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_picture_tells_what_matters() -> None:
    text = re.sub(" +", " ", rendered(picture(scene(), 80, 24)))
    for words in (
        "● deribit 42 ms", "● okx reconciling", "● DESK-1", "10 of 20 s trading", "1,234", "per s 120", "FUND-1", "95%",
        "halted", "unknown", "reject p50 31 p99 80", "accept p50 900 p99 2,100", "12,000", "4,321",
    ):  # fmt: skip
        assert words in text, words


def test_reasons_are_ranked() -> None:
    text = rendered(picture(scene(), 80, 24))
    positions = [text.index(name) for name in ("margin shortfall", "rate above limit", "duplicate ClOrdID")]
    assert positions == sorted(positions)


def test_what_does_not_fit_is_counted() -> None:
    many = {f"REASON_{number}": 10 + number for number in range(9)}
    text = rendered(picture(scene(rejects_by_code=many), 80, 24))
    assert "reason 8 " in text
    assert "4 other reasons" in text
    assert f" {10 + 11 + 12 + 13} " in text
    assert "16 sessions" in rendered(picture(scene(sessions=[f"DESK-{n}" for n in range(16)]), 80, 24))


def test_a_high_screen_names_every_reason() -> None:
    many = {f"REASON_{number}": 10 + number for number in range(12)}
    text = rendered(picture(scene(rejects_by_code=many), 100, 36), 100, 36)
    assert all(f"reason {number} " in text for number in range(12))
    assert "other reasons" not in text


def test_a_low_screen_shows_the_accounts_in_danger() -> None:
    rows = [account(f"FUND-{number}", 1000.0, 31.0 * number) for number in range(32)]
    text = rendered(picture(scene(accounts=rows), 80, 24))
    assert "FUND-31" in text
    assert "FUND-0 " not in text


def test_the_first_picture_has_no_figures() -> None:
    text = rendered(picture(Scene(seconds=20, phase="starting the venues"), 80, 24))
    assert "starting the venues" in text
    assert "none yet" in text


def test_alerts_come_before_events() -> None:
    shown = scene(alerts=["old", "sim-deribit: halted", "journal: full"])
    shown.events.extend([fill("first"), fill("second")])
    lines = [line for line in rendered(picture(shown, 80, 40), 80, 40).splitlines() if line.startswith("│")]
    words = [
        line.split()[1] for line in lines[-40:] if line.split()[1] in ("sim-deribit:", "journal:", "filled", "old")
    ]
    assert words == ["sim-deribit:", "journal:", "filled", "filled"]


def fill(account_name: str) -> dict[str, Any]:
    order = {"side": "buy", "quantity": "10", "symbol": "BTC-PERPETUAL", "price": "65000.0"}
    return {"event": "filled", "client": "DESK-1", "account": account_name, "text": ""} | order


def test_an_event_tells_the_reason_first() -> None:
    told = fill("FUND-1") | {"event": "rejected", "text": "MARGIN_SHORTFALL initial margin above equity, in USD"}
    expected = "rejected FUND-1   MARGIN_SHORTFALL buy 10 BTC-PERPETUAL at 65000.0  initial margin above equity, in USD"
    assert event_line(told).plain == expected
    assert event_line(fill("FUND-1")).plain == "filled   FUND-1   buy 10 BTC-PERPETUAL at 65000.0"


def test_progress_line() -> None:
    assert progress_line(scene()) == (
        "  9.6 s  orders 1,234  accepted 1,000  rejected 234  fills 300  cancels 480  p50 reject 31 us  accept 900 us"
    )
    assert "p50 reject - us" in progress_line(Scene(seconds=1))


@pytest.mark.parametrize(
    ("equity", "margin", "use"),
    [(100.0, 50.0, 0.5), (0.0, 50.0, float("inf")), (-1.0, 1.0, float("inf")), (None, 1.0, None), (1.0, None, None)],
)
def test_margin_use(equity: float | None, margin: float | None, use: float | None) -> None:
    assert margin_use(account("A", equity, margin)) == use


def test_a_bar_is_readable_without_colour() -> None:
    bars = [bar(share, 4, "red").plain for share in (-1.0, 0.0, 0.5, 1.0, float("inf"))]
    assert bars == ["┈┈┈┈", "┈┈┈┈", "━━┈┈", "━━━━", "━━━━"]


# -- what must hold ---------------------------------------------------------------------------------------------------


def outcome(**changes: Any) -> Outcome:
    told = Total()
    counts = {"orders": 1234, "accepted": 1000, "fills": 300, "cancelled": 480, "replaced": 54, "venue_rejects": 7}
    told.add(counts | {"rejects": {"701": 120, "401": 14, "403": 100}}, 0)
    return Outcome(SNAPSHOT | changes, told, 4321, "ab" * 32, True, 9.6, True)


def test_a_good_run_has_no_faults() -> None:
    assert outcome().faults() == []
    text = rendered(summary(outcome()), 80, 60)
    assert "✓ replay: 4,321 records, state hash equal (abababababab)" in text
    assert "✓ 1 clients were told what the gateway counted, in 9 counts" in text
    assert "✗" not in text
    assert max(map(len, text.splitlines())) <= 80


BROKEN = [
    ({"state_hash": "cd" * 32}, "DIFFERENT"),
    ({"journal_records": 4322}, "replay: 4,321 records"),
    ({"orders_in": 1235}, "1,000 accepted + 234 rejected = 1,235 in"),
    ({"checks_run": 10_999}, "10,999 checks run"),
    ({"unknown": 2}, "2 orders of unknown outcome"),
    ({"fills": 0}, "0 fills"),
    ({"fills": 299}, "fills: 300 told, 299 counted"),
    ({"rejects_by_code": {"MARGIN_SHORTFALL": 234}}, "MARGIN_SHORTFALL: 120 told, 234 counted"),
    ({"venue_rejects": 0}, "venue's rejects: 7 told, 0 counted"),
]


@pytest.mark.parametrize(("changes", "words"), BROKEN)
def test_whatever_does_not_hold_is_shown(changes: dict[str, Any], words: str) -> None:
    broken = outcome(**changes)
    assert any(words in fault for fault in broken.faults())
    assert "✗" in rendered(summary(broken), 120, 60)


def test_a_run_cut_short_need_not_have_filled_anything() -> None:
    told = Total()
    none = {"accepted": 1000, "orders": 1234, "fills": 0, "rejects_by_code": {}, "cancelled": 0, "replaced": 0}
    told.add({"orders": 1234, "accepted": 1000, "rejects": {}}, 0)
    cut_short = Outcome(SNAPSHOT | none | {"venue_rejects": 0}, told, 4321, "ab" * 32, True, 0.1, False)
    assert cut_short.faults() == []


def test_plain_kernels_are_named() -> None:
    plain = msgspec.structs.replace(outcome(), is_compiled=False)
    assert "plain Python" in rendered(summary(plain), 80, 60)
    assert plain.as_json()["compiled"] is False


# -- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "rate"), [(1, 1.0), (3, 40.0), (16, 1000.0)])
def test_the_gateway_takes_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, rate: float
) -> None:
    clients = desks(count)
    url = "ws://127.0.0.1:1234/ws/api/v2"
    addresses = {venue.name: "127.0.0.1:1235" for venue in VENUES} | {"sim-deribit": url}
    config = load(write_config(tmp_path, port=4321, addresses=addresses, clients=clients, rate=rate))
    assert [session.target_comp_id for session in config.fix.session] == [desk.comp_id for desk in clients]
    assert len({account.name for account in config.account}) == 2 * count
    assert config.venue[0].url == url
    assert [venue.kind for venue in config.venue] == ["deribit", "binance-usdm", "okx", "bybit"]
    assert {venue.url for venue in config.venue[1:]} == {"ws://127.0.0.1:1235"}
    for name, value in credentials().items():
        monkeypatch.setenv(name, value)
    for venue in config.venue:
        make_session(venue, load_credentials(venue), None)  # each takes the budgets that it is given


# -- children ---------------------------------------------------------------------------------------------------------

TALKER = """
import sys
print('{"a": 1}')
print('hm')
print('{"a": 2}')
sys.stderr.write('oh\\nno\\n')
sys.exit(3)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"ready": true}', flush=True)
while True:
    time.sleep(60)
"""


def test_a_childs_lines_and_last_words(tmp_path: Path) -> None:
    (tmp_path / "talker.py").write_text(TALKER)

    async def run() -> tuple[list[dict[str, Any]], str]:
        lines: list[dict[str, Any]] = []
        child = await Child.start("the talker", ["talker"], lines.append, {"PYTHONPATH": str(tmp_path)})
        await child.ended
        with pytest.raises(ChildDiedError, match="the talker ended with code 3"):
            await child.stop(1.0)
        await child.end()
        return lines, child.last_words()

    lines, words = asyncio.run(run())
    assert lines == [{"a": 1}, {"a": 2}]
    first, *others = words.splitlines()
    assert first == "the talker ended with code 3"
    assert sorted(others) == ["    hm", "    no", "    oh"]


def test_a_child_that_will_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_children, "KILL_GRACE_S", 0.05)
    (tmp_path / "stubborn.py").write_text(STUBBORN)

    async def run() -> str:
        ready = asyncio.Event()
        child = await Child.start("the stubborn", ["stubborn"], lambda line: ready.set(), {"PYTHONPATH": str(tmp_path)})
        await ready.wait()
        assert child.last_words() == "the stubborn is not ready"
        with pytest.raises(ChildDiedError, match=r"the stubborn did not stop within 0\.05 s"):
            await child.stop(0.05)
        await child.end()
        return child.last_words()

    assert asyncio.run(run()) == "the stubborn died of signal 9"


# -- the whole thing --------------------------------------------------------------------------------------------------


def test_end_to_end() -> None:
    """The project's proof over real TCP and WebSocket: every invariant of a run, from outside."""
    ran = subprocess.run(
        [*COMMAND, "--json", "--seconds", "6", "--seed", "3"],
        capture_output=True, cwd=ROOT, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ran.returncode == EXIT_OK, ran.stderr.decode()
    (line,) = ran.stdout.splitlines()
    told = json.loads(line)
    assert told["replay_hash"] == told["state_hash"]
    assert told["checks_configured"] == len(CHECKS)
    assert told["checks_run"] == told["checks_configured"] * told["accepted"]
    assert told["accepted"] + told["rejected"] == told["orders_in"]
    assert sum(told["rejects_by_code"].values()) == told["rejected"]
    assert len(told["rejects_by_code"]) >= 5
    assert told["fills"] > 0
    assert told["cancels"] > 0
    assert told["unknown"] == 0
    assert told["journal_records"] > told["orders_in"]
    venues = told["venues"]
    assert venues.keys() == {"sim-deribit", "sim-binance", "sim-okx", "sim-bybit"}
    for venue in venues.values():
        assert venue["state"] == "live" and venue["feed_age_ms"] is not None and venue["accepted"] > 0
    for name in ("accepted", "fills"):
        assert sum(venue[name] for venue in venues.values()) == told[name]
    assert sum(1 for venue in venues.values() if venue["fills"]) >= 2
    assert told["hedged_accounts"]
    assert 6 <= told["duration_s"] < PATIENCE_S
    for which in ("reject", "accept"):
        assert 0 < told["latency_us"][which]["p50"] <= told["latency_us"][which]["p99"]


def test_without_a_screen_it_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(Options(seconds=2.5, seed=1, clients=1, rate=60, as_json=False)) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    phases = ["starting the venues", "starting the gateway", "starting the clients", "trading"]
    assert lines[:4] == phases
    assert re.match(r" +\d+\.\d s  orders ", lines[4])
    assert any("state hash equal" in line for line in lines)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


QUIET = Options(seconds=1, seed=1, clients=1, rate=10, as_json=True)


def test_interrupted_before_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> int:
        demo = Demo(QUIET)
        demo.stop.set()
        return await demo.run()

    assert asyncio.run(run()) == EXIT_INTERRUPTED
    assert capsys.readouterr() == ("", "interrupted before anything was traded\n")


def test_json_with_faults_is_json_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        Demo(QUIET).show_outcome(outcome(unknown=2))

    asyncio.run(run())
    captured = capsys.readouterr()
    assert json.loads(captured.out)["unknown"] == 2
    assert captured.err == "2 orders of unknown outcome\n"


@pytest.mark.parametrize(
    ("line", "words", "timeout_s"),
    [("sys.exit(4)", "ended with code 4", PATIENCE_S), ("sys.stdin.read()", "is not ready", 0.1)],
)
def test_a_child_that_does_not_get_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str, timeout_s: float
) -> None:
    monkeypatch.setattr(demo_module, "START_TIMEOUT_S", timeout_s)
    (tmp_path / "unready.py").write_text(f"import sys\n{line}\n")

    async def run() -> None:
        demo = Demo(QUIET)
        demo.children.append(
            await Child.start("the unready", ["unready"], lambda line: None, {"PYTHONPATH": str(tmp_path)})
        )
        try:
            await demo.ready(lambda: False)
        finally:
            await demo.children[0].end()

    with pytest.raises(ChildDiedError, match=f"the unready {words}"):
        asyncio.run(run())


class Running:
    """A demo in a process of its own that has begun to trade; on a terminal of 80 by 24, or on a pipe."""

    def __init__(self, directory: Path, *, is_on_terminal: bool) -> None:
        self.output = b""
        if is_on_terminal:
            self.screen, terminal = pty.openpty()
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        else:
            self.screen, terminal = os.pipe()
        self.process = subprocess.Popen(
            [*COMMAND, "--seconds", "300", "--clients", "2", "--rate", "20"],
            stdin=terminal if is_on_terminal else subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"TERM": "xterm-256color", "TMPDIR": str(directory)},
            start_new_session=True,
            # The terminal's Ctrl-C goes to whoever it belongs to.
            preexec_fn=_own_terminal if is_on_terminal else None,  # noqa: PLW1509
        )
        os.close(terminal)
        self.read_until(b" s  trading" if is_on_terminal else b"trading")
        pid = self.process.pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        self.children = {self._module(int(child)): os.pidfd_open(int(child)) for child in text.split()}

    @staticmethod
    def _module(pid: int) -> str:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        return words[2] if words[3] != "admin" else "the page"

    def read_until(self, word: bytes | None) -> None:
        """Take what it shows until a word appears; with None, or where there is no such word, until its end."""
        while word is None or word not in self.output:
            try:
                data = os.read(self.screen, 65_536)
            except OSError:  # a terminal that nobody has open any more
                return
            if not data:
                return
            self.output += data

    def all_children_are_gone(self) -> bool:
        """Wait for the end of each child, whosever child it is by then."""
        for pidfd in self.children.values():
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(PATIENCE_S * 1000):
                return False
        return True

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        for descriptor in (self.screen, *self.children.values()):
            os.close(descriptor)


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    demo = Running(tmp_path, is_on_terminal=getattr(request, "param", False))
    yield demo
    demo.close()


def test_a_childs_death_ends_it_and_is_explained(running: Running) -> None:
    assert running.children.keys() == {"fixtures.venues.run", "gateway.cli", "fixtures.fix_client", "the page"}
    signal.pidfd_send_signal(running.children["gateway.cli"], signal.SIGKILL)
    _, errors = running.process.communicate(timeout=PATIENCE_S)
    assert running.process.returncode == EXIT_FAILED
    assert errors.startswith(b"the gateway died of signal 9")
    assert running.all_children_are_gone()


@pytest.mark.parametrize("running", [True], indirect=True)
def test_ctrl_c_ends_the_screen_and_still_gives_a_summary(running: Running) -> None:
    os.write(running.screen, b"\x03")
    running.read_until(None)
    assert running.process.wait(PATIENCE_S) == EXIT_INTERRUPTED, running.output
    enters, leaves = b"\x1b[?1049h", b"\x1b[?1049l"
    assert running.output.index(enters) < running.output.index(leaves)
    assert "state hash equal" in running.output.partition(leaves)[2].decode()
    assert running.all_children_are_gone()


def test_a_killed_demo_leaves_no_orphans(running: Running) -> None:
    running.process.kill()
    assert running.all_children_are_gone()
