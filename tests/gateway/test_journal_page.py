"""Both ways of writing a record into mapped memory leave the same bytes."""

from __future__ import annotations

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal import page

SIZE = 4096
PAGES = [page.PlainPage, page.Page] if page.COMPILED else [page.PlainPage]


def written(kind: type[page.Page], *arguments: object) -> bytes:
    with mmap.mmap(-1, SIZE) as memory:
        made = kind(memory)
        made.put(*arguments)  # type: ignore[arg-type]
        made.close()
        return bytes(memory)


rows = st.tuples(
    st.integers(0, 100).map(lambda place: place * 8),
    st.integers(0, (1 << 64) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.binary(max_size=300),
    st.integers(0, (1 << 32) - 1),
)


@given(rows)
def test_the_same_bytes(row: tuple[object, ...]) -> None:
    assert len({written(kind, *row) for kind in PAGES}) == 1


@pytest.mark.skipif(not page.COMPILED, reason="no compiled page was built")
@pytest.mark.parametrize(("offset", "size"), [(SIZE - 8, 0), (-8, 4), (3, 4), (0, SIZE), (SIZE - 40, 13)])
def test_nothing_is_written_out_of_bounds(offset: int, size: int) -> None:
    with mmap.mmap(-1, SIZE) as memory:
        made = page.Page(memory)
        with pytest.raises(ValueError, match="no room"):
            made.put(offset, 1, 1, 1, 1, bytes(size), 1)
        made.close()
        made.close()
        with pytest.raises(ValueError, match="no room"):
            made.put(0, 1, 1, 1, 1, b"", 1)
        assert bytes(memory) == bytes(SIZE)
