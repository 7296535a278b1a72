"""Comparisons of two books: tables of what differs and how grave it is, and what must hold of any two."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from risk.breaks import ACCEPTED_KEPT, MAX_OPEN, Break, BreakBook
from risk.reconciliation import (
    KINDS_OF,
    MAX_DIFFERENCES,
    Difference,
    Kind,
    Looks,
    Severity,
    Tolerance,
    Topic,
    TradeTerms,
    compare_balances,
    compare_margin,
    compare_positions,
    compare_trades,
    strange_trade,
    sums,
    word_of_third,
)

S = 1_000_000_000
NOW = 1_000 * S
SETTLED = NOW - 30 * S
BLOCK, WARN, INFO = Severity.BLOCK, Severity.WARN, Severity.INFO


def shown(found: list[Difference]) -> list[tuple[str, str, Severity]]:
    return [(one.kind.value, one.subject, one.severity) for one in found]


# -- positions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({}, {}, []),
        ({"A": Decimal(10)}, {"A": Decimal("10.0")}, []),
        ({"A": Decimal(10)}, {"A": Decimal(9)}, [("position", "A", BLOCK)]),
        ({"A": Decimal(10)}, {}, [("position", "A", BLOCK)]),
        ({}, {"A": Decimal(-10)}, [("position", "A", BLOCK)]),
        ({"A": Decimal(10)}, {"A": Decimal(-10)}, [("position", "A", BLOCK)]),
        ({"A": Decimal(0)}, {}, []),
        ({"B": Decimal(1), "A": Decimal(1)}, {"C": Decimal("1e-8")}, [("position", x, BLOCK) for x in "ABC"]),
    ],
)
def test_positions(ours: dict[str, Decimal], theirs: dict[str, Decimal], expected: list[Any]) -> None:
    assert shown(compare_positions("alpha", ours, theirs)) == expected


quantities = st.dictionaries(st.sampled_from("ABCD"), st.decimals(-100, 100, places=3).map(lambda q: q + 0), max_size=4)


@given(quantities, quantities)
def test_positions_differ_exactly_where_quantities_do_and_mirrored(
    ours: dict[str, Decimal], theirs: dict[str, Decimal]
) -> None:
    found = {one.subject: one for one in compare_positions("a", ours, theirs)}
    for symbol in "ABCD":
        mine, other = ours.get(symbol, Decimal(0)), theirs.get(symbol, Decimal(0))
        assert (symbol in found) is (mine != other)
        if mine != other:
            assert Decimal(found[symbol].delta) == other - mine
            assert (Decimal(found[symbol].ours), Decimal(found[symbol].theirs)) == (mine, other)
    mirrored = {
        one.subject: one for one in compare_positions("a", *({s: -q for s, q in x.items()} for x in (ours, theirs)))
    }
    assert {s: (one.severity, Decimal(one.delta)) for s, one in found.items()} == {
        s: (one.severity, -Decimal(one.delta)) for s, one in mirrored.items()
    }
    back = compare_positions("a", theirs, ours)
    assert [one.subject for one in back] == sorted(found)


def test_more_differences_than_anybody_reads_are_counted() -> None:
    theirs = {f"S{n:05}": Decimal(1) for n in range(MAX_DIFFERENCES + 7)}
    found = compare_positions("alpha", {}, theirs)
    assert len(found) == MAX_DIFFERENCES + 1
    assert (found[-1].subject, found[-1].theirs, found[-1].severity) == ("...", "7 more differences", BLOCK)


# -- balances and margin ---------------------------------------------------------------------------------------------

NARROW = Tolerance(agree_bps=10, block_bps=100)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (Decimal(1000), Decimal(1000), None),
        (Decimal(1000), Decimal(999), None),  # 10 bps of the larger
        (Decimal(1000), Decimal("998.9"), WARN),
        (Decimal(1000), Decimal("990.0"), WARN),  # 100 bps
        (Decimal(1000), Decimal("989.9"), BLOCK),
        (Decimal(1000), Decimal(0), BLOCK),
        (Decimal(0), Decimal(1000), WARN),  # more than we think is never worse
        (Decimal(1000), Decimal(1200), WARN),
        (Decimal(-1000), Decimal(-1200), BLOCK),  # a debt that is larger is less
        (Decimal(-1000), Decimal(-800), WARN),
        (Decimal(0), Decimal(0), None),
    ],
)
def test_balances(ours: Decimal, theirs: Decimal, expected: Severity | None) -> None:
    found = compare_balances("alpha", {"BTC": ours}, {"BTC": theirs}, NARROW)
    assert [one.severity for one in found] == ([] if expected is None else [expected])
    missing = compare_balances("alpha", {"BTC": ours} if ours else {}, {"BTC": theirs} if theirs else {}, NARROW)
    assert shown(missing) == shown(found)


def test_a_tolerance_without_a_block_never_blocks() -> None:
    assert Tolerance(0).severity(Decimal(1), Decimal(0), is_against_client=True) is WARN
    assert Tolerance(0, 0).severity(Decimal(1), Decimal(0), is_against_client=True) is BLOCK


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (Decimal(1000), Decimal("1000.50"), None),
        (Decimal(1000), Decimal("1005"), WARN),
        (Decimal(1000), Decimal("1020"), BLOCK),  # they want more than we think
        (Decimal(1000), Decimal("500"), WARN),  # they want less: we are the stricter
        (Decimal(0), Decimal(1), BLOCK),
    ],
)
def test_margin(ours: Decimal, theirs: Decimal, expected: Severity | None) -> None:
    kind = Kind.INITIAL_MARGIN
    found = compare_margin("alpha", {kind: ours, Kind.MAINTENANCE_MARGIN: Decimal(1)}, {kind: theirs}, NARROW)
    assert [(one.kind, one.severity) for one in found] == ([] if expected is None else [(kind, expected)])


@given(st.decimals(-10_000, 10_000, places=2), st.decimals(-10_000, 10_000, places=2), st.booleans())
def test_tolerance_is_even_handed(ours: Decimal, theirs: Decimal, is_against: bool) -> None:
    one = NARROW.severity(ours, theirs, is_against_client=is_against)
    assert one == NARROW.severity(theirs, ours, is_against_client=is_against)
    assert one == NARROW.severity(-ours, -theirs, is_against_client=is_against)
    assert (one is None) or ours != theirs


# -- trades ----------------------------------------------------------------------------------------------------------


def trade(trade_id: str = "t1", **changes: Any) -> TradeTerms:
    values: dict[str, Any] = {
        "venue": "deribit", "trade_id": trade_id, "account": "alpha", "symbol": "BTC", "side": 1,
        "quantity": Decimal(100), "price": Decimal(60_000), "time_ns": 0,
    }  # fmt: skip
    return TradeTerms(**(values | changes))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([trade()], [trade()], []),
        ([trade()], [trade(quantity=Decimal("100.0"))], []),
        ([trade()], [trade(), trade()], []),  # told twice
        # A book that contradicts itself: it is the one that differs.
        ([trade()], [trade(quantity=Decimal(90)), trade()], [("trade_terms", "deribit:t1", BLOCK)]),
        ([trade()], [trade(), trade(quantity=Decimal(90))], [("trade_terms", "deribit:t1", BLOCK)]),
        ([], [trade()], [("strange_trade", "deribit:t1", BLOCK)]),
        ([], [trade(time_ns=SETTLED)], [("strange_trade", "deribit:t1", INFO)]),
        ([trade()], [], [("missing_trade", "deribit:t1", WARN)]),
        ([trade(time_ns=SETTLED)], [], [("missing_trade", "deribit:t1", INFO)]),
        ([trade()], [trade(quantity=Decimal(90))], [("trade_terms", "deribit:t1", BLOCK)]),
        ([trade()], [trade(side=2)], [("trade_terms", "deribit:t1", BLOCK)]),
        ([trade()], [trade(account="beta")], [("trade_terms", "deribit:t1", BLOCK)]),
        ([trade()], [trade(symbol="ETH")], [("trade_terms", "deribit:t1", BLOCK)]),
        ([trade()], [trade(price=Decimal(60_001))], [("trade_price", "deribit:t1", WARN)]),
        ([trade()], [trade(venue="okx")],
         [("missing_trade", "deribit:t1", WARN), ("strange_trade", "okx:t1", BLOCK)]),
    ],
)  # fmt: skip
def test_trades(ours: list[TradeTerms], theirs: list[TradeTerms], expected: list[Any]) -> None:
    found = compare_trades("alpha", ours, theirs, SETTLED)
    assert shown(found) == expected
    assert {one.kind for one in found} <= KINDS_OF[Topic.TRADES]
    sides = {1: 2, 2: 1}
    other = [[trade(t.trade_id, **_fields(t) | {"side": sides[t.side]}) for t in book] for book in (ours, theirs)]
    assert shown(compare_trades("alpha", other[0], other[1], SETTLED)) == expected


def _fields(one: TradeTerms) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("venue", "account", "symbol", "quantity", "price", "time_ns")}


trades = st.lists(
    st.builds(
        trade,
        st.sampled_from(["t1", "t2", "t3"]),
        quantity=st.sampled_from([Decimal(1), Decimal(2)]),
        side=st.sampled_from([1, 2]),
        time_ns=st.sampled_from([0, NOW]),
    ),
    max_size=6,
)


@given(trades, trades)
def test_trades_that_agree_are_never_a_difference_and_others_always_are(
    ours: list[TradeTerms], theirs: list[TradeTerms]
) -> None:
    mine = {one.trade_id: one for one in ours}
    told: dict[str, list[TradeTerms]] = {}
    for one in theirs:
        told.setdefault(one.trade_id, []).append(one)
    found = {
        one.subject.removeprefix("deribit:"): one for one in compare_trades("alpha", mine.values(), theirs, SETTLED)
    }
    for trade_id in ("t1", "t2", "t3"):
        same = (
            trade_id in mine
            and trade_id in told
            and all(
                (t.side, t.quantity) == (mine[trade_id].side, mine[trade_id].quantity) for t in told.get(trade_id, [])
            )
        )
        both_silent = trade_id not in mine and trade_id not in told
        assert (trade_id in found) is not (same or both_silent)


def test_a_trade_that_is_told_singly_is_certain() -> None:
    assert strange_trade(trade(), SETTLED, is_certain=True).is_certain
    assert not strange_trade(trade(), SETTLED).is_certain


@pytest.mark.parametrize(
    ("third", "words"),
    [
        (None, "deribit is unknown"),
        (Decimal(0), "deribit agrees with us"),
        (Decimal(-10), "deribit agrees with it: ours stands alone"),
        (Decimal(3), "deribit differs from both"),
    ],
)
def test_the_third_book_says_who_stands_alone(third: Decimal | None, words: str) -> None:
    assert word_of_third(Decimal(-10), third, "deribit") == words


def test_sums_leave_out_what_is_flat() -> None:
    assert sums([("A", Decimal(1)), ("B", Decimal(2)), ("A", Decimal(-1))]) == {"B": Decimal(2)}


# -- looks -----------------------------------------------------------------------------------------------------------


def difference(delta: str = "-10", **changes: Any) -> Difference:
    values: dict[str, Any] = {
        "kind": Kind.POSITION, "account": "alpha", "subject": "BTC", "severity": BLOCK, "ours": "1", "theirs": "2",
        "delta": delta,
    }  # fmt: skip
    return Difference(**(values | changes))


KEY = ("HOUSE", "position", "alpha", "BTC")
ALL = lambda key: True  # noqa: E731


def test_a_difference_counts_when_it_is_the_same_twice() -> None:
    looks = Looks(5)
    first = looks.settle("HOUSE", [difference()], {}, ALL)
    assert (first.opened, first.must_look_again) == ([], True)
    second = looks.settle("HOUSE", [difference()], {}, ALL)
    assert (second.opened, second.must_look_again) == ([difference()], False)


def test_a_difference_that_is_gone_again_was_a_fill_on_its_way() -> None:
    looks = Looks(5)
    looks.settle("HOUSE", [difference()], {}, ALL)
    assert looks.settle("HOUSE", [], {}, ALL).must_look_again is False
    assert looks.settle("HOUSE", [difference()], {}, ALL).opened == []
    assert len(looks) == 1


def test_a_difference_that_is_another_each_time_counts_in_the_end() -> None:
    looks = Looks(3)
    opened = [looks.settle("HOUSE", [difference(str(n))], {}, ALL).opened for n in range(5)]
    assert [len(found) for found in opened] == [0, 0, 0, 1, 0]


def test_one_that_nobody_tells_of_twice_counts_at_once() -> None:
    assert Looks(5).settle("HOUSE", [difference(is_certain=True)], {}, ALL).opened


def test_a_break_is_over_when_two_looks_have_not_found_it() -> None:
    looks, known = Looks(5), {KEY: ("-10", BLOCK)}
    assert looks.settle("HOUSE", [difference()], known, ALL) == looks.settle("HOUSE", [difference()], known, ALL)
    first = looks.settle("HOUSE", [], known, ALL)
    assert (first.resolved, first.must_look_again) == ([], True)
    assert looks.settle("HOUSE", [difference()], known, ALL).resolved == []  # it is back: not over
    looks.settle("HOUSE", [], known, ALL)
    second = looks.settle("HOUSE", [], known, ALL)
    assert (second.resolved, second.must_look_again) == ([KEY], False)


def test_a_look_ends_no_break_that_it_could_not_have_found() -> None:
    looks, known = Looks(5), {KEY: ("-10", BLOCK)}
    for _ in range(3):
        verdict = looks.settle("HOUSE", [], known, lambda key: key[2] == "beta")
        assert (verdict.resolved, verdict.must_look_again) == ([], False)


def test_a_break_whose_difference_changes_is_changed_when_that_is_so_twice() -> None:
    looks, known = Looks(5), {KEY: ("-10", BLOCK)}
    assert looks.settle("HOUSE", [difference("-20")], known, ALL).changed == []
    assert looks.settle("HOUSE", [difference("-20")], known, ALL).changed == [difference("-20")]
    graver = difference("", severity=BLOCK, kind=Kind.INITIAL_MARGIN)
    known = {("HOUSE", "initial_margin", "alpha", "BTC"): ("", WARN)}
    looks.settle("HOUSE", [graver], known, ALL)
    assert looks.settle("HOUSE", [graver], known, ALL).changed == [graver]


# -- the book of breaks ----------------------------------------------------------------------------------------------


def a_break(subject: str = "BTC", severity: Severity = BLOCK, delta: str = "-10", now_ns: int = 1) -> Break:
    return Break(0, "HOUSE", "position", "alpha", subject, severity, "1", "2", delta, "", now_ns, now_ns)


def test_a_break_keeps_its_number_and_its_age() -> None:
    book = BreakBook()
    book.put(a_break())
    changed = book.put(a_break(delta="-20", now_ns=9))
    assert (changed.number, changed.opened_ns, changed.changed_ns, book.count) == (1, 1, 9, 1)
    assert book.find(1) is changed and book.find(2) is None
    assert book.worst_of("alpha") is BLOCK and book.worst_of("beta") is None
    assert changed.words() == "HOUSE alpha BTC: position: ours 1, theirs 2"


def test_the_gravest_is_shown_first_and_then_the_oldest() -> None:
    book = BreakBook()
    for subject, severity, now_ns in (("A", WARN, 1), ("B", BLOCK, 5), ("C", INFO, 0), ("D", BLOCK, 3)):
        book.put(a_break(subject, severity, now_ns=now_ns))
    assert [one.subject for one in book.by_gravity()] == ["D", "B", "A", "C"]


def test_what_a_person_accepts_is_known_until_it_changes() -> None:
    book = BreakBook()
    book.put(a_break())
    book.end(KEY, 2, "ann: known", is_accepted=True)
    assert book.known() == {KEY: ("-10", BLOCK)} and not book.open
    assert [(one.ending, one.ended_ns) for one in book.ended] == [("ann: known", 2)]
    book.end(KEY, 3, "gone", is_accepted=False)
    assert book.known() == {} and len(book.ended) == 1
    book.put(a_break())
    assert book.open[KEY].number == 2


def test_books_are_bounded() -> None:
    book = BreakBook()
    for number in range(MAX_OPEN):
        book.put(a_break(str(number)))
    assert not book.has_room()
    for key in list(book.open):
        book.end(key, 1, "", is_accepted=True)
    assert len(book.known()) == ACCEPTED_KEPT and len(book.ended) == 1_000 and book.has_room()


class TwoLooks(RuleBasedStateMachine):
    """Whatever is seen: nothing opens on one look, nothing ends on one look, and a new process changes nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.looks, self.book, self.history = Looks(5), BreakBook(), list[dict[str, str]]()
        self.restarted = 0

    @rule(seen=st.dictionaries(st.sampled_from("AB"), st.sampled_from(["1", "2"]), max_size=2))
    def look(self, seen: dict[str, str]) -> None:
        found = [difference(delta, subject=subject) for subject, delta in seen.items()]
        verdict = self.looks.settle("HOUSE", found, self.book.known(), ALL)
        self.history.append(seen)
        for one in (*verdict.opened, *verdict.changed):
            now = len(self.history)
            self.book.put(Break(0, "HOUSE", one.kind, "alpha", one.subject, BLOCK, "", "", one.delta, "", now, now))
            recent = [look.get(one.subject) for look in self.history[-6:]]
            assert recent.count(one.delta) >= 2 or len([r for r in recent if r is not None]) >= 6
        for key in verdict.resolved:
            assert all(key[3] not in look for look in self.history[-2:])
            self.book.end(key, 1, "", is_accepted=False)

    @rule()
    def restart(self) -> None:
        self.looks, self.restarted = Looks(5), len(self.history)

    @rule(subject=st.sampled_from("AB"))
    def accept(self, subject: str) -> None:
        key = ("HOUSE", "position", "alpha", subject)
        if key in self.book.open:
            self.book.end(key, 1, "ann", is_accepted=True)

    @invariant()
    def two_equal_looks_settle_everything(self) -> None:
        recent = self.history[self.restarted :][-2:]
        if len(recent) == 2 and recent[0] == recent[1]:
            assert {key[3]: token[0] for key, token in self.book.known().items()} == recent[0]


TestTwoLooks = TwoLooks.TestCase
TestTwoLooks.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
