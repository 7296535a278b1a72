"""The table of the operator's page, and what is wrong between its keys."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from gateway.config.rules import KeyPath, Rule, between
from gateway.config.values import ENVIRONMENT_PREFIX, HOST, UP_TO_TEN, Table

DEFAULT_ADMIN_LISTEN_HOST = "127.0.0.1"
DEFAULT_ADMIN_LISTEN_PORT = 9882
# A page asks once a second, a scraper four times a minute; some of each, and a person who clicks.
DEFAULT_ADMIN_REQUESTS_PER_SECOND = 20
DEFAULT_ADMIN_BURST = 40
# A quarter more than two people agreed on is noise of a busy day; more is a decision.
DEFAULT_LIMIT_APPROVAL_FRACTION = Decimal("0.25")
# Who proposes and who approves work on the same shift.
DEFAULT_APPROVAL_LIFE_S = 3600
# What fires together is one message, and what goes on firing is told again once an hour: Alertmanager's habit.
DEFAULT_ALERT_GROUP_WAIT_S = 5
DEFAULT_ALERT_REPEAT_S = 3600
DEFAULT_ALERTS_PER_MINUTE = 30
# Two thirds is where a desk should know; from nine tenths on, an order more is a refusal.
DEFAULT_MARGIN_USE_WARNING = Decimal("0.66")
DEFAULT_MARGIN_USE_CRITICAL = Decimal("0.9")
DEFAULT_FEED_AGE_WARNING_MS = 2000

Found = Iterator[tuple[KeyPath, str]]


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username and not parts.query


WEB_ADDRESS = Rule("that is an http:// or https:// address without user and query", _is_web_address)


class Admin(Table, frozen=True, kw_only=True):
    tokens_file: Annotated[
        Path, "Who may look and act: a TOML file of mode 0600; `margingate admin-token` makes its entries."
    ]
    listen_host: Annotated[str, HOST, "The address to listen on; other than loopback only with both TLS files."] = (
        DEFAULT_ADMIN_LISTEN_HOST
    )
    listen_port: Annotated[int, between(1, 65535), "The TCP port of the page, the API and the metrics."] = (
        DEFAULT_ADMIN_LISTEN_PORT
    )
    tls_certificate_file: Annotated[Path | None, "The server's certificate chain, PEM."] = None
    tls_key_file: Annotated[Path | None, "The certificate's private key, PEM, mode 0600."] = None
    audit_file: Annotated[
        Path | None, "Who did what, each line chained to the one before; none: audit.log in the journal's directory."
    ] = None
    requests_per_second: Annotated[int, between(1, 10_000), "Requests of one token, sustained."] = (
        DEFAULT_ADMIN_REQUESTS_PER_SECOND
    )
    request_burst: Annotated[int, between(1, 10_000), "Requests of one token at once."] = DEFAULT_ADMIN_BURST
    limit_approval_fraction: Annotated[
        Decimal,
        UP_TO_TEN,
        "A limit that is raised by more than this part of what was configured, or agreed on, takes a second person.",
    ] = DEFAULT_LIMIT_APPROVAL_FRACTION
    approval_life_s: Annotated[int, between(60, 86_400), "What nobody has approved by then is void."] = (
        DEFAULT_APPROVAL_LIFE_S
    )
    alertmanager_url: Annotated[
        str | None, WEB_ADDRESS, "Alerts go to this Alertmanager (its API v2); none: to none."
    ] = None
    notify_env: Annotated[
        str | None,
        ENVIRONMENT_PREFIX,
        "PREFIX: alerts go where the URLs in PREFIX_URLS say, in apprise's notation; needs margingate[alerts].",
    ] = None
    alert_group_wait_s: Annotated[int, between(1, 600), "Alerts of one kind within it are one message."] = (
        DEFAULT_ALERT_GROUP_WAIT_S
    )
    alert_repeat_s: Annotated[int, between(60, 86_400), "An alert that goes on unacknowledged is told again."] = (
        DEFAULT_ALERT_REPEAT_S
    )
    alerts_per_minute: Annotated[
        int, between(1, 600), "Messages sent at the most; more wait, and are told together."
    ] = DEFAULT_ALERTS_PER_MINUTE
    margin_use_warning: Annotated[Decimal, UP_TO_TEN, "Initial margin as a part of equity: a warning from here."] = (
        DEFAULT_MARGIN_USE_WARNING
    )
    margin_use_critical: Annotated[Decimal, UP_TO_TEN, "And a page to somebody from here."] = (
        DEFAULT_MARGIN_USE_CRITICAL
    )
    feed_age_warning_ms: Annotated[int, between(100, 600_000), "A venue whose newest mark is older is warned of."] = (
        DEFAULT_FEED_AGE_WARNING_MS
    )


def check_admin(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of the table."""
    low, high = values.get("margin_use_warning"), values.get("margin_use_critical")
    if low is not None and high is not None and high < low:
        yield ("margin_use_critical",), f"must not be less than margin_use_warning, {low}, not {high}"
