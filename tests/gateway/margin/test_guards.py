"""Guards in the gateway: decisions are records, marks and collars follow, orders are refused in a halt; fault 31."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from fixtures.fix_conversation import text
from gateway import records
from gateway.journal import read
from gateway.recovery import replay
from protocols.venues import events
from risk.guards import Guard, GuardRules, GuardState, Reading
from risk.marks import GUARD, Mark
from tests.gateway.readers import BookFeed
from tests.gateway.rig import BTC, CONFIG, SECOND, Rig, full_journal, opened, shown

PAIR = "BTC/USD"


def bar(rig: Rig, price: float, index: float | None = None) -> Mark:
    """One second: a mark comes, and guards look."""
    rig.now_ns += SECOND
    rig.hear(events.MarkPriceUpdated(BTC, price, price if index is None else index, rig.now_ns))
    rig.core.tick_markets(rig.now_ns)
    mark = rig.core.market.marks[rig.ledger.by_symbol[BTC].index]
    assert mark is not None
    return mark


def moved(rig: Rig) -> list[records.GuardMoved]:
    return rig.of_type(records.GuardMoved)


def test_a_mark_that_leaves_its_index_raises_the_guard_and_margin_does_not_follow_it(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        bar(rig, 60_000)
        assert moved(rig) == []
        mark = bar(rig, 56_000, 60_000)
        assert not mark.is_sound and mark.price == pytest.approx(58_800)
        (told,) = moved(rig)
        assert (told.pair, told.state, told.alarms) == (PAIR, "guarded", ("divergence",))
        assert told.divergence_ppm == pytest.approx(66_667, abs=50) and told.price_e8 == 60_000 * 10**8
        rig.check_replay()


def test_in_a_halt_new_risk_is_refused_and_reduction_and_cancels_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order(cl_ord_id="o")
        bar(rig, 60_000)
        bar(rig, 50_000, 60_000)
        rig.core.valuation.run(rig.now_ns)
        assert rig.core.market.halts == {(GUARD, PAIR): f"the guard of {PAIR} has halted: divergence"}
        (refused,) = desk.order(price=59_500)
        assert shown([refused], 39, 20001) == [("8", "8", "963")]
        (refused,) = desk.order(price=59_500, exec_inst="E", side=2)
        assert text(refused, 20001) == "602"  # it goes on to the later checks: it would reduce nothing
        desk.cancel("o")
        assert len(rig.ledger.orders) == 1 and rig.only_order().is_cancel_pending
        rig.check_replay()


def test_it_comes_down_by_itself_and_is_written_each_time(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        bar(rig, 60_000)
        bar(rig, 50_000, 60_000)
        for _ in range(80):
            bar(rig, 60_000)
        assert [told.state for told in moved(rig)] == ["halted", "guarded", "calm"]
        assert rig.core.market.halts == {} and bar(rig, 60_010).is_sound
        rig.check_replay()


def test_a_restart_goes_on_with_the_guard_that_was_up(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        bar(rig, 60_000)
        bar(rig, 50_000, 60_000)
        again = rig.restart()
        assert again.core.guards is not None
        assert again.core.guards.board.states()[PAIR] is GuardState.HALTED
        assert (GUARD, PAIR) in again.core.market.halts
        assert not bar(again, 60_000).is_sound
        for _ in range(80):
            bar(again, 60_000)
        assert again.ledger.guards[PAIR].state == "calm"
        again.check_replay()
        again.journal.close()


def test_every_decision_follows_from_what_is_written_of_it(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        prices = [(60_000, 60_000), (58_000, 60_000), (50_000, 60_000), *[(60_000, 60_000)] * 75, (53_000, 53_000)]
        for price, index in prices:
            bar(rig, price, index)
        assert len(moved(rig)) >= 4
        guard = Guard(PAIR, rules(rig), 0)
        for entry in read(rig.directory):
            record = records.decode(entry.payload)
            if isinstance(record, records.GuardMoved):
                reading = Reading(*(getattr(record, name) for name in Reading.__struct_fields__))
                fresh = Guard(PAIR, rules(rig), 0)  # that it rested for so long is all that the record does not say
                fresh.take(guard.state, guard.outliers)
                decision = fresh.decide(reading, 1 << 62 if record.signal == "settled" else 1)
                assert decision is not None
                assert (decision.state, decision.signal, decision.alarms) == (
                    record.state,
                    record.signal,
                    record.alarms,
                )
                guard.take(GuardState(record.state), record.outliers)


def rules(rig: Rig) -> GuardRules:
    assert rig.core.guards is not None
    return rig.core.guards.board.rules


def test_where_it_can_not_be_written_a_guard_rises_and_does_not_fall(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        bar(rig, 60_000)
        with full_journal(rig):
            bar(rig, 50_000, 60_000)
            assert (GUARD, PAIR) in rig.core.market.halts
            for _ in range(30):
                bar(rig, 60_000)
            assert (GUARD, PAIR) in rig.core.market.halts
        bar(rig, 60_000)
        assert rig.core.market.halts == {}


def test_a_fault_of_a_guard_is_told_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as rig:
        assert rig.core.guards is not None
        monkeypatch.setattr(rig.core.guards.board, "tick", lambda now: 1 / 0)
        bar(rig, 60_000)
        bar(rig, 60_000)
        assert [alert for alert in rig.monitor.alerts if "guards failed" in alert] == [
            "guards failed: ZeroDivisionError: division by zero"
        ]
        rig.core.valuation.run(rig.now_ns)
        assert rig.desk().log_on().order() == []


def test_reference_books_are_followed_and_read(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        feed = BookFeed(rig)
        bar(rig, 60_000)
        assert BTC in feed.wanted[-1][0]
        book = feed.book(BTC)
        book.apply_snapshot(1, 1, [(Decimal("59999.5"), Decimal(1000))], [(Decimal("60000"), Decimal(1000))])
        for _ in range(5):
            bar(rig, 60_000)
        book.apply_snapshot(2, 2, [(Decimal("57000"), Decimal(1000))], [(Decimal("60000"), Decimal(1000))])
        bar(rig, 60_000)
        (told,) = moved(rig)
        assert (told.alarms, told.spread_ppm) == (("spread",), 51_282)


def test_without_guards_marks_are_used_as_they_come(tmp_path: Path) -> None:
    with opened(tmp_path, config=CONFIG + "\n[guard]\nenabled = false\n") as rig:
        bar(rig, 60_000)
        assert bar(rig, 50_000, 60_000).price == 50_000
        assert moved(rig) == []


def test_fault_31_one_venues_mark_far_off_is_dropped_and_told(tmp_path: Path) -> None:
    """Three venues, one of them 30 % off: its index is left out, the others' marks and margins stay."""
    with opened(tmp_path) as rig:
        assert rig.core.guards is not None
        board, instrument = rig.core.guards.board, rig.ledger.by_symbol[BTC]
        bar(rig, 60_000)
        for name, price in (("binance", 60_010.0), ("okx", 42_000.0)):
            board.hear(msgspec.structs.replace(instrument, venue=name), price, rig.now_ns + SECOND)
        mark = bar(rig, 60_000)
        assert (mark.price, mark.is_sound) == (60_000, True)
        assert moved(rig)[-1].outliers == ("okx",)
        assert any("okx left out of its index" in alert for alert in rig.monitor.alerts)
        assert replay(read(rig.directory)).ledger.guards[PAIR].outliers == ("okx",)
