"""Random orders on random portfolios, and brute force over fills as the judge of every approval.

`python -m tests.false_approvals --orders 1000000 --seed 1`. An approval is false where some fills of the working orders
and of this one would leave a level short, or beyond a limit: there must be none. A refusal is false where no fills
would: those are counted, and explained by the bound that they come from.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Final

import msgspec
import numpy as np
from rich.progress import Progress

from risk import models
from risk.charges import Charges, group_charge
from risk.haircuts import Haircuts
from risk.limits import RowTerms
from risk.models import MarginError, deribit_portfolio, deribit_standard, tiered
from risk.pricing import Floats
from tests.risk import haircut_house as haircuts
from tests.risk import test_haircuts as drawn_haircuts
from tests.risk import test_kernel_levels as levels
from tests.risk import test_pool_margin as pools
from tests.risk import test_venue_margin as venues
from tests.risk.contracts import GRID, fill
from tests.risk.models import drawn
from tests.risk.models.portfolios import KINDS

GENERATION, JOINT, PARENTS = levels.GENERATION, levels.JOINT, levels.PARENTS
GROUPS, COUNT = levels.GROUPS, levels.COUNT
ACCOUNT, OTHER, DESK, FIRM = range(4)
TRIALS: Final = 50  # orders asked of one portfolio of the house
# Of a thousand orders so many are asked of a venue's book, and of a pure model: theirs is the dear judge.
OF_A_VENUE, OF_A_POOL, OF_A_MODEL, WITH_HAIRCUTS = 20, 10, 6, 20
NEAR: Final = 1e-6  # USD, or as a share of the portfolio


class Tally(msgspec.Struct):
    """What came of the orders, by model; false refusals by why."""

    asked: Counter[str] = msgspec.field(default_factory=Counter)
    approved: Counter[str] = msgspec.field(default_factory=Counter)
    false_approvals: list[str] = []
    false_refusals: Counter[str] = msgspec.field(default_factory=Counter)

    def judge(self, model: str, is_approved: bool, is_covered: bool, is_short: bool, why: str, what: str) -> None:
        """Count one answer. What lies within rounding of the line is neither covered nor short."""
        self.asked[model] += 1
        self.approved[model] += is_approved
        if is_approved and is_short:
            self.false_approvals.append(f"{model}: {what}")
        if not is_approved and is_covered:
            self.false_refusals[f"{model}: {why}"] += 1


# -- the house: both blocks, charges by size, an offset cap, and three levels ------------------------------------------


class Row(msgspec.Struct, eq=False):
    """Every corner of one level's working orders: C of them. grid (C, G, S), joint (C, J), lots (C, I)."""

    grid: Floats
    joint: Floats
    lots: Floats

    def filled(self, instrument: int, lots: float, cash: float) -> Row:
        """Return the same corners with one more order filled."""
        group, currency = GENERATION.group_of_instrument[instrument], GENERATION.currency_of_instrument[instrument]
        grid, held = self.grid.copy(), self.lots.copy()
        grid[:, group] += lots * GENERATION.values[instrument] + cash * GENERATION.currency_values[currency]
        moved = lots * GENERATION.joint_values[instrument] + cash * GENERATION.joint_currency_values[currency]
        held[:, instrument] += lots
        return Row(grid, self.joint + moved, held)

    def both(self, other: Row) -> Row:
        """Return the corners of this one and of another."""
        pairs = ((a, b) for a, b in zip((self.grid, self.joint, self.lots), (other.grid, other.joint, other.lots)))
        return Row(*(np.concatenate(pair) for pair in pairs))

    def margins(self, cap: float, asked: Charges | None) -> Floats:
        """Return what each corner leaves, (C,)."""
        alone, joint = self.grid.min(axis=2).sum(axis=1), self.joint.min(axis=1)
        left: Floats = cap * joint + (1.0 - cap) * np.minimum(alone, joint)
        if asked is not None:
            closing = np.abs(self.lots) * asked.closing
            for group in range(GROUPS):
                mine = closing[:, GENERATION.group_of_instrument == group].sum(axis=1)
                p = asked.group[group].tolist()
                left = left - np.array([group_charge(p, n) for n in mine.tolist()])
        return left

    def is_within(self, terms: RowTerms, asked: Charges) -> bool:
        """Whether every corner keeps a level's limits."""
        sizes = self.lots * asked.notional
        return bool(
            (np.abs(sizes).sum(axis=1) <= terms.max_gross_notional + NEAR).all()
            and (np.abs(sizes.sum(axis=1)) <= terms.max_net_notional + NEAR).all()
        )


