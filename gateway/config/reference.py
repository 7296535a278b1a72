"""The table of every key, for docs/configuration.md: `python -m gateway.config.reference FILE` brings it up to date.

A test compares the two, so the document cannot fall behind the code.
"""

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

from msgspec import NODEFAULT, Struct, structs

from gateway.config.rules import allowed, is_table, parts_of
from gateway.config.schema import Config

BEGIN = "<!-- keys: written by gateway/config/reference.py -->"
END = "<!-- keys: end -->"


def reference() -> str:
    """Return a Markdown section a table of the configuration, a row a key."""
    return "\n".join(line for kind, name, text in _tables(Config, "") for line in _section(kind, name, text))


def updated(document: str) -> str:
    """Return `document` with what stands between the two marks replaced."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _tables(kind: type[Struct], prefix: str) -> Iterator[tuple[type[Struct], str, str]]:
    hints = get_type_hints(kind, include_extras=True)
    for field in structs.fields(kind):
        hint = parts_of(hints[field.name])
        inner = hint.kind if is_table(hint.kind) else next(iter(get_args(hint.kind)), None)
        if inner is None or not is_table(inner):
            continue
        name = f"{prefix}{field.name}"
        yield inner, f"[{name}]" if inner is hint.kind else f"[[{name}]]", hint.description
        yield from _tables(inner, f"{name}.")


def _section(kind: type[Struct], name: str, text: str) -> Iterator[str]:
    yield from (f"### `{name}`", "", text, "", "| key | value | default | meaning |", "|---|---|---|---|")
    hints = get_type_hints(kind, include_extras=True)
    for field in structs.fields(kind):
        hint = hints[field.name]
        cells = (f"`{field.name}`", allowed(hint), _default(field), parts_of(hint).description)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(field: structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if value is None or value == {}:
        return "none"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Decimal):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def main(arguments: list[str]) -> None:
    """Write the table of keys into the file that the command line names."""
    target = Path(arguments[0])
    target.write_text(updated(target.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
