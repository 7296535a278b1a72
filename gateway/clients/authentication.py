"""Who may log on: addresses and pauses first, since they cost nothing, then certificates, then keys and passwords.

The peer is told one text whatever is wrong, or nothing. The operator is told what it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import operator
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clients.addresses import Address, Network, is_within, origin_of
from gateway.clients.back_off import BackOff
from gateway.clients.passwords import PasswordHash
from gateway.clients.tls import Certificate
from gateway.clock import now_ns
from gateway.monitor import Monitor
from protocols.fix import tags
from protocols.fix.authentication import Ed25519Key, HmacKey, LogonFault, ReplayWindow
from protocols.fix.codec import Message
from protocols.fix.session import SessionKey

REFUSAL: Final = "Logon refused"
# A hash takes a core for 50 ms and 46 MiB: one at a time leaves the other core to orders, and 20 logons a second.
THREADS: Final = 1
# And orders come first where there is no other core: a hash takes what they leave.
NICENESS: Final = 5
# Logons in front of the thread: the last one waits 1.6 s.
MAX_QUEUED: Final = 32

_UNSUPPORTED = {tags.NEW_PASSWORD: "NewPassword(925)", tags.ENCRYPTED_NEW_PASSWORD: "EncryptedNewPassword(1404)"}

Method = HmacKey | Ed25519Key | PasswordHash | None


class Peer(msgspec.Struct, frozen=True):
    """The other end of a connection, as far as the transport knows it."""

    address: Address
    certificate: Certificate | None = None

    @property
    def origin(self) -> str:
        """Whom its failures count for."""
        return origin_of(self.address)


class SessionRules(msgspec.Struct, frozen=True):
    """What the peer of one session must have. `method` None: an address or a certificate is all."""

    method: Method = None
    networks: tuple[Network, ...] = ()
    certificate_sha256: str = ""
    certificate_subject: str = ""

    def objection(self, peer: Peer) -> str:
        """Return what of the connection does not fit the session; empty where all does."""
        if not is_within(peer.address, self.networks):
            return "address not allowed"
        certificate = peer.certificate
        if self.certificate_sha256 or self.certificate_subject:
            if certificate is None:
                return "no client certificate"
            if self.certificate_sha256 and certificate.sha256 != self.certificate_sha256:
                return "another client certificate"
            if self.certificate_subject and certificate.subject != self.certificate_subject:
                return "client certificate of another subject"
        return ""


class Verdict(msgspec.Struct, frozen=True):
    """How a LogonRequested is answered. `text` is for the peer, None for silence; `reason` is for us."""

    is_accepted: bool
    reason: str = ""
    text: str | None = None


Answer = Callable[[Verdict], None]


class Workers(Protocol):
    """Runs what takes long beside the loop, and hands the result over in it."""

    def submit(
        self, work: Callable[[], LogonFault | None], done: Callable[[Future[LogonFault | None]], None]
    ) -> Future[LogonFault | None]:
        """Return the future of `work`, whose end `done` is told of in the loop; it may be cancelled until it begins."""

    def later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """Do something in the loop after a while."""

    def close(self) -> None:
        """Drop what has not begun."""


class Threads:
    """Workers in threads of their own, for the running loop."""

    def __init__(self, count: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="logon", initializer=_be_nice)

    def submit(
        self, work: Callable[[], LogonFault | None], done: Callable[[Future[LogonFault | None]], None]
    ) -> Future[LogonFault | None]:
        """See Workers."""
        loop = asyncio.get_running_loop()

        def hand_over(future: Future[LogonFault | None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(done, future)

        future = self._pool.submit(work)
        future.add_done_callback(hand_over)
        return future

    def later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        """See Workers."""
        return asyncio.get_running_loop().call_later(delay_s, action)

    def close(self) -> None:
        """See Workers."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _be_nice() -> None:
    # On Linux a priority is a thread's; elsewhere it may be the process's, which must keep its own.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Enquiry:
    """One Logon that is being looked at. `cancel` when its connection is over: then nobody is answered."""

    def __init__(self, peer: Peer, session: str, logon: Message, answer: Answer) -> None:
        self.peer = peer
        self.session = session
        self.logon = logon
        self.answer: Answer | None = answer
        self.job: Future[LogonFault | None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Drop it; what runs in a thread already runs on, and still counts as a try."""
        self.answer = None
        if self.timer is not None:
            self.timer.cancel()
        if self.job is not None:
            self.job.cancel()


class Authenticator:
    """Answers LogonRequested, at once or later, in the loop."""

    def __init__(
        self,
        rules: Mapping[str, SessionRules],
        monitor: Monitor,
        workers: Workers,
        *,
        tells_refusals: bool = True,
        clock: Callable[[], int] = now_ns,
        name_of: Callable[[SessionKey], str] = operator.attrgetter("target_comp_id"),
    ) -> None:
        """`rules` by the session's name, which `name_of` gives.

        `tells_refusals`: a known session hears that it was refused, not why.
        """
        self._rules = rules
        self._monitor = monitor
        self._workers = workers
        self._tells_refusals = tells_refusals
        self._clock = clock
        self._name_of = name_of
        self._back_off = BackOff()
        self._queued = 0
        self._stranger = SessionRules(method=_of_nobody(rule.method for rule in rules.values()))

    def ask(self, peer: Peer, key: SessionKey | None, logon: Message, answer: Answer) -> Enquiry:
        """Find out whether the Logon is its session's; `answer` may be called before this returns.

        A Logon of a session that nobody knows (None) is looked at as others are, and fails.
        """
        session = "" if key is None else self._name_of(key)
        rules = self._rules.get(session, self._stranger)
        enquiry = Enquiry(peer, session, logon, answer)
        now = self._clock()
        if objection := rules.objection(peer):
            self._refuse(enquiry, objection, is_told=False)
        elif self._back_off.is_paused(peer.origin, session, now):
            self._refuse(enquiry, "too many failures", is_told=False)
        elif delay_ns := self._back_off.delay_ns(peer.origin, session, now):
            look = functools.partial(self._look, enquiry, rules.method)
            enquiry.timer = self._workers.later(delay_ns / 1e9, look)
        else:
            self._look(enquiry, rules.method)
        return enquiry

    def close(self) -> None:
        """Answer nobody any more."""
        self._workers.close()

    def _look(self, enquiry: Enquiry, method: Method) -> None:
        if method is None:
            self._judged(enquiry, None)
        elif not isinstance(method, PasswordHash):
            # Some 10 us for a MAC, 150 us for a signature: less than a thread would cost the loop.
            self._judged(enquiry, method.fault(enquiry.logon, self._clock()))
        elif self._queued >= MAX_QUEUED:
            self._refuse(enquiry, "too many logons at once", is_told=False)
        else:
            self._queued += 1
            logon, done = enquiry.logon, functools.partial(self._hashed, enquiry)
            enquiry.job = self._workers.submit(lambda: method.fault(logon), done)

    def _hashed(self, enquiry: Enquiry, job: Future[LogonFault | None]) -> None:
        self._queued -= 1
        if job.cancelled():
            return
        error = job.exception()
        if error is None:
            self._judged(enquiry, job.result())
        else:
            # No memory for the hash, say: nobody gets in, and nobody is blamed.
            self._refuse(enquiry, f"not checked: {type(error).__name__}", is_told=True)

    def _judged(self, enquiry: Enquiry, fault: LogonFault | None) -> None:
        origin, session, now = enquiry.peer.origin, enquiry.session, self._clock()
        if fault is None and session in self._rules:
            self._back_off.succeeded(origin, session)
            _answer(enquiry, _verdict_on_wishes(enquiry.logon))
            return
        self._back_off.failed(origin, session, now)
        # Each Logout takes a number of the session: a stranger gets a few, and not hundreds.
        is_told = self._back_off.is_calm(session, now)
        self._refuse(enquiry, "no such session" if fault is None or not session else fault.value, is_told=is_told)

    def _refuse(self, enquiry: Enquiry, reason: str, *, is_told: bool) -> None:
        self._monitor.logon_refused(enquiry.session, reason, str(enquiry.peer.address), self._clock())
        text = REFUSAL if is_told and self._tells_refusals else None
        _answer(enquiry, Verdict(is_accepted=False, reason=f"Logon refused: {reason}", text=text))


def _answer(enquiry: Enquiry, verdict: Verdict) -> None:
    answer, enquiry.answer = enquiry.answer, None
    if answer is not None:
        answer(verdict)


def _verdict_on_wishes(logon: Message) -> Verdict:
    """Judge what a peer that is who it says asks for besides; a password that it believes changed must have changed."""
    for tag, name in _UNSUPPORTED.items():
        if logon.get(tag) is not None:
            text = f"{name} is not supported"
            return Verdict(is_accepted=False, reason=text, text=text)
    return Verdict(is_accepted=True)


def _of_nobody(methods: Iterable[Method]) -> Method:
    """Return what Logons of unknown sessions are compared with: of the dearest method that a known one has."""
    known = {type(method) for method in methods}
    if PasswordHash in known:
        return PasswordHash.of_nobody()
    if Ed25519Key in known:
        return Ed25519Key(Ed25519PrivateKey.generate().public_key(), ReplayWindow())
    return HmacKey(os.urandom(16), os.urandom(32), ReplayWindow()) if HmacKey in known else None
