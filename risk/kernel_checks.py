"""What a margin kernel may be made for and loaded with; both kernels ask here."""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.pricing import MAX_VALUE, Floats

Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.uint8]

# Bounds that keep every product and sum finite: NaN and infinity can not enter.
MAX_LOTS: Final = 1e15
MAX_CASH: Final = 1e18
# Scenarios this close (relative) are equally bad: a linear contract is worth the same at every volatility.
EQUAL_TO: Final = 1e-12
# What a kernel may be made for.
MAX_ACCOUNTS: Final = 1_000_000
MAX_GROUPS: Final = 1_024
MAX_INSTRUMENTS: Final = 100_000
MAX_CURRENCIES: Final = 1_024
MAX_SCENARIOS: Final = 1_024
MAX_JOINT: Final = 16_384
# Account, desk, firm, and room for what may come between.
MAX_DEPTH: Final = 8
# What of a fill is put aside: of its gain at once, of its loss at once, of each lot bought, of each unit of cash that
# comes in.
ASIDE_COLUMNS: Final = 4


def check_capacities(
    accounts: int, groups: int, instruments: int, currencies: int, scenarios: int, joint: int = 0
) -> None:
    """Raise ValueError if a kernel of this size is not to be made."""
    for name, count, least, most in (
        ("accounts", accounts, 1, MAX_ACCOUNTS),
        ("groups", groups, 1, MAX_GROUPS),
        ("instruments", instruments, 1, MAX_INSTRUMENTS),
        ("currencies", currencies, 1, MAX_CURRENCIES),
        ("scenarios", scenarios, 1, MAX_SCENARIOS),
        ("joint scenarios", joint, 0, MAX_JOINT),
    ):
        if not least <= count <= most:
            raise ValueError(f"{name}: {count} is not in {least}..{most}")


def check_generation(
    capacities: tuple[int, int, int, int],
    values: Floats,
    currency_values: Floats,
    group_of_instrument: Ints,
    group_of_currency: Ints,
    currency_of_instrument: Ints,
    known: Flags,
    carried: Floats | None = None,
) -> Flags:
    """Raise ValueError if a generation is inconsistent; return which currencies are known, uint8 (C,).

    `capacities` are (groups, instruments, currencies, scenarios). Rows of what is known must be finite. A known
    instrument must settle in a known currency of its own group, or in one of constant value: otherwise a fill would
    move two groups and the bound, taken group by group, would not hold. What is carried, (I,), is excepted: NaN of
    all else.
    """
    groups, instruments, currencies, scenarios = capacities
    count, currency_count = values.shape[0], currency_values.shape[0]
    if values.shape != (count, scenarios) or currency_values.shape != (currency_count, scenarios):
        raise ValueError(f"risk arrays are {values.shape} and {currency_values.shape}, not of {scenarios} scenarios")
    if count > instruments or not 1 <= currency_count <= currencies:
        raise ValueError(f"{count} instruments and {currency_count} currencies are not what the kernel was made for")
    for name, row, length in (
        ("group_of_instrument", group_of_instrument, count),
        ("currency_of_instrument", currency_of_instrument, count),
        ("known", known, count),
        ("group_of_currency", group_of_currency, currency_count),
    ):
        if row.shape != (length,):
            raise ValueError(f"{name} has shape {row.shape}, not ({length},)")
    for name, column, most in (
        ("group_of_instrument", group_of_instrument, groups),
        ("group_of_currency", group_of_currency, groups),
        ("currency_of_instrument", currency_of_instrument[known != 0], currency_count),
    ):
        if ((column < 0) | (column >= most)).any():
            raise ValueError(f"{name} is out of range")
    currency_known: Flags = np.all(np.abs(currency_values) <= MAX_VALUE, axis=1).astype(np.uint8)
    rows = np.flatnonzero(known)
    usable = values if len(rows) == count else values[rows]
    # NaN is neither, so it is refused; no array is made to look at them.
    if not -MAX_VALUE <= usable.min(initial=0.0) <= usable.max(initial=0.0) <= MAX_VALUE:
        raise ValueError("the risk array of a known instrument is not finite or out of bounds")
    settlement = currency_of_instrument[rows]
    if not np.all(currency_known[settlement]):
        raise ValueError("a known instrument settles in an unknown currency")
    is_free = np.all(currency_values == currency_values[:, :1], axis=1)[settlement]
    if carried is not None:
        if carried.shape != (count,) or (np.abs(carried[rows]) > MAX_LOTS).any():
            raise ValueError("what is carried with lots is not of the instruments, or out of bounds")
        is_free |= np.isfinite(carried[rows])
    if not (is_free | (group_of_currency[settlement] == group_of_instrument[rows])).all():
        raise ValueError("an instrument settles in a currency of another risk group")
    return currency_known


