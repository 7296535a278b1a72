"""What Binance, OKX and Bybit have really sent: streams rebuilt, and every payload read or refused with its field.

The recordings lie outside of the repository: see MARGINGATE_RECORDED.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from protocols.venues.codec import HttpResponse
from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    ContractDelivered,
    FundingUpdated,
    InstrumentListed,
    MarginTiersListed,
    MarkPriceUpdated,
    OptionVolsUpdated,
    OrderAccepted,
    OrderFilled,
    TopOfBookUpdated,
    TradePrinted,
    VenueErrorReported,
)
from tests.bench.venues_decode import recorded_session
from tests.protocols.venues import fake_binance, fake_bybit, fake_okx
from tests.protocols.venues.fake_binance import FakeBinance
from tests.protocols.venues.fake_bybit import FakeBybit
from tests.protocols.venues.fake_okx import FakeOkx
from tests.protocols.venues.lane_peer import S, of, query_of
from tests.protocols.venues.recorded import (
    binance_lines,
    cryptofeed_lines,
    needs_recordings,
    payload,
    payload_names,
    zipped_lines,
)

pytestmark = needs_recordings
D = Decimal
Top = tuple[Any, ...]

# -- streams


def play_binance(without: int | None = None) -> tuple[FakeBinance, list[Any], dict[int, Top], dict[int, Top]]:
    """Play the recording but for one change; return what was told, and the best levels by number, of book and ticker.

    Where a snapshot is asked for, the recorded one answers.
    """
    lines = list(binance_lines())
    (snapshot,) = [frame for _, frame in lines if b'"stream"' not in frame[:16]]
    venue = recorded_session(lines[0][0])
    session, book = venue.session, venue.session.book("BTCUSDT")
    events: list[Any] = []
    books: dict[int, Top] = {}
    tickers: dict[int, Top] = {}
    changes = 0
    for now_ns, frame in lines:
        if frame is snapshot:
            for request in session.http_requests():
                session.http_answered(request.request_id, HttpResponse(200, frame), now_ns)
            continue
        is_change = b"@depth" in frame[:40]
        changes += is_change
        if is_change and changes == without:
            continue
        session.receive(frame, now_ns, "public")
        for event in session.events():
            if type(event) is TopOfBookUpdated:
                tickers[event.sequence] = (event.bid, event.bid_quantity, event.ask, event.ask_quantity)
            elif type(event) is not TradePrinted:
                events.append(event)
        if is_change and book.is_usable:
            bid, ask = book.best_bid, book.best_ask
            assert bid is not None and ask is not None and bid < ask
            books[book.sequence] = (bid, book.bids.levels[bid], ask, book.asks.levels[ask])
    return venue, events, books, tickers


def test_the_stream_of_binance() -> None:
    """No gap; and wherever a best-price message bears a change's number, both say the same.

    503 of 503 where it came before the change, and 126 of 126 where it came after.
    """
    venue, events, books, tickers = play_binance()
    assert not of(events, BookGapped, VenueErrorReported)
    assert venue.session.malformed_frames == 0
    assert len(of(events, BookUpdated)) >= 6_546
    common = books.keys() & tickers.keys()
    assert len(common) == 503 + 126
    assert all(books[number] == tickers[number] for number in common)


def test_one_lost_change_of_binance_is_noticed_at_once() -> None:
    venue, events, books, tickers = play_binance(without=3_000)
    (gap,) = of(events, BookGapped)
    assert gap.reason.startswith("gap: follows")
    assert not venue.session.book("BTCUSDT").is_usable  # and stays so: the recorded snapshot was before it
    assert all(books[number] == tickers[number] for number in books.keys() & tickers.keys())


OKX_TERMS = {
    "SPOT": [fake_okx.SPOT],
    "SWAP": [fake_okx.INVERSE | {"instId": "UNI-USD-SWAP", "uly": "UNI-USD"}],
    "FUTURES": [fake_okx.FUTURE | {"instId": "BTC-USD-220527"}],
}


def okx(terms: dict[str, list[Any]], now_ns: int) -> FakeOkx:
    session = fake_okx.session(inst_types=("SPOT", "SWAP", "FUTURES"), dead_man_s=0)
    venue = FakeOkx(session, {
        "GET /api/v5/public/instruments": lambda request: terms[query_of(request)["instType"]],
        "GET /api/v5/account/positions": lambda _: [],
    })  # fmt: skip
    venue.now_ns = now_ns
    venue.connect()
    while not venue.session.is_live:  # margins of many families are asked for at the venue's pace
        venue.pass_time(2 * S)
        assert venue.session.state.value in ("reconciling", "live")
    return venue


def test_the_stream_of_okx() -> None:
    """Every one of its 290 books bears a checksum that is not zero, and agrees with the book that was kept."""
    lines = [line for line in cryptofeed_lines("cryptofeed_OKX.ws.1.0.gz") if b'"event"' not in line[1][:12]]
    middle = [index for index, (_, frame) in enumerate(lines) if b'"bids":[["' in frame][145]
    for flaw in (None, "drop", "digit"):
        venue = okx(OKX_TERMS, lines[0][0])
        checked = 0
        events = []
        for index, (now_ns, frame) in enumerate(lines):
            venue.now_ns = now_ns
            if b'"books"' in frame:
                (data,) = orjson.loads(frame)["data"]
                checked += bool(data["checksum"])
            if index == middle and flaw is not None:
                if flaw == "drop":
                    continue
                frame = frame.replace(b'"bids":[["', b'"bids":[["1', 1)
            events += venue.receive("public", frame)
        if flaw is None:
            assert checked == 290
            assert len(of(events, BookUpdated)) == 290
            assert len(of(events, TradePrinted)) == 74
            assert not of(events, BookGapped, VenueErrorReported)
        else:
            assert of(events, BookGapped), flaw


def test_the_listings_of_okx() -> None:
    """The instruments of 2022, whose entries had fewer fields than today's."""
    import gzip

    from tests.protocols.venues.recorded import STREAMS

    terms: dict[str, list[Any]] = {}
    with gzip.open(STREAMS / "cryptofeed_OKX.0.gz", "rt") as lines:
        for line in lines:
            head, _, text = line.partition(": {")
            if "instruments?instType=" in head:
                kind = head.partition("instType=")[2].partition("&")[0].partition(" ")[0]
                terms[kind] = orjson.loads("{" + text)["data"]
    venue = okx(terms, S)
    listed = {event.symbol: event for event in of(venue.seen, InstrumentListed)} or venue.session._market.instruments
    assert len(listed) > 300
    assert listed["BTC-USD-220527"].min_trade_amount == D(100)
    assert venue.session.malformed_frames == 0