def empty() -> Row:
    """Return one corner with nothing in it."""
    return Row(np.zeros((1, GROUPS, GRID.size)), np.zeros((1, JOINT.size)), np.zeros((1, COUNT)))


def house(random: Random, trials: int, tally: Tally) -> None:
    """Ask one random house of accounts under a desk and a firm about so many orders."""
    kind = random.choice(levels.KERNELS)
    asked = levels.charges() if random.random() < 0.7 else None
    cap = random.choice((0.0, 0.0, 0.8))
    limits = RowTerms(offset_cap=cap)
    if asked is not None and random.random() < 0.5:
        limits = msgspec.structs.replace(limits, max_gross_notional=3e5, max_net_notional=2e5)
    target = levels.levels(kind, asked)
    for row in range(4):
        target.set_terms(row, limits if row == DESK else RowTerms(offset_cap=cap))
    rows = {ACCOUNT: empty(), DESK: empty()}
    for row in (ACCOUNT, OTHER):
        for _ in range(random.randint(0, 3)):
            instrument, lots = random.randrange(COUNT), random.randint(-1_000, 1_000)
            price = random.uniform(0.95, 1.05)
            bought = fill(instrument, lots or 1, price)
            target.add_position(row, instrument, lots or 1)
            target.add_cash(row, int(GENERATION.currency_of_instrument[instrument]), bought[2])
            for level in {row, DESK} & rows.keys():
                rows[level] = rows[level].filled(*bought)
        cash = random.choice((1_000.0, 20_000.0, 200_000.0))
        target.add_cash(row, 0, cash)
        for level in {row, DESK} & rows.keys():
            rows[level].grid[:, GENERATION.group_of_currency[0]] += cash * GENERATION.currency_values[0]
            rows[level].joint += cash * GENERATION.joint_currency_values[0]
        for _ in range(random.randint(0, 2)):
            order = trial(random)
            target.hold(row, *order)
            for level in {row, DESK} & rows.keys():
                rows[level] = rows[level].both(rows[level].filled(*order))
    ask_house(random, trials, tally, target, rows, limits, asked)


def trial(random: Random) -> tuple[int, float, float]:
    """Return a random order near the mark."""
    lots = random.choice((1, 10, 100, 1_000)) * random.randint(1, 9) * random.choice((-1, 1))
    return fill(random.randrange(COUNT), lots, random.uniform(0.95, 1.05))


def ask_house(
    random: Random, trials: int, tally: Tally, target: levels.Kernel, rows: dict[int, Row], limits: RowTerms,
    asked: Charges | None,
) -> None:  # fmt: skip
    """Ask, and judge each answer by the corners with the order filled and without."""
    now = {row: corners.margins(limits.offset_cap, asked).min() for row, corners in rows.items()}
    has_limits = limits.max_gross_notional < 1e9
    for _ in range(trials):
        order = trial(random)
        is_approved = target.first_short(ACCOUNT, GRID.base, *order) < 0
        is_approved &= not has_limits or target.first_beyond(ACCOUNT, order[0], order[1]) < 0
        least, is_within = float("inf"), True
        for row, corners in rows.items():
            after = corners.filled(*order)
            least = min(least, now[row], after.margins(limits.offset_cap, asked).min())
            if row == DESK and has_limits:
                assert asked is not None
                is_within = corners.is_within(limits, asked) and after.is_within(limits, asked)
        is_short = least < -NEAR or not is_within
        why = "each coin's charge, and each block of the offset cap, at its own worst fills"
        tally.judge("house", is_approved, least > NEAR and is_within, is_short, why, f"{order}, {least}")


