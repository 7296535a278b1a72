"""Orders on the venues that acknowledge first and tell the outcome by a stream: the same of each of them."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from protocols.errors import LocalProtocolError
from protocols.venues.events import (
    CancelRejected,
    Event,
    OpenOrdersReported,
    OrderAccepted,
    OrderAcknowledged,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
    VenueErrorReported,
)
from protocols.venues.order_tracker import OUTCOME_GRACE_NS
from protocols.venues.rate_limit import RateLimitError
from tests.protocols.venues.cases import BINANCE, CASES, Case, answer, place, quiet, rest_order, tell
from tests.protocols.venues.lane_peer import T0_MS, LanePeer, RefusalError, S, of

D = Decimal

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def refuse(venue: LanePeer[Any], case: Case, frame: dict[str, Any], code: int) -> list[Event]:
    lane = case.lanes[0]
    for reply in venue.refusal(lane, frame, RefusalError(code)):
        venue.session.receive(reply, venue.now_ns, lane)
    venue.pump()
    return venue.events()


def test_the_life_of_an_order(case: Case) -> None:
    venue = quiet(case)
    frame = place(venue, case)
    events = answer(venue, case, frame)
    assert of(events, OrderAcknowledged) == [OrderAcknowledged("a1", case.order_id, "place")]
    events += tell(venue, case, case.order())
    (accepted,) = of(events, OrderAccepted)
    assert (accepted.label, accepted.venue_order_id, accepted.quantity, accepted.price) == (
        "a1",
        case.order_id,
        D("0.1"),
        D(50000),
    )
    (fill,) = of(tell(venue, case, *case.fill(501, "0.040", "0.040")), OrderFilled)
    assert (fill.label, fill.quantity, fill.price, fill.fee, fill.fee_currency, fill.is_maker, fill.side) == (
        "a1",
        D("0.04"),
        D(50000),
        D("0.8"),
        "USDT",
        True,
        "buy",
    )
    (last,) = of(tell(venue, case, *case.fill(502, "0.060", "0.100", T0_MS + 2)), OrderFilled)
    assert last.trade_id != fill.trade_id
    assert not venue.pass_time(5 * S)  # nothing is missing, and nothing is asked
    assert not of(venue.seen, VenueErrorReported, OrderOutcomeUnknown, OrderCancelled)


def test_what_is_told_does_not_depend_on_the_order_of_telling(case: Case) -> None:
    """Acknowledgement, new order, two fills, in every order: accepted once, two fills, nothing else."""
    for ordering in permutations(range(4)):
        venue = quiet(case)
        frame = place(venue, case)
        parts = [
            None,
            [case.order()],
            case.fill(501, "0.040", "0.040", T0_MS + 1),
            case.fill(502, "0.060", "0.100", T0_MS + 2),
        ]
        for index in ordering:
            part = parts[index]
            if part is None:
                answer(venue, case, frame)
            else:
                tell(venue, case, *part)
        venue.pass_time(10 * S)
        assert len(of(venue.seen, OrderAccepted)) == 1, ordering
        assert sorted(fill.quantity for fill in of(venue.seen, OrderFilled)) == [D("0.04"), D("0.06")], ordering
        odd = of(venue.seen, OrderOutcomeUnknown, OrderRejected, OrderCancelled, OrderReplaced, VenueErrorReported)
        assert not odd, ordering


def test_everything_twice_is_told_once(case: Case) -> None:
    venue = quiet(case)
    frame = place(venue, case)
    answer(venue, case, frame)
    fills = case.fill(501, "0.040", "0.040")
    for _ in range(2):
        tell(venue, case, case.order(), *fills)
    tell(venue, case, case.order("cancelled", filled="0.040", time_ms=T0_MS + 3))
    tell(venue, case, case.order("cancelled", filled="0.040", time_ms=T0_MS + 3), *fills)
    assert [len(of(venue.seen, kind)) for kind in (OrderAccepted, OrderFilled, OrderCancelled)] == [1, 1, 1]
    (cancelled,) = of(venue.seen, OrderCancelled)
    assert (cancelled.label, cancelled.filled_quantity) == ("a1", D("0.04"))


def test_a_fill_after_the_end_is_told(case: Case) -> None:
    venue = quiet(case)
    rest_order(venue, case)
    tell(venue, case, case.order("cancelled", filled="0.040", time_ms=T0_MS + 3))
    fills = tell(venue, case, *case.fill(501, "0.040", "0.040"))
    assert len(of(fills, OrderFilled)) == 1
    assert not of(fills, OrderAccepted, OrderCancelled)


@pytest.mark.parametrize(("meaning", "is_definite"), [("definite", True), ("unknown", False), ("unlisted", False)])
def test_refusals(case: Case, meaning: str, is_definite: bool) -> None:
    venue, code = quiet(case), case.codes[meaning]
    (rejected,) = refuse(venue, case, place(venue, case), code)
    assert rejected == OrderRejected("a1", code, "refused", is_definite)
    rest_order(venue, case)
    venue.session.replace("a1", case.order_id, "0.200", "50001.0", venue.now_ns)
    ((_, frame),) = venue.pump()
    assert refuse(venue, case, frame, code) == [ReplaceRejected("a1", code, "refused", is_definite)]
    venue.session.cancel("a1", case.order_id, venue.now_ns)
    ((_, frame),) = venue.pump()
    assert refuse(venue, case, frame, code) == [CancelRejected("a1", code, "refused", is_definite)]


def test_a_refusal_by_rate_limit_holds_back_what_follows(case: Case) -> None:
    venue = quiet(case)
    (rejected,) = refuse(venue, case, place(venue, case), case.codes["rate"])
    assert rejected.is_definite
    assert not venue.session.can_send_order(venue.now_ns, case.symbol)
    with pytest.raises(RateLimitError):
        place(venue, case, "a2")
    venue.pass_time(11 * S)
    assert venue.session.can_send_order(venue.now_ns, case.symbol)


def test_a_refused_timestamp_has_the_clock_asked_for(case: Case) -> None:
    venue = quiet(case)
    venue.asked.clear()
    refuse(venue, case, place(venue, case), case.codes["clock"])
    assert [f"{request.method} {request.target}" for request in venue.asked] == [case.routes["clock"]]


def test_a_key_that_is_not_taken_any_more_ends_the_session(case: Case) -> None:
    venue = quiet(case)
    refuse(venue, case, place(venue, case), case.codes["fatal"])
    assert venue.session.state.value == "halted"
    assert set(venue.obey()) == case.vital


def test_no_answer_is_unknown(case: Case) -> None:
    venue = quiet(case)
    place(venue, case)
    assert not of(venue.pass_time(4 * S), OrderOutcomeUnknown)
    assert venue.pass_time(2 * S) == [OrderOutcomeUnknown("a1", "place", "no answer in time")]


def test_an_answer_after_its_time_still_counts(case: Case) -> None:
    venue = quiet(case)
    frame = place(venue, case)
    venue.pass_time(6 * S)
    events = answer(venue, case, frame) + tell(venue, case, case.order())
    assert len(of(events, OrderAccepted)) == 1


@pytest.mark.parametrize("request_kind", ["place", "replace", "cancel"])
def test_a_lost_connection_leaves_requests_unknown(case: Case, request_kind: str) -> None:
    venue = quiet(case)
    if request_kind == "place":
        place(venue, case)
    else:
        rest_order(venue, case)
        if request_kind == "replace":
            venue.session.replace("a1", case.order_id, "0.200", "50001.0", venue.now_ns)
        else:
            venue.session.cancel("a1", case.order_id, venue.now_ns)
        venue.pump()
    events = venue.hang_up(case.lanes[0])
    (unknown,) = of(events, OrderOutcomeUnknown)
    assert (unknown.label, unknown.request) == ("a1", request_kind)
    assert not venue.session.is_live


def test_acknowledged_and_nothing_more_is_unknown(case: Case) -> None:
    """The reply says no more than that the venue has the request."""
    if case is BINANCE:
        pytest.skip("its reply describes the order")
    venue = quiet(case)
    answer(venue, case, place(venue, case))
    assert venue.session.deadline_ns is not None
    assert venue.session.deadline_ns <= venue.now_ns + OUTCOME_GRACE_NS
    (unknown,) = venue.pass_time(OUTCOME_GRACE_NS)
    assert (unknown.label, unknown.request) == ("a1", "place")
    assert "acknowledged" in unknown.reason


@pytest.mark.parametrize("is_lost", [False, True])
def test_acknowledged_changes_without_an_outcome(case: Case, is_lost: bool) -> None:
    if case is BINANCE:
        pytest.skip("its reply describes the order")
    venue = quiet(case)
    rest_order(venue, case)
    venue.session.replace("a1", case.order_id, "0.200", "50001.0", venue.now_ns)
    ((_, amend),) = venue.pump()
    venue.session.cancel("a1", case.order_id, venue.now_ns)
    ((_, cancel),) = venue.pump()
    answer(venue, case, amend)
    answer(venue, case, cancel)
    events = venue.hang_up(case.lanes[1]) if is_lost else venue.pass_time(OUTCOME_GRACE_NS)
    assert sorted(one.request for one in of(events, OrderOutcomeUnknown)) == ["cancel", "replace"]


def test_replace_is_told_once_by_reply_or_stream(case: Case) -> None:
    for stream_first in (False, True):
        venue = quiet(case)
        rest_order(venue, case)
        venue.session.replace("a1", case.order_id, "0.200", "50001.0", venue.now_ns)
        ((lane, frame),) = venue.pump()
        assert lane == case.lanes[0]
        replaced = case.order(quantity="0.200", price="50001.0", time_ms=T0_MS + 5)
        result = None
        if case.name == "binance":
            result = case.accepted() | {"origQty": "0.200", "price": "50001.0", "updateTime": T0_MS + 5}
        if stream_first:
            tell(venue, case, replaced)
            answer(venue, case, frame, result)
        else:
            answer(venue, case, frame, result)
            tell(venue, case, replaced)
        # What was said before the change comes late, and changes nothing back.
        tell(venue, case, case.order(time_ms=T0_MS), case.order(time_ms=T0_MS + 5))
        venue.pass_time(10 * S)
        (told,) = of(venue.seen, OrderReplaced)
        assert (told.label, told.quantity, told.price) == ("a1", D("0.2"), D(50001))
        assert not of(venue.seen, OrderOutcomeUnknown)


def test_a_change_that_we_did_not_ask_for_is_told(case: Case) -> None:
    venue = quiet(case)
    rest_order(venue, case)
    (told,) = tell(venue, case, case.order(quantity="0.050", time_ms=T0_MS + 5))
    assert told == OrderReplaced("a1", case.order_id, D("0.05"), D(50000))


def test_a_cancel_is_told_by_the_stream(case: Case) -> None:
    venue = quiet(case)
    rest_order(venue, case)
    venue.session.cancel("a1", case.order_id, venue.now_ns)
    ((_, frame),) = venue.pump()
    result = case.accepted() | {"status": "CANCELED"} if case.name == "binance" else None
    events = answer(venue, case, frame, result)
    events += tell(venue, case, case.order("cancelled", time_ms=T0_MS + 4))
    (cancelled,) = of(events, OrderCancelled)
    assert (cancelled.label, cancelled.venue_order_id, cancelled.filled_quantity) == ("a1", case.order_id, D(0))
    assert not venue.pass_time(10 * S)


def test_cancels_wait_for_the_rate_limit_and_are_never_refused(case: Case) -> None:
    venue = quiet(case, dead_man_s=0)
    rest_order(venue, case)
    for _ in range(2_500):
        venue.session.cancel("a1", case.order_id, venue.now_ns)
    sent = len([frame for _, frame in venue.pump() if case.cancel in str(frame)])
    assert 10 <= sent < 2_500
    for _ in range(4):
        venue.pass_time(17 * S)  # within the ping's time
    more = len([frame for _, frame in venue.sent if case.cancel in str(frame)])
    assert venue.session.is_live
    assert sent < more <= 2_500
    assert venue.session.deadline_ns is not None


def test_an_order_that_is_not_known_is_neither_cancelled_nor_replaced(case: Case) -> None:
    venue = quiet(case)
    with pytest.raises(LocalProtocolError, match="no such order"):
        venue.session.cancel("a1", "nobody", venue.now_ns)
    with pytest.raises(LocalProtocolError, match="no such order"):
        venue.session.replace("a1", "nobody", "0.1", "1", venue.now_ns)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": "0"},
        {"quantity": "-1"},
        {"quantity": "1e3"},
        {"quantity": "NaN"},
        {"price": "1,5"},
        {"price": None},
        {"order_type": "market"},
        {"order_type": "stop"},
        {"time_in_force": "good_til_day"},
        {"time_in_force": "immediate_or_cancel", "post_only": True},
        {"symbol": "NOBODY"},
        {"symbol": '","x":"'},
    ],
    ids=str,
)
def test_what_can_not_be_sent_is_refused_before_it_is(case: Case, changes: dict[str, Any]) -> None:
    venue = quiet(case)
    with pytest.raises(LocalProtocolError):
        place(venue, case, **changes)
    assert not venue.pump()
    assert not venue.pass_time(10 * S)


def test_labels_are_carried_whole(case: Case) -> None:
    """Whatever the venue's alphabet, the label comes back as it was."""
    venue = quiet(case)
    frame = place(venue, case, "20261122-17")
    text = str(frame)
    client_id = case.session().tables.client_ids.encode("20261122-17")
    assert client_id in text
    with pytest.raises(LocalProtocolError):
        place(venue, case, "x" * 60)
    with pytest.raises(LocalProtocolError):
        place(venue, case, "é")


