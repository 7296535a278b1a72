"""ClOrdIDs over a day and at capacity; cash, positions and holds as the kernel sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.account import CL_ORD_ID_MEMORY_NS, FORGOTTEN_AT_ONCE, RecentIds
from risk.instrument import Side
from tests.strategies import (
    CURRENCY_INDEX,
    DAY_NS,
    INSTRUMENTS,
    INVERSE,
    LINEAR,
    NOW_NS,
    NS,
    World,
    fresh_kernel_row,
    generation,
    kernel_of,
    order_of,
    working_order,
    world,
    worlds,
)


class TestRecentIds:
    def test_a_day_and_no_longer(self) -> None:
        ids = RecentIds()
        ids.remember("a", "o1", NOW_NS)
        assert "a" in ids
        assert ids.order_id("a") == "o1"
        assert ids.order_id("b") is None
        assert ids.was_used("a", NOW_NS + DAY_NS)
        assert not ids.was_used("a", NOW_NS + DAY_NS + 1)
        assert not ids.was_used("b", NOW_NS)
        assert ids.has_room(NOW_NS + DAY_NS)
        assert "a" in ids
        assert ids.has_room(NOW_NS + DAY_NS + 1)
        assert "a" not in ids
        assert len(ids) == 0

    def test_full_means_full_until_the_oldest_is_a_day_old(self) -> None:
        ids = RecentIds(capacity=3)
        for number in range(3):
            assert ids.has_room(NOW_NS + number)
            ids.remember(f"c{number}", f"o{number}", NOW_NS + number)
        assert not ids.has_room(NOW_NS + DAY_NS)
        assert ids.has_room(NOW_NS + DAY_NS + 1)
        assert len(ids) == 2
        assert all(f"c{number}" in ids for number in (1, 2))

    def test_an_id_used_again_the_next_day_does_not_keep_the_others_alive(self) -> None:
        ids = RecentIds(capacity=3)
        for name in "abc":
            ids.remember(name, "o", NOW_NS)
        later_ns = NOW_NS + DAY_NS + NS
        ids.remember("a", "o2", later_ns)
        assert ids.has_room(later_ns)
        assert [name in ids for name in "abc"] == [True, False, False]

    def test_two_memories_become_one_in_order_of_time(self) -> None:
        ids, other = RecentIds(capacity=10), RecentIds()
        ids.remember("a", "o1", NOW_NS)
        ids.remember("c", "o3", NOW_NS + 3 * NS)
        other.remember("b", "o2", NOW_NS + 2 * NS)
        other.remember("a", "o4", NOW_NS + 4 * NS)  # the later use of the two counts
        ids.absorb(other)
        assert [(name, ids.order_id(name)) for name in "abc"] == [("a", "o4"), ("b", "o2"), ("c", "o3")]
        assert ids.has_room(NOW_NS + DAY_NS + 2 * NS + 1)
        assert [name in ids for name in "abc"] == [True, False, True]

    def test_yesterday_is_forgotten_a_little_at_a_time(self) -> None:
        ids = RecentIds()
        for number in range(2 * FORGOTTEN_AT_ONCE + 1):
            ids.remember(f"c{number}", "o", NOW_NS)
        lengths = []
        for _ in range(4):
            assert ids.has_room(NOW_NS + 2 * DAY_NS)
            lengths.append(len(ids))
        assert lengths == [FORGOTTEN_AT_ONCE + 1, 1, 0, 0]

    @given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9 * 3600 * NS)), max_size=40))
    def test_equals_a_plain_list_of_uses(self, uses: list[tuple[str, int]]) -> None:
        ids, reference, now_ns = RecentIds(capacity=5), [], NOW_NS
        for name, wait_ns in uses:
            now_ns += wait_ns
            recent = [(used_ns, used) for used_ns, used in reference if now_ns - used_ns <= CL_ORD_ID_MEMORY_NS]
            was_used = any(used == name for _, used in recent)
            assert ids.was_used(name, now_ns) is was_used
            has_room = len(recent) < 5
            assert ids.has_room(now_ns) is has_room
            assert len(ids) == len(recent)
            if has_room and not was_used:
                ids.remember(name, "o", now_ns)
                reference.append((now_ns, name))


class TestAccount:
    def test_an_empty_account_holds_nothing(self) -> None:
        account = world().account
        assert account.position_lots(LINEAR) == 0
        assert account.exposure.orders == {}

    @given(worlds(), st.lists(st.tuples(st.integers(1, 50), st.integers(-100, 100)), max_size=4))
    def test_the_kernel_is_what_a_fresh_one_would_be(self, w: World, fills: list[tuple[int, int]]) -> None:
        for lots, fee in fills:
            for order in list(w.account.exposure.orders.values())[:1]:
                w.account.apply_fill(order, lots, order.ticks, fee)
        for group, row in fresh_kernel_row(w.account).items():
            assert w.kernel.row(1, group).tolist() == pytest.approx(row, rel=1e-9, abs=1e-3)

    @given(worlds())
    def test_mirroring_into_another_kernel_carries_everything(self, w: World) -> None:
        other = kernel_of()
        w.account.mirror_into(other, CURRENCY_INDEX)
        assert other.worst(1) == pytest.approx(w.kernel.worst(1), rel=1e-9, abs=1e-3)
        assert other.equity(1, 1) == pytest.approx(w.kernel.equity(1, 1), rel=1e-9, abs=1e-3)
        assert other.worst(0) == 0.0
        w.account.move_cash("USDC", 5 * 10**8)  # from now on the new one is kept up to date
        assert other.worst(1) == pytest.approx(w.kernel.worst(1) + 5, rel=1e-9, abs=1e-3)

    def test_before_the_first_generation_the_book_is_kept_without_a_kernel(self) -> None:
        w = world(usdc=0)
        account = type(w.account)(index=1, name="beta", currency="USDC", limits=w.account.limits, rate=w.account.rate)
        account.move_cash("USDC", 10**8)
        account.book_fill(INSTRUMENTS[INVERSE], Side.BUY, 5, 200_000, 3)
        assert account.position_lots(INVERSE) == 5
        account.exposure.hold(working_order(order_of(LINEAR)))
        kernel = kernel_of()
        account.mirror_into(kernel, CURRENCY_INDEX)
        for group, row in fresh_kernel_row(account).items():
            assert kernel.row(1, group).tolist() == pytest.approx(row)

    def test_a_position_that_the_generation_does_not_know_makes_the_account_unknown(self) -> None:
        w = world()
        w.give_position(LINEAR, 5)
        w.give_position(INVERSE, 5)
        w.give_position(INVERSE, -5)  # flat: its lack of a mark is of no account
        other = kernel_of(generation(unknown=frozenset({INVERSE})))
        w.account.mirror_into(other, CURRENCY_INDEX)
        assert other.is_known(1)
        other = kernel_of(generation(unknown=frozenset({LINEAR})))
        w.account.mirror_into(other, CURRENCY_INDEX)
        assert not other.is_known(1)
        assert other.worst(1) != other.worst(1)

    def test_cash_of_a_currency_without_an_index_is_refused(self) -> None:
        with pytest.raises(KeyError):
            world().account.move_cash("DOGE", 1)
