"""The front of the HTTP server: what every request passes and every answer carries, and how connections are bounded.

connection (bounded in number and time) -> guard -> a route -> headers
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from monitor.webrtc.guard import Guard, Rates
from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import HttpProblem

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), display-capture=(self), microphone=()",
}
_GUARDED = ("/whip", "/whep", "/api")
_METHODS = "GET, POST, PATCH, DELETE, OPTIONS"


def guarded(guard: Guard, rates: Rates, limits: Limits) -> Any:
    """An aiohttp middleware: checks a request, turns every error into one line of text, never shows a traceback."""
    from aiohttp import web

    @web.middleware
    async def answer(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        origin: str | None = None
        response: web.StreamResponse
        try:
            # Foreign pages can make a browser here ask, but not with this header: they get a bucket of their own.
            rates.check(f"{request.remote or ''} {'Authorization' in request.headers}")
            guard.check_host(request.headers.get("Host"))
            origin = guard.check_origin(request.headers.get("Origin"), request.headers.get("Host"))
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                response = web.Response(status=204)
            else:
                if request.method != "OPTIONS" and request.path.startswith(_GUARDED):
                    guard.check_token(request.headers.get("Authorization"))
                if "Content-Encoding" in request.headers:
                    raise HttpProblem(415, "send the body as it is, without a content encoding")
                async with asyncio.timeout(limits.request_s):
                    response = await handler(request)
        except HttpProblem as problem:
            response = web.Response(status=problem.status, text=problem.text + "\n", headers=problem.headers)
        except web.HTTPException as problem:
            response = web.Response(status=problem.status, text=f"{problem.reason}\n")
        except TimeoutError:
            response = web.Response(status=408, text="the request took too long\n")
        except ConnectionError:
            response = web.Response(status=400)  # nobody reads it
        except Exception as error:
            log.warning("a request failed (%s)", type(error).__name__)
            response = web.Response(status=500, text="a fault in unmask itself\n")
        _finish(response, origin)
        return response

    return answer


def connection_factory(runner: web.AppRunner, limits: Limits) -> Callable[[], asyncio.Protocol]:
    """Makes the protocol of each connection: aiohttp's, for a bounded time and a bounded number of them. aiohttp
    itself would wait for ever for the end of a request's head. On the loop's thread."""
    loop = asyncio.get_running_loop()
    server: Any = runner.server

    def make() -> asyncio.Protocol:
        if len(server.connections) >= limits.connections:
            return _Refusing()
        protocol = server()
        loop.call_later(2 * limits.request_s, protocol.force_close)
        return protocol  # type: ignore[no-any-return]

    return make


class _Refusing(asyncio.Protocol):
    """A connection too many: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _finish(response: web.StreamResponse, origin: str | None) -> None:
    """What every answer has in common."""
    response.force_close()
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Vary"] = "Origin"
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match, X-Unmask-Names"
        response.headers["Access-Control-Expose-Headers"] = (
            "Location, ETag, Link, Accept-Patch, Accept-Post, X-Unmask-Names"
        )
        response.headers["Access-Control-Allow-Private-Network"] = "true"
        response.headers["Access-Control-Max-Age"] = "600"
