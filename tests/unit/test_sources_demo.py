"""The demonstration: genuine and forged by turns, alive, the same every time, and quick enough to be live."""

from __future__ import annotations

import time

import numpy as np
import pytest

from monitor.clock import FakeClock, MonotonicClock
from monitor.sources import open_source
from monitor.sources.address import DemoAddress
from monitor.sources.portrait import FACE_OVAL, Motion
from monitor.sources.synthetic import (
    FORGED,
    GENUINE,
    HEIGHT_PX,
    PHASE_S,
    WIDTH_PX,
    DemoScene,
    open_demo,
)
from monitor.types import Float32Array, SourceKind, UInt8Array


class Marker:
    """A forger that paints the face green and remembers when it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Float32Array]] = []

    def __call__(self, image: UInt8Array, outline: Float32Array, time_s: float) -> UInt8Array:
        self.calls.append((time_s, outline))
        x, y = np.round(outline.mean(0)).astype(int)
        image = image.copy()
        image[y - 5 : y + 5, x - 5 : x + 5] = (0, 255, 0)
        return image


def marked(image: UInt8Array) -> bool:
    """Is the green mark in the picture, under the noise?"""
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    return int(((green > 200) & (red < 40) & (blue < 40)).sum()) > 50


def test_it_alternates_and_says_which_it_is() -> None:
    forger = Marker()
    scene = DemoScene(forger=forger)
    for time_s in (0.0, PHASE_S - 0.1, 2 * PHASE_S, 3 * PHASE_S - 0.1):
        assert not scene.is_forged(time_s)
        assert not marked(scene.render(time_s)[0])
    for time_s in (PHASE_S, 2 * PHASE_S - 0.1, 3 * PHASE_S):
        assert scene.is_forged(time_s)
        assert marked(scene.render(time_s)[0])
    assert [time_s for time_s, _ in forger.calls] == [PHASE_S, 2 * PHASE_S - 0.1, 3 * PHASE_S]


@pytest.mark.parametrize("forged", [False, True])
def test_it_can_stay_one_thing(forged: bool) -> None:
    scene = DemoScene(forged=forged, forger=Marker())
    assert {marked(scene.render(time_s)[0]) for time_s in (0.0, PHASE_S + 1)} == {forged}


@pytest.mark.parametrize(("people", "least_px"), [(1, 220), (4, 100), (9, 66)])
def test_faces_are_large_enough_and_their_outlines_lie_in_the_picture(people: int, least_px: int) -> None:
    scene = DemoScene(people, forged=False)
    for time_s in np.arange(0, 30, 1.7):
        image, outlines = scene.render(float(time_s))
        assert image.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert len(outlines) == people
        for outline in outlines:
            assert outline.shape == FACE_OVAL.shape
            assert outline.dtype == np.float32
            assert (outline >= 0).all()
            assert (outline < (WIDTH_PX, HEIGHT_PX)).all()
            assert np.ptp(outline[:, 1]) >= least_px


def test_only_one_of_a_gallery_is_forged() -> None:
    forger = Marker()
    scene = DemoScene(9, forged=True, forger=forger)
    image, outlines = scene.render(1.0)
    assert len(forger.calls) == 1
    assert np.array_equal(forger.calls[0][1], outlines[scene.forged_person])
    genuine, _ = DemoScene(9, forged=False).render(1.0)
    rows, columns = np.nonzero((image != genuine).any(2))
    inside = outlines[scene.forged_person]
    assert rows.min() >= inside[:, 1].min()
    assert rows.max() <= inside[:, 1].max()
    assert columns.min() >= inside[:, 0].min()
    assert columns.max() <= inside[:, 0].max()


def test_the_outline_goes_around_the_face_the_same_way_in_every_tile() -> None:
    _, outlines = DemoScene(4, forged=False).render(3.0)
    for outline in outlines:
        x, y = outline.T
        area = float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
        assert area > 0.6 * np.ptp(x) * np.ptp(y)


def test_it_is_alive() -> None:
    scene = DemoScene(forged=False)
    times = np.arange(0, 20, 0.25)
    centres = np.array([scene.render(float(t))[1][0].mean(0) for t in times])
    assert 8 < np.ptp(centres[:, 0]) < 60
    assert 4 < np.ptp(centres[:, 1]) < 60
    assert np.abs(np.diff(centres, axis=0)).max() < 12
    poses = [Motion(0).at(float(t)) for t in np.arange(0, 60, 1 / 30)]
    blinks = np.array([pose.blink for pose in poses]) > 0.5
    assert 8 <= int((np.diff(blinks.astype(int)) == 1).sum()) <= 40
    assert max(pose.mouth for pose in poses) > 2
    assert min(pose.mouth for pose in poses) == 0


def test_the_people_of_a_gallery_move_on_their_own() -> None:
    scene = DemoScene(4, forged=False)
    paths = np.array([[outline.mean(0) for outline in scene.render(float(t))[1]] for t in np.arange(0, 20, 0.5)])
    moves = (paths - paths.mean(0))[..., 0].T
    together = np.corrcoef(moves)[np.triu_indices(4, 1)]
    assert np.abs(together).max() < 0.9


def test_noise_differs_from_picture_to_picture_and_is_the_same_in_each_run() -> None:
    first, second = DemoScene(forged=False), DemoScene(forged=False)
    corner = np.s_[:60, :60]
    one, other = first.render(1.0)[0][corner].astype(int), first.render(1.034)[0][corner].astype(int)
    assert 0.5 < np.abs(one - other).std() < 6
    assert np.array_equal(first.render(2.0)[0], second.render(2.0)[0])


def test_its_own_forger_changes_the_face_and_nothing_else() -> None:
    genuine, (outline,) = DemoScene(forged=False).render(1.0)
    forged, _ = DemoScene(forged=True).render(1.0)
    low, high = outline.min(0).astype(int), outline.max(0).astype(int)
    changed = np.abs(genuine.astype(int) - forged).max(2)
    assert changed[low[1] : high[1], low[0] : high[0]].mean() > 1.5
    assert changed[:, : low[0] - 80].max() == 0
    assert changed[high[1] + 80 :].max() == 0


# ------------------------------------------------------------------------------------------- the source


def test_frames_carry_their_caption_and_the_source_its_notice() -> None:
    source = open_source("demo:?forged=1&fps=15", clock=MonotonicClock(), max_frame_px=640)
    assert source.info.kind is SourceKind.DEMO
    assert source.info.notice is not None
    assert "demonstration" in source.info.notice
    assert source.info.fps == 15
    frames = source.frames()
    taken = [next(frames) for _ in range(4)]
    frames.close()
    assert {frame.caption for frame in taken} == {FORGED}
    assert {frame.image.shape for frame in taken} == {(360, 640, 3)}
    assert (source.info.width_px, source.info.height_px) == (640, 360)


def test_it_is_paced_by_the_clock() -> None:
    source = open_demo(DemoAddress(forged=False, fps=10), clock=MonotonicClock())
    frames = source.frames()
    taken = [next(frames) for _ in range(6)]
    frames.close()
    media_s = np.array([frame.media_ns for frame in taken]) / 1e9
    arrived_s = np.array([frame.recv_ns for frame in taken]) / 1e9
    assert np.allclose(np.round(media_s * 10), media_s * 10)
    assert media_s[-1] - media_s[0] >= 0.45
    assert np.abs((arrived_s - arrived_s[0]) - (media_s - media_s[0])).max() < 0.3


def test_with_a_fake_clock_it_goes_through_all_its_phases_at_once() -> None:
    source = open_demo(DemoAddress(fps=4), clock=FakeClock(), forger=Marker())
    seen: dict[int, str | None] = {}
    for frame in source.frames():
        seen[frame.media_ns // 1_000_000_000] = frame.caption
        if frame.media_ns > 3 * PHASE_S * 1e9:
            source.close()
    assert {GENUINE, FORGED} == set(seen.values())
    assert all((caption == FORGED) == (second // PHASE_S % 2 == 1) for second, caption in seen.items())


def test_a_region_of_the_demo() -> None:
    source = open_source("demo:?people=4&forged=0", clock=MonotonicClock(), region=(0.5, 0.0, 0.5, 0.5))
    frames = source.frames()
    assert next(frames).image.shape == (360, 640, 3)
    frames.close()


@pytest.mark.slow
@pytest.mark.parametrize("people", [1, 4, 9])
def test_quick_enough_to_be_live(people: int) -> None:
    """Well under a frame's time at 30 Hz on one core; measured as CPU time, the best of three."""
    scene = DemoScene(people, forged=False)
    scene.render(0.0)
    best_ms = 1e9
    for _ in range(3):
        started = time.process_time()
        for index in range(15):
            scene.render(index / 30)
        best_ms = min(best_ms, (time.process_time() - started) / 15 * 1e3)
    assert best_ms < 25


@pytest.mark.slow
@pytest.mark.parametrize("forged", [False, True])
def test_the_face_landmarker_follows_it(face_landmarker_asset, forged: bool) -> None:
    """MediaPipe finds the face in every picture, where the scene says that it is."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(face_landmarker_asset)),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=1,
    )
    scene = DemoScene(forged=forged)
    landmarker = vision.FaceLandmarker.create_from_options(options)
    try:
        for index in range(40):
            image, (outline,) = scene.render(index / 4)
            picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            result = landmarker.detect_for_video(picture, index * 250)
            assert len(result.face_landmarks) == 1
            found = np.array([(p.x * WIDTH_PX, p.y * HEIGHT_PX) for p in result.face_landmarks[0]])
            assert np.abs(found.min(0) - outline.min(0)).max() < 20
            assert np.abs(found.max(0) - outline.max(0)).max() < 20
    finally:
        landmarker.close()