def test_the_stream_of_bybit() -> None:
    terms = fake_bybit.LINEAR | {"symbol": "XRPUSDT", "baseCoin": "XRP"}
    lines = list(zipped_lines("bybit_xrpusdt_ob500.data.zip"))
    for missing in (None, 17):
        venue = FakeBybit(
            fake_bybit.session(depth=500), {"GET /v5/market/instruments-info": lambda _: {"list": [terms]}}
        )
        venue.now_ns = orjson.loads(lines[0])["ts"] * 10**6
        venue.connect()
        events = []
        for index, frame in enumerate(lines):
            venue.now_ns = orjson.loads(frame)["ts"] * 10**6
            if index != missing:
                events += venue.receive("linear", frame)
        assert not of(events, VenueErrorReported)
        if missing is None:
            assert len(of(events, BookUpdated)) == len(lines) == 50  # a snapshot, and 49 of 49 changes
            assert not of(events, BookGapped)
        else:
            (gap,) = of(events, BookGapped)
            assert gap.reason == f"gap: begins at {gap_of(lines, missing) + 1}, last was {gap_of(lines, missing) - 1}"


def gap_of(lines: list[bytes], index: int) -> int:
    number: int = orjson.loads(lines[index])["data"]["u"]
    return number


# -- payloads: (lane, or the request that it answers) and what is told, or the field that is refused

Expected = tuple[str, type | str | None]

