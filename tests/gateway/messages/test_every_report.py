"""Whatever the gateway sends, in whatever version: its dictionary finds it clean, copies and lists included."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from protocols.fix.codec import Message, decode, format_timestamp
from protocols.fix.grouped import Values, send_grouped
from protocols.venues import events
from tests.gateway.rig import BTC, CONFIG, SECOND, Rig, accepted, cancelled, filled, opened
from tests.gateway.test_versions import Peer

VERSIONS = ("FIX.4.2", "FIX.4.4", "FIXT.1.1")


def config(version: str) -> str:
    """ALPHA and its drop copy, both of one version; reports of what is pending wanted."""
    line = 'target_comp_id = "ALPHA"'
    text = CONFIG.replace(line, f'{line}\nbegin_string = "{version}"\npending_reports = true')
    risk = f'target_comp_id = "RISK"\naccounts = ["alpha"]\nkind = "drop_copy"\nbegin_string = "{version}"'
    return text.replace("[[account]]", f"[[fix.session]]\n{risk}\n[[account]]", 1)


class Client:
    """One client that knows what each version wants in its messages."""

    def __init__(self, rig: Rig, version: str) -> None:
        self.peer, self.version, self.now = Peer(rig, version), version, format_timestamp(rig.now_ns)

    def send(self, msg_type: str, values: Values) -> list[Message]:
        state = self.peer.session.state
        assert state is not None
        send_grouped(state, msg_type, values, self.peer.now_ns)
        return self.peer.pump()

    def order(self, name: bytes, *further: tuple[int, Any], **changes: Any) -> list[Message]:
        values: dict[int, Any] = {11: name, 21: b"1", 1: b"alpha", 55: BTC.encode(), 54: b"1", 60: self.now, 38: b"100",
                                  40: b"2", 44: b"59000", 59: b"1"}  # fmt: skip
        values |= {int(tag[1:]): value for tag, value in changes.items()}
        return self.send("D", {**values, **dict(further)})


def play(rig: Rig, client: Client) -> None:
    """One of everything."""
    client.order(b"bad", _38=b"105")
    client.order(b"o")
    order = rig.only_order()
    rig.hear(accepted(order), filled(order, 40))
    client.send("H", {11: b"o", 54: b"1", 55: BTC.encode()})
    client.send("H", {11: b"?", 54: b"1", 55: BTC.encode()})
    replace: Values = {41: b"o", 11: b"r", 21: b"1", 1: b"alpha", 55: BTC.encode(), 54: b"1", 60: client.now,
                       38: b"100", 40: b"2", 44: b"58000"}  # fmt: skip
    client.send("G", replace)
    rig.hear(events.OrderReplaced(order.order_id, order.venue_order_id, Decimal(100), Decimal(58_000)))
    rig.hear(events.OrderReplaced(order.order_id, order.venue_order_id, Decimal(90), Decimal(58_500)))
    cancel: Values = {41: b"r", 11: b"c", 55: BTC.encode(), 54: b"1", 60: client.now, 38: b"100"}
    client.send("F", cancel)
    client.send("F", {**cancel, 41: b"?"})
    rig.hear(cancelled(order, 40))
    rig.hear(events.TradeCorrected("t1", Decimal(30), Decimal(59_500), Decimal(0), "price"))
    rig.hear(events.TradeBusted("t1", "erroneous"))
    client.order(b"stop", (99, b"61000"), _40=b"4", _44=b"61500")
    stop = list(rig.ledger.orders.values())[-1]
    rig.hear(accepted(stop, "SLMB-1"), events.OrderTriggered(stop.order_id, "V9", "SLMB-1"))
    client.order(b"day", (126, format_timestamp(rig.now_ns + SECOND)), _59=b"6")
    gtd = list(rig.ledger.orders.values())[-1]
    rig.hear(accepted(gtd))
    rig.core.tick(rig.now_ns + SECOND)
    rig.hear(cancelled(gtd))
    entries: list[Values] = [
        {11: b"l%d" % number, 67: number, 21: b"1", 55: BTC.encode(), 54: b"1", 38: quantity, 40: b"2", 44: b"59000"}
        for number, quantity in enumerate((b"100", b"105"))
    ]
    for list_id in (b"L", b"L"):
        client.send("E", {66: list_id, 394: b"3", 68: 2, 73: entries})
    for msg_type in ("M", "K"):
        client.send(msg_type, {66: b"L", 60: client.now})
        client.send(msg_type, {66: b"?", 60: client.now})
    if client.version != "FIX.4.2":
        play_since_44(client)


def play_since_44(client: Client) -> None:
    client.send("q", {11: b"q1", 530: b"7", 54: b"1", 60: client.now})
    client.send("q", {11: b"q2", 530: b"1", 55: BTC.encode(), 60: client.now})
    client.send("q", {11: b"q3", 530: b"3", 60: client.now})
    client.send("AF", {584: b"s", 585: 7})
    client.send("AF", {584: b"s", 585: 3})
    client.send("AD", {568: b"t", 569: 0, 263: b"1"})
    client.send("AD", {568: b"t", 569: 3})
    legs: list[Values] = [{600: BTC.encode()}]
    client.send("AB", {11: b"m", 54: b"1", 55: BTC.encode(), 555: legs, 60: client.now, 40: b"2"})
    client.order(b"last")
    rig = client.peer.rig
    order = list(rig.ledger.orders.values())[-1]
    rig.hear(accepted(order), filled(order, 100, "t9"))


TOLD = {
    "FIX.4.2": {"8", "9", "N", "j"},
    "FIX.4.4": {"8", "9", "N", "j", "r", "AQ", "AE"},
    "FIXT.1.1": {"8", "9", "N", "j", "r", "AQ", "AE"},
}
EXEC_TYPES = {
    "FIX.4.2": {"0", "1", "4", "5", "6", "8", "C", "D", "E"},
    "FIX.4.4": {"0", "4", "5", "6", "8", "C", "D", "E", "F", "G", "H", "I"},
    "FIXT.1.1": {"0", "4", "5", "6", "8", "C", "D", "E", "F", "G", "H", "I", "L"},
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_is_clean(tmp_path: Path, version: str) -> None:
    with opened(tmp_path, config=config(version)) as rig:
        play(rig, Client(rig, version))
        types: dict[str, set[str]] = {"ALPHA": set(), "RISK": set()}
        exec_types: set[str] = set()
        for name in types:
            state = rig.core.reports.sessions[name]
            for number in range(state.sent.first_seq_num, state.next_out):
                raw = state.sent.get(number)
                if raw is None:
                    continue
                message = decode(raw)
                assert state.dictionary.validate(message) is None, (
                    message.fields(),
                    state.dictionary.validate(message),
                )
                types[name].add(message.msg_type)
                if message.msg_type == "8":
                    exec_types.add((message.get(150) or b"").decode())
        assert types == {"ALPHA": TOLD[version], "RISK": {"8"}}
        assert exec_types == EXEC_TYPES[version]
        rig.check_replay()
