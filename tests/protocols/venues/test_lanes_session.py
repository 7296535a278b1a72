"""Sessions of several lanes: states, logins, losses, silence, renewals, budgets; the same of each venue."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from protocols.errors import LocalProtocolError
from protocols.venues.codec import HttpResponse, VenueCodec
from protocols.venues.deribit import Deribit
from protocols.venues.events import (
    BookGapped,
    MarginTiersListed,
    OpenOrdersReported,
    OrderFilled,
    OrderNotFound,
    OrderQueryFailed,
    OrderStateReported,
    PositionsReported,
    ReconcileFailed,
    ReconcileFinished,
    TradesReported,
    VenueErrorReported,
    VenueStateChanged,
)
from tests.protocols.venues import fake_deribit
from tests.protocols.venues.cases import BINANCE, BYBIT, CASES, OKX, Case, answer, place, quiet, rest_order, tell
from tests.protocols.venues.lane_peer import SECRET, LanePeer, RefusalError, S, of

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
PRIVATE_WORDS = ("order", "signature", "listenKey", "account", "position")


def states(events: list[Any]) -> list[str]:
    return [event.state for event in of(events, VenueStateChanged)]


def refuses(code: int, status: int = 400) -> Any:
    def answer(_: Any) -> Any:
        raise RefusalError(code, "refused", status)

    return answer


def test_it_is_a_codec(case: Case) -> None:
    codec: VenueCodec = case.session()
    deribit: VenueCodec = fake_deribit.session()
    assert codec.lanes and deribit.lanes == ("main",)
    assert isinstance(deribit, Deribit)
    assert (deribit.url("main"), deribit.lanes_to_close(), deribit.http_requests()) == ("/", [], [])
    for call in (deribit.http_answered, deribit.http_failed):
        with pytest.raises(LocalProtocolError):
            call(1, None, 0)  # type: ignore[arg-type]


def test_a_connection_ends_in_live(case: Case) -> None:
    venue = case.peer(case.session())
    events = venue.connect()
    assert states(events) == ["authenticating", "reconciling", "live"]
    assert len(of(events, ReconcileFinished)) == 1
    assert of(events, MarginTiersListed)
    (orders,) = of(events, OpenOrdersReported)
    assert orders.orders == ()
    complete = [event for event in of(events, PositionsReported) if event.is_complete]
    assert [str(position.quantity) for event in complete for position in event.positions] in (["-0.030"], ["-0.03"])
    assert venue.session.malformed_frames == venue.session.unmatched_replies == venue.session.errors_reported == 0


def test_nothing_private_is_sent_before_the_venue_knows_us(case: Case) -> None:
    """On a lane that was refused, not one frame but the login is ever sent."""
    venue = case.peer(case.session())
    venue.answers |= {"auth": None, "login": None, "session.logon": None, "userDataStream.start": None}
    venue.connect()
    for lane, frame in venue.sent:
        if lane in case.vital:
            assert venue.name_of(lane, frame) in ("auth", "login", "session.logon", "userDataStream.start")
    assert not venue.session.is_live
    for _ in range(4):
        venue.pass_time(2 * S)
    assert venue.session.lanes_to_close()


def test_no_secret_is_shown(case: Case) -> None:
    venue = case.peer(case.session())
    venue.connect()
    place(quiet(case), case)
    shown = [repr(venue.session), repr(venue.asked), repr(venue.session.__dict__)]
    assert not any(SECRET in text or "pass-phrase" in text for text in shown)
    for raw in (f'{{"event":"error","code":"1","msg":"{SECRET}"}}', f'{{"id":null,"status":400,"op":"{SECRET}"}}'):
        venue.receive(case.lanes[0], raw.encode())
    assert not any(SECRET in str(event) for event in venue.seen)


@pytest.mark.parametrize("which", ["clock", "listing", "open orders", "settings"])
@pytest.mark.parametrize("trouble", ["refused", "lost", "malformed", "silence"])
def test_a_question_without_an_answer_leaves_the_session_halted(case: Case, which: str, trouble: str) -> None:
    venue = case.peer(case.session())
    route = case.routes[which]
    kept = venue.answers[route]
    if trouble == "refused":
        venue.answers[route] = refuses(case.codes["definite"])
    elif trouble == "malformed":
        venue.answers[route] = lambda _: "nothing"
    else:
        venue.answers[route] = None
    events = venue.connect()
    if trouble == "lost":
        for request in [request for request in venue.asked if route.endswith(request.target.partition("?")[0])]:
            venue.session.http_failed(request.request_id, f"no route {SECRET}", venue.now_ns)
        events += venue.events()
    elif trouble == "silence":
        events += venue.pass_time(6 * S)
    assert len(of(events, ReconcileFailed)) == 1
    assert states(events)[-1] == "halted"
    assert SECRET not in str(events)
    assert not venue.session.is_live
    assert set(venue.obey()) == case.vital
    # A new connection asks again, and succeeds.
    venue.answers[route] = kept
    venue.dial()
    assert venue.session.is_live


def test_an_error_page_instead_of_an_answer(case: Case) -> None:
    venue = case.peer(case.session())
    venue.answers[case.routes["settings"]] = None
    venue.connect()
    route = case.routes["settings"]
    (request,) = [one for one in venue.asked if route.endswith(one.target.partition("?")[0])]
    venue.session.http_answered(request.request_id, HttpResponse(503, b"<html>"), venue.now_ns)
    assert any("HTTP 503" in event.message for event in of(venue.events(), VenueErrorReported))


def test_every_vital_lane_may_be_lost_and_comes_back(case: Case) -> None:
    for lane in sorted(case.vital):
        venue = case.live()
        events = venue.hang_up(lane)
        assert states(events) == ["connecting"]
        with pytest.raises(LocalProtocolError):
            place(venue, case)
        venue.dial()
        assert states(venue.events()) == ["authenticating", "reconciling", "live"], lane


def test_all_lanes_lost_in_any_order(case: Case) -> None:
    venue = case.live()
    for lane in venue.session.lanes:
        venue.hang_up(lane)
    assert venue.session.state.value == "connecting"
    venue.dial()
    assert venue.session.is_live


def test_losing_the_market_leaves_orders_alone_and_books_unusable(case: Case) -> None:
    venue = case.live()
    lane = case.lanes[2]
    feed = venue.session._market.books
    feed.on_snapshot(case.symbol, 5, venue.now_ns, [], [])
    venue.events()
    events = venue.hang_up(lane)
    assert of(events, BookGapped) == [BookGapped(case.symbol, "disconnected")]
    assert venue.session.is_live
    venue.sent.clear()
    venue.dial()
    assert any(sent_lane == lane and case.symbol.lower() in str(frame).lower() for sent_lane, frame in venue.sent)


def test_misuse_is_an_error(case: Case) -> None:
    venue = case.live()
    with pytest.raises(LocalProtocolError, match="connected already"):
        venue.session.connected(venue.now_ns, case.lanes[0])
    down = case.session()
    down.receive(b"{}", 0, case.lanes[0])
    assert down.malformed_frames == 1
    assert down.deadline_ns is None


def test_pings_are_sent_and_silence_is_noticed(case: Case) -> None:
    venue = case.live(dead_man_s=0)
    for _ in range(30):
        venue.pass_time(7 * S)
        assert venue.session.is_live
        assert not venue.session.lanes_to_close()
    for lane in venue.session.lanes:
        assert any(sent_lane == lane for sent_lane, _ in venue.sent), lane
    # The venue says nothing any more.
    venue.answers |= dict.fromkeys(("ping", "LIST_SUBSCRIPTIONS", "session.status"))
    for _ in range(9):
        venue.pass_time(7 * S)
    assert venue.session.state.value == "halted"
    assert set(venue.obey()) == set(venue.session.lanes)


def test_the_deadline_is_met_by_tick(case: Case) -> None:
    """Ticking at each deadline does what is due: no deadline stays in the past."""
    venue = case.live()
    for _ in range(60):
        deadline_ns = venue.session.deadline_ns
        assert deadline_ns is not None
        venue.now_ns = max(venue.now_ns, deadline_ns)
        venue.session.tick(venue.now_ns)
        venue.pump()
        after_ns = venue.session.deadline_ns
        assert after_ns is not None
        assert after_ns > venue.now_ns
    assert venue.session.is_live


def test_the_clock_is_measured(case: Case) -> None:
    venue = case.live()
    session = venue.session
    assert session._clock.is_known
    venue.answers[case.routes["clock"]] = None
    session._ask_clock(0, venue.now_ns)
    venue.pump()
    request = venue.asked[-1]
    answer = {
        "binance": {"serverTime": venue.now_ns // 1_000_000 + 3_000},
        "okx": [{"ts": str(venue.now_ns // 1_000_000 + 3_000)}],
        "bybit": {"timeNano": str(venue.now_ns + 3 * S)},
    }[case.name]
    venue.now_ns += S
    session.http_answered(request.request_id, HttpResponse(200, venue.http_body(request, answer)), venue.now_ns)
    # Half of the round trip had passed when it was written.
    assert session._clock.offset_ns == pytest.approx(2.5 * S, abs=2_000_000)
    assert session._clock.error_ns == S // 2
    # An answer that took too long says nothing, and another is asked for soon.
    session._ask_clock(0, venue.now_ns)
    venue.pump()
    venue.now_ns += 4 * S
    session.http_answered(venue.asked[-1].request_id, HttpResponse(200, venue.http_body(request, answer)), venue.now_ns)
    assert any("the answer took" in event.message for event in of(venue.events(), VenueErrorReported))
    assert session._clock.error_ns == S // 2


def test_what_can_not_be_read_on_a_private_lane_is_asked_about(case: Case) -> None:
    for frame in (b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"e":"NEW_THING","topic":"new","event":"new"}'):
        venue = case.live()
        lane = case.lanes[1]
        events = venue.receive(lane, frame)
        assert of(events, VenueErrorReported), frame
        assert len(of(events, ReconcileFinished)) == 1, frame
        assert venue.session.malformed_frames == 1
        assert venue.session.is_live


def test_a_market_frame_that_can_not_be_read_is_counted_and_no_more(case: Case) -> None:
    venue = case.live()
    for frame in (b"{", b"[]", b"\xff\xfe", b"{}", b'{"data":{}}'):
        events = venue.receive(case.lanes[2], frame)
        assert of(events, VenueErrorReported), frame
        assert not of(events, ReconcileFinished)
    assert venue.session.malformed_frames == 5
    assert venue.session.is_live


def test_replies_that_nobody_waits_for(case: Case) -> None:
    venue = quiet(case)
    frame = place(venue, case)
    answer(venue, case, frame)
    events = answer(venue, case, frame)
    assert venue.session.unmatched_replies == 1
    assert of(events, VenueErrorReported)
    venue.session.http_answered(999_999, HttpResponse(200, b"{}"), venue.now_ns)
    venue.session.http_failed(999_999, "x", venue.now_ns)
    assert venue.session.unmatched_replies == 2


def test_a_reply_about_another_order_is_not_taken(case: Case) -> None:
    venue = quiet(case)
    frame = place(venue, case)
    other = orjson.loads(orjson.dumps(case.accepted()).replace(b'"a1"', b'"b2"'))
    events = answer(venue, case, frame, other)
    assert [type(event).__name__ for event in events] == ["VenueErrorReported", "OrderOutcomeUnknown"]
    rest_order(venue, case)
    venue.session.cancel("a1", case.order_id, venue.now_ns)
    ((_, frame),) = venue.pump()
    other = orjson.loads(orjson.dumps(case.accepted()).replace(case.order_id.encode(), b"777"))
    events = answer(venue, case, frame, other)
    assert [type(event).__name__ for event in events] == ["VenueErrorReported", "OrderOutcomeUnknown"]


# -- queries and backfill


def answers_of(case: Case, orders: list[Any], trades: list[Any]) -> dict[str, Any]:
    if case is BINANCE:
        return {
            "order.status": (lambda _: orders[0]) if orders else refuses(-2013),
            "GET /fapi/v1/userTrades": lambda _: trades,
        }
    if case is OKX:
        return {
            "GET /api/v5/trade/order": (lambda _: orders) if orders else refuses(51603, 200),
            "GET /api/v5/trade/fills": lambda _: trades,
        }
    return {
        "GET /v5/order/realtime": lambda _: {"list": []},
        "GET /v5/order/history": lambda _: {"list": orders},
        "GET /v5/execution/list": lambda _: {"list": trades},
    }


def traded(case: Case) -> Any:
    from tests.protocols.venues import fake_binance, fake_bybit, fake_okx

    if case is BINANCE:
        return fake_binance.user_trade()
    return fake_okx.fill_wire() if case is OKX else fake_bybit.execution()


def test_an_order_is_asked_about_by_label(case: Case) -> None:
    venue = quiet(case)
    venue.answers |= answers_of(case, [case.open_order("0.040")], [traded(case)])
    venue.session.query_order("a1", case.symbol, venue.now_ns)
    venue.pump()
    events = venue.events()
    assert [type(event) for event in events] == [OrderFilled, OrderStateReported]
    assert events[0].is_backfill
    state = events[1].order
    assert (state.label, str(state.filled_quantity.normalize()), state.state) == ("a1", "0.04", "open")
    # The same fill by the stream is not told again.
    assert not of(tell(venue, case, *case.fill(501, "0.040", "0.040")), OrderFilled)


def test_an_order_without_fills_is_told_at_once(case: Case) -> None:
    venue = quiet(case)
    venue.answers |= answers_of(case, [case.open_order("0")], [])
    venue.session.query_order("a1", case.symbol, venue.now_ns)
    venue.pump()
    (told,) = venue.events()
    assert told.order.filled_quantity == 0


def test_an_answer_about_another_label_is_not_taken(case: Case) -> None:
    venue = quiet(case)
    venue.answers |= answers_of(case, [case.open_order("0")], [])
    venue.session.query_order("b2", case.symbol, venue.now_ns)
    venue.pump()
    assert [type(event) for event in venue.events()] == [VenueErrorReported, OrderQueryFailed]


def test_an_order_is_missing_only_when_it_can_not_arrive_any_more(case: Case) -> None:
    venue = quiet(case)
    venue.answers |= answers_of(case, [], [])
    place(venue, case)
    venue.session.query_order("a1", case.symbol, venue.now_ns)
    venue.pump()
    (early,) = venue.events()
    assert isinstance(early, OrderQueryFailed)
    assert "still be on its way" in early.reason
    venue.pass_time(9 * S)
    venue.events()
    venue.session.query_order("a1", case.symbol, venue.now_ns)
    venue.pump()
    assert venue.events() == [OrderNotFound("a1")]


def test_a_query_without_an_answer(case: Case) -> None:
    venue = quiet(case)
    venue.answers |= dict.fromkeys(answers_of(case, [], []))
    venue.session.query_order("a1", case.symbol, venue.now_ns)
    venue.pump()
    (failed,) = venue.pass_time(6 * S)
    assert failed == OrderQueryFailed("a1", "no answer in time")
    venue.session.query_order("a1", "NOBODY", venue.now_ns)
    assert "unknown symbol" in venue.events()[0].reason


def test_a_fill_that_was_counted_and_not_told_is_asked_for(case: Case) -> None:
    venue = quiet(case)
    rest_order(venue, case)
    venue.answers |= answers_of(case, [], [traded(case)])
    tell(venue, case, case.order(filled="0.040", time_ms=venue.now_ns // 1_000_000 + 2))
    (fill,) = of(venue.pass_time(2 * S), OrderFilled)
    assert fill.is_backfill
    tell(venue, case, case.order(filled="0.090", time_ms=venue.now_ns // 1_000_000 + 3))
    events = venue.pass_time(2 * S)
    assert any("fewer than" in event.message for event in of(events, VenueErrorReported))


def test_missed_trades_are_asked_for_after_an_interruption(case: Case) -> None:
    venue = case.live()
    venue.answers |= answers_of(case, [case.open_order("0.040")], [traded(case)])
    venue.hang_up(case.lanes[1])
    venue.dial()
    events = venue.events()
    (fill,) = of(events, OrderFilled)
    assert (fill.label, fill.is_backfill) == ("a1", True)
    assert of(events, TradesReported)
    assert venue.session.is_live
    names = [type(event) for event in events]
    assert names.index(OrderFilled) < names.index(ReconcileFinished)


def test_trades_since_a_time_are_asked_for_at_the_first_connection(case: Case) -> None:
    venue = case.peer(case.session(trades_since_ns=fake_deribit.T0_NS - 20 * 86_400 * S))
    venue.answers |= answers_of(case, [case.open_order("0.040")], [traded(case)])
    venue.connect()
    assert venue.session.is_live, venue.seen
    assert len(of(venue.seen, OrderFilled)) == 1


def test_reconcile_asks_again(case: Case) -> None:
    venue = case.live()
    venue.session.reconcile(venue.now_ns)
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    events = venue.events()
    assert of(events, ReconcileFinished)
    assert venue.session.is_live


def test_a_reconciliation_that_fails_while_live(case: Case) -> None:
    venue = case.live()
    venue.answers[case.routes["open orders"]] = refuses(case.codes["unknown"])
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    assert of(venue.events(), ReconcileFailed)
    assert venue.session.is_live  # what it means is the gateway's to decide


def test_new_instruments_are_listed_and_subscribed(case: Case) -> None:
    venue = case.live()
    venue.session.list_instruments(venue.now_ns)
    venue.pump()
    assert not venue.events() or not of(venue.seen, VenueErrorReported)
    venue.answers[case.routes["listing"]] = lambda _: {"symbols": [], "list": []} if case is not OKX else []
    venue.session.list_instruments(venue.now_ns)
    venue.pump()
    closed = [event for event in venue.events() if type(event).__name__ == "InstrumentListed"]
    assert closed and not any(event.is_open for event in closed)


def test_cancel_all(case: Case) -> None:
    venue = quiet(case)
    rest_order(venue, case)
    routes = {
        "binance": "DELETE /fapi/v1/allOpenOrders",
        "okx": "batch-cancel-orders",
        "bybit": "POST /v5/order/cancel-all",
    }
    asked: list[Any] = []

    def take(request: Any) -> Any:
        asked.append(request)
        return {"code": 200, "msg": ""} if case is not OKX else [{"ordId": "9001", "sCode": "0"}]

    venue.answers[routes[case.name]] = take
    assert venue.session.cancel_all(venue.now_ns)
    venue.pump()
    assert asked
    assert not venue.events()
    venue.answers[routes[case.name]] = None
    venue.session.cancel_all(venue.now_ns)
    venue.pump()
    assert any("outcome unknown" in event.message for event in of(venue.pass_time(6 * S), VenueErrorReported))
    if case is not BYBIT:
        fresh = case.live()
        assert not fresh.session.cancel_all(fresh.now_ns)


def test_the_dead_man_timer_is_held(case: Case) -> None:
    venue = case.live(dead_man_s=30)
    rest_order(venue, case)
    routes = {
        "binance": "/fapi/v1/countdownCancelAll",
        "okx": "/api/v5/trade/cancel-all-after",
    }
    for _ in range(9):
        venue.pass_time(5 * S)
    held = [request for request in venue.asked if request.target.startswith(routes.get(case.name, "none"))]
    if case is BYBIT:
        # Its protection is bound to the connection, and set once.
        first = case.peer(case.session(dead_man_s=30))
        first.connect()
        (body,) = [orjson.loads(one.body) for one in first.asked if one.target == "/v5/order/disconnected-cancel-all"]
        assert body == {"product": "DERIVATIVES", "timeWindow": "30"}
        assert any("dcp.future" in str(frame) for lane, frame in first.sent if lane == "private")
    else:
        assert 3 <= len(held) <= 6
    with pytest.raises(ValueError, match="dead_man_s"):
        case.session(dead_man_s=1)
    with pytest.raises(ValueError, match="self_trade"):
        case.session(self_trade="whatever")


def test_a_long_silence_of_rest_is_bounded(case: Case) -> None:
    """A full request table neither grows nor loses what waits."""
    venue = case.live(max_in_flight=3)
    venue.answers |= answers_of(case, [case.open_order("0")], [])
    for number in range(20):
        venue.session.query_order("a1", case.symbol, venue.now_ns + number)
    assert isinstance(venue, LanePeer)
    for _ in range(30):
        venue.pass_time(S)
    told = of(venue.seen, OrderStateReported, OrderQueryFailed)
    assert len(told) == 20
