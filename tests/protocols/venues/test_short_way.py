"""The compiled short way leaves the session as the plain one does, frame by frame, and sends the same orders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.venues import deribit_short, short_way
from protocols.venues.deribit import Deribit
from protocols.venues.deribit_orders import OrderFlow
from protocols.venues.deribit_short import ShortWay
from protocols.venues.deribit_tables import RateLimits, State
from tests.protocols.venues.fake_deribit import FakeDeribit, changes, reply, wire_order, wire_trade
from tests.protocols.venues.order_desk import quiet

pytestmark = pytest.mark.skipif(not short_way.COMPILED, reason="no compiled short way was built")

PLAIN, COMPILED = (OrderFlow.place, ShortWay.receive), (short_way.place, short_way.receive)
UPDATED = wire_order()["last_update_timestamp"]

ORDERS = st.fixed_dictionaries(
    {"label": st.sampled_from(["a1", "a1", "a1", "a2", "zz"])},
    optional={
        "order_state": st.sampled_from(["open", "open", "filled", "cancelled", "rejected", "untriggered", "triggered"]),
        "filled_amount": st.sampled_from([0.0, -0.0, 40.0, 100.0]),
        "amount": st.sampled_from([100.0, 0.0, -1.0, 1e15, 110.0]),
        "price": st.sampled_from([50000.0, "market_price", 1e16]),
        "last_update_timestamp": st.sampled_from([UPDATED, UPDATED + 1, 0, -5, 1 << 60]),
        "trigger_order_id": st.sampled_from(["", "T"]),
        "replaced": st.booleans(),
        "instrument_name": st.sampled_from(["BTC-PERPETUAL", "ETH-PERPETUAL"]),
    },
)


def order_of(drawn: dict[str, Any]) -> dict[str, Any]:
    return wire_order(**{"order_id": f"ETH-{drawn['label']}", **drawn})


STEPS = st.one_of(
    st.tuples(st.just("place"), st.sampled_from(["a1", "a2"]), st.sampled_from([b"100", b"0", "100"])),
    st.tuples(st.just("reply"), st.integers(1, 3), ORDERS, st.sampled_from([[], [], [wire_trade()]])),
    st.tuples(st.just("changes"), st.lists(ORDERS, max_size=2), st.sampled_from([[], [], [wire_trade()]])),
)


def played(steps: list[Any], ways: tuple[Any, Any]) -> list[Any]:
    """Return all that a session says and knows, step by step."""
    place, receive = ways
    limits = RateLimits(matching_per_s=1, matching_capacity=4, cancel_reserve=1)
    venue: FakeDeribit = quiet(limits=limits, max_in_flight=3)
    session, flow = venue.session, venue.session._orders
    first_id, told = session._requests.next_id, []
    for step in steps:
        if step[0] == "place":
            terms = ("BTC-PERPETUAL", True, step[2], b"50000.0", "limit", "good_til_cancelled", False, False)
            try:
                place(flow, step[1], *terms, venue.now_ns, None)
            except LocalProtocolError as error:
                told.append(str(error))
        elif step[0] == "reply":
            frame = reply(first_id + step[1] - 1, {"trades": step[3], "order": order_of(step[2])})
            told.append(receive(session._short_way, frame, venue.now_ns))
        elif step[0] == "changes":
            frame = changes([order_of(order) for order in step[1]], step[2])
            told.append(receive(session._short_way, frame, venue.now_ns))
        elif step[0] == "hang up":
            flow.on_disconnected()
        else:
            told.append(receive(session._short_way, step[1].replace(b"FIRST", b"%d" % first_id), venue.now_ns))
        waiting = {number: request.label for number, request in session._requests._in_flight.items()}
        told += [session.events(), session.frames_to_send(), dict(flow._orders), dict(flow._done), waiting]
        told += [flow._credits._level, session._requests.next_id, dict(flow._trade_ids), session.malformed_frames]
    return told


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(STEPS, max_size=8))
def test_both_ways_are_the_same(steps: list[Any]) -> None:
    assert played(steps, PLAIN) == played(steps, COMPILED)


SESSION_STEPS = st.one_of(
    STEPS,
    st.tuples(st.just("other"), st.sampled_from([b"{}", b"{", b'{"jsonrpc":"2.0","id":99,"result":"ok"}'])),
    st.tuples(st.just("hang up")),
)


def lived(steps: list[Any], methods: tuple[Any, Any, Any]) -> list[Any]:
    """Return all that a session says and knows, step by step, by its own receive, place and events."""
    receive, place, events = methods
    limits = RateLimits(matching_per_s=1, matching_capacity=4, cancel_reserve=1)
    venue: FakeDeribit = quiet(limits=limits, max_in_flight=3)
    session = venue.session
    first_id, told = session._requests.next_id, []
    for step in steps:
        venue.now_ns += 1_000
        if step[0] == "place":
            terms = ("BTC-PERPETUAL", True, step[2], b"50000.0", "limit", "good_til_cancelled", False, False)
            try:
                place(session, step[1], *terms, venue.now_ns)
            except LocalProtocolError as error:
                told.append(str(error))
        elif step[0] == "hang up" and session._state is not State.CONNECTING:
            session.disconnected(venue.now_ns)
        elif step[0] == "other":
            receive(session, step[1], venue.now_ns)
        elif step[0] == "reply":
            frame = reply(first_id + step[1] - 1, {"trades": step[3], "order": order_of(step[2])})
            receive(session, frame, venue.now_ns)
        elif step[0] == "changes":
            receive(session, changes([order_of(order) for order in step[1]], step[2]), venue.now_ns)
        told += [events(session), list(session._events), session.frames_to_send(), session._now_ns]
        told += [session._received_ns, session.state, session.malformed_frames, session.unmatched_replies]
    return told


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(SESSION_STEPS, max_size=8))
def test_a_session_does_the_same_by_its_own_methods(steps: list[Any]) -> None:
    from protocols.venues import _short  # type: ignore[attr-defined]

    compiled = (Deribit.receive, Deribit.place, Deribit.events)
    assert not set(compiled) & set(_short.plain_methods())
    assert lived(steps, compiled) == lived(steps, _short.plain_methods())


ORDER = order_of({"label": "a1"})
REPLY = reply(1, {"trades": [], "order": ORDER}).replace(b'"id":1,', b'"id":FIRST,', 1)
NOTICE = changes([ORDER], [])
# What may stand where something else stood: grammar, near misses of it, other values, fields of other orders.
PIECES = [
    *(
        b"",
        b" ",
        b"\n",
        b"\t",
        b"\0",
        b"\x7f",
        b"\xff",
        b"\xc3\xa9",
        b"\\",
        b"\\u0061",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"[]",
    ),
    *(b",", b":", b"-", b"0", b"1", b".", b".0", b"e", b"E+1", b"00", b"5", b"true", b"tru", b"null", b"9" * 15),
    *(
        b',"error":{}',
        b'"id":2,',
        b'"label":"a1",',
        b'"replaced":true,',
        b'"cancel_reason":"x",',
        b'"trigger_price":1,',
    ),
    *(
        b'"trigger_order_id":"",',
        b'"more":[[[[[[[[[{}]]]]]]]]],',
        b'"more":{"a":[1,-0.5e-3,"x",null]},',
        b'"trades":[],',
    ),
    *(
        b'"positions":[{}],',
        b'"channel":"x",',
        b'"method":"x",',
        b'"amount":1,',
        b'"order_state":"open",',
        b'"market_price"',
    ),
]
CUTS = st.tuples(st.integers(0, 1 << 16), st.integers(0, 3), st.sampled_from(PIECES))


def cut(frame: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """Return a frame in which some pieces stand in the place of others; half of them at a member's begin."""
    for where, width, piece in cuts:
        starts = [at for at in range(len(frame)) if frame[at - 1 : at] in (b"{", b",", b":", b"[")]
        at = starts[where % len(starts)] if starts and where & 1 else where % (len(frame) + 1)
        frame = frame[:at] + piece + frame[at + (0 if piece.endswith(b",") else width) :]
    return frame


