"""Cases of Derive's two models with other inputs, against loops written from the sheet's formulas."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models
from risk.reference import black76

YEAR_S = 365 * 86_400
CONFIDENCES = st.sampled_from((0.0, 0.2, 0.39, 0.4, 0.54, 0.55, 0.95, 1.0))
STABLE = st.sampled_from((0.5, 0.97, 0.98, 0.999, 1.0, 1.2))
SRM = {
    "perp_mm": 0.05, "perp_im": 0.065,
    "option": {"max_spot_req": 0.15, "min_spot_req": 0.1, "mm_call_spot_req": 0.075, "mm_put_spot_req": 0.075,
               "mm_put_mtm_req": 0.075, "unpaired_im_scale": 1.2, "unpaired_mm_scale": 1.1, "mm_offset_scale": 1.05},
    "oracle_contingency": {"perp_threshold": 0.4, "option_threshold": 0.4, "base_threshold": 0.4, "oc_factor": 0.4},
    "depeg": {"threshold": 0.98, "factor": 1.2}, "base_margin_factor": 0.1, "base_im_scale": 1.0,
}  # fmt: skip


@st.composite
def srm_inputs(draw: st.DrawFn) -> dict[str, Any]:
    markets, options, perps, base = {}, [], [], {}
    for name, spot in (("ETH", 1500.0), ("BTC", 28_000.0)):
        expiries = draw(st.lists(st.sampled_from((3_600, 500_400, 5_184_000)), max_size=2, unique=True))
        forwards = [{"expiry_s": e, "price": spot * draw(st.sampled_from((0.98, 1.0, 1.03))), "conf": draw(CONFIDENCES)}
                    for e in expiries]  # fmt: skip
        markets[name] = {"spot": spot, "spot_conf": draw(CONFIDENCES), "perp_price": spot * 1.003,
                         "perp_conf": draw(CONFIDENCES), "forwards": forwards}  # fmt: skip
        for expiry_s in expiries:
            for strike in draw(st.lists(st.sampled_from((0.5, 0.9, 1.0, 1.2, 2.0)), max_size=3, unique=True)):
                kind = draw(st.sampled_from(("call", "put")))
                options.append({
                    "market": name, "expiry_s": expiry_s, "strike": spot * strike, "type": kind,
                    "qty": draw(st.sampled_from((-10.0, -1.0, -0.3, 0.5, 1.0, 7.0))),
                    "mark_vol": draw(st.sampled_from((0.2, 0.8, 2.0))), "vol_conf": draw(CONFIDENCES),
                })  # fmt: skip
        if draw(st.booleans()):
            perps.append({"market": name, "qty": draw(st.sampled_from((-3.0, 0.1, 2.0))), "entry_price": spot * 0.95,
                          "unsettled_funding": draw(st.sampled_from((-5.0, 0.0, 8.0)))})  # fmt: skip
        if draw(st.booleans()):
            base[name] = draw(st.sampled_from((0.0, 0.5, 4.0)))
    return {"cash": draw(st.sampled_from((-500.0, 0.0, 1e4))), "stable_price": draw(STABLE), "markets": markets,
            "perps": perps, "base": base, "options": options}  # fmt: skip


def srm_net(given: dict[str, Any], is_initial: bool) -> tuple[float, float]:
    """Net margin and mark to market, market by market, expiry by expiry, option by option."""
    net = mtm = given["cash"]
    depeg = max(0.0, 0.98 - given["stable_price"]) * 1.2
    for name, market in given["markets"].items():
        spot, sure = market["spot"], market["spot_conf"]
        for perp in (p for p in given["perps"] if p["market"] == name):
            profit = perp["qty"] * (market["perp_price"] - perp["entry_price"]) + perp["unsettled_funding"]
            net, mtm = net + profit, mtm + profit
            net -= abs(perp["qty"]) * market["perp_price"] * (0.065 if is_initial else 0.05)
            worst = min(sure, market["perp_conf"])
            if is_initial:
                net -= abs(perp["qty"]) * spot * ((1 - worst) * 0.4 * (worst < 0.4) + depeg)
        if owned := given["base"].get(name, 0.0):
            mtm += owned * spot / given["stable_price"]
            net += owned * spot * 0.1
            net -= owned * spot * (1 - sure) * 0.4 * (sure < 0.4) * is_initial
        for feed in market["forwards"]:
            held = [o for o in given["options"] if o["market"] == name and o["expiry_s"] == feed["expiry_s"]]
            if not held:
                continue
            years, isolated, shorts = feed["expiry_s"] / YEAR_S, 0.0, 0.0
            for o in held:
                is_call, strike = o["type"] == "call", o["strike"]
                mark = black76(feed["price"], strike, years, o["mark_vol"], is_call)
                mtm += o["qty"] * mark
                if o["qty"] < 0:
                    shorts -= o["qty"]
                    otm = max(strike - spot, 0.0) if is_call else max(spot - strike, 0.0)
                    low = 0.075 * spot if is_call else max(0.075 * spot, 0.075 * mark)
                    full = max(0.15 * spot - otm, 0.1 * spot) + mark
                    asked = low + mark if not is_initial else full if is_call else max(full, 1.05 * (low + mark))
                    isolated += o["qty"] * asked
            loss = 0.0
            for price in [0.0, *(o["strike"] for o in held)]:
                paid = sum(
                    o["qty"] * max(0.0, (price - o["strike"]) * (1 if o["type"] == "call" else -1)) for o in held
                )
                loss = min(loss, paid)
            calls = sum(o["qty"] for o in held if o["type"] == "call")
            loss += min(0.0, calls) * feed["price"] * (1.2 if is_initial else 1.1)
            net += max(isolated, loss)
            worst = min(sure, feed["conf"], *(o["vol_conf"] for o in held))
            if is_initial:
                net -= shorts * spot * ((1 - worst) * 0.4 * (worst < 0.4) + depeg)
    return net, mtm


@settings(max_examples=60, deadline=None)
@given(srm_inputs())
def test_standard_margin(given: dict[str, Any]) -> None:
    found = models.evaluate_case({"input": given}, defaults=SRM).values
    (im, mtm), (mm, _) = srm_net(given, is_initial=True), srm_net(given, is_initial=False)
    scale = 1e-9 * (1 + abs(im) + abs(mtm) + 28_000)
    assert found["mtm"] == pytest.approx(mtm, rel=1e-9, abs=scale)
    assert found["im_net"] == pytest.approx(im, rel=1e-9, abs=scale)
    assert found["mm_net"] == pytest.approx(mm, rel=1e-9, abs=scale)


# -- portfolio margin

PMRM = {
    "margin": {"MM_LOSS_FACTOR": 0.8, "IM_LOSS_FACTOR": 1.0, "SHORT_RATE_MULTSCALE": 0.5, "LONG_RATE_MULTSCALE": 1.0,
               "SHORT_RATE_ADDSCALE": 0.08, "LONG_RATE_ADDSCALE": 0.08, "BASE_STATIC_DISCOUNT": 0.95,
               "BASE_STATIC_DISCOUNT_NEG": 1.04},
    "basis_contingency": {"SCENARIO_SPOT_UP": 1.045, "SCENARIO_SPOT_DOWN": 0.955, "BASIS_CONT_ADD_FACTOR": 0.5,
                          "BASIS_CONT_MULT_FACTOR": 2.0},
    "other_contingency": {"PEG_LOSS_THRESHOLD": 0.98, "PEG_LOSS_FACTOR": 2.0, "CONF_THRESHOLD": 0.55,
                          "CONF_MARGIN": 1.0, "MM_PERP_PERCENT": 0.015, "IM_PERP_PERCENT": 0.005,
                          "MM_OPTION_PERCENT": 0.003, "IM_OPTION_PERCENT": 0.002},
    "vol_shock": {"VOLRANGEUP": 0.6, "VOLRANGEDOWN": 0.3, "MIN_VOL_EVAL_SHOCKED": 0.45, "SHORTTERMPOWER": 0.3,
                  "LONGTERMPOWER": 0.13, "DTE_FLOOR": 1.0},
    "skew_shock": {"LINEAR_SCALE_CAP": 0.15, "LINEAR_CBASE": -0.05, "ABS_SCALE_CAP": 0.25, "ABS_CBASE": 0.05,
                   "MIN_K_STAR": 0.01, "MIN_WIDTH_SCALE": 4.0, "VOL_PARAM_STATIC": 0.6, "VOL_PARAM_SCALE": -0.1},
    "scenarios": [[1.0, "Up", 1.0], [1.18, "Up", 1.0], [0.82, "Down", 1.0], [1.09, "None", 1.0], [0.91, "Up", 1.0],
                  [1.0, "LINEAR", 1.0], [1.0, "ABS", 1.0], [3.0, "None", 0.018], [0.34, "None", 0.0545]],
}  # fmt: skip


@st.composite
def pmrm_inputs(draw: st.DrawFn) -> dict[str, Any]:
    spot = draw(st.sampled_from((120.0, 3_000.0, 95_650.1545428073)))
    expiries = draw(st.lists(st.sampled_from((0, 600, 7_200, 794_852, 3_214_052, 26_801_252)), max_size=3, unique=True))
    forwards = st.sampled_from((0.99, 1.0, 1.02))
    feeds = [{"expiry_s": e, "forward": spot * draw(forwards), "forward_conf": draw(CONFIDENCES),
              "rate": draw(st.sampled_from((-0.05, 0.0, 0.15, 0.6))), "rate_conf": draw(CONFIDENCES),
              "vol_conf": draw(CONFIDENCES)} for e in expiries]  # fmt: skip
    options = [
        {"expiry_s": e, "strike": spot * strike, "type": kind, "qty": draw(st.sampled_from((-15.0, -1.0, 0.3, 2.0))),
         "mark_vol": draw(st.sampled_from((0.05, 0.5, 1.4)))}
        for e in expiries
        for strike, kind in draw(st.lists(st.tuples(st.sampled_from((0.4, 0.95, 1.0, 1.3, 3.0)),
                                                    st.sampled_from(("call", "put"))), max_size=3, unique=True))
    ]  # fmt: skip
    perp = {
        "qty": 0,
        "price": 0,
        "conf": 0,
        "unrealised_pnl": draw(st.sampled_from((0.0, 7.0))),
        "unrealised_funding": 0.0,
    }
    if draw(st.booleans()):
        perp = {"qty": draw(st.sampled_from((-4.0, 1.0))), "price": spot * 1.01, "conf": draw(CONFIDENCES),
                "unrealised_pnl": draw(st.sampled_from((-600.0, 50.0))), "unrealised_funding": -3.0}  # fmt: skip
    collaterals = [
        {"asset": f"a{n}", "qty": draw(st.sampled_from((0.0, 0.5, 20.0))), "price": draw(st.sampled_from((1.0, spot))),
         "conf": draw(CONFIDENCES), "risk_cancelling": draw(st.booleans()), "mm_haircut": 0.1, "im_haircut_addon": 0.05}
        for n in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    return {"spot": spot, "spot_conf": draw(CONFIDENCES), "stable_price": draw(STABLE),
            "cash": draw(st.sampled_from((-3_000.0, 0.0, 1e5))), "perp": perp, "options": options,
            "expiry_feeds": feeds, "collaterals": collaterals}  # fmt: skip


def value_of(given: dict[str, Any], feed: dict[str, Any], move: float, vol: str) -> float:
    """One expiry's discounted value: the half hour's average is fixed for the part that has passed."""
    seconds, total = feed["expiry_s"], 0.0
    years, days = seconds / YEAR_S, seconds / 86_400
    forward = feed["forward"] * (1 + min(1.0, seconds / 1800) * move)
    power = 0.3 if days <= 30 else 0.13
    scale = (30 / max(days, 1.0)) ** power
    for o in (o for o in given["options"] if o["expiry_s"] == seconds):
        sigma = o["mark_vol"]
        if vol == "Up":
            sigma = max(sigma * (1 + 0.6 * scale), 0.45)
        elif vol == "Down":
            sigma *= max(0.0, 1 - 0.3 * scale)
        elif vol in ("LINEAR", "ABS"):
            base, c = (0.15, -0.05) if vol == "LINEAR" else (0.25, 0.05)
            cap, k = base + c * sqrt(years), log(o["strike"] / feed["forward"])
            k_star = max(0.01, 4 * sqrt(years) * (0.6 - 0.1 * sqrt(years)))
            sigma *= max(0.0, 1 + max(-cap, min(cap, (abs(k) if vol == "ABS" else k) * cap / k_star)))
        total += o["qty"] * black76(forward, o["strike"], years, sigma, o["type"] == "call")
    return total * exp(-max(0.0, feed["rate"]) * years)


def pmrm_scenarios(given: dict[str, Any]) -> list[float]:
    perp, stable, found = given["perp"], given["stable_price"], []
    cancelling = sum(c["qty"] * c["price"] / stable for c in given["collaterals"] if c["risk_cancelling"])
    for multiple, vol, dampening in PMRM["scenarios"]:  # type: ignore[misc]
        gained = (perp["qty"] * perp["price"] + cancelling) * (multiple - 1)
        for feed in given["expiry_feeds"]:
            rate, years, skewed = max(0.0, feed["rate"]), feed["expiry_s"] / YEAR_S, vol in ("LINEAR", "ABS")
            shocked = value_of(given, feed, 0.0 if skewed else multiple - 1, vol)
            if shocked >= 0:
                shocked *= 0.95 * exp(-years * (rate + 0.08))
            else:
                shocked *= min(exp(rate * years), 1.04 * exp(years * (0.5 * rate + 0.08)))
            change = shocked - value_of(given, feed, 0.0, "None")
            gained += -abs(change) if skewed else change
        found.append(gained * dampening)
    return found


def pmrm_net(given: dict[str, Any]) -> tuple[float, float, float]:
    """(initial, maintenance) net margin, and mark to market."""
    spot, stable, perp = given["spot"], given["stable_price"], given["perp"]
    held = [c["qty"] * c["price"] / stable for c in given["collaterals"]]
    mtm = given["cash"] + sum(held) + perp["unrealised_pnl"] + perp["unrealised_funding"]
    basis, sure = 0.0, given["spot_conf"]
    market = min(sure, perp["conf"]) if perp["qty"] else sure
    mm = abs(perp["qty"]) * spot * 0.015
    im = mm + abs(perp["qty"]) * spot * 0.005 + abs(perp["qty"]) * spot * (1 - market) * (market < 0.55)
    for feed in given["expiry_feeds"]:
        now = value_of(given, feed, 0.0, "None")
        mtm += now
        moved = [value_of(given, feed, move, "None") - now for move in (0.045, -0.045)]
        basis += min(0.0, *moved) * (0.5 + 2 * feed["expiry_s"] / YEAR_S)
        own = [o for o in given["options"] if o["expiry_s"] == feed["expiry_s"]]
        naked = sum(max(0.0, -sum(o["qty"] for o in own if o["strike"] == k)) for k in {o["strike"] for o in own})
        mm += naked * spot * 0.003
        im += naked * spot * 0.005
        worst = min(market, feed["forward_conf"], feed["rate_conf"], feed["vol_conf"])
        im += sum(abs(o["qty"]) for o in own) * spot * (1 - worst) * (worst < 0.55)
    for c, value in zip(given["collaterals"], held, strict=True):
        worst = min(sure, c["conf"])
        mm += value * 0.1
        im += value * 0.15 + value * (1 - worst) * (worst < 0.55)
    loss = min(basis, *pmrm_scenarios(given))
    return mtm + loss * (1 + 2 * max(0.0, 0.98 - stable)) - im, mtm + loss * 0.8 - mm, mtm


@settings(max_examples=60, deadline=None)
@given(pmrm_inputs())
def test_portfolio_margin(given: dict[str, Any]) -> None:
    found = models.evaluate_case({"input": given, "params": PMRM}).values
    im, mm, mtm = pmrm_net(given)
    near = {"rel": 1e-8, "abs": 1e-8 * (given["spot"] + abs(im) + abs(mtm))}
    assert found["portfolio_mtm"] == pytest.approx(mtm, **near)
    assert found["scenario_pnl"] == pytest.approx(pmrm_scenarios(given), **near)
    assert found["mm_net"] == pytest.approx(mm, **near)
    assert found["im_net"] == pytest.approx(im, **near)
