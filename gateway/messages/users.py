"""UserRequest(BE): a user is a FIX session's CompID. Who is asked about is oneself; nobody is told of others."""

from __future__ import annotations

from collections.abc import Callable

from gateway.clients.volatile import Volatile
from protocols.fix.codec import Message
from protocols.fix.session import SessionState

# UserRequestType(924)
LOG_ON, LOG_OFF, CHANGE_PASSWORD, STATUS = b"1", b"2", b"3", b"4"
# UserStatus(926)
LOGGED_IN, NOT_RECOGNISED, PASSWORD_INCORRECT, PASSWORD_CHANGED, OTHER = 1, 3, 4, 5, 6

# change(session, old password, new password): None where it was changed, else why not for the user; WrongPasswordError.
ChangePassword = Callable[[str, bytes, bytes], str | None]


class WrongPasswordError(Exception):
    """The old password is not the user's."""


def no_passwords(session: str, old: bytes, new: bytes) -> str | None:
    """Refuse: passwords are not kept here."""
    return "passwords can not be changed here"


class Users:
    """Answers UserRequest(BE). `change_password` is where whoever keeps passwords comes in."""

    def __init__(self, volatile: Volatile, sessions: dict[str, SessionState]) -> None:
        self._volatile = volatile
        self._sessions = sessions
        self.change_password: ChangePassword = no_passwords

    def receive(self, session: str, message: Message, now_ns: int) -> None:
        """Answer one request. Passwords are in no text, no journal and no answer."""
        request_id, kind, user, old, new = message.values((923, 924, 553, 554, 925))
        status, text = self._status(session, kind, user, old, new)
        values = {923: request_id, 553: user, 926: status, 927: text.encode("ascii", "replace")}
        self._volatile.answer(session, "BF", values)

    def _status(
        self, session: str, kind: bytes | None, user: bytes | None, old: bytes | None, new: bytes | None
    ) -> tuple[int, str]:
        if (user or b"").decode("latin-1") != session:
            return NOT_RECOGNISED, "not a user of this session"
        if kind == STATUS:
            return LOGGED_IN, ""
        if kind == CHANGE_PASSWORD:
            if old is None or new is None:
                return OTHER, "Password(554) and NewPassword(925) are both needed"
            try:
                refusal = self.change_password(session, old, new)
            except WrongPasswordError:
                return PASSWORD_INCORRECT, ""
            return (PASSWORD_CHANGED, "") if refusal is None else (OTHER, refusal)
        if kind in (LOG_ON, LOG_OFF):
            return OTHER, "a user logs on and off by Logon(A) and Logout(5)"
        return OTHER, "UserRequestType(924) is 3 change password or 4 status"
