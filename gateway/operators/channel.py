"""The operator's channel to a running gateway: a Unix socket in the journal's directory, one JSON object a line.

It needs no configuration, no venue, no client and no disk. Whoever may open the socket (mode 0600) may use it; the
kernel says which user that is, and the journal keeps it. What people share counts persons by proof: gateway.callers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec
import orjson

from gateway.operators.unix_sockets import address_of_path, naming, own_user, private_listener, user_of

NAME: Final = "control.sock"
MAX_LINE_BYTES: Final = 4096
MAX_CONNECTIONS: Final = 8
# A connection that asks more, stays idle longer, or leaves more answers unread is closed.
MAX_COMMANDS: Final = 1000
IDLE_TIMEOUT_S: Final = 10.0
MAX_UNREAD_BYTES: Final = 1 << 20
# What an answer is waited for by the command line: the loop may be pricing, and a kill must not be given up early.
ANSWER_TIMEOUT_S: Final = 10.0
MAX_WHO: Final = 64


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of what an operator may ask for. `token` is a person's, as for the operator's page; it is never kept."""

    token: str = ""

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "token")
        return f"{type(self).__name__}({', '.join(shown)})"


class Kill(Command, frozen=True, tag="kill"):
    """Take no new orders of what `name` is in a scope (gateway.clients.standing.SCOPES), and cancel all that work."""

    scope: str
    name: str
    reason: str
    who: str = ""


class Reinstate(Command, frozen=True, tag="reinstate"):
    """Lift a kill."""

    scope: str
    name: str
    reason: str
    who: str = ""


class LogOut(Command, frozen=True, tag="logout"):
    """Say goodbye to a client; it may log on again."""

    name: str
    reason: str
    who: str = ""


class Status(Command, frozen=True, tag="status"):
    """Tell of all sessions and accounts."""


class ListHolds(Command, frozen=True, tag="holds"):
    """List the hook's holds for which margin is held, or those alone that are unknown."""

    is_unknown: bool = False


class ReleaseHold(Command, frozen=True, tag="release_hold"):
    """Free a hold that is unknown: its order has ended."""

    hold: str
    reason: str
    who: str = ""


class Plan(Command, frozen=True, tag="plan"):
    """Tell what would be done to cover an account's margin again, times required_bps / 10 000; do nothing."""

    account: str
    required_bps: int = 0


class Ranking(Command, frozen=True, tag="ranking"):
    """Tell who would be deleveraged first in an instrument."""

    symbol: str


class ListLimits(Command, frozen=True, tag="limits"):
    """List the limits of an account, or of all."""

    account: str = ""


class SetLimit(Command, frozen=True, tag="set_limit"):
    """Change a limit that is `was` now; `rule` is an instrument limit's pattern or symbol. Decimals as text."""

    account: str
    key: str
    value: str
    was: str
    reason: str
    rule: str = ""
    who: str = ""
    approved_by: str = ""


class SetState(Command, frozen=True, tag="set_state"):
    """Halt an account, let it only reduce, or let it trade again."""

    account: str
    state: Literal["trading", "reducing", "halted"]
    reason: str
    who: str = ""


class ShowMargin(Command, frozen=True, tag="margin"):
    """Tell of accounts that are short of margin, their calls, and transfers on their way."""


class MoveTransfer(Command, frozen=True, tag="move_transfer"):
    """Tell what happened to a transfer of collateral: sent, settled, failed, reversed; an amount where it settled."""

    transfer: str
    happening: str
    reason: str
    amount: str = ""
    reference: str = ""
    who: str = ""
    approved_by: str = ""


class DecideMargin(Command, frozen=True, tag="decide_margin"):
    """Decide on an account: reinstated, handed over, exhausted; or, with a call, that a disputed one stands."""

    account: str
    decision: str
    reason: str
    call: str = ""
    who: str = ""


class ListTransfers(Command, frozen=True, tag="transfers"):
    """Tell of transfers that we make: wanted, awaiting approval, on their way; and of clearing houses' calls."""


class ApproveTransfer(Command, frozen=True, tag="approve_transfer"):
    """Approve of a transfer that awaits it."""

    transfer: str
    reason: str
    who: str = ""


class DeclineTransfer(Command, frozen=True, tag="decline_transfer"):
    """Have a transfer that has not begun dropped."""

    transfer: str
    reason: str
    who: str = ""


class ListBreaks(Command, frozen=True, tag="breaks"):
    """List the breaks that are open, or, `is_ended`, the last that were."""

    is_ended: bool = False


class CloseBreak(Command, frozen=True, tag="close_break"):
    """End a break that a person answers for; the accounts that it restricted stay so."""

    number: int
    reason: str
    who: str = ""


