"""Where alerts go: an Alertmanager, and whatever apprise knows. Each in a thread of its own; nothing waits for them."""

from __future__ import annotations

import asyncio
import logging
import os
import urllib.error
import urllib.request
import warnings
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson

from gateway.admin.alerts import Message
from gateway.config import Admin
from gateway.redaction import redacted

TIMEOUT_S: Final = 5.0
# Messages that wait for a receiver that does not answer; the oldest is dropped, and counted.
MAX_WAITING: Final = 100
RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 60.0

log = logging.getLogger(__name__)


class SinkError(Exception):
    """A message could not be handed over; the text has no address with secrets in it."""


class Sink(Protocol):
    """A receiver of alerts."""

    name: str

    def send(self, message: Message) -> None:
        """Hand a message over; blocks. Raises SinkError."""


class Alertmanager:
    """Posts alerts to an Alertmanager's API v2, which groups, silences and routes them as it is told to."""

    name = "alertmanager"

    def __init__(self, url: str, gateway: str) -> None:
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._gateway = gateway

    def send(self, message: Message) -> None:
        """Post the alerts of a message."""
        body = orjson.dumps([self._alert(message, alert) for alert in message.alerts])
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                pass
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise SinkError(
                type(error).__name__ if not isinstance(error, urllib.error.HTTPError) else str(error)
            ) from None

    def _alert(self, message: Message, alert: Any) -> dict[str, Any]:
        labels = {"alertname": message.kind, "severity": alert.severity, "gateway": self._gateway, "key": alert.key}
        told = {"labels": labels, "annotations": {"summary": alert.text}, "startsAt": _time(alert.began_ns)}
        return told | ({"endsAt": _time(alert.ends_ns)} if alert.ends_ns else {})


class Apprise:
    """Sends by apprise: mail, chat, pagers. Its URLs hold secrets, so they come from the environment alone."""

    name = "apprise"

    def __init__(self, urls: list[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what it imports, the services with the first URL
            import apprise  # late: an extra of the project

            logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its own texts may quote URLs
            self._notifier = apprise.Apprise()
            for number, url in enumerate(urls, 1):
                if not self._notifier.add(url):
                    raise SinkError(f"URL number {number} is none that apprise understands")

    def send(self, message: Message) -> None:
        """Notify all."""
        if not self._notifier.notify(title=message.title, body=message.body):
            raise SinkError("a service did not take it")


def sinks_of(config: Admin, gateway: str) -> list[Sink]:
    """Return the receivers of the configuration. Raises SinkError where one can not be had."""
    found: list[Sink] = []
    if config.alertmanager_url is not None:
        found.append(Alertmanager(config.alertmanager_url, gateway))
    if config.notify_env is not None:
        variable = f"{config.notify_env}_URLS"
        urls = os.environ.get(variable, "").split()
        if not urls:
            raise SinkError(f"notify_env: the environment variable {variable} is not set")
        try:
            found.append(Apprise(urls))
        except ImportError:
            raise SinkError("notify_env takes apprise: install margingate[alerts]") from None
    return found


class Delivery:
    """Hands messages to one receiver, in order; one that does not answer is tried again, ever more slowly."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.sent = self.failed = self.dropped = 0
        self._waiting: deque[Message] = deque()
        self._came = asyncio.Event()

    def offer(self, message: Message) -> None:
        """Queue a message; never waits."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(message)
        self._came.set()

    async def run(self) -> None:
        """Deliver, for ever."""
        pause_s = RETRY_MIN_S
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            message = self._waiting[0]
            try:
                await asyncio.to_thread(self.sink.send, message)
            except SinkError as error:
                self.failed += 1
                log.warning("alert not delivered", extra={"sink": self.sink.name, "reason": redacted(str(error))})
                await asyncio.sleep(pause_s)
                pause_s = min(RETRY_MAX_S, 2 * pause_s)
                continue
            self.sent, pause_s = self.sent + 1, RETRY_MIN_S
            if self._waiting and self._waiting[0] is message:
                self._waiting.popleft()


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
