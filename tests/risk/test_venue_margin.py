"""Venues' models on the order path against risk.models: the same figures, never less, over every subset of fills."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import venue_margin
from risk.instrument import Instrument, Side
from risk.models import deribit_standard, tiered
from risk.models.portfolio import Expiry, Order, Portfolio, Position, Underlying
from risk.models.whatif import filled
from risk.pricing import InstrumentMark
from risk.venue_book import BookTerms, VenueBook
from risk.venue_models import Builder, refuse_unknown
from risk.venue_models import builder as builder_of
from tests.risk.contracts import CURRENCIES, ETH_INVERSE, FUTURE, INSTRUMENTS, INVERSE, LINEAR, SPOT
from tests.risk.contracts import MARKS as CONTRACT_MARKS

EXPIRY_S = 0.25 * 365 * 86_400
# Marks that are the model's own, so that a mark and a value do not differ.
MARKS = CONTRACT_MARKS
SPOTS = {"BTC": 60_000.0, "ETH": 3_000.0}
COIN = [i.index for i in INSTRUMENTS if i.settlement_currency == "BTC"]


def builder(model: str, parameter_set: str | None = None, **changes: object) -> Builder:
    marks = {**MARKS, **changes.get("marks", {})}  # type: ignore[operator]
    terms = BookTerms(
        name="b", venue="test", model=model, parameter_set=parameter_set, leverage=changes.get("leverage", {})
    )  # type: ignore[arg-type]
    return builder_of(terms, INSTRUMENTS, marks, (*CURRENCIES, "USD"), 2)


def book_of(model: str, parameter_set: str | None = None, **changes: object) -> VenueBook:
    made = builder(model, parameter_set, **changes)
    while not made.price_some(2):
        assert not made.is_priced
    return made.book()


def position_of(instrument: Instrument, lots: int) -> Position:
    mark = MARKS[instrument.index]
    is_option = instrument.is_option
    in_coin = instrument.settlement_currency == instrument.underlying
    return Position(
        instrument=instrument.symbol,
        kind=instrument.kind.name.lower(),  # type: ignore[arg-type]
        underlying=instrument.underlying,
        qty=float(lots),
        contract_size=instrument.lot_amount,
        style="inverse" if instrument.is_inverse else "linear",
        settlement=instrument.underlying if in_coin else "USD",
        mark=mark.mark_price,
        entry=None if is_option else mark.mark_price,
        expiry_s=EXPIRY_S if instrument.expiry_ns is not None else None,
        strike=float(instrument.strike) if instrument.strike is not None else None,
        option_type=("call" if instrument.is_call else "put") if is_option else None,
        vol=mark.mark_iv if is_option else None,
    )


def portfolio_of(model: str, currency: str, cash: float, lots: dict[int, int], **changes: object) -> Portfolio:
    underlyings = {
        coin: Underlying(spot=spot, expiries=(Expiry(expiry_s=EXPIRY_S, forward=61_200.0),))
        for coin, spot in SPOTS.items()
    }
    held = tuple(position_of(INSTRUMENTS[i], count) for i, count in lots.items() if count)
    return Portfolio(model=model, currency=currency, cash=cash, underlyings=underlyings, positions=held, **changes)  # type: ignore[arg-type]


Working = tuple[int, int, int]  # instrument, signed lots, ticks


def ticks_at(index: int, factor: float) -> int:
    instrument = INSTRUMENTS[index]
    return max(1, round(MARKS[index].mark_price * factor / instrument.tick))


def put(book: VenueBook, cash: float, currency: str, lots: dict[int, int], orders: Sequence[Working]) -> None:
    """Hold a portfolio: positions were entered at the mark, so that what they cost is what they are worth."""
    kernel = book.kernel
    kernel.add_cash(0, book.currency_index[currency], cash)
    for index, count in lots.items():
        instrument, price = INSTRUMENTS[index], MARKS[index].mark_price
        kernel.add_position(0, index, count)
        cost = -instrument.lot_amount / price if instrument.is_inverse else instrument.lot_amount * price
        if not instrument.is_option:  # an option's premium is in the cash already
            kernel.add_cash(0, book.currency_index[currency], -count * cost)
    for index, count, ticks in orders:
        kernel.hold(0, index, count, without_fee(index, count, ticks))


def without_fee(index: int, lots: int, ticks: int) -> float:
    """What a fill moves; the models know of no fees."""
    instrument = INSTRUMENTS[index]
    return instrument.cash_units(Side.BUY if lots > 0 else Side.SELL, abs(lots), ticks) / 1e8


def order_of(index: int, lots: int, ticks: int) -> Order:
    instrument = INSTRUMENTS[index]
    return Order(
        instrument=instrument.symbol,
        side="buy" if lots > 0 else "sell",
        qty=float(abs(lots)),
        price=ticks * instrument.tick,
        contract=position_of(instrument, 0),
    )


def after_worst_fills(evaluate: object, portfolio: Portfolio, orders: Sequence[Order]) -> float:
    """The least of equity less initial margin over every subset of complete fills."""
    worst = float("inf")
    for count in range(len(orders) + 1):
        for chosen in itertools.combinations(orders, count):
            after = portfolio
            for order in chosen:
                after = filled(after, order)
            worst = min(worst, evaluate(after).available)  # type: ignore[operator]
    return worst


TIERS = {
    LINEAR.symbol: [[0.0, 0.004], [50_000.0, 0.005, 0.02], [250_000.0, 0.01, 0.04]],
    INVERSE.symbol: [[0.0, 0.004], [1.0, 0.01, 0.05]],
    FUTURE.symbol: [[0.0, 0.005], [2.0, 0.02]],
    ETH_INVERSE.symbol: [[0.0, 0.005]],
}
factors = st.floats(0.9, 1.1)


@contextmanager
def tiers_of(rule: tiered.VenueRule) -> Iterator[None]:
    """Let models and books read this rule."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (tiered, venue_margin):
            patch.setattr(module, "venue_rule", lambda *_: (rule, "", ""))
        yield


