"""The selloff scenario, live, as an operator sees it: an account is called, killed, and refused from then on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import PROGRAM, Chromium
from tests.gateway.admin.test_page import EVENT, button, confirm, row

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine: apt-get install chromium")

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 14
PATIENCE_S = 60
CALLED = "/called|restricted|adjusting/.test({row}.cells[1].lastChild.textContent)"


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """The demo in a process, as a person starts it; what it prints of the page."""
    command = [sys.executable, "-m", "gateway.cli", "demo", "--scenario", "selloff", "--seconds", str(SECONDS)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TERM": "dumb"},
    )
    try:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if found := re.search(r"the operator\'s page: (http://127\.0\.0\.1:\d+/?#token=\S+)", line):
                yield found[1]
                break
        else:
            pytest.fail("".join(told))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def pictured(browser: Chromium, name: str) -> None:
    for width in (1280, 390):
        browser.resize(width, 900)
        assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth"), f"wider than {width}"
        if (directory := os.environ.get("MARGINGATE_SCREENSHOTS")) is not None:
            browser.screenshot(Path(directory) / f"{name}-{width}.png", is_whole=True)
    browser.resize(1280, 900)


def test_an_account_is_called_killed_and_refused(tmp_path: Path) -> None:
    with Chromium(tmp_path) as browser, demo() as page:  # the browser first: it must be there while all is well
        browser.open(page)
        browser.until(row("accounts", "SILENT"))
        is_called = CALLED.format(row=row("accounts", "SILENT"))
        browser.until(f"{row('accounts', 'SILENT')}.cells[1].lastChild.hidden || {is_called}")  # healthy, if in time
        browser.until(is_called)
        browser.until(EVENT.format(text="SILENT-M1"))
        browser.until("[...document.querySelectorAll('#calls tbody tr')].some(r => r.innerText.includes('SILENT'))")
        browser.until("document.querySelectorAll('#collateral tbody tr').length > 0")
        assert browser.ask(
            "[...document.querySelectorAll('#collateral tbody tr')].every(r => r.lastChild.innerText === '0')"
        )
        browser.until("document.querySelectorAll('#ladder td.loss').length > 5")
        pictured(browser, "selloff")
        browser.until(button("accounts", "SILENT", ".kill"))
        browser.click("#wanted")
        confirm(browser, "SILENT", "it does not answer")
        browser.until("!document.getElementById('act').open")
        browser.until(f"{row('accounts', 'SILENT')}.innerText.includes('killed')")
        refused = browser.until(f"{EVENT.format(text='ACCOUNT_HALTED')}?.innerText")
        assert "it does not answer" in refused and "SILENT" in refused
        pictured(browser, "killed")
        assert not browser.errors
