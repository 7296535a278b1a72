"""The FIX sessions of a configuration that we open: their states, stores, credentials and clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.clearing.link import APPLICATION_MESSAGES, CounterpartyLink
from gateway.clearing.link import Credentials as LogonFields
from gateway.clients.session_store import SessionStore
from gateway.clients.sessions import schedule_of
from gateway.config import Config, Counterparty, Credentials, load_counterparty_credentials
from gateway.core import Core
from gateway.fix_client import CounterpartyClient, client_context
from gateway.transfers.house_collateral import HouseChannel
from protocols.fix.authentication import hmac_fields, password_fields
from protocols.fix.session import Limits, SessionConfig, SessionKey

# Within the journal's directory: one place to keep, and one lock that says whose it is.
DIRECTORY: Final = "counterparties"
# A resend is chunks of messages of some hundred bytes; statements of large books come in bursts.
MAX_MESSAGE_BYTES: Final = 65_536
NONCE_BYTES: Final = 16
STORE_BYTES: Final = 256 << 20
SEGMENT_BYTES: Final = 16 << 20


class Counterparties:
    """All of them; none is as good as no store at all."""

    def __init__(
        self,
        config: Config,
        core: Core,
        flush_all: Callable[[], None],
        now_ns: int,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Raises CredentialsError, OSError for TLS files, JournalError where the store can not be had."""
        self.clients: list[CounterpartyClient] = []
        self._store: SessionStore | None = None
        if not config.fix.counterparty:
            return
        prepared = [(one, _logon_of(one, environ), client_context(one)) for one in config.fix.counterparty]
        store = self._store = open_store(config.gateway.journal_directory, now_ns)
        limits = Limits(max_message_bytes=MAX_MESSAGE_BYTES)
        for terms, (credentials, secrets), context in prepared:
            state = store.state(key_of(config, terms), rules_of(terms), now_ns)
            link = CounterpartyLink(
                terms, state, store, core.pipeline, core.reconciler, credentials, secrets, limits, now_ns
            )
            if core.transfers.is_on and terms.kind == "clearing_house":
                HouseChannel(link, core.pipeline, core.transfers)
            self.clients.append(CounterpartyClient(link, context, flush_all))

    def start(self) -> list[asyncio.Task[None]]:
        """Dial them all."""
        return [asyncio.create_task(client.run()) for client in self.clients]

    def stop(self) -> None:
        """Say goodbye to them all."""
        for client in self.clients:
            client.stop()

    def close(self, now_ns: int) -> None:
        """Cut who has not answered, and release the store."""
        for client in self.clients:
            client.abort()
            client.link.disconnected(now_ns)
        if self._store is not None:
            self._store.close()

    @property
    def are_gone(self) -> bool:
        """Whether every session is over."""
        return all(client.link.session is None for client in self.clients)

    def rows(self, now_ns: int) -> list[dict[str, Any]]:
        """Return how each session stands."""
        return [client.link.row(now_ns) for client in self.clients]


def open_store(journal_directory: Path, now_ns: int, segment_bytes: int = SEGMENT_BYTES) -> SessionStore:
    """Return the store of the sessions that we open."""
    path = journal_directory / DIRECTORY
    return SessionStore(path, max_bytes=STORE_BYTES, segment_bytes=segment_bytes, now_ns=now_ns)


def key_of(config: Config, terms: Counterparty) -> SessionKey:
    """Return what tells its session apart, by our view."""
    sender = terms.sender_comp_id or config.fix.sender_comp_id
    subs = {"sender_sub_id": terms.sender_sub_id or "", "target_sub_id": terms.target_sub_id or ""}
    return SessionKey(terms.begin_string, sender, terms.target_comp_id, **subs)


def rules_of(terms: Counterparty) -> SessionConfig:
    """Return the rules of its session."""
    return SessionConfig(
        application_messages=APPLICATION_MESSAGES,
        # Clearing houses have fields of their own in every message: what we do not know, we do not read.
        allows_unknown_tags=True,
        heart_bt_int=terms.heart_bt_int_s,
        reset_on_logon=terms.reset_on_logon,
        schedule=None if terms.schedule is None else schedule_of(terms.schedule),
    )


def _logon_of(terms: Counterparty, environ: Mapping[str, str]) -> tuple[Callable[[int], LogonFields], tuple[str, ...]]:
    """Return what makes the credentials of one Logon at a time, and the secrets in them."""
    if terms.authentication == "none":
        return (lambda now_ns: ()), ()
    credentials = load_counterparty_credentials(terms, environ)
    return _fields_of(terms, credentials), (credentials.client_secret,)


def _fields_of(terms: Counterparty, credentials: Credentials) -> Callable[[int], LogonFields]:
    name, secret = credentials.client_id.encode(), credentials.client_secret.encode()
    if terms.authentication == "password":
        return lambda now_ns: password_fields(name, secret)
    return lambda now_ns: hmac_fields(name, secret, now_ns, os.urandom(NONCE_BYTES))
