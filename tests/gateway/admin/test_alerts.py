"""Alerts: grouped, bounded, repeated, acknowledged; what a snapshot means; and what receivers are told."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.alerts import MAX_ALERTS, NS_PER_S, AlertBook
from gateway.admin.rules import Watch
from gateway.admin.sinks import Alertmanager, Apprise, Delivery, SinkError, sinks_of
from gateway.config import Admin

WAIT_S, REPEAT_S, A_MINUTE = 5, 3600, 3
S = NS_PER_S
RULES = Admin(tokens_file=Path("t"))


def book() -> AlertBook:
    return AlertBook(WAIT_S, REPEAT_S, A_MINUTE)


def test_what_comes_together_is_one_message() -> None:
    alerts = book()
    for number in range(4):
        alerts.holds(f"a{number}", "margin", "warning", f"text {number}", number * S)
    alerts.holds("a4", "margin", "critical", "text 4", 4 * S)
    assert alerts.due(4 * S) == []
    (message,) = alerts.due(5 * S)
    assert message.severity == "critical" and [a.text for a in message.alerts] == [f"text {n}" for n in range(5)]
    assert message.title == "[critical] margin: 5 firing, 0 over"
    assert alerts.due(6 * S) == [], "told once"


def test_kinds_are_messages_of_their_own_and_bounded_in_number() -> None:
    alerts = book()
    for number in range(8):
        alerts.holds(f"a{number}", f"kind {number}", "warning", "x", number)
    assert [m.kind for m in alerts.due(6 * S)] == ["kind 0", "kind 1", "kind 2"]
    assert alerts.due(60 * S) == [], "so many a minute"
    assert [m.kind for m in alerts.due(67 * S)] == ["kind 3", "kind 4", "kind 5"], "the others wait their turn"


def test_the_end_is_told_to_whom_the_beginning_was() -> None:
    alerts = book()
    alerts.holds("a", "venue", "critical", "halted", 0)
    alerts.is_over("a", 1 * S)
    assert alerts.due(10 * S) == [] and alerts.rows(10 * S) == [], "a blink is nobody's business"
    alerts.holds("a", "venue", "critical", "halted", 20 * S)
    assert len(alerts.due(25 * S)) == 1
    alerts.is_over("a", 26 * S)
    alerts.holds("a", "venue", "critical", "halted", 40 * S)
    alerts.is_over("a", 41 * S)
    assert alerts.due(70 * S) == [], "what comes and goes is one alert"
    assert alerts.due(71 * S) == []
    (message,) = alerts.due(76 * S)
    assert message.body == "over: halted" and message.title.endswith("0 firing, 1 over")


def test_what_goes_on_is_told_again_unless_somebody_has_seen_it() -> None:
    alerts = book()
    for key in ("seen", "unseen"):
        alerts.holds(key, "margin", "warning", key, 0)
    assert len(alerts.due(5 * S)) == 1
    (number,) = [row["number"] for row in alerts.rows(0) if row["text"] == "seen"]
    assert alerts.knows(number) and not alerts.knows(99)
    alerts.acknowledge(number, "rita")
    assert alerts.due((REPEAT_S + 5) * S) == [], "it is grouped again first"
    (message,) = alerts.due((REPEAT_S + 10) * S)
    assert [a.text for a in message.alerts] == ["unseen"]
    alerts.holds("seen", "margin", "critical", "worse", (REPEAT_S + 20) * S)
    (message,) = alerts.due((REPEAT_S + 25) * S)
    assert message.body == "worse", "what gets worse is told though it was seen"


def test_the_same_again_is_counted() -> None:
    alerts = book()
    for number in range(100):
        alerts.happened("text", "logons", "warning", f"refused; {number}", number)
    (row,) = alerts.rows(100)
    assert row["count"] == 100 and row["text"] == "refused; 99"
    (message,) = alerts.due(5 * S)
    assert len(message.alerts) == 1
    assert alerts.rows(1000 * S) == [], "what happened is forgotten"


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["hold", "over", "event", "due"]), st.integers(0, 40))))
def test_no_more_leave_in_a_minute_than_agreed(acts: list[tuple[int, str, int]]) -> None:
    alerts, now, sent = book(), 0, []
    for number, act, wait_s in acts:
        now += wait_s * S
        if act == "hold":
            alerts.holds(f"k{number}", f"kind {number}", "warning", "x", now)
        elif act == "over":
            alerts.is_over(f"k{number}", now)
        elif act == "event":
            alerts.happened(f"e{number}", f"kind {number}", "info", "x", now)
        sent += [now for _ in alerts.due(now)]
        assert sum(1 for at in sent if at > now - 60 * S) <= A_MINUTE
        firing = {row["text"] for row in alerts.rows(now)}
        assert firing <= {"x"}


def test_alerts_are_bounded() -> None:
    alerts = book()
    alerts.holds("critical", "k", "critical", "kept", 0)
    for number in range(MAX_ALERTS + 50):
        alerts.happened(f"e{number}", "k", "info", "x", number)
    assert len(alerts.by_key) == MAX_ALERTS and alerts.dropped == 51 and "critical" in alerts.by_key


def account(name: str, equity: float | None, margin: float | None, state: str = "trading") -> dict[str, Any]:
    return {"account": name, "equity": equity, "initial_margin": margin, "state": state, "working_orders": 0}


def snapshot(**changes: Any) -> dict[str, Any]:
    return {"venues": {"v": "live"}, "feeds": {}, "accounts": [], "alerts": [], "alert_count": 0} | changes


CASES: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "all is well": (snapshot(accounts=[account("a", 100.0, 65.0)]), set()),
    "warned": (snapshot(accounts=[account("a", 100.0, 66.0)]), {("margin a", "warning")}),
    "critical": (snapshot(accounts=[account("a", 100.0, 90.0)]), {("margin a", "critical")}),
    "no equity": (snapshot(accounts=[account("a", -1.0, 0.0)]), {("margin a", "critical")}),
    "empty": (snapshot(accounts=[account("a", 0.0, 0.0)]), set()),
    "unknown": (snapshot(accounts=[account("a", None, None)]), {("margin a", "warning")}),
    "restricted": (snapshot(accounts=[account("a", 1.0, 0.0, "reducing")]), {("state a", "warning")}),
    "venue": (snapshot(venues={"v": "halted"}), {("venue v", "critical")}),
    "fresh feed": (snapshot(feeds={"v": {"feed_age_ms": 2000.0}}), set()),
    "stale feed": (snapshot(feeds={"v": {"feed_age_ms": 2000.1}}), {("feed v", "critical")}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_snapshot_means(case: str) -> None:
    alerts = book()
    told, expected = CASES[case]
    watch = Watch(alerts, RULES, 1000)
    watch.look(told, 0, S)
    assert {(alert.key, alert.severity) for alert in alerts.by_key.values()} == expected
    watch.look(snapshot(), 0, 2 * S)
    assert not alerts.by_key


def test_a_gateway_that_is_silent_or_gone() -> None:
    alerts = book()
    watch = Watch(alerts, RULES, 1000)
    watch.look(snapshot(venues={"v": "halted"}), 0, S)
    watch.look(snapshot(), 5 * S + 1, 7 * S)
    assert set(alerts.by_key) == {"venue v", "gateway"}, "what was so is not known to be over"
    watch.look(None, 0, 8 * S)
    assert alerts.by_key["gateway"].text == "no gateway runs"
    watch.look(snapshot(), 0, 9 * S)
    assert not alerts.by_key


def test_texts_of_the_gateway_are_taken_up_once() -> None:
    alerts = book()
    watch = Watch(alerts, RULES, 1000)
    texts = ["internal error, gateway halted: ValueError", "journal: full", "fix: logon of X refused; 3 such in all"]
    watch.look(snapshot(alerts=texts, alert_count=3), 0, S)
    watch.look(snapshot(alerts=texts, alert_count=3), 0, 2 * S)
    assert [(a.kind, a.severity, a.count) for a in alerts.by_key.values()] == [
        ("internal error", "critical", 1), ("journal", "critical", 1), ("logons", "warning", 1),
    ]  # fmt: skip
    texts = [*texts, "fix: logon of X refused; 4 such in all"]
    watch.look(snapshot(alerts=texts, alert_count=4), 0, 3 * S)
    assert alerts.by_key["text fix: logon of X refused; # such in all"].count == 2
    watch.look(snapshot(alerts=["new process"], alert_count=1), 0, 4 * S)
    assert "text new process" in alerts.by_key, "a new gateway counts from one"


def told(alerts: AlertBook, now_ns: int) -> list[str]:
    return [alert.text for message in alerts.due(now_ns) for alert in message.alerts]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("break 1 BLOCK: deribit BTC-27DEC24-50000-C: position: ours 1, theirs 2",
         "break 2 BLOCK: deribit BTC-27DEC24-60000-C: position: ours 1, theirs 2", False),
        ("break 1 BLOCK: v X: position: ours 1, theirs 2", "break 7 BLOCK: v X: position: ours -3, theirs 2", True),
        ("transfer R-P1.1 failed: refused", "transfer R-P1.2 failed: refused", False),
        ("margin of fund1 taken_over: ratio 1.50 %", "margin of fund2 taken_over: ratio 1.50 %", False),
        ("fix: logon of X from 192.0.2.1 refused: password; 3 such in all",
         "fix: logon of X from 192.0.2.77 refused: password; 104 such in all", True),
    ],
)  # fmt: skip
def test_another_account_break_or_transfer_is_told_of_too(one: str, other: str, is_same: bool) -> None:
    """Figures change from text to text; digits of a name say whose they are, and whoever is the second is told of."""
    alerts = book()
    watch = Watch(alerts, RULES, 1000)
    watch.look(snapshot(alerts=[one], alert_count=1), 0, S)
    assert told(alerts, 10 * S) == [one]
    watch.look(snapshot(alerts=[one, other], alert_count=2), 0, 11 * S)
    assert told(alerts, 20 * S) == ([] if is_same else [other])


def test_what_happens_again_and_again_is_told_again() -> None:
    alerts, heard = book(), []
    for minute in range(0, 125, 5):
        alerts.happened("e", "transfer", "warning", f"minute {minute}", minute * 60 * S)
        heard += told(alerts, minute * 60 * S + 6 * S)
    assert heard == ["minute 0", "minute 65"], "an hour later, as what holds is; acknowledged or not it is counted"
    alerts.acknowledge(1, "anna")
    for minute in range(125, 300, 5):
        alerts.happened("e", "transfer", "warning", f"minute {minute}", minute * 60 * S)
        assert told(alerts, minute * 60 * S + 6 * S) == []


def test_where_not_all_may_leave_the_gravest_do() -> None:
    alerts = book()
    for number in range(A_MINUTE + 2):
        alerts.happened(f"e{number}", f"kind {number}", "info", "x", number)
    alerts.happened("e", "journal", "critical", "journal: full", S)
    first, second = alerts.due(6 * S), alerts.due(67 * S)
    assert [m.kind for m in first] == ["journal", "kind 0", "kind 1"]
    assert [m.kind for m in second] == ["kind 2", "kind 3", "kind 4"]


def test_texts_that_came_too_fast_are_said_to_be_missing() -> None:
    alerts = book()
    watch = Watch(alerts, RULES, 1000)
    watch.look(snapshot(alerts=["a"], alert_count=1, duration_s=5.0), 0, S)
    watch.look(snapshot(alerts=[f"order {n}x" for n in range(100)], alert_count=251, duration_s=6.0), 0, 2 * S)
    assert alerts.by_key["texts lost"].text.startswith("150 alerts of the gateway")


def test_a_gateway_that_has_begun_anew_tells_from_its_first_text_on() -> None:
    """It may have told more, when it is looked at next, than the one before it had."""
    alerts = book()
    watch = Watch(alerts, RULES, 1000)
    watch.look(snapshot(alerts=["a", "b"], alert_count=2, duration_s=900.0), 0, S)
    watch.look(snapshot(alerts=["c", "d", "e"], alert_count=3, duration_s=1.0), 0, 2 * S)
    assert [alert.text for alert in alerts.by_key.values()] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("text", "kind", "severity"),
    [
        ("margin of fund taken_over: ratio 20.00 %", "margin call", "critical"),
        ("fund deleveraged by 5 lots of BTC-PERPETUAL: why", "margin call", "critical"),
        ("adjustment of fund ended, exhausted: nothing is left", "margin call", "critical"),
        ("adjustment of fund ended, cured: margin is covered again", "gateway", "info"),
        ("transfer R-P1.1 UNKNOWN: nothing was heard in time", "transfer", "warning"),
        ("transfer R-P1.1 awaits approval by two people: margingate transfers", "transfer", "info"),
        ("HOUSE calls 100.00 USD of fund: R1", "transfer", "warning"),
        ("HOUSE: call R1 lapsed: 0.00 of 100.00 USD are there", "transfer", "warning"),
        ("margin watch failed: ValueError: x", "margin", "critical"),
        ("valuation failed: ValueError: x", "margin", "critical"),
    ],
)
def test_how_grave_a_text_is(text: str, kind: str, severity: str) -> None:
    alerts = book()
    Watch(alerts, RULES, 1000).look(snapshot(alerts=[text], alert_count=1), 0, S)
    assert [(alert.kind, alert.severity) for alert in alerts.by_key.values()] == [(kind, severity)]


class Receiver(http.server.BaseHTTPRequestHandler):
    """An Alertmanager that keeps what it was told, and fails as often as it is asked to."""

    bodies: list[Any]
    failures: int

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = type(self)
        if kind.failures:
            kind.failures -= 1
            self.send_error(500)
            return
        kind.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[type[Receiver], str]]:
    kind: type[Receiver] = type("Kept", (Receiver,), {"bodies": [], "failures": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_alertmanager_is_told_and_tried_again(
    receiver: tuple[type[Receiver], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, url = receiver
    kind.failures = 2
    monkeypatch.setattr("gateway.admin.sinks.RETRY_MIN_S", 0.001)
    alerts = book()
    alerts.holds("margin a", "margin", "warning", "account a: 70 %", S)
    (message,) = alerts.due(10 * S)
    delivery = Delivery(Alertmanager(url + "/", "gw"))

    async def delivered() -> None:
        delivery.offer(message)
        task = asyncio.create_task(delivery.run())
        async with asyncio.timeout(60):
            while not delivery.sent:
                await asyncio.sleep(0.005)
        task.cancel()

    asyncio.run(delivered())
    ((path, (alert,)),) = kind.bodies
    assert path == "/api/v2/alerts" and delivery.failed == 2
    assert alert["labels"] == {"alertname": "margin", "severity": "warning", "gateway": "gw", "key": "margin a"}
    assert alert["annotations"] == {"summary": "account a: 70 %"}
    assert alert["startsAt"] == "1970-01-01T00:00:01.000+00:00"


def test_apprise_is_told(receiver: tuple[type[Receiver], str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    kind, url = receiver
    alerts = book()
    alerts.holds("a", "venue", "critical", "halted", 0)
    (message,) = alerts.due(5 * S)
    monkeypatch.setenv("NOTIFY_URLS", url.replace("http", "json"))
    (sink,) = sinks_of(Admin(tokens_file=Path("t"), notify_env="NOTIFY"), "gw")
    sink.send(message)
    ((_, body),) = kind.bodies
    assert body["title"] == "[critical] venue: 1 firing, 0 over" and body["message"] == "halted"
    kind.failures = 1
    with pytest.raises(SinkError, match="did not take it"):
        sink.send(message)


def test_a_receiver_that_can_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Admin(tokens_file=Path("t"), notify_env="NOTIFY")
    monkeypatch.delenv("NOTIFY_URLS", raising=False)
    with pytest.raises(SinkError, match="NOTIFY_URLS is not set"):
        sinks_of(rules, "gw")
    with pytest.raises(SinkError) as told:
        Apprise(["nonsense://canary-1234"])
    assert "canary" not in str(told.value)
    with pytest.raises(SinkError):
        Alertmanager("http://127.0.0.1:1", "gw").send(book_message())


def book_message() -> Any:
    alerts = book()
    alerts.holds("a", "k", "info", "x", 0)
    return alerts.due(5 * S)[0]
