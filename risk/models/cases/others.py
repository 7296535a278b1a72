"""Cases of OKX and Binance portfolio margin, SPAN, Vega, Dederi, deleveraging rank, and backtests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf
from typing import Any

from risk import backtest
from risk.models import adl, binance_portfolio, okx_portfolio, span, vega
from risk.models.cases.reading import Case, field, integer, number, refuse_unread, side_sign, signed_qty
from risk.models.okx_portfolio import OkxParameters
from risk.models.parameters import parameters
from risk.models.portfolio import load
from risk.models.result import MarginError, MarginResult

# Of the middle class for every charge; what is in another class for some of them counts as one of the others.
MID = frozenset({"ADA", "BCH", "LTC", "XRP"})


def okx_unit(case: Case) -> tuple[MarginResult, dict[str, Any]]:
    """Run one risk unit: the reply states its cash delta and shocked notional, from which the marks are taken."""
    given = case["input"]
    unit, rows = str(given["risk_unit"]), given["positions"]
    coins = [number(row, "contracts", "qty") * number(row, "contract_base", default=1) for row in rows]
    gross = sum(abs(c) for c in coins)
    if not gross:
        raise MarginError("bad_input", "no position")
    marks = [number(row, "mark") for row in rows]
    notional = abs(sum(c * m for c, m in zip(coins, marks)))
    if "shocked_notional_usd" in given and notional:
        # One notional is stated for all: marks are scaled to it.
        scale = abs(number(given, "shocked_notional_usd")) / notional
        marks = [m * scale for m in marks]
    net = abs(sum(coins))
    if net:
        spot = abs(number(given, "cash_delta_usd", default=sum(c * m for c, m in zip(coins, marks)))) / net
    else:  # legs that cancel have no delta to take the index from
        spot = sum(abs(c) * m for c, m in zip(coins, marks)) / gross
    moves = given.get("mr1_shocks")
    overrides: dict[str, Any] = {} if moves is None else {"mr1_moves": moves}
    if "mr7_tiers" in given:
        overrides["mr7_tiers"] = given["mr7_tiers"]
    elif "mr7_multiplier" in given:
        overrides["mr7_tiers"] = [[0.0, number(given, "mr7_multiplier")]]
    names = {"mr6_shock": "mr6_move", "mr6_weight": "mr6_weight", "mr4_rate": "mr4_least", "mr7_rate": "mr7_rate"}
    overrides |= {ours: number(given, theirs) for theirs, ours in names.items() if theirs in given}
    overrides |= {"mr4_annual": 0.0} if "mr4_rate" in given else {}
    overrides |= {"imr_factor": number(given, "imr_factor")} if "imr_factor" in given else {}
    document = {
        "model": "okx_portfolio",
        "underlyings": {unit: {"spot": spot}},
        "positions": [
            {"instrument": row["inst"], "kind": "perpetual", "underlying": unit, "qty": c, "mark": m}
            for row, c, m in zip(rows, coins, marks)
        ],
        "parameter_set": "btc_eth" if unit in ("BTC", "ETH") else "mid" if unit in MID else "others",
        "parameters": overrides,
        "add_ons": {name: number(given, name) for name in okx_portfolio.UNCONFIRMED if name in given},
    }
    result = okx_portfolio.evaluate(load(document))
    charges = dict(result.details[unit])
    weight = number(given, "mr6_weight", default=0.5)
    # Rungs of the three volatility moves are equal here: a unit of futures alone.
    charges["mr1_scenarios"] = {f"{rung.spot:g}": rung.pnl for rung in result.ladder if rung.vol == "same"}
    charges["mr6_pnl"] = -charges["mr6"] / weight if weight else 0.0
    return result, charges


def okx_account(case: Case) -> dict[str, Any]:
    """Sum risk units and borrowing: what is owed, or an equity below zero."""
    given = case["input"]
    amounts = ("borrowed_usd", "negative_equity_usd", "borrow_usd", "borrow", "borrowed")
    equities = ("usdt_equity", "usdt_equity_usd", "equity_usd", "equity")
    refuse_unread(given, "units", "borrow_mmr_rate", "borrow_imr_rate", "imr_factor", *amounts, *equities)
    p = parameters("okx_portfolio", OkxParameters)[0]
    units = list(given["units"].values()) if isinstance(given["units"], Mapping) else given["units"]
    factor = number(given, "imr_factor", default=p.imr_factor)
    mmr = sum(number(unit, "mmr") for unit in units)
    imr = sum(number(unit, "imr", default=factor * number(unit, "mmr")) for unit in units)
    owed = abs(number(given, *amounts, default=0)) or max(0.0, -number(given, *equities, default=0))
    borrow_mmr = owed * number(given, "borrow_mmr_rate", default=p.mr8_mmr)
    borrow_imr = owed * number(given, "borrow_imr_rate", default=p.mr8_imr)
    return {"mr8": borrow_mmr, "borrow_mmr": borrow_mmr, "borrow_imr": borrow_imr} | {
        "mmr": mmr + borrow_mmr,
        "imr": imr + borrow_imr,
    }


CASH_DELTAS = ("cash_delta", "cash_deltas", "cash_delta_usd", "cash_deltas_usd", "deltas")
HEDGED = (
    "hedged",
    "hedged_usd",
    "hedge_usd",
    "hedge_size",
    "hedge_size_usd",
    "hedged_size",
    "hedged_size_usd",
    "slices",
)


def okx_depeg(case: Case) -> dict[str, Any]:
    """Run MR9: hedged sizes between stablecoin legs, given or from cash deltas, and their charge.

    `tiers` are (price, rate); or by size, each part of a hedged size at the rate of its own tier: (from, rate),
    (from, to, rate), or (up to, rate). `slices` are (size, rate): a hedged size already cut up.
    """
    given = case["input"]
    if "slices" in given:
        rows = [[float(figure) for figure in row] for row in given["slices"]]
        return {"mr9": sum(size * rate for size, rate in rows), "hedged": sum(size for size, _ in rows)}
    prices = _pegs(given)
    pegs = parameters("okx_portfolio", OkxParameters)[0].mr9_pegs
    tiers = given.get("tiers", pegs)
    by_size = any(row[-2] > LARGEST_PEG for row in tiers)
    pegs = pegs if by_size else tiers
    if any(name in given for name in HEDGED):
        stated = field(given, *HEDGED)
        hedged = dict(stated.items()) if isinstance(stated, Mapping) else {"USDT-USD": number(given, *HEDGED)}
        charge = sum(
            float(size) * okx_portfolio.depeg_rate(min(prices.get(leg, 1.0) for leg in pair.split("-")), pegs)
            for pair, size in hedged.items()
        )
    else:
        deltas = {str(k): float(v) for k, v in field(given, *CASH_DELTAS).items()}
        unknown = sorted(deltas.keys() - {"USD", "USDC", "USDT"})
        if unknown:
            raise MarginError("bad_input", f"{', '.join(unknown)}: legs are in USDT, USDC and USD")
        charge, hedged = okx_portfolio.depeg_charge(deltas, prices, pegs)
    if by_size:
        charge = sum(_through(float(size), tiers) for size in hedged.values())
    return {"mr9": charge, "hedged": hedged} | {f"hedged_{k.replace('-', '_')}": v for k, v in hedged.items()}


def _pegs(given: Mapping[str, Any]) -> dict[str, float]:
    prices = {str(k): float(v) for k, v in given.get("prices", given.get("pegs", {})).items()}
    for name, coin in (("usdt_price", "USDT"), ("usdc_price", "USDC")):
        if name in given:
            prices[coin] = number(given, name)
    return prices


# A price of a stablecoin; what is above is a size in USD.
LARGEST_PEG = 2.0


def _through(size: float, tiers: Sequence[Sequence[float]]) -> float:
    """Return the charge on a size, each part at its own tier's rate; beyond the last tier at the last rate."""
    rows = sorted(tiers, key=lambda row: row[0])
    if rows[0][0] > 0:  # the first figure is where a tier ends
        starts = [0.0, *(row[0] for row in rows[:-1])]
        rows = [[start, row[-1]] for start, row in zip(starts, rows)]
    ends = [*(row[0] for row in rows[1:]), inf]
    return sum(max(0.0, min(size, end) - row[0]) * row[-1] for row, end in zip(rows, ends))


