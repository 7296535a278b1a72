"""Portfolio models on the order path against risk.models: the same at rest, never more than any subset of fills leaves.

Below that they are by no more than the model's own reservation for working orders, which is the stated bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from risk import pool, pool_books, pool_deribit, pool_models, pool_plain
from risk.instrument import Instrument, Kind, Side
from risk.models import binance_portfolio, bybit_portfolio, deribit_portfolio, okx_portfolio
from risk.models.portfolio import Collateral, Expiry, Order, Portfolio, Position, Underlying
from risk.pool_books import PoolBookBuilder
from risk.pricing import InstrumentMark
from risk.venue_book import BookTerms, VenueBook
from tests.risk.contracts import YEAR_NS, contract
from tests.risk.test_venue_margin import Working, after_worst_fills

KERNELS = [pool_plain.PoolKernel, pool.PoolKernel] if pool.COMPILED else [pool_plain.PoolKernel]
BTC, ETH = 60_000.0, 3_000.0
SPOTS = {"BTC": BTC, "ETH": ETH}
NEAR, FAR = 20 / 365, 0.5  # years


def listed() -> tuple[tuple[Instrument, ...], dict[int, InstrumentMark]]:
    """Linear and inverse futures and options of two expiries on BTC, a perpetual and an option on ETH, and spot."""
    perp, future, option, spot = Kind.PERPETUAL, Kind.FUTURE, Kind.OPTION, Kind.SPOT
    usdt, usdc = {"quote": "USDT", "settlement": "USDT"}, {"quote": "USDC", "settlement": "USDC"}
    coin = {"settlement": "BTC", "quote": "BTC", "tick": "0.0001", "lot": "0.1"}
    inverse = {"settlement": "BTC", "is_inverse": True, "lot": "10"}
    rows = [
        (contract("BTC-USDT-SWAP", perp, lot="0.01", **usdt), InstrumentMark(60_012.0, BTC, BTC)),
        (contract("BTC-USD-SWAP", perp, **inverse), InstrumentMark(59_990.0, BTC, BTC)),
        (contract("BTC-USD-NEAR", future, **inverse), InstrumentMark(60_300.0, 60_300.0, BTC, 0.0, NEAR)),
        (contract("BTC-USDT-FAR", future, lot="0.01", **usdt), InstrumentMark(61_500.0, 61_500.0, BTC, 0.0, FAR)),
        (contract("BTC-C", option, strike="65000", is_call=True, **coin),
         InstrumentMark(0.0152, 60_300.0, BTC, 0.62, NEAR)),
        (contract("BTC-P", option, strike="55000", is_call=False, lot="0.1", tick="1", **usdc),
         InstrumentMark(6_550.0, 61_500.0, BTC, 0.58, FAR)),
        (contract("ETH-USDT-SWAP", perp, underlying="ETH", lot="0.1", tick="0.01", **usdt),
         InstrumentMark(3_001.0, ETH, ETH)),
        (contract("ETH-C", option, underlying="ETH", strike="3000", is_call=True, lot="1", tick="0.1", **usdc),
         InstrumentMark(205.0, 3_010.0, ETH, 0.7, NEAR)),
        (contract("BTC-USDC-SWAP", perp, lot="0.01", **usdc), InstrumentMark(60_005.0, BTC, BTC)),
        (contract("BTC-USDC", spot, lot="0.01", tick="1", **usdc), InstrumentMark(60_001.0, BTC, BTC)),
    ]  # fmt: skip
    instruments = []
    for index, (one, mark) in enumerate(rows):
        expiry_ns = int(mark.years_to_expiry * YEAR_NS) if one.expiry_ns is not None else None
        instruments.append(msgspec.structs.replace(one, index=index, expiry_ns=expiry_ns))
    return tuple(instruments), {index: mark for index, (_, mark) in enumerate(rows)}


INSTRUMENTS, MARKS = listed()
SWAP, INVERSE, NEAR_FUTURE, FAR_FUTURE, CALL, PUT, ETH_SWAP, ETH_CALL, USDC_SWAP, SPOT = range(len(INSTRUMENTS))
CURRENCIES = ("USD", "USDT", "USDC", "BTC", "ETH", "DOGE")
FUTURES = [SWAP, INVERSE, NEAR_FUTURE, FAR_FUTURE, ETH_SWAP, USDC_SWAP]
ALL = [*range(len(INSTRUMENTS))]
EVALUATE = {
    "okx_portfolio": okx_portfolio.evaluate,
    "bybit_portfolio": bybit_portfolio.evaluate,
    "binance_portfolio": binance_portfolio.evaluate,
    "deribit_portfolio": deribit_portfolio.evaluate,
}
TIERS = [[0.0, 0.004], [50_000.0, 0.005], [250_000.0, 0.01], [1_000_000.0, 0.025]]
PARAMETERS: dict[str, dict[str, Any]] = {
    "binance_portfolio": {
        "rates": {"USDT": 1.0, "USDC": 1.0, "BTC": 0.95, "USD": 1.0},
        "tiers": {i.symbol: TIERS if not i.is_inverse else [[0.0, 0.004], [5.0, 0.01]] for i in INSTRUMENTS},
    },
    "okx_portfolio": {"rates": {"USDT": 1.0, "USDC": 1.0, "BTC": 1.0, "USD": 1.0}},
    "bybit_portfolio": {"rates": {"USDT": 1.0, "USDC": 1.0, "BTC": 1.0, "USD": 1.0}},
    "deribit_portfolio": {},
}


@pytest.fixture(autouse=True)
def chosen_parameters() -> Iterator[None]:
    """Let books read what the documents of these tests state, one class for all underlyings."""
    with parameters_stated():
        yield


@contextmanager
def parameters_stated() -> Iterator[None]:
    """Let books read what these documents state."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pool_models, pool_deribit):
            patch.setattr(module, "parameters", stated(module.parameters))  # type: ignore[attr-defined]
        yield


