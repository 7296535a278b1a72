"""Drop copies out: every report of an account, to sessions that trade nothing. And in: fills made elsewhere."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import simplefix

from fixtures.fix_conversation import text
from gateway import records
from protocols.fix.codec import Layout, format_timestamp
from protocols.venues import events
from tests.gateway.rig import (
    BTC,
    CONFIG,
    ETH,
    NOW_TEXT,
    Desk,
    Rig,
    accepted,
    cancelled,
    filled,
    opened,
    positions,
    shown,
)
from tests.gateway.test_versions import Peer

COPIES = CONFIG.replace(
    "[[account]]\nname = \"alpha\"",
    '[[fix.session]]\ntarget_comp_id = "RISK"\naccounts = ["alpha", "gamma"]\nkind = "drop_copy"\n'
    '[[fix.session]]\ntarget_comp_id = "OMS"\naccounts = ["alpha"]\nkind = "drop_copy_in"\n'
    "[[account]]\nname = \"alpha\"",
)  # fmt: skip


def rigged(tmp_path: Path, **options: Any) -> Any:
    return opened(tmp_path, **{"config": COPIES, **options})


# -- out ---------------------------------------------------------------------------------------------------------------

SAME = (1, 6, 11, 14, 17, 37, 38, 39, 40, 41, 44, 54, 55, 58, 59, 60, 103, 150, 151, 31, 32, 20001, 20002)


def test_every_report_is_copied_with_its_origin(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        desk, risk = rig.desk().log_on(), rig.desk("RISK").log_on()
        originals = desk.order(cl_ord_id="bad", quantity=105)
        desk.order(cl_ord_id="o", account="alpha")
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 40))
        originals += desk.pump()
        desk.replace("o", price=58_000, cl_ord_id="r")
        rig.hear(events.OrderReplaced(order.order_id, order.venue_order_id, Decimal(100), Decimal(58_000)))
        originals += desk.cancel("r", cl_ord_id="c")
        rig.hear(cancelled(order, 40))
        rig.hear(events.TradeBusted("t1"))
        originals += desk.pump()
        copies = risk.pump()
        assert [text(m, 150) for m in originals] == ["8", "0", "F", "5", "4", "H"]
        assert shown(copies, *SAME) == shown(originals, *SAME)
        assert {(text(m, 797), text(m, 115)) for m in copies} == {("Y", "ALPHA")}
        assert {(text(m, 797), text(m, 115)) for m in originals} == {("", "")}
        rig.check_replay()


def test_a_second_session_that_is_told_makes_no_second_copy(tmp_path: Path) -> None:
    both = COPIES.replace('accounts = ["beta", "gamma"]', 'accounts = ["alpha", "beta", "gamma"]')
    with rigged(tmp_path, config=both) as rig:
        desk, other, risk = rig.desk().log_on(), rig.desk("BETA").log_on(), rig.desk("RISK").log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        risk.pump()
        desk.pump()
        other.cancel("o", cl_ord_id="c")
        rig.hear(cancelled(order))
        assert len(desk.pump()) == len(other.pump()) == 1
        assert shown(risk.pump(), 11, 150) == [("8", "o", "4")]
        assert [text(m, 150) for m in desk.send("H", (11, "o"), (54, 1), (55, BTC))] == ["I"]
        assert risk.pump() == []  # an answer is nobody else's
        rig.check_replay()


def test_what_is_not_of_its_accounts_is_not_copied(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        beta, risk = rig.desk("BETA").log_on(), rig.desk("RISK").log_on()
        beta.order(cl_ord_id="b", account="beta")
        beta.order(cl_ord_id="n", account="alpha")  # not BETA's to name
        beta.order(cl_ord_id="g", account="gamma", quantity=105)
        assert shown(risk.pump(), 1, 11) == [("8", "gamma", "g")]
        rig.check_replay()


@pytest.mark.parametrize("msg_type", ["D", "F", "G", "q", "E", "AB"])
def test_orders_on_a_drop_copy_are_refused(tmp_path: Path, msg_type: str) -> None:
    with rigged(tmp_path) as rig:
        risk = rig.desk("RISK").log_on()
        rig.log.clear()
        fields = {
            "D": [(11, "x"), (55, BTC), (54, 1), (60, NOW_TEXT), (38, 100), (40, 2), (44, 59_000)],
            "F": [(41, "o"), (11, "x"), (55, BTC), (54, 1), (60, NOW_TEXT), (38, 100)],
            "G": [(41, "o"), (11, "x"), (55, BTC), (54, 1), (38, 100), (60, NOW_TEXT), (40, 2), (44, 59_000)],
            "q": [(11, "x"), (530, 7), (60, NOW_TEXT)],
            "E": [(66, "L"), (394, 3), (68, 1), (73, 1), (11, "x"), (67, 1), (54, 1)],
            "AB": [(11, "x"), (54, 1), (55, BTC), (555, 1), (600, BTC), (60, NOW_TEXT), (40, 2)],
        }[msg_type]
        (refusal,) = risk.send(msg_type, *fields)
        assert shown([refusal], 372, 380) == [("j", msg_type, "3")]
        assert rig.link.placed == [] and ("append", "OrderRefused") not in rig.log


def test_a_drop_copy_may_ask(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        desk, risk = rig.desk().log_on(), rig.desk("RISK").log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 40))
        risk.pump()
        assert shown(risk.send("AF", (584, "S"), (585, 7)), 11, 150) == [("8", "o", "I")]
        assert shown(risk.send("H", (11, "o"), (54, 1), (55, BTC)), 11, 150) == [("8", "o", "I")]
        assert [text(m, 35) for m in risk.send("AD", (568, "T"), (569, 0))] == ["AQ", "AE"]


def test_copies_of_an_absent_session_come_by_resend(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        desk, risk = rig.desk().log_on(), rig.desk("RISK").log_on()
        risk.link.disconnected(rig.now_ns)
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 100))
        assert risk.fix.inbox == []
        back = rig.desk("RISK", conversation=risk.fix)
        back.fix.send("A", [(98, "0"), (108, "30")], rig.now_ns)
        told = back.pump()
        assert shown(told, 43, 115, 797, 11, 150) == [
            ("8", "Y", "ALPHA", "Y", "o", "0"),
            ("8", "Y", "ALPHA", "Y", "o", "F"),
        ]
        rig.check_replay()


def test_a_drop_copy_joins_no_clients_ids(tmp_path: Path) -> None:
    """ClOrdIDs are one client's own: a session that watches two clients must not make them one."""
    with rigged(tmp_path) as rig:
        desk, beta = rig.desk().log_on(), rig.desk("BETA").log_on()
        assert desk.order(cl_ord_id="same") == []
        assert beta.order(cl_ord_id="same", account="gamma", symbol=ETH, price=2_000, quantity=10) == []


