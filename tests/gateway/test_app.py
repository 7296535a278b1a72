"""The whole gateway: FIX over TCP on one side, the simulated venue's WebSocket on the other, processes that die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import sys
import traceback
from pathlib import Path
from typing import Any

import orjson
import pytest

from fixtures.fix_conversation import text
from fixtures.venues.server import serve
from gateway import config as configuration
from gateway.app import App
from gateway.clock import now_ns
from gateway.config.credentials import load_credentials
from gateway.journal import read
from gateway.recovery import replay
from protocols.fix.codec import format_timestamp
from risk.account import AccountState
from risk.lifecycle import OrdStatus
from tests.gateway.certificates import Authority
from tests.gateway.live import (
    PATIENCE_S,
    SECRET,
    Live,
    TcpClient,
    config_text,
    environment,
    key_pair,
    live,
    make_venue,
    run,
    until,
)  # fmt: skip
from tests.gateway.rig import BTC, shown
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


async def filled_buy(gateway: Live, client: TcpClient) -> None:
    """Buy 100 through the spread."""
    client.order(price=gateway.price(1.01), tif=3)
    await client.until(lambda: any(text(m, 39) == "2" for m in client.told))


def test_an_order_is_checked_sent_filled_and_moves_the_margin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch) as gateway:
            core = gateway.app.core
            client = await (await TcpClient().connect(gateway.port)).log_on()
            before = margin(gateway)
            await filled_buy(gateway, client)
            await until(lambda: margin(gateway) > before)
            resting = client.order(price=gateway.price(0.98))
            await client.until(lambda: shown(client.told, 11, 39)[-1] == ("8", resting, "0"))
            client.send("F", (11, "c"), (41, resting), (38, 100), (54, 1), (55, BTC), (60, "20260101-00:00:00.000"))
            await client.until(lambda: shown(client.told, 11, 39)[-1] == ("8", "c", "4"))
            client.order(symbol="DOGE")
            client.order(price=gateway.price(2.0))
            await client.until(lambda: [text(m, 20001) for m in client.told[-2:]] == ["201", "501"])
            kept = client.order(price=gateway.price(0.98), cl_ord_id="kept")
            await client.until(lambda: text(client.told[-1], 11) == kept and text(client.told[-1], 39) == "0")
            snapshot = gateway.app.snapshot()
            assert snapshot["checks_run"] == snapshot["checks_configured"] * snapshot["accepted"]
            assert snapshot["venues"] == {"deribit": "live"} and snapshot["sessions"] == ["ALPHA"]
            assert orjson.dumps(snapshot)
            trades = gateway.venue.trades("margingate")
            assert sum(trade.amount for trade in trades) == 100 and snapshot["fills"] == len(trades)
            alpha = next(row for row in snapshot["accounts"] if row["account"] == "alpha")
            assert alpha["positions"] == 1 and alpha["working_orders"] == 1
        # A stop cancels what is watched by nobody any more, and waits until the venue has said so.
        order = core.ledger.orders[list(core.ledger.orders)[-1]]
        assert order.cl_ord_id == "kept" and order.status is OrdStatus.CANCELED and not core.ledger.breaks
        assert replay(read(tmp_path / "journal")).state_hash() == core.state_hash()

    run(scenario())


def test_orders_with_terms_over_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A market order fills, a GTD order ends by the gateway's own timer, a stop rests until it is swept away."""

    async def scenario() -> None:
        async with live(tmp_path, monkeypatch) as gateway:
            client = await (await TcpClient().connect(gateway.port)).log_on()
            now = "20260101-00:00:00.000"
            client.order(ord_type=1, price=None, cl_ord_id="m")
            await client.until(lambda: shown(client.told, 11, 39)[-1:] == [("8", "m", "2")])
            fields = [(38, 100), (54, 1), (55, BTC), (60, now)]
            for life_ns in (200_000_000, 2_000_000_000, 10_000_000_000):  # too short for a busy machine, perhaps
                end, name = format_timestamp(now_ns() + life_ns).decode(), f"g{life_ns}"
                price = gateway.price(0.98)
                client.send("D", (11, name), *fields, (40, 2), (44, price), (59, 6), (126, end))
                await client.until(lambda: text(client.told[-1], 39) in ("8", "C"))
                if text(client.told[-1], 39) == "C":
                    break
            assert shown(client.told, 11, 150, 39)[-1] == ("8", name, "C", "C")
            stop = gateway.price(1.02)
            client.send("D", (11, "s"), *fields, (40, 3), (99, stop), (59, 1))
            await client.until(lambda: shown(client.told, 11, 150, 39)[-1:] == [("8", "s", "0", "0")])
            (order,) = gateway.venue.open_orders("margingate")
            assert (order.state, order.order_type, order.trigger) == ("untriggered", "stop_limit", "mark_price")
            client.send("q", (11, "q"), (530, 7), (60, now))
            await client.until(lambda: shown(client.told, 11, 150, 39)[-1:] == [("8", "s", "4", "4")])
            assert [text(m, 533) for m in client.told if text(m, 35) == "r"] == ["1"]
            assert gateway.venue.open_orders("margingate") == []

    run(scenario())


