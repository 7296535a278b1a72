"""What clients are told: every refusal with its code and numbers, every execution once, and the same after a replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.fix_conversation import text
from gateway import records
from gateway.refusals import ORD_REJ_REASON
from risk.order import RejectReason
from tests.gateway.rig import BTC, SECOND, START_NS, accepted, cancelled, filled, opened, shown
from tests.gateway.test_executions import ordered

# RejectCode, Check, Limit, Observed, Required, MarkAgeMs: clients' programs rely on these numbers.
REFUSAL_TAGS = (20001, 20002, 20003, 20004, 20005, 20007)
# FIX 4.4, OrdRejReason(103): the values that exist.
EXISTING = {str(value) for value in (*range(16), 99)}
UNKNOWN_SYMBOL, CLOSED, EXCEEDS_LIMIT, DUPLICATE, UNSUPPORTED, QUANTITY, ACCOUNT = "1", "2", "3", "6", "11", "13", "15"
NAMED = {
    RejectReason.UNKNOWN_ACCOUNT: ACCOUNT,
    RejectReason.UNKNOWN_INSTRUMENT: UNKNOWN_SYMBOL,
    RejectReason.INSTRUMENT_CLOSED: CLOSED,
    RejectReason.QUANTITY_NOT_IN_LOTS: QUANTITY,
    RejectReason.DUPLICATE_CL_ORD_ID: DUPLICATE,
    RejectReason.UNSUPPORTED_CHARACTERISTIC: UNSUPPORTED,
    RejectReason.MARGIN_SHORTFALL: EXCEEDS_LIMIT,
    RejectReason.POSITION_ABOVE_LIMIT: EXCEEDS_LIMIT,
}


@pytest.mark.parametrize("reason", list(RejectReason))
def test_every_reason_has_its_code_its_text_and_its_numbers(tmp_path: Path, reason: RejectReason) -> None:
    assert set(ORD_REJ_REASON) == set(RejectReason)
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        record = records.OrderRefused(
            "ALPHA", 0, b"o", b"alpha", BTC.encode(), b"1", b"2", b"100", b"59000", reason, "the_check",
            "what is wrong", 1234.5, -0.25, 99.0, 7_000_000,
        )  # fmt: skip
        rig.pipeline.commit(record, rig.now_ns)
        (report,) = desk.pump()
        assert shown([report], 150, 39, 11, 1, 37, 14, 151, 6) == [("8", "8", "8", "o", "alpha", "NONE", "0", "0", "0")]
        assert text(report, 103) == NAMED.get(reason, text(report, 103)) and text(report, 103) in EXISTING
        assert [text(report, tag) for tag in REFUSAL_TAGS] == [
            str(int(reason)), "the_check", "1234.50", "-0.25", "99.00", "7",
        ]  # fmt: skip
        told = text(report, 58)
        assert told.startswith(f"{reason.name} the_check: what is wrong")
        assert "limit 1234.5" in told and "observed -0.25" in told and "required 99" in told
        assert text(report, 17) == str(rig.journal.next_sequence - 1)  # ExecID: the record's number


def test_numbers_that_there_are_not_are_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        (report,) = desk.order(symbol="DOGE")
        assert [report.get(tag) for tag in REFUSAL_TAGS[2:]] == [None] * 4
        assert "limit" not in text(report, 58)


def test_a_day_of_reports_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        beta = rig.desk("BETA").log_on()
        rig.now_ns += SECOND
        rig.hear(filled(order, 40, "t1"), filled(order, 20, "t2", price=order.instrument.price(117_999)))
        desk.replace("o", cl_ord_id="r", quantity=200, price=58_000)
        desk.cancel("o", cl_ord_id="c")
        desk.order(symbol="DOGE")
        desk.send("H", (11, "o"), (54, 1), (55, BTC))
        desk.send("H", (11, "unknown"), (54, 1), (55, BTC))
        desk.send("1", (112, "ping"))
        beta.order(account="beta", cl_ord_id="b")
        other = list(rig.ledger.orders.values())[-1]
        rig.hear(accepted(other), cancelled(other, 0, "user_request"), cancelled(order, 60))
        assert rig.monitor.fills == 2
        rig.check_replay()
        desk.link.disconnected(rig.now_ns)
        rig.check_replay()
        again = rig.restart(now_ns=rig.now_ns + SECOND)
        try:
            for name, state in rig.core.reports.sessions.items():
                rebuilt = again.core.reports.sessions[name]
                assert [rebuilt.sent.get(n) for n in range(1, state.next_out)] == [
                    state.sent.get(n) for n in range(1, state.next_out)
                ]
        finally:
            again.journal.close()


def test_average_price_is_exact_to_a_millionth_of_a_tick(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        for number, ticks in enumerate((118_000, 117_999, 117_999)):
            rig.hear(filled(order, 10, f"t{number}", price=order.instrument.price(ticks)))
        told = [text(m, 6) for m in desk.pump()]
        assert told == ["59000.0", "58999.7500000", "58999.6666665"]


def test_a_reset_of_numbers_is_rebuilt(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(filled(order, 10))
        desk.pump()
        desk.link.disconnected(rig.now_ns)
        rig.desks.clear()
        again = rig.desk().log_on()  # 141=Y
        again.order(symbol="DOGE")
        state = rig.core.reports.sessions["ALPHA"]
        assert (state.next_in, state.next_out) == (3, 3)
        rig.check_replay()


def test_status_requests_tell_how_an_order_stands(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(filled(order, 40))
        desk.pump()
        (report,) = desk.send("H", (11, "o"), (54, 1), (55, BTC))
        assert shown([report], 17, 150, 39, 14, 151, 37) == [("8", "0", "I", "1", "40", "60", order.order_id)]


def test_a_session_of_the_journal_that_nobody_set_up_appears_as_recorded() -> None:
    from gateway.journal import Record
    from gateway.recovery import replay

    opened_ = records.SessionOpened("X", "FIX.4.4", "G", "X")
    moved = records.SessionMoved("X", 5, 7)
    journal = [
        Record(number, records.TAGS[type(record)], START_NS, records.encode(record), 1)
        for number, record in enumerate((opened_, opened_, moved), 1)
    ]
    state = replay(journal).reports.sessions["X"]
    assert (state.next_in, state.next_out, state.key.sender_comp_id) == (5, 7, "G")
