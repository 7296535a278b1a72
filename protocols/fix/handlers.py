"""Messages within a session: the rules that each must pass, and what each administrative one does."""

from protocols.fix import reject, tags
from protocols.fix.codec import Message, parse_timestamp
from protocols.fix.core import MAX_ECHOED_MSG_TYPE, SessionCore
from protocols.fix.events import MessageReceived, RejectReceived
from protocols.fix.messages import HEARTBEAT, LOGOUT
from protocols.fix.phases import ADMIN_TYPES, APPLICATION, HANDLERS, Phase
from protocols.fix.reject import SessionReject

_IDENTITY_TAGS = (tags.BEGIN_STRING, tags.SENDER_COMP_ID, tags.TARGET_COMP_ID, tags.SENDING_TIME)
# Acted on whatever their number: even above a gap, for waiting would deadlock two sides that both miss something.
_AT_ONCE = frozenset({tags.RESEND_REQUEST, tags.LOGOUT})


class MessageHandlers(SessionCore):
    """Inbound messages after the first Logon."""

    __slots__ = ()

    def _process(self, message: Message) -> None:
        """Pass a message to its handler, by the table and the rules of sequence."""
        msg_type = message.msg_type
        handler = HANDLERS.get((self.phase, msg_type if msg_type in ADMIN_TYPES else APPLICATION))
        if handler is None:
            # A reason is read by people: what a stranger writes is not repeated at any length.
            shown = repr(msg_type) if len(msg_type) <= MAX_ECHOED_MSG_TYPE else f"of {len(msg_type)} characters"
            self._close(f"MsgType {shown} is not expected now")
        elif self.state is None or self.phase is Phase.LOGON_SENT:
            getattr(self, handler)(message)
        elif self._is_ours(message):
            self._process_by_number(message, handler)
        if not self._is_regular or not self._recovery.is_idle:
            self._settle()

    def _is_ours(self, message: Message) -> bool:
        """Check what holds for every message; answer and close when it does not."""
        state = self._known_state
        key = state.key
        begin_string, sender, target, sending_time = message.values(_IDENTITY_TAGS)
        if begin_string != key.begin_string.encode():
            self._refuse("Incorrect BeginString")
            return False
        if message.msg_seq_num < 0:
            self._refuse("Required tag missing: MsgSeqNum(34)")
            return False
        # What is missing altogether is the validator's to say.
        if (sender and sender != key.target_comp_id.encode()) or (target and target != key.sender_comp_id.encode()):
            self._reject_and_log_out(message, reject.COMP_ID_PROBLEM)
            return False
        if state.identity and message.values(tuple([tag for tag, _ in state.identity])) != tuple(
            [value for _, value in state.identity]
        ):
            self._reject_and_log_out(message, reject.COMP_ID_PROBLEM)
            return False
        sent_ns = parse_timestamp(sending_time or b"")
        if sent_ns is not None and abs(self._now_ns - sent_ns) > state.config.max_latency_ns:
            self._reject_and_log_out(message, reject.SENDING_TIME_PROBLEM)
            return False
        return True

    def _process_by_number(self, message: Message, handler: str) -> None:
        number, expected = message.msg_seq_num, self._known_state.next_in
        msg_type = message.msg_type
        if msg_type == tags.SEQUENCE_RESET and message.get(tags.GAP_FILL_FLAG) != b"Y":
            self._on_sequence_reset(message)
        elif msg_type == tags.LOGON and message.get(tags.RESET_SEQ_NUM_FLAG) == b"Y":
            if self._passes_validation(message):
                getattr(self, handler)(message)
        elif number == expected:
            self._in_sequence(message, handler)
        elif number < expected:
            self._too_low(message, handler)
        else:
            self._too_high(message, handler)

    # --- by number --------------------------------------------------------------------------------------------

    def _in_sequence(self, message: Message, handler: str) -> None:
        fault = self._resent_fault(message)
        if fault is None and self._is_unsupported(message.msg_type):
            # Whatever is in it: nobody here would read it.
            self._refuse_type(message)
            return
        fault = fault or self._content_fault(message)
        if fault is None:
            getattr(self, handler)(message)
        elif fault.reason == reject.SENDING_TIME_PROBLEM:
            self._reject_and_log_out(message, fault.reason)
        else:
            self._count()
            self.reject_message(message, fault, self._now_ns)

    def _too_low(self, message: Message, handler: str) -> None:
        """Ignore what is marked as a possible duplicate; anything else means that somebody's numbers are wrong.

        Even then a peer that says goodbye is answered, and one that asks for a resend, which may cure it.
        """
        if message.get(tags.POSS_DUP_FLAG) != b"Y":
            if message.msg_type in _AT_ONCE:
                if self._passes_validation(message):
                    getattr(self, handler)(message)
                return
            expected = self._known_state.next_in
            self._refuse(f"MsgSeqNum too low, expecting {expected} but received {message.msg_seq_num}")
            return
        fault = self._resent_fault(message)
        if fault is None:
            if message.msg_type == tags.SEQUENCE_RESET and self._recovery.was_asked_for(message.msg_seq_num):
                self._on_late_gap_fill(message)
            return
        if fault.reason == reject.SENDING_TIME_PROBLEM:
            self._reject_and_log_out(message, fault.reason)
        else:
            self.reject_message(message, fault, self._now_ns)

    def _too_high(self, message: Message, handler: str) -> None:
        """Hold the message and ask for what is missing; a peer's own request is answered first."""
        number = message.msg_seq_num
        if message.msg_type not in _AT_ONCE:
            self._recovery.hold(number, message)
        elif not self._recovery.has(number) and self._passes_validation(message):
            getattr(self, handler)(message)
            if self.phase is Phase.CLOSED:
                return
            self._recovery.hold(number, None)
        is_resent = message.get(tags.POSS_DUP_FLAG) == b"Y"
        if self._recovery.ask(self._known_state.next_in, number, is_resent, self._now_ns):
            self._request_resend()

    def _take_held(self) -> bool:
        """Process the held message whose turn it is; False when there is none."""
        if self.state is None or not self._recovery.has(self.state.next_in):
            return False
        message = self._recovery.take(self.state.next_in)
        if message is None:
            self._count()
            self._settle()
        else:
            self._process(message)
        return True

    def _resent_fault(self, message: Message) -> SessionReject | None:
        """Return what is wrong with OrigSendingTime(122) of a possible duplicate."""
        if message.msg_type == tags.SEQUENCE_RESET or message.get(tags.POSS_DUP_FLAG) != b"Y":
            return None
        original = message.get(tags.ORIG_SENDING_TIME)
        if original is None:
            return SessionReject(tags.ORIG_SENDING_TIME, reject.REQUIRED_TAG_MISSING)
        original_ns = parse_timestamp(original)
        sent_ns = parse_timestamp(message.get(tags.SENDING_TIME) or b"")
        if original_ns is not None and sent_ns is not None and original_ns > sent_ns:
            return SessionReject(None, reject.SENDING_TIME_PROBLEM)
        return None

    def _passes_validation(self, message: Message) -> bool:
        """Validate a message that is acted on out of sequence; refuse it, uncounted, when it is faulty."""
        fault = self._content_fault(message)
        if fault is not None:
            self.reject_message(message, fault, self._now_ns)
        return fault is None

    def _content_fault(self, message: Message) -> SessionReject | None:
        """Validate a message by the dictionary of its version."""
        dictionary = self._known_state.dictionary_of(message)
        if dictionary is None:
            return SessionReject(tags.APPL_VER_ID, reject.INVALID_APPL_VER_ID)
        return dictionary.validate(message)

    # --- application messages ---------------------------------------------------------------------------------

    def _is_unsupported(self, msg_type: str) -> bool:
        """Tell whether a type is of the version but not of the application."""
        state = self._known_state
        if msg_type in ADMIN_TYPES or msg_type == tags.BUSINESS_MESSAGE_REJECT:
            return False
        return msg_type in state.dictionary.msg_types and msg_type not in state.config.application_messages

    def _refuse_type(self, message: Message) -> None:
        self._count()
        self.business_reject(message, 3, "Unsupported Message Type", self._now_ns)

    def _on_application_message(self, message: Message) -> None:
        state = self._known_state
        if message.msg_type == tags.BUSINESS_MESSAGE_REJECT:
            self._on_reject(message)
            return
        state.next_in += 1
        if self._recovery.is_open:
            self._recovery.moved_to(state.next_in, self._now_ns)
        self._events.append(MessageReceived(message))

    # --- administrative messages ------------------------------------------------------------------------------

    def _on_heartbeat(self, message: Message) -> None:
        self._count()

    def _on_test_request(self, message: Message) -> None:
        self._count()
        self._send_admin(HEARTBEAT, (message.get(tags.TEST_REQ_ID),))

    def _on_reject(self, message: Message) -> None:
        self._count()
        self._events.append(RejectReceived(message))

    def _on_resend_request(self, message: Message) -> None:
        """Begin a resend; 16=0 and 16 beyond the end mean to the end."""
        state = self._known_state
        if message.msg_seq_num == state.next_in:
            self._count()
        begin = int(message.get(tags.BEGIN_SEQ_NO) or 0)
        end = int(message.get(tags.END_SEQ_NO) or 0)
        last = state.next_out - 1
        if not 0 < begin <= last:
            fault = SessionReject(tags.BEGIN_SEQ_NO, reject.VALUE_OUT_OF_RANGE)
            self.reject_message(message, fault, self._now_ns)
        elif 0 < end < begin:
            fault = SessionReject(tags.END_SEQ_NO, reject.VALUE_OUT_OF_RANGE)
            self.reject_message(message, fault, self._now_ns)
        else:
            self._begin_resend(begin, min(end or last, last))

    def _on_gap_fill(self, message: Message) -> None:
        """SequenceReset with 123=Y, in sequence: skip to NewSeqNo(36)."""
        self._move_next_in(message)

    def _on_late_gap_fill(self, message: Message) -> None:
        """A GapFill of a resend that begins at what we had held, and delivered already: its end still holds."""
        if self._passes_validation(message) and int(message.get(tags.NEW_SEQ_NO) or 0) > self._known_state.next_in:
            self._move_next_in(message)

    def _on_sequence_reset(self, message: Message) -> None:
        """SequenceReset without 123=Y: its own number does not matter."""
        if self._passes_validation(message):
            self._move_next_in(message)

    def _move_next_in(self, message: Message) -> None:
        """Never backwards: that would have messages processed twice. A refused one is not counted."""
        state = self._known_state
        new_seq_no = int(message.get(tags.NEW_SEQ_NO) or 0)
        if new_seq_no < state.next_in:
            # No tag is wrong by itself: test case 11c has no RefTagID(371).
            fault = SessionReject(None, reject.VALUE_OUT_OF_RANGE)
            self.reject_message(message, fault, self._now_ns)
        elif new_seq_no > state.next_in:
            state.next_in = new_seq_no
            self.admin_moved = True
            self._recovery.moved_to(new_seq_no, self._now_ns, jumped=True)

    def _on_logout(self, message: Message) -> None:
        """Answer a Logout, unless it is the answer to ours, and close. One above a gap leaves the gap open."""
        if message.msg_seq_num == self._known_state.next_in:
            self._count()
        if self.phase is not Phase.LOGOUT_SENT:
            self._send_admin(LOGOUT, (None,))
        self._end_with_logout((message.get(tags.TEXT) or b"").decode("latin-1"), "logged out")
