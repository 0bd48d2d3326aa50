"""The page at the endpoint: what it holds, what it says, and how a real browser publishes through it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import monitor.webrtc
from gui.style import Mood
from gui.texts import headline
from monitor.types import Reason, State
from monitor.webrtc.devices import parse_report
from monitor.wording import REASON_ADVICE, REASON_TEXT, STATE_MEANING, STATE_TEXT
from tests.media import Video, number_of, write_video
from tests.webrtc.chromium import Chromium, Page, program
from tests.webrtc.conftest import Serving
from tests.webrtc.fake_whip import TOKEN, FakeWhip, document, verdict

PAGE = Path(monitor.webrtc.__file__).parent / "page"
EXTENSION = Path(__file__).resolve().parents[2] / "gui" / "extension"
SHEETS = [PAGE / "style.css", EXTENSION / "ui.css"]
HTML = [*PAGE.glob("*.html"), *EXTENSION.glob("*.html")]
SCRIPTS = [*PAGE.glob("*.js"), *EXTENSION.glob("*.js")]

# ------------------------------------------------------------------------------------------------ what it holds


def test_there_is_something_to_check() -> None:
    assert len(HTML) == 3
    assert len(SCRIPTS) >= 9


@pytest.mark.parametrize("words", [PAGE / "words.json", EXTENSION / "words.json"], ids=["page", "extension"])
def test_words_are_those_of_the_monitor(words: Path) -> None:
    states = {
        state.value: {
            "short": STATE_TEXT[state],
            "headline": headline(Mood[state.name]),
            "meaning": STATE_MEANING[state],
        }
        for state in State
    }
    reasons = {reason.value: {"text": REASON_TEXT[reason], "advice": REASON_ADVICE[reason]} for reason in Reason}
    assert json.loads(words.read_text()) == {"states": states, "reasons": reasons}


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_html_has_no_inline_code_and_loads_only_its_own_files(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    loaded = re.findall(r"<(?:script|link|img|video|iframe)[^>]*\b(?:src|href)=\"([^\"]+)\"", text)
    assert loaded
    assert all(re.fullmatch(r"[\w-]+\.(js|css|svg)", one) and (path.parent / one).is_file() for one in loaded)


@pytest.mark.parametrize("path", [*SCRIPTS, *SHEETS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_is_asked_for_elsewhere(path: Path) -> None:
    addresses = set(re.findall(r"\b(?:https?|wss?|stun|turn):/*[\w.]+\w", path.read_text()))
    allowed = {"http://www.w3.org", "http://127.0.0.1", "https://calls.example.org"}
    assert addresses <= allowed
    assert not re.search(
        r"\beval\(|new Function|innerHTML|outerHTML|document\.write|insertAdjacentHTML", path.read_text()
    )
    assert not re.search(r"@import|url\(", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_parse(path: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    text = path.read_text()
    module = re.search(r"^(import|export)\b|^await\b|= await ", text, re.MULTILINE) is not None
    copy = tmp_path / f"{path.stem}.{'mjs' if module else 'cjs'}"
    copy.write_text(text)
    checked = subprocess.run([node, "--check", copy], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def palettes(path: Path) -> list[dict[str, str]]:
    """Light and dark."""
    blocks = re.findall(r":root \{(.*?)\}", path.read_text(), re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT = [("text", "panel"), ("text", "raised"), ("muted", "panel"), ("muted", "raised"), ("on-accent", "accent")]
TEXT += [("text", "alarm-panel"), ("accent", "panel")]
MARKS = [("edge", "panel"), ("no-sign", "panel"), ("uncertain", "panel"), ("suspect", "panel"), ("accent", "raised")]
MARKS += [("suspect", "alarm-panel"), ("no-sign", "raised"), ("uncertain", "raised")]
MARKS += [("on-mark", "no-sign"), ("on-mark", "uncertain"), ("on-mark", "suspect")]


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_aa(path: Path, scheme: int) -> None:
    colours = palettes(path)[scheme]
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in TEXT + MARKS}
    assert {pair: value for pair, value in low.items() if value < (4.5 if pair in TEXT else 3.0)} == {}


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_red_means_suspect_and_nothing_else(path: Path) -> None:
    text = re.sub(r":root \{.*?\}", "", path.read_text(), flags=re.DOTALL)
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", text)
    red = [selector for selector, body in rules if "--suspect" in body or "--alarm-panel" in body or "#ff5a4f" in body]
    assert red
    assert all("SUSPECT" in selector for selector in red)


# ------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of numbered pictures, which Chromium plays as its camera."""
    program()
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    video = Video(frames=60, width=640, height=480, codec="mjpeg", pixels="yuvj420p", container="mjpeg")
    return write_video(path, video)


