"""Small controls that the overlay is built from: painted buttons, names for screen readers, fitted scrolling.

All are reached by Tab and worked by Space or Enter; the one that has the focus shows a ring.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

from PyQt6.QtCore import QPointF, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QAbstractButton, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from gui.style import Palette


def describe(widget: QWidget, name: str, description: str) -> None:
    """Give `widget` its accessible name and description, only where they changed: each change is announced."""
    if widget.accessibleName() != name:
        widget.setAccessibleName(name)
    if widget.accessibleDescription() != description:
        widget.setAccessibleDescription(description)


@contextmanager
def painting(widget: QWidget) -> Iterator[QPainter]:
    """A smooth painter on `widget`, ended in any case: one that is left open by an error takes the process down."""
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    try:
        yield painter
    finally:
        painter.end()


class Icon(enum.Enum):
    """The pictures of the buttons."""

    PAUSE = "pause"
    PLAY = "play"
    COMPACT = "compact"
    EXPAND = "expand"
    CLOSE = "close"
    DOWN = "down"
    UP = "up"
    TICK = "tick"


def paint_focus(painter: QPainter, rect: QRectF, palette: Palette, radius: float) -> None:
    painter.setPen(QPen(QColor(palette.accent), 2))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(rect.adjusted(1, 1, -1, -1), radius, radius)


class PressButton(QAbstractButton):
    """A button that Enter presses too, as people expect of one."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.colours = palette
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
            return
        super().keyPressEvent(event)

    def paint_ground(self, painter: QPainter, radius: float) -> None:
        """What hovering, pressing and the focus look like."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse() or self.isDown():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self.colours.line if self.isDown() else self.colours.raised))
            painter.drawRoundedRect(QRectF(self.rect()), radius, radius)
        if self.hasFocus():
            paint_focus(painter, QRectF(self.rect()), self.colours, radius)


class IconButton(PressButton):
    """A square button with a drawn picture and, where there is one, a word to the left of it."""

    def __init__(self, palette: Palette, icon: Icon, parent: QWidget | None = None) -> None:
        super().__init__(palette, parent)
        self._icon = icon
        self._em = 13.0

    def restyle(self, palette: Palette, em: float) -> None:
        self.colours, self._em = palette, em
        font = self.font()
        font.setPixelSize(max(8, round(em * 0.88)))
        self.setFont(font)
        self.updateGeometry()
        self.setFixedSize(self.sizeHint())
        self.update()

    def set_icon(self, icon: Icon) -> None:
        self._icon = icon
        self.update()

    def sizeHint(self) -> QSize:
        side = round(self._em * 2.0)
        word = self.fontMetrics().horizontalAdvance(self.text()) + round(self._em * 0.5) if self.text() else 0
        return QSize(side + word, side)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            self.paint_ground(painter, self._em * 0.45)
            lit = self.hasFocus() or self.underMouse()
            colour = QColor(self.colours.text if lit else self.colours.muted)
            side = float(self.height())
            if self.text():
                painter.setPen(colour)
                words = QRectF(self._em * 0.5, 0, self.width() - side, side)
                painter.drawText(words, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), self.text())
            box = QRectF(self.width() - side, 0, side, side)
            inset = side * 0.32
            _paint_icon(painter, box.adjusted(inset, inset, -inset, -inset), self._icon, colour)


class TickButton(PressButton):
    """A box to tick with words beside it."""

    def __init__(self, palette: Palette, text: str, parent: QWidget | None = None) -> None:
        super().__init__(palette, parent)
        self.setText(text)
        self.setCheckable(True)
        self._em = 13.0

    def restyle(self, palette: Palette, em: float) -> None:
        self.colours, self._em = palette, em
        font = self.font()
        font.setPixelSize(max(8, round(em * 0.88)))
        self.setFont(font)
        self.setFixedSize(self.sizeHint())
        self.update()

    def sizeHint(self) -> QSize:
        words = self.fontMetrics().horizontalAdvance(self.text())
        return QSize(round(self._em * 2.6) + words, round(self._em * 1.9))

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            self.paint_ground(painter, self._em * 0.45)
            side, line = self._em * 1.0, QColor(self.colours.muted)
            box = QRectF(self._em * 0.5, (self.height() - side) / 2, side, side)
            painter.setPen(QPen(line, max(1.2, self._em * 0.1)))
            painter.setBrush(QColor(self.colours.accent) if self.isChecked() else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box, self._em * 0.2, self._em * 0.2)
            if self.isChecked():
                _paint_icon(painter, box.adjusted(3, 3, -3, -3), Icon.TICK, QColor(self.colours.panel))
            painter.setPen(QColor(self.colours.text))
            words = QRectF(self._em * 2.0, 0, self.width() - self._em * 2.0, self.height())
            painter.drawText(words, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), self.text())


def _paint_icon(painter: QPainter, box: QRectF, icon: Icon, colour: QColor) -> None:
    pen = QPen(colour, max(1.4, box.width() * 0.17))
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)

    def at(x: float, y: float) -> QPointF:
        return QPointF(box.left() + x * box.width(), box.top() + y * box.height())

    lines: dict[Icon, tuple[tuple[QPointF, ...], ...]] = {
        Icon.PAUSE: ((at(0.25, 0), at(0.25, 1)), (at(0.75, 0), at(0.75, 1))),
        Icon.PLAY: ((at(0.15, 0), at(0.95, 0.5), at(0.15, 1), at(0.15, 0)),),
        Icon.COMPACT: ((at(0, 0.5), at(1, 0.5)),),
        Icon.EXPAND: ((at(0, 0), at(1, 0), at(1, 1), at(0, 1), at(0, 0)),),
        Icon.CLOSE: ((at(0, 0), at(1, 1)), (at(1, 0), at(0, 1))),
        Icon.DOWN: ((at(0, 0.3), at(0.5, 0.75), at(1, 0.3)),),
        Icon.TICK: ((at(0, 0.55), at(0.38, 0.9), at(1, 0.1)),),
        Icon.UP: ((at(0, 0.7), at(0.5, 0.25), at(1, 0.7)),),
    }
    if icon is Icon.PLAY:
        painter.setBrush(colour)
        painter.drawPolygon(QPolygonF(list(lines[icon][0])))
        return
    for line in lines[icon]:
        painter.drawPolyline(QPolygonF(list(line)))


class ElidedLabel(QLabel):
    """One line that is shortened in the middle where it does not fit; the whole of it is in the tool tip."""

    def minimumSizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance("…"), super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        room = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, room.width())
        with painting(self) as painter:
            painter.setPen(self.palette().color(self.foregroundRole()))
            painter.drawText(room, int(self.alignment()), text)


class FittedList(QScrollArea):
    """A column of widgets, as high as they need up to a limit; beyond it, it scrolls (by keyboard too)."""

    def __init__(self, name: str, description: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content = QWidget()
        content.setObjectName("content")
        self.column = QVBoxLayout(content)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.setWidget(content)
        describe(self, name, description)
        describe(content, name, description)
        for part, what in (
            (self.viewport(), f"{name}, the visible part"),
            (self.verticalScrollBar(), f"Scroll {name.lower()}"),
            (self.horizontalScrollBar(), f"Scroll {name.lower()} sideways"),
        ):
            if part is not None:
                describe(part, what, description)
                for inner in (part, part.parentWidget()):
                    if inner is not None and not inner.accessibleName():
                        describe(inner, what, description)

    def fit(self, width_px: int, shown: int, limit_px: int) -> None:
        """Take the height of the first `shown` widgets, at most `limit_px`.

        Layouts are brought up to date first: Qt does so only later, and the list would be a look behind.
        """
        items = (self.column.itemAt(index) for index in range(self.column.count()))
        widgets = [widget for item in items if item is not None and (widget := item.widget()) is not None]
        for layout in [*(widget.layout() for widget in widgets), self.column]:
            if layout is not None:
                layout.activate()
        bar = self.verticalScrollBar()
        scrolls = len(widgets) > shown and bar is not None
        inner_px = width_px - (bar.sizeHint().width() if scrolls and bar is not None else 0)
        heights = [w.heightForWidth(inner_px) if w.hasHeightForWidth() else w.sizeHint().height() for w in widgets]
        height = sum(heights[:shown]) + self.column.spacing() * max(0, min(len(widgets), shown) - 1)
        if scrolls:
            height += heights[shown] // 3
        self.setFixedHeight(max(1, min(height, limit_px)))
