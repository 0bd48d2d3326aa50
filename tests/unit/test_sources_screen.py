"""The screen: what is grabbed, how often it is offered, and why it cannot be seen; once on a real X server."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.sources import list_sources, open_source
from monitor.sources.address import ScreenAddress
from monitor.sources.desktop import MssDesktop, Rect, Shot, screen_trouble
from monitor.sources.geometry import FrameFit
from monitor.sources.screen import choose_rect, open_screen
from monitor.sources.windows import Window, WindowState, open_window_system
from monitor.types import SourceKind
from tests.x_server import player, x_server_process
from tests.x_server import x_server as xvfb

WHOLE = Rect(0, 0, 3200, 1080)
LEFT, RIGHT = Rect(0, 0, 1280, 1024), Rect(1280, 0, 1920, 1080, primary=True)
MONITORS = (WHOLE, LEFT, RIGHT)


class FakeDesktop:
    """One small monitor whose picture the test sets."""

    def __init__(self) -> None:
        self.pixels = np.full((60, 80, 4), 50, np.uint8)
        self.grabs = 0
        self.open_connections = 0
        self.broken = threading.Event()
        self.screens = [Rect(0, 0, 80, 60), Rect(0, 0, 80, 60, primary=True)]

    def __call__(self) -> FakeDesktop:
        self.open_connections += 1
        return self

    def monitors(self) -> Sequence[Rect]:
        return self.screens

    def grab(self, rect: Rect) -> Shot:
        if self.broken.is_set():
            raise SourceError("screen: the screen stopped giving pictures", retryable=True)
        self.grabs += 1
        part = self.pixels[rect.top : rect.top + rect.height, rect.left : rect.left + rect.width]
        return Shot(bytearray(part.tobytes()), rect.width, rect.height)

    def close(self) -> None:
        self.open_connections -= 1


class FakeSurroundings:
    """A window system of which a test says where unmask's own windows lie, and whether the screen is locked."""

    overlapped = False

    def __init__(self) -> None:
        self.own: list[Rect] = []
        self.is_locked = False
        self.open_connections = 0

    def __call__(self) -> FakeSurroundings:
        self.open_connections += 1
        return self

    def windows(self) -> Sequence[Window]:
        return []

    def state(self, handle: int) -> WindowState:
        return WindowState.GONE

    def grab(self, handle: int) -> Shot | None:
        return None

    def own_rects(self) -> Sequence[Rect]:
        return list(self.own)

    def locked(self) -> bool:
        return self.is_locked

    def close(self) -> None:
        self.open_connections -= 1


def open_fake(
    desktop: FakeDesktop,
    address: ScreenAddress | None = None,
    fit: FrameFit | None = None,
    surroundings: FakeSurroundings | None = None,
):
    return open_screen(
        address or ScreenAddress(),
        clock=MonotonicClock(),
        fit=fit,
        desktop=desktop,
        surroundings=surroundings or FakeSurroundings(),
        platform="linux",
        environment={},
    )


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------- where


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ScreenAddress(), RIGHT),
        (ScreenAddress(monitor=0), WHOLE),
        (ScreenAddress(monitor=1), LEFT),
        (ScreenAddress(monitor=2), RIGHT),
        (ScreenAddress(region_px=(1300, 10, 640, 360)), Rect(1300, 10, 640, 360)),
        (ScreenAddress(monitor=2, region_px=(20, 10, 640, 360)), Rect(1300, 10, 640, 360)),
        (ScreenAddress(region_px=(3000, 1000, 640, 360)), Rect(3000, 1000, 200, 80)),
        (ScreenAddress(region_px=(-50, -50, 100, 100)), Rect(0, 0, 50, 50)),
    ],
)
def test_which_part_of_the_desktop(address: ScreenAddress, expected: Rect) -> None:
    _, rect = choose_rect(address, MONITORS)
    assert (rect.left, rect.top, rect.width, rect.height) == (
        expected.left,
        expected.top,
        expected.width,
        expected.height,
    )


