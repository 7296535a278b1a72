"""Transfers at a venue, by its REST host and a key that is for nothing else. Still no I/O: requests out, answers in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from gateway.config import Channel, Credentials, load_channel_credentials
from gateway.transfers.sender import NS_PER_S
from gateway.venues.kinds import KINDS, PEM
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.signing import Ed25519Signer, HmacSigner, Keyring
from protocols.venues.transfer_codecs import BinanceTransfers, BybitTransfers, DeribitTransfers, OkxTransfers
from protocols.venues.transfers import Ending, Outcome, TransferAsk, TransferCodec

# Requests of one channel that may be under way: transfers are few, and a venue that hangs must not collect them.
MAX_UNDER_WAY: Final = 64
DERIBIT_REST: Final = "https://www.deribit.com"
BINANCE_REST: Final = "https://api.binance.com"

Told = Callable[[str, Outcome, int], None]


class VenueChannel:
    """One key at one venue. After any call execute `http_requests()`, and hand back what comes of them."""

    def __init__(self, name: str, codec: TransferCodec, told: Told, timeout_ns: int = 10 * NS_PER_S) -> None:
        self.name = name
        self._codec = codec
        self._told = told
        self._timeout_ns = timeout_ns
        self._count = 0
        self._out: list[HttpRequest] = []
        self._under_way: dict[int, tuple[TransferAsk, bool]] = {}

    def why_not(self, now_ns: int) -> str | None:
        """Return why nothing can be sent now."""
        if len(self._under_way) >= MAX_UNDER_WAY:
            return f"{self.name} has {MAX_UNDER_WAY} requests to answer"
        return None

    def wallet_fault(self, source: str, target: str) -> str | None:
        """Return why nothing can move between these wallets."""
        return self._codec.wallet_fault(source, target)

    def send(self, ask: TransferAsk, call_id: str, now_ns: int) -> None:
        """Submit a transfer."""
        self._queue(ask, now_ns, is_submission=True)

    def ask(self, ask: TransferAsk, call_id: str, now_ns: int) -> None:
        """Ask how a transfer stands."""
        self._queue(ask, now_ns, is_submission=False)

    def _queue(self, ask: TransferAsk, now_ns: int, *, is_submission: bool) -> None:
        self._count += 1
        write = self._codec.submit if is_submission else self._codec.query
        self._out.append(write(self._count, ask, now_ns, now_ns + self._timeout_ns))
        self._under_way[self._count] = ask, is_submission

    def http_requests(self) -> list[HttpRequest]:
        """Return what is to be executed, once."""
        out, self._out = self._out, []
        return out

    def http_answered(self, request_id: int, response: HttpResponse, now_ns: int) -> None:
        """Take the answer to a request; one that nobody waits for says nothing."""
        found = self._under_way.pop(request_id, None)
        if found is not None:
            ask, is_submission = found
            read = self._codec.submitted if is_submission else self._codec.queried
            self._told(ask.key, read(ask, response), now_ns)

    def http_failed(self, request_id: int, reason: str, now_ns: int) -> None:
        """There is no answer: a submission may have been made, a question is asked again."""
        found = self._under_way.pop(request_id, None)
        if found is not None:
            self._told(found[0].key, Outcome(Ending.UNKNOWN, reason), now_ns)


def venue_channel(
    config: Channel,
    told: Told,
    timeout_ns: int,
    environ: Mapping[str, str] = os.environ,
    entropy: Callable[[int], bytes] = os.urandom,
) -> VenueChannel:
    """Return the channel of a configuration; raises CredentialsError."""
    credentials = load_channel_credentials(config, environ)
    return VenueChannel(config.name, _codec(config, credentials, entropy), told, timeout_ns)


def _codec(config: Channel, credentials: Credentials, entropy: Callable[[int], bytes]) -> TransferCodec:
    secret = credentials.client_secret
    signer = Ed25519Signer(secret) if secret.startswith(PEM) and config.kind == "binance" else HmacSigner(secret)
    keyring = Keyring(credentials.client_id, signer, credentials.passphrase)
    if config.kind == "deribit":
        return DeribitTransfers(keyring, secret, entropy)
    codecs: dict[str, Callable[[Keyring], TransferCodec]] = {
        "binance": BinanceTransfers, "okx": OkxTransfers, "bybit": BybitTransfers,
    }  # fmt: skip
    return codecs[config.kind](keyring)


def rest_of(config: Channel) -> str:
    """Return the REST host of a channel."""
    own = {"deribit": DERIBIT_REST, "binance": BINANCE_REST}
    return config.rest_url or own.get(config.kind) or KINDS[config.kind].rest_address
