"""What the operator's process costs the order path: p99 with page, scraper and alerts beside it, and without.

`python -m tests.bench.beside [--rounds N]`. Rounds with and without are taken in turns against one gateway on one core;
the operator's process, who asks it and who makes alerts share the peer's core, as they would any but the gateway's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from gateway.admin.tokens import token_hash
from gateway.operators.channel import Kill, Reinstate, ask
from tests.bench.wire import ROOT, Gateway, cores, peer_command, pinned

BUDGET: Final = 1.3
ROUNDS: Final = 9
ORDERS: Final = 6_000
ALERTS_PER_S: Final = 10
LOOKS_PER_S: Final = 1
SCRAPE_INTERVAL_S: Final = 1.0
TOKEN: Final = "bench-token-0123456789"
START_TIMEOUT_S: Final = 30


class Beside:
    """The operator's process and its users: a page, a scraper, and ten alerts a second."""

    def __init__(self, directory: Path, core: int) -> None:
        self._directory = directory
        self._core = core
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.asked = {"looks": 0, "scrapes": 0, "alerts": 0}
        self._url = ""
        options = ["--port", "0", "--status-json"]
        with pinned(core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "admin", str(directory / "bench.toml"), *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=ROOT,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the operator's process did not begin")
        self._url = orjson.loads(line)["url"]
        threading.Thread(target=self._process.stdout.read, daemon=True).start()

    def begin(self) -> None:
        """Look, scrape and alert from now on."""
        self._over.clear()
        acts = ((1 / LOOKS_PER_S, self._look), (SCRAPE_INTERVAL_S, self._scrape), (1 / ALERTS_PER_S, self._alert))
        self._threads = [threading.Thread(target=self._again, args=act) for act in acts]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Leave it alone."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """End the process."""
        self.end()
        self._process.terminate()
        self._process.wait(START_TIMEOUT_S)

    def _again(self, interval_s: float, act: Any) -> None:
        os.sched_setaffinity(threading.get_native_id(), {self._core})
        due_s = time.monotonic()
        while not self._over.is_set():
            act()
            due_s += interval_s
            self._over.wait(max(0.0, due_s - time.monotonic()))

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(self._url + path, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
            data: bytes = answer.read()
            return data

    def _look(self) -> None:
        self._get("api/v1/view")
        self.asked["looks"] += 1

    def _scrape(self) -> None:
        assert b"margingate_up 1.0" in self._get("metrics")
        self.asked["scrapes"] += 1

    def _alert(self) -> None:
        """A kill of an account that nobody uses, and its end: each is an alert."""
        command = Kill if self.asked["alerts"] % 2 == 0 else Reinstate
        ask(self._directory / "journal", command("account", "IDLE", f"alert {self.asked['alerts']}"))
        self.asked["alerts"] += 1


def measure_beside(rounds: int = ROUNDS, orders: int = ORDERS) -> dict[str, Any]:
    """Return p50 and p99 in us of orders that pass, with and without, and the median ratio of pairs."""
    gateway_core, peer_core = cores()
    peer, _ = peer_command()
    runs: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    with Gateway(gateway_core, False, extra=write_admin) as gateway:
        beside = Beside(gateway.directory, peer_core)
        try:
            for mode in ("reject", "accept"):  # everything once before anything is timed
                gateway.run(peer, peer_core, mode, 1_000, 8)
            for number in range(rounds):
                for is_on in (True, False) if number % 2 else (False, True):
                    if is_on:
                        beside.begin()
                    runs[is_on].append(gateway.run(peer, peer_core, "accept", orders, 1))
                    if is_on:
                        beside.end()
        finally:
            beside.close()
    ratios = [on["p99_ns"] / off["p99_ns"] for on, off in zip(runs[True], runs[False], strict=True)]
    figures: dict[str, Any] = {"ratio": median(ratios), "best_ratio": min(ratios), "asked": beside.asked}
    for is_on, name in ((True, "with"), (False, "without")):
        for key in ("p50", "p99"):
            figures[f"{name}_{key}_us"] = median(run[f"{key}_ns"] for run in runs[is_on]) / 1000
    return figures


def write_admin(directory: Path) -> str:
    """Write the tokens of a bench's gateway; return what its configuration says besides."""
    path = directory / "tokens.toml"
    path.touch(mode=0o600)
    path.write_text(f'[[token]]\nperson = "bench"\nrole = "viewer"\nsha256 = "{token_hash(TOKEN).hex()}"\n')
    return (
        '\n[[account]]\nname = "IDLE"\n[account.limits]\nmax_order_notional_usd = 1\n'
        'instrument = [{ pattern = "*", max_order_quantity = 1, max_position_quantity = 1 }]\n'
        '[admin]\ntokens_file = "tokens.toml"\n'
    )


def told(figures: dict[str, Any]) -> str:
    """Return the figures as a line."""
    bound = "met" if figures["ratio"] <= BUDGET else "MISSED"
    return (
        f"p99 of an accepted order: {figures['without_p99_us']:,.0f} us alone, {figures['with_p99_us']:,.0f} us with "
        f"the page looked at, metrics scraped and {ALERTS_PER_S} alerts a second: {figures['ratio']:.2f} x "
        f"<= {BUDGET} {bound}"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    figures = measure_beside(parser.parse_args().rounds)
    print(told(figures))
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
