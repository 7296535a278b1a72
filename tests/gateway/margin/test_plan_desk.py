"""The dry run and the ranking, over the operator's channel and its command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.commands import control as control_cli
from gateway.margin import plan_desk
from gateway.operators.channel import ControlError, Plan, Ranking
from tests.gateway.margin.test_adjustments import Desk, short_of_margin
from tests.gateway.rig import BTC, Rig, opened
from tests.gateway.test_config import MINIMAL, problems

runner = CliRunner()


def answering(rig: Rig) -> Callable[[Path, Any], dict[str, Any]]:
    def ask(directory: Path, command: Any) -> dict[str, Any]:
        return plan_desk.answer(rig.core, command, rig.now_ns)

    return ask


def test_a_plan_shows_before_after_and_cost_of_each_step_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as rig:
        short_of_margin(rig)
        before = rig.core.state_hash()
        told = plan_desk.answer(rig.core, Plan("alpha"), rig.now_ns)
        assert told["before"] < 0 <= told["after"] and told["is_cured"] and not told["is_adjusted"]
        assert sum(step["cost"] for step in told["steps"]) == pytest.approx(told["cost"])
        first = told["steps"][0]
        assert first["rung"] == "reduce" and first["what"].startswith("sell ") and BTC in first["what"]
        monkeypatch.setattr(control_cli, "ask", answering(rig))
        shown = runner.invoke(cli.app, ["plan", str(tmp_path), "alpha"])
        assert shown.exit_code == 0 and "covered then" in shown.stdout and "reduce" in shown.stdout
        assert runner.invoke(cli.app, ["plan", str(tmp_path), "alpha", "--json"]).stdout.startswith("{")
        assert rig.core.state_hash() == before


def test_the_ranking_is_for_all_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as rig:
        desk = Desk(rig)
        desk.hold("alpha", BTC, -60_000, 66_000)
        desk.second()
        told = plan_desk.answer(rig.core, Ranking(BTC), rig.now_ns)
        assert [row["account"] for row in told["short"]] == ["alpha"] and told["long"] == []
        monkeypatch.setattr(control_cli, "ask", answering(rig))
        shown = runner.invoke(cli.app, ["ranking", str(tmp_path), BTC])
        assert shown.exit_code == 0 and "alpha" in shown.stdout


def test_what_means_nothing_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        for command in (Plan("nobody"), Ranking("NOTHING")):
            with pytest.raises(ControlError):
                plan_desk.answer(rig.core, command, rig.now_ns)
    assert runner.invoke(cli.app, ["plan", str(tmp_path), "alpha"]).exit_code == 1
    assert runner.invoke(cli.app, ["ranking", str(tmp_path), BTC]).exit_code == 1


def test_a_house_account_that_is_not_there_is_a_mistake() -> None:
    (problem,) = problems(MINIMAL + '[adjust]\nhouse_account = "NOBODY"\n')
    assert 'there is no [[account]] with the name "NOBODY"' in problem
    (problem,) = problems(MINIMAL + '[guard]\nmove = "0.2"\n')
    assert "move_halt" in problem
