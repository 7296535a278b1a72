"""The house margin a second time, slow and obvious, for tests: one venue, one coin, one scenario at a time.

Documents in, figures out. Nothing here is shared with risk/models, so that an error would have to be made twice.
"""

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

from risk.reference import black76
from risk.reference_margin import VolMove, profit, scaled_vol, unmoved

HOME = "house"
YEAR_S = 365 * 86_400

Document = Mapping[str, Any]
# coin -> (spot move, volatility move); a coin that is not listed stays.
Moves = Mapping[str, tuple[float, VolMove]]


def counted(value: float, price: float, rule: Mapping[str, Any]) -> float:
    """Return what a USD value held of an asset counts for: dollar slices, each at its haircut and the peg's."""
    off_peg = 0.0
    for below, added in rule.get("peg", []):
        if price < below:
            off_peg = max(off_peg, added)
    tiers, total = rule.get("tiers", [[0.0, 0.0]]), 0.0
    for row, (floor, haircut) in enumerate(tiers):
        end = tiers[row + 1][0] if row + 1 < len(tiers) else max(value, floor)
        total += max(0.0, min(value, end) - floor) * max(0.0, 1 - haircut - off_peg)
    return total


def holdings(document: Document) -> Iterator[tuple[str, str, float, float]]:
    """Yield (venue, asset, quantity, USD price): cash and collateral, each asset of a venue once."""
    amounts = {(HOME, document["currency"]): document.get("cash", 0.0)}
    for held in document.get("collateral", []):
        place = held.get("venue", ""), held["asset"]
        amounts[place] = amounts.get(place, 0.0) + held["qty"]
    for (venue, asset), qty in amounts.items():
        yield venue, asset, qty, price_of(document, asset)


def price_of(document: Document, asset: str) -> float:
    """Return an asset's USD price."""
    if asset in document["underlyings"]:
        return float(document["underlyings"][asset]["spot"])
    return 1.0 if asset == "USD" else float(document.get("stable_price", 1.0))


def unpaid(document: Document, position: Mapping[str, Any]) -> tuple[str, float]:
    """Return the asset a contract pays in and its USD value: an option's mark, a future's profit since entry."""
    pays = position["underlying"] if position.get("style") == "inverse" else position.get("settlement", "USD")
    qty, mark, entry = position["qty"] * position.get("contract_size", 1.0), position["mark"], position.get("entry")
    if position["kind"] == "option":
        amount = qty * mark
    elif position.get("style") == "inverse":
        amount = qty / entry - qty / mark + position.get("accrued", 0.0)
    else:
        amount = qty * mark - qty * entry + position.get("accrued", 0.0)
    return pays, amount * price_of(document, pays)


