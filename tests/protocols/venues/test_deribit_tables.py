from __future__ import annotations

import pytest

from protocols.venues.deribit_tables import (
    AUTHENTICATED_STATES,
    TRANSITIONS,
    UNLISTED,
    VERDICTS,
    Input,
    Kind,
    State,
    verdict,
)

DEFINITE = [10003, 10004, 10005, 10007, 10009, 10010, 10012, 10021, 10023, 10041, 10043, 11008, 11029, 11044, 11054]
DEFINITE += [10000, 13004, 13009, 13021, -32600, -32601, -32602, -32700]
UNKNOWN = [10028, 10040, 10047, 10066, 11051, 13888, 10001, -32603]


@pytest.mark.parametrize("code", DEFINITE)
def test_codes_that_prove_that_nothing_happened(code: int) -> None:
    assert verdict(code).is_definite


@pytest.mark.parametrize("code", [*UNKNOWN, 0, 424242, -1])
def test_codes_that_prove_nothing(code: int) -> None:
    assert not verdict(code).is_definite


def test_every_listed_code_has_a_name() -> None:
    assert all(entry.name.replace("_", "").replace("4", "").isalpha() for entry in VERDICTS.values())
    assert verdict(10009).name == "not_enough_funds"
    assert verdict(7) is UNLISTED


def test_every_state_but_the_first_can_be_left_by_losing_the_connection() -> None:
    for state in State:
        assert TRANSITIONS[state, Input.DISCONNECTED] is State.CONNECTING


def test_only_authentication_leads_to_a_state_in_which_private_frames_leave() -> None:
    entries = {pair for pair, state in TRANSITIONS.items() if state in AUTHENTICATED_STATES}
    assert entries == {(State.AUTHENTICATING, Input.AUTHENTICATED), (State.RECONCILING, Input.RECONCILED)}


def test_live_is_reached_by_reconciliation_only() -> None:
    assert [pair for pair, state in TRANSITIONS.items() if state is State.LIVE] == [
        (State.RECONCILING, Input.RECONCILED)
    ]


def test_kinds_are_distinct() -> None:
    assert len({int(kind) for kind in Kind}) == len(Kind.__members__)
