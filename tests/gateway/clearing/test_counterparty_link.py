"""The session that we open: logon, resends, gaps, crashes, secrets; the order management system at the other end."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fixtures.clearing_house import ClearedTrade
from fixtures.fix_conversation import text, timestamp
from fixtures.order_management import OrderManagement
from gateway import records
from gateway.clearing.link import CounterpartyLink
from gateway.clearing.statements import TABLE, Phase, Step
from gateway.journal import JournalError
from gateway.records.clearing import TradeReportAnswered
from protocols.errors import LocalProtocolError
from protocols.fix.authentication import password_fields
from protocols.fix.session import Limits
from risk.account import AccountState
from tests.gateway.clearing_rig import OMS, Clearing, clearing, config
from tests.gateway.rig import BTC, CONFIG, SECOND, accepted, filled, full_journal, opened

SECRET = "canary-9e1c-5ecret"


# -- the session -----------------------------------------------------------------------------------------------------


def test_numbers_go_on_after_a_restart_and_what_was_missed_is_sent_again(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.wait(3)
        numbers = one.link.state.next_in, one.link.state.next_out
        one.house.send("B", [(148, "news while nobody was there"), (33, "1"), (58, "x")], one.rig.now_ns)
        one.house._out.clear()  # lost on the way
        again = one.restart()
        try:
            assert (again.link.state.next_in, again.link.state.next_out) == numbers
            again.dial()
            assert any("news while nobody was there" in alert for alert in again.rig.monitor.alerts)
            assert again.link.row(again.rig.now_ns)["state"] == "up"
        finally:
            again.close()


def test_a_gap_in_what_the_house_sends_is_asked_for_and_its_statement_still_whole(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.house.carried["alpha", BTC] = Decimal(10)
        one.house.loses = 1  # the acknowledgement
        one.dial()
        assert one.house.resends == 1 and one.link.statements.taken >= 1 and one.link.statements.failed == 0


def test_reports_that_did_not_arrive_are_resent_by_their_numbers_once(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.link.tick(one.rig.now_ns)
        assert b"\x0135=AE\x01" in one.link.data_to_send(one.rig.now_ns)  # and the line is cut
        one.hang_up()
        assert one.link.row(one.rig.now_ns)["state"] == "down"
        one.rig.now_ns += SECOND
        one.dial()
        one.wait(2)
        assert list(one.house.reports_seen.values()) == [1] and one.house.positions("alpha") == {BTC: Decimal(100)}


def test_a_refused_logon_is_told_of_without_our_secret(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        link = with_password(one)
        one.house.refuses_logon = f"wrong password {SECRET}"
        one.link = link
        one.dial()
        (logon,) = one.house.logons
        assert (text(logon, 553), text(logon, 554), text(logon, 1137)) == ("gateway", SECRET, "9")
        assert link.refused == 1 and not link.is_up
        told = repr([one.rig.monitor.alerts, link.row(one.rig.now_ns), one.rig.history()])
        assert "wrong password <hidden>" in told or "Logon refused" in told
        assert SECRET not in told
        one.store.close()
        one.rig.journal.close()
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def with_password(one: Clearing) -> CounterpartyLink:
    fields = password_fields(b"gateway", SECRET.encode())
    return CounterpartyLink(
        one.link.terms, one.link.state, one.store, one.rig.pipeline, one.rig.core.reconciler, lambda now_ns: fields,
        (SECRET,), Limits(), one.rig.now_ns,
    )  # fmt: skip


def test_fault_50_a_peer_that_repeats_our_secret_is_not_quoted(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.link = with_password(one)
        one.dial()
        one.house.send("B", [(148, f"your secret is {SECRET}"), (33, "1"), (58, "x")], one.rig.now_ns)
        one.house.send("j", [(45, "2"), (372, "AN"), (380, "0"), (58, SECRET)], one.rig.now_ns)
        one.pump()
        one.house.send("5", [(58, f"bye {SECRET}")], one.rig.now_ns)
        one.pump()
        told = repr([one.rig.monitor.alerts, one.link.row(one.rig.now_ns), one.link.trouble, one.link])
        assert "<hidden>" in told and SECRET not in told


def test_nothing_leaves_that_could_not_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with clearing(tmp_path) as one:
        one.dial()

        def fails(*told: Any) -> None:
            raise JournalError("disk full")

        monkeypatch.setattr(one.store, "save", fails)
        one.link.statements.logged_on(one.rig.now_ns)
        assert one.link.data_to_send(one.rig.now_ns) == b"" and one.link.must_close
        assert one.link.trouble == "its numbers can not be stored"


def test_a_message_that_the_journal_can_not_follow_comes_again(tmp_path: Path) -> None:
    with clearing(tmp_path, reports_trades="true") as one:
        one.dial()
        one.fill()
        one.link.tick(one.rig.now_ns)
        one.house.receive(one.link.data_to_send(one.rig.now_ns), one.rig.now_ns)
        answer = one.house.data_to_send()
        assert b"\x0135=AR\x01" in answer
        expected = one.link.state.next_in
        with full_journal(one.rig):
            one.link.receive(answer, one.rig.now_ns)
            assert one.link.must_close and one.link.state.next_in == expected
        one.hang_up()
        one.dial()
        assert len(one.rig.of_type(TradeReportAnswered)) == 1
        assert not one.rig.core.reports.trades.duties.of["HOUSE"].unanswered
        one.rig.check_replay()


def test_fault_41_a_loop_that_stalled_acts_on_what_has_come_before_it_gives_up(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.house.faults.is_late = True
        one.dial()
        one.house.release(one.rig.now_ns)
        one.rig.now_ns += 12 * SECOND  # the answer lies in the socket meanwhile
        one.pump()
        one.link.tick(one.rig.now_ns)
        assert one.link.statements.taken == 1 and one.link.statements.failed == 0 and one.link.is_up


def test_fault_40_a_peer_whose_clock_is_an_hour_off_is_logged_out_and_no_statement_taken(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.house.connected()
        one.link.connected(one.rig.now_ns)
        one.house.receive(one.link.data_to_send(one.rig.now_ns), one.rig.now_ns + 3_600 * SECOND)
        one.link.receive(one.house.data_to_send(), one.rig.now_ns)
        assert not one.link.is_up and one.breaks == [] and one.link.statements.taken == 0


def test_a_silent_peer_is_found_out_by_heartbeats(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.dial()
        one.rig.now_ns += 40 * SECOND
        one.link.tick(one.rig.now_ns)
        assert b"\x0135=1\x01" in one.link.data_to_send(one.rig.now_ns)
        one.rig.now_ns += 40 * SECOND
        one.link.tick(one.rig.now_ns)
        one.link.data_to_send(one.rig.now_ns)
        assert one.link.must_close and one.link.trouble == "no Heartbeat in time"


def test_outside_of_session_time_nobody_is_missed(tmp_path: Path) -> None:
    schedule = '[fix.counterparty.schedule]\nstart = "09:00"\nend = "10:00"\n'
    text_of = config().replace("[[account]]", f"{schedule}[[account]]", 1)
    with clearing(tmp_path, text=text_of) as one:
        assert not one.link.may_connect(one.rig.now_ns)  # 08:53
        one.wait(200)
        assert one.breaks == [] and one.link.row(one.rig.now_ns)["state"] == "off"
        one.wait(250)
        assert one.link.may_connect(one.rig.now_ns)
        one.dial()
        assert one.link.is_up
        one.wait(3_600)
        assert not one.link.is_up and one.link.row(one.rig.now_ns)["state"] == "off"
        assert "HOUSE: session over" in " ".join(one.rig.monitor.alerts)


def test_a_question_that_the_peer_does_not_know_is_refused_by_its_id(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.house.faults.is_silent = True
        one.dial()
        request_id = next(iter(one.link.statements._open))
        body = [(45, "2"), (372, "AN"), (379, request_id), (380, "3"), (58, "Unsupported Message Type")]
        one.house.send("j", body, one.rig.now_ns)
        one.pump()
        assert one.link.statements.failed == 1


def test_reports_that_nobody_asked_for_are_asked_for_whole(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.dial()
        asked = one.house.asked.count("AN")
        one.house.tell_position("alpha", BTC, one.rig.now_ns)
        one.wait(2)
        assert one.house.asked.count("AN") == asked + 1


def test_a_call_for_collateral_goes_to_whoever_keeps_collateral(tmp_path: Path) -> None:
    with clearing(tmp_path) as one:
        one.dial()
        one.house.call("alpha", Decimal(500), "20251009-10:00:00", one.rig.now_ns)
        one.pump()
        assert "AX came, and nobody here takes it" in one.rig.monitor.alerts[-1]
        taken: list[tuple[str, str]] = []

        def pledge(name: str, message: Any, now_ns: int) -> None:
            taken.append((message.msg_type, text_of(message, 894)))
            if message.msg_type == "AX":
                one.link.send(
                    "AY",
                    {902: b"a1", 894: message.get(894), 895: 3, 903: 0, 60: timestamp(now_ns).encode(), 15: b"USDC",
                     901: b"500", 1: b"alpha"},
                    now_ns,
                )  # fmt: skip

        one.link.collateral = pledge
        request_id = one.house.call("alpha", Decimal(500), "20251009-10:00:00", one.rig.now_ns)
        one.pump()
        assert taken == [("AX", request_id), ("AZ", request_id)]
        assert one.house.collateral[request_id].pledged == [("a1", "USDC", Decimal(500))]


def text_of(message: Any, tag: int) -> str:
    return (message.get(tag) or b"").decode()


def test_nothing_is_sent_without_a_logon(tmp_path: Path) -> None:
    with clearing(tmp_path) as one, pytest.raises(LocalProtocolError, match="HOUSE is not logged on"):
        one.link.send("AN", {}, one.rig.now_ns)


def test_every_step_of_a_question_is_in_the_table() -> None:
    ends = {Phase.WHOLE, Phase.FAILED}
    assert {phase for phase, _ in TABLE}.isdisjoint(ends)
    for phase in set(Phase) - ends:
        for step in Step:
            assert ((phase, step) in TABLE) is not ((phase, step) == (Phase.ASKED, Step.COMPLETED))


# -- an order management system --------------------------------------------------------------------------------------


def fill_of(one: Clearing, trade_id: str, now_ns: int, **changes: Any) -> None:
    values: dict[str, Any] = {"account": "alpha", "symbol": BTC, "side": "1", "quantity": Decimal(100),
                              "price": Decimal(59_000), "trade_id": trade_id, "now_ns": now_ns}  # fmt: skip
    assert isinstance(one.house, OrderManagement)
    one.house.copy_fill(**(values | changes))
    one.pump()


def test_an_oms_copies_fills_that_we_have_and_nothing_is_booked(tmp_path: Path) -> None:
    with clearing(tmp_path, OrderManagement(), config(OMS)) as one:
        one.dial()
        one.fill(trade_id="t1")
        one.house.trades["t1"] = ClearedTrade(
            "t1", "alpha", BTC, "1", Decimal(100), Decimal(59_000), timestamp(one.rig.now_ns)
        )
        fill_of(one, "t1", one.rig.now_ns)
        one.wait(65)
        assert one.breaks == [] and one.invented() == [] and one.link.trades.told == 1
        one.rig.check_replay()


def test_a_copy_that_comes_before_the_stream_waits_for_it_and_one_without_a_fill_blocks(tmp_path: Path) -> None:
    with clearing(tmp_path, OrderManagement(), config(OMS, asks="[]")) as one:
        one.dial()
        fill_of(one, "t1", one.rig.now_ns)
        assert one.kinds() == [("strange_trade", "INFO")] and one.state() == "trading"
        one.fill(trade_id="t1")
        one.wait(2)
        assert one.breaks == []
        fill_of(one, "t2", one.rig.now_ns)
        again = one.restart()  # a copy is told once: a crash may not forget it
        try:
            again.wait(31)
            assert again.kinds() == [("strange_trade", "BLOCK")] and again.state() == "reducing"
            assert again.invented() == []
            again.rig.check_replay()
        finally:
            again.close()


def test_a_copy_with_other_terms_blocks_at_once_and_one_that_can_not_be_read_is_told_of(tmp_path: Path) -> None:
    with clearing(tmp_path, OrderManagement(), config(OMS, asks="[]")) as one:
        one.dial()
        one.fill(trade_id="t1")
        fill_of(one, "t1", one.rig.now_ns, quantity=Decimal(90))
        assert one.kinds() == [("trade_terms", "BLOCK")]
        fill_of(one, "t2", one.rig.now_ns, quantity=Decimal(0))
        assert "can not be compared" in one.rig.monitor.alerts[-1]


def test_an_oms_that_knows_no_balances_says_so(tmp_path: Path) -> None:
    with clearing(tmp_path, OrderManagement(), config(OMS, asks='["balances"]')) as one:
        one.dial()
        one.wait(12)
        assert one.link.statements.failed == 1


# -- fault 34: one fill, however often it is told ----------------------------------------------------------------------


DROP_IN = CONFIG.replace(
    "[[account]]",
    '[[fix.session]]\ntarget_comp_id = "COPY"\naccounts = ["alpha"]\nkind = "drop_copy_in"\n'
    "allow_unknown_tags = true\n[[account]]",
    1,
)


def copied(trade_id: str) -> list[tuple[int, Any]]:
    values = {37: "x", 17: f"e-{trade_id}", 150: "F", 39: 2, 1: "alpha", 55: BTC, 54: 1, 32: 100, 31: 59_000, 151: 0,
              14: 100, 6: 59_000, 880: trade_id}  # fmt: skip
    return list(values.items())


@pytest.mark.parametrize("first", ["stream", "copy"])
def test_fault_34_the_same_fill_by_stream_drop_copy_and_query_is_booked_once(tmp_path: Path, first: str) -> None:
    with opened(tmp_path, config=DROP_IN) as rig:
        desk, copies = rig.desk().log_on(), rig.desk("COPY").log_on()
        desk.order()
        order = rig.only_order()
        rig.hear(accepted(order))

        def stream() -> None:
            rig.hear(filled(order, 100))

        def copy() -> None:
            copies.send("8", *copied("t1"))

        for told in (stream, copy) if first == "stream" else (copy, stream):
            told()
        copy()
        rig.hear(filled(order, 100, is_backfill=True))
        position = rig.ledger.accounts["alpha"].positions[0]
        assert position.lots == 10 and position.bought_lots - position.sold_lots == 10
        assert len(rig.of_type(records.Filled)) == 1
        assert rig.ledger.venue_lots("deribit") == {BTC: 10}
        taken_back = 1 if first == "copy" else 0
        assert len(rig.of_type(records.ExternalFill)) == len(rig.of_type(records.ExternalFillReversed)) == taken_back
        assert rig.ledger.accounts["alpha"].state is AccountState.TRADING
        rig.check_replay()


def test_the_other_side_of_the_same_trade_is_another_fill(tmp_path: Path) -> None:
    with opened(tmp_path, config=DROP_IN) as rig:
        desk, copies = rig.desk().log_on(), rig.desk("COPY").log_on()
        desk.order()
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 100))
        copies.send("8", *[(tag, 2 if tag == 54 else value) for tag, value in copied("t1")])
        assert len(rig.of_type(records.ExternalFill)) == 1
        rig.check_replay()
