"""The map over a face: calm where it is weak, readable without colour, and never the red of an alert."""

from __future__ import annotations

import numpy as np
import pytest
from stories import drawn_face, where

from gui import heat
from gui.style import DARK, LIGHT
from monitor.types import FaceRegion

FACE = drawn_face(1)
MOUTH = where(1, FaceRegion.MOUTH).grid


def luma(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def spread(picture: np.ndarray) -> np.ndarray:
    """How far from grey each pixel is."""
    return picture.astype(int).max(-1) - picture.astype(int).min(-1)


def test_an_empty_map_leaves_the_face_as_it_is_in_grey() -> None:
    drawn = heat.draw(FACE, np.zeros((18, 18), np.float32))
    assert drawn.shape == (heat.SIDE_PX, heat.SIDE_PX, 3)
    assert spread(drawn).max() <= 1
    assert np.abs(luma(drawn)[::2, ::2] - luma(FACE)).mean() < 8


def test_what_a_genuine_face_gives_is_not_drawn() -> None:
    assert spread(heat.draw(FACE, MOUTH * np.float32(0.14 / MOUTH.max()))).max() <= 1


def test_the_strong_place_is_coloured_the_rest_is_not_and_a_line_runs_round_it() -> None:
    drawn = heat.draw(FACE, MOUTH)
    assert spread(drawn[84:89, 61:68]).min() > 50
    assert spread(drawn[:40]).max() <= 1
    white = (drawn == 255).all(-1)
    assert 40 < white.sum() < 900
    ys, xs = np.nonzero(white)
    assert ys.min() > 55
    assert 30 < xs.min() < xs.max() < 98
    assert not white[80:90, 60:68].any(), "it is a line, not a patch"


def test_a_weak_map_has_no_line_and_less_colour_than_a_strong_one() -> None:
    weak = heat.draw(FACE, MOUTH * np.float32(0.25 / MOUTH.max()))
    assert not (weak == 255).all(-1).any()
    assert 0 < spread(weak).max() < spread(heat.draw(FACE, MOUTH)).max()


def test_the_ramp_grows_lighter_all_the_way_and_does_not_look_like_an_alert() -> None:
    ramp = heat.colours(np.linspace(0, 1, 32))
    assert (np.diff(luma(ramp)) > 0).all()
    for palette in (DARK, LIGHT):
        red = np.array([int(palette.suspect[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(ramp - red).max(-1).min() > 60


def test_the_ramp_stays_apart_for_people_without_red_or_green_cones() -> None:
    """Blue against yellow survives: the ends differ far in blue and in light, whatever red and green do."""
    weak, _, _, strong = heat.RAMP
    assert weak[2] - strong[2] > 60
    assert luma(strong[None])[0] - luma(weak[None])[0] > 120


@pytest.mark.parametrize("side", [16, 18, 20])
def test_a_map_of_any_size_lies_on_the_same_place(side: int) -> None:
    grid = np.zeros((side, side), np.float32)
    grid[side // 2 :] = 1.0
    drawn = spread(heat.draw(FACE, grid))
    assert drawn[:56].max() <= 1
    assert drawn[72:, 40:90].min() > 30
