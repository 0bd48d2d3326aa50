"""What is judged can be watched by WHEP: drawn on request, for a bounded number, and nothing is left behind."""

from __future__ import annotations

import collections
import io
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from aiohttp import web

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.sources.address import WhepAddress
from monitor.sources.base import Standing, Telling
from monitor.sources.live import LiveSource
from monitor.sources.whep import open_whep
from monitor.types import Frame, State, UInt8Array, Verdict
from monitor.webrtc.draw import STATE_COLOUR, DrawOptions
from monitor.webrtc.offer import Reach, ViewerOffer
from monitor.webrtc.server import ServerSettings, WebRtcServer
from monitor.webrtc.studio import DrawnTrack, Newest, Studio, View
from monitor.webrtc.whep_out import Viewer, ViewerLimits, WhepOut
from tests.fakes import ScriptedSource, frames
from tests.media import number_of, numbered

TOKEN = "the-token-of-this-test"
BOX = (80.0, 90.0, 200.0, 200.0)
PATIENCE_S = 30.0


def painted(number: int) -> UInt8Array:
    """`numbered` upside down, for the caption covers the lower edge."""
    return np.ascontiguousarray(numbered(number % 1024, 320, 240)[::-1])


def number_in(image: UInt8Array) -> int:
    return number_of(image[::-1])


class Watched:
    """A source that is judged: a numbered picture and one person, changed by hand or thirty times a second."""

    def __init__(self) -> None:
        verdict = Verdict(1, State.NO_SIGN, 0.2, (), (), 1.0, 0, 0, 0, box_px=BOX)
        self.view: View | None = View("Ada", None, (verdict,))
        self.asked = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._number = 0

    def show(self, number: int) -> None:
        frame = Frame("x", number, 0, 0, painted(number))
        if self.view is not None:
            self.view = replace(self.view, frame=frame)

    def of(self, key: str) -> View | None:
        self.asked += 1
        return self.view if key == "1" else None

    @contextmanager
    def playing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _play(self) -> None:
        while not self._over.wait(1 / 30):
            self._number += 1
            self.show(self._number)


class Served:
    """A server with the routes, and what the test wants to know of them."""

    def __init__(self, watched: Watched, limits: ViewerLimits | None = None) -> None:
        self.out: WhepOut | None = None

        def add(app: web.Application, reach: Reach) -> None:
            self.out = WhepOut(watched.of, reach=reach, viewer_limits=limits)
            self.out.add_routes(app)

        self.server = WebRtcServer(
            ServerSettings(port=0, token=TOKEN), on_track=lambda *_: None, on_gone=lambda *_: None, add_routes=[add]
        )

    def __enter__(self) -> Served:
        self.server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()

    @property
    def viewers(self) -> int:
        assert self.out is not None
        return self.out.viewers

    @property
    def pictures(self) -> int:
        assert self.out is not None
        return self.out.studio.pictures

    def watch(self, key: str = "1", token: str | None = TOKEN, options: str = "") -> LiveSource:
        return open_whep(WhepAddress(f"{self.server.url}whep/{key}{options}"), clock=MonotonicClock(), token=token)

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str | None = None, token: str | None = TOKEN
    ) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(self.server.url + path, data=body, method=method)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if kind is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, response.read(), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)


def soon(holds: Callable[[], bool]) -> bool:
    """Does it come true before patience ends?"""
    until_s = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < until_s:
        time.sleep(0.02)
    return holds()


def box_colour(image: UInt8Array) -> np.ndarray:
    """The colour in the middle of the box's left side, which is two pixels wide."""
    x, y = round(BOX[0]), round((BOX[1] + BOX[3]) / 2)
    return np.asarray(image[y - 4 : y + 5, x : x + 2].reshape(-1, 3).mean(0))


def test_our_own_client_sees_the_pictures_with_the_judgement_drawn_in() -> None:
    watched = Watched()
    with watched.playing(), Served(watched) as served:
        source = served.watch()
        seen = list(islice(source.frames(), 12))
        source.close()
        assert soon(lambda: served.viewers == 0)  # by DELETE: the connection alone would be held for half a minute
    numbers = [number_in(frame.image) for frame in seen]
    assert len(set(numbers)) > 6
    blue, plain = np.array(STATE_COLOUR[State.NO_SIGN]), painted(numbers[-1])
    found = box_colour(seen[-1].image)
    assert np.abs(found - blue).sum() < np.abs(box_colour(plain) - blue).sum() / 2
    assert seen[-1].image.shape == (240, 320, 3)


