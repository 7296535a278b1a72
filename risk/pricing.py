"""What one lot is worth: linear, inverse, and options by Black-76.

Everything here is float64 in whole currency (not money units) and pure: no clock, so time to expiry is an argument.
Inputs that have no price (NaN, infinite, negative, out of bounds) are refused with a ValueError that names them; no
function returns NaN.
"""

from collections.abc import Sequence
from math import erfc, isfinite, log, sqrt
from typing import Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from risk.instrument import Instrument, Kind

Floats = npt.NDArray[np.float64]
FloatLike = float | Floats

# Currencies whose USD value is taken as constant 1.0: they carry no price risk in the house model (no depeg scenario).
USD_LIKE: Final = frozenset({"USD", "USDC", "USDT"})
# No coin or contract costs this much; a larger number is a broken feed, and products of such numbers stay finite.
MAX_PRICE: Final = 1e12
# Annual fraction. Minutes before expiry venues print 20 and more; a vol in percent is caught by MAX_MODEL_GAP.
MAX_VOL: Final = 1_000.0
MAX_YEARS: Final = 100.0
# A mark further than this share of the underlying from its own model contradicts its own volatility (percent taken
# for a fraction, dollars for coin). Rounding by a venue moves a mark by 0.001 at most.
MAX_MODEL_GAP: Final = 0.10

# USD value of one lot; keeps every product and sum in a margin kernel finite.
MAX_VALUE: Final = 1e18

_ROOT_HALF: Final = sqrt(0.5)


class InstrumentMark(msgspec.Struct, frozen=True, gc=False):
    """What the market says of one instrument.

    mark_price is in the instrument's own price unit (coin for a coin-settled option). forward_price is the USD price
    of the underlying for that expiry (the index for spot and perpetuals), index_price its USD spot index. mark_iv is
    an annual fraction (0.65, not 65), 0.0 where there is none. years_to_expiry is 0.0 where there is none.
    """

    mark_price: float
    forward_price: float
    index_price: float
    mark_iv: float = 0.0
    years_to_expiry: float = 0.0


class Moves(Protocol):
    """The part of a scenario grid that pricing needs: relative moves of spot and volatility, shape (S,)."""

    @property
    def spot(self) -> Floats: ...
    @property
    def vol(self) -> Floats: ...
    @property
    def base(self) -> int: ...


def black76(forward: FloatLike, strike: FloatLike, time_years: FloatLike, vol: FloatLike, is_call: bool) -> Floats:
    r"""Return undiscounted option values on a forward, in its quote currency.

    C = F N(d1) - K N(d2), P = K N(-d2) - F N(-d1), d1,2 = ln(F/K)/sd ± sd/2, sd = vol sqrt(T) (Black 1976). The
    arguments broadcast. vol <= 0 or time_years <= 0 gives the intrinsic value. The result lies inside the no-arbitrage
    bounds: intrinsic <= C <= F, intrinsic <= P <= K.

    Raises
    ------
    ValueError
        If an input is NaN or infinite, a forward is negative, or a strike is not positive.
    """
    f, k, t, v = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (forward, strike, time_years, vol)))
    for name, given in (("forward", f), ("strike", k), ("time_years", t), ("vol", v)):
        if not np.isfinite(given).all():
            raise ValueError(f"black76: {name} is not finite")
    if (f < 0).any():
        raise ValueError("black76: forward is negative")
    if (k <= 0).any():
        raise ValueError("black76: strike is not positive")
    with np.errstate(over="ignore"):
        sd = np.maximum(v, 0.0) * np.sqrt(np.maximum(t, 0.0))
    moves = (sd > 0) & (f > 0)
    # Where nothing can move any more the formula is 0/0: stand-ins go in, and intrinsic value comes out.
    sign = 1.0 if is_call else -1.0
    value = _black76(np.where(moves, f, 1.0), np.where(moves, k, 1.0), np.where(moves, sd, 1.0), sign)
    return np.where(moves, value, np.maximum(f - k if is_call else k - f, 0.0))


