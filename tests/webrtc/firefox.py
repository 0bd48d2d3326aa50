"""Headless Firefox for tests, driven by WebDriver BiDi over a websocket: nothing but aiohttp.

async with Firefox(tmp_path) as browser:
    page = await browser.open("http://127.0.0.1:8000/")
    assert await page.evaluate("document.title") == "unmask"
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import pytest

START_S = 60.0
REPLY_S = 40.0
PROGRAMS = ("firefox-esr", "firefox")
PREFERENCES: dict[str, bool | int | str] = {
    "remote.active-protocols": 1,
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.normandy.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


def program() -> str:
    """The browser of this machine; skips the test where there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(PROGRAMS)} here; on Debian: apt-get install firefox-esr")
    return found


class Tab:
    """One tab."""

    def __init__(self, browser: Firefox, context: str) -> None:
        self.browser, self.context = browser, context

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of `expression`, awaited where it is a promise. Raises RuntimeError where it throws."""
        reply = await self.browser.send(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then(value => JSON.stringify(value ?? null))",
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if reply["type"] != "success":
            raise RuntimeError(reply["exceptionDetails"]["text"])
        return json.loads(reply["result"]["value"])

    async def until(self, expression: str, within_s: float = 30.0) -> Any:
        """Ask again and again until `expression` is truthy, and return its value."""
        deadline = time.monotonic() + within_s
        while not (value := await self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {within_s:.0f} s: {expression}")
            await asyncio.sleep(0.1)
        return value


class Firefox:
    """One browser with a profile of its own under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._profile = folder / "firefox"
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Firefox:
        arguments = [program(), "--headless", "--no-remote", "--profile", str(self._profile)]
        self._profile.mkdir(parents=True)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (self._profile / "user.js").write_text("\n".join(lines))
        log = self._profile / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*arguments, "--remote-debugging-port", "0"],
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, "HOME": str(self._profile)},
            )
        self._http = aiohttp.ClientSession()
        try:
            address = await self._address(log)
            self._socket = await self._http.ws_connect(f"{address}/session", max_msg_size=0)
        except BaseException:
            await self._http.close()
            self._kill()
            raise
        self._reader = asyncio.create_task(self._read())
        await self.send("session.new", capabilities={})
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self._reader
        await self._socket.close()
        await self._http.close()
        await asyncio.to_thread(self._kill)

    async def _address(self, log: Path) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = re.search(r"WebDriver BiDi listening on (ws://\S+)", log.read_text(errors="replace"))
            if found:
                return found[1]
            if self._process.poll() is not None:
                raise RuntimeError(f"Firefox ended with status {self._process.returncode}")
            await asyncio.sleep(0.1)
        raise TimeoutError(f"Firefox did not answer within {START_S:.0f} s")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its result. Raises RuntimeError where Firefox refuses."""
        number = next(self._numbers)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
            document = await asyncio.wait_for(reply, REPLY_S)
        finally:
            del self._waiting[number]
        if document["type"] == "error":
            raise RuntimeError(f"{method}: {document['message']}")
        result: dict[str, Any] = document["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            document = json.loads(message.data)
            waiting = self._waiting.get(document.get("id", 0))
            if waiting is not None and not waiting.done():
                waiting.set_result(document)

    async def install(self, folder: Path) -> None:
        """Load an extension until the browser ends."""
        await self.send("webExtension.install", extensionData={"type": "path", "path": str(folder)})

    async def open(self, url: str) -> Tab:
        """A new tab at `url`, once it is loaded."""
        reply = await self.send("browsingContext.create", type="tab")
        await self.send("browsingContext.navigate", context=reply["context"], url=url, wait="complete")
        return Tab(self, reply["context"])

    async def tab_of(self, scheme: str, within_s: float = 20.0) -> Tab:
        """The first tab whose address begins so."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for context in (await self.send("browsingContext.getTree"))["contexts"]:
                if context["url"].startswith(scheme):
                    return Tab(self, context["context"])
            await asyncio.sleep(0.1)
        raise TimeoutError(f"no tab at {scheme} within {within_s:.0f} s")
