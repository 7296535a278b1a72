"""Plays the golden conversations of fixtures/margin_fix: what a client asks of positions and margin, to the byte.

    # a comment
    = FIX.4.4               the version of the session, first of all
    > 35=AN|710=p|...       the client sends this
    < 35=AO|...             the gateway's next message, its fields in order; 8, 9, 34, 49, 52, 56 and 10 are left out
    * turn                  the gateway takes a turn of telling
    * fill                  the venue fills the last order completely
    * later 2               so many seconds pass, and marks and risk arrays are made anew

Whatever the gateway sends must be written here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.fix.codec import Message
from tests.gateway.readers import Client, config_of
from tests.gateway.rig import BTC, ETH, SECOND, Rig, accepted, filled, opened

FIXTURES = Path(__file__).parents[3] / "fixtures" / "margin_fix"
_LEFT_OUT = (8, 9, 34, 49, 52, 56, 10)


def written(message: Message) -> str:
    return "|".join(f"{tag}={value.decode()}" for tag, value in message.fields() if tag not in _LEFT_OUT)


class Player:
    def __init__(self, rig: Rig, version: str) -> None:
        self.rig, self.client = rig, Client(rig, version)
        self.told: list[str] = []

    def play(self, line: str) -> None:
        """Act on a line that is no answer."""
        kind, _, text = line.partition(" ")
        if kind == ">":
            fields = [part.partition("=") for part in text.split("|")]
            told = self.client.ask(fields[0][2], *((int(tag), value.encode()) for tag, _, value in fields[1:]))
        elif text == "turn":
            told = self.client.turn()
        elif text == "fill":
            order = list(self.rig.ledger.orders.values())[-1]
            lots = order.instrument.quantity(order.lots)
            self.rig.hear(accepted(order), filled(order, int(lots), f"t-{order.order_id}"))
            told = [message for message in self.client.pump() if message.msg_type != "8"]
        else:
            self.rig.now_ns += int(text.removeprefix("later ")) * SECOND
            for symbol, mark in ((BTC, 60_000.0), (ETH, 2_000.0)):
                self.rig.mark(symbol, mark)
            self.rig.core.valuation.run(self.rig.now_ns)
            told = []
        self.told += [written(message) for message in told]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.fix")), ids=lambda path: path.stem)
def test_a_conversation(tmp_path: Path, path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("= ")
    with opened(tmp_path, config=config_of(lines[0][2:])) as rig:
        player = Player(rig, lines[0][2:])
        for line in lines[1:]:
            if line.startswith("< "):
                assert player.told, f"nothing was told: {line}"
                assert player.told.pop(0) == line[2:]
            else:
                assert not player.told, f"not written before {line}"
                player.play(line)
        assert not player.told
        rig.check_replay()