def stated(read: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    def parameters_of(file: str, kind: type, chosen: str | None = None) -> tuple[Any, Any]:
        return read(file, kind, "btc_eth" if file in ("okx_portfolio", "bybit_portfolio") else chosen, PARAMETERS[file])

    return parameters_of


def builder(model: str, **changes: object) -> PoolBookBuilder:
    marks = {**MARKS, **changes.get("marks", {})}  # type: ignore[dict-item]
    terms = BookTerms(name="b", venue="test", model=model, parameter_set=changes.get("parameter_set"))  # type: ignore[arg-type]
    return PoolBookBuilder(terms, INSTRUMENTS, marks, CURRENCIES, 2)  # type: ignore[arg-type]


BOOKS: dict[tuple[str, type], PoolBookBuilder] = {}


def book_of(model: str, kind: type = pool.PoolKernel) -> VenueBook:
    """Return a new book; parts are priced once."""
    made = BOOKS.get((model, kind))
    if made is None:
        made = BOOKS[model, kind] = builder(model)
        assert made.price_some(1_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_books, "PoolKernel", kind)
        return made.book()


def position_of(index: int, lots: float) -> Position:
    one, mark = INSTRUMENTS[index], MARKS[index]
    in_coin = one.settlement_currency == one.underlying
    return Position(
        instrument=one.symbol,
        kind=one.kind.name.lower(),  # type: ignore[arg-type]
        underlying=one.underlying,
        qty=lots,
        contract_size=one.lot_amount,
        style="inverse" if one.is_inverse else "linear",
        settlement=one.underlying if in_coin else one.settlement_currency,
        mark=mark.mark_price,
        entry=None if one.is_option or one.kind is Kind.SPOT else mark.mark_price,
        expiry_s=mark.years_to_expiry * 365 * 86_400 if one.expiry_ns is not None else None,
        strike=None if one.strike is None else float(one.strike),
        option_type=("call" if one.is_call else "put") if one.is_option else None,
        vol=mark.mark_iv if one.is_option else None,
    )


def market() -> dict[str, Underlying]:
    found = {}
    for coin, spot in SPOTS.items():
        expiries = {
            mark.years_to_expiry: Expiry(expiry_s=mark.years_to_expiry * 365 * 86_400, forward=mark.forward_price)
            for index, mark in MARKS.items()
            if INSTRUMENTS[index].underlying == coin and mark.years_to_expiry
        }
        found[coin] = Underlying(spot=spot, expiries=tuple(expiries.values()))
    return found


def portfolio_of(model: str, currency: str, cash: float, lots: dict[int, int], **changes: object) -> Portfolio:
    held = tuple(position_of(index, count) for index, count in lots.items() if count)
    return Portfolio(
        model=model, currency=currency, cash=cash, underlyings=market(), positions=held,
        parameters=PARAMETERS[model], **changes,  # type: ignore[arg-type]
    )  # fmt: skip


def cash_of(index: int, lots: int, ticks: int) -> float:
    return INSTRUMENTS[index].cash_units(Side.BUY if lots > 0 else Side.SELL, abs(lots), ticks) / 1e8


def put(book: VenueBook, cash: dict[str, float], lots: dict[int, int], orders: Sequence[Working]) -> None:
    """Hold a portfolio whose futures were entered at the mark; options and spot are in the cash already."""
    kernel = book.kernel
    for currency, amount in cash.items():
        kernel.add_cash(0, book.currency_index[currency], amount)
    for index, count in lots.items():
        one, price = INSTRUMENTS[index], MARKS[index].mark_price
        kernel.add_position(0, index, count)
        if not (one.is_option or one.kind is Kind.SPOT):
            cost = -one.lot_amount / price if one.is_inverse else one.lot_amount * price
            kernel.add_cash(0, book.currency_index[one.settlement_currency], -count * cost)
    for index, count, ticks in orders:
        kernel.hold(0, index, count, cash_of(index, count, ticks))


def order_of(index: int, lots: int, ticks: int) -> Order:
    one = INSTRUMENTS[index]
    return Order(
        instrument=one.symbol,
        side="buy" if lots > 0 else "sell",
        qty=float(abs(lots)),
        price=ticks * one.tick,
        contract=position_of(index, 0),
    )


def ticks_at(index: int, factor: float) -> int:
    return max(1, round(MARKS[index].mark_price * factor / INSTRUMENTS[index].tick))


def left_with(book: VenueBook, orders: Sequence[Working]) -> float:
    index, lots, ticks = orders[-1]
    return book.kernel.what_if_of_group(0, index, lots, cash_of(index, lots, ticks))


# So many lots that a contract is worth some thousand dollars.
MOST = {SWAP: 300, INVERSE: 20_000, NEAR_FUTURE: 20_000, FAR_FUTURE: 300, CALL: 40, PUT: 40, ETH_SWAP: 600,
        ETH_CALL: 60, USDC_SWAP: 300, SPOT: 200}  # fmt: skip
factors = st.floats(0.93, 1.07)


def lots_in(indices: Sequence[int]) -> st.SearchStrategy[tuple[int, int]]:
    return st.sampled_from(indices).flatmap(
        lambda i: st.tuples(st.just(i), st.integers(-MOST[i], MOST[i]).filter(bool))
    )


def drawn(indices: Sequence[int]) -> st.SearchStrategy[tuple[dict[int, int], list[Working]]]:
    order = st.tuples(lots_in(indices), factors).map(lambda made: (*made[0], ticks_at(made[0][0], made[1])))
    return st.tuples(st.lists(lots_in(indices), max_size=4).map(dict), st.lists(order, min_size=1, max_size=3))


def tradable(model: str) -> list[int]:
    return {"binance_portfolio": FUTURES, "deribit_portfolio": [i for i in ALL if i != SPOT]}.get(model, ALL)


IN_USD = ("okx_portfolio", "bybit_portfolio", "binance_portfolio")
whose = pytest.mark.parametrize("kind", KERNELS, ids=lambda kind: kind.__module__)


@whose
@pytest.mark.parametrize("model", IN_USD)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), cash=st.sampled_from([1e3, 3e5]), coins=st.sampled_from([0.0, 0.7, -0.2]))
def test_a_pool_is_its_model_at_rest_and_never_above_it_with_orders(
    kind: type, model: str, data: st.DataObject, cash: float, coins: float
) -> None:
    lots, asked = data.draw(drawn(tradable(model)))
    in_dollars(kind, model, lots, asked, cash, coins)


