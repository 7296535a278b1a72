"""Margin parameters in a gateway: each step journalled, in force as a whole, the same after a crash."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.parameters import decisions
from gateway.parameters.file import hash_of
from gateway.records.parameters import (
    ParametersActivated,
    ParametersProposed,
    ParametersRescaled,
    ParametersShown,
    ParametersStepped,
)
from risk.parameter_life import BY_RULE, ApprovalRules, ParameterError, Stage
from tests.gateway.parameter_rig import (
    PARAMETERS_CONFIG,
    TODAY,
    VERSION,
    coin,
    content_of,
    parameter_set,
    propose,
    put_in_force,
    settle,
)
from tests.gateway.rig import BTC, CONFIG, ETH, MARKS, SECOND, Rig, opened

HOUR = 3_600 * SECOND


@pytest.fixture
def rig(tmp_path: Path):
    with opened(tmp_path / "run", config=PARAMETERS_CONFIG) as made:
        yield made


def margins(rig: Rig) -> dict[str, float | None]:
    return {row["account"]: row["initial_margin"] for row in rig.core.account_rows()}


def test_from_proposal_to_force_and_back(rig: Rig) -> None:
    desk = rig.desk().log_on()
    desk.order(quantity=100_000)
    before = margins(rig)
    number = put_in_force(rig)
    after = margins(rig)
    assert rig.core.valuation.in_force.number == number == rig.ledger.parameters.active
    assert all(after[name] >= before[name] for name in before) and after["alpha"] > 1.05 * before["alpha"]
    effect = {row.account: row for row in rig.core.parameters.effects[number]}
    assert {name: row.margin_after for name, row in effect.items()} == pytest.approx(after, rel=1e-9)
    assert {name: row.margin_before for name, row in effect.items()} == pytest.approx(before, rel=1e-9)
    rig.check_replay()

    assert rig.core.parameters.roll_back(0, "dora", "a mistake", rig.now_ns)
    settle(rig)
    rig.core.valuation.run(rig.now_ns)
    assert margins(rig) == pytest.approx(before) and rig.core.valuation.in_force.number == 0
    assert rig.ledger.parameters.proposals[number].stage is Stage.ROLLED_BACK
    kinds = (ParametersProposed, ParametersShown, ParametersStepped, ParametersActivated)
    assert [type(record) for record in rig.of_type(*kinds)] == [
        ParametersProposed, ParametersShown, ParametersStepped, ParametersStepped, ParametersActivated,
        ParametersShown, ParametersActivated,
    ]  # fmt: skip
    rig.check_replay()


def test_what_acts_is_the_same_after_a_crash_at_each_step(tmp_path: Path) -> None:
    """The gateway dies after any number of steps: the next one stands where it stood, and goes on from there."""
    steps: list[Callable[[Rig], object]] = [
        propose,
        settle,
        lambda rig: rig.core.parameters.approve(1, "boris", "seen", rig.now_ns),
        lambda rig: rig.core.parameters.approve(1, "clara", "seen", rig.now_ns),
        lambda rig: rig.core.parameters.activate(1, "boris", "now", rig.now_ns),
        lambda rig: put_in_force(rig, parameter_set(-0.3)),
        lambda rig: rig.core.parameters.roll_back(1, "dora", "too much", rig.now_ns),
        settle,
    ]
    for crash in range(len(steps) + 1):
        with opened(tmp_path / f"run-{crash}", config=PARAMETERS_CONFIG) as rig:
            for number, step in enumerate(steps):
                if number == crash:
                    told = rig.ledger.parameters.parts()
                    # What only waited in memory to be shown before it comes back is asked for again.
                    rig = rig.restart()
                    assert rig.ledger.parameters.parts() == told
                    assert rig.core.valuation.acting.number == rig.ledger.parameters.active
                    if number == 7:
                        steps[6](rig)
                step(rig)
            rig.core.valuation.run(rig.now_ns)
            book = rig.ledger.parameters
            assert (book.active, rig.core.valuation.in_force.number) == (1, 1)
            assert [one.stage for one in book.proposals.values()] == [Stage.ACTIVE, Stage.ROLLED_BACK]
            rig.check_replay()
            again = rig.restart()
            again.core.valuation.run(again.now_ns)
            assert margins(again) == margins(rig)
            again.journal.close()


def test_a_generation_knows_one_set_alone(rig: Rig) -> None:
    """Orders are checked by the generation before until one that was wholly made by the new set is swapped in."""
    valuation, market = rig.core.valuation, rig.core.market
    desk = rig.desk().log_on()
    desk.order(quantity=100_000)
    valuation.begin(rig.now_ns)
    assert not valuation.step(1)  # one is under way when the new set is put in force
    before = margins(rig)
    number = propose(rig)
    parameters = settle(rig)
    for who in ("boris", "clara"):
        parameters.approve(number, who, "seen", rig.now_ns)
    parameters.activate(number, "boris", "now", rig.now_ns)
    assert margins(rig) == before and market.collar.of_coin == {} and market.haircuts == {}
    while not valuation.step(1):
        pass
    assert margins(rig) == pytest.approx(before) and valuation.in_force.number == 0 and market.haircuts == {}
    valuation.run(rig.now_ns)
    assert valuation.in_force.number == number and margins(rig)["alpha"] > before["alpha"]
    assert market.haircuts == {"BTC": 0.12, "ETH": 0.12} and market.collar.of_coin["BTC"] == (0.04, 0.05)


def test_collars_and_haircuts_act(rig: Rig) -> None:
    desk = rig.desk().log_on()
    assert not desk.order(price=57_500) and rig.link.placed
    index = rig.ledger.by_symbol[BTC].index
    counted = rig.core.intraday.price("BTC", rig.now_ns)
    put_in_force(rig)
    mark = rig.core.market.marks[index]
    assert (mark.collar_low_ticks, mark.collar_high_ticks) == (115_200, 126_000)  # -4 % and +5 % in halves of a dollar
    (report,) = desk.order(price=57_500)
    assert report.get(39) == b"8" and report.get(20001) == b"501"
    rig.mark(BTC, 50_000)
    mark = rig.core.market.marks[index]
    assert (mark.collar_low_ticks, mark.collar_high_ticks) == (96_000, 105_000)
    rig.mark(BTC, 60_000)
    rig.core.valuation.run(rig.now_ns)
    assert counted is not None and rig.core.intraday.price("BTC", rig.now_ns) <= min(counted, 0.88 * 60_000 + 1e-6)
    wide = parameter_set(underlyings={"BTC": coin(haircut=0.5), "ETH": coin()})
    put_in_force(rig, wide)
    assert rig.core.intraday.price("BTC", rig.now_ns) == pytest.approx(30_000)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "other version": (lambda: content_of(parameter_set(), code_version="u"), "made by version u"),
    "other format": (lambda: content_of(parameter_set(), format=9), "format 9"),
    "no set": (lambda: b'{"format": 1}', "no parameter set"),
    "not even JSON": (lambda: b"\xff\x00", "no parameter set"),
    "of tomorrow": (lambda: content_of(parameter_set(as_of_day=TODAY + 1)), "after today"),
    "old data": (lambda: content_of(parameter_set(as_of_day=TODAY - 8)), "8 days ago"),
    "a coin is missing": (lambda: content_of(parameter_set(coins=("BTC",))), "nothing is said of ETH"),
    "a coin that nobody trades": (lambda: content_of(parameter_set(coins=("BTC", "DOGE", "ETH"))), "underlying DOGE"),
    "a small fall": (lambda: content_of(parameter_set(fall=-0.02)), "largest fall, 2.000%, is below"),
    "a small rise": (lambda: content_of(parameter_set(rise=0.02)), "largest rise"),
    "too calm": (lambda: content_of(parameter_set(underlyings={"BTC": coin(0.001), "ETH": coin()})), "volatility"),
    "no haircut": (lambda: content_of(parameter_set(underlyings={"BTC": coin(haircut=0.01), "ETH": coin()})), "hair"),
    "no collar": (
        lambda: content_of(parameter_set(underlyings={"BTC": coin(collar=(0.3, 0.1)), "ETH": coin()})), "collar"),
    "not a number": (lambda: content_of(parameter_set()).replace(b"0.25", b"1e999"), "no parameter set|not -0.99"),
    "a short horizon": (lambda: content_of(parameter_set(horizon_days=0.5)), "margin period of risk"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_act_is_refused_with_its_reason(rig: Rig, name: str) -> None:
    make, reason = REFUSED[name]
    content = make()
    with pytest.raises(ParameterError, match=reason):
        rig.core.parameters.propose(content, hash_of(content), VERSION, "anna", "a fit", rig.now_ns)
    assert not rig.ledger.parameters.proposals and not rig.of_type(ParametersProposed)


def test_another_hash_is_refused(rig: Rig) -> None:
    content = content_of(parameter_set())
    with pytest.raises(ParameterError, match="hash"):
        rig.core.parameters.propose(content + b" ", hash_of(content), VERSION, "anna", "a fit", rig.now_ns)


def test_people(rig: Rig) -> None:
    desk = rig.desk().log_on()
    desk.order(quantity=100_000)
    number = propose(rig)
    parameters = rig.core.parameters
    with pytest.raises(ParameterError, match="no approve"):
        parameters.approve(number, "boris", "blindly", rig.now_ns)
    with pytest.raises(ParameterError, match="no activate"):
        parameters.activate(number, "boris", "blindly", rig.now_ns)
    settle(rig)
    assert rig.ledger.parameters.proposals[number].effect.size > 0.1
    with pytest.raises(ParameterError, match="another person"):
        parameters.approve(number, "anna", "mine", rig.now_ns)
    assert parameters.approve(number, "boris", "seen", rig.now_ns) is Stage.SECONDED
    with pytest.raises(ParameterError, match="no activate"):
        parameters.activate(number, "boris", "alone", rig.now_ns)
    with pytest.raises(ParameterError, match="already"):
        parameters.approve(number, "boris", "twice", rig.now_ns)
    assert parameters.approve(number, "clara", "seen", rig.now_ns) is Stage.APPROVED
    with pytest.raises(ParameterError, match="the same are"):
        propose(rig)
    parameters.activate(number, "boris", "now", rig.now_ns)
    with pytest.raises(ParameterError, match="are in force"):
        parameters.roll_back(number, "dora", "to itself", rig.now_ns)


def test_a_small_change_acts_by_rule_and_a_large_one_does_not(tmp_path: Path) -> None:
    config = CONFIG + "\n[parameters]\nautomatic_within = 0.05\n"
    with opened(tmp_path / "run", config=config) as rig:
        rig.desk().log_on().order(quantity=100_000)
        small = propose(rig, parameter_set(-0.031, 0.031))
        settle(rig)
        one = rig.ledger.parameters.proposals[small]
        assert (one.stage, one.approved_by, rig.ledger.parameters.active) == (Stage.ACTIVE, (BY_RULE,), small)
        large = propose(rig, parameter_set(-0.5, 0.8))
        settle(rig)
        assert rig.ledger.parameters.proposals[large].stage is Stage.SHOWN
        rig.check_replay()


def test_what_a_rule_has_passed_acts_after_a_crash_that_came_between(tmp_path: Path) -> None:
    config = CONFIG + "\n[parameters]\nautomatic_within = 0.05\n"
    with opened(tmp_path / "run", config=config) as rig:
        first = propose(rig, parameter_set(-0.031, 0.031))
        record = decisions.shown(rig.ledger.parameters, rig.core.parameters.rules, first, [], "gateway", rig.now_ns)
        assert record.stage == "approved"
        rig.pipeline.commit(record, rig.now_ns)
        again = rig.restart(now_ns=rig.now_ns + SECOND)
        assert again.ledger.parameters.active == 0
        again.core.parameters.tick(again.now_ns)
        assert again.ledger.parameters.active == first == again.core.valuation.acting.number
        # Another that was passed before others came into force is no longer what was shown: it ends.
        second = propose(again, parameter_set(-0.032, 0.032))
        stale = decisions.shown(
            again.ledger.parameters, again.core.parameters.rules, second, [], "gateway", again.now_ns
        )
        again.pipeline.commit(stale, again.now_ns)
        again.now_ns += SECOND
        put = ParametersActivated(0, "", first, True, "dora", "back")
        again.pipeline.commit(put, again.now_ns)
        again.core.parameters.tick(again.now_ns)
        assert again.ledger.parameters.proposals[second].stage is Stage.REJECTED
        again.check_replay()
        again.journal.close()


def test_what_waits_too_long_expires_and_what_was_shown_before_is_stale(rig: Rig) -> None:
    first, second = propose(rig), propose(rig, parameter_set(-0.3))
    parameters = settle(rig)
    for who in ("boris", "clara"):
        for number in (first, second):
            parameters.approve(number, who, "seen", rig.now_ns)
    rig.now_ns += SECOND
    parameters.activate(first, "boris", "now", rig.now_ns)
    with pytest.raises(ParameterError, match="before others came into force"):
        parameters.activate(second, "boris", "now", rig.now_ns)
    rig.now_ns += 86_401 * SECOND
    with pytest.raises(ParameterError, match="too long ago"):
        parameters.activate(second, "boris", "now", rig.now_ns)
    parameters.tick(rig.now_ns)
    assert rig.ledger.parameters.proposals[second].stage is Stage.EXPIRED
    assert rig.ledger.parameters.proposals[first].stage is Stage.ACTIVE
    rig.check_replay()


def test_who_would_be_short_is_told_before(rig: Rig) -> None:
    """gamma's thousand dollars carry its position today, and not under points that fall by more."""
    desk = rig.desk("BETA").log_on()
    desk.order(account="gamma", quantity=5_000, symbol=BTC)
    number = propose(rig, parameter_set(-0.9, 3.0))
    settle(rig)
    effect = rig.ledger.parameters.proposals[number].effect
    assert effect.made_short == ("gamma",) and effect.accounts == 3
    (shown,) = rig.of_type(ParametersShown)
    assert shown.made_short_count == 1 and shown.worst[0][0] == "gamma"


