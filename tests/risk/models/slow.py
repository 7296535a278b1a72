"""Venue models once more, in the plainest loops, from the methodology notes and not from risk.models.

Positions are dicts as in a portfolio file. Every function takes one underlying's positions, linear or inverse futures,
USD options and spot, and a market of {"spot", "forward": {expiry_s: forward}}.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import erf, exp, log, pi, sqrt
from typing import Any

DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0
Held = dict[str, Any]
Market = dict[str, Any]


def value(forward: float, strike: float, years: float, vol: float, is_call: bool) -> float:
    """Black-76 without discounting; what is left of it without time or volatility."""
    inner = max(0.0, forward - strike if is_call else strike - forward)
    if years <= 0 or vol <= 0 or forward <= 0:
        return inner
    s = vol * sqrt(years)
    d = log(forward / strike) / s + s / 2
    call = forward * normal(d) - strike * normal(d - s)
    return call if is_call else call - forward + strike


def normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def fixed_share(expiry_s: float) -> float:
    """Of the half hour over which a settlement is averaged, what is over."""
    return max(0.0, 1 - expiry_s / 1_800)


def delta(market: Market, held: Held) -> float:
    """Coins; of an option N(d1), where it has time, of the part that still moves."""
    if held["kind"] != "option":
        return float(held["qty"] / held["mark"] if held.get("style") == "inverse" else held["qty"])
    forward, years, vol = market["forward"][held["expiry_s"]], held["expiry_s"] / YEAR_S, held["vol"]
    is_call = held["option_type"] == "call"
    if years <= 0 or vol <= 0:
        chance = 1.0 if forward > held["strike"] else 0.0
    else:
        s = vol * sqrt(years)
        chance = normal(log(forward / held["strike"]) / s + s / 2)
    return float(held["qty"]) * (chance if is_call else chance - 1) * (1 - fixed_share(held["expiry_s"]))


def vega_point(market: Market, held: Held) -> float:
    """USD a point of volatility."""
    forward, years, vol = market["forward"][held["expiry_s"]], held["expiry_s"] / YEAR_S, held["vol"]
    if years <= 0 or vol <= 0:
        return 0.0
    d = log(forward / held["strike"]) / (vol * sqrt(years)) + vol * sqrt(years) / 2
    return float(held["qty"] * forward * sqrt(years) * exp(-d * d / 2) / sqrt(2 * pi) / 100)


def shocked(vol: float, expiry_s: float, move: str, up: float, down: float, least: float = 0.0) -> float:
    """Volatility after a shock of (30 / max(days, 1)) ** power, .30 to thirty days and .13 beyond."""
    days = expiry_s / DAY_S
    root = (30 / max(days, 1.0)) ** (0.30 if days <= 30 else 0.13)
    if move == "up":
        return max(vol * (1 + up * root), least)
    return vol if move == "same" else max(0.0, vol * (1 - down * root))


def gain(market: Market, held: Held, x: float, vol_after: float | None = None, seconds: float = 0.0) -> float:
    """USD that a position gains when spot moves by x; of what is paid in coin at the new spot."""
    if held["kind"] != "option":
        if held.get("style") == "inverse":
            return float(held["qty"] / held["mark"] * (1 - 1 / (1 + x)) * market["spot"] * (1 + x))
        return float(held["qty"] * held["mark"] * x)
    forward, expiry_s, is_call = market["forward"][held["expiry_s"]], held["expiry_s"], held["option_type"] == "call"
    moved = forward * (1 + x * (1 - fixed_share(expiry_s)))
    years = max(0.0, expiry_s - seconds) / YEAR_S
    before = value(forward, held["strike"], expiry_s / YEAR_S, held["vol"], is_call)
    after = value(moved, held["strike"], years, held["vol"] if vol_after is None else vol_after, is_call)
    return float(held["qty"] * (after - before))


def worst(
    market: Market, book: Sequence[Held], rows: Iterable[tuple[float, str, float]], up: float, down: float,
    least: float = 0.0,
) -> float:  # fmt: skip
    """The largest loss over (move, volatility move, weight), at least zero."""
    found = 0.0
    for x, move, weight in rows:
        total = 0.0
        for held in book:
            vol = shocked(held["vol"], held["expiry_s"], move, up, down, least) if held["kind"] == "option" else None
            total += gain(market, held, x, vol)
        found = max(found, -weight * total)
    return found


def grid(moves: Iterable[float]) -> list[tuple[float, str, float]]:
    return [(sign * x, move, 1.0) for x in moves for sign in (1, -1) for move in ("down", "same", "up")]


def slices(rows: Sequence[Sequence[float]], notional: float) -> float:
    """Maintenance of a notional, each slice of it at its own rate."""
    total = 0.0
    for row, (floor, rate) in enumerate(rows):
        end = rows[row + 1][0] if row + 1 < len(rows) else float("inf")
        total += rate * max(0.0, min(notional, end) - floor)
    return total


def hedged(amounts: dict[Any, float]) -> float:
    """What of amounts by key has its opposite in another key."""
    return min(sum(a for a in amounts.values() if a > 0), -sum(a for a in amounts.values() if a < 0))


def summed(pairs: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    found: dict[Any, float] = {}
    for key, amount in pairs:
        found[key] = found.get(key, 0.0) + amount
    return found


OKX = {  # moves, extreme, basis a year, least basis, rate of the minimum charge
    "BTC": ((0.0, 0.04, 0.08, 0.12), 0.24, 0.05, 0.002, 0.0045),
    "DOGE": ((0.0, 0.08, 0.16, 0.25), 0.50, 0.30, 0.016, 0.018),
}
CHARGES = ((250e3, 1), (500e3, 2), (1e6, 4), (2e6, 6), (3e6, 8), (4e6, 10), (float("inf"), 12))


def okx(name: str, market: Market, book: Sequence[Held], peg: float) -> dict[str, float]:
    """MR1 to MR9 of a unit, and its MMR; MR3 at 2 USD a point, MR5 a shift of 2 % as our notes have them."""
    moves, extreme, annual, least, rate = OKX[name]
    futures = [held for held in book if held["kind"] != "spot"]
    options = [held for held in book if held["kind"] == "option"]
    by_expiry = summed((h.get("expiry_s"), delta(market, h)) for h in futures)
    mr4 = 0.0
    for expiry_s, coins in by_expiry.items():
        mr4 += abs(coins) * market["spot"] * max(least, annual * (expiry_s or 0.0) / YEAR_S)
    gross = sum(max(0.0, -h["qty"]) if h["kind"] == "option" else abs(delta(market, h)) for h in futures)
    raw = gross * market["spot"] * rate
    times = next(factor for end, factor in CHARGES if raw <= end)
    legs = summed(
        ("USD" if h.get("style") == "inverse" else h.get("settlement", "USD"), delta(market, h) * market["spot"])
        for h in futures
    )
    mr9 = 0.0
    for pair in (("USDT", "USD"), ("USDT", "USDC"), ("USDC", "USD")):
        one, other = (legs.get(leg, 0.0) for leg in pair)
        if one * other < 0:
            size = min(abs(one), abs(other))
            for leg in pair:
                legs[leg] -= size if legs[leg] > 0 else -size
            low = min(1.0, peg) if "USDT" in pair else 1.0
            mr9 += size * (0.005 if low >= 0.995 else 0.4 if low <= 0.8 else 0.005 + 0.395 * (0.995 - low) / 0.195)
    unit = {
        "mr1": worst(market, book, grid(moves), 0.5, 0.25),
        "mr2": max(0.0, -sum(gain(market, h, 0.0, None, DAY_S) for h in options)),
        "mr3": 2.0 * hedged(summed((h["expiry_s"], vega_point(market, h)) for h in options)),
        "mr4": mr4,
        "mr5": 0.02 * abs(sum(_worth(market, h) * h["qty"] * h["expiry_s"] / YEAR_S for h in options)),
        "mr6": 0.5 * worst(market, book, [(x, "same", 1.0) for x in (extreme, -extreme)], 0.0, 0.0),
        "mr7": raw * times,
        "mr9": mr9,
    }
    scenario = max(unit["mr1"], unit["mr2"], unit["mr6"]) + unit["mr3"] + unit["mr4"] + unit["mr5"]
    return unit | {"mmr": max(scenario, unit["mr7"]) + mr9}


def _worth(market: Market, held: Held) -> float:
    is_call = held["option_type"] == "call"
    return value(
        market["forward"][held["expiry_s"]], held["strike"], held["expiry_s"] / YEAR_S, held["vol"], is_call
    )  # fmt: skip


PARADEX = [(x, vol, 1.0) for x in (0.12, 0.08, 0.04, 0.0, -0.04, -0.08, -0.12) for vol in ("up", "down")]
PARADEX += [(0.16, "up", 1.0), (-0.16, "up", 1.0)]
PARADEX += [(-0.66, "up", 0.24), (-0.33, "up", 0.48), (0.5, "up", 0.32), (1.0, "up", 0.16)]
PARADEX += [(2.0, "up", 0.08), (3.0, "up", 0.0533), (4.0, "up", 0.04), (5.0, "up", 0.032)]


def paradex(market: Market, book: Sequence[Held], funding: float) -> tuple[float, float]:
    """IMR and MMR: 2 % of net and 1 % of hedged delta at least, funding of 8 hours, a fee of 3 bp to close."""
    deltas = [delta(market, h) for h in book]
    long, short = sum(d for d in deltas if d > 0), -sum(d for d in deltas if d < 0)
    least = (0.02 * abs(long - short) + 0.01 * min(long, short)) * market["spot"]
    first = max(worst(market, book, PARADEX, 0.4, 0.22), least)
    perps = sum(d for d, h in zip(deltas, book) if h["kind"] == "perpetual")
    size = sum(abs(h["qty"]) if h["kind"] == "option" else abs(d) for d, h in zip(deltas, book))
    provisions = max(0.0, perps * market["spot"] * funding) + 0.0003 * size * market["spot"]
    return first + provisions, 0.5 * first + provisions


def bybit(market: Market, book: Sequence[Held]) -> float:
    """MM: fifteen per cent in steps of three, and the contingencies; quantities must be whole for the pairing."""
    index, kinds = market["spot"], ("perpetual", "future")
    options = [h for h in book if h["kind"] == "option"]
    calls = sum(h["qty"] for h in options if h["option_type"] == "call")
    puts = sum(h["qty"] for h in options if h["option_type"] == "put")
    stables = summed(
        ("USD" if h.get("style") == "inverse" else h.get("settlement", "USD"), delta(market, h)) for h in book
    )
    deltas = summed((h.get("expiry_s") or 0.0, delta(market, h)) for h in book)
    vegas = summed((h["expiry_s"], h["qty"]) for h in options if h["expiry_s"] > 0 and h["vol"] > 0)
    total = worst(market, book, grid((0.0, 0.03, 0.06, 0.09, 0.12, 0.15)), 0.4, 0.3)
    total += 0.01 * index * (max(0.0, -calls) + max(0.0, -puts))
    total += 0.0003 * index * paired_days(vegas) + 0.6 / 365 * index * paired_days(deltas)
    total += 0.005 * index * hedged(stables)
    return total + 0.005 * index * sum(abs(delta(market, h)) for h in book if h["kind"] in kinds)


def paired_days(amounts: dict[float, float], most: float = 365.0) -> float:
    """Days between opposite amounts, each paired with the last one open before it: level by level of their sum."""
    times = sorted(amounts)
    sums, total = [0.0], 0.0
    for t in times:
        sums.append(sums[-1] + amounts[t])
    levels = sorted({0.0, *sums})
    for low, high in pairwise(levels):
        middle, since = (low + high) / 2, None
        for before, after, t in zip(sums, sums[1:], times):
            inside = [min(0.0, s) < middle < max(0.0, s) for s in (before, after)]
            if inside == [False, True]:
                since = t
            elif inside == [True, False] and since is not None:
                total += (high - low) * min((t - since) / DAY_S, most)
    return total


def span(markets: dict[str, Market], book: Sequence[Held], months: dict[str, float], least: dict[str, float],
         ratio: float, rate: float) -> float:  # fmt: skip
    """Sixteen scenarios of 35 % and .25 vol, extremes thrice at 33 %; one credit, BTC to ETH one to `ratio`."""
    scans, nets, asked = {}, {}, {}
    book = [h for h in book if h["kind"] != "spot"]
    for name, market in markets.items():
        mine = [h for h in book if h["underlying"] == name]
        scan = 0.0
        rows = [(third * 0.35 / 3, up, 1.0) for third in range(-3, 4) for up in (0.25, -0.25)]
        for x, vol, weight in [*rows, (1.05, 0.0, 0.33), (-1 + 1e-6, 0.0, 0.33)]:
            moved = [gain(market, h, x, max(0.0, h.get("vol", 0.0) + vol)) for h in mine]
            scan = max(scan, -weight * sum(moved))
        scans[name], nets[name] = scan, sum(delta(market, h) for h in mine)
        spread = hedged(summed((h.get("expiry_s") or 0.0, delta(market, h)) for h in mine))
        shorts = [sum(max(0.0, -h["qty"]) for h in mine if h.get("option_type") == side) for side in ("call", "put")]
        worth = sum(_worth(market, h) * h["qty"] for h in mine if h["kind"] == "option")
        asked[name] = (months[name] * spread, least[name] * max(shorts), worth)
    credit = dict.fromkeys(markets, 0.0)
    if nets["BTC"] * nets["ETH"] < 0:
        pairs = min(abs(nets["BTC"]), abs(nets["ETH"]) / ratio)
        for name, coins in (("BTC", pairs), ("ETH", pairs * ratio)):
            by_future = coins * markets[name]["spot"] * 0.35
            credit[name] = rate * min(coins / abs(nets[name]) * scans[name], by_future)
    total = 0.0
    for name, (inter_month, minimum, worth) in asked.items():
        total += max(0.0, max(scans[name] + inter_month - credit[name], minimum) - worth)
    return total


DERIBIT = {"range": 0.18, "up": 0.4, "offset": 0.6, "limit": 20e6, "dampener": 200e3, "roll": 0.05, "least": 0.005}
FAR = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)


def deribit(markets: dict[str, Market], book: Sequence[Held]) -> tuple[float, float]:
    """Worst case and roll shock of an account in USD by the parameters of February 2026, linear contracts."""
    by, cases, roll = DERIBIT, [0.0], 0.0
    rows = [(by["range"] * k / 4, move) for k in range(-4, 5) for move in ("down", "same", "up")]
    for x, move, is_far in [*((x, move, False) for x, move in rows), *((x, "up", True) for x in FAR)]:
        total = 0.0
        for name, market in markets.items():
            unit = 0.0
            for held in book:
                if held["underlying"] == name:
                    is_option = held["kind"] == "option"
                    vol = shocked(held["vol"], held["expiry_s"], move, by["up"], 0.25, 0.5) if is_option else None
                    unit += gain(market, held, x, vol)
            if is_far:
                unit *= by["range"] / abs(x)
                unit = min(0.0, unit + min((abs(x) / by["range"] - 1) * by["dampener"], abs(unit)))
            total += unit if unit < 0 else min(by["offset"] * unit, by["limit"])
        cases.append(-total)
    for name, market in markets.items():
        mine = [held for held in book if held["underlying"] == name]
        for expiry_s, coins in summed((held.get("expiry_s"), delta(market, held)) for held in mine).items():
            roll += abs(coins) * market["spot"] * max(by["least"], by["roll"] * (expiry_s or 0.0) / YEAR_S)
    return max(cases), roll
