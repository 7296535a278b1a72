"""What stands before a client's session: where it may come from, how many may wait, TLS, and who it is."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from gateway.addresses import Network, address_of, is_within
from gateway.authentication import Authenticator, Peer
from gateway.lobby import Lobby
from gateway.tls import certificate_of

if TYPE_CHECKING:
    from gateway.fix_server import FixConnection

DEFAULT_MAX_PENDING = 32
DEFAULT_MAX_PENDING_PER_ADDRESS = 16


class FrontDoor:
    """The rules of one listening port for connections that have not logged on."""

    def __init__(
        self,
        *,
        networks: tuple[Network, ...] = (),
        max_pending: int = DEFAULT_MAX_PENDING,
        max_pending_per_address: int = DEFAULT_MAX_PENDING_PER_ADDRESS,
        tls: ssl.SSLContext | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        """`networks`: none at all mean any. Without an `authenticator` a CompID is all that a client needs."""
        self.networks = networks
        self.lobby: Lobby[FixConnection] = Lobby(max_pending, max_pending_per_address)
        self.tls = tls
        self.authenticator = authenticator

    def peer_of(self, transport: asyncio.BaseTransport) -> Peer | None:
        """Return who is at the other end; None where that is nobody who may connect."""
        try:
            address = address_of(transport.get_extra_info("peername")[0])
        except (TypeError, ValueError):  # it is gone already
            return None
        return Peer(address) if is_within(address, self.networks) else None

    async def secured(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, peer: Peer, timeout_s: float
    ) -> tuple[asyncio.Transport, Peer]:
        """Shake hands by TLS; raises OSError where the other end does not, or ValueError for its certificate.

        The transport must be paused. What comes is for `protocol`, even before this returns.
        """
        assert self.tls is not None
        secured = await asyncio.get_running_loop().start_tls(
            transport, protocol, self.tls, server_side=True, ssl_handshake_timeout=timeout_s
        )
        if secured is None:
            raise ConnectionAbortedError("closed in the handshake")
        der = cast(ssl.SSLObject, secured.get_extra_info("ssl_object")).getpeercert(binary_form=True)
        return secured, Peer(peer.address, certificate_of(der) if der else None)
