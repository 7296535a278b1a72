"""Sessions by configuration: told apart on one port, their rules, and their times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway import config as configuration
from gateway import records
from gateway.clients.link import ClientLink
from gateway.clients.sessions import ZoneOffset, name_of, schedule_of
from gateway.journal import read
from gateway.recovery import replay
from protocols.errors import LocalProtocolError
from protocols.fix.codec import Layout, Message, format_timestamp
from protocols.fix.session import (
    INITIATOR,
    Disconnected,
    Limits,
    LoggedOut,
    MessageReceived,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
)
from tests.gateway.rig import BTC, CONFIG, SECOND, START_NS, Rig, accepted, filled, opened

ORDER = Layout("D", (1, 11, 21, 38, 40, 44, 54, 55, 60))
HOUR_NS, DAY_NS = 3600 * SECOND, 86_400 * SECOND


def configured(extra: str) -> str:
    """The rig's configuration with more keys for ALPHA's session."""
    return CONFIG.replace('accounts = ["alpha"]', f'accounts = ["alpha"]\n{extra}', 1)


class Peer:
    """A client: a sans-I/O session of its own, joined to a new connection of the gateway."""

    def __init__(self, rig: Rig, state: SessionState) -> None:
        self.rig, self.state = rig, state
        self.told: list[Message] = []
        self.ends: list[str] = []
        core = rig.core
        states = {core.reports.sessions[name].key: core.reports.sessions[name] for name in core.accounts_of}
        cancels = {name_of(session): session.cancel_on_disconnect for session in core.config.fix.session}
        self.link = ClientLink(states, core.pipeline, rig.now_ns, Limits(), lambda name: None, cancels.__getitem__)
        self.session = Session(lambda key: None, rig.now_ns, role=INITIATOR)
        self.session.logon(state, rig.now_ns)
        self.pump()

    def pump(self) -> list[Message]:
        before = len(self.told)
        while True:
            out, back = self.session.data_to_send(), self.link.session.data_to_send()
            if not out and not back:
                return self.told[before:]
            if out:
                self.link.receive(out, self.rig.now_ns)
            if back:
                self.session.receive_data(back, self.rig.now_ns)
                while (event := self.session.next_event()) is not None:
                    if isinstance(event, MessageReceived):
                        self.told.append(event.message)
                    elif isinstance(event, LoggedOut):
                        self.ends.append(event.text)
                    elif isinstance(event, Disconnected):
                        self.link.disconnected(self.rig.now_ns)

    def order(self, cl_ord_id: str, *, price: str = "59000", account: bytes = b"alpha") -> list[Message]:
        now = format_timestamp(self.rig.now_ns)
        values = (account, cl_ord_id.encode(), b"1", b"100", b"2", price.encode(), b"1", BTC.encode(), now)
        self.session.send(ORDER, values, self.rig.now_ns)
        return self.pump()

    def leave(self) -> None:
        self.session.logout("bye", self.rig.now_ns)
        self.pump()


def client_state(begin_string: str = "FIX.4.4", *routing: str, **rules: Any) -> SessionState:
    """A client's own numbers; `routing`: its SubID and LocationID, then ours."""
    config = SessionConfig(application_messages=frozenset("89j"), **rules)
    return SessionState(SessionKey(begin_string, "ALPHA", "MARGINGATE", *routing), config)


# -- told apart ------------------------------------------------------------------------------------------------------

SEVERAL = configured("""
[[fix.session]]
name = "ALGO"
target_comp_id = "ALPHA"
target_sub_id = "ALGO"
target_location_id = "LD4"
sender_sub_id = "RISK"
accounts = ["alpha"]
[[fix.session]]
name = "OLD"
target_comp_id = "ALPHA"
begin_string = "FIX.4.2"
accounts = ["alpha"]
[[fix.session]]
name = "OTHER-US"
target_comp_id = "ALPHA"
sender_comp_id = "ELSEWHERE"
accounts = ["alpha"]
""")


