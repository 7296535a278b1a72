"""The API beside a gateway that runs: who may, how often, what is confirmed, what takes two; and no secrets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.admin.audit import verify
from gateway.admin.logs import JsonFormatter
from gateway.admin.server import AdminServer
from gateway.admin.tokens import Role
from gateway.app import App
from tests.gateway.admin.rig import TOKENS, WITH_TOKENS, admin_of, beside, client, with_admin
from tests.gateway.live import SECRET, Live, TcpClient, live, run, until

FAST = "[monitor]\nreport_interval_ms = 100\n" + WITH_TOKENS
KILL = {"scope": "account", "name": "beta", "reason": "fat finger", "confirm": "beta"}
LIMIT = {"account": "alpha", "key": "max_order_notional_usd", "was": "200000", "reason": "why", "confirm": "alpha"}
LOOKS = (
    "/api/v1/view",
    "/api/v1/orders",
    "/api/v1/plan?account=alpha",
    "/api/v1/limits",
    "/api/v1/holds",
    "/api/v1/alerts",
    "/metrics",
)
# path -> (body, the least role)
ACTS: dict[str, tuple[dict[str, Any], Role]] = {
    "/api/v1/kill": (KILL, Role.RISK_MANAGER),
    "/api/v1/reinstate": (KILL, Role.RISK_MANAGER),
    "/api/v1/state": ({"account": "beta", "state": "halted", "reason": "x", "confirm": "beta"}, Role.RISK_MANAGER),
    "/api/v1/logout": ({"session": "BETA", "reason": "x", "confirm": "BETA"}, Role.ADMINISTRATOR),
    "/api/v1/release-hold": ({"hold": "h", "reason": "x", "confirm": "h"}, Role.RISK_MANAGER),
    "/api/v1/limits": (LIMIT | {"value": "1"}, Role.RISK_MANAGER),
    "/api/v1/transfers": (
        {"transfer": "t", "happening": "failed", "reason": "x", "confirm": "t"},
        Role.RISK_MANAGER,
    ),
    "/api/v1/transfers/approve": ({"transfer": "t", "reason": "x", "confirm": "t"}, Role.RISK_MANAGER),
    "/api/v1/transfers/decline": ({"transfer": "t", "reason": "x", "confirm": "t"}, Role.RISK_MANAGER),
    "/api/v1/margin": (
        {"account": "beta", "decision": "reinstated", "reason": "x", "confirm": "beta"},
        Role.RISK_MANAGER,
    ),
    "/api/v1/breaks/close": ({"number": 1, "reason": "x", "confirm": "1"}, Role.RISK_MANAGER),
    "/api/v1/proposals/7/approve": ({"confirm": "alpha"}, Role.RISK_MANAGER),
    "/api/v1/proposals/7/refuse": ({"confirm": "alpha"}, Role.RISK_MANAGER),
    "/api/v1/alerts/1/acknowledge": ({}, Role.RISK_MANAGER),
}


async def seen(server: AdminServer) -> None:
    await until(lambda: server.view.status is not None and server.view.snapshot["accounts"][0]["equity"] is not None)


def test_no_token_is_401_and_a_wrong_role_403(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 49: neither learns anything."""

    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST, waits=False) as gateway:
            config = with_admin(gateway.app.config, tmp_path)
            async with admin_of(config) as (server, url):
                server.access._rates.clear()
                for path in (*LOOKS, "/api/v1/audit"):
                    async with client(url) as nobody:
                        assert (await nobody.get(path)).status_code == 401
                    server.access._rates.clear()
                for path, (body, least) in ACTS.items():
                    async with client(url) as nobody:
                        told = await nobody.post(path, json=body)
                        assert told.status_code == 401 and told.headers["www-authenticate"] == "Bearer", path
                        wrong = await nobody.post(path, json=body, headers={"Authorization": "Bearer nobody's"})
                        assert wrong.status_code == 401
                    server.access._rates.clear()
                    for person, (role, _) in TOKENS.items():
                        if not Role(role).may_act_as(least):
                            async with client(url, person) as asking:
                                told = await asking.post(path, json=body)
                                assert told.status_code == 403 and least in told.json()["detail"], (path, person)
                async with client(url, "rita") as rita:
                    assert (await rita.get("/api/v1/audit")).status_code == 403
                assert server.audit.head.entries == 0, "nothing was done"

    run(scenario())


