"""Worlds in which funding is paid and dated futures end: they begin right before a quarter's last Friday, 08:00 UTC.

What is listed is what the simulated venues would have listed two days before, with the futures that end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Final

from fixtures.market import Market
from fixtures.venues.binance_listing import USD_M, contracts
from fixtures.venues.bybit_instruments import Terms as BybitTerms
from fixtures.venues.bybit_instruments import standard_terms as bybit_terms
from fixtures.venues.core.contracts import Contract
from fixtures.venues.deribit_instruments import Instrument, standard_instruments
from fixtures.venues.okx_instruments import Terms as OkxTerms
from fixtures.venues.okx_instruments import standard_terms as okx_terms

EXPIRY_NS: Final = int(datetime(2025, 12, 26, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
BEFORE_EXPIRY_NS: Final = 2_500_000_000
_LISTED_NS: Final = EXPIRY_NS - 2 * 86_400_000_000_000
# As the venue writes them.
FUTURES: Final = {
    "deribit": ("BTC-26DEC25",),
    "binance-usdm": ("BTCUSDT_251226",),
    "okx": ("BTC-USDT-251226", "BTC-USD-251226"),
    "bybit": ("BTCUSDT-26DEC25",),
}
# What clients trade of them: (symbol, tick in cents, quantities).
TRADED: Final = {
    "deribit": (("BTC-26DEC25", 50, (b"10", b"1000", b"20000")),),
    "binance-usdm": (("BTCUSDT_251226", 10, (b"0.002", b"0.05", b"0.5")),),
    "okx": (
        ("BTC-USDT-251226", 10, (b"0.0001", b"0.05", b"0.5")),
        ("BTC-USD-251226", 10, (b"100", b"1000", b"20000")),
    ),
    "bybit": (("BTCUSDT-26DEC25.BYBIT", 10, (b"0.002", b"0.05", b"0.5")),),
}


class Funded(Market):
    """A market whose funding is far from nothing: longs pay, or shorts, as the seed says."""

    def __init__(self, seed: int, start_ns: int) -> None:
        super().__init__(seed, start_ns)
        self._rates = Random(f"funding:{seed}")
        self._rate_of: dict[str, float] = {}

    def funding_8h(self, index_name: str) -> float:
        return self._rate_of.setdefault(index_name, self._rates.choice((-1, 1)) * self._rates.uniform(1e-5, 5e-3))


def deribit_instruments(seed: int) -> list[Instrument]:
    """What the simulated Deribit had listed two days before, without its options."""
    return [one for one in standard_instruments(Market(seed, _LISTED_NS)) if not one.is_option]


def binance_contracts(seed: int) -> list[Contract]:
    """What the simulated Binance had listed two days before."""
    return contracts(USD_M, Market(seed, _LISTED_NS))


def okx_listed(seed: int) -> list[OkxTerms]:
    """The same of the simulated OKX."""
    return okx_terms(Market(seed, _LISTED_NS))


def bybit_listed(seed: int) -> list[BybitTerms]:
    """The same of the simulated Bybit."""
    return bybit_terms(Market(seed, _LISTED_NS))
