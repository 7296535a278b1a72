"""QuickFIX as a program of its own: commands a line on stdin, what it saw as JSON a line on stdout.

    orders N          send N orders, stored where there is no session
    next_sender N     its next MsgSeqNum(34) is N
    logout            say goodbye; the connection stays down for this run
    expected          tell the numbers of both sides
    quit

As an acceptor it answers each order with an ExecutionReport.
"""

import itertools
import json
import sys
import threading
from pathlib import Path
from typing import Any

import quickfix as fix

SOH = "\x01"
_output = threading.Lock()


def tell(**event: Any) -> None:
    """Write one line; callbacks come from QuickFIX's own threads."""
    with _output:
        print(json.dumps(event), flush=True)  # noqa: T201


def fields_of(message: Any) -> dict[str, str]:
    """Return the fields of a message, the first of each tag."""
    found: dict[str, str] = {}
    for part in message.toString().strip(SOH).split(SOH):
        tag, _, value = part.partition("=")
        found.setdefault(tag, value)
    return found


class Application(fix.Application):  # type: ignore[misc]
    """Tells all that comes; `session` is the only one there is."""

    def __init__(self) -> None:
        super().__init__()
        self.session: Any = None
        self.ids = itertools.count(1)

    def onCreate(self, session: Any) -> None:  # noqa: N802
        """The session exists."""
        self.session = session

    def onLogon(self, session: Any) -> None:  # noqa: N802
        """Logons were exchanged."""
        tell(event="logon")

    def onLogout(self, session: Any) -> None:  # noqa: N802
        """The session is down, whatever brought it there."""
        tell(event="logout")

    def toAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        """An administrative message is about to leave."""
        tell(event="admin_out", fields=fields_of(message))

    def toApp(self, message: Any, session: Any) -> None:  # noqa: N802
        """An application message is about to leave."""

    def fromAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        """An administrative message came."""
        tell(event="admin", fields=fields_of(message))

    def fromApp(self, message: Any, session: Any) -> None:  # noqa: N802
        """An application message came, valid by QuickFIX's own dictionary."""
        fields = fields_of(message)
        tell(event="app", fields=fields)
        if fields["35"] == "D":
            fix.Session.sendToTarget(self.report(fields), self.session)

    def order(self) -> Any:
        """Return the next NewOrderSingle."""
        begin_string = self.session.getBeginString().getValue()
        values = [(11, f"order-{next(self.ids)}"), (38, "10"), (40, "2"), (44, "50000.5"), (54, "1")]
        values += [(55, "BTC-PERPETUAL"), (59, "0")]
        if begin_string == "FIX.4.2":
            values.append((21, "1"))
        message = made("D", values)
        message.setField(fix.TransactTime())
        return message

    def report(self, order: dict[str, str]) -> Any:
        """Return the ExecutionReport of a new order, in the words of the session's version."""
        number = str(next(self.ids))
        values = [(6, "0"), (11, order["11"]), (14, "0"), (17, number), (37, number), (38, order["38"]), (39, "0")]
        values += [(54, "1"), (55, order["55"]), (150, "0"), (151, order["38"])]
        if self.session.getBeginString().getValue() == "FIX.4.2":
            values.append((20, "0"))
        return made("8", values)


def made(msg_type: str, values: list[tuple[int, str]]) -> Any:
    """Return a message without its header."""
    message = fix.Message()
    message.getHeader().setField(fix.MsgType(msg_type))
    for tag, value in values:
        message.setField(fix.StringField(tag, value))
    return message


def act(application: Application, command: str) -> None:
    """Do what a line of stdin says."""
    verb, _, rest = command.partition(" ")
    session = fix.Session.lookupSession(application.session)
    if verb == "orders":
        for _ in range(int(rest)):
            fix.Session.sendToTarget(application.order(), application.session)
    elif verb == "next_sender":
        session.setNextSenderMsgSeqNum(int(rest))
    elif verb == "logout":
        session.logout()
    elif verb == "expected":
        tell(event="numbers", target=session.getExpectedTargetNum(), sender=session.getExpectedSenderNum())
    else:
        raise ValueError(command)


def main(settings_file: str, role: str) -> None:
    """Run until `quit`, or until stdin ends."""
    application = Application()
    settings = fix.SessionSettings(settings_file)
    store = fix.FileStoreFactory(str(Path(settings_file).parent / "store"))
    engine = (fix.SocketInitiator if role == "initiator" else fix.SocketAcceptor)(application, store, settings)
    engine.start()
    tell(event="started")
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        act(application, line.strip())
    engine.stop(True)


if __name__ == "__main__":
    main(*sys.argv[1:])