def test_pictures_are_made_only_while_somebody_watches_and_once_for_all_who_do() -> None:
    watched = Watched()
    with watched.playing(), Served(watched) as served:
        time.sleep(0.5)
        assert served.pictures == 0
        sources = [served.watch() for _ in range(3)]
        readers = [source.frames() for source in sources]
        for reader in readers:
            next(reader)
        began_s, began = time.monotonic(), served.pictures
        for _ in range(15):
            for reader in readers:
                next(reader)
        rate_hz = (served.pictures - began) / (time.monotonic() - began_s)
        for source in sources:
            source.close()
        assert soon(lambda: served.viewers == 0)
        made = served.pictures
        time.sleep(0.5)
        assert served.pictures == made
    # Thirty a second come and fifteen are sent to each: three viewers on their own would make 45 pictures.
    assert rate_hz < 32


def test_a_picture_that_stands_is_sent_again_now_and_then() -> None:
    watched = Watched()
    watched.show(5)
    with Served(watched) as served:
        source = served.watch()
        reader = source.frames()
        seen = [next(reader) for _ in range(3)]
        source.close()
    assert {number_in(frame.image) for frame in seen} == {5}


def test_more_viewers_than_allowed_are_sent_away_and_room_is_made_when_one_leaves() -> None:
    watched = Watched()
    with watched.playing(), Served(watched, ViewerLimits(viewers=1)) as served:
        first = served.watch()
        reader = first.frames()
        next(reader)
        with pytest.raises(SourceError, match="busy") as caught:
            next(served.watch().frames())
        assert caught.value.retryable
        first.close()
        assert soon(lambda: served.viewers == 0)
        second = served.watch()
        next(second.frames())
        second.close()


def test_a_source_that_goes_away_takes_its_viewers_along() -> None:
    watched = Watched()
    with watched.playing(), Served(watched) as served:
        source = served.watch()
        reader = source.frames()
        next(reader)
        watched.view = None
        with pytest.raises(SourceError) as caught:
            collections.deque(reader, 0)
        assert caught.value.retryable
        assert soon(lambda: served.viewers == 0)


def test_a_viewer_who_never_connects_is_let_go() -> None:
    import asyncio

    from aiortc import RTCConfiguration, RTCPeerConnection

    async def offer() -> str:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        sdp = str(peer.localDescription.sdp)
        await peer.close()
        return sdp

    body = asyncio.run(offer()).encode()
    with Served(Watched(), ViewerLimits(viewers=1, connect_s=1.0)) as served:
        status, _, headers = served.ask("POST", "whep/1", body, "application/sdp")
        assert (status, served.viewers) == (201, 1)
        assert served.ask("POST", "whep/1", body, "application/sdp")[0] == 503
        assert soon(lambda: served.viewers == 0)
        assert served.ask("DELETE", headers["Location"].lstrip("/"))[0] == 404


def test_a_request_that_is_broken_off_leaves_no_viewer() -> None:
    """A body so slow that the time for the request ends while the answer is made."""
    import asyncio

    sdp = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n"
        "a=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\n"
        f"a=ice-pwd:abcdefghabcdefghabcdefgh\r\na=fingerprint:sha-256 {':'.join(['AA'] * 32)}\r\n"
    )
    gone: list[Viewer] = []

    async def break_off() -> None:
        studio = Studio(lambda _key: None)
        viewer = Viewer("1", DrawnTrack(studio, "1", DrawOptions()), limits=ViewerLimits(), ended=gone.append)
        answering = asyncio.create_task(viewer.answer(ViewerOffer(sdp, "abcd", "0", 0), ["127.0.0.1"]))
        await asyncio.sleep(0)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        assert answering.cancelled()
        for _ in range(100):
            await asyncio.sleep(0.0 if gone else 0.05)
        assert gone == [viewer]

    asyncio.run(break_off())