def test_a_region_in_fractions_lies_within_the_rectangle() -> None:
    _, rect = choose_rect(ScreenAddress(monitor=2), MONITORS, (0.5, 0.5, 0.5, 0.5))
    assert rect == Rect(1280 + 960, 540, 960, 540)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (ScreenAddress(monitor=3), "there is no monitor 3; there are 2"),
        (ScreenAddress(region_px=(5000, 0, 64, 64)), "not on the screen, which is 3200 x 1080"),
        (ScreenAddress(monitor=1, region_px=(1279, 0, 64, 64)), "not on the screen, which is 1280 x 1024"),
    ],
)
def test_a_place_that_is_not_there(address: ScreenAddress, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        choose_rect(address, MONITORS)
    assert caught.value.retryable, "a monitor may come back"


def test_no_monitor_at_all() -> None:
    with pytest.raises(SourceError, match="no monitor"):
        choose_rect(ScreenAddress(), ())


# ------------------------------------------------------------------------------------------- what


def test_rgb_and_size() -> None:
    desktop = FakeDesktop()
    desktop.pixels[...] = (10, 20, 30, 255)
    source = open_fake(desktop, ScreenAddress(region_px=(8, 4, 40, 20)))
    assert (source.info.width_px, source.info.height_px, source.info.kind) == (40, 20, SourceKind.SCREEN)
    frames = source.frames()
    frame = next(frames)
    frames.close()
    assert frame.image.shape == (20, 40, 3)
    assert (frame.image == (30, 20, 10)).all()
    assert desktop.open_connections == 0


def test_large_screens_are_scaled_down() -> None:
    source = open_fake(FakeDesktop(), fit=FrameFit(64))
    frames = source.frames()
    assert next(frames).image.shape == (48, 64, 3)
    frames.close()


def test_a_still_screen_is_offered_four_times_a_second() -> None:
    desktop = FakeDesktop()
    source = open_fake(desktop)
    frames = source.frames()
    taken = [next(frames) for _ in range(3)]
    frames.close()
    steps_s = np.diff([frame.media_ns for frame in taken]) / 1e9
    assert ((steps_s > 0.23) & (steps_s < 0.5)).all()
    assert [frame.seq for frame in taken] == [0, 1, 2]
    assert desktop.grabs > 8


def test_a_changed_screen_is_offered_at_once() -> None:
    desktop = FakeDesktop()
    source = open_fake(desktop)
    frames = source.frames()
    first = next(frames)
    desktop.pixels = np.full((60, 80, 4), 99, np.uint8)
    second = next(frames)
    frames.close()
    assert second.image[0, 0, 0] == 99
    assert first.image[0, 0, 0] == 50
    assert (second.recv_ns - first.recv_ns) / 1e9 < 0.2


def test_a_screen_that_goes_away_is_an_error_worth_trying_again() -> None:
    desktop = FakeDesktop()
    frames = open_fake(desktop).frames()
    next(frames)
    desktop.broken.set()
    with pytest.raises(SourceError, match="stopped giving pictures") as caught:
        list(frames)
    assert caught.value.retryable
    assert desktop.open_connections == 0


# ------------------------------------------------------------------------------------------- what is told


def test_unmasks_own_window_is_cut_out_and_told() -> None:
    desktop, surroundings = FakeDesktop(), FakeSurroundings()
    desktop.pixels[...] = 200
    surroundings.own = [Rect(20, 10, 30, 20)]
    source = open_fake(desktop, surroundings=surroundings)
    frames = source.frames()
    image = next(frames).image
    standing = source.standing
    frames.close()
    assert (image[10:30, 20:50] == 128).all()
    assert (image[:7] == 200).all()
    assert "cut out" in (standing.remark or "")
    assert "covers" in (standing.remark or "")
    assert surroundings.open_connections == 0


def test_a_window_of_unmask_beside_the_region_is_not_told() -> None:
    surroundings = FakeSurroundings()
    surroundings.own = [Rect(60, 40, 20, 20)]
    source = open_fake(FakeDesktop(), ScreenAddress(region_px=(0, 0, 40, 30)), surroundings=surroundings)
    frames = source.frames()
    assert (next(frames).image == 50).all()
    assert source.standing.remark is None
    frames.close()


def test_a_picture_of_more_pixels_than_points_is_cut_out_at_its_own_scale() -> None:
    """A display of two pixels a point (macOS): the rectangle is in points, the picture in pixels."""

    class Retina(FakeDesktop):
        def grab(self, rect: Rect) -> Shot:
            one = super().grab(rect)
            return Shot(bytearray(one.pixels().repeat(2, 0).repeat(2, 1).tobytes()), 2 * one.width, 2 * one.height)

    surroundings = FakeSurroundings()
    surroundings.own = [Rect(20, 10, 30, 20)]
    source = open_fake(Retina(), surroundings=surroundings)
    assert (source.info.width_px, source.info.height_px) == (160, 120)
    frames = source.frames()
    image = next(frames).image
    frames.close()
    assert image.shape == (120, 160, 3)
    assert (image[20:60, 40:100] == 128).all()
    assert (image[:15] == 50).all()
    assert (image[66:] == 50).all()


def test_a_region_beyond_the_screen_is_told() -> None:
    source = open_fake(FakeDesktop(), ScreenAddress(region_px=(50, 40, 100, 100)))
    frames = source.frames()
    assert next(frames).image.shape == (20, 30, 3)
    assert source.standing.remark == "only 30 x 20 of the 100 x 100 pixels lie on the screen"
    frames.close()


def test_x11_under_wayland_says_what_is_missing() -> None:
    source = open_screen(
        ScreenAddress(),
        clock=MonotonicClock(),
        desktop=FakeDesktop(),
        surroundings=FakeSurroundings(),
        platform="linux",
        environment={"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"},
    )
    source.close()
    assert "portal:" in (source.info.notice or "")


@pytest.mark.parametrize("what", ["locked", "black"])
def test_a_locked_or_black_screen_is_told_and_waited_out(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.sources.screen.LOCK_EVERY_S", 0.0)
    desktop, surroundings = FakeDesktop(), FakeSurroundings()
    source = open_fake(desktop, surroundings=surroundings)
    frames = source.frames()
    next(frames)
    if what == "locked":
        surroundings.is_locked = True
    else:
        desktop.pixels[..., :3] = 0
    wait_for(lambda: source.standing.waiting is not None)
    assert what in (source.standing.waiting or "")
    surroundings.is_locked = False
    desktop.pixels[..., :3] = 77
    newest = next(frame for frame in frames if frame.image[0, 0, 0] == 77)
    frames.close()
    assert newest.image.max() == 77
    assert source.standing.waiting is None


def test_a_monitor_that_moves_is_followed_and_one_that_goes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.sources.screen.MONITORS_EVERY_S", 0.0)
    desktop = FakeDesktop()
    desktop.pixels[:, 40:, :3] = 90
    left, right = Rect(0, 0, 40, 60, primary=True), Rect(40, 0, 40, 60)
    desktop.screens = [Rect(0, 0, 80, 60), left, right]
    frames = open_fake(desktop, ScreenAddress(monitor=2)).frames()
    assert next(frames).image[0, 0, 0] == 90
    desktop.screens = [Rect(0, 0, 80, 60), right, left]
    assert next(frame for frame in frames if frame.image[0, 0, 0] == 50) is not None
    desktop.screens = [Rect(0, 0, 80, 60), left]
    with pytest.raises(SourceError, match="no monitor 2; there are 1") as caught:
        list(frames)
    assert caught.value.retryable


# ------------------------------------------------------------------------------------------- why not


@pytest.mark.parametrize(
    ("platform", "environment", "says", "retryable"),
    [
        ("linux", {"DISPLAY": ":0"}, "unlock the screen", True),
        ("linux", {"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}, "Wayland", False),
        ("darwin", {}, "Screen & System Audio Recording", False),
        ("win32", {}, "unlock the screen", True),
    ],
)
def test_a_black_screen_says_why(platform: str, environment: dict[str, str], says: str, retryable: bool) -> None:
    desktop = FakeDesktop()
    desktop.pixels[..., :3] = 0
    with pytest.raises(SourceError) as caught:
        open_screen(
            ScreenAddress(),
            clock=MonotonicClock(),
            desktop=desktop,
            surroundings=FakeSurroundings(),
            platform=platform,
            environment=environment,
        )
    assert says in str(caught.value)
    assert caught.value.retryable is retryable
    assert desktop.open_connections == 0


def test_a_black_region_of_a_screen_that_is_not_black_is_fine() -> None:
    desktop = FakeDesktop()
    desktop.pixels[:30, :, :3] = 0
    source = open_fake(desktop, ScreenAddress(region_px=(0, 0, 40, 20)))
    frames = source.frames()
    assert not next(frames).image.any()
    frames.close()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"XDG_SESSION_TYPE": "wayland"}, "Wayland session"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "Wayland session"),
        ({}, "no display"),
        ({"DISPLAY": ""}, "no display"),
    ],
)
def test_linux_without_x(environment: dict[str, str], says: str) -> None:
    assert says in (screen_trouble("linux", environment) or "")


