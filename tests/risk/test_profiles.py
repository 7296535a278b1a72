"""Profiles only ever tighten, and every refusal names profile and rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import models, profiles
from risk.models import MarginError, Order, house
from risk.profiles import PRODUCTS, Profile
from tests.risk.models.portfolios import DAY_S
from tests.risk.models.test_house import BARE, Document, accounts, document, perpetual

NAMES = profiles.known()
OPTION: Document = {
    "instrument": "O",
    "kind": "option",
    "entry": None,
    "strike": 60_000.0,
    "option_type": "call",
    "expiry_s": 30 * DAY_S,
    "vol": 0.6,
    "mark": 4_000.0,
}
PLAIN = Profile(jurisdiction="here", client_class="any", name="plain")

shares = st.none() | st.floats(0, 1)


@st.composite
def constraints(draw: st.DrawFn) -> Profile:
    """Any profile that is well formed."""
    leverage = draw(st.dictionaries(st.sampled_from(PRODUCTS), st.floats(1, 50), max_size=3))
    return Profile(
        jurisdiction="any",
        client_class="any",
        permitted=tuple(draw(st.sets(st.sampled_from(PRODUCTS)))),
        max_leverage=leverage,
        close_out=draw(shares),
        least_mpor_days=draw(st.none() | st.floats(0.1, 10)),
        least_confidence=draw(st.none() | st.floats(0.9, 0.999)),
        offset_cap=draw(shares),
        anti_procyclicality=tuple(draw(st.sets(st.sampled_from(("buffer", "stress_weight", "ten_year_floor"))))),
        eligible_collateral=draw(st.none() | st.just(()) | st.just(("USD", "BTC"))),
        name=draw(st.sampled_from(("one", "two"))),
    )


def under(given_: Document, *bound: Profile) -> models.MarginResult:
    return profiles.evaluate(models.load(given_), bound)


def with_rules(**fields: Any) -> Profile:
    return msgspec.structs.replace(PLAIN, **fields)


@settings(max_examples=40, deadline=None)
@given(accounts(), st.lists(constraints(), max_size=2))
def test_a_profile_only_ever_tightens(given_: Document, bound: list[Profile]) -> None:
    without, result = under(given_), under(given_, *bound)
    assert result.initial >= without.initial * (1 - 1e-12) and result.maintenance >= without.maintenance * (1 - 1e-12)
    assert result.equity <= without.equity
    assert models.result.total(result.components) == pytest.approx((result.initial, result.maintenance))
    assert profiles.permitted(bound) <= profiles.permitted(bound[:1]) <= frozenset(PRODUCTS)
    p, _ = house.read(models.load(given_))
    strict = profiles.tightened(p, bound)
    assert strict.mpor_days >= p.mpor_days and strict.confidence >= p.confidence and strict.offset_cap <= p.offset_cap


@settings(max_examples=20, deadline=None)
@given(accounts(), constraints(), constraints())
def test_a_second_profile_never_loosens_the_first(given_: Document, first: Profile, second: Profile) -> None:
    """Neither in requirements nor in the order they are named."""
    alone, both = under(given_, first), under(given_, first, second)
    swapped = under(given_, second, first)
    assert both.equity == swapped.equity <= alone.equity
    assert both.initial >= alone.initial * (1 - 1e-12) and both.maintenance >= alone.maintenance * (1 - 1e-12)
    assert both.initial == pytest.approx(swapped.initial, rel=1e-9)
    assert both.maintenance == pytest.approx(swapped.maintenance, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_profile_marks_its_rules(name: str) -> None:
    one = profiles.profile(name)
    binding = {
        "permitted": set(one.permitted) != set(PRODUCTS),
        "max_leverage": bool(one.max_leverage),
        "close_out": one.close_out is not None,
        "least_mpor_days": one.least_mpor_days is not None,
        "least_confidence": one.least_confidence is not None,
        "offset_cap": one.offset_cap is not None,
        "anti_procyclicality": bool(one.anti_procyclicality),
        "eligible_collateral": one.eligible_collateral is not None,
    }
    assert one.name == name and one.rules.keys() == {rule for rule, binds in binding.items() if binds}
    assert all(text[:3] in ("V: ", "M: ", "H: ") for text in one.rules.values())
    given_ = document(perpetual(1.0), perpetual(-15.0, coin="ETH"))
    assert under(given_, one).initial >= under(given_).initial
    # A portfolio names its profiles itself, too.
    by_file = models.evaluate(document(perpetual(1.0), parameters={"profiles": [name]}), with_liquidation=False)
    assert by_file.details["profiles"] == [name]


def test_leverage_caps_and_close_out() -> None:
    retail = profiles.profile("eu_retail_cfd")
    result = under(document(perpetual(1.0), parameters=BARE), retail)
    assert (result.initial, result.maintenance) == pytest.approx((30_000, 15_000))
    assert result.components["eu_retail_cfd: max_leverage"].initial == pytest.approx(18_000)
    japan = profiles.profile("jp_individual")
    option = perpetual(-1.0, **OPTION)
    delta = under(document(option, parameters=BARE), japan)
    assert delta.initial >= 60_000 * 0.5 / 2
    deep = perpetual(1.0, **(OPTION | {"strike": 600_000.0, "mark": 20_000.0}))
    assert under(document(deep, parameters=BARE), japan).initial == pytest.approx(20_000 / 2)
    coin = deep | {"settlement": "BTC", "mark": 0.5}
    assert under(document(coin, parameters=BARE), japan).initial >= 15_000


def test_margin_period_and_confidence_widen_the_moves() -> None:
    given_ = document(perpetual(1.0), parameters=BARE)
    longer = with_rules(least_mpor_days=4.0)
    assert under(given_, longer).initial == pytest.approx(2 * 12_000)
    surer = with_rules(least_confidence=0.995)
    assert under(given_, surer).initial == pytest.approx(12_000 * 4.6041 / 3.7469, rel=1e-4)
    weaker = with_rules(least_mpor_days=0.5, least_confidence=0.9, offset_cap=0.9)
    assert under(given_, weaker).initial == under(given_).initial


def test_offset_cap() -> None:
    given_ = document(perpetual(1.0), perpetual(-20.0, coin="ETH"), parameters=BARE | {"offset_cap": 1.0})
    assert under(given_).initial == pytest.approx(12_000)
    emir = with_rules(offset_cap=0.8)
    assert under(given_, emir).initial == pytest.approx(12_000 + 0.2 * 12_000)


@pytest.mark.parametrize(
    ("mode", "parameters", "factor"),
    [
        ("buffer", {}, 1.25),
        ("buffer", {"buffer_released": 1.0}, 1.0),
        ("buffer", {"buffer_released": 0.4}, 1.15),
        ("stress_weight", {"stressed_scale": 2.0}, 0.75 + 0.25 * 2),
        ("ten_year_floor", {"ten_year_scale": 1.5}, 1.5),
        ("ten_year_floor", {"ten_year_scale": 1.0}, 1.0),
    ],
)
def test_anti_procyclicality(mode: Any, parameters: Document, factor: float) -> None:
    given_ = document(perpetual(1.0), parameters=BARE | parameters)
    one = with_rules(anti_procyclicality=(mode,))
    assert under(given_, one).initial == pytest.approx(12_000 * factor)
    twice = under(given_, one, msgspec.structs.replace(one, name="again"))
    assert twice.initial == pytest.approx(12_000 * factor)


def test_collateral_that_a_profile_does_not_take() -> None:
    pledged = [{"asset": "BTC", "qty": 1.0, "venue": "okx"}, {"asset": "USDT", "qty": 100.0}]
    given_ = document(perpetual(-1.0), collateral=pledged, parameters=BARE)
    bank = profiles.profile("bank_sco60")
    assert under(given_, bank).equity == pytest.approx(1e6)
    # What it hedged is naked then; what hedged nothing asks for no less.
    assert under(given_, bank).initial == pytest.approx(12_000)
    long = document(perpetual(1.0), collateral=pledged, parameters=BARE)
    assert under(long, bank).initial == under(long).initial == pytest.approx(12_000 * 1.95)
    both = profiles.tightened(
        house.read(models.load(given_))[0], (with_rules(eligible_collateral=("USD", "BTC")), bank)
    )
    assert both.eligible == ("USD",)


def order(side: Any, qty: float, instrument: str = "BTC-P", **fields: Any) -> Order:
    return Order(instrument=instrument, venue="okx", side=side, qty=qty, price=60_000.0, **fields)


def refused(given_: Document, orders: list[Order], *bound: Profile) -> profiles.Refusal | None:
    return profiles.check(models.load(given_), orders, bound)


def test_products_that_are_not_permitted() -> None:
    uk = profiles.profile("uk_retail")
    held = document(perpetual(1.0))
    no = refused(held, [order("buy", 1.0)], PLAIN, uk)
    assert no is not None and (no.profile, no.rule) == ("uk_retail", "permitted")
    assert str(no) == "profile uk_retail, rule permitted: BTC-P is a perpetual, permitted: spot"
    # What is held may be reduced, to nothing but not beyond.
    assert refused(held, [order("sell", 1.0)], uk) is None
    assert refused(held, [order("sell", 1.1)], uk) is not None
    assert refused(held, [order("sell", 0.6), order("sell", 0.6)], uk) is not None
    none = with_rules(permitted=())
    assert "nothing" in str(refused(held, [order("buy", 1.0)], none))


@pytest.mark.parametrize(
    ("bound", "rule"),
    [
        (with_rules(), "initial_margin"),
        (with_rules(max_leverage={"perpetual": 1.5}), "max_leverage"),
        (with_rules(anti_procyclicality=("buffer",)), "buffer"),
    ],
)
def test_an_order_that_margin_does_not_cover(bound: Profile, rule: str) -> None:
    given_ = document(cash=30_000.0)
    contract = msgspec.convert(perpetual(0.0), models.portfolio.Position)
    no = refused(given_, [order("buy", 3.0, contract=contract)], bound)
    assert no is not None and (no.profile, no.rule) == ("plain", rule)
    assert refused(given_, [order("buy", 0.1, contract=contract)], bound) is None


def test_profiles_that_refuse_only_together() -> None:
    given_ = document(perpetual(1.0), parameters=BARE, cash=15_500.0)
    longer = with_rules(least_mpor_days=1.44, name="longer")  # 1.2 x 12 000 USD a coin
    buffered = with_rules(anti_procyclicality=("buffer",), name="buffered")  # 1.25 x
    one_more = [order("buy", 0.02)]
    for alone in (longer, buffered):
        assert refused(given_, one_more, alone) is None
    no = refused(given_, one_more, longer, buffered)
    assert no is not None and no.profile == "longer + buffered"


def test_an_order_of_a_short_account_may_reduce_or_better_it() -> None:
    given_ = document(perpetual(10.0), cash=1_000.0)
    assert refused(given_, [order("sell", 1.0)], PLAIN) is None
    assert refused(given_, [order("buy", 1.0)], PLAIN) is not None
    assert refused(given_, [order("buy", 1.0)]) is None  # no profile, nothing to check here
    by_file = document(perpetual(10.0), cash=1_000.0, parameters={"profiles": ["uk_retail"]})
    assert profiles.check(models.load(by_file), [order("buy", 1.0)]) is not None


def test_closing_one_leg_of_a_hedge_is_checked_too() -> None:
    hedged = document(perpetual(5.0), perpetual(-5.0, instrument="other"), cash=10_000.0)
    assert refused(hedged, [order("sell", 5.0)], PLAIN) is not None


def test_the_profiles_of_a_client() -> None:
    assert [one.name for one in profiles.applying("EU", "retail")] == ["eu_retail_cfd"]
    assert [one.name for one in profiles.applying("EU (MiCA only)", "retail")] == ["mica_spot"]
    assert [one.name for one in profiles.applying("JP", "individual")] == ["jp_individual"]
    with pytest.raises(MarginError, match="no_profile: JP, retail"):
        profiles.applying("JP", "retail")


@pytest.mark.parametrize(
    "fields",
    [
        {"close_out": 1.1},
        {"offset_cap": -0.1},
        {"max_leverage": {"perpetual": 0.5}},
        {"least_mpor_days": 0.0},
        {"least_confidence": 1.0},
    ],
)
def test_profiles_that_contradict_themselves(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leverage is at least 1"):
        Profile(jurisdiction="x", client_class="x", **fields)


def test_what_has_no_product() -> None:
    with pytest.raises(MarginError, match="unknown_parameter_set"):
        profiles.profile("none")
    combo = msgspec.convert(perpetual(0.0, kind="combo"), models.portfolio.Position)
    with pytest.raises(MarginError, match="legs of a combo"):
        refused(document(), [order("buy", 1.0, contract=combo)], PLAIN)
