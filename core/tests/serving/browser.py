"""A headless Chromium, driven over a pipe with its DevTools protocol. Nothing but the standard library; ended whatever happens."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Browser", "browser", "chromium"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "--window-size=1200,1000",
)
LIMIT_s = 60


def chromium() -> str | None:
    """The program, if this machine has it."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._numbers = itertools.count(1)
        self._rest = b""
        self.log: list[str] = []
        """What the page complained about."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self._call(f"{domain}.enable", session=self._session)

    def open(self, url: str) -> None:
        """Go there; the page's scripts run from now on."""
        self._call("Page.navigate", session=self._session, url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """A JavaScript expression's value, awaited if it is a promise. Raises AssertionError for what it throws."""
        answer = self._call(
            "Runtime.evaluate",
            session=self._session,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true: asked in the page itself, with each of its frames."""
        waited = f"""new Promise((resolve, reject) => {{
            const end = performance.now() + {LIMIT_s * 1000};
            const look = () => ({expression}) ? resolve(true)
                : performance.now() > end ? reject(new Error("never true")) : setTimeout(look, 50);
            look(); }})"""
        assert self.value(waited) is True

    def resize(self, width: int, height: int) -> None:
        """Look at it on a screen of this size."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            session=self._session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        data = self._call("Page.captureScreenshot", session=self._session, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Close the pipe, which ends the browser."""
        self._out.close()
        self._in.close()

    def _call(self, method: str, *, session: str | None = None, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _note(self, event: Any) -> None:
        if event.get("method") == "Log.entryAdded":
            self.log.append(event["params"]["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.log.append(event["params"]["exceptionDetails"]["exception"]["description"])

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            data = os.read(self._in.fileno(), 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser() -> Iterator[Browser]:
    """A new browser without a past. Chromium reads from descriptor 3 and writes to 4."""
    program = chromium()
    assert program is not None
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shell = f'exec "$@" 3<&{to_read} 4>&{from_write}'
        command = ["/bin/bash", "-c", shell, "bash", program, *_FLAGS, f"--user-data-dir={folder}"]
        process = subprocess.Popen(
            command, pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(from_write)
        try:
            page = Browser(to_write, from_read)
            yield page
            page.close()
            process.wait(30)
        finally:
            process.kill()
            process.wait()
