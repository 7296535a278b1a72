"""docs/first-steps.md, walked: its configuration, its client, its commands, against a simulated venue."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fixtures.venues.server import serve
from gateway import cli
from gateway import config as configuration
from gateway.app import App
from tests.gateway.live import PATIENT, Live, make_venue, run
from tests.ports import free_port
from tests.protocols.fix.test_examples import example

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-steps.md").read_text()
runner = CliRunner()


def first_toml(directory: Path, url: str, port: int) -> Path:
    """fixtures/first.toml on ports that are free, with a journal in a directory that is thrown away."""
    text = (ROOT / "fixtures" / "first.toml").read_text()
    for old, new in (("ws://127.0.0.1:8070/ws/api/v2", url), ("9878", str(port)), ("../run/first", "journal")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = directory / "first.toml"
    path.write_text(text + PATIENT + '[margin]\npricing = "inline"\n')
    return path


def test_the_steps_lead_where_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\b(SIM_[A-Z_]+)=demo", PAGE):
        monkeypatch.setenv(name, "demo")
    initiator = example("fix_initiator")

    async def walk() -> None:
        async with serve(make_venue(credentials={"demo": "demo"}), compression=None) as url:
            port = free_port()
            path = first_toml(tmp_path, url, port)
            app = App(configuration.load(path))
            try:
                await app.start()
                gateway = Live(app, make_venue(), port)
                await gateway.ready()

                async def told(name: str, price: str) -> list[bytes | None]:
                    report, *_ = await initiator.trade(port, cl_ord_id=name, price=price)
                    return list(report.values((11, 39, 58)))

                refused = await told("order-1", "50000.5")
                assert refused[:2] == [b"order-1", b"8"] and refused[2] is not None
                assert refused[2].startswith(b"PRICE_OUTSIDE_COLLAR price_is_within_collar: ")
                near = f"{gateway.price(0.998)}.5"
                assert (await told("order-2", near))[1] in (b"0", b"1", b"2")
                again = await told("order-2", near)
                assert again[1] == b"8" and again[2] is not None and again[2].startswith(b"DUPLICATE_CL_ORD_ID")

                for words in (["kill", "--reason", "first steps"], ["reinstate", "--reason", "seen"]):
                    command = [words[0], str(path), "--account", "ALPHA", *words[1:]]
                    assert (await asyncio.to_thread(runner.invoke, cli.app, command)).exit_code == 0
                    state = await told(f"after-{words[0]}", near)
                    assert (state[1] == b"8") == (words[0] == "kill"), state
                sessions = await asyncio.to_thread(runner.invoke, cli.app, ["sessions", str(path)])
                assert sessions.exit_code == 0 and "CLIENT" in sessions.stdout and "ALPHA" in sessions.stdout
            finally:
                await app.stop()
                asyncio.get_running_loop().set_exception_handler(None)
            replayed = runner.invoke(cli.app, ["replay", str(path)])
            assert replayed.exit_code == 0 and "state_hash" in replayed.stdout

    run(walk())


def test_the_page_has_the_ports_and_names_of_its_configuration() -> None:
    config = configuration.load(ROOT / "fixtures" / "first.toml")
    port = re.search(r"venues --venue deribit --port (\d+)", PAGE)
    assert port is not None and f":{port[1]}/" in config.venue[0].url
    assert f"port {config.fix.listen_port}" in PAGE and f"--account {config.account[0].name}" in PAGE
    assert f"{config.venue[0].credentials_env}_CLIENT_ID=demo" in PAGE
    collar = config.market.collar_fraction
    assert float(collar) == 0.05, "the page says a twentieth"
