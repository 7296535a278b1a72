"""From the configuration of a FIX session to the state and rules that protocols.fix keeps for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Final

from gateway.clearing.drop_copy import DROP_COPY_IN, MESSAGES_OF_KIND, ORDERS
from gateway.clients.volatile import INQUIRY_TYPES
from gateway.config import Config, Fix
from gateway.config import Schedule as ScheduleConfig
from gateway.config import Session as SessionTable
from gateway.config.schedules import DAYS
from gateway.config.sessions import overlaid, zone
from gateway.messages.party_actions import PARTY_ACTION
from protocols.fix.authentication import FIX42_WITH_CREDENTIALS
from protocols.fix.dictionary import FIX42, Dictionary
from protocols.fix.schedule import Schedule, utc
from protocols.fix.session import SessionConfig, SessionKey, SessionState

NS_PER_SECOND: Final = 1_000_000_000
_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def name_of(session: SessionTable) -> str:
    """Return what the journal and operators call a session."""
    return session.name or session.target_comp_id


def key_of(fix: Fix, session: SessionTable) -> SessionKey:
    """Return what tells a session apart on the wire, by our view."""
    return SessionKey(
        session.begin_string,
        session.sender_comp_id or fix.sender_comp_id,
        session.target_comp_id,
        session.sender_sub_id or "",
        session.sender_location_id or "",
        session.target_sub_id or "",
        session.target_location_id or "",
    )


def state_of(fix: Fix, session: SessionTable) -> SessionState:
    """Return a session that has not been used yet, with its rules."""
    rules = SessionConfig(
        dictionary=_dictionary_of(session),
        application_messages=_messages_of(session),
        allows_unknown_tags=session.allow_unknown_tags,
        allows_any_order=session.allow_any_order,
        checks_values=session.check_values,
        schedule=None if session.schedule is None else schedule_of(session.schedule),
        renews_when_away=False,  # gateway.renewals does, with a record
        min_heart_bt_int=session.min_heart_bt_int_s,
        max_heart_bt_int=session.max_heart_bt_int_s or fix.heart_bt_int_s,
        max_latency_ns=session.max_latency_s * NS_PER_SECOND,
        reset_on_logon=session.reset_on_logon,
        sends_next_expected=session.next_expected_msg_seq_num,
        timestamp_digits=_DIGITS[session.timestamp_precision],
    )
    return SessionState(key_of(fix, session), rules, name=name_of(session))


def _messages_of(session: SessionTable) -> frozenset[str]:
    """Return what a session may send: what its kind is for, and questions unless it only reports to us."""
    messages = MESSAGES_OF_KIND[session.kind]
    if session.party_actions:
        messages |= {PARTY_ACTION}
    return messages if session.kind == DROP_COPY_IN else messages.union(INQUIRY_TYPES)


def _dictionary_of(session: SessionTable) -> Dictionary | None:
    """Return what the session's dictionary is instead of its version's own; None where nothing is."""
    takes_credentials = session.begin_string == FIX42.begin_string and session.authentication != "none"
    base = FIX42_WITH_CREDENTIALS if takes_credentials else None
    overlay = session.dictionary_overlay
    return base if overlay is None else overlaid(session.begin_string, overlay, base)


def schedule_of(config: ScheduleConfig) -> Schedule:
    """Return the session times of a configuration."""
    is_weekly = config.start_day is not None
    return Schedule(
        _seconds(config.start),
        _seconds(config.end),
        offset_s=_offset_of(config.time_zone),
        days=frozenset(map(DAYS.index, config.days)),
        start_day=DAYS.index(config.start_day) if is_weekly and config.start_day else None,
        end_day=DAYS.index(config.end_day) if is_weekly and config.end_day else None,
    )


def clients_of(config: Config) -> dict[str, str]:
    """Return whose each account is: its `client`, or one client with those of its sessions that name none either."""
    owners = {account.name: f"client {account.client}" for account in config.account if account.client is not None}
    shared = {account.name: account.name for account in config.account if account.client is None}
    # Other sessions only look at their accounts, which may be those of many clients.
    trading = [session.accounts for session in config.fix.session if session.kind == ORDERS]
    trading += [client.accounts for client in config.hook.client] if config.hook is not None else []
    for accounts in trading:
        names = {shared[name] for name in accounts if name in shared}
        for name, owner in shared.items():
            if owner in names:
                shared[name] = min(names)
    return owners | {name: f"accounts with {owner}" for name, owner in shared.items()}


def _offset_of(name: str) -> Callable[[int], int]:
    found = zone(name)
    assert found is not None, "the configuration was checked"
    return utc if name == "UTC" else ZoneOffset(found)


class ZoneOffset:
    """Seconds east of UTC of a time zone, changes of its clocks included."""

    def __init__(self, of: tzinfo) -> None:
        self._zone = of

    def __call__(self, time_ns: int) -> int:
        """Return the offset in force at a time in ns since the epoch."""
        offset = datetime.fromtimestamp(time_ns // NS_PER_SECOND, UTC).astimezone(self._zone).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())


def _seconds(text: str) -> int:
    hours, minutes, *seconds = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + (seconds[0] if seconds else 0)
