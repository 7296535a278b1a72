"""Robust marks: which a guard lets margin use, and what collars it sets."""

from __future__ import annotations

from itertools import pairwise
from math import exp
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.guard_board import MAX_PAIRS, GuardBoard
from risk.guards import NS_PER_S, GuardRules, GuardState
from risk.instrument import Instrument
from tests.strategies import COIN_OPTION, INSTRUMENTS, INVERSE, INVERSE_FUTURE

PERPETUAL, FUTURE, OPTION = (INSTRUMENTS[index] for index in (INVERSE, INVERSE_FUTURE, COIN_OPTION))
PAIR = PERPETUAL.pair
RULES = GuardRules()


def at_venue(venue: str) -> Instrument:
    return msgspec.structs.replace(PERPETUAL, venue=venue, index=100 + ord(venue[0]))


class Board(GuardBoard):
    """A board whose decisions are taken as they come."""

    def __init__(self) -> None:
        super().__init__(RULES, 0)
        self.now_ns = 0
        self.told: list[tuple[str, tuple[str, ...]]] = []

    def bar(self, price: float, index: float | None = None, instrument: Instrument = PERPETUAL) -> tuple[float, bool]:
        """One second: a mark comes, then the bar is closed."""
        self.now_ns += NS_PER_S
        found = self.admit(instrument, price, price if index is None else index, self.now_ns)
        self.close()
        return found.price, found.is_sound

    def close(self) -> None:
        for decision in self.tick(self.now_ns):
            self.take(decision.pair, GuardState(decision.state), decision.reading.outliers)
            self.told.append((decision.state, decision.alarms))

    @property
    def state(self) -> GuardState:
        return self.states()[PAIR]


def calm(bars: int = 100, *, seed: int = 1) -> Board:
    board, random, price = Board(), Random(seed), 60_000.0
    for _ in range(bars):
        price *= exp(random.gauss(0, 1e-4))
        assert board.bar(price) == (price, True)
    assert board.told == []
    return board


def last(board: Board) -> float:
    return board._pairs[PAIR].last


def test_in_a_calm_market_marks_are_used_as_they_come() -> None:
    calm()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mark_that_leaves_its_index_is_not_sound_from_its_first_moment(sign: int) -> None:
    board = calm()
    index = last(board)
    found = board.admit(PERPETUAL, index * (1 + sign * 0.05), index, board.now_ns + 1)
    assert not found.is_sound
    assert found.price == pytest.approx(index * (1 + sign * 0.02), rel=1e-3)  # the nearest that the guard allows
    board.close()
    assert board.told == [("guarded", ("divergence",))]
    assert board.bar(index * (1 + sign * 0.15), index)[1] is False
    assert board.state is GuardState.HALTED


def test_the_middle_of_the_book_votes_while_the_guard_is_up() -> None:
    board = calm()
    index = last(board)
    board.bar(index * 0.97, index)
    board.observe_book(PERPETUAL, index * 0.9995, index * 1.0005, 10.0)
    price, is_sound = board.bar(index * 0.97, index)
    assert price == pytest.approx(index, rel=2e-3) and not is_sound


def test_one_venue_off_is_left_out_and_moves_nothing() -> None:
    board = Board()
    venues = [at_venue(name) for name in ("binance", "deribit", "okx")]
    for number in range(100):
        board.now_ns += NS_PER_S
        for venue in venues:
            board.admit(venue, 60_000.0 + number % 3, 60_000.0 + number % 3, board.now_ns)
        board.close()
    board.now_ns += NS_PER_S
    okx = board.admit(venues[2], 42_000.0, 42_000.0, board.now_ns)
    assert not okx.is_sound and okx.index_price == pytest.approx(60_000, rel=1e-3)
    assert okx.price == pytest.approx(60_000 * 0.98, rel=1e-3)
    others = [board.admit(venue, 60_001.0, 60_001.0, board.now_ns) for venue in venues[:2]]
    assert [(one.price, one.is_sound) for one in others] == [(60_001.0, True)] * 2
    board.close()
    assert board.told == [("calm", ())]  # nothing but that one source is left out, and that is written
    assert board._pairs[PAIR].guard.outliers == ("okx",)
    odd = board.admit(venues[2], 42_000.0, 60_001.0, board.now_ns)  # its mark alone
    board.close()
    assert not odd.is_sound and board.told[-1] == ("calm", ())


def test_two_venues_that_contradict_each_other_leave_nobody_to_believe() -> None:
    board = Board()
    for _ in range(5):
        board.now_ns += NS_PER_S
        for name in ("binance", "okx"):
            board.admit(at_venue(name), 60_000.0, 60_000.0, board.now_ns)
        board.close()
    board.now_ns += NS_PER_S
    board.admit(at_venue("binance"), 60_000.0, 60_000.0, board.now_ns)
    found = board.admit(at_venue("okx"), 50_000.0, 50_000.0, board.now_ns)
    assert not found.is_sound and found.index_price == pytest.approx(60_000)
    board.close()
    assert board.told[-1][0] == "halted" and "index" in board.told[-1][1]


