"""TradeCaptureReportRequest(AD): what is found, subscriptions, refusals; AR counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simplefix

from fixtures.fix_conversation import text
from gateway.messages.trade_capture import REPORTS_AT_ONCE, TRADES_KEPT, Trades
from protocols.fix.codec import format_timestamp
from protocols.venues import events
from tests.gateway.rig import BTC, CONFIG, ETH, NOW_TEXT, SECOND, START_NS, Desk, Rig, accepted, filled, opened, shown

WIDE = CONFIG.replace('deposits = { USDC = "1000" }', 'deposits = { USDC = "1000000" }')
# (account, symbol, side, quantity, ClOrdID, trade id)
TRADES = [
    ("beta", BTC, 1, 10, "o0", "t0"), ("beta", BTC, 2, 20, "o1", "t1"), ("gamma", ETH, 1, 30, "o2", "t2"),
    ("gamma", BTC, 1, 40, "o3", "t3"),
]  # fmt: skip


def trading(rig: Rig) -> Desk:
    """BETA has traded, one trade a second; ALPHA too, whose trades are not BETA's to see."""
    alpha, desk = rig.desk("ALPHA").log_on(), rig.desk("BETA").log_on()
    alpha.order(cl_ord_id="a")
    order = rig.only_order()
    rig.hear(accepted(order), filled(order, 100, "other"))
    for account, symbol, side, quantity, name, trade_id in TRADES:
        trade(rig, desk, account, symbol, side, quantity, name, trade_id)
    desk.pump()
    return desk


def trade(rig: Rig, desk: Desk, account: str, symbol: str, side: int, quantity: int, name: str, trade_id: str) -> None:
    rig.now_ns += SECOND
    for one in (BTC, ETH):
        rig.mark(one, 60_000.0 if one == BTC else 2_000.0)
    rig.core.valuation.run(rig.now_ns)
    price = {BTC: 60_000, ETH: 2_000}[symbol]
    desk.order(cl_ord_id=name, account=account, symbol=symbol, side=side, price=price, quantity=quantity)
    order = rig.ledger.orders[rig.link.placed[-1][0]]
    rig.hear(accepted(order, f"V{name}"), filled(order, quantity, trade_id))


def ask(desk: Desk, *fields: tuple[int, Any], kind: int = 1, name: str = "Q") -> list[simplefix.FixMessage]:
    return desk.send("AD", (568, name), (569, kind), *fields)


def at(seconds: int) -> str:
    return format_timestamp(START_NS + seconds * SECOND).decode()


DAY = NOW_TEXT[:8]
FILTERS: list[tuple[list[tuple[int, Any]], list[str]]] = [
    ([], ["t0", "t1", "t2", "t3"]),
    ([(55, BTC)], ["t0", "t1", "t3"]),
    ([(54, 2)], ["t1"]),
    ([(55, ETH), (54, 2)], []),
    ([(880, "t2")], ["t2"]),
    ([(11, "o3")], ["t3"]),
    ([(453, 1), (448, "gamma"), (447, "D"), (452, 24)], ["t2", "t3"]),
    ([(453, 1), (448, "gamma"), (447, "D"), (452, 1)], ["t0", "t1", "t2", "t3"]),
    ([(580, 1), (75, DAY), (60, at(3))], ["t2", "t3"]),
    ([(580, 2), (75, DAY), (60, at(2)), (75, DAY), (60, at(3))], ["t1", "t2"]),
    ([(580, 1), (75, DAY)], ["t0", "t1", "t2", "t3"]),
    ([(580, 1), (75, "20251008")], []),
    ([(880, "other")], []),
]


@pytest.mark.parametrize(("fields", "wanted"), FILTERS)
def test_what_a_request_finds(tmp_path: Path, fields: list[tuple[int, Any]], wanted: list[str]) -> None:
    with opened(tmp_path, config=WIDE) as rig:
        desk = trading(rig)
        ack, *told = ask(desk, *fields)
        status = "0" if wanted else "1"
        assert shown([ack], 568, 569, 748, 749, 750) == [("AQ", "Q", "1", str(len(wanted)), "0", status)]
        assert [text(report, 880) for report in told] == wanted
        assert [text(report, 912) for report in told] == ["N"] * (len(wanted) - 1) + ["Y"] * bool(wanted)
        rig.check_replay()


def test_a_report_says_what_the_fill_was(tmp_path: Path) -> None:
    with opened(tmp_path, config=WIDE) as rig:
        desk = trading(rig)
        _, report = ask(desk, (880, "t1"), kind=0)
        order = rig.ledger.orders[rig.link.placed[2][0]]
        wanted = ("AE", "Q", "F", "20", "60000.0", BTC, DAY, at(2), "1", "2", order.order_id, "o1", "beta", "0", "N")
        assert shown([report], 568, 150, 32, 31, 55, 75, 60, 552, 54, 37, 11, 1, 487, 570) == [wanted]
        exec_id = text(report, 17)
        assert exec_id == text(report, 571)
        assert [text(r, 880) for r in ask(desk, (17, exec_id))[1:]] == ["t1"]
        assert [text(r, 880) for r in ask(desk, (37, order.order_id))[1:]] == ["t1"]