def _black76(forward: Floats, strike: FloatLike, sd: Floats, sign: FloatLike) -> Floats:
    """Return `black76` for positive, finite forwards and strikes, positive sd = vol sqrt(T), sign 1 call and -1 put."""
    with np.errstate(over="ignore"):
        ratio = (np.log(forward) - np.log(strike)) / sd
    first = forward * ndtr(sign * (ratio + 0.5 * sd))
    second = strike * ndtr(sign * (ratio - 0.5 * sd))
    intrinsic = np.maximum(sign * (forward - strike), 0.0)
    most = np.where(sign > 0, forward, strike)
    value: Floats = np.minimum(np.maximum(sign * (first - second), intrinsic), most)
    return value


def black76_value(forward: float, strike: float, time_years: float, vol: float, is_call: bool) -> float:
    """Return one option value; the scalar form of `black76`, with the same refusals."""
    for name, given in (("forward", forward), ("strike", strike), ("time_years", time_years), ("vol", vol)):
        if not isfinite(given):
            raise ValueError(f"black76: {name} is not finite")
    if forward < 0:
        raise ValueError("black76: forward is negative")
    if strike <= 0:
        raise ValueError("black76: strike is not positive")
    sign = 1.0 if is_call else -1.0
    intrinsic = max(sign * (forward - strike), 0.0)
    sd = max(vol, 0.0) * sqrt(max(time_years, 0.0))
    if sd <= 0 or forward <= 0:
        return intrinsic
    ratio = (log(forward) - log(strike)) / sd
    first = forward * 0.5 * erfc(-sign * (ratio + 0.5 * sd) * _ROOT_HALF)
    second = strike * 0.5 * erfc(-sign * (ratio - 0.5 * sd) * _ROOT_HALF)
    return min(max(sign * (first - second), intrinsic), forward if is_call else strike)


def black76_delta(forward: float, strike: float, time_years: float, vol: float, is_call: bool) -> float:
    """Return dV/dF of one option, of inputs that `black76_value` takes; at expiry whether it is in the money."""
    deviation = max(vol, 0.0) * sqrt(max(time_years, 0.0))
    if deviation <= 0 or forward <= 0:
        return float(forward > strike) if is_call else -float(forward < strike)
    reached = 0.5 * erfc(-((log(forward) - log(strike)) / deviation + 0.5 * deviation) * _ROOT_HALF)
    return reached if is_call else reached - 1.0


def lot_values(
    instrument: Instrument, mark: InstrumentMark, grid: Moves, settlement_usd: Floats | None = None
) -> Floats:
    """Return the USD value of one long lot in each scenario, shape (S,).

    Linear: amount * price. Inverse: *minus* amount / price, since a fill is credited the face value in coin (see
    risk/instrument.py). Both times the settlement currency's USD value in the same scenario, `settlement_usd`, which
    is by default the mark's own shocked index: give the row that collateral in that currency uses, and the two move
    together exactly.

    Raises
    ------
    ValueError
        If the mark has no usable price, or the contract's settlement does not move with its underlying.
    """
    in_coin = settles_in_coin(instrument)
    refuse_bad_mark(instrument, mark)
    if settlement_usd is None:
        settlement_usd = mark.index_price * (1.0 + grid.spot) if in_coin else np.ones(grid.spot.shape)
    if instrument.kind is Kind.OPTION:
        values, refusals = option_lot_values([instrument], [mark], grid, settlement_usd[None, :])
        if refusals[0] is not None:
            raise ValueError(refusals[0])
        row: Floats = values[0]
        return row
    amount = instrument.lot_amount
    price = mark.mark_price * (1.0 + grid.spot)
    if instrument.is_inverse:
        return -amount / price * settlement_usd
    return amount * price * settlement_usd


