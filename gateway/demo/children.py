"""Child processes of the demo: started, read line by line, stopped in order, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

STDERR_LINES: Final = 12
# A snapshot of a hundred accounts is some 20 KiB.
MAX_LINE_BYTES: Final = 1 << 20
# Between a polite request to stop and the end.
KILL_GRACE_S: Final = 3.0
ROOT: Final = Path(__file__).resolve().parents[2]


class ChildDiedError(Exception):
    """A child ended by itself, or is not doing what it was started for; the text says which and how."""


class Child:
    """One `python -m MODULE ...`. Each JSON line that it writes goes to `take`; the end of its stderr is kept."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, take: Callable[[dict[str, Any]], None]) -> None:
        self.name = name
        self._process = process
        self._take = take
        self._errors: deque[str] = deque(maxlen=STDERR_LINES)
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        self.ended = asyncio.create_task(self._wait())

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: list[str],
        take: Callable[[dict[str, Any]], None],
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a module of ours with this interpreter.

        In a session of its own, so that Ctrl-C reaches the demo alone, which stops its children in order. Should the
        demo be killed, each child notices that its pipes are closed, and ends.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        return cls(name, process, take)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative for a signal, None while it runs."""
        return self._process.returncode

    def say(self, word: str) -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None and self.is_running:
            self._process.stdin.write(word.encode() + b"\n")

    def last_words(self) -> str:
        """What it wrote to stderr last, and how it ended."""
        code = self._process.returncode
        how = "is not ready" if code is None else f"ended with code {code}" if code >= 0 else f"died of signal {-code}"
        return "\n".join([f"{self.name} {how}", *(f"    {line}" for line in self._errors)])

    async def stop(self, timeout_s: float) -> None:
        """Ask it to end, and wait so long; ChildDiedError where it did not, or not well."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(self.ended), timeout_s)
        except TimeoutError:
            raise ChildDiedError(f"{self.name} did not stop within {timeout_s:g} s") from None
        if self._process.returncode:
            raise ChildDiedError(self.last_words())

    async def end(self) -> None:
        """Make sure that it is gone, whatever it takes."""
        if self.is_running:
            with contextlib.suppress(ChildDiedError):
                await self.stop(KILL_GRACE_S)
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.ended

    async def _wait(self) -> None:
        await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            try:
                self._take(orjson.loads(line))
            except orjson.JSONDecodeError:  # not meant for us, and perhaps the reason of what comes next
                self._errors.append(line.decode(errors="replace").rstrip())

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._errors.append(line.decode(errors="replace").rstrip())
