"""The WebRTC endpoint: an HTTP server on a loop of its own, the sessions that it holds, and who hears of their tracks.

    HTTP -> guard (host, rate, origin, token) -> WHIP, status, page
    session -> first picture of a track -> on_track ... on_gone

It listens on loopback unless it has TLS and a token; `ServerSettings` refuses anything else before a socket is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.clock import Clock, MonotonicClock
from monitor.errors import SettingsError, SourceError
from monitor.webrtc.devices import DeviceReport
from monitor.webrtc.front import PAGE_HEADERS, connection_factory, guarded
from monitor.webrtc.guard import Guard, Rates, check_origins, is_loopback
from monitor.webrtc.limits import Limits
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.offer import HttpProblem, Reach, Reachable, reachable_anywhere, reachable_here
from monitor.webrtc.page_files import load_page
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.session import Events, Session, Track
from monitor.webrtc.whip import Whip

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

DEFAULT_PORT = 8765
MIN_TOKEN_CHARS = 16
"""Of a token that guards more than this machine."""
STOP_S = 8.0
_SILENT = logging.Logger("aiohttp of unmask", logging.CRITICAL + 1)
"""aiohttp's own records hold addresses of peers."""

OnTrack = Callable[[str, str, TrackReceiver], None]
OnGone = Callable[[str, TrackReceiver], None]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens and whom it lets in. Raises SettingsError for what would be unsafe or is wrong."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0 takes any free one."""
    token: str | None = field(default=None, repr=False)
    """None makes one up."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port {self.port}: expected 0 to 65535")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("--tls-cert and --tls-key go together; give both")
        token = self.token
        if token is not None and not (token and token == token.strip() and token.isascii() and token.isprintable()):
            raise SettingsError("--token: expected printable ASCII characters without spaces at the ends")
        if not self.local:
            if self.tls_cert is None or self.token is None:
                raise SettingsError(
                    f"--host {self.host} can be reached from other machines: give --tls-cert, --tls-key and --token, "
                    "or leave --host away to serve this machine only"
                )
            if len(self.token) < MIN_TOKEN_CHARS:
                raise SettingsError(f"--token is too easily guessed; use at least {MIN_TOKEN_CHARS} characters")
        try:
            check_origins(self.allow_origins)
        except ValueError as error:
            raise SettingsError(f"--allow-origin: {error}") from None

    @property
    def local(self) -> bool:
        """True where only this machine can reach the server."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session, for status documents."""

    session_id: str
    names: tuple[str, ...]
    device: DeviceReport | None


