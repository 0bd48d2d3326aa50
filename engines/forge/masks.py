"""Which part of a face a forgery replaces: soft masks from landmarks, four hulls and four features.

The hulls follow self-blended images (Shiohara and Yamasaki, CVPR 2022): whole face, face with forehead, inner
face, lower face. Shape, softness and strength are drawn once a clip, so the mask moves with the face only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Mask = npt.NDArray[np.float32]
Rng = np.random.Generator

# Indices of MediaPipe's 478-point face mesh.
OVAL = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)
BROWS = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336, 46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 64, 294, 48, 278)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
CHEEKS = (116, 345, 123, 352, 147, 376)
JAW_FRONT = (152, 148, 377, 176, 400, 149, 378)


class Region(enum.Enum):
    """The part of the face that is replaced."""

    FACE = "face"
    FACE_AND_FOREHEAD = "face and forehead"
    INNER_FACE = "inner face"
    LOWER_FACE = "lower face"
    EYES = "eyes"
    NOSE = "nose"
    MOUTH = "mouth"
    FEATURES = "eyes, nose and mouth"


SWAPPED = (Region.FACE, Region.FACE_AND_FOREHEAD, Region.INNER_FACE, Region.FEATURES)
"""Regions that a face swap replaces."""


def inter_ocular(points: Points) -> float:
    """Distance of the eyes' centres, pixels: the unit of every size here. At least 4."""
    left, right = points[list(LEFT_EYE)].mean(0), points[list(RIGHT_EYE)].mean(0)
    return max(float(np.linalg.norm(left - right)), 4.0)


def polygons(points: Points, region: Region) -> list[Points]:
    """Convex polygons, each float32 (K, 2), that outline `region` in one frame."""
    if region is Region.FACE:
        return [points[list(OVAL)]]
    if region is Region.FACE_AND_FOREHEAD:
        oval = points[list(OVAL)].copy()
        up = points[10] - points[152]
        top = oval @ up > (points[10] + points[168]) @ up / 2
        oval[top] += 0.16 * up
        return [oval]
    if region is Region.INNER_FACE:
        return [points[list(BROWS + LIPS + JAW_FRONT + CHEEKS)]]
    if region is Region.LOWER_FACE:
        low = points[list(OVAL)]
        down = points[152] - points[10]
        return [np.concatenate([low[(low - points[4]) @ down > 0], points[[4, 205, 425]]])]
    if region is Region.EYES:
        return [points[[*LEFT_EYE, 300, 285, 330]], points[[*RIGHT_EYE, 70, 55, 101]]]
    if region is Region.NOSE:
        return [points[list(NOSE)]]
    if region is Region.MOUTH:
        return [points[[*LIPS, 164, 18, 92, 322]]]
    return [points[list(BROWS + LIPS + NOSE)]]


@dataclass(frozen=True, slots=True)
class MaskStyle:
    """How a mask is drawn, the same for every frame of a clip. Sizes in inter-ocular distances."""

    region: Region
    grow: float
    """Dilation (positive) or erosion of the hull."""
    soft: float
    """Gaussian sigma of the edge."""
    strength: float
    """Weight of the forged layer, 0..1."""
    warp: npt.NDArray[np.float32]
    """float32 (2, 6, 6): elastic displacement of the outline on a coarse grid, -1..1."""
    warp_size: float

    @staticmethod
    def draw(rng: Rng, regions: tuple[Region, ...] = tuple(Region)) -> MaskStyle:
        region = regions[int(rng.integers(len(regions)))]
        small = region in (Region.EYES, Region.NOSE, Region.MOUTH)
        return MaskStyle(
            region=region,
            grow=float(rng.uniform(0.0, 0.15) if small else rng.uniform(-0.12, 0.10)),
            soft=float(np.exp(rng.uniform(np.log(0.02), np.log(0.25)))),
            strength=float(rng.choice([0.5, 0.75, 1.0, 1.0, 1.0])),
            warp=rng.uniform(-1, 1, (2, 6, 6)).astype(np.float32),
            warp_size=float(rng.uniform(0.0, 0.18)),
        )


def draw_mask(shape: tuple[int, int], points: Points, style: MaskStyle) -> Mask:
    """The mask of one frame: float32 (H, W) in 0..strength."""
    import cv2

    height, width = shape
    unit = inter_ocular(points)
    low, high = points[list(OVAL)].min(0), points[list(OVAL)].max(0)
    span = np.maximum(high - low, 1.0)
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons(points, style.region):
        hull = cv2.convexHull(polygon.astype(np.float32)).reshape(-1, 2)
        hull = _bend(hull, low, span, style, unit)
        cv2.fillPoly(mask, [np.round(hull * 8).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=3)
    radius = round(abs(style.grow) * unit)
    if radius >= 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        mask = cv2.dilate(mask, kernel) if style.grow > 0 else cv2.erode(mask, kernel)
    soft = cv2.GaussianBlur(mask, (0, 0), max(style.soft * unit, 0.4)).astype(np.float32) / 255
    return np.asarray(soft * np.float32(style.strength), np.float32)


def _bend(hull: Points, low: Points, span: Points, style: MaskStyle, unit: float) -> Points:
    """Displace an outline smoothly, with the grid of `style` laid over the face."""
    import cv2

    dense = np.concatenate(
        [hull + (np.roll(hull, -1, axis=0) - hull) * np.float32(step / 4) for step in range(4)], axis=1
    ).reshape(-1, 2)
    where = np.clip((dense - low) / span, 0, 1) * 5
    shift = [
        cv2.remap(style.warp[axis], where[:, None, 0], where[:, None, 1], cv2.INTER_LINEAR)[:, 0] for axis in (0, 1)
    ]
    return np.asarray(dense + np.stack(shift, 1) * np.float32(style.warp_size * unit), np.float32)
