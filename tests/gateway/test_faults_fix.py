"""Faults 1 to 10 of a FIX client, by their number: bytes that no client should send, and what stands against them."""

from __future__ import annotations

import random
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from gateway.clients.link import ClientLink
from protocols.fix.codec import decode
from protocols.fix.session import Limits, Session, SessionState
from risk.order import RejectReason
from tests.gateway.clients.test_authentication import Gate, methods
from tests.gateway.rig import BTC, SECOND, START_NS, Desk, Rig, accepted, opened, shown
from tests.protocols.fix.conversation import peer_message
from tests.protocols.fix.test_session import KEY, events_of, logged_on

ORDER = "11={}|38=100|40=2|44=59000|54=1|55=BTC-PERPETUAL|59=1|60=20251009-08:53:20.000"
LINK = Limits()


def raw(desk: Desk, text: str, number: int | None = None) -> bytes:
    """A message of a desk's client, every byte as it is given."""
    seq = desk.fix.next_out if number is None else number
    msg_type, _, body = text.partition("|")
    return peer_message(f"{msg_type}|34={seq}|{body}", desk.rig.now_ns, desk.comp_id, "MARGINGATE")


def deliver(desk: Desk, data: bytes, counts: int = 0) -> bytes:
    """Hand bytes to the gateway; return what came back. `counts`: of how many messages the client goes on."""
    desk.received = b""
    desk.link.receive(data, desk.rig.now_ns)
    desk.rig.flush()
    desk.fetch()
    desk.fix.inbox.clear()
    desk.fix.next_out += counts
    return desk.received


def answers(data: bytes, *tags: int) -> list[tuple[str, ...]]:
    """MsgType and fields of each message."""
    found = []
    for part in data.split(b"8=FIX.4.4\x01")[1:]:
        message = decode(b"8=FIX.4.4\x01" + part)
        found.append(tuple((message.get(tag) or b"").decode() for tag in (35, *tags)))
    return found


def test_fault_01_bytes_split_anywhere_or_coalesced_are_the_same_messages() -> None:
    texts = ["35=1|34=2|112=a", "35=D|34=3|11=x|55=X|54=1|60=@0|40=1|38=1", "35=D|34=4|11=y|55=X|54=1|60=@0|40=1|38=1"]
    data = b"".join([peer_message(text, START_NS) for text in ["35=A|34=1|98=0|108=30", *texts]])
    told = set()
    choice = random.Random(1)
    cuts = [[at] for at in range(len(data))] + [sorted(choice.sample(range(len(data)), 40)) for _ in range(100)]
    for places in cuts:
        state = SessionState(KEY)
        session = Session({KEY: state}.get, START_NS)
        events, sent = [], b""
        for begin, end in zip([0, *places], [*places, len(data)], strict=True):
            session.receive_data(data[begin:end], START_NS)
            events += [type(event).__name__ for event in events_of(session)]
            sent += session.data_to_send()
        told.add((tuple(events), sent, state.next_in, state.next_out))
    assert len(told) == 1 and told.pop()[0] == ("LoggedOn", "MessageReceived", "MessageReceived")


