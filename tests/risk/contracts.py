"""Contracts and marks that the risk tests share: one of each shape, on two coins."""

from decimal import Decimal

import numpy as np
import pytest

from risk import kernel, kernel_plain
from risk.instrument import Instrument, Kind, Side, make_instrument
from risk.pricing import InstrumentMark
from risk.reference import Fill
from risk.scenarios import Grid, build_generation

YEAR_NS = 365 * 86_400 * 1_000_000_000


def contract(
    symbol: str,
    kind: Kind,
    *,
    index: int = 0,
    underlying: str = "BTC",
    quote: str = "USD",
    settlement: str = "USD",
    is_inverse: bool = False,
    lot: str = "1",
    tick: str = "0.5",
    size: str = "1",
    strike: str | None = None,
    is_call: bool | None = None,
) -> Instrument:
    return make_instrument(
        index=index,
        symbol=symbol,
        venue="test",
        kind=kind,
        is_inverse=is_inverse,
        underlying=underlying,
        base_currency=underlying,
        quote_currency=quote,
        settlement_currency=settlement,
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        contract_size=Decimal(size),
        taker_fee=Decimal("0.0005"),
        strike=None if strike is None else Decimal(strike),
        is_call=is_call,
        expiry_ns=YEAR_NS if kind in (Kind.FUTURE, Kind.OPTION) else None,
    )


LINEAR = contract("BTC_USDC-PERPETUAL", Kind.PERPETUAL, index=0, quote="USDC", settlement="USDC", lot="0.001")
INVERSE = contract("BTC-PERPETUAL", Kind.PERPETUAL, index=1, settlement="BTC", is_inverse=True, lot="10")
FUTURE = contract("BTC-27MAR26", Kind.FUTURE, index=2, settlement="BTC", is_inverse=True, lot="10")
COIN_CALL = contract(
    "BTC-27MAR26-70000-C",
    Kind.OPTION,
    index=3,
    quote="BTC",
    settlement="BTC",
    lot="0.1",
    tick="0.0001",
    strike="70000",
    is_call=True,
)
USDC_PUT = contract(
    "BTC_USDC-27MAR26-55000-P",
    Kind.OPTION,
    index=4,
    quote="USDC",
    settlement="USDC",
    lot="0.01",
    tick="5",
    strike="55000",
    is_call=False,
)
SPOT = contract(
    "ETH_USDC", Kind.SPOT, index=5, underlying="ETH", quote="USDC", settlement="USDC", lot="0.001", tick="0.01"
)
ETH_INVERSE = contract(
    "ETH-PERPETUAL",
    Kind.PERPETUAL,
    index=6,
    underlying="ETH",
    settlement="ETH",
    is_inverse=True,
    lot="1",
    tick="0.05",
)
INSTRUMENTS = (LINEAR, INVERSE, FUTURE, COIN_CALL, USDC_PUT, SPOT, ETH_INVERSE)
CURRENCIES = ("USDC", "BTC", "ETH")

BTC_INDEX, ETH_INDEX = 60_000.0, 3_000.0
INDEX_PRICES = {"BTC": BTC_INDEX, "ETH": ETH_INDEX}
MARKS = {
    0: InstrumentMark(60_012.0, BTC_INDEX, BTC_INDEX),
    1: InstrumentMark(59_990.0, BTC_INDEX, BTC_INDEX),
    2: InstrumentMark(61_200.0, 61_200.0, BTC_INDEX, 0.0, 0.25),
    3: InstrumentMark(0.0721, 61_200.0, BTC_INDEX, 0.62, 0.25),
    4: InstrumentMark(4_045.0, 61_200.0, BTC_INDEX, 0.58, 0.25),
    5: InstrumentMark(3_000.4, ETH_INDEX, ETH_INDEX),
    6: InstrumentMark(2_999.0, ETH_INDEX, ETH_INDEX),
}


def rows(values: np.ndarray) -> dict[int, list[float]]:
    """Return a matrix as the dictionary of lists that risk.reference takes."""
    return dict(enumerate(values.tolist()))


KERNELS = [kernel_plain.MarginKernel, kernel.MarginKernel] if kernel.COMPILED else [kernel_plain.MarginKernel]
Kernel = kernel_plain.MarginKernel
both = pytest.mark.parametrize("kind", KERNELS, ids=lambda kind: kind.__module__)

GENERATION = build_generation(
    number=1,
    as_of_ns=0,
    grid=Grid((-0.16, 0.0, 0.2), (-0.4, 0.0, 0.5)),
    instruments=INSTRUMENTS,
    marks=MARKS,
    currencies=CURRENCIES,
    index_prices=INDEX_PRICES,
)
GRID = GENERATION.grid


def loaded(kind: type[Kernel], accounts: int = 3) -> Kernel:
    made = kind(accounts, 3, len(INSTRUMENTS) + 1, len(CURRENCIES) + 1, GRID.size)
    made.load(*GENERATION.arrays())
    return made


def fill(instrument: int, lots: int, price_factor: float) -> Fill:
    """Return a fill at the mark times a factor, its fee taken off."""
    contract = INSTRUMENTS[instrument]
    ticks = max(1, round(MARKS[instrument].mark_price * price_factor / float(contract.tick_size)))
    return instrument, float(lots), contract.fill_cash(Side.BUY if lots > 0 else Side.SELL, abs(lots), ticks)
