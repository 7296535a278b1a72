"""`margingate admin`, `admin-token`, `audit verify`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import orjson
import typer

from gateway.admin.audit import AuditError, Head, verify
from gateway.admin.logs import log_json
from gateway.admin.sinks import SinkError
from gateway.admin.tokens import Role, TokensError, token_hash
from gateway.commands.endings import fail, stopping_signals
from gateway.config import Admin, Config, ConfigError, load

# Behind the gateway's process wherever the two want the same core.
NICENESS: Final = 10
STATUS_INTERVAL_S: Final = 1.0
# Requests at one time; a page has one on its way.
MAX_AT_ONCE: Final = 200
SHUTDOWN_S: Final = 2

audit_app = typer.Typer(no_args_is_help=True, help="The log of what operators did.")


def admin(
    config: Annotated[Path, typer.Argument(help="The gateway's configuration, with a table [admin].")],
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Instead of listen_port; 0: a free one.")] = None,
    status_json: Annotated[bool, typer.Option(help="Print a line of JSON a second, and end with its reader.")] = False,
) -> None:
    """Serve the operator's page, the API and the metrics beside a gateway, until it is interrupted."""
    try:
        loaded = load(config)
    except ConfigError as error:
        fail(str(error))
    if loaded.admin is None:
        fail(f"{config}: there is no table [admin]; docs/monitoring.md says what belongs there")
    if not loaded.gateway.journal_directory.is_dir():
        fail(f"{loaded.gateway.journal_directory}: there is no such directory: start the gateway first")
    log_json()
    os.nice(NICENESS)
    _serve(loaded, loaded.admin, loaded.admin.listen_port if port is None else port, status_json)


def admin_token(
    person: Annotated[str, typer.Option(help="Whose it is: stands in the audit log.")],
    role: Annotated[Role, typer.Option(help="What the person may do.")],
) -> None:
    """Make a token: what its owner says, shown once, and the lines to add to the file of tokens."""
    token = secrets.token_urlsafe(32)
    typer.echo(f"the person says: {token}", err=True)
    fields = {"person": person, "role": role.value, "sha256": token_hash(token).hex()}
    typer.echo("[[token]]\n" + "\n".join(f"{key} = {orjson.dumps(value).decode()}" for key, value in fields.items()))


@audit_app.command("verify")
def audit_verify(
    file: Annotated[Path, typer.Argument(help="The audit log.")],
    entries: Annotated[int | None, typer.Option(min=1, help="With --hash: a head that was kept elsewhere.")] = None,
    hash_: Annotated[str, typer.Option("--hash", help="The hash of that entry.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that no line of an audit log was changed, taken out, added or moved, and that its end is there."""
    if (entries is None) != (not hash_):
        fail("--entries and --hash go together")
    try:
        head = verify(file, None if entries is None else Head(entries, hash_.lower()))
    except AuditError as error:
        fail(str(error))
    told = msgspec.to_builtins(head)
    typer.echo(orjson.dumps(told).decode() if as_json else f"{file}: {head.entries} entries, whole; {head.hash}")


def _serve(config: Config, rules: Admin, port: int, status_json: bool) -> None:
    import uvicorn  # late: the other commands need no server

    from gateway.admin.server import AdminServer

    try:
        server = AdminServer(config)
    except (AuditError, TokensError, SinkError) as error:
        fail(str(error))
    is_v6 = ":" in rules.listen_host
    try:
        listener = socket.create_server(
            (rules.listen_host, port), family=socket.AF_INET6 if is_v6 else socket.AF_INET, backlog=128
        )
    except OSError as error:
        server.close()
        fail(f"can not listen on {rules.listen_host}:{port}: {error.strerror}")
    scheme = "http" if rules.tls_certificate_file is None else "https"
    host = f"[{rules.listen_host}]" if is_v6 else rules.listen_host
    url = f"{scheme}://{host}:{listener.getsockname()[1]}/"
    served = uvicorn.Server(
        uvicorn.Config(
            server.app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_AT_ONCE,
            timeout_graceful_shutdown=SHUTDOWN_S,
            ssl_certfile=rules.tls_certificate_file,
            ssl_keyfile=rules.tls_key_file,
        )
    )
    logging.getLogger(__name__).info("operator's page", extra={"url": url})
    try:
        asyncio.run(_run(served, listener, url, status_json))
    finally:
        server.close()


async def _run(served: Any, listener: socket.socket, url: str, status_json: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in stopping_signals():  # uvicorn raises again what it was stopped by: that is no error here
        loop.add_signal_handler(number, lambda: setattr(served, "should_exit", True))
    telling = asyncio.create_task(_tell(served, url)) if status_json else None
    try:
        await served.serve(sockets=[listener])
    finally:
        if telling is not None:
            telling.cancel()


async def _tell(served: Any, url: str) -> None:
    """Print where the page is, again and again: a reader that is gone ends this process."""
    while not served.started:
        await asyncio.sleep(0.01)
    try:
        while True:
            sys.stdout.write(orjson.dumps({"url": url}).decode() + "\n")
            sys.stdout.flush()
            await asyncio.sleep(STATUS_INTERVAL_S)
    except OSError:
        served.should_exit = True
