"""Funding and deliveries as each venue tells them: what is asked for and when, what an answer means, and each once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from protocols.venues import bookings
from protocols.venues.bybit_bookings import DELIVERY_RECORD, delivery_of
from protocols.venues.events import ContractDelivered, FundingBooked, ReconcileFailed, VenueErrorReported
from protocols.venues.okx_bookings import BILLS, booking_of
from tests.protocols.venues.cases import BINANCE, BYBIT, OKX
from tests.protocols.venues.lane_peer import T0_MS, T0_NS, S, of, query_of

D = Decimal
HOUR_MS = 3_600_000


def income(kind: str, amount: str, symbol: str = "BTCUSDT", tran_id: int = 7, ms: int = T0_MS) -> dict[str, Any]:
    return {"symbol": symbol, "incomeType": kind, "income": amount, "asset": "USDT", "time": ms, "info": "",
            "tranId": tran_id, "tradeId": ""}  # fmt: skip


def bill(kind: str, sub_type: str, change: str, bill_id: str = "7", **more: str) -> dict[str, Any]:
    return {"billId": bill_id, "instId": "BTC-USDT-SWAP", "type": kind, "subType": sub_type, "ccy": "USDT",
            "balChg": change, "ts": str(T0_MS), "px": "", "fee": ""} | more  # fmt: skip


def asked(peer: Any, path: str) -> list[dict[str, str]]:
    return [query_of(one) for one in peer.asked if one.target.partition("?")[0].endswith(path)]


def funding_of(events: list[Any]) -> list[tuple[str, str, Decimal, str]]:
    return [(one.symbol, one.settlement_id, one.amount, one.currency) for one in of(events, FundingBooked)]


@pytest.mark.parametrize("case", [BINANCE, OKX, BYBIT], ids=lambda case: case.name)
def test_a_first_connection_asks_for_no_bookings_and_each_later_one_does(case: Any) -> None:
    peer = case.live()
    paths = {"binance": "/income", "okx": "/bills", "bybit": "/delivery-record"}
    path = paths[case.name.split("-")[0]]
    assert not asked(peer, path)
    peer.session.reconcile(peer.now_ns)
    peer.pump()
    (first, *_) = asked(peer, path)
    since_ms = int(first.get("startTime") or first["begin"])
    assert since_ms == T0_MS - bookings.CLOCK_MARGIN_NS // 1_000_000
    peer.session.reconcile(peer.now_ns)  # right after an answer: nothing new can be there
    peer.pump()
    count = len(asked(peer, path))
    peer.pass_time(2 * S)
    assert len(asked(peer, path)) > count  # what that may have missed is asked for a moment later
    assert not of(peer.events(), ReconcileFailed)


def test_binance_tells_of_funding_by_its_list_of_income() -> None:
    venue = BINANCE.live()
    rows = {"FUNDING_FEE": [income("FUNDING_FEE", "-0.25"), income("FUNDING_FEE", "0.5", "ETHUSDT", 8)]}
    venue.answers["GET /fapi/v1/income"] = lambda request: rows.get(query_of(request)["incomeType"], [])
    body = {"m": "FUNDING_FEE", "B": [{"a": "USDT", "wb": "100", "cw": "100", "bc": "-0.25"}], "P": []}
    venue.receive("private", {"stream": "k", "data": {"e": "ACCOUNT_UPDATE", "E": T0_MS, "T": T0_MS, "a": body}})
    events = venue.pass_time(S)
    assert funding_of(events) == [
        ("BTCUSDT", "FUNDING_FEE-7-BTCUSDT-USDT", D("-0.25"), "USDT"),
        ("ETHUSDT", "FUNDING_FEE-8-ETHUSDT-USDT", D("0.5"), "USDT"),
    ]


def test_a_delivery_at_binance_is_at_the_price_of_its_day() -> None:
    venue = BINANCE.live()
    dated = "BTCUSDT_261225"
    prices: list[dict[str, Any]] = [{"deliveryTime": T0_MS - 90 * 24 * HOUR_MS, "deliveryPrice": 40_000.0}]
    venue.answers["GET /fapi/v1/income"] = lambda request: (
        [income("DELIVERED_SETTELMENT", "12", dated, 9)] if "DELIVERED" in query_of(request)["incomeType"] else []
    )
    venue.answers["GET /futures/data/delivery-price"] = lambda _: prices
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    assert not of(venue.events(), ContractDelivered)  # that day's is not published yet
    prices.insert(0, {"deliveryTime": T0_MS, "deliveryPrice": 61_000.5})
    for _ in range(2):  # told once, though the list of income has it as long as we look back
        venue.pass_time(2 * S)
        venue.session.reconcile(venue.now_ns)
        venue.pump()
    venue.events()
    (told,) = of(venue.seen, ContractDelivered)
    assert (told.symbol, told.delivery_price, told.fee) == (dated, D("61000.5"), D(0))
    assert asked(venue, "/delivery-price")[0] == {"pair": "BTCUSDT"}


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (bill("8", "173", "-0.25"), FundingBooked("BTC-USDT-SWAP", "7", D("-0.25"), "USDT", T0_NS)),
        (bill("3", "112", "5", px="61000", fee="-0.1"),
         ContractDelivered("BTC-USDT-SWAP", "7", D(61000), D("0.1"), "USDT", T0_NS)),
        (bill("3", "172", "0", px="61000"), ContractDelivered("BTC-USDT-SWAP", "7", D(61000), D(0), "USDT", T0_NS)),
    ],
)  # fmt: skip
def test_bills_of_okx(wire: dict[str, Any], expected: Any) -> None:
    (one,) = BILLS.decode(orjson.dumps([wire]))
    assert booking_of(one) == expected


@pytest.mark.parametrize(
    "wire", [bill("3", "117", "1", px="1"), bill("3", "112", "1"), bill("8", "173", "x"), bill("8", "173", "1", ts="")]
)
def test_a_bill_that_can_not_be_read_is_an_error_and_hides_no_other(wire: dict[str, Any]) -> None:
    venue = OKX.live()
    venue.answers["GET /api/v5/account/bills"] = lambda request: (
        [wire, bill("8", "174", "2", "9")] if query_of(request)["type"] == "8" else []
    )
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    events = venue.events()
    assert of(events, VenueErrorReported) and funding_of(events) == [("BTC-USDT-SWAP", "9", D(2), "USDT")]
    assert venue.session.is_live


def test_bills_come_in_pages_and_long_ago_from_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = OKX.live()
    every = [bill("8", "174", "1", str(900 - n)) for n in range(150)]

    def page(request: Any) -> list[dict[str, Any]]:
        query = query_of(request)
        after = int(query.get("after", "1000"))
        return [one for one in every if int(one["billId"]) < after and query["type"] == "8"][:100]

    venue.answers["GET /api/v5/account/bills"] = venue.answers["GET /api/v5/account/bills-archive"] = page
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    assert len(funding_of(venue.events())) == 150
    venue.session._booked_ns["8"] -= 8 * 86_400 * S
    venue.session._something_was_booked(venue.now_ns)
    venue.pass_time(2 * S)
    assert asked(venue, "/bills-archive")
    monkeypatch.setattr(bookings, "MAX_PAGES", 0)
    venue.session._something_was_booked(venue.now_ns)
    assert any("pages" in one.message for one in of(venue.pass_time(S), VenueErrorReported))


def test_okx_says_that_there_is_something_and_is_asked() -> None:
    venue = OKX.live()
    count = len(asked(venue, "/bills"))
    frame = {"arg": {"channel": "balance_and_position"}, "data": [{"eventType": "filled"}]}
    venue.receive("private", frame)
    venue.pass_time(S)
    assert len(asked(venue, "/bills")) == count
    venue.receive("private", frame | {"data": [{"eventType": "funding_fee"}]})
    venue.pass_time(S)
    assert len(asked(venue, "/bills")) == count + 2


def test_deliveries_of_bybit() -> None:
    wire = {"symbol": "BTC-26DEC25", "deliveryTime": T0_MS, "deliveryPrice": "61000.5", "fee": "0.2", "side": "Buy"}
    told = delivery_of(DELIVERY_RECORD.decode(orjson.dumps(wire)))
    assert told == ContractDelivered("BTC-26DEC25", f"BTC-26DEC25-{T0_MS}", D("61000.5"), D("0.2"), "", T0_NS)
    venue = BYBIT.live()
    venue.answers["GET /v5/asset/delivery-record"] = lambda _: {"list": [wire], "nextPageCursor": ""}
    venue.session.reconcile(venue.now_ns)
    venue.pump()
    assert of(venue.events(), ContractDelivered)[0] == told
    assert {one["category"] for one in asked(venue, "/delivery-record")} <= {"linear", "inverse", "option"}


def test_a_list_that_is_not_answered_is_asked_for_again() -> None:
    venue = OKX.live()
    venue.answers["GET /api/v5/account/bills"] = None
    venue.session._something_was_booked(venue.now_ns)
    events = venue.pass_time(S) + venue.pass_time(20 * S)
    assert any("not answered" in one.message for one in of(events, VenueErrorReported)) and venue.session.is_live
    assert venue.session._timers[bookings.TIMER] == venue.now_ns + bookings.LATER_NS
