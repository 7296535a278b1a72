"""The eight complaints that users of other systems have about their venue connections, each as a test of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fixtures.venues.core.faults import Fault, Faults
from gateway.recorded.player import play
from risk.account import AccountState
from risk.lifecycle import OrdStatus
from tests.gateway.lane_rig import BINANCE, CASES, OKX, S, Venue, book_frames, mark_frames, venue
from tests.gateway.rig import Rig, shown
from tests.gateway.test_recorded import stream_of, written
from tests.protocols.venues import fake_bybit, fake_okx
from tests.protocols.venues.cases import Case
from tests.protocols.venues.lane_peer import RefusalError

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# What is asked about an order by its client id.
QUERY = {"binance": "order.status", "okx": "GET /api/v5/trade/order", "bybit": "GET /v5/order/realtime"}


def found(one: Venue, **changes: Any) -> Any:
    """The answer to a query by client id: the venue has the order, and it rests."""
    label = one.link.session.tables.client_ids.encode(one.rig.only_order().order_id).encode()
    order = orjson.loads(orjson.dumps(one.case.open_order("0")).replace(b'"a1"', b'"%s"' % label)) | changes
    if one.case.name == "bybit":
        return lambda request: {"list": [order] if "linear" in request.target and "USDC" not in request.target else [],
                                "nextPageCursor": ""}  # fmt: skip
    return lambda _: order if one.case is BINANCE else [order]


@each
def test_1_an_order_that_was_accepted_in_an_outage_is_not_forgotten(tmp_path: Path, case: Case) -> None:
    """hummingbot 8457: sent, the connection lost, accepted and filled at the venue: the position is known."""
    with venue(tmp_path, case) as one:
        rig, desk = one.rig, one.rig.desk().log_on()
        one.order(desk)
        order = rig.only_order()
        one.hang_up(one.order_lane)
        assert order.status is OrdStatus.UNKNOWN and order.held is not None
        one.peer.answers[QUERY[case.name]] = found(one)
        if case is not BINANCE:
            one.peer.answers[case.routes["open orders"]] = found(one)
        else:
            order_seen = found(one)
            one.peer.answers[case.routes["open orders"]] = lambda request: [order_seen(request)]
        one.connect()
        one.pass_time(2 * S)
        assert order.status is OrdStatus.NEW and order.venue_order_id == case.order_id
        one.tell(*case.fill(1, "0.100", "0.100"))
        assert order.status is OrdStatus.FILLED and not rig.ledger.breaks
        rig.check_holds()


@each
def test_1_the_same_over_a_restart_of_the_gateway(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        one.order(one.rig.desk().log_on())
        answer = found(one)
        rig = one.rig.restart()
        try:
            again = Venue(rig, case)
            again.link.recover(rig.now_ns)
            order = rig.only_order()
            assert order.status is OrdStatus.UNKNOWN and order.held is not None
            again.peer.answers[QUERY[case.name]] = answer
            wrapped = (lambda request: [answer(request)]) if case is BINANCE else answer
            again.peer.answers[case.routes["open orders"]] = wrapped
            again.connect()
            again.pass_time(2 * S)
            assert order.status is OrdStatus.NEW and not rig.ledger.breaks
        finally:
            rig.journal.close()


@each
def test_2_an_unknown_submit_is_never_sent_twice_nor_rejected_by_guess(tmp_path: Path, case: Case) -> None:
    """nautilus 4215, 4958: -1007 and its like prove nothing; the order is asked about until the venue has said."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        frame = one.order(desk)
        one.peer.answers[QUERY[case.name]] = None
        one.refuse(frame, RefusalError(case.codes["unknown"], "Timeout waiting for response"))
        order = one.rig.only_order()
        assert order.status is OrdStatus.UNKNOWN and order.held is not None and desk.pump() == []
        for _ in range(8):
            one.pass_time(S)
            assert one.pump() == [] and order.is_working  # neither again nor given up
        one.peer.answers[QUERY[case.name]] = found(one)
        for _ in range(8):
            one.pass_time(S)
        assert order.status is OrdStatus.NEW and shown(desk.pump(), 150) == [("8", "0")]


