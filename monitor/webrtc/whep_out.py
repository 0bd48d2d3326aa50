"""WHEP from us: whoever has the token can watch what is judged, with the judgement drawn in.

    POST   /whep/SOURCE            an SDP offer -> 201, the answer, and the session's address in Location
    GET    /whep/SOURCE            204, as draft-ietf-wish-whep-03 wants it
    GET    /whep/SOURCE/picture    one picture as image/jpeg
    PATCH  /whep/SOURCE/SESSION    more ICE candidates (trickle, RFC 8840) -> 204
    DELETE /whep/SOURCE/SESSION    the end -> 200

SOURCE is the name of a source as /api/status has it, percent-encoded. `?where=1` also draws where a face with signs
looks replaced. Token, origin and rate of requests are checked by the server before a route sees anything
(`guard.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from monitor.webrtc.draw import DrawOptions
from monitor.webrtc.ice import listen_only_on
from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import HttpProblem, Reach, Trickled, ViewerOffer, read_fragment, read_viewer_offer
from monitor.webrtc.studio import DrawnTrack, Studio, ViewOf

if TYPE_CHECKING:
    from aiohttp import web
    from aiortc import RTCPeerConnection

log = logging.getLogger(__name__)

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
WATCH_EVERY_S = 0.25
ANSWER_S = 5.0
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class ViewerLimits:
    """How much looking on may cost."""

    viewers: int = 4
    connect_s: float = 15.0
    """A viewer who is not connected so long after the answer is let go."""

    def __post_init__(self) -> None:
        if self.viewers < 1 or self.connect_s <= 0:
            raise ValueError("ViewerLimits: expected viewers >= 1 and connect_s > 0")


class Viewer:
    """One who watches one source."""

    def __init__(self, key: str, track: DrawnTrack, *, limits: ViewerLimits, ended: Callable[[Viewer], None]) -> None:
        self.key = key
        self.viewer_id = secrets.token_urlsafe(18)
        self.etag = secrets.token_hex(8)
        self._track = track
        self._limits = limits
        self._ended = ended
        self._ufrag = ""
        self._candidates = 0
        self._connection: RTCPeerConnection | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def answer(self, offer: ViewerOffer, addresses: Sequence[str] | None) -> str:
        """The SDP answer. Raises HttpProblem 400 or 422, after which the viewer is gone."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._answer(offer, addresses)
        except HttpProblem:
            await self.close()
            raise
        except asyncio.CancelledError:  # the request's own time is over
            self._end_soon()
            raise
        except Exception as error:  # whatever aiortc makes of an offer that it cannot use
            log.debug("a viewer's offer was not understood: %s", type(error).__name__)
            await self.close()
            raise HttpProblem(400, "the offer cannot be understood") from None

    async def _answer(self, offer: ViewerOffer, addresses: Sequence[str] | None) -> str:
        from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
        from aiortc.exceptions import OperationError

        connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connection = connection
        self._ufrag, self._candidates = offer.ufrag, offer.candidates
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        except OperationError:
            raise HttpProblem(422, "no codec of the offer can be made here; offer VP8 or H.264") from None
        for transceiver in connection.getTransceivers():
            wanted = transceiver.kind == "video" and transceiver.mid == offer.mid
            transceiver.direction = "sendonly" if wanted else "inactive"
            if wanted:
                transceiver.sender.replaceTrack(self._track)
        listen_only_on(connection, addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        self._watch = asyncio.get_running_loop().create_task(self._keep_watch(connection))
        return str(connection.localDescription.sdp)

    async def trickle(self, fragment: Trickled, limits: Limits) -> None:
        """Take more candidates. Raises HttpProblem 422 for an ICE restart or too many."""
        from aiortc.sdp import candidate_from_sdp

        if fragment.ufrag is not None and fragment.ufrag != self._ufrag:
            raise HttpProblem(422, "an ICE restart is not possible here; subscribe again")
        self._candidates += fragment.count
        if self._candidates > limits.candidates:
            raise HttpProblem(422, f"more than {limits.candidates} ICE candidates in one session")
        for mid, line in fragment.candidates if self._connection is not None else ():
            candidate = candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid = mid
            await self._connection.addIceCandidate(candidate)  # type: ignore[union-attr]

    async def close(self) -> None:
        """Let the viewer go; returns when nothing is held any more. May be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.gather(self._watch, return_exceptions=True)
            self._track.stop()
            if self._connection is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._connection.close(), CLOSE_S)
        finally:
            self._ended(self)

    async def _keep_watch(self, connection: RTCPeerConnection) -> None:
        """Let go of a viewer who never came, who has left, or whose source has gone."""
        waited_s = 0.0
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            waited_s += WATCH_EVERY_S
            state = connection.connectionState
            if state in ("failed", "closed") or self._track.readyState != "live":
                break
            if state != "connected" and waited_s >= self._limits.connect_s:
                break
        self._end_soon()

    def _end_soon(self) -> None:
        self._closing = self._closing or asyncio.get_running_loop().create_task(self._close())


class WhepOut:
    """The WHEP routes and their viewers. Belongs to the loop's thread; `close` before the loop ends."""

    def __init__(
        self, view_of: ViewOf, *, reach: Reach, limits: Limits | None = None, viewer_limits: ViewerLimits | None = None
    ) -> None:
        self.studio = Studio(view_of)
        self._reach = reach
        self._limits = limits or Limits()
        self._viewer_limits = viewer_limits or ViewerLimits()
        self._viewers: dict[str, tuple[Viewer, DrawOptions]] = {}

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return len(self._viewers)

    def add_routes(self, app: web.Application) -> None:
        """Put the routes into an application; they are closed when it is shut down."""

        async def shut(_app: web.Application) -> None:
            await self.close()

        app.on_shutdown.append(shut)
        app.router.add_route("*", "/whep/{source}", self._source)
        app.router.add_route("GET", "/whep/{source}/picture", self._picture)
        app.router.add_route("*", "/whep/{source}/{session}", self._session)

    async def close(self) -> None:
        """Let every viewer go and end the drawing."""
        await asyncio.gather(*(viewer.close() for viewer, _ in list(self._viewers.values())))
        self.studio.close()

    # ------------------------------------------------------------------------------------ requests

    async def _source(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Accept-Post": SDP, "Allow": "POST, GET, OPTIONS"})
        self._check(request)
        if request.method in ("GET", "HEAD"):
            return web.Response(status=204)
        if request.method != "POST":
            raise HttpProblem(405, "subscribe with POST", {"Allow": "POST, GET, OPTIONS"})
        if request.content_type != SDP:
            raise HttpProblem(415, f"send the offer as {SDP}", {"Accept-Post": SDP})
        offer = read_viewer_offer(await request.read(), self._limits, self._reach.reachable)
        if len(self._viewers) >= self._viewer_limits.viewers:
            raise HttpProblem(503, f"{len(self._viewers)} already watch; come back later", {"Retry-After": "10"})
        options = _options(request)
        key = request.match_info["source"]
        viewer = Viewer(key, DrawnTrack(self.studio, key, options), limits=self._viewer_limits, ended=self._gone)
        self._viewers[viewer.viewer_id] = viewer, options
        answer = await viewer.answer(offer, self._reach.addresses)
        location = f"/whep/{quote(key, safe='')}/{viewer.viewer_id}"
        headers = {"Location": location, "ETag": f'"{viewer.etag}"', "Accept-Patch": FRAGMENT}
        return web.Response(status=201, text=answer, content_type=SDP, headers=headers)

    async def _picture(self, request: web.Request) -> web.Response:
        from aiohttp import web

        self._check(request)
        jpeg = await self.studio.jpeg(request.match_info["source"], _options(request))
        if jpeg is None:
            raise HttpProblem(404, "there is no such source; it may have ended")
        return web.Response(body=jpeg, content_type="image/jpeg", headers={"Cache-Control": "no-store"})

    async def _session(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Accept-Patch": FRAGMENT, "Allow": "PATCH, DELETE, OPTIONS"})
        if request.method not in ("PATCH", "DELETE"):
            raise HttpProblem(405, "a session knows PATCH and DELETE", {"Allow": "PATCH, DELETE, OPTIONS"})
        viewer, _ = self._viewers.get(request.match_info["session"], (None, None))
        if viewer is None or viewer.key != request.match_info["source"]:
            raise HttpProblem(404, "there is no such session; it may have ended")
        if request.method == "DELETE":
            await viewer.close()
            return web.Response(status=200)
        if request.content_type != FRAGMENT:
            raise HttpProblem(415, f"send candidates as {FRAGMENT}", {"Accept-Patch": FRAGMENT})
        await viewer.trickle(read_fragment(await request.read(), self._limits, self._reach.reachable), self._limits)
        return web.Response(status=204)

    def _check(self, request: web.Request) -> None:
        """Raises HttpProblem 404 for a source that is not watched."""
        if self.studio.view(request.match_info["source"]) is None:
            raise HttpProblem(404, "there is no such source; GET /api/status lists them")

    def _gone(self, viewer: Viewer) -> None:
        _, options = self._viewers.pop(viewer.viewer_id, (viewer, None))
        others = any(one.key == viewer.key and its == options for one, its in self._viewers.values())
        if options is not None and not others:
            self.studio.forget(viewer.key, options)


def whep_out_routes(
    view_of: ViewOf, *, limits: Limits | None = None, viewer_limits: ViewerLimits | None = None
) -> Callable[[web.Application, Reach], None]:
    """The routes, for `WebRtcServer(add_routes=...)`."""

    def add(app: web.Application, reach: Reach) -> None:
        WhepOut(view_of, reach=reach, limits=limits, viewer_limits=viewer_limits).add_routes(app)

    return add


def _options(request: web.Request) -> DrawOptions:
    """Raises HttpProblem 400 for an option that is none."""
    where = request.query.get("where", "0")
    if where not in ("0", "1") or set(request.query) - {"where"}:
        raise HttpProblem(400, "the one option is where=1: also draw where a face looks replaced")
    return DrawOptions(where=where == "1")
