"""Conversations in fixtures/ws of venues with several lanes: a line each.

`<` [lane, frame] from the venue, `>` [lane, part of a frame] to it, `!` an event, `@` seconds pass; `live` brings the
session up with the answers of the stand-in, `http` [path, body] answers a request of REST, and any other word is
a call of the session. In a frame, "$name" is the id of the last request of that name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from protocols.venues.codec import HttpResponse
from protocols.venues.events import Event
from tests.protocols.venues import fake_binance, fake_bybit, fake_okx
from tests.protocols.venues.lane_peer import LanePeer

CONVERSATIONS = Path(__file__).parents[3] / "fixtures" / "ws"
LIVE: dict[str, Callable[..., LanePeer[Any]]] = {
    "binance": fake_binance.live,
    "okx": fake_okx.live,
    "bybit": fake_bybit.live,
}
PATHS = sorted(path for path in CONVERSATIONS.glob("*.jsonl") if path.stem.partition("_")[0] in LIVE)


class Conversation:
    """Plays one file against a session. Every frame and event must be expected, in order."""

    def __init__(self, venue: str) -> None:
        self.live = LIVE[venue]
        self.frames: deque[tuple[str, dict[str, Any]]] = deque()
        self.events: deque[Event] = deque()
        self.ids: dict[str, Any] = {}

    def play(self, line: dict[str, Any]) -> None:
        ((mark, content),) = line.items()
        if mark == ">":
            lane, expected = content
            sent_lane, frame = self.frames.popleft()
            self.ids[f"${self.venue.name_of(lane, frame)}"] = frame.get("id", frame.get("reqId", frame.get("req_id")))
            assert sent_lane == lane
            holds(frame, expected)
        elif mark == "!":
            self.expect_event(content)
        elif mark != "#":
            assert not self.frames, f"not expected: {self.frames}"
            assert not self.events, f"not expected: {self.events}"
            self.act(mark, content)
            for lane in self.venue.session.lanes:
                for raw in self.venue.session.frames_to_send(lane):
                    self.frames.append((lane, orjson.loads(raw)))
            self.events.extend(self.venue.session.events())

    def act(self, mark: str, content: Any) -> None:
        if mark == "live":
            self.venue = self.live(dead_man_s=0, **content)
        elif mark == "<":
            lane, frame = content
            self.venue.session.receive(orjson.dumps(self.named(frame)), self.venue.now_ns, lane)
        elif mark == "http":
            path, body = content
            (request,) = [one for one in self.venue.session.http_requests() if one.target.startswith(path)]
            self.venue.session.http_answered(
                request.request_id, HttpResponse(200, orjson.dumps(body)), self.venue.now_ns
            )
        elif mark == "@":
            self.venue.now_ns += round(content * 1e9)
            self.venue.session.tick(self.venue.now_ns)
        else:
            getattr(self.venue.session, mark)(*content, self.venue.now_ns)

    def named(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.named(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.named(inner) for inner in value]
        return self.ids[value] if isinstance(value, str) and value.startswith("$") else value

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


def holds(found: Any, expected: Any) -> None:
    """Check that all that is expected is in what was found."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            holds(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            holds(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    conversation = Conversation(path.stem.partition("_")[0])
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text:
            try:
                conversation.play(orjson.loads(text))
            except Exception as error:
                error.add_note(f"{path.name}:{number}")
                raise
    conversation.end()


def test_there_are_conversations_of_each_venue() -> None:
    assert {path.stem.partition("_")[0] for path in PATHS} == LIVE.keys()
