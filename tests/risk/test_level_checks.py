"""Levels, profiles and venues on an order's way: what reduces always passes, and what binds only ever tightens."""

from __future__ import annotations

from math import isnan

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import profiles
from risk.account import AccountState
from risk.constraints import Constraints, Rule
from risk.house_terms import HouseTerms, Volume
from risk.instrument import Kind, Side
from risk.joint import JointScenarios, Stress
from risk.levels import Hierarchy, Level
from risk.limits import LimitRule, RowTerms
from risk.order import Approved, Order, Reject, RejectReason
from risk.pre_trade import evaluate
from tests.strategies import ETH_LINEAR, GENERATION, INSTRUMENTS, LINEAR, World, order_of, orders, world, worlds

TIGHT = RowTerms(max_gross_notional=1.0, max_net_notional=1.0, max_margin=1.0)


def desk(terms: RowTerms = TIGHT, rules: tuple[LimitRule, ...] = (LimitRule("*", 0.0, 0.001),)) -> Level:
    return Level(kind="desk", name="d", terms=terms, rules=rules, firm="f")


def decided(order: Order, w: World) -> tuple[RejectReason, str] | None:
    decision = evaluate(order, w.account, w.market)
    return None if type(decision) is Approved else (decision.reason, decision.text)  # type: ignore[union-attr]


@pytest.mark.parametrize("side", list(Side))
def test_an_order_that_reduces_passes_a_desk_beyond_all_its_limits(side: Side) -> None:
    w = world()
    w.give_position(LINEAR, 100 if side is Side.SELL else -100)
    w.give_levels(desk())
    assert decided(order_of(LINEAR, side, 40), w) is None
    assert decided(order_of(LINEAR, side, 100), w) is None
    refused = decided(order_of(LINEAR, Side.BUY if side is Side.SELL else Side.SELL, 1), w)
    assert refused is not None and refused[0] is RejectReason.LEVEL_POSITION and "desk d" in refused[1]
    turned = decided(order_of(LINEAR, side, 250), w)  # beyond flat, and larger than before
    assert turned is not None and turned[0] is RejectReason.LEVEL_POSITION


def test_each_level_is_named_by_its_own_refusal() -> None:
    w = world()
    w.give_levels(desk(RowTerms(), ()))
    assert w.market.hierarchy is not None
    order = order_of(LINEAR, Side.BUY, 10)  # 0.01 BTC
    firm = Level(kind="firm", name="f", terms=RowTerms(max_gross_notional=500.0))
    hierarchy = Hierarchy(2, (desk(RowTerms(), ()), firm), {1: "d"})
    HouseTerms(hierarchy=hierarchy).prepare(w.kernel, GENERATION, INSTRUMENTS)
    w.market.hierarchy = hierarchy
    w.account.mirror_into(w.kernel, {"USDC": 0, "BTC": 1, "ETH": 2})
    refused = evaluate(order, w.account, w.market)
    assert isinstance(refused, Reject) and refused.text.startswith("firm f: gross notional")
    assert (refused.limit, refused.observed) == (500.0, pytest.approx(1_000.0))


def test_an_account_that_may_only_reduce_is_judged_so_by_itself_alone() -> None:
    w = world()
    w.give_position(LINEAR, 100)
    w.give_levels()
    w.account.state = AccountState.REDUCING
    assert decided(order_of(LINEAR, Side.SELL, 50), w) is None
    refused = decided(order_of(LINEAR, Side.BUY, 1), w)
    assert refused is not None and refused[0] is RejectReason.ACCOUNT_REDUCING


def test_another_accounts_debt_stops_new_risk_of_the_whole_desk_and_no_reduction() -> None:
    w = world()
    w.give_position(LINEAR, 100)
    w.give_levels()
    w.kernel.add_cash(0, 0, -2e6)
    refused = decided(order_of(LINEAR, Side.BUY, 1), w)
    assert refused is not None and refused[0] is RejectReason.LEVEL_MARGIN and "desk d" in refused[1]
    assert decided(order_of(LINEAR, Side.SELL, 100), w) is None


def test_a_replacement_is_judged_against_the_order_that_it_replaces() -> None:
    w = world()
    w.give_levels(desk(RowTerms(max_gross_notional=2_000.0, max_working_orders=1), ()))
    working = w.working(order_of(LINEAR, Side.BUY, 15))
    w.account.exposure.release(working)
    for lots, reason in ((20, None), (10, None), (25, RejectReason.LEVEL_GROSS_NOTIONAL)):
        replaced = decided(msgspec.structs.replace(order_of(LINEAR, Side.BUY, lots), replaces=working), w)
        assert (None if replaced is None else replaced[0]) is reason
    w.account.exposure.hold(working)
    second = decided(order_of(LINEAR, Side.SELL, 1), w)
    assert second is not None and second[0] is RejectReason.LEVEL_WORKING_ORDERS


