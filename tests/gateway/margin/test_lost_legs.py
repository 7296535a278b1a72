"""Relief between venues: there while both legs stand, gone at once when one is lost to a stop or an outage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway import records
from gateway.executions import Executions
from gateway.records import guards as guard_records
from gateway.records.margin import MarginCalled, MarginStateMoved
from gateway.slowside.book import BookCopy, BookTeller
from protocols.venues import events
from risk.margin_states import MarginState
from risk.marks import VENUE
from tests.gateway.margin_floor import WATCH
from tests.gateway.rig import CONFIG, SECOND, RecordingLink, Rig, listed
from tests.gateway.slowside.test_full_margin import compare

OKX = """
[[venue]]
name = "okx"
kind = "okx"
currencies = ["USDT"]
instruments = ["*-SWAP"]
credentials_env = "TEST"
"""
HERE, THERE = "BTC_USDC-PERPETUAL", "BTC-USDT-SWAP"
COIN = "BTC-USD-SWAP"  # the other leg, where it settles in the coin
WATCHED = WATCH.replace('accounts = ["*"]', 'accounts = ["alpha", "beta"]')
WHOLE = 10**8


class Hedge:
    """Alpha is long at one venue and short as much at another."""

    def __init__(self, directory: Path, there: str = THERE, sign: int = 1) -> None:
        self.there, self.sign = there, sign
        self.rig = Rig(directory, config=CONFIG + OKX + WATCHED, marks={})
        rig = self.rig
        self.links = {"okx": RecordingLink([]), "deribit": rig.link}
        rig.core.router.connect("okx", self.links["okx"])
        self.voices = {"okx": Executions("okx", rig.pipeline, lambda order, now: None), "deribit": rig.executions}
        self.prices = {"okx": 60_000.0, "deribit": 60_000.0}
        self.silent: set[str] = set()
        if there == COIN:
            coin = listed(COIN, min_trade_amount=Decimal(10), contract_size=Decimal(10), base_currency="BTC")
            self.voices["okx"].handle(coin, rig.now_ns)
        for venue, symbol, quote in (("deribit", HERE, "USDC"), ("okx", THERE, "USDT")):
            terms: dict[str, Any] = {
                "is_inverse": False, "quote_currency": quote, "settlement_currency": quote,
                "min_trade_amount": Decimal("0.001"), "contract_size": Decimal("0.001"), "underlying": "btc",
                "base_currency": "BTC", "tick_size": Decimal("0.5"),
            }  # fmt: skip
            self.voices[venue].handle(listed(symbol, **terms), rig.now_ns)
        self.turn()

    def turn(self, seconds: int = 1) -> None:
        """Time goes by: what venues say, arrays, the watch, and what is looked at beside."""
        rig = self.rig
        for _ in range(seconds):
            rig.now_ns += SECOND
            live = rig.core.market.live_venues
            for venue, symbol in (("deribit", HERE), ("okx", self.there)):
                if venue in self.silent:
                    live.discard(venue)
                else:
                    live.add(venue)
                    price = self.prices[venue]
                    self.voices[venue].handle(events.MarkPriceUpdated(symbol, price, price, rig.now_ns), rig.now_ns)
            rig.core.tick_markets(rig.now_ns)
            rig.core.valuation.run(rig.now_ns)
            rig.core.intraday.run(rig.now_ns)
            rig.core.tick(rig.now_ns)

    def hold(self, account: str, lots: int, *, here: bool = True, there: bool = True) -> None:
        rig = self.rig
        sides = (1, 2) if self.sign > 0 else (2, 1)
        for number, (is_wanted, symbol, side) in enumerate(((here, HERE, sides[0]), (there, self.there, sides[1]))):
            if is_wanted:
                instrument = rig.ledger.by_symbol[symbol]
                lots = lots * 6 if symbol == COIN else lots  # of 10 USD each, and not of a thousandth of a coin
                place = ("BETA", 0, f"{account}{number}", f"{account}{number}", account, instrument.index)
                rig.pipeline.commit(records.ExternalFill(*place, side, lots, 120_000, 0, ""), rig.now_ns)

    def maintenance(self, account: str) -> float:
        margin = self.rig.core.intraday._margin(self.rig.ledger.accounts[account], self.rig.now_ns)
        assert margin is not None
        return margin.maintenance_units / WHOLE

    def equity(self, account: str) -> float:
        account_of = self.rig.ledger.accounts[account]
        return self.rig.core.market.kernel.equity(account_of.index, self.rig.core.market.base_scenario)


@contextmanager
def hedge(directory: Path, cash: int = 20_000, there: str = THERE, sign: int = 1) -> Iterator[Hedge]:
    one = Hedge(directory, there, sign)
    try:
        rig = one.rig
        for name, currency, units in (
            ("alpha", "BTC", -2 * WHOLE), ("alpha", "USDC", (cash - 100_000) * WHOLE),
            ("beta", "ETH", -30 * WHOLE), ("beta", "USDC", 50_000 * WHOLE),
        ):  # fmt: skip
            rig.pipeline.commit(records.CashMoved(name, currency, units, "as the story goes"), rig.now_ns)
        one.hold("alpha", 2_000)
        one.turn()
        yield one
    finally:
        one.rig.journal.close()


def test_a_hedge_between_venues_asks_for_next_to_nothing(tmp_path: Path) -> None:
    with hedge(tmp_path) as one:
        assert one.maintenance("alpha") < 100
        one.hold("beta", 2_000, there=False)
        one.turn()
        assert one.maintenance("beta") > 10_000, "what one leg alone asks for"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("there", [THERE, COIN])
@pytest.mark.parametrize("venue", ["okx", "deribit"])
def test_a_venue_that_is_stopped_re_margins_the_other_leg_at_once(
    tmp_path: Path, venue: str, there: str, sign: int
) -> None:
    with hedge(tmp_path, there=there, sign=sign) as one:
        rig = one.rig
        equity = one.equity("alpha")
        rig.core.market.has_moved = False
        rig.core.controls.kill(VENUE, venue, "ann", "it has defaulted", rig.now_ns)
        (moved,) = rig.of_type(guard_records.LegsMoved)
        assert (moved.venue, moved.is_lost) == (venue, True) and "defaulted" in moved.reason
        assert rig.core.market.has_moved, "new arrays are due now, not with the next interval"
        one.turn()
        assert one.maintenance("alpha") > 30_000, "both legs, each alone"
        assert one.equity("alpha") == pytest.approx(equity)
        assert rig.ledger.margin.watch("alpha").state is not MarginState.HEALTHY
        assert rig.of_type(MarginStateMoved)[-1].account == "alpha"
        rig.core.controls.reinstate(VENUE, venue, "ann", "it is back", rig.now_ns)
        one.turn(2)
        assert rig.ledger.lost_venues == {} and one.maintenance("alpha") < 100
        rig.check_replay()


@pytest.mark.parametrize("there", [THERE, COIN])
def test_an_outage_counts_once_it_has_lasted_and_the_leg_is_valued_by_the_others(tmp_path: Path, there: str) -> None:
    with hedge(tmp_path, cash=41_000, there=there) as one:
        rig = one.rig
        one.silent.add("okx")
        one.turn(29)
        assert rig.of_type(guard_records.LegsMoved) == []
        one.turn(3)
        (moved,) = rig.of_type(guard_records.LegsMoved)
        assert moved.venue == "okx" and "away" in moved.reason
        assert one.maintenance("alpha") > 30_000
        (called,) = rig.of_type(MarginCalled)
        assert called.account == "alpha"
        one.prices["deribit"] = 59_000.0  # the leg that is out of sight gains what the other loses
        one.turn()
        assert one.equity("alpha") == pytest.approx(41_000, abs=100)
        one.silent.clear()
        one.prices["okx"] = 59_000.0
        one.turn(2)
        assert rig.ledger.lost_venues == {} and one.maintenance("alpha") < 100
        assert rig.ledger.margin.watch("alpha").state is MarginState.HEALTHY
        assert not rig.ledger.margin.watch("alpha").open_calls, "superseded: it is not needed any more"
        rig.check_replay()


@pytest.mark.parametrize("there", [THERE, COIN])
def test_the_pass_over_all_accounts_says_the_same(tmp_path: Path, there: str) -> None:
    with hedge(tmp_path, there=there) as one:
        one.rig.core.controls.kill(VENUE, "okx", "ann", "gone", one.rig.now_ns)
        one.turn()
        compare(one.rig, BookTeller(), BookCopy())


def test_others_are_not_asked_for_more(tmp_path: Path) -> None:
    with hedge(tmp_path) as one:
        one.hold("beta", 10, there=False)
        one.turn()
        before = one.maintenance("beta")
        one.rig.core.controls.kill(VENUE, "okx", "ann", "gone", one.rig.now_ns)
        one.turn()
        assert one.maintenance("beta") == pytest.approx(before)


def test_a_restart_does_not_give_relief_back(tmp_path: Path) -> None:
    with hedge(tmp_path) as one:
        one.rig.core.controls.kill(VENUE, "okx", "ann", "gone", one.rig.now_ns)
        again = one.rig.restart(now_ns=one.rig.now_ns)
        assert set(again.ledger.lost_venues) == {"okx"}
        again.journal.close()
