"""Faults 28 to 33 on venues of several lanes: silence, storms, books, prices and frames. The others: ..._orders.py."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from websockets.utils import accept_key

from gateway.venues.client import VenueClient
from gateway.venues.kinds import KINDS
from gateway.venues.status import state_of
from protocols.venues.rate_limit import Window
from protocols.websocket import WebSocketClient
from tests.gateway.lane_rig import (
    BINANCE,
    CASES,
    FLAT,
    MS,
    T0_MS,
    T0_NS,
    S,
    book_frames,
    mark_frames,
    venue,
    venues,
)
from tests.gateway.rig import shown
from tests.protocols.venues import fake_binance, fake_bybit, fake_okx
from tests.protocols.venues.cases import Case

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


# -- 28: a socket that is open but silent ----------------------------------------------------------------------------


@each
def test_28_no_marks_means_no_new_risk_and_the_reason_is_told(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.rig.now_ns += 3 * S
        one.value()
        (told,) = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert shown([told], 150, 20001) == [("8", "8", "503")]
        assert state_of(one.link, one.rig.core.market, one.rig.ledger, one.rig.now_ns) == "stale"
        one.mark()
        one.value()
        assert one.order(desk)


@each
def test_28_a_feed_that_is_dead_behind_open_sockets_is_dialled_again(tmp_path: Path, case: Case) -> None:
    """The lanes of the market answer pings, and no mark comes: they are closed, the account's lanes are not."""
    with venue(tmp_path, case, feed_timeout_ns=30 * S) as one:
        for _ in range(6):
            one.pass_time(5 * S)
        assert set(one.obey()) == set(one.link.session.lanes) - case.vital
        assert one.is_live and any("no mark of any instrument for 30 s" in text for text in one.rig.monitor.alerts)
        one.connect()
        one.mark()
        one.pass_time(5 * S)
        assert one.obey() == []


