"""Credentials in Logon(A): how an initiator writes them, how an acceptor judges them. What is signed: docs/security.md.

Pure: time, nonces and keys are arguments. Passwords are compared by who has their hash (clients/authentication.py).
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.errors import LocalProtocolError
from protocols.fix import tags
from protocols.fix.codec import Message, parse_timestamp
from protocols.fix.dictionary import FIX42
from protocols.fix.events import LogonHeader
from protocols.fix.values import NS_PER_SECOND

Fields = tuple[tuple[int, bytes], ...]

NS_PER_MS: Final = 1_000_000
# Clocks of trading firms are within milliseconds of each other; the network and a queue need the rest.
REPLAY_WINDOW_NS: Final = 5 * NS_PER_SECOND
# Logons of one session within two windows: one that needs more is broken, or is being attacked with its own key.
MAX_NONCES: Final = 1024
_SOH = b"\x01"
_LOGON = tags.LOGON.encode()
_HEADER_TAGS = (tags.SENDER_COMP_ID, tags.TARGET_COMP_ID, tags.MSG_SEQ_NUM, tags.SENDING_TIME)
_CREDENTIAL_TAGS = (tags.USERNAME, tags.PASSWORD, tags.RAW_DATA)
# Milliseconds since 1970 and a nonce, nothing else: what is signed can be read in one way only.
_RAW_DATA = re.compile(rb"[0-9]{13}\.[!-~]{8,64}")
_NO_RAW_DATA = b"0000000000000.--------"
SIGNATURE_BYTES: Final = 64
_NO_SIGNATURE = bytes(SIGNATURE_BYTES)

# FIX 4.2 has no Username(553) and no Password(554); peers that log on with them send those of 4.4.
FIX42_WITH_CREDENTIALS = FIX42.overlay("""
[fields]
553 = "Username STRING"
554 = "Password STRING"
[messages]
A = "+553 554"
""")


class LogonFault(Enum):
    """Why a Logon is refused: for us, never for the peer."""

    MALFORMED = "credentials missing or malformed"
    ANOTHER_USER = "another user"
    WRONG_PASSWORD = "wrong password"
    BAD_SIGNATURE = "bad signature"
    STALE = "time outside of the replay window"
    REPLAYED = "replayed"
    BEFORE_RESTART = "might be replayed: signed before the restart"
    CROWDED = "too many logons within the replay window"


# --- an initiator's ---------------------------------------------------------------------------------------------


def password_fields(username: bytes, password: bytes) -> Fields:
    """Return Username(553) and Password(554), for `Session.logon`."""
    return ((tags.USERNAME, username), (tags.PASSWORD, password))


def deribit_fields(client_id: bytes, secret: bytes, now_ns: int, nonce: bytes) -> Fields:
    """Return what Deribit's FIX takes: 96 = milliseconds.nonce, 554 = base64 of SHA-256 over RawData and the secret.

    `nonce`: random bytes, at least 32 by Deribit's advice; they go out in base64.
    """
    raw_data = b"%d.%b" % (now_ns // NS_PER_MS, b64encode(nonce))
    password = b64encode(hashlib.sha256(raw_data + secret).digest())
    return (*_data(raw_data), (tags.USERNAME, client_id), (tags.PASSWORD, password))


def hmac_fields(key_id: bytes, secret: bytes, now_ns: int, nonce: bytes) -> Callable[[LogonHeader], Fields]:
    """Return credentials as `HmacKey` takes them. `nonce`: 4 to 48 random bytes, never used before; 16 are plenty."""
    raw_data = b"%d.%b" % (now_ns // NS_PER_MS, b64encode(nonce))
    if not _RAW_DATA.fullmatch(raw_data):
        raise LocalProtocolError("a nonce has 4 to 48 bytes, and the time is after 2001")

    def fields(header: LogonHeader) -> Fields:
        password = hmac_password(secret, raw_data, header)
        return (*_data(raw_data), (tags.USERNAME, key_id), (tags.PASSWORD, password))

    return fields


def ed25519_fields(key: Ed25519PrivateKey, username: bytes = b"") -> Callable[[LogonHeader], Fields]:
    """Return credentials as Binance's FIX and `Ed25519Key` take them; `username`: an API key, where one is due."""

    def fields(header: LogonHeader) -> Fields:
        signature = _data(b64encode(key.sign(signed_header(header))))
        return (*signature, (tags.USERNAME, username)) if username else signature

    return fields


def _data(raw_data: bytes) -> Fields:
    return ((tags.RAW_DATA_LENGTH, b"%d" % len(raw_data)), (tags.RAW_DATA, raw_data))


# --- what is signed ---------------------------------------------------------------------------------------------


def signed_header(header: LogonHeader) -> bytes:
    """Return MsgType, SenderCompID, TargetCompID, MsgSeqNum and SendingTime, joined by SOH: Binance's order."""
    return _SOH.join((_LOGON, header.sender_comp_id, header.target_comp_id, header.msg_seq_num, header.sending_time))


def hmac_password(secret: bytes, raw_data: bytes, header: LogonHeader) -> bytes:
    """Return base64 of HMAC-SHA256 over RawData, MsgType, SenderCompID, TargetCompID and MsgSeqNum, joined by SOH."""
    signed = (raw_data, _LOGON, header.sender_comp_id, header.target_comp_id, header.msg_seq_num)
    return b64encode(hmac.digest(secret, _SOH.join(signed), "sha256"))


# --- an acceptor's ----------------------------------------------------------------------------------------------


