"""The one cropper of product and training: a smoothed square around a face, resampled to a fixed size.

The square follows the face slowly (exponential mean) and is never rotated or aligned by landmarks: landmark
noise would itself be a flicker, which is what the detector looks for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.window_input import CROP_SCALE
from monitor.types import Float32Array, UInt8Array

__all__ = ["CROP_PX", "CROP_SCALE", "Square", "crop", "follow"]

CROP_PX = 160
"""Side of the crop that the shipped detector reads."""
SMOOTHING = 0.1
"""Share of a new measurement in the smoothed square, a sample at 15 Hz."""
LEASH = 0.12
"""How far, in face sizes, the smoothed centre may lag behind the face before it is dragged along."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square in pixels of the frame: centre and the size of the *face* (not of the crop)."""

    centre_x: float
    centre_y: float
    face_px: float

    @staticmethod
    def of_box(box_px: Float32Array) -> Square:
        x0, y0, x1, y1 = (float(v) for v in box_px)
        return Square((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, 1.0))


def follow(smooth: Square | None, seen: Square) -> Square:
    """The smoothed square after one more sample; `smooth` is None for the first."""
    if smooth is None:
        return seen
    size = smooth.face_px + SMOOTHING * (seen.face_px - smooth.face_px)
    size = min(max(size, seen.face_px / 1.15), seen.face_px * 1.15)
    leash = LEASH * seen.face_px

    def drag(old: float, new: float) -> float:
        value = old + SMOOTHING * (new - old)
        return min(max(value, new - leash), new + leash)

    return Square(drag(smooth.centre_x, seen.centre_x), drag(smooth.centre_y, seen.centre_y), size)


def crop(
    image: UInt8Array, square: Square, *, size_px: int = CROP_PX, scale: float = CROP_SCALE
) -> tuple[UInt8Array, Float32Array]:
    """Cut `square` x `scale` out of `image` and resample it to `size_px`.

    Returns the crop, uint8 (size_px, size_px, 3), and float32 (2, 3) that maps a crop pixel to a frame pixel.
    What lies outside the frame is mirrored. A region larger than the crop is averaged down (no aliasing).
    """
    import cv2

    side = max(square.face_px * scale, 4.0)
    x0, y0 = square.centre_x - side / 2, square.centre_y - side / 2
    if side > size_px:
        whole = int(round(side))
        left, top = int(round(x0)), int(round(y0))
        part = cv2.resize(_cut(image, left, top, whole), (size_px, size_px), interpolation=cv2.INTER_AREA)
        step = whole / size_px
        matrix = np.array([[step, 0, left + step / 2 - 0.5], [0, step, top + step / 2 - 0.5]], np.float32)
        return part, matrix
    step = side / size_px
    matrix = np.array([[step, 0, x0 + step / 2 - 0.5], [0, step, y0 + step / 2 - 0.5]], np.float32)
    part = cv2.warpAffine(
        image,
        matrix,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return part, matrix


def _cut(image: UInt8Array, left: int, top: int, side: int) -> UInt8Array:
    import cv2

    height, width = image.shape[:2]
    pads = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    part = image[max(0, top) : min(height, top + side), max(0, left) : min(width, left + side)]
    if part.size == 0:
        return np.zeros((side, side, 3), np.uint8)
    if any(pads):
        # Mirrored where there is enough picture to mirror, repeated edge otherwise.
        fits = max(pads[:2]) < part.shape[0] and max(pads[2:]) < part.shape[1]
        border = cv2.BORDER_REFLECT_101 if fits else cv2.BORDER_REPLICATE
        part = cv2.copyMakeBorder(part, *pads, border)
    return part
