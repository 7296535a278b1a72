"""The session's life: states, authentication, setup, heartbeats, timers, rate limits, secrets."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import orjson
import pytest

from protocols.errors import LocalProtocolError
from protocols.venues.deribit import RateLimits
from protocols.venues.deribit_tables import TRANSITIONS, Input, State
from protocols.venues.events import (
    InstrumentListed,
    OpenOrdersReported,
    OrderQueryFailed,
    PortfolioReported,
    PositionsReported,
    ReconcileFailed,
    ReconcileFinished,
    VenueErrorReported,
    VenueStateChanged,
)
from tests.protocols.venues.fake_deribit import (
    ACCESS,
    OPTION,
    PERPETUAL,
    REFRESH,
    SECRET,
    T0_NS,
    FakeDeribit,
    changes,
    live,
    reply,
    session,
    wire_order,
)

S = 1_000_000_000


def refuse(code: int) -> Any:
    def answer(_: object) -> None:
        raise KeyError(code)

    return answer


def in_state(state: State) -> FakeDeribit:
    """Return a venue whose session is in the state."""
    venue = FakeDeribit(session())
    if state is State.AUTHENTICATING:
        venue.answers["public/auth"] = None
    elif state is State.RECONCILING:
        venue.answers["private/get_positions"] = None
    elif state is State.HALTED:
        venue.answers["public/auth"] = refuse(13004)
    if state is not State.CONNECTING:
        venue.connect()
    assert venue.session.state is state
    return venue


def place(venue: FakeDeribit, label: str = "a1") -> None:
    venue.session.place(
        label, "BTC-PERPETUAL", True, "100", "50000", "limit", "good_til_cancelled", False, False, venue.now_ns
    )


def states(events: list[Any]) -> list[str]:
    return [event.state for event in events if isinstance(event, VenueStateChanged)]


# -- the table


@pytest.mark.parametrize(("state", "happened"), [(s, i) for s in State for i in Input])
def test_every_pair_of_the_state_table(state: State, happened: Input) -> None:
    """A legal row changes the state and says so; an absent one is a local error and changes nothing."""
    venue = in_state(state)
    venue.events()
    expected = TRANSITIONS.get((state, happened))
    if expected is None:
        with pytest.raises(LocalProtocolError, match="can not happen when"):
            venue.session._transition(happened)
        assert venue.session.state is state
        assert venue.events() == []
    else:
        venue.session._transition(happened, "why")
        assert venue.session.state is expected
        assert venue.session.is_live is (expected is State.LIVE)
        assert venue.events() == ([] if expected is state else [VenueStateChanged(expected.value, "why")])


@pytest.mark.parametrize("state", [s for s in State if s is not State.CONNECTING])
def test_a_second_connection_is_the_callers_mistake(state: State) -> None:
    venue = in_state(state)
    with pytest.raises(LocalProtocolError, match="CONNECTED can not happen"):
        venue.session.connected(venue.now_ns)


@pytest.mark.parametrize("state", [s for s in State if s is not State.LIVE])
def test_orders_are_taken_when_live_only(state: State) -> None:
    session = in_state(state).session
    assert not session.can_send_order(T0_NS)
    session.frames_to_send()
    with pytest.raises(LocalProtocolError, match=f"not when {state.value}"):
        session.place("a", "BTC-PERPETUAL", True, "10", "1", "limit", "good_til_day", False, False, T0_NS)
    with pytest.raises(LocalProtocolError, match=f"not when {state.value}"):
        session.replace("a", "1", "10", "1", T0_NS)
    assert session.frames_to_send() == []


@pytest.mark.parametrize("state", [State.CONNECTING, State.AUTHENTICATING, State.HALTED])
def test_no_private_frame_leaves_before_authentication(state: State) -> None:
    """Of users' complaints: sends during re-authentication."""
    session = in_state(state).session
    session.frames_to_send()
    calls = [
        lambda: session.cancel("a", "1", T0_NS),
        lambda: session.cancel_all(T0_NS),
        lambda: session.query_order("a", "BTC-PERPETUAL", T0_NS),
        lambda: session.reconcile(T0_NS),
        lambda: session.list_instruments(T0_NS),
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError, match="no private request"):
            call()
    # Nor does anything that the venue says make it send one.
    for frame in (changes([wire_order(amount=-1.0)]), b'{"user.changes.any.any.raw'):
        session.receive(frame, T0_NS)
    session.tick(T0_NS + S)
    assert session.frames_to_send() == []


def test_only_authentication_is_sent_first() -> None:
    venue = FakeDeribit(session())
    venue.session.connected(T0_NS)
    (frame,) = venue.session.frames_to_send()
    assert orjson.loads(frame) == {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "public/auth",
        "params": {"grant_type": "client_credentials", "client_id": "key-id", "client_secret": SECRET},
    }
    assert venue.events() == [VenueStateChanged("authenticating")]


