"""The store of sent messages against a plain dict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.fix.store import MessageStore


@given(st.integers(1, 7), st.lists(st.one_of(st.none(), st.binary(max_size=2)), max_size=30), st.integers(1, 50))
def test_the_last_ones_are_kept(capacity: int, messages: list[bytes | None], first: int) -> None:
    """Numbers without a message (administrative ones, market data) take no room and push no message out."""
    store = MessageStore(capacity)
    store.reset(first)
    for number, raw in enumerate(messages, first):
        store.put(number, raw)
    next_number = first + len(messages)
    kept = dict([(number, raw) for number, raw in enumerate(messages, first) if raw is not None][-capacity:])
    assert len(store) == len(kept)
    assert store.first_seq_num == min(kept, default=next_number)
    wanted = range(max(first - 3, 0), next_number + 3)
    assert dict(store.get_range(wanted[0], wanted[-1])) == {number: kept.get(number) for number in wanted}
    for number in wanted:
        assert store.next_kept(number) == min((n for n in kept if n >= number), default=max(next_number, number))


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
