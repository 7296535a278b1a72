"""Conversations in fixtures/ws: a line each, `<` from the venue, `>` to it, `!` an event, `@` seconds pass."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from protocols.venues.events import Event
from tests.protocols.venues.fake_deribit import FakeDeribit, session

CONVERSATIONS = Path(__file__).parents[3] / "fixtures" / "ws"


class Conversation:
    """Plays one file against a session. Every frame and event must be expected, in order."""

    def __init__(self) -> None:
        self.venue = FakeDeribit(session(cancel_on_disconnect=False))
        self.frames: deque[dict[str, Any]] = deque()
        self.events: deque[Event] = deque()
        self.ids: dict[str, int] = {}

    def play(self, line: dict[str, Any]) -> None:
        ((mark, content),) = line.items()
        if mark == ">":
            self.expect_frame(content)
        elif mark == "!":
            self.expect_event(content)
        elif mark != "#":
            assert not self.frames, f"not expected: {self.frames}"
            assert not self.events, f"not expected: {self.events}"
            self.act(mark, content)
            self.frames.extend(orjson.loads(frame) for frame in self.venue.session.frames_to_send())
            self.events.extend(self.venue.session.events())

    def act(self, mark: str, content: Any) -> None:
        venue = self.venue
        if mark == "<":
            if isinstance(content.get("id"), str):
                content["id"] = self.ids[content["id"]]
            venue.session.receive(orjson.dumps(content), venue.now_ns)
        elif mark == "@":
            venue.now_ns += round(content * 1e9)
            venue.session.tick(venue.now_ns)
        elif mark == "live":
            venue.connect()
            assert venue.session.is_live
        else:
            getattr(venue.session, mark)(*content, venue.now_ns)

    def expect_frame(self, expected: dict[str, Any]) -> None:
        frame = self.frames.popleft()
        self.ids[frame["method"]] = frame["id"]
        assert {key: frame[key] for key in expected} == expected

    def expect_event(self, expected: dict[str, Any]) -> None:
        event = self.events.popleft()
        assert type(event).__name__ == expected.pop("type"), event
        fields = msgspec.structs.asdict(event)  # type: ignore[arg-type]
        for name, value in expected.items():
            found = fields[name]
            assert found == (Decimal(value) if isinstance(found, Decimal) else value), (name, event)

    def end(self) -> None:
        assert not self.frames, f"not expected: {self.frames}"
        assert not self.events, f"not expected: {self.events}"


@pytest.mark.parametrize("path", sorted(CONVERSATIONS.glob("deribit_*.jsonl")), ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    conversation = Conversation()
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text:
            try:
                conversation.play(orjson.loads(text))
            except Exception as error:
                error.add_note(f"{path.name}:{number}")
                raise
    conversation.end()
