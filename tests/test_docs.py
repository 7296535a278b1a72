"""The pages hold: no dead link, no file, command, option, key, metric, alert, code or test named that is not there."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from gateway import cli
from gateway.admin.metrics import exposition
from gateway.config.reference import _tables
from gateway.config.schema import Config
from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2
from risk.order import RejectReason
from tests.gateway.admin.test_metrics import facts

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("docs/adr/*.md")])
# Decisions and changes tell what was so on their day: their links hold, their words may be of a tree that has moved.
LIVING = [page for page in PAGES if page.parent.name != "adr" and page.name not in ("CHANGELOG.md", "fix.md")]
# What a reader is to put a name of their own for, what a run makes, and another programme's.
NOT_OURS = re.compile(
    r"NAME|CONFIG\.toml|^(?:prices|orders|faults|tokens|deribit|oms-1|fitted|tail-points|parameters|card|report|manifest"
    r"|tokens|margingate|out|openapi|page|local|venues)\.(?:toml|jsonl?|html|yml|pem|key)$"
)
# What Deribit sends, and keys that are not the configuration's.
# Values of ExecType(150).
EXEC_TYPES = {"TradeCancel", "TradeCorrect"}
NOT_TESTS = {"test_request"}
NOT_KEYS = re.compile(r".*\.(?:py|json|toml)|session\.status|parameters\.(?:tiers|prices|profiles)|\[\.\.\.\]")
FILE_NAME = re.compile(r"(?<![\w*<])[\w./-]+\.(?:py|pyx|pxi|pxd|toml|md|jsonl|json|yml|html|fix)\b(?![*(])")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def spans(page: Path) -> Iterator[str]:
    """Yield what stands between backticks, fenced blocks left out."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", text)


@functools.cache
def sources() -> dict[str, str]:
    """Return what lies in the tree, by path."""
    kinds = {".py", ".pyx", ".pxi", ".pxd", ".toml", ".md", ".json", ".jsonl", ".yml", ".html", ".fix"}
    tops = ("gateway", "protocols", "risk", "fixtures", "tests", "docs")
    found = [path for top in tops for path in (ROOT / top).rglob("*")]
    return {name_of(path): path.read_text() if path.suffix == ".py" else "" for path in found if path.suffix in kinds}


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


def is_there(name: str) -> bool:
    return name in sources() or any(path.endswith(f"/{name}") for path in sources()) or (ROOT / name).exists()


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_files_that_are_named_are_there(page: Path) -> None:
    wrong = []
    for span in spans(page):
        names = [name.lstrip("./") for name in FILE_NAME.findall(span)]
        ours = [name for name in names if not NOT_OURS.search(name) and not name.startswith(("api/", "protocols."))]
        wrong += [name for name in ours if not is_there(name)]
        for module in re.findall(r"python -m ((?:gateway|fixtures|tests|risk|protocols)[\w.]*)", span):
            path = module.replace(".", "/")
            wrong += [] if {f"{path}.py", f"{path}/__main__.py"} & sources().keys() else [module]
    assert not wrong, f"there are no such files: {', '.join(wrong)}"


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_tests_that_are_named_are_there(page: Path) -> None:
    known = {name for text in sources().values() for name in re.findall(r"def (test_\w+)", text)}
    known |= {path.rsplit("/", 1)[1].removesuffix(".py") for path in sources()}
    named = {name for span in spans(page) for name in re.findall(r"(?<![/\w])(test_\w*[a-z0-9])\b(?!_?\*)", span)}
    wrong = sorted(named - known - NOT_TESTS)
    assert not wrong, f"there are no such tests: {', '.join(wrong)}"


def is_in(constant: str, text: str) -> bool:
    return re.search(rf"^ *(?:{constant}\b|.*import .*\b{constant}\b)", text, re.MULTILINE) is not None


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_constants_that_are_named_are_in_their_file(page: Path) -> None:
    wrong = []
    for constants, file in re.findall(
        r"((?:[A-Z][A-Z0-9]*_[A-Z_0-9]+(?:, | and )?)+) \(`([\w/]+\.py)`\)", page.read_text()
    ):
        texts = [text for path, text in sources().items() if path == file or path.endswith(f"/{file}")]
        named = re.findall(r"[A-Z][A-Z_0-9]{3,}", constants)
        wrong += [f"{name} ({file})" for name in named if not any(is_in(name, text) for text in texts)]
    assert not wrong, f"there are no such constants: {', '.join(wrong)}"


def commands_of(page: Path) -> Iterator[str]:
    """Yield what a page tells to type, in blocks and in sentences."""
    text = page.read_text().replace("\\\n", " ")
    yield from re.findall(r"^(?:    |> )?(margingate .*)$", text, flags=re.MULTILINE)
    yield from (span for span in spans(page) if span.startswith("margingate "))


@functools.cache
def group() -> Any:
    return typer.main.get_command(cli.app)


