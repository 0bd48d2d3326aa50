#!/usr/bin/env python3
"""Draw `docs/images/browser.png`: the page in a real Chromium, and the extension's popup beside it.

    .venv/bin/python scripts/browser_picture.py [--out FILE]

Page and popup are the real ones; the server is the one of the tests, so the verdicts are scripted: an example, not a
measurement. The face is scikit-image's public-domain portrait of Eileen Collins (NASA), animated. Needs Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from tests.media import Video, write_video  # noqa: E402
from tests.webrtc.chromium import Chromium, Page  # noqa: E402
from tests.webrtc.fake_whip import TOKEN, FakeWhip, document, verdict  # noqa: E402

DEFAULT_OUT = REPO / "docs" / "images" / "browser.png"
EXTENSION = REPO / "gui" / "extension"
CAMERA = "webcam.mjpeg"
FRAMES, FPS = 90, 30
GAP_PX = 24
LABEL = """[MediaStreamTrack, MediaDeviceInfo].forEach(one =>
    Object.defineProperty(one.prototype, 'label', {get: () => 'Integrated Camera'}))"""
"""Chromium calls a camera that plays a file by the file's path."""


def write_camera(folder: Path) -> tuple[float, float, float, float]:
    """The portrait as a camera of Chromium, and where its face is, as fractions of the picture."""
    from monitor.sources.synthetic import DemoScene

    scene = DemoScene(forged=False)
    image, outlines = scene.render(0.0)
    height, width = image.shape[:2]
    (x0, y0), (x1, y1) = outlines[0].min(0), outlines[0].max(0)
    video = Video(FRAMES, width, height, FPS, codec="mjpeg", pixels="yuvj420p", container="mjpeg")
    write_video(folder / CAMERA, video, (scene.render(at / FPS)[0] for at in range(FRAMES)))
    return float(x0 / width), float(y0 / height), float(x1 / width), float(y1 / height)


async def screenshots(folder: Path) -> tuple[Path, Path]:
    box = write_camera(folder)
    async with (
        FakeWhip() as server,
        FakeWhip(REPO / "tests" / "webrtc") as site,
        Chromium(folder, camera=folder / CAMERA, extension=EXTENSION) as browser,
    ):
        server.says = document([{"track_id": 1, "state": "NO_SIGN", "suspicion": 0.08, "reasons": [], "box": box}])
        page = await browser.open(f"{server.origin}/#token={TOKEN}", width=1040, height=760)
        await page.until("!document.getElementById('toggle').disabled")
        await browser.service_worker()
        await browser.send("Target.activateTarget", targetId=page.target_id)  # the options came before it
        await page.evaluate(LABEL)
        await page.evaluate("document.getElementById('toggle').click()")
        await page.until("document.getElementById('facts').innerText.includes('vary')")
        await page.screenshot(folder / "page.png")

        worker = await browser.service_worker()
        settings = f"{{on: true, endpoint: '{server.origin}', token: '{TOKEN}', origins: ['{site.origin}']}}"
        await worker.evaluate(f"chrome.storage.local.set({settings})")
        await worker.until("chrome.scripting.getRegisteredContentScripts().then(all => all.length === 2)")
        grace = await browser.open(f"{site.origin}/call.html?me=Grace Hopper&with=Ada&camera=1&calls=1")
        await grace.until("!!window.sender")
        ada = await browser.open(f"{site.origin}/call.html?me=Ada&with=Grace Hopper")
        await ada.until("document.getElementById('remote').videoWidth > 0")
        server.status = [{**verdict("NO_SIGN", suspicion=0.11), "source": "Grace Hopper"}]
        await browser.send("Target.activateTarget", targetId=ada.target_id)
        await worker.evaluate("chrome.action.openPopup()")
        popup = await popup_of(browser)
        await popup.until("document.body.innerText.includes('No sign')", 30)
        await popup.screenshot(folder / "popup.png")
    return folder / "page.png", folder / "popup.png"


async def popup_of(browser: Chromium) -> Page:
    while True:
        async for target in browser.targets("page"):
            if target["url"].endswith("/popup.html"):
                return await browser.attach(target["targetId"])
        await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out = parser.parse_args().out.resolve()
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        page, popup = (Image.open(path).convert("RGB") for path in asyncio.run(screenshots(Path(folder))))
    size = page.width + popup.width + 3 * GAP_PX, max(page.height, popup.height) + 2 * GAP_PX
    picture = Image.new("RGB", size, "#c9d0d8")
    picture.paste(page, (GAP_PX, GAP_PX))
    picture.paste(popup, (page.width + 2 * GAP_PX, GAP_PX))
    picture.save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    main()