def test_a_restart_without_the_session_ends_its_copies(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        rig.desk("RISK").log_on()
        numbers = rig.core.reports.sessions["RISK"].next_out
        again = rig.restart(config=CONFIG)
        for symbol, mark in ((BTC, 60_000.0), (ETH, 2_000.0)):
            again.mark(symbol, mark)
        desk = again.desk().log_on()
        desk.order(cl_ord_id="o")
        again.hear(accepted(again.only_order()))
        assert again.core.reports.sessions["RISK"].next_out == numbers
        again.check_replay()
        again.journal.close()


# -- in ----------------------------------------------------------------------------------------------------------------


def report(desk: Desk, exec_id: str, *further: tuple[int, Any], **changes: Any) -> list[simplefix.FixMessage]:
    """A fill of 100 at 60 000 bought elsewhere, but for the changes."""
    values = {37: "X1", 17: exec_id, 150: "F", 39: 2, 1: "alpha", 55: BTC, 54: 1, 32: 100, 31: 60_000, 151: 0, 14: 100,
              6: 60_000}  # fmt: skip
    values |= {int(name[1:]): value for name, value in changes.items()}
    return desk.send("8", *((tag, value) for tag, value in values.items() if value is not None), *further)


def lots(rig: Rig, account: str = "alpha", symbol: str = BTC) -> int:
    return rig.ledger.accounts[account].position_lots(rig.ledger.by_symbol[symbol].index)


def test_an_external_fill_moves_the_position_once(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        oms = rig.desk("OMS").log_on()
        equity = rig.core.account_rows()[0]["equity"]
        assert report(oms, "e1", (12, "0.00001"), (13, 3)) == []
        assert lots(rig) == 10
        fill = rig.of_type(records.ExternalFill)[0]
        assert (fill.exec_id, fill.lots, fill.ticks, fill.fee_units) == ("e1", 10, 120_000, 1_000)
        assert report(oms, "e1") == []
        assert lots(rig) == 10
        # Margin counts it: bought at the mark, so equity has moved by the fee alone, and the margin by the position.
        row = rig.core.account_rows()[0]
        assert row["equity"] == pytest.approx(equity - 0.00001 * 60_000, abs=1.0) and row["initial_margin"] > 0
        # The venue knows nothing of it.
        assert rig.ledger.venue_lots("deribit") == {BTC: 0}
        rig.hear(positions("BTC", {}), events.ReconcileFinished())
        assert rig.monitor.breaks == 0
        rig.check_replay()


def test_an_external_position_counts_against_the_limit(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        desk, oms = rig.desk().log_on(), rig.desk("OMS").log_on()
        report(oms, "e1", _32=100_000)
        (refusal,) = desk.order(quantity=60_000)
        assert text(refusal, 20001) == "601"


FILL = Layout("8", (1, 6, 14, 17, 31, 32, 37, 39, 54, 55, 60, 150, 151, 880))


def test_the_same_trade_under_two_exec_ids_is_booked_once(tmp_path: Path) -> None:
    """TrdMatchID(880), which reports have since 5.0, names the trade whatever its reporter calls the execution."""
    session = 'target_comp_id = "ALPHA"\nbegin_string = "FIXT.1.1"\nkind = "drop_copy_in"'
    with opened(tmp_path, config=CONFIG.replace('target_comp_id = "ALPHA"', session)) as rig:
        peer = Peer(rig, "FIXT.1.1")
        now = format_timestamp(rig.now_ns)
        for exec_id, match_id in ((b"e1", b"m1"), (b"e2", b"m1"), (b"e3", b"m2"), (b"e3", b"m3")):
            values = (b"alpha", b"0", b"10", exec_id, b"60000", b"10", b"X", b"2", b"1", BTC.encode(), now, b"F", b"0")
            peer.session.send(FILL, (*values, match_id), rig.now_ns)
            assert peer.pump() == []
        assert lots(rig) == 2
        rig.check_replay()


@pytest.mark.parametrize(
    "changes", [{"_150": "0", "_39": 0}, {"_150": "4", "_39": 4}, {"_150": "8", "_39": 8}, {"_150": "D"}, {"_150": "I"}]
)
def test_what_is_no_fill_is_counted_and_no_more(tmp_path: Path, changes: dict[str, Any]) -> None:
    with rigged(tmp_path) as rig:
        oms = rig.desk("OMS").log_on()
        rig.log.clear()
        assert report(oms, "e1", **changes) == []
        assert rig.log == [("append", "SessionMoved")] and lots(rig) == 0
        assert report(oms, "e2") == [] and lots(rig) == 10
        rig.check_replay()


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"_1": "beta"}, "1", "Account(1) beta"),
    ({"_1": "nobody"}, "1", "Account(1) nobody"),
    ({"_55": "DOGE"}, "2", "Symbol(55) DOGE"),
    ({"_54": 5}, "0", "Side(54) 5"),
    ({"_32": 105}, "0", "lots or ticks"),
    ({"_31": "60000.3"}, "0", "lots or ticks"),
    ({"_32": None}, "5", "lots or ticks"),
    ({"_150": "H", "_39": 4}, "1", "ExecRefID(19)"),
    ({"_150": "G"}, "1", "ExecRefID(19)"),
]


