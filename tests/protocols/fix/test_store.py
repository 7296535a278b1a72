"""The store of sent messages against a plain dict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.fix.store import MessageStore


@given(st.integers(1, 7), st.lists(st.one_of(st.none(), st.binary(max_size=2)), max_size=30), st.integers(1, 50))
def test_the_last_ones_are_kept(capacity: int, messages: list[bytes | None], first: int) -> None:
    store = MessageStore(capacity)
    store.reset(first)
    for number, raw in enumerate(messages, first):
        store.put(number, raw)
    kept = dict(list(enumerate(messages, first))[-capacity:])
    assert len(store) == len(kept)
    assert store.first_seq_num == first + len(messages) - len(kept)
    wanted = range(max(first - 3, 0), first + len(messages) + 3)
    assert dict(store.get_range(wanted[0], wanted[-1])) == {number: kept.get(number) for number in wanted}


def test_another_number_starts_again() -> None:
    store = MessageStore(10)
    store.put(1, b"a")
    store.put(5, b"e")
    assert (store.get(1), store.get(5), store.first_seq_num) == (None, b"e", 5)
    store.reset()
    assert (len(store), store.get(5), store.first_seq_num) == (0, None, 1)


def test_capacity_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MessageStore(0)
