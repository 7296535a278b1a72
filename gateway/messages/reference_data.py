"""SecurityListRequest(x) and SecurityDefinitionRequest(c), answered from the ledger's instruments.

A long list goes out in pieces, each when the client has taken those before: `PacedAnswers`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from gateway.clients.volatile import Outgoing, Volatile
from gateway.ledger import Ledger
from gateway.messages.security_terms import CURRENCY_PRODUCT, SECURITY_TYPES, attributes, cfi_code, terms
from protocols.fix.codec import Message
from protocols.fix.grouped import Values, grouped_body
from protocols.fix.session import SessionState
from risk.instrument import Instrument

# Instruments of one SecurityList(y): below a millisecond to write, and 20 KiB.
LIST_FRAGMENT: Final = 25
# Lists of one session that wait for their turn; a client that asks for more is told to come again.
MAX_LISTS: Final = 4
# SecurityListRequestType(559)
BY_SYMBOL, BY_TYPE, BY_PRODUCT, BY_SESSION, ALL = b"0", b"1", b"2", b"3", b"4"
# SecurityRequestResult(560)
VALID, UNSUPPORTED, NONE_FOUND, UNAVAILABLE = 0, 1, 2, 4
# SecurityRequestType(321); SecurityResponseType(323)
LIST_SECURITIES: Final = b"3"
AS_IS, LISTED, REJECTED, NO_MATCH = 1, 4, 5, 6  # FIX 4.4 has no 4


class PacedAnswers:
    """Answers too long to be sent at once: each session's go out as its client takes them."""

    def __init__(self, volatile: Volatile, sessions: dict[str, SessionState], max_backlog_bytes: int) -> None:
        self._volatile = volatile
        self._sessions = sessions
        self._max_backlog_bytes = max_backlog_bytes
        self.backlog: Callable[[str], int] = lambda session: 0
        self._answers: dict[str, deque[tuple[object, Iterator[tuple[str, Values]]]]] = {}
        self._turns: dict[str, tuple[int, list[Outgoing]]] = {}  # session -> room left, what goes out

    @property
    def is_waiting(self) -> bool:
        """Whether something is left to send."""
        return bool(self._answers)

    def can_take(self, session: str) -> bool:
        """Whether this session may have one more answer waiting."""
        return len(self._answers.get(session, ())) < MAX_LISTS

    def add(self, session: str, messages: Iterator[tuple[str, Values]]) -> None:
        """Queue an answer; it ends with the connection that asked."""
        connection = self._sessions[session].connection
        self._answers.setdefault(session, deque()).append((connection, messages))

    def begin(self) -> None:
        """Begin a turn: each session gets as much as its client has room for."""
        self._turns = {session: (self._max_backlog_bytes - self.backlog(session), []) for session in self._answers}

    def step(self, now_ns: int) -> bool:
        """Write one message of one session, or send what was written for it; return whether the turn is over."""
        if self._turns:
            session, (room, written) = self._turns.popitem()
            message = self._next(session) if room > 0 else None
            if message is not None:
                self._turns[session] = (room - len(message[1]), [*written, message])
            elif written and not self._volatile.publish(session, written, now_ns):
                self._answers.pop(session, None)  # what is left of it is of no use without its beginning
        return not self._turns

    def _next(self, session: str) -> Outgoing | None:
        answers = self._answers.get(session)
        while answers:
            connection, messages = answers[0]
            if connection is self._sessions[session].connection:
                for msg_type, values in messages:
                    return msg_type, grouped_body(self._sessions[session].dictionary, msg_type, values)
            answers.popleft()
        self._answers.pop(session, None)
        return None


