"""Credentials in Logon(A): each method against each fault, the window against replays, and the worked examples."""

import hashlib
import hmac
import pickle
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.fix.authentication import (
    FIX42_WITH_CREDENTIALS,
    MAX_NONCES,
    NS_PER_MS,
    Ed25519Key,
    Fields,
    HmacKey,
    LogonFault,
    ReplayWindow,
    deribit_fields,
    ed25519_fields,
    hmac_fields,
    hmac_password,
    password_fields,
    public_key_of,
    signed_header,
)
from protocols.fix.codec import Message, decode, format_timestamp, parse_timestamp
from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2
from protocols.fix.session import (
    INITIATOR,
    LogonHeader,
    LogonRequested,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
)
from tests.protocols.fix.conversation import SECOND, START_NS, peer_message

KEY_ID, SECRET = b"key-1", b"canary-secret"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NONCE = bytes(range(16))
DOCUMENT = Path(__file__).parents[3] / "docs" / "security.md"
VERSIONS = ("FIX.4.2", "FIX.4.4", "FIXT.1.1")

Judge = HmacKey | Ed25519Key
Credentials = Callable[[int], Fields | Callable[[LogonHeader], Fields]]


def by_hmac(now_ns: int) -> Callable[[LogonHeader], Fields]:
    return hmac_fields(KEY_ID, SECRET, now_ns, NONCE)


def by_ed25519(now_ns: int) -> Callable[[LogonHeader], Fields]:
    return ed25519_fields(PRIVATE_KEY, KEY_ID)


METHODS: dict[str, tuple[Credentials, Callable[[ReplayWindow], Judge]]] = {
    "hmac": (by_hmac, lambda window: HmacKey(KEY_ID, SECRET, window)),
    "ed25519": (by_ed25519, lambda window: Ed25519Key(PRIVATE_KEY.public_key(), window, KEY_ID)),
}


def logon(credentials: Credentials, sent_ns: int = START_NS, version: str = "FIX.4.4", target: str = "GATE") -> bytes:
    """A Logon as our own initiator sends it."""
    dictionary = {"FIX.4.2": FIX42_WITH_CREDENTIALS, "FIX.4.4": FIX44, "FIXT.1.1": FIX50SP2}[version]
    state = SessionState(SessionKey(version, "CLIENT", target), SessionConfig(dictionary=dictionary), next_out=7)
    session = Session(lambda key: None, sent_ns, INITIATOR)
    session.logon(state, sent_ns, credentials(sent_ns))
    return session.data_to_send()


def edited(raw: bytes, old: bytes, new: bytes) -> Message:
    """A Logon with a part exchanged, length and sum made right again."""
    fields = [(tag, value) for tag, value in decode(raw).fields() if tag not in (8, 9, 10)]
    text = b"|".join(b"%d=%b" % field for field in fields)
    assert re.search(old, text), old
    text = re.sub(old, new, text, count=1)
    return decode(peer_message(text.decode(), START_NS))


