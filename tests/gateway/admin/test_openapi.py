"""The OpenAPI document against the application: whatever fits the schema, or does not, is answered as it says."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.admin.server import AdminServer
from gateway.config import parse
from gateway.core import Core
from gateway.journal import Journal, read
from gateway.operators.status_page import StatusPage
from tests.gateway.admin.rig import bearer, with_admin
from tests.gateway.rig import CONFIG, START_NS

CONFORMANCE = (status_code_conformance, content_type_conformance, response_schema_conformance)
EXAMPLES = 6


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real application on the journal and status page of a gateway that has just ended: acts reach nobody."""
    directory = tmp_path_factory.mktemp("openapi")
    config = with_admin(parse(CONFIG, directory / "g.toml"), directory)
    journal = Journal.open(config.gateway.journal_directory)
    core = Core(config, journal, read(config.gateway.journal_directory), START_NS, "0")
    page = StatusPage(config.gateway.journal_directory)
    for _ in page.publish_in_steps(core.monitor.snapshot(), lambda names: core.account_rows(), ["alpha"], START_NS):
        pass
    server = AdminServer(config, sinks=[])
    server.poll()
    yield server.app
    server.close()
    page.close()
    journal.close()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_the_document_says(application: Any, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", application)
    seen: Counter[int] = Counter()
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 25
    for operation in operations:
        fuzzed(operation, mode, seen)
    expected = (200, 503) if mode is GenerationMode.POSITIVE else (422,)
    assert all(seen[status] for status in expected), seen


def fuzzed(operation: Any, mode: GenerationMode, seen: Counter[int]) -> None:
    """Ask as the schema says, or as it does not."""

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        answer = case.call(headers=bearer("adam"))
        seen[answer.status_code] += 1
        # 503 is what acts are told here: no gateway runs.
        checks = [*CONFORMANCE, *([] if answer.status_code == 503 else [not_a_server_error])]
        case.validate_response(answer, checks=checks)

    with contextlib.suppress(Unsatisfiable):  # what takes nothing can not be asked wrongly
        answered()


def test_the_document_asks_for_a_token_everywhere_but_for_health(application: Any) -> None:
    document = application.openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) != path.startswith("/health/"), path
            assert "429" in operation["responses"], path
