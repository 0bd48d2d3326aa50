"""The list of people: a row each with a picture, the state in words and by its mark, a minute of history, a score.

A row is a button: pressing it opens what else is known of the person. Up and Down move between rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QImage, QKeyEvent, QPainterPath, QPaintEvent, QPixmap
from PyQt6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from gui import style, texts
from gui.controller import PersonRow
from gui.controls import FittedList, PressButton, describe, painting
from gui.gauge import ScoreLabel, StateMark
from gui.style import Palette
from gui.timeline import Timeline
from monitor.types import UInt8Array

SHOWN_ROWS = 4


class Thumbnail(QLabel):
    """The picture of one face, rounded; a plain tile where there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source: UInt8Array | None = None
        self._picture: QPixmap | None = None
        self._fill = "#000000"

    def restyle(self, palette: Palette, side_px: int) -> None:
        self._fill = palette.raised
        self.setFixedSize(side_px, side_px)

    def show_picture(self, rgb: UInt8Array | None) -> None:
        """Show uint8 (H, W, 3) RGB. The same array again costs nothing."""
        if rgb is self._source:
            return
        self._source = rgb
        self._picture = None if rgb is None else _pixmap(rgb)
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            frame = QPainterPath()
            radius = self.width() * 0.22
            frame.addRoundedRect(QRectF(self.rect()), radius, radius)
            painter.setClipPath(frame)
            if self._picture is None:
                painter.fillPath(frame, QColor(self._fill))
            else:
                painter.drawPixmap(self.rect(), self._picture)


class PersonWidget(PressButton):
    """One row."""

    def __init__(self, palette: Palette, row: PersonRow, parent: QWidget | None = None) -> None:
        super().__init__(palette, parent)
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._em = 13.0
        self._row = row
        self._thumbnail = Thumbnail(self)
        self._name = _label("name", self)
        self._mark = StateMark(palette, 14, self)
        self._state = _label("state", self)
        self._state.setWordWrap(True)
        self._timeline = Timeline(palette, row.name, axis=False, parent=self)
        self._score = ScoreLabel("rowscore", self)
        self._detail = _label("detail", self)
        self._detail.setWordWrap(True)
        self._detail.hide()
        self._grid = QGridLayout(self)
        said = QHBoxLayout()
        said.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        said.addWidget(self._state, 1)
        words = QVBoxLayout()
        words.addStretch(1)
        words.addWidget(self._name)
        words.addLayout(said)
        words.addStretch(1)
        self._said, self._words = said, words
        self._grid.addWidget(self._thumbnail, 0, 0, Qt.AlignmentFlag.AlignTop)
        self._grid.addLayout(words, 0, 1)
        self._grid.addWidget(self._timeline, 0, 2, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(self._score, 0, 3, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(self._detail, 1, 1, 1, 3)
        self._grid.setColumnStretch(1, 1)
        for child in self.findChildren(QWidget):
            child.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.toggled.connect(self._detail.setVisible)
        describe(self._thumbnail, f"{row.name}: picture", "The face as the monitor sees it, in memory only.")

    @property
    def track_id(self) -> int:
        return self._row.track_id

    @property
    def row(self) -> PersonRow:
        return self._row

    def restyle(self, palette: Palette, em: float) -> None:
        self.colours, self._em = palette, em
        pad = round(em * style.INSET_EM)
        self._grid.setContentsMargins(pad, pad, pad, pad)
        self._grid.setHorizontalSpacing(round(em * 0.7))
        self._grid.setVerticalSpacing(round(em * 0.3))
        self._said.setSpacing(round(em * 0.4))
        self._words.setSpacing(round(em * 0.1))
        self._thumbnail.restyle(palette, round(em * 3.0))
        self._mark.restyle(palette, round(em * 1.15))
        self._timeline.restyle(palette, QSize(round(em * 5.4), round(em * 1.9)))
        self._score.ensurePolished()
        self._score.setFixedWidth(self._score.fontMetrics().horizontalAdvance(texts.WIDEST_SCORE) + 2)
        self.show_row(self._row, 0)

    def show_row(self, row: PersonRow, now_ns: int) -> None:
        self._row = row
        self._thumbnail.show_picture(row.thumbnail)
        _set(self._name, row.name)
        _set(self._state, row.state_text)
        _set(self._detail, row.detail)
        if self._mark.mood is not row.mood:
            self._mark.set_mood(row.mood)
        self._score.show_score(row.suspicion, row.mood, row.name, self.colours)
        if now_ns:
            self._timeline.show_history(row.history, row.alerts, now_ns)
        describe(self._name, row.name, "The number stays with this person for as long as they are followed.")
        describe(self._state, f"{row.name}: {row.state_text}", texts.SCORE_MEANING)
        describe(self._detail, f"{row.name}: more", row.detail)
        spoken = f"{row.name}: {row.state_text}"
        if row.mood.judged:
            spoken += f", {texts.spoken_score(row.suspicion)}"
        describe(self, spoken, f"{row.detail} Press to show or hide this.")

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            self.paint_ground(painter, self._em * 0.6)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.focusNextPrevChild(event.key() == Qt.Key.Key_Down)
            return
        super().keyPressEvent(event)


class PeopleList(FittedList):
    """All rows, in the order of the model. Rows are kept by person, so that the focus stays where it is."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__("People", "A row for each person in view, the most suspicious first.", parent)
        self._palette, self._em = palette, 13.0
        self._rows: dict[int, PersonWidget] = {}

    @property
    def widgets(self) -> list[PersonWidget]:
        """Top to bottom."""
        return list(self._rows.values())

    def restyle(self, palette: Palette, em: float) -> None:
        self._palette, self._em = palette, em
        self.column.setSpacing(round(em * 0.15))
        for widget in self._rows.values():
            widget.restyle(palette, em)

    def show_rows(self, rows: Sequence[PersonRow], now_ns: int) -> bool:
        """Returns True where rows came, went or changed places."""
        before = list(self._rows)
        wanted = [row.track_id for row in rows]
        for gone in set(before) - set(wanted):
            widget = self._rows.pop(gone)
            self.column.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        for row in rows:
            if row.track_id not in self._rows:
                widget = PersonWidget(self._palette, row, self.widget())
                widget.restyle(self._palette, self._em)
                self._rows[row.track_id] = widget
            self._rows[row.track_id].show_row(row, now_ns)
        if before == wanted:
            return False
        self._rows = {track_id: self._rows[track_id] for track_id in wanted}
        for place, widget in enumerate(self._rows.values()):
            self.column.insertWidget(place, widget)
            widget.show()
        return True


def _label(object_name: str, parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setObjectName(object_name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _set(label: QLabel, text: str) -> None:
    if label.text() != text:
        label.setText(text)


def _pixmap(rgb: UInt8Array) -> QPixmap:
    height, width = rgb.shape[:2]
    pixels = rgb.tobytes()
    return QPixmap.fromImage(QImage(pixels, width, height, 3 * width, QImage.Format.Format_RGB888))
