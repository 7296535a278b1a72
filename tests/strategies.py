"""What tests share: one contract of every kind, a small world that trades them, and hypothesis strategies over both.

Nothing here is a mock: the world holds a real kernel loaded with a real generation. Time is a literal.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
from hypothesis import strategies as st

from risk.account import Account
from risk.charges import BY_TIERS, no_charges
from risk.constraints import Constraints, Eligible, Requirement
from risk.exposure import WorkingOrder
from risk.haircuts import HaircutTerms
from risk.house_terms import HouseTerms
from risk.instrument import Instrument, Kind, Side, make_instrument
from risk.kernel import MarginKernel
from risk.levels import Hierarchy, Level
from risk.limits import LimitRule, Limits, RowTerms
from risk.marks import Collar, Market
from risk.order import Order, OrdType, TimeInForce
from risk.pricing import black76_value
from risk.profile_books import kernel_of as profile_kernel
from risk.profile_books import parts_of, told_with, widened
from risk.rate import RateLimit
from risk.scenarios import Generation, Grid, InstrumentMark, build_generation
from risk.venue_book import SubAccount, VenueBook

NS: Final = 1_000_000_000
DAY_NS: Final = 24 * 3600 * NS
NOW_NS: Final = 1_790_000_000 * NS
EXPIRY_NS: Final = NOW_NS + 30 * DAY_NS
YEARS: Final = 30 / 365

CURRENCIES: Final = ("USDC", "BTC", "ETH")
INDEX_PRICES: Final = {"BTC": 100_000.0, "ETH": 4_000.0}
GRID: Final = Grid((-0.16, -0.08, 0.0, 0.08, 0.16), (-0.25, 0.0, 0.5))
IMPLIED_VOL: Final = 0.5


# One contract of every kind, with steps, sizes and fees such as venues have; `index` is the place in this tuple.
TERMS: Final[tuple[dict[str, Any], ...]] = (
    {"symbol": "BTC_USDC-PERPETUAL", "kind": Kind.PERPETUAL, "tick_size": "0.5", "lot_size": "0.001",
     "taker": "0.0005"},
    {"symbol": "BTC-PERPETUAL", "kind": Kind.PERPETUAL, "is_inverse": True, "tick_size": "0.5", "lot_size": "10",
     "taker": "0.0005"},
    {"symbol": "BTC-26MAR27", "kind": Kind.FUTURE, "is_inverse": True, "tick_size": "2.5", "lot_size": "10",
     "maker": "-0.0001", "taker": "0.0003"},
    {"symbol": "BTC-26MAR27-100000-C", "kind": Kind.OPTION, "tick_size": "0.0001", "lot_size": "0.1",
     "steps": (("0.005", "0.0005"),), "settlement": "BTC", "quote": "BTC", "strike": "100000", "is_call": True,
     "taker": "0.0003"},
    {"symbol": "BTC_USDC-26MAR27-90000-P", "kind": Kind.OPTION, "tick_size": "5", "lot_size": "0.01",
     "steps": (("100", "10"), ("1000", "50")), "strike": "90000", "is_call": False, "taker": "0.0003"},
    {"symbol": "ETH_USDC", "kind": Kind.SPOT, "tick_size": "0.01", "lot_size": "0.001", "base": "ETH"},
    {"symbol": "ETH_USDC-PERPETUAL", "kind": Kind.PERPETUAL, "tick_size": "0.05", "lot_size": "0.01", "base": "ETH",
     "contract": "1", "taker": "0.0005"},
)  # fmt: skip
LINEAR, INVERSE, INVERSE_FUTURE, COIN_OPTION, USD_OPTION, SPOT, ETH_LINEAR = range(len(TERMS))


def instrument_of(index: int, **changes: Any) -> Instrument:
    """Return one of TERMS as an Instrument; `changes` are make_instrument's arguments."""
    terms = TERMS[index]
    base = terms.get("base", "BTC")
    is_inverse = terms.get("is_inverse", False)
    given: dict[str, Any] = {
        "index": index,
        "symbol": terms["symbol"],
        "venue": "deribit",
        "kind": terms["kind"],
        "is_inverse": is_inverse,
        "underlying": base,
        "base_currency": base,
        "quote_currency": terms.get("quote", "USD" if is_inverse else "USDC"),
        "settlement_currency": terms.get("settlement", base if is_inverse else "USDC"),
        "tick_size": Decimal(terms["tick_size"]),
        "lot_size": Decimal(terms["lot_size"]),
        "contract_size": Decimal(terms.get("contract", "1")),
        "tick_steps": tuple((Decimal(above), Decimal(step)) for above, step in terms.get("steps", ())),
        "maker_fee": Decimal(terms.get("maker", "0")),
        "taker_fee": Decimal(terms.get("taker", "0")),
        "strike": Decimal(terms["strike"]) if "strike" in terms else None,
        "is_call": terms.get("is_call"),
        "expiry_ns": EXPIRY_NS if terms["kind"] in (Kind.FUTURE, Kind.OPTION) else None,
    }
    return make_instrument(**{**given, **changes})


