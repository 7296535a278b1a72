"""Logons of every method with every fault, as bytes: what the peer gets, what we hear, what becomes of the session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fixtures.fix_conversation import FixConversation
from gateway.clients.addresses import address_of, networks_of
from gateway.clients.authentication import MAX_QUEUED, Authenticator, Enquiry, Method, Peer, SessionRules
from gateway.clients.back_off import FREE_FAILURES
from gateway.clients.link import ClientLink
from gateway.clients.passwords import PasswordHash, hashed
from gateway.clients.tls import Certificate
from protocols.fix.authentication import (
    Ed25519Key,
    HmacKey,
    LogonFault,
    ReplayWindow,
    ed25519_fields,
    hmac_fields,
    password_fields,
)
from protocols.fix.session import Limits, LogonRequested
from tests.gateway.live import Credentials, signed
from tests.gateway.rig import SECOND, Rig, opened

PASSWORD = b"canary-pass-word"
LINE = hashed(PASSWORD.decode())
SECRET = b"canary-secret-of-thirty-two-bytes"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CERTIFICATE = Certificate("ab" * 32, "CN=alpha,O=Desk")
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"

Judged = LogonFault | None


class Steps:
    """Workers that work when they are told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Judged], Future[Judged], Callable[[Future[Judged]], None]]] = []
        self.delays: list[tuple[float, Callable[[], None]]] = []
        self.is_open = True

    def submit(self, work: Callable[[], Judged], done: Callable[[Future[Judged]], None]) -> Future[Judged]:
        future: Future[Judged] = Future()
        self.jobs.append((work, future, done))
        return future

    def later(self, delay_s: float, action: Callable[[], None]) -> Any:
        entry = (delay_s, action)
        self.delays.append(entry)

        class Handle:
            def cancel(_) -> None:  # noqa: N805
                self.delays.remove(entry)

        return Handle()

    def close(self) -> None:
        self.is_open = False

    def run(self) -> None:
        """Do all that waits, what waits for a time first."""
        while self.delays:
            self.delays.pop(0)[1]()
        while self.jobs:
            work, future, done = self.jobs.pop(0)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)
            done(future)


class Client:
    """One connection to a gateway with an authenticator; bytes in, bytes out."""

    def __init__(self, gate: Gate, comp_id: str, address: str, certificate: Certificate | None) -> None:
        self.gate = gate
        self.fix = FixConversation(comp_id, "MARGINGATE", 30, gate.rig.now_ns)
        if comp_id in gate.rig.core.reports.sessions:
            self.fix.next_out = gate.rig.core.reports.sessions[comp_id].next_in
        self.peer = Peer(address_of(address), certificate)
        states = {state.key: state for state in gate.rig.core.reports.sessions.values()}
        self.link = ClientLink(
            states, gate.rig.pipeline, gate.rig.now_ns, Limits(), lambda name: None, lambda name: True, self.ask
        )
        self.enquiry: Enquiry | None = None

    def ask(self, event: LogonRequested) -> None:
        def answer(verdict: Any) -> None:
            self.link.answer_logon(verdict, self.gate.rig.now_ns)

        self.enquiry = self.gate.authenticator.ask(self.peer, event.key, event.message, answer)

    def log_on(self, credentials: Credentials = (), *, extra: tuple[tuple[int, str], ...] = ()) -> bytes:
        """Send a Logon; return it, so that somebody may send it again."""
        now_ns = self.gate.rig.now_ns
        body = [(98, "0"), (108, "30"), *extra, *signed(self.fix, credentials, now_ns)]
        self.fix.send("A", body, now_ns)
        logon = self.fix.data_to_send()
        self.link.receive(logon, now_ns)
        return logon

    def received(self) -> bytes:
        """What came, without what depends on time."""
        data = b""
        while more := self.link.session.data_to_send():
            data += more
        return re.sub(rb"\x01(52|10|9)=[^\x01]*", b"", data)

    @property
    def is_in(self) -> bool:
        return self.link.session.is_logged_on


