"""Funding and the end of contracts in the book: once by the venue's id, whole over accounts, and after a replay."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway import settlements
from gateway.records.settlements import FundingBooked, PositionsDelivered
from protocols.venues import events
from risk.account import AccountState
from risk.exposure import WorkingOrder
from risk.instrument import Side
from tests.gateway.rig import BTC, SECOND, START_NS, Rig, accepted, filled, listed, opened, positions

LATER_NS = START_NS + 3_600 * SECOND
EXPIRY_NS = START_NS + 1_800 * SECOND
DATED, CALL = "BTC-26DEC25", "BTC-26DEC25-50000-C"


def funding(amount: str, settlement_id: str = "f1", at_ns: int = LATER_NS, **changes: Any) -> events.FundingBooked:
    return events.FundingBooked(
        **{
            "symbol": BTC,
            "settlement_id": settlement_id,
            "amount": Decimal(amount),
            "currency": "BTC",
            "time_ns": at_ns,
        }
        | changes
    )


def delivered(price: str, symbol: str = DATED, **changes: Any) -> events.ContractDelivered:
    values = {"settlement_id": "d1", "fee": Decimal(0), "fee_currency": "", "time_ns": EXPIRY_NS} | changes
    return events.ContractDelivered(symbol=symbol, delivery_price=Decimal(price), **values)


def rest(rig: Rig, comp_id: str, side: str, quantity: int, *, symbol: str = BTC, **more: Any) -> WorkingOrder:
    """Return a new order of a session that the venue has acknowledged."""
    desk = next((one for one in rig.desks if one.comp_id == comp_id), None) or rig.desk(comp_id).log_on()
    known = set(rig.ledger.orders)
    desk.order(side=side, quantity=str(quantity), symbol=symbol, **more)
    (order_id,) = rig.ledger.orders.keys() - known
    order = rig.ledger.orders[order_id]
    rig.hear(accepted(order))
    return order


def fill(rig: Rig, order: WorkingOrder, at_ns: int = START_NS) -> None:
    """Fill an order at the venue's time."""
    quantity = int(order.instrument.quantity(order.lots))
    rig.hear(filled(order, quantity, f"t-{order.order_id}", time_ns=at_ns, fee=Decimal(0)))


def trade(rig: Rig, comp_id: str, side: str, quantity: int, **more: Any) -> None:
    """Fill a new order at once."""
    fill(rig, rest(rig, comp_id, side, quantity, **more))


def cash(rig: Rig, account: str, currency: str = "BTC") -> int:
    return rig.ledger.accounts[account].cash_units.get(currency, 0)


def held(rig: Rig, account: str, symbol: str = BTC) -> int:
    return rig.ledger.accounts[account].position_lots(rig.ledger.by_symbol[symbol].index)


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    with opened(tmp_path) as one:
        one.hear(listed(DATED, kind="future", expiration_ns=EXPIRY_NS))
        one.mark(DATED, 60_000.0)
        one.core.valuation.run(one.now_ns)
        yield one


def test_funding_is_shared_by_what_each_account_holds_and_counts_once(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 500)
    trade(rig, "BETA", "2", 300, account="beta")
    before = {name: cash(rig, name) for name in ("alpha", "beta", "gamma")}
    rig.now_ns = LATER_NS
    rig.hear(funding("-0.00000100"), funding("-0.00000100"))
    assert cash(rig, "alpha") - before["alpha"] == -250 and cash(rig, "beta") - before["beta"] == 150
    assert cash(rig, "gamma") == before["gamma"]
    (booked,) = rig.of_type(FundingBooked)
    assert (booked.units, booked.shares) == (-100, (("alpha", -250), ("beta", 150)))
    assert rig.ledger.accounts["alpha"].venue_cash["deribit", "BTC"] == cash(rig, "alpha") - 2 * 10**8
    assert not rig.ledger.breaks
    rig.check_replay()
    again = rig.restart(now_ns=LATER_NS + SECOND)
    again.hear(funding("-0.00000100"))  # the query after a restart tells it again
    assert cash(again, "alpha") == cash(rig, "alpha")
    again.journal.close()


