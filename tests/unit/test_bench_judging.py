"""Judging a row for the benches: what the watcher notes, what counts as covered, how light skin looks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from monitor.bench.judging import LOOK_EVERY, Case, Covered, LimitedSource, Watcher, covered
from monitor.bench.manifest import Row
from monitor.bench.skin import CHEEKS, SkinLook, cheek_ita_deg, skin_look
from monitor.perceive import Perceived
from monitor.types import FaceObservation, Frame, Reason, State, TrackedFace
from tests.fakes import FakePerceiver, ScriptedSource, face, frames, status

CROP_PX = 100


def painted_face(colour: tuple[int, int, int], *, at: tuple[float, float] = (50.0, 60.0)) -> TrackedFace:
    """A crop of one colour at the cheeks and green elsewhere; crop pixels are half a frame pixel, from (10, 20) on."""
    crop = np.zeros((CROP_PX, CROP_PX, 3), np.uint8)
    crop[:, :, 1] = 255
    x, y = round(at[0]), round(at[1])
    crop[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7] = colour
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[list(CHEEKS)] = (10 + 0.5 * at[0], 20 + 0.5 * at[1], 0.0)
    box = np.array([10, 20, 60, 70], np.float32)
    matrix = np.array([[0.5, 0, 10], [0, 0.5, 20]], np.float32)
    return TrackedFace(1, 0, 0, 0, FaceObservation(box, 1.0, landmarks), crop, matrix)


# ------------------------------------------------------------------------------------ skin


@pytest.mark.parametrize(
    ("colour", "look"),
    [((240, 215, 195), SkinLook.LIGHT), ((190, 145, 115), SkinLook.MIDDLE), ((90, 60, 45), SkinLook.DARK)],
)
def test_the_cheeks_say_how_light_skin_looks(colour: tuple[int, int, int], look: SkinLook) -> None:
    angle = cheek_ita_deg(painted_face(colour))
    assert angle is not None
    assert skin_look(angle) is look


def test_the_angle_is_that_of_cielab() -> None:
    from skimage.color import rgb2lab

    colour = (200, 150, 120)
    lightness, _, yellow = rgb2lab(np.array(colour, np.float64) / 255.0)
    angle = cheek_ita_deg(painted_face(colour))
    assert angle == pytest.approx(math.degrees(math.atan((lightness - 50) / yellow)), abs=0.5)


def test_no_angle_without_cheeks_or_under_blue_light() -> None:
    assert cheek_ita_deg(painted_face((120, 130, 200))) is None
    assert cheek_ita_deg(painted_face((200, 150, 120), at=(-20.0, 50.0))) is None
    assert cheek_ita_deg(face(frames(1)[0], 1)) is None  # type: ignore[arg-type]


def test_the_borders_of_the_groups() -> None:
    assert [skin_look(v) for v in (41.1, 41.0, 10.0, 9.9)] == [
        SkinLook.LIGHT,
        SkinLook.MIDDLE,
        SkinLook.MIDDLE,
        SkinLook.DARK,
    ]


# ------------------------------------------------------------------------------------ coverage and times


def test_covered_counts_samples_of_large_faces_in_judged_windows() -> None:
    sizes = [(t / 10, 100.0) for t in range(40)] + [(4.0 + t / 10, 63.0) for t in range(10)]
    assert covered(sizes, [(0.0, 0.95), (2.0, 3.95)], hop_s=0.3) == Covered(40, 30)
    assert covered(sizes, [], hop_s=0.3) == Covered(40, 0)


def test_the_tail_that_was_too_short_for_another_window_is_not_counted() -> None:
    sizes = [(t / 10, 100.0) for t in range(12)]
    assert covered(sizes, [(0.0, 0.9)], hop_s=0.3) == Covered(10, 10)
    assert covered(sizes, [(0.0, 0.5)], hop_s=0.3) == Covered(10, 6)
    assert Covered().share is None


def judged_case(first_alert_s: float | None, first_face_s: float | None) -> Case:
    row = Row("a.mp4", Path("a.mp4"), None, True, "f", "g")
    return Case(row, 0.9, State.SUSPECT, 10.0, 1.0, 1, first_alert_s, first_face_s)


def test_a_case_is_detected_from_the_first_face_on() -> None:
    assert judged_case(5.0, 2.0).detect_s == 3.0
    assert judged_case(None, 2.0).detect_s is None
    assert judged_case(5.0, 2.0).watched_s == 8.0
    assert judged_case(None, None).watched_s == 0.0
    assert judged_case(5.0, 2.0).alarmed


def test_the_watcher_changes_nothing_and_notes_who_was_there() -> None:
    def plan(frame: Frame) -> Perceived:
        gone = status(frame, 2, reason=Reason.NO_FACE)
        if frame.seq == 0:
            return Perceived((), (gone,), False)
        return Perceived((face(frame, 1),), (status(frame, 1), gone), False)

    inner = FakePerceiver(plan=plan)
    watcher = Watcher(inner)
    seen = [watcher.step(frame) for frame in frames(2 * LOOK_EVERY + 2) if isinstance(frame, Frame)]
    assert [len(one.faces) for one in seen[:2]] == [0, 1]
    assert watcher.first_face_s == pytest.approx(1 / 15)
    assert list(watcher.people) == [1]
    notes = watcher.notes_of(None)
    assert notes is watcher.notes_of(1) is watcher.notes_of(77)
    assert [px for _, px in notes.sizes] == [128.0] * (2 * LOOK_EVERY + 1)
    assert len(notes.lumas) == 3
    assert notes.itas_deg == []
    watcher.close()
    assert inner.closed


def test_nobody_watched_is_no_notes() -> None:
    assert Watcher(FakePerceiver()).notes_of(1).sizes == []


def test_a_limited_source_gives_the_first_seconds() -> None:
    source = ScriptedSource(frames(60))
    limited = LimitedSource(source, 2.0)
    assert [frame.seq for frame in limited.frames()] == list(range(30))
    assert limited.info is source.info
    assert limited.incomplete is None
    limited.close()
    assert source.closed.is_set()