@pytest.mark.parametrize(("changes", "reason", "words"), REFUSED)
def test_what_can_not_be_booked_is_refused_and_alerted(
    tmp_path: Path, changes: dict[str, Any], reason: str, words: str
) -> None:
    with rigged(tmp_path) as rig:
        oms = rig.desk("OMS").log_on()
        (refusal,) = report(oms, "e1", **changes)
        assert shown([refusal], 372, 379, 380) == [("j", "8", "e1", reason)]
        assert words in text(refusal, 58)
        assert any("e1 refused" in alert for alert in rig.monitor.alerts)
        assert rig.ledger.accounts["alpha"].positions == {}
        rig.check_replay()


def test_an_external_fill_is_taken_back_and_corrected(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        oms, desk = rig.desk("OMS").log_on(), rig.desk().log_on()
        cash = dict(rig.ledger.accounts["alpha"].cash_units)
        report(oms, "e1")
        assert report(oms, "e2", (19, "e1"), _150="G", _32=50, _31=61_000) == []
        assert lots(rig) == 5
        assert report(oms, "e2", (19, "e1"), _150="G", _32=50, _31=61_000) == []  # said again
        (refusal,) = report(oms, "e3", (19, "e1"), _150="H", _39=4)  # what was corrected stands no more
        assert text(refusal, 380) == "1"
        ack, trade = desk.send("AD", (568, "T"), (569, 0))
        assert shown([trade], 880, 32, 31, 37) == [("AE", "e2", "50", "61000.0", "NONE")] and text(ack, 748) == "1"
        assert report(oms, "e4", (19, "e2"), _150="H", _39=4) == []
        assert lots(rig) == 0
        assert rig.ledger.accounts["alpha"].cash_units == cash
        assert rig.ledger.external_lots == {("alpha", 0): 0}
        assert text(desk.send("AD", (568, "T"), (569, 0))[0], 748) == "0"
        rig.check_replay()


def test_orders_on_a_drop_copy_in_are_refused(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        (refusal,) = rig.desk("OMS").log_on().order()
        assert text(refusal, 380) == "3" and rig.link.placed == []


def test_reports_from_a_trading_session_are_refused(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        (refusal,) = report(rig.desk().log_on(), "e1")
        assert text(refusal, 380) == "3" and lots(rig) == 0


def test_an_external_fill_survives_a_restart(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        report(rig.desk("OMS").log_on(), "e1")
        again = rig.restart()
        assert lots(again) == 10
        oms = again.desk("OMS").log_on()
        assert report(oms, "e1") == [] and lots(again) == 10
        again.check_replay()
        again.journal.close()


# -- pending reports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wants", [True, False])
def test_pending_reports_are_the_sessions_wish(tmp_path: Path, wants: bool) -> None:
    line = 'target_comp_id = "ALPHA"'
    config = CONFIG.replace(line, f"{line}\npending_reports = {str(wants).lower()}")
    with opened(tmp_path, config=config) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        order = rig.only_order()
        rig.hear(accepted(order))
        desk.pump()
        told = desk.replace("o", price=58_000, cl_ord_id="r")
        assert shown(told, 11, 41, 150, 39) == [("8", "r", "o", "E", "E")] * wants
        told = desk.cancel("o", cl_ord_id="c")
        assert shown(told, 11, 41, 150, 39) == [("8", "c", "o", "6", "6")] * wants
        rig.check_replay()
