"""What a configuration consists of: one struct a table, one annotation a key, one constant a default.

An annotation is kind, rules, and the description that docs/configuration.md prints (reference.py).
"""

import ipaddress
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from gateway.config.rules import DISTINCT, NOT_EMPTY, POSITIVE, Rule, between, matching

# Survives a crash of the process and costs an order nothing; "fdatasync" adds power failures, and milliseconds to
# the 99th percentile of a busy machine. Whoever has no second site should pay for it.
DEFAULT_JOURNAL_DURABILITY: Literal["mmap"] = "mmap"
# About 360 000 records of 150 bytes: prepared in 0.1 s, minutes before it is needed.
DEFAULT_JOURNAL_SEGMENT_MIB = 64
# Nothing is reachable from outside unless somebody asked for it.
DEFAULT_LISTEN_HOST = "127.0.0.1"
# What FIX clients propose; a silent peer is found out after a little more than twice that.
DEFAULT_HEART_BT_INT_S = 30
# A peer that has not sent Logon(A) by then holds a connection for nothing.
DEFAULT_LOGON_TIMEOUT_S = 10
# A few per session, for reconnects and mistakes; each may hold its whole write buffer.
DEFAULT_MAX_CONNECTIONS = 64
# An order is 200 bytes; 8 KiB leave room for parties and text, and nothing for an attack.
DEFAULT_MAX_MESSAGE_BYTES = 8192
# Some 3 000 reports behind: such a client is not slow but gone. What it missed is kept for its resend request.
DEFAULT_MAX_WRITE_BUFFER_BYTES = 1 << 20
# What most desks' order management systems speak.
DEFAULT_BEGIN_STRING: Literal["FIX.4.4"] = "FIX.4.4"
# A restart of the gateway must not lose a client's sequence numbers.
DEFAULT_RESET_ON_LOGON = False
# Most sessions trade.
DEFAULT_SESSION_KIND: Literal["orders"] = "orders"
# Few order management systems want to hear that their request is on its way: the answer says so soon enough.
DEFAULT_PENDING_REPORTS = False
# An order that nobody watches is a risk that nobody manages.
DEFAULT_CANCEL_ON_DISCONNECT = True
# Margin is called in one currency, and most limits are written in dollars.
DEFAULT_ACCOUNT_CURRENCY = "USD"
# An account in the file is meant to be used.
DEFAULT_ACCOUNT_STATE: Literal["trading"] = "trading"
# A person or a slow algorithm; a market maker's account says more.
DEFAULT_MAX_ORDERS_PER_SECOND = 50
DEFAULT_ORDER_BURST = 100
# Each working order is one more term in the worst case of every check.
DEFAULT_MAX_WORKING_ORDERS = 200
# Venues send marks every 0.1 to 1 s: two of the slowest may be late before new risk is refused.
DEFAULT_MARK_MAX_AGE_MS = 2000
# Wider than the price bands that venues set on futures, narrower than a slipped decimal point.
DEFAULT_COLLAR_FRACTION = Decimal("0.05")
# An option's price moves many times as far as its underlying's.
DEFAULT_OPTION_COLLAR_FRACTION = Decimal("0.5")
# Half of a price of one tick is nothing: cheap options get a width in ticks.
DEFAULT_OPTION_COLLAR_MIN_TICKS = 20
# Risk arrays are made anew four times a second: 0.1 % is a large move of the underlying in that time.
DEFAULT_GENERATION_INTERVAL_MS = 250
# Eight generations missed: the slow side is stuck, and the margin of before is no margin.
DEFAULT_GENERATION_MAX_AGE_MS = 2000
# Deribit's portfolio margin for ETH, February 2026: a range of 18 % in nine steps (BTC: 16 %); volatility down
# 25 %, unmoved, up 50 %.
DEFAULT_SPOT_MOVES = (-0.18, -0.135, -0.09, -0.045, 0.0, 0.045, 0.09, 0.135, 0.18)
DEFAULT_VOL_MOVES = (-0.25, 0.0, 0.5)
# The shortest that Deribit's public/set_heartbeat takes.
DEFAULT_VENUE_HEARTBEAT_S = 10
# While we can not cancel, nobody can: what works unwatched at a venue is a risk that grows by itself.
DEFAULT_VENUE_CANCEL_ON_DISCONNECT = True
# Margin is reckoned with the mark, and it takes more than one trade to move it.
DEFAULT_STOP_TRIGGER: Literal["mark_price"] = "mark_price"
# Doubled, with jitter, from the shortest to the longest: quick after a blink, inside the venue's limits in a storm.
DEFAULT_RECONNECT_MIN_MS = 250
DEFAULT_RECONNECT_MAX_MS = 30_000
# Deribit's default tier for the matching engine; above it the venue ends the session.
DEFAULT_REQUESTS_PER_SECOND = 5
DEFAULT_REQUEST_BURST = 20
# Alerts are due within 5 s, so what they come from is counted more often than that.
DEFAULT_REPORT_INTERVAL_MS = 1000

