"""Who gives a command: proven by a token or by the kernel; what somebody says of himself counts for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.fix_server import FixServer
from gateway.operators.callers import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, Caller, Callers, own_token
from gateway.operators.channel import (
    ApproveTransfer,
    Command,
    ControlError,
    Kill,
    MoveTransfer,
    Reinstate,
    SetLimit,
    Status,
)
from gateway.operators.commands import Operator
from protocols.fix.session import Limits
from tests.gateway.admin.rig import TOKENS, write_tokens
from tests.gateway.transfer_rig import COLLATERAL, WATCH, transfer_floor

SET = ("alpha", "order_burst", "20", "10", "x")


@pytest.fixture
def callers(tmp_path: Path) -> Iterator[Callers]:
    yield Callers(write_tokens(tmp_path))


def token(person: str) -> dict[str, str]:
    return {"token": TOKENS[person][1]}


def test_a_token_proves_a_person_and_a_name_nothing(callers: Callers) -> None:
    rita = callers.caller(ApproveTransfer("k", "x", "rita", **token("rita")), "mg")
    assert (rita.said("rita"), callers.shared(rita)) == ("rita (token)", "rita")
    claimed = callers.caller(ApproveTransfer("k", "x", "rita"), "mg")
    assert claimed.said("rita") == "rita (mg)"
    with pytest.raises(ControlError, match="it takes a token"):
        callers.shared(claimed)
    assert callers.caller(Status(**token("vera")), "mg").name == "vera", "who only looks may be a viewer"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Reinstate("account", "alpha", "x", token="nobody's"), "is nobody's"),
        (Reinstate("account", "alpha", "x", token="x" * 10_000), "is nobody's"),
        (Reinstate("account", "alpha", "x", **token("vera")), "takes the role"),
        (Reinstate("account", "alpha", "x", "ruth", **token("rita")), "another person"),
        (SetLimit(*SET, who="rita", approved_by="ruth"), "token of the one who approves"),
        (SetLimit(*SET, who="rita", approved_by="ruth", **token("rita")), "token of the one who approves"),
        (SetLimit(*SET, who="ruth", approved_by="ruth", **token("ruth")), "can not approve"),
        (MoveTransfer("k", "settled", "x", who="ruth", approved_by="ruth", **token("ruth")), "can not approve"),
    ],
)
def test_what_is_not_proven_is_refused(callers: Callers, command: Command, why: str) -> None:
    with pytest.raises(ControlError, match=why) as caught:
        callers.caller(command, "mg")
    assert "canary" not in str(caught.value)


def test_who_approves_proves_it_and_the_page_says_who_proposed(callers: Callers) -> None:
    found = callers.caller(SetLimit(*SET, who="rita", approved_by="ruth", **token("ruth")), "mg")
    assert found == Caller("mg", "ruth")


def test_a_kill_waits_for_no_token(callers: Callers, tmp_path: Path) -> None:
    for given in ({"token": "nobody's"}, token("vera"), token("rita") | {"who": "ruth"}):
        arguments: dict[str, Any] = given
        assert callers.caller(Kill("account", "alpha", "x", **arguments), "mg") == Caller("mg")
    (tmp_path / "tokens.toml").unlink()
    assert callers.caller(Kill("account", "alpha", "x", **token("rita")), "mg") == Caller("mg")
    with pytest.raises(ControlError, match="No such file"):
        callers.caller(Reinstate("account", "alpha", "x", **token("rita")), "mg")


def test_without_a_file_of_tokens_users_are_told_apart() -> None:
    callers = Callers(None)
    for user in ("root", "mg"):
        assert callers.shared(callers.caller(ApproveTransfer("k", "x", "ann", token="any"), user)) == user
    with pytest.raises(ControlError, match="token of the one who approves"):
        callers.caller(SetLimit(*SET, who="rita", approved_by="ruth"), "mg")


def test_a_token_is_shown_by_nothing() -> None:
    command = Kill("account", "alpha", "x", **token("rita"))
    assert "canary" not in repr(command) and "alpha" in repr(command)


def test_a_token_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_FILE_VARIABLE, raising=False)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert own_token() == ""
    monkeypatch.setenv(TOKEN_VARIABLE, "abc ")
    assert own_token() == "abc"
    path = tmp_path / "token"
    monkeypatch.setenv(TOKEN_FILE_VARIABLE, str(path))
    with pytest.raises(ControlError, match="No such file"):
        own_token()
    path.touch(mode=0o600)
    path.write_text("def\n")
    assert own_token() == "def"
    path.chmod(0o644)
    with pytest.raises(ControlError, match="token"):
        own_token()


def test_two_names_of_one_user_do_not_approve_a_transfer_and_two_tokens_do(tmp_path: Path) -> None:
    """Above its size; below it one person acts as ever, with a name and without a token."""
    write_tokens(tmp_path)
    limits = COLLATERAL.replace("two_person_usd = 5000", "two_person_usd = 1500")
    limits = limits.replace("automatic_usd = 1000", "automatic_usd = 10")
    known = f'[admin]\ntokens_file = "{tmp_path}/tokens.toml"\n'
    with transfer_floor(tmp_path, collateral=limits, watch=WATCH + known) as desk:
        rig = desk.rig
        fix = FixServer(
            rig.pipeline, max_connections=1, max_write_buffer_bytes=1 << 20, limits=Limits(),
            cancels_on_disconnect=lambda name: True,
        )  # fmt: skip
        operator = Operator(rig.core, fix, lambda: rig.now_ns)
        key = desk.desk.move("wallet", "alpha", 2_000 * 10**8, "test", rig.now_ns)
        for who in ("ann", "bob"):
            with pytest.raises(ControlError, match="it takes a token"):
                operator.answer(ApproveTransfer(key, "x", who), "mg")
        told = operator.answer(ApproveTransfer(key, "x", **token("rita")), "mg")
        assert told == {"state": "awaiting_approval", "approvals": "1/2"}
        with pytest.raises(ControlError, match="another one"):
            operator.answer(ApproveTransfer(key, "x", **token("rita")), "root")
        told = operator.answer(ApproveTransfer(key, "x", **token("ruth")), "mg")
        assert told == {"state": "ready", "approvals": "2/2"}
        assert rig.ledger.margin.orders.orders[key].approved_by == ["rita", "ruth"]
        small = desk.desk.move("wallet", "alpha", 1_200 * 10**8, "test", rig.now_ns)
        assert operator.answer(ApproveTransfer(small, "x", "ann"), "mg") == {"state": "ready", "approvals": "1/1"}
        desk.check()