def margin(gateway: Live) -> float:
    alpha = next(row for row in gateway.app.core.account_rows() if row["account"] == "alpha")
    return float(alpha["initial_margin"] or 0.0)


class Process:
    """`margingate run` in a process of its own, which does not outlive its `async with`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aenter__(self) -> Process:
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "faulthandler", "-m", "gateway.cli", "run", str(self.path), "--status-json",
            cwd=ROOT, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.child.returncode is None:
            self.child.kill()
            await self.child.communicate()

    async def status(self, condition: Any) -> dict[str, Any]:
        """The first status line that makes the condition true."""
        assert self.child.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := await self.child.stdout.readline():
                snapshot: dict[str, Any] = orjson.loads(line)
                if condition(snapshot):
                    return snapshot
        assert self.child.stderr is not None
        raise AssertionError((await self.child.stderr.read()).decode())

    async def end(self, number: signal.Signals) -> int:
        """Signal it and wait for its end; one that hangs is made to say where."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)
        try:
            await asyncio.wait_for(self.child.communicate(), PATIENCE_S)
        except TimeoutError:
            self.child.send_signal(signal.SIGABRT)
            _, errors = await self.child.communicate()
            raise AssertionError(f"it does not end:\n{errors.decode()}") from None
        assert self.child.returncode is not None
        return self.child.returncode


def is_ready(snapshot: dict[str, Any]) -> bool:
    return snapshot["venues"]["deribit"] == "live" and snapshot["accounts"][0]["equity"] is not None


def test_kill_9_and_start_again(tmp_path: Path) -> None:
    """The journal gives back orders and numbers; what the client missed is resent; its orders work on."""

    async def scenario() -> None:
        venue = make_venue()
        async with serve(venue, compression=None) as url, contextlib.AsyncExitStack() as processes:
            port = free_port()
            path = tmp_path / "gateway.toml"
            rules = "cancel_on_disconnect = false\nreconnect_min_ms"  # the venue keeps our orders
            path.write_text(
                config_text(url, port).replace("reconnect_min_ms", rules) + "[monitor]\nreport_interval_ms = 100\n"
            )
            first = await processes.enter_async_context(Process(path))
            await first.status(is_ready)
            client = await (await TcpClient("BETA").connect(port)).log_on()
            price = int(venue.listing(BTC).mark() * 0.99)
            client.order(account="beta", cl_ord_id="o", price=price)
            await client.until(lambda: shown(client.told, 11, 39) == [("8", "o", "0")])
            # The report is as if it had never arrived, nor what came behind it: a heartbeat, on a slow machine.
            client.fix.next_in = int(text(client.told[-1], 34))
            assert await first.end(signal.SIGKILL) == -9
            await client.until(lambda: client.is_closed)
            assert replay(read(tmp_path / "journal")).reports.sessions["BETA"].next_in == client.fix.next_out
            second = await processes.enter_async_context(Process(path))
            started = await second.status(is_ready)
            assert started["recovered_records"] > 10
            again = TcpClient("BETA", client.fix)
            await (await again.connect(port)).log_on(resets=False)
            await again.until(lambda: again.told)
            assert shown(again.told, 11, 39, 43) == [("8", "o", "0", "Y")]
            again.order(account="beta", cl_ord_id="o", price=price)
            await again.until(lambda: text(again.told[-1], 20001) == "401")
            again.send("F", (11, "c"), (41, "o"), (38, 100), (54, 1), (55, BTC), (60, "20260101-00:00:00.000"))
            await again.until(lambda: shown(again.told, 11, 39)[-1] == ("8", "c", "4"))
            assert venue.open_orders("margingate") == []
            assert await second.end(signal.SIGTERM) == 0
            recovered = replay(read(tmp_path / "journal"))
            assert recovered.ledger.order_count == 1 and not recovered.ledger.breaks

    run(scenario())


def test_an_address_that_others_can_reach_speaks_tls_1_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("localhost")
    files = f'listen_host = "0.0.0.0"\ntls_certificate_file = "{chain}"\ntls_key_file = "{key}"'
    public_key, credentials = key_pair()

    async def scenario() -> None:
        session = f'authentication = "ed25519"\npublic_key = "{public_key}"'
        async with live(tmp_path, monkeypatch, extra_fix=files, extra_session=session) as gateway:
            context = authority.trusted()
            client = await TcpClient().connect(gateway.port, tls=context)
            await client.log_on(credentials=credentials)
            assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            client.order(symbol="DOGE")
            await client.until(lambda: client.told)
            old = authority.trusted()
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await TcpClient().connect(gateway.port, tls=old)
            plain = await TcpClient("BETA").connect(gateway.port)
            await plain.log_on(reads=False, credentials=credentials)
            plain.read()
            await plain.until(lambda: plain.is_closed)
            assert not plain.fix.is_logged_on and client.fix.is_logged_on
            await until(lambda: gateway.app.snapshot()["connections_refused"] == {"no TLS handshake": 2})
            states = [account.state for account in gateway.app.core.ledger.accounts.values()]
            assert set(states) == {AccountState.TRADING}  # a stranger's bad handshake is no bug of ours

    run(scenario())


