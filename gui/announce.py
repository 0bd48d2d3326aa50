"""Says changes of state to people who use a screen reader, also while they work in another window.

PyQt6 has no binding of QAccessible, and a changed accessible name is read out only where the focus is. A message
box, though, raises Qt's accessibility alert when it is shown. So a message box that never comes to the screen
raises one for every sentence that `Announcements` finds worth saying.
"""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QShowEvent
from PyQt6.QtWidgets import QMessageBox

from gui.controller import OverlayModel
from gui.records import AlertStatus
from gui.style import Mood

HOLD_S = 1.0
"""A state must last so long before it is said; strong signs and new alerts are said at once."""


class Announcements:
    """Chooses what to say: new alerts, and states that have lasted. Pure: time comes with the model."""

    def __init__(self) -> None:
        self._alerts: set[tuple[int, int]] = set()
        self._current: tuple[Mood, str | None] | None = None
        self._since_ns = 0
        self._said: tuple[Mood, str | None] | None = None

    def next(self, model: OverlayModel) -> str | None:
        """The sentence to say now, or None."""
        current = (model.mood, model.lead)
        if current != self._current:
            self._current, self._since_ns = current, model.now_ns
        opened = [alert for alert in model.alerts if alert.status is AlertStatus.OPEN]
        new = [alert for alert in opened if (alert.alert_id, alert.opened_ns) not in self._alerts]
        self._alerts = {(alert.alert_id, alert.opened_ns) for alert in opened}
        if new:
            self._said = current
            return " ".join(f"Alert about {alert.person}. {alert.evidence}" for alert in new)
        held = model.now_ns - self._since_ns >= HOLD_S * 1e9 or model.mood is Mood.SUSPECT
        if current == self._said or not held:
            return None
        self._said = current
        return f"{model.headline}. {model.sub}"


class Announcer(QMessageBox):
    """Raises an accessibility alert with a sentence. Never visible, takes no focus, makes no sound."""

    def __init__(self) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
        self.setAttribute(Qt.WidgetAttribute.WA_Moved)
        self.setIcon(QMessageBox.Icon.NoIcon)
        self.last = ""

    def say(self, sentence: str) -> None:
        self.last = sentence
        self.setText(sentence)
        self.setAccessibleName(sentence)
        self.setAccessibleDescription("A change that unmask announces.")
        self.showEvent(QShowEvent())
