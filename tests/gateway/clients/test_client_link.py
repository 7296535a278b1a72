"""One client's session and the pipeline: numbers are journalled before the bytes that they number leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import records
from gateway.clients.link import ClientLink
from protocols.fix.session import Limits
from tests.gateway.rig import SECOND, Desk, Rig, accepted, filled, opened, shown


def numbers(rig: Rig) -> tuple[int, int]:
    """What the journal's last word on ALPHA's numbers is, as a replay would see it."""
    from gateway.journal import read
    from gateway.recovery import replay

    state = replay(read(rig.directory)).reports.sessions["ALPHA"]
    return state.next_in, state.next_out


def test_no_number_leaves_that_the_journal_does_not_know(tmp_path: Path) -> None:
    """After every step, before its bytes are taken: a crash now would lose no number that the client has seen."""
    with opened(tmp_path) as rig:
        desk = rig.desk()
        steps: list[tuple[str, list[tuple[int, Any]]]] = [
            ("A", [(98, "0"), (108, "30"), (141, "Y")]), ("1", [(112, "ping")]), ("0", []), ("Z", []),
            ("H", [(11, "x"), (54, 1), (55, "BTC-PERPETUAL")]), ("2", [(7, 1), (16, 0)]), ("5", []),
        ]  # fmt: skip
        for msg_type, body in steps:
            desk.fix.send(msg_type, [(tag, str(value)) for tag, value in body], rig.now_ns)
            desk.link.receive(desk.fix.data_to_send(), rig.now_ns)
            state = rig.core.reports.sessions["ALPHA"]
            assert numbers(rig) == (state.next_in, state.next_out), msg_type
            desk.fetch()
        assert desk.fix.is_logged_out and rig.monitor.last_session_closed == "ALPHA: logged out"


def test_numbers_that_time_moves_are_journalled_too(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for _ in range(3):
            rig.now_ns = desk.link.session.deadline_ns or 0
            desk.link.tick(rig.now_ns)
            assert numbers(rig)[1] == rig.core.reports.sessions["ALPHA"].next_out
        assert numbers(rig)[1] > 3


def test_any_split_of_the_bytes_gives_the_same(tmp_path: Path) -> None:
    hashes = set()
    for size in (1, 7, 100, 10_000):
        with opened(tmp_path / str(size)) as rig:
            desk = rig.desk()
            desk.fix.send("A", [(98, "0"), (108, "30"), (141, "Y")], rig.now_ns)
            for number in range(3):
                desk.fix.send("D", [(11, f"o{number}"), (38, "100"), (40, "2"), (44, "59000"), (54, "1"),
                                    (55, "BTC-PERPETUAL"), (60, "20251009-08:53:20.000")], rig.now_ns)  # fmt: skip
            data = desk.fix.data_to_send()
            for start in range(0, len(data), size):
                desk.link.receive(data[start : start + size], rig.now_ns)
            assert rig.ledger.order_count == 3
            hashes.add(rig.core.state_hash())
    assert len(hashes) == 1


def test_a_second_logon_on_a_live_comp_id_is_refused_and_the_first_untouched(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        first = rig.desk().log_on()
        first.order(cl_ord_id="o")
        state = rig.core.reports.sessions["ALPHA"]
        before = (state.next_in, state.next_out)
        second = Desk(rig, "ALPHA")
        for resets in (True, False):
            with pytest.raises(AssertionError):
                second.log_on(resets=resets)
        assert second.received == b"" and second.link.session.is_closed
        assert (state.next_in, state.next_out) == before and rig.link.cancelled == []
        second.link.disconnected(rig.now_ns)
        rig.hear(accepted(rig.only_order()))
        assert shown(first.pump(), 39) == [("8", "0")] and rig.link.cancelled == []


@pytest.mark.parametrize(
    "body", [[(98, "1"), (108, "30")], [(98, "0"), (108, "0")], [(98, "0"), (108, "999")], [(98, "0")]]
)
def test_a_refused_logon_cancels_nothing(tmp_path: Path, body: list[tuple[int, str]]) -> None:
    with opened(tmp_path) as rig:
        beta = rig.desk("BETA").log_on()
        beta.order(account="beta")
        beta.link.disconnected(rig.now_ns)
        order = rig.only_order()
        rig.hear(accepted(order))
        stranger = Desk(rig, "BETA", beta.fix)
        stranger.fix.send("A", body, rig.now_ns)
        stranger.pump()
        stranger.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == [] and numbers_are_written(rig)


def numbers_are_written(rig: Rig) -> bool:
    rig.check_replay()
    return True


def test_before_a_logon_there_is_no_name_and_nothing_to_cancel(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        link = ClientLink({}, rig.pipeline, rig.now_ns, Limits(), lambda name: None)
        link.receive(b"8=FIX.4.4\x01" + b"garbage\x01" * 1_000, rig.now_ns)
        assert link.name == ""
        link.tick(rig.now_ns + 11 * SECOND)
        assert link.session.is_closed and rig.monitor.last_session_closed.startswith("a connection without Logon")
        link.disconnected(rig.now_ns)
        link.log_out("bye", rig.now_ns)
        assert rig.of_type(records.CancelRequested) == []


def test_a_gateway_that_logs_a_client_out_cancels_when_it_has_answered(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        rig.hear(accepted(rig.only_order()))
        desk.link.log_out("gateway is stopping", rig.now_ns)
        desk.fetch()
        assert desk.fix.logout_text == "gateway is stopping"
        desk.pump()
        assert rig.link.cancelled == [rig.only_order().order_id]


def test_the_accounts_rule_decides_who_is_cancelled_for(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        desk.order()
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 40))
        states = {state.key: state for state in rig.core.reports.sessions.values()}
        by_default = ClientLink(states, rig.pipeline, rig.now_ns, Limits(), lambda name: None)
        assert by_default._cancels_on_disconnect("ALPHA")
        desk.link.disconnected(rig.now_ns)
        desk.link.disconnected(rig.now_ns)
        assert rig.link.cancelled == [order.order_id]
