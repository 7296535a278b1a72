"""Whether trading is possible: of an instrument (e, f), of a venue's session (g, h), and of the venues as our
counterparties (BC, BD). Asked once, or told again whenever it changes."""

from __future__ import annotations

from typing import Final

from gateway.clients.volatile import Outgoing, Volatile
from gateway.ledger import Ledger
from gateway.venues.feeds import Feeds
from protocols.fix.codec import Message, format_timestamp
from protocols.fix.grouped import Values, entries_of, grouped_body
from protocols.fix.session import SessionState

# SecurityTradingStatus(326)
HALTED, READY, NOT_AVAILABLE, UNKNOWN = 2, 17, 18, 20
# TradSesStatus(340); TradSesStatusRejReason(567)
SESSION_HALTED, SESSION_OPEN, REQUEST_REJECTED = 1, 2, 6
UNKNOWN_SESSION: Final = 1
ELECTRONIC: Final = 1  # TradSesMethod(338)
# StatusValue(928), by where a venue's session stands; any other is in process.
CONNECTED, DOWN, UNKNOWN_PARTY, IN_PROCESS = 1, 2, 3, 4
_COUNTERPARTY: Final = {"live": CONNECTED, "connecting": DOWN, "halted": DOWN}
# NetworkRequestType(935) is a sum of these.
SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE, DETAILED = 1, 2, 4, 8
# What one session may be told of whenever it changes.
MAX_SUBSCRIPTIONS: Final = 500

Status = tuple[int, str]  # code and text


class _Reader:
    """One subscription: what it is about, and what was told last."""

    def __init__(self, state: SessionState, msg_type: str, request_id: bytes, subjects: list[str]) -> None:
        self.state = state
        self.connection = state.connection
        self.msg_type = msg_type
        self.request_id = request_id
        self.told: dict[str, Status | None] = dict.fromkeys(subjects)

    @property
    def is_there(self) -> bool:
        return self.connection is not None and self.state.connection is self.connection