@each
def test_2_an_order_that_the_venue_does_not_find_is_missing_only_when_it_can_not_come_any_more(
    tmp_path: Path, case: Case
) -> None:
    gone: Any = {
        "binance": lambda _: raised(RefusalError(-2013, "Order does not exist.")),
        "okx": lambda _: raised(RefusalError(51603, "Order does not exist", 200)),
        "bybit": lambda _: {"list": [], "nextPageCursor": ""},
    }[case.name]
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        frame = one.order(desk)
        one.peer.answers[QUERY[case.name]] = gone
        if case is OKX:
            one.peer.http_body = lambda request, result: orjson.dumps(
                {"code": "51603", "msg": "", "data": []}
                if "trade/order?" in request.target
                else {"code": "0", "msg": "", "data": result}
            )  # type: ignore[method-assign]
            one.peer.answers[QUERY[case.name]] = lambda _: []
        one.refuse(frame, RefusalError(case.codes["unknown"], "Timeout waiting for response"))
        order = one.rig.only_order()
        one.pass_time(S)
        assert order.status is OrdStatus.UNKNOWN
        for _ in range(14):
            one.pass_time(S)
        assert order.status is OrdStatus.REJECTED
        one.rig.check_holds()


def raised(error: Exception) -> Any:
    raise error


@each
def test_3_a_stale_book_is_never_read_and_begins_anew_after_a_reconnection(tmp_path: Path, case: Case) -> None:
    """ccxt 19717, 29210, cryptofeed 291: after a reconnection the snapshot resets what there was; no ghost levels."""
    with venue(tmp_path, case) as one:
        snapshot = {"lastUpdateId": 9, "E": 1, "T": 1_800_000_000_000, "bids": [], "asks": []}
        one.peer.answers["GET /fapi/v1/depth"] = lambda _: snapshot
        for lane, frame in book_frames(case, 10, "49999.0", "50001.0"):
            one.receive(lane, frame)
        book = one.link.book(one.symbol)
        assert book.is_usable and len(book.bids.levels) == 1
        one.hang_up(one.market)
        assert not book.is_usable and one.is_live
        one.connect()
        assert not book.is_usable  # a connection is no book
        snapshot["lastUpdateId"] = 19
        for lane, frame in book_frames(case, 20, "49990.0", "50010.0"):
            one.receive(lane, frame)
        one.pass_time(2 * S)
        assert book.is_usable and list(map(str, book.bids.levels)) == ["49990.0"]


@pytest.mark.parametrize("name", ["binance", "okx", "bybit"])
def test_3_a_gap_of_one_book_among_many_on_a_socket_is_its_own(tmp_path: Path, name: str) -> None:
    """cryptofeed 291, ccxt 23251: all instruments share their connection; what one of them lost, no other pays for."""
    whole, lost = (
        play(written(tmp_path / f"{name}{number}", stream_of(name, faults)))
        for number, faults in enumerate((None, Faults(1, {}, {Fault.BOOK_GAP: (20 if name == "binance" else 60,)})))
    )
    assert whole.gaps == 0 and whole.books_usable == whole.books >= 5
    assert lost.gaps == 1 and lost.books_usable == whole.books - 1
    assert whole.quotes.compared - lost.quotes.compared < whole.quotes.compared / 2  # the others' books go on
    assert lost.quotes.equal == lost.quotes.compared


def test_4_the_account_stream_outlives_its_key(tmp_path: Path) -> None:
    """nautilus 3861: the key expires, is gone at its renewal, or the stream is cut: another, and what was missed."""
    keys = iter(f"Key{number}" for number in range(1, 10))
    with venue(tmp_path, BINANCE, connects=False) as one:
        one.peer.answers["userDataStream.start"] = lambda _: {"listenKey": next(keys)}
        one.connect()
        assert one.is_live and one.link.url("private").endswith("Key1")
        one.tell_raw({"e": "listenKeyExpired", "E": 1, "listenKey": "Key1"})
        assert one.obey() == ["private"] and not one.is_live
        one.connect()
        assert one.is_live and one.link.url("private").endswith("Key2")
        one.peer.answers["userDataStream.ping"] = lambda _: raised(
            RefusalError(-1125, "This listenKey does not exist.")
        )
        for _ in range(31 * 4):
            one.pass_time(15 * S)
            for lane in one.obey():
                assert lane in one.link.session.lanes
            one.connect()
        assert one.is_live and one.link.url("private").endswith("Key3")
        asked = [request for request in one.peer.asked if "userTrades" in request.target]
        assert len(asked) >= 2  # after each, the trades since


