"""The proof that the overlay is not inside its own picture: with a monitor that sees it, or not; and under Xvfb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PyQt6.QtGui import QImage

from gui.exclusion import exclude_from_capture
from gui.overlay import Overlay
from gui.probe import INSIDE, OverlayProbe, PatchWidget, ProbeState
from monitor.history.recorded import recorded, recorded_gathering
from monitor.hub import HubSnapshot
from monitor.settings import Settings
from monitor.types import Frame, SourceKind
from tests.unit.test_history_recorder import ScriptedMonitor
from tests.x_server import REPO, player
from tests.x_server import x_server as xvfb

SCREEN_PX = (900, 1400)


class Camera:
    """A monitor whose pictures show a screen, with the overlay in it or not, at three quarters of its size."""

    def __init__(self, overlay: Overlay, *, sees: bool, scale: float = 0.75) -> None:
        self._overlay, self._sees, self._scale = overlay, sees, scale
        self._frame: Frame | None = None
        self.cut: tuple[tuple[float, float, float, float], ...] = ()

    def snap(self) -> None:
        """Take a picture; on Qt's thread."""
        screen = np.full((*SCREEN_PX, 3), 90, np.uint8)
        if self._sees:
            image = self._overlay.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
            bits = image.constBits()
            assert bits is not None
            rows = np.frombuffer(bits.asarray(image.sizeInBytes()), np.uint8).reshape(image.height(), -1)
            pixels = rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
            at = self._overlay.pos()
            screen[at.y() : at.y() + image.height(), at.x() : at.x() + image.width()] = pixels
        small = cv2.resize(screen, None, fx=self._scale, fy=self._scale, interpolation=cv2.INTER_AREA)
        now_ns = time.monotonic_ns()
        self._frame = Frame("screen:", 0, now_ns, now_ns, np.asarray(small, np.uint8))

    def newest_frame(self) -> Frame | None:
        return self._frame

    def cut_out(self, regions: tuple[tuple[float, float, float, float], ...]) -> None:
        self.cut = regions


