"""Collateral in double entry: every pair of a transfer's table, two phases, conservation under any storm of news."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from risk import collateral_ledger
from risk.collateral_ledger import (
    LIVE,
    MAX_UNITS,
    ROUTES,
    TABLE,
    CollateralLedger,
    Location,
    Place,
    TransferError,
    TransferHappening,
    TransferState,
    TransferTerms,
    next_state,
    secured_units,
    transit_of,
)
from risk.lifecycle import IllegalTransitionError

# A row a state, a column a happening; a dash is illegal.
HAPPENINGS = ("SENT", "TIMED_OUT", "PARTLY_SETTLED", "SETTLED", "FAILED", "REVERSED")
EXPECTED = {
    "pending": ("sent", "unknown", "partly_settled", "settled", "failed", "-"),
    "sent": ("-", "unknown", "partly_settled", "settled", "failed", "-"),
    "unknown": ("unknown", "-", "partly_settled", "settled", "failed", "-"),
    "partly_settled": ("partly_settled", "partly_settled", "partly_settled", "settled", "settled", "reversed"),
    "settled": ("settled", "-", "-", "-", "-", "reversed"),
    "failed": ("-", "-", "-", "-", "-", "-"),
    "reversed": ("-", "-", "-", "-", "-", "-"),
}
H = TransferHappening
CLIENT, HOUSE = Location(Place.CLIENT, "", "alpha"), Location(Place.HOUSE, "", "alpha")
VENUE = Location(Place.VENUE, "deribit", "alpha")
LOCKED, DELEGATED = Location(Place.LOCKED, "vault", "alpha"), Location(Place.DELEGATED, "vault", "alpha")


@pytest.mark.parametrize(("state", "happening"), list(product(TransferState, TransferHappening)))
def test_every_pair(state: TransferState, happening: TransferHappening) -> None:
    expected = EXPECTED[state.value][HAPPENINGS.index(happening.name)]
    if expected == "-":
        with pytest.raises(IllegalTransitionError, match=f"{state.value} can not be {happening.value}"):
            next_state(state, happening)
    else:
        assert next_state(state, happening) is TransferState(expected)


def test_the_table_has_no_rows_beside_these() -> None:
    legal = {(s, h) for s, row in EXPECTED.items() for h, to in zip(HAPPENINGS, row, strict=True) if to != "-"}
    assert {(state.value, happening.name) for state, happening in TABLE} == legal


def test_time_alone_frees_nothing() -> None:
    assert all(TABLE[state, h] in LIVE for state, h in TABLE if h is H.TIMED_OUT)


def funded(units: int = 100) -> CollateralLedger:
    ledger = CollateralLedger()
    ledger.post("BTC", units, CLIENT, HOUSE)
    return ledger


def terms(key: str = "k", units: int = 40, source: Location = HOUSE, target: Location = VENUE) -> TransferTerms:
    return TransferTerms(key, "alpha", "BTC", units, source, target)


def test_two_phases() -> None:
    ledger = funded()
    transfer = ledger.begin(terms(), 10)
    assert (ledger.balance("BTC", HOUSE), ledger.balance("BTC", VENUE)) == (60, 0)
    assert ledger.balance("BTC", transit_of(terms())) == 40 and ledger.held("alpha") == {"BTC": 60}
    assert ledger.happen("k", H.SENT) == 0
    assert ledger.happen("k", H.PARTLY_SETTLED, 15, "r1") == 15
    assert transfer.state is TransferState.PARTLY_SETTLED and transfer.open_units == 25
    assert ledger.happen("k", H.SETTLED, 25, "r2") == 25
    assert (ledger.balance("BTC", VENUE), transfer.state, transfer.open_units) == (40, TransferState.SETTLED, 0)
    assert ledger.live() == [] and ledger.total("BTC") == 0 and ledger.held("alpha") == {"BTC": 100}


def test_a_timeout_is_unknown_and_held_until_somebody_says() -> None:
    """Fault 42: nothing comes back by time, and a late settlement counts."""
    ledger = funded()
    ledger.begin(terms(), 10)
    ledger.happen("k", H.TIMED_OUT)
    assert ledger.transfers["k"].state is TransferState.UNKNOWN and ledger.balance("BTC", HOUSE) == 60
    assert ledger.happen("k", H.SETTLED, 40, "late") == 40


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (CLIENT, HOUSE, (0, 15, 0)),
        (HOUSE, CLIENT, (-40, -40, 0)),
        (HOUSE, VENUE, (0, 0, 0)),
    ],
)
def test_what_secures_an_account(source: Location, target: Location, expected: tuple[int, int, int]) -> None:
    """At first, with a part settled, and reversed; what goes out is gone from the first phase on."""
    ledger = funded()
    transfer = ledger.begin(terms(source=source, target=target), 10)
    seen = [secured_units(transfer)]
    ledger.happen("k", H.PARTLY_SETTLED, 15, "r")
    seen.append(secured_units(transfer))
    ledger.happen("k", H.REVERSED)
    assert (*seen, secured_units(transfer)) == expected


def test_what_left_in_part_and_no_more() -> None:
    ledger = funded()
    transfer = ledger.begin(terms(target=CLIENT), 10)
    ledger.happen("k", H.PARTLY_SETTLED, 15, "r")
    ledger.happen("k", H.FAILED)
    assert secured_units(transfer) == -15


def test_overdue_is_what_nothing_was_heard_of() -> None:
    ledger = funded()
    transfer = ledger.begin(terms(), 10)
    assert ledger.has_live and ledger.overdue(10) == [] and ledger.overdue(11) == [transfer]
    ledger.happen("k", H.TIMED_OUT)
    assert ledger.overdue(11) == []


def test_told_twice_is_told_once() -> None:
    """Fault 42: duplicates of every kind have one effect."""
    ledger = funded()
    first = ledger.begin(terms(), 10)
    assert ledger.begin(terms(), 99) is first and ledger.balance("BTC", HOUSE) == 60
    assert [ledger.happen("k", H.PARTLY_SETTLED, 15, "r1") for _ in range(3)] == [15, 0, 0]
    assert [ledger.happen("k", H.REVERSED) for _ in range(2)] == [-15, 0]
    assert ledger.balance("BTC", HOUSE) == 100
    ledger.begin(terms("k2"), 10)
    assert [ledger.happen("k2", H.FAILED) for _ in range(2)] == [0, 0]
    assert ledger.balance("BTC", HOUSE) == 100


def test_the_rest_of_a_part_does_not_come() -> None:
    ledger = funded()
    ledger.begin(terms(), 10)
    ledger.happen("k", H.SETTLED, 15, "r1")
    ledger.happen("k", H.FAILED)
    assert (ledger.balance("BTC", HOUSE), ledger.balance("BTC", VENUE)) == (85, 15)
    assert ledger.transfers["k"].state is TransferState.SETTLED


def test_a_reversal_after_the_money_went_on_is_owed() -> None:
    ledger = funded()
    ledger.begin(terms("in", 50, CLIENT, HOUSE), 10)
    ledger.happen("in", H.SETTLED, 50, "r")
    ledger.begin(terms("on", 150), 10)
    ledger.happen("on", H.SETTLED, 150, "r")
    assert ledger.happen("in", H.REVERSED) == -50
    assert ledger.balance("BTC", HOUSE) == -50 and ledger.total("BTC") == 0
    assert ledger.held("alpha") == {"BTC": 100}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (terms(units=0), "an amount is positive"),
        (terms(units=MAX_UNITS + 1), "an amount is positive"),
        (terms(units=101), "insufficient collateral"),
        (terms(source=CLIENT, target=DELEGATED), "nothing moves from client to delegated"),
        (terms(target=HOUSE), "nothing moves from house to house"),
        (terms(source=VENUE, target=VENUE), "nothing moves from venue to venue"),
        (terms(source=LOCKED, target=VENUE), "nothing moves from locked to venue"),
        (terms(target=Location(Place.VENUE, "deribit", "beta")), "does not become another's"),
        (terms(source=DELEGATED, target=LOCKED), "insufficient collateral"),
    ],
)
def test_transfers_that_can_not_be(wrong: TransferTerms, why: str) -> None:
    ledger = funded()
    before = ledger.parts()
    with pytest.raises(TransferError, match=why):
        ledger.begin(wrong, 10)
    assert ledger.parts() == before


def test_news_that_can_not_be_true() -> None:
    ledger = funded()
    ledger.begin(terms(), 10)
    with pytest.raises(TransferError, match="used for another"):
        ledger.begin(terms(units=41), 10)
    for happening, units, reference, why in (
        (H.SETTLED, 41, "r", "a settlement of 41"),
        (H.SETTLED, 0, "r", "a settlement of 0"),
        (H.SETTLED, 1, "", "a settlement of 1"),
        (H.REVERSED, 0, "", "can not be reversed"),
    ):
        with pytest.raises(TransferError, match=why):
            ledger.happen("k", happening, units, reference)
    with pytest.raises(TransferError, match="no such transfer"):
        ledger.happen("x", H.SENT)
    ledger.happen("k", H.PARTLY_SETTLED, 5, "r")
    with pytest.raises(TransferError, match="another amount"):
        ledger.happen("k", H.PARTLY_SETTLED, 6, "r")
    ledger.begin(terms("k2", 10), 10)
    ledger.happen("k2", H.FAILED)
    with pytest.raises(TransferError, match="0 are on their way"):
        ledger.happen("k2", H.SETTLED, 10, "r")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collateral_ledger, "ENDED_TRANSFERS_KEPT", 3)
    monkeypatch.setattr(collateral_ledger, "MAX_LIVE_TRANSFERS", 2)
    ledger = funded()
    for number in range(5):
        ledger.begin(terms(f"k{number}", 1), 10)
        ledger.happen(f"k{number}", H.SETTLED, 1, "r")
    assert list(ledger.transfers) == ["k2", "k3", "k4"]
    ledger.begin(terms("a", 1), 10)
    ledger.begin(terms("b", 1), 10)
    with pytest.raises(TransferError, match="too many"):
        ledger.begin(terms("c", 1), 10)


def test_a_custodian_keeps_what_is_delegated_apart() -> None:
    ledger = CollateralLedger()
    for key, source, target in (("1", CLIENT, LOCKED), ("2", LOCKED, DELEGATED)):
        ledger.begin(terms(key, 40, source, target), 10)
        ledger.happen(key, H.SETTLED, 40, "r")
    assert ledger.balance("BTC", DELEGATED) == 40 and ledger.held("alpha") == {"BTC": 40}
    assert (Place.DELEGATED, Place.CLIENT) not in ROUTES


PLACES = [CLIENT, HOUSE, VENUE, Location(Place.VENUE, "okx", "alpha"), LOCKED, DELEGATED]


class LedgerMachine(RuleBasedStateMachine):
    """Any transfers and any news of them; crashed and replayed at each step; not a unit is made or lost."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.log, self.given = CollateralLedger(), [], 0

    def _do(self, *step: object) -> None:
        before = self.ledger.parts()
        try:
            applied(self.ledger, step)
        except TransferError:
            assert self.ledger.parts() == before, "what is refused changes nothing"
            return
        self.log.append(step)

    @rule(
        key=st.integers(0, 8), asset=st.sampled_from(["BTC", "USDC"]), units=st.integers(-1, 60),
        way=st.tuples(st.sampled_from(PLACES), st.sampled_from(PLACES)),
    )  # fmt: skip
    def begin(self, key: int, asset: str, units: int, way: tuple[Location, Location]) -> None:
        self._do("begin", TransferTerms(f"k{key}", "alpha", asset, units, *way))

    @rule(key=st.integers(0, 8), units=st.integers(1, 100))
    def fund(self, key: int, units: int) -> None:
        self._do("begin", TransferTerms(f"k{key}", "alpha", "BTC", units, CLIENT, HOUSE))

    @precondition(lambda self: self.ledger.transfers)
    @rule(data=st.data(), happening=st.sampled_from(TransferHappening), part=st.integers(-1, 60), ref=st.integers(0, 4))
    def news(self, data: st.DataObject, happening: TransferHappening, part: int, ref: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.ledger.transfers)))
        units = self.ledger.transfers[key].open_units if part < 0 else part
        self._do("news", key, happening, units, f"r{ref}")
        self._do("news", key, happening, units, f"r{ref}")

    @invariant()
    def conserved(self) -> None:
        for asset in ("BTC", "USDC"):
            assert self.ledger.total(asset) == 0
            transit = sum(n for (a, at), n in self.ledger.balances.items() if a == asset and at.place is Place.TRANSIT)
            live = [transfer for transfer in self.ledger.live() if transfer.terms.asset == asset]
            assert transit == sum(transfer.open_units for transfer in live)
            inside = self.ledger.held("alpha").get(asset, 0)
            assert inside + transit == -self.ledger.balance(asset, CLIENT)

    @invariant()
    def replays(self) -> None:
        ledger = CollateralLedger()
        for step in self.log:
            applied(ledger, step)
        assert ledger.parts() == self.ledger.parts()

    @invariant()
    def settled_is_what_was_told(self) -> None:
        for transfer in self.ledger.transfers.values():
            assert transfer.settled_units == sum(transfer.references.values()) <= transfer.terms.units


def applied(ledger: CollateralLedger, step: tuple[object, ...]) -> None:
    if step[0] == "begin":
        ledger.begin(step[1], 10)  # type: ignore[arg-type]
    else:
        ledger.happen(*step[1:])  # type: ignore[arg-type]


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
