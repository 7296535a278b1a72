"""Margin of many accounts at once: both twins against a reference that adds one holding after the other."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import remargin, remargin_plain
from risk.remargin import Margins, Portfolios, make_portfolios, remargin_in_slices

ROWS, SCENARIOS, BASE = 6, 5, 2
GROUPS = np.array([0, 0, 1, 1, 2, 0], dtype=np.int32)

TWINS = [remargin_plain.remargin_segments]
if remargin.COMPILED:
    from risk._remargin import remargin_segments

    TWINS.append(remargin_segments)

amounts = st.floats(-1e6, 1e6, allow_nan=False)
holdings = st.lists(st.tuples(st.integers(0, 3), st.integers(0, ROWS - 1), amounts), max_size=30)
arrays = st.lists(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=SCENARIOS, max_size=SCENARIOS),
    min_size=ROWS,
    max_size=ROWS,
)


def portfolios_of(held: list[tuple[int, int, float]], accounts: int = 4) -> Portfolios:
    columns = list(zip(*held)) or [(), (), ()]
    return make_portfolios(
        accounts,
        np.array(columns[0], dtype=np.int32),
        np.array(columns[1], dtype=np.int32),
        np.array(columns[2], dtype=np.float64),
        GROUPS,
    )


def reference(
    held: list[tuple[int, int, float]], values: np.ndarray, known: np.ndarray, accounts: int = 4
) -> tuple[list[float], list[float]]:
    sums: dict[tuple[int, int], np.ndarray] = defaultdict(lambda: np.zeros(SCENARIOS))
    for account, row, amount in held:
        sums[account, int(GROUPS[row])] += amount * values[row] if known[row] else np.nan
    equity, worst = [0.0] * accounts, [0.0] * accounts
    for (account, _), total in sums.items():
        equity[account] += total[BASE]
        worst[account] += np.nan if np.isnan(total).any() else total.min()
    return equity, worst


def both_ways(portfolios: Portfolios, values: np.ndarray, known: np.ndarray, a_slice: int, twin: Any) -> Margins:
    margins = Margins.of(portfolios.accounts)
    for column in (margins.equity, margins.worst, margins.cost, margins.binding, margins.scenario):
        column[:] = 9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remargin, "remargin_segments", twin)
        done = list(remargin_in_slices(portfolios, values, known, BASE, margins, a_slice))
    assert done[-1] == portfolios.accounts and len(done) == -(-portfolios.accounts // a_slice)
    return margins


@pytest.mark.parametrize("twin", TWINS)
@given(holdings, arrays, st.lists(st.sampled_from([1, 1, 1, 0]), min_size=ROWS, max_size=ROWS), st.integers(1, 5))
def test_equals_the_reference(
    twin: Any, held: list[tuple[int, int, float]], rows: list[list[float]], flags: list[int], a_slice: int
) -> None:
    values, known = np.array(rows), np.array(flags, dtype=np.uint8)
    values[known == 0] = np.nan
    margins = both_ways(portfolios_of(held), values, known, a_slice, twin)
    equity, worst = reference(held, values, known)
    scale = max([1.0, *(abs(amount) for _, _, amount in held)]) * max(1.0, float(np.nanmax(np.abs(values), initial=0)))
    np.testing.assert_allclose(margins.equity, equity, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(margins.worst, worst, rtol=1e-9, atol=1e-9 * scale)
    assert not (margins.requirement < -1e-9 * scale).any()
    check_binding(portfolios_of(held), values, known, margins)


def check_binding(portfolios: Portfolios, values: np.ndarray, known: np.ndarray, margins: Margins) -> None:
    """The binding segment costs most, its scenario is its worst; nothing binds what holds nothing or is unknown."""
    offsets = portfolios.segment_offsets
    costs: dict[int, list[tuple[float, int, int]]] = {account: [] for account in range(portfolios.accounts)}
    for segment, account in enumerate(portfolios.segment_accounts.tolist()):
        part = slice(offsets[segment], offsets[segment + 1])
        total = np.zeros(SCENARIOS)
        for row, amount in zip(portfolios.rows[part], portfolios.amounts[part], strict=True):
            total += amount * values[row]
        costs[account].append((total[BASE] - total.min(), segment, int(total.argmin())))
    for account, found in costs.items():
        binding, scenario = int(margins.binding[account]), int(margins.scenario[account])
        if not found or any(np.isnan(cost) for cost, _, _ in found):
            assert (binding, scenario) == (-1, -1)
            continue
        cost = next(cost for cost, segment, _ in found if segment == binding)
        most = float(np.abs(portfolios.amounts).max()) * float(np.nanmax(np.abs(values)))
        assert cost >= max(c for c, _, _ in found) - 1e-9 * max(1.0, most) and 0 <= scenario < SCENARIOS


@pytest.mark.parametrize("twin", TWINS)
def test_of_equal_ones_the_first_binds(twin: Any) -> None:
    values = np.zeros((ROWS, SCENARIOS))
    values[:, 1] = values[:, 4] = -1.0
    margins = both_ways(
        portfolios_of([(0, 0, 1.0), (0, 2, 1.0), (1, 2, 2.0), (1, 0, 1.0), (3, 4, -1.0)]),
        values, np.ones(ROWS, dtype=np.uint8), 9, twin,
    )  # fmt: skip
    assert margins.binding.tolist() == [0, 3, -1, 4]
    assert margins.scenario.tolist() == [1, 1, -1, 0]


def test_a_key_that_is_no_number_of_64_bits() -> None:
    one = np.zeros(1, dtype=np.int32)
    with pytest.raises(ValueError, match="are too many"):
        make_portfolios(1 << 62, one, one, np.ones(1), np.zeros(4, dtype=np.int32))


@pytest.mark.parametrize("twin", TWINS)
def test_more_rows_than_a_block(twin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remargin_plain, "ROWS_A_BLOCK", 7)
    random = np.random.default_rng(5)
    held = [(int(a), int(r), float(x)) for a, r, x in zip(
        random.integers(0, 4, 300), random.integers(0, ROWS, 300), random.normal(size=300), strict=True
    )]  # fmt: skip
    values, known = random.normal(size=(ROWS, SCENARIOS)), np.ones(ROWS, dtype=np.uint8)
    margins = both_ways(portfolios_of(held), values, known, 3, twin)
    equity, worst = reference(held, values, known)
    np.testing.assert_allclose(margins.equity, equity, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(margins.worst, worst, rtol=1e-9, atol=1e-9)


@given(holdings, arrays)
def test_a_mirrored_book_in_a_mirrored_market_needs_the_same(
    held: list[tuple[int, int, float]], rows: list[list[float]]
) -> None:
    values, known = np.array(rows), np.ones(ROWS, dtype=np.uint8)
    margins = remargin.remargin(portfolios_of(held), values, known, BASE)
    mirrored = remargin.remargin(portfolios_of([(a, r, -x) for a, r, x in held]), -values, known, BASE)
    np.testing.assert_array_equal(margins.worst, mirrored.worst)


def test_no_accounts_and_no_holdings() -> None:
    values, known = np.ones((ROWS, SCENARIOS)), np.ones(ROWS, dtype=np.uint8)
    assert len(remargin.remargin(portfolios_of([], 0), values, known, BASE).worst) == 0
    assert remargin.remargin(portfolios_of([]), values, known, BASE).worst.tolist() == [0.0] * 4


ONE = np.zeros(1, dtype=np.int32)


@pytest.mark.parametrize(
    ("account_of", "row_of", "amount_of", "why"),
    [
        (ONE, ONE, np.ones(2), "differ in length: 1, 1, 2"),
        (ONE + 4, ONE, np.ones(1), r"account of a holding is not in 0\.\.3"),
        (ONE - 1, ONE, np.ones(1), "account of a holding"),
        (ONE, ONE + ROWS, np.ones(1), "row of a holding"),
        (ONE, ONE, np.array([np.nan]), "not finite"),
        (ONE, ONE, np.array([np.inf]), "not finite"),
    ],
)
def test_holdings_that_can_not_be(account_of: Any, row_of: Any, amount_of: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make_portfolios(4, account_of, row_of, amount_of, GROUPS)


@pytest.mark.parametrize(
    ("values", "known", "base", "a_slice", "why"),
    [
        (np.ones((ROWS + 1, SCENARIOS)), np.ones(ROWS + 1, np.uint8), 0, 1, "not of 6 rows"),
        (np.ones((ROWS, SCENARIOS)), np.ones(ROWS - 1, np.uint8), 0, 1, "not of the same rows"),
        (np.ones((ROWS, SCENARIOS)), np.ones(ROWS, np.uint8), SCENARIOS, 1, "base scenario 5"),
        (np.ones((ROWS, SCENARIOS)), np.ones(ROWS, np.uint8), 0, 0, "at least one account"),
        (np.full((ROWS, SCENARIOS), np.nan), np.ones(ROWS, np.uint8), 0, 1, "out of bounds"),
        (np.full((ROWS, SCENARIOS), 1e19), np.ones(ROWS, np.uint8), 0, 1, "out of bounds"),
    ],
)
def test_risk_arrays_that_do_not_fit(values: Any, known: Any, base: int, a_slice: int, why: str) -> None:
    margins = Margins.of(4)
    with pytest.raises(ValueError, match=why):
        list(remargin_in_slices(portfolios_of([(0, 0, 1.0)]), values, known, base, margins, a_slice))
