"""Cases of tiered venues: liquidation prices, inverse contracts, tier tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from risk.models.cases.reading import Case, field, integer, number, side_sign
from risk.models.liquidation import Leg, bankruptcy_price, liquidation_price
from risk.models.parameters import names
from risk.models.result import MarginError
from risk.models.tiered import VenueRule, venue_rule
from risk.models.tiers import PPM, TierTable, deduction, open_interest_fraction, rounded_up, rows_of

_ALIASES: Final = {
    "mcs.io": "mcs", "dydx_v4": "dydx", "gateio": "gate", "gate.io": "gate", "hyper": "hyperliquid", "okex": "okx",
    "binance_usdm": "binance", "binance_um": "binance", "binance_cm": "binance_coin", "binance_coinm": "binance_coin",
}  # fmt: skip


def rule_of(case: Case) -> tuple[str, VenueRule]:
    """Return the rule of a case's venue, and its name; `a/b` names venues that share one.

    A venue that is not known has the generic rule, and the values say so under `rule`.
    """
    stated = str(case.get("venue") or case["input"].get("venue") or "generic").lower()
    first = stated.split("/")[0]
    known = _ALIASES.get(first, first)
    chosen = known if known in names("tiered") else "generic"
    return chosen, venue_rule(chosen)[0]


def _table(given: Mapping[str, Any], rule: VenueRule, entry: float) -> TierTable:
    """Return the tiers that a case states: a whole table, one tier with its deduction, or a largest leverage."""
    if "tiers" in given:
        rows = rows_of(given["tiers"])
        return TierTable.of_leverage(rows) if rule.tier_unit == "leverage" else TierTable(rows)
    if "max_leverage" in given:
        return TierTable.of_leverage([[0.0, number(given, "max_leverage")]])
    taken = number(given, "maint_amount", "deduction", "cum", default=0)
    return TierTable.single(number(given, "mmr", "mm_rate"), taken, number(given, "im_rate", "imr", default=0))


_MONEY: Final = ("wallet_balance", "account_value", "isolated_margin", "stake_amount", "margin", "balance")


def _leg(given: Mapping[str, Any], rule: VenueRule, is_inverse: bool) -> Leg:
    entry = number(given, "entry", "entry_price", "price", "open_rate")
    # A margin stated in money belongs to some size; a leverage is the same for all.
    some = None if any(name in given for name in _MONEY) else 1.0
    qty = side_sign(given) * abs(number(given, "qty", "contracts_usd", "amount", "size", default=some))
    fee = number(given, "taker_fee", "fee", default=rule.taker_fee) if rule.counts_closing_fee else 0.0
    return Leg(qty=qty, entry=entry, tiers=_table(given, rule, entry), fee=fee, basis=rule.basis, is_inverse=is_inverse)


def liquidation(case: Case) -> dict[str, Any]:
    """Run a liquidation price of a linear (or inverse-style) position, isolated or cross."""
    given, (chosen, rule) = case["input"], rule_of(case)
    mode = str(case.get("mode") or given.get("mode") or "cross")
    if mode not in ("cross", "isolated"):
        raise MarginError("bad_input", f"mode is {mode!r}: there are cross and isolated")
    is_inverse = "inverse" in str(case.get("contract", given.get("contract", "")))
    targets = next((given[name] for name in ("target", "targets", "legs", "positions") if name in given), given)
    legs = [_leg(t, rule, is_inverse) for t in (targets if isinstance(targets, list) else [targets])]
    values: dict[str, Any] = {"rule": chosen}
    others = [_other(other, rule) for other in given.get("others", ())]
    values["other_mm"], values["other_upnl"] = (sum(o[k] for o in others) for k in (0, 1))
    wallet = _wallet(given, legs, mode == "isolated")
    resting = wallet - values["other_mm"] + values["other_upnl"]
    at_entry = sum(leg.value(leg.entry_x) for leg in legs)
    initial = _initial(given, legs, wallet, at_entry)
    maintenance = sum(leg.maintenance(leg.entry_x) for leg in legs)
    values |= {"im": initial, "mm": maintenance, "available": wallet - initial}
    values["margin_available"] = wallet - maintenance
    price = liquidation_price(legs, resting)
    bankrupt = bankruptcy_price(legs, wallet + values["other_upnl"])
    values |= {"liq_price": price, "liquidation_price": price, "bankruptcy_price": bankrupt}
    if price is not None:
        x = 1.0 / price if is_inverse else price
        values["gap"] = resting + sum(leg.profit(x) - leg.maintenance(x) for leg in legs)
    return values


def _wallet(given: Mapping[str, Any], legs: Sequence[Leg], is_isolated: bool) -> float:
    """Return what stands behind the position: the account in cross mode, its own margin in isolated mode."""
    order = ("isolated_margin", "stake_amount", "margin") if is_isolated else ("wallet_balance", "account_value")
    for name in (*order, "wallet_balance", "account_value", "balance"):
        if given.get(name) is not None:
            return number(given, name) + number(given, "extra_margin", default=0)
    at_entry = sum(leg.value(leg.entry_x) for leg in legs)
    return at_entry / number(given, "leverage") + number(given, "extra_margin", default=0)


def _initial(given: Mapping[str, Any], legs: Sequence[Leg], wallet: float, at_entry: float) -> float:
    if "leverage" in given:
        return at_entry / number(given, "leverage")
    rates = max(leg.tiers.at(leg.value(leg.entry_x)).imr for leg in legs)
    return at_entry * rates if rates else wallet


def _other(given: Mapping[str, Any], rule: VenueRule) -> tuple[float, float]:
    leg = _leg(given, rule, is_inverse=False)
    mark = number(given, "mark", "mark_price")
    return leg.maintenance(mark), leg.profit(mark)


def inverse(case: Case) -> dict[str, Any]:
    """Run an inverse case: profit, margins at a price, liquidation price in cross or isolated mode."""
    given = case["input"]
    face = side_sign(given) * abs(number(given, "contracts_usd", "contracts", "qty"))
    values: dict[str, Any] = {}
    if "mark" in given and "entry" in given:
        leg = Leg(qty=face, entry=number(given, "entry"), tiers=TierTable.single(0.0), is_inverse=True)
        values["upnl_btc"] = values["upnl_coin"] = leg.profit(1.0 / number(given, "mark"))
    if "margin_init" in given:
        values |= _leveraged(given, abs(face))
    if "mmr" in given and "entry" in given:
        values |= _inverse_liquidation(given, face)
    elif "mmr" in given and "mark" in given:
        taken = number(given, "maint_amount", "deduction", "cum", default=0)
        values["mm_btc"] = values["mm"] = TierTable.single(number(given, "mmr"), taken).maintenance(
            abs(face) / number(given, "mark")
        )
    if not values:
        raise MarginError("missing_input", "an inverse case needs mark, margin_init or mmr")
    return values


def _leveraged(given: Mapping[str, Any], face: float) -> dict[str, float]:
    coins = face / number(given, "price", "entry") / number(given, "leverage", default=1)
    init, maint = number(given, "margin_init"), number(given, "margin_maint", default=0)
    fee = number(given, "taker_fee", default=0)
    usd = face / number(given, "leverage", default=1)
    found = {"im_btc": coins * (init + fee), "mm_btc": coins * (maint + fee)}
    return found | {"im_usd_quote_mode": usd * (init + fee), "mm_usd_quote_mode": usd * (maint + fee)}


def _inverse_liquidation(given: Mapping[str, Any], face: float) -> dict[str, Any]:
    """Bybit's old cross rule: maintenance at entry, and the fee of closing at the bankruptcy price."""
    entry, fee = number(given, "entry"), number(given, "taker_fee", "fee", default=0)
    value = abs(face) / entry
    if "balance_btc" in given or "balance" in given:
        wallet = number(given, "balance_btc", "balance") - number(given, "order_margin_btc", default=0)
    else:
        return _inverse_isolated(given, face, value, fee)
    tiers = TierTable.single(number(given, "mmr"), number(given, "maint_amount", "deduction", default=0))
    charged = Leg(qty=face, entry=entry, tiers=tiers, fee=fee, is_inverse=True, basis="entry")
    bankrupt = bankruptcy_price([charged], wallet)
    closing = 0.0 if bankrupt is None else abs(face) * fee / bankrupt
    leg = Leg(qty=face, entry=entry, tiers=tiers, is_inverse=True, basis="entry")
    price = liquidation_price([leg], wallet - closing)
    return _inverse_values(leg, price, bankrupt, value / number(given, "leverage") if "leverage" in given else wallet)


