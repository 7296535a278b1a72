"""The intraday watch and time: deadlines, and faults 40 to 43, 45, 48 and 50 of the sheet where they concern it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import config as configuration
from gateway import records
from gateway.records.margin import MarginCalled
from risk.account import AccountState
from risk.calls import CallState
from risk.collateral_ledger import Location, Place, TransferError, TransferHappening, TransferState, TransferTerms
from risk.margin_states import MarginState
from tests.gateway.margin_floor import WATCH, decisions, floor, watched
from tests.gateway.rig import SECOND

CLIENT, HOUSE = Location(Place.CLIENT, "", "alpha"), Location(Place.HOUSE, "", "alpha")
VENUE = Location(Place.VENUE, "deribit", "alpha")
WHOLE = 10**8


def transfer(key: str, units: int, source: Location = CLIENT, target: Location = HOUSE) -> TransferTerms:
    return TransferTerms(key, "alpha", "USDC", units, source, target)


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_call_that_is_not_met_restricts_and_then_adjusts(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        deadline = desk.call().deadline_ns
        desk.rig.now_ns = deadline
        desk.wait(0)
        assert desk.call().state is CallState.ISSUED
        desk.wait(0.001)
        assert (desk.call().state, desk.account().state) == (CallState.EXPIRED, AccountState.REDUCING)
        desk.wait(20)
        desk.wait(0.001)
        assert desk.watch.state is MarginState.ADJUSTING
        assert decisions(desk.rig) == [
            ("state", "called"), ("called", "alpha-M1"), ("call", "alpha-M1", "lapsed"), ("state", "adjusting"),
        ]  # fmt: skip
        desk.check()


def test_fault_40_a_clock_that_is_off_at_a_start_expires_nothing_at_once(tmp_path: Path) -> None:
    """Fault 40: the clock is monotonic while we run; after a restart an hour ahead there is a period to look at it."""
    watch = WATCH.replace("resume_period_s = 0", "resume_period_s = 30")
    with floor(tmp_path, watch=watch) as desk:
        desk.buy()
        desk.move(54_500)
        desk.restart(later_s=3_600)
        desk.wait(1)
        desk.wait(28)
        assert desk.call().state is CallState.ISSUED
        desk.wait(2)
        assert desk.call().state is CallState.EXPIRED


def test_fault_41_a_loop_that_stalled_expires_nothing_before_what_waited(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.pledge("500", call="alpha-M1")
        desk.rig.now_ns = desk.call().deadline_ns + 2 * SECOND
        desk.rig.core.intraday.stalled(desk.rig.now_ns)
        desk.wait(0)
        assert desk.call().is_open
        desk.settle(500 * WHOLE)  # it had come before, and was read after
        assert desk.call().state is CallState.MET and desk.rig.core.intraday.stalls == 1
        desk.check()


def test_fault_42_a_transfer_times_out_is_duplicated_partial_late_reversed(tmp_path: Path) -> None:
    """Fault 42: one effect in the ledger of each, and the sum is conserved."""
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.pledge("100", call="alpha-M1")
        desk.pledge("100", call="alpha-M1", assignment_id="a1")  # the same again
        assert desk.account().cash_units["USDC"] == 1_000 * WHOLE
        desk.wait(12)
        assert desk.rig.ledger.margin.collateral.transfers["ALPHA:a1"].state is TransferState.UNKNOWN
        assert [desk.settle(40 * WHOLE, "r1") for _ in range(2)] == [True, False]
        assert desk.account().cash_units["USDC"] == 1_040 * WHOLE
        assert desk.call().paid_units == 40 * WHOLE
        desk.check()
        desk.settle(60 * WHOLE, "r2")
        assert desk.call().paid_units == 100 * WHOLE or desk.call().state is CallState.MET
        intraday = desk.rig.core.intraday
        assert intraday.transfer_moved("ALPHA:a1", TransferHappening.REVERSED, desk.rig.now_ns)
        assert not intraday.transfer_moved("ALPHA:a1", TransferHappening.REVERSED, desk.rig.now_ns)
        assert desk.account().cash_units["USDC"] == 1_000 * WHOLE and desk.call().paid_units == 0
        desk.check()
        with pytest.raises(TransferError):
            desk.settle(1, "r9")
        (raised,) = desk.rig.of_type(records.BreakRaised)
        assert raised.venue == "collateral" and "ALPHA:a1" in raised.text
        desk.check()


@pytest.mark.parametrize("ticks_first", [True, False])
@pytest.mark.parametrize(("late_ns", "state"), [(0, CallState.MET), (1, CallState.EXPIRED), (10**6, CallState.EXPIRED)])
def test_fault_43_the_order_of_payment_and_deadline(
    tmp_path: Path, late_ns: int, state: CallState, ticks_first: bool
) -> None:
    """Fault 43: at the deadline is in time, after it is late; whether the timer came first changes nothing."""
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.pledge("500", call="alpha-M1")
        desk.rig.now_ns = desk.call().deadline_ns + late_ns
        if ticks_first:
            desk.wait(0)
        desk.settle(500 * WHOLE)
        assert desk.call().state is state
        assert desk.account().cash_units["USDC"] == 1_500 * WHOLE, "late money is collateral all the same"
        desk.move(54_500)
        assert desk.account().state is AccountState.TRADING, "and what it cures is cured"
        lapses = [one for one in decisions(desk.rig) if one[-1] == "lapsed"]
        assert len(lapses) == (state is CallState.EXPIRED)
        desk.check()


def test_fault_43_a_price_that_recovers_in_mid_adjustment_ends_it_once(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(52_500)
        desk.move(60_000)
        desk.move(60_000)
        assert [one for one in decisions(desk.rig) if one[0] == "state"] == [
            ("state", "adjusting"),
            ("state", "healthy"),
        ]
        desk.check()


def test_fault_45_every_call_of_a_crash_is_journalled(tmp_path: Path) -> None:
    """Fault 45, the watch's part: a market that falls for an hour and stands still in between; replay is the same."""
    with floor(tmp_path) as desk:
        desk.buy()
        price = 60_000.0
        for minute in range(60):
            price *= 1.01 if minute % 7 == 3 else 0.995
            desk.move(price, later_s=5)
            desk.wait(1)
        calls = [record for record in desk.rig.history() if isinstance(record, MarginCalled)]
        assert calls and {c.call_id for c in calls} == set(desk.watch.calls)
        assert desk.watch.state in (MarginState.ADJUSTING, MarginState.TAKEN_OVER, MarginState.RESTRICTED)
        desk.check()


