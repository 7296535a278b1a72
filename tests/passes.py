"""Which pass of `make test` has which test modules: the compiled one, the plain one with its coverage, or both.

A test whose code never comes near a module with a compiled twin does the same in both passes, and is left to the plain
one. What comes near is read off the import graph, and in doubt it does: a module that is no Python source, one that
reads the import switch, or one that may run more than its import statements say, counts as a twin.

Only `make test` selects, by MARGINGATE_PASS; pytest by hand runs all that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal

from tests.facts import facts_of

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("gateway", "protocols", "risk", "fixtures", "tests")
Pass = Literal["compiled", "plain"]
PASSES: Final[tuple[Pass, ...]] = ("compiled", "plain")

# What the plain pass is about: protocols and risk, and the whole path of an order without a compiled step.
PLAIN: Final = (
    "tests/protocols",
    "tests/risk",
    "tests/test_simulator.py",
    "tests/gateway/test_pipeline.py",
    "tests/gateway/test_reports.py",
    "tests/gateway/test_recovery.py",
)

# Thousands of messages, paths or orders of a seed: they compare, and what they come across is no coverage. That is
# measured of those tests that say what ought to be; and a tracer makes these take twice as long.
UNMEASURED: Final = (
    "tests/test_simulator.py",
    "tests/protocols/fix/test_conversations_tcp.py",
    "tests/protocols/fix/test_differential.py",
    "tests/protocols/fix/test_endurance.py",
    "tests/protocols/fix/test_fuzz.py",
    "tests/protocols/fix/test_fuzz_versions.py",
    "tests/protocols/venues/test_deribit_fuzz.py",
    "tests/protocols/venues/test_lanes_fuzz.py",
    "tests/protocols/venues/test_lanes_recorded.py",
    "tests/protocols/venues/test_recorded_variations.py",
    "tests/risk/models/test_properties.py",
    "tests/risk/test_false_approvals.py",
    "tests/risk/test_pool_margin.py",
)

# Where one of these stands, more may run than the import statements say, or another thing than they say.
OPEN_ENDS: Final = (
    "MARGINGATE_PURE", "import_module", "__import__", "importlib.util", "importlib.machinery", "reload(", "runpy",
    "subprocess", "multiprocessing", "sys.executable", "ProcessPool", "exec(", "eval(", "pytest_plugins", "sys.modules",
)  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def suite() -> list[Path]:
    """Return all test modules."""
    return sorted((ROOT / "tests").rglob("test_*.py"))


def passes_of(module: Path) -> tuple[Pass, ...]:
    """Return the passes that run a test module."""
    if not any(module == ROOT / part or (ROOT / part) in module.parents for part in PLAIN):
        return ("compiled",)
    return PASSES if reaches_a_twin(module) else ("plain",)


def left_out(which: Pass) -> list[str]:
    """Return the names of the test modules that a pass leaves to the other."""
    return [name_of(module) for module in suite() if which not in passes_of(module)]


@cache
def reaches_a_twin(module: Path) -> bool:
    """Whether a test module, or a conftest.py that it runs with, comes near a twin."""
    conftests = [directory / "conftest.py" for directory in module.parents if ROOT in (directory, *directory.parents)]
    to_visit = [module, *(path for path in conftests if path.exists() and path != ROOT / "tests" / "conftest.py")]
    seen = set(to_visit)
    while to_visit:
        found = imports(to_visit.pop())
        if found is None:
            return True
        to_visit += found - seen
        seen |= found
    return False


@cache
def imports(path: Path) -> frozenset[Path] | None:
    """Return the files of ours that a file imports, wherever in it; None where that can not be said, or is a twin."""
    source = path.read_text()
    if any(word in source for word in OPEN_ENDS):
        return None
    files: set[Path] = set()
    for name, is_module in _imported(path):
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            continue
        for length in range(1, len(parts) + 1):
            file = _file_of(parts[:length])
            if file is not None:
                files.add(file)
            elif is_module or length < len(parts) or _is_compiled(parts):
                return None
    return frozenset(files)


def _imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Every dotted name that is imported, and whether it has to be a module: the last part may be what is in one."""
    facts = facts_of(path)
    assert not facts.is_relative, "relative imports are refused by test_architecture.py"
    for module, name in facts.imports:
        yield module, True
        if name:
            yield f"{module}.{name}", False


def _file_of(parts: list[str]) -> Path | None:
    path = ROOT.joinpath(*parts)
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _is_compiled(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".pyx").exists() or any(path.parent.glob(f"{path.name}.*.so"))
