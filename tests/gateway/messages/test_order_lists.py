"""Baskets: NewOrderList(E), its ListStatus(N), ListCancelRequest(K), ListStatusRequest(M); and NewOrderMultileg(AB)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simplefix
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.fix_conversation import text
from gateway import records
from gateway.journal import JournalFull
from gateway.messages.order_lists import MAX_LIST_ORDERS, finish_interrupted
from tests.gateway.rig import BTC, ETH, NOW_TEXT, SECOND, Desk, accepted, cancelled, filled, opened, shown

Fields = list[tuple[int, Any]]


def entry(number: int, **changes: Any) -> Fields:
    """One order of a list: a buy of 100 at 59 000; a change to None leaves the field out."""
    values = {11: f"l{number}", 67: number, 55: BTC, 54: 1, 38: 100, 40: 2, 44: 59_000, 59: 1}
    values |= {int(name[1:]): value for name, value in changes.items()}
    order = (11, 67, 1, 18, 55, 54, 38, 40, 44, 99, 59, 126)
    return [(tag, values[tag]) for tag in order if values.get(tag) is not None]


def send_list(
    desk: Desk, entries: list[Fields], list_id: str = "L", head: Fields | None = None, total: int | None = None
) -> list[simplefix.FixMessage]:
    count = len(entries) if total is None else total
    fields = [(66, list_id), *(head if head is not None else [(394, 3)]), (68, count), (73, len(entries))]
    return desk.send("E", *fields, *(pair for one in entries for pair in one))


def groups(message: simplefix.FixMessage) -> list[dict[str, str]]:
    """The entries of a ListStatus(N)."""
    found: list[dict[str, str]] = []
    for tag, value in message.pairs:
        if tag == b"11":
            found.append({})
        if found and tag != b"10":
            found[-1][tag.decode()] = value.decode()
    return found


def test_each_order_is_placed_and_the_status_tells_of_all(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        rig.log.clear()
        (status,) = send_list(desk, [entry(1), entry(2, _54=2, _44=61_000), entry(3, _55=ETH, _44=2_000)])
        assert shown([status], 66, 429, 431, 68, 82, 83, 73) == [("N", "L", "1", "3", "3", "1", "1", "3")]
        assert [(one["11"], one["39"], one["151"]) for one in groups(status)] == [
            ("l1", "A", "100"), ("l2", "A", "100"), ("l3", "A", "100")
        ]  # fmt: skip
        assert [name for what, name in rig.log if what == "append"] == [
            "ListReceived", *["OrderApprovedWithTerms"] * 3, "ListPlaced"
        ]  # fmt: skip
        assert len(rig.link.placed) == 3
        for order in rig.ledger.orders.values():
            rig.hear(accepted(order))
        assert shown(desk.pump(), 150, 66) == [("8", "0", "L")] * 3
        rig.check_holds()
        rig.check_replay()


def test_a_refused_order_does_not_stop_the_others(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        refusal, unknown, status = send_list(desk, [entry(1, _38=105), entry(2), entry(3, _55=None)])
        assert shown([refusal, unknown], 11, 150, 20001, 66, 55) == [
            ("8", "l1", "8", "301", "L", BTC), ("8", "l3", "8", "201", "L", "[N/A]")
        ]  # fmt: skip
        assert [(one["11"], one["39"]) for one in groups(status)] == [("l1", "8"), ("l2", "A"), ("l3", "8")]
        assert text(status, 431) == "3" and len(rig.link.placed) == 1
        rig.check_replay()


def test_margin_and_limits_count_those_before(tmp_path: Path) -> None:
    """The account may have 150 000 of position: the second of two large orders is refused for the first one's sake."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        big = {"_38": 100_000}
        refusal, status = send_list(desk, [entry(1, **big), entry(2, **big), entry(3, _38=10)])
        assert shown([refusal], 11, 20001) == [("8", "l2", "601")]
        assert [one["39"] for one in groups(status)] == ["A", "8", "A"]


