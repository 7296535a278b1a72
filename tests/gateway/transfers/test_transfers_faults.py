"""Faults 40 to 43, 45, 48 and 50 of the sheet, as far as transfers of ours go (42: test_transfers.py too)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.venues.core.faults import Fault
from gateway import config as configuration
from gateway.records.transfers import HouseCallMoved, TransferDropped, TransfersPlanned
from protocols.venues.codec import HttpResponse
from risk.calls import CallState
from risk.collateral_ledger import TransferState
from risk.transfer_orders import OrderState
from tests.gateway.margin_floor import WATCH
from tests.gateway.rig import SECOND
from tests.gateway.transfer_rig import COLLATERAL, VENUE, WHOLE, TransferFloor, transfer_config, transfer_floor

RESUMES = WATCH.replace("resume_period_s = 0", "resume_period_s = 30")


def test_fault_40_a_clock_that_is_off_at_a_start_drops_and_fails_nothing_at_once(tmp_path: Path) -> None:
    """An order that awaits approval, a transfer that nobody answers, a house's call: none of them ends by the clock."""
    with transfer_floor(tmp_path, {Fault.TRANSFER_NEVER_TAKEN: [1]}, watch=RESUMES) as desk:
        desk.dial()
        desk.desk.move("wallet", "alpha", 100 * WHOLE, "test", desk.rig.now_ns)
        large = desk.desk.move("wallet", "alpha", 2_000 * WHOLE, "test", desk.rig.now_ns)
        desk.house.assignment_answer = (3, "later")
        desk.house.call("alpha", 50, "20251009-09:30:00.000", desk.rig.now_ns)  # type: ignore[arg-type]
        desk.pump()
        desk.run(2, plans=False)
        desk.crash(later_s=7_200).dial()
        desk.run(25, turn_ms=1_000)
        assert desk.moved()[0].state is TransferState.UNKNOWN, "lost_after_s counts from the start"
        assert desk.rig.ledger.margin.orders.orders[large].state is OrderState.AWAITING
        assert [r.happening for r in desk.rig.of_type(HouseCallMoved)] == []
        desk.run(10, turn_ms=1_000)
        assert large in {record.key for record in desk.rig.of_type(TransferDropped)}
        assert [r.happening for r in desk.rig.of_type(HouseCallMoved)] == ["lapsed"]
        desk.check()


def test_fault_41_a_loop_that_stalled_drops_nothing_before_what_waited(tmp_path: Path) -> None:
    with transfer_floor(tmp_path) as desk:
        key = desk.desk.move("wallet", "alpha", 2_000 * WHOLE, "test", desk.rig.now_ns)
        desk.rig.now_ns += 41 * SECOND
        desk.rig.core.intraday.stalled(desk.rig.now_ns)
        desk.again()
        desk.step()
        desk.desk.approve(key, "ann", "had been said before", desk.rig.now_ns)
        assert desk.rig.ledger.margin.orders.orders[key].state is OrderState.READY
        desk.check()


@pytest.mark.parametrize(("late_ms", "state"), [(-1_000, CallState.MET), (1, CallState.EXPIRED)])
def test_fault_43_what_we_bring_at_the_deadline_is_in_time_and_later_is_late(
    tmp_path: Path, late_ms: int, state: CallState
) -> None:
    with transfer_floor(tmp_path, {Fault.TRANSFER_SLOW: [1]}) as desk:
        desk.buy()
        desk.move(54_500)
        assert desk.plan()
        desk.step()
        desk.pump()
        desk.rig.now_ns = desk.call().deadline_ns + late_ms * 1_000_000
        desk.again()
        desk.step()
        desk.pump()
        assert desk.call().state is state and desk.states() == ["settled"]
        assert desk.at(VENUE) > 0, "late money is collateral all the same"
        desk.run(5)
        assert len(desk.moved()) == 1, "no second one for what is there"
        desk.check()
        desk.check_agreed()