def test_linux_with_x_and_windows_have_no_trouble() -> None:
    assert screen_trouble("linux", {"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}) is None
    assert screen_trouble("win32", {}) is None


@pytest.mark.skipif(sys.platform != "linux", reason="DISPLAY is a matter of X11")
def test_a_display_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":978")
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        open_source("screen:", clock=MonotonicClock())
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- a real X server


@pytest.fixture
def x_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty Xvfb of 800 x 600; DISPLAY names it."""
    with xvfb(monkeypatch) as display:
        yield display


_CLIENT = """
import sys, time
from PyQt6.QtWidgets import QApplication, QWidget
from PyQt6.QtGui import QPainter, QColor
from PyQt6.QtCore import Qt, QTimer
app = QApplication(sys.argv)
class Window(QWidget):
    shade = 60
    def paintEvent(self, event):
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(255, 0, 0))
        painter.fillRect(400, 0, 400, 600, QColor(0, 0, self.shade))
        painter.end()
    def tick(self):
        self.shade = 60 + (self.shade + 7) % 180
        self.update()
window = Window(flags=Qt.WindowType.FramelessWindowHint)
window.setGeometry(0, 0, 800, 600)
window.show()
timer = QTimer(); timer.timeout.connect(window.tick); timer.start(50)
app.exec()
"""


@pytest.fixture
def painted(x_server: str) -> Iterator[str]:
    """The X server with a client: red on the left, a blue that changes 20 times a second on the right."""
    client = subprocess.Popen(
        [sys.executable, "-c", _CLIENT],
        env={**os.environ, "DISPLAY": x_server, "QT_QPA_PLATFORM": "xcb"},
        stderr=subprocess.DEVNULL,
    )
    try:
        desktop = MssDesktop()
        try:
            deadline = time.monotonic() + 20
            while desktop.grab(Rect(10, 10, 2, 2)).bgra[2] != 255:
                if client.poll() is not None or time.monotonic() > deadline:
                    pytest.skip("no window could be shown on Xvfb (Qt's xcb plug-in lacks libraries)")
                time.sleep(0.05)
        finally:
            desktop.close()
        yield x_server
    finally:
        client.terminate()
        client.wait(10)


@pytest.mark.slow
def test_grabs_a_real_x_screen(painted: str) -> None:
    source = open_source("screen:", clock=MonotonicClock(), max_frame_px=400)
    assert (source.info.width_px, source.info.height_px) == (400, 300)
    frames = source.frames()
    started = time.monotonic()
    taken = [next(frames) for _ in range(20)]
    elapsed_s = time.monotonic() - started
    frames.close()
    assert (taken[0].image[:, :190] == (255, 0, 0)).all()
    assert (taken[0].image[:, 210:, :2] == 0).all()
    assert len({int(frame.image[150, 300, 2]) for frame in taken}) >= 15
    assert elapsed_s < 5
    (listing,) = [entry for entry in list_sources() if entry.kind is SourceKind.SCREEN]
    assert listing.available
    assert "800 x 600" in listing.detail


@pytest.mark.slow
def test_a_region_of_a_real_x_screen_that_stands_still(painted: str) -> None:
    source = open_source("screen:?region=100,100,200,150", clock=MonotonicClock(), region=(0.0, 0.0, 0.5, 1.0))
    frames = source.frames()
    taken = [next(frames) for _ in range(2)]
    frames.close()
    assert taken[0].image.shape == (150, 100, 3)
    assert (taken[0].image == (255, 0, 0)).all()
    assert (taken[1].media_ns - taken[0].media_ns) / 1e9 > 0.23


def test_a_saver_on_a_real_x_screen_is_told(x_server: str) -> None:
    from Xlib import X, display

    system = open_window_system("linux")
    assert not system.locked()
    other = display.Display(x_server)
    other.force_screen_saver(X.ScreenSaverActive)
    other.sync()
    assert system.locked()
    other.force_screen_saver(X.ScreenSaverReset)
    other.sync()
    assert not system.locked()
    other.close()
    system.close()


def test_an_empty_x_screen_is_black(x_server: str) -> None:
    with pytest.raises(SourceError, match="black"):
        open_source("screen:", clock=MonotonicClock())


@pytest.mark.slow
@pytest.mark.parametrize("hz", [15.0, 8.0])
def test_a_video_on_a_real_x_screen_has_its_own_cadence(x_server: str, hz: float) -> None:
    """A player shows numbered pictures: each is offered once, at its own rate, and the rate is told."""
    with player(x_server, "Video", hz):
        source = open_source("screen:", clock=MonotonicClock())
        frames = source.frames()
        began = time.monotonic()
        offered = []
        for frame in frames:
            offered.append((frame.media_ns, tuple(frame.image[84, 104])))
            if time.monotonic() - began > 6.0:
                break
        cadence_hz = source.standing.cadence_hz
        frames.close()
    settled = [one for one in offered if one[0] > 2_000_000_000]
    numbers = [number for _, number in settled]
    repeats = sum(one == other for one, other in itertools.pairwise(numbers))
    assert repeats <= 2, "a picture was offered twice"
    span_s = (settled[-1][0] - settled[0][0]) / 1e9
    assert len(set(numbers)) / span_s == pytest.approx(hz, rel=0.3), "a loaded machine may lose some"
    assert cadence_hz is not None
    assert cadence_hz <= hz * 1.15
    assert cadence_hz == pytest.approx(hz, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["screen:", "window:video"])
def test_an_x_server_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    with x_server_process(monkeypatch) as (display, server), player(display, "Video", 15.0) as playing:
        frames = open_source(uri, clock=MonotonicClock()).frames()
        next(frames)
        server.terminate()
        with pytest.raises(SourceError) as caught:
            list(frames)
        playing.process.wait(20)
    assert "\n" not in str(caught.value)
