"""What the window says is plain, fits, and never an accusation or a certainty."""

from __future__ import annotations

import re

import pytest

from gui import texts
from gui.style import Mood
from monitor.types import Reason
from monitor.wording import REASON_TEXT


@pytest.mark.parametrize(
    ("suspicion", "shown", "spoken"),
    [
        (None, "–", "no score"),
        (0.0, "<1 %", "suspicion under 1 %"),
        (0.004, "<1 %", "suspicion under 1 %"),
        (0.5, "50 %", "suspicion 50 %"),
        (1.0, ">99 %", "suspicion over 99 %"),
    ],
)
def test_a_score_is_never_certain(suspicion: float | None, shown: str, spoken: str):
    assert texts.score(suspicion) == shown
    assert texts.spoken_score(suspicion) == spoken


@pytest.mark.parametrize("mood", list(Mood))
def test_every_state_has_a_headline_that_does_not_accuse(mood: Mood):
    said = f"{texts.headline(mood)} {texts.short_state(mood)}".lower()
    assert not re.search(r"\b(fake|fraud|liar|deepfake|criminal|certain|proven)\b", said)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_said_in_the_words_of_the_whole_program(reason: Reason):
    assert texts.reasons((reason,)) == REASON_TEXT[reason]


@pytest.mark.parametrize(("seconds", "said"), [(-1, "0 s"), (8.9, "8 s"), (125, "2 min 5 s"), (3780, "1 h 3 min")])
def test_durations(seconds: float, said: str):
    assert texts.duration(seconds) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the camera is busy", "The camera is busy."),
        ("webcam:0: busy!", "webcam:0: busy!"),
        ("/tmp/a.mp4: not there", "/tmp/a.mp4: not there."),
        ("  ", ""),
        ("over 6 s of picture", "Over 6\u00a0s of picture."),
    ],
)
def test_sentences_begin_with_a_capital_but_addresses_stay_as_they_are(text: str, said: str):
    assert texts.sentence(text) == said


@pytest.mark.parametrize("text", ["/home/somebody/Videos/the one call.mp4: not there", "x" * 100, "short words only"])
def test_long_words_get_places_to_break_and_stay_the_same(text: str):
    broken = texts.breakable(text)
    assert broken.replace("\u200b", "") == text
    assert max(len(part) for part in re.split("[ \u200b]", broken)) <= 20


def test_nothing_is_claimed_of_speed_before_there_is_a_figure():
    assert texts.speed("", None, None) == "Detector not loaded yet"
    assert texts.speed("ONNX Runtime", None, None) == "ONNX Runtime"
    assert "84 ms" in texts.speed("ONNX Runtime", 84.2, 121.0)
    assert "15 pictures a second" in texts.speed("ONNX Runtime", 84.2, 121.0, 14.9)
    assert "15 pictures a second" in texts.speed("ONNX Runtime", None, None, 14.9)
