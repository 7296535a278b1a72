"""Session times, against the calendar of the standard library."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from protocols.errors import LocalProtocolError
from protocols.fix.codec import Layout
from protocols.fix.schedule import DAY_S, Offsets, Schedule
from protocols.fix.session import INITIATOR, Session, SessionConfig, SessionKey, SessionState, send_or_store

LONDON = ZoneInfo("Europe/London")
HOUR_S = 3600


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def london(time_ns: int) -> int:
    offset = datetime.fromtimestamp(time_ns / 1e9, LONDON).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


DAILY = Schedule(8 * HOUR_S, 17 * HOUR_S, days=frozenset(range(5)))
NIGHTLY = Schedule(17 * HOUR_S, 16 * HOUR_S)
ROUND_THE_CLOCK = Schedule(0, 0)
WEEKLY = Schedule(17 * HOUR_S, 16 * HOUR_S, start_day=6, end_day=4)
LOCAL = Schedule(8 * HOUR_S, 17 * HOUR_S, offset_s=london)

CASES = [
    # 2026-01-01 is a Thursday.
    (DAILY, "2026-01-01T07:59:59", None),
    (DAILY, "2026-01-01T08:00:00", ("2026-01-01T08:00:00", "2026-01-01T17:00:00")),
    (DAILY, "2026-01-01T16:59:59", ("2026-01-01T08:00:00", "2026-01-01T17:00:00")),
    (DAILY, "2026-01-01T17:00:00", None),
    (DAILY, "2026-01-03T12:00:00", None),
    (NIGHTLY, "2026-01-01T15:59:59", ("2025-12-31T17:00:00", "2026-01-01T16:00:00")),
    (NIGHTLY, "2026-01-01T16:30:00", None),
    (NIGHTLY, "2026-01-01T17:00:00", ("2026-01-01T17:00:00", "2026-01-02T16:00:00")),
    (ROUND_THE_CLOCK, "2026-01-01T23:59:59", ("2026-01-01T00:00:00", "2026-01-02T00:00:00")),
    (WEEKLY, "2026-01-04T16:59:59", None),
    (WEEKLY, "2026-01-04T17:00:00", ("2026-01-04T17:00:00", "2026-01-09T16:00:00")),
    (WEEKLY, "2026-01-09T15:59:59", ("2026-01-04T17:00:00", "2026-01-09T16:00:00")),
    (WEEKLY, "2026-01-09T16:00:00", None),
    # The clocks go forward on 29 March, back on 25 October.
    (LOCAL, "2026-03-28T08:00:00", ("2026-03-28T08:00:00", "2026-03-28T17:00:00")),
    (LOCAL, "2026-03-29T07:00:00", ("2026-03-29T07:00:00", "2026-03-29T16:00:00")),
    (LOCAL, "2026-03-29T06:59:59", None),
    (LOCAL, "2026-10-25T08:00:00", ("2026-10-25T08:00:00", "2026-10-25T17:00:00")),
    (LOCAL, "2026-10-25T07:59:59", None),
]


@pytest.mark.parametrize(("schedule", "now", "window"), CASES, ids=range(len(CASES)))
def test_windows(schedule: Schedule, now: str, window: tuple[str, str] | None) -> None:
    assert schedule.window(ns(now)) == (None if window is None else (ns(window[0]), ns(window[1])))


@pytest.mark.parametrize("schedule", [DAILY, NIGHTLY, ROUND_THE_CLOCK, WEEKLY, LOCAL])
def test_the_next_begin_begins_a_window(schedule: Schedule) -> None:
    for hours in range(0, 24 * 9, 5):
        now_ns = ns("2026-03-25T00:00:00") + hours * HOUR_S * 10**9
        begin_ns = schedule.next_begin_ns(now_ns)
        window = schedule.window(begin_ns)
        assert window is not None
        assert window[0] == begin_ns > now_ns
        before = schedule.window(begin_ns - 1)
        assert before is None or before[1] == begin_ns


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_every_day_of_a_year_has_its_session(zone: str) -> None:
    """From wall-clock start to wall-clock end, whatever the clocks do at night."""
    info = ZoneInfo(zone)
    times = [ns("2026-01-01T00:00:00") + hour * HOUR_S * 10**9 for hour in range(366 * 24)]
    offsets = [int((datetime.fromtimestamp(at / 1e9, info).utcoffset() or timedelta()).total_seconds()) for at in times]
    table = [pair for pair, before in zip(zip(times, offsets), [None, *offsets], strict=False) if pair[1] != before]
    schedule = Schedule(9 * HOUR_S, 16 * HOUR_S, offset_s=Offsets(tuple(table)))
    for day in range(364):
        start = datetime(2026, 1, 2, 9, tzinfo=info) + timedelta(days=day)
        window = schedule.window(int(start.timestamp()) * 10**9)
        assert window == (int(start.timestamp()) * 10**9, int(start.replace(hour=16).timestamp()) * 10**9)


@pytest.mark.parametrize(
    "values",
    [
        {"start_s": DAY_S, "end_s": 0},
        {"start_s": 0, "end_s": -1},
        {"start_s": 0, "end_s": 0, "start_day": 1},
        {"start_s": 0, "end_s": 0, "start_day": 1, "end_day": 7},
        {"start_s": 0, "end_s": 0, "days": frozenset()},
        {"start_s": 0, "end_s": 0, "days": frozenset({7})},
    ],
)
def test_schedules_that_are_none(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"seconds of a day|start_day|days are"):
        Schedule(**values)  # type: ignore[arg-type]


def test_offsets_before_the_first_and_none() -> None:
    assert Offsets(((100, 3600), (200, 7200)))(5) == 3600
    assert Offsets(((100, 3600), (200, 7200)))(200) == 7200
    for transitions in ((), ((2, 0), (1, 0))):
        with pytest.raises(ValueError, match="ascend"):
            Offsets(transitions)


def test_numbers_of_an_older_session_begin_anew() -> None:
    key, config = SessionKey("FIX.4.4", "GATE", "CLIENT"), SessionConfig(schedule=DAILY)
    now_ns = ns("2026-01-02T09:00:00")
    state = SessionState(key, config, 5, 7, as_of_ns=ns("2026-01-01T16:59:59"))
    assert state.renew(now_ns)
    assert (state.next_in, state.next_out) == (1, 1)
    assert not state.renew(now_ns)
    state = SessionState(key, config, 5, 7, as_of_ns=ns("2026-01-02T08:00:00"))
    assert not state.renew(now_ns)
    assert not SessionState(key, config, 5, 7).renew(now_ns)
    assert not state.renew(ns("2026-01-03T09:00:00"))
    # What is sent while nobody is connected is of the new session too.
    state = SessionState(key, config, 5, 7, as_of_ns=ns("2026-01-01T16:59:59"))
    send_or_store(state, Layout("8", (17,)), (b"E1",), now_ns)
    assert state.next_out == 2


def test_an_owner_that_records_resets_begins_new_sessions_itself() -> None:
    config = SessionConfig(schedule=DAILY, renews_when_away=False)
    state = SessionState(SessionKey("FIX.4.4", "GATE", "CLIENT"), config, 5, 7, as_of_ns=ns("2026-01-01T16:59:59"))
    now_ns = ns("2026-01-02T09:00:00")
    send_or_store(state, Layout("8", (17,)), (b"E1",), now_ns)
    assert (state.next_out, state.resets) == (8, 0)
    assert state.renew(now_ns)
    assert (state.next_out, state.resets) == (1, 1)


def test_an_initiator_keeps_to_the_schedule() -> None:
    config = SessionConfig(schedule=DAILY)
    state = SessionState(SessionKey("FIX.4.4", "GATE", "CLIENT"), config, 5, 7, as_of_ns=ns("2026-01-01T16:00:00"))
    night_ns, morning_ns = ns("2026-01-02T07:00:00"), ns("2026-01-02T08:00:00")
    with pytest.raises(LocalProtocolError, match="session time"):
        Session(lambda key: None, night_ns, role=INITIATOR).logon(state, night_ns)
    session = Session(lambda key: None, morning_ns, role=INITIATOR)
    session.logon(state, morning_ns)
    assert session.admin_moved
    assert b"\x0134=1\x01" in session.data_to_send()