MAX_GRID_POINTS = 64

# What an account may hold, be measured in, and what a venue may be asked about.
CURRENCIES = ("BTC", "ETH", "EURR", "SOL", "USD", "USDC", "USDT", "XRP")

NAME = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "of 1 to 64 letters, digits, '.', '_' or '-'")
SYMBOL = matching(r"[A-Za-z0-9._-]{1,64}", "of 1 to 64 letters, digits, '.', '_' or '-'")
PATTERN = matching(r"[A-Za-z0-9._*?\[\]-]{1,64}", "of 1 to 64 letters, digits, '.', '_', '-' or wildcards * ? []")
ENVIRONMENT_PREFIX = matching(r"[A-Z][A-Z0-9_]{0,63}", "of capital letters, digits and '_'")
CURRENCY = Rule("that is one of " + ", ".join(CURRENCIES), lambda value: value in CURRENCIES)
FRACTION = Rule("above 0 and below 1", lambda value: 0 < value < 1)
UP_TO_TEN = Rule("above 0 and at most 10", lambda value: 0 < value <= 10)
# A price cannot lose more than everything; at -1 exactly its logarithm is gone.
MOVE = Rule("above -1 and at most 100", lambda value: -1 < value <= 100)
ASCENDING = Rule("in ascending order", lambda value: all(a < b for a, b in pairwise(value)))
WITH_ZERO = Rule("with 0, the unmoved market", lambda value: 0 in value)
BOTH_WAYS = Rule("with a fall and a rise", lambda value: min(value) < 0 < max(value))
FEW_POINTS = Rule(f"with at most {MAX_GRID_POINTS} moves", lambda value: len(value) <= MAX_GRID_POINTS)


def is_loopback(host: str) -> bool:
    """Say whether a host, as it is written in a file or an URL, can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return value == "localhost"
    return True


HOST = Rule("that is an IP address or localhost", _is_host)

Name = Annotated[str, NAME]
Currency = Annotated[str, CURRENCY]
Amount = Annotated[Decimal, POSITIVE]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tables have in common."""