@each
def test_28_a_lane_of_the_account_that_is_silent_is_left_and_reconciled(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        one.peer.answers |= dict.fromkeys(("session.status", "LIST_SUBSCRIPTIONS", "ping"))
        closed: list[str] = []
        for _ in range(60):
            one.pass_time(S)
            closed = [lane for lane in one.obey() if lane in case.vital]
            if closed:
                break
            assert one.is_live
        assert closed and not one.is_live
        one.connect()
        assert one.is_live


@each
def test_28_age_is_of_the_instrument_and_counts_from_when_the_mark_was_so(tmp_path: Path, case: Case) -> None:
    """A mark that the venue sends late is as old as it is: its arrival makes nothing fresh."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.rig.now_ns += 10 * S
        one.mark(late_ms=3_000)
        one.value()
        (told,) = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert shown([told], 150, 20001) == [("8", "8", "503")]
        mark = one.rig.core.market.marks[0]
        assert mark is not None and one.rig.now_ns - mark.time_ns == 3 * S


# -- 29: a reconnect storm -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_29_pauses_are_jittered_grow_and_stay_inside_the_venues_limit(tmp_path: Path, kind: str) -> None:
    """A virtual hour of a venue that hangs up at once: never more attempts in any stretch than its own limit."""
    case = next(case for case in CASES if kind.startswith(case.name))
    allowed = {"binance": (300, 300 * S), "okx": (3, S), "bybit": (500, 300 * S)}[case.name]
    dials = Window(KINDS[kind].dials, KINDS[kind].dial_window_ms * MS)
    with venue(tmp_path, case, connects=False) as one:
        for jitter in (0.0, 0.5, 1.0):
            client = VenueClient(
                lambda _: one.link,
                url_of=lambda lane, path: "",
                reconnect_min_s=0.05,
                reconnect_max_s=30.0,
                flush_all=lambda: None,
                jitter=lambda jitter=jitter: jitter,
            )
            pauses = [client.pause_s(attempts) for attempts in range(20)]
            assert pauses == sorted(pauses) and pauses[0] >= 0.05 and pauses[-1] <= 30.0
        now, made = T0_NS, []
        due = dict.fromkeys(one.link.session.lanes, T0_NS)  # each lane is refused at once and comes back in 50 ms
        while now < T0_NS + 3_600 * S and len(made) < 3_000:
            lane = min(due, key=lambda name: due[name])
            now = max(now, due[lane])
            now = dials.available_at_ns(1, now)
            assert dials.take(1, now)
            made.append(now)
            due[lane] = now + 50 * MS
        count, window_ns = allowed
        for first, last in zip(made, made[count:], strict=False):
            assert last - first >= window_ns


# -- 30: books that can not be right ---------------------------------------------------------------------------------


@each
def test_30_a_gap_a_cross_and_a_book_of_the_future_are_resynchronised(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        snapshot = {"lastUpdateId": 9, "E": 1, "T": T0_MS, "bids": [["49990", "2"]], "asks": [["50010", "2"]]}
        one.peer.answers["GET /fapi/v1/depth"] = lambda _: snapshot

        def tell(number: int, bid: str = "49999.0", ask: str = "50001.0", is_snapshot: bool = False) -> bool:
            for lane, frame in book_frames(case, number, bid, ask, is_snapshot=is_snapshot):
                one.receive(lane, frame)
            return one.link.book(one.symbol).is_usable

        def restore(number: int) -> None:
            """The snapshot that is asked for comes, and the change that follows it."""
            snapshot["lastUpdateId"] = number - 1
            one.pass_time(11 * S)
            if case is BINANCE:
                tell(number)
                one.pass_time(2 * S)
            assert tell(number, is_snapshot=True) or one.link.book(one.symbol).is_usable

        assert tell(10, is_snapshot=True)
        assert not tell(12), "a gap"
        restore(20)
        assert not tell(21, bid="50005.0", ask="50002.0"), "crossed"
        restore(30)
        ahead = 3_600_000 + one.rig.now_ns // MS
        for lane, frame in book_frames(case, 31, "49999.0", "50001.0", is_snapshot=False):
            text = orjson.dumps(frame).replace(b"%d" % T0_MS, b"%d" % ahead)
            one.receive(lane, text)
        assert not one.link.book(one.symbol).is_usable, "of the future"
        restore(40)


@each
def test_30_a_mark_of_the_future_or_older_than_the_last_is_not_used(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        mark = one.rig.core.market.marks[0]
        one.mark(60_000.0, late_ms=-3_600_000)
        one.mark(60_000.0, late_ms=3_600_000)
        assert one.rig.core.market.marks[0] is mark and mark is not None and mark.price == 50_000.0


# -- 31: one venue is 30 % off ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", range(3))
@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_31_one_venues_price_is_outvoted_and_margin_does_not_move(tmp_path: Path, wrong: int, factor: float) -> None:
    with venues(tmp_path) as (*all_venues,):
        rig, market = all_venues[0].rig, all_venues[0].rig.core.market
        for one in all_venues:
            one.mark()
        rig.core.valuation.run(rig.now_ns)
        desk = rig.desk().log_on()
        one = all_venues[wrong]
        one.answer(one.order(desk))
        one.tell(*one.case.fill(1, "0.100", "0.100"))

        def margin() -> tuple[float, float]:
            rig.core.valuation.run(rig.now_ns)
            row = rig.core.account_rows()[0]
            return row["equity"], row["initial_margin"]

        before = margin()
        for _ in range(30):  # longer than a mark may be old
            rig.now_ns += S // 5
            for other in all_venues:
                other.mark(50_000.0 * (factor if other is one else 1.0))
        assert margin() == pytest.approx(before)
        assert any("mark not used" in alert and one.symbol in alert for alert in rig.monitor.alerts)
        assert rig.monitor.marks_doubted >= 30
        told = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert shown(told[-1:], 20001) == [("8", "503")]  # nothing new against a price that is not believed
        for other in all_venues:
            if other is not one:
                assert shown(desk.order(symbol=other.symbol, quantity="0.01", price="50000")) == []
        one.mark()
        assert one.order(desk) and market.marks[wrong] is not None


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_31_a_mark_far_from_every_index_is_not_used_though_its_own_index_is_right(
    tmp_path: Path, factor: float
) -> None:
    with venues(tmp_path) as (first, *others):
        for one in (first, *others):
            one.mark()
        first.mark(50_000.0 * factor, 50_000.0)
        mark = first.rig.core.market.marks[0]
        assert mark is not None and mark.price == 50_000.0


def test_31_a_market_that_really_moves_is_followed(tmp_path: Path) -> None:
    """All venues fall by a third within a second: the first is not believed for a moment, and then all are."""
    with venues(tmp_path) as (*all_venues,):
        rig = all_venues[0].rig
        for price in (50_000.0, 33_000.0, 33_000.0):
            rig.now_ns += S // 5
            for one in all_venues:
                one.mark(price)
        assert [mark and mark.price for mark in rig.core.market.marks] == [33_000.0] * 3
        rig.core.valuation.run(rig.now_ns)
        assert rig.core.account_rows()[0]["equity"] == pytest.approx(2 * 33_000.0 + 100_000.0)


# -- 32: hostile frames ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["size", "text", "binary"])
def test_32_frames_that_are_too_long_or_no_text_end_the_connection(case: str) -> None:
    """What every lane's connection does; decompression is not offered, and what is sent compressed is refused."""
    socket = WebSocketClient("ws://127.0.0.1:1/", entropy=bytes, max_message_bytes=1_000)
    socket.connect()
    key = socket._core.key
    accepted = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key)}"
    head = f"HTTP/1.1 101 Switching Protocols\r\n{accepted}\r\n\r\n"
    socket.receive_data(head.encode())
    assert socket.is_open
    frames = {
        "size": b"\x81\x7f" + (64 << 20).to_bytes(8, "big") + b"x" * 100,
        "text": b"\x81\x02\xff\xfe",
        "binary": b"\x82\x01x",
    }
    socket.receive_data(frames[case])
    assert socket.close_code == {"size": 1009, "text": 1007, "binary": 1003}[case] and socket.messages() == []