def test_holds_and_fills_reach_each_level_once() -> None:
    w = world()
    w.give_levels()
    working = w.working(order_of(LINEAR, Side.BUY, 15))
    rows = (1, *w.market.above(1))
    assert len(rows) == 3
    assert [w.kernel.position(row, LINEAR) for row in rows] == [(0, 15, 0)] * 3
    w.account.apply_fill(working, 5, working.ticks, 0)
    assert [w.kernel.position(row, LINEAR) for row in rows] == [(5, 10, 0)] * 3
    w.account.exposure.release(working)
    assert [w.kernel.position(row, LINEAR) for row in rows] == [(5, 0, 0)] * 3
    assert [w.kernel.sizes(row)[3] for row in rows] == [0] * 3
    assert w.kernel.position(0, LINEAR) == (0, 0, 0)


# -- profiles ----------------------------------------------------------------------------------------------------------

constraints_drawn = st.builds(
    Constraints,
    forbidden=st.dictionaries(st.sampled_from(Kind), st.just("p"), max_size=2),
    leverage=st.dictionaries(
        st.sampled_from(Kind), st.builds(Rule, st.sampled_from([0.01, 1.0, 2.0, 50.0]), st.just("p"))
    ),
    close_out=st.one_of(st.none(), st.builds(Rule, st.sampled_from([0.3, 1.0]), st.just("p"))),
)


@settings(max_examples=120, deadline=None)
@given(drawn=worlds(), order=orders(), constraints=constraints_drawn)
def test_a_profile_only_ever_tightens(drawn: World, order: Order, constraints: Constraints) -> None:
    drawn.give_levels()
    free = decided(order, drawn)
    drawn.account.constraints = constraints
    bound = decided(order, drawn)
    assert free is None or bound is not None
    if bound is not None and free is None:
        assert bound[1].startswith("profile p, rule ")


