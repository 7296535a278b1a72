"""The house margin, slow and obvious, for tests: loops, dictionaries, and every subset of fills.

Nothing here is shared with pricing.py or the kernels, so that an error would have to be made twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import erf, log, sqrt

import msgspec

from risk.instrument import Instrument, Kind
from risk.pricing import USD_LIKE, InstrumentMark

# A fill: instrument, signed lots, change of settlement cash.
Fill = tuple[int, float, float]
# More working orders have too many subsets to count.
MAX_ORDERS = 8


class Market(msgspec.Struct):
    """Risk arrays as dictionaries of lists: USD value of one lot, or of one unit of a currency, by scenario."""

    values: dict[int, list[float]]
    currency_values: dict[int, list[float]]
    group_of_instrument: dict[int, int]
    group_of_currency: dict[int, int]
    currency_of_instrument: dict[int, int]

    @property
    def scenarios(self) -> int:
        """How many scenarios there are."""
        return len(next(iter(self.currency_values.values())))


class WorkingOrder(msgspec.Struct, frozen=True):
    """What is left of an order, and of the version asked for while a replace is pending."""

    working: Fill
    asked_for: Fill | None = None


def equity_by_scenario(
    market: Market, positions: Mapping[int, float], cash: Mapping[int, float], fills: Sequence[Fill] = ()
) -> dict[int, list[float]]:
    """Return group -> USD equity in each scenario after `fills`."""
    groups = set(market.group_of_instrument.values()) | set(market.group_of_currency.values())
    rows = {group: [0.0] * market.scenarios for group in groups}
    for s in range(market.scenarios):
        for instrument, lots in positions.items():
            rows[market.group_of_instrument[instrument]][s] += lots * market.values[instrument][s]
        for currency, amount in cash.items():
            rows[market.group_of_currency[currency]][s] += amount * market.currency_values[currency][s]
        for instrument, lots, moved in fills:
            currency = market.currency_of_instrument[instrument]
            rows[market.group_of_instrument[instrument]][s] += lots * market.values[instrument][s]
            rows[market.group_of_currency[currency]][s] += moved * market.currency_values[currency][s]
    return rows


def worst_after(
    market: Market, positions: Mapping[int, float], cash: Mapping[int, float], fills: Sequence[Fill] = ()
) -> float:
    """Return the worst equity after `fills`: every group in its own worst scenario."""
    return sum(min(row) for row in equity_by_scenario(market, positions, cash, fills).values())


def worst_of_all_fills(
    market: Market, positions: Mapping[int, float], cash: Mapping[int, float], orders: Sequence[WorkingOrder]
) -> float:
    """Return the least of `worst_after` over every combination of what each working order may have filled."""
    if len(orders) > MAX_ORDERS:
        raise ValueError(f"{len(orders)} orders have too many subsets")
    return min(worst_after(market, positions, cash, fills) for fills in _combinations(orders))


def _combinations(orders: Sequence[WorkingOrder]) -> Iterator[list[Fill]]:
    if not orders:
        yield []
        return
    for rest in _combinations(orders[1:]):
        for outcome in outcomes(orders[0]):
            yield outcome + rest


def outcomes(order: WorkingOrder) -> list[list[Fill]]:
    """Return the extreme outcomes of one order: nothing, all, all of the new, or the old and the rest of the new."""
    ends: list[list[Fill]] = [[], [order.working]]
    if order.asked_for is not None:
        ends.append([order.asked_for])
        instrument, lots, cash = order.asked_for
        left = abs(lots) - abs(order.working[1])
        if left > 0:
            ends.append([order.working, (instrument, lots * left / abs(lots), cash * left / abs(lots))])
    return ends


def partial(order: WorkingOrder, first: float, second: float) -> list[Fill]:
    """Return a partial outcome: a share `first` of the working version, then a share of what the other then leaves."""
    instrument, lots, cash = order.working
    fills: list[Fill] = [(instrument, first * lots, first * cash)]
    if order.asked_for is not None and order.asked_for[1]:
        _, asked_lots, asked_cash = order.asked_for
        left = max(0.0, abs(asked_lots) - first * abs(lots)) / abs(asked_lots)
        fills.append((instrument, second * left * asked_lots, second * left * asked_cash))
    return fills


def black76(forward: float, strike: float, time_years: float, vol: float, is_call: bool) -> float:
    """Return the undiscounted value of an option on a forward, as the textbook writes it."""
    deviation = vol * sqrt(time_years)
    if deviation == 0:
        return max(forward - strike, 0.0) if is_call else max(strike - forward, 0.0)
    d1 = log(forward / strike) / deviation + deviation / 2
    d2 = d1 - deviation
    if is_call:
        return forward * normal_cdf(d1) - strike * normal_cdf(d2)
    return strike * normal_cdf(-d2) - forward * normal_cdf(-d1)


def normal_cdf(x: float) -> float:
    """Return the standard normal distribution function."""
    return (1 + erf(x / sqrt(2))) / 2


def lot_value(instrument: Instrument, mark: InstrumentMark, spot_move: float, vol_move: float) -> float:
    """Return the USD value of one long lot after a relative move of spot and of volatility."""
    amount = float(instrument.lot_size) * float(instrument.contract_size)
    settlement_usd = 1.0
    if instrument.settlement_currency not in USD_LIKE:
        settlement_usd = mark.index_price * (1 + spot_move)
    if instrument.kind is Kind.OPTION:
        return amount * _option_price(instrument, mark, spot_move, vol_move) * settlement_usd
    price = mark.mark_price * (1 + spot_move)
    if instrument.is_inverse:
        return -(amount / price) * settlement_usd
    return amount * price * settlement_usd


def _option_price(instrument: Instrument, mark: InstrumentMark, spot_move: float, vol_move: float) -> float:
    assert instrument.strike is not None and instrument.is_call is not None
    prices = []
    for spot, vol in ((0.0, 0.0), (spot_move, vol_move)):
        forward = mark.forward_price * (1 + spot)
        usd = black76(
            forward,
            float(instrument.strike),
            max(mark.years_to_expiry, 0.0),
            mark.mark_iv * (1 + vol),
            instrument.is_call,
        )
        prices.append(usd if instrument.settlement_currency in USD_LIKE else usd / forward)
    today, shocked = prices
    return max(0.0, shocked + (mark.mark_price - today))