@pytest.fixture
def overlay(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(dark=True)
    overlay.move(500, 200)
    overlay.show()
    return overlay


@pytest.fixture
def probe(overlay: Overlay) -> Iterator[OverlayProbe]:
    probe = OverlayProbe(overlay)
    yield probe
    probe.close()


def prove(qtbot, probe: OverlayProbe, camera: Camera, generation: int = 1, monitor: object | None = None) -> ProbeState:
    def over() -> bool:
        camera.snap()
        probe.look(camera if monitor is None else monitor, SourceKind.SCREEN, generation)
        return probe.state not in (ProbeState.WAITING, ProbeState.LOOKING)

    qtbot.waitUntil(over, timeout=40_000)
    return probe.state


def assert_covered(camera: Camera, overlay: Overlay) -> None:
    ((x, y, w, h),) = camera.cut
    place, (height, width) = overlay.geometry(), SCREEN_PX
    assert x * width <= place.x()
    assert y * height <= place.y()
    assert (x + w) * width >= place.x() + place.width()
    assert (y + h) * height >= place.y() + place.height()
    assert w * width < 1.4 * place.width(), "no more is cut out than needed"
    assert h * height < 1.4 * place.height()


def test_an_overlay_inside_its_picture_is_told_and_cut_out_wherever_it_moves(
    qtbot, overlay: Overlay, probe: OverlayProbe
) -> None:
    camera = Camera(overlay, sees=True)
    assert prove(qtbot, probe, camera) is ProbeState.INSIDE
    assert probe.said == INSIDE
    assert_covered(camera, overlay)
    overlay.move(120, 60)
    probe.look(camera, SourceKind.SCREEN, 1)
    assert_covered(camera, overlay)
    assert not overlay.findChildren(PatchWidget) or not overlay.findChildren(PatchWidget)[0].isVisible()


def test_an_overlay_outside_is_proved_so_and_nothing_is_said(qtbot, overlay: Overlay, probe: OverlayProbe) -> None:
    camera = Camera(overlay, sees=False)
    assert prove(qtbot, probe, camera) is ProbeState.OUTSIDE
    assert probe.said is None
    assert camera.cut == ()
    assert prove(qtbot, probe, camera, generation=2) is ProbeState.OUTSIDE, "a new monitor is proved anew"


def test_without_pictures_nothing_is_claimed(qtbot, overlay: Overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gui.probe.LONGEST_S", 0.3)
    probe, camera = OverlayProbe(overlay), Camera(overlay, sees=True)
    camera.snap()

    def over() -> bool:
        probe.look(camera, SourceKind.SCREEN, 1)
        return probe.state is ProbeState.UNPROVED

    qtbot.waitUntil(over, timeout=20_000)
    assert "Could not check" in (probe.said or "")
    probe.close()


def test_of_several_sources_the_screen_is_probed(qtbot, overlay: Overlay, probe: OverlayProbe) -> None:
    camera = Camera(overlay, sees=True)
    gathered = SimpleNamespace(on_screen=None)
    probe.look(gathered, SourceKind.WEBCAM, 1)
    assert probe.state is ProbeState.WAITING
    gathered.on_screen = camera

    def over() -> bool:
        camera.snap()
        probe.look(gathered, SourceKind.WEBCAM, 1)
        return probe.state is ProbeState.INSIDE

    qtbot.waitUntil(over, timeout=40_000)
    assert_covered(camera, overlay)


def test_a_pause_takes_the_patch_away(qtbot, overlay: Overlay, probe: OverlayProbe) -> None:
    camera = Camera(overlay, sees=True)
    camera.snap()
    probe.look(camera, SourceKind.SCREEN, 1)
    (patch,) = overlay.findChildren(PatchWidget)
    assert patch.isVisible()
    probe.look(None, None, 1)
    assert not patch.isVisible()
    assert probe.state is ProbeState.WAITING
    assert prove(qtbot, probe, camera) is ProbeState.INSIDE


class Scripted(ScriptedMonitor):
    """A monitor, or a gathering of one screen, whose pictures are the camera's."""

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.on_screen = camera
        self.newest_frame, self.cut_out = camera.newest_frame, camera.cut_out

    def states(self) -> HubSnapshot:
        return HubSnapshot(())


@pytest.mark.parametrize("several", [False, True])
def test_a_monitor_whose_session_is_kept_is_probed_like_any_other(
    qtbot, overlay: Overlay, probe: OverlayProbe, several: bool
) -> None:
    camera, settings = Camera(overlay, sees=True), Settings(history=True)
    inner = Scripted(camera)
    monitor = (
        recorded_gathering(inner, ["webcam:0", "screen:"], settings)
        if several
        else recorded(inner, "screen:", settings)
    )
    try:
        assert prove(qtbot, probe, camera, monitor=monitor) is ProbeState.INSIDE
        assert_covered(camera, overlay)
    finally:
        monitor.stop()


@pytest.mark.parametrize("kind", [SourceKind.WEBCAM, SourceKind.FILE, None])
def test_cameras_and_files_are_not_probed(overlay: Overlay, probe: OverlayProbe, kind: SourceKind | None) -> None:
    camera = Camera(overlay, sees=True)
    camera.snap()
    probe.look(camera, kind, 1)
    assert probe.state is ProbeState.WAITING
    assert not overlay.findChildren(PatchWidget)


def test_a_monitor_that_shows_no_pictures_is_not_probed(overlay: Overlay, probe: OverlayProbe) -> None:
    probe.look(SimpleNamespace(), SourceKind.SCREEN, 1)
    probe.look(None, SourceKind.SCREEN, 1)
    assert probe.state is ProbeState.WAITING


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
def test_exclusion_never_raises(overlay: Overlay, platform: str) -> None:
    """On this system none of the three can exclude a window; the other two systems' libraries are not here."""
    if sys.platform == "linux":
        assert exclude_from_capture(overlay, platform) is False


_SCRIPT = """
import json, sys, threading, time
from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QApplication
from gui.overlay import Overlay
from gui.panel import OverlayOptions
from gui.probe import OverlayProbe, ProbeState
from monitor.capture import Capture
from monitor.clock import MonotonicClock
from monitor.mailbox import LatestMailbox
from monitor.sources import open_source
from monitor.types import SourceKind
if sys.argv[1] == "blind":
    from monitor.sources.windows_x11 import X11Windows
    X11Windows.own_rects = lambda self: []
application = QApplication(["unmask"])
overlay = Overlay(OverlayOptions(dark=True, blends=False))
overlay.move(300, 150)
overlay.show()
stop, ready, clock = threading.Event(), threading.Event(), MonotonicClock()
capture = Capture(
    lambda: open_source("screen:", clock=clock), LatestMailbox(), rate_hz=15.0, clock=clock, stop=stop, ready=ready
)
thread = threading.Thread(target=capture.run, name="unmask-capture")
thread.start()
capture.newest_frame = lambda: capture.newest
probe, ends = OverlayProbe(overlay), time.monotonic() + 40
def look():
    probe.look(capture, SourceKind.SCREEN, 1)
    if probe.state not in (ProbeState.WAITING, ProbeState.LOOKING) or time.monotonic() > ends:
        QTimer.singleShot(1500, application.quit)
timer = QTimer(); timer.timeout.connect(look); timer.start(50)
application.exec()
timer.stop()
image, place = capture.newest.image, overlay.geometry()
inside = image[place.top() + 4 : place.bottom() - 4, place.left() + 4 : place.right() - 4]
said = capture.standing.remark
stop.set(); capture.close(); thread.join(10); probe.close()
print(json.dumps({"state": probe.state.value, "grey": bool((inside == 128).all()), "remark": said}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("sight", "state"), [("own windows", "outside"), ("blind", "inside")])
def test_the_overlay_is_never_in_the_picture_of_a_real_x_screen(
    monkeypatch: pytest.MonkeyPatch, sight: str, state: str
) -> None:
    """Either the capture knows our windows and paints them over, or the patch is found and they are painted over."""
    with xvfb(monkeypatch, "1000x700") as display, player(display, "Call", 15.0, (0, 0, 1000, 700)):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, sight],
            env={**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["state"] == state
    assert result["grey"]
    assert ("cut out" in (result["remark"] or "")) is (sight == "own windows")
