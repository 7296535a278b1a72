"""Tables of what stands above and below an account: firms, desks, venue sub-accounts; and of the house's own margin."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import field

from gateway.config.rules import DISTINCT, NOT_EMPTY, Rule, between
from gateway.config.values import FEW_POINTS, MOVE, NAME, PATTERN, SYMBOL, Amount, Currency, Name, Table
from risk.periods import LEAST_DAYS, MOST_DAYS

# A volatility that history or a spike leaves as it is.
DEFAULT_HISTORY_VOL_MOVES = (0.0,)
DEFAULT_SPIKE_VOL_MOVE = 0.0
# Equity is not booked by place: all of it is taken to lie at the exchange that defaults.
DEFAULT_AT_VENUE = 1.0
DEFAULT_LOSS = 0.0
DEFAULT_FUNDING_RATE = 0.0
# Three periods of eight hours: a day.
DEFAULT_FUNDING_PERIODS = 3.0
# Nothing in one coin is offset by another.
DEFAULT_OFFSET_CAP = 0.0
# After docs/margin.md, section house.
DEFAULT_IMPACT = 1.0
DEFAULT_CONCENTRATION_Z = 2.33
DEFAULT_PARTICIPATION = 0.1
DEFAULT_MPOR_DAYS = 1.0
DEFAULT_LEAST_DELTA = 0.1
# Gains at one venue pay for losses at another in full.
DEFAULT_VENUE_NETTING_HAIRCUT = 0.0
# Money is wherever it is needed.
DEFAULT_LOCATION_RATE = 0.0

SHARE = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
NETTING = Rule("from 0 to 0.95", lambda value: 0 <= value <= 0.95)
NOT_NEGATIVE = Rule("from 0 on", lambda value: 0 <= value <= 1e6)
PERIOD = Rule("an hour to 30 days, in days", lambda value: LEAST_DAYS <= value <= MOST_DAYS)
ABOVE_ZERO = Rule("above 0", lambda value: 0 < value <= 1e15)

Move = Annotated[float, MOVE]


class LevelInstrument(Table, frozen=True, kw_only=True):
    max_position_quantity: Annotated[Amount, "The largest position of all accounts, working orders counted as filled."]
    symbol: Annotated[str | None, SYMBOL, "One instrument; this or `pattern`."] = None
    pattern: Annotated[
        str | None, PATTERN, "All instruments of this shape, as BTC-*; the first entry that fits decides."
    ] = None


class LevelLimits(Table, frozen=True, kw_only=True):
    max_order_notional_usd: Annotated[Amount | None, "The largest value of one order; none: the accounts' own."] = None
    max_working_orders: Annotated[int | None, between(1, 10_000_000), "Orders of all accounts at one time."] = None
    max_gross_notional_usd: Annotated[
        Amount | None, "Positions of all contracts, long and short, working orders at their worst."
    ] = None
    max_net_notional_usd: Annotated[Amount | None, "The same, longs and shorts netted over contracts."] = None
    max_margin_usd: Annotated[Amount | None, "The largest initial margin, working orders at their worst."] = None
    instrument: Annotated[
        tuple[LevelInstrument, ...], "Positions by instrument; none: no limit, else what no entry fits is refused."
    ] = ()


NO_LIMITS = LevelLimits()


class Firm(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Named in refusals."]
    limits: Annotated[LevelLimits, "What all its desks may have together."] = NO_LIMITS


class Desk(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "What accounts call it; named in refusals."]
    firm: Annotated[str | None, NAME, "Whose desk it is; none: it stands alone."] = None
    limits: Annotated[LevelLimits, "What all its accounts may have together."] = NO_LIMITS


class SubAccount(Table, frozen=True, kw_only=True):
    venue: Annotated[Name, "The venue, by its name."]
    model: Annotated[
        Literal[
            "tiered",
            "deribit_standard",
            "deribit_portfolio",
            "okx_portfolio",
            "bybit_portfolio",
            "binance_portfolio",
        ],
        "How the venue margins it (docs/margin.md).",
    ]
    parameter_set: Annotated[str | None, NAME, "Which of the model's parameter sets; none: the first."] = None
    leverage: Annotated[
        float | None, ABOVE_ZERO, "The leverage chosen at the venue, of tiered models; none: what the tiers allow."
    ] = None
    collateral: Annotated[
        dict[Currency, Amount], "What of the account lies there besides the cash of its fills; none: all of it."
    ] = field(default_factory=dict)


class Stress(Table, frozen=True, kw_only=True):
    history_file: Annotated[
        Path | None, "TOML: a table a day, coins and their relative moves; used as joint moves of all underlyings."
    ] = None
    history_vol_moves: Annotated[
        tuple[Move, ...], NOT_EMPTY, FEW_POINTS, DISTINCT, "Moves of volatility that each day comes with."
    ] = DEFAULT_HISTORY_VOL_MOVES
    spike_spot_moves: Annotated[tuple[Move, ...], FEW_POINTS, "Spot moves of a spike of volatility."] = ()
    spike_vol_move: Annotated[float, MOVE, "The move of volatility in a spike."] = DEFAULT_SPIKE_VOL_MOVE
    peg_moves: Annotated[tuple[Move, ...], FEW_POINTS, "Moves of a stablecoin against the dollar."] = ()
    default_moves: Annotated[
        tuple[Move, ...], FEW_POINTS, "Moves of all coins while an exchange is gone with its contracts."
    ] = ()
    default_loss: Annotated[float, SHARE, "What is lost of what lies at an exchange that defaults."] = DEFAULT_LOSS
    at_venue: Annotated[float, SHARE, "How much of an account's equity lies there."] = DEFAULT_AT_VENUE
    funding_rate: Annotated[float, SHARE, "A jump of funding, a period, either way."] = DEFAULT_FUNDING_RATE
    funding_periods: Annotated[float, NOT_NEGATIVE, "Periods that it is paid for."] = DEFAULT_FUNDING_PERIODS


class Volume(Table, frozen=True, kw_only=True):
    underlying: Annotated[Name, "The coin."]
    adv_usd: Annotated[float, ABOVE_ZERO, "Its average daily volume."]
    daily_vol: Annotated[float, ABOVE_ZERO, "Its daily volatility, as a share of the price."]
    half_spread: Annotated[float, SHARE, "Half its spread, as a share of the price."]


class Period(Table, frozen=True, kw_only=True):
    days: Annotated[float, PERIOD, "How long until a position is closed."]
    product: Annotated[
        Literal["spot", "perpetual", "future", "option"] | None, "Of this product; none: of every one."
    ] = None
    venue: Annotated[Name | None, "At this venue; none: at every one."] = None


class House(Table, frozen=True, kw_only=True):
    offset_cap: Annotated[float, SHARE, "How much of the offset between coins counts; a profile may only lower it."] = (
        DEFAULT_OFFSET_CAP
    )
    volume: Annotated[
        tuple[Volume, ...],
        "Markets, for liquidity and concentration; none: both ask for nothing, else a coin without one is not priced.",
    ] = ()
    impact: Annotated[float, NOT_NEGATIVE, "k of the impact k sigma sqrt(size / ADV)."] = DEFAULT_IMPACT
    concentration_z: Annotated[
        float, NOT_NEGATIVE, "Standard deviations of a day asked for beyond the margin period."
    ] = DEFAULT_CONCENTRATION_Z
    participation: Annotated[float, ABOVE_ZERO, SHARE, "The share of a day's volume that closing may take."] = (
        DEFAULT_PARTICIPATION
    )
    mpor_days: Annotated[float, ABOVE_ZERO, "The margin period of risk, where no `period` fits."] = DEFAULT_MPOR_DAYS
    period: Annotated[
        tuple[Period, ...],
        "The same by product and venue: one of both before others, of one of each the longer; parameters may only be "
        "of longer ones, and a profile's least is a floor.",
    ] = ()
    least_delta: Annotated[float, SHARE, "The least delta that an option is closed with."] = DEFAULT_LEAST_DELTA
    collateral_set: Annotated[
        str | None, NAME, "Haircuts, tiers and pegs of collateral, by name (docs/margin.md); none: all counts in full."
    ] = None
    collateral_eligible: Annotated[
        tuple[Currency, ...], DISTINCT, "Assets of the set that count at all; none: each that the set knows."
    ] = ()
    venue_netting_haircut: Annotated[
        float, NETTING, "What of gains at one venue does not count against losses elsewhere."
    ] = DEFAULT_VENUE_NETTING_HAIRCUT
    location_rate: Annotated[
        float, SHARE, "What is charged of a venue's losses beyond what counts there (docs/levels.md)."
    ] = DEFAULT_LOCATION_RATE
