"""Price files: names, columns, bad lines with their numbers."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from gateway.price_files import PriceFileError, read_directory, read_file, underlying_name


@pytest.mark.parametrize(
    ("name", "underlying"),
    [
        ("binance_um_BTCUSDT_1h_2019.csv.gz", "BTC"),
        ("ETH-USD.csv", "ETH"),
        ("bybit_1000PEPEUSDT.csv", "1000PEPE"),
        ("okx_SOL_USDC_1h.csv", "SOL"),
        ("gold.csv", "gold"),
    ],
)
def test_the_underlying_is_in_the_name(name, underlying) -> None:
    assert underlying_name(Path(name)) == underlying


def rows(hours: int = 48, start: int = 0) -> list[str]:
    return [f"{(start + at) * 3_600_000},{100 + at},1" for at in range(hours)]


def write(path: Path, lines: list[str], header: str = "open_time_ms,close,volume") -> Path:
    text = "\n".join([header, *lines]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_plain_and_gzipped_are_read_alike(tmp_path) -> None:
    plain, packed = write(tmp_path / "AAAUSD.csv", rows()), write(tmp_path / "BBBUSD.csv.gz", rows())
    one, other = read_file(plain), read_file(packed)
    assert one.rules.bars_per_day == 24 and one.underlying.name == "AAA"
    np.testing.assert_array_equal(one.underlying.bars.close, other.underlying.bars.close)
    assert np.isnan(one.underlying.mark_close).all()
    assert [file.underlying.name for file in read_directory(tmp_path)] == ["AAA", "BBB"]


def test_optional_columns_and_empty_cells(tmp_path) -> None:
    lines = [f"{at * 3_600_000},,100,1,{0.0001 if at % 8 == 0 else ''}" for at in range(48)]
    found = read_file(write(tmp_path / "AAAUSD.csv", lines, "open_time,extra,close,volume,funding_rate"))
    assert np.isfinite(found.underlying.funding_rate).sum() == 6


def test_the_longest_of_several_files_counts(tmp_path) -> None:
    write(tmp_path / "AAAUSD_1h.csv", rows(200))
    write(tmp_path / "AAAUSD_stress.csv", rows(30))
    assert len(read_directory(tmp_path)[0].underlying.bars.close) == 200


@pytest.mark.parametrize(
    ("header", "lines", "says"),
    [
        ("open_time_ms,close", ["0,1", "3600000,1"], "no column volume"),
        ("close,volume", ["1,1"], "no column open_time_ms"),
        ("open_time_ms,close,volume", ["0,1,1", "3600000,one,1"], "line 3"),
        ("open_time_ms,close,volume", ["0,1,1", "3600000"], "line 3"),
        ("open_time_ms,close,volume", ["3600000,1,1", "0,1,1"], "ascend"),
        ("open_time_ms,close,volume", ["0,1,1", ",1,1"], "no opening time"),
        ("open_time_ms,close,volume", [], "less than two"),
        ("open_time_ms,close,volume", ["0,1,1", "7000000,1,1"], "do not divide a day"),
        ("", [], "no column"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path, header, lines, says) -> None:
    with pytest.raises(PriceFileError, match=says):
        read_file(write(tmp_path / "AAAUSD.csv", lines, header))


def test_damaged_and_missing_files(tmp_path) -> None:
    with pytest.raises(PriceFileError, match=r"no \.csv"):
        read_directory(tmp_path)
    with pytest.raises(PriceFileError, match="no such directory; --data names"):
        read_directory(tmp_path / "absent")
    (tmp_path / "AAAUSD.csv.gz").write_bytes(gzip.compress(b"open_time_ms,close,volume\n0,1,1\n")[:-9])
    with pytest.raises(PriceFileError, match="AAAUSD"):
        read_directory(tmp_path)
