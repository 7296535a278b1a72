"""A day of one session in memory: as much at its end as when its store was full.

MARGINGATE_MESSAGES=1000000 takes a million orders, each with its report; the suite takes fewer.
"""

import os
import sys

from protocols.fix.codec import COMPILED, Header, Layout, encode
from protocols.fix.session import MessageReceived, Session, SessionConfig, SessionState
from tests.protocols.fix.conversation import START_NS, peer_message
from tests.protocols.fix.test_session import KEY

# Without the compiled codec an order takes ten times as long.
MESSAGES = int(os.environ.get("MARGINGATE_MESSAGES", "200000" if COMPILED else "20000"))
KEPT = MESSAGES // 4
BATCH = 50
ORDER = Layout("D", (11, 38, 40, 44, 54, 55, 60))
REPORT = Layout("8", (6, 11, 14, 17, 37, 39, 54, 55, 150, 151))
THEIRS = Header("FIX.4.4", "CLIENT", "GATE")
# What an interpreter's own tables may gain or lose while nothing grows: far less than a block a thousand orders.
SLACK_BLOCKS = 200


def test_memory_does_not_grow_with_the_day() -> None:
    state = SessionState(KEY, SessionConfig(sent_capacity=KEPT))
    session = Session({KEY: state}.get, START_NS)
    session.receive_data(peer_message("35=A|34=1|98=0|108=3600", START_NS), START_NS)
    session.next_event()
    trade(session, 2, MESSAGES // 2)
    session.data_to_send()
    blocks, kept = sys.getallocatedblocks(), state.sent.bytes_kept
    trade(session, 2 + MESSAGES // 2, MESSAGES // 2)
    session.data_to_send()
    assert state.next_in == MESSAGES + 2 and state.next_out == MESSAGES + 2
    assert len(state.sent) == KEPT
    assert sys.getallocatedblocks() - blocks < SLACK_BLOCKS
    assert 0 <= state.sent.bytes_kept - kept <= KEPT * 3  # three numbers in each have grown by a digit


def trade(session: Session, first: int, count: int) -> None:
    """Send orders, a read each `BATCH`, and answer each."""
    state = session.state
    assert state is not None
    for begin in range(first, first + count, BATCH):
        now = START_NS + begin
        session.receive_data(b"".join([order(number) for number in range(begin, begin + BATCH)]), now)
        while (event := session.next_event()) is not None:
            assert isinstance(event, MessageReceived)
            number = event.message.msg_seq_num
            values = (b"0", event.message.get(11), b"0", number, number, b"0", b"1", b"X", b"0", b"10")
            session.send(REPORT, values, now)
        assert session.data_to_send()


def order(number: int) -> bytes:
    values = (b"o%09d" % number, b"10", b"2", b"50000.5", b"1", b"BTC-PERPETUAL", b"20260101-00:00:00.000")
    return encode(ORDER, THEIRS, number, START_NS, values)
