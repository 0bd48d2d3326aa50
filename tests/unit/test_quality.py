"""Can a picture be judged: size, turn, sharpness, light, and whether it moves."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from engines.calibration import QualityRange
from engines.window_input import blur_and_luma
from monitor.quality import Gates, measure, reasons_for, same_picture, stood_still, summarise
from monitor.types import Reason
from tests.scripted import face, sample_quality

GATES = Gates()


def textured(seed: int = 0, size: int = 144, *, low: int = 60, high: int = 190) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (size, size, 3), dtype=np.uint8)


def turned(degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    pose = np.eye(4, dtype=np.float32)
    pose[0, 0] = pose[2, 2] = math.cos(angle)
    pose[0, 2], pose[2, 0] = math.sin(angle), -math.sin(angle)
    return pose


def test_a_good_face_has_no_reason_against_it() -> None:
    found = measure(face(textured(), pose=turned(10)))
    assert found.face_px == 96
    assert found.yaw_deg == pytest.approx(10, abs=0.1)
    assert found.luma == pytest.approx(124, abs=4)
    assert reasons_for(found, GATES) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_px": 55.9}, Reason.FACE_TOO_SMALL),
        ({"yaw_deg": 46.0}, Reason.FACE_TURNED_AWAY),
        ({"yaw_deg": -46.0}, Reason.FACE_TURNED_AWAY),
        ({"luma": 10.0}, Reason.TOO_DARK),
        ({"blur": 0.1}, Reason.FACE_BLURRED),
    ],
)
def test_each_gate_refuses_with_its_own_reason(change: dict[str, float], reason: Reason) -> None:
    assert reasons_for(sample_quality(**change), GATES) == (reason,)


SEEN = QualityRange(min_face_px=70, max_face_px=400, min_blur=1.0, max_blur=3.0, min_luma=40, max_luma=200)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_px": 69.0}, Reason.FACE_TOO_SMALL),
        ({"face_px": 401.0}, Reason.UNFAMILIAR),
        ({"blur": 0.9}, Reason.FACE_BLURRED),
        ({"blur": 3.1}, Reason.UNFAMILIAR),
        ({"luma": 39.0}, Reason.TOO_DARK),
        ({"luma": 201.0}, Reason.UNFAMILIAR),
    ],
)
def test_beyond_what_training_saw_nothing_is_judged(change: dict[str, float], reason: Reason) -> None:
    familiar = Gates.from_settings(min_face_px=56, max_yaw_deg=45, min_rate_hz=10, seen=SEEN)
    assert reasons_for(sample_quality(**change), familiar) == (reason,)
    assert reasons_for(sample_quality(**change), GATES) == ()
    assert reasons_for(sample_quality(), familiar) == ()


def test_at_the_limit_a_face_still_passes() -> None:
    at_limit = sample_quality(
        face_px=GATES.min_face_px, yaw_deg=-GATES.max_yaw_deg, luma=GATES.min_luma, blur=GATES.min_blur
    )
    assert reasons_for(at_limit, GATES) == ()


def test_a_face_without_a_pose_is_not_called_turned() -> None:
    assert reasons_for(sample_quality(yaw_deg=None), GATES) == ()


def test_everything_wrong_gives_every_reason() -> None:
    bad = sample_quality(face_px=20.0, yaw_deg=80.0, luma=3.0, blur=-2.0)
    assert set(reasons_for(bad, GATES)) == {
        Reason.FACE_TOO_SMALL,
        Reason.FACE_TURNED_AWAY,
        Reason.TOO_DARK,
        Reason.FACE_BLURRED,
    }


def test_blurring_a_face_lowers_its_sharpness_and_keeps_its_light() -> None:
    import cv2

    sharp = textured()
    soft = cv2.GaussianBlur(sharp, (0, 0), 3.0)
    (sharp_blur, sharp_luma), (soft_blur, soft_luma) = blur_and_luma(sharp), blur_and_luma(soft)
    assert soft_blur < sharp_blur - 1.0
    assert soft_luma == pytest.approx(sharp_luma, abs=1.0)


def test_a_flat_picture_has_a_finite_sharpness_that_is_refused() -> None:
    flat = measure(face(np.full((144, 144, 3), 128, np.uint8)))
    assert flat.blur == pytest.approx(-3.0)
    assert reasons_for(flat, GATES) == (Reason.FACE_BLURRED,)


def test_sharpness_is_that_of_the_face_and_not_of_its_margin() -> None:
    crop = np.full((144, 144, 3), 128, np.uint8)
    crop[:20], crop[-20:], crop[:, :20], crop[:, -20:] = (textured(size=144)[:20], 0, 255, 0)
    assert blur_and_luma(crop) == blur_and_luma(np.full((144, 144, 3), 128, np.uint8))


@pytest.mark.parametrize("size", [96, 144, 224])
def test_every_crop_size_can_be_measured(size: int) -> None:
    assert measure(face(textured(size=size))).signature.shape == (16, 16)


def test_the_same_crop_twice_is_a_repeat_and_another_is_not() -> None:
    first, again, other = (measure(face(textured(seed))) for seed in (1, 1, 2))
    assert same_picture(first, again)
    assert not same_picture(first, other)


def test_a_picture_with_the_sensor_noise_of_a_live_camera_is_not_a_repeat() -> None:
    still = textured(3).astype(np.float64)
    noise = np.random.default_rng(4).normal(0, 2.0, (2, 144, 144, 3))
    one, other = (measure(face((still + n).round().clip(0, 255).astype(np.uint8))) for n in noise)
    assert not same_picture(one, other)


def test_what_the_frame_says_goes_before_what_the_crop_says() -> None:
    first = measure(face(textured(1)))
    moved_over_a_still_picture = measure(face(textured(2), still=True))
    live_but_alike = measure(face(textured(1), still=False))
    assert same_picture(first, moved_over_a_still_picture)
    assert not same_picture(first, live_but_alike)


def test_a_frame_stands_still_only_where_the_face_is() -> None:
    before = textured(5, 200)
    clock_moves = before.copy()
    clock_moves[150:, 150:] = 0
    inside, outside = np.array([20, 20, 120, 130], np.float32), np.array([130, 130, 190, 190], np.float32)
    assert stood_still(before, clock_moves, inside) is True
    assert stood_still(before, clock_moves, outside) is False


@pytest.mark.parametrize("box", [(300, 300, 400, 400), (-50, -50, -1, -1), (30, 30, 30, 90)])
def test_a_box_outside_the_frame_cannot_be_compared(box: tuple[float, ...]) -> None:
    frame = textured(6, 200)
    assert stood_still(frame, frame, np.array(box, np.float32)) is None


def test_frames_of_another_size_cannot_be_compared() -> None:
    box = np.array([0, 0, 50, 50], np.float32)
    assert stood_still(textured(7, 200), textured(7, 100), box) is None


def test_a_box_over_the_edge_is_compared_within_the_frame() -> None:
    frame = textured(8, 200)
    assert stood_still(frame, frame, np.array([-30, 150, 60, 260], np.float32)) is True


def test_a_window_is_summarised_by_medians_and_the_share_that_passes() -> None:
    samples = [sample_quality(face_px=px) for px in (40, 60, 80, 100)] + [sample_quality(yaw_deg=-60.0, face_px=90)]
    summary = summarise(samples, 14.0, GATES)
    assert summary.face_px == 80
    assert summary.yaw_deg == 5
    assert summary.rate_hz == 14.0
    assert summary.judged_share == pytest.approx(3 / 5)


def test_yaw_is_summarised_without_its_sign_and_without_the_unknown() -> None:
    yaws = (-30.0, 30.0, None)
    assert summarise([sample_quality(yaw_deg=y) for y in yaws], 15.0, GATES).yaw_deg == 30
    assert summarise([sample_quality(yaw_deg=None)], 15.0, GATES).yaw_deg is None


def test_an_empty_window_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        summarise([], 15.0, GATES)


@pytest.mark.parametrize("bad", [{"min_face_px": 0}, {"max_yaw_deg": -1}, {"min_judged_share": 1.5}, {"max_gap_s": 0}])
def test_a_gate_out_of_range_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Gates(**bad)


def test_the_users_limits_reach_the_gates() -> None:
    gates = Gates.from_settings(min_face_px=80, max_yaw_deg=30, min_rate_hz=12)
    assert (gates.min_face_px, gates.max_yaw_deg, gates.min_rate_hz) == (80, 30, 12)
    assert reasons_for(sample_quality(face_px=70.0, yaw_deg=31.0), gates) == (
        Reason.FACE_TOO_SMALL,
        Reason.FACE_TURNED_AWAY,
    )


def test_measuring_a_face_is_cheap() -> None:
    one = face(textured())
    measure(one)
    times = []
    for _ in range(40):
        began = time.perf_counter()
        measure(one)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5e-3
