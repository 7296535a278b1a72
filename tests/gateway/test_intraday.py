"""The intraday watch: margin at marks, fills, transfers and deadlines; records before acts; replay; crashes.

Faults of the sheet (40 to 43, 45, 48, 50) as far as they concern the watch are named so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import config as configuration
from gateway import records
from gateway.intraday import Intraday, profile_of
from gateway.journal import JournalError
from gateway.records.margin import MarginCalled, MarginStateMoved, TransferMoved
from risk.account import AccountState
from risk.calls import CallState
from risk.collateral_ledger import Location, Place, TransferError, TransferHappening, TransferTerms
from risk.lifecycle import IllegalTransitionError
from risk.margin_states import MarginState, Signal
from risk.margin_watch import CallAnswerError
from tests.gateway.margin_floor import WATCH, Floor, decisions, floor, watched
from tests.gateway.rig import BTC, SECOND, accepted, filled, opened

CLIENT, HOUSE = Location(Place.CLIENT, "", "alpha"), Location(Place.HOUSE, "", "alpha")
VENUE = Location(Place.VENUE, "deribit", "alpha")
WHOLE = 10**8


def transfer(key: str, units: int, source: Location = CLIENT, target: Location = HOUSE) -> TransferTerms:
    return TransferTerms(key, "alpha", "USDC", units, source, target)


def test_down_the_ladder_with_what_an_account_may_do(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        seen = []
        for price in (58_000, 57_000, 54_500, 54_000, 52_500, 54_500, 56_000, 60_000):
            desk.move(price)
            seen.append((desk.watch.state.value, desk.account().state.value))
        assert seen == [
            ("healthy", "trading"), ("warned", "trading"), ("called", "trading"), ("restricted", "reducing"),
            ("adjusting", "reducing"), ("restricted", "reducing"), ("warned", "trading"), ("healthy", "trading"),
        ]  # fmt: skip
        assert desk.account().state_reason == ""
        desk.check()


def test_an_account_that_may_only_reduce_is_refused_what_adds(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_000)
        told = desk.client.ask(
            "D", (1, b"alpha"), (11, b"more"), (38, b"10"), (40, b"2"), (44, b"54000"), (54, b"1"), (55, BTC.encode()),
            (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        assert b"margin restricted: ratio" in told[0].raw or b"ACCOUNT" in told[0].raw
        assert told[0].get(39) == b"8"
        desk.client.ask(
            "D", (1, b"alpha"), (11, b"less"), (38, b"10"), (40, b"2"), (44, b"54000"), (54, b"2"), (55, BTC.encode()),
            (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        assert len(desk.rig.link.placed) == 2


def test_a_record_comes_before_its_act(tmp_path: Path) -> None:
    """Each decision is in the journal before the account's state, or a message, says so."""
    with floor(tmp_path) as desk:
        desk.buy()
        seen: list[tuple[str, str]] = []
        commit = desk.rig.pipeline.journal.append

        def append(*arguments: Any, **options: Any) -> int:
            seen.append((desk.account().state.value, str(len(desk.watch.calls))))
            return commit(*arguments, **options)

        desk.rig.pipeline.journal.append = append  # type: ignore[method-assign]
        desk.move(54_000)
        assert seen[:2] == [("trading", "0"), ("reducing", "0")]
        assert desk.account().state is AccountState.REDUCING and len(desk.watch.calls) == 1