@each
def test_5_nothing_is_sent_while_the_venue_does_not_know_us(tmp_path: Path, case: Case) -> None:
    """nautilus 3820: no order, no amendment and no buffered message leaves before the login of the new connection."""
    login = {"binance": "userDataStream.start", "okx": "login", "bybit": "auth"}[case.name]
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        answer, one.peer.answers[login] = one.peer.answers[login], None
        for lane in sorted(case.vital):
            one.hang_up(lane)
        one.connect()
        one.mark()
        told = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert shown(told[-1:], 20001) == [("8", "203")]
        assert shown(desk.replace("ALPHA-1", symbol=one.symbol, quantity="0.2", price="50000"))[-1] == ("9",)
        desk.cancel("ALPHA-1")
        assert one.pump() == [] and order.is_cancel_pending
        names = {one.peer.name_of(lane, frame) for lane, frame in one.peer.sent if lane in case.vital}
        assert not names & {case.place, case.replace, case.cancel} - {case.place}
        one.peer.sent.clear()
        one.peer.answers[login] = answer
        for lane in sorted(case.vital & one.link.lanes_up):
            one.hang_up(lane)
        one.connect()
        for _ in range(3):
            one.pass_time(S)
        names_now = [one.peer.name_of(lane, frame) for lane, frame in one.peer.sent if lane in case.vital]
        if case is not BINANCE:  # whose requests are signed one by one
            assert names_now[0] == login


@each
def test_6_positions_that_differ_at_the_start_restrict_and_do_not_stop(tmp_path: Path, case: Case) -> None:
    """nautilus 3104: +75 against -65; the node refuses to start. Ours starts, lets nobody add risk, and tells."""
    answers = {
        "binance": {"v2/account.position": lambda _: [{"symbol": "BTCUSDT", "positionSide": "BOTH",
                                                       "positionAmt": "-0.065", "entryPrice": "50000"}]},
        "okx": {"GET /api/v5/account/positions": lambda _: [fake_okx.POSITION | {"pos": "-6.5"}]},
        "bybit": {"GET /v5/position/list": lambda request: {
            "list": [fake_bybit.POSITION | {"size": "0.065"}] * ("USDC" not in request.target), "nextPageCursor": ""}},
    }  # fmt: skip
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.rest(desk)
        one.tell(*case.fill(1, "0.075", "0.100"))
        rig: Rig = one.rig.restart()
        try:
            again = Venue(rig, case)
            again.link.recover(rig.now_ns)
            again.peer.answers |= answers[case.name]
            again.connect()
            assert again.is_live and rig.ledger.breaks
            assert rig.ledger.accounts["alpha"].state is AccountState.REDUCING
            assert rig.ledger.venue_lots(case.name)[again.symbol] > 0  # our book is as it was
        finally:
            rig.journal.close()


@each
def test_7_states_are_right_after_each_reconnection(tmp_path: Path, case: Case) -> None:
    """bytex 29: connected, and never true again. Whatever lane is lost, and however often, live comes back."""
    with venue(tmp_path, case) as one:
        for lane in [*one.link.session.lanes] * 3:
            one.hang_up(lane)
            assert one.is_live is (lane not in case.vital)
            one.connect()
            for _ in range(5):
                one.pass_time(S)  # what it asks has to find room in the venue's limits
            assert one.is_live and one.link.state_name == "live"
            assert one.link.lanes_up == set(one.link.session.lanes)


@each
def test_8_no_silent_fall_back_and_old_data_is_called_old(tmp_path: Path, case: Case) -> None:
    """freqtrade 13569: data of 20 minutes ago. A mark is of the venue's stream, of its own time, or it is not used."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        asked = len(one.peer.asked)
        one.rig.now_ns += 20 * 60 * S
        for lane, frame in mark_frames(case, 50_000.0, 50_000.0, one.rig.now_ns // 1_000_000 - 20 * 60_000 + 1):
            one.receive(lane, frame)
        one.value()
        (told,) = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert shown([told], 20001) == [("8", "503")]
        assert not [request for request in one.peer.asked[asked:] if "mark" in request.target.lower()]


@each
def test_an_answer_that_is_older_than_the_orders_end_is_no_break(tmp_path: Path, case: Case) -> None:
    """Found by the simulator: asked about while it worked, cancelled, and the answer of before comes last."""
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        answer, listed = found(one), case.routes["open orders"]
        one.tell(case.order("cancelled", time_ms=1_800_000_000_005))
        assert order.status is OrdStatus.CANCELED
        one.peer.answers[QUERY[case.name]] = answer
        one.link.session.query_order(order.order_id, case.symbol, one.rig.now_ns)
        one.pump()
        one.link.tick(one.rig.now_ns)
        if case is BINANCE:
            one.peer.answers[listed] = lambda request: [answer(request)]
        else:
            one.peer.answers[listed] = answer
        one.link.session.reconcile(one.rig.now_ns)
        one.pump()
        one.link.tick(one.rig.now_ns)
        assert not one.rig.ledger.breaks and not any(one.rig.ledger.working_orders())
