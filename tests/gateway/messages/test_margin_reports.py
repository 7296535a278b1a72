"""Positions (AN, AO, AP), collateral (BB, BG, BA), margin (CH, CI, CJ) and account summaries (CQ) by FIX."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.margin.figures import MAINTENANCE_FACTOR, Figures, figures_of
from gateway.messages import margin_subscriptions
from gateway.messages.margin_scope import is_today
from protocols.fix.codec import Message
from tests.gateway.readers import Client, config_of, shown
from tests.gateway.rig import BTC, ETH, SECOND, Rig, accepted, filled, full_journal, listed, opened

FIX44, FIX50 = "FIX.4.4", "FIXT.1.1"
TODAY = b"20251009"
PARTY = ((453, b"1"), (448, b"alpha"), (447, b"D"), (452, b"24"))
D = Decimal


def trade(rig: Rig, client: Client, name: bytes, side: int, quantity: int, symbol: str = BTC, *, fills: int = 0) -> Any:
    """An order that works, filled in part."""
    price = b"59000" if symbol == BTC else b"2000"
    client.ask(
        "D", (1, b"alpha"), (11, name), (38, b"%d" % quantity), (40, b"2"), (44, price), (54, b"%d" % side),
        (55, symbol.encode()), (59, b"1"), (60, b"20251009-08:53:20.000"),
    )  # fmt: skip
    order = list(rig.ledger.orders.values())[-1]
    rig.hear(accepted(order))
    if fills:
        rig.hear(filled(order, fills, f"t-{name.decode()}"))
    client.pump()
    return order


def ask_positions(client: Client, *further: tuple[int, bytes], **changes: bytes | None) -> list[Message]:
    values: dict[int, bytes | None] = {710: b"p1", 724: b"0", 1: b"alpha", 581: b"1", 715: TODAY,
                                       60: b"20251009-08:53:20.000"}  # fmt: skip
    values |= {int(tag[1:]): value for tag, value in changes.items()}
    fields = [(tag, value) for tag, value in values.items() if value is not None]
    return client.ask("AN", *fields[:3], *PARTY, *fields[3:], *further)


# -- positions


@pytest.mark.parametrize("version", [FIX44, FIX50])
def test_positions_are_told_one_by_one(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)
        trade(rig, client, b"a", 1, 5_000, fills=5_000)
        trade(rig, client, b"b", 2, 300, ETH, fills=200)
        (ack,) = ask_positions(client)
        assert shown(ack, 710, 727, 728, 729, 1) == (b"AO", b"p1", b"2", b"0", b"0", b"alpha")
        long, short = client.turn()
        assert shown(long, 710, 727, 728, 55, 1, 715, 15) == (
            b"AP", b"p1", b"2", b"0", BTC.encode(), b"alpha", TODAY, b"BTC",
        )  # fmt: skip
        assert shown(long, 730, 731) == (b"AP", b"60000", b"2")
        assert long.groups(702, (703, 704, 705)) == [(b"TOT", b"5000", None)]
        assert short.groups(702, (703, 704, 705)) == [(b"TOT", None, b"200")]
        cash, profit = (D((amount or b"").decode()) for _, amount in long.groups(753, (707, 708)))
        assert cash == D(rig.ledger.accounts["alpha"].positions[0].cash_units).scaleb(-8)
        assert profit == pytest.approx(cash - D(5_000) / D(60_000), abs=D("1e-8"))
        rig.check_replay()


@pytest.mark.parametrize(
    ("further", "changes", "result"),
    [
        ((), {"_724": b"1"}, b"4"),
        ((), {"_1": b"beta"}, b"3"),
        ((), {"_1": b"nobody"}, b"3"),
        (((55, b"DOGE"),), {}, b"1"),
        (((263, b"2"),), {}, b"99"),
        (((725, b"1"),), {}, b"1"),
        (((726, b"here"),), {}, b"1"),
        (((386, b"1"), (336, b"nowhere")), {}, b"1"),
        ((), {"_715": b"20251001"}, b"1"),
        ((), {"_715": b"20251399"}, b"1"),
        ((), {"_710": b"x" * 65}, b"1"),
    ],
)
def test_requests_for_positions_that_are_refused(
    tmp_path: Path, further: tuple[tuple[int, bytes], ...], changes: dict[str, bytes], result: bytes
) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        told = ask_positions(Client(rig, FIX50), *further, **changes)
        if changes.get("_715") == b"20251399":
            assert told == []  # no date at all: Reject(3)
            return
        (ack,) = told
        assert shown(ack, 728, 729) == (b"AO", result, b"2")
        assert ack.get(58)
        assert client_is_told_nothing_more(rig)


def client_is_told_nothing_more(rig: Rig) -> bool:
    rig.core.inquiries.run(rig.now_ns)
    return len(rig.core.inquiries.margin) == 0


@pytest.mark.parametrize(
    ("further", "count"), [(((55, BTC.encode()),), 1), (((15, b"ETH"),), 1), (((386, b"1"), (336, b"deribit")), 2)]
)
def test_positions_of_a_scope(tmp_path: Path, further: tuple[tuple[int, bytes], ...], count: int) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        (ack,) = ask_positions(client, *further)
        assert shown(ack, 727, 728, 729) == (b"AO", b"0", b"2", b"1")
        trade(rig, client, b"a", 1, 5_000, fills=5_000)
        trade(rig, client, b"b", 2, 300, ETH, fills=200)
        (ack,) = ask_positions(client, *further)
        assert shown(ack, 727, 728, 729) == (b"AO", b"%d" % count, b"0", b"0")
        assert len(client.turn()) == count


def test_a_position_without_a_mark_says_so(tmp_path: Path) -> None:
    for version, price in ((FIX44, b"0"), (FIX50, b"")):
        with opened(tmp_path / version, config=config_of(version)) as rig:
            client = Client(rig, version)
            trade(rig, client, b"a", 1, 5_000, fills=5_000)
            rig.now_ns += 3600 * SECOND
            ask_positions(client)
            (told,) = client.turn()
            assert shown(told, 728, 730, 58) == (b"AP", b"99", price, b"the mark is stale")
            assert [kind for kind, _ in told.groups(753, (707, 708))] == [b"CASH"]


@pytest.mark.parametrize("version", [FIX44, FIX50])
def test_changes_of_positions_are_told(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)
        (ack,) = ask_positions(client, (263, b"1"))
        assert shown(ack, 727, 728, 729) == (b"AO", b"0", b"2", b"0")
        assert client.turn() == []
        (again,) = ask_positions(client, (263, b"1"))
        assert shown(again, 728, 729, 58) == (b"AO", b"99", b"2", b"a subscription has this id")
        order = trade(rig, client, b"a", 1, 5_000, fills=2_000)
        (told,) = client.turn()
        assert shown(told, 710, 325, 55) == (b"AP", b"p1", b"Y", BTC.encode())
        assert told.groups(702, (703, 704)) == [(b"TOT", b"2000")]
        rig.hear(filled(order, 3_000, "t2"))
        client.pump()
        with full_journal(rig):
            assert client.turn() == []
        (told,) = client.turn()  # what could not leave leaves later
        assert told.groups(702, (703, 704)) == [(b"TOT", b"5000")]
        assert client.turn() == []
        trade(rig, client, b"c", 2, 5_000, fills=5_000)
        (told,) = client.turn()
        assert told.groups(702, (703, 704)) == [(b"TOT", b"0")]
        (ack,) = ask_positions(client, (263, b"2"))
        assert shown(ack, 728, 729) == (b"AO", b"0", b"0")
        trade(rig, client, b"d", 2, 100, fills=100)
        assert client.turn() == []


# -- collateral


def ask_collateral(client: Client, *further: tuple[int, bytes], key: bytes = b"c1") -> list[Message]:
    return client.ask("BB", (909, key), *further)


@pytest.mark.parametrize("version", [FIX44, FIX50])
def test_collateral_is_told_in_dollars_then_by_currency(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config_of(version)) as rig:
        client = Client(rig, version)
        trade(rig, client, b"a", 1, 50_000, fills=20_000)
        ack, whole, coin, dollars = ask_collateral(client, (1, b"alpha"))
        assert shown(ack, 909, 945, 946, 911, 1) == (b"BG", b"c1", b"0", b"0", b"3", b"alpha")
        account, market = rig.ledger.accounts["alpha"], rig.core.market
        equity = market.kernel.equity(account.index, market.base_scenario)
        assert shown(whole, 909, 910, 911, 912, 15) == (b"BA", b"c1", b"3", b"3", b"N", b"USD")
        assert float(whole.get(900) or b"") == pytest.approx(equity, abs=0.01)
        assert float(whole.get(899) or b"") == pytest.approx(market.kernel.worst(account.index), abs=0.01)
        cash = account.cash_units["BTC"] - account.positions[0].cash_units
        assert cash == 2 * 10**8 - 1  # the deposit less the fee; the fill's flow is the position's
        assert float(whole.get(901) or b"") == pytest.approx(100_000 + cash * 60_000 / 1e8, abs=0.01)
        assert shown(coin, 15, 912) == (b"BA", b"BTC", b"N")
        assert D((coin.get(901) or b"").decode()) == D(cash).scaleb(-8)
        assert coin.groups(232, (233, 234)) == [(b"HAIRCUT", b"0.18000000")]
        assert float(coin.get(900) or b"") == pytest.approx(cash / 1e8 * 0.82, abs=1e-8)
        assert shown(dollars, 15, 900, 901, 912) == (b"BA", b"USDC", b"100000.00000000", b"100000.00000000", b"Y")
        rig.check_replay()


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        (((1, b"beta"),), b"9"),
        (((1, b"nobody"),), b"9"),
        (((453, b"1"), (448, b"alpha"), (447, b"D"), (452, b"3")), b"3"),
        (((1, b"alpha"), (725, b"1")), b"4"),
        (((1, b"alpha"), (37, b"o")), b"7"),
        (((1, b"alpha"), (124, b"1"), (17, b"e")), b"6"),
        (((938, b"1"), (896, b"4"), (1, b"alpha")), b"8"),
        (((1, b"alpha"), (55, BTC.encode())), b"1"),
        (((263, b"2"), (1, b"alpha")), b"99"),
    ],
)
def test_collateral_inquiries_that_are_refused(
    tmp_path: Path, fields: tuple[tuple[int, bytes], ...], result: bytes
) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        (ack,) = ask_collateral(Client(rig, FIX50), *fields)
        assert shown(ack, 909, 945, 946) == (b"BG", b"c1", b"4", result)
        assert ack.get(58)


def test_collateral_is_told_again_when_it_changes(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX44)) as rig:
        client = Client(rig, FIX44)
        ask_collateral(client, (263, b"1"), (1, b"alpha"))
        rig.now_ns += 2 * SECOND
        refresh(rig)
        assert client.turn() == []
        trade(rig, client, b"a", 1, 50_000)
        whole, *_ = client.turn()
        assert float(whole.get(899) or b"") < float(whole.get(900) or b"")
        trade(rig, client, b"b", 1, 50_000)
        assert client.turn() == []  # within the same second
        rig.now_ns += SECOND
        assert len(client.turn()) == 3
        rig.now_ns += 10 * SECOND  # the arrays are stale: nothing is told of them
        trade(rig, client, b"c", 1, 50_000)
        assert client.turn() == []
        (refusal,) = ask_collateral(client, (1, b"alpha"), key=b"c2")
        assert shown(refusal, 945, 946, 58) == (b"BG", b"4", b"99", b"margin unknown: no fresh risk arrays")
        (ack,) = ask_collateral(client, (263, b"2"), (1, b"alpha"))
        assert shown(ack, 945, 911) == (b"BG", b"0", b"0")
        refresh(rig)
        assert client.turn() == []


def refresh(rig: Rig) -> None:
    rig.mark(BTC, 60_000.0)
    rig.mark(ETH, 2_000.0)
    rig.core.valuation.run(rig.now_ns)


# -- margin


def ask_margin(client: Client, *qualifiers: bytes, key: bytes = b"m1", further: tuple[tuple[int, bytes], ...] = (),
               party: tuple[tuple[int, bytes], ...] = PARTY) -> list[Message]:  # fmt: skip
    group = [(1636, b"%d" % len(qualifiers)), *((1637, one) for one in qualifiers)] if qualifiers else []
    return client.ask("CH", (1635, key), *group, *party, *further)


def amounts(message: Message) -> dict[int, float]:
    told = message.groups(1643, (1645, 1644, 1646))
    assert {currency for _, _, currency in told} == {b"USD"}
    return {int(kind or b"0"): float(amount or b"nan") for amount, kind, _ in told}


def test_margin_in_summary_detail_and_excess(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        trade(rig, client, b"a", 1, 50_000, fills=20_000)
        trade(rig, client, b"b", 2, 3_000, ETH)
        ack, summary, *details, excess, account_summary = ask_margin(client, b"0", b"1", b"2", b"3")
        assert shown(ack, 1635, 1640, 1641, 911) == (b"CI", b"m1", b"0", b"0", b"6")
        figures = figures_now(rig)
        assert amounts(summary) == pytest.approx(
            {
                11: figures.initial, 12: figures.maintenance, 7: figures.core, 1: figures.initial - figures.core,
                22: figures.initial, 5: figures.cash, 23: figures.equity - figures.cash, 15: figures.excess,
            },
            abs=0.01,
        )  # fmt: skip
        assert [shown(one, 1638, 1639, 912) for one in (summary, *details, excess)] == [
            (b"CJ", b"0", b"", b"N"), (b"CJ", b"1", b"USD", b"N"), (b"CJ", b"1", b"BTC", b"N"),
            (b"CJ", b"1", b"ETH", b"N"), (b"CJ", b"2", b"", b"Y"),
        ]  # fmt: skip
        assert sum(amounts(one)[11] for one in details) == pytest.approx(figures.initial, abs=0.03)
        assert amounts(details[2])[1] > 0 and amounts(details[2])[7] == 0
        assert shown(account_summary, 715, 15) == (b"CQ", TODAY, b"USD")
        assert amounts(account_summary) == amounts(summary)
        assert len(account_summary.groups(1703, (1704, 1705, 1706))) == 2
        assert float(account_summary.get(900) or b"") == pytest.approx(figures.equity, abs=0.01)
        rig.check_replay()


def figures_now(rig: Rig, name: str = "alpha") -> Figures:
    core = rig.core
    figures = figures_of(rig.ledger.accounts[name], core.market, core.valuation.generation, rig.now_ns)
    assert isinstance(figures, Figures)
    return figures


@pytest.mark.parametrize(
    ("party", "qualifiers", "further", "result"),
    [
        (((453, b"1"), (448, b"beta"), (447, b"D"), (452, b"24")), (b"0",), (), b"8"),
        (((453, b"1"), (448, b"alpha"), (447, b"D"), (452, b"1")), (b"0",), (), b"3"),
        (PARTY, (b"0",), ((55, BTC.encode()),), b"1"),
        (PARTY, (b"1",), ((1639, b"DOGE"),), b"2"),
        (PARTY, (b"0",), ((1639, b"BTC"),), b"7"),
        (PARTY, (b"0",), ((726, b"x"),), b"4"),
        (PARTY, (b"0",), ((715, b"20240101"),), b"99"),
        (PARTY, (b"0",), ((263, b"2"),), b"99"),
    ],
)
def test_margin_inquiries_that_are_refused(
    tmp_path: Path,
    party: tuple[tuple[int, bytes], ...],
    qualifiers: tuple[bytes, ...],
    further: tuple[tuple[int, bytes], ...],
    result: bytes,
) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        (ack,) = ask_margin(client, *qualifiers, further=further, party=party)
        assert shown(ack, 1635, 1640, 1641) == (b"CI", b"m1", b"4", result)
        assert ack.get(58)
        assert ack.groups(453, (448,)) == [(party[1][1],)]


def test_margin_of_a_class(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        ack, one = ask_margin(client, b"1", further=((1639, b"BTC"),))
        assert shown(one, 1638, 1639, 911, 912) == (b"CJ", b"1", b"BTC", b"1", b"Y")
        (ack,) = ask_margin(client, b"1", further=((1639, b"ETH"),))
        assert shown(ack, 1640, 1641, 911) == (b"CI", b"0", b"6", b"0")


def test_subscriptions_to_margin_end_with_the_connection_and_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margin_subscriptions, "SUBSCRIPTIONS_EACH", 2)
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        for number, status in enumerate((b"0", b"0", b"4")):
            ack, *_ = ask_margin(client, b"3", key=b"m%d" % number, further=((263, b"1"),))
            assert ack.get(1640) == status
        assert rig.core.inquiries.snapshot()["margin_subscriptions"] == 2
        rig.now_ns += SECOND
        trade(rig, client, b"a", 1, 5_000)
        rig.core.inquiries.margin.backlog = lambda session: 1 << 40
        assert client.turn() == []  # a client with a backlog is told later
        rig.core.inquiries.margin.backlog = lambda session: 0
        assert [shown(one, 899)[0] for one in client.turn()] == [b"CQ", b"CQ"]
        client.disconnect()
        client.connect()
        rig.now_ns += SECOND
        trade(rig, client, b"b", 1, 5_000)
        assert client.turn() == []
        assert len(rig.core.inquiries.margin) == 0


def test_an_account_without_a_mark_has_no_margin(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        trade(rig, client, b"a", 1, 5_000, fills=5_000)
        rig.now_ns += 3600 * SECOND
        rig.mark(ETH, 2_000.0)
        rig.core.valuation.run(rig.now_ns)
        (ack,) = ask_margin(client)
        assert shown(ack, 1640, 1641) == (b"CI", b"4", b"99")
        assert b"margin unknown" in (ack.get(58) or b"")


def test_figures_are_the_kernels(tmp_path: Path) -> None:
    """The parts, worked out from positions and arrays, add up to what orders are checked against."""
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        source = np.random.default_rng(7)
        for number in range(12):
            symbol, side = (BTC, ETH)[number % 2], int(source.integers(1, 3))
            quantity = int(source.integers(1, 500)) * 10
            trade(rig, client, b"r%d" % number, side, quantity, symbol, fills=quantity // 2 // 10 * 10)
            figures = figures_now(rig)
            kernel, account = rig.core.market.kernel, rig.ledger.accounts["alpha"]
            equity = kernel.equity(account.index, rig.core.market.base_scenario)
            assert sum(one.equity for one in figures.classes) == pytest.approx(equity)
            needed = sum(one.core + one.orders for one in figures.classes)
            assert needed == pytest.approx(equity - kernel.worst(account.index))
            assert 0 <= figures.maintenance == MAINTENANCE_FACTOR * figures.core <= figures.initial
        rig.hear(listed("SOL-PERPETUAL"))
        assert figures_of(rig.ledger.accounts["alpha"], rig.core.market, None, rig.now_ns) == (
            "margin unknown: no fresh risk arrays"
        )


def test_days() -> None:
    now = 1_760_000_000 * SECOND  # 2025-10-09 08:53:20
    told = {day: is_today(day, now) for day in (None, b"20251007", b"20251008", b"20251009", b"20251010", b"20251011")}
    assert told == {None: True, b"20251007": False, b"20251008": True, b"20251009": True, b"20251010": True,
                    b"20251011": False}  # fmt: skip


def test_older_clients_ask_in_vain(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of("FIX.4.2")) as rig:
        client = Client(rig, "FIX.4.2")
        assert client.ask("BB", (909, b"c")) == []
        assert rig.core.inquiries.snapshot()["sent"] == 0
