"""The browser extension: what it asks for, and what it does in a real call between two tabs of a real browser.

Meet, Teams and Zoom themselves are out of reach of a test; the call page here is our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.media import Video, number_of, write_video
from tests.webrtc.chromium import Chromium, Page, program
from tests.webrtc.conftest import Serving
from tests.webrtc.fake_whip import TOKEN, FakeWhip, verdict
from tests.webrtc.test_page import eventually

EXTENSION = Path(__file__).resolve().parents[2] / "gui" / "extension"
MANIFEST = json.loads((EXTENSION / "manifest.json").read_text())
CALLS = Path(__file__).parent

# ------------------------------------------------------------------------------------------------ what it asks for


def test_permissions_are_minimal() -> None:
    assert MANIFEST["manifest_version"] == 3
    assert sorted(MANIFEST["permissions"]) == ["activeTab", "scripting", "storage"]
    assert MANIFEST["host_permissions"] == ["http://127.0.0.1/*"]
    assert MANIFEST["optional_host_permissions"] == ["https://*/*", "http://localhost/*"]
    assert not {"externally_connectable", "web_accessible_resources", "sandbox", "update_url"} & set(MANIFEST)


def test_content_scripts_run_on_call_pages_only_and_the_hook_alone_is_in_their_world() -> None:
    hook, publish = MANIFEST["content_scripts"]
    assert hook["matches"] == publish["matches"]
    assert all(re.fullmatch(r"https://[\w.*-]+\.[\w-]+/[\w/*]*", pattern) for pattern in hook["matches"])
    assert all("*" not in pattern.split("/")[2].removeprefix("*.") for pattern in hook["matches"])
    assert (hook["world"], hook["js"]) == ("MAIN", ["hook.js"])
    assert "world" not in publish
    assert hook["run_at"] == publish["run_at"] == "document_start"


def test_no_remote_code() -> None:
    policy = MANIFEST["content_security_policy"]["extension_pages"]
    parts = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert parts["default-src"] == ["'none'"]
    assert parts["script-src"] == parts["style-src"] == ["'self'"]
    assert all(
        "http:" not in source or re.match(r"http://(127\.0\.0\.1|localhost):", source)
        for source in parts["connect-src"]
    )


def test_every_named_file_is_there() -> None:
    named = [
        *MANIFEST["icons"].values(),
        *MANIFEST["action"]["default_icon"].values(),
        MANIFEST["action"]["default_popup"],
    ]
    named += [MANIFEST["options_ui"]["page"], MANIFEST["background"]["service_worker"]]
    named += [script for entry in MANIFEST["content_scripts"] for script in entry["js"]]
    assert [name for name in named if not (EXTENSION / name).is_file()] == []
    assert MANIFEST["background"]["scripts"] == [MANIFEST["background"]["service_worker"]]
    for size, name in MANIFEST["icons"].items():
        header = (EXTENSION / name).read_bytes()[:24]
        assert struct.unpack(">II", header[16:24]) == (int(size), int(size))


def test_the_page_can_reach_neither_token_nor_extension() -> None:
    """The script in the page's world knows no extension API; the one beside it knows no storage and no address."""
    hook, publish = (EXTENSION / "hook.js").read_text(), (EXTENSION / "publish.js").read_text()
    assert not re.search(
        r"\bchrome\b|\bbrowser\.|fetch|token\b(?!,)", re.sub(r"^\s*//.*$", "", hook, flags=re.MULTILINE)
    )
    assert not re.search(r"storage|fetch\(|Authorization", publish)


# ------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program()
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    video = Video(frames=60, width=640, height=480, codec="mjpeg", pixels="yuvj420p", container="mjpeg")
    return write_video(path, video)


@dataclass
class Call:
    """Ada watches Grace, who shows a camera; the extension of Ada's browser is paired with an endpoint."""

    browser: Chromium
    worker: Page
    site: FakeWhip
    ada: Page
    grace: Page

    async def settings(self, **changes: Any) -> None:
        await self.worker.evaluate(f"chrome.storage.local.set({json.dumps(changes)})")


async def pair(browser: Chromium, site: FakeWhip, endpoint: str, token: str, *, on: bool = True) -> Page:
    """The extension's worker, told where to publish and that `site` is a call page."""
    worker = await browser.service_worker()
    settings = {"on": on, "endpoint": endpoint, "token": token, "origins": [site.origin]}
    await worker.evaluate(f"chrome.storage.local.set({json.dumps(settings)})")
    await worker.until("chrome.scripting.getRegisteredContentScripts().then(all => all.length === 2)")
    return worker


