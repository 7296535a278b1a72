"""Busts and corrections of trades: exact, reversible, told once, kept in the journal."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway import records
from protocols.venues import events
from risk.instrument import Side
from tests.gateway.rig import BTC, CONFIG, Rig, accepted, cancelled, filled, opened, shown
from tests.strategies import LINEAR, fresh_kernel_row, order_of, world


def book(rig: Rig) -> Any:
    """What a bust must put back."""
    account = rig.ledger.accounts["alpha"]
    positions = {
        index: (p.lots, p.cash_units, p.fee_units, p.bought_lots, p.sold_lots)
        for index, p in account.positions.items()
        if p.lots or p.cash_units or p.fee_units
    }
    return dict(account.cash_units), positions


def traded(rig: Rig, *quantities: int, side: int = 1) -> Any:
    desk = rig.desk().log_on()
    desk.order(cl_ord_id="o", side=side, price=59_000 if side == 1 else 61_000)
    order = rig.only_order()
    rig.hear(accepted(order))
    for number, quantity in enumerate(quantities):
        rig.hear(filled(order, quantity, f"t{number}", fee=Decimal("0.00000123")))
    desk.pump()
    return desk, order


@pytest.mark.parametrize("side", [1, 2])
def test_a_bust_takes_everything_back_and_is_told(tmp_path: Path, side: int) -> None:
    with opened(tmp_path) as rig:
        before = book(rig)
        desk, order = traded(rig, 100, side=side)
        (fill,) = rig.of_type(records.Filled)
        exec_id = next(entry.sequence for entry in rig.entries() if records.decode(entry.payload) == fill)
        assert book(rig) != before
        rig.hear(events.TradeBusted("t0", "erroneous"))
        assert book(rig) == before
        (report,) = desk.pump()
        # The order is not put back at the venue: what was filled is gone, and will not be filled.
        assert shown([report], 150, 39, 14, 151, 6, 19, 32, 58) == [
            ("8", "H", "4", "0", "0", "0", str(exec_id), "100", "erroneous")
        ]
        assert any("busted" in alert for alert in rig.monitor.alerts)
        assert rig.ledger.venue_lots("deribit") == {BTC: 0}
        rig.hear(events.TradeBusted("t0"), filled(order, 100, "t0"))  # said again, and found again by a backfill
        assert desk.pump() == [] and book(rig) == before
        rig.check_holds()
        rig.check_replay()


def test_a_bust_of_a_part_leaves_the_order_at_work(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = traded(rig, 30, 20)
        rig.hear(events.TradeBusted("t0"))
        (report,) = desk.pump()
        assert shown([report], 39, 14, 151) == [("8", "1", "20", "50")]
        assert order.held == (5, 118_000)  # busted lots do not come back to the book
        rig.hear(filled(order, 50, "t9"))
        assert shown(desk.pump(), 150, 39, 14, 151) == [("8", "F", "4", "70", "0")]
        rig.check_holds()
        rig.check_replay()


def test_a_bust_of_all_that_was_filled_so_far(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, order = traded(rig, 30)
        rig.hear(events.TradeBusted("t0"))
        assert shown(desk.pump(), 39, 14, 151, 6) == [("8", "0", "0", "70", "0")]
        rig.hear(cancelled(order, 30))
        assert shown(desk.pump(), 150, 39, 14) == [("8", "4", "4", "0")]
        rig.check_replay()


def correction(quantity: int, price: int, trade_id: str = "t0") -> events.TradeCorrected:
    return events.TradeCorrected(trade_id, Decimal(quantity), Decimal(price), Decimal("0.000002"), "price")


def test_a_correction_of_price_and_then_of_quantity_and_then_a_bust(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        before = book(rig)
        desk, _ = traded(rig, 100)
        rig.hear(correction(100, 58_000))
        (report,) = desk.pump()
        assert shown([report], 150, 39, 14, 6, 31, 32) == [("8", "G", "2", "100", "58000.0", "58000.0", "100")]
        rig.hear(correction(60, 58_000), correction(60, 58_000))
        (report,) = desk.pump()
        assert shown([report], 150, 39, 14, 151) == [("8", "G", "4", "60", "0")]
        assert rig.ledger.venue_lots("deribit") == {BTC: 6}
        rig.hear(events.TradeBusted("t0"))
        assert shown(desk.pump(), 150, 14) == [("8", "H", "0")]
        assert book(rig) == before
        rig.hear(correction(60, 58_000))  # of a trade that is no more
        assert rig.monitor.breaks == 1
        rig.check_replay()


@pytest.mark.parametrize(
    "event",
    [events.TradeBusted("?"), correction(10, 59_000, "?"), correction(15, 59_000), correction(10, 0)],
)
def test_what_can_not_be_corrected_is_a_break(tmp_path: Path, event: events.Event) -> None:
    with opened(tmp_path) as rig:
        desk, _ = traded(rig, 100)
        before = book(rig)
        rig.hear(event)
        assert desk.pump() == [] and rig.monitor.breaks == 1 and book(rig) == before
        rig.check_replay()


def test_every_version_has_its_own_words_for_a_bust(tmp_path: Path) -> None:
    from tests.gateway.test_versions import Peer

    for version, wanted in (("FIX.4.2", (b"4", b"4", b"1")), ("FIXT.1.1", (b"H", b"4", None))):
        session = f'target_comp_id = "ALPHA"\nbegin_string = "{version}"'
        config = CONFIG.replace('target_comp_id = "ALPHA"', session)
        with opened(tmp_path / version, config=config) as rig:
            peer = Peer(rig, version)
            peer.order(b"one", b"59000")
            order = rig.only_order()
            rig.hear(accepted(order), filled(order, 100))
            peer.pump()
            rig.hear(events.TradeBusted("t1"))
            (report,) = peer.pump()
            assert report.values((150, 39, 20)) == wanted
            assert report.get(19)
            rig.check_replay()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(100_000, 300_000), st.integers(-5, 50)), min_size=1, max_size=8),
    st.data(),
)
def test_any_sequence_of_fills_and_busts_is_the_fills_that_stand(
    fills: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    """In lots, cash and fees exactly; in the kernel to its rounding."""
    side = data.draw(st.sampled_from(list(Side)))
    w, only = world(), world()
    order = w.working(order_of(LINEAR, side, 100))
    stands = data.draw(st.lists(st.booleans(), min_size=len(fills), max_size=len(fills)))
    for lots, ticks, fee in fills:
        w.account.book_fill(order.instrument, side, lots, ticks, fee)
    for index in data.draw(st.permutations(range(len(fills)))):
        if not stands[index]:
            w.account.reverse_fill(order.instrument, side, *fills[index])
    for fill, stays in zip(fills, stands, strict=True):
        if stays:
            only.account.book_fill(order.instrument, side, *fill)
    ours, theirs = w.account.positions[LINEAR], only.account.positions.get(LINEAR)
    kept = (0, 0, 0, 0, 0) if theirs is None else (
        theirs.lots, theirs.cash_units, theirs.fee_units, theirs.bought_lots, theirs.sold_lots
    )  # fmt: skip
    assert (ours.lots, ours.cash_units, ours.fee_units, ours.bought_lots, ours.sold_lots) == kept
    assert w.account.cash_units == only.account.cash_units
    w.account.exposure.release(order)
    assert fresh_kernel_row(w.account)[1] == pytest.approx(w.kernel.row(1, 1).tolist())


def test_text_of_a_bust_is_ascii(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk, _ = traded(rig, 100)
        rig.hear(events.TradeBusted("t0", "fälschlich"))
        assert text(desk.pump()[0], 58) == "f?lschlich"
