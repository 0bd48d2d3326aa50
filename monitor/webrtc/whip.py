"""WHIP (RFC 9725): how a publisher offers its video over HTTP, adds ICE candidates, and leaves.

    POST   /whip/NAME             an SDP offer -> 201, the answer, and the session's address in Location
    PATCH  /whip/NAME/SESSION     more ICE candidates (trickle, RFC 8840) -> 204
    DELETE /whip/NAME/SESSION     the end -> 200

ICE restarts are not possible with aiortc and are answered with 422; every other method is answered with 405.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from monitor.webrtc.offer import HttpProblem, Reachable, clean_name, read_fragment, read_names, read_offer
from monitor.webrtc.session import Session

if TYPE_CHECKING:
    from aiohttp import web

    from monitor.webrtc.limits import Limits

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
DEFAULT_ENDPOINT = "call"
_ENDPOINT = re.compile(r"[A-Za-z0-9._~-]{1,64}")

MakeSession = Callable[[str, tuple[str, ...]], Session]
"""A new session at an endpoint, its tracks named in the order of the offer. Raises HttpProblem 503."""


class Whip:
    """The WHIP routes. Belongs to the loop's thread."""

    def __init__(
        self,
        sessions: Mapping[str, Session],
        make_session: MakeSession,
        *,
        limits: Limits,
        reachable: Reachable,
        ice_servers: tuple[str, ...] = (),
    ) -> None:
        """`sessions` are those that live, by id; `ice_servers` are `stun:` addresses for publishers to use."""
        self._sessions = sessions
        self._make_session = make_session
        self._limits = limits
        self._reachable = reachable
        self._ice_servers = ice_servers

    def add_routes(self, app: web.Application) -> None:
        """Put the routes into an application."""
        for path in ("/whip", "/whip/", "/whip/{endpoint}"):
            app.router.add_route("*", path, self._endpoint)
        app.router.add_route("*", "/whip/{endpoint}/{session}", self._session)

    async def _endpoint(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Accept-Post": SDP, "Allow": "POST, OPTIONS"})
        if request.method != "POST":
            raise HttpProblem(405, "publish with POST", {"Allow": "POST, OPTIONS"})
        return await self._publish(request)

    async def _session(self, request: web.Request) -> web.Response:
        methods: dict[str, Callable[[web.Request], Awaitable[web.Response]]]
        methods = {"PATCH": self._trickle, "DELETE": self._leave, "OPTIONS": self._options}
        work = methods.get(request.method)
        if work is None:
            raise HttpProblem(405, "a session knows PATCH and DELETE", {"Allow": "PATCH, DELETE, OPTIONS"})
        return await work(request)

    async def _options(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(status=204, headers={"Accept-Patch": FRAGMENT, "Allow": "PATCH, DELETE, OPTIONS"})

    async def _publish(self, request: web.Request) -> web.Response:
        from aiohttp import web

        endpoint = request.match_info.get("endpoint") or DEFAULT_ENDPOINT
        if not _ENDPOINT.fullmatch(endpoint):
            raise HttpProblem(404, "an endpoint's name has letters, digits and . _ ~ - only, 64 at most")
        if request.content_type != SDP:
            raise HttpProblem(415, f"send the offer as {SDP}", {"Accept-Post": SDP})
        offer = read_offer(await request.read(), self._limits, self._reachable)
        given = read_names(request.headers.get("X-Unmask-Names"), self._limits)
        chars = self._limits.name_chars
        names = tuple(
            (given[number] if number < len(given) else None)
            or clean_name(video.name or "", chars)
            or _numbered(endpoint, number)
            for number, video in enumerate(offer.videos)
        )
        session = self._make_session(endpoint, tuple(name[:chars] for name in names))
        answer = await session.answer(offer)
        headers = {"Location": f"/whip/{endpoint}/{session.session_id}", "ETag": f'"{session.etag}"'}
        headers["Accept-Patch"] = FRAGMENT
        headers["X-Unmask-Names"] = json.dumps(session.names)
        response = web.Response(status=201, text=answer, content_type=SDP, headers=headers)
        for server in self._ice_servers:
            response.headers.add("Link", f'<{server}>; rel="ice-server"')
        return response

    async def _trickle(self, request: web.Request) -> web.Response:
        from aiohttp import web

        session = self._find(request)
        if request.content_type != FRAGMENT:
            raise HttpProblem(415, f"send candidates as {FRAGMENT}", {"Accept-Patch": FRAGMENT})
        wanted = {tag.strip() for tag in request.headers.get("If-Match", "*").split(",")}
        if not wanted & {"*", '"*"', f'"{session.etag}"'}:
            raise HttpProblem(412, "the session's entity tag is another one")
        await session.trickle(read_fragment(await request.read(), self._limits, self._reachable))
        return web.Response(status=204)

    async def _leave(self, request: web.Request) -> web.Response:
        from aiohttp import web

        await self._find(request).close()
        return web.Response(status=200)

    def _find(self, request: web.Request) -> Session:
        session = self._sessions.get(request.match_info["session"])
        if session is None or session.over or session.endpoint != request.match_info["endpoint"]:
            raise HttpProblem(404, "there is no such session; it may have ended")
        return session


def _numbered(endpoint: str, number: int) -> str:
    return endpoint if number == 0 else f"{endpoint} {number + 1}"
