"""The margin of all accounts from a copy of the book: what the order path's kernel says, whatever was told when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.margin.figures import MAINTENANCE_FACTOR
from gateway.slowside import book as books
from gateway.slowside import full_margin, one_by_one
from gateway.slowside.book import BookChange, BookCopy, BookTeller, change_of
from gateway.slowside.double_buffer import FrameReader, FrameWriter, memory_bytes
from gateway.slowside.full_margin import FullMargin, newest_rows, pack_rows, unpack_rows
from gateway.slowside.memory import SharedMemory
from gateway.slowside.messages import pack_snapshot, unpack_change, unpack_report
from gateway.slowside.process import PricingServer
from gateway.slowside.sections import MalformedFrameError
from risk.instrument import Side
from risk.scenarios import Generation, underlying_of
from tests.gateway.rig import BTC, ETH, SECOND, Rig, filled, listed, opened
from tests.gateway.slowside.test_messages import GIVEN, MADE, MAX_AGE_NS, SETTING, frame_of, terms_of
from tests.gateway.test_executions import ordered

INSTRUMENTS, NAMES = len(MADE.values), ("BTC", "USD")


def change(
    held: dict[int, list[tuple[int, float]]], orders: list[list[float]] | None = None, accounts: int = 5
) -> BookChange:
    """Accounts and their holdings, each a row and an amount."""
    holdings = [holding for each in held.values() for holding in each]
    return BookChange(
        accounts=np.array(list(held), dtype=np.int32),
        counts=np.array([len(each) for each in held.values()], dtype=np.int32),
        rows=np.array([row for row, _ in holdings], dtype=np.int32),
        amounts=np.array([amount for _, amount in holdings], dtype=np.float64),
        orders=np.array(orders or [], dtype=np.float64).reshape(-1, books.ORDER_COLUMNS),
        currencies=NAMES, account_count=accounts,
    )  # fmt: skip


def passed(book: BookCopy, generation: Generation = MADE) -> FullMargin:
    margin = FullMargin(book)
    for _ in margin.pass_in_slices(generation):
        pass
    assert margin.rows is not None and margin.summary is not None
    return margin


def take(book: BookCopy, given: BookChange) -> None:
    for _ in book.take_in_steps(given):
        pass


amounts = st.floats(-100, 100, allow_nan=False)
rows = st.integers(-len(NAMES), INSTRUMENTS - 1)
changes = st.lists(st.dictionaries(st.integers(0, 4), st.lists(st.tuples(rows, amounts), max_size=6)), max_size=4)


@settings(max_examples=40, deadline=None)
@given(changes, st.integers(1, 3))
def test_whatever_is_told_in_whatever_pieces_the_last_word_of_each_account_counts(
    told: list[dict[int, list[tuple[int, float]]]], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "BLOCK_ACCOUNTS", block)
        patch.setattr(one_by_one, "BLOCK_ACCOUNTS", block)
        patch.setattr(full_margin, "PRODUCTS_A_SLICE", 1)
        book, known = BookCopy(), {account: [] for account in range(5)}
        take(book, change({}))
        for each in told:
            take(book, change(each))
            passed(book)  # portfolios are kept between changes
            known |= each
        figures = passed(book).rows
    assert figures is not None
    for account, held in known.items():
        total = np.zeros(MADE.grid.size)
        for row, amount in held:
            total += amount * (
                MADE.values[row] if row >= 0 else MADE.currency_values[MADE.currencies.index(NAMES[-1 - row])]
            )
        usd = sum(amount for row, amount in held if row == -2)
        risky = total - usd
        scale = 1e-9 * max(1.0, float(np.abs(total).max()), *(abs(a) * 1e5 for _, a in held))
        assert figures.equity[account] == pytest.approx(total[MADE.grid.base], abs=scale)
        assert figures.initial[account] == pytest.approx(risky[MADE.grid.base] - risky.min(), abs=scale)
        assert figures.maintenance[account] == MAINTENANCE_FACTOR * figures.initial[account]


def test_the_gateway_s_book_gives_what_its_kernel_says(tmp_path: Path) -> None:
    """Positions, cash and working orders, those that replace another too; then only what has changed is told."""
    with opened(tmp_path) as rig:
        teller, book = BookTeller(), BookCopy()
        desk, order = ordered(rig)
        rig.hear(filled(order, 40))
        for side in (1, 2):
            desk.order(symbol=ETH, price=1_990 + 20 * (side - 1), quantity=50, side=side)
        rig.desk("BETA").log_on().order(account="beta", price=59_000, quantity=1000)
        compare(rig, teller, book)
        first = told_by(rig, teller)
        assert len(first.accounts) == 0 and len(first.orders) == 4
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(books, "MOST_ORDERS", 2)
            take(book, told_by(rig, teller))
        figures = passed(book, rig.core.valuation.generation).rows
        assert figures is not None and np.isnan(figures.initial).tolist() == [False, True, False]
        rig.hear(filled(order, 10, trade_id="t-2"))
        again = told_by(rig, teller)
        assert again.accounts.tolist() == [rig.ledger.accounts["alpha"].index]
        take(book, again)
        compare(rig, teller, book)


def told_by(rig: Rig, teller: BookTeller) -> BookChange:
    for _ in teller.change_in_steps(list(rig.ledger.accounts.values())):
        pass
    assert teller.change is not None
    return change_of(teller.change.arrays(), teller.change.currencies, teller.change.account_count)


def compare(rig: Rig, teller: BookTeller, book: BookCopy) -> None:
    take(book, told_by(rig, teller))
    rig.core.valuation.run(rig.now_ns)
    generation, kernel = rig.core.valuation.generation, rig.core.market.kernel
    assert generation is not None
    figures = passed(book, generation).rows
    assert figures is not None
    for account in rig.ledger.accounts.values():
        index = account.index
        equity = kernel.equity(index, rig.core.market.base_scenario)
        assert figures.equity[index] == pytest.approx(equity, rel=1e-12)
        assert figures.initial[index] == pytest.approx(equity - kernel.worst(index), rel=1e-9, abs=1e-6)
        assert figures.initial[index] >= figures.maintenance[index] - 1e-6
        if figures.maintenance[index] > 0:
            group, scenario = int(figures.group[index]), int(figures.scenario[index])
            assert underlying_of(figures.groups[group]) in ("BTC", "ETH") and 0 <= scenario < generation.grid.size


def test_limits_of_a_message_leave_the_rest_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_HOLDINGS", 2)
    monkeypatch.setattr(books, "ACCOUNTS_A_SLICE", 1)
    with opened(tmp_path) as rig:
        teller = BookTeller()
        assert told_by(rig, teller).accounts.tolist() == [0]  # two deposits
        assert told_by(rig, teller).accounts.tolist() == [1, 2]
        assert told_by(rig, teller).accounts.tolist() == []
        account = rig.ledger.accounts["gamma"]
        before = account.changes
        account.book_fill(rig.ledger.by_symbol[BTC], Side.BUY, 1, 100_000, 0)
        account.reverse_fill(rig.ledger.by_symbol[BTC], Side.BUY, 1, 100_000, 0)
        assert account.changes >= before + 2
        assert told_by(rig, teller).accounts.tolist() == [2]


def test_what_is_unknown_is_told_as_such_and_spoils_nobody_else() -> None:
    book = BookCopy()
    take(
        book,
        msgspec.structs.replace(
            change({0: [(0, 1.0)], 1: [(INSTRUMENTS, 1.0)], 2: [(-1, 1.0)]}), currencies=("XRP", "BTC")
        ),
    )
    margin = passed(book)
    assert margin.rows is not None and margin.summary is not None
    assert np.isnan(margin.rows.equity).tolist() == [False, True, True, False, False]
    assert margin.rows.group.tolist()[1:3] == [-1, -1] and margin.summary.unknown == 2
    assert [row[0] for row in margin.summary.nearest][-1] != 1 and len(margin.summary.nearest) == 3


def test_an_order_in_what_the_generation_lacks_makes_initial_margin_unknown() -> None:
    book = BookCopy()
    take(book, change({0: [(-2, 50.0)]}, [[0, INSTRUMENTS, 1, 0, 0, 0], [1, 0, 1.0, -9.0, 0, 0]]))
    figures = passed(book).rows
    assert figures is not None
    assert np.isnan(figures.initial[0]) and figures.maintenance[0] == 0.0 and figures.initial[1] > 0


def test_accounts_join_blocks_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "BLOCK_ACCOUNTS", 4)
    monkeypatch.setattr(one_by_one, "BLOCK_ACCOUNTS", 4)
    book = BookCopy()
    take(book, change({1: [(-2, 5.0)]}, accounts=2))
    passed(book)
    take(book, change({8: [(-2, 7.0)], 3: [(-2, 6.0)]}, accounts=9))
    figures = passed(book).rows
    assert figures is not None and figures.equity.tolist() == [0, 5, 0, 6, 0, 0, 0, 0, 7]
    assert [(block.first, block.count) for block in book.blocks] == [(0, 4), (4, 4), (8, 1)]


def test_a_summary_counts_who_is_short() -> None:
    book = BookCopy()
    take(book, change({0: [(-2, 10.0), (0, -1_000.0)], 1: [(-2, 1.0)], 2: [(-1, 1.0)]}, [[1, 0, 1.0, -9.0, 0, 0]]))
    summary = passed(book).summary
    assert summary is not None
    assert (summary.below_maintenance, summary.below_initial, summary.unknown, summary.accounts) == (1, 2, 0, 5)
    assert summary.nearest[0][0] == 0 and summary.slices > 3 and summary.duration_ms > 0


def test_no_accounts() -> None:
    margin = passed(BookCopy())
    assert margin.summary is not None and margin.summary.accounts == 0 and margin.summary.nearest == ()


ONE = np.zeros(1, dtype=np.int32)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"account_count": books.MAX_ACCOUNTS + 1}, "too many accounts"),
        ({"account_count": -1}, "too many accounts"),
        ({"counts": np.zeros(0, dtype=np.int32)}, "differ in length"),
        ({"amounts": np.zeros(2)}, "differ in length"),
        ({"orders": np.zeros((1, 5))}, "other columns"),
        ({"counts": ONE}, "counts are not those"),
        ({"counts": ONE - 1}, "counts are not those"),
        ({"accounts": ONE + 5}, "an account is none"),
        ({"accounts": ONE - 1}, "an account is none"),
        ({"orders": np.full((1, 6), np.nan)}, "an account is none"),
        ({"rows": ONE - 3}, "a currency without a name"),
        ({"amounts": np.array([np.nan])}, "an amount that is none"),
        ({"accounts": ONE[:, None]}, "no column"),
    ],
)
def test_a_change_that_is_none(changes: dict[str, Any], why: str) -> None:
    good = change({0: [(0, 1.0)]})
    book = BookCopy()
    with pytest.raises(MalformedFrameError, match=why):
        take(book, msgspec.structs.replace(good, **changes))
    assert book.account_count == 0 and not book.blocks
    with pytest.raises(MalformedFrameError, match="book: rows is missing"):
        change_of(good.arrays() | {"rows": np.zeros(1)}, NAMES, 5)


# -- in the process --------------------------------------------------------------------------------------------------


def served(book_change: BookChange | None, server: PricingServer) -> Any:
    frame = frame_of(pack_snapshot(GIVEN, terms_of(GIVEN), 0, book_change), GIVEN.number, GIVEN.as_of_ns)
    return frame_of(server.answer(frame), GIVEN.number, GIVEN.as_of_ns)


def test_a_pass_is_asked_for_with_a_snapshot_and_told_with_the_next_generation() -> None:
    memory = memoryview(bytearray(memory_bytes(1 << 16)))
    server = PricingServer(SETTING, MAX_AGE_NS, FrameWriter(memory))
    report = unpack_report(served(None, server))
    assert report is not None and report.summary is None and not server.has_work
    given = change({0: [(-2, 7.0)], 3: [(2, 4.0), (-1, 1.0)]})
    served(given, server)
    assert newest_rows(memory) is None
    slices = 0
    while server.has_work:
        server.work()
        slices += 1
    assert slices > 5
    found, book = newest_rows(memory), BookCopy()
    take(book, given)
    wanted = passed(book).rows
    assert found is not None and wanted is not None
    for name in found.__struct_fields__:
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    report = unpack_report(served(None, server))
    assert report is not None and report.summary is not None and report.summary.accounts == 5 and report.trouble == ""


def test_a_pass_that_fails_is_told_and_the_next_begins_anew() -> None:
    server = PricingServer(SETTING, MAX_AGE_NS, FrameWriter(memoryview(bytearray(memory_bytes(600)))))
    served(change({}, accounts=900), server)
    while server.has_work:
        server.work()
    report = unpack_report(served(change({}, accounts=900), server))
    assert report is not None and "larger than its slot" in report.trouble
    server._rows = None
    while server.has_work:
        server.work()
    report = unpack_report(served(None, server))
    assert report is not None and report.trouble == ""


def test_a_snapshot_without_a_change_has_none_and_a_malformed_one_makes_no_generation() -> None:
    assert unpack_change(frame_of(pack_snapshot(GIVEN, terms_of(GIVEN), 0))) is None
    server = PricingServer(SETTING, MAX_AGE_NS)
    frame = served(msgspec.structs.replace(change({0: [(0, 1.0)]}), counts=ONE), server)
    assert b"counts are not those of the holdings" in frame.payload


def test_rows_that_are_amiss() -> None:
    made = passed(BookCopy()).rows
    assert made is not None
    for changed, why in (({"group": made.equity}, "amiss"), ({"equity": np.zeros(3)}, "differ in length")):
        with pytest.raises(MalformedFrameError, match=why):
            unpack_rows(frame_of(pack_rows(msgspec.structs.replace(made, **changed))))  # type: ignore[arg-type]


def test_another_process_reads_the_rows_by_their_path() -> None:
    memory = SharedMemory.create("margingate-test", memory_bytes(1 << 16))
    book = BookCopy()
    take(book, change({2: [(-2, 7.5)]}))
    rows_now = passed(book).rows
    assert rows_now is not None
    FrameWriter(memory.view).write(rows_now.number, rows_now.as_of_ns, pack_rows(rows_now))
    code = (
        "import os, sys\nfrom gateway.slowside.memory import SharedMemory\n"
        "from gateway.slowside.full_margin import newest_rows\n"
        "memory = SharedMemory.attach(os.open(sys.argv[1], os.O_RDWR))\n"
        "rows = newest_rows(memory.view)\nprint(rows.equity.tolist(), rows.number)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, memory.path], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[0.0, 0.0, 7.5, 0.0, 0.0] 1\n"
    assert FrameReader(memory.view).read() is not None
    with pytest.raises(PermissionError):
        memory_cut(memory)
    memory.close()


def memory_cut(memory: SharedMemory) -> None:
    """Nobody can take it away from under the other."""
    import os

    os.ftruncate(memory.descriptor, 10)


def test_listing_and_currencies_that_come_later(tmp_path: Path) -> None:
    with opened(tmp_path) as rig:
        teller, book = BookTeller(), BookCopy()
        compare(rig, teller, book)
        rig.hear(listed("SOL-PERPETUAL", base_currency="SOL", settlement_currency="SOL"))
        rig.mark("SOL-PERPETUAL", 150.0)
        rig.now_ns += SECOND
        rig.ledger.accounts["gamma"].move_cash("ETH", 10**8)
        compare(rig, teller, book)
