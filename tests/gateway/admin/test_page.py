"""The page in a real browser against a real gateway: looked at, and acted with."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.chromium import PROGRAM, Chromium
from tests.gateway.admin.rig import TOKENS, WITH_TOKENS, admin_of, with_admin
from tests.gateway.live import TcpClient, live, run

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine: apt-get install chromium")

ROW = "[...document.querySelectorAll('#{table} tbody tr')].find(r => r.cells[0].textContent === '{name}')"
EVENT = "[...document.querySelectorAll('#orders tbody tr')].find(r => r.innerText.includes('{text}'))"


def row(table: str, name: str) -> str:
    return ROW.format(table=table, name=name)


def button(table: str, name: str, kind: str) -> str:
    """Mark a row's button, so that a selector finds it."""
    return f"(() => {{ const b = {row(table, name)}.querySelector('{kind}'); b.id = 'wanted'; return true; }})()"


def confirm(browser: Chromium, name: str, reason: str) -> None:
    browser.until("document.getElementById('act').open")
    browser.type("#act-reason", reason)
    browser.type("#act-confirm", name[:-1])
    assert browser.ask("document.getElementById('act-go').disabled"), "half a name confirms nothing"
    browser.type("#act-confirm", name)
    browser.click("#act-go")


def test_an_account_is_killed_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with live(tmp_path, monkeypatch, extra="[monitor]\nreport_interval_ms = 100\n" + WITH_TOKENS) as gateway:
            desk = await (await TcpClient().connect(gateway.port)).log_on()
            desk.order(price=gateway.price(0.99), quantity=10)
            desk.order(quantity=10_000_000)
            await desk.until(lambda: len(desk.told) >= 2)
            async with admin_of(with_admin(gateway.app.config, tmp_path)) as (_, url):
                browser = await asyncio.to_thread(Chromium, tmp_path)
                try:
                    await asyncio.to_thread(looked_and_killed, browser, url)
                    told = len(desk.told)
                    desk.order(price=gateway.price(0.99), quantity=10, cl_ord_id="after-the-kill")
                    await desk.until(lambda: any(m.get(11) == b"after-the-kill" for m in desk.told[told:]))
                    (refused,) = [m for m in desk.told[told:] if m.get(11) == b"after-the-kill"]
                    assert refused.get(39) == b"8" and b"killed" in refused.get(58)
                    await asyncio.to_thread(saw_the_refusal, browser)
                    await asyncio.to_thread(stopped_the_firm, browser)
                finally:
                    await asyncio.to_thread(browser.__exit__, None, None, None)

    run(scenario())


def looked_and_killed(browser: Chromium, url: str) -> None:
    browser.open(url)
    browser.until("document.getElementById('login').open")
    browser.type("#token", "nobody's")
    browser.click("#login button")
    browser.until("document.getElementById('login-error').textContent === 'This token is not known.'")
    browser.errors.clear()  # the browser tells of the 401
    browser.type("#token", TOKENS["rita"][1])
    browser.click("#login button")
    browser.until(row("accounts", "alpha"))
    browser.until(f"{row('accounts', 'alpha')}.innerText.includes('%')")
    browser.until(EVENT.format(text="QUANTITY_ABOVE_LIMIT"))
    assert "100,000" in browser.ask(f"{EVENT.format(text='QUANTITY_ABOVE_LIMIT')}.innerText")
    browser.until("document.querySelectorAll('#ladder td.loss').length > 5")
    browser.until("document.querySelector('#history path.equity')?.getAttribute('d').includes('L')")
    for selector in ("#venues", "#latency", "#sessions"):
        browser.until(f"document.querySelector('{selector} tbody tr') !== null")
    for width, is_dark in ((1280, False), (1280, True), (390, False)):
        browser.resize(width, 900, is_dark=is_dark)
        assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth"), f"wider than {width}"
        if (directory := os.environ.get("MARGINGATE_SCREENSHOTS")) is not None:
            browser.screenshot(Path(directory) / f"page-{width}{'-dark' if is_dark else ''}.png", is_whole=True)
    browser.resize(1280, 900)
    browser.until(button("accounts", "alpha", ".kill"))
    browser.click("#wanted")
    confirm(browser, "alpha", "fat finger")
    browser.until("!document.getElementById('act').open")
    browser.until(f"{row('accounts', 'alpha')}.innerText.includes('killed')")


def stopped_the_firm(browser: Chromium) -> None:
    """What has no row is stopped by its name, typed twice; what is stopped is lifted where it is told."""
    browser.click("#stop")
    browser.until("document.getElementById('act').open")
    browser.ask("document.getElementById('stop-scope').value = 'firm'")
    browser.type("#act-reason", "drill")
    browser.type("#stop-name", "test")
    browser.type("#act-confirm", "test")
    browser.click("#act-go")
    browser.until("!document.getElementById('act').open")
    browser.until("document.getElementById('killed').textContent.includes('firm test')")
    browser.click("#lifts button")
    confirm(browser, "test", "drill over")
    browser.until("!document.getElementById('act').open")
    browser.until("document.querySelector('#lifts button') === null")


def saw_the_refusal(browser: Chromium) -> None:
    browser.until(EVENT.format(text="killed by rita"))
    assert "fat finger" in browser.until(f"{EVENT.format(text='ACCOUNT_HALTED')}?.innerText")
    assert not browser.errors
