"""A server whose tracks are kept in a list, and a loop for the tests' own peers."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


def self_signed(key: Any) -> x509.Certificate:
    """A certificate for 127.0.0.1, signed with its own private key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


@pytest.fixture
def certificate() -> Callable[[Path], tuple[Path, Path]]:
    """Writes a self-signed certificate for 127.0.0.1 and its key into a folder."""

    def write(folder: Path) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        chain, secret = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(self_signed(key).public_bytes(pem))
        secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return chain, secret

    return write
