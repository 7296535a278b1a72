"""Where each key of a TOML text stands, which tomllib does not tell.

A path is a tuple of keys and, for elements of lists and for arrays of tables, indices: in

    [[fix.session]]
    accounts = ["A", "B"]

the "B" has the path ("fix", "session", 0, "accounts", 1), and so it has however the same document is spelt: with
dotted keys, inline tables or headers. The text must be valid TOML (tomllib has read it); nothing is verified here.
"""

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:\\.|[^"\\])*"' + r"|'[^']*'",
    re.DOTALL,
)
_PLAIN_VALUE = re.compile(r"[^,\]}#\n]+")


class KeyLines:
    """The line, from 1, of every key and element of one document."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        _Scan(text, self._lines).document()

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing around it that is written down."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]


class _Scan:
    def __init__(self, text: str, lines: dict[Path, int]) -> None:
        self._text = text
        self._lines = lines
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        # How many elements each array of tables has so far.
        self._elements: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        *parents, last = self._key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for key in parents:
            path = self._inside(self._note((*path, key), start))
        path = self._note((*path, last), start)
        if is_array:
            self._elements[path] = self._elements.get(path, 0) + 1
            path = self._note((*path, self._elements[path] - 1), start)
        return path

    def _inside(self, path: Path) -> Path:
        """Go into the last element, if `path` is an array of tables: that is what a header means by its name."""
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    def _assignment(self, table: Path) -> None:
        start = self._at
        path = table
        for key in self._key():
            path = self._note((*path, key), start)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        """Read a key of one or more dotted parts, and the space around it."""
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                quoted = self._skip(_STRING)
                parts.append(tomllib.loads(f"key = {quoted}")["key"])
            else:
                parts.append(self._skip(_BARE_KEY))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._list(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_PLAIN_VALUE)

    def _list(self, path: Path) -> None:
        index = 0
        while not self._closes("]"):
            self._value(self._note((*path, index), self._at))
            index += 1

    def _inline_table(self, path: Path) -> None:
        while not self._closes("}"):
            self._assignment(path)

    def _closes(self, bracket: str) -> bool:
        """Step over the opening bracket or a comma to what follows; say whether it is the closing bracket."""
        self._skip(_BLANK)
        if self._text[self._at] != bracket:
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _note(self, path: Path, start: int) -> Path:
        self._lines.setdefault(path, bisect_right(self._newlines, start - 1) + 1)
        return path

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, f"not TOML at {self._at}"
        self._at = match.end()
        return match.group()