def option_lot_values(
    instruments: Sequence[Instrument], marks: Sequence[InstrumentMark], grid: Moves, settlement_usd: Floats
) -> tuple[Floats, list[str | None]]:
    """Return the USD values of one long lot of N options, shape (N, S), and for each why it has none, or None.

    Option prices are shifted so that the base scenario is the mark. The difference between mark and model (rounding,
    the venue's own smile) is carried as a constant, not as a factor: on a far option a mark of one tick against a model
    of a third of it would triple every gain of a long hedge. A long option is never worth less than nothing, so the sum
    stops at zero. settlement_usd is (N, S). The marks are `refuse_bad_mark`'s: checked before.
    """
    rows = [
        (
            mark.forward_price, float(instrument.strike or 0), mark.mark_iv, max(mark.years_to_expiry, 0.0),
            1.0 if instrument.is_call else -1.0, mark.mark_price, instrument.lot_amount,
            instrument.settlement_currency == instrument.underlying,
        )
        for instrument, mark in zip(instruments, marks, strict=True)
    ]  # fmt: skip
    columns = np.array(rows, dtype=np.float64).T[:, :, None]
    forward, strike, vol, years, sign, mark_price, amount, in_coin = columns
    shocked = forward * (1.0 + grid.spot)
    sd = vol * np.sqrt(years) * (1.0 + grid.vol)
    model = np.maximum(sign * (shocked - strike), 0.0)
    can_move = sd[:, 0] > 0  # no move takes all of a volatility away, so a row has one or has none
    if can_move.any():
        model[can_move] = _black76(shocked[can_move], strike[can_move], sd[can_move], sign[can_move])
    # Deribit quotes in coin of the underlying future, so a call is worth at most one coin.
    model /= np.where(in_coin > 0, shocked, 1.0)
    gap = mark_price - model[:, grid.base : grid.base + 1]
    most = MAX_MODEL_GAP * np.where(in_coin > 0, 1.0, forward)
    values: Floats = np.maximum(model + gap, 0.0)
    values *= amount * settlement_usd
    refusals: list[str | None] = [None] * len(rows)
    for row in np.flatnonzero(~(np.abs(gap) <= most)[:, 0]).tolist():
        refusals[row] = (
            f"{instruments[row].symbol}: mark {marks[row].mark_price} is {gap[row, 0]} from its own model at "
            f"iv {marks[row].mark_iv}"
        )
    return values, refusals


def settles_in_coin(instrument: Instrument) -> bool:
    """Return True where a contract settles in its own underlying, False where in a USD-like currency.

    Raises
    ------
    ValueError
        For every other combination (quanto, a coin quoted in another coin): its value moves with two groups.
    """
    settlement = instrument.settlement_currency
    in_usd, in_coin = settlement in USD_LIKE, settlement == instrument.underlying
    quoted_in_usd = instrument.quote_currency in USD_LIKE
    if instrument.kind is Kind.OPTION:
        is_supported = in_usd or in_coin
    elif instrument.is_inverse:
        is_supported = in_coin and quoted_in_usd
    else:
        is_supported = in_usd and quoted_in_usd
    if not is_supported:
        raise ValueError(
            f"{instrument.symbol}: quoted in {instrument.quote_currency}, settled in {settlement}, on "
            f"{instrument.underlying}: not one risk group"
        )
    return in_coin


def refuse_bad_mark(instrument: Instrument, mark: InstrumentMark) -> None:
    """Raise ValueError, naming what is wrong, unless a contract can be priced from a mark."""
    is_option = instrument.kind is Kind.OPTION
    if not instrument.lot_amount > 0:
        raise ValueError(f"{instrument.symbol}: a lot of {instrument.lot_amount} is no amount; use make_instrument")
    for name, given, is_needed in (
        ("mark_price", mark.mark_price, not is_option),
        ("index_price", mark.index_price, True),
        ("forward_price", mark.forward_price, is_option),
    ):
        if not 0 <= given <= MAX_PRICE or (is_needed and given == 0):
            raise ValueError(f"{instrument.symbol}: {name} {given} is not a usable price")
    if not 0 <= mark.mark_iv <= MAX_VOL:
        raise ValueError(f"{instrument.symbol}: mark_iv {mark.mark_iv} is not a usable volatility")
    if not abs(mark.years_to_expiry) <= MAX_YEARS:
        raise ValueError(f"{instrument.symbol}: years_to_expiry {mark.years_to_expiry} is not usable")
    if is_option and mark.years_to_expiry > 0 and mark.mark_iv == 0:
        # Intrinsic value would switch its volatility risk off.
        raise ValueError(f"{instrument.symbol}: an option with time left has no mark_iv")
