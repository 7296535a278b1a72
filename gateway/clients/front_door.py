"""What stands before a client's session: where it may come from, how many may wait, TLS, and who it is."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from gateway.clients.addresses import Network, address_of, is_within, networks_of
from gateway.clients.authentication import Authenticator, Method, Peer, SessionRules, Threads
from gateway.clients.lobby import Lobby
from gateway.clients.passwords import PasswordHash
from gateway.clients.sessions import key_of, name_of
from gateway.clients.tls import server_context
from gateway.config import CredentialsError, Fix, Session, load_public_key, load_session_credentials
from gateway.config.schema import DEFAULT_MAX_PENDING_CONNECTIONS, DEFAULT_MAX_PENDING_PER_ADDRESS
from gateway.monitor import Monitor
from protocols.fix.authentication import Ed25519Key, HmacKey, ReplayWindow
from protocols.fix.values import NS_PER_SECOND

if TYPE_CHECKING:
    from gateway.fix_server import FixConnection

# 128 bits in hex digits: what is guessed offline, from one Logon that was seen, must not be a word.
MIN_SECRET_CHARACTERS: Final = 32


class FrontDoor:
    """The rules of one listening port for connections that have not logged on."""

    def __init__(
        self,
        *,
        networks: tuple[Network, ...] = (),
        max_pending: int = DEFAULT_MAX_PENDING_CONNECTIONS,
        max_pending_per_address: int = DEFAULT_MAX_PENDING_PER_ADDRESS,
        tls: ssl.SSLContext | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        """`networks`: none at all mean any. Without an `authenticator` a CompID is all that a client needs."""
        self.networks = networks
        self.lobby: Lobby[FixConnection] = Lobby(max_pending, max_pending_per_address)
        self.tls = tls
        self.authenticator = authenticator

    def objection(self, peer: Peer | None) -> str:
        """Return why nobody listens to this peer; empty where somebody does."""
        if peer is None:
            return "gone at once"
        return "" if is_within(peer.address, self.networks) else "address not allowed"

    def close(self) -> None:
        """Look at no more Logons."""
        if self.authenticator is not None:
            self.authenticator.close()


def peer_of(transport: asyncio.BaseTransport) -> Peer | None:
    """Return who is at the other end; None where nobody is any more."""
    try:
        return Peer(address_of(transport.get_extra_info("peername")[0]))
    except (TypeError, ValueError):
        return None


def open_front_door(fix: Fix, monitor: Monitor, last_record_ns: int) -> FrontDoor:
    """Return the door that the configuration asks for; raises CredentialsError.

    `last_record_ns`: when the journal was last written to by a process before this one, 0 for never. Every accepted
    Logon is followed by a record of the session's numbers, so none was accepted later.
    """
    window_ns = fix.logon_window_s * NS_PER_SECOND
    rules = {
        name_of(session): SessionRules(
            method=_method(session, ReplayWindow(window_ns, last_record_ns or None)),
            networks=networks_of(session.allowed_addresses),
            certificate_sha256=session.certificate_sha256 or "",
            certificate_subject=session.certificate_subject or "",
        )
        for session in fix.session
    }
    authenticator = None
    if any(rule != SessionRules() for rule in rules.values()):
        names = {key_of(fix, session): name_of(session) for session in fix.session}
        authenticator = Authenticator(
            rules,
            monitor,
            Threads(),
            tells_refusals=fix.refused_logon == "logout",
            name_of=names.__getitem__,
        )
    return FrontDoor(
        networks=networks_of(fix.allowed_addresses),
        max_pending=fix.max_pending_connections,
        max_pending_per_address=fix.max_pending_per_address,
        tls=_tls(fix),
        authenticator=authenticator,
    )


def _method(session: Session, window: ReplayWindow) -> Method:
    if session.authentication == "none":
        return None
    if session.authentication == "ed25519":
        return Ed25519Key(load_public_key(session), window)
    credentials = load_session_credentials(session)
    name, secret = credentials.client_id.encode(), credentials.client_secret
    if session.authentication == "hmac":
        if len(secret) < MIN_SECRET_CHARACTERS:
            raise CredentialsError(f"session {name_of(session)}: secret: shorter than {MIN_SECRET_CHARACTERS}")
        return HmacKey(name, secret.encode(), window)
    try:
        return PasswordHash(name, secret)
    except ValueError as error:
        raise CredentialsError(f"session {name_of(session)}: password_hash: {error}") from None


def _tls(fix: Fix) -> ssl.SSLContext | None:
    if fix.tls_certificate_file is None or fix.tls_key_file is None:
        return None
    try:
        return server_context(
            fix.tls_certificate_file, fix.tls_key_file, fix.tls_client_ca_file, fix.tls_requires_client_certificate
        )
    except OSError as error:
        # An SSLError tells OpenSSL's reason, and no part of the files.
        raise CredentialsError(f"[fix] TLS: {error.strerror or type(error).__name__}") from None