def test_fault_48_a_profile_that_can_not_be_is_refused_whole(tmp_path: Path) -> None:
    for wrong, why in (
        ("call_at = 1.5", "call_at"), ("warn_until = 1.5", "warn_until"), ("cure_period_s = 0", "cure_period_s"),
        ("rounding_usd = 0", "rounding_usd"), ("warn_att = 2", "warn_att"), ("call_at = 1.00001", "call_at"),
        ("accounts = []", "accounts"),
    ):  # fmt: skip
        text = watched().replace('accounts = ["*"]\ncure_period_s = 60', 'accounts = ["*"]\n' + wrong)
        if wrong.startswith("accounts"):
            text = watched().replace('accounts = ["*"]', wrong)
        with pytest.raises(configuration.ConfigError, match=why):
            configuration.parse(text, tmp_path / "t.toml")


def test_fault_50_nothing_secret_is_in_what_the_watch_writes(tmp_path: Path) -> None:
    canary = "hunter2-canary"
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.client.ask(
            "AY", (902, b"a1"), (895, b"3"), (903, b"0"), (60, b"20251009-08:53:20.000"), (1, b"alpha"),
            (15, b"USDC"), (901, b"x"), (58, f"password={canary}".encode()),
        )  # fmt: skip
        desk.wait(1)
        shown = repr(desk.rig.core.intraday.snapshot()) + repr(desk.rig.monitor.snapshot()) + repr(desk.rig.history())
        assert canary not in shown
