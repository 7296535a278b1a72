"""One connection of a hook's client, without I/O: a frame in, its answer out, and whether the connection goes on.

The first frame must be a hello in time. Whoever fails is told one text whatever was wrong; the operator is told what it
was, and no secret is part of that.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.clients.back_off import BackOff
from gateway.hook.api import Hook
from gateway.hook.messages import AnyRequest, Hello, Refused, Welcome, decode, encode, refused
from gateway.monitor import Monitor
from risk.order import Reject, RejectReason

REFUSAL: Final = "hello refused"


def token_hash(token: str) -> bytes:
    """Return what is kept of a token: it is random, so a plain hash tells nothing of it."""
    return hashlib.sha256(token.encode()).digest()


class Origin(msgspec.Struct, frozen=True):
    """Where a connection comes from: an address, or a user of this machine as the kernel says."""

    name: str
    user: str = ""


class Pass(msgspec.Struct, frozen=True):
    """What one client must have: a token's hash or, without one, to be a user of this machine."""

    users: frozenset[str]
    digest: bytes | None = None

    def __repr__(self) -> str:
        return "Pass(<hidden>)"


class Doorkeeper:
    """Judges hellos; failures of one origin and client are followed by pauses, as at the FIX door."""

    def __init__(self, passes: Mapping[str, Pass], monitor: Monitor) -> None:
        self._passes = passes
        self._monitor = monitor
        self._back_off = BackOff()
        self._nobody = Pass(frozenset(), bytes(hashlib.sha256().digest_size))

    def admits(self, hello: Hello, origin: Origin, now_ns: int) -> bool:
        """Whether a connection is the client's that it names."""
        known = self._passes.get(hello.client)
        name = "" if known is None else hello.client
        if self._back_off.is_paused(origin.name, name, now_ns):
            return self._refuse(name, origin, "too many failures", now_ns)
        held = known or self._nobody
        is_token = held.digest is not None and hmac.compare_digest(token_hash(hello.token), held.digest)
        reason = ""
        if known is None:
            reason = "no such client"
        elif origin.user and origin.user not in known.users:
            reason = "another user"
        elif known.digest is None and not origin.user:
            reason = "not over the Unix socket"
        elif known.digest is not None and not is_token:
            reason = "wrong token"
        if reason:
            self._back_off.failed(origin.name, name, now_ns)
            return self._refuse(name, origin, reason, now_ns)
        self._back_off.succeeded(origin.name, name)
        return True

    def _refuse(self, name: str, origin: Origin, reason: str, now_ns: int) -> bool:
        text = f"hook: hello of {name or 'an unknown client'} from {origin.name} refused: {reason}"
        self._monitor.alert_now_and_then((f"hook {name}", reason), text, now_ns)
        return False


class HookSession:
    """`handle` each frame, write its answer, and hang up where `is_over`; no later than `deadline_ns` too."""

    def __init__(
        self,
        hooks: Mapping[str, Hook],
        door: Doorkeeper,
        origin: Origin,
        now_ns: int,
        *,
        hello_timeout_ns: int,
        max_message_bytes: int,
        max_faults: int,
    ) -> None:
        self.hook: Hook | None = None
        self.is_over = False
        self.deadline_ns: int | None = now_ns + hello_timeout_ns
        self.max_message_bytes = max_message_bytes
        self._hooks = hooks
        self._door = door
        self._origin = origin
        self._faults, self._max_faults = 0, max_faults

    def handle(self, frame: bytes, now_ns: int) -> bytes:
        """Return the answer to one frame, JSON without a line's end."""
        request = decode(frame)
        hook = self.hook
        if hook is None:
            return self._stranger(request, now_ns)
        if isinstance(request, Refused):
            return self._fault(request)
        self._faults = 0
        return encode(hook.act(request, now_ns))

    def too_long(self) -> bytes:
        """Return the answer to a frame that is too long, whose end may never come: the last one."""
        self.is_over = True
        text = f"a request is at most {self.max_message_bytes} bytes"
        return encode(refused(Hello(client=""), "", Reject(_NOT_UNDERSTOOD, "request", text)))

    def tick(self, now_ns: int) -> None:
        """End the connection if nobody has said in time whose it is."""
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            self.is_over = True

    def _fault(self, answer: Refused) -> bytes:
        """So many in a row, and there is nobody who reads the answers."""
        self._faults += 1
        self.is_over = self._faults >= self._max_faults
        return encode(answer)

    def _stranger(self, request: AnyRequest | Refused, now_ns: int) -> bytes:
        if not isinstance(request, Hello):
            self.is_over = True
            hello = Hello(client="", id=request.id)
            return encode(refused(hello, "", Reject(_NOT_AUTHENTICATED, "hello", "say hello first")))
        if not self._door.admits(request, self._origin, now_ns):
            self.is_over = True
            return encode(refused(request, "hello", Reject(_NOT_AUTHENTICATED, "hello", REFUSAL)))
        hook = self.hook = self._hooks[request.client]
        self.deadline_ns = None
        return encode(Welcome(request.id, True, "hello", hook.name, tuple(hook.accounts), self.max_message_bytes))


_NOT_UNDERSTOOD: Final = RejectReason.REQUEST_NOT_UNDERSTOOD
_NOT_AUTHENTICATED: Final = RejectReason.NOT_AUTHENTICATED
