"""The sentence that tells others that they are watched: true of the source and of what is kept."""

from __future__ import annotations

import pytest

from monitor.cli import main
from monitor.errors import SettingsError
from monitor.notice import TEXTS, Line, Watched, check_notice, days_text, notice, watched
from monitor.settings import Settings


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("", Watched.CALL),
        ("screen:?region=0,0,10,10", Watched.CALL),
        ("whep:https://host/SECRET", Watched.CALL),
        ("webrtc:", Watched.CALL),
        ("nonsense:thing", Watched.CALL),
        ("webcam:0", Watched.CAMERA),
        ("file:a.mp4", Watched.RECORDING),
        ("/tmp/a.mp4", Watched.RECORDING),
        ("demo:", Watched.DEMO),
    ],
)
def test_what_is_watched_in_the_words_of_those_who_are_in_it(source: str, kind: Watched) -> None:
    assert watched(source) is kind
    made = notice(source, Settings())
    assert kind.value in made.short
    assert "SECRET" not in made.short + made.long


def test_a_notice_says_what_is_kept_and_for_how_long() -> None:
    nothing = notice("", Settings())
    assert "keeps nothing" in nothing.short
    assert TEXTS[Line.NOT_KEPT] in nothing.long
    kept = notice("", Settings(history=True, history_keep_days=14))
    assert "a protocol without pictures or sound is kept for 14 days" in kept.short
    assert "for 14 days, then deletes it. No picture and no sound is kept." in kept.long
    faces = notice("", Settings(history=True, history_faces=True, history_faces_keep_days=1))
    assert "a protocol without sound is kept for 30 days" in faces.short
    assert "one small picture of each person is kept, encrypted, for 1 day." in faces.long
    assert "keeps nothing" not in faces.long + kept.short + faces.short


def test_faces_are_never_said_to_stay_longer_than_their_session() -> None:
    settings = Settings(history=True, history_faces=True, history_keep_days=2, history_faces_keep_days=9)
    assert "encrypted, for 2 days" in notice("", settings).long


@pytest.mark.parametrize(("days", "text"), [(30, "30 days"), (1, "1 day"), (0.5, "12 hours"), (0.01, "1 hour")])
def test_days_in_words(days: float, text: str) -> None:
    assert days_text(days) == text


def test_every_text_is_used_and_filled_in() -> None:
    made = [notice("", Settings(history=h, history_faces=f)) for h in (False, True) for f in (False, True)]
    everything = " ".join(one.short + " " + one.long for one in made)
    assert "{" not in everything
    for line in Line:
        assert TEXTS[line].partition("{")[0][:30] in everything


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notice", "webcam:0"]) == 0
    short = capsys.readouterr().out
    assert main(["notice", "webcam:0", "--long", "--history"]) == 0
    long = capsys.readouterr().out
    assert short.count("\n") == long.count("\n") == 1
    assert "this camera's picture" in short
    assert "It keeps a protocol" in long


def test_where_it_is_required_nobody_is_watched_untold(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(require_notice=True)
    for source in ("webcam:0", "screen:", "webrtc:"):
        with pytest.raises(SettingsError, match="--notice-given"):
            check_notice([source], settings, given=False)
        check_notice([source], settings, given=True)
        check_notice([source], Settings(), given=False)
    check_notice(["demo:", "file:a.mp4"], settings, given=False)
    assert main(["watch", "screen:", "--headless", "--require-notice"]) == 2
    assert "paste what 'unmask notice' prints" in capsys.readouterr().err
    assert main(["serve", "--require-notice"]) == 2
