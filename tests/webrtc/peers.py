"""aiortc peers for tests: a publisher of numbered pictures, and a pair of connections without any HTTP between."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Callable, Iterable
from typing import Any

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
