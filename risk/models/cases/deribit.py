"""Cases of Deribit's models, as the vectors give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from risk.models import deribit_portfolio, deribit_standard
from risk.models.cases.reading import Case, is_call, number, side_sign, signed_qty
from risk.models.deribit_portfolio import DeribitPortfolioParameters
from risk.models.option_margin import option_rule, reservation, short_margin
from risk.models.portfolio import load
from risk.models.result import MarginError, MarginResult

_PARAMETERS: Final = frozenset(DeribitPortfolioParameters.__struct_fields__)


def portfolio_margin(case: Case) -> MarginResult:
    """Run a portfolio-margin reply."""
    currency, index = str(case["currency"]), number(case, "index_price")
    now_s = number(case, "ts_ms") / 1e3
    given = case.get("params", {})
    rows = case["positions"]
    document = {
        "model": "deribit_portfolio",
        "currency": currency,
        "underlyings": {currency: {"spot": index, "expiries": _expiries(rows, now_s)}},
        "positions": [_position(row, currency, now_s) for row in rows],
        "add_ons": dict(case.get("other_margin", {})),
        "parameter_set": "eth_2026_02" if currency == "ETH" else None,
        # A reply states more than the model reads: a haircut of collateral that it does not list.
        "parameters": {key: given[key] for key in sorted(given.keys() & _PARAMETERS)},
    }
    return deribit_portfolio.evaluate(load(document))


def _position(row: Mapping[str, Any], currency: str, now_s: float) -> dict[str, Any]:
    kind = str(row["kind"])
    qty, mark = number(row, "qty_base", "qty"), number(row, "mark")
    found: dict[str, Any] = {"instrument": row["instrument"], "underlying": currency, "qty": qty, "mark": mark}
    if row.get("expiry") is not None:
        found["expiry_s"] = _expiry_s(row, now_s)
    if kind.startswith("inverse"):
        # The reply counts coins: the face in USD at the mark.
        found |= {"style": "inverse", "qty": qty * mark, "settlement": currency}
    elif kind.startswith("linear"):
        found["settlement"] = "USDC"
    if "option" in kind:
        found |= {
            "kind": "option",
            "style": "linear",
            "qty": qty,
            "settlement": row.get("settlement", found.get("settlement", currency)),
        }
        found |= {
            "strike": number(row, "strike"),
            "option_type": "call" if is_call(row) else "put",
            "vol": number(row, "mark_vol", "vol"),
        }
    else:
        found["kind"] = "perpetual" if "perp" in kind else "future"
    return found


def _expiries(rows: list[Mapping[str, Any]], now_s: float) -> list[dict[str, float]]:
    found = {}
    for row in rows:
        if row.get("expiry") is not None and "option" in str(row["kind"]):
            expiry_s = _expiry_s(row, now_s)
            found[expiry_s] = {"expiry_s": expiry_s, "forward": number(row, "forward", "underlying_price")}
    return list(found.values())


def _expiry_s(row: Mapping[str, Any], now_s: float) -> float:
    """Return seconds to expiry, stated as a timestamp in text or in milliseconds since 1970."""
    stated = row["expiry"]
    return (number(row, "expiry") / 1e3 if isinstance(stated, int | float) else epoch_s(str(stated))) - now_s


def standard_margin(case: Case) -> dict[str, Any]:
    """Run a standard-margin case: one option, with or without orders, or the rates of a future of some size."""
    given = case["input"]
    sizes = ("size_coin", "size_btc", "size_eth")
    if any(name in given for name in sizes):
        size = abs(number(given, *sizes))
        rates = deribit_standard.future_rates(deribit_standard.future_rule(str(given["currency"])), size)
        names = ("im_rate", "mm_rate", "im_coin", "mm_coin")
        return dict(zip(names, (*rates, rates[0] * size, rates[1] * size)))
    rule = option_rule(_rule_name(case))[0]
    spot = number(given, "underlying", "index", "spot")
    mark = number(given, "mark_coin") if "mark_coin" in given else number(given, "mark_usd", "mark") / spot
    short = short_margin(rule, is_call(given), spot, number(given, "strike"), mark * spot)
    position = signed_qty(given, "qty", "position")
    initial, maintenance = short if position < 0 else (0.0, 0.0)
    orders = [
        (side_sign(order) * number(order, "qty"), number(order, "limit_coin", "price_coin", default=mark) * spot)
        for order in given.get("open_orders", ())
    ]
    reserved = reservation(position, orders, short[0], mark * spot)
    opening = mark * spot if position > 0 else short[0]
    total = initial * abs(position) + reserved
    return {
        "im_coin": initial / spot,
        "mm_coin": maintenance / spot,
        "im_usd": initial,
        "mm_usd": maintenance,
        "order_im_coin": opening / spot,
        "order_im_usd": opening,
        "open_orders_im_coin": reserved / spot,
        "open_orders_im_usd": reserved,
        "total_im_coin": total / spot,
        "total_im_usd": total,
        "total_mm_coin": maintenance * abs(position) / spot,
        "total_mm_usd": maintenance * abs(position),
    }


def _rule_name(case: Case) -> str:
    """Return the rule of a case's venue; OKX has one a coin."""
    given = case["input"]
    stated = str(given.get("venue") or case.get("venue") or "deribit").lower()
    known = {"bit.com": "bit_com", "bitcom": "bit_com", "lyra": "derive", "okx": f"okx_{_coin(given)}"}
    return known.get(stated, stated)


def _coin(given: Mapping[str, Any]) -> str:
    return str(given.get("currency", "BTC")).lower()


def epoch_s(text: str) -> float:
    """Return seconds since 1970 of a timestamp `YYYY-MM-DDThh:mm:ssZ`; refused in any other form."""
    try:
        day, _, clock = text.removesuffix("Z").partition("T")
        year, month, date = (int(part) for part in day.split("-"))
        hour, minute, second = (float(part) for part in (clock or "0:0:0").split(":"))
    except ValueError as error:
        raise MarginError("bad_input", f"{text!r} is no UTC timestamp") from error
    # Days from the civil calendar, with the year counted from March.
    years = year - (month <= 2)
    months = (month + 9) % 12
    days = 365 * years + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 + date - 1 - 719_468
    return days * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second
