"""Mark prices with their age. Unknown and stale are first-class: nothing is checked against a price nobody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from risk.composite import IndexBoard
from risk.constraints import Part
from risk.guard_board import GuardBoard
from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.levels import Hierarchy
from risk.venue_book import VenueBook

NEVER_NS = -(1 << 62)
# What can be halted as a whole, whoever trades it: a venue, an instrument, or a market that its guard has stopped.
VENUE, INSTRUMENT, GUARD = "venue", "instrument", "guard"
# (what, its name) -> why it is halted
Halts = dict[tuple[str, str], str]
# How far a market order goes towards the last price that the venue takes: that moves with the mark, and the order must
# be taken when it arrives.
BAND_USED = 0.8
# What a board is made with where the configuration says nothing.
MAX_INDEX_AGE_NS, MAX_DEVIATION, MAX_BASIS = 2_000_000_000, 0.05, 0.25


class Mark(msgspec.Struct, gc=False):
    """The last mark of one instrument, with the order path's numbers worked out beside the path.

    The collar is the band of limit prices (in ticks) that an order may have around the mark.
    """

    price: float
    index_price: float
    forward_price: float
    implied_vol: float
    time_ns: int
    collar_low_ticks: int
    collar_high_ticks: int
    # What a market order is sent at: the collar's end, or nearer, where the venue would not take that.
    sell_at_ticks: int = 0
    buy_at_ticks: int = 0
    # False where the guard of its market does not believe what the venue told: the price is what margin uses instead,
    # and no position is adjusted on it.
    is_sound: bool = True

    def set_band(self, low: int, high: int) -> None:
        """Take another collar; a market order goes no further than that, nor further than the venue took."""
        self.collar_low_ticks, self.collar_high_ticks = low, high
        self.sell_at_ticks, self.buy_at_ticks = max(low, self.sell_at_ticks), min(high, self.buy_at_ticks)


class Collar(msgspec.Struct, frozen=True):
    """How far from the mark a limit price may be; options by the larger of a fraction and a number of ticks.

    Of contracts other than options, `of_coin` says how far below and above the mark by underlying, instead of
    `fraction`.
    """

    fraction: float
    option_fraction: float
    option_min_ticks: int
    of_coin: Mapping[str, tuple[float, float]] = {}

    def band_ticks(self, instrument: Instrument, price: float, narrower: float | None = None) -> tuple[int, int]:
        """Return (lowest, highest) admissible limit price in ticks, both on the tick scheme, the low end at least one.

        A market order is sent at one end of the band, so each end must be a price that the venue takes. `narrower` is
        another fraction for other than options, used where it is one.
        """
        mark = price / float(instrument.tick_size)
        if instrument.is_option:
            below = above = max(mark * self.option_fraction, float(self.option_min_ticks))
        else:
            shares = self.of_coin.get(instrument.underlying) if self.of_coin else None
            low_share, high_share = (self.fraction, self.fraction) if shares is None else shares
            if narrower is not None:
                low_share, high_share = min(low_share, narrower), min(high_share, narrower)
            below, above = mark * low_share, mark * high_share
        low = instrument.step_up(max(1, -int(-(mark - below) // 1)))
        return low, max(1, instrument.step_down(int((mark + above) // 1)))


class MarkAgeRule(msgspec.Struct, frozen=True, gc=False):
    """How old marks of a venue's instruments may be that `pattern` fits; `suffix` is what our symbols have more."""

    venue: str
    pattern: str
    suffix: str
    max_age_ns: int

    def fits(self, instrument: Instrument) -> bool:
        """Whether it is about this instrument."""
        symbol = instrument.symbol.removesuffix(self.suffix)
        return instrument.venue == self.venue and fnmatchcase(symbol, self.pattern)


