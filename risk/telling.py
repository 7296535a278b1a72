"""In which currency an account is told what it has and needs: its own, where that has a price now, else US dollars.

Inside, margin is in USD. What leaves is converted by the prices that the last generation of risk arrays counts cash
by, so that a coin in the wallet is one coin in what is told; a stablecoin is a dollar, as it is there. Where that price
is missing, old, or not what the market says of a stablecoin, USD is told, named, and why. What an account has is
rounded down, what it needs is rounded up.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

import msgspec

from risk.marks import Market
from risk.order import Reject
from risk.pricing import USD_LIKE

USD: Final = "USD"
# A stablecoin further from a dollar than this is no dollar: the first row of venues' own tables of pegs (OKX).
PEG_TOLERANCE: Final = 0.005
# Cents of what is a dollar, money units of anything else.
DOLLAR_DIGITS, COIN_DIGITS = 2, 8
# Parts of the last digit and of the whole, and the most of a digit in all: what float64 adds to amounts that are exact.
NOISE, RELATIVE_NOISE, MOST_NOISE = 1e-6, 1e-15, 0.25


class Quote(msgspec.Struct, frozen=True, gc=False):
    """What amounts are told in: `price` is the USD of one whole, as of the marks of `as_of_ns` (ns since the epoch).

    `wanted` is the account's own currency, and `why` says why it is not told in that; empty where it is.
    """

    currency: str = USD
    price: float = 1.0
    as_of_ns: int = 0
    wanted: str = ""
    why: str = ""

    @property
    def digits(self) -> int:
        """How many digits behind the point amounts have."""
        return DOLLAR_DIGITS if self.currency in USD_LIKE else COIN_DIGITS

    def has(self, usd: float) -> int | None:
        """Return what is worth an amount of USD in units of the last digit, rounded down; None for what is unknown."""
        if not isfinite(usd):
            return None
        scaled = usd / self.price * 10.0**self.digits
        return int((scaled + min(NOISE + abs(scaled) * RELATIVE_NOISE, MOST_NOISE)) // 1)

    def needs(self, usd: float) -> int | None:
        """The same rounded up."""
        units = self.has(-usd)
        return None if units is None else -units

    def has_float(self, usd: float) -> float:
        """Return what `has` does as a number of wholes; NaN for what is unknown."""
        units = self.has(usd)
        return float("nan") if units is None else units / 10**self.digits

    def needs_float(self, usd: float) -> float:
        """The same of what is needed."""
        return -self.has_float(-usd)

    def text(self, units: int) -> str:
        """Return units of the last digit as a decimal."""
        whole, rest = divmod(abs(units), 10**self.digits)
        return f"{'-' if units < 0 else ''}{whole}.{rest:0{self.digits}d}"

    @property
    def terms(self) -> str:
        """What a reader must know of the conversion; empty where there is none."""
        if self.why:
            return f"in USD: {self.why}"
        return "" if self.currency == USD else f"1 {self.currency} = {self.price:.10g} USD"


IN_USD: Final = Quote()


def quote_of(currency: str, market: Market, now_ns: int) -> Quote:
    """Return what an account of a currency is told in now."""
    as_of_ns = market.generation_time_ns
    if currency == USD:
        return Quote(as_of_ns=as_of_ns)
    price, why = market.currency_prices.get(currency, 0.0), ""
    if now_ns - as_of_ns > market.generation_max_age_ns:
        why = f"{currency} has no fresh price"
    elif not (isfinite(price) and price > 0.0):
        why = f"{currency} has no index price"
    elif currency in USD_LIKE:
        why = _off_peg(currency, market, now_ns)
    return Quote(as_of_ns=as_of_ns, wanted=currency, why=why) if why else Quote(currency, price, as_of_ns)


def _off_peg(currency: str, market: Market, now_ns: int) -> str:
    """Return why a stablecoin is not the dollar that margin takes it for; empty where it is, or no venue says."""
    found = market.board.composite(currency, now_ns)
    if found.price is None:
        return f"the venues contradict each other about {currency}" if found.outliers else ""
    return "" if abs(found.price - 1.0) <= PEG_TOLERANCE else f"{currency} is off its peg, at {found.price:.6g} USD"


def told_in(quote: Quote, reject: Reject, *, limit_is_ratio: bool = False) -> Reject:
    """Return a refusal for want of margin, made in USD, in what its account is told in; the text names the currency.

    `observed` and, but for a ratio, `limit` are what the account has, `required` is what it needs. The text has all
    digits; the numbers are rounded to what an ExecutionReport(8) tells of a number, against the client.
    """
    if quote.currency == USD:
        return msgspec.structs.replace(reject, text=f"{reject.text}, {quote.terms or 'in USD'}")
    scale, limit, has, needs = 10**quote.digits, reject.limit, reject.observed, reject.required
    left, needed = quote.has(_known(has)), quote.needs(_known(needs))
    all_of_it = left if limit_is_ratio else quote.has(_known(limit))
    assert left is not None and needed is not None and all_of_it is not None, "unknown margin is refused as that"
    told = f"{reject.text}, in {quote.currency} at {quote.price:.10g} USD: {quote.text(needed)} of"
    return msgspec.structs.replace(
        reject,
        text=f"{told} {quote.text(all_of_it)}",
        limit=limit if limit_is_ratio else _shown(all_of_it, scale),
        observed=_shown(left, scale),
        required=-_shown(-needed, scale),
    )


def _known(amount: float | None) -> float:
    return float("nan") if amount is None else amount


def _shown(units: int, scale: int) -> float:
    """Return units as a number that is told with hundredths from one on, rounded down to these."""
    return units * 100 // scale / 100 if abs(units) >= scale else units / scale