REFUSED: list[tuple[dict[str, Any], list[tuple[int, Any]], str]] = [
    ({"kind": 2}, [], "8"),
    ({"kind": 4}, [], "8"),
    ({}, [(55, "DOGE")], "1"),
    ({}, [(54, 5)], "99"),
    ({}, [(453, 1), (448, "alpha"), (447, "D"), (452, 24)], "9"),
    ({"name": "x" * 65}, [], "99"),
    ({}, [(580, 2), (75, DAY), (60, at(9)), (75, DAY), (60, at(3))], "99"),
    ({}, [(580, 1), (75, "20250231")], "99"),
]


@pytest.mark.parametrize(("options", "fields", "result"), REFUSED)
def test_what_a_request_may_not_ask(
    tmp_path: Path, options: dict[str, Any], fields: list[tuple[int, Any]], result: str
) -> None:
    with opened(tmp_path, config=WIDE) as rig:
        desk = trading(rig)
        (ack,) = ask(desk, *fields, **options)
        assert shown([ack], 748, 749, 750) == [("AQ", "0", result, "2")]
        assert text(ack, 58)
        rig.check_replay()


def test_more_than_fits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.messages.trade_capture.REPORTS_AT_ONCE", 3)
    assert REPORTS_AT_ONCE == 1_000
    with opened(tmp_path, config=WIDE) as rig:
        (ack,) = ask(trading(rig))
        assert text(ack, 749) == "99" and "4 trades are more than 3" in text(ack, 58)


def test_a_subscription_delivers_new_trades_until_it_is_ended(tmp_path: Path) -> None:
    with opened(tmp_path, config=WIDE) as rig:
        desk = trading(rig)
        ack, *told = ask(desk, (263, 1), (55, BTC), name="S")
        assert text(ack, 750) == "0" and len(told) == 3
        trade(rig, desk, "gamma", ETH, 1, 10, "o5", "t5")
        assert [text(m, 35) for m in desk.pump()] == ["8", "8"]
        trade(rig, desk, "gamma", BTC, 1, 10, "o4", "t4")
        reports = [m for m in desk.pump() if text(m, 35) == "AE"]
        assert shown(reports, 568, 880, 487) == [("AE", "S", "t4", "0")]
        rig.hear(events.TradeBusted("t4"))
        assert shown(desk.pump(), 150, 487, 880) == [("8", "H", "", ""), ("AE", "H", "1", "t4")]
        (ack,) = ask(desk, (263, 2), name="S")
        assert text(ack, 749) == "0"
        trade(rig, desk, "gamma", BTC, 1, 10, "o6", "t6")
        assert [text(m, 35) for m in desk.pump()] == ["8", "8"]
        assert [text(m, 880) for m in ask(desk, (55, BTC))[1:]] == ["t0", "t1", "t3", "t6"]  # a busted one is none
        rig.check_replay()


def test_a_subscription_outlives_connection_and_process(tmp_path: Path) -> None:
    with opened(tmp_path, config=WIDE) as rig:
        desk = trading(rig)
        ask(desk, (263, 1), name="S")
        again = rig.restart()
        for symbol in (BTC, ETH):
            again.mark(symbol, 60_000.0 if symbol == BTC else 2_000.0)
        other = again.desk("BETA").log_on()
        trade(again, other, "gamma", BTC, 1, 10, "o4", "t4")
        assert [text(m, 880) for m in other.pump() if text(m, 35) == "AE"] == ["t4"]
        again.check_replay()
        again.journal.close()


def test_subscriptions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.messages.trade_capture.SUBSCRIPTIONS_EACH", 2)
    with opened(tmp_path, config=WIDE) as rig:
        desk = rig.desk("BETA").log_on()
        results = [text(ask(desk, (263, 1), name=name)[0], 749) for name in ("A", "B", "C", "A")]
        assert results == ["0", "0", "99", "0"]


def test_an_acknowledgement_is_counted_and_no_more(tmp_path: Path) -> None:
    with opened(tmp_path, config=WIDE) as rig:
        desk = trading(rig)
        _, report = ask(desk, (880, "t0"))
        fields = [(571, text(report, 571)), (150, "F"), (55, BTC)]
        assert desk.send("AR", *fields) == []
        assert desk.order(cl_ord_id="later", account="beta") == []
        rig.check_replay()


def test_the_oldest_trades_are_forgotten(tmp_path: Path) -> None:
    assert TRADES_KEPT == 100_000
    with opened(tmp_path, config=WIDE) as rig:
        rig.core.reports.trades = Trades(capacity=2)
        desk = trading(rig)
        assert [text(m, 880) for m in ask(desk)[1:]] == ["t2", "t3"]
        rig.hear(events.TradeBusted("t0"))
        assert rig.monitor.breaks == 1  # it can not be told what is to be taken back
