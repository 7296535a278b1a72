"""The application: routes, the page's files, what guards them, and the tasks that read and tell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from gateway.admin import acting, looking
from gateway.admin.access import Access
from gateway.admin.alerts import AlertBook
from gateway.admin.audit import AuditLog
from gateway.admin.desk import ActError, Desk
from gateway.admin.guard import Guard
from gateway.admin.sinks import Delivery, Sink, sinks_of
from gateway.admin.tokens import Tokens
from gateway.admin.view import View
from gateway.clock import now_ns
from gateway.config import Config

# How often the status page and the journal are read; how often it is looked whether a message is due.
POLL_S: Final = 0.25
PAGE_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/money.js": ("money.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/acts.js": ("acts.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}

log = logging.getLogger(__name__)


class AdminServer:
    """Everything of one process. `app` is the ASGI application, whose lifespan runs the tasks."""

    def __init__(self, config: Config, *, sinks: list[Sink] | None = None) -> None:
        """Raises AuditError, TokensError, SinkError: with none of them it may begin."""
        rules = config.admin
        assert rules is not None
        tokens = Tokens(rules.tokens_file)
        found = sinks_of(rules, config.gateway.name) if sinks is None else sinks
        path = rules.audit_file or config.gateway.journal_directory / "audit.log"
        self.audit = AuditLog(path)
        self.alerts = AlertBook(rules.alert_group_wait_s, rules.alert_repeat_s, rules.alerts_per_minute)
        self.view = View(config, self.alerts)
        self.desk = Desk(self.view, self.audit, rules, now_ns)
        self.access = Access(tokens, rules.requests_per_second, rules.request_burst, now_ns)
        self.deliveries = [Delivery(sink) for sink in found]
        self.app = self._application()

    def facts(self) -> dict[str, Any]:
        """Return what metrics are made of."""
        now = now_ns()
        return {
            "snapshot": None if self.view.status is None else self.view.snapshot,
            "age_s": self.view.age_ns(now) / 1e9,
            "alerts": self.alerts.rows(now),
            "audit_entries": self.audit.head.entries,
            "deliveries": {
                one.sink.name: {"sent": one.sent, "failed": one.failed, "dropped": one.dropped}
                for one in self.deliveries
            },
        }

    def poll(self) -> bool:
        """Read what is new, and hand over what is due to be told; True where there may be more to read."""
        now = now_ns()
        is_behind = self.view.poll(now)
        for message in self.alerts.due(now):
            log.info("alert", extra={"kind": message.kind, "severity": message.severity, "text": message.body})
            for delivery in self.deliveries:
                delivery.offer(message)
        return is_behind

    def close(self) -> None:
        """Let go of files."""
        self.view.close()
        self.audit.close()

    def _application(self) -> FastAPI:
        app = FastAPI(
            title="Margingate, the operator's API",
            version=version("margingate"),
            description="Look and act. Every request takes a bearer token, but for health; docs/monitoring.md.",
            openapi_url="/api/openapi.json",
            docs_url=None,  # their pages load scripts from elsewhere
            redoc_url=None,
            lifespan=self._lifespan,
        )
        app.state.desk, app.state.access, app.state.facts = self.desk, self.access, self.facts
        app.include_router(looking.router, tags=["look"])
        app.include_router(looking.open_router, tags=["health"])
        app.include_router(acting.router, tags=["act"])
        for path, (name, media_type) in PAGE_FILES.items():
            app.add_api_route(path, _file(name, media_type), include_in_schema=False)
        app.add_exception_handler(ActError, _refused)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_middleware(Guard)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._polled()), *(asyncio.create_task(d.run()) for d in self.deliveries)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _polled(self) -> None:
        while True:
            try:
                while self.poll():
                    await asyncio.sleep(0)
            except Exception as error:  # the page stands still, and says so; the next turn may do better
                log.exception("poll failed", extra={"type": type(error).__name__})
            await asyncio.sleep(POLL_S)


def _file(name: str, media_type: str) -> Any:
    data = files("gateway.dashboard").joinpath(name).read_bytes()

    async def served() -> Response:
        return Response(data, media_type=media_type)

    return served


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ActError)
    return JSONResponse({"detail": str(error)}, error.status)


async def _invalid(request: Request, error: Exception) -> Response:
    """Say what is wrong and where; the values are not repeated, whatever somebody has put there."""
    assert isinstance(error, RequestValidationError)
    told = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in error.errors()]
    return JSONResponse({"detail": told}, 422)
