"""aiortc peers for tests: a publisher of numbered pictures, and a pair of connections without any HTTP between."""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urljoin

import aiohttp
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from monitor.types import UInt8Array
from tests.media import numbered

CLOCK = fractions.Fraction(1, 90_000)
NO_SERVERS = RTCConfiguration(iceServers=[])


class Pictures(MediaStreamTrack):
    """A camera that shows `picture(index)` at `fps`; the numbers of `tests.media.numbered` by default."""

    kind = "video"

    def __init__(self, picture: Callable[[int], UInt8Array] = numbered, fps: float = 30.0, frames: int = 100_000):
        super().__init__()
        self.picture = picture
        self.fps = fps
        self.frames = frames
        self.index = 0
        self.paused = False
        self._began_s: float | None = None
        self._due_s = 0.0

    async def recv(self) -> av.VideoFrame:
        while self.paused:
            await asyncio.sleep(0.01)
        if self.readyState != "live" or self.index >= self.frames:
            raise MediaStreamError
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = self._due_s = now_s
        self._due_s = max(self._due_s + 1 / self.fps, now_s - 0.5)
        await asyncio.sleep(max(0.0, self._due_s - now_s))
        frame = av.VideoFrame.from_ndarray(self.picture(self.index), format="rgb24")
        frame.pts = int((self._due_s - self._began_s) * 90_000)
        frame.time_base = CLOCK
        self.index += 1
        return frame


def prefer(connection: RTCPeerConnection, codec: str) -> None:
    """Offer only this video codec ('VP8' or 'H264')."""
    wanted = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() == f"video/{codec.lower()}"]
    for transceiver in connection.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(wanted)


async def offer_of(connection: RTCPeerConnection) -> str:
    """The whole offer, with its candidates."""
    await connection.setLocalDescription(await connection.createOffer())
    return connection.localDescription.sdp


async def connect(sender: RTCPeerConnection, receiver: RTCPeerConnection) -> None:
    """Negotiate two connections of this process."""
    await receiver.setRemoteDescription(RTCSessionDescription(await offer_of(sender), "offer"))
    await receiver.setLocalDescription(await receiver.createAnswer())
    await sender.setRemoteDescription(RTCSessionDescription(receiver.localDescription.sdp, "answer"))


def wait_for(condition: Callable[[], Any], timeout_s: float = 20.0, what: str = "") -> Any:
    """Wait until `condition` holds; its value. Fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain {what}")
        time.sleep(0.01)
    return value


def transports(connection: RTCPeerConnection) -> Iterable[Any]:
    """The DTLS transports of a connection."""
    return {t.receiver.transport for t in connection.getTransceivers()}


class Publisher:
    """A WHIP client on aiortc and aiohttp, none of the product's code. `start`, `stop`: from a test's thread."""

    def __init__(self, loop: Any, url: str, token: str | None, tracks: list[Pictures], **options: Any) -> None:
        self.loop = loop
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.tracks = tracks
        self.codec: str | None = options.get("codec")
        self.names: list[str] | None = options.get("names")
        self.channel_wanted: bool = options.get("channel", False)
        self.heard: list[str] = []
        self.channel: Any = None
        self.location = ""
        self.etag = ""
        self.status = 0
        self.peer: RTCPeerConnection | None = None

    def start(self) -> Publisher:
        self.loop.run(self.publish(), 30.0)
        return self

    def stop(self, *, tell: bool = True) -> None:
        self.loop.run(self.leave(tell=tell), 30.0)

    async def offer(self) -> str:
        self.peer = RTCPeerConnection(NO_SERVERS)
        for track in self.tracks:
            self.peer.addTransceiver(track, direction="sendonly")
        if self.codec is not None:
            prefer(self.peer, self.codec)
        if self.channel_wanted:
            self.channel = self.peer.createDataChannel("verdicts")
            self.channel.on("message", self.heard.append)
        return await offer_of(self.peer)

    async def publish(self) -> None:
        headers = {"Content-Type": "application/sdp", **self.headers}
        if self.names is not None:
            headers["X-Unmask-Names"] = json.dumps(self.names)
        offer = await self.offer()
        async with aiohttp.ClientSession() as http, http.post(self.url, data=offer, headers=headers) as response:
            self.status = response.status
            self.location = response.headers.get("Location", "")
            self.etag = response.headers.get("ETag", "")
            answer = await response.text()
        assert self.peer is not None
        if self.status != 201:
            await self.peer.close()
            return
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def leave(self, *, tell: bool = True) -> None:
        assert self.peer is not None
        if tell and self.location:
            where = urljoin(self.url, self.location)
            async with aiohttp.ClientSession() as http, http.delete(where, headers=self.headers) as response:
                assert response.status in (200, 404)
        await self.peer.close()


def ask(
    loop: Any, method: str, url: str, body: bytes | str | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """One HTTP request: status, headers, text. Header names are written with underscores."""

    async def work() -> tuple[int, dict[str, str], str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with aiohttp.ClientSession() as http, http.request(method, url, data=body, headers=named) as response:
            return response.status, dict(response.headers), await response.text(errors="replace")

    answer: tuple[int, dict[str, str], str] = loop.run(work(), 30.0)
    return answer
