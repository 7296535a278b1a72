"""Metrics, the terminal's picture, the log lines: of canned snapshots; and the files that go with metrics."""

from __future__ import annotations

import json
import logging
import re
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from typer.testing import CliRunner

from gateway import cli
from gateway.admin.logs import JsonFormatter
from gateway.admin.metrics import MAX_ACCOUNTS, exposition
from gateway.admin.tokens import Tokens, TokensError, token_hash
from gateway.commands.top import screen
from gateway.operators.status_page import Status, StatusPage
from tests.gateway.test_demo import SNAPSHOT, account

ROOT = Path(__file__).resolve().parents[3]
FEED = {"instruments": 9, "marks_fresh": 8, "feed_age_ms": 12.0, "oldest_mark_ms": 900.0}
runner = CliRunner()


def facts(**changes: Any) -> dict[str, Any]:
    rows = [row | {"maintenance_margin": 80.0} for row in SNAPSHOT["accounts"]]
    snapshot = SNAPSHOT | {
        "accounts": rows,
        "feeds": {"sim-deribit": FEED},
        "controls": {"killed": ["account LOST-1"]},
        "alert_count": 4,
        "margin_states": {"called": 1, "healthy": 2},
        "calls_open": 2,
        "called_usd": 1234.0,
        "transfers_live": 3,
        "transfers_unknown": 1,
        "collateral": [{"asset": "BTC", "places": {"client": -1.0, "house": 1.0}, "imbalance_units": 0}],
        "breaks_open": {"block": 1},
    }
    alerts = [{"kind": "margin", "severity": "critical", "is_firing": True}] * 2
    told = {"snapshot": snapshot, "age_s": 0.5, "alerts": alerts, "audit_entries": 7}
    return told | {"deliveries": {"alertmanager": {"sent": 3, "failed": 1, "dropped": 0}}} | changes


def samples(told: dict[str, Any]) -> dict[tuple[str, ...], float]:
    text = exposition(lambda: told).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_a_scraper_is_told() -> None:
    found = samples(facts())
    for name, value in {
        ("margingate_up",): 1.0,
        ("margingate_orders_in_total",): 1234.0,
        ("margingate_rejects_total", "MARGIN_SHORTFALL"): 120.0,
        ("margingate_latency_seconds", "0.99", "reject"): 80e-6,
        ("margingate_account_margin_use_ratio", "FUND-1"): 0.95,
        ("margingate_account_maintenance_margin_usd", "FUND-1"): 80.0,
        ("margingate_account_state", "LOST-1", "halted"): 1.0,
        ("margingate_venue_state", "live", "sim-deribit"): 1.0,
        ("margingate_feed_age_seconds", "newest", "sim-deribit"): 0.012,
        ("margingate_feed_instruments", "sim-deribit", "stale"): 1.0,
        ("margingate_alerts_firing", "critical", "margin"): 2.0,
        ("margingate_alert_total",): 4.0,
        ("margingate_alert_messages_total", "alertmanager", "sent"): 3.0,
        ("margingate_audit_entries_total",): 7.0,
        ("margingate_kills",): 1.0,
    }.items():
        assert found[name] == pytest.approx(value), name
    assert ("margingate_account_equity_usd", "LOST-1") not in found, "what is unknown is not told"


def test_without_a_gateway_nothing_is_invented() -> None:
    found = samples(facts(snapshot=None))
    assert found["margingate_up",] == 0.0 and ("margingate_orders_in_total",) not in found


def test_accounts_are_bounded() -> None:
    rows = [account(f"a{number}", 1000.0, float(number)) for number in range(MAX_ACCOUNTS + 10)]
    found = samples(facts(snapshot=SNAPSHOT | {"accounts": rows, "feeds": {}}))
    told = [name for name in found if name[0] == "margingate_account_equity_usd"]
    assert len(told) == MAX_ACCOUNTS and found["margingate_accounts",] == MAX_ACCOUNTS + 10
    assert ("margingate_account_equity_usd", "a0") not in found, "the least used is left out"


