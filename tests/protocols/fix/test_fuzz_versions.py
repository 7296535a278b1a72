"""The fuzzing of test_fuzz.py in the other versions, with FIXT's ApplVerID, the switches, and resets of our own."""

import random

import pytest

from protocols.fix.dictionary import FIXT_FIX42, FIXT_FIX44
from protocols.fix.plain import check_sum
from protocols.fix.session import Phase, SessionConfig, SessionKey, SessionState
from tests.protocols.fix.conversation import START_NS, peer_message
from tests.protocols.fix.test_fuzz import INPUTS, LIMITS, Counted, Watch, feed, random_input, seeds

CONFIGS = {
    "FIX.4.2": SessionConfig(sent_capacity=20),
    "FIX.4.4": SessionConfig(sent_capacity=20, allows_unknown_tags=True, allows_any_order=True, checks_values=False),
    "FIXT.1.1": SessionConfig(sent_capacity=20, further_versions=(FIXT_FIX42, FIXT_FIX44), sends_next_expected=True),
}


def retold(message: bytes, version: str, choice: random.Random) -> bytes:
    """Give a message another BeginString, a HandlInst for 4.2, and here and there an ApplVerID."""
    inner = message[message.index(b"35=") : -7]
    if version == "FIX.4.2":
        inner = inner.replace(b"\x0111=a\x01", b"\x0111=a\x0121=1\x01")
    elif version == "FIXT.1.1" and choice.random() < 0.3:
        inner = inner.replace(b"\x0134=", b"\x011128=%b\x0134=" % choice.choice((b"9", b"6", b"4", b"5", b"")), 1)
        inner = inner.replace(b"\x01108=30", b"\x01108=30\x01789=%d\x011137=9" % choice.randrange(5))
    retold = b"8=%b\x019=%d\x01%b" % (version.encode(), len(inner), inner)
    return retold + b"10=%03d\x01" % check_sum(retold)


def fresh(state: SessionState) -> Counted:
    """A session that is logged on, its Logon taking the state's next number."""
    session = Counted({state.key: state}.get, START_NS, limits=LIMITS)
    logon = peer_message(f"35=A|34={state.next_in}|98=0|108=30", START_NS, version=state.key.begin_string)
    session.receive_data(logon, START_NS)
    session.next_event()
    assert session.is_logged_on
    return session


@pytest.mark.parametrize("version", CONFIGS)
def test_random_messages_of_each_version(version: str) -> None:
    key = SessionKey(version, "GATE", "CLIENT")
    delivered = sessions = 0
    for seed, count in seeds(INPUTS // 8):
        choice = random.Random(seed)
        state = SessionState(key, CONFIGS[version])
        watch = Watch(feed, lambda next_in: fresh(SessionState(key, CONFIGS[version], max(1, next_in - 1))))
        session = None
        for number in range(count):
            if session is None or session.is_closed:
                delivered += session.delivered if session is not None else 0
                state.next_in = min(state.next_in, 10**9)
                session = fresh(state)
                sessions += 1
            data = retold(random_input(choice, state.next_in), version, choice)
            watch(session, data, f"{version}, seed {seed}, input {number}")
            if session.phase is Phase.ACTIVE and session._is_regular and choice.random() < 0.01:
                session.reset(START_NS)
        delivered += session.delivered if session is not None else 0
    assert delivered > INPUTS // 500
    assert sessions > INPUTS // 5000
