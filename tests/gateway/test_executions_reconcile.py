"""What a venue says when asked: orders, positions, instruments; a difference is a break, and never mended."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from fixtures.fix_conversation import text
from gateway import records
from gateway.executions import ASKED_AGAIN_AT_MOST
from protocols.venues import events
from risk.account import AccountState
from risk.lifecycle import OrdStatus
from tests.gateway.rig import BTC, ETH, accepted, filled, listed, opened, positions, shown, state_of
from tests.gateway.test_executions import is_sound, lots, ordered, rejected

# -- reconciliation --------------------------------------------------------------------------------------------------


def test_open_orders_that_are_not_ours_are_a_break_and_missing_ones_are_asked_about(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.order()
        fresh = list(rig.ledger.orders.values())[1]
        stranger = state_of(order, "open", label="")
        rig.hear(events.OpenOrdersReported((stranger,)))
        # The answer to one that was sent a moment ago is still on its way: the list may be older than the order.
        assert rig.queries == [order.order_id] and fresh.status is OrdStatus.PENDING_NEW
        assert "not ours" in rig.ledger.breaks[0].text
        rig.hear(events.OpenOrdersReported((state_of(order, "open"), state_of(fresh, "open"))))
        assert fresh.status is OrdStatus.NEW
        is_sound(rig)


def test_an_order_done_at_the_venue_waits_for_its_trades(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(events.OrderStateReported(state_of(order, "filled", filled_quantity=Decimal(100))))
        assert order.is_working and rig.queries == [order.order_id]
        rig.hear(filled(order, 100))
        rig.hear(events.OrderStateReported(state_of(order, "filled", filled_quantity=Decimal(100))))
        assert shown(desk.pump(), 39) == [("8", "2")]
        rig.hear(events.OrderStateReported(state_of(order, "open", label="another's")))
        is_sound(rig)


def test_an_order_filled_at_the_venue_after_a_replace_to_less(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        rig.hear(filled(order, 40))
        desk.replace("o", cl_ord_id="r", quantity=50)
        rig.hear(filled(order, 10, "t2"))
        state = state_of(order, "filled", quantity=Decimal(50), filled_quantity=Decimal(50))
        rig.hear(events.OrderStateReported(state))
        assert order.status is OrdStatus.FILLED and order.cl_ord_id == "r" and order.held is None
        is_sound(rig)


def test_an_order_that_the_venue_calls_filled_with_less_than_its_quantity_ends(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40), events.OrderStateReported(state_of(order, "filled", filled_quantity=Decimal(40))))
        assert order.status is OrdStatus.CANCELED and order.held is None
        is_sound(rig)


def test_an_order_gone_from_the_venue_ends_with_what_it_had(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig)
        desk.replace("o", cl_ord_id="r", price=58_000)
        rig.hear(filled(order, 40), events.OrderNotFound(order.order_id), events.OrderNotFound("another's"))
        assert shown(desk.pump(), 39, 14)[-1] == ("8", "4", "40") and order.held is None
        is_sound(rig)


@pytest.mark.parametrize(
    ("theirs", "is_broken"), [({BTC: 40}, False), ({BTC: 30}, True), ({}, True), ({BTC: 40, ETH: 7}, True)]
)
def test_positions_that_differ_restrict_and_invent_nothing(
    tmp_path: Path, theirs: dict[str, int], is_broken: bool
) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40))
        told = (
            positions("BTC", {s: q for s, q in theirs.items() if s == BTC}),
            positions("ETH", {s: q for s, q in theirs.items() if s == ETH}),
            events.ReconcileFinished(),
        )
        rig.hear(*told)
        assert not rig.ledger.breaks and rig.executions.must_ask_again is is_broken
        rig.hear(*told)
        assert not rig.executions.must_ask_again
        state = rig.ledger.accounts["alpha"].state
        assert state is (AccountState.REDUCING if is_broken else AccountState.TRADING)
        assert bool(rig.ledger.breaks) is is_broken
        assert lots(rig) == 4 and lots(rig, ETH) == 0 and len(rig.of_type(records.Filled)) == 1
        is_sound(rig)


def test_a_fill_that_positions_do_not_know_yet_is_no_break(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40), positions("BTC", {}), events.ReconcileFinished())
        assert rig.executions.must_ask_again and not rig.ledger.breaks
        rig.hear(positions("BTC", {BTC: 40}), events.ReconcileFinished())
        assert not rig.executions.must_ask_again and not rig.ledger.breaks


def test_a_difference_that_is_never_the_same_is_a_break_in_the_end(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        ordered(rig)
        for quantity in range(1, ASKED_AGAIN_AT_MOST + 1):
            rig.hear(positions("BTC", {BTC: quantity * 10}), events.ReconcileFinished())
            assert rig.executions.must_ask_again and not rig.ledger.breaks
        rig.hear(positions("BTC", {BTC: 990}), events.ReconcileFinished())
        assert not rig.executions.must_ask_again and rig.ledger.breaks


def test_what_an_interrupted_reconciliation_left_is_not_compared(tmp_path: Path) -> None:
    """The first attempt saw 40 and broke off; the position was closed since; the second sees it flat."""
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40), positions("BTC", {BTC: 40}))
        sell = list(rig.ledger.orders.values())[-1]
        assert sell is order
        rig.desks[0].order(side=2, price=60_000, quantity=40)
        closing = list(rig.ledger.orders.values())[-1]
        rig.hear(accepted(closing), filled(closing, 40, "t2"))
        rig.hear(positions("BTC", {}), positions("BTC", {BTC: 1}, is_complete=False), events.ReconcileFinished())
        assert not rig.ledger.breaks


def test_an_illegal_word_of_the_venue_halts_the_account(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = ordered(rig, is_accepted=False)
        rig.hear(rejected(order), accepted(order))
        assert rig.ledger.accounts["alpha"].state is AccountState.HALTED and len(rig.ledger.breaks) == 1
        (report,) = desk.order()[-1:]
        assert text(report, 20001) == "102"
        is_sound(rig)


def test_an_order_that_the_venue_took_after_all_is_cancelled(tmp_path: Path) -> None:
    """ "Not found" came before the venue had booked the order; now it says accepted, and we hold nothing for it."""
    with opened(tmp_path) as rig:
        _, order = ordered(rig, is_accepted=False)
        rig.hear(events.OrderOutcomeUnknown(order.order_id), events.OrderNotFound(order.order_id), accepted(order))
        assert order.order_id in rig.link.cancelled


# -- instruments and marks -------------------------------------------------------------------------------------------


def test_an_instrument_that_can_not_be_is_not_journalled(tmp_path: Path) -> None:
    """What was journalled must be applied again at every start: a bad listing may not make the gateway unstartable."""
    with opened(tmp_path) as rig:
        before = rig.journal.next_sequence
        rig.hear(listed("SOL-PERPETUAL", kind="option", option_type="call"))  # no strike
        assert rig.journal.next_sequence == before and "SOL-PERPETUAL" not in rig.ledger.by_symbol
        assert any("SOL-PERPETUAL not listed" in alert for alert in rig.monitor.alerts)
        is_sound(rig)


def test_listings_are_journalled_once_closed_and_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        before = rig.journal.next_sequence
        rig.hear(listed(BTC))
        assert rig.journal.next_sequence == before
        for is_open in (False, True, False, True):
            rig.hear(*[events.MarkPriceUpdated(BTC, 60_000.0, 60_000.0, rig.now_ns, is_open=is_open)] * 2)
            assert rig.ledger.by_symbol[BTC].is_open is is_open
        assert rig.journal.next_sequence == before + 4
        rig.hear(listed(BTC, is_open=False))
        rig.mark(BTC, 60_000.0)
        assert not rig.ledger.by_symbol[BTC].is_open  # what the listing closed, no ticker opens
        rig.hear(listed(BTC))
        rig.hear(listed(BTC, taker_fee=Decimal("0.001")))
        assert rig.ledger.by_symbol[BTC].taker_fee == Decimal("0.001") and not rig.ledger.breaks
        is_sound(rig)


def test_an_instrument_with_other_terms_closes_and_keeps_its_scale(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        for _ in range(2):
            rig.hear(listed(BTC, tick_size=Decimal(1)))
        instrument = rig.ledger.by_symbol[BTC]
        assert instrument.tick_size == Decimal("0.5") and not instrument.is_open
        assert "other terms" in rig.ledger.breaks[0].text and len(rig.of_type(records.InstrumentListed)) == 3
        is_sound(rig)


def test_what_its_ticker_had_closed_before_its_terms_changed_no_ticker_opens_again(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        shut, open_again = (
            events.MarkPriceUpdated(BTC, 60_000.0, 60_000.0, rig.now_ns, is_open=is_open) for is_open in (False, True)
        )
        rig.hear(shut, listed(BTC, tick_size=Decimal(1)), open_again, shut, open_again)
        assert not rig.ledger.by_symbol[BTC].is_open and "other terms" in rig.ledger.breaks[0].text
        rig.hear(listed(BTC, tick_size=Decimal(1)), open_again)
        assert not rig.ledger.by_symbol[BTC].is_open
        is_sound(rig)
        again = rig.restart()
        again.hear(events.MarkPriceUpdated(BTC, 60_000.0, 60_000.0, rig.now_ns, is_open=True))
        assert again.ledger.by_symbol[BTC].is_open  # the rig's venue lists it on the terms that it had
        again.journal.close()


def test_an_answer_written_before_fills_that_we_have_proves_nothing(tmp_path: Path) -> None:
    """The order has ended; a state of it from before says that it is open. One with all its fills would be a break."""
    with opened(tmp_path) as rig:
        rig.desk().log_on().order(quantity=100)
        order = rig.only_order()
        rig.hear(accepted(order))
        stale = state_of(order, "open", filled_quantity=Decimal(40))
        rig.hear(filled(order, 100), events.OrderStateReported(stale))
        assert not rig.ledger.breaks and rig.link.cancelled == []
        is_sound(rig)
        open_still = events.OrderStateReported(state_of(order, "open", filled_quantity=Decimal(100)))
        rig.hear(open_still)  # written before its end, perhaps: it is asked about once more
        assert not rig.ledger.breaks and rig.link.cancelled == []
        rig.hear(open_still)
        assert "works at the venue" in rig.ledger.breaks[0].text and rig.link.cancelled == [order.order_id]


def test_marks_that_can_not_be_used_are_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rig.mark(BTC, float("nan"))
        rig.mark(BTC, 0.0)
        rig.mark("NO-SUCH", 1.0)
        assert rig.monitor.marks_refused == 2
        mark = rig.core.market.marks[rig.ledger.by_symbol[BTC].index]
        assert mark is not None and mark.price == 60_000.0


def test_a_venues_errors_are_counted_and_told(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rig.hear(events.VenueErrorReported(11050, "bad_request"), events.IndexPriceUpdated("btc_usd", 1.0, 1))
        rig.hear(events.OrderOutcomeUnknown("another's"), cancelled_stranger())
        assert rig.monitor.venue_errors == 1 and "11050 bad_request" in rig.monitor.alerts[-1]


def cancelled_stranger() -> events.OrderCancelled:
    return events.OrderCancelled("another's", "V", "", Decimal(0))