def test_rules_and_dashboard_ask_for_what_there_is() -> None:
    known = {name[0] for name in samples(facts())} | {"margingate_logons_refused_total"}
    rules = (ROOT / "docs/monitoring/alerts.yml").read_text()
    panels = json.loads((ROOT / "docs/monitoring/grafana.json").read_text())["panels"]
    asked = [line.partition("expr:")[2] for line in rules.splitlines() if "expr:" in line]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    names = {name for text in asked for name in re.findall(r"margingate_\w+", text)}
    assert len(asked) > 25 and names <= known, names - known


def test_the_terminal_shows_who_is_near_its_margin(tmp_path: Path) -> None:
    status = Status(1, 10**9, facts()["snapshot"] | {"alerts": ["sim-deribit: halted"]})
    before = Status(1, 0, SNAPSHOT | {"duration_s": 8.5, "orders_in": 1134})
    console = Console(record=True, width=110, height=40, file=StringIO(), force_terminal=True, _environ={})
    console.print(screen(status, 8 * 10**9, 110, before=before))
    text = console.export_text()
    for words in ("killed: account LOST-1", "told 7.0 s ago", "FUND-1", "95%", "unknown", "live", "100 a second",
                  "margin shortfall 120", "2 calls open, 1,234 USD", "3 transfers", "breaks 1 block",
                  "sim-deribit: halted", "reject p50 31 p99 80 us"):  # fmt: skip
        assert words in text, words
    assert text.index("LOST-1   ") < text.index("FUND-1")
    page = StatusPage(tmp_path)
    page.publish(orjson.dumps(facts()["snapshot"]), 1)
    shown = runner.invoke(cli.app, ["top", str(tmp_path), "--once"])
    assert shown.exit_code == 0 and "FUND-1" in shown.stdout
    page.close()
    assert runner.invoke(cli.app, ["top", str(tmp_path), "--once"]).exit_code == 1


def test_a_log_line_is_one_redacted_object() -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "WARNING", "msg": "said %s", "args": ("token=abc",)})
    record.reason = "password: canary"
    try:
        raise ValueError("secret=canary")
    except ValueError as error:
        record.exc_info = (type(error), error, None)
    line = orjson.loads(JsonFormatter().format(record))
    assert line["event"] == "said token=<hidden>" and line["level"] == "warning" and line["logger"] == "x"
    assert "canary" not in str(line) and line["exception"].startswith("ValueError: ")


def test_tokens_are_made_and_known(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.touch(mode=0o600)
    made = runner.invoke(cli.app, ["admin-token", "--person", "ann o'x", "--role", "viewer"])
    token = made.stderr.strip().rpartition(" ")[2]
    path.write_text(made.stdout)
    tokens = Tokens(path)
    person = tokens.person(token)
    assert person is not None and (person.name, person.role) == ("ann o'x", "viewer")
    assert tokens.person(token + "x") is None and token not in path.read_text()
    path.write_text("")
    with pytest.raises(TokensError):
        tokens.person(token)  # what was taken out counts no more


LINE = f'[[token]]\nperson = "a"\nrole = "viewer"\nsha256 = "{token_hash("canary").hex()}"\n'


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (LINE, 0o644, "chmod 600"),
        (LINE.replace("viewer", "king"), 0o600, "role must be one of"),
        (LINE.replace('sha256 = "', 'sha256 = "zz'), 0o600, "64 hex digits"),
        (LINE.replace('person = "a"', 'person = ""'), 0o600, "person must be"),
        (LINE + LINE, 0o600, "twice"),
        (LINE + 'password = "canary"\n', 0o600, "nothing else"),
        ('token = "canary"\n', 0o600, "nothing else"),
        ('canary = "x\n', 0o600, "must have"),
        ("x" * (1 << 21), 0o600, "longer than"),
    ],
)
def test_a_file_of_tokens_that_is_wrong(tmp_path: Path, text: str, mode: int, told: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(TokensError, match=told) as error:
        Tokens(path)
    assert "canary" not in str(error.value)
    with pytest.raises(TokensError):
        Tokens(tmp_path / "none.toml")
