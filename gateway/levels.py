"""From the configuration to what stands above and below accounts, and to the house's terms."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.config import Config, LevelLimits
from gateway.config.history import read_days
from risk import collateral, profiles
from risk.account import Account
from risk.haircuts import HaircutTerms
from risk.house_terms import HouseTerms, Volume
from risk.instrument import units_from_decimal
from risk.joint import NO_STRESS, Days, JointScenarios, Stress
from risk.levels import Hierarchy, Level
from risk.limits import LimitRule, RowTerms
from risk.models import MarginError
from risk.parameter_set import ParameterSet
from risk.periods import PeriodRow, Periods
from risk.scenarios import Grid
from risk.venue_book import BookTerms, SubAccount

if TYPE_CHECKING:
    from decimal import Decimal

NO_WORKING_LIMIT = 1 << 60
NO_RATIOS: Final[Mapping[str, int]] = {}


def house_terms(config: Config, grid: Grid, accounts: Mapping[str, Account]) -> HouseTerms:
    """Return all that the house asks for beside its grid."""
    house = config.house
    cap = {account.name: profiles.offset_cap(account.profiles, house.offset_cap) for account in config.account}
    hierarchy = Hierarchy(
        len(accounts),
        _levels(config),
        {accounts[account.name].index: account.desk for account in config.account if account.desk is not None},
        {accounts[name].index: RowTerms(offset_cap=share) for name, share in cap.items() if share},
    )
    return HouseTerms(
        joint=joint_scenarios(config, grid),
        hierarchy=hierarchy,
        volumes={v.underlying: Volume(v.adv_usd, v.daily_vol, v.half_spread) for v in house.volume},
        impact=house.impact,
        concentration_z=house.concentration_z,
        participation=house.participation,
        mpor_days=house.mpor_days,
        periods=periods_of(config),
        least_delta=house.least_delta,
        haircuts=haircut_terms(config, accounts, hierarchy),
        counts_sizes=any(account.profiles for account in config.account),
    )


def haircut_terms(
    config: Config, accounts: Mapping[str, Account], hierarchy: Hierarchy | None = None
) -> HaircutTerms | None:
    """Return what of equity does not count; None where all does. Raises ValueError for a set that is not known."""
    house, by = config.house, None
    eligible = _eligible(config, accounts, hierarchy)
    if house.collateral_set is not None:
        try:
            by, _ = collateral.rules(house.collateral_set)
        except MarginError as error:
            raise ValueError(str(error)) from error
        if house.collateral_eligible:
            by = msgspec.structs.replace(by, eligible=house.collateral_eligible)
    if by is None and not (house.venue_netting_haircut or house.location_rate or eligible):
        return None
    return HaircutTerms(rules=by, netting=house.venue_netting_haircut, location=house.location_rate, eligible=eligible)


def _eligible(
    config: Config, accounts: Mapping[str, Account], hierarchy: Hierarchy | None
) -> dict[int, tuple[str, ...]]:
    """Return the collateral that profiles take by row of the kernel; of a level what all below it take."""
    found: dict[int, tuple[str, ...]] = {}
    for each in config.account:
        own = profiles.constraints(each.profiles)
        if own is None or own.eligible is None:
            continue
        index = accounts[each.name].index
        found[index] = own.eligible.assets
        for row in () if hierarchy is None else hierarchy.above(index):
            taken = found.get(row, own.eligible.assets)
            found[row] = tuple(sorted(set(taken) & set(own.eligible.assets)))
    return found


def periods_of(config: Config) -> Periods:
    """Return the margin periods of the house, by product and venue. Raises ValueError where they are no table."""
    rows = (PeriodRow(one.days, one.product or "", one.venue or "") for one in config.house.period)
    return Periods(config.house.mpor_days, rows)


def profile_days(config: Config) -> tuple[float, ...]:
    """Return the least margin periods of all profiles that bind an account, as far as they are above the house's."""
    names = {name for account in config.account for name in account.profiles}
    house = periods_of(config).lengths[0]
    return tuple(sorted({days for name in names if (days := profiles.profile(name).least_mpor_days or 0.0) > house}))


