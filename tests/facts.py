"""What the rules of the house ask of a source file, read off it in one walk: a tree is large, and is not kept.

All files of ours are some thousand; their trees together are a gigabyte, which each later collection of garbage in the
process would go through.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Function(NamedTuple):
    """A function or method, wherever it stands."""

    line: int
    name: str
    lines: int


class Call(NamedTuple):
    """A call of something by its name, or by its last name where it is an attribute."""

    line: int
    name: str
    is_bare: bool


class Facts(NamedTuple):
    """One file: `imports` are (module, name), name "" where the module itself is imported."""

    imports: tuple[tuple[str, str], ...]
    is_relative: bool
    functions: tuple[Function, ...]
    calls: tuple[Call, ...]
    is_awaiting: bool
    undocumented: tuple[tuple[int, str], ...]


@cache
def facts_of(path: Path) -> Facts:
    """Return the facts of one Python source."""
    imports: list[tuple[str, str]] = []
    functions: list[Function] = []
    calls: list[Call] = []
    is_relative = is_awaiting = False
    with _without_collection():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name | ast.Attribute):
                    is_bare = isinstance(node.func, ast.Name)
                    calls.append(Call(node.lineno, node.func.id if is_bare else node.func.attr, is_bare))
            elif isinstance(node, ast.Import):
                imports += ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                is_relative |= node.level != 0
                imports += ((node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(Function(node.lineno, node.name, (node.end_lineno or node.lineno) - node.lineno + 1))
            is_awaiting |= isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith)
        undocumented = tuple(_undocumented(tree))
    return Facts(tuple(imports), is_relative, tuple(functions), tuple(calls), is_awaiting, undocumented)


def _undocumented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if isinstance(node, ast.ClassDef) and "Table" in {getattr(base, "id", "") for base in node.bases}:
                continue  # each of its keys says what it is: docs/configuration.md is made of that
            if not node.name.startswith("_") and ast.get_docstring(node) is None:
                yield node.lineno, node.name


@contextmanager
def _without_collection() -> Iterator[None]:
    """A tree has no cycles, and to look for some in it takes longer than to make it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
