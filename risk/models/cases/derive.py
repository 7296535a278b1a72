"""Cases of Derive's two models, as the vectors give them, to portfolios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from risk.models import derive_portfolio, derive_standard
from risk.models.cases.reading import Case, flag, is_call, number
from risk.models.portfolio import load
from risk.models.result import MarginError, MarginResult

# The contract's names of the parameters, by group, and ours.
_RENAMED: Final[dict[str, dict[str, str]]] = {
    "margin": {
        "MM_LOSS_FACTOR": "mm_loss_factor",
        "IM_LOSS_FACTOR": "im_loss_factor",
        "SHORT_RATE_MULTSCALE": "short_rate_mult",
        "LONG_RATE_MULTSCALE": "long_rate_mult",
        "SHORT_RATE_ADDSCALE": "short_rate_add",
        "LONG_RATE_ADDSCALE": "long_rate_add",
        "BASE_STATIC_DISCOUNT": "long_static_discount",
        "BASE_STATIC_DISCOUNT_NEG": "short_static_discount",
    },
    "basis_contingency": {
        "SCENARIO_SPOT_UP": "basis_up",
        "SCENARIO_SPOT_DOWN": "basis_down",
        "BASIS_CONT_ADD_FACTOR": "basis_add",
        "BASIS_CONT_MULT_FACTOR": "basis_mult",
    },
    "other_contingency": {
        "PEG_LOSS_THRESHOLD": "peg_threshold",
        "PEG_LOSS_FACTOR": "peg_factor",
        "CONF_THRESHOLD": "confidence_threshold",
        "CONF_MARGIN": "confidence_margin",
        "MM_PERP_PERCENT": "mm_perp",
        "IM_PERP_PERCENT": "im_perp",
        "MM_OPTION_PERCENT": "mm_option",
        "IM_OPTION_PERCENT": "im_option",
    },
    "vol_shock": {
        "VOLRANGEUP": "up",
        "VOLRANGEDOWN": "down",
        "MIN_VOL_EVAL_SHOCKED": "min_up",
        "SHORTTERMPOWER": "short_power",
        "LONGTERMPOWER": "long_power",
        "DTE_FLOOR": "floor_days",
    },
    "skew_shock": {
        "LINEAR_SCALE_CAP": "linear_cap",
        "LINEAR_CBASE": "linear_c",
        "ABS_SCALE_CAP": "abs_cap",
        "ABS_CBASE": "abs_c",
        "MIN_K_STAR": "min_k_star",
        "MIN_WIDTH_SCALE": "width_scale",
        "VOL_PARAM_STATIC": "vol_static",
        "VOL_PARAM_SCALE": "vol_scale",
    },
}


def pmrm2(case: Case) -> MarginResult:
    """Run a case of Derive's portfolio margin."""
    given, perp = case["input"], case["input"].get("perp", {})
    price, confidence = number(perp, "price", default=0), number(perp, "conf", default=1)
    positions: list[dict[str, Any]] = [_option(option, "BASE") for option in given.get("options", ())]
    if perp.get("qty"):
        positions.append(
            {
                "instrument": "PERP",
                "kind": "perpetual",
                "underlying": "BASE",
                "qty": number(perp, "qty"),
                "mark": price,
                "accrued": _accrued(perp),
            }
        )
    market = _market(given)
    if perp.get("qty"):
        market |= {"perp_price": price, "perp_confidence": confidence}
    document = {
        "model": "derive_portfolio",
        # What a perpetual that is flat again still owes or is owed is cash.
        "cash": number(given, "cash", default=0) + (0.0 if perp.get("qty") else _accrued(perp)),
        "stable_price": number(given, "stable_price", default=1),
        "underlyings": {"BASE": market},
        "positions": positions,
        "collateral": [_collateral(held, row) for row, held in enumerate(given.get("collaterals", ()))],
        "parameters": pmrm2_parameters(case.get("params", {})),
    }
    return derive_portfolio.evaluate(load(document))


def _accrued(perp: Mapping[str, Any]) -> float:
    return number(perp, "unrealised_pnl", default=0) + number(perp, "unrealised_funding", default=0)


def pmrm2_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract's parameter groups under our names."""
    found: dict[str, Any] = {}
    for group, values in params.items():
        if group == "scenarios":
            found["scenarios"] = [[spot, vol.lower(), dampening] for spot, vol, dampening in values]
            continue
        if group not in _RENAMED:
            raise MarginError("unknown_input", f"params.{group}")
        names = _RENAMED[group]
        unknown = values.keys() - names.keys()
        if unknown:
            raise MarginError("unknown_input", f"params.{group}.{sorted(unknown)[0]}")
        renamed = {names[key]: value for key, value in values.items()}
        nested = {"vol_shock": "vol_shock", "skew_shock": "skew"}.get(group)
        found |= {nested: renamed} if nested else renamed
    return found


def _option(option: Mapping[str, Any], underlying: str) -> dict[str, Any]:
    expiry_s, strike, kind = number(option, "expiry_s"), number(option, "strike"), "call" if is_call(option) else "put"
    return {
        "instrument": f"{underlying}-{expiry_s!r}-{strike!r}-{kind}",
        "kind": "option",
        "underlying": underlying,
        "qty": number(option, "qty"),
        "expiry_s": expiry_s,
        "strike": strike,
        "option_type": kind,
        "vol": number(option, "mark_vol", "vol"),
    }