def binance_assets(case: Case) -> dict[str, Any]:
    """Run asset equity and maintenance of a portfolio-margin account; uniMMR where prices are given."""
    given = case["input"]
    coin = str(given.get("cm_asset", "BTC"))
    um, cm = list(given.get("um", ())), list(given.get("cm", ()))
    prices = {str(k): float(v) for k, v in given.get("prices", given.get("index", {})).items()}
    rates = {str(k): float(v) for k, v in given.get("rates", given.get("collateral_rates", {})).items()}
    margin, wallet = given.get("margin", {}), given.get("wallet", {})
    assets = [*dict.fromkeys([*margin, *wallet, *(["USDT"] if um else []), *([coin] if cm else [])])]
    document = {
        "model": "binance_portfolio",
        "positions": [_um(row, number_) for number_, row in enumerate(um)]
        + [_cm(row, number_, coin) for number_, row in enumerate(cm)],
        "collateral": [
            {
                "asset": asset,
                "qty": float(margin.get(asset, (0, 0))[0]) + float(wallet.get(asset, 0)),
                "loan": float(margin.get(asset, (0, 0))[1]),
                "price": prices.get(asset, 1.0),
                "rate": rates.get(asset, 1.0),
            }
            for asset in assets
        ],
        "parameters": {
            "default_mmr": number(given, "fut_mmr", default=0.005),
            "loan_mmr": number(given, "loan_mmr", default=0.1),
        },
    }
    portfolio = load(document)
    result = binance_portfolio.evaluate(portfolio)
    held = {position.instrument: position for position in portfolio.positions}
    parts = {name: c.maintenance for name, c in result.components.items()}
    linear = [position for position in portfolio.positions if position.style == "linear"]
    coins = [position for position in portfolio.positions if position.style == "inverse"]
    in_coin = [parts[h.instrument] / prices.get(coin, 1.0) for h in coins]
    profits = [h.profit(h.marked()) for h in coins]
    loans = {a: float(pair[1]) * number(given, "loan_mmr", default=0.1) for a, pair in margin.items() if pair[1]}
    values = {
        "upnl_um": [h.profit(h.marked()) for h in linear],
        "upnl_cm_btc": profits[0] if len(profits) == 1 else profits,
        "equity": dict(result.details["amounts"]),
        "mm_margin": loans,
        "mm_um": [parts[h.instrument] for h in linear if h.instrument in held],
        "mm_cm_btc": in_coin[0] if len(in_coin) == 1 else in_coin,
    }
    uni_mmr = result.details["uni_mmr"]
    if prices:
        values |= {"adj_equity": result.equity, "mm": result.maintenance, "uniMMR": uni_mmr, "uni_mmr": uni_mmr}
        values |= {"asset_equity_usd": dict(result.details["equities"]), "status": result.details["status"]}
    return values


