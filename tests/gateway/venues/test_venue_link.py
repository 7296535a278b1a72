"""One venue's session and the book: a real Deribit session against the simulated venue, with the wire cut at will."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from fixtures.venues.deribit_faults import Fault
from gateway import records
from gateway.journal import JournalFull, read
from gateway.venues.link import QUERY_INTERVAL_NS
from protocols.venues.events import OrderQueryFailed, ReconcileFailed
from risk.lifecycle import OrdStatus
from tests.simulated_client import NEW_ORDER
from tests.simulator import MS, World
from tests.simulator_checks import check

BTC = "BTC-PERPETUAL"


@contextmanager
def running(directory: Path, seed: int = 1) -> Iterator[World]:
    """A world without faults of its own whose clients do what the test says; the venue's session is live."""
    world = World(seed, directory, faults=False)
    try:
        for client in world.clients:
            client.is_trading = False
            client.connect()
        world.connect_venue()
        until(world, lambda: world.link.session.is_live and world.core.valuation.generation is not None)
        yield world
    finally:
        world.journal.close()


def until(world: World, condition: Callable[[], Any], limit_ms: int = 20_000, step_ns: int = 10 * MS) -> None:
    """Let time pass until the condition holds."""
    end_ns = world.now_ns + limit_ms * MS
    while not condition():
        assert world.now_ns < end_ns, "it never came true"
        world._run_until(world.now_ns + step_ns)


