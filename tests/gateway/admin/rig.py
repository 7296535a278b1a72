"""The operator's process beside a real gateway, in one loop: uvicorn on loopback, tokens of four persons."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import uvicorn

from gateway.admin.server import AdminServer
from gateway.admin.sinks import Sink
from gateway.admin.tokens import token_hash
from gateway.config import Admin, Config
from tests.gateway.live import Live, live

# person -> (role, token)
TOKENS: Final = {
    "vera": ("viewer", "canary-token-vera-0123456789"),
    "rita": ("risk_manager", "canary-token-rita-0123456789"),
    "ruth": ("risk_manager", "canary-token-ruth-0123456789"),
    "adam": ("administrator", "canary-token-adam-0123456789"),
}


# The gateway looks at tokens itself.
WITH_TOKENS: Final = '[admin]\ntokens_file = "tokens.toml"\n'


def bearer(person: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[person][1]}"}


def write_tokens(directory: Path) -> Path:
    path = directory / "tokens.toml"
    path.touch(mode=0o600)
    path.write_text(
        "".join(
            f'[[token]]\nperson = "{name}"\nrole = "{role}"\nsha256 = "{token_hash(token).hex()}"\n'
            for name, (role, token) in TOKENS.items()
        )
    )
    return path


def with_admin(config: Config, directory: Path, **changes: Any) -> Config:
    rules: dict[str, Any] = {"requests_per_second": 10_000, "request_burst": 10_000} | changes
    admin = Admin(tokens_file=write_tokens(directory), audit_file=directory / "audit.log", **rules)
    return msgspec.structs.replace(config, admin=admin)


@contextlib.asynccontextmanager
async def admin_of(config: Config, sinks: list[Sink] | None = None) -> AsyncIterator[tuple[AdminServer, str]]:
    """The process's server, and where it listens."""
    server = AdminServer(config, sinks=sinks or [])
    listener = socket.create_server(("127.0.0.1", 0))
    options: dict[str, Any] = {"access_log": False, "server_header": False, "timeout_graceful_shutdown": 1}
    served = uvicorn.Server(uvicorn.Config(server.app, log_config=None, **options))
    task = asyncio.create_task(served.serve(sockets=[listener]))
    try:
        while not served.started:
            await asyncio.sleep(0.005)
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        served.should_exit = True
        await task
        server.close()
        listener.close()


@contextlib.asynccontextmanager
async def beside(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, waits: bool = False, **rules: Any
) -> AsyncIterator[tuple[Live, AdminServer, httpx.AsyncClient]]:
    """A gateway that tells of itself often, the operator's process beside it, and rita."""
    extra = "[monitor]\nreport_interval_ms = 100\n"
    async with live(directory, monkeypatch, extra=extra + WITH_TOKENS, waits=waits) as gateway:
        config = with_admin(gateway.app.config, directory, **rules)
        async with admin_of(config) as (server, url), client(url, "rita") as rita:
            yield gateway, server, rita


def client(url: httpx.URL | str, person: str = "") -> httpx.AsyncClient:
    headers = bearer(person) if person else {}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60)
