"""The window itself: what it shows of a story, that everybody can work and read it, and that it draws fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtCore import QPoint, QPointF, QRectF, QSettings, Qt
from PyQt6.QtGui import QGuiApplication, QImage, QPainter, QTextDocument
from PyQt6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget
from stories import DEMO, NOTICE, S, Story, alert, cue, running, snapshot, verdict, where

from gui.alerts import AlertCard
from gui.controller import Action
from gui.controls import ElidedLabel
from gui.gauge import paint_mark
from gui.overlay import Overlay
from gui.panel import POSITION_KEY
from gui.people import PersonWidget, Thumbnail
from gui.session import Phase, SessionView
from gui.style import DARK, LIGHT, Mood
from monitor.types import FaceRegion, Reason, RunState, State, Verdict

MakeOverlay = Callable[..., Overlay]


def person(track_id: int, state: State, suspicion: float | None = None, *reasons: Reason) -> Verdict:
    return verdict(track_id, state, suspicion, *reasons, at_ns=0)


def mapped(track_id: int, state: State, suspicion: float) -> Verdict:
    """Somebody whose mouth and eyes look replaced."""
    return verdict(track_id, state, suspicion, at_ns=0, where=where(track_id, FaceRegion.MOUTH, FaceRegion.EYES))


def four_people() -> list[Verdict]:
    return [
        person(1, State.NO_SIGN, 0.08),
        person(2, State.SUSPECT, 0.93),
        person(3, State.CANNOT_TELL, None, Reason.FACE_TOO_SMALL),
        person(4, State.UNCERTAIN, 0.55),
    ]


def pixels(widget: QWidget) -> np.ndarray:
    """uint8 (H, W, 4) RGBA of what the widget looks like."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    data = image.constBits()
    assert data is not None
    flat = np.frombuffer(data.asstring(image.sizeInBytes()), np.uint8)
    return flat.reshape(image.height(), image.bytesPerLine())[:, : image.width() * 4].reshape(image.height(), -1, 4)


def shown_texts(overlay: Overlay) -> str:
    return "\n".join(label.text() for label in overlay.findChildren(QLabel) if label.isVisible())


