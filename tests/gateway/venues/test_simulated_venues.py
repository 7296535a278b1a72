"""The gateway end to end on simulated venues: what they have at the end we have, whatever went wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from fixtures.venues.core.faults import Fault, Faults
from risk.account import AccountState
from risk.lifecycle import OrdStatus
from tests.gateway.live import TcpClient, run, until
from tests.gateway.rig import NOW_TEXT
from tests.gateway.simulated_lanes import SYMBOLS, Simulated, desk, simulated

each = pytest.mark.parametrize("kind", list(SYMBOLS))

WRONG = {
    Fault.DROP_BEFORE_ACCEPT: 0.02,
    Fault.DROP_AFTER_ACCEPT: 0.02,
    Fault.REPLY_NEVER_SENT: 0.01,
    Fault.UNKNOWN_NOT_EXECUTED: 0.03,
    Fault.UNKNOWN_THOUGH_EXECUTED: 0.03,
    Fault.ORDER_REJECTED: 0.03,
    Fault.FILLED_BEFORE_CANCEL: 0.1,
    Fault.REPLY_DELAYED: 0.1,
    Fault.REPLY_DUPLICATED: 0.02,
    Fault.NOTIFIED_BEFORE_REPLY: 0.3,
    Fault.SERVER_ERROR: 0.01,
    Fault.NOTIFICATION_DUPLICATED: 0.05,
    Fault.NOTIFICATION_DELAYED: 0.05,
    Fault.NOTIFICATION_LOST: 0.02,
    Fault.BOOK_GAP: 0.01,
    Fault.BOOK_DUPLICATED: 0.01,
    Fault.MARKET_DELAYED: 0.05,
    Fault.FRAGMENTED: 0.02,
    Fault.DISCONNECT: 0.01,
    Fault.PINGED: 0.05,
}


@each
def test_orders_fill_are_amended_and_cancelled_and_positions_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def scenario() -> None:
        async with simulated(tmp_path, monkeypatch, kind) as running:
            await running.ready()
            client, symbol, ledger = await desk(running), running.symbols()[0], running.core.ledger
            client.order(symbol=symbol, quantity=running.quantity(symbol, 5), ord_type=1, price=None)
            resting = client.order(
                symbol=symbol, quantity=running.quantity(symbol, 4), price=running.price(symbol, 0.98)
            )
            await until(lambda: sorted(order.status for order in ledger.orders.values()) == ["0", "2"])
            fields = [(11, "r1"), (41, resting), (38, running.quantity(symbol, 3)), (40, 2), (54, 1), (55, symbol)]
            client.send("G", *fields, (44, running.price(symbol, 0.97)), (59, 1), (60, NOW_TEXT))
            order = list(ledger.orders.values())[1]
            await until(lambda: order.lots == 3 and order.replace is None)
            client.send("F", (11, "c1"), (41, "r1"), (38, 1), (54, 1), (55, symbol), (60, NOW_TEXT))
            await until(lambda: order.status is OrdStatus.CANCELED)
            await settled(running)

    run(scenario())


async def settled(running: Simulated) -> None:
    """Nothing is on its way, and both sides have the same positions and open orders."""
    await running.at_rest()
    for kind in running.servers:
        await until(lambda kind=kind: running.positions(kind) == running.theirs(kind),  # type: ignore[misc]
                    f"{kind}: ours {running.positions(kind)}, theirs {running.theirs(kind)}")  # fmt: skip
    assert not running.core.ledger.breaks, list(running.core.ledger.breaks)
    assert all(account.state is AccountState.TRADING for account in running.core.ledger.accounts.values())


def test_whatever_goes_wrong_the_venues_and_we_have_the_same_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with simulated(tmp_path, monkeypatch, *SYMBOLS, faults=lambda: Faults(7, WRONG)) as running:
            await traded(running, seed=7, orders=120)
            await settled(running)

    run(scenario())


async def traded(running: Simulated, *, seed: int, orders: int) -> None:
    """Order at random with faults on; then switch them off, and cancel what works."""
    random = Random(seed)
    await running.ready()
    client = await desk(running)
    symbols = running.symbols()
    for _ in range(orders):
        symbol = random.choice(symbols)
        side = random.choice((1, 2))
        quantity = running.quantity(symbol, random.randint(2, 6))
        away = random.choice((-0.001, -0.01, 0.001)) * (1 if side == 1 else -1)
        price = running.price(symbol, 1 + away)
        client.order(symbol=symbol, side=side, quantity=quantity, price=price, tif=random.choice((1, 1, 3)))
        if random.random() < 0.4:
            change(running, client, random)
        await asyncio.sleep(0.02)
    for server in running.servers.values():
        server.venue.faults.probability.clear()
        server.venue.faults.occasions.clear()
    await running.ready()
    await running.at_rest()
    for order in list(running.core.ledger.working_orders()):
        cancel(client, order.cl_ord_id, order.instrument.symbol, int(order.side))
    await until(lambda: not any(running.core.ledger.working_orders()), "orders that nothing ends")


def change(running: Simulated, client: TcpClient, random: Random) -> None:
    """Amend or cancel one that works."""
    working = [order for order in running.core.ledger.working_orders() if not order.replace]
    if not working:
        return
    order = random.choice(working)
    symbol = order.instrument.symbol
    if random.random() < 0.5:
        cancel(client, order.cl_ord_id, symbol, int(order.side))
        return
    client.count += 1
    fields = [(11, f"r{client.count}"), (41, order.cl_ord_id), (40, 2), (54, int(order.side)), (55, symbol)]
    quantity = running.quantity(symbol, order.lots + random.randint(-1, 2) or 1)
    client.send("G", *fields, (38, quantity), (44, running.price(symbol, 0.999)), (60, NOW_TEXT))


def cancel(client: TcpClient, cl_ord_id: str, symbol: str, side: int) -> None:
    client.count += 1
    client.send("F", (11, f"c{client.count}"), (41, cl_ord_id), (38, 1), (54, side), (55, symbol), (60, NOW_TEXT))
