"""The watch and the adjustments together: reduced while short, let go on recovery, handed over at the end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway import records
from gateway.records import guards as guard_records
from gateway.records.margin import MarginStateMoved
from risk.account import AccountState
from risk.collateral_ledger import Location, Place, TransferHappening, TransferTerms
from risk.margin_states import MarginState
from tests.gateway.margin.test_adjustments import Desk
from tests.gateway.margin_floor import WATCH
from tests.gateway.rig import BTC, CONFIG, SECOND, Rig, accepted, filled
from tests.simulator import KillableJournal, Killed

ADJUST = '\n[adjust]\nhouse_account = "gamma"\ndeadline_s = 30\nconvert_fee = 0.9\nparticipation = 0.9\n'
# The house is nobody's client: it is not watched.
WATCHED = WATCH.replace('accounts = ["*"]', 'accounts = ["alpha", "beta"]')
WHOLE = 10**8


class Stage(Desk):
    """Alpha is long, and is looked at after each second's marks; the venue answers what is sent."""

    def __init__(self, rig: Rig, *, price: float = 60_000) -> None:
        super().__init__(rig)
        self.price = price
        self.answers = True
        self.fills = True

    def begin(self, cash: int = 50_000) -> Stage:
        self.hold("alpha", BTC, 140_000, 60_000)
        for currency, units in (("USDC", -100_000 * WHOLE), ("BTC", cash * WHOLE // 60_000 - 2 * WHOLE)):
            self.rig.pipeline.commit(records.CashMoved("alpha", currency, units, "as the story goes"), self.rig.now_ns)
        self.turn()
        assert self.state is MarginState.HEALTHY
        return self

    def turn(self, price: float = 0, *, index: float = 0, seconds: int = 1) -> None:
        """Seconds go by: the market, the watch, what it decides, and the venue's answers."""
        self.price = round(2 * (price or self.price)) / 2
        for _ in range(seconds):
            rig = self.rig
            rig.now_ns += SECOND
            self.books(self.price)
            self.marks(self.price, index or self.price)
            rig.core.valuation.run(rig.now_ns)
            rig.core.intraday.run(rig.now_ns)
            rig.core.tick(rig.now_ns)
            rig.core.tick_markets(rig.now_ns)
            rig.flush()
            if self.answers:
                self.answer(fills=self.fills)

    def slide(self, price: float, step: float = 0.01) -> None:
        """The market falls, or rises, to a price without a jump that would halt it."""
        while abs(self.price / price - 1) > step:
            self.turn(self.price * (1 + step if price > self.price else 1 - step))
        self.turn(price)

    @property
    def state(self) -> MarginState:
        return self.rig.ledger.margin.watch("alpha").state

    @property
    def lots(self) -> int:
        return self.rig.ledger.accounts["alpha"].position_lots(0)

    def states(self) -> list[str]:
        return [record.state for record in self.rig.of_type(MarginStateMoved) if record.account == "alpha"]

    def ends(self) -> list[str]:
        return [record.outcome for record in self.rig.of_type(guard_records.AdjustmentEnded)]


@contextmanager
def stage(directory: Path, adjust: str = ADJUST, **options: Any) -> Iterator[Stage]:
    rig = Rig(directory, config=CONFIG + WATCHED + adjust)
    one = Stage(rig)
    try:
        yield one.begin(**options)
    finally:
        one.rig.journal.close()


def test_it_is_reduced_until_the_state_ends_and_not_further(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.slide(50_500)
        desk.turn(seconds=20)
        assert "adjusting" in desk.states() and desk.state is MarginState.RESTRICTED
        assert 0 < desk.lots < 14_000 and desk.rig.ledger.adjustments == {}
        ratio = margin_of(desk)
        assert 12_000 <= ratio <= 13_000, "to where the state ends, in steps, and not to nothing"
        sold = len(desk.own())
        desk.turn(seconds=10)
        assert len(desk.own()) == sold
        desk.rig.check_replay()


def test_fault_43_a_market_that_comes_back_stops_it_and_nothing_more_is_sent(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.fills = False
        desk.slide(51_000)
        desk.turn(seconds=2)
        assert desk.state is MarginState.ADJUSTING and desk.rig.ledger.adjustments
        (row,) = desk.adjustments.rows()
        assert (row["account"], row["required_bps"]) == ("alpha", 12_010)
        desk.slide(58_000)
        assert desk.state in (MarginState.HEALTHY, MarginState.WARNED) and desk.rig.ledger.adjustments == {}
        assert set(desk.ends()) <= {"stopped", "cured"}
        sent = len(desk.own())
        desk.turn(seconds=5)
        assert len(desk.own()) == sent and desk.lots == 14_000
        desk.rig.check_replay()


def test_what_is_still_short_at_the_deadline_is_handed_over(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.fills = False
        desk.slide(51_000)
        accounts = desk.rig.ledger.accounts
        cash = {name: sum(a.cash_units.get(name, 0) for a in accounts.values()) for name in ("BTC", "USDC")}
        (begun,) = desk.rig.ledger.adjustments.values()
        while desk.rig.now_ns + SECOND <= begun.begun_ns + 30 * SECOND:
            assert desk.lots == 14_000
            desk.turn()
        desk.turn(seconds=4)
        assert desk.states()[-2:] == ["taken_over", "closed"] and desk.ends()[-1] == "exhausted"
        assert desk.lots == 0 and accounts["gamma"].position_lots(0) == 14_000
        assert not any(accounts["alpha"].cash_units.values())
        for name, units in cash.items():
            assert sum(a.cash_units.get(name, 0) for a in accounts.values()) == units
        assert accounts["alpha"].state is AccountState.HALTED
        desk.rig.check_replay()


def test_who_falls_through_is_handed_over_at_once(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.slide(56_000)
        assert desk.lots == 14_000
        desk.rig.pipeline.commit(records.CashMoved("alpha", "USDC", -30_000 * WHOLE, "lost"), desk.rig.now_ns)
        desk.turn(seconds=2)
        assert desk.states()[-2:] == ["taken_over", "closed"] and desk.lots == 0
        (taken,) = desk.rig.of_type(guard_records.AccountHandedOver)
        assert (taken.account, taken.house) == ("alpha", "gamma")
        desk.rig.check_replay()


def test_nobody_is_handed_over_on_a_mark_that_does_not_pass_its_guard(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.fills = False
        desk.slide(51_000)
        for _ in range(45):
            desk.turn(51_000, index=56_000)  # the venue's mark is off its index
        assert desk.states()[-1] != "closed" and desk.lots == 14_000
        assert desk.rig.of_type(guard_records.AccountHandedOver) == []
        desk.turn(51_000, seconds=120)  # the guard comes down, and the deadline has passed
        assert desk.lots == 0
        desk.rig.check_replay()


def test_without_a_house_a_person_decides(tmp_path: Path) -> None:
    with stage(tmp_path, adjust="") as desk:
        desk.answers = False
        desk.slide(50_000)
        desk.rig.pipeline.commit(records.CashMoved("alpha", "USDC", -20_000 * WHOLE, "lost"), desk.rig.now_ns)
        desk.turn(seconds=3)
        assert desk.state is MarginState.TAKEN_OVER and desk.lots == 14_000
        assert any("taken over, and it waits" in alert for alert in desk.rig.monitor.alerts)


def test_a_fill_that_was_before_its_cancel_goes_the_same_way(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.answers = False
        desk.slide(51_000)
        desk.turn()
        (order,) = desk.own()
        desk.rig.hear(accepted(order))
        desk.rig.pipeline.commit(records.CashMoved("alpha", "USDC", -20_000 * WHOLE, "lost"), desk.rig.now_ns)
        desk.turn(seconds=2)
        assert desk.state is MarginState.CLOSED and desk.lots == 0
        desk.rig.hear(filled(order, int(order.instrument.quantity(order.lots)), "late"))
        assert desk.lots == -order.lots
        desk.turn(seconds=2)
        assert desk.lots == 0 and len(desk.rig.of_type(guard_records.AccountHandedOver)) == 2
        desk.rig.check_replay()


def test_who_let_a_call_expire_is_cured_whole(tmp_path: Path) -> None:
    with stage(tmp_path) as desk:
        desk.slide(53_700)
        assert desk.state is MarginState.CALLED
        desk.turn(seconds=61)
        assert desk.state is MarginState.RESTRICTED and desk.lots == 14_000
        desk.turn(seconds=60)
        assert desk.states().count("adjusting") == 1 and desk.state is MarginState.WARNED
        assert 13_500 <= margin_of(desk) <= 14_500 and desk.lots < 14_000
        desk.rig.check_replay()


def margin_of(desk: Stage) -> int:
    """The ratio, in basis points."""
    desk.rig.core.intraday.run(desk.rig.now_ns)
    margin = desk.rig.core.intraday._margin(desk.rig.ledger.accounts["alpha"], desk.rig.now_ns)
    assert margin is not None
    return margin.ratio_bps


class Story(RuleBasedStateMachine):
    """A market that moves, a client that pays or not, a venue that answers or not, and a process that dies anywhere.

    After each step: the replay gives the same state, sums are kept, an adjustment goes on exactly where the watch says
    adjusting (a turn later), and who is closed holds nothing.
    """

    @initialize()
    def open(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        rig = Rig(Path(self.temporary.name), config=CONFIG + WATCHED + ADJUST)
        self.desk = Stage(rig).begin()
        self.payments = 0
        self.open: dict[str, int] = {}  # transfers on their way -> what has not settled
        self.settled: dict[str, None] = {}

    @rule(price=st.sampled_from([48_000, 50_000, 51_000, 52_500, 54_000, 57_000, 60_000]))
    def move(self, price: int) -> None:
        self.desk.slide(price, step=0.03)

    @rule(seconds=st.sampled_from([1, 5, 25]))
    def wait(self, seconds: int) -> None:
        self.desk.turn(seconds=seconds)

    @rule(answers=st.booleans(), fills=st.booleans())
    def venue(self, answers: bool, fills: bool) -> None:
        self.desk.answers, self.desk.fills = answers, fills

    @rule(usd=st.sampled_from([500, 5_000]), outright=st.booleans())
    def pay(self, usd: int, outright: bool) -> None:
        """A payment begins; it is told of as settled at once, or later, in part, twice, or taken back."""
        self.payments += 1
        rig, client = self.desk.rig, Location(Place.CLIENT, "", "alpha")
        terms = TransferTerms(
            f"p{self.payments}", "alpha", "USDC", usd * WHOLE, client, Location(Place.HOUSE, "", "alpha")
        )
        assert rig.core.intraday.begin_transfer(terms, rig.now_ns)
        assert not rig.core.intraday.begin_transfer(terms, rig.now_ns), "the same key is the same transfer"
        self.open[terms.key] = terms.units
        if outright:
            self.settle(0, 1)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 5), parts=st.sampled_from([1, 2, 3]))
    def settle(self, which: int, parts: int) -> None:
        key = list(self.open)[which % len(self.open)]
        left, rig = self.open[key], self.desk.rig
        units = left if parts == 1 else max(1, left // parts)
        before = rig.ledger.accounts["alpha"].cash_units.get("USDC", 0)
        for is_news in (True, False):  # told twice, it counts once
            told = rig.core.intraday.transfer_moved(
                key, TransferHappening.SETTLED, rig.now_ns, units=units, reference=f"{key}:{left}"
            )
            assert told is is_news
        assert rig.ledger.accounts["alpha"].cash_units.get("USDC", 0) == before + units
        self.open[key] = left - units
        if not self.open[key]:
            del self.open[key]
            self.settled[key] = None

    @precondition(lambda self: self.settled)
    @rule()
    def reverse(self) -> None:
        key, _ = self.settled.popitem()
        rig = self.desk.rig
        assert rig.core.intraday.transfer_moved(key, TransferHappening.REVERSED, rig.now_ns)
        assert not rig.core.intraday.transfer_moved(key, TransferHappening.REVERSED, rig.now_ns)

    @rule(appends=st.integers(1, 6), is_after=st.booleans())
    def die(self, appends: int, is_after: bool) -> None:
        """The process dies within the next appends, wherever that is, and another one goes on."""
        rig = self.desk.rig
        killable = KillableJournal(rig.journal)
        killable.appends_left, killable.is_after = appends, is_after
        rig.pipeline.journal = killable  # type: ignore[assignment]
        with contextlib.suppress(Killed):
            self.desk.turn(seconds=2)
        trades, price = self.desk.trades, self.desk.price
        answers, fills = self.desk.answers, self.desk.fills
        self.desk = Stage(rig.restart(now_ns=rig.now_ns), price=price)
        self.desk.trades, self.desk.answers, self.desk.fills = trades, answers, fills
        self.desk.turn()

    @invariant()
    def holds(self) -> None:
        rig = self.desk.rig
        rig.check_replay()
        account, state = rig.ledger.accounts["alpha"], self.desk.state
        collateral = rig.ledger.margin.collateral
        for asset in {asset for asset, _ in collateral.balances}:
            assert collateral.total(asset) == 0
        if state is MarginState.CLOSED:
            assert account.position_lots(0) == 0 and account.state is AccountState.HALTED
        if "alpha" in rig.ledger.adjustments:
            assert state is MarginState.ADJUSTING or rig.core.margin_actions.deadline_ns is not None
        if state is MarginState.ADJUSTING:
            assert "alpha" in rig.ledger.adjustments or rig.core.margin_actions.deadline_ns is not None
        assert 0 <= account.position_lots(0) <= 14_000, "reduced, never turned round"
        assert rig.ledger.accounts["gamma"].position_lots(0) >= 0

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.rig.journal.close()
            self.temporary.cleanup()


def test_stories_of_crashes_at_each_step() -> None:
    run_state_machine_as_test(Story, settings=settings(max_examples=12, stateful_step_count=10, deadline=None))