def in_dollars(kind: type, model: str, lots: dict[int, int], asked: list[Working], cash: float, coins: float) -> None:
    evaluate, portfolio, amounts = EVALUATE[model], *dollars(model, lots, cash, coins)
    book = book_of(model, kind)
    put(book, amounts, lots, [])
    size = rounding(lots, cash)
    rest = evaluate(portfolio)
    assert book.kernel.worst_of_group(0, 0) == pytest.approx(rest.available, rel=1e-7, abs=size)
    assert book.kernel.equity_of_group(0, 0, book.base_scenario) == pytest.approx(rest.equity, rel=1e-7, abs=size)
    for index, count, ticks in asked[:-1]:
        book.kernel.hold(0, index, count, cash_of(index, count, ticks))
    assert book.kernel.held_of_group(0, 0) == pytest.approx(rest.available, rel=1e-7, abs=size)
    found = left_with(book, asked)
    orders = tuple(order_of(*one) for one in asked)
    assert found <= after_worst_fills(evaluate, portfolio, orders) + size
    halves = [msgspec.structs.replace(order, qty=order.qty * 0.4) for order in orders[-1:]]
    assert found <= after_worst_fills(evaluate, portfolio, (*orders[:-1], *halves)) + size
    assert found >= evaluate(msgspec.structs.replace(portfolio, orders=orders)).available - size
    book.kernel.clear(0)
    assert book.kernel.worst_of_group(0, 0) == book_of(model, kind).kernel.worst_of_group(0, 0)