@settings(max_examples=400, deadline=None)
@given(of_reply=st.lists(CUTS, max_size=2), of_notice=st.lists(CUTS, max_size=2), is_cut_off=st.booleans())
def test_frames_that_are_written_otherwise_are_read_alike(of_reply: Any, of_notice: Any, is_cut_off: bool) -> None:
    steps: list[Any] = [("place", "a1", b"100"), ("frame", cut(REPLY, of_reply))]
    steps += [("hang up",)] if is_cut_off else []
    steps += [("frame", cut(NOTICE, of_notice)), ("frame", NOTICE)]
    assert played(steps, COMPILED) == played(steps, PLAIN)


def order_text(**fields: bytes) -> bytes:
    """Return an order's text with some of its fields as they are given."""
    text = {name: json.dumps(value).encode() for name, value in ORDER.items()} | fields
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in text.items())


NUMBERS = (
    *(
        b"100",
        b"100.0",
        b"100.00",
        b"1e2",
        b"1E+2",
        b"0100",
        b"100.",
        b"+100",
        b"-100.0",
        b".1",
        b"0.1",
        b"0",
        b"0.0",
        b"-0.0",
    ),
    *(
        b"1" * 15,
        b"1" * 16,
        b"1" * 40,
        b"0." + b"1" * 14,
        b"0." + b"1" * 15,
        b"0.1" + b"0" * 20,
        b"123456.789",
        b"2973.55",
    ),
    *(b"100a", b'"100"', b"null", b"true", b"[]", b"NaN", b"999999999999999", b"9007199254740993", b"1 ", b"4.35"),
)


@pytest.mark.parametrize("field", ["amount", "price", "filled_amount", "last_update_timestamp", "contracts"])
def test_numbers_are_read_alike(field: str) -> None:
    for number in NUMBERS:
        order = order_text(**{field: number})
        frames = [b'{"jsonrpc":"2.0","id":FIRST,"result":{"trades":[],"order":%b}}' % order]
        frames.append(NOTICE.replace(order_text(), order))
        steps: list[Any] = [("place", "a1", b"100"), *(("frame", frame) for frame in [*frames, *frames[1:], NOTICE])]
        assert played(steps, COMPILED) == played(steps, PLAIN), number


def test_fields_in_any_order_are_the_ordinary_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in place does not ask the decoder."""
    turned = json.dumps(dict(reversed(ORDER.items())), separators=(",", ":")).encode()
    steps: list[Any] = [("place", "a1", b"100"), ("frame", REPLY), ("frame", NOTICE.replace(order_text(), turned))]
    expected = played(steps, PLAIN)
    monkeypatch.setattr(deribit_short, "ORDER_REPLY", None)
    monkeypatch.setattr(deribit_short, "CHANGES_NOTICE", None)
    assert order_text() in NOTICE and turned != order_text()
    assert played(steps, COMPILED) == expected


def test_an_order_taken_and_told_of_again() -> None:
    order = {"label": "a1"}
    steps = [("place", "a1", b"100"), ("reply", 1, order, []), ("changes", [order], []), ("changes", [order], [])]
    told = played(steps, COMPILED)
    assert told == played(steps, PLAIN)
    assert "OrderAccepted" in repr(told) and "Decimal('100.0')" in repr(told)
