"""Who gives a command on the operator's channel: a person whose token came with it, or a user of this machine.

The token is one of the operator's page (gateway.admin.tokens), the user is whom the kernel names. What somebody says of
himself (--who) is kept beside it, and counts for nothing. What people share takes different persons by their tokens
where there is a file of tokens, and different users where there is none: a user and his token are not two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from gateway.admin.tokens import MAX_TOKEN_BYTES, Role, Tokens, TokensError
from gateway.config.credentials import CredentialsError, private_bytes
from gateway.operators.channel import Command, ControlError, Kill, MoveTransfer, SetLimit, person
from gateway.operators.kills import MAX_WHO, printable

TOKEN_VARIABLE: Final = "MARGINGATE_TOKEN"
TOKEN_FILE_VARIABLE: Final = "MARGINGATE_TOKEN_FILE"


class Caller(msgspec.Struct, frozen=True):
    """`user` is of this machine, as the kernel says; `name` is of the token, empty without one."""

    user: str
    name: str = ""

    def said(self, who: str = "") -> str:
        """Return whom records name: the person of the token, or the user and what he says of himself."""
        return printable(f"{self.name} (token)" if self.name else person(who, self.user), MAX_WHO)


class Callers:
    """Knows persons by the file of tokens, where there is one."""

    def __init__(self, tokens_file: Path | None) -> None:
        self._path = tokens_file
        self._tokens: Tokens | None = None

    def caller(self, command: Command, user: str) -> Caller:
        """Return who gives a command. Raises ControlError for a token that is nobody's, or of one who may not act.

        A kill waits for no token: one that is not good is not looked at.
        """
        try:
            # Where nobody knows tokens one proves nothing: the user acts.
            caller = Caller(user, self._name_of(command, self._path)) if command.token and self._path else Caller(user)
            _refuse_other_names(command, caller)
        except ControlError:
            if not isinstance(command, Kill):
                raise
            return Caller(user)
        return caller

    def shared(self, caller: Caller) -> str:
        """Return whom an act counts for that people share. Raises ControlError where that is not known."""
        if self._path is None:
            return printable(caller.user, MAX_WHO)
        if not caller.name:
            raise ControlError(
                f"persons are counted: it takes a token, of {TOKEN_VARIABLE} or the file named by {TOKEN_FILE_VARIABLE}"
            )
        return printable(caller.name, MAX_WHO)

    def _name_of(self, command: Command, path: Path) -> str:
        try:
            if self._tokens is None:
                self._tokens = Tokens(path)
            found = self._tokens.person(command.token) if len(command.token) <= MAX_TOKEN_BYTES else None
        except TokensError as error:
            raise ControlError(str(error)) from None
        if found is None:
            raise ControlError("the token is nobody's")
        if hasattr(command, "who") and not found.role.may_act_as(Role.RISK_MANAGER):
            raise ControlError(f"this takes the role {Role.RISK_MANAGER}, and the token's is {found.role}")
        return found.name


def _refuse_other_names(command: Command, caller: Caller) -> None:
    """Raise ControlError where a command names somebody that its token is not of."""
    who = getattr(command, "who", "")
    if isinstance(command, SetLimit | MoveTransfer) and command.approved_by:
        # The page's process knows who proposed by his token, and its audit log has him; who approves proves it here.
        if caller.name != command.approved_by:
            raise ControlError("approved_by takes the token of the one who approves")
        if who == command.approved_by:
            raise ControlError("who proposed it can not approve it")
    elif caller.name and who not in ("", caller.name):
        raise ControlError("the token is of another person than --who")


def own_token() -> str:
    """Return the token that this process's environment gives; empty where it gives none. Raises ControlError."""
    name = os.environ.get(TOKEN_FILE_VARIABLE, "")
    if not name:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return private_bytes(Path(name), MAX_TOKEN_BYTES + 1).decode("utf-8", "replace").strip()
    except CredentialsError as error:
        raise ControlError(str(error)) from None
