"""Transports of the configured venues, each with its session and its link to the core."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.config import Venue, load_credentials
from gateway.core import Core
from gateway.venues.client import VenueClient
from gateway.venues.http import HttpExecutor
from gateway.venues.kinds import dials_of, make_session, rest_of, url_of
from gateway.venues.link import SessionLink
from protocols.venues.codec import VenueCodec

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
# Venues stamp trades with their own clock; asking again for the last minute costs one request.
BACKFILL_MARGIN_NS: Final = 60 * NS_PER_S


def venue_client(config: Venue, core: Core, flush_all: Callable[[], None]) -> VenueClient:
    """Return the transport of one venue; it dials when it is run. Raises CredentialsError."""
    credentials = load_credentials(config)
    context = ssl.create_default_context(cafile=str(config.ca_file)) if config.ca_file else None
    rest = rest_of(config)

    def session() -> VenueCodec:
        since_ns = core.ledger.time_ns or core.last_record_ns
        known_ns = core.ledger.settlements.known_until(config.name)
        return make_session(config, credentials, since_ns - BACKFILL_MARGIN_NS if since_ns else None, known_ns)

    def link(client: VenueClient) -> SessionLink:
        return SessionLink(
            config.name,
            session,
            core.pipeline,
            client.flush,
            symbol_suffix=config.symbol_suffix,
            queue_ns=config.order_wait_ms * NS_PER_MS,
            feed_timeout_ns=config.feed_timeout_s * NS_PER_S,
            order_check_ns=config.order_check_s * NS_PER_S,
        )

    return VenueClient(
        link,
        url_of=url_of(config),
        reconnect_min_s=config.reconnect_min_ms / 1000,
        reconnect_max_s=config.reconnect_max_ms / 1000,
        flush_all=flush_all,
        ssl_context=context,
        dials=dials_of(config),
        http_of=partial(HttpExecutor, rest, context) if rest else None,
    )
