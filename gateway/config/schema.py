"""What a configuration consists of: one struct a table, one annotation a key, one constant a default.

An annotation is kind, rules, and the description that docs/configuration.md prints (reference.py).
"""

from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from msgspec import field

from gateway.config import pricing_defaults
from gateway.config.admin import Admin
from gateway.config.collateral import Collateral
from gateway.config.counterparties import Counterparty, Reconciliation
from gateway.config.guards import Adjust, Guard
from gateway.config.hook import Hook
from gateway.config.levels import Desk, Firm, House, Stress, SubAccount
from gateway.config.margin_calls import MarginCalls
from gateway.config.parameters import Parameters
from gateway.config.rules import DISTINCT, NOT_EMPTY, between
from gateway.config.schedules import Schedule
from gateway.config.values import (
    ASCENDING,
    BOTH_WAYS,
    ENVIRONMENT_PREFIX,
    FEW_POINTS,
    FRACTION,
    HOST,
    MOVE,
    NAME,
    NETWORK,
    PATTERN,
    PUBLIC_KEY,
    SHA256,
    SUB_ID,
    SYMBOL,
    UP_TO_TEN,
    WITH_ZERO,
    Amount,
    Currency,
    Name,
    Table,
)
from gateway.config.venues import Venue

# Survives a crash of the process and costs an order nothing; "fdatasync" adds power failures, and milliseconds to
# the 99th percentile of a busy machine. Whoever has no second site should pay for it.
DEFAULT_JOURNAL_DURABILITY: Literal["mmap"] = "mmap"
# About 360 000 records of 150 bytes: prepared in 0.1 s, minutes before it is needed.
DEFAULT_JOURNAL_SEGMENT_MIB = 64
# Nothing is reachable from outside unless somebody asked for it.
DEFAULT_LISTEN_HOST = "127.0.0.1"
# What FIX clients propose; a silent peer is found out after a little more than twice that.
DEFAULT_HEART_BT_INT_S = 30
# A CompID is a name, not a proof: enough on loopback, refused elsewhere.
DEFAULT_AUTHENTICATION: Literal["none"] = "none"
# Sessions say which certificate they must have; others may go on with what they know.
DEFAULT_REQUIRES_CLIENT_CERTIFICATE = False
# One neutral text; a client with a wrong password finds out that it is not the network.
DEFAULT_REFUSED_LOGON: Literal["logout"] = "logout"
# Clocks of trading firms are within milliseconds of each other; the network and a queue need the rest.
DEFAULT_LOGON_WINDOW_S = 5
# All clients at once after a restart fit; a stranger costs 64 KiB, with TLS twice that.
DEFAULT_MAX_PENDING_CONNECTIONS = 128
# Half of them: one address can not fill the lobby.
DEFAULT_MAX_PENDING_PER_ADDRESS = 64
# A peer that has not sent Logon(A) by then holds a connection for nothing.
DEFAULT_LOGON_TIMEOUT_S = 10
# One for each session, and those that wait to log on; each that is in may hold its whole write buffer.
DEFAULT_MAX_CONNECTIONS = 256
# An order is 200 bytes; 8 KiB leave room for parties and text, and nothing for an attack.
DEFAULT_MAX_MESSAGE_BYTES = 8192
# Some 3 000 reports behind: such a client is not slow but gone. What it missed is kept for its resend request.
DEFAULT_MAX_WRITE_BUFFER_BYTES = 1 << 20
# A person sees no more than ten changes a second, and an algorithm that needs more has a line to the venue.
DEFAULT_MARKET_DATA_INTERVAL_MS = 100
# All instruments of a coin on one screen; each costs its reader's connection a message an interval.
DEFAULT_MARKET_DATA_SUBSCRIPTIONS = 200
# Some hundred messages: more unread ones would be old when they are read.
DEFAULT_MARKET_DATA_BACKLOG_BYTES = 1 << 16
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
# A blink of the network is no reason to cancel, but only the client knows whether it can see its orders meanwhile.
DEFAULT_CANCEL_ON_DISCONNECT_GRACE_MS = 0
# HeartBtInt(108) of 0 would never find out a client that is gone.
DEFAULT_MIN_HEART_BT_INT_S = 1
# What FIX engines allow a SendingTime(52) to be off, either way.
DEFAULT_MAX_LATENCY_S = 120
# Rates are mostly agreed in messages a second.
DEFAULT_THROTTLE_INTERVAL_MS = 1000
# An answer at once lets the client decide; an order that waits is one that it may no longer want.
DEFAULT_THROTTLE_ANSWER: Literal["reject"] = "reject"
# Whatever waits longer than some seconds is better refused.
DEFAULT_THROTTLE_QUEUE = 1000
# FIX 4.x knows no finer one.
DEFAULT_TIMESTAMP_PRECISION: Literal["ms"] = "ms"
# One client's orders that meet make fees, and a market that is none.
DEFAULT_SELF_TRADE_PREVENTION: Literal["reject"] = "reject"
# A resend on request is what every engine knows; this one both sides must have switched on.
DEFAULT_NEXT_EXPECTED_MSG_SEQ_NUM = False
# What the rules of engagement do not know is a mistake of one of the two sides: better told than passed over.
DEFAULT_ALLOW_UNKNOWN_TAGS = False
DEFAULT_ALLOW_ANY_ORDER = False
DEFAULT_CHECK_VALUES = True
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
# Venues' indices are within some tenths of a percent of each other; in the worst minutes, within 2 %.
DEFAULT_INDEX_MAX_DEVIATION = Decimal("0.05")
# A year's future was worth a fifth more than its coin in the wildest spring.
DEFAULT_MARK_MAX_BASIS = Decimal("0.25")
# Risk arrays are made anew four times a second: 0.1 % is a large move of the underlying in that time.
DEFAULT_GENERATION_INTERVAL_MS = 250
# Eight generations missed: the slow side is stuck, and the margin of before is no margin.
DEFAULT_GENERATION_MAX_AGE_MS = 2000
# Longer than a reconnection, and than the renewal of a lane; a venue that is killed is lost at once.
DEFAULT_LEG_LOST_AFTER_MS = 30_000
# Deribit's portfolio margin for ETH, February 2026: a range of 18 % in nine steps (BTC: 16 %); volatility down
# 25 %, unmoved, up 50 %.
DEFAULT_SPOT_MOVES = (-0.18, -0.135, -0.09, -0.045, 0.0, 0.045, 0.09, 0.135, 0.18)
DEFAULT_VOL_MOVES = (-0.25, 0.0, 0.5)
# Alerts are due within 5 s, so what they come from is counted more often than that.
DEFAULT_REPORT_INTERVAL_MS = 1000


