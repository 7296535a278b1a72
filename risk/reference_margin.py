"""The venues' margin models a second time, slow and obvious, for tests: loops over documents, one number at a time.

Nothing here is shared with risk/models, so that an error would have to be made twice.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, log, sqrt
from typing import Any

from risk.reference import black76

YEAR_S = 365 * 86_400
DAY_S = 86_400

# (volatility today, seconds to expiry) -> shocked volatility
VolMove = Callable[[float, float], float]


def tier_margin(rows: Sequence[Sequence[float]], notional: float) -> float:
    """Return maintenance margin as the sum, over tiers, of each slice of notional at its own rate."""
    margin = 0.0
    for row, (floor, rate) in enumerate(rows):
        end = rows[row + 1][0] if row + 1 < len(rows) else max(notional, floor)
        margin += max(0.0, min(notional, end) - floor) * rate
    return margin


def root(function: Callable[[float], float], low: float, high: float) -> float | None:
    """Return where a function changes its sign between two points, by halving 200 times; None where it does not."""
    at_low = function(low)
    if at_low * function(high) > 0:
        return None
    for _ in range(200):
        middle = (low + high) / 2
        if function(middle) * at_low > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def scaled_vol(sign: int, size: float, short_power: float, long_power: float, least: float = 0.0) -> VolMove:
    """Return a volatility move that grows as expiry nears: 1 ± size * (30 / days) ** power."""

    def move(vol: float, seconds: float) -> float:
        days = max(seconds / DAY_S, 1.0)
        power = short_power if seconds / DAY_S <= 30 else long_power
        shocked: float = vol * max(0.0, 1 + sign * size * (30 / days) ** power)
        return max(shocked, least) if sign > 0 else shocked

    return move


def unmoved(vol: float, seconds: float) -> float:
    """Leave a volatility as it is."""
    return vol


def forward(document: Mapping[str, Any], held: Mapping[str, Any], spot_move: float) -> float:
    """Return an option's forward after a spot move; inside the last half hour a part of it is fixed."""
    for expiry in document["underlyings"][held["underlying"]]["expiries"]:
        if expiry["expiry_s"] == held["expiry_s"]:
            today: float = expiry["forward"]
            free: float = min(1.0, held["expiry_s"] / 1800)
            return today * (1 - free) + today * free * (1 + spot_move)
    raise LookupError(held["instrument"])


def profit(document: Mapping[str, Any], held: Mapping[str, Any], spot_move: float, vol_move: VolMove) -> float:
    """Return one position's profit in the account's currency under one move."""
    in_coin_account = document["currency"] == held["underlying"]
    spot: float = document["underlyings"][held["underlying"]]["spot"] * (1 + spot_move)
    gained: float
    qty, seconds = held["qty"] * held.get("contract_size", 1.0), held.get("expiry_s", 0.0)
    pays_coin = held.get("style") == "inverse" or held.get("settlement") == held["underlying"]
    if held["kind"] == "option":
        is_call = held["option_type"] == "call"
        before, after = forward(document, held, 0.0), forward(document, held, spot_move)
        old = black76(before, held["strike"], seconds / YEAR_S, held["vol"], is_call)
        new = black76(after, held["strike"], seconds / YEAR_S, vol_move(held["vol"], seconds), is_call)
        gained = qty * (new / after - old / before) if pays_coin else qty * (new - old)
    elif held.get("style") == "inverse":
        gained = qty / held["mark"] - qty / (held["mark"] * (1 + spot_move))
    else:
        gained = qty * (held["mark"] * (1 + spot_move) - held["mark"])
    if pays_coin and not in_coin_account:
        return gained * spot
    return gained / spot if in_coin_account and not pays_coin else gained


def worst_loss(document: Mapping[str, Any], moves: Sequence[tuple[float, VolMove, float]]) -> float:
    """Return the largest weighted loss of all positions over (spot move, volatility move, weight), at least zero."""
    worst = 0.0
    for spot_move, vol_move, weight in moves:
        total = sum(profit(document, held, spot_move, vol_move) for held in document["positions"])
        worst = max(worst, -total * weight)
    return worst


def short_option(is_call: bool, spot: float, strike: float, mark: float) -> tuple[float, float]:
    """Return Deribit's initial and maintenance margin of one short option, in USD."""
    if is_call:
        otm = strike - spot if strike > spot else 0.0
        return max(0.15 - otm / spot, 0.10) * spot + mark, 0.075 * spot + mark
    otm = spot - strike if spot > strike else 0.0
    maintenance = max(0.075 * spot, 0.075 * mark) + mark
    return max(max(0.15 - otm / spot, 0.10) * spot + mark, maintenance), maintenance


def expected_shortfall(risk_aversion: float, tau: float, sigma: float, steps: int = 20_000) -> tuple[float, float]:
    """Return (short, long) risk factors by averaging the log-normal price over its tail, cell by cell."""
    deviation = sigma * sqrt(tau)
    low, high = -12.0, 12.0
    width = (high - low) / steps
    cells = [(low + (i + 0.5) * width) for i in range(steps)]
    weights = [exp(-x * x / 2) / sqrt(2 * 3.141592653589793) * width for x in cells]
    prices = [exp(deviation * x - deviation * deviation / 2) for x in cells]
    return _tail(prices[::-1], weights[::-1], risk_aversion) - 1, 1 - _tail(prices, weights, risk_aversion)


