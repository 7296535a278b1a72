"""The compiled steps of a record write the same journal and the same FIX, and leave the same state, as the methods."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway import executions, hot_path, ledger, records, reports
from gateway.clients.standing import ACCOUNT, FIRM
from gateway.executions import Executions
from gateway.ledger import Ledger
from gateway.operators.kills import Kills
from gateway.pipeline import Pipeline
from gateway.reports import Reports
from protocols.venues import events
from risk import gate, pre_trade
from risk.instrument import Side
from risk.marks import GUARD, INSTRUMENT, VENUE
from risk.self_trade import ClientOrders
from tests.gateway.rig import Rig, accepted, cancelled, filled
from tests.strategies import INSTRUMENTS, World, order_of, orders, working_order, world

pytestmark = pytest.mark.skipif(not hot_path.COMPILED, reason="no compiled steps of records were built")

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("order"),
            st.sampled_from([59_000, 59_000, 60_500, 1, 59_000.3]),
            st.sampled_from([10, 100, 5, 10**7]),
            st.sampled_from([1, 2]),
            st.sampled_from([None, None, "alpha", "nobody"]),
        ),
        st.tuples(st.sampled_from(["accept", "accept", "fill", "cancel", "end"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["leave", "return"])),
        st.tuples(
            st.sampled_from(["stop", "lift"]),
            st.sampled_from([(ACCOUNT, "alpha"), (VENUE, "deribit"), (INSTRUMENT, "BTC-PERPETUAL")]),
        ),
    ),
    max_size=12,
)


def plainly(patch: pytest.MonkeyPatch) -> None:
    """Let the methods themselves do it."""
    from gateway import _path  # type: ignore[attr-defined]

    for name, method in zip(("receive", "place", "commit"), _path.plain_methods(), strict=True):
        assert method is not getattr(Pipeline, name)
        patch.setattr(Pipeline, name, method)
    patch.setitem(executions.HANDLERS, events.OrderAccepted, Executions._order_accepted)
    patch.setitem(ledger.HANDLERS, records.OrderApproved, Ledger.approve)
    patch.setitem(ledger.HANDLERS, records.VenueAccepted, Ledger._venue_accepted)
    patch.setitem(reports.HANDLERS, records.OrderApproved, Reports.received)
    patch.setitem(reports.HANDLERS, records.OrderRefused, Reports._order_refused)
    patch.setitem(reports.HANDLERS, records.VenueAccepted, Reports._venue_accepted)


def played(steps: list[Any], directory: Path) -> Any:
    """Play a story; return its journal, what each session has sent, and the state's hash."""
    rig = Rig(directory)
    try:
        rig.pipeline.journal = rig.journal  # not the one that watches: the step reads the journal's own slots
        desk = rig.desk().log_on()
        for step in steps:
            rig.now_ns += 1_000_000
            known = list(rig.ledger.orders.values())
            if step[0] == "order":
                desk.order(price=step[1], quantity=step[2], side=step[3], account=step[4])
            elif step[0] == "leave":
                rig.core.reports.sessions["ALPHA"].connection = None
            elif step[0] == "return":
                rig.core.reports.sessions["ALPHA"].connection = desk.link.session
            elif step[0] == "stop":
                rig.core.controls.kill(*step[1], "ann", "a try", rig.now_ns)
            elif step[0] == "lift":
                if step[1] in rig.ledger.standing.kills:
                    rig.core.controls.reinstate(*step[1], "ann", "all well", rig.now_ns)
            elif known:
                order = known[step[1] % len(known)]
                told: dict[str, Callable[[], Any]] = {
                    "accept": lambda order=order: rig.hear(accepted(order)),  # type: ignore[misc]
                    "fill": lambda order=order: rig.hear(filled(order, 10, f"t{rig.now_ns}")),  # type: ignore[misc]
                    "end": lambda order=order: rig.hear(cancelled(order)),  # type: ignore[misc]
                    "cancel": lambda order=order: desk.cancel(order.cl_ord_id),  # type: ignore[misc]
                }
                told[step[0]]()
        sent = {
            name: [state.sent.get(number) for number in range(1, state.next_out)]
            for name, state in rig.core.reports.sessions.items()
        }
        numbers = {name: (state.next_in, state.next_out) for name, state in rig.core.reports.sessions.items()}
        held = {name: dict(account.exposure._held) for name, account in rig.ledger.accounts.items()}
        rig.check_replay()
        return (
            [(e.sequence, e.record_type, e.payload) for e in rig.entries()],
            sent,
            numbers,
            held,
            rig.core.state_hash(),
        )
    finally:
        rig.journal.close()


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_the_same_journal_the_same_fix_the_same_state(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        compiled = played(steps, Path(one))
        with pytest.MonkeyPatch.context() as patch:
            plainly(patch)
            assert played(steps, Path(other)) == compiled


def test_a_story_of_every_kind_is_told() -> None:
    steps = [
        ("order", 59_000, 100, 1, None),
        ("accept", 0),
        ("order", 1, 10, 1, None),
        ("fill", 0),
        ("cancel", 0),
        ("end", 0),
    ]
    with tempfile.TemporaryDirectory() as directory:
        entries, *_ = played(steps, Path(directory))
    kinds = {records.OrderApproved, records.VenueAccepted, records.OrderRefused, records.Filled, records.Cancelled}
    assert {records.TAGS[kind] for kind in kinds} <= {tag for _, tag, _ in entries}


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize(
    ("stop", "code"),
    [
        ((ACCOUNT, "alpha"), "102"),
        ((FIRM, "house"), "102"),
        ((VENUE, "deribit"), "961"),
        ((INSTRUMENT, "BTC-PERPETUAL"), "962"),
        ((GUARD, "BTC/USD"), "963"),
    ],
)
def test_what_is_stopped_is_refused_in_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: tuple[str, str], code: str, is_compiled: bool
) -> None:
    if not is_compiled:
        plainly(monkeypatch)
        monkeypatch.setattr(pre_trade, "surely_passed", gate.nothing_is_sure)
    rig = Rig(tmp_path)
    try:
        rig.pipeline.journal = rig.journal
        controls = rig.core.controls
        controls.kills = Kills(rig.pipeline, controls.watch, {(FIRM, "house"): ("alpha", "beta", "gamma")})
        desk = rig.desk().log_on()
        desk.order()
        assert len(rig.ledger.orders) == 1
        if stop[0] == GUARD:
            rig.core.market.halts[stop] = "halted by its guard"
        else:
            controls.kill(*stop, "ann", "why", rig.now_ns)
        (refused,) = (m for m in desk.order() if text(m, 150) == "8")
        assert text(refused, 20001) == code and len(rig.ledger.orders) == 1
        if stop[0] == GUARD:
            del rig.core.market.halts[stop]
        else:
            controls.reinstate(*stop, "ann", "all well", rig.now_ns)
        desk.order()
        assert len(rig.ledger.orders) == 2
    finally:
        rig.journal.close()


