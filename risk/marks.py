"""Mark prices with their age. Unknown and stale are first-class: nothing is checked against a price nobody has."""

import msgspec

from risk.composite import IndexBoard
from risk.constraints import Part
from risk.instrument import Instrument
from risk.kernel import MarginKernel
from risk.levels import Hierarchy
from risk.venue_book import VenueBook

NEVER_NS = -(1 << 62)
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


class Collar(msgspec.Struct, frozen=True, gc=False):
    """How far from the mark a limit price may be; options by the larger of a fraction and a number of ticks."""

    fraction: float
    option_fraction: float
    option_min_ticks: int

    def band_ticks(self, instrument: Instrument, price: float) -> tuple[int, int]:
        """Return (lowest, highest) admissible limit price in ticks, both on the tick scheme, the low end at least one.

        A market order is sent at one end of the band, so each end must be a price that the venue takes.
        """
        mark = price / float(instrument.tick_size)
        if instrument.is_option:
            width = max(mark * self.option_fraction, float(self.option_min_ticks))
        else:
            width = mark * self.fraction
        low = instrument.step_up(max(1, -int(-(mark - width) // 1)))
        return low, max(1, instrument.step_down(int((mark + width) // 1)))


class Market(msgspec.Struct):
    """What the checks see of the outside world. Lists are by instrument index."""

    kernel: MarginKernel
    marks: list[Mark | None]
    mark_max_age_ns: int
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
    # What stands above accounts in the kernel; none: nothing does.
    hierarchy: Hierarchy | None = None
    # Venues' own margin models, by the name that accounts' `venue_books` give them.
    venue_books: dict[str, VenueBook] = msgspec.field(default_factory=dict)
    # The house's margin as profiles ask for it, by part.
    profile_kernels: dict[Part, MarginKernel] = msgspec.field(default_factory=dict)

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
        low, high = self.collar.band_ticks(instrument, price)
        tick = instrument.tick
        sell_at, buy_at = low, high
        if 0.0 < lowest_sell < 1e15:
            furthest = price - BAND_USED * (price - lowest_sell)
            sell_at = max(low, instrument.step_up(max(1, -int(-furthest / tick // 1))))
        if 0.0 < highest_buy < 1e15:
            furthest = price + BAND_USED * (highest_buy - price)
            buy_at = max(1, min(high, instrument.step_down(int(furthest / tick // 1))))
        mark = Mark(price, index_price, forward_price, implied_vol, time_ns, low, high, sell_at, buy_at)
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
