"""The colour of skin and surround in one picture, in linear light, from patches that the landmarks name.

picture, landmarks -> patches on forehead and cheeks, on the neck, beside the head -> LightSample
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.light_sequence import linearised
from monitor.types import LANDMARKS, Float32Array, UInt8Array

Floats = npt.NDArray[np.float64]

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, x1 and y1 outside."""

_TOP, _CHIN, _RIGHT, _LEFT = 10, 152, 234, 454
_FACE_PATCHES = (151, 50, 280)
"""Forehead, and both cheeks below the eyes, away from glasses."""
MIN_PATCH_PX = 16
CLIPPED = 250
_LINEAR = linearised(np.arange(256) / 255.0)


@dataclass(frozen=True, slots=True)
class SkinRegions:
    """Where to look. Empty where the picture does not show it."""

    face: tuple[Box, ...]
    neck: tuple[Box, ...]
    surround: tuple[Box, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LightSample:
    """Mean linear RGB (3,) of each region in one picture; None where it was not seen."""

    at_ms: float
    face: Floats | None
    neck: Floats | None
    surround: Floats | None
    luma: float
    """Mean luma of the face, 0..255."""
    clipped: float
    """Share of the face's pixels with a channel at its end, 0..1: glare."""


def regions_of(landmarks: Float32Array, width_px: int, height_px: int) -> SkinRegions:
    """The patches of a face in a picture of this size. Raises ValueError for landmarks of another shape."""
    if landmarks.shape != (LANDMARKS, 3):
        raise ValueError(f"regions_of: expected landmarks ({LANDMARKS}, 3), got {landmarks.shape}")
    points = landmarks[:, :2].astype(np.float64)
    width = abs(points[_LEFT, 0] - points[_RIGHT, 0])
    height = abs(points[_CHIN, 1] - points[_TOP, 1])
    size = (width_px, height_px)

    def box(x0: float, y0: float, x1: float, y1: float) -> tuple[Box, ...]:
        return _inside((x0, y0, x1, y1), size)

    half = 0.08 * width
    face = [box(x - half, y - half, x + half, y + half) for x, y in points[list(_FACE_PATCHES)]]
    chin_x, chin_y = points[_CHIN]
    neck = box(chin_x - 0.15 * width, chin_y + 0.08 * height, chin_x + 0.15 * width, chin_y + 0.22 * height)
    low, high = sorted((points[_RIGHT, 0], points[_LEFT, 0]))
    top, bottom = points[_TOP, 1], points[_CHIN, 1]
    surround = box(low - 0.6 * width, top, low - 0.2 * width, bottom)
    surround += box(high + 0.2 * width, top, high + 0.6 * width, bottom)
    return SkinRegions(tuple(one for part in face for one in part), neck, surround)


def measure(image: UInt8Array, regions: SkinRegions, at_ms: float) -> LightSample:
    """The colours of one picture, uint8 (H, W, 3) sRGB."""
    face = _pixels(image, regions.face)
    return LightSample(
        at_ms=at_ms,
        face=_mean(face),
        neck=_mean(_pixels(image, regions.neck)),
        surround=_mean(_pixels(image, regions.surround)),
        luma=float((face @ np.array([0.299, 0.587, 0.114])).mean()) if len(face) else 0.0,
        clipped=float((face >= CLIPPED).any(axis=1).mean()) if len(face) else 0.0,
    )


def _pixels(image: UInt8Array, boxes: Sequence[Box]) -> UInt8Array:
    parts = [image[y0:y1, x0:x1].reshape(-1, 3) for x0, y0, x1, y1 in boxes]
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.uint8)


def _mean(pixels: UInt8Array) -> Floats | None:
    return np.asarray(_LINEAR[pixels].mean(axis=0), np.float64) if len(pixels) else None


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[Box, ...]:
    x0, y0 = max(0, round(box[0])), max(0, round(box[1]))
    x1, y1 = min(size[0], round(box[2])), min(size[1], round(box[3]))
    return ((x0, y0, x1, y1),) if x1 > x0 and y1 > y0 and (x1 - x0) * (y1 - y0) >= MIN_PATCH_PX else ()
