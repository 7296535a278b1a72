"""The kill switch of a session or an account: nothing new, all cancelled, journalled, and lifted by a person only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fixtures.fix_conversation import text
from gateway import records
from gateway.clients.disconnects import CONFIRM_WITHIN_NS
from gateway.operators.kills import KillError
from risk.account import AccountState
from tests.gateway.rig import (
    BTC,
    CONFIG,
    SECOND,
    Desk,
    Rig,
    accepted,
    cancelled,
    filled,
    full_journal,
    opened,
    order_fields,
    shown,
)

SHARED = CONFIG.replace('accounts = ["beta", "gamma"]', 'accounts = ["beta", "gamma", "alpha"]')


def kill(rig: Rig, scope: str = "session", name: str = "ALPHA") -> tuple[int, bool]:
    answer = rig.core.controls.kill(scope, name, "ann", "fat finger", rig.now_ns)
    rig.flush()
    return answer


def reinstate(rig: Rig, scope: str = "session", name: str = "ALPHA") -> None:
    rig.core.controls.reinstate(scope, name, "bob", "looked at it", rig.now_ns)


def three_orders(rig: Rig) -> tuple[Desk, Desk]:
    """Two orders of ALPHA, one of BETA; one of ALPHA's and BETA's are on account alpha."""
    alpha, beta = rig.desk().log_on(), rig.desk("BETA").log_on()
    alpha.order(cl_ord_id="a0")
    alpha.order(cl_ord_id="a1")
    beta.order(account="alpha", cl_ord_id="b0")
    beta.order(account="beta", cl_ord_id="b1")
    rig.hear(*(accepted(order) for order in list(rig.ledger.orders.values())))
    alpha.pump(), beta.pump()
    return alpha, beta


def cancelled_ids(rig: Rig) -> list[str]:
    return sorted(rig.ledger.orders[order_id].cl_ord_id for order_id in rig.link.cancelled)


def test_a_killed_session_has_its_orders_cancelled_and_gets_no_new_ones(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        alpha, beta = three_orders(rig)
        assert kill(rig) == (2, True)
        assert cancelled_ids(rig) == ["a0", "a1"]
        (refused,) = alpha.order()
        assert shown([refused], 39, 20001) == [("8", "8", "104")]
        assert text(refused, 58).startswith("KILLED kill: session ALPHA is killed: fat finger")
        (refused,) = alpha.replace("a0")
        assert shown([refused], 434, 58) == [("9", "2", "KILLED session ALPHA is killed: fat finger")]
        assert shown(alpha.send("H", (11, "a0"), (54, 1), (55, BTC)), 150) == [("8", "I")]  # it may ask
        assert beta.order(account="alpha") == []  # the account is not killed
        assert rig.of_type(records.Killed) == [records.Killed("session", "ALPHA", "ann", "fat finger")]
        rig.check_replay()


def test_cancels_of_a_killed_session_pass(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        alpha, _ = three_orders(rig)
        kill(rig)
        rig.link.cancelled.clear()
        alpha.cancel("b0")  # another session's, of an account that it may use
        assert cancelled_ids(rig) == ["b0"]


def test_a_killed_account_is_so_for_every_session(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        alpha, beta = three_orders(rig)
        assert kill(rig, "account", "alpha") == (3, True)
        assert cancelled_ids(rig) == ["a0", "a1", "b0"]
        for desk in (alpha, beta):
            (refused,) = desk.order(account="alpha")
            assert shown([refused], 20001) == [("8", "102")]
            assert "killed by ann: fat finger" in text(refused, 58)
        assert beta.order(account="beta") == []
        rig.check_replay()


@pytest.mark.parametrize(("scope", "name"), [("session", "ALPHA"), ("account", "alpha")])
def test_a_kill_survives_a_restart_and_only_a_person_lifts_it(tmp_path: Path, scope: str, name: str) -> None:
    with opened(tmp_path) as rig:
        kill(rig, scope, name)
        again = rig.restart()
        again.core.controls.start(again.now_ns)
        desk = again.desk().log_on()
        assert text(desk.order()[0], 39) == "8"
        reinstate(again, scope, name)
        assert desk.order() == []
        last = again.restart()
        assert last.desk().log_on().order() == []
        assert last.of_type(records.Reinstated) == [records.Reinstated(scope, name, "bob", "looked at it")]
        last.check_replay()
        last.journal.close()


@pytest.mark.parametrize(
    ("before", "meanwhile", "after"),
    [
        ("trading", None, "trading"),
        ("reducing", None, "reducing"),
        ("halted", None, "halted"),
        ("trading", "reducing", "reducing"),
        ("trading", "halted", "halted"),
        ("halted", "trading", "trading"),
    ],
)
def test_an_account_goes_back_to_what_it_was_or_became(
    tmp_path: Path, before: str, meanwhile: str | None, after: str
) -> None:
    with opened(tmp_path) as rig:
        account = rig.ledger.accounts["alpha"]
        rig.pipeline.commit(records.AccountStateMoved("alpha", before, "before"), rig.now_ns)
        kill(rig, "account", "alpha")
        kill(rig, "account", "alpha")  # twice is once
        if meanwhile is not None:
            rig.pipeline.commit(records.AccountStateMoved("alpha", meanwhile, "meanwhile"), rig.now_ns)
        assert account.state is AccountState.HALTED
        rig.check_replay()
        reinstate(rig, "account", "alpha")
        assert (account.state.value, account.state_reason) == (after, "meanwhile" if meanwhile else "before")
        rig.check_replay()


def test_a_fill_that_can_not_be_restricts_an_account_behind_its_kill(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        order = rig.only_order()
        rig.hear(accepted(order))
        kill(rig, "account", "alpha")
        rig.hear(filled(order, 200))
        reinstate(rig, "account", "alpha")
        assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
        rig.check_replay()


def test_a_kill_in_a_flood_lets_nothing_more_out(tmp_path: Path) -> None:
    """Fault 47, by order of events: of one read batch, what follows the kill is refused."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for number in range(40):
            desk.fix.send("D", [(t, str(v)) for t, v in order_fields(f"f{number}")], rig.now_ns)
        flood = desk.fix.data_to_send()
        middle = flood.index(b"8=FIX", len(flood) // 4)
        desk.link.receive(flood[:middle], rig.now_ns)
        placed = len(rig.link.placed)
        assert placed > 0
        kill(rig)
        desk.link.receive(flood[middle:], rig.now_ns)
        assert len(rig.link.placed) == placed and len(rig.link.cancelled) == placed


def test_a_kill_needs_no_margin_no_marks_and_no_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        rig.core.market.marks.clear()
        rig.core.market.kernel = None  # type: ignore[assignment]
        rig.core.valuation.generation = None
        with full_journal(rig):
            assert kill(rig) == (1, False)
            assert rig.link.cancelled == [rig.only_order().order_id]
        assert text(desk.order()[0], 20001) == "104"


class Stubborn:
    """An exchange's link that breaks on one order."""

    def __init__(self, rig: Rig, broken: str) -> None:
        self._cancel, self._broken = rig.link.cancel, broken

    def __call__(self, order: Any, now_ns: int) -> None:
        if order.order_id == self._broken:
            raise RuntimeError("a fault of ours")
        self._cancel(order, now_ns)


def test_one_order_that_can_not_be_cancelled_keeps_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for _ in range(3):
            desk.order()
        broken, *others = rig.ledger.orders
        rig.link.cancel = Stubborn(rig, broken)  # type: ignore[method-assign]
        assert kill(rig) == (2, True)
        assert rig.link.cancelled == others
        assert any(broken in alert and "RuntimeError" in alert for alert in rig.monitor.alerts)


def test_cancels_of_a_kill_are_watched(tmp_path: Path) -> None:
    with opened(tmp_path, config=SHARED) as rig:
        three_orders(rig)
        kill(rig)
        first, *_ = rig.ledger.orders.values()
        rig.hear(cancelled(first))
        rig.now_ns += CONFIRM_WITHIN_NS
        rig.core.controls.tick(rig.now_ns)
        assert rig.monitor.alerts[-1].startswith("kill of session ALPHA: 1 orders not confirmed as cancelled")


def test_what_was_delayed_is_refused(tmp_path: Path) -> None:
    extra = 'accounts = ["alpha"]\nthrottle_messages = 1\nthrottle_answer = "delay"'
    with opened(tmp_path, config=CONFIG.replace('accounts = ["alpha"]', extra, 1)) as rig:
        desk = rig.desk().log_on()
        for _ in range(3):
            desk.order()
        kill(rig)
        assert Counter(record.text for record in rig.of_type(records.OrderRefused)) == {
            "delayed when the session was killed": 2
        }
        rig.now_ns += 5 * SECOND
        rig.core.controls.tick(rig.now_ns)
        assert len(rig.link.placed) == 1


@pytest.mark.parametrize(
    ("scope", "name", "who", "reason", "what"),
    [
        ("planet", "deribit", "ann", "x", "scope must be one of session, account"),
        ("session", "alpha", "ann", "x", "no session alpha; there are ALPHA, BETA"),
        ("account", "ALPHA", "ann", "x", "no account ALPHA; there are alpha, beta, gamma"),
    ],
)
def test_a_kill_of_what_is_not_there_is_refused(
    tmp_path: Path, scope: str, name: str, who: str, reason: str, what: str
) -> None:
    with opened(tmp_path) as rig:
        for act in (rig.core.controls.kill, rig.core.controls.reinstate):
            with pytest.raises(KillError, match=what):
                act(scope, name, who, reason, rig.now_ns)
        assert rig.of_type(records.Killed) == []


@pytest.mark.parametrize(
    ("reason", "told"),
    [("", "not said"), ("  ", "not said"), ("a\x018=FIX\nb", "a?8=FIX?b"), ("Spieß", "Spie?"), ("x" * 999, "x" * 256)],
)
def test_a_kill_does_not_fail_for_its_words_nor_put_them_into_fix_as_they_are(
    tmp_path: Path, reason: str, told: str
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        rig.core.controls.kill("session", "ALPHA", "", reason, rig.now_ns)
        (refused,) = desk.order()
        assert text(refused, 58).endswith(f"session ALPHA is killed: {told}")
        assert rig.core.ledger.standing.kills["session", "ALPHA"].who == "not said"


def test_what_is_not_killed_is_not_reinstated(tmp_path: Path) -> None:
    with opened(tmp_path) as rig, pytest.raises(KillError, match="is not killed"):
        reinstate(rig)
