"""Throttles: how many messages pass, what the others are answered, what waits, and what may not be kept waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway import records
from gateway.clients.throttle import RELEASED_AT_ONCE, Window
from risk.order import RejectReason
from tests.gateway.rig import BTC, CONFIG, MS, SECOND, Desk, Rig, SmallDisk, accepted, opened, order_fields, shown

TEXT = "THROTTLED more than 3 messages in 1000 ms"


def config(answer: str = "reject", *, messages: int = 3, queue: int = 100, **more: Any) -> str:
    extra = "".join(f"{key} = {value}\n" for key, value in more.items())
    return CONFIG.replace(
        'accounts = ["alpha"]',
        f'accounts = ["alpha"]\nthrottle_messages = {messages}\nthrottle_answer = "{answer}"\n'
        f"throttle_queue = {queue}\n{extra}",
        1,
    )


@contextmanager
def throttled(directory: Path, *args: Any, files: SmallDisk | None = None, **more: Any) -> Iterator[tuple[Rig, Desk]]:
    with opened(directory, config=config(*args, **more), files=files) as rig:
        yield rig, rig.desk().log_on()


def pass_time(rig: Rig, ns: int) -> None:
    rig.now_ns += ns
    rig.core.market.mark_max_age_ns = rig.core.market.generation_max_age_ns = 10**12
    rig.core.controls.tick(rig.now_ns)
    rig.flush()


# -- counting --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 20), st.lists(st.integers(0, 8), max_size=60))
def test_a_window_admits_what_a_count_over_all_times_does(count: int, interval: int, gaps: list[int]) -> None:
    window, now, taken = Window(count, interval), 0, []
    for gap in gaps:
        now += gap
        fits = sum(1 for time in taken if now - time < interval) < count
        opens_at = window.opens_at_ns
        assert (opens_at <= now) is fits
        assert window.take(now) is fits
        if fits:
            taken.append(now)
    for start in range(now + 1):
        assert sum(1 for time in taken if start <= time < start + interval) <= count


def test_a_window_of_nothing_is_refused() -> None:
    for count, interval in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            Window(count, interval)


# -- refused ---------------------------------------------------------------------------------------------------------


def test_each_type_is_refused_in_its_own_words_and_the_limit_is_named(tmp_path: Path) -> None:
    with throttled(tmp_path) as (rig, desk):
        for number in range(3):
            assert desk.order(cl_ord_id=f"o{number}") == []
        (refused,) = desk.order(cl_ord_id="o3")
        assert shown([refused], 39, 150, 11, 20001, 20003, 103) == [("8", "8", "8", "o3", "405", "3.00", "3")]
        assert text(refused, 58).startswith("THROTTLED throttle: more than 3 messages in 1000 ms")
        (replace,) = desk.replace("o0", cl_ord_id="r")
        assert shown([replace], 434, 102, 11, 41, 58) == [("9", "2", "2", "r", "o0", TEXT)]
        (cancel,) = desk.cancel("nothing", cl_ord_id="c")
        assert shown([cancel], 434, 102, 37, 58) == [("9", "1", "2", "NONE", TEXT)]
        (status,) = desk.send("H", (11, "o0"), (54, 1), (55, BTC))
        assert shown([status], 372, 379, 380, 58) == [("j", "H", "o0", "0", TEXT)]
        assert len(rig.link.placed) == 3 and rig.monitor.rejects_by_code == {"THROTTLED": 1}
        assert rig.core.controls.snapshot()["throttled"] == {"ALPHA": 4}
        rig.check_replay()
        pass_time(rig, SECOND)
        assert desk.order(cl_ord_id="o3") == []  # a refused ClOrdID was not used
        rig.check_holds()


def test_sessions_have_throttles_of_their_own(tmp_path: Path) -> None:
    with throttled(tmp_path) as (rig, desk):
        beta = rig.desk("BETA").log_on()
        for _ in range(10):
            desk.order()
            beta.order(account="beta")
        assert Counter(approved.account.name for _, approved in rig.link.placed) == {"alpha": 3, "beta": 10}


def test_each_working_order_has_its_cancel_in_reserve_and_a_flood_of_others_is_throttled(tmp_path: Path) -> None:
    with throttled(tmp_path) as (rig, desk):
        for number in range(3):
            desk.order(cl_ord_id=f"o{number}")
        orders = list(rig.ledger.orders.values())
        rig.hear(*(accepted(order) for order in orders))
        desk.pump()
        answers = [desk.cancel(f"none-{number}")[0] for number in range(50)]
        assert {text(answer, 58) for answer in answers} == {TEXT}
        assert desk.cancel("o0") == [] and desk.cancel("o1") == []
        assert rig.link.cancelled == [order.order_id for order in orders[:2]]
        assert [text(answer, 58) for answer in desk.cancel("o0")] == [TEXT]  # it is being cancelled already
        assert rig.core.controls.throttles["ALPHA"].refused == 51
        rig.check_replay()


def test_others_are_not_held_up_by_a_flood(tmp_path: Path) -> None:
    """Fault 46 by counts: per flooded message one record and no check; the other session's answers come as ever."""
    with throttled(tmp_path) as (rig, desk):
        beta = rig.desk("BETA").log_on()
        for number in range(30):
            desk.fix.send("D", [(t, str(v)) for t, v in order_fields(f"f{number}")], rig.now_ns)
        flood = desk.fix.data_to_send()
        rig.log.clear()
        desk.link.receive(flood, rig.now_ns)
        assert Counter(kind for kind, _ in rig.log) == {"append": 30, "place": 3}
        assert len(rig.of_type(records.OrderRefused)) == 27
        for _ in range(10):
            assert beta.order(account="beta") == []
        assert len(rig.link.placed) == 13