INSTRUMENTS: Final = tuple(instrument_of(index) for index in range(len(TERMS)))


def fair_price(instrument: Instrument, index_price: float) -> float:
    """Return the mark price of an instrument: its index, or Black-76 in its settlement currency for an option."""
    if not instrument.is_option:
        return index_price
    assert instrument.strike is not None and instrument.is_call is not None
    value = black76_value(index_price, float(instrument.strike), YEARS, IMPLIED_VOL, instrument.is_call)
    return value / index_price if instrument.settlement_currency == instrument.base_currency else value


MARK_PRICES: Final = tuple(fair_price(i, INDEX_PRICES[i.underlying]) for i in INSTRUMENTS)


def mark_ticks(index: int) -> int:
    """Return the mark of one of INSTRUMENTS in ticks, on its tick scheme."""
    instrument = INSTRUMENTS[index]
    return instrument.step_down(round(MARK_PRICES[index] / instrument.tick))


def generation(
    unknown: frozenset[int] = frozenset(), grid: Grid = GRID, currencies: tuple[str, ...] = CURRENCIES
) -> Generation:
    """Return a generation of INSTRUMENTS; those `unknown` have no mark in it."""
    marks = {
        i.index: InstrumentMark(
            mark_price=MARK_PRICES[i.index],
            forward_price=INDEX_PRICES[i.underlying],
            index_price=INDEX_PRICES[i.underlying],
            mark_iv=IMPLIED_VOL if i.is_option else 0.0,
            years_to_expiry=YEARS if i.is_option else 0.0,
        )
        for i in INSTRUMENTS
        if i.index not in unknown
    }
    return build_generation(
        number=1,
        as_of_ns=NOW_NS,
        grid=grid,
        instruments=INSTRUMENTS,
        marks=marks,
        currencies=currencies,
        index_prices=INDEX_PRICES,
    )


GENERATION: Final = generation()
CURRENCY_INDEX: Final = {currency: index for index, currency in enumerate(CURRENCIES)}


def kernel_of(loaded: Generation = GENERATION, accounts: int = 2) -> MarginKernel:
    """Return a kernel with a generation loaded and every account empty."""
    kernel = MarginKernel(accounts, len(loaded.groups), len(INSTRUMENTS), len(CURRENCIES), loaded.grid.size)
    kernel.load(*loaded.arrays())
    return kernel


