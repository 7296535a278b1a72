"""The tables of FIX sessions that we open and of reconciliation, and what is wrong between their keys."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from gateway.config.rules import DISTINCT, NOT_EMPTY, KeyPath, between, matching
from gateway.config.schedules import Schedule
from gateway.config.values import ENVIRONMENT_PREFIX, NAME, SUB_ID, Name, Table, is_loopback

Asked = Literal["positions", "trades", "balances", "margin"]

# Margin is asked by messages that FIX has from 5.0 SP2 on.
DEFAULT_COUNTERPARTY_BEGIN_STRING: Literal["FIXT.1.1"] = "FIXT.1.1"
# Positions are what every clearing house and order management system tells of.
DEFAULT_ASKS: tuple[Asked, ...] = ("positions",)
# What differs is found within the minute, and a clearing house is asked four questions an account in it.
DEFAULT_ASK_INTERVAL_S = 60
# A statement of some thousand positions is there in a few seconds; what takes longer is none.
DEFAULT_ANSWER_TIMEOUT_S = 10
# The second look at what differed: time enough for a fill that was on its way.
DEFAULT_CONFIRM_AFTER_MS = 2_000
# Trades reach a clearing house by way of several systems.
DEFAULT_TRADE_GRACE_S = 30
# A day and an hour: whatever the zone in which the day begins.
DEFAULT_TRADE_WINDOW_S = 90_000
# Five missed statements: whoever is to be told of a difference is then told that nobody knows.
DEFAULT_STATEMENT_MAX_AGE_S = 300
DEFAULT_COUNTERPARTY_HEART_BT_INT_S = 30
DEFAULT_COUNTERPARTY_AUTHENTICATION: Literal["none"] = "none"
# Doubled, with jitter: quick after a blink; a clearing house that is closed is asked once in half a minute.
DEFAULT_COUNTERPARTY_RECONNECT_MIN_MS = 500
DEFAULT_COUNTERPARTY_RECONNECT_MAX_MS = 30_000
DEFAULT_REPORTS_TRADES = False
DEFAULT_COUNTERPARTY_RESET_ON_LOGON = False
# A cent of rounding on small accounts, and prices that were taken a moment apart.
DEFAULT_MARGIN_AGREE_BPS = 50
# Fees that are booked a moment later, and what is rounded on the way.
DEFAULT_BALANCE_AGREE_BPS = 1
# A part in a hundred of the collateral is no rounding and no fee.
DEFAULT_BALANCE_BLOCK_BPS = 100
DEFAULT_VENUE_INTERVAL_S = 60
# Wallets of an exchange may hold money of the house that no account has.
DEFAULT_VENUE_BALANCES = False

_BPS = between(0, 10_000)
DOMAIN = matching(r"[A-Za-z0-9:](?:[A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?", "that is an IP address or a host's name")

Found = Iterator[tuple[KeyPath, str]]


class Counterparty(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Names it in the journal, in breaks and to operators. A new name is a new session."]
    kind: Annotated[
        Literal["clearing_house", "oms"],
        "clearing_house: clears our trades; oms: an order management system that copies executions to us.",
    ]
    host: Annotated[str, DOMAIN, "Where it listens; other than loopback only with TLS, which is then used."]
    port: Annotated[int, between(1, 65535), "Its TCP port."]
    target_comp_id: Annotated[Name, "Its CompID."]
    accounts: Annotated[tuple[Name, ...], NOT_EMPTY, DISTINCT, "Our accounts that it knows, under the same names."]
    sender_comp_id: Annotated[str | None, NAME, "Our CompID to it; none: that of `[fix]`."] = None
    sender_sub_id: Annotated[str | None, SUB_ID, "Our SenderSubID(50)."] = None
    target_sub_id: Annotated[str | None, SUB_ID, "Its SubID: TargetSubID(57), demanded of it as 50."] = None
    begin_string: Annotated[
        Literal["FIX.4.4", "FIXT.1.1"], "The version that we speak; margin is asked with FIXT.1.1 (FIX.5.0SP2) only."
    ] = DEFAULT_COUNTERPARTY_BEGIN_STRING
    heart_bt_int_s: Annotated[int, between(1, 3600), "HeartBtInt(108) that we ask for."] = (
        DEFAULT_COUNTERPARTY_HEART_BT_INT_S
    )
    reset_on_logon: Annotated[bool, "Begin at 1 with each Logon(A), forgetting what was missed."] = (
        DEFAULT_COUNTERPARTY_RESET_ON_LOGON
    )
    authentication: Annotated[
        Literal["none", "password", "hmac"], "What our Logon(A) carries: nothing, 553 and 554, or a MAC (security.md)."
    ] = DEFAULT_COUNTERPARTY_AUTHENTICATION
    credentials_file: Annotated[
        Path | None, "A TOML file of mode 0600: username and password, or key_id and secret; or `credentials_env`."
    ] = None
    credentials_env: Annotated[
        str | None, ENVIRONMENT_PREFIX, "PREFIX: read from PREFIX_USERNAME, PREFIX_PASSWORD, or _KEY_ID, _SECRET."
    ] = None
    ca_file: Annotated[Path | None, "Who signs its certificate, PEM; none: the authorities of this machine."] = None
    tls_certificate_file: Annotated[Path | None, "The certificate that we show, PEM."] = None
    tls_key_file: Annotated[Path | None, "Its private key, PEM, mode 0600."] = None
    uses_tls: Annotated[bool | None, "TLS 1.3; none: everywhere but on loopback."] = None
    schedule: Annotated[Schedule | None, "When the session is up; none: always, and no reset by time."] = None
    reconnect_min_ms: Annotated[int, between(10, 60_000), "The shortest pause before dialling again."] = (
        DEFAULT_COUNTERPARTY_RECONNECT_MIN_MS
    )
    reconnect_max_ms: Annotated[int, between(10, 600_000), "The longest."] = DEFAULT_COUNTERPARTY_RECONNECT_MAX_MS
    asks: Annotated[
        tuple[Asked, ...], DISTINCT, "What it is asked for, of each account, and what is then compared with our book."
    ] = DEFAULT_ASKS
    ask_interval_s: Annotated[int, between(1, 86_400), "How often."] = DEFAULT_ASK_INTERVAL_S
    answer_timeout_s: Annotated[
        int, between(1, 600), "A statement that is not whole by then is unknown, not empty."
    ] = DEFAULT_ANSWER_TIMEOUT_S
    confirm_after_ms: Annotated[
        int, between(1, 600_000), "What has differed is asked for again after this: it counts when it is the same."
    ] = DEFAULT_CONFIRM_AFTER_MS
    statement_max_age_s: Annotated[
        int, between(1, 604_800), "Without a statement for so long, its silence is a warning."
    ] = DEFAULT_STATEMENT_MAX_AGE_S
    trade_grace_s: Annotated[int, between(0, 86_400), "A trade that only one side has may be on its way so long."] = (
        DEFAULT_TRADE_GRACE_S
    )
    trade_window_s: Annotated[int, between(60, 604_800), "Trades of the last so many seconds are compared."] = (
        DEFAULT_TRADE_WINDOW_S
    )
    reports_trades: Annotated[
        bool, "Report every trade of its accounts to it by TradeCaptureReport(AE), and watch its answers."
    ] = DEFAULT_REPORTS_TRADES


class Reconciliation(Table, frozen=True, kw_only=True):
    venue_interval_s: Annotated[
        int, between(1, 86_400), "How often books of venues, as they tell them, are compared."
    ] = DEFAULT_VENUE_INTERVAL_S
    venue_balances: Annotated[bool, "A venue's wallets hold what accounts hold and no more: compare them too."] = (
        DEFAULT_VENUE_BALANCES
    )
    margin_agree_bps: Annotated[int, _BPS, "Margin requirements so near to each other agree."] = (
        DEFAULT_MARGIN_AGREE_BPS
    )
    margin_block_bps: Annotated[
        int | None,
        _BPS,
        "One that is larger than ours by more than this blocks; none: it is never more than a warning.",
    ] = None
    balance_agree_bps: Annotated[int, _BPS, "Balances so near to each other agree."] = DEFAULT_BALANCE_AGREE_BPS
    balance_block_bps: Annotated[
        int | None, _BPS, "One that is smaller than ours by more than this blocks; none: never more than a warning."
    ] = DEFAULT_BALANCE_BLOCK_BPS


def takes_tls(counterparty: Counterparty) -> bool:
    """Whether a counterparty is dialled with TLS."""
    wanted = counterparty.uses_tls
    return not is_loopback(counterparty.host) if wanted is None else wanted


def check_counterparty(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of one counterparty."""
    host, uses_tls = values.get("host"), values.get("uses_tls")
    if host is not None and uses_tls is False and not is_loopback(host):
        yield ("uses_tls",), f"{host} can be reached over a network only: its session takes TLS"
    certificate, key = values.get("tls_certificate_file"), values.get("tls_key_file")
    if (certificate is None) != (key is None):
        missing = "tls_certificate_file" if certificate is None else "tls_key_file"
        yield (missing,), "is missing; a certificate of ours takes both tls_certificate_file and tls_key_file"
    for name in ("ca_file", "tls_certificate_file"):
        file = values.get(name)
        if file is not None and not file.is_file():
            yield (name,), f"there is no file {file}"
    if values.get("begin_string") == "FIX.4.4" and "margin" in values.get("asks", ()):
        yield ("asks",), "FIX.4.4 has no MarginRequirementInquiry(CH): margin takes FIXT.1.1"
    if values.get("kind") == "oms" and values.get("reports_trades"):
        yield ("reports_trades",), "is for a clearing house: an order management system has sent the orders itself"
    method, file, prefix = (values.get(k) for k in ("authentication", "credentials_file", "credentials_env"))
    if method in ("password", "hmac") and (file is None) == (prefix is None):
        yield ("credentials_file",), f'authentication = "{method}" takes either credentials_file or credentials_env'
    if method == "none" and not (file is prefix is None):
        yield ("credentials_file",), 'has no use with authentication = "none"'
    yield from _check_times(values)


def _check_times(values: Mapping[str, Any]) -> Found:
    shortest, longest = values.get("reconnect_min_ms"), values.get("reconnect_max_ms")
    if shortest is not None and longest is not None and longest < shortest:
        yield ("reconnect_max_ms",), f"must not be less than reconnect_min_ms, {shortest}, not {longest}"
    interval, timeout = values.get("ask_interval_s"), values.get("answer_timeout_s")
    if interval is not None and timeout is not None and timeout > interval:
        yield ("answer_timeout_s",), f"must not be more than ask_interval_s, {interval}, not {timeout}"


def check_reconciliation(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the tolerances."""
    for what in ("margin", "balance"):
        agree, block = values.get(f"{what}_agree_bps"), values.get(f"{what}_block_bps")
        if agree is not None and block is not None and block < agree:
            yield (f"{what}_block_bps",), f"must not be less than {what}_agree_bps, {agree}, not {block}"
