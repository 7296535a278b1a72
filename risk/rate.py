"""Order rate of one account: the generic cell rate algorithm (ITU-T I.371), one integer of state."""

NS_PER_SECOND = 1_000_000_000


class RateLimit:
    """At most `per_second` on average and `burst` at once."""

    __slots__ = ("_arrival_ns", "_interval_ns", "_tolerance_ns", "burst", "per_second")

    def __init__(self, per_second: int, burst: int) -> None:
        if per_second < 1 or burst < 1:
            raise ValueError(f"a rate limit needs at least 1 a second and a burst of 1, not {per_second} and {burst}")
        self.per_second = per_second
        self.burst = burst
        self._interval_ns = -(-NS_PER_SECOND // per_second)  # rounded up: never more than the rate
        self._tolerance_ns = self._interval_ns * (burst - 1)
        self._arrival_ns = 0  # theoretical arrival time of the next conforming order

    @property
    def arrival_ns(self) -> int:
        """All that it remembers: set back to what it was, it has counted nothing since."""
        return self._arrival_ns

    @arrival_ns.setter
    def arrival_ns(self, arrival_ns: int) -> None:
        self._arrival_ns = arrival_ns

    def admit(self, now_ns: int) -> bool:
        """Count one order at `now_ns` if it conforms; a refused one is not counted."""
        arrival = self._arrival_ns
        if arrival - now_ns > self._tolerance_ns:
            return False
        self._arrival_ns = (arrival if arrival > now_ns else now_ns) + self._interval_ns
        return True