def _um(row: Mapping[str, Any], number_: int) -> dict[str, Any]:
    return {
        "instrument": f"UM{number_:03}",
        "kind": "perpetual",
        "underlying": f"UM{number_:03}",
        "qty": signed_qty(row, "qty"),
        "entry": number(row, "entry"),
        "mark": number(row, "mark"),
        "settlement": "USDT",
    }


def _cm(row: Mapping[str, Any], number_: int, coin: str) -> dict[str, Any]:
    return {
        "instrument": f"CM{number_:03}",
        "kind": "perpetual",
        "underlying": coin,
        "style": "inverse",
        "settlement": coin,
        "qty": signed_qty(row, "usd", "qty"),
        "entry": number(row, "entry"),
        "mark": number(row, "mark"),
    }


def span_scan(case: Case) -> dict[str, Any]:
    """Run arrays of sixteen scenarios: one contract, or several with their quantities, and what is added to them."""
    given = case["input"]
    arrays: Any
    quantities: Any
    if "array" in given:
        arrays, quantities = [given["array"]], [number(given, "qty", default=1)]
    elif "arrays" in given:
        arrays = given["arrays"]
        stated = next((given[name] for name in ("qtys", "quantities", "qty") if name in given), [1] * len(arrays))
        if isinstance(stated, Mapping) and not isinstance(arrays, Mapping):
            raise MarginError("bad_input", "quantities by name are for arrays by name")
        quantities = [stated[name] for name in arrays] if isinstance(stated, Mapping) else stated
        arrays = list(arrays.values()) if isinstance(arrays, Mapping) else arrays
    else:
        legs = field(given, "legs", "positions")
        arrays, quantities = [leg["array"] for leg in legs], [signed_qty(leg, "qty") for leg in legs]
    totals = span.combined(arrays, quantities)
    scan = span.scan_risk(totals)
    names = given.get("scenarios", span.NAMES)
    minimum = number(given, "short_option_minimum", default=0)
    parts = {name: number(given, name, default=0) for name in ("inter_month", "delivery", "option_value")}
    credit = number(given, "inter_commodity_credit", "credit", default=0)
    return {
        "scan_risk": scan,
        "worst_scenario": names[totals.index(min(totals))],
        "totals": totals,
        "array": totals,
        "requirement": span.requirement(scan, credit=credit, minimum=minimum, **parts),
    }


