"""Our book against a clearing house's: what differs restricts, is told with its age, and is never mended."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fixtures.clearing_house import ClearedTrade, ClearingHouse
from fixtures.fix_conversation import text, timestamp
from gateway import records
from gateway.clearing.reconciler import BreakError
from gateway.records.clearing import BreakOpened
from gateway.recovery import replay
from protocols.venues import events
from risk.account import AccountState
from risk.reconciliation import Topic
from tests.gateway.clearing_rig import Clearing, clearing, config
from tests.gateway.rig import BTC, CONFIG, SECOND, Rig, accepted, filled, full_journal, opened, positions


def test_books_that_agree_leave_no_trace(tmp_path: Path) -> None:
    with clearing(tmp_path, asks='["positions", "trades", "balances"]', reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(125)
        assert one.house.positions("alpha") == {BTC: Decimal(100)}
        assert one.breaks == [] and one.state() == "trading"
        assert one.link.statements.failed == 0 and one.link.statements.taken >= 9
        one.rig.check_replay()


def test_a_wrong_quantity_is_a_break_that_blocks_when_it_was_the_same_twice(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(5)
        one.house.faults.wrong_quantity["alpha", BTC] = Decimal(90)
        one.wait(55.5)
        assert one.breaks == [] and one.state() == "trading"
        one.wait(2)
        (found,) = one.breaks
        assert (found.kind, found.severity.name, found.ours, found.theirs) == ("position", "BLOCK", "100", "90")
        assert found.evidence == "deribit agrees with us"
        assert one.state() == "reducing"
        assert one.rig.core.reconciler.rows(one.rig.now_ns)[0]["severity"] == "block"
        assert one.invented() == []
        one.rig.check_replay()
        del one.house.faults.wrong_quantity["alpha", BTC]
        one.wait(70)
        assert one.breaks == []
        assert one.state() == "reducing"  # a person sets it free
        one.rig.check_replay()


# -- statements that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"is_silent": True}, "no whole answer in 10 s"),
        ({"is_late": True}, "no whole answer in 10 s"),
        ({"is_short_of_reports": True}, "no whole answer in 10 s"),
        ({"refuses": "try later"}, "refused: try later"),
        ({"garbles": True}, "unreadable: a position with neither LongQty(704) nor ShortQty(705)"),
    ],
)
def test_fault_39_a_position_query_without_an_answer_is_unknown_and_not_flat(
    tmp_path: Path, fault: dict[str, Any], why: str
) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(2)
        for name, value in fault.items():
            setattr(one.house.faults, name, value)
        one.wait(130)
        (found,) = one.breaks
        assert (found.kind, found.subject, found.severity.name) == ("statement", "positions", "INFO")
        assert found.theirs == why and one.state() == "trading"
        one.wait(300)
        assert one.kinds() == [("statement", "WARN")] and one.state() == "trading"
        one.house.faults.__init__()  # type: ignore[misc]
        one.house.release(one.rig.now_ns)
        one.wait(65)
        assert one.breaks == []
        one.rig.check_replay()


def test_a_session_that_is_down_is_told_of_as_a_statement_that_is_missing(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.wait(125)
        assert one.kinds() == [("statement", "INFO")] and one.breaks[0].theirs == "not logged on"
        one.dial()
        one.wait(5)
        assert one.breaks == []


def test_a_statement_of_another_account_is_none(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.house.carried["alpha", BTC] = Decimal(10)
        answer = one.house._position
        one.house._position = lambda i, c, account, *more: answer(i, c, "beta", *more)  # type: ignore[method-assign]
        one.dial()
        one.wait(65)
        assert "of account beta, which was not asked for" in one.breaks[0].theirs and one.state() == "trading"


# -- restart ---------------------------------------------------------------------------------------------------------


def test_fault_38_positions_that_changed_while_we_were_down_restrict_and_invent_nothing(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(5)
        again = one.restart()
        try:
            again.house.carried["alpha", BTC] = Decimal(40)
            again.dial()
            again.wait(3)
            (found,) = again.breaks
            assert (found.ours, found.theirs, found.evidence) == ("100", "140", "deribit is unknown")
            assert again.state() == "reducing" and again.invented() == []
            assert len(again.rig.of_type(records.Filled)) == 1
            again.rig.check_replay()
        finally:
            again.close()


def test_a_break_and_what_it_restricts_survive_a_crash_at_each_record(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.house.faults.wrong_quantity["alpha", BTC] = Decimal(90)
        one.wait(65)
        one.house.faults.wrong_quantity["alpha", BTC] = Decimal(80)
        one.wait(65)
        one.house.faults.wrong_quantity.clear()
        one.wait(70)
        assert one.breaks == []
        entries = one.rig.entries()
    kinds = [type(records.decode(entry.payload)).__name__ for entry in entries]
    assert {"BreakOpened", "BreakChanged", "BreakResolved", "TradesReported", "TradeReportAnswered"} <= set(kinds)
    for cut in range(kinds.index("CounterpartyOpened"), len(entries) + 1):
        ledger = replay(entries[:cut]).ledger
        opened = kinds[:cut].count("BreakOpened") - kinds[:cut].count("BreakResolved")
        assert len(ledger.open_breaks.open) == opened
        was_blocked = "BreakOpened" in kinds[:cut]
        assert (ledger.accounts["alpha"].state is AccountState.REDUCING) is was_blocked
        assert replay(entries[:cut]).state_hash() == replay(entries[:cut]).state_hash()


def test_no_trade_is_reported_twice_or_not_at_all_whatever_dies_when(tmp_path: Path) -> None:
    """Between the store and the journal's word that it was sent, and between the answer and the store's count."""
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill(trade_id="t1")
        link, now = one.link, one.rig.now_ns
        link.trades.send_due(now)
        session = link.session
        assert session is not None
        data = session.data_to_send()
        one.store.save(one.link.state, now)  # and here it dies: stored, never written, never counted
        assert b"\x01880=t1\x01" in data
        again = one.restart()
        try:
            again.dial()
            again.wait(3)
            again.fill(trade_id="t2")
            again.wait(3)
            assert sorted(again.house.trades) == ["t1", "t2"]
            assert set(again.house.reports_seen.values()) == {1}
            duty = again.rig.core.reports.trades.duties.of["HOUSE"]
            assert not duty.pending and not duty.unanswered
            again.rig.check_replay()
        finally:
            again.close()


# -- trades ----------------------------------------------------------------------------------------------------------


def test_a_report_that_is_not_answered_is_sent_again_and_then_told_of(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.house.faults.is_deaf_to_trades = True
        one.dial()
        one.fill()
        one.wait(100)
        assert list(one.house.reports_seen.values()) == [3] and len(one.house.trades) == 1
        assert one.kinds() == [("trade_unanswered", "WARN")] and one.state() == "trading"
        one.rig.check_replay()


def test_a_report_that_is_refused_is_a_warning(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true", asks="[]") as one:
        one.house.faults.refuses_trades = "account closed"
        one.dial()
        one.fill()
        one.wait(2)
        (found,) = one.breaks
        assert (found.kind, found.theirs, found.account) == ("trade_refused", "refused: account closed", "alpha")
        assert one.link.row(one.rig.now_ns)["reports_refused"] == 1
        one.rig.check_replay()


def test_a_trade_that_the_house_lacks_is_timing_first_and_a_warning_then(tmp_path: Path) -> None:
    with clearing(tmp_path, asks='["trades"]', ask_interval_s="10", reports_trades="true") as one:
        one.dial()
        one.house.faults.missing_trades.add("t1")
        one.wait(31)  # trades of the first moments may be nobody's here
        one.fill()
        one.wait(15)
        assert one.kinds() == [("missing_trade", "INFO")]
        one.wait(35)
        assert one.kinds() == [("missing_trade", "WARN")] and one.state() == "trading"
        one.house.faults.missing_trades.clear()
        one.wait(15)
        assert one.breaks == []


def test_a_price_that_differs_warns_and_a_trade_that_we_do_not_have_blocks(tmp_path: Path) -> None:
    with clearing(tmp_path, asks='["trades"]', ask_interval_s="10", reports_trades="true") as one:
        one.dial()
        one.fill()
        one.wait(12)
        one.house.faults.wrong_price["t1"] = Decimal(58_000)
        one.wait(15)
        assert one.kinds() == [("trade_price", "WARN")] and one.state() == "trading"
        one.wait(30)
        one.house.trades["x"] = cleared("x", one.rig.now_ns - 31 * SECOND)
        one.wait(15)
        assert one.kinds() == [("strange_trade", "BLOCK"), ("trade_price", "WARN")]
        assert one.state() == "reducing" and one.invented() == []


def cleared(trade_id: str, time_ns: int, **changes: Any) -> ClearedTrade:
    values = {"account": "alpha", "symbol": BTC, "side": "1", "quantity": Decimal(100), "price": Decimal(59_000)}
    return ClearedTrade(trade_id, time=timestamp(time_ns), **(values | changes))  # type: ignore[arg-type]


def test_a_trade_that_is_told_to_us_is_answered_when_our_own_fill_has_come(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.dial()
        one.fill(trade_id="t0")
        one.house.carried["alpha", BTC] = Decimal(100)
        one.house.tell_trade(cleared("t1", one.rig.now_ns), one.rig.now_ns)
        one.pump()
        assert one.house.acknowledged == [] and one.kinds() == [("strange_trade", "INFO")]
        one.rig.check_replay()
        one.fill(trade_id="t1")
        one.wait(2)
        assert [text(m, 939) for m in one.house.acknowledged] == ["0"]
        assert one.breaks == []
        one.house.tell_trade(cleared("t9", one.rig.now_ns), one.rig.now_ns)
        one.wait(31)
        assert [text(m, 939) for m in one.house.acknowledged] == ["0", "1"]
        assert ("strange_trade", "BLOCK") in one.kinds() and one.state() == "reducing"
        one.house.trades["t1"].is_annulled = True
        one.house.tell_trade(one.house.trades["t1"], one.rig.now_ns)
        one.pump()
        assert text(one.house.acknowledged[-1], 58) == "it stands here"
        assert ("trade_terms", "BLOCK") in one.kinds()


# -- balances and margin ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cash", "expected"),
    [("2", []), ("1.99", [("balance", "WARN")]), ("1.9", [("balance", "BLOCK")]), ("9", [("balance", "WARN")])],
)
def test_balances(tmp_path: Path, cash: str, expected: list[tuple[str, str]]) -> None:
    with clearing(tmp_path, asks='["balances"]') as one:
        one.house.cash["alpha"]["BTC"] = Decimal(cash)
        one.dial()
        one.wait(5)
        assert one.kinds() == expected
        assert one.state() == ("reducing" if expected == [("balance", "BLOCK")] else "trading")


def test_margin_is_compared_while_ours_is_known(tmp_path: Path) -> None:
    text_of = config(asks='["margin"]') + "[reconciliation]\nmargin_block_bps = 2000\n"
    with clearing(tmp_path, text=text_of) as one:
        one.fill()
        one.rig.core.valuation.run(one.rig.now_ns)
        account = one.rig.ledger.accounts["alpha"]
        figures = one.rig.core.inquiries.figures_of(account, one.rig.now_ns)
        assert not isinstance(figures, str)
        initial, maintenance = Decimal(str(round(figures.initial, 2))), Decimal(str(round(figures.maintenance, 2)))
        assert initial > 0
        one.house.margin["alpha"] = {11: initial, 12: maintenance}
        one.dial()
        assert one.link.statements.taken == 1 and one.breaks == []
        for factor, expected in (("1.1", "WARN"), ("0.5", "WARN"), ("1.5", "BLOCK")):
            one.house.margin["alpha"][11] = initial * Decimal(factor)
            for _ in range(2):
                one.rig.core.valuation.run(one.rig.now_ns)
                one.link.statements.hurry(Topic.MARGIN, "alpha", one.rig.now_ns - SECOND)
                one.link.statements.tick(one.rig.now_ns)
                one.pump()
            assert one.kinds() == [("initial_margin", expected)], factor
        assert one.state() == "reducing"


# -- venues ----------------------------------------------------------------------------------------------------------


def test_a_venue_whose_book_drifts_while_it_is_live_is_a_break(tmp_path: Path) -> None:
    """Its own rule compares at each connection; between two, what it tells of changes is compared here."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 100), positions("BTC", {BTC: 100}), events.ReconcileFinished())
        rig.core.tick(rig.now_ns)
        drifted = events.PositionState(BTC, Decimal(90), Decimal(1))
        rig.hear(events.PositionsReported("", (drifted,), False))
        rig.now_ns += 61 * SECOND
        rig.core.tick(rig.now_ns)
        assert not rig.ledger.open_breaks.open
        rig.now_ns += 61 * SECOND
        rig.core.tick(rig.now_ns)
        (found,) = rig.ledger.open_breaks.open.values()
        assert (found.source, found.account, found.severity.name, found.delta) == ("deribit", "", "BLOCK", "-10")
        assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
        assert rig.ledger.accounts["beta"].state is AccountState.TRADING  # it holds none of it
        rig.check_replay()


