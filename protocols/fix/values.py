"""Plain Python twins of the value codecs: decimals and UTC timestamps, never through a float."""

import re
from calendar import timegm
from datetime import date

NS_PER_SECOND = 1_000_000_000
# A mantissa below 10**18 fits a signed 64-bit integer whatever is added to it later.
MAX_SIGNIFICANT_DIGITS = 18
# Bounds the exponent too, so that nobody can make us scale by 10**8000.
MAX_DECIMAL_BYTES = 32

_DECIMAL = re.compile(rb"(-?)([0-9]*)(?:\.([0-9]*))?")
_TIMESTAMP = re.compile(rb"[0-9]{8}-[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?:[0-9]{3}|[0-9]{6}|[0-9]{9}))?")

# The second that is written changes once for thousands of messages; those that are read are few too.
_formatted: tuple[int, bytes] = (-1, b"")
_parsed: dict[bytes, int] = {}
_MAX_PARSED = 64


def format_decimal(mantissa: int, exponent: int) -> bytes:
    """Return `mantissa * 10**exponent` as FIX writes it, with every digit that the exponent implies."""
    if exponent >= 0:
        return b"%d" % (mantissa * 10**exponent)
    sign = b"-" if mantissa < 0 else b""
    digits = b"%d" % abs(mantissa)
    places = -exponent
    if len(digits) <= places:
        digits = digits.rjust(places + 1, b"0")
    return b"%b%b.%b" % (sign, digits[:-places], digits[-places:])


def parse_decimal(text: bytes) -> tuple[int, int] | None:
    """Return (mantissa, exponent) of a strict FIX float, or None.

    No exponent, no plus sign, no NaN; at most 18 significant digits (zeros at the end count).
    """
    match = _DECIMAL.fullmatch(text)
    if match is None or len(text) > MAX_DECIMAL_BYTES:
        return None
    sign, whole, fraction = match.groups()
    fraction = fraction or b""
    digits = whole + fraction
    if not digits or len(digits.lstrip(b"0")) > MAX_SIGNIFICANT_DIGITS:
        return None
    mantissa = int(digits)
    return (-mantissa if sign else mantissa), -len(fraction)


def count_steps(text: bytes, step_mantissa: int, step_exponent: int) -> int:
    """Return how many steps of `step_mantissa * 10**step_exponent` a strict FIX float is.

    0 where it is no positive whole number of them, or no number: integers all the way, nothing is rounded.
    """
    parsed = parse_decimal(text)
    if parsed is None or parsed[0] <= 0 or step_mantissa <= 0:
        return 0
    shift = parsed[1] - step_exponent
    mantissa, step = parsed[0], step_mantissa
    if shift > 0:
        mantissa *= 10**shift
    else:
        step *= 10**-shift
    return 0 if mantissa % step else mantissa // step


def format_hundredths(value: float) -> bytes:
    """Return a float rounded to two places (half to even of the float's own hundredfold), as FIX writes it."""
    cents = round(value * 100.0)
    sign, cents = (b"-", -cents) if cents < 0 else (b"", cents)
    return b"%b%d.%02d" % (sign, cents // 100, cents % 100)


def format_timestamp(time_ns: int, digits: int = 3) -> bytes:
    """Return UTCTimestamp of nanoseconds since the epoch; `digits` of a second: 0, 3, 6 or 9 (cut, not rounded)."""
    global _formatted
    second, rest = divmod(time_ns, NS_PER_SECOND)
    cached_second, text = _formatted
    if second != cached_second:
        days, of_day = divmod(second, 86_400)
        day = date.fromordinal(719_163 + days)
        text = b"%04d%02d%02d-%02d:%02d:%02d" % (
            day.year,
            day.month,
            day.day,
            of_day // 3600,
            of_day // 60 % 60,
            of_day % 60,
        )
        _formatted = (second, text)
    if digits == 3:
        return b"%b.%03d" % (text, rest // 1_000_000)
    if digits == 0:
        return text
    return b"%b.%0*d" % (text, digits, rest // 10 ** (9 - digits))


def parse_timestamp(text: bytes) -> int | None:
    """Return nanoseconds since the epoch of a UTCTimestamp with 0, 3, 6 or 9 digits of a second, or None.

    A leap second (:60) is the first moment of the next minute.
    """
    prefix = text[:17]
    seconds = _parsed.get(prefix)
    if seconds is not None and len(text) == 21 and text[17] == 46 and text[18:].isdigit():
        return seconds * NS_PER_SECOND + int(text[18:]) * 1_000_000
    if _TIMESTAMP.fullmatch(text) is None:
        return None
    if seconds is None:
        year, month, day = int(prefix[:4]), int(prefix[4:6]), int(prefix[6:8])
        hour, minute, second = int(prefix[9:11]), int(prefix[12:14]), int(prefix[15:17])
        if hour > 23 or minute > 59 or second > 60 or year < 1970 or year > 2200:
            return None
        try:
            date(year, month, day)
        except ValueError:
            return None
        seconds = timegm((year, month, day, hour, minute, second))
        if len(_parsed) >= _MAX_PARSED:
            _parsed.clear()
        _parsed[prefix] = seconds
    if len(text) == 17:
        return seconds * NS_PER_SECOND
    fraction = text[18:]
    return seconds * NS_PER_SECOND + int(fraction.ljust(9, b"0"))