@settings(max_examples=60, deadline=None)
@given(drawn=worlds(), order=orders(), caps=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_lower_offset_cap_only_ever_tightens(drawn: World, order: Order, caps: tuple[float, float]) -> None:
    drawn.give_levels()
    least = []
    for cap in sorted(caps):
        drawn.kernel.set_terms(1, RowTerms(offset_cap=cap))
        least.append(drawn.kernel.worst(1))
    assert least[0] <= least[1] or least[0] == pytest.approx(least[1])


def test_profiles_become_constraints() -> None:
    found = profiles.constraints(["eu_retail_cfd", "jp_individual"])
    assert found is not None and found.forbidden == {Kind.OPTION: "eu_retail_cfd"}
    assert found.leverage[Kind.PERPETUAL] == Rule(2.0, "eu_retail_cfd")
    assert found.leverage[Kind.OPTION] == Rule(2.0, "jp_individual")
    assert found.close_out == Rule(0.5, "eu_retail_cfd")
    assert profiles.constraints([]) is None
    assert profiles.offset_cap(["jp_individual"], 0.5) == 0.5
    assert profiles.offset_cap(["emir_ccp_other"], 0.9) == 0.8
    eligible = profiles.constraints(["jp_individual", "umr_bilateral", "bank_sco60"])
    assert eligible is not None and eligible.eligible is not None
    assert eligible.eligible.refusing("BTC") == "umr_bilateral" and not eligible.eligible.refusing("USD")
    with pytest.raises(ValueError, match="nowhere"):
        profiles.constraints(["nowhere"])


def test_what_a_profile_forbids_may_be_reduced() -> None:
    w = world()
    w.give_position(ETH_LINEAR, 50)
    w.give_levels()
    w.account.constraints = Constraints(
        {Kind.PERPETUAL: "spot_only"}, {Kind.PERPETUAL: Rule(1e-9, "p")}, Rule(1.0, "p")
    )
    assert decided(order_of(ETH_LINEAR, Side.SELL, 50), w) is None
    refused = decided(order_of(ETH_LINEAR, Side.SELL, 51), w)
    assert refused is not None and refused[0] is RejectReason.PRODUCT_NOT_PERMITTED
    assert refused[1] == "profile spot_only, rule permitted: ETH_USDC-PERPETUAL is a perpetual"
    w.working(order_of(ETH_LINEAR, Side.SELL, 30))
    assert decided(order_of(ETH_LINEAR, Side.SELL, 30), w) is not None


# -- venues ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", list(Side))
def test_what_reduces_passes_a_venue_that_is_short(side: Side) -> None:
    w = world()
    w.give_position(LINEAR, 100 if side is Side.SELL else -100)
    w.give_venue_book(0)
    assert decided(order_of(LINEAR, side, 60), w) is None
    refused = decided(order_of(LINEAR, Side.BUY if side is Side.SELL else Side.SELL, 1), w)
    assert refused is not None and refused[0] is RejectReason.VENUE_MARGIN_SHORTFALL
    assert refused[1] == "tiered of deribit: initial margin above equity, in USD"


def test_a_venue_counts_the_cash_of_its_own_fills() -> None:
    w = world()
    w.give_venue_book(1_000)
    kernel = w.market.venue_books["b"].kernel
    before = kernel.equity_of_group(1, 0, 0)
    w.give_position(LINEAR, 100)  # at the mark: what was paid is what it is worth
    assert kernel.equity_of_group(1, 0, 0) == pytest.approx(before)
    w.account.move_cash("USDC", 10**8)  # a deposit with the house
    assert kernel.equity_of_group(1, 0, 0) == pytest.approx(before)
    position = w.account.positions[LINEAR]
    w.account.reverse_fill(INSTRUMENTS[LINEAR], Side.BUY, 100, position.cash_units // -100_000, 0)
    assert kernel.position(1, LINEAR)[0] == 0


# -- the tree and the house's terms ------------------------------------------------------------------------------------


def test_a_tree_that_does_not_hold_together_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no desk x"):
        Hierarchy(1, (), {0: "x"})
    with pytest.raises(ValueError, match="there is no firm f"):
        Hierarchy(1, (desk(),), {0: "d"})
    with pytest.raises(ValueError, match="twice"):
        Hierarchy(1, (desk(), desk()), {})
    alone = Hierarchy(2, (Level(kind="desk", name="d", terms=RowTerms()),), {0: "d"})
    assert alone.above(0) == (2,) and alone.above(1) == () == alone.above(99) and alone.has_limits
    assert alone.position_lots(2, INSTRUMENTS[0]) is None


def test_volumes_become_what_closing_costs() -> None:
    terms = HouseTerms(volumes={"BTC": Volume(1e9, 0.03, 2e-4)})
    asked = terms.charges(GENERATION, INSTRUMENTS)
    btc = GENERATION.groups.index("BTC")
    assert asked.group[btc, 0] == 2e-4 and (asked.group[GENERATION.groups.index("ETH")] == 0).all()
    assert (asked.closing > 0).all() and (asked.closing[:3] == asked.notional[:3]).all()
    assert terms.rows(0) == 1 and terms.joint_size == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"days": {"d": {"BTC": -1.0}}}, "above -1"),
        ({"days": {str(n): {} for n in range(4_001)}}, "more than 4000"),
        ({"days": {}, "stress": Stress(default_loss=1.5)}, "0..1"),
        ({"days": {}, "stress": Stress(funding_rate=-0.1)}, "funding"),
        ({"days": {str(n): {"BTC": 0.1} for n in range(4_000)}, "day_vols": (0.0, 0.1, 0.2, 0.3, 0.4)}, "joint"),
    ],
)
def test_bad_scenarios_are_refused(changes: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        JointScenarios(**changes)


def test_joint_scenarios_move_what_they_say() -> None:
    stress = Stress(peg_moves=(-0.1,), default_moves=(-0.2,), default_loss=0.5, funding_rate=0.01)
    joint = JointScenarios(days={"d": {"BTC": 0.1}}, stress=stress, venues=("deribit", "other"))
    at = {name: column for column, name in enumerate(joint.names)}
    assert joint.currency("USDC", 1.0)[at["USDC -0.1"]] == pytest.approx(0.9)
    assert joint.currency("USDT", 1.0)[at["USDC -0.1"]] == 1.0
    spot, _ = joint.moves(INSTRUMENTS[LINEAR])
    assert spot[at["USDC -0.1 repriced"]] == pytest.approx(1 / 0.9 - 1) and spot[at["d vol +0"]] == 0.1
    assert spot[at["default of deribit -0.2"]] == 0.0 and spot[at["default of other -0.2"]] == -0.2
    lost = joint.currency("BTC", 100.0)[at["default of deribit -0.2, collateral lost"]]
    assert lost == pytest.approx(100.0 * 0.8 - 50.0)
    paid = joint.funding(INSTRUMENTS[LINEAR], 1_000.0)
    assert paid[at["funding of deribit, longs"]] == pytest.approx(30.0) and paid[at["funding of other, longs"]] == 0
    assert paid[at["funding of all venues, shorts"]] == pytest.approx(-30.0)
    with pytest.raises(ValueError, match="ETH: no move on d"):
        joint.spot("ETH")
    assert not isnan(paid.sum())
