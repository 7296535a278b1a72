"""The session over time: token refresh, heartbeats, lost connections, rate limits, secrets."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from protocols.venues.deribit import Deribit, RateLimits
from protocols.venues.deribit_tables import State
from protocols.venues.events import (
    BookGapped,
    OrderOutcomeUnknown,
    OrderQueryFailed,
    VenueErrorReported,
    VenueStateChanged,
)
from protocols.venues.rate_limit import RateLimitError
from tests.protocols.venues.fake_deribit import (
    ACCESS,
    REFRESH,
    SECRET,
    T0_NS,
    FakeDeribit,
    changes,
    live,
    notification,
    refusal,
    reply,
    wire_order,
)

S = 1_000_000_000


def refuse(code: int) -> Any:
    def answer(_: object) -> None:
        raise KeyError(code)

    return answer


def place(venue: FakeDeribit, label: str = "a1") -> None:
    venue.session.place(
        label, "BTC-PERPETUAL", True, "100", "50000", "limit", "good_til_cancelled", False, False, venue.now_ns
    )


def states(events: list[Any]) -> list[str]:
    return [event.state for event in events if isinstance(event, VenueStateChanged)]


def heartbeat(kind: str = "heartbeat") -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})


def stay_alive(venue: FakeDeribit, seconds: int) -> None:
    for _ in range(seconds // 10):
        venue.pass_time(10 * S)
        venue.receive(heartbeat())


def test_the_token_is_refreshed_before_it_expires() -> None:
    venue = live()
    stay_alive(venue, 670)
    assert venue.sent == []
    venue.pass_time(5 * S)  # three quarters of 900 s
    assert [request["params"] for request in venue.sent] == [{"grant_type": "refresh_token", "refresh_token": REFRESH}]
    assert venue.session.is_live
    assert venue.session._identity.refresh_at_ns == venue.now_ns + 675 * S


def test_a_refused_refresh_is_tried_once_more_with_the_key() -> None:
    venue = live()
    grants = []

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        grants.append(params["grant_type"])
        if params["grant_type"] == "refresh_token":
            raise KeyError(13009)
        return {"access_token": "a2", "refresh_token": "r2", "expires_in": 900}

    venue.answers["public/auth"] = answer
    stay_alive(venue, 680)
    assert grants == ["refresh_token", "client_credentials"]
    assert venue.session.is_live
    venue.answers["public/auth"] = refuse(13009)
    stay_alive(venue, 680)
    assert venue.session.state is State.HALTED
    assert states(venue.seen)[-1] == "halted"


# -- heartbeats and silence


def test_each_test_request_is_answered_at_once() -> None:
    venue = live()
    for _ in range(3):
        venue.receive(heartbeat("test_request"))
    venue.receive(heartbeat())
    assert [request["method"] for request in venue.sent] == ["public/test"] * 3


def test_a_test_request_is_answered_when_the_rate_limit_is_used_up() -> None:
    limits = RateLimits(requests_capacity=6_000, requests_per_s=1, requests_reserve=2_000)
    venue = live(limits=limits)
    for i in range(10):
        venue.session.query_order(f"a{i}", "BTC-PERPETUAL", venue.now_ns)
    waiting = len(venue.session._paced)
    assert waiting >= 8
    venue.receive(heartbeat("test_request"))
    assert venue.sent[-1]["method"] == "public/test"
    assert len(venue.session._paced) == waiting
    assert repr(venue.session._paced) == f"PacedRequests({waiting} queued)"


def test_a_silent_socket_halts_the_session() -> None:
    """Fault 28."""
    venue = live()
    place(venue)
    venue.pump()
    venue.receive(reply(venue.sent[-1]["id"], {"order": wire_order(), "trades": []}))
    assert venue.session.deadline_ns == venue.now_ns + 25 * S
    assert venue.pass_time(25 * S - 1) == []
    assert venue.pass_time(1) == [VenueStateChanged("halted", "silent for 25 s")]
    assert venue.session.deadline_ns is None


# -- losing the connection


def test_everything_in_flight_is_unknown_when_the_connection_is_lost() -> None:
    venue = live()
    venue.answers |= {"private/buy": None}
    place(venue, "new")
    venue.session.replace("old", "BTC-7", "20", "5", venue.now_ns)
    venue.session.cancel("older", "BTC-8", venue.now_ns)
    venue.session.query_order("asked", "BTC-PERPETUAL", venue.now_ns)
    book = notification(
        "book.BTC-PERPETUAL.raw",
        {
            "type": "snapshot",
            "timestamp": T0_NS // 1_000_000,
            "instrument_name": "BTC-PERPETUAL",
            "change_id": 1,
            "bids": [["new", 1.0, 1.0]],
            "asks": [],
        },
    )
    venue.receive(book)
    assert venue.session.book("BTC-PERPETUAL").is_usable
    venue.session.disconnected(venue.now_ns)
    assert venue.events() == [
        VenueStateChanged("connecting", "connection lost"),
        OrderOutcomeUnknown("new", "place", "connection lost"),
        OrderOutcomeUnknown("old", "replace", "connection lost"),
        OrderOutcomeUnknown("older", "cancel", "connection lost"),
        OrderQueryFailed("asked", "connection lost"),
        BookGapped("BTC-PERPETUAL", "disconnected"),
    ]
    assert not venue.session.book("BTC-PERPETUAL").is_usable
    assert venue.session.deadline_ns is None
    assert venue.session.frames_to_send() == []
    venue.session.receive(heartbeat("test_request"), venue.now_ns)
    assert venue.session.frames_to_send() == []
    assert venue.session.malformed_frames == 1
    venue.session.disconnected(venue.now_ns)
    assert venue.events() == []


def test_ids_go_on_over_reconnections() -> None:
    venue = live()
    venue.answers["private/buy"] = None
    place(venue)
    old_id = venue.pump()[-1]["id"]
    venue.session.disconnected(venue.now_ns)
    venue.connect()
    assert venue.session.is_live
    assert min(request["id"] for request in venue.sent[1:]) > old_id
    venue.events()
    (event,) = venue.receive(reply(old_id, {"order": wire_order(), "trades": []}))
    assert event == VenueErrorReported(0, "id: no request waits for this reply", str(old_id))


def test_a_request_without_answer_has_an_unknown_outcome_and_a_late_answer_still_counts() -> None:
    venue = live()
    venue.answers["private/buy"] = None
    place(venue)
    request = venue.pump()[-1]
    assert venue.session.deadline_ns == venue.now_ns + 5 * S
    assert venue.pass_time(5 * S) == [OrderOutcomeUnknown("a1", "place", "no answer in time")]
    (event,) = venue.receive(refusal(request["id"], 10009, "not_enough_funds"))
    assert (event.code, event.is_definite) == (10009, True)  # type: ignore[union-attr]


# -- rate limits


def test_too_many_requests_halts_and_nothing_more_is_sent() -> None:
    venue = live()
    venue.answers["private/buy"] = refuse(10028)
    place(venue)
    venue.session.query_order("q", "BTC-PERPETUAL", venue.now_ns)
    venue.answers["private/get_order_state_by_label"] = None
    venue.pump()
    events = venue.events()
    assert (events[0].code, events[0].is_definite) == (10028, False)  # type: ignore[union-attr]
    assert states(events) == ["halted"]
    venue.receive(heartbeat("test_request"))
    assert venue.session.frames_to_send() == []


def test_orders_over_the_rate_limit_are_refused_and_cancels_keep_a_reserve() -> None:
    venue = live()
    venue.answers |= dict.fromkeys(["private/buy", "private/edit", "private/cancel", "private/cancel_all"])
    for i in range(15):
        assert venue.session.can_send_order(venue.now_ns)
        place(venue, f"a{i}")
    assert not venue.session.can_send_order(venue.now_ns)
    with pytest.raises(RateLimitError):
        place(venue, "over")
    with pytest.raises(RateLimitError):
        venue.session.replace("a0", "BTC-1", "10", "5", venue.now_ns)
    for i in range(7):
        venue.session.cancel(f"a{i}", f"BTC-{i}", venue.now_ns)
    assert not venue.session.cancel_all(venue.now_ns)
    assert [request["method"] for request in venue.pump()] == ["private/buy"] * 15 + ["private/cancel"] * 5
    # Two cancels wait for their credit, 200 ms each.
    for _ in range(2):
        assert venue.session.deadline_ns == venue.now_ns + S // 5
        venue.pass_time(S // 5)
        assert venue.sent[-1]["method"] == "private/cancel"
    assert venue.session.cancel_all(venue.now_ns + S // 5)


def test_requests_in_flight_are_bounded() -> None:
    venue = live(max_in_flight=3)
    venue.answers |= dict.fromkeys(["private/buy", "private/get_order_state_by_label"])
    for i in range(3):
        place(venue, f"a{i}")
    assert not venue.session.can_send_order(venue.now_ns)
    with pytest.raises(RateLimitError, match="in flight"):
        place(venue, "a3")
    venue.session.query_order("q", "BTC-PERPETUAL", venue.now_ns)
    assert not venue.session.cancel_all(venue.now_ns)
    assert len(venue.pump()) == 3
    assert venue.session.deadline_ns == venue.now_ns + 5 * S


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.venues.deribit_requests.MAX_QUEUED", 2)
    venue = live(limits=RateLimits(requests_capacity=5_000, requests_per_s=1))
    for i in range(6):
        venue.session.query_order(f"q{i}", "BTC-PERPETUAL", venue.now_ns)
    failed = [event for event in venue.session.events() if isinstance(event, OrderQueryFailed)]
    assert {event.reason for event in failed} == {"the request queue is full"}
    venue.session.disconnected(venue.now_ns)
    failed += [event for event in venue.session.events() if isinstance(event, OrderQueryFailed)]
    assert len(failed) == 6


# -- secrets


def test_no_secret_in_any_repr_event_or_error() -> None:
    """Fault 50: not even where the venue echoes one."""
    venue = live()
    echo = f"bad {SECRET} {ACCESS} {REFRESH}"
    venue.answers |= {"private/buy": None, "private/get_order_state_by_label": None}
    place(venue)
    venue.session.query_order("q", "BTC-PERPETUAL", venue.now_ns)
    place_id, query_id = (request["id"] for request in venue.pump())
    venue.receive(refusal(place_id, 10001, echo, {"reason": echo, "param": echo}))
    venue.receive(refusal(query_id, 10001, echo, echo))
    venue.receive(notification(echo, {}))
    venue.receive(orjson.dumps({"jsonrpc": "2.0", "method": echo, "params": {}}))
    venue.receive(changes([wire_order(order_id="X", label="a9", order_state="cancelled", cancel_reason=echo)]))
    venue.receive(changes([wire_order(price=echo)]))
    venue.session.disconnected(venue.now_ns)
    shown = repr(venue.events()) + repr(venue.seen) + repr(venue.session) + repr(vars(venue.session))
    assert "[redacted]" in shown
    for secret in (SECRET, ACCESS, REFRESH):
        assert secret not in shown


def test_texts_of_the_venue_are_bounded() -> None:
    venue = live()
    venue.answers["private/buy"] = None
    place(venue)
    (request,) = venue.pump()
    (event,) = venue.receive(refusal(request["id"], 11030, "x" * 100_000))
    assert len(event.message) == 300  # type: ignore[union-attr]


def test_a_session_is_made_of_keyword_arguments_with_sound_defaults() -> None:
    plain = Deribit(client_id="id", client_secret="secret", currencies=("BTC",), symbols=lambda _: True)
    assert repr(plain) == "Deribit(connecting, 0 in flight, 0 queued)"
    assert repr(plain._identity) == "Identity(id)"