BINANCE: dict[str, Expected] = {
    "futures/http_json/account_info_v2.json": ("v2/account.status", None),
    "futures/http_json/balance.json": ("v2/account.balance", "is not asked for"),
    "futures/http_json/open_algo_orders.json": ("GET /fapi/v1/openOrders", "orderId"),
    "futures/http_json/order_response.json": ("order.status", None),
    "futures/http_json/position_risk.json": ("v2/account.position", None),
    "futures/market_data_json/agg_trade_stream.json": ("market", TradePrinted),
    "futures/market_data_json/book_ticker_stream.json": ("public", TopOfBookUpdated),
    "futures/market_data_json/depth_update_stream.json": ("public", None),  # kept until the snapshot
    "futures/market_data_json/kline_stream_closed.json": ("market", "'kline' - at `$.e`"),
    "futures/market_data_json/liquidation_stream.json": ("market", TradePrinted),
    "futures/market_data_json/mark_price_stream.json": ("market", MarkPriceUpdated),
    "futures/market_data_json/trade_stream.json": ("public", TradePrinted),
    "futures/user_data_json/account_update.json": ("private", "LONG of BTCUSDT"),
    "futures/user_data_json/account_update_bnfcr.json": ("private", None),
    "futures/user_data_json/algo_update_canceled.json": ("private", None),
    "futures/user_data_json/order_update_adl.json": ("private", OrderFilled),
    "futures/user_data_json/order_update_calculated.json": ("private", OrderFilled),
    "futures/user_data_json/order_update_calculated_pending.json": ("private", OrderAccepted),
    "futures/user_data_json/order_update_insurance.json": ("private", OrderFilled),
    "futures/user_data_json/order_update_new.json": ("private", OrderAccepted),
    "futures/user_data_json/order_update_settlement.json": ("private", ContractDelivered),
    "futures/user_data_json/order_update_trade.json": ("private", OrderFilled),
    "futures/user_data_json/order_update_trade_partial.json": ("private", OrderFilled),
    "futures/user_data_json/trade_lite.json": ("private", None),
}
OKX: dict[str, Expected] = {
    "common_optional_string_to_u64.json": ("public", "Expected `object`"),
    "http_balance_detail_new_fields.json": ("GET /api/v5/account/balance", "details"),
    "http_get_candlesticks.json": ("GET /api/v5/public/instruments", "Expected `object`"),
    "http_get_candlesticks_full.json": ("GET /api/v5/public/instruments", "Expected `object`"),
    "http_get_index_price.json": ("index-tickers", None),
    "http_get_instruments_spot.json": ("GET /api/v5/public/instruments", InstrumentListed),
    "http_get_instruments_swap.json": ("GET /api/v5/public/instruments", InstrumentListed),
    "http_get_option_summary.json": ("opt-summary", OptionVolsUpdated),
    "http_get_order_book.json": ("books", "seqId, prevSeqId: missing"),
    "http_get_orders_algo_history.json": ("GET /api/v5/trade/orders-pending", "px"),
    "http_get_orders_history.json": ("GET /api/v5/trade/orders-pending", None),
    "http_get_orders_pending_with_attached_tp_sl.json": ("GET /api/v5/trade/orders-pending", None),
    "http_get_position_tiers.json": ("GET /api/v5/public/position-tiers", MarginTiersListed),
    "http_get_positions.json": ("GET /api/v5/account/positions", "posSide: long"),
    "http_get_spread_orders.json": ("GET /api/v5/trade/orders-pending", "instId"),
    "http_get_spreads.json": ("GET /api/v5/public/instruments", "instId"),
    "http_get_trades.json": ("trades", TradePrinted),
    "http_place_algo_order_rejected.json": ("order", "Parameter instId error"),
    "http_place_algo_order_response.json": ("order", "clOrdId, ordId"),
    "http_set_position_mode_response.json": ("GET /api/v5/account/config", "posMode: 'long_short_mode'"),
    "http_transaction_detail_empty_fee.json": ("GET /api/v5/trade/fills", "fee: not a number"),
    "ws_account_empty.json": ("private", None),
    "ws_books_snapshot.json": ("public", "checksum: -855196043"),  # the documentation's example, cut short
    "ws_orders.json": ("private", OrderFilled),
    "ws_orders_adl.json": ("private", OrderFilled),
    "ws_orders_algo.json": ("private", "channel: 'orders-algo'"),
    "ws_orders_fok.json": ("private", OrderFilled),
    "ws_orders_ioc.json": ("private", OrderFilled),
    "ws_orders_liquidation.json": ("private", OrderFilled),
    "ws_orders_trigger.json": ("private", OrderFilled),
    "ws_trades.json": ("public", TradePrinted),
}
BYBIT: dict[str, Expected] = {
    "http_get_executions.json": ("GET /v5/execution/list", OrderFilled),
    "http_get_fee_rate.json": ("GET /v5/market/risk-limit", "riskLimitValue"),
    "http_get_instruments_linear.json": ("GET /v5/market/instruments-info", InstrumentListed),
    "http_get_instruments_linear_symbol_type.json": ("GET /v5/market/instruments-info", InstrumentListed),
    "http_get_instruments_spot.json": ("GET /v5/market/instruments-info spot", InstrumentListed),
    "http_get_klines_linear.json": ("GET /v5/market/instruments-info", "Expected `object`, got `array`"),
    "http_get_order_partially_filled_rejected.json": ("GET /v5/order/realtime", None),
    "http_get_orderbook.json": ("GET /v5/order/realtime", "list"),
    "http_get_orders_history.json": ("GET /v5/order/realtime", None),
    "http_get_orders_realtime.json": ("GET /v5/order/realtime", None),
    "http_get_orders_realtime_tp_sl.json": ("GET /v5/order/realtime", None),
    "http_get_positions.json": ("GET /v5/position/list", None),
    "http_get_user_query_api.json": ("GET /v5/account/info", "marginMode"),
    "http_get_user_sub_apikeys.json": ("GET /v5/position/list", "list"),
    "http_get_wallet_balance.json": ("GET /v5/account/wallet-balance", None),
    "http_post_user_update_master_api.json": ("GET /v5/account/info", "marginMode"),
    "ws_account_execution.json": ("private", OrderFilled),
    "ws_account_execution_fast_envelope_id.json": ("private", None),  # there is nothing in it
    "ws_account_order.json": ("private", OrderAccepted),
    "ws_account_order_filled.json": ("private", OrderAccepted),
    "ws_account_order_limit_if_touched.json": ("private", OrderAccepted),
    "ws_account_order_market_if_touched.json": ("private", OrderAccepted),
    "ws_account_order_partially_filled_rejected.json": ("private", OrderAccepted),
    "ws_account_order_stop_limit.json": ("private", OrderAccepted),
    "ws_account_order_stop_loss.json": ("private", OrderAccepted),
    "ws_account_order_stop_market.json": ("private", OrderAccepted),
    "ws_account_order_take_profit.json": ("private", OrderAccepted),
    "ws_account_position_short.json": ("private", None),
    "ws_account_wallet.json": ("private", None),
    "ws_account_wallet_locked_exceeds_total.json": ("private", None),
    "ws_account_wallet_small_order.json": ("private", None),
    "ws_auth_success.json": ("private", None),
    "ws_kline.json": ("linear", "topic: 'kline.5.BTCUSDT'"),
    "ws_orderbook_delta.json": ("linear", BookGapped),  # a change without its snapshot
    "ws_subscription_ack.json": ("linear", "reqId, req_id"),
    "ws_subscription_failure.json": ("linear", "Invalid topic"),
    "ws_ticker_linear.json": ("linear", FundingUpdated),
    "ws_ticker_option.json": ("option", OptionVolsUpdated),
}