class World(msgspec.Struct):
    """One account that may trade everything, a market with fresh marks, and the kernel below them."""

    kernel: MarginKernel
    market: Market
    account: Account

    def give_position(self, index: int, lots: int) -> None:
        """Let the account hold `lots` more (signed), bought or sold at the mark, with no fee."""
        side = Side.BUY if lots > 0 else Side.SELL
        self.account.book_fill(INSTRUMENTS[index], side, abs(lots), mark_ticks(index), 0)

    def set_cash(self, currency: str, amount: int) -> None:
        """Move cash so that the account has `amount` whole units of a currency."""
        self.account.move_cash(currency, amount * 10**8 - self.account.cash_units.get(currency, 0))

    def lose_mark(self, index: int) -> None:
        """Let the account hold a position that the next generation has no mark for."""
        self.give_position(index, 5)
        self.kernel = self.market.kernel = kernel_of(generation(unknown=frozenset({index})))
        self.account.mirror_into(self.kernel, CURRENCY_INDEX)

    def give_levels(self, *levels: Level, unknown: frozenset[int] = frozenset()) -> None:
        """Put a desk (given, or without limits) and a firm above the account, and another account beside it."""
        desk = levels[0] if levels else Level(kind="desk", name="d", terms=RowTerms(), firm="f")
        firm = Level(kind="firm", name="f", terms=RowTerms())
        hierarchy = Hierarchy(2, (desk, firm), {0: "d", 1: "d"})
        loaded = generation(unknown) if unknown else GENERATION
        self.kernel = self.market.kernel = kernel_of(loaded, hierarchy.rows)
        HouseTerms(hierarchy=hierarchy).prepare(self.kernel, loaded, INSTRUMENTS)
        self.market.hierarchy = hierarchy
        self.account.mirror_into(self.kernel, CURRENCY_INDEX)

    def give_requirements(self, *requirements: Requirement) -> None:
        """Let profiles ask so of the account's margin; it writes into their kernels from now on."""
        known = self.account.constraints or Constraints()
        self.account.constraints = msgspec.structs.replace(known, requirements=requirements)
        terms = HouseTerms(hierarchy=self.market.hierarchy)
        made = self.market.profile_kernels = {}
        for part in parts_of(requirements):
            grid = widened(GRID, part.scale)
            made[part] = profile_kernel(part, generation(grid=grid), terms, INSTRUMENTS, 2)
        self.kernel = self.market.kernel = kernel_of(GENERATION, self.kernel.accounts)
        terms.prepare(self.kernel, GENERATION, INSTRUMENTS)
        self.account.mirror_into(told_with(self.kernel, requirements, made), CURRENCY_INDEX)

    def give_eligible(self, *assets: str) -> None:
        """Let a profile of the account take nothing but these assets as collateral."""
        known = self.account.constraints or Constraints()
        eligible = Eligible(assets, (("cash_only", assets),))
        self.account.constraints = msgspec.structs.replace(known, eligible=eligible)
        haircuts = HaircutTerms(eligible={self.account.index: assets})
        terms = HouseTerms(hierarchy=self.market.hierarchy, haircuts=haircuts)
        self.kernel = self.market.kernel = kernel_of(GENERATION, self.kernel.accounts)
        taken_off = terms.prepare(self.kernel, GENERATION, INSTRUMENTS)
        self.account.mirror_into(self.kernel, CURRENCY_INDEX, self.market.venue_books, taken_off)

    def give_venue_book(self, usdc: int, *, known: bool = True) -> None:
        """Let the account be margined by a venue that asks for a tenth, with so much of its cash there."""
        kernel = MarginKernel(2, 1, len(INSTRUMENTS), len(CURRENCIES), 1)
        values = GENERATION.values[:, GRID.base : GRID.base + 1]
        currency_values = GENERATION.currency_values[:, GRID.base : GRID.base + 1]
        none, currencies = np.zeros(len(INSTRUMENTS), np.int32), np.zeros(len(CURRENCIES), np.int32)
        flags = np.full(len(INSTRUMENTS), known, np.uint8)
        kernel.load(values, currency_values, none, currencies, GENERATION.currency_of_instrument, flags)
        asked = no_charges(len(INSTRUMENTS), 1, 1)
        asked.kind[:], asked.count[:], asked.scale[:] = BY_TIERS, 1, 1.0
        asked.unit[:] = GENERATION.notionals
        kernel.charge(msgspec.structs.replace(asked, tiers=np.array([[0.0, 0.1, 0.05, 0.0]])))
        self.account.sub_accounts["deribit"] = SubAccount("b", {"USDC": usdc * 10**8})
        self.market.venue_books["b"] = VenueBook(
            model="tiered", kernel=kernel, base_scenario=0, priced_count=len(INSTRUMENTS),
            groups=(0,) * len(INSTRUMENTS), units=("USD",), currency_index=CURRENCY_INDEX,
        )  # fmt: skip
        self.kernel = self.market.kernel = kernel_of(GENERATION, self.kernel.accounts)
        if self.market.hierarchy is not None:
            HouseTerms(hierarchy=self.market.hierarchy).prepare(self.kernel, GENERATION, INSTRUMENTS)
        self.account.mirror_into(self.kernel, CURRENCY_INDEX, self.market.venue_books)

    def working(self, order: Order, order_id: str = "w1") -> WorkingOrder:
        """Hold an order as the ledger does, and return it."""
        working = working_order(order, order_id)
        self.account.exposure.hold(working)
        return working


WIDE_LIMITS: Final = (LimitRule("*", 1e9, 1e9),)


def world(
    *,
    usdc: int = 1_000_000,
    rules: tuple[LimitRule, ...] = WIDE_LIMITS,
    max_order_notional: float = 1e9,
    max_working_orders: int = 100,
    loaded: Generation = GENERATION,
) -> World:
    """Return a fresh world whose account has `usdc` of cash and wide limits."""
    kernel = kernel_of(loaded)
    account = Account(
        index=1,
        name="alpha",
        currency="USDC",
        limits=Limits(max_order_notional=max_order_notional, max_working_orders=max_working_orders, rules=rules),
        rate=RateLimit(1_000, 1_000),
    )
    market = Market(
        kernel=kernel,
        marks=[],
        mark_max_age_ns=2 * NS,
        generation_max_age_ns=5 * NS,
        collar=Collar(fraction=0.1, option_fraction=0.5, option_min_ticks=20),
        generation_time_ns=NOW_NS,
        base_scenario=GRID.base,
        live_venues={"deribit"},
    )
    for instrument in INSTRUMENTS:
        account.limits.list_instrument(instrument)
        market.list_instrument(instrument.index)
        set_mark(market, instrument.index)
    account.mirror_into(kernel, CURRENCY_INDEX)
    account.move_cash("USDC", usdc * 10**8)
    return World(kernel, market, account)