def check_joint(
    joint: int,
    values: Floats,
    currency_values: Floats,
    known: Flags,
    currency_known: Flags,
    joint_values: Floats | None,
    joint_currency_values: Floats | None,
) -> tuple[Floats, Floats]:
    """Return the joint block of a generation, (I, J) and (C, J), or raise ValueError: none where none is to be.

    What the grid knows must be known to the joint scenarios too: else it would be free of risk in them.
    """
    if joint_values is None or joint_currency_values is None:
        if joint:
            raise ValueError(f"a generation without the {joint} joint scenarios that the kernel was made for")
        return np.zeros((len(values), 0)), np.zeros((len(currency_values), 0))
    if joint_values.shape != (len(values), joint) or joint_currency_values.shape != (len(currency_values), joint):
        raise ValueError(f"joint arrays are {joint_values.shape} and {joint_currency_values.shape}, not of {joint}")
    for name, rows in (
        ("instrument", joint_values[known != 0]),
        ("currency", joint_currency_values[currency_known != 0]),
    ):
        if not (np.abs(rows) <= MAX_VALUE).all():
            raise ValueError(f"the joint scenarios of a known {name} are not finite or out of bounds")
    return joint_values, joint_currency_values


def check_asides(
    rates: Floats, instruments: int, base_scenario: int, scenarios: int, shares: tuple[float, float]
) -> Floats:
    """Return rates of what is put aside as (K, I, ASIDE_COLUMNS); ValueError unless finite and not negative.

    `shares` are the netting haircut and the charge for money that lies elsewhere.
    """
    sets = rates[None] if rates.ndim == 2 else rates
    if sets.shape != (len(sets), instruments, ASIDE_COLUMNS) or not len(sets):
        raise ValueError(f"rates of what is put aside are not of {instruments} instruments")
    if not ((sets >= 0) & (sets <= MAX_VALUE)).all():
        raise ValueError("rates of what is put aside are not finite, from zero on")
    if not 0 <= base_scenario < scenarios:
        raise ValueError(f"base scenario {base_scenario} is not in 0..{scenarios - 1}")
    if not (0 <= shares[0] < 1 and 0 <= shares[1] <= 1):
        raise ValueError(f"a netting haircut and a charge for location of {shares} are not in 0..1")
    return np.ascontiguousarray(sets, dtype=np.float64)


def check_bearers(bearers: Ints | None, rows: int, sets: int) -> Ints:
    """Return by which set of rates each row puts aside, (rows,), the first for those not named; ValueError."""
    found = np.zeros(rows, dtype=np.int32)
    if bearers is not None:
        if bearers.ndim != 1 or len(bearers) > rows or ((bearers < 0) | (bearers >= sets)).any():
            raise ValueError(f"bearers are not of {rows} rows, or name more than {sets} sets")
        found[: len(bearers)] = bearers
    return found


def check_tree(parents: Ints, rows: int) -> None:
    """Raise ValueError unless `parents` is a forest over a kernel's rows: every parent comes after its children."""
    if parents.shape != (rows,):
        raise ValueError(f"parents has shape {parents.shape}, not ({rows},)")
    if ((parents < -1) | (parents >= rows)).any() or ((parents >= 0) & (parents <= np.arange(rows))).any():
        raise ValueError("a parent is no row, or does not come after its children")
    depth, at = 0, parents
    while (at >= 0).any():
        depth += 1
        if depth >= MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        at = np.where(at >= 0, parents[np.maximum(at, 0)], -1)


def rest_share(lots: float, alt_lots: float) -> float:
    """Return w: which share of a replacing order is left once the order it replaces has filled."""
    if alt_lots == 0:
        return 0.0
    return min(max(1.0 - lots / alt_lots, 0.0), 1.0)


def check_amounts(lots: float, cash: float) -> None:
    """Raise ValueError for what must not be kept."""
    if not (-MAX_LOTS <= lots <= MAX_LOTS and -MAX_CASH <= cash <= MAX_CASH):
        raise ValueError(f"lots {lots} or cash {cash} is not finite or out of bounds")
