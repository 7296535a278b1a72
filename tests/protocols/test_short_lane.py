"""The compiled short lane writes the same frames, and takes what the plain lane takes, however a stream is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from protocols import short_lane, websocket
from tests.bench.rig import open_websocket

pytestmark = pytest.mark.skipif(not short_lane.COMPILED, reason="no compiled short lane was built")

KEY = b"\x01\x80\xfe\x7f"


@given(payloads=st.lists(st.binary(max_size=300), max_size=4), data=st.data(), first_byte=st.integers(0, 255))
def test_frames_are_the_plain_ones(payloads: list[bytes], data: st.DataObject, first_byte: int) -> None:
    keys = data.draw(st.binary(min_size=4 * len(payloads), max_size=4 * len(payloads)))
    frames = [make(first_byte, payloads, keys) for make in (short_lane.plain_masked_frames, short_lane.masked_frames)]
    assert frames[0] == frames[1]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 125, 126, 127, 65535, 65536, 70_001])
def test_every_form_of_length_is_written(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    frames = short_lane.masked_frames(0x81, [payload, b"next"], 2 * KEY)
    assert frames == short_lane.plain_masked_frames(0x81, [payload, b"next"], 2 * KEY)
    assert frames.endswith(short_lane.plain_masked_frame(0x81, b"next", KEY))


def test_a_key_has_four_bytes() -> None:
    for make in (short_lane.plain_masked_frames, short_lane.masked_frames):
        with pytest.raises(ValueError, match="four"):
            make(0x81, [b"x"], b"abc")
    with pytest.raises(TypeError):
        short_lane.masked_frames(0x81, ["x"], KEY)  # type: ignore[list-item]


FRAMES = st.one_of(
    st.tuples(st.just(Opcode.TEXT), st.text(max_size=4).map(str.encode), st.just(True)),
    st.tuples(st.just(Opcode.TEXT), st.sampled_from([b"x" * 130, b"y" * 400, b"\xff", b"z" * 1200]), st.just(True)),
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.CONT]), st.just(b"part"), st.booleans()),
    st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.BINARY, Opcode.CLOSE]), st.just(b""), st.just(True)),
)


def heard(data: bytes, cuts: list[int]) -> list[Any]:
    """Return what a client makes of a server's bytes, chunk by chunk."""
    client = websocket.WebSocketClient("ws://127.0.0.1/", entropy=bytes, max_message_bytes=1000)
    open_websocket(client)
    told: list[Any] = []
    at = 0
    for cut in [*cuts, len(data)]:
        client.receive_data(data[at : at + cut])
        at += cut
        told.append((client.messages(), client.data_to_send(), client.is_open, client.must_close_transport))
    return told


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(FRAMES, max_size=8), cuts=st.lists(st.integers(1, 60), max_size=6))
def test_both_lanes_hear_the_same(frames: list[tuple[Opcode, bytes, bool]], cuts: list[int]) -> None:
    data = b"".join(Frame(code, payload, fin).serialize(mask=False) for code, payload, fin in frames)
    compiled = heard(data, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websocket, "take_texts", short_lane.no_texts)
        patch.setattr(websocket, "masked_frames", short_lane.plain_masked_frames)
        assert heard(data, cuts) == compiled
