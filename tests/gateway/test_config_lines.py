import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.lines import KeyLines

SPELLINGS = '''\
top.dotted = "x # ] "
"quoted.key" = \'\'\'two
lines\'\'\'
inline = { x = 1, y = [1, [2], { z = 3 }], 'k' = {} } # [no]
list = [ # comment
  1,
  "a\\"]", \'b"\',
  """c\\"""\\
  d""",
]
[ table . "sub table" ]
date = 1979-05-27 07:32:00
[[array]]
a = 1
[array.inner]
b = 2
[[array]]
  [[array.deep]]
  c = 3
  [[array.deep]]
  c.d = 4
'''

LINES = {
    (): 1,
    ("top", "dotted"): 1,
    ("quoted.key",): 2,
    ("inline", "x"): 4,
    ("inline", "y", 1, 0): 4,
    ("inline", "y", 2, "z"): 4,
    ("inline", "k", "absent"): 4,
    ("list",): 5,
    ("list", 0): 6,
    ("list", 2): 7,
    ("list", 3): 8,
    ("table",): 11,
    ("table", "sub table", "date"): 12,
    ("array",): 13,
    ("array", 0, "a"): 14,
    ("array", 0, "inner"): 15,
    ("array", 0, "inner", "b"): 16,
    ("array", 1): 17,
    ("array", 1, "deep", 0, "c"): 19,
    ("array", 1, "deep", 1): 20,
    ("array", 1, "deep", 1, "c", "d"): 21,
    ("array", 1, "absent"): 17,
    ("absent",): 1,
}


def test_the_line_of_every_spelling() -> None:
    lines = KeyLines(SPELLINGS)
    assert {path: lines.line(path) for path in LINES} == LINES


KEYS = st.sampled_from(["a", "b", "c-d", "e_1", '"x.y"', "'] #'", '"\\u0041"'])
LEAVES = st.sampled_from(
    ["1", "-2.5", "true", '"s]#}"', "'q\"'", '""', '"""m\n"q" ]"""', "'''\n]\n'''", "inf", "07:32:00"]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: "[\n " + ", # ]\n".join(values) + " ]"),
        st.dictionaries(KEYS, inner.filter(lambda value: "# ]" not in value), max_size=3).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
    ),
    max_leaves=6,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=3)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return {path}.union(*(paths(inner, (*path, key)) for key, inner in value.items()))
    if isinstance(value, list):
        return {path}.union(*(paths(inner, (*path, index)) for index, inner in enumerate(value)))
    return {path}


@settings(max_examples=200, deadline=None)
@given(root=TABLES, tables=st.lists(st.tuples(st.sampled_from(["[[t]]", "[[t.u]]", "[v.w]"]), TABLES), max_size=4))
def test_every_key_that_tomllib_finds_has_a_line(
    root: dict[str, str], tables: list[tuple[str, dict[str, str]]]
) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in root.items())
    for header, table in tables:
        text += f"{header} # [x]\n" + "".join(f"  {key}={value}\n" for key, value in table.items())
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = KeyLines(text)
    assert set(lines._lines) == paths(document)
    written = text.split("\n")
    for path in paths(document):
        assert 1 <= lines.line(path) <= len(written)
        assert path == () or lines.line(path) >= lines.line(path[:-1])
