"""Amounts as FIX has them: plain decimals, never an exponent, rounded to what a reader needs."""

from __future__ import annotations

from math import isfinite

from protocols.fix.codec import format_decimal
from risk.telling import Quote

# Money units are 1e-8 of a whole.
_UNIT_EXPONENT = -8


def usd(value: float) -> bytes | None:
    """Return US dollars with cents; None for what is not known."""
    return b"%.2f" % (value + 0.0 if abs(value) >= 0.005 else 0.0) if isfinite(value) else None


def coins(value: float) -> bytes | None:
    """Return an amount of any currency with eight digits; None for what is not known."""
    return b"%.8f" % (value if abs(value) >= 5e-9 else 0.0) if isfinite(value) else None


def has(quote: Quote, usd: float) -> bytes | None:
    """Return what an account has, given in USD, in what it is told in: rounded down; None for what is not known."""
    amount = quote.has(usd)
    return None if amount is None else quote.text(amount).encode()


def needs(quote: Quote, usd: float) -> bytes | None:
    """The same of what an account needs: rounded up."""
    amount = quote.needs(usd)
    return None if amount is None else quote.text(amount).encode()


def units(value: int) -> bytes:
    """Return money units exactly."""
    return format_decimal(value, _UNIT_EXPONENT)
