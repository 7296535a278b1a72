"""What a [[venue]] consists of: where it is, who we are there, and how much of it may be used."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import field

from gateway.config.rules import DISTINCT, NOT_EMPTY, between
from gateway.config.values import ENVIRONMENT_PREFIX, NAME, PATTERN, SUFFIX, TIME_OF_DAY, Currency, Name, Table

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
# A busy book is thousands of messages a second, which orders would wait behind; nobody reads most of them.
DEFAULT_BOOK_SUBSCRIPTION: Literal["demand"] = "demand"
# Three renewals may be missed: long enough for a reconnection, and short for orders that nobody watches.
DEFAULT_DEAD_MAN_S = 60
# An answer at once lets the client decide; an order that waits is one that it may no longer want.
DEFAULT_ORDER_WAIT_MS = 0
# Marks come every second at the slowest; a venue without any for so long feeds nobody.
DEFAULT_FEED_TIMEOUT_S = 30

# A notice that was lost is told of by nobody. Orders are asked about one at a time, so a minute costs little.
DEFAULT_ORDER_CHECK_S = 60

# The venues' own day, by which they count volume and fees.
DEFAULT_DAY_ENDS_UTC = "00:00"

Age = Annotated[int, between(100, 600_000)]
Units = Annotated[int, between(1, 1_000_000)]


class Venue(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Names the venue in the journal, in reports and in metrics."]
    kind: Annotated[Literal["deribit", "binance-usdm", "binance-coinm", "okx", "bybit"], "The protocol that it speaks."]
    currencies: Annotated[
        tuple[Currency, ...], NOT_EMPTY, DISTINCT, "What to ask the venue's instruments for, and value there."
    ]
    instruments: Annotated[
        tuple[Annotated[str, PATTERN], ...],
        NOT_EMPTY,
        DISTINCT,
        "What is listed to clients: symbols or patterns, as the venue writes them.",
    ]
    url: Annotated[
        str | None,
        "Its WebSocket: wss://, or ws:// on loopback; without user, password and query. Needed for deribit; of the "
        "others the host of all connections, in place of the venue's own.",
    ] = None
    public_url: Annotated[str | None, "Not deribit: the host of market data, in place of `url`."] = None
    private_url: Annotated[str | None, "Not deribit: the host of the account's stream, in place of `url`."] = None
    trade_url: Annotated[str | None, "Not deribit: the host of order entry, in place of `url`."] = None
    rest_url: Annotated[
        str | None, "Not deribit: the REST host: https://, or http:// on loopback; none: the venue's own."
    ] = None
    products: Annotated[
        tuple[Name, ...],
        DISTINCT,
        "okx: of SWAP, FUTURES, OPTION; bybit: of linear, inverse, option; none: SWAP and FUTURES, or linear.",
    ] = ()
    symbol_suffix: Annotated[
        str, SUFFIX, "What our symbols have more than the venue's, where two venues call theirs the same."
    ] = ""
    accounts: Annotated[
        tuple[Name, ...], DISTINCT, "Accounts that trade here: whose sub-account it is; none: all accounts do."
    ] = ()
    credentials_file: Annotated[
        Path | None,
        "A TOML file of mode 0600 with client_id and client_secret, for okx passphrase too; or `credentials_env`.",
    ] = None
    credentials_env: Annotated[
        str | None, ENVIRONMENT_PREFIX, "PREFIX: read from PREFIX_CLIENT_ID, PREFIX_CLIENT_SECRET, PREFIX_PASSPHRASE."
    ] = None
    heartbeat_s: Annotated[int, between(10, 600), "deribit: a venue that is silent for longer is asked, then left."] = (
        DEFAULT_VENUE_HEARTBEAT_S
    )
    feed_timeout_s: Annotated[
        int, between(0, 3600), "With no mark for so long its market data is dialled again; 0: never."
    ] = DEFAULT_FEED_TIMEOUT_S
    reconnect_min_ms: Annotated[int, between(50, 60_000), "The first pause before a new connection."] = (
        DEFAULT_RECONNECT_MIN_MS
    )
    reconnect_max_ms: Annotated[int, between(50, 600_000), "The longest pause."] = DEFAULT_RECONNECT_MAX_MS
    requests_per_second: Annotated[int, between(1, 1_000_000), "deribit: requests that we send, sustained."] = (
        DEFAULT_REQUESTS_PER_SECOND
    )
    request_burst: Annotated[int, between(1, 1_000_000), "deribit: requests at once after a pause."] = (
        DEFAULT_REQUEST_BURST
    )
    budgets: Annotated[
        dict[Annotated[str, NAME], Units],
        "Not deribit: limits of this account where they are not the venue's lowest, by the names in docs/venues.md.",
    ] = field(default_factory=dict)
    order_wait_ms: Annotated[
        int, between(0, 10_000), "How long an order may wait for the venue's rate limit; 0: it is refused at once."
    ] = DEFAULT_ORDER_WAIT_MS
    order_check_s: Annotated[
        int, between(0, 3600), "How often a working order is asked about, in case a notice was lost; 0: never."
    ] = DEFAULT_ORDER_CHECK_S
    self_trade: Annotated[
        str | None, NAME, "Not deribit: the venue's word for what ends where our orders meet; none: its default."
    ] = None
    cancel_on_disconnect: Annotated[
        bool,
        "Have the venue cancel our working orders when its connection to us is lost, whatever clients want.",
    ] = DEFAULT_VENUE_CANCEL_ON_DISCONNECT
    dead_man_s: Annotated[
        int, between(1, 600), "Not deribit: how long after the loss that is; the venue's timer is put off meanwhile."
    ] = DEFAULT_DEAD_MAN_S
    book_subscription: Annotated[
        Literal["demand", "always"], "Follow the books that clients read, or those of all instruments."
    ] = DEFAULT_BOOK_SUBSCRIPTION
    mark_max_age_ms: Annotated[
        int | None, between(100, 600_000), "With an older mark of this venue, new risk is refused; none: `market`'s."
    ] = None
    mark_max_ages_ms: Annotated[
        dict[Annotated[str, PATTERN], Age],
        "The same for instruments, by symbol or pattern as the venue writes them; the first that fits counts.",
    ] = field(default_factory=dict)
    day_ends_utc: Annotated[
        str,
        TIME_OF_DAY,
        "Not deribit, whose day orders end by themselves: when those of this venue are cancelled by the gateway.",
    ] = DEFAULT_DAY_ENDS_UTC
    stop_trigger: Annotated[
        Literal["mark_price", "last_price", "index_price"],
        "deribit: which of the venue's prices triggers clients' stop orders; the others take none.",
    ] = DEFAULT_STOP_TRIGGER
    ca_file: Annotated[Path | None, "Certificates to trust instead of the system's, PEM."] = None

    @property
    def day_end_s(self) -> int:
        """The second of the UTC day with which a day order ends."""
        hours, minutes, *seconds = (int(part) for part in self.day_ends_utc.split(":"))
        return 3600 * hours + 60 * minutes + sum(seconds)

    def mark_ages(self) -> list[tuple[str, int]]:
        """Return (pattern, ms) of how old marks may be, the first that fits counts; none where the market's holds."""
        ages = list(self.mark_max_ages_ms.items())
        return ages if self.mark_max_age_ms is None else [*ages, ("*", self.mark_max_age_ms)]
