"""Headless Chromium for tests, driven by its DevTools protocol over a websocket: nothing but aiohttp.

async with Chromium(tmp_path) as browser:
    page = await browser.open("http://127.0.0.1:8000/")
    assert await page.evaluate("document.title") == "unmask"
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import pytest

START_S = 40.0
REPLY_S = 30.0
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """The browser of this machine; skips the test where there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(PROGRAMS)} here; on Debian: apt-get install chromium")
    return found


class Page:
    """One target (a page, a popup, a service worker), attached."""

    def __init__(self, browser: Chromium, session_id: str, target_id: str) -> None:
        self.browser, self.session_id, self.target_id = browser, session_id, target_id
        self.console: list[str] = []
        """Errors, warnings and exceptions that the page gave to its console."""

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self.browser.send(method, session_id=self.session_id, **parameters)

    async def evaluate(self, expression: str, *, gesture: bool = True) -> Any:
        """The JSON value of `expression`, awaited where it is a promise. Raises RuntimeError where it throws."""
        reply = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=gesture
        )
        if "exceptionDetails" in reply:
            details = reply["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return reply["result"].get("value")

    async def until(self, expression: str, within_s: float = 20.0) -> Any:
        """Ask again and again until `expression` is truthy, and return its value."""
        deadline = time.monotonic() + within_s
        while True:
            value = await self.evaluate(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {within_s:.0f} s: {expression}; console: {self.console}")
            await asyncio.sleep(0.1)

    async def screenshot(self, path: Path) -> Path:
        """The whole page as PNG."""
        reply = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(reply["data"]))
        return path

    async def close(self) -> None:
        await self.browser.send("Target.closeTarget", targetId=self.target_id)


class Chromium:
    """One browser with a profile of its own under `folder`. `camera` is a Y4M or MJPEG file; `extension` a folder."""

    def __init__(
        self, folder: Path, *, camera: Path | None = None, extension: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        self._profile = folder / "chromium"
        self._flags = [
            program(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--mute-audio",
            "--remote-debugging-port=0",
            f"--user-data-dir={self._profile}",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            "--disable-features=DisableLoadExtensionCommandLineSwitch",
            *flags,
        ]
        if camera is not None:
            self._flags.append(f"--use-file-for-fake-video-capture={camera}")
        if extension is not None:
            self._flags += [f"--load-extension={extension}", f"--disable-extensions-except={extension}"]
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def __aenter__(self) -> Chromium:
        self._profile.mkdir(parents=True, exist_ok=True)
        home = {**os.environ, "HOME": str(self._profile), "XDG_CONFIG_HOME": str(self._profile)}
        self._process = subprocess.Popen(
            [*self._flags, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=home,
        )
        try:
            self._http = aiohttp.ClientSession()
            self._socket = await self._http.ws_connect(await self._address(), max_msg_size=0)
        except BaseException:
            await self._http.close()
            self._kill()
            raise
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with contextlib.suppress(Exception):
            await self.send("Browser.close")
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self._reader
        await self._socket.close()
        await self._http.close()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    async def _address(self) -> str:
        port_file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            lines = port_file.read_text().split() if port_file.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            if self._process.poll() is not None:
                raise RuntimeError(f"Chromium ended with status {self._process.returncode}")
            await asyncio.sleep(0.05)
        raise TimeoutError(f"Chromium did not answer within {START_S:.0f} s")

    async def send(self, method: str, session_id: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its result. Raises RuntimeError where Chromium refuses."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session_id is not None:
            message["sessionId"] = session_id
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            await self._socket.send_str(json.dumps(message))
            return await asyncio.wait_for(reply, REPLY_S)
        finally:
            del self._waiting[number]

    async def _read(self) -> None:
        async for message in self._socket:
            document = json.loads(message.data)
            waiting = self._waiting.get(document.get("id", 0))
            if waiting is not None and not waiting.done():
                if "error" in document:
                    waiting.set_exception(RuntimeError(document["error"]["message"]))
                else:
                    waiting.set_result(document["result"])
            page = self._pages.get(document.get("sessionId", ""))
            if page is not None:
                _note(page, document.get("method"), document.get("params", {}))

    async def attach(self, target_id: str) -> Page:
        reply = await self.send("Target.attachToTarget", targetId=target_id, flatten=True)
        page = Page(self, reply["sessionId"], target_id)
        self._pages[page.session_id] = page
        await page.send("Runtime.enable")
        return page

    async def open(self, url: str, *, width: int = 1200, height: int = 1000) -> Page:
        """A new tab at `url`, once it is loaded."""
        reply = await self.send("Target.createTarget", url="about:blank")
        page = await self.attach(reply["targetId"])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await page.send("Emulation.setDeviceMetricsOverride", **size)
        await page.send("Log.enable")
        await page.send("Page.enable")
        await page.send("Page.navigate", url=url)
        await page.until("location.href !== 'about:blank' && document.readyState === 'complete'")
        return page

    async def targets(self, kind: str) -> AsyncIterator[dict[str, Any]]:
        for target in (await self.send("Target.getTargets"))["targetInfos"]:
            if target["type"] == kind:
                yield target

    async def service_worker(self, within_s: float = 20.0) -> Page:
        """The background worker of the extension that is loaded."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            async for target in self.targets("service_worker"):
                if target["url"].startswith("chrome-extension://"):
                    worker = await self.attach(target["targetId"])
                    await worker.until("typeof chrome === 'object' && 'storage' in chrome")
                    return worker
            await asyncio.sleep(0.1)
        raise TimeoutError("the extension was not loaded")


def _note(page: Page, method: str | None, parameters: dict[str, Any]) -> None:
    if method == "Runtime.exceptionThrown":
        details = parameters["exceptionDetails"]
        page.console.append(details.get("exception", {}).get("description") or details["text"])
    elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
        page.console.append(" ".join(str(one.get("value", one.get("description"))) for one in parameters["args"]))
    elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
        page.console.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