class WebRtcServer:
    """`start` once, `stop` once. `on_track` and `on_gone` are called one after another on a thread of the server."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        on_track: OnTrack,
        on_gone: OnGone,
        status: Callable[[], list[Any]] = list,
        add_routes: Sequence[Callable[[web.Application, Reach], None]] = (),
        clock: Clock | None = None,
    ) -> None:
        """`status` makes the JSON of /api/status; `add_routes` put more routes behind the same guard."""
        self._settings = settings
        self._limits = settings.limits
        self._on_track = on_track
        self._on_gone = on_gone
        self._status = status
        self._add_routes = tuple(add_routes)
        self._clock = clock if clock is not None else MonotonicClock()
        self.token = settings.token if settings.token is not None else secrets.token_urlsafe(24)
        self._sessions: dict[str, Session] = {}
        self._rates = Rates(self._limits, self._clock)
        self._loop: LoopThread | None = None
        self._callbacks: ThreadPoolExecutor | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._port = settings.port
        self._page = load_page()

    # ------------------------------------------------------------------------------------ life

    def start(self) -> None:
        """Listen. Raises SettingsError where the certificate is of no use, SourceError where the port is taken."""
        if self._loop is not None:
            raise RuntimeError("this server was started before; make a new one")
        tls = self._tls()
        listener = self._listen()
        self._port = listener.getsockname()[1]
        self._callbacks = ThreadPoolExecutor(1, thread_name_prefix="unmask-tracks")
        self._loop = LoopThread()
        try:
            self._loop.run(self._serve(listener, tls))
        except BaseException:
            listener.close()
            self.stop()
            raise

    def stop(self) -> None:
        """End every session, close every socket, join every thread. Harmless when called again."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        receivers = [track.receiver for session in list(self._sessions.values()) for track in session.tracks]
        try:
            loop.run(self._shut(), STOP_S)
        except TimeoutError:
            log.warning("the WebRTC server did not end its sessions in %s s", STOP_S)
        loop.close()
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=True)
        for receiver in receivers:
            receiver.join(1.0)

    @property
    def url(self) -> str:
        """The address to open or to publish under, with a slash at its end."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"{'https' if self._settings.tls_cert else 'http'}://{host}:{self._port}/"

    @property
    def port(self) -> int:
        return self._port

    def sessions(self) -> tuple[SessionInfo, ...]:
        """The sessions that live now."""
        return tuple(
            SessionInfo(one.session_id, tuple(track.name for track in one.tracks), one.device)
            for one in list(self._sessions.values())
            if not one.over
        )

    def say(self, session_id: str, key: str, text: str) -> None:
        """Send `text` to a session that opened the data channel; a newer text of the same `key` takes its place."""
        session = self._sessions.get(session_id)
        if session is not None and self._loop is not None:
            self._loop.call(lambda: session.say(key, text))

    # ------------------------------------------------------------------------------------ listening

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.tls_cert is None or self._settings.tls_key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._settings.tls_cert, self._settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            said = error.strerror or type(error).__name__
            raise SettingsError(f"the TLS certificate or key cannot be used ({said}); give PEM files") from None
        return context

    def _listen(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        try:
            family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind)
        except OSError:
            raise SettingsError(f"--host {host} is no address of this machine") from None
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            listener.close()
            what = error.strerror or str(error)
            raise SourceError(f"cannot listen on {host} port {port} ({what}); choose another --port") from None
        listener.setblocking(False)
        return listener

    async def _serve(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        from aiohttp import web

        addresses, reachable = await asyncio.to_thread(self._addresses)
        origins = check_origins(self._settings.allow_origins)
        guard = Guard(self.token, origins, self._settings.local, tls is not None)
        app = web.Application(
            client_max_size=self._limits.body_bytes, middlewares=[guarded(guard, self._rates, self._limits)]
        )
        make = self._session_maker(addresses)
        Whip(self._sessions, make, limits=self._limits, reachable=reachable).add_routes(app)
        for add in self._add_routes:
            add(app, Reach(addresses, reachable))
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/api/status", self._tell_status)
        app.router.add_get("/{file:[A-Za-z0-9._-]*}", self._serve_page)
        runner = web.AppRunner(app, access_log=None, logger=_SILENT, handle_signals=False, shutdown_timeout=1.0)
        self._runner = runner
        await runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            connection_factory(runner, self._limits),
            sock=listener,
            ssl=tls,
            backlog=self._limits.connections,
            ssl_handshake_timeout=None if tls is None else self._limits.request_s,
        )

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(session.close() for session in list(self._sessions.values())), return_exceptions=True)
        if self._runner is not None:
            with contextlib.suppress(Exception):
                await self._runner.cleanup()

    def _addresses(self) -> tuple[list[str] | None, Reachable]:
        """The addresses that media comes in on (None: all), and whom to send checks to."""
        from aioice.ice import get_host_addresses

        if self._settings.local:
            own = get_host_addresses(use_ipv4=True, use_ipv6=True)
            return ["127.0.0.1", *own], reachable_here(own)
        found = {info[4][0] for info in socket.getaddrinfo(self._settings.host, None, type=socket.SOCK_STREAM)}
        everywhere = found & {"0.0.0.0", "::"}
        return None if everywhere else sorted(str(one) for one in found), reachable_anywhere

    # ------------------------------------------------------------------------------------ sessions

    def _session_maker(self, addresses: list[str] | None) -> Callable[[str, tuple[str, ...]], Session]:
        events = Events(track=self._track, track_gone=self._track_gone, ended=self._ended)

        def make(endpoint: str, names: tuple[str, ...]) -> Session:
            if len(self._sessions) >= self._limits.sessions:
                raise HttpProblem(503, "as many publishers as this server takes are here", {"Retry-After": "5"})
            taken = {name for session in self._sessions.values() for name in session.names}
            session = Session(
                endpoint,
                _distinct(names, taken),
                limits=self._limits,
                clock=self._clock,
                events=events,
                addresses=addresses,
            )
            self._sessions[session.session_id] = session
            return session

        return make

    def _track(self, session: Session, track: Track) -> None:
        self._call_back(lambda: self._on_track(track.name, session.session_id, track.receiver))

    def _track_gone(self, session: Session, track: Track) -> None:
        self._call_back(lambda: self._on_gone(session.session_id, track.receiver))

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session.session_id, None)

    def _call_back(self, function: Callable[[], None]) -> None:
        def call() -> None:
            try:
                function()
            except Exception as error:
                log.warning("a track could not be handed on: %s", error)

        if self._callbacks is not None:
            self._callbacks.submit(call)

    # ------------------------------------------------------------------------------------ requests

    async def _healthz(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="ok\n")

    async def _tell_status(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response(await asyncio.to_thread(self._status), dumps=json.dumps)

    async def _serve_page(self, request: web.Request) -> web.Response:
        from aiohttp import web

        file = self._page.get(request.match_info["file"] or "index.html")
        if file is None:
            raise HttpProblem(404, "there is nothing here")
        return web.Response(body=file.data, content_type=file.content_type, charset=file.charset, headers=PAGE_HEADERS)


def _distinct(names: Sequence[str], taken: set[str]) -> tuple[str, ...]:
    """The names, numbered where another track has the same already."""
    chosen: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken or candidate in chosen:
            number += 1
            candidate = f"{name} ({number})"
        chosen.append(candidate)
    return tuple(chosen)
