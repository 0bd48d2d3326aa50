"""Which part of a picture is kept, and how large: the region of interest first, then the size limit.

A `FrameFit` is what the user asked for; `FrameFit.plan` turns it into pixels for pictures of one size, so that a
decoder can scale while it converts and an array can be cut without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.errors import SourceError
from monitor.types import UInt8Array

Region = tuple[float, float, float, float]
"""x, y, width, height as fractions of the picture, 0..1."""

MAX_SIDE_PX = 16_384
MAX_PIXELS = 72_000_000
"""A little over 8192 x 8192: one RGB picture of 216 MB."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """Scale the whole picture to `scaled_*_px`, then keep columns x0..x1 and rows y0..y1 of it."""

    scaled_width_px: int
    scaled_height_px: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width_px(self) -> int:
        return self.x1 - self.x0

    @property
    def height_px(self) -> int:
        return self.y1 - self.y0

    def crop(self, image: UInt8Array) -> UInt8Array:
        """Cut the kept part out of an already scaled (scaled_height, scaled_width, 3) picture; contiguous."""
        return np.ascontiguousarray(image[self.y0 : self.y1, self.x0 : self.x1])


@dataclass(frozen=True, slots=True)
class FrameFit:
    """The part of a picture that is wanted and the longest side it may have."""

    max_frame_px: int = 1920
    region: Region | None = None

    def __post_init__(self) -> None:
        if not 64 <= self.max_frame_px <= MAX_SIDE_PX:
            raise SourceError(
                f"the largest frame side is {self.max_frame_px} px; expected 64 to {MAX_SIDE_PX} (max_frame_px)"
            )
        if self.region is None:
            return
        x, y, w, h = self.region
        fits = all(math.isfinite(v) for v in self.region)
        fits = fits and x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 1 + 1e-6 and y + h <= 1 + 1e-6
        if not fits:
            shown = ",".join(f"{v:g}" for v in self.region)
            raise SourceError(
                f"the region {shown} does not lie in the picture; expected x,y,width,height as fractions 0..1"
            )

    def plan(self, width_px: int, height_px: int) -> FitPlan:
        """The plan for pictures of this size. Raises SourceError for sizes that no real source has."""
        if width_px < 1 or height_px < 1:
            raise SourceError(f"the picture is {width_px} x {height_px} pixels: there is nothing to look at")
        if max(width_px, height_px) > MAX_SIDE_PX or width_px * height_px > MAX_PIXELS:
            raise SourceError(
                f"the picture is {width_px} x {height_px} pixels; at most {MAX_SIDE_PX} a side and "
                f"{MAX_PIXELS // 1_000_000} megapixels are read; scale the video down first"
            )
        x0, x1 = 0, width_px
        y0, y1 = 0, height_px
        if self.region is not None:
            x, y, w, h = self.region
            x0, x1 = _even_span(x, w, width_px)
            y0, y1 = _even_span(y, h, height_px)
        scale = self.max_frame_px / max(x1 - x0, y1 - y0)
        if scale >= 1.0:
            return FitPlan(width_px, height_px, x0, y0, x1, y1)
        scaled_width, scaled_height = _scaled(width_px, scale), _scaled(height_px, scale)
        x0, x1 = _scaled_span(x0, x1, scale, scaled_width)
        y0, y1 = _scaled_span(y0, y1, scale, scaled_height)
        return FitPlan(scaled_width, scaled_height, x0, y0, x1, y1)

    def apply(self, image: UInt8Array) -> UInt8Array:
        """Cut and scale one uint8 (H, W, 3) picture that is already an array; contiguous."""
        height_px, width_px = image.shape[:2]
        plan = self.plan(width_px, height_px)
        if (plan.scaled_width_px, plan.scaled_height_px) == (width_px, height_px):
            return plan.crop(image)
        import cv2

        scale_x, scale_y = width_px / plan.scaled_width_px, height_px / plan.scaled_height_px
        part = image[
            round(plan.y0 * scale_y) : round(plan.y1 * scale_y), round(plan.x0 * scale_x) : round(plan.x1 * scale_x)
        ]
        scaled = cv2.resize(part, (plan.width_px, plan.height_px), interpolation=cv2.INTER_AREA)
        return np.asarray(scaled, np.uint8)


CUT_OUT_GREY = 128


def cut_out(image: UInt8Array, regions: Sequence[Region]) -> UInt8Array:
    """The picture (H, W, 3) with `regions` painted grey; a copy, or the picture itself where there are none."""
    if not regions:
        return image
    height, width = image.shape[:2]
    painted = image.copy()
    for x, y, w, h in regions:
        x0, y0 = max(0, math.floor(x * width)), max(0, math.floor(y * height))
        x1, y1 = max(0, math.ceil((x + w) * width)), max(0, math.ceil((y + h) * height))
        painted[y0:y1, x0:x1] = CUT_OUT_GREY
    return painted


def _even_span(start: float, length: float, size_px: int) -> tuple[int, int]:
    """First and last + 1 pixel of a fraction of a side, both even where the side allows it, never empty."""
    if size_px < 2:
        return 0, size_px
    limit = size_px - size_px % 2
    first = min(2 * math.floor(start * size_px / 2 + 1e-6), limit - 2)
    last = 2 * math.ceil((start + length) * size_px / 2 - 1e-6)
    return first, max(first + 2, min(last, limit))


def _scaled(size_px: int, scale: float) -> int:
    return min(size_px, max(2, 2 * math.floor(size_px * scale / 2 + 1e-6)))


def _scaled_span(start: int, stop: int, scale: float, scaled_size_px: int) -> tuple[int, int]:
    length = min(_scaled(stop - start, scale), scaled_size_px)
    first = 2 * round(start * scale / 2)
    first = max(0, min(first, scaled_size_px - length))
    return first, first + length
