"""Where the picture looks replaced: smoothed over a second, forgotten at a cut, named by parts of the face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from monitor import crops
from monitor.types import FaceObservation, FaceRegion, State, TrackedFace, WhereMap
from monitor.verdict import Judge
from monitor.where import INSIDE, MIN_PEAK, WhereReader, layout_of, regions
from tests.scripted import POINT, WINDOW_S, face, ns, status, tell

GOLDEN = Path(__file__).parents[1] / "golden" / "astronaut_landmarks.npy"
SIDE = crops.CROP_PX // 8
CROP = np.full((crops.CROP_PX, crops.CROP_PX, 3), 90, np.uint8)
GREY = face(CROP)


def astronaut() -> TrackedFace:
    """The public-domain portrait as the product crops it, with its landmarks."""
    landmarks = np.load(GOLDEN).astype(np.float32)
    box = np.array([*landmarks[:, :2].min(0), *landmarks[:, :2].max(0)], np.float32)
    crop, matrix = crops.crop(data.astronaut(), crops.Square.of_box(box))
    return TrackedFace(1, 0, 0, 0, FaceObservation(box, 0.9, landmarks), crop, matrix)


def spot(person: TrackedFace, landmark: int, reach: float = 0.06) -> np.ndarray:
    """A map that is strong round one landmark of the face, float32 (SIDE, SIDE)."""
    assert person.observation.landmarks is not None
    matrix = person.crop_to_frame
    at = (person.observation.landmarks[landmark, :2] - matrix[:, 2]) / matrix[0, 0] / person.crop.shape[0] * SIDE
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (reach * SIDE) ** 2)).astype(np.float32)


def push(reader: WhereReader, grids: list[np.ndarray], *, start_s: float = 0.0, track_id: int = 1) -> list[WhereMap]:
    told = [reader.push(face(CROP, start_s + k / 15, track_id=track_id), grid) for k, grid in enumerate(grids)]
    return [one for one in told if one is not None]


def flat(value: float) -> np.ndarray:
    return np.full((SIDE, SIDE), value, np.float32)


# ------------------------------------------------------------------------------------ regions


@pytest.mark.parametrize(
    ("landmark", "region"),
    [
        (151, FaceRegion.FOREHEAD),
        (159, FaceRegion.EYES),
        (386, FaceRegion.EYES),
        (4, FaceRegion.NOSE),
        (14, FaceRegion.MOUTH),
        (205, FaceRegion.CHEEKS),
        (361, FaceRegion.CHEEKS),
    ],
)
def test_a_spot_is_named_by_the_part_of_the_face_that_it_lies_on(landmark: int, region: FaceRegion) -> None:
    person = astronaut()
    assert regions(spot(person, landmark), layout_of(person))[0] is region


def test_a_turned_head_keeps_its_regions() -> None:
    """The same face, tilted by 70 degrees in the picture: the mouth is where the landmarks have it."""
    person = astronaut()
    landmarks = person.observation.landmarks
    assert landmarks is not None
    centre = landmarks[:, :2].mean(0)
    turn = np.array([[np.cos(1.2), -np.sin(1.2)], [np.sin(1.2), np.cos(1.2)]], np.float32)
    tilted = landmarks.copy()
    tilted[:, :2] = (landmarks[:, :2] - centre) @ turn.T + centre
    box = np.array([*tilted[:, :2].min(0), *tilted[:, :2].max(0)], np.float32)
    _, matrix = crops.crop(data.astronaut(), crops.Square.of_box(box))
    leaning = TrackedFace(1, 0, 0, 0, FaceObservation(box, 0.9, tilted), CROP, matrix)
    assert regions(spot(leaning, 14), layout_of(leaning)) == (FaceRegion.MOUTH,)
    assert regions(spot(leaning, 14), layout_of(person)) != (FaceRegion.MOUTH,)


def test_a_whole_face_is_one_region_and_two_strong_ones_are_both_named() -> None:
    person = astronaut()
    labels = layout_of(person)
    broad = np.clip(spot(person, 5, 0.28) * 1.1, 0, 1).astype(np.float32)
    assert regions(broad, labels) == (FaceRegion.WHOLE_FACE,)
    eyes = np.maximum(spot(person, 159, 0.09), spot(person, 386, 0.09))
    both = np.maximum(spot(person, 14, 0.09), eyes)
    assert set(regions(both.astype(np.float32), labels)) >= {FaceRegion.MOUTH, FaceRegion.EYES}


def test_a_map_that_is_strong_in_the_background_says_outside() -> None:
    grid = flat(0.0)
    grid[:, :3] = 0.9
    assert regions(grid, layout_of(GREY)) == (FaceRegion.OUTSIDE,)


def test_a_weak_map_names_no_place() -> None:
    person = astronaut()
    assert regions(spot(person, 14) * np.float32(0.9 * MIN_PEAK), layout_of(person)) == ()


def test_a_face_without_landmarks_has_the_usual_layout_with_every_region() -> None:
    labels = layout_of(GREY)
    shares = [float((labels == k).mean()) for k in range(len(INSIDE) + 1)]
    assert min(shares) > 0.01
    assert shares[-1] > 0.5
    agreement = float((labels == layout_of(astronaut())).mean())
    assert agreement > 0.85


# ------------------------------------------------------------------------------------ smoothing


def test_the_map_comes_every_hop_and_follows_within_about_a_second() -> None:
    reader = WhereReader(hop_frames=5)
    calm = push(reader, [flat(0.1)] * 30)
    assert len(calm) == 6
    assert calm[-1].grid.mean() == pytest.approx(0.1, abs=1e-3)
    one_second = push(reader, [flat(0.9)] * 15, start_s=2.0)
    assert 0.5 < one_second[-1].grid.mean() < 0.7
    four_seconds = push(reader, [flat(0.9)] * 45, start_s=3.0)
    assert four_seconds[-1].grid.mean() > 0.85


def test_a_single_odd_picture_hardly_shows() -> None:
    reader = WhereReader()
    grids = [flat(0.0)] * 30
    grids[28] = flat(1.0)
    assert push(reader, grids)[-1].grid.max() < 0.12


def test_the_pace_of_the_samples_does_not_change_how_fast_it_follows() -> None:
    slow = WhereReader(hop_frames=1)
    for k in range(10):
        slow.push(face(CROP, k / 5), flat(0.0))
    told = [slow.push(face(CROP, 2 + k / 5), flat(1.0)) for k in range(5)]
    assert told[-1] is not None
    assert 0.5 < told[-1].grid.mean() < 0.75


def test_a_cut_and_a_long_gap_forget_the_map() -> None:
    for forget in ("cut", "gap"):
        reader = WhereReader()
        push(reader, [flat(0.9)] * 30)
        if forget == "cut":
            reader.cut(1)
            assert len(reader) == 0
        start_s = 2.0 if forget == "cut" else 4.0
        assert push(reader, [flat(0.1)] * 5, start_s=start_s)[-1].grid.max() == pytest.approx(0.1, abs=1e-3), forget


def test_only_so_many_people_are_remembered_and_they_do_not_mix() -> None:
    reader = WhereReader(max_tracks=3)
    for track_id in range(10):
        told = push(reader, [flat(track_id / 10)] * 5, track_id=track_id)
        assert told[-1].grid.mean() == pytest.approx(track_id / 10, abs=1e-6)
    assert len(reader) == 3


def test_the_map_cannot_be_changed_by_a_reader() -> None:
    told = push(WhereReader(), [flat(0.4)] * 5)
    with pytest.raises(ValueError, match="read-only"):
        told[0].grid[0, 0] = 1.0


# ------------------------------------------------------------------------------------ with the verdict


def where(at_s: float, *found: FaceRegion, track_id: int = 1) -> WhereMap:
    return WhereMap(track_id, ns(at_s), flat(0.8), found)


def test_the_map_stands_beside_a_fresh_score_only() -> None:
    judge = Judge(POINT)
    judge.on_status(status(0.0), 0)
    judge.on_where(where(0.0, FaceRegion.MOUTH), 0)
    assert judge.verdicts(0)[0].where is None, "there is no score yet"
    end_s = tell(judge, [1.0] * 6)
    judge.on_where(where(end_s, FaceRegion.EYES), ns(end_s))
    (shown,) = judge.verdicts(ns(end_s))
    assert shown.where is not None
    assert shown.where.regions == (FaceRegion.EYES,)
    assert judge.verdicts(ns(end_s + 4.0))[0].where is None, "the score is stale"


def test_a_cut_takes_the_map_with_it_and_a_late_one_is_not_taken() -> None:
    judge = Judge(POINT)
    end_s = tell(judge, [1.0] * 6)
    judge.on_where(where(end_s, FaceRegion.EYES), ns(end_s))
    judge.on_status(status(end_s + 0.1, cut=True), ns(end_s + 0.1))
    judge.on_where(where(end_s, FaceRegion.EYES), ns(end_s + 0.2))
    end_s = tell(judge, [1.0] * 6, start_s=end_s + 0.2 + WINDOW_S)
    assert judge.verdicts(ns(end_s))[0].where is None


def test_an_alert_says_where_it_was_strongest_and_keeps_to_it() -> None:
    judge = Judge(POINT)
    for step in range(40):
        at_s = WINDOW_S + step / 3
        judge.on_where(where(at_s, FaceRegion.MOUTH if step < 30 else FaceRegion.EYES), ns(at_s))
        tell(judge, [6.0 if step < 30 else 3.0], start_s=at_s)
    (alert,) = judge.open_alerts
    assert "mostly around the mouth and chin" in alert.evidence
    assert "eyes" not in alert.evidence
    judge.on_status(status(20.0, ended=True), ns(20.0))
    assert "mouth and chin" in judge.closed_alerts[0].evidence


def test_no_map_moves_a_verdict() -> None:
    plain, mapped = Judge(POINT), Judge(POINT)
    for step in range(20):
        at_s = WINDOW_S + step / 3
        mapped.on_where(where(at_s, FaceRegion.WHOLE_FACE), ns(at_s))
        for judge in (plain, mapped):
            tell(judge, [-1.0], start_s=at_s)
    now = ns(WINDOW_S + 19 / 3)
    (one,), (other,) = plain.verdicts(now), mapped.verdicts(now)
    assert (one.state, one.suspicion) == (other.state, other.suspicion)
    assert one.state is State.NO_SIGN
    assert not mapped.open_alerts
