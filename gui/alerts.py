"""The list of alerts: each a card with whom it is about, since when, and what was seen.

An open alert is marked by a bar and a triangle as well as by its colour; one that has closed stays, dimmed.
"""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import QRectF, Qt
from PyQt6.QtGui import QColor, QPaintEvent
from PyQt6.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from gui import texts
from gui.controls import FittedList, describe, paint_focus, painting
from gui.gauge import StateMark
from gui.records import AlertItem, AlertStatus
from gui.style import Mood, Palette

SHOWN_CARDS = 2

_MOOD = {
    AlertStatus.OPEN: Mood.SUSPECT,
    AlertStatus.UNCONFIRMED: Mood.CANNOT_TELL,
    AlertStatus.CLOSED: Mood.ENDED,
}


class AlertCard(QFrame):
    """One alert. It can have the focus, so that it can be read out; there is nothing to press."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._palette, self._em = palette, 13.0
        self._mark = StateMark(palette, 14, self)
        self._title = _label("name", self)
        self._when = _label("muted", self)
        self._evidence = _label("detail", self)
        self._evidence.setWordWrap(True)
        self._grid = QGridLayout(self)
        self._grid.addWidget(self._mark, 0, 0, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(self._title, 0, 1)
        self._grid.addWidget(self._when, 0, 2, Qt.AlignmentFlag.AlignRight)
        self._grid.addWidget(self._evidence, 1, 1, 1, 2)
        self._grid.setColumnStretch(1, 1)
        self._open = False

    @property
    def mood(self) -> Mood:
        return self._mark.mood

    def restyle(self, palette: Palette, em: float) -> None:
        self._palette, self._em = palette, em
        self._grid.setContentsMargins(round(em * 0.8), round(em * 0.45), round(em * 0.6), round(em * 0.5))
        self._grid.setHorizontalSpacing(round(em * 0.5))
        self._grid.setVerticalSpacing(round(em * 0.2))
        self._mark.restyle(palette, round(em * 1.1))
        self.update()

    def show_alert(self, item: AlertItem) -> None:
        mood = _MOOD[item.status]
        if self._mark.mood is not mood:
            self._mark.set_mood(mood)
        if self._open is not (item.status is AlertStatus.OPEN):
            self._open = not self._open
            self.update()
        for label, text in ((self._title, item.person), (self._when, item.when), (self._evidence, item.evidence)):
            if label.text() != text:
                label.setText(text)
        description = texts.ALERT_STATUS[item.status.value]
        describe(self, f"Alert, {item.person}: {item.evidence}", description)
        describe(self._mark, f"Alert: {item.status.value}", description)
        describe(self._title, f"Alert about {item.person}", description)
        describe(self._when, f"When: {item.when}", description)
        describe(self._evidence, f"What was seen: {item.evidence}", description)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        with painting(self) as painter:
            radius = self._em * 0.6
            rect = QRectF(self.rect())
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self._palette.alarm_panel if self._open else self._palette.raised))
            painter.drawRoundedRect(rect, radius, radius)
            if self._open:
                painter.setBrush(QColor(self._palette.suspect))
                bar = QRectF(0, radius, self._em * 0.22, self.height() - 2 * radius)
                painter.drawRoundedRect(bar, bar.width() / 2, bar.width() / 2)
            if self.hasFocus():
                paint_focus(painter, rect, self._palette, radius)


class AlertsPanel(FittedList):
    """All alerts, open ones first."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(texts.ALERTS, "Alerts of this run, open ones first.", parent)
        self._palette, self._em = palette, 13.0
        self._cards: list[AlertCard] = []

    @property
    def cards(self) -> list[AlertCard]:
        return list(self._cards)

    def restyle(self, palette: Palette, em: float) -> None:
        self._palette, self._em = palette, em
        self.column.setSpacing(round(em * 0.35))
        for card in self._cards:
            card.restyle(palette, em)

    def show_alerts(self, items: Sequence[AlertItem]) -> bool:
        """Returns True where the number of cards changed."""
        before = len(self._cards)
        while len(self._cards) > len(items):
            card = self._cards.pop()
            self.column.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self._cards) < len(items):
            card = AlertCard(self._palette, self.widget())
            card.restyle(self._palette, self._em)
            self._cards.append(card)
            self.column.addWidget(card)
            card.show()
        for card, item in zip(self._cards, items, strict=True):
            card.show_alert(item)
        return len(self._cards) != before


def _label(object_name: str, parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setObjectName(object_name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