def test_fault_02_a_wrong_checksum_is_ignored_counted_and_moves_no_number(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        state = rig.core.reports.sessions["ALPHA"]
        before = (state.next_in, state.next_out)
        order = raw(desk, "35=D|" + ORDER.format("a"))
        for wrong in (b"000", b"12", b"1234", b"+12", b"abc"):
            sum_at = order.rindex(b"10=") + 3
            assert deliver(desk, order[:sum_at] + wrong + b"\x01") == b"" or wrong == order[sum_at:-1]
        assert (state.next_in, state.next_out) == before and rig.link.placed == []
        assert desk.link.session.garbled_count == 5
        assert answers(deliver(desk, order, 1)) == [] and len(rig.link.placed) == 1


@pytest.mark.parametrize("length", ["1", "5", "9999", "8000", "999999999", "1000000000", "-5", "+5", "1e3", "", "0x10"])
def test_fault_03_a_wrong_huge_or_negative_length_is_garbled_or_cut_in_no_time(length: str) -> None:
    inner = b"35=D\x0134=2\x0149=CLIENT\x0152=20260101-00:00:00.000\x0156=GATE\x01" + b"58=" + b"x" * 7000 + b"\x01"
    data = b"8=FIX.4.4\x019=%b\x01%b10=000\x01" % (length.encode(), inner)
    least = 10**9
    for _ in range(5):
        session, state = logged_on()
        began = time.process_time_ns()
        session.receive_data(data, START_NS)
        session.next_event()
        least = min(least, time.process_time_ns() - began)
        assert state.next_in == 2
        assert session.is_closed or session.garbled_count or session._framer.buffered_bytes == len(data)
    assert least < 20_000_000, "what is done again for each byte takes ten times as long"


TAG_FAULTS = [("1_0=x", "0"), (" 35=x", "0"), ("+8=x", "0"), ("\u0663\u0665=x", "0"), ("11=again", "13"), ("-1=x", "0")]


@pytest.mark.parametrize(("field", "reason"), TAG_FAULTS)
def test_fault_04_strange_tags_are_rejected_with_a_reason(tmp_path: Path, field: str, reason: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        number = str(desk.fix.next_out)
        told = answers(deliver(desk, raw(desk, f"35=D|{ORDER.format('a')}|{field}"), 1), 45, 373)
        assert told == [("3", number, reason)] and rig.link.placed == []
        assert shown(desk.order(), 39) == [] and len(rig.link.placed) == 1, "the session lives, the number was counted"


@pytest.mark.parametrize("is_logged_on", [False, True])
def test_fault_05_a_hundred_megabytes_without_a_separator(tmp_path: Path, is_logged_on: bool) -> None:
    """Cut at 64 KiB with hardly any memory; another client is answered the same meanwhile."""
    with opened(tmp_path) as rig:
        other = rig.desk("BETA").log_on()
        desk = rig.desk()
        if is_logged_on:
            desk.log_on()
        chunk = b"8=FIX.4.4\x019=" + b"x" * (1 << 14)
        fed = cut_after = 0
        tracemalloc.start()
        try:
            while fed < 100_000_000:
                desk.link.receive(chunk, rig.now_ns)
                fed += len(chunk)
                if desk.link.session.is_closed and not cut_after:
                    cut_after = fed
                    assert shown(other.order(account="beta"), 39) == []
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 0 < cut_after <= (1 << 16) + 2 * len(chunk)
        assert peak < 1_000_000
        assert len(rig.link.placed) == 1 and other.link.session.is_logged_on


def test_fault_06_five_hundred_connections_at_a_byte_a_second(tmp_path: Path) -> None:
    """Each is dropped at ten seconds, whatever it drips; a client logs on among them as if they were not there."""
    with opened(tmp_path) as rig:
        alone = rig.desk("BETA")
        alone.log_on()
        words = len(alone.received)
        states = {state.key: state for state in rig.core.reports.sessions.values()}
        tracemalloc.start()
        try:
            links = [ClientLink(states, rig.pipeline, rig.now_ns, LINK, lambda name: None) for _ in range(500)]
            logon = raw(rig.desk(), "35=A|98=0|108=30")
            for second in range(10):
                assert not any(link.session.is_closed for link in links)
                for link in links:
                    link.receive(logon[second : second + 1], rig.now_ns)
                    assert link.session.deadline_ns == START_NS + 10 * SECOND
                rig.now_ns += SECOND
                if second == 8:
                    desk = rig.desk().log_on(resets=False)
                    assert len(desk.received) <= words
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for link in links:
            link.tick(rig.now_ns)
        assert all(link.session.is_closed and link.session.data_to_send() == b"" for link in links)
        assert desk.link.session.is_logged_on and peak < 500 * 8_192


NUMBERS = ["NaN", "nan", "inf", "-inf", "1e400", "1E5", "0x10", "1,5", "+5", "1.2.3", "5" * 40, "0." + "0" * 40, "."]


@pytest.mark.parametrize("tag", ["38", "44"])
@pytest.mark.parametrize("number", NUMBERS)
def test_fault_07_what_is_no_number_is_rejected_with_a_code(tmp_path: Path, tag: str, number: str) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        fields = {"38": "100", "44": "59000"} | {tag: number}
        text = f"35=D|11=a|38={fields['38']}|40=2|44={fields['44']}|54=1|55={BTC}|59=1|60=20251009-08:53:20.000"
        assert answers(deliver(desk, raw(desk, text), 1), 371, 373) == [("3", tag, "6")]
        assert rig.link.placed == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": "-0"}, RejectReason.QUANTITY_NOT_IN_LOTS),
        ({"quantity": "0"}, RejectReason.QUANTITY_NOT_IN_LOTS),
        ({"quantity": "-100"}, RejectReason.QUANTITY_NOT_IN_LOTS),
        ({"quantity": "105"}, RejectReason.QUANTITY_NOT_IN_LOTS),
        ({"quantity": "100.0000000001"}, RejectReason.QUANTITY_NOT_IN_LOTS),
        ({"quantity": "9" * 18}, RejectReason.QUANTITY_NOT_IN_LOTS),
        ({"price": "-0"}, RejectReason.PRICE_NOT_IN_TICKS),
        ({"price": "-59000"}, RejectReason.PRICE_NOT_IN_TICKS),
        ({"price": "59000.25"}, RejectReason.PRICE_NOT_IN_TICKS),
        ({"price": "0.0000000000000001"}, RejectReason.PRICE_NOT_IN_TICKS),
    ],
)
def test_fault_07_off_tick_or_lot_is_refused_and_nothing_rounded(
    tmp_path: Path, changes: dict[str, Any], code: RejectReason
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        assert shown(desk.order(**changes), 39, 20001) == [("8", "8", str(int(code)))]
        assert rig.link.placed == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"account": "nobody"}, RejectReason.UNKNOWN_ACCOUNT),
        ({"account": "beta"}, RejectReason.UNKNOWN_ACCOUNT),  # another client's
        ({"symbol": "DOGE-PERPETUAL"}, RejectReason.UNKNOWN_INSTRUMENT),
        ({"symbol": "btc-perpetual"}, RejectReason.UNKNOWN_INSTRUMENT),
        ({"currency": "XXX"}, RejectReason.UNKNOWN_CURRENCY),
        ({"currency": "BTC"}, RejectReason.UNKNOWN_CURRENCY),  # a currency, and not the price's
    ],
)
def test_fault_08_what_is_unknown_is_refused_as_unknown(
    tmp_path: Path, changes: dict[str, Any], code: RejectReason
) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        (report,) = desk.order(**changes)
        assert shown([report], 39, 20001) == [("8", "8", str(int(code)))] and "UNKNOWN" in str(report)
        assert rig.link.placed == []