# fault -> (what is exchanged, by what, what we are told) for each method
FAULTS: dict[str, dict[str, tuple[bytes, bytes, LogonFault]]] = {
    "hmac": {
        "another key": (rb"553=key-1", b"553=key-2", LogonFault.ANOTHER_USER),
        "no key": (rb"\|553=key-1", b"", LogonFault.ANOTHER_USER),
        "signature": (rb"554=.", b"554=!", LogonFault.BAD_SIGNATURE),
        "longer signature": (rb"\|554=", b"|554=A", LogonFault.BAD_SIGNATURE),
        "no signature": (rb"\|554=[^|]*", b"", LogonFault.BAD_SIGNATURE),
        "nonce": (rb"(96=\d{13}\.)A", rb"\1B", LogonFault.BAD_SIGNATURE),
        "time": (rb"(96=\d{12})\d", rb"\g<1>9", LogonFault.BAD_SIGNATURE),
        "number": (rb"34=7", b"34=8", LogonFault.BAD_SIGNATURE),
        "sender": (rb"49=CLIENT", b"49=CLIENTS", LogonFault.BAD_SIGNATURE),
        "target": (rb"56=GATE", b"56=GATES", LogonFault.BAD_SIGNATURE),
        "no nonce": (rb"95=38\|96=(\d{13}\.)[^|]*", rb"95=14|96=\1", LogonFault.MALFORMED),
        "short nonce": (rb"95=38\|96=(\d{13}\..{7})[^|]*", rb"95=21|96=\1", LogonFault.MALFORMED),
        "no time": (rb"95=38\|96=\d{13}", b"95=25|96=", LogonFault.MALFORMED),
        "no raw data": (rb"\|95=38\|96=[^|]*", b"", LogonFault.MALFORMED),
        "nothing": (rb"\|95=.*", b"", LogonFault.MALFORMED),
    },
    "ed25519": {
        "another key": (rb"553=key-1", b"553=key-2", LogonFault.ANOTHER_USER),
        "no key": (rb"\|553=key-1", b"", LogonFault.ANOTHER_USER),
        "signature": (rb"96=..", b"96=AA", LogonFault.BAD_SIGNATURE),
        "number": (rb"34=7", b"34=07", LogonFault.BAD_SIGNATURE),
        "sender": (rb"49=CLIENT", b"49=CLIENTS", LogonFault.BAD_SIGNATURE),
        "target": (rb"56=GATE", b"56=GATES", LogonFault.BAD_SIGNATURE),
        "time": (rb"(52=[^|]*)000", rb"\g<1>001", LogonFault.BAD_SIGNATURE),
        "no base64": (rb"96=.", b"96=!", LogonFault.MALFORMED),
        "short": (rb"95=88\|96=....", b"95=84|96=", LogonFault.MALFORMED),
        "no raw data": (rb"\|95=88\|96=[^|]*", b"", LogonFault.MALFORMED),
        "nothing": (rb"\|95=.*", b"", LogonFault.MALFORMED),
    },
}  # fmt: skip
CASES = [(method, fault) for method, faults in FAULTS.items() for fault in faults]


@pytest.mark.parametrize(("method", "fault"), CASES)
def test_each_fault_of_each_method(method: str, fault: str) -> None:
    credentials, judge_of = METHODS[method]
    window = ReplayWindow()
    judge = judge_of(window)
    raw = logon(credentials)
    old, new, found = FAULTS[method][fault]
    assert judge.fault(edited(raw, old, new), START_NS) is found
    assert len(window) == 0  # what was refused is not remembered
    assert judge.fault(decode(raw), START_NS) is None
    assert len(window) == 1
    assert judge.fault(decode(raw), START_NS) is LogonFault.REPLAYED


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_our_initiator_writes_our_acceptor_takes(method: str, version: str) -> None:
    """Over the sessions of both sides, in each version; the dictionary has nothing against it."""
    credentials, judge_of = METHODS[method]
    dictionary = FIX42_WITH_CREDENTIALS if version == "FIX.4.2" else None
    state = SessionState(SessionKey(version, "GATE", "CLIENT"), SessionConfig(dictionary=dictionary), next_in=7)
    acceptor = Session({state.key: state}.get, START_NS, authenticates=True)
    acceptor.receive_data(logon(credentials, version=version), START_NS)
    event = acceptor.next_event()
    assert isinstance(event, LogonRequested) and event.key == state.key
    assert judge_of(ReplayWindow()).fault(event.message, START_NS) is None
    acceptor.accept_logon(START_NS)
    assert acceptor.is_logged_on and state.next_in == 8


def test_fix_42_takes_a_password_only_where_it_is_told_to() -> None:
    raw = peer_message("35=A|34=1|98=0|108=30|553=u|554=p", START_NS, version="FIX.4.2")
    assert FIX42_WITH_CREDENTIALS.validate(decode(raw)) is None
    assert FIX42.validate(decode(raw)) is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("off_s", [-5, 0, 5])
