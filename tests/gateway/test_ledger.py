"""The book: changed by records alone, bounded, and hashed whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import ledger as ledger_module
from gateway import records
from gateway.ledger import Ledger, instrument_of
from risk.account import AccountState
from tests.gateway.rig import BTC, ETH, START_NS, accepted, filled, listed, opened
from tests.gateway.test_executions import ordered


def book() -> Ledger:
    """One account, one instrument."""
    from gateway.translate import listed as record_of

    ledger = Ledger()
    for record in (
        records.GatewayStarted("t", "run"),
        records.AccountOpened("alpha", "USD"),
        records.CashMoved("alpha", "BTC", 10**8, "deposit"),
        record_of(listed(BTC), "deribit", 0),
    ):
        ledger.apply(record, START_NS)
    return ledger


def approve(ledger: Ledger, cl_ord_id: str = "o") -> str:
    order_id = ledger.next_order_id()
    record = records.OrderApproved("ALPHA", 2, order_id, cl_ord_id, "alpha", 0, 1, 10, 118_000, 2, 1, False, False, 11)
    ledger.apply(record, START_NS)
    return order_id


def test_nothing_may_be_traded_before_the_limits_are_set() -> None:
    ledger = book()
    account = ledger.accounts["alpha"]
    assert not account.limits.by_instrument and account.limits.max_order_notional == 0.0


def test_each_start_has_order_ids_of_its_own() -> None:
    ledger = book()
    first = approve(ledger)
    ledger.apply(records.GatewayStarted("t", "later"), START_NS)
    second = approve(ledger, "p")
    assert first == "run-1" and second == "later-2"


def test_records_that_owe_the_book_nothing_change_nothing() -> None:
    ledger = book()
    before = ledger.state_hash()
    for record in (records.SessionMoved("A", 1, 2), records.StatusAsked("A", 1, "", "", "", "")):
        ledger.apply(record, START_NS + 1)
    assert ledger.state_hash() == before and ledger.time_ns == START_NS + 1


CHANGES: dict[str, Any] = {
    "state": records.AccountStateMoved("alpha", "halted", "x"),
    "cash": records.CashMoved("alpha", "BTC", 1, "x"),
    "break": records.BreakRaised("deribit", BTC, "x"),
    "accepted": records.VenueAccepted("run-1", "V1"),
    "filled": records.Filled("run-1", "deribit", "t1", 1, 118_000, 0, True),
    "cancel asked": records.CancelRequested("ALPHA", 3, "run-1", "c"),
    "replace asked": records.ReplaceRequested("ALPHA", 3, "run-1", "r", 20, 118_000, 11),
    "lost": records.OrderLost("run-1"),
    "cancelled": records.Cancelled("run-1", "x"),
    "rejected": records.VenueRejected("run-1", 0, "x"),
    "account": records.AccountOpened("beta", "USD"),
}


def test_the_hash_covers_everything_that_survives_a_restart() -> None:
    hashes = set()
    for record in [None, *CHANGES.values()]:
        ledger = book()
        approve(ledger)
        if record is not None:
            ledger.apply(record, START_NS)
        hashes |= {ledger.state_hash(), ledger.state_hash("ALPHA:2:2")}
    assert len(hashes) == 2 * (len(CHANGES) + 1)


def test_the_memory_of_ended_orders_trades_and_breaks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ENDED_ORDERS_KEPT", 3)
    monkeypatch.setattr(ledger_module, "TRADE_IDS_KEPT", 2)
    ledger = book()
    for number in range(5):
        order_id = approve(ledger, f"o{number}")
        ledger.apply(records.Filled(order_id, "deribit", f"t{number}", 10, 118_000, 0, True), START_NS)
    assert list(ledger.orders) == ["run-3", "run-4", "run-5"]
    assert not ledger.knows_trade("deribit", "t2") and ledger.knows_trade("deribit", "t4")
    assert not ledger.knows_trade("another", "t4")
    for number in range(ledger_module.BREAKS_KEPT + 1):
        ledger.apply(records.BreakRaised("deribit", BTC, str(number)), START_NS)
    assert len(ledger.breaks) == ledger_module.BREAKS_KEPT and ledger.breaks[0].text == "1"


def test_accounts_of_one_session_share_their_cl_ord_ids_and_others_do_not() -> None:
    ledger = Ledger()
    for name in "abcd":
        ledger.apply(records.AccountOpened(name, "USD"), START_NS)
    ledger.accounts["b"].cl_ord_ids.remember("old", "r-1", 1)
    ledger.apply(records.SessionOpened("A", "F", "G", "A", ("a", "b")), START_NS)
    ledger.apply(records.SessionOpened("B", "F", "G", "B", ("b", "c")), START_NS)
    ledger.apply(records.SessionOpened("C", "F", "G", "C", ()), START_NS)
    a, b, c, d = (ledger.accounts[name].cl_ord_ids for name in "abcd")
    assert a is b is c is not d and "old" in a


def test_positions_of_a_venue_are_summed_over_accounts(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        _, order = ordered(rig)
        rig.hear(filled(order, 40))
        beta = rig.desk("BETA").log_on()
        beta.order(account="beta", side=2, price=60_000, quantity=30)
        sell = list(rig.ledger.orders.values())[-1]
        rig.hear(accepted(sell), filled(sell, 30, "t2"))
        assert rig.ledger.venue_lots("deribit") == {BTC: 1} and rig.ledger.venue_lots("another") == {}
        assert {o.order_id for o in rig.ledger.working_orders()} == {order.order_id}


def test_a_listing_again_replaces_the_instrument_in_its_place() -> None:
    from gateway.translate import listed as record_of

    ledger = book()
    ledger.apply(record_of(listed(ETH), "deribit", 1), START_NS)
    ledger.apply(record_of(listed(BTC, is_open=False), "deribit", 0), START_NS)
    assert [i.symbol for i in ledger.instruments] == [BTC, ETH] and not ledger.by_symbol[BTC].is_open
    assert instrument_of(ledger.listings[0]) == ledger.instruments[0]


def test_a_restriction_never_loosens_a_halt() -> None:
    ledger = book()
    order_id = approve(ledger)
    ledger.apply(records.AccountStateMoved("alpha", "halted", "a person"), START_NS)
    for trade in ("t1", "t2"):
        ledger.apply(records.Filled(order_id, "deribit", trade, 20, 118_000, 0, True), START_NS)
    account = ledger.accounts["alpha"]
    assert account.state is AccountState.HALTED and account.state_reason == "a person"
    assert account.position_lots(0) == 40
