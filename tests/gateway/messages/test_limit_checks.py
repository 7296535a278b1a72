"""PartyRiskLimitCheckRequest(DF): the very answer that the order itself would get, and nothing is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import records
from protocols.fix.codec import Message
from risk.account import AccountState
from risk.order import RejectReason
from tests.gateway.readers import Client, config_of, shown
from tests.gateway.rig import BTC, SECOND, VENUE, Rig, accepted, filled, full_journal, opened

FIX50 = "FIXT.1.1"
_TAGS = {"account": 1, "cl_ord_id": 11, "orig": 41, "quantity": 38, "ord_type": 40, "price": 44, "side": 54,
         "symbol": 55, "tif": 59, "amount": 2324, "kind": 2323, "trans": 2320, "check": 2321, "id": 2318,
         "currency": 15}  # fmt: skip
_DEFAULTS = {"id": "w1", "trans": 0, "check": 0, "symbol": BTC, "side": 1, "quantity": 100, "price": 59_000}


def fields(**changes: Any) -> list[tuple[int, bytes]]:
    values = _DEFAULTS | changes
    return [(_TAGS[name], str(value).encode()) for name, value in values.items() if value is not None]


def what_if(client: Client, **changes: Any) -> Message:
    answers = client.ask("DF", *fields(**changes))
    assert len(answers) == 1, [message.raw for message in answers]
    told = answers[0]
    assert told.msg_type == "DG"
    return told


def status(told: Message) -> tuple[bytes, ...]:
    return shown(told, 2325, 2326, 20001)[1:]


def test_an_order_that_would_pass(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        before = rig.core.state_hash()
        told = what_if(client, account="alpha", cl_ord_id="x")
        assert shown(told, 2318, 2320, 2321, 2325, 2326, 1, 55, 54, 38, 44, 2327) == (
            b"DG", b"w1", b"0", b"0", b"0", b"0", b"alpha", BTC.encode(), b"1", b"100", b"59000.0", b"100.00",
        )  # fmt: skip
        equity, excess, required = (float(value or b"nan") for value in told.values((20003, 20004, 20005)))
        account = rig.ledger.accounts["alpha"]
        assert equity == pytest.approx(rig.core.market.kernel.equity(account.index, rig.core.market.base_scenario))
        assert excess == pytest.approx(equity - required, abs=0.02)
        assert required > 0
        assert account.exposure.orders == {} and not account.cl_ord_ids.was_used("x", rig.now_ns)
        assert rig.link.placed == []
        kinds = {type(record) for record in rig.history()}
        assert records.OrderApproved not in kinds and records.OrderRefused not in kinds
        assert rig.core.state_hash() != before  # the numbers of the session, which VolatileSent has
        rig.check_replay()


def orders_for(reason: RejectReason) -> dict[str, Any]:
    return {
        RejectReason.UNKNOWN_ACCOUNT: {"account": "beta"},
        RejectReason.UNKNOWN_INSTRUMENT: {"symbol": "DOGE"},
        RejectReason.QUANTITY_NOT_IN_LOTS: {"quantity": 105},
        RejectReason.PRICE_NOT_IN_TICKS: {"price": "59000.1"},
        RejectReason.QUANTITY_ABOVE_LIMIT: {"quantity": 100_010},
        RejectReason.PRICE_OUTSIDE_COLLAR: {"price": 10},
        RejectReason.UNSUPPORTED_CHARACTERISTIC: {"tif": 7},
        RejectReason.UNKNOWN_CURRENCY: {"currency": "JPY"},
    }[reason]


@pytest.mark.parametrize(
    ("reason", "result"),
    [
        (RejectReason.UNKNOWN_ACCOUNT, b"1"),
        (RejectReason.UNKNOWN_INSTRUMENT, b"99"),
        (RejectReason.QUANTITY_NOT_IN_LOTS, b"99"),
        (RejectReason.PRICE_NOT_IN_TICKS, b"99"),
        (RejectReason.QUANTITY_ABOVE_LIMIT, b"3"),
        (RejectReason.PRICE_OUTSIDE_COLLAR, b"99"),
        (RejectReason.UNSUPPORTED_CHARACTERISTIC, b"99"),
        (RejectReason.UNKNOWN_CURRENCY, b"99"),
    ],
)
def test_refusals_are_those_of_an_order(tmp_path: Path, reason: RejectReason, result: bytes) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        changes = orders_for(reason)
        told = what_if(client, **changes)
        assert status(told) == (b"2", result, str(int(reason)).encode())
        order = {1: b"alpha", 40: b"2", 59: b"1", 11: b"o", 60: b"20251009-08:53:20.000"} | dict(fields(**changes))
        kept = {tag: value for tag, value in order.items() if tag < 100}
        (report,) = client.ask("D", *sorted(kept.items()))
        tags = (20001, 20002, 20003, 20004, 20005, 20007)
        assert report.values(tags) == told.values(tags)
        assert report.get(58) == told.get(1328)


def test_margin_is_judged_as_for_an_order(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50).replace('BTC = "2", USDC = "100000"', 'USDC = "5000"')) as rig:
        client = Client(rig, FIX50)
        told = what_if(client, quantity=100_000)
        assert status(told) == (b"2", b"2", b"701")
        (report,) = client.ask(
            "D", (1, b"alpha"), (11, b"o"), (38, b"100000"), (40, b"2"), (44, b"59000"), (54, b"1"),
            (55, BTC.encode()), (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        assert report.values((20003, 20004, 20005)) == told.values((20003, 20004, 20005))
        # How much would pass: the largest whole number of lots, and no more.
        told = what_if(client, quantity=100_000, kind=1)
        assert status(told) == (b"1", b"0", b"")
        largest = int(told.get(38) or b"0")
        assert 0 < largest < 100_000
        assert status(what_if(client, quantity=largest))[0] == b"0"
        assert status(what_if(client, quantity=largest + 10))[0] == b"2"
        assert float(told.get(2327) or b"0") == largest


def test_an_amount_in_dollars_is_the_least_quantity_worth_as_much(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        told = what_if(client, quantity=None, price=None, amount="1995.5")
        assert shown(told, 2325, 38, 2324) == (b"DG", b"0", b"2000", b"1995.5")
        assert status(what_if(client, quantity=None, amount="1e30".replace("e30", "0" * 17)))[0] == b"2"
        assert status(what_if(client, quantity=None, amount="-5")) == (b"2", b"99", b"301")
        assert status(what_if(client, quantity=None)) == (b"2", b"99", b"301")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"trans": 1}, b"2320"),
        ({"trans": 2}, b"2320"),
        ({"check": 1}, b"2321"),
        ({"kind": 7}, b"2323"),
        ({"id": "x" * 65}, b"2318"),
        ({"orig": "none"}, b"names no working order"),
    ],
)
def test_what_is_not_served_is_refused_in_its_own_ack(tmp_path: Path, changes: dict[str, Any], word: bytes) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        told = what_if(Client(rig, FIX50), **changes)
        assert status(told) == (b"2", b"99", b"801")
        assert word in (told.get(1328) or b"")


def test_an_account_by_party(tmp_path: Path) -> None:
    party = [(453, b"1"), (448, b"beta"), (447, b"D"), (452, b"24")]
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        for party_id, role, account, wanted in (
            (b"alpha", b"24", b"", b"0"),
            (b"alpha", b"24", b"alpha", b"0"),
            (b"beta", b"24", b"", b"2"),
            (b"alpha", b"24", b"beta", b"2"),
            (b"alpha", b"1", b"", b"2"),
        ):
            party = [(453, b"1"), (448, party_id), (447, b"D"), (452, role)]
            (told,) = client.ask("DF", *([(1, account)] if account else []), *party, *fields())
            assert told.get(2325) == wanted, (party_id, role, account)
            assert told.get(20001) == (None if wanted == b"0" else b"101")


def test_a_replacement_is_judged_without_its_own_hold(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        client.ask(
            "D", (1, b"alpha"), (11, b"o"), (38, b"100000"), (40, b"2"), (44, b"59000"), (54, b"1"),
            (55, BTC.encode()), (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        order = rig.only_order()
        assert status(what_if(client, orig="o", quantity=90_000)) == (b"2", b"99", b"801")  # not acknowledged yet
        rig.hear(accepted(order), filled(order, 40_000))
        client.ask(
            "D", (1, b"alpha"), (11, b"p"), (38, b"100"), (40, b"2"), (44, b"58000"), (54, b"1"), (55, BTC.encode()),
            (59, b"1"), (60, b"20251009-08:53:20.000"),
        )  # fmt: skip
        client.pump()
        assert status(what_if(client, quantity=90_000)) == (b"2", b"2", b"601")
        told = what_if(client, orig="o", quantity=90_000)
        assert shown(told, 2325, 38, 41) == (b"DG", b"0", b"90000", b"o")
        assert status(what_if(client, orig="o", side=2)) == (b"2", b"99", b"801")
        assert order.held == (6_000, 118_000) and order.replace is None
        rig.check_holds()
        rig.check_replay()  # though the order was let go of and held again, behind what else works


def test_kills_halts_and_venues_come_first(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        rig.core.market.live_venues.discard(VENUE)
        assert status(what_if(client))[2] == b"203"
        rig.core.market.live_venues.add(VENUE)
        rig.pipeline.commit(records.AccountStateMoved("alpha", AccountState.HALTED, "test"), rig.now_ns)
        assert status(what_if(client))[2] == b"102"
        rig.core.controls.kill("session", "ALPHA", "test", "test", rig.now_ns)
        assert status(what_if(client))[2] == b"104"
        rig.now_ns += 3600 * SECOND


def test_it_takes_no_token_of_the_rate(tmp_path: Path) -> None:
    text = config_of(FIX50).replace(
        "max_orders_per_second = 1000\norder_burst = 1000", "max_orders_per_second = 1\norder_burst = 1"
    )
    with opened(tmp_path, config=text) as rig:
        client = Client(rig, FIX50)
        for _ in range(5):
            assert status(what_if(client))[0] == b"0"
        assert rig.ledger.accounts["alpha"].rate.admit(rig.now_ns)
        assert status(what_if(client)) == (b"2", b"99", b"403")


def test_the_sessions_throttle_counts_it(tmp_path: Path) -> None:
    line = 'target_comp_id = "ALPHA"'
    text = config_of(FIX50).replace(line, f"{line}\nthrottle_messages = 2\nthrottle_interval_ms = 1000", 1)
    with opened(tmp_path, config=text) as rig:
        client = Client(rig, FIX50)
        assert [status(what_if(client))[0] for _ in range(2)] == [b"0", b"0"]
        (told,) = client.ask("DF", *fields())
        assert shown(told, 372, 380)[:2] == (b"j", b"DF") and b"THROTTLED" in (told.get(58) or b"")
        rig.now_ns += SECOND
        assert status(what_if(client))[0] == b"0"


def test_nothing_is_told_where_its_number_can_not_be_written(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client = Client(rig, FIX50)
        with full_journal(rig):
            (told,) = client.ask("DF", *fields())
            assert shown(told, 372, 380) == (b"j", b"DF", b"4")


def test_older_versions_do_not_have_it(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of("FIX.4.4")) as rig:
        client = Client(rig, "FIX.4.4")
        assert client.ask("DF", *fields()) == []  # Reject(3): an invalid MsgType
        assert rig.ledger.accounts["alpha"].exposure.orders == {}


@settings(max_examples=60)
@given(
    side=st.sampled_from((1, 2)),
    quantity=st.integers(0, 12_000).map(lambda lots: lots * 10),
    price=st.integers(-4_000, 4_000).map(lambda ticks: 60_000 + ticks * 0.5),
    is_filled=st.booleans(),
)
def test_it_always_agrees_with_the_order(rig_at: Rig, side: int, quantity: int, price: float, is_filled: bool) -> None:
    """Asked first and then sent, an order gets the same answer."""
    client = CLIENTS[id(rig_at)]
    told = what_if(client, side=side, quantity=quantity, price=price, account="alpha")
    number = rig_at.core.monitor.orders_in
    answers = client.ask(
        "D", (1, b"alpha"), (11, b"h%d" % number), (38, str(quantity).encode()), (40, b"2"), (44, str(price).encode()),
        (54, str(side).encode()), (55, BTC.encode()), (59, b"1"), (60, b"20251009-08:53:20.000"),
    )  # fmt: skip
    assert (told.get(2325) == b"0") is (answers == [])
    if answers:
        assert answers[0].values((20001, 20002)) == told.values((20001, 20002))
    else:
        order = list(rig_at.ledger.orders.values())[-1]
        rig_at.hear(accepted(order))
        if is_filled:
            rig_at.hear(filled(order, quantity, f"t{number}"))
        client.pump()
    rig_at.check_holds()


CLIENTS: dict[int, Client] = {}


@pytest.fixture(scope="module")
def rig_at(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with opened(tmp_path_factory.mktemp("rig"), config=config_of(FIX50)) as rig:
        CLIENTS[id(rig)] = Client(rig, FIX50)
        yield rig


def basket(*orders: tuple[int, int, int], account: str = "alpha", **changes: Any) -> list[tuple[int, bytes]]:
    """A what-if of orders, each a side, a quantity and a price; as in a NewOrderList(E)."""
    head = {"id": "w1", "trans": 0, "check": 0, "account": account} | changes
    told = [(_TAGS[name], str(value).encode()) for name, value in head.items()]
    told.append((73, b"%d" % len(orders)))
    for place, (side, quantity, price) in enumerate(orders, 1):
        entry = ((11, f"b{place}"), (67, place), (55, BTC), (54, side), (38, quantity), (40, 2), (44, price))
        told += [(tag, str(value).encode()) for tag, value in entry]
    return told


def test_a_basket_passes_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path, config=config_of(FIX50)) as rig:
        client, account = Client(rig, FIX50), rig.ledger.accounts["alpha"]
        (told,) = client.ask("DF", *basket((1, 100, 59_000), (2, 200, 61_000)))
        shown_of = shown(told, 2318, 2325, 2326, 1, 11, 55, 2327)
        assert shown_of == (b"DG", b"w1", b"0", b"0", b"alpha", b"", b"", b"300.00")
        equity, excess, required = (float(value or b"nan") for value in told.values((20003, 20004, 20005)))
        assert excess == pytest.approx(equity - required, abs=0.02) and required > 0
        # Each alone is within the position limit of 150 000; both are not.
        (told,) = client.ask("DF", *basket((1, 100_000, 59_000), (1, 60_000, 59_000)))
        assert status(told)[0] == b"2" and shown(told, 11, 38) == (b"DG", b"b2", b"60000")
        assert b"order 2 of 2" in (told.get(1328) or b"")
        for odd in ({"kind": 1}, {"trans": 1}):
            (told,) = client.ask("DF", *basket((1, 100, 59_000), **odd))
            assert status(told)[0] == b"2"
        (told,) = client.ask("DF", *basket((1, 100, 59_000), account="beta"))
        assert status(told)[:2] == (b"2", b"1")
        assert account.exposure.orders == {} and rig.link.placed == []
        assert records.OrderApproved not in {type(record) for record in rig.history()}


def test_a_basket_that_passes_is_placed_and_one_that_does_not_is_not_placed_whole(tmp_path: Path) -> None:
    """Against the orders themselves, one after the other."""
    for quantities in ((100, 200), (60_000, 60_000, 60_000), (100_000, 100_000)):
        with opened(tmp_path / str(sum(quantities)), config=config_of(FIX50)) as rig:
            client = Client(rig, FIX50)
            (told,) = client.ask("DF", *basket(*((1, quantity, 59_000) for quantity in quantities)))
            placed = 0
            for number, quantity in enumerate(quantities):
                order = {"cl_ord_id": f"x{number}", "quantity": quantity, "account": "alpha"}
                one = (*fields(**order, id=None, trans=None, check=None), (40, b"2"), (60, b"20251009-08:53:20"))
                client.ask("D", *one)
                placed += len(rig.link.placed) > number
                if placed <= number:
                    break
            assert (status(told)[0] == b"0") == (placed == len(quantities))
