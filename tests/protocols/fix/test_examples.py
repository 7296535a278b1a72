"""The examples of docs/examples, against each other over loopback."""

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
def test_an_order_is_reported(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    acceptor, initiator = example("fix_acceptor"), example("fix_initiator")

    async def both() -> list[tuple[bytes | None, ...]]:
        async with await acceptor.listen() as server:
            port = server.sockets[0].getsockname()[1]
            return [report.values((8, 11, 20, 38, 39, 150)) for report in await initiator.trade(port, version)]

    status = b"0" if version == "FIX.4.2" else None
    assert asyncio.run(both()) == [(version.encode(), b"order-1", status, b"10", b"0", b"0")]
    assert "logged out" in capsys.readouterr().out
