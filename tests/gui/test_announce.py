"""Changes are announced once they have lasted, alerts at once; screen readers get Qt's accessibility alert."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6 import QtCore, sip
from stories import Story, alert, verdict

from gui.announce import Announcements, Announcer
from monitor.types import Reason, State

ALERT, NAME_CHANGED = 0x0002, 0x800C


def people(state: State, suspicion: float | None, *reasons: Reason):
    return verdict(1, state, suspicion, *reasons, at_ns=0)


def test_a_state_is_said_once_it_has_lasted():
    story, said = Story(), Announcements()
    assert said.next(story.show(people(State.NO_SIGN, 0.1))) is None
    assert said.next(story.show(people(State.NO_SIGN, 0.1), seconds=0.5)) is None
    sentence = said.next(story.show(people(State.NO_SIGN, 0.1), seconds=1))
    assert sentence == "No sign of manipulation. Person 1, for 1\u00a0s."
    assert said.next(story.show(people(State.NO_SIGN, 0.3), seconds=5)) is None


def test_a_state_that_flickers_is_not_said():
    story, said = Story(), Announcements()
    heard = []
    for _ in range(10):
        heard.append(said.next(story.show(people(State.NO_SIGN, 0.1), seconds=0.3)))
        heard.append(said.next(story.show(people(State.CANNOT_TELL, None, Reason.GAP), seconds=0.3)))
    assert heard == [None] * 20


def test_strong_signs_are_said_at_once():
    story, said = Story(), Announcements()
    sentence = said.next(story.show(people(State.SUSPECT, 0.9)))
    assert sentence is not None
    assert sentence.startswith("Strong signs of manipulation. Person 1")


def test_an_alert_is_said_once_with_its_evidence():
    story, said = Story(), Announcements()
    opened = [alert(1, 1, story.now_ns)]
    sentence = said.next(story.show(people(State.SUSPECT, 0.9), opened=opened))
    assert sentence is not None
    assert sentence.startswith("Alert about Person 1. Signs that are likelier")
    assert said.next(story.show(people(State.SUSPECT, 0.9), seconds=5, opened=opened)) is None


class Event(ctypes.Structure):
    """The head of a QAccessibleEvent."""

    _fields_ = (("vtable", ctypes.c_void_p), ("type", ctypes.c_int), ("object", ctypes.c_void_p))


@pytest.fixture
def accessibility(qapp: object) -> Iterator[list[tuple[int, int]]]:
    """What Qt tells screen readers, as (event, address of the object). PyQt6 has no binding, so by symbol."""
    library = Path(QtCore.__file__).parent / "Qt6" / "lib" / "libQt6Gui.so.6"
    try:
        gui = ctypes.CDLL(str(library))
        install = gui._ZN11QAccessible20installUpdateHandlerEPFvP16QAccessibleEventE
        activate = gui._ZN11QAccessible9setActiveEb
    except (OSError, AttributeError):
        pytest.skip("Qt's accessibility symbols are not found by these names here")
    heard: list[tuple[int, int]] = []

    @ctypes.CFUNCTYPE(None, ctypes.POINTER(Event))
    def hear(event) -> None:
        heard.append((event.contents.type, event.contents.object))

    install.restype, install.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = install(ctypes.cast(hear, ctypes.c_void_p))
    activate(ctypes.c_bool(True))
    yield heard
    activate(ctypes.c_bool(False))
    install(before)


def test_a_sentence_raises_an_accessibility_alert_and_shows_nothing(accessibility: list[tuple[int, int]]):
    announcer = Announcer()
    accessibility.clear()
    announcer.say("Strong signs of manipulation. Person 2.")
    assert (ALERT, sip.unwrapinstance(announcer)) in accessibility
    assert announcer.accessibleName() == announcer.text() == "Strong signs of manipulation. Person 2."
    assert not announcer.isVisible()
    announcer.deleteLater()


def test_a_change_of_the_headline_is_told_and_no_change_is_not(accessibility: list[tuple[int, int]], make_overlay):
    story, overlay = Story(), make_overlay()
    overlay.show_model(story.show(people(State.NO_SIGN, 0.1), seconds=2))
    headline = sip.unwrapinstance(overlay.headline)
    accessibility.clear()
    overlay.show_model(story.show(people(State.NO_SIGN, 0.1)))
    assert (NAME_CHANGED, headline) not in accessibility
    overlay.show_model(story.show(people(State.SUSPECT, 0.9)))
    assert (NAME_CHANGED, headline) in accessibility
    assert any(event == ALERT for event, _ in accessibility)
