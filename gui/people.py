"""The list of people: a row each with a picture, the state in words and by its mark, a minute of history, a score.

A row is a button: pressing it opens what else is known of the person. Up and Down move between rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PyQt6.QtCore import QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QImage, QKeyEvent, QLinearGradient, QPainterPath, QPaintEvent, QPen, QPixmap
from PyQt6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from gui import heat, style, texts
from gui.controller import PersonRow
from gui.controls import FittedList, PressButton, describe, painting
from gui.gauge import ScoreLabel, StateMark
from gui.style import Palette
from gui.timeline import Timeline
from monitor.types import UInt8Array, WhereMap
from monitor.wording import WHERE_INNOCENT

SHOWN_ROWS = 4
PICTURE_EM = 3.0
MAPPED_EM = 4.4
"""Side of a picture, and of one with a map on it, which has to be read."""


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """What the user wants to see of faces."""

    pictures: bool = True
    map_everywhere: bool = False
    """Also on people without signs."""


class Thumbnail(QLabel):
    """The picture of one face, rounded, with the map over it where there is one; a plain tile without a picture."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source: tuple[UInt8Array | None, WhereMap | None] = (None, None)
        self._picture: QPixmap | None = None
        self._fill = "#000000"

    def restyle(self, palette: Palette, side_px: int) -> None:
        self._fill = palette.raised
        self.setFixedSize(side_px, side_px)

    def show_picture(self, rgb: UInt8Array | None, where: WhereMap | None) -> None:
        """Show uint8 (H, W, 3) RGB, with `where` drawn on it. The same again costs nothing."""
        if rgb is self._source[0] and where is self._source[1]:
            return
        self._source = (rgb, where)
        if rgb is None:
            self._picture = None
        else:
            self._picture = _pixmap(rgb if where is None else heat.draw(rgb, where.grid))
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


class Swatch(QLabel):
    """The colours of the map, from weak to strong, as its legend."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = "#000000"
        describe(self, texts.SWATCH, texts.PICTURE_MEANING)

    def restyle(self, palette: Palette, em: float) -> None:
        self._line = palette.muted
        self.setFixedSize(round(em * 1.7), round(em * 0.7))

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            ramp = QLinearGradient(box.topLeft(), box.topRight())
            for place in (0.0, 0.33, 0.67, 1.0):
                red, green, blue = (int(v) for v in heat.colours(np.asarray(place)))
                ramp.setColorAt(place, QColor(red, green, blue))
            painter.setBrush(ramp)
            painter.setPen(QPen(QColor(self._line), 1))
            painter.drawRoundedRect(box, box.height() * 0.3, box.height() * 0.3)


class PersonWidget(PressButton):
    """One row."""

    def __init__(self, palette: Palette, row: PersonRow, parent: QWidget | None = None) -> None:
        super().__init__(palette, parent)
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._em = 13.0
        self._row = row
        self._options = PictureOptions()
        self._thumbnail = Thumbnail(self)
        self._name = _label("name", self)
        self._mark = StateMark(palette, 14, self)
        self._state = _label("state", self)
        self._state.setWordWrap(True)
        self._timeline = Timeline(palette, row.name, axis=False, parent=self)
        self._score = ScoreLabel("rowscore", self)
        self._swatch = Swatch(self)
        self._where = _label("detail", self)
        self._where.setWordWrap(True)
        self._detail = _label("detail", self)
        self._detail.setWordWrap(True)
        for hidden in (self._swatch, self._where, self._detail):
            hidden.hide()
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
        legend = QHBoxLayout()
        legend.addWidget(self._swatch, 0, Qt.AlignmentFlag.AlignTop)
        legend.addWidget(self._where, 1)
        self._legend = legend
        self._grid.addWidget(self._thumbnail, 0, 0, 2, 1, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter)
        self._grid.addLayout(words, 0, 1)
        self._grid.addWidget(self._timeline, 0, 2, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(self._score, 0, 3, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addLayout(legend, 1, 1, 1, 3)
        self._grid.addWidget(self._detail, 2, 1, 1, 3)
        self._grid.setColumnStretch(1, 1)
        for child in self.findChildren(QWidget):
            child.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.toggled.connect(self._detail.setVisible)

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
        self._swatch.restyle(palette, em)
        self._legend.setContentsMargins(0, 0, 0, round(em * 0.2))
        self._legend.setSpacing(round(em * 0.4))
        self._mark.restyle(palette, round(em * 1.15))
        self._timeline.restyle(palette, QSize(round(em * 5.4), round(em * 1.9)))
        self._score.ensurePolished()
        self._score.setFixedWidth(self._score.fontMetrics().horizontalAdvance(texts.WIDEST_SCORE) + 2)
        self.show_row(self._row, 0)

    def show_row(self, row: PersonRow, now_ns: int) -> None:
        self._row = row
        self._show_face(row)
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
        if row.signs and row.where_text:
            spoken += f". {row.where_text}"
        describe(self, spoken, f"{row.detail} Press to show or hide this.")

    def choose(self, options: PictureOptions) -> None:
        """What the user wants to see of faces."""
        self._options = options
        self._show_face(self._row)

    @property
    def picture_px(self) -> int:
        """Side of the picture on show; 0 without one."""
        return 0 if self._thumbnail.isHidden() else self._thumbnail.width()

    def align(self, picture_px: int) -> None:
        """Leave so much room for the picture, so that the words of all rows stand below each other."""
        self._grid.setColumnMinimumWidth(0, picture_px)

    def _show_face(self, row: PersonRow) -> None:
        """The picture, with the map and its legend where there are signs or the user asks for them."""
        asked = row.signs or self._options.map_everywhere
        where = row.where if asked else None
        mapped = where is not None and row.thumbnail is not None and self._options.pictures
        self._thumbnail.setVisible(self._options.pictures)
        self._thumbnail.restyle(self.colours, round(self._em * (MAPPED_EM if mapped else PICTURE_EM)))
        self._thumbnail.show_picture(row.thumbnail, where)
        legend = row.where_text if where is not None else ""
        self._swatch.setVisible(bool(legend) and mapped)
        self._where.setVisible(bool(legend))
        _set(self._where, legend)
        describe(self._where, f"{row.name}: {legend}", WHERE_INNOCENT)
        describe(self._thumbnail, f"{row.name}: picture", f"{legend}." if legend else texts.PICTURE_MEANING)

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
        self._options = PictureOptions()
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
        self._align()

    def choose(self, options: PictureOptions) -> None:
        """What the user wants to see of faces."""
        self._options = options
        for widget in self._rows.values():
            widget.choose(options)
        self._align()

    def _align(self) -> None:
        widest_px = max((widget.picture_px for widget in self._rows.values()), default=0)
        for widget in self._rows.values():
            widget.align(widest_px)

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
                widget.choose(self._options)
                self._rows[row.track_id] = widget
            self._rows[row.track_id].show_row(row, now_ns)
        self._align()
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
