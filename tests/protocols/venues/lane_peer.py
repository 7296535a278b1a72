"""What stands in for a venue of several lanes and REST, for tests: it dials, answers, and has no time of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import orjson

from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.events import Event
from protocols.venues.session import VenueSession

T0_NS = 1_800_000_000_000_000_000
T0_MS = T0_NS // 1_000_000
S = 1_000_000_000
SECRET = "s3cr3t-of-the-key"

Session = TypeVar("Session", bound=VenueSession)
Frame = dict[str, Any]


class RefusalError(Exception):
    """Raised by an answer to have the request refused."""

    def __init__(self, code: int, message: str = "refused", status: int = 400) -> None:
        super().__init__(code, message)
        self.code, self.message, self.status = code, message, status


class LanePeer(Generic[Session]):
    """Holds a session; `answers` maps a request's name to a function of it, or to None to leave it unanswered.

    The name of a REST request is its method and path, that of a frame is the venue's to say (`name_of`).
    """

    def __init__(self, session: Session, answers: dict[str, Callable[[Any], Any] | None] | None = None) -> None:
        self.session = session
        self.now_ns = T0_NS
        self.sent: list[tuple[str, Frame]] = []
        self.asked: list[HttpRequest] = []
        self.seen: list[Event] = []
        self.up: set[str] = set()
        self.answers: dict[str, Callable[[Any], Any] | None] = {**self.defaults(), **(answers or {})}

    # -- what a venue says

    def defaults(self) -> dict[str, Callable[[Any], Any] | None]:
        raise NotImplementedError

    def name_of(self, lane: str, frame: Frame) -> str:
        raise NotImplementedError

    def replies(self, lane: str, frame: Frame, result: Any) -> list[bytes]:
        raise NotImplementedError

    def refusal(self, lane: str, frame: Frame, refusal: RefusalError) -> list[bytes]:
        raise NotImplementedError

    def http_refusal(self, refusal: RefusalError) -> HttpResponse:
        raise NotImplementedError

    def http_body(self, request: HttpRequest, result: Any) -> bytes:
        raise NotImplementedError

    # -- driving

    def dial(self) -> None:
        """Bring up every lane that can be, until nothing changes."""
        while True:
            fresh = [lane for lane in self.session.lanes if lane not in self.up and self.session.url(lane)]
            if not fresh:
                return
            for lane in fresh:
                self.up.add(lane)
                self.session.connected(self.now_ns, lane)
                self.pump()

    def hang_up(self, lane: str) -> list[Event]:
        self.up.discard(lane)
        self.session.disconnected(self.now_ns, lane)
        self.pump()
        return self.events()

    def obey(self) -> list[str]:
        """Close what the session wants closed; return the lanes."""
        lanes = [lane for lane, _ in self.session.lanes_to_close()]
        for lane in lanes:
            self.up.discard(lane)
            self.session.disconnected(self.now_ns, lane)
        return lanes

    def connect(self) -> list[Event]:
        self.dial()
        return self.events()

    def pump(self) -> list[tuple[str, Frame]]:
        """Take what the session sends and answer it until it sends nothing more; return what was sent in frames."""
        sent: list[tuple[str, Frame]] = []
        busy = True
        while busy:
            busy = False
            for lane in self.session.lanes:
                for raw in self.session.frames_to_send(lane):
                    busy = True
                    frame = orjson.loads(raw) if raw[:1] == b"{" else {"text": raw.decode()}
                    sent.append((lane, frame))
                    self.answer(lane, frame)
            for request in self.session.http_requests():
                busy = True
                self.asked.append(request)
                self.answer_http(request)
        self.sent += sent
        return sent

    def answer(self, lane: str, frame: Frame) -> None:
        answer = self.answers.get(self.name_of(lane, frame))
        if answer is None:
            return
        try:
            replies = self.replies(lane, frame, answer(frame))
        except RefusalError as refusal:
            replies = self.refusal(lane, frame, refusal)
        for reply in replies:
            self.session.receive(reply, self.now_ns, lane)

    def answer_http(self, request: HttpRequest) -> None:
        answer = self.answers.get(f"{request.method} {request.target.partition('?')[0]}")
        if answer is None:
            return
        try:
            result = answer(request)
        except RefusalError as refusal:
            self.session.http_answered(request.request_id, self.http_refusal(refusal), self.now_ns)
            return
        response = HttpResponse(200, self.http_body(request, result))
        self.session.http_answered(request.request_id, response, self.now_ns)

    def receive(self, lane: str, frame: Any) -> list[Event]:
        """Give the session a frame; return the events of it and of what it leads to."""
        raw = frame if isinstance(frame, bytes) else orjson.dumps(frame)
        self.session.receive(raw, self.now_ns, lane)
        self.pump()
        return self.events()

    def events(self) -> list[Event]:
        events = self.session.events()
        self.seen += events
        return events

    def pass_time(self, ns: int) -> list[Event]:
        self.now_ns += ns
        self.session.tick(self.now_ns)
        self.pump()
        return self.events()

    def clear(self) -> None:
        self.sent.clear()
        self.asked.clear()
        self.seen.clear()


def query_of(request: HttpRequest) -> dict[str, str]:
    """Return the parameters of a REST request."""
    _, _, query = request.target.partition("?")
    return dict(pair.split("=", 1) for pair in query.split("&")) if query else {}


def of(events: list[Event], *kinds: type) -> list[Any]:
    return [event for event in events if isinstance(event, kinds)]
