"""How a session begins: the Logon exchange of both roles, and resets by Logon."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, cast

from protocols.fix import tags
from protocols.fix.codec import Message, encode_fields, parse_timestamp
from protocols.fix.core import SessionCore
from protocols.fix.events import LoggedOn, LogonRequested, SequenceNumbersReset, SessionKey
from protocols.fix.phases import Phase
from protocols.fix.reject import TEXTS
from protocols.fix.state import FIXT, SessionConfig, SessionState

if TYPE_CHECKING:
    from protocols.fix.session import Session

_KEY_TAGS = (tags.BEGIN_STRING, tags.TARGET_COMP_ID, tags.SENDER_COMP_ID)
# Of a key's optional fields, in its order: the header field that a peer of ours names it by.
_NARROWING_TAGS = (tags.TARGET_SUB_ID, tags.TARGET_LOCATION_ID, tags.SENDER_SUB_ID, tags.SENDER_LOCATION_ID)
_NARROWING = (0, 1, 2, 3)
# A session that nobody knows has the rules that most have: how long its Logon is looked at tells nobody which it is.
_STRANGER = SessionConfig()


class LogonHandlers(SessionCore):
    """Handlers of Logon(A), by phase and role."""

    __slots__ = ()

    def _on_first_logon(self, message: Message) -> None:
        """Acceptor: a peer that cannot be told from a stranger is closed silently, others hear why."""
        state = self._state_of(message)
        if state is not None and state.connection is not None:
            self._close("the session is connected already")
        elif state is None and not self._authenticates:
            self._close("no such session")
        elif not self._is_timely(message, _STRANGER if state is None else state.config):
            self._close(TEXTS[10])
        elif message.get(tags.BEGIN_STRING) == FIXT.encode() and message.get(tags.DEFAULT_APPL_VER_ID) is None:
            self._close("no DefaultApplVerID(1137)")
        elif self._authenticates:
            self.phase = Phase.AUTHENTICATING
            self._asked_logon = (state, message)
            self._events.append(LogonRequested(None if state is None else state.key, message))
        else:
            self._begin(state, message)

    def _begin(self, state: SessionState | None, message: Message) -> None:
        """Acceptor: the peer may be who it says. Another connection may have been quicker, though."""
        if state is None:
            self._close("no such session")
            return
        if state.connection is not None:
            self._close("the session is connected already")
            return
        self.phase = Phase.AWAITING_LOGON
        self.state = state
        is_over = state.is_over(self._now_ns)
        if is_over and (unwritten := self._may_begin_again(state, self._now_ns, self._now_ns)):
            self._refuse_to_begin(unwritten)
            return
        if state.renew(self._now_ns):
            self.admin_moved = True
        refusal = self._logon_fault(message, state)
        if refusal is not None:
            self._refuse(refusal)
            return
        config = state.config
        resets = message.get(tags.RESET_SEQ_NUM_FLAG) == b"Y"
        if resets or config.reset_on_logon:
            if unwritten := self._may_begin_again(state, state.as_of_ns, self._now_ns):
                self._refuse_to_begin(unwritten)
                return
            state.reset()
            self.admin_moved = True
        first_missed = self._missed_by_peer(message, state)
        interval = int(message.get(tags.HEART_BT_INT) or 0)
        self._log_on(message, state, interval)
        body: list[tuple[int, bytes | int]] = [(tags.ENCRYPT_METHOD, 0), (tags.HEART_BT_INT, interval)]
        if resets:
            body.append((tags.RESET_SEQ_NUM_FLAG, b"Y"))
        if config.sends_next_expected:
            counted = message.msg_seq_num == state.next_in
            body.append((tags.NEXT_EXPECTED_MSG_SEQ_NUM, state.next_in + counted))
        last_missed = state.next_out - 1
        self._send_logon(body)
        self._count_logon(message, state)
        if first_missed is not None:
            self._begin_resend(first_missed, last_missed)

    def _on_logon_answer(self, message: Message) -> None:
        """Initiator: the acceptor has agreed."""
        state = self._known_state
        if state.key not in _keys_of(message) or not self._is_timely(message, state.config):
            self._close("the answer to Logon is not this session's")
            return
        if message.get(tags.RESET_SEQ_NUM_FLAG) == b"Y" and not (state.config.reset_on_logon or state.resets_next):
            self._refuse("ResetSeqNumFlag(141) was not asked for")
            return
        refusal = self._logon_fault(message, state)
        if refusal is not None:
            self._refuse(refusal)
            return
        first_missed = self._missed_by_peer(message, state, ours_sent=1)
        self._log_on(message, state, state.config.heart_bt_int)
        self._count_logon(message, state)
        if first_missed is not None:
            self._begin_resend(first_missed, state.next_out - 1)

    def _on_logon_refused(self, message: Message) -> None:
        """Initiator: Logout(5) or Reject(3) came instead of a Logon."""
        if message.msg_seq_num == self._known_state.next_in:
            self._count()
        self._end_with_logout((message.get(tags.TEXT) or b"").decode("latin-1"), "Logon refused")

    def _on_logon_again(self, message: Message) -> None:
        """Logon within a session: a reset with 141=Y, else a violation (but for one that a resend dragged in)."""
        state = self._known_state
        if message.get(tags.RESET_SEQ_NUM_FLAG) != b"Y":
            if message.get(tags.POSS_DUP_FLAG) == b"Y":
                self._count()
                return
            self._refuse("Logon(A) is not expected within a session")
            return
        refusal = self._reset_fault(message, state)
        if refusal is not None:
            self._refuse(refusal)
            return
        if unwritten := self._may_begin_again(state, state.as_of_ns, self._now_ns):
            self._refuse_to_begin(unwritten)
            return
        state.reset()
        self._recovery.reset()
        self._resend = None
        self._out = self._before_resend + self._out
        self._before_resend = []
        interval = int(message.get(tags.HEART_BT_INT) or 0)
        self._heartbeats.start(interval)
        self._count()
        body: list[tuple[int, bytes | int]] = [(tags.ENCRYPT_METHOD, 0), (tags.HEART_BT_INT, interval)]
        body.append((tags.RESET_SEQ_NUM_FLAG, b"Y"))
        if state.config.sends_next_expected:
            body.append((tags.NEXT_EXPECTED_MSG_SEQ_NUM, state.next_in))
        self._send_logon(body)
        self._events.append(SequenceNumbersReset())

    def _on_reset_answer(self, message: Message) -> None:
        """The peer has reset too, be it as the answer or at the same time by itself: its numbers begin again."""
        state = self._known_state
        if message.get(tags.RESET_SEQ_NUM_FLAG) != b"Y" or message.msg_seq_num != 1:
            self._refuse("Logon(A) with ResetSeqNumFlag(141) and MsgSeqNum 1 is expected")
            return
        self.phase = Phase.ACTIVE
        state.next_in = 1
        self._recovery.reset()
        self._count()
        self._heartbeats.start(int(message.get(tags.HEART_BT_INT) or 0))
        self._events.append(SequenceNumbersReset())

    def _send_logon(self, body: list[tuple[int, bytes | int]]) -> None:
        state = self._known_state
        if state.versions:
            body = [*body, (tags.DEFAULT_APPL_VER_ID, state.dictionary.appl_ver_id.encode())]
        self._queue_admin(encode_fields(tags.LOGON, state.header, state.next_out, self._now_ns, body))

    def _log_on(self, message: Message, state: SessionState, interval: int) -> None:
        state.connection = cast("Session", self)
        state.resets_next = False
        window = state.config.schedule.window(self._now_ns) if state.config.schedule is not None else None
        self._session_ends_ns = None if window is None else window[1]
        self.phase = Phase.ACTIVE
        self._transmits = True
        self._heartbeats.start(interval)
        self._events.append(LoggedOn(state.key, message))

    def _count_logon(self, message: Message, state: SessionState) -> None:
        """Count the peer's Logon, or note that messages before it are missing."""
        number = message.msg_seq_num
        if number == state.next_in:
            self._count()
            return
        self._recovery.hold(number, None)
        if not (state.config.sends_next_expected and message.get(tags.NEXT_EXPECTED_MSG_SEQ_NUM)):
            # With 789 on both sides the peer knows already what we miss.
            self._request_resend()
        self._recovery.ask(state.next_in, number, False, self._now_ns)

    def _state_of(self, message: Message) -> SessionState | None:
        """Find the session that a Logon is for: the narrowest one that SubIDs and LocationIDs fit."""
        for key in _keys_of(message):
            state = self._lookup(key)
            if state is not None:
                return state
        return None

    def _is_timely(self, message: Message, config: SessionConfig) -> bool:
        sent_ns = parse_timestamp(message.get(tags.SENDING_TIME) or b"")
        return sent_ns is not None and abs(self._now_ns - sent_ns) <= config.max_latency_ns

    def _logon_fault(self, message: Message, state: SessionState) -> str | None:
        """Return why a Logon is refused, for Text(58)."""
        config = state.config
        fault = state.dictionary.validate(message)
        if fault is not None:
            where = f": {state.dictionary.name(fault.ref_tag)}" if fault.ref_tag else ""
            return fault.text + where
        if config.schedule is not None and config.schedule.window(self._now_ns) is None:
            return "outside of session time"
        appl_ver_id = state.dictionary.appl_ver_id
        if state.versions and message.get(tags.DEFAULT_APPL_VER_ID) != appl_ver_id.encode():
            return f"DefaultApplVerID(1137) must be {appl_ver_id}"
        if message.get(tags.ENCRYPT_METHOD) != b"0":
            return "EncryptMethod(98) must be 0"
        interval = int(message.get(tags.HEART_BT_INT) or 0)
        low, high = config.min_heart_bt_int, config.max_heart_bt_int
        if not low <= interval <= high:
            return f"HeartBtInt(108) must be {low} to {high}"
        if message.get(tags.RESET_SEQ_NUM_FLAG) == b"Y":
            # What an acceptor sent before is forgotten; an initiator has sent its Logon since.
            next_out = 1 if self.phase is Phase.AWAITING_LOGON else state.next_out
            return self._reset_fault(message, state) or self._next_expected_fault(message, state, next_out)
        expected = 1 if config.reset_on_logon else state.next_in
        if message.msg_seq_num < expected:
            return f"MsgSeqNum too low, expecting {expected} but received {message.msg_seq_num}"
        return self._next_expected_fault(message, state, 1 if config.reset_on_logon else state.next_out)

    def _reset_fault(self, message: Message, state: SessionState) -> str | None:
        if not (state.config.accepts_reset or state.config.reset_on_logon or state.resets_next):
            return "ResetSeqNumFlag(141) is not permitted"
        if message.msg_seq_num != 1:
            return f"MsgSeqNum must be 1 with ResetSeqNumFlag(141), received {message.msg_seq_num}"
        return None

    def _next_expected_fault(self, message: Message, state: SessionState, next_out: int) -> str | None:
        text = message.get(tags.NEXT_EXPECTED_MSG_SEQ_NUM)
        if state.config.sends_next_expected and text is not None and int(text) > next_out:
            return f"NextExpectedMsgSeqNum(789) too high, expecting {next_out} but received {int(text)}"
        return None

    def _missed_by_peer(self, message: Message, state: SessionState, ours_sent: int = 0) -> int | None:
        """Return the first number that the peer says by 789 it has not got; None when it has all.

        `ours_sent`: 1 when the last number of ours is a Logon that it had not seen when it wrote.
        """
        text = message.get(tags.NEXT_EXPECTED_MSG_SEQ_NUM)
        if not state.config.sends_next_expected or text is None:
            return None
        next_expected = int(text)
        return next_expected if 0 < next_expected < state.next_out - ours_sent else None


def _keys_of(message: Message) -> Iterator[SessionKey]:
    """Yield every key that a message may be for, the narrowest first."""
    names = message.values(_KEY_TAGS)
    narrowing = [value if value and value.isascii() else b"" for value in message.values(_NARROWING_TAGS)]
    if not all(name and name.isascii() for name in names):
        return
    begin_string, sender, target = [(name or b"").decode() for name in names]
    given = [at for at in _NARROWING if narrowing[at]]
    for size in range(len(given), -1, -1):
        for kept in combinations(given, size):
            fields = [narrowing[at].decode() if at in kept else "" for at in _NARROWING]
            yield SessionKey(begin_string, sender, target, *fields)
