"""When to send a Heartbeat, when to ask for one, when to give a silent peer up."""

from protocols.fix.values import NS_PER_SECOND


class Heartbeats:
    """Both directions' silence of one session. Times in nanoseconds; interval 0: no supervision."""

    __slots__ = ("_interval_ns", "is_tested", "last_received_ns", "last_sent_ns")

    def __init__(self, now_ns: int) -> None:
        self._interval_ns = 0
        self.last_sent_ns = now_ns
        self.last_received_ns = now_ns
        self.is_tested = False  # a TestRequest is out

    def start(self, heart_bt_int: int) -> None:
        """Begin with HeartBtInt(108) as agreed, in seconds."""
        self._interval_ns = heart_bt_int * NS_PER_SECOND

    @property
    def heart_bt_int(self) -> int:
        """HeartBtInt(108) as agreed, in seconds."""
        return self._interval_ns // NS_PER_SECOND

    @property
    def heartbeat_at_ns(self) -> int | None:
        """When our own silence ends; None while our TestRequest waits, for then it is the peer's turn."""
        return self.last_sent_ns + self._interval_ns if self._interval_ns and not self.is_tested else None

    @property
    def test_at_ns(self) -> int | None:
        """When to send a TestRequest: 1.2 intervals of silence leave room for a slow network."""
        if not self._interval_ns or self.is_tested:
            return None
        return self.last_received_ns + self._interval_ns * 12 // 10

    @property
    def give_up_at_ns(self) -> int | None:
        """When to give the peer up: a second 1.2 intervals after the TestRequest."""
        return self.last_received_ns + self._interval_ns * 24 // 10 if self._interval_ns else None

    @property
    def deadline_ns(self) -> int | None:
        """The first of the three."""
        times = [at for at in (self.heartbeat_at_ns, self.test_at_ns, self.give_up_at_ns) if at is not None]
        return min(times, default=None)