class Statuses:
    """Answers requests for statuses, and tells subscribers of changes."""

    def __init__(self, ledger: Ledger, feeds: Feeds, volatile: Volatile, sessions: dict[str, SessionState]) -> None:
        self._ledger = ledger
        self._feeds = feeds
        self._volatile = volatile
        self._sessions = sessions
        self._readers: dict[str, dict[tuple[str, bytes], _Reader]] = {}
        self._responses = 0

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are."""
        return sum(len(readers) for readers in self._readers.values())

    # -- what is so --------------------------------------------------------------------------------------------------

    def of_security(self, symbol: str, now_ns: int) -> Status:
        """Return SecurityTradingStatus(326) of an instrument, and why."""
        instrument = self._ledger.by_symbol.get(symbol)
        if instrument is None:
            return UNKNOWN, "not listed"
        trouble = self._feeds.trouble(symbol)
        if trouble:
            return HALTED, trouble
        if instrument.expiry_ns is not None and now_ns >= instrument.expiry_ns:
            return NOT_AVAILABLE, "expired"
        return (READY, "") if instrument.is_open else (NOT_AVAILABLE, "closed")

    def of_session(self, venue: str) -> Status:
        """Return TradSesStatus(340) of a venue, and why."""
        state = self._feeds.venues[venue].state_name
        return (SESSION_OPEN, "") if self._feeds.is_live(venue) else (SESSION_HALTED, f"venue {venue} is {state}")

    def of_counterparty(self, name: str) -> Status:
        """Return StatusValue(928) of a venue by its name, and why."""
        feed = self._feeds.venues.get(name)
        if feed is None:
            return UNKNOWN_PARTY, "no counterparty of this name"
        return _COUNTERPARTY.get(feed.state_name, IN_PROCESS), feed.state_name

    # -- requests ----------------------------------------------------------------------------------------------------

    def ask_security(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer a SecurityStatusRequest(e); return why not."""
        req_id, symbol, action = message.values((324, 55, 263))
        subjects = [(symbol or b"").decode("latin-1")]
        return self._ask(session, "f", req_id or b"", subjects, action or b"", now_ns)

    def ask_session(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer a TradingSessionStatusRequest(g), of one venue or of all; return why not."""
        req_id, name, action = message.values((335, 336, 263))
        subjects = list(self._feeds.venues) if name is None else [name.decode("latin-1")]
        if not subjects or subjects[0] not in self._feeds.venues:
            if b"6" not in self._sessions[session].dictionary.fields[340].values:
                return "TradingSessionID(336) is the name of a venue"
            values = {335: req_id, 336: name, 340: REQUEST_REJECTED, 567: UNKNOWN_SESSION}
            self._volatile.answer(session, "h", values)
            return None
        return self._ask(session, "h", req_id or b"", subjects, action or b"", now_ns)

    def ask_counterparties(self, session: str, message: Message, now_ns: int) -> str | None:
        """Answer a NetworkCounterpartySystemStatusRequest(BC) about venues, named or all; return why not."""
        kinds, req_id = int(message.get(935) or b"0"), message.get(933) or b""
        named = entries_of(self._sessions[session].dictionary, message, 936, 930)
        subjects = [name.decode("latin-1") for name in dict.fromkeys(named)] or list(self._feeds.venues)
        if kinds & UNSUBSCRIBE:
            return self._ask(session, "BD", req_id, subjects, b"2", now_ns)
        return self._ask(session, "BD", req_id, subjects, b"1" if kinds & SUBSCRIBE else b"0", now_ns)

    def _ask(
        self, session: str, msg_type: str, req_id: bytes, subjects: list[str], action: bytes, now_ns: int
    ) -> str | None:
        mine = {key: reader for key, reader in self._readers.get(session, {}).items() if reader.is_there}
        if action == b"2":
            found = mine.pop((msg_type, req_id), None)
            self._readers[session] = mine
            return None if found is not None else "no subscription has this id"
        reader = _Reader(self._sessions[session], msg_type, req_id, subjects)
        if action == b"1":
            if (msg_type, req_id) in mine:
                return "a subscription has this id"
            if sum(len(other.told) for other in mine.values()) + len(subjects) > MAX_SUBSCRIPTIONS:
                return f"more than {MAX_SUBSCRIPTIONS} subscriptions to statuses"
            self._readers[session] = mine | {(msg_type, req_id): reader}
        for values in self._news_of(reader, now_ns, is_first=True):
            self._volatile.answer(session, msg_type, values)
        return None

    # -- telling -----------------------------------------------------------------------------------------------------

    def tell(self, now_ns: int) -> None:
        """Tell subscribers what has changed since they were told."""
        for session, readers in self._readers.items():
            for key in [key for key, reader in readers.items() if not reader.is_there]:
                del readers[key]
            messages: list[Outgoing] = []
            for reader in readers.values():
                dictionary, msg_type = reader.state.dictionary, reader.msg_type
                news = self._news_of(reader, now_ns, is_first=False)
                messages += [(msg_type, grouped_body(dictionary, msg_type, values)) for values in news]
            if messages and not self._volatile.publish(session, messages, now_ns):
                for reader in readers.values():
                    reader.told = dict.fromkeys(reader.told)  # all of it again, when it can be sent

    def _news_of(self, reader: _Reader, now_ns: int, *, is_first: bool) -> list[Values]:
        now = {subject: self._status(reader.msg_type, subject, now_ns) for subject in reader.told}
        changed = {subject: status for subject, status in now.items() if reader.told[subject] != status}
        reader.told |= changed
        if not changed:
            return []
        if reader.msg_type == "BD":
            self._responses += 1
            entries: list[Values] = [
                {930: subject.encode("latin-1"), 928: code, 929: text.encode()}
                for subject, (code, text) in changed.items()
            ]
            response_id = f"{self._ledger.run}-{self._responses}".encode()
            return [{937: 1 if is_first else 2, 933: reader.request_id, 932: response_id, 936: entries}]
        unsolicited = None if is_first else b"Y"
        if reader.msg_type == "h":
            return [
                {335: reader.request_id, 336: subject.encode(), 338: ELECTRONIC, 325: unsolicited, 340: code,
                 58: text.encode()}
                for subject, (code, text) in changed.items()
            ]  # fmt: skip
        return [
            {324: reader.request_id, 55: subject.encode("latin-1"), 325: unsolicited, 326: code,
             60: format_timestamp(now_ns), 58: text.encode("ascii", "replace")}
            for subject, (code, text) in changed.items()
        ]  # fmt: skip

    def _status(self, msg_type: str, subject: str, now_ns: int) -> Status:
        if msg_type == "f":
            return self.of_security(subject, now_ns)
        return self.of_session(subject) if msg_type == "h" else self.of_counterparty(subject)