Scene = Callable[[Page, FakeWhip], Awaitable[None]]


@pytest.fixture
def in_browser(tmp_path: Path, camera: Path) -> Callable[[Scene], None]:
    """Plays a scene on the page of a fake server."""

    async def play(scene: Scene) -> None:
        async with FakeWhip() as server, Chromium(tmp_path, camera=camera) as browser:
            page = await browser.open(f"{server.origin}/#token={TOKEN}")
            await page.until("!document.getElementById('toggle').disabled")
            await scene(page, server)

    return lambda scene: asyncio.run(play(scene))


async def press(page: Page, key: str, code: int) -> None:
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        await page.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


async def start(page: Page) -> None:
    await page.evaluate("document.getElementById('toggle').click()")
    await page.until("!document.getElementById('live').hidden")


async def eventually(what: Callable[[], Any], within_s: float = 20.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := what()):
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)
    return value


HEADLINE = "document.getElementById('headline').innerText"
SPOKEN = "document.getElementById('spoken').textContent"
TROUBLE = "document.getElementById('trouble').innerText"


def test_publishes_a_camera_and_shows_the_verdict(in_browser: Callable[[Scene], None], camera: Path) -> None:
    async def scene(page: Page, server: FakeWhip) -> None:
        assert await page.evaluate("location.href") == f"{server.origin}/"
        assert await page.evaluate("history.length") <= 2
        assert TOKEN not in await page.evaluate("document.documentElement.outerHTML")
        await page.evaluate("document.getElementById('name').value = 'Ada Löve 日本'")
        await start(page)
        session = server.sessions[0]
        assert session.names == ["Ada Löve 日本"]
        await eventually(lambda: session.frames > 20)
        assert session.size == (640, 480)
        await page.until(f"{HEADLINE}.startsWith('No sign of manipulation')")
        assert await page.evaluate("document.querySelector('#people .score').textContent") == "21 %"
        assert await page.evaluate("document.querySelector('.box').style.left") == "30%"
        assert await page.evaluate("location.href") == f"{server.origin}/"
        first = await eventually(lambda: session.messages)
        assert parse_report(first[0]).label == str(camera)
        await eventually(lambda: parse_report(session.messages[-1]).timing_cv is not None)
        last = parse_report(session.messages[-1])
        assert (last.width_px, last.height_px) == (640, 480)
        assert last.frame_rate_hz == pytest.approx(30, abs=8)
        await start_again(page, server)
        assert page.console == []

    async def start_again(page: Page, server: FakeWhip) -> None:
        await page.evaluate("document.getElementById('toggle').click()")
        await eventually(lambda: server.sessions[0].ended)
        assert await page.evaluate("document.getElementById('preview').srcObject") is None
        await start(page)
        await eventually(lambda: len(server.sessions) == 2 and server.sessions[1].frames > 5)
        await page.send("Page.navigate", url="about:blank")
        await eventually(lambda: server.sessions[1].ended)

    in_browser(scene)


