"""Two sessions of ours against each other, over connections that die at random."""

import random

import pytest

from protocols.fix.codec import Layout
from protocols.fix.session import (
    INITIATOR,
    Event,
    MessageReceived,
    Session,
    SessionConfig,
    SessionKey,
    SessionState,
    send_or_store,
)
from tests.protocols.fix.conversation import SECOND, START_NS

KEY = SessionKey("FIX.4.4", "GATE", "CLIENT")


def events_of(session: Session) -> list[Event]:
    return list(iter(session.next_event, None))


@pytest.mark.parametrize("seed", range(20))
def test_two_sessions_lose_nothing_over_a_bad_line(seed: int) -> None:
    """An initiator and an acceptor exchange orders and reports over connections that die at random."""
    choice = random.Random(seed)
    config = SessionConfig(application_messages=frozenset("8D"))
    theirs = SessionState(SessionKey("FIX.4.4", "CLIENT", "GATE"), config)
    ours = SessionState(KEY, config)
    order = Layout("D", (11, 38, 40, 54, 55, 60))
    report = Layout("8", (6, 14, 17, 37, 39, 54, 55, 150, 151))
    now_ns = START_NS
    sent: dict[str, list[bytes]] = {"8": [], "D": []}
    received: dict[str, list[bytes]] = {"8": [], "D": []}

    def write(state: SessionState) -> None:
        ident = b"%d" % (len(sent["8"]) + len(sent["D"]))
        if state is theirs:
            values = (ident, 1, b"1", b"1", b"X", b"20260101-00:00:00")
            send_or_store(state, order, values, now_ns)
            sent["D"].append(ident)
        else:
            send_or_store(state, report, (0, 0, ident, b"G", b"0", b"1", b"X", b"0", 1), now_ns)
            sent["8"].append(ident)

    def read(session: Session) -> None:
        for event in events_of(session):
            if isinstance(event, MessageReceived):
                kind = event.message.msg_type
                received[kind].append(event.message.get(11 if kind == "D" else 17) or b"")

    for connection in range(12):
        client = Session(lambda key: None, now_ns, role=INITIATOR)
        server = Session({KEY: ours}.get, now_ns)
        client.logon(theirs, now_ns)
        for _ in range(choice.randint(1, 12) if connection < 11 else 40):
            now_ns += choice.randint(0, 2 * SECOND)
            if connection < 11:
                for state in (theirs, ours):
                    for _ in range(choice.randint(0, 2)):
                        write(state)
            for source, target in ((client, server), (server, client)):
                source.tick(now_ns)
                data = source.data_to_send()
                cut = len(data) if connection == 11 else choice.randint(0, 2 * len(data) + 1)
                target.receive_data(data[:cut], now_ns)
                read(target)
                if cut < len(data):
                    source.connection_lost(now_ns)
                    target.connection_lost(now_ns)
                    read(source)
                    read(target)
        for session in (client, server):
            session.connection_lost(now_ns)
            read(session)
    assert received == sent