class ListParameters(Command, frozen=True, tag="parameters"):
    """List the proposals of margin parameters, and what is in force."""


class ShowParameters(Command, frozen=True, tag="show_parameters"):
    """Tell of one: what it says, its history, what it does to every account; `is_anew`: by the marks of now."""

    number: int
    is_anew: bool = False
    who: str = ""


class ProposeParameters(Command, frozen=True, tag="propose_parameters"):
    """Take a set that lies in the journal's directory, by its hash."""

    parameters_hash: str
    reason: str
    who: str = ""


class DecideParameters(Command, frozen=True, tag="decide_parameters"):
    """Decide on a set: approve, reject, activate or rollback; a rollback to 0 is to the configuration's own."""

    number: int
    decision: str
    reason: str
    who: str = ""


AnyCommand = (
    ListParameters
    | ShowParameters
    | ProposeParameters
    | DecideParameters
    | ShowMargin
    | ListTransfers
    | ApproveTransfer
    | DeclineTransfer
    | MoveTransfer
    | DecideMargin
    | Kill
    | Reinstate
    | LogOut
    | Status
    | ListHolds
    | ReleaseHold
    | ListBreaks
    | CloseBreak
    | Plan
    | Ranking
    | ListLimits
    | SetLimit
    | SetState
)
Answer = dict[str, Any]


class ControlError(Exception):
    """A command was refused, or nobody answers; the text says why."""


class ControlServer:
    """Listens in a directory that this process alone has (the journal's lock says so)."""

    def __init__(self, directory: Path, answer: Callable[[AnyCommand, str], Answer]) -> None:
        """`answer` acts on a command of a user; ControlError is told, any other exception too, and raised on."""
        self.path = directory / NAME
        self.answer = answer
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that a crash has left is replaced. Raises OSError, with the path in its text."""
        with naming(str(self.path)):
            await self._listen()

    async def _listen(self) -> None:
        listener = private_listener(self.path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), sock=listener)

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)
        for connection in list(self.connections):
            connection.close()


class _Connection(asyncio.Protocol):
    """One operator."""

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._buffer = b""
        self._commands = 0
        self._who = ""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._server.connections) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        self._server.connections.add(self)
        self._who = user_of(transport.get_extra_info("socket"))
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and not self._transport.is_closing():
            line, newline, rest = self._buffer.partition(b"\n")
            if len(line) > MAX_LINE_BYTES:
                self._say({"ok": False, "error": f"a line is at most {MAX_LINE_BYTES} bytes"})
                self.close()
            if not newline or len(line) > MAX_LINE_BYTES:
                return
            self._buffer = rest
            self._commands += 1
            self._act(line)
            if self._commands >= MAX_COMMANDS or self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self.close()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Hang up once what was said has left."""
        if self._transport is not None:
            self._transport.close()

    def _act(self, line: bytes) -> None:
        try:
            command = msgspec.convert(orjson.loads(line), AnyCommand)
        except (orjson.JSONDecodeError, msgspec.ValidationError) as error:
            self._say({"ok": False, "error": f"not a command: {error}"})
            return
        try:
            self._say({"ok": True} | self._server.answer(command, self._who))
        except ControlError as error:
            self._say({"ok": False, "error": str(error)})
        except Exception as error:
            self._say({"ok": False, "error": f"internal error: {type(error).__name__}"})
            raise

    def _say(self, answer: Answer) -> None:
        assert self._transport is not None
        self._transport.write(orjson.dumps(answer) + b"\n")

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_TIMEOUT_S, self.close)


def ask(directory: Path, command: AnyCommand) -> Answer:
    """Send one command to the gateway that has this journal directory; return its answer. Blocks.

    Raises
    ------
    ControlError
        If it refuses, or does not answer.
    FileNotFoundError, ConnectionRefusedError
        If no gateway runs there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(ANSWER_TIMEOUT_S)
        with address_of_path(directory / NAME) as address:
            end.connect(address)
        try:
            end.sendall(msgspec.json.encode(command) + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                chunk = end.recv(1 << 16)
                if not chunk:
                    raise ControlError("the gateway hung up")
                data += chunk
        except TimeoutError:
            raise ControlError(f"the gateway has not answered in {ANSWER_TIMEOUT_S:g} s") from None
        except ConnectionError as error:
            raise ControlError(f"the gateway hung up: {error.strerror}") from None
    answer: Answer = orjson.loads(data)
    if not answer.pop("ok", False):
        raise ControlError(str(answer.get("error", "refused")))
    return answer


def person(who: str, user: str = "") -> str:
    """Name who asks: what they say of themselves, and the user that the kernel says they are; ours if none is given."""
    user = user or own_user()
    return f"{who[:MAX_WHO]} ({user})" if who and who != user else user