def test_says_each_state_in_words_and_forgets_what_is_old(in_browser: Callable[[Scene], None]) -> None:
    async def scene(page: Page, server: FakeWhip) -> None:
        await start(page)
        server.says = verdict("CANNOT_TELL", suspicion=None, reasons=["face-too-small"])
        await page.until(f"{HEADLINE}.startsWith('Cannot tell')")
        assert "Ask the person to come closer" in await page.evaluate(HEADLINE)
        assert "The face is too small." in await page.evaluate(SPOKEN)
        calm = "getComputedStyle(document.getElementById('headline')).backgroundColor"
        before = await page.evaluate(calm)
        people = [
            {"track_id": 1, "state": "NO_SIGN", "suspicion": 0.004, "reasons": [], "box": None},
            {"track_id": 2, "state": "SUSPECT", "suspicion": 0.998, "reasons": [], "box": [0, 0, 2, 1]},
            {"track_id": "<b>", "state": "SUSPECT"},
        ]
        server.says = document(people, remark="<b>a remark</b>", shed=None)
        await page.until(f"{HEADLINE}.startsWith('Strong signs')")
        assert await page.evaluate("[...document.querySelectorAll('#people strong')].map(one => one.textContent)") == [
            "Person 2",
            "Person 1",
        ]
        assert await page.evaluate("[...document.querySelectorAll('.score')].map(one => one.textContent)") == [
            ">99 %",
            "<1 %",
        ]
        assert await page.evaluate("document.getElementById('notice').textContent") == "<b>a remark</b>."
        assert await page.evaluate(calm) != before
        assert await page.evaluate(SPOKEN) == "Strong signs of manipulation."
        server.says = document([])
        await page.until(f"{HEADLINE}.includes('No face in the picture')")
        server.says = verdict("SUSPECT")
        await page.until(f"{HEADLINE}.startsWith('Strong signs')")
        server.says = {"schema": "unmask.verdict/2", "people": []}
        await page.until(f"{HEADLINE}.includes('No fresh reading')")
        assert await page.evaluate("document.querySelectorAll('#people li, .box').length") == 0
        assert page.console == []

    in_browser(scene)


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "pairing token is missing or wrong"), (503, "as many pictures")]
)
def test_a_refusal_is_a_sentence(in_browser: Callable[[Scene], None], status: int, sentence: str) -> None:
    async def scene(page: Page, server: FakeWhip) -> None:
        server.refuse_with = status
        await page.evaluate("document.getElementById('toggle').click()")
        assert sentence in await page.until(TROUBLE)
        assert await page.evaluate("document.getElementById('toggle').textContent") == "Start"
        assert await page.evaluate("document.getElementById('token-field').hidden") is (status != 401)
        assert await page.evaluate("document.getElementById('preview').srcObject") is None

    in_browser(scene)


def test_a_lost_server_is_told(in_browser: Callable[[Scene], None]) -> None:
    async def scene(page: Page, server: FakeWhip) -> None:
        await start(page)
        await eventually(lambda: server.sessions[0].frames > 5 and server.sessions[0].channel)
        await server.sessions[0].pc.close()
        assert "connection to unmask was lost" in await page.until(TROUBLE, 40)
        assert await page.evaluate("document.getElementById('live').hidden") is True

    in_browser(scene)


