"""The values that cross a stage: shapes are checked where they are made, and nothing can be changed after."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from monitor import types
from monitor.types import (
    FaceObservation,
    Frame,
    RunState,
    Snapshot,
    SourceInfo,
    SourceKind,
    State,
    TrackedFace,
    Verdict,
    Window,
    WindowScore,
)
from tests.scripted import quality

BOX = np.array([10, 20, 70, 100], np.float32)


def frame(image: object) -> Frame:
    return Frame("s", 0, 0, 0, image)  # type: ignore[arg-type]


def window(**changes: object) -> Window:
    values: dict[str, object] = {
        "track_id": 1,
        "seqs": np.arange(32),
        "media_ns": np.arange(32),
        "features": np.zeros((32, 9), np.float32),
        "quality": quality(),
    }
    return Window(**{**values, **changes})  # type: ignore[arg-type]


def verdict(track_id: int, suspicion: float | None) -> Verdict:
    return Verdict(track_id, State.NO_SIGN, suspicion, (), (), 1.0, 0, 0, 0)


def snapshot(*verdicts: Verdict) -> Snapshot:
    return Snapshot(RunState.RUNNING, 0, 0, None, verdicts, (), (), (), "", "", None, None)


def test_a_frames_picture_cannot_be_written_to() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    made = frame(image)
    with pytest.raises(ValueError, match="read-only"):
        made.image[0, 0, 0] = 1


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3), np.float32)],
)
def test_a_frame_of_another_shape_or_type_is_refused_with_what_was_found(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Frame.image: expected shape .* of uint8, got \(4, 6"):
        frame(image)


def test_what_is_not_an_array_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="got list"):
        frame([[1, 2, 3]])


def test_face_size_is_the_longer_side_of_the_box() -> None:
    assert FaceObservation(BOX, 0.9).face_px == 80
    assert FaceObservation(BOX[[1, 0, 3, 2]].copy(), 0.9).face_px == 80


@pytest.mark.parametrize("degrees", [-80.0, -45.0, 0.0, 30.0, 60.0])
def test_yaw_is_read_from_the_pose(degrees: float) -> None:
    angle = math.radians(degrees)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    assert FaceObservation(BOX, 0.9, pose=pose).yaw_deg == pytest.approx(degrees, abs=1e-3)


def test_yaw_is_unknown_without_a_pose() -> None:
    assert FaceObservation(BOX, 0.9).yaw_deg is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"box_px": np.zeros(4)},
        {"box_px": np.zeros(3, np.float32)},
        {"landmarks": np.zeros((468, 3), np.float32)},
        {"pose": np.eye(3, dtype=np.float32)},
    ],
)
def test_an_observation_of_wrong_shape_is_refused_by_the_name_of_the_field(wrong: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=f"FaceObservation.{next(iter(wrong))}"):
        FaceObservation(**{"box_px": BOX, "score": 0.9, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(144, 96, 3), (144, 144), (144, 144, 1)])
def test_a_crop_is_a_square_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"TrackedFace\.crop"):
        TrackedFace(1, 0, 0, 0, FaceObservation(BOX, 0.9), np.zeros(shape, np.uint8), np.eye(2, 3, dtype=np.float32))


@pytest.mark.parametrize(
    "wrong",
    [
        {"media_ns": np.arange(31)},
        {"features": np.zeros((31, 9), np.float32)},
        {"features": np.zeros((32, 9))},
        {"seqs": np.arange(32, dtype=np.int32)},
    ],
)
def test_a_window_has_as_many_times_and_features_as_samples(wrong: dict[str, np.ndarray]) -> None:
    window()
    with pytest.raises(ValueError, match=f"Window.{next(iter(wrong))}"):
        window(**wrong)


@pytest.mark.parametrize("suspicion", [-0.01, 1.01, math.nan])
def test_a_suspicion_outside_zero_to_one_is_refused(suspicion: float) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        WindowScore(1, 0, 1, 0.0, suspicion, np.zeros(32, np.float32), quality(), "m", "r")
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        verdict(1, suspicion)


def test_a_file_is_not_live_and_everything_else_is() -> None:
    live = {kind for kind in SourceKind if SourceInfo("s", kind, "t", 1, 1).live}
    assert live == set(SourceKind) - {SourceKind.FILE}


def test_the_first_verdict_leads_and_an_empty_room_has_none() -> None:
    assert snapshot(verdict(3, 0.9), verdict(1, 0.2)).worst == verdict(3, 0.9)
    assert snapshot().worst is None


def test_a_snapshot_without_pictures_cannot_be_given_any() -> None:
    with pytest.raises(TypeError):
        snapshot().thumbnails[1] = np.zeros((64, 64, 3), np.uint8)  # type: ignore[index]


def test_every_value_is_frozen() -> None:
    values = [c for c in vars(types).values() if dataclasses.is_dataclass(c)]
    assert len(values) > 12
    assert [c.__name__ for c in values if not c.__dataclass_params__.frozen] == []  # type: ignore[attr-defined]


def test_the_names_in_the_json_contract_stay() -> None:
    assert [s.value for s in State] == ["WARMING_UP", "CANNOT_TELL", "NO_SIGN", "UNCERTAIN", "SUSPECT"]
    assert len({r.value for r in types.Reason}) == len(types.Reason)
