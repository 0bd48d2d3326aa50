"""A server whose tracks are kept in a list, and a loop for the tests' own peers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from monitor.webrtc.limits import Limits
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.server import ServerSettings, WebRtcServer

TOKEN = "a-token-of-the-tests"


@dataclass
class Told:
    """What a server has said of its tracks."""

    came: list[tuple[str, str, TrackReceiver]] = field(default_factory=list)
    went: list[tuple[str, TrackReceiver]] = field(default_factory=list)
    event: threading.Event = field(default_factory=threading.Event)

    def on_track(self, name: str, session_id: str, receiver: TrackReceiver) -> None:
        self.came.append((name, session_id, receiver))

    def on_gone(self, session_id: str, receiver: TrackReceiver) -> None:
        self.went.append((session_id, receiver))


@dataclass
class Serving:
    """A running server of a test."""

    server: WebRtcServer
    told: Told
    loop: LoopThread
    """For the peers of the test; not the server's."""

    @property
    def whip(self) -> str:
        return f"{self.server.url}whip/call"

    @property
    def bearer(self) -> str:
        return f"Bearer {self.server.token}"


@pytest.fixture
def peers() -> Iterator[LoopThread]:
    loop = LoopThread("unmask-test-peers")
    yield loop
    loop.close()


@pytest.fixture
def serving(peers: LoopThread) -> Iterator[Callable[..., Serving]]:
    """Starts servers on free ports of 127.0.0.1 and stops them after the test."""
    servers: list[WebRtcServer] = []

    def start(limits: Limits | None = None, **options: Any) -> Serving:
        told = Told()
        server_options = {name: options.pop(name) for name in ("status", "add_routes") if name in options}
        settings = ServerSettings(port=0, token=TOKEN, limits=limits or Limits(requests_a_s=1e6), **options)
        server = WebRtcServer(settings, on_track=told.on_track, on_gone=told.on_gone, **server_options)
        servers.append(server)
        server.start()
        return Serving(server, told, peers)

    yield start
    for server in servers:
        server.stop()