def test_halting_before_a_connection_changes_nothing() -> None:
    unconnected = session()
    unconnected._halt("nothing to halt")
    assert unconnected.state is State.CONNECTING
    assert unconnected.events() == []


def test_what_waited_for_the_rate_limit_is_told_of_when_halting() -> None:
    venue = live(limits=RateLimits(requests_capacity=6_000, requests_per_s=1))
    venue.answers["private/get_order_state_by_label"] = None
    for i in range(10):
        venue.session.query_order(f"q{i}", "BTC-PERPETUAL", venue.now_ns)
    venue.pump()
    waiting = len(venue.session._paced)
    assert waiting
    events = venue.pass_time(25 * S)
    assert sum(isinstance(event, OrderQueryFailed) for event in events) == 10
    assert [event.reason for event in events if isinstance(event, OrderQueryFailed)][-1] == "not sent"
    assert venue.session.state is State.HALTED


# -- setup


def test_the_way_to_live() -> None:
    venue = FakeDeribit(session(currencies=("BTC", "ETH"), trades_since_ns=T0_NS - S))
    venue.answers["public/get_instruments"] = lambda params: [PERPETUAL, OPTION] if params["currency"] == "BTC" else []
    events = venue.connect()
    assert [(request["method"], request["params"]) for request in venue.sent][1:] == [
        ("public/set_heartbeat", {"interval": 10}),
        ("private/enable_cancel_on_disconnect", {"scope": "connection"}),
        ("private/subscribe", {"channels": ["user.changes.any.any.raw", "user.portfolio.any"]}),
        ("public/get_instruments", {"currency": "BTC", "expired": False}),
        ("public/get_instruments", {"currency": "ETH", "expired": False}),
        (
            "public/subscribe",
            {
                "channels": [
                    "deribit_price_index.btc_usd",
                    "ticker.BTC-PERPETUAL.100ms",
                    "book.BTC-PERPETUAL.raw",
                    "ticker.BTC-31DEC27-100000-C.100ms",
                    "book.BTC-31DEC27-100000-C.raw",
                ]
            },
        ),
        *[
            (
                "private/get_user_trades_by_currency",
                {
                    "currency": currency,
                    "start_timestamp": T0_NS // 1_000_000 - 1000,
                    "count": 1000,
                    "sorting": "asc",
                    "historical": False,
                },
            )
            for currency in ("BTC", "ETH")
        ],
        *[
            (
                "private/get_transaction_log",
                {
                    "currency": currency,
                    "start_timestamp": T0_NS // 1_000_000 - 1000 - 25 * 3_600_000,
                    "end_timestamp": T0_NS // 1_000_000,
                    "count": 250,
                },
            )
            for currency in ("BTC", "ETH")
        ],
        ("private/get_open_orders", {}),
        ("private/get_positions", {"currency": "BTC"}),
        ("private/get_positions", {"currency": "ETH"}),
        ("private/get_account_summaries", {}),
    ]
    kinds = [type(event) for event in events]
    assert states(events) == ["authenticating", "reconciling", "live"]
    assert kinds.count(InstrumentListed) == 2
    assert kinds.index(OpenOrdersReported) < kinds.index(ReconcileFinished) == len(kinds) - 2
    assert kinds.count(PositionsReported) == 2
    assert kinds.count(PortfolioReported) == 1


def test_a_step_waits_for_all_answers_of_the_one_before() -> None:
    venue = FakeDeribit(session())
    venue.answers["private/subscribe"] = None
    venue.connect()
    assert venue.sent[-1]["method"] == "private/subscribe"
    venue.answers["private/subscribe"] = lambda params: params["channels"]
    venue.receive(reply(venue.sent[-1]["id"], ["user.changes.any.any.raw", "user.portfolio.any"]))
    assert venue.session.is_live


def test_what_is_not_wanted_is_not_asked_for() -> None:
    venue = live(
        symbols=lambda symbol: symbol == "BTC-PERPETUAL",
        cancel_on_disconnect=False,
        book_interval=None,
        ticker_interval=None,
    )
    assert list(venue.session._market.instruments) == ["BTC-PERPETUAL"]
    assert set(venue.session._routes) == {
        "user.changes.any.any.raw",
        "user.portfolio.any",
        "deribit_price_index.btc_usd",
    }


def test_many_channels_are_subscribed_in_batches_within_the_rate_limit() -> None:
    many = [
        OPTION | {"instrument_name": f"BTC-31DEC27-{strike}-C", "strike": float(strike)} for strike in range(1, 1301)
    ]
    venue = FakeDeribit(session())
    venue.answers["public/get_instruments"] = lambda _: many
    venue.connect()
    batches = [request["params"]["channels"] for request in venue.sent if request["method"] == "public/subscribe"]
    # 2 601 channels make 14 batches; the pool holds ten subscriptions, and one went to the private channels.
    assert [len(batch) for batch in batches] == [200] * 9
    assert venue.session.state is State.RECONCILING
    while not venue.session.is_live:
        deadline_ns = venue.session.deadline_ns
        assert deadline_ns is not None
        venue.pass_time(deadline_ns - venue.now_ns)
    assert venue.now_ns - T0_NS == 5 * 300_000_000
    batches = [request["params"]["channels"] for request in venue.sent if request["method"] == "public/subscribe"]
    assert sum(map(len, batches)) == 2601