def _market(given: Mapping[str, Any]) -> dict[str, Any]:
    expiries = []
    for feed in given.get("expiry_feeds", ()):
        expiry = {
            "expiry_s": number(feed, "expiry_s"),
            "forward": number(feed, "forward"),
            "forward_confidence": number(feed, "forward_conf", default=1),
            "rate": number(feed, "rate", default=0),
            "rate_confidence": number(feed, "rate_conf", default=1),
            "vol_confidence": number(feed, "vol_conf", default=1),
        }
        if (fixed := _fixed(feed)) is not None:
            expiry["fixed"] = fixed
        expiries.append(expiry)
    return {
        "spot": number(given, "spot"),
        "spot_confidence": number(given, "spot_conf", default=1),
        "expiries": expiries,
    }


def _fixed(feed: Mapping[str, Any]) -> float | None:
    """Return what a settlement average has fixed of a forward, where the feed states it or the rest."""
    for name in ("forward_fixed", "forward_fixed_portion", "fixed_portion", "fixed"):
        if feed.get(name) is not None:
            return number(feed, name)
    for name in ("forward_variable", "forward_variable_portion", "variable_portion", "variable"):
        if feed.get(name) is not None:
            return number(feed, "forward") - number(feed, name)
    return None


def _collateral(held: Mapping[str, Any], row: int) -> dict[str, Any]:
    return {
        "asset": str(held.get("asset", f"asset {row}")),
        "qty": number(held, "qty"),
        "price": number(held, "price"),
        "confidence": number(held, "conf", default=1),
        "is_risk_cancelling": flag(held, "risk_cancelling"),
        "mm_haircut": number(held, "mm_haircut", default=0),
        "im_haircut_addon": number(held, "im_haircut_addon", default=0),
    }


def srm(case: Case) -> MarginResult:
    """Run a case of Derive's standard margin; parameters are those of the file's meta where it has them."""
    given = case["input"]
    positions, markets = [], {}
    for row in (*given.get("options", ()), *given.get("perps", ())):
        if row["market"] not in given["markets"]:
            raise MarginError("missing_mark", f"{row['market']}: no market is given")
    for name, feeds in given["markets"].items():
        options = [option for option in given.get("options", ()) if option["market"] == name]
        positions += [_option(option, name) for option in options]
        has_perp = any(perp["market"] == name and number(perp, "qty") for perp in given.get("perps", ()))
        markets[name] = _srm_market(feeds, options, has_perp)
    for perp in given.get("perps", ()):
        positions.append(
            {
                "instrument": f"{perp['market']}-PERP",
                "kind": "perpetual",
                "underlying": perp["market"],
                "qty": number(perp, "qty"),
                "mark": number(given["markets"][perp["market"]], "perp_price"),
                "entry": number(perp, "entry_price"),
                "accrued": number(perp, "unsettled_funding", default=0),
            }
        )
    document = {
        "model": "derive_standard",
        "cash": number(given, "cash", default=0),
        "stable_price": number(given, "stable_price", default=1),
        "underlyings": markets,
        "positions": positions,
        "collateral": [
            {"asset": name, "qty": qty, "price": number(given["markets"][name], "spot")}
            for name, qty in given.get("base", {}).items()
        ],
        "parameters": _srm_parameters(case.get("params", {})),
    }
    return derive_standard.evaluate(load(document))


def _srm_market(feeds: Mapping[str, Any], options: list[Mapping[str, Any]], has_perp: bool) -> dict[str, Any]:
    expiries = []
    for feed in feeds.get("forwards", ()):
        expiry_s = number(feed, "expiry_s")
        # The volatility's confidence stands with the options: an expiry is as sure as the least of them.
        sure = [number(option, "vol_conf", default=1) for option in options if option["expiry_s"] == expiry_s]
        expiry = {"expiry_s": expiry_s, "forward": number(feed, "price"), "vol_confidence": min(sure, default=1.0)}
        expiries.append(expiry | {"forward_confidence": number(feed, "conf", default=1)})
    return {
        "spot": number(feeds, "spot"),
        "spot_confidence": number(feeds, "spot_conf", default=1),
        "perp_price": number(feeds, "perp_price") if has_perp or feeds.get("perp_price") else None,
        "perp_confidence": number(feeds, "perp_conf", default=1),
        "expiries": expiries,
    }


def _srm_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    if not params:
        return {}
    option, oracle, depeg = params["option"], params["oracle_contingency"], params["depeg"]
    return {
        "perp_mm": params["perp_mm"],
        "perp_im": params["perp_im"],
        "option": {
            "high": option["max_spot_req"],
            "low": option["min_spot_req"],
            "mm_call": option["mm_call_spot_req"],
            "mm_put": option["mm_put_spot_req"],
            "mm_put_mark": option["mm_put_mtm_req"],
            "put_floor": option["mm_offset_scale"],
        },
        "unpaired_im": option["unpaired_im_scale"],
        "unpaired_mm": option["unpaired_mm_scale"],
        "perp_confidence": oracle["perp_threshold"],
        "option_confidence": oracle["option_threshold"],
        "base_confidence": oracle["base_threshold"],
        "oracle_factor": oracle["oc_factor"],
        "depeg_threshold": depeg["threshold"],
        "depeg_factor": depeg["factor"],
        "base_margin_factor": params["base_margin_factor"],
        "base_im_scale": params["base_im_scale"],
    }
