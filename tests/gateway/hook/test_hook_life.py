"""The hook in process: deadlines, kills, a journal that can not be written, and what the venue sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import cli, records
from gateway.hook.clients import HoldError
from gateway.hook.messages import (
    Event,
    Held,
    Query,
    Refused,
    Release,
    Stop,
    Told,
    Unknown,
)
from gateway.records import holds as hold_records
from protocols.venues.events import OpenOrdersReported, ReconcileFinished
from risk.account import AccountState
from tests.gateway.hook_rig import SHARED, WITH_HOOK, fill, held, hook_of, lots, order, question, state
from tests.gateway.rig import (
    BTC,
    CONFIG,
    MS,
    SECOND,
    START_NS,
    Rig,
    filled,
    full_journal,
    opened,
    positions,
    state_of,
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(tmp_path, config=WITH_HOOK) as rig:
        yield rig


# -- deadlines -----------------------------------------------------------------------------------------------------


def test_an_overdue_hold_is_unknown_and_holds_on(rig: Rig) -> None:
    told: list[Event] = []
    hook_of(rig).listeners.add(told.append)
    hold_id = held(rig, timeout_ms=1000)
    worst = rig.core.market.kernel.worst(0)
    assert rig.core.deadline_ns == START_NS + 1000 * MS
    rig.core.tick(START_NS + 999 * MS)
    assert state(rig, hold_id) == "held" and told == []
    rig.core.tick(START_NS + 1000 * MS)
    assert state(rig, hold_id) == "unknown" and rig.core.deadline_ns is None
    assert rig.core.market.kernel.worst(0) == worst
    assert isinstance(told[0], Unknown) and told[0].hold.hold == hold_id
    assert "1 holds UNKNOWN" in rig.monitor.alerts[-1] and hold_id in rig.monitor.alerts[-1]
    (row,) = [row for row in rig.core.hooks.rows() if row["hook"] == "algo"]
    assert (row["holds"], row["unknown"]) == (1, 1)
    rig.core.tick(START_NS + 10**6 * SECOND)
    assert len(rig.of_type(hold_records.HoldOverdue)) == 1
    partly = fill(rig, hold_id, "e1", 40)
    assert isinstance(partly, Told) and partly.hold.state == "unknown"
    rig.check_replay()
    released = hook_of(rig).release(Release(hold=hold_id), rig.now_ns)
    assert isinstance(released, Told) and released.hold.state == "released"
    assert not rig.ledger.holds.unknown


def test_a_deadline_that_passed_while_nobody_ran_is_marked_at_the_start(rig: Rig) -> None:
    hold_id = held(rig)
    again = rig.restart(now_ns=START_NS + 3600 * SECOND)
    assert state(again, hold_id) == "held"
    again.core.tick(again.now_ns)
    assert state(again, hold_id) == "unknown"
    again.check_holds()
    again.check_replay()
    again.journal.close()


def test_a_person_releases_what_is_unknown_and_nothing_else(rig: Rig) -> None:
    hold_id = held(rig, timeout_ms=1)
    with pytest.raises(HoldError, match="is held"):
        rig.core.hooks.release(hold_id, "ann", "looked", rig.now_ns)
    with pytest.raises(HoldError, match="no hold"):
        rig.core.hooks.release("x", "ann", "looked", rig.now_ns)
    rig.core.tick(rig.now_ns + MS)
    assert rig.core.hooks.release(hold_id, "ann", "looked", rig.now_ns).state == "released"
    assert rig.of_type(hold_records.HoldReleased) == [hold_records.HoldReleased(hold_id, "ann", "looked")]
    assert not rig.ledger.accounts["alpha"].exposure.orders


def test_holds_of_a_client_that_is_gone_from_the_configuration_stay(rig: Rig) -> None:
    hold_id = held(rig)
    again = rig.restart(config=CONFIG)
    assert list(again.ledger.accounts["alpha"].exposure.orders) == [hold_id]
    again.core.tick(START_NS + 61 * SECOND)
    assert state(again, hold_id) == "unknown"
    again.core.hooks.release(hold_id, "ann", "looked", again.now_ns)
    again.check_holds()
    again.journal.close()


# -- kills, journal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "name", "code"), [("hook", "algo", 104), ("account", "alpha", 102)])
def test_a_kill_takes_no_new_holds_and_tells_the_client(rig: Rig, scope: str, name: str, code: int) -> None:
    told: list[Event] = []
    hook_of(rig).listeners.add(told.append)
    hold_id = held(rig)
    assert rig.core.controls.kill(scope, name, "ann", "stop", rig.now_ns) == (0, True)
    assert told == [Stop(scope, name, "stop", [hold_id])]
    for answer in (hook_of(rig).hold(order("k2"), rig.now_ns), hook_of(rig).check(question(), rig.now_ns)):
        assert isinstance(answer, Refused) and answer.code == code
    assert isinstance(hook_of(rig).hold(order(), rig.now_ns), Held)  # said before
    assert isinstance(fill(rig, hold_id, "e1", 40), Told)
    assert isinstance(hook_of(rig).release(Release(hold=hold_id), rig.now_ns), Told)
    again = rig.restart()
    refused = hook_of(again).hold(order("k3"), again.now_ns)
    assert isinstance(refused, Refused) and refused.code == code
    again.core.controls.reinstate(scope, name, "bob", "fine", again.now_ns)
    assert isinstance(hook_of(again).hold(order("k4"), again.now_ns), Held)
    again.journal.close()


def test_a_kill_of_a_session_does_not_touch_holds_of_an_account_named_alike(rig: Rig) -> None:
    held(rig)
    rig.core.controls.kill("session", "ALPHA", "ann", "stop", rig.now_ns)
    assert rig.core.hooks.stopped("session", "ALPHA", "stop") == 0
    assert isinstance(hook_of(rig).hold(order("k2"), rig.now_ns), Held)


def test_without_a_journal_nothing_is_done_and_that_is_said(rig: Rig) -> None:
    hold_id = held(rig, timeout_ms=1000)
    with full_journal(rig):
        for answer in (
            hook_of(rig).hold(order("k2"), rig.now_ns),
            hook_of(rig).hold(order("k3", quantity="200000"), rig.now_ns),
            fill(rig, hold_id, "e1", 40),
            hook_of(rig).release(Release(hold=hold_id), rig.now_ns),
        ):
            assert isinstance(answer, Refused) and answer.code == 936
        rig.core.tick(START_NS + 1000 * MS)
        assert rig.core.deadline_ns == START_NS + 2000 * MS  # tried again in a second
        assert state(rig, hold_id) == "held" and lots(rig) == 0
    assert isinstance(hook_of(rig).hold(order("k2"), rig.now_ns), Held)
    assert isinstance(fill(rig, hold_id, "e1", 40), Told)
    rig.core.tick(START_NS + 2000 * MS)
    assert state(rig, hold_id) == "unknown"
    rig.check_replay()


# -- the venue -----------------------------------------------------------------------------------------------------


def test_fills_elsewhere_are_no_break_at_the_venue_that_we_see(rig: Rig) -> None:
    fill(rig, held(rig), "e1", 40)
    assert rig.ledger.venue_lots("deribit") == {BTC: 0}
    for _ in range(2):
        rig.hear(positions("BTC", {}), ReconcileFinished())
    assert not rig.ledger.breaks and rig.ledger.accounts["alpha"].state is AccountState.TRADING


@pytest.mark.parametrize("named", ["{}", f"{BTC}-{{}}-B", "{}-B", "{}/M"])
def test_at_a_shared_venue_account_both_tell_of_a_fill_and_it_is_booked_once(tmp_path: Path, named: str) -> None:
    """Its owner tells of it by the venue's id, of which venues' sessions make names that are unique."""
    with opened(tmp_path, config=SHARED) as rig:
        hold_id = held(rig)
        label = rig.ledger.holds.by_id[hold_id].order
        rig.hear(filled(label, 40, named.format("t1")))
        assert lots(rig) == 4
        told = fill(rig, hold_id, "t1", 40)
        assert isinstance(told, Told) and not told.is_new
        assert isinstance(told := fill(rig, hold_id, "t2", 10), Told) and told.is_new
        rig.hear(filled(label, 10, named.format("t2")), filled(label, 40, named.format("t1")))
        assert lots(rig) == 5 and rig.ledger.venue_lots("deribit") == {BTC: 5}
        assert not rig.ledger.breaks
        rig.hear(OpenOrdersReported((state_of(label, "open"),)))
        assert not rig.ledger.breaks
        hook_of(rig).release(Release(hold=hold_id), rig.now_ns)
        rig.hear(OpenOrdersReported((state_of(label, "open"),)))  # it works, and nothing is held for it
        assert "is not ours" in rig.ledger.breaks[-1].text
        rig.check_replay()


def test_a_label_at_our_venue_account_of_an_order_that_goes_elsewhere_is_a_break(rig: Rig) -> None:
    hold = rig.ledger.holds.by_id[held(rig)].order
    rig.hear(filled(hold, 40, "t1"))
    assert lots(rig) == 0 and "is not ours" in rig.ledger.breaks[0].text


def test_clients_that_ask_for_trades_by_fix_hear_of_fills_of_holds(rig: Rig) -> None:
    desk = rig.desk().log_on()
    desk.send("AD", (568, "all"), (569, "0"), (263, "1"))
    fill(rig, held(rig), "e1", 40)
    rig.flush()
    told = [m for m in desk.pump() if m.get(35) == b"AE"]
    assert [(m.get(880), m.get(32), m.get(31)) for m in told] == [(b"BTC-PERPETUAL:e1", b"40", b"59000.0")]
    rig.check_replay()


def test_operators_see_what_is_not_ours_to_cancel_apart(rig: Rig) -> None:
    held(rig)
    assert not list(rig.ledger.working_orders())
    assert isinstance(records.TAGS[hold_records.HoldApproved], int)


# -- corrections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_fill_of_a_hold_is_corrected_and_taken_back_as_one_of_an_order(tmp_path: Path, is_shared: bool) -> None:
    with opened(tmp_path, config=SHARED if is_shared else WITH_HOOK) as rig:
        hold_id = held(rig)
        fill(rig, hold_id, "t1", 40), fill(rig, hold_id, "t2", 20)
    source, trade_id = ("deribit", "t1") if is_shared else ("hook:algo", f"{BTC}:t1")
    command = ["correct-trade", str(tmp_path), source, trade_id, "--reason", "agreed"]
    for more, expected in ((["--quantity", "30"], 5), ([], 2)):
        done = CliRunner().invoke(cli.app, [*command, *more])
        assert done.exit_code == 0, done.output
        again = Rig(tmp_path, config=SHARED if is_shared else WITH_HOOK)
        assert lots(again) == expected
        assert again.ledger.venue_lots("deribit") == {BTC: expected if is_shared else 0}
        told = hook_of(again).query(Query(hold=hold_id), again.now_ns)
        assert isinstance(told, Told) and (told.hold.filled, told.hold.leaves) == (str(10 * expected), "40")
        again.check_holds()
        again.check_replay()
        again.journal.close()