class ReferenceData:
    """Answers what instruments there are."""

    def __init__(
        self, ledger: Ledger, volatile: Volatile, paced: PacedAnswers, sessions: dict[str, SessionState]
    ) -> None:
        self._ledger = ledger
        self._volatile = volatile
        self._paced = paced
        self._sessions = sessions
        self._responses = 0

    def list_securities(self, session: str, message: Message, now_ns: int) -> None:
        """Answer a SecurityListRequest(x)."""
        req_id, kind, subscription = message.values((320, 559, 263))
        chosen = None if subscription == b"1" else self._chosen(kind, message)
        if chosen is None:
            self._refuse_list(session, req_id, UNSUPPORTED)
        elif not chosen:
            self._refuse_list(session, req_id, NONE_FOUND)
        elif not self._paced.can_take(session):
            self._refuse_list(session, req_id, UNAVAILABLE)
        else:
            self._paced.add(session, self._fragments(req_id, self._response_id(), chosen))

    def _chosen(self, kind: bytes | None, message: Message) -> list[Instrument] | None:
        """Return the instruments that a request is about; None where it asks in a way that is not supported."""
        symbol, security_type, cfi, product, venue = message.values((55, 167, 461, 460, 336))
        instruments = self._ledger.instruments
        if kind == BY_SYMBOL and symbol is not None:
            return [i for i in instruments if i.symbol.encode() == symbol]
        if kind == BY_TYPE and (security_type or cfi):
            return [
                i
                for i in instruments
                if security_type in (None, SECURITY_TYPES[i.kind]) and (cfi is None or cfi_code(i).startswith(cfi))
            ]
        if kind == BY_PRODUCT and product is not None:
            return list(instruments) if product == CURRENCY_PRODUCT else []
        if kind == BY_SESSION and venue is not None:
            return [i for i in instruments if i.venue.encode() == venue]
        return list(instruments) if kind == ALL else None

    def _refuse_list(self, session: str, req_id: bytes | None, result: int) -> None:
        self._volatile.answer(session, "y", {320: req_id, 322: self._response_id(), 560: result})

    @staticmethod
    def _fragments(req_id: bytes | None, response_id: bytes, chosen: list[Instrument]) -> Iterator[tuple[str, Values]]:
        for first in range(0, len(chosen), LIST_FRAGMENT):
            piece = chosen[first : first + LIST_FRAGMENT]
            is_last = first + LIST_FRAGMENT >= len(chosen)
            yield (
                "y",
                {
                    320: req_id,
                    322: response_id,
                    560: VALID,
                    393: len(chosen),
                    893: b"Y" if is_last else b"N",
                    146: [terms(instrument) for instrument in piece],
                },
            )

    def define_security(self, session: str, message: Message, now_ns: int) -> None:
        """Answer a SecurityDefinitionRequest(c): one instrument, or a list of those that fit."""
        req_id, kind, symbol, security_type, subscription = message.values((320, 321, 55, 167, 263))
        if subscription == b"1" or kind == b"2":
            self._refuse_definition(session, req_id, REJECTED, "neither subscriptions nor lists of security types")
            return
        if kind != LIST_SECURITIES:
            instrument = self._ledger.by_symbol.get((symbol or b"").decode("latin-1"))
            if instrument is None:
                self._refuse_definition(session, req_id, NO_MATCH, "no such instrument")
            else:
                self._volatile.answer(session, "d", self._definition(req_id, self._response_id(), AS_IS, instrument, 1))
            return
        chosen = [
            instrument
            for instrument in self._ledger.instruments
            if symbol in (None, instrument.symbol.encode()) and security_type in (None, SECURITY_TYPES[instrument.kind])
        ]
        if not chosen:
            self._refuse_definition(session, req_id, NO_MATCH, "no such instrument")
        elif not self._paced.can_take(session):
            self._refuse_definition(session, req_id, REJECTED, f"{MAX_LISTS} lists are on their way already")
        else:
            known = self._sessions[session].dictionary.fields[323].values
            response = LISTED if b"%d" % LISTED in known else AS_IS
            response_id, count = self._response_id(), len(chosen)
            self._paced.add(
                session, (("d", self._definition(req_id, response_id, response, one, count)) for one in chosen)
            )

    @staticmethod
    def _definition(
        req_id: bytes | None, response_id: bytes, response: int, instrument: Instrument, count: int
    ) -> Values:
        told = terms(instrument)
        rules: Values = {1301: instrument.venue.encode()} | {tag: told[tag] for tag in (1205, 1234, 561, 562)}
        return told | {
            320: req_id,
            322: response_id,
            323: response,
            393: count,
            58: b"; ".join(attributes(instrument)),
            1310: [rules],
            # FIX 4.2 has its underlyings here.
            146: told[711],
        }

    def _refuse_definition(self, session: str, req_id: bytes | None, response: int, text: str) -> None:
        values: Values = {320: req_id, 322: self._response_id(), 323: response, 393: 0, 58: text.encode()}
        self._volatile.answer(session, "d", values)

    def _response_id(self) -> bytes:
        self._responses += 1
        return f"{self._ledger.run}-{self._responses}".encode()
