"""What accounts are told in: conversions, their direction, and what is said where a price is missing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.kernel import MarginKernel
from risk.marks import Collar, Market
from risk.order import Reject, RejectReason
from risk.telling import IN_USD, Quote, quote_of, told_in

NOW, MS = 1_760_000_000_000_000_000, 1_000_000
PRICES = {"USD": 1.0, "USDC": 1.0, "USDT": 1.0, "BTC": 60_000.0, "XRP": 0.5}


def market(prices: dict[str, float] = PRICES, age_ms: int = 100, stable: dict[str, float] | None = None) -> Market:
    made = Market(MarginKernel(1, 1, 1, 1, 1), [], 2_000 * MS, 2_000 * MS, Collar(0.1, 0.5, 20))
    made.generation_time_ns, made.currency_prices = NOW - age_ms * MS, prices
    for source, price in (stable or {}).items():
        made.board.observe("USDT", source, price, NOW)
    return made


@pytest.mark.parametrize(
    ("currency", "world", "told", "price", "why"),
    [
        ("USD", market(), "USD", 1.0, ""),
        ("USD", market({}, 9_000), "USD", 1.0, ""),
        ("BTC", market(), "BTC", 60_000.0, ""),
        ("BTC", market(age_ms=2_000), "BTC", 60_000.0, ""),
        ("BTC", market(age_ms=2_001), "USD", 1.0, "BTC has no fresh price"),
        ("BTC", market({"USD": 1.0}), "USD", 1.0, "BTC has no index price"),
        ("BTC", market({"BTC": 0.0}), "USD", 1.0, "BTC has no index price"),
        ("BTC", market({"BTC": float("nan")}), "USD", 1.0, "BTC has no index price"),
        ("EURR", market(), "USD", 1.0, "EURR has no index price"),
        ("USDT", market(), "USDT", 1.0, ""),  # no venue quotes it: margin's rule stands
        ("USDT", market(stable={"a": 0.9951}), "USDT", 1.0, ""),
        ("USDT", market(stable={"a": 1.0051}), "USD", 1.0, "USDT is off its peg, at 1.0051 USD"),
        ("USDT", market(stable={"a": 0.97, "b": 0.972}), "USD", 1.0, "USDT is off its peg, at 0.971 USD"),
        ("USDT", market(stable={"a": 1.0, "b": 0.8}), "USD", 1.0, "the venues contradict each other about USDT"),
        ("USDC", market(stable={"a": 0.9}), "USDC", 1.0, ""),  # another one's peg
    ],
)
def test_what_an_account_is_told_in(currency: str, world: Market, told: str, price: float, why: str) -> None:
    quote = quote_of(currency, world, NOW)
    assert (quote.currency, quote.price, quote.why) == (told, price, why)
    assert quote.as_of_ns == world.generation_time_ns
    assert quote.wanted == (currency if why else "") and (quote.terms == f"in USD: {why}" if why else True)


@pytest.mark.parametrize(
    ("quote", "usd", "has", "needs"),
    [
        (IN_USD, 10.0, "10.00", "10.00"),
        (IN_USD, 10.006, "10.00", "10.01"),
        (IN_USD, -10.006, "-10.01", "-10.00"),
        (IN_USD, 0.1 + 0.2, "0.30", "0.30"),  # what float64 adds is no cent
        (Quote("BTC", 60_000.0), 60_000.0, "1.00000000", "1.00000000"),
        (Quote("BTC", 60_000.0), 1_000.0, "0.01666666", "0.01666667"),
        (Quote("BTC", 60_000.0), -1_000.0, "-0.01666667", "-0.01666666"),
        (Quote("BTC", 60_000.0), 1_000 * 60_000.0, "1000.00000000", "1000.00000000"),
        (Quote("XRP", 0.5), 1.0, "2.00000000", "2.00000000"),
        (Quote("USDT", 1.0), 99.999, "99.99", "100.00"),
    ],
)
def test_amounts_are_rounded_against_the_account(quote: Quote, usd: float, has: str, needs: str) -> None:
    had, needed = quote.has(usd), quote.needs(usd)
    assert had is not None and needed is not None
    assert (quote.text(had), quote.text(needed)) == (has, needs)
    assert (quote.has_float(usd), quote.needs_float(usd)) == (float(has), float(needs))


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e6), st.sampled_from(["BTC", "USDT", "USD"]))
def test_nothing_is_told_in_the_accounts_favour(usd: float, price: float, currency: str) -> None:
    quote = Quote(currency, price if currency == "BTC" else 1.0)
    had, needed = quote.has(usd), quote.needs(usd)
    assert had is not None and needed is not None
    exact = Decimal(usd) / Decimal(quote.price) * 10**quote.digits
    noise = Decimal("0.01") + abs(exact) / 10**14
    assert exact - 1 - noise < had <= exact + noise and exact - noise <= needed < exact + 1 + noise
    assert needed >= had


@pytest.mark.parametrize("unknown", [float("nan"), float("inf"), float("-inf")])
def test_what_is_unknown_stays_so(unknown: float) -> None:
    quote = Quote("BTC", 60_000.0)
    assert quote.has(unknown) is None and quote.needs(unknown) is None
    assert quote.has_float(unknown) != quote.has_float(unknown)


SHORT = Reject(RejectReason.MARGIN_SHORTFALL, "margin_is_covered", "short", 90_000.0, -1_000.0, 91_000.0)
RATIO = Reject(RejectReason.BELOW_CLOSE_OUT, "profile_is_kept", "below", 0.5, 1_000.0, 2_000.0)


@pytest.mark.parametrize(
    ("quote", "reject", "is_ratio", "text", "numbers"),
    [
        (IN_USD, SHORT, False, "short, in USD", (90_000.0, -1_000.0, 91_000.0)),
        (Quote(wanted="BTC", why="BTC has no fresh price"), SHORT, False,
         "short, in USD: BTC has no fresh price", (90_000.0, -1_000.0, 91_000.0)),
        (Quote("BTC", 60_000.0), SHORT, False,
         "short, in BTC at 60000 USD: 1.51666667 of 1.50000000", (1.5, -0.01666667, 1.52)),
        (Quote("USDC", 1.0), SHORT, False,
         "short, in USDC at 1 USD: 91000.00 of 90000.00", (90_000.0, -1_000.0, 91_000.0)),
        (Quote("BTC", 60_000.0), RATIO, True,
         "below, in BTC at 60000 USD: 0.03333334 of 0.01666666", (0.5, 0.01666666, 0.03333334)),
    ],
)  # fmt: skip
def test_a_refusal_names_its_currency(
    quote: Quote, reject: Reject, is_ratio: bool, text: str, numbers: tuple[float, ...]
) -> None:
    told = told_in(quote, reject, limit_is_ratio=is_ratio)
    assert (told.reason, told.check, told.text) == (reject.reason, reject.check, text)
    assert (told.limit, told.observed, told.required) == numbers