def test_orders_are_taken_when_live_only(case: Case) -> None:
    session = case.session()
    with pytest.raises(LocalProtocolError, match="when live"):
        session.place("a1", case.symbol, True, "1", "1", "limit", "good_til_cancelled", False, False, 0)
    with pytest.raises(LocalProtocolError, match="private request"):
        session.cancel("a1", "1", 0)
    with pytest.raises(LocalProtocolError, match="private request"):
        session.query_order("a1", case.symbol, 0)
    with pytest.raises(LocalProtocolError, match="private request"):
        session.reconcile(0)
    assert not session.can_send_order(0)


def test_no_limit_of_the_venue_is_exceeded(case: Case) -> None:
    """As many orders as are taken, for half a minute: the venue's own counts stay within its limits."""
    venue = quiet(case, dead_man_s=0)
    sent: list[int] = []
    for number in range(700):
        if venue.session.can_send_order(venue.now_ns, case.symbol):
            place(venue, case, f"b{number}")
            sent.append(venue.now_ns)
        else:
            with pytest.raises(RateLimitError):
                place(venue, case, "never")
        venue.now_ns += S // 23
    budgets = {budget.name: budget for budget in venue.session.tables.budgets}
    for name, _ in venue.session.tables.costs[1]:
        budget = budgets[name]
        window_ns = budget.window_ms * 1_000_000
        for first, when in enumerate(sent):
            assert bisect_left(sent, when + window_ns) - first <= budget.limit, name


def test_open_orders_are_reported_as_such(case: Case) -> None:
    venue = case.peer(case.session())
    venue.open_orders.append(case.open_order("0.040"))
    events = venue.connect()
    (told,) = of(events, OpenOrdersReported)
    (order,) = told.orders
    assert (order.label, order.quantity, order.filled_quantity, order.state) == ("a1", D("0.1"), D("0.04"), "open")
    assert not of(events, OrderAccepted)
    # Of an order found part filled the earlier fills are not missed.
    (fill,) = of(tell(venue, case, *case.fill(502, "0.010", "0.050")), OrderFilled)
    assert fill.label == "a1"
    assert not of(venue.pass_time(5 * S), VenueErrorReported)


def test_an_overfill_is_told_as_one(case: Case) -> None:
    venue = quiet(case)
    rest_order(venue, case)
    tell(venue, case, *case.fill(501, "0.100", "0.100"))
    events = tell(venue, case, *case.fill(502, "0.050", "0.100", T0_MS + 2))
    assert len(of(events, OrderFilled)) == 1
    assert any("does not fit its order" in error.message for error in of(events, VenueErrorReported))