class House:
    """A document with its parameters (as in the TOML file, overrides applied) and collateral rules by asset."""

    def __init__(self, document: Document, p: Mapping[str, Any], rules: Mapping[str, Any], widened: float) -> None:
        self.document, self.p, self.widened = document, p, widened
        self.rules = {asset: rules.get(asset, {"tiers": [[0.0, 1.0]]}) for asset in self._assets()} | dict(rules)
        self.venues = sorted({row[0] for row in holdings(document)} | {v.get("venue", "") for v in self.positions})
        coins = {row[1] for row in holdings(document) if row[1] in document["underlyings"] and row[2]}
        self.coins = sorted(coins | {held["underlying"] for held in self.positions})

    @property
    def positions(self) -> list[Mapping[str, Any]]:
        """Contracts, no two of one kind."""
        return list(self.document["positions"])

    def _assets(self) -> set[str]:
        return {row[1] for row in holdings(self.document)} | {unpaid(self.document, p)[0] for p in self.positions}

    def equity_at(self, venue: str, moves: Mapping[str, float] | None = None) -> float:
        """Return what a venue's collateral counts for after assets moved."""
        total, moved = 0.0, moves or {}
        for place, asset, qty, price in holdings(self.document):
            if place == venue:
                after = price * (1 + moved.get(asset, 0.0))
                if qty > 0:
                    everywhere = sum(q for _, a, q, _ in holdings(self.document) if a == asset and q > 0)
                    total += counted(everywhere * after, after, self.rules[asset]) * qty / everywhere
                else:
                    total += qty * after
        return total

    def gains(self, venue: str, haircut: bool = True) -> dict[str, float]:
        """Return by asset the value of a venue's contracts; with `haircut`, gains less it."""
        total: dict[str, float] = {}
        for held in self.positions:
            if held.get("venue", "") == venue:
                asset, value = unpaid(self.document, held)
                total[asset] = total.get(asset, 0.0) + value
        return {a: v - max(0.0, v) * self.first_haircut(a) if haircut else v for a, v in total.items()}

    def first_haircut(self, asset: str) -> float:
        """Return what a first dollar of an asset loses."""
        return 1 - counted(1e-9, price_of(self.document, asset), self.rules[asset]) / 1e-9

    def equity(self) -> float:
        """Return equity in USD."""
        return sum(self.equity_at(venue) + sum(self.gains(venue).values()) for venue in self.venues)

    def assets_profit(self, venue: str, moves: Mapping[str, float]) -> float:
        """Return what moves of assets do to a venue's collateral and unpaid gains."""
        total = self.equity_at(venue, moves) - self.equity_at(venue)
        for asset, value in self.gains(venue, haircut=False).items():
            change = value * moves.get(asset, 0.0)
            total += change - max(0.0, change) * self.first_haircut(asset)
        return total

    def moved(self, venue: str, moves: Moves) -> float:
        """Return a venue's profit after coins moved."""
        total = self.assets_profit(venue, {coin: move for coin, (move, _) in moves.items()})
        for held in self.positions:
            if held.get("venue", "") == venue and held["underlying"] in moves:
                total += profit(self.in_usd, held, *moves[held["underlying"]])
        return total

    @property
    def in_usd(self) -> Document:
        """The document in an account of dollars."""
        return {**self.document, "currency": "USD"}

    def netted(self, by_venue: Mapping[str, float]) -> float:
        """Return the profit over venues, gains less the haircut of netting."""
        haircut: float = self.p["venue_netting_haircut"]
        return sum(g - max(0.0, g) * haircut for g in by_venue.values())

    def vol_move(self, name: str, shock: Mapping[str, float]) -> VolMove:
        """Return a volatility move of a shock by name."""
        if name == "same":
            return unmoved
        size = shock["up"] if name == "up" else shock["down"]
        sign = 1 if name == "up" else -1
        return scaled_vol(sign, size, shock["short_power"], shock["long_power"], shock["min_up"])

    def scenarios(self) -> Iterator[Moves]:
        """Yield every market scenario."""
        for spot in self.p["grid_moves"]:
            for name in self.p["vols"]:
                vol = self.vol_move(name, self.p["vol_shock"])
                yield dict.fromkeys(self.coins, (spot * self.widened, vol))
                for coin in self.coins:
                    yield {coin: (spot * self.widened, vol)}
        root = sqrt(self.p["mpor_days"])
        for day in self.p.get("history", {}).values():
            for name in self.p["history_vols"]:
                yield {coin: (day[coin] * root, self.vol_move(name, self.p["vol_shock"])) for coin in self.coins}
        for spot in self.p["spike_moves"]:
            yield {coin: (spot * self.widened, self.vol_move("up", self.p["spike_shock"])) for coin in self.coins}

    def market_margin(self) -> float:
        """Return the margin of market scenarios: joint, with the charge for location, and the offset cap."""
        worst, alone = 0.0, dict.fromkeys(self.coins, 0.0)
        room = {v: self.equity_at(v) + sum(self.gains(v).values()) for v in self.venues}
        for moves in self.scenarios():
            by_venue = {venue: self.moved(venue, moves) for venue in self.venues}
            short = sum(max(0.0, -room[v] - gained) for v, gained in by_venue.items() if v != HOME)
            worst = max(worst, self.p["location_rate"] * short - self.netted(by_venue))
            for coin in self.coins:
                if coin in moves:
                    its = {venue: self.moved(venue, {coin: moves[coin]}) for venue in self.venues}
                    alone[coin] = max(alone[coin], -self.netted(its))
        cap = self.p["offset_cap"]
        return float(cap * worst + (1 - cap) * max(worst, sum(alone.values())))

    def stress_loss(self) -> float:
        """Return the worst of defaults, pegs and funding."""
        results = [0.0]
        for gone in self.venues:
            if gone != HOME:
                for move in self.p["default_moves"]:
                    there = dict.fromkeys(self.coins, (move * self.widened, unmoved))
                    left = {v: self.moved(v, there) for v in self.venues}
                    left[gone] = -self.p["default_loss"] * max(0.0, self._exposed(gone))
                    results.append(self.netted(left))
        stables = {asset for asset in self._assets() if self.rules[asset].get("kind") == "stable"}
        for asset in stables:
            for move in self.p["peg_moves"]:
                stays = {v: self.assets_profit(v, {asset: move}) for v in self.venues}
                again = {v: stays[v] + self._repriced(v, asset, move) for v in self.venues}
                results += [self.netted(stays), self.netted(again)]
        return -min(results + list(self._funding()))

    def _exposed(self, venue: str) -> float:
        return self.equity_at(venue) + sum(self.gains(venue, haircut=False).values())

    def _repriced(self, venue: str, asset: str, move: float) -> float:
        total = 0.0
        for held in self.positions:
            if held.get("venue", "") == venue and unpaid(self.document, held)[0] == asset:
                gained = profit(self.in_usd, held, 1 / (1 + move) - 1, unmoved)
                total += gained * (1 + move) * price_of(self.document, asset)
        return total

    def _funding(self) -> Iterator[float]:
        for places in [*({venue} for venue in self.venues), set(self.venues)]:
            for rate in (self.p["funding_spike"], -self.p["funding_spike"]):
                paid = {venue: -rate * self.p["funding_periods"] * self._perpetuals(venue) for venue in places}
                yield self.netted(paid)

    def _perpetuals(self, venue: str) -> float:
        held = [p for p in self.positions if p["kind"] == "perpetual" and p.get("venue", "") == venue]
        sizes = (p["qty"] if p.get("style") == "inverse" else p["qty"] * p["mark"] for p in held)
        return float(sum(sizes))

    def charges(self) -> float:
        """Return liquidity, concentration and funding."""
        p, total = self.p, 0.0
        for coin in self.coins:
            size = sum(self._delta_usd(held) for held in self.positions if held["underlying"] == coin)
            if size:
                market = p["volumes"][coin]
                days = size / (p["participation"] * market["adv_usd"])
                total += size * market["half_spread"]
                total += size * p["impact"] * market["daily_vol"] * sqrt(size / market["adv_usd"])
                total += size * p["concentration_z"] * market["daily_vol"] * max(0.0, sqrt(days) - sqrt(p["mpor_days"]))
        for held in self.positions:
            if held["kind"] == "perpetual":
                signed = held["qty"] if held.get("style") == "inverse" else held["qty"] * held["mark"]
                known = p.get("funding_rates", {}).get(held["instrument"])
                rate = abs(signed) * p["funding_default"] if known is None else max(0.0, signed * known)
                total += rate * p["funding_periods"]
        return total

    def _delta_usd(self, held: Mapping[str, Any]) -> float:
        spot: float = self.document["underlyings"][held["underlying"]]["spot"]
        if held["kind"] != "option":
            coins: float = abs(held["qty"]) / held["mark"] if held.get("style") == "inverse" else abs(held["qty"])
            return coins * spot
        forwards = self.document["underlyings"][held["underlying"]]["expiries"]
        forward = next(e["forward"] for e in forwards if e["expiry_s"] == held["expiry_s"])
        years, is_call = held["expiry_s"] / YEAR_S, held["option_type"] == "call"
        bump = forward * 1e-4
        up, down = (black76(forward + b, held["strike"], years, held["vol"], is_call) for b in (bump, -bump))
        delta = abs(up - down) / (2 * bump) * min(1.0, held["expiry_s"] / 1800)
        return float(max(delta, self.p["least_delta"]) * abs(held["qty"]) * spot)

    def margins(self) -> tuple[float, float]:
        """Return initial and maintenance margin, in USD."""
        scan, charges = max(self.market_margin(), self.stress_loss()), self.charges()
        least = 0.0
        for held in self.positions:
            least += self.p["floor_rate"] * self._delta_usd(held)
            if held["kind"] == "option":
                spot = self.document["underlyings"][held["underlying"]]["spot"]
                least += self.p["short_option_floor"] * max(0.0, -held["qty"]) * spot
        factor = self.p["maintenance_factor"]
        return max(scan + charges, least), max(factor * scan + charges, factor * least)