def test_a_list_of_which_nothing_is_placed_is_rejected(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        *_, status = send_list(desk, [entry(1, _38=105), entry(2, _44=1)])
        assert text(status, 431) == "7"


def test_stops_and_ends_in_a_list(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        send_list(desk, [entry(1, _40=4, _44=61_500, _99=61_000), entry(2, _59=6, _126="20251010-08:53:20")])
        terms = [approved.order.terms for _, approved in rig.link.placed]
        assert [(t.stop_ticks, t.list_id, t.expire_ns > 0) for t in terms if t is not None] == [
            (122_000, "L", False), (0, "L", True)
        ]  # fmt: skip


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("bidding", {"head": [(394, 1)]}, "BidType(394) 1"),
    ("waits", {"head": [(394, 3), (433, 2)]}, "ListExecInstType(433) 2"),
    ("fragment", {"total": 3}, "TotNoOrders(68) 3 is not the 2 orders"),
    ("twice", {"entries": [entry(1), entry(2, _11="l1")]}, "ClOrdID(11) l1 is in the list more than once"),
    ("number twice", {"entries": [entry(1), entry(2, _67=1)]}, "ListSeqNo(67)"),
    ("long id", {"list_id": "x" * 65}, "ListID(66) longer than 64"),
    ("known id", {"list_id": "before"}, "ListID(66) before was used already"),
]


@pytest.mark.parametrize(("name", "changes", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_list_is_refused_as_a_whole(tmp_path: Path, name: str, changes: dict[str, Any], words: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        send_list(desk, [entry(9, _11="x")], "before")
        rig.log.clear()
        values = {"entries": [entry(1), entry(2)]} | changes
        (status,) = send_list(desk, **values)
        assert shown([status], 429, 431, 73) == [("N", "2", "7", "0")]
        assert words in text(status, 444)
        assert rig.log == [("append", "ListRefused")] and len(rig.link.placed) == 1
        rig.check_replay()


def test_a_list_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_LIST_ORDERS == 200
    monkeypatch.setattr("gateway.messages.order_lists.MAX_LIST_ORDERS", 2)
    with opened(tmp_path) as rig:
        (status,) = send_list(rig.desk().log_on(), [entry(number) for number in range(3)])
        assert "a list has 1 to 2" in text(status, 444)


def test_a_list_is_cancelled_and_asked_about(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        send_list(desk, [entry(1), entry(2), entry(3)])
        desk.order(cl_ord_id="not of the list")
        first, second, third, other = rig.ledger.orders.values()
        for order in (first, second, third, other):
            rig.hear(accepted(order))
        rig.hear(filled(first, 100), filled(second, 40, "t2"))
        desk.pump()
        (status,) = desk.send("M", (66, "L"))
        assert shown([status], 429, 431) == [("N", "2", "3")]
        assert [(one["39"], one["14"], one["151"], one["84"]) for one in groups(status)] == [
            ("2", "100", "0", "0"), ("1", "40", "60", "0"), ("0", "0", "100", "0"),
        ]  # fmt: skip
        assert groups(status)[0]["6"] == "59000.0"
        (status,) = desk.send("K", (66, "L"), (60, NOW_TEXT))
        assert text(status, 431) == "4"
        assert rig.link.cancelled == [second.order_id, third.order_id]
        rig.hear(cancelled(second, 40), cancelled(third))
        assert shown(desk.pump(), 11, 150, 66) == [("8", "l2", "4", "L"), ("8", "l3", "4", "L")]
        (status,) = desk.send("M", (66, "L"))
        assert text(status, 431) == "6"
        assert [one["84"] for one in groups(status)] == ["0", "60", "100"]
        rig.check_holds()
        rig.check_replay()


@pytest.mark.parametrize("msg_type", ["K", "M"])
def test_a_list_that_is_not_known(tmp_path: Path, msg_type: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        (refusal,) = desk.send(msg_type, (66, "?"), *([(60, NOW_TEXT)] if msg_type == "K" else []))
        assert shown([refusal], 372, 379, 380) == [("j", msg_type, "?", "1")]
        rig.check_replay()


def test_lists_are_each_clients_own(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        alpha, beta = rig.desk("ALPHA").log_on(), rig.desk("BETA").log_on()
        send_list(alpha, [entry(1)])
        (refusal,) = beta.send("M", (66, "L"))
        assert text(refusal, 380) == "1"
        (status,) = send_list(beta, [entry(1, _1="beta")])
        assert text(status, 431) == "3"


class Dying:
    """A journal that refuses from some append on."""

    def __init__(self, journal: Any, left: int) -> None:
        self.journal, self.left = journal, left

    def append(self, *arguments: Any) -> int:
        if self.left == 0:
            raise JournalFull("the disk is full")
        self.left -= 1
        number: int = self.journal.append(*arguments)
        return number


@pytest.mark.parametrize("left", range(1, 5))
def test_a_list_that_was_interrupted_is_ended_not_resumed(tmp_path: Path, left: int) -> None:
    """By a full journal, and by the crash that follows: what was not decided then is refused, once."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        journal = rig.pipeline.journal
        rig.pipeline.journal = Dying(journal, left)  # type: ignore[assignment]
        *_, answer = send_list(desk, [entry(1), entry(2, _38=105), entry(3)])
        assert shown([answer], 372, 380) == [("j", "E", "4")]
        placed = len(rig.link.placed)
        rig.pipeline.journal = journal
        again = rig.restart(now_ns=rig.now_ns + SECOND)
        listed = again.ledger.lists["ALPHA", "L"]
        assert listed.is_placed and len(listed.order_ids) == placed
        assert len(listed.order_ids) + len(listed.refused) == 3
        interrupted = [r for r in again.of_type(records.ListOrderRefused) if r.reason == 806]
        assert [r.cl_ord_id for r in interrupted] == [b"l1", b"l2", b"l3"][left - 1 :]
        assert again.link.placed == [] and again.core.deadline_ns is None
        assert finish_interrupted(again.pipeline, again.now_ns) == 0
        again.check_replay()
        again.journal.close()


def test_a_running_gateway_ends_an_interrupted_list_when_it_can_write_again(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        journal = rig.pipeline.journal
        rig.pipeline.journal = Dying(journal, 2)  # type: ignore[assignment]
        send_list(desk, [entry(1), entry(2)])
        due = rig.core.deadline_ns
        assert due is not None and due <= rig.now_ns
        rig.core.tick(rig.now_ns)
        assert rig.core.deadline_ns == rig.now_ns + SECOND
        rig.pipeline.journal = journal
        rig.core.tick(rig.now_ns + SECOND)
        rig.flush()
        assert shown(desk.pump(), 11, 20001, 431) == [("8", "l2", "806", ""), ("N", "l1", "", "3")]
        assert rig.core.deadline_ns is None
        rig.check_replay()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(1, 90), st.booleans()), min_size=1, max_size=8))
def test_a_list_decides_as_its_orders_one_by_one_would(
    tmp_path_factory: pytest.TempPathFactory, orders: list[tuple[int, int, bool]]
) -> None:
    """A basket has no power and no handicap: the same orders sent singly give the same verdicts and the same hold."""
    outcomes = []
    for is_list in (True, False):
        with opened(tmp_path_factory.mktemp("list")) as rig:
            desk = rig.desk().log_on()
            entries = [
                entry(number, _54=side, _38=1_000 * size, _44=59_500 if side == 1 else 60_500, _18="E" if red else None)
                for number, (side, size, red) in enumerate(orders)
            ]
            if is_list:
                told = [m for m in send_list(desk, entries) if text(m, 35) == "8"]
            else:
                told = []
                for one in entries:
                    told += desk.send("D", *(pair for pair in one if pair[0] != 67), (60, NOW_TEXT))
            exposure = rig.ledger.accounts["alpha"].exposure
            held = [order.held for order in exposure.orders.values()]
            outcomes.append((shown(told, 11, 20001), held, exposure.buy_lots, exposure.sell_lots))
            rig.check_holds()
    assert outcomes[0] == outcomes[1]


# -- multileg ----------------------------------------------------------------------------------------------------------


def test_a_multileg_order_is_refused_and_says_why(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        legs: Fields = [(555, 2), (600, BTC), (623, 1), (624, 1), (600, ETH), (623, 1), (624, 2)]
        fields = [(11, "m"), (54, 1), (55, BTC), *legs, (60, NOW_TEXT), (38, 100), (40, 2), (44, 100)]
        (report,) = desk.send("AB", *fields)
        assert shown([report], 11, 150, 39, 103, 20001) == [("8", "m", "8", "8", "11", "805")]
        assert "NewOrderList(E)" in text(report, 58)
        assert rig.link.placed == [] and rig.monitor.rejects_by_code == {"MULTILEG_NOT_SUPPORTED": 1}
        rig.check_replay()


def test_an_order_book_of_lists_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.messages.order_lists.LISTS_KEPT", 2)
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for number in range(4):
            send_list(desk, [entry(number)], f"L{number}")
        assert list(rig.ledger.lists) == [("ALPHA", "L2"), ("ALPHA", "L3")]