# -- haircuts of collateral, and of gains at one venue against losses at another ---------------------------------------


def haircut(random: Random, tally: Tally) -> None:
    """Ask a random account whose collateral bears haircuts about one order, by the house model's own formulas."""
    terms = random.choice(haircuts.TERMS)
    made = Haircuts(terms, haircuts.GENERATION, haircuts.CONTRACTS, haircuts.JOINT)
    held, target = drawn_haircuts.drawn(random), drawn_haircuts.loaded(random.choice(levels.KERNELS), made)
    drawn_haircuts.put(target, made, 0, held)
    orders = [drawn_haircuts.order(random) for _ in range(random.randint(1, 3))]
    for order in orders[:-1]:
        target.hold(0, *order)
    after = [held]
    for index, lots, cash in orders:
        after += [each.filled(index, lots, cash) for each in after]
    left = target.what_if(0, *orders[-1])
    # Near the line, where an answer can be wrong: what is missing, or over, comes in as dollars, which bear no haircut.
    line = random.uniform(-2_000.0, 2_000.0) - left
    brute = min(haircuts.left(each, terms) for each in after)
    why = "each order's largest haircut is put aside, and gains and collateral are not set against each other"
    is_approved, brute = left + line >= 0, brute + line
    what = f"{held.positions()} {orders} {brute}"
    tally.judge("path with haircuts", is_approved, brute > NEAR, brute < -NEAR, why, what)


# -- venues' books against risk.models ---------------------------------------------------------------------------------

POOLED: Final = "what orders may add to charges by size, whole, no order a hedge"
BOOKS: Final = {
    "deribit_standard": (deribit_standard.evaluate, 50, "the reservation is the venue's own, above what fills ask"),
    "deribit_portfolio": (deribit_portfolio.evaluate, 50, POOLED),
    "tiered": (tiered.evaluate, 6_000, "tiers at the largest, with orders of one side all filled"),
}


def venue(random: Random, tally: Tally) -> None:
    """Ask a random venue sub-account about one order."""
    model = random.choice(list(BOOKS))
    evaluate, most, why = BOOKS[model]
    indices = [1, 2] if model == "tiered" else venues.COIN
    lots = {i: random.randint(-most, most) for i in random.sample(indices, random.randint(0, len(indices)))}
    asked = [
        (index, (random.randint(1, most)) * random.choice((-1, 1)), venues.ticks_at(index, random.uniform(0.97, 1.03)))
        for index in (random.choice(indices) for _ in range(random.randint(1, 3)))
    ]
    cash = random.choice((0.5, 5.0, 30.0)) * (0.01 if model == "tiered" else 1.0)
    book = venues.book_of(model, None)
    venues.put(book, cash, "BTC", lots, asked[:-1])
    left = venues.left_with(book, asked)
    portfolio = venues.portfolio_of(model, "BTC", cash, lots)
    brute = venues.after_worst_fills(evaluate, portfolio, [venues.order_of(*each) for each in asked])
    tally.judge(f"path {model}", left >= 0, brute > 1e-9, brute < -1e-9, why, f"{lots} {asked} {left} {brute}")


def pooled(random: Random, tally: Tally) -> None:
    """Ask a random sub-account in dollars, all assets together, about one order."""
    model = random.choice((*pools.IN_USD, "deribit_portfolio"))
    evaluate, indices = pools.EVALUATE[model], pools.tradable(model)
    if model == "deribit_portfolio":
        indices = [pools.PUT, pools.ETH_CALL, pools.USDC_SWAP]

    def lots_of(index: int) -> int:
        return random.randint(1, pools.MOST[index]) * random.choice((-1, 1))

    lots = {i: lots_of(i) for i in random.sample(indices, random.randint(0, 3))}
    chosen = [random.choice(indices) for _ in range(random.randint(1, 3))]
    asked = [(i, lots_of(i), pools.ticks_at(i, random.uniform(0.97, 1.03))) for i in chosen]
    cash, coins = random.choice((1e4, 6e4, 3e5)), random.choice((0.0, 1.0, -0.1))
    if model == "deribit_portfolio":
        portfolio, amounts = pools.portfolio_of(model, "USDC", cash, lots), {"USDC": cash}
    else:
        portfolio, amounts = pools.dollars(model, lots, cash, coins)
    book = pools.book_of(model)
    pools.put(book, amounts, lots, asked[:-1])
    left, near = pools.left_with(book, asked), pools.rounding(lots, cash)
    brute = venues.after_worst_fills(evaluate, portfolio, [pools.order_of(*each) for each in asked])
    tally.judge(f"path {model}, in dollars", left >= 0, brute > near, brute < -near, POOLED, f"{lots} {asked} {left}")


