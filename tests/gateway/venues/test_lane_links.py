"""The gateway on venues of several lanes: an order's life, refusals, waiting for limits, names, market data."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway import records
from gateway.venues.status import row_of, state_of
from protocols.fix.codec import format_timestamp
from risk.lifecycle import OrdStatus
from risk.order import RejectReason, TimeInForce
from tests.gateway.lane_rig import BINANCE, BYBIT, CASES, MS, OKX, S, Venue, book_frames, venue, venues
from tests.gateway.rig import Rig, shown
from tests.protocols.venues.cases import Case
from tests.protocols.venues.lane_peer import RefusalError

DAY = 86_400 * S

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def numbers(messages: list[Any], *tags: int) -> list[Decimal]:
    """These fields of the only message."""
    (message,) = messages
    return [Decimal(message.get(tag).decode()) for tag in tags]


@each
def test_an_orders_life(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        rig, desk = one.rig, one.rig.desk().log_on()
        frame = one.order(desk)
        assert rig.only_order().status is OrdStatus.PENDING_NEW
        one.answer(frame)
        one.tell(case.order())
        assert shown(desk.pump(), 150, 39) == [("8", "0", "0")]
        one.tell(*case.fill(1, "0.040", "0.040"))
        assert numbers(desk.pump(), 32, 31, 14) == [Decimal("0.04"), 50_000, Decimal("0.04")]
        one.tell(*case.fill(2, "0.060", "0.100"))
        told = desk.pump()
        assert shown(told, 150, 39) == [("8", "F", "2")] and numbers(told, 14) == [Decimal("0.1")]
        account = rig.ledger.accounts["alpha"]
        assert [position.lots for position in account.positions.values()] == [100 if case is not OKX else 1000]
        assert not rig.ledger.breaks
        rig.check_holds()
        rig.check_replay()


@each
def test_a_cancel_goes_out_and_is_told_of_when_it_is_done(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        assert desk.cancel("ALPHA-1") == []
        (frame,) = one.pump()
        assert one.peer.name_of(one.order_lane, frame) == case.cancel
        if case is not BINANCE:
            one.answer(frame)  # an acknowledgement, and no outcome
            assert order.is_working and desk.pump() == []
        one.tell(case.order("cancelled", time_ms=case.order()["T"] + 5 if case is BINANCE else 1_800_000_000_005))
        assert shown(desk.pump(), 150, 39) == [("8", "4", "4")]
        one.rig.check_holds()


@each
def test_a_replace_holds_the_worse_case_until_the_venue_has_told(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        order = one.rest(desk)
        told = desk.replace("ALPHA-1", symbol=one.symbol, quantity="0.15", price="49000")
        assert told == [], [message.get(58) for message in told]
        (frame,) = one.pump()
        assert one.peer.name_of(one.order_lane, frame) == case.replace
        assert order.held_lots() == (150 if case is not OKX else 1500)
        one.tell(case.order(quantity="0.150", price="49000.0", time_ms=1_800_000_000_005))
        told = desk.pump()
        assert shown(told, 150) == [("8", "5")] and numbers(told, 38, 44) == [Decimal("0.15"), 49_000]
        one.rig.check_holds()


@each
@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"tif": 3, "exec_inst": 6}, "post-only"),
        ({"tif": 4, "exec_inst": 6}, "post-only"),
    ],
)
def test_what_the_venue_has_not_is_refused_with_a_reason(
    tmp_path: Path, case: Case, changes: dict[str, Any], wanted: str
) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        told = desk.order(symbol=one.symbol, quantity="0.1", price="50000", **changes)
        assert shown(told[-1:], 150) == [("8", "8")] and wanted in told[-1].get(58).decode()
        assert one.pump() == []
        one.rig.check_holds()


@each
@pytest.mark.parametrize(("tif", "exec_inst"), [(1, None), (3, None), (4, None), (1, 6)])
def test_times_in_force_and_post_only_go_out_in_the_venues_words(
    tmp_path: Path, case: Case, tif: int, exec_inst: int | None
) -> None:
    words = {
        "binance": {1: "GTC", 3: "IOC", 4: "FOK", 6: "GTX"},
        "okx": {1: "limit", 3: "ioc", 4: "fok", 6: "post_only"},
        "bybit": {1: "GTC", 3: "IOC", 4: "FOK", 6: "PostOnly"},
    }[case.name]
    with venue(tmp_path, case) as one:
        frame = one.order(one.rig.desk().log_on(), tif=tif, exec_inst=exec_inst)
        assert f'"{words[exec_inst or tif]}"' in str(frame).replace("'", '"')


@each
@pytest.mark.parametrize("tif", [0, None])
@pytest.mark.parametrize("exec_inst", [None, 6])
def test_a_day_order_is_ended_by_the_gateway_where_the_venue_has_no_day(
    tmp_path: Path, case: Case, tif: int | None, exec_inst: int | None
) -> None:
    with venue(tmp_path, case) as one:
        rig, desk = one.rig, one.rig.desk().log_on()
        frame = one.order(desk, tif=tif, exec_inst=exec_inst)
        one.answer(frame)
        one.tell(case.order())
        (told,) = desk.pump()
        midnight_ns = (rig.now_ns // DAY + 1) * DAY
        assert shown([told], 150, 39, 59, 126) == [("8", "0", "0", "0", format_timestamp(midnight_ns).decode())]
        order = rig.only_order()
        assert order.time_in_force is TimeInForce.DAY and rig.ledger.expiries.deadline_ns == midnight_ns
        rig.core.tick(midnight_ns - 1)
        assert one.pump() == []
        rig.core.tick(midnight_ns)
        (cancel,) = one.pump()
        assert one.peer.name_of(one.order_lane, cancel) == case.cancel
        one.answer(cancel)
        one.tell(case.order("cancelled", time_ms=case.order()["T"] + 5 if case is BINANCE else 1_800_000_000_005))
        assert shown(desk.pump(), 150, 39) == [("8", "C", "C")]
        rig.check_holds()
        rig.check_replay()


@each
def test_a_replaced_day_order_ends_with_the_same_day(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        one.answer(one.order(desk, tif=0))
        one.tell(case.order())
        desk.pump()
        ends_ns = one.rig.ledger.expiries.deadline_ns
        assert desk.replace("ALPHA-1", symbol=one.symbol, quantity="0.15", price="49000", tif=None) == []
        one.pump()
        one.tell(case.order(quantity="0.150", price="49000.0", time_ms=1_800_000_000_005))
        assert shown(desk.pump(), 150, 59) == [("8", "5", "0")]
        order = one.rig.only_order()
        assert order.terms is not None and order.terms.expire_ns == ends_ns
        one.rig.check_replay()


@each
def test_a_market_order_has_no_day(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        one.order(one.rig.desk().log_on(), tif=0, ord_type=1, price=None)
        assert one.rig.only_order().terms is None and not len(one.rig.ledger.expiries)


@each
def test_a_mark_may_be_as_old_as_its_own_limit(tmp_path: Path, case: Case) -> None:
    for number, (rules, late_ms, is_taken) in enumerate(
        (
            ("", 1_900, True),
            ("", 2_100, False),
            ("mark_max_age_ms = 5000", 4_900, True),
            ("mark_max_age_ms = 5000", 5_100, False),
            ("mark_max_age_ms = 500", 400, True),
            ("mark_max_age_ms = 500", 600, False),
            (f'mark_max_age_ms = 500\nmark_max_ages_ms = {{ "ETH*" = 100, "{case.symbol[:3]}*" = 9000 }}', 8_000, True),
            (f'mark_max_ages_ms = {{ "{case.symbol}" = 300 }}', 400, False),
        )
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        with venue(directory, case, extra=rules) as one:
            one.rig.now_ns += late_ms * MS
            one.value()
            one.rig.core.market.generation_max_age_ns = 10**12
            desk = one.rig.desk().log_on()
            told = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
            taken = [message.get(58) for message in told]
            assert (not taken) is is_taken, (rules, late_ms, taken)
            if taken:
                assert shown(told, 20001) == [("8", str(RejectReason.MARK_STALE.value))]
            row = row_of(one.link, one.rig.core.market, one.rig.ledger, one.rig.now_ns)
            assert row["marks_fresh"] == (1 if is_taken else 0)


@each
def test_stops_are_refused_where_the_venue_takes_none_from_us(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        fields = [(11, "s1"), (38, "0.1"), (40, 4), (44, "50000"), (54, 1), (55, one.symbol), (59, 1), (99, "50100")]
        (told,) = desk.send("D", *fields, (60, "20270115-08:00:00"))
        assert shown([told], 150) == [("8", "8")]
        assert one.pump() == []


@each
def test_orders_beyond_the_venues_limit_are_refused_and_cancels_keep_their_part(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        desk = one.rig.desk().log_on()
        resting = one.rest(desk)
        kind = {"binance": "orders_10s", "okx": "place", "bybit": "create"}[case.name]
        window = one.link.session._budgets.window(kind, one.order_lane, case.symbol)
        while window.take(1, one.rig.now_ns):
            pass
        told = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert shown(told[-1:], 150, 39) == [("8", "8", "8")] and b"rate limit" in told[-1].get(58)
        assert desk.cancel(resting.cl_ord_id) == []
        assert [one.peer.name_of(one.order_lane, frame) for frame in one.pump()] == [case.cancel]


@each
def test_orders_may_wait_for_the_venues_limit(tmp_path: Path, case: Case) -> None:
    """First come, first sent; one that is cancelled meanwhile never leaves; the last waits in vain."""
    with venue(tmp_path, case, queue_ns=3 * S) as one:
        rig, desk = one.rig, one.rig.desk().log_on()
        kind = {"binance": "orders_10s", "okx": "place", "bybit": "create"}[case.name]
        window = one.link.session._budgets.window(kind, one.order_lane, case.symbol)
        while window.take(1, rig.now_ns):
            pass
        for price in ("50000", "49999", "49998"):
            assert desk.order(symbol=one.symbol, quantity="0.1", price=price) == []
        assert one.pump() == [] and one.link.orders_waiting == 3
        assert row_of(one.link, rig.core.market, rig.ledger, rig.now_ns)["orders_waiting"] == 3
        assert shown(desk.cancel("ALPHA-2"), 150, 39) == [("8", "4", "4")]
        window._taken.clear()  # the venue's window has passed
        window._level = window.limit - 1
        one.link.tick(rig.now_ns)
        (frame,) = one.pump()
        assert "50000" in str(frame) and one.link.orders_waiting == 1
        window._blocked_until_ns = rig.now_ns + 100 * S
        rig.now_ns += 3 * S
        one.link.tick(rig.now_ns)
        told = desk.pump()
        assert shown(told, 150, 39) == [("8", "8", "8")] and b"waited in vain" in told[0].get(58)
        rig.check_holds()
        rig.check_replay()


@each
def test_orders_that_wait_end_when_the_venue_is_lost(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case, queue_ns=3 * S) as one:
        desk = one.rig.desk().log_on()
        kind = {"binance": "orders_10s", "okx": "place", "bybit": "create"}[case.name]
        one.link.session._budgets.window(kind, one.order_lane, case.symbol).block(one.rig.now_ns + 100 * S)
        assert desk.order(symbol=one.symbol, quantity="0.1", price="50000") == []
        one.hang_up(one.order_lane)
        told = desk.pump()
        assert shown(told, 150) == [("8", "8")] and b"was lost before it was sent" in told[0].get(58)
        one.connect()
        assert one.is_live and one.pump() == [] and one.link.orders_waiting == 0
        one.rig.check_holds()


def test_a_session_that_the_venue_refuses_for_its_limit_holds_back(tmp_path: Path) -> None:
    """-1015: nothing was done, and nothing more of the kind leaves for a while."""
    with venue(tmp_path, BINANCE) as one:
        desk = one.rig.desk().log_on()
        one.refuse(one.order(desk), RefusalError(-1015, "Too many new orders"))
        assert shown(desk.pump(), 150) == [("8", "8")]
        told = desk.order(symbol=one.symbol, quantity="0.1", price="50000")
        assert b"rate limit" in told[-1].get(58) and one.pump() == []


# -- several venues --------------------------------------------------------------------------------------------------


def test_each_order_goes_to_the_venue_that_lists_its_instrument(tmp_path: Path) -> None:
    with venues(tmp_path) as all_venues:
        rig = all_venues[0].rig
        desk = rig.desk().log_on()
        for one in all_venues:
            one.mark()
        rig.core.valuation.run(rig.now_ns)
        assert list(rig.ledger.by_symbol) == ["BTCUSDT", "BTC-USDT-SWAP.1", "BTCUSDT.2"]
        for one in all_venues:
            frame = one.order(desk, price=f"{50_000 + all_venues.index(one)}")
            assert one.symbol.removesuffix(".1").removesuffix(".2") in str(frame) or one.case is OKX
            assert ".1" not in str(frame).replace("0.1", "") and not any(v.pump() for v in all_venues)
        for one, order in zip(all_venues, list(rig.ledger.orders.values()), strict=True):
            one.tell(*one.case.fill(1, "0.100", "0.100"), order=order)
            assert order.status is OrdStatus.FILLED and order.instrument.venue == one.case.name
        positions = {p.instrument.symbol: p.instrument.quantity(p.lots) for a in rig.ledger.accounts.values()
                     for p in a.positions.values()}  # fmt: skip
        assert positions == dict.fromkeys(rig.ledger.by_symbol, Decimal("0.1"))
        assert not rig.ledger.breaks
        rig.check_replay()


def test_a_name_that_another_venue_has_is_not_taken_twice(tmp_path: Path) -> None:
    with venue(tmp_path, BINANCE) as one:
        other = Venue(one.rig, BYBIT).connect()
        other.mark(1.0)
        instrument = one.rig.ledger.by_symbol["BTCUSDT"]
        assert instrument.venue == "binance" and len(one.rig.ledger.instruments) == 1
        mark = one.rig.core.market.marks[instrument.index]
        assert mark is not None and mark.price == 50_000.0
        (alert,) = [alert for alert in one.rig.monitor.alerts if "symbol_suffix" in alert]
        assert alert.startswith("bybit: BTCUSDT not listed: binance lists that symbol too")


def test_an_account_trades_where_it_has_a_sub_account(tmp_path: Path) -> None:
    text = one_venue_for("gamma")
    rig = Rig(tmp_path, config=text, marks={}, now_ns=1_800_000_000_000_000_000)
    try:
        one = Venue(rig, BYBIT).connect()
        one.mark()
        one.value()
        (told,) = rig.desk().log_on().order(symbol="BTCUSDT", quantity="0.1", price="50000")
        assert shown([told], 20001) == [("8", "204")]
    finally:
        rig.journal.close()


def one_venue_for(account: str) -> str:
    from tests.gateway.lane_rig import config_of

    return config_of(BYBIT, extra=f'accounts = ["{account}"]')


# -- market data -----------------------------------------------------------------------------------------------------


@each
def test_books_are_followed_for_who_reads_them_in_quantities(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case, settings={"books_on_demand": True}) as one:
        lane = one.link.session._lanes[one.market]
        channel = one.link.session._feed_channel(case.symbol, True)[1]
        assert channel not in lane.wanted
        nobody: frozenset[str] = frozenset()
        one.link.want(frozenset({one.symbol}), nobody, one.rig.now_ns)
        assert channel in lane.wanted
        if case is BINANCE:
            snapshot = {"lastUpdateId": 9, "E": 1, "T": 1_800_000_000_000, "bids": [["49990", "2"]], "asks": []}
            one.peer.answers["GET /fapi/v1/depth"] = lambda _: snapshot
        for number in (10, 11):
            for on, frame in book_frames(case, number, "49999.0", "50001.0", is_snapshot=number == 10):
                one.receive(on, frame)
        book = one.link.book(one.symbol)
        assert book.is_usable and book.best_bid == Decimal("49999.0")
        assert book.unit == (Decimal("0.01") if case is OKX else 1)
        asked = len(one.peer.asked)
        one.link.want(nobody, nobody, one.rig.now_ns)
        assert channel not in lane.wanted and not one.link.book(one.symbol).is_usable
        for on, frame in book_frames(case, 12, "49999.0", "50001.0", is_snapshot=False):
            one.receive(on, frame)  # on its way when we left
        one.pass_time(2 * S)
        assert not one.link.book(one.symbol).is_usable
        assert not [request for request in one.peer.asked[asked:] if "/depth" in request.target]


@each
def test_public_trades_come_to_the_tape(tmp_path: Path, case: Case) -> None:
    ms = 1_800_000_000_000
    frames: dict[str, tuple[str, Any]] = {
        "binance": ("market", {"stream": "btcusdt@aggTrade", "data": {"e": "aggTrade", "E": ms, "s": "BTCUSDT", "a": 7,
                    "p": "50000", "q": "0.5", "f": 1, "l": 2, "T": ms, "m": True}}),
        "okx": ("public", {"arg": {"channel": "trades", "instId": "BTC-USDT-SWAP"}, "data": [{"instId": "BTC-USDT-SWAP",
                "tradeId": "7", "px": "50000", "sz": "50", "side": "sell", "ts": str(ms)}]}),
        "bybit": ("linear", {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": ms, "data": [{"T": ms,
                  "s": "BTCUSDT", "S": "Sell", "v": "0.5", "p": "50000", "i": "7", "BT": False}]}),
    }  # fmt: skip
    with venue(tmp_path, case) as one:
        one.receive(*frames[case.name])
        tape = one.link.tape(one.symbol)
        assert tape.last is not None
        assert (tape.last.amount, tape.last.is_buy, tape.count) == (Decimal("0.5"), False, 1)


@each
def test_states_are_told_and_a_venue_without_marks_is_stale(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case, connects=False) as one:
        rig = one.rig

        def state() -> str:
            return state_of(one.link, rig.core.market, rig.ledger, rig.now_ns)

        assert state() == "connecting"
        login = {"binance": "userDataStream.start", "okx": "login", "bybit": "auth"}[case.name]
        clock, answer = case.routes["clock"], one.peer.answers[login]
        one.peer.answers |= {login: None}
        listing = one.peer.answers[clock]
        one.peer.answers[clock] = None
        one.connect()
        assert state() == "authenticating"
        one.peer.up.clear()
        for lane in list(one.link.lanes_up):
            one.peer.hang_up(lane)
        one.peer.answers[login] = answer
        one.connect()
        assert state() == "reconciling"
        for lane in list(one.link.lanes_up):
            one.peer.hang_up(lane)
        one.peer.answers[clock] = listing
        one.connect()
        assert state() == "stale"  # live at the venue, and nothing to compare an order with
        one.mark()
        assert state() == "live"
        row = row_of(one.link, rig.core.market, rig.ledger, rig.now_ns)
        assert (row["instruments"], row["marks_fresh"], row["stale"]) == (1, 1, {}) and all(row["lanes"].values())
        assert row["margin_tiers"] >= 1 and row["clock_offset_ms"] == 0.0
        rig.now_ns += 3 * S
        assert state() == "stale"
        assert row_of(one.link, rig.core.market, rig.ledger, rig.now_ns)["stale"] == {one.symbol: 3000.0}


@each
def test_the_journal_has_the_instruments_terms_in_quantities(tmp_path: Path, case: Case) -> None:
    with venue(tmp_path, case) as one:
        (listed,) = one.rig.of_type(records.InstrumentListed)
        assert (listed.symbol, listed.venue) == (case.symbol, case.name)
        assert Decimal(listed.lot_size) == (Decimal("0.0001") if case is OKX else Decimal("0.001"))
        assert (listed.settlement_currency, listed.is_inverse) == ("USDT", False)
