"""Faults 11 to 20 of a FIX client, by their number: numbers, resends, duplicates, and clients that are gone or do not
read.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.fix_server import FixConnection, FixServer
from protocols.fix.session import Limits
from risk.order import RejectReason
from tests.gateway.rig import SECOND, Desk, Rig, accepted, cancelled, opened, shown
from tests.gateway.test_faults_fix import ORDER, answers, deliver, raw


def placed(rig: Rig) -> list[str]:
    """ClOrdIDs that reached the venue, in order."""
    return [approved.order.cl_ord_id for _, approved in rig.link.placed]


def numbers(rig: Rig) -> tuple[int, int]:
    state = rig.core.reports.sessions["ALPHA"]
    return state.next_in, state.next_out


def order(desk: Desk, cl_ord_id: str, number: int, extra: str = "") -> bytes:
    return raw(desk, f"35=D|{extra}{ORDER.format(cl_ord_id)}", number)


def test_fault_11_a_second_logon_on_a_live_comp_id(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        first = rig.desk().log_on()
        first.order(cl_ord_id="o")
        before = numbers(rig)
        for text in ("35=A|98=0|108=30", "35=A|98=0|108=30|141=Y"):
            second = Desk(rig, "ALPHA")
            assert deliver(second, raw(second, text, 1)) == b"" and second.link.session.is_closed
            second.link.disconnected(rig.now_ns)
        assert numbers(rig) == before and rig.link.cancelled == []
        rig.hear(accepted(rig.only_order()))
        assert shown(first.pump(), 39) == [("8", "0")]


def test_fault_12_a_number_too_high_is_asked_for_once_and_orders_go_in_order(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        first = desk.fix.next_out
        told = answers(deliver(desk, order(desk, "d", first + 3) + order(desk, "c", first + 2)), 7, 16)
        assert told == [("2", str(first), "0")] and placed(rig) == []
        deliver(desk, order(desk, "a", first, "43=Y|122=@-1|"))
        assert placed(rig) == ["a"]
        deliver(desk, order(desk, "b", first + 1, "43=Y|122=@-1|"))
        assert placed(rig) == ["a", "b", "c", "d"] and numbers(rig)[0] == first + 4
        rig.check_replay()


def test_fault_13_a_number_too_low_logs_out_and_applies_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        deliver(desk, order(desk, "a", desk.fix.next_out), 1)
        next_in = numbers(rig)[0]
        told = answers(deliver(desk, order(desk, "b", 1)), 58)
        assert told == [("5", f"MsgSeqNum too low, expecting {next_in} but received 1")]
        assert desk.link.session.is_closed and placed(rig) == ["a"] and numbers(rig)[0] == next_in
        rig.check_replay()


def test_fault_14_a_possible_duplicate_seen_and_not_seen(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        first = desk.fix.next_out
        deliver(desk, order(desk, "a", first))
        for _ in range(2):
            assert deliver(desk, order(desk, "a", first, "43=Y|122=@-1|")) == b""
        assert placed(rig) == ["a"] and numbers(rig)[0] == first + 1
        deliver(desk, order(desk, "b", first + 1, "43=Y|122=@-1|"))
        deliver(desk, order(desk, "b", first + 1, "43=Y|122=@-1|"))
        assert placed(rig) == ["a", "b"] and numbers(rig)[0] == first + 2
        rig.check_replay()


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_fault_15_a_line_that_drops_while_a_request_is_out(tmp_path: Path, side: str) -> None:
    """Whoever asked asks again after the Logon, from where it stands; nothing is lost and nothing doubled."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        first = desk.fix.next_out
        if side == "ours":
            assert answers(deliver(desk, order(desk, "b", first + 1)))[0] == ("2",)
        else:
            for number in range(3):
                desk.order(symbol="DOGE", cl_ord_id=f"r{number}")
            assert len(desk.fix.inbox) == 0
        desk.link.disconnected(rig.now_ns)
        again = rig.desk()
        if side == "ours":
            told = answers(deliver(again, raw(again, "35=A|98=0|108=30", first + 2)), 7)
            assert told == [("A", ""), ("2", str(first))]
            deliver(again, order(again, "a", first, "43=Y|122=@-1|") + order(again, "b", first + 1, "43=Y|122=@-1|"))
            assert placed(rig) == ["a", "b"] and numbers(rig)[0] == first + 3
            return
        next_in, next_out = numbers(rig)
        deliver(again, raw(again, "35=A|98=0|108=30", next_in))
        asked = raw(again, "35=2|7=2|16=0", next_in + 1)
        again.link.receive(asked, rig.now_ns)
        again.link.disconnected(rig.now_ns)  # before a byte of the resend has left
        third = rig.desk()
        deliver(third, raw(third, "35=A|98=0|108=30", next_in + 2))
        told = answers(deliver(third, raw(third, "35=2|7=2|16=0", next_in + 3)), 34, 43, 11, 36)
        reports = [("8", str(2 + number), "Y", f"r{number}", "") for number in range(3)]
        assert told == [*reports, ("4", "5", "Y", "", str(numbers(rig)[1]))] and next_out == 5


