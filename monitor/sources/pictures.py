"""A decoded picture of PyAV goes in, an upright RGB array of the wanted part and size comes out.

Pixel format (8 or 10 bit, any chroma), scaling, non-square pixels, the rotation that phones write into the file,
and the region of interest are all dealt with here, with swscale doing the heavy part in one pass.
"""

from __future__ import annotations

import enum
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import VideoReformatter

from monitor.sources.geometry import FitPlan, FrameFit
from monitor.types import UInt8Array

_SQUARE = (Fraction(98, 100), Fraction(102, 100))
_SANE = (Fraction(1, 4), Fraction(4))


class Turn(enum.Enum):
    """How a stored picture must be turned to stand upright: (transpose, mirror x, mirror y), in this order."""

    NONE = (False, False, False)
    CCW_90 = (True, False, True)
    HALF = (False, True, True)
    CW_90 = (True, True, False)
    MIRROR = (False, True, False)
    MIRROR_HALF = (False, False, True)
    TRANSPOSE = (True, False, False)
    TRANSVERSE = (True, True, True)

    @property
    def swaps_sides(self) -> bool:
        return self.value[0]

    def apply(self, image: UInt8Array) -> UInt8Array:
        """Turn one (H, W, 3) picture."""
        transpose, mirror_x, mirror_y = self.value
        if not (transpose or mirror_x or mirror_y):
            return image
        import cv2

        if transpose:
            image = cv2.transpose(image)
        if mirror_x or mirror_y:
            image = cv2.flip(image, -1 if mirror_x and mirror_y else int(mirror_x))
        return image


def turn_of(frame: av.VideoFrame) -> Turn:
    """The turn that the frame's display matrix (ISO 14496-12 8.3.2, as libavutil keeps it) asks for."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Turn.NONE
    values = np.frombuffer(bytes(cast("Buffer", side_data)), np.int32)
    if values.size < 9:
        return Turn.NONE
    a, b, c, d = (int(values[i]) for i in (0, 1, 3, 4))
    transpose = abs(a) + abs(d) < abs(b) + abs(c)
    return Turn((transpose, c < 0, b < 0) if transpose else (False, a < 0, d < 0))


class PictureConverter:
    """Converts the frames of one stream; keeps swscale's tables between frames."""

    def __init__(self, fit: FrameFit, pixel_aspect: Fraction | None = None) -> None:
        """`pixel_aspect` is the width of a pixel over its height, None or 0 where it is not known."""
        self._fit = fit
        self._reformatter = VideoReformatter()
        self._aspect = Fraction(1)
        if pixel_aspect and _SANE[0] <= pixel_aspect <= _SANE[1] and not _SQUARE[0] < pixel_aspect < _SQUARE[1]:
            self._aspect = Fraction(pixel_aspect)

    def plan(self, width_px: int, height_px: int, turn: Turn = Turn.NONE) -> FitPlan:
        """What becomes of stored pictures of this size. Raises SourceError for impossible sizes."""
        shown_width_px = max(1, round(width_px * self._aspect))
        if turn.swaps_sides:
            return self._fit.plan(height_px, shown_width_px)
        return self._fit.plan(shown_width_px, height_px)

    def convert(self, frame: av.VideoFrame) -> UInt8Array:
        """uint8 (H, W, 3) RGB, contiguous. Raises SourceError for impossible sizes, av.FFmpegError if swscale fails."""
        turn = turn_of(frame)
        plan = self.plan(frame.width, frame.height, turn)
        width_px, height_px = plan.scaled_width_px, plan.scaled_height_px
        if turn.swaps_sides:
            width_px, height_px = height_px, width_px
        picture = self._reformatter.reformat(frame, width=width_px, height=height_px, format="rgb24", threads=1)
        return plan.crop(turn.apply(np.asarray(picture.to_ndarray(), np.uint8)))
