"""What holds for all tests: how long an example takes depends on the machine, and is nothing that a property says.

The examples are the same in each run, so that a failure is one of the change that it comes with. MARGINGATE_EXPLORE=1
draws others each time; MARGINGATE_EXAMPLES says how many examples a property has that states no number of its own.
With it, one that states a number has as many of them as that is of a hundred, where the other pass has run all.
MARGINGATE_PASS selects what a pass of `make test` runs, see passes.py; a module that runs in one of them only
has all its examples there, whatever MARGINGATE_EXAMPLES says.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import textwrap
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.passes import PASSES, ROOT, UNMEASURED, left_out, name_of, passes_of, suite

EXAMPLES: Final = 100
SHARE: Final = int(os.environ.get("MARGINGATE_EXAMPLES", EXAMPLES))
PASS: Final = os.environ.get("MARGINGATE_PASS", "")
# Worked out once, for all workers.
LEFT_OUT: Final = "MARGINGATE_LEFT_OUT"
HERE_ONLY: Final = "MARGINGATE_HERE_ONLY"

settings.register_profile("whole", deadline=None, derandomize=os.environ.get("MARGINGATE_EXPLORE") != "1",
                          max_examples=EXAMPLES)  # fmt: skip
settings.register_profile("margingate", settings.get_profile("whole"), max_examples=SHARE)
settings.load_profile("margingate")


def pytest_configure(config: pytest.Config) -> None:
    if not PASS:
        return
    if PASS not in PASSES or (PASS == "plain") != (os.environ.get("MARGINGATE_PURE") == "1"):
        raise pytest.UsageError(f"MARGINGATE_PASS={PASS} and MARGINGATE_PURE do not fit together")
    if not _is_worker(config):
        os.environ[LEFT_OUT] = "\n".join(left_out(PASS))
        os.environ[HERE_ONLY] = "\n".join(name_of(path) for path in suite() if passes_of(path) == (PASS,))


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _names(variable: str) -> set[str]:
    return set(os.environ.get(variable, "").splitlines()) if PASS else set()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.is_relative_to(ROOT) and name_of(collection_path) in _names(LEFT_OUT):
        return True
    return None


def pytest_collectstart(collector: pytest.Collector) -> None:
    if isinstance(collector, pytest.Module):
        _take_examples_of(collector.path)


def _take_examples_of(path: Path) -> None:
    """Choose how many examples the properties of a module have that is imported next."""
    is_whole = path.is_relative_to(ROOT) and name_of(path) in _names(HERE_ONLY)
    settings.load_profile("whole" if is_whole else "margingate")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Begin at a place of its own in each worker: what one has rewritten and compiled, the others find when they come.

    All of them import all modules, and to rewrite the assertions takes longer than all else of that.
    """
    config = session.config
    if not (PASS and _is_worker(config) and [Path(one).name for one in config.args] == ["tests"]):
        return
    modules = [path for path in suite() if name_of(path) not in _names(LEFT_OUT)]
    number, count = int(config.workerinput["workerid"][2:]), config.workerinput["workercount"]
    begin = len(modules) * number // count
    for path in (*modules[begin:], *modules[:begin]):
        _take_examples_of(path)
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collection tells of what is wrong
            importlib.import_module(name_of(path).removesuffix(".py").replace("/", "."))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs in both passes has its own number of examples in the compiled one, and a share of it in the other."""
    if PASS == "plain":
        for item in {item.obj: item for item in items if isinstance(item, pytest.Function)}.values():
            if name_of(item.path) not in _names(HERE_ONLY):
                _take_a_share(item)


def _take_a_share(item: pytest.Function) -> None:
    where, name = (item.cls, "settings") if item.cls is not None else (item.obj, "_hypothesis_internal_use_settings")
    own = getattr(where, name, None)
    if isinstance(own, settings) and own.max_examples > SHARE:
        setattr(where, name, settings(own, max_examples=max(SHARE // 2, own.max_examples * SHARE // EXAMPLES)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Take the tracer off what is not measured. The marker no_cover of pytest-cov leaves one in place in a worker."""
    tracer = sys.gettrace()
    if PASS != "plain" or tracer is None or name_of(item.path) not in UNMEASURED:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not PASS:
        return
    other = next(one for one in PASSES if one != PASS)
    left, all_of_them = sorted(_names(LEFT_OUT)), len(suite())
    terminalreporter.section(f"{PASS} pass: {all_of_them - len(left)} of {all_of_them} test modules")
    why = "do the same in both" if PASS == "compiled" else "are of neither protocols nor risk, nor of the path"
    terminalreporter.write_line(f"left to the {other} pass, since they {why}: {len(left)}")
    for line in textwrap.wrap(", ".join(name.removeprefix("tests/").removesuffix(".py") for name in left), 118):
        terminalreporter.write_line(f"  {line}")
