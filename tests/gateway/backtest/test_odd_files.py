"""Files as they should not be: read as what they say, or refused by name and line; no traceback, no silent figure."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.price_files import PriceFileError, read_directory, read_file
from tests.gateway.backtest.test_other_underlyings import write

HOUR_MS = 3_600_000
DAY = 24
runner = CliRunner()
Table = list[list[str]]


def table(hours: int = 48, step_ms: int = HOUR_MS, seed: int = 1) -> Table:
    """A header and bars."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.006, hours)))
    first = 1_577_836_800_000
    rows = [[str(first + at * step_ms), repr(price), "1"] for at, price in enumerate(close.tolist())]
    return [["open_time_ms", "close", "volume"], *rows]


def text(rows: Table, separator: str = ",", end: str = "\n") -> bytes:
    return end.join(separator.join(row) for row in rows).encode() + end.encode()


def times(rows: Table, change: Callable[[int], int], name: str = "open_time") -> Table:
    return [[name, *rows[0][1:]], *[[str(change(int(row[0]))), *row[1:]] for row in rows[1:]]]


ALIKE: dict[str, Callable[[Table], bytes]] = {
    "other order of columns": lambda t: text([[row[2], row[0], row[1]] for row in t]),
    "more columns": lambda t: text([["x", *t[0]], *[["?", *row] for row in t[1:]]]),
    "a byte order mark": lambda t: b"\xef\xbb\xbf" + text(t),
    "lines of another system": lambda t: text(t, end="\r\n"),
    "in quotes": lambda t: text([[f'"{cell}"' for cell in row] for row in t]),
    "spaces and capitals in the header": lambda t: text([["Open_Time_MS", " close", "Volume "], *t[1:]]),
    "empty lines": lambda t: text([*t[:5], [""], *t[5:]]) + b"\n\n",
    "microseconds": lambda t: text(times(t, lambda ms: ms * 1_000)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_another_spelling_is_the_same_history(tmp_path: Path, name: str) -> None:
    plain, other = tmp_path / "AAAUSD.csv", tmp_path / "BBBUSD.csv"
    plain.write_bytes(text(table()))
    other.write_bytes(ALIKE[name](table()))
    one, found = read_file(plain).underlying.bars, read_file(other).underlying.bars
    np.testing.assert_array_equal(one.open_time_ns, found.open_time_ns)
    np.testing.assert_array_equal(one.close, found.close)


REFUSED: dict[str, tuple[Callable[[Table], bytes], str]] = {
    "one bar": (lambda t: text(t[:2]), "less than two bars"),
    "no bar": (lambda t: text(t[:1]), "less than two bars"),
    "nothing": (lambda t: b"", "no column close, volume, open_time_ms"),
    "a bar twice": (lambda t: text([*t[:10], *t[9:]]), "line 11: opening times do not ascend"),
    "backwards": (lambda t: text([t[0], *t[:0:-1]]), "line 3: opening times do not ascend"),
    "semicolons": (lambda t: text(t, ";"), "not separated by commas"),
    "a column twice": (lambda t: text([["open_time_ms", "close", "close"], *t[1:]]), "volume|twice"),
    "close twice": (lambda t: text([[*row, row[1]] for row in t]), "close is there twice"),
    "a cell more": (lambda t: text([*t[:5], [*t[5], "7"], *t[6:]]), "line 6: 4 cells, and the header has 3"),
    "a cell less": (lambda t: text([*t[:5], t[5][:2], *t[6:]]), "line 6: 2 cells"),
    "seconds": (lambda t: text(times(t, lambda ms: ms // 1_000)), "times are in milliseconds"),
    "days in seconds": (
        lambda t: text(times(table(48, DAY * HOUR_MS), lambda ms: ms // 1_000)), "times are in milliseconds"),
    "both units": (lambda t: text([*times(t, int), *times(t, lambda ms: ms * 1_000)[1:]]), "not in milliseconds"),
    "nanoseconds": (lambda t: text(times(t, lambda ms: ms * 1_000_000)), "not in milliseconds"),
    "before 1970": (lambda t: text(times(t, lambda ms: ms - 2 * 10**12)), "before 1970"),
    "dates": (lambda t: text([t[0], ["2020-01-01", "1", "1"]]), "line 2: could not convert"),
    "thousands": (lambda t: text([*t[:3], [t[3][0], '"50,000.1"', "1"], *t[4:]]), "line 4: could not convert"),
    "seven minutes": (lambda t: text(table(48, 7 * 60_000)), "do not divide a day"),
    "percent of implied volatility": (
        lambda t: text([[*t[0], "implied_vol"], *[[*row, "60"] for row in t[1:]]]), "annual fraction"),
    "no text": (lambda t: bytes(range(128, 256)), "decode"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_history_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    make, says = REFUSED[name]
    (tmp_path / "AAAUSD.csv").write_bytes(make(table()))
    with pytest.raises(PriceFileError, match=says):
        read_file(tmp_path / "AAAUSD.csv")


def test_what_is_cut_off_or_packed_by_nobody_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(text(table(2_000)))
    for number, content in enumerate((b"hello", whole[: len(whole) // 2], whole[:60] + b"\0" * 40 + whole[100:])):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "AAAUSD.csv.gz").write_bytes(content)
        with pytest.raises(PriceFileError, match="AAAUSD"):
            read_directory(tmp_path / f"{number}")


def test_a_directory_by_the_name_of_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "AAAUSD.csv").write_bytes(text(table()))
    assert [file.underlying.name for file in read_directory(tmp_path)] == ["AAA"]


def told(command: str, data: Path, out: Path, first: str = "1970-04-05", last: str = "1970-04-08") -> str:
    """What a command says; a traceback is an error of the test."""
    limits = ["--from", first, "--to", last, "--workers", "1", "--no-forecasts"]
    more = ["--no-contest"] if command == "fit" else limits
    found = runner.invoke(app, [command, "--data", str(data), "--out", str(out / command), *more])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    assert found.exit_code in (0, 1) and (found.exit_code == 0) == ("margingate: " not in found.output)
    return " ".join(found.output.split())


def prices(directory: Path, change: Callable[[list[str], int], list[str] | None], days: int = 100) -> None:
    """Hours of so many days from 1970 on, each row changed or left out."""
    write(directory / "AAAUSD.csv", days, 1)
    lines = (directory / "AAAUSD.csv").read_text().split()
    rows = [change(line.split(","), at) for at, line in enumerate(lines[1:])]
    kept = [",".join(row) for row in rows if row is not None]
    (directory / "AAAUSD.csv").write_text("\n".join([lines[0], *kept]) + "\n")


KINDS: dict[str, tuple[Callable[[list[str], int], list[str] | None], str, str]] = {
    "a constant price": (lambda r, at: [r[0], "100", "1"], "never moved", "never moved"),
    "no volume ever": (lambda r, at: [r[0], r[1], "0"], "no two days in a row with a close", "no two days in a row"),
    "nobody trades at night": (
        lambda r, at: [r[0], r[1], str(int(at % 24 < 9))], "no two days in a row", "no two days in a row"),
    "halted to its end": (lambda r, at: [r[0], r[1], str(int(at < 88 * DAY))], "none since", "report.html"),
    "halted for three weeks": (lambda r, at: None if 30 * DAY < at < 51 * DAY else r, "haircut|short history", ""),
    "no number now and then": (lambda r, at: [r[0], "" if at % 50 == 0 else r[1], "1"], "AAA: haircut", ""),
    "off the grid": (lambda r, at: [str(int(r[0]) + 60_000), r[1], "1"], "AAAUSD.csv: an opening", "AAAUSD.csv"),
    "a split": (
        lambda r, at: [r[0], repr(float(r[1]) / (10 if at > 50 * DAY else 1)), "1"], "undeclared split", "AAAUSD.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_market_of_an_odd_kind_is_a_figure_or_a_named_refusal(tmp_path: Path, name: str) -> None:
    (tmp_path / "p").mkdir()
    change, fit_says, backtest_says = KINDS[name]
    prices(tmp_path / "p", change)
    fitted = told("fit", tmp_path / "p", tmp_path)
    assert any(one in fitted for one in fit_says.split("|")), fitted
    if backtest_says:
        assert backtest_says in told("backtest", tmp_path / "p", tmp_path)


def test_nothing_to_judge_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    write(tmp_path / "p" / "AAAUSD.csv", 30, 1)
    walked = told("backtest", tmp_path / "p", tmp_path, "1970-01-20", "1970-01-25")
    assert "margingate: no portfolio could be judged: short history" in walked
    assert "no evening between --from 1970-03-01" in told(
        "backtest", tmp_path / "p", tmp_path, "1970-03-01", "1970-02-01"
    )


def test_a_set_below_any_gateways_floors_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    prices(tmp_path / "p", lambda r, at: [r[0], repr(100 + float(r[1]) / 1e4), "1"])
    fitted = told("fit", tmp_path / "p", tmp_path)
    assert "default floors refuses these parameters: AAA: a volatility of" in fitted


def test_quotes_in_a_file_of_their_own_make_the_row_real(tmp_path: Path) -> None:
    """Known from the end of the bar that they were made in, until they are a day old; the report names the file."""
    data = tmp_path / "p"
    data.mkdir()
    write(data / "AAAUSD.csv", 160, 1)
    quotes = ["open_time_ms,implied_vol"]
    quotes += [f"{at * HOUR_MS + 1_800_000},{0.5 + 0.001 * at / DAY}" for at in range(0, 158 * DAY, 6)]
    (data / "AAAUSD_implied.csv").write_text("\n".join(quotes) + "\n")
    (file,) = read_directory(data)
    found = file.underlying.implied_vol
    assert file.implied is not None and file.implied.path.name == "AAAUSD_implied.csv"
    assert found[0] == 0.5 and found[5] == 0.5 and found[6] == pytest.approx(0.5 + 0.001 * 6 / DAY)
    assert np.isnan(found[-DAY:]).all() and np.isfinite(found[: 158 * DAY]).all()  # the last quote is stale
    limits = ["--from", "1970-04-10", "--to", "1970-04-14", "--workers", "1", "--no-forecasts"]
    walked = runner.invoke(app, ["backtest", "--data", str(data), "--out", str(tmp_path / "o"), *limits])
    assert walked.exit_code == 0, walked.output
    (source,) = json.loads((tmp_path / "o" / "report.json").read_bytes())["sources"]
    assert source["implied_vol"] == "quoted, AAAUSD_implied.csv" and source["implied_days"] >= 158
    assert source["implied_sha256"] == file.implied.sha256


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("AAAUSD_implied.csv", ["0,60", "3600000,61"], "annual fraction"),
        ("AAAUSD_implied.csv", ["0,", "3600000,"], "no quote"),
        ("AAAUSD_implied.csv", ["0,-0.5", "3600000,0.5"], "an implied volatility of -0.5"),
        ("AAAUSD_implied.csv", ["3600000,0.5", "0,0.5"], "line 3: opening times"),
        ("BBBUSD_implied.csv", ["0,0.5", "3600000,0.5"], "no prices of BBB"),
    ],
)
def test_what_is_no_series_of_quotes_is_refused(tmp_path: Path, name: str, rows: list[str], says: str) -> None:
    (tmp_path / "AAAUSD.csv").write_bytes(text(table()))
    (tmp_path / name).write_text("\n".join(["open_time_ms,implied_vol", *rows]) + "\n")
    with pytest.raises(PriceFileError, match=says):
        read_directory(tmp_path)
    (tmp_path / name).write_text("open_time_ms,implied_vol\n0,0.5\n3600000,0.5\n")
    (tmp_path / f"more_{name}").write_text("open_time_ms,implied_vol\n0,0.5\n3600000,0.5\n")
    with pytest.raises(PriceFileError, match="already"):
        read_directory(tmp_path)