def order(world: World, *, side: bytes = b"1", distance: float = 0.99, quantity: bytes = b"100", **changes: Any) -> Any:
    """Let ALPHA order, a little away from the mark; return what the gateway has of it at once."""
    client = world.clients[0]
    mark = world.core.market.marks[world.core.ledger.by_symbol[BTC].index]
    assert mark is not None
    price = b"%d" % int(mark.price * distance)
    fields = {"exec_inst": None, "tif": b"1"} | changes
    values = (
        b"alpha", client._next_id().encode(), fields["exec_inst"], quantity, b"2", price, side, BTC.encode(),
        fields["tif"], b"20251009-08:53:20.000",
    )  # fmt: skip
    client._send(NEW_ORDER, values)
    count = world.core.ledger.order_count
    client._pump()
    # In steps shorter than the wire's delay: the venue has not had the order yet.
    until(world, lambda: world.core.ledger.order_count == count + 1, step_ns=MS // 20)
    return list(world.core.ledger.orders.values())[-1]


def frames(world: World) -> list[dict[str, Any]]:
    """Everything that is sent to the venue from here on."""
    sent: list[dict[str, Any]] = []
    flush, session = world._flush_to_venue, world.link.session

    def watched() -> None:
        sent.extend(orjson.loads(frame) for frame in session._frames)
        flush()

    world._flush_to_venue = watched  # type: ignore[method-assign]
    world.link._flush_transport = watched
    return sent


def methods(sent: list[dict[str, Any]]) -> list[str]:
    return [frame["method"].removeprefix("private/") for frame in sent]


def finished(world: World) -> None:
    """Cancel what works, come to rest, and check every invariant of the simulator."""
    for client in world.clients:
        client.orders = {o.cl_ord_id: client.orders.get(o.cl_ord_id) or told(o) for o in mine(world, client.comp_id)}
    world.core.pipeline.cancel_all("ALPHA", world.now_ns)
    world.flush()
    until(world, lambda: world.is_at_rest() and not any(world.core.ledger.working_orders()))
    assert not world.core.ledger.breaks
    for name, state in world.core.reports.sessions.items():
        assert state.next_out >= 2, name
    world.clients = []  # what clients know of orders that others sent for them is not what is tested here
    check(world)


def mine(world: World, session: str) -> list[Any]:
    return [o for o in world.core.ledger.orders.values() if o.session == session]


def told(of: Any) -> Any:
    from tests.simulated_client import Told

    return Told(of.instrument.symbol, b"1", b"100")


# -- orders ----------------------------------------------------------------------------------------------------------


def test_an_order_goes_out_in_the_venues_words(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        sent = frames(world)
        placed = order(world, side=b"2", distance=1.01, exec_inst=b"6")
        (frame,) = sent
        params = frame["params"]
        assert frame["method"] == "private/sell" and params["label"] == placed.order_id
        assert params["type"] == "limit" and params["time_in_force"] == "good_til_cancelled"
        assert (params["amount"], params["post_only"]) == (100, True) and not params.get("reduce_only")
        until(world, lambda: placed.status is OrdStatus.NEW)
        assert placed.venue_order_id
        finished(world)


def test_an_edit_says_post_only_again(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        placed = order(world, exec_inst=b"6")
        until(world, lambda: placed.venue_order_id)
        sent = frames(world)
        world.core.pipeline.commit(
            records.ReplaceRequested("ALPHA", 0, placed.order_id, "r", 20, placed.ticks - 100, 11), world.now_ns
        )
        assert world.core.router.replace(placed, world.now_ns) is None
        world.flush()
        until(world, lambda: placed.replace is None)
        assert methods(sent) == ["edit"] and sent[0]["params"]["post_only"] is True
        assert (placed.lots, placed.cl_ord_id) == (20, "r")
        finished(world)


def test_without_a_live_session_nothing_leaves_and_that_is_said(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        placed = order(world)
        until(world, lambda: placed.venue_order_id)
        link, approved = world.link, world.core.pipeline
        world.lose_venue()
        assert "deribit" not in world.core.market.live_venues and link.state_name == "connecting"
        assert placed.status is OrdStatus.NEW  # it was acknowledged: not unknown, and asked about when we are back
        approved.commit(records.ReplaceRequested("ALPHA", 0, placed.order_id, "r", 20, placed.ticks, 11), world.now_ns)
        assert "live" in (link.replace(placed, world.now_ns) or "")
        world.core.pipeline.refuse_replace(placed, "not live", world.now_ns)
        link.cancel(placed, world.now_ns)
        until(world, lambda: link.session.is_live)
        finished(world)


# -- lost answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "is_there"),
    [(Fault.DROP_BEFORE_ACCEPT, False), (Fault.DROP_AFTER_ACCEPT, True), (Fault.REPLY_NEVER_SENT, True),
     (Fault.ERROR_NOT_EXECUTED, False), (Fault.ERROR_THOUGH_EXECUTED, True)],
)  # fmt: skip
def test_an_order_whose_answer_is_lost_is_unknown_held_and_asked_about_by_label(
    tmp_path: Path, fault: Fault, is_there: bool
) -> None:
    with running(tmp_path, seed=3) as world:  # an odd seed: the venue does not cancel on disconnect
        world.venue.faults.schedule = {fault: [1]}
        world.venue.faults.__post_init__()
        sent: list[bytes] = []
        flush = world._flush_to_venue
        world._flush_to_venue = lambda: (sent.extend(world.link.session._frames), flush())[0]  # type: ignore[assignment,func-returns-value]
        placed = order(world)
        seen: set[str] = set()
        until(world, lambda: seen.add(placed.status) or (placed.status not in "AU" and not world.link._questions))
        if is_there:
            assert placed.status is OrdStatus.NEW and placed.held == (10, placed.ticks)
        else:
            assert placed.status is OrdStatus.REJECTED and placed.held is None
        lost = [r for r in history(world) if isinstance(r, records.OrderLost)]
        told_by_stream = is_there and fault in (Fault.REPLY_NEVER_SENT, Fault.ERROR_THOUGH_EXECUTED)
        assert bool(lost) or told_by_stream
        finished(world)


def history(world: World) -> list[records.AnyRecord]:
    return [records.decode(entry.payload) for entry in read(world.directory)]


def test_a_question_without_an_answer_is_asked_again_and_one_with_an_answer_waits(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        placed = order(world)
        until(world, lambda: placed.venue_order_id)
        link = world.link
        link._ask(placed, world.now_ns)
        asked_ns = link._questions[placed.order_id]
        assert asked_ns == world.now_ns + QUERY_INTERVAL_NS  # asked; and if nothing comes, again then
        assert link.deadline_ns is not None and link.deadline_ns <= asked_ns
        link.session._events.append(OrderQueryFailed(placed.order_id, "timed out"))
        link.tick(world.now_ns)
        assert placed.order_id in link._questions and "timed out" in world.core.monitor.alerts[-1]
        until(world, lambda: not link._questions)
        link._ask(placed, world.now_ns)  # answered a moment ago: the venue is given time
        assert link._questions[placed.order_id] > world.now_ns
        until(world, lambda: not link._questions)
        finished(world)


def test_questions_about_ended_orders_are_dropped(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        placed = order(world)
        until(world, lambda: placed.venue_order_id)
        world.core.pipeline.cancel_all("ALPHA", world.now_ns)
        world.flush()
        until(world, lambda: not placed.is_working)
        world.link._questions = {placed.order_id: 0, "nobody": 0}
        world.link.tick(world.now_ns)
        assert not world.link._questions


def test_a_cancel_without_a_session_goes_with_the_next(tmp_path: Path) -> None:
    with running(tmp_path, seed=3) as world:
        placed = order(world)
        until(world, lambda: placed.venue_order_id)
        world.lose_venue()
        world.core.pipeline.cancel_all("ALPHA", world.now_ns)
        world.flush()
        assert placed.is_working and placed.order_id in world.link._questions
        until(world, lambda: not placed.is_working)
        assert placed.status is OrdStatus.CANCELED
        finished(world)


def test_orders_of_a_dead_process_are_lost_and_found(tmp_path: Path) -> None:
    with running(tmp_path, seed=3) as world:
        placed = order(world)
        label = placed.order_id
        world.crash()
        again = world.core.ledger.orders[label]
        assert again.status is OrdStatus.UNKNOWN and again.held is not None
        until(world, lambda: again.status not in "AU")
        world.core.pipeline.cancel_all("ALPHA", world.now_ns)
        world.flush()
        until(world, lambda: not any(world.core.ledger.working_orders()))
        check_replay(world)


def check_replay(world: World) -> None:
    from tests.simulator_checks import replay_gives_the_same_state

    replay_gives_the_same_state(world, [])


# -- a venue that fails ----------------------------------------------------------------------------------------------


def test_a_silent_venue_makes_marks_stale_and_is_left(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        now, connection = world.now_ns, world.venue_conn
        stale_ns: list[int] = []
        deliver = world.link.receive
        world.link.receive = lambda frame, now_ns: None  # type: ignore[method-assign]

        def is_left() -> bool:
            if not fresh(world):
                stale_ns.append(world.now_ns)
            return world.venue_conn != connection

        until(world, is_left, 40_000)
        # New risk was refused by the marks' age long before the silence was noticed.
        assert stale_ns[0] - now <= 2_500 * MS and world.now_ns - now <= 26_000 * MS
        world.link.receive = deliver  # type: ignore[method-assign]


def fresh(world: World) -> bool:
    mark = world.core.market.marks[world.core.ledger.by_symbol[BTC].index]
    assert mark is not None
    return world.now_ns - mark.time_ns <= world.core.market.mark_max_age_ns


def test_bad_credentials_halt_the_session_and_are_told_without_the_secret(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        made = world.link._make_session

        def with_a_bad_secret() -> Any:
            session = made()
            session._identity = type(session._identity)("margingate", "canary-5ecret", False, None)
            return session

        world.lose_venue()
        world.link.session = with_a_bad_secret()
        until(world, lambda: any("halted" in alert for alert in world.core.monitor.alerts))
        assert "canary" not in str(world.core.monitor.snapshot()) and not world.link.session.is_live


def test_a_reconciliation_that_fails_takes_the_venue_out_of_service(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.link.session._events.append(ReconcileFailed("positions: timed out"))
        world.link.tick(world.now_ns)
        assert world.link.must_close and "deribit" not in world.core.market.live_venues
        assert "not reconciled" in world.core.monitor.alerts[-1]


def test_the_transports_trouble_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.link.report_transport("can not connect: refused")
        assert world.core.monitor.alerts[-1] == "deribit: can not connect: refused"


# -- a journal that can not be written -------------------------------------------------------------------------------


class FullFor:
    """A journal that takes nothing for so many appends."""

    def __init__(self, journal: Any, count: int) -> None:
        self.journal, self.count = journal, count

    def append(self, *arguments: Any) -> int:
        if self.count:
            self.count -= 1
            raise JournalFull("the disk is full")
        return self.journal.append(*arguments)  # type: ignore[no-any-return]


def test_an_execution_that_can_not_be_written_is_not_applied_and_comes_back(tmp_path: Path) -> None:
    with running(tmp_path, seed=3) as world:
        until(world, lambda: world.link.book(BTC).is_usable)
        placed = order(world, distance=1.01)  # crosses: filled at once
        pipeline, session = world.core.pipeline, world.link.session
        pipeline.journal = FullFor(pipeline.journal, 1_000)  # type: ignore[assignment]
        until(world, lambda: world.link._is_spoiled, step_ns=MS)
        pipeline.journal.count = 0
        assert any("journal" in alert for alert in world.core.monitor.alerts)
        assert placed.cum_lots == 0 and placed.held is not None
        until(world, lambda: placed.status is OrdStatus.FILLED)
        assert placed.cum_lots == 10 and placed.held is None
        assert world.link.session is not session
        until(world, lambda: world.link.book(BTC).is_usable)  # what readers want is wanted of the new session too
        finished(world)


def test_an_acknowledgement_that_can_not_be_written_is_not_applied_and_comes_back(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        placed = order(world)
        pipeline = world.core.pipeline
        pipeline.journal = FullFor(pipeline.journal, 1_000)  # type: ignore[assignment]
        until(world, lambda: world.link._is_spoiled, step_ns=MS)
        assert placed.venue_order_id == "" and placed.held is not None
        pipeline.journal.count = 0
        until(world, lambda: placed.venue_order_id)
        assert placed.is_working and placed.held is not None
        finished(world)


def test_what_is_lost_at_a_disconnection_is_written_once_that_is_possible(tmp_path: Path) -> None:
    with running(tmp_path, seed=3) as world:
        placed = order(world)
        pipeline = world.core.pipeline
        pipeline.journal = FullFor(pipeline.journal, 1_000)  # type: ignore[assignment]
        world.lose_venue()
        assert placed.status is OrdStatus.PENDING_NEW and placed.held is not None
        world.call_in(3_000 * MS, partial(setattr, pipeline.journal, "count", 0))
        until(world, lambda: placed.status is OrdStatus.NEW or not placed.is_working)
        finished(world)


def test_what_the_venue_liquidates_is_a_break_for_each_trade_and_no_fill_of_ours(tmp_path: Path) -> None:
    """Its own orders bear no label: nothing is booked to a client, and whoever reads the breaks knows each trade."""
    with running(tmp_path) as world:
        resting = order(world, distance=0.99)
        filled = order(world, distance=1.01, quantity=b"1000")
        until(world, lambda: filled.status is OrdStatus.FILLED and resting.is_working)
        before, fills = world.core.ledger.venue_lots("deribit"), world.core.monitor.fills
        account = world.venue.account("margingate")
        assert account is not None
        account.balances["BTC"] = 10**7  # a hundred-thousandth of a coin: nothing covers the position
        until(world, lambda: not world.venue.positions("margingate"))
        trades = [trade for trade in world.venue.trades("margingate") if trade.order_type == "liquidation"]
        until(world, lambda: len(world.core.ledger.breaks) >= len(trades) and not resting.is_working)
        texts = [found.text for found in world.core.ledger.breaks]
        assert trades and all(any(trade.trade_id in text for text in texts) for trade in trades)
        assert all("the venue has liquidated our account" in text for text in texts)
        assert world.core.ledger.venue_lots("deribit") == before and world.core.monitor.fills == fills
        assert resting.status is OrdStatus.CANCELED
