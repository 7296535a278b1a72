"""The rules of the house, enforced: who may know whom, what the pure parts may not touch, and how long things get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "protocols", "risk", "fixtures", "tests")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 70

# package -> what of the house it may import. Nobody imports gateway but gateway, and the tests.
MAY_IMPORT = {
    "protocols": {"protocols"},
    "risk": {"risk"},
    "fixtures": {"fixtures", "protocols", "risk"},
    "gateway": {"gateway", "protocols", "risk"},
}

# Modules that do I/O, read the clock or log. protocols and risk are handed bytes and time instead.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "http", "io", "logging", "mmap", "multiprocessing",
    "os", "pathlib", "random", "requests", "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uvloop",
}  # fmt: skip
# file -> impure modules it may import all the same, and why.
EXCEPTIONS = {
    "protocols/fix/codec.py": {"os"},  # the import switch reads MARGINGATE_PURE
    "protocols/short_lane.py": {"os"},  # the same
    "protocols/venues/frames.py": {"os"},  # the same
    "protocols/venues/levels.py": {"os"},  # the same
    "risk/cash.py": {"os"},  # the same
    "risk/gate.py": {"os"},  # the same
    "risk/kernel.py": {"os"},  # the same
    "risk/pool.py": {"os"},  # the same
    "risk/mirror.py": {"os"},  # the same
    "risk/remargin.py": {"os"},  # the same
    "risk/haircut_tables.py": {"os"},  # the same
    "protocols/websocket.py": {"logging"},  # to hand the websockets library a logger that is off
    "protocols/fix/values.py": {"datetime"},  # calendar arithmetic; its clock is never asked
    "protocols/fix/dictionary.py": {"pathlib", "importlib"},  # the dictionary is a data file of the package
}


def sources(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


ALL = [path for package in PACKAGES for path in sources(package)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_dependency_rule(package: str) -> None:
    for path in sources(package):
        allowed = MAY_IMPORT[package]
        for module in imports(path):
            top = module.partition(".")[0]
            assert top not in PACKAGES or top in allowed, f"{name_of(path)} may not import {module}"


@pytest.mark.parametrize("package", ["protocols", "risk"])
def test_pure_packages_do_no_io(package: str) -> None:
    for path in sources(package):
        allowed = EXCEPTIONS.get(name_of(path), set())
        for module in imports(path):
            top = module.partition(".")[0]
            assert top not in IMPURE or top in allowed, f"{name_of(path)} may not import {module}"


@pytest.mark.parametrize("package", ["protocols", "risk"])
def test_pure_packages_do_not_open_or_print(package: str) -> None:
    for path in sources(package):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "print", "input"}, f"{name_of(path)}:{node.lineno}"


def test_nothing_is_awaited_on_the_path() -> None:
    """pipeline.py, and all that it calls between the check and the send, can not be interrupted."""
    on_the_path = ("pipeline", "ledger", "reports", "router", "translate", "executions", "clients/link", "venues/link")
    on_the_path = (
        *on_the_path,
        "hook/api",
        "hook/clients",
        "hook/session",
        "hook/messages",
        "hook/holds",
        "hook/fills",
    )
    beside_it = (
        "clients/volatile",
        "messages/inquiries",
        "messages/market_data",
        "messages/reader",
        "messages/book_stream",
        "messages/reference_data",
        "messages/statuses",
        "messages/news",
        "messages/limit_checks",
        "margin/figures",
        "messages/margin_reports",
        "messages/position_reports",
        "messages/collateral_reports",
        "messages/margin_subscriptions",
        "messages/party_actions",
        "margin/guards",
        "margin/adjustments",
        "margin/adjustment_markets",
        "margin/adjustment_book",
    )
    beside_it = (*beside_it, "intraday", "margin/book", "messages/margin_calls", "margin/desk")
    for name in (*on_the_path, *beside_it):
        tree = ast.parse((ROOT / "gateway" / f"{name}.py").read_text())
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith), name


def test_only_pre_trade_approves() -> None:
    """Approved is made in one place; a router takes nothing else."""
    for path in (path for path in ALL if "Approved" in path.read_text()):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called != "Approved" or name_of(path) == "risk/pre_trade.py", f"{name_of(path)}:{node.lineno}"


def test_only_the_clock_reads_time() -> None:
    for path in sources("gateway"):
        if path.name != "clock.py":
            assert "time" not in set(imports(path)), f"{name_of(path)} reads a clock of its own"


def test_files_are_short() -> None:
    files = [*ALL, *(p for package in PACKAGES for p in (ROOT / package).rglob("*.pyx"))]
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in files}
    assert not {name: length for name, length in lengths.items() if length > MAX_FILE_LINES}


def test_functions_are_short() -> None:
    for path in (path for path in ALL if path.read_text().count("\n") > MAX_FUNCTION_LINES):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines"


def test_public_things_are_documented() -> None:
    """Every public function and class of the pure packages and the gateway says what it is."""
    for package in ("gateway", "risk"):
        for path in sources(package):
            for node in tree_of(path).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    if isinstance(node, ast.ClassDef) and "Table" in {getattr(b, "id", "") for b in node.bases}:
                        continue  # each of its keys says what it is: docs/configuration.md is made of that
                    documented = node.name.startswith("_") or ast.get_docstring(node) is not None
                    assert documented, f"{name_of(path)}:{node.lineno} {node.name} has no docstring"


def test_no_forbidden_names() -> None:
    """A name says what a thing does; these say nothing."""
    for path in ALL:
        for word in ("manager", "utils", "helpers", "process_data", "handler2"):
            assert word not in path.stem, name_of(path)
