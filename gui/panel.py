"""A floating panel without a frame: rounded, above other windows, moved by mouse or keyboard, remembers its place.

It knows nothing of what is shown in it. A subclass fills it and says in `restyle` how it looks at a given size of
the desktop's font; the panel calls that again when the font or the dark or light scheme of the desktop changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from PyQt6.QtCore import QEvent, QPoint, QRect, QRectF, QSettings, Qt, pyqtSignal
from PyQt6.QtGui import (
    QCloseEvent,
    QColor,
    QFontInfo,
    QGuiApplication,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QRegion,
    QResizeEvent,
    QShortcut,
)
from PyQt6.QtWidgets import QWidget

from gui import style
from gui.controls import painting
from gui.style import Palette

POSITION_KEY = "overlay/position"
MOVE_STEP_EM = 3.0
HANDLE_EM = 8.0
"""So much of the top of the panel must lie on a screen for a remembered position to count."""


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """What a user may choose of the window, and what the desktop can do."""

    opacity: float = 0.95
    """Of the background, 0..1; text stays solid."""
    always_on_top: bool = True
    dark: bool | None = None
    """None follows the desktop."""
    blends: bool = True
    """False where the desktop cannot blend windows: the corners are then cut off, and the background is solid."""


class FloatingPanel(QWidget):
    """The window's behaviour. `closed` is emitted once."""

    closed = pyqtSignal()

    def __init__(self, options: OverlayOptions, store: QSettings | None) -> None:
        super().__init__(None, Qt.WindowType.Window | Qt.WindowType.FramelessWindowHint)
        self.setWindowFlag(Qt.WindowType.WindowStaysOnTopHint, options.always_on_top)
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.options, self._store = options, store
        self._grabbed: QPoint | None = None
        self._open = True
        self.colours = style.DARK
        self.em = 13.0
        """Pixels of the desktop's font."""
        for key, x, y in (("Left", -1, 0), ("Right", 1, 0), ("Up", 0, -1), ("Down", 0, 1)):
            shortcut = QShortcut(QKeySequence(f"Ctrl+{key}"), self)
            shortcut.activated.connect(lambda x=x, y=y: self._nudge(x, y))
        hints = QGuiApplication.styleHints()
        if hints is not None:
            hints.colorSchemeChanged.connect(self._take_style)

    def restyle(self, palette: Palette, em: float) -> None:
        """Lay out everything for a font of `em` pixels, in the colours of `palette`."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ style

    def _take_style(self) -> None:
        """Read font and scheme of the desktop, and restyle where they differ from what is shown."""
        dark = _desktop_is_dark() if self.options.dark is None else self.options.dark
        palette = style.DARK if dark else style.LIGHT
        em = float(QFontInfo(self.font()).pixelSize())
        if (palette, em) != (self.colours, self.em) or not self.styleSheet():
            self.colours, self.em = palette, em
            self.setStyleSheet(style.sheet(palette, em))
            self.restyle(palette, em)

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.ApplicationFontChange):
            self._take_style()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            radius = style.RADIUS_EM * self.em
            panel = QPainterPath()
            panel.addRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)
            ground = QColor(self.colours.panel)
            ground.setAlphaF(self.options.opacity if self.options.blends else 1.0)
            painter.fillPath(panel, ground)
            self.paint_ground(painter, radius)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self.colours.line), 1))
            painter.drawPath(panel)

    def paint_ground(self, painter: QPainter, radius: float) -> None:
        """What a subclass paints between the background and its widgets."""

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if not self.options.blends:
            path = QPainterPath()
            radius = style.RADIUS_EM * self.em
            path.addRoundedRect(QRectF(self.rect()), radius, radius)
            self.setMask(QRegion(path.toFillPolygon().toPolygon()))

    # ------------------------------------------------------------------------------------ place

    def place(self) -> None:
        """Go to the remembered position, or to the top right of the first screen."""
        remembered = None if self._store is None else self._store.value(POSITION_KEY)
        if isinstance(remembered, QPoint) and self._reachable(remembered):
            self.move(remembered)
            return
        screen = QGuiApplication.primaryScreen()
        if screen is not None:
            area, margin = screen.availableGeometry(), round(1.5 * self.em)
            self.move(area.right() - self.width() - margin, area.top() + margin)

    def _reachable(self, corner: QPoint) -> bool:
        """Whether enough of the title bar would lie on a screen to be taken hold of."""
        handle = QRect(corner, self.size())
        handle.setHeight(round(2 * self.em))
        for screen in QGuiApplication.screens():
            seen = screen.availableGeometry().intersected(handle)
            if seen.width() >= HANDLE_EM * self.em and seen.height() >= self.em:
                return True
        return False

    def keep_on_screen(self) -> None:
        """Move up where the panel has grown past the bottom of its screen."""
        screen = self.screen()
        if screen is not None and self.isVisible():
            area = screen.availableGeometry()
            lowest = max(area.top(), area.bottom() - self.height())
            if area.contains(self.pos()) and self.y() > lowest:
                self.move(self.x(), lowest)

    def _nudge(self, x: int, y: int) -> None:
        corner = self.pos() + QPoint(x, y) * round(MOVE_STEP_EM * self.em)
        if self._reachable(corner):
            self.move(corner)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is None or event.button() is not Qt.MouseButton.LeftButton:
            return
        handle = self.windowHandle()
        if handle is None or not handle.startSystemMove():
            self._grabbed = event.globalPosition().toPoint() - self.pos()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and self._grabbed is not None:
            self.move(event.globalPosition().toPoint() - self._grabbed)

    def mouseReleaseEvent(self, _event: QMouseEvent | None) -> None:
        self._grabbed = None

    def closeEvent(self, event: QCloseEvent | None) -> None:
        if self._store is not None:
            self._store.setValue(POSITION_KEY, self.pos())
            self._store.sync()
        super().closeEvent(event)
        if self._open:
            self._open = False
            self.closed.emit()


def _desktop_is_dark() -> bool:
    """The desktop's own word; where it gives none, whether its windows are dark."""
    hints = QGuiApplication.styleHints()
    scheme = hints.colorScheme() if hints is not None else Qt.ColorScheme.Unknown
    if scheme is Qt.ColorScheme.Unknown:
        return QGuiApplication.palette().window().color().lightness() < 128
    return scheme is Qt.ColorScheme.Dark
