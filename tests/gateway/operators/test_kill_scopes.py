"""The kill switch of a firm, a desk, a venue and an instrument; faults 47 of the faults sheet beyond one account."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway import records
from gateway.clients.disconnects import CONFIRM_WITHIN_NS
from gateway.clients.standing import ACCOUNT, DESK, FIRM
from gateway.journal import read
from gateway.operators.kills import Kills
from gateway.recovery import replay
from protocols.fix.state import SessionState
from risk.account import AccountState
from risk.marks import INSTRUMENT, VENUE
from tests.gateway.rig import BTC, CONFIG, ETH, SECOND, Rig, accepted, cancelled, full_journal, opened, shown
from tests.gateway.rig import VENUE as DERIBIT

SHARED = CONFIG.replace('accounts = ["beta", "gamma"]', 'accounts = ["beta", "gamma", "alpha"]')
GROUPS = {(FIRM, "house"): ("alpha", "beta", "gamma"), (DESK, "macro"): ("alpha", "gamma")}


def with_groups(rig: Rig) -> Rig:
    controls = rig.core.controls
    controls.kills = Kills(rig.pipeline, controls.watch, GROUPS)
    return rig


def kill(rig: Rig, scope: str, name: str) -> tuple[int, bool]:
    answer = rig.core.controls.kill(scope, name, "ann", "why", rig.now_ns)
    rig.flush()
    return answer


def three_orders(rig: Rig) -> None:
    """Orders a0 and a1 of alpha in BTC and ETH, b0 of beta in BTC, g0 of gamma in ETH."""
    alpha, beta = rig.desk().log_on(), rig.desk("BETA").log_on()
    alpha.order(cl_ord_id="a0")
    alpha.order(cl_ord_id="a1", symbol=ETH, price=1_990)
    beta.order(account="beta", cl_ord_id="b0")
    beta.order(account="gamma", cl_ord_id="g0", symbol=ETH, price=1_990, quantity=10)
    rig.hear(*(accepted(order) for order in list(rig.ledger.orders.values())))
    alpha.pump(), beta.pump()
    assert len(rig.ledger.orders) == 4


CASES = [
    (FIRM, "house", {"a0", "a1", "b0", "g0"}, "102"),
    (DESK, "macro", {"a0", "a1", "g0"}, "102"),
    (VENUE, DERIBIT, {"a0", "a1", "b0", "g0"}, "961"),
    (INSTRUMENT, BTC, {"a0", "b0"}, "962"),
]


@pytest.mark.parametrize(("scope", "name", "gone", "code"), CASES)
def test_what_is_killed_has_its_orders_cancelled_and_takes_no_new_ones(
    tmp_path: Path, scope: str, name: str, gone: set[str], code: str
) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        with_groups(rig)
        three_orders(rig)
        assert kill(rig, scope, name) == (len(gone), True)
        assert {rig.ledger.orders[order_id].cl_ord_id for order_id in rig.link.cancelled} == gone
        alpha, beta = rig.desks
        (refused,) = alpha.order()
        assert shown([refused], 39, 20001) == [("8", "8", code)]
        assert "killed by ann: why" in text(refused, 58)
        (refused,) = alpha.order(exec_inst="E", side=2, price=61_000)
        assert shown([refused], 20001) == [("8", code)]  # nothing new at all, not even what would reduce
        if scope in (DESK, INSTRUMENT):  # others go on
            assert beta.order(account="beta", symbol=ETH, price=1_990, quantity=10) != alpha.order()
        assert rig.of_type(records.CancelRequested) == []  # one record marks them all
        rig.check_replay()
        assert replay(read(rig.directory)).ledger.standing.halts == rig.core.market.halts


@pytest.mark.parametrize(("scope", "name", "gone", "code"), CASES)
def test_it_survives_a_restart_and_only_a_person_lifts_it(
    tmp_path: Path, scope: str, name: str, gone: set[str], code: str
) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        with_groups(rig)
        three_orders(rig)
        kill(rig, scope, name)
        again = with_groups(rig.restart())
        again.core.controls.start(again.now_ns)
        desk = again.desk().log_on()
        assert text(desk.order()[0], 20001) == code
        again.core.controls.reinstate(scope, name, "bob", "looked", again.now_ns)
        assert desk.order() == []
        assert again.core.market.halts == {}
        again.check_replay()
        again.journal.close()


@pytest.mark.parametrize("order", list(itertools.permutations([(ACCOUNT, "alpha"), (DESK, "macro"), (FIRM, "house")])))
def test_an_account_is_back_when_the_last_kill_of_it_is_lifted(
    tmp_path: Path, order: tuple[tuple[str, str], ...]
) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        with_groups(rig)
        account = rig.ledger.accounts["alpha"]
        for target in order:
            kill(rig, *target)
        for number, target in enumerate(reversed(order), 1):
            assert account.state is AccountState.HALTED
            rig.core.controls.reinstate(*target, "bob", "looked", rig.now_ns)
            rig.check_replay()
            assert (account.state is AccountState.TRADING) is (number == 3)
        assert account.state_reason == ""


def test_an_account_that_joins_a_killed_desk_is_killed_with_it(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        with_groups(rig)
        kill(rig, DESK, "macro")
        again = rig.restart()
        joined = {(DESK, "macro"): ("alpha", "beta", "gamma")}
        again.core.controls.kills = Kills(again.pipeline, again.core.controls.watch, joined)
        again.core.controls.start(again.now_ns)
        assert again.ledger.accounts["beta"].state is AccountState.HALTED
        assert again.of_type(records.Killed)[-1].accounts == ("alpha", "gamma", "beta")
        assert any("beta joined it" in alert for alert in again.monitor.alerts)
        again.check_replay()
        again.journal.close()


@pytest.mark.parametrize(("scope", "name", "gone", "code"), CASES)
def test_it_holds_and_cancels_where_the_journal_can_not_be_written(
    tmp_path: Path, scope: str, name: str, gone: set[str], code: str
) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        with_groups(rig)
        three_orders(rig)
        with full_journal(rig):
            assert kill(rig, scope, name) == (len(gone), False)
            assert {rig.ledger.orders[order_id].cl_ord_id for order_id in rig.link.cancelled} == gone
        assert text(rig.desks[0].order()[0], 20001) == code
        assert any("kill not written" in alert for alert in rig.monitor.alerts)


class BrokenReports:
    """Knows its sessions, and tells them nothing."""

    def __init__(self, sessions: Mapping[str, SessionState]) -> None:
        self.sessions = sessions

    def report(self, *_: object) -> None:
        raise RuntimeError("broken")


def test_fault_47_a_broken_valuation_broken_reports_and_a_broken_link_do_not_keep_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with opened(tmp_path, config=SHARED) as rig:
        with_groups(rig)
        three_orders(rig)
        monkeypatch.setattr(rig.core.valuation, "begin", broken)
        monkeypatch.setattr(rig.pipeline, "reports", BrokenReports(rig.core.reports.sessions))
        rig.core.controls.listeners.insert(0, broken)
        cancel = rig.link.cancel
        first = next(iter(rig.ledger.orders))
        monkeypatch.setattr(
            rig.link, "cancel", lambda order, now: broken() if order.order_id == first else cancel(order, now)
        )
        assert kill(rig, FIRM, "house") == (3, False)
        assert len(rig.link.cancelled) == 3
        assert all(account.state is AccountState.HALTED for account in rig.ledger.accounts.values())
        assert any(f"{first} not cancelled: RuntimeError" in alert for alert in rig.monitor.alerts)
        monkeypatch.undo()
        rig.now_ns += CONFIRM_WITHIN_NS  # what is not confirmed is told of, and what was not sent is sent again
        rig.core.tick(rig.now_ns)
        assert any("kill of firm house: 4 orders not confirmed" in alert for alert in rig.monitor.alerts)


def test_cancels_are_confirmed_or_told_of(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        three_orders(rig)
        kill(rig, VENUE, DERIBIT)
        first, *others = rig.ledger.orders.values()
        rig.hear(*(cancelled(order) for order in others))
        rig.now_ns += 5 * SECOND
        rig.core.tick(rig.now_ns)
        assert rig.core.controls.watch.confirmed == 3
        assert any(f"1 orders not confirmed as cancelled in 4 s: {first.order_id}" in a for a in rig.monitor.alerts)


ACTIONS = st.tuples(
    st.sampled_from(["kill", "reinstate"]),
    st.sampled_from([(ACCOUNT, "alpha"), (DESK, "macro"), (FIRM, "house"), (VENUE, DERIBIT), (INSTRUMENT, BTC)]),
)


@settings(max_examples=15, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=8))
def test_an_account_is_halted_exactly_while_a_kill_is_of_it(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, tuple[str, str]]]
) -> None:
    with opened(tmp_path_factory.mktemp("kills"), config=SHARED) as rig:
        with_groups(rig)
        on: set[tuple[str, str]] = set()
        for action, target in actions:
            if action == "kill":
                kill(rig, *target)
                on.add(target)
            elif target in on:
                rig.core.controls.reinstate(*target, "bob", "x", rig.now_ns)
                on.discard(target)
            for name, account in rig.ledger.accounts.items():
                of = {(ACCOUNT, name), *(key for key, names in GROUPS.items() if name in names)}
                assert (account.state is AccountState.HALTED) is bool(of & on)
            assert set(rig.core.market.halts) == {key for key in on if key[0] in (VENUE, INSTRUMENT)}
        rig.check_replay()


def test_desks_and_firms_are_those_of_the_configuration(tmp_path: Path) -> None:
    desks = '[[firm]]\nname = "house"\n[[desk]]\nname = "macro"\nfirm = "house"\n[[desk]]\nname = "basis"\n'
    config = CONFIG + desks
    for name, desk in (("alpha", "macro"), ("beta", "basis"), ("gamma", "macro")):
        config = config.replace(f'[[account]]\nname = "{name}"', f'[[account]]\nname = "{name}"\ndesk = "{desk}"')
    with opened(tmp_path, config=config) as rig:
        for scope, name, halted in (
            (DESK, "basis", {"beta"}),
            (FIRM, "house", {"alpha", "gamma"}),
            (FIRM, rig.core.config.gateway.name, {"alpha", "beta", "gamma"}),
        ):
            kill(rig, scope, name)
            found = {one.name for one in rig.ledger.accounts.values() if one.state is AccountState.HALTED}
            assert found == halted
            rig.core.controls.reinstate(scope, name, "bob", "looked", rig.now_ns)
        rig.check_replay()
