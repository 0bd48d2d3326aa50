"""The probe patch: found at any place and size, never where it is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from monitor.sources.geometry import cut_out
from monitor.sources.probe import Patch, find_patch


def background(seed: int) -> np.ndarray:
    """A screen with a photograph, text-like noise and flat parts."""
    rng = np.random.default_rng(seed)
    screen = np.full((540, 960, 3), 210, np.uint8)
    screen[14:526, 20:532] = data.astronaut()
    screen[:, 600:760] = rng.integers(0, 2, (540, 160, 1), np.uint8) * 255
    screen[100:400, 780:] = rng.integers(0, 255, (300, 180, 3), np.uint8)
    return screen


def shown(screen: np.ndarray, patch: Patch, x: int, y: int, scale: float) -> np.ndarray:
    side = round(patch.side_px * scale)
    image = cv2.resize(patch.image(), (side, side), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    screen = screen.copy()
    screen[y : y + side, x : x + side] = image
    return screen


@pytest.mark.parametrize("scale", [0.35, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("place", [(0, 0), (333, 101), (612, 57)])
def test_it_is_found_where_it_is(scale: float, place: tuple[int, int]) -> None:
    patch = Patch.random()
    found = find_patch(shown(background(1), patch, *place, scale), patch)
    assert found is not None
    assert (found.x, found.y) == pytest.approx(place, abs=max(1.5, 0.03 * patch.side_px * scale))
    assert found.side == pytest.approx(patch.side_px * scale, rel=0.03)


def test_it_is_found_in_a_compressed_picture() -> None:
    patch = Patch.random()
    picture = shown(background(2), patch, 300, 200, 1.0)
    _, packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 40])
    found = find_patch(np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]), patch)
    assert found is not None
    assert (found.x, found.y) == pytest.approx((300, 200), abs=8)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_not_found_where_another_patch_or_none_is(seed: int) -> None:
    patch, other = Patch.random(), Patch.random()
    assert find_patch(background(seed), patch) is None
    assert find_patch(shown(background(seed), other, 300, 200, 1.0), patch) is None


def test_two_patches_are_never_the_same() -> None:
    assert not np.array_equal(Patch.random().colours, Patch.random().colours)


def test_a_picture_smaller_than_the_patch() -> None:
    assert find_patch(np.zeros((10, 10, 3), np.uint8), Patch.random()) is None


def test_what_is_cut_out_is_grey_and_the_original_stays() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    painted = cut_out(image, ((0.25, 0.5, 0.25, 0.25), (0.9, 0.9, 5.0, 5.0), (-0.5, -0.5, 0.504, 0.509)))
    assert (painted[50:75, 50:100] == 128).all()
    assert (painted[90:, 180:] == 128).all()
    assert (painted[0, 0] == 128).all()
    assert int((painted == 128).all(axis=2).sum()) == 25 * 50 + 10 * 20 + 1
    assert not image.any()
    assert cut_out(image, ()) is image