def test_a_fill_is_looked_at_in_the_next_turn_not_on_the_order_path(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy(4_000)
        desk.move(57_900)
        assert desk.watch.state is MarginState.HEALTHY
        records_before = len(desk.rig.history())
        desk.rig.pipeline.touched_accounts.clear()
        desk.buy(200)
        assert not desk.rig.of_type(MarginStateMoved)
        assert desk.rig.core.deadline_ns == 0 and len(desk.rig.history()) > records_before
        desk.wait(0.02)
        assert desk.rig.core.intraday.deadline_ns is None
        desk.rig.mark(BTC, 57_000)
        desk.check()


def test_working_orders_are_no_maintenance(tmp_path: Path) -> None:
    """The kernel's margin has them; the ratio has not."""
    with floor(tmp_path) as desk:
        desk.buy()
        plain = desk.rig.core.intraday._margin(desk.account(), desk.rig.now_ns)
        desk.client.ask(
            "D", (1, b"alpha"), (11, b"w"), (38, b"100"), (40, b"2"), (44, b"60000"), (54, b"1"), (55, BTC.encode()),
            (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        assert desk.account().exposure.orders
        working = desk.rig.core.intraday._margin(desk.account(), desk.rig.now_ns)
        assert plain is not None and working is not None
        assert abs(working.maintenance_units - plain.maintenance_units) <= 10
        assert desk.rig.core.market.kernel.worst(0) < plain.equity_units / WHOLE - plain.maintenance_units / WHOLE / 0.8


def test_margin_that_is_unknown_moves_nothing(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_000)
        before = desk.watch.parts()
        desk.rig.now_ns += 3600 * SECOND
        desk.rig.core.intraday.run(desk.rig.now_ns)  # arrays too old
        desk.rig.core.valuation.run(desk.rig.now_ns)  # and marks too old: figures are NaN
        desk.rig.core.intraday.run(desk.rig.now_ns)
        assert desk.watch.parts() == before and desk.rig.core.intraday.unknown >= 1


def test_nobody_is_watched_without_a_configuration(tmp_path: Path) -> None:
    with floor(tmp_path, watch="") as desk:
        desk.buy()
        desk.move(44_000)
        desk.wait(1)
        assert decisions(desk.rig) == [] and not desk.rig.core.intraday.is_on
        assert desk.rig.core.intraday.snapshot()["is_on"] is False


def test_an_account_that_no_profile_fits_is_not_watched(tmp_path: Path) -> None:
    with floor(tmp_path, watch=WATCH.replace('["*"]', '["beta", "g*"]')) as desk:
        desk.buy()
        desk.move(44_000)
        assert decisions(desk.rig) == []


# -- people, halts, other reasons --------------------------------------------------------------------------------------


def test_margin_loosens_no_halt_and_no_restriction_of_others(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        for state, reason in (("reducing", "a break"), ("halted", "by ops")):
            desk.rig.pipeline.commit(records.AccountStateMoved("alpha", state, reason), desk.rig.now_ns)
            desk.move(54_000)
            assert (
                desk.account().state.value == state and desk.account().state_reason == reason
            ) or state == "reducing"
            desk.move(60_000)
            assert (desk.account().state.value, desk.account().state_reason) == (state, reason)
        desk.check()


def test_a_kill_and_a_margin_restriction_end_one_by_one(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_000)
        desk.rig.core.controls.kill("account", "alpha", "ann", "x", desk.rig.now_ns)
        assert desk.account().state is AccountState.HALTED
        desk.rig.core.controls.reinstate("account", "alpha", "ann", "x", desk.rig.now_ns)
        assert desk.account().state is AccountState.REDUCING
        desk.rig.core.controls.kill("account", "alpha", "ann", "x", desk.rig.now_ns)
        desk.move(60_000)
        assert desk.account().state is AccountState.HALTED
        desk.rig.core.controls.reinstate("account", "alpha", "ann", "x", desk.rig.now_ns)
        assert desk.account().state is AccountState.TRADING
        desk.check()


def test_an_account_that_was_taken_over_comes_back_by_a_person_only(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(45_000)
        assert desk.account().state is AccountState.HALTED
        desk.move(60_000)
        assert desk.watch.state is MarginState.TAKEN_OVER
        intraday, now = desk.rig.core.intraday, desk.rig.now_ns
        with pytest.raises(IllegalTransitionError):
            intraday.said("alpha", Signal.EXHAUSTED, "x", now)
        intraday.said("alpha", Signal.REINSTATED, "ann: deposit agreed", now)
        assert desk.account().state is AccountState.REDUCING
        desk.move(60_000)
        assert desk.account().state is AccountState.TRADING
        desk.check()


def test_whoever_acts_is_told_behind_the_journal(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        heard: list[tuple[str, int]] = []
        desk.rig.core.intraday.listeners.append(
            lambda record, now_ns: heard.append((type(record).__name__, len(decisions(desk.rig))))
        )
        desk.buy()
        desk.move(54_000)
        assert heard == [("MarginStateMoved", 1), ("MarginCalled", 2)]
        assert any("margin of alpha restricted" in text for text in desk.rig.monitor.alerts)


def test_rows_for_operators(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.pledge("50", call="alpha-M1")
        shown = desk.rig.core.intraday.snapshot()
        (row,) = shown["accounts"]
        assert (row["account"], row["margin_state"], row["calls"]) == ("alpha", "called", 1)
        assert row["called_usd"] == desk.call().amount_units / WHOLE and row["deadline_ns"] == desk.call().deadline_ns
        assert shown["transfers"] == [
            {"transfer": "ALPHA:a1", "account": "alpha", "asset": "USDC", "units": 50 * WHOLE, "state": "pending"}
        ]


# -- transfers ---------------------------------------------------------------------------------------------------------


def test_collateral_leaves_where_margin_allows_it(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        intraday, now = desk.rig.core.intraday, desk.rig.now_ns
        assert intraday.begin_transfer(transfer("w1", 100 * WHOLE, HOUSE, CLIENT), now)
        assert desk.account().cash_units["USDC"] == 900 * WHOLE, "it secures nothing from the first phase on"
        assert not intraday.begin_transfer(transfer("w1", 100 * WHOLE, HOUSE, CLIENT), now)
        desk.check()
        intraday.transfer_moved("w1", TransferHappening.FAILED, now)
        assert desk.account().cash_units["USDC"] == 1_000 * WHOLE
        desk.buy()
        with pytest.raises(TransferError, match="the margin ratio would be at warning"):
            intraday.begin_transfer(transfer("w2", 200 * WHOLE, HOUSE, CLIENT), now)
        with pytest.raises(TransferError, match="it covers initial margin"):
            intraday.begin_transfer(transfer("w2", 500 * WHOLE, HOUSE, CLIENT), now)
        with pytest.raises(TransferError, match="insufficient"):
            intraday.begin_transfer(transfer("w2", 5_000 * WHOLE, HOUSE, CLIENT), now)
        desk.rig.now_ns += 3_600 * SECOND
        with pytest.raises(TransferError, match="unknown"):
            intraday.begin_transfer(transfer("w3", 1, HOUSE, CLIENT), desk.rig.now_ns)
        desk.check()


@pytest.mark.parametrize(
    ("asset", "deposit", "out"), [("USDC", "0.3", (0.1, 0.2)), ("BTC", "0.3", (0.1, 0.2)), ("BTC", "0.7", (0.1, 0.6))]
)
def test_who_was_emptied_is_short_of_nothing(tmp_path: Path, asset: str, deposit: str, out: tuple[float, ...]) -> None:
    """0.3 - 0.1 - 0.2 is not nothing to a float: such dust takes nobody's account away, either way round."""
    text = watched().replace('deposits = { USDC = "1000" }', f'deposits = {{ {asset} = "{deposit}" }}', 1)
    with opened(tmp_path, config=text) as rig:
        for amount in out:
            rig.pipeline.commit(records.CashMoved("alpha", asset, -round(amount * WHOLE), "paid out"), rig.now_ns)
        rig.core.tick(rig.now_ns)
        rig.core.intraday.run(rig.now_ns)
        assert rig.ledger.accounts["alpha"].cash_units[asset] == 0
        assert rig.ledger.margin.watch("alpha").state is MarginState.HEALTHY
        rig.pipeline.commit(records.CashMoved("alpha", asset, -WHOLE, "a debt is one"), rig.now_ns)
        rig.core.intraday.run(rig.now_ns)
        assert rig.ledger.margin.watch("alpha").state is MarginState.TAKEN_OVER


def test_all_of_it_may_leave_where_nothing_is_held(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        intraday, now = desk.rig.core.intraday, desk.rig.now_ns
        with pytest.raises(TransferError, match="insufficient"):
            intraday.begin_transfer(transfer("w", 1_000 * WHOLE + 1, HOUSE, CLIENT), now)
        for number, units in enumerate((10_000_001, 20_000_002, 1_000 * WHOLE - 30_000_003)):
            assert intraday.begin_transfer(transfer(f"w{number}", units, HOUSE, CLIENT), now)
            desk.wait(0.02)
        assert desk.account().cash_units["USDC"] == 0 and desk.watch.state is MarginState.HEALTHY
        desk.check()


NOT_TAKEN = (
    '[house]\ncollateral_set = "house_2026"\ncollateral_eligible = ["BTC", "USD"]\nvenue_netting_haircut = 0.1\n'
)


@pytest.mark.parametrize("peg", [0.02, -0.1])
def test_collateral_that_counts_for_nothing_is_still_the_clients_own(tmp_path: Path, peg: float) -> None:
    """An asset that the house takes no more, under a peg that moves: nobody who holds nothing else is taken over."""
    house = NOT_TAKEN + f"[stress]\npeg_moves = [{peg}]\n"
    with floor(tmp_path, watch=WATCH + house) as desk:
        kernel, index = desk.rig.core.market.kernel, desk.account().index
        assert kernel.equity(index, desk.rig.core.market.base_scenario) == 0 and kernel.worst(index) <= 0
        desk.rig.core.intraday.run(desk.rig.now_ns)
        assert desk.watch.state is MarginState.HEALTHY and desk.account().state is AccountState.TRADING
        intraday, now = desk.rig.core.intraday, desk.rig.now_ns
        assert intraday.begin_transfer(transfer("w", 1_000 * WHOLE, HOUSE, CLIENT), now), "and it may have it back"
        desk.check()


def test_who_has_lost_takes_out_no_more_than_is_left(tmp_path: Path) -> None:
    """What a client once brought is more than what it has: the difference is not its own any more."""
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(57_000)
        order = {(1, b"alpha"), (11, b"out"), (38, b"4000"), (40, b"2"), (44, b"57000"), (54, b"2"), (59, b"1")}
        desk.client.ask("D", *sorted(order), (55, BTC.encode()), (60, b"20251009-08:53:20.000"))
        sold = list(desk.rig.ledger.orders.values())[-1]
        desk.rig.hear(accepted(sold), filled(sold, 4_000, "t-out"))
        left = desk.account().cash_units
        intraday, now = desk.rig.core.intraday, desk.rig.now_ns
        assert not any(position.lots for position in desk.account().positions.values()) and left["BTC"] < 0
        with pytest.raises(TransferError, match="insufficient"):
            intraday.begin_transfer(transfer("w", 1_000 * WHOLE, HOUSE, CLIENT), now)
        desk.check()


def test_what_moves_between_places_of_ours_secures_all_the_way(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        intraday, now = desk.rig.core.intraday, desk.rig.now_ns
        intraday.begin_transfer(transfer("v1", 300 * WHOLE, HOUSE, VENUE), now)
        assert desk.account().cash_units["USDC"] == 1_000 * WHOLE
        intraday.transfer_moved("v1", TransferHappening.SENT, now)
        intraday.transfer_moved("v1", TransferHappening.SETTLED, now, units=300 * WHOLE, reference="x")
        collateral = desk.rig.ledger.margin.collateral
        assert (collateral.balance("USDC", VENUE), collateral.balance("USDC", HOUSE)) == (300 * WHOLE, 700 * WHOLE)
        assert collateral.held("alpha") == {"USDC": 1_000 * WHOLE} and not collateral.has_live
        desk.check()


def test_a_dispute_is_decided_by_a_person(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        desk.say(b"DISPUTED", b"0")
        desk.wait(61)
        assert desk.call().state is CallState.ESCALATED and desk.account().state is AccountState.TRADING
        desk.rig.core.intraday.upheld("alpha", "alpha-M1", "ann: our marks are right", desk.rig.now_ns)
        assert desk.call().state is CallState.AGREED and desk.call().deadline_ns == desk.rig.now_ns + 60 * SECOND
        with pytest.raises(CallAnswerError):
            desk.rig.core.intraday.upheld("alpha", "alpha-M9", "", desk.rig.now_ns)
        desk.check()


# -- the journal fails, the process dies -------------------------------------------------------------------------------


def test_what_can_not_be_written_is_not_decided_and_is_decided_later(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        append = desk.rig.pipeline.journal.append

        def full(*arguments: Any, **options: Any) -> int:
            raise JournalError("full")

        desk.rig.pipeline.journal.append = full  # type: ignore[method-assign]
        desk.move(54_000)
        assert desk.account().state is AccountState.TRADING and decisions(desk.rig) == []
        assert any("full" in text for text in desk.rig.monitor.alerts)
        desk.rig.pipeline.touched_accounts["alpha"] = None
        desk.wait(0)
        desk.rig.pipeline.journal.append = append  # type: ignore[method-assign]
        desk.wait(0)
        assert desk.account().state is AccountState.REDUCING
        desk.check()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.sampled_from([60_000, 57_000, 54_500, 54_000, 52_500, 45_000])),
        st.tuples(st.just("wait"), st.sampled_from([1, 11, 21, 61])),
        st.tuples(st.just("pledge"), st.sampled_from([5, 80, 500])),
        st.tuples(st.just("settle"), st.sampled_from([1, 5, 40, 80, 500])),
        st.tuples(st.just("say"), st.sampled_from(["RECEIVED", "AGREED", "DISPUTED"])),
        st.tuples(st.just("news"), st.sampled_from(["failed", "reversed", "sent"])),
        st.tuples(st.just("person"), st.sampled_from(["REINSTATED", "EXHAUSTED", "HANDED_OVER"])),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    max_size=10,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_story_replays_the_same_crashed_anywhere(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    """Calls and transfers over the real journal: what a replay gives is what was, and not a unit is lost or made."""
    with floor(tmp_path_factory.mktemp("story")) as desk:
        desk.buy()
        for number, (what, value) in enumerate(steps):
            if what == "crash":
                desk.restart(later_s=1)
            else:
                _do(desk, number, what, value)
            desk.check()


def _do(desk: Floor, number: int, what: str, value: Any) -> None:
    intraday, now = desk.rig.core.intraday, desk.rig.now_ns
    if what == "move":
        desk.move(value)
    elif what == "wait":
        desk.wait(value)
    elif what == "pledge":
        desk.move(desk.rig.core.market.marks[0].price)  # type: ignore[union-attr]
        desk.pledge(str(value), call=next(iter(desk.watch.calls), ""))
    elif what == "say":
        desk.say(value.encode(), b"1" if value == "DISPUTED" else b"")
    elif what == "person":
        try:
            intraday.said("alpha", Signal[value], "x", now)
        except IllegalTransitionError:
            return
    else:
        units = value * WHOLE if what == "settle" else 0
        happening = TransferHappening.SETTLED if what == "settle" else TransferHappening(value)
        for key in list(desk.rig.ledger.margin.collateral.transfers)[-2:]:
            try:
                intraday.transfer_moved(key, happening, now, units=units, reference=f"r{number}")
            except TransferError:
                continue


def test_a_process_that_dies_between_two_decisions_makes_the_second_again(tmp_path: Path) -> None:
    """The state is in the journal, its call is not: the next look at the account calls."""
    with floor(tmp_path) as desk:
        desk.buy()
        append = desk.rig.pipeline.journal.append

        def dies(kind: int, *arguments: Any, **options: Any) -> int:
            if kind == records.TAGS[MarginCalled]:
                raise JournalError("gone")
            return append(kind, *arguments, **options)

        desk.rig.pipeline.journal.append = dies  # type: ignore[method-assign]
        desk.move(54_500)
        assert decisions(desk.rig) == [("state", "called")]
        desk.restart()
        desk.move(54_500)
        assert decisions(desk.rig) == [("state", "called"), ("called", "alpha-M1")]
        desk.check()


def test_a_call_whose_profile_is_gone_lapses_as_any_other(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.buy()
        desk.move(54_500)
        other = desk.rig.config_text.replace('accounts = ["*"]', 'accounts = ["beta"]')
        desk.restart(config=other)
        desk.wait(61)
        assert desk.call().state is CallState.EXPIRED and desk.account().state is AccountState.REDUCING


def test_profiles_in_integers() -> None:
    config = configuration.MarginProfile(name="x", accounts=("a",))
    profile = profile_of(config)
    assert profile.thresholds.enter_bps == (15_000, 12_500, 12_000, 10_500, 6_667)
    assert profile.terms.target_bps == 13_500 and profile.terms.minimum_units == 100 * WHOLE


def test_timeouts_are_told_once(tmp_path: Path) -> None:
    with floor(tmp_path) as desk:
        desk.pledge("5")
        desk.wait(11)
        desk.wait(11)
        moved = [record for record in desk.rig.history() if isinstance(record, TransferMoved)]
        assert [record.happening for record in moved] == ["timed out"]
        assert isinstance(desk.rig.core.intraday, Intraday)
