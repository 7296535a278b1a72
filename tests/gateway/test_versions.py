"""One gateway, clients of every FIX version: the same order, fill and refusal, each written as its version has them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.clients.link import ClientLink
from protocols.fix.codec import Layout, Message, format_timestamp
from protocols.fix.session import INITIATOR, Limits, MessageReceived, Session, SessionConfig, SessionKey, SessionState
from tests.gateway.rig import BTC, CONFIG, Rig, accepted, filled, opened

ORDER = Layout("D", (1, 11, 21, 38, 40, 44, 54, 55, 60))


class Peer:
    """A client of one version, a sans-I/O session on its side too."""

    def __init__(self, rig: Rig, version: str) -> None:
        self.rig, self.now_ns = rig, rig.now_ns
        states = {state.key: state for state in rig.core.reports.sessions.values()}
        self.link = ClientLink(states, rig.core.pipeline, rig.now_ns, Limits(), lambda name: None, lambda name: False)
        config = SessionConfig(application_messages=frozenset("89j"))
        self.session = Session(lambda key: None, self.now_ns, role=INITIATOR)
        self.session.logon(SessionState(SessionKey(version, "ALPHA", "MARGINGATE"), config), self.now_ns)
        self.pump()
        assert self.session.is_logged_on

    def pump(self) -> list[Message]:
        told: list[Message] = []
        while True:
            out, back = self.session.data_to_send(), self.link.session.data_to_send()
            if not out and not back:
                return told
            if out:
                self.link.receive(out, self.now_ns)
            if back:
                self.session.receive_data(back, self.now_ns)
                while (event := self.session.next_event()) is not None:
                    if isinstance(event, MessageReceived):
                        told.append(event.message)

    def order(self, cl_ord_id: bytes, price: bytes) -> list[Message]:
        now = format_timestamp(self.now_ns)
        values = (b"alpha", cl_ord_id, b"1", b"100", b"2", price, b"1", BTC.encode(), now)
        self.session.send(ORDER, values, self.now_ns)
        return self.pump()


@pytest.mark.parametrize(
    ("version", "fill_type", "trans_type"),
    [("FIX.4.2", b"2", b"0"), ("FIX.4.4", b"F", None), ("FIXT.1.1", b"F", None)],
)
def test_an_order_in_every_version(tmp_path: Path, version: str, fill_type: bytes, trans_type: bytes | None) -> None:
    session = f'target_comp_id = "ALPHA"\nbegin_string = "{version}"'
    with opened(tmp_path, config=CONFIG.replace('target_comp_id = "ALPHA"', session)) as rig:
        peer = Peer(rig, version)
        assert peer.order(b"one", b"59000") == []
        order = rig.only_order()
        rig.hear(accepted(order))
        (report,) = peer.pump()
        assert report.values((11, 150, 20)) == (b"one", b"0", trans_type)
        rig.hear(filled(order, 100))
        (report,) = peer.pump()
        assert report.values((150, 39, 20)) == (fill_type, b"2", trans_type)
        assert Decimal((report.get(14) or b"").decode()) == 100
        (refusal,) = peer.order(b"two", b"59000.1")
        assert refusal.values((150, 39, 20001)) == (b"8", b"8", b"302")
        rig.check_replay()


def test_a_client_of_another_version_than_its_session_is_a_stranger(tmp_path: Path) -> None:
    with opened(tmp_path) as rig, pytest.raises(AssertionError):
        Peer(rig, "FIX.4.2")