def test_sessions_of_one_comp_id_are_told_apart(tmp_path: Path) -> None:
    with opened(tmp_path, config=SEVERAL) as rig:
        plain, algo = Peer(rig, client_state()), Peer(rig, client_state("FIX.4.4", "ALGO", "LD4", "RISK", ""))
        old = Peer(rig, client_state("FIX.4.2"))
        elsewhere = Peer(rig, SessionState(SessionKey("FIX.4.4", "ALPHA", "ELSEWHERE"), plain.state.config))
        peers = {"ALPHA": plain, "ALGO": algo, "OLD": old, "OTHER-US": elsewhere}
        assert all(peer.session.is_logged_on for peer in peers.values())
        assert [peer.link.name for peer in peers.values()] == list(peers)
        for name, peer in peers.items():
            peer.order(f"o-{name}")
        orders = {order.session: order for order in rig.ledger.orders.values()}
        assert orders.keys() == peers.keys()
        rig.hear(accepted(orders["ALGO"]))
        assert [len(peer.pump()) for peer in peers.values()] == [0, 1, 0, 0]
        assert algo.told[0].values((50, 57, 143)) == (b"RISK", b"ALGO", b"LD4")
        assert {r.session: r.routing for r in rig.of_type(records.SessionOpened)}["ALGO"] == ("RISK", "", "ALGO", "LD4")
        rig.check_replay()


def test_a_sub_id_that_no_session_has_takes_the_session_without(tmp_path: Path) -> None:
    with opened(tmp_path, config=SEVERAL) as rig:
        assert Peer(rig, client_state("FIX.4.4", "ALGO", "", "", "")).link.name == "ALPHA"


