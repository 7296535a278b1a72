"""Fits that the gateway starts by itself, at a time of day or when the marks have drifted, each in its own process.

The process gets the directory of price files and writes a fit beside the journal; what it wrote is checked and proposed
like anybody's. It decides nothing. Off unless `parameters.data_directory` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from gateway.core import Core
from gateway.journal import JournalError
from gateway.parameters.decisions import floors_of
from gateway.parameters.file import hash_of
from gateway.parameters.running import GATEWAY
from risk.parameter_life import ParameterError
from risk.parameter_set import Floors
from risk.periods import Periods

NS_PER_S: Final = 1_000_000_000
DAY_S: Final = 86_400
LOOK_S: Final = 1.0
# Drift asks for one fit, not for one a minute.
LEAST_PAUSE_NS: Final = 6 * 3_600 * NS_PER_S
# Orders come first where both share a processor.
NICENESS: Final = 15
# What of our environment it needs; credentials are not among it.
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "MARGINGATE_PURE")
_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COMMAND: Final = (sys.executable, "-m", "gateway.parameters.scheduled_fits")


class FitTimes:
    """When a fit is due: once at a time of day (UTC), and on drift with a pause between."""

    def __init__(self, fit_at: str | None, on_drift: bool, now_ns: int) -> None:
        self._at_s = None if fit_at is None else seconds_of(fit_at)
        self._on_drift = on_drift
        self._last_ns = now_ns
        self._drift_fit_ns = now_ns - LEAST_PAUSE_NS

    def is_due(self, now_ns: int, is_drifting: bool) -> str:
        """Return why a fit is due; empty where none is. Asked again, the same one is not due a second time."""
        last_ns, self._last_ns = self._last_ns, now_ns
        if self._at_s is not None:
            at_ns = (now_ns // NS_PER_S // DAY_S * DAY_S + self._at_s) * NS_PER_S
            if last_ns < at_ns <= now_ns:
                return "nightly"
        if self._on_drift and is_drifting and now_ns - self._drift_fit_ns >= LEAST_PAUSE_NS:
            self._drift_fit_ns = now_ns
            return "drift"
        return ""


def seconds_of(time_of_day: str) -> int:
    """Return the seconds since midnight of a time as 08:00 or 08:00:30."""
    hours, minutes, seconds = (*map(int, time_of_day.split(":")), 0)[:3]
    return hours * 3600 + minutes * 60 + seconds


class ScheduledFits:
    """Starts fits when they are due, one at a time, and proposes what they leave."""

    def __init__(self, core: Core, clock: Callable[[], int], command: tuple[str, ...] = COMMAND) -> None:
        given = core.config.parameters
        assert given.data_directory is not None
        self._core, self._clock, self._command = core, clock, command
        self._data, self._timeout_s = given.data_directory, given.fit_timeout_s
        self._times = FitTimes(given.fit_at, given.fit_on_drift, clock())
        self.started = self.proposed = 0

    async def run(self) -> None:
        """Look at the time, for ever; a fit that fails is told of, and the next is due as ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            why = self._times.is_due(self._clock(), self._core.parameters.is_drifting)
            if not why:
                continue
            try:
                await self.fit_once(why)
            except (OSError, ValueError, JournalError) as error:
                self._core.monitor.alert(f"parameters: the fit ({why}) came to nothing: {error}")

    async def fit_once(self, why: str) -> int:
        """Fit, and propose; return the proposal's number.

        Raises ValueError (ParameterError) where the fit failed or what it left is refused, OSError, JournalError.
        """
        self.started += 1
        out = self._core.config.gateway.journal_directory / "parameters" / "fit"
        content = await self._content(out)
        parameters = self._core.parameters
        try:
            number = parameters.propose(content, hash_of(content), version("margingate"), GATEWAY, why, self._clock())
        finally:
            shutil.rmtree(out, ignore_errors=True)
        self.proposed += 1
        return number

    async def _content(self, out: Path) -> bytes:
        shutil.rmtree(out, ignore_errors=True)
        process = await asyncio.create_subprocess_exec(
            *self._command,
            str(self._data),
            str(out),
            repr(self._core.config.house.mpor_days),
            msgspec.json.encode(floors_of(self._core.config)).decode(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _THREADS,
            start_new_session=True,
        )
        try:
            content, said = await asyncio.wait_for(process.communicate(), self._timeout_s)
        except TimeoutError:
            raise ParameterError(f"it took more than {self._timeout_s} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            lines = said.decode(errors="replace").strip().splitlines()
            raise ParameterError(
                f"it ended with {process.returncode}: {lines[-1][:200] if lines else 'and said nothing'}"
            )
        return content


def main(arguments: list[str]) -> None:
    """Fit a directory of price files into another, and say the parameters' file: the process that was started."""
    from gateway.backtest.study import Data  # late: the gateway itself needs no learning library
    from gateway.fit import artifacts, study
    from risk.learning.champion import ChampionRules

    os.nice(NICENESS)
    data, out, horizon_days = Path(arguments[0]), Path(arguments[1]), float(arguments[2])
    floors = msgspec.json.decode(arguments[3], type=Floors)
    read = Data.read(data)
    # The tables of all horizons are for people; whose volatility acts is decided here too.
    periods = Periods(horizon_days, floors.by_product)
    rules = ChampionRules()
    found = study.fit(read, contests=False, periods=periods, also_days=floors.also_days, champions=rules, floors=floors)
    artifacts.write(out, found, read)
    sys.stdout.buffer.write(artifacts.verified(out, data))


if __name__ == "__main__":
    main(sys.argv[1:])
