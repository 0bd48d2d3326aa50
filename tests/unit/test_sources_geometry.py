"""Region of interest and size limit: even sides, never more than asked for, never empty."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.errors import SourceError
from monitor.sources.geometry import FrameFit

SIZES = [(1, 1), (2, 2), (1, 700), (321, 241), (640, 360), (1280, 720), (1919, 1079), (1081, 1921), (7680, 4320)]
REGIONS = [None, (0.0, 0.0, 1.0, 1.0), (0.25, 0.5, 0.5, 0.5), (0.999, 0.999, 0.001, 0.001), (0.1, 0.2, 0.33, 0.77)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("region", REGIONS)
def test_every_plan_lies_in_the_picture_and_within_the_limit(
    size: tuple[int, int], region: tuple[float, float, float, float] | None
) -> None:
    width, height = size
    plan = FrameFit(640, region).plan(width, height)
    assert 0 <= plan.x0 < plan.x1 <= plan.scaled_width_px <= width
    assert 0 <= plan.y0 < plan.y1 <= plan.scaled_height_px <= height
    assert max(plan.width_px, plan.height_px) <= 640
    if region is not None or max(size) > 640:
        assert plan.width_px % 2 == 0 or width < 2
        assert plan.height_px % 2 == 0 or height < 2


def test_a_picture_within_the_limit_is_left_alone() -> None:
    plan = FrameFit(1920).plan(641, 361)
    assert (plan.width_px, plan.height_px) == (641, 361)


def test_8k_becomes_full_hd() -> None:
    plan = FrameFit(1920).plan(7680, 4320)
    assert (plan.width_px, plan.height_px) == (1920, 1080)


def test_a_region_of_8k_keeps_its_own_resolution() -> None:
    plan = FrameFit(1920, (0.5, 0.5, 0.25, 0.25)).plan(7680, 4320)
    assert (plan.scaled_width_px, plan.scaled_height_px) == (7680, 4320)
    assert (plan.x0, plan.y0, plan.width_px, plan.height_px) == (3840, 2160, 1920, 1080)


def test_the_region_is_cut_where_it_says() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[50:, 100:] = (10, 20, 30)
    part = FrameFit(1920, (0.5, 0.5, 0.5, 0.5)).apply(image)
    assert part.shape == (50, 100, 3)
    assert (part == (10, 20, 30)).all()
    assert part.flags.c_contiguous


def test_a_region_is_cut_and_scaled_in_one_go() -> None:
    image = np.zeros((1000, 2000, 3), np.uint8)
    image[:, 1000:] = 200
    part = FrameFit(500, (0.5, 0.0, 0.5, 1.0)).apply(image)
    assert part.shape == (500, 500, 3)
    assert (part == 200).all()


@pytest.mark.parametrize(
    "region",
    [
        (0.0, 0.0, 0.0, 1.0),
        (-0.1, 0.0, 0.5, 0.5),
        (0.6, 0.0, 0.5, 0.5),
        (0.0, 0.0, float("nan"), 1.0),
        (0.0, 0.0, float("inf"), 1.0),
        (0.0, 0.0, 640.0, 360.0),
    ],
)
def test_a_region_outside_the_picture_is_refused(region: tuple[float, float, float, float]) -> None:
    with pytest.raises(SourceError, match="as fractions"):
        FrameFit(1920, region)


@pytest.mark.parametrize("size", [(0, 10), (20_000, 10), (10_000, 10_000)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SourceError, match=r"pixels"):
        FrameFit().plan(*size)


@pytest.mark.parametrize("limit", [0, 63, -1, 100_000])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(SourceError, match="max_frame_px"):
        FrameFit(limit)