def test_a_session_that_was_given_sub_ids_is_rebuilt_with_them(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        peer = Peer(rig, client_state())
        peer.order("before")
        (order,) = rig.ledger.orders.values()
        again = rig.restart(config=configured('sender_sub_id = "RISK"\ntimestamp_precision = "us"'))
        again.hear(accepted(order))
        replayed = replay(read(tmp_path)).reports.sessions["ALPHA"]
        assert replayed.key == again.core.reports.sessions["ALPHA"].key
        assert replayed.sent.get(2) == again.core.reports.sessions["ALPHA"].sent.get(2)
        again.journal.close()


# -- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "length"), [("s", 17), ("ms", 21), ("us", 24), ("ns", 27)])
def test_timestamps_have_the_precision_that_was_agreed(tmp_path: Path, precision: str, length: int) -> None:
    with opened(tmp_path, config=configured(f'timestamp_precision = "{precision}"')) as rig:
        peer = Peer(rig, client_state())
        (refusal,) = peer.order("o", price="59000.1")
        assert len(refusal.get(52) or b"") == length
        rig.check_replay()


def test_an_overlay_lays_tags_over_the_dictionary(tmp_path: Path) -> None:
    overlay = tmp_path / "theirs.toml"
    overlay.write_text('[fields]\n9701 = "DeskNote STRING"\n[messages]\nD = "+9701"\n')
    note = Layout("D", (11, 38, 40, 44, 54, 55, 60, 9701))
    values = (b"o", b"100", b"2", b"59000", b"1", BTC.encode(), format_timestamp(START_NS), b"hello")
    for number, extra in enumerate(("", f'dictionary_overlay = "{overlay}"', "allow_unknown_tags = true")):
        with opened(tmp_path / str(number), config=configured(extra)) as rig:
            peer = Peer(rig, client_state())
            peer.session.send(note, values, rig.now_ns)
            peer.pump()
            assert rig.ledger.order_count == (1 if extra else 0), extra


@pytest.mark.parametrize(("interval", "is_taken"), [(4, False), (5, True), (60, True), (61, False)])
def test_heart_bt_int_has_bounds_of_its_own(tmp_path: Path, interval: int, is_taken: bool) -> None:
    with opened(tmp_path, config=configured("min_heart_bt_int_s = 5\nmax_heart_bt_int_s = 60")) as rig:
        peer = Peer(rig, client_state(heart_bt_int=interval))
        assert peer.session.is_logged_on is is_taken
        assert is_taken or peer.ends == ["HeartBtInt(108) must be 5 to 60"]


@pytest.mark.parametrize(("late_s", "is_taken"), [(3, True), (4, False), (-4, False)])
def test_latency_has_a_bound_of_its_own(tmp_path: Path, late_s: int, is_taken: bool) -> None:
    with opened(tmp_path, config=configured("max_latency_s = 3")) as rig:
        desk = rig.desk()
        desk.fix.send("A", [(98, "0"), (108, "30"), (141, "Y")], rig.now_ns - late_s * SECOND)
        desk.pump()
        assert desk.fix.is_logged_on is is_taken


def test_what_was_missed_comes_by_next_expected_msg_seq_num(tmp_path: Path) -> None:
    with opened(tmp_path, config=configured("next_expected_msg_seq_num = true\ncancel_on_disconnect = false")) as rig:
        state = client_state(sends_next_expected=True)
        peer = Peer(rig, state)
        peer.order("o")
        peer.leave()
        order = rig.only_order()
        rig.hear(accepted(order), filled(order, 100))
        again = Peer(rig, state)
        assert [message.values((39, 43)) for message in again.told] == [(b"0", b"Y"), (b"2", b"Y")]
        assert b"35=2\x01" not in b"".join(filter(None, (state.sent.get(n) for n in range(1, state.next_out))))
        rig.check_replay()


# -- session times ---------------------------------------------------------------------------------------------------

# START_NS is 08:53:20 on a Thursday.
DAY = configured('[fix.session.schedule]\nstart = "08:00"\nend = "17:00"\n')
ALWAYS = configured('[fix.session.schedule]\nstart = "08:00"\nend = "08:00"\n')
KEEPS_ORDERS = 'accounts = ["alpha"]\ncancel_on_disconnect = false\n'


def at(hour: int, minute: int = 0, *, day: int = 0) -> int:
    return START_NS // DAY_NS * DAY_NS + day * DAY_NS + hour * HOUR_NS + minute * 60 * SECOND


def tick(rig: Rig, now_ns: int) -> None:
    rig.now_ns = now_ns
    rig.core.controls.tick(now_ns)
    rig.flush()


def test_a_logon_outside_of_the_schedule_is_refused_and_counted(tmp_path: Path) -> None:
    with opened(tmp_path, config=DAY, now_ns=at(7, 59)) as rig:
        rig.core.controls.start(rig.now_ns)
        peer = Peer(rig, client_state())
        assert peer.ends == ["outside of session time"] and not peer.session.is_logged_on
        rig.check_replay()


def test_a_live_session_is_logged_out_at_the_end(tmp_path: Path) -> None:
    with opened(tmp_path, config=DAY) as rig:
        peer = Peer(rig, client_state())
        deadline_ns = None
        while peer.link.session.is_logged_on:
            deadline_ns = peer.link.session.deadline_ns
            assert deadline_ns is not None
            rig.now_ns = deadline_ns
            peer.link.tick(rig.now_ns)
            peer.pump()
        assert deadline_ns == at(17) and peer.ends == ["session time is over"]
        with pytest.raises(AssertionError):
            rig.desk().log_on()


@pytest.mark.parametrize("has_crashed", [False, True])
def test_a_new_session_begins_at_one_for_who_is_away(tmp_path: Path, has_crashed: bool) -> None:
    """The report of the night is number 1 of the new session, whether the process saw the time come or not."""
    config = DAY.replace('accounts = ["alpha"]\n', KEEPS_ORDERS, 1)
    with opened(tmp_path, config=config) as rig:
        rig.core.controls.start(rig.now_ns)
        peer = Peer(rig, client_state())
        peer.order("o")
        peer.leave()
        order = rig.only_order()
        tick(rig, at(16, 59))
        rig.hear(accepted(order))
        state = rig.core.reports.sessions["ALPHA"]
        assert (state.next_in, state.next_out) == (4, 4)
        if has_crashed:
            rig = rig.restart(now_ns=at(8, 1, day=1))
            rig.core.controls.start(rig.now_ns)
            (order,) = rig.ledger.orders.values()
        else:
            tick(rig, at(7, 59, day=1))
            assert state.next_out == 4
            tick(rig, at(8, 1, day=1))
        state = rig.core.reports.sessions["ALPHA"]
        assert (state.next_in, state.next_out) == (1, 1)
        rig.hear(filled(order, 100))
        assert b"\x0134=1\x01" in (state.sent.get(1) or b"")
        rig.check_replay()
        again = Peer(rig, client_state())
        assert [message.values((39, 43, 34)) for message in again.told] == [(b"2", b"Y", b"1")]
        rig.check_replay()
        rig.journal.close()


def test_a_restart_in_the_same_session_keeps_the_numbers(tmp_path: Path) -> None:
    with opened(tmp_path, config=DAY) as rig:
        rig.core.controls.start(rig.now_ns)
        state = client_state()
        peer = Peer(rig, state)
        peer.order("o", price="59000.1")
        peer.session.connection_lost(rig.now_ns)
        again = rig.restart(now_ns=at(16, 59))
        again.core.controls.start(again.now_ns)
        numbers = again.core.reports.sessions["ALPHA"]
        assert (numbers.next_in, numbers.next_out) == (3, 3)
        assert Peer(again, state).session.is_logged_on
        again.check_replay()
        again.journal.close()


def test_a_logon_begins_a_new_session_and_a_crash_right_after_does_not_begin_another(tmp_path: Path) -> None:
    with opened(tmp_path, config=ALWAYS) as rig:
        rig.core.controls.start(rig.now_ns)
        peer = Peer(rig, client_state())
        peer.order("o", price="59000.1")
        peer.leave()
        rig.now_ns = at(8, 0, day=1)  # no tick has come yet
        new = client_state()
        peer = Peer(rig, new)
        assert peer.session.is_logged_on and new.next_in == 2
        rig.check_replay()
        again = rig.restart()
        again.core.controls.start(again.now_ns)
        numbers = again.core.reports.sessions["ALPHA"]
        assert (numbers.next_in, numbers.next_out) == (2, 2)
        again.journal.close()


def test_a_connection_that_outlasts_its_session_keeps_its_numbers_to_the_end(tmp_path: Path) -> None:
    """Without a pause between sessions: what is sent while the old one says goodbye is numbered as the old one."""
    with opened(tmp_path, config=ALWAYS) as rig:
        rig.core.controls.start(rig.now_ns)
        peer = Peer(rig, client_state())
        peer.order("o")
        rig.now_ns = at(8, 0, day=1)
        peer.link.tick(rig.now_ns)  # Logout is on its way
        out = rig.core.reports.sessions["ALPHA"].next_out
        tick(rig, rig.now_ns + 2 * SECOND)
        rig.hear(accepted(rig.only_order()))
        state = rig.core.reports.sessions["ALPHA"]
        assert state.next_out == out + 1
        rig.check_replay()
        peer.link.disconnected(rig.now_ns)
        tick(rig, rig.now_ns + 2 * SECOND)
        assert state.next_out == 1
        rig.check_replay()


def test_a_schedule_that_is_introduced_resets_nothing_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        Peer(rig, client_state()).order("o", price="59000.1")
        again = rig.restart(config=DAY, now_ns=at(9))
        again.core.controls.start(again.now_ns)
        assert again.core.reports.sessions["ALPHA"].next_out == 3
        later = again.restart(config=DAY, now_ns=at(9, day=1))
        later.core.controls.start(later.now_ns)
        assert later.core.reports.sessions["ALPHA"].next_out == 1
        later.check_replay()
        later.journal.close()


def test_a_reset_by_the_client_is_replayed_as_one(tmp_path: Path) -> None:
    """Numbers alone do not tell of it where they have not fallen: what was stored under them must go all the same."""
    with opened(tmp_path, config=CONFIG.replace('accounts = ["alpha"]\n', KEEPS_ORDERS, 1)) as rig:
        peer = Peer(rig, client_state())
        peer.order("o")
        peer.leave()
        Peer(rig, client_state(reset_on_logon=True)).leave()
        rig.hear(accepted(rig.only_order()))
        state = rig.core.reports.sessions["ALPHA"]
        assert state.sent.get(1) is None and state.sent.get(3) is not None
        Peer(rig, client_state(reset_on_logon=True)).leave()
        assert all(state.sent.get(number) is None for number in range(1, 5))
        rig.check_replay()
        assert [r.is_reset for r in rig.of_type(records.SessionRenewed)] == [True, True]


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def test_the_clocks_of_a_zone_are_followed() -> None:
    """17:00 in New York is 21:00 UTC in summer, 22:00 in winter; the clocks change on 1 November 2026."""
    config = configuration.Schedule(
        start="17:00", end="16:59:30", time_zone="America/New_York", start_day="sun", end_day="fri"
    )
    schedule = schedule_of(config)
    assert schedule.window(ns("2026-10-25T20:59:59")) is None
    assert schedule.window(ns("2026-10-26T12:00:00")) == (ns("2026-10-25T21:00:00"), ns("2026-10-30T20:59:30"))
    assert schedule.window(ns("2026-11-02T12:00:00")) == (ns("2026-11-01T22:00:00"), ns("2026-11-06T21:59:30"))


@pytest.mark.parametrize("name", ["UTC", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_offsets_are_those_of_the_zone(name: str) -> None:
    offset = ZoneOffset(ZoneInfo(name))
    for hour in range(0, 366 * 24, 7):
        time_ns = ns("2026-01-01T00:00:00") + hour * HOUR_NS
        local = datetime.fromtimestamp(time_ns // SECOND, ZoneInfo(name)).replace(tzinfo=UTC).timestamp()
        assert offset(time_ns) == int(local) - time_ns // SECOND


def test_an_initiator_does_not_log_on_outside_of_the_schedule(tmp_path: Path) -> None:
    schedule = schedule_of(configuration.Schedule(start="08:00", end="17:00", days=("sat",)))
    with opened(tmp_path) as rig, pytest.raises(LocalProtocolError):
        Peer(rig, client_state(schedule=schedule))
