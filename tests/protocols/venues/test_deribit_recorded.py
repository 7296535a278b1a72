"""The venue's own recordings, which lie outside of the repository: see MARGINGATE_RECORDED."""

from __future__ import annotations

import gzip
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from protocols.venues.events import (
    BookGapped,
    BookUpdated,
    InstrumentListed,
    MarkPriceUpdated,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    PortfolioReported,
    VenueErrorReported,
)
from tests.protocols.venues.fake_deribit import PERPETUAL, FakeDeribit, live, reply, session

ROOT = Path(__file__).parents[3]
RECORDED = Path(os.environ.get("MARGINGATE_RECORDED", ROOT.parent / "shared" / "data"))
PAYLOADS = RECORDED / "payloads" / "deribit"
STREAMS = RECORDED / "streams"

pytestmark = pytest.mark.skipif(not PAYLOADS.is_dir(), reason=f"no recorded data in {RECORDED}")

D = Decimal


def payload(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads((PAYLOADS / name).read_bytes())
    return loaded


def instrument(symbol: str, kind: str = "option") -> dict[str, Any]:
    """Return terms for a symbol of 2021, whose listing then had fewer fields."""
    terms = PERPETUAL | {"instrument_name": symbol}
    if kind == "option":
        terms |= {
            "kind": "option",
            "strike": 1.0,
            "option_type": "put",
            "expiration_timestamp": 1830240000000,
            "settlement_period": "month",
        }
    return terms


def frames() -> list[tuple[int, dict[str, Any], bytes]]:
    """Return (time, message, bytes) of the frames that the venue sent in the 30 s recording."""
    found = []
    with gzip.open(STREAMS / "cryptofeed_DERIBIT.ws.1.0.gz", "rt") as lines:
        for line in lines:
            time, _, text = line.partition(": ")
            if text.startswith("{") and "<-" not in time:
                found.append((int(float(time) * 1e9), orjson.loads(text), text.encode()))
    return found


def replay(without: int | None = None) -> tuple[FakeDeribit, list[Any]]:
    """Play the recording to a session, but for one frame; return the venue and each event with the venue's state."""
    recorded = frames()
    symbols = sorted(
        {message["params"]["data"]["instrument_name"] for _, message, _ in recorded if "params" in message}
    )
    venue = FakeDeribit(
        session(ticker_interval="raw"),
        {"public/get_instruments": lambda _: [instrument(symbol) for symbol in symbols]},
    )
    venue.now_ns = recorded[0][0]
    venue.connect()
    assert venue.session.is_live
    events = []
    for index, (time_ns, message, frame) in enumerate(recorded):
        venue.now_ns = time_ns
        if "params" in message and index != without:
            events += venue.receive(frame)
            compare_with_book(venue, events[-1])
    return venue, events


compared: list[str] = []


def compare_with_book(venue: FakeDeribit, event: Any) -> None:
    """Where a ticker and a book bear the same timestamp, their best prices are the same."""
    if isinstance(event, MarkPriceUpdated):
        book = venue.session.book(event.symbol)
        if book.is_usable and book.time_ns == event.time_ns:
            assert float(book.best_bid or 0) == (event.best_bid or 0)
            assert float(book.best_ask or 0) == (event.best_ask or 0)
            compared.append(event.symbol)


def test_the_recorded_stream() -> None:
    """36 of 36 links of the change_id chain hold, and no frame is refused."""
    venue, events = replay()
    assert not any(isinstance(event, (VenueErrorReported, BookGapped)) for event in events)
    assert venue.session.malformed_frames == 0
    messages = [message["params"] for _, message, _ in frames() if "params" in message]
    books = [params["data"] for params in messages if params["channel"].startswith("book.")]
    changes = [data for data in books if data["type"] == "change"]
    assert len(changes) == 36
    assert sum(isinstance(event, BookUpdated) for event in events) == len(books)
    tickers = [params["data"] for params in messages if params["channel"].startswith("ticker.")]
    marks = [event for event in events if isinstance(event, MarkPriceUpdated)]
    assert [(mark.symbol, mark.mark_price, mark.index_price) for mark in marks] == [
        (data["instrument_name"], data["mark_price"], data["index_price"]) for data in tickers
    ]
    assert all(mark.mark_iv is not None and 0.5 < mark.mark_iv < 3 for mark in marks)


def test_the_recorded_books_agree_with_the_recorded_tickers() -> None:
    compared.clear()
    replay()
    assert len(compared) > 0


def test_a_gap_made_in_the_recording_is_found() -> None:
    """Without one change, that instrument's book and no other is set aside when its next change comes."""
    changes: dict[str, list[int]] = {}
    for index, (_, message, _) in enumerate(frames()):
        if "params" in message and message["params"]["data"].get("type") == "change":
            changes.setdefault(message["params"]["data"]["instrument_name"], []).append(index)
    busiest = max(changes, key=lambda symbol: len(changes[symbol]))
    venue, events = replay(without=changes[busiest][0])
    gapped = [event for event in events if isinstance(event, BookGapped)]
    assert {event.symbol for event in gapped} == {busiest}
    assert not venue.session.book(busiest).is_usable
    assert all(venue.session.book(symbol).is_usable for symbol in changes if symbol != busiest)


def placed(label: str, symbol: str, is_buy: bool) -> tuple[FakeDeribit, int]:
    venue = FakeDeribit(session(), {"public/get_instruments": lambda _: [instrument(symbol, "future")]})
    venue.connect()
    venue.answers |= dict.fromkeys(["private/buy", "private/sell", "private/cancel"])
    venue.session.place(
        label, symbol, is_buy, "0.001", "2973.55", "limit", "good_til_cancelled", True, False, venue.now_ns
    )
    (request,) = venue.pump()
    return venue, request["id"]


@pytest.mark.parametrize(
    ("name", "is_buy", "price"),
    [("ws_order_buy_response.json", True, "2973.55"), ("ws_order_sell_response.json", False, "3286.7")],
)
def test_recorded_order_replies(name: str, is_buy: bool, price: str) -> None:
    recorded = payload(name)
    order = recorded["result"]["order"]
    venue, request_id = placed(order["label"], order["instrument_name"], is_buy)
    assert venue.receive(orjson.dumps(recorded | {"id": request_id})) == [
        OrderAccepted(
            order["label"],
            order["order_id"],
            "ETH_USDC-PERPETUAL",
            "buy" if is_buy else "sell",
            D("0.001"),
            D(price),
            order["last_update_timestamp"] * 1_000_000,
        )
    ]


def test_the_recorded_cancel_reply() -> None:
    bought, recorded = payload("ws_order_buy_response.json"), payload("ws_order_cancel_response.json")
    label, order_id = recorded["result"]["label"], recorded["result"]["order_id"]
    venue, request_id = placed(label, "ETH_USDC-PERPETUAL", True)
    venue.receive(orjson.dumps(bought | {"id": request_id}))
    venue.session.cancel(label, order_id, venue.now_ns)
    (request,) = venue.pump()
    events = venue.receive(orjson.dumps(recorded | {"id": request["id"]}))
    assert events[-1] == OrderCancelled(label, order_id, "user_request", D(0))


def test_the_recorded_error() -> None:
    venue, request_id = placed("a", "ETH_USDC-PERPETUAL", True)
    event = venue.receive(orjson.dumps(payload("ws_error.json") | {"id": request_id}))[0]
    assert event == OrderRejected("a", 10028, "too_many_requests", False)


@pytest.mark.parametrize(
    ("name", "symbols", "skipped"),
    [
        ("http_get_instruments.json", ["BTC-PERPETUAL", "BTC-27DEC24", "BTC-27DEC24-100000-C"], 1),
        ("http_get_instruments_future_combo.json", [], None),
        ("http_get_instruments_option_combo.json", [], None),
    ],
)
def test_recorded_instruments(name: str, symbols: list[str], skipped: int | None) -> None:
    listing = payload(name)["result"]
    venue = FakeDeribit(session(), {"public/get_instruments": lambda _: listing})
    events = venue.connect()
    assert venue.session.is_live
    assert not any(isinstance(event, VenueErrorReported) for event in events)
    found = [event for event in events if isinstance(event, InstrumentListed)]
    assert [event.symbol for event in found] == symbols
    if skipped is not None:
        assert len(listing) == len(symbols) + skipped
        assert [event.kind for event in found] == ["perpetual", "future", "option"]
        assert found[2].strike == 100000


@pytest.mark.parametrize("name", ["http_get_account_summaries.json", "http_get_account_summaries_cross_margin.json"])
def test_recorded_account_summaries(name: str) -> None:
    recorded = payload(name)["result"]
    venue = FakeDeribit(session(), {"private/get_account_summaries": lambda _: recorded})
    events = venue.connect()
    reports = {event.currency: event for event in events if isinstance(event, PortfolioReported)}
    assert len(reports) == len(recorded["summaries"])
    for summary in recorded["summaries"]:
        report = reports[summary["currency"]]
        for field in ("equity", "margin_balance", "initial_margin", "maintenance_margin", "available_funds"):
            assert getattr(report, field) == D(repr(summary[field]))
        assert report.margin_model == summary["margin_model"]


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.name)
def test_every_recorded_payload_is_taken_without_an_exception(path: Path) -> None:
    """As it is, and as the answer to each kind of question."""
    venue = live()
    frame = path.read_bytes()
    venue.receive(frame)
    content = orjson.loads(frame)
    for method in list(venue.answers):
        other = FakeDeribit(session(trades_since_ns=0), {method: lambda _: content.get("result")})
        other.connect()
    venue.answers |= dict.fromkeys(["private/buy"])
    venue.session.place("a1", "BTC-PERPETUAL", True, "10", "5", "limit", "good_til_day", False, False, venue.now_ns)
    (request,) = venue.pump()
    venue.receive(reply(request["id"], content.get("result")))


def test_the_instruments_of_2021_lack_fields_and_are_refused_by_name() -> None:
    with gzip.open(STREAMS / "cryptofeed_DERIBIT.0.gz", "rt") as lines:
        listing = next(orjson.loads(line.partition(": ")[2]) for line in lines if "currency=BTC" in line)["result"]
    venue: FakeDeribit = FakeDeribit(session(), {"public/get_instruments": lambda _: listing})
    events = venue.connect()
    errors = [event for event in events if isinstance(event, VenueErrorReported)]
    assert len(errors) == len(listing)
    assert "instrument_type" in errors[0].message
    assert not any(isinstance(event, InstrumentListed) for event in events)
