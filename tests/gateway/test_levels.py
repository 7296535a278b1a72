"""Firms, desks, profiles, venue sub-accounts and joint scenarios: from the configuration to a client's report."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from gateway.config import ConfigError, parse
from gateway.config.history import read_days
from gateway.levels import joint_scenarios
from gateway.margin.figures import Figures, figures_of
from gateway.slowside.double_buffer import Frame
from gateway.slowside.messages import pack_generation, unpack_generation
from gateway.slowside.process import setup_bytes
from risk.instrument import Side
from risk.repricing import Repricing
from risk.scenarios import Grid
from tests.gateway.rig import BTC, CONFIG, ETH, SECOND, opened

DAYS = '["2020-03-12"]\nBTC = -0.3\nETH = -0.4\n["2021-01-03"]\nBTC = 0.1\nETH = 0.25\n'
DESK = """
[[desk]]
name = "basis"
firm = "house"
[desk.limits]
max_gross_notional_usd = 3000
instrument = [{ pattern = "*", max_position_quantity = 2000 }]
[[firm]]
name = "house"
[firm.limits]
max_margin_usd = 45000
"""
VENUE = 'sub_account = [{ venue = "deribit", model = "deribit_standard", collateral = { BTC = "0.0005" } }]\n'


def with_account(name: str, line: str, more: str = "") -> str:
    return CONFIG.replace(f'[[account]]\nname = "{name}"\n', f'[[account]]\nname = "{name}"\n{line}\n') + more


def told(config: str, directory: Path, quantity: int = 1_000, symbol: str = BTC) -> str | None:
    """What the client is told of an order, or None where it is sent."""
    with opened(directory, config=config) as rig:
        desk = rig.desk().log_on()
        reports = desk.order(symbol=symbol, price=60_000 if symbol == BTC else 2_000, quantity=quantity)
        return reports[0].get(58).decode() if reports else None


def test_the_refusal_names_the_level(tmp_path: Path) -> None:
    config = with_account("alpha", 'desk = "basis"', DESK)
    assert told(config, tmp_path / "a") is None
    position = told(config, tmp_path / "b", 2_010)
    assert position is not None and "LEVEL_POSITION" in position and "desk basis" in position
    gross = told(config.replace("max_position_quantity = 2000", "max_position_quantity = 9000"), tmp_path / "c", 5_000)
    assert gross is not None and "desk basis: gross notional" in gross
    margin = told(config.replace("max_margin_usd = 45000", "max_margin_usd = 1000"), tmp_path / "d", 2_000)
    assert margin is not None and "LEVEL_MARGIN" in margin and "firm house: initial margin above the limit" in margin


def test_accounts_of_a_desk_count_together_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    config = with_account("alpha", 'desk = "basis"', DESK).replace(
        'name = "gamma"\n', 'name = "gamma"\ndesk = "basis"\n'
    )
    with opened(tmp_path, config=config) as rig:
        one, other = rig.desk().log_on(), rig.desk("BETA").log_on()
        assert one.order(symbol=BTC, price=60_000, quantity=1_500) == []
        (report,) = other.order(account="gamma", symbol=BTC, price=60_000, quantity=1_000)
        assert report.get(20001) == b"908"
        kernel, core = rig.core.market.kernel, rig.core
        (desk,) = [row for row, level in core.market.hierarchy.levels.items() if level.kind == "desk"]  # type: ignore[union-attr]
        index = core.ledger.by_symbol[BTC].index
        assert kernel.position(desk, index) == (0, 150, 0) and kernel.sizes(desk)[3] == 1
        rig.now_ns += SECOND
        core.valuation.run(rig.now_ns)
        assert core.market.kernel.position(desk, index) == (0, 150, 0)


def test_a_profile_and_a_venue_are_named(tmp_path: Path) -> None:
    refused = told(with_account("alpha", 'profiles = ["uk_retail"]'), tmp_path / "a")
    assert refused is not None and "profile uk_retail, rule permitted: BTC-PERPETUAL is a perpetual" in refused
    refused = told(with_account("alpha", VENUE), tmp_path / "b", 5_000)
    assert refused is not None and "VENUE_MARGIN_SHORTFALL" in refused
    assert "deribit_standard of deribit: initial margin above equity, in BTC" in refused
    assert told(with_account("alpha", VENUE), tmp_path / "c", 1_000) is None
    refused = told(with_account("alpha", VENUE), tmp_path / "d", 100, ETH)
    assert refused is not None and "in ETH" in refused  # each settlement currency stands alone


@pytest.mark.parametrize("profile", ["emir_ccp_otc", "emir_ccp_other", "emir_gross_omnibus", "cftc_swaps"])
def test_a_profiles_margin_is_asked_on_the_path(profile: str, tmp_path: Path) -> None:
    poor = CONFIG.replace('deposits = { BTC = "2", USDC = "100000" }', 'deposits = { USDC = "500" }')
    bound = poor.replace('[[account]]\nname = "alpha"\n', f'[[account]]\nname = "alpha"\nprofiles = ["{profile}"]\n')
    assert poor != CONFIG and bound != poor
    (taken, refusal), (less, refused) = (largest(text, tmp_path / str(n)) for n, text in enumerate((poor, bound)))
    assert refusal is not None and "MARGIN_SHORTFALL" in refusal
    assert refused is not None and f"profile {profile}, rule " in refused and "initial margin above equity" in refused
    assert 0 < less < taken


def largest(config: str, directory: Path) -> tuple[int, str | None]:
    """Return about the largest order that is taken, and what is told of the first that is not."""
    quantity, refusal = 100, None
    with opened(directory, config=config) as rig:
        desk, taken = rig.desk().log_on(), 0
        while quantity < 100_000:
            reports = desk.order(symbol=BTC, price=60_000, quantity=quantity)
            if reports:
                text = reports[0].get(58)
                assert text is not None
                refusal = text.decode()
                break
            taken, quantity = taken + quantity, quantity * 5 // 4 // 10 * 10
    return taken, refusal


CASH_ONLY = CONFIG.replace('{ BTC = "2", USDC = "100000" }', '{ BTC = "2", USD = "300" }')


def test_collateral_that_a_profile_does_not_take_counts_for_nothing_and_is_named(tmp_path: Path) -> None:
    bound = CASH_ONLY.replace(
        '[[account]]\nname = "alpha"\n', '[[account]]\nname = "alpha"\nprofiles = ["bank_sco60"]\n'
    )
    (taken, _), (less, refused) = (largest(text, tmp_path / str(n)) for n, text in enumerate((CASH_ONLY, bound)))
    assert refused is not None and "PROFILE_COLLATERAL" in refused
    assert "profile bank_sco60, rule eligible_collateral: initial margin above equity without BTC" in refused
    assert 0 < less < taken / 2
    with opened(tmp_path / "c", config=bound) as rig:
        (row,) = [row for row in rig.core.account_rows() if row["account"] == "alpha"]
        assert row["equity"] == pytest.approx(300.0) and row["not_taken"] == {"BTC": "bank_sco60"}
        account = rig.ledger.accounts["alpha"]
        figures = figures_of(account, rig.core.market, rig.core.valuation.generation, rig.now_ns)
        assert isinstance(figures, Figures) and figures.equity == row["equity"]
        told = {one.currency: (one.haircut, one.not_taken_by) for one in figures.collateral}
        assert told["BTC"] == (1.0, "bank_sco60") and told["USD"] == (0.0, "")
        intraday, watched = rig.core.intraday, rig.core.intraday.margin_of("alpha", rig.now_ns)
        assert watched is not None and watched.equity_units == pytest.approx(300 * 10**8)
        assert intraday.price("BTC", rig.now_ns, "alpha") is None  # a pledge of it is declined, and no route brings it
        assert intraday.price("BTC", rig.now_ns, "beta") == intraday.price("BTC", rig.now_ns)
        assert intraday.last_price("USD", "alpha") == 1.0


def test_desks_and_firms_have_what_their_accounts_have_with_haircuts_off(tmp_path: Path) -> None:
    text = CONFIG.replace('{ BTC = "2", USDC = "100000" }', '{ USDC = "100000" }')
    text += '[[desk]]\nname = "basis"\nfirm = "house"\n[[firm]]\nname = "house"\n'
    for name, more in (("alpha", ""), ("beta", 'profiles = ["bank_sco60"]\n')):
        text = text.replace(f'[[account]]\nname = "{name}"\n', f'[[account]]\nname = "{name}"\ndesk = "basis"\n{more}')
    full = text.replace('profiles = ["bank_sco60"]\n', "")
    house = '[house]\ncollateral_set = "house_2026"\nvenue_netting_haircut = 0.2\nlocation_rate = 0.02\n'
    refusals = []
    for number, config in enumerate((full, text + house)):
        with opened(tmp_path / str(number), config=config) as rig:
            instrument, beta = rig.ledger.by_symbol[BTC], rig.ledger.accounts["beta"]
            beta.book_fill(instrument, Side.BUY, 60_000, round(60_000 / instrument.tick), 0)
            rig.now_ns += SECOND
            rig.core.valuation.run(rig.now_ns)
            market, kernel = rig.core.market, rig.core.market.kernel
            assert market.hierarchy is not None
            equity = sum(
                kernel.equity(rig.ledger.accounts[name].index, market.base_scenario) for name in ("alpha", "beta")
            )
            for row in market.hierarchy.levels:
                assert kernel.equity(row, market.base_scenario) == pytest.approx(equity, abs=1e-6)
            refused = rig.desk().log_on().order(symbol=BTC, price=60_000, quantity=100)
            refusals.append([report.get(20001) for report in refused])
    assert refusals == [[], [b"911"]]  # alpha could, and the desk with its haircuts can not


def test_joint_scenarios_and_volumes_ask_for_more(tmp_path: Path) -> None:
    (tmp_path / "days.toml").write_text(DAYS)
    stress = f'[stress]\nhistory_file = "{tmp_path / "days.toml"}"\nfunding_rate = 0.0075\n'
    house = '[house]\n[[house.volume]]\nunderlying = "BTC"\nadv_usd = 1e7\ndaily_vol = 0.03\nhalf_spread = 0.001\n'
    asked = []
    for number, more in enumerate(("", stress, stress + house)):
        with opened(tmp_path / str(number), config=CONFIG + more) as rig:
            desk = rig.desk().log_on()
            assert desk.order(symbol=BTC, price=60_000, quantity=50_000) == []
            asked.append(next(row for row in rig.core.account_rows() if row["account"] == "alpha")["initial_margin"])
            if house in more:
                (report,) = desk.order(symbol=ETH, price=2_000, quantity=100)
                assert b"MARGIN_UNKNOWN" in report.get(58)  # no volume of ETH is known
    assert asked[0] < asked[1] < asked[2]


def test_an_offset_cap_brings_the_grid_into_the_joint_scenarios(tmp_path: Path) -> None:
    grid = Grid((-0.1, 0.0, 0.1), (0.0,))
    config = parse(CONFIG + "[house]\noffset_cap = 0.8\n", tmp_path / "g.toml")
    joint = joint_scenarios(config, grid)
    assert joint is not None and joint.size == 1 + grid.size
    assert joint_scenarios(parse(CONFIG, tmp_path / "g.toml"), grid) is None


WRONG = {
    "a desk that is not there": (with_account("alpha", 'desk = "x"'), 'no \\[\\[desk\\]\\] with the name "x"'),
    "a firm that is not there": (CONFIG + '[[desk]]\nname = "d"\nfirm = "f"\n', "there is no .*firm"),
    "a desk twice": (CONFIG + '[[desk]]\nname = "d"\n' * 2, "another desk"),
    "an unknown profile": (with_account("alpha", 'profiles = ["x"]'), "profile x"),
    "a rate above one": (CONFIG + "[house]\nlocation_rate = 1.5\n", "location_rate"),
    "a venue that is not there": (with_account("alpha", VENUE.replace("deribit\"", "x\"", 1)), "no \\[\\[venue\\]\\]"),
    "one venue twice": (
        with_account("alpha", VENUE.replace("[{", '[{ venue = "deribit", model = "tiered" }, {')), "before this one"
    ),
    "leverage of no use": (with_account("alpha", VENUE.replace("model", "leverage = 5, model")), "no use"),
    "margin on entry": (
        with_account("alpha", VENUE.replace('"deribit_standard"', '"tiered", parameter_set = "bitmex"')), "on entry"
    ),
    "a set of standard margin that is not there": (
        with_account("alpha", VENUE.replace('"deribit_standard"', '"deribit_standard", parameter_set = "dogecoin"')),
        "parameter_set: .*dogecoin",
    ),
    "a period of a venue that is not there": (
        CONFIG + '[[house.period]]\nvenue = "okx"\ndays = 2\n', 'there is no venue "okx"'
    ),
    "a period of nothing": (CONFIG + "[[house.period]]\ndays = 2\n", "neither product nor venue"),
    "a period twice": (CONFIG + '[[house.period]]\nproduct = "option"\ndays = 2\n' * 2, "two margin periods"),
    "a period of a year": (CONFIG + '[[house.period]]\nproduct = "option"\ndays = 365\n', "30 days"),
    "a loss without a move": (CONFIG + "[stress]\ndefault_loss = 0.5\n", "takes default_moves"),
    "no history": (CONFIG + '[stress]\nhistory_file = "nowhere.toml"\n', "can not be read"),
    "an entry that is hidden": (
        CONFIG + '[[desk]]\nname = "d"\n[desk.limits]\ninstrument = [{ pattern = "*", max_position_quantity = 1 }, '
        '{ symbol = "BTC-PERPETUAL", max_position_quantity = 1 }]\n', "never be used"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_hold_together_is_told(case: str, tmp_path: Path) -> None:
    text, expected = WRONG[case]
    with pytest.raises(ConfigError, match=expected):
        parse(text, tmp_path / "g.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 days"),
        ("x = ", "no TOML"),
        ("x = 1", "no table"),
        ("[x]\nBTC = true", "a number"),
        ("[x]\nBTC = -1.0", "above -1"),
        ("[x]\nBTC = 0.1\n[y]\nETH = 0.1", "no move of ETH"),
        ("#" * (5 << 20), "larger"),
    ],
)
def test_a_history_that_is_none_is_told(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "days.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=expected):
        read_days(path)


def test_a_process_of_its_own_prices_joint_scenarios_too(tmp_path: Path) -> None:
    """What is the same for all generations goes there once, and what comes back is what is made here."""
    (tmp_path / "days.toml").write_text(DAYS)
    more = f'[stress]\nhistory_file = "{tmp_path / "days.toml"}"\npeg_moves = [-0.1]\n'
    with opened(tmp_path / "run", config=CONFIG + more) as rig:
        valuation, market = rig.core.valuation, rig.core.market
        valuation.run(rig.now_ns)
        snapshot, made = valuation.snapshot, valuation.generation
        assert snapshot is not None and made is not None and made.joint == 1 + 2 + 4
        setting, max_age_ns, _ = pickle.loads(setup_bytes(valuation.setting, market.mark_max_age_ns))
        there = Repricing(snapshot, max_age_ns, setting)
        while not there.price_some(4):
            pass
        payload = b"".join(bytes(piece) for piece in pack_generation(there.generation(), setting))
        frame = Frame(1, snapshot.number, snapshot.as_of_ns, bytearray(payload))
        taken = unpack_generation(frame, snapshot, valuation.setting)
        for one, other in zip(taken.arrays(), made.arrays(), strict=True):
            assert np.array_equal(one, other, equal_nan=one.dtype == np.float64)
        valuation.take(taken)
        while not valuation.step():
            pass
        assert market.kernel.joint == made.joint
