"""The states of a venue session, what leads from one to the next, and what an error code proves: of every venue."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class State(Enum):
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    RECONCILING = "reconciling"
    LIVE = "live"
    HALTED = "halted"


class Input(Enum):
    CONNECTED = "the transport is up"
    AUTHENTICATED = "the venue knows us"
    RECONCILED = "everything asked was answered"
    REFUSED = "the venue refused what the session needs, or fell silent"
    DISCONNECTED = "the transport is gone"


# An absent pair is a mistake of the caller (CONNECTED, DISCONNECTED) or of this package (the others).
TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.CONNECTING, Input.CONNECTED): State.AUTHENTICATING,
    (State.CONNECTING, Input.DISCONNECTED): State.CONNECTING,
    (State.AUTHENTICATING, Input.AUTHENTICATED): State.RECONCILING,
    (State.AUTHENTICATING, Input.REFUSED): State.HALTED,
    (State.AUTHENTICATING, Input.DISCONNECTED): State.CONNECTING,
    (State.RECONCILING, Input.RECONCILED): State.LIVE,
    (State.RECONCILING, Input.REFUSED): State.HALTED,
    (State.RECONCILING, Input.DISCONNECTED): State.CONNECTING,
    (State.LIVE, Input.REFUSED): State.HALTED,
    (State.LIVE, Input.DISCONNECTED): State.CONNECTING,
    (State.HALTED, Input.REFUSED): State.HALTED,
    (State.HALTED, Input.DISCONNECTED): State.CONNECTING,
}

# States in which the venue knows us: no private frame leaves in any other.
AUTHENTICATED_STATES: Final = frozenset({State.RECONCILING, State.LIVE})


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`is_definite`: the venue has refused the request, and it certainly had no effect."""

    name: str
    is_definite: bool


# A code that is not in a venue's table proves nothing.
UNLISTED: Final = Verdict("unlisted", False)
