"""The store of sent messages against a plain dict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.fix import store as store_module
from protocols.fix.store import MessageStore


@pytest.fixture(autouse=True, params=[1, 3, 1024])
def dropped_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_DROPPED_AT_ONCE", request.param)


@given(st.integers(1, 7), st.lists(st.one_of(st.none(), st.binary(max_size=2)), max_size=30), st.integers(1, 50))
def test_the_last_ones_are_kept(capacity: int, messages: list[bytes | None], first: int) -> None:
    """Numbers without a message (administrative ones, market data) take no room and push no message out."""
    store = MessageStore(capacity)
    store.reset(first)
    for number, raw in enumerate(messages, first):
        store.put(number, raw)
    next_number = first + len(messages)
    sent = [(number, raw) for number, raw in enumerate(messages, first) if raw is not None]
    kept, dropped = dict(sent[-capacity:]), sent[:-capacity]
    assert len(store) == len(kept)
    assert store.first_seq_num == min(kept, default=next_number)
    wanted = range(max(first - 3, 0), next_number + 3)
    assert dict(store.get_range(wanted[0], wanted[-1])) == {number: kept.get(number) for number in wanted}
    for number in wanted:
        assert store.next_kept(number) == min((n for n in kept if n >= number), default=max(next_number, number))
    floor = dropped[-1][0] + 1 if dropped else first
    for count in range(len(messages) + 2):
        assert store.last(count) == [kept.get(n) for n in range(max(next_number - count, floor), next_number)]


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


@given(st.integers(1, 9), st.integers(0, 12), st.lists(st.one_of(st.none(), st.binary(max_size=5)), max_size=60))
def test_bytes_are_bounded_too(capacity: int, max_bytes: int, messages: list[bytes | None]) -> None:
    """The oldest are dropped, the newest never; what is kept is kept whole, and what is counted is there."""
    store = MessageStore(capacity, max_bytes)
    for number, raw in enumerate(messages, 1):
        store.put(number, raw)
        newest = next((one for one in messages[number - 1 :: -1] if one is not None), b"")
        kept = [store.get(n) for n in range(1, number + 1)]
        assert kept[-1] == raw and [was for was in kept if was is not None] == [
            was for was, before in zip(kept, messages, strict=False) if was is not None and was == before
        ]
        assert store.bytes_kept == sum(len(one) for one in kept if one)
        assert store.bytes_kept <= max(max_bytes, len(newest))
        dropped = [n for n in range(len(kept)) if kept[n] is None and messages[n]]
        whole = [n for n in range(len(kept)) if kept[n]]
        assert not dropped or not whole or dropped[-1] < whole[0], "the oldest go first"


def test_an_epoch_ends_with_every_new_beginning() -> None:
    store = MessageStore(10)
    store.put(1, b"a")
    store.put(2, b"b")
    assert store.epoch == 0
    store.put(9, b"i")
    assert store.epoch == 1
    store.reset()
    assert store.epoch == 2