@pytest.mark.parametrize("name", ["receive", "commit"])
@pytest.mark.parametrize("price", [59_000, 1])
def test_another_method_on_a_pipeline_is_heard(tmp_path: Path, name: str, price: int) -> None:
    rig = Rig(tmp_path)
    heard: list[Any] = []
    try:
        rig.pipeline.journal = rig.journal
        desk, own = rig.desk().log_on(), getattr(rig.pipeline, name)

        def watched(*arguments: Any) -> None:
            heard.append(arguments)
            own(*arguments)

        setattr(rig.pipeline, name, watched)
        refused = [m for m in desk.order(price=price) if text(m, 150) == "8"]
        assert len(heard) == 1 and (len(refused), len(rig.ledger.orders)) == ((1, 0) if price == 1 else (0, 1))
    finally:
        rig.journal.close()


# -- holds -----------------------------------------------------------------------------------------------------------


def held(w: World) -> Any:
    exposure = w.account.exposure
    clients = exposure.client_orders
    assert clients is not None
    counted = [(prices.counts, prices.heap) for side in (clients._buys, clients._sells) for prices in side.values()]
    rows = [w.kernel.row(w.account.index, group).tolist() for group in range(2)]
    return exposure.orders, exposure._held, exposure.buy_lots, exposure.sell_lots, counted, rows


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(orders(), max_size=6), cum_lots=st.sampled_from([0, 0, 0, 1]))
def test_a_new_order_is_held_as_exposure_holds_it(drawn: list[Any], cum_lots: int) -> None:
    from risk import _hold  # type: ignore[attr-defined]

    worlds = []
    for is_compiled in (True, False):
        w = world()
        w.account.exposure.join(ClientOrders())
        for number, order in enumerate(drawn):
            working = working_order(order, f"w{number}")
            working.cum_lots = cum_lots
            if is_compiled:
                _hold.hold(w.account.exposure, working)
            else:
                w.account.exposure.hold(working)
        worlds.append(w)
    assert held(worlds[0]) == held(worlds[1])


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("index", range(len(INSTRUMENTS)))
def test_a_buy_is_held_as_a_sell_is(side: Side, index: int) -> None:
    from risk import _hold  # type: ignore[attr-defined]

    w = world()
    order = working_order(order_of(index, side, 7))
    _hold.hold(w.account.exposure, order)
    assert order.held == (7, order.ticks)
    assert (w.account.exposure.buy_lots if side is Side.BUY else w.account.exposure.sell_lots) == {index: 7}
    with pytest.raises(AssertionError, match="held already"):
        _hold.hold(w.account.exposure, order)
    w.account.exposure.release(order)
    assert w.account.exposure.orders == {}