def fault_of(line: str) -> str:
    """Return what is wrong with a command as a page has it: `[--option X]` is an option too, `a|b` a choice."""
    line = re.split(r"\s{2,}#|\s#\s|;|  \(|\s>>?\s|\.\.\.$", line)[0]
    words = [word.strip("[],.:") for word in shlex.split(line.replace("'", ""))][1:]
    if words[-1:] == ["--help"]:
        words = [word for word in words[:-1] if word != "COMMAND"]
    command: Any = group()
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known:
            return f"no option {option}"
    return ""


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_commands_that_are_named_are_there(page: Path) -> None:
    wrong = [f"{line}: {fault}" for line in commands_of(page) if (fault := fault_of(line))]
    assert not wrong, "\n".join(wrong)


def test_every_command_is_on_some_page() -> None:
    told = "\n".join(line for page in LIVING for line in commands_of(page))
    missing = [name for name in group().commands if not re.search(rf"margingate {name}\b", told)]
    assert not missing, missing


@functools.cache
def keys() -> dict[str, set[str]]:
    """Return the keys of each table of the configuration, by its full name, and by its last word."""
    found: dict[str, set[str]] = {"": {field.name for field in msgspec.structs.fields(Config)}}
    for kind, label, _ in _tables(Config, ""):
        name = label.strip("[]")
        for alias in {name, name.rsplit(".", 1)[-1]}:
            found.setdefault(alias, set()).update(field.name for field in msgspec.structs.fields(kind))
    return found


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_keys_that_are_named_are_there(page: Path) -> None:
    tables = keys().keys() | {"probability", "schedule", "own", "failure"}  # those of fault files and scenarios too
    wrong = []
    for span in spans(page):
        if NOT_KEYS.fullmatch(span) or page.name == "fix-library.md":
            continue
        if re.fullmatch(r"\[{1,2}[a-z_.]+\]{1,2}", span) and span.strip("[]") not in tables:
            wrong.append(span)
        named = re.fullmatch(r"((?:[a-z_]+\.)+)([a-z_]+)(?: = .*)?", span)
        if named and named[1][:-1] in keys() and not (ROOT / named[1].replace(".", "/")).is_dir():
            is_key = named[2] in keys()[named[1][:-1]] or f"{named[1]}{named[2]}" in tables
            wrong += [] if is_key else [span]
    assert not wrong, f"there are no such keys: {', '.join(wrong)}"


def test_metrics_that_are_named_are_told() -> None:
    told = set()
    for family in text_string_to_metric_families(exposition(facts).decode()):
        told |= {family.name, *(sample.name for sample in family.samples)}
    files = [*LIVING, ROOT / "docs" / "monitoring" / "alerts.yml", ROOT / "docs" / "monitoring" / "grafana.json"]
    for file in files:
        for name in re.findall(r"\bmargingate_[a-z_]+\b", file.read_text()):
            assert {name, name.removesuffix("_total")} & told, f"{file.name}: {name}: there is no such metric"


def test_the_readme_names_every_check_and_every_code_as_it_is() -> None:
    text = (ROOT / "README.md").read_text()
    known = {reason.value for reason in RejectReason}
    codes = {int(code) for code in re.findall(r"\((\d{3})\)|(?<=[(, ])(\d{3})(?=[,)])", text) for code in code if code}
    assert codes <= known, codes - known


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_blocks_of_python_are_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        ast.parse(block)


@functools.cache
def wire_names() -> dict[str, set[str]]:
    """Return the tags of each field's name, and the MsgTypes of each message's, of all versions."""
    found: dict[str, set[str]] = {}
    for version in (FIX42, FIX44, FIX50SP2):
        for tag, field in version.fields.items():
            found.setdefault(field.name, set()).add(str(tag))
        for msg_type, message in version.messages.items():
            found.setdefault(message.name, set()).add(msg_type)
    return found


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_names_of_the_wire_have_their_numbers(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"\b([A-Z][A-Za-z0-9]+)\((\d{1,5})\)", text)
    named += re.findall(r"\b([A-Z][a-z]+[A-Z][A-Za-z0-9]+)\(([A-Za-z][A-Za-z]?)\)", text)
    wrong = [
        f"{name}({tag})" for name, tag in named if name not in EXEC_TYPES and tag not in wire_names().get(name, ())
    ]
    assert not wrong, f"FIX knows none of these: {', '.join(wrong)}"


@pytest.mark.parametrize("page", LIVING, ids=name_of)
def test_codes_have_their_reasons(page: Path) -> None:
    rows = re.findall(r"^\| (\d{3}) \| ([A-Z_]{4,}) \|", page.read_text(), flags=re.MULTILINE)
    wrong = [f"{code} {name}" for code, name in rows if RejectReason(int(code)).name != name]
    assert not wrong, f"these are called otherwise: {', '.join(wrong)}"