def set_mark(market: Market, index: int, *, price: float | None = None, time_ns: int = NOW_NS) -> bool:
    """Give an instrument its fair mark, or another price."""
    instrument = INSTRUMENTS[index]
    index_price = INDEX_PRICES[instrument.underlying]
    return market.update_mark(
        instrument,
        price=MARK_PRICES[index] if price is None else price,
        index_price=index_price,
        forward_price=index_price,
        implied_vol=IMPLIED_VOL if instrument.is_option else 0.0,
        time_ns=time_ns,
    )


def order_of(index: int = LINEAR, side: Side = Side.BUY, lots: int = 10, **changes: Any) -> Order:
    """Return a limit order at the mark that every check of a fresh world passes."""
    instrument = INSTRUMENTS[index]
    order = Order(
        cl_ord_id="c1",
        account="alpha",
        symbol=instrument.symbol,
        instrument=instrument,
        side=side,
        lots=lots,
        ticks=mark_ticks(index),
        ord_type=OrdType.LIMIT,
        time_in_force=TimeInForce.GTC,
        is_post_only=False,
        is_reduce_only=False,
        received_ns=NOW_NS,
    )
    return msgspec.structs.replace(order, **changes)


def working_order(order: Order, order_id: str = "w1") -> WorkingOrder:
    """Return the working order that an approved order becomes, not yet held."""
    assert order.instrument is not None
    return WorkingOrder(
        order_id=order_id,
        cl_ord_id=order.cl_ord_id,
        session="s1",
        account=order.account,
        instrument=order.instrument,
        side=order.side,
        lots=order.lots,
        ticks=order.ticks,
        ord_type=order.ord_type,
        time_in_force=order.time_in_force,
        is_post_only=order.is_post_only,
        is_reduce_only=order.is_reduce_only,
        received_ns=order.received_ns,
    )


def fresh_kernel_row(account: Account) -> Mapping[int, list[float]]:
    """Return the account's rows by group in a kernel that was just loaded: what incremental upkeep must equal.

    The account itself is left with the kernel it has.
    """
    kernel = kernel_of()
    for index, position in account.positions.items():
        kernel.add_position(account.index, index, position.lots)
    for currency, units in account.cash_units.items():
        kernel.add_cash(account.index, CURRENCY_INDEX[currency], units / 1e8)
    for order in account.exposure.orders.values():
        assert order.held is not None
        sign, alternative = order.side.sign, order.held_alternative or (0, 0)
        shapes = (order.held, alternative)
        cash = [order.instrument.fill_cash(order.side, *shape) if shape != (0, 0) else 0.0 for shape in shapes]
        kernel.hold(
            account.index, order.instrument.index, sign * order.held[0], cash[0], sign * alternative[0], cash[1]
        )
    return {group: kernel.row(account.index, group).tolist() for group in range(kernel.groups)}


# -- strategies ------------------------------------------------------------------------------------------------------

sides = st.sampled_from(list(Side))
lot_counts = st.integers(1, 100_000)
indices = st.integers(0, len(INSTRUMENTS) - 1)
instruments = st.sampled_from(INSTRUMENTS)
linear_instruments = st.sampled_from([i for i in INSTRUMENTS if not i.is_inverse])
inverse_instruments = st.sampled_from([i for i in INSTRUMENTS if i.is_inverse])


@st.composite
def prices_near_mark(draw: st.DrawFn, instrument: Instrument, fraction: float = 0.09) -> int:
    """Draw a limit price in ticks, on the tick scheme, within a fraction of the mark."""
    mark = mark_ticks(instrument.index)
    ticks = draw(st.integers(max(1, int(mark * (1 - fraction))), int(mark * (1 + fraction))))
    return max(1, instrument.step_down(ticks))


@st.composite
def orders(draw: st.DrawFn, max_lots: int = 2_000, among: tuple[int, ...] = tuple(range(len(TERMS)))) -> Order:
    """Draw an order near the mark of one of the instruments."""
    index = draw(st.sampled_from(among))
    return order_of(
        index,
        draw(sides),
        draw(st.integers(1, max_lots)),
        ticks=draw(prices_near_mark(INSTRUMENTS[index])),
        is_reduce_only=draw(st.booleans()),
        time_in_force=draw(st.sampled_from(list(TimeInForce))),
    )


@st.composite
def worlds(draw: st.DrawFn, max_lots: int = 2_000) -> World:
    """Draw a world with some cash, a few positions and a few working orders."""
    drawn = world(usdc=draw(st.integers(0, 1_000_000)))
    for index in draw(st.lists(indices, max_size=3, unique=True)):
        drawn.give_position(index, draw(st.integers(-max_lots, max_lots).filter(bool)))
    for number, order in enumerate(draw(st.lists(orders(max_lots), max_size=3))):
        drawn.working(order, f"w{number}")
    return drawn
