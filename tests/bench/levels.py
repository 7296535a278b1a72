"""The whole inline check: an account under a desk and a firm, 200 scenarios and joint ones, and a venue's model."""

from __future__ import annotations

from math import inf

from risk.account import Account
from risk.exposure import WorkingOrder
from risk.house_terms import HouseTerms, Volume
from risk.instrument import Side
from risk.joint import JointScenarios, Stress
from risk.kernel import MarginKernel
from risk.levels import Hierarchy, Level
from risk.limits import LimitRule, Limits, RowTerms
from risk.marks import Collar, Market
from risk.order import Order
from risk.rate import RateLimit
from risk.scenarios import Grid, InstrumentMark, build_generation
from risk.venue_book import BookTerms, SubAccount
from risk.venue_models import builder
from tests import strategies
from tests.strategies import CURRENCIES, IMPLIED_VOL, INDEX_PRICES, INSTRUMENTS, INVERSE, MARK_PRICES, NOW_NS, YEARS

MOVES = tuple(round(-0.19 + 0.01 * k, 2) for k in range(40))


def three_levels(model: str = "deribit_standard") -> tuple[Market, Account, Order, WorkingOrder]:
    """Return a market, an account whose venue uses a model, an order that passes all checks, one like it to hold."""
    grid = Grid(MOVES, (-0.25, 0.0, 0.25, 0.5, 1.0))
    stress = Stress(
        spike_moves=(-0.2, 0.2), spike_vol=1.0, peg_moves=(-0.1, 0.02), default_moves=(-0.1, 0.1), default_loss=0.1,
        at_venue=0.5, funding_rate=0.0075,
    )  # fmt: skip
    limits = RowTerms(max_order_notional=1e9, max_gross_notional=1e9, max_net_notional=1e9, max_margin=1e9)
    desk = Level(kind="desk", name="d", terms=limits, rules=(LimitRule("*", 0.0, 1e9),), firm="f")
    terms = HouseTerms(
        joint=JointScenarios(days={}, stress=stress, venues=("deribit",)),
        hierarchy=Hierarchy(1, (desk, Level(kind="firm", name="f", terms=limits)), {0: "d"}),
        volumes={"BTC": Volume(2e10, 0.03, 1e-4), "ETH": Volume(1e10, 0.04, 2e-4)},
    )
    marks = {
        i.index: InstrumentMark(
            MARK_PRICES[i.index], INDEX_PRICES[i.underlying], INDEX_PRICES[i.underlying],
            IMPLIED_VOL if i.is_option else 0.0, YEARS if i.is_option else 0.0,
        )
        for i in INSTRUMENTS
    }  # fmt: skip
    generation = build_generation(
        number=1, as_of_ns=NOW_NS, grid=grid, instruments=INSTRUMENTS, marks=marks, currencies=CURRENCIES,
        index_prices=INDEX_PRICES, joint=terms.joint,
    )  # fmt: skip
    kernel = MarginKernel(3, len(generation.groups), len(INSTRUMENTS), len(CURRENCIES), grid.size, generation.joint)
    kernel.load(*generation.arrays())
    terms.prepare(kernel, generation, INSTRUMENTS)
    pricing = builder(BookTerms(name="b", venue="deribit", model=model), INSTRUMENTS, marks, CURRENCIES, 1)
    pricing.price_some(len(INSTRUMENTS))
    market = Market(
        kernel=kernel, marks=[], mark_max_age_ns=10**12, generation_max_age_ns=10**12, collar=Collar(0.1, 0.5, 20),
        generation_time_ns=NOW_NS, base_scenario=grid.base, live_venues={"deribit"}, hierarchy=terms.hierarchy,
        venue_books={"b": pricing.book()},
    )  # fmt: skip
    account = Account(
        index=0, name="alpha", currency="USDC", limits=Limits(inf, 10**6, strategies.WIDE_LIMITS),
        rate=RateLimit(10**9, 10**9),
    )  # fmt: skip
    account.sub_accounts["deribit"] = SubAccount("b")
    for instrument in INSTRUMENTS:
        account.limits.list_instrument(instrument)
        market.list_instrument(instrument.index)
        strategies.set_mark(market, instrument.index)
    account.mirror_into(kernel, strategies.CURRENCY_INDEX, market.venue_books)
    account.move_cash("USDC", 10**7 * 10**8)
    account.move_cash("BTC", 100 * 10**8)
    for index, lots in ((0, 100), (1, -500), (3, 20), (6, 100)):
        side = Side.BUY if lots > 0 else Side.SELL
        account.book_fill(INSTRUMENTS[index], side, abs(lots), strategies.mark_ticks(index), 0)
    for number in range(20):
        account.exposure.hold(strategies.working_order(strategies.order_of(number % 2, lots=5 + number), f"w{number}"))
    order = strategies.order_of(INVERSE, Side.BUY, 10)
    account.rate._interval_ns = 0
    return market, account, order, strategies.working_order(order, "bench")
