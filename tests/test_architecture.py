"""The rules of the house, enforced: who may know whom, what the pure parts may not touch, and how long things get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.facts import facts_of

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


# What stands between the check and the send, and what is told or decided in the same turns: nothing can come between.
AWAITS_NOTHING = (
    "pipeline", "ledger", "reports", "router", "translate", "executions", "intraday",
    "clients/link", "clients/volatile", "venues/link",
    "hook/api", "hook/clients", "hook/session", "hook/messages", "hook/holds", "hook/fills",
    "margin/figures", "margin/book", "margin/desk", "margin/guards",
    "margin/adjustments", "margin/adjustment_markets", "margin/adjustment_book",
    "messages/inquiries", "messages/limit_checks", "messages/party_actions",
    "messages/market_data", "messages/reader", "messages/book_stream",
    "messages/reference_data", "messages/statuses", "messages/news",
    "messages/margin_calls", "messages/margin_reports", "messages/margin_subscriptions",
    "messages/position_reports", "messages/collateral_reports",
)  # fmt: skip


def sources(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


ALL = [path for package in PACKAGES for path in sources(package)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    facts = facts_of(path)
    assert not facts.is_relative, f"{name_of(path)}: relative import"
    yield from {module for module, _ in facts.imports}


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
        for call in facts_of(path).calls:
            assert not (call.is_bare and call.name in {"open", "print", "input"}), f"{name_of(path)}:{call.line}"


def test_nothing_is_awaited_on_the_path() -> None:
    """pipeline.py, and all that it calls between the check and the send, can not be interrupted."""
    for name in AWAITS_NOTHING:
        assert not facts_of(ROOT / "gateway" / f"{name}.py").is_awaiting, name


def test_both_readers_of_slots_read_alike() -> None:
    """protocols may not know risk's, so it has a copy of what it needs of it."""

    def lines(package: str) -> list[str]:
        text = (ROOT / package / "_slots.pxd").read_text()
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

    assert set(lines("protocols")) < set(lines("risk"))


def test_only_pre_trade_approves() -> None:
    """Approved is made in one place; a router takes nothing else."""
    made = {name_of(path) for path in ALL for call in facts_of(path).calls if call.name == "Approved"}
    assert made == {"risk/pre_trade.py"}


def test_only_the_clock_reads_time() -> None:
    for path in sources("gateway"):
        if path.name != "clock.py":
            assert "time" not in set(imports(path)), f"{name_of(path)} reads a clock of its own"


def test_files_are_short() -> None:
    files = [*ALL, *(p for package in PACKAGES for p in (ROOT / package).rglob("*.pyx"))]
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in files}
    assert not {name: length for name, length in lengths.items() if length > MAX_FILE_LINES}


def test_functions_are_short() -> None:
    long = [(name_of(path), one) for path in ALL for one in facts_of(path).functions if one.lines > MAX_FUNCTION_LINES]
    assert not long


def test_public_things_are_documented() -> None:
    """Every public function and class of the pure packages and the gateway says what it is."""
    for package in ("gateway", "risk"):
        for path in sources(package):
            undocumented = facts_of(path).undocumented
            assert not undocumented, f"{name_of(path)}: {undocumented} without a docstring"


def test_no_forbidden_names() -> None:
    """A name says what a thing does; these say nothing."""
    for path in ALL:
        for word in ("manager", "utils", "helpers", "process_data", "handler2"):
            assert word not in path.stem, name_of(path)