def test_an_account_whose_margin_is_unknown_takes_two_people(rig: Rig) -> None:
    rig.now_ns += 3600 * SECOND  # all marks are old
    rig.core.valuation.run(rig.now_ns)
    number = propose(rig)
    settle(rig)
    assert set(rig.ledger.parameters.proposals[number].effect.unknown) == {"alpha", "beta"}


def hours_of(rig: Rig, daily: float, hours: int) -> None:
    """Let the marks move as much as makes so volatile a day, up and down in turns."""
    price = dict(MARKS)
    for hour in range(hours):
        rig.now_ns += HOUR
        for symbol in (BTC, ETH):
            price[symbol] *= exp((-1) ** hour * daily / sqrt(24))
            rig.mark(symbol, price[symbol])
        rig.core.parameters.tick(rig.now_ns)


def test_scenarios_follow_the_marks_between_fits(rig: Rig) -> None:
    number = put_in_force(rig)
    points = rig.core.valuation.acting.terms.joint.days
    hours_of(rig, 0.03, 48)
    assert not rig.of_type(ParametersRescaled) or max(rig.ledger.parameters.ratio_bps.values()) <= 10_100
    hours_of(rig, 0.15, 24)
    ratio = rig.ledger.parameters.ratio_bps
    assert 10_500 < ratio["BTC"] == ratio["ETH"] < 15_000
    wider = rig.core.valuation.acting.terms.joint.days
    assert wider["point long all"]["BTC"] < points["point long all"]["BTC"]
    assert rig.core.valuation.acting.collars["BTC"][0] > 0.04
    rig.core.valuation.run(rig.now_ns)
    rig.check_replay()
    again = rig.restart()
    assert again.ledger.parameters.ratio_bps == ratio and again.core.valuation.acting.number == number
    assert again.core.valuation.acting.terms.joint.days == wider
    again.journal.close()