@pytest.mark.parametrize("beyond_ms", [0, 1])
def test_the_clock_may_be_five_seconds_off(method: str, off_s: int, beyond_ms: int) -> None:
    credentials, judge_of = METHODS[method]
    off_ns = off_s * SECOND + beyond_ms * NS_PER_MS * (1 if off_s > 0 else -1)
    fault = judge_of(ReplayWindow()).fault(decode(logon(credentials, START_NS + off_ns)), START_NS)
    assert fault is (LogonFault.STALE if off_s and beyond_ms else None)


@pytest.mark.parametrize("method", METHODS)
def test_a_logon_is_good_once_whenever_it_comes_again(method: str) -> None:
    credentials, judge_of = METHODS[method]
    for at_s in (-5, 0, 5):  # when it was sent, by the peer's clock
        judge = judge_of(ReplayWindow())
        raw = logon(credentials, START_NS + at_s * SECOND)
        assert judge.fault(decode(raw), START_NS) is None
        again = [judge.fault(decode(raw), START_NS + step * SECOND // 4) for step in range(60)]
        assert set(again) == {LogonFault.REPLAYED, LogonFault.STALE}
        assert again[-1] is LogonFault.STALE


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(-6, 6)), max_size=40), st.booleans())
def test_no_nonce_is_ever_taken_twice(steps: list[tuple[int, int]], restarts: bool) -> None:
    """Whatever the order of times, and over restarts: what was accepted once is never accepted again."""
    window, now_ns, taken = ReplayWindow(5), 0, set()
    last_accepted_ns: int | None = None
    for passes, off in steps:
        now_ns += passes
        if restarts and passes == 8:
            window = ReplayWindow(5, last_accepted_ns)
        for at_ns in (now_ns + off, *taken):
            nonce = b"%d" % at_ns
            if all(holds for holds, _ in window.findings(nonce, at_ns, now_ns)):
                window.note(nonce, now_ns)
                assert at_ns not in taken
                last_accepted_ns = now_ns
                taken.add(at_ns)
                break


def test_nonces_are_bounded_and_none_is_forgotten_early() -> None:
    window = ReplayWindow()
    for number in range(MAX_NONCES):
        window.note(b"%d" % number, START_NS)
    faults = [fault for holds, fault in window.findings(b"new", START_NS, START_NS + SECOND) if not holds]
    assert faults == [LogonFault.CROWDED] and len(window) == MAX_NONCES
    later = START_NS + 10 * SECOND + 1
    assert all(holds for holds, _ in window.findings(b"new", later, later)) and len(window) == 0


def test_after_a_restart_nothing_counts_that_may_have_been_taken_before() -> None:
    """A clock 5 s ahead signed it, it was accepted in the last moment before: it counts until 10 s after."""
    for at_s, fault in ((-5, LogonFault.BEFORE_RESTART), (5, LogonFault.BEFORE_RESTART), (6, None)):
        judge = HmacKey(KEY_ID, SECRET, ReplayWindow(last_accepted_ns=START_NS))
        raw = logon(by_hmac, START_NS + at_s * SECOND)
        assert judge.fault(decode(raw), START_NS + at_s * SECOND) is fault, at_s


def test_what_is_done_does_not_depend_on_what_is_wrong() -> None:
    """The same calls of everything that is dear or looks at a secret, in the same order, for every fault."""
    watched = {"digest", "compare_digest", "verify", "fullmatch", "findings", "hmac_password", "signed_header"}
    for at_ns in (START_NS, START_NS - 60 * SECOND):
        parse_timestamp(format_timestamp(at_ns))  # the plain twin looks at a second's text once, whoever sent it
    for method, (credentials, judge_of) in METHODS.items():
        messages = {name: edited(logon(credentials), old, new) for name, (old, new, _) in FAULTS[method].items()}
        messages["stale"] = decode(logon(credentials, START_NS - 60 * SECOND))
        messages["good"] = messages["replayed"] = decode(logon(credentials))
        judge = judge_of(ReplayWindow())
        traces = {name: calls_of(judge, message, watched) for name, message in messages.items()}
        assert all(trace == traces["good"] for trace in traces.values()), (method, traces)
        assert len(traces["good"]) >= 4