def vega_margin(case: Case) -> dict[str, Any]:
    """Run the parts of Vega's margin that the inputs allow: risk factors, maintenance, levels, funding, orders."""
    given = case["input"]
    values: dict[str, Any] = {}
    if "risk_aversion_lambda" in given or "risk_aversion" in given:
        tau, sigma = number(given, "tau_years", "tau"), number(given, "sigma")
        aversion = number(given, "risk_aversion_lambda", "risk_aversion")
        short, long = vega.risk_factors(aversion, tau, sigma, number(given, "mu", default=0))
        values |= {"risk_factor_short": short, "risk_factor_long": long}
    mm: float | None = None
    if "linear_slippage" in given or "linear_slippage_factor" in given:
        mm = _vega_maintenance(given, values)
    elif "mm" in given or "maintenance" in given:
        mm = number(given, "mm", "maintenance")
    if "s_twap" in given:
        mm = values["total"] = _vega_funding(given, values, mm)
    if mm is not None:
        values |= {"mm": mm, "maintenance": mm} | _vega_levels(given, mm)
    if "margin_factor" in given:
        price, size = number(given, "price", "limit_price", "entry"), abs(number(given, "size", "qty"))
        locked = vega.order_margin_isolated(price, size, number(given, "margin_factor"))
        values |= {"order_margin": locked, "position_margin": locked, "margin": locked}
    if not values:
        raise MarginError("missing_input", "a Vega case needs a risk model, a slippage, a TWAP or a margin factor")
    return values


def _vega_maintenance(given: Mapping[str, Any], values: Mapping[str, Any]) -> float:
    qty, mark = signed_qty(given, "qty", "position"), number(given, "mark", "mark_price")
    names = ("risk_factor_short", "rf_short") if qty < 0 else ("risk_factor_long", "rf_long")
    factor = number({**values, **given}, "risk_factor", *names)
    slippage = number(given, "linear_slippage", "linear_slippage_factor")
    exit_price = number(given, "exit_price", default=inf)
    per_unit = None if exit_price == inf else (mark - exit_price if qty > 0 else exit_price - mark)
    return vega.maintenance(qty, mark, factor, slippage, per_unit)


def _vega_funding(given: Mapping[str, Any], values: dict[str, Any], mm: float | None) -> float:
    f_twap = number(given, "f_twap", default=inf)
    payment = vega.funding_payment(
        number(given, "s_twap"),
        None if f_twap == inf else f_twap,
        delta_t=number(given, "delta_t", default=0),
        interest=number(given, "interest", "interest_rate", default=0),
        clamp_lower=number(given, "clamp_lower", "clamp_lower_bound", default=-inf),
        clamp_upper=number(given, "clamp_upper", "clamp_upper_bound", default=inf),
    )
    values["funding_payment"] = payment
    owed = max(0.0, payment * signed_qty(given, "qty", "position"))
    values["funding_margin"] = number(given, "margin_funding_factor", "funding_factor", default=0) * owed
    return (number(given, "futures_mm", default=0) if mm is None else mm) + float(values["funding_margin"])