@contextlib.asynccontextmanager
async def call(folder: Path, camera: Path, endpoint: str, token: str, *, public: bool = False) -> AsyncIterator[Call]:
    """`public` makes the browser take the call page for one of the Internet, which may not reach this machine."""
    async with FakeWhip(CALLS) as site:
        flags = [f"--ip-address-space-overrides=127.0.0.1:{site.port}=public"] if public else []
        async with Chromium(folder, camera=camera, extension=EXTENSION, flags=flags) as browser:
            yield await talk(browser, site, endpoint, token)


async def talk(browser: Chromium, site: FakeWhip, endpoint: str, token: str) -> Call:
    worker = await pair(browser, site, endpoint, token)
    grace = await browser.open(f"{site.origin}/call.html?me=Grace&with=Ada&camera=1&calls=1")
    await grace.until("!!window.sender")
    ada = await browser.open(f"{site.origin}/call.html?me=Ada&with=Grace")
    await ada.until("document.getElementById('remote').videoWidth > 0")
    return Call(browser, worker, site, ada, grace)


@pytest.mark.slow
def test_a_call_is_published_and_only_while_it_should_be(tmp_path: Path, camera: Path) -> None:
    async def scene() -> None:
        async with FakeWhip() as server, call(tmp_path, camera, server.origin, TOKEN) as here:
            server.status = [{**verdict("SUSPECT", suspicion=0.9), "source": "Grace"}]
            await eventually(lambda: server.sessions and server.sessions[0].frames > 20)
            session = server.sessions[0]
            assert session.names == ["Grace"]
            assert session.size == (640, 480)
            assert session.origin is not None
            assert session.origin.startswith("chrome-extension://")
            assert len(server.sessions) == 1, "only what is received is published, never one's own camera"
            badge = "chrome.tabs.query({active: true}).then(([tab]) => chrome.action.getBadgeText({tabId: tab.id}))"
            await here.browser.send("Target.activateTarget", targetId=here.ada.target_id)
            await here.worker.until(f"{badge}.then(text => text === '!')")

            await here.settings(on=False)
            await eventually(lambda: session.ended)
            await here.worker.until(f"{badge}.then(text => text === '')")
            assert await here.ada.evaluate("pc.getReceivers()[0].track.readyState") == "live"
            await here.settings(on=True)
            await eventually(lambda: len(server.sessions) == 2 and server.sessions[1].frames > 5)

            await here.grace.evaluate("sender.replaceTrack(null)")
            await eventually(lambda: server.sessions[1].ended, 40)
            await here.grace.evaluate(
                "navigator.mediaDevices.getUserMedia({video: true})"
                ".then(all => sender.replaceTrack(all.getVideoTracks()[0]))"
            )
            await eventually(lambda: len(server.sessions) == 3 and server.sessions[2].frames > 5, 30)

            await here.browser.send("Target.activateTarget", targetId=here.grace.target_id)
            await here.ada.until("document.visibilityState === 'hidden'")
            await asyncio.sleep(8)
            assert not server.sessions[2].ended, "a call in a tab behind another is watched, too"
            before = server.sessions[2].frames
            await eventually(lambda: server.sessions[2].frames > before + 10)
            await here.browser.send("Target.activateTarget", targetId=here.ada.target_id)

            await here.ada.evaluate("void (document.getElementById('name').textContent = 'Barbara')")
            await eventually(lambda: len(server.sessions) == 4 and server.sessions[3].frames > 5)
            assert server.sessions[2].ended
            assert server.sessions[3].names == ["Barbara"]

            await here.ada.evaluate("pc.close()")
            await eventually(lambda: server.sessions[3].ended)
            assert await here.ada.evaluate("problems") == []
            assert here.ada.console == here.worker.console == []

    asyncio.run(scene())