# -- the pure models with their own reservation ------------------------------------------------------------------------


def pure(random: Random, model: str, tally: Tally) -> None:
    """Ask a pure model about a portfolio with working orders: what it reserves must cover every subset of fills."""
    document, orders = drawn.document(random, model)
    try:
        left = models.evaluate(document | {"orders": orders}, with_liquidation=False).available
        subsets = itertools.chain.from_iterable(
            itertools.combinations(orders, count) for count in range(1, len(orders) + 1)
        )
        now = models.evaluate(document, with_liquidation=False).available
        fills = [models.evaluate_orders(document, list(chosen)).after.available for chosen in subsets]
    except MarginError:
        tally.asked[f"model {model}, refused by name"] += 1
        return
    brute, size = min([now, *fills]), 1.0 + abs(now) + sum(abs(each) for each in fills)
    near = 1e-9 * size
    why = "it reserves by a rule of its own, each order at its worst"
    tally.judge(f"model {model}", left >= 0, brute > near, brute < -near, why, f"{document} {orders} {left} {brute}")


def run(orders: int, seed: int) -> Iterator[tuple[int, Tally]]:
    """Ask so many orders, yielding now and then how many are done and what came of them."""
    random, tally, done = Random(seed), Tally(), 0
    names = itertools.cycle(KINDS)
    rule = tiered.VenueRule(basis="mark", tiers=venues.TIERS)
    while done < orders:
        part = min(TRIALS, orders - done)
        for _ in range(share(random, part, OF_A_VENUE)):
            with venues.tiers_of(rule):
                venue(random, tally)
        for _ in range(share(random, part, OF_A_POOL)):
            with pools.parameters_stated():
                pooled(random, tally)
        for _ in range(share(random, part, WITH_HAIRCUTS)):
            haircut(random, tally)
        for _ in range(share(random, part, OF_A_MODEL)):
            pure(random, next(names), tally)
        left = part - (sum(tally.asked.values()) - done)
        house(random, max(1, left), tally)
        done = sum(tally.asked.values())
        yield done, tally


def share(random: Random, part: int, of_a_thousand: int) -> int:
    """Return how many of a part: on average exactly its share."""
    whole, rest = divmod(part * of_a_thousand, 1_000)
    return whole + (random.random() < rest / 1_000)


def main() -> None:
    """Run, and print what came of it; exit 1 where an approval was false."""
    parser = argparse.ArgumentParser(prog="python -m tests.false_approvals", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tally = Tally()
    with Progress() as progress:
        task = progress.add_task("orders", total=given.orders)
        for done, tally in run(given.orders, given.seed):
            progress.update(task, completed=min(done, given.orders), description=f"{len(tally.false_approvals)} false")
    print(report(tally))  # noqa: T201
    raise SystemExit(1 if tally.false_approvals else 0)


def report(tally: Tally) -> str:
    """Return what came of the orders as lines."""
    lines = [f"{sum(tally.asked.values()):,} orders, {len(tally.false_approvals)} false approvals"]
    for model, count in sorted(tally.asked.items()):
        lines.append(f"  {model}: {count:,} asked, {tally.approved[model]:,} approved")
    lines.append(f"{sum(tally.false_refusals.values()):,} false refusals:")
    lines += [f"  {count:,}  {why}" for why, count in tally.false_refusals.most_common()]
    return "\n".join([*lines, *tally.false_approvals[:10]])


if __name__ == "__main__":
    main()