def test_fault_45_a_crash_of_the_market_plans_calls_and_brings_and_every_step_is_journalled(tmp_path: Path) -> None:
    with transfer_floor(tmp_path, {Fault.TRANSFER_SLOW: [2], Fault.TRANSFER_UNANSWERED: [3]}) as desk:
        desk.buy()
        price = 60_000.0
        for minute in range(40):
            price *= 1.01 if minute % 7 == 3 else 0.995
            desk.move(price)
            desk.run(6, turn_ms=2_000)
        planned = [move for record in desk.rig.of_type(TransfersPlanned) for move in record.moves]
        orders = desk.orders()
        assert len(planned) == len(orders) >= 2 and {m.key for m in planned} == {o.terms.key for o in orders}
        assert all(order.state is not OrderState.READY for order in orders)
        desk.run(40, turn_ms=2_000)
        desk.check()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("automatic_usd = 1000", "automatic_usd = 9000", "must not be less than automatic_usd"),
        ("automatic_usd = 1000", "automatic_usdd = 1000", "automatic_usdd"),
        ("lost_after_s = 61", "lost_after_s = 5", "lost_after_s"),
        ('source = "client:okx"', 'source = "okx"', "client:"),
        ('mandate = "4000"', "", "no more is taken than the client has allowed"),
        ('source_wallet = "funding"', 'source_wallet = "6"', "wallets at OKX are funding or trading"),
        ('channel = "okx-keys"', 'channel = "nobody"', "no .*channel"),
        ('channel = "HOUSE"', 'channel = "okx-keys"', "reached by its own session"),
        ('target = "clearing_house:HOUSE"', 'target = "clearing_house:OTHER"', "no .*counterparty"),
        ('name = "to-house"', 'name = "wallet"', "another route"),
        ('target = "venue:okx"', 'target = "client:okx"', "is where it comes from"),
        ('credentials_env = "TRANSFERS"', "", "either credentials_file or credentials_env"),
        ('kind = "okx"', 'kind = "okx"\nrest_url = "http://okx.example"', "https://"),
        ('accounts = ["alpha"]', 'accounts = ["nobody"]', "no .*account"),
        ('step = "1"', 'step = "0"', "above 0"),
    ],
)
def test_fault_48_a_table_that_can_not_be_is_refused_whole(tmp_path: Path, old: str, new: str, why: str) -> None:
    good = transfer_config()
    configuration.parse(good, tmp_path / "t.toml")
    head, _, tail = good.partition("[collateral]")
    assert old in tail
    with pytest.raises(configuration.ConfigError, match=why):
        configuration.parse(f"{head}[collateral]{tail.replace(old, new, 1)}", tmp_path / "t.toml")


def test_fault_48_transfers_take_a_watch(tmp_path: Path) -> None:
    with pytest.raises(configuration.ConfigError, match=r"takes \[margin_calls\]"):
        configuration.parse(transfer_config(watch=""), tmp_path / "t.toml")


def test_fault_50_a_venue_that_repeats_our_secret_is_not_quoted(tmp_path: Path) -> None:
    canary = "hunter2-canary"
    with transfer_floor(tmp_path) as desk:
        _with_secret(desk, canary)
        desk.desk.move("wallet", "alpha", 10 * WHOLE, "test", desk.rig.now_ns)
        desk.step()
        (request,) = desk.channel.http_requests()
        body = b'{"code":"51000","msg":"bad sign of %b","data":[]}' % canary.encode()
        desk.channel.http_answered(request.request_id, HttpResponse(400, body), desk.rig.now_ns)
        assert desk.states() == ["failed"]
        shown: list[Any] = [desk.desk.snapshot(), desk.rig.monitor.snapshot(), desk.rig.history(), request]
        assert canary not in repr(shown) and canary not in repr(desk.channel)


def _with_secret(desk: TransferFloor, secret: str) -> None:
    from gateway.transfers.channels import VenueChannel
    from protocols.venues.signing import HmacSigner, Keyring
    from protocols.venues.transfer_codecs import OkxTransfers

    codec = OkxTransfers(Keyring("main", HmacSigner(secret), "p"))
    desk.channel = VenueChannel("okx-keys", codec, desk.desk.told)
    desk.desk.connect(desk.channel)


def test_an_answer_that_nobody_waits_for_says_nothing(tmp_path: Path) -> None:
    with transfer_floor(tmp_path, collateral=COLLATERAL) as desk:
        desk.channel.http_answered(99, HttpResponse(200, b"{}"), desk.rig.now_ns)
        desk.channel.http_failed(99, "x", desk.rig.now_ns)
        assert desk.channel.wallet_fault("6", "18") and desk.channel.why_not(desk.rig.now_ns) is None
