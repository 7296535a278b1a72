"""Decimals and timestamps: strict, exact, the same in both twins."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.protocols.fix.twins import IDS, TWINS

twins = pytest.mark.parametrize("twin", TWINS, ids=IDS)


@twins
@pytest.mark.parametrize(
    ("mantissa", "exponent", "text"),
    [
        (12345, -2, b"123.45"),
        (5, -3, b"0.005"),
        (-5, -3, b"-0.005"),
        (-12345, -2, b"-123.45"),
        (12, 0, b"12"),
        (12, 3, b"12000"),
        (-12, 3, b"-12000"),
        (0, 0, b"0"),
        (0, -2, b"0.00"),
        (100, -2, b"1.00"),
        (1, -18, b"0.000000000000000001"),
        (10**18 - 1, -18, b"0.999999999999999999"),
        (10**40, -2, b"1" + b"0" * 38 + b".00"),
        (1, -40, b"0." + b"0" * 39 + b"1"),
    ],
)
def test_format_decimal(twin: SimpleNamespace, mantissa: int, exponent: int, text: bytes) -> None:
    assert twin.format_decimal(mantissa, exponent) == text


@twins
@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (b"0", (0, 0)),
        (b"-0", (0, 0)),
        (b"123.45", (12345, -2)),
        (b"-123.450", (-123450, -3)),
        (b"00023.23", (2323, -2)),
        (b".5", (5, -1)),
        (b"5.", (5, 0)),
        (b"999999999999999999", (999999999999999999, 0)),
        (b"0.000000000000000001", (1, -18)),
        (b"1000000000000000000", None),
        (b"0." + b"0" * 31, None),
        (b"1" * 40, None),
        (b"", None),
        (b"-", None),
        (b".", None),
        (b"-.", None),
        (b"+5", None),
        (b"--5", None),
        (b"5-", None),
        (b"1.2.3", None),
        (b"1e5", None),
        (b"1E400", None),
        (b"NaN", None),
        (b"inf", None),
        (b"-Infinity", None),
        (b"1_000", None),
        (b"1,5", None),
        (b" 1", None),
        (b"1 ", None),
        (b"1\n", None),
        ("５".encode(), None),
        (b"0x10", None),
    ],
)
def test_parse_decimal(twin: SimpleNamespace, text: bytes, parsed: tuple[int, int] | None) -> None:
    assert twin.parse_decimal(text) == parsed


@settings(deadline=None)
@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(-11, 4))
@example(10**18 - 1, 1)  # more digits than are read
def test_decimals_are_exact(mantissa: int, exponent: int) -> None:
    for twin in TWINS:
        text = twin.format_decimal(mantissa, exponent)
        assert Decimal(text.decode()) == Decimal(mantissa).scaleb(exponent)
        parsed = twin.parse_decimal(text)
        if parsed is not None:
            assert Decimal(parsed[0]).scaleb(parsed[1]) == Decimal(mantissa).scaleb(exponent)
        else:
            assert exponent > 0


@settings(deadline=None)
@given(st.text(alphabet="0123456789.-+e ", max_size=36))
def test_twins_parse_the_same_decimals(text: str) -> None:
    assert len({twin.parse_decimal(text.encode()) for twin in TWINS}) == 1


@twins
@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (b"19700101-00:00:00", 0),
        (b"19700101-00:00:00.001", 1_000_000),
        (b"19700101-00:00:01.000001", 1_000_001_000),
        (b"19700101-00:00:01.000000001", 1_000_000_001),
        (b"20240229-23:59:59", 1_709_251_199_000_000_000),
        (b"20161231-23:59:60", 1_483_228_800_000_000_000),
        (b"20230229-00:00:00", None),
        (b"21000229-00:00:00", None),
        (b"20260431-00:00:00", None),
        (b"20261301-00:00:00", None),
        (b"20260001-00:00:00", None),
        (b"20260100-00:00:00", None),
        (b"20260101-24:00:00", None),
        (b"20260101-00:60:00", None),
        (b"20260101-00:00:61", None),
        (b"19691231-23:59:59", None),
        (b"22010101-00:00:00", None),
        (b"20260101 00:00:00", None),
        (b"20260101-00:00", None),
        (b"20260101-00:00:00.", None),
        (b"20260101-00:00:00.1", None),
        (b"20260101-00:00:00.12a", None),
        (b"20260101-00:00:00,123", None),
        (b"20260101-00:00:00.1234567890", None),
        (b"20260101-00.00:00", None),
        (b"20260101-00:00.00", None),
        (b"2026 101-00:00:00", None),
        (b"20260101-00:00:00Z", None),
        (b"", None),
    ],
)
def test_parse_timestamp(twin: SimpleNamespace, text: bytes, parsed: int | None) -> None:
    assert twin.parse_timestamp(text) == parsed
    # Twice: the second comes out of the cache, if there is one.
    assert twin.parse_timestamp(text) == parsed


@settings(deadline=None)
@given(st.integers(0, 7_258_118_400 * 10**9 - 1), st.sampled_from([0, 3, 6, 9]))
def test_timestamps_go_there_and_back(time_ns: int, digits: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // 10**9)
    for twin in TWINS:
        text = twin.format_timestamp(time_ns, digits)
        assert text.startswith(expected.strftime("%Y%m%d-%H:%M:%S").encode())
        assert twin.parse_timestamp(text) == time_ns - time_ns % 10 ** (9 - digits)


@twins
def test_times_before_the_epoch_can_be_written(twin: SimpleNamespace) -> None:
    assert twin.format_timestamp(-1) == b"19691231-23:59:59.999"


@settings(deadline=None)
@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**11),
    st.integers(1, 10**6),
    st.integers(-8, 8),
)
def test_steps_are_counted_exactly_or_not_at_all(amount: Decimal, mantissa: int, exponent: int) -> None:
    step = Decimal(mantissa).scaleb(exponent)
    for twin in TWINS:
        count = twin.count_steps(format(amount, "f").encode(), mantissa, exponent)
        assert count >= 0
        if count:
            assert step * count == amount
        else:
            assert amount <= 0 or amount % step != 0


@pytest.mark.parametrize("twin", TWINS, ids=IDS)
@pytest.mark.parametrize(
    ("text", "mantissa", "exponent", "count"),
    [
        (b"59990.5", 5, -1, 119_981),
        (b"59990.6", 5, -1, 0),
        (b"10", 1, 1, 1),
        (b"7", 1, 1, 0),
        (b"0", 5, -1, 0),
        (b"-5", 5, -1, 0),
        (b"1e5", 1, 0, 0),
        (b"", 1, 0, 0),
        (b"999999999999999999", 1, -20, 999_999_999_999_999_999 * 10**20),  # beyond 64 bits
        (b"0.000000000000000001", 1, 20, 0),
        (b"5", 0, 0, 0),
    ],
)
def test_steps(twin: SimpleNamespace, text: bytes, mantissa: int, exponent: int, count: int) -> None:
    assert twin.count_steps(text, mantissa, exponent) == count


@settings(deadline=None)
@given(st.floats(-1e15, 1e15))
def test_hundredths_are_the_nearest(value: float) -> None:
    texts = {twin.format_hundredths(value) for twin in TWINS}
    assert len(texts) == 1
    assert Decimal(texts.pop().decode()) == Decimal(round(value * 100.0)).scaleb(-2)
