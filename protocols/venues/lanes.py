"""One of a venue's connections: what it needs to stay up, and how far it has come."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from protocols.venues.fields import NS_PER_S

# A venue that cuts connections at an age is left this much before it does, at a moment of ours.
RENEWAL_MARGIN_NS: Final = 600 * NS_PER_S
# After the planned end, a connection with requests in flight is kept so long for their answers.
DRAIN_NS: Final = 10 * NS_PER_S
MAX_WANTED: Final = 65_536


class LaneSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is constant of a connection. `address` is the venue's own; another may stand in for it, the path stays.

    `is_private`: the venue must know us before anything private is sent. `is_vital`: without it the session is not
    live. `ping_s`: how often we must send something, 0 where we need not. `silence_s`: with nothing received for so
    long it is dead. `lifetime_s`: the venue cuts it at this age, 0 where it does not.
    """

    name: str
    address: str
    path: str
    is_private: bool = False
    is_vital: bool = False
    ping: str = ""
    ping_s: int = 0
    silence_s: int = 0
    lifetime_s: int = 0


class LaneState(Enum):
    DOWN = "down"
    UP = "up"  # the transport is; the venue does not know us yet
    READY = "ready"


class Lane:
    """A connection's state. `wanted` are the channels that it is to carry, over reconnections too."""

    __slots__ = (
        "close_reason",
        "connected_ns",
        "frames",
        "pinged_ns",
        "received_ns",
        "renewal_delay_ns",
        "spec",
        "stagger_ns",
        "state",
        "wanted",
    )

    def __init__(self, spec: LaneSpec, stagger_ns: int) -> None:
        self.spec = spec
        # Lanes are renewed one after the other, not all at the same time.
        self.stagger_ns = stagger_ns
        self.state = LaneState.DOWN
        self.close_reason = ""
        self.connected_ns = self.received_ns = self.pinged_ns = self.renewal_delay_ns = 0
        self.frames: list[bytes] = []
        self.wanted: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"Lane({self.spec.name}, {self.state.value})"

    @property
    def is_ready(self) -> bool:
        return self.state is LaneState.READY

    def connect(self, now_ns: int) -> None:
        self.state = LaneState.UP
        self.close_reason = ""
        self.connected_ns = self.received_ns = self.pinged_ns = now_ns
        self.renewal_delay_ns = 0
        self.frames.clear()

    def disconnect(self) -> None:
        self.state = LaneState.DOWN
        self.close_reason = ""
        self.frames.clear()

    @property
    def ping_at_ns(self) -> int | None:
        return self.pinged_ns + self.spec.ping_s * NS_PER_S if self.spec.ping_s else None

    @property
    def silent_at_ns(self) -> int | None:
        return self.received_ns + self.spec.silence_s * NS_PER_S if self.spec.silence_s else None

    @property
    def renew_at_ns(self) -> int | None:
        """When the connection is to be closed by us, before the venue does."""
        if not self.spec.lifetime_s:
            return None
        life_ns = self.spec.lifetime_s * NS_PER_S - RENEWAL_MARGIN_NS - self.stagger_ns
        return self.connected_ns + life_ns + self.renewal_delay_ns

    @property
    def deadline_ns(self) -> int | None:
        """When something is due, while the connection is up and not to be closed anyway."""
        if self.state is LaneState.DOWN or self.close_reason:
            return None
        times = [at for at in (self.ping_at_ns, self.silent_at_ns, self.renew_at_ns) if at is not None]
        return min(times, default=None)