def unreadable(_: object) -> dict[str, Any]:
    return {"unexpected": None}


SETUP_METHODS = [
    "public/set_heartbeat",
    "private/enable_cancel_on_disconnect",
    "private/subscribe",
    "public/get_instruments",
    "public/subscribe",
    "private/get_user_trades_by_currency",
    "private/get_open_orders",
    "private/get_positions",
    "private/get_account_summaries",
]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        *[(method, refuse(11051)) for method in SETUP_METHODS],
        *[(method, None) for method in SETUP_METHODS],
        # Any result acknowledges the first two.
        *[(method, unreadable) for method in SETUP_METHODS[2:]],
    ],
)
def test_setup_fails_closed(method: str, answer: Any) -> None:
    """Refused, unanswered or unreadable: halted with the reason, never live."""
    venue = FakeDeribit(session(trades_since_ns=T0_NS), {method: answer})
    venue.connect()
    venue.pass_time(5 * S)
    assert venue.session.state is State.HALTED
    assert states(venue.seen) == ["authenticating", "reconciling", "halted"]
    reasons = [event.reason for event in venue.seen if isinstance(event, (ReconcileFailed, VenueStateChanged))]
    assert reasons[-1] == reasons[-2] != ""
    venue.session.disconnected(venue.now_ns)
    venue.answers = FakeDeribit(venue.session).answers
    venue.connect()
    assert venue.session.is_live


def test_private_channels_that_are_not_subscribed_halt_the_session() -> None:
    venue = FakeDeribit(session(), {"private/subscribe": lambda params: params["channels"][:1]})
    venue.connect()
    assert venue.session.state is State.HALTED
    assert VenueErrorReported(0, "1 channels not subscribed: user.portfolio.any", "subscribe") in venue.seen


def test_public_channels_that_are_not_subscribed_are_reported() -> None:
    venue = FakeDeribit(session(), {"public/subscribe": lambda params: params["channels"][1:]})
    venue.connect()
    assert venue.session.is_live
    assert VenueErrorReported(0, "1 channels not subscribed: deribit_price_index.btc_usd", "subscribe") in venue.seen


# -- authentication


@pytest.mark.parametrize(
    "answer",
    [
        refuse(13004),
        lambda _: {"access_token": ACCESS, "refresh_token": REFRESH},
        lambda _: {"access_token": ACCESS, "refresh_token": REFRESH, "expires_in": 0},
        lambda _: {"access_token": None, "refresh_token": REFRESH, "expires_in": 900},
    ],
)
def test_a_failed_authentication_halts(answer: Any) -> None:
    venue = FakeDeribit(session(), {"public/auth": answer})
    venue.connect()
    assert venue.session.state is State.HALTED
    assert [request["method"] for request in venue.sent] == ["public/auth"]


def test_an_authentication_without_answer_halts_and_its_late_answer_changes_nothing() -> None:
    venue = FakeDeribit(session(), {"public/auth": None})
    venue.connect()
    assert venue.session.deadline_ns == T0_NS + 5 * S
    assert states(venue.pass_time(5 * S)) == ["halted"]
    late = reply(1, {"access_token": ACCESS, "refresh_token": REFRESH, "expires_in": 900})
    assert venue.receive(late) == []
    assert venue.session.state is State.HALTED
    assert venue.session.frames_to_send() == []


def test_a_signed_authentication_keeps_the_secret_off_the_wire() -> None:
    venue = FakeDeribit(session(is_signed=True, entropy=lambda size: b"\x01" * size))
    venue.connect()
    params = venue.sent[0]["params"]
    nonce = "01" * 8
    text = f"{T0_NS // 1_000_000}\n{nonce}\n"
    assert params == {
        "grant_type": "client_signature",
        "client_id": "key-id",
        "timestamp": T0_NS // 1_000_000,
        "nonce": nonce,
        "data": "",
        "signature": hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest(),
    }
    assert SECRET not in str(venue.sent)
    assert venue.session.is_live


@pytest.mark.parametrize(
    "settings",
    [
        {"is_signed": True},
        {"heartbeat_s": 9},
        {"client_secret": ""},
        {"client_id": ""},
        {"limits": RateLimits(matching_capacity=5)},
        {"limits": RateLimits(cancel_reserve=-1)},
    ],
)
def test_settings_that_can_not_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        session(**settings)