def test_a_flood_is_429(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 49: whoever sends too much waits, with a token or without."""

    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST, waits=False) as gateway:
            config = with_admin(gateway.app.config, tmp_path, requests_per_second=1, request_burst=5)
            async with admin_of(config) as (_, url), client(url, "vera") as vera, client(url, "rita") as rita:
                codes = [(await vera.get("/api/v1/alerts")).status_code for _ in range(12)]
                assert codes[:5] == [200] * 5 and 429 in codes[5:]
                assert (await rita.get("/api/v1/alerts")).status_code == 200, "each token has its own"
                async with client(url) as nobody:
                    codes = [(await nobody.get("/api/v1/view")).status_code for _ in range(40)]
                    assert codes[0] == 401 and 429 in codes
                    told = await nobody.get("/api/v1/view")
                    assert told.status_code == 401 or told.headers["retry-after"] == "1"

    run(scenario())


def test_a_kill_is_confirmed_done_audited_and_lifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with beside(tmp_path, monkeypatch, waits=True) as (gateway, server, rita):
            await seen(server)
            told = await rita.post("/api/v1/kill", json=KILL | {"confirm": "bet"})
            assert told.status_code == 409 and "typed again" in told.json()["detail"]
            assert not gateway.app.core.ledger.standing.kills
            told = await rita.post("/api/v1/kill", json=KILL)
            assert told.json() == {"is_audited": True, "is_journalled": True, "cancels": 0}
            (kill,) = gateway.app.core.ledger.standing.kills.values()
            assert kill.who.startswith("rita (") and kill.reason == "fat finger"
            await until(lambda: any(e["event"] == "killed" for e in server.view.journal.events))
            await until(lambda: server.view.snapshot["controls"]["killed"] == ["account beta"])
            view = (await rita.get("/api/v1/view")).json()
            assert view["gateway"]["killed"] == ["account beta"] and view["person"]["name"] == "rita"
            assert (await rita.post("/api/v1/reinstate", json=KILL)).status_code == 200
            told = await rita.post("/api/v1/reinstate", json=KILL)
            assert told.status_code == 409 and "is not killed" in told.json()["detail"]
            state = ACTS["/api/v1/state"][0]
            assert (await rita.post("/api/v1/state", json=state)).json()["was"] == "trading"
            assert gateway.app.core.ledger.accounts["beta"].state == "halted"
            told = await rita.post("/api/v1/state", json=state | {"account": "nobody", "confirm": "nobody"})
            assert told.status_code == 409
            assert verify(tmp_path / "audit.log").entries == 11
            outcomes = [
                msgspec.json.decode(line)["outcome"] for line in (tmp_path / "audit.log").read_bytes().splitlines()
            ]
            expected = ["refused", *["asked", "done"] * 2, "asked", "refused", "asked", "done", "asked", "refused"]
            assert outcomes == expected

    run(scenario())


def test_whatever_has_a_name_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with beside(tmp_path, monkeypatch, waits=True) as (gateway, server, rita):
            kills = gateway.app.core.ledger.standing.kills
            for scope, name in (("firm", "test"), ("venue", "deribit"), ("instrument", "BTC-PERPETUAL")):
                body = KILL | {"scope": scope, "name": name, "confirm": name}
                assert (await rita.post("/api/v1/kill", json=body)).json()["is_journalled"], scope
                assert (scope, name) in kills
                await until(lambda wanted=f"{scope} {name}": wanted in server.view.snapshot["controls"]["killed"])
                assert (await rita.post("/api/v1/reinstate", json=body)).status_code == 200
                told = await rita.post("/api/v1/kill", json=body | {"name": "nothing", "confirm": "nothing"})
                assert told.status_code == 409, scope
            assert (await rita.post("/api/v1/kill", json=KILL | {"scope": "world"})).status_code == 422
            await until(lambda: server.view.snapshot["controls"]["killed"] == [])
            plan = await rita.get("/api/v1/plan", params={"account": "alpha"})
            assert plan.status_code == 200 and plan.json()["steps"] == []
            assert (await rita.get("/api/v1/plan", params={"account": "nobody"})).status_code == 409

    run(scenario())


def limit_of(app: App) -> float:
    return app.core.ledger.accounts["alpha"].limits.max_order_notional


def test_a_limit_that_is_raised_far_takes_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST, waits=False) as gateway:
            config = with_admin(gateway.app.config, tmp_path)
            async with admin_of(config) as (server, url), client(url, "rita") as rita, client(url, "ruth") as ruth:
                assert (await rita.post("/api/v1/limits", json=LIMIT | {"value": "250000"})).status_code == 200
                assert limit_of(gateway.app) == 250_000
                # A quarter more again is measured from what two persons agreed on, not from where one has gone.
                asked = LIMIT | {"value": "300000", "was": "250000"}
                told = await rita.post("/api/v1/limits", json=asked)
                number = told.json()["proposal"]
                assert told.status_code == 202 and limit_of(gateway.app) == 250_000
                assert (await rita.post("/api/v1/limits", json=asked | {"was": "1"})).status_code == 409
                (row,) = (await ruth.get("/api/v1/view")).json()["proposals"]
                assert row["number"] == number and row["who"] == "rita" and "250000 -> 300000" in row["text"]
                approve = f"/api/v1/proposals/{number}/approve"
                told = await rita.post(approve, json={"confirm": "alpha"})
                assert told.status_code == 403 and "who proposed it can not approve it" in told.json()["detail"]
                assert (await ruth.post(approve, json={"confirm": "beta"})).status_code == 409
                assert (await ruth.post(approve, json={"confirm": "alpha"})).status_code == 200
                assert limit_of(gateway.app) == 300_000
                assert (await ruth.post(approve, json={"confirm": "alpha"})).status_code == 404
                limits = (await rita.get("/api/v1/limits", params={"account": "alpha"})).json()["limits"]
                (limit,) = [row for row in limits if row["key"] == LIMIT["key"]]
                assert (limit["value"], limit["configured"], limit["approved"]) == ("300000", "200000", "300000")
                move = gateway.app.core.ledger.standing.limits["alpha", "", LIMIT["key"]]
                assert move.who.startswith("rita") and move.approved_by == "ruth"
                # What somebody has changed meanwhile is not overwritten by what was proposed before.
                far = LIMIT | {"value": "900000", "was": "300000"}
                number = (await rita.post("/api/v1/limits", json=far)).json()["proposal"]
                assert (await rita.post("/api/v1/limits", json=far | {"value": "100000"})).status_code == 200
                told = await ruth.post(f"/api/v1/proposals/{number}/approve", json={"confirm": "alpha"})
                assert told.status_code == 409 and "meanwhile" in told.json()["detail"]
                assert limit_of(gateway.app) == 100_000
                waiting = (await rita.post("/api/v1/limits", json=far | {"was": "100000"})).json()["proposal"]
            # Another process takes up what waited.
            async with admin_of(config) as (server, url), client(url, "rita") as rita:
                assert list(server.desk.approvals.pending) == [waiting]
                told = await rita.post(f"/api/v1/proposals/{waiting}/refuse", json={"confirm": "alpha"})
                assert told.status_code == 200 and not server.desk.approvals.pending
            async with admin_of(config) as (server, url):
                assert not server.desk.approvals.pending

    run(scenario())


def test_who_waits_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with beside(tmp_path, monkeypatch) as (gateway, server, rita):
            number = (await rita.post("/api/v1/limits", json=LIMIT | {"value": "900000"})).json()["proposal"]
            later = server.desk.now_ns() + 3_600 * 10**9
            server.desk.now_ns = lambda: later
            async with client(rita.base_url, "ruth") as ruth:
                told = await ruth.post(f"/api/v1/proposals/{number}/approve", json={"confirm": "alpha"})
                assert told.status_code == 404 and limit_of(gateway.app) == 200_000

    run(scenario())


def test_without_a_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST, waits=False) as gateway:
            config = with_admin(gateway.app.config, tmp_path)
            async with admin_of(config) as (server, url), client(url, "rita") as rita:
                await until(lambda: server.view.status is not None)
                assert (await rita.get("/health/ready")).status_code == 200
                await gateway.app.stop()
                await until(lambda: server.view.status is None)
                assert (await rita.get("/health/live")).json()["ok"]
                told = await rita.get("/health/ready")
                assert told.status_code == 503 and told.json()["detail"] == "no gateway runs"
                assert (await rita.post("/api/v1/kill", json=KILL)).status_code == 503
                assert not (await rita.get("/api/v1/view")).json()["gateway"]["is_up"]
                assert "margingate_up 0.0" in (await rita.get("/metrics")).text

    run(scenario())


def test_a_kill_is_not_held_up_by_the_audit_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with beside(tmp_path, monkeypatch) as (gateway, server, rita):
            server.audit.path = tmp_path / "gone" / "audit.log"  # its head can not be written there
            told = await rita.post("/api/v1/limits", json=LIMIT | {"value": "1"})
            assert told.status_code == 503 and limit_of(gateway.app) == 200_000
            told = await rita.post("/api/v1/kill", json=KILL)
            assert told.status_code == 200 and not told.json()["is_audited"]
            assert gateway.app.core.ledger.standing.kills

    run(scenario())


def test_alerts_are_acknowledged_and_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with beside(tmp_path, monkeypatch) as (_, _, rita):
            alert = {
                "status": "firing",
                "labels": {"alertname": "Disk", "severity": "critical"},
                "fingerprint": "f",
            }
            alert["annotations"] = {"summary": "the disk fills"}
            hook = {"version": "4", "alerts": [alert], "receiver": "us"}
            assert (await rita.post("/api/v1/alertmanager", json=hook)).status_code == 200
            rows = (await rita.get("/api/v1/alerts")).json()["alerts"]
            (row,) = [row for row in rows if row["text"] == "the disk fills"]
            assert row["severity"] == "critical" and row["is_firing"]
            path = f"/api/v1/alerts/{row['number']}/acknowledge"
            assert (await rita.post(path)).status_code == 200
            assert (await rita.post("/api/v1/alerts/99999/acknowledge")).status_code == 404
            rows = (await rita.get("/api/v1/alerts")).json()["alerts"]
            assert [r["acknowledged_by"] for r in rows if r["text"] == "the disk fills"] == ["rita"]
            hook["alerts"] = [alert | {"status": "resolved"}]
            await rita.post("/api/v1/alertmanager", json=hook)
            rows = (await rita.get("/api/v1/alerts")).json()["alerts"]
            assert [r["is_firing"] for r in rows if r["text"] == "the disk fills"] == [False]

    run(scenario())


def test_secrets_are_in_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens, the venue's secret, and what a person types by mistake: in no answer, no log, no file."""
    caplog.set_level(logging.INFO)
    answers: list[bytes] = []

    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST) as gateway:
            desk = await (await TcpClient().connect(gateway.port)).log_on()
            desk.order(quantity=10_000_000)
            await desk.until(lambda: desk.told)
            async with admin_of(with_admin(gateway.app.config, tmp_path)) as (server, url):
                await seen(server)
                for person in TOKENS:
                    async with client(url, person) as asking:
                        await told_everything(asking, answers)

    run(scenario())
    canaries = [token.encode() for _, token in TOKENS.values()] + [SECRET.encode(), b"canary-typed"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    ours = [record for record in caplog.records if record.name.startswith(("gateway", "uvicorn"))]
    logs = [JsonFormatter().format(record).encode() for record in ours]
    texts = [*answers, *logs, *(path.read_bytes() for path in files)]
    assert len(answers) > 40 and len(files) > 4 and len(logs) > 40
    for canary in canaries:
        assert not any(canary in text for text in texts), canary


async def told_everything(asking: Any, answers: list[bytes]) -> None:
    reason = "token=canary-typed"
    paths = (*LOOKS, "/api/v1/audit", "/health/ready", "/api/openapi.json", "/", "/app.js", "/nothing")
    answers.extend([(await asking.get(path)).content for path in paths])
    for path, (body, _) in ACTS.items():
        changed = body | ({"reason": reason} if "reason" in body else {})
        answers.append((await asking.post(path, json=changed)).content)
        answers.append((await asking.post(path, json=body | {"password": "canary-typed"})).content)
        answers.append((await asking.post(path, content=b'{"token": "canary-typed"')).content)
    answers.append((await asking.get("/api/v1/view", params={"after": "canary-typed"})).content)


def test_bodies_are_bounded_and_answers_carry_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with beside(tmp_path, monkeypatch) as (_, _, rita):
            assert (await rita.post("/api/v1/kill", content=b"x" * 70_000)).status_code == 413
            page = await rita.get("/")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert page.headers["x-frame-options"] == "DENY" and "server" not in page.headers
            for name in ("app.js", "charts.js", "acts.js", "style.css", "favicon.svg"):
                told = await rita.get(f"/{name}")
                assert told.status_code == 200 and b"http://" not in told.content.replace(b"http://www.w3.org", b"")
                assert b"https://" not in told.content and b"innerHTML" not in told.content

    run(scenario())


def test_a_limit_stands_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(value: str, expected: float, **configured: Any) -> None:
        async with live(tmp_path, monkeypatch, waits=False) as gateway:
            if value:
                await moved(gateway, value)
            assert limit_of(gateway.app) == expected

    async def moved(gateway: Live, value: str) -> None:
        config = with_admin(gateway.app.config, tmp_path)
        async with admin_of(config) as (_, url), client(url, "rita") as rita:
            assert (await rita.post("/api/v1/limits", json=LIMIT | {"value": value})).status_code == 200

    run(scenario("150000.5", 150_000.5))
    run(scenario("", 150_000.5))