# -- delayed ---------------------------------------------------------------------------------------------------------


def test_delayed_messages_go_in_order_when_there_are_tokens_again(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay") as (rig, desk):
        for number in range(8):
            assert desk.order(cl_ord_id=f"o{number}") == []
        assert len(rig.link.placed) == 3 and list(rig.core.reports.delayed) == ["ALPHA"]
        rig.check_replay()
        deadline_ns = rig.core.controls.deadline_ns
        assert deadline_ns == rig.now_ns + SECOND
        pass_time(rig, SECOND - 1)
        assert len(rig.link.placed) == 3
        pass_time(rig, 1)
        assert len(rig.link.placed) == 6
        desk.order(cl_ord_id="late")  # behind those that wait, although
        pass_time(rig, 2 * SECOND)
        assert [approved.order.cl_ord_id for _, approved in rig.link.placed] == [
            *(f"o{number}" for number in range(8)), "late",
        ]  # fmt: skip
        assert rig.core.reports.delayed == {} and rig.core.controls.deadline_ns is None
        assert rig.core.controls.snapshot()["delayed"] == {"ALPHA": 6}
        rig.check_replay()
        rig.check_holds()


def test_what_a_delayed_message_finds_is_the_market_when_it_goes(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay") as (rig, desk):
        for number in range(4):
            desk.order(cl_ord_id=f"o{number}")
        rig.core.market.live_venues.clear()
        pass_time(rig, SECOND)
        assert shown(desk.pump(), 11, 20001) == [("8", "o3", str(int(RejectReason.VENUE_NOT_READY)))]


def test_a_cancel_passes_other_orders_and_never_its_own(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay") as (rig, desk):
        for number in range(5):
            desk.order(cl_ord_id=f"o{number}")
        orders = list(rig.ledger.orders.values())
        rig.hear(*(accepted(order) for order in orders))
        desk.pump()
        desk.cancel("o0", cl_ord_id="c0")  # it works: at once
        assert rig.link.cancelled == [orders[0].order_id]
        desk.cancel("o4", cl_ord_id="c4")  # it waits itself: behind it
        assert rig.link.cancelled == [orders[0].order_id] and len(rig.core.reports.delayed["ALPHA"]) == 3
        pass_time(rig, SECOND)
        assert [approved.order.cl_ord_id for _, approved in rig.link.placed][3:] == ["o3", "o4"]
        assert [record.cl_ord_id for record in rig.of_type(records.CancelRequested)] == ["c0", "c4"]
        rig.check_replay()


def test_a_cancel_behind_its_order_goes_with_it_even_without_a_token(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay", messages=1) as (rig, desk):
        desk.order(cl_ord_id="o0")
        desk.order(cl_ord_id="o1")
        desk.cancel("o1")
        pass_time(rig, SECOND)
        (order,) = [order for order in rig.ledger.orders.values() if order.cl_ord_id == "o1"]
        assert order.is_cancel_pending and rig.core.reports.delayed == {}


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay", queue=2) as (rig, desk):
        told = [desk.order(cl_ord_id=f"o{number}") for number in range(7)]
        assert [len(messages) for messages in told] == [0, 0, 0, 0, 0, 1, 1]
        assert text(told[5][0], 20001) == "405"
        pass_time(rig, SECOND)
        assert len(rig.link.placed) == 5


def test_only_so_many_are_released_at_once(tmp_path: Path) -> None:
    count = RELEASED_AT_ONCE + 3
    with throttled(tmp_path, "delay", messages=count) as (rig, desk):
        rig.ledger.accounts["alpha"].limits.max_working_orders = 1_000
        for number in range(2 * count):
            desk.order(cl_ord_id=f"o{number}", price=100)  # refused outside of the collar, when its turn comes
        rig.log.clear()
        pass_time(rig, SECOND)
        assert Counter(rig.log)["append", "OrderRefused"] == RELEASED_AT_ONCE
        pass_time(rig, MS)
        assert rig.core.reports.delayed == {}


def test_questions_wait_too_and_are_answered(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay", messages=1) as (rig, desk):
        desk.order(cl_ord_id="o")
        assert desk.send("H", (11, "o"), (54, 1), (55, BTC)) == []
        assert desk.send("H", (11, "none"), (54, 1), (55, BTC)) == []
        pass_time(rig, SECOND)
        pass_time(rig, SECOND)
        assert shown(desk.pump(), 150, 39, 11) == [("8", "I", "A", "o"), ("8", "I", "8", "none")]
        rig.check_replay()


def test_what_waits_is_refused_when_its_client_leaves(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay") as (rig, desk):
        for number in range(6):
            desk.order(cl_ord_id=f"o{number}")
        desk.link.disconnected(rig.now_ns)
        refused = rig.of_type(records.OrderRefused)
        assert [record.cl_ord_id for record in refused] == [b"o3", b"o4", b"o5"]
        assert {record.text for record in refused} == {"delayed when the session ended"}
        pass_time(rig, 5 * SECOND)
        assert len(rig.link.placed) == 3 and rig.core.reports.delayed == {}
        rig.check_replay()


def test_what_waits_is_refused_after_a_restart(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay", cancel_on_disconnect="false") as (rig, desk):
        for number in range(6):
            desk.order(cl_ord_id=f"o{number}")
        again = rig.restart()
        assert list(again.core.reports.delayed["ALPHA"]) == [5, 6, 7]
        again.core.controls.start(again.now_ns)
        refused = again.of_type(records.OrderRefused)
        assert [record.text for record in refused] == ["delayed when the gateway was restarted"] * 3
        assert again.core.reports.delayed == {} and again.link.placed == []
        again.check_replay()
        again.journal.close()


def test_a_reset_within_the_session_refuses_what_waits_of_the_old_one(tmp_path: Path) -> None:
    with throttled(tmp_path, "delay") as (rig, desk):
        for number in range(5):
            desk.order(cl_ord_id=f"o{number}")
        desk.fix.next_in = desk.fix.next_out = 1
        told = desk.send("A", (98, 0), (108, 30), (141, "Y"))
        assert shown(told, 11, 20001) == [("8", "o3", "405"), ("8", "o4", "405")]
        state = rig.core.reports.sessions["ALPHA"]
        assert (state.next_in, rig.core.reports.delayed) == (2, {})
        pass_time(rig, SECOND)
        desk.order(cl_ord_id="new")
        assert [approved.order.cl_ord_id for _, approved in rig.link.placed][3:] == ["new"]
        rig.check_replay()


def test_a_message_that_can_not_be_written_as_delayed_is_told_so(tmp_path: Path) -> None:
    disk = SmallDisk()
    with throttled(tmp_path, "delay", files=disk, cancel_on_disconnect="false") as (rig, desk):
        beta = rig.desk("BETA").log_on()
        for number in range(4):
            desk.order(cl_ord_id=f"o{number}")
        disk.is_full = True
        for _ in range(5_000):
            if any(text(message, 35) == "j" for message in beta.order(account="beta", price=1)):
                break
        pass_time(rig, SECOND)  # new risk has no room in the journal
        assert shown(desk.pump(), 372, 380) == [("j", "D", "4")] and len(rig.link.placed) == 3
        assert rig.core.reports.delayed == {}