class Gateway(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Names this gateway in logs, metrics and alerts."]
    journal_directory: Annotated[Path, "Where the journal lies; made if absent; one gateway only."]
    journal_durability: Annotated[
        Literal["mmap", "fdatasync"],
        "What a record survives once it is written: a crash of the process, or a power failure too.",
    ] = DEFAULT_JOURNAL_DURABILITY
    journal_segment_mib: Annotated[int, between(1, 1024), "Size of a journal file, allocated beforehand."] = (
        DEFAULT_JOURNAL_SEGMENT_MIB
    )


Networks = tuple[Annotated[str, NETWORK], ...]


class Session(Table, frozen=True, kw_only=True):
    target_comp_id: Annotated[Name, "The client's CompID: its SenderCompID(49)."]
    accounts: Annotated[tuple[Name, ...], NOT_EMPTY, DISTINCT, "The accounts that this client may name in Account(1)."]
    begin_string: Annotated[
        Literal["FIX.4.2", "FIX.4.4", "FIXT.1.1"], "The client's FIX version; FIXT.1.1 carries FIX.5.0SP2."
    ] = DEFAULT_BEGIN_STRING
    kind: Annotated[
        Literal["orders", "drop_copy", "drop_copy_in"],
        "orders: it trades; drop_copy: it gets copies of its accounts' reports; drop_copy_in: it reports fills to us.",
    ] = DEFAULT_SESSION_KIND
    party_actions: Annotated[
        tuple[Literal["account", "session", "desk", "firm", "venue", "instrument"], ...],
        DISTINCT,
        "What it may stop by PartyActionRequest(DH): accounts and sessions, its own alone. FIXT.1.1 only.",
    ] = ()
    pending_reports: Annotated[bool, "Report PendingCancel and PendingReplace as requests are sent on."] = (
        DEFAULT_PENDING_REPORTS
    )
    reset_on_logon: Annotated[bool, "Begin at sequence number 1 with each Logon(A), forgetting what was missed."] = (
        DEFAULT_RESET_ON_LOGON
    )
    cancel_on_disconnect: Annotated[bool, "Cancel the client's working orders when its connection is lost."] = (
        DEFAULT_CANCEL_ON_DISCONNECT
    )
    authentication: Annotated[
        Literal["none", "password", "hmac", "ed25519"],
        "How a Logon(A) shows whose it is; none is for loopback, or where the client certificate does (security.md).",
    ] = DEFAULT_AUTHENTICATION
    credentials_file: Annotated[
        Path | None, "A TOML file of mode 0600: username and password_hash, or key_id and secret; or `credentials_env`."
    ] = None
    credentials_env: Annotated[
        str | None,
        ENVIRONMENT_PREFIX,
        "PREFIX: read from PREFIX_USERNAME, PREFIX_PASSWORD_HASH, or _KEY_ID, _SECRET.",
    ] = None
    public_key: Annotated[str | None, PUBLIC_KEY, "For ed25519: the client's key; this or `public_key_file`."] = None
    public_key_file: Annotated[Path | None, "For ed25519: the client's key, PEM."] = None
    allowed_addresses: Annotated[Networks, DISTINCT, "Where the client may come from; none: anywhere."] = ()
    certificate_sha256: Annotated[str | None, SHA256, "The SHA-256 of the certificate that it must have."] = None
    certificate_subject: Annotated[
        str | None, "The subject that its certificate must have, as RFC 4514 writes it: CN=oms-1,O=Alpha."
    ] = None
    cancel_on_disconnect_grace_ms: Annotated[
        int, between(0, 3_600_000), "A client that is back within it keeps its orders; 0 cancels at once."
    ] = DEFAULT_CANCEL_ON_DISCONNECT_GRACE_MS
    name: Annotated[
        str | None,
        NAME,
        "Names the session in the journal and to operators; none: `target_comp_id`. A new name is a new session.",
    ] = None
    sender_comp_id: Annotated[str | None, NAME, "Our CompID to this client; none: that of `[fix]`."] = None
    sender_sub_id: Annotated[str | None, SUB_ID, "Our SubID: the client's TargetSubID(57), demanded."] = None
    sender_location_id: Annotated[str | None, SUB_ID, "The client's TargetLocationID(143), demanded."] = None
    target_sub_id: Annotated[str | None, SUB_ID, "The client's SenderSubID(50), demanded."] = None
    target_location_id: Annotated[str | None, SUB_ID, "The client's SenderLocationID(142), demanded."] = None
    schedule: Annotated[Schedule | None, "When the session may be up; none: always, and no reset by time."] = None
    next_expected_msg_seq_num: Annotated[
        bool, "Send NextExpectedMsgSeqNum(789) in our Logon(A) and heed the client's; not with FIX.4.2."
    ] = DEFAULT_NEXT_EXPECTED_MSG_SEQ_NUM
    timestamp_precision: Annotated[
        Literal["s", "ms", "us", "ns"], "Of SendingTime(52) and OrigSendingTime(122) that we send."
    ] = DEFAULT_TIMESTAMP_PRECISION
    dictionary_overlay: Annotated[
        Path | None, "A TOML file with custom tags, messages and groups (docs/fix-library.md, Overlays)."
    ] = None
    allow_unknown_tags: Annotated[bool, "Pass over tags that a message does not know, outside of groups."] = (
        DEFAULT_ALLOW_UNKNOWN_TAGS
    )
    allow_any_order: Annotated[
        bool, "Let header, body and trailer mix, and members of a group follow in any order."
    ] = DEFAULT_ALLOW_ANY_ORDER
    check_values: Annotated[bool, "Refuse values that an enumerated field does not know."] = DEFAULT_CHECK_VALUES
    min_heart_bt_int_s: Annotated[
        int, between(1, 3600), "The shortest HeartBtInt(108) that the client may ask for."
    ] = DEFAULT_MIN_HEART_BT_INT_S
    max_heart_bt_int_s: Annotated[int | None, between(1, 3600), "The longest; none: `heart_bt_int_s` of `[fix]`."] = (
        None
    )
    max_latency_s: Annotated[int, between(1, 3600), "How far SendingTime(52) may be from our clock, either way."] = (
        DEFAULT_MAX_LATENCY_S
    )
    throttle_messages: Annotated[
        int | None, between(1, 100_000), "Application messages taken in any interval; none: as many as come."
    ] = None
    throttle_interval_ms: Annotated[int, between(1, 3_600_000), "The interval of `throttle_messages`."] = (
        DEFAULT_THROTTLE_INTERVAL_MS
    )
    throttle_answer: Annotated[Literal["reject", "delay"], "What is done with a message beyond it."] = (
        DEFAULT_THROTTLE_ANSWER
    )
    throttle_queue: Annotated[int, between(1, 10_000), "Delayed messages that may wait; more are refused."] = (
        DEFAULT_THROTTLE_QUEUE
    )


class Fix(Table, frozen=True, kw_only=True):
    listen_port: Annotated[int, between(1, 65535), "The TCP port for FIX clients."]
    sender_comp_id: Annotated[Name, "Our CompID: the clients' TargetCompID(56)."]
    session: Annotated[tuple[Session, ...], NOT_EMPTY, "One table a client."]
    counterparty: Annotated[
        tuple[Counterparty, ...], "One table a FIX session that we open (docs/reconciliation.md); none: nobody."
    ] = ()
    listen_host: Annotated[str, HOST, "The address to listen on; other than loopback only with both TLS files."] = (
        DEFAULT_LISTEN_HOST
    )
    tls_certificate_file: Annotated[Path | None, "The server's certificate chain, PEM."] = None
    tls_key_file: Annotated[Path | None, "The certificate's private key, PEM, mode 0600."] = None
    tls_client_ca_file: Annotated[Path | None, "Who signs client certificates, PEM; else none is asked for."] = None
    tls_requires_client_certificate: Annotated[bool, "Nobody connects without a certificate of that authority."] = (
        DEFAULT_REQUIRES_CLIENT_CERTIFICATE
    )
    allowed_addresses: Annotated[Networks, DISTINCT, "Where any client may come from; none: anywhere."] = ()
    refused_logon: Annotated[
        Literal["logout", "silence"], "What a refused Logon(A) is answered with; the reason is never told."
    ] = DEFAULT_REFUSED_LOGON
    logon_window_s: Annotated[int, between(1, 60), "How far the time in a signed Logon(A) may be from ours."] = (
        DEFAULT_LOGON_WINDOW_S
    )
    heart_bt_int_s: Annotated[int, between(1, 3600), "The longest HeartBtInt(108) that a client may ask for."] = (
        DEFAULT_HEART_BT_INT_S
    )
    logon_timeout_s: Annotated[int, between(1, 60), "A connection without Logon(A) is closed after this."] = (
        DEFAULT_LOGON_TIMEOUT_S
    )
    max_connections: Annotated[int, between(1, 10_000), "Connections at one time; more are closed at once."] = (
        DEFAULT_MAX_CONNECTIONS
    )
    max_pending_connections: Annotated[
        int, between(1, 10_000), "Connections that have not logged on; for one more the longest waiting is closed."
    ] = DEFAULT_MAX_PENDING_CONNECTIONS
    max_pending_per_address: Annotated[int, between(1, 10_000), "The same for one address, or one /64 of IPv6."] = (
        DEFAULT_MAX_PENDING_PER_ADDRESS
    )
    max_message_bytes: Annotated[int, between(512, 65_536), "A longer message closes its connection."] = (
        DEFAULT_MAX_MESSAGE_BYTES
    )
    max_write_buffer_bytes: Annotated[
        int, between(65_536, 1 << 30), "A client that has not read so much is disconnected; it may ask for a resend."
    ] = DEFAULT_MAX_WRITE_BUFFER_BYTES
    market_data_interval_ms: Annotated[
        int, between(10, 60_000), "How often a subscriber is told the net change of a book, mark or index."
    ] = DEFAULT_MARKET_DATA_INTERVAL_MS
    market_data_subscriptions: Annotated[
        int, between(1, 10_000), "Instruments that one client may have subscribed at one time."
    ] = DEFAULT_MARKET_DATA_SUBSCRIPTIONS
    market_data_backlog_bytes: Annotated[
        int,
        between(4_096, 1 << 30),
        "A client that has not read so much is told no market data until it has; then one message makes up for it.",
    ] = DEFAULT_MARKET_DATA_BACKLOG_BYTES


class InstrumentLimits(Table, frozen=True, kw_only=True):
    max_order_quantity: Annotated[Amount, "The largest OrderQty(38), in the venue's unit."]
    max_position_quantity: Annotated[Amount, "The largest position, long or short, working orders counted as filled."]
    symbol: Annotated[str | None, SYMBOL, "One instrument; this or `pattern`."] = None
    pattern: Annotated[
        str | None, PATTERN, "All instruments of this shape, as BTC-*; the first entry that fits decides."
    ] = None


class Limits(Table, frozen=True, kw_only=True):
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


class Account(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "What clients write into Account(1)."]
    limits: Annotated[Limits, "The account's limits."]
    currency: Annotated[Currency, "What its equity and margin are told in."] = DEFAULT_ACCOUNT_CURRENCY
    state: Annotated[
        Literal["trading", "reducing", "halted"], "At start: all orders, only those that reduce risk, or none."
    ] = DEFAULT_ACCOUNT_STATE
    client: Annotated[
        str | None,
        NAME,
        "Whose account it is, for self-trade prevention; none: one with the other such accounts of its sessions.",
    ] = None
    self_trade_prevention: Annotated[
        Literal["reject", "cancel_resting", "off"],
        "Where an order would meet a working order of the same client: refuse it, cancel that one, or do nothing.",
    ] = DEFAULT_SELF_TRADE_PREVENTION
    deposits: Annotated[dict[Currency, Amount], "Collateral; applied once, at the first start on an empty journal."] = (
        field(default_factory=dict)
    )
    desk: Annotated[str | None, NAME, "The desk whose limits and margin it is part of; none: it stands alone."] = None
    profiles: Annotated[
        tuple[Name, ...], DISTINCT, "Regulatory profiles that bind it (docs/margin.md); each only ever tightens."
    ] = ()
    sub_account: Annotated[
        tuple[SubAccount, ...], "Its accounts at venues: what each venue's own model asks for must be there."
    ] = ()


class Market(Table, frozen=True, kw_only=True):
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
    index_max_deviation: Annotated[
        Decimal, FRACTION, "With three venues or more: a venue whose index is further from the median is not believed."
    ] = DEFAULT_INDEX_MAX_DEVIATION
    mark_max_basis: Annotated[
        Decimal, FRACTION, "The same for a mark, other than an option's, that is further from the coin's median index."
    ] = DEFAULT_MARK_MAX_BASIS
    generation_interval_ms: Annotated[int, between(10, 60_000), "How often risk arrays are made anew."] = (
        DEFAULT_GENERATION_INTERVAL_MS
    )
    generation_move_fraction: Annotated[
        Decimal, FRACTION, "They are made anew at once, too, when a price or forward has moved so far since, as a part."
    ] = pricing_defaults.DEFAULT_GENERATION_MOVE_FRACTION
    generation_vol_move_fraction: Annotated[Decimal, FRACTION, "The same for implied volatility."] = (
        pricing_defaults.DEFAULT_GENERATION_VOL_MOVE_FRACTION
    )
    leg_lost_after_ms: Annotated[
        int, between(100, 3_600_000), "What is held at a venue that was away for so long offsets nothing elsewhere."
    ] = DEFAULT_LEG_LOST_AFTER_MS
    generation_max_age_ms: Annotated[int, between(10, 600_000), "With older risk arrays, new risk is refused."] = (
        DEFAULT_GENERATION_MAX_AGE_MS
    )


Move = Annotated[float, MOVE]


class Margin(Table, frozen=True, kw_only=True):
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
    pricing: Annotated[
        Literal["process", "inline"],
        "Where risk arrays are made: in a process of its own, or in the gateway's, in slices between orders.",
    ] = pricing_defaults.DEFAULT_PRICING
    pricing_memory_mib: Annotated[
        int,
        between(1, 4_096),
        "Bound of a snapshot and of a generation that are handed over; unused memory costs none.",
    ] = pricing_defaults.DEFAULT_PRICING_MEMORY_MIB
    remargin_interval_ms: Annotated[
        int,
        between(100, 600_000),
        "How often the margin of all accounts is worked out anew, where pricing is a process.",
    ] = pricing_defaults.DEFAULT_REMARGIN_INTERVAL_MS


class Monitor(Table, frozen=True, kw_only=True):
    report_interval_ms: Annotated[int, between(100, 5000), "How often counters are published."] = (
        DEFAULT_REPORT_INTERVAL_MS
    )


class Config(Table, frozen=True, kw_only=True):
    gateway: Annotated[Gateway, "This process."]
    fix: Annotated[Fix, "The FIX acceptor."]
    account: Annotated[tuple[Account, ...], NOT_EMPTY, "One table an account."]
    venue: Annotated[tuple[Venue, ...], NOT_EMPTY, "One table a connection to an exchange."]
    market: Annotated[Market, "What a price is compared with."] = Market()
    margin: Annotated[Margin, "The scenarios of the house margin."] = Margin()
    firm: Annotated[tuple[Firm, ...], "One table a firm."] = ()
    desk: Annotated[tuple[Desk, ...], "One table a desk."] = ()
    house: Annotated[House, "What the house asks for beside its scenarios."] = House()
    stress: Annotated[Stress, "Scenarios in which everything moves together."] = Stress()
    monitor: Annotated[Monitor, "What the gateway tells of itself."] = Monitor()
    guard: Annotated[Guard, "Flash-crash guards of markets."] = Guard()
    adjust: Annotated[Adjust, "How positions of accounts that are short of margin are adjusted."] = Adjust()
    parameters: Annotated[Parameters, "Margin parameters that fits propose (docs/parameters.md)."] = Parameters()
    reconciliation: Annotated[Reconciliation, "When books agree, and what a difference does."] = Reconciliation()
    hook: Annotated[Hook | None, "Systems that send their own orders ask here first (docs/hook.md); none: nobody."] = (
        None
    )
    margin_calls: Annotated[MarginCalls | None, "Margin watched and called for (docs/intraday.md); none: not."] = None
    admin: Annotated[Admin | None, "The operator's page (docs/monitoring.md); none: `margingate admin` refuses."] = None
    collateral: Annotated[
        Collateral | None, "Transfers of collateral that are planned and made here (docs/transfers.md); none: not."
    ] = None
