"""The fuzzing of test_fuzz.py in the other versions, with FIXT's ApplVerID, the switches, and resets of our own."""

import random

import pytest

from protocols.fix.dictionary import FIXT_FIX42, FIXT_FIX44
from protocols.fix.plain import check_sum
from protocols.fix.session import MessageReceived, Phase, Session, SessionConfig, SessionKey, SessionState
from tests.protocols.fix.conversation import START_NS, peer_message
from tests.protocols.fix.test_fuzz import INPUTS, LIMITS, random_input

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


@pytest.mark.parametrize("version", CONFIGS)
def test_random_messages_of_each_version(version: str) -> None:
    choice = random.Random(8)
    key = SessionKey(version, "GATE", "CLIENT")
    state = SessionState(key, CONFIGS[version])
    delivered = sessions = 0
    session = None
    for _ in range(INPUTS // 8):
        if session is None or session.is_closed:
            state.next_in = min(state.next_in, 10**9)
            session = Session({key: state}.get, START_NS, limits=LIMITS)
            logon = peer_message(f"35=A|34={state.next_in}|98=0|108=30", START_NS, version=version)
            session.receive_data(logon, START_NS)
            session.next_event()
            assert session.is_logged_on
            sessions += 1
        session.receive_data(retold(random_input(choice, state.next_in), version, choice), START_NS)
        while (event := session.next_event()) is not None:
            if isinstance(event, MessageReceived):
                delivered += 1
                dictionary = state.dictionary_of(event.message)
                assert dictionary is not None
                assert dictionary.validate(event.message) is None
        while session.data_to_send():
            pass
        if session.phase is Phase.ACTIVE and session._is_regular and choice.random() < 0.01:
            session.reset(START_NS)
    assert delivered > INPUTS // 500
    assert sessions > INPUTS // 5000
