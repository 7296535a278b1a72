"""How a command ends that can not do what it was asked: one line on stderr that says why, and code 1; no traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup


class Commands(TyperGroup):
    """A group whose commands end in order where the machine fails them: a full disk, a reader that is gone."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that was named, and see that what it printed is written."""
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:
                _drop_stdout()
            else:
                _told(f"margingate: {of_machine(error)}")
            sys.exit(1)


def stopping_signals() -> list[signal.Signals]:
    """Return what ends a server in order; SIGHUP, of a terminal that is closed, unless nohup has it ignored."""
    hears_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hears_hangup else [])]


def fail(text: str) -> NoReturn:
    """Print why, and end with code 1."""
    _told(text)
    raise typer.Exit(1)


def of_machine(error: OSError) -> str:
    """Return what the machine says, and of which file."""
    reason = error.strerror or type(error).__name__
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


def _told(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def _drop_stdout() -> None:
    """Let what is still to be written go nowhere: the interpreter would tell, at its end, that nobody reads it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