def test_a_fraction_of_a_unit_goes_against_the_client(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 100)
    before = cash(rig, "alpha")
    rig.now_ns = LATER_NS
    rig.hear(funding("0.000000019", "f1"), funding("-0.000000011", "f2"))
    assert cash(rig, "alpha") == before + 1 - 2


def test_who_held_it_when_it_was_charged_pays(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 200)
    orders = rest(rig, "BETA", "1", 100, account="beta"), rest(rig, "ALPHA", "2", 200, price=61_000)
    rig.now_ns = LATER_NS + SECOND
    # Both are told after the funding: a fill of before it, and one of after it.
    fill(rig, orders[0], LATER_NS - 1)
    fill(rig, orders[1], LATER_NS)
    rig.hear(funding("-0.00000300"))
    (booked,) = rig.of_type(FundingBooked)
    assert booked.shares == (("alpha", -200), ("beta", -100))
    rig.check_replay()


def test_funding_that_is_nobodys_is_a_break_and_is_told_of_once(rig: Rig) -> None:
    rig.hear(*[funding("-0.00000100")] * 2)
    assert [one.text for one in rig.ledger.breaks] == [
        "funding f1 of -0.00000100 BTC was booked on a position that nobody has here"
    ]
    trade(rig, "ALPHA", "1", 100)
    rig.hear(funding("1", "f2", currency="USDC"), *[funding("1", "f3", symbol="NOBODYS")] * 2)
    assert "f2 of 1 USDC is in USDC" in rig.ledger.breaks[1].text
    assert len(rig.ledger.breaks) == 3 and cash(rig, "alpha", "USDC") == 100_000 * 10**8
    rig.check_replay()


def test_what_was_booked_before_the_first_start_is_in_the_deposits(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 100)
    before = cash(rig, "alpha")
    rig.hear(funding("-1", at_ns=START_NS - 1), delivered("1", BTC, time_ns=START_NS - 1))
    assert cash(rig, "alpha") == before and held(rig, "alpha") == 10 and not rig.ledger.breaks


def test_an_ended_contract_is_closed_once_at_its_delivery_price(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 500, symbol=DATED)
    trade(rig, "BETA", "2", 300, symbol=DATED, account="beta")
    start = {name: cash(rig, name) for name in ("alpha", "beta")}
    rig.now_ns = EXPIRY_NS + SECOND
    fee = Decimal("0.00000008")
    rig.hear(*[delivered("61000.25", fee=fee, fee_currency="BTC")] * 2, delivered("61000.25", settlement_id="d2"))
    (booked,) = rig.of_type(PositionsDelivered)
    assert [share[:3] for share in booked.shares] == [("alpha", 50, "0"), ("beta", -30, "0")]
    assert [share[4] for share in booked.shares] == [5, 3]  # of the fee, by size
    net = Decimal(-200 * 10**8) / Decimal("61000.25")
    assert sum(share[3] for share in booked.shares) == int(net.to_integral_value("ROUND_FLOOR"))
    for name, _, _, units, fee_units in booked.shares:
        assert cash(rig, name) - start[name] == units - fee_units
        assert held(rig, name, DATED) == 0
    position = rig.ledger.accounts["alpha"].positions[rig.ledger.by_symbol[DATED].index]
    assert position.bought_lots == position.sold_lots == 50
    rig.hear(positions("BTC", {BTC: 0}), events.ReconcileFinished())
    assert not rig.ledger.breaks and not rig.executions.must_ask_again
    rig.check_replay()


