"""Wayland's way: the portal's conversation on a private D-Bus, and a stream of a real PipeWire where there is one."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from monitor.clock import Clock, MonotonicClock
from monitor.errors import SourceError
from monitor.sources import list_sources, parse_address
from monitor.sources.address import PortalAddress
from monitor.sources.desktop import Shot
from monitor.sources.locked import LoginSession
from monitor.sources.pipewire import LIBRARY, PipeWireStream, load_library
from monitor.sources.portal import PortalSession, open_portal, read_token, token_path, write_token
from monitor.sources.spa_pod import VideoFormat, crop_offer, format_offer, read_format
from monitor.types import SourceKind
from tests.fake_portal import Script, logind, portal, private_bus


class FakeStream:
    """A stream whose picture changes at each take."""

    def __init__(self, remote: int, node: int, clock: Clock) -> None:
        os.close(remote)
        self.node, self._clock, self._grey = node, clock, 0
        self.closed = False

    def take(self, timeout_s: float) -> tuple[Shot, int] | None:
        time.sleep(0.02)
        self._grey = (self._grey + 1) % 200
        return Shot(np.full((24, 32, 4), 30 + self._grey, np.uint8).tobytes(), 32, 24), self._clock.now_ns()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with private_bus(monkeypatch) as address:
        yield address


# ------------------------------------------------------------------------------------------- the conversation


def test_what_the_user_chooses_is_watched_and_remembered(bus: str) -> None:
    script, streams = Script(), []

    def opened(remote: int, node: int, clock: Clock) -> FakeStream:
        streams.append(FakeStream(remote, node, clock))
        return streams[-1]

    with portal(script):
        for round_number in range(2):
            source = open_portal(PortalAddress(), clock=MonotonicClock(), open_stream=opened)
            assert "choose" in (source.standing.waiting or "")
            frames = source.frames()
            assert next(frames).image.shape == (24, 32, 3)
            assert source.standing.waiting is None
            frames.close()
            assert script.selected["persist_mode"] == 2
            assert script.selected["types"] == 3
            assert script.selected.get("restore_token") == (None if round_number == 0 else "remember-me-1")
        script.token = "remember-me-2"
        source = open_portal(PortalAddress(fresh=True), clock=MonotonicClock(), open_stream=opened)
        frames = source.frames()
        next(frames)
        frames.close()
        assert "restore_token" not in script.selected
    assert read_token() == "remember-me-2"
    assert stat.S_IMODE(token_path().stat().st_mode) == 0o600
    assert [stream.node for stream in streams] == [42, 42, 42]
    assert all(stream.closed for stream in streams)
    assert [path.name for path in token_path().parent.iterdir()] == ["portal-token"]


def test_an_old_portal_remembers_nothing(bus: str) -> None:
    script = Script(version=3, token=None)
    with portal(script):
        frames = open_portal(PortalAddress(), clock=MonotonicClock(), open_stream=FakeStream).frames()
        next(frames)
        frames.close()
    assert "persist_mode" not in script.selected
    assert read_token() is None


def test_a_user_who_declines(bus: str) -> None:
    with portal(Script(answer=1)):
        frames = open_portal(PortalAddress(), clock=MonotonicClock(), open_stream=FakeStream).frames()
        with pytest.raises(SourceError, match="nothing was chosen") as caught:
            next(frames)
    assert not caught.value.retryable, "who declined is not asked again and again"


def test_sharing_that_the_user_ends(bus: str) -> None:
    script = Script()
    with portal(script):
        frames = open_portal(PortalAddress(), clock=MonotonicClock(), open_stream=FakeStream).frames()
        next(frames)
        script.end.set()
        with pytest.raises(SourceError, match="ended from the desktop") as caught:
            list(frames)
    assert not caught.value.retryable


def test_closing_while_the_dialog_is_open(bus: str) -> None:
    script = Script(answers=False)
    with portal(script):
        source = open_portal(PortalAddress(), clock=MonotonicClock(), open_stream=FakeStream)
        reader = threading.Thread(target=lambda: list(source.frames()))
        reader.start()
        assert script.started.wait(10)
        source.close()
        reader.join(10)
        assert not reader.is_alive()


def test_a_bus_without_a_portal(bus: str) -> None:
    with pytest.raises(SourceError, match="no xdg-desktop-portal") as caught:
        PortalSession()
    assert "\n" not in str(caught.value)


def test_no_bus_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    with pytest.raises(SourceError, match="no D-Bus session"):
        open_portal(PortalAddress(), clock=MonotonicClock())
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(SourceError, match="does not answer"):
        PortalSession()


def test_a_wayland_session_lists_the_portal_or_says_why_not() -> None:
    for trouble, available in ((None, True), ("portal: it rains", False)):
        listed = list_sources(
            cameras=lambda: (), portal=lambda said=trouble: said, environment={"WAYLAND_DISPLAY": "w"}, platform="linux"
        )
        (entry,) = [entry for entry in listed if entry.uri == "portal:"]
        assert (entry.kind, entry.available) == (SourceKind.SCREEN, available)
        assert parse_address(entry.uri) == PortalAddress()


def test_a_token_that_is_none(tmp_path: Path) -> None:
    assert read_token() is None
    for bad in ("", "x" * 5000, "a\nb"):
        write_token(bad)
        assert read_token() is None
    write_token("a1b2-c3")
    assert read_token() == "a1b2-c3"


# ------------------------------------------------------------------------------------------- the lock


def test_the_login_manager_says_whether_the_screen_is_locked(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
    locked = [False]
    with logind(lambda: locked[0]):
        session = LoginSession()
        assert not session.locked()
        locked[0] = True
        assert session.locked()
        session.close()
        assert not session.locked()


def test_without_a_login_manager_nothing_is_locked(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
    session = LoginSession()
    assert not session.locked()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    assert not LoginSession().locked()


# ------------------------------------------------------------------------------------------- the format


def test_the_format_that_is_offered_reads_back() -> None:
    assert read_format(format_offer([8, 12])) == VideoFormat(8, 1920, 1080)
    assert read_format(crop_offer()) is None


def test_damaged_formats_are_refused() -> None:
    whole = format_offer([8])
    rng = np.random.default_rng(0)
    for length in range(len(whole)):
        read_format(whole[:length])
    for _ in range(3000):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        found = read_format(bytes(damaged))
        assert found is None or 0 < found.width <= 16_384


# ------------------------------------------------------------------------------------------- a real PipeWire


@pytest.fixture
def pipewire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A PipeWire of its own with a test picture; the socket's path."""
    needed = ("pipewire", "pw-cli", "pw-link")
    missing = [name for name in needed if shutil.which(name) is None]
    try:
        load_library()
    except SourceError:
        missing.append(LIBRARY)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    runtime = Path(os.environ.get("TMPDIR", "/tmp")) / f"unmask-pw-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    config = tmp_path / "test.conf"
    config.write_text(
        "context.properties = { core.daemon = true core.name = pipewire-0 }\n"
        "context.spa-libs = { support.* = support/libspa-support videotestsrc = videotestsrc/libspa-videotestsrc }\n"
        "context.modules = [ { name = libpipewire-module-protocol-native }\n"
        "  { name = libpipewire-module-client-node } { name = libpipewire-module-adapter }\n"
        "  { name = libpipewire-module-spa-node-factory } { name = libpipewire-module-link-factory }\n"
        "  { name = libpipewire-module-access } ]\n"
        "context.objects = [ { factory = spa-node-factory args = { factory.name = videotestsrc\n"
        "  node.name = test-picture media.class = Video/Source Spa:Pod:Object:Param:Props:live = true } } ]\n"
    )
    monkeypatch.setenv("PIPEWIRE_RUNTIME_DIR", str(runtime))
    daemon = subprocess.Popen(["pipewire", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not (runtime / "pipewire-0").exists():
            assert time.monotonic() < deadline
            assert daemon.poll() is None
            time.sleep(0.05)
        yield runtime / "pipewire-0"
    finally:
        daemon.terminate()
        daemon.wait(10)
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.mark.slow
def test_pictures_of_a_real_pipewire(pipewire: Path) -> None:
    remote = socket.socket(socket.AF_UNIX)
    remote.connect(str(pipewire))
    stream = PipeWireStream(remote.detach(), 0xFFFFFFFF, MonotonicClock())
    try:
        linked = _link()
        assert linked, "the test picture could not be linked to the stream"
        taken = [one for _ in range(40) if (one := stream.take(0.5)) is not None][:5]
    finally:
        stream.close()
    assert len(taken) == 5
    shot = taken[-1][0]
    assert (shot.width, shot.height) == (320, 240) or shot.width > 0
    assert len(shot.bgra) == shot.width * shot.height * 4
    assert np.ptp(shot.pixels()[..., :3]) > 50, "the test picture is not one colour"


def _link() -> bool:
    """What a session manager would do: link the picture's port to the stream's."""
    for _ in range(50):
        ports = [
            subprocess.run(["pw-link", flag], capture_output=True, text=True, timeout=10).stdout.split("\n")[0].strip()
            for flag in ("-o", "-i")
        ]
        if all(ports) and not subprocess.run(["pw-link", *ports], capture_output=True, timeout=10).returncode:
            return True
        time.sleep(0.1)
    return False
