"""A minute of history as a small chart: the suspicion over time, hatched where it could not tell, alerts marked.

Time runs to the right and ends now. A stretch without a fresh reading is hatched, never drawn as a line or as
zero; a look that never happened (the window was stopped) counts as such a stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from PyQt6.QtCore import QPointF, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QLabel, QSizePolicy, QWidget

from gui import texts
from gui.controls import painting
from gui.records import SPAN_S, AlertItem, AlertStatus, HistoryPoint
from gui.style import Mood, Palette

LONGEST_STEP_S = 1.0
"""Two points further apart than this have a gap between them."""


@dataclass(slots=True)
class Stretch:
    """Points of one state in a row, and where the next state begins."""

    mood: Mood
    judged: bool
    points: list[HistoryPoint]
    end_ns: int


class Timeline(QLabel):
    """Draws the points that `show_history` was given last. With `axis`, says where the minute begins and ends."""

    def __init__(self, palette: Palette, whose: str, *, axis: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._palette = palette
        self._whose = whose
        self._axis = axis
        self._points: Sequence[HistoryPoint] = ()
        self._alerts: Sequence[AlertItem] = ()
        self._now_ns = 0
        self._news: tuple[Mood | None, tuple[tuple[int, AlertStatus], ...]] = (None, ())
        self.setSizePolicy(QSizePolicy.Policy.Expanding if axis else QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._describe()

    def restyle(self, palette: Palette, size: QSize) -> None:
        self._palette = palette
        self.setMinimumSize(size)
        self.setFixedHeight(size.height())
        self.update()

    def show_history(self, points: Sequence[HistoryPoint], alerts: Sequence[AlertItem], now_ns: int) -> None:
        """Take over the minute up to `now_ns`. Repaints only where that moves the picture by a pixel or adds to it."""
        news = (points[-1].mood if points else None, tuple((a.alert_id, a.status) for a in alerts))
        pixel_ns = SPAN_S * 1e9 / max(1.0, self.width() * self.devicePixelRatioF())
        if news == self._news and 0 <= now_ns - self._now_ns < pixel_ns:
            return
        self._points, self._alerts, self._now_ns, self._news = points, alerts, now_ns, news
        self._describe()
        self.update()

    def _describe(self) -> None:
        name = f"{self._whose}: the last minute"
        if name != self.accessibleName():
            self.setAccessibleName(name)
        judged_s = sum(_seconds(a, b) for a, b in pairwise(self._points) if a.suspicion is not None)
        highest = max((p.suspicion for p in self._points if p.suspicion is not None), default=None)
        description = texts.history(highest, judged_s, len(self._alerts))
        if description != self.accessibleDescription():
            self.setAccessibleDescription(description)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            em = self.fontMetrics().height()
            plot = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            if self._axis:
                plot.setBottom(plot.bottom() - em * 1.05)
                self._paint_axis(painter, plot)
            radius = em * 0.3
            frame = QPainterPath()
            frame.addRoundedRect(plot, radius, radius)
            painter.fillPath(frame, QColor(self._palette.raised))
            painter.save()
            painter.setClipPath(frame)
            self._paint_half(painter, plot)
            cut = stretches(self._points, self._now_ns)
            for stretch in cut:
                if not stretch.judged:
                    self._paint_hatch(painter, plot, stretch, em)
            for place, stretch in enumerate(cut):
                following = cut[place + 1] if place + 1 < len(cut) else None
                if stretch.judged:
                    self._paint_line(painter, plot, stretch, following, em)
            for alert in self._alerts:
                self._paint_alert(painter, plot, alert, em)
            painter.restore()
            painter.setPen(QPen(QColor(self._palette.line), 1))
            painter.drawPath(frame)

    def _x(self, plot: QRectF, at_ns: int) -> float:
        return plot.right() - (self._now_ns - at_ns) / 1e9 / SPAN_S * plot.width()

    def _y(self, plot: QRectF, suspicion: float, em: float) -> float:
        pad = min(em * 0.25, plot.height() * 0.12)
        return plot.bottom() - pad - suspicion * (plot.height() - 2 * pad)

    def _paint_axis(self, painter: QPainter, plot: QRectF) -> None:
        font = painter.font()
        font.setPixelSize(max(8, round(self.fontMetrics().height() * 0.66)))
        painter.setFont(font)
        painter.setPen(QColor(self._palette.muted))
        strip = QRectF(plot.left(), plot.bottom(), plot.width(), self.height() - plot.bottom())
        bottom = Qt.AlignmentFlag.AlignBottom
        painter.drawText(strip, int(Qt.AlignmentFlag.AlignLeft | bottom), texts.AXIS_START)
        painter.drawText(strip, int(Qt.AlignmentFlag.AlignRight | bottom), texts.AXIS_END)

    def _paint_half(self, painter: QPainter, plot: QRectF) -> None:
        painter.setPen(QPen(QColor(self._palette.line), 1))
        painter.drawLine(QPointF(plot.left(), plot.center().y()), QPointF(plot.right(), plot.center().y()))

    def _paint_hatch(self, painter: QPainter, plot: QRectF, stretch: Stretch, em: float) -> None:
        left, right = self._x(plot, stretch.points[0].at_ns), self._x(plot, stretch.end_ns)
        painter.save()
        painter.setClipRect(QRectF(left, plot.top(), right - left, plot.height()), Qt.ClipOperation.IntersectClip)
        colour = QColor(self._palette.muted)
        colour.setAlphaF(0.45)
        painter.setPen(QPen(colour, max(1.0, em * 0.06)))
        step = max(4.0, em * 0.42)
        x = plot.left() - plot.height() + (left - plot.left()) // step * step
        while x < right:
            painter.drawLine(QPointF(x, plot.bottom()), QPointF(x + plot.height(), plot.top()))
            x += step
        painter.restore()

    def _paint_line(
        self, painter: QPainter, plot: QRectF, stretch: Stretch, following: Stretch | None, em: float
    ) -> None:
        run = thinned(stretch.points, SPAN_S * 1e9 / max(1.0, plot.width()))
        line = QPolygonF([QPointF(self._x(plot, p.at_ns), self._y(plot, p.suspicion or 0.0, em)) for p in run])
        joins = following is not None and following.judged
        end = following.points[0] if joins and following is not None else stretch.points[-1]
        line.append(QPointF(self._x(plot, stretch.end_ns), self._y(plot, end.suspicion or 0.0, em)))
        colour = QColor(self._palette.mark(stretch.mood))
        area = QPolygonF(line)
        area.append(QPointF(self._x(plot, stretch.end_ns), plot.bottom()))
        area.append(QPointF(self._x(plot, stretch.points[0].at_ns), plot.bottom()))
        shade = QColor(colour)
        shade.setAlphaF(0.20)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade)
        painter.drawPolygon(area)
        pen = QPen(colour, max(1.5, em * (0.16 if stretch.mood is Mood.SUSPECT else 0.11)))
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(line)

    def _paint_alert(self, painter: QPainter, plot: QRectF, alert: AlertItem, em: float) -> None:
        """A flag where the alert opened and a bar along the top for as long as it was open."""
        end_ns = self._now_ns if alert.closed_ns is None else alert.closed_ns
        right = self._x(plot, end_ns)
        if right <= plot.left():
            return
        left = max(plot.left(), self._x(plot, alert.opened_ns))
        colour = QColor(self._palette.suspect)
        height = max(2.0, em * 0.16)
        painter.fillRect(QRectF(left, plot.top(), max(height, right - left), height), colour)
        size = min(em * 0.5, plot.height() * 0.4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawPolygon(
            QPolygonF([QPointF(left, plot.top()), QPointF(left + size, plot.top()), QPointF(left, plot.top() + size)])
        )


def _seconds(first: HistoryPoint, last: HistoryPoint) -> float:
    step_s = (last.at_ns - first.at_ns) / 1e9
    return step_s if step_s <= LONGEST_STEP_S else 0.0


def stretches(points: Sequence[HistoryPoint], now_ns: int) -> list[Stretch]:
    """Cut the minute into stretches of one state, oldest first.

    Before the first point there is nothing: the chart is empty there. Between two points that are too far apart
    there is a stretch without a reading.
    """
    found: list[Stretch] = []
    for index, point in enumerate(points):
        end_ns = points[index + 1].at_ns if index + 1 < len(points) else now_ns
        hole = end_ns - point.at_ns > LONGEST_STEP_S * 1e9
        mood = Mood.CANNOT_TELL if hole else point.mood
        judged = point.suspicion is not None and not hole
        if not found or found[-1].mood is not mood or found[-1].judged is not judged:
            found.append(Stretch(mood, judged, [], end_ns))
        found[-1].points.append(point)
        found[-1].end_ns = end_ns
    return found


def thinned(points: Sequence[HistoryPoint], width_ns: float) -> list[HistoryPoint]:
    """One point for each `width_ns` of time: the most suspicious one, so that no peak is lost."""
    kept: list[HistoryPoint] = []
    slot: int | None = None
    for point in points:
        here = int(point.at_ns // width_ns)
        if here != slot:
            kept.append(point)
        elif (point.suspicion or 0.0) > (kept[-1].suspicion or 0.0):
            kept[-1] = point
        slot = here
    return kept
