"""Debian's Chromium without a screen, driven by the DevTools protocol over its WebSocket: real clicks, real keys."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

PATIENCE_S: Final = 60.0
PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=1280,900",
)  # fmt: skip


class Chromium:
    """One browser with one page. Blocks: in a test with a loop it lives in a thread."""

    def __init__(self, directory: Path) -> None:
        assert PROGRAM is not None
        profile = directory / "profile"
        command = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._number = 0
        self._open_ends = contextlib.ExitStack()
        self.errors: list[str] = []  # what the page's console says is wrong
        try:
            self._end = self._connected(profile / "DevToolsActivePort")
            for domain in ("Page", "Runtime", "Log"):
                self._call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("Browser.close")
            self._open_ends.close()
            self._process.wait(PATIENCE_S)
        except Exception:
            self._process.kill()
            self._process.wait()

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("Page.navigate", url=url)

    def ask(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true in the page; return it. One that fails is not true yet."""
        deadline = time.monotonic() + PATIENCE_S
        tried = f"(() => {{ try {{ const v = {script}; return v instanceof Node || v; }} catch {{ return null; }} }})()"
        while not (found := self.ask(tried)):
            assert time.monotonic() < deadline, f"never true: {script}; {self.ask('document.body.innerText')[:2000]}"
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element that can be seen; again, if the page has moved away below it."""
        quoted, deadline = json.dumps(selector), time.monotonic() + PATIENCE_S
        self.until(f"!!document.querySelector({quoted})")
        is_clicked = False
        while not is_clicked:
            assert time.monotonic() < deadline, f"{selector} is never where it was"
            x, y = self.ask(
                f"(() => {{ const e = document.querySelector({quoted}); e.scrollIntoView({{block: 'center'}});"
                "isClicked = false; e.addEventListener('click', () => { isClicked = true }, {once: true});"
                "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
            )
            for kind in ("mousePressed", "mouseReleased"):
                self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            is_clicked = self.ask("isClicked")

    def type(self, selector: str, text: str) -> None:
        """Click into a field, and type in the place of what is there."""
        self.click(selector)
        self.ask(f"document.querySelector({json.dumps(selector)}).select()")
        self._call("Input.insertText", text=text)

    def resize(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Be a window of this size, on a desktop of light or dark colours."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path, *, is_whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        told = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def _connected(self, port_file: Path) -> ClientConnection:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                port = int(port_file.read_text().splitlines()[0])
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                    pages = [page for page in json.load(answer) if page["type"] == "page"]
                url = pages[0]["webSocketDebuggerUrl"]
                return self._open_ends.enter_context(connect(url, max_size=64 << 20, proxy=None))
            except (OSError, LookupError, ValueError):
                assert self._process.poll() is None, f"chromium ended with {self._process.returncode}"
                assert time.monotonic() < deadline, "chromium does not answer"
                time.sleep(0.05)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._end.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            told = json.loads(self._end.recv(PATIENCE_S))
            if told.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(told["params"]["exceptionDetails"]))
            if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.errors.append(str(told["params"]["entry"]))
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                result: dict[str, Any] = told["result"]
                return result
