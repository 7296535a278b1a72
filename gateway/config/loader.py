"""The configuration: a TOML file into frozen structs, refused whole if anything in it is wrong.

`load` tells every problem, each with its line. The tables, their defaults and why these were chosen stand in
schema.py, rules between keys in checks.py; docs/configuration.md is for whoever writes the file.
"""

import codecs
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.config.checks import TABLE_CHECKS, check_document
from gateway.config.lines import KeyLines
from gateway.config.rules import KeyPath, read
from gateway.config.schema import (
    Config,
)

# Ten thousand accounts fit; a disk image given by mistake does not.
MAX_FILE_BYTES = 16 << 20
# A file that is wrong everywhere (another program's, say) need not fill the terminal.
MAX_PROBLEMS = 100

# What some editors put before the first character; none of them is TOML.
_MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}

_AT_LINE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)|\(at end of document\)")


class ConfigError(Exception):
    """The file cannot be used; the text has one line a problem: `file:LINE: [table] key: what and what is allowed`."""


def load(path: Path) -> Config:
    """Return the configuration in the file `path`; raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_FILE_BYTES} bytes")
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            raise ConfigError(f"{path}:1: begins with the byte order mark of {encoding}: save it as UTF-8 without one")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8: save it in that encoding") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Return the configuration written in `text`; `path` is for messages and for relative file names in it."""
    # tomllib counts lines in this spelling too.
    text = text.replace("\r\n", "\n")
    document = _document(text, path)
    config, problems = read(Config, document, TABLE_CHECKS, path.parent)
    problems.extend(check_document(document))
    if not problems:
        assert isinstance(config, Config)
        return config
    lines = KeyLines(text)
    placed = sorted((lines.line(problem.path), _label(problem.path), problem.text) for problem in problems)
    told = [f"{path}:{line}: {label}: {text}" for line, label, text in placed[:MAX_PROBLEMS]]
    if len(placed) > MAX_PROBLEMS:
        told.append(f"{path}: and {len(placed) - MAX_PROBLEMS} more")
    raise ConfigError("\n".join(told))


def _document(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        match = _AT_LINE.search(reason)
        line = int(match.group(1)) if match and match.group(1) else text.count("\n") + 1
        raise ConfigError(f"{path}:{line}: not TOML: {_AT_LINE.sub('', reason).strip()}") from None
    except (ValueError, ArithmeticError, RecursionError):
        # A date that is none, an exponent out of all bounds, brackets within brackets without end.
        raise ConfigError(f"{path}: not TOML: a value that nobody could mean") from None


def _label(path: KeyPath) -> str:
    """Write a path as `[table] key`, as `[[table]] key` where there are several such tables, or as `[table]`."""
    *table, last = path
    element = ""
    if isinstance(last, int):
        element = f"[{last}]"
        *table, last = table
    names = ".".join(str(part) for part in table if isinstance(part, str))
    if not table:
        label = f"[{last}]{element}"
    elif isinstance(table[-1], int):
        label = f"[[{names}]] {last}{element}"
    else:
        label = f"[{names}] {last}{element}"
    # A quoted key may hold anything, a line break included.
    return label.encode("unicode_escape").decode("ascii")
