"""PartyActionRequest(DH) and its Report(DI): the kill switch by FIX, for who may."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import records
from gateway.clients.standing import ACCOUNT, DESK, FIRM, SESSION
from gateway.operators.kills import Kills
from protocols.fix.codec import Message
from risk.account import AccountState
from risk.marks import INSTRUMENT, VENUE
from tests.gateway.readers import Client, config_of, shown
from tests.gateway.rig import BTC, full_journal, opened
from tests.gateway.rig import VENUE as DERIBIT
from tests.gateway.test_config import MINIMAL, problems

FIX50 = "FIXT.1.1"
ALL = '["account", "session", "desk", "firm", "venue", "instrument"]'


def config(actions: str = ALL, more: str = "") -> str:
    begin = f'begin_string = "{FIX50}"'
    return config_of(FIX50).replace(begin, f"{begin}\nparty_actions = {actions}\n{more}")


def of_role(role: int, name: str) -> tuple[tuple[int, bytes | int], ...]:
    return ((453, 1), (448, name.encode()), (447, b"D"), (452, role))


TARGETS = {
    (ACCOUNT, "alpha"): of_role(24, "alpha"),
    (SESSION, "ALPHA"): of_role(55, "ALPHA"),
    (DESK, "macro"): of_role(76, "macro"),
    (FIRM, "house"): of_role(1, "house"),
    (VENUE, DERIBIT): ((1301, DERIBIT.encode()),),
    (INSTRUMENT, BTC): ((1536, BTC.encode()),),
}


def request(client: Client, target: tuple[tuple[int, bytes | int], ...], action: int = 1) -> Message:
    fields = ((2328, b"k1"), (2329, action), *target, (58, b"enough"))
    *_, told = client.ask("DH", *fields)
    assert told.msg_type == "DI", told.raw
    return told


def answer(told: Message) -> tuple[bytes, ...]:
    return shown(told, 2328, 2329, 2332, 2333)[1:]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target[0]))
def test_a_session_that_may_stops_what_it_names(tmp_path: Path, target: tuple[str, str]) -> None:
    with opened(tmp_path, config=config()) as rig:
        groups = {(DESK, "macro"): ("alpha",), (FIRM, "house"): ("alpha", "beta", "gamma")}
        rig.core.controls.kills = Kills(rig.pipeline, rig.core.controls.watch, groups)
        client = Client(rig, FIX50)
        client.ask("D", (11, b"o"), (38, 100), (40, 2), (44, 59_000), (54, 1), (55, BTC.encode()), (59, 1),
                   (60, b"20251009-08:53:20.000"))  # fmt: skip
        assert len(rig.link.placed) == 1
        told = request(client, TARGETS[target])
        assert answer(told) == (b"k1", b"1", b"0", b"")
        assert len(rig.link.cancelled) == 1
        kill = rig.ledger.standing.kills[target]
        assert (kill.who, kill.reason) == ("session ALPHA", "enough")
        named = {VENUE: DERIBIT.encode(), INSTRUMENT: BTC.encode()}
        assert shown(told, 1301)[1] == (named[VENUE] if target[0] == VENUE else b"")
        assert shown(told, 1536)[1] == (named[INSTRUMENT] if target[0] == INSTRUMENT else b"")
        (record,) = rig.of_type(records.PartyActionTaken)
        assert (record.scope, record.name, record.response) == (*target, 0)
        assert answer(request(client, TARGETS[target], 0)) == (b"k1", b"0", b"0", b"")  # twice is once
        rig.check_replay()


@pytest.mark.parametrize(
    ("actions", "target", "action", "reason"),
    [
        ("[]", None, 1, b""),
        ('["account"]', of_role(24, "beta"), 1, b"1"),  # another client's
        ('["session"]', of_role(55, "BETA"), 1, b"1"),
        ('["account"]', ((1301, b"deribit"),), 1, b"1"),
        ('["venue"]', ((1301, b"elsewhere"),), 1, b"0"),
        (ALL, ((1301, b"deribit"), (1536, BTC.encode())), 1, b"99"),  # two things
        (ALL, (), 1, b"99"),
        (ALL, of_role(3, "alpha"), 1, b"99"),
        (ALL, of_role(24, "alpha"), 2, b"1"),  # reinstated by persons only
    ],
)
def test_what_is_not_permitted_or_not_known_is_refused(
    tmp_path: Path, actions: str, target: tuple[tuple[int, bytes | int], ...] | None, action: int, reason: bytes
) -> None:
    with opened(tmp_path, config=config(actions)) as rig:
        client = Client(rig, FIX50)
        if target is None:
            (told,) = client.ask("DH", (2328, b"k1"), (2329, 1), *of_role(24, "alpha"))
            assert told.msg_type == "j" and told.get(380) == b"3"
        else:
            assert answer(request(client, target, action)) == (b"k1", b"%d" % action, b"2", reason)
        assert rig.ledger.standing.kills == {}
        assert all(account.state is AccountState.TRADING for account in rig.ledger.accounts.values())
        if target is not None:  # the session itself refuses what it may not send, and keeps no record of that
            rig.check_replay()


def test_a_kill_waits_for_no_throttle_and_only_the_first_passes_it(tmp_path: Path) -> None:
    throttled = "throttle_messages = 1\nthrottle_interval_ms = 60000\n"
    with opened(tmp_path, config=config(more=throttled)) as rig:
        client = Client(rig, FIX50)
        client.ask("D", (11, b"o"), (38, 100), (40, 2), (44, 59_000), (54, 1), (55, BTC.encode()), (59, 1),
                   (60, b"20251009-08:53:20.000"))  # fmt: skip
        assert answer(request(client, TARGETS[ACCOUNT, "alpha"])) == (b"k1", b"1", b"0", b"")
        (told,) = client.ask("DH", (2328, b"k2"), (2329, 1), *TARGETS[ACCOUNT, "alpha"])
        assert told.msg_type == "j" and b"THROTTLED" in (told.get(58) or b"")


def test_a_kill_works_where_the_journal_does_not(tmp_path: Path) -> None:
    with opened(tmp_path, config=config()) as rig:
        client = Client(rig, FIX50)
        with full_journal(rig):
            told = request(client, TARGETS[VENUE, DERIBIT])
            assert answer(told) == (b"k1", b"1", b"1", b"")
            assert (VENUE, DERIBIT) in rig.core.market.halts


def test_only_fix_5_has_the_message() -> None:
    session = 'accounts = ["A"]\nparty_actions = ["account"]'
    (problem,) = problems(MINIMAL.replace('accounts = ["A"]', session))
    assert "FIX.4.4 has no PartyActionRequest(DH)" in problem
