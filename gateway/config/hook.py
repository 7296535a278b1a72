"""The tables of the pre-trade hook, and what is wrong between their keys."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from gateway.config.rules import DISTINCT, NOT_EMPTY, KeyPath, between
from gateway.config.values import ENVIRONMENT_PREFIX, HOST, Name, Table

# The kernel says who is at the other end of a Unix socket; nobody else can open it.
DEFAULT_HOOK_AUTHENTICATION: Literal["token"] = "token"
# Its own orders' venue keys are mostly a sub-account's, which we are not connected to.
DEFAULT_VENUE_ACCOUNT: Literal["own"] = "own"
# An order that lives longer says so; one that nobody has told of for a minute is one that somebody should look at.
DEFAULT_HOLD_TIMEOUT_MS = 60_000
DEFAULT_MAX_HOLD_TIMEOUT_MS = 3_600_000
DEFAULT_HOOK_LISTEN_HOST = "127.0.0.1"
# Who has not said by then who it is holds a connection for nothing.
DEFAULT_HELLO_TIMEOUT_S = 5
# Some strategies' processes of each client.
DEFAULT_HOOK_MAX_CONNECTIONS = 64
# A request is 200 bytes.
DEFAULT_HOOK_MAX_MESSAGE_BYTES = 4096
# A thousand answers; whoever leaves more unread is not asked for more until it has read.
DEFAULT_HOOK_MAX_UNREAD_BYTES = 1 << 20
# A client that sends nothing that is understood is not one.
DEFAULT_MAX_FAULTS = 100
# Rates are mostly agreed in requests a second.
DEFAULT_HOOK_THROTTLE_INTERVAL_MS = 1000

Found = Iterator[tuple[KeyPath, str]]


class HookClient(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "What the client says in its hello; names it in the journal and to operators."]
    accounts: Annotated[tuple[Name, ...], NOT_EMPTY, DISTINCT, "The accounts that it may hold margin of."]
    authentication: Annotated[
        Literal["token", "peer"],
        "token: a secret in its hello; peer: only over the Unix socket, and by a user of `users`.",
    ] = DEFAULT_HOOK_AUTHENTICATION
    credentials_file: Annotated[
        Path | None, "A TOML file of mode 0600 with client and token_sha256; or `credentials_env`."
    ] = None
    credentials_env: Annotated[
        str | None, ENVIRONMENT_PREFIX, "PREFIX: read from PREFIX_CLIENT and PREFIX_TOKEN_SHA256."
    ] = None
    users: Annotated[tuple[Name, ...], DISTINCT, "Users of this machine that it may be; none: the gateway's own."] = ()
    venue_account: Annotated[
        Literal["own", "shared"],
        "own: its orders go through a venue account that we do not see; shared: through ours, labelled with the hold.",
    ] = DEFAULT_VENUE_ACCOUNT
    hold_timeout_ms: Annotated[
        int, between(1, 86_400_000), "A hold is UNKNOWN after this, where the request says nothing."
    ] = DEFAULT_HOLD_TIMEOUT_MS
    max_hold_timeout_ms: Annotated[int, between(1, 86_400_000), "The longest that a request may ask for."] = (
        DEFAULT_MAX_HOLD_TIMEOUT_MS
    )
    throttle_requests: Annotated[
        int | None, between(1, 1_000_000), "Checks, holds and queries in any interval; none: as many as come."
    ] = None
    throttle_interval_ms: Annotated[int, between(1, 3_600_000), "The interval of `throttle_requests`."] = (
        DEFAULT_HOOK_THROTTLE_INTERVAL_MS
    )


class Hook(Table, frozen=True, kw_only=True):
    client: Annotated[tuple[HookClient, ...], NOT_EMPTY, "One table a system that sends its own orders."]
    socket_path: Annotated[Path | None, "The Unix socket, made with mode 0600; none: there is none."] = None
    listen_port: Annotated[int | None, between(1, 65535), "The TCP port of the WebSocket; none: there is none."] = None
    listen_host: Annotated[str, HOST, "Its address; other than loopback only with both TLS files."] = (
        DEFAULT_HOOK_LISTEN_HOST
    )
    tls_certificate_file: Annotated[Path | None, "The WebSocket's certificate chain, PEM."] = None
    tls_key_file: Annotated[Path | None, "The certificate's private key, PEM, mode 0600."] = None
    hello_timeout_s: Annotated[int, between(1, 60), "A connection without a hello is closed after this."] = (
        DEFAULT_HELLO_TIMEOUT_S
    )
    max_connections: Annotated[int, between(1, 10_000), "Connections at one time; more are closed at once."] = (
        DEFAULT_HOOK_MAX_CONNECTIONS
    )
    max_message_bytes: Annotated[int, between(512, 65_536), "A longer request closes its connection."] = (
        DEFAULT_HOOK_MAX_MESSAGE_BYTES
    )
    max_unread_bytes: Annotated[
        int, between(65_536, 1 << 30), "No more requests are read of a client that has not read so much."
    ] = DEFAULT_HOOK_MAX_UNREAD_BYTES
    max_faults: Annotated[int, between(1, 10_000), "Requests that are not understood; then a connection is closed."] = (
        DEFAULT_MAX_FAULTS
    )


def check_hook(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of the hook's table."""
    if "socket_path" in values and "listen_port" in values and values["socket_path"] is values["listen_port"] is None:
        yield ("socket_path",), "give socket_path, listen_port or both: else nobody can ask"


def check_client(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of one client's table."""
    file, prefix = values.get("credentials_file"), values.get("credentials_env")
    method = values.get("authentication")
    if method == "token" and (file is None) == (prefix is None):
        yield ("credentials_file",), 'authentication = "token" takes either credentials_file or credentials_env'
    if method == "peer" and not (file is prefix is None):
        yield ("credentials_file",), 'has no use with authentication = "peer"'
    usual, longest = values.get("hold_timeout_ms"), values.get("max_hold_timeout_ms")
    if usual is not None and longest is not None and longest < usual:
        yield ("max_hold_timeout_ms",), f"must not be less than hold_timeout_ms, {usual}, not {longest}"