def test_wallets_are_compared_where_that_is_wanted(tmp_path: Path) -> None:
    with opened(tmp_path, config=CONFIG + "[reconciliation]\nvenue_balances = true\nvenue_interval_s = 1\n") as rig:
        balances = [("BTC", "2"), ("ETH", "29"), ("USDC", "101000")]
        told = tuple(events.BalanceState(currency, Decimal(amount), None) for currency, amount in balances)
        rig.hear(events.BalancesReported(told, True), events.ReconcileFinished())
        for _ in range(6):
            assert not rig.ledger.open_breaks.open
            rig.core.tick(rig.now_ns)
            rig.now_ns += 2 * SECOND
        (found,) = rig.ledger.open_breaks.open.values()
        assert (found.source, found.kind, found.subject, found.severity.name) == ("venues", "balance", "ETH", "BLOCK")
        assert all(account.state is AccountState.REDUCING for account in rig.ledger.accounts.values())


# -- people ----------------------------------------------------------------------------------------------------------


def test_a_person_closes_a_break_and_only_another_difference_opens_it_again(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.house.carried["alpha", BTC] = Decimal(10)
        one.dial()
        one.wait(3)
        reconciler = one.rig.core.reconciler
        with pytest.raises(BreakError, match="break 7 is not open"):
            reconciler.close(7, "ann", "why", one.rig.now_ns)
        assert reconciler.close(1, "ann", "moved by hand", one.rig.now_ns).number == 1
        one.wait(125)
        assert one.breaks == [] and one.state() == "reducing"
        one.house.carried["alpha", BTC] = Decimal(20)
        one.wait(65)
        assert [(found.number, found.theirs) for found in one.breaks] == [(2, "20")]
        one.rig.check_replay()


def test_what_can_not_be_written_is_found_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, config=config())
    one = Clearing(rig, ClearingHouse())
    try:
        one.house.carried["alpha", BTC] = Decimal(10)
        one.dial()
        with full_journal(rig):
            one.wait(10)
            assert one.breaks == [] and one.state() == "trading"
        one.wait(65)
        assert one.kinds() == [("position", "BLOCK")] and one.state() == "reducing"
        rig.check_replay()
    finally:
        one.close()


@pytest.mark.parametrize("rests", [True, False])
def test_a_statement_of_another_moment_is_put_off_and_not_for_ever(tmp_path: Path, rests: bool) -> None:
    """Each time a fill of the same size comes between question and answer: that is no difference that stays."""
    with clearing(tmp_path, confirm_after_ms="500") as one:
        house = one.house
        assert isinstance(house, ClearingHouse)
        one.fill(100, "t0")
        house.carried["alpha", BTC] = Decimal(100)
        house.faults.is_late = True
        one.dial()
        for number in range(1, 4 if rests else 18):
            one.fill(100, f"t{number}")
            house.release(one.rig.now_ns)
            one.pump()
            house.carried["alpha", BTC] = Decimal(100 * (number + 1))
            one.wait(1)
        if rests:
            for _ in range(3):
                house.release(one.rig.now_ns)
                one.wait(1)
            assert one.breaks == [] and not one.rig.of_type(BreakOpened)
            assert one.link.statements.taken >= 4
        else:
            assert [each.kind for each in one.breaks] == ["position"], "what never rests is compared all the same"