def test_fault_16_a_resend_over_administrative_messages_and_past_the_end(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for step in ("35=1|112=a", "35=1|112=b", "D", "35=1|112=c", "D", "35=1|112=d"):
            if step == "D":
                deliver(desk, raw(desk, "35=D|" + ORDER.format("x").replace("BTC-PERPETUAL", "DOGE")), 1)
            else:
                deliver(desk, raw(desk, step), 1)
        # 1 Logon, 2 and 3 Heartbeats, 4 report, 5 Heartbeat, 6 report, 7 Heartbeat
        whole = [
            ("4", "1", "4", "Y"),
            ("8", "4", "", ""),
            ("4", "5", "6", "Y"),
            ("8", "6", "", ""),
            ("4", "7", "8", "Y"),
        ]
        for end in ("0", "7", "8", "999999"):
            told = answers(deliver(desk, raw(desk, f"35=2|7=1|16={end}"), 1), 34, 36, 123)
            assert told == whole, end
        assert answers(deliver(desk, raw(desk, "35=2|7=2|16=3"), 1), 34, 36) == [("4", "2", "4")]
        assert answers(deliver(desk, raw(desk, "35=2|7=5|16=6"), 1), 34, 36) == [("4", "5", "6"), ("8", "6", "")]
        assert numbers(rig)[1] == 8


@pytest.mark.parametrize("fill", ["", "123=Y|"])
def test_fault_17_a_sequence_reset_backwards_is_rejected(tmp_path: Path, fill: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for number in range(4):
            deliver(desk, order(desk, f"o{number}", desk.fix.next_out), 1)
        next_in = numbers(rig)[0]
        told = answers(deliver(desk, raw(desk, f"35=4|{fill}36=2", next_in)), 373)
        assert told == [("3", "5")] and numbers(rig)[0] == next_in
        deliver(desk, order(desk, "next", next_in))
        assert placed(rig) == ["o0", "o1", "o2", "o3", "next"]


def test_fault_18_a_duplicate_cl_ord_id_is_refused_for_a_day(tmp_path: Path) -> None:
    """In the session, from another account of the client, after a restart; a day later it is free again."""
    refused = [("8", "8", str(int(RejectReason.DUPLICATE_CL_ORD_ID)))]
    rig = Rig(tmp_path)
    beta = rig.desk("BETA").log_on()
    beta.order(account="beta", cl_ord_id="same")
    assert shown(beta.order(account="beta", cl_ord_id="same"), 39, 20001) == refused
    rig.hear(cancelled(rig.only_order()))  # one that works has its names for longer
    beta.pump()
    assert shown(beta.order(account="gamma", cl_ord_id="same"), 39, 20001) == refused
    alpha = rig.desk().log_on()
    assert shown(alpha.order(cl_ord_id="same"), 39) == []  # another client's id is nobody else's business
    for hours, expected in ((23, refused), (25, [])):
        rig = rig.restart(now_ns=rig.now_ns + hours * 3600 * SECOND)
        beta = rig.desk("BETA").log_on()
        assert shown(beta.order(account="beta", cl_ord_id="same"), 39, 20001) == expected, hours
    rig.journal.close()


def test_fault_19_a_client_vanishes_with_live_orders(tmp_path: Path) -> None:
    """Found out by its silence: each order is cancelled, once, and what the venue confirms is no longer held."""
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        for price in (59_000, 59_100, 59_200):
            desk.order(price=price)
        orders = list(rig.ledger.orders.values())
        rig.hear(*[accepted(order) for order in orders])
        desk.fix.data_to_send()
        for _ in range(10):  # it answers no TestRequest
            rig.now_ns = max(rig.now_ns, desk.link.session.deadline_ns or rig.now_ns)
            desk.link.tick(rig.now_ns)
            if desk.link.session.is_closed:
                break
        assert desk.link.session.is_closed and sorted(rig.link.cancelled) == sorted(o.order_id for o in orders)
        desk.link.disconnected(rig.now_ns)
        assert len(rig.link.cancelled) == 3
        rig.hear(*[cancelled(order) for order in orders])
        assert not list(rig.ledger.working_orders())
        rig.check_holds()
        rig.check_replay()


class StuckTransport(asyncio.Transport):
    """A socket whose other end does not read: all that is written waits."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.waiting = bytearray()
        self.largest = 0
        self.is_over = False

    def write(self, data: Any) -> None:
        self.waiting += data
        self.largest = max(self.largest, len(self.waiting))

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        self.is_over = True

    def abort(self) -> None:
        self.is_over = True


def test_fault_20_a_client_that_stops_reading(tmp_path: Path) -> None:
    """A mebibyte waits for it, then it is given up; another client is served, and its reports are kept for a resend."""

    async def scenario(rig: Rig) -> None:
        rules = {"ALPHA": False, "BETA": False}
        server = FixServer(
            rig.pipeline, max_connections=8, max_write_buffer_bytes=1 << 20, limits=Limits(),
            cancels_on_disconnect=rules.__getitem__,
        )  # fmt: skip
        connection, transport = FixConnection(server), StuckTransport()
        connection.connection_made(transport)
        desk = rig.desk()
        desk.rig.now_ns = connection._session._now_ns
        connection.data_received(raw(desk, "35=A|98=0|108=30", 1))
        number = 2
        while not transport.is_over:
            refused = ORDER.format(f"o{number}").replace("BTC-PERPETUAL", "DOGE")
            connection.data_received(raw(desk, "35=D|" + refused, number))
            number += 1
            assert number < 20_000
        assert (1 << 20) <= transport.largest < (1 << 20) + 2_000
        assert "does not read" in " ".join(rig.monitor.alerts)
        state = rig.core.reports.sessions["ALPHA"]
        kept = [state.sent.get(n) for n in range(2, state.next_out)]
        reports = [message for message in kept if message is not None]
        assert len(reports) >= number - 3
        connection.connection_lost(None)
        again = rig.desk(conversation=None)
        deliver(again, raw(again, "35=A|98=0|108=30", state.next_in))
        told = answers(deliver(again, raw(again, "35=2|7=2|16=0", state.next_in)), 43)
        assert told.count(("8", "Y")) == len(reports)

    with opened(tmp_path, segment_bytes=1 << 22) as rig:
        rig.desk("BETA").log_on()
        asyncio.run(scenario(rig))
        assert rig.desks[0].link.session.is_logged_on
