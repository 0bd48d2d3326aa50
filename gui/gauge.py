"""The mark of a state and the score beside it. Every state has a shape of its own, so colour only repeats it.

`paint_mark` draws into any rectangle; `StateMark` and `ScoreLabel` are the widgets made of it. Both are labels,
so that a screen reader meets them as text.
"""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QPointF, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QLabel, QWidget

from gui import texts
from gui.controls import painting
from gui.style import Mood, Palette


def paint_mark(painter: QPainter, rect: QRectF, mood: Mood, palette: Palette) -> None:
    """Draw the mark of `mood` into the square in the middle of `rect`."""
    side = min(rect.width(), rect.height())
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(rect.center().x() - side / 2, rect.center().y() - side / 2)
    painter.scale(side / 100.0, side / 100.0)
    _MARKS[mood](painter, QColor(palette.mark(mood)), QColor(palette.on_mark))
    painter.restore()


def _stroke(painter: QPainter, colour: QColor, width: float = 9.0) -> None:
    pen = QPen(colour, width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def _fill(painter: QPainter, colour: QColor) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)


def _polygon(*points: tuple[float, float]) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in points])


def _disc_with_tick(painter: QPainter, colour: QColor, on: QColor) -> None:
    _fill(painter, colour)
    painter.drawEllipse(QRectF(6, 6, 88, 88))
    _stroke(painter, on, 10.0)
    painter.drawPolyline(_polygon((30, 52), (44, 66), (71, 36)))


def _diamond_with_question(painter: QPainter, colour: QColor, on: QColor) -> None:
    _stroke(painter, colour, 8.0)
    painter.setBrush(colour)
    painter.drawPolygon(_polygon((50, 6), (94, 50), (50, 94), (6, 50)))
    _stroke(painter, on, 9.0)
    hook = QPainterPath(QPointF(37, 41))
    hook.cubicTo(37, 22, 64, 22, 63, 40)
    hook.cubicTo(62, 50, 50, 50, 50, 60)
    painter.drawPath(hook)
    _fill(painter, on)
    painter.drawEllipse(QPointF(50, 75), 5.5, 5.5)


def _triangle_with_bang(painter: QPainter, colour: QColor, on: QColor) -> None:
    _stroke(painter, colour, 12.0)
    painter.setBrush(colour)
    painter.drawPolygon(_polygon((50, 13), (92, 87), (8, 87)))
    _stroke(painter, on, 11.0)
    painter.drawLine(QPointF(50, 38), QPointF(50, 59))
    _fill(painter, on)
    painter.drawEllipse(QPointF(50, 77), 6.5, 6.5)


def _ring_with_dash(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _stroke(painter, colour, 7.0)
    pen = painter.pen()
    pen.setDashPattern([1.9, 1.9])
    painter.setPen(pen)
    painter.drawEllipse(QRectF(9, 9, 82, 82))
    _stroke(painter, colour, 10.0)
    painter.drawLine(QPointF(34, 50), QPointF(66, 50))


def _clock(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _stroke(painter, colour, 8.0)
    painter.drawEllipse(QRectF(9, 9, 82, 82))
    painter.drawPolyline(_polygon((50, 28), (50, 52), (66, 61)))


def _box(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, 8.0)
    painter.drawRoundedRect(QRectF(9, 9, 82, 82), 20, 20)


def _dots(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _fill(painter, colour)
    for x in (18, 50, 82):
        painter.drawEllipse(QPointF(x, 50), 10, 10)


def _box_with_bars(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _box(painter, colour)
    _stroke(painter, colour, 11.0)
    painter.drawLine(QPointF(39, 34), QPointF(39, 66))
    painter.drawLine(QPointF(61, 34), QPointF(61, 66))


def _box_with_square(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _box(painter, colour)
    _fill(painter, colour)
    painter.drawRoundedRect(QRectF(33, 33, 34, 34), 6, 6)


def _box_with_cross(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _box(painter, colour)
    _stroke(painter, colour, 10.0)
    painter.drawLine(QPointF(36, 36), QPointF(64, 64))
    painter.drawLine(QPointF(64, 36), QPointF(36, 64))


def _round_arrow(painter: QPainter, colour: QColor, _on: QColor) -> None:
    _stroke(painter, colour, 9.0)
    painter.drawArc(QRectF(12, 12, 76, 76), 30 * 16, 285 * 16)
    painter.setBrush(colour)
    painter.drawPolygon(_polygon((88, 12), (86, 36), (66, 26)))


_MARKS: dict[Mood, Callable[[QPainter, QColor, QColor], None]] = {
    Mood.STARTING: _dots,
    Mood.WARMING_UP: _clock,
    Mood.CANNOT_TELL: _ring_with_dash,
    Mood.NO_SIGN: _disc_with_tick,
    Mood.UNCERTAIN: _diamond_with_question,
    Mood.SUSPECT: _triangle_with_bang,
    Mood.PAUSED: _box_with_bars,
    Mood.RECONNECTING: _round_arrow,
    Mood.ENDED: _box_with_square,
    Mood.FAILED: _box_with_cross,
}


class StateMark(QLabel):
    """The mark of one state, `size_px` square."""

    def __init__(self, palette: Palette, size_px: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._palette = palette
        self._mood = Mood.STARTING
        self.restyle(palette, size_px)
        self.set_mood(Mood.STARTING)

    @property
    def mood(self) -> Mood:
        return self._mood

    def restyle(self, palette: Palette, size_px: int) -> None:
        self._palette = palette
        self.setFixedSize(QSize(size_px, size_px))
        self.update()

    def set_mood(self, mood: Mood) -> None:
        self._mood = mood
        self.setAccessibleName(f"State: {texts.headline(mood)}")
        self.setAccessibleDescription("The mark of the state; every state has its own shape.")
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            paint_mark(painter, QRectF(self.rect()), self._mood, self._palette)


class ScoreLabel(QLabel):
    """The suspicion of one person as a percentage, or a dash. `whose` names the person to a screen reader."""

    def __init__(self, object_name: str, parent: QWidget | None = None) -> None:
        super().__init__(texts.NO_SCORE, parent)
        self.setObjectName(object_name)
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.show_score(None, Mood.STARTING, "", None)

    def show_score(self, suspicion: float | None, mood: Mood, whose: str, palette: Palette | None) -> None:
        text = texts.score(suspicion)
        if text != self.text():
            self.setText(text)
        name = f"{whose or 'Score'}: {texts.spoken_score(suspicion)}"
        if name != self.accessibleName():
            self.setAccessibleName(name)
            self.setAccessibleDescription(texts.SCORE_MEANING)
        if palette is not None:
            colour = palette.suspect if mood is Mood.SUSPECT else palette.muted if suspicion is None else palette.text
            rule = f"color: {colour};"
            if rule != self.styleSheet():
                self.setStyleSheet(rule)
