"""Margin calls, transfers, collateral and breaks: what the page is told of them, and what persons say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.journal_view import JournalView
from gateway.admin.rules import money_conditions
from gateway.clock import now_ns
from gateway.operators.showing_margin import LOOKED_AT_A_STEP, margin_in_steps
from gateway.records.clearing import BreakOpened
from risk.collateral_ledger import Location, Place, TransferTerms
from risk.instrument import units_from_decimal
from tests.gateway.admin.rig import WITH_TOKENS, admin_of, client, with_admin
from tests.gateway.live import live, run, until
from tests.gateway.margin_floor import WATCH, floor

FAST = "[monitor]\nreport_interval_ms = 100\n" + WITH_TOKENS


def shown_of(core: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for _ in margin_in_steps(core.ledger.margin, shown):
        pass
    return shown


def test_calls_transfers_and_collateral_are_told(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        core = desk.rig.core
        assert shown_of(core)["calls"] == [] and shown_of(core)["called_usd"] == 0
        desk.buy()
        desk.move(54_500)
        desk.pledge("73", call="alpha-M1")
        shown = shown_of(core)
        (call,) = shown["calls"]
        assert (call["account"], call["call"], call["state"]) == ("alpha", "alpha-M1", "issued")
        assert call["amount_usd"] == call["outstanding_usd"] == shown["called_usd"] > 0
        assert shown["margin_states"]["called"] == shown["calls_open"] == 1
        (transfer,) = shown["transfers"]
        assert (transfer["transfer"], transfer["state"], transfer["call"]) == ("ALPHA:a1", "pending", "alpha-M1")
        assert (transfer["amount"], transfer["settled"], transfer["from"]) == (73.0, 0.0, "client")
        assert shown["transfers_live"] == 1 and shown["transfers_unknown"] == 0
        assert all(row["imbalance_units"] == 0 for row in shown["collateral"])
        (asset,) = [row for row in shown["collateral"] if row["asset"] == transfer["asset"]]
        assert asset["places"]["transit"] == 73.0 and sum(asset["places"].values()) == 0
        told = JournalView()
        for entry in desk.rig.entries():
            told.take(entry)
        events = {event["event"]: event for event in told.events}
        assert "alpha-M1" in events["call"]["text"] and events["call"]["account"] == "alpha"
        assert events["margin"]["text"].startswith("called") and "from client to house" in events["transfer"]["text"]
        assert told.unread == 0


def test_many_accounts_are_looked_at_in_slices(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        book = desk.rig.core.ledger.margin
        before = sum(1 for _ in margin_in_steps(book, {}))
        for number in range(3 * LOOKED_AT_A_STEP):
            book.watch(f"account-{number}")
        assert sum(1 for _ in margin_in_steps(book, {})) == before + 3


@pytest.mark.parametrize(
    ("snapshot", "found"),
    [
        ({}, set()),
        ({"transfers_unknown": 2}, {("transfers", "critical")}),
        ({"collateral": [{"asset": "BTC", "imbalance_units": 0}]}, set()),
        ({"collateral": [{"asset": "BTC", "imbalance_units": -1}]}, {("collateral BTC", "critical")}),
        ({"breaks_open": {"block": 1, "info": 2}}, {("breaks block", "critical"), ("breaks info", "warning")}),
    ],
)
def test_what_is_wrong_with_money(snapshot: dict[str, Any], found: set[tuple[str, str]]) -> None:
    assert {(one.key, one.severity) for one in money_conditions(snapshot)} == found


def test_what_settled_is_booked_on_two_persons_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST + WATCH) as gateway:
            config, core = with_admin(gateway.app.config, tmp_path), gateway.app.core
            ends = Location(Place.CLIENT, "", "alpha"), Location(Place.HOUSE, "", "alpha")
            terms = TransferTerms("wire-7", "alpha", "USDC", units_from_decimal(Decimal(73)), *ends)
            assert core.intraday.begin_transfer(terms, now_ns())
            settled = {"transfer": "wire-7", "happening": "settled", "reference": "s7", "reason": "seen"}
            settled |= {"confirm": "wire-7"}
            async with admin_of(config) as (server, url), client(url, "rita") as rita, client(url, "ruth") as ruth:
                await until(lambda: server.view.snapshot.get("transfers"))
                assert (await rita.post("/api/v1/transfers", json=settled)).status_code == 409, "no amount"
                settled |= {"amount": "73"}
                wrong = settled | {"confirm": "wire"}
                assert (await rita.post("/api/v1/transfers", json=wrong)).status_code == 409
                told = await rita.post("/api/v1/transfers", json=settled)
                assert told.status_code == 202 and told.json()["outcome"] == "pending"
                transfer = core.ledger.margin.collateral.transfers["wire-7"]
                assert transfer.state.value == "pending"
                approve = f"/api/v1/proposals/{told.json()['proposal']}/approve"
                assert (await rita.post(approve, json={"confirm": "wire-7"})).status_code == 403
                assert (await ruth.post(approve, json={"confirm": "wire-7"})).json()["state"] == "settled"
                assert transfer.state.value == "settled"
                await until(lambda: any("approved by ruth" in e.get("text", "") for e in server.view.journal.events))
                again = settled | {"happening": "failed", "amount": ""}
                told = await rita.post("/api/v1/transfers", json=again)
                assert told.status_code == 409, "what has settled does not fail"

    run(scenario())


def test_breaks_and_margin_are_decided_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra=FAST + WATCH) as gateway:
            config, core = with_admin(gateway.app.config, tmp_path), gateway.app.core
            record = BreakOpened("deribit", "quantity", "alpha", "BTC", 2, "1", "2", "1", "evidence")
            core.pipeline.commit(record, now_ns())
            async with admin_of(config) as (server, url), client(url, "rita") as rita:
                await until(lambda: server.view.snapshot.get("breaks_open") == {"warn": 1})
                view = (await rita.get("/api/v1/view")).json()
                (row,) = view["breaks"]
                assert (row["break"], row["severity"], row["theirs"]) == (1, "warn", "2") and view["is_watched"]
                close = {"number": 1, "reason": "known", "confirm": "2"}
                assert (await rita.post("/api/v1/breaks/close", json=close)).status_code == 409
                assert (await rita.post("/api/v1/breaks/close", json=close | {"confirm": "1"})).status_code == 200
                assert not core.ledger.open_breaks.open
                decide = {"account": "alpha", "decision": "reinstated", "reason": "x", "confirm": "alpha"}
                told = await rita.post("/api/v1/margin", json=decide)
                assert told.status_code == 409 and "healthy" in told.json()["detail"]

    run(scenario())