def share_of(image: np.ndarray, colour: str) -> float:
    """Share of the pixels that have `colour`, give or take a little."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(image[..., :3].astype(int) - wanted).max(axis=-1) <= 12).mean())


# ------------------------------------------------------------------------------------------ the story


def test_a_run_from_start_to_failure(make_overlay: MakeOverlay, tmp_path: Path):
    story, overlay = Story(), make_overlay(dark=True)
    overlay.show()

    def see(name: str) -> np.ndarray:
        assert overlay.grab().save(str(tmp_path / f"{name}.png"))
        picture = pixels(overlay)
        assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 100, f"{name}: nearly empty picture"
        return picture

    overlay.show_model(story.see(SessionView(Phase.STARTING)))
    assert overlay.headline.text() == "Starting"
    assert overlay.score.isHidden()
    pictures = [see("starting")]

    overlay.show_model(story.show(person(1, State.WARMING_UP), seconds=2, source=DEMO))
    assert overlay.headline.text() == "Getting ready"
    assert overlay.notice.text() == NOTICE
    pictures.append(see("warming"))

    overlay.show_model(story.show(person(1, State.NO_SIGN, 0.07), seconds=10, source=DEMO))
    assert (overlay.headline.text(), overlay.score.text()) == ("No sign of manipulation", "7 %")
    assert overlay.mark.mood is Mood.NO_SIGN
    pictures.append(see("no sign"))
    assert share_of(pictures[-1], DARK.suspect) == 0.0

    opened = [alert(1, 1, story.now_ns)]
    overlay.show_model(story.show(person(1, State.SUSPECT, 0.93), seconds=5, source=DEMO, opened=opened))
    assert (overlay.headline.text(), overlay.score.text()) == ("Strong signs of manipulation", "93 %")
    assert [card.mood for card in overlay.alerts.cards] == [Mood.SUSPECT]
    pictures.append(see("suspect"))
    assert share_of(pictures[-1], DARK.suspect) > 0.002

    old = snapshot(story.now_ns, [verdict(1, State.SUSPECT, 0.93, at_ns=story.now_ns)], source=DEMO, opened=opened)
    story.now_ns += 3 * S
    overlay.show_model(story.see(running(old)))
    assert overlay.headline.text() == "Cannot tell: no fresh reading"
    assert overlay.score.isHidden()
    assert overlay.people.widgets[0].row.suspicion is None
    pictures.append(see("stale"))

    overlay.show_model(story.show(run_state=RunState.FAILED, message="the camera was unplugged"))
    assert (overlay.headline.text(), overlay.sub.text()) == ("Stopped", "The camera was unplugged.")
    assert overlay.people.widgets == []
    pictures.append(see("failed"))
    for one, other in combinations(pictures, 2):
        assert one.shape != other.shape or np.abs(one.astype(int) - other).mean() > 0.5


def test_no_score_stays_anywhere_once_it_is_stale(make_overlay: MakeOverlay):
    story, overlay = Story(), make_overlay()
    overlay.show()
    overlay.show_model(story.show(*four_people(), seconds=3))
    assert "93 %" in shown_texts(overlay)
    old = snapshot(story.now_ns, [verdict(2, State.SUSPECT, 0.93, at_ns=story.now_ns)])
    story.now_ns += 3 * S
    overlay.show_model(story.see(running(old)))
    assert "%" not in shown_texts(overlay)
    spoken = [widget.accessibleName() for widget in overlay.findChildren(QWidget) if widget.isVisible()]
    assert not [name for name in spoken if "93" in name]


def test_there_is_a_dark_and_a_light_look(make_overlay: MakeOverlay):
    dark, light = make_overlay(dark=True), make_overlay(dark=False)
    assert share_of(pixels(dark), DARK.panel) > 0.3
    assert share_of(pixels(light), LIGHT.panel) > 0.3


def test_the_background_is_as_opaque_as_asked_and_the_corners_are_round(make_overlay: MakeOverlay):
    overlay = make_overlay(dark=True, opacity=0.5)
    overlay.show_model(Story().show(person(1, State.NO_SIGN, 0.1)))
    image = pixels(overlay)
    assert image[0, 0, 3] == 0
    assert abs(int(np.median(image[..., 3])) - 128) <= 2


# ------------------------------------------------------------------------------------------ for everybody


def everything(overlay: Overlay) -> None:
    """Show all that the window can show."""
    story = Story()
    judged = [*four_people(), *[person(i, State.NO_SIGN, 0.1) for i in range(5, 26)]]
    cues = [cue(2, "The edge of the face moves", "Glasses look the same", story.now_ns)]
    judged[1] = verdict(2, State.SUSPECT, 0.93, at_ns=0, cues=cues, where=where(2, FaceRegion.MOUTH))
    opened = [alert(i, 2, story.now_ns) for i in range(1, 6)]
    overlay.show()
    overlay.show_model(story.show(*judged, seconds=2, source=DEMO, opened=opened, stuck="head"))
    overlay.people.widgets[0].click()
    overlay.details_button.click()


def test_every_widget_has_an_accessible_name_and_description(make_overlay: MakeOverlay):
    overlay = make_overlay()
    everything(overlay)
    widgets = [overlay, *overlay.findChildren(QWidget)]
    assert len(widgets) > 200
    unnamed = [
        f"{type(w).__name__} {w.objectName()!r} in {type(w.parentWidget()).__name__}"
        for w in widgets
        if not w.accessibleName() or not w.accessibleDescription()
    ]
    assert unnamed == []


def test_a_row_says_in_its_name_what_it_shows(make_overlay: MakeOverlay):
    overlay = make_overlay()
    overlay.show_model(Story().show(*four_people()))
    names = [widget.accessibleName() for widget in overlay.people.widgets]
    assert names == [
        "Person 2: Strong signs, suspicion 93 %",
        "Person 4: Uncertain, suspicion 55 %",
        "Person 1: No sign, suspicion 8 %",
        "Person 3: Cannot tell: the face is too small",
    ]


def controls(overlay: Overlay) -> set[QWidget]:
    """Everything that can be pressed or read out, now on show."""
    kinds = (QAbstractButton, AlertCard)
    return {w for w in overlay.findChildren(QWidget) if isinstance(w, kinds) and not w.isHidden() and w.isVisible()}


def test_tab_reaches_every_control_from_top_to_bottom_and_back(make_overlay: MakeOverlay, qtbot):
    overlay = make_overlay()
    everything(overlay)
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    overlay.action_button.setFocus()
    walked: list[QWidget] = []
    for _ in range(len(controls(overlay)) + 5):
        focus = QApplication.focusWidget()
        assert focus is not None
        if focus in walked:
            break
        walked.append(focus)
        qtbot.keyClick(focus, Qt.Key.Key_Tab)
    assert set(walked) == controls(overlay)
    heights = [w.mapTo(overlay, QPoint(0, 0)).y() for w in walked if not isinstance(w, PersonWidget | AlertCard)]
    assert heights == sorted(heights)
    assert walked[:3] == [overlay.action_button, overlay.compact_button, overlay.close_button]
    qtbot.keyClick(walked[0], Qt.Key.Key_Backtab)
    assert QApplication.focusWidget() is walked[-1]


def test_the_focus_can_be_seen_on_every_control(make_overlay: MakeOverlay, qtbot):
    overlay = make_overlay()
    overlay.show()
    overlay.show_model(Story().show(*four_people(), opened=[alert(1, 2, 0)]))
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    for control in controls(overlay):
        overlay.setFocus()
        before = pixels(control)
        control.setFocus()
        assert np.abs(pixels(control).astype(int) - before).max() > 60, control.accessibleName()


def test_the_focus_stays_with_a_person_whose_row_moves(make_overlay: MakeOverlay, qtbot):
    story, overlay = Story(), make_overlay()
    overlay.show()
    overlay.show_model(story.show(person(1, State.NO_SIGN, 0.1), person(2, State.NO_SIGN, 0.1)))
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    second = overlay.people.widgets[1]
    second.setFocus()
    overlay.show_model(story.show(person(1, State.NO_SIGN, 0.1), person(2, State.SUSPECT, 0.9)))
    assert overlay.people.widgets[0] is second
    assert QApplication.focusWidget() is second
    qtbot.keyClick(second, Qt.Key.Key_Down)
    assert QApplication.focusWidget() is overlay.people.widgets[1]
    qtbot.keyClick(overlay.people.widgets[1], Qt.Key.Key_Up)
    assert QApplication.focusWidget() is second


def test_keys_do_what_the_buttons_do(make_overlay: MakeOverlay, qtbot):
    story, overlay = Story(), make_overlay()
    overlay.show()
    overlay.show_model(story.show(person(1, State.NO_SIGN, 0.1)))
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    row = overlay.people.widgets[0]
    with qtbot.waitSignal(overlay.acted) as acted:
        qtbot.keyClick(overlay, Qt.Key.Key_Space)
    assert acted.args == [Action.PAUSE]
    assert not row.isChecked()
    qtbot.keyClick(row, Qt.Key.Key_Return)
    assert row.isChecked()
    qtbot.keyClick(row, Qt.Key.Key_Space)
    assert not row.isChecked()
    qtbot.keyClick(overlay, Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier)
    assert overlay.people.isHidden()
    assert not overlay.headline.isHidden()
    qtbot.keyClick(overlay, Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier)
    assert not overlay.people.isHidden()
    qtbot.keyClick(overlay, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert not overlay.stages.isHidden()
    overlay.show_model(story.see(SessionView(Phase.PAUSED, generation=1)))
    with qtbot.waitSignal(overlay.acted) as acted:
        qtbot.keyClick(overlay.action_button, Qt.Key.Key_Space)
    assert acted.args == [Action.RESUME]


@pytest.mark.parametrize("key", [Qt.Key.Key_Escape, Qt.Key.Key_Q])
def test_escape_and_ctrl_q_close(make_overlay: MakeOverlay, qtbot, key: Qt.Key):
    overlay = make_overlay()
    overlay.show()
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    modifier = Qt.KeyboardModifier.NoModifier if key == Qt.Key.Key_Escape else Qt.KeyboardModifier.ControlModifier
    with qtbot.waitSignal(overlay.closed):
        qtbot.keyClick(overlay, key, modifier)
    assert overlay.isHidden()


def test_what_the_source_says_of_itself_is_not_hidden_by_the_compact_form(make_overlay: MakeOverlay):
    overlay = make_overlay()
    overlay.show()
    overlay.show_model(Story().show(person(1, State.NO_SIGN, 0.1), source=DEMO))
    full = overlay.height()
    overlay.toggle_compact()
    assert overlay.height() < 0.7 * full
    assert not overlay.notice.isHidden()
    assert not overlay.mark.isHidden()


def test_a_title_of_a_window_is_never_taken_for_html(make_overlay: MakeOverlay):
    overlay, title = make_overlay(dark=True), 'Call with <img src="file:///tmp/x.png"> & <b>Bo</b>'
    overlay.show_model(replace(Story().show(person(1, State.NO_SIGN, 0.1)), source=title))
    shown = QTextDocument()
    shown.setHtml(overlay.source.toolTip())
    assert shown.toPlainText() == title


def test_each_state_has_a_shape_of_its_own(qapp: QApplication):
    """Drawn in one and the same colour, no two marks look alike."""
    plain = replace(DARK, no_sign="#ffffff", uncertain="#ffffff", suspect="#ffffff", muted="#ffffff")
    shapes = {}
    for mood in Mood:
        image = QImage(64, 64, QImage.Format.Format_Grayscale8)
        image.fill(0)
        painter = QPainter(image)
        paint_mark(painter, QRectF(0, 0, 64, 64), mood, plain)
        painter.end()
        data = image.constBits()
        assert data is not None
        shapes[mood] = np.frombuffer(data.asstring(64 * 64), np.uint8).reshape(64, 64) > 60
        assert shapes[mood].mean() > 0.05
    for one, other in combinations(Mood, 2):
        assert (shapes[one] ^ shapes[other]).mean() > 0.05, (one, other)


# ------------------------------------------------------------------------------------------ the map


def thumbnail(overlay: Overlay, row: int = 0) -> Thumbnail:
    return overlay.people.widgets[row].findChildren(Thumbnail)[0]


def shows_map(overlay: Overlay, row: int = 0) -> bool:
    """Whether a person's picture is a grey face with a coloured place on it."""
    image = pixels(thumbnail(overlay, row)).astype(int)
    spread = image[..., :3].max(-1) - image[..., :3].min(-1)
    return bool((spread <= 4).mean() > 0.5 and (spread > 40).mean() > 0.01)


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.SUSPECT])
def test_signs_are_drawn_on_the_picture_with_a_legend(make_overlay: MakeOverlay, state: State):
    overlay = make_overlay()
    overlay.show()
    overlay.show_model(Story().show(mapped(1, state, 0.7)))
    assert shows_map(overlay)
    legend = "Where the picture looks replaced: mostly around the mouth and chin, and around the eyes"
    assert legend in shown_texts(overlay)
    assert thumbnail(overlay).accessibleDescription() == f"{legend}."
    assert legend in overlay.people.widgets[0].accessibleName()
    assert "filter" in overlay.people.widgets[0].accessibleDescription()