@pytest.mark.slow
def test_a_call_goes_on_whatever_becomes_of_us(tmp_path: Path, camera: Path) -> None:
    """No server, then one that refuses, then a page that puts its own things in the place of ours."""

    async def scene() -> None:
        async with FakeWhip() as server, call(tmp_path, camera, "http://127.0.0.1:9", TOKEN) as here:
            told = "chrome.storage.session.get(null).then(all => JSON.stringify(all))"
            await here.worker.until(f"{told}.then(text => text.includes('unmask serve'))")
            await here.settings(endpoint=server.origin, token="wrong")
            await here.worker.until(f"{told}.then(text => text.includes('pairing token'))")
            assert server.sessions == []
            await here.settings(token=TOKEN)
            await eventually(lambda: server.sessions and server.sessions[0].frames > 5, 40)

            shown = "document.getElementById('remote').getVideoPlaybackQuality().totalVideoFrames"
            before = await here.ada.evaluate(shown)
            await here.ada.until(f"{shown} > {before} + 15")
            hostile = """(() => {
                const throwing = () => { throw new Error("the page's own"); };
                EventTarget.prototype.dispatchEvent = Document.prototype.createElement = throwing;
                window.MouseEvent = window.MediaStream = throwing;
                const peer = new RTCPeerConnection();
                peer.ontrack = () => { window.tracked = true; };
                const other = new RTCPeerConnection();
                other.addTransceiver('video');
                return other.createOffer().then(offer => peer.setRemoteDescription(offer)).then(() => true);
            })()"""
            assert await here.ada.evaluate(hostile) is True
            await here.ada.until("window.tracked")
            for wrong in ("{}", "{relatedTarget: document.body}", "{relatedTarget: document.createElement('video')}"):
                await here.grace.evaluate(f"void document.dispatchEvent(new MouseEvent('unmask-track', {wrong}))")
            assert await here.ada.evaluate("problems") == await here.grace.evaluate("problems") == []
            assert here.worker.console == []

    asyncio.run(scene())


def test_the_constructor_stays_the_browsers(tmp_path: Path, camera: Path) -> None:
    """What a page can ask of RTCPeerConnection has the same answer with and without the extension."""
    asked = """(async () => {
        class Own extends RTCPeerConnection { constructor() { super(); this.mine = true; } }
        const own = new Own(), plain = new RTCPeerConnection({iceServers: []});
        const thrown = make => {
            try { make(); return null; } catch (error) { return [error.name, error instanceof TypeError]; }
        };
        const flags = one => [one.writable, one.enumerable, one.configurable];
        const property = Object.getOwnPropertyDescriptor(window, 'RTCPeerConnection');
        const place = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'constructor');
        const certificate = await RTCPeerConnection.generateCertificate({name: 'ECDSA', namedCurve: 'P-256'});
        return [plain instanceof RTCPeerConnection, own instanceof Own, own instanceof RTCPeerConnection, own.mine,
            own.constructor === Own, plain.constructor === RTCPeerConnection,
            Object.getPrototypeOf(plain) === RTCPeerConnection.prototype,
            RTCPeerConnection.name, RTCPeerConnection.length, Object.getOwnPropertyNames(RTCPeerConnection).sort(),
            window.webkitRTCPeerConnection === RTCPeerConnection, typeof RTCPeerConnection,
            flags(property), flags(place),
            thrown(() => RTCPeerConnection()), thrown(() => new RTCPeerConnection({iceServers: 3})),
            thrown(() => new RTCPeerConnection({iceServers: [{urls: 'nonsense:'}]})),
            Object.prototype.toString.call(plain), certificate instanceof RTCCertificate, plain.ontrack,
            Reflect.construct(RTCPeerConnection, [], Own) instanceof Own];
    })()"""

    async def answers(browser: Chromium, site: FakeWhip) -> Any:
        page = await browser.open(f"{site.origin}/call.html?me=Ada&with=Nobody")
        return await page.evaluate(asked)

    async def scene() -> tuple[Any, Any, str]:
        async with FakeWhip(CALLS) as site:
            async with Chromium(tmp_path / "plain") as browser:
                without = await answers(browser, site)
            async with Chromium(tmp_path / "with", extension=EXTENSION) as browser:
                await pair(browser, site, "http://127.0.0.1:9", TOKEN, on=False)
                page = await browser.open(f"{site.origin}/call.html?me=Eve&with=Nobody")
                source = await page.evaluate("Function.prototype.toString.call(RTCPeerConnection)")
                return without, await answers(browser, site), source

    without, with_us, source = asyncio.run(scene())
    assert "RTCPeerConnection" not in source, "the hook was not there, so that nothing was compared"
    assert "native code" in source
    assert with_us == without
    assert without[0] is True