def joint_scenarios(
    config: Config,
    grid: Grid,
    history: Days | None = None,
    given: ParameterSet | None = None,
    ratio_bps: Mapping[str, int] = NO_RATIOS,
) -> JointScenarios | None:
    """Return the joint scenarios; None where nothing is configured, and no margin parameters are given.

    Their points stand beside the days of the configured `history` (read where it is not given), which so is a floor;
    they are of the periods that the parameters say, and never of shorter ones than the house's.

    With an offset cap, the grid's own moves of all coins at once belong to them: what is offset must be bounded.
    """
    s = config.stress
    stress = Stress(
        spike_moves=s.spike_spot_moves,
        spike_vol=s.spike_vol_move,
        peg_moves=s.peg_moves,
        default_moves=s.default_moves,
        default_loss=s.default_loss,
        at_venue=s.at_venue,
        funding_rate=s.funding_rate,
        funding_periods=s.funding_periods,
    )
    has_stress = bool(s.spike_spot_moves or s.peg_moves or s.default_moves or s.funding_rate)
    days = dict(history_of(config) if history is None else history)
    house = periods_of(config)
    if given is not None:
        days |= {f"point {name}": moves for name, moves in given.days(ratio_bps).items()}
    if not (days or has_stress or config.house.offset_cap):
        return None
    return JointScenarios(
        days=days,
        day_vols=s.history_vol_moves,
        stress=stress if has_stress else NO_STRESS,
        venues=tuple(venue.name for venue in config.venue),
        everything=tuple(zip(grid.spot.tolist(), grid.vol.tolist())) if config.house.offset_cap else (),
        periods=house,
        points={f"point {name}": moves for name, moves in given.longer(ratio_bps).items()} if given else None,
        point_periods=given.periods.raised_to(house) if given else house,
    )


def history_of(config: Config) -> Days:
    """Return the configured days of history. Raises ValueError where its file can not be read."""
    file = config.stress.history_file
    return {} if file is None else read_days(file)


def set_up_account(account: Account, config: Config) -> None:
    """Give an account the constraints of its profiles, and its accounts at venues."""
    (own,) = [each for each in config.account if each.name == account.name]
    account.constraints = profiles.constraints(own.profiles, config.house.mpor_days, periods_of(config).lengths[0])
    account.sub_accounts = {
        sub.venue: SubAccount(
            book_name(sub.venue, sub.model, sub.parameter_set),
            {currency: units_from_decimal(amount) for currency, amount in sub.collateral.items()} or None,
        )
        for sub in own.sub_account
    }


def book_name(venue: str, model: str, parameter_set: str | None) -> str:
    """Return the name of a venue's book: accounts with the same terms share one."""
    return "/".join([venue, model, parameter_set or "-"])


def venue_books(config: Config, accounts: Mapping[str, Account]) -> tuple[BookTerms, ...]:
    """Return the books of all venue sub-accounts."""
    found: dict[str, BookTerms] = {}
    for account in config.account:
        for sub in account.sub_account:
            name = book_name(sub.venue, sub.model, sub.parameter_set)
            book = BookTerms(name=name, venue=sub.venue, model=sub.model, parameter_set=sub.parameter_set, leverage={})
            book = found.setdefault(name, book)
            if sub.leverage is not None:
                book.leverage[accounts[account.name].index] = sub.leverage
    return tuple(found.values())


def _levels(config: Config) -> list[Level]:
    found = [
        Level(kind="firm", name=firm.name, terms=_terms(firm.limits), rules=_rules(firm.limits)) for firm in config.firm
    ]
    return found + [
        Level(kind="desk", name=desk.name, terms=_terms(desk.limits), rules=_rules(desk.limits), firm=desk.firm or "")
        for desk in config.desk
    ]


def _terms(limits: LevelLimits) -> RowTerms:
    return RowTerms(
        max_order_notional=_limit(limits.max_order_notional_usd),
        max_gross_notional=_limit(limits.max_gross_notional_usd),
        max_net_notional=_limit(limits.max_net_notional_usd),
        max_margin=_limit(limits.max_margin_usd),
        max_working_orders=NO_WORKING_LIMIT if limits.max_working_orders is None else limits.max_working_orders,
    )


def _rules(limits: LevelLimits) -> tuple[LimitRule, ...]:
    return tuple(
        LimitRule(entry.symbol or entry.pattern or "", 0.0, float(entry.max_position_quantity))
        for entry in limits.instrument
    )


def _limit(amount: Decimal | None) -> float:
    return inf if amount is None else float(amount)
