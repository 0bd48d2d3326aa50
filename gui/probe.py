"""Prove at the start that the overlay is not inside the picture that it judges.

A patch of random colours is shown in the overlay for a moment and looked for in the pictures that the monitor gets.
Where it is found, the user is told, and the overlay's place is painted grey in every picture from then on, wherever
the overlay is moved to. The search works on a thread of its own; the window only shows the patch and asks.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from PyQt6.QtCore import QRect, Qt
from PyQt6.QtGui import QGuiApplication, QImage, QPainter, QPaintEvent
from PyQt6.QtWidgets import QWidget

from gui.controls import describe, painting
from monitor.sources.probe import Found, Patch, find_patch
from monitor.types import Frame, SourceKind

SETTLE_S = 0.25
"""From showing the patch to the first picture that must hold it, if any does."""
LOOKED_AT = 3
"""Pictures without the patch that prove the overlay to be outside."""
LONGEST_S = 5.0
WATCHED = (SourceKind.SCREEN, SourceKind.WINDOW)
_POLL_S = 0.05
MARGIN = 0.06
"""Share of the overlay's size that is painted around it."""

INSIDE = "unmask's own window is in the picture that it watches: its place is cut out. Move it beside the call."
INSIDE_WAYLAND = (
    "unmask's own window is in the picture that it watches. Its place is cut out, but Wayland does not tell where it "
    "is moved to: choose the window of the call instead of the screen (portal:?fresh=1)."
)
UNPROVED = "Could not check whether unmask's own window is in the picture: no picture came. Keep it beside the call."


@runtime_checkable
class Pictured(Protocol):
    """A monitor that shows what it sees, and cuts parts out of it: `monitor.pipeline.Monitor`."""

    def newest_frame(self) -> Frame | None: ...

    def cut_out(self, regions: tuple[tuple[float, float, float, float], ...]) -> None: ...


@runtime_checkable
class Gathers(Protocol):
    """Several sources watched as one: `monitor.gathering.Gathering`."""

    @property
    def on_screen(self) -> Pictured | None: ...


class ProbeState(enum.Enum):
    """How far the proof is."""

    WAITING = "waiting"
    LOOKING = "looking"
    OUTSIDE = "outside"
    INSIDE = "inside"
    UNPROVED = "unproved"


class PatchWidget(QWidget):
    """The patch, in the middle of the overlay, above everything else in it."""

    def __init__(self, patch: Patch, overlay: QWidget) -> None:
        super().__init__(overlay)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        picture = patch.image()
        side = patch.side_px
        self._image = QImage(picture.tobytes(), side, side, 3 * side, QImage.Format.Format_RGB888).copy()
        self.setGeometry((overlay.width() - side) // 2, (overlay.height() - side) // 2, side, side)
        describe(self, "Check pattern", "Shown for a moment, to see whether unmask's own window is in the picture.")
        self.raise_()
        self.show()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
            painter.drawImage(self.rect(), self._image)


class OverlayProbe:
    """The proof for one overlay. `look` is called from Qt's loop, ten times a second."""

    def __init__(self, overlay: QWidget, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._overlay = overlay
        self._now_ns = now_ns
        self._generation = -1
        self._widget: PatchWidget | None = None
        self._search: _Search | None = None
        self._shown_at = QRect()
        self._corner = (0, 0)
        self._cut: QRect | None = None
        self._found: Found | None = None
        self._seen, self._side = (1, 1), 1
        self.state = ProbeState.WAITING

    @property
    def said(self) -> str | None:
        """What to tell the user, or None."""
        wayland = QGuiApplication.platformName().startswith("wayland")
        inside = INSIDE_WAYLAND if wayland else INSIDE
        return {ProbeState.INSIDE: inside, ProbeState.UNPROVED: UNPROVED}.get(self.state)

    def look(self, monitor: object, kind: SourceKind | None, generation: int) -> None:
        """Go on with the proof for `monitor`, whose source is of `kind`; another generation is proved anew. Of several
        sources, the first screen or window is meant."""
        if isinstance(monitor, Gathers):
            monitor = monitor.on_screen
            kind = None if monitor is None else SourceKind.SCREEN
        if generation != self._generation:
            self.close()
            self._generation, self.state, self._cut = generation, ProbeState.WAITING, None
        if not isinstance(monitor, Pictured) or kind not in WATCHED:
            if self.state is ProbeState.LOOKING:
                self.close()
                self.state = ProbeState.WAITING
            return
        if self.state is ProbeState.WAITING and monitor.newest_frame() is not None and self._overlay.isVisible():
            self._begin(monitor)
        elif self.state is ProbeState.LOOKING:
            self._ask(monitor)
        elif self.state is ProbeState.INSIDE:
            self._cut_out(monitor)

    def close(self) -> None:
        """Take the patch away and end the search."""
        if self._search is not None:
            self._search.stop()
            self._search = None
        if self._widget is not None:
            self._widget.hide()
            self._widget.deleteLater()
            self._widget = None

    # ------------------------------------------------------------------------------------------

    def _begin(self, monitor: Pictured) -> None:
        patch = Patch.random()
        self._widget = PatchWidget(patch, self._overlay)
        self._shown_at = self._overlay.geometry()
        corner = self._widget.geometry().topLeft()
        self._corner = (corner.x(), corner.y())
        self._search = _Search(monitor, patch, self._now_ns)
        self.state = ProbeState.LOOKING

    def _ask(self, monitor: Pictured) -> None:
        search = self._search
        if search is None or not search.over:
            return
        self.state = search.state
        self.close()
        if self.state is ProbeState.INSIDE:
            self._found, self._seen, self._side = search.found, search.size, search.patch.side_px
            self._cut_out(monitor)

    def _cut_out(self, monitor: Pictured) -> None:
        """Paint the overlay's place grey; pixels of the picture follow from where the patch was shown and found."""
        place, found = self._overlay.geometry(), self._found
        if place == self._cut or found is None:
            return
        self._cut = place
        scale = found.side / self._side
        left = found.x + (place.x() - self._shown_at.x() - self._corner[0]) * scale
        top = found.y + (place.y() - self._shown_at.y() - self._corner[1]) * scale
        width, height = place.width() * scale, place.height() * scale
        x, y = left - MARGIN * width, top - MARGIN * height
        wide, high = width * (1 + 2 * MARGIN), height * (1 + 2 * MARGIN)
        across, down = self._seen
        monitor.cut_out(((x / across, y / down, wide / across, high / down),))


class _Search:
    """Looks for the patch in the pictures that come after it was shown."""

    def __init__(self, monitor: Pictured, patch: Patch, now_ns: Callable[[], int]) -> None:
        self.patch = patch
        self.state = ProbeState.UNPROVED
        self.found: Found | None = None
        self.size = (1, 1)
        self._monitor, self._now_ns = monitor, now_ns
        self._from_ns = now_ns() + int(SETTLE_S * 1e9)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unmask-probe", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        looked, last_ns = 0, 0
        until_ns = self._from_ns + int(LONGEST_S * 1e9)
        while not self._stop.wait(_POLL_S) and looked < LOOKED_AT and self._now_ns() < until_ns:
            frame = self._monitor.newest_frame()
            if frame is None or frame.recv_ns <= max(last_ns, self._from_ns):
                continue
            last_ns, looked = frame.recv_ns, looked + 1
            self.found = find_patch(frame.image, self.patch)
            if self.found is not None:
                self.size = (frame.image.shape[1], frame.image.shape[0])
                self.state = ProbeState.INSIDE
                return
        if looked:
            self.state = ProbeState.OUTSIDE