def _tail(prices: Sequence[float], weights: Sequence[float], share: float) -> float:
    """Return the mean of the first prices that make up a share of probability."""
    seen = summed = 0.0
    for price, weight in zip(prices, weights):
        taken = min(weight, share - seen)
        seen, summed = seen + taken, summed + taken * price
        if seen >= share:
            break
    return summed / share


def derive_portfolio(document: Mapping[str, Any], p: Mapping[str, Any]) -> tuple[float, float]:
    """Return Derive's (initial, maintenance) net margin of one underlying without collateral, oracles all sure.

    `p` is a parameter set as in the TOML file.
    """
    market = next(iter(document["underlyings"].values()))
    perp = sum(h["qty"] for h in document["positions"] if h["kind"] == "perpetual")
    options = [h for h in document["positions"] if h["kind"] == "option"]
    expiries = [e for e in market["expiries"] if any(h["expiry_s"] == e["expiry_s"] for h in options)]
    mtm = document["cash"] + sum(
        h["qty"] * (h["mark"] - h["entry"]) for h in document["positions"] if h["kind"] == "perpetual"
    )
    mtm += sum(_derive_value(e, options, 0.0, "none", p) for e in expiries)
    worst = 0.0
    for e in expiries:
        today = _derive_value(e, options, 0.0, "none", p)
        moved = [_derive_value(e, options, p[side] - 1, "none", p) - today for side in ("basis_up", "basis_down")]
        worst += min(0.0, *moved) * (p["basis_add"] + p["basis_mult"] * e["expiry_s"] / YEAR_S)
    for spot, vol, dampening in p["scenarios"]:
        gained = perp * market["perp_price"] * (spot - 1)
        gained += sum(_derive_profit(e, options, spot - 1, vol, p) for e in expiries)
        worst = min(worst, gained * dampening)
    shorts = 0.0
    for e in expiries:
        held = [h for h in options if h["expiry_s"] == e["expiry_s"]]
        for strike in {h["strike"] for h in held}:
            shorts += max(0.0, -sum(h["qty"] for h in held if h["strike"] == strike))
    charge_mm = (abs(perp) * p["mm_perp"] + shorts * p["mm_option"]) * market["spot"]
    charge_im = charge_mm + (abs(perp) * p["im_perp"] + shorts * p["im_option"]) * market["spot"]
    return mtm + worst * p["im_loss_factor"] - charge_im, mtm + worst * p["mm_loss_factor"] - charge_mm


def _derive_value(
    expiry: Mapping[str, Any], options: Sequence[Mapping[str, Any]], move: float, vol: str, p: Mapping[str, Any]
) -> float:
    seconds = expiry["expiry_s"]
    years = seconds / YEAR_S
    free = min(1.0, seconds / 1800)
    price = expiry["forward"] * (1 - free + free * (1 + move))
    total = 0.0
    for held in options:
        if held["expiry_s"] == seconds:
            sigma = _derive_vol(held, expiry, vol, p)
            value = black76(price, held["strike"], years, sigma, held["option_type"] == "call")
            total += held["qty"] * value * exp(-max(expiry.get("rate", 0.0), 0.0) * years)
    return total


def _derive_vol(held: Mapping[str, Any], expiry: Mapping[str, Any], vol: str, p: Mapping[str, Any]) -> float:
    seconds, sigma, shock, skew = expiry["expiry_s"], held["vol"], p["vol_shock"], p["skew"]
    if vol in ("up", "down"):
        size = shock["up"] if vol == "up" else shock["down"]
        move = scaled_vol(
            1 if vol == "up" else -1, size, shock["short_power"], shock["long_power"], shock.get("min_up", 0.0)
        )
        return move(sigma, seconds)
    if vol == "none":
        return float(sigma)
    root_t = sqrt(seconds / YEAR_S)
    cap = skew[f"{vol}_cap"] + skew[f"{vol}_c"] * root_t
    flat = max(skew["min_k_star"], root_t * skew["width_scale"] * (skew["vol_static"] + skew["vol_scale"] * root_t))
    k = log(held["strike"] / expiry["forward"])
    k = abs(k) if vol == "abs" else k
    return float(sigma * max(0.0, 1 + max(-cap, min(cap, k * cap / flat))))


def _derive_profit(
    expiry: Mapping[str, Any], options: Sequence[Mapping[str, Any]], move: float, vol: str, p: Mapping[str, Any]
) -> float:
    rate, years = max(expiry.get("rate", 0.0), 0.0), expiry["expiry_s"] / YEAR_S
    is_skew = vol in ("linear", "abs")
    value: float = _derive_value(expiry, options, 0.0 if is_skew else move, vol, p)
    gained: float
    if value >= 0:
        value *= p["long_static_discount"] * exp(-years * (rate * p["long_rate_mult"] + p["long_rate_add"]))
    else:
        grown = p["short_static_discount"] * exp(years * (rate * p["short_rate_mult"] + p["short_rate_add"]))
        value *= min(exp(rate * years), grown)
    gained = value - _derive_value(expiry, options, 0.0, "none", p)
    return -abs(gained) if is_skew else gained
