"""Who we are to Deribit: the API key, the tokens it gives for it, and their removal from any text."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocols.venues.deribit_decode import AUTH, NS_PER_MS, FieldError

MAX_TEXT: Final = 300
# Three quarters of a token's life leave room for a second try.
REFRESH_NUMERATOR, REFRESH_DENOMINATOR = 3, 4
NS_PER_S: Final = 1_000_000_000


class Identity:
    """Builds the parameters of public/auth, and keeps its result."""

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        is_signed: bool,
        entropy: Callable[[int], bytes] | None,
    ) -> None:
        if is_signed and entropy is None:
            raise ValueError("a signed authentication needs entropy for its nonce")
        if not client_id or not client_secret:
            raise ValueError("client_id and client_secret must not be empty")
        self._client_id = client_id
        self._client_secret = client_secret
        self._entropy = entropy
        self._is_signed = is_signed
        self._access_token = ""
        self._refresh_token = ""
        self.refresh_at_ns: int | None = None

    def __repr__(self) -> str:
        return f"Identity({self._client_id})"

    def credentials(self, now_ns: int) -> dict[str, Any]:
        """Return what authenticates by the key: its secret, or a signature of time and nonce by it."""
        if not self._is_signed or self._entropy is None:
            return {
                "grant_type": "client_credentials",
                "client_id": self._client_id,
                "client_secret": self._client_secret,
            }
        timestamp, nonce = now_ns // NS_PER_MS, self._entropy(8).hex()
        text = f"{timestamp}\n{nonce}\n"  # and the data, which is empty
        return {
            "grant_type": "client_signature",
            "client_id": self._client_id,
            "timestamp": timestamp,
            "nonce": nonce,
            "data": "",
            "signature": hmac.new(self._client_secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
        }

    def refresh(self) -> dict[str, Any]:
        """Return what renews the token; it is asked for once a token."""
        self.refresh_at_ns = None
        return {"grant_type": "refresh_token", "refresh_token": self._refresh_token}

    def accept(self, result: msgspec.Raw, now_ns: int) -> None:
        auth = AUTH.decode(result)
        if auth.expires_in <= 0:
            raise FieldError(f"expires_in: {auth.expires_in}")
        self._access_token, self._refresh_token = auth.access_token, auth.refresh_token
        life_ns = auth.expires_in * NS_PER_S
        self.refresh_at_ns = now_ns + life_ns * REFRESH_NUMERATOR // REFRESH_DENOMINATOR

    def forget_tokens(self) -> None:
        self._access_token = self._refresh_token = ""
        self.refresh_at_ns = None

    def redact(self, text: str) -> str:
        """Return the text without any secret that a venue may have echoed, and of bounded length."""
        for secret in (self._client_secret, self._access_token, self._refresh_token):
            if secret and secret in text:
                text = text.replace(secret, "[redacted]")
        return text[:MAX_TEXT]
