"""Requests in doubt at venues of several lanes: what bad timing could have the book believe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.journal import JournalFull
from protocols.venues.rate_limit import RateLimitError
from risk.lifecycle import OrdStatus
from tests.gateway.lane_rig import CASES, MS, S, Venue, venue
from tests.gateway.venues.test_faults_venues_orders import unit
from tests.protocols.venues.cases import Case
from tests.protocols.venues.lane_peer import RefusalError

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
GONE = {"binance": -2013, "okx": 51603, "bybit": 110001}
DUPLICATED = {"binance": -4116, "okx": 51016, "bybit": 110072}


def looked_up(one: Venue, found: Callable[[], Any] | None) -> None:
    """What the venue says of our order when it is asked for by its client id; None: it knows of none."""
    case = one.case

    def answer(_: Any) -> Any:
        if found is None:
            raise RefusalError(GONE[case.name], "no such order")
        return one.of(found())

    def listed(request: Any) -> Any:
        if found is None or "orderLinkId" not in request.target or "linear" not in request.target:
            return {"list": [], "nextPageCursor": ""}
        return {"list": [one.of(found())], "nextPageCursor": ""}

    one.peer.answers |= {
        "binance": {"order.status": answer},
        "okx": {"GET /api/v5/trade/order": lambda request: [answer(request)]},
        "bybit": {"GET /v5/order/realtime": listed},
    }[case.name]


@each
@pytest.mark.parametrize("set_back_s", [0, 3_600])
def test_an_order_whose_stream_is_lost_before_its_reply_is_not_forgotten(
    tmp_path: Path, case: Case, set_back_s: int
) -> None:
    """The stream's connection breaks while an order is on its way on another, whose reply never comes either.

    Also where the journal says that it was sent in an hour's time, since the clock was set back before a start.
    """
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.order(desk)
        order = one.rig.only_order()
        order.received_ns += set_back_s * S
        looked_up(one, None)
        one.hang_up(one.stream)
        one.connect()
        for _ in range(30):
            one.mark()
            one.pass_time(S)
        assert order.status is OrdStatus.REJECTED and order.held is None
        one.rig.check_holds()
        one.rig.check_replay()


@each
@pytest.mark.parametrize("loss", ["timeout", "connection", "refusal"])
def test_a_replace_in_doubt_is_held_until_it_can_not_come_any_more(tmp_path: Path, case: Case, loss: str) -> None:
    """How the order stands without the replace proves nothing while the replace may still reach the venue."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        assert desk.replace("ALPHA-1", symbol=one.symbol, quantity="0.15", price="50000") == []
        (frame,) = one.pump()
        sent_ns = one.rig.now_ns
        looked_up(one, lambda: case.open_order("0"))
        if loss == "connection":
            one.hang_up(one.order_lane)
            one.connect()
        elif loss == "refusal":
            one.refuse(frame, RefusalError(case.codes["unknown"], "timeout"))
        latest_ns = one.link.session._settings.recv_window_ms * MS
        while order.replace is not None and one.rig.now_ns < sent_ns + 30 * S:
            assert order.held_lots() == 150 * unit(case)
            one.mark()
            one.pass_time(S // 2)
        assert order.replace is None and order.is_working and order.held_lots() == 100 * unit(case)
        assert one.rig.now_ns >= sent_ns + latest_ns, (one.rig.now_ns - sent_ns) / S
        told = desk.pump()
        assert [orjson.dumps(message.get(35).decode()) for message in told] == [b'"9"']
        one.rig.check_holds()
        one.rig.check_replay()


@each
def test_an_order_whose_id_the_venue_has_already_is_there(tmp_path: Path, case: Case) -> None:
    """Our ids are used once: where a venue refuses one as used, it has the order, and a reject would be a lie."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        frame = one.order(desk)
        order = one.rig.only_order()
        looked_up(one, lambda: case.open_order("0"))
        one.refuse(frame, RefusalError(DUPLICATED[case.name], "duplicate"))
        assert order.is_working and order.held is not None
        one.pass_time(2 * S)
        assert order.status is OrdStatus.NEW and order.venue_order_id == case.order_id
        assert [message.get(39) for message in desk.pump()] == [b"0"]
        one.rig.check_holds()


@each
def test_orders_that_wait_when_the_venue_is_lost_and_nothing_can_be_written(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have never left: with the next connection the venue is asked, and knows none of them."""
    with venue(tmp_path, case, queue_ns=3 * S) as one:
        desk = one.rig.desk().log_on()
        monkeypatch.setattr(one.link.session._desk, "enter", full)
        for _ in range(2):
            assert desk.order(symbol=one.symbol, quantity="0.1", price="50000") == []
        assert one.link.orders_waiting == 2
        monkeypatch.setattr(one.rig.pipeline.journal, "append", broken)
        one.hang_up(one.order_lane)
        monkeypatch.undo()
        looked_up(one, None)
        one.obey()
        for _ in range(30):
            one.connect()
            one.mark()
            one.pass_time(S)
        orders = list(one.rig.ledger.orders.values())
        assert [order.status for order in orders] == [OrdStatus.REJECTED] * 2
        assert one.is_live and one.link.orders_waiting == 0
        one.rig.check_holds()


def full(*_: Any) -> int:
    raise RateLimitError("full")


def broken(*_: Any) -> int:
    raise JournalFull("the disk is full")
