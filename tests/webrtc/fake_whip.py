"""A small WHIP server of aiohttp and aiortc: it serves the page, counts the pictures, and says what it is told to say.

It stands where `monitor.webrtc.server` stands, so that page and extension are tested without a detector.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

import monitor.webrtc

PAGE = Path(monitor.webrtc.__file__).parent / "page"
TOKEN = "pairing-token-of-a-test"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src 'self' blob: mediastream:; frame-ancestors 'none'"
)


def verdict(state: str = "NO_SIGN", **more: Any) -> dict[str, Any]:
    """A verdict document about one person."""
    person = {"track_id": 1, "state": state, "suspicion": 0.21, "reasons": [], "box": [0.3, 0.2, 0.7, 0.8], **more}
    return document([person])


def document(people: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    quality = {"lag_ms": 41.0, "fps": 29.7}
    return {"schema": "unmask.verdict/1", "source": "test", "people": people, "quality": quality, "shed": None, **more}


@dataclass
class Session:
    """What one publisher sent."""

    names: list[str]
    origin: str | None
    pc: RTCPeerConnection
    frames: int = 0
    size: tuple[int, int] | None = None
    messages: list[str] = field(default_factory=list)
    channel: Any = None
    ended: bool = False
    """By DELETE."""
    luma: float = 0.0


class FakeWhip:
    """An endpoint on a free port of 127.0.0.1, within the loop of the test."""

    def __init__(self, root: Path = PAGE) -> None:
        self.root = root
        """The folder that is served."""
        self.sessions: list[Session] = []
        self.requests: list[tuple[str, str, int]] = []
        self.says: dict[str, Any] = verdict()
        """Sent to every open channel ten times a second."""
        self.status: list[dict[str, Any]] = []
        self.refuse_with: int | None = None
        self.calls_them = "{}"
        """What becomes of a name, such as '{} (2)' where another has it already."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> FakeWhip:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/api/status", self._status)
        app.router.add_post("/whip/{endpoint}", self._post)
        app.router.add_delete("/session/{number}", self._delete)
        app.router.add_get("/{name}", self._page)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.origin = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(session.pc.close() for session in self.sessions))
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        guarded = request.path.startswith(("/whip/", "/session/", "/api/"))
        if guarded and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            response: web.StreamResponse = web.Response(status=401)
        else:
            response = await handler(request)
        if self.root == PAGE:
            response.headers["Content-Security-Policy"] = CSP
        self.requests.append((request.method, request.path_qs, response.status))
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        file = self.root / (request.match_info.get("name") or "index.html")
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self.status)

    async def _post(self, request: web.Request) -> web.Response:
        if self.refuse_with is not None:
            return web.Response(status=self.refuse_with)
        assert request.content_type == "application/sdp"
        names = json.loads(request.headers.get("X-Unmask-Names", "[]"))
        session = Session(names, request.headers.get("Origin"), RTCPeerConnection())
        number = len(self.sessions)
        self.sessions.append(session)

        @session.pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._tasks.append(asyncio.ensure_future(_count(session, track)))

        @session.pc.on("datachannel")
        def on_channel(channel: Any) -> None:
            session.channel = channel
            channel.on("message", session.messages.append)
            self._tasks.append(asyncio.ensure_future(self._speak(channel)))

        await session.pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await session.pc.setLocalDescription(await session.pc.createAnswer())
        given = json.dumps([self.calls_them.format(name) for name in names])
        headers = {"Location": f"/session/{number}", "X-Unmask-Names": given}
        return web.Response(
            status=201, text=session.pc.localDescription.sdp, content_type="application/sdp", headers=headers
        )

    async def _delete(self, request: web.Request) -> web.Response:
        session = self.sessions[int(request.match_info["number"])]
        session.ended = True
        await session.pc.close()
        return web.Response()

    async def _speak(self, channel: Any) -> None:
        while channel.readyState == "open":
            channel.send(json.dumps(self.says))
            await asyncio.sleep(0.1)


async def _count(session: Session, track: MediaStreamTrack) -> None:
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        session.frames += 1
        session.size = (frame.width, frame.height)
        if session.frames % 10 == 0:
            session.luma = float(frame.reformat(format="gray").to_ndarray().mean())
