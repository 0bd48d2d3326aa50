"""Page and extension in Firefox, which shares neither code nor habits with Chromium, against the real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.webrtc.conftest import Serving
from tests.webrtc.fake_whip import FakeWhip, verdict
from tests.webrtc.firefox import Firefox, program
from tests.webrtc.test_extension import CALLS, EXTENSION
from tests.webrtc.test_page import HEADLINE, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _firefox_is_here() -> None:
    program()


def test_the_page_publishes_and_shows_the_verdict(serving: Callable[..., Serving], tmp_path: Path) -> None:
    here = serving()

    async def scene() -> None:
        async with Firefox(tmp_path) as browser:
            page = await browser.open(f"{here.server.url}#token={here.server.token}")
            assert await page.evaluate("location.href") == here.server.url
            await page.until("!document.getElementById('toggle').disabled")
            await page.evaluate("document.getElementById('toggle').click()")
            await page.until("!document.getElementById('live').hidden")
            name, session_id, receiver = (await eventually(lambda: here.told.came, 40))[0]
            await eventually(lambda: receiver.health().fps > 5)
            here.server.say(session_id, name, json.dumps(verdict("UNCERTAIN")))
            await page.until(f"{HEADLINE}.startsWith('Uncertain')")
            device = await eventually(lambda: here.server.sessions()[0].device)
            assert device.width_px == receiver.health().width
            await page.evaluate("document.getElementById('toggle').click()")
            await eventually(lambda: here.told.went)

    asyncio.run(scene())


def test_the_extension_publishes_a_call(serving: Callable[..., Serving], tmp_path: Path) -> None:
    here = serving()

    async def scene() -> None:
        async with FakeWhip(CALLS) as site, Firefox(tmp_path) as browser:
            await browser.install(EXTENSION)
            options = await browser.tab_of("moz-extension:")
            await options.until("document.getElementById('endpoint').value")
            settings = {"on": True, "endpoint": here.server.url.rstrip("/"), "token": here.server.token}
            settings["origins"] = [site.origin]
            await options.evaluate(f"chrome.storage.local.set({json.dumps(settings)})")
            await options.until("chrome.scripting.getRegisteredContentScripts().then(all => all.length === 2)")
            await browser.open(f"{site.origin}/call.html?me=Grace&with=Ada&camera=1&calls=1")
            ada = await browser.open(f"{site.origin}/call.html?me=Ada&with=Grace")
            await ada.until("document.getElementById('remote').videoWidth > 0")
            assert await ada.evaluate("pc instanceof RTCPeerConnection && pc.constructor === RTCPeerConnection")
            name, _, receiver = (await eventually(lambda: here.told.came, 40))[0]
            assert name == "Grace"
            await eventually(lambda: receiver.health().fps > 5)
            await options.evaluate("chrome.storage.local.set({on: false})")
            await eventually(lambda: here.told.went)
            assert await ada.evaluate("problems") == []

    asyncio.run(scene())
