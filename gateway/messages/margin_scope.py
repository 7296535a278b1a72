"""Whom a request about margin, positions or collateral is about, and how it wants its answer: the same for all of them.

A request names an account by Account(1), or by a party with PartyRole(452) 24; where it names none it means the only
one that its session has. Two that differ, or a party of another role alone, are no name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.fix.codec import Message, format_timestamp, parse_timestamp
from protocols.fix.grouped import Values
from risk.account import Account

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline

CUSTOMER_ACCOUNT: Final = b"24"  # PartyRole(452)
PROPRIETARY_SOURCE: Final = b"D"  # PartyIDSource(447)
SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE = b"0", b"1", b"2"  # SubscriptionRequestType(263)
IN_BAND: Final = b"0"  # ResponseTransportType(725)
MAX_ID_BYTES: Final = 64
NS_PER_DAY: Final = 86_400_000_000_000


def account_named(message: Message) -> str | None:
    """Return the account that a message names, empty where it names none, None where what it says is no name."""
    account = (message.get(1) or b"").decode("latin-1")
    if message.get(453) is None:
        return account
    parties = message.groups(453, (448, 447, 452))
    named = {(party_id or b"").decode("latin-1") for party_id, _, role in parties if role == CUSTOMER_ACCOUNT}
    if account:
        named.add(account)
    if len(named) != 1:
        return None
    return named.pop()


def account_of(pipeline: Pipeline, session: str, message: Message) -> Account | str:
    """Return the account that a request is about, or why there is none for this session.

    One of another client is as unknown as one that does not exist.
    """
    name = account_named(message)
    if name is None:
        return "no account: one of Account(1) or a PartyID(448) with PartyRole(452) 24"
    account = pipeline.account(session, name)
    if account is None:
        return f"account {name[:MAX_ID_BYTES]} is not known to this session" if name else "no account is named"
    return account


def parties_of(name: str) -> list[Values]:
    """Return the group Parties(453) that names an account."""
    return [{448: name.encode("latin-1") or b"?", 447: PROPRIETARY_SOURCE, 452: CUSTOMER_ACCOUNT}]


def request_fault(request_id: bytes | None, subscription: bytes | None) -> str:
    """Return what is wrong with a request's id or SubscriptionRequestType(263), empty where nothing is."""
    if len(request_id or b"") > MAX_ID_BYTES:
        return f"an id longer than {MAX_ID_BYTES} bytes"
    if subscription not in (None, SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE):
        return "SubscriptionRequestType(263) is 0 snapshot, 1 subscribe or 2 unsubscribe"
    return ""


def day_of(now_ns: int) -> bytes:
    """Return ClearingBusinessDate(715) of what is so now: the day by UTC."""
    return format_timestamp(now_ns)[:8]


def is_today(day: bytes | None, now_ns: int) -> bool:
    """Whether a date that a request names is today somewhere on earth; a request without one means now."""
    begin_ns = None if day is None else parse_timestamp(day + b"-00:00:00")
    return day is None or (begin_ns is not None and -NS_PER_DAY <= now_ns - begin_ns < 2 * NS_PER_DAY)


def transport_fault(message: Message) -> str:
    """Return what is wrong with how a request wants its answer, empty where nothing is."""
    if message.get(725) not in (None, IN_BAND) or message.get(726) is not None:
        return "answers come in this session: ResponseTransportType(725) is 0, and no ResponseDestination(726)"
    return ""
