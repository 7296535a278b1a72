"""Everything that shows or acts on a margin says what the order path's kernels say: one random book after the other."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from gateway.margin.figures import MAINTENANCE_FACTOR, TOGETHER, Figures, figures_of
from gateway.slowside.book import BookCopy, BookTeller
from gateway.slowside.full_margin import FullMargin, MarginRows
from gateway.slowside.one_by_one import Given, MarginTerms
from risk.account import Account
from risk.exposure import PendingReplace, WorkingOrder
from risk.instrument import UNITS_PER_WHOLE, Side, units_against_client
from risk.order import OrdType, TimeInForce
from risk.repricing import Repricing
from tests.gateway.rig import BTC, CONFIG, ETH, MARKS, SECOND, Rig, opened

DAYS = '["2020-03-12"]\nBTC = -0.3\nETH = -0.4\n["2021-01-03"]\nBTC = 0.1\nETH = 0.25\n'
STRESS = """
[stress]
history_file = "{days}"
history_vol_moves = [0.0, 0.6]
spike_spot_moves = [-0.2, 0.2]
spike_vol_move = 1.0
peg_moves = [-0.1, 0.02]
default_moves = [-0.1, 0.1]
default_loss = 0.3
funding_rate = 0.0075
"""
HOUSE = """
[house]
offset_cap = {cap}
[[house.volume]]
underlying = "BTC"
adv_usd = 1e7
daily_vol = 0.03
half_spread = 0.001
[[house.volume]]
underlying = "ETH"
adv_usd = 4e6
daily_vol = 0.04
half_spread = 0.002
"""
LEVELS = '[[desk]]\nname = "basis"\nfirm = "house"\n[[firm]]\nname = "house"\n[firm.limits]\nmax_margin_usd = 45000\n'
SUBS = {
    "alpha": 'sub_account = [{ venue = "deribit", model = "deribit_standard" }]',
    "beta": 'sub_account = [{ venue = "deribit", model = "deribit_portfolio", collateral = { BTC = "0.4" } }]',
    "gamma": "",
}
SEEDS, ROUNDS, PATIENCE = 4, 6, 1e-8


def config(days: Path, *, joint: bool, sizes: bool, levels: bool, subs: bool, cap: float, haircuts: bool) -> str:
    text = CONFIG
    for name, sub in SUBS.items():
        own = ('desk = "basis"\n' if levels and name != "gamma" else "") + (sub + "\n" if subs else "")
        text = text.replace(f'[[account]]\nname = "{name}"\n', f'[[account]]\nname = "{name}"\n{own}')
    text += (LEVELS if levels else "") + (STRESS.format(days=days) if joint else "")
    text += HOUSE.format(cap=cap) if sizes else ""
    if haircuts:
        text += "" if sizes else "[house]\n"
        own = 'collateral_set = "house_2026"\nvenue_netting_haircut = 0.2\nlocation_rate = 0.1\n'
        text = text.replace("[house]\n", f"[house]\n{own}")
        text = text.replace('[[account]]\nname = "gamma"\n', '[[account]]\nname = "gamma"\nprofiles = ["bank_sco60"]\n')
    return text


def trade(random: Random, rig: Rig, account: Account, *, orders: bool) -> None:
    """Fills at any price, money in and out, and orders that come, change and go."""
    for _ in range(random.randint(0, 3)):
        instrument = rig.ledger.by_symbol[random.choice((BTC, ETH))]
        ticks = round(MARKS[instrument.symbol] * random.uniform(0.9, 1.1) / instrument.tick)
        account.book_fill(instrument, random.choice(list(Side)), random.randint(1, 2_000), ticks, random.randint(0, 99))
    account.move_cash(random.choice(("BTC", "USDC", "USD")), random.randint(-UNITS_PER_WHOLE // 9, UNITS_PER_WHOLE))
    for order in list(account.exposure.orders.values()):
        if random.random() < 0.5:
            account.exposure.release(order)
    for number in range(random.randint(0, 3) if orders else 0):
        instrument = rig.ledger.by_symbol[random.choice((BTC, ETH))]
        ticks = round(MARKS[instrument.symbol] * random.uniform(0.9, 1.1) / instrument.tick)
        made = WorkingOrder(
            f"{account.name}-{rig.now_ns}-{number}", "c", "s", account.name, instrument, random.choice(list(Side)),
            random.randint(1, 900), ticks, OrdType.LIMIT, TimeInForce.DAY, False, False, rig.now_ns,
        )  # fmt: skip
        if random.random() < 0.3:
            made.replace = PendingReplace("d", random.randint(1, 2_000), ticks + random.randint(-50, 50))
        account.exposure.hold(made)


def slow_rows(rig: Rig, teller: BookTeller, book: BookCopy) -> MarginRows:
    """One pass of the pricing process over what it was told."""
    valuation, accounts = rig.core.valuation, list(rig.ledger.accounts.values())
    for _ in teller.change_in_steps(accounts):
        pass
    assert teller.change is not None and valuation.snapshot is not None and valuation.generation is not None
    for _ in book.take_in_steps(teller.change):
        pass
    terms = MarginTerms(
        house=valuation.terms, venue_books=valuation.venue_books,
        sub_accounts={account.index: account.sub_accounts for account in accounts if account.sub_accounts},
    )  # fmt: skip
    marks = Repricing(valuation.snapshot, 1 << 62, valuation.setting).take_marks()
    margin, given = FullMargin(book, terms), Given(valuation.generation, list(rig.ledger.instruments), marks)
    for _ in margin.pass_in_slices(valuation.generation, given):
        pass
    assert margin.rows is not None and margin.summary is not None
    return margin.rows


def near(wanted: float) -> object:
    return pytest.approx(wanted, rel=1e-11, abs=PATIENCE)


def compare(rig: Rig, rows: MarginRows) -> None:
    """Each row, report, watch and status against the kernels that orders are checked by."""
    market, base = rig.core.market, rig.core.market.base_scenario
    kernel, generation = market.kernel, rig.core.valuation.generation
    told = {row["account"]: row for row in rig.core.account_rows()}
    for account in rig.ledger.accounts.values():
        at = account.index
        equity, worst = kernel.equity(at, base), kernel.worst(at)
        assert rows.equity[at] == near(equity) and rows.initial[at] == near(equity - worst)
        figures = figures_of(account, market, generation, rig.now_ns)
        assert isinstance(figures, Figures)
        assert (figures.equity, figures.initial) == (equity, equity - worst)
        assert sum(one.core + one.orders for one in figures.classes) == near(figures.initial)
        assert rows.maintenance[at] == near(figures.maintenance)
        assert told[account.name]["initial_margin"] == equity - worst
        watched = rig.core.intraday._margin(account, rig.now_ns)
        assert watched is not None and watched.equity_units == units_against_client(equity)
        assert watched.maintenance_units / UNITS_PER_WHOLE == near(figures.maintenance)
        assert figures.maintenance <= MAINTENANCE_FACTOR * figures.initial + PATIENCE
        compare_wallets(rig, rows, account, figures)
    for place, (row, level) in enumerate((market.hierarchy.levels if market.hierarchy else {}).items()):
        at = rows.accounts + place
        assert rows.levels[place] == str(level)
        equity = kernel.equity(row, base)
        assert rows.equity[at] == near(equity) and rows.initial[at] == near(equity - kernel.worst(row))
        assert rows.maintenance[at] == near(MAINTENANCE_FACTOR * (equity - kernel.held(row)))
        shown = rig.core.level_rows()[place]
        assert (shown["level"], shown["initial_margin"]) == (str(level), equity - kernel.worst(row))


def compare_wallets(rig: Rig, rows: MarginRows, account: Account, figures: Figures) -> None:
    at, generation = account.index, rig.core.valuation.generation
    assert generation is not None
    rooms = []
    for one in figures.wallets:
        column = generation.currency_values[generation.currencies.index(one.unit)]
        rooms.append((one.excess * float(column[generation.grid.base]), one))
    if not rooms:
        assert rows.wallet[at] == -1
        return
    least, wallet = min(rooms, key=lambda room: room[0])
    assert rows.venue_equity[at] - rows.venue_initial[at] == near(least)
    assert rows.wallets[rows.wallet[at]] == wallet.name or len(rooms) > 1
    book = rig.core.market.venue_books[account.sub_accounts["deribit"].book]
    for one in figures.wallets:
        group = book.units.index(one.unit)
        assert one.excess == near(book.kernel.worst_of_group(at, group))


CASES = {
    "the grid alone": (False, False, False, False, 0.0, False),
    "joint scenarios": (True, False, False, False, 0.0, False),
    "sizes": (False, True, False, False, 0.0, False),
    "desks and firms": (False, False, True, False, 0.0, False),
    "accounts at venues": (False, False, False, True, 0.0, False),
    "haircuts": (False, False, False, False, 0.0, True),
    "all of it": (True, True, True, True, 0.8, True),
}


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("case", CASES)
def test_all_say_what_the_order_path_says(tmp_path: Path, case: str, seed: int) -> None:
    (tmp_path / "days.toml").write_text(DAYS)
    names = ("joint", "sizes", "levels", "subs", "cap", "haircuts")
    text = config(tmp_path / "days.toml", **dict(zip(names, CASES[case], strict=True)))
    random, teller, book = Random(seed), BookTeller(tells_moved=True, tells_places=True), BookCopy()
    seen: set[str] = set()
    with opened(tmp_path, config=text) as rig:
        for number in range(ROUNDS):
            for account in rig.ledger.accounts.values():
                trade(random, rig, account, orders=number % 2 == 1)
            rig.now_ns += SECOND
            for symbol, price in MARKS.items():
                rig.mark(symbol, price * random.uniform(0.98, 1.02))
            rig.core.valuation.run(rig.now_ns)
            rows = slow_rows(rig, teller, book)
            compare(rig, rows)
            for account in rig.ledger.accounts.values():
                figures = figures_of(account, rig.core.market, rig.core.valuation.generation, rig.now_ns)
                assert isinstance(figures, Figures)
                seen |= {one.name for one in figures.classes}
    if case == "joint scenarios":
        assert TOGETHER in seen
    assert np.isfinite(rows.equity).all()