@pytest.mark.slow
def test_a_page_that_is_taken_off_the_list_is_sent_no_longer(tmp_path: Path, camera: Path) -> None:
    async def scene() -> None:
        async with FakeWhip() as server, call(tmp_path, camera, server.origin, TOKEN) as here:
            await eventually(lambda: server.sessions and server.sessions[0].frames > 5)
            await here.settings(origins=[])
            await eventually(lambda: server.sessions[0].ended)
            assert any(method == "DELETE" for method, _, _ in server.requests)
            badge = "chrome.tabs.query({active: true}).then(([tab]) => chrome.action.getBadgeText({tabId: tab.id}))"
            await here.browser.send("Target.activateTarget", targetId=here.ada.target_id)
            await here.worker.until(f"{badge}.then(text => text === '')")
            assert await here.ada.evaluate("pc.getReceivers()[0].track.readyState") == "live"

    asyncio.run(scene())


def test_only_call_pages_and_our_own_pages_are_heard(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            FakeWhip() as server,
            FakeWhip(CALLS) as site,
            Chromium(tmp_path, extension=EXTENSION) as browser,
        ):
            worker = await pair(browser, site, server.origin, TOKEN)
            options = await browser.open(await worker.evaluate("chrome.runtime.getURL('options.html')"))
            rules = """import('./settings.js').then(
                ({allowed}) => PAGES.map(page => allowed(page, ['https://own.example'])))"""
            pages = {
                "https://meet.google.com/abc-defg-hij": True,
                "https://meet.google.com.evil.example/": False,
                "http://meet.google.com/abc": False,
                "https://us05web.zoom.us/wc/123/join": True,
                "https://us05web.zoom.us/profile": False,
                "https://evilzoom.us/wc/1": False,
                "https://own.example/room": True,
                "https://own.example:8443/room": False,
                "about:blank": False,
                "": False,
            }
            assert await options.evaluate(rules.replace("PAGES", json.dumps(list(pages)))) == list(pages.values())
            # The options page is ours, but no call page: it may ask for the status and for nothing else.
            send = """Promise.race([chrome.runtime.sendMessage(WHAT),
                new Promise(done => setTimeout(done, 1000, null))]).catch(() => null)"""
            offer = send.replace("WHAT", "{kind: 'offer', sdp: 'v=0', name: 'x'}")
            assert await options.evaluate(offer) is None
            assert (await options.evaluate(send.replace("WHAT", "{kind: 'status'}")))["trouble"] is None
            assert [path for _, path, _ in server.requests] == ["/api/status"]
            # A page outside the list is left as it was.
            page = await browser.open(f"http://localhost:{server.port}/")
            assert "RTCPeerConnection" in await page.evaluate("Function.prototype.toString.call(RTCPeerConnection)")
            assert await page.evaluate("typeof chrome?.runtime?.sendMessage") == "undefined"

    asyncio.run(scene())


ADDRESSES = {
    "http://127.0.0.1:8765/#token=abc": {"endpoint": "http://127.0.0.1:8765", "token": "abc"},
    " http://localhost:9000 ": {"endpoint": "http://localhost:9000", "token": None},
    "https://unmask.example/": {"endpoint": "https://unmask.example", "token": None},
    "http://192.168.1.4:8765": None,
    "http://127.0.0.1.evil.example": None,
    "javascript:1": None,
    "127.0.0.1": None,
}
TILES = {
    "figure": ("example.org", "<figure>VIDEO<figcaption> Ada\n Lovelace </figcaption></figure>", "Ada Lovelace"),
    "label": ("example.org", "<div aria-label='Grace Hopper, muted'><div>VIDEO</div></div>", "Grace Hopper"),
    "two": ("example.org", "<div data-name='Both'><div>VIDEO</div><div><video></video></div></div>", None),
    "button": ("example.org", "<div aria-label='Mute'><div>VIDEO</div></div>", None),
    "long": ("example.org", f"<figure>VIDEO<figcaption>{'a' * 65}</figcaption></figure>", None),
    "markup": ("example.org", "<figure>VIDEO<figcaption>&lt;b&gt;Eve&lt;/b&gt;</figcaption></figure>", "<b>Eve</b>"),
    "meet": ("meet.google.com", "<div data-participant-id=x>VIDEO<b class=notranslate>Kate</b></div>", "Kate"),
    "teams": ("teams.microsoft.com", "<div data-stream-type=V aria-label='Mary, video on'>VIDEO</div>", "Mary"),
    "zoom": ("a.zoom.us", "<div class=video-player>VIDEO<b class=video-avatar__avatar-footer>Ann</b></div>", "Ann"),
    "jitsi": ("meet.jit.si", "<span id=participant_1>VIDEO<b class=displayname>Hedy</b></span>", "Hedy"),
    "nothing": ("meet.google.com", "<p>VIDEO</p>", None),
}


