"""Sessions that we open over real TCP and TLS on loopback: a whole gateway, its venue, a clearing house and an OMS."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from fixtures.clearing_house import ClearingHouse
from fixtures.fix_acceptor import FixAcceptor
from fixtures.fix_conversation import text
from fixtures.fix_listener import Listener, listening
from fixtures.order_management import OrderManagement
from gateway.config import CredentialsError
from gateway.fix_client import CounterpartyClient
from gateway.journal import read
from gateway.operators.channel import CloseBreak, ListBreaks
from gateway.recovery import replay
from tests.gateway.certificates import Authority
from tests.gateway.live import Live, TcpClient, live, run, until
from tests.gateway.rig import BTC

SECRET = "canary-live-5ecret"


def table(name: str, kind: str, port: int, **changes: str) -> str:
    """A counterparty's table; after [fix] and before its sessions."""
    keys = {
        "name": f'"{name}"', "kind": f'"{kind}"', "host": '"127.0.0.1"', "port": str(port),
        "target_comp_id": f'"{name}"', "accounts": '["alpha"]', "ask_interval_s": "1", "answer_timeout_s": "1",
        "confirm_after_ms": "20", "reconnect_min_ms": "20", "reconnect_max_ms": "50",
    }  # fmt: skip
    return "[[fix.counterparty]]\n" + "".join(f"{key} = {value}\n" for key, value in (keys | changes).items())


def client_of(running: Live, place: int = 0) -> CounterpartyClient:
    return running.app.counterparties.clients[place]


@contextlib.asynccontextmanager
async def cleared(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *acceptors: FixAcceptor, **changes: str
) -> AsyncIterator[tuple[Live, list[Listener]]]:
    """A gateway with its counterparties up."""
    async with contextlib.AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(one)) for one in acceptors]
        text_of = ""
        for one, listener in zip(acceptors, listeners, strict=True):
            kind = "oms" if isinstance(one, OrderManagement) else "clearing_house"
            own = changes if kind == "clearing_house" else {"begin_string": '"FIX.4.4"'}
            text_of += table(one.comp_id, kind, listener.port, **own)
        running = await stack.enter_async_context(live(directory, monkeypatch, extra=text_of))
        for place in range(len(acceptors)):
            await until(lambda place=place: client_of(running, place).link.is_up)  # type: ignore[misc]
        yield running, listeners


def test_a_trade_goes_through_the_venue_to_the_house_and_the_oms_and_all_books_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        house, oms = ClearingHouse(), OrderManagement()
        asks = '["positions", "trades"]'
        async with cleared(tmp_path, monkeypatch, house, oms, asks=asks, reports_trades="true") as (
            running,
            _listeners,
        ):
            core = running.app.core
            client = await (await TcpClient("ALPHA").connect(running.port)).log_on()
            client.order(quantity=100, price=running.price(1.01), tif=3)
            await until(lambda: core.monitor.fills)
            await until(lambda: house.positions("alpha") == {BTC: Decimal(100)})
            for trade in house.trades.values():
                oms.trades[trade.trade_id] = trade
                oms.copy_fill("alpha", BTC, trade.side, trade.quantity, trade.price, trade.trade_id, time.time_ns())
            taken = [one.link.statements.taken for one in running.app.counterparties.clients]
            await until(
                lambda: all(
                    one.link.statements.taken >= before + 4
                    for one, before in zip(running.app.counterparties.clients, taken, strict=True)
                )
            )
            assert not [one for one in core.ledger.open_breaks.open.values() if one.severity.name == "BLOCK"]
            house.faults.wrong_quantity["alpha", BTC] = Decimal(-5)
            await until(lambda: any(one.source == "HOUSE" for one in core.ledger.open_breaks.open.values()))
            snapshot = running.app.snapshot()
            (row,) = [row for row in snapshot["open_breaks"] if row["source"] == "HOUSE"]
            assert (row["kind"], row["ours"], row["theirs"], row["severity"]) == ("position", "100", "-5", "block")
            assert row["evidence"] == "deribit agrees with us"
            assert [row["state"] for row in snapshot["counterparties"]] == ["up", "up"]
            assert core.ledger.accounts["alpha"].state.value == "reducing"
            client.order(quantity=10, price=running.price(1.01), tif=3)
            await client.until(lambda: any(text(m, 20001) == "103" for m in client.told))
            operator = running.app.control.answer
            number = operator(ListBreaks(), "ann")["breaks"][0]["break"]
            assert operator(CloseBreak(number, "moved by hand"), "ann")["closed"]["break"] == number
            assert operator(ListBreaks(is_ended=True), "ann")["breaks"][0]["ending"].endswith("moved by hand")
            assert len(core.ledger.accounts["alpha"].positions) == 1
            wanted = core.state_hash
        assert replay(read(tmp_path / "journal")).state_hash() == wanted()

    run(scenario())


def test_a_connection_that_is_cut_is_dialled_again_and_numbers_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        house = ClearingHouse()
        async with cleared(tmp_path, monkeypatch, house) as (running, listeners):
            link = client_of(running).link
            before = link.state.next_out
            listeners[0].hang_up()
            await until(lambda: link.logons == 2 and link.is_up)
            assert link.state.next_out > before and len(house.logons) == 2
            assert text(house.logons[1], 34) != "1" and text(house.logons[1], 141) == ""

    run(scenario())


def test_nobody_there_is_dialled_with_growing_pauses_inside_their_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=table("HOUSE", "clearing_house", 1)) as running:
            client = client_of(running)
            await until(lambda: client.attempts >= 3)
            assert "can not connect" in client.link.trouble
            assert sum("can not connect" in alert for alert in running.app.core.monitor.alerts) == 1
            client._jitter = lambda: 1.0
            ceilings = [client.pause_s(attempts) for attempts in (0, 1, 2, 50)]
            assert ceilings == [0.02, 0.04, 0.05, 0.05]
            client._jitter = lambda: 0.0
            assert client.pause_s(50) == 0.02

    run(scenario())


def test_a_session_over_tls_with_a_password_that_is_found_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_USERNAME", "gateway")
    monkeypatch.setenv("HOUSE_PASSWORD", SECRET)

    async def scenario() -> None:
        house = ClearingHouse()
        authority = Authority(tmp_path)
        certificate, key = authority.issue("localhost")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
        async with listening(house, context) as listener:
            keys = {"host": '"localhost"', "uses_tls": "true", "ca_file": f'"{authority.file}"',
                    "authentication": '"password"', "credentials_env": '"HOUSE"'}  # fmt: skip
            extra = table("HOUSE", "clearing_house", listener.port, **keys)
            async with live(tmp_path, monkeypatch, extra=extra) as running:
                await until(lambda: client_of(running).link.is_up)
                assert text(house.logons[0], 554) == SECRET
                assert SECRET not in repr(running.app.snapshot())
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path

    run(scenario())


def test_a_gateway_without_its_credentials_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"authentication": '"password"', "credentials_env": '"NOBODY"'}
    text_of = table("HOUSE", "clearing_house", 1, **keys)

    async def scenario() -> None:
        with pytest.raises(CredentialsError, match="NOBODY_USERNAME is not set"):
            async with live(tmp_path, monkeypatch, extra=text_of):
                pass

    run(scenario())
