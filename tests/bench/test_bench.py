"""The benchmark's own machinery: that it runs, never how fast."""

import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import adjusting, intraday, slowside
from tests.bench.parts import measure
from tests.bench.quiet import rates_when_quiet, yardstick_ns
from tests.bench.report import PARTS
from tests.bench.scenario_sets import measure_sets, print_sets
from tests.bench.session import EngineProcess, measure_resend
from tests.bench.slow_report import print_slow
from tests.bench.slowside import measure_slow
from tests.bench.wire import Gateway, cores, peer_command

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def test_every_part_is_measured() -> None:
    figures = measure(calls=2, batches=1)
    floors = {floor for _, floor, _, _ in PARTS.values() if floor is not None}
    assert PARTS.keys() | floors <= figures.keys()
    assert all(figure >= 0.0 for figure in figures.values())


def test_a_rate_is_of_the_rounds_that_were_quiet() -> None:
    rounds = ((1_000, 10), (1_100, 20), (1_101, 40), (1_050, 40), (2_000, 80))
    runs = [{"count": 1, "elapsed_ns": took * 1_000_000, "yardstick_ns": yardstick} for yardstick, took in rounds]
    assert rates_when_quiet(runs, 1_000) == {"quiet_rounds": 3, "quiet_per_s": 50.0}
    assert rates_when_quiet(runs[1:], 1_000) == {"quiet_rounds": 2, "quiet_per_s": 0.0}, "two say nothing"
    assert yardstick_ns() > 0


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler, so the peer in Python is used")
def test_the_peer_compiles_without_a_warning(tmp_path: Path) -> None:
    assert COMPILER is not None
    command = [COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(tmp_path / "peer"), str(HERE / "peer.c")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_the_engine_answers_orders_beside_a_resend() -> None:
    with EngineProcess(cores()[0], is_plain=False, stored=3_000) as engine:
        figures = measure_resend(engine, 20, 3_000)
    assert figures["orders_beside"] >= 50 and figures["p99_alone_us"] > 0.0 < figures["resent_per_s"]


def test_what_ifs_are_asked_over_fix() -> None:
    with Gateway(cores()[0], is_plain=False) as gateway:
        figures = gateway.what_ifs(cores()[1], 200, 64)
    assert figures["count"] == 200 and 0 < figures["p50_ns"] <= figures["p99_ns"]


def test_the_slow_side_is_measured_beside_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowside, "EVERY_S", 0.01)
    gateway_core, peer_core = cores()
    figures = measure_slow(
        peer_command()[0], gateway_core, peer_core, rounds=1, orders=50, accounts=(300,), load_accounts=300
    )
    console = Console(width=130, file=StringIO())
    print_slow(figures, console)
    assert figures["orders"]["instruments"] == 1_002 and figures["orders"]["generations"] > 0
    assert [one["accounts"] for one in figures["remargin"]] == [300]
    assert all(figures["orders"][name]["ratio"] > 0 for name in ("repricing", "remargin", "both"))


def test_scenario_sets_are_measured_beside_orders() -> None:
    gateway_core, peer_core = cores()
    figures = measure_sets(peer_command()[0], gateway_core, peer_core, rounds=1, orders=50, bars=48, data=None)
    console = Console(width=130, file=StringIO())
    print_sets(figures, console)
    assert figures["sets"]["joint"] == 1_001 and figures["orders"]["ratio"] > 0 < figures["online"]["p99_ms"]


def test_a_fall_of_the_market_is_acted_on() -> None:
    figures = intraday.measure(accounts=50, breached=5, rounds=1)
    assert figures["decisions"]["median"] == 10 and figures["first_action_from_swap_ms"]["median"] > 0.0


def test_accounts_that_breach_together_each_have_their_first_action(tmp_path: Path) -> None:
    figures = adjusting.measure(tmp_path, accounts=40, breaching=6, others=3)
    assert figures["orders"] == 6 and figures["turns"] >= 6