def test_a_fill_of_before_the_end_that_is_told_after_it_is_closed_too(rig: Rig) -> None:
    desk = rig.desk().log_on()
    desk.order(side="1", quantity="100", symbol=DATED)
    order = rig.only_order()
    rig.hear(accepted(order))
    rig.now_ns = EXPIRY_NS + SECOND
    rig.hear(delivered("61000"))
    before = cash(rig, "alpha")
    rig.hear(filled(order, 100, time_ns=EXPIRY_NS - 1, fee=Decimal(0)))
    assert held(rig, "alpha", DATED) == 0
    late = rig.of_type(PositionsDelivered)[-1]
    assert late.delivery_price == "61000" and late.shares[0][:2] == ("alpha", 10)
    bought, closed = 100 * 10**8 // 59_000, -(-100 * 10**8 // 61_000)
    assert abs(cash(rig, "alpha") - before - (bought - closed)) <= 2
    rig.check_replay()


def test_two_prices_of_one_end_are_a_break_and_the_first_holds(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 100, symbol=DATED)
    rig.now_ns = EXPIRY_NS + SECOND
    rig.hear(delivered("61000"))
    before = cash(rig, "alpha")
    rig.hear(*[delivered("62000", settlement_id="d2")] * 2)
    assert [one.text for one in rig.ledger.breaks] == ["delivery d2 is at 62000, and one before it was at 61000"]
    assert cash(rig, "alpha") == before


def test_a_fee_in_another_currency_and_an_unknown_contract_are_breaks(rig: Rig) -> None:
    trade(rig, "ALPHA", "1", 100, symbol=DATED)
    rig.now_ns = EXPIRY_NS + SECOND
    rig.hear(
        delivered("61000", fee=Decimal(1), fee_currency="USDC"), *[delivered("5", "NOBODYS", settlement_id="d9")] * 2
    )
    assert [one.text for one in rig.ledger.breaks] == [
        "delivery d1 has its fee in USDC", "delivery d9 of an unknown instrument",
    ]  # fmt: skip
    assert held(rig, "alpha", DATED) == 0


@pytest.mark.parametrize(
    ("after_ns", "is_a_break"), [(-10 * SECOND, True), (-SECOND, False), (60 * SECOND, False), (901 * SECOND, True)]
)
def test_a_position_that_has_ended_is_no_break_until_its_price_is_overdue(
    rig: Rig, after_ns: int, is_a_break: bool
) -> None:
    trade(rig, "ALPHA", "1", 100, symbol=DATED)
    rig.now_ns = EXPIRY_NS + after_ns
    for _ in range(2):
        rig.hear(positions("BTC", {BTC: 0}), events.ReconcileFinished())
    assert bool(rig.ledger.breaks) is is_a_break
    state = AccountState.REDUCING if is_a_break else AccountState.TRADING
    assert rig.ledger.accounts["alpha"].state is state
    assert settlements.awaited(rig.ledger, DATED, rig.now_ns) is not is_a_break


def test_options_pay_what_they_are_worth_in_coin(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        rig.hear(
            listed(
                CALL, kind="option", is_inverse=False, quote_currency="BTC", tick_size=Decimal("0.0001"),
                min_trade_amount=Decimal("0.1"), contract_size=Decimal(1), strike=Decimal(50_000), option_type="call",
                expiration_ns=EXPIRY_NS,
            )
        )  # fmt: skip
        rig.core.valuation.run(rig.now_ns)
        account, option = rig.ledger.accounts["alpha"], rig.ledger.by_symbol[CALL]
        account.book_fill(option, Side.BUY, 5, 100, 0)  # half a coin's worth, as if from before
        before = cash(rig, "alpha")
        rig.now_ns = EXPIRY_NS + SECOND
        rig.hear(delivered("62500", CALL))
        assert cash(rig, "alpha") - before == 10**7 and account.position_lots(option.index) == 0  # 0.5 * 12500 / 62500


def test_ids_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlements, "IDS_KEPT", 2)
    book = settlements.Settlements()
    for name in ("a", "b", "c"):
        book.remember("okx", name)
    assert [book.knows("okx", name) for name in ("a", "b", "c")] == [False, True, True]