def _inverse_isolated(given: Mapping[str, Any], face: float, value: float, fee: float) -> dict[str, Any]:
    """Bybit's isolated rule: maintenance at entry; where a fee is stated (2026), at the price, after the fee."""
    initial = value / number(given, "leverage")
    extra = number(given, "extra_margin", "extra_margin_btc", default=0) / (1.0 + fee)
    tiers = TierTable.single(number(given, "mmr"), number(given, "maint_amount", "deduction", default=0))
    leg = Leg(qty=face, entry=number(given, "entry"), tiers=tiers, is_inverse=True, basis="mark" if fee else "entry")
    price, bankrupt = liquidation_price([leg], initial + extra), bankruptcy_price([leg], initial + extra)
    return _inverse_values(leg, price, bankrupt, initial)


def _inverse_values(leg: Leg, price: float | None, bankrupt: float | None, initial: float) -> dict[str, Any]:
    value = leg.value(leg.entry_x)
    return {
        "bankruptcy_price": bankrupt,
        "liq_price": price,
        "liquidation_price": price,
        "position_value": value,
        "pv": value,
        "im": initial,
        "mm": leg.maintenance(leg.entry_x),
        "im_btc": initial,
        "mm_btc": leg.maintenance(leg.entry_x),
    }


def tiers(case: Case) -> dict[str, Any]:
    """Run a tier case: a table at a notional, one deduction from the tier before, or growth with open interest."""
    given = case["input"]
    if "base_im_ppm" in given:
        return _open_interest(given)
    if "cum_prev" in given:
        before = (number(given, "mmr_prev"), number(given, "cum_prev"))
        taken = deduction(number(given, "floor"), number(given, "mmr_n", "mmr"), *before)
        values: dict[str, Any] = {"maint_amount": taken}
        if "notional" in given:
            values["mm"] = number(given, "notional") * number(given, "mmr_n", "mmr") - taken
        return values
    chosen, rule = rule_of(case)
    rows = rows_of(field(given, "tiers"))
    table = TierTable.of_leverage(rows) if rule.tier_unit == "leverage" else TierTable(rows)
    values = {"rule": chosen}
    for row, tier in enumerate(table.tiers):
        values |= {f"mmr{row}": tier.mmr, f"deduction{row}": tier.deduction, f"cum{row}": tier.deduction}
        values |= {f"maint_amount{row}": tier.deduction}
    if "notional" in given:
        notional = abs(number(given, "notional"))
        tier = table.at(notional)
        values |= {"mmr": tier.mmr, "maint_amount": tier.deduction, "mm": table.maintenance(notional)}
        values |= {"deduction": tier.deduction, "imr": tier.imr, "im": table.initial(notional, None)}
    return values


def _open_interest(given: Mapping[str, Any]) -> dict[str, Any]:
    base = integer(given, "base_im_ppm")
    lower, upper = (integer(given, name, default=0) for name in ("oi_lower", "oi_upper"))
    fraction = open_interest_fraction(base, lower, upper, integer(given, "oi", default=None if upper else 0))
    notional = Fraction(integer(given, "notional_quantums"))
    share = Fraction(integer(given, "maintenance_ppm", "maintenance_fraction_ppm", "mm_fraction_ppm", default=PPM))
    initial = rounded_up(abs(notional) * fraction)
    maintenance = rounded_up(abs(notional) * Fraction(base, PPM) * share / PPM)
    return {
        "im_quantums": initial,
        "mm_quantums": maintenance,
        "imf_ppm": rounded_up(fraction * PPM),
        "imf": float(fraction),
    }
