"""`margingate fit`: the same data gives the same files, and nothing that was changed is read back."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.backtest.study import Data
from gateway.cli import app
from gateway.fit import artifacts, study
from risk.learning.baselines import har
from risk.learning.panel import panel
from tests.gateway.backtest.test_backtest import write_hours


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("prices")
    write_hours(found / "AAAUSDT.csv", 320, 1)
    write_hours(found / "BBBUSDT.csv", 320, 2)
    return found


@pytest.fixture(scope="module")
def written(directory, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "out"
    found = CliRunner().invoke(app, ["fit", "--data", str(directory), "--out", str(out), "--no-contest"])
    assert found.exit_code == 0, found.output
    return out


def test_same_data_same_files(directory, written, tmp_path) -> None:
    data = Data.read(directory)
    artifacts.write(tmp_path, study.fit(data, contests=False), data)
    for name in (artifacts.FITTED, artifacts.POINTS, artifacts.CARD, artifacts.MANIFEST):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_what_is_read_back_forecasts_as_what_was_written(directory, written) -> None:
    manifest, found = artifacts.read(written)
    assert {source.underlying for source in manifest.sources} == {"AAA", "BBB"} and len(found.learned) == 6
    data = Data.read(directory)
    file, other = data.files
    seen = panel(file.underlying, file.rules, [other.underlying])
    champion, _ = har(seen, 24, len(seen.log_return))
    rows = np.arange(5_000, 5_100)
    model = next(one for one in found.learned if (one.underlying, one.horizon_hours) == ("AAA", 24))
    again = study.fit(data, contests=False)
    fresh = next(one for one in again.learned if (one.underlying, one.horizon_hours) == ("AAA", 24))
    np.testing.assert_array_equal(
        model.model().forecast(seen.feature[rows], champion[rows]),
        fresh.model().forecast(seen.feature[rows], champion[rows]),
    )


def test_nothing_unproved_may_be_used(written) -> None:
    _, found = artifacts.read(written)
    assert not any(model.may_use for model in found.learned)
    assert all(sum(model.importance.values()) <= 1.0 + 1e-9 for model in found.learned)
    assert all(0 < share < 1 for share in found.haircuts.values())
    assert all(0.01 <= low <= 0.25 and 0.01 <= high <= 0.25 for low, high in found.collars.values())


def test_tail_points_are_days_that_the_house_reads(written) -> None:
    days = tomllib.loads((written / artifacts.POINTS).read_text())
    _, found = artifacts.read(written)
    assert list(days) == [point.name for point in found.points.points]
    assert all(set(moves) == {"AAA", "BBB"} for moves in days.values())
    assert days["long AAA"]["AAA"] < 0 < days["short AAA"]["AAA"]


def test_the_card_says_what_a_person_needs(written, directory) -> None:
    page = (written / artifacts.CARD).read_text()
    manifest = json.loads((written / artifacts.MANIFEST).read_bytes())
    assert manifest["identity"] in page and "no contest was held" in page and manifest["sources"][0]["sha256"] in page
    assert str(directory) not in page and "http" not in page


@pytest.mark.parametrize("name", [artifacts.FITTED, artifacts.POINTS, artifacts.CARD])
def test_a_changed_file_is_refused(written, tmp_path, name) -> None:
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert artifacts.read(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(artifacts.ArtifactError, match="another"):
        artifacts.read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(artifacts.ArtifactError, match=name):
        artifacts.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"format": 2}, "format 2"), ({"files": {"../x": "0"}}, "no name"), ({"more": 1}, "more"), (None, "malformed")],
)
def test_a_manifest_that_is_none_is_refused(written, tmp_path, change, says) -> None:
    manifest = json.loads((written / artifacts.MANIFEST).read_bytes())
    text = "{" if change is None else json.dumps(manifest | change)
    (tmp_path / artifacts.MANIFEST).write_text(text)
    with pytest.raises(artifacts.ArtifactError, match="truncated" if change is None else says):
        artifacts.read(tmp_path)


def test_no_data_is_said(tmp_path) -> None:
    found = CliRunner().invoke(app, ["fit", "--data", str(tmp_path / "absent"), "--out", str(tmp_path)])
    assert found.exit_code == 1 and "there is no such directory" in found.output