def _vega_levels(given: Mapping[str, Any], mm: float) -> dict[str, float]:
    factors = given.get("scaling_factors") or given.get("factors") or given
    names = {
        "search": ("search", "search_level", "search_factor"),
        "initial": ("initial", "initial_margin", "initial_factor"),
    }
    names["release"] = ("release", "collateral_release", "release_factor")
    found = {level: number(factors, *keys, default=-1) for level, keys in names.items()}
    return {level: factor * mm for level, factor in found.items() if factor > 0}


def dederi(case: Case) -> dict[str, Any]:
    """Run Dederi's futures: forward at an annual basis, profit by shock, contingency."""
    given = case["input"]
    index, qty = number(given, "index", "index_price"), signed_qty(given, "qty")
    years = number(given, "days", "days_to_expiry", "dte") / 365.0
    forward = index * exp(number(given, "basis", "abr", "annual_basis") * years)
    shocks = given.get("shocks", [number(given, "shock", default=-0.15)])
    profits = [qty * forward * float(shock) for shock in shocks]
    contingency = number(given, "contingency_factor", "future_contingency_factor", "factor", default=0.006)
    values = {"forward": forward, "futures_price": forward, "pnl": profits[0] if len(profits) == 1 else profits}
    return values | {
        "contingency": contingency * index * abs(qty),
        "future_contingency": contingency * index * abs(qty),
    }


def adl_rank(case: Case) -> dict[str, Any]:
    """Run BitMEX's deleveraging rank."""
    given = case["input"]
    prices = (number(given, "entry"), number(given, "mark"), number(given, "bankruptcy", "bankruptcy_price"))
    share, leverage, place = adl.rank(side_sign(given), *prices)
    return {"pnl_pct": share, "eff_leverage": leverage, "rank": place}


def statistics(case: Case) -> dict[str, Any]:
    """Run a backtest: Kupiec, Christoffersen, or Basel's zones, by what the inputs are."""
    given = case["input"]
    series = next(
        (given[k] for k in ("hits", "sequence", "violations", "exceptions") if isinstance(given.get(k), list)), None
    )
    counts = tuple(integer(given, k) for k in ("n00", "n01", "n10", "n11")) if "n00" in given else None
    if series is not None or counts is not None:
        return _christoffersen(given, series, counts)
    n, p = integer(given, "n"), number(given, "p")
    if "exceptions" not in given and "x" not in given:
        yellow, red = backtest.basel_zones(n, p)
        return {"yellow_from": yellow, "red_from": red}
    test = backtest.kupiec(n, integer(given, "exceptions", "x"), p)
    return {"lr_pof": test.statistic, "p_value": test.p_value}


def _christoffersen(
    given: Mapping[str, Any], series: list[int] | None, counts: tuple[int, ...] | None
) -> dict[str, Any]:
    n00, n01, n10, n11 = counts if counts is not None else backtest.transitions(series or [])
    alone = backtest.independence(n00, n01, n10, n11)
    values: dict[str, Any] = {"lr_ind": alone.statistic, "p_value": alone.p_value, "p_value_ind": alone.p_value}
    values |= {"p_ind": alone.p_value}
    if "p" in given:
        # Of a series every day counts for coverage; of counts, the days that follow another are all there is.
        days, hits = (n00 + n01 + n10 + n11, n01 + n11) if series is None else (len(series), sum(map(bool, series)))
        cover = backtest.kupiec(days, hits, number(given, "p"))
        joint = backtest.joint(cover, alone)
        values |= {"lr_pof": cover.statistic, "p_value_pof": cover.p_value}
        values |= {"lr_cc": joint.statistic, "p_value_cc": joint.p_value, "p_cc": joint.p_value}
    return values | {"n00": n00, "n01": n01, "n10": n10, "n11": n11}
