"""The demonstration's forger: one clip's worth of our own forgery, applied frame by frame to a live picture."""

from __future__ import annotations

import numpy as np

from engines.forge.colour import change_colour, draw_colour
from engines.forge.families import sharpen
from engines.forge.masks import Image, Points


class DemoForger:
    """Replaces the face in a picture by a resampled, recoloured copy through a small aligned square.

    Made to be seen by a person and by the detector: a visible seam, a softer or harsher skin and a little
    jitter from frame to frame. The same seed gives the same forgery.
    """

    def __init__(self, seed: int = 7, side_px: int = 40) -> None:
        rng = np.random.default_rng(seed)
        self._rng = rng
        self._side = side_px
        self._colour = draw_colour(rng, 1.6)
        self._offset = np.zeros(2, np.float32)

    def apply(self, image: Image, outline: Points, time_s: float) -> Image:
        """Forge the face inside `outline` (float32 (K, 2), pixels) of uint8 RGB (H, W, 3). `time_s` is unused."""
        del time_s
        import cv2

        low, high = outline.min(0), outline.max(0)
        size = float((high - low).max()) * 1.15
        centre = (low + high) / 2
        self._offset = np.asarray(0.7 * self._offset + 0.7 * self._rng.standard_normal(2) * 0.008 * size, np.float32)
        scale = self._side / size
        to_square = np.array([[scale, 0, 0], [0, scale, 0]], np.float32)
        to_square[:, 2] = self._side / 2 - scale * (centre + self._offset)
        face = cv2.warpAffine(image, to_square, (self._side, self._side), flags=cv2.INTER_AREA)
        face = sharpen(change_colour(cv2.bilateralFilter(face, 5, 30, 5), self._colour), 0.8)
        left, top = np.maximum(np.floor(low - 0.1 * size), 0).astype(int)
        right, bottom = np.minimum(np.ceil(high + 0.1 * size), [image.shape[1], image.shape[0]]).astype(int)
        if right - left < 8 or bottom - top < 8:
            return image
        back = cv2.invertAffineTransform(to_square)
        back[:, 2] -= (left, top)
        box = (int(right - left), int(bottom - top))
        layer = cv2.warpAffine(face, back, box, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros((box[1], box[0]), np.uint8)
        inner = centre + (outline - centre) * 0.92 - (left, top)
        cv2.fillPoly(mask, [np.round(inner).astype(np.int32)], 255)
        alpha = cv2.GaussianBlur(mask, (0, 0), 0.015 * size).astype(np.float32)[..., None] / 255
        out = image.copy()
        part = out[top:bottom, left:right]
        out[top:bottom, left:right] = (part * (1 - alpha) + layer * alpha + 0.5).astype(np.uint8)
        return out
