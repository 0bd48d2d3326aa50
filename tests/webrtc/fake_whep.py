"""A WHEP server for tests: aiohttp and aiortc on a thread of their own, serving a picture that is drawn.

It is none of unmask's code and behaves as it is told: it answers, makes the offer itself, redirects, hangs, or dies.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import av
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from monitor.webrtc.loop import LoopThread
from tests.media import numbered

SDP = "application/sdp"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DrawnTrack(MediaStreamTrack):
    """Pictures that carry their number (`tests.media.numbered`), until `frozen` is set."""

    kind = "video"

    def __init__(self, fps: float = 20.0, width: int = 320, height: int = 240) -> None:
        super().__init__()
        self.frozen = False
        self._fps, self._width, self._height = fps, width, height
        self._index = -1
        self._start = 0.0

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._index += 1
        self._start = self._start or time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self._index / self._fps - time.monotonic()))
        while self.frozen:
            await asyncio.sleep(0.02)
        picture = av.VideoFrame.from_ndarray(numbered(self._index % 1024, self._width, self._height), format="rgb24")
        picture.pts, picture.time_base = round(self._index * 90_000 / self._fps), fractions.Fraction(1, 90_000)
        return picture


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    token: str | None
    body: str


@dataclass
class FakeWhep:
    """A server on 127.0.0.1. `handler` answers POSTs to /live; the default one answers offers as it should."""

    handler: Handler | None = None
    token: str | None = None
    offers: int = 0
    """Videos that the server offers itself, by the counter-offer; 0 answers the player's offer."""
    first_draft: bool = False
    """Offers only to an empty POST, with 201, as the first drafts have it."""
    links: str | None = None
    seen: list[Seen] = field(default_factory=list)
    peers: list[RTCPeerConnection] = field(default_factory=list)
    tracks: list[DrawnTrack] = field(default_factory=list)
    deleted: int = 0
    url: str = ""
    _loop: LoopThread | None = None
    _runner: web.AppRunner | None = None

    def __enter__(self) -> FakeWhep:
        self._loop = LoopThread("unmask-test-whep")
        self._loop.run(self._start())
        return self

    def __exit__(self, *error: object) -> None:
        assert self._loop is not None
        self._loop.run(self._stop(), 20.0)
        self._loop.close()

    def post(self, path: str = "/live") -> str:
        return self.url + path

    def hang_up(self) -> None:
        """Close every peer connection, as a server that is shut down in the middle."""
        assert self._loop is not None
        self._loop.run(self._hang_up())

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._hang_up()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _hang_up(self) -> None:
        peers, self.peers = self.peers, []
        await asyncio.gather(*(peer.close() for peer in peers))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization")
        self.seen.append(Seen(request.method, request.path, token, await request.text()))
        if self.token is not None and token != f"Bearer {self.token}":
            return web.Response(status=401)
        if request.method == "DELETE":
            self.deleted += 1
            return web.Response(status=200)
        if request.method == "PATCH":
            await self.peers[-1].setRemoteDescription(RTCSessionDescription(await request.text(), "answer"))
            return web.Response(status=204)
        if self.handler is not None:
            return await self.handler(request)
        return await self.answer(request)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What a good server does."""
        offer = await request.text()
        if self.first_draft and offer:
            return web.Response(status=400)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers.append(peer)
        if not (self.offers or self.first_draft):
            await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for _ in range(self.offers or 1):
            self.tracks.append(DrawnTrack())
            peer.addTrack(self.tracks[-1])
        if self.offers or self.first_draft:
            peer.addTransceiver("audio", direction="sendonly")
            for one in peer.getTransceivers():
                one.direction = "sendonly"
            await peer.setLocalDescription(await peer.createOffer())
        else:
            await peer.setLocalDescription(await peer.createAnswer())
        headers = {"Location": f"/session/{len(self.peers)}"} | ({"Link": self.links} if self.links else {})
        status = 406 if self.offers and not self.first_draft else 201
        return web.Response(status=status, text=peer.localDescription.sdp, content_type=SDP, headers=headers)