def test_addresses_and_names(tmp_path: Path) -> None:
    """Names in made-up tiles: whether the sites' own pages look so today is not tested."""

    async def scene() -> tuple[list[Any], dict[str, Any]]:
        async with Chromium(tmp_path, extension=EXTENSION) as browser:
            worker = await browser.service_worker()
            options = await browser.open(await worker.evaluate("chrome.runtime.getURL('options.html')"))
            parse = """import('./settings.js').then(({parseEndpoint}) => TYPED.map(one => {
                try { return parseEndpoint(one); } catch (error) { return null; } }))"""
            read = await options.evaluate(parse.replace("TYPED", json.dumps(list(ADDRESSES))))
            await options.evaluate((EXTENSION / "names.js").read_text())
            names = {}
            for key, (host, tile, _) in TILES.items():
                found = """(() => {
                    document.body.innerHTML = TILE;
                    const [track] = document.createElement('canvas').captureStream().getVideoTracks();
                    document.getElementById('it').srcObject = new MediaStream([track]);
                    return unmaskNames.find(track, HOST); })()"""
                video = tile.replace("VIDEO", "<video id=it></video>")
                found = found.replace("TILE", json.dumps(video)).replace("HOST", json.dumps(host))
                names[key] = await options.evaluate(found)
            return read, names

    read, names = asyncio.run(scene())
    assert read == list(ADDRESSES.values())
    assert names == {key: name for key, (_, _, name) in TILES.items()}


@pytest.mark.slow
def test_the_popup_says_it_at_a_glance(tmp_path: Path, camera: Path) -> None:
    async def scene() -> None:
        async with FakeWhip() as server:
            server.calls_them = "{} (2)"
            await shown(server)

    async def shown(server: FakeWhip) -> None:
        async with call(tmp_path, camera, server.origin, TOKEN) as here:
            another = {**verdict("SUSPECT"), "source": "Grace"}  # of this name, and in another tab
            ours = {**verdict("CANNOT_TELL", suspicion=None, reasons=["too-dark"]), "source": "Grace (2)"}
            server.status = [another, ours]
            await eventually(lambda: server.sessions and server.sessions[0].frames > 5)
            await here.browser.send("Target.activateTarget", targetId=here.ada.target_id)
            popup = await opened_popup(here)
            text = await popup.until("document.body.innerText.includes('Watching 1 person') && document.body.innerText")
            assert "Grace (2) Cannot tell" in text
            assert "The face is too dark. Ask the person to turn a light on" in text
            server.status = [{**verdict("SUSPECT", suspicion=0.86), "source": "Grace (2)"}]
            await popup.until("document.getElementById('headline').className === 'headline SUSPECT'")
            await popup.evaluate("document.getElementById('switch').click()")
            await popup.until("document.body.innerText.includes('No picture of any call is sent')")
            await eventually(lambda: server.sessions[0].ended)
            assert popup.console == []

    async def opened_popup(here: Call) -> Page:
        await here.worker.evaluate("chrome.action.openPopup()")
        for _ in range(100):
            async for target in here.browser.targets("page"):
                if target["url"].endswith("/popup.html"):
                    return await here.browser.attach(target["targetId"])
            await asyncio.sleep(0.1)
        raise TimeoutError("the popup did not open")

    asyncio.run(scene())


@pytest.mark.slow
def test_the_real_server_gets_the_call(serving: Callable[..., Serving], tmp_path: Path, camera: Path) -> None:
    endpoint = serving()

    async def scene() -> list[int]:
        url = endpoint.server.url.rstrip("/")
        async with call(tmp_path, camera, url, endpoint.server.token, public=True) as here:
            refused = f"fetch('{url}/healthz', {{mode: 'no-cors'}}).then(() => false, () => true)"
            assert await here.ada.evaluate(refused), "the page itself must not reach the endpoint"
            await eventually(lambda: endpoint.told.came, 30)
            name, _, receiver = endpoint.told.came[0]
            assert name == "Grace"
            numbers = await asyncio.to_thread(read, receiver)
            await here.settings(on=False)
            await eventually(lambda: endpoint.told.went)
            return numbers

    def read(receiver: Any) -> list[int]:
        source = receiver.source("webrtc:test")
        numbers = []
        for frame in source.frames():
            numbers.append(number_of(frame.image))
            if len(numbers) == 20:
                source.close()
        return numbers

    numbers = asyncio.run(scene())
    assert len(set(numbers)) > 5
