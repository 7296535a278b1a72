"""Numbers that begin at 1 again are written before they do: who can not write that refuses, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import records
from gateway.clients.renewals import UNWRITTEN
from gateway.journal import JournalError
from protocols.fix.session import SessionState
from tests.gateway.rig import CONFIG, SECOND, Desk, Rig, SmallDisk, accepted, opened
from tests.gateway.test_pipeline_journal import fill_up

DAY = 86_400 * SECOND


class Failing:
    """The rig's journal, that takes so many more records and then none until the test says so."""

    def __init__(self, rig: Rig, left: int = 0) -> None:
        self._rig, self._journal, self.left = rig, rig.pipeline.journal, left
        rig.pipeline.journal = self  # type: ignore[assignment]

    def append(self, *arguments: Any) -> int:
        if self.left <= 0:
            raise JournalError("nothing can be written")
        self.left -= 1
        return self._journal.append(*arguments)

    def mend(self) -> None:
        self._rig.pipeline.journal = self._journal


def configured(extra: str) -> str:
    return CONFIG.replace('target_comp_id = "ALPHA"\n', f'target_comp_id = "ALPHA"\n{extra}\n')


def by_logon(rig: Rig, desk: Desk) -> Desk:
    """A new connection, whose Logon(A) says ResetSeqNumFlag(141)."""
    desk.link.disconnected(rig.now_ns)
    return logged_on(rig.desk(), (141, "Y"))


def by_rule(rig: Rig, desk: Desk) -> Desk:
    """A new connection of a session that begins anew with each Logon, though it does not say so."""
    desk.link.disconnected(rig.now_ns)
    return logged_on(rig.desk())


def within(rig: Rig, desk: Desk) -> Desk:
    """Logon(A) with ResetSeqNumFlag(141) within the session."""
    desk.fix.next_in = desk.fix.next_out = 1
    return logged_on(desk, (141, "Y"))


def by_schedule(rig: Rig, desk: Desk) -> Desk:
    """A Logon on the next day, before the timer had its turn."""
    desk.link.disconnected(rig.now_ns)
    rig.now_ns += DAY
    return logged_on(rig.desk())


def logged_on(desk: Desk, *further: tuple[int, str]) -> Desk:
    desk.fix.send("A", [(98, "0"), (108, "30"), *further], desk.rig.now_ns)
    desk.pump()
    return desk


WAYS: list[tuple[Callable[[Rig, Desk], Desk], str]] = [
    (by_logon, ""),
    (by_rule, "reset_on_logon = true"),
    (within, ""),
    (by_schedule, '[fix.session.schedule]\nstart = "08:00"\nend = "08:00"'),
]


def text_of(way: tuple[Callable[[Rig, Desk], Desk], str]) -> str:
    if "schedule" not in way[1]:
        return configured(way[1])
    # A table of the session comes behind its keys.
    return CONFIG.replace('accounts = ["alpha"]\n', f'accounts = ["alpha"]\n{way[1]}\n', 1)


def state_of(rig: Rig) -> SessionState:
    return rig.core.reports.sessions["ALPHA"]


def report_stored(rig: Rig, desk: Desk) -> int:
    """An order's report that the client may ask for again; return its number."""
    desk.order(cl_ord_id="o")
    rig.hear(accepted(rig.only_order()))
    desk.pump()
    return state_of(rig).next_out - 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0].__name__)
def test_a_reset_that_can_not_be_written_is_refused(tmp_path: Path, way: Any) -> None:
    with opened(tmp_path, config=text_of(way)) as rig:
        desk = rig.desk().log_on()
        number = report_stored(rig, desk)
        report, resets, next_in = state_of(rig).sent.get(number), state_of(rig).resets, state_of(rig).next_in
        written = rig.journal.next_sequence
        journal = Failing(rig)
        refused = way[0](rig, desk)
        state = state_of(rig)
        assert refused.fix.logout_text == UNWRITTEN and refused.link.session.is_closed and state.connection is None
        assert (state.resets, state.sent.get(number)) == (resets, report) and report is not None
        assert (state.next_in, state.next_out) == (next_in, number + 1) and rig.journal.next_sequence == written
        assert any("nothing can be written" in alert for alert in rig.monitor.alerts)
        # The process ends before it can be written: the next start goes on with the old numbers, all of them.
        journal.mend()
        again = rig.restart(config=text_of(way))
        assert state_of(again).sent.get(number) == report and state_of(again).next_out == number + 1
        if way[0] is not within:
            way[0](again, again.desk())
            assert (state_of(again).next_in, state_of(again).next_out) == (2, 2)
            again.check_replay()
        again.journal.close()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0].__name__)