def test_every_payload_is_expected() -> None:
    for venue, table in (("binance", BINANCE), ("okx", OKX), ("bybit", BYBIT)):
        assert payload_names(venue) == sorted(table), venue


def check(events: list[Any], expected: type | str | None, name: str) -> None:
    troubles = [error.message for error in of(events, VenueErrorReported)]
    troubles += [gap.reason for gap in of(events, BookGapped)]
    if isinstance(expected, str):
        assert any(expected in text for text in troubles), (name, troubles)
    elif expected is None:
        assert not troubles, (name, troubles)
    else:
        assert of(events, expected), (name, events)
        if expected is not BookGapped:
            assert not troubles, (name, troubles)


def far_ahead(venue: Any) -> None:
    """Payloads are of all times: none of them is of the future."""
    venue.now_ns = 1_900_000_000 * S


@pytest.mark.parametrize("name", BINANCE)
def test_payloads_of_binance(name: str) -> None:
    where, expected = BINANCE[name]
    content = payload("binance", name)
    terms = [fake_binance.SYMBOL, fake_binance.SYMBOL | {"symbol": "BNBUSDT"}]
    venue = FakeBinance(fake_binance.session(dead_man_s=0), {"GET /fapi/v1/exchangeInfo": lambda _: {"symbols": terms}})
    far_ahead(venue)
    venue.answers["GET /fapi/v1/depth"] = None
    if where in ("public", "market", "private"):
        venue.connect()
        # The documentation's examples have times like 123456789, of 1970.
        check(venue.receive(where, content), expected, name)
        return
    if where == "v2/account.balance":
        from protocols.venues.binance_decode import BALANCES, balance_state

        (balance,) = [balance_state(one) for one in BALANCES.decode(orjson.dumps(content))]
        assert balance.wallet_balance == D("122.12345678")
        return
    venue.answers[where] = lambda _: content
    venue.connect()
    if where == "order.status":
        venue.session.query_order("testOrder123", "BTCUSDT", venue.now_ns)
        venue.pump()
    check([*venue.seen, *venue.events()], expected, name)