@each
def test_32_deep_or_broken_json_is_counted_and_the_session_asks_again(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        for lane in one.link.session.lanes:
            for frame in (b"[" * 100_000, b'{"a":', b"\x00", b'{"e":1,"topic":[],"arg":7}'):
                before = one.link.session.malformed_frames
                one.receive(lane, frame)
                assert one.link.session.malformed_frames == before + 1
        assert one.is_live and one.rig.monitor.venue_errors >= 8


# -- 33: fields that are not what they were --------------------------------------------------------------------------


@each
@pytest.mark.parametrize("change", ["missing", "null", "text", "negative"])
def test_33_a_position_that_can_not_be_read_is_unknown_and_never_zero(tmp_path: Path, case: Case, change: str) -> None:
    """The account is not taken for flat: no new risk until it was read."""
    field, entry, wrap = {
        "binance": ("positionAmt", fake_binance.POSITION, lambda one: [one]),
        "okx": ("pos", fake_okx.POSITION, lambda one: [one]),
        "bybit": ("size", fake_bybit.POSITION, lambda one: {"list": [one], "nextPageCursor": ""}),
    }[case.name]
    name = next(iter(FLAT[case.name]))
    value = {"missing": None, "null": None, "text": "many", "negative": "--3"}[change]
    broken = {key: item for key, item in entry.items() if key != field or change != "missing"}
    if change != "missing":
        broken[field] = value
    with venue(tmp_path, case, connects=False) as one:
        one.peer.answers[name] = lambda _: wrap(broken)
        one.connect()
        assert not one.is_live and one.link.must_close
        assert any("not reconciled" in alert for alert in one.rig.monitor.alerts)
        assert one.obey()
        one.peer.answers |= FLAT[case.name]
        one.connect()
        assert one.is_live


@each
def test_33_a_mark_with_a_field_of_another_kind_is_counted_and_not_used(tmp_path: Path, case: Case) -> None:
    field = {"binance": b'"p"', "okx": b'"markPx"', "bybit": b'"markPrice"'}[case.name]
    with venue(tmp_path, case) as one:
        mark = one.rig.core.market.marks[0]
        for wrong in (b"null", b'"NaN"', b'"-1"', b'"1e400"', b"[]", b'""'):
            lane, frame = mark_frames(case, 61_000.0, 61_000.0, one.rig.now_ns // MS)[-1]
            text = orjson.dumps(frame).replace(field + b':"61000.0"', field + b":" + wrong)
            assert text != orjson.dumps(frame)
            one.receive(lane, text)
        assert one.rig.core.market.marks[0] is mark