class Gate:
    """A rig whose client ALPHA has the method in question; BETA has a password."""

    def __init__(self, rig: Rig, method: Method, **rules: Any) -> None:
        self.rig = rig
        self.workers = Steps()
        tells = rules.pop("tells_refusals", True)
        self.authenticator = Authenticator(
            {"ALPHA": SessionRules(method=method, **rules), "BETA": SessionRules(method=PasswordHash(b"beta", LINE))},
            rig.monitor,
            self.workers,
            tells_refusals=tells,
            clock=lambda: rig.now_ns,
        )

    def client(
        self, comp_id: str = "ALPHA", address: str = HERE, certificate: Certificate | None = CERTIFICATE
    ) -> Client:
        return Client(self, comp_id, address, certificate)

    def tried(self, credentials: Credentials, **options: Any) -> Client:
        """A client that has sent its Logon and has an answer."""
        client = self.client(**options)
        client.log_on(credentials)
        self.workers.run()
        return client

    def reasons(self) -> dict[str, int]:
        return dict(self.rig.monitor.logons_refused)


def methods() -> dict[str, tuple[Method, Callable[[int], Credentials], dict[str, Callable[[int], Credentials]]]]:
    """Method -> (judge, good credentials at a time, bad ones by what we are told of them)."""

    def by_mac(now_ns: int, key_id: bytes = b"key-1", secret: bytes = SECRET) -> Credentials:
        return hmac_fields(key_id, secret, now_ns, b"%016d" % now_ns)

    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return {
        "password": (
            PasswordHash(b"alpha", LINE),
            lambda now_ns: password_fields(b"alpha", PASSWORD),
            {
                "wrong password": lambda now_ns: password_fields(b"alpha", PASSWORD + b"!"),
                "another user": lambda now_ns: password_fields(b"beta", PASSWORD),
            },
        ),
        "hmac": (
            HmacKey(b"key-1", SECRET, ReplayWindow()),
            by_mac,
            {
                "bad signature": lambda now_ns: by_mac(now_ns, secret=b"guess"),
                "another user": lambda now_ns: by_mac(now_ns, key_id=b"key-2"),
                "time outside of the replay window": lambda now_ns: by_mac(now_ns - 10 * SECOND),
                "credentials missing or malformed": lambda now_ns: ((553, b"key-1"), (554, b"x")),
            },
        ),
        "ed25519": (
            Ed25519Key(PRIVATE_KEY.public_key(), ReplayWindow()),
            lambda now_ns: ed25519_fields(PRIVATE_KEY),
            {
                "bad signature": lambda now_ns: ed25519_fields(other),
                "credentials missing or malformed": lambda now_ns: (),
            },
        ),
    }


CASES = [(method, reason) for method, (_, _, bad) in methods().items() for reason in bad]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with opened(tmp_path) as rig:
        yield rig


def state(rig: Rig) -> tuple[int, int]:
    alpha = rig.core.reports.sessions["ALPHA"]
    return alpha.next_in, alpha.next_out


@pytest.mark.parametrize("method", methods())
def test_who_proves_who_it_is_gets_in(rig: Rig, method: str) -> None:
    judge, good, _ = methods()[method]
    client = Gate(rig, judge).tried(good(rig.now_ns))
    assert client.is_in and client.received().startswith(b"8=FIX.4.4\x0135=A\x0134=1\x01")
    assert state(rig) == (2, 2) and rig.monitor.alerts == []
    rig.check_replay()


@pytest.mark.parametrize(("method", "reason"), CASES)
def test_who_does_not_hears_one_text_and_we_hear_why(rig: Rig, method: str, reason: str) -> None:
    judge, good, bad = methods()[method]
    gate = Gate(rig, judge)
    client = gate.tried(bad[reason](rig.now_ns))
    assert client.received() == b"8=FIX.4.4\x0135=5\x0134=1\x0149=MARGINGATE\x0156=ALPHA\x0158=Logon refused\x01"
    assert client.link.session.is_closed and state(rig) == (1, 2)
    assert gate.reasons() == {reason: 1}
    assert rig.monitor.alerts == [f"fix: logon of ALPHA from {HERE} refused: {reason}; 1 such in all"]
    assert rig.monitor.last_session_closed == f"ALPHA: Logon refused: {reason}"
    rig.now_ns += SECOND
    assert gate.tried(good(rig.now_ns)).is_in
    rig.check_replay()