def test_it_does_not_fall_below_what_was_approved_nor_fast_nor_rise_beyond_its_bound(rig: Rig) -> None:
    put_in_force(rig)
    hours_of(rig, 0.001, 72)
    assert all(ratio == 10_000 for ratio in rig.ledger.parameters.ratio_bps.values())
    hours_of(rig, 0.9, 24)
    assert rig.ledger.parameters.ratio_bps["BTC"] == 15_000 and rig.core.parameters.is_drifting
    assert any("drifted" in text for text in rig.monitor.snapshot()["alerts"])
    put_back = rig.ledger.parameters.ratio_bps["BTC"]
    hours_of(rig, 0.001, 24)
    assert rig.ledger.parameters.ratio_bps["BTC"] >= put_back * 0.89


def test_a_feed_that_is_silent_changes_nothing(rig: Rig) -> None:
    put_in_force(rig)
    for _ in range(48):
        rig.now_ns += HOUR
        rig.core.parameters.tick(rig.now_ns)
    assert not rig.of_type(ParametersRescaled)


@settings(max_examples=15)
@given(
    st.lists(
        st.sampled_from(["propose", "settle", "boris", "clara", "reject", "activate", "force", "back", "zero", "late"]),
        max_size=14,
    )
)
def test_whatever_people_do_a_replay_has_the_same_in_force(tmp_path_factory, happenings: list[str]) -> None:
    with opened(tmp_path_factory.mktemp("life") / "run", config=PARAMETERS_CONFIG) as rig:
        parameters, book, count = rig.core.parameters, rig.ledger.parameters, 0
        for happening in happenings:
            number = max(book.proposals, default=1)
            rig.now_ns += SECOND
            try:
                if happening == "propose":
                    count += 1
                    propose(rig, parameter_set(-0.2 - count / 100))
                elif happening == "settle":
                    settle(rig)
                elif happening == "force":
                    count += 1
                    put_in_force(rig, parameter_set(-0.2 - count / 100))
                elif happening in ("boris", "clara"):
                    parameters.approve(number, happening, "seen", rig.now_ns)
                elif happening == "reject":
                    parameters.reject(number, "boris", "no", rig.now_ns)
                elif happening == "activate":
                    parameters.activate(number, "boris", "now", rig.now_ns)
                elif happening == "late":
                    rig.now_ns += 50_000 * SECOND
                    parameters.tick(rig.now_ns)
                else:
                    parameters.roll_back(0 if happening == "zero" else number - 1, "dora", "back", rig.now_ns)
            except ParameterError:
                pass
            active = [one.number for one in book.proposals.values() if one.stage is Stage.ACTIVE]
            assert active == ([book.active] if book.active else [])
            assert rig.core.valuation.acting.number == book.active
            for one in book.waiting(Stage.ACTIVE):
                assert one.effect is not None
                assert len(one.approved_by) == (2 if one.effect.size > ApprovalRules().two_people_above else 1)
        rig.check_replay()