@pytest.mark.parametrize("name", OKX)
def test_payloads_of_okx(name: str) -> None:
    where, expected = OKX[name]
    content = payload("okx", name)
    data = content["data"] if isinstance(content, dict) and "data" in content else [content]
    names = ["BTC-USDT", "BTC-USD", *(f"BTC-USD-241217-{strike}-{side}" for strike in (92000, 94000) for side in "CP")]
    terms: dict[str, list[Any]] = {
        "SPOT": [fake_okx.SPOT | {"instId": one} for one in names[:2]],
        "SWAP": [fake_okx.SWAP, fake_okx.SWAP | {"instId": "ETH-USDT-SWAP", "uly": "ETH-USDT"}],
        "FUTURES": [],
        "OPTION": [fake_okx.OPTION | {"instId": one} for one in names[2:]],
    }
    session = fake_okx.session(inst_types=("SPOT", "SWAP"), option_families=("BTC-USD",), dead_man_s=0)
    venue = FakeOkx(session, {
        "GET /api/v5/public/instruments": lambda request: terms[query_of(request)["instType"]],
        "GET /api/v5/account/positions": lambda _: [],
    })  # fmt: skip
    far_ahead(venue)
    if where.startswith("GET"):
        if where == "GET /api/v5/trade/fills":
            venue.session._must_backfill, venue.session._since_ns = True, venue.now_ns
        # A listing is of one kind of instrument.
        kind = data[0].get("instType", "SPOT") if isinstance(data[0], dict) else "SPOT"
        usual = venue.answers[where]
        venue.answers[where] = lambda request: (
            data if query_of(request).get("instType", kind) == kind or not usual else usual(request)
        )
        venue.connect()
        check(venue.seen, expected, name)
        return
    venue.connect()
    if where == "order":
        venue.answers["order"] = None
        venue.session.place("a1", "BTC-USDT-SWAP", True, "0.1", "5", "limit", "good_til_cancelled", False, False, 1)
        ((_, frame),) = venue.pump()
        check(venue.receive("private", {"id": frame["id"], "op": "order", "code": "0", "data": data}) + [
            VenueErrorReported(0, event.message) for event in venue.seen if hasattr(event, "is_definite")
        ], expected, name)  # fmt: skip
    elif where in ("public", "private"):
        if name == "ws_books_snapshot.json":
            venue.receive("public", content)
            check(venue.seen, expected, name)
            return
        check(venue.receive(where, content), expected, name)
    else:
        arg = {"instId": "BTC-USDT"} if where != "opt-summary" else {"instFamily": "BTC-USD"}
        frame = fake_okx.push(where, data, "update", **arg)
        check(venue.receive("public", frame), expected, name)


@pytest.mark.parametrize("name", BYBIT)
def test_payloads_of_bybit(name: str) -> None:
    where, expected = BYBIT[name]
    where, _, category = where.partition(" spot")[0], "", "spot" if where.endswith(" spot") else "linear"
    content = payload("bybit", name)
    option = fake_bybit.OPTION | {"symbol": "BTC-6JAN23-17500-C"}
    terms = {"linear": [fake_bybit.LINEAR], "option": [option], "spot": []}
    categories = ("spot",) if category == "spot" else ("linear", "option")
    session = fake_bybit.session(categories=categories, option_coins=("BTC",), settle_coins=("USDT",), dead_man_s=0)
    venue = FakeBybit(session, {
        "GET /v5/market/instruments-info": lambda request: {"list": terms[query_of(request)["category"]]},
    })  # fmt: skip
    far_ahead(venue)
    if not where.startswith("GET"):
        venue.connect()
        events = venue.receive(where, content)
        check(events, expected, name)
        return
    others = venue.answers[where]
    body = venue.http_body

    def answered(request: Any, result: Any) -> bytes:
        is_it = result is content
        return orjson.dumps(content) if is_it else body(request, result)

    venue.http_body = answered  # type: ignore[method-assign]
    asked_of = ("category", category)
    venue.answers[where] = lambda request: (
        content if query_of(request).get(*asked_of) == category or not others else others(request)
    )
    if where == "GET /v5/execution/list":
        venue.session._must_backfill, venue.session._since_ns = True, venue.now_ns
    venue.connect()
    check(venue.seen, expected, name)