def test_fault_09_an_exception_inside_a_check_refuses_alerts_and_harms_nobody(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        desk = rig.desk().log_on()
        marks = list(rig.core.market.marks)
        rig.core.market.marks.clear()
        assert shown(desk.order(), 39, 20001) == [("8", "8", str(int(RejectReason.CHECK_ERROR)))]
        assert rig.link.placed == [] and rig.monitor.alerts
        rig.core.market.marks.extend(marks)
        desk.order()
        rig.hear(accepted(rig.only_order()))
        assert shown(desk.pump(), 39) == [("8", "0")] and desk.link.session.is_logged_on


@pytest.mark.parametrize("method", methods())
def test_fault_10_why_a_logon_fails_is_not_disclosed(tmp_path: Path, method: str) -> None:
    """Whatever is wrong with credentials or clock: the same bytes. test_authentication.py has each fault by itself."""
    judge, good, bad = methods()[method]
    heard = set()
    with opened(tmp_path) as rig:
        for credentials in (*bad.values(), lambda now_ns: good(now_ns - 10 * SECOND), lambda now_ns: ()):
            rig.now_ns += 1000 * SECOND  # no origin is paused for what was before
            gate = Gate(rig, judge)
            client = gate.tried(credentials(rig.now_ns))
            if not client.is_in:  # a password has no time
                heard.add(re.sub(rb"\x0134=[0-9]+", b"", client.received()))
            client.link.disconnected(rig.now_ns)
    assert heard == {b"8=FIX.4.4\x0135=5\x0149=MARGINGATE\x0156=ALPHA\x0158=Logon refused\x01"}


def test_rigs_start_the_same(tmp_path: Path) -> None:
    """The desks of this file speak raw FIX: their numbers stay in step with the gateway's."""
    with opened(tmp_path) as rig:
        desk: Desk = rig.desk().log_on()
        deliver(desk, raw(desk, "35=0|"), 1)
        assert isinstance(rig, Rig) and rig.core.reports.sessions["ALPHA"].next_in == desk.fix.next_out