def test_the_wrong_token_or_source_is_told_to_our_own_client() -> None:
    with Served(Watched()) as served:
        with pytest.raises(SourceError, match="UNMASK_WHEP_TOKEN"):
            next(served.watch(token="another").frames())
        with pytest.raises(SourceError, match="UNMASK_WHEP_TOKEN"):
            next(served.watch(token=None).frames())
        with pytest.raises(SourceError, match="no such stream"):
            next(served.watch(key="2").frames())
        assert served.viewers == 0


OFFER = b"v=0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:abcd\r\n"


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status"),
    [
        ("GET", "whep/1", None, None, 204),
        ("GET", "whep/2", None, None, 404),
        ("POST", "whep/2", OFFER, "application/sdp", 404),
        ("PUT", "whep/1", b"", None, 405),
        ("POST", "whep/1", OFFER, "text/plain", 415),
        ("POST", "whep/1", b"", "application/sdp", 400),
        ("POST", "whep/1", b"\xff\xfe", "application/sdp", 400),
        ("POST", "whep/1", b"v=0\r\n" + b"a=x\r\n" * 5000, "application/sdp", 413),
        ("POST", "whep/1", b"x" * 70_000, "application/sdp", 413),
        ("POST", "whep/1", OFFER + b"a=sendonly\r\n", "application/sdp", 422),
        ("POST", "whep/1", OFFER + b"a=recvonly\r\n", "application/sdp", 400),
        ("POST", "whep/1?where=2", OFFER, "application/sdp", 400),
        ("POST", "whep/1?what=1", OFFER, "application/sdp", 400),
        ("DELETE", "whep/1/nobody", None, None, 404),
        ("PATCH", "whep/1/nobody", b"", "application/trickle-ice-sdpfrag", 404),
        ("POST", "whep/1/nobody", OFFER, "application/sdp", 405),
        ("OPTIONS", "whep/1", None, None, 204),
        ("OPTIONS", "whep/1/nobody", None, None, 204),
        ("GET", "whep/2/picture", None, None, 404),
    ],
)
def test_every_request_has_its_answer(
    method: str, path: str, body: bytes | None, kind: str | None, status: int
) -> None:
    with Served(Watched()) as served:
        assert served.ask(method, path, body, kind)[0] == status
        assert served.viewers == 0
        if method != "OPTIONS":
            assert served.ask(method, path, body, kind, token="another")[0] == 401


def test_one_picture_as_a_file() -> None:
    from PIL import Image

    watched = Watched()
    watched.show(77)
    with Served(watched) as served:
        status, body, headers = served.ask("GET", "whep/1/picture")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "image/jpeg", "no-store")
        assert served.ask("GET", "whep/1/picture?where=1")[0] == 200
        assert served.ask("GET", "whep/1/picture", token=None)[0] == 401
    with Image.open(io.BytesIO(body)) as file:
        image = np.asarray(file.convert("RGB"))
    assert image.shape == (240, 320, 3)
    assert np.abs(box_colour(image) - np.array(STATE_COLOUR[State.NO_SIGN])).sum() < 90


def test_the_newest_frame_is_kept_of_every_source_that_one_maker_makes() -> None:
    newest = Newest()
    make = newest.of(lambda: ScriptedSource(frames(3)))
    for _ in range(2):
        source = make()
        passed = list(source.frames())
        assert [frame.seq for frame in passed] == [0, 1, 2]
        assert newest.frame is passed[-1]
        assert source.info.title == "a scripted source"
        assert source.standing == Standing()  # type: ignore[attr-defined]
        source.close()


class _Minimised(ScriptedSource):
    standing = Standing(waiting="the window is minimised")


def test_what_a_source_says_of_itself_is_passed_on() -> None:
    source = Newest().of(lambda: _Minimised(frames(1)))()
    assert isinstance(source, Telling)
    assert source.standing.waiting == "the window is minimised"


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts the open files in /proc")
def test_coming_and_going_leaves_nothing_behind() -> None:
    watched = Watched()
    with watched.playing(), Served(watched) as served:

        def come_and_go() -> None:
            source = served.watch()
            next(source.frames())
            source.close()
            assert soon(lambda: served.viewers == 0)

        come_and_go()
        assert soon(lambda: not [one for one in threading.enumerate() if one.name.startswith("unmask-whep")])
        files = _open_files()
        for _ in range(8):
            come_and_go()
        assert soon(lambda: not [one for one in threading.enumerate() if one.name.startswith("unmask-whep")])
        assert soon(lambda: _open_files() <= files + 2)