def calls_of(judge: Judge, message: Message, watched: set[str]) -> list[str]:
    """Names of the watched functions in the order of their calls."""
    names: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            names.append(frame.f_code.co_name)
        elif event == "c_call":
            names.append(argument.__name__)

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        judge.fault(message, START_NS)
    finally:
        sys.setprofile(previous)
    return [name for name in names if name in watched]


# --- an initiator's ---------------------------------------------------------------------------------------------


def test_deribits_logon() -> None:
    fields = dict(deribit_fields(b"id", SECRET, START_NS, NONCE))
    raw_data = b"1767225600000." + b64encode(NONCE)
    assert fields == {
        95: b"%d" % len(raw_data),
        96: raw_data,
        553: b"id",
        554: b64encode(hashlib.sha256(raw_data + SECRET).digest()),
    }
    assert list(fields) == [95, 96, 553, 554]  # the length stands before the data


def test_binances_logon() -> None:
    message = decode(logon(by_ed25519))
    payload = b"A\x01CLIENT\x01GATE\x017\x0120260101-00:00:00.000"
    assert message.get(96) == b64encode(PRIVATE_KEY.sign(payload))
    assert (message.get(95), message.get(553)) == (b"88", KEY_ID)
    assert decode(logon(lambda now_ns: ed25519_fields(PRIVATE_KEY))).get(553) is None


def test_plain_credentials() -> None:
    message = decode(logon(lambda now_ns: password_fields(b"u", b"p")))
    assert (message.get(553), message.get(554)) == (b"u", b"p")


@pytest.mark.parametrize("nonce", [b"", b"123", bytes(49)])
def test_a_nonce_too_short_or_too_long_is_refused(nonce: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        hmac_fields(KEY_ID, SECRET, START_NS, nonce)


def test_keys_hide_themselves() -> None:
    key = HmacKey(KEY_ID, SECRET, ReplayWindow())
    assert repr(key) == "HmacKey(<hidden>)"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    for key_id, secret in ((b"", SECRET), (KEY_ID, b"")):
        with pytest.raises(ValueError, match="must not be empty"):
            HmacKey(key_id, secret, ReplayWindow())


def test_public_keys_in_base64() -> None:
    text = b64encode(PRIVATE_KEY.public_key().public_bytes_raw())
    assert public_key_of(text) == PRIVATE_KEY.public_key()
    for wrong in (b"", b"AAAA", text + b"!", text[:-4] + b"AA==" * 3, b"\xff"):
        with pytest.raises(ValueError, match="not an Ed25519 public key"):
            public_key_of(wrong)


def test_the_worked_examples_of_the_document() -> None:
    """docs/security.md shows keys, what is signed, and what comes out; it is computed here again, by other means."""
    text = DOCUMENT.read_text()
    values = dict(re.findall(r"^    ([\w ]+?)  += (\S+)$", text, re.MULTILINE))
    secret, raw_data = values["secret"].encode(), values["RawData"].encode()
    signed = values["signed by HMAC"].replace("<SOH>", "\x01").encode()
    assert signed.split(b"\x01")[0] == raw_data
    password = b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert password == values["Password"]
    header = LogonHeader(*signed.split(b"\x01")[2:], b"")
    assert hmac_password(secret, raw_data, header).decode() == password
    private_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(values["private key"]))
    assert b64encode(private_key.public_key().public_bytes_raw()).decode() == values["public_key"]
    signed = values["signed by Ed25519"].replace("<SOH>", "\x01").encode()
    assert signed_header(LogonHeader(*signed.split(b"\x01")[1:])) == signed
    assert b64encode(private_key.sign(signed)).decode() == values["signature"]