class Gateway(_Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Names this gateway in logs, metrics and alerts."]
    journal_directory: Annotated[Path, "Where the journal lies; made if absent; one gateway only."]
    journal_durability: Annotated[
        Literal["mmap", "fdatasync"],
        "What a record survives once it is written: a crash of the process, or a power failure too.",
    ] = DEFAULT_JOURNAL_DURABILITY
    journal_segment_mib: Annotated[int, between(1, 1024), "Size of a journal file, allocated beforehand."] = (
        DEFAULT_JOURNAL_SEGMENT_MIB
    )


class Session(_Table, frozen=True, kw_only=True):
    target_comp_id: Annotated[Name, "The client's CompID: its SenderCompID(49)."]
    accounts: Annotated[tuple[Name, ...], NOT_EMPTY, DISTINCT, "The accounts that this client may name in Account(1)."]
    begin_string: Annotated[
        Literal["FIX.4.2", "FIX.4.4", "FIXT.1.1"], "The client's FIX version; FIXT.1.1 carries FIX.5.0SP2."
    ] = DEFAULT_BEGIN_STRING
    kind: Annotated[
        Literal["orders", "drop_copy", "drop_copy_in"],
        "orders: it trades; drop_copy: it gets copies of its accounts' reports; drop_copy_in: it reports fills to us.",
    ] = DEFAULT_SESSION_KIND
    pending_reports: Annotated[bool, "Report PendingCancel and PendingReplace as requests are sent on."] = (
        DEFAULT_PENDING_REPORTS
    )
    reset_on_logon: Annotated[bool, "Begin at sequence number 1 with each Logon(A), forgetting what was missed."] = (
        DEFAULT_RESET_ON_LOGON
    )
    cancel_on_disconnect: Annotated[bool, "Cancel the client's working orders when its connection is lost."] = (
        DEFAULT_CANCEL_ON_DISCONNECT
    )


class Fix(_Table, frozen=True, kw_only=True):
    listen_port: Annotated[int, between(1, 65535), "The TCP port for FIX clients."]
    sender_comp_id: Annotated[Name, "Our CompID: the clients' TargetCompID(56)."]
    session: Annotated[tuple[Session, ...], NOT_EMPTY, "One table a client."]
    listen_host: Annotated[str, HOST, "The address to listen on; other than loopback only with both TLS files."] = (
        DEFAULT_LISTEN_HOST
    )
    tls_certificate_file: Annotated[Path | None, "The server's certificate chain, PEM."] = None
    tls_key_file: Annotated[Path | None, "The certificate's private key, PEM, mode 0600."] = None
    heart_bt_int_s: Annotated[int, between(1, 3600), "The longest HeartBtInt(108) that a client may ask for."] = (
        DEFAULT_HEART_BT_INT_S
    )
    logon_timeout_s: Annotated[int, between(1, 60), "A connection without Logon(A) is closed after this."] = (
        DEFAULT_LOGON_TIMEOUT_S
    )
    max_connections: Annotated[int, between(1, 10_000), "Connections at one time; more are closed at once."] = (
        DEFAULT_MAX_CONNECTIONS
    )
    max_message_bytes: Annotated[int, between(512, 65_536), "A longer message closes its connection."] = (
        DEFAULT_MAX_MESSAGE_BYTES
    )
    max_write_buffer_bytes: Annotated[
        int, between(65_536, 1 << 30), "A client that has not read so much is disconnected; it may ask for a resend."
    ] = DEFAULT_MAX_WRITE_BUFFER_BYTES


class InstrumentLimits(_Table, frozen=True, kw_only=True):
    max_order_quantity: Annotated[Amount, "The largest OrderQty(38), in the venue's unit."]
    max_position_quantity: Annotated[Amount, "The largest position, long or short, working orders counted as filled."]
    symbol: Annotated[str | None, SYMBOL, "One instrument; this or `pattern`."] = None
    pattern: Annotated[
        str | None, PATTERN, "All instruments of this shape, as BTC-*; the first entry that fits decides."
    ] = None


class Limits(_Table, frozen=True, kw_only=True):
    max_order_notional_usd: Annotated[Amount, "The largest value of one order."]
    instrument: Annotated[
        tuple[InstrumentLimits, ...], NOT_EMPTY, "What may be traded; an instrument that no entry fits is refused."
    ]
    max_orders_per_second: Annotated[int, between(1, 1_000_000), "New and replaced orders, sustained."] = (
        DEFAULT_MAX_ORDERS_PER_SECOND
    )
    order_burst: Annotated[int, between(1, 1_000_000), "Orders at once after a pause."] = DEFAULT_ORDER_BURST
    max_working_orders: Annotated[int, between(1, 100_000), "Orders that may work at one time."] = (
        DEFAULT_MAX_WORKING_ORDERS
    )

    def for_symbol(self, symbol: str) -> InstrumentLimits | None:
        """Return the first entry that fits `symbol`; None means that the account may not trade it."""
        for entry in self.instrument:
            if entry.symbol == symbol or (entry.pattern is not None and fnmatchcase(symbol, entry.pattern)):
                return entry
        return None


class Account(_Table, frozen=True, kw_only=True):
    name: Annotated[Name, "What clients write into Account(1)."]
    limits: Annotated[Limits, "The account's limits."]
    currency: Annotated[Currency, "What its equity and margin are expressed in."] = DEFAULT_ACCOUNT_CURRENCY
    state: Annotated[
        Literal["trading", "reducing", "halted"], "At start: all orders, only those that reduce risk, or none."
    ] = DEFAULT_ACCOUNT_STATE
    deposits: Annotated[
        dict[Currency, Amount], "Collateral; applied once, at the first start on an empty journal."
    ] = {}


class Market(_Table, frozen=True, kw_only=True):
    mark_max_age_ms: Annotated[int, between(100, 60_000), "With an older mark, new risk is refused."] = (
        DEFAULT_MARK_MAX_AGE_MS
    )
    collar_fraction: Annotated[Decimal, FRACTION, "How far from the mark a price may be, as a part of it."] = (
        DEFAULT_COLLAR_FRACTION
    )
    option_collar_fraction: Annotated[Decimal, UP_TO_TEN, "The same for options."] = DEFAULT_OPTION_COLLAR_FRACTION
    option_collar_min_ticks: Annotated[int, between(1, 100_000), "An option's collar is never narrower than this."] = (
        DEFAULT_OPTION_COLLAR_MIN_TICKS
    )
    generation_interval_ms: Annotated[int, between(10, 60_000), "How often risk arrays are made anew."] = (
        DEFAULT_GENERATION_INTERVAL_MS
    )
    generation_max_age_ms: Annotated[int, between(10, 600_000), "With older risk arrays, new risk is refused."] = (
        DEFAULT_GENERATION_MAX_AGE_MS
    )


Move = Annotated[float, MOVE]


class Margin(_Table, frozen=True, kw_only=True):
    spot_moves: Annotated[
        tuple[Move, ...],
        NOT_EMPTY,
        FEW_POINTS,
        ASCENDING,
        WITH_ZERO,
        BOTH_WAYS,
        "Moves of the underlying, relative: -0.18 is 18 % down.",
    ] = DEFAULT_SPOT_MOVES
    vol_moves: Annotated[
        tuple[Move, ...],
        NOT_EMPTY,
        FEW_POINTS,
        ASCENDING,
        WITH_ZERO,
        "Moves of implied volatility, relative; every one is combined with every spot move.",
    ] = DEFAULT_VOL_MOVES


class Venue(_Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Names the venue in the journal, in reports and in metrics."]
    kind: Annotated[Literal["deribit"], "The protocol that it speaks."]
    url: Annotated[str, "Its WebSocket: wss://, or ws:// on loopback; without user, password and query."]
    currencies: Annotated[tuple[Currency, ...], NOT_EMPTY, DISTINCT, "What to ask the venue's instruments for."]
    instruments: Annotated[
        tuple[Annotated[str, PATTERN], ...], NOT_EMPTY, DISTINCT, "What is listed to clients: symbols or patterns."
    ]
    credentials_file: Annotated[
        Path | None, "A TOML file of mode 0600 with client_id and client_secret; this or `credentials_env`."
    ] = None
    credentials_env: Annotated[
        str | None, ENVIRONMENT_PREFIX, "PREFIX: read from PREFIX_CLIENT_ID and PREFIX_CLIENT_SECRET."
    ] = None
    heartbeat_s: Annotated[int, between(10, 600), "A venue that is silent for longer is asked, then left."] = (
        DEFAULT_VENUE_HEARTBEAT_S
    )
    reconnect_min_ms: Annotated[int, between(50, 60_000), "The first pause before a new connection."] = (
        DEFAULT_RECONNECT_MIN_MS
    )
    reconnect_max_ms: Annotated[int, between(50, 600_000), "The longest pause."] = DEFAULT_RECONNECT_MAX_MS
    requests_per_second: Annotated[int, between(1, 1_000_000), "Requests that we send, sustained."] = (
        DEFAULT_REQUESTS_PER_SECOND
    )
    request_burst: Annotated[int, between(1, 1_000_000), "Requests at once after a pause."] = DEFAULT_REQUEST_BURST
    cancel_on_disconnect: Annotated[
        bool,
        "Have the venue cancel our working orders when its connection to us is lost, whatever clients want.",
    ] = DEFAULT_VENUE_CANCEL_ON_DISCONNECT
    stop_trigger: Annotated[
        Literal["mark_price", "last_price", "index_price"], "Which of the venue's prices triggers clients' stop orders."
    ] = DEFAULT_STOP_TRIGGER
    ca_file: Annotated[Path | None, "Certificates to trust instead of the system's, PEM."] = None


class Monitor(_Table, frozen=True, kw_only=True):
    report_interval_ms: Annotated[int, between(100, 5000), "How often counters are published."] = (
        DEFAULT_REPORT_INTERVAL_MS
    )


class Config(_Table, frozen=True, kw_only=True):
    gateway: Annotated[Gateway, "This process."]
    fix: Annotated[Fix, "The FIX acceptor."]
    account: Annotated[tuple[Account, ...], NOT_EMPTY, "One table an account."]
    venue: Annotated[tuple[Venue, ...], NOT_EMPTY, "One table a connection to an exchange."]
    market: Annotated[Market, "What a price is compared with."] = Market()
    margin: Annotated[Margin, "The scenarios of the house margin."] = Margin()
    monitor: Annotated[Monitor, "What the gateway tells of itself."] = Monitor()
