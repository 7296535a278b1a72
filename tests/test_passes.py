"""The two passes of `make test` together run every test module, and twice whatever can tell a kernel from its twin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.passes import (
    PACKAGES,
    PASSES,
    PLAIN,
    ROOT,
    UNMEASURED,
    imports,
    left_out,
    name_of,
    passes_of,
    reaches_a_twin,
    suite,
)

SWITCH = "protocols.fix.codec"


def is_plain(name: str) -> bool:
    return any(name == part or name.startswith(f"{part}/") for part in PLAIN)


def test_every_module_runs_and_whatever_reaches_a_twin_runs_twice() -> None:
    names = {name_of(path) for path in suite()}
    assert names == {name_of(path) for path in (ROOT / "tests").rglob("*.py") if path.name.startswith("test_")}
    of = {which: names - set(left_out(which)) for which in PASSES}
    assert of["compiled"] | of["plain"] == names
    assert of["plain"] == {name for name in names if is_plain(name)}
    for name in of["plain"] - of["compiled"]:
        assert not reaches_a_twin(ROOT / name), name
    for name in of["plain"]:
        assert name in of["compiled"] or not reaches_a_twin(ROOT / name), name
    assert len(of["plain"] - of["compiled"]) > 20, "nothing is saved"


def test_what_is_named_for_the_plain_pass_is_there() -> None:
    assert all((ROOT / part).exists() for part in (*PLAIN, *UNMEASURED)) and all(map(is_plain, UNMEASURED))


@pytest.mark.parametrize("source", sorted((*ROOT.glob("protocols/**/*.pyx"), *ROOT.glob("risk/**/*.pyx"))), ids=name_of)
def test_whoever_imports_a_kernel_reaches_it(tmp_path: Path, source: Path) -> None:
    package, _, kernel = name_of(source).removesuffix(".pyx").replace("/", ".").rpartition(".")
    for number, text in enumerate((f"import {package}.{kernel}", f"from {package} import {kernel}",
                                   f"def f():\n    from {package}.{kernel} import x")):  # fmt: skip
        path = tmp_path / f"test_{number}.py"
        path.write_text(f"{text}\n")
        assert imports(path) is None, text


@pytest.mark.parametrize(
    "text",
    [
        f"import {SWITCH}",
        f"from {SWITCH} import decode",
        "from protocols.fix import codec",
        "def f():\n    import risk.kernel",
        "from tests.risk.test_account import anything",
        "import risk.no_such_module",
        "import subprocess",
        "import importlib\nimportlib.import_module('risk.models')",
    ],
)
def test_doubt_runs_twice(tmp_path: Path, text: str) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(f"{text}\n")
    assert reaches_a_twin(path)


@pytest.mark.parametrize("text", ["", "import json", "from risk import collateral", "from risk.models import evaluate"])
def test_what_comes_near_no_twin_runs_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(f"{text}\n")
    assert not reaches_a_twin(path)


LOOK = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
print(*sorted(set(sys.argv[1].split()) & set(sys.modules)))
"""


def test_nothing_that_runs_once_loads_a_kernel_or_a_switch() -> None:
    """What the import graph says, as it is in a process that has imported all of them."""
    kernels = {path for package in PACKAGES for path in (ROOT / package).rglob("*.pyx")}
    switches = {
        path
        for package in ("protocols", "risk", "gateway")
        for path in (ROOT / package).rglob("*.py")
        if 'environ.get("MARGINGATE_PURE")' in path.read_text()
    }
    assert len(kernels) > 10 and len(switches) > 8
    watched = " ".join(module_of(path) for path in kernels | switches)
    once = [module_of(path) for path in suite() if passes_of(path) == ("plain",)]
    command = [sys.executable, "-c", LOOK, watched, *once]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.split() == []


def module_of(path: Path) -> str:
    return name_of(path).rpartition(".")[0].replace("/", ".")


def test_a_module_of_each_kind() -> None:
    assert passes_of(ROOT / "tests/risk/test_kernel.py") == ("compiled", "plain")
    assert passes_of(ROOT / "tests/risk/models/test_models.py") == ("plain",)
    assert passes_of(ROOT / "tests/gateway/test_app.py") == ("compiled",)
