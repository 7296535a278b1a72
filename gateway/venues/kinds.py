"""Each kind of venue as it is configured: its session, where its lanes lead, how often it may be dialled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from gateway.config import Credentials, CredentialsError, Venue
from protocols.venues.binance import Binance, BinanceSettings
from protocols.venues.binance_tables import COIN_M, COIN_M_TABLES, USD_M
from protocols.venues.binance_tables import TABLES as USD_M_TABLES
from protocols.venues.bybit import Bybit, BybitSettings
from protocols.venues.bybit_tables import REST_ADDRESS as BYBIT_REST
from protocols.venues.bybit_tables import TABLES as BYBIT_TABLES
from protocols.venues.codec import VenueCodec
from protocols.venues.deribit import Deribit
from protocols.venues.deribit_tables import RateLimits
from protocols.venues.okx import Okx, OkxSettings
from protocols.venues.okx_tables import REST_ADDRESS as OKX_REST
from protocols.venues.okx_tables import TABLES as OKX_TABLES
from protocols.venues.rate_limit import Budget, Window
from protocols.venues.signing import Ed25519Signer, HmacSigner, Keyring, Signer
from protocols.venues.tables import VenueTables

NS_PER_MS: Final = 1_000_000
PEM: Final = "-----BEGIN"


class Kind(msgspec.Struct, frozen=True):
    """`dials` attempts to connect are made in `dial_window_ms` at the most: less than the venue counts.

    `make(config, what all settings have)` makes the session.
    """

    tables: VenueTables
    rest_address: str
    dials: int
    dial_window_ms: int
    make: Callable[[Venue, dict[str, Any]], VenueCodec]


def _binance(product: str) -> Callable[[Venue, dict[str, Any]], VenueCodec]:
    def make(config: Venue, common: dict[str, Any]) -> VenueCodec:
        # The best prices come with the book; a stream of their own is for those who read no book.
        return Binance(BinanceSettings(**common, product=product, has_tickers=False))

    return make


def _okx(config: Venue, common: dict[str, Any]) -> VenueCodec:
    products = config.products or ("SWAP", "FUTURES")
    families = tuple(f"{coin}-USD" for coin in config.currencies) if "OPTION" in products else ()
    types = tuple(product for product in products if product != "OPTION")
    return Okx(OkxSettings(**common, inst_types=types, option_families=families))


def _bybit(config: Venue, common: dict[str, Any]) -> VenueCodec:
    settles = tuple(coin for coin in config.currencies if coin in ("USDT", "USDC")) or ("USDT",)
    coins = tuple(coin for coin in config.currencies if coin not in ("USD", "USDT", "USDC"))
    categories = config.products or ("linear",)
    return Bybit(BybitSettings(**common, categories=categories, settle_coins=settles, option_coins=coins))


# Every kind but Deribit, whose one connection is dialled where `url` says, and which has no REST.
KINDS: Final[dict[str, Kind]] = {
    "binance-usdm": Kind(USD_M_TABLES, USD_M.rest_address, 200, 330_000, _binance("usd_m")),
    "binance-coinm": Kind(COIN_M_TABLES, COIN_M.rest_address, 200, 330_000, _binance("coin_m")),
    "okx": Kind(OKX_TABLES, OKX_REST, 2, 1_100, _okx),
    "bybit": Kind(BYBIT_TABLES, BYBIT_REST, 300, 330_000, _bybit),
}


def make_session(
    config: Venue, credentials: Credentials, since_ns: int | None, known_ns: Mapping[str, int] | None = None
) -> VenueCodec:
    """Return a session that asks for own trades from a time on, and for bookings from where they are known, by scope.

    Raises CredentialsError for keys that are none.
    """

    def is_wanted(symbol: str) -> bool:
        return any(fnmatchcase(symbol, pattern) for pattern in config.instruments)

    on_demand = config.book_subscription == "demand"
    kind = KINDS.get(config.kind)
    if kind is not None:
        signer = _signer(config, credentials.client_secret)
        return kind.make(
            config,
            {
                "keyring": Keyring(credentials.client_id, signer, credentials.passphrase),
                "symbols": is_wanted,
                "trades_since_ns": since_ns,
                "dead_man_s": config.dead_man_s if config.cancel_on_disconnect else 0,
                "self_trade": config.self_trade or "",
                "budgets": _budgets(kind.tables.budgets, config.budgets),
                "books_on_demand": on_demand,
            },
        )
    return Deribit(
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        currencies=config.currencies,
        symbols=is_wanted,
        entropy=os.urandom,
        heartbeat_s=config.heartbeat_s,
        limits=RateLimits(
            matching_per_s=config.requests_per_second,
            matching_capacity=config.request_burst,
            # A tenth of the burst is kept back for cancels, as far as there is a tenth.
            cancel_reserve=min(max(1, config.request_burst // 10), config.request_burst - 1),
        ),
        cancel_on_disconnect=config.cancel_on_disconnect,
        books_on_demand=on_demand,
        trades_since_ns=since_ns,
        bookings_known_ns=known_ns,
    )


def _signer(config: Venue, secret: str) -> Signer:
    if not secret.startswith(PEM):
        return HmacSigner(secret)
    try:
        return Ed25519Signer(secret)
    except ValueError:  # what the parser says may quote it
        raise CredentialsError(f"venue {config.name}: client_secret is no Ed25519 private key in PEM") from None


def _budgets(table: tuple[Budget, ...], limits: dict[str, int]) -> tuple[Budget, ...]:
    """Return the venue's budgets with an account's own limits; what is kept for cancels stays the same part of each."""
    found = []
    for budget in table:
        limit = limits.get(budget.name, budget.limit)
        reserve, vital = budget.reserve * limit // budget.limit, budget.vital * limit // budget.limit
        found.append(msgspec.structs.replace(budget, limit=limit, reserve=reserve, vital=vital))
    return tuple(found)


def url_of(config: Venue) -> Callable[[str, str], str]:
    """Return what says where a lane leads: (its name, the path that the session wants) -> an address."""
    kind = KINDS.get(config.kind)
    if kind is None:
        url = config.url or ""
        return lambda lane, path: url
    specs = {spec.name: spec for spec in kind.tables.lanes}
    order_lane = kind.tables.order_lane

    def address(lane: str, path: str) -> str:
        spec = specs[lane]
        if lane == order_lane and order_lane != "private":
            own = config.trade_url
        else:
            own = config.private_url if lane == "private" else config.public_url
        return (own or config.url or spec.address).rstrip("/") + path

    return address


def rest_of(config: Venue) -> str:
    """Return the REST host's address; empty for a venue that needs none."""
    kind = KINDS.get(config.kind)
    return "" if kind is None else config.rest_url or kind.rest_address


def dials_of(config: Venue) -> Window | None:
    """Return how often the venue may be dialled."""
    kind = KINDS.get(config.kind)
    return None if kind is None else Window(kind.dials, kind.dial_window_ms * NS_PER_MS)