def drawn(indices: Sequence[int], most: int) -> st.SearchStrategy[tuple[dict[int, int], list[tuple[int, int, float]]]]:
    lots = st.integers(-most, most).filter(bool)
    return st.tuples(
        st.dictionaries(st.sampled_from(indices), lots, max_size=3),
        st.lists(st.tuples(st.sampled_from(indices), lots, factors), min_size=1, max_size=3),
    )


def working(orders: list[tuple[int, int, float]]) -> list[Working]:
    return [(index, lots, ticks_at(index, factor)) for index, lots, factor in orders]


def left_with(book: VenueBook, orders: Sequence[Working]) -> float:
    index, lots, ticks = orders[-1]
    return book.kernel.what_if_of_group(0, index, lots, without_fee(index, lots, ticks))


@settings(max_examples=60, deadline=None)
@given(held=drawn([0], 8_000), coin=drawn([1, 2], 60_000), leverage=st.sampled_from([None, 5.0, 25.0]))
def test_tiered_is_the_models_with_its_working_orders(held: tuple, coin: tuple, leverage: float | None) -> None:
    with tiers_of(tiered.VenueRule(basis="mark", tiers=TIERS)):
        tiered_agrees(held, coin, leverage)


def tiered_agrees(held: tuple, coin: tuple, leverage: float | None) -> None:
    for (lots, orders), currency in ((held, "USD"), (coin, "BTC")):
        book = book_of("tiered", "test", leverage={} if leverage is None else {0: leverage})
        asked = working(orders)
        put(book, 1_000.0, "USDC" if currency == "USD" else currency, lots, asked[:-1])
        portfolio = portfolio_of(
            "tiered", currency, 1_000.0, lots, orders=tuple(order_of(*o) for o in asked), parameter_set="test"
        )
        if leverage is not None:
            placed = tuple(msgspec.structs.replace(p, leverage=leverage) for p in portfolio.positions)
            with_orders = tuple(
                msgspec.structs.replace(o, contract=msgspec.structs.replace(o.contract, leverage=leverage))
                for o in portfolio.orders
                if o.contract is not None
            )
            portfolio = msgspec.structs.replace(portfolio, positions=placed, orders=with_orders)
        result = tiered.evaluate(portfolio)
        assert left_with(book, asked) == pytest.approx(result.available, rel=1e-9, abs=1e-9)
        alone = msgspec.structs.replace(portfolio, orders=())
        brute = after_worst_fills(tiered.evaluate, alone, portfolio.orders)
        assert left_with(book, asked) <= brute + 1e-6 * abs(brute)


@settings(max_examples=60, deadline=None)
@given(held=drawn(COIN, 400))
def test_standard_margin_is_the_models_with_its_working_orders(held: tuple) -> None:
    lots, orders = held
    asked = working(orders)
    book = book_of("deribit_standard")
    put(book, 50.0, "BTC", lots, asked[:-1])
    portfolio = portfolio_of("deribit_standard", "BTC", 50.0, lots, orders=tuple(order_of(*o) for o in asked))
    found = left_with(book, asked)
    assert found == pytest.approx(deribit_standard.evaluate(portfolio).available, rel=1e-9, abs=1e-9)
    alone = msgspec.structs.replace(portfolio, orders=())
    assert found <= after_worst_fills(deribit_standard.evaluate, alone, portfolio.orders) + 1e-9


def test_wallets_stand_alone_and_strangers_are_refused() -> None:
    book = book_of("deribit_standard")
    assert book.units[book.groups[LINEAR.index]] == "USDC" and book.units[book.groups[INVERSE.index]] == "BTC"
    book.kernel.add_cash(0, book.currency_index["ETH"], 1_000.0)
    assert book.kernel.what_if_of_group(0, INVERSE.index, 10_000.0, 0.0) < 0
    assert book.units[-1] == ""
    assert book.kernel.what_if_of_group(0, SPOT.index, 1.0, 0.0) != 0.0  # unknown: NaN
    bare = builder("deribit_standard", marks={1: None, 2: InstrumentMark(float("nan"), 1.0, 1.0)})
    assert bare.price_some(100) and "no mark" in bare.refusals[1] and "mark_price" in bare.refusals[2]
    for model, chosen in (("tiered", "bitmex"), ("tiered", "dydx"), ("tiered", "nowhere"), ("deribit_portfolio", "x")):
        with pytest.raises(ValueError, match=r"tiered|there are"):
            refuse_unknown(model, chosen)
