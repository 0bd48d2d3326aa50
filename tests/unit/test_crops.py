"""The cropper: what it maps where, how it follows, and what lies outside the frame."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.crops import LEASH, Square, crop, follow


def _gradient(height: int = 240, width: int = 320) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], -1).astype(np.uint8)


@pytest.mark.parametrize("face_px", [40.0, 120.0])
def test_the_matrix_maps_crop_pixels_to_frame_pixels(face_px: float) -> None:
    image = _gradient()
    picture, matrix = crop(image, Square(160.0, 120.0, face_px), size_px=96)
    assert picture.shape == (96, 96, 3)
    for u, v in ((10, 20), (48, 48), (90, 70)):
        x, y = matrix @ np.array([u, v, 1.0])
        expected = image[round(float(y)), round(float(x))].astype(int)
        assert np.abs(picture[v, u].astype(int) - expected).max() <= 4


def test_a_region_larger_than_the_crop_is_averaged_not_aliased() -> None:
    board = np.indices((400, 400)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    picture, _ = crop(image, Square(200, 200, 240), size_px=90)
    inner = picture[5:-5, 5:-5].astype(int)
    assert abs(inner.mean() - 127) < 3
    assert inner.std() < 12


def test_a_face_at_the_edge_is_mirrored_not_black() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    for face_px in (20.0, 90.0):
        picture, _ = crop(image, Square(0.0, 0.0, face_px), size_px=64)
        assert picture.min() >= 190


def test_a_face_wholly_outside_gives_a_crop_all_the_same() -> None:
    picture, _ = crop(np.full((50, 50, 3), 9, np.uint8), Square(500.0, 500.0, 80.0), size_px=32)
    assert picture.shape == (32, 32, 3)


def test_noise_of_the_box_is_smoothed_away() -> None:
    rng = np.random.default_rng(0)
    smooth = None
    centres = []
    for _ in range(200):
        seen = Square(100 + float(rng.normal(0, 2)), 100.0, 80 + float(rng.normal(0, 2)))
        smooth = follow(smooth, seen)
        centres.append(smooth.centre_x)
    assert np.std(centres[50:]) < 0.8


def test_a_fast_face_never_leaves_the_crop() -> None:
    smooth = None
    for step in range(30):
        seen = Square(100 + 30.0 * step, 100.0, 80.0)
        smooth = follow(smooth, seen)
        assert abs(smooth.centre_x - seen.centre_x) <= LEASH * seen.face_px + 1e-6