def test_keyboard_zoom_and_a_pasted_token(in_browser: Callable[[Scene], None]) -> None:
    async def scene(page: Page, server: FakeWhip) -> None:
        await page.send("Page.navigate", url=f"{server.origin}/?again")
        await page.until("document.getElementById('toggle')?.disabled === false")
        assert await page.evaluate("document.getElementById('token-field').hidden") is False
        order = []
        for _ in range(7):
            await press(page, "Tab", 9)
            order.append(await page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            if order[-1] == "token":
                await page.send("Input.insertText", text=TOKEN)
            if order[-1] == "toggle":
                break
        assert order == ["SUMMARY", "INPUT", "camera", "name", "token", "toggle"]
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await press(page, "Enter", 13)
        await page.until("!document.getElementById('live').hidden")
        await page.until("!!document.querySelector('#people li')")
        for width in (1200, 600, 320):  # 100 %, 200 % and 400 % of a usual window
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            await page.send("Emulation.setDeviceMetricsOverride", **size)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
        unnamed = """[...document.querySelectorAll('button, input, select, video')].filter(one => one.offsetParent
            && !(one.labels?.length || one.textContent.trim() || one.getAttribute('aria-label'))).map(one => one.id)"""
        assert await page.evaluate(unnamed) == []

    in_browser(scene)


def test_figures_of_the_cadence(in_browser: Callable[[Scene], None]) -> None:
    async def scene(page: Page, server: FakeWhip) -> None:
        regular = "import('/cadence.js').then(({regularity}) => regularity(ITEMS))"
        even = await page.evaluate(regular.replace("ITEMS", "Array(60).fill(40)"))
        assert even == {"rate_hz": 25, "cv": 0}
        uneven = await page.evaluate(regular.replace("ITEMS", "Array.from({length: 60}, (_, at) => at % 2 ? 30 : 50)"))
        assert uneven["rate_hz"] == pytest.approx(25)
        assert uneven["cv"] == pytest.approx(0.252, abs=0.001)
        assert await page.evaluate(regular.replace("ITEMS", "[40, 40]")) is None
        added = """import('/cadence.js').then(({Cadence}) => {
            const cadence = new Cadence({});
            const pictures = [[0, 1], [40, 2], [80, 3], [160, 5], [200, 6], [5000, 7], [5040, 8]];
            pictures.forEach(([ms, count]) => cadence.add(ms, count));
            return cadence.intervals; })"""
        assert await page.evaluate(added) == [40, 40, 40, 40]

    in_browser(scene)


def test_a_picture_is_sharp_from_the_start(in_browser: Callable[[Scene], None]) -> None:
    answer = "v=0\r\nm=video 9 X 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    answer += "a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1\r\n"
    wanted = answer.replace("VP8/90000\r\n", "VP8/90000\r\na=fmtp:96 x-google-start-bitrate=2000\r\n")
    wanted = wanted.replace("mode=1\r\n", "mode=1;x-google-start-bitrate=2000\r\n")

    async def scene(page: Page, server: FakeWhip) -> None:
        asked = f"import('/publication.js').then(({{quickStart}}) => quickStart({json.dumps(answer)}))"
        assert await page.evaluate(asked) == wanted
        sent = """(() => { const Native = RTCPeerConnection;
            window.RTCPeerConnection = function (...all) { return window.made = new Native(...all); }; })()"""
        await page.evaluate(sent)
        await start(page)
        rate = (
            """made.getStats().then(all => [...all.values()].find(one => one.type === 'outbound-rtp')?.targetBitrate)"""
        )
        assert await page.until(rate) > 1_000_000, "kilobits enough for a face from the first second"

    in_browser(scene)


def test_no_document_from_outside_breaks_the_page(in_browser: Callable[[Scene], None]) -> None:
    wrong = [
        "",
        "null",
        "[]",
        "{}",
        '"x"',
        '{"schema":"unmask.verdict/1"}',
        '{"schema":"unmask.verdict/1","people":{}}',
    ]
    hostile = document([None, 3, [], {"track_id": 1.5}, {"track_id": 1, "state": "toString"}], quality=None)
    crowd = document([{"track_id": at, "state": "NO_SIGN", "suspicion": 9, "box": ["a"]} for at in range(500)])

    async def scene(page: Page, server: FakeWhip) -> None:
        parse = "import('/verdict.js').then(({parse}) => parse(TEXT))"
        for text in wrong:
            assert await page.evaluate(parse.replace("TEXT", json.dumps(text))) is None
        empty = await page.evaluate(parse.replace("TEXT", json.dumps(json.dumps(hostile))))
        assert empty["people"] == []
        read = await page.evaluate(parse.replace("TEXT", json.dumps(json.dumps(crowd))))
        assert len(read["people"]) == 32
        assert read["people"][0] == {"id": 0, "state": "NO_SIGN", "suspicion": None, "reasons": [], "box": None}

    in_browser(scene)


def test_the_real_server_gets_the_pictures(serving: Callable[..., Serving], tmp_path: Path, camera: Path) -> None:
    here = serving()

    async def play() -> list[int]:
        async with Chromium(tmp_path, camera=camera) as browser:
            page = await browser.open(f"{here.server.url}#token={here.server.token}")
            await page.until("!document.getElementById('toggle').disabled")
            await page.evaluate("document.getElementById('name').value = 'Ada'")
            await start(page)
            await eventually(lambda: here.told.came)
            name, session_id, receiver = here.told.came[0]
            assert name == "Ada"
            here.server.say(session_id, name, json.dumps(verdict("UNCERTAIN")))
            await page.until(f"{HEADLINE}.startsWith('Uncertain')")
            await eventually(lambda: here.server.sessions()[0].device)
            assert here.server.sessions()[0].device.label == str(camera)
            numbers = await asyncio.to_thread(read, receiver)
            await page.evaluate("document.getElementById('toggle').click()")
            await eventually(lambda: here.told.went)
            assert page.console == []
            return numbers

    def read(receiver: Any) -> list[int]:
        source = receiver.source("webrtc:test")
        numbers = []
        for frame in source.frames():
            numbers.append(number_of(frame.image))
            if len(numbers) == 20:
                source.close()
        return numbers

    numbers = asyncio.run(play())
    assert set(numbers) <= set(range(60))
    assert len(set(numbers)) > 5