def dollars(model: str, lots: dict[int, int], cash: float, coins: float) -> tuple[Portfolio, dict[str, float]]:
    """Return an account of so much USDT, as much USDC, and coins; and the same by currency."""
    amounts = {"USDT": cash, "USDC": cash, "BTC": coins}
    # Whatever settles in a dollar is one asset to the pure model: collateral by name keeps USDT apart, USDC is cash.
    rate = PARAMETERS[model]["rates"]["BTC"]
    held = [Collateral(asset="BTC", qty=coins, price=BTC, rate=rate), Collateral(asset="USDT", qty=cash, price=1.0)]
    if model == "binance_portfolio":
        held.append(Collateral(asset="USDC", qty=cash, price=1.0))
    stated = 0.0 if model == "binance_portfolio" else cash
    return portfolio_of(model, "USD", stated, lots, collateral=tuple(held)), amounts


def rounding(lots: dict[int, int], cash: float) -> float:
    """Return what cash in hundred-millionths of a coin, and differences of large numbers, may be off, in USD."""
    return 2e-3 + 1e-7 * (cash + sum(abs(n) * MARKS[i].mark_price for i, n in lots.items()))


@whose
@settings(max_examples=60, deadline=None)
@given(data=st.data(), cash=st.sampled_from([0.5, 20.0]))
def test_a_coins_pool_is_deribits_model(kind: type, data: st.DataObject, cash: float) -> None:
    lots, asked = data.draw(drawn([INVERSE, NEAR_FUTURE, CALL]))
    deribit(kind, "BTC", lots, asked, cash)


@whose
@settings(max_examples=60, deadline=None)
@given(data=st.data(), cash=st.sampled_from([1e3, 3e5]))
@example(data=None, cash=3e5)
def test_a_stablecoins_pool_is_deribits_model(kind: type, data: st.DataObject | None, cash: float) -> None:
    lots, asked = ({USDC_SWAP: 100, ETH_CALL: -50}, [(USDC_SWAP, -200, ticks_at(USDC_SWAP, 1.0))])
    if data is not None:
        lots, asked = data.draw(drawn([PUT, ETH_CALL, USDC_SWAP]))
    deribit(kind, "USDC", lots, asked, cash)


def deribit(kind: type, currency: str, lots: dict[int, int], asked: list[Working], cash: float) -> None:
    evaluate = deribit_portfolio.evaluate
    portfolio = portfolio_of("deribit_portfolio", currency, cash, lots)
    book = book_of("deribit_portfolio", kind)
    put(book, {currency: cash}, lots, [])
    group = book.units.index(currency)
    size = 1e-7 * (cash + sum(abs(n) * MARKS[i].mark_price for i, n in lots.items() if currency == "USDC") + 1.0)
    assert book.kernel.worst_of_group(0, group) == pytest.approx(evaluate(portfolio).available, rel=1e-7, abs=size)
    for index, count, ticks in asked[:-1]:
        book.kernel.hold(0, index, count, cash_of(index, count, ticks))
    assert book.kernel.held_of_group(0, group) == pytest.approx(evaluate(portfolio).available, rel=1e-7, abs=size)
    found, orders = left_with(book, asked), tuple(order_of(*one) for one in asked)
    assert found <= after_worst_fills(evaluate, portfolio, orders) + size
    assert found >= evaluate(msgspec.structs.replace(portfolio, orders=orders)).available - size