class ReplayWindow:
    """What makes a signed Logon good for once: its time is near ours, and its nonce was not seen before.

    Nonces are kept for twice the window, so a Logon whose nonce was forgotten is stale. What a process before this one
    saw is not known: nothing that it may have accepted, at `last_accepted_ns` at the latest, is taken again.
    """

    __slots__ = ("_capacity", "_nonces", "_not_before_ns", "_window_ns")

    def __init__(
        self,
        window_ns: int = REPLAY_WINDOW_NS,
        last_accepted_ns: int | None = None,
        capacity: int = MAX_NONCES,
    ) -> None:
        self._window_ns = window_ns
        self._capacity = capacity
        # It may have been accepted with a clock that is ahead by the whole window.
        self._not_before_ns = None if last_accepted_ns is None else last_accepted_ns + window_ns
        # nonce -> after when it may be forgotten; the oldest first
        self._nonces: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._nonces)

    def findings(self, nonce: bytes, at_ns: int, now_ns: int) -> tuple[tuple[bool, LogonFault], ...]:
        """Return (holds, what is wrong where it does not) for each condition; the same work whatever is wrong."""
        nonces = self._nonces
        # One from a clock that is ahead by the whole window is timely to the end of the second, that moment included.
        while nonces and next(iter(nonces.values())) < now_ns:
            nonces.popitem(last=False)
        return (
            (abs(now_ns - at_ns) <= self._window_ns, LogonFault.STALE),
            (self._not_before_ns is None or at_ns > self._not_before_ns, LogonFault.BEFORE_RESTART),
            (nonce not in nonces, LogonFault.REPLAYED),
            # Forgetting one early would let it be replayed.
            (len(nonces) < self._capacity, LogonFault.CROWDED),
        )

    def note(self, nonce: bytes, now_ns: int) -> None:
        """Remember the nonce of a Logon that was accepted; others are not worth it, and strangers could fill us up."""
        self._nonces[nonce] = now_ns + 2 * self._window_ns


class HmacKey:
    """Judges Logons that are signed with a shared secret: 96 = milliseconds.nonce, 553 = key id, 554 = `hmac_password`.

    Every condition is looked at in every Logon, so the time that it takes tells nothing.
    """

    __slots__ = ("_key_id", "_secret", "_window")

    def __init__(self, key_id: bytes, secret: bytes, window: ReplayWindow) -> None:
        if not key_id or not secret:
            raise ValueError("key id and secret must not be empty")
        self._key_id = key_id
        self._secret = secret
        self._window = window

    def __repr__(self) -> str:
        return "HmacKey(<hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not serialised")

    def fault(self, logon: Message, now_ns: int) -> LogonFault | None:
        """Return why the Logon is not of the key's owner, or not the first of its kind; None where it is."""
        username, password, given = (value or b"" for value in logon.values(_CREDENTIAL_TAGS))
        is_whole = _RAW_DATA.fullmatch(given) is not None
        raw_data = given if is_whole else _NO_RAW_DATA
        expected = hmac_password(self._secret, raw_data, _header_of(logon))
        nonce = raw_data[14:]
        findings = (
            (is_whole, LogonFault.MALFORMED),
            (hmac.compare_digest(username, self._key_id), LogonFault.ANOTHER_USER),
            (hmac.compare_digest(password, expected), LogonFault.BAD_SIGNATURE),
            *self._window.findings(nonce, int(raw_data[:13]) * NS_PER_MS, now_ns),
        )
        fault = _first(findings)
        if fault is None:
            self._window.note(nonce, now_ns)
        return fault


class Ed25519Key:
    """Judges Logons that are signed by a private key: 96 = base64 of the signature over `signed_header`.

    The header has no nonce; the signed bytes themselves are good for once. With a `username`, 553 must carry it.
    """

    __slots__ = ("_public_key", "_username", "_window")

    def __init__(self, public_key: Ed25519PublicKey, window: ReplayWindow, username: bytes = b"") -> None:
        self._public_key = public_key
        self._window = window
        self._username = username

    def fault(self, logon: Message, now_ns: int) -> LogonFault | None:
        """Return why the Logon is not of the key's owner, or not the first of its kind; None where it is."""
        username, _, given = (value or b"" for value in logon.values(_CREDENTIAL_TAGS))
        header = _header_of(logon)
        signed = signed_header(header)
        signature = _signature(given)
        is_signed = _verifies(self._public_key, signature or _NO_SIGNATURE, signed)
        findings = (
            (signature is not None, LogonFault.MALFORMED),
            (not self._username or hmac.compare_digest(username, self._username), LogonFault.ANOTHER_USER),
            (is_signed, LogonFault.BAD_SIGNATURE),
            *self._window.findings(signed, parse_timestamp(header.sending_time) or 0, now_ns),
        )
        fault = _first(findings)
        if fault is None:
            self._window.note(signed, now_ns)
        return fault


def public_key_of(text: bytes) -> Ed25519PublicKey:
    """Return the key that stands in base64 of its 32 bytes; ValueError for anything else."""
    try:
        return Ed25519PublicKey.from_public_bytes(b64decode(text, validate=True))
    except (Base64Error, ValueError):
        raise ValueError("not an Ed25519 public key: base64 of 32 bytes") from None


def _header_of(logon: Message) -> LogonHeader:
    sender, target, number, sending_time = (value or b"" for value in logon.values(_HEADER_TAGS))
    return LogonHeader(sender, target, number, sending_time)


def _signature(text: bytes) -> bytes | None:
    try:
        signature = b64decode(text, validate=True)
    except Base64Error:
        return None
    return signature if len(signature) == SIGNATURE_BYTES else None


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _first(findings: Sequence[tuple[bool, LogonFault]]) -> LogonFault | None:
    # All are there already: what is told first is for our side only.
    faults = [fault for holds, fault in findings if not holds]
    return faults[0] if faults else None
