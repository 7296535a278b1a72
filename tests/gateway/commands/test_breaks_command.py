"""`margingate breaks` and `close-break`: a gateway that is stopped, and one that nobody runs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import orjson
from typer.testing import CliRunner

from gateway.cli import app
from tests.gateway.clearing_rig import clearing
from tests.gateway.rig import BTC


def test_breaks_of_a_stopped_gateway(tmp_path: Path) -> None:
    runner = CliRunner()
    with clearing(tmp_path) as one:
        one.dial()
        one.wait(2)
        assert "no break is open" in runner.invoke(app, ["breaks", str(tmp_path)]).output
        one.house.carried["alpha", BTC] = Decimal(10)
        one.wait(65)
    told = runner.invoke(app, ["breaks", str(tmp_path)])
    assert told.exit_code == 0 and "block" in told.output
    (row,) = orjson.loads(runner.invoke(app, ["breaks", str(tmp_path), "--json"]).output)["breaks"]
    assert (row["break"], row["source"], row["ours"], row["theirs"]) == (1, "HOUSE", "0", "10")
    assert "no break has ended" in runner.invoke(app, ["breaks", str(tmp_path), "--ended"]).output
    assert runner.invoke(app, ["close-break", str(tmp_path), "1", "--reason", "x"]).exit_code == 1
    assert runner.invoke(app, ["breaks", str(tmp_path / "nowhere")]).exit_code == 1
