"""The short ways: a limit order's frame in one piece, and what an order's life is made of read in one go."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.venues import deribit_frames, frames
from protocols.venues.deribit_encode import is_label, place_body
from protocols.venues.events import Event, OrderOutcomeUnknown, VenueErrorReported
from tests.protocols.venues.fake_deribit import changes, reply, wire_order, wire_trade
from tests.protocols.venues.order_desk import placed, quiet

WRITERS = [deribit_frames.limit_frame, frames.limit_frame] if frames.COMPILED else [deribit_frames.limit_frame]
both = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__module__)

names = st.one_of(st.from_regex(r"[A-Za-z0-9_.-]{1,70}", fullmatch=True), st.text(max_size=6), st.just('a"b'))
numbers = st.one_of(
    st.decimals(-1, 10**9, places=3).map(lambda number: str(number).encode()),
    st.sampled_from(
        [b"", b"0", b"0.0", b"00", b"01", b"1.", b".5", b"1e5", b"-1", b"9" * 19, b"1." + b"1" * 19, None, "5"]
    ),
)
times = st.sampled_from(["good_til_cancelled", "good_til_day", "immediate_or_cancel", "fill_or_kill", "for_ever", ""])


arguments_drawn = st.tuples(names, names, st.booleans(), numbers, numbers, times, st.booleans())


@both
@given(number=st.integers(1, 1 << 60), arguments=arguments_drawn)
def test_a_frame_is_what_the_long_way_writes(write: Any, number: int, arguments: tuple[Any, ...]) -> None:
    label, symbol, is_buy, quantity, price, time_in_force, post_only = arguments
    frame = write(number, *arguments)
    if frame is not None:
        body = place_body(label, symbol, is_buy, quantity, price, "limit", time_in_force, post_only, False)
        assert frame == f'{{"jsonrpc":"2.0","id":{number},{body}'.encode()
        assert orjson.loads(frame)["params"]["label"] == label
    elif type(quantity) is bytes and type(price) is bytes and is_label(symbol):
        with pytest.raises(LocalProtocolError):
            place_body(label, symbol, is_buy, quantity, price, "limit", time_in_force, post_only, False)


@given(number=st.integers(1, 1 << 60), arguments=arguments_drawn)
def test_both_writers_write_the_same(number: int, arguments: tuple[Any, ...]) -> None:
    assert len({write(number, *arguments) for write in WRITERS}) == 1


def turned(frame: bytes) -> bytes:
    """The same message with its keys in another order, which is read the long way."""
    return orjson.dumps(dict(reversed(orjson.loads(frame).items())))


def told(frames_in: list[Any], *, is_turned: bool) -> tuple[list[Event], tuple[int, int]]:
    venue = quiet()
    placed(venue)
    number = venue.sent[-1]["id"]
    events: list[Event] = []
    for make in frames_in:
        frame = make(number)
        events += venue.receive(turned(frame) if is_turned else frame)
    return events, (venue.session.malformed_frames, venue.session.unmatched_replies)


def result(trades: list[Any] | None = None, **order: Any) -> Any:
    return lambda number: reply(number, {"trades": trades or [], "order": wire_order(**order)})


def changed(*orders: dict[str, Any], trades: list[Any] | None = None) -> Any:
    return lambda number: changes([wire_order(**order) for order in orders], trades)


def raw(text: bytes) -> Any:
    return lambda number: text.replace(b"ID", b"%d" % number)


FILL = {"filled_amount": 40.0, "last_update_timestamp": wire_order()["last_update_timestamp"] + 1}


@pytest.mark.parametrize(
    "story",
    [
        [result(), changed({})],
        [changed({}), result()],
        [result([wire_trade()], **FILL), changed(FILL, trades=[wire_trade()])],
        [result(), changed(FILL, trades=[wire_trade()]), changed({"order_state": "cancelled", **FILL})],
        [result(), changed({}), changed({"price": 50001.0, "replaced": True})],
        [result(order_state="rejected")],
        [result(label="another")],
        [result(amount="100")],
        [result(), changed({"amount": -1.0})],
        [result(), changed({"price": None})],
        [result([wire_trade(order_id="other")])],
        [lambda number: reply(number + 7, {"trades": [], "order": wire_order()})],
        [lambda number: reply(number, {"order": wire_order()})],
        [lambda number: reply(number, [])],
    ],
)
def test_the_short_way_tells_what_the_long_way_tells(story: list[Any]) -> None:
    assert told(story, is_turned=False) == told(story, is_turned=True)


@pytest.mark.parametrize(
    "frame",
    [
        raw(b'{"jsonrpc":"2.0","id":ID,"result":{"trades":[]'),
        raw(b'{"jsonrpc":"2.0","id":,"result":{}}'),
        raw(b'{"jsonrpc":"2.0","id":99999999999999999999999,"result":{}}'),
        raw(b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"user.changes.any.any.raw","data":{}}}'),
        raw(b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"user.changes.any.any.raw2","data":{}}}'),
    ],
)
def test_what_is_not_whole_is_reported_and_costs_no_order(frame: Any) -> None:
    events, (malformed, unmatched) = told([frame], is_turned=False)
    assert malformed + unmatched == 1
    assert any(isinstance(event, VenueErrorReported | OrderOutcomeUnknown) for event in events)


def test_an_error_beside_a_result_is_an_error() -> None:
    body = orjson.loads(result()(5)) | {"error": {"code": 10009, "message": "not_enough_funds"}}
    venue = quiet()
    placed(venue)
    body["id"] = venue.sent[-1]["id"]
    (event,) = venue.receive(orjson.dumps(body))
    assert getattr(event, "code", None) == 10009
