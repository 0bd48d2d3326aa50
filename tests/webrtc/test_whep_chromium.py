"""WHEP with a peer that is not aiortc: Chromium watches what we serve, and sends what we watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from monitor.clock import MonotonicClock
from monitor.sources.address import WhepAddress
from monitor.sources.whep import open_whep
from monitor.types import State
from monitor.webrtc.draw import STATE_COLOUR
from monitor.webrtc.loop import LoopThread
from tests.media import number_of
from tests.webrtc.chromium import Chromium, Page
from tests.webrtc.fake_whep import SDP, FakeWhep
from tests.webrtc.peers import wait_for
from tests.webrtc.test_whep_out import BOX, TOKEN, Served, Watched

pytestmark = pytest.mark.slow

PLAY = """
(async () => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("video", {direction: "recvonly"});
  const video = document.createElement("video");
  video.muted = true;
  peer.ontrack = event => { video.srcObject = new MediaStream([event.track]); video.play(); };
  await peer.setLocalDescription();
  await new Promise(done => peer.iceGatheringState === "complete" ? done() : peer.onicegatheringstatechange =
    () => peer.iceGatheringState === "complete" && done());
  const headers = {"Content-Type": "application/sdp", "Authorization": "Bearer TOKEN"};
  const reply = await fetch("/whep/1?where=1", {method: "POST", headers, body: peer.localDescription.sdp});
  await peer.setRemoteDescription({type: "answer", sdp: await reply.text()});
  window.watched = {peer, video, session: reply.headers.get("Location"), headers};
  return reply.status;
})()
"""
SEEN = """
(() => {
  const {video} = window.watched;
  if (!video.videoWidth || video.currentTime < 1) return null;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [canvas.width, canvas.height, ...context.getImageData(X, Y, 1, 1).data.slice(0, 3)];
})()
"""
SEND = """
(async () => {
  const canvas = document.createElement("canvas");
  canvas.width = 320; canvas.height = 240;
  const context = canvas.getContext("2d");
  let index = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${index % 360} 60% 50%)`;
    context.fillRect(0, 0, 320, 240);
    for (let bit = 0; bit < 10; bit++) {
      context.fillStyle = index >> bit & 1 ? "#ebebeb" : "#101010";
      context.fillRect(32 * bit, 200, 32, 40);
    }
    index = (index + 1) % 1024;
  }, 50);
  const peer = window.peer = new RTCPeerConnection();
  await peer.setRemoteDescription({type: "offer", sdp: OFFER});
  const transceiver = peer.getTransceivers()[0];
  transceiver.direction = "sendonly";
  await transceiver.sender.replaceTrack(canvas.captureStream(20).getVideoTracks()[0]);
  await peer.setLocalDescription();
  await new Promise(done => peer.iceGatheringState === "complete" ? done() : peer.onicegatheringstatechange =
    () => peer.iceGatheringState === "complete" && done());
  return peer.localDescription.sdp;
})()
"""


def only(codec: str, offer: str) -> str:
    """The offer with one codec and its retransmission left: Chromium sends the first one that it can."""
    lines = offer.splitlines()
    kept = {
        line.split()[0].rpartition(":")[2] for line in lines if line.startswith("a=rtpmap") and f" {codec}/" in line
    }
    kept |= {line.split()[0].rpartition(":")[2] for line in lines for one in kept if line.endswith(f" apt={one}")}
    chosen = []
    for line in lines:
        if line.startswith("m=video"):
            words = line.split()
            line = " ".join(words[:3] + [one for one in words[3:] if one in kept])
        elif line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")) and line.split(":")[1].split()[0] not in kept:
            continue
        chosen.append(line)
    return "\r\n".join(chosen) + "\r\n"


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[tuple[LoopThread, Chromium]]:
    loop = LoopThread("unmask-test-chromium")
    browser = Chromium(tmp_path)
    loop.run(browser.__aenter__(), 60.0)
    yield loop, browser
    loop.run(browser.__aexit__(None, None, None), 30.0)
    loop.close()


def test_chromium_watches_what_is_judged(chromium: tuple[LoopThread, Chromium]) -> None:
    loop, browser = chromium
    x, y = round(BOX[0]), round((BOX[1] + BOX[3]) / 2)
    watched = Watched()
    with watched.playing(), Served(watched) as served:
        page = loop.run(browser.open(served.server.url), 60.0)
        assert loop.run(page.evaluate(PLAY.replace("TOKEN", TOKEN)), 60.0) == 201
        seen = loop.run(page.until(SEEN.replace("X", str(x)).replace("Y", str(y)), 60.0), 90.0)
        assert seen[:2] == [320, 240]
        assert np.abs(np.array(seen[2:]) - np.array(STATE_COLOUR[State.NO_SIGN])).sum() < 120
        assert served.viewers == 1
        leave = "(async () => { const {peer, session, headers} = window.watched; peer.close();"
        leave += ' return (await fetch(session, {method: "DELETE", headers})).status; })()'
        assert loop.run(page.evaluate(leave), 60.0) == 200
        wait_for(lambda: served.viewers == 0, 30.0)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_what_chromium_sends_is_watched(chromium: tuple[LoopThread, Chromium], codec: str) -> None:
    loop, browser = chromium
    page: Page = loop.run(browser.open("about:blank#it"), 60.0)
    unable = False

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal unable
        script = SEND.replace("OFFER", json.dumps(only(codec, await request.text())))
        future = asyncio.run_coroutine_threadsafe(page.evaluate(script), loop.loop)
        sdp = await asyncio.wrap_future(future)
        if f" {codec}/90000" not in sdp:
            unable = True
            return web.Response(status=404)
        return web.Response(status=201, text=sdp, content_type=SDP, headers={"Location": "/session/1"})

    with FakeWhep(handler=answer) as server:
        source = open_whep(WhepAddress(server.post()), clock=MonotonicClock())
        try:
            seen = list(islice(source.frames(), 10))
        except Exception:
            if unable:
                pytest.skip(f"this Chromium cannot send {codec}")
            raise
        finally:
            source.close()
    numbers = [number_of(frame.image) for frame in seen]
    assert numbers == sorted(numbers)  # a browser that is held up may send one twice
    assert len(set(numbers)) > 3
    assert seen[-1].image.shape == (240, 320, 3)