def test_nothing_is_drawn_on_a_calm_face_unless_it_is_asked_for(make_overlay: MakeOverlay, qtbot):
    story, overlay = Story(), make_overlay()
    overlay.show()
    calm = [mapped(1, State.NO_SIGN, 0.1), person(2, State.NO_SIGN, 0.1)]
    overlay.show_model(story.show(*calm))
    small = thumbnail(overlay).width()
    assert not shows_map(overlay)
    assert "looks replaced" not in shown_texts(overlay)
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    qtbot.keyClick(overlay, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert shows_map(overlay)
    assert thumbnail(overlay).width() > small
    assert "looks replaced" in shown_texts(overlay)
    lefts = {
        widget.findChildren(QLabel, "name")[0].mapTo(overlay, QPoint(0, 0)).x() for widget in overlay.people.widgets
    }
    assert len(lefts) == 1, "the names stand below each other"
    overlay.show_model(story.show(*calm))
    assert shows_map(overlay)
    qtbot.keyClick(overlay, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert "looks replaced" not in shown_texts(overlay)


def test_pictures_can_be_turned_off_and_the_words_stay(make_overlay: MakeOverlay, qtbot, tmp_path: Path):
    story, overlay = Story(), make_overlay(ini(tmp_path))
    overlay.show()
    overlay.show_model(story.show(mapped(1, State.SUSPECT, 0.9)))
    overlay.details_button.click()
    overlay.pictures_button.click()
    assert not thumbnail(overlay).isVisible()
    assert "mostly around the mouth" in shown_texts(overlay)
    overlay.show_model(story.show(mapped(1, State.SUSPECT, 0.9), person(2, State.NO_SIGN, 0.1)))
    assert not thumbnail(overlay, 1).isVisible(), "nor the picture of somebody who comes later"
    overlay.close()
    again = make_overlay(ini(tmp_path))
    again.show()
    again.show_model(story.show(mapped(1, State.SUSPECT, 0.9)))
    assert not again.pictures_button.isChecked()
    assert not thumbnail(again).isVisible()
    again.pictures_button.click()
    assert thumbnail(again).isVisible()


def test_the_ticks_are_kept_with_the_details(make_overlay: MakeOverlay):
    overlay = make_overlay()
    overlay.show()
    overlay.show_model(Story().show(person(1, State.NO_SIGN, 0.1)))
    assert not overlay.map_button.isVisible()
    overlay.details_button.click()
    assert overlay.map_button.isVisible()
    assert overlay.pictures_button.isVisible()
    before = pixels(overlay.map_button)
    overlay.map_button.click()
    assert np.abs(pixels(overlay.map_button).astype(int) - before).max() > 60


# ------------------------------------------------------------------------------------------ size and speed


def test_twenty_five_people_scroll_and_the_window_stays_small(make_overlay: MakeOverlay, qtbot):
    overlay = make_overlay()
    overlay.show()
    overlay.show_model(Story().show(*[person(i, State.NO_SIGN, 0.1) for i in range(1, 26)]))
    assert len(overlay.people.widgets) == 25
    screen = QGuiApplication.primaryScreen()
    assert screen is not None
    assert overlay.height() < 0.75 * screen.availableGeometry().height()
    bar = overlay.people.verticalScrollBar()
    assert bar is not None
    assert bar.maximum() > 0
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    for widget in overlay.people.widgets:
        widget.setFocus(Qt.FocusReason.TabFocusReason)
        overlay.people.ensureWidgetVisible(widget)
    assert bar.value() > 0.9 * bar.maximum()
    assert overlay.people.widgets[0].width() <= overlay.people.viewport().width()


def test_people_who_leave_take_their_rows_with_them(make_overlay: MakeOverlay, qtbot):
    story, overlay = Story(), make_overlay()
    overlay.show()
    overlay.show_model(story.show(*[person(i, State.NO_SIGN, 0.1) for i in range(1, 26)]))
    tall = overlay.height()
    overlay.show_model(story.show(person(7, State.NO_SIGN, 0.1)))
    assert [widget.track_id for widget in overlay.people.widgets] == [7]
    assert overlay.height() < tall
    qtbot.waitUntil(lambda: len(overlay.findChildren(PersonWidget)) == 1)


def clipped(widgets: Iterable[QLabel]) -> list[str]:
    """Labels whose text does not fit into the place that they have."""
    bad = []
    for label in widgets:
        if isinstance(label, ElidedLabel):
            assert label.toolTip() == label.text()
            continue
        if not label.text() or label.isHidden() or not label.isVisible():
            continue
        room = label.contentsRect()
        flags = int(label.alignment()) | (int(Qt.TextFlag.TextWordWrap) if label.wordWrap() else 0)
        needed = label.fontMetrics().boundingRect(0, 0, room.width(), 10_000, flags, label.text())
        if needed.width() > room.width() + 1 or needed.height() > room.height() + 1:
            bad.append(f"{label.objectName()} {label.text()!r}: needs {needed.size()}, has {room.size()}")
    return bad


@pytest.mark.parametrize("percent", [100, 200, 300])
def test_long_texts_are_not_clipped_at_any_font_size(make_overlay: MakeOverlay, qapp: QApplication, percent: int):
    before = qapp.font()
    font = qapp.font()
    font.setPointSizeF(before.pointSizeF() * percent / 100)
    qapp.setFont(font)
    try:
        overlay = make_overlay()
        story = Story()
        everyone = [
            person(1, State.CANNOT_TELL, None, Reason.WAITING_TURN, Reason.FACE_BLURRED, Reason.RATE_TOO_LOW),
            person(123456, State.NO_SIGN, 0.004),
            mapped(3, State.UNCERTAIN, 0.999),
        ]
        overlay.show()
        overlay.show_model(
            story.show(*everyone, source=DEMO, opened=[alert(1, 3, 0)], caption="demo: forged now", stuck="head")
        )
        overlay.details_button.click()
        for widget in overlay.people.widgets:
            widget.click()
        overlay.show_model(story.show(*everyone, source=DEMO, opened=[alert(1, 3, 0)], stuck="perceive"))
        assert overlay.width() > 300 * percent / 100
        qapp.processEvents()
        assert clipped(overlay.findChildren(QLabel)) == []
        error = "/home/somebody/" + "a_very_long_name" * 6 + ".mp4: the camera is in use (Device or resource busy)"
        overlay.show_model(story.see(SessionView(Phase.FAILED, None, error)))
        qapp.processEvents()
        assert clipped(overlay.findChildren(QLabel)) == []
    finally:
        qapp.setFont(before)


def test_the_window_fits_at_once_when_what_it_says_grows_or_shrinks(make_overlay: MakeOverlay, qapp: QApplication):
    story, overlay = Story(), make_overlay()
    overlay.show()
    scenes: list[dict[str, object]] = [
        {"people": [person(1, State.NO_SIGN, 0.1)]},
        {"people": [person(1, State.CANNOT_TELL, None, Reason.RATE_TOO_LOW, Reason.FACE_BLURRED)], "source": DEMO},
        {"people": [person(1, State.UNCERTAIN, 0.5)], "source": DEMO, "caption": "demo: genuine picture"},
        {"people": four_people(), "opened": [alert(1, 2, 0)]},
        {"people": [mapped(1, State.UNCERTAIN, 0.5), person(2, State.NO_SIGN, 0.1)]},
        {"people": [person(1, State.NO_SIGN, 0.1), person(2, State.NO_SIGN, 0.1)]},
        {"people": [person(2, State.SUSPECT, 0.9)], "opened": [alert(1, 2, 0), alert(2, 2, 0)], "stuck": "head"},
        {"people": []},
        {"people": [], "run_state": RunState.FAILED, "message": "the camera is in use by another program; " * 5},
        {"people": [person(1, State.WARMING_UP)]},
    ]
    for number, scene in enumerate(scenes):
        judged = scene.pop("people")
        overlay.show_model(story.show(*judged, **scene))  # type: ignore[misc]
        qapp.processEvents()
        assert clipped(overlay.findChildren(QLabel)) == [], f"scene {number}"
        first = overlay.height()
        overlay.show_model(story.show(*judged, **scene))  # type: ignore[misc]
        qapp.processEvents()
        assert overlay.height() == first, f"scene {number}: the window found its height a look too late"
        story.now_ns += S


def test_a_larger_font_enlarges_an_open_window(make_overlay: MakeOverlay, qapp: QApplication):
    overlay = make_overlay()
    overlay.show()
    overlay.show_model(Story().show(person(1, State.NO_SIGN, 0.1)))
    before, size = qapp.font(), overlay.size()
    font = qapp.font()
    font.setPointSizeF(before.pointSizeF() * 2)
    qapp.setFont(font)
    qapp.processEvents()
    try:
        assert overlay.width() == pytest.approx(2 * size.width(), rel=0.05)
        assert overlay.height() > 1.8 * size.height()
    finally:
        qapp.setFont(before)


def test_four_people_are_painted_in_less_than_a_frame(make_overlay: MakeOverlay):
    """Under 16 ms of processor time for a complete repaint with a full minute of history."""
    story, overlay = Story(), make_overlay()
    overlay.show()
    for step in range(62):
        model = story.show(*four_people()[:3], person(4, State.UNCERTAIN, 0.3 + 0.4 * (step % 10) / 10), seconds=1)
    overlay.show_model(model)
    image = QImage(overlay.size(), QImage.Format.Format_ARGB32_Premultiplied)
    times_ms = []
    for _ in range(15):
        began = time.thread_time()
        overlay.render(image)
        times_ms.append((time.thread_time() - began) * 1e3)
    assert np.median(times_ms) < 16.0


def test_a_look_that_changes_nothing_costs_little(make_overlay: MakeOverlay, qapp: QApplication):
    """Ten looks a second must leave the processor to the monitor: under 5 ms each, painting included."""
    story, overlay = Story(), make_overlay()
    overlay.show()
    overlay.show_model(story.show(*four_people(), seconds=60))
    times_ms = []
    for _ in range(30):
        story.now_ns += S // 10
        model = story.show(*four_people())
        began = time.thread_time()
        overlay.show_model(model)
        qapp.processEvents()
        times_ms.append((time.thread_time() - began) * 1e3)
    assert np.median(times_ms) < 5.0


# ------------------------------------------------------------------------------------------ place


def ini(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "overlay.ini"), QSettings.Format.IniFormat)


def test_the_window_comes_back_to_where_it_was(make_overlay: MakeOverlay, tmp_path: Path):
    first = make_overlay(ini(tmp_path))
    first.show()
    first.move(37, 41)
    first.close()
    second = make_overlay(ini(tmp_path))
    second.place()
    assert second.pos() == QPoint(37, 41)


@pytest.mark.parametrize("remembered", [QPoint(-5000, 20), QPoint(20, 90_000), QPoint(0, -400), "nonsense"])
def test_a_place_off_the_screen_is_forgotten(make_overlay: MakeOverlay, tmp_path: Path, remembered: object):
    store = ini(tmp_path)
    store.setValue(POSITION_KEY, remembered)
    overlay = make_overlay(store)
    overlay.place()
    screen = QGuiApplication.primaryScreen()
    assert screen is not None
    area = screen.availableGeometry()
    assert area.contains(overlay.geometry().topRight())
    assert area.contains(overlay.geometry().topLeft())


def test_it_is_moved_by_the_mouse_and_by_the_keyboard(make_overlay: MakeOverlay, qtbot):
    overlay = make_overlay()
    overlay.show()
    overlay.move(100, 100)
    grip = QPoint(overlay.width() // 2, 5)
    qtbot.mousePress(overlay, Qt.MouseButton.LeftButton, pos=grip)
    assert overlay.pos() == QPoint(100, 100)
    send_move(overlay, QPointF(grip + QPoint(40, 30)))
    qtbot.mouseRelease(overlay, Qt.MouseButton.LeftButton, pos=grip)
    assert overlay.pos() == QPoint(140, 130)
    with qtbot.waitActive(overlay):
        overlay.activateWindow()
    qtbot.keyClick(overlay, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
    assert overlay.pos().x() < 140
    for _ in range(200):
        qtbot.keyClick(overlay, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
    assert overlay.geometry().right() > 0


def send_move(overlay: Overlay, at: QPointF) -> None:
    from PyQt6.QtCore import QEvent
    from PyQt6.QtGui import QMouseEvent

    left = Qt.MouseButton.LeftButton
    glob = overlay.mapToGlobal(at)
    QApplication.sendEvent(
        overlay, QMouseEvent(QEvent.Type.MouseMove, at, glob, left, left, Qt.KeyboardModifier.NoModifier)
    )


@pytest.mark.parametrize("on_top", [True, False])
def test_it_is_frameless_and_on_top_only_if_asked(make_overlay: MakeOverlay, on_top: bool):
    flags = make_overlay(always_on_top=on_top).windowFlags()
    assert flags & Qt.WindowType.FramelessWindowHint
    assert bool(flags & Qt.WindowType.WindowStaysOnTopHint) is on_top
