"""An account is told its margin in its own currency: by FIX, the hook and the status; in USD where it can not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.hook.messages import Passed, Refused
from gateway.margin.figures import Figures, figures_of
from gateway.operators.showing_margin import margin_in_steps
from gateway.records import OrderApproved, OrderRefused
from gateway.records.margin import AccountCurrencySet, MarginCalled
from protocols.fix.codec import Message
from risk.calls import CallState
from risk.instrument import UNITS_PER_WHOLE
from risk.order import RejectReason
from tests.gateway.hook_rig import HOOK, hook_of, question
from tests.gateway.margin_floor import FIX44, FIX50, Floor, watched
from tests.gateway.readers import Client, config_of, shown
from tests.gateway.rig import BTC, ETH, NOW_TEXT, SECOND, VENUE, Rig, listed, opened

D = Decimal
UNIT = D("0.00000001")


def priced_in(currency: str, text: str) -> str:
    return text.replace('name = "alpha"\n', f'name = "alpha"\ncurrency = "{currency}"\n')


def config(currency: str, version: str = FIX50) -> str:
    return priced_in(currency, config_of(version))


def figures(rig: Rig) -> Figures:
    market, generation = rig.core.market, rig.core.valuation.generation
    found = figures_of(rig.ledger.accounts["alpha"], market, generation, rig.now_ns)
    assert isinstance(found, Figures)
    return found


def value(message: Message, tag: int) -> D:
    return D((message.get(tag) or b"").decode())


def asked(client: Client, msg_type: str, *more: tuple[int, bytes]) -> list[Message]:
    fields: dict[str, list[tuple[int, bytes]]] = {
        "BB": [(909, b"c1"), (453, b"1"), (448, b"alpha"), (447, b"D"), (452, b"24")],
        "CH": [(1635, b"m1"), (453, b"1"), (448, b"alpha"), (447, b"D"), (452, b"24")],
        "DF": [(2318, b"w1"), (2320, b"0"), (2321, b"0"), (1, b"alpha"), (40, b"2"), (44, b"1990"), (54, b"1"),
               (55, ETH.encode()), (38, b"100")],
    }  # fmt: skip
    return client.ask(msg_type, *fields[msg_type], *more)


def send(client: Client, quantity: int) -> list[Message]:
    return client.ask(
        "D", (1, b"alpha"), (11, b"o%d" % quantity), (21, b"1"), (38, b"%d" % quantity), (40, b"2"), (44, b"60000"),
        (54, b"1"), (55, BTC.encode()), (59, b"1"), (60, NOW_TEXT.encode()),
    )  # fmt: skip


def order(client: Client, quantity: int) -> Message:
    (report,) = send(client, quantity)
    return report


def make_unpriced(rig: Rig) -> None:
    """The venues contradict each other about the coin that the account is told in; it holds none of it itself."""
    for source, price in ((VENUE, 60_000.0), ("other", 40_000.0)):
        rig.core.market.board.observe("BTC", source, price, rig.now_ns)
    rig.core.valuation.run(rig.now_ns)


def let_usdt_fall(rig: Rig) -> None:
    rig.core.market.board.observe("USDT", VENUE, 0.97, rig.now_ns)


ETHER_ONLY = {'deposits = { BTC = "2", USDC = "100000" }': 'deposits = { ETH = "50", USDC = "100000" }'}
CASES: list[tuple[str, Any, str, float, bytes]] = [
    ("USD", None, "USD", 1.0, b""),
    ("BTC", None, "BTC", 60_000.0, b"1 BTC = 60000 USD"),
    ("ETH", None, "ETH", 2_000.0, b"1 ETH = 2000 USD"),
    ("USDT", None, "USDT", 1.0, b"1 USDT = 1 USD"),
    ("USDT", let_usdt_fall, "USD", 1.0, b"in USD: USDT is off its peg, at 0.97 USD"),
    ("XRP", None, "USD", 1.0, b"in USD: XRP has no index price"),
    ("BTC", make_unpriced, "USD", 1.0, b"in USD: BTC has no index price"),
]


@pytest.mark.parametrize(("currency", "happens", "told_in", "price", "terms"), CASES)
def test_what_is_asked_is_told_in_the_accounts_currency(
    tmp_path: Path, currency: str, happens: Any, told_in: str, price: float, terms: bytes
) -> None:
    text = config(currency)
    for old, new in ETHER_ONLY.items():
        text = text.replace(old, new)
    with opened(tmp_path, config=text) as rig:
        client = Client(rig, FIX50)
        if happens is not None:
            happens(rig)
        found, name = figures(rig), told_in.encode()
        last = D("0.01") if told_in in ("USD", "USDT") else UNIT
        has, needs = ((D(amount) / D(price) for amount in pair) for pair in
                      ((found.equity, found.excess, found.cash), (found.initial, found.maintenance)))  # fmt: skip

        def is_told(told: D, exact: D, sign: int) -> None:
            assert -D("1e-12") - last < sign * (told - exact) <= D("1e-6"), (told, exact)

        _, whole, *coins = asked(client, "BB")
        assert shown(whole, 15, 58) == (b"BA", name, terms)
        equity, excess, cash = has
        for tag, exact in ((900, equity), (899, excess), (901, cash)):
            is_told(value(whole, tag), exact, 1)
        assert [one.get(15) for one in coins] == [b"ETH", b"USDC"] and all(one.get(899) is None for one in coins)

        _, report = asked(client, "CH")
        assert shown(report, 58) == (b"CJ", terms)
        amounts = {kind: (D((amount or b"").decode()), unit) for amount, kind, unit in
                   report.groups(1643, (1645, 1644, 1646))}  # fmt: skip
        assert {unit for _, unit in amounts.values()} == {name}
        initial, maintenance = needs
        is_told(-amounts[b"11"][0], -initial, 1)
        is_told(-amounts[b"12"][0], -maintenance, 1)
        is_told(amounts[b"15"][0], excess, 1)

        _, summary = asked(client, "CH", (1636, b"1"), (1637, b"3"))
        assert shown(summary, 15, 900) == (b"CQ", name, whole.get(900))

        (checked,) = asked(client, "DF")
        assert shown(checked, 15, 1328, 20003) == (b"DG", name, terms, whole.get(900))
        (row,) = [one for one in rig.core.account_rows(now_ns=rig.now_ns) if one["account"] == "alpha"]
        assert row["equity"] == found.equity and row["told"]["currency"] == told_in
        assert row["told"]["equity"].encode() == whole.get(900) and row["told"]["why"].encode() in terms
        assert row["told"]["price_usd"] == (price if told_in != "USD" else None)
        rig.check_replay()


def test_subscribers_hear_that_the_currency_has_lost_its_price(tmp_path: Path) -> None:
    with opened(tmp_path, config=config("USDT")) as rig:
        client = Client(rig, FIX50)
        asked(client, "BB", (263, b"1"))
        let_usdt_fall(rig)
        rig.now_ns += 2 * SECOND
        for symbol, price in ((BTC, 60_000.0), (ETH, 2_000.0)):
            rig.mark(symbol, price)
        let_usdt_fall(rig)
        rig.core.valuation.run(rig.now_ns)
        whole = client.turn()[0]
        assert shown(whole, 15) == (b"BA", b"USD") and b"off its peg" in (whole.get(58) or b"")


@pytest.mark.parametrize("version", ["FIX.4.2", FIX44, FIX50])
def test_a_refusal_is_told_in_the_accounts_currency(tmp_path: Path, version: str) -> None:
    text = config("BTC", version).replace('BTC = "2", USDC = "100000"', 'BTC = "0.1"')
    with opened(tmp_path, config=text + HOOK) as rig:
        client = Client(rig, version)
        before = rig.core.market.kernel.worst(0)
        report = order(client, 50_000)
        assert shown(report, 20001, 20002) == (b"8", b"701", b"margin_is_covered")
        told = report.get(58) or b""
        assert b"initial margin above equity, in BTC at 60000 USD: " in told and b" of 0.10000000" in told
        assert value(report, 20003) == D("0.1") and value(report, 20004) < 0
        assert 0 <= value(report, 20005) - (value(report, 20003) - value(report, 20004)) <= D("2e-8")
        (record,) = rig.of_type(OrderRefused)
        assert record.limit == 0.1 and rig.core.market.kernel.worst(0) == before
        refused = hook_of(rig).check(question(quantity="50000", price="60000"), rig.now_ns)
        assert isinstance(refused, Refused) and refused.limit == 0.1 and refused.text in told.decode()
        passed = hook_of(rig).check(question(), rig.now_ns)
        assert isinstance(passed, Passed) and (passed.currency, passed.equity) == ("BTC", 0.1)
        assert 0 < passed.initial_margin < 0.1 and passed.terms == "1 BTC = 60000 USD"
        rig.check_replay()


def test_decisions_are_the_same_in_any_currency(tmp_path: Path) -> None:
    """The same orders at the same accounts: what passes is the same, whatever is told of it."""
    decided = []
    for currency in ("USD", "BTC", "ETH", "USDT", "XRP"):
        (tmp_path / currency).mkdir()
        text = config(currency).replace('BTC = "2", USDC = "100000"', 'BTC = "0.1"')
        with opened(tmp_path / currency, config=text) as rig:
            client = Client(rig, FIX50)
            for quantity in range(1_000, 60_000, 3_000):
                send(client, quantity)
            refused = [(one.cl_ord_id, one.reason, one.check) for one in rig.of_type(OrderRefused)]
            decided.append((refused, [one.cl_ord_id for one in rig.of_type(OrderApproved)]))
    assert all(one == decided[0] for one in decided) and all(decided[0])


def called_in(tmp_path: Path, currency: str, version: str = FIX44) -> tuple[Rig, Floor, list[Message]]:
    rig = Rig(tmp_path, config=priced_in(currency, watched(version)))
    if currency == "ETH":
        rig.hear(listed("ETH-PERPETUAL"))
    desk = Floor(rig, version)
    desk.buy()
    rig.mark(ETH, 2_000.0)
    return rig, desk, desk.move(54_500)


@pytest.mark.parametrize("version", [FIX44, FIX50])
def test_a_call_keeps_the_price_that_it_was_told_at(tmp_path: Path, version: str) -> None:
    rig, desk, told = called_in(tmp_path, "BTC", version)
    (record,) = rig.of_type(MarginCalled)
    assert (record.currency, record.price_usd, record.why) == ("BTC", 54_500.0, "")
    whole = -(-record.amount_units // 54_500)  # in units of 1e-8 BTC, rounded up
    missing = b"-" + format(D(whole).scaleb(-8), "f").encode()
    request, report, *more = told
    assert shown(request, 15, 899, 58) == (b"AX", b"BTC", missing, b"1 BTC = 54500 USD")
    assert shown(report, 15, 899) == (b"BA", b"BTC", missing)
    for required in more:
        assert required.groups(1643, (1645, 1644, 1646))[0] == (missing[1:], b"13", b"BTC")
    shown_rows: dict[str, Any] = {}
    for _ in margin_in_steps(rig.ledger.margin, shown_rows):
        pass
    (row,) = shown_rows["calls"]
    assert row["told"] == {"currency": "BTC", "amount": missing[1:].decode(), "outstanding": missing[1:].decode()}
    assert shown_rows["called_usd"] == record.amount_units / UNITS_PER_WHOLE
    # The market moves on; half of it is paid: what is left is told at the price that the call was made at.
    rig.mark(BTC, 54_000.0)
    rig.core.valuation.run(rig.now_ns)
    half = record.amount_units // 2 // 10**6 * 10**6
    desk.pledge(format(D(half).scaleb(-8), "f"), call="alpha-M1")
    desk.told.clear()
    desk.settle(half)
    moved = next(one for one in desk.told if one.msg_type == "BA")
    left = -(-(record.amount_units - half) // 54_500)
    assert shown(moved, 910, 15) == (b"BA", b"1", b"BTC") and value(moved, 899) == -D(left).scaleb(-8)
    rig.check_replay()
    rig.journal.close()


@pytest.mark.parametrize(
    ("share", "state"), [("0.5", CallState.DISPUTED), ("0.999", CallState.DISPUTED), ("1", None), ("1.5", None)]
)
def test_a_dispute_is_in_the_currency_of_its_call(tmp_path: Path, share: str, state: CallState | None) -> None:
    rig, desk, told = called_in(tmp_path, "BTC")
    amount = -value(told[0], 899)
    undisputed = (amount * D(share)).quantize(UNIT)
    desk.say(b"DISPUTED", format(undisputed, "f").encode())
    call = desk.call()
    if state is None:
        assert call.state is CallState.ISSUED and desk.told[-1].get(905) == b"3"
    else:
        exact = undisputed * D(54_500) * UNITS_PER_WHOLE
        assert call.state is state and 0 <= D(call.due_units) - exact <= 1 and call.due_units < call.amount_units
    rig.check_replay()
    rig.journal.close()


def test_a_call_without_a_price_is_told_in_usd_and_says_so(tmp_path: Path) -> None:
    rig, _, told = called_in(tmp_path, "XRP")
    (record,) = rig.of_type(MarginCalled)
    assert (record.currency, record.price_usd) == ("USD", 1.0)
    assert shown(told[0], 15, 58) == (b"AX", b"USD", b"in USD: XRP has no index price")
    assert value(told[0], 899) == -D(record.amount_units).scaleb(-8)
    rig.check_replay()
    rig.journal.close()


def test_another_currency_in_the_configuration_is_a_record(tmp_path: Path) -> None:
    with opened(tmp_path, config=config("USD")) as first:
        second = first.restart(config=config("BTC"))
        assert second.ledger.accounts["alpha"].currency == "BTC"
        assert second.of_type(AccountCurrencySet) == [AccountCurrencySet("alpha", "BTC")]
        third = second.restart(config=config("BTC"))
        assert len(third.of_type(AccountCurrencySet)) == 1, "nothing new, nothing written"
        assert third.ledger.accounts["alpha"].currency == "BTC"
        third.check_replay()
        third.journal.close()


def test_margin_codes_are_told_in_full(tmp_path: Path) -> None:
    """A coin amount far below one is a FIX number: no exponent."""
    text = config("BTC").replace('BTC = "2", USDC = "100000"', 'USDC = "3"')
    with opened(tmp_path, config=text) as rig:
        report = order(Client(rig, FIX50), 100)
        assert report.get(20001) == b"%d" % RejectReason.MARGIN_SHORTFALL
        assert value(report, 20003) == D("0.00005") and b"e" not in (report.get(20004) or b"") + (
            report.get(20005) or b""
        )
