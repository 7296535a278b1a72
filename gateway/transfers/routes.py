"""The ways that collateral may take: a configured route, for one account, in the ledger's words and units."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.config import Route as RouteConfig
from risk.collateral_ledger import Location, Place
from risk.instrument import units_from_decimal
from risk.transfers import Route

NS_PER_S: Final = 1_000_000_000


class Way(msgspec.Struct, frozen=True):
    """One route for one account; amounts in units of 1e-8."""

    config: RouteConfig
    source: Location
    target: Location
    mandate_units: int
    reserve_units: int
    flat_fee_units: int
    minimum_units: int
    step_units: int

    @classmethod
    def of(cls, config: RouteConfig, account: str) -> Way:
        """Return a route for an account."""
        amounts = (config.mandate, config.reserve, config.flat_fee, config.minimum, config.step)
        mandate, reserve, fee, minimum, step = (units_from_decimal(amount) for amount in amounts)
        source, target = location_of(config.source, account), location_of(config.target, account)
        return cls(config, source, target, mandate, reserve, fee, minimum, step)

    def route(self, target: Location) -> Route:
        """Return it as the optimiser takes it; `target` is the place that it cures."""
        config = self.config
        return Route(
            config.asset, self.source, target, config.settle_s * NS_PER_S, config.haircut_bps, self.flat_fee_units,
            config.fee_bps, self.minimum_units, self.step_units,
        )  # fmt: skip


def location_of(text: str, account: str) -> Location:
    """Return the location of a place as a configuration has it: `house`, `venue:okx`."""
    kind, _, name = text.partition(":")
    return Location(Place(kind), name, account)
