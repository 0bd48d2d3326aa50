"""The window: frameless, above others, drawn from an `OverlayModel` and from nothing else.

From top to bottom: title and buttons, headline with mark and score, what the source says of itself, a minute of
history, the people, the alerts, what runs and how fast. Small by default; Ctrl+M makes it smaller still.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise

from PyQt6.QtCore import QRectF, QSettings, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QKeyEvent, QKeySequence, QPainter, QShortcut
from PyQt6.QtWidgets import QApplication, QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from gui import style, texts
from gui.alerts import SHOWN_CARDS, AlertsPanel
from gui.announce import Announcements, Announcer
from gui.controller import Action, OverlayModel
from gui.controls import ElidedLabel, Icon, IconButton, TickButton, describe
from gui.gauge import ScoreLabel, StateMark
from gui.panel import FloatingPanel, OverlayOptions
from gui.people import SHOWN_ROWS, PeopleList, PictureOptions
from gui.records import AlertStatus
from gui.stages import StageTable
from gui.style import Mood, Palette
from gui.timeline import Timeline

MAP_KEY, PICTURES_KEY = "overlay/map_everywhere", "overlay/pictures"
LIST_SHARE = 0.35
"""Most of the screen's height that one list takes."""


class Overlay(FloatingPanel):
    """The window. `show_model` draws; `acted` and `closed` say what the user did."""

    acted = pyqtSignal(Action)

    def __init__(self, options: OverlayOptions, store: QSettings | None = None) -> None:
        super().__init__(options, store)
        self.setWindowTitle("unmask")
        self._announcements, self._announcer = Announcements(), Announcer()
        self._mood = Mood.STARTING
        self._action = Action.PAUSE
        self._compact = False
        self._model: OverlayModel | None = None
        self._open_alerts: set[int] = set()
        self._build()
        self._lay_out()
        self._bind_keys()
        self._describe()
        self._take_style()
        self.action_button.setFocus()

    # ------------------------------------------------------------------------------------ building

    def _build(self) -> None:
        palette = self.colours
        self.brand = _label("brand", self, "unmask")
        self.source = ElidedLabel(self)
        self.source.setObjectName("source")
        self.source.setTextFormat(Qt.TextFormat.PlainText)
        self.action_button = IconButton(palette, Icon.PAUSE, self)
        self.compact_button = IconButton(palette, Icon.COMPACT, self)
        self.close_button = IconButton(palette, Icon.CLOSE, self)
        self.mark = StateMark(palette, 40, self)
        self.headline = _label("headline", self, wrap=True)
        self.sub = _label("sub", self, wrap=True)
        self.score = ScoreLabel("score", self)
        self.score_caption = _label("caption", self, texts.SCORE_CAPTION)
        self.notice = _label("notice", self, wrap=True)
        self.timeline = Timeline(palette, "Most suspicious person", axis=True, parent=self)
        self.people = PeopleList(palette, self)
        self.alerts_title = _label("section", self, texts.ALERTS)
        self.alerts = AlertsPanel(palette, self)
        self.speed = _label("muted", self, wrap=True)
        self.details_button = IconButton(palette, Icon.DOWN, self)
        self.details_button.setText(texts.DETAILS)
        self.details_button.setCheckable(True)
        self.map_button = TickButton(palette, texts.MAP_EVERYWHERE, self)
        self.map_button.setChecked(self._remembered(MAP_KEY, default=False))
        self.pictures_button = TickButton(palette, texts.PICTURES, self)
        self.pictures_button.setChecked(self._remembered(PICTURES_KEY, default=True))
        self.stages = StageTable(self)
        self.stages.hide()
        self.runtimes = _label("muted", self, wrap=True)
        self.runtimes.hide()
        self.rule = QFrame(self)
        self.rule.setFixedHeight(1)
        self.action_button.clicked.connect(lambda: self.acted.emit(self._action))
        self.compact_button.clicked.connect(self.toggle_compact)
        self.close_button.clicked.connect(self.close)
        self.details_button.toggled.connect(self._show_details)
        for button in (self.map_button, self.pictures_button):
            button.hide()
            button.toggled.connect(self._choose)
        self._choose()

    def _lay_out(self) -> None:
        self._bar = QHBoxLayout()
        self._bar.addWidget(self.brand)
        self._bar.addWidget(self.source, 1)
        for button in (self.action_button, self.compact_button, self.close_button):
            self._bar.addWidget(button)
        self._said = QVBoxLayout()
        self._said.addStretch(1)
        self._said.addWidget(self.headline)
        self._said.addWidget(self.sub)
        self._said.addStretch(1)
        self._scored = QVBoxLayout()
        self._scored.addStretch(1)
        self._scored.addWidget(self.score)
        self._scored.addWidget(self.score_caption, 0, Qt.AlignmentFlag.AlignRight)
        self._scored.addStretch(1)
        self._head = QHBoxLayout()
        self._head.addWidget(self.mark, 0, Qt.AlignmentFlag.AlignVCenter)
        self._head.addLayout(self._said, 1)
        self._head.addLayout(self._scored)
        self._foot = QHBoxLayout()
        self._foot.addWidget(self.speed, 1)
        self._foot.addWidget(self.details_button, 0, Qt.AlignmentFlag.AlignTop)
        self._upper, self._lower = QVBoxLayout(), QVBoxLayout()
        self._upper.addLayout(self._bar)
        self._upper.addLayout(self._head)
        self._upper.addWidget(self.notice)
        self._upper.addWidget(self.timeline)
        self._lower.addWidget(self.alerts_title)
        self._lower.addWidget(self.alerts)
        self._lower.addWidget(self.rule)
        self._lower.addLayout(self._foot)
        self._ticks = QVBoxLayout()
        self._ticks.addWidget(self.map_button)
        self._ticks.addWidget(self.pictures_button)
        self._lower.addLayout(self._ticks)
        self._lower.addWidget(self.stages)
        self._lower.addWidget(self.runtimes)
        self._page = QVBoxLayout(self)
        self._page.addLayout(self._upper)
        self._page.addWidget(self.people)
        self._page.addLayout(self._lower)

    def _bind_keys(self) -> None:
        keys = {
            "Ctrl+M": self.toggle_compact,
            "Ctrl+D": self.details_button.toggle,
            "Ctrl+E": self.map_button.toggle,
            "Ctrl+P": self.pictures_button.toggle,
            "Ctrl+Q": self.close,
            "Escape": self.close,
        }
        for key, work in keys.items():
            QShortcut(QKeySequence(key), self).activated.connect(work)

    def _describe(self) -> None:
        describe(self, "unmask", texts.WINDOW_KEYS)
        describe(self.brand, "unmask", "The program's name.")
        describe(self.compact_button, "Compact", texts.COMPACT_MEANING)
        describe(self.close_button, "Close", "Stops watching and closes unmask. Escape or Ctrl+Q.")
        describe(self.details_button, texts.DETAILS, texts.DETAILS_MEANING)
        describe(self.map_button, texts.MAP_EVERYWHERE, texts.MAP_MEANING)
        describe(self.pictures_button, texts.PICTURES, texts.PICTURES_MEANING)
        describe(self.score_caption, texts.SCORE_CAPTION, texts.SCORE_MEANING)
        describe(self.alerts_title, texts.ALERTS, "Heading of the list of alerts.")
        describe(self.rule, "Line", "Parts the people and alerts from what runs.")
        self.compact_button.setToolTip("Compact (Ctrl+M)")
        self.close_button.setToolTip("Close (Esc)")
        self.details_button.setToolTip("What each stage does, and what is shown of faces (Ctrl+D)")
        self.map_button.setToolTip(texts.MAP_MEANING)
        self.pictures_button.setToolTip(texts.PICTURES_MEANING)

    # ------------------------------------------------------------------------------------ drawing

    def show_model(self, model: OverlayModel) -> None:
        """Show everything that `model` says. Touches only what has changed."""
        if (self._mood is Mood.SUSPECT) is not (model.mood is Mood.SUSPECT):
            self.update()
        self._mood, self._action = model.mood, model.action
        if self.mark.mood is not model.mood:
            self.mark.set_mood(model.mood)
        _say(self.headline, model.headline, "What the monitor says now.")
        _say(self.sub, model.sub, "Of whom, since when, or why.")
        _say(self.source, model.source, "What is watched.")
        # A tooltip takes what looks like HTML for HTML, and the title of a window is anybody's.
        plain = "<" not in model.source
        self.source.setToolTip(model.source if plain else f"<qt>{escape(model.source, quote=False)}</qt>")
        _say(self.notice, model.notice, "What the source or a stage says of itself.")
        _say(self.speed, model.speed, "What runs the detector, and the time from picture to verdict.")
        _say(self.runtimes, model.runtimes, texts.RUNTIMES_MEANING)
        self.score.show_score(model.suspicion, model.mood, model.lead or "Score", self.colours)
        self.timeline.show_history(model.history, model.alerts, model.now_ns)
        self._show_action(model.action)
        changed = self.people.show_rows(model.rows, model.now_ns)
        changed |= self.alerts.show_alerts(model.alerts)
        self.stages.show_stages(model.stages)
        self._model = model
        self._show_parts()
        if changed:
            self._order_tabs()
        self._fit()
        title = f"{model.headline} - unmask"
        if title != self.windowTitle():
            self.setWindowTitle(title)
            self.setAccessibleName(f"unmask: {model.headline}")
        self._announce(model)

    def _show_parts(self) -> None:
        """Only what has something to say is there. What the source says of itself is never hidden."""
        full, model = not self._compact, self._model
        people, alerts = bool(model and model.rows), bool(model and model.alerts)
        scored = model is not None and model.suspicion is not None
        for widget, shown in (
            (self.notice, bool(model and model.notice)),
            (self.score, scored),
            (self.score_caption, scored),
            (self.timeline, full),
            (self.people, full and people),
            (self.alerts_title, full and alerts),
            (self.alerts, full and alerts),
            (self.rule, full),
            (self.speed, full),
            (self.details_button, full),
            (self.map_button, full and self.details_button.isChecked()),
            (self.pictures_button, full and self.details_button.isChecked()),
            (self.stages, full and self.details_button.isChecked()),
            (self.runtimes, full and self.details_button.isChecked() and bool(model and model.runtimes)),
        ):
            if widget.isHidden() is shown:
                widget.setVisible(shown)

    def _show_action(self, action: Action) -> None:
        self.action_button.set_icon(Icon.PAUSE if action is Action.PAUSE else Icon.PLAY)
        describe(self.action_button, action.value, texts.ACTION_MEANING[action.value])
        self.action_button.setToolTip(f"{action.value} (Space)")

    def _announce(self, model: OverlayModel) -> None:
        sentence = self._announcements.next(model)
        if sentence is not None:
            self._announcer.say(sentence)
        opened = {alert.alert_id for alert in model.alerts if alert.status is AlertStatus.OPEN}
        if opened - self._open_alerts:
            QApplication.alert(self)
        self._open_alerts = opened

    @property
    def announced(self) -> str:
        """The last sentence that was announced."""
        return self._announcer.last

    def paint_ground(self, painter: QPainter, radius: float) -> None:
        """A tint behind the headline while there are strong signs."""
        if self._mood is Mood.SUSPECT:
            wide, high = round(self.em * 0.4), round(self.em * 0.15)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self.colours.alarm_panel))
            head = QRectF(self._head.geometry().adjusted(-wide, -high, wide, high))
            painter.drawRoundedRect(head, radius * 0.7, radius * 0.7)

    def restyle(self, palette: Palette, em: float) -> None:
        pad, inset, gap = (round(size * em) for size in (style.PAD_EM, style.INSET_EM, style.GAP_EM))
        self._page.setContentsMargins(pad - inset, round(pad * 0.6), pad - inset, round(pad * 0.8))
        for part in (self._upper, self._lower):
            part.setContentsMargins(inset, 0, inset, 0)
            part.setSpacing(gap)
        self._page.setSpacing(gap)
        self._head.setContentsMargins(0, round(em * 0.3), 0, round(em * 0.45))
        self._bar.setSpacing(round(em * 0.2))
        self.source.setContentsMargins(round(em * 0.4), 0, 0, 0)
        self._head.setSpacing(round(em * 0.9))
        self._said.setSpacing(round(em * 0.15))
        self._scored.setSpacing(0)
        self.mark.restyle(palette, round(em * 3.4))
        self.timeline.restyle(palette, QSize(round(em * 8), round(em * 4.6)))
        self.people.restyle(palette, em)
        self.alerts.restyle(palette, em)
        self.stages.restyle(em)
        for button in (self.action_button, self.compact_button, self.close_button, self.details_button):
            button.restyle(palette, em)
        self._ticks.setSpacing(0)
        for tick in (self.map_button, self.pictures_button):
            tick.restyle(palette, em)
        self.rule.setStyleSheet(f"background: {palette.line};")
        self.setFixedWidth(round(style.WIDTH_EM * em))
        self._fit()

    def toggle_compact(self) -> None:
        """Show the headline only, or everything again."""
        self._compact = not self._compact
        self.compact_button.set_icon(Icon.EXPAND if self._compact else Icon.COMPACT)
        name, tip = ("Expand", "Expand (Ctrl+M)") if self._compact else ("Compact", "Compact (Ctrl+M)")
        describe(self.compact_button, name, texts.COMPACT_MEANING)
        self.compact_button.setToolTip(tip)
        self._show_parts()
        self._fit()

    def _choose(self) -> None:
        """Take over what the user wants to see of faces, and remember it."""
        chosen = PictureOptions(self.pictures_button.isChecked(), self.map_button.isChecked())
        self.people.choose(chosen)
        if self._store is not None:
            self._store.setValue(PICTURES_KEY, chosen.pictures)
            self._store.setValue(MAP_KEY, chosen.map_everywhere)
        if self._model is not None:
            self._fit()

    def _remembered(self, key: str, *, default: bool) -> bool:
        value = default if self._store is None else self._store.value(key, default)
        return value if isinstance(value, bool) else str(value).lower() == "true"

    def _show_details(self, shown: bool) -> None:
        self.details_button.set_icon(Icon.UP if shown else Icon.DOWN)
        self._show_parts()
        self._fit()

    def _fit(self) -> None:
        """Take the height that the content needs at this width; lists scroll beyond their share of the screen."""
        screen = self.screen()
        limit = round(LIST_SHARE * screen.availableGeometry().height()) if screen is not None else 400
        margins = self._page.contentsMargins()
        inner = self.width() - margins.left() - margins.right()
        self.people.fit(inner, SHOWN_ROWS, limit)
        self.alerts.fit(inner - 2 * round(style.INSET_EM * self.em), SHOWN_CARDS, limit)
        self._page.activate()
        height = self._page.totalHeightForWidth(self.width())
        if height < 0:
            height = self._page.totalSizeHint().height()
        if height != self.height():
            self.setFixedHeight(height)
            self.keep_on_screen()

    # ------------------------------------------------------------------------------------ keys

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Space pauses wherever the focus is on something that Space does not press."""
        if event is not None and event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.acted.emit(self._action)
            return
        super().keyPressEvent(event)

    def _order_tabs(self) -> None:
        """Tab goes through the window from top to bottom, also after rows have come or changed places."""
        chain: list[QWidget] = [self.action_button, self.compact_button, self.close_button]
        chain += [*self.people.widgets, *self.alerts.cards, self.details_button, self.map_button, self.pictures_button]
        for before, after in pairwise(chain):
            self.setTabOrder(before, after)


def _label(object_name: str, parent: QWidget, text: str = "", *, wrap: bool = False) -> QLabel:
    label = QLabel(text, parent)
    label.setObjectName(object_name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wrap)
    return label


def _say(label: QLabel, text: str, description: str) -> None:
    shown = texts.breakable(text) if label.wordWrap() else text
    if label.text() != shown:
        label.setText(shown)
    describe(label, text or "Nothing to say", description)
