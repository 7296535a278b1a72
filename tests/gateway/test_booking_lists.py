"""What a venue's list tells beside bookings: breaks once, a position that survives, sessions that must be whole."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import records
from gateway.booking_lists import JUDGED_AFTER_NS, SESSIONS_KEPT, WORTH_A_RECORD_NS
from gateway.records.settlements import BookingNoted, BookingsKnown, FundingBooked
from protocols.venues import events
from risk.account import AccountState
from tests.gateway.rig import BTC, SECOND, START_NS, Rig, filled, opened
from tests.gateway.test_settlements import cash, funding, trade

HOUR = 3_600 * SECOND
ENDS_NS = START_NS + 10 * HOUR


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    with opened(tmp_path) as one:
        yield one


def strange(settlement_id: str = "BTC-7", at_ns: int = START_NS + HOUR) -> events.BookingUnexplained:
    why = "funding calculation"
    return events.BookingUnexplained("", settlement_id, "correction", Decimal("-0.0003"), "BTC", why, at_ns)


def session_end(amount: str, total: str, at_ns: int, settlement_id: str = "s1") -> events.FundingBooked:
    return funding(amount, settlement_id, at_ns, session_total=Decimal(total))


def read_until(at_ns: int) -> events.BookingsRead:
    return events.BookingsRead("BTC", at_ns)


def texts(rig: Rig) -> list[str]:
    return [record.text for record in rig.of_type(records.BreakRaised)]


def test_what_nobody_can_explain_is_a_break_once_and_moves_nothing(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 500)
    before = cash(rig, "alpha")
    rig.now_ns += HOUR
    rig.hear(strange(), strange())
    (text,) = texts(rig)
    assert text == "booking BTC-7: correction of -0.0003 BTC: funding calculation"
    assert len(rig.of_type(BookingNoted)) == 1 and cash(rig, "alpha") == before
    assert rig.ledger.accounts["alpha"].state is AccountState.TRADING
    rig.hear(strange("BTC-1", START_NS - HOUR))  # of before the first start: in the deposits of then
    assert len(texts(rig)) == 1
    rig.check_replay()
    again = rig.restart()
    again.hear(strange())
    assert len(texts(again)) == 1
    again.journal.close()


def test_how_far_the_list_was_read_survives_and_is_no_record_each_time(rig: Rig) -> None:
    rig.now_ns += HOUR
    at_ns = rig.now_ns
    rig.hear(read_until(at_ns), read_until(at_ns + SECOND), read_until(at_ns + WORTH_A_RECORD_NS))
    assert [one.until_ns for one in rig.of_type(BookingsKnown)] == [at_ns, at_ns + WORTH_A_RECORD_NS]
    rig.check_replay()
    again = rig.restart()
    assert again.ledger.settlements.known_until("deribit") == {"BTC": at_ns + WORTH_A_RECORD_NS}
    assert again.ledger.settlements.known_until("okx") == {}
    again.journal.close()


@pytest.mark.parametrize(
    ("rows", "total", "is_whole"),
    [
        (("-0.00000100", "0.00000040"), "-0.00000090", True),
        (("-0.00000100", "0.00000040"), "-0.00000093", True),  # each is rounded
        (("-0.00000100",), "-0.00000090", False),
        ((), "-0.00000130", False),
    ],
)
def test_a_session_of_funding_is_what_the_venue_says_of_it(
    rig: Rig, rows: tuple[str, ...], total: str, is_whole: bool
) -> None:
    """Its end brings -0.0000003 more. What was before the first end is of a session that nobody has seen begin."""
    trade(rig, "ALPHA", "1", 500)
    rig.now_ns = ENDS_NS + 3 * HOUR
    rig.hear(funding("0.5", "f0", START_NS + HOUR), session_end("0.00000001", "0.7", START_NS + 2 * HOUR, "s0"))
    rig.hear(*(funding(amount, f"f{at + 1}", ENDS_NS - HOUR + at) for at, amount in enumerate(rows)))
    rig.hear(session_end("-0.00000030", total, ENDS_NS))
    rig.hear(funding("0.00000900", "g1", ENDS_NS + SECOND))  # of the next one
    rig.hear(read_until(ENDS_NS + JUDGED_AFTER_NS - 1))
    assert texts(rig) == []
    rig.hear(read_until(ENDS_NS + JUDGED_AFTER_NS + WORTH_A_RECORD_NS))
    assert len(texts(rig)) == (0 if is_whole else 1)
    if not is_whole:
        assert "funding of the session is" in texts(rig)[0]
    rig.hear(read_until(ENDS_NS + JUDGED_AFTER_NS + 2 * WORTH_A_RECORD_NS))
    assert len(texts(rig)) == (0 if is_whole else 1)
    rig.check_replay()


def test_a_row_that_is_late_counts_in_the_session_that_it_is_of(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 500)
    rig.now_ns = ENDS_NS + 3 * HOUR
    rig.hear(session_end("0", "0", START_NS + 2 * HOUR, "s0"))
    rig.hear(session_end("-0.00000030", "-0.00000130", ENDS_NS))
    rig.hear(funding("-0.00000100", "late", ENDS_NS - SECOND))
    rig.hear(read_until(ENDS_NS + 2 * HOUR))
    assert texts(rig) == []


def test_sessions_that_nobody_judges_are_bounded(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 500)
    rig.now_ns = ENDS_NS + 100 * HOUR
    for day in range(3 * SESSIONS_KEPT):
        rig.hear(session_end("0", "0", ENDS_NS + day * HOUR, f"s{day}"))
    ((_, kept),) = rig.ledger.settlements.sessions.parts()
    assert len(kept) == SESSIONS_KEPT
    assert len(rig.of_type(FundingBooked)) == 3 * SESSIONS_KEPT
    rig.check_replay()


def test_a_liquidation_by_the_venue_is_a_break_with_its_reason_and_restricts(rig: Rig) -> None:
    """Which account's position it was is a person's to say: nothing is booked."""
    trade(rig, "ALPHA", "1", 500)
    order = rig.only_order()
    liquidation = msgspec.structs.replace(
        filled(order, 100, "L1"), label="", side="sell", price=Decimal(48_000), is_liquidation=True
    )
    rig.hear(liquidation, liquidation)
    (text,) = texts(rig)
    assert text == "trade L1 of 100, sell at 48000: the venue has liquidated our account"
    assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
    assert rig.ledger.accounts["beta"].state is AccountState.TRADING
    assert rig.ledger.accounts["alpha"].position_lots(rig.ledger.by_symbol[BTC].index) == order.lots
    rig.check_replay()