def test_a_reset_is_written_before_it_is_answered(tmp_path: Path, way: Any) -> None:
    """It is refused first, and taken as soon as the journal is back; a crash right after it knows of it."""
    with opened(tmp_path, config=text_of(way)) as rig:
        desk = rig.desk().log_on()
        number = report_stored(rig, desk)
        journal = Failing(rig)
        desk = way[0](rig, desk)
        assert desk.fix.logout_text == UNWRITTEN
        journal.mend()
        rig.log.clear()
        desk = by_logon(rig, desk) if way[0] is within else way[0](rig, desk)
        assert desk.fix.is_logged_on and (desk.fix.next_in, desk.fix.next_out) == (2, 2)
        appended = [name for what, name in rig.log if what == "append"]
        # First the numbers that could not be written, then that they begin again, then where they are.
        assert appended[appended.index("SessionRenewed") :] == ["SessionRenewed", "SessionMoved"]
        rig.check_replay()
        again = rig.restart(config=text_of(way))
        assert (state_of(again).next_in, state_of(again).next_out) == (2, 2)
        assert state_of(again).sent.get(number) is None
        again.journal.close()


@pytest.mark.parametrize("left", [1, 2])
def test_the_process_ends_between_the_record_and_the_answer(tmp_path: Path, left: int) -> None:
    """The reset is in the journal, the numbers after it are not: nothing of the session before comes back."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        number = report_stored(rig, desk)
        desk.link.disconnected(rig.now_ns)
        journal = Failing(rig, left)
        desk = logged_on(rig.desk(), (141, "Y"))
        assert desk.fix.is_logged_on
        journal.mend()
        again = rig.restart()
        numbers = (state_of(again).next_in, state_of(again).next_out)
        assert numbers == ((1, 1) if left == 1 else (2, 2)) and state_of(again).sent.get(number) is None
        # The client goes on with its own numbers: what we lack is asked for and filled, and it is let in.
        client = again.desk(conversation=desk.fix)
        client.fix.is_logged_on, client.fix.next_in = False, numbers[1]
        client.log_on(resets=False)
        assert again.core.reports.sessions["ALPHA"].connection is client.link.session
        again.journal.close()


def test_a_logon_that_resets_nothing_is_let_in_for_its_cancels(tmp_path: Path) -> None:
    stays = configured("cancel_on_disconnect = false")
    with opened(tmp_path, config=stays) as rig:
        desk = rig.desk().log_on()
        report_stored(rig, desk)
        desk.link.disconnected(rig.now_ns)
        rig.link.cancelled.clear()
        journal = Failing(rig)
        second = rig.desk(conversation=desk.fix)
        second.fix.is_logged_on = False
        second.log_on(resets=False)
        second.cancel("o")
        assert rig.link.cancelled == [rig.only_order().order_id]
        journal.mend()
        second.order(cl_ord_id="made good")
        rig.check_replay()


def test_a_full_disk_has_room_for_a_reset_in_its_reserve(tmp_path: Path) -> None:
    disk = SmallDisk()
    with opened(tmp_path, files=disk) as rig:
        desk = rig.desk().log_on()
        fill_up(rig, disk, desk)
        renewed = len(rig.of_type(records.SessionRenewed))
        desk.link.disconnected(rig.now_ns)
        second = logged_on(rig.desk(), (141, "Y"))
        assert second.fix.is_logged_on and len(rig.of_type(records.SessionRenewed)) == renewed + 1
        rig.check_replay()