def test_the_secret_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through a refused login, a lost connection and an exception: not in journal, logs, alerts, status or errors."""
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, waits=False, credentials={"margingate": "another"}) as gateway:
            monitor = gateway.app.core.monitor
            await until(lambda: any("halted" in alert for alert in monitor.alerts))
            client = await (await TcpClient().connect(gateway.port)).log_on()
            client.order()
            await client.until(lambda: client.told)
            venue = gateway.app.venues[0]
            seen = [
                str(gateway.app.snapshot()),
                str([getattr(monitor, name) for name in monitor.__slots__]),
                repr(venue.link.session),
                repr(venue.link.__dict__),
            ]
            seen += [repr(load_credentials(gateway.app.config.venue[0])), repr(gateway.app.config)]
            try:
                venue.link.session.place("x", "y", True, "1", "1", "limit", "fill_or_kill", False, False, 0)
            except Exception as error:
                seen += traceback.format_exception(error)
            assert not [line for line in seen if SECRET in line]

    run(scenario())
    files = [path.read_bytes() for path in (tmp_path / "journal").iterdir()]
    output = capfd.readouterr()
    assert files and not any(SECRET.encode() in data for data in files)
    # The venue's own log has it, of course: it is the other side.
    ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert SECRET not in "".join(ours) + output.out + output.err


def test_an_error_of_ours_halts_and_cancels_and_one_of_the_world_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch) as gateway:
            core, loop = gateway.app.core, asyncio.get_running_loop()
            client = await (await TcpClient().connect(gateway.port)).log_on()
            resting = client.order(price=gateway.price(0.98))
            await client.until(lambda: client.told)
            loop.call_exception_handler({"message": "accept failed", "exception": OSError(24, "Too many open files")})
            assert core.ledger.accounts["alpha"].state is AccountState.TRADING
            assert "accept failed" in core.monitor.alerts[-1]
            loop.call_exception_handler({"message": "a bug", "exception": ZeroDivisionError("x")})
            assert {account.state for account in core.ledger.accounts.values()} == {AccountState.HALTED}
            assert any("ZeroDivisionError" in alert for alert in core.monitor.alerts)
            await client.until(lambda: shown(client.told, 11, 39)[-1] == ("8", resting, "4"))
            client.order()
            await client.until(lambda: text(client.told[-1], 20001) == "102")

    run(scenario())


def test_trouble_of_the_valuation_and_the_journal_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch) as gateway:
            app = gateway.app

            def broken(now_ns: int) -> None:
                raise RuntimeError("no arrays")

            app.core.valuation.begin = broken  # type: ignore[method-assign]
            await until(lambda: any("valuation failed: RuntimeError: no arrays" in a for a in app.core.monitor.alerts))
            app.journal._keeper.shortage = "segment 2 cannot be prepared"
            app._watch_journal()
            app._watch_journal()
            told = [alert for alert in app.core.monitor.alerts if "segment 2" in alert]
            assert len(told) == 1
            app.journal._keeper.shortage = None

    run(scenario())


def test_status_is_published_until_the_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra_fix="") as gateway:
            stop = asyncio.Event()
            seen: list[dict[str, Any]] = []

            def publish(snapshot: dict[str, Any]) -> None:
                seen.append(snapshot)
                stop.set()

            gateway.app.config = configuration.parse(
                config_text("ws://127.0.0.1:1/", 9880) + "[monitor]\nreport_interval_ms = 100\n", Path("x.toml")
            )
            await gateway.app.run(stop, publish)
            assert len(seen) == 1 and seen[0]["journal_records"] > 0

    run(scenario())


def test_a_torn_tail_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch) as gateway:
            sequence = gateway.app.journal.next_sequence
            assert sequence > 1
        segment = sorted((tmp_path / "journal").glob("*.mgj"))[-1]
        data = bytearray(segment.read_bytes())
        end = len(bytes(data).rstrip(b"\0"))
        data[end - 6 : end] = bytes(6)
        segment.write_bytes(data)
        app = App(configuration.load(tmp_path / "gateway.toml"))
        try:
            assert any("torn record" in alert for alert in app.core.monitor.alerts)
        finally:
            app.journal.close()

    run(scenario())