@pytest.mark.parametrize(("method", "reason"), CASES)
def test_in_silence_a_known_session_is_like_an_unknown_one(rig: Rig, method: str, reason: str) -> None:
    judge, _, bad = methods()[method]
    gate = Gate(rig, judge, tells_refusals=False)
    for comp_id in ("ALPHA", "NOBODY"):
        client = gate.tried(bad[reason](rig.now_ns), comp_id=comp_id)
        assert client.received() == b"" and client.link.session.is_closed
    assert gate.reasons() == {reason: 1, "no such session": 1} and state(rig) == (1, 1)


def test_an_unknown_session_costs_the_same_hash(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = []
    real = PasswordHash._fits
    monkeypatch.setattr(
        PasswordHash, "_fits", lambda self, password: passwords.append(password) or real(self, password)
    )
    gate = Gate(rig, methods()["password"][0])
    for comp_id in ("ALPHA", "NOBODY"):
        client = gate.client(comp_id)
        client.log_on(password_fields(b"alpha", b"guess"))
        assert len(gate.workers.jobs) == 1 and not client.link.session.is_closed
        gate.workers.run()
        assert client.link.session.is_closed
    assert passwords == [b"guess", b"guess"]


@pytest.mark.parametrize(
    ("methods_there_are", "kind"),
    [
        (("hmac", "ed25519", "password"), PasswordHash),
        (("hmac", "ed25519"), Ed25519Key),
        (("hmac",), HmacKey),
        ((), type(None)),
    ],
)
def test_strangers_are_compared_with_nobodys_key_of_the_dearest_kind(
    rig: Rig, methods_there_are: tuple[str, ...], kind: type
) -> None:
    rules = {name: SessionRules(method=methods()[name][0]) for name in methods_there_are}
    authenticator = Authenticator(rules, rig.monitor, Steps(), clock=lambda: rig.now_ns)
    assert type(authenticator._stranger.method) is kind
    assert all(authenticator._stranger.method is not rule.method for rule in rules.values() if kind is not type(None))


@pytest.mark.parametrize("method", ["hmac", "ed25519"])
def test_a_logon_that_is_sent_again_is_refused(rig: Rig, method: str) -> None:
    """Fault 10: seen on its way, sent again from elsewhere while the first is in, after it, and when it is stale."""
    judge, good, _ = methods()[method]
    gate = Gate(rig, judge)
    first = gate.client()
    logon = first.log_on(good(rig.now_ns))
    assert first.is_in
    second = gate.client(address=ELSEWHERE)
    second.link.receive(logon, rig.now_ns)
    assert second.received() == b"" and second.link.session.is_closed and first.is_in
    first.link.disconnected(rig.now_ns)
    for _ in range(3):
        rig.now_ns += 4 * SECOND
        again = gate.client(address=ELSEWHERE)
        again.link.receive(logon, rig.now_ns)
        assert b"58=Logon refused" in again.received() and not again.is_in
    assert gate.reasons() == {"replayed": 1, "time outside of the replay window": 2}


@pytest.mark.parametrize("method", ["hmac", "ed25519"])
@pytest.mark.parametrize("off_s", [-10, 10])
def test_a_clock_ten_seconds_off_is_refused(rig: Rig, method: str, off_s: int) -> None:
    """Both the time in the credentials and SendingTime(52), as a machine has them whose clock is wrong."""
    judge, good, _ = methods()[method]
    gate = Gate(rig, judge)
    rig.now_ns += off_s * SECOND
    client = gate.client()
    client.fix.send("A", [(98, "0"), (108, "30"), *signed(client.fix, good(rig.now_ns), rig.now_ns)], rig.now_ns)
    rig.now_ns -= off_s * SECOND
    client.link.receive(client.fix.data_to_send(), rig.now_ns)
    assert b"58=Logon refused" in client.received()
    assert gate.reasons() == {"time outside of the replay window": 1}


def test_what_comes_behind_a_logon_waits_for_the_verdict(rig: Rig) -> None:
    gate = Gate(rig, methods()["password"][0])
    for password, is_good in ((b"guess-guess-guess", False), (PASSWORD, True)):
        client = gate.client()
        client.log_on(password_fields(b"alpha", password))
        client.fix.send("1", [(112, "ping")], rig.now_ns)
        client.link.receive(client.fix.data_to_send(), rig.now_ns)
        assert client.received() == b"" and not client.link.session.is_closed and not client.is_in
        gate.workers.run()
        assert client.is_in == is_good and (b"112=ping" in client.received()) == is_good


def test_a_peer_that_leaves_meanwhile_is_answered_nothing_and_its_failure_counts(rig: Rig) -> None:
    gate = Gate(rig, methods()["password"][0])
    for _ in range(FREE_FAILURES):
        client = gate.client()
        client.log_on(password_fields(b"alpha", b"guess"))
        assert client.enquiry is not None
        work, future, done = gate.workers.jobs.pop()
        future.set_running_or_notify_cancel()  # the thread has begun
        client.enquiry.cancel()
        client.link.disconnected(rig.now_ns)
        future.set_result(work())
        done(future)
        assert client.received() == b""
    assert gate.reasons() == {"wrong password": FREE_FAILURES}
    client = gate.client()
    client.log_on(password_fields(b"alpha", PASSWORD))
    assert client.link.session.is_closed and gate.reasons()["too many failures"] == 1
    # One that had not begun is dropped, and counts for nothing.
    leaver = gate.client("BETA")
    leaver.log_on(password_fields(b"beta", b"guess"))
    assert leaver.enquiry is not None
    leaver.enquiry.cancel()
    gate.workers.run()
    assert gate.reasons()["wrong password"] == FREE_FAILURES


def test_failures_pause_an_origin_and_a_success_forgives(rig: Rig) -> None:
    gate = Gate(rig, methods()["hmac"][0])
    good, bad = methods()["hmac"][1], methods()["hmac"][2]["bad signature"]
    told = [b"58=Logon refused" in gate.tried(bad(rig.now_ns)).received() for _ in range(FREE_FAILURES)]
    assert told == [True] * FREE_FAILURES
    rig.now_ns += 1
    assert not gate.tried(good(rig.now_ns)).is_in and gate.reasons()["too many failures"] == 1
    assert state(rig) == (1, 1 + FREE_FAILURES)  # in a pause nothing is said
    elsewhere = gate.tried(good(rig.now_ns), address=ELSEWHERE)
    assert elsewhere.is_in  # nobody can lock it out from another address
    elsewhere.link.disconnected(rig.now_ns)
    rig.now_ns += SECOND
    client = gate.tried(good(rig.now_ns))
    assert client.is_in
    client.link.disconnected(rig.now_ns)
    rig.now_ns += SECOND
    assert gate.tried(bad(rig.now_ns)).received() != b""  # counted from the beginning


def test_guesses_from_many_addresses_are_answered_later_and_then_in_silence(rig: Rig) -> None:
    gate = Gate(rig, methods()["hmac"][0])
    good, bad = methods()["hmac"][1], methods()["hmac"][2]["bad signature"]
    home = gate.tried(good(rig.now_ns))
    home.link.disconnected(rig.now_ns)
    before = state(rig)[1]
    for number in range(40):
        gate.tried(bad(rig.now_ns), address=f"203.0.113.{number}")
    assert state(rig)[1] == before + FREE_FAILURES  # strangers move the session's numbers no further
    rig.now_ns += 1
    slow = gate.client(address=ELSEWHERE)
    slow.log_on(good(rig.now_ns))
    assert [delay_s for delay_s, _ in gate.workers.delays] == [2.0] and not slow.is_in
    gate.workers.run()
    assert slow.is_in
    slow.link.disconnected(rig.now_ns)
    for number in range(40):
        gate.tried(bad(rig.now_ns), address=f"203.0.113.{number}")
    rig.now_ns += 1
    quick = gate.client()
    quick.log_on(good(rig.now_ns))
    assert quick.is_in  # its address was in before


def test_one_that_leaves_before_its_delay_is_over(rig: Rig) -> None:
    gate = Gate(rig, methods()["hmac"][0])
    for number in range(10):
        gate.tried(methods()["hmac"][2]["bad signature"](rig.now_ns), address=f"203.0.113.{number}")
    client = gate.client()
    client.log_on(methods()["hmac"][1](rig.now_ns))
    assert client.enquiry is not None and gate.workers.delays
    client.enquiry.cancel()
    assert not gate.workers.delays


@pytest.mark.parametrize(
    ("rules", "peer", "reason"),
    [
        ({"networks": networks_of(["192.0.2.0/24"])}, {"address": ELSEWHERE}, "address not allowed"),
        ({"certificate_sha256": "ab" * 32}, {"certificate": None}, "no client certificate"),
        ({"certificate_sha256": "cd" * 32}, {}, "another client certificate"),
        ({"certificate_subject": "CN=beta"}, {}, "client certificate of another subject"),
        ({"certificate_subject": "CN=alpha"}, {}, "client certificate of another subject"),
    ],
)
def test_the_connection_is_looked_at_before_anything_is_hashed(
    rig: Rig, rules: dict[str, Any], peer: dict[str, Any], reason: str
) -> None:
    gate = Gate(rig, methods()["password"][0], **rules)
    client = gate.client(**peer)
    client.log_on(password_fields(b"alpha", PASSWORD))
    assert gate.workers.jobs == [] and client.link.session.is_closed and client.received() == b""
    assert gate.reasons() == {reason: 1} and state(rig) == (1, 1)


def test_a_certificate_may_be_all_that_a_session_needs(rig: Rig) -> None:
    rules = {"certificate_sha256": "ab" * 32, "certificate_subject": "CN=alpha,O=Desk"}
    gate = Gate(rig, None, networks=networks_of([HERE]), **rules)
    assert gate.tried(()).is_in and gate.workers.jobs == []


@pytest.mark.parametrize("tag", [925, 1404])
def test_a_password_is_not_changed_and_that_is_said(rig: Rig, tag: int) -> None:
    gate = Gate(rig, methods()["password"][0])
    extra = ((925, "canary-new-word"),) if tag == 925 else ((1403, "6"), (1404, "canary"))
    for password, text in ((PASSWORD, b"is not supported"), (b"guess", b"Logon refused")):
        client = gate.client()
        client.log_on(password_fields(b"alpha", password), extra=extra)
        gate.workers.run()
        assert text in client.received() and not client.is_in


def test_too_many_logons_at_once_wait_for_nobody(rig: Rig) -> None:
    gate = Gate(rig, methods()["password"][0])
    clients = [gate.client("NOBODY", address=f"203.0.113.{number}") for number in range(MAX_QUEUED + 1)]
    for client in clients:
        client.log_on(password_fields(b"x", b"y"))
    assert len(gate.workers.jobs) == MAX_QUEUED
    assert [client.link.session.is_closed for client in clients] == [False] * MAX_QUEUED + [True]
    assert gate.reasons() == {"too many logons at once": 1}
    gate.workers.jobs[0][1].cancel()
    while gate.workers.jobs:
        _, future, done = gate.workers.jobs.pop(0)
        future.cancel()
        done(future)
    client = gate.client()
    client.log_on(password_fields(b"alpha", PASSWORD))
    gate.workers.run()
    assert client.is_in


def test_an_error_while_a_logon_is_looked_at_lets_nobody_in(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: PasswordHash, password: bytes) -> bool:
        raise MemoryError("canary")

    monkeypatch.setattr(PasswordHash, "_fits", broken)
    gate = Gate(rig, methods()["password"][0])
    client = gate.tried(password_fields(b"alpha", PASSWORD))
    assert not client.is_in and b"58=Logon refused" in client.received()
    assert gate.reasons() == {"not checked: MemoryError": 1} and "canary" not in str(rig.monitor.alerts)
    gate.authenticator.close()
    assert not gate.workers.is_open


def test_a_session_that_no_rule_speaks_of_is_refused(rig: Rig) -> None:
    authenticator = Authenticator({}, rig.monitor, Steps(), clock=lambda: rig.now_ns)
    gate = Gate(rig, None)
    gate.authenticator = authenticator
    assert not gate.tried(()).is_in and gate.reasons() == {"no such session": 1}
