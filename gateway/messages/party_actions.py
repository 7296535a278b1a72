"""PartyActionRequest(DH) and its Report(DI): the kill switch by FIX, for sessions that the configuration lets do so.

Suspended and halted are the same here: nothing new, and all that works is cancelled. What is meant is a party in 453 by
its PartyRole(452), a market in MarketID(1301) or an instrument in InstrumentScopeSymbol(1536): one of them. A session
reaches its own accounts and itself; a firm, a desk, a venue or an instrument is for whoever may name those. Nobody is
reinstated by FIX: that takes a person at the operator's channel. A request that kills passes the session's throttle,
and works where the journal does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import records
from gateway.clients.standing import ACCOUNT, DESK, FIRM, SESSION
from gateway.journal import JournalError
from gateway.operators.kills import KillError
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from risk.marks import INSTRUMENT, VENUE

if TYPE_CHECKING:
    from gateway.pipeline import Pipeline
    from gateway.reports import Reports

PARTY_ACTION: Final = "DH"
# PartyActionType(2329)
SUSPEND, HALT, REINSTATE = b"0", b"1", b"2"
# PartyActionResponse(2332): cancels are on their way; nothing is left to do; refused.
ACCEPTED, COMPLETED, REJECTED = 0, 1, 2
# PartyActionRejectReason(2333)
UNKNOWN_PARTY, NOT_AUTHORISED, OTHER = 0, 1, 99
# PartyRole(452): executing firm, customer account, session id, desk id.
SCOPE_OF_ROLE: Final[Mapping[bytes, str]] = {b"1": FIRM, b"24": ACCOUNT, b"55": SESSION, b"76": DESK}
ROLE_OF_SCOPE: Final = {scope: role for role, scope in SCOPE_OF_ROLE.items()}
MAX_ID_BYTES: Final = 64

Target = tuple[str, str]  # scope and name


class Permissions(msgspec.Struct, frozen=True):
    """What sessions may stop, by name: scopes, and the accounts that are theirs."""

    scopes: Mapping[str, frozenset[str]]
    accounts: Mapping[str, frozenset[str]]

    def allow(self, session: str, scope: str, name: str) -> bool:
        """Whether a session may stop this."""
        if scope not in self.scopes.get(session, ()):
            return False
        if scope == ACCOUNT:
            return name in self.accounts.get(session, ())
        return scope != SESSION or name == session


def target_of(message: Message) -> Target | None:
    """Return what a request is about; None where it names nothing, or more than one thing."""
    found: list[Target] = [
        (SCOPE_OF_ROLE[role], _text(name))
        for name, _, role in message.groups(453, (448, 447, 452))
        if role is not None and role in SCOPE_OF_ROLE and name
    ]
    found += [
        (scope, _text(value)) for scope, tag in ((VENUE, 1301), (INSTRUMENT, 1536)) if (value := message.get(tag))
    ]
    return found[0] if len(found) == 1 else None


def would_kill(pipeline: Pipeline, session: str, message: Message) -> bool:
    """Whether a request stops what is not stopped yet: such a one waits for no throttle, and can be sent only once."""
    target = target_of(message)
    is_kill = message.get(2329) in (SUSPEND, HALT)
    if target is None or not is_kill or not pipeline.controls.permissions.allow(session, *target):
        return False
    return target not in pipeline.ledger.standing.kills and pipeline.controls.kills.knows(*target)


def _act(pipeline: Pipeline, session: str, message: Message, now_ns: int) -> None:
    action, target = message.get(2329) or b"", target_of(message)
    scope, name = target or ("", "")
    answer = _why_not(pipeline, session, action, target)
    if answer is None:
        reason = _text(message.get(58)) or "PartyActionRequest(DH)"
        try:
            cancels, _ = pipeline.controls.kill(scope, name, f"session {session}", reason, now_ns)
            answer = ACCEPTED if cancels else COMPLETED, 0, f"{cancels} orders being cancelled"
        except KillError as error:
            answer = REJECTED, UNKNOWN_PARTY, str(error)
    record = records.PartyActionTaken(
        session, message.msg_seq_num, _text(message.get(2328))[:MAX_ID_BYTES], _text(action), scope,
        name[:MAX_ID_BYTES], *answer,
    )  # fmt: skip
    try:
        pipeline.commit(record, now_ns)
    except JournalError as error:  # what was done, was done: the client is told so, not that nothing was
        pipeline.answer_unwritten(session, record, str(error), now_ns)


def _why_not(pipeline: Pipeline, session: str, action: bytes, target: Target | None) -> tuple[int, int, str] | None:
    if target is None:
        roles = ", ".join(f"{role.decode()} {scope}" for role, scope in SCOPE_OF_ROLE.items())
        text = (
            f"name one party in 453 with PartyRole(452) {roles}; or a MarketID(1301); or an InstrumentScopeSymbol(1536)"
        )
        return REJECTED, OTHER, text
    if action not in (SUSPEND, HALT):
        return REJECTED, NOT_AUTHORISED, "a person reinstates, by the operator's channel"
    if not pipeline.controls.permissions.allow(session, *target):
        return REJECTED, NOT_AUTHORISED, f"session {session} may not stop this {target[0]}"
    return None


def _report(reports: Reports, record: records.PartyActionTaken, sequence: int, time_ns: int) -> None:
    reports.received(record)
    is_party = record.scope in ROLE_OF_SCOPE
    parties: list[Values] = [{448: record.name.encode(), 447: b"D", 452: ROLE_OF_SCOPE.get(record.scope)}]
    values: Values = {
        2328: record.request_id.encode(),
        2331: b"P%d" % sequence,
        2329: record.action.encode(),
        2332: record.response,
        2333: record.reason if record.response == REJECTED else None,
        1328: record.text.encode("ascii", "replace") if record.response == REJECTED else None,
        1301: record.name.encode() if record.scope == VENUE else None,
        1536: record.name.encode() if record.scope == INSTRUMENT else None,
        453: parties if is_party else None,
        60: format_timestamp(time_ns),
        58: record.text.encode("ascii", "replace"),
    }
    send_grouped(reports.sessions[record.session], "DI", values, time_ns)
    reports.touched.add(record.session)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")


HANDLERS: Final[dict[str, Callable[[Pipeline, str, Message, int], None]]] = {PARTY_ACTION: _act}
REPORTS: Final[dict[type[records.Record], Callable[[Reports, Any, int, int], None]]] = {
    records.PartyActionTaken: _report,
}
