"""What the fields of any venue's frames go through: numbers in text, timestamps, and the error that names a field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from protocols.errors import LocalProtocolError

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
# What decoding may raise; RecursionError for JSON that is nested too deeply.
DECODE_ERRORS: Final = (ValueError, RecursionError)
# Years after 2200 are a mistake, and would not fit into 64 bits of nanoseconds much longer.
MAX_TIMESTAMP_MS: Final = 7_258_118_400_000
MAX_CACHED_NUMBERS: Final = 131_072
MAX_SHOWN: Final = 40

# Digits with an optional fraction and exponent; Decimal itself would also take "NaN", "Infinity", "_" and blanks.
_NUMBER: Final = re.compile(r"-?[0-9]{1,24}(?:\.[0-9]{1,24})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
# A number without sign or exponent, and not zero: what may stand in a frame of ours as it is.
_PLAIN: Final = re.compile(r"(?=[0-9.]*[1-9])(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?", re.ASCII)
ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)


class FieldError(ValueError):
    """A value of the right type that can not be right; the text names the field."""


# Texts that were found to be numbers: prices and amounts recur, and a look-up costs half of a conversion.
NUMBERS: Final[dict[str, Decimal]] = {}
_plain: dict[str | bytes, str] = {}


def _learn(text: str) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise FieldError(f"not a number: {text[:MAX_SHOWN]!r}")
    if len(NUMBERS) >= MAX_CACHED_NUMBERS:
        NUMBERS.clear()
    value = NUMBERS[text] = Decimal(text)
    return value


def pairs(wire: Sequence[tuple[str, str]], field: str) -> list[tuple[Decimal, Decimal]]:
    """Return (price, amount) of a book's levels."""
    numbers = NUMBERS
    try:
        return [(numbers[price], numbers[amount]) for price, amount in wire]
    except KeyError:
        pass
    try:
        if len(numbers) + 2 * len(wire) > MAX_CACHED_NUMBERS:
            numbers.clear()
        for price, amount in wire:
            if price not in numbers:
                _learn(price)
            if amount not in numbers:
                _learn(amount)
        return [(numbers[price], numbers[amount]) for price, amount in wire]
    except KeyError:
        raise FieldError(f"{field}: {len(wire)} levels") from None
    except FieldError as error:
        raise FieldError(f"{field}: {error}") from None


def decimal_of(text: str, field: str) -> Decimal:
    """Return a number that the venue wrote as text, exactly."""
    value = NUMBERS.get(text)
    if value is not None:
        return value
    try:
        return _learn(text)
    except FieldError as error:
        raise FieldError(f"{field}: {error}") from None


def optional(text: str | None, field: str) -> Decimal | None:
    """Return a number that may be absent, which venues write as an empty text."""
    return decimal_of(text, field) if text else None


def positive(text: str, field: str) -> Decimal:
    value = decimal_of(text, field)
    if value <= 0:
        raise FieldError(f"{field}: {text}")
    return value


def real(text: str, field: str) -> float:
    """Return a number that only feeds models; it is finite, since its text was a number of bounded length."""
    return float(decimal_of(text, field))


def positive_real(text: str, field: str) -> float:
    value = real(text, field)
    if value <= 0.0:
        raise FieldError(f"{field}: {text}")
    return value


def optional_real(text: str | None, field: str) -> float | None:
    """Return a price that may be absent; an empty side of a book is also written as 0."""
    return (real(text, field) or None) if text else None


def since_epoch_ns(timestamp: int, field: str = "timestamp") -> int:
    """Return the venue's milliseconds as nanoseconds."""
    if not 0 < timestamp < MAX_TIMESTAMP_MS:
        raise FieldError(f"{field}: {timestamp} ms")
    return timestamp * NS_PER_MS


def time_of(text: str, field: str) -> int:
    """Return milliseconds that the venue wrote as text, in nanoseconds."""
    return since_epoch_ns(whole(text, field), field)


def whole(text: str, field: str) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise FieldError(f"{field}: not a whole number: {text[:MAX_SHOWN]!r}")
    return int(text)


def number(text: str | bytes) -> str:
    """Return a decimal text of ours that may stand in a frame as it is; LocalProtocolError where it may not."""
    known = _plain.get(text)
    if known is not None:
        return known
    plain = text.decode("latin-1") if isinstance(text, bytes) else text
    if _PLAIN.fullmatch(plain) is None:
        raise LocalProtocolError(f"not a positive decimal number: {plain[:MAX_SHOWN]!r}")
    if len(_plain) >= MAX_CACHED_NUMBERS:
        _plain.clear()
    _plain[text] = plain
    return plain


def plain_text(value: Decimal) -> str:
    """Return a number without exponent, its digits as they are."""
    return format(value, "f")
