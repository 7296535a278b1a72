"""The venues that are spoken here, by name, with the settings of each; all of them are VenueCodecs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.venues.binance import Binance, BinanceSettings
from protocols.venues.bybit import Bybit, BybitSettings
from protocols.venues.codec import VenueCodec
from protocols.venues.deribit import Deribit
from protocols.venues.okx import Okx, OkxSettings
from protocols.venues.settings import Settings

CODECS: Final[dict[str, Callable[..., VenueCodec]]] = {
    "deribit": Deribit,
    "binance": Binance,
    "okx": Okx,
    "bybit": Bybit,
}
# What the one argument of a codec is made of; Deribit takes its settings as arguments.
SETTINGS: Final[dict[str, type[Settings]]] = {
    "binance": BinanceSettings,
    "okx": OkxSettings,
    "bybit": BybitSettings,
}
