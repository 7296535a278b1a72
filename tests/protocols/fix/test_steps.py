"""The compiled steps leave a session, and answer, as its own methods do, whatever comes and however it is split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import simplefix
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.fix import steps
from protocols.fix.codec import Layout
from protocols.fix.session import Event, MessageReceived, Session, SessionConfig, SessionKey, SessionState
from tests.protocols.fix.conversation import START_NS

pytestmark = pytest.mark.skipif(not steps.COMPILED, reason="no compiled steps were built")

KEY = SessionKey("FIX.4.4", "GATE", "CLIENT")
REPORT = Layout("8", (6, 14, 17, 37, 39, 54, 55, 150, 151))
ORDER = [(11, "o"), (38, "1"), (40, "1"), (54, "1"), (55, "X"), (60, "20260101-00:00:00")]


def raw(msg_type: str, seq: int, fields: list[tuple[int, str]]) -> bytes:
    head = [(8, "FIX.4.4"), (35, msg_type), (34, str(seq)), (49, "CLIENT"), (52, "20260101-00:00:00"), (56, "GATE")]
    message = simplefix.FixMessage()
    for tag, value in [*head, *fields]:
        message.append_pair(tag, value)
    return bytes(message.encode())


class Side:
    """A session by one kind of steps, and all that it said."""

    def __init__(self, next_event: Callable[[Session], Event | None], send: Callable[..., bytes], room: int) -> None:
        self.next_event, self.send = next_event, send
        self.state = SessionState(KEY, SessionConfig(sent_capacity=room, sent_bytes=room * 100))
        self.session = Session({KEY: self.state}.get, START_NS)
        self.told: list[Any] = []

    def act(self, action: tuple[str, Any]) -> None:
        kind, value = action
        session = self.session
        if kind == "bytes":
            session.receive_data(value, START_NS)
        elif session.state is not None:
            for number in range(value):
                made = self.send(session, REPORT, (0, 0, number, b"G", b"0", b"1", b"X", b"0", 1), START_NS + number)
                self.told.append(made)
        while (event := self.next_event(session)) is not None:
            is_message = isinstance(event, MessageReceived)
            self.told.append(event.message.raw if is_message else type(event).__name__)  # type: ignore[union-attr]
        self.told.append(session.data_to_send())
        state, sent = self.state, self.state.sent
        kept = [sent.get(number) for number in range(1, state.next_out + 1)]
        self.told.append(
            (state.next_in, state.next_out, kept, sent.bytes_kept, len(sent), sent.first_seq_num, sent.last(40))
        )
        self.told.append((session.admin_moved, session.is_closed, session.deadline_ns, session.garbled_count))


MESSAGES = st.sampled_from(
    ["order", "order", "order", "gap", "old", "dup", "bad", "beat", "test", "resend", "out", "rot"]
)


def stream(kinds: list[str]) -> bytes:
    """Return a peer's bytes: mostly orders in sequence."""
    data, seq = raw("A", 1, [(98, "0"), (108, "30")]), 2
    for kind in kinds:
        own = seq + 2 if kind == "gap" else 2 if kind in ("old", "dup") else seq
        made = {
            "bad": ("D", [*ORDER[:-1], (60, "yesterday")]),
            "beat": ("0", []),
            "test": ("1", [(112, "T")]),
            "resend": ("2", [(7, "1"), (16, "0")]),
            "out": ("5", []),
            "dup": ("D", [(43, "Y"), (122, "20260101-00:00:00"), *ORDER]),
        }.get(kind, ("D", ORDER))
        message = raw(made[0], own, made[1])
        data += message[:-3] + b"99\x01" if kind == "rot" else message
        seq += kind not in ("gap", "old", "dup", "rot")
    return data


@settings(max_examples=150, deadline=None)
@given(
    kinds=st.lists(MESSAGES, max_size=12),
    cuts=st.lists(st.integers(1, 400), max_size=8),
    sends=st.lists(st.integers(0, 4), min_size=9, max_size=9),
    room=st.integers(1, 12),
)
def test_they_do_as_the_methods_do(kinds: list[str], cuts: list[int], sends: list[int], room: int) -> None:
    data, at = stream(kinds), 0
    actions: list[tuple[str, Any]] = []
    for cut, count in zip([*cuts, len(data)], sends, strict=False):
        actions += [("bytes", data[at : at + cut]), ("send", count)]
        at += cut
    one, other = Side(steps.next_event, steps.send, room), Side(Session.next_event, Session.send, room)
    for action in actions:
        one.act(action)
        other.act(action)
        assert one.told == other.told


def test_a_session_of_another_class_is_its_own() -> None:
    class Odd(Session):
        __slots__ = ()

    state = SessionState(KEY)
    session = Odd({KEY: state}.get, START_NS)
    session.receive_data(raw("A", 1, [(98, "0"), (108, "30")]) + raw("D", 2, ORDER), START_NS)
    assert [type(event).__name__ for event in iter(lambda: steps.next_event(session), None)] == [
        "LoggedOn",
        "MessageReceived",
    ]
    assert steps.send(session, REPORT, (0, 0, 1, b"G", b"0", b"1", b"X", b"0", 1), START_NS) in session.data_to_send()