def test_a_lone_venue_is_followed_by_a_bounded_step_a_bar() -> None:
    """A print of one venue is no crash; a price that stays is, after some bars."""
    board = calm()
    before = last(board)
    seen = [board.bar(before * 0.7) for _ in range(12)]
    assert board.told[0][0] == "halted" and "move" in board.told[0][1]
    assert seen[0][0] >= before * 0.95 * 0.97 and not seen[0][1]
    assert seen[-1][0] == pytest.approx(before * 0.7, rel=0.03)
    assert all(later[0] <= earlier[0] for earlier, later in pairwise(seen))
    for _ in range(200):
        board.bar(before * 0.7)
    states = [state for state, _ in board.told]
    assert states[:2] == ["halted", "guarded"]


def test_a_single_bad_print_is_forgotten() -> None:
    board = calm()
    before = last(board)
    price, is_sound = board.bar(before * 0.5)
    assert price > before * 0.9 and not is_sound
    for _ in range(15):
        price, is_sound = board.bar(before)
    assert (price, is_sound) == (pytest.approx(before, rel=0.03), True)


def test_a_dated_future_is_measured_from_its_own_basis() -> None:
    board = calm()
    index = last(board)
    for _ in range(3):
        price, is_sound = board.bar(index * 1.08, index, FUTURE)
        assert (price, is_sound) == (index * 1.08, True)
    assert board.told == []
    assert board.admit(FUTURE, index * 1.02, index, board.now_ns).is_sound is False
    assert board.admit(INSTRUMENTS[INVERSE_FUTURE], index * 1.085, index, board.now_ns).is_sound is True


def test_a_first_mark_beyond_any_basis_is_not_believed() -> None:
    board = calm()
    found = board.admit(FUTURE, last(board) * 2, last(board), board.now_ns)
    assert not found.is_sound and found.price == pytest.approx(last(board) * 1.02)


def test_an_options_price_passes_and_its_index_is_guarded() -> None:
    board = calm()
    assert OPTION.pair == PAIR
    found = board.admit(OPTION, 0.05, last(board), board.now_ns)
    assert (found.price, found.is_sound, found.collar) == (0.05, True, None)
    assert board.admit(OPTION, 0.05, last(board) * 0.5, board.now_ns).is_sound is False


def test_collars_widen_with_volatility_and_narrow_on_doubt() -> None:
    def collar_of(board: Board) -> float | None:
        return board.admit(PERPETUAL, last(board), last(board), board.now_ns).collar

    assert collar_of(calm(30)) is None  # nothing is known of its volatility yet: the static one
    board = calm(200)
    assert collar_of(board) == 0.02
    random, price = Random(2), last(board)
    for _ in range(30):
        price *= exp(random.gauss(0, 2e-3))
        board.bar(price)
    wide = collar_of(board)
    assert wide is not None and wide > 0.05
    board.bar(price * 0.97, price)
    assert collar_of(board) == 0.02


def test_thin_books_and_wide_spreads_raise_the_guard() -> None:
    for bid, ask, depth, why in ((59_999.0, 60_001.0, 0.5, "thinness"), (58_000.0, 60_000.0, 100.0, "spread")):
        board = calm()
        for _ in range(50):
            board.observe_book(PERPETUAL, 59_999.0, 60_001.0, 100.0)
            board.bar(last(board))
        assert board.told == []
        board.observe_book(PERPETUAL, bid, ask, depth)
        board.bar(last(board))
        assert board.told == [("guarded", (why,))]
        board.forget_book(PERPETUAL)
        for _ in range(61):
            board.bar(last(board))
        assert board.state is GuardState.CALM


def test_volatility_raises_the_guard() -> None:
    board, random = calm(300), Random(3)
    price = last(board)
    for _ in range(20):
        price *= exp(random.choice([-1, 1]) * 2e-3)
        board.bar(price)
    assert board.told[0] == ("guarded", ("volatility",))


def test_silence_decides_nothing() -> None:
    board = calm()
    board.now_ns += 3600 * NS_PER_S
    board.close()
    assert board.told == []


def test_pairs_are_bounded() -> None:
    board = GuardBoard(RULES, 0)
    for number in range(MAX_PAIRS):
        board.take(f"C{number}/USD", GuardState.CALM, ())
    with pytest.raises(ValueError, match="pairs"):
        board.take("one/more", GuardState.CALM, ())


MOVES = st.lists(st.tuples(st.floats(0.5, 2.0), st.floats(0.5, 2.0)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(moves=MOVES)
def test_what_margin_uses_never_leaves_the_index_and_never_jumps(moves: list[tuple[float, float]]) -> None:
    """Whatever a lone venue tells: a step a bar for the index, and the guard's width around it for the mark."""
    board = calm(70)
    before = board._pairs[PAIR].anchor
    for mark, index in moves:
        board.now_ns += NS_PER_S
        found = board.admit(PERPETUAL, 60_000 * mark, 60_000 * index, board.now_ns)
        if not found.is_sound:
            assert abs(found.index_price / before - 1) <= 0.05 + 1e-9
            assert abs(found.price / found.index_price - 1) <= 0.02 + 1e-3
        board.close()
        after = board._pairs[PAIR].anchor
        assert abs(after / before - 1) <= 0.05 + 1e-9
        before = after