class Market(msgspec.Struct):
    """What the checks see of the outside world. Lists are by instrument index."""

    kernel: MarginKernel
    marks: list[Mark | None]
    mark_max_age_ns: int  # of an instrument that has none of its own in `own_mark_ages_ns`
    generation_max_age_ns: int
    collar: Collar
    generation_time_ns: int = NEVER_NS
    base_scenario: int = 0
    # Why no newer generation may be coming; "" where nothing is known to be wrong.
    pricing_trouble: str = ""
    # The marks that the last generation was begun with, and how far one may move before the next is due: fractions of
    # price and forward, and of implied volatility; 0 for never.
    priced_marks: list[Mark | None] = msgspec.field(default_factory=list)
    due_after_move: float = 0.0
    due_after_vol_move: float = 0.0
    has_moved: bool = False
    # How many instruments the kernel's generation knows of; those listed since have no margin yet.
    priced_count: int = 1 << 62
    live_venues: set[str] = msgspec.field(default_factory=set)
    # What all venues say the coins are worth, and whose marks are doubted.
    board: IndexBoard = msgspec.field(default_factory=lambda: IndexBoard(MAX_INDEX_AGE_NS, MAX_DEVIATION, MAX_BASIS))
    # Venues that take stop orders -> which of their prices triggers one.
    stop_triggers: dict[str, str] = msgspec.field(default_factory=dict)
    # What takes no orders now. The order path asks only whether it is empty; where it is not, the plain checks look.
    halts: Halts = msgspec.field(default_factory=dict)
    # Says which of the marks that come may be used; None: all of them.
    guard: GuardBoard | None = None
    # Venues that have no day orders -> the second of the UTC day with which such an order ends here.
    day_ends_s: dict[str, int] = msgspec.field(default_factory=dict)
    # Instruments, by index, with an age limit of their own: that of the first rule that fits.
    own_mark_ages_ns: dict[int, int] = msgspec.field(default_factory=dict)
    mark_age_rules: tuple[MarkAgeRule, ...] = ()
    # What share of a coin does not count where it is pledged: the margin parameters' haircuts.
    haircuts: Mapping[str, float] = {}
    # The USD of one whole of each currency that the last generation has a price of.
    currency_prices: Mapping[str, float] = {}
    # What stands above accounts in the kernel; none: nothing does.
    hierarchy: Hierarchy | None = None
    # Venues' own margin models, by the name that accounts' `venue_books` give them.
    venue_books: dict[str, VenueBook] = msgspec.field(default_factory=dict)
    # The house's margin as profiles ask for it, by part.
    profile_kernels: dict[Part, MarginKernel] = msgspec.field(default_factory=dict)

    def mark_age_limit_ns(self, index: int) -> int:
        """Return how old an instrument's mark may be."""
        return self.own_mark_ages_ns.get(index, self.mark_max_age_ns)

    @property
    def longest_mark_age_ns(self) -> int:
        """The age that no mark that is used can be above."""
        return max(self.mark_max_age_ns, *(rule.max_age_ns for rule in self.mark_age_rules), 0)

    def limit_mark_age(self, instrument: Instrument) -> None:
        """Note how old the mark of an instrument that is listed may be."""
        for rule in self.mark_age_rules:
            if rule.fits(instrument):
                self.own_mark_ages_ns[instrument.index] = rule.max_age_ns
                return

    def usable_marks(self, marks: Sequence[Mark | None], now_ns: int) -> Sequence[Mark | None]:
        """Return marks by index without those older than their own limit; the general one is left to others."""
        if not self.mark_age_rules:
            return marks
        return [
            None if mark is None or now_ns - mark.time_ns > self.mark_age_limit_ns(index) else mark
            for index, mark in enumerate(marks)
        ]

    def above(self, account_index: int) -> tuple[int, ...]:
        """Return the kernel's rows above an account."""
        return () if self.hierarchy is None else self.hierarchy.above(account_index)

    def update_mark(
        self,
        instrument: Instrument,
        *,
        price: float,
        index_price: float,
        forward_price: float,
        implied_vol: float,
        time_ns: int,
        lowest_sell: float = 0.0,
        highest_buy: float = 0.0,
    ) -> bool:
        """Take a new mark; False (and nothing changed) where it is not a usable price or older than what we have.

        `lowest_sell` and `highest_buy` are the limits that the venue takes now, 0 where it did not say.
        """
        lowest = 0.0 if instrument.is_option else instrument.tick / 2  # an option may be worth nothing
        if not (lowest <= price < 1e15 and 0.0 < index_price < 1e15 and 0.0 < forward_price < 1e15):
            return False
        if not 0.0 <= implied_vol < 1e3:
            return False
        last = self.marks[instrument.index]
        if last is not None and time_ns < last.time_ns:
            return False
        narrower, is_sound = None, True
        if self.guard is not None:
            told = index_price
            price, index_price, is_sound, narrower = self.guard.admit(instrument, price, index_price, time_ns)
            forward_price *= index_price / told
        low, high = self.collar.band_ticks(instrument, price, narrower)
        tick = instrument.tick
        sell_at, buy_at = low, high
        if 0.0 < lowest_sell < 1e15:
            furthest = price - BAND_USED * (price - lowest_sell)
            sell_at = max(low, instrument.step_up(max(1, -int(-furthest / tick // 1))))
        if 0.0 < highest_buy < 1e15:
            furthest = price + BAND_USED * (highest_buy - price)
            buy_at = max(1, min(high, instrument.step_down(int(furthest / tick // 1))))
        mark = Mark(price, index_price, forward_price, implied_vol, time_ns, low, high, sell_at, buy_at, is_sound)
        self.marks[instrument.index] = mark
        if self.due_after_move and not self.has_moved:
            self.has_moved = self._moved_far(instrument, mark)
        return True

    def begin_generation(self) -> list[Mark | None]:
        """Return the marks as they are, for a generation that is begun with them; moves count from these on."""
        self.has_moved = False
        self.priced_marks = list(self.marks)
        return self.priced_marks

    def _moved_far(self, instrument: Instrument, mark: Mark) -> bool:
        """Whether a generation is due because of this mark. An instrument's first waits for the timer."""
        index, priced = instrument.index, self.priced_marks
        then = priced[index] if index < len(priced) else None
        if then is None:
            return False
        if abs(mark.forward_price - then.forward_price) > self.due_after_move * then.forward_price:
            return True
        if instrument.is_option:  # its price follows from the two others
            return abs(mark.implied_vol - then.implied_vol) > self.due_after_vol_move * then.implied_vol
        return abs(mark.price - then.price) > self.due_after_move * then.price

    def list_instrument(self, index: int) -> None:
        """Make room for an instrument; its mark is unknown until one comes."""
        while len(self.marks) <= index:
            self.marks.append(None)
