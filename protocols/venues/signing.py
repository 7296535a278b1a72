"""Keys and signatures: what each venue signs is its codec's, how is here. No secret leaves by a repr or a text."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Protocol

MAX_TEXT: Final = 300
_DAYS_OF_400_YEARS: Final = 146_097


class Signer(Protocol):
    """Signs bytes; `secrets` are texts that must never be shown."""

    is_asymmetric: bool
    secrets: tuple[str, ...]

    def sign(self, payload: bytes) -> bytes: ...


class HmacSigner:
    """HMAC-SHA256."""

    is_asymmetric = False

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("the secret must not be empty")
        self.secrets: tuple[str, ...] = (secret,)
        self._key = secret.encode()

    def __repr__(self) -> str:
        return "HmacSigner()"

    def sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, hashlib.sha256)


class Ed25519Signer:
    """Ed25519 with a private key in PEM (PKCS#8), by the `cryptography` package."""

    is_asymmetric = True

    def __init__(self, private_key_pem: str) -> None:
        # Here and not above: who signs by HMAC need not load it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(private_key_pem.encode(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("not an Ed25519 private key")
        self._key = key
        lines = private_key_pem.strip().splitlines()
        self.secrets: tuple[str, ...] = tuple(line for line in lines if line and not line.startswith("-----"))

    def __repr__(self) -> str:
        return "Ed25519Signer()"

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload)


class Keyring:
    """The API key of one venue account; `passphrase` where the venue asks for one."""

    def __init__(self, api_key: str, signer: Signer, passphrase: str = "") -> None:
        if not api_key:
            raise ValueError("api_key must not be empty")
        self.api_key = api_key
        self.signer = signer
        self.passphrase = passphrase
        self._tokens: dict[str, str] = {}

    def __repr__(self) -> str:
        return "Keyring()"

    def set_token(self, name: str, token: str) -> None:
        """Keep a secret that the venue gave, like a listenKey; an empty text forgets it."""
        self._tokens[name] = token

    def token(self, name: str) -> str:
        return self._tokens.get(name, "")

    def redact(self, text: str) -> str:
        """Return the text without any secret that a venue may have echoed, and of bounded length."""
        for secret in (*self.signer.secrets, self.passphrase, *self._tokens.values()):
            if secret and secret in text:
                text = text.replace(secret, "[redacted]")
        return text[:MAX_TEXT]


def iso_text(time_ms: int) -> str:
    """Return UTC as 2026-11-22T13:10:00.123Z. Civil dates by the 400-year cycle that begins on 1 March of year 0."""
    seconds, ms = divmod(time_ms, 1_000)
    days, second = divmod(seconds, 86_400)
    era, day_of_era = divmod(days + 719_468, _DAYS_OF_400_YEARS)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = era * 400 + year_of_era + (month <= 2)
    hour, minute = second // 3_600, second // 60 % 60
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second % 60:02}.{ms:03}Z"
